/* The store when the database fails: it goes on in memory, says so, and resumes by itself. */
#include "stored_rig.h"

#include "proc/db_wal.h"

#include <pthread.h>
#include <stdatomic.h>

#define KIB 1024u
#define MIB (1024u * 1024u)

static int refuse_all(void *ctx, const char *call)
{
    (void)ctx;
    (void)call;
    return 0;
}

/* It can be stored again, and by now it is. */
static void until_storing(void)
{
    if (r.loop.held || sbx_store_trouble(u.store) != NULL)
        DB_UNTIL(!r.loop.held && sbx_store_trouble(u.store) == NULL);
}

/* --- every call in turn --- */

struct fault {
    atomic_ulong asked;
    unsigned long fail_at; /* counts from 1 */
    bool and_later;
};

static int fault_ask(void *ctx, const char *call)
{
    struct fault *f = ctx;
    unsigned long n = atomic_fetch_add(&f->asked, 1) + 1;
    (void)call;
    return f->and_later ? n < f->fail_at : n != f->fail_at;
}

/* Everything is shown, and what is not in the file has a reason. After some failures the thread
 * that syncs has to do something first. */
static void expect_shown(struct one *o)
{
    sbx_store_log_refresh(o->log);
    turn();
    if (r.loop.held)
        DB_UNTIL(!r.loop.held && sbx_store_log_is_committed(o->log));
    assert_true(sbx_store_log_is_committed(o->log));
    assert_false(o->record.awaited);
    if (file_last(o->number) < sbx_store_log_last(o->log))
        assert_non_null(sbx_store_trouble(u.store));
    if (sbx_store_trouble(u.store) != NULL)
        assert_true(strlen(sbx_store_trouble(u.store)) > 0);
}

static void write_some(struct one *o)
{
    unsigned i;
    sbx_store_record(u.store, &o->record);
    for (i = 0; i < 3; i++) {
        put(o, SBX_STREAM_STDOUT, 9000);
        put(o, SBX_STREAM_STDERR, 10);
        expect_shown(o);
    }
}

/* A read that fails gives nothing wrong. There may be a hole as well: while nothing can be stored,
 * the cap evicts from memory what the file does not have. */
static void read_some(struct one *o)
{
    struct sbx_entry e;
    uint64_t s = sbx_store_log_first(o->log);
    for (; sbx_store_log_read_from(o->log, s, &e); s = e.sequence + 1)
        assert_int_equal(e.data[e.len - 1], db_byte(o->number, e.offset + e.len - 1));
}

/* The failure is gone: all that was kept is in the file. */
static void recover(struct one *o)
{
    sbx_db_set_gate(NULL, NULL);
    sbx_store_save(u.store);
    turn();
    until_storing();
    sbx_store_log_refresh(o->log);
    if (file_last(o->number) < sbx_store_log_last(o->log))
        DB_UNTIL(file_last(o->number) == sbx_store_log_last(o->log));
    assert_int_equal(file_has_record(o->number), 1);
    assert_int_equal(check_file(o->number), file_bytes(o->number));
    assert_int_equal(check_seen(o, 0), sbx_store_log_kept(o->log));
}

/* true: no call was refused. */
static bool first_life(struct fault *f)
{
    struct one a, gone;
    sbx_db_set_gate(fault_ask, f);
    if (!stored_try_open()) {
        assert_true(f->asked >= f->fail_at && strlen(r.err.text) > 0);
        return false;
    }
    one_open(&a, 1, 32 * KIB);
    one_open(&gone, 2, MIB);
    write_some(&a);
    write_some(&gone);
    sbx_store_forget(u.store, 2);
    one_close(&gone);
    sbx_store_limits(u.store);
    turn();
    write_some(&a); /* beyond its cap */
    sbx_store_log_end(a.log);
    read_some(&a);
    recover(&a);
    assert_int_equal(a.stored, 2);
    assert_int_equal(file_has_record(2), 0);
    assert_int_equal(db_number("SELECT count(*) FROM config"), 8);
    one_close(&a);
    sbx_db_set_gate(fault_ask, f);
    stored_close();
    return f->asked < f->fail_at;
}

