/* The database: what is put is what comes back, and what is dropped gives its space back. */
#include "db_rig.h"

static struct sbx_db_process full(uint64_t number)
{
    return (struct sbx_db_process){
        .number = number, .command = SBX_STR("/bin/l\xc3\xa4uft"),
        .args = SBX_STR("[\"-x\",\"a b\",\"\\u0000\"]"), .env_names = SBX_STR("[\"PATH\",\"X\"]"),
        .has_cwd = true, .cwd = SBX_STR("/srv/\xff\xfe"), .tty = true, .interactive = true,
        .persist = true, .cols = 65535, .rows = 1, .pid = 4194304,
        .started_us = UINT64_MAX, .boot_id = SBX_STR("b-1"), .created_ms = 1769776365123,
        .exited = true, .exited_ms = 1769776365999, .exit_kind = 2, .exit_value = 11,
        .core_dumped = true, .exit_reason = SBX_STR("signaled"), .exit_note = SBX_STR("a note"),
        .input_dropped = 12345678901, .log_cap = 10485760, .log_first = 17,
        .log_first_offset = 1000, .log_last = (1ull << 36) - 1, .log_end_offset = 1ull << 50};
}

static bool same_text(struct sbx_str a, struct sbx_str b)
{
    return sbx_str_eq(a, b);
}

static void expect_same(const struct sbx_db_process *a, const struct sbx_db_process *b)
{
    assert_int_equal(a->number, b->number);
    assert_true(same_text(a->command, b->command));
    assert_true(same_text(a->args, b->args));
    assert_true(same_text(a->env_names, b->env_names));
    assert_int_equal(a->has_cwd, b->has_cwd);
    assert_true(same_text(a->cwd, b->cwd));
    assert_int_equal(a->tty, b->tty);
    assert_int_equal(a->interactive, b->interactive);
    assert_int_equal(a->persist, b->persist);
    assert_int_equal(a->cols, b->cols);
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->pid, b->pid);
    assert_int_equal(a->started_us, b->started_us);
    assert_true(same_text(a->boot_id, b->boot_id));
    assert_int_equal(a->created_ms, b->created_ms);
    assert_int_equal(a->exited, b->exited);
    assert_int_equal(a->exited_ms, b->exited_ms);
    assert_int_equal(a->exit_kind, b->exit_kind);
    assert_int_equal(a->exit_value, b->exit_value);
    assert_int_equal(a->core_dumped, b->core_dumped);
    assert_true(same_text(a->exit_reason, b->exit_reason));
    assert_true(same_text(a->exit_note, b->exit_note));
    assert_int_equal(a->input_dropped, b->input_dropped);
    assert_int_equal(a->log_cap, b->log_cap);
    assert_int_equal(a->log_first, b->log_first);
    assert_int_equal(a->log_first_offset, b->log_first_offset);
    assert_int_equal(a->log_last, b->log_last);
    assert_int_equal(a->log_end_offset, b->log_end_offset);
}

struct loaded {
    struct sbx_db_process expect[4];
    size_t n;
    size_t stop_after;
};

static int on_process(void *ctx, const struct sbx_db_process *p)
{
    struct loaded *l = ctx;
    expect_same(p, &l->expect[l->n++]);
    return l->n == l->stop_after ? 77 : 0;
}

static void test_a_record_comes_back_whole(void **state)
{
    struct loaded l = {.n = 0};
    struct sbx_db_process other = full(3);
    (void)state;
    db_rig_start();
    l.expect[0] = (struct sbx_db_process){.number = 2}; /* every view empty, no directory */
    l.expect[1] = full(3);
    l.expect[2] = full(1ull << 20);
    l.expect[2].has_cwd = true;
    l.expect[2].cwd = SBX_STR("");
    l.expect[2].exited = l.expect[2].core_dumped = l.expect[2].tty = false;
    other.command = SBX_STR("replaced below");
    db_begin();
    db_ok(sbx_db_put_process(r.db, &l.expect[2]));
    db_ok(sbx_db_put_process(r.db, &other));
    db_ok(sbx_db_put_process(r.db, &l.expect[0]));
    db_ok(sbx_db_put_process(r.db, &l.expect[1]));
    db_ok(sbx_db_commit(r.db));
    assert_int_equal(sbx_db_load(r.db, on_process, &l), 0);
    assert_int_equal(l.n, 3);
    db_rig_reopen();
    l.n = 0;
    assert_int_equal(sbx_db_load(r.db, on_process, &l), 0);
    assert_int_equal(l.n, 3);
    l.n = 0;
    l.stop_after = 2;
    assert_int_equal(sbx_db_load(r.db, on_process, &l), 77);
    assert_int_equal(l.n, 2);
    db_rig_deinit();
}

