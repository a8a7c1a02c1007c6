/* Managed processes: their records and the order of their ends. */
#include "proc_rig.h"

#include "proc/proctab.h"

static void test_exit_code(void **state)
{
    struct sbx_proc *p = start_sh("exit 7");
    (void)state;
    assert_int_equal(p->state, SBX_PROC_RUNNING);
    assert_true(p->child.pid > 0);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->exit.kind, SBX_EXIT_CODE);
    assert_int_equal(p->exit.value, 7);
    assert_int_equal(p->child.pid, 0);
    assert_true(p->exited_ms >= p->created_ms);
    end(p);
}

static void test_death_by_signal(void **state)
{
    struct sbx_proc *p = start_sh("kill -9 $$");
    (void)state;
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->exit.kind, SBX_EXIT_SIGNAL);
    assert_int_equal(p->exit.value, SIGKILL);
    end(p);
}

static void test_record(void **state)
{
    struct rig_shell keep;
    struct sbx_spec spec = rig_sh(&keep, "exit 0");
    struct sbx_proc *p;
    (void)state;
    spec.has_cwd = true;
    spec.cwd = SBX_STR("/");
    spec.interactive = true;
    p = start(&spec);
    memset(&keep, 0, sizeof keep); /* the record has copies */
    assert_true(sbx_str_eq_z(p->command, "/bin/sh"));
    assert_int_equal(p->nargs, 2);
    assert_true(sbx_str_eq_z(p->args[1], "exit 0"));
    assert_true(p->has_cwd && sbx_str_eq_z(p->cwd, "/"));
    assert_true(p->interactive && !p->tty);
    assert_string_equal(p->id, p->number == 1 ? "proc_1" : "?");
    end(p);
}

static void test_exit_comes_last(void **state)
{
    struct sbx_proc *p = start_sh("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; "
                                  "echo last >&2");
    struct reader r;
    struct waiter w;
    (void)state;
    open_reader(&r, p);
    wait_for(&w, p, &r);
    RIG_UNTIL(&rig, r.ended);
    assert_int_equal(w.told, 1);
    assert_true(w.log_ended);
    assert_false(r.ended_before_exit);
    assert_int_equal(w.bytes_before, sbx_buf_len(&r.bytes));
    assert_true(shows(&r, "line 0\n") && shows(&r, "line 19999\n") && shows(&r, "last\n"));
    close_reader(&r);
    end(p);
}

static void test_exit_comes_last_after_waiting(void **state)
{
    struct sbx_proc *p;
    struct reader r;
    (void)state;
    rig.host.limits.max_log_bytes_per_process = 262144;
    p = start_sh("head -c 400000 /dev/zero");
    open_reader(&r, p);
    r.slow = true;
    RIG_UNTIL(&rig, p->state == SBX_PROC_DRAINING);
    rig_run_for(&rig, 50000);
    assert_int_equal(p->state, SBX_PROC_DRAINING);
    assert_true(p->log.waiting);
    r.slow = false;
    reader_read(&r.cursor);
    RIG_UNTIL(&rig, r.ended);
    rig_run_for(&rig, 20000);
    assert_false(r.ended_before_exit);
    assert_int_equal(sbx_buf_len(&r.bytes), 400000);
    close_reader(&r);
    end(p);
}

/* A background child that holds the pipes delays the exit not at all, and is still logged. */

static void test_background_writer_delays_nothing(void **state)
{
    char script[200];
    struct rig_pipe background;
    struct sbx_proc *p;
    struct reader r;
    (void)state;
    rig_pipe_open(&background);
    (void)snprintf(script, sizeof script, "(read go <%s; echo later) & echo now; exit 3",
                   background.path);
    p = start_sh(script);
    open_reader(&r, p);
    RIG_UNTIL(&rig, r.ended);
    assert_int_equal(p->exit.value, 3);
    assert_true(shows(&r, "now\n") && !shows(&r, "later\n"));
    rig_pipe_go(&background);
    RIG_UNTIL(&rig, p->out[0].state == SBX_OUTPUT_CLOSED);
    r.ended = false;
    reader_read(&r.cursor);
    assert_true(shows(&r, "later\n"));
    close_reader(&r);
    end(p);
    rig_pipe_close(&background);
}

/* Whoever was promised the record of the start, say, while a checkpoint was to end, is not made to
 * wait for the whole log, as the record of an end does. */
static void test_an_end_waits_for_an_earlier_record(void **state)
{
    char script[200];
    struct rig_pipe held;
    struct sbx_proc *p;
    (void)state;
    rig_pipe_open(&held);
    (void)snprintf(script, sizeof script, "read go <%s; echo text; exit 3", held.path);
    p = start_sh(script);
    RIG_UNTIL(&rig, !p->record.awaited);
    p->record.awaited = true;
    rig_pipe_go(&held);
    RIG_UNTIL(&rig, p->state == SBX_PROC_DRAINING && p->out[0].drained && p->out[1].drained);
    assert_false(p->ending);
    p->record.awaited = false;
    p->record.on_stored(&p->record);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->exit.value, 3);
    end(p);
    rig_pipe_close(&held);
}

