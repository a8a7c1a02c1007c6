/* One store after the other on the same directory, with the memory of the first and without. */
#include "stored_rig.h"

#define KIB 1024u
#define MIB (1024u * 1024u)

static void store_record(struct one *o)
{
    sbx_store_record(u.store, &o->record);
    turn();
}

/* A process of which the last `unsaved` bytes are in memory alone. */
static void run_before(struct one *o, uint64_t cap, uint64_t saved, uint64_t unsaved)
{
    one_open_slot(o, sbx_store_next_number(u.store), cap);
    store_record(o);
    put(o, SBX_STREAM_STDOUT, saved);
    sbx_store_log_refresh(o->log);
    put(o, SBX_STREAM_STDERR, unsaved);
}

static void test_unsaved_bytes_are_found_and_stored(void **state)
{
    struct one a, *all[] = {&a};
    uint64_t last;
    (void)state;
    run_before(&a, 10 * MIB, 700000, 300000);
    last = a.slot->last;
    assert_true(last > sbx_store_log_last(a.log));
    assert_int_equal(a.slot->end_offset, 1000000);
    assert_int_equal(check_file(1), 700000);
    crash(all, 1, true);
    stored_open();
    one_restore(&a, true);
    assert_int_equal(sbx_store_log_offset(a.log), 1000000);
    DB_UNTIL(sbx_store_log_is_committed(a.log));
    assert_int_equal(sbx_store_log_last(a.log), last);
    assert_int_equal(check_seen(&a, 0), 1000000);
    put(&a, SBX_STREAM_STDOUT, 500);
    sbx_store_log_refresh(a.log);
    assert_int_equal(sbx_store_log_last(a.log), last + 1);
    assert_int_equal(check_seen(&a, 0), 1000500);
    assert_int_equal(check_file(1), 1000500);
    one_close(&a);
}

static int refuse_all(void *ctx, const char *call)
{
    (void)ctx;
    (void)call;
    return 0;
}

/* The file does not say what it has of it just then: nothing is stored twice. */
static void test_the_file_cannot_be_asked_at_first(void **state)
{
    struct one a, *all[] = {&a};
    struct known k = {.number = 1};
    struct sbx_store_log_options lo;
    uint64_t last;
    unsigned i;
    (void)state;
    one_open_slot(&a, sbx_store_next_number(u.store), MIB);
    store_record(&a);
    for (i = 0; i < 10; i++) { /* chunks that are not those of the segment */
        put(&a, SBX_STREAM_STDOUT, 5000);
        sbx_store_log_refresh(a.log);
    }
    put(&a, SBX_STREAM_STDERR, 5000);
    last = a.slot->last;
    crash(all, 1, true);
    stored_open();
    assert_int_equal(sbx_db_load(sbx_store_db(u.store), take_known, &k), 0);
    a.slot = sbx_tail_slot_find(sbx_store_tail(u.store), 1);
    lo = one_options(&a);
    lo.grows = true;
    k.p.command = k.p.args = k.p.env_names = k.p.cwd = k.p.boot_id = SBX_STR("");
    sbx_db_set_gate(refuse_all, NULL);
    a.record.log = a.log = sbx_store_log_restore(u.store, &lo, &k.p);
    u.nopen++;
    sbx_db_set_gate(NULL, NULL);
    assert_non_null(a.log);
    DB_UNTIL(sbx_store_log_is_committed(a.log));
    assert_int_equal(sbx_store_log_last(a.log), last);
    assert_int_equal(check_file(1), 55000);
    assert_int_equal(db_number("SELECT count(DISTINCT sequence) FROM logs"), last);
    assert_int_equal(db_number("SELECT count(*) FROM logs"), last);
    assert_int_equal(check_seen(&a, 0), 55000);
    one_close(&a);
}

/* It dies inside of read(2): when the bytes had come they are found, else nothing is made up. */
static void test_died_while_reading(void **state)
{
    struct one a, *all[] = {&a};
    unsigned came;
    size_t room, i;
    (void)state;
    run_before(&a, MIB, 1000, 10);
    for (came = 0; came < 2; came++) {
        uint8_t *to = sbx_store_log_reserve(a.log, &room);
        assert_true(to != NULL && room >= 5000);
        sbx_store_log_expect(a.log, 5000, SBX_STREAM_STDERR, sbx_clock_wall_ms());
        for (i = 0; came == 1 && i < 5000; i++)
            to[i] = db_byte(1, a.at + i);
        a.at += came == 1 ? 5000 : 0;
        crash(all, 1, true);
        stored_open();
        one_restore(&a, true);
        assert_int_equal(sbx_store_log_offset(a.log), a.at);
    }
    sbx_store_log_refresh(a.log);
    assert_int_equal(check_seen(&a, 0), 6010);
    assert_int_equal(check_file(1), 6010);
    one_close(&a);
}