static void test_rollback_leaves_nothing(void **state)
{
    struct loaded l = {.n = 0};
    uint64_t v;
    (void)state;
    db_rig_start();
    db_begin();
    db_put_process(1);
    db_put_chunk(1, 1, 0, 1, 10);
    db_ok(sbx_db_put_counter(r.db, "process", 5));
    sbx_db_rollback(r.db);
    sbx_db_rollback(r.db);
    assert_int_equal(sbx_db_load(r.db, on_process, &l), 0);
    assert_int_equal(db_read_first(1, 1), 0);
    assert_int_equal(sbx_db_load_counter(r.db, "process", &v), 0);
    assert_int_equal(v, 0);
    db_rig_deinit();
}

static void on_config(void *ctx, const char *name, uint64_t v)
{
    char *text = ctx;
    (void)snprintf(text + strlen(text), 200 - strlen(text), "%s=%llu;", name,
                   (unsigned long long)v);
}

static void test_config_and_counters(void **state)
{
    char text[200] = "";
    uint64_t v = 9;
    (void)state;
    db_rig_start();
    assert_int_equal(sbx_db_load_counter(r.db, "process", &v), 0);
    assert_int_equal(v, 0);
    db_begin();
    db_ok(sbx_db_put_config(r.db, "maxB", 2));
    db_ok(sbx_db_put_config(r.db, "maxA", 1));
    db_ok(sbx_db_put_config(r.db, "maxB", UINT64_MAX));
    db_ok(sbx_db_put_counter(r.db, "process", 41));
    db_ok(sbx_db_put_counter(r.db, "process", 42));
    db_ok(sbx_db_put_counter(r.db, "other", 7));
    db_ok(sbx_db_commit(r.db));
    db_rig_reopen();
    db_ok(sbx_db_load_config(r.db, on_config, text));
    assert_string_equal(text, "maxA=1;maxB=18446744073709551615;");
    db_ok(sbx_db_load_counter(r.db, "process", &v));
    assert_int_equal(v, 42);
    db_rig_deinit();
}

static void expect_bounds(uint64_t process, uint64_t first, uint64_t first_offset, uint64_t last,
                          uint64_t end)
{
    struct sbx_db_bounds b;
    db_ok(sbx_db_bounds(r.db, process, &b));
    assert_int_equal(b.first, first);
    assert_int_equal(b.first_offset, first_offset);
    assert_int_equal(b.last, last);
    assert_int_equal(b.end_offset, end);
}

static void test_chunks_are_found_by_any_of_their_sequences(void **state)
{
    (void)state;
    db_rig_start();
    db_begin();
    db_put_chunk(7, 5, 100, 3, 10);       /* 5..7 */
    db_put_chunk(7, 8, 130, 13000, 10);   /* 8..13007 */
    db_put_chunk(7, 20000, 200000, 1, SBX_DB_CHUNK_MAX);
    db_put_chunk(6, 1, 0, 1, 1);
    db_put_chunk(8, 1, 0, 1, 1);
    db_ok(sbx_db_commit(r.db));
    assert_int_equal(db_read_first(7, 0), 5);
    assert_int_equal(db_read_first(7, 4), 5);
    assert_int_equal(db_read_first(7, 5), 5);
    assert_int_equal(db_read_first(7, 7), 5);
    assert_int_equal(db_read_first(7, 8), 8);
    assert_int_equal(db_read_first(7, 13007), 8);
    assert_int_equal(db_read_first(7, 13008), 20000); /* a hole: the next one */
    assert_int_equal(db_read_first(7, 20000), 20000);
    assert_int_equal(db_read_first(7, 20001), 0); /* and not that of process 8 */
    assert_int_equal(db_read_first(7, UINT64_MAX), 0);
    assert_int_equal(db_read_first(5, 1), 0);
    assert_int_equal(db_read_first(UINT64_MAX, 1), 0);
    expect_bounds(7, 5, 100, 20000, 200000 + SBX_DB_CHUNK_MAX);
    expect_bounds(8, 1, 0, 1, 1);
    expect_bounds(9, 1, 0, 0, 0);
    expect_bounds(UINT64_MAX, 1, 0, 0, 0);
    db_rig_reopen();
    expect_bounds(7, 5, 100, 20000, 200000 + SBX_DB_CHUNK_MAX);
    assert_int_equal(db_read_first(7, 13007), 8);
    db_rig_deinit();
}