static unsigned long each_fault(bool (*life)(struct fault *f), unsigned long step)
{
    struct fault f = {.fail_at = 1};
    bool whole = false;
    while (!whole) {
        stored_init();
        f.asked = 0;
        whole = life(&f);
        sbx_db_set_gate(NULL, NULL);
        if (u.store != NULL)
            stored_close();
        db_rig_deinit();
        if (f.and_later)
            f.fail_at += step;
        f.and_later = !f.and_later;
    }
    return f.asked;
}

static void test_every_call_fails_once_and_from_then_on(void **state)
{
    (void)state;
    assert_true(each_fault(first_life, 1) > 100);
}

static bool second_life(struct fault *f)
{
    struct one a, *all[] = {&a};
    struct known k = {.number = 1};
    struct sbx_store_log_options lo;
    stored_open();
    one_open_slot(&a, 1, 64 * KIB);
    write_some(&a);
    put(&a, SBX_STREAM_PTY, 10000);
    crash(all, 1, true);
    stored_open();
    a.slot = sbx_tail_slot_find(sbx_store_tail(u.store), 1);
    assert_int_equal(sbx_db_load(sbx_store_db(u.store), take_known, &k), 0);
    k.p = (struct sbx_db_process){.number = 1, .log_cap = k.p.log_cap, .log_first = k.p.log_first,
                                  .log_first_offset = k.p.log_first_offset,
                                  .log_last = k.p.log_last,
                                  .log_end_offset = k.p.log_end_offset};
    lo = one_options(&a);
    sbx_db_set_gate(fault_ask, f);
    a.log = sbx_store_log_restore(u.store, &lo, &k.p);
    u.nopen++;
    assert_non_null(a.log);
    write_some(&a);
    read_some(&a);
    recover(&a);
    assert_int_equal(sbx_store_log_offset(a.log), a.at);
    one_close(&a);
    return f->asked < f->fail_at;
}

static void test_every_call_fails_while_restoring(void **state)
{
    (void)state;
    assert_true(each_fault(second_life, 1) > 30);
}

/* --- degraded --- */

static void test_goes_on_in_memory_and_resumes_by_itself(void **state)
{
    struct one a, b;
    unsigned i;
    (void)state;
    one_open(&a, 1, 10 * MIB);
    one_open(&b, 2, MIB);
    sbx_store_log_watch(a.log, true);
    put(&a, SBX_STREAM_STDOUT, 1000);
    turn();
    sbx_db_set_gate(refuse_all, NULL);
    for (i = 0; i < 50; i++) {
        put(&a, SBX_STREAM_STDOUT, 50000);
        put(&b, SBX_STREAM_STDERR, 5);
        turn();
        assert_true(sbx_store_log_is_committed(a.log));
        assert_int_equal(a.commits, i + 2);
        assert_non_null(strstr(sbx_store_trouble(u.store), "cannot"));
    }
    sbx_store_record(u.store, &a.record);
    turn();
    assert_int_equal(a.stored, 1);
    assert_false(r.loop.held);
    assert_int_equal(check_seen(&b, 0), 250);
    assert_int_equal(file_bytes(1), 1000);
    sbx_db_set_gate(NULL, NULL);
    until_storing();
    DB_UNTIL(file_last(1) == sbx_store_log_last(a.log) && file_last(2) == 50);
    assert_int_equal(check_file(1), 2501000);
    assert_int_equal(check_file(2), 250);
    assert_int_equal(file_has_record(1), 1);
    assert_int_equal(a.stored, 1);
    assert_int_equal(check_seen(&a, 0), 2501000);
    one_close(&a);
    one_close(&b);
}

