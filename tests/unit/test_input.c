/* Input of processes: into pipes and terminals, bounded, all or nothing, never blocking. */
#include "proc/input.h"

#include "base/mem.h"
#include "gate.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/pty.h"
#include "random.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT 1000000u

static struct {
    struct sbx_loop loop;
    struct sbx_task idle;
    struct sbx_input in;
    int far;
    uint8_t got[400000];
    size_t n;
    bool eof;
} t;

static void nothing(struct sbx_task *task)
{
    (void)task;
}

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    (void)signal(SIGPIPE, SIG_IGN);
    sbx_task_init(&t.idle, nothing);
    t.far = -1;
    return sbx_loop_init(&t.loop);
}

static int teardown(void **state)
{
    (void)state;
    sbx_input_close(&t.in);
    assert_int_equal(t.loop.n, 1);
    sbx_loop_deinit(&t.loop);
    sbx_fd_close(&t.far);
    return 0;
}

static void open_pipe(void)
{
    int w;
    assert_int_equal(sbx_fd_pipe(&t.far, &w), 0);
    assert_int_equal(sbx_fd_set_nonblock(t.far), 0);
    assert_int_equal(sbx_input_open(&t.in, &t.loop, w, false), 0);
}

static void open_terminal(void)
{
    int master;
    assert_int_equal(sbx_pty_open(80, 24, &master, &t.far), 0);
    assert_int_equal(sbx_fd_set_nonblock(t.far), 0);
    assert_int_equal(sbx_input_open(&t.in, &t.loop, master, true), 0);
}

static void receive(void)
{
    ssize_t n = sbx_fd_read(t.far, t.got + t.n, sizeof t.got - t.n);
    if (n > 0)
        t.n += (size_t)n;
    t.eof = t.eof || n == 0;
}

static void turn(void)
{
    sbx_loop_defer(&t.loop, SBX_PHASE_FREE, &t.idle);
    sbx_loop_turn(&t.loop);
    receive();
}

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t end = sbx_clock_mono_us() + 5000000;                                              \
        while (!(condition)) {                                                                     \
            assert_true(sbx_clock_mono_us() < end);                                                \
            turn();                                                                                \
        }                                                                                          \
    } while (0)

static int send_text(const char *text, bool eof)
{
    return sbx_input_send(&t.in, text, strlen(text), eof, LIMIT);
}

static void expect_text(const char *text)
{
    assert_int_equal(t.n, strlen(text));
    assert_memory_equal(t.got, text, t.n);
}

static void test_written_at_once(void **state)
{
    (void)state;
    open_pipe();
    assert_int_equal(send_text("hello", false), 0);
    receive(); /* no turn was needed */
    expect_text("hello");
    assert_int_equal(sbx_input_queued(&t.in), 0);
    assert_int_equal(t.loop.n, 1); /* nothing to wait for */
}

static void test_order_through_the_queue(void **state)
{
    struct random r = {5};
    static uint8_t piece[20000];
    uint64_t sent = 0, at = 0;
    (void)state;
    open_pipe();
    while (sent < 1500000) {
        size_t n = 1 + random_below(&r, sizeof piece), i;
        for (i = 0; i < n; i++)
            piece[i] = pattern_at(sent + i);
        if (sbx_input_send(&t.in, piece, n, false, 200000) == 0)
            sent += n;
        if (random_below(&r, 3) == 0)
            turn();
        for (i = 0; i < t.n; i++, at++)
            assert_int_equal(t.got[i], pattern_at(at));
        t.n = 0;
        assert_true(sbx_input_queued(&t.in) <= 200000);
    }
    while (at < sent) {
        size_t i;
        turn();
        for (i = 0; i < t.n; i++, at++)
            assert_int_equal(t.got[i], pattern_at(at));
        t.n = 0;
    }
    assert_int_equal(sbx_input_queued(&t.in), 0);
}

