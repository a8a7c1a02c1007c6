/* store.c - see store.h.
 *
 * One transaction a turn, of everything that is due: records that changed, logs, settings, records
 * to forget; then chunks that the caps have evicted are dropped. What a transaction would change
 * here (log->next, the list of records) takes effect when it was committed and not before, so a
 * failed one can simply be tried again.
 *
 *   WRITING --begin says -EAGAIN--> PAUSED   a checkpoint is to end: nothing is shown meanwhile
 *   WRITING, PAUSED --any other failure--> DEGRADED   everything is shown, a timer tries again
 *   PAUSED, DEGRADED --a transaction was committed--> WRITING
 *
 * While PAUSED the loop holds back phase FLUSH: answers wait for what they tell to be stored.
 *
 * A log has a part in the file (`stored`) and a part in memory (`mem`), which overlap as long as
 * the hot end is kept. Between them is a hole when memory ran short while nothing could be stored;
 * the file gets a note of it (sbx_db_put_gap), readers a gap. Entries above `committed` may still
 * grow.
 *
 * Pending are logs with something unseen (committed < last) or unsaved (saved < last).
 *
 * A restored log of a process that has ended asks the file for its bounds when it is read first, so
 * that starting with ten thousand of them takes no ten thousand look-ups. */
#include "proc/store.h"
#include "base/mem.h"
#include "os/clock.h"
#include "proc/memlog.h"
#include "proc/page_cache.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STORE_SOON_US 5000u           /* PAUSED: ask again, should nobody tell */
#define STORE_RETRY_US 250000u        /* DEGRADED */
#define STORE_REOPEN_US 1000000u      /* likewise, without a file */
/* A log that always evicts what is unsaved is stored that often. */
#define STORE_SELDOM_US 1000000u
#define STORE_LAZY_BYTES (16u * 1024u * 1024u) /* memory of all logs above which nothing waits */
#define STORE_MOST_BYTES (64u * 1024u * 1024u) /* above which unsaved output is given up */
#define STORE_SLICE (1024u * 1024u)   /* of one log in one transaction */
#define STORE_WATCHED_BYTES (1024u * 1024u) /* kept in memory of a log that is being read */
#define STORE_HEADS 1024u             /* entries of one chunk */
#define STORE_VICTIMS 8u              /* logs shortened in one transaction */
#define STORE_WAITS 4u                /* jobs that end a pause: a copy, emptying the log */
#define STORE_TIDY_US 20000u
#define STORE_QUIET_US 2000000u

enum store_state { STORE_WRITING, STORE_PAUSED, STORE_DEGRADED };

struct sbx_store {
    struct sbx_store_options o;
    enum store_state state;
    char reason[sizeof((struct sbx_err *)0)->text];
    struct sbx_db *db;
    struct sbx_tail *tail;
    struct sbx_task commit;
    struct sbx_timer timer;   /* age of pending output; PAUSED, DEGRADED: the next attempt */
    struct sbx_timer tidy;
    struct sbx_timer quiet;   /* nothing was written for a while: the file takes the log in */
    uint64_t written_us;      /* when a transaction was last committed */
    struct sbx_list pending;  /* logs */
    struct sbx_list written;  /* logs in the transaction under way */
    struct sbx_list records;  /* dirty ones */
    uint64_t *forgotten;      /* numbers whose records are to go */
    size_t nforgotten, capforgotten;
    bool limits_dirty;
    bool shortening;          /* all logs together are still too long, and the next step may help */
    bool urgent;              /* every pending log is due */
    bool whole;               /* and is written in one go: there is no later */
    uint64_t last_number;
    uint64_t total;           /* payload bytes kept of all logs */
    struct sbx_page_cache pages;
    struct sbx_buf scratch;
    struct sbx_db_head heads[STORE_HEADS];
};

struct sbx_store_log {
    struct sbx_store *store;
    struct sbx_list pending, written;
    struct sbx_memlog mem;
    struct sbx_slot *slot;
    bool in_file, watched, hasty, ended;
    bool forgotten;      /* its record is gone, and its chunks wait for the end of the readers */
    bool unasked;        /* restored, and the file was not asked yet what it has */
    uint64_t committed;
    uint64_t saved;      /* what is above it is still to be stored */
    uint64_t put;        /* within a transaction: the highest that was stored */
    struct sbx_db_bounds stored, next; /* next: within a transaction */
    uint64_t stored_us;  /* when it was last written */
    uint64_t turn_us;    /* of the last append */
    uint64_t counted;    /* its part of store->total */
    void (*on_commit)(void *ctx);
    void *ctx;
};

