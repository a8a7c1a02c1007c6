/* store.h - records and logs: in memory first, in the database before anybody sees them.
 *
 * During a turn everything is written to memory that outlives the server (tail.h). At its end, in
 * phase COMMIT, what is due goes to the database in one transaction, and then becomes readable:
 * cursors are told, responses are written. So a client is never shown what a crash could take back.
 *
 * A log is due when somebody reads it, when its process has ended, when its oldest unsaved byte is
 * SBX_STORE_AGE_US old, or when memory runs short. What the cap evicts before that is never stored.
 *
 * Of a stored log only the hot end stays in memory; older entries are read from the file through
 * the same functions. When the database cannot be written the store is degraded: it goes on in
 * memory, shows what it has, says why (sbx_store_trouble), and tries again.
 *
 * Entries are numbered from 1 without holes. The cap evicts the oldest: entry by entry in
 * memory, in the file chunk by chunk. */
#ifndef SBX_PROC_STORE_H
#define SBX_PROC_STORE_H

#include "base/blob.h"
#include "base/buf.h"
#include "os/diag.h"
#include "os/loop.h"
#include "proc/db.h"
#include "proc/limits.h"
#include "proc/tail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SBX_STORE_AGE_US 100000u
#define SBX_STORE_HOT_BYTES (256u * 1024u) /* of a stored log, kept in memory */

enum sbx_log_stream { SBX_STREAM_STDOUT, SBX_STREAM_STDERR, SBX_STREAM_PTY };

/* One run of output, as it was read. Borrowed: valid until the next call for the same store, longer
 * by taking a reference on the blob. */
struct sbx_entry {
    uint64_t sequence;
    uint64_t time_ms; /* Unix milliseconds at which it was read */
    uint64_t offset;  /* payload bytes of the log before it, over all streams */
    enum sbx_log_stream stream;
    struct sbx_blob *blob;
    const uint8_t *data;
    size_t len;
};

struct sbx_store;
struct sbx_store_log;

/* What is stored of a process besides its output, embedded in its owner. */
struct sbx_record {
    struct sbx_list dirty; /* in the store's list while it differs from what is stored */
    bool awaited;          /* on_stored is still to come */
    bool waits;            /* for the log: it was not in the last transaction */
    /* When it tells of an end, that is stored after all of this, in the same transaction at the
     * latest. NULL: there is none. */
    const struct sbx_store_log *log;
    /* Describes it; texts go to `scratch` and are valid until it is emptied. */
    void (*describe)(struct sbx_record *r, struct sbx_db_process *out, struct sbx_buf *scratch);
    /* It may be shown: it is stored, or storing is impossible for now. */
    void (*on_stored)(struct sbx_record *r);
    void (*on_saved)(struct sbx_record *r); /* it is in the file, if there is one */
};

struct sbx_store_options {
    struct sbx_loop *loop;
    const struct sbx_diag *diag;
    const char *dir;                 /* NULL: nothing is kept in a file */
    const struct sbx_limits *limits; /* read at every use */
    int memory;                      /* of an earlier server, taken over; -1: none */
    bool shared;                     /* memory is to outlive this server */
    /* A database that cannot be opened is no failure: the store is degraded, and tries again until
     * it can, or until the file that was deleted is there anew. Then on_opened tells: the owner
     * restores what it does not know, and joins its logs and records to the file. 0; where it
     * returns a failure and err, nothing is stored, and it is called again. */
    bool go_on;
    int (*on_opened)(void *ctx, struct sbx_err *err);
    /* Asked each time before the file is opened: is the directory ours (still)? 0, or a failure and
     * err. NULL: it is. */
    int (*may_open)(void *ctx, struct sbx_err *err);
    size_t most_memory;              /* above which unsaved output is given up; 0: the default */
    /* The log to shorten when all together are too long; NULL: there is none. */
    struct sbx_store_log *(*pick_victim)(void *ctx);
    void *ctx;
};

/* NULL and err. */
struct sbx_store *sbx_store_open(const struct sbx_store_options *o, struct sbx_err *err);
/* Logs and records are closed by then. */
void sbx_store_close(struct sbx_store *s);
/* Stores all that is pending now, if that is possible. */
void sbx_store_save(struct sbx_store *s);
/* The same, and the rest is for the next server: what is closed from now on stays in the memory. */
void sbx_store_leave(struct sbx_store *s);
/* Replaces *l by the limits that were stored. 0 or a negative errno. */
int sbx_store_load_limits(struct sbx_store *s, struct sbx_limits *l);

struct sbx_tail *sbx_store_tail(struct sbx_store *s);
struct sbx_db *sbx_store_db(struct sbx_store *s); /* NULL: there is none */
/* Why storing is impossible at the moment; NULL when all is well. */
const char *sbx_store_trouble(const struct sbx_store *s);

