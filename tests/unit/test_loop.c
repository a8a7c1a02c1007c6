/* Turns of the loop: order of the work, timers, descriptors that come and go inside callbacks. */
#include "os/loop.h"

#include "os/clock.h"
#include "os/fd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY 100u

static struct sbx_loop loop;
static char trace[200];

static void note(char c)
{
    size_t n = strlen(trace);
    assert_true(n + 1 < sizeof trace);
    trace[n] = c;
    trace[n + 1] = '\0';
}

/* A descriptor that can be made ready by writing to `far`. */
struct end {
    struct sbx_io io;
    int far;
    char name;
    unsigned calls;
    short revents;
    void (*then)(struct end *e);
};

static void end_on_ready(struct sbx_io *io, short revents)
{
    struct end *e = SBX_LIST_OF(io, struct end, io);
    char byte;
    e->calls++;
    e->revents = revents;
    if (e->name != '\0')
        note(e->name);
    if ((revents & POLLIN) != 0)
        (void)sbx_fd_read(io->fd, &byte, 1);
    if (e->then != NULL)
        e->then(e);
}

static void end_open(struct end *e, char name)
{
    int fds[2];
    memset(e, 0, sizeof *e);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    e->far = fds[1];
    e->name = name;
    sbx_io_init(&e->io, &loop, fds[0], end_on_ready);
}

static void end_close(struct end *e)
{
    sbx_io_stop(&e->io);
    sbx_fd_close(&e->io.fd);
    sbx_fd_close(&e->far);
}

static void poke(struct end *e)
{
    assert_int_equal(write(e->far, "x", 1), 1);
}

static int setup(void **state)
{
    (void)state;
    trace[0] = '\0';
    return sbx_loop_init(&loop);
}

static int teardown(void **state)
{
    (void)state;
    sbx_loop_deinit(&loop);
    return 0;
}

/* --- tasks and timers --- */

struct step {
    struct sbx_task task;
    char name;
    struct step *queues;
    enum sbx_phase in;
    struct sbx_task *cancels;
};

static void step_run(struct sbx_task *t)
{
    struct step *s = SBX_LIST_OF(t, struct step, task);
    note(s->name);
    if (s->queues != NULL)
        sbx_loop_defer(&loop, s->in, &s->queues->task);
    if (s->cancels != NULL)
        sbx_task_cancel(s->cancels);
}

static void step_init(struct step *s, char name)
{
    *s = (struct step){.name = name};
    sbx_task_init(&s->task, step_run);
}

static struct end source;
static struct sbx_timer timer;
static struct step steps[5];

static void timer_notes(struct sbx_timer *t)
{
    (void)t;
    note('t');
    sbx_loop_defer(&loop, SBX_PHASE_COMMIT, &steps[0].task);
}

static void queue_backwards(struct end *e)
{
    (void)e;
    sbx_loop_defer(&loop, SBX_PHASE_FREE, &steps[3].task);
    sbx_loop_defer(&loop, SBX_PHASE_FLUSH, &steps[2].task);
    sbx_loop_defer(&loop, SBX_PHASE_PULL, &steps[1].task);
    sbx_loop_defer(&loop, SBX_PHASE_PULL, &steps[1].task); /* twice is once */
}

static void test_order_of_a_turn(void **state)
{
    (void)state;
    step_init(&steps[0], 'C');
    step_init(&steps[1], 'P');
    step_init(&steps[2], 'F');
    step_init(&steps[3], 'X');
    end_open(&source, 'i');
    source.then = queue_backwards;
    assert_int_equal(sbx_io_watch(&source.io, POLLIN), 0);
    sbx_timer_init(&timer, timer_notes);
    sbx_loop_set_timer(&loop, &timer, 0);
    poke(&source);
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "itCPFX");
    end_close(&source);
}

/* What is queued for a later phase runs in the same turn, for the same or an earlier one in the
 * next, and that one does not sleep. */
static void test_tasks_that_queue_tasks(void **state)
{
    (void)state;
    step_init(&steps[0], 'a');
    step_init(&steps[1], 'b');
    step_init(&steps[2], 'c');
    steps[0].queues = &steps[1];
    steps[0].in = SBX_PHASE_FLUSH;
    steps[1].queues = &steps[2];
    steps[1].in = SBX_PHASE_FLUSH;
    steps[2].queues = &steps[0];
    steps[2].in = SBX_PHASE_COMMIT;
    sbx_loop_defer(&loop, SBX_PHASE_PULL, &steps[0].task);
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "ab");
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "abc");
    steps[1].queues = NULL;
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "abcab");
}

