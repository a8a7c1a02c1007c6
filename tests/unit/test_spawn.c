/* Starting programs. Files are made in a directory of their own under TMPDIR. */
#include "os/spawn.h"

#include "base/mem.h"
#include "gate.h"
#include "os/pty.h"
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    struct sbx_spawn_env env;
    char dir[200];
    char text[65536]; /* what the child wrote */
    size_t n;
} t;

static void in_dir(char out[300], const char *name)
{
    (void)snprintf(out, 300, "%s/%s", t.dir, name);
}

static void make_file(const char *name, const char *text, mode_t mode)
{
    char path[300];
    int fd;
    in_dir(path, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void make_dir(const char *name)
{
    char path[300];
    in_dir(path, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static int setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    (void)snprintf(t.dir, sizeof t.dir, "%s/spawnXXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(t.dir));
    sigemptyset(&t.env.reset);
    sigaddset(&t.env.reset, SIGPIPE);
    sigaddset(&t.env.reset, SIGUSR1);
    (void)sbx_fd_raise_limit(&t.env.nofile_soft);
    make_dir("a");
    make_dir("b");
    make_file("a/tool", "#!/bin/sh\necho tool of a\n", 0755);
    make_file("b/tool", "#!/bin/sh\necho tool of b\n", 0755);
    make_file("b/only", "#!/bin/sh\necho only in b\n", 0755);
    make_file("a/locked", "#!/bin/sh\necho no\n", 0644);
    make_file("b/locked", "#!/bin/sh\necho locked of b\n", 0755);
    make_file("a/plain", "echo a script without its first line\n", 0755);
    make_file("b/plain", "#!/bin/sh\necho plain of b\n", 0755);
    make_file("here", "#!/bin/sh\necho here\n", 0755);
    make_file("badint", "#!/no/such/interpreter\n", 0755);
    return 0;
}

static int teardown(void **state)
{
    char command[300];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", t.dir);
    return system(command);
}

struct result {
    int rc;
    enum sbx_spawn_step step;
    pid_t pid;
    int status; /* of waitpid */
};

static void collect(int fd)
{
    ssize_t got;
    t.n = 0;
    while ((got = sbx_fd_read(fd, t.text + t.n, sizeof t.text - 1 - t.n)) > 0)
        t.n += (size_t)got;
    t.text[t.n] = '\0';
}

/* Starts it with /dev/null as input and both outputs into t.text; waits for its end. */
static struct result spawn(struct sbx_spawn s)
{
    static char *const no_env[] = {NULL};
    struct result r = {.step = SBX_SPAWN_FORK};
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC), out, back;
    assert_int_equal(sbx_fd_pipe(&back, &out), 0);
    s.fds[0] = in;
    s.fds[1] = s.fds[2] = out;
    if (s.envp == NULL)
        s.envp = no_env;
    r.rc = sbx_spawn(&t.env, &s, &r.pid, &r.step);
    sbx_fd_close(&in);
    sbx_fd_close(&out);
    collect(back);
    sbx_fd_close(&back);
    if (r.rc == 0)
        assert_int_equal(waitpid(r.pid, &r.status, 0), r.pid);
    return r;
}

static struct result run(const char *command, const char *path, const char *cwd)
{
    char *const argv[] = {(char *)(uintptr_t)"name", (char *)(uintptr_t)"x", NULL};
    return spawn((struct sbx_spawn){.command = command, .path = path, .cwd = cwd, .argv = argv});
}

static struct result sh(const char *script)
{
    char *const argv[] = {(char *)(uintptr_t)"sh", (char *)(uintptr_t)"-c",
                          (char *)(uintptr_t)script, NULL};
    return spawn((struct sbx_spawn){.command = "/bin/sh", .argv = argv});
}

static struct result run_in_dir(const char *name)
{
    char path[300];
    in_dir(path, name);
    return run(path, NULL, NULL);
}

static void expect_failure(struct result r, int rc, enum sbx_spawn_step step)
{
    assert_int_equal(r.rc, rc);
    assert_int_equal(r.step, step);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left behind */
    assert_int_equal(errno, ECHILD);
}

static void test_failures_name_the_step(void **state)
{
    (void)state;
    expect_failure(run_in_dir("missing"), -ENOENT, SBX_SPAWN_EXEC);
    expect_failure(run_in_dir("here/below"), -ENOTDIR, SBX_SPAWN_EXEC);
    expect_failure(run_in_dir("a/locked"), -EACCES, SBX_SPAWN_EXEC);
    expect_failure(run_in_dir("a"), -EACCES, SBX_SPAWN_EXEC);
    expect_failure(run_in_dir("a/plain"), -ENOEXEC, SBX_SPAWN_EXEC);
    expect_failure(run_in_dir("badint"), -ENOENT, SBX_SPAWN_EXEC);
    expect_failure(run("/bin/sh", NULL, "/no/such/place"), -ENOENT, SBX_SPAWN_CWD);
    expect_failure(run("/bin/sh", NULL, "/bin/sh"), -ENOTDIR, SBX_SPAWN_CWD);
    expect_failure(run("no-such-program-anywhere", NULL, NULL), -ENOENT, SBX_SPAWN_EXEC);
}

static void test_no_descriptor_is_left(void **state)
{
    size_t fds = rig_count_fds();
    (void)state;
    (void)run("/bin/sh", NULL, "/no/such/place");
    (void)run("/no/such/program", NULL, NULL);
    (void)sh("exit 0");
    assert_int_equal(rig_count_fds(), fds);
}

static struct result search(const char *command, const char *path)
{
    return run(command, path, t.dir);
}

static void expect_text(struct result r, const char *text)
{
    assert_int_equal(r.rc, 0);
    assert_string_equal(t.text, text);
}

static void test_search(void **state)
{
    char path[700];
    (void)state;
    (void)snprintf(path, sizeof path, "%s/a:%s/b", t.dir, t.dir);
    expect_text(search("tool", path), "tool of a\n");
    expect_text(search("only", path), "only in b\n");
    expect_text(search("locked", path), "locked of b\n"); /* what may not be run is passed over */
    expect_failure(search("plain", path), -ENOEXEC, SBX_SPAWN_EXEC);
    (void)snprintf(path, sizeof path, "%s/b:%s/a", t.dir, t.dir);
    expect_text(search("tool", path), "tool of b\n");
    (void)snprintf(path, sizeof path, "%s/a:/no/such/place", t.dir);
    expect_failure(search("locked", path), -EACCES, SBX_SPAWN_EXEC); /* it says more than ENOENT */
    (void)snprintf(path, sizeof path, "%s/here:%s/b", t.dir, t.dir);
    expect_text(search("only", path), "only in b\n"); /* a file among the directories */
}

static void test_empty_entries_are_the_current_directory(void **state)
{
    char path[700];
    (void)state;
    expect_text(search("here", ""), "here\n");
    expect_text(search("here", ":/no/such/place"), "here\n");
    expect_text(search("here", "/no/such/place:"), "here\n");
    expect_text(search("here", "/no/such::/place"), "here\n");
    (void)snprintf(path, sizeof path, "/no/such/place:%s/b", t.dir);
    expect_failure(search("here", path), -ENOENT, SBX_SPAWN_EXEC);
    expect_text(search("tool", "a:b"), "tool of a\n"); /* relative to the child's directory */
}

static void test_a_slash_means_no_search(void **state)
{
    char path[300];
    (void)state;
    in_dir(path, "b");
    expect_text(search("./here", path), "here\n");
    expect_text(search("a/tool", path), "tool of a\n");
    expect_failure(search("./tool", path), -ENOENT, SBX_SPAWN_EXEC);
}

/* The server's own PATH is no matter; without one, the system's programs are found. */
static void test_path_of_the_child_counts(void **state)
{
    char path[300], mine[4096];
    (void)state;
    (void)snprintf(mine, sizeof mine, "%s", getenv("PATH"));
    in_dir(path, "a");
    assert_int_equal(setenv("PATH", path, 1), 0);
    expect_failure(run("tool", "/no/such/place", NULL), -ENOENT, SBX_SPAWN_EXEC);
    assert_int_equal(run("true", NULL, NULL).rc, 0);
    assert_int_equal(setenv("PATH", mine, 1), 0);
}

static void test_arguments_environment_directory(void **state)
{
    char *const argv[] = {(char *)(uintptr_t)"zero", (char *)(uintptr_t)"-c",
                          (char *)(uintptr_t)"echo \"$0|$1|$#|$V|$(pwd)\"; exit 3",
                          (char *)(uintptr_t)"a b", (char *)(uintptr_t)"", NULL};
    char *const envp[] = {(char *)(uintptr_t)"V=a=b \n", (char *)(uintptr_t)"PATH=/usr/bin:/bin",
                          NULL};
    struct result r;
    (void)state;
    r = spawn((struct sbx_spawn){.command = "/bin/sh", .argv = argv, .envp = envp, .cwd = "/"});
    expect_text(r, "a b||1|a=b \n|/\n");
    assert_true(WIFEXITED(r.status) && WEXITSTATUS(r.status) == 3);
}

static void test_leads_session_and_group(void **state)
{
    struct result r;
    long pid, group, session;
    (void)state;
    r = sh("read line </proc/self/stat; cut -d' ' -f1,5,6 </proc/$$/stat");
    if (r.status != 0)
        skip();
    assert_int_equal(sscanf(t.text, "%ld %ld %ld", &pid, &group, &session), 3);
    assert_int_equal(pid, r.pid);
    assert_int_equal(group, r.pid);
    assert_int_equal(session, r.pid);
}

static void test_three_descriptors(void **state)
{
    int extra = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)state;
    assert_int_equal(sh("for f in 0 1 2; do [ -e /dev/fd/$f ] && echo $f; done;"
                        "for f in 3 4 5 6 7 8 9; do (: <&$f) 2>/dev/null && echo $f; done; :")
                         .rc, 0);
    assert_string_equal(t.text, "0\n1\n2\n");
    sbx_fd_close(&extra);
}

static unsigned long long hex_line(const char *name)
{
    const char *at = strstr(t.text, name);
    assert_non_null(at);
    return strtoull(at + strlen(name), NULL, 16);
}

static void test_signals_are_reset(void **state)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before_pipe, before_usr;
    sigset_t block, before;
    (void)state;
    (void)sigaction(SIGPIPE, &ignore, &before_pipe);
    (void)sigaction(SIGUSR1, &ignore, &before_usr);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &block, &before);
    assert_int_equal(run("cat", "/bin:/usr/bin", NULL).rc, 0);
    {
        char *const argv[] = {(char *)(uintptr_t)"cat", (char *)(uintptr_t)"/proc/self/status",
                              NULL};
        assert_int_equal(spawn((struct sbx_spawn){.command = "cat", .argv = argv}).rc, 0);
    }
    assert_int_equal(hex_line("SigIgn:"), 0);
    assert_int_equal(hex_line("SigBlk:"), 0);
    /* Ours are as they were. */
    (void)sigprocmask(SIG_SETMASK, &before, &block);
    assert_true(sigismember(&block, SIGUSR2));
    assert_false(sigismember(&block, SIGUSR1));
    (void)sigaction(SIGPIPE, &before_pipe, &ignore);
    assert_true(ignore.sa_handler == SIG_IGN);
    (void)sigaction(SIGUSR1, &before_usr, NULL);
}

