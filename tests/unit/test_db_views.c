/* The public interface of the file: each query of docs/log-store.md is run against what the code
 * wrote, and gives what the document says. */
#include "db_rig.h"
#include "os/sig.h"

#define T0 1769776365000ull /* 2026-01-30T12:32:45Z */

static void put(uint64_t process, uint64_t first, uint64_t offset, uint32_t n,
                const struct sbx_db_head *heads, const char *text)
{
    struct sbx_db_chunk c = {process, first, offset, heads, n, (const uint8_t *)text,
                             strlen(text)};
    assert_int_equal(heads[n - 1].start + heads[n - 1].len, c.len);
    db_ok(sbx_db_put_chunk(r.db, &c));
}

static void put_records(void)
{
    struct sbx_db_process p = db_process(1);
    p.command = SBX_STR("make");
    p.args = SBX_STR("[\"-C\",\"src\",\"all\"]");
    p.env_names = SBX_STR("[\"CC\"]");
    p.has_cwd = true;
    p.cwd = SBX_STR("/srv/app");
    p.created_ms = T0;
    p.exited = true;
    p.exited_ms = T0 + 2500;
    p.exit_kind = 1;
    p.exit_value = 2;
    p.exit_reason = SBX_STR("exited");
    db_ok(sbx_db_put_process(r.db, &p));
    p = db_process(2);
    p.command = SBX_STR("node");
    p.args = SBX_STR("[\"server.js\"]");
    db_ok(sbx_db_put_process(r.db, &p));
    p = db_process(3);
    p.command = SBX_STR("bash");
    p.tty = true;
    p.exited = true;
    p.exited_ms = T0 + 195000;
    p.exit_kind = 2;
    p.exit_value = 9;
    p.exit_reason = SBX_STR("signaled");
    db_ok(sbx_db_put_process(r.db, &p));
}

static void put_logs(void)
{
    static const struct sbx_db_head make[] = {{T0 + 10, 0, 13, 0}, {T0 + 1000, 13, 23, 1},
                                              {T0 + 1250, 36, 13, 0}};
    static const struct sbx_db_head start[] = {{T0 + 5100, 0, 18, 0}};
    static const struct sbx_db_head serve[] = {{T0 + 20000, 0, 6, 0}, {T0 + 56000, 6, 34, 1},
                                               {T0 + 56001, 40, 11, 0}};
    static const struct sbx_db_head shell[] = {{T0 + 135000, 0, 30, 2}};
    put(1, 1, 0, 3, make, "cc -c main.c\nmain.c:3: unknown type\ncc -c util.c\n");
    put(2, 1, 0, 1, start, "listening on 3000\n");
    db_ok(sbx_db_put_gap(r.db, 2, 2, 6, 81920, T0 + 20010));
    put(2, 7, 18 + 81920, 3, serve, "GET /\nerror: no such page: /favicon.ico\nGET /about\n");
    put(3, 1, 0, 1, shell, "$ ls\r\n\x1b[34msrc\x1b[0m  main.c\r\n$ ");
    put(9, 1, 0, 1, start, "of no record at a\n");
}

static void start_example(void)
{
    db_rig_start();
    db_begin();
    put_records();
    put_logs();
    db_ok(sbx_db_put_config(r.db, "maxLogBytesPerProcess", 1048576));
    db_ok(sbx_db_put_config(r.db, "maxConcurrentProcesses", 64));
    db_ok(sbx_db_commit(r.db));
}

static char *read_document(void)
{
    static char text[40000];
    FILE *f = fopen("docs/log-store.md", "r");
    size_t n;
    if (f == NULL)
        fail_msg("no docs/log-store.md: run from the top of the tree");
    n = fread(text, 1, sizeof text - 1, f);
    assert_true(n < sizeof text - 1);
    text[n] = '\0';
    (void)fclose(f);
    return text;
}

/* Cuts out the next fenced block that begins with `fence`; *at moves behind it. */
static char *next_block(char **at, const char *fence)
{
    char *begin = strstr(*at, fence), *stop;
    if (begin == NULL)
        return NULL;
    begin += strlen(fence);
    stop = strstr(begin, "\n```\n");
    assert_non_null(stop);
    stop[1] = '\0';
    *at = stop + 5;
    return begin;
}

/* As the shell prints it: a NULL is nothing. */
static char *as_shell(char *rows)
{
    char *text = sqlite3_mprintf("%s", rows), *at;
    while ((at = strstr(text, "NULL")) != NULL)
        memmove(at, at + 4, strlen(at + 4) + 1);
    sqlite3_free(rows);
    return text;
}

