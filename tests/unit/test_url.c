/* Request targets: what is split how, what is refused, escapes, query walk, host syntax. */
#include "proto/url.h"

#include "guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_str(struct sbx_str s, const char *want)
{
    assert_int_equal(s.n, strlen(want));
    assert_memory_equal(s.p, want, s.n);
}

static void check_split(const char *target, const char *path, const char *query,
                        const char *authority)
{
    struct sbx_url url;
    size_t n = strlen(target);
    uint8_t *copy = guard_copy(target, n);
    assert_int_equal(sbx_url_split((struct sbx_str){(char *)copy, n}, &url), 0);
    assert_str(url.path, path);
    assert_str(url.query, query);
    assert_str(url.authority, authority);
    guard_free(copy);
}

static void test_split(void **state)
{
    (void)state;
    check_split("/", "/", "", "");
    check_split("*", "*", "", "");
    check_split("/v1/processes/a%20b?follow=true&x", "/v1/processes/a%20b", "follow=true&x", "");
    check_split("/a?", "/a", "", "");
    check_split("/a?b?c", "/a", "b?c", "");
    check_split("/a//b/../c", "/a//b/../c", "", "");
    check_split("//host/a", "//host/a", "", "");
}

static void test_split_absolute(void **state)
{
    (void)state;
    check_split("http://foo/v1/health", "/v1/health", "", "foo");
    check_split("HTTPS://foo:80/?q", "/", "q", "foo:80");
    check_split("http://foo", "/", "", "foo");
    check_split("http://foo?q=1", "/", "q=1", "foo");
    check_split("http://[::1]:2468/x", "/x", "", "[::1]:2468");
}

static void test_split_refused(void **state)
{
    static const char *const bad[] = {
        "",         "v1/health",  "localhost:80", "/a#b",         "http://",      "http:///a",
        "http:/a",  "ftp://a/b",  "http://u@h/a", "http://a b/c", "http://[::1/", "http://h:8x/",
        "https:/a", "http://?q",  "#",            "http",         "https://",     "http://h#f",
        "*a",       "**",         "*?a",
    };
    size_t i;
    (void)state;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sbx_url url;
        size_t n = strlen(bad[i]);
        uint8_t *copy = guard_copy(bad[i], n);
        if (sbx_url_split((struct sbx_str){(char *)copy, n}, &url) != -EINVAL)
            fail_msg("taken: %s", bad[i]);
        guard_free(copy);
    }
}

static void check_decode(const char *in, bool plus, const char *want, size_t want_n)
{
    size_t n = strlen(in);
    uint8_t *copy = guard_copy(in, n);
    uint8_t *out = guard_copy(in, n);
    assert_int_equal(sbx_url_decode((struct sbx_str){(char *)copy, n}, plus, (char *)out), want_n);
    assert_memory_equal(out, want, want_n);
    guard_free(out);
    guard_free(copy);
}

static void test_decode(void **state)
{
    (void)state;
    check_decode("", false, "", 0);
    check_decode("%70roc_1", false, "proc_1", 6);
    check_decode("a%20b%2Fc%2f", false, "a b/c/", 6);
    check_decode("a+b", false, "a+b", 3);
    check_decode("a+b%2B", true, "a b+", 4);
    check_decode("%00%fF", false, "\0\xff", 2);
    check_decode("%2541", false, "%41", 3);
}

static void test_decode_stray_escapes_stay(void **state)
{
    (void)state;
    check_decode("%ZZ", false, "%ZZ", 3);
    check_decode("%4", false, "%4", 2);
    check_decode("%", false, "%", 1);
    check_decode("%%41", false, "%A", 2);
    check_decode("%4G%G4%:0%0/", false, "%4G%G4%:0%0/", 12);
}

static void test_query(void **state)
{
    static const char query[] = "&&a=1&b&=c&d=&e==f&&g=x%26y&";
    static const char *const want[][2] = {{"a", "1"}, {"b", ""},   {"", "c"},
                                          {"d", ""},  {"e", "=f"}, {"g", "x%26y"}};
    size_t n = sizeof query - 1, i;
    uint8_t *copy = guard_copy(query, n);
    struct sbx_str rest = {(char *)copy, n}, name, value;
    (void)state;
    for (i = 0; i < sizeof want / sizeof *want; i++) {
        assert_true(sbx_url_next_param(&rest, &name, &value));
        assert_str(name, want[i][0]);
        assert_str(value, want[i][1]);
    }
    assert_false(sbx_url_next_param(&rest, &name, &value));
    assert_int_equal(rest.n, 0);
    guard_free(copy);
}

static bool host_ok(const char *z)
{
    size_t n = strlen(z);
    uint8_t *copy = guard_copy(z, n);
    bool ok = sbx_url_host_ok((struct sbx_str){(char *)copy, n});
    guard_free(copy);
    return ok;
}

static void test_host(void **state)
{
    static const char *const good[] = {"", "localhost", "127.0.0.1:2468", "a-b_c.example:80",
                                       "[::1]", "[::ffff:1.2.3.4]:1", "h:", "x%41~!$&'()*+;="};
    static const char *const bad[] = {":80",   "a b",   "a/b", "u@h",    "h:8a", "a:1:2", "::1",
                                      "[::1",  "[]",    "[g]", "[::1]x", "a\"",  "<h>",   "h\x80",
                                      "h\\x",  "h?",    "h#",  "[",      "]",    "a^b",
                                      "[::1]80"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof good / sizeof *good; i++)
        if (!host_ok(good[i]))
            fail_msg("refused: %s", good[i]);
    for (i = 0; i < sizeof bad / sizeof *bad; i++)
        if (host_ok(bad[i]))
            fail_msg("taken: %s", bad[i]);
}

/* Each single byte against the list of RFC 3986, so that the bit table has no slip. */
static void test_host_every_byte(void **state)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-._~!$&'()*+;=%";
    unsigned b;
    (void)state;
    for (b = 0; b < 256; b++) {
        char text[3] = {'a', (char)b, 'a'};
        bool want = b != 0 && strchr(allowed, (int)b) != NULL;
        assert_int_equal(sbx_url_host_ok((struct sbx_str){text, 3}), want);
    }
}

static void test_hex(void **state)
{
    static const char digits[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    int c, known = 0;
    (void)state;
    for (c = 0; c < 16; c++) {
        assert_int_equal(sbx_url_hex_value(digits[c]), c);
        assert_int_equal(sbx_url_hex_value(upper[c]), c);
    }
    for (c = -128; c < 128; c++)
        known += sbx_url_hex_value((char)c) >= 0;
    assert_int_equal(known, 22);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_absolute),
        cmocka_unit_test(test_split_refused),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_decode_stray_escapes_stay),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_host_every_byte),
        cmocka_unit_test(test_hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
