/* store_log.c - one log: opened, joined to a file or restored, appended to, ended. It stores
 * nothing itself: what it appends makes it pending, and the end of the turn looks after it.
 *
 * A restored log of a process that has ended asks the file for its bounds when it is read first, so
 * that starting with ten thousand of them takes no ten thousand look-ups. */
#include "proc/store_state.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>

/* --- opening, joining, restoring, closing --- */

static struct sbx_store_log *log_new(struct sbx_store *s, const struct sbx_store_log_options *o)
{
    struct sbx_store_log *log = sbx_mem_calloc(sizeof *log);
    if (log == NULL)
        return NULL;
    log->store = s;
    sbx_list_init(&log->pending);
    sbx_list_init(&log->written);
    sbx_memlog_init(&log->mem, s->tail, o->number, o->cap);
    log->in_file = o->in_file && sbx_store_has_file(s);
    log->slot = o->slot;
    log->stored.first = 1;
    log->stored_us = s->o.loop->now_us;
    log->on_commit = o->on_commit;
    log->ctx = o->ctx;
    return log;
}

struct sbx_store_log *sbx_store_log_open(struct sbx_store *s, const struct sbx_store_log_options *o)
{
    return log_new(s, o);
}

static void log_note_counters(struct sbx_store_log *log)
{
    if (log->slot == NULL)
        return;
    log->slot->last = log->mem.last;
    log->slot->end_offset = log->mem.offset;
}

static void log_set_pending(struct sbx_store_log *log)
{
    struct sbx_store *s = log->store;
    if (sbx_list_empty(&log->pending))
        sbx_list_add_tail(&s->pending, &log->pending);
    sbx_store_soon(s);
}

/* What does the file have of it? Where it does not say, it is asked again before it is written. */
static int log_ask(struct sbx_store_log *log)
{
    int rc = 0;
    if (!log->unasked || log->store->db == NULL)
        return 0;
    rc = sbx_db_bounds(log->store->db, log->mem.number, &log->stored);
    if (rc < 0)
        log->stored = (struct sbx_db_bounds){.first = 1};
    if (rc == -EILSEQ)
        rc = 0; /* it never will */
    log->unasked = rc < 0;
    return rc;
}

void sbx_store_log_count(struct sbx_store_log *log, const struct sbx_db_bounds *b)
{
    uint64_t from = log->mem.first_offset;
    if (log->in_file && !sbx_store_bounds_empty(b) && b->first_offset < from)
        from = b->first_offset;
    log->store->total -= log->counted;
    log->counted = log->mem.offset - from;
    log->store->total += log->counted;
}

/* Nothing is saved that there is not: `saved` above the end would never become the end, and what
 * comes up to there would be left out. */
int sbx_store_log_join(struct sbx_store_log *log)
{
    const struct sbx_memlog *m = &log->mem;
    if (!log->in_file)
        return 0;
    log->unasked = true;
    (void)log_ask(log);
    if (log->unasked)
        return -EIO;
    log->saved = m->first <= m->last && log->stored.last < m->last ? log->stored.last : m->last;
    sbx_store_log_count(log, &log->stored);
    if (!sbx_store_log_is_saved(log))
        log_set_pending(log);
    return 0;
}

/* `last` and `offset`: at least so much was given out. What of it is neither in the file nor in
 * memory was evicted, or lost. */
static void log_resume(struct sbx_store_log *log, uint64_t last, uint64_t offset)
{
    if (log->stored.last > last && log->in_file) {
        last = log->stored.last;
        offset = log->stored.end_offset;
    }
    sbx_memlog_adopt(&log->mem, last, offset);
    log->saved = log->in_file && log->mem.first <= log->mem.last ? log->stored.last : log->mem.last;
    if (log->committed < log->saved)
        log->committed = log->saved;
    sbx_store_log_count(log, &log->stored);
    if (!sbx_store_log_is_saved(log))
        log_set_pending(log);
}

int sbx_store_log_ask(struct sbx_store_log *log)
{
    int rc = 0;
    if (log->unasked) {
        rc = log_ask(log);
        log_resume(log, log->mem.last, log->mem.offset);
    }
    return rc;
}

