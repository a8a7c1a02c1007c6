/* db_sqlite.c - see db.h. The store's file in SQLite.
 *
 * Three connections, each for one purpose: the writer (all reading and writing of the loop, never
 * syncing), the guard and the worker's (db_wal.c says what for). All statements of the writer are
 * prepared once, at open: here, with the files and the transactions. What uses them is in
 * db_records.c, db_chunks.c and db_tidy.c.
 *
 * Nothing in them takes longer in a larger file: every statement but those of the load goes to rows
 * by key, or is bounded by a count. A statement is reset before its function returns, whatever
 * happens, because one that is not would hold a read mark and keep the log from being emptied.
 *
 * A chunk is one row of at most 128 KiB: its entries are JSON, [[stream,timeMs,start,length],...],
 * which the views can take apart without code of ours. */
#include "proc/db_state.h"
#include "base/mem.h"
#include "os/clock.h"
#include "proc/db_file.h"
#include "proc/db_log_file.h"
#include "proc/db_schema.h"
#include "proc/db_sql.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>

#define DB_LOOK_US 1000000u /* how often the file is looked for */
#define DB_HEADER 100u      /* bytes with which every database begins */

#define DB_PROCESS_COLUMNS                                                                         \
    "number, command, args, env_names, cwd, tty, interactive, persist, cols, rows, pid, "          \
    "started_us, boot_id, created_ms, exited, exited_ms, exit_kind, exit_value, core_dumped, "     \
    "exit_reason, exit_note, input_dropped, log_cap, log_first, log_first_offset, log_last, "      \
    "log_end_offset"
#define DB_CHUNK_COLUMNS "key, count, \"offset\", entries, data"
#define DB_IN_RANGE "key >= ? AND key < ?"

static const char *const db_sql[SBX_DB_STATEMENTS] = {
    [SBX_DB_BEGIN] = "BEGIN IMMEDIATE",
    [SBX_DB_COMMIT] = "COMMIT",
    [SBX_DB_PUT_PROCESS] = "INSERT OR REPLACE INTO process_records(" DB_PROCESS_COLUMNS ") VALUES("
                           "?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [SBX_DB_PUT_CHUNK] = "INSERT OR REPLACE INTO chunks(" DB_CHUNK_COLUMNS ") VALUES(?,?,?,?,?)",
    [SBX_DB_PUT_GAP] = "INSERT OR REPLACE INTO gap_records(process, first_sequence, last_sequence,"
                       " bytes, time_ms) VALUES(?,?,?,?,?)",
    [SBX_DB_PUT_CONFIG] = "INSERT OR REPLACE INTO settings(name, value) VALUES(?,?)",
    [SBX_DB_PUT_COUNTER] = "INSERT OR REPLACE INTO counters(name, value) VALUES(?,?)",
    [SBX_DB_DROP_PROCESS] = "DELETE FROM process_records WHERE number = ?",
    [SBX_DB_DROP_GAPS] = "DELETE FROM gap_records WHERE process = ? AND first_sequence < ?",
    [SBX_DB_DROP_CHUNKS] = "DELETE FROM chunks WHERE " DB_IN_RANGE,
    [SBX_DB_PUT_FORGOTTEN] = "INSERT OR IGNORE INTO forgotten(process) VALUES(?)",
    [SBX_DB_DROP_FORGOTTEN] = "DELETE FROM forgotten WHERE process = ?",
    [SBX_DB_GET_FORGOTTEN] = "SELECT process FROM forgotten WHERE process > ? ORDER BY process"
                             " LIMIT 1",
    [SBX_DB_FREELIST] = "PRAGMA freelist_count",
    [SBX_DB_PAGES] = "PRAGMA page_count",
    [SBX_DB_VACUUM] = "PRAGMA incremental_vacuum(32)",
    [SBX_DB_READ_AT] = "SELECT " DB_CHUNK_COLUMNS " FROM chunks WHERE " DB_IN_RANGE
                       " ORDER BY key DESC LIMIT 1",
    [SBX_DB_READ_NEXT] = "SELECT " DB_CHUNK_COLUMNS " FROM chunks WHERE " DB_IN_RANGE
                         " ORDER BY key LIMIT 1",
    [SBX_DB_FIRST] = "SELECT key, \"offset\", length(data) FROM chunks WHERE " DB_IN_RANGE
                     " ORDER BY key",
    [SBX_DB_LAST] = "SELECT key, \"offset\", count, length(data) FROM chunks WHERE " DB_IN_RANGE
                    " ORDER BY key DESC LIMIT 1",
    [SBX_DB_LOAD] = "SELECT " DB_PROCESS_COLUMNS " FROM process_records ORDER BY number",
    [SBX_DB_LOAD_CONFIG] = "SELECT name, value FROM settings ORDER BY name",
    [SBX_DB_LOAD_COUNTER] = "SELECT value FROM counters WHERE name = ?",
};