static void store_commit(struct sbx_task *t);
static void store_on_timer(struct sbx_timer *t);
static void store_on_tidy(struct sbx_timer *t);
static void store_on_quiet(struct sbx_timer *t);
static void store_reopen(struct sbx_store *s);

static bool bounds_empty(const struct sbx_db_bounds *b)
{
    return b->first > b->last;
}

static void store_soon(struct sbx_store *s)
{
    sbx_loop_defer(s->o.loop, SBX_PHASE_COMMIT, &s->commit);
}

/* Is there one to store in, be it out of reach for the moment? */
static bool store_has_file(const struct sbx_store *s)
{
    return s->o.dir != NULL;
}

/* --- limits by name --- */

static const struct {
    const char *name;
    size_t at;
} store_settings[] = {
    {"maxConcurrentProcesses", offsetof(struct sbx_limits, max_concurrent_processes)},
    {"defaultRunTimeoutMs", offsetof(struct sbx_limits, default_run_timeout_ms)},
    {"maxRunTimeoutMs", offsetof(struct sbx_limits, max_run_timeout_ms)},
    {"maxOutputBytes", offsetof(struct sbx_limits, max_output_bytes)},
    {"maxLogBytesPerProcess", offsetof(struct sbx_limits, max_log_bytes_per_process)},
    {"maxInputBytesPerRequest", offsetof(struct sbx_limits, max_input_bytes_per_request)},
    {"maxLogBytesTotal", offsetof(struct sbx_limits, max_log_bytes_total)},
    {"maxExitedProcesses", offsetof(struct sbx_limits, max_exited_processes)},
};

static int store_put_limits(struct sbx_store *s)
{
    size_t i;
    int rc = 0;
    for (i = 0; rc == 0 && i < sizeof store_settings / sizeof store_settings[0]; i++) {
        uint64_t value;
        memcpy(&value, (const char *)s->o.limits + store_settings[i].at, sizeof value);
        rc = sbx_db_put_config(s->db, store_settings[i].name, value);
    }
    return rc;
}

static void store_take_limit(void *ctx, const char *name, uint64_t value)
{
    struct sbx_limits *l = ctx;
    size_t i;
    for (i = 0; i < sizeof store_settings / sizeof store_settings[0]; i++)
        if (strcmp(name, store_settings[i].name) == 0)
            memcpy((char *)l + store_settings[i].at, &value, sizeof value);
}

int sbx_store_load_limits(struct sbx_store *s, struct sbx_limits *l)
{
    struct sbx_limits read = *l;
    struct sbx_err err;
    int rc;
    if (s->db == NULL || s->limits_dirty)
        return 0;
    rc = sbx_db_load_config(s->db, store_take_limit, &read);
    if (rc == 0 && sbx_limits_check(&read, &err) == 0)
        *l = read;
    return rc;
}

void sbx_store_limits(struct sbx_store *s)
{
    if (!store_has_file(s))
        return;
    s->limits_dirty = true;
    store_soon(s);
}

/* --- states --- */

static const char *store_state_name(enum store_state state)
{
    static const char *const names[] = {"WRITING", "PAUSED", "DEGRADED"};
    return names[state];
}

static void store_set_state(struct sbx_store *s, enum store_state state)
{
    if (s->state == state)
        return;
    sbx_diag(s->o.diag, SBX_DIAG_DEBUG, "store: %s -> %s", store_state_name(s->state),
             store_state_name(state));
    if (state == STORE_DEGRADED)
        sbx_diag(s->o.diag, SBX_DIAG_WARN, "storing is not possible, going on in memory: %s",
                 s->reason);
    else if (s->state == STORE_DEGRADED)
        sbx_diag(s->o.diag, SBX_DIAG_INFO, "storing again");
    s->state = state;
    sbx_loop_hold(s->o.loop, state == STORE_PAUSED);
}

