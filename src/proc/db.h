/* db.h - what outlives the server on disk: one SQLite file and its write-ahead log.
 *
 * The loop's thread writes, in one transaction a turn at most, and never waits for the disk to
 * sync: moving the write-ahead log into the file is the work of a thread with a connection of its
 * own. Every function that writes may fail for reasons that go away by themselves (a full disk);
 * the caller keeps what it wanted stored, rolls back, and tries again later. */
#ifndef SBX_PROC_DB_H
#define SBX_PROC_DB_H

#include "base/blob.h"
#include "base/err.h"
#include "base/str.h"
#include "os/diag.h"
#include "os/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SBX_DB_CHUNK_MAX (128u * 1024u) /* payload bytes of one chunk, at the most */

struct sbx_db;

/* A process as it is kept. Views are borrowed: by put during the call, by load during the
 * callback. */
struct sbx_db_process {
    uint64_t number;
    struct sbx_str command;
    struct sbx_str args;      /* JSON array of strings */
    struct sbx_str env_names; /* JSON array of strings; values are never stored */
    bool has_cwd;
    struct sbx_str cwd;
    bool tty, interactive, persist;
    uint16_t cols, rows;
    int64_t pid;
    uint64_t started_us;      /* boot time clock at its start, to know it again */
    struct sbx_str boot_id;   /* sbx_ident_boot, where it was started */
    uint64_t created_ms;
    bool exited;              /* the rest is meaningful only then, but for the log's members */
    uint64_t exited_ms;
    int exit_kind;            /* enum sbx_exit_kind */
    int exit_value;
    bool core_dumped;
    struct sbx_str exit_reason; /* "exited", "signaled", "stopped", "lost" */
    struct sbx_str exit_note;   /* what there is to say beside it; usually empty */
    uint64_t input_dropped;   /* bytes of input that were accepted and never delivered */
    uint64_t log_cap;
    uint64_t log_first, log_first_offset; /* of what is stored; first > last: nothing is */
    uint64_t log_last, log_end_offset;    /* highest ever given out, stored or not */
};

/* Where an entry lies in its chunk. */
struct sbx_db_head {
    uint64_t time_ms;
    uint32_t start, len;
    uint8_t stream; /* enum sbx_log_stream */
};

/* Adjacent entries of one log, as one row. */
struct sbx_db_chunk {
    uint64_t process;
    uint64_t first;  /* sequence of heads[0]; the others follow without a hole */
    uint64_t offset; /* payload bytes of the log before it */
    const struct sbx_db_head *heads;
    uint32_t count;  /* > 0 */
    const uint8_t *data;
    size_t len;      /* 1..SBX_DB_CHUNK_MAX */
};

/* A chunk read back. */
struct sbx_db_page {
    uint64_t process, first, offset;
    uint32_t count;
    struct sbx_db_head *heads; /* owned */
    struct sbx_blob *blob;     /* one reference */
};

struct sbx_db_bounds {
    uint64_t first, first_offset; /* of the oldest stored chunk */
    uint64_t last, end_offset;    /* of the newest; first > last when there is none */
};

/* Which file it is. Each has a random number, in the counter of that name, which stays with it
 * wherever it is moved to. */
#define SBX_DB_IDENTITY "file"
struct sbx_db_identity {
    uint64_t known; /* in: a file that is not new has to be this one, or `next`; 0: any will do.
                     * Out: which it is; 0: it has no number yet */
    uint64_t next;  /* what a file that is begun gets; not 0, and below 2^63 */
};

/* "sqlite"; "memory" in a build without SQLite. For --version. */
const char *sbx_db_backend(void);

/* Opens or makes DIR/sandbox-agent.db (mode 0600); the directory exists. A damaged file is moved
 * aside, with a warning, and a new one begun; one with a newer schema, or another than id says, is
 * refused and not touched; an older one is migrated. on_ready: a begin that was told -EAGAIN may be
 * tried again (called from the loop, never from within a call). NULL and err when there is no
 * usable database; err->code is -ENOTSUP in a build without SQLite. */
struct sbx_db *sbx_db_open(struct sbx_loop *loop, const struct sbx_diag *diag, const char *dir,
                           struct sbx_db_identity *id, void (*on_ready)(void *ctx), void *ctx,
                           struct sbx_err *err);
/* Was the file, or its write-ahead log, deleted or replaced while it was open? It looks. */
bool sbx_db_is_gone(struct sbx_db *db);
/* As it was found then: only the log. */
bool sbx_db_lacks_log(const struct sbx_db *db);
/* Waits for the checkpoint thread and moves the write-ahead log into the file. */
void sbx_db_close(struct sbx_db *db);

