/* The write-ahead log: what bounds it, what never happens to it, who waits for the disk, and what a
 * kill at any moment leaves.
 *
 * The calls by which SQLite syncs, writes and sleeps are watched here: the loop's thread must not
 * sync, must not sleep, and must not write the beginning of a log that has contents. What that
 * thread does not call cannot hold it up, so no clock is asked. */
#include "db_rig.h"

#include "proc/db_wal.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/syscall.h>

#define MIB (1l << 20)
#define CHUNK 65536u
#define WAL_OF_TRANSACTION (2 * MIB) /* more than any here writes */

static struct {
    pthread_t loop; /* once, at the start */
    _Atomic bool on;
    _Atomic unsigned loop_syncs, loop_rewrites, loop_sleeps;
    _Atomic unsigned syncs; /* elsewhere */
    _Atomic bool slow;      /* those wait */
    bool no_threads;
} watch;

static bool by_loop(void)
{
    return watch.on && pthread_equal(pthread_self(), watch.loop);
}

static void on_sync(void)
{
    if (by_loop()) {
        watch.loop_syncs++;
        return;
    }
    watch.syncs++;
    while (watch.slow)
        (void)usleep(1000);
}

int fsync(int fd)
{
    on_sync();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    on_sync();
    return (int)syscall(SYS_fdatasync, fd);
}

static int on_sleep(time_t s, long ns)
{
    struct timespec t = {.tv_sec = s, .tv_nsec = ns};
    if (by_loop())
        watch.loop_sleeps++;
    return (int)syscall(SYS_nanosleep, &t, NULL);
}

int usleep(useconds_t us)
{
    return on_sleep((time_t)(us / 1000000), (long)(us % 1000000) * 1000);
}

int nanosleep(const struct timespec *t, struct timespec *left)
{
    (void)left;
    return on_sleep(t->tv_sec, t->tv_nsec);
}

static void on_write(int fd, off_t at)
{
    char link[64], name[256] = "";
    struct stat st;
    size_t n;
    if (!by_loop() || at != 0)
        return;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, name, sizeof name - 1) <= 0)
        return;
    n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, "-wal") == 0 && fstat(fd, &st) == 0 && st.st_size > 0)
        watch.loop_rewrites++;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    on_write(fd, at);
    return (ssize_t)syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t at)
{
    on_write(fd, at);
    return (ssize_t)syscall(SYS_pwrite64, fd, p, n, at);
}

/* --- load --- */

static struct {
    uint64_t next;  /* sequence */
    long log_max;   /* of the log's size */
} load;

static void start_watching(void)
{
    watch.on = watch.slow = watch.no_threads = false;
    watch.loop_syncs = watch.loop_rewrites = watch.loop_sleeps = watch.syncs = 0;
    memset(&load, 0, sizeof load);
    load.next = 1;
}

static void start(void)
{
    start_watching();
    db_rig_start();
    watch.on = true; /* opening may sync */
}

static void finish(void)
{
    watch.on = false;
    db_rig_deinit();
}

/* One turn of the loop with one transaction that keeps the file at 10 MiB. What begin said. */
static int write_once(unsigned chunks)
{
    struct sbx_db_bounds b;
    uint64_t offset;
    unsigned i;
    long size;
    int rc = sbx_db_begin(r.db);
    for (i = 0; rc == 0 && i < chunks; i++, load.next++)
        db_put_chunk(1, load.next, (load.next - 1) * CHUNK, 1, CHUNK);
    offset = (load.next - 1) * CHUNK;
    if (rc == 0) {
        db_ok(sbx_db_evict(r.db, 1, 0, offset > 10 * MIB ? offset - 10 * MIB : 0, &b));
        db_ok(sbx_db_commit(r.db));
    }
    size = db_file_size(r.log);
    if (size > load.log_max)
        load.log_max = size;
    db_rig_turn();
    return rc;
}

static void write_mib(long mib)
{
    uint64_t end = load.next + (uint64_t)(mib * MIB / CHUNK);
    while (load.next < end) {
        int rc = write_once(4);
        if (rc != -EAGAIN)
            db_ok(rc);
    }
}