static void test_limit_is_all_or_nothing(void **state)
{
    static uint8_t block[300000];
    size_t queued;
    (void)state;
    open_pipe();
    memset(block, 'a', sizeof block);
    assert_int_equal(sbx_input_send(&t.in, block, 200000, false, 150000), 0);
    queued = sbx_input_queued(&t.in); /* what the pipe did not take */
    assert_true(queued > 0 && queued < 150000);
    assert_int_equal(sbx_input_send(&t.in, block, 150001 - queued, false, 150000), -EAGAIN);
    assert_int_equal(sbx_input_queued(&t.in), queued);
    assert_int_equal(sbx_input_send(&t.in, block, 150000 - queued, false, 150000), 0);
    assert_int_equal(sbx_input_queued(&t.in), 150000);
    assert_int_equal(sbx_input_send(&t.in, block, 1, true, 150000), -EAGAIN);
    assert_int_equal(t.in.state, SBX_INPUT_OPEN); /* the end was refused with the byte */
    UNTIL(sbx_input_queued(&t.in) == 0);
    UNTIL(t.n == 200000 + 150000 - queued);
    assert_int_equal(sbx_input_send(&t.in, block, 1, false, 150000), 0);
}

static void test_end_of_a_pipe(void **state)
{
    (void)state;
    open_pipe();
    assert_int_equal(send_text("last", true), 0);
    assert_int_equal(t.in.state, SBX_INPUT_CLOSED);
    UNTIL(t.eof);
    expect_text("last");
    assert_int_equal(send_text("x", false), -EBADF);
    assert_int_equal(send_text("", true), -EBADF);
}

static void test_end_waits_for_the_queue(void **state)
{
    static uint8_t block[300000];
    (void)state;
    open_pipe();
    assert_int_equal(sbx_input_send(&t.in, block, sizeof block, false, LIMIT), 0);
    assert_true(sbx_input_queued(&t.in) > 0);
    assert_int_equal(send_text("", true), 0);
    assert_int_equal(t.in.state, SBX_INPUT_ENDING);
    assert_int_equal(send_text("x", false), -EBADF);
    UNTIL(t.eof);
    assert_int_equal(t.n, sizeof block);
    assert_int_equal(t.in.state, SBX_INPUT_CLOSED);
}

static unsigned closed;

static void count_close(struct sbx_input *in)
{
    assert_ptr_equal(in, &t.in);
    assert_int_equal(in->io.fd, -1);
    closed++;
}

/* The length of the queue is noted where it outlives the server, and the end is told once. */
static void test_noted(void **state)
{
    static uint8_t block[150000];
    uint64_t note = 1;
    (void)state;
    closed = 0;
    open_pipe();
    t.in.note = &note;
    t.in.on_closed = count_close;
    assert_int_equal(send_text("x", false), 0);
    assert_int_equal(note, 0);
    assert_int_equal(sbx_input_send(&t.in, block, sizeof block, false, LIMIT), 0);
    assert_true(note > 0);
    while (sbx_input_queued(&t.in) > 0) {
        assert_int_equal(note, sbx_input_queued(&t.in));
        turn();
    }
    assert_int_equal(note, 0);
    assert_int_equal(sbx_input_send(&t.in, block, sizeof block, true, LIMIT), 0);
    assert_int_equal(note, sbx_input_queued(&t.in));
    assert_int_equal(closed, 0);
    UNTIL(t.in.state == SBX_INPUT_CLOSED);
    assert_int_equal(note, 0);
    assert_int_equal(closed, 1);
}

static void test_note_of_a_queue_that_is_dropped(void **state)
{
    static uint8_t block[300000];
    uint64_t note = 0;
    (void)state;
    closed = 0;
    open_pipe();
    t.in.note = &note;
    t.in.on_closed = count_close;
    assert_int_equal(sbx_input_send(&t.in, block, sizeof block, false, LIMIT), 0);
    assert_true(note > 0);
    sbx_fd_close(&t.far);
    UNTIL(t.in.state == SBX_INPUT_BROKEN);
    assert_int_equal(note, 0);
    assert_int_equal(closed, 1);
}

static void test_reader_closed_it(void **state)
{
    (void)state;
    open_pipe();
    sbx_fd_close(&t.far);
    assert_int_equal(send_text("x", false), -EPIPE);
    assert_int_equal(t.in.state, SBX_INPUT_BROKEN);
    assert_int_equal(send_text("x", true), -EPIPE);
}

static void test_reader_closes_it_while_bytes_wait(void **state)
{
    static uint8_t block[300000];
    (void)state;
    open_pipe();
    assert_int_equal(sbx_input_send(&t.in, block, sizeof block, false, LIMIT), 0);
    sbx_fd_close(&t.far);
    UNTIL(t.in.state == SBX_INPUT_BROKEN);
    assert_int_equal(sbx_input_queued(&t.in), 0);
    assert_int_equal(send_text("x", false), -EPIPE);
}

