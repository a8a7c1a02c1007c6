/* log_rig.h - a log and its readers. Time is what the test says it is: loop.now_us is set by hand,
 * and commits happen in sbx_loop_finish, which neither sleeps nor looks at a clock. */
#ifndef SBX_TESTS_LOG_RIG_H
#define SBX_TESTS_LOG_RIG_H

#include "proc/log.h"

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
    struct sbx_diag diag;
    struct sbx_limits limits;
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

static inline void on_room(void *ctx)
{
    assert_ptr_equal(ctx, &t);
    t.room_calls++;
}

static inline void on_data(struct sbx_cursor *c)
{
    SBX_LIST_OF(c, struct reader, cursor)->told++;
}

static inline bool took_some(struct sbx_cursor *c)
{
    struct reader *r = SBX_LIST_OF(c, struct reader, cursor);
    bool took = r->took;
    r->took = false;
    return took;
}

static inline void open_log(uint64_t cap)
{
    struct sbx_store_options o = {.loop = &t.loop, .diag = &t.diag, .limits = &t.limits,
                                  .memory = -1};
    struct sbx_store_log_options lo = {.number = 1, .cap = cap, .in_file = true};
    struct sbx_err err;
    memset(&t, 0, sizeof t);
    assert_int_equal(sbx_loop_init(&t.loop), 0);
    t.loop.now_us = 1000 * SECOND;
    t.diag.level = SBX_DIAG_ERROR;
    sbx_limits_default(&t.limits);
    t.store = sbx_store_open(&o, &err);
    assert_non_null(t.store);
    assert_int_equal(sbx_log_init(&t.log, &t.loop, t.store, &lo, NULL, on_room, &t), 0);
}

static inline void close_log(void)
{
    sbx_log_deinit(&t.log);
    sbx_store_close(t.store);
    sbx_loop_deinit(&t.loop);
}

static inline void append(enum sbx_log_stream stream, size_t n)
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

static inline void commit(void)
{
    sbx_loop_finish(&t.loop);
}

/* Ten entries of ten bytes, stdout and stderr in turns. */
static inline void fill_ten(void)
{
    unsigned i;
    for (i = 0; i < 10; i++)
        append(i % 2 == 0 ? SBX_STREAM_STDOUT : SBX_STREAM_STDERR, 10);
    commit();
}

static inline void open_reader(struct reader *r, uint64_t next, unsigned streams)
{
    memset(r, 0, sizeof *r);
    sbx_cursor_open(&r->cursor, &t.log, next, streams, on_data, took_some);
}

static inline enum sbx_step step(struct reader *r)
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

static inline void expect_entry(struct reader *r, uint64_t sequence)
{
    assert_int_equal(step(r), SBX_STEP_ENTRY);
    assert_int_equal(r->e.sequence, sequence);
}

#endif