/* Until begin says something else than 0 and -EAGAIN. */
static int write_until_refused(void)
{
    int rc;
    DB_UNTIL((rc = write_once(8)) != 0 && rc != -EAGAIN);
    return rc;
}

static void expect_whole(void)
{
    struct sbx_db_bounds b;
    db_ok(sbx_db_bounds(r.db, 1, &b));
    assert_int_equal(b.last, load.next - 1);
    assert_int_equal(db_read_first(1, b.first), b.first);
    assert_int_equal(db_read_first(1, b.last), b.last);
    db_expect("PRAGMA integrity_check", "ok\n");
}

/* --- without readers --- */

static void test_the_log_is_bounded_under_steady_load(void **state)
{
    (void)state;
    start();
    write_mib(150);
    assert_true(load.log_max > (long)SBX_WAL_STEP);
    assert_true(load.log_max < (long)SBX_WAL_PAUSE_AT + WAL_OF_TRANSACTION);
    assert_true(watch.syncs > 0);
    expect_whole();
    assert_int_equal(watch.loop_syncs, 0);
    assert_int_equal(watch.loop_rewrites, 0);
    finish();
}

static void test_the_log_is_emptied_in_a_quiet_moment(void **state)
{
    (void)state;
    start();
    while (db_file_size(r.log) < (long)SBX_WAL_STEP + 32) {
        int rc = write_once(1);
        if (rc != -EAGAIN)
            db_ok(rc);
    }
    DB_UNTIL(!sbx_db_settle(r.db));
    assert_int_equal(db_file_size(r.log), 0);
    expect_whole();
    write_mib(1);
    expect_whole();
    assert_int_equal(watch.loop_syncs, 0);
    assert_int_equal(watch.loop_rewrites, 0);
    finish();
}

static void put_number(uint64_t value)
{
    db_begin();
    db_ok(sbx_db_put_counter(r.db, "number", value));
    db_ok(sbx_db_commit(r.db));
}

/* Of a transaction that was longer than SQLite's cache, some is in the log already, or about to be
 * written to it, when it is rolled back. (Nothing is read from the log then, which would write it,
 * where no page of what is rolled back is in there.) */
static void test_a_rollback_leaves_nothing_for_later(void **state)
{
    unsigned i;
    (void)state;
    start();
    write_mib(1);
    put_number(1);
    DB_UNTIL(!sbx_db_settle(r.db));
    put_number(2);
    db_begin();
    for (i = 0; i < 300; i++)
        db_put_chunk(2, i + 1, i * 20000, 1, 20000);
    sbx_db_rollback(r.db);
    assert_true(db_file_size(r.log) > MIB);
    DB_UNTIL(!sbx_db_settle(r.db));
    assert_int_equal(db_file_size(r.log), 0);
    put_number(3);
    assert_true(db_file_size(r.log) > 0);
    assert_true(db_file_size(r.log) < MIB);
    expect_whole();
    finish();
}

static void test_a_new_file_reaches_the_disk_by_itself(void **state)
{
    (void)state;
    start();
    DB_UNTIL(db_file_size(r.log) == 0);
    assert_true(db_file_size(r.file) >= 8 * 8192);
    assert_true(watch.syncs > 0);
    assert_int_equal(watch.loop_syncs, 0);
    finish();
}

/* --- with readers --- */

static struct sqlite3 *reader(void)
{
    struct sqlite3 *conn = db_person();
    db_exec(conn, "BEGIN; SELECT count(*) FROM sqlite_schema");
    return conn;
}