/* It lasts for long: memory is bounded, the oldest is given up, and the file tells of it. */
static void test_memory_is_bounded_and_the_file_has_a_gap(void **state)
{
    struct one a, b;
    uint64_t lost;
    (void)state;
    stored_close();
    u.o.most_memory = MIB;
    stored_open();
    one_open(&a, 1, 20 * MIB);
    one_open(&b, 2, 20 * MIB);
    sbx_store_log_watch(a.log, true);
    put(&a, SBX_STREAM_STDOUT, 300000);
    turn();
    sbx_db_set_gate(refuse_all, NULL);
    while (a.at < 5 * MIB) {
        put(&a, SBX_STREAM_STDOUT, 50000);
        put(&b, SBX_STREAM_STDOUT, 100);
        turn();
        assert_true(sbx_tail_bytes(sbx_store_tail(u.store)) <= MIB + 2 * SBX_SEGMENT_BYTES);
    }
    sbx_db_set_gate(NULL, NULL);
    until_storing();
    DB_UNTIL(file_last(1) == sbx_store_log_last(a.log));
    lost = (uint64_t)db_number("SELECT sum(bytes) FROM gaps");
    assert_int_equal(db_number("SELECT count(*) FROM gaps"), 1);
    assert_true(lost > 3 * MIB);
    assert_int_equal(check_file(1), a.at - lost);
    assert_int_equal(check_seen(&a, 1), a.at - lost);
    assert_int_equal(check_seen(&b, 0), b.at);
    put(&a, SBX_STREAM_STDOUT, 10);
    turn();
    assert_int_equal(check_file(1), a.at - lost);
    one_close(&a);
    one_close(&b);
}

/* However many they are, and however little each has: those that have ended give up all they
 * have, before others give up anything. */
static void test_memory_is_bounded_whatever_the_number(void **state)
{
    struct one logs[60];
    uint64_t lost = 0, lost_of_running = 0;
    unsigned i;
    (void)state;
    stored_close();
    u.o.most_memory = 4 * MIB;
    stored_open();
    for (i = 0; i < 60; i++) {
        one_open(&logs[i], i + 1, MIB);
        put(&logs[i], SBX_STREAM_STDOUT, 1000);
        sbx_store_log_refresh(logs[i].log);
    }
    sbx_db_set_gate(refuse_all, NULL);
    for (i = 0; i < 60; i++) {
        put(&logs[i], SBX_STREAM_STDERR, 200000);
        sbx_store_log_refresh(logs[i].log);
        if (i % 2 == 0)
            sbx_store_log_end(logs[i].log);
        assert_true(sbx_store_log_is_committed(logs[i].log));
        /* A segment that is half full counts as it is. */
        assert_true(sbx_tail_bytes(sbx_store_tail(u.store)) <= 10 * MIB);
    }
    sbx_db_set_gate(NULL, NULL);
    until_storing();
    DB_UNTIL(sbx_list_empty(&r.loop.tasks[SBX_PHASE_COMMIT]));
    for (i = 0; i < 60; i++) {
        uint64_t gap = (uint64_t)db_number(file_sql("SELECT coalesce(sum(bytes), 0) FROM "
                                                    "gap_records WHERE process = %llu", i + 1));
        assert_int_equal(check_file(i + 1) + gap, logs[i].at);
        lost += gap;
        lost_of_running += i % 2 == 0 ? 0 : gap;
        put(&logs[i], SBX_STREAM_STDOUT, 10);
        sbx_store_log_refresh(logs[i].log);
        assert_int_equal(check_file(i + 1) + gap, logs[i].at);
        assert_int_equal(check_seen(&logs[i], gap > 0), logs[i].at - gap);
    }
    assert_true(lost > 7 * MIB && lost < 9 * MIB);
    assert_true(lost_of_running < 3 * MIB);
    for (i = 0; i < 60; i++)
        one_close(&logs[i]);
}

/* While all is well nothing is lost to readers that like to find things in memory. */
static void test_what_is_stored_goes_first(void **state)
{
    struct one logs[4], ended;
    unsigned i;
    (void)state;
    stored_close();
    u.o.most_memory = 2 * MIB;
    stored_open();
    for (i = 0; i < 4; i++) {
        one_open(&logs[i], i + 1, 4 * MIB);
        sbx_store_log_watch(logs[i].log, true);
        put(&logs[i], SBX_STREAM_STDOUT, 900000);
        turn();
        assert_true(sbx_store_log_is_committed(logs[i].log));
    }
    one_open(&ended, 5, MIB);
    put(&ended, SBX_STREAM_STDOUT, 200000);
    sbx_store_log_end(ended.log);
    for (i = 0; i < 4; i++)
        put(&logs[i], SBX_STREAM_STDOUT, 200000);
    turn();
    assert_null(sbx_store_trouble(u.store));
    assert_int_equal(check_file(5), 200000);
    assert_int_equal(check_seen(&ended, 0), 200000);
    for (i = 0; i < 4; i++) {
        assert_int_equal(check_seen(&logs[i], 0), 1100000);
        one_close(&logs[i]);
    }
    one_close(&ended);
}

