/* One log, many cursors. Time is what the test says it is: loop.now_us is set by hand, and commits
 * happen in sbx_loop_finish, which neither sleeps nor looks at a clock. */
#include "proc/log.h"

#include "base/mem.h"
#include "gate.h"
#include "random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000u
#define ALL (SBX_STREAMS_COMBINED | SBX_STREAMS_PTY)

static struct {
    struct sbx_loop loop;
    struct sbx_store *store;
    struct sbx_log log;
    uint64_t total;
    unsigned room_calls;
} t;

struct reader {
    struct sbx_cursor cursor;
    unsigned told;
    bool took;     /* what took_some says next */
    uint64_t at;   /* offset up to which it was told everything */
    uint64_t gone; /* bytes of gaps */
    struct sbx_entry e;
    struct sbx_gap gap;
};

static void on_room(void *ctx)
{
    assert_ptr_equal(ctx, &t);
    t.room_calls++;
}

static void on_data(struct sbx_cursor *c)
{
    SBX_LIST_OF(c, struct reader, cursor)->told++;
}

static bool took_some(struct sbx_cursor *c)
{
    struct reader *r = SBX_LIST_OF(c, struct reader, cursor);
    bool took = r->took;
    r->took = false;
    return took;
}

static void open_log(uint64_t cap)
{
    memset(&t, 0, sizeof t);
    assert_int_equal(sbx_loop_init(&t.loop), 0);
    t.loop.now_us = 1000 * SECOND;
    t.store = sbx_store_open(&t.loop);
    assert_non_null(t.store);
    assert_int_equal(sbx_log_init(&t.log, &t.loop, t.store, cap, on_room, &t), 0);
}

static void close_log(void)
{
    sbx_log_deinit(&t.log);
    sbx_store_close(t.store);
    sbx_loop_deinit(&t.loop);
}

static void append(enum sbx_log_stream stream, size_t n)
{
    while (n > 0) {
        size_t room, i;
        uint8_t *to = sbx_log_reserve(&t.log, &room);
        assert_non_null(to);
        if (room > n)
            room = n;
        for (i = 0; i < room; i++)
            to[i] = pattern_at(t.total + i);
        sbx_log_append(&t.log, room, stream);
        t.total += room;
        n -= room;
    }
}

static void commit(void)
{
    sbx_loop_finish(&t.loop);
}

/* Ten entries of ten bytes, stdout and stderr in turns. */
static void fill_ten(void)
{
    unsigned i;
    for (i = 0; i < 10; i++)
        append(i % 2 == 0 ? SBX_STREAM_STDOUT : SBX_STREAM_STDERR, 10);
    commit();
}

static void open_reader(struct reader *r, uint64_t next, unsigned streams)
{
    memset(r, 0, sizeof *r);
    sbx_cursor_open(&r->cursor, &t.log, next, streams, on_data, took_some);
}

static enum sbx_step step(struct reader *r)
{
    enum sbx_step s = sbx_cursor_next(&r->cursor, &r->e, &r->gap);
    if (s == SBX_STEP_ENTRY) {
        size_t i;
        for (i = 0; i < r->e.len; i++)
            assert_int_equal(r->e.data[i], pattern_at(r->e.offset + i));
        r->at = r->e.offset + r->e.len;
    }
    return s;
}

static void expect_entry(struct reader *r, uint64_t sequence)
{
    assert_int_equal(step(r), SBX_STEP_ENTRY);
    assert_int_equal(r->e.sequence, sequence);
}

/* --- steps --- */

static void test_reads_live_and_old_alike(void **state)
{
    struct reader r;
    uint64_t s;
    (void)state;
    open_log(10000);
    fill_ten();
    open_reader(&r, 1, ALL);
    for (s = 1; s <= 10; s++)
        expect_entry(&r, s);
    assert_int_equal(step(&r), SBX_STEP_DRY);
    assert_int_equal(r.told, 0);
    append(SBX_STREAM_STDOUT, 3);
    assert_int_equal(step(&r), SBX_STEP_DRY);
    commit();
    assert_int_equal(r.told, 1);
    expect_entry(&r, 11);
    assert_int_equal(step(&r), SBX_STEP_DRY);
    sbx_cursor_close(&r.cursor);
    close_log();
}

