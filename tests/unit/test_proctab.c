/* The table of processes: which ones are retired, how many at a time, whose log is shortened. */
#include "proc/proctab.h"

#include "gate.h"
#include "proc_rig.h"

#define MIB (1024u * 1024u)

static struct sbx_proctab tab;

static int table_setup(void **state)
{
    (void)setup(state);
    sbx_proctab_init(&tab, &rig.host);
    return 0;
}

static int table_teardown(void **state)
{
    sbx_proctab_deinit(&tab);
    return teardown(state);
}

/* A record of an earlier server. */
static void enter_text(uint64_t number, uint64_t exited_ms, struct sbx_str command)
{
    const struct sbx_db_process record = {
        .number = number, .command = command, .args = SBX_STR("[\"a\"]"),
        .env_names = SBX_STR("[\"NAME\"]"), .persist = true, .exited = true,
        .exited_ms = exited_ms, .exit_kind = SBX_EXIT_CODE, .exit_reason = SBX_STR("exited")};
    sbx_store_number_taken(rig.host.store, number);
    assert_int_equal(sbx_proctab_restore(&tab, &record, NULL), 0);
}

static void enter(uint64_t number, uint64_t exited_ms)
{
    enter_text(number, exited_ms, SBX_STR("x"));
}

static struct sbx_proc *create(const char *script)
{
    struct rig_shell keep;
    struct sbx_spec spec = rig_sh(&keep, script);
    struct sbx_proc *p;
    struct sbx_err err;
    assert_int_equal(sbx_proctab_create(&tab, &spec, &p, &err), 0);
    return p;
}

static bool is_there(uint64_t number)
{
    return sbx_proctab_number(&tab, number) != NULL;
}

static void expect_order(void)
{
    size_t i;
    for (i = 0; i < tab.count; i++) {
        assert_true(i == 0 || tab.procs[i - 1]->number < tab.procs[i]->number);
        assert_ptr_equal(sbx_proctab_number(&tab, tab.procs[i]->number), tab.procs[i]);
    }
}

/* The order of exits is neither that of numbers nor its reverse. */
static uint64_t end_of(uint64_t number)
{
    return 1000 + number * 7919 % 1000;
}

static void test_many_are_retired_bit_by_bit(void **state)
{
    uint64_t i, n = 0;
    size_t before;
    (void)state;
    for (i = 1; i <= 1000; i++)
        enter(i, end_of(i));
    assert_int_equal(tab.count, 1000);
    assert_int_equal(sbx_proctab_running(&tab), 0);
    rig.host.limits.max_exited_processes = 10;
    sbx_proctab_retire(&tab);
    assert_in_range(tab.count, 900, 999); /* not all at once */
    for (i = 1; i <= 1000; i++)
        assert_true(is_there(i) == (end_of(i) >= 2000 - tab.count));
    while (tab.count > 10) {
        expect_order();
        before = tab.count;
        rig_turn(&rig);
        assert_in_range(before - tab.count, 1, 100);
    }
    for (i = 1; i <= 1000; i++)
        n += is_there(i) && end_of(i) >= 1990;
    assert_int_equal(n, 10);
    rig_turn(&rig);
    assert_int_equal(tab.count, 10);
    assert_true(sbx_list_empty(&tab.retire.node));
}

static void test_running_ones_stay(void **state)
{
    struct sbx_proc *a, *b;
    uint64_t i;
    (void)state;
    for (i = 1; i <= 20; i++)
        enter(i, 1000 + i);
    a = create("exec sleep 1000");
    for (i = 31; i <= 40; i++)
        enter(i, 500 + i);
    b = create("exec sleep 1000");
    rig.host.limits.max_exited_processes = 5;
    sbx_proctab_retire(&tab);
    assert_int_equal(tab.count, 7);
    expect_order();
    assert_true(is_there(16) && is_there(20) && !is_there(15) && !is_there(31));
    assert_int_equal(sbx_proctab_running(&tab), 2);
    sbx_proc_kill(a);
    sbx_proc_kill(b);
    RIG_UNTIL(&rig, sbx_proctab_running(&tab) == 0);
    assert_int_equal(tab.count, 5);
    assert_true(is_there(a->number) && is_there(b->number));
}

/* Whatever the clock did since the others ended. */
static void test_what_has_just_ended_stays(void **state)
{
    const struct sbx_proc *p;
    (void)state;
    enter(1, 1000);
    enter(2, sbx_clock_wall_ms() + 1000000000);
    sbx_proctab_retire(&tab);
    rig.host.limits.max_exited_processes = 1;
    p = create("exit 0");
    RIG_UNTIL(&rig, sbx_proctab_running(&tab) == 0);
    assert_int_equal(tab.count, 1);
    assert_ptr_equal(sbx_proctab_number(&tab, 3), p);
}

/* A file that comes back later has records of any number. */
static void test_entered_in_between(void **state)
{
    (void)state;
    enter(7, 1000);
    enter(3, 3000);
    enter(5, 2000);
    enter(1, 4000);
    expect_order();
    assert_int_equal(tab.count, 4);
    rig.host.limits.max_exited_processes = 2;
    sbx_proctab_retire(&tab);
    assert_true(is_there(3) && is_there(1) && !is_there(5) && !is_there(7));
    sbx_proctab_delete(&tab, sbx_proctab_number(&tab, 1));
    assert_int_equal(tab.count, 1);
    assert_int_equal(sbx_proctab_running(&tab), 0);
}

