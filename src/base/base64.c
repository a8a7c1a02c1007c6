/* base64.c - see base64.h.
 *
 * Encoding takes twelve bits a lookup: six bytes are four 2-character entries of a constant table
 * (8 KiB, which stays in the first cache level). Where the CPU has AVX2, asked for at run time
 * since a released binary must start everywhere, 24 bytes become 32 characters by shuffles and the
 * table is left for the end of the input. Both paths give the same text.
 * Decoding runs over clean quanta and leaves the first one that is not - the padded last one or
 * the one at fault - to base64_finish, which alone knows the errors. */
#include "base/base64.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(SBX_NO_SIMD)
#include <immintrin.h>
#define BASE64_AVX2 1
#else
#define BASE64_AVX2 0
#endif

#define BASE64_ROW(a) \
    {(a), 'A'}, {(a), 'B'}, {(a), 'C'}, {(a), 'D'}, {(a), 'E'}, {(a), 'F'}, \
    {(a), 'G'}, {(a), 'H'}, {(a), 'I'}, {(a), 'J'}, {(a), 'K'}, {(a), 'L'}, \
    {(a), 'M'}, {(a), 'N'}, {(a), 'O'}, {(a), 'P'}, {(a), 'Q'}, {(a), 'R'}, \
    {(a), 'S'}, {(a), 'T'}, {(a), 'U'}, {(a), 'V'}, {(a), 'W'}, {(a), 'X'}, \
    {(a), 'Y'}, {(a), 'Z'}, {(a), 'a'}, {(a), 'b'}, {(a), 'c'}, {(a), 'd'}, \
    {(a), 'e'}, {(a), 'f'}, {(a), 'g'}, {(a), 'h'}, {(a), 'i'}, {(a), 'j'}, \
    {(a), 'k'}, {(a), 'l'}, {(a), 'm'}, {(a), 'n'}, {(a), 'o'}, {(a), 'p'}, \
    {(a), 'q'}, {(a), 'r'}, {(a), 's'}, {(a), 't'}, {(a), 'u'}, {(a), 'v'}, \
    {(a), 'w'}, {(a), 'x'}, {(a), 'y'}, {(a), 'z'}, {(a), '0'}, {(a), '1'}, \
    {(a), '2'}, {(a), '3'}, {(a), '4'}, {(a), '5'}, {(a), '6'}, {(a), '7'}, \
    {(a), '8'}, {(a), '9'}, {(a), '+'}, {(a), '/'}

static const char base64_pairs[4096][2] = {
    BASE64_ROW('A'), BASE64_ROW('B'), BASE64_ROW('C'), BASE64_ROW('D'),
    BASE64_ROW('E'), BASE64_ROW('F'), BASE64_ROW('G'), BASE64_ROW('H'),
    BASE64_ROW('I'), BASE64_ROW('J'), BASE64_ROW('K'), BASE64_ROW('L'),
    BASE64_ROW('M'), BASE64_ROW('N'), BASE64_ROW('O'), BASE64_ROW('P'),
    BASE64_ROW('Q'), BASE64_ROW('R'), BASE64_ROW('S'), BASE64_ROW('T'),
    BASE64_ROW('U'), BASE64_ROW('V'), BASE64_ROW('W'), BASE64_ROW('X'),
    BASE64_ROW('Y'), BASE64_ROW('Z'), BASE64_ROW('a'), BASE64_ROW('b'),
    BASE64_ROW('c'), BASE64_ROW('d'), BASE64_ROW('e'), BASE64_ROW('f'),
    BASE64_ROW('g'), BASE64_ROW('h'), BASE64_ROW('i'), BASE64_ROW('j'),
    BASE64_ROW('k'), BASE64_ROW('l'), BASE64_ROW('m'), BASE64_ROW('n'),
    BASE64_ROW('o'), BASE64_ROW('p'), BASE64_ROW('q'), BASE64_ROW('r'),
    BASE64_ROW('s'), BASE64_ROW('t'), BASE64_ROW('u'), BASE64_ROW('v'),
    BASE64_ROW('w'), BASE64_ROW('x'), BASE64_ROW('y'), BASE64_ROW('z'),
    BASE64_ROW('0'), BASE64_ROW('1'), BASE64_ROW('2'), BASE64_ROW('3'),
    BASE64_ROW('4'), BASE64_ROW('5'), BASE64_ROW('6'), BASE64_ROW('7'),
    BASE64_ROW('8'), BASE64_ROW('9'), BASE64_ROW('+'), BASE64_ROW('/')
};

