/* keeper_table.c - the table of what is kept, and the children: which of them have ended, which are
 * in the table and so wait for the server, and which are reaped at once; see keeper.c. */
#include "proc/keeper_state.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/ptree.h"
#include "proc/keeper_msg.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEPER_LAST_US 500000u /* for the system to end what was killed */
#define KEEPER_LAST_TICK_MS 10

struct sbx_keeper_entry *sbx_keeper_find(struct sbx_keeper *k, uint32_t kind, uint64_t number)
{
    size_t i;
    for (i = 0; i < k->n; i++)
        if (k->entries[i].item.kind == kind && k->entries[i].item.number == number)
            return &k->entries[i];
    return NULL;
}

static bool keeper_knows_pid(const struct sbx_keeper *k, pid_t pid)
{
    size_t i;
    for (i = 0; i < k->n; i++)
        if (k->entries[i].item.pid == pid)
            return true;
    return false;
}

struct sbx_keeper_entry *sbx_keeper_add(struct sbx_keeper *k, uint32_t kind, uint64_t number)
{
    struct sbx_keeper_entry *e;
    if (k->n == k->cap) {
        size_t cap = k->cap > 0 ? k->cap * 2 : 16;
        e = sbx_mem_realloc(k->entries, cap * sizeof *e);
        if (e == NULL)
            return NULL;
        k->entries = e;
        k->cap = cap;
    }
    e = &k->entries[k->n++];
    memset(e, 0, sizeof *e);
    e->item.kind = kind;
    e->item.number = number;
    memset(e->item.fds, 0xff, sizeof e->item.fds);
    return e;
}

void sbx_keeper_close_fds(int *fds)
{
    size_t i;
    for (i = 0; i < SBX_KEEP_FDS; i++)
        sbx_fd_close(&fds[i]);
}

static bool keeper_is_untold(const struct sbx_keeper_entry *e)
{
    return e->item.exited && !e->told;
}

/* --- exits --- */