static void test_cancelled_tasks(void **state)
{
    (void)state;
    step_init(&steps[0], 'a');
    step_init(&steps[1], 'b');
    steps[0].cancels = &steps[1].task;
    sbx_loop_defer(&loop, SBX_PHASE_PULL, &steps[0].task);
    sbx_loop_defer(&loop, SBX_PHASE_PULL, &steps[1].task);
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "a");
    sbx_task_cancel(&steps[1].task);
}

static void test_finish_runs_what_is_pending(void **state)
{
    (void)state;
    step_init(&steps[0], 'a');
    step_init(&steps[1], 'b');
    steps[0].queues = &steps[1];
    steps[0].in = SBX_PHASE_COMMIT;
    sbx_loop_defer(&loop, SBX_PHASE_FREE, &steps[0].task);
    sbx_loop_finish(&loop);
    assert_string_equal(trace, "ab");
}

static void test_sleeps_until_the_timer(void **state)
{
    uint64_t at = sbx_clock_mono_us() + 20000;
    (void)state;
    step_init(&steps[0], 'C');
    sbx_timer_init(&timer, timer_notes);
    sbx_loop_set_timer(&loop, &timer, at);
    while (trace[0] == '\0')
        sbx_loop_turn(&loop);
    assert_true(sbx_clock_mono_us() >= at);
    assert_true(loop.now_us >= at);
    assert_string_equal(trace, "tC");
    sbx_loop_set_timer(&loop, &timer, 0);
    sbx_loop_cancel_timer(&loop, &timer);
    sbx_loop_defer(&loop, SBX_PHASE_PULL, &steps[0].task);
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "tCC");
}

static void stop_loop(struct end *e)
{
    (void)e;
    sbx_loop_stop(&loop);
}

static void test_run_and_stop(void **state)
{
    (void)state;
    end_open(&source, 'i');
    source.then = stop_loop;
    assert_int_equal(sbx_io_watch(&source.io, POLLIN), 0);
    poke(&source);
    sbx_loop_run(&loop);
    assert_string_equal(trace, "i");
    end_close(&source);
}

/* --- descriptors --- */

static struct end ends[MANY];

static void open_ends(size_t n, char first)
{
    size_t i;
    for (i = 0; i < n; i++) {
        end_open(&ends[i], first == '\0' ? '\0' : (char)(first + (char)i));
        assert_int_equal(sbx_io_watch(&ends[i].io, POLLIN), 0);
    }
}

static void close_ends(size_t n)
{
    while (n-- > 0)
        end_close(&ends[n]);
}

static void close_the_others(struct end *e)
{
    size_t i;
    for (i = 0; i < 5; i++)
        if (&ends[i] != e)
            end_close(&ends[i]);
}

/* All are ready; whichever is called first takes the others out, and none of them is called. */
static void test_stopping_others_in_a_callback(void **state)
{
    size_t i;
    (void)state;
    open_ends(5, 'a');
    for (i = 0; i < 5; i++) {
        ends[i].then = close_the_others;
        poke(&ends[i]);
    }
    sbx_loop_turn(&loop);
    assert_int_equal(strlen(trace), 1);
    assert_int_equal(loop.n, 2);
    assert_int_equal(loop.holes, 0);
    close_ends(5);
}

static void stop_and_watch_again(struct end *e)
{
    sbx_io_stop(&e->io);
    sbx_io_stop(&e->io);
    assert_int_equal(sbx_io_watch(&e->io, POLLIN), 0);
}

static void test_stopping_and_watching_again(void **state)
{
    unsigned i;
    (void)state;
    open_ends(3, '\0');
    ends[1].then = stop_and_watch_again;
    for (i = 1; i <= 10; i++) {
        poke(&ends[0]);
        poke(&ends[1]);
        poke(&ends[2]);
        sbx_loop_turn(&loop);
        assert_int_equal(ends[0].calls, i);
        assert_int_equal(ends[1].calls, i);
        assert_int_equal(ends[2].calls, i);
        assert_int_equal(loop.n, 4);
    }
    close_ends(3);
}

static void open_another(struct end *e)
{
    (void)e;
    end_open(&ends[50], 'n');
    assert_int_equal(sbx_io_watch(&ends[50].io, POLLIN), 0);
    poke(&ends[50]);
}

/* One that is added while callbacks run has its turn in the next one. */
static void test_watching_another_in_a_callback(void **state)
{
    (void)state;
    open_ends(1, 'a');
    ends[0].then = open_another;
    poke(&ends[0]);
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "a");
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "an");
    end_close(&ends[50]);
    close_ends(1);
}

