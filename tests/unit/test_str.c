/* Views of bytes: comparison, trimming, header lists, numbers. Texts lie before a guard page. */
#include "base/str.h"

#include "guard.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct sbx_str str_null = {NULL, 0};

static struct sbx_str str_guarded(const char *z)
{
    size_t n = strlen(z);
    return (struct sbx_str){(char *)guard_copy(z, n), n};
}

static void str_release(struct sbx_str s)
{
    guard_free((uint8_t *)(uintptr_t)s.p);
}

static void test_views_and_equality(void **state)
{
    struct sbx_str abc = str_guarded("abc");
    (void)state;
    assert_int_equal(sbx_str_z("hello").n, 5);
    assert_int_equal(sbx_str_z(NULL).n, 0);
    assert_int_equal(SBX_STR("a\0b").n, 3);
    assert_true(sbx_str_eq(abc, SBX_STR("abc")));
    assert_false(sbx_str_eq(abc, SBX_STR("abd")));
    assert_false(sbx_str_eq(abc, SBX_STR("abcd")));
    assert_true(sbx_str_eq(str_null, SBX_STR("")));
    assert_true(sbx_str_eq_z(abc, "abc"));
    assert_false(sbx_str_eq_z(abc, "ab"));
    assert_false(sbx_str_eq_z(SBX_STR("a\0b"), "a"));
    str_release(abc);
}

static void test_case_folding_is_ascii(void **state)
{
    struct sbx_str s = str_guarded("Keep-ALIVE");
    (void)state;
    assert_true(sbx_str_ieq_z(s, "keep-alive"));
    assert_true(sbx_str_ieq_z(s, "KEEP-alive"));
    assert_false(sbx_str_ieq_z(s, "keep-aliv"));
    assert_false(sbx_str_ieq_z(s, "keep-alivee"));
    assert_false(sbx_str_ieq_z(SBX_STR("@[\x60{"), "\x60{@["));
    assert_false(sbx_str_ieq_z(SBX_STR("\xC4"), "\xE4"));
    assert_false(sbx_str_ieq_z(SBX_STR("a\0"), "a"));
    assert_true(sbx_str_ieq_z(str_null, ""));
    str_release(s);
}

static void test_starts_with(void **state)
{
    struct sbx_str s = str_guarded("/v1/");
    (void)state;
    assert_true(sbx_str_starts_with(s, "/v1/"));
    assert_true(sbx_str_starts_with(s, ""));
    assert_false(sbx_str_starts_with(s, "/v1/x"));
    assert_false(sbx_str_starts_with(s, "/V"));
    str_release(s);
}

static void check_trim(const char *text, const char *want)
{
    struct sbx_str s = str_guarded(text);
    assert_true(sbx_str_eq_z(sbx_str_trim(s), want));
    str_release(s);
}

static void test_trim(void **state)
{
    (void)state;
    check_trim("", "");
    check_trim(" \t ", "");
    check_trim(" \ta b\t ", "a b");
    check_trim("\nx\r", "\nx\r");
    assert_int_equal(sbx_str_trim(str_null).n, 0);
}

/* The members of a list joined with '|'. */
static void check_list(const char *text, const char *want)
{
    struct sbx_str s = str_guarded(text), rest = s, item;
    char got[64] = "";
    while (sbx_str_next_in_list(&rest, &item)) {
        strncat(got, item.p, item.n);
        strcat(got, "|");
    }
    assert_string_equal(got, want);
    assert_false(sbx_str_next_in_list(&rest, &item));
    str_release(s);
}

static void test_list(void **state)
{
    (void)state;
    check_list("", "");
    check_list(",, ,\t,", "");
    check_list("a", "a|");
    check_list("a,b", "a|b|");
    check_list(" , a b ,,\tc, ", "a b|c|");
    assert_true(sbx_str_list_has(SBX_STR("keep-alive, Upgrade"), "upgrade"));
    assert_false(sbx_str_list_has(SBX_STR("keep-alive, Upgrades"), "upgrade"));
    assert_false(sbx_str_list_has(SBX_STR("x upgrade"), "upgrade"));
    assert_false(sbx_str_list_has(str_null, "upgrade"));
}

static void check_u64(const char *text, int rc, uint64_t want)
{
    struct sbx_str s = str_guarded(text);
    uint64_t v = 77;
    assert_int_equal(sbx_str_to_u64(s, &v), rc);
    assert_true(v == (rc == 0 ? want : 77));
    str_release(s);
}

static void test_to_u64(void **state)
{
    (void)state;
    check_u64("0", 0, 0);
    check_u64("007", 0, 7);
    check_u64("18446744073709551615", 0, UINT64_MAX);
    check_u64("18446744073709551616", -ERANGE, 0);
    check_u64("18446744073709551620", -ERANGE, 0);
    check_u64("99999999999999999999999", -ERANGE, 0);
    check_u64("99999999999999999999999x", -EINVAL, 0);
    check_u64("", -EINVAL, 0);
    check_u64("+1", -EINVAL, 0);
    check_u64("-1", -EINVAL, 0);
    check_u64(" 1", -EINVAL, 0);
    check_u64("1 ", -EINVAL, 0);
    check_u64("0x1", -EINVAL, 0);
    check_u64("/", -EINVAL, 0);
    check_u64(":", -EINVAL, 0);
}

static void test_eq_const_time(void **state)
{
    (void)state;
    assert_true(sbx_str_eq_const_time(SBX_STR("secret"), SBX_STR("secret")));
    assert_true(sbx_str_eq_const_time(str_null, str_null));
    assert_false(sbx_str_eq_const_time(SBX_STR("secreT"), SBX_STR("secret")));
    assert_false(sbx_str_eq_const_time(SBX_STR("Secret"), SBX_STR("secret")));
    assert_false(sbx_str_eq_const_time(SBX_STR("secre"), SBX_STR("secret")));
    assert_false(sbx_str_eq_const_time(SBX_STR("secretsecret"), SBX_STR("secret")));
    assert_false(sbx_str_eq_const_time(SBX_STR("secret"), str_null));
    assert_false(sbx_str_eq_const_time(SBX_STR("\0\0"), str_null));
    assert_false(sbx_str_eq_const_time(str_null, SBX_STR("secret")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views_and_equality), cmocka_unit_test(test_case_folding_is_ascii),
        cmocka_unit_test(test_starts_with),        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_list),               cmocka_unit_test(test_to_u64),
        cmocka_unit_test(test_eq_const_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