static void test_numbers_that_make_no_key_are_refused(void **state)
{
    (void)state;
    db_rig_start();
    db_begin();
    assert_int_equal(db_try_chunk(1ull << 26, 1, 0, 1, 1), -EOVERFLOW);
    assert_int_equal(db_try_chunk(1, 1ull << 36, 0, 1, 1), -EOVERFLOW);
    sbx_db_rollback(r.db);
    db_begin();
    db_put_chunk((1ull << 26) - 1, (1ull << 36) - 1, 0, 1, 9);
    db_ok(sbx_db_commit(r.db));
    assert_int_equal(db_read_first((1ull << 26) - 1, 3), (1ull << 36) - 1);
    expect_bounds((1ull << 26) - 1, (1ull << 36) - 1, 0, (1ull << 36) - 1, 9);
    db_rig_deinit();
}

static void evict(uint64_t process, uint64_t sequence, uint64_t offset, struct sbx_db_bounds *b)
{
    db_begin();
    db_ok(sbx_db_evict(r.db, process, sequence, offset, b));
    db_ok(sbx_db_commit(r.db));
}

static void test_eviction_goes_by_either_floor(void **state)
{
    struct sbx_db_bounds b;
    (void)state;
    db_rig_start();
    db_fill(3, 1, 20, 100);
    db_fill(4, 1, 20, 100);
    evict(3, 0, 0, &b);
    assert_int_equal(b.first, 1);
    evict(3, 5, 0, &b);
    assert_int_equal(b.first, 5);
    assert_int_equal(b.first_offset, 400);
    evict(3, 2, 901, &b); /* a chunk that begins at 900 is below */
    assert_int_equal(b.first, 11);
    assert_int_equal(b.last, 20);
    assert_int_equal(b.end_offset, 2000);
    evict(3, 2, 1000, &b);
    assert_int_equal(b.first, 11);
    evict(3, 15, 1100, &b);
    assert_int_equal(b.first, 15);
    evict(3, 1000, 0, &b);
    assert_true(b.first > b.last);
    evict(3, 1000, 0, &b);
    assert_true(b.first > b.last);
    expect_bounds(4, 1, 0, 20, 2000);
    db_rig_deinit();
}

static void test_eviction_is_bounded_per_call(void **state)
{
    struct sbx_db_bounds b;
    (void)state;
    db_rig_start();
    db_fill(3, 1, 5000, 1);
    evict(3, 5001, 0, &b);
    assert_int_equal(b.first, 2049);
    evict(3, 5001, 0, &b);
    evict(3, 5001, 0, &b);
    assert_true(b.first > b.last);
    db_fill(5, 1, 100, SBX_DB_CHUNK_MAX);
    evict(5, 101, 0, &b);
    assert_int_equal(b.first, 65); /* 8 MiB */
    db_rig_deinit();
}

