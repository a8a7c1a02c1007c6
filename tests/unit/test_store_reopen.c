/* The store when its file goes and another comes: which one it takes, and that it has everything
 * then. Failures of all calls meanwhile only put that off. */
#include "stored_rig.h"

#define KIB 1024u

static struct {
    struct one *one;
    unsigned times;
    int refuse; /* what may_open says */
} j;

static int join_one(void *ctx, struct sbx_err *err)
{
    (void)ctx;
    j.times++;
    if (sbx_store_log_join(j.one->log) < 0)
        return sbx_err_set(err, EIO, "cannot join: %s", sbx_db_error(sbx_store_db(u.store)));
    sbx_store_record(u.store, &j.one->record);
    return 0;
}

static int may_open(void *ctx, struct sbx_err *err)
{
    (void)ctx;
    return j.refuse == 0 ? 0 : sbx_err_set(err, j.refuse, "it is not ours");
}

/* A store that can lose its file. */
static void init(struct one *o)
{
    stored_init();
    j.one = o;
    j.times = 0;
    j.refuse = 0;
    u.o.go_on = true;
    u.o.on_opened = join_one;
    u.o.may_open = may_open;
}

static void begin(struct one *o)
{
    init(o);
    stored_open();
    assert_int_equal(sbx_store_next_number(u.store), 1);
    one_open(o, 1, 100 * KIB);
    put(o, SBX_STREAM_STDOUT, 5000);
    sbx_store_record(u.store, &o->record);
    sbx_store_log_refresh(o->log);
    assert_int_equal(check_file(1), 5000);
}

static void end(struct one *o)
{
    one_close(o);
    stored_close();
    db_rig_deinit();
}

static void unlink_all(void)
{
    char shm[128];
    (void)snprintf(shm, sizeof shm, "%s-shm", r.file);
    assert_int_equal(unlink(r.file), 0);
    (void)unlink(r.log);
    (void)unlink(shm);
}

