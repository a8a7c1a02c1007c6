/* db_worker.c - see db_worker.h.
 *
 * What both sides touch is `posted`, `stopping` and `outcome`, under the lock: the loop writes
 * `posted`, the thread takes it and leaves its outcome. A byte in the pipe wakes the loop up. Which
 * job is under way is known to the loop by `running`, which is its own; the connection belongs to
 * the thread while that is not NONE, else to the loop. */
#include "proc/db_worker.h"
#include "base/mem.h"
#include "os/fd.h"
#include "proc/db_schema.h"
#include "proc/db_sql.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define WORKER_STACK (512u * 1024u)
#define WORKER_TEXT_(x) #x
#define WORKER_TEXT(x) WORKER_TEXT_(x)

struct sbx_db_worker {
    struct sqlite3 *conn;
    uint32_t frames; /* by the hook, in whichever thread commits */
    struct sbx_io io;
    int wake;        /* the thread's end of the pipe */
    void (*on_done)(void *ctx, const struct sbx_db_outcome *o);
    void *ctx;
    enum sbx_db_job running;
    bool started;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t news;
    enum sbx_db_job posted;
    bool stopping;
    struct sbx_db_outcome outcome;
};

static int worker_on_commit(void *ctx, struct sqlite3 *conn, const char *db, int frames)
{
    struct sbx_db_worker *w = ctx;
    (void)conn;
    (void)db;
    w->frames = (uint32_t)frames;
    return SQLITE_OK;
}

/* Storing the version again writes the first page, whatever it was. */
static void worker_turn(struct sbx_db_worker *w, struct sbx_db_outcome *o)
{
    o->rc = sbx_sql_exec(w->conn, "PRAGMA user_version=" WORKER_TEXT(SBX_SCHEMA_VERSION));
    o->frames = w->frames;
    o->code = sbx_sql_errno(o->rc);
    if (o->code != 0)
        sbx_sql_describe(o->why, sizeof o->why, "cannot write", o->rc, w->conn);
}

static void worker_checkpoint(struct sbx_db_worker *w, int mode, struct sbx_db_outcome *o)
{
    int in_log, in_file;
    o->rc = sbx_sql_checkpoint(w->conn, mode, &in_log, &in_file);
    o->complete = o->rc == SQLITE_OK && in_log >= 0 && in_log == in_file;
    o->code = sbx_sql_errno(o->rc);
    if (o->code != 0)
        sbx_sql_describe(o->why, sizeof o->why, "cannot move the write-ahead log into the file",
                         o->rc, w->conn);
}

void sbx_db_worker_do(struct sbx_db_worker *w, enum sbx_db_job job, struct sbx_db_outcome *o)
{
    memset(o, 0, sizeof *o);
    o->job = job;
    if (job == SBX_DB_JOB_TURN)
        worker_turn(w, o);
    else if (job == SBX_DB_JOB_TRUNCATE)
        worker_checkpoint(w, SQLITE_CHECKPOINT_TRUNCATE, o);
    else
        worker_checkpoint(w, SQLITE_CHECKPOINT_PASSIVE, o);
}

static void *worker_main(void *arg)
{
    struct sbx_db_worker *w = arg;
    struct sbx_db_outcome o;
    enum sbx_db_job job;
    (void)pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->posted == SBX_DB_JOB_NONE && !w->stopping)
            (void)pthread_cond_wait(&w->news, &w->lock);
        if (w->posted == SBX_DB_JOB_NONE)
            break;
        job = w->posted;
        w->posted = SBX_DB_JOB_NONE;
        (void)pthread_mutex_unlock(&w->lock);
        sbx_db_worker_do(w, job, &o);
        (void)pthread_mutex_lock(&w->lock);
        w->outcome = o;
        (void)sbx_fd_write(w->wake, "", 1); /* one job, one byte: it always fits */
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void worker_on_ready(struct sbx_io *io, short revents)
{
    struct sbx_db_worker *w = SBX_LIST_OF(io, struct sbx_db_worker, io);
    struct sbx_db_outcome o;
    char byte;
    (void)revents;
    if (sbx_fd_read(io->fd, &byte, 1) != 1)
        return;
    (void)pthread_mutex_lock(&w->lock);
    o = w->outcome;
    (void)pthread_mutex_unlock(&w->lock);
    w->running = SBX_DB_JOB_NONE;
    w->on_done(w->ctx, &o);
}

