/* Children that end: known ones are told about exactly once, unknown ones are collected. */
#include "proc/reap.h"

#include "rig.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct known {
    struct sbx_child child;
    unsigned told;
    struct sbx_exit exit;
    bool was_there; /* while being told, its pid was still taken */
    pid_t pid;
    struct sbx_reap *reap;
    struct known *remove; /* what it removes when told */
};

static void on_exit_of(struct sbx_child *c, const struct sbx_exit *exit)
{
    struct known *k = SBX_LIST_OF(c, struct known, child);
    k->told++;
    k->exit = *exit;
    k->was_there = kill(k->pid, 0) == 0;
    assert_int_equal(c->pid, 0);
    if (k->remove != NULL)
        sbx_reap_remove(k->reap, &k->remove->child);
}

/* A child that ends as `how` says, once it is allowed to. */
static pid_t fork_child(void (*how)(int arg), int arg)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        how(arg);
        _exit(99);
    }
    return pid;
}

static void exit_with(int code)
{
    _exit(code);
}

static void die_of(int sig)
{
    struct rlimit none = {0, 0};
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)sigaction(sig, &dfl, NULL);
    (void)kill(getpid(), sig);
}

static void stop_self(int sig)
{
    (void)kill(getpid(), sig);
    _exit(4);
}

static void know(struct sbx_reap *r, struct known *k, pid_t pid)
{
    memset(k, 0, sizeof *k);
    k->pid = pid;
    k->reap = r;
    k->child.pid = pid;
    k->child.on_exit = on_exit_of;
    sbx_reap_add(r, &k->child);
}

