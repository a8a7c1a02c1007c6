/* Where the server keeps its state: which directory, made for its owner alone, and one server's. */
#include "app/datadir.h"

#include "base/mem.h"
#include "gate.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64], path[512], said[4096];
static struct sbx_datadir d;
static struct sbx_err err;
static int real_stderr;

static const char *under(const char *name)
{
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static int setup(void **state)
{
    (void)state;
    memset(&err, 0, sizeof err);
    (void)snprintf(root, sizeof root, "/tmp/sbx-datadir-XXXXXX");
    assert_non_null(mkdtemp(root));
    (void)unsetenv("XDG_DATA_HOME");
    assert_int_equal(setenv("HOME", under("home"), 1), 0);
    return 0;
}

static int teardown(void **state)
{
    char command[100];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

/* Opens it; what goes to stderr meanwhile is in `said`. */
static int open_dir(const char *flag)
{
    const struct sbx_diag diag = {SBX_DIAG_WARN};
    FILE *f = tmpfile();
    size_t n;
    int rc;
    assert_non_null(f);
    real_stderr = dup(2);
    assert_true(real_stderr >= 0 && dup2(fileno(f), 2) == 2);
    rc = sbx_datadir_open(&d, flag, &diag, &err);
    assert_int_equal(dup2(real_stderr, 2), 2);
    (void)close(real_stderr);
    rewind(f);
    n = fread(said, 1, sizeof said - 1, f);
    said[n] = '\0';
    (void)fclose(f);
    return rc;
}

static unsigned mode_of(const char *name)
{
    struct stat st;
    if (stat(name, &st) < 0)
        return 0;
    return st.st_mode & 07777;
}

static void expect_opened(const char *flag, const char *dir)
{
    assert_int_equal(open_dir(flag), 0);
    assert_string_equal(sbx_datadir_path(&d), dir);
    assert_string_equal(said, "");
    assert_int_equal(mode_of(dir), 0700);
    assert_true(d.lock >= 0);
    assert_true((fcntl(d.lock, F_GETFD) & FD_CLOEXEC) != 0);
    sbx_datadir_deinit(&d);
    assert_int_equal(d.lock, -1);
}

static void expect_in_memory(const char *warning)
{
    assert_null(sbx_datadir_path(&d));
    assert_int_equal(d.lock, -1);
    if (warning == NULL)
        assert_string_equal(said, "");
    else if (strstr(said, warning) == NULL || strstr(said, "--data-dir") == NULL)
        fail_msg("said: %s", said);
    sbx_datadir_deinit(&d);
}

/* --- which one --- */

static void test_default(void **state)
{
    char dir[512], other[512];
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/home/.local/share/sandbox-agent", root);
    expect_opened(NULL, dir);
    (void)snprintf(other, sizeof other, "%s/data", root);
    assert_int_equal(setenv("XDG_DATA_HOME", other, 1), 0);
    (void)snprintf(other, sizeof other, "%s/data/sandbox-agent", root);
    expect_opened(NULL, other);
    assert_int_equal(setenv("XDG_DATA_HOME", "", 1), 0);
    expect_opened(NULL, dir);
    /* The specification says that a relative one is to be ignored. */
    assert_int_equal(setenv("XDG_DATA_HOME", "data", 1), 0);
    expect_opened(NULL, dir);
    assert_int_equal(access("data", F_OK), -1);
    (void)unsetenv("HOME");
    assert_int_equal(open_dir(NULL), 0);
    expect_in_memory("neither XDG_DATA_HOME nor HOME is set");
    assert_int_equal(setenv("HOME", "", 1), 0);
    assert_int_equal(open_dir(NULL), 0);
    expect_in_memory("neither XDG_DATA_HOME nor HOME is set");
}

static void test_memory(void **state)
{
    (void)state;
    assert_int_equal(open_dir(":memory:"), 0);
    expect_in_memory(NULL);
    assert_int_equal(sbx_datadir_find(&d, ":memory:", &err), 0);
    expect_in_memory(NULL);
    assert_int_equal(access(under("home"), F_OK), -1); /* nothing was made */
}

/* --- made --- */

static void test_nested(void **state)
{
    char dir[512];
    mode_t mask = umask(0);
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/a/b/c", root);
    expect_opened(dir, dir);
    (void)umask(mask);
    assert_int_equal(mode_of(under("a")), 0700);
    assert_int_equal(mode_of(under("a/b")), 0700);
    assert_int_equal(mode_of(under("a/b/c/sandbox-agent.lock")), 0600);
    expect_opened(dir, dir); /* again, and with a slash at the end */
    (void)snprintf(dir, sizeof dir, "%s/a/b/c/", root);
    expect_opened(dir, dir);
}

/* One that is there is the person's own affair. */
static void test_mode_of_an_existing_one_stays(void **state)
{
    char dir[512];
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/mine", root);
    assert_int_equal(mkdir(dir, 0755), 0);
    assert_int_equal(open_dir(dir), 0);
    assert_int_equal(mode_of(dir), 0755);
    sbx_datadir_deinit(&d);
}

static void test_relative(void **state)
{
    char before[512];
    (void)state;
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(root), 0);
    expect_opened("x/y", "x/y");
    expect_opened("z", "z");
    assert_int_equal(chdir(before), 0);
    assert_int_equal(mode_of(under("x/y")), 0700);
}

static void make_file(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
}

static void expect_refused(const char *dir, int code, const char *reason)
{
    assert_int_equal(open_dir(dir), code);
    if (strstr(err.text, dir) == NULL || strstr(err.text, reason) == NULL)
        fail_msg("\"%s\" does not name %s and %s", err.text, dir, reason);
    assert_int_equal(err.code, code);
    assert_int_equal(d.lock, -1);
    sbx_datadir_deinit(&d);
}

static void test_in_the_way(void **state)
{
    char dir[512];
    (void)state;
    make_file(under("file"));
    (void)snprintf(dir, sizeof dir, "%s/file", root);
    expect_refused(dir, -ENOTDIR, "Not a directory");
    (void)snprintf(dir, sizeof dir, "%s/file/x", root);
    expect_refused(dir, -ENOTDIR, "Not a directory");
    (void)snprintf(dir, sizeof dir, "%s/dir", root);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(mkdir(under("dir/sandbox-agent.lock"), 0700), 0);
    expect_refused(dir, -EISDIR, "Is a directory");
    expect_refused("", -ENOENT, "No such file");
}

/* Nobody asked for the default: the server serves without it, and says so. */
static void test_default_that_cannot_be_had(void **state)
{
    (void)state;
    make_file(under("home"));
    assert_int_equal(open_dir(NULL), 0);
    expect_in_memory("Not a directory");
    assert_non_null(strstr(said, under("home")));
}

/* --- locked --- */

struct other {
    pid_t pid;
    int release;
};

/* Another process that has it. */
static void start_other(struct other *o, const char *dir, bool alone)
{
    int up[2], down[2];
    char byte;
    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(down), 0);
    o->pid = fork();
    if (o->pid == 0) {
        const struct sbx_diag quiet = {SBX_DIAG_ERROR};
        int rc = sbx_datadir_open(&d, dir, &quiet, &err);
        sbx_datadir_sign(d.lock, alone);
        (void)close(down[1]);
        (void)!write(up[1], rc == 0 ? "y" : "n", 1);
        _exit((int)read(down[0], &byte, 1));
    }
    assert_int_equal(read(up[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    (void)close(up[0]);
    (void)close(up[1]);
    (void)close(down[0]);
    o->release = down[1];
}

static void end_other(struct other *o)
{
    (void)close(o->release);
    assert_int_equal(waitpid(o->pid, NULL, 0), o->pid);
}

static void test_another_server(void **state)
{
    char dir[512], name[40];
    struct other o;
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/home/.local/share/sandbox-agent", root);
    start_other(&o, NULL, false);
    (void)snprintf(name, sizeof name, "pid %ld", (long)o.pid);
    expect_refused(dir, -EEXIST, name);
    assert_int_equal(open_dir(NULL), -EEXIST); /* also the default: two would write one file */
    assert_non_null(strstr(err.text, name));
    sbx_datadir_deinit(&d);
    end_other(&o);
    expect_opened(dir, dir); /* the lock ends with its holder */
}

/* The lock file goes while it is locked: the directory is free for whoever comes first. */
static void test_lock_file_is_gone(void **state)
{
    char dir[512], lock[560];
    struct sbx_datadir_owner o;
    struct other other;
    int first;
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/x", root);
    (void)snprintf(lock, sizeof lock, "%s/sandbox-agent.lock", dir);
    assert_int_equal(open_dir(dir), 0);
    first = d.lock;
    assert_int_equal(sbx_datadir_keep(&d, 4711, false, &err), 0);
    assert_int_equal(d.lock, first);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(sbx_datadir_keep(&d, 4711, false, &err), 1);
    assert_int_equal(sbx_datadir_keep(&d, 4711, false, &err), 0);
    assert_int_equal(sbx_datadir_find_owner(&o, dir, &err), 0);
    assert_int_equal(o.pid, 4711);
    sbx_datadir_leave_owner(&o);
    assert_int_equal(unlink(lock), 0);
    start_other(&other, dir, false);
    assert_int_equal(sbx_datadir_keep(&d, 4711, false, &err), -EEXIST);
    assert_non_null(strstr(err.text, "in use by another server"));
    assert_true(d.lock >= 0);
    end_other(&other);
    assert_int_equal(sbx_datadir_keep(&d, 4711, false, &err), 1);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(sbx_datadir_keep(&d, 4711, false, &err), -ENOENT);
    assert_int_equal(access(dir, F_OK), -1); /* to make it is not ours */
    sbx_datadir_deinit(&d);
}

/* A server shares the lock of its keeper. */
static void test_lock_is_inherited(void **state)
{
    char dir[512];
    int fd;
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/x", root);
    assert_int_equal(open_dir(dir), 0);
    fd = dup(d.lock);
    sbx_datadir_deinit(&d);
    expect_refused(dir, -EEXIST, "in use");
    (void)close(fd);
    expect_opened(dir, dir);
}

static struct sbx_datadir_owner owner;

static int find_owner(const char *dir)
{
    int rc = sbx_datadir_find_owner(&owner, dir, &err);
    if (rc < 0)
        assert_int_equal(owner.lock, -1);
    return rc;
}

static void expect_owner(const char *dir, pid_t pid)
{
    assert_int_equal(find_owner(dir), 0);
    assert_int_equal(owner.pid, pid);
    assert_int_equal(owner.uid, geteuid());
    assert_int_equal(owner.upgrade, 0);
    assert_true((fcntl(owner.lock, F_GETFD) & FD_CLOEXEC) != 0);
    sbx_datadir_leave_owner(&owner);
    assert_int_equal(owner.lock, -1);
}

static void expect_no_owner(const char *dir, int code, const char *reason)
{
    assert_int_equal(find_owner(dir), code);
    if (strstr(err.text, reason) == NULL || (dir != NULL && strstr(err.text, dir) == NULL))
        fail_msg("\"%s\" does not say %s", err.text, reason);
}

static void test_owner(void **state)
{
    char dir[512], name[40];
    struct other o;
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/x", root);
    expect_no_owner(dir, -ENOENT, "No such file");
    expect_opened(dir, dir);
    expect_no_owner(dir, -ESRCH, "no server"); /* a file, and nobody */
    start_other(&o, dir, false);
    expect_owner(dir, o.pid);
    end_other(&o);
    start_other(&o, dir, true);
    (void)snprintf(name, sizeof name, "pid %ld) has no keeper", (long)o.pid);
    expect_no_owner(dir, -ENOTSUP, name);
    end_other(&o);
    expect_no_owner(dir, -ESRCH, "no server");
    start_other(&o, NULL, false);
    expect_owner(NULL, o.pid);
    end_other(&o);
    (void)unsetenv("HOME");
    expect_no_owner(NULL, -ENOENT, "HOME");
}

static void test_sign(void **state)
{
    char dir[512];
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/x", root);
    assert_int_equal(open_dir(dir), 0);
    /* Until it has signed it is a server without a keeper: it must not be sent a signal. */
    expect_no_owner(dir, -ENOTSUP, "no keeper");
    sbx_datadir_sign(d.lock, false);
    expect_owner(dir, getpid());
    sbx_datadir_sign(d.lock, true);
    expect_no_owner(dir, -ENOTSUP, "no keeper");
    sbx_datadir_sign(-1, true);
    /* More than a pid can be is not the pid that its lower bits would make. */
    assert_int_equal(pwrite(d.lock, "4294967297\n", 11, 0), 11);
    expect_no_owner(dir, -EINVAL, "does not say whose");
    sbx_datadir_deinit(&d);
}

static void look(unsigned number, enum sbx_keeper_upgrade state, const char *text)
{
    assert_int_equal(sbx_datadir_look_at_owner(&owner, &err), 0);
    assert_int_equal(owner.upgrade, number);
    assert_int_equal(owner.state, state);
    assert_string_equal(owner.text, text);
}

static void test_word_of_upgrades(void **state)
{
    char dir[512], words[700];
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/x", root);
    assert_int_equal(open_dir(dir), 0);
    sbx_datadir_sign(d.lock, false);
    assert_int_equal(find_owner(dir), 0);
    assert_int_equal(owner.upgrade, 0);
    sbx_datadir_note_upgrade(d.lock, 1, SBX_KEEPER_UPGRADE_BEGUN, "it begins");
    look(1, SBX_KEEPER_UPGRADE_BEGUN, "it begins");
    sbx_datadir_note_upgrade(d.lock, 1, SBX_KEEPER_UPGRADE_FAILED, "no-keeper: that fails");
    look(1, SBX_KEEPER_UPGRADE_FAILED, "no-keeper: that fails");
    sbx_datadir_note_upgrade(d.lock, 4000000000u, SBX_KEEPER_UPGRADE_DONE, "");
    look(4000000000u, SBX_KEEPER_UPGRADE_DONE, "");
    sbx_datadir_note_upgrade(d.lock, 7, SBX_KEEPER_UPGRADE_DONE, "\x1b[2J\xc3\xa4\x7f");
    look(7, SBX_KEEPER_UPGRADE_DONE, "?[2J???");
    memset(words, 'w', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    sbx_datadir_note_upgrade(d.lock, 8, SBX_KEEPER_UPGRADE_DONE, words);
    words[500] = '\0';
    look(8, SBX_KEEPER_UPGRADE_DONE, words);
    /* Gone with the keeper that said it. */
    sbx_datadir_sign(d.lock, true);
    assert_int_equal(sbx_datadir_look_at_owner(&owner, &err), -ESRCH);
    assert_int_equal(owner.upgrade, 0);
    sbx_datadir_deinit(&d);
    assert_int_equal(sbx_datadir_look_at_owner(&owner, &err), -ESRCH);
    sbx_datadir_leave_owner(&owner);
}

/* What a process of the server could have written there. */
static void test_nonsense_in_the_lock_file(void **state)
{
    static const char *const nobody[] = {"", "x", "0\n", "-1\n", "4294967295\n", "\n12\n"};
    static const char *const nothing[] = {"", "upgrade", "upgrade ", "upgrade 3", "upgrade 3 done",
                                          "upgrade 3 gone: x", "upgrade x done: x",
                                          "grade 3 done: x", "upgrade 3done: x",
                                          "upgrade  done: "};
    char dir[512], text[64];
    size_t i;
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/x", root);
    assert_int_equal(open_dir(dir), 0);
    for (i = 0; i < sizeof nobody / sizeof nobody[0]; i++) {
        assert_int_equal(ftruncate(d.lock, 0), 0);
        assert_int_equal(pwrite(d.lock, nobody[i], strlen(nobody[i]), 0), strlen(nobody[i]));
        expect_no_owner(dir, -EINVAL, "whose it is");
    }
    for (i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        (void)snprintf(text, sizeof text, "%ld\n%s", (long)getpid(), nothing[i]);
        assert_int_equal(ftruncate(d.lock, 0), 0);
        assert_int_equal(pwrite(d.lock, text, strlen(text), 0), strlen(text));
        expect_owner(dir, getpid());
    }
    sbx_datadir_deinit(&d);
}

/* Nor is it believed where something else was put in its place. */
static void test_no_lock_file_of_its_own(void **state)
{
    char dir[512], lock[600], real[600];
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/x", root);
    (void)snprintf(lock, sizeof lock, "%s/sandbox-agent.lock", dir);
    (void)snprintf(real, sizeof real, "%s/real", root);
    assert_int_equal(open_dir(dir), 0);
    sbx_datadir_sign(d.lock, false);
    expect_owner(dir, getpid());
    assert_int_equal(link(lock, real), 0);
    expect_no_owner(dir, -EINVAL, "file of its own");
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(symlink(real, lock), 0);
    expect_no_owner(dir, -ELOOP, "symbolic link");
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(mkfifo(lock, 0600), 0);
    expect_no_owner(dir, -EINVAL, "file of its own");
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(mkdir(lock, 0700), 0);
    expect_no_owner(dir, -EINVAL, "file of its own");
    sbx_datadir_deinit(&d);
}

/* The program that follows finds the same directory and locks nothing. */
static void test_find(void **state)
{
    char dir[512];
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/home/.local/share/sandbox-agent", root);
    assert_int_equal(sbx_datadir_find(&d, NULL, &err), 0);
    assert_string_equal(sbx_datadir_path(&d), dir);
    assert_int_equal(d.lock, -1);
    assert_int_equal(access(dir, F_OK), -1);
    sbx_datadir_deinit(&d);
    assert_int_equal(sbx_datadir_find(&d, "x/y", &err), 0);
    assert_string_equal(sbx_datadir_path(&d), "x/y");
    sbx_datadir_deinit(&d);
}

static void open_with_little_memory(void *ctx, const struct gate *g)
{
    const struct sbx_diag quiet = {SBX_DIAG_ERROR};
    int rc = sbx_datadir_open(&d, ctx, &quiet, &err);
    assert_true(rc == 0 || (rc == -ENOMEM && gate_hit(g)));
    if (rc == 0 && sbx_datadir_path(&d) != NULL) {
        rc = find_owner(ctx);
        assert_true(rc == -ENOTSUP || (rc == -ENOMEM && gate_hit(g)));
    }
    sbx_datadir_deinit(&d);
    rc = sbx_datadir_find(&d, ctx, &err);
    assert_true(rc == 0 || (rc == -ENOMEM && gate_hit(g)));
    sbx_datadir_deinit(&d);
}

static void test_out_of_memory(void **state)
{
    char dir[512];
    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/x", root);
    assert_true(gate_each(open_with_little_memory, dir) >= 4);
    assert_true(gate_each(open_with_little_memory, NULL) >= 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_default),
        TEST(test_memory),
        TEST(test_nested),
        TEST(test_mode_of_an_existing_one_stays),
        TEST(test_relative),
        TEST(test_in_the_way),
        TEST(test_default_that_cannot_be_had),
        TEST(test_another_server),
        TEST(test_lock_file_is_gone),
        TEST(test_lock_is_inherited),
        TEST(test_owner),
        TEST(test_sign),
        TEST(test_word_of_upgrades),
        TEST(test_nonsense_in_the_lock_file),
        TEST(test_no_lock_file_of_its_own),
        TEST(test_find),
        TEST(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
