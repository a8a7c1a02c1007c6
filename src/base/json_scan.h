/* json_scan.h - the scan that reading and writing JSON strings have in common.
 *
 * Log text is long runs that need nothing done and a newline now and then, so the run is found 16
 * bytes at a time (8 without SSE2) and copied as one. SBX_NO_SIMD selects the portable form. */
#ifndef SBX_BASE_JSON_SCAN_H
#define SBX_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(SBX_NO_SIMD)
#include <emmintrin.h>
#define SBX_JSON_SCAN_SSE2 1
#else
#define SBX_JSON_SCAN_SSE2 0
#endif

/* Bytes that may stand in a JSON string as they are, UTF-8 taken for granted. */
static inline bool sbx_json_is_clean(uint8_t c)
{
    return c >= 0x20 && c != '"' && c != '\\';
}

#if !SBX_JSON_SCAN_SSE2
/* Is any of the eight bytes not clean? The subtractions borrow only out of a byte that is hit
 * itself, so the answer is exact though the position of the hit would not be. */
static inline bool sbx_json_word_has_special(uint64_t v)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t quote = v ^ (ones * '"'), backslash = v ^ (ones * '\\');
    uint64_t hit = ((v - ones * 0x20) & ~v) | ((quote - ones) & ~quote) |
                   ((backslash - ones) & ~backslash);
    return (hit & highs) != 0;
}
#endif

/* How many bytes from p on are clean. */
static inline size_t sbx_json_clean_run(const uint8_t *p, size_t n)
{
    size_t i = 0;
#if SBX_JSON_SCAN_SSE2
    for (; n - i >= 16; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i hit = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1F)), v);
        int mask;
        hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
        hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
        mask = _mm_movemask_epi8(hit);
        if (mask != 0)
            return i + (size_t)__builtin_ctz((unsigned)mask);
    }
#else
    for (; n - i >= 8; i += 8) {
        uint64_t v;
        memcpy(&v, p + i, 8);
        if (sbx_json_word_has_special(v))
            break;
    }
#endif
    while (i < n && sbx_json_is_clean(p[i]))
        i++;
    return i;
}

#endif
