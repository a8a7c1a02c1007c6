/* store_transaction.c - what is due, and the one transaction of a turn that stores it.
 *
 * While it is under way the logs in it are in the list `written`: `next` and `put` tell what the
 * file is going to have of each, and become `stored` and `saved` once it was committed.
 *
 * It has a budget of bytes, so that no turn becomes long because there was no storing for a while:
 * what came since the last step, or nothing would ever be stored of what comes fast, and
 * STORE_BUDGET. Pending logs that were in it and have more go to the end of the list. */
#include "proc/store_state.h"
#include "os/clock.h"

#include <errno.h>

/* A log that always evicts what is unsaved is stored that often. */
#define STORE_SELDOM_US 1000000u
#define STORE_LAZY_BYTES (16u * 1024u * 1024u) /* memory of all logs above which nothing waits */
#define STORE_SLICE (1024u * 1024u)   /* of one log in one transaction */
#define STORE_BUDGET (2u * 1024u * 1024u) /* of all logs, beside what came in the turn */
#define STORE_CHUNK_COST 4096u        /* of the budget, beside its bytes */
#define STORE_ENTRY_COST 32u          /* and for each entry in it */
#define STORE_WATCHED_BYTES (1024u * 1024u) /* kept in memory of a log that is being read */
#define STORE_VICTIMS 8u              /* logs shortened in one transaction */

/* --- what is due --- */

static uint64_t log_first_unsaved(const struct sbx_store_log *log)
{
    return log->mem.first > log->saved + 1 ? log->mem.first : log->saved + 1;
}

static bool log_is_old(const struct sbx_store_log *log)
{
    size_t i;
    const struct sbx_segment *seg = sbx_memlog_find(&log->mem, log_first_unsaved(log), &i);
    uint64_t now = sbx_clock_wall_ms();
    if (log->store->o.loop->now_us - log->stored_us >= STORE_SELDOM_US || seg == NULL)
        return true;
    return now - sbx_segment_head(seg, i)->time_ms >= SBX_STORE_AGE_US / 1000;
}

static bool log_is_due(const struct sbx_store_log *log)
{
    const struct sbx_store *s = log->store;
    if (!log->in_file)
        return true;
    return log->watched || log->hasty || log->ended || s->urgent || !s->o.shared ||
           sbx_tail_bytes(s->tail) > STORE_LAZY_BYTES || log_is_old(log);
}

bool sbx_store_has_due(const struct sbx_store *s)
{
    const struct sbx_list *n;
    if (!sbx_list_empty(&s->records) || s->nforgotten > 0 || s->limits_dirty ||
        s->counters_dirty || s->shortening)
        return true;
    for (n = s->pending.next; n != &s->pending; n = n->next)
        if (log_is_due(SBX_LIST_OF(n, struct sbx_store_log, pending)))
            return true;
    return false;
}

/* --- writing: all within a transaction --- */

/* Rows of a small log are small, so that evicting one does not throw away much of it. */
static size_t log_chunk_max(const struct sbx_store_log *log)
{
    uint64_t n = log->mem.cap / 16;
    if (n < log->mem.entry_max)
        n = log->mem.entry_max;
    return n > SBX_DB_CHUNK_MAX ? SBX_DB_CHUNK_MAX : (size_t)n;
}

/* The entries from `sequence` on that make one chunk: of one segment, as many as fit. */
static void log_next_chunk(struct sbx_store_log *log, uint64_t sequence, struct sbx_db_chunk *c)
{
    struct sbx_store *s = log->store;
    size_t at = 0, most = log_chunk_max(log);
    const struct sbx_segment *seg = sbx_memlog_find(&log->mem, sequence, &at);
    uint32_t start = sbx_segment_head(seg, at)->start;
    *c = (struct sbx_db_chunk){.process = log->mem.number, .first = sequence, .heads = s->heads,
                               .offset = sbx_memlog_offset_of(seg, at),
                               .data = seg->image->data + start};
    for (; at < sbx_segment_count(seg) && c->count < SBX_STORE_HEADS; at++) {
        const struct sbx_head *h = sbx_segment_head(seg, at);
        size_t len = sbx_head_len(h);
        if (c->count > 0 && c->len + len > most)
            break;
        s->heads[c->count++] =
            (struct sbx_db_head){.time_ms = h->time_ms, .start = h->start - start,
                                 .len = (uint32_t)len, .stream = (uint8_t)(h->len_stream & 3u)};
        c->len += len;
    }
}

static int log_put_gap(struct sbx_store_log *log, uint64_t to)
{
    size_t at;
    const struct sbx_segment *seg = sbx_memlog_find(&log->mem, to + 1, &at);
    uint64_t offset = seg != NULL ? sbx_memlog_offset_of(seg, at) : log->mem.offset;
    if (sbx_store_bounds_empty(&log->next) || to <= log->next.last)
        return 0;
    return sbx_db_put_gap(log->store->db, log->mem.number, log->next.last + 1, to,
                          offset - log->next.end_offset, sbx_clock_wall_ms());
}

