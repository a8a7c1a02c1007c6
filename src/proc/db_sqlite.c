/* db_sqlite.c - see db.h. The store's file in SQLite.
 *
 * Three connections, each for one purpose: the writer (here: all reading and writing of the loop,
 * never syncing), the guard and the worker's (db_wal.c says what for). All statements of the writer
 * are prepared once, at open.
 *
 * Nothing here takes longer in a larger file: every statement but those of the load goes to rows by
 * key, or is bounded by a count. A statement is reset before its function returns, whatever
 * happens, because one that is not would hold a read mark and keep the log from being emptied.
 *
 * A chunk is one row of at most 128 KiB: its entries are JSON, [[stream,timeMs,start,length],...],
 * which the views can take apart without code of ours. */
#include "proc/db.h"
#include "base/buf.h"
#include "base/mem.h"
#include "os/clock.h"
#include "proc/db_file.h"
#include "proc/db_log_file.h"
#include "proc/db_schema.h"
#include "proc/db_sql.h"
#include "proc/db_wal.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define DB_EVICT_ROWS 2048u
#define DB_EVICT_BYTES (8u << 20)
#define DB_TIDY_ROWS 256u
#define DB_TIDY_BYTES (1u << 20)
#define DB_TIDY_PROCESSES 64u
#define DB_PURGE_STEPS 64u   /* of that size, in a transaction that stores something */
#define DB_FREE_PAGES 512u   /* more of them are given back */
#define DB_FREE_FLOOR 16u    /* fewer never are */
#define DB_LOOK_US 1000000u  /* how often the file is looked for */
#define DB_HEADER 100u       /* bytes with which every database begins */
#define DB_SEQUENCE_MAX ((uint64_t)1 << SBX_SCHEMA_SEQUENCE_BITS)
#define DB_PROCESS_MAX ((uint64_t)1 << (62 - SBX_SCHEMA_SEQUENCE_BITS))

enum db_statement {
    DB_BEGIN, DB_COMMIT,
    DB_PUT_PROCESS, DB_PUT_CHUNK, DB_PUT_GAP, DB_PUT_CONFIG, DB_PUT_COUNTER,
    DB_DROP_PROCESS, DB_DROP_GAPS, DB_DROP_CHUNKS, DB_PUT_FORGOTTEN, DB_DROP_FORGOTTEN,
    DB_GET_FORGOTTEN, DB_FREELIST, DB_PAGES, DB_VACUUM,
    DB_READ_AT, DB_READ_NEXT, DB_FIRST, DB_LAST,
    DB_LOAD, DB_LOAD_CONFIG, DB_LOAD_COUNTER,
    DB_STATEMENTS
};

#define DB_PROCESS_COLUMNS                                                                         \
    "number, command, args, env_names, cwd, tty, interactive, persist, cols, rows, pid, "          \
    "started_us, boot_id, created_ms, exited, exited_ms, exit_kind, exit_value, core_dumped, "     \
    "exit_reason, exit_note, input_dropped, log_cap, log_first, log_first_offset, log_last, "      \
    "log_end_offset"
#define DB_CHUNK_COLUMNS "key, count, \"offset\", entries, data"
#define DB_IN_RANGE "key >= ? AND key < ?"

