/* The clocks, and the date as HTTP wants it. */
#include "os/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void test_monotonic(void **state)
{
    uint64_t last = sbx_clock_mono_us();
    unsigned i;
    (void)state;
    for (i = 0; i < 100000; i++) {
        uint64_t now = sbx_clock_mono_us();
        assert_true(now >= last);
        last = now;
    }
}

static void test_wall(void **state)
{
    uint64_t before = (uint64_t)time(NULL), ms = sbx_clock_wall_ms();
    (void)state;
    assert_in_range(ms / 1000, before - 1, (uint64_t)time(NULL) + 1);
}

static void test_http_date(void **state)
{
    static const struct {
        uint64_t s;
        const char *text;
    } cases[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* the example of RFC 9110, 5.6.7 */
        {951782399, "Mon, 28 Feb 2000 23:59:59 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {1709251199, "Thu, 29 Feb 2024 23:59:59 GMT"},
        {4102444800, "Fri, 01 Jan 2100 00:00:00 GMT"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[SBX_HTTP_DATE_LEN + 1];
        memset(out, '#', sizeof out);
        sbx_clock_http_date(cases[i].s, out);
        assert_int_equal(strlen(cases[i].text), SBX_HTTP_DATE_LEN);
        assert_memory_equal(out, cases[i].text, SBX_HTTP_DATE_LEN);
        assert_int_equal(out[SBX_HTTP_DATE_LEN], '#');
    }
}

static void test_http_date_of_another_time_zone(void **state)
{
    char out[SBX_HTTP_DATE_LEN];
    (void)state;
    assert_int_equal(setenv("TZ", "XYZ-11", 1), 0);
    tzset();
    sbx_clock_http_date(784111777, out);
    assert_memory_equal(out, "Sun, 06 Nov 1994 08:49:37 GMT", SBX_HTTP_DATE_LEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic),
        cmocka_unit_test(test_wall),
        cmocka_unit_test(test_http_date),
        cmocka_unit_test(test_http_date_of_another_time_zone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
