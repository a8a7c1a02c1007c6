/* Output of processes into the log: what the leader wrote is there before "drained" is said, and
 * saying so waits for nobody else. The test holds the other end of the pipe or terminal. */
#include "proc/output.h"

#include "os/pty.h"
#include "random.h"
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static struct rig rig;

static struct {
    struct sbx_log log;
    struct sbx_output out;
    int far;
    unsigned drained, closed;
    uint64_t drained_at; /* bytes in the log then, committed or not */
    uint64_t written;
} t;

static void on_room(void *ctx)
{
    (void)ctx;
    sbx_output_resume(&t.out);
}

static void on_drained(struct sbx_output *o)
{
    assert_ptr_equal(o, &t.out);
    assert_true(o->drained);
    t.drained++;
    t.drained_at = sbx_store_log_offset(t.log.store);
}

static void open_log(uint64_t cap)
{
    struct sbx_store_log_options o = {.number = 1, .cap = cap, .in_file = true};
    assert_int_equal(sbx_log_init(&t.log, &rig.host.loop, rig.host.store, &o, NULL, on_room, NULL),
                     0);
}

static void open_all(bool shared)
{
    memset(&t, 0, sizeof t);
    (void)signal(SIGPIPE, SIG_IGN);
    rig_open_with(&rig, shared);
    t.far = -1;
    open_log(10000000);
}

static int setup(void **state)
{
    (void)state;
    open_all(false);
    assert_false(sbx_log_survives(&t.log));
    return 0;
}

/* The log outlives the server: what is read is announced first, as many bytes as are there. */
static int setup_surviving(void **state)
{
    (void)state;
    open_all(true);
    return sbx_log_survives(&t.log) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    sbx_output_close(&t.out);
    sbx_output_close(&t.out);
    sbx_loop_finish(&rig.host.loop);
    sbx_log_deinit(&t.log);
    sbx_fd_close(&t.far);
    rig_close(&rig);
    return 0;
}

static void open_pipe(void)
{
    int r;
    assert_int_equal(sbx_fd_pipe(&r, &t.far), 0);
    assert_int_equal(sbx_fd_set_nonblock(t.far), 0);
    assert_int_equal(sbx_output_open(&t.out, &rig.host.loop, &t.log, r, SBX_STREAM_STDERR,
                                     on_drained), 0);
}

static void open_terminal(void)
{
    int master;
    assert_int_equal(sbx_pty_open(80, 24, &master, &t.far), 0);
    assert_int_equal(sbx_fd_set_nonblock(t.far), 0);
    assert_int_equal(sbx_output_open(&t.out, &rig.host.loop, &t.log, master, SBX_STREAM_PTY,
                                     on_drained), 0);
}

/* As much of n as the other end takes. */
static size_t put(size_t n)
{
    static uint8_t buf[65536];
    size_t done = 0, i;
    while (done < n) {
        size_t piece = n - done < sizeof buf ? n - done : sizeof buf;
        ssize_t got;
        for (i = 0; i < piece; i++)
            buf[i] = pattern_at(t.written + i);
        got = sbx_fd_write(t.far, buf, piece);
        if (got <= 0)
            break;
        t.written += (uint64_t)got;
        done += (size_t)got;
    }
    return done;
}

static uint64_t logged(void)
{
    return sbx_store_log_offset(t.log.store);
}

static void check_log(void)
{
    uint64_t s;
    struct sbx_entry e;
    for (s = sbx_log_first(&t.log); s <= sbx_log_last(&t.log); s++) {
        size_t i;
        assert_true(sbx_store_log_read(t.log.store, s, &e));
        assert_int_equal(e.stream, t.out.stream);
        for (i = 0; i < e.len; i++)
            assert_int_equal(e.data[i], pattern_at(e.offset + i));
    }
}

static void test_reads_into_the_log(void **state)
{
    struct random r = {77};
    (void)state;
    open_pipe();
    while (t.written < 3000000) {
        (void)put(1 + random_below(&r, random_below(&r, 2) == 0 ? 100 : 100000));
        rig_turn(&rig);
    }
    RIG_UNTIL(&rig, logged() == t.written);
    check_log();
    assert_int_equal(t.drained, 0);
    sbx_fd_close(&t.far);
    RIG_UNTIL(&rig, t.out.state == SBX_OUTPUT_CLOSED);
    assert_int_equal(t.drained, 0); /* nobody has exited yet */
    sbx_output_drain(&t.out);
    assert_int_equal(t.drained, 1);
}