#undef BASE64_ROW

/* Marks in base64_values, both above every value. */
enum { BASE64_PAD = 64, BASE64_FOREIGN = 99 };

static const uint8_t base64_values[256] = {
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 62, 99, 99, 99, 63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 99, 99, 99, 64, 99, 99,
    99,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 99, 99, 99, 99, 99,
    99, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99
};

static uint64_t base64_load_be(const uint8_t *p)
{
    return (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 |
           (uint64_t)p[3] << 32 | (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 |
           (uint64_t)p[6] << 8 | p[7];
}

#if BASE64_AVX2
/* 24 bytes a round, loaded as two overlapping halves of 16, hence the 28 that must be readable.
 * Each group of three bytes is spread over 32 bits as b1 b0 b2 b1, so that two multiplications,
 * which are shifts of their own distance per 16-bit half, put the four 6-bit values into the
 * four bytes. A value becomes its character by adding the distance of its range: 0..25 and 26..51
 * are ranges 0 and 1, each digit and each of the two signs counts as one more.
 * Returns how many bytes were encoded, a multiple of three. */
__attribute__((target("avx2"))) static size_t base64_encode_avx2(const uint8_t *in, size_t n,
                                                                 char *out)
{
    const __m256i spread = _mm256_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10, 1, 0,
                                            2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    const __m256i distance = _mm256_setr_epi8(
        'A', 'a' - 26, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, '+' - 62, '/' - 63, 0, 0, 'A',
        'a' - 26, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, '+' - 62, '/' - 63, 0, 0);
    size_t i = 0;
    for (; n - i >= 28; i += 24, out += 32) {
        __m128i low = _mm_loadu_si128((const __m128i *)(const void *)(in + i));
        __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(in + i + 12));
        __m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
        __m256i even, odd, range;
        v = _mm256_shuffle_epi8(v, spread);
        even = _mm256_mulhi_epu16(_mm256_and_si256(v, _mm256_set1_epi32(0x0FC0FC00)),
                                  _mm256_set1_epi32(0x04000040));
        odd = _mm256_mullo_epi16(_mm256_and_si256(v, _mm256_set1_epi32(0x003F03F0)),
                                 _mm256_set1_epi32(0x01000010));
        v = _mm256_or_si256(even, odd);
        range = _mm256_sub_epi8(_mm256_subs_epu8(v, _mm256_set1_epi8(51)),
                                _mm256_cmpgt_epi8(v, _mm256_set1_epi8(25)));
        v = _mm256_add_epi8(v, _mm256_shuffle_epi8(distance, range));
        _mm256_storeu_si256((__m256i *)(void *)out, v);
    }
    return i;
}

static size_t base64_encode_wide(const uint8_t *in, size_t n, char *out)
{
    return n >= 28 && __builtin_cpu_supports("avx2") ? base64_encode_avx2(in, n, out) : 0;
}
#else
static size_t base64_encode_wide(const uint8_t *in, size_t n, char *out)
{
    (void)in;
    (void)n;
    (void)out;
    return 0;
}
#endif

/* Six bytes a round out of a load of eight. Returns how many bytes were encoded. */
static size_t base64_encode_pairs(const uint8_t *in, size_t n, char *out)
{
    size_t i = 0;
    for (; n - i >= 8; i += 6, out += 8) {
        uint64_t v = base64_load_be(in + i);
        memcpy(out, base64_pairs[v >> 52], 2);
        memcpy(out + 2, base64_pairs[v >> 40 & 0xFFF], 2);
        memcpy(out + 4, base64_pairs[v >> 28 & 0xFFF], 2);
        memcpy(out + 6, base64_pairs[v >> 16 & 0xFFF], 2);
    }
    return i;
}

/* A quantum of one to three bytes. */
static void base64_encode_quantum(const uint8_t *in, size_t n, char *out)
{
    unsigned v;
    assert(n >= 1);
    v = (unsigned)in[0] << 16;
    if (n > 1)
        v |= (unsigned)in[1] << 8;
    if (n > 2)
        v |= in[2];
    memcpy(out, base64_pairs[v >> 12], 2);
    memcpy(out + 2, base64_pairs[v & 0xFFF], 2);
    if (n < 3)
        out[3] = '=';
    if (n < 2)
        out[2] = '=';
}

void sbx_base64_encode(const uint8_t *in, size_t n, char *out)
{
    size_t i;
    if (n == 0)
        return; /* in may be NULL, and NULL + 0 is undefined */
    i = base64_encode_wide(in, n, out);
    i += base64_encode_pairs(in + i, n - i, out + i / 3 * 4);
    assert(i % 3 == 0);
    for (; i < n; i += 3)
        base64_encode_quantum(in + i, n - i, out + i / 3 * 4);
}

/* Returns how many characters were decoded: whole quanta without padding or foreign bytes. */
static size_t base64_decode_clean(const char *in, size_t n, uint8_t *out)
{
    size_t i = 0;
    for (; n - i >= 4; i += 4, out += 3) {
        unsigned a = base64_values[(uint8_t)in[i]], b = base64_values[(uint8_t)in[i + 1]];
        unsigned c = base64_values[(uint8_t)in[i + 2]], d = base64_values[(uint8_t)in[i + 3]];
        unsigned v = a << 18 | b << 12 | c << 6 | d;
        if ((a | b | c | d) >= BASE64_PAD)
            break;
        out[0] = (uint8_t)(v >> 16);
        out[1] = (uint8_t)(v >> 8 & 0xFF);
        out[2] = (uint8_t)(v & 0xFF);
    }
    return i;
}

/* Splits in[i..n) into symbols and padding after them; BASE64_FOREIGN wins over everything that
 * is wrong with the padding, since it has a place to show. */
static enum sbx_base64_error base64_split(const char *in, size_t i, size_t n, size_t *symbols,
                                          size_t *at)
{
    size_t first = i;
    bool mixed = false;
    while (i < n && base64_values[(uint8_t)in[i]] < BASE64_PAD)
        i++;
    *symbols = i - first;
    for (; i < n; i++) {
        uint8_t value = base64_values[(uint8_t)in[i]];
        if (value == BASE64_FOREIGN) {
            *at = i;
            return SBX_BASE64_BAD_SYMBOL;
        }
        mixed |= value != BASE64_PAD;
    }
    return mixed ? SBX_BASE64_BAD_PADDING : SBX_BASE64_OK;
}

/* The end of the input, or the quantum at fault: in[i..n), not empty. */
static enum sbx_base64_error base64_finish(const char *in, size_t i, size_t n, uint8_t *out,
                                           size_t *out_len, size_t *at)
{
    size_t symbols, pads;
    unsigned v;
    enum sbx_base64_error e = base64_split(in, i, n, &symbols, at);
    if (e != SBX_BASE64_OK)
        return e;
    assert(symbols < 4);
    pads = n - i - symbols;
    if (symbols == 1 && pads == 0)
        return SBX_BASE64_BAD_LENGTH;
    if (symbols < 2 || symbols + pads != 4)
        return SBX_BASE64_BAD_PADDING;
    v = (unsigned)base64_values[(uint8_t)in[i]] << 12 |
        (unsigned)base64_values[(uint8_t)in[i + 1]] << 6;
    if (symbols == 3)
        v |= base64_values[(uint8_t)in[i + 2]];
    if ((v & (symbols == 3 ? 0x3u : 0x3FFu)) != 0) {
        *at = i + symbols - 1;
        return SBX_BASE64_BAD_LAST;
    }
    out[0] = (uint8_t)(v >> 10);
    if (symbols == 3)
        out[1] = (uint8_t)(v >> 2 & 0xFF);
    *out_len = symbols - 1;
    return SBX_BASE64_OK;
}

enum sbx_base64_error sbx_base64_decode(const char *in, size_t n, uint8_t *out, size_t *out_len,
                                        size_t *at)
{
    size_t done = base64_decode_clean(in, n, out), tail = 0;
    enum sbx_base64_error e = SBX_BASE64_OK;
    *out_len = 0;
    if (done < n)
        e = base64_finish(in, done, n, out + done / 4 * 3, &tail, at);
    if (e == SBX_BASE64_OK)
        *out_len = done / 4 * 3 + tail;
    return e;
}