static const char *const db_sql[DB_STATEMENTS] = {
    [DB_BEGIN] = "BEGIN IMMEDIATE",
    [DB_COMMIT] = "COMMIT",
    [DB_PUT_PROCESS] = "INSERT OR REPLACE INTO process_records(" DB_PROCESS_COLUMNS ") VALUES("
                       "?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [DB_PUT_CHUNK] = "INSERT OR REPLACE INTO chunks(" DB_CHUNK_COLUMNS ") VALUES(?,?,?,?,?)",
    [DB_PUT_GAP] = "INSERT OR REPLACE INTO gap_records(process, first_sequence, last_sequence,"
                   " bytes, time_ms) VALUES(?,?,?,?,?)",
    [DB_PUT_CONFIG] = "INSERT OR REPLACE INTO settings(name, value) VALUES(?,?)",
    [DB_PUT_COUNTER] = "INSERT OR REPLACE INTO counters(name, value) VALUES(?,?)",
    [DB_DROP_PROCESS] = "DELETE FROM process_records WHERE number = ?",
    [DB_DROP_GAPS] = "DELETE FROM gap_records WHERE process = ? AND first_sequence < ?",
    [DB_DROP_CHUNKS] = "DELETE FROM chunks WHERE " DB_IN_RANGE,
    [DB_PUT_FORGOTTEN] = "INSERT OR IGNORE INTO forgotten(process) VALUES(?)",
    [DB_DROP_FORGOTTEN] = "DELETE FROM forgotten WHERE process = ?",
    [DB_GET_FORGOTTEN] = "SELECT process FROM forgotten WHERE process > ? ORDER BY process"
                         " LIMIT 1",
    [DB_FREELIST] = "PRAGMA freelist_count",
    [DB_PAGES] = "PRAGMA page_count",
    [DB_VACUUM] = "PRAGMA incremental_vacuum(32)",
    [DB_READ_AT] = "SELECT " DB_CHUNK_COLUMNS " FROM chunks WHERE " DB_IN_RANGE
                   " ORDER BY key DESC LIMIT 1",
    [DB_READ_NEXT] = "SELECT " DB_CHUNK_COLUMNS " FROM chunks WHERE " DB_IN_RANGE
                     " ORDER BY key LIMIT 1",
    [DB_FIRST] = "SELECT key, \"offset\", length(data) FROM chunks WHERE " DB_IN_RANGE
                 " ORDER BY key",
    [DB_LAST] = "SELECT key, \"offset\", count, length(data) FROM chunks WHERE " DB_IN_RANGE
                " ORDER BY key DESC LIMIT 1",
    [DB_LOAD] = "SELECT " DB_PROCESS_COLUMNS " FROM process_records ORDER BY number",
    [DB_LOAD_CONFIG] = "SELECT name, value FROM settings ORDER BY name",
    [DB_LOAD_COUNTER] = "SELECT value FROM counters WHERE name = ?",
};