const char *sbx_db_backend(void)
{
    return "sqlite";
}

void sbx_db_await(struct sbx_db *db)
{
    sbx_wal_await(&db->wal);
}

bool sbx_db_settle(struct sbx_db *db)
{
    sbx_wal_sync_soon(&db->wal);
    return db->wal.state != SBX_WAL_EMPTY;
}

const char *sbx_db_error(const struct sbx_db *db)
{
    return db->error;
}

/* --- failures --- */

static int db_fail(struct sbx_db *db, const char *verb, int rc)
{
    sbx_sql_describe(db->error, sizeof db->error, verb, rc, db->conn);
    return sbx_sql_errno(rc);
}

int sbx_db_fail_write(struct sbx_db *db, int rc)
{
    return rc == SQLITE_OK ? 0 : db_fail(db, "cannot write", rc);
}

int sbx_db_fail_read(struct sbx_db *db, int rc)
{
    return rc == SQLITE_OK ? 0 : db_fail(db, "cannot read", rc);
}

uint64_t sbx_db_column(struct sqlite3_stmt *st, int column)
{
    return (uint64_t)sqlite3_column_int64(st, column);
}

/* --- opening --- */

static int db_prepare_all(struct sbx_db *db)
{
    int rc = SQLITE_OK;
    size_t i;
    for (i = 0; rc == SQLITE_OK && i < SBX_DB_STATEMENTS; i++)
        rc = sbx_sql_prepare(db->conn, db_sql[i], &db->st[i]);
    return rc;
}

static void db_disconnect(struct sbx_db *db)
{
    size_t i;
    sbx_wal_stop(&db->wal);
    for (i = 0; i < SBX_DB_STATEMENTS; i++)
        sbx_sql_finalize(&db->st[i]);
    sbx_sql_close(db->conn);
    db->conn = NULL;
    sbx_db_log_vfs_close(db->log_vfs);
    db->log_vfs = NULL;
    sbx_wal_close(&db->wal);
}

/* A file system may have no shared memory, and somebody may have switched it off. */
static int db_use_log(struct sbx_db *db)
{
    struct sqlite3_stmt *st;
    int rc = sbx_sql_prepare(db->conn, "PRAGMA journal_mode=WAL", &st);
    if (rc == SQLITE_OK)
        rc = sbx_sql_step(st);
    if (rc == SQLITE_ROW)
        rc = sbx_str_eq_z(sbx_sql_text(st, 0), "wal") ? SQLITE_OK : SQLITE_PROTOCOL;
    sbx_sql_finalize(&st);
    /* Off for the file itself, which it will not write again, and needed for db_log_file. */
    return rc == SQLITE_OK ? sbx_sql_exec(db->conn, "PRAGMA synchronous=FULL") : rc;
}

/* The order matters: the first two hold for an empty file only, and the journal's mode makes its
 * first page. */