/* Readers of the first store were shown a part; the second shows no other under those numbers. */
static void test_what_was_shown_stays_as_it_was(void **state)
{
    struct one a, *all[] = {&a};
    struct sbx_entry e;
    uint64_t offsets[40], s;
    (void)state;
    one_open_slot(&a, 1, MIB);
    store_record(&a);
    sbx_store_log_watch(a.log, true);
    for (s = 1; s < 40; s++) {
        put(&a, SBX_STREAM_STDOUT, 100 + s);
        turn();
        assert_true(sbx_store_log_read(a.log, s, &e));
        offsets[s] = e.offset;
    }
    put(&a, SBX_STREAM_STDOUT, 10); /* of the turn in which it died */
    crash(all, 1, true);
    stored_open();
    one_restore(&a, true);
    put(&a, SBX_STREAM_STDOUT, 10);
    sbx_store_log_refresh(a.log);
    for (s = 1; s < 40; s++) {
        assert_true(sbx_store_log_read(a.log, s, &e));
        assert_int_equal(e.offset, offsets[s]);
        assert_int_equal(e.len, 100 + s);
    }
    assert_int_equal(check_seen(&a, 0), a.at);
    assert_int_equal(check_file(1), a.at);
    one_close(&a);
}

/* Without the memory (the machine went down) what is in the file is left, and no number is given
 * out again. */
static void test_without_memory(void **state)
{
    struct one a, *all[] = {&a};
    uint64_t last;
    (void)state;
    run_before(&a, 10 * MIB, 700000, 300000);
    last = sbx_store_log_last(a.log);
    crash(all, 1, false);
    stored_open();
    one_restore(&a, false);
    assert_int_equal(sbx_store_log_last(a.log), last);
    assert_int_equal(sbx_store_log_offset(a.log), 700000);
    assert_int_equal(check_seen(&a, 0), 700000);
    assert_int_equal(sbx_store_next_number(u.store), 2);
    one_close(&a);
}

/* The record may know of more than the file has: numbers that were given out are not used again,
 * and what is missing is a gap. */
static void test_without_memory_after_a_late_record(void **state)
{
    struct one a, *all[] = {&a};
    uint64_t last;
    (void)state;
    do { /* the record tells of output that is not due yet */
        run_before(&a, MIB, 10000, 5000);
        store_record(&a);
        last = sbx_store_log_last(a.log);
        if (sbx_store_log_is_committed(a.log))
            one_close(&a);
    } while (a.log == NULL);
    crash(all, 1, false);
    stored_open();
    one_restore(&a, true);
    assert_int_equal(sbx_store_log_offset(a.log), 15000);
    put(&a, SBX_STREAM_STDOUT, 100);
    sbx_store_log_refresh(a.log);
    assert_int_equal(sbx_store_log_last(a.log), last + 2);
    assert_int_equal(check_seen(&a, 1), 10100);
    assert_int_equal(check_file(a.number), 10100);
    assert_int_equal(db_number(file_sql("SELECT sum(bytes) FROM gap_records WHERE process = %llu",
                                        a.number)), 5000);
    one_close(&a);
}

/* A record can be younger than the bytes, and the bytes younger than the record. */
static void test_the_file_is_ahead_of_the_record(void **state)
{
    struct one a, *all[] = {&a};
    (void)state;
    run_before(&a, MIB, 10, 0);
    store_record(&a);
    put(&a, SBX_STREAM_STDOUT, 90000);
    sbx_store_save(u.store);
    assert_int_equal(db_number("SELECT log_end_offset FROM process_records"), 10);
    crash(all, 1, false);
    stored_open();
    one_restore(&a, true);
    assert_int_equal(sbx_store_log_offset(a.log), 90010);
    assert_int_equal(check_seen(&a, 0), 90010);
    one_close(&a);
}

