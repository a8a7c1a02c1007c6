/* The store with a database: what is stored, when, and what is read back. */
#include "stored_rig.h"

#define KIB 1024u
#define MIB (1024u * 1024u)

/* Tries until one attempt was so quick that nothing can have become old meanwhile. */
static bool was_quick(uint64_t since_us)
{
    return sbx_clock_mono_us() - since_us < SBX_STORE_AGE_US / 2;
}

/* --- when --- */

static void expect_stored(struct one *o)
{
    assert_int_equal(file_last(o->number), sbx_store_log_last(o->log));
    assert_true(sbx_store_log_is_committed(o->log));
}

static void test_stored_before_it_is_shown(void **state)
{
    struct one a, b;
    unsigned i;
    (void)state;
    one_open(&a, 1, MIB);
    one_open(&b, 2, MIB);
    sbx_store_log_watch(a.log, true);
    sbx_store_log_watch(b.log, true);
    a.then = b.then = expect_stored;
    for (i = 0; i < 20; i++) {
        put(&a, SBX_STREAM_STDOUT, 10);
        put(&a, SBX_STREAM_STDERR, 20);
        put(&b, SBX_STREAM_PTY, 5000);
        assert_int_equal(file_last(1), 2 * i);
        assert_int_equal(sbx_store_log_last(a.log), 2 * i);
        turn();
        assert_int_equal(a.commits, i + 1);
        assert_int_equal(b.commits, i + 1);
    }
    assert_int_equal(check_seen(&a, 0), 600);
    assert_int_equal(check_file(1), 600);
    assert_int_equal(check_file(2), 100000);
    one_close(&a);
    one_close(&b);
}

static void test_waits_for_its_age_when_nobody_reads(void **state)
{
    struct one a;
    uint64_t number = 0, began;
    bool stored;
    (void)state;
    do {
        one_open(&a, ++number, MIB);
        began = sbx_clock_mono_us();
        put(&a, SBX_STREAM_STDOUT, 10);
        turn();
        stored = sbx_store_log_is_committed(a.log);
        if (stored)
            assert_false(was_quick(began));
        if (stored)
            one_close(&a);
    } while (stored);
    assert_int_equal(file_rows(number), 0);
    DB_UNTIL(a.commits > 0);
    expect_stored(&a);
    assert_int_equal(check_file(number), 10);
    one_close(&a);
}

/* Without memory that outlives the server nothing waits. */
static void test_does_not_wait_in_private_memory(void **state)
{
    struct one a;
    (void)state;
    stored_close();
    u.o.shared = false;
    stored_open();
    one_open(&a, 1, MIB);
    assert_false(sbx_store_log_survives(a.log));
    put(&a, SBX_STREAM_STDOUT, 10);
    turn();
    expect_stored(&a);
    one_close(&a);
}

static void test_ended_or_hastened_is_stored_at_once(void **state)
{
    struct one a, b;
    (void)state;
    one_open(&a, 1, 10 * MIB);
    one_open(&b, 2, MIB);
    put(&a, SBX_STREAM_STDOUT, 3 * MIB); /* all of it, however much */
    sbx_store_log_hasten(a.log);
    turn();
    expect_stored(&a);
    assert_int_equal(check_file(1), 3 * MIB);
    assert_int_equal(a.commits, 3); /* transactions, none larger than it has to be */
    put(&b, SBX_STREAM_STDOUT, 10);
    turn();
    sbx_store_log_refresh(b.log);
    sbx_store_log_end(b.log);
    put(&b, SBX_STREAM_STDOUT, 10); /* of a background child */
    turn();
    expect_stored(&b);
    assert_int_equal(check_file(2), 20);
    one_close(&a);
    one_close(&b);
}

static void test_refresh_makes_all_readable(void **state)
{
    struct one a;
    (void)state;
    one_open(&a, 1, 10 * MIB);
    put(&a, SBX_STREAM_STDOUT, 5 * MIB);
    sbx_store_log_refresh(a.log);
    assert_true(a.commits > 0);
    expect_stored(&a);
    assert_int_equal(check_seen(&a, 0), 5 * MIB);
    put(&a, SBX_STREAM_STDERR, 1);
    sbx_store_log_refresh(a.log);
    assert_int_equal(check_seen(&a, 0), 5 * MIB + 1);
    assert_int_equal(check_file(1), 5 * MIB + 1);
    one_close(&a);
}

