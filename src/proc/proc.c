/* proc.c - see proc.h.
 *
 * Facts and who sets them: `state` by proc_set_state alone; `exit` by proc_on_child_exit; a
 * descriptor's end by its output or input. "Done" is derived: the child is reaped and each output
 * is drained. The step to EXITED is a task of the PULL phase, after COMMIT, because what the
 * drain appended becomes readable at the commit of the same turn and not before.
 *
 * The slave side of a terminal stays open here until the leader has ended: a program may close all
 * its own descriptors of it and open /dev/tty later, and without a slave in between the master
 * would read as ended. */
#include "proc/proc.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/ptree.h"
#include "os/pty.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define PROC_HANGUP_US 100000u

static void proc_assert(const struct sbx_proc *p)
{
    assert(p->refs > 0);
    assert((p->child.pid != 0) == (p->state == SBX_PROC_RUNNING));
    assert(p->state != SBX_PROC_EXITED || p->log.ended);
    assert(p->state == SBX_PROC_RUNNING || p->in.state == SBX_INPUT_CLOSED);
}

static const char *proc_state_name(enum sbx_proc_state s)
{
    static const char *const names[] = {"RUNNING", "DRAINING", "EXITED"};
    return names[s];
}

static void proc_set_state(struct sbx_proc *p, enum sbx_proc_state state)
{
    assert((int)state == (int)p->state + 1);
    sbx_diag(&p->host->diag, SBX_DIAG_DEBUG, "%s: %s -> %s", p->id, proc_state_name(p->state),
             proc_state_name(state));
    p->state = state;
}

static void proc_tell_waiters(struct sbx_proc *p)
{
    while (!sbx_list_empty(&p->waiters)) {
        struct sbx_waiter *w = SBX_LIST_OF(p->waiters.next, struct sbx_waiter, node);
        sbx_list_remove(&w->node);
        w->on_exit(w);
    }
}

static void proc_settle(struct sbx_task *t)
{
    struct sbx_proc *p = SBX_LIST_OF(t, struct sbx_proc, settle);
    size_t i;
    for (i = 0; i < p->nout; i++)
        if (!p->out[i].drained)
            return;
    if (p->state != SBX_PROC_DRAINING)
        return;
    if (!sbx_log_is_committed(&p->log)) {
        sbx_loop_defer(&p->host->loop, SBX_PHASE_PULL, t); /* the next turn's, after its commit */
        return;
    }
    sbx_proc_ref(p);
    proc_set_state(p, SBX_PROC_EXITED);
    sbx_log_end(&p->log);
    proc_assert(p);
    proc_tell_waiters(p);
    sbx_proc_unref(p);
}

static void proc_on_drained(struct sbx_output *o)
{
    struct sbx_proc *p = SBX_LIST_OF(o->log, struct sbx_proc, log);
    sbx_loop_defer(&p->host->loop, SBX_PHASE_PULL, &p->settle);
}

static void proc_on_child_exit(struct sbx_child *c, const struct sbx_exit *exit)
{
    struct sbx_proc *p = SBX_LIST_OF(c, struct sbx_proc, child);
    size_t i;
    p->exit = *exit;
    p->exited_ms = sbx_clock_wall_ms();
    /* The wall clock may have been set back meanwhile; an end before its beginning helps nobody. */
    if (p->exited_ms < p->created_ms)
        p->exited_ms = p->created_ms;
    proc_set_state(p, SBX_PROC_DRAINING);
    sbx_loop_cancel_timer(&p->host->loop, &p->hangup);
    sbx_input_close(&p->in);
    sbx_fd_close(&p->slave);
    for (i = 0; i < p->nout; i++)
        sbx_output_drain(&p->out[i]);
    proc_assert(p);
}

static void proc_on_room(void *ctx)
{
    struct sbx_proc *p = ctx;
    size_t i;
    for (i = 0; i < p->nout; i++)
        sbx_output_resume(&p->out[i]);
}

static void proc_on_hangup(struct sbx_timer *t)
{
    struct sbx_proc *p = SBX_LIST_OF(t, struct sbx_proc, hangup);
    assert(p->state == SBX_PROC_RUNNING);
    /* Interactive shells ignore SIGTERM, and hanging up is the way to end them. Others handle
     * SIGTERM and are at it: a hang-up would only cut them short. */
    if (sbx_ptree_ignores(p->leader, SIGTERM))
        sbx_ptree_signal(p->leader, SIGHUP, 0);
}

