/* store_rig.h - a log of the store in memory, and a model of what must be in it. Byte k of what is
 * appended is pattern_at(k), so every entry can be checked by its offset alone; which stream and
 * which turn a byte belongs to is kept in the model. */
#ifndef SBX_TESTS_STORE_RIG_H
#define SBX_TESTS_STORE_RIG_H

#include "proc/store.h"

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
    struct sbx_diag diag;
    struct sbx_limits limits;
    struct sbx_store *store;
    struct sbx_store_log *log;
    unsigned commits;     /* calls of on_commit */
    uint64_t total;       /* bytes appended */
    uint64_t committed;   /* bytes before the last commit */
    unsigned turn;
    struct piece pieces[MOST_APPENDS];
    size_t npieces;
} t;

static inline void on_commit(void *ctx)
{
    assert_ptr_equal(ctx, &t);
    t.commits++;
}

/* What a log of the rig is opened with. */
static inline struct sbx_store_log_options log_options(uint64_t cap)
{
    return (struct sbx_store_log_options){.number = 1, .cap = cap, .in_file = true,
                                          .on_commit = on_commit, .ctx = &t};
}

/* A store in memory alone; `dir` and the like may be set before it is opened. */
static inline struct sbx_store_options store_options(void)
{
    return (struct sbx_store_options){.loop = &t.loop, .diag = &t.diag, .limits = &t.limits,
                                      .memory = -1};
}

static inline void open_store_with(uint64_t cap, const struct sbx_store_options *o)
{
    struct sbx_store_log_options lo = log_options(cap);
    struct sbx_err err;
    t.store = sbx_store_open(o, &err);
    if (t.store == NULL)
        fail_msg("%s", err.text);
    t.log = sbx_store_log_open(t.store, &lo);
    assert_non_null(t.log);
}

/* The rig without a store. */
static inline void open_rig(void)
{
    memset(&t, 0, sizeof t);
    assert_int_equal(sbx_loop_init(&t.loop), 0);
    t.diag.level = SBX_DIAG_ERROR;
    sbx_limits_default(&t.limits);
}

static inline void open_store(uint64_t cap)
{
    struct sbx_store_options o;
    open_rig();
    o = store_options();
    open_store_with(cap, &o);
}

static inline void close_store(void)
{
    sbx_store_log_close(t.log);
    sbx_store_close(t.store);
    sbx_loop_deinit(&t.loop);
}

/* Up to n bytes, as one read would bring them. Returns how many there was room for. */
static inline size_t append_some(enum sbx_log_stream stream, size_t n)
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

static inline void append(enum sbx_log_stream stream, size_t n)
{
    while (n > 0)
        n -= append_some(stream, n);
}

static inline void commit(void)
{
    sbx_loop_finish(&t.loop);
    t.committed = t.total;
    t.turn++;
}

static inline struct sbx_entry entry(uint64_t sequence)
{
    struct sbx_entry e;
    assert_true(sbx_store_log_read(t.log, sequence, &e));
    assert_int_equal(e.sequence, sequence);
    return e;
}

static inline const struct piece *piece_of(uint64_t offset)
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

static inline void check_entry(const struct sbx_entry *e)
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
static inline void check_all(void)
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

#endif