static void log_spend(uint64_t *budget, const struct sbx_db_chunk *c)
{
    uint64_t cost = STORE_CHUNK_COST + c->count * STORE_ENTRY_COST + c->len;
    *budget -= cost < *budget ? cost : *budget;
}

static int log_put_chunks(struct sbx_store_log *log, uint64_t from, uint64_t bytes,
                          uint64_t *budget)
{
    struct sbx_db_chunk c;
    uint64_t done = 0;
    int rc = 0;
    for (; rc == 0 && from <= log->mem.last && done < bytes && *budget > 0; from += c.count) {
        log_next_chunk(log, from, &c);
        rc = sbx_db_put_chunk(log->store->db, &c);
        if (sbx_store_bounds_empty(&log->next)) {
            log->next.first = c.first;
            log->next.first_offset = c.offset;
        }
        log->next.last = log->put = c.first + c.count - 1;
        log->next.end_offset = c.offset + c.len;
        done += c.len;
        log_spend(budget, &c);
    }
    return rc;
}

static int log_evict_stored(struct sbx_store_log *log)
{
    const struct sbx_memlog *m = &log->mem;
    uint64_t offset = m->offset > m->cap ? m->offset - m->cap : 0;
    uint64_t sequence = m->last > m->max_entries ? m->last - m->max_entries + 1 : 0;
    if (sbx_store_bounds_empty(&log->next) ||
        (log->next.first_offset >= offset && log->next.first >= sequence))
        return 0;
    return sbx_db_evict(log->store->db, m->number, sequence, offset, &log->next);
}

static void log_join_transaction(struct sbx_store_log *log)
{
    if (!sbx_list_empty(&log->written))
        return;
    log->next = log->stored;
    log->put = log->saved;
    sbx_list_add_tail(&log->store->written, &log->written);
}

/* What is too old is dropped last: SQLite reads a page that became free in the same transaction
 * before it writes over it, and one that has been free before it does not. */
static int log_write(struct sbx_store_log *log, uint64_t *budget)
{
    uint64_t from, most = log->store->whole ? UINT64_MAX : STORE_SLICE;
    int rc = sbx_store_log_ask(log);
    if (rc < 0)
        return rc;
    log_join_transaction(log);
    from = log_first_unsaved(log);
    if (log->put < from - 1)
        log->put = from - 1; /* the gap; maybe nothing is left behind it */
    rc = log_put_gap(log, from - 1);
    if (rc == 0)
        rc = log_put_chunks(log, from, most, budget);
    return rc == 0 ? log_evict_stored(log) : rc;
}

static int store_put_logs(struct sbx_store *s)
{
    uint64_t budget = s->whole ? UINT64_MAX : STORE_BUDGET + s->came;
    struct sbx_list *n;
    int rc = 0;
    for (n = s->pending.next; rc == 0 && budget > 0 && n != &s->pending; n = n->next) {
        struct sbx_store_log *log = SBX_LIST_OF(n, struct sbx_store_log, pending);
        if (log->in_file && log_is_due(log))
            rc = log_write(log, &budget);
    }
    return rc;
}

/* Nobody is to find an end without the output before it, nor bounds of a log that are not those it
 * will have: the record of an ended process is not written again. */
static bool record_waits(const struct sbx_record *r, const struct sbx_db_process *p)
{
    const struct sbx_store_log *log = r->log;
    if (!p->exited || log == NULL || !log->in_file || sbx_list_empty(&log->pending) ||
        !log_is_due(log))
        return false;
    return (sbx_list_empty(&log->written) ? log->saved : log->put) < log->mem.last;
}

static int store_put_records(struct sbx_store *s)
{
    struct sbx_list *n;
    int rc = 0;
    for (n = s->records.next; rc == 0 && n != &s->records; n = n->next) {
        struct sbx_record *r = SBX_LIST_OF(n, struct sbx_record, dirty);
        struct sbx_db_process p = {0};
        sbx_buf_clear(&s->scratch);
        r->describe(r, &p, &s->scratch);
        r->waits = record_waits(r, &p);
        if (s->scratch.oom)
            rc = -ENOMEM;
        else if (!r->waits)
            rc = sbx_db_put_process(s->db, &p);
        s->scratch.oom = false;
    }
    return rc;
}

int sbx_store_put_forgotten(struct sbx_store *s, struct sbx_db *db)
{
    size_t i;
    int rc = 0;
    for (i = 0; rc == 0 && i < s->nforgotten; i++)
        rc = sbx_db_forget(db, s->forgotten[i]);
    /* The highest number may be one of those, and must not be given out again. */
    s->counters_dirty = s->counters_dirty || s->nforgotten > 0;
    return rc;
}