static void test_what_is_wanted(void **state)
{
    (void)state;
    open_ends(1, '\0');
    assert_int_equal(sbx_io_watch(&ends[0].io, POLLOUT), 0);
    sbx_loop_turn(&loop);
    assert_int_equal(ends[0].revents, POLLOUT);
    assert_int_equal(sbx_io_watch(&ends[0].io, 0), 0);
    sbx_fd_close(&ends[0].far); /* is told although nothing was asked for */
    sbx_loop_turn(&loop);
    assert_true((ends[0].revents & POLLHUP) != 0);
    assert_int_equal(ends[0].calls, 2);
    close_ends(1);
}

/* --- holding back what is written to clients --- */

static struct mark {
    struct sbx_task task;
    char name;
} marks[SBX_PHASES];

static void mark_run(struct sbx_task *task)
{
    note(SBX_LIST_OF(task, struct mark, task)->name);
}

static void mark_all(void)
{
    size_t i;
    for (i = 0; i < SBX_PHASES; i++) {
        marks[i].name = "cpfx"[i];
        sbx_task_init(&marks[i].task, mark_run);
        sbx_loop_defer(&loop, (enum sbx_phase)i, &marks[i].task);
    }
}

static void hold_on_timer(struct sbx_timer *fired)
{
    (void)fired;
    note('t');
}

static void end_hold(struct sbx_task *task)
{
    (void)task;
    sbx_loop_hold(&loop, false);
}

static void begin_hold(struct sbx_task *task)
{
    (void)task;
    sbx_loop_hold(&loop, true);
}

static void test_hold_puts_off_the_flush(void **state)
{
    (void)state;
    sbx_loop_hold(&loop, true);
    mark_all();
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "cpx");
    sbx_loop_finish(&loop); /* does not wait for what is held */
    assert_string_equal(trace, "cpx");
    sbx_loop_hold(&loop, false);
    sbx_loop_turn(&loop); /* and does not sleep */
    assert_string_equal(trace, "cpxf");
}

/* Held or let go in the turn itself, before its flush. */
static void test_hold_within_a_turn(void **state)
{
    struct sbx_task task;
    (void)state;
    sbx_task_init(&task, begin_hold);
    sbx_loop_defer(&loop, SBX_PHASE_COMMIT, &task);
    mark_all();
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "cpx");
    sbx_task_init(&task, end_hold);
    sbx_loop_defer(&loop, SBX_PHASE_COMMIT, &task);
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "cpxf");
}

/* Work that is held back must not make the loop spin: it sleeps until something happens. */
static void test_hold_lets_the_loop_sleep(void **state)
{
    struct sbx_timer t;
    uint64_t began = sbx_clock_mono_us();
    unsigned turns = 0;
    (void)state;
    sbx_loop_hold(&loop, true);
    mark_all();
    sbx_timer_init(&t, hold_on_timer);
    sbx_loop_set_timer(&loop, &t, began + 20000);
    while (strchr(trace, 't') == NULL) {
        sbx_loop_turn(&loop);
        turns++;
    }
    assert_true(sbx_clock_mono_us() - began >= 20000);
    assert_true(turns <= 3);
    assert_string_equal(trace, "cpxt");
    sbx_loop_hold(&loop, false);
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "cpxtf");
}

/* --- what is handled in PULL is committed before it is told --- */

static struct sbx_task committing, telling;

static void trace_commit(struct sbx_task *task)
{
    (void)task;
    note('C');
}

static void trace_tell(struct sbx_task *task)
{
    (void)task;
    note('T');
}

static void change_something(struct sbx_task *task)
{
    (void)task;
    note('P');
    sbx_loop_defer(&loop, SBX_PHASE_COMMIT, &committing);
    sbx_loop_defer(&loop, SBX_PHASE_FLUSH, &telling);
}

static void test_commit_between_pull_and_flush(void **state)
{
    struct sbx_task task;
    (void)state;
    sbx_task_init(&committing, trace_commit);
    sbx_task_init(&telling, trace_tell);
    sbx_task_init(&task, change_something);
    sbx_loop_defer(&loop, SBX_PHASE_PULL, &task);
    sbx_loop_turn(&loop);
    assert_string_equal(trace, "PCT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order_of_a_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tasks_that_queue_tasks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_tasks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finish_runs_what_is_pending, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sleeps_until_the_timer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_run_and_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopping_others_in_a_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopping_and_watching_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watching_another_in_a_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commit_between_pull_and_flush, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hold_puts_off_the_flush, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hold_within_a_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hold_lets_the_loop_sleep, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
