/* db_records.c - the records of processes, settings and counters: one row each, put as a whole and
 * loaded when a server begins; see db_sqlite.c.
 *
 * A record is bound and read back by position: the order in both functions is that of the columns
 * in the statements. */
#include "proc/db_state.h"
#include "proc/db_sql.h"

#include <assert.h>
#include <sqlite3.h>

int sbx_db_put_process(struct sbx_db *db, const struct sbx_db_process *p)
{
    struct sbx_sql_row r;
    sbx_sql_begin_row(&r, db->st[SBX_DB_PUT_PROCESS]);
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
    return sbx_db_fail_write(db, sbx_sql_run(&r));
}

static void db_get_process(struct sqlite3_stmt *st, struct sbx_db_process *p)
{
    int i = 0;
    p->number = sbx_db_column(st, i++);
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
    p->started_us = sbx_db_column(st, i++);
    p->boot_id = sbx_sql_text(st, i++);
    p->created_ms = sbx_db_column(st, i++);
    p->exited = sqlite3_column_int(st, i++) != 0;
    p->exited_ms = sbx_db_column(st, i++);
    p->exit_kind = sqlite3_column_int(st, i++);
    p->exit_value = sqlite3_column_int(st, i++);
    p->core_dumped = sqlite3_column_int(st, i++) != 0;
    p->exit_reason = sbx_sql_text(st, i++);
    p->exit_note = sbx_sql_text(st, i++);
    p->input_dropped = sbx_db_column(st, i++);
    p->log_cap = sbx_db_column(st, i++);
    p->log_first = sbx_db_column(st, i++);
    p->log_first_offset = sbx_db_column(st, i++);
    p->log_last = sbx_db_column(st, i++);
    p->log_end_offset = sbx_db_column(st, i++);
    assert(i == sqlite3_column_count(st));
}

int sbx_db_load(struct sbx_db *db, int (*on_process)(void *ctx, const struct sbx_db_process *p),
                void *ctx)
{
    struct sqlite3_stmt *st = db->st[SBX_DB_LOAD];
    struct sbx_db_process p;
    int stop = 0, rc = SQLITE_ROW;
    while (stop == 0 && (rc = sbx_sql_step(st)) == SQLITE_ROW) {
        db_get_process(st, &p);
        stop = on_process(ctx, &p);
    }
    if (stop == 0 && rc != SQLITE_DONE)
        stop = sbx_db_fail_read(db, rc);
    sbx_sql_reset(st);
    return stop;
}

int sbx_db_load_config(struct sbx_db *db, void (*on_value)(void *ctx, const char *name, uint64_t v),
                       void *ctx)
{
    struct sqlite3_stmt *st = db->st[SBX_DB_LOAD_CONFIG];
    int rc, result = 0;
    while ((rc = sbx_sql_step(st)) == SQLITE_ROW) {
        struct sbx_str name = sbx_sql_text(st, 0);
        on_value(ctx, name.p, sbx_db_column(st, 1));
    }
    if (rc != SQLITE_DONE)
        result = sbx_db_fail_read(db, rc);
    sbx_sql_reset(st);
    return result;
}

int sbx_db_load_counter(struct sbx_db *db, const char *name, uint64_t *value)
{
    struct sbx_sql_row r;
    int rc;
    *value = 0;
    sbx_sql_begin_row(&r, db->st[SBX_DB_LOAD_COUNTER]);
    sbx_sql_put_text(&r, sbx_str_z(name));
    rc = r.rc == SQLITE_OK ? sbx_sql_step(r.st) : r.rc;
    if (rc == SQLITE_ROW)
        *value = sbx_db_column(r.st, 0);
    rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sbx_db_fail_read(db, rc);
    sbx_sql_reset(r.st);
    return rc;
}

static int db_put_named(struct sbx_db *db, enum sbx_db_statement s, const char *name,
                        uint64_t value)
{
    struct sbx_sql_row r;
    sbx_sql_begin_row(&r, db->st[s]);
    sbx_sql_put_text(&r, sbx_str_z(name));
    sbx_sql_put_u64(&r, value);
    return sbx_db_fail_write(db, sbx_sql_run(&r));
}

int sbx_db_put_config(struct sbx_db *db, const char *name, uint64_t value)
{
    return db_put_named(db, SBX_DB_PUT_CONFIG, name, value);
}

int sbx_db_put_counter(struct sbx_db *db, const char *name, uint64_t value)
{
    return db_put_named(db, SBX_DB_PUT_COUNTER, name, value);
}
