/* Random bytes: all of them, whatever the kernel gives at a time, and from the device where there
 * is no system call. The call is replaced by one that does what it is told. */
#include "os/rand.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { REAL, COUNTING, FAILING };

static struct {
    int mode;
    size_t most;       /* COUNTING: bytes at a time */
    bool interrupted;  /* COUNTING: every other call is */
    uint8_t next;      /* COUNTING: the byte to give */
    unsigned calls;
    int error;         /* FAILING: after `good` bytes */
    size_t good;
    unsigned flags;
} t;

ssize_t getrandom(void *p, size_t n, unsigned flags)
{
    size_t i;
    t.calls++;
    t.flags |= flags;
    if (t.mode == REAL)
        return syscall(SYS_getrandom, p, n, flags);
    if (t.mode == FAILING && t.good == 0) {
        errno = t.error;
        return -1;
    }
    if (t.interrupted && t.calls % 2 == 1) {
        errno = EINTR;
        return -1;
    }
    if (n > t.most)
        n = t.most;
    for (i = 0; i < n; i++)
        ((uint8_t *)p)[i] = t.next++;
    t.good -= t.mode == FAILING ? n : 0;
    return (ssize_t)n;
}

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    return 0;
}

static size_t zeroes(const uint8_t *p, size_t n)
{
    size_t i, count = 0;
    for (i = 0; i < n; i++)
        count += p[i] == 0;
    return count;
}

/* About one byte in 256 is zero; that sixteen in a row are has a chance of 1 in 2^128. */
static void check_random(const uint8_t *p, size_t n)
{
    size_t i;
    for (i = 0; i + 16 <= n; i += 16)
        assert_true(zeroes(p + i, 16) < 16);
}

static void test_system(void **state)
{
    static uint8_t a[100000], b[100000];
    (void)state;
    assert_int_equal(sbx_rand_bytes(a, sizeof a), 0);
    assert_int_equal(sbx_rand_bytes(b, sizeof b), 0);
    check_random(a, sizeof a);
    check_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(t.flags, 0); /* waits for the seed, and is never content with less */
}

static void test_not_a_byte_beyond(void **state)
{
    size_t n, i;
    (void)state;
    for (n = 0; n < 40; n++) {
        uint8_t bytes[64];
        memset(bytes, 0xA5, sizeof bytes);
        assert_int_equal(sbx_rand_bytes(bytes + 8, n), 0);
        for (i = 0; i < 8; i++)
            assert_int_equal(bytes[i], 0xA5);
        for (i = 8 + n; i < sizeof bytes; i++)
            assert_int_equal(bytes[i], 0xA5);
    }
}

static void test_none_asked_for(void **state)
{
    (void)state;
    assert_int_equal(sbx_rand_bytes(NULL, 0), 0);
    assert_int_equal(t.calls, 0);
}

static void test_short_and_interrupted(void **state)
{
    static const size_t most[] = {1, 3, 7, 255, 256, 1000};
    uint8_t bytes[1000];
    size_t i, k;
    (void)state;
    for (k = 0; k < sizeof most / sizeof most[0]; k++) {
        t.mode = COUNTING;
        t.most = most[k];
        t.next = 1;
        t.calls = 0;
        t.interrupted = true;
        memset(bytes, 0, sizeof bytes);
        assert_int_equal(sbx_rand_bytes(bytes, sizeof bytes), 0);
        for (i = 0; i < sizeof bytes; i++)
            assert_int_equal(bytes[i], (uint8_t)(i + 1));
        assert_int_equal(t.calls, 2 * ((sizeof bytes + most[k] - 1) / most[k]));
    }
}

static void test_device_where_there_is_no_call(void **state)
{
    static const int errors[] = {ENOSYS, EPERM};
    uint8_t bytes[5000];
    size_t i;
    (void)state;
    for (i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        t.mode = FAILING;
        t.error = errors[i];
        memset(bytes, 0, sizeof bytes);
        assert_int_equal(sbx_rand_bytes(bytes, sizeof bytes), 0);
        check_random(bytes, sizeof bytes);
    }
}

static void test_no_descriptor_is_left(void **state)
{
    int before = dup(0), after;
    uint8_t bytes[16];
    (void)state;
    (void)close(before);
    t.mode = FAILING;
    t.error = ENOSYS;
    assert_int_equal(sbx_rand_bytes(bytes, sizeof bytes), 0);
    after = dup(0);
    (void)close(after);
    assert_int_equal(after, before);
}

static void test_device_for_the_rest(void **state)
{
    uint8_t bytes[256] = {0};
    size_t i;
    (void)state;
    t.mode = FAILING;
    t.error = EIO;
    t.good = t.most = 32;
    t.next = 1;
    assert_int_equal(sbx_rand_bytes(bytes, sizeof bytes), 0);
    for (i = 0; i < 32; i++)
        assert_int_equal(bytes[i], i + 1);
    check_random(bytes + 32, sizeof bytes - 32);
}

static void test_neither(void **state)
{
    struct rlimit before, none;
    uint8_t bytes[16];
    int rc;
    (void)state;
    t.mode = FAILING;
    t.error = ENOSYS;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    rc = sbx_rand_bytes(bytes, sizeof bytes);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rc, -EMFILE);
}

/* In a root directory of its own; the exit status is the error. */
static int error_within(const char *root)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        uint8_t bytes[16];
        if (chroot(root) < 0 || chdir("/") < 0)
            _exit(255);
        _exit(-sbx_rand_bytes(bytes, sizeof bytes));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_no_device_or_a_false_one(void **state)
{
    char root[] = "/tmp/test_rand.XXXXXX", dev[64], file[64];
    int fd;
    (void)state;
    if (geteuid() != 0)
        skip();
    t.mode = FAILING;
    t.error = ENOSYS;
    assert_non_null(mkdtemp(root));
    (void)snprintf(dev, sizeof dev, "%s/dev", root);
    (void)snprintf(file, sizeof file, "%s/dev/urandom", root);
    assert_int_equal(error_within(root), ENOENT);
    assert_int_equal(mkdir(dev, 0700), 0);
    fd = open(file, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "the same bytes everywhere", 25), 25);
    assert_int_equal(close(fd), 0);
    assert_int_equal(error_within(root), ENODEV);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(dev), 0);
    assert_int_equal(rmdir(root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_system, setup),
        cmocka_unit_test_setup(test_not_a_byte_beyond, setup),
        cmocka_unit_test_setup(test_none_asked_for, setup),
        cmocka_unit_test_setup(test_short_and_interrupted, setup),
        cmocka_unit_test_setup(test_device_where_there_is_no_call, setup),
        cmocka_unit_test_setup(test_no_descriptor_is_left, setup),
        cmocka_unit_test_setup(test_device_for_the_rest, setup),
        cmocka_unit_test_setup(test_neither, setup),
        cmocka_unit_test_setup(test_no_device_or_a_false_one, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