static void proc_free(struct sbx_task *t)
{
    struct sbx_proc *p = SBX_LIST_OF(t, struct sbx_proc, free);
    sbx_mem_free(p->args);
    sbx_mem_free(p);
}

static struct sbx_str proc_keep(char **at, struct sbx_str s)
{
    struct sbx_str kept = {*at, s.n};
    if (s.n > 0)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return kept;
}

static size_t proc_text_size(const struct sbx_spec *spec)
{
    size_t i, n = spec->command.n + spec->cwd.n;
    for (i = 0; i < spec->nargs; i++)
        n += spec->args[i].n;
    return n;
}

static struct sbx_proc *proc_new(struct sbx_host *host, uint64_t number,
                                 const struct sbx_spec *spec)
{
    size_t i, args_size = spec->nargs * sizeof(struct sbx_str);
    struct sbx_proc *p = sbx_mem_calloc(sizeof *p + proc_text_size(spec));
    char *at;
    if (p == NULL)
        return NULL;
    p->args = spec->nargs > 0 ? sbx_mem_alloc(args_size) : NULL;
    if (spec->nargs > 0 && p->args == NULL) {
        sbx_mem_free(p);
        return NULL;
    }
    at = p->text;
    p->refs = 1;
    p->slave = -1;
    p->host = host;
    p->number = number;
    (void)snprintf(p->id, sizeof p->id, "proc_%llu", (unsigned long long)number);
    p->command = proc_keep(&at, spec->command);
    p->cwd = proc_keep(&at, spec->cwd);
    for (i = 0; i < spec->nargs; i++)
        p->args[i] = proc_keep(&at, spec->args[i]);
    p->nargs = spec->nargs;
    p->has_cwd = spec->has_cwd;
    p->tty = spec->tty;
    p->interactive = spec->interactive;
    p->cols = spec->cols;
    p->rows = spec->rows;
    sbx_list_init(&p->waiters);
    sbx_task_init(&p->settle, proc_settle);
    sbx_task_init(&p->free, proc_free);
    sbx_timer_init(&p->hangup, proc_on_hangup);
    return p;
}

/* The descriptors of a started child become outputs and input of p. On failure those that were not
 * taken over are closed here. */
static int proc_take_over(struct sbx_proc *p, const struct sbx_launched *l)
{
    static const enum sbx_log_stream pipes[2] = {SBX_STREAM_STDOUT, SBX_STREAM_STDERR};
    struct sbx_loop *loop = &p->host->loop;
    size_t i, n = p->tty ? 1 : 2;
    int rc = sbx_input_open(&p->in, loop, l->in, p->tty);
    for (i = 0; i < n; i++) {
        int one = sbx_output_open(&p->out[i], loop, &p->log, l->out[i],
                                  p->tty ? SBX_STREAM_PTY : pipes[i], proc_on_drained);
        if (one < 0)
            rc = one;
    }
    p->nout = n;
    p->slave = l->slave;
    p->child.pid = l->pid;
    p->leader = l->pid;
    p->child.on_exit = proc_on_child_exit;
    sbx_reap_add(&p->host->reap, &p->child);
    return rc;
}

struct sbx_proc *sbx_proc_start(struct sbx_host *host, uint64_t number, const struct sbx_spec *spec,
                                struct sbx_err *err)
{
    struct sbx_launched l;
    struct sbx_proc *p = proc_new(host, number, spec);
    if (p == NULL || sbx_log_init(&p->log, &host->loop, host->store,
                                  host->limits.max_log_bytes_per_process, proc_on_room, p) < 0) {
        sbx_err_set(err, ENOMEM, "%s (os error %d)", strerror(ENOMEM), ENOMEM);
        goto fail;
    }
    p->created_ms = sbx_clock_wall_ms();
    if (sbx_launch(host, spec, SBX_LAUNCH_STDIN_PIPE, spec->tty, &l, err) < 0)
        goto fail;
    if (proc_take_over(p, &l) < 0)
        sbx_diag(&host->diag, SBX_DIAG_WARN, "%s: a descriptor could not be watched", p->id);
    sbx_diag(&host->diag, SBX_DIAG_DEBUG, "%s: started, pid %ld", p->id, (long)l.pid);
    return p;
fail:
    if (p != NULL) {
        if (p->log.store != NULL)
            sbx_log_deinit(&p->log);
        sbx_mem_free(p->args);
        sbx_mem_free(p);
    }
    return NULL;
}