uint64_t sbx_store_next_number(struct sbx_store *s); /* of a process; never the same twice */
void sbx_store_number_taken(struct sbx_store *s, uint64_t number); /* seen in an earlier life */

/* To be stored at the end of this turn. */
void sbx_store_record(struct sbx_store *s, struct sbx_record *r);
void sbx_record_init(struct sbx_record *r);
void sbx_record_drop(struct sbx_record *r); /* its owner goes */
static inline bool sbx_record_is_saved(const struct sbx_record *record)
{
    return sbx_list_empty(&record->dirty);
}
void sbx_store_forget(struct sbx_store *s, uint64_t number);
/* The limits have changed. */
void sbx_store_limits(struct sbx_store *s);

struct sbx_store_log_options {
    uint64_t number;
    uint64_t cap;
    bool in_file;          /* false: its output is kept in memory alone */
    bool grows;            /* restored: there may be more output */
    struct sbx_slot *slot; /* where its counters outlive the server; may be NULL */
    void (*on_commit)(void *ctx); /* entries have become readable */
    void *ctx;
};

/* NULL: no memory. */
struct sbx_store_log *sbx_store_log_open(struct sbx_store *s,
                                         const struct sbx_store_log_options *o);
/* The same for a log of an earlier server: what is stored, and what its memory still has. `known`:
 * its record. */
struct sbx_store_log *sbx_store_log_restore(struct sbx_store *s,
                                            const struct sbx_store_log_options *o,
                                            const struct sbx_db_process *known);
void sbx_store_log_close(struct sbx_store_log *log);
/* Forgets the process (sbx_store_forget), but its log can be read until it is closed. */
void sbx_store_log_forget(struct sbx_store_log *log);
/* In on_opened: from now on it is stored in that file, from what is in memory of it on. 0, or -EIO:
 * what the file has of it cannot be read. */
int sbx_store_log_join(struct sbx_store_log *log);

/* Room for output at the end of the log, *room > 0 bytes; read(2) goes straight into it. NULL when
 * out of memory. */
uint8_t *sbx_store_log_reserve(struct sbx_store_log *log, size_t *room);
/* For a log that outlives the server: is sbx_store_log_expect wanted before each read? */
bool sbx_store_log_survives(const struct sbx_store_log *log);
/* Exactly n of the reserved bytes are going to be read now, if any. */
void sbx_store_log_expect(struct sbx_store_log *log, size_t n, enum sbx_log_stream stream,
                          uint64_t time_ms);
/* The first n reserved bytes are output of `stream`, read now; 0: none came. Adjacent output of one
 * turn and one stream is one entry, up to the entry limit. */
void sbx_store_log_append(struct sbx_store_log *log, size_t n, enum sbx_log_stream stream,
                          uint64_t time_ms);

/* Somebody reads it: output is stored at the end of its turn. */
void sbx_store_log_watch(struct sbx_store_log *log, bool watched);
/* To be called before a reader looks for its place: what was appended becomes readable now, if it
 * can be stored now, and a restored log finds out what the file has. */
void sbx_store_log_refresh(struct sbx_store_log *log);
/* The process is about to be shown as ended: all its output is stored with the next transaction. */
void sbx_store_log_hasten(struct sbx_store_log *log);
/* The process has ended: what comes is stored at once, and nothing stays in memory. */
void sbx_store_log_end(struct sbx_store_log *log);
bool sbx_store_log_is_committed(const struct sbx_store_log *log);

/* Committed state. first > last when the log is empty. */
uint64_t sbx_store_log_first(const struct sbx_store_log *log);
uint64_t sbx_store_log_last(const struct sbx_store_log *log);
uint64_t sbx_store_log_cap(const struct sbx_store_log *log);
/* Payload bytes ever appended, uncommitted ones included. */
uint64_t sbx_store_log_offset(const struct sbx_store_log *log);
uint64_t sbx_store_log_kept(const struct sbx_store_log *log); /* payload bytes kept */
/* Entries that the cap can hold, whatever their length. */
uint64_t sbx_store_log_max_entries(const struct sbx_store_log *log);
/* The log's part of a record. */
void sbx_store_log_describe(const struct sbx_store_log *log, struct sbx_db_process *out);

/* The committed entry with that sequence; false when it is not there (evicted, lost, not yet). */
bool sbx_store_log_read(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e);
/* The first committed entry that is there from `sequence` on; false when there is none. */
bool sbx_store_log_read_from(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e);
/* The last one before `sequence`. */
bool sbx_store_log_read_before(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e);

#endif