static int db_begin_file(struct sbx_db *db)
{
    int rc = sbx_sql_exec(db->conn, "PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL");
    if (rc == SQLITE_OK)
        rc = db_use_log(db);
    if (rc == SQLITE_OK)
        rc = sbx_schema_create(db->conn, db->id.next);
    if (rc == SQLITE_OK)
        db->id.known = db->id.next;
    return rc;
}

/* SQLITE_AUTH, which nothing else gives here: it is another file than it has to be. */
static int db_recognise(struct sbx_db *db)
{
    uint64_t identity = 0;
    int rc = sbx_schema_identity(db->conn, &identity);
    if (rc != SQLITE_OK)
        return rc;
    if (db->id.known != 0 && identity != db->id.known && identity != db->id.next)
        return SQLITE_AUTH;
    db->id.known = identity;
    return SQLITE_OK;
}

/* Looked at before anything is written to it. */
static int db_take_file(struct sbx_db *db, bool migrate, uint64_t version)
{
    int rc = db_recognise(db);
    if (rc == SQLITE_OK)
        rc = sbx_schema_check(db->conn, version);
    if (rc == SQLITE_OK)
        rc = db_use_log(db);
    return rc == SQLITE_OK && migrate ? sbx_schema_migrate(db->conn, version) : rc;
}

static int db_fail_open(struct sbx_db *db, int rc, struct sbx_err *err)
{
    char why[200];
    if (rc == SQLITE_PROTOCOL)
        return sbx_err_set(err, ENOTSUP, "%s: the file system offers no shared memory, which a "
                               "write-ahead log needs", db->path);
    if (rc == SQLITE_AUTH)
        return sbx_err_set(err, ESTALE, "%s is not the file that this server has stored in, but "
                               "another; it is left alone", db->path);
    sbx_sql_describe(why, sizeof why, "cannot open", rc, db->conn);
    return sbx_err_set(err, sbx_sql_errno(rc), "%s: %s", db->path, why);
}

static int db_refuse_newer(struct sbx_db *db, uint64_t version, struct sbx_err *err)
{
    return sbx_err_set(err, ENOTSUP,
                           "%s has schema version %llu, this program knows up to %d; use a newer "
                           "program or another directory", db->path, (unsigned long long)version,
                       SBX_SCHEMA_VERSION);
}

/* Makes of the file what this program works with. A result code of SQLite; SQLITE_NOTADB for a
 * database that is not ours. *newer: the version, where that is too high. */
static int db_establish(struct sbx_db *db, uint64_t *newer)
{
    enum sbx_schema_state state = SBX_SCHEMA_FOREIGN;
    uint64_t version = 0;
    int rc;
    db->log_vfs = sbx_db_log_vfs_open();
    if (db->log_vfs == NULL)
        return SQLITE_NOMEM;
    rc = sbx_sql_open(db->path, sbx_db_log_vfs_name(db->log_vfs), &db->conn);
    if (rc == SQLITE_OK)
        rc = sbx_sql_exec(db->conn, "PRAGMA synchronous=OFF; PRAGMA cache_size=-1024");
    if (rc == SQLITE_OK)
        rc = sbx_schema_look(db->conn, &state, &version);
    if (rc != SQLITE_OK)
        return rc;
    switch (state) {
    case SBX_SCHEMA_FOREIGN: return SQLITE_NOTADB;
    case SBX_SCHEMA_NEWER: *newer = version; return SQLITE_OK;
    case SBX_SCHEMA_EMPTY: return db_begin_file(db);
    case SBX_SCHEMA_OLDER:
    case SBX_SCHEMA_CURRENT: break;
    }
    return db_take_file(db, state == SBX_SCHEMA_OLDER, version);
}

static int db_connect(struct sbx_db *db, struct sbx_loop *loop, void (*on_ready)(void *ctx),
                      void *ctx, struct sbx_err *err)
{
    uint64_t newer = 0, inode, left;
    int rc = db_establish(db, &newer);
    if (newer > 0)
        return db_refuse_newer(db, newer, err);
    if (rc == SQLITE_OK)
        rc = db_prepare_all(db);
    left = sbx_db_file_log_size(db->log_path, &inode);
    if (rc == SQLITE_OK)
        rc = sbx_wal_open(&db->wal, loop, db->conn, db->path, left, on_ready, ctx);
    if (rc != SQLITE_OK)
        return db_fail_open(db, rc, err);
    if (left > 0)
        sbx_wal_sync_soon(&db->wal);
    return 0;
}