static void test_drain_of_an_empty_pipe(void **state)
{
    (void)state;
    open_pipe(); /* the other end stays open, as with a background child */
    sbx_output_drain(&t.out);
    assert_int_equal(t.drained, 1);
    (void)put(100);
    RIG_UNTIL(&rig, logged() == 100); /* and what it writes later is logged */
    assert_int_equal(t.drained, 1);
}

static void test_drain_reads_what_was_there(void **state)
{
    (void)state;
    open_pipe();
    sbx_fd_grow_pipe(t.far, 1u << 20);
    while (put(100000) == 100000)
        continue;
    sbx_output_drain(&t.out);
    RIG_UNTIL(&rig, t.drained == 1);
    assert_true(t.drained_at >= t.written);
    check_log();
}

/* A background child that writes faster than we read: the drain ends with what was in the pipe when
 * the leader exited, and does not wait for the stream to dry up. */
static void test_drain_does_not_follow_another_writer(void **state)
{
    uint64_t before;
    unsigned turns;
    (void)state;
    open_pipe();
    (void)put(50000);
    before = t.written;
    sbx_output_drain(&t.out);
    for (turns = 0; t.drained == 0; turns++) {
        assert_true(turns < 3);
        (void)put(1u << 20);
        rig_turn(&rig);
    }
    assert_true(t.drained_at >= before);
}

static void test_drain_in_the_middle_of_a_nap(void **state)
{
    unsigned i;
    (void)state;
    open_pipe();
    for (i = 0; i < 1000 && t.out.state != SBX_OUTPUT_NAPPING; i++) {
        (void)put(10);
        rig_turn(&rig);
    }
    if (t.out.state != SBX_OUTPUT_NAPPING)
        skip(); /* too slow a machine to find us busy */
    (void)put(10);
    sbx_output_drain(&t.out);
    assert_int_equal(t.drained, 1);
    assert_int_equal(t.drained_at, t.written);
}

static void test_nap_ends_by_itself_and_by_input(void **state)
{
    unsigned i, k;
    (void)state;
    open_pipe();
    for (k = 0; k < 2; k++) {
        for (i = 0; i < 1000 && t.out.state != SBX_OUTPUT_NAPPING; i++) {
            (void)put(10);
            rig_turn(&rig);
        }
        if (t.out.state != SBX_OUTPUT_NAPPING)
            skip();
        if (k == 0)
            RIG_UNTIL(&rig, t.out.state == SBX_OUTPUT_READING);
        else
            sbx_output_wake(&t.out);
        assert_int_equal(t.out.state, SBX_OUTPUT_READING);
    }
    RIG_UNTIL(&rig, logged() == t.written);
}

/* --- terminals --- */

static void test_terminal(void **state)
{
    (void)state;
    open_terminal();
    assert_int_equal(write(t.far, "hello\n", 6), 6);
    RIG_UNTIL(&rig, logged() == 7); /* CR LF */
    assert_int_equal(write(t.far, "bye", 3), 3);
    sbx_fd_close(&t.far);
    sbx_output_drain(&t.out);
    RIG_UNTIL(&rig, t.drained == 1);
    assert_int_equal(t.drained_at, 10);
    assert_int_equal(t.out.state, SBX_OUTPUT_CLOSED);
}

/* Somebody else holds the terminal and the kernel did not hang it up: a moment's grace, no more. */
static void test_drain_of_a_held_terminal(void **state)
{
    uint64_t started;
    (void)state;
    open_terminal();
    assert_int_equal(write(t.far, "last", 4), 4);
    started = sbx_clock_mono_us();
    sbx_output_drain(&t.out);
    RIG_UNTIL(&rig, t.drained == 1);
    assert_int_equal(t.drained_at, 4);
    assert_true(sbx_clock_mono_us() - started < 1000000);
}

