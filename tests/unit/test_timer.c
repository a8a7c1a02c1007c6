/* Timers fire in the order of their times, whatever is set, moved and cancelled in between. */
#include "os/timer.h"

#include "random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MANY 500u

static struct sbx_timer timers[MANY];

static void on_fire(struct sbx_timer *t)
{
    (void)t;
}

static void init_all(void)
{
    size_t i;
    for (i = 0; i < MANY; i++)
        sbx_timer_init(&timers[i], on_fire);
}

static void test_empty(void **state)
{
    struct sbx_timers h = {NULL};
    (void)state;
    init_all();
    assert_null(sbx_timers_pop_due(&h, UINT64_MAX));
    sbx_timers_cancel(&h, &timers[0]);
    assert_null(sbx_timers_pop_due(&h, UINT64_MAX));
}

static void test_due_or_not(void **state)
{
    struct sbx_timers h = {NULL};
    (void)state;
    init_all();
    sbx_timers_set(&h, &timers[0], 100);
    assert_true(timers[0].armed);
    assert_null(sbx_timers_pop_due(&h, 99));
    assert_ptr_equal(sbx_timers_pop_due(&h, 100), &timers[0]);
    assert_false(timers[0].armed);
    assert_null(sbx_timers_pop_due(&h, UINT64_MAX));
    sbx_timers_set(&h, &timers[0], 0);
    assert_ptr_equal(sbx_timers_pop_due(&h, 0), &timers[0]);
}

static void test_moving_and_cancelling(void **state)
{
    struct sbx_timers h = {NULL};
    (void)state;
    init_all();
    sbx_timers_set(&h, &timers[0], 10);
    sbx_timers_set(&h, &timers[1], 20);
    sbx_timers_set(&h, &timers[2], 30);
    sbx_timers_set(&h, &timers[0], 25); /* later */
    sbx_timers_set(&h, &timers[2], 5);  /* earlier */
    sbx_timers_cancel(&h, &timers[1]);
    sbx_timers_cancel(&h, &timers[1]);
    assert_ptr_equal(sbx_timers_pop_due(&h, 100), &timers[2]);
    assert_ptr_equal(sbx_timers_pop_due(&h, 100), &timers[0]);
    assert_null(sbx_timers_pop_due(&h, UINT64_MAX));
}

static void test_sorted(void **state)
{
    struct sbx_timers h = {NULL};
    uint64_t last = 0;
    size_t i;
    struct sbx_timer *t;
    (void)state;
    init_all();
    for (i = 0; i < MANY; i++)
        sbx_timers_set(&h, &timers[i], (i * 7919) % 263); /* with equal ones */
    for (i = 0; (t = sbx_timers_pop_due(&h, UINT64_MAX)) != NULL; i++) {
        assert_true(t->at_us >= last);
        last = t->at_us;
    }
    assert_int_equal(i, MANY);
}

static struct sbx_timer *model_first(void)
{
    struct sbx_timer *first = NULL;
    size_t i;
    for (i = 0; i < MANY; i++)
        if (timers[i].armed && (first == NULL || timers[i].at_us < first->at_us))
            first = &timers[i];
    return first;
}

static void check_pop(struct sbx_timers *h, uint64_t now)
{
    struct sbx_timer *first = model_first(), *got;
    uint64_t at = first != NULL ? first->at_us : UINT64_MAX;
    got = sbx_timers_pop_due(h, now);
    assert_int_equal(got != NULL, at <= now);
    if (got != NULL)
        assert_int_equal(got->at_us, at); /* of equal ones, any */
}

static void test_random_against_a_scan(void **state)
{
    struct random r = {99};
    struct sbx_timers h = {NULL};
    uint64_t now = 0;
    unsigned i;
    (void)state;
    init_all();
    for (i = 0; i < 20000; i++) {
        struct sbx_timer *t = &timers[random_below(&r, MANY)];
        switch (random_below(&r, 4)) {
        case 0:
        case 1:
            sbx_timers_set(&h, t, now + random_below(&r, 1000));
            break;
        case 2:
            sbx_timers_cancel(&h, t);
            assert_false(t->armed);
            break;
        default:
            now += random_below(&r, 20);
            check_pop(&h, now);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_due_or_not),
        cmocka_unit_test(test_moving_and_cancelling),
        cmocka_unit_test(test_sorted),
        cmocka_unit_test(test_random_against_a_scan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
