/* ptree.c - see ptree.h.
 *
 * The tree is read before the first signal goes out: once a parent is dead its children are
 * reparented and the relation is gone. What forks between reading and signalling is still in the
 * group, unless it did so on purpose. The walk is bounded by PTREE_MAX processes. */
#include "os/ptree.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#ifdef __linux__
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define PTREE_MAX 4096u

struct ptree_set {
    pid_t pids[PTREE_MAX];
    size_t n;
};

bool sbx_ptree_become_subreaper(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
}

static void ptree_add(struct ptree_set *set, pid_t pid)
{
    if (set->n < PTREE_MAX)
        set->pids[set->n++] = pid;
}

/* Adds the pids in a "children" file: decimal numbers separated by blanks. */
static void ptree_add_children_file(struct ptree_set *set, const char *file)
{
    char text[4096];
    pid_t pid = 0;
    ssize_t got, i;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    while ((got = sbx_fd_read(fd, text, sizeof text)) > 0) {
        for (i = 0; i < got; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
            } else if (pid > 0) {
                ptree_add(set, pid);
                pid = 0;
            }
        }
    }
    (void)close(fd);
}

/* Every thread has a list of its own: a child belongs to the thread that forked it. */
static void ptree_add_children(struct ptree_set *set, pid_t parent)
{
    char path[80];
    struct dirent *e;
    DIR *dir;
    (void)snprintf(path, sizeof path, "/proc/%ld/task", (long)parent);
    dir = opendir(path);
    if (dir == NULL)
        return;
    while ((e = readdir(dir)) != NULL) {
        char file[128];
        long tid = strtol(e->d_name, NULL, 10);
        if (tid <= 0)
            continue;
        (void)snprintf(file, sizeof file, "%s/%ld/children", path, tid);
        ptree_add_children_file(set, file);
    }
    (void)closedir(dir);
}

/* Our own children in that session, the leader excepted, and all their descendants. Our parent's
 * too: what an earlier server was subreaper of has passed to the keeper. */
static void ptree_add_orphans(struct ptree_set *set, pid_t session)
{
    size_t i, from = set->n, keep = set->n;
    ptree_add_children(set, getpid());
    ptree_add_children(set, getppid());
    for (i = from; i < set->n; i++)
        if (set->pids[i] != session && getsid(set->pids[i]) == session)
            set->pids[keep++] = set->pids[i];
    set->n = keep;
    for (i = from; i < set->n; i++)
        ptree_add_children(set, set->pids[i]);
}

static void ptree_add_descendants(struct ptree_set *set, pid_t leader)
{
    size_t i;
    ptree_add_children(set, leader);
    for (i = 0; i < set->n; i++)
        ptree_add_children(set, set->pids[i]);
}

static void ptree_kill_all(const struct ptree_set *set, int sig, int then)
{
    size_t i;
    for (i = 0; i < set->n; i++) {
        (void)kill(set->pids[i], sig);
        if (then != 0)
            (void)kill(set->pids[i], then);
    }
}

static void ptree_kill_group(pid_t group, int sig, int then)
{
    (void)kill(-group, sig);
    if (then != 0)
        (void)kill(-group, then);
}

/* Members of the group get the signal through the group: a handler must not run twice. */
static void ptree_drop_group(struct ptree_set *set, pid_t group)
{
    size_t i, keep = 0;
    for (i = 0; i < set->n; i++)
        if (getpgid(set->pids[i]) != group)
            set->pids[keep++] = set->pids[i];
    set->n = keep;
}

/* kill(2) takes -1 for everybody and 0 for ourselves; and getsid() is 0 for all whose session began
 * outside of this pid namespace, this process perhaps among them. */
static bool ptree_is_leader(pid_t pid)
{
    return pid > 1;
}

void sbx_ptree_signal(pid_t leader, int sig, int then)
{
    struct ptree_set set = {.n = 0};
    if (!ptree_is_leader(leader))
        return;
    ptree_add_descendants(&set, leader);
    ptree_add_orphans(&set, leader);
    ptree_drop_group(&set, leader);
    ptree_kill_group(leader, sig, then);
    ptree_kill_all(&set, sig, then);
}

void sbx_ptree_signal_orphans(pid_t session, int sig, int then)
{
    struct ptree_set set = {.n = 0};
    if (!ptree_is_leader(session))
        return;
    ptree_add_orphans(&set, session);
    ptree_kill_all(&set, sig, then);
}

void sbx_ptree_kill_descendants(void)
{
    struct ptree_set set = {.n = 0};
    ptree_add_descendants(&set, getpid());
    ptree_kill_all(&set, SIGKILL, 0);
}

bool sbx_ptree_each_child(void (*each)(void *ctx, pid_t pid), void *ctx)
{
    struct ptree_set set = {.n = 0};
    size_t i;
    ptree_add_children(&set, getpid());
    for (i = 0; i < set.n; i++)
        each(ctx, set.pids[i]);
    return set.n > 0;
}

bool sbx_ptree_ignores(pid_t pid, int sig)
{
    static const char key[] = "\nSigIgn:\t";
    char path[48], text[4096];
    const char *at;
    ssize_t got;
    int fd;
    (void)snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    got = sbx_fd_read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[got > 0 ? got : 0] = '\0';
    at = strstr(text, key);
    return at == NULL || (strtoull(at + sizeof key - 1, NULL, 16) >> (sig - 1) & 1) != 0;
}

#else

bool sbx_ptree_become_subreaper(void)
{
    return getpid() == 1;
}

void sbx_ptree_signal(pid_t leader, int sig, int then)
{
    if (leader <= 1)
        return; /* -1 is everybody, 0 is our own group */
    (void)kill(-leader, sig);
    if (then != 0)
        (void)kill(-leader, then);
}

void sbx_ptree_signal_orphans(pid_t session, int sig, int then)
{
    /* Without a subreaper the orphans are not ours, and the group's number may have passed to
     * somebody else since. */
    (void)session;
    (void)sig;
    (void)then;
}

void sbx_ptree_kill_descendants(void)
{
}

bool sbx_ptree_each_child(void (*each)(void *ctx, pid_t pid), void *ctx)
{
    (void)each;
    (void)ctx;
    return false;
}

bool sbx_ptree_ignores(pid_t pid, int sig)
{
    (void)pid;
    (void)sig;
    return true;
}
#endif
