/* Pseudo-terminals: size, modes, end-of-file character. */
#include "os/pty.h"

#include "os/fd.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

static int master, slave;

static int setup(void **state)
{
    (void)state;
    return sbx_pty_open(91, 33, &master, &slave);
}

static int teardown(void **state)
{
    (void)state;
    sbx_fd_close(&master);
    sbx_fd_close(&slave);
    return 0;
}

static void expect_size(unsigned cols, unsigned rows)
{
    struct winsize ws;
    assert_int_equal(ioctl(slave, TIOCGWINSZ, &ws), 0);
    assert_int_equal(ws.ws_col, cols);
    assert_int_equal(ws.ws_row, rows);
}

static void test_size(void **state)
{
    (void)state;
    expect_size(91, 33);
    assert_int_equal(sbx_pty_resize(master, 65535, 1), 0);
    expect_size(65535, 1);
    assert_true(sbx_pty_resize(-1, 80, 24) < 0);
}

static void test_descriptors(void **state)
{
    (void)state;
    assert_true((fcntl(master, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(slave, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(master, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(slave, F_GETFL) & O_NONBLOCK) == 0);
    assert_true(isatty(slave));
}

static void test_modes(void **state)
{
    struct termios t;
    (void)state;
    assert_int_equal(tcgetattr(slave, &t), 0);
    assert_true((t.c_lflag & (ICANON | ECHO | ISIG)) == (ICANON | ECHO | ISIG));
#ifdef IUTF8
    assert_true((t.c_iflag & IUTF8) != 0);
#endif
}

static void test_end_of_file_character(void **state)
{
    struct termios t;
    uint8_t eof = 0;
    bool canonical = false;
    (void)state;
    assert_int_equal(sbx_pty_eof_char(master, &eof, &canonical), 0);
    assert_int_equal(eof, 4);
    assert_true(canonical);
    assert_int_equal(tcgetattr(slave, &t), 0);
    t.c_cc[VEOF] = 'z';
    t.c_lflag &= ~(tcflag_t)ICANON;
    assert_int_equal(tcsetattr(slave, TCSANOW, &t), 0);
    assert_int_equal(sbx_pty_eof_char(master, &eof, &canonical), 0);
    assert_false(canonical);
    t.c_lflag |= ICANON;
    t.c_cc[VEOF] = 'z';
    assert_int_equal(tcsetattr(slave, TCSANOW, &t), 0);
    assert_int_equal(sbx_pty_eof_char(master, &eof, &canonical), 0);
    assert_int_equal(eof, 'z');
    assert_true(sbx_pty_eof_char(-1, &eof, &canonical) < 0);
}

static void test_bytes_pass(void **state)
{
    char buf[20];
    (void)state;
    assert_int_equal(write(slave, "out\n", 4), 4);
    assert_int_equal(sbx_fd_read(master, buf, sizeof buf), 5);
    assert_memory_equal(buf, "out\r\n", 5);
    assert_int_equal(write(master, "in\n", 3), 3);
    assert_int_equal(read(slave, buf, sizeof buf), 3);
    assert_memory_equal(buf, "in\n", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_modes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_of_file_character, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_pass, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
