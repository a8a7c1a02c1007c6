/* keeper.c - see keeper.h.
 *
 *   RUNNING   server != 0
 *   WAITING   server == 0, the next one is started at start_us
 *   over      status is what sbx_keeper_run returns; in a server: SBX_KEEPER_SERVER
 *
 *   server ends                                   next
 *   a stop was asked for (TERM, INT)              over, its status; RUNNING, the program before it,
 *                                                 after a new one that was not ready yet
 *   an upgrade was asked for (USR2)               RUNNING, the new program
 *   new program, not ready yet                    RUNNING, the program before it
 *   first server, not ready yet                   over, its status: it has said why
 *   ready, exit code 0                            over, 0
 *   lived KEEPER_GOOD_LIFE_US after ready         RUNNING at once
 *   else                                          WAITING; over, 1, after KEEPER_TRIES in a row
 *                                                 that were not ready
 *
 * A server is a fork of the keeper that returns up the stack: descriptors and table are there
 * without being sent, and a restart works whatever became of the program's file. What the fork
 * shares with us is why the keeper stays small: no buffers, one table. Only after an upgrade is a
 * program executed, by a descriptor opened when the upgrade was asked for, so that a file put in
 * place later does not come in with a crash.
 *
 * Invariants
 *   - a message in the socket when its server ended is read before anything is decided;
 *   - an ended child that is in the table is never waited for before it is dropped. It stays the
 *     first that waitid(P_ALL) finds, so the ones behind it are found in the list of children;
 *   - `adopted` items had their server end: they are children of ours, or (no subreaper) nobody's;
 *   - signals are blocked across fork: none is written to the wrong pipe, and none is lost between
 *     the fork and the server's own sbx_sig_open. */
#include "proc/keeper.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/ptree.h"
#include "os/sig.h"
#include "proc/keeper_msg.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEPER_GOOD_LIFE_US 100000u
#define KEEPER_BACKOFF_MS 10u
#define KEEPER_BACKOFF_MAX_MS 5000u
#define KEEPER_BACKOFF_READY_MS 160u
#define KEEPER_TRIES 10u
#define KEEPER_UPGRADE_US 5000000u /* for a server to end when it is to be replaced */
#define KEEPER_LAST_US 500000u     /* for the system to end what was killed */
#define KEEPER_LAST_TICK_MS 10
#define KEEPER_PER_TURN 64u
#define KEEPER_NO_EXEC 127
#define KEEPER_TOKEN "SANDBOX_AGENT_TOKEN"

struct keeper_entry {
    struct sbx_keep_item item;
    bool adopted;
    bool told; /* the present server knows that it has exited */
};

struct keeper {
    const struct sbx_keeper_options *o;
    pid_t self;
    bool subreaper;
    size_t nofile; /* soft limit as it was given to us */
    int signals;   /* to poll */
    int link;      /* to the server; -1: it has closed its end, or there is none */
    pid_t server;  /* 0: WAITING */
    bool ready;    /* the server is */
    uint64_t ready_us;
    uint64_t start_us; /* WAITING: until then */
    unsigned generation;
    unsigned failures;   /* servers in a row that ended before they were ready */
    unsigned backoff_ms; /* the last one; 0: none */
    bool stopping;       /* TERM or INT has come */
    bool asked;          /* the server is to end for an upgrade, latest at kill_us */
    uint64_t kill_us;    /* 0: it has been killed, or nothing was asked */
    bool trying;         /* the present server runs `next` */
    char *path;          /* of the program; NULL: not known, no upgrades */
    int program;         /* what servers execute; -1: they are forks of ours */
    int next;            /* what an upgrade puts in its place; -1: none under way */
    unsigned upgrades;   /* that were asked for */
    struct keeper_entry *entries;
    size_t n, cap;
    size_t untold; /* entries that have exited without being told */
    bool over;
    int status;
};

static void keeper_finish(struct keeper *k, int status)
{
    k->over = true;
    k->status = status;
}