static int worker_connect(struct sbx_db_worker *w, const char *path)
{
    int rc = sbx_sql_open(path, NULL, &w->conn);
    if (rc == SQLITE_OK)
        rc = sbx_sql_exec(w->conn, "PRAGMA synchronous=NORMAL; PRAGMA cache_size=-64");
    if (rc == SQLITE_OK)
        (void)sqlite3_wal_hook(w->conn, worker_on_commit, w);
    return rc;
}

/* A write to the pipe cannot be waited for in the thread, nor a read in the loop. */
static int worker_open_pipe(struct sbx_db_worker *w, struct sbx_loop *loop)
{
    int fd = -1;
    int rc = sbx_fd_pipe(&fd, &w->wake);
    if (rc < 0)
        return rc;
    sbx_io_init(&w->io, loop, fd, worker_on_ready);
    rc = sbx_fd_set_nonblock(fd);
    return rc < 0 ? rc : sbx_io_watch(&w->io, POLLIN);
}

struct sbx_db_worker *sbx_db_worker_open(struct sbx_loop *loop, const char *path,
                                         void (*on_done)(void *ctx,
                                                         const struct sbx_db_outcome *o),
                                         void *ctx, int *rc)
{
    struct sbx_db_worker *w = sbx_mem_calloc(sizeof *w);
    *rc = SQLITE_OK;
    if (w == NULL)
        return NULL;
    w->on_done = on_done;
    w->ctx = ctx;
    w->io.fd = w->wake = -1;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->news, NULL);
    if (worker_open_pipe(w, loop) == 0)
        *rc = worker_connect(w, path);
    if (w->conn != NULL && *rc == SQLITE_OK)
        return w;
    sbx_db_worker_stop(w);
    sbx_db_worker_close(w);
    return NULL;
}

/* Signals are the loop's: a thread inherits the mask that is set while it is made. */
static int worker_start(struct sbx_db_worker *w)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int e = pthread_attr_init(&attr);
    if (e != 0)
        return -e;
    (void)pthread_attr_setstacksize(&attr, WORKER_STACK);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    e = pthread_create(&w->thread, &attr, worker_main, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    w->started = e == 0;
    return -e;
}

int sbx_db_worker_post(struct sbx_db_worker *w, enum sbx_db_job job)
{
    int rc = 0;
    if (w->running != SBX_DB_JOB_NONE)
        return -EBUSY;
    if (sqlite3_threadsafe() == 0)
        return -ENOSYS;
    if (!w->started)
        rc = worker_start(w);
    if (rc < 0)
        return rc;
    w->running = job;
    (void)pthread_mutex_lock(&w->lock);
    assert(w->posted == SBX_DB_JOB_NONE);
    w->posted = job;
    (void)pthread_cond_signal(&w->news);
    (void)pthread_mutex_unlock(&w->lock);
    return 0;
}

void sbx_db_worker_await(struct sbx_db_worker *w, int ms)
{
    struct pollfd p = {.fd = w->io.fd, .events = POLLIN};
    if (w->running != SBX_DB_JOB_NONE && poll(&p, 1, ms) > 0)
        worker_on_ready(&w->io, POLLIN);
}

bool sbx_db_worker_is_busy(const struct sbx_db_worker *w)
{
    return w->running != SBX_DB_JOB_NONE;
}

void sbx_db_worker_stop(struct sbx_db_worker *w)
{
    if (w->started) {
        (void)pthread_mutex_lock(&w->lock);
        w->stopping = true;
        (void)pthread_cond_signal(&w->news);
        (void)pthread_mutex_unlock(&w->lock);
        (void)pthread_join(w->thread, NULL);
        w->started = false;
    }
    if (w->io.fd >= 0)
        sbx_io_stop(&w->io);
    w->running = SBX_DB_JOB_NONE;
}

/* As the last connection it may remove the log, which is tidy where a person looks. */
void sbx_db_worker_close(struct sbx_db_worker *w)
{
    int in_log, in_file;
    if (w == NULL)
        return;
    assert(!w->started);
    if (w->conn != NULL) {
        if (sbx_sql_checkpoint(w->conn, SQLITE_CHECKPOINT_TRUNCATE, &in_log, &in_file) == SQLITE_OK)
            (void)sqlite3_db_config(w->conn, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, (int *)NULL);
        sbx_sql_close(w->conn);
    }
    sbx_fd_close(&w->io.fd);
    sbx_fd_close(&w->wake);
    (void)pthread_cond_destroy(&w->news);
    (void)pthread_mutex_destroy(&w->lock);
    sbx_mem_free(w);
}
