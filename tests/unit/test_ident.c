/* A process is known again by its pid and when it was started, and by nothing less. */
#include "os/ident.h"

#include "os/clock.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND 1000000u

struct child {
    pid_t pid;
    uint64_t started_us;
    int release; /* closed: it ends */
};

static void start(struct child *c, const char *name)
{
    int fds[2], up[2];
    char byte;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(pipe(up), 0);
    c->started_us = sbx_ident_now_us();
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        (void)prctl(PR_SET_NAME, name);
        (void)close(fds[1]);
        (void)!write(up[1], "x", 1); /* it has its name */
        _exit((int)read(fds[0], &byte, 1));
    }
    assert_int_equal(read(up[0], &byte, 1), 1);
    (void)close(up[0]);
    (void)close(up[1]);
    (void)close(fds[0]);
    c->release = fds[1];
}

static void end(struct child *c)
{
    (void)close(c->release);
    assert_int_equal(waitpid(c->pid, NULL, 0), c->pid);
}

static void expect(const struct child *c, uint64_t started_us, bool runs)
{
    assert_int_equal(sbx_ident_runs(c->pid, started_us), runs);
    assert_int_equal(sbx_ident_has_ended(c->pid, started_us), !runs);
}

static void test_known_again(void **state)
{
    struct child c;
    (void)state;
    start(&c, "child");
    expect(&c, c.started_us, true);
    expect(&c, c.started_us - SECOND, true); /* the fork may have come late */
    end(&c);
}

static void test_start_is_told(void **state)
{
    struct child c;
    uint64_t at;
    (void)state;
    start(&c, "child");
    at = sbx_ident_started_us(c.pid);
    assert_true(at <= sbx_ident_now_us());
    assert_true(at + SECOND > c.started_us);
    assert_true(at >= sbx_ident_started_us(getpid()) && sbx_ident_started_us(getpid()) > 0);
    end(&c);
    assert_int_equal(sbx_ident_started_us(c.pid), 0);
    assert_int_equal(sbx_ident_started_us(0), 0);
}

static void test_wrong_start_time(void **state)
{
    struct child c;
    (void)state;
    start(&c, "child");
    expect(&c, c.started_us + SECOND, false);
    expect(&c, c.started_us - 10 * SECOND, false);
    expect(&c, 0, false);
    expect(&c, UINT64_MAX - SECOND * 3, false);
    end(&c);
}

/* The name is of the process's own choice, and stands before what is looked for. */
static void test_odd_names(void **state)
{
    static const char *const names[] = {") Z 1 1 1", "a b c", "))))", "(", "\n\n\n", ""};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct child c;
        start(&c, names[i]);
        expect(&c, c.started_us, true);
        expect(&c, c.started_us + SECOND, false);
        end(&c);
    }
}

static void test_zombie_and_gone(void **state)
{
    struct child c;
    siginfo_t info;
    (void)state;
    start(&c, "child");
    (void)close(c.release);
    assert_int_equal(waitid(P_PID, (id_t)c.pid, &info, WEXITED | WNOWAIT), 0);
    expect(&c, c.started_us, false);
    assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
    expect(&c, c.started_us, false);
}

static void test_no_pid(void **state)
{
    (void)state;
    assert_false(sbx_ident_runs(0, sbx_ident_now_us()));
    assert_false(sbx_ident_runs(-1, sbx_ident_now_us()));
}

static void test_clock(void **state)
{
    uint64_t a = sbx_ident_now_us(), b;
    (void)state;
    b = sbx_ident_now_us();
    assert_true(b >= a && b - a < 10 * SECOND);
    assert_true(a + SECOND >= sbx_clock_mono_us()); /* it counts sleep as well */
}

static void test_boot(void **state)
{
    char a[SBX_BOOT_ID_MAX], b[SBX_BOOT_ID_MAX];
    (void)state;
    memset(a, 'x', sizeof a);
    memset(b, 'y', sizeof b);
    sbx_ident_boot(a);
    sbx_ident_boot(b);
    assert_string_equal(a, b);
    assert_true(strlen(a) >= 32 && strlen(a) < sizeof a - 1);
    assert_null(strchr(a, '\n'));
}

/* The text in a new pid namespace, as a child of the caller's; false where there may be none. */
static bool boot_in_namespace(bool own_proc, char boot[SBX_BOOT_ID_MAX])
{
    int fds[2], status;
    pid_t pid;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0 ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(1);
        pid = fork(); /* the first one in it */
        if (pid > 0)
            _exit(waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1);
        if (pid < 0 || (own_proc && mount("proc", "/proc", "proc", 0, NULL) < 0))
            _exit(1);
        sbx_ident_boot(boot);
        _exit(write(fds[1], boot, SBX_BOOT_ID_MAX) == SBX_BOOT_ID_MAX ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status == 0)
        assert_int_equal(read(fds[0], boot, SBX_BOOT_ID_MAX), SBX_BOOT_ID_MAX);
    (void)close(fds[0]);
    (void)close(fds[1]);
    return status == 0;
}

/* Containers share a boot, and their pids have nothing in common. */
static void test_boot_of_a_namespace(void **state)
{
    char here[SBX_BOOT_ID_MAX], there[SBX_BOOT_ID_MAX] = "";
    (void)state;
    sbx_ident_boot(here);
    if (!boot_in_namespace(true, there))
        skip();
    assert_true(strlen(there) >= 32 && strlen(there) < sizeof there - 1);
    assert_memory_equal(here, there, 32);
    assert_string_not_equal(here, there);
    assert_true(boot_in_namespace(false, there));
    assert_string_equal(there, ""); /* what /proc says of a pid is of somebody else */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_again),
        cmocka_unit_test(test_start_is_told),
        cmocka_unit_test(test_wrong_start_time),
        cmocka_unit_test(test_odd_names),
        cmocka_unit_test(test_zombie_and_gone),
        cmocka_unit_test(test_no_pid),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_boot),
        cmocka_unit_test(test_boot_of_a_namespace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
