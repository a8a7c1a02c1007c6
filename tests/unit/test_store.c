/* The store in memory. Byte k of what is appended is pattern_at(k), so every entry can be checked
 * by its offset alone; which stream and which turn a byte belongs to is kept in a model. */
#include "proc/store.h"

#include "base/mem.h"
#include "gate.h"
#include "random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MOST_APPENDS 60000u

struct piece { /* what one append brought */
    uint64_t offset;
    enum sbx_log_stream stream;
    unsigned turn;
    uint64_t time_ms;
};

static struct {
    struct sbx_loop loop;
    struct sbx_store *store;
    struct sbx_store_log *log;
    unsigned commits;     /* calls of on_commit */
    uint64_t total;       /* bytes appended */
    uint64_t committed;   /* bytes before the last commit */
    unsigned turn;
    struct piece pieces[MOST_APPENDS];
    size_t npieces;
} t;

static void on_commit(void *ctx)
{
    assert_ptr_equal(ctx, &t);
    t.commits++;
}

static void open_store(uint64_t cap)
{
    memset(&t, 0, sizeof t);
    assert_int_equal(sbx_loop_init(&t.loop), 0);
    t.store = sbx_store_open(&t.loop);
    assert_non_null(t.store);
    t.log = sbx_store_log_open(t.store, cap, on_commit, &t);
    assert_non_null(t.log);
}

static void close_store(void)
{
    sbx_store_log_close(t.log);
    sbx_store_close(t.store);
    sbx_loop_deinit(&t.loop);
}

/* Up to n bytes, as one read would bring them. Returns how many there was room for. */
static size_t append_some(enum sbx_log_stream stream, size_t n)
{
    size_t room, i;
    uint8_t *to = sbx_store_log_reserve(t.log, &room);
    assert_non_null(to);
    assert_true(room > 0);
    if (n > room)
        n = room;
    for (i = 0; i < n; i++)
        to[i] = pattern_at(t.total + i);
    assert_true(t.npieces < MOST_APPENDS);
    t.pieces[t.npieces++] = (struct piece){t.total, stream, t.turn, 1000 + t.turn};
    sbx_store_log_append(t.log, n, stream, 1000 + t.turn);
    t.total += n;
    return n;
}

static void append(enum sbx_log_stream stream, size_t n)
{
    while (n > 0)
        n -= append_some(stream, n);
}

static void commit(void)
{
    sbx_loop_finish(&t.loop);
    t.committed = t.total;
    t.turn++;
}

static struct sbx_entry entry(uint64_t sequence)
{
    struct sbx_entry e;
    assert_true(sbx_store_log_read(t.log, sequence, &e));
    assert_int_equal(e.sequence, sequence);
    return e;
}

static const struct piece *piece_of(uint64_t offset)
{
    size_t lo = 0, hi = t.npieces;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (t.pieces[mid].offset <= offset)
            lo = mid;
        else
            hi = mid;
    }
    return &t.pieces[lo];
}

static void check_entry(const struct sbx_entry *e)
{
    const struct piece *first = piece_of(e->offset), *last = piece_of(e->offset + e->len - 1);
    size_t i;
    assert_true(e->len > 0);
    assert_int_equal(e->stream, first->stream);
    assert_int_equal(e->time_ms, first->time_ms);
    for (; first < last; first++) {
        assert_int_equal(first[1].stream, e->stream);
        assert_int_equal(first[1].turn, first->turn);
    }
    for (i = 0; i < e->len; i++)
        if (e->data[i] != pattern_at(e->offset + i))
            fail_msg("entry %llu differs at %zu", (unsigned long long)e->sequence, i);
}

/* The whole of what is kept: numbers without a hole, bytes without a gap, bounds, and nothing
 * thrown away without need. */
static void check_all(void)
{
    uint64_t first = sbx_store_log_first(t.log), last = sbx_store_log_last(t.log), s, at;
    uint64_t cap = sbx_store_log_cap(t.log), most = sbx_store_log_max_entries(t.log);
    struct sbx_entry e = {0};
    assert_false(sbx_store_log_read(t.log, first - 1, &e));
    assert_false(sbx_store_log_read(t.log, last + 1, &e));
    assert_true(first <= last);
    assert_true(last - first + 1 <= most);
    at = entry(first).offset;
    assert_true(t.total - at <= cap);
    if (first > 1)
        assert_true(t.total - at + cap / 8 + 512 >= cap || last - first + 1 == most);
    for (s = first; s <= last; s++) {
        e = entry(s);
        assert_int_equal(e.offset, at);
        check_entry(&e);
        at += e.len;
    }
    assert_int_equal(at, t.committed);
    assert_int_equal(sbx_store_log_offset(t.log), t.total);
}

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
    struct sbx_store_log *other;
    struct sbx_entry e;
    size_t room;
    (void)state;
    open_store(1000);
    other = sbx_store_log_open(t.store, 50, on_commit, &t);
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

static void random_turn(struct random *r, size_t longest)
{
    size_t appends = 1 + random_below(r, 4);
    while (appends-- > 0)
        append((enum sbx_log_stream)random_below(r, 3), 1 + random_below(r, longest));
    commit();
}

static void read_at_random(struct random *r)
{
    uint64_t first = sbx_store_log_first(t.log), last = sbx_store_log_last(t.log);
    unsigned i;
    for (i = 0; i < 20; i++) {
        struct sbx_entry e = entry(first + random_below(r, (size_t)(last - first + 1)));
        check_entry(&e);
    }
}

static void test_random_against_the_model(void **state)
{
    static const struct {
        uint64_t cap;
        size_t longest;
        unsigned turns;
    } shapes[] = {{1u << 20, 90000, 150}, {300000, 3000, 600}, {5000, 40, 1500}, {700, 3000, 400},
                  {100, 9, 1500}, {20000, 1, 2500}};
    struct random r = {88172645463325252ull};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        unsigned turn;
        open_store(shapes[i].cap);
        for (turn = 0; turn < shapes[i].turns; turn++) {
            random_turn(&r, shapes[i].longest);
            read_at_random(&r);
            if (turn % 64 == 0)
                check_all();
        }
        check_all();
        close_store();
    }
}

/* --- out of memory --- */

static void fill_with_little_memory(void *ctx, const struct gate *g)
{
    struct sbx_loop *loop = ctx;
    struct sbx_store *store = sbx_store_open(loop);
    struct sbx_store_log *log = NULL;
    uint64_t appended = 0;
    size_t room, i;
    if (store != NULL)
        log = sbx_store_log_open(store, 300000, on_commit, &t);
    for (i = 0; log != NULL && i < 6; i++) {
        uint8_t *to = sbx_store_log_reserve(log, &room);
        if (to == NULL)
            continue;
        memset(to, 'a', room);
        sbx_store_log_append(log, room, SBX_STREAM_STDOUT, 1);
        appended += room;
    }
    sbx_loop_finish(loop);
    assert_true(log == NULL || sbx_store_log_offset(log) == appended);
    assert_true(gate_hit(g) || appended > 300000);
    if (log != NULL)
        sbx_store_log_close(log);
    if (store != NULL)
        sbx_store_close(store);
}

static void test_out_of_memory(void **state)
{
    struct sbx_loop loop;
    (void)state;
    assert_int_equal(sbx_loop_init(&loop), 0);
    assert_true(gate_each(fill_with_little_memory, &loop) >= 8);
    sbx_loop_deinit(&loop);
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
        cmocka_unit_test(test_random_against_the_model),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