/* One after the other, each dies in the middle of something. */
static void test_many_generations(void **state)
{
    struct random rnd = {99};
    struct one a, *all[] = {&a};
    unsigned i, n;
    (void)state;
    run_before(&a, 200 * KIB, 5000, 5000);
    for (i = 0; i < 25; i++) {
        crash(all, 1, true);
        stored_open();
        one_restore(&a, true);
        assert_int_equal(sbx_store_log_offset(a.log), a.at);
        for (n = (unsigned)random_below(&rnd, 20); n > 0; n--) {
            put(&a, (enum sbx_log_stream)random_below(&rnd, 3), 1 + random_below(&rnd, 9000));
            if (random_below(&rnd, 2) == 0)
                turn();
            if (random_below(&rnd, 8) == 0)
                sbx_store_log_refresh(a.log);
        }
    }
    sbx_store_log_refresh(a.log);
    assert_int_equal(check_seen(&a, 0), sbx_store_log_kept(a.log));
    assert_int_equal(check_file(1), file_bytes(1));
    assert_true(file_bytes(1) <= 200 * KIB && file_bytes(1) + 13 * KIB > 200 * KIB);
    one_close(&a);
}

/* Left in order: the successor finds nothing to do, and all of it. */
static void test_leave(void **state)
{
    struct one a;
    (void)state;
    run_before(&a, MIB, 1000, 1000);
    u.o.memory = dup(sbx_tail_fd(sbx_store_tail(u.store)));
    sbx_store_leave(u.store);
    assert_int_equal(check_file(1), 2000);
    one_close(&a);
    stored_close();
    stored_open();
    one_restore(&a, true);
    assert_non_null(a.slot);
    assert_true(sbx_store_log_is_committed(a.log));
    assert_int_equal(check_seen(&a, 0), 2000);
    put(&a, SBX_STREAM_STDOUT, 1);
    sbx_store_log_refresh(a.log);
    assert_int_equal(check_seen(&a, 0), 2001);
    one_close(&a);
}

static int count_reads(void *ctx, const char *call)
{
    if (strcmp(call, "step") == 0)
        ++*(unsigned *)ctx;
    return 1;
}

/* Starting costs no look into the file for a log that nobody reads. */
static void test_exited_logs_ask_when_they_are_read(void **state)
{
    struct known k = {.number = 1};
    struct sbx_store_log_options lo;
    struct one a, *all[] = {&a};
    unsigned reads = 0;
    (void)state;
    one_open(&a, 1, MIB);
    put(&a, SBX_STREAM_STDOUT, 300000);
    a.exited = true;
    sbx_store_log_hasten(a.log);
    store_record(&a);
    sbx_store_log_end(a.log);
    put(&a, SBX_STREAM_STDERR, 77); /* the record does not tell of it */
    turn();
    assert_int_equal(check_file(1), 300077);
    crash(all, 1, true);
    stored_open();
    assert_int_equal(sbx_db_load(sbx_store_db(u.store), take_known, &k), 0);
    lo = one_options(&a);
    sbx_db_set_gate(count_reads, &reads);
    a.log = sbx_store_log_restore(u.store, &lo, &k.p);
    u.nopen++;
    sbx_store_log_end(a.log);
    turn();
    assert_int_equal(reads, 0);
    assert_int_equal(sbx_store_log_kept(a.log), 300000);
    sbx_store_log_refresh(a.log);
    assert_true(reads > 0);
    sbx_db_set_gate(NULL, NULL);
    assert_int_equal(sbx_store_log_kept(a.log), 300077);
    assert_int_equal(check_seen(&a, 0), 300077);
    assert_int_equal(sbx_tail_bytes(sbx_store_tail(u.store)), 0);
    one_close(&a);
}

/* What is kept in memory alone outlives the server, too, as long as that memory does. */
static void test_volatile_output(void **state)
{
    struct one a, *all[] = {&a};
    (void)state;
    one_init(&a, 1, MIB);
    a.volatile_log = true;
    a.slot = sbx_tail_slot_new(sbx_store_tail(u.store), SBX_SLOT_PROCESS, 1);
    one_open_as(&a);
    put(&a, SBX_STREAM_STDOUT, 5000);
    store_record(&a);
    put(&a, SBX_STREAM_STDOUT, 5000);
    crash(all, 1, true);
    stored_open();
    one_restore(&a, true);
    turn();
    assert_int_equal(check_seen(&a, 0), 10000);
    crash(all, 1, false);
    stored_open();
    one_restore(&a, true);
    assert_true(sbx_store_log_first(a.log) > sbx_store_log_last(a.log));
    assert_int_equal(sbx_store_log_offset(a.log), 5000); /* as the record tells */
    put(&a, SBX_STREAM_STDOUT, 1);
    assert_int_equal(file_rows(1), 0);
    one_close(&a);
}

