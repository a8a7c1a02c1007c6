/* The limits: defaults, what is refused, and what follows from them. */
#include "proc/limits.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct sbx_limits l;
static struct sbx_err err;

static int setup(void **state)
{
    (void)state;
    sbx_limits_default(&l);
    return 0;
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(l.max_concurrent_processes, 64);
    assert_int_equal(l.default_run_timeout_ms, 30000);
    assert_int_equal(l.max_run_timeout_ms, 300000);
    assert_int_equal(l.max_output_bytes, 1048576);
    assert_int_equal(l.max_log_bytes_per_process, 10485760);
    assert_int_equal(l.max_input_bytes_per_request, 65536);
    assert_int_equal(l.max_log_bytes_total, 1073741824);
    assert_int_equal(l.max_exited_processes, 1000);
    assert_int_equal(sbx_limits_check(&l, &err), 0);
    assert_int_equal(l.default_run_timeout_ms, 30000);
}

static void expect_refused(uint64_t *limit, const char *text)
{
    uint64_t keep = *limit;
    *limit = 0;
    assert_int_equal(sbx_limits_check(&l, &err), -EINVAL);
    assert_string_equal(err.text, text);
    *limit = keep;
}

static void test_zeros(void **state)
{
    (void)state;
    expect_refused(&l.max_concurrent_processes, "maxConcurrentProcesses must be greater than 0");
    expect_refused(&l.default_run_timeout_ms, "timeouts must be greater than 0");
    expect_refused(&l.max_run_timeout_ms, "timeouts must be greater than 0");
    expect_refused(&l.max_output_bytes, "byte limits must be greater than 0");
    expect_refused(&l.max_log_bytes_per_process, "byte limits must be greater than 0");
    expect_refused(&l.max_input_bytes_per_request, "byte limits must be greater than 0");
    expect_refused(&l.max_log_bytes_total, "byte limits must be greater than 0");
    expect_refused(&l.max_exited_processes, "maxExitedProcesses must be greater than 0");
}

static void test_default_is_lowered_to_the_maximum(void **state)
{
    (void)state;
    l.max_run_timeout_ms = 1000;
    assert_int_equal(sbx_limits_check(&l, &err), 0);
    assert_int_equal(l.default_run_timeout_ms, 1000);
    assert_int_equal(l.max_run_timeout_ms, 1000);
}

static void test_extremes(void **state)
{
    (void)state;
    l = (struct sbx_limits){1, 1, 1, 1, 1, 1, 1, 1};
    assert_int_equal(sbx_limits_check(&l, &err), 0);
    assert_int_equal(sbx_limits_input_queue(&l), 1048576);
    l = (struct sbx_limits){UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                            UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    assert_int_equal(sbx_limits_check(&l, &err), 0);
    assert_int_equal(sbx_limits_input_queue(&l), UINT64_MAX);
    l.max_input_bytes_per_request = 1000000;
    assert_int_equal(sbx_limits_input_queue(&l), 4000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defaults, setup),
        cmocka_unit_test_setup(test_zeros, setup),
        cmocka_unit_test_setup(test_default_is_lowered_to_the_maximum, setup),
        cmocka_unit_test_setup(test_extremes, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
