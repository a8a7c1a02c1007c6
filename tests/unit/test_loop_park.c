/* Quiet descriptors leave the poll set and come back with their first event. On systems without
 * parking everything stays in the set, and all but the counts must be the same. */
#include "os/loop.h"

#include "base/mem.h"
#include "gate.h"
#include "os/fd.h"
#include "random.h"

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
#define QUIET_TURNS 60u /* more than the loop waits before it parks */

static struct sbx_loop loop;
static struct sbx_task idle; /* keeps a turn from sleeping */
static struct sbx_timer far_off;

struct end {
    struct sbx_io io;
    int far;
    unsigned calls;
    short revents;
    void (*then)(struct end *e);
};

static struct end ends[MANY];

static void nothing(struct sbx_task *t)
{
    (void)t;
}

static void nothing_due(struct sbx_timer *t)
{
    (void)t;
    fail_msg("the loop slept although something was ready");
}

static void end_on_ready(struct sbx_io *io, short revents)
{
    struct end *e = SBX_LIST_OF(io, struct end, io);
    char byte;
    e->calls++;
    e->revents = revents;
    if ((revents & POLLIN) != 0)
        (void)sbx_fd_read(io->fd, &byte, 1);
    if (e->then != NULL)
        e->then(e);
}

static void poke(struct end *e)
{
    assert_int_equal(write(e->far, "x", 1), 1);
}

static void idle_turns(unsigned n)
{
    while (n-- > 0) {
        sbx_loop_defer(&loop, SBX_PHASE_FREE, &idle);
        sbx_loop_turn(&loop);
    }
}

static int setup(void **state)
{
    size_t i;
    (void)state;
    assert_int_equal(sbx_loop_init(&loop), 0);
    sbx_task_init(&idle, nothing);
    sbx_timer_init(&far_off, nothing_due);
    for (i = 0; i < MANY; i++) {
        int fds[2];
        memset(&ends[i], 0, sizeof ends[i]);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        ends[i].far = fds[1];
        sbx_io_init(&ends[i].io, &loop, fds[0], end_on_ready);
        assert_int_equal(sbx_io_watch(&ends[i].io, POLLIN), 0);
    }
    return 0;
}

static int teardown(void **state)
{
    size_t i;
    (void)state;
    sbx_loop_cancel_timer(&loop, &far_off);
    for (i = 0; i < MANY; i++) {
        sbx_io_stop(&ends[i].io);
        sbx_fd_close(&ends[i].io.fd);
        sbx_fd_close(&ends[i].far);
    }
    assert_int_equal(loop.n, 1);
    sbx_loop_deinit(&loop);
    return 0;
}

static void park_all(void)
{
    idle_turns(QUIET_TURNS);
    if (loop.park < 0)
        skip();
    assert_int_equal(loop.n, 1);
}

/* Until that many calls were made in all; a turn that sleeps is a lost event. */
static void expect_calls(unsigned n)
{
    unsigned total = 0, turns;
    size_t i;
    sbx_loop_set_timer(&loop, &far_off, loop.now_us + 5000000);
    for (turns = 0; total < n; turns++) {
        assert_true(turns < 20);
        sbx_loop_turn(&loop);
        total = 0;
        for (i = 0; i < MANY; i++)
            total += ends[i].calls;
    }
    assert_int_equal(total, n);
    sbx_loop_cancel_timer(&loop, &far_off);
}

static void test_quiet_ones_are_parked_and_come_back(void **state)
{
    size_t i;
    (void)state;
    park_all();
    for (i = 0; i < MANY; i += 3)
        poke(&ends[i]);
    expect_calls(34);
    assert_int_equal(loop.n, 1 + 34);
    for (i = 0; i < MANY; i++)
        assert_int_equal(ends[i].calls, i % 3 == 0);
    for (i = 0; i < MANY; i++)
        poke(&ends[i]);
    expect_calls(34 + MANY);
}

/* More than one batch of the parking set, and none is told twice. */
static void test_all_wake_at_once(void **state)
{
    size_t i;
    (void)state;
    park_all();
    for (i = 0; i < MANY; i++)
        poke(&ends[i]);
    expect_calls(MANY);
    for (i = 0; i < MANY; i++)
        assert_int_equal(ends[i].calls, 1);
}

static void test_busy_ones_stay(void **state)
{
    unsigned i;
    (void)state;
    for (i = 0; i < QUIET_TURNS; i++) {
        poke(&ends[7]);
        idle_turns(1);
    }
    if (loop.park < 0)
        skip();
    assert_int_equal(loop.n, 2);
    assert_int_equal(ends[7].calls, QUIET_TURNS);
}

