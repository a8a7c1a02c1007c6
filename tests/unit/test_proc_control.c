/* Managed processes: signals, input, terminals. */
#include "proc_rig.h"

/* The exit is seen only when all output before it can be read, and the end comes after it. */

/* The same with a reader so slow that the process waits for it: the rest is read after the exit
 * of the child, when the reader goes on. */

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
    struct sbx_proc *p = start_sh("trap 'exit 5' TERM; kill -STOP $$; "
                                  "while :; do sleep 0.01; done");
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

/* One that handles SIGTERM is at it, and a hang-up would only cut it short. */

static void test_stop_leaves_a_handler_its_time(void **state)
{
    struct sbx_proc *p = start_tty("trap 'sleep 0.3; exit 5' TERM; echo ready; "
                                   "while :; do sleep 0.01; done");
    struct reader r;
    (void)state;
    open_reader(&r, p);
    RIG_UNTIL(&rig, shows(&r, "ready"));
    sbx_proc_stop(p);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->exit.kind, SBX_EXIT_CODE);
    assert_int_equal(p->exit.value, 5);
    close_reader(&r);
    end(p);
}

/* A program may close its descriptors of the terminal and open it again later. */

static void test_terminal_survives_its_last_descriptor(void **state)
{
    struct sbx_proc *p = start_tty("echo before; exec <&- >&- 2>&-; sleep 0.05; "
                                   "echo after >/dev/tty; sleep 0.05; exit 3");
    struct reader r;
    (void)state;
    open_reader(&r, p);
    RIG_UNTIL(&rig, r.ended);
    assert_true(shows(&r, "before") && shows(&r, "after"));
    assert_int_equal(p->exit.value, 3);
    close_reader(&r);
    end(p);
}

/* A reader that is waited for does not keep an exit from being seen for long. */

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

/* Deleted while somebody still holds it; and abandoned while it runs. */

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stop_and_kill),
        TEST(test_stop_wakes_a_suspended_process),
        TEST(test_stop_hangs_up_a_terminal),
        TEST(test_stop_leaves_a_handler_its_time),
        TEST(test_terminal_survives_its_last_descriptor),
        TEST(test_input_and_end_of_input),
        TEST(test_terminal),
        TEST(test_resize_needs_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