/* Of another server, with a record that has the number of ours. */
static void put_other_file(uint64_t identity)
{
    const struct sbx_diag quiet = {SBX_DIAG_ERROR};
    struct sbx_db_identity id = {.next = identity};
    struct sbx_db_process p = db_process(1);
    struct sbx_err err;
    struct sbx_db *db;
    char dir[100], file[140];
    (void)snprintf(dir, sizeof dir, "%s/other", r.dir);
    (void)snprintf(file, sizeof file, "%s/sandbox-agent.db", dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    db = sbx_db_open(&r.loop, &quiet, dir, &id, db_rig_on_ready, NULL, &err);
    assert_non_null(db);
    assert_int_equal(id.known, identity);
    p.pid = 4711;
    assert_int_equal(sbx_db_begin(db), 0);
    assert_int_equal(sbx_db_put_process(db, &p), 0);
    assert_int_equal(sbx_db_commit(db), 0);
    sbx_db_close(db);
    assert_int_equal(rename(file, r.file), 0);
    assert_int_equal(rmdir(dir), 0);
}

static uint64_t file_identity(void)
{
    return (uint64_t)db_number("SELECT value FROM counters WHERE name = 'file'");
}

static void expect_complete(struct one *o)
{
    if (sbx_store_trouble(u.store) != NULL)
        fail_msg("%s", sbx_store_trouble(u.store));
    assert_int_equal(file_has_record(o->number), 1);
    assert_int_equal(check_file(o->number), o->at);
    assert_int_equal(check_seen(o, 0), o->at);
    assert_int_equal(file_identity(), sbx_tail_file(sbx_store_tail(u.store)));
}

static void expect_refused(void)
{
    const char *trouble = sbx_store_trouble(u.store);
    assert_non_null(trouble);
    assert_non_null(strstr(trouble, "not the file"));
    assert_non_null(strstr(trouble, r.file));
    assert_int_equal(file_identity(), 4711);
    assert_int_equal(db_number("SELECT pid FROM process_records WHERE number = 1"), 4711);
    assert_int_equal(db_number("SELECT count(*) FROM counters"), 1);
}

static void test_another_file_is_refused(void **state)
{
    struct one a, *all[] = {&a};
    uint64_t before;
    (void)state;
    begin(&a);
    before = file_identity();
    assert_true(before > 0 && before >> 63 == 0);
    unlink_all();
    put_other_file(4711);
    put(&a, SBX_STREAM_STDOUT, 10);
    sbx_store_save(u.store);
    turn();
    expect_refused();
    assert_int_equal(j.times, 0);
    assert_int_equal(check_seen(&a, 0), 5010);
    /* As the next server sees it. */
    crash(all, 1, true);
    stored_open();
    expect_refused();
    one_open(&a, 1, 100 * KIB);
    unlink_all();
    sbx_store_save(u.store);
    assert_int_equal(j.times, 1);
    expect_complete(&a);
    assert_int_not_equal(file_identity(), before);
    end(&a);
}

static void test_a_first_server_takes_any(void **state)
{
    struct one a;
    (void)state;
    init(&a);
    put_other_file(4711);
    stored_open();
    assert_null(sbx_store_trouble(u.store));
    assert_int_equal(sbx_tail_file(sbx_store_tail(u.store)), 4711);
    assert_int_equal(file_has_record(1), 1);
    stored_close();
    db_rig_deinit();
}

static void test_a_file_without_identity_gets_one(void **state)
{
    struct one a;
    struct sqlite3 *conn;
    (void)state;
    init(&a);
    put_other_file(4711);
    conn = db_person();
    assert_int_equal(sqlite3_exec(conn, "DELETE FROM counters", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(conn);
    stored_open();
    turn();
    assert_true(file_identity() > 0);
    assert_int_equal(file_identity(), sbx_tail_file(sbx_store_tail(u.store)));
    stored_close();
    db_rig_deinit();
}

/* It has begun a file and died before it could note so. */
static void test_a_file_that_was_just_begun_is_known(void **state)
{
    struct one a, *all[] = {&a};
    (void)state;
    begin(&a);
    sbx_tail_set_next_file(sbx_store_tail(u.store), file_identity());
    sbx_tail_set_file(sbx_store_tail(u.store), 4711);
    crash(all, 1, true);
    stored_open();
    assert_null(sbx_store_trouble(u.store));
    assert_int_equal(sbx_tail_file(sbx_store_tail(u.store)), file_identity());
    stored_close();
    db_rig_deinit();
}

/* A server that is told no leaves alone what it finds, and asks again. */
static void test_a_directory_that_is_not_ours(void **state)
{
    struct one a;
    (void)state;
    begin(&a);
    unlink_all();
    j.refuse = -EEXIST;
    sbx_store_save(u.store);
    assert_string_equal(sbx_store_trouble(u.store), "it is not ours");
    assert_int_equal(access(r.file, F_OK), -1);
    j.refuse = 0;
    sbx_store_save(u.store);
    expect_complete(&a);
    end(&a);
}

/* What the file has came from a server whose memory is lost. */
static void test_the_file_has_more_than_memory(void **state)
{
    char away[128];
    struct one a, *all[] = {&a};
    unsigned i;
    (void)state;
    init(&a);
    stored_open();
    one_open(&a, 1, 100 * KIB);
    sbx_store_log_watch(a.log, true);
    for (i = 0; i < 150; i++) {
        put(&a, i % 2 == 0 ? SBX_STREAM_STDOUT : SBX_STREAM_STDERR, 10);
        turn();
    }
    assert_int_equal(file_last(1), 150);
    crash(all, 1, false);
    (void)snprintf(away, sizeof away, "%s/away", r.dir);
    assert_int_equal(rename(r.file, away), 0);
    assert_int_equal(mkdir(r.file, 0700), 0);
    stored_open();
    assert_non_null(sbx_store_trouble(u.store));
    one_open(&a, 1, 100 * KIB);
    put(&a, SBX_STREAM_STDOUT, 1);
    turn();
    assert_int_equal(rmdir(r.file), 0);
    assert_int_equal(rename(away, r.file), 0);
    sbx_store_save(u.store);
    assert_null(sbx_store_trouble(u.store));
    put(&a, SBX_STREAM_STDOUT, 7);
    sbx_store_log_end(a.log);
    turn();
    assert_int_equal(db_number("SELECT length(data) FROM chunks WHERE key = (1 << 36) + 2"), 7);
    end(&a);
}

/* --- every call in turn --- */

struct fault {
    unsigned long asked, fail_at; /* counts from 1 */
    bool and_later;
};

static int fault_ask(void *ctx, const char *call)
{
    struct fault *f = ctx;
    unsigned long n = __atomic_add_fetch(&f->asked, 1, __ATOMIC_SEQ_CST);
    (void)call;
    return f->and_later ? n < f->fail_at : n != f->fail_at;
}

/* Returns the most calls that a reopen made. What fails is tried again, and then all is there. */
static unsigned long each_fault(void (*lose)(void))
{
    struct fault f = {.fail_at = 1};
    unsigned long most = 0;
    for (;; f.and_later = !f.and_later) {
        struct one a;
        begin(&a);
        sbx_store_number_taken(u.store, 9);
        lose();
        f.asked = 0;
        sbx_db_set_gate(fault_ask, &f);
        sbx_store_save(u.store);
        if (f.asked > most)
            most = f.asked;
        put(&a, SBX_STREAM_STDERR, 100);
        turn();
        sbx_db_set_gate(NULL, NULL);
        sbx_store_save(u.store);
        /* After some, the thread that syncs has to do something first. */
        if (sbx_store_trouble(u.store) != NULL)
            DB_UNTIL(sbx_store_trouble(u.store) == NULL);
        expect_complete(&a);
        assert_true(j.times > 0);
        assert_int_equal(db_number("SELECT value FROM counters WHERE name = 'process'"), 9);
        end(&a);
        if (f.fail_at > most)
            return most;
        if (f.and_later)
            f.fail_at++;
    }
}

static void unlink_log(void)
{
    assert_int_equal(unlink(r.log), 0);
}

static void test_each_call_fails_with_a_new_file(void **state)
{
    (void)state;
    assert_true(each_fault(unlink_all) > 50);
}

static void test_each_call_fails_with_a_new_log(void **state)
{
    (void)state;
    assert_true(each_fault(unlink_log) > 50);
}

/* It was away and is back, the same: nothing is opened. */
static void test_the_same_file_is_not_opened_again(void **state)
{
    char away[128];
    struct sbx_db *db;
    struct one a;
    (void)state;
    begin(&a);
    db = sbx_store_db(u.store);
    (void)snprintf(away, sizeof away, "%s/away", r.dir);
    assert_int_equal(rename(r.file, away), 0);
    assert_int_equal(mkdir(r.file, 0700), 0);
    sbx_store_save(u.store);
    assert_non_null(sbx_store_trouble(u.store));
    assert_int_equal(rmdir(r.file), 0);
    assert_int_equal(rename(away, r.file), 0);
    put(&a, SBX_STREAM_STDERR, 100);
    sbx_store_save(u.store);
    assert_ptr_equal(sbx_store_db(u.store), db);
    assert_int_equal(j.times, 0);
    expect_complete(&a);
    end(&a);
}

/* Another connection of this program has the file open and locked, and keeps its lock. */
static void test_opening_drops_no_lock(void **state)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1 << 30, .l_len = 1};
    struct sbx_db *db;
    struct sbx_err err;
    struct sbx_db_identity id = {.next = 1};
    const struct sbx_diag quiet = {SBX_DIAG_ERROR};
    int fd, status;
    pid_t pid;
    (void)state;
    db_rig_start();
    fd = open(r.file, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETLK, &lock), 0);
    db = sbx_db_open(&r.loop, &quiet, r.dir, &id, db_rig_on_ready, NULL, &err);
    assert_non_null(db);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    sbx_db_close(db);
    (void)close(fd);
    db_rig_deinit();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_another_file_is_refused),
        cmocka_unit_test(test_a_first_server_takes_any),
        cmocka_unit_test(test_a_file_without_identity_gets_one),
        cmocka_unit_test(test_a_file_that_was_just_begun_is_known),
        cmocka_unit_test(test_a_directory_that_is_not_ours),
        cmocka_unit_test(test_the_file_has_more_than_memory),
        cmocka_unit_test(test_each_call_fails_with_a_new_file),
        cmocka_unit_test(test_each_call_fails_with_a_new_log),
        cmocka_unit_test(test_the_same_file_is_not_opened_again),
        cmocka_unit_test(test_opening_drops_no_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