const char *sbx_store_trouble(const struct sbx_store *s)
{
    return s->state == STORE_DEGRADED ? s->reason : NULL;
}

/* --- showing: what was committed, or cannot be --- */

static void log_show(struct sbx_store_log *log)
{
    if (log->committed == log->mem.last)
        return;
    log->committed = log->mem.last;
    log->on_commit(log->ctx);
}

static bool log_is_saved(const struct sbx_store_log *log)
{
    return !log->in_file || log->saved == log->mem.last;
}

/* Its part of the total, when `b` is what the file has. */
static void log_count(struct sbx_store_log *log, const struct sbx_db_bounds *b)
{
    uint64_t from = log->mem.first_offset;
    if (log->in_file && !bounds_empty(b) && b->first_offset < from)
        from = b->first_offset;
    log->store->total -= log->counted;
    log->counted = log->mem.offset - from;
    log->store->total += log->counted;
}

static void store_show_records(struct sbx_store *s, bool stored)
{
    struct sbx_list *n, *next;
    for (n = s->records.next; n != &s->records; n = next) {
        struct sbx_record *r = SBX_LIST_OF(n, struct sbx_record, dirty);
        bool awaited = r->awaited;
        next = n->next;
        r->awaited = false;
        if (stored)
            sbx_list_remove(n);
        if (awaited)
            r->on_stored(r);
        if (stored && r->on_saved != NULL)
            r->on_saved(r);
    }
}

/* Shows everything, stored or not. */
static void store_show_all(struct sbx_store *s)
{
    struct sbx_list *n, *next;
    for (n = s->pending.next; n != &s->pending; n = next) {
        struct sbx_store_log *log = SBX_LIST_OF(n, struct sbx_store_log, pending);
        next = n->next;
        if (log_is_saved(log))
            sbx_list_remove(n);
        log_show(log);
    }
    store_show_records(s, !store_has_file(s));
}

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