static void test_limit_of_files_is_restored(void **state)
{
    size_t keep = t.env.nofile_soft;
    (void)state;
    t.env.nofile_soft = 77;
    expect_text(sh("ulimit -Sn"), "77\n");
    t.env.nofile_soft = keep;
}

static void test_terminal_becomes_controlling(void **state)
{
    char *const argv[] = {(char *)(uintptr_t)"sh", (char *)(uintptr_t)"-c",
                          (char *)(uintptr_t)"echo out >/dev/tty; tty -s && echo yes; stty size",
                          NULL};
    char *const envp[] = {(char *)(uintptr_t)"PATH=/usr/bin:/bin", NULL};
    struct sbx_spawn s = {.command = "/bin/sh", .argv = argv, .envp = envp, .terminal = true};
    enum sbx_spawn_step step;
    int master, slave, status;
    pid_t pid;
    ssize_t got;
    (void)state;
    assert_int_equal(sbx_pty_open(91, 33, &master, &slave), 0);
    s.fds[0] = s.fds[1] = s.fds[2] = slave;
    assert_int_equal(sbx_spawn(&t.env, &s, &pid, &step), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    got = sbx_fd_read(master, t.text, sizeof t.text - 1);
    assert_true(got > 0);
    t.text[got] = '\0';
    assert_string_equal(t.text, "out\r\nyes\r\n33 91\r\n");
    sbx_fd_close(&slave);
    sbx_fd_close(&master);
}

static void spawn_with_little_memory(void *ctx, const struct gate *g)
{
    char *const argv[] = {(char *)(uintptr_t)"true", NULL};
    struct result r;
    (void)ctx;
    r = spawn((struct sbx_spawn){.command = "true", .path = "/x:/usr/bin:/bin", .argv = argv});
    assert_int_equal(r.rc, gate_hit(g) ? -ENOMEM : 0);
    if (r.rc < 0)
        assert_int_equal(r.step, SBX_SPAWN_FORK);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_int_equal(gate_each(spawn_with_little_memory, NULL), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures_name_the_step),
        cmocka_unit_test(test_no_descriptor_is_left),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_empty_entries_are_the_current_directory),
        cmocka_unit_test(test_a_slash_means_no_search),
        cmocka_unit_test(test_path_of_the_child_counts),
        cmocka_unit_test(test_arguments_environment_directory),
        cmocka_unit_test(test_leads_session_and_group),
        cmocka_unit_test(test_three_descriptors),
        cmocka_unit_test(test_signals_are_reset),
        cmocka_unit_test(test_limit_of_files_is_restored),
        cmocka_unit_test(test_terminal_becomes_controlling),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