/* Without an identity the file was made by an earlier program; then no other is known either. */
int sbx_store_put_counters(struct sbx_store *s, struct sbx_db *db)
{
    uint64_t file = sbx_tail_file(s->tail);
    int rc = sbx_db_put_counter(db, "process", s->last_number);
    if (rc == 0 && file == 0)
        rc = sbx_db_put_counter(db, SBX_DB_IDENTITY, sbx_tail_next_file(s->tail));
    return rc;
}

void sbx_store_counters_put(struct sbx_store *s)
{
    if (sbx_tail_file(s->tail) == 0)
        sbx_tail_set_file(s->tail, sbx_tail_next_file(s->tail));
    s->counters_dirty = false;
}

static bool store_is_too_long(const struct sbx_store *s)
{
    return s->total > s->o.limits->max_log_bytes_total && s->o.pick_victim != NULL;
}

/* All logs together are too long: the oldest chunks of whoever comes first by the owner's rule.
 * What is kept in memory of it goes once it is saved (store_settle), so it may still count now. */
static int store_shorten(struct sbx_store *s)
{
    unsigned i;
    int rc = 0;
    for (i = 0; rc == 0 && i < STORE_VICTIMS && store_is_too_long(s); i++) {
        uint64_t excess = s->total - s->o.limits->max_log_bytes_total, before = s->total;
        struct sbx_store_log *log = s->o.pick_victim(s->o.ctx);
        if (log == NULL || !log->in_file)
            break;
        log_join_transaction(log);
        rc = sbx_db_evict(s->db, log->mem.number, 0, log->mem.offset - log->counted + excess,
                          &log->next);
        sbx_store_log_count(log, &log->next);
        if (s->total == before)
            break;
    }
    s->shortening = i == STORE_VICTIMS;
    return rc;
}

/* The same for logs that are in memory alone: a segment goes. */
void sbx_store_shorten_memory(struct sbx_store *s)
{
    unsigned i;
    for (i = 0; i < STORE_VICTIMS && store_is_too_long(s); i++) {
        struct sbx_store_log *log = s->o.pick_victim(s->o.ctx);
        if (log == NULL || log->in_file || !sbx_memlog_drop_oldest(&log->mem, true))
            break;
        sbx_store_log_count(log, &log->stored);
    }
}

/* Readers at the end of it find there what was read in the last few turns. */
static uint64_t log_hot_bytes(const struct sbx_store_log *log)
{
    return log->watched ? STORE_WATCHED_BYTES : SBX_STORE_HOT_BYTES;
}

static void log_wait_again(struct sbx_store_log *log)
{
    if (sbx_list_empty(&log->pending))
        return;
    sbx_list_remove(&log->pending);
    sbx_list_add_tail(&log->store->pending, &log->pending);
}

/* The transaction was committed: its effects are facts. */
static void store_settle(struct sbx_store *s)
{
    s->nforgotten = 0;
    s->limits_dirty = false;
    if (s->counters_dirty)
        sbx_store_counters_put(s);
    while (!sbx_list_empty(&s->written)) {
        struct sbx_store_log *log = SBX_LIST_OF(s->written.next, struct sbx_store_log, written);
        sbx_list_remove(&log->written);
        log->stored = log->next;
        log->stored_us = s->o.loop->now_us;
        if (log->saved < log->put)
            log->saved = log->put; /* although it may have been evicted again */
        if (sbx_store_log_is_saved(log))
            sbx_list_remove(&log->pending);
        else
            log_wait_again(log);
        if (log->committed < log->saved) {
            log->committed = log->saved;
            log->on_commit(log->ctx);
        }
        sbx_memlog_trim(&log->mem, log->saved + 1, log_hot_bytes(log), log->ended);
        sbx_store_log_count(log, &log->stored);
    }
    sbx_store_show_records(s, true);
}

static void store_abandon(struct sbx_store *s)
{
    while (!sbx_list_empty(&s->written))
        sbx_list_remove(s->written.next);
    sbx_db_rollback(s->db);
}

int sbx_store_transaction(struct sbx_store *s)
{
    int rc = sbx_db_begin(s->db);
    if (rc < 0)
        return rc;
    rc = store_put_logs(s);
    if (rc == 0)
        rc = store_shorten(s);
    if (rc == 0)
        rc = store_put_records(s); /* which tell what is stored of the logs now */
    if (rc == 0)
        rc = sbx_store_put_forgotten(s, s->db);
    if (rc == 0 && s->counters_dirty)
        rc = sbx_store_put_counters(s, s->db);
    if (rc == 0 && s->limits_dirty)
        rc = sbx_store_put_limits(s);
    if (rc == 0)
        rc = sbx_db_purge(s->db);
    if (rc == 0)
        rc = sbx_db_commit(s->db);
    if (rc < 0)
        store_abandon(s);
    else
        store_settle(s);
    return rc;
}
