/* Signals to whole trees. The processes are shells that write down each signal they get. */
#include "os/ptree.h"

#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct {
    char dir[200];
    pid_t leader;
} t;

static int setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    (void)snprintf(t.dir, sizeof t.dir, "%s/ptreeXXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(t.dir));
    sbx_ptree_become_subreaper();
    return 0;
}

static int teardown(void **state)
{
    char command[300];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", t.dir);
    return system(command);
}

enum how { IN_GROUP, OWN_GROUP, OWN_SESSION, ORPHAN };

struct member {
    enum how how;
    const char *script; /* of sh, in t.dir */
};

static _Noreturn void become(const struct member *m, size_t n);

static void fork_member(const struct member *m, size_t n)
{
    if (fork() != 0)
        return;
    if (m->how == OWN_SESSION)
        (void)setsid();
    if (m->how == OWN_GROUP || m->how == ORPHAN)
        (void)setpgid(0, 0);
    if (m->how == ORPHAN && fork() != 0)
        _exit(0);
    become(m, n);
}

/* Each member is the parent of the next one. */
static _Noreturn void become(const struct member *m, size_t n)
{
    if (n > 1)
        fork_member(m + 1, n - 1);
    (void)execl("/bin/sh", "sh", "-c", m->script, (char *)NULL);
    _exit(99);
}

/* The first one leads a session. */
static void start_all(const struct member *m, size_t n)
{
    t.leader = fork();
    assert_true(t.leader >= 0);
    if (t.leader == 0) {
        if (setsid() < 0 || chdir(t.dir) < 0)
            _exit(98);
        become(m, n);
    }
}

#define START(...)                                                                                 \
    start_all((const struct member[]){__VA_ARGS__},                                                \
              sizeof(const struct member[]){__VA_ARGS__} / sizeof(struct member))

static size_t size_of(const char *name)
{
    char path[300];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/%s", t.dir, name);
    return stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

static bool is_there(const char *name)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", t.dir, name);
    return access(path, F_OK) == 0;
}

static void await_file(const char *name)
{
    uint64_t end = sbx_clock_mono_us() + RIG_PATIENCE_US;
    struct timespec moment = {0, 500000};
    while (!is_there(name)) {
        if (sbx_clock_mono_us() > end)
            fail_msg("waited in vain for %s", name);
        (void)nanosleep(&moment, NULL);
    }
}

static pid_t pid_in(const char *name)
{
    char path[300], text[32] = "";
    int fd;
    (void)snprintf(path, sizeof path, "%s/%s", t.dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    (void)close(fd);
    return (pid_t)strtol(text, NULL, 10);
}

/* All that is left of the test's children, and of the orphans that came to us. */
static void reap_all(void)
{
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        continue;
}

static void clear(void)
{
    char command[300];
    (void)snprintf(command, sizeof command, "rm -f '%s'/*", t.dir);
    assert_int_equal(system(command), 0);
}

static bool tells_children(void)
{
    char path[100];
    (void)snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)getpid());
    return access(path, R_OK) == 0;
}

/* Writes a byte for every USR1, says when it is ready, and ends at "stop". */
#define LISTENER(name)                                                                             \
    "trap 'printf x >>" name "' USR1; trap '' USR2; echo $$ >" name ".tmp; mv " name ".tmp " name  \
    ".pid; while [ ! -e stop ]; do sleep 0.005; done; : >" name ".end"

static void stop_all(void)
{
    char path[300];
    int fd;
    (void)snprintf(path, sizeof path, "%s/stop", t.dir);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
}

static void test_group_members_get_it_once(void **state)
{
    (void)state;
    START({IN_GROUP, LISTENER("leader")}, {IN_GROUP, LISTENER("child")});
    await_file("child.pid");
    await_file("leader.pid");
    /* A `sleep` has no handler and dies of USR1; the shells go on. */
    sbx_ptree_signal(t.leader, SIGUSR1, 0);
    stop_all();
    reap_all();
    assert_int_equal(size_of("leader"), 1);
    assert_int_equal(size_of("child"), 1);
    clear();
}

