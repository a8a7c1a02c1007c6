/* db_rig.h - a database in a directory of its own, with a loop around it.
 *
 * What is written follows a rule, so that it can be checked wherever it is read back: byte i of the
 * log of process p is db_byte(p, i). */
#ifndef SBX_TESTS_DB_RIG_H
#define SBX_TESTS_DB_RIG_H

#include "gate.h"
#include "os/clock.h"
#include "proc/db.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DB_RIG_PATIENCE_US 20000000u

struct db_rig {
    char dir[64];
    char file[96], log[128];
    struct sbx_loop loop;
    struct sbx_timer tick;
    struct sbx_db *db;
    struct sbx_db_identity id;
    struct sbx_err err;
    unsigned ready;
};

static struct db_rig r;

static inline void db_rig_on_ready(void *ctx)
{
    (void)ctx;
    r.ready++;
}

static inline void db_rig_on_tick(struct sbx_timer *t)
{
    (void)t;
}

static inline uint8_t db_byte(uint64_t process, uint64_t at)
{
    return (uint8_t)(process * 31 + at * 7 + (at >> 8));
}

static inline void db_rig_use(const char *dir)
{
    memset(&r, 0, sizeof r);
    (void)snprintf(r.dir, sizeof r.dir, "%s", dir);
    (void)snprintf(r.file, sizeof r.file, "%s/sandbox-agent.db", dir);
    (void)snprintf(r.log, sizeof r.log, "%s-wal", r.file);
    assert_int_equal(sbx_loop_init(&r.loop), 0);
    sbx_timer_init(&r.tick, db_rig_on_tick);
}

/* A new directory; no database yet. */
static inline void db_rig_init(void)
{
    char dir[] = "/tmp/sbx-db-XXXXXX";
    assert_non_null(mkdtemp(dir));
    db_rig_use(dir);
}

static inline bool db_rig_try_open(void)
{
    const struct sbx_diag quiet = {SBX_DIAG_ERROR};
    memset(&r.err, 0, sizeof r.err);
    r.id = (struct sbx_db_identity){.next = 4711};
    r.db = sbx_db_open(&r.loop, &quiet, r.dir, &r.id, db_rig_on_ready, NULL, &r.err);
    return r.db != NULL;
}

static inline void db_rig_open(void)
{
    if (!db_rig_try_open())
        fail_msg("open: %s", r.err.text);
}

static inline void db_rig_close(void)
{
    sbx_db_close(r.db);
    r.db = NULL;
}

static inline void db_rig_reopen(void)
{
    db_rig_close();
    db_rig_open();
}

static inline void db_rig_remove(void)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", r.dir);
    assert_int_equal(system(command), 0);
}

static inline void db_rig_deinit(void)
{
    if (r.db != NULL)
        db_rig_close();
    sbx_loop_cancel_timer(&r.loop, &r.tick);
    sbx_loop_deinit(&r.loop);
    db_rig_remove();
}

static inline void db_rig_start(void)
{
    db_rig_init();
    db_rig_open();
}

static inline void db_rig_turn(void)
{
    sbx_loop_set_timer(&r.loop, &r.tick, sbx_clock_mono_us() + 1000);
    sbx_loop_turn(&r.loop);
}

#define DB_UNTIL(condition)                                                                        \
    do {                                                                                           \
        uint64_t db_end = sbx_clock_mono_us() + DB_RIG_PATIENCE_US;                                \
        while (!(condition)) {                                                                     \
            if (sbx_clock_mono_us() > db_end)                                                      \
                fail_msg("waited in vain for: %s", #condition);                                    \
            db_rig_turn();                                                                         \
        }                                                                                          \
    } while (0)

static inline void db_ok(int rc)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, sbx_db_error(r.db));
}

/* Waits while there is a checkpoint to wait for. */
static inline void db_begin(void)
{
    int rc;
    DB_UNTIL((rc = sbx_db_begin(r.db)) != -EAGAIN);
    db_ok(rc);
}

static inline struct sbx_db_process db_process(uint64_t number)
{
    return (struct sbx_db_process){.number = number, .command = SBX_STR("true"),
                                   .args = SBX_STR("[]"), .env_names = SBX_STR("[]"),
                                   .persist = true, .created_ms = 1769776365000 + number,
                                   .exit_reason = SBX_STR("")};
}

static inline void db_put_process(uint64_t number)
{
    struct sbx_db_process p = db_process(number);
    db_ok(sbx_db_put_process(r.db, &p));
}