static void test_long_records_are_fewer(void **state)
{
    const size_t n = SBX_PROCTAB_TEXT_MAX / 4;
    char *text = malloc(6 * n);
    uint64_t i;
    (void)state;
    assert_non_null(text);
    memset(text, 'x', 6 * n);
    for (i = 1; i <= 8; i++)
        enter_text(i, 1000 + i, (struct sbx_str){text, i == 2 || i == 5 ? 1 : n - 100});
    sbx_proctab_retire(&tab);
    assert_int_equal(tab.count, 5); /* 4, 6, 7, 8, and the short one between them */
    assert_true(is_there(4) && is_there(5) && !is_there(3));
    sbx_proctab_delete(&tab, sbx_proctab_number(&tab, 6));
    enter_text(9, 2000, (struct sbx_str){text, n - 100});
    sbx_proctab_retire(&tab);
    assert_int_equal(tab.count, 5); /* what was deleted does not count any more */
    enter_text(10, 3000, (struct sbx_str){text, 6 * n});
    sbx_proctab_retire(&tab);
    assert_int_equal(tab.count, 1);
    assert_true(is_there(10)); /* the newest, whatever its length */
    free(text);
}

static void test_names_of_variables_count(void **state)
{
    struct sbx_db_process record = {
        .command = SBX_STR("x"), .args = SBX_STR("[]"), .exited = true, .exited_ms = 1000,
        .exit_kind = SBX_EXIT_CODE, .exit_reason = SBX_STR("exited")};
    char *names = malloc(SBX_PROCTAB_TEXT_MAX);
    (void)state;
    assert_non_null(names);
    memset(names, 'x', SBX_PROCTAB_TEXT_MAX);
    record.env_names = (struct sbx_str){names, SBX_PROCTAB_TEXT_MAX};
    for (record.number = 1; record.number <= 2; record.number++)
        assert_int_equal(sbx_proctab_restore(&tab, &record, NULL), 0);
    free(names);
    sbx_proctab_retire(&tab);
    assert_int_equal(tab.count, 1);
}

static uint64_t kept(const struct sbx_proc *p)
{
    return sbx_store_log_kept(p->log.store);
}

static void test_victims(void **state)
{
    struct sbx_proc *silent = create("exit 0"), *a, *b, *c, *d;
    (void)state;
    RIG_UNTIL(&rig, sbx_proctab_running(&tab) == 0);
    c = create("printf 12345; exec sleep 1000");
    d = create("printf 123; exec sleep 1000");
    RIG_UNTIL(&rig, kept(c) == 5 && kept(d) == 3);
    /* One that ended with nothing to give is in nobody's way. */
    assert_ptr_equal(sbx_proctab_pick_victim(&tab), c->log.store);
    a = create("printf 1");
    RIG_UNTIL(&rig, sbx_proctab_running(&tab) == 2);
    b = create("printf 12345678");
    RIG_UNTIL(&rig, sbx_proctab_running(&tab) == 2);
    assert_ptr_equal(sbx_proctab_pick_victim(&tab), a->log.store);
    assert_ptr_equal(sbx_proctab_pick_victim(&tab), a->log.store);
    sbx_proctab_delete(&tab, a);
    assert_ptr_equal(sbx_proctab_pick_victim(&tab), b->log.store);
    sbx_proctab_delete(&tab, b);
    sbx_proctab_delete(&tab, silent);
    assert_ptr_equal(sbx_proctab_pick_victim(&tab), c->log.store);
    sbx_proc_kill(c);
    sbx_proc_kill(d);
    RIG_UNTIL(&rig, sbx_proctab_running(&tab) == 0);
    assert_true(sbx_proctab_pick_victim(&tab) != NULL);
    sbx_proctab_delete(&tab, c);
    sbx_proctab_delete(&tab, d);
    assert_null(sbx_proctab_pick_victim(&tab));
}

static int no_memory(void *ctx)
{
    (void)ctx;
    return 0;
}

/* Without it the order is that in which they came, until there is some. */
static void test_no_memory_for_the_order(void **state)
{
    uint64_t i;
    (void)state;
    for (i = 1; i <= 10; i++)
        enter(i, 2000 - i);
    rig.host.limits.max_exited_processes = 8;
    sbx_mem_set_gate(no_memory, NULL);
    sbx_proctab_retire(&tab);
    sbx_mem_set_gate(NULL, NULL);
    assert_int_equal(tab.count, 8);
    assert_true(!is_there(1) && !is_there(2));
    rig.host.limits.max_exited_processes = 7;
    sbx_proctab_retire(&tab);
    assert_int_equal(tab.count, 7);
    assert_true(!is_there(10) && is_there(3));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, table_setup, table_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_many_are_retired_bit_by_bit),
        TEST(test_running_ones_stay),
        TEST(test_what_has_just_ended_stays),
        TEST(test_entered_in_between),
        TEST(test_long_records_are_fewer),
        TEST(test_names_of_variables_count),
        TEST(test_victims),
        TEST(test_no_memory_for_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