/* As shells with job control make them: a group of its own, in the same session. */
static void test_other_groups_are_reached(void **state)
{
    (void)state;
    if (!tells_children())
        skip();
    START({IN_GROUP, LISTENER("leader")}, {OWN_GROUP, LISTENER("job")});
    await_file("job.pid");
    await_file("leader.pid");
    assert_int_not_equal(getpgid(pid_in("job.pid")), t.leader);
    sbx_ptree_signal(t.leader, SIGUSR1, 0);
    stop_all();
    reap_all();
    assert_int_equal(size_of("job"), 1);
    assert_int_equal(size_of("leader"), 1);
    clear();
}

static void test_other_sessions_are_reached(void **state)
{
    (void)state;
    if (!tells_children())
        skip();
    START({IN_GROUP, LISTENER("leader")}, {OWN_SESSION, LISTENER("outer")},
          {IN_GROUP, LISTENER("inner")}, {OWN_SESSION, LISTENER("deep")});
    await_file("deep.pid");
    await_file("inner.pid");
    await_file("outer.pid");
    await_file("leader.pid");
    assert_int_not_equal(getsid(pid_in("outer.pid")), t.leader);
    sbx_ptree_signal(t.leader, SIGKILL, 0);
    reap_all(); /* returns only when all of them are dead */
    assert_false(is_there("deep.end") || is_there("inner.end") || is_there("outer.end"));
    assert_false(is_there("leader.end"));
    clear();
}

/* Its parent has ended, so it is ours; it is still in the leader's session. */
static void test_orphans_of_the_session_are_reached(void **state)
{
    (void)state;
    if (!tells_children())
        skip();
    START({IN_GROUP, LISTENER("leader")}, {ORPHAN, LISTENER("orphan")},
          {OWN_SESSION, LISTENER("child")});
    await_file("child.pid");
    await_file("orphan.pid");
    await_file("leader.pid");
    assert_int_not_equal(getpgid(pid_in("orphan.pid")), t.leader);
    sbx_ptree_signal(t.leader, SIGUSR1, 0);
    stop_all();
    reap_all();
    assert_int_equal(size_of("child"), 1);
    assert_int_equal(size_of("orphan"), 1);
    assert_int_equal(size_of("leader"), 1);
    clear();
}

/* The leader is dead and reaped; a stranger in another session is left alone. */
static void test_what_a_leader_left_behind(void **state)
{
    pid_t stranger, orphan;
    (void)state;
    if (!tells_children())
        skip();
    START({IN_GROUP, LISTENER("stranger")});
    stranger = t.leader;
    await_file("stranger.pid");
    START({IN_GROUP, "while [ ! -e orphan.pid ]; do sleep 0.005; done"},
          {IN_GROUP, LISTENER("orphan")});
    assert_int_equal(waitpid(t.leader, NULL, 0), t.leader);
    orphan = pid_in("orphan.pid");
    sbx_ptree_signal_orphans(t.leader, SIGKILL, 0);
    assert_int_equal(waitpid(orphan, NULL, 0), orphan);
    assert_false(is_there("orphan.end"));
    assert_int_equal(kill(stranger, 0), 0);
    stop_all();
    reap_all();
    assert_true(is_there("stranger.end"));
    clear();
}

/* A suspended shell acts on the first signal only after the second one has continued it. */
static void test_two_signals(void **state)
{
    siginfo_t info;
    int status;
    (void)state;
    START({IN_GROUP, "trap 'exit 7' TERM; kill -STOP $$; exit 8"});
    assert_int_equal(waitid(P_PID, (id_t)t.leader, &info, WSTOPPED | WNOWAIT), 0);
    sbx_ptree_signal(t.leader, SIGTERM, SIGCONT);
    assert_int_equal(waitpid(t.leader, &status, 0), t.leader);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    clear();
}