/* --- how much --- */

/* Dropped chunk by chunk: no more than the cap, and no less than that without one chunk. */
static void test_cap_of_the_file(void **state)
{
    const uint64_t cap = 64 * KIB, chunk = 8 * KIB;
    struct random rnd = {4711};
    struct one a;
    unsigned i;
    (void)state;
    one_open(&a, 1, cap);
    sbx_store_log_watch(a.log, true);
    for (i = 0; i < 200; i++) {
        put(&a, (enum sbx_log_stream)random_below(&rnd, 3), 1 + random_below(&rnd, 4000));
        turn();
        assert_true(file_bytes(1) <= cap);
        if (a.at > cap)
            assert_true(file_bytes(1) + chunk > cap);
        assert_int_equal(sbx_store_log_kept(a.log), file_bytes(1));
    }
    assert_true(a.at > 3 * cap);
    assert_int_equal(check_file(1), check_seen(&a, 0));
    assert_int_equal(sbx_store_log_offset(a.log), a.at);
    one_close(&a);
}

static void test_many_short_entries(void **state)
{
    const uint64_t cap = 16 * KIB;
    struct one a;
    unsigned i;
    (void)state;
    one_open(&a, 1, cap);
    sbx_store_log_watch(a.log, true);
    for (i = 0; i < 3 * cap / 16; i++) {
        put(&a, i % 2 == 0 ? SBX_STREAM_STDOUT : SBX_STREAM_STDERR, 1);
        if (i % 8 == 0)
            turn();
    }
    turn();
    assert_true(file_bytes(1) <= sbx_store_log_max_entries(a.log));
    assert_true(file_bytes(1) + 512 >= sbx_store_log_max_entries(a.log));
    assert_int_equal(check_seen(&a, 0), sbx_store_log_kept(a.log));
    assert_true(check_seen(&a, 0) >= check_file(1)); /* memory is not dropped entry by entry */
    one_close(&a);
}

static void test_old_entries_are_read_from_the_file(void **state)
{
    struct one a;
    struct sbx_entry e;
    uint64_t s;
    (void)state;
    one_open(&a, 1, 10 * MIB);
    sbx_store_log_watch(a.log, true);
    while (a.at < 8 * MIB) {
        put(&a, SBX_STREAM_STDOUT, 50000);
        turn();
        assert_true(sbx_tail_bytes(sbx_store_tail(u.store)) <= MIB + 3u * SBX_SEGMENT_BYTES);
    }
    assert_int_equal(check_seen(&a, 0), a.at);
    assert_int_equal(sbx_store_log_first(a.log), 1);
    /* Backwards, which is how the last lines are looked for. */
    for (s = a.seen_last + 1; sbx_store_log_read_before(a.log, s, &e); s = e.sequence)
        assert_int_equal(e.sequence, s - 1);
    assert_int_equal(s, 1);
    sbx_store_log_end(a.log);
    turn();
    assert_int_equal(sbx_tail_bytes(sbx_store_tail(u.store)), 0);
    assert_int_equal(check_seen(&a, 0), a.at);
    one_close(&a);
}

/* What the cap evicts before it is due need not be written. */
static unsigned calls; /* of SQLite */
static bool refused;

static int count_calls(void *ctx, const char *call)
{
    (void)ctx;
    (void)call;
    calls++;
    return !refused;
}

static uint64_t sequence_before(struct one *o, uint64_t sequence)
{
    struct sbx_entry e;
    return sbx_store_log_read_before(o->log, sequence, &e) ? e.sequence : 0;
}