void sbx_keeper_tell(struct sbx_keeper *k)
{
    size_t i;
    for (i = 0; i < k->n && k->untold > 0 && k->link >= 0; i++) {
        struct sbx_keeper_entry *e = &k->entries[i];
        struct sbx_keeper_msg m = {.type = SBX_KEEPER_MSG_EXIT, .number = e->item.number,
                                   .exit = e->item.exit};
        uint8_t bytes[SBX_KEEPER_MSG_BYTES];
        if (!keeper_is_untold(e))
            continue;
        sbx_keeper_msg_encode(&m, bytes);
        /* Full: the rest goes when the socket is writable. Gone: SIGCHLD or POLLHUP will say so. */
        if (send(k->link, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            return;
        e->told = true;
        k->untold--;
    }
}

struct sbx_exit sbx_keeper_exit_of(const siginfo_t *info)
{
    struct sbx_exit e = {.kind = SBX_EXIT_UNKNOWN};
    e.kind = info->si_code == CLD_EXITED ? SBX_EXIT_CODE : SBX_EXIT_SIGNAL;
    e.value = info->si_code == CLD_EXITED ? info->si_status & 0xff : info->si_status;
    e.core = info->si_code == CLD_DUMPED;
    return e;
}

int sbx_keeper_wait(idtype_t type, pid_t pid, siginfo_t *info, int flags)
{
    int rc;
    do {
        memset(info, 0, sizeof *info);
        rc = waitid(type, (id_t)pid, info, WEXITED | WNOHANG | flags);
    } while (rc < 0 && errno == EINTR);
    return rc;
}

/* A stale pid may have become that of the server, whose end is not to be missed. */
static void keeper_reap(const struct sbx_keeper *k, pid_t pid)
{
    siginfo_t info;
    if (pid > 0 && pid != k->server)
        (void)sbx_keeper_wait(P_PID, pid, &info, 0);
}

static void keeper_peek(struct sbx_keeper *k, struct sbx_keeper_entry *e)
{
    siginfo_t info;
    if (!e->adopted || e->item.exited)
        return;
    if (sbx_keeper_wait(P_PID, e->item.pid, &info, WNOWAIT) == 0) {
        if (info.si_pid == 0)
            return;
        e->item.exit = sbx_keeper_exit_of(&info);
    } else if (errno != ECHILD || (!k->subreaper && kill(e->item.pid, 0) == 0)) {
        return;
    }
    /* Without a status it is no child: its server reaped it, and ended before it said so. */
    e->item.exited = true;
    k->untold++;
}

void sbx_keeper_peek_all(struct sbx_keeper *k)
{
    size_t i;
    for (i = 0; i < k->n; i++)
        keeper_peek(k, &k->entries[i]);
}

/* --- entries that come and go --- */

/* Usually a child of the server; of ours, when the server took it over, dropped it and put it
 * again. With 0 the server has seen it end: it is reaped, its descriptors stay. */
void sbx_keeper_set_pid(struct sbx_keeper *k, struct sbx_keeper_entry *e, pid_t pid)
{
    siginfo_t info;
    pid_t before = e->item.pid;
    k->untold -= keeper_is_untold(e);
    keeper_reap(k, before);
    e->item.pid = pid;
    e->item.exited = e->told = false;
    memset(&e->item.exit, 0, sizeof e->item.exit);
    e->adopted = pid > 0 && sbx_keeper_wait(P_PID, pid, &info, WNOWAIT) == 0;
    keeper_peek(k, e);
}

void sbx_keeper_remove(struct sbx_keeper *k, struct sbx_keeper_entry *e)
{
    pid_t pid = e->item.pid;
    k->untold -= keeper_is_untold(e);
    sbx_keeper_close_fds(e->item.fds);
    *e = k->entries[--k->n];
    /* One that runs on is now like any orphan; one of the server's own is not ours to wait for. */
    keeper_reap(k, pid);
}

/* --- children that are not kept --- */

static bool keeper_is_kept(const struct sbx_keeper *k, pid_t pid)
{
    return pid == k->server || keeper_knows_pid(k, pid);
}

static void keeper_reap_orphan(void *ctx, pid_t pid)
{
    if (!keeper_is_kept(ctx, pid))
        keeper_reap(ctx, pid);
}

/* Where the list of children cannot be had, orphans behind a kept one wait until that is dropped.
 * Every message comes back here. */
void sbx_keeper_reap_orphans(struct sbx_keeper *k)
{
    siginfo_t info;
    while (sbx_keeper_wait(P_ALL, 0, &info, WNOWAIT) == 0 && info.si_pid > 0) {
        if (keeper_is_kept(k, info.si_pid)) {
            (void)sbx_ptree_each_child(keeper_reap_orphan, k);
            return;
        }
        keeper_reap(k, info.si_pid);
    }
}

void sbx_keeper_end_all(struct sbx_keeper *k)
{
    uint64_t end = sbx_clock_mono_us() + KEEPER_LAST_US;
    siginfo_t info;
    size_t i;
    sbx_keeper_peek_all(k);
    /* Descendants cannot be told everywhere; groups of children that run can. */
    for (i = 0; i < k->n; i++) {
        const struct sbx_keeper_entry *e = &k->entries[i];
        if (e->adopted && !e->item.exited && getpgid(e->item.pid) == e->item.pid)
            (void)kill(-e->item.pid, SIGKILL);
    }
    do {
        sbx_ptree_kill_descendants();
        while (sbx_keeper_wait(P_ALL, 0, &info, 0) == 0 && info.si_pid > 0)
            continue;
        if (sbx_keeper_wait(P_ALL, 0, &info, WNOWAIT) < 0)
            return;
        (void)poll(NULL, 0, KEEPER_LAST_TICK_MS);
    } while (sbx_clock_mono_us() < end);
}