static int db_set_aside(struct sbx_db *db, const struct sbx_diag *diag, const char *why,
                        struct sbx_err *err)
{
    char *to;
    int rc = sbx_db_file_set_aside(db->path, &to, err);
    if (rc < 0)
        return rc;
    sbx_diag(diag, SBX_DIAG_WARN, "%s; it is kept as %s, and a new one is begun", why, to);
    sbx_mem_free(to);
    return 0;
}

/* What SQLite would take for an empty database, and so overwrite: a file too short for a header,
 * and an empty one beside a log that is not, because somebody took the file away to which it
 * belongs. */
static int db_prepare_file(struct sbx_db *db, const struct sbx_diag *diag, struct sbx_err *err)
{
    uint64_t size = 0, inode;
    char why[400];
    int rc = sbx_db_file_prepare(db->path, &size, err);
    if (rc < 0 || size >= DB_HEADER)
        return rc;
    if (size == 0 && sbx_db_file_log_size(db->log_path, &inode) == 0)
        return 0;
    (void)snprintf(why, sizeof why, "%s %s", db->path,
                   size > 0 ? "is too short to be a database" : "is gone but for its log");
    rc = db_set_aside(db, diag, why, err);
    return rc < 0 ? rc : sbx_db_file_prepare(db->path, &size, err);
}

static int db_open_path(struct sbx_db *db, struct sbx_loop *loop, const struct sbx_diag *diag,
                        void (*on_ready)(void *ctx), void *ctx, struct sbx_err *err)
{
    struct sbx_err damage;
    int rc = db_prepare_file(db, diag, err);
    if (rc < 0)
        return rc;
    rc = db_connect(db, loop, on_ready, ctx, err);
    if (rc != -EILSEQ)
        return rc;
    damage = *err;
    db_disconnect(db);
    rc = db_set_aside(db, diag, damage.text, err);
    if (rc == 0)
        rc = db_prepare_file(db, diag, err);
    return rc < 0 ? rc : db_connect(db, loop, on_ready, ctx, err);
}

static int db_name_files(struct sbx_db *db, const char *dir, struct sbx_err *err)
{
    db->path = sbx_db_file_path(dir, "");
    db->log_path = sbx_db_file_path(dir, "-wal");
    if (db->path == NULL || db->log_path == NULL)
        return sbx_err_set(err, ENOMEM, "out of memory");
    return 0;
}

struct sbx_db *sbx_db_open(struct sbx_loop *loop, const struct sbx_diag *diag, const char *dir,
                           struct sbx_db_identity *id, void (*on_ready)(void *ctx), void *ctx,
                           struct sbx_err *err)
{
    struct sbx_db *db = sbx_mem_calloc(sizeof *db);
    if (db == NULL) {
        (void)sbx_err_set(err, ENOMEM, "out of memory");
        return NULL;
    }
    assert(id->next != 0);
    sbx_buf_init(&db->entries);
    db->id = *id;
    db->purging = true; /* an earlier server may have left some */
    if (db_name_files(db, dir, err) < 0 ||
        db_open_path(db, loop, diag, on_ready, ctx, err) < 0) {
        sbx_db_close(db);
        return NULL;
    }
    (void)sbx_db_file_log_size(db->log_path, &db->log_inode);
    db->looked_us = sbx_clock_mono_us();
    *id = db->id;
    return db;
}

void sbx_db_close(struct sbx_db *db)
{
    if (db->conn != NULL)
        sbx_db_rollback(db);
    db_disconnect(db);
    sbx_buf_deinit(&db->entries);
    sbx_mem_free(db->path);
    sbx_mem_free(db->log_path);
    sbx_mem_free(db->held);
    sbx_mem_free(db);
}