/* What is missing costs no query for each of its entries, nor does what cannot be read. */
static void test_holes_are_jumped_on_the_way_back(void **state)
{
    struct sqlite3 *conn;
    struct one a;
    uint64_t s = 30001;
    unsigned i, n = 0, readable;
    (void)state;
    one_open(&a, 1, 10 * MIB);
    for (i = 0; i < 30000; i++) {
        put(&a, i % 2 == 0 ? SBX_STREAM_STDOUT : SBX_STREAM_STDERR, 10);
        if (i % 1000 == 999)
            sbx_store_log_refresh(a.log);
    }
    sbx_store_log_end(a.log);
    conn = db_person();
    db_exec(conn, "DELETE FROM chunks WHERE key & ((1 << 36) - 1) BETWEEN 1001 AND 29000;"
                  "UPDATE chunks SET entries = '[]' WHERE key & ((1 << 36) - 1) = 29001");
    sqlite3_close(conn);
    readable = (unsigned)db_number("SELECT sum(count) FROM chunks WHERE entries <> '[]'");
    assert_in_range(readable, 1000, 1999);
    calls = 0;
    refused = true;
    sbx_db_set_gate(count_calls, NULL);
    assert_int_equal(sequence_before(&a, s), 0);
    assert_in_range(calls, 1, 10);
    refused = false;
    calls = 0;
    while ((s = sequence_before(&a, s)) > 0)
        n++;
    assert_int_equal(n, readable);
    assert_in_range(calls, 1, 100);
    sbx_db_set_gate(NULL, NULL);
    one_close(&a);
}

static void test_a_flood_is_mostly_never_written(void **state)
{
    struct one a;
    unsigned turns = 0;
    (void)state;
    one_open(&a, 1, 256 * KIB);
    while (a.at < 32 * MIB) {
        put(&a, SBX_STREAM_STDOUT, 128 * KIB);
        turn();
        turns++;
    }
    assert_true(a.commits < turns / 4);
    sbx_store_log_refresh(a.log);
    assert_true(sbx_store_log_kept(a.log) <= 256 * KIB);
    assert_int_equal(check_seen(&a, 0), sbx_store_log_kept(a.log));
    assert_true(check_file(1) <= 256 * KIB);
    assert_int_equal(sbx_store_log_offset(a.log), a.at);
    one_close(&a);
}

/* A flood that goes on for long is stored now and then all the same. */
static void test_a_long_flood_is_stored_now_and_then(void **state)
{
    struct one a;
    (void)state;
    one_open(&a, 1, 256 * KIB);
    put(&a, SBX_STREAM_STDOUT, MIB);
    r.loop.now_us += 1000000;
    turn();
    assert_int_equal(a.commits, 1);
    assert_int_equal(check_file(1), sbx_store_log_kept(a.log));
    one_close(&a);
}

static void test_volatile_output_never_reaches_the_file(void **state)
{
    struct one a;
    (void)state;
    one_init(&a, 1, MIB);
    a.volatile_log = true;
    one_open_as(&a);
    sbx_store_record(u.store, &a.record);
    put(&a, SBX_STREAM_STDOUT, 300000);
    turn();
    assert_int_equal(a.commits, 1);
    assert_int_equal(a.stored, 1);
    assert_int_equal(check_seen(&a, 0), 300000);
    sbx_store_log_hasten(a.log);
    put(&a, SBX_STREAM_STDOUT, 10);
    turn();
    sbx_store_log_end(a.log);
    put(&a, SBX_STREAM_STDOUT, 10);
    sbx_store_save(u.store);
    assert_int_equal(check_seen(&a, 0), 300020);
    assert_int_equal(file_rows(1), 0);
    assert_int_equal(file_has_record(1), 1);
    one_close(&a);
}

/* --- all logs together --- */

static uint64_t total_of(struct one *logs, size_t n)
{
    uint64_t total = 0;
    size_t i;
    for (i = 0; i < n; i++)
        total += sbx_store_log_kept(logs[i].log);
    return total;
}

static void open_victims(struct one *logs, size_t n, uint64_t bytes)
{
    size_t i;
    for (i = 0; i < n; i++) {
        one_open(&logs[i], i + 1, MIB);
        put(&logs[i], SBX_STREAM_STDOUT, bytes);
        turn();
        sbx_store_log_refresh(logs[i].log);
        sbx_store_log_end(logs[i].log);
        u.victims[u.nvictims++] = &logs[i];
    }
}

static void close_all(struct one *logs, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++)
        one_close(&logs[i]);
}