static void test_exit_is_seen_although_a_reader_is_slow(void **state)
{
    struct sbx_proc *p;
    struct reader r;
    uint64_t drained;
    (void)state;
    rig.host.limits.max_log_bytes_per_process = 262144;
    p = start_sh("head -c 400000 /dev/zero");
    open_reader(&r, p);
    r.slow = true;
    RIG_UNTIL(&rig, p->state == SBX_PROC_DRAINING);
    drained = sbx_clock_mono_us();
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_true(sbx_clock_mono_us() - drained < 3000000);
    assert_int_equal(sbx_store_log_offset(p->log.store), 400000);
    close_reader(&r);
    end(p);
}

static void test_waiters_are_told_once(void **state)
{
    struct sbx_proc *p = start_sh("exit 0");
    struct waiter a, b, c;
    (void)state;
    wait_for(&a, p, NULL);
    wait_for(&b, p, NULL);
    wait_for(&c, p, NULL);
    sbx_waiter_cancel(&b.w);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    rig_run_for(&rig, 5000);
    assert_int_equal(a.told, 1);
    assert_int_equal(b.told, 0);
    assert_int_equal(c.told, 1);
    sbx_waiter_cancel(&a.w);
    end(p);
}

static void test_cannot_start(void **state)
{
    struct sbx_spec spec = {.command = SBX_STR("/no/such/program"), .cols = 80, .rows = 24};
    struct sbx_err err = {0};
    size_t fds = rig_count_fds();
    (void)state;
    assert_null(sbx_proc_start(&rig.host, 1, &spec, &err));
    assert_int_equal(err.code, -ENOENT);
    assert_string_equal(err.text, "command \"/no/such/program\": No such file or directory "
                                  "(os error 2)");
    assert_int_equal(rig_count_fds(), fds);
}

static void test_lives_as_long_as_it_is_held(void **state)
{
    struct sbx_proc *p = start_sh("sleep 100 & echo x; exit 0");
    size_t fds;
    (void)state;
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    fds = rig_count_fds();
    sbx_proc_ref(p);
    sbx_proc_signal(p, SIGKILL);
    sbx_proc_detach(p);
    assert_int_equal(rig_count_fds(), fds - 2);
    sbx_proc_unref(p);
    assert_int_equal(sbx_log_last(&p->log), 1);
    sbx_proc_unref(p);
    sbx_loop_finish(&rig.host.loop);
    p = start_sh("sleep 100");
    sbx_proc_kill(p);
    sbx_proc_detach(p);
    sbx_proc_unref(p);
    rig_run_for(&rig, 5000);
}

static void test_table(void **state)
{
    struct sbx_proctab tab;
    struct sbx_proc *p, *q;
    struct rig_shell keep;
    struct sbx_spec spec = rig_sh(&keep, "exit 0");
    struct sbx_err err;
    (void)state;
    sbx_proctab_init(&tab, &rig.host);
    rig.host.limits.max_concurrent_processes = 2;
    assert_int_equal(sbx_proctab_create(&tab, &spec, &p, &err), 0);
    assert_int_equal(sbx_proctab_create(&tab, &spec, &q, &err), 0);
    assert_int_equal(sbx_proctab_create(&tab, &spec, &q, &err), -EBUSY);
    assert_string_equal(err.text, "max concurrent process limit reached (2)");
    assert_int_equal(sbx_proctab_running(&tab), 2);
    assert_ptr_equal(sbx_proctab_find(&tab, SBX_STR("proc_1")), p);
    assert_null(sbx_proctab_find(&tab, SBX_STR("proc_3")));
    assert_null(sbx_proctab_find(&tab, SBX_STR("proc_01")));
    assert_null(sbx_proctab_find(&tab, SBX_STR("proc_")));
    assert_null(sbx_proctab_find(&tab, SBX_STR("proc_99999999999999999999")));
    RIG_UNTIL(&rig, sbx_proctab_running(&tab) == 0);
    sbx_proctab_delete(&tab, p);
    assert_null(sbx_proctab_find(&tab, SBX_STR("proc_1")));
    spec.command = SBX_STR("/no/such/program");
    assert_int_equal(sbx_proctab_create(&tab, &spec, &p, &err), -ENOENT);
    assert_int_equal(tab.count, 1);
    spec.command = SBX_STR("/bin/sh");
    assert_int_equal(sbx_proctab_create(&tab, &spec, &p, &err), 0);
    assert_true(p->number > 2); /* numbers are not reused */
    RIG_UNTIL(&rig, sbx_proctab_running(&tab) == 0);
    sbx_proctab_deinit(&tab);
    sbx_loop_finish(&rig.host.loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_exit_code),
        TEST(test_death_by_signal),
        TEST(test_record),
        TEST(test_exit_comes_last),
        TEST(test_exit_comes_last_after_waiting),
        TEST(test_background_writer_delays_nothing),
        TEST(test_an_end_waits_for_an_earlier_record),
        TEST(test_exit_is_seen_although_a_reader_is_slow),
        TEST(test_waiters_are_told_once),
        TEST(test_cannot_start),
        TEST(test_lives_as_long_as_it_is_held),
        TEST(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
