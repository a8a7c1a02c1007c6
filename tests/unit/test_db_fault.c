/* Whatever SQLite cannot do: each of its calls fails in turn, and disks fill up. Every time it must
 * be told, nothing may leak or be lost that was committed, and storing works again afterwards. */
#include "db_rig.h"

#include <sys/mount.h>

/* --- every call in turn --- */

struct fault {
    _Atomic unsigned asked; /* the checkpoint thread asks, too */
    _Atomic bool on;
    unsigned fail_at;       /* from 1 */
    bool and_later;
    bool has_committed, has_evicted, has_forgotten;
};

static int fault_ask(void *ctx, const char *call)
{
    struct fault *f = ctx;
    unsigned n;
    (void)call;
    if (!f->on)
        return 1;
    n = ++f->asked;
    return f->and_later ? n < f->fail_at : n != f->fail_at;
}

/* A failure has a sentence. */
static bool went_well(int rc)
{
    if (rc != 0 && rc != -EAGAIN)
        assert_true(strlen(sbx_db_error(r.db)) > 10);
    return rc == 0;
}

static bool end(bool well)
{
    if (well && went_well(sbx_db_commit(r.db)))
        return true;
    sbx_db_rollback(r.db);
    return false;
}

static bool begin(void)
{
    int rc, tries = 0;
    while ((rc = sbx_db_begin(r.db)) == -EAGAIN && tries++ < 2000)
        db_rig_turn();
    return went_well(rc);
}

static bool store(void)
{
    struct sbx_db_process p = db_process(1), q = db_process(2);
    return begin() &&
           end(went_well(sbx_db_put_process(r.db, &p)) &&
               went_well(sbx_db_put_process(r.db, &q)) &&
               went_well(db_try_chunk(1, 1, 0, 10, 100)) &&
               went_well(db_try_chunk(1, 11, 1000, 10, 100)) &&
               went_well(db_try_chunk(2, 1, 0, 1, 100000)) &&
               went_well(sbx_db_put_gap(r.db, 1, 21, 22, 3, 4)) &&
               went_well(sbx_db_put_config(r.db, "a", 1)) &&
               went_well(sbx_db_put_counter(r.db, "process", 3)));
}

static bool evict(void)
{
    struct sbx_db_bounds b;
    return begin() && end(went_well(sbx_db_evict(r.db, 1, 11, 0, &b)));
}

static bool forget(void)
{
    return begin() && end(went_well(sbx_db_forget(r.db, 2)) &&
                          went_well(db_try_chunk(4, 1, 0, 1, 100000)) &&
                          went_well(sbx_db_purge(r.db)));
}

static int skip_process(void *ctx, const struct sbx_db_process *p)
{
    (void)ctx;
    (void)p;
    return 0;
}

static void skip_config(void *ctx, const char *name, uint64_t v)
{
    (void)ctx;
    (void)name;
    (void)v;
}

static void look_at_everything(void)
{
    struct sbx_db_page *p = NULL;
    struct sbx_db_bounds b;
    uint64_t v;
    int rc = sbx_db_read(r.db, 1, 15, &p);
    assert_true((rc == 0) == (p != NULL));
    if (rc != -ENOENT)
        (void)went_well(rc);
    sbx_db_page_free(p);
    (void)went_well(sbx_db_bounds(r.db, 1, &b));
    (void)went_well(sbx_db_load(r.db, skip_process, NULL));
    (void)went_well(sbx_db_load_config(r.db, skip_config, NULL));
    (void)went_well(sbx_db_load_counter(r.db, "process", &v));
}

static void scenario(struct fault *f)
{
    int i;
    if (!db_rig_try_open()) {
        assert_int_equal(r.err.code, -EIO);
        assert_non_null(strstr(r.err.text, r.file));
        return;
    }
    for (i = 0; i < 20; i++) /* the first job and what follows it */
        db_rig_turn();
    f->has_committed = store();
    look_at_everything();
    f->has_evicted = evict();
    f->has_forgotten = forget();
    for (i = 0; i < 5; i++)
        (void)sbx_db_tidy(r.db);
    look_at_everything();
}