static void test_a_reader_that_stays_is_the_limit(void **state)
{
    struct sqlite3 *conn;
    uint64_t refused_us;
    char *count;
    (void)state;
    start();
    write_mib(1);
    conn = reader();
    count = db_query(conn, "SELECT count(*) FROM chunks");
    assert_int_equal(write_until_refused(), -EBUSY);
    assert_string_equal(sbx_db_error(r.db), "another program holds a read transaction open; "
                                            "the write-ahead log is at its limit of 64 MiB");
    assert_true(load.log_max > 60 * MIB);
    refused_us = sbx_clock_mono_us();
    while (sbx_clock_mono_us() - refused_us < 700000)
        assert_int_equal(write_once(8), -EBUSY);
    assert_true(load.log_max < 64 * MIB + WAL_OF_TRANSACTION);
    assert_int_equal(watch.loop_syncs, 0);
    assert_int_equal(watch.loop_sleeps, 0);
    /* Its view is unchanged; ours is whole, too. */
    {
        char *again = db_query(conn, "SELECT count(*) FROM chunks");
        assert_string_equal(count, again);
        sqlite3_free(again);
        sqlite3_free(count);
    }
    expect_whole();
    sqlite3_close(conn);
    r.ready = 0;
    DB_UNTIL(write_once(8) == 0);
    assert_true(r.ready > 0);
    write_mib(30);
    DB_UNTIL(db_file_size(r.log) < (long)SBX_WAL_PAUSE_AT + MIB);
    expect_whole();
    assert_int_equal(watch.loop_syncs, 0);
    assert_int_equal(watch.loop_rewrites, 0);
    finish();
}

/* Every start makes sure that what is appended to a log of before is safe, by a page of its own;
 * but not where nothing can be appended. */
static void test_restarts_do_not_grow_a_log_at_its_limit(void **state)
{
    struct sqlite3 *conn;
    long size;
    int i;
    (void)state;
    start();
    write_mib(1);
    conn = reader();
    assert_int_equal(write_until_refused(), -EBUSY);
    size = db_file_size(r.log);
    assert_true(size >= (long)SBX_WAL_MAX);
    for (i = 0; i < 5; i++) {
        db_rig_reopen();
        DB_UNTIL(sbx_db_begin(r.db) == -EBUSY);
    }
    assert_int_equal(db_file_size(r.log), size);
    sqlite3_close(conn);
    DB_UNTIL(write_once(8) == 0);
    assert_true(db_file_size(r.log) < (long)SBX_WAL_PAUSE_AT);
    expect_whole();
    /* Nor is it longer where it can be emptied at the start. */
    write_mib(1);
    conn = reader();
    assert_int_equal(write_until_refused(), -EBUSY);
    db_rig_close();
    sqlite3_close(conn);
    db_rig_open();
    assert_int_equal(write_once(1), 0);
    assert_true(db_file_size(r.log) < (long)SBX_WAL_PAUSE_AT);
    expect_whole();
    assert_int_equal(watch.loop_rewrites, 0);
    finish();
}

/* A reader whose mark is at the end of a log that is then copied completely: truncating fails, and
 * right after that the mark may go. The next write must not begin the log anew. */
static void test_a_reader_in_the_way_of_truncating(void **state)
{
    struct sqlite3 *conn;
    unsigned syncs;
    long size;
    (void)state;
    start();
    DB_UNTIL(!sbx_db_settle(r.db));
    syncs = watch.syncs;
    watch.slow = true; /* the job waits before it copies anything */
    while (db_file_size(r.log) < (long)SBX_WAL_STEP + 32) /* the commit that gets there starts it */
        assert_int_equal(write_once(1), 0);
    DB_UNTIL(watch.syncs > syncs);
    conn = reader();
    size = db_file_size(r.log);
    watch.slow = false;
    DB_UNTIL(db_file_size(r.log) > size); /* by the worker, and not by us */
    size = db_file_size(r.log);
    sqlite3_close(conn);
    DB_UNTIL(write_once(1) == 0);
    assert_true(db_file_size(r.log) > size);
    expect_whole();
    write_mib(20);
    expect_whole();
    assert_int_equal(watch.loop_syncs, 0);
    assert_int_equal(watch.loop_rewrites, 0);
    finish();
}