static void test_total_takes_from_the_first_victim(void **state)
{
    struct one logs[5];
    unsigned i;
    (void)state;
    u.limits.max_log_bytes_total = 500000;
    open_victims(logs, 4, 100000);
    one_open(&logs[4], 5, MIB);
    sbx_store_log_watch(logs[4].log, true);
    for (i = 1; i <= 30; i++) {
        put(&logs[4], SBX_STREAM_STDOUT, 10000);
        turn();
        assert_true(total_of(logs, 5) <= 500000);
        assert_int_equal(sbx_store_log_kept(logs[4].log), i * 10000);
        assert_int_equal(check_file(1), sbx_store_log_kept(logs[0].log));
    }
    assert_int_equal(file_rows(1), 0);
    assert_int_equal(sbx_store_log_kept(logs[0].log), 0);
    assert_int_equal(sbx_store_log_kept(logs[2].log), 100000);
    assert_int_equal(check_seen(&logs[2], 0), 100000);
    close_all(logs, 5);
}

/* More than the total, by one log that is not stored yet: as much as fits is kept, of its end. */
static void test_total_is_less_than_one_log(void **state)
{
    struct one a;
    unsigned i;
    (void)state;
    u.limits.max_log_bytes_total = MIB;
    one_open(&a, 1, 8 * MIB);
    u.victims[u.nvictims++] = &a;
    put(&a, SBX_STREAM_STDOUT, 6 * MIB);
    for (i = 0; i < 3; i++) {
        sbx_store_log_refresh(a.log);
        turn();
    }
    assert_true(sbx_store_log_is_committed(a.log));
    assert_int_equal(sbx_store_log_offset(a.log), 6 * MIB);
    assert_true(sbx_store_log_kept(a.log) <= MIB);
    assert_true(sbx_store_log_kept(a.log) + SBX_DB_CHUNK_MAX >= MIB);
    assert_int_equal(check_seen(&a, 0), sbx_store_log_kept(a.log));
    assert_int_equal(check_file(1), sbx_store_log_kept(a.log));
    one_close(&a);
}

/* Lowered, it holds soon, however many logs it concerns. */
static void test_total_is_lowered(void **state)
{
    struct one logs[30];
    (void)state;
    open_victims(logs, 30, 10000);
    u.limits.max_log_bytes_total = 20000;
    sbx_store_limits(u.store);
    turn();
    DB_UNTIL(total_of(logs, 30) <= 20000);
    assert_int_equal(sbx_store_log_kept(logs[29].log), 10000);
    assert_int_equal(file_bytes(30), 10000);
    assert_int_equal(file_bytes(1), 0);
    close_all(logs, 30);
}

static void test_total_counts_logs_in_memory(void **state)
{
    const uint64_t total = 4 * MIB, each = 50000;
    struct one mem, kept;
    unsigned i;
    (void)state;
    u.limits.max_log_bytes_total = total;
    one_init(&mem, 1, MIB);
    mem.volatile_log = true;
    one_open_as(&mem);
    put(&mem, SBX_STREAM_STDOUT, 900000);
    turn();
    assert_int_equal(sbx_store_log_kept(mem.log), 900000);
    u.victims[u.nvictims++] = &mem;
    one_open(&kept, 2, 20 * MIB);
    u.victims[u.nvictims++] = &kept;
    sbx_store_log_watch(kept.log, true);
    for (i = 0; i < 120; i++) {
        put(&kept, SBX_STREAM_STDOUT, each);
        turn();
        /* Memory is shortened at the begin of a turn. */
        assert_true(sbx_store_log_kept(mem.log) + sbx_store_log_kept(kept.log) <= total + each);
    }
    assert_int_equal(sbx_store_log_kept(mem.log), 0);
    assert_int_equal(check_seen(&kept, 0), sbx_store_log_kept(kept.log));
    assert_true(sbx_store_log_kept(kept.log) + 2 * SBX_DB_CHUNK_MAX > total);
    assert_int_equal(check_file(2), sbx_store_log_kept(kept.log));
    one_close(&mem);
    one_close(&kept);
}

/* --- records and settings --- */

