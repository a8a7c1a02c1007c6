/* The store in memory, rule by rule. */
#include "store_rig.h"

static void test_numbers_are_never_the_same(void **state)
{
    (void)state;
    open_store(1000);
    assert_int_equal(sbx_store_next_number(t.store), 1);
    assert_int_equal(sbx_store_next_number(t.store), 2);
    assert_int_equal(sbx_store_next_number(t.store), 3);
    close_store();
}

static void test_empty(void **state)
{
    struct sbx_entry e;
    (void)state;
    open_store(1000);
    assert_true(sbx_store_log_first(t.log) > sbx_store_log_last(t.log));
    assert_int_equal(sbx_store_log_last(t.log), 0);
    assert_false(sbx_store_log_read(t.log, 0, &e));
    assert_false(sbx_store_log_read(t.log, 1, &e));
    assert_int_equal(sbx_store_log_cap(t.log), 1000);
    close_store();
}

static void test_uncommitted_is_invisible(void **state)
{
    struct sbx_entry e;
    (void)state;
    open_store(100000);
    append(SBX_STREAM_STDOUT, 10);
    assert_int_equal(sbx_store_log_last(t.log), 0);
    assert_false(sbx_store_log_read(t.log, 1, &e));
    assert_int_equal(sbx_store_log_offset(t.log), 10);
    assert_int_equal(t.commits, 0);
    commit();
    assert_int_equal(t.commits, 1);
    assert_int_equal(sbx_store_log_last(t.log), 1);
    check_all();
    append(SBX_STREAM_STDOUT, 5);
    assert_int_equal(entry(1).len, 10);
    assert_false(sbx_store_log_read(t.log, 2, &e));
    commit();
    check_all();
    assert_int_equal(entry(1).len, 10);
    assert_int_equal(entry(2).len, 5);
    close_store();
}

static void test_one_commit_for_a_turn(void **state)
{
    (void)state;
    open_store(100000);
    append(SBX_STREAM_STDOUT, 10);
    append(SBX_STREAM_STDERR, 10);
    append(SBX_STREAM_STDOUT, 10);
    commit();
    assert_int_equal(t.commits, 1);
    commit();
    assert_int_equal(t.commits, 1);
    close_store();
}

static void test_adjacent_output_of_a_turn_is_one_entry(void **state)
{
    (void)state;
    open_store(100000);
    append(SBX_STREAM_STDOUT, 3);
    append(SBX_STREAM_STDOUT, 4);
    append(SBX_STREAM_STDERR, 5);
    append(SBX_STREAM_STDOUT, 6);
    commit();
    assert_int_equal(sbx_store_log_last(t.log), 3);
    assert_int_equal(entry(1).len, 7);
    assert_int_equal(entry(2).len, 5);
    assert_int_equal(entry(2).stream, SBX_STREAM_STDERR);
    assert_int_equal(entry(3).len, 6);
    check_all();
    close_store();
}

/* Entries have a limit, so that evicting one is not losing most of a small log. */
static void test_long_output_is_split(void **state)
{
    uint64_t s;
    (void)state;
    open_store(8000);
    append(SBX_STREAM_STDOUT, 2500);
    append(SBX_STREAM_STDOUT, 1);
    commit();
    assert_int_equal(sbx_store_log_last(t.log), 3);
    for (s = 1; s <= 2; s++)
        assert_int_equal(entry(s).len, 1000);
    assert_int_equal(entry(3).len, 501);
    check_all();
    close_store();
}

static void test_evicts_by_bytes(void **state)
{
    unsigned i;
    (void)state;
    open_store(1000);
    for (i = 0; i < 10; i++) {
        append(SBX_STREAM_STDOUT, 100);
        commit();
    }
    assert_int_equal(sbx_store_log_first(t.log), 1);
    append(SBX_STREAM_STDOUT, 1);
    assert_int_equal(sbx_store_log_first(t.log), 2);
    commit();
    check_all();
    append(SBX_STREAM_STDOUT, 99);
    commit();
    assert_int_equal(sbx_store_log_first(t.log), 2);
    append(SBX_STREAM_STDOUT, 101);
    commit();
    assert_int_equal(sbx_store_log_first(t.log), 4);
    assert_int_equal(entry(4).offset, 300);
    check_all();
    close_store();
}

static void test_evicts_by_entries(void **state)
{
    uint64_t most, i;
    (void)state;
    open_store(1);
    assert_int_equal(sbx_store_log_max_entries(t.log), 256);
    close_store();
    open_store(8192);
    most = sbx_store_log_max_entries(t.log);
    assert_int_equal(most, 512);
    for (i = 0; i < most; i++) {
        append(SBX_STREAM_STDOUT, 1);
        commit();
    }
    assert_int_equal(sbx_store_log_first(t.log), 1);
    append(SBX_STREAM_STDOUT, 1);
    commit();
    assert_int_equal(sbx_store_log_first(t.log), 2);
    check_all();
    close_store();
}