static void test_small_sets_are_not_parked(void **state)
{
    size_t i;
    (void)state;
    for (i = 20; i < MANY; i++)
        sbx_io_stop(&ends[i].io);
    idle_turns(3 * QUIET_TURNS);
    assert_int_equal(loop.n, 21);
}

static void test_watching_a_parked_one(void **state)
{
    (void)state;
    park_all();
    assert_int_equal(sbx_io_watch(&ends[5].io, POLLIN), 0);
    assert_int_equal(loop.n, 1); /* nothing new is wanted */
    assert_int_equal(sbx_io_watch(&ends[5].io, POLLIN | POLLOUT), 0);
    expect_calls(1);
    assert_int_equal(ends[5].revents, POLLOUT);
}

static void test_stopping_parked_ones(void **state)
{
    size_t i;
    (void)state;
    park_all();
    for (i = 0; i < MANY; i++)
        poke(&ends[i]);
    for (i = 0; i < MANY; i += 2) {
        sbx_io_stop(&ends[i].io);
        sbx_io_stop(&ends[i].io);
    }
    expect_calls(MANY / 2);
    for (i = 0; i < MANY; i++)
        assert_int_equal(ends[i].calls, i % 2);
}

static void stop_all_others(struct end *e)
{
    size_t i;
    for (i = 0; i < MANY; i++)
        if (&ends[i] != e)
            sbx_io_stop(&ends[i].io);
}

/* They are in the same batch of events as the one that takes them out. */
static void test_stopping_parked_ones_in_a_callback(void **state)
{
    size_t i;
    (void)state;
    park_all();
    for (i = 0; i < MANY; i++) {
        ends[i].then = stop_all_others;
        poke(&ends[i]);
    }
    expect_calls(1);
    idle_turns(3);
    assert_int_equal(loop.n, 2);
    for (i = 0; i < MANY; i++)
        assert_true(ends[i].calls <= 1);
}

static void test_hang_up_of_a_parked_one(void **state)
{
    (void)state;
    assert_int_equal(sbx_io_watch(&ends[9].io, 0), 0);
    park_all();
    sbx_fd_close(&ends[9].far);
    expect_calls(1);
    assert_true((ends[9].revents & POLLHUP) != 0);
    sbx_io_stop(&ends[9].io);
}

static void test_random(void **state)
{
    struct random r = {2024};
    unsigned poked[MANY] = {0}, i;
    (void)state;
    for (i = 0; i < 5000; i++) {
        size_t k = random_below(&r, MANY);
        switch (random_below(&r, 30)) {
        case 0:
            sbx_io_stop(&ends[k].io);
            break;
        case 1:
            assert_int_equal(sbx_io_watch(&ends[k].io, POLLIN), 0);
            break;
        case 2:
            poke(&ends[k]);
            poked[k]++;
            break;
        default:
            idle_turns(1);
        }
    }
    for (i = 0; i < MANY; i++)
        assert_int_equal(sbx_io_watch(&ends[i].io, POLLIN), 0);
    idle_turns(30);
    for (i = 0; i < MANY; i++)
        assert_int_equal(ends[i].calls, poked[i]);
}

/* Without memory for the poll set a parked one stays parked, and is told later. */
static void test_out_of_memory(void **state)
{
    struct gate g = {0, 1, true};
    size_t i;
    (void)state;
    park_all();
    for (i = 0; i < MANY; i++)
        poke(&ends[i]);
    loop.cap = 1; /* as if the set were full */
    sbx_mem_set_gate(gate_ask, &g);
    sbx_loop_turn(&loop);
    sbx_mem_set_gate(NULL, NULL);
    assert_true(gate_hit(&g));
    for (i = 0; i < MANY; i++)
        assert_int_equal(ends[i].calls, 0);
    loop.cap = 64;
    expect_calls(MANY);
}

static void init_with_little_memory(void *ctx, const struct gate *g)
{
    struct sbx_loop *one = ctx;
    int rc = sbx_loop_init(one);
    assert_int_equal(rc, gate_hit(g) ? -ENOMEM : 0);
    if (rc == 0)
        sbx_loop_deinit(one);
}

static void test_init_out_of_memory(void **state)
{
    struct sbx_loop one;
    (void)state;
    assert_int_equal(gate_each(init_with_little_memory, &one), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_quiet_ones_are_parked_and_come_back),
        TEST(test_all_wake_at_once),
        TEST(test_busy_ones_stay),
        TEST(test_small_sets_are_not_parked),
        TEST(test_watching_a_parked_one),
        TEST(test_stopping_parked_ones),
        TEST(test_stopping_parked_ones_in_a_callback),
        TEST(test_hang_up_of_a_parked_one),
        TEST(test_random),
        TEST(test_out_of_memory),
        cmocka_unit_test(test_init_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
