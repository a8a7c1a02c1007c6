/* fuzz_vt_filter.c - the replay filter under arbitrary bytes.
 *
 * Checked for each input:
 * - the output is a subsequence of the input, and no call writes more than it took in;
 * - cutting the input elsewhere changes nothing (at once, byte by byte, pieces of a size drawn from
 *   the input itself, so that the corpus stays plain terminal output);
 * - text without ESC, ENQ and C2 comes out as it went in;
 * - filtering the complete output again changes nothing: what was removed never joins its
 *   neighbours to a new query. This holds for what is still open at the end too, since both passes
 *   let it through, and for sequences that outgrow the hold, since both passes see the same bytes;
 * - an input that cannot outgrow the hold leaves no query of a few plain spellings. An ESC begins
 *   a sequence wherever it stands, so these can be searched for without a parser. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/vt_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond) \
    do { \
        if (!(cond)) { \
            fprintf(stderr, "fuzz_vt_filter: broken: %s\n", #cond); \
            abort(); \
        } \
    } while (0)

struct output {
    uint8_t *p;
    size_t n;
};

/* step 0: at once; otherwise pieces of 1 to step bytes. */
static struct output filter(const uint8_t *in, size_t n, size_t step, uint32_t seed)
{
    struct sbx_vt_filter f;
    struct output out = {malloc(n + SBX_VT_FILTER_HOLD), 0};
    size_t at = 0;
    MUST(out.p != NULL);
    sbx_vt_filter_init(&f);
    while (at < n) {
        size_t len = step == 0 ? n - at : 1 + (seed >> 16) % step, held = f.held, got;
        if (len > n - at)
            len = n - at;
        got = sbx_vt_filter_feed(&f, in + at, len, out.p + out.n);
        MUST(got + f.held <= len + held);
        MUST(f.held <= SBX_VT_FILTER_HOLD);
        out.n += got;
        at += len;
        seed = seed * 1664525u + 1013904223u;
    }
    out.n += sbx_vt_filter_finish(&f, out.p + out.n);
    MUST(f.held == 0);
    MUST(out.n <= n);
    return out;
}

static void must_equal(struct output a, const uint8_t *p, size_t n)
{
    MUST(a.n == n);
    MUST(n == 0 || memcmp(a.p, p, n) == 0);
}

static void must_be_subsequence(struct output a, const uint8_t *in, size_t n)
{
    size_t i, k = 0;
    for (i = 0; i < n && k < a.n; i++)
        if (in[i] == a.p[k])
            k++;
    MUST(k == a.n);
}

static bool is_plain(const uint8_t *p, size_t n)
{
    return n == 0 ||
           (memchr(p, 0x1b, n) == NULL && memchr(p, 0x05, n) == NULL && memchr(p, 0xc2, n) == NULL);
}

static void must_not_ask(struct output a)
{
    static const char *const queries[] = {
        "\033Z",       "\033[c",          "\033[>c",         "\033[6n",          "\302\232",
        "\302\2335n",  "\033]11;?\007",   "\033]4;1;?\033\\", "\033P+q544e\033\\", "\033[?u",
        "\033[?1$p",   "\302\23514;?\007", "\033[18t",        "\033P$qm\033\\",
    };
    size_t i;
    for (i = 0; i < sizeof queries / sizeof queries[0]; i++)
        MUST(memmem(a.p, a.n, queries[i], strlen(queries[i])) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 3, 17, 600};
    struct output once = filter(data, size, 0, 0), again;
    uint32_t seed = 2166136261u;
    size_t i;
    for (i = 0; i < size; i++)
        seed = (seed ^ data[i]) * 16777619u;
    must_be_subsequence(once, data, size);
    if (is_plain(data, size))
        must_equal(once, data, size);
    if (size <= SBX_VT_FILTER_HOLD)
        must_not_ask(once);
    for (i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct output pieces = filter(data, size, steps[i], seed);
        must_equal(pieces, once.p, once.n);
        free(pieces.p);
    }
    again = filter(once.p, once.n, 0, 0);
    must_equal(again, once.p, once.n);
    free(again.p);
    free(once.p);
    return 0;
}