struct sbx_store_log *sbx_store_log_restore(struct sbx_store *s,
                                            const struct sbx_store_log_options *o,
                                            const struct sbx_db_process *known)
{
    struct sbx_store_log *log = log_new(s, o);
    uint64_t last = known->log_last, offset = known->log_end_offset;
    if (log == NULL)
        return NULL;
    if (log->in_file)
        log->stored = (struct sbx_db_bounds){known->log_first, known->log_first_offset,
                                             known->log_last, known->log_end_offset};
    log->unasked = log->in_file;
    if (o->slot != NULL && o->slot->last > last) {
        last = o->slot->last;
        offset = o->slot->end_offset;
    }
    /* What is in memory must fit to what is stored, exactly. */
    if (!known->exited || o->grows || sbx_tail_has(s->tail, o->number))
        (void)log_ask(log);
    log_resume(log, last, offset);
    log_note_counters(log);
    return log;
}

void sbx_store_log_forget(struct sbx_store_log *log)
{
    struct sbx_store *s = log->store;
    sbx_store_forget(s, log->mem.number);
    log->forgotten = log->in_file && s->db != NULL && sbx_db_hold(s->db, log->mem.number) == 0;
}

static void log_release(struct sbx_store_log *log)
{
    struct sbx_store *s = log->store;
    if (!log->forgotten || s->db == NULL)
        return;
    sbx_db_release(s->db, log->mem.number);
    sbx_page_cache_drop(&s->pages, log->mem.number);
    sbx_store_tidy_soon(s);
}

void sbx_store_log_close(struct sbx_store_log *log)
{
    assert(sbx_list_empty(&log->written));
    log_release(log);
    sbx_list_remove(&log->pending);
    log->store->total -= log->counted;
    sbx_memlog_deinit(&log->mem);
    sbx_mem_free(log);
}

/* --- appending --- */

/* Its oldest segment; returns the bytes that it took. `all`: also the newest one. */
static uint64_t log_give_up(struct sbx_store_log *log, bool all)
{
    uint64_t before = sbx_memlog_memory(&log->mem);
    if (!log->in_file || !sbx_memlog_drop_oldest(&log->mem, all))
        return 0;
    sbx_store_log_count(log, &log->stored);
    return before - sbx_memlog_memory(&log->mem);
}

/* The segments that the file has as well. */
static uint64_t log_give_back(struct sbx_store_log *log)
{
    uint64_t before = sbx_memlog_memory(&log->mem);
    if (!log->in_file)
        return 0;
    sbx_memlog_trim(&log->mem, log->saved + 1, 0, false);
    sbx_store_log_count(log, &log->stored);
    return before - sbx_memlog_memory(&log->mem);
}

static uint64_t store_held(const struct sbx_store *s)
{
    const struct sbx_list *n;
    uint64_t held = 0;
    for (n = s->pending.next; n != &s->pending; n = n->next) {
        const struct sbx_store_log *log = SBX_LIST_OF(n, struct sbx_store_log, pending);
        held += log->in_file ? sbx_memlog_memory(&log->mem) : 0;
    }
    return held;
}

/* The one with most in memory; of `appending` there must be more than it is about to use. */
static struct sbx_store_log *store_longest(const struct sbx_store *s,
                                           const struct sbx_store_log *appending)
{
    const struct sbx_list *n;
    struct sbx_store_log *longest = NULL;
    uint64_t most = 0;
    for (n = s->pending.next; n != &s->pending; n = n->next) {
        struct sbx_store_log *log = SBX_LIST_OF(n, struct sbx_store_log, pending);
        uint64_t memory = sbx_memlog_memory(&log->mem);
        if (!log->in_file || memory <= most || (log == appending && log->mem.nsegments < 2))
            continue;
        longest = log;
        most = memory;
    }
    return longest;
}

/* Nothing could be stored for long, and what waits for it has become too much. What is stored goes
 * first; else it is the rule of the owner: those that have ended, oldest first, then the
 * longest. */
static void store_give_up(struct sbx_store *s, const struct sbx_store_log *appending)
{
    uint64_t held = store_held(s), most = s->o.most_memory, freed;
    struct sbx_list *n;
    struct sbx_store_log *log;
    for (n = s->pending.next; held > most && n != &s->pending; n = n->next)
        held -= log_give_back(SBX_LIST_OF(n, struct sbx_store_log, pending));
    for (n = s->pending.next; held > most && n != &s->pending; n = n->next) {
        log = SBX_LIST_OF(n, struct sbx_store_log, pending);
        while (log->ended && log != appending && held > most &&
               (freed = log_give_up(log, true)) > 0)
            held -= freed;
    }
    while (held > most && (log = store_longest(s, appending)) != NULL)
        held -= log_give_up(log, log != appending);
}