/* Readers come and go at every moment while there is load. */
static void test_many_short_readers(void **state)
{
    struct sqlite3 *conn[3] = {NULL, NULL, NULL};
    unsigned i;
    (void)state;
    start();
    for (i = 0; i < 600; i++) {
        unsigned k = (i * 7 + i / 5) % 3;
        int rc = write_once(4);
        if (rc != -EAGAIN && rc != -EBUSY) /* there may always be one of them */
            db_ok(rc);
        if (conn[k] == NULL) {
            conn[k] = reader();
        } else {
            sqlite3_close(conn[k]);
            conn[k] = NULL;
        }
    }
    for (i = 0; i < 3; i++)
        sqlite3_close(conn[i]);
    DB_UNTIL(write_once(1) == 0);
    write_mib(20);
    assert_true(load.log_max < 64 * MIB + WAL_OF_TRANSACTION);
    expect_whole();
    assert_int_equal(watch.loop_syncs, 0);
    assert_int_equal(watch.loop_rewrites, 0);
    finish();
}

/* Somebody types PRAGMA wal_checkpoint. */
static void test_a_checkpoint_by_another_program(void **state)
{
    struct sqlite3 *conn;
    int i;
    (void)state;
    start();
    conn = db_person();
    for (i = 0; i < 100; i++) {
        int rc = write_once(2);
        if (rc != -EAGAIN)
            db_ok(rc);
        watch.on = false;
        sqlite3_free(db_query(conn, i % 2 == 0 ? "PRAGMA wal_checkpoint(TRUNCATE)"
                                               : "PRAGMA wal_checkpoint(PASSIVE)"));
        watch.on = true;
    }
    sqlite3_close(conn);
    expect_whole();
    assert_int_equal(watch.loop_syncs, 0);
    assert_int_equal(watch.loop_rewrites, 0);
    finish();
}

static void test_another_writer_is_busy_for_a_moment(void **state)
{
    struct sqlite3 *conn;
    (void)state;
    start();
    write_mib(1);
    conn = db_person();
    db_exec(conn, "BEGIN IMMEDIATE");
    assert_int_equal(sbx_db_begin(r.db), -EBUSY);
    assert_string_equal(sbx_db_error(r.db), "another program is writing to the file");
    assert_false(sbx_db_tidy(r.db));
    sqlite3_close(conn);
    write_mib(1);
    finish();
}

/* --- a disk that takes its time --- */

static void test_a_slow_disk_holds_nobody_up_for_long(void **state)
{
    uint64_t paused_us, longest = 0;
    int rc;
    (void)state;
    start();
    DB_UNTIL(!sbx_db_settle(r.db));
    watch.slow = true;
    do {
        while ((rc = write_once(8)) == 0)
            continue;
        paused_us = sbx_clock_mono_us();
        r.ready = 0;
        if (rc == -EAGAIN)
            DB_UNTIL(r.ready > 0);
        if (sbx_clock_mono_us() - paused_us > longest)
            longest = sbx_clock_mono_us() - paused_us;
    } while (rc == -EAGAIN);
    assert_int_equal(rc, -EBUSY);
    assert_non_null(strstr(sbx_db_error(r.db), "too slow to sync"));
    assert_true(longest > 900000); /* that it ends has been waited for */
    assert_true(load.log_max > 60 * MIB && load.log_max < 64 * MIB + WAL_OF_TRANSACTION);
    assert_int_equal(watch.loop_syncs, 0);
    assert_int_equal(watch.loop_sleeps, 0);
    r.ready = 0;
    watch.slow = false;
    DB_UNTIL(r.ready > 0);
    DB_UNTIL(write_once(8) == 0);
    write_mib(5);
    expect_whole();
    assert_int_equal(watch.loop_syncs, 0);
    assert_int_equal(watch.loop_rewrites, 0);
    finish();
}

int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (watch.no_threads)
        return EAGAIN;
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return real(t, a, f, arg);
}