/* --- storing again --- */

#define BACK 12u

static struct {
    struct one logs[BACK];
    uint64_t bytes; /* in the file, when it was looked at last */
} back;

/* Within one turn: the attempt of the timer, and those of the two phases COMMIT. */
static bool has_followed(void)
{
    uint64_t bytes = 0, least = UINT64_MAX, most = 0, in_file;
    unsigned i, ends = 0;
    for (i = 0; i < BACK; i++) {
        bool ended = file_has_end(i + 1);
        in_file = file_bytes(i + 1);
        bytes += in_file;
        least = in_file < least ? in_file : least;
        most = in_file > most ? in_file : most;
        ends += ended;
        if (ended)
            assert_int_equal(in_file, back.logs[i].at);
    }
    assert_true(bytes - back.bytes <= 3 * (2 * MIB + SBX_DB_CHUNK_MAX));
    assert_true(most - least <= 2 * MIB + SBX_DB_CHUNK_MAX);
    back.bytes = bytes;
    return ends == BACK;
}

/* What could not be stored for long is not stored in one long turn; none waits for all of
 * another; and no end is in the file before the output. */
static void test_what_waited_follows_turn_by_turn(void **state)
{
    unsigned i;
    (void)state;
    back.bytes = 0;
    sbx_db_set_gate(refuse_all, NULL);
    for (i = 0; i < BACK; i++) {
        one_open(&back.logs[i], i + 1, 20 * MIB);
        put(&back.logs[i], SBX_STREAM_STDOUT, 3 * MIB);
        back.logs[i].exited = true;
        sbx_store_log_end(back.logs[i].log);
        sbx_store_record(u.store, &back.logs[i].record);
        turn();
        assert_int_equal(back.logs[i].stored, 1); /* shown */
    }
    sbx_db_set_gate(NULL, NULL);
    DB_UNTIL(has_followed());
    for (i = 0; i < BACK; i++) {
        assert_int_equal(check_file(i + 1), 3 * MIB);
        assert_int_equal(check_seen(&back.logs[i], 0), 3 * MIB);
        assert_true(sbx_record_is_saved(&back.logs[i].record));
        assert_int_equal(back.logs[i].stored, 1);
        one_close(&back.logs[i]);
    }
    assert_int_equal(db_number("SELECT count(*) FROM process_records WHERE log_first = 1"), BACK);
}

/* What comes in a turn is stored in it, however many it comes from. */
static void test_what_comes_does_not_wait(void **state)
{
    struct one logs[20];
    unsigned i, turns;
    (void)state;
    for (i = 0; i < 20; i++) {
        one_open(&logs[i], i + 1, 4 * MIB);
        sbx_store_log_watch(logs[i].log, true);
    }
    for (turns = 0; turns < 3; turns++) {
        for (i = 0; i < 20; i++)
            put(&logs[i], SBX_STREAM_STDOUT, 500000);
        turn();
        if (r.loop.held)
            until_storing();
        for (i = 0; i < 20; i++) {
            assert_true(sbx_store_log_is_committed(logs[i].log));
            assert_int_equal(logs[i].commits, turns + 1);
        }
    }
    for (i = 0; i < 20; i++)
        one_close(&logs[i]);
}

