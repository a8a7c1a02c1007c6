/* log.c - see log.h.
 *
 * Back-pressure. Before a process's output is read, the cursor that lags most is looked at. Lag
 * is what is kept for it: bytes (and entries) between its position and the end. While a moving
 * reader's lag leaves no room for another read within three quarters of the cap, the process is
 * not read; its pipe fills and it waits, exactly as it would in front of a slow terminal.
 * "Moving" is: took bytes within SBX_LOG_STALL_US. The socket tells when a write got through, but a
 * peer that reads slowly out of a large kernel buffer makes no write possible for a while, so the
 * cursor's owner is asked for the peer's own progress too (took_some). Even that comes in steps:
 * a receiver announces room only when a good part of its buffer is free. A reader that was seen
 * to take its time between steps is therefore given twice that time, within LOG_PACE_MAX_US.
 *
 * A reader that takes all it is given is never slower than its process: it is behind because we
 * read the process before we served the reader. So while such a one is more than LOG_NEAR_BYTES
 * behind, it is served first. It then finds what it wants in memory, and the log need not be read
 * back from the file that it was just written to. (Waiting also for one that took something just
 * before was tried: half as much is read back then, but such a reader never shows how long its
 * pauses are, so the patience with it is short, and on a busy machine it was outrun.)
 *
 * A log asks again on its timer only while somebody waits: nothing wakes up for an idle log. */
#include "proc/log.h"
#include "os/clock.h"

#include <assert.h>
#include <errno.h>

#define LOG_RECHECK_US 20000u
#define LOG_PACE_MAX_US 300000u
#define LOG_READ_MARGIN (64u * 1024u)
#define LOG_NEAR_BYTES (256u * 1024u)
#define LOG_FAR_BYTES (2u * 1024u * 1024u) /* who is that far behind reads the file anyway */

static void log_on_commit(void *ctx)
{
    struct sbx_log *log = ctx;
    struct sbx_list *n, *next;
    for (n = log->cursors.next; n != &log->cursors; n = next) {
        struct sbx_cursor *c = SBX_LIST_OF(n, struct sbx_cursor, node);
        next = n->next;
        c->on_data(c);
    }
}

static void log_run_again(struct sbx_task *t)
{
    struct sbx_log *log = SBX_LIST_OF(t, struct sbx_log, again);
    log->waiting = false;
    sbx_loop_cancel_timer(log->loop, &log->recheck);
    log->on_room(log->ctx);
}

/* A task, since a cursor's step must not append to the log that it is reading. */
static void log_ask_again(struct sbx_log *log)
{
    if (log->waiting)
        sbx_loop_defer(log->loop, SBX_PHASE_PULL, &log->again);
}

static void log_on_recheck(struct sbx_timer *t)
{
    log_ask_again(SBX_LIST_OF(t, struct sbx_log, recheck));
}

int sbx_log_init(struct sbx_log *log, struct sbx_loop *loop, struct sbx_store *store,
                 const struct sbx_store_log_options *o, const struct sbx_db_process *known,
                 void (*on_room)(void *ctx), void *ctx)
{
    struct sbx_store_log_options own = *o;
    *log = (struct sbx_log){.loop = loop, .on_room = on_room, .ctx = ctx};
    sbx_list_init(&log->cursors);
    sbx_timer_init(&log->recheck, log_on_recheck);
    sbx_task_init(&log->again, log_run_again);
    own.on_commit = log_on_commit;
    own.ctx = log;
    log->store = known == NULL ? sbx_store_log_open(store, &own)
                               : sbx_store_log_restore(store, &own, known);
    return log->store == NULL ? -ENOMEM : 0;
}

void sbx_log_deinit(struct sbx_log *log)
{
    assert(sbx_list_empty(&log->cursors));
    sbx_loop_cancel_timer(log->loop, &log->recheck);
    sbx_task_cancel(&log->again);
    if (log->store != NULL)
        sbx_store_log_close(log->store);
    log->store = NULL;
}

void sbx_log_refresh(struct sbx_log *log)
{
    sbx_store_log_refresh(log->store);
}