static void test_closing_drops_the_queue(void **state)
{
    static uint8_t block[300000];
    (void)state;
    open_pipe();
    assert_int_equal(sbx_input_send(&t.in, block, sizeof block, false, LIMIT), 0);
    sbx_input_close(&t.in);
    sbx_input_close(&t.in);
    assert_int_equal(sbx_input_queued(&t.in), 0);
    assert_int_equal(send_text("x", false), -EBADF);
    UNTIL(t.eof);
    assert_true(t.n < sizeof block);
}

/* --- terminals --- */

static void test_end_at_the_start_of_a_line(void **state)
{
    (void)state;
    open_terminal();
    assert_int_equal(send_text("line\n", true), 0);
    UNTIL(t.n == 5);
    expect_text("line\n");
    UNTIL(t.eof);
    /* The terminal lives on: a shell goes on reading after an ignored end. */
    t.eof = false;
    assert_int_equal(send_text("more\n", false), 0);
    UNTIL(t.n == 10);
    assert_false(t.eof);
}

/* The first VEOF delivers the line so far, the second one is the end. */
static void test_end_within_a_line(void **state)
{
    (void)state;
    open_terminal();
    assert_int_equal(send_text("par", false), 0);
    assert_int_equal(send_text("tial", true), 0);
    UNTIL(t.eof);
    expect_text("partial");
}

static void test_end_alone(void **state)
{
    (void)state;
    open_terminal();
    assert_int_equal(send_text("", true), 0);
    UNTIL(t.eof);
    assert_int_equal(t.n, 0);
}

static void test_another_end_character(void **state)
{
    struct termios tio;
    (void)state;
    open_terminal();
    assert_int_equal(tcgetattr(t.far, &tio), 0);
    tio.c_cc[VEOF] = 'q';
    assert_int_equal(tcsetattr(t.far, TCSANOW, &tio), 0);
    assert_int_equal(send_text("", true), 0);
    UNTIL(t.eof);
}

static void test_raw_terminal_gets_the_character(void **state)
{
    struct termios tio;
    (void)state;
    open_terminal();
    assert_int_equal(tcgetattr(t.far, &tio), 0);
    cfmakeraw(&tio);
    assert_int_equal(tcsetattr(t.far, TCSANOW, &tio), 0);
    assert_int_equal(send_text("abc", true), 0);
    UNTIL(t.n == 4);
    assert_memory_equal(t.got, "abc\4", 4);
    assert_false(t.eof);
}

static void send_with_little_memory(void *ctx, const struct gate *g)
{
    static uint8_t block[300000];
    size_t before;
    int rc;
    (void)ctx;
    memset(&t, 0, sizeof t);
    sbx_mem_set_gate(NULL, NULL);
    assert_int_equal(sbx_loop_init(&t.loop), 0);
    open_pipe();
    sbx_mem_set_gate(gate_ask, (void *)(uintptr_t)g);
    assert_true(sbx_input_send(&t.in, block, sizeof block, false, LIMIT) == 0 || gate_hit(g));
    before = sbx_input_queued(&t.in);
    rc = sbx_input_send(&t.in, block, sizeof block, false, LIMIT);
    assert_true(rc == 0 || (rc == -ENOMEM && gate_hit(g)));
    assert_true(rc == 0 || sbx_input_queued(&t.in) == before);
    sbx_input_close(&t.in);
    sbx_loop_deinit(&t.loop);
    sbx_fd_close(&t.far);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(gate_each(send_with_little_memory, NULL) >= 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_written_at_once),
        TEST(test_order_through_the_queue),
        TEST(test_limit_is_all_or_nothing),
        TEST(test_end_of_a_pipe),
        TEST(test_end_waits_for_the_queue),
        TEST(test_noted),
        TEST(test_note_of_a_queue_that_is_dropped),
        TEST(test_reader_closed_it),
        TEST(test_reader_closes_it_while_bytes_wait),
        TEST(test_closing_drops_the_queue),
        TEST(test_end_at_the_start_of_a_line),
        TEST(test_end_within_a_line),
        TEST(test_end_alone),
        TEST(test_another_end_character),
        TEST(test_raw_terminal_gets_the_character),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
