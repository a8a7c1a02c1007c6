/* spawn.h - starts a program: own session, given descriptors, clean signal state; a program that
 * cannot be started is an error of the call, never a child that exits mysteriously. */
#ifndef SBX_OS_SPAWN_H
#define SBX_OS_SPAWN_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What is the same for every child, found out once at start. */
struct sbx_spawn_env {
    sigset_t reset;     /* dispositions to put back to default */
    size_t nofile_soft; /* soft limit of open files as it was given to us */
};

struct sbx_spawn {
    const char *command;    /* with a slash: that file, relative to cwd; else searched in `path` */
    const char *path;       /* PATH of the child's environment; NULL: the system's default */
    char *const *argv;
    char *const *envp;
    const char *cwd;        /* NULL: the server's */
    int fds[3];             /* become 0, 1, 2; all above 2 here */
    bool terminal;          /* fds[0] is a terminal that becomes the controlling one */
    int32_t *note;          /* where the child writes its pid before anything else: in memory that
                               outlives us, so that it can be found if we do not see the end of
                               this; 0 again when it did not start. NULL: nowhere */
};

enum sbx_spawn_step {
    SBX_SPAWN_FORK, /* no memory, no processes, no descriptors */
    SBX_SPAWN_SETUP, /* session, terminal, descriptors */
    SBX_SPAWN_CWD,
    SBX_SPAWN_EXEC
};

/* 0 and *pid, which is the leader of its own session and group. A negative errno and *step
 * otherwise; nothing is left behind then. */
int sbx_spawn(const struct sbx_spawn_env *env, const struct sbx_spawn *s, pid_t *pid,
              enum sbx_spawn_step *step);

#endif