/* Everything that is stored, by number, ascending. The callback returns 0 to go on; its other
 * values end the load and are returned. */
int sbx_db_load(struct sbx_db *db, int (*on_process)(void *ctx, const struct sbx_db_process *p),
                void *ctx);
int sbx_db_load_config(struct sbx_db *db, void (*on_value)(void *ctx, const char *name, uint64_t v),
                       void *ctx);
/* A counter by its name ("process"); 0 when there is none. */
int sbx_db_load_counter(struct sbx_db *db, const char *name, uint64_t *value);

/* A transaction. All return 0 or a negative errno, after which the transaction must be rolled
 * back. begin: -EAGAIN when a checkpoint is about to be completed, for a moment; on_ready tells.
 * -EBUSY, -ENOSPC, -EIO, -EROFS ...: it cannot be stored now; sbx_db_error says why. */
int sbx_db_begin(struct sbx_db *db);
int sbx_db_put_process(struct sbx_db *db, const struct sbx_db_process *p); /* insert or replace */
int sbx_db_put_chunk(struct sbx_db *db, const struct sbx_db_chunk *c);
/* Bytes that were read from the process and could not be stored. */
int sbx_db_put_gap(struct sbx_db *db, uint64_t process, uint64_t from, uint64_t to, uint64_t bytes,
                   uint64_t time_ms);
/* Drops chunks that begin below either floor, a bounded number of them in one call; *b tells what
 * is left. */
int sbx_db_evict(struct sbx_db *db, uint64_t process, uint64_t floor_sequence,
                 uint64_t floor_offset, struct sbx_db_bounds *b);
/* The record goes at once, its chunks bit by bit (sbx_db_purge, sbx_db_tidy). */
int sbx_db_forget(struct sbx_db *db, uint64_t process);
/* The chunks of a process that is forgotten soon stay until it is released: somebody reads them. 0
 * or -ENOMEM. After a restart they go. */
int sbx_db_hold(struct sbx_db *db, uint64_t process);
void sbx_db_release(struct sbx_db *db, uint64_t process); /* fine without a hold */
/* The last of a transaction: chunks of forgotten processes go until it takes no more pages of the
 * file than it found taken, or none are left. */
int sbx_db_purge(struct sbx_db *db);
int sbx_db_put_config(struct sbx_db *db, const char *name, uint64_t value);
int sbx_db_put_counter(struct sbx_db *db, const char *name, uint64_t value);
int sbx_db_commit(struct sbx_db *db);
void sbx_db_rollback(struct sbx_db *db); /* fine without a transaction */
/* The last failure as a sentence, e.g. "cannot write: database or disk is full". */
const char *sbx_db_error(const struct sbx_db *db);

/* One bounded step (about a millisecond) of what can wait: chunks of forgotten processes are
 * dropped, free pages given back to the file system. 1; 0: there was nothing to do; or a failure,
 * as of a transaction. Not within one. */
int sbx_db_tidy(struct sbx_db *db);

/* Nothing is being written for a while, or the disk is full: moves the write-ahead log into the
 * file, in the background, so that it is synced, and space that became free is given back. false:
 * there is nothing in it. */
bool sbx_db_settle(struct sbx_db *db);

/* For the last transaction before an end: waits for the checkpoint that is under way, at most a
 * second. Then begin may succeed that said -EAGAIN before. */
void sbx_db_await(struct sbx_db *db);

/* The chunk that holds `sequence`, else the next one after it. 0; -ENOENT when there is none; or a
 * failure. */
int sbx_db_read(struct sbx_db *db, uint64_t process, uint64_t sequence, struct sbx_db_page **page);
/* The chunk that holds `sequence`, else the last one before it; likewise. *first: where the chunk
 * begins, also of one that makes no sense (-EILSEQ); 0 when none was found. */
int sbx_db_read_last(struct sbx_db *db, uint64_t process, uint64_t sequence,
                     struct sbx_db_page **page, uint64_t *first);
void sbx_db_page_free(struct sbx_db_page *page); /* NULL is fine */
int sbx_db_bounds(struct sbx_db *db, uint64_t process, struct sbx_db_bounds *b);

/* Test hook. While set, `gate(ctx, call)` is asked before every call of SQLite that can fail, also
 * from the checkpoint thread, and a 0 makes it fail as if by the disk. NULL switches back. */
void sbx_db_set_gate(int (*gate)(void *ctx, const char *call), void *ctx);

#endif
