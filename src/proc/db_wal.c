/* db_wal.c - see db_wal.h.
 *
 * The writer does not sync, and that is safe as long as the log only grows: a frame counts only if
 * all frames before it are whole, and the file is touched by the worker alone, which syncs the log
 * first. It would not be safe if the writer began the log anew in place, which SQLite does by
 * itself when all of the log is in the file and nobody reads it: after a loss of power, some old
 * frames could stand before the first new one that reached the disk, look whole, and be played
 * back over newer pages. (With synchronous=NORMAL, SQLite syncs at that point; here the loop would
 * wait for it.) So the writer writes in two states only:
 *
 *   EMPTY    the log was truncated. Whatever a loss of power leaves of it is either all of the
 *            old log, which is in the file already, or a beginning of the new one.
 *   GUARDED  the guard, a connection that only reads, has a mark in the log, and SQLite begins no
 *            log anew that has a mark in it. The mark is taken while the log holds frames that are
 *            not in the file; of a log that is in the file completely there are no marks.
 *
 *              commit [sbx_wal_committed]
 *     EMPTY --------------------------------> GUARDED <---------------------------.
 *       ^                                       |                                 |
 *       |                                       | checkpoint complete, and no     |
 *       |                                       | commit since [wal_on_done]      |
 *       |  truncated by the worker              v                                 |
 *       '------------------------------------ DRAINED --------------------------- |
 *                                                                a reader is in   |
 *                          TURN by the worker [wal_on_turned]    the way          |
 *     UNKNOWN --------------------------------------------------------------------'
 *
 * Truncating fails while another program reads. Its mark could be gone the moment after, so the
 * log is not safe to append to; the worker does that once, with syncing on (SBX_DB_JOB_TURN), and
 * then there is a frame to guard. Not to a log that is at its limit already: that one waits until
 * it can be truncated, whatever was before.
 *
 * Size: with each SBX_WAL_STEP the worker copies. When a copy was complete and nothing was
 * committed since, the log is truncated. Under steady load that never happens; then, from
 * SBX_WAL_CLOSE_IN on, one copy follows the other, each of what was written during the one before,
 * until so little is left that writing can wait for the last one (a few milliseconds); at pause_at
 * it waits in any case. If even that is no use, because a reader holds the log or the disk is slow,
 * it may grow by as much again, up to SBX_WAL_MAX, and there writing is refused.
 *
 * Even truncating is the worker's: a file system may wait for the disk there (discard). */
#include "proc/db_wal.h"
#include "os/clock.h"
#include "proc/db_sql.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define WAL_FRAME_HEADER 24u
#define WAL_READER                                                                                 \
    "another program holds a read transaction open; the write-ahead log is at its limit of 64 MiB"
#define WAL_SLOW                                                                                   \
    "the disk is too slow to sync; the write-ahead log cannot be emptied for the moment"

static bool wal_is_open(const struct sbx_wal *w)
{
    return (w->state == SBX_WAL_EMPTY || w->state == SBX_WAL_GUARDED) && w->bytes < w->pause_at;
}

static int wal_on_commit(void *ctx, struct sqlite3 *conn, const char *db, int frames)
{
    struct sbx_wal *w = ctx;
    (void)conn;
    (void)db;
    w->bytes = (uint64_t)frames * w->frame_bytes;
    return SQLITE_OK;
}

static void wal_release(struct sbx_wal *w)
{
    sbx_sql_reset(w->hold);
}

/* Takes the newest mark there is; the log holds frames that are not in the file. */
static void wal_hold(struct sbx_wal *w)
{
    wal_release(w);
    if (sbx_sql_step(w->hold) == SQLITE_ROW) {
        w->state = SBX_WAL_GUARDED;
        return;
    }
    wal_release(w);
    w->state = SBX_WAL_UNKNOWN;
}

static void wal_refuse(struct sbx_wal *w, int code, const char *why)
{
    w->code = code;
    (void)snprintf(w->why, sizeof w->why, "%s", why);
}

/* It is no use to wait: grow on where there is room, else refuse. */
static void wal_give_up(struct sbx_wal *w, int code, const char *why)
{
    if (w->state != SBX_WAL_GUARDED || w->bytes >= SBX_WAL_MAX) {
        wal_refuse(w, code, why);
        return;
    }
    w->pause_at = w->bytes + SBX_WAL_PAUSE_AT;
    if (w->pause_at > SBX_WAL_MAX)
        w->pause_at = SBX_WAL_MAX;
}

