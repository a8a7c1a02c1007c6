/* store_state.h - the store and its logs from inside: what the files that make up proc/store share.
 * Nobody else includes it.
 *
 *   store.c              the states, time, opening and closing, records
 *   store_transaction.c  what is due, and one transaction of it
 *   store_log.c          one log: opened, joined or restored; appending; its end
 *   store_read.c         entries of a log, from memory or from the file
 *   store_limits.c       the limits, by name */
#ifndef SBX_PROC_STORE_STATE_H
#define SBX_PROC_STORE_STATE_H

#include "proc/memlog.h"
#include "proc/page_cache.h"
#include "proc/store.h"

#define SBX_STORE_HEADS 1024u /* entries of one chunk */

enum sbx_store_state { SBX_STORE_WRITING, SBX_STORE_PAUSED, SBX_STORE_DEGRADED };

struct sbx_store {
    struct sbx_store_options o;
    enum sbx_store_state state;
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
    bool counters_dirty;      /* the file does not know the highest number, or which file it is */
    bool joining;             /* it was opened again, and on_opened is not done with it */
    bool shortening;          /* all logs together are still too long, and the next step may help */
    bool urgent;              /* every pending log is due */
    bool whole;               /* and is written in one go: there is no later */
    uint64_t came;            /* bytes for the file that were read since the last step */
    uint64_t last_number;
    uint64_t total;           /* payload bytes kept of all logs */
    struct sbx_page_cache pages;
    struct sbx_buf scratch;
    struct sbx_db_head heads[SBX_STORE_HEADS];
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

/* Is there one to store in, be it out of reach for the moment? */
static inline bool sbx_store_has_file(const struct sbx_store *s)
{
    return s->o.dir != NULL;
}

static inline bool sbx_store_bounds_empty(const struct sbx_db_bounds *b)
{
    return b->first > b->last;
}

static inline bool sbx_store_log_is_saved(const struct sbx_store_log *log)
{
    return !log->in_file || log->saved == log->mem.last;
}

/* --- store.c --- */

/* In phase COMMIT of this turn. */
void sbx_store_soon(struct sbx_store *s);
/* Stores what is due, if that is possible, and shows what may be shown. */
void sbx_store_step(struct sbx_store *s);
/* There is something to do that can wait (sbx_db_tidy). */
void sbx_store_tidy_soon(struct sbx_store *s);
/* stored: they are in the file, or there is none. */
void sbx_store_show_records(struct sbx_store *s, bool stored);

/* --- store_transaction.c --- */

bool sbx_store_has_due(const struct sbx_store *s);
/* Stores what is due, within its budget. 0, or a negative errno as of sbx_db_begin: then it was
 * rolled back. */
int sbx_store_transaction(struct sbx_store *s);
/* Within a transaction of db. */
int sbx_store_put_forgotten(struct sbx_store *s, struct sbx_db *db);
int sbx_store_put_counters(struct sbx_store *s, struct sbx_db *db);
void sbx_store_counters_put(struct sbx_store *s); /* and that was committed */
/* What is in memory alone gives up its oldest when all logs together are too long. */
void sbx_store_shorten_memory(struct sbx_store *s);

/* --- store_log.c --- */

/* A restored log that the file was not asked about yet; else nothing is to do. 0 or a failure. */
int sbx_store_log_ask(struct sbx_store_log *log);
/* Its part of the total, when `b` is what the file has. */
void sbx_store_log_count(struct sbx_store_log *log, const struct sbx_db_bounds *b);

/* --- store_limits.c --- */

/* Within a transaction. */
int sbx_store_put_limits(struct sbx_store *s);

#endif
