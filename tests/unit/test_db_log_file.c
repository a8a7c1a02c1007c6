/* The log as its writer sees it: few writes, all of them there when a commit is seen, none of them
 * half done without a word. The calls by which SQLite writes and syncs are watched here. */
#include "proc/db_log_file.h"

#include "proc/db_sql.h"

#include "gate.h"

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    bool on;
    unsigned writes, syncs;
    unsigned fail_at; /* the n-th write finds the disk full; 0: none */
} watch;

static struct {
    char dir[64], path[96];
    struct sbx_db_log_vfs *vfs;
    struct sqlite3 *conn, *other; /* the writer; one that sees the file as everybody does */
} f;

int fdatasync(int fd)
{
    watch.syncs += watch.on;
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    watch.syncs += watch.on;
    return (int)syscall(SYS_fsync, fd);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    if (watch.on && ++watch.writes == watch.fail_at) {
        errno = ENOSPC;
        return -1;
    }
    return (ssize_t)syscall(SYS_pwrite64, fd, p, n, at);
}

static void watch_from_here(unsigned fail_at)
{
    watch.writes = watch.syncs = 0;
    watch.fail_at = fail_at;
    watch.on = true;
}

static void run(struct sqlite3 *conn, const char *sql)
{
    if (sbx_sql_exec(conn, sql) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(conn));
}

static uint64_t number(struct sqlite3 *conn, const char *sql)
{
    uint64_t v = 0;
    if (sbx_sql_get_u64(conn, sql, &v) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(conn));
    return v;
}

static void expect_whole(void)
{
    struct sqlite3_stmt *st;
    assert_int_equal(sbx_sql_prepare(f.other, "PRAGMA integrity_check", &st), SQLITE_OK);
    assert_int_equal(sbx_sql_step(st), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
    sbx_sql_finalize(&st);
}

static int setup(void **state)
{
    FILE *file;
    (void)state;
    memset(&f, 0, sizeof f);
    memset(&watch, 0, sizeof watch);
    (void)snprintf(f.dir, sizeof f.dir, "/tmp/sbx-log-file-XXXXXX");
    assert_non_null(mkdtemp(f.dir));
    (void)snprintf(f.path, sizeof f.path, "%s/x.db", f.dir);
    file = fopen(f.path, "w");
    assert_non_null(file);
    (void)fclose(file);
    f.vfs = sbx_db_log_vfs_open();
    assert_non_null(f.vfs);
    assert_int_equal(sbx_sql_open(f.path, sbx_db_log_vfs_name(f.vfs), &f.conn), SQLITE_OK);
    assert_int_equal(sbx_sql_open(f.path, NULL, &f.other), SQLITE_OK);
    run(f.conn, "PRAGMA page_size=8192; PRAGMA synchronous=OFF; PRAGMA journal_mode=WAL;"
                "PRAGMA synchronous=FULL; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)");
    return 0;
}

static int teardown(void **state)
{
    char command[80];
    (void)state;
    watch.on = false;
    sbx_sql_close(f.other);
    sbx_sql_close(f.conn);
    sbx_db_log_vfs_close(f.vfs);
    (void)snprintf(command, sizeof command, "rm -rf %s", f.dir);
    return system(command);
}

/* Rows of 4 KiB, two to a page. */
static void add_rows(unsigned n)
{
    char sql[160];
    (void)snprintf(sql, sizeof sql,
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %u) "
                   "INSERT INTO t(b) SELECT zeroblob(4000) FROM n", n);
    run(f.conn, sql);
}

static void test_few_writes_and_no_sync(void **state)
{
    (void)state;
    watch_from_here(0);
    add_rows(256); /* a MiB and a bit: more than 130 frames, of two writes each */
    assert_int_equal(watch.syncs, 0);
    assert_in_range(watch.writes, 16, 24);
}