static void wal_post(struct sbx_wal *w, enum sbx_db_job job)
{
    char why[128];
    int rc = sbx_db_worker_post(w->worker, job);
    if (rc == 0 || rc == -EBUSY)
        return;
    (void)snprintf(why, sizeof why, "cannot start the checkpoint thread: %s", strerror(-rc));
    wal_give_up(w, -EBUSY, why);
}

/* The guard moves on to what is committed, for it limits what may be copied. */
static void wal_post_checkpoint(struct sbx_wal *w)
{
    assert(w->state == SBX_WAL_GUARDED);
    if (sbx_db_worker_is_busy(w->worker))
        return;
    if (w->changed)
        wal_hold(w);
    if (w->state != SBX_WAL_GUARDED)
        return;
    w->changed = false;
    w->job_bytes = w->bytes;
    wal_post(w, SBX_DB_JOB_CHECKPOINT);
}

static void wal_on_truncated(struct sbx_wal *w, const struct sbx_db_outcome *o)
{
    if (o->rc == SQLITE_OK) {
        w->state = SBX_WAL_EMPTY;
        w->bytes = w->job_bytes = 0;
        w->pause_at = SBX_WAL_PAUSE_AT;
        return;
    }
    if ((o->rc & 0xff) != SQLITE_BUSY)
        w->state = SBX_WAL_UNKNOWN; /* the log may have begun anew without becoming empty */
    if (w->bytes < SBX_WAL_MAX)
        wal_post(w, SBX_DB_JOB_TURN);
    else if ((o->rc & 0xff) == SQLITE_BUSY)
        wal_refuse(w, -EBUSY, WAL_READER);
    else
        wal_refuse(w, o->code, o->why);
}

/* A turn would make a log that is at its limit longer still. */
static enum sbx_db_job wal_way_out(const struct sbx_wal *w)
{
    return w->state == SBX_WAL_UNKNOWN && w->bytes < SBX_WAL_MAX ? SBX_DB_JOB_TURN
                                                                 : SBX_DB_JOB_TRUNCATE;
}

/* Starts what could make writing possible; rarely, where it was of no use just now. */
static void wal_try(struct sbx_wal *w)
{
    uint64_t now = sbx_clock_mono_us();
    if (sbx_db_worker_is_busy(w->worker) || (w->code != 0 && now - w->tried_us < SBX_WAL_RETRY_US))
        return;
    w->tried_us = now;
    switch (w->state) {
    case SBX_WAL_EMPTY: break;
    case SBX_WAL_GUARDED: wal_post_checkpoint(w); break;
    case SBX_WAL_DRAINED:
    case SBX_WAL_UNKNOWN: wal_post(w, wal_way_out(w)); break;
    }
}

int sbx_wal_may_write(struct sbx_wal *w)
{
    if (!wal_is_open(w))
        wal_try(w);
    if (wal_is_open(w)) {
        w->code = 0;
        return 0;
    }
    w->waiting = true;
    if (w->code != 0)
        return w->code;
    if (!w->patience.armed)
        sbx_loop_set_timer(w->loop, &w->patience, sbx_clock_mono_us() + SBX_WAL_PAUSE_US);
    return -EAGAIN;
}

/* Tells who waits, once there is an answer. */
static void wal_settle(struct sbx_wal *w)
{
    if (wal_is_open(w))
        w->code = 0;
    else if (w->code == 0)
        return;
    sbx_loop_cancel_timer(w->loop, &w->patience);
    if (!w->waiting)
        return;
    w->waiting = false;
    w->on_ready(w->ctx);
}

static void wal_on_patience(struct sbx_timer *t)
{
    struct sbx_wal *w = SBX_LIST_OF(t, struct sbx_wal, patience);
    wal_give_up(w, -EBUSY, WAL_SLOW);
    wal_settle(w);
}

static void wal_on_turned(struct sbx_wal *w, const struct sbx_db_outcome *o)
{
    if (o->code != 0) {
        w->state = SBX_WAL_UNKNOWN;
        wal_refuse(w, o->code, o->why);
        return;
    }
    w->bytes = (uint64_t)o->frames * w->frame_bytes;
    w->changed = false; /* the guard will be at its end */
    wal_hold(w);
    if (w->state != SBX_WAL_GUARDED)
        wal_refuse(w, -EIO, "cannot read the write-ahead log");
}

/* A job from before the pause may have missed what was written until then; only one that began in
 * it tells that waiting is of no use. */