static void test_kill_all_descendants(void **state)
{
    (void)state;
    if (!tells_children())
        skip();
    START({IN_GROUP, LISTENER("leader")}, {OWN_SESSION, LISTENER("outer")},
          {ORPHAN, LISTENER("orphan")}, {OWN_SESSION, LISTENER("deep")});
    await_file("deep.pid");
    await_file("orphan.pid");
    await_file("outer.pid");
    await_file("leader.pid");
    sbx_ptree_kill_descendants();
    reap_all(); /* returns only when all of them are dead */
    assert_false(is_there("deep.end") || is_there("orphan.end") || is_there("outer.end"));
    assert_false(is_there("leader.end"));
    clear();
}

static void test_who_ignores_what(void **state)
{
    (void)state;
    if (!tells_children())
        skip();
    START({IN_GROUP, "trap '' HUP; " LISTENER("leader")});
    await_file("leader.pid");
    assert_true(sbx_ptree_ignores(t.leader, SIGHUP));
    assert_true(sbx_ptree_ignores(t.leader, SIGUSR2));
    assert_false(sbx_ptree_ignores(t.leader, SIGTERM));
    assert_false(sbx_ptree_ignores(t.leader, SIGUSR1)); /* caught */
    stop_all();
    reap_all();
    assert_true(sbx_ptree_ignores(t.leader, SIGTERM)); /* nobody there to ask */
    clear();
}

struct children {
    pid_t pids[16];
    size_t n;
};

static void note_child(void *ctx, pid_t pid)
{
    struct children *c = ctx;
    assert_true(c->n < 16);
    c->pids[c->n++] = pid;
}

/* Those that run and those that have ended, and nobody's grandchildren. */
static void test_each_child(void **state)
{
    struct children c = {.n = 0};
    siginfo_t info;
    pid_t ended, runs;
    int r, w;
    char c1;
    (void)state;
    assert_int_equal(sbx_fd_pipe(&r, &w), 0);
    if (!tells_children())
        skip();
    assert_false(sbx_ptree_each_child(note_child, &c));
    ended = fork();
    if (ended == 0)
        _exit(0);
    runs = fork();
    if (runs == 0) {
        if (fork() != 0)
            (void)sbx_fd_write(w, "x", 1);
        for (;;)
            pause();
    }
    assert_int_equal(sbx_fd_read(r, &c1, 1), 1);
    assert_int_equal(waitid(P_PID, (id_t)ended, &info, WEXITED | WNOWAIT), 0);
    assert_true(sbx_ptree_each_child(note_child, &c));
    assert_int_equal(c.n, 2);
    assert_int_equal(c.pids[0] + c.pids[1], ended + runs);
    sbx_fd_close(&r);
    sbx_fd_close(&w);
    sbx_ptree_kill_descendants();
    reap_all();
}

static void test_a_dead_leader_is_no_harm(void **state)
{
    siginfo_t info;
    (void)state;
    START({IN_GROUP, "exit 0"});
    assert_int_equal(waitid(P_PID, (id_t)t.leader, &info, WEXITED | WNOWAIT), 0);
    sbx_ptree_signal(t.leader, SIGTERM, 0);
    reap_all();
}

/* As a damaged record may name it. Were it taken for a number, we would be among those it means. */
static void test_nobody_leads_session_zero(void **state)
{
    pid_t pid = fork();
    int status;
    (void)state;
    if (pid == 0) {
        (void)setsid();
        sbx_ptree_signal(0, SIGTERM, SIGKILL);
        sbx_ptree_signal_orphans(0, SIGTERM, SIGKILL);
        _exit(7);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_members_get_it_once),
        cmocka_unit_test(test_other_groups_are_reached),
        cmocka_unit_test(test_other_sessions_are_reached),
        cmocka_unit_test(test_orphans_of_the_session_are_reached),
        cmocka_unit_test(test_what_a_leader_left_behind),
        cmocka_unit_test(test_two_signals),
        cmocka_unit_test(test_kill_all_descendants),
        cmocka_unit_test(test_who_ignores_what),
        cmocka_unit_test(test_a_dead_leader_is_no_harm),
        cmocka_unit_test(test_nobody_leads_session_zero),
        cmocka_unit_test(test_each_child),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