static void test_gaps(void **state)
{
    struct sbx_db_bounds b;
    (void)state;
    db_rig_start();
    db_fill(3, 1, 5, 10);
    db_fill(3, 11, 15, 10);
    db_begin();
    db_put_process(3);
    db_ok(sbx_db_put_gap(r.db, 3, 6, 10, 50, 1769776365123));
    db_ok(sbx_db_put_gap(r.db, 3, 16, 17, 9, 1769776366000));
    db_ok(sbx_db_put_gap(r.db, 3, 16, 18, 11, 1769776366000));
    db_ok(sbx_db_commit(r.db));
    db_expect("SELECT * FROM gaps", "proc_3|6|10|50|2026-01-30T12:32:45.123Z\n"
                                    "proc_3|16|18|11|2026-01-30T12:32:46.000Z\n");
    evict(3, 5, 0, &b);
    assert_int_equal(db_number("SELECT count(*) FROM gaps"), 2);
    evict(3, 7, 0, &b); /* first is 11 now */
    db_expect("SELECT first_sequence FROM gaps", "16\n");
    db_begin();
    db_ok(sbx_db_forget(r.db, 3));
    db_ok(sbx_db_commit(r.db));
    assert_int_equal(db_number("SELECT count(*) FROM gaps"), 0);
    db_fill(4, 1, 5, 10);
    db_fill(4, 11, 15, 10);
    db_begin();
    db_put_process(4);
    db_ok(sbx_db_put_gap(r.db, 4, 6, 10, 50, 1769776365123));
    db_ok(sbx_db_put_gap(r.db, 4, 16, 18, 11, 1769776366000));
    db_ok(sbx_db_commit(r.db));
    evict(4, 0, 1000, &b); /* by bytes alone, and no chunk is left */
    assert_true(b.first > b.last);
    assert_int_equal(db_number("SELECT count(*) FROM gap_records"), 0);
    db_rig_deinit();
}

static unsigned tidy_all(void)
{
    unsigned steps = 0;
    uint64_t end = sbx_clock_mono_us() + DB_RIG_PATIENCE_US;
    while (db_number("SELECT count(*) FROM forgotten") > 0 || sbx_db_tidy(r.db) != 0) {
        steps += sbx_db_tidy(r.db) > 0;
        db_rig_turn();
        assert_true(sbx_clock_mono_us() < end);
    }
    return steps;
}

static void test_what_is_forgotten_gives_its_space_back(void **state)
{
    long before;
    (void)state;
    db_rig_start();
    db_begin();
    db_put_process(1);
    db_put_process(2);
    db_ok(sbx_db_commit(r.db));
    db_fill(1, 1, 100, SBX_DB_CHUNK_MAX);
    db_fill(2, 1, 3, 100);
    db_rig_reopen();
    before = db_file_size(r.file);
    assert_true(before > 100 * (long)SBX_DB_CHUNK_MAX);
    assert_int_equal(sbx_db_tidy(r.db), 0);
    db_begin();
    db_ok(sbx_db_forget(r.db, 1));
    db_ok(sbx_db_commit(r.db));
    /* The record is gone at once, and with it all that a reader sees. */
    db_expect("SELECT id FROM processes", "proc_2\n");
    db_expect("SELECT count(*), min(process_id) FROM logs", "3|proc_2\n");
    assert_int_equal(db_number("SELECT count(*) FROM chunks"), 103);
    assert_int_equal(sbx_db_tidy(r.db), 1);
    assert_in_range(db_number("SELECT count(*) FROM chunks"), 90, 96); /* a small step */
    assert_true(tidy_all() > 20);
    assert_int_equal(db_number("SELECT count(*) FROM chunks"), 3);
    db_rig_reopen();
    assert_true(db_file_size(r.file) < 1000000);
    assert_int_equal(db_read_first(2, 3), 3);
    db_rig_deinit();
}

static void test_forgetting_survives_a_restart(void **state)
{
    (void)state;
    db_rig_start();
    db_fill(1, 1, 30, SBX_DB_CHUNK_MAX);
    db_begin();
    db_ok(sbx_db_forget(r.db, 1));
    db_ok(sbx_db_forget(r.db, 1));
    db_ok(sbx_db_forget(r.db, 99)); /* never there */
    db_ok(sbx_db_commit(r.db));
    assert_int_equal(sbx_db_tidy(r.db), 1);
    db_rig_reopen();
    (void)tidy_all();
    assert_int_equal(db_number("SELECT count(*) FROM chunks"), 0);
    assert_int_equal(db_read_first(1, 1), 0);
    db_rig_deinit();
}

static long long pages_in_use(void)
{
    return db_number("SELECT (SELECT page_count FROM pragma_page_count) - "
                     "(SELECT freelist_count FROM pragma_freelist_count)");
}