static void test_records_are_told_once_when_stored(void **state)
{
    struct one a, b;
    (void)state;
    one_open(&a, 1, MIB);
    one_open(&b, 2, MIB);
    sbx_store_record(u.store, &a.record);
    sbx_store_record(u.store, &b.record);
    sbx_store_record(u.store, &a.record);
    assert_int_equal(file_has_record(1), 0);
    assert_true(a.record.awaited);
    sbx_record_drop(&b.record);
    turn();
    assert_int_equal(a.stored, 1);
    assert_false(a.record.awaited);
    assert_int_equal(b.stored, 0);
    assert_int_equal(file_has_record(1), 1);
    assert_int_equal(file_has_record(2), 0);
    turn();
    assert_int_equal(a.stored, 1);
    a.exited = true;
    sbx_store_record(u.store, &a.record);
    turn();
    assert_int_equal(a.stored, 2);
    assert_int_equal(db_number("SELECT exited FROM process_records"), 1);
    one_close(&a);
    one_close(&b);
}

/* The record tells what is stored of the log as of the same transaction. */
static void test_record_and_log_agree(void **state)
{
    struct one a;
    (void)state;
    one_open(&a, 1, 64 * KIB);
    put(&a, SBX_STREAM_STDOUT, 200000);
    sbx_store_log_hasten(a.log);
    sbx_store_record(u.store, &a.record);
    turn();
    db_expect("SELECT log_first = min(key & ((1<<36)-1)), log_first_offset = min(\"offset\"), "
              "log_last = max((key & ((1<<36)-1)) + count - 1), "
              "log_end_offset = max(\"offset\" + length(data)) FROM process_records, chunks",
              "1|1|1|1\n");
    one_close(&a);
}

static void test_forget(void **state)
{
    struct one a, b;
    uint64_t highest;
    (void)state;
    one_open(&a, sbx_store_next_number(u.store), MIB);
    one_open(&b, sbx_store_next_number(u.store), MIB);
    highest = b.number;
    put(&a, SBX_STREAM_STDOUT, 1000);
    put(&b, SBX_STREAM_STDOUT, 1000);
    sbx_store_record(u.store, &a.record);
    sbx_store_record(u.store, &b.record);
    turn();
    sbx_store_save(u.store);
    assert_int_equal(file_bytes(b.number), 1000);
    sbx_store_forget(u.store, b.number);
    one_close(&b);
    turn();
    assert_int_equal(file_has_record(b.number), 0);
    DB_UNTIL(file_rows(b.number) == 0);
    assert_int_equal(file_bytes(a.number), 1000);
    one_close(&a);
    stored_close();
    stored_open(); /* without the memory of the first */
    assert_true(sbx_store_next_number(u.store) > highest);
}

/* Timers do not fire here: nothing is tidied in between. */
static void test_forgetting_fast_does_not_grow_the_file(void **state)
{
    unsigned i;
    (void)state;
    for (i = 0; i < 20; i++) {
        struct one a;
        one_open(&a, sbx_store_next_number(u.store), 2 * MIB);
        sbx_store_record(u.store, &a.record);
        put(&a, SBX_STREAM_STDOUT, MIB);
        sbx_store_log_end(a.log);
        turn();
        assert_int_equal(file_bytes(a.number), MIB);
        sbx_store_forget(u.store, a.number);
        one_close(&a);
        turn();
    }
    assert_true(db_number("SELECT page_count FROM pragma_page_count") * 8192 < 5 * MIB);
}

/* Somebody reads it, slowly: what is in the file stays until that is done, and goes then. */
static void test_a_forgotten_log_can_be_read_to_its_end(void **state)
{
    struct one a, other;
    unsigned i;
    (void)state;
    one_open(&a, sbx_store_next_number(u.store), 4 * MIB);
    one_open(&other, sbx_store_next_number(u.store), MIB);
    sbx_store_record(u.store, &a.record);
    put(&a, SBX_STREAM_STDOUT, 3 * MIB);
    sbx_store_log_end(a.log);
    turn();
    sbx_store_log_forget(a.log);
    for (i = 0; i < 20; i++) {
        put(&other, SBX_STREAM_STDOUT, 1000);
        turn();
        while (sbx_db_tidy(sbx_store_db(u.store)) > 0)
            continue;
    }
    assert_int_equal(file_has_record(a.number), 0);
    assert_int_equal(check_seen(&a, 0), 3 * MIB);
    one_close(&a);
    while (sbx_db_tidy(sbx_store_db(u.store)) > 0)
        continue;
    assert_int_equal(file_bytes(a.number), 0);
    assert_int_equal(db_number("SELECT count(*) FROM forgotten"), 0);
    one_close(&other);
}