static void wal_on_checkpointed(struct sbx_wal *w, const struct sbx_db_outcome *o)
{
    if (w->state != SBX_WAL_GUARDED)
        return;
    if (o->complete && !w->changed) {
        wal_release(w);
        w->state = SBX_WAL_DRAINED;
        wal_post(w, SBX_DB_JOB_TRUNCATE);
    } else if (o->complete && w->bytes >= SBX_WAL_CLOSE_IN && w->bytes < w->pause_at) {
        if (w->bytes - w->job_bytes <= SBX_WAL_REST)
            w->pause_at = w->bytes;
        wal_post_checkpoint(w);
    } else if (w->bytes >= w->pause_at) {
        if (o->code == 0 && w->changed)
            wal_post_checkpoint(w);
        else
            wal_give_up(w, o->code != 0 ? o->code : -EBUSY, o->code != 0 ? o->why : WAL_READER);
    }
}

static void wal_take(struct sbx_wal *w, const struct sbx_db_outcome *o)
{
    if (o->job == SBX_DB_JOB_TURN)
        wal_on_turned(w, o);
    else if (o->job == SBX_DB_JOB_TRUNCATE)
        wal_on_truncated(w, o);
    else
        wal_on_checkpointed(w, o);
}

static void wal_on_done(void *ctx, const struct sbx_db_outcome *o)
{
    struct sbx_wal *w = ctx;
    wal_take(w, o);
    wal_settle(w);
}

void sbx_wal_committed(struct sbx_wal *w)
{
    w->changed = true;
    if (w->state == SBX_WAL_EMPTY)
        wal_hold(w);
    if (w->state == SBX_WAL_GUARDED && w->bytes >= w->job_bytes + SBX_WAL_STEP)
        wal_post_checkpoint(w);
}

void sbx_wal_sync_soon(struct sbx_wal *w)
{
    if (w->state == SBX_WAL_GUARDED)
        wal_post_checkpoint(w);
}

void sbx_wal_await(struct sbx_wal *w)
{
    sbx_db_worker_await(w->worker, (int)(SBX_WAL_PAUSE_US / 1000));
}

static int wal_open_guard(struct sbx_wal *w, const char *path)
{
    int rc = sbx_sql_open(path, NULL, &w->guard);
    if (rc == SQLITE_OK)
        rc = sbx_sql_exec(w->guard, "PRAGMA synchronous=OFF; PRAGMA cache_size=-64");
    if (rc == SQLITE_OK)
        rc = sbx_sql_prepare(w->guard, "SELECT name FROM sqlite_schema", &w->hold);
    return rc;
}

int sbx_wal_open(struct sbx_wal *w, struct sbx_loop *loop, struct sqlite3 *conn, const char *path,
                 uint64_t left, void (*on_ready)(void *ctx), void *ctx)
{
    struct sbx_db_outcome o;
    uint64_t page = 0;
    int rc;
    memset(w, 0, sizeof *w);
    w->loop = loop;
    w->conn = conn;
    w->on_ready = on_ready;
    w->ctx = ctx;
    w->pause_at = SBX_WAL_PAUSE_AT;
    w->state = left > 0 ? SBX_WAL_UNKNOWN : SBX_WAL_EMPTY;
    w->bytes = left;
    sbx_timer_init(&w->patience, wal_on_patience);
    rc = sbx_sql_get_u64(conn, "PRAGMA page_size", &page);
    if (rc == SQLITE_OK)
        rc = wal_open_guard(w, path);
    if (rc != SQLITE_OK)
        return rc;
    w->frame_bytes = page + WAL_FRAME_HEADER;
    (void)sqlite3_wal_hook(conn, wal_on_commit, w);
    w->worker = sbx_db_worker_open(loop, path, wal_on_done, w, &rc);
    if (w->worker == NULL)
        return rc != SQLITE_OK ? rc : SQLITE_NOMEM;
    if (left > 0) {
        sbx_db_worker_do(w->worker, wal_way_out(w), &o);
        wal_take(w, &o);
    }
    return SQLITE_OK;
}

void sbx_wal_stop(struct sbx_wal *w)
{
    if (w->loop != NULL)
        sbx_loop_cancel_timer(w->loop, &w->patience);
    if (w->worker != NULL)
        sbx_db_worker_stop(w->worker);
    if (w->hold != NULL)
        sbx_sql_finalize(&w->hold);
    sbx_sql_close(w->guard);
    w->guard = NULL;
}

void sbx_wal_close(struct sbx_wal *w)
{
    sbx_db_worker_close(w->worker);
    w->worker = NULL;
}