static bool store_has_due(const struct sbx_store *s)
{
    const struct sbx_list *n;
    if (!sbx_list_empty(&s->records) || s->nforgotten > 0 || s->limits_dirty || s->shortening)
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
    for (; at < sbx_segment_count(seg) && c->count < STORE_HEADS; at++) {
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
    if (bounds_empty(&log->next) || to <= log->next.last || seg == NULL)
        return 0;
    return sbx_db_put_gap(log->store->db, log->mem.number, log->next.last + 1, to,
                          sbx_memlog_offset_of(seg, at) - log->next.end_offset,
                          sbx_clock_wall_ms());
}

static int log_put_chunks(struct sbx_store_log *log, uint64_t from, uint64_t bytes)
{
    struct sbx_db_chunk c;
    uint64_t done = 0;
    int rc = 0;
    for (; rc == 0 && from <= log->mem.last && done < bytes; from += c.count) {
        log_next_chunk(log, from, &c);
        rc = sbx_db_put_chunk(log->store->db, &c);
        if (bounds_empty(&log->next)) {
            log->next.first = c.first;
            log->next.first_offset = c.offset;
        }
        log->next.last = log->put = c.first + c.count - 1;
        log->next.end_offset = c.offset + c.len;
        done += c.len;
    }
    return rc;
}

static int log_evict_stored(struct sbx_store_log *log)
{
    const struct sbx_memlog *m = &log->mem;
    uint64_t offset = m->offset > m->cap ? m->offset - m->cap : 0;
    uint64_t sequence = m->last > m->max_entries ? m->last - m->max_entries + 1 : 0;
    if (bounds_empty(&log->next) ||
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
static int log_write(struct sbx_store_log *log)
{
    struct sbx_store *s = log->store;
    uint64_t from, most = s->whole ? UINT64_MAX : STORE_SLICE;
    int rc;
    log_join_transaction(log);
    from = log_first_unsaved(log);
    rc = log_put_gap(log, from - 1);
    if (rc == 0)
        rc = log_put_chunks(log, from, most);
    return rc == 0 ? log_evict_stored(log) : rc;
}

static int store_put_logs(struct sbx_store *s)
{
    struct sbx_list *n;
    int rc = 0;
    for (n = s->pending.next; rc == 0 && n != &s->pending; n = n->next) {
        struct sbx_store_log *log = SBX_LIST_OF(n, struct sbx_store_log, pending);
        if (log->in_file && log_is_due(log))
            rc = log_write(log);
    }
    return rc;
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
        rc = s->scratch.oom ? -ENOMEM : sbx_db_put_process(s->db, &p);
        s->scratch.oom = false;
    }
    return rc;
}

static int store_put_forgotten(struct sbx_store *s)
{
    size_t i;
    int rc = 0;
    for (i = 0; rc == 0 && i < s->nforgotten; i++)
        rc = sbx_db_forget(s->db, s->forgotten[i]);
    /* The highest number may be one of those, and must not be given out again. */
    if (rc == 0 && s->nforgotten > 0)
        rc = sbx_db_put_counter(s->db, "process", s->last_number);
    return rc;
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
        log_count(log, &log->next);
        if (s->total == before)
            break;
    }
    s->shortening = i == STORE_VICTIMS;
    return rc;
}

/* The same for logs that are in memory alone: a segment goes. */
static void store_shorten_memory(struct sbx_store *s)
{
    unsigned i;
    for (i = 0; i < STORE_VICTIMS && store_is_too_long(s); i++) {
        struct sbx_store_log *log = s->o.pick_victim(s->o.ctx);
        if (log == NULL || log->in_file || !sbx_memlog_drop_oldest(&log->mem, true))
            break;
        log_count(log, &log->stored);
    }
}

/* Readers at the end of it find there what was read in the last few turns. */
static uint64_t log_hot_bytes(const struct sbx_store_log *log)
{
    return log->watched ? STORE_WATCHED_BYTES : SBX_STORE_HOT_BYTES;
}

/* The transaction was committed: its effects are facts. */
static void store_settle(struct sbx_store *s)
{
    s->nforgotten = 0;
    s->limits_dirty = false;
    while (!sbx_list_empty(&s->written)) {
        struct sbx_store_log *log = SBX_LIST_OF(s->written.next, struct sbx_store_log, written);
        sbx_list_remove(&log->written);
        log->stored = log->next;
        log->stored_us = s->o.loop->now_us;
        if (log->saved < log->put)
            log->saved = log->put; /* although it may have been evicted again */
        if (log_is_saved(log))
            sbx_list_remove(&log->pending);
        if (log->committed < log->saved) {
            log->committed = log->saved;
            log->on_commit(log->ctx);
        }
        sbx_memlog_trim(&log->mem, log->saved + 1, log_hot_bytes(log), log->ended);
        log_count(log, &log->stored);
    }
    store_show_records(s, true);
}

static void store_abandon(struct sbx_store *s)
{
    while (!sbx_list_empty(&s->written))
        sbx_list_remove(s->written.next);
    sbx_db_rollback(s->db);
}

static int store_transaction(struct sbx_store *s)
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
        rc = store_put_forgotten(s);
    if (rc == 0 && s->limits_dirty)
        rc = store_put_limits(s);
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

static void store_set_timer(struct sbx_store *s, uint64_t us)
{
    sbx_loop_set_timer(s->o.loop, &s->timer, s->o.loop->now_us + us);
}

static void store_arm(struct sbx_store *s, struct sbx_timer *t, uint64_t us)
{
    if (!t->armed)
        sbx_loop_set_timer(s->o.loop, t, s->o.loop->now_us + us);
}

/* One attempt to store what is due. */
static void store_write(struct sbx_store *s)
{
    int rc = store_transaction(s);
    if (rc == 0) {
        store_set_state(s, STORE_WRITING);
        s->written_us = s->o.loop->now_us;
        store_arm(s, &s->tidy, STORE_TIDY_US);
        store_arm(s, &s->quiet, STORE_QUIET_US);
        /* The rest of long logs, in the next turn. */
        if (store_has_due(s))
            store_soon(s);
    } else if (rc == -EAGAIN) {
        /* Whoever is told of trouble is not to wait on top of it. */
        if (s->state != STORE_DEGRADED)
            store_set_state(s, STORE_PAUSED);
        store_set_timer(s, STORE_SOON_US);
    } else {
        (void)snprintf(s->reason, sizeof s->reason, "%s", sbx_db_error(s->db));
        store_set_state(s, STORE_DEGRADED);
        store_set_timer(s, STORE_RETRY_US);
        (void)sbx_db_settle(s->db); /* the log may be what fills the disk */
    }
}

/* Those that need no file are shown at the end of each turn. */
static void store_show_volatile(struct sbx_store *s)
{
    struct sbx_list *n, *next;
    for (n = s->pending.next; n != &s->pending; n = next) {
        struct sbx_store_log *log = SBX_LIST_OF(n, struct sbx_store_log, pending);
        next = n->next;
        if (log->in_file)
            continue;
        sbx_list_remove(n);
        log_show(log);
    }
}

static void store_step(struct sbx_store *s)
{
    store_shorten_memory(s);
    if (s->db == NULL) {
        store_show_all(s);
        return;
    }
    store_show_volatile(s);
    /* PAUSED ends with a transaction, even if nothing of what it was for is left. */
    if (s->state == STORE_PAUSED || (s->state == STORE_WRITING && store_has_due(s)))
        store_write(s);
    if (s->state == STORE_DEGRADED)
        store_show_all(s);
    else if (s->state == STORE_WRITING && !sbx_list_empty(&s->pending) && !s->timer.armed)
        store_set_timer(s, SBX_STORE_AGE_US);
}

static void store_commit(struct sbx_task *t)
{
    store_step(SBX_LIST_OF(t, struct sbx_store, commit));
}

static bool store_lacks_its_file(const struct sbx_store *s)
{
    return s->db == NULL || (s->o.on_opened != NULL && sbx_db_is_gone(s->db));
}

static void store_on_timer(struct sbx_timer *t)
{
    struct sbx_store *s = SBX_LIST_OF(t, struct sbx_store, timer);
    if (s->state == STORE_DEGRADED && store_lacks_its_file(s)) {
        store_reopen(s);
    } else if (s->state == STORE_DEGRADED) {
        s->urgent = true;
        store_write(s);
        s->urgent = false;
    } else {
        store_soon(s);
    }
}

static void store_on_ready(void *ctx)
{
    struct sbx_store *s = ctx;
    if (s->state == STORE_PAUSED)
        store_soon(s);
}

/* What can wait is done in short steps, as long as there is something to do. Then all is quiet. */
static void store_tidy(struct sbx_store *s)
{
    int rc = s->state == STORE_WRITING ? sbx_db_tidy(s->db) : -EAGAIN;
    if (rc == 0)
        return;
    store_arm(s, &s->tidy, rc > 0 ? STORE_TIDY_US : STORE_RETRY_US);
    store_arm(s, &s->quiet, STORE_QUIET_US);
}

static void store_on_tidy(struct sbx_timer *t)
{
    store_tidy(SBX_LIST_OF(t, struct sbx_store, tidy));
}

static void store_on_quiet(struct sbx_timer *t)
{
    struct sbx_store *s = SBX_LIST_OF(t, struct sbx_store, quiet);
    uint64_t quiet = s->o.loop->now_us - s->written_us;
    if (quiet < STORE_QUIET_US) {
        store_arm(s, t, STORE_QUIET_US - quiet);
    } else if (s->tidy.armed || sbx_db_settle(s->db)) {
        store_arm(s, t, STORE_QUIET_US);
    }
}

/* --- opening and closing --- */

/* NULL and err. */
static struct sbx_db *store_open_db(struct sbx_store *s, struct sbx_err *err)
{
    uint64_t counter = 0;
    struct sbx_db *db = sbx_db_open(s->o.loop, s->o.diag, s->o.dir, store_on_ready, s, err);
    if (db == NULL)
        return NULL;
    if (sbx_db_load_counter(db, "process", &counter) < 0) {
        sbx_err_set(err, EIO, "%s: %s", s->o.dir, sbx_db_error(db));
        sbx_db_close(db);
        return NULL;
    }
    sbx_store_number_taken(s, counter);
    return db;
}

static void store_lack_file(struct sbx_store *s, const struct sbx_err *err)
{
    (void)snprintf(s->reason, sizeof s->reason, "%s", err->text);
    store_set_state(s, STORE_DEGRADED);
    store_set_timer(s, STORE_REOPEN_US);
}

/* The old one goes only when there is another: readers have no other place to look. What was
 * deleted meanwhile is forgotten first, or on_opened would find it again. */
static void store_reopen(struct sbx_store *s)
{
    struct sbx_err err;
    struct sbx_db *old = s->db, *db = store_open_db(s, &err);
    int rc;
    if (db == NULL) {
        store_lack_file(s, &err);
        return;
    }
    s->db = db;
    rc = sbx_db_begin(db);
    if (rc == 0)
        rc = store_put_forgotten(s);
    if (rc == 0)
        rc = sbx_db_commit(db);
    if (rc < 0) {
        sbx_err_set(&err, rc, "%s", sbx_db_error(db));
        sbx_db_rollback(db);
        s->db = old;
        sbx_db_close(db);
        store_lack_file(s, &err);
        return;
    }
    s->nforgotten = 0;
    sbx_page_cache_drop_all(&s->pages);
    if (old != NULL)
        sbx_db_close(old);
    s->o.on_opened(s->o.ctx);
    s->urgent = true;
    store_write(s);
    s->urgent = false;
}

static bool store_open_file(struct sbx_store *s, struct sbx_err *err)
{
    if (!store_has_file(s))
        return true;
    s->db = store_open_db(s, err);
    if (s->db != NULL)
        return true;
    if (!s->o.go_on)
        return false;
    store_lack_file(s, err);
    return true;
}

struct sbx_store *sbx_store_open(const struct sbx_store_options *o, struct sbx_err *err)
{
    struct sbx_store *s = sbx_mem_calloc(sizeof *s);
    bool refused = false;
    if (s == NULL) {
        sbx_err_set(err, ENOMEM, "out of memory");
        return NULL;
    }
    s->o = *o;
    if (o->most_memory == 0)
        s->o.most_memory = STORE_MOST_BYTES;
    sbx_list_init(&s->pending);
    sbx_list_init(&s->written);
    sbx_list_init(&s->records);
    sbx_task_init(&s->commit, store_commit);
    sbx_timer_init(&s->timer, store_on_timer);
    sbx_timer_init(&s->tidy, store_on_tidy);
    sbx_timer_init(&s->quiet, store_on_quiet);
    sbx_buf_init(&s->scratch);
    s->tail = sbx_tail_open(o->memory, o->shared, &refused);
    if (s->tail == NULL) {
        sbx_err_set(err, ENOMEM, "out of memory");
        sbx_mem_free(s);
        return NULL;
    }
    if (refused)
        sbx_diag(o->diag, SBX_DIAG_ERROR, "the memory of the earlier server cannot be used");
    if (sbx_tail_fd(s->tail) < 0)
        s->o.shared = false;
    sbx_store_number_taken(s, sbx_tail_number(s->tail));
    if (!store_open_file(s, err)) {
        sbx_store_close(s);
        return NULL;
    }
    if (s->db != NULL)
        store_tidy(s); /* an earlier server may have had no time for it */
    return s;
}

void sbx_store_close(struct sbx_store *s)
{
    assert(sbx_list_empty(&s->pending) && sbx_list_empty(&s->records));
    sbx_task_cancel(&s->commit);
    sbx_loop_cancel_timer(s->o.loop, &s->timer);
    sbx_loop_cancel_timer(s->o.loop, &s->tidy);
    sbx_loop_cancel_timer(s->o.loop, &s->quiet);
    if (s->db != NULL) {
        if (s->nforgotten > 0 || s->limits_dirty)
            (void)store_transaction(s);
        sbx_loop_hold(s->o.loop, false);
        sbx_page_cache_drop_all(&s->pages);
        sbx_db_close(s->db);
    }
    sbx_tail_close(s->tail);
    sbx_buf_deinit(&s->scratch);
    sbx_mem_free(s->forgotten);
    sbx_mem_free(s);
}

void sbx_store_save(struct sbx_store *s)
{
    unsigned i;
    if (s->db == NULL)
        return;
    s->urgent = s->whole = true;
    if (s->state == STORE_DEGRADED)
        store_write(s);
    else
        store_step(s);
    for (i = 0; i < STORE_WAITS && s->state == STORE_PAUSED; i++) {
        sbx_db_await(s->db);
        store_step(s);
    }
    s->urgent = s->whole = false;
}

void sbx_store_leave(struct sbx_store *s)
{
    sbx_store_save(s);
    sbx_tail_leave(s->tail);
}

struct sbx_tail *sbx_store_tail(struct sbx_store *s)
{
    return s->tail;
}

struct sbx_db *sbx_store_db(struct sbx_store *s)
{
    return s->db;
}

uint64_t sbx_store_next_number(struct sbx_store *s)
{
    sbx_store_number_taken(s, s->last_number + 1);
    return s->last_number;
}

void sbx_store_number_taken(struct sbx_store *s, uint64_t number)
{
    if (number <= s->last_number)
        return;
    s->last_number = number;
    sbx_tail_set_number(s->tail, number);
}

/* --- records --- */

void sbx_record_init(struct sbx_record *r)
{
    sbx_list_init(&r->dirty);
}

void sbx_store_record(struct sbx_store *s, struct sbx_record *r)
{
    r->awaited = true;
    if (sbx_list_empty(&r->dirty))
        sbx_list_add_tail(&s->records, &r->dirty);
    store_soon(s);
}

void sbx_record_drop(struct sbx_record *r)
{
    sbx_list_remove(&r->dirty);
    r->awaited = false;
}

void sbx_store_forget(struct sbx_store *s, uint64_t number)
{
    size_t cap = s->capforgotten == 0 ? 16 : s->capforgotten * 2;
    if (!store_has_file(s))
        return;
    sbx_page_cache_drop(&s->pages, number);
    if (s->nforgotten == s->capforgotten) {
        uint64_t *more = sbx_mem_realloc(s->forgotten, cap * sizeof *more);
        if (more == NULL) {
            sbx_diag(s->o.diag, SBX_DIAG_WARN, "out of memory: a deleted record stays in the file");
            return;
        }
        s->forgotten = more;
        s->capforgotten = cap;
    }
    s->forgotten[s->nforgotten++] = number;
    store_soon(s);
}

/* --- logs --- */

static struct sbx_store_log *log_new(struct sbx_store *s, const struct sbx_store_log_options *o)
{
    struct sbx_store_log *log = sbx_mem_calloc(sizeof *log);
    if (log == NULL)
        return NULL;
    log->store = s;
    sbx_list_init(&log->pending);
    sbx_list_init(&log->written);
    sbx_memlog_init(&log->mem, s->tail, o->number, o->cap);
    log->in_file = o->in_file && store_has_file(s);
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
    store_soon(s);
}

/* What does the file have of it? */
static void log_ask(struct sbx_store_log *log)
{
    if (!log->unasked || log->store->db == NULL)
        return;
    if (sbx_db_bounds(log->store->db, log->mem.number, &log->stored) < 0) {
        log->stored = (struct sbx_db_bounds){.first = 1};
        return;
    }
    log->unasked = false;
}

void sbx_store_log_join(struct sbx_store_log *log)
{
    if (!log->in_file)
        return;
    log->unasked = true;
    log_ask(log);
    log->saved = log->mem.first <= log->mem.last ? log->stored.last : log->mem.last;
    log_count(log, &log->stored);
    if (!log_is_saved(log))
        log_set_pending(log);
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
    log->committed = log->saved;
    log_count(log, &log->stored);
    if (!log_is_saved(log))
        log_set_pending(log);
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
        log_ask(log);
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
    if (!log->forgotten)
        return;
    sbx_db_release(s->db, log->mem.number);
    sbx_page_cache_drop(&s->pages, log->mem.number);
    store_arm(s, &s->tidy, STORE_TIDY_US);
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

uint8_t *sbx_store_log_reserve(struct sbx_store_log *log, size_t *room)
{
    /* Nothing can be stored for long, or faster than it comes: the oldest is given up. */
    if (log->in_file && sbx_tail_bytes(log->store->tail) > log->store->o.most_memory &&
        sbx_memlog_bytes(&log->mem) > SBX_STORE_HOT_BYTES)
        (void)sbx_memlog_drop_oldest(&log->mem, false);
    return sbx_memlog_reserve(&log->mem, room);
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
        log_count(log, &log->stored);
        log_set_pending(log);
    }
    sbx_tail_read_done(log->store->tail);
}

void sbx_store_log_watch(struct sbx_store_log *log, bool watched)
{
    log->watched = watched;
}

void sbx_store_log_refresh(struct sbx_store_log *log)
{
    struct sbx_store *s = log->store;
    bool watched = log->watched;
    uint64_t before;
    if (log->unasked) {
        log_ask(log);
        log_resume(log, log->mem.last, log->mem.offset);
    }
    log->watched = true;
    do {
        before = log->committed;
        if (before < log->mem.last)
            store_step(s);
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
    if (log->in_file && log_is_saved(log))
        sbx_memlog_trim(&log->mem, log->mem.last + 1, 0, true);
    else if (!sbx_list_empty(&log->pending))
        store_soon(log->store);
}

bool sbx_store_log_is_committed(const struct sbx_store_log *log)
{
    return log->committed == log->mem.last;
}

uint64_t sbx_store_log_first(const struct sbx_store_log *log)
{
    if (log->in_file && !bounds_empty(&log->stored) && log->stored.first < log->mem.first)
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
    out->log_first = bounds_empty(b) ? log->mem.last + 1 : b->first;
    out->log_first_offset = bounds_empty(b) ? log->mem.offset : b->first_offset;
    out->log_last = log->mem.last;
    out->log_end_offset = log->mem.offset;
}

/* --- reading --- */

static void entry_from_memory(const struct sbx_segment *seg, size_t i, uint64_t sequence,
                              struct sbx_entry *e)
{
    const struct sbx_head *h = sbx_segment_head(seg, i);
    *e = (struct sbx_entry){.sequence = sequence,
                            .time_ms = h->time_ms,
                            .offset = sbx_memlog_offset_of(seg, i),
                            .stream = (enum sbx_log_stream)(h->len_stream & 3u),
                            .blob = seg->blob,
                            .data = seg->image->data + h->start,
                            .len = sbx_head_len(h)};
}

static void entry_from_page(const struct sbx_db_page *page, uint64_t sequence, struct sbx_entry *e)
{
    const struct sbx_db_head *h = &page->heads[sequence - page->first];
    *e = (struct sbx_entry){.sequence = sequence,
                            .time_ms = h->time_ms,
                            .offset = page->offset + h->start,
                            .stream = (enum sbx_log_stream)h->stream,
                            .blob = page->blob,
                            .data = page->blob->data + h->start,
                            .len = h->len};
}

static bool log_read_stored(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e)
{
    const struct sbx_db_page *page;
    struct sbx_store *s = log->store;
    if (!log->in_file || sequence > log->stored.last || bounds_empty(&log->stored))
        return false;
    if (sbx_page_cache_read(&s->pages, s->db, log->mem.number, sequence, &page) < 0)
        return false;
    entry_from_page(page, sequence < page->first ? page->first : sequence, e);
    return e->sequence <= log->committed;
}

bool sbx_store_log_read_from(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e)
{
    uint64_t first = sbx_store_log_first(log);
    const struct sbx_segment *seg;
    size_t i;
    if (sequence < first)
        sequence = first;
    if (sequence > log->committed)
        return false;
    if (sequence < log->mem.first && log_read_stored(log, sequence, e))
        return true;
    if (sequence < log->mem.first)
        sequence = log->mem.first;
    seg = sequence > log->committed ? NULL : sbx_memlog_find(&log->mem, sequence, &i);
    if (seg == NULL)
        return false;
    entry_from_memory(seg, i, sequence, e);
    return true;
}

bool sbx_store_log_read(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e)
{
    return sequence >= sbx_store_log_first(log) && sbx_store_log_read_from(log, sequence, e) &&
           e->sequence == sequence;
}

bool sbx_store_log_read_before(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e)
{
    uint64_t first = sbx_store_log_first(log);
    while (sequence > first) {
        sequence--;
        if (sbx_store_log_read(log, sequence, e))
            return true;
        /* A hole: between memory and file, or noted in the file. */
        if (sequence > log->stored.last && sequence < log->mem.first)
            sequence = log->stored.last + 1;
    }
    return false;
}
