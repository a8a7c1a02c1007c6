/* Managed processes, through real children of /bin/sh. */
#include "proc/proc.h"

#include "proc/proctab.h"
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct rig rig;

/* A follower that keeps what it reads. */
struct reader {
    struct sbx_cursor cursor;
    bool slow; /* takes something now and then, but does not read: holds the process up */
    bool ended, ended_before_exit;
    const struct sbx_proc *proc;
    struct sbx_buf bytes;
    uint64_t next;
};

struct waiter {
    struct sbx_waiter w;
    const struct sbx_proc *proc;
    struct reader *reader;
    unsigned told;
    bool log_ended;
    size_t bytes_before;
};

static int setup(void **state)
{
    (void)state;
    rig_open(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static struct sbx_proc *start(const struct sbx_spec *spec)
{
    struct sbx_err err;
    struct sbx_proc *p =
        sbx_proc_start(&rig.host, sbx_store_next_number(rig.host.store), spec, &err);
    if (p == NULL)
        fail_msg("%s", err.text);
    return p;
}

static struct sbx_proc *start_sh(const char *script)
{
    struct rig_shell keep;
    struct sbx_spec spec = rig_sh(&keep, script);
    return start(&spec);
}

static struct sbx_proc *start_tty(const char *script)
{
    struct rig_shell keep;
    struct sbx_spec spec = rig_sh(&keep, script);
    spec.tty = true;
    return start(&spec);
}

static void end(struct sbx_proc *p)
{
    sbx_proc_kill(p);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    sbx_proc_unref(p);
    sbx_loop_finish(&rig.host.loop);
}

static void reader_read(struct sbx_cursor *c)
{
    struct reader *r = SBX_LIST_OF(c, struct reader, cursor);
    struct sbx_entry e;
    struct sbx_gap gap;
    while (!r->slow && !r->ended) {
        switch (sbx_cursor_next(c, &e, &gap)) {
        case SBX_STEP_ENTRY:
            assert_int_equal(e.sequence, r->next);
            r->next++;
            sbx_buf_add(&r->bytes, e.data, e.len);
            break;
        case SBX_STEP_GAP:
            fail_msg("gap of %llu bytes", (unsigned long long)gap.bytes);
            break;
        case SBX_STEP_DRY:
            return;
        case SBX_STEP_END:
            r->ended = true;
            r->ended_before_exit = !sbx_proc_exited(r->proc);
            return;
        }
    }
}

static bool reader_took_some(struct sbx_cursor *c)
{
    return SBX_LIST_OF(c, struct reader, cursor)->slow;
}

static void open_reader(struct reader *r, struct sbx_proc *p)
{
    memset(r, 0, sizeof *r);
    r->proc = p;
    r->next = 1;
    sbx_cursor_open(&r->cursor, &p->log, 1, SBX_STREAMS_COMBINED | SBX_STREAMS_PTY, reader_read,
                    reader_took_some);
}

static void close_reader(struct reader *r)
{
    sbx_cursor_close(&r->cursor);
    sbx_buf_deinit(&r->bytes);
}

static bool shows(const struct reader *r, const char *text)
{
    size_t n = strlen(text);
    return sbx_buf_len(&r->bytes) >= n &&
           memmem(sbx_buf_data(&r->bytes), sbx_buf_len(&r->bytes), text, n) != NULL;
}

static void waiter_told(struct sbx_waiter *w)
{
    struct waiter *me = SBX_LIST_OF(w, struct waiter, w);
    me->told++;
    assert_true(sbx_proc_exited(me->proc));
    me->log_ended = me->proc->log.ended;
    if (me->reader != NULL)
        me->bytes_before = sbx_buf_len(&me->reader->bytes);
}

static void wait_for(struct waiter *w, struct sbx_proc *p, struct reader *r)
{
    *w = (struct waiter){.w = {.on_exit = waiter_told}, .proc = p, .reader = r};
    sbx_proc_wait(p, &w->w);
}

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

/* The exit is seen only when all output before it can be read, and the end comes after it. */
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

/* The same with a reader so slow that the process waits for it: the rest is read after the exit
 * of the child, when the reader goes on. */
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
    struct sbx_proc *p =
        start_sh("(read go </dev/null; sleep 0.3; echo later) & echo now; exit 3");
    uint64_t started = sbx_clock_mono_us();
    struct reader r;
    (void)state;
    open_reader(&r, p);
    RIG_UNTIL(&rig, r.ended);
    assert_true(sbx_clock_mono_us() - started < 250000);
    assert_int_equal(p->exit.value, 3);
    assert_true(shows(&r, "now\n") && !shows(&r, "later\n"));
    RIG_UNTIL(&rig, p->out[0].state == SBX_OUTPUT_CLOSED);
    r.ended = false;
    reader_read(&r.cursor);
    assert_true(shows(&r, "later\n"));
    close_reader(&r);
    end(p);
}

static void test_stop_and_kill(void **state)
{
    struct sbx_proc *p = start_sh("trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done");
    struct reader r;
    (void)state;
    open_reader(&r, p);
    RIG_UNTIL(&rig, shows(&r, "ready"));
    sbx_proc_stop(p);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->exit.kind, SBX_EXIT_CODE);
    assert_int_equal(p->exit.value, 5);
    sbx_proc_stop(p); /* nothing any more */
    close_reader(&r);
    end(p);
    p = start_sh("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    open_reader(&r, p);
    RIG_UNTIL(&rig, shows(&r, "ready"));
    sbx_proc_stop(p);
    rig_run_for(&rig, 30000);
    assert_int_equal(p->state, SBX_PROC_RUNNING);
    sbx_proc_kill(p);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->exit.value, SIGKILL);
    close_reader(&r);
    end(p);
}

