/* Who is waited for: a process is read no faster than its slowest moving reader, and no reader that
 * has stopped holds it up. */
#include "log_rig.h"

static void test_nobody_reads(void **state)
{
    (void)state;
    open_log(SECOND);
    append(SBX_STREAM_STDOUT, 3 * SECOND);
    assert_true(sbx_log_may_grow(&t.log));
    commit();
    assert_true(sbx_log_may_grow(&t.log));
    close_log();
}

/* A cap of one million: up to 3/4, less the room for one read, may lie ahead of a moving reader. */
static void lag_behind(struct reader *r)
{
    open_log(SECOND);
    open_reader(r, 1, ALL);
    append(SBX_STREAM_STDOUT, 600000);
    commit();
    assert_true(sbx_log_may_grow(&t.log));
    append(SBX_STREAM_STDOUT, 100000);
    commit();
    assert_false(sbx_log_may_grow(&t.log));
}

static void test_waits_for_a_moving_reader(void **state)
{
    struct reader r;
    (void)state;
    lag_behind(&r);
    t.loop.now_us += SBX_LOG_STALL_US - 1;
    assert_false(sbx_log_may_grow(&t.log));
    assert_int_equal(t.room_calls, 0);
    while (step(&r) == SBX_STEP_ENTRY)
        continue;
    commit();
    assert_int_equal(t.room_calls, 1);
    assert_true(sbx_log_may_grow(&t.log));
    commit();
    assert_int_equal(t.room_calls, 1);
    sbx_cursor_close(&r.cursor);
    close_log();
}

static void test_does_not_wait_for_a_stopped_reader(void **state)
{
    struct reader r;
    (void)state;
    lag_behind(&r);
    t.loop.now_us += SBX_LOG_STALL_US;
    assert_true(sbx_log_may_grow(&t.log));
    sbx_cursor_progress(&r.cursor);
    assert_false(sbx_log_may_grow(&t.log));
    sbx_cursor_close(&r.cursor);
    close_log();
}

/* Output of the turn counts before it is committed, or one turn could outrun a reader. */
static void test_uncommitted_output_counts(void **state)
{
    struct reader r;
    (void)state;
    open_log(SECOND);
    open_reader(&r, 1, ALL);
    append(SBX_STREAM_STDOUT, 700000);
    assert_false(sbx_log_may_grow(&t.log));
    commit();
    sbx_cursor_close(&r.cursor);
    close_log();
}

static void test_many_small_entries_count(void **state)
{
    struct reader r;
    unsigned i;
    (void)state;
    open_log(SECOND);
    open_reader(&r, 1, ALL);
    for (i = 0; i < SECOND / 16 / 4 * 3; i++) {
        append(SBX_STREAM_STDOUT, 1);
        commit();
    }
    assert_true(sbx_log_may_grow(&t.log));
    for (i = 0; i < 10; i++) {
        append(SBX_STREAM_STDOUT, 1);
        commit();
    }
    assert_false(sbx_log_may_grow(&t.log));
    sbx_cursor_close(&r.cursor);
    close_log();
}

static void test_asks_the_peer_before_giving_up(void **state)
{
    struct reader r;
    unsigned i;
    (void)state;
    lag_behind(&r);
    for (i = 0; i < 20; i++) {
        t.loop.now_us += SBX_LOG_STALL_US / 2;
        r.took = true;
        assert_false(sbx_log_may_grow(&t.log));
    }
    t.loop.now_us += SBX_LOG_STALL_US;
    assert_true(sbx_log_may_grow(&t.log));
    sbx_cursor_close(&r.cursor);
    close_log();
}

/* Whoever takes its time between steps is given twice that, but not for ever. */
static void test_learns_a_slow_pace(void **state)
{
    struct reader r;
    (void)state;
    lag_behind(&r);
    t.loop.now_us += 200000;
    sbx_cursor_progress(&r.cursor);
    t.loop.now_us += 399999;
    assert_false(sbx_log_may_grow(&t.log));
    t.loop.now_us += 1;
    assert_true(sbx_log_may_grow(&t.log));
    t.loop.now_us += 100 * SECOND;
    sbx_cursor_progress(&r.cursor);
    t.loop.now_us += 600000;
    assert_true(sbx_log_may_grow(&t.log));
    sbx_cursor_close(&r.cursor);
    close_log();
}

static void test_the_slowest_reader_counts(void **state)
{
    struct reader stopped, moving;
    (void)state;
    lag_behind(&stopped);
    t.loop.now_us += SECOND;
    open_reader(&moving, 1, ALL);
    assert_false(sbx_log_may_grow(&t.log));
    sbx_cursor_close(&moving.cursor); /* nobody is left to wait for: asked again */
    commit();
    assert_int_equal(t.room_calls, 1);
    assert_true(sbx_log_may_grow(&t.log));
    sbx_cursor_close(&stopped.cursor);
    close_log();
}

static void test_a_reader_at_the_end_has_not_stopped(void **state)
{
    struct reader r;
    (void)state;
    open_log(SECOND);
    open_reader(&r, 1, ALL);
    assert_int_equal(step(&r), SBX_STEP_DRY);
    t.loop.now_us += 100 * SECOND;
    append(SBX_STREAM_STDOUT, 700000);
    assert_false(sbx_log_may_grow(&t.log));
    commit();
    assert_false(sbx_log_may_grow(&t.log));
    sbx_cursor_close(&r.cursor);
    close_log();
}

/* The timer asks again, so a process in front of a stopped reader goes on by itself. */
static void test_asks_again_by_itself(void **state)
{
    struct reader r;
    struct sbx_timer *due;
    (void)state;
    lag_behind(&r);
    due = sbx_timers_pop_due(&t.loop.timers, t.loop.now_us + SBX_LOG_STALL_US);
    assert_ptr_equal(due, &t.log.recheck);
    due->on_fire(due);
    commit();
    assert_int_equal(t.room_calls, 1);
    assert_null(sbx_timers_pop_due(&t.loop.timers, UINT64_MAX));
    sbx_cursor_close(&r.cursor);
    close_log();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_reads),
        cmocka_unit_test(test_waits_for_a_moving_reader),
        cmocka_unit_test(test_does_not_wait_for_a_stopped_reader),
        cmocka_unit_test(test_uncommitted_output_counts),
        cmocka_unit_test(test_many_small_entries_count),
        cmocka_unit_test(test_asks_the_peer_before_giving_up),
        cmocka_unit_test(test_learns_a_slow_pace),
        cmocka_unit_test(test_the_slowest_reader_counts),
        cmocka_unit_test(test_a_reader_at_the_end_has_not_stopped),
        cmocka_unit_test(test_asks_again_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
