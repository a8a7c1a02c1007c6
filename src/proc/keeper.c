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
#include "proc/keeper_state.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/ptree.h"
#include "os/sig.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEPER_GOOD_LIFE_US 100000u
#define KEEPER_BACKOFF_MS 10u
#define KEEPER_BACKOFF_MAX_MS 5000u
#define KEEPER_BACKOFF_READY_MS 160u
#define KEEPER_TRIES 10u
#define KEEPER_UPGRADE_US 5000000u /* for a server to end when it is to be replaced */

static void keeper_finish(struct sbx_keeper *k, int status)
{
    k->over = true;
    k->status = status;
}

static void keeper_say_upgrade(struct sbx_keeper *k, enum sbx_keeper_upgrade state,
                               const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* For everybody, and for who asked. */
static void keeper_say_upgrade(struct sbx_keeper *k, enum sbx_keeper_upgrade state,
                               const char *fmt, ...)
{
    const struct sbx_keeper_entry *lock = sbx_keeper_find(k, SBX_KEEP_LOCK, 0);
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

/* --- a server starts --- */

/* Both sides of the fork return 0; in the server it is over then. */
static int keeper_start(struct sbx_keeper *k)
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
    pid = sbx_keeper_fork();
    if (pid == 0) {
        sbx_fd_close(&ours);
        k->link = theirs;
        if (program >= 0)
            sbx_keeper_exec(k, program);
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

void sbx_keeper_note_ready(struct sbx_keeper *k)
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
static void keeper_schedule(struct sbx_keeper *k, bool at_once, const char *what)
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
static void keeper_recover(struct sbx_keeper *k, const char *what)
{
    if (!k->ready && ++k->failures >= KEEPER_TRIES) {
        sbx_diag(k->o->diag, SBX_DIAG_ERROR, "%s; giving up after %u in a row that never started",
                 what, k->failures);
        keeper_finish(k, 1);
        return;
    }
    keeper_schedule(k, k->ready && sbx_clock_mono_us() - k->ready_us >= KEEPER_GOOD_LIFE_US, what);
}

static void keeper_fall_back(struct sbx_keeper *k, const char *what)
{
    keeper_say_upgrade(k, SBX_KEEPER_UPGRADE_FAILED,
                       "%s before it was ready; going back from the new %s to the program before "
                       "it", what, k->path);
    sbx_fd_close(&k->next);
    k->trying = false;
    k->start_us = 0;
}

static void keeper_stop(struct sbx_keeper *k);

static void keeper_decide(struct sbx_keeper *k, const struct sbx_exit *e)
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

static void keeper_check_server(struct sbx_keeper *k)
{
    siginfo_t info;
    struct sbx_exit e;
    size_t i;
    if (k->server == 0 || sbx_keeper_wait(P_PID, k->server, &info, 0) < 0 || info.si_pid == 0)
        return;
    e = sbx_keeper_exit_of(&info);
    while (k->link >= 0 && sbx_keeper_read_one(k))
        continue;
    sbx_fd_close(&k->link);
    for (i = 0; i < k->n; i++)
        k->entries[i].adopted = k->entries[i].item.pid > 0;
    keeper_decide(k, &e);
}

/* --- signals --- */

static void keeper_pass_on(struct sbx_keeper *k, int sig)
{
    if (k->server != 0)
        (void)kill(k->server, sig);
}

static void keeper_stop(struct sbx_keeper *k)
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
    /* A suspended one is continued, to act on it; first, since one that acts at once may be at its
     * end when we run again, traced by a sanitizer's leak check, which SIGCONT would confuse. */
    keeper_pass_on(k, SIGCONT);
    keeper_pass_on(k, SIGTERM);
}

static void keeper_upgrade(struct sbx_keeper *k)
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

static void keeper_take_signals(struct sbx_keeper *k)
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
        sbx_keeper_peek_all(k);
    }
}

/* --- turning --- */

static int keeper_timeout(const struct sbx_keeper *k)
{
    uint64_t now = sbx_clock_mono_us(), due = k->server == 0 ? k->start_us : k->kill_us;
    if (k->server != 0 && due == 0)
        return -1;
    return due <= now ? 0 : (int)((due - now + 999) / 1000);
}

static void keeper_check_time(struct sbx_keeper *k)
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
static void keeper_turn(struct sbx_keeper *k)
{
    struct pollfd p[2] = {{.fd = k->signals, .events = POLLIN},
                          {.fd = k->link, .events = POLLIN}};
    if (k->untold > 0)
        p[1].events |= POLLOUT;
    if (poll(p, 2, keeper_timeout(k)) > 0) {
        if (p[1].revents != 0)
            sbx_keeper_read_link(k);
        if (p[0].revents != 0)
            keeper_take_signals(k);
        sbx_keeper_reap_orphans(k);
    }
    if (!k->over)
        keeper_check_time(k);
    if (!k->over)
        sbx_keeper_tell(k);
}

/* --- opening and closing --- */

/* What was opened before there was a keeper. Theirs until nothing can fail any more: the caller
 * goes on alone with it. */
static int keeper_adopt(struct sbx_keeper *k, const struct sbx_estate *estate)
{
    size_t i;
    for (i = 0; i < estate->nitems; i++) {
        const struct sbx_keep_item *item = &estate->items[i];
        struct sbx_keeper_entry *e = sbx_keeper_add(k, item->kind, item->number);
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

static int keeper_open(struct sbx_keeper *k, const struct sbx_estate *estate)
{
    sigset_t child_reset;
    int rc;
    (void)sbx_fd_raise_limit(&k->nofile);
    rc = sbx_fd_adopt_inherited();
    if (rc < 0)
        return rc;
    if (k->o->lock >= 0) {
        struct sbx_keeper_entry *e = sbx_keeper_add(k, SBX_KEEP_LOCK, 0);
        if (e == NULL)
            return -ENOMEM;
        e->item.fds[0] = k->o->lock;
    }
    rc = keeper_adopt(k, estate);
    if (rc < 0)
        return rc;
    k->subreaper = sbx_ptree_become_subreaper();
    sbx_keeper_find_path(k);
    k->signals = sbx_sig_open(&child_reset);
    if (k->signals < 0)
        return k->signals;
    return keeper_start(k);
}

/* Of all but the link and the descriptors in the table. */
static void keeper_release(struct sbx_keeper *k)
{
    sbx_fd_close(&k->program);
    sbx_fd_close(&k->next);
    sbx_mem_free(k->path);
    sbx_mem_free(k->entries);
}

static int keeper_leave(struct sbx_keeper *k)
{
    size_t i;
    sbx_keeper_end_all(k);
    sbx_fd_close(&k->link);
    for (i = 0; i < k->n; i++)
        sbx_keeper_close_fds(k->entries[i].item.fds);
    sbx_sig_reset();
    keeper_release(k);
    return k->status;
}

int sbx_keeper_run(const struct sbx_keeper_options *o, struct sbx_estate *estate,
                   struct sbx_err *err)
{
    struct sbx_keeper k = {.o = o, .self = getpid(), .signals = -1, .link = -1, .program = -1,
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
    rc = sbx_keeper_hand_over(&k, estate);
    keeper_release(&k);
    if (rc < 0)
        _exit(1);
    return SBX_KEEPER_SERVER;
}