/* A commit is in the file when another program can know of it. */
static void test_others_see_each_commit(void **state)
{
    unsigned i;
    (void)state;
    for (i = 1; i <= 50; i++) {
        add_rows(i % 7 + 1);
        assert_int_equal(number(f.other, "SELECT count(*) FROM t"),
                         number(f.conn, "SELECT count(*) FROM t"));
        assert_int_equal(number(f.other, "SELECT sum(length(b)) / count(*) FROM t"), 4000);
    }
    expect_whole();
}

/* A transaction larger than the cache writes frames before its end, reads them back, and writes
 * some of them again. */
static void test_larger_than_the_cache(void **state)
{
    (void)state;
    run(f.conn, "PRAGMA cache_size=8; BEGIN");
    add_rows(300);
    run(f.conn, "UPDATE t SET b = zeroblob(4001) WHERE a % 3 = 0");
    assert_int_equal(number(f.other, "SELECT count(*) FROM t"), 0);
    run(f.conn, "COMMIT");
    assert_int_equal(number(f.other, "SELECT count(*) FROM t WHERE length(b) = 4001"), 100);
    expect_whole();
    run(f.conn, "BEGIN");
    add_rows(300);
    run(f.conn, "ROLLBACK");
    add_rows(1);
    assert_int_equal(number(f.other, "SELECT count(*) FROM t"), 301);
    expect_whole();
}

/* Whichever of its writes fails: the commit does, nobody sees anything of it, and the next one is
 * whole. */
static void test_full_disk(void **state)
{
    unsigned at, failed = 0;
    (void)state;
    add_rows(1);
    for (at = 1;; at++) {
        const char *sql = "INSERT INTO t(b) VALUES(zeroblob(300000))";
        watch_from_here(at);
        if (sbx_sql_exec(f.conn, sql) == SQLITE_OK)
            break;
        failed++;
        assert_int_equal(watch.writes, at);
        watch.on = false;
        sbx_sql_rollback(f.conn);
        assert_int_equal(number(f.other, "SELECT count(*) FROM t"), at);
        add_rows(1);
        assert_int_equal(number(f.other, "SELECT count(*) FROM t"), at + 1);
        expect_whole();
    }
    assert_true(failed >= 5);
    assert_true(watch.writes < at);
}

static void test_a_full_disk_is_told_as_such(void **state)
{
    (void)state;
    watch_from_here(1);
    assert_int_equal(sbx_sql_exec(f.conn, "INSERT INTO t(b) VALUES(1)"), SQLITE_FULL);
}

/* Databases come and go independently of each other. */
static void test_two_at_once(void **state)
{
    struct sbx_db_log_vfs *second = sbx_db_log_vfs_open();
    (void)state;
    assert_non_null(second);
    assert_string_not_equal(sbx_db_log_vfs_name(second), sbx_db_log_vfs_name(f.vfs));
    sbx_db_log_vfs_close(second);
    add_rows(1);
    assert_int_equal(number(f.other, "SELECT count(*) FROM t"), 1);
    sbx_db_log_vfs_close(NULL);
}

static void open_scarcely(void *ctx, const struct gate *g)
{
    struct sbx_db_log_vfs *vfs = sbx_db_log_vfs_open();
    struct sqlite3 *conn;
    (void)ctx;
    assert_true(vfs != NULL || gate_hit(g));
    if (vfs == NULL)
        return;
    assert_int_equal(sbx_sql_open(f.path, sbx_db_log_vfs_name(vfs), &conn), SQLITE_OK);
    assert_true(sbx_sql_exec(conn, "SELECT count(*) FROM t") == SQLITE_OK || gate_hit(g));
    sbx_sql_close(conn);
    sbx_db_log_vfs_close(vfs);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_int_equal(gate_each(open_scarcely, NULL), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_few_writes_and_no_sync),
        TEST(test_others_see_each_commit),
        TEST(test_larger_than_the_cache),
        TEST(test_full_disk),
        TEST(test_a_full_disk_is_told_as_such),
        TEST(test_two_at_once),
        TEST(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