uint64_t sbx_log_first(const struct sbx_log *log)
{
    return sbx_store_log_first(log->store);
}

uint64_t sbx_log_cap(const struct sbx_log *log)
{
    return sbx_store_log_cap(log->store);
}

uint64_t sbx_log_last(const struct sbx_log *log)
{
    return sbx_store_log_last(log->store);
}

static void cursor_note_progress(struct sbx_cursor *c)
{
    uint64_t now = c->log->loop->now_us, took = now - c->progress_us;
    c->pace_us -= c->pace_us / 8;
    if (took > c->pace_us)
        c->pace_us = took < LOG_PACE_MAX_US ? took : LOG_PACE_MAX_US;
    c->progress_us = now;
}

static bool log_is_moving(struct sbx_cursor *c)
{
    uint64_t patience = 2 * c->pace_us;
    if (c->took_some(c))
        cursor_note_progress(c);
    /* A reader that has all there is cannot have stopped, nor has it been slow. */
    if (c->next > sbx_store_log_last(c->log->store))
        c->progress_us = c->log->loop->now_us;
    if (patience < SBX_LOG_STALL_US)
        patience = SBX_LOG_STALL_US;
    return c->log->loop->now_us - c->progress_us < patience;
}

/* Would one more read bring the log close to evicting what this cursor has not read? */
static bool log_lags(const struct sbx_cursor *c)
{
    const struct sbx_store_log *store = c->log->store;
    uint64_t cap = sbx_store_log_cap(store);
    uint64_t room = cap - cap / 4;
    uint64_t entries = sbx_store_log_last(store) + 1 - c->next;
    uint64_t most = sbx_store_log_max_entries(store);
    uint64_t bytes = sbx_store_log_offset(store) - c->offset;
    if (c->next <= sbx_store_log_last(store) && entries > most - most / 4)
        return true;
    /* What was read in this turn counts, although no cursor can have it yet: one turn must not
     * outrun a reader either. */
    return c->offset_known && bytes > (room > LOG_READ_MARGIN ? room - LOG_READ_MARGIN : 0);
}

static bool log_is_to_be_served(struct sbx_cursor *c)
{
    uint64_t behind = sbx_store_log_offset(c->log->store) - c->offset;
    return c->hungry != NULL && c->offset_known && behind > LOG_NEAR_BYTES &&
           behind < LOG_FAR_BYTES && c->hungry(c);
}

bool sbx_log_may_grow(struct sbx_log *log)
{
    struct sbx_list *n;
    bool wait = false;
    /* All of them, not the first alone: the patience with those that have stopped runs out at the
     * same time, or a hundred would be waited for one after the other. */
    for (n = log->cursors.next; n != &log->cursors; n = n->next) {
        struct sbx_cursor *c = SBX_LIST_OF(n, struct sbx_cursor, node);
        bool moving = log_lags(c) && log_is_moving(c);
        wait = wait || moving || log_is_to_be_served(c);
    }
    if (wait && !log->waiting)
        sbx_loop_set_timer(log->loop, &log->recheck, log->loop->now_us + LOG_RECHECK_US);
    log->waiting = log->waiting || wait;
    return !wait;
}

uint8_t *sbx_log_reserve(struct sbx_log *log, size_t *room)
{
    return sbx_store_log_reserve(log->store, room);
}

bool sbx_log_survives(const struct sbx_log *log)
{
    return sbx_store_log_survives(log->store);
}

void sbx_log_expect(struct sbx_log *log, size_t n, enum sbx_log_stream stream)
{
    log->expecting = true;
    log->read_ms = sbx_clock_wall_ms();
    sbx_store_log_expect(log->store, n, stream, log->read_ms);
}

void sbx_log_append(struct sbx_log *log, size_t n, enum sbx_log_stream stream)
{
    sbx_store_log_append(log->store, n, stream,
                         log->expecting ? log->read_ms : sbx_clock_wall_ms());
    log->expecting = false;
}

bool sbx_log_is_committed(const struct sbx_log *log)
{
    return sbx_store_log_is_committed(log->store);
}

