/* db_worker.h - the thread that waits for the disk, so that the loop never does.
 *
 * It has a connection of its own, on which syncing is on, and does one job at a time. The thread is
 * started with the first job and blocks all signals; a job's end is told in the loop. */
#ifndef SBX_PROC_DB_WORKER_H
#define SBX_PROC_DB_WORKER_H

#include "os/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum sbx_db_job {
    SBX_DB_JOB_NONE,
    /* Syncs the write-ahead log, copies what readers allow into the file, syncs that. */
    SBX_DB_JOB_CHECKPOINT,
    /* Makes the log empty, all of it being in the file. Nothing has to be synced for that, but
     * giving its blocks back can take a disk a while. */
    SBX_DB_JOB_TRUNCATE,
    /* Commits a transaction without content. Afterwards the log holds a frame that is not in the
     * file, and if SQLite began the log anew for it, the new beginning is synced. */
    SBX_DB_JOB_TURN
};

struct sbx_db_outcome {
    enum sbx_db_job job;
    int rc;           /* of SQLite */
    int code;         /* 0 or a negative errno */
    bool complete;    /* CHECKPOINT: all of the log was in the file; TRUNCATE: it is empty */
    uint32_t frames;  /* TURN: in the log now */
    char why[256];    /* "cannot ...: ...", when code is not 0 */
};

struct sbx_db_worker;

/* on_done is called from the loop. The file has its schema. NULL and a result code of SQLite in *rc
 * when there is no connection; NULL and 0 when there is no memory or descriptor. */
struct sbx_db_worker *sbx_db_worker_open(struct sbx_loop *loop, const char *path,
                                         void (*on_done)(void *ctx,
                                                         const struct sbx_db_outcome *o),
                                         void *ctx, int *rc);
/* Does a job at once, in the caller's thread; none may be under way. */
void sbx_db_worker_do(struct sbx_db_worker *w, enum sbx_db_job job, struct sbx_db_outcome *o);
/* Starts a job. 0; -EBUSY while one is under way; or why there is no thread. */
int sbx_db_worker_post(struct sbx_db_worker *w, enum sbx_db_job job);
bool sbx_db_worker_is_busy(const struct sbx_db_worker *w);
/* Waits for the job that is under way, at most so long, and tells of its end. */
void sbx_db_worker_await(struct sbx_db_worker *w, int ms);
/* Waits for the thread to end; on_done is not called any more. */
void sbx_db_worker_stop(struct sbx_db_worker *w);
/* Stopped before. Moves the whole log into the file where no reader prevents it. NULL is fine. */
void sbx_db_worker_close(struct sbx_db_worker *w);

#endif
