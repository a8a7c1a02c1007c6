/* keeper_exec.c - handing over to a new server: a fork, which has the table in its memory, or
 * another program, which reads it from a file without a name that its environment leads to. When it
 * is which, see keeper.c.
 *
 * A program is executed in the fork: its arguments and environment are allocated there and never
 * freed, and what fails there ends the server, not the keeper. */
#include "proc/keeper_state.h"
#include "base/mem.h"
#include "os/fd.h"
#include "os/sig.h"
#include "proc/keeper_msg.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEPER_NO_EXEC 127
#define KEEPER_TOKEN "SANDBOX_AGENT_TOKEN"

/* The child leaves with all signals blocked, as if it had just been started, and in a group of its
 * own: what is typed at our terminal comes to us alone. */
pid_t sbx_keeper_fork(void)
{
    sigset_t all, before;
    pid_t pid;
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0) {
        sbx_sig_reset();
        (void)setpgid(0, 0);
        return 0;
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    /* Both do it, whoever comes first. */
    if (pid > 0)
        (void)setpgid(pid, pid);
    return pid;
}

int sbx_keeper_hand_over(struct sbx_keeper *k, struct sbx_estate *estate)
{
    size_t i;
    memset(estate, 0, sizeof *estate);
    if (k->n > 0) {
        estate->items = sbx_mem_alloc(k->n * sizeof *estate->items);
        if (estate->items == NULL)
            return -ENOMEM;
    }
    for (i = 0; i < k->n; i++)
        estate->items[i] = k->entries[i].item;
    estate->nitems = k->n;
    estate->link = k->link;
    estate->keeper = k->self;
    estate->generation = k->generation;
    estate->nofile = k->nofile;
    return 0;
}

/* --- another program --- */

void sbx_keeper_find_path(struct sbx_keeper *k)
{
    const char *name = k->o->argv != NULL ? k->o->argv[0] : NULL;
#ifdef __linux__
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    if (n > 0 && n < (ssize_t)sizeof path && k->o->argv != NULL) {
        k->path = sbx_mem_strndup(path, (size_t)n);
        return;
    }
#endif
    if (name != NULL && strchr(name, '/') != NULL)
        k->path = sbx_mem_strndup(name, strlen(name));
}

static int keeper_write_table(const struct sbx_keeper *k)
{
    int fd = sbx_fd_open_unnamed();
    size_t i;
    for (i = 0; fd >= 0 && i < k->n; i++) {
        uint8_t record[SBX_KEEPER_ITEM_BYTES];
        sbx_keeper_item_encode(&k->entries[i].item, record);
        if (sbx_fd_write(fd, record, sizeof record) != (ssize_t)sizeof record)
            sbx_fd_close(&fd);
    }
    return fd;
}

static bool keeper_is_variable(const char *entry, const char *name)
{
    size_t n = strlen(name);
    return strncmp(entry, name, n) == 0 && entry[n] == '=';
}

/* Our environment with what the new program is to find in it. */
static char **keeper_environment(const struct sbx_keeper *k, const char *handover)
{
    extern char **environ;
    static const char head[] = SBX_KEEPER_VARIABLE "=", token[] = KEEPER_TOKEN "=";
    size_t i, n = 0, count = 0, room = k->o->token != NULL ? strlen(k->o->token) : 0;
    char **env, *text = sbx_mem_alloc(sizeof head + strlen(handover) + sizeof token + room);
    while (environ[count] != NULL)
        count++;
    env = sbx_mem_alloc((count + 3) * sizeof *env);
    if (env == NULL || text == NULL)
        return NULL;
    for (i = 0; i < count; i++)
        if (!keeper_is_variable(environ[i], SBX_KEEPER_VARIABLE) &&
            !keeper_is_variable(environ[i], KEEPER_TOKEN))
            env[n++] = environ[i];
    env[n++] = text;
    text += sprintf(text, "%s%s", head, handover) + 1;
    if (k->o->token != NULL) {
        env[n++] = text;
        (void)sprintf(text, "%s%s", token, k->o->token);
    }
    env[n] = NULL;
    return env;
}

static char **keeper_arguments(const struct sbx_keeper *k)
{
    size_t i, n = 0;
    char **argv;
    while (k->o->argv[n] != NULL)
        n++;
    argv = sbx_mem_alloc((n + 2) * sizeof *argv);
    if (argv == NULL)
        return NULL;
    argv[0] = k->path;
    for (i = 1; i <= n; i++)
        argv[i] = k->o->argv[i];
    argv[n > 0 ? n : 1] = NULL;
    return argv;
}

static void keeper_pass_fds(const struct sbx_keeper *k, int table)
{
    size_t i, j;
    (void)sbx_fd_clear_cloexec(k->link);
    (void)sbx_fd_clear_cloexec(table);
    for (i = 0; i < k->n; i++)
        for (j = 0; j < SBX_KEEP_FDS; j++)
            if (k->entries[i].item.fds[j] >= 0)
                (void)sbx_fd_clear_cloexec(k->entries[i].item.fds[j]);
}

/* By its path while that is still the file that was opened: a process executed by descriptor is
 * called after the number of that in lists of processes, and scripts cannot be started so. */
static void keeper_exec_file(const struct sbx_keeper *k, int program, char **argv, char **env)
{
    struct stat a, b;
    if (fstat(program, &a) == 0 && stat(k->path, &b) == 0 && a.st_dev == b.st_dev &&
        a.st_ino == b.st_ino)
        (void)execve(k->path, argv, env);
#if defined(__linux__) || defined(__FreeBSD__)
    else
        (void)fexecve(program, argv, env);
#else
    else
        errno = ESTALE;
#endif
}

_Noreturn void sbx_keeper_exec(const struct sbx_keeper *k, int program)
{
    char handover[SBX_KEEPER_HANDOVER_MAX];
    struct sbx_keeper_handover h = {.link = k->link, .table = keeper_write_table(k),
                                    .keeper = k->self, .generation = k->generation,
                                    .nofile = k->nofile};
    char **env, **argv;
    sbx_keeper_handover_format(&h, handover);
    env = keeper_environment(k, handover);
    argv = keeper_arguments(k);
    errno = ENOMEM;
    if (h.table >= 0 && env != NULL && argv != NULL) {
        keeper_pass_fds(k, h.table);
        keeper_exec_file(k, program, argv, env);
    }
    sbx_diag(k->o->diag, SBX_DIAG_ERROR, "cannot execute %s: %s", k->path, strerror(errno));
    _exit(KEEPER_NO_EXEC);
}