void sbx_log_end(struct sbx_log *log)
{
    assert(sbx_log_is_committed(log));
    log->ended = true;
    sbx_store_log_end(log->store);
    log_on_commit(log);
}

uint64_t sbx_log_seek_tail(const struct sbx_log *log, unsigned streams, uint64_t entries,
                           uint64_t not_before)
{
    uint64_t at = sbx_log_last(log) + 1;
    struct sbx_entry e;
    while (entries > 0 && at > not_before && sbx_store_log_read_before(log->store, at, &e) &&
           e.sequence >= not_before) {
        at = e.sequence;
        if ((streams & SBX_STREAMS_OF(e.stream)) != 0)
            entries--;
    }
    return at < not_before ? not_before : at;
}

uint64_t sbx_log_seek_bytes(const struct sbx_log *log, uint64_t bytes)
{
    uint64_t at = sbx_log_last(log) + 1;
    struct sbx_entry e;
    while (sbx_store_log_read_before(log->store, at, &e) && e.len <= bytes) {
        bytes -= e.len;
        at = e.sequence;
    }
    return at;
}

void sbx_cursor_open(struct sbx_cursor *c, struct sbx_log *log, uint64_t next, unsigned streams,
                     void (*on_data)(struct sbx_cursor *c),
                     bool (*took_some)(struct sbx_cursor *c))
{
    struct sbx_entry e;
    *c = (struct sbx_cursor){.log = log, .next = next, .streams = streams, .on_data = on_data,
                             .took_some = took_some, .progress_us = log->loop->now_us};
    sbx_list_init(&c->node);
    sbx_list_add_tail(&log->cursors, &c->node);
    sbx_store_log_watch(log->store, true);
    if (next == 0)
        c->next = 1;
    c->offset_known = c->next == 1;
    if (sbx_store_log_read(log->store, c->next, &e)) {
        c->offset = e.offset;
        c->offset_known = true;
    } else if (c->next == sbx_log_last(log) + 1) {
        /* At the end: behind the last entry, and not behind what is appended but not committed. */
        if (sbx_store_log_read(log->store, sbx_log_last(log), &e)) {
            c->offset = e.offset + e.len;
            c->offset_known = true;
        }
    }
}

void sbx_cursor_close(struct sbx_cursor *c)
{
    if (c->log == NULL)
        return;
    sbx_list_remove(&c->node);
    sbx_store_log_watch(c->log->store, !sbx_list_empty(&c->log->cursors));
    log_ask_again(c->log);
    c->log = NULL;
}

static enum sbx_step cursor_gap(struct sbx_cursor *c, const struct sbx_entry *e,
                                struct sbx_gap *gap)
{
    *gap = (struct sbx_gap){.from = c->next, .to = e->sequence - 1,
                            .bytes_known = c->offset_known};
    if (c->offset_known)
        gap->bytes = e->offset - c->offset;
    c->next = e->sequence;
    c->offset = e->offset;
    c->offset_known = true;
    return SBX_STEP_GAP;
}

enum sbx_step sbx_cursor_next(struct sbx_cursor *c, struct sbx_entry *e, struct sbx_gap *gap)
{
    struct sbx_store_log *store = c->log->store;
    while (c->next <= sbx_store_log_last(store)) {
        if (!sbx_store_log_read_from(store, c->next, e)) {
            /* All that is committed was evicted: by what is not yet, or for good. */
            if (!sbx_store_log_is_committed(store))
                return SBX_STEP_DRY;
            *e = (struct sbx_entry){.sequence = sbx_store_log_last(store) + 1,
                                    .offset = sbx_store_log_offset(store)};
        }
        if (e->sequence != c->next)
            return cursor_gap(c, e, gap);
        c->next++;
        c->offset = e->offset + e->len;
        c->offset_known = true;
        if ((c->streams & SBX_STREAMS_OF(e->stream)) != 0)
            return SBX_STEP_ENTRY;
    }
    log_ask_again(c->log);
    return c->log->ended ? SBX_STEP_END : SBX_STEP_DRY;
}

void sbx_cursor_progress(struct sbx_cursor *c)
{
    cursor_note_progress(c);
    if (!log_lags(c))
        log_ask_again(c->log);
}