static void test_drain_of_a_terminal_with_another_writer(void **state)
{
    uint64_t end = sbx_clock_mono_us() + 1000000;
    (void)state;
    open_terminal();
    sbx_output_drain(&t.out);
    while (t.drained == 0 && sbx_clock_mono_us() < end) {
        (void)sbx_fd_write(t.far, "x", 1);
        rig_turn(&rig);
    }
    assert_int_equal(t.drained, 1);
}

/* --- back-pressure and memory --- */

static bool never(struct sbx_cursor *c)
{
    (void)c;
    return true; /* always seen to take something */
}

static void ignore_data(struct sbx_cursor *c)
{
    (void)c;
}

static void test_waits_for_a_reader(void **state)
{
    struct sbx_cursor c;
    struct sbx_entry e;
    struct sbx_gap gap;
    (void)state;
    open_pipe();
    sbx_log_deinit(&t.log);
    open_log(200000);
    sbx_cursor_open(&c, &t.log, 1, 7, ignore_data, never);
    while (t.out.state != SBX_OUTPUT_WAITING) {
        (void)put(60000);
        rig_turn(&rig);
    }
    while (put(60000) == 60000) /* the pipe fills, and its writer waits */
        rig_turn(&rig);
    assert_int_equal(sbx_log_first(&t.log), 1);
    while (sbx_cursor_next(&c, &e, &gap) == SBX_STEP_ENTRY)
        continue;
    RIG_UNTIL(&rig, put(60000) == 60000);
    sbx_cursor_close(&c);
    RIG_UNTIL(&rig, logged() == t.written);
}

static int refuse(void *ctx)
{
    (void)ctx;
    return 0;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    open_pipe();
    (void)put(100);
    sbx_mem_set_gate(refuse, NULL);
    rig_turn(&rig);
    sbx_mem_set_gate(NULL, NULL);
    assert_int_equal(logged(), 0);
    assert_int_equal(t.out.state, SBX_OUTPUT_WAITING);
    RIG_UNTIL(&rig, logged() == 100);
    check_log();
}

static void count_close(struct sbx_output *o)
{
    assert_ptr_equal(o, &t.out);
    assert_int_equal(t.drained, 0);
    t.closed++;
}

static void test_end_is_told_once(void **state)
{
    (void)state;
    open_pipe();
    t.out.on_closed = count_close;
    (void)put(100);
    sbx_fd_close(&t.far);
    RIG_UNTIL(&rig, t.out.state == SBX_OUTPUT_CLOSED);
    assert_int_equal(t.closed, 1);
    assert_int_equal(logged(), 100);
    sbx_output_drain(&t.out);
    assert_int_equal(t.closed, 1);
    assert_int_equal(t.drained, 1);
}

/* Nothing is left announced: a successor must not take what lies there for output. */
static void test_announced_bytes_are_settled(void **state)
{
    struct sbx_tail *successor;
    struct sbx_segment *seg;
    bool refused;
    (void)state;
    open_pipe();
    (void)put(5000);
    RIG_UNTIL(&rig, logged() == 5000);
    rig_turn(&rig);
    successor = sbx_tail_open(dup(sbx_tail_fd(sbx_store_tail(rig.host.store))), true, &refused);
    assert_non_null(successor);
    assert_false(refused);
    sbx_tail_leave(successor);
    seg = sbx_tail_adopt(successor, 1);
    assert_non_null(seg);
    assert_int_equal(sbx_segment_used(seg), 5000);
    sbx_segment_unref(seg);
    sbx_tail_close(successor);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, setup, teardown),                                        \
        {#name " (surviving)", name, setup_surviving, teardown, NULL}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reads_into_the_log),
        TEST(test_drain_of_an_empty_pipe),
        TEST(test_drain_reads_what_was_there),
        TEST(test_drain_does_not_follow_another_writer),
        TEST(test_drain_in_the_middle_of_a_nap),
        TEST(test_nap_ends_by_itself_and_by_input),
        TEST(test_terminal),
        TEST(test_drain_of_a_held_terminal),
        TEST(test_drain_of_a_terminal_with_another_writer),
        TEST(test_waits_for_a_reader),
        TEST(test_out_of_memory),
        TEST(test_end_is_told_once),
        cmocka_unit_test_setup_teardown(test_announced_bytes_are_settled, setup_surviving,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
