/* Signals as bytes on a pipe, and their names. */
#include "os/sig.h"

#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void test_names(void **state)
{
    static const struct {
        int sig;
        const char *name;
    } names[] = {{SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"},
                 {SIGILL, "SIGILL"},   {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"},
                 {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},   {SIGKILL, "SIGKILL"},
                 {SIGUSR1, "SIGUSR1"}, {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"},
                 {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"},
                 {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"}, {SIGSYS, "SIGSYS"}};
    char buf[16];
    size_t i;
    (void)state;
    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_string_equal(sbx_sig_name(names[i].sig, buf), names[i].name);
    assert_string_equal(sbx_sig_name(50, buf), "SIG50");
    assert_string_equal(sbx_sig_name(1000000, buf), "SIG1000000");
}

static void reset_all(void)
{
    static const int sigs[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2};
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    size_t i;
    for (i = 0; i < sizeof sigs / sizeof sigs[0]; i++)
        (void)sigaction(sigs[i], &dfl, NULL);
}

static void test_caught_signals_come_out(void **state)
{
    sigset_t reset;
    int fd = sbx_sig_open(&reset);
    (void)state;
    assert_true(fd >= 0);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(sbx_sig_next(), 0);
    errno = 1234;
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(errno, 1234);
    assert_int_equal(raise(SIGCHLD), 0);
    assert_int_equal(raise(SIGINT), 0);
    assert_int_equal(raise(SIGHUP), 0);
    assert_int_equal(raise(SIGUSR2), 0);
    assert_int_equal(raise(SIGPIPE), 0); /* ignored */
    assert_int_equal(sbx_sig_next(), SIGTERM);
    assert_int_equal(sbx_sig_next(), SIGCHLD);
    assert_int_equal(sbx_sig_next(), SIGINT);
    assert_int_equal(sbx_sig_next(), SIGHUP);
    assert_int_equal(sbx_sig_next(), SIGUSR2);
    assert_int_equal(sbx_sig_next(), 0);
    assert_true(sigismember(&reset, SIGTERM) && sigismember(&reset, SIGCHLD));
    assert_true(sigismember(&reset, SIGINT) && sigismember(&reset, SIGHUP));
    assert_true(sigismember(&reset, SIGPIPE) && sigismember(&reset, SIGUSR2));
    assert_false(sigismember(&reset, SIGUSR1));
    sbx_sig_close();
    reset_all();
}

/* Under nohup a hang-up stays ignored; children are given the default all the same. */
static void test_what_was_ignored(void **state)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, now;
    sigset_t reset;
    (void)state;
    (void)sigaction(SIGHUP, &ignore, NULL);
    (void)sigaction(SIGUSR1, &ignore, NULL);
    assert_true(sbx_sig_open(&reset) >= 0);
    assert_int_equal(raise(SIGHUP), 0);
    assert_int_equal(sbx_sig_next(), 0);
    assert_int_equal(sigaction(SIGHUP, NULL, &now), 0);
    assert_true(now.sa_handler == SIG_IGN);
    assert_true(sigismember(&reset, SIGHUP) && sigismember(&reset, SIGUSR1));
    sbx_sig_close();
    reset_all();
}

static bool is_default(int sig)
{
    struct sigaction now;
    return sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_DFL;
}

/* Who opens after a reset finds what the first one found, and gets nothing of the first one's. */
static void test_reset(void **state)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, now;
    sigset_t reset;
    int fd;
    (void)state;
    (void)sigaction(SIGHUP, &ignore, NULL);
    fd = sbx_sig_open(&reset);
    assert_true(fd >= 0);
    assert_int_equal(raise(SIGTERM), 0);
    sbx_sig_reset();
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_true(is_default(SIGTERM) && is_default(SIGINT) && is_default(SIGCHLD));
    assert_true(is_default(SIGUSR2));
    assert_int_equal(sigaction(SIGHUP, NULL, &now), 0);
    assert_true(now.sa_handler == SIG_IGN);
    assert_true(sbx_sig_open(&reset) >= 0);
    assert_int_equal(sbx_sig_next(), 0);
    assert_int_equal(raise(SIGHUP), 0);
    assert_int_equal(sbx_sig_next(), 0);
    assert_true(sigismember(&reset, SIGHUP) && sigismember(&reset, SIGTERM));
    sbx_sig_close();
    reset_all();
}

static void test_blocked_signals_are_unblocked(void **state)
{
    sigset_t block, now, reset;
    (void)state;
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    assert_int_equal(sigprocmask(SIG_BLOCK, &block, NULL), 0);
    assert_true(sbx_sig_open(&reset) >= 0);
    assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &now), 0);
    assert_false(sigismember(&now, SIGTERM));
    sbx_sig_close();
    reset_all();
}

/* More signals than the pipe holds: none blocks, and those that are in it come out. */
static void test_full_pipe(void **state)
{
    sigset_t reset;
    unsigned i, n = 0;
    (void)state;
    assert_true(sbx_sig_open(&reset) >= 0);
    for (i = 0; i < 100000; i++) {
        errno = 1234; /* the handler's write fails at last, and nobody must notice */
        assert_int_equal(raise(SIGCHLD), 0);
        assert_int_equal(errno, 1234);
    }
    while (sbx_sig_next() == SIGCHLD)
        n++;
    assert_in_range(n, 1000, 100000);
    sbx_sig_close();
    reset_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_caught_signals_come_out),
        cmocka_unit_test(test_what_was_ignored),
        cmocka_unit_test(test_blocked_signals_are_unblocked),
        cmocka_unit_test(test_full_pipe),
        cmocka_unit_test(test_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