static bool is_suspended(pid_t pid)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    return waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

static void test_stop_wakes_a_suspended_process(void **state)
{
    struct sbx_proc *p = start_sh("trap 'exit 5' TERM; kill -STOP $$; while :; do sleep 0.01; done");
    (void)state;
    RIG_UNTIL(&rig, is_suspended(p->leader));
    assert_int_equal(p->state, SBX_PROC_RUNNING);
    sbx_proc_stop(p);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->exit.value, 5);
    end(p);
}

/* An interactive shell ignores SIGTERM; a hang-up follows. */
static void test_stop_hangs_up_a_terminal(void **state)
{
    struct sbx_proc *p = start_tty("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    struct reader r;
    (void)state;
    open_reader(&r, p);
    RIG_UNTIL(&rig, shows(&r, "ready"));
    sbx_proc_stop(p);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->exit.kind, SBX_EXIT_SIGNAL);
    assert_int_equal(p->exit.value, SIGHUP);
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

static void test_input_and_end_of_input(void **state)
{
    struct sbx_proc *p = start_sh("cat; echo end");
    struct reader r;
    (void)state;
    open_reader(&r, p);
    assert_int_equal(sbx_proc_input(p, "hello\n", 6, false), 0);
    RIG_UNTIL(&rig, shows(&r, "hello\n"));
    assert_int_equal(sbx_proc_input(p, "bye\n", 4, true), 0);
    RIG_UNTIL(&rig, r.ended);
    assert_true(shows(&r, "hello\nbye\nend\n"));
    assert_int_equal(sbx_proc_input(p, "x", 1, false), -ESRCH);
    close_reader(&r);
    end(p);
}

static void test_terminal(void **state)
{
    struct sbx_proc *p =
        start_tty("stty size; read line; echo got $line; stty size; read line; echo got $line");
    struct reader r;
    (void)state;
    open_reader(&r, p);
    RIG_UNTIL(&rig, shows(&r, "24 80"));
    assert_int_equal(sbx_proc_resize(p, 132, 50), 0);
    assert_int_equal(sbx_proc_input(p, "one\n", 4, false), 0);
    RIG_UNTIL(&rig, shows(&r, "got one") && shows(&r, "50 132"));
    assert_int_equal(p->cols, 132);
    assert_int_equal(p->rows, 50);
    assert_int_equal(sbx_proc_input(p, "two\n", 4, false), 0);
    RIG_UNTIL(&rig, r.ended);
    assert_true(shows(&r, "got two"));
    assert_int_equal(sbx_proc_resize(p, 80, 24), -ESRCH);
    close_reader(&r);
    end(p);
}

static void test_resize_needs_a_terminal(void **state)
{
    struct sbx_proc *p = start_sh("sleep 100");
    (void)state;
    assert_int_equal(sbx_proc_resize(p, 80, 24), -ENOTTY);
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

/* Deleted while somebody still holds it; and abandoned while it runs. */
static void test_lives_as_long_as_it_is_held(void **state)
{
    struct sbx_proc *p = start_sh("sleep 100 & echo x; exit 0");
    size_t fds;
    (void)state;
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    fds = rig_count_fds();
    sbx_proc_ref(p);
    sbx_proc_kill_remains(p, SIGKILL);
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

/* --- the table --- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exit_code, setup, teardown),
        cmocka_unit_test_setup_teardown(test_death_by_signal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exit_comes_last, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exit_comes_last_after_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_background_writer_delays_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_and_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_wakes_a_suspended_process, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_hangs_up_a_terminal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiters_are_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_input_and_end_of_input, setup, teardown),
        cmocka_unit_test_setup_teardown(test_terminal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resize_needs_a_terminal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cannot_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lives_as_long_as_it_is_held, setup, teardown),
        cmocka_unit_test_setup_teardown(test_table, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