static void test_ends_after_the_last_entry(void **state)
{
    struct reader r;
    (void)state;
    open_log(10000);
    append(SBX_STREAM_STDOUT, 3);
    commit();
    open_reader(&r, 1, ALL);
    sbx_log_end(&t.log);
    assert_int_equal(r.told, 1);
    expect_entry(&r, 1);
    assert_int_equal(step(&r), SBX_STEP_END);
    assert_int_equal(step(&r), SBX_STEP_END);
    sbx_cursor_close(&r.cursor);
    sbx_cursor_close(&r.cursor);
    open_reader(&r, 7, ALL); /* beyond the end */
    assert_int_equal(step(&r), SBX_STEP_END);
    sbx_cursor_close(&r.cursor);
    close_log();
}

static void test_filters_streams(void **state)
{
    struct reader r;
    (void)state;
    open_log(10000);
    fill_ten();
    open_reader(&r, 0, SBX_STREAMS_OF(SBX_STREAM_STDERR));
    expect_entry(&r, 2);
    expect_entry(&r, 4);
    expect_entry(&r, 6);
    expect_entry(&r, 8);
    expect_entry(&r, 10);
    assert_int_equal(step(&r), SBX_STEP_DRY);
    sbx_cursor_close(&r.cursor);
    close_log();
}

static void test_gap_says_what_is_gone(void **state)
{
    struct reader r, late;
    (void)state;
    open_log(100);
    fill_ten();
    open_reader(&r, 1, ALL);
    expect_entry(&r, 1);
    expect_entry(&r, 2);
    append(SBX_STREAM_STDOUT, 55); /* evicts 1 to 6 */
    commit();
    assert_int_equal(step(&r), SBX_STEP_GAP);
    assert_int_equal(r.gap.from, 3);
    assert_int_equal(r.gap.to, 6);
    assert_true(r.gap.bytes_known);
    assert_int_equal(r.gap.bytes, 40);
    expect_entry(&r, 7);
    /* One that asks for what is gone already cannot know how much that was, and has no gap twice. */
    open_reader(&late, 2, ALL);
    assert_int_equal(step(&late), SBX_STEP_GAP);
    assert_int_equal(late.gap.from, 2);
    assert_int_equal(late.gap.to, 6);
    assert_false(late.gap.bytes_known);
    expect_entry(&late, 7);
    sbx_cursor_close(&r.cursor);
    sbx_cursor_close(&late.cursor);
    close_log();
}

/* Opened at the end while output of the same turn is appended and not committed: that output is
 * ahead of the reader, and what of it is evicted is a gap of exactly that many bytes. */
static void test_gap_after_uncommitted_output(void **state)
{
    struct reader r;
    uint64_t lost;
    (void)state;
    open_log(100);
    fill_ten();
    append(SBX_STREAM_STDOUT, 40);
    open_reader(&r, sbx_log_last(&t.log) + 1, ALL);
    append(SBX_STREAM_STDERR, 90);
    commit();
    assert_int_equal(step(&r), SBX_STEP_GAP);
    assert_int_equal(r.gap.from, 11);
    lost = r.gap.bytes;
    assert_int_equal(step(&r), SBX_STEP_ENTRY);
    if (r.gap.bytes_known)
        assert_int_equal(lost, r.e.offset - 100);
    sbx_cursor_close(&r.cursor);
    close_log();
}

/* All that is committed may be evicted by what is not yet: that is no end and no entry. */
static void test_dry_while_all_is_uncommitted(void **state)
{
    struct reader r;
    (void)state;
    open_log(100);
    fill_ten();
    open_reader(&r, 1, ALL);
    append(SBX_STREAM_STDOUT, 100);
    assert_int_equal(step(&r), SBX_STEP_DRY);
    commit();
    assert_int_equal(step(&r), SBX_STEP_GAP);
    assert_int_equal(r.gap.from, 1);
    assert_int_equal(r.gap.to, 10);
    assert_int_equal(r.gap.bytes, 100);
    expect_entry(&r, 11);
    sbx_cursor_close(&r.cursor);
    close_log();
}