static void test_memory_that_makes_no_sense(void **state)
{
    struct one a;
    char nonsense[100] = {1, 2, 3};
    FILE *f;
    (void)state;
    stored_close();
    f = tmpfile();
    assert_non_null(f);
    assert_int_equal(write(fileno(f), nonsense, sizeof nonsense), sizeof nonsense);
    u.o.memory = dup(fileno(f));
    (void)fclose(f);
    u.diag.level = SBX_DIAG_ERROR;
    stored_open();
    one_open(&a, 1, MIB);
    put(&a, SBX_STREAM_STDOUT, 10);
    sbx_store_log_refresh(a.log);
    assert_int_equal(check_seen(&a, 0), 10);
    one_close(&a);
}

/* --- memory --- */

static void restore_with_little_memory(void *ctx, const struct gate *g)
{
    struct one *o = ctx;
    const struct sbx_store_log_options lo = one_options(o);
    struct known k = {.number = 1};
    struct sbx_store_log *log = NULL;
    u.o.memory = dup(u.o.memory);
    if (!stored_try_open()) {
        assert_true(gate_hit(g));
        return;
    }
    if (sbx_db_load(sbx_store_db(u.store), take_known, &k) == 0 && k.found)
        log = sbx_store_log_restore(u.store, &lo, &k.p);
    assert_true(log != NULL || gate_hit(g));
    if (log != NULL) {
        sbx_store_log_refresh(log);
        sbx_store_log_close(log);
    }
    stored_close();
}

static void test_out_of_memory(void **state)
{
    struct one a, *all[] = {&a};
    int memory;
    (void)state;
    run_before(&a, MIB, 200000, 200000);
    crash(all, 1, true);
    memory = u.o.memory;
    for (;;) {
        static struct gate g = {0, 1, true};
        g.asked = 0;
        u.o.memory = memory;
        sbx_mem_set_gate(gate_ask, &g);
        restore_with_little_memory(&a, &g);
        sbx_mem_set_gate(NULL, NULL);
        if (!gate_hit(&g))
            break;
        g.fail_at++;
    }
    u.o.memory = memory;
}

/* --- what the earlier server had no time for --- */

static void test_space_is_given_back_without_a_write(void **state)
{
    struct one logs[20];
    unsigned i;
    (void)state;
    for (i = 0; i < 20; i++) {
        one_open(&logs[i], i + 1, 2u << 20);
        sbx_store_record(u.store, &logs[i].record);
        put(&logs[i], SBX_STREAM_STDOUT, 1u << 20);
        sbx_store_log_end(logs[i].log);
        turn();
    }
    for (i = 0; i < 20; i++) {
        sbx_store_forget(u.store, i + 1);
        one_close(&logs[i]);
    }
    turn();
    stored_close();
    assert_true(db_file_size(r.file) > 20 << 20);
    stored_open();
    DB_UNTIL(db_file_size(r.file) < 2 << 20);
    assert_int_equal(db_number("SELECT count(*) FROM chunks"), 0);
    assert_int_equal(db_number("SELECT count(*) FROM forgotten"), 0);
    /* Then nothing wakes it up any more. */
    sbx_loop_cancel_timer(&r.loop, &r.tick);
    while (r.loop.timers.root != NULL)
        sbx_loop_turn(&r.loop);
    stored_close();
    stored_open();
    assert_null(r.loop.timers.root);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stored_setup, stored_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unsaved_bytes_are_found_and_stored),
        TEST(test_the_file_cannot_be_asked_at_first),
        TEST(test_died_while_reading),
        TEST(test_what_was_shown_stays_as_it_was),
        TEST(test_without_memory),
        TEST(test_without_memory_after_a_late_record),
        TEST(test_the_file_is_ahead_of_the_record),
        TEST(test_many_generations),
        TEST(test_leave),
        TEST(test_exited_logs_ask_when_they_are_read),
        TEST(test_volatile_output),
        TEST(test_memory_that_makes_no_sense),
        TEST(test_space_is_given_back_without_a_write),
        TEST(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
