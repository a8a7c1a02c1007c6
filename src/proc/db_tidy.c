/* db_tidy.c - what is no longer wanted goes: a record at once, its chunks bit by bit, and the pages
 * that became free back to the file system; see db_sqlite.c.
 *
 * Whose chunks are to go is in the table `forgotten`, so a server that ends meanwhile leaves it to
 * the next. `purging` saves looking there: it is false only after a look that found none that may
 * go, and until one could be there again. */
#include "proc/db_state.h"
#include "base/mem.h"
#include "proc/db_sql.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>

#define DB_TIDY_ROWS 256u
#define DB_TIDY_BYTES (1u << 20)
#define DB_TIDY_PROCESSES 64u
#define DB_PURGE_STEPS 64u /* of that size, in a transaction that stores something */
#define DB_FREE_PAGES 512u /* more of them are given back */
#define DB_FREE_FLOOR 16u  /* fewer never are */

/* --- forgetting --- */

static int db_run_for(struct sbx_db *db, enum sbx_db_statement s, uint64_t process)
{
    struct sbx_sql_row r;
    sbx_sql_begin_row(&r, db->st[s]);
    sbx_sql_put_u64(&r, process);
    return sbx_db_fail_write(db, sbx_sql_run(&r));
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
    int rc = db_run_for(db, SBX_DB_DROP_PROCESS, process);
    if (rc == 0)
        rc = sbx_db_drop_gaps(db, process, INT64_MAX);
    if (rc == 0)
        rc = sbx_db_has_chunks(db, process);
    if (rc < 0 || (rc == 0 && db_find_held(db, process) == db->nheld))
        return rc; /* there is nothing to drop, and nothing to come */
    db->purging = true;
    return db_run_for(db, SBX_DB_PUT_FORGOTTEN, process);
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
    struct sqlite3_stmt *st = db->st[SBX_DB_GET_FORGOTTEN];
    struct sbx_sql_row r;
    int rc;
    *process = 0;
    do {
        sbx_sql_begin_row(&r, st);
        sbx_sql_put_u64(&r, *process);
        rc = r.rc == SQLITE_OK ? sbx_sql_step(st) : r.rc;
        *process = rc == SQLITE_ROW ? sbx_db_column(st, 0) : 0;
        rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sbx_db_fail_read(db, rc);
        sbx_sql_reset(st);
    } while (rc == 0 && *process > 0 && db_find_held(db, *process) < db->nheld);
    if (rc == 0 && *process == 0)
        db->purging = false;
    return rc;
}

/* One step. *more: there is something left. */
static int db_purge_step(struct sbx_db *db, bool *more)
{
    struct sbx_db_limit l = {INT64_MAX, 0, DB_TIDY_ROWS, DB_TIDY_BYTES};
    unsigned i;
    int rc = 0;
    *more = true;
    for (i = 0; rc == 0 && *more && l.rows > 0 && l.bytes > 0 && i < DB_TIDY_PROCESSES; i++) {
        uint64_t process;
        bool cut = false;
        rc = db_next_forgotten(db, &process);
        *more = process > 0;
        if (rc == 0 && *more)
            rc = sbx_db_drop_chunks(db, process, &l, &cut);
        if (cut)
            break;
        if (rc == 0 && *more)
            rc = db_run_for(db, SBX_DB_DROP_FORGOTTEN, process);
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
    rc = sbx_db_count_pages(db, &used, &spare);
    for (i = 0; rc == 0 && more && used > db->used && i < DB_PURGE_STEPS; i++) {
        rc = db_purge_step(db, &more);
        if (rc == 0)
            rc = sbx_db_count_pages(db, &used, &spare);
    }
    return rc;
}

static int db_tidy_step(struct sbx_db *db, bool purge)
{
    bool more;
    int rc = sbx_db_begin(db);
    if (rc < 0)
        return rc;
    rc = purge ? db_purge_step(db, &more) : sbx_db_fail_write(db, sbx_db_run(db, SBX_DB_VACUUM));
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
        rc = sbx_db_count_pages(db, &used, &spare);
    if (rc < 0)
        return rc;
    if (process == 0 && spare <= DB_FREE_PAGES &&
        (spare <= DB_FREE_FLOOR || spare <= (used + spare) / 4))
        return 0;
    return db_tidy_step(db, process > 0);
}
