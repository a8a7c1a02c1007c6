/* Descriptors: close-on-exec everywhere, standard ones never missing, EINTR never seen. */
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static bool is_cloexec(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

static void test_pipe(void **state)
{
    int r, w;
    char buf[8];
    (void)state;
    assert_int_equal(sbx_fd_pipe(&r, &w), 0);
    assert_true(is_cloexec(r) && is_cloexec(w));
    assert_int_equal(fcntl(r, F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(sbx_fd_set_nonblock(r), 0);
    assert_int_equal(sbx_fd_read(r, buf, sizeof buf), -EAGAIN);
    assert_int_equal(sbx_fd_readable_bytes(r), 0);
    assert_int_equal(sbx_fd_write(w, "hello", 5), 5);
    assert_int_equal(sbx_fd_readable_bytes(r), 5);
    assert_int_equal(sbx_fd_read(r, buf, sizeof buf), 5);
    assert_memory_equal(buf, "hello", 5);
    sbx_fd_close(&w);
    assert_int_equal(w, -1);
    sbx_fd_close(&w);
    assert_int_equal(sbx_fd_read(r, buf, sizeof buf), 0);
    sbx_fd_close(&r);
    assert_int_equal(sbx_fd_readable_bytes(r), 0);
    assert_int_equal(sbx_fd_read(r, buf, 1), -EBADF);
    assert_int_equal(sbx_fd_set_cloexec(r), -EBADF);
    assert_int_equal(sbx_fd_set_nonblock(r), -EBADF);
}

static void test_null(void **state)
{
    int in = sbx_fd_open_null(false), out = sbx_fd_open_null(true);
    char c;
    (void)state;
    assert_true(in >= 0 && out >= 0);
    assert_true(is_cloexec(in) && is_cloexec(out));
    assert_int_equal(sbx_fd_read(in, &c, 1), 0);
    assert_int_equal(sbx_fd_write(out, "x", 1), 1);
    sbx_fd_close(&in);
    sbx_fd_close(&out);
}

static void test_cloexec_is_added(void **state)
{
    int fd = open("/dev/null", O_RDONLY);
    (void)state;
    assert_false(is_cloexec(fd));
    assert_int_equal(sbx_fd_set_cloexec(fd), 0);
    assert_true(is_cloexec(fd));
    sbx_fd_close(&fd);
}

static void on_alarm(int sig)
{
    (void)sig;
}

/* A handler without SA_RESTART interrupts a blocking read; that is no error. */
static void test_interrupted_read(void **state)
{
    struct sigaction sa = {.sa_handler = on_alarm}, before;
    int r, w;
    char c;
    pid_t pid;
    (void)state;
    assert_int_equal(sbx_fd_pipe(&r, &w), 0);
    assert_int_equal(sigaction(SIGALRM, &sa, &before), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int i;
        for (i = 0; i < 20; i++) {
            (void)kill(getppid(), SIGALRM);
            (void)usleep(1000);
        }
        (void)write(w, "x", 1);
        _exit(0);
    }
    assert_int_equal(sbx_fd_read(r, &c, 1), 1);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    (void)sigaction(SIGALRM, &before, NULL);
    sbx_fd_close(&r);
    sbx_fd_close(&w);
}

/* In a child, since it changes the descriptors of the whole process. */
static int adopt(void)
{
    int kept = fcntl(0, F_DUPFD, 100), fd;
    (void)close(0);
    (void)close(2);
    if (sbx_fd_adopt_inherited() != 0)
        return 1;
    for (fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 || is_cloexec(fd))
            return 2;
    return is_cloexec(kept) ? 0 : 3;
}

static void test_inherited_descriptors(void **state)
{
    int status;
    pid_t pid = fork();
    (void)state;
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(adopt());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int raise_limit(void)
{
    struct rlimit rl;
    size_t original = 0, now;
    if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
        return 1;
    rl.rlim_cur = 50;
    rl.rlim_max = rl.rlim_max < 2000 ? rl.rlim_max : 2000;
    if (setrlimit(RLIMIT_NOFILE, &rl) < 0)
        return 2;
    now = sbx_fd_raise_limit(&original);
    if (original != 50 || now != rl.rlim_max)
        return 3;
    return getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur == rl.rlim_max ? 0 : 4;
}

static void test_limit(void **state)
{
    int status;
    pid_t pid = fork();
    (void)state;
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(raise_limit());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Messages stay apart, and the end is seen. */
static void test_packet_pair(void **state)
{
    int a, b;
    char buf[8];
    (void)state;
    assert_int_equal(sbx_fd_packet_pair(&a, &b), 0);
    assert_true(is_cloexec(a) && is_cloexec(b));
    assert_int_equal(fcntl(a, F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(sbx_fd_write(a, "one", 3), 3);
    assert_int_equal(sbx_fd_write(a, "two", 3), 3);
    assert_int_equal(sbx_fd_read(b, buf, sizeof buf), 3);
    assert_memory_equal(buf, "one", 3);
    assert_int_equal(sbx_fd_read(b, buf, sizeof buf), 3);
    assert_memory_equal(buf, "two", 3);
    sbx_fd_close(&a);
    assert_int_equal(sbx_fd_read(b, buf, sizeof buf), 0);
    sbx_fd_close(&b);
}

static void test_unnamed_file(void **state)
{
    struct stat st;
    char buf[8];
    int fd = sbx_fd_open_unnamed();
    (void)state;
    assert_true(fd >= 0 && is_cloexec(fd));
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_nlink, 0);
    assert_int_equal(sbx_fd_write(fd, "hello", 5), 5);
    assert_int_equal(pread(fd, buf, sizeof buf, 0), 5);
    assert_memory_equal(buf, "hello", 5);
    sbx_fd_close(&fd);
}

static void test_cloexec_is_cleared(void **state)
{
    int r, w;
    (void)state;
    assert_int_equal(sbx_fd_pipe(&r, &w), 0);
    assert_int_equal(sbx_fd_clear_cloexec(r), 0);
    assert_false(is_cloexec(r));
    assert_true(is_cloexec(w));
    assert_int_equal(sbx_fd_set_cloexec(r), 0);
    assert_true(is_cloexec(r));
    sbx_fd_close(&r);
    sbx_fd_close(&w);
    assert_int_equal(sbx_fd_clear_cloexec(r), -EBADF);
}

static void test_limit_is_put_back(void **state)
{
    struct rlimit before, low, now;
    size_t original;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = before.rlim_max > 100 ? 100 : before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    (void)sbx_fd_raise_limit(&original);
    sbx_fd_restore_limit(original);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    assert_true(now.rlim_cur == low.rlim_cur && now.rlim_max == before.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_cloexec_is_added),
        cmocka_unit_test(test_interrupted_read),
        cmocka_unit_test(test_inherited_descriptors),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_packet_pair),
        cmocka_unit_test(test_unnamed_file),
        cmocka_unit_test(test_cloexec_is_cleared),
        cmocka_unit_test(test_limit_is_put_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
