/* db_wal.h - the write-ahead log's size and safety: when it is copied into the file, when it is
 * emptied, and when writing has to wait for that. */
#ifndef SBX_PROC_DB_WAL_H
#define SBX_PROC_DB_WAL_H

#include "os/loop.h"
#include "proc/db_worker.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SBX_WAL_STEP (8u << 20)      /* growth after which the log is copied into the file */
#define SBX_WAL_CLOSE_IN (24u << 20) /* one copy follows the other from here on */
#define SBX_WAL_REST (2u << 20)      /* and when so little is left, writing waits for it */
#define SBX_WAL_PAUSE_AT (48u << 20) /* writing waits here for a chance to empty it */
#define SBX_WAL_MAX (64u << 20)      /* writing is refused from here on; plus one transaction */
#define SBX_WAL_PAUSE_US 1000000u    /* nothing waits longer for a checkpoint */
#define SBX_WAL_RETRY_US 250000u

enum sbx_wal_state {
    SBX_WAL_EMPTY,   /* nothing in it */
    SBX_WAL_GUARDED, /* our read mark is in it, and what lies behind that is not in the file yet */
    SBX_WAL_DRAINED, /* all of it is in the file, synced, and no mark of ours is in it */
    SBX_WAL_UNKNOWN  /* left by another life of the server, or something failed */
};

struct sbx_wal {
    struct sbx_loop *loop;
    struct sqlite3 *conn;        /* the writer's, borrowed */
    struct sqlite3 *guard;
    struct sqlite3_stmt *hold;   /* of the guard: between its row and its reset it has a mark */
    struct sbx_db_worker *worker;
    enum sbx_wal_state state;
    uint64_t frame_bytes;
    uint64_t bytes;              /* of the log, by its frames */
    uint64_t job_bytes;          /* of it when the last checkpoint was posted */
    bool changed;                /* there were commits since */
    uint64_t pause_at;           /* bytes */
    bool waiting;                /* somebody was refused and wants on_ready */
    struct sbx_timer patience;
    uint64_t tried_us;
    int code;                    /* why writing is refused, 0 while it is not */
    char why[256];
    void (*on_ready)(void *ctx);
    void *ctx;
};

/* conn: the writer's connection, which does not sync, to a file that has its schema. 0 or a
 * result code of SQLite; after a failure, close is still to be called. left: bytes of a log from
 * before. */
int sbx_wal_open(struct sbx_wal *w, struct sbx_loop *loop, struct sqlite3 *conn, const char *path,
                 uint64_t left, void (*on_ready)(void *ctx), void *ctx);
/* May a transaction begin? 0; -EAGAIN: on_ready will tell; else why not, with a sentence in why. */
int sbx_wal_may_write(struct sbx_wal *w);
/* A transaction of the writer was committed. */
void sbx_wal_committed(struct sbx_wal *w);
/* What is in the log should reach the disk soon. */
void sbx_wal_sync_soon(struct sbx_wal *w);
/* Waits for the checkpoint that is under way, at most a second. */
void sbx_wal_await(struct sbx_wal *w);
/* Ends thread and guard; the writer's connection is closed next, and then the rest of this. */
void sbx_wal_stop(struct sbx_wal *w);
void sbx_wal_close(struct sbx_wal *w);

#endif
