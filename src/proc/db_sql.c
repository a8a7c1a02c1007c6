/* db_sql.c - see db_sql.h. The gate is file-level state for the same reason as that of mem.c: it is
 * NULL outside of tests and lets them reach what happens when SQLite fails. */
#include "proc/db_sql.h"
#include "proc/db.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static int (*db_gate)(void *ctx, const char *call);
static void *db_gate_ctx;

void sbx_db_set_gate(int (*gate)(void *ctx, const char *call), void *ctx)
{
    db_gate = gate;
    db_gate_ctx = ctx;
}

static bool sql_may(const char *call)
{
    return db_gate == NULL || db_gate(db_gate_ctx, call);
}

/* SQLite knows ENOSPC; a quota and a limit of the file's size are full disks by other names. It
 * does not keep the cause of a failed write, but errno still has it when the call returns. */
static int sql_outcome(int rc)
{
    bool is_full = errno == EDQUOT || errno == EFBIG || errno == ENOSPC;
    return (rc & 0xff) == SQLITE_IOERR && is_full ? SQLITE_FULL : rc;
}

/* Debian builds SQLite with secure_delete on, which overwrites every page that becomes free and so
 * halves the speed of a log that evicts; FAST overwrites only what needs no further write. */
static int sql_configure(sqlite3 *conn)
{
    (void)sqlite3_db_config(conn, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
    (void)sqlite3_db_config(conn, SQLITE_DBCONFIG_LOOKASIDE, NULL, 0, 0);
    (void)sqlite3_extended_result_codes(conn, 1);
    (void)sqlite3_busy_timeout(conn, 0);
    return sbx_sql_exec(conn, "PRAGMA secure_delete=FAST;"
                              "PRAGMA wal_autocheckpoint=0;"
                              "PRAGMA foreign_keys=OFF;"
                              "PRAGMA temp_store=MEMORY;"
                              "PRAGMA mmap_size=0");
}

int sbx_sql_open(const char *path, const char *vfs, struct sqlite3 **conn)
{
    int rc;
    *conn = NULL;
    if (!sql_may("open"))
        return SQLITE_IOERR;
    rc = sqlite3_open_v2(path, conn, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs);
    if (rc == SQLITE_OK)
        rc = sql_configure(*conn);
    if (rc != SQLITE_OK) {
        sbx_sql_close(*conn);
        *conn = NULL;
    }
    return rc;
}

void sbx_sql_close(struct sqlite3 *conn)
{
    int rc = sqlite3_close(conn);
    assert(rc == SQLITE_OK); /* else a statement was forgotten */
    (void)rc;
}

int sbx_sql_exec(struct sqlite3 *conn, const char *sql)
{
    errno = 0;
    return sql_may(sql) ? sql_outcome(sqlite3_exec(conn, sql, NULL, NULL, NULL)) : SQLITE_IOERR;
}

void sbx_sql_rollback(struct sqlite3 *conn)
{
    if (!sqlite3_get_autocommit(conn))
        (void)sqlite3_exec(conn, "ROLLBACK", NULL, NULL, NULL);
}

int sbx_sql_prepare(struct sqlite3 *conn, const char *sql, struct sqlite3_stmt **st)
{
    *st = NULL;
    if (!sql_may("prepare"))
        return SQLITE_IOERR;
    return sqlite3_prepare_v3(conn, sql, -1, SQLITE_PREPARE_PERSISTENT, st, NULL);
}

void sbx_sql_finalize(struct sqlite3_stmt **st)
{
    (void)sqlite3_finalize(*st); /* tells of the last step's failure, which is known */
    *st = NULL;
}

int sbx_sql_step(struct sqlite3_stmt *st)
{
    errno = 0;
    return sql_may("step") ? sql_outcome(sqlite3_step(st)) : SQLITE_IOERR;
}

void sbx_sql_reset(struct sqlite3_stmt *st)
{
    (void)sqlite3_reset(st);
    (void)sqlite3_clear_bindings(st);
}

int sbx_sql_checkpoint(struct sqlite3 *conn, int mode, int *in_log, int *in_file)
{
    *in_log = *in_file = -1;
    if (!sql_may("checkpoint"))
        return SQLITE_IOERR;
    errno = 0;
    return sql_outcome(sqlite3_wal_checkpoint_v2(conn, "main", mode, in_log, in_file));
}

int sbx_sql_has_moved(struct sqlite3 *conn, bool *moved)
{
    int flag = 0;
    int rc = SQLITE_IOERR;
    if (sql_may("file_control"))
        rc = sqlite3_file_control(conn, "main", SQLITE_FCNTL_HAS_MOVED, &flag);
    *moved = flag != 0;
    return rc;
}

int sbx_sql_get_u64(struct sqlite3 *conn, const char *sql, uint64_t *value)
{
    struct sqlite3_stmt *st;
    int rc = sbx_sql_prepare(conn, sql, &st);
    *value = 0;
    if (rc != SQLITE_OK)
        return rc;
    rc = sbx_sql_step(st);
    if (rc == SQLITE_ROW)
        *value = (uint64_t)sqlite3_column_int64(st, 0);
    sbx_sql_finalize(&st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

void sbx_sql_begin_row(struct sbx_sql_row *r, struct sqlite3_stmt *st)
{
    r->st = st;
    r->at = 0;
    r->rc = SQLITE_OK;
}

static bool sql_may_bind(struct sbx_sql_row *r)
{
    r->at++;
    if (r->rc == SQLITE_OK && !sql_may("bind"))
        r->rc = SQLITE_IOERR;
    return r->rc == SQLITE_OK;
}

void sbx_sql_put_i64(struct sbx_sql_row *r, int64_t v)
{
    if (sql_may_bind(r))
        r->rc = sqlite3_bind_int64(r->st, r->at, v);
}

void sbx_sql_put_u64(struct sbx_sql_row *r, uint64_t v)
{
    sbx_sql_put_i64(r, (int64_t)v);
}

/* An empty view may have no address, which SQLite would take for NULL. */
void sbx_sql_put_text(struct sbx_sql_row *r, struct sbx_str s)
{
    if (sql_may_bind(r))
        r->rc = sqlite3_bind_text64(r->st, r->at, s.n > 0 ? s.p : "", s.n, SQLITE_STATIC,
                                    SQLITE_UTF8);
}

void sbx_sql_put_null(struct sbx_sql_row *r)
{
    if (sql_may_bind(r))
        r->rc = sqlite3_bind_null(r->st, r->at);
}

void sbx_sql_put_blob(struct sbx_sql_row *r, const uint8_t *p, size_t n)
{
    if (sql_may_bind(r))
        r->rc = sqlite3_bind_blob64(r->st, r->at, p, n, SQLITE_STATIC);
}

int sbx_sql_run(struct sbx_sql_row *r)
{
    int rc = r->rc;
    if (rc == SQLITE_OK) {
        do
            rc = sbx_sql_step(r->st);
        while (rc == SQLITE_ROW); /* some pragmas give empty rows while they work */
        if (rc == SQLITE_DONE)
            rc = SQLITE_OK;
    }
    sbx_sql_reset(r->st);
    return rc;
}

struct sbx_str sbx_sql_text(struct sqlite3_stmt *st, int column)
{
    const char *p = (const char *)sqlite3_column_text(st, column);
    int n = sqlite3_column_bytes(st, column);
    return (struct sbx_str){p != NULL ? p : "", p != NULL ? (size_t)n : 0};
}

int sbx_sql_errno(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK: return 0;
    case SQLITE_FULL: return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return -EBUSY;
    case SQLITE_NOMEM: return -ENOMEM;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: return -EROFS;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return -EILSEQ;
    default: break;
    }
    return rc == SQLITE_IOERR_NOMEM ? -ENOMEM : -EIO;
}

/* The system's reason is kept for files that cannot be opened, and only there. */
void sbx_sql_describe(char *out, size_t n, const char *verb, int rc, struct sqlite3 *conn)
{
    const char *damaged = sbx_sql_errno(rc) == -EILSEQ ? "the file is damaged: " : "";
    int e = conn != NULL && (rc & 0xff) == SQLITE_CANTOPEN ? sqlite3_system_errno(conn) : 0;
    if (e != 0)
        (void)snprintf(out, n, "%s: %s (%s)", verb, sqlite3_errstr(rc), strerror(e));
    else
        (void)snprintf(out, n, "%s: %s%s", verb, damaged, sqlite3_errstr(rc));
}
