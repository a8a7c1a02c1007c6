/* Opening what is there: nothing, an older file, a newer one, a damaged one, somebody else's. */
#include "db_rig.h"

#include <dirent.h>
#include <libgen.h>

static void copy_file(const char *from, const char *to)
{
    char command[600];
    (void)snprintf(command, sizeof command, "cp %s %s && chmod 600 %s", from, to, to);
    assert_int_equal(system(command), 0);
}

static char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *p;
    long size;
    assert_non_null(f);
    (void)fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    p = malloc((size_t)size + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, (size_t)size, f), size);
    p[size] = '\0';
    *n = (size_t)size;
    (void)fclose(f);
    return p;
}

static void spill(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* How many names of the directory contain a text; the first of them in *name. */
static unsigned names_with(const char *text, char name[400])
{
    DIR *d = opendir(r.dir);
    struct dirent *e;
    unsigned n = 0;
    assert_non_null(d);
    while ((e = readdir(d)) != NULL)
        if (strstr(e->d_name, text) != NULL) {
            if (n++ == 0 && name != NULL)
                (void)snprintf(name, 400, "%s/%s", r.dir, e->d_name);
        }
    closedir(d);
    return n;
}

static int count_process(void *ctx, const struct sbx_db_process *p)
{
    (void)p;
    ++*(unsigned *)ctx;
    return 0;
}

static unsigned records(void)
{
    unsigned n = 0;
    assert_int_equal(sbx_db_load(r.db, count_process, &n), 0);
    return n;
}

/* Something is in it, and it is closed. */
static void make_some(void)
{
    db_rig_start();
    db_begin();
    db_put_process(1);
    db_put_process(2);
    db_ok(sbx_db_commit(r.db));
    db_fill(1, 1, 50, 10000);
    db_rig_close();
}

static void test_a_new_file(void **state)
{
    struct stat st;
    mode_t before = umask(0);
    (void)state;
    db_rig_start();
    assert_int_equal(stat(r.file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(r.log, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    (void)umask(before);
    db_expect("PRAGMA page_size", "8192\n");
    db_expect("PRAGMA auto_vacuum", "2\n");
    db_expect("PRAGMA journal_mode", "wal\n");
    db_expect("PRAGMA user_version", "3\n");
    db_expect("PRAGMA integrity_check", "ok\n");
    assert_int_equal(records(), 0);
    db_rig_deinit();
}

static void test_a_strict_umask_changes_nothing(void **state)
{
    struct stat st;
    mode_t before;
    (void)state;
    db_rig_init();
    before = umask(0777);
    assert_true(db_rig_try_open());
    (void)umask(before);
    assert_int_equal(stat(r.file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    db_rig_deinit();
}

static void test_an_empty_file_is_a_new_one(void **state)
{
    (void)state;
    db_rig_init();
    spill(r.file, "", 0);
    db_rig_open();
    db_fill(1, 1, 3, 10);
    db_rig_reopen();
    assert_int_equal(db_read_first(1, 2), 2);
    assert_int_equal(names_with("damaged", NULL), 0);
    db_rig_deinit();
}

/* Killed between making the file and making its tables. */
static void test_a_database_without_tables_is_a_new_one(void **state)
{
    struct sqlite3 *conn;
    (void)state;
    db_rig_init();
    assert_int_equal(sqlite3_open(r.file, &conn), SQLITE_OK);
    db_exec(conn, "PRAGMA page_size=8192; PRAGMA auto_vacuum=2; PRAGMA journal_mode=WAL");
    sqlite3_close(conn);
    db_rig_open();
    db_fill(1, 1, 3, 10);
    assert_int_equal(names_with("damaged", NULL), 0);
    db_expect("PRAGMA auto_vacuum", "2\n");
    db_rig_deinit();
}

static void test_closing_leaves_one_file(void **state)
{
    (void)state;
    make_some();
    assert_int_equal(names_with("sandbox-agent.db", NULL), 1);
    db_rig_open();
    assert_int_equal(records(), 2);
    assert_int_equal(db_read_first(1, 50), 50);
    db_rig_deinit();
}

static const char schema_sql[] =
    "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";

/* The fixture was made by a program that knew that version. */
static void fixture(char *path, size_t n, unsigned version)
{
    char here[] = __FILE__;
    (void)snprintf(path, n, "%s/data/store-v%u.db", dirname(here), version);
    if (access(path, R_OK) != 0)
        fail_msg("no %s: run from the top of the tree", path);
}

struct v1 {
    struct sbx_db_process seen[4];
    char text[4][64];
    unsigned n;
};

static int on_v1(void *ctx, const struct sbx_db_process *p)
{
    struct v1 *v = ctx;
    assert_true(v->n < 4);
    v->seen[v->n] = *p;
    (void)snprintf(v->text[v->n], sizeof v->text[0], "%.*s|%.*s|%.*s|%.*s|%.*s",
                   (int)p->command.n, p->command.p, (int)p->args.n, p->args.p, (int)p->cwd.n,
                   p->cwd.p, (int)p->exit_reason.n, p->exit_reason.p, (int)p->exit_note.n,
                   p->exit_note.p);
    v->n++;
    return 0;
}

static void test_version_1_is_migrated(void **state)
{
    char path[200];
    struct v1 v = {.n = 0};
    uint64_t counter;
    struct sbx_db_page *p;
    (void)state;
    db_rig_init();
    fixture(path, sizeof path, 1);
    copy_file(path, r.file);
    db_expect("PRAGMA user_version", "1\n");
    db_rig_open();
    db_expect("PRAGMA user_version", "3\n");
    assert_int_equal(names_with("damaged", NULL), 0);
    assert_int_equal(sbx_db_load(r.db, on_v1, &v), 0);
    assert_int_equal(v.n, 3);
    assert_string_equal(v.text[0], "make|[\"-C\",\"src\",\"all\"]|/srv/app|exited|");
    assert_string_equal(v.text[1], "server|[]||stopped|");
    assert_string_equal(v.text[2], "bash|[\"-i\"]|||");
    assert_int_equal(v.seen[0].exit_value, 2);
    assert_int_equal(v.seen[0].log_end_offset, 33);
    assert_int_equal(v.seen[0].input_dropped, 0);
    assert_int_equal(v.seen[1].exit_kind, 2);
    assert_true(v.seen[2].tty && !v.seen[2].exited);
    assert_int_equal(v.seen[2].cols, 120);
    db_ok(sbx_db_load_counter(r.db, "process", &counter));
    assert_int_equal(counter, 4);
    db_ok(sbx_db_read(r.db, 3, 3, &p));
    assert_int_equal(p->first, 2);
    assert_int_equal(p->count, 2);
    assert_memory_equal(p->blob->data, "ls -la\r\ntotal 0\r\nfile\r\n", 23);
    sbx_db_page_free(p);
    db_begin();
    db_ok(sbx_db_put_gap(r.db, 3, 4, 5, 6, 1769776365000));
    db_ok(sbx_db_commit(r.db));
    db_expect("SELECT process_id FROM gaps", "proc_3\n");
    db_expect("SELECT text FROM logs WHERE process_id = 'proc_1'",
              "cc -c main.c \n\nmain.c:3: warning!\n\n");
    db_rig_deinit();
}

static void on_setting(void *ctx, const char *name, uint64_t v)
{
    char *text = ctx;
    (void)snprintf(text + strlen(text), 200 - strlen(text), "%s=%llu;", name,
                   (unsigned long long)v);
}

static void test_version_2_is_migrated(void **state)
{
    char path[200], text[200] = "";
    (void)state;
    db_rig_init();
    fixture(path, sizeof path, 2);
    copy_file(path, r.file);
    db_expect("SELECT log_bytes, log_cap FROM processes", "81955|-1\n");
    db_expect("SELECT value FROM config", "8\n-1\n");
    db_rig_open();
    db_expect("PRAGMA user_version", "3\n");
    assert_int_equal(names_with("damaged", NULL), 0);
    db_expect("SELECT exit_note, input_dropped, log_bytes, log_cap FROM processes",
              "a note|7|35|9223372036854775807\n");
    db_expect("SELECT value FROM config ORDER BY name", "8\n9223372036854775807\n");
    db_expect("SELECT first_sequence, last_sequence, bytes FROM gaps", "2|6|81920\n");
    db_ok(sbx_db_load_config(r.db, on_setting, text));
    assert_string_equal(text, "maxConcurrentProcesses=8;maxOutputBytes=18446744073709551615;");
    db_rig_deinit();
}

static void a_migrated_file_is_like_a_new_one(unsigned version)
{
    char path[200];
    char *migrated, *made;
    struct sqlite3 *conn;
    db_rig_init();
    fixture(path, sizeof path, version);
    copy_file(path, r.file);
    db_rig_open();
    conn = db_person();
    migrated = db_query(conn, schema_sql);
    sqlite3_close(conn);
    db_rig_deinit();
    db_rig_start();
    conn = db_person();
    made = db_query(conn, schema_sql);
    sqlite3_close(conn);
    assert_string_equal(migrated, made);
    sqlite3_free(migrated);
    sqlite3_free(made);
    db_rig_deinit();
}

static void test_a_migrated_file_is_like_a_new_one(void **state)
{
    (void)state;
    a_migrated_file_is_like_a_new_one(1);
    a_migrated_file_is_like_a_new_one(2);
}

static void test_a_newer_schema_is_refused_and_left_alone(void **state)
{
    struct sqlite3 *conn;
    char *before, *after;
    size_t n, m;
    (void)state;
    make_some();
    conn = db_person();
    db_exec(conn, "PRAGMA journal_mode=DELETE; PRAGMA user_version=7; CREATE TABLE later(a)");
    sqlite3_close(conn);
    before = slurp(r.file, &n);
    assert_false(db_rig_try_open());
    assert_int_equal(r.err.code, -ENOTSUP);
    assert_non_null(strstr(r.err.text, r.file));
    assert_non_null(strstr(r.err.text, "has schema version 7, this program knows up to 3"));
    after = slurp(r.file, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    assert_int_equal(names_with("damaged", NULL), 0);
    free(before);
    free(after);
    db_rig_deinit();
}

/* In the log of a server that was killed, the newer schema is not even in the file yet. */
static void test_a_newer_schema_in_the_log_is_left_there(void **state)
{
    struct sqlite3 *conn;
    char *before, *after;
    char saved[160];
    size_t n, m;
    (void)state;
    make_some();
    conn = db_person();
    (void)sqlite3_db_config(conn, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
    db_exec(conn, "PRAGMA user_version=7");
    sqlite3_close(conn);
    assert_true(db_file_size(r.log) > 0);
    (void)snprintf(saved, sizeof saved, "%s/saved", r.dir);
    copy_file(r.log, saved);
    before = slurp(saved, &n);
    assert_false(db_rig_try_open());
    assert_int_equal(r.err.code, -ENOTSUP);
    after = slurp(r.log, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    free(before);
    free(after);
    db_rig_deinit();
}

/* The file that was there is now under another name, byte for byte, and a new one works. */
static void expect_set_aside(const char *bytes, size_t n)
{
    char name[400];
    char *kept;
    size_t m;
    db_rig_open();
    assert_int_equal(records(), 0);
    db_fill(9, 1, 3, 10);
    assert_int_equal(db_read_first(9, 1), 1);
    db_rig_close();
    while (names_with("Z-", name) > 0) /* its log and index, which are empty */
        assert_int_equal(unlink(name), 0);
    assert_int_equal(names_with(".damaged-", name), 1);
    kept = slurp(name, &m);
    assert_int_equal(m, n);
    assert_memory_equal(kept, bytes, n);
    free(kept);
    assert_int_equal(strlen(strstr(name, ".damaged-")), strlen(".damaged-20260130T123245Z"));
    assert_int_equal(unlink(name), 0);
}

static void test_damaged_files_are_set_aside(void **state)
{
    static char junk[100000];
    char *good;
    size_t n, i;
    (void)state;
    make_some();
    good = slurp(r.file, &n);
    for (i = 0; i < sizeof junk; i++)
        junk[i] = (char)(i * i + (i >> 3));
    spill(r.file, junk, sizeof junk);
    expect_set_aside(junk, sizeof junk);
    spill(r.file, "x", 1);
    expect_set_aside("x", 1);
    spill(r.file, good, n / 2); /* cut off */
    expect_set_aside(good, n / 2);
    spill(r.file, good, 8192 + 100);
    expect_set_aside(good, 8192 + 100);
    for (i = 100; i < 8192; i++) /* the schema's page */
        good[i] = (char)~good[i];
    spill(r.file, good, n);
    expect_set_aside(good, n);
    free(good);
    db_rig_deinit();
}

/* Which page holds what is SQLite's to choose: each is spoilt in turn. Whatever happens, opening
 * works, and then everything that is asked is answered or fails as damaged. */
static void test_any_damaged_page_is_noticed_or_survived(void **state)
{
    char *good;
    size_t n, page, i;
    unsigned set_aside = 0;
    (void)state;
    make_some();
    good = slurp(r.file, &n);
    assert_int_equal(n % 8192, 0);
    for (page = 0; page < n / 8192; page++) {
        char *bad = malloc(n);
        char name[400];
        struct sbx_db_page *p = NULL;
        unsigned count = 0;
        int rc;
        assert_non_null(bad);
        memcpy(bad, good, n);
        for (i = 0; i < 8192; i++)
            bad[page * 8192 + i] ^= (char)(i % 251);
        spill(r.file, bad, n);
        free(bad);
        db_rig_open();
        rc = sbx_db_load(r.db, count_process, &count);
        assert_true(rc == 0 || rc == -EILSEQ);
        for (i = 1; i <= 50; i++) {
            rc = sbx_db_read(r.db, 1, i, &p);
            assert_true(rc == 0 || rc == -ENOENT || rc == -EILSEQ);
            if (rc == -EILSEQ)
                assert_non_null(strstr(sbx_db_error(r.db), "damaged"));
            sbx_db_page_free(p);
        }
        db_rig_close();
        while (names_with(".damaged-", name) > 0) {
            set_aside++;
            assert_int_equal(unlink(name), 0);
        }
    }
    free(good);
    assert_true(set_aside > 5); /* all the pages of the small tables and of the schema */
    db_rig_deinit();
}

static void test_a_chunk_that_makes_no_sense_is_damage(void **state)
{
    static const char *const entries[] = {
        "", "[", "[]", "[[]]", "[[0,1,0,10]", "[[0,1,0,10]]]", "[[0,1,0,11]]", "[[0,1,5,6]]",
        "[[3,1,0,10]]", "[[0,1,0]]", "[[0,1,0,10,1]]", "[[0,1,-1,10]]", "[[0,1,,10]",
        "[[0,99999999999999999999999,0,10]]", "[[0,1,0,10],[0,1,0,10]]", "{[0,1,0,10]}",
        "[[0,1,0,4294967297]]",
    };
    struct sqlite3 *conn;
    size_t i;
    (void)state;
    db_rig_start();
    db_fill(1, 1, 1, 10);
    conn = db_person();
    for (i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        struct sbx_db_page *p = (struct sbx_db_page *)&p;
        char *sql = sqlite3_mprintf("UPDATE chunks SET entries = %Q", entries[i]);
        db_exec(conn, sql);
        sqlite3_free(sql);
        if (sbx_db_read(r.db, 1, 1, &p) != -EILSEQ)
            fail_msg("taken for good: %s", entries[i]);
        assert_null(p);
        assert_non_null(strstr(sbx_db_error(r.db), "a chunk of proc_1 makes no sense"));
    }
    db_exec(conn, "UPDATE chunks SET entries = '[[0,1,0,10]]', count = 4294967297");
    assert_int_equal(sbx_db_read(r.db, 1, 1, &(struct sbx_db_page *){NULL}), -EILSEQ);
    db_exec(conn, "UPDATE chunks SET count = 1, data = x''");
    assert_int_equal(sbx_db_read(r.db, 1, 1, &(struct sbx_db_page *){NULL}), -EILSEQ);
    db_exec(conn, "UPDATE chunks SET data = zeroblob(131073)");
    assert_int_equal(sbx_db_read(r.db, 1, 1, &(struct sbx_db_page *){NULL}), -EILSEQ);
    sqlite3_close(conn);
    db_rig_deinit();
}

static void test_a_foreign_database_is_set_aside(void **state)
{
    struct sqlite3 *conn;
    char *bytes;
    size_t n;
    (void)state;
    db_rig_init();
    assert_int_equal(sqlite3_open(r.file, &conn), SQLITE_OK);
    db_exec(conn, "CREATE TABLE music(a); INSERT INTO music VALUES(1)");
    sqlite3_close(conn);
    bytes = slurp(r.file, &n);
    expect_set_aside(bytes, n);
    free(bytes);
    db_rig_deinit();
}

static void test_setting_aside_overwrites_nothing_and_says_so(void **state)
{
    const struct sbx_diag loud = {SBX_DIAG_WARN};
    char said_path[160], name[400];
    char *said;
    size_t n;
    int keep = dup(2), fd, i;
    (void)state;
    db_rig_init();
    (void)snprintf(said_path, sizeof said_path, "%s/said", r.dir);
    fd = open(said_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && keep >= 0);
    for (i = 0; i < 3; i++) {
        spill(r.file, "this is no database, but long enough to be one", 46);
        spill(r.log, "log", 3);
        assert_int_equal(dup2(fd, 2), 2);
        r.id = (struct sbx_db_identity){.next = 1};
        r.db = sbx_db_open(&r.loop, &loud, r.dir, &r.id, db_rig_on_ready, NULL, &r.err);
        assert_int_equal(dup2(keep, 2), 2);
        assert_non_null(r.db);
        db_rig_close();
    }
    close(fd);
    close(keep);
    said = slurp(said_path, &n);
    assert_int_equal(names_with("Z-wal", name), 3);
    name[strlen(name) - 4] = '\0';
    assert_int_equal(db_file_size(name), 46);
    assert_non_null(strstr(said, name));
    assert_non_null(strstr(said, "damaged"));
    free(said);
    db_rig_deinit();
}

static void test_a_log_without_its_file_is_kept(void **state)
{
    char name[400];
    (void)state;
    db_rig_init();
    spill(r.log, "all that is left", 16);
    db_rig_open();
    db_fill(1, 1, 3, 10);
    assert_int_equal(names_with("Z-wal", name), 1);
    assert_int_equal(db_file_size(name), 16);
    db_rig_deinit();
}

static void test_what_cannot_be_opened_is_named(void **state)
{
    char where[200];
    (void)state;
    db_rig_init();
    (void)snprintf(where, sizeof where, "%s/none", r.dir);
    r.id.next = 1;
    r.db = sbx_db_open(&r.loop, &(struct sbx_diag){SBX_DIAG_ERROR}, where, &r.id, db_rig_on_ready,
                       NULL, &r.err);
    assert_null(r.db);
    assert_int_equal(r.err.code, -ENOENT);
    assert_non_null(strstr(r.err.text, where));
    assert_int_equal(mkdir(r.file, 0700), 0);
    assert_false(db_rig_try_open());
    assert_non_null(strstr(r.err.text, r.file));
    assert_int_equal(rmdir(r.file), 0);
    assert_int_equal(mkfifo(r.file, 0600), 0);
    assert_false(db_rig_try_open());
    assert_int_equal(r.err.code, -EINVAL);
    db_rig_deinit();
}

static void test_a_locked_file_is_no_damaged_one(void **state)
{
    struct sqlite3 *conn;
    (void)state;
    make_some();
    conn = db_person();
    db_exec(conn, "PRAGMA journal_mode=DELETE; BEGIN EXCLUSIVE");
    assert_false(db_rig_try_open());
    assert_int_equal(r.err.code, -EBUSY);
    assert_non_null(strstr(r.err.text, r.file));
    assert_int_equal(names_with("damaged", NULL), 0);
    sqlite3_close(conn);
    db_rig_open();
    assert_int_equal(records(), 2);
    db_expect("PRAGMA journal_mode", "wal\n");
    db_rig_deinit();
}

static void test_a_file_that_vanishes_is_noticed(void **state)
{
    char aside[160];
    int rc;
    (void)state;
    db_rig_start();
    (void)snprintf(aside, sizeof aside, "%s/aside", r.dir);
    assert_int_equal(rename(r.file, aside), 0);
    DB_UNTIL((rc = sbx_db_begin(r.db)) == -EIO || (sbx_db_rollback(r.db), false));
    assert_non_null(strstr(sbx_db_error(r.db), "deleted or replaced"));
    assert_int_equal(rename(aside, r.file), 0);
    DB_UNTIL((rc = sbx_db_begin(r.db)) == 0);
    sbx_db_rollback(r.db);
    assert_int_equal(rename(r.log, aside), 0);
    DB_UNTIL((rc = sbx_db_begin(r.db)) == -EIO || (sbx_db_rollback(r.db), false));
    assert_int_equal(rename(aside, r.log), 0);
    DB_UNTIL((rc = sbx_db_begin(r.db)) == 0);
    db_put_process(1);
    db_ok(sbx_db_commit(r.db));
    db_rig_reopen();
    assert_int_equal(records(), 1);
    db_rig_deinit();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_file),
        cmocka_unit_test(test_a_strict_umask_changes_nothing),
        cmocka_unit_test(test_an_empty_file_is_a_new_one),
        cmocka_unit_test(test_a_database_without_tables_is_a_new_one),
        cmocka_unit_test(test_closing_leaves_one_file),
        cmocka_unit_test(test_version_1_is_migrated),
        cmocka_unit_test(test_version_2_is_migrated),
        cmocka_unit_test(test_a_migrated_file_is_like_a_new_one),
        cmocka_unit_test(test_a_newer_schema_is_refused_and_left_alone),
        cmocka_unit_test(test_a_newer_schema_in_the_log_is_left_there),
        cmocka_unit_test(test_damaged_files_are_set_aside),
        cmocka_unit_test(test_any_damaged_page_is_noticed_or_survived),
        cmocka_unit_test(test_a_chunk_that_makes_no_sense_is_damage),
        cmocka_unit_test(test_a_foreign_database_is_set_aside),
        cmocka_unit_test(test_setting_aside_overwrites_nothing_and_says_so),
        cmocka_unit_test(test_a_log_without_its_file_is_kept),
        cmocka_unit_test(test_what_cannot_be_opened_is_named),
        cmocka_unit_test(test_a_locked_file_is_no_damaged_one),
        cmocka_unit_test(test_a_file_that_vanishes_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