struct sbx_proc *sbx_proc_ref(struct sbx_proc *p)
{
    p->refs++;
    return p;
}

void sbx_proc_detach(struct sbx_proc *p)
{
    size_t i;
    sbx_input_close(&p->in);
    sbx_fd_close(&p->slave);
    for (i = 0; i < p->nout; i++)
        sbx_output_close(&p->out[i]);
    sbx_loop_cancel_timer(&p->host->loop, &p->hangup);
    sbx_reap_remove(&p->host->reap, &p->child);
}

void sbx_proc_unref(struct sbx_proc *p)
{
    assert(p->refs > 0);
    if (--p->refs > 0)
        return;
    assert(sbx_list_empty(&p->waiters));
    sbx_proc_detach(p);
    sbx_task_cancel(&p->settle);
    sbx_log_deinit(&p->log);
    sbx_loop_defer(&p->host->loop, SBX_PHASE_FREE, &p->free);
}

/* A suspended process acts on SIGTERM only when it is continued. */
static int proc_and_then(int sig)
{
    return sig == SIGTERM ? SIGCONT : 0;
}

/* Looking for what an ended leader left costs a walk through /proc. Without a terminal there is no
 * job control, so nothing is left in the session when nothing is left in the group. */
static bool proc_may_have_remains(const struct sbx_proc *p)
{
    return p->tty || kill(-p->leader, 0) == 0 || errno != ESRCH;
}

void sbx_proc_signal(struct sbx_proc *p, int sig)
{
    if (p->state == SBX_PROC_RUNNING)
        sbx_ptree_signal(p->leader, sig, proc_and_then(sig));
    else if (proc_may_have_remains(p))
        sbx_ptree_signal_orphans(p->leader, sig, proc_and_then(sig));
}

void sbx_proc_stop(struct sbx_proc *p)
{
    sbx_proc_signal(p, SIGTERM);
    if (p->tty && p->state == SBX_PROC_RUNNING)
        sbx_loop_set_timer(&p->host->loop, &p->hangup, p->host->loop.now_us + PROC_HANGUP_US);
}

void sbx_proc_kill(struct sbx_proc *p)
{
    sbx_proc_signal(p, SIGKILL);
}

void sbx_proc_wait(struct sbx_proc *p, struct sbx_waiter *w)
{
    assert(p->state != SBX_PROC_EXITED);
    sbx_list_init(&w->node);
    sbx_list_add_tail(&p->waiters, &w->node);
}

void sbx_waiter_cancel(struct sbx_waiter *w)
{
    sbx_list_remove(&w->node);
}

int sbx_proc_input(struct sbx_proc *p, const void *bytes, size_t n, bool eof)
{
    size_t i;
    if (p->state != SBX_PROC_RUNNING)
        return -ESRCH;
    for (i = 0; i < p->nout; i++)
        sbx_output_wake(&p->out[i]);
    return sbx_input_send(&p->in, bytes, n, eof, sbx_limits_input_queue(&p->host->limits));
}

int sbx_proc_resize(struct sbx_proc *p, uint16_t cols, uint16_t rows)
{
    int rc;
    if (!p->tty)
        return -ENOTTY;
    if (p->state != SBX_PROC_RUNNING || p->out[0].state == SBX_OUTPUT_CLOSED)
        return -ESRCH;
    rc = sbx_pty_resize(p->out[0].io.fd, cols, rows);
    if (rc < 0)
        return rc;
    p->cols = cols;
    p->rows = rows;
    /* The kernel tells the foreground group, and only of a change. A shell in the background wants
     * to know as well, and a viewer that repeats its size wants a redraw. */
    (void)kill(p->leader, SIGWINCH);
    return 0;
}