static void test_every_query_of_the_document(void **state)
{
    char *at, *sql;
    unsigned n = 0;
    struct sqlite3 *conn;
    (void)state;
    start_example();
    conn = db_person();
    at = read_document();
    while ((sql = next_block(&at, "```sql\n")) != NULL) {
        char *want, *got;
        assert_int_equal(strncmp(at, "```text\n", 8), 0);
        want = next_block(&at, "```text\n");
        got = as_shell(db_query(conn, sql));
        if (strcmp(got, want) != 0)
            fail_msg("%s\ngives\n%s\nbut the document says\n%s", sql, got, want);
        sqlite3_free(got);
        n++;
    }
    assert_int_equal(n, 10);
    sqlite3_close(conn);
    db_rig_deinit();
}

/* The columns that the document names for a table are those that it has, in any order. */
static void expect_columns(struct sqlite3 *conn, const char *document, const char *table)
{
    char heading[64], name[64];
    char *sql = sqlite3_mprintf("SELECT name FROM pragma_table_info(%Q)", table), *columns, *c;
    const char *section, *stop;
    unsigned n = 0;
    (void)snprintf(heading, sizeof heading, "\n## %s\n", table);
    section = strstr(document, heading);
    assert_non_null(section);
    stop = strstr(section + 3, "\n## ");
    columns = db_query(conn, sql);
    for (c = strtok(columns, "\n"); c != NULL; c = strtok(NULL, "\n"), n++) {
        const char *found;
        (void)snprintf(name, sizeof name, "`%s`", c);
        found = strstr(section, name);
        if (found == NULL || found > stop)
            fail_msg("%s of %s is not in the document", c, table);
    }
    assert_true(n >= 2);
    sqlite3_free(columns);
    sqlite3_free(sql);
}

static void test_the_document_names_all_columns(void **state)
{
    struct sqlite3 *conn;
    char *document;
    (void)state;
    db_rig_start();
    conn = db_person();
    document = read_document();
    expect_columns(conn, document, "processes");
    expect_columns(conn, document, "logs");
    expect_columns(conn, document, "gaps");
    expect_columns(conn, document, "config");
    sqlite3_close(conn);
    db_rig_deinit();
}

/* Not by reading all chunks. */
static void test_one_process_is_found_by_key(void **state)
{
    struct sqlite3 *conn;
    char *plan;
    (void)state;
    start_example();
    conn = db_person();
    plan = db_query(conn, "EXPLAIN QUERY PLAN SELECT text FROM logs WHERE process_id = 'proc_2'");
    assert_non_null(strstr(plan, "SEARCH c USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"));
    assert_null(strstr(plan, "SCAN c"));
    sqlite3_free(plan);
    sqlite3_close(conn);
    db_rig_deinit();
}

static void test_values(void **state)
{
    static const struct sbx_db_head odd[] = {{0, 0, 3, 0}, {999, 3, 0, 1},
                                             {253402300799999ull, 3, 4, 2}};
    static const uint8_t bytes[] = {0xff, 0, 'a', 'b', '\'', '"', '|'};
    struct sbx_db_chunk c = {4, 1, 0, odd, 3, bytes, sizeof bytes};
    struct sbx_db_process p = db_process(4);
    int i;
    (void)state;
    db_rig_start();
    db_begin();
    for (i = 0; i < 66; i++) {
        p.number = (uint64_t)i + 100;
        p.exited = true;
        p.exit_kind = 2;
        p.exit_value = i;
        db_ok(sbx_db_put_process(r.db, &p));
    }
    p = db_process(4);
    p.exit_kind = 1; /* means nothing while it runs */
    p.core_dumped = true;
    db_ok(sbx_db_put_process(r.db, &p));
    p.number = 5;
    p.exited = true;
    p.exit_kind = 0;
    p.exit_reason = SBX_STR("lost");
    p.exit_note = SBX_STR("why");
    db_ok(sbx_db_put_process(r.db, &p));
    db_ok(sbx_db_put_chunk(r.db, &c));
    db_ok(sbx_db_commit(r.db));
    db_expect("SELECT sequence, stream, time, bytes, typeof(text), hex(data), typeof(data) "
              "FROM logs",
              "1|stdout|1970-01-01T00:00:00.000Z|3|text|FF0061|blob\n"
              "2|stderr|1970-01-01T00:00:00.999Z|0|text||blob\n"
              "3|pty|9999-12-31T23:59:59.999Z|4|text|6227227C|blob\n");
    db_expect("SELECT status, exit_code, exit_signal, core_dumped, exit_reason, exit_note, "
              "exited_at, log_bytes FROM processes WHERE id IN ('proc_4', 'proc_5') ORDER BY id",
              "running|NULL|NULL|NULL|NULL||NULL|7\n"
              "exited|NULL|NULL|1|lost|why|1970-01-01T00:00:00.000Z|0\n");
    for (i = 1; i < 32; i++) {
        char buf[16], sql[100], want[32];
        (void)snprintf(sql, sizeof sql, "SELECT exit_signal FROM processes WHERE id = 'proc_%d'",
                       i + 100);
        (void)snprintf(want, sizeof want, "%s\n", sbx_sig_name(i, buf));
        if (want[3] > '9') /* the others end no process */
            db_expect(sql, want);
    }
    db_expect("SELECT exit_signal FROM processes WHERE id = 'proc_164'", "SIG64\n");
    db_rig_deinit();
}