static void expect_stored(const struct fault *f)
{
    uint64_t v;
    if (!f->has_committed)
        return;
    assert_int_equal(db_read_first(1, 15), 11);
    if (!f->has_evicted)
        assert_int_equal(db_read_first(1, 1), 1);
    db_ok(sbx_db_load_counter(r.db, "process", &v));
    assert_int_equal(v, 3);
    assert_int_equal(db_number("SELECT count(*) FROM processes WHERE id < 'proc_3'"),
                     f->has_forgotten ? 1 : 2);
    assert_int_equal(db_number("SELECT count(*) FROM gaps"), 1);
}

/* It goes on in the same life where it was opened, and in the next. */
static void recover(const struct fault *f)
{
    if (r.db == NULL)
        db_rig_open();
    expect_stored(f);
    DB_UNTIL(sbx_db_begin(r.db) == 0);
    db_put_process(7);
    db_put_chunk(7, 1, 0, 5, 5);
    db_ok(sbx_db_commit(r.db));
    db_rig_reopen();
    expect_stored(f);
    assert_int_equal(db_read_first(7, 3), 1);
    db_expect("PRAGMA integrity_check", "ok\n");
    /* The disk's failure is no reason to take the file for a damaged one. */
    assert_int_not_equal(access(r.file, F_OK), -1);
    {
        char command[128];
        (void)snprintf(command, sizeof command, "! ls %s | grep -q damaged", r.dir);
        assert_int_equal(system(command), 0);
    }
}

/* In memory, where there is such a place: it is about failures, and not about the disk. */
static void init(void)
{
    char dir[] = "/dev/shm/sbx-db-XXXXXX";
    if (mkdtemp(dir) != NULL)
        db_rig_use(dir);
    else
        db_rig_init();
}

/* The gate stays while there is a database, for its thread asks it at any time. */
static void attempt(struct fault *f, bool existing)
{
    init();
    sbx_db_set_gate(fault_ask, f);
    if (existing) {
        db_rig_open();
        db_rig_close();
    }
    f->on = true;
    scenario(f);
    if (r.db != NULL && f->fail_at % 3 == 0)
        db_rig_close(); /* under the failure */
    f->on = false;
    recover(f);
    db_rig_deinit();
    sbx_db_set_gate(NULL, NULL);
}

/* `existing`: the file is there; else it is made under the failures. How many calls there are. */
static unsigned each_call(bool existing, bool and_later)
{
    struct fault f;
    unsigned fail_at = 0;
    do {
        memset(&f, 0, sizeof f);
        f.fail_at = ++fail_at;
        f.and_later = and_later;
        attempt(&f, existing);
    } while (f.asked >= f.fail_at);
    return f.asked;
}

static void test_each_call_fails_once(void **state)
{
    (void)state;
    assert_true(each_call(false, false) > 150);
}

static void test_each_call_fails_from_there_on(void **state)
{
    (void)state;
    assert_true(each_call(true, true) > 100);
}

static void migrate_under(struct fault *f)
{
    char command[200];
    init();
    (void)snprintf(command, sizeof command, "cp tests/unit/data/store-v1.db %s", r.file);
    assert_int_equal(system(command), 0);
    sbx_db_set_gate(fault_ask, f);
    f->on = true;
    if (!db_rig_try_open())
        assert_in_range(db_number("PRAGMA user_version"), 1, 3);
    f->on = false;
    if (r.db != NULL)
        db_rig_close();
    db_rig_open();
    assert_int_equal(db_number("PRAGMA user_version"), 3);
    assert_int_equal(db_number("SELECT count(*) FROM processes"), 3);
    assert_int_equal(db_number("SELECT count(*) FROM logs"), 7);
    assert_int_equal(db_number("SELECT count(*) FROM gaps"), 0);
    db_rig_deinit();
    sbx_db_set_gate(NULL, NULL);
}

static void test_migration_fails_at_each_call(void **state)
{
    struct fault f;
    unsigned fail_at = 0;
    (void)state;
    do {
        memset(&f, 0, sizeof f);
        f.fail_at = ++fail_at;
        f.and_later = fail_at % 2 == 0;
        migrate_under(&f);
    } while (f.asked >= f.fail_at);
    assert_true(fail_at > 50);
}

/* --- full disks --- */