/* --- the table --- */

static struct keeper_entry *keeper_find(struct keeper *k, uint32_t kind, uint64_t number)
{
    size_t i;
    for (i = 0; i < k->n; i++)
        if (k->entries[i].item.kind == kind && k->entries[i].item.number == number)
            return &k->entries[i];
    return NULL;
}

static bool keeper_knows_pid(const struct keeper *k, pid_t pid)
{
    size_t i;
    for (i = 0; i < k->n; i++)
        if (k->entries[i].item.pid == pid)
            return true;
    return false;
}

static struct keeper_entry *keeper_add(struct keeper *k, uint32_t kind, uint64_t number)
{
    struct keeper_entry *e;
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

static void keeper_close_fds(int *fds)
{
    size_t i;
    for (i = 0; i < SBX_KEEP_FDS; i++)
        sbx_fd_close(&fds[i]);
}

static bool keeper_is_untold(const struct keeper_entry *e)
{
    return e->item.exited && !e->told;
}

/* --- exits --- */

static void keeper_tell(struct keeper *k)
{
    size_t i;
    for (i = 0; i < k->n && k->untold > 0 && k->link >= 0; i++) {
        struct keeper_entry *e = &k->entries[i];
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

static struct sbx_exit keeper_exit_of(const siginfo_t *info)
{
    struct sbx_exit e = {.kind = SBX_EXIT_UNKNOWN};
    e.kind = info->si_code == CLD_EXITED ? SBX_EXIT_CODE : SBX_EXIT_SIGNAL;
    e.value = info->si_code == CLD_EXITED ? info->si_status & 0xff : info->si_status;
    e.core = info->si_code == CLD_DUMPED;
    return e;
}

/* As waitid; info->si_pid is 0 when nothing has ended. */
static int keeper_wait(idtype_t type, pid_t pid, siginfo_t *info, int flags)
{
    int rc;
    do {
        memset(info, 0, sizeof *info);
        rc = waitid(type, (id_t)pid, info, WEXITED | WNOHANG | flags);
    } while (rc < 0 && errno == EINTR);
    return rc;
}

/* A stale pid may have become that of the server, whose end is not to be missed. */
static void keeper_reap(const struct keeper *k, pid_t pid)
{
    siginfo_t info;
    if (pid > 0 && pid != k->server)
        (void)keeper_wait(P_PID, pid, &info, 0);
}

static void keeper_peek(struct keeper *k, struct keeper_entry *e)
{
    siginfo_t info;
    if (!e->adopted || e->item.exited)
        return;
    if (keeper_wait(P_PID, e->item.pid, &info, WNOWAIT) == 0) {
        if (info.si_pid == 0)
            return;
        e->item.exit = keeper_exit_of(&info);
    } else if (errno != ECHILD || (!k->subreaper && kill(e->item.pid, 0) == 0)) {
        return;
    }
    /* Without a status it is no child: its server reaped it, and ended before it said so. */
    e->item.exited = true;
    k->untold++;
}

static void keeper_peek_all(struct keeper *k)
{
    size_t i;
    for (i = 0; i < k->n; i++)
        keeper_peek(k, &k->entries[i]);
}

static bool keeper_is_kept(const struct keeper *k, pid_t pid)
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
static void keeper_reap_orphans(struct keeper *k)
{
    siginfo_t info;
    while (keeper_wait(P_ALL, 0, &info, WNOWAIT) == 0 && info.si_pid > 0) {
        if (keeper_is_kept(k, info.si_pid)) {
            (void)sbx_ptree_each_child(keeper_reap_orphan, k);
            return;
        }
        keeper_reap(k, info.si_pid);
    }
}

/* --- messages of the server --- */

/* What one packet brought. fds: in the order in which they came. */
struct keeper_packet {
    uint8_t bytes[SBX_KEEPER_MSG_BYTES + 1]; /* one more shows that it is too long */
    size_t n;
    int fds[SBX_KEEP_FDS];
    size_t nfds;
    bool cut; /* more descriptors came than there is room for, or we have no more to give */
};

static void keeper_take_rights(struct keeper_packet *p, const struct cmsghdr *c)
{
    size_t i, n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (i = 0; i < n; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        (void)sbx_fd_set_cloexec(fd);
        if (p->nfds < SBX_KEEP_FDS) {
            p->fds[p->nfds++] = fd;
        } else {
            p->cut = true;
            (void)close(fd);
        }
    }
}

/* As recvmsg. */
static ssize_t keeper_receive(int link, struct keeper_packet *p)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(SBX_KEEP_FDS * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = p->bytes, .iov_len = sizeof p->bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c;
    ssize_t got = recvmsg(link, &msg, MSG_DONTWAIT);
    p->n = got > 0 ? (size_t)got : 0;
    p->nfds = 0;
    p->cut = got >= 0 && (msg.msg_flags & MSG_CTRUNC) != 0;
    for (c = got >= 0 ? CMSG_FIRSTHDR(&msg) : NULL; c != NULL; c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            keeper_take_rights(p, c);
    return got;
}

static bool keeper_has_its_fds(const struct keeper_packet *p, const struct sbx_keeper_msg *m)
{
    size_t i, want = 0;
    for (i = 0; i < SBX_KEEP_FDS; i++)
        want += m->fds >> i & 1;
    return !p->cut && p->nfds == want;
}

static void keeper_set_fds(struct keeper_entry *e, struct keeper_packet *p, unsigned slots)
{
    size_t i, from = 0;
    keeper_close_fds(e->item.fds);
    for (i = 0; i < SBX_KEEP_FDS; i++) {
        if ((slots >> i & 1) == 0)
            continue;
        e->item.fds[i] = p->fds[from];
        p->fds[from++] = -1;
    }
}

/* Usually a child of the server; of ours, when the server took it over, dropped it and put it
 * again. With 0 the server has seen it end: it is reaped, its descriptors stay. */
static void keeper_set_pid(struct keeper *k, struct keeper_entry *e, pid_t pid)
{
    siginfo_t info;
    pid_t before = e->item.pid;
    k->untold -= keeper_is_untold(e);
    keeper_reap(k, before);
    e->item.pid = pid;
    e->item.exited = e->told = false;
    memset(&e->item.exit, 0, sizeof e->item.exit);
    e->adopted = pid > 0 && keeper_wait(P_PID, pid, &info, WNOWAIT) == 0;
    keeper_peek(k, e);
}

static void keeper_put(struct keeper *k, struct keeper_packet *p, const struct sbx_keeper_msg *m)
{
    struct keeper_entry *e = keeper_find(k, m->kind, m->number);
    bool complete = keeper_has_its_fds(p, m);
    if (!complete)
        sbx_diag(k->o->diag, SBX_DIAG_ERROR,
                 "keeper: the descriptors of %u/%llu did not arrive; they are not kept",
                 (unsigned)m->kind, (unsigned long long)m->number);
    /* A process is kept all the same: its exit at least is exact. */
    if (!complete && m->kind != SBX_KEEP_PROCESS)
        return;
    if (e == NULL)
        e = keeper_add(k, m->kind, m->number);
    if (e == NULL) {
        sbx_diag(k->o->diag, SBX_DIAG_ERROR, "keeper: out of memory; an item is not kept");
        return;
    }
    if (e->item.pid != m->pid)
        keeper_set_pid(k, e, m->pid);
    if (complete)
        keeper_set_fds(e, p, m->fds);
}

static void keeper_drop(struct keeper *k, const struct sbx_keeper_msg *m)
{
    struct keeper_entry *e = keeper_find(k, m->kind, m->number);
    pid_t pid;
    if (e == NULL)
        return;
    pid = e->item.pid;
    k->untold -= keeper_is_untold(e);
    keeper_close_fds(e->item.fds);
    *e = k->entries[--k->n];
    /* One that runs on is now like any orphan; one of the server's own is not ours to wait for. */
    keeper_reap(k, pid);
}

static void keeper_close_one(struct keeper *k, const struct sbx_keeper_msg *m)
{
    struct keeper_entry *e = keeper_find(k, SBX_KEEP_PROCESS, m->number);
    size_t i;
    for (i = 0; e != NULL && i < SBX_KEEP_FDS; i++)
        if ((m->fds >> i & 1) != 0)
            sbx_fd_close(&e->item.fds[i]);
}

static void keeper_say_upgrade(struct keeper *k, enum sbx_keeper_upgrade state,
                               const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* For everybody, and for who asked. */
static void keeper_say_upgrade(struct keeper *k, enum sbx_keeper_upgrade state,
                               const char *fmt, ...)
{
    const struct keeper_entry *lock = keeper_find(k, SBX_KEEP_LOCK, 0);
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sbx_diag(k->o->diag, state == SBX_KEEPER_UPGRADE_FAILED ? SBX_DIAG_ERROR : SBX_DIAG_INFO, "%s",
             text);
    if (k->o->on_upgrade != NULL && lock != NULL)
        k->o->on_upgrade(lock->item.fds[0], k->upgrades, state, text);
}

/* A server that is ready already and says so again when it was asked to go stays. */
static void keeper_note_ready(struct keeper *k)
{
    if (k->ready && k->asked) {
        keeper_say_upgrade(k, SBX_KEEPER_UPGRADE_FAILED,
                           "upgrade: the server (pid %ld) cannot leave now: the next one would not "
                           "know what could not be stored", (long)k->server);
        k->asked = false;
        k->kill_us = 0;
        sbx_fd_close(&k->next);
    }
    if (k->ready)
        return;
    k->ready = true;
    k->ready_us = sbx_clock_mono_us();
    k->failures = 0;
    if (!k->trying)
        return;
    keeper_say_upgrade(k, SBX_KEEPER_UPGRADE_DONE, "upgraded: the server (pid %ld) runs %s",
                       (long)k->server, k->path);
    sbx_fd_close(&k->program);
    k->program = k->next;
    k->next = -1;
    k->trying = false;
    k->kill_us = 0;
}

/* Is it something that a server may say? To be told that keeper or server are kept processes would
 * make us wait for the wrong one. */
static bool keeper_is_sane(const struct keeper *k, const struct keeper_packet *p,
                           const struct sbx_keeper_msg *m)
{
    if (m->type == SBX_KEEPER_MSG_PUT)
        return m->pid != k->self && (m->pid == 0 || m->pid != k->server);
    return m->type != SBX_KEEPER_MSG_EXIT && p->nfds == 0;
}

static void keeper_take_packet(struct keeper *k, struct keeper_packet *p)
{
    struct sbx_keeper_msg m;
    size_t i;
    if (sbx_keeper_msg_decode(p->bytes, p->n, &m) < 0 || !keeper_is_sane(k, p, &m))
        sbx_diag(k->o->diag, SBX_DIAG_WARN,
                 "keeper: a message of the server makes no sense; ignored");
    else if (m.type == SBX_KEEPER_MSG_PUT)
        keeper_put(k, p, &m);
    else if (m.type == SBX_KEEPER_MSG_DROP)
        keeper_drop(k, &m);
    else if (m.type == SBX_KEEPER_MSG_CLOSE_FD)
        keeper_close_one(k, &m);
    else
        keeper_note_ready(k);
    for (i = 0; i < p->nfds; i++)
        sbx_fd_close(&p->fds[i]);
}

/* A packet without bytes reads like the end; only at the end has the other side hung up. */
static bool keeper_has_hung_up(int link)
{
    struct pollfd p = {.fd = link, .events = 0};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

/* One packet. False: there is none now, or there will be none any more (link is -1 then). */
static bool keeper_read_one(struct keeper *k)
{
    struct keeper_packet p;
    ssize_t got = keeper_receive(k->link, &p);
    if (got < 0 && errno == EINTR)
        return true;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (got < 0 || (got == 0 && keeper_has_hung_up(k->link))) {
        sbx_fd_close(&k->link);
        return false;
    }
    keeper_take_packet(k, &p);
    return true;
}

static void keeper_read_link(struct keeper *k)
{
    unsigned i;
    for (i = 0; i < KEEPER_PER_TURN && k->link >= 0 && keeper_read_one(k); i++)
        continue;
}

/* --- starting a server --- */

/* In the new server: the table as its estate, whose descriptors came along with the fork. */
static int keeper_hand_over(struct keeper *k, struct sbx_estate *estate)
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

static int keeper_write_table(const struct keeper *k)
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

/* Our environment with what the new program is to find in it. Never freed: exec follows. */
static char **keeper_environment(const struct keeper *k, const char *handover)
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

static char **keeper_arguments(const struct keeper *k)
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

static void keeper_pass_fds(const struct keeper *k, int table)
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
static void keeper_exec_file(const struct keeper *k, int program, char **argv, char **env)
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

/* In the child. */
static _Noreturn void keeper_exec(const struct keeper *k, int program)
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

/* The child leaves with all signals blocked, as if it had just been started, and in a group of its
 * own: what is typed at our terminal comes to us alone. */
static pid_t keeper_fork(void)
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

/* Both sides of the fork return 0; in the server it is over then. */
static int keeper_start(struct keeper *k)
{
    int program = k->next >= 0 ? k->next : k->program;
    int ours = -1, theirs = -1, rc;
    pid_t pid;
    size_t i;
    assert(k->server == 0 && k->link == -1);
    k->generation++;
    k->ready = false;
    k->trying = k->next >= 0;
    rc = sbx_fd_packet_pair(&ours, &theirs);
    if (rc < 0)
        return rc;
    pid = keeper_fork();
    if (pid == 0) {
        sbx_fd_close(&ours);
        k->link = theirs;
        if (program >= 0)
            keeper_exec(k, program);
        keeper_finish(k, SBX_KEEPER_SERVER);
        return 0;
    }
    rc = pid < 0 ? -errno : 0;
    sbx_fd_close(&theirs);
    if (rc < 0) {
        sbx_fd_close(&ours);
        return rc;
    }
    k->link = ours;
    k->server = pid;
    if (k->trying)
        k->kill_us = sbx_clock_mono_us() + KEEPER_UPGRADE_US;
    /* What has ended so far it finds in its estate. */
    for (i = 0; i < k->n; i++)
        k->entries[i].told = k->entries[i].item.exited;
    k->untold = 0;
    return 0;
}

/* --- the end of a server --- */

static int keeper_status_of(const struct sbx_exit *e)
{
    return e->kind == SBX_EXIT_SIGNAL ? 128 + e->value : e->value;
}

static void keeper_describe(const struct sbx_exit *e, char *out, size_t cap)
{
    char name[16];
    if (e->kind == SBX_EXIT_SIGNAL)
        (void)snprintf(out, cap, "was killed by %s", sbx_sig_name(e->value, name));
    else
        (void)snprintf(out, cap, "ended with exit code %d", e->value);
}

/* `what` has happened to a server; another one is due, at once or after a while. */
static void keeper_schedule(struct keeper *k, bool at_once, const char *what)
{
    unsigned most;
    k->start_us = sbx_clock_mono_us();
    if (at_once) {
        k->backoff_ms = 0;
        sbx_diag(k->o->diag, SBX_DIAG_ERROR, "%s; starting another one", what);
        return;
    }
    k->backoff_ms = k->backoff_ms == 0 ? KEEPER_BACKOFF_MS : k->backoff_ms * 2;
    /* One that can start is soon started again, whatever kills it: clients wait for it. */
    most = k->ready ? KEEPER_BACKOFF_READY_MS : KEEPER_BACKOFF_MAX_MS;
    if (k->backoff_ms > most)
        k->backoff_ms = most;
    k->start_us += k->backoff_ms * 1000;
    sbx_diag(k->o->diag, SBX_DIAG_ERROR, "%s; starting another one in %u ms", what,
             k->backoff_ms);
}

/* A server ended, or could not even be started. */
static void keeper_recover(struct keeper *k, const char *what)
{
    if (!k->ready && ++k->failures >= KEEPER_TRIES) {
        sbx_diag(k->o->diag, SBX_DIAG_ERROR, "%s; giving up after %u in a row that never started",
                 what, k->failures);
        keeper_finish(k, 1);
        return;
    }
    keeper_schedule(k, k->ready && sbx_clock_mono_us() - k->ready_us >= KEEPER_GOOD_LIFE_US, what);
}

static void keeper_fall_back(struct keeper *k, const char *what)
{
    keeper_say_upgrade(k, SBX_KEEPER_UPGRADE_FAILED,
                       "%s before it was ready; going back from the new %s to the program before "
                       "it", what, k->path);
    sbx_fd_close(&k->next);
    k->trying = false;
    k->start_us = 0;
}

static void keeper_stop(struct keeper *k);

static void keeper_decide(struct keeper *k, const struct sbx_exit *e)
{
    char how[48], what[96];
    keeper_describe(e, how, sizeof how);
    (void)snprintf(what, sizeof what, "the server (pid %ld) %s", (long)k->server, how);
    k->server = 0;
    k->kill_us = 0;
    if (k->stopping && k->trying) {
        keeper_fall_back(k, what);
        keeper_stop(k);
    } else if (k->stopping) {
        keeper_finish(k, keeper_status_of(e));
    } else if (k->asked || (k->ready && e->kind == SBX_EXIT_CODE && e->value == SBX_KEEPER_AGAIN)) {
        k->asked = false;
        k->start_us = 0;
    } else if (k->trying) {
        keeper_fall_back(k, what);
    } else if (!k->ready && k->generation == 1) {
        if (e->kind == SBX_EXIT_SIGNAL)
            sbx_diag(k->o->diag, SBX_DIAG_ERROR, "%s before it was ready", what);
        keeper_finish(k, keeper_status_of(e));
    } else if (k->ready && e->kind == SBX_EXIT_CODE && e->value == 0) {
        keeper_finish(k, 0);
    } else {
        keeper_recover(k, what);
    }
}

static void keeper_check_server(struct keeper *k)
{
    siginfo_t info;
    struct sbx_exit e;
    size_t i;
    if (k->server == 0 || keeper_wait(P_PID, k->server, &info, 0) < 0 || info.si_pid == 0)
        return;
    e = keeper_exit_of(&info);
    while (k->link >= 0 && keeper_read_one(k))
        continue;
    sbx_fd_close(&k->link);
    for (i = 0; i < k->n; i++)
        k->entries[i].adopted = k->entries[i].item.pid > 0;
    keeper_decide(k, &e);
}

/* --- signals --- */

static void keeper_pass_on(struct keeper *k, int sig)
{
    if (k->server != 0)
        (void)kill(k->server, sig);
}

static void keeper_stop(struct keeper *k)
{
    k->stopping = true;
    k->kill_us = 0;
    /* A program that never got ready may hear no other signal, and knows nothing that would be
     * lost: the one before it ends the processes. */
    if (k->trying) {
        keeper_pass_on(k, SIGKILL);
        return;
    }
    if (k->server == 0)
        sbx_fd_close(&k->next);
    /* Without a server one is started, to end the processes as they should be. */
    if (k->server == 0 && (k->generation == 0 || keeper_start(k) < 0)) {
        keeper_finish(k, 0);
        return;
    }
    keeper_pass_on(k, SIGTERM);
    keeper_pass_on(k, SIGCONT); /* a suspended one acts on it only when it is continued */
}

static void keeper_upgrade(struct keeper *k)
{
    if (k->stopping)
        return;
    if (k->next >= 0) {
        sbx_diag(k->o->diag, SBX_DIAG_WARN, "an upgrade is under way already");
        return;
    }
    k->upgrades++;
    if (k->path == NULL) {
        keeper_say_upgrade(k, SBX_KEEPER_UPGRADE_FAILED,
                           "cannot upgrade: the path of the program is not known");
        return;
    }
    k->next = open(k->path, O_RDONLY | O_CLOEXEC);
    if (k->next < 0 || access(k->path, X_OK) < 0) {
        keeper_say_upgrade(k, SBX_KEEPER_UPGRADE_FAILED, "cannot upgrade to %s: %s", k->path,
                           strerror(errno));
        sbx_fd_close(&k->next);
        return;
    }
    k->start_us = 0;
    if (k->server == 0) {
        keeper_say_upgrade(k, SBX_KEEPER_UPGRADE_BEGUN, "upgrade: starting %s", k->path);
        return;
    }
    keeper_say_upgrade(k, SBX_KEEPER_UPGRADE_BEGUN, "upgrade: replacing the server (pid %ld) by %s",
                       (long)k->server, k->path);
    k->asked = true;
    k->kill_us = sbx_clock_mono_us() + KEEPER_UPGRADE_US;
    keeper_pass_on(k, SIGUSR2);
}

static void keeper_take_signals(struct keeper *k)
{
    bool children = false;
    int sig;
    while ((sig = sbx_sig_next()) != 0) {
        if (sig == SIGCHLD)
            children = true;
        else if (sig == SIGHUP)
            keeper_pass_on(k, sig);
        else if (sig == SIGUSR2)
            keeper_upgrade(k);
        else
            keeper_stop(k);
    }
    if (children) {
        keeper_check_server(k);
        keeper_peek_all(k);
    }
}

/* --- turning --- */

static int keeper_timeout(const struct keeper *k)
{
    uint64_t now = sbx_clock_mono_us(), due = k->server == 0 ? k->start_us : k->kill_us;
    if (k->server != 0 && due == 0)
        return -1;
    return due <= now ? 0 : (int)((due - now + 999) / 1000);
}

static void keeper_check_time(struct keeper *k)
{
    uint64_t now = sbx_clock_mono_us();
    int rc = 0;
    if (k->server != 0 && k->kill_us != 0 && now >= k->kill_us) {
        sbx_diag(k->o->diag, SBX_DIAG_ERROR,
                 "the server (pid %ld) did not %s for the upgrade; killing it", (long)k->server,
                 k->trying ? "become ready" : "end");
        k->kill_us = 0;
        keeper_pass_on(k, SIGKILL);
    } else if (k->server == 0 && now >= k->start_us) {
        rc = keeper_start(k);
    }
    if (rc < 0) {
        char what[96];
        (void)snprintf(what, sizeof what, "cannot start a server: %s", strerror(-rc));
        keeper_recover(k, what);
    }
}

/* The server leaves in the middle, when it has been started. */
static void keeper_turn(struct keeper *k)
{
    struct pollfd p[2] = {{.fd = k->signals, .events = POLLIN},
                          {.fd = k->link, .events = POLLIN}};
    if (k->untold > 0)
        p[1].events |= POLLOUT;
    if (poll(p, 2, keeper_timeout(k)) > 0) {
        if (p[1].revents != 0)
            keeper_read_link(k);
        if (p[0].revents != 0)
            keeper_take_signals(k);
        keeper_reap_orphans(k);
    }
    if (!k->over)
        keeper_check_time(k);
    if (!k->over)
        keeper_tell(k);
}

/* Nothing of what the servers started is left running, whatever session it is in. */
static void keeper_end_all(struct keeper *k)
{
    uint64_t end = sbx_clock_mono_us() + KEEPER_LAST_US;
    siginfo_t info;
    size_t i;
    keeper_peek_all(k);
    /* Descendants cannot be told everywhere; groups of children that run can. */
    for (i = 0; i < k->n; i++) {
        const struct keeper_entry *e = &k->entries[i];
        if (e->adopted && !e->item.exited && getpgid(e->item.pid) == e->item.pid)
            (void)kill(-e->item.pid, SIGKILL);
    }
    do {
        sbx_ptree_kill_descendants();
        while (keeper_wait(P_ALL, 0, &info, 0) == 0 && info.si_pid > 0)
            continue;
        if (keeper_wait(P_ALL, 0, &info, WNOWAIT) < 0)
            return;
        (void)poll(NULL, 0, KEEPER_LAST_TICK_MS);
    } while (sbx_clock_mono_us() < end);
}

/* --- opening and closing --- */

static void keeper_find_path(struct keeper *k)
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

/* What was opened before there was a keeper. Theirs until nothing can fail any more: the caller
 * goes on alone with it. */
static int keeper_adopt(struct keeper *k, const struct sbx_estate *estate)
{
    size_t i;
    for (i = 0; i < estate->nitems; i++) {
        const struct sbx_keep_item *item = &estate->items[i];
        struct keeper_entry *e = keeper_add(k, item->kind, item->number);
        if (e == NULL)
            return -ENOMEM;
        memcpy(e->item.fds, item->fds, sizeof e->item.fds);
    }
    return 0;
}

static void keeper_take_estate(struct sbx_estate *estate)
{
    sbx_mem_free(estate->items);
    estate->items = NULL;
    estate->nitems = 0;
}

static int keeper_open(struct keeper *k, const struct sbx_estate *estate)
{
    sigset_t child_reset;
    int rc;
    (void)sbx_fd_raise_limit(&k->nofile);
    rc = sbx_fd_adopt_inherited();
    if (rc < 0)
        return rc;
    if (k->o->lock >= 0) {
        struct keeper_entry *e = keeper_add(k, SBX_KEEP_LOCK, 0);
        if (e == NULL)
            return -ENOMEM;
        e->item.fds[0] = k->o->lock;
    }
    rc = keeper_adopt(k, estate);
    if (rc < 0)
        return rc;
    k->subreaper = sbx_ptree_become_subreaper();
    keeper_find_path(k);
    k->signals = sbx_sig_open(&child_reset);
    if (k->signals < 0)
        return k->signals;
    return keeper_start(k);
}

/* Of all but the link and the descriptors in the table. */
static void keeper_release(struct keeper *k)
{
    sbx_fd_close(&k->program);
    sbx_fd_close(&k->next);
    sbx_mem_free(k->path);
    sbx_mem_free(k->entries);
}

static int keeper_leave(struct keeper *k)
{
    size_t i;
    keeper_end_all(k);
    sbx_fd_close(&k->link);
    for (i = 0; i < k->n; i++)
        keeper_close_fds(k->entries[i].item.fds);
    sbx_sig_reset();
    keeper_release(k);
    return k->status;
}

int sbx_keeper_run(const struct sbx_keeper_options *o, struct sbx_estate *estate,
                   struct sbx_err *err)
{
    struct keeper k = {.o = o, .self = getpid(), .signals = -1, .link = -1, .program = -1,
                       .next = -1};
    int rc = keeper_open(&k, estate);
    if (rc < 0) {
        sbx_sig_reset();
        sbx_fd_restore_limit(k.nofile);
        keeper_release(&k);
        (void)sbx_err_set(err, rc, "no keeper");
        (void)sbx_err_add_reason(err);
        err->code = -ENOTSUP;
        return -ENOTSUP;
    }
    keeper_take_estate(estate);
    while (!k.over)
        keeper_turn(&k);
    if (k.status != SBX_KEEPER_SERVER)
        return keeper_leave(&k);
    rc = keeper_hand_over(&k, estate);
    keeper_release(&k);
    if (rc < 0)
        _exit(1);
    return SBX_KEEPER_SERVER;
}
