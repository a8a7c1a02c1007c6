/* proc.c - see proc.h.
 *
 * Facts and who sets them: `state` by proc_set_state alone; `exit` by sbx_proc_end; the end of a
 * descriptor by its output or input. "Done" is derived: the child has ended and each output is
 * drained. Then the exit goes to the store together with the last output, and when that is
 * committed the step to EXITED follows, in phase PULL of the same turn.
 *
 * An exit is written to the shared memory before the child is reaped, so a successor finds it there
 * if this server dies before it could be stored.
 *
 * The slave side of a terminal stays open here until the leader has ended: a program may close all
 * its own descriptors of it and open /dev/tty later, and without a slave in between the master
 * would read as ended. */
#include "proc/proc_state.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/ptree.h"
#include "os/pty.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROC_HANGUP_US 100000u

static void proc_assert(const struct sbx_proc *p)
{
    assert(p->refs > 0);
    assert(p->adopted || (p->child.pid != 0) == (p->state == SBX_PROC_RUNNING));
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

const char *sbx_exit_reason_name(enum sbx_exit_reason reason)
{
    static const char *const names[] = {"exited", "signaled", "stopped", "lost"};
    return names[reason];
}

/* --- what outlives the server --- */

static struct sbx_proc *proc_of_record(struct sbx_record *r)
{
    return SBX_LIST_OF(r, struct sbx_proc, record);
}

static struct sbx_str proc_args_json(const struct sbx_proc *p, struct sbx_buf *scratch)
{
    struct sbx_json_writer w;
    size_t i;
    sbx_json_begin(&w, scratch);
    sbx_json_array(&w);
    for (i = 0; i < p->nargs; i++)
        sbx_json_string(&w, p->args[i]);
    sbx_json_array_end(&w);
    return sbx_buf_view(scratch);
}

static void proc_describe_exit(const struct sbx_proc *p, struct sbx_db_process *out)
{
    out->exited = true;
    out->exited_ms = p->exited_ms;
    out->exit_kind = (int)p->exit.kind;
    out->exit_value = p->exit.value;
    out->core_dumped = p->exit.core;
    out->exit_reason = sbx_str_z(sbx_exit_reason_name(p->reason));
}

static void proc_describe(struct sbx_record *r, struct sbx_db_process *out, struct sbx_buf *scratch)
{
    const struct sbx_proc *p = proc_of_record(r);
    *out = (struct sbx_db_process){
        .number = p->number, .command = p->command, .args = proc_args_json(p, scratch),
        .env_names = sbx_str_z(p->env_names != NULL ? p->env_names : "[]"),
        .has_cwd = p->has_cwd, .cwd = p->cwd, .tty = p->tty, .interactive = p->interactive,
        .persist = !p->in_memory, .cols = p->cols, .rows = p->rows, .pid = p->leader,
        .started_us = p->started_us, .boot_id = sbx_str_z(p->foreign ? "" : p->host->boot),
        .created_ms = p->created_ms, .exit_reason = SBX_STR(""),
        .exit_note = sbx_str_z(p->note), .input_dropped = p->input_dropped};
    sbx_store_log_describe(p->log.store, out);
    if (p->ending || p->state == SBX_PROC_EXITED)
        proc_describe_exit(p, out);
}

void sbx_proc_free_slot(struct sbx_proc *p)
{
    if (p->slot != NULL)
        sbx_tail_slot_free(sbx_store_tail(p->host->store), p->slot);
    p->slot = NULL;
}

static void proc_keep(struct sbx_proc *p, pid_t pid)
{
    int fds[SBX_KEEP_FDS] = {p->tty ? -1 : p->in.io.fd, p->out[0].io.fd,
                             p->nout > 1 ? p->out[1].io.fd : -1};
    size_t i;
    if (p->in.state == SBX_INPUT_CLOSED || p->in.state == SBX_INPUT_BROKEN)
        fds[0] = -1;
    for (i = 0; i < p->nout; i++)
        if (p->out[i].state == SBX_OUTPUT_CLOSED)
            fds[i + 1] = -1;
    /* What it did not take does not replace what it has. */
    if (sbx_keep_put(&p->host->keep, SBX_KEEP_PROCESS, p->number, pid, fds) == 0)
        p->kept = true;
    else
        sbx_diag(&p->host->diag, SBX_DIAG_WARN, "%s: the keeper did not take it", p->id);
}

static bool proc_is_silent(const struct sbx_proc *p)
{
    size_t i;
    for (i = 0; i < p->nout; i++)
        if (p->out[i].state != SBX_OUTPUT_CLOSED)
            return false;
    return true;
}

static void proc_keep_no_more(struct sbx_proc *p)
{
    if (p->kept)
        p->kept = sbx_keep_drop(&p->host->keep, SBX_KEEP_PROCESS, p->number) < 0;
}

void sbx_proc_release_exited(struct sbx_proc *p)
{
    if (!p->kept)
        return;
    if (proc_is_silent(p))
        proc_keep_no_more(p);
    else
        proc_keep(p, 0);
}

/* The exit is in the file: nobody else has to remember it. */
static void proc_let_go(struct sbx_proc *p)
{
    sbx_proc_free_slot(p);
    sbx_proc_release_exited(p);
}

static void proc_on_stored(struct sbx_record *r)
{
    struct sbx_proc *p = proc_of_record(r);
    if (p->slot != NULL)
        p->slot->flags |= SBX_SLOT_SHOWN;
    if (p->state == SBX_PROC_DRAINING)
        sbx_loop_defer(&p->host->loop, SBX_PHASE_PULL, &p->settle);
}

static void proc_on_saved(struct sbx_record *r)
{
    struct sbx_proc *p = proc_of_record(r);
    if (p->state == SBX_PROC_EXITED)
        proc_let_go(p);
}

static void proc_on_output_closed(struct sbx_output *o)
{
    struct sbx_proc *p = SBX_LIST_OF(o->log, struct sbx_proc, log);
    /* While the exit is being seen to, the keeper is told of all at once, when that is stored. */
    if (!p->kept || p->state == SBX_PROC_DRAINING)
        return;
    if (p->state == SBX_PROC_EXITED && proc_is_silent(p))
        proc_keep_no_more(p);
    else
        (void)sbx_keep_close_fd(&p->host->keep, p->number, o == &p->out[0] ? 1 : 2);
}

/* The end of a pipe is its last descriptor: the process sees it only when the keeper's is
 * closed. */
static void proc_on_input_closed(struct sbx_input *in)
{
    struct sbx_proc *p = SBX_LIST_OF(in, struct sbx_proc, in);
    if (p->kept && !p->tty && p->state == SBX_PROC_RUNNING)
        (void)sbx_keep_close_fd(&p->host->keep, p->number, 0);
}

/* --- the end --- */

static bool proc_is_drained(const struct sbx_proc *p)
{
    size_t i;
    for (i = 0; i < p->nout; i++)
        if (!p->out[i].drained)
            return false;
    return true;
}

/* Everything the leader wrote is in the log: store it, and how the leader ended, in one go. Not
 * before what clients were told already is stored: a record with an end waits for the log. */
static void proc_store_end(struct sbx_proc *p)
{
    if (p->state != SBX_PROC_DRAINING || p->ending || p->record.awaited || !proc_is_drained(p))
        return;
    p->ending = true;
    sbx_store_log_hasten(p->log.store);
    sbx_store_record(p->host->store, &p->record);
}

static void proc_on_drained(struct sbx_output *o)
{
    proc_store_end(SBX_LIST_OF(o->log, struct sbx_proc, log));
}

static void proc_settle(struct sbx_task *t)
{
    struct sbx_proc *p = SBX_LIST_OF(t, struct sbx_proc, settle);
    if (!p->ending) {
        proc_store_end(p);
        return;
    }
    if (p->state != SBX_PROC_DRAINING || p->record.awaited)
        return;
    if (!sbx_log_is_committed(&p->log)) {
        /* A background child wrote once more: with that. */
        sbx_store_record(p->host->store, &p->record);
        return;
    }
    sbx_proc_ref(p);
    proc_set_state(p, SBX_PROC_EXITED);
    sbx_log_end(&p->log);
    if (sbx_record_is_saved(&p->record))
        proc_let_go(p);
    proc_assert(p);
    if (p->host->on_exited != NULL)
        p->host->on_exited(p->host->ctx, p);
    proc_tell_waiters(p);
    sbx_proc_unref(p);
}

enum sbx_exit_reason sbx_proc_reason(const struct sbx_proc *p)
{
    if (p->exit.kind == SBX_EXIT_UNKNOWN)
        return SBX_REASON_LOST;
    if (p->stop_asked)
        return SBX_REASON_STOPPED;
    return p->exit.kind == SBX_EXIT_SIGNAL ? SBX_REASON_SIGNALED : SBX_REASON_EXITED;
}

static void proc_note_exit(struct sbx_proc *p)
{
    if (p->slot == NULL || p->slot->exited_ms != 0)
        return;
    p->slot->exit_kind = (int32_t)p->exit.kind;
    p->slot->exit_value = p->exit.value;
    p->slot->exit_core = p->exit.core;
    sbx_tail_publish(&p->slot->exited_ms, p->exited_ms);
}

void sbx_proc_end(struct sbx_proc *p, const struct sbx_exit *exit, uint64_t exited_ms)
{
    size_t i;
    p->exit = *exit;
    p->reason = sbx_proc_reason(p);
    /* The wall clock may have been set back meanwhile; an end before its beginning helps nobody. */
    p->exited_ms = exited_ms < p->created_ms ? p->created_ms : exited_ms;
    proc_note_exit(p);
    proc_set_state(p, SBX_PROC_DRAINING);
    sbx_loop_cancel_timer(&p->host->loop, &p->hangup);
    p->input_dropped += sbx_input_queued(&p->in);
    sbx_input_close(&p->in);
    sbx_fd_close(&p->slave);
    for (i = 0; i < p->nout; i++)
        sbx_output_drain(&p->out[i]);
    proc_assert(p);
}

static void proc_on_child_exit(struct sbx_child *c, const struct sbx_exit *exit)
{
    sbx_proc_end(SBX_LIST_OF(c, struct sbx_proc, child), exit, sbx_clock_wall_ms());
}

void sbx_proc_on_kept_exit(struct sbx_proc *p, const struct sbx_exit *exit)
{
    if (p->adopted && p->state == SBX_PROC_RUNNING)
        sbx_proc_end(p, exit, sbx_clock_wall_ms());
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

static void proc_free_memory(struct sbx_proc *p)
{
    sbx_mem_free(p->env_names);
    sbx_mem_free(p->args);
    sbx_mem_free(p);
}

static void proc_free(struct sbx_task *t)
{
    struct sbx_proc *p = SBX_LIST_OF(t, struct sbx_proc, free);
    proc_free_memory(p);
}

static struct sbx_str proc_copy(char **at, struct sbx_str s)
{
    struct sbx_str kept = {*at, s.n};
    if (s.n > 0)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return kept;
}

void sbx_proc_count_text(struct sbx_proc *p)
{
    size_t i;
    p->text_bytes = p->command.n + p->cwd.n + p->nargs * sizeof *p->args +
                    (p->env_names == NULL ? 0 : strlen(p->env_names));
    for (i = 0; i < p->nargs; i++)
        p->text_bytes += p->args[i].n;
}

static size_t proc_text_size(const struct sbx_spec *spec)
{
    size_t i, n = spec->command.n + spec->cwd.n;
    for (i = 0; i < spec->nargs; i++)
        n += spec->args[i].n;
    return n;
}

static bool proc_name_env(struct sbx_proc *p, const struct sbx_spec *spec)
{
    struct sbx_json_writer w;
    struct sbx_buf out;
    size_t i;
    if (spec->nenv == 0)
        return true;
    sbx_buf_init(&out);
    sbx_json_begin(&w, &out);
    sbx_json_array(&w);
    for (i = 0; i < spec->nenv; i++)
        sbx_json_string(&w, spec->env[i].name);
    sbx_json_array_end(&w);
    if (!out.oom)
        p->env_names = sbx_mem_strndup((const char *)sbx_buf_data(&out), sbx_buf_len(&out));
    sbx_buf_deinit(&out);
    return p->env_names != NULL;
}

struct sbx_proc *sbx_proc_new(struct sbx_host *host, uint64_t number, const struct sbx_spec *spec)
{
    size_t i;
    struct sbx_proc *p = sbx_mem_calloc(sizeof *p);
    char *at;
    if (p == NULL)
        return NULL;
    p->args = sbx_mem_alloc(spec->nargs * sizeof *p->args + proc_text_size(spec) + 1);
    if (p->args == NULL || !proc_name_env(p, spec)) {
        proc_free_memory(p);
        return NULL;
    }
    at = (char *)(p->args + spec->nargs);
    p->refs = 1;
    p->slave = -1;
    p->host = host;
    p->number = number;
    (void)snprintf(p->id, sizeof p->id, "proc_%llu", (unsigned long long)number);
    p->command = proc_copy(&at, spec->command);
    p->cwd = proc_copy(&at, spec->cwd);
    for (i = 0; i < spec->nargs; i++)
        p->args[i] = proc_copy(&at, spec->args[i]);
    p->nargs = spec->nargs;
    sbx_proc_count_text(p);
    p->has_cwd = spec->has_cwd;
    p->tty = spec->tty;
    p->interactive = spec->interactive;
    p->in_memory = spec->in_memory;
    p->cols = spec->cols;
    p->rows = spec->rows;
    sbx_record_init(&p->record);
    p->record.describe = proc_describe;
    p->record.on_stored = proc_on_stored;
    p->record.on_saved = proc_on_saved;
    sbx_list_init(&p->waiters);
    sbx_list_init(&p->exited);
    sbx_list_init(&p->victim);
    sbx_task_init(&p->settle, proc_settle);
    sbx_task_init(&p->free, proc_free);
    sbx_timer_init(&p->hangup, proc_on_hangup);
    return p;
}

bool sbx_proc_open_log(struct sbx_proc *p, uint64_t cap, bool grows,
                       const struct sbx_db_process *known)
{
    struct sbx_store_log_options o = {.number = p->number, .cap = cap, .in_file = !p->in_memory,
                                      .grows = grows, .slot = p->slot};
    int rc = sbx_log_init(&p->log, &p->host->loop, p->host->store, &o, known, proc_on_room, p);
    p->record.log = p->log.store;
    return rc == 0;
}

int sbx_proc_take_over(struct sbx_proc *p, int in, const int out[2])
{
    static const enum sbx_log_stream pipes[2] = {SBX_STREAM_STDOUT, SBX_STREAM_STDERR};
    struct sbx_loop *loop = &p->host->loop;
    size_t i;
    int rc = 0, one;
    p->nout = p->tty ? 1 : 2;
    if (in >= 0)
        rc = sbx_input_open(&p->in, loop, in, p->tty);
    p->in.on_closed = proc_on_input_closed;
    p->in.note = p->slot != NULL ? &p->slot->input_queued : NULL;
    p->in.note_end = p->slot != NULL ? &p->slot->input_ended : NULL;
    for (i = 0; i < p->nout; i++) {
        p->out[i] = (struct sbx_output){.state = SBX_OUTPUT_CLOSED, .log = &p->log,
                                        .io = {.loop = loop, .fd = -1},
                                        .on_drained = proc_on_drained};
        one = out[i] < 0 ? 0 : sbx_output_open(&p->out[i], loop, &p->log, out[i],
                                               p->tty ? SBX_STREAM_PTY : pipes[i],
                                               proc_on_drained);
        p->out[i].on_closed = proc_on_output_closed;
        if (one < 0)
            rc = one;
    }
    if (rc < 0)
        sbx_diag(&p->host->diag, SBX_DIAG_WARN, "%s: a descriptor could not be watched", p->id);
    return rc;
}

void sbx_proc_abandon(struct sbx_proc *p)
{
    sbx_proc_free_slot(p);
    if (p->log.store != NULL)
        sbx_log_deinit(&p->log);
    proc_free_memory(p);
}

static bool proc_prepare(struct sbx_proc *p)
{
    p->slot = sbx_tail_slot_new(sbx_store_tail(p->host->store), SBX_SLOT_PROCESS, p->number);
    if (p->slot != NULL)
        p->slot->flags = (p->tty ? SBX_SLOT_TTY : 0u) |
                         (p->interactive ? SBX_SLOT_INTERACTIVE : 0u) |
                         (p->in_memory ? SBX_SLOT_IN_MEMORY : 0u);
    return sbx_proc_open_log(p, p->host->limits.max_log_bytes_per_process, false, NULL);
}

struct sbx_proc *sbx_proc_start(struct sbx_host *host, uint64_t number, const struct sbx_spec *spec,
                                struct sbx_err *err)
{
    struct sbx_launched l;
    struct sbx_proc *p = sbx_proc_new(host, number, spec);
    if (p == NULL || !proc_prepare(p)) {
        sbx_err_set(err, ENOMEM, "%s (os error %d)", strerror(ENOMEM), ENOMEM);
        goto fail;
    }
    p->created_ms = sbx_clock_wall_ms();
    p->started_us = sbx_ident_now_us();
    if (p->slot != NULL)
        p->slot->started_us = p->started_us;
    if (sbx_launch(host, spec, SBX_LAUNCH_STDIN_PIPE, spec->tty,
                   p->slot != NULL ? &p->slot->pid : NULL, &l, err) < 0)
        goto fail;
    (void)sbx_proc_take_over(p, l.in, l.out);
    p->slave = l.slave;
    p->leader = p->child.pid = l.pid;
    p->child.on_exit = proc_on_child_exit;
    sbx_reap_add(&host->reap, &p->child);
    proc_keep(p, l.pid);
    sbx_store_record(host->store, &p->record);
    sbx_diag(&host->diag, SBX_DIAG_DEBUG, "%s: started, pid %ld", p->id, (long)l.pid);
    return p;
fail:
    if (p != NULL)
        sbx_proc_abandon(p);
    return NULL;
}

/* --- references --- */

struct sbx_proc *sbx_proc_ref(struct sbx_proc *p)
{
    p->refs++;
    return p;
}

void sbx_proc_detach(struct sbx_proc *p)
{
    size_t i;
    p->in.on_closed = NULL;
    p->in.note = NULL;
    p->in.note_end = NULL;
    sbx_input_close(&p->in);
    sbx_fd_close(&p->slave);
    for (i = 0; i < p->nout; i++)
        sbx_output_close(&p->out[i]);
    sbx_loop_cancel_timer(&p->host->loop, &p->hangup);
    sbx_reap_remove(&p->host->reap, &p->child);
}

void sbx_proc_forget(struct sbx_proc *p)
{
    sbx_record_drop(&p->record);
    sbx_proc_free_slot(p);
    proc_keep_no_more(p);
    sbx_store_log_forget(p->log.store);
}

void sbx_proc_unref(struct sbx_proc *p)
{
    assert(p->refs > 0);
    if (--p->refs > 0)
        return;
    assert(sbx_list_empty(&p->waiters));
    sbx_proc_detach(p);
    sbx_record_drop(&p->record);
    sbx_task_cancel(&p->settle);
    sbx_log_deinit(&p->log);
    sbx_loop_defer(&p->host->loop, SBX_PHASE_FREE, &p->free);
}

/* A suspended process acts on SIGTERM only when it is continued. */
static int proc_and_then(int sig)
{
    return sig == SIGTERM ? SIGCONT : 0;
}

static bool proc_is_there(pid_t pid)
{
    return kill(pid, 0) == 0 || errno != ESRCH;
}

/* Looking for what an ended leader left costs a walk through /proc. Without a terminal there is no
 * job control, so nothing is left in the session when nothing is left in the group. A session that
 * has members keeps its number: where the leader's pid is taken again, nothing is left, and what is
 * in that session is somebody else's. */
static bool proc_may_have_remains(const struct sbx_proc *p)
{
    return !p->foreign && p->leader > 1 && !proc_is_there(p->leader) &&
           (p->tty || proc_is_there(-p->leader));
}

void sbx_proc_signal(struct sbx_proc *p, int sig)
{
    if (p->state == SBX_PROC_RUNNING) {
        p->stop_asked = true;
        if (p->slot != NULL)
            p->slot->stop_asked = 1;
        sbx_ptree_signal(p->leader, sig, proc_and_then(sig));
    } else if (proc_may_have_remains(p))
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
    sbx_store_record(p->host->store, &p->record);
    /* The kernel tells the foreground group, and only of a change. A shell in the background wants
     * to know as well, and a viewer that repeats its size wants a redraw. */
    (void)kill(p->leader, SIGWINCH);
    return 0;
}
