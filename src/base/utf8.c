/* utf8.c - see utf8.h.
 *
 * Everything rests on one function, utf8_scan: how far do these bytes agree with some character
 * of RFC 3629, section 4, and how long would that character be. The second byte has ranges of
 * its own after E0, ED, F0 and F4; with those checked, overlong forms, surrogates and values above
 * U+10FFFF are ruled out and the later bytes need only be 80..BF. Terminal output and JSON are
 * mostly ASCII, so runs of it are skipped by the word before a byte is looked at. */
#include "base/utf8.h"

#include <assert.h>
#include <string.h>

#if defined(__SSE2__) && !defined(SBX_NO_SIMD)
#include <emmintrin.h>
#define UTF8_SSE2 1
#else
#define UTF8_SSE2 0
#endif

/* Stored in sbx_utf8_state.have after an error, which nothing can take back. */
#define UTF8_FAILED 0xFFu

/* Length of the character that starts with the byte; 0 when none does. */
static size_t utf8_need(uint8_t lead)
{
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2)
        return 0;
    if (lead < 0xE0)
        return 2;
    if (lead < 0xF0)
        return 3;
    return lead < 0xF5 ? 4 : 0;
}

static bool utf8_second_ok(uint8_t lead, uint8_t second)
{
    if (lead == 0xE0)
        return second >= 0xA0 && second <= 0xBF;
    if (lead == 0xED)
        return second >= 0x80 && second <= 0x9F;
    if (lead == 0xF0)
        return second >= 0x90 && second <= 0xBF;
    if (lead == 0xF4)
        return second >= 0x80 && second <= 0x8F;
    return second >= 0x80 && second <= 0xBF;
}

/* How many bytes at p are a character or the beginning of one; *need is the length of that
 * character. 0 when no character starts with p[0]. n > 0. */
static size_t utf8_scan(const uint8_t *p, size_t n, size_t *need)
{
    size_t i;
    *need = utf8_need(p[0]);
    if (*need < 2)
        return *need;
    if (n < 2 || !utf8_second_ok(p[0], p[1]))
        return 1;
    for (i = 2; i < *need && i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            break;
    return i;
}

#if UTF8_SSE2
static size_t utf8_ascii_run(const uint8_t *p, size_t n)
{
    size_t i = 0;
    for (; n - i >= 64; i += 64) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + i + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(const void *)(p + i + 32));
        __m128i d = _mm_loadu_si128((const __m128i *)(const void *)(p + i + 48));
        if (_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))) != 0)
            break;
    }
    for (; n - i >= 16; i += 16) {
        int high = _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + i)));
        if (high != 0)
            return i + (size_t)__builtin_ctz((unsigned)high);
    }
    while (i < n && p[i] < 0x80)
        i++;
    return i;
}
#else
static size_t utf8_ascii_run(const uint8_t *p, size_t n)
{
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        uint64_t a, b;
        memcpy(&a, p + i, 8);
        memcpy(&b, p + i + 8, 8);
        if (((a | b) & UINT64_C(0x8080808080808080)) != 0)
            break;
    }
    while (i < n && p[i] < 0x80)
        i++;
    return i;
}
#endif

size_t sbx_utf8_valid_prefix(const uint8_t *p, size_t n)
{
    size_t i = 0, need;
    while (i < n) {
        if (p[i] < 0x80) {
            i += utf8_ascii_run(p + i, n - i);
            continue;
        }
        if (utf8_scan(p + i, n - i, &need) != need || need == 0)
            break;
        i += need;
    }
    return i;
}

size_t sbx_utf8_bad_len(const uint8_t *p, size_t n)
{
    size_t need, len;
    assert(n > 0);
    len = utf8_scan(p, n, &need);
    return len > 0 ? len : 1;
}

size_t sbx_utf8_incomplete_tail(const uint8_t *p, size_t n)
{
    size_t tail, need;
    for (tail = 1; tail <= 3 && tail <= n; tail++) {
        const uint8_t *at = p + (n - tail);
        if ((*at & 0xC0) == 0x80)
            continue;
        return utf8_scan(at, tail, &need) == tail && need > tail ? tail : 0;
    }
    return 0;
}

/* Takes bytes into s->pending until its character is complete. Returns how many were taken;
 * failure shows in s->have. */
static size_t utf8_finish_pending(struct sbx_utf8_state *s, const uint8_t *p, size_t n)
{
    size_t used = 0, need;
    while (s->have > 0 && used < n) {
        assert(s->have < sizeof s->pending);
        s->pending[s->have++] = p[used++];
        if (utf8_scan(s->pending, s->have, &need) != s->have) {
            s->have = UTF8_FAILED;
            return used;
        }
        if (s->have == need)
            s->have = 0;
    }
    return used;
}

bool sbx_utf8_feed(struct sbx_utf8_state *s, const uint8_t *p, size_t n)
{
    size_t done, rest;
    if (s->have == UTF8_FAILED)
        return false;
    done = utf8_finish_pending(s, p, n);
    if (s->have == UTF8_FAILED)
        return false;
    if (done == n)
        return true;
    done += sbx_utf8_valid_prefix(p + done, n - done);
    rest = n - done;
    if (rest != sbx_utf8_incomplete_tail(p + done, rest)) {
        s->have = UTF8_FAILED;
        return false;
    }
    memcpy(s->pending, p + done, rest);
    s->have = (uint8_t)rest;
    return true;
}

bool sbx_utf8_at_boundary(const struct sbx_utf8_state *s)
{
    return s->have == 0;
}

size_t sbx_utf8_encode(uint32_t cp, uint8_t out[4])
{
    assert(cp <= 0x10FFFF && (cp < 0xD800 || cp > 0xDFFF));
    if (cp < 0x80) {
        out[0] = (uint8_t)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (uint8_t)(0xC0 | cp >> 6);
        out[1] = (uint8_t)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (uint8_t)(0xE0 | cp >> 12);
        out[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | cp >> 18);
    out[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (cp & 0x3F));
    return 4;
}