/* Until the child has ended; it is left to be reaped. */
static void await_end(pid_t pid)
{
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static bool is_reaped(pid_t pid)
{
    return waitpid(pid, NULL, WNOHANG) == -1 && errno == ECHILD;
}

static void test_codes(void **state)
{
    static const int codes[] = {0, 1, 42, 127, 255};
    struct sbx_reap reap;
    size_t i;
    (void)state;
    sbx_reap_init(&reap);
    for (i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct known k;
        know(&reap, &k, fork_child(exit_with, codes[i]));
        await_end(k.pid);
        sbx_reap_collect(&reap);
        sbx_reap_collect(&reap);
        assert_int_equal(k.told, 1);
        assert_true(k.was_there);
        assert_int_equal(k.exit.kind, SBX_EXIT_CODE);
        assert_int_equal(k.exit.value, codes[i]);
        assert_false(k.exit.core);
        assert_true(is_reaped(k.pid));
    }
}

static void test_signals(void **state)
{
    static const int sigs[] = {SIGKILL, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE};
    struct sbx_reap reap;
    size_t i;
    (void)state;
    sbx_reap_init(&reap);
    for (i = 0; i < sizeof sigs / sizeof sigs[0]; i++) {
        struct known k;
        know(&reap, &k, fork_child(die_of, sigs[i]));
        await_end(k.pid);
        sbx_reap_collect(&reap);
        assert_int_equal(k.exit.kind, SBX_EXIT_SIGNAL);
        assert_int_equal(k.exit.value, sigs[i]);
        assert_false(k.exit.core);
    }
}

/* Whether a core is written depends on the machine; what is told must be what the system says. */
static void test_core(void **state)
{
    struct sbx_reap reap;
    struct known k;
    siginfo_t info;
    pid_t pid = fork();
    (void)state;
    if (pid == 0) {
        struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
        struct sigaction dfl = {.sa_handler = SIG_DFL};
        (void)setrlimit(RLIMIT_CORE, &all);
        (void)sigaction(SIGQUIT, &dfl, NULL);
        if (chdir("/") == 0) /* nowhere that a test could litter */
            (void)kill(getpid(), SIGQUIT);
        _exit(1);
    }
    sbx_reap_init(&reap);
    know(&reap, &k, pid);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    sbx_reap_collect(&reap);
    assert_int_equal(k.exit.value, SIGQUIT);
    assert_int_equal(k.exit.core, info.si_code == CLD_DUMPED);
}

static void test_unknown_ones_are_collected(void **state)
{
    struct sbx_reap reap;
    struct known k;
    pid_t strangers[20];
    size_t i;
    (void)state;
    sbx_reap_init(&reap);
    for (i = 0; i < 10; i++)
        strangers[i] = fork_child(exit_with, 1);
    know(&reap, &k, fork_child(exit_with, 9));
    for (; i < 20; i++)
        strangers[i] = fork_child(exit_with, 2);
    for (i = 0; i < 20; i++)
        await_end(strangers[i]);
    await_end(k.pid);
    sbx_reap_collect(&reap);
    assert_int_equal(k.told, 1);
    assert_int_equal(k.exit.value, 9);
    for (i = 0; i < 20; i++)
        assert_true(is_reaped(strangers[i]));
}

static void test_removed_ones_are_not_told(void **state)
{
    struct sbx_reap reap;
    struct known k;
    (void)state;
    sbx_reap_init(&reap);
    know(&reap, &k, fork_child(exit_with, 1));
    sbx_reap_remove(&reap, &k.child);
    sbx_reap_remove(&reap, &k.child);
    assert_int_equal(k.child.pid, 0);
    await_end(k.pid);
    sbx_reap_collect(&reap);
    assert_int_equal(k.told, 0);
    assert_true(is_reaped(k.pid));
}

/* Two that ended together, and whichever is told first takes the other one out. */
static void test_told_while_others_go(void **state)
{
    struct sbx_reap reap;
    struct known a, b;
    (void)state;
    sbx_reap_init(&reap);
    know(&reap, &a, fork_child(exit_with, 1));
    know(&reap, &b, fork_child(exit_with, 2));
    a.remove = &b;
    b.remove = &a;
    await_end(a.pid);
    await_end(b.pid);
    sbx_reap_collect(&reap);
    assert_int_equal(a.told + b.told, 1);
    assert_true(is_reaped(a.pid) && is_reaped(b.pid));
}

static void test_a_stopped_child_has_not_ended(void **state)
{
    struct sbx_reap reap;
    struct known k;
    siginfo_t info;
    (void)state;
    sbx_reap_init(&reap);
    know(&reap, &k, fork_child(stop_self, SIGSTOP));
    assert_int_equal(waitid(P_PID, (id_t)k.pid, &info, WSTOPPED | WNOWAIT), 0);
    sbx_reap_collect(&reap);
    assert_int_equal(k.told, 0);
    assert_int_equal(kill(k.pid, SIGCONT), 0);
    await_end(k.pid);
    sbx_reap_collect(&reap);
    assert_int_equal(k.told, 1);
    assert_int_equal(k.exit.value, 4);
}

/* More than there are buckets, ending in any order. */
static void test_many(void **state)
{
    static struct known many[300];
    struct sbx_reap reap;
    size_t i, told = 0;
    (void)state;
    sbx_reap_init(&reap);
    for (i = 0; i < 300; i++)
        know(&reap, &many[i], fork_child(exit_with, (int)(i % 200)));
    for (i = 0; i < 300; i += 3)
        sbx_reap_remove(&reap, &many[i].child);
    for (i = 0; i < 300; i++)
        await_end(many[i].pid);
    sbx_reap_collect(&reap);
    for (i = 0; i < 300; i++) {
        told += many[i].told;
        assert_int_equal(many[i].told, i % 3 != 0);
        if (i % 3 != 0)
            assert_int_equal(many[i].exit.value, i % 200);
    }
    assert_int_equal(told, 200);
    for (i = 0; i < SBX_REAP_BUCKETS; i++)
        assert_null(reap.buckets[i]);
}

static void test_nothing_to_collect(void **state)
{
    struct sbx_reap reap;
    (void)state;
    sbx_reap_init(&reap);
    sbx_reap_collect(&reap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_core),
        cmocka_unit_test(test_unknown_ones_are_collected),
        cmocka_unit_test(test_removed_ones_are_not_told),
        cmocka_unit_test(test_told_while_others_go),
        cmocka_unit_test(test_a_stopped_child_has_not_ended),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_nothing_to_collect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