/* Chunks of process 1, until one does not fit; how many there are. */
static uint64_t fill_up(uint64_t from, int expect)
{
    uint64_t i;
    for (i = from;; i++) {
        int rc;
        DB_UNTIL((rc = sbx_db_begin(r.db)) != -EAGAIN);
        if (rc == 0)
            rc = db_try_chunk(1, i, (i - 1) * 50000, 1, 50000);
        if (rc == 0)
            rc = sbx_db_commit(r.db);
        if (rc != 0) {
            if (rc != expect)
                fail_msg("%d: %s", rc, sbx_db_error(r.db));
            sbx_db_rollback(r.db);
            return i - 1;
        }
        db_rig_turn();
    }
}

static void expect_all(uint64_t from, uint64_t to)
{
    for (; from <= to; from++)
        assert_int_equal(db_read_first(1, from), from);
    assert_int_equal(db_read_first(1, to + 1), 0);
}

/* What works on a full disk, and what does when there is room again. */
static void full_then_free(void (*make_room)(void))
{
    uint64_t n = fill_up(1, -ENOSPC), i;
    assert_true(n > 3);
    assert_true(strncmp(sbx_db_error(r.db), "cannot ", 7) == 0);
    expect_all(1, n);
    for (i = 0; i < 10; i++) {
        n = fill_up(n + 1, -ENOSPC); /* emptying the log may have made room */
        db_rig_turn();
    }
    expect_all(1, n);
    db_rig_reopen(); /* on the full disk */
    expect_all(1, n);
    n = fill_up(n + 1, -ENOSPC);
    make_room();
    DB_UNTIL(sbx_db_begin(r.db) == 0);
    for (i = n + 1; i < n + 20; i++)
        db_put_chunk(1, i, (i - 1) * 50000, 1, 50000);
    db_ok(sbx_db_commit(r.db));
    db_rig_reopen();
    expect_all(1, n + 19);
    db_expect("PRAGMA integrity_check", "ok\n");
}

static void lift_limit(void)
{
    struct rlimit l;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = l.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void test_files_that_may_not_grow(void **state)
{
    struct rlimit before, l;
    (void)state;
    db_rig_start();
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    l = before;
    l.rlim_cur = 3000000;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
    full_then_free(lift_limit);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_DFL);
    db_rig_deinit();
}

static char filler[96];

static void remove_filler(void)
{
    assert_int_equal(unlink(filler), 0);
}

static void write_filler(size_t n)
{
    static char zeros[65536];
    int fd = open(filler, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    for (; n > 0; n -= sizeof zeros)
        assert_int_equal(write(fd, zeros, sizeof zeros), sizeof zeros);
    close(fd);
}

static void test_a_file_system_that_fills_up(void **state)
{
    char mounted[64];
    (void)state;
    db_rig_init();
    (void)snprintf(mounted, sizeof mounted, "%s", r.dir);
    if (mount("none", mounted, "tmpfs", 0, "size=8m") != 0) {
        db_rig_deinit();
        skip();
    }
    (void)snprintf(filler, sizeof filler, "%s/filler", r.dir);
    write_filler(4 << 20);
    db_rig_open();
    full_then_free(remove_filler);
    db_rig_close();
    sbx_loop_deinit(&r.loop);
    assert_int_equal(umount(mounted), 0);
    assert_int_equal(rmdir(mounted), 0);
}

static void test_a_full_file_system_from_the_start(void **state)
{
    char mounted[64];
    (void)state;
    db_rig_init();
    (void)snprintf(mounted, sizeof mounted, "%s", r.dir);
    if (mount("none", mounted, "tmpfs", 0, "size=1m") != 0) {
        db_rig_deinit();
        skip();
    }
    (void)snprintf(filler, sizeof filler, "%s/filler", r.dir);
    write_filler(1 << 20);
    assert_false(db_rig_try_open());
    assert_int_equal(r.err.code, -ENOSPC);
    assert_non_null(strstr(r.err.text, r.file));
    remove_filler();
    db_rig_open();
    db_fill(1, 1, 3, 10);
    db_rig_close();
    sbx_loop_deinit(&r.loop);
    assert_int_equal(umount(mounted), 0);
    assert_int_equal(rmdir(mounted), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_call_fails_once),
        cmocka_unit_test(test_each_call_fails_from_there_on),
        cmocka_unit_test(test_migration_fails_at_each_call),
        cmocka_unit_test(test_files_that_may_not_grow),
        cmocka_unit_test(test_a_file_system_that_fills_up),
        cmocka_unit_test(test_a_full_file_system_from_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