struct sbx_db {
    struct sbx_db_log_vfs *log_vfs;
    struct sqlite3 *conn;
    struct sqlite3_stmt *st[DB_STATEMENTS];
    struct sbx_wal wal;
    char *path;
    char *log_path;          /* of its write-ahead log */
    struct sbx_buf entries;  /* JSON of the chunk that is put, reused */
    bool purging;            /* chunks of forgotten processes may be there to be dropped */
    bool counted;            /* while purging: `used` tells of this transaction's beginning */
    uint64_t used;           /* pages with something in them */
    uint64_t *held;          /* forgotten ones of which the chunks stay for now */
    size_t nheld, capheld;
    uint64_t looked_us;      /* for the file, last */
    uint64_t log_inode;
    bool is_gone;
    char error[320];
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

bool sbx_db_is_gone(const struct sbx_db *db)
{
    return db->is_gone;
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

static int db_fail_write(struct sbx_db *db, int rc)
{
    return rc == SQLITE_OK ? 0 : db_fail(db, "cannot write", rc);
}

static int db_fail_read(struct sbx_db *db, int rc)
{
    return rc == SQLITE_OK ? 0 : db_fail(db, "cannot read", rc);
}

/* For what SQLite takes for good and we do not. */
static int db_fail_damaged(struct sbx_db *db, uint64_t process)
{
    (void)snprintf(db->error, sizeof db->error,
                   "cannot read: the file is damaged: a chunk of proc_%llu makes no sense",
                   (unsigned long long)process);
    return -EILSEQ;
}

static int db_fail_memory(struct sbx_db *db)
{
    (void)snprintf(db->error, sizeof db->error, "out of memory");
    return -ENOMEM;
}

/* --- keys --- */

static uint64_t db_key(uint64_t process, uint64_t sequence)
{
    if (sequence > DB_SEQUENCE_MAX)
        sequence = DB_SEQUENCE_MAX;
    return (process << SBX_SCHEMA_SEQUENCE_BITS) + sequence;
}

static uint64_t db_key_sequence(uint64_t key)
{
    return key & (DB_SEQUENCE_MAX - 1);
}

/* Binds the keys [from, to). */
static void db_bind_range(struct sbx_sql_row *r, struct sqlite3_stmt *st, uint64_t from,
                          uint64_t to)
{
    sbx_sql_begin_row(r, st);
    sbx_sql_put_u64(r, from);
    sbx_sql_put_u64(r, to);
}

static uint64_t db_column(struct sqlite3_stmt *st, int column)
{
    return (uint64_t)sqlite3_column_int64(st, column);
}

/* --- opening --- */

static int db_prepare_all(struct sbx_db *db)
{
    int rc = SQLITE_OK;
    size_t i;
    for (i = 0; rc == SQLITE_OK && i < DB_STATEMENTS; i++)
        rc = sbx_sql_prepare(db->conn, db_sql[i], &db->st[i]);
    return rc;
}

static void db_disconnect(struct sbx_db *db)
{
    size_t i;
    sbx_wal_stop(&db->wal);
    for (i = 0; i < DB_STATEMENTS; i++)
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
    return rc == SQLITE_OK ? sbx_schema_create(db->conn) : rc;
}

/* Looked at before anything is written to it. */
static int db_take_file(struct sbx_db *db, bool migrate, uint64_t version)
{
    int rc = sbx_schema_check(db->conn, version);
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
                           void (*on_ready)(void *ctx), void *ctx, struct sbx_err *err)
{
    struct sbx_db *db = sbx_mem_calloc(sizeof *db);
    if (db == NULL) {
        (void)sbx_err_set(err, ENOMEM, "out of memory");
        return NULL;
    }
    sbx_buf_init(&db->entries);
    db->purging = true; /* an earlier server may have left some */
    if (db_name_files(db, dir, err) < 0 ||
        db_open_path(db, loop, diag, on_ready, ctx, err) < 0) {
        sbx_db_close(db);
        return NULL;
    }
    (void)sbx_db_file_log_size(db->log_path, &db->log_inode);
    db->looked_us = sbx_clock_mono_us();
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

static int db_run(struct sbx_db *db, enum db_statement s)
{
    struct sbx_sql_row r;
    sbx_sql_begin_row(&r, db->st[s]);
    return sbx_sql_run(&r);
}

/* Files that were deleted can be written to, and everything would be lost with the process. */
static int db_look_for_file(struct sbx_db *db)
{
    uint64_t now = sbx_clock_mono_us(), inode;
    bool moved = false;
    int rc;
    if (now - db->looked_us >= DB_LOOK_US) {
        rc = sbx_sql_has_moved(db->conn, &moved);
        if (rc != SQLITE_OK)
            return db_fail(db, "cannot look for the file", rc);
        (void)sbx_db_file_log_size(db->log_path, &inode);
        db->is_gone = moved || inode != db->log_inode;
        db->looked_us = now;
    }
    if (!db->is_gone)
        return 0;
    (void)snprintf(db->error, sizeof db->error,
                   "%s or its write-ahead log was deleted or replaced while in use", db->path);
    return -EIO;
}

/* A number that a statement without parameters gives; 0 without a row. */
static int db_get(struct sbx_db *db, enum db_statement s, uint64_t *value)
{
    struct sqlite3_stmt *st = db->st[s];
    int rc = sbx_sql_step(st);
    *value = rc == SQLITE_ROW ? db_column(st, 0) : 0;
    rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_fail_read(db, rc);
    sbx_sql_reset(st);
    return rc;
}

/* As it is within the transaction. */
static int db_count_pages(struct sbx_db *db, uint64_t *used, uint64_t *spare)
{
    uint64_t pages = 0;
    int rc = db_get(db, DB_FREELIST, spare);
    if (rc == 0)
        rc = db_get(db, DB_PAGES, &pages);
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
    rc = db_run(db, DB_BEGIN);
    if ((rc & 0xff) == SQLITE_BUSY) {
        (void)snprintf(db->error, sizeof db->error, "another program is writing to the file");
        return -EBUSY;
    }
    rc = db_fail_write(db, rc);
    db->counted = db->purging;
    if (rc == 0 && db->counted)
        rc = db_count_pages(db, &db->used, &spare);
    if (rc < 0)
        sbx_db_rollback(db);
    return rc;
}

int sbx_db_commit(struct sbx_db *db)
{
    int rc = db_run(db, DB_COMMIT);
    if (rc == SQLITE_OK)
        sbx_wal_committed(&db->wal);
    return db_fail_write(db, rc);
}

void sbx_db_rollback(struct sbx_db *db)
{
    db->purging = true; /* what was dropped is there again */
    sbx_sql_rollback(db->conn);
}

/* --- records --- */

int sbx_db_put_process(struct sbx_db *db, const struct sbx_db_process *p)
{
    struct sbx_sql_row r;
    sbx_sql_begin_row(&r, db->st[DB_PUT_PROCESS]);
    sbx_sql_put_u64(&r, p->number);
    sbx_sql_put_text(&r, p->command);
    sbx_sql_put_text(&r, p->args);
    sbx_sql_put_text(&r, p->env_names);
    if (p->has_cwd)
        sbx_sql_put_text(&r, p->cwd);
    else
        sbx_sql_put_null(&r);
    sbx_sql_put_i64(&r, p->tty);
    sbx_sql_put_i64(&r, p->interactive);
    sbx_sql_put_i64(&r, p->persist);
    sbx_sql_put_i64(&r, p->cols);
    sbx_sql_put_i64(&r, p->rows);
    sbx_sql_put_i64(&r, p->pid);
    sbx_sql_put_u64(&r, p->started_us);
    sbx_sql_put_text(&r, p->boot_id);
    sbx_sql_put_u64(&r, p->created_ms);
    sbx_sql_put_i64(&r, p->exited);
    sbx_sql_put_u64(&r, p->exited_ms);
    sbx_sql_put_i64(&r, p->exit_kind);
    sbx_sql_put_i64(&r, p->exit_value);
    sbx_sql_put_i64(&r, p->core_dumped);
    sbx_sql_put_text(&r, p->exit_reason);
    sbx_sql_put_text(&r, p->exit_note);
    sbx_sql_put_u64(&r, p->input_dropped);
    sbx_sql_put_u64(&r, p->log_cap);
    sbx_sql_put_u64(&r, p->log_first);
    sbx_sql_put_u64(&r, p->log_first_offset);
    sbx_sql_put_u64(&r, p->log_last);
    sbx_sql_put_u64(&r, p->log_end_offset);
    return db_fail_write(db, sbx_sql_run(&r));
}

static void db_get_process(struct sqlite3_stmt *st, struct sbx_db_process *p)
{
    int i = 0;
    p->number = db_column(st, i++);
    p->command = sbx_sql_text(st, i++);
    p->args = sbx_sql_text(st, i++);
    p->env_names = sbx_sql_text(st, i++);
    p->has_cwd = sqlite3_column_type(st, i) != SQLITE_NULL;
    p->cwd = sbx_sql_text(st, i++);
    p->tty = sqlite3_column_int(st, i++) != 0;
    p->interactive = sqlite3_column_int(st, i++) != 0;
    p->persist = sqlite3_column_int(st, i++) != 0;
    p->cols = (uint16_t)sqlite3_column_int(st, i++);
    p->rows = (uint16_t)sqlite3_column_int(st, i++);
    p->pid = sqlite3_column_int64(st, i++);
    p->started_us = db_column(st, i++);
    p->boot_id = sbx_sql_text(st, i++);
    p->created_ms = db_column(st, i++);
    p->exited = sqlite3_column_int(st, i++) != 0;
    p->exited_ms = db_column(st, i++);
    p->exit_kind = sqlite3_column_int(st, i++);
    p->exit_value = sqlite3_column_int(st, i++);
    p->core_dumped = sqlite3_column_int(st, i++) != 0;
    p->exit_reason = sbx_sql_text(st, i++);
    p->exit_note = sbx_sql_text(st, i++);
    p->input_dropped = db_column(st, i++);
    p->log_cap = db_column(st, i++);
    p->log_first = db_column(st, i++);
    p->log_first_offset = db_column(st, i++);
    p->log_last = db_column(st, i++);
    p->log_end_offset = db_column(st, i++);
    assert(i == sqlite3_column_count(st));
}

int sbx_db_load(struct sbx_db *db, int (*on_process)(void *ctx, const struct sbx_db_process *p),
                void *ctx)
{
    struct sqlite3_stmt *st = db->st[DB_LOAD];
    struct sbx_db_process p;
    int stop = 0, rc = SQLITE_ROW;
    while (stop == 0 && (rc = sbx_sql_step(st)) == SQLITE_ROW) {
        db_get_process(st, &p);
        stop = on_process(ctx, &p);
    }
    if (stop == 0 && rc != SQLITE_DONE)
        stop = db_fail_read(db, rc);
    sbx_sql_reset(st);
    return stop;
}

int sbx_db_load_config(struct sbx_db *db, void (*on_value)(void *ctx, const char *name, uint64_t v),
                       void *ctx)
{
    struct sqlite3_stmt *st = db->st[DB_LOAD_CONFIG];
    int rc, result = 0;
    while ((rc = sbx_sql_step(st)) == SQLITE_ROW) {
        struct sbx_str name = sbx_sql_text(st, 0);
        on_value(ctx, name.p, db_column(st, 1));
    }
    if (rc != SQLITE_DONE)
        result = db_fail_read(db, rc);
    sbx_sql_reset(st);
    return result;
}

int sbx_db_load_counter(struct sbx_db *db, const char *name, uint64_t *value)
{
    struct sbx_sql_row r;
    int rc;
    *value = 0;
    sbx_sql_begin_row(&r, db->st[DB_LOAD_COUNTER]);
    sbx_sql_put_text(&r, sbx_str_z(name));
    rc = r.rc == SQLITE_OK ? sbx_sql_step(r.st) : r.rc;
    if (rc == SQLITE_ROW)
        *value = db_column(r.st, 0);
    rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_fail_read(db, rc);
    sbx_sql_reset(r.st);
    return rc;
}

static int db_put_named(struct sbx_db *db, enum db_statement s, const char *name, uint64_t value)
{
    struct sbx_sql_row r;
    sbx_sql_begin_row(&r, db->st[s]);
    sbx_sql_put_text(&r, sbx_str_z(name));
    sbx_sql_put_u64(&r, value);
    return db_fail_write(db, sbx_sql_run(&r));
}

int sbx_db_put_config(struct sbx_db *db, const char *name, uint64_t value)
{
    return db_put_named(db, DB_PUT_CONFIG, name, value);
}

int sbx_db_put_counter(struct sbx_db *db, const char *name, uint64_t value)
{
    return db_put_named(db, DB_PUT_COUNTER, name, value);
}

int sbx_db_put_gap(struct sbx_db *db, uint64_t process, uint64_t from, uint64_t to, uint64_t bytes,
                   uint64_t time_ms)
{
    struct sbx_sql_row r;
    sbx_sql_begin_row(&r, db->st[DB_PUT_GAP]);
    sbx_sql_put_u64(&r, process);
    sbx_sql_put_u64(&r, from);
    sbx_sql_put_u64(&r, to);
    sbx_sql_put_u64(&r, bytes);
    sbx_sql_put_u64(&r, time_ms);
    return db_fail_write(db, sbx_sql_run(&r));
}

/* --- chunks --- */

static void db_write_entries(struct sbx_buf *out, const struct sbx_db_chunk *c)
{
    uint32_t i;
    sbx_buf_clear(out);
    for (i = 0; i < c->count; i++) {
        const struct sbx_db_head *h = &c->heads[i];
        sbx_buf_add_z(out, i == 0 ? "[[" : ",[");
        sbx_buf_add_u64(out, h->stream);
        sbx_buf_add_byte(out, ',');
        sbx_buf_add_u64(out, h->time_ms);
        sbx_buf_add_byte(out, ',');
        sbx_buf_add_u64(out, h->start);
        sbx_buf_add_byte(out, ',');
        sbx_buf_add_u64(out, h->len);
        sbx_buf_add_byte(out, ']');
    }
    sbx_buf_add_byte(out, ']');
}

int sbx_db_put_chunk(struct sbx_db *db, const struct sbx_db_chunk *c)
{
    struct sbx_sql_row r;
    assert(c->count > 0 && c->len > 0 && c->len <= SBX_DB_CHUNK_MAX);
    if (c->process >= DB_PROCESS_MAX || c->first + c->count > DB_SEQUENCE_MAX) {
        (void)snprintf(db->error, sizeof db->error, "cannot write: there are no more keys");
        return -EOVERFLOW;
    }
    db_write_entries(&db->entries, c);
    if (db->entries.oom)
        return db_fail_memory(db);
    sbx_sql_begin_row(&r, db->st[DB_PUT_CHUNK]);
    sbx_sql_put_u64(&r, db_key(c->process, c->first));
    sbx_sql_put_u64(&r, c->count);
    sbx_sql_put_u64(&r, c->offset);
    sbx_sql_put_text(&r, sbx_buf_view(&db->entries));
    sbx_sql_put_blob(&r, c->data, c->len);
    return db_fail_write(db, sbx_sql_run(&r));
}

/* Reads "[stream,time,start,length]" off the front. */
static bool db_read_head(struct sbx_str *s, struct sbx_db_head *h, size_t limit)
{
    uint64_t v[4] = {0, 0, 0, 0};
    size_t i = 0, at = 1;
    if (s->n == 0 || s->p[0] != '[')
        return false;
    for (; at < s->n && s->p[at] != ']'; at++) {
        if (s->p[at] == ',')
            i++;
        else if (s->p[at] < '0' || s->p[at] > '9' || i > 3 || v[i] > UINT64_MAX / 100)
            return false;
        else
            v[i] = v[i] * 10 + (uint64_t)(s->p[at] - '0');
    }
    if (at == s->n || i != 3 || v[0] > 2 || v[2] > limit || v[3] > limit - v[2])
        return false;
    *h = (struct sbx_db_head){v[1], (uint32_t)v[2], (uint32_t)v[3], (uint8_t)v[0]};
    s->p += at + 1;
    s->n -= at + 1;
    return true;
}

static bool db_read_entries(struct sbx_str s, struct sbx_db_head *heads, uint32_t count,
                            size_t limit)
{
    uint32_t i;
    for (i = 0; i < count; i++) {
        if (s.n < 2 || s.p[0] != (i == 0 ? '[' : ','))
            return false;
        s.p++;
        s.n--;
        if (!db_read_head(&s, &heads[i], limit))
            return false;
    }
    return s.n == 1 && s.p[0] == ']';
}

void sbx_db_page_free(struct sbx_db_page *page)
{
    if (page == NULL)
        return;
    sbx_mem_free(page->heads);
    sbx_blob_unref(page->blob);
    sbx_mem_free(page);
}

/* Of the row that st is at; *page also when it makes no sense, for the caller to free. */
static int db_read_row(struct sbx_db *db, struct sqlite3_stmt *st, struct sbx_db_page **page)
{
    const uint64_t key = db_column(st, 0), count = db_column(st, 1);
    struct sbx_str entries = sbx_sql_text(st, 3);
    const void *data = sqlite3_column_blob(st, 4);
    size_t n = (size_t)sqlite3_column_bytes(st, 4);
    struct sbx_db_page *p = *page = sbx_mem_calloc(sizeof *p);
    if (p == NULL)
        return db_fail_memory(db);
    p->process = key >> SBX_SCHEMA_SEQUENCE_BITS;
    p->first = db_key_sequence(key);
    p->offset = db_column(st, 2);
    p->count = (uint32_t)count;
    /* An entry is at least "[0,0,0,0]" and a comma. */
    if (count == 0 || count > entries.n / 9 || data == NULL || n == 0 || n > SBX_DB_CHUNK_MAX)
        return db_fail_damaged(db, p->process);
    p->heads = sbx_mem_alloc(p->count * sizeof *p->heads);
    p->blob = sbx_blob_new(n);
    if (p->heads == NULL || p->blob == NULL)
        return db_fail_memory(db);
    memcpy(p->blob->data, data, n);
    p->blob->len = n;
    return db_read_entries(entries, p->heads, p->count, n) ? 0 : db_fail_damaged(db, p->process);
}

/* The row of a query for one chunk, if it reaches as far as `sequence`. */
static int db_read_one(struct sbx_db *db, enum db_statement s, uint64_t from, uint64_t to,
                       uint64_t sequence, struct sbx_db_page **page)
{
    struct sbx_sql_row r;
    int rc;
    db_bind_range(&r, db->st[s], from, to);
    rc = r.rc == SQLITE_OK ? sbx_sql_step(r.st) : r.rc;
    if (rc == SQLITE_DONE)
        rc = -ENOENT;
    else if (rc != SQLITE_ROW)
        rc = db_fail_read(db, rc);
    else if (db_key_sequence(db_column(r.st, 0)) + db_column(r.st, 1) <= sequence)
        rc = -ENOENT;
    else
        rc = db_read_row(db, r.st, page);
    sbx_sql_reset(r.st);
    return rc;
}

int sbx_db_read(struct sbx_db *db, uint64_t process, uint64_t sequence, struct sbx_db_page **page)
{
    uint64_t begin = db_key(process, 0), end = db_key(process + 1, 0);
    uint64_t after = db_key(process, sequence < DB_SEQUENCE_MAX ? sequence + 1 : sequence);
    int rc;
    *page = NULL;
    if (process >= DB_PROCESS_MAX)
        return -ENOENT;
    rc = db_read_one(db, DB_READ_AT, begin, after, sequence, page);
    if (rc == -ENOENT)
        rc = db_read_one(db, DB_READ_NEXT, after, end, sequence, page);
    if (rc < 0) {
        sbx_db_page_free(*page);
        *page = NULL;
    }
    return rc;
}

/* 1 with a row, 0 without, or a failure. The statement is to be reset. */
static int db_step_range(struct sbx_db *db, enum db_statement s, uint64_t process)
{
    struct sbx_sql_row r;
    int rc;
    db_bind_range(&r, db->st[s], db_key(process, 0), db_key(process + 1, 0));
    rc = r.rc == SQLITE_OK ? sbx_sql_step(r.st) : r.rc;
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        return rc == SQLITE_ROW;
    return db_fail_read(db, rc);
}

int sbx_db_bounds(struct sbx_db *db, uint64_t process, struct sbx_db_bounds *b)
{
    struct sqlite3_stmt *first = db->st[DB_FIRST], *last = db->st[DB_LAST];
    int rc;
    *b = (struct sbx_db_bounds){1, 0, 0, 0};
    if (process >= DB_PROCESS_MAX)
        return 0;
    rc = db_step_range(db, DB_FIRST, process);
    if (rc > 0) {
        b->first = db_key_sequence(db_column(first, 0));
        b->first_offset = db_column(first, 1);
        rc = db_step_range(db, DB_LAST, process);
    }
    if (rc > 0) {
        b->last = db_key_sequence(db_column(last, 0)) + db_column(last, 2) - 1;
        b->end_offset = db_column(last, 1) + db_column(last, 3);
    }
    sbx_sql_reset(first);
    sbx_sql_reset(last);
    return rc < 0 ? rc : 0;
}

/* --- dropping --- */

struct db_limit {
    uint64_t sequence, offset; /* chunks that begin below either */
    uint64_t rows, bytes;      /* and not more than that; what is left of it is told */
};

/* Where the first chunk begins that is to be kept; *more: only because of the limit. */
static int db_find_cut(struct sbx_db *db, uint64_t process, struct db_limit *l, uint64_t *cut,
                       bool *more)
{
    struct sqlite3_stmt *st = db->st[DB_FIRST];
    int rc = db_step_range(db, DB_FIRST, process);
    *cut = db_key(process + 1, 0);
    *more = false;
    while (rc > 0) {
        uint64_t key = db_column(st, 0), len = db_column(st, 2);
        bool below = db_key_sequence(key) < l->sequence || db_column(st, 1) < l->offset;
        if (!below || l->rows == 0 || l->bytes == 0) {
            *cut = key;
            *more = below;
            break;
        }
        l->rows--;
        l->bytes -= len < l->bytes ? len : l->bytes;
        rc = sbx_sql_step(st);
        rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? rc == SQLITE_ROW : db_fail_read(db, rc);
    }
    sbx_sql_reset(st);
    return rc < 0 ? rc : 0;
}

static int db_drop_chunks(struct sbx_db *db, uint64_t process, struct db_limit *l, bool *more)
{
    struct sbx_sql_row r;
    uint64_t cut;
    int rc = db_find_cut(db, process, l, &cut, more);
    if (rc < 0)
        return rc;
    db_bind_range(&r, db->st[DB_DROP_CHUNKS], db_key(process, 0), cut);
    return db_fail_write(db, sbx_sql_run(&r));
}

static int db_drop_gaps(struct sbx_db *db, uint64_t process, uint64_t below)
{
    struct sbx_sql_row r;
    sbx_sql_begin_row(&r, db->st[DB_DROP_GAPS]);
    sbx_sql_put_u64(&r, process);
    sbx_sql_put_u64(&r, below);
    return db_fail_write(db, sbx_sql_run(&r));
}

static int db_run_for(struct sbx_db *db, enum db_statement s, uint64_t process)
{
    struct sbx_sql_row r;
    sbx_sql_begin_row(&r, db->st[s]);
    sbx_sql_put_u64(&r, process);
    return db_fail_write(db, sbx_sql_run(&r));
}

/* A gap goes with the chunks around it: what it is between is no longer there. */
int sbx_db_evict(struct sbx_db *db, uint64_t process, uint64_t floor_sequence,
                 uint64_t floor_offset, struct sbx_db_bounds *b)
{
    struct db_limit l = {floor_sequence, floor_offset, DB_EVICT_ROWS, DB_EVICT_BYTES};
    bool more;
    int rc = 0;
    if (process < DB_PROCESS_MAX)
        rc = db_drop_chunks(db, process, &l, &more);
    if (rc == 0)
        rc = sbx_db_bounds(db, process, b);
    if (rc == 0 && b->first <= b->last && b->first > floor_sequence)
        floor_sequence = b->first;
    return rc == 0 ? db_drop_gaps(db, process, floor_sequence) : rc;
}

static size_t db_find_held(const struct sbx_db *db, uint64_t process)
{
    size_t i = 0;
    while (i < db->nheld && db->held[i] != process)
        i++;
    return i;
}

int sbx_db_forget(struct sbx_db *db, uint64_t process)
{
    int rc = db_run_for(db, DB_DROP_PROCESS, process);
    if (rc == 0)
        rc = db_drop_gaps(db, process, INT64_MAX);
    if (rc == 0 && process < DB_PROCESS_MAX)
        rc = db_step_range(db, DB_FIRST, process);
    sbx_sql_reset(db->st[DB_FIRST]);
    if (rc < 0 || (rc == 0 && db_find_held(db, process) == db->nheld))
        return rc; /* there is nothing to drop, and nothing to come */
    db->purging = true;
    return db_run_for(db, DB_PUT_FORGOTTEN, process);
}

int sbx_db_hold(struct sbx_db *db, uint64_t process)
{
    size_t cap = db->capheld == 0 ? 8 : db->capheld * 2;
    if (db->nheld == db->capheld) {
        uint64_t *held = sbx_mem_realloc(db->held, cap * sizeof *held);
        if (held == NULL)
            return -ENOMEM;
        db->held = held;
        db->capheld = cap;
    }
    db->held[db->nheld++] = process;
    return 0;
}

void sbx_db_release(struct sbx_db *db, uint64_t process)
{
    size_t at = db_find_held(db, process);
    if (at == db->nheld)
        return;
    db->held[at] = db->held[--db->nheld];
    db->purging = true;
}

/* --- tidying --- */

/* The first whose chunks may go; 0: there is none, nor will there be before something changes. */
static int db_next_forgotten(struct sbx_db *db, uint64_t *process)
{
    struct sqlite3_stmt *st = db->st[DB_GET_FORGOTTEN];
    struct sbx_sql_row r;
    int rc;
    *process = 0;
    do {
        sbx_sql_begin_row(&r, st);
        sbx_sql_put_u64(&r, *process);
        rc = r.rc == SQLITE_OK ? sbx_sql_step(st) : r.rc;
        *process = rc == SQLITE_ROW ? db_column(st, 0) : 0;
        rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_fail_read(db, rc);
        sbx_sql_reset(st);
    } while (rc == 0 && *process > 0 && db_find_held(db, *process) < db->nheld);
    if (rc == 0 && *process == 0)
        db->purging = false;
    return rc;
}

/* One step. *more: there is something left. */
static int db_purge_step(struct sbx_db *db, bool *more)
{
    struct db_limit l = {INT64_MAX, 0, DB_TIDY_ROWS, DB_TIDY_BYTES};
    unsigned i;
    int rc = 0;
    *more = true;
    for (i = 0; rc == 0 && *more && l.rows > 0 && l.bytes > 0 && i < DB_TIDY_PROCESSES; i++) {
        uint64_t process;
        bool cut = false;
        rc = db_next_forgotten(db, &process);
        *more = process > 0;
        if (rc == 0 && *more)
            rc = db_drop_chunks(db, process, &l, &cut);
        if (cut)
            break;
        if (rc == 0 && *more)
            rc = db_run_for(db, DB_DROP_FORGOTTEN, process);
    }
    return rc;
}

/* What is forgotten faster than it is dropped in between would make the file grow without end. */
int sbx_db_purge(struct sbx_db *db)
{
    uint64_t used = 0, spare;
    unsigned i;
    bool more = true;
    int rc;
    if (!db->purging)
        return 0;
    if (!db->counted)
        return db_purge_step(db, &more); /* the first one that is forgotten for a while */
    rc = db_count_pages(db, &used, &spare);
    for (i = 0; rc == 0 && more && used > db->used && i < DB_PURGE_STEPS; i++) {
        rc = db_purge_step(db, &more);
        if (rc == 0)
            rc = db_count_pages(db, &used, &spare);
    }
    return rc;
}

static int db_tidy_step(struct sbx_db *db, bool purge)
{
    bool more;
    int rc = sbx_db_begin(db);
    if (rc < 0)
        return rc;
    rc = purge ? db_purge_step(db, &more) : db_fail_write(db, db_run(db, DB_VACUUM));
    if (rc == 0)
        rc = sbx_db_commit(db);
    if (rc < 0)
        sbx_db_rollback(db);
    return rc < 0 ? rc : 1;
}

int sbx_db_tidy(struct sbx_db *db)
{
    uint64_t process = 0, used = 0, spare = 0;
    int rc = db_next_forgotten(db, &process);
    assert(sqlite3_get_autocommit(db->conn));
    if (rc == 0 && process == 0)
        rc = db_count_pages(db, &used, &spare);
    if (rc < 0)
        return rc;
    if (process == 0 && spare <= DB_FREE_PAGES &&
        (spare <= DB_FREE_FLOOR || spare <= (used + spare) / 4))
        return 0;
    return db_tidy_step(db, process > 0);
}
