/* db_sql.h - the one door to SQLite: every call that can fail goes through these, so that a test
 * can make the n-th one fail (sbx_db_set_gate).
 *
 * Results are SQLite's own codes; sbx_sql_errno and sbx_sql_describe turn them into ours. Nothing
 * here keeps state between calls. */
#ifndef SBX_PROC_DB_SQL_H
#define SBX_PROC_DB_SQL_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sqlite3;
struct sqlite3_stmt;

/* A connection that is used by one thread at a time, to a file that exists; vfs is a name, or NULL
 * for the system's. It never checkpoints by
 * itself, neither after a commit nor when it is closed, and never waits for a lock. *conn is NULL
 * after a failure. */
int sbx_sql_open(const char *path, const char *vfs, struct sqlite3 **conn);
void sbx_sql_close(struct sqlite3 *conn); /* NULL is fine; its statements are finalized before */
int sbx_sql_exec(struct sqlite3 *conn, const char *sql);
/* Ends a transaction if there is one. Whatever SQLite meets on the way, it is over then. */
void sbx_sql_rollback(struct sqlite3 *conn);
int sbx_sql_prepare(struct sqlite3 *conn, const char *sql, struct sqlite3_stmt **st);
void sbx_sql_finalize(struct sqlite3_stmt **st); /* sets NULL */
int sbx_sql_step(struct sqlite3_stmt *st);       /* SQLITE_ROW, SQLITE_DONE, or a failure */
void sbx_sql_reset(struct sqlite3_stmt *st);     /* forgets what was bound, too */
/* A checkpoint of that mode; frames in the log, and how many of them are in the file. */
int sbx_sql_checkpoint(struct sqlite3 *conn, int mode, int *in_log, int *in_file);
/* Is the file no longer where it was opened? (Not asked for its write-ahead log.) */
int sbx_sql_has_moved(struct sqlite3 *conn, bool *moved);
/* The first column of the first row of a query; 0 without a row. */
int sbx_sql_get_u64(struct sqlite3 *conn, const char *sql, uint64_t *value);

/* Values for a statement, from the first parameter on. What is borrowed stays valid until the
 * statement is reset. A failure sticks, and run returns it. */
struct sbx_sql_row {
    struct sqlite3_stmt *st;
    int at; /* parameters bound so far */
    int rc;
};
void sbx_sql_begin_row(struct sbx_sql_row *r, struct sqlite3_stmt *st);
void sbx_sql_put_i64(struct sbx_sql_row *r, int64_t v);
void sbx_sql_put_u64(struct sbx_sql_row *r, uint64_t v); /* its bits, kept as a signed number */
void sbx_sql_put_text(struct sbx_sql_row *r, struct sbx_str s);
void sbx_sql_put_null(struct sbx_sql_row *r);
void sbx_sql_put_blob(struct sbx_sql_row *r, const uint8_t *p, size_t n);
/* Runs a statement that gives no rows, and resets it. SQLITE_OK or a failure. */
int sbx_sql_run(struct sbx_sql_row *r);

struct sbx_str sbx_sql_text(struct sqlite3_stmt *st, int column); /* borrowed until the next step */

/* What can be done about it, as a negative errno: -ENOSPC, -EBUSY, -ENOMEM, -EROFS, -EILSEQ for a
 * damaged file, else -EIO. */
int sbx_sql_errno(int rc);
/* "VERB: why", e.g. "cannot write: database or disk is full". */
void sbx_sql_describe(char *out, size_t n, const char *verb, int rc, struct sqlite3 *conn);

#endif
