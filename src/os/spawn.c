/* spawn.c - see spawn.h.
 *
 * vfork, because it costs the same whatever the size of the server; posix_spawn is not enough: it
 * searches the parent's PATH, and it cannot tell a bad directory from a bad program. The child
 * runs on the parent's memory until exec, so everything is prepared before and the child calls
 * async-signal-safe functions only. Signals are blocked across vfork, since a handler that ran in
 * the child would write to the parent's pipe; the child unblocks them when its dispositions are
 * default.
 *
 * The outcome comes back over a close-on-exec pipe: closed by a successful exec, else step and
 * errno. Shared memory would do for vfork, but not where vfork is fork (valgrind, some systems).
 *
 * Search rules are those of execvp(3), with the PATH of the child: EACCES is remembered while the
 * search goes on; a script without "#!" fails with ENOEXEC, no shell is tried. */
#include "os/spawn.h"
#include "base/mem.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPAWN_DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

struct spawn_report {
    int step;
    int error;
};

struct spawn_plan {
    const struct sbx_spawn_env *env;
    const struct sbx_spawn *s;
    char **files; /* candidates in the order of the search, NULL at the end */
    int report_fd;
};

static size_t spawn_count_dirs(const char *path)
{
    size_t n = 1;
    for (; *path != '\0'; path++)
        n += *path == ':';
    return n;
}

static char *spawn_join(const char *dir, size_t dir_len, const char *command)
{
    size_t n = strlen(command);
    char *file = sbx_mem_alloc(dir_len + n + 3);
    if (file == NULL)
        return NULL;
    /* An empty entry of PATH is the current directory (POSIX 8.3). */
    if (dir_len == 0) {
        memcpy(file, "./", 2);
        dir_len = 1;
    } else {
        memcpy(file, dir, dir_len);
    }
    file[dir_len] = '/';
    memcpy(file + dir_len + 1, command, n + 1);
    return file;
}

static void spawn_free_files(char **files)
{
    size_t i;
    if (files == NULL)
        return;
    for (i = 0; files[i] != NULL; i++)
        sbx_mem_free(files[i]);
    sbx_mem_free(files);
}

static char **spawn_candidates(const struct sbx_spawn *s)
{
    bool search = strchr(s->command, '/') == NULL;
    const char *path = s->path != NULL ? s->path : SPAWN_DEFAULT_PATH;
    size_t i, n = search ? spawn_count_dirs(path) : 1;
    char **files = sbx_mem_calloc((n + 1) * sizeof *files);
    if (files == NULL)
        return NULL;
    for (i = 0; i < n; i++) {
        size_t len = strcspn(path, ":");
        files[i] = search ? spawn_join(path, len, s->command)
                          : sbx_mem_strndup(s->command, strlen(s->command));
        if (files[i] == NULL) {
            spawn_free_files(files);
            return NULL;
        }
        path += len + (path[len] == ':');
    }
    return files;
}

static _Noreturn void spawn_fail(const struct spawn_plan *plan, enum sbx_spawn_step step)
{
    struct spawn_report report = {.step = (int)step, .error = errno};
    ssize_t ignored = write(plan->report_fd, &report, sizeof report);
    (void)ignored;
    _exit(127);
}

static void spawn_reset_signals(const struct spawn_plan *plan)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t none;
    int sig;
    for (sig = 1; sig < NSIG; sig++)
        if (sigismember(&plan->env->reset, sig) == 1)
            (void)sigaction(sig, &dfl, NULL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void spawn_restore_nofile(const struct spawn_plan *plan)
{
    struct rlimit rl;
    if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur == plan->env->nofile_soft)
        return;
    rl.rlim_cur = plan->env->nofile_soft;
    (void)setrlimit(RLIMIT_NOFILE, &rl);
}

static void spawn_exec(const struct spawn_plan *plan)
{
    bool denied = false;
    size_t i;
    for (i = 0; plan->files[i] != NULL; i++) {
        (void)execve(plan->files[i], plan->s->argv, plan->s->envp);
        if (errno == EACCES)
            denied = true;
        else if (errno != ENOENT && errno != ENOTDIR)
            return;
    }
    if (denied)
        errno = EACCES;
}

static _Noreturn void spawn_child(const struct spawn_plan *plan)
{
    const struct sbx_spawn *s = plan->s;
    int i;
    if (s->note != NULL)
        *s->note = (int32_t)getpid();
    if (setsid() < 0)
        spawn_fail(plan, SBX_SPAWN_SETUP);
    for (i = 0; i < 3; i++)
        if (dup2(s->fds[i], i) < 0)
            spawn_fail(plan, SBX_SPAWN_SETUP);
    if (s->terminal && ioctl(0, TIOCSCTTY, 0) < 0)
        spawn_fail(plan, SBX_SPAWN_SETUP);
    if (s->cwd != NULL && chdir(s->cwd) < 0)
        spawn_fail(plan, SBX_SPAWN_CWD);
    spawn_restore_nofile(plan);
    spawn_reset_signals(plan);
    spawn_exec(plan);
    spawn_fail(plan, SBX_SPAWN_EXEC);
}

/* A function of its own, so that no variable of a frame that returns lives across vfork. */
static __attribute__((noinline)) pid_t spawn_vfork(const struct spawn_plan *plan)
{
    pid_t pid = vfork();
    if (pid == 0)
        spawn_child(plan);
    return pid;
}

static int spawn_outcome(int report_fd, pid_t pid, enum sbx_spawn_step *step)
{
    struct spawn_report report;
    int status;
    if (sbx_fd_read(report_fd, &report, sizeof report) != (ssize_t)sizeof report)
        return 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    *step = (enum sbx_spawn_step)report.step;
    return -report.error;
}

int sbx_spawn(const struct sbx_spawn_env *env, const struct sbx_spawn *s, pid_t *pid,
              enum sbx_spawn_step *step)
{
    struct spawn_plan plan = {.env = env, .s = s, .report_fd = -1};
    sigset_t all, before;
    int report = -1, rc;
    *step = SBX_SPAWN_FORK;
    plan.files = spawn_candidates(s);
    if (plan.files == NULL)
        return -ENOMEM;
    rc = sbx_fd_pipe(&report, &plan.report_fd);
    if (rc < 0)
        goto out;
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    *pid = spawn_vfork(&plan);
    rc = *pid < 0 ? -errno : 0;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    sbx_fd_close(&plan.report_fd);
    if (rc == 0)
        rc = spawn_outcome(report, *pid, step);
    if (rc < 0)
        *pid = 0;
    if (s->note != NULL)
        *s->note = (int32_t)*pid;
out:
    sbx_fd_close(&report);
    spawn_free_files(plan.files);
    return rc;
}