/* `count` entries of `each` bytes as one chunk; entry i is of stream i % 3. */
static inline int db_try_chunk(uint64_t process, uint64_t first, uint64_t offset, uint32_t count,
                               uint32_t each)
{
    static uint8_t data[SBX_DB_CHUNK_MAX];
    static struct sbx_db_head heads[20000];
    struct sbx_db_chunk c = {process, first, offset, heads, count, data, (size_t)count * each};
    uint32_t i;
    assert_true(count <= 20000 && c.len <= sizeof data);
    for (i = 0; i < count; i++)
        heads[i] = (struct sbx_db_head){1769776365000 + first + i, i * each, each,
                                        (uint8_t)((first + i) % 3)};
    for (i = 0; i < c.len; i++)
        data[i] = db_byte(process, offset + i);
    return sbx_db_put_chunk(r.db, &c);
}

static inline void db_put_chunk(uint64_t process, uint64_t first, uint64_t offset, uint32_t count,
                                uint32_t each)
{
    db_ok(db_try_chunk(process, first, offset, count, each));
}

/* Chunks of one entry each, as a transaction. */
static inline void db_fill(uint64_t process, uint64_t from, uint64_t to, uint32_t each)
{
    uint64_t i;
    db_begin();
    for (i = from; i <= to; i++)
        db_put_chunk(process, i, (i - 1) * each, 1, each);
    db_ok(sbx_db_commit(r.db));
}

static inline void db_check_page(const struct sbx_db_page *p)
{
    uint32_t i;
    size_t at;
    for (i = 0; i < p->count; i++) {
        assert_int_equal(p->heads[i].time_ms, 1769776365000 + p->first + i);
        assert_int_equal(p->heads[i].stream, (p->first + i) % 3);
        assert_int_equal(p->heads[i].start, i == 0 ? 0 : p->heads[i - 1].start +
                                                             p->heads[i - 1].len);
    }
    for (at = 0; at < p->blob->len; at++)
        if (p->blob->data[at] != db_byte(p->process, p->offset + at))
            fail_msg("byte %zu of chunk %llu differs", at, (unsigned long long)p->first);
}

/* The first sequence of the chunk that a read gives; 0 when there is none. */
static inline uint64_t db_read_first(uint64_t process, uint64_t sequence)
{
    struct sbx_db_page *p = NULL;
    uint64_t first;
    int rc = sbx_db_read(r.db, process, sequence, &p);
    if (rc == -ENOENT) {
        assert_null(p);
        return 0;
    }
    db_ok(rc);
    assert_int_equal(p->process, process);
    db_check_page(p);
    first = p->first;
    sbx_db_page_free(p);
    return first;
}

static inline long db_file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (long)st.st_size : -1;
}

/* --- with SQLite's own interface, as a person would --- */

static inline struct sqlite3 *db_person(void)
{
    struct sqlite3 *conn;
    assert_int_equal(sqlite3_open_v2(r.file, &conn, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    return conn;
}

static inline void db_exec(struct sqlite3 *conn, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(conn, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
}

/* All rows, columns parted by '|', rows by newline; in memory of its own. */
static inline char *db_query(struct sqlite3 *conn, const char *sql)
{
    struct sqlite3_stmt *st;
    char *all = sqlite3_mprintf("");
    int rc, i;
    if (sqlite3_prepare_v2(conn, sql, -1, &st, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(conn));
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        for (i = 0; i < sqlite3_column_count(st); i++) {
            const char *v = (const char *)sqlite3_column_text(st, i);
            all = sqlite3_mprintf("%z%s%s", all, v != NULL ? v : "NULL",
                                  i + 1 < sqlite3_column_count(st) ? "|" : "\n");
        }
    if (rc != SQLITE_DONE)
        fail_msg("%s: %s", sql, sqlite3_errmsg(conn));
    sqlite3_finalize(st);
    return all;
}

static inline void db_expect(const char *sql, const char *rows)
{
    struct sqlite3 *conn = db_person();
    char *got = db_query(conn, sql);
    assert_string_equal(got, rows);
    sqlite3_free(got);
    sqlite3_close(conn);
}

/* A number by the person's connection. */
static inline long long db_number(const char *sql)
{
    struct sqlite3 *conn = db_person();
    char *got = db_query(conn, sql);
    long long v = atoll(got);
    sqlite3_free(got);
    sqlite3_close(conn);
    return v;
}

#endif