/* --- transactions --- */

int sbx_db_run(struct sbx_db *db, enum sbx_db_statement s)
{
    struct sbx_sql_row r;
    sbx_sql_begin_row(&r, db->st[s]);
    return sbx_sql_run(&r);
}

/* A result code of SQLite. */
static int db_look(struct sbx_db *db)
{
    uint64_t inode;
    bool moved = false;
    int rc = sbx_sql_has_moved(db->conn, &moved);
    if (rc != SQLITE_OK)
        return rc;
    (void)sbx_db_file_log_size(db->log_path, &inode);
    db->moved = moved;
    db->is_gone = moved || inode != db->log_inode;
    db->looked_us = sbx_clock_mono_us();
    return SQLITE_OK;
}

bool sbx_db_is_gone(struct sbx_db *db)
{
    (void)db_look(db);
    return db->is_gone;
}

bool sbx_db_lacks_log(const struct sbx_db *db)
{
    return db->is_gone && !db->moved;
}

/* Files that were deleted can be written to, and everything would be lost with the process. */
static int db_look_for_file(struct sbx_db *db)
{
    if (sbx_clock_mono_us() - db->looked_us >= DB_LOOK_US) {
        int rc = db_look(db);
        if (rc != SQLITE_OK)
            return db_fail(db, "cannot look for the file", rc);
    }
    if (!db->is_gone)
        return 0;
    (void)snprintf(db->error, sizeof db->error,
                       "%s or its write-ahead log was deleted or replaced while in use", db->path);
    return -EIO;
}

/* A number that a statement without parameters gives; 0 without a row. */
static int db_get(struct sbx_db *db, enum sbx_db_statement s, uint64_t *value)
{
    struct sqlite3_stmt *st = db->st[s];
    int rc = sbx_sql_step(st);
    *value = rc == SQLITE_ROW ? sbx_db_column(st, 0) : 0;
    rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sbx_db_fail_read(db, rc);
    sbx_sql_reset(st);
    return rc;
}

int sbx_db_count_pages(struct sbx_db *db, uint64_t *used, uint64_t *spare)
{
    uint64_t pages = 0;
    int rc = db_get(db, SBX_DB_FREELIST, spare);
    if (rc == 0)
        rc = db_get(db, SBX_DB_PAGES, &pages);
    *used = pages - *spare;
    return rc;
}

int sbx_db_begin(struct sbx_db *db)
{
    uint64_t spare;
    int rc = db_look_for_file(db);
    assert(sqlite3_get_autocommit(db->conn));
    if (rc < 0)
        return rc;
    rc = sbx_wal_may_write(&db->wal);
    if (rc < 0) {
        (void)snprintf(db->error, sizeof db->error, "%s",
                       rc == -EAGAIN ? "a checkpoint is about to be completed" : db->wal.why);
        return rc;
    }
    rc = sbx_db_run(db, SBX_DB_BEGIN);
    if ((rc & 0xff) == SQLITE_BUSY) {
        (void)snprintf(db->error, sizeof db->error, "another program is writing to the file");
        return -EBUSY;
    }
    rc = sbx_db_fail_write(db, rc);
    db->counted = db->purging;
    if (rc == 0 && db->counted)
        rc = sbx_db_count_pages(db, &db->used, &spare);
    if (rc < 0)
        sbx_db_rollback(db);
    return rc;
}

int sbx_db_commit(struct sbx_db *db)
{
    int rc = sbx_db_run(db, SBX_DB_COMMIT);
    if (rc == SQLITE_OK)
        sbx_wal_committed(&db->wal);
    return sbx_db_fail_write(db, rc);
}

void sbx_db_rollback(struct sbx_db *db)
{
    db->purging = true; /* what was dropped is there again */
    sbx_sql_rollback(db->conn);
    sbx_db_log_vfs_drop(db->log_vfs);
}