static void test_without_a_thread(void **state)
{
    (void)state;
    start_watching();
    watch.no_threads = true;
    db_rig_start();
    assert_int_equal(write_until_refused(), -EBUSY);
    assert_non_null(strstr(sbx_db_error(r.db), "cannot start the checkpoint thread"));
    assert_true(load.log_max > 60 * MIB && load.log_max < 64 * MIB + WAL_OF_TRANSACTION);
    watch.no_threads = false;
    DB_UNTIL(write_once(8) == 0);
    write_mib(5);
    expect_whole();
    finish();
}

/* --- killed --- */

static void child_writes(int report)
{
    db_rig_open();
    for (;;) {
        int rc = write_once(1 + (unsigned)(load.next % 9));
        uint64_t last = load.next - 1;
        if (rc == 0 && write(report, &last, sizeof last) != (ssize_t)sizeof last)
            _exit(3);
        if (load.next % 50 == 0)
            (void)sbx_db_tidy(r.db);
    }
}

static void test_killed_at_any_moment(void **state)
{
    uint64_t stored = 0;
    int round;
    (void)state;
    start_watching();
    db_rig_init();
    srand(1);
    for (round = 0; round < 25; round++) {
        uint64_t last = stored, told;
        struct sbx_db_bounds b;
        int report[2], status;
        pid_t pid;
        assert_int_equal(pipe(report), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            child_writes(report[1]);
        close(report[1]);
        (void)usleep((useconds_t)(rand() % 60000));
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        while (read(report[0], &told, sizeof told) == (ssize_t)sizeof told)
            last = told;
        close(report[0]);
        db_rig_open();
        db_ok(sbx_db_bounds(r.db, 1, &b));
        assert_true(b.last >= last); /* a commit that was not reported any more may be there */
        assert_true(b.last == 0 || b.first <= b.last);
        load.next = b.last + 1;
        stored = b.last;
        if (b.last > 0)
            expect_whole();
        assert_true(db_file_size(r.log) < 64 * MIB + WAL_OF_TRANSACTION);
        if (round % 2 == 0)
            write_mib(1);
        stored = load.next - 1;
        db_rig_close();
    }
    assert_true(stored > 100);
    db_rig_deinit();
}

/* The log that a killed server left is not begun anew by the loop either. */
static void test_a_log_that_was_left_is_grown_or_synced(void **state)
{
    struct sqlite3 *conn;
    pid_t pid;
    int status;
    (void)state;
    start_watching();
    db_rig_init();
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        db_rig_open();
        while (load.next < 20)
            (void)write_once(1);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    load.next = 20;
    assert_true(db_file_size(r.log) > MIB);
    /* A person looks, and copies all of the log into the file. */
    conn = db_person();
    sqlite3_free(db_query(conn, "PRAGMA wal_checkpoint(PASSIVE)"));
    db_rig_open();
    watch.on = true;
    assert_int_equal(write_once(1), 0);
    expect_whole();
    sqlite3_close(conn);
    write_mib(1);
    assert_int_equal(watch.loop_syncs, 0);
    assert_int_equal(watch.loop_rewrites, 0);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_at_any_moment),
        cmocka_unit_test(test_a_log_that_was_left_is_grown_or_synced),
        cmocka_unit_test(test_the_log_is_bounded_under_steady_load),
        cmocka_unit_test(test_the_log_is_emptied_in_a_quiet_moment),
        cmocka_unit_test(test_a_rollback_leaves_nothing_for_later),
        cmocka_unit_test(test_a_new_file_reaches_the_disk_by_itself),
        cmocka_unit_test(test_a_reader_that_stays_is_the_limit),
        cmocka_unit_test(test_restarts_do_not_grow_a_log_at_its_limit),
        cmocka_unit_test(test_a_reader_in_the_way_of_truncating),
        cmocka_unit_test(test_many_short_readers),
        cmocka_unit_test(test_a_checkpoint_by_another_program),
        cmocka_unit_test(test_another_writer_is_busy_for_a_moment),
        cmocka_unit_test(test_a_slow_disk_holds_nobody_up_for_long),
        cmocka_unit_test(test_without_a_thread),
    };
    watch.loop = pthread_self();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