/* Also what is forgotten last is forgotten in the file. */
static void test_forget_at_the_end(void **state)
{
    struct one logs[40];
    unsigned i;
    (void)state;
    for (i = 0; i < 40; i++) {
        one_open(&logs[i], sbx_store_next_number(u.store), MIB);
        sbx_store_record(u.store, &logs[i].record);
    }
    turn();
    assert_int_equal(db_number("SELECT count(*) FROM process_records"), 40);
    for (i = 0; i < 40; i++) {
        sbx_store_forget(u.store, logs[i].number);
        one_close(&logs[i]);
    }
    stored_close();
    assert_int_equal(db_number("SELECT count(*) FROM process_records"), 0);
    stored_open();
    assert_int_equal(sbx_store_next_number(u.store), 41);
}

static void test_numbers(void **state)
{
    (void)state;
    assert_int_equal(sbx_store_next_number(u.store), 1);
    sbx_store_number_taken(u.store, 10);
    sbx_store_number_taken(u.store, 5);
    assert_int_equal(sbx_store_next_number(u.store), 11);
    crash(NULL, 0, true);
    stored_open();
    assert_int_equal(sbx_store_next_number(u.store), 12);
}

static void test_limits_round_trip(void **state)
{
    struct sbx_limits l, before;
    (void)state;
    sbx_limits_default(&l);
    before = l;
    assert_int_equal(sbx_store_load_limits(u.store, &l), 0);
    assert_memory_equal(&l, &before, sizeof l);
    u.limits = (struct sbx_limits){11, 12, 13, 14, 15, 16, 17, 18};
    sbx_store_limits(u.store);
    turn();
    assert_int_equal(db_number("SELECT count(*) FROM config"), 8);
    crash(NULL, 0, false);
    before = u.limits;
    stored_open();
    assert_int_equal(sbx_store_load_limits(u.store, &l), 0);
    assert_memory_equal(&l, &before, sizeof l);
    /* What makes no sense, e.g. since somebody edited it, is not taken. */
    before = u.limits = (struct sbx_limits){1, 2, 3, 4, 5, 6, 7, 8};
    {
        struct sqlite3 *conn = db_person();
        db_exec(conn, "UPDATE settings SET value = 0 WHERE name = 'maxOutputBytes'");
        sqlite3_close(conn);
    }
    assert_int_equal(sbx_store_load_limits(u.store, &u.limits), 0);
    assert_memory_equal(&u.limits, &before, sizeof l);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stored_setup, stored_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stored_before_it_is_shown),
        TEST(test_waits_for_its_age_when_nobody_reads),
        TEST(test_does_not_wait_in_private_memory),
        TEST(test_ended_or_hastened_is_stored_at_once),
        TEST(test_refresh_makes_all_readable),
        TEST(test_cap_of_the_file),
        TEST(test_many_short_entries),
        TEST(test_old_entries_are_read_from_the_file),
        TEST(test_holes_are_jumped_on_the_way_back),
        TEST(test_a_flood_is_mostly_never_written),
        TEST(test_a_long_flood_is_stored_now_and_then),
        TEST(test_volatile_output_never_reaches_the_file),
        TEST(test_total_takes_from_the_first_victim),
        TEST(test_total_is_less_than_one_log),
        TEST(test_total_is_lowered),
        TEST(test_total_counts_logs_in_memory),
        TEST(test_records_are_told_once_when_stored),
        TEST(test_record_and_log_agree),
        TEST(test_forget),
        TEST(test_forgetting_fast_does_not_grow_the_file),
        TEST(test_a_forgotten_log_can_be_read_to_its_end),
        TEST(test_forget_at_the_end),
        TEST(test_numbers),
        TEST(test_limits_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