/* What the caps drop goes from the beginning, and gaps stay; the last one may have nothing behind
 * it. */
static void test_bytes_without_the_gaps(void **state)
{
    static const char bytes[] = "SELECT (SELECT log_bytes FROM processes), "
                                "(SELECT sum(bytes) FROM logs)";
    (void)state;
    db_rig_start();
    db_begin();
    db_put_process(1);
    db_put_process(2);
    db_put_chunk(1, 5, 1000, 2, 10);
    db_ok(sbx_db_put_gap(r.db, 1, 2, 4, 700, T0)); /* before all that is left */
    db_ok(sbx_db_put_gap(r.db, 1, 7, 7, 100, T0));
    db_put_chunk(1, 8, 1120, 1, 5);
    db_ok(sbx_db_put_gap(r.db, 1, 9, 20, 3000, T0));
    db_put_chunk(1, 21, 4125, 1, 7);
    db_put_chunk(1, 22, 4132, 1, 8);
    db_ok(sbx_db_put_gap(r.db, 1, 23, 23, 50, T0)); /* behind all that there is */
    db_ok(sbx_db_put_gap(r.db, 2, 6, 6, 9, T0));    /* of somebody else */
    db_ok(sbx_db_commit(r.db));
    db_expect(bytes, "40|40\n");
    db_rig_deinit();
}

static void test_numbers_above_those_of_sqlite(void **state)
{
    static const uint64_t numbers[] = {INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    struct sbx_db_process p = db_process(1);
    size_t i;
    (void)state;
    db_rig_start();
    for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        db_begin();
        p.log_cap = numbers[i];
        db_ok(sbx_db_put_process(r.db, &p));
        db_ok(sbx_db_put_config(r.db, "a", numbers[i]));
        db_ok(sbx_db_commit(r.db));
        db_expect("SELECT log_cap, value FROM processes, config",
                  "9223372036854775807|9223372036854775807\n");
    }
    db_rig_deinit();
}

/* With two people looking on, and one of them in a transaction. */
static void test_reading_while_it_is_written(void **state)
{
    struct sqlite3 *a, *b;
    char *before, *after;
    int i;
    (void)state;
    start_example();
    a = db_person();
    b = db_person();
    db_exec(b, "BEGIN");
    before = db_query(b, "SELECT count(*), max(sequence) FROM logs");
    for (i = 0; i < 50; i++) {
        char *n, want[16];
        db_fill(2, 10 + (uint64_t)i, 10 + (uint64_t)i, 100);
        n = db_query(a, "SELECT max(sequence) FROM logs WHERE process_id = 'proc_2'");
        (void)snprintf(want, sizeof want, "%d\n", 10 + i);
        assert_string_equal(n, want);
        sqlite3_free(n);
    }
    after = db_query(b, "SELECT count(*), max(sequence) FROM logs");
    assert_string_equal(before, after);
    sqlite3_free(before);
    sqlite3_free(after);
    db_exec(b, "COMMIT");
    sqlite3_close(a);
    sqlite3_close(b);
    db_expect("SELECT max(sequence) FROM logs", "59\n");
    db_rig_deinit();
}

/* The shell itself, where there is one. */
static void test_the_shell_reads_it(void **state)
{
    char command[200], line[200] = "";
    FILE *f;
    (void)state;
    if (system("sqlite3 -version >/dev/null 2>&1") != 0)
        skip();
    start_example();
    (void)snprintf(command, sizeof command, "sqlite3 -readonly %s \"SELECT id, status, command "
                   "FROM processes WHERE id = 'proc_2'\"", r.file);
    f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_int_equal(pclose(f), 0);
    assert_string_equal(line, "proc_2|running|node\n");
    db_rig_deinit();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_query_of_the_document),
        cmocka_unit_test(test_the_document_names_all_columns),
        cmocka_unit_test(test_one_process_is_found_by_key),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_bytes_without_the_gaps),
        cmocka_unit_test(test_numbers_above_those_of_sqlite),
        cmocka_unit_test(test_reading_while_it_is_written),
        cmocka_unit_test(test_the_shell_reads_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