/* What is stored takes the place of what is forgotten, however fast it comes. */
static void test_forgotten_chunks_make_room(void **state)
{
    long long before;
    uint64_t i;
    (void)state;
    db_rig_start();
    db_fill(1, 1, 50, SBX_DB_CHUNK_MAX);
    db_fill(2, 1, 3000, 100);
    db_fill(3, 1, 100, SBX_DB_CHUNK_MAX);
    db_begin();
    for (i = 1; i <= 3; i++)
        db_ok(sbx_db_forget(r.db, i));
    db_ok(sbx_db_commit(r.db));
    before = pages_in_use();
    for (i = 10; db_number("SELECT count(*) FROM forgotten") > 0; i++) {
        assert_true(i < 60);
        db_begin();
        db_put_chunk(i, 1, 0, 1, SBX_DB_CHUNK_MAX);
        db_put_chunk(i, 2, SBX_DB_CHUNK_MAX, 1, SBX_DB_CHUNK_MAX);
        db_put_chunk(i, 3, 2 * SBX_DB_CHUNK_MAX, 1, 100);
        db_ok(sbx_db_purge(r.db));
        db_ok(sbx_db_commit(r.db));
        assert_true(pages_in_use() <= before);
        assert_int_equal(db_read_first(i, 3), 3);
    }
    assert_true(i > 20); /* and not much more goes than that */
    assert_int_equal(db_number("SELECT count(*) FROM chunks WHERE key < 4 << 36"), 0);
    db_rig_deinit();
}

static void test_a_step_takes_many_small_ones(void **state)
{
    uint64_t i;
    (void)state;
    db_rig_start();
    for (i = 1; i <= 200; i++)
        db_fill(i, 1, 1 + i % 2, 100);
    db_begin();
    for (i = 1; i <= 200; i++)
        db_ok(sbx_db_forget(r.db, i));
    db_ok(sbx_db_commit(r.db));
    assert_int_equal(sbx_db_tidy(r.db), 1);
    assert_in_range(db_number("SELECT count(*) FROM forgotten"), 100, 150);
    for (i = 0; i < 3; i++)
        assert_int_equal(sbx_db_tidy(r.db), 1);
    assert_int_equal(db_number("SELECT count(*) FROM forgotten"), 0);
    assert_int_equal(db_number("SELECT count(*) FROM chunks"), 0);
    db_rig_deinit();
}

static void attempt_all(void *ctx, const struct gate *g)
{
    struct sbx_db_page *p = NULL;
    int rc;
    (void)ctx;
    if (!db_rig_try_open()) {
        assert_int_equal(r.err.code, -ENOMEM);
        assert_true(gate_hit(g));
        return;
    }
    rc = sbx_db_begin(r.db);
    if (rc == 0)
        rc = db_try_chunk(1, 1, 0, 1000, 100);
    if (rc == 0)
        rc = sbx_db_commit(r.db);
    if (rc == 0)
        rc = sbx_db_read(r.db, 1, 1, &p);
    assert_true(rc == (gate_hit(g) ? -ENOMEM : 0));
    if (rc != 0) {
        assert_null(p);
        assert_string_equal(sbx_db_error(r.db), "out of memory");
        sbx_db_rollback(r.db);
    }
    sbx_db_page_free(p);
    db_rig_close();
}

static void test_out_of_memory(void **state)
{
    (void)state;
    db_rig_init();
    assert_true(gate_each(attempt_all, NULL) >= 7);
    db_rig_deinit();
}

static void test_backend(void **state)
{
    (void)state;
    assert_string_equal(sbx_db_backend(), "sqlite");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_comes_back_whole),
        cmocka_unit_test(test_rollback_leaves_nothing),
        cmocka_unit_test(test_config_and_counters),
        cmocka_unit_test(test_chunks_are_found_by_any_of_their_sequences),
        cmocka_unit_test(test_numbers_that_make_no_key_are_refused),
        cmocka_unit_test(test_eviction_goes_by_either_floor),
        cmocka_unit_test(test_eviction_is_bounded_per_call),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_what_is_forgotten_gives_its_space_back),
        cmocka_unit_test(test_forgetting_survives_a_restart),
        cmocka_unit_test(test_forgotten_chunks_make_room),
        cmocka_unit_test(test_a_step_takes_many_small_ones),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_backend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