uint8_t *sbx_store_log_reserve(struct sbx_store_log *log, size_t *room)
{
    struct sbx_store *s = log->store;
    size_t before = sbx_tail_bytes(s->tail);
    uint8_t *to = sbx_memlog_reserve(&log->mem, room);
    if (log->in_file && sbx_tail_bytes(s->tail) > before &&
        sbx_tail_bytes(s->tail) > s->o.most_memory)
        store_give_up(s, log);
    return to;
}

bool sbx_store_log_survives(const struct sbx_store_log *log)
{
    return log->store->o.shared;
}

void sbx_store_log_expect(struct sbx_store_log *log, size_t n, enum sbx_log_stream stream,
                          uint64_t time_ms)
{
    sbx_memlog_expect(&log->mem, n, (unsigned)stream, time_ms);
}

void sbx_store_log_append(struct sbx_store_log *log, size_t n, enum sbx_log_stream stream,
                          uint64_t time_ms)
{
    uint64_t now = log->store->o.loop->now_us;
    if (n > 0) {
        sbx_memlog_append(&log->mem, n, (unsigned)stream, time_ms,
                          log->turn_us == now && log->mem.last > log->committed);
        log->turn_us = now;
        log_note_counters(log);
        sbx_store_log_count(log, &log->stored);
        log->store->came += log->in_file ? n : 0;
        log_set_pending(log);
    }
    sbx_tail_read_done(log->store->tail);
}

/* --- its readers, its end --- */

void sbx_store_log_watch(struct sbx_store_log *log, bool watched)
{
    log->watched = watched;
}

/* Somebody waits for what it has. */
static void log_go_first(struct sbx_store_log *log)
{
    if (sbx_list_empty(&log->pending))
        return;
    sbx_list_remove(&log->pending);
    sbx_list_add_tail(log->store->pending.next, &log->pending); /* before that */
}

void sbx_store_log_refresh(struct sbx_store_log *log)
{
    struct sbx_store *s = log->store;
    bool watched = log->watched;
    uint64_t before;
    (void)sbx_store_log_ask(log);
    log->watched = true;
    do {
        before = log->committed;
        log_go_first(log);
        if (before < log->mem.last)
            sbx_store_step(s);
    } while (log->committed > before && log->committed < log->mem.last);
    log->watched = watched;
}

void sbx_store_log_hasten(struct sbx_store_log *log)
{
    log->hasty = true;
}

void sbx_store_log_end(struct sbx_store_log *log)
{
    log->ended = log->hasty = true;
    log->slot = NULL;
    if (log->in_file && sbx_store_log_is_saved(log))
        sbx_memlog_trim(&log->mem, log->mem.last + 1, 0, true);
    else if (!sbx_list_empty(&log->pending))
        sbx_store_soon(log->store);
}

/* --- what there is of it --- */

bool sbx_store_log_is_committed(const struct sbx_store_log *log)
{
    return log->committed == log->mem.last;
}

uint64_t sbx_store_log_first(const struct sbx_store_log *log)
{
    if (log->in_file && !sbx_store_bounds_empty(&log->stored) && log->stored.first < log->mem.first)
        return log->stored.first;
    return log->mem.first;
}

uint64_t sbx_store_log_last(const struct sbx_store_log *log)
{
    return log->committed;
}

uint64_t sbx_store_log_cap(const struct sbx_store_log *log)
{
    return log->mem.cap;
}

uint64_t sbx_store_log_offset(const struct sbx_store_log *log)
{
    return log->mem.offset;
}

uint64_t sbx_store_log_kept(const struct sbx_store_log *log)
{
    return log->counted;
}

uint64_t sbx_store_log_max_entries(const struct sbx_store_log *log)
{
    return log->mem.max_entries;
}

void sbx_store_log_describe(const struct sbx_store_log *log, struct sbx_db_process *out)
{
    const struct sbx_db_bounds *b = sbx_list_empty(&log->written) ? &log->stored : &log->next;
    out->log_cap = log->mem.cap;
    out->log_first = sbx_store_bounds_empty(b) ? log->mem.last + 1 : b->first;
    out->log_first_offset = sbx_store_bounds_empty(b) ? log->mem.offset : b->first_offset;
    out->log_last = log->mem.last;
    out->log_end_offset = log->mem.offset;
}