static void test_entries_and_gaps_add_up(void **state)
{
    struct random rnd = {12345};
    struct reader r;
    unsigned i;
    (void)state;
    open_log(2000);
    open_reader(&r, 1, ALL);
    for (i = 0; i < 3000; i++) {
        unsigned steps = (unsigned)random_below(&rnd, 6);
        append((enum sbx_log_stream)random_below(&rnd, 3), 1 + random_below(&rnd, 700));
        if (random_below(&rnd, 3) > 0)
            commit();
        while (steps-- > 0) {
            uint64_t at = r.at;
            enum sbx_step s = step(&r);
            if (s == SBX_STEP_GAP) {
                assert_true(r.gap.bytes_known);
                r.at += r.gap.bytes;
                r.gone += r.gap.bytes;
            } else if (s == SBX_STEP_ENTRY) {
                assert_int_equal(r.e.offset, at);
            }
        }
    }
    assert_true(r.gone > 0);
    commit();
    sbx_cursor_close(&r.cursor);
    close_log();
}

/* --- where to start --- */

static void test_seek_tail(void **state)
{
    (void)state;
    open_log(10000);
    assert_int_equal(sbx_log_seek_tail(&t.log, ALL, 5, 0), 1);
    fill_ten();
    assert_int_equal(sbx_log_seek_tail(&t.log, ALL, 0, 0), 11);
    assert_int_equal(sbx_log_seek_tail(&t.log, ALL, 3, 0), 8);
    assert_int_equal(sbx_log_seek_tail(&t.log, ALL, 100, 0), 1);
    assert_int_equal(sbx_log_seek_tail(&t.log, SBX_STREAMS_OF(SBX_STREAM_STDOUT), 3, 0), 5);
    assert_int_equal(sbx_log_seek_tail(&t.log, SBX_STREAMS_PTY, 1, 0), 1);
    assert_int_equal(sbx_log_seek_tail(&t.log, ALL, 5, 9), 9);
    assert_int_equal(sbx_log_seek_tail(&t.log, ALL, 1, 3), 10);
    close_log();
}

static void test_seek_bytes(void **state)
{
    (void)state;
    open_log(100);
    assert_int_equal(sbx_log_seek_bytes(&t.log, 50), 1);
    fill_ten();
    assert_int_equal(sbx_log_seek_bytes(&t.log, 0), 11);
    assert_int_equal(sbx_log_seek_bytes(&t.log, 9), 11);
    assert_int_equal(sbx_log_seek_bytes(&t.log, 10), 10);
    assert_int_equal(sbx_log_seek_bytes(&t.log, 25), 9);
    assert_int_equal(sbx_log_seek_bytes(&t.log, 1000), 1);
    append(SBX_STREAM_STDOUT, 15);
    commit();
    assert_int_equal(sbx_log_seek_bytes(&t.log, UINT64_MAX), sbx_log_first(&t.log));
    close_log();
}

/* --- back-pressure --- */

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

static void test_out_of_memory(void **state)
{
    struct gate g = {0, 1, true};
    (void)state;
    memset(&t, 0, sizeof t);
    assert_int_equal(sbx_loop_init(&t.loop), 0);
    t.store = sbx_store_open(&t.loop);
    sbx_mem_set_gate(gate_ask, &g);
    assert_true(sbx_log_init(&t.log, &t.loop, t.store, 100, on_room, &t) < 0);
    sbx_mem_set_gate(NULL, NULL);
    sbx_log_deinit(&t.log);
    sbx_store_close(t.store);
    sbx_loop_deinit(&t.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_live_and_old_alike),
        cmocka_unit_test(test_ends_after_the_last_entry),
        cmocka_unit_test(test_filters_streams),
        cmocka_unit_test(test_gap_says_what_is_gone),
        cmocka_unit_test(test_gap_after_uncommitted_output),
        cmocka_unit_test(test_dry_while_all_is_uncommitted),
        cmocka_unit_test(test_entries_and_gaps_add_up),
        cmocka_unit_test(test_seek_tail),
        cmocka_unit_test(test_seek_bytes),
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
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