static void test_volatile_output_meanwhile(void **state)
{
    struct one a, b;
    (void)state;
    one_init(&a, 1, MIB);
    a.volatile_log = true;
    one_open_as(&a);
    one_open(&b, 2, MIB);
    sbx_db_set_gate(refuse_all, NULL);
    put(&a, SBX_STREAM_STDOUT, 10);
    put(&b, SBX_STREAM_STDOUT, 10);
    sbx_store_log_hasten(b.log);
    turn();
    assert_non_null(sbx_store_trouble(u.store));
    assert_int_equal(check_seen(&a, 0), 10);
    put(&a, SBX_STREAM_STDOUT, 10);
    sbx_db_set_gate(NULL, NULL);
    sbx_store_save(u.store);
    until_storing();
    turn();
    assert_int_equal(check_seen(&a, 0), 20);
    assert_int_equal(file_rows(1), 0);
    assert_int_equal(check_file(2), 10);
    one_close(&a);
    one_close(&b);
}

static void test_closing_while_degraded(void **state)
{
    struct one a;
    (void)state;
    one_open(&a, 1, MIB);
    put(&a, SBX_STREAM_STDOUT, 1000);
    sbx_store_record(u.store, &a.record);
    sbx_db_set_gate(refuse_all, NULL);
    turn();
    assert_non_null(sbx_store_trouble(u.store));
    sbx_store_save(u.store);
    assert_non_null(sbx_store_trouble(u.store));
    one_close(&a);
    stored_close();
    sbx_db_set_gate(NULL, NULL);
    stored_open();
    assert_int_equal(file_has_record(1), 0);
}

/* --- paused --- */

static struct {
    pthread_t loop;
    atomic_bool holding;  /* checkpoints do not get on */
    atomic_bool refusing; /* and the loop's calls fail */
} gate;

static int hold_checkpoint(void *ctx, const char *call)
{
    (void)ctx;
    if (pthread_equal(pthread_self(), gate.loop))
        return !gate.refusing;
    while (gate.holding && strcmp(call, "checkpoint") == 0)
        (void)usleep(500);
    return 1;
}

struct flush {
    struct sbx_task task;
    unsigned runs;
};

static void on_flush(struct sbx_task *task)
{
    SBX_LIST_OF(task, struct flush, task)->runs++;
}

/* Writes until a checkpoint is waited for. */
static void pause_with(struct one *a)
{
    gate.loop = pthread_self();
    gate.holding = true;
    gate.refusing = false;
    sbx_db_set_gate(hold_checkpoint, NULL);
    one_open(a, 1, 4 * MIB);
    sbx_store_log_watch(a->log, true);
    while (!r.loop.held) {
        assert_true(a->at < 2 * SBX_WAL_MAX);
        put(a, SBX_STREAM_STDOUT, 500000);
        turn();
    }
    assert_null(sbx_store_trouble(u.store));
}

static int paused_teardown(void **state)
{
    gate.holding = false;
    return stored_teardown(state);
}

static void test_paused_shows_nothing(void **state)
{
    struct flush f = {.runs = 0};
    struct one a;
    uint64_t shown;
    unsigned i;
    (void)state;
    pause_with(&a);
    shown = sbx_store_log_last(a.log);
    sbx_task_init(&f.task, on_flush);
    sbx_loop_defer(&r.loop, SBX_PHASE_FLUSH, &f.task);
    sbx_store_record(u.store, &a.record);
    for (i = 0; i < 5; i++) {
        put(&a, SBX_STREAM_STDOUT, 1000);
        turn();
        assert_int_equal(sbx_store_log_last(a.log), shown);
    }
    sbx_store_log_refresh(a.log); /* is of no use now */
    assert_int_equal(sbx_store_log_last(a.log), shown);
    assert_int_equal(f.runs, 0);
    assert_int_equal(a.stored, 0);
    gate.holding = false;
    DB_UNTIL(!r.loop.held);
    DB_UNTIL(sbx_store_log_is_committed(a.log));
    turn();
    assert_int_equal(f.runs, 1);
    assert_int_equal(a.stored, 1);
    assert_null(sbx_store_trouble(u.store));
    assert_int_equal(check_file(1), sbx_store_log_kept(a.log));
    assert_int_equal(file_last(1), sbx_store_log_last(a.log));
    one_close(&a);
}

