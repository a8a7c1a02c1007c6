/* db_none.c - see db.h. A build without SQLite has no database: opening one fails, and so nothing
 * else here is ever reached. */
#include "proc/db.h"

#include <assert.h>
#include <errno.h>

const char *sbx_db_backend(void)
{
    return "memory";
}

void sbx_db_set_gate(int (*gate)(void *ctx, const char *call), void *ctx)
{
    (void)gate;
    (void)ctx;
}

struct sbx_db *sbx_db_open(struct sbx_loop *loop, const struct sbx_diag *diag, const char *dir,
                           struct sbx_db_identity *id, void (*on_ready)(void *ctx), void *ctx,
                           struct sbx_err *err)
{
    (void)loop;
    (void)diag;
    (void)id;
    (void)on_ready;
    (void)ctx;
    (void)sbx_err_set(err, ENOTSUP, "%s: this program was built without SQLite", dir);
    return NULL;
}

/* No handle exists. */
static int none_reached(const struct sbx_db *db)
{
    assert(db == NULL && db != NULL);
    (void)db;
    return -ENOTSUP;
}

void sbx_db_close(struct sbx_db *db)
{
    (void)none_reached(db);
}

int sbx_db_hold(struct sbx_db *db, uint64_t process)
{
    (void)process;
    return none_reached(db);
}

void sbx_db_release(struct sbx_db *db, uint64_t process)
{
    (void)process;
    (void)none_reached(db);
}

bool sbx_db_is_gone(struct sbx_db *db)
{
    (void)none_reached(db);
    return false;
}

bool sbx_db_lacks_log(const struct sbx_db *db)
{
    (void)none_reached(db);
    return false;
}

int sbx_db_load(struct sbx_db *db, int (*on_process)(void *ctx, const struct sbx_db_process *p),
                void *ctx)
{
    (void)on_process;
    (void)ctx;
    return none_reached(db);
}

int sbx_db_load_config(struct sbx_db *db, void (*on_value)(void *ctx, const char *name, uint64_t v),
                       void *ctx)
{
    (void)on_value;
    (void)ctx;
    return none_reached(db);
}

int sbx_db_load_counter(struct sbx_db *db, const char *name, uint64_t *value)
{
    (void)name;
    (void)value;
    return none_reached(db);
}

int sbx_db_begin(struct sbx_db *db)
{
    return none_reached(db);
}

int sbx_db_put_process(struct sbx_db *db, const struct sbx_db_process *p)
{
    (void)p;
    return none_reached(db);
}

int sbx_db_put_chunk(struct sbx_db *db, const struct sbx_db_chunk *c)
{
    (void)c;
    return none_reached(db);
}

int sbx_db_put_gap(struct sbx_db *db, uint64_t process, uint64_t from, uint64_t to, uint64_t bytes,
                   uint64_t time_ms)
{
    (void)process;
    (void)from;
    (void)to;
    (void)bytes;
    (void)time_ms;
    return none_reached(db);
}

int sbx_db_evict(struct sbx_db *db, uint64_t process, uint64_t floor_sequence,
                 uint64_t floor_offset, struct sbx_db_bounds *b)
{
    (void)process;
    (void)floor_sequence;
    (void)floor_offset;
    (void)b;
    return none_reached(db);
}

int sbx_db_forget(struct sbx_db *db, uint64_t process)
{
    (void)process;
    return none_reached(db);
}

int sbx_db_put_config(struct sbx_db *db, const char *name, uint64_t value)
{
    (void)name;
    (void)value;
    return none_reached(db);
}

int sbx_db_put_counter(struct sbx_db *db, const char *name, uint64_t value)
{
    (void)name;
    (void)value;
    return none_reached(db);
}

int sbx_db_commit(struct sbx_db *db)
{
    return none_reached(db);
}

void sbx_db_rollback(struct sbx_db *db)
{
    (void)none_reached(db);
}

const char *sbx_db_error(const struct sbx_db *db)
{
    (void)none_reached(db);
    return "";
}

void sbx_db_await(struct sbx_db *db)
{
    (void)db;
}

bool sbx_db_settle(struct sbx_db *db)
{
    (void)db;
    return false;
}

int sbx_db_purge(struct sbx_db *db)
{
    return none_reached(db);
}

int sbx_db_tidy(struct sbx_db *db)
{
    return none_reached(db);
}

int sbx_db_read(struct sbx_db *db, uint64_t process, uint64_t sequence, struct sbx_db_page **page)
{
    (void)process;
    (void)sequence;
    (void)page;
    return none_reached(db);
}

int sbx_db_read_last(struct sbx_db *db, uint64_t process, uint64_t sequence,
                     struct sbx_db_page **page, uint64_t *first)
{
    (void)process;
    (void)sequence;
    (void)page;
    (void)first;
    return none_reached(db);
}

void sbx_db_page_free(struct sbx_db_page *page)
{
    assert(page == NULL);
    (void)page;
}

int sbx_db_bounds(struct sbx_db *db, uint64_t process, struct sbx_db_bounds *b)
{
    (void)process;
    (void)b;
    return none_reached(db);
}