static void test_small_caps_keep_the_newest_bytes(void **state)
{
    static const uint64_t caps[] = {1, 2, 7, 64, 511, 512, 513, 1000, 4095};
    size_t i, n;
    (void)state;
    for (i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        uint64_t cap = caps[i], limit = cap < 512 ? cap : 512;
        open_store(cap);
        for (n = 1; n <= 3 * cap + 1 && n <= 5000; n = n * 3 + 1) {
            append(SBX_STREAM_PTY, n);
            commit();
            check_all();
            /* Whole entries are evicted, and one is at most `limit` long. */
            assert_true(t.total <= cap ||
                        t.total - entry(sbx_store_log_first(t.log)).offset + limit > cap);
        }
        append(SBX_STREAM_PTY, cap);
        commit();
        if (cap <= 512) {
            assert_int_equal(sbx_store_log_first(t.log), sbx_store_log_last(t.log));
            assert_int_equal(entry(sbx_store_log_last(t.log)).len, cap);
        }
        check_all();
        close_store();
    }
}

/* What one turn evicts of its own output was numbered all the same. */
static void test_more_in_a_turn_than_the_cap(void **state)
{
    uint64_t before;
    (void)state;
    open_store(4096);
    append(SBX_STREAM_STDOUT, 100);
    commit();
    append(SBX_STREAM_STDOUT, 300000);
    assert_true(sbx_store_log_first(t.log) > sbx_store_log_last(t.log));
    commit();
    check_all();
    before = sbx_store_log_last(t.log);
    assert_true(before >= 300000 / 512);
    append(SBX_STREAM_STDOUT, 1);
    commit();
    assert_int_equal(sbx_store_log_last(t.log), before + 1);
    check_all();
    close_store();
}

static void test_reserved_but_not_used(void **state)
{
    size_t room, i;
    (void)state;
    open_store(1u << 20);
    for (i = 0; i < 5; i++)
        assert_non_null(sbx_store_log_reserve(t.log, &room));
    append(SBX_STREAM_STDOUT, 127u * 1024u); /* leaves less than a read's room */
    commit();
    for (i = 0; i < 5; i++)
        assert_non_null(sbx_store_log_reserve(t.log, &room));
    check_all();
    append(SBX_STREAM_STDOUT, 70000);
    commit();
    check_all();
    close_store();
}

/* A reader may hold bytes that the log has evicted; nobody writes over them. */
static void test_a_held_blob_is_not_reused(void **state)
{
    struct sbx_entry e;
    size_t i;
    (void)state;
    open_store(200000);
    append(SBX_STREAM_STDOUT, 5000);
    commit();
    e = entry(1);
    (void)sbx_blob_ref(e.blob);
    append(SBX_STREAM_STDOUT, 3000000);
    commit();
    check_all();
    assert_true(sbx_store_log_first(t.log) > 1);
    for (i = 0; i < e.len; i++)
        assert_int_equal(e.data[i], pattern_at(i));
    sbx_blob_unref(e.blob);
    close_store();
}

static void test_two_logs_of_a_store(void **state)
{
    struct sbx_store_log_options o = log_options(50);
    struct sbx_store_log *other;
    struct sbx_entry e;
    size_t room;
    (void)state;
    open_store(1000);
    o.number = 2;
    other = sbx_store_log_open(t.store, &o);
    append(SBX_STREAM_STDOUT, 10);
    memset(sbx_store_log_reserve(other, &room), 'x', 20);
    sbx_store_log_append(other, 20, SBX_STREAM_STDERR, 5);
    commit();
    assert_int_equal(t.commits, 2);
    check_all();
    assert_true(sbx_store_log_read(other, 1, &e));
    assert_int_equal(e.len, 20);
    append(SBX_STREAM_STDOUT, 10);
    memset(sbx_store_log_reserve(other, &room), 'y', 20);
    sbx_store_log_append(other, 20, SBX_STREAM_STDERR, 5);
    sbx_store_log_close(other); /* uncommitted: the commit must not look for it */
    commit();
    assert_int_equal(t.commits, 3);
    check_all();
    close_store();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_never_the_same),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_uncommitted_is_invisible),
        cmocka_unit_test(test_one_commit_for_a_turn),
        cmocka_unit_test(test_adjacent_output_of_a_turn_is_one_entry),
        cmocka_unit_test(test_long_output_is_split),
        cmocka_unit_test(test_evicts_by_bytes),
        cmocka_unit_test(test_evicts_by_entries),
        cmocka_unit_test(test_small_caps_keep_the_newest_bytes),
        cmocka_unit_test(test_more_in_a_turn_than_the_cap),
        cmocka_unit_test(test_reserved_but_not_used),
        cmocka_unit_test(test_a_held_blob_is_not_reused),
        cmocka_unit_test(test_two_logs_of_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
