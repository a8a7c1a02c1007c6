/* Errors as values: sign of the code, formatting, and that long text is cut. */
#include "base/err.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_code_is_negative_either_way(void **state)
{
    struct sbx_err err = {0, ""};
    (void)state;
    assert_int_equal(sbx_err_set(&err, EINVAL, "a %s %d", "b", 7), -EINVAL);
    assert_int_equal(err.code, -EINVAL);
    assert_string_equal(err.text, "a b 7");
    assert_int_equal(sbx_err_set(&err, -ENOENT, "gone"), -ENOENT);
    assert_int_equal(err.code, -ENOENT);
    assert_string_equal(err.text, "gone");
}

static void test_add_reason(void **state)
{
    struct sbx_err err;
    char want[128] = "open /x: ";
    (void)state;
    (void)sbx_err_set(&err, EACCES, "open %s", "/x");
    assert_int_equal(sbx_err_add_reason(&err), -EACCES);
    strcat(want, strerror(EACCES));
    assert_string_equal(err.text, want);
}

static void test_long_text_is_cut(void **state)
{
    struct {
        struct sbx_err err;
        char after;
    } box = {.after = 0x55};
    char text[1000];
    size_t n;
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (n = sizeof box.err.text - 40; n < sizeof text; n++) {
        size_t kept = n < sizeof box.err.text ? n : sizeof box.err.text - 1;
        assert_int_equal(sbx_err_set(&box.err, EIO, "%.*s", (int)n, text), -EIO);
        assert_int_equal(strlen(box.err.text), kept);
        assert_int_equal(sbx_err_add_reason(&box.err), -EIO);
        assert_true(strlen(box.err.text) < sizeof box.err.text);
        assert_memory_equal(box.err.text, text, kept);
    }
    assert_int_equal(box.after, 0x55);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_code_is_negative_either_way),
        cmocka_unit_test(test_add_reason),
        cmocka_unit_test(test_long_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
