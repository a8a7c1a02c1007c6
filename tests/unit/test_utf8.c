/* UTF-8 against an oracle that decodes by the bit layout and then asks whether the value is a
 * scalar one in its shortest form - another way than the byte ranges of the code under test. */
#include "base/utf8.h"

#include "guard.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Every value at which a rule of RFC 3629 changes, and its neighbours. */
static const uint8_t edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
                                0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
                                0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
#define EDGES (sizeof edges)

/* Length of the valid character at p, 0 when there is none. */
static size_t oracle_char(const uint8_t *p, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len, i;
    uint32_t cp;
    if (n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    len = (p[0] & 0xE0) == 0xC0 ? 2 : (p[0] & 0xF0) == 0xE0 ? 3 : (p[0] & 0xF8) == 0xF0 ? 4 : 0;
    if (len == 0 || n < len)
        return 0;
    cp = p[0] & (0xFFu >> (len + 1));
    for (i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        cp = cp << 6 | (p[i] & 0x3Fu);
    }
    return cp >= least[len] && cp <= 0x10FFFF && (cp < 0xD800 || cp > 0xDFFF) ? len : 0;
}

static size_t oracle_prefix(const uint8_t *p, size_t n)
{
    size_t i = 0, len;
    while ((len = oracle_char(p + i, n - i)) > 0)
        i += len;
    return i;
}

/* Could p[0..n), not a whole character, become one by adding bytes? All that matter are tried. */
static bool oracle_can_grow(const uint8_t *p, size_t n)
{
    static const uint8_t more[] = {0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF};
    uint8_t c[4];
    size_t i, k;
    if (n >= 4 || p[0] < 0x80)
        return false;
    memcpy(c, p, n);
    memset(c + n, 0x80, 4 - n);
    for (i = 0; i < sizeof more; i++) {
        c[n] = more[i];
        for (k = n + 1; k <= 4; k++)
            if (oracle_char(c, k) == k)
                return true;
    }
    return false;
}

static size_t oracle_bad_len(const uint8_t *p, size_t n)
{
    size_t len = n < 3 ? n : 3;
    while (len > 1 && !oracle_can_grow(p, len))
        len--;
    return len;
}

static size_t oracle_tail(const uint8_t *p, size_t n)
{
    size_t tail;
    for (tail = n < 3 ? n : 3; tail > 0; tail--)
        if (oracle_can_grow(p + n - tail, tail))
            return tail;
    return 0;
}

/* All of p at once, then cut in two at every place, then byte by byte. */
static void check_feed(const uint8_t *p, size_t n)
{
    size_t valid = oracle_prefix(p, n), cut;
    size_t rest = n - valid;
    bool fine = rest == 0 || oracle_can_grow(p + valid, rest), now = true;
    struct sbx_utf8_state s;
    for (cut = 0; cut <= n; cut++) {
        memset(&s, 0, sizeof s);
        now = sbx_utf8_feed(&s, p, cut);
        assert_true(sbx_utf8_feed(&s, p + cut, n - cut) == fine);
        assert_true(now || !fine);
        assert_true(sbx_utf8_at_boundary(&s) == (fine && rest == 0));
    }
    memset(&s, 0, sizeof s);
    for (cut = 0; cut < n; cut++) {
        size_t ok = oracle_prefix(p, cut + 1), left = cut + 1 - ok;
        now = sbx_utf8_feed(&s, p + cut, 1);
        assert_true(now == (left == 0 || oracle_can_grow(p + ok, left)));
        assert_true(sbx_utf8_at_boundary(&s) == (left == 0));
    }
    assert_true(now == fine);
}

static void check_all(const uint8_t *p, size_t n)
{
    size_t valid = oracle_prefix(p, n);
    assert_int_equal(sbx_utf8_valid_prefix(p, n), valid);
    assert_int_equal(sbx_utf8_incomplete_tail(p, n), oracle_tail(p, n));
    if (oracle_char(p, n) == 0)
        assert_int_equal(sbx_utf8_bad_len(p, n), oracle_bad_len(p, n));
}

static void test_every_edge_sequence(void **state)
{
    uint8_t *end = guard_copy("abcd", 4) + 4;
    size_t i, n, k, combinations = 1;
    (void)state;
    for (n = 1; n <= 4; n++) {
        combinations *= EDGES;
        for (i = 0; i < combinations; i++) {
            uint8_t *p = end - n;
            size_t digits = i;
            for (k = 0; k < n; k++, digits /= EDGES)
                p[k] = edges[digits % EDGES];
            check_all(p, n);
            if (n < 4 || i % 7 == 0)
                check_feed(p, n);
        }
    }
    guard_free(end - 4);
}

static void test_every_code_point(void **state)
{
    uint32_t cp;
    (void)state;
    for (cp = 0; cp <= 0x10FFFF; cp++) {
        uint8_t out[4];
        size_t n;
        if (cp == 0xD800)
            cp = 0xE000;
        n = sbx_utf8_encode(cp, out);
        assert_int_equal(n, cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4);
        assert_int_equal(oracle_char(out, n), n);
        assert_int_equal(sbx_utf8_valid_prefix(out, n), n);
    }
}

static void test_encode_examples(void **state)
{
    uint8_t out[4];
    (void)state;
    assert_int_equal(sbx_utf8_encode('A', out), 1);
    assert_memory_equal(out, "A", 1);
    assert_int_equal(sbx_utf8_encode(0xE4, out), 2);
    assert_memory_equal(out, "\xC3\xA4", 2);
    assert_int_equal(sbx_utf8_encode(0x20AC, out), 3);
    assert_memory_equal(out, "\xE2\x82\xAC", 3);
    assert_int_equal(sbx_utf8_encode(0x1F600, out), 4);
    assert_memory_equal(out, "\xF0\x9F\x98\x80", 4);
}

/* A foreign byte or a character at every offset of ASCII longer than any fast path's step. */
static void test_every_offset(void **state)
{
    static const char *const pieces[] = {"\xFF",         "\x80",
                                         "\xC3\xA4",     "\xE2\x82\xAC",
                                         "\xED\xA0\x80", "\xF0\x9F\x98\x80",
                                         "\xE2\x82",     "\xF0\x9F\x98"};
    uint8_t text[200];
    size_t i, at, n;
    (void)state;
    for (i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        size_t len = strlen(pieces[i]);
        for (at = 0; at < 150; at++) {
            for (n = at + len; n <= at + len + 17; n += 17) {
                uint8_t *p;
                memset(text, 'x', sizeof text);
                memcpy(text + at, pieces[i], len);
                p = guard_copy(text, n);
                assert_int_equal(sbx_utf8_valid_prefix(p, n), oracle_prefix(p, n));
                check_feed(p, n < 40 ? n : 0);
                guard_free(p);
            }
        }
    }
}

/* The example of table 3-8 of the Unicode standard and its neighbours 3-9 to 3-11. */
static void test_maximal_subparts(void **state)
{
    static const struct {
        const char *text;
        const char *lengths; /* of each replaced part; '.' for a valid character */
    } cases[] = {
        {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "11111111."},
        {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "11111111."},
        {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "11111.11."},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "2132."},
        {"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", ".321.1.11."},
    };
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint8_t *p = (const uint8_t *)cases[i].text;
        size_t n = strlen(cases[i].text);
        const char *want;
        for (want = cases[i].lengths; *want != '\0'; want++) {
            size_t len = 1;
            if (*want == '.')
                assert_int_equal(oracle_char(p, n), 1);
            else
                assert_int_equal(len = sbx_utf8_bad_len(p, n), *want - '0');
            p += len;
            n -= len;
        }
        assert_int_equal(n, 0);
    }
}

static void test_error_sticks(void **state)
{
    struct sbx_utf8_state s = {{0}, 0};
    (void)state;
    assert_true(sbx_utf8_feed(&s, (const uint8_t *)"ok\xE2\x82", 4));
    assert_false(sbx_utf8_at_boundary(&s));
    assert_false(sbx_utf8_feed(&s, (const uint8_t *)"x", 1));
    assert_false(sbx_utf8_feed(&s, (const uint8_t *)"fine", 4));
    assert_false(sbx_utf8_at_boundary(&s));
}

static void test_null_and_empty(void **state)
{
    struct sbx_utf8_state s = {{0}, 0};
    (void)state;
    assert_int_equal(sbx_utf8_valid_prefix(NULL, 0), 0);
    assert_int_equal(sbx_utf8_incomplete_tail(NULL, 0), 0);
    assert_true(sbx_utf8_feed(&s, NULL, 0));
    assert_true(sbx_utf8_at_boundary(&s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_edge_sequence), cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_encode_examples),     cmocka_unit_test(test_every_offset),
        cmocka_unit_test(test_maximal_subparts),    cmocka_unit_test(test_error_sticks),
        cmocka_unit_test(test_null_and_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
