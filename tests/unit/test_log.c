/* Cursors over one log: old and live entries, gaps, the end, and where to start. */
#include "log_rig.h"

#include "base/mem.h"
#include "gate.h"

#include <errno.h>

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
    /* One that asks for what is gone already cannot know how much that was. */
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

static void test_out_of_memory(void **state)
{
    const struct sbx_store_log_options o = {.number = 2, .cap = 100, .in_file = true};
    struct gate g = {0, 1, true};
    struct sbx_log log;
    (void)state;
    open_log(100);
    sbx_mem_set_gate(gate_ask, &g);
    assert_int_equal(sbx_log_init(&log, &t.loop, t.store, &o, NULL, on_room, &t), -ENOMEM);
    sbx_mem_set_gate(NULL, NULL);
    sbx_log_deinit(&log);
    close_log();
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
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