static void test_paused_turns_into_failure(void **state)
{
    struct flush f = {.runs = 0};
    struct one a;
    (void)state;
    pause_with(&a);
    sbx_task_init(&f.task, on_flush);
    sbx_loop_defer(&r.loop, SBX_PHASE_FLUSH, &f.task);
    gate.refusing = true;
    gate.holding = false;
    DB_UNTIL(!r.loop.held);
    assert_non_null(sbx_store_trouble(u.store));
    assert_true(sbx_store_log_is_committed(a.log));
    turn();
    assert_int_equal(f.runs, 1);
    gate.refusing = false;
    until_storing();
    DB_UNTIL(file_last(1) == sbx_store_log_last(a.log));
    assert_int_equal(check_file(1), sbx_store_log_kept(a.log));
    assert_int_equal(file_last(1), sbx_store_log_last(a.log));
    one_close(&a);
}

/* Whatever was to be stored is not wanted any more: nobody must wait for it. */
static void test_paused_with_nothing_left_to_store(void **state)
{
    struct flush f = {.runs = 0};
    struct one a;
    (void)state;
    pause_with(&a);
    sbx_task_init(&f.task, on_flush);
    sbx_loop_defer(&r.loop, SBX_PHASE_FLUSH, &f.task);
    one_close(&a);
    gate.holding = false;
    DB_UNTIL(!r.loop.held);
    turn();
    assert_int_equal(f.runs, 1);
}

/* Nobody reads it any more while it waits: it is stored all the same. */
static void test_paused_and_not_watched_any_more(void **state)
{
    struct one a;
    (void)state;
    pause_with(&a);
    sbx_store_log_watch(a.log, false);
    gate.holding = false;
    DB_UNTIL(!r.loop.held);
    DB_UNTIL(sbx_store_log_is_committed(a.log));
    assert_int_equal(check_file(1), sbx_store_log_kept(a.log));
    assert_int_equal(file_last(1), sbx_store_log_last(a.log));
    one_close(&a);
}

static bool ends_are_shown(void)
{
    unsigned i, shown = 0;
    for (i = 0; i < BACK; i++) {
        const struct one *o = &back.logs[i];
        shown += o->stored;
        if (o->stored > 0) {
            assert_true(file_has_end(o->number));
            assert_int_equal(file_bytes(o->number), o->at);
        }
    }
    return shown == BACK;
}

/* An end is told when all output before it is stored, although that takes some turns now. */
static void test_paused_and_ended_meanwhile(void **state)
{
    struct one a;
    unsigned i;
    (void)state;
    pause_with(&a);
    for (i = 0; i < BACK; i++) {
        one_open(&back.logs[i], i + 2, 20 * MIB);
        put(&back.logs[i], SBX_STREAM_STDOUT, 3 * MIB);
        back.logs[i].exited = true;
        sbx_store_log_hasten(back.logs[i].log);
        sbx_store_record(u.store, &back.logs[i].record);
    }
    turn();
    assert_false(ends_are_shown());
    gate.holding = false;
    DB_UNTIL(ends_are_shown());
    assert_null(sbx_store_trouble(u.store));
    for (i = 0; i < BACK; i++) {
        assert_int_equal(check_file(i + 2), 3 * MIB);
        one_close(&back.logs[i]);
    }
    one_close(&a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stored_setup, stored_teardown)
#define PAUSED(name) cmocka_unit_test_setup_teardown(name, stored_setup, paused_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call_fails_once_and_from_then_on),
        cmocka_unit_test(test_every_call_fails_while_restoring),
        TEST(test_goes_on_in_memory_and_resumes_by_itself),
        TEST(test_memory_is_bounded_and_the_file_has_a_gap),
        TEST(test_memory_is_bounded_whatever_the_number),
        TEST(test_what_is_stored_goes_first),
        TEST(test_what_waited_follows_turn_by_turn),
        TEST(test_what_comes_does_not_wait),
        TEST(test_volatile_output_meanwhile),
        TEST(test_closing_while_degraded),
        PAUSED(test_paused_shows_nothing),
        PAUSED(test_paused_turns_into_failure),
        PAUSED(test_paused_with_nothing_left_to_store),
        PAUSED(test_paused_and_not_watched_any_more),
        PAUSED(test_paused_and_ended_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
