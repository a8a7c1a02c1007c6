/* run.c - see run.h.
 *
 * The answer comes when the leader has exited and what was in the pipes at that moment is read. A
 * background child that holds a pipe open is left alone: its descriptor goes to a sink that reads
 * and forgets, because closing it would kill the child with SIGPIPE at its next word. At the
 * timeout everything is killed, and the answer is given at once with what the pipes hold; whether
 * the leader can be reaped already (it may be stuck in the kernel) does not matter to it. */
#include "proc/run.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/ptree.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define RUN_READS_PER_TURN 8
#define RUN_GROW_ABOVE 16384 /* one read found so much: a larger pipe saves switching */
#define RUN_PIPE_BYTES (256u * 1024u)
#define RUN_SINK_NAP_US 20000u

/* --- sinks: pipes of background children that outlive a run --- */

struct run_sink {
    struct sbx_list node; /* in host->sinks */
    struct sbx_io io;
    struct sbx_timer nap; /* a child that floods nobody is read, but not at full speed */
    struct sbx_task free;
    struct sbx_host *host;
};

static void sink_free(struct sbx_task *t)
{
    sbx_mem_free(SBX_LIST_OF(t, struct run_sink, free));
}

static void sink_close(struct run_sink *sink)
{
    sbx_io_stop(&sink->io);
    sbx_loop_cancel_timer(&sink->host->loop, &sink->nap);
    sbx_fd_close(&sink->io.fd);
    sbx_list_remove(&sink->node);
    sbx_loop_defer(&sink->host->loop, SBX_PHASE_FREE, &sink->free);
}

void sbx_runs_close_sinks(struct sbx_host *host)
{
    while (!sbx_list_empty(&host->sinks))
        sink_close(SBX_LIST_OF(host->sinks.next, struct run_sink, node));
}

static void sink_on_ready(struct sbx_io *io, short revents)
{
    struct run_sink *sink = SBX_LIST_OF(io, struct run_sink, io);
    ssize_t got = sbx_fd_read(io->fd, sink->host->scratch, SBX_SCRATCH_BYTES);
    (void)revents;
    if (got <= 0 && got != -EAGAIN) {
        sink_close(sink);
        return;
    }
    sbx_io_stop(io);
    sbx_loop_set_timer(&sink->host->loop, &sink->nap, sink->host->loop.now_us + RUN_SINK_NAP_US);
}

static void sink_on_nap_over(struct sbx_timer *t)
{
    struct run_sink *sink = SBX_LIST_OF(t, struct run_sink, nap);
    if (sbx_io_watch(&sink->io, POLLIN) < 0)
        sbx_loop_set_timer(&sink->host->loop, t, sink->host->loop.now_us + RUN_SINK_NAP_US);
}

/* Takes over *fd; without memory it is closed, which is the best that is left. */
static void sink_open(struct sbx_host *host, int *fd)
{
    struct run_sink *sink = sbx_mem_calloc(sizeof *sink);
    if (sink != NULL) {
        sink->host = host;
        sbx_list_init(&sink->node);
        sbx_timer_init(&sink->nap, sink_on_nap_over);
        sbx_task_init(&sink->free, sink_free);
        sbx_io_init(&sink->io, &host->loop, *fd, sink_on_ready);
        if (sbx_io_watch(&sink->io, POLLIN) == 0) {
            sbx_list_add_tail(&host->sinks, &sink->node);
            *fd = -1;
            return;
        }
        sbx_mem_free(sink);
    }
    sbx_fd_close(fd);
}

/* --- the run --- */

static void run_read(struct sbx_run *run, struct sbx_capture *c)
{
    int i;
    for (i = 0; i < RUN_READS_PER_TURN; i++) {
        ssize_t got = sbx_capture_read(c, run->host->scratch, SBX_CAPTURE_READ);
        if (got > RUN_GROW_ABOVE && !run->grown) {
            run->grown = true;
            sbx_fd_grow_pipe(c->io.fd, RUN_PIPE_BYTES);
        }
        if (got < (ssize_t)SBX_CAPTURE_READ)
            return;
    }
}

static void run_on_stdout(struct sbx_io *io, short revents)
{
    (void)revents;
    run_read(SBX_LIST_OF(io, struct sbx_run, out[0].io),
             &SBX_LIST_OF(io, struct sbx_run, out[0].io)->out[0]);
}

static void run_on_stderr(struct sbx_io *io, short revents)
{
    (void)revents;
    run_read(SBX_LIST_OF(io, struct sbx_run, out[1].io),
             &SBX_LIST_OF(io, struct sbx_run, out[1].io)->out[1]);
}

static void run_free(struct sbx_task *t)
{
    sbx_mem_free(SBX_LIST_OF(t, struct sbx_run, free));
}

static void run_take_slot(struct sbx_run *run)
{
    run->slot = sbx_tail_slot_new(sbx_store_tail(run->host->store), SBX_SLOT_RUN, 0);
    if (run->slot != NULL)
        run->slot->started_us = sbx_ident_now_us();
}

static void run_free_slot(struct sbx_run *run)
{
    if (run->slot != NULL)
        sbx_tail_slot_free(sbx_store_tail(run->host->store), run->slot);
    run->slot = NULL;
}

static void run_finish(struct sbx_run *run)
{
    size_t i;
    run->duration_ms = (sbx_clock_mono_us() - run->started_us) / 1000;
    sbx_loop_cancel_timer(&run->host->loop, &run->timeout);
    for (i = 0; i < 2; i++) {
        sbx_capture_drain(&run->out[i], run->host->scratch);
        sbx_capture_finish(&run->out[i]);
    }
    sbx_reap_remove(&run->host->reap, &run->child);
    run_free_slot(run);
    run->on_done(run, run->ctx);
}

static void run_on_child_exit(struct sbx_child *c, const struct sbx_exit *exit)
{
    struct sbx_run *run = SBX_LIST_OF(c, struct sbx_run, child);
    run->exit = *exit;
    run_finish(run);
}

static void run_on_timeout(struct sbx_timer *t)
{
    struct sbx_run *run = SBX_LIST_OF(t, struct sbx_run, timeout);
    run->timed_out = true;
    sbx_ptree_signal(run->leader, SIGKILL, 0);
    run_finish(run);
}

static uint64_t run_deadline(uint64_t now_us, uint64_t timeout_ms)
{
    return timeout_ms > (UINT64_MAX - now_us) / 1000 ? UINT64_MAX : now_us + timeout_ms * 1000;
}

struct sbx_run *sbx_run_start(struct sbx_host *host, const struct sbx_spec *spec,
                              uint64_t timeout_ms, uint64_t max_output, bool base64,
                              void (*on_done)(struct sbx_run *run, void *ctx), void *ctx,
                              struct sbx_err *err)
{
    struct sbx_launched l;
    struct sbx_run *run = sbx_mem_calloc(sizeof *run);
    if (run == NULL) {
        sbx_err_set(err, ENOMEM, "%s (os error %d)", strerror(ENOMEM), ENOMEM);
        return NULL;
    }
    run->started_us = sbx_clock_mono_us();
    run->host = host;
    run_take_slot(run);
    if (sbx_launch(host, spec, SBX_LAUNCH_STDIN_NULL, true,
                   run->slot != NULL ? &run->slot->pid : NULL, &l, err) < 0) {
        run_free_slot(run);
        sbx_mem_free(run);
        return NULL;
    }
    sbx_list_init(&run->node);
    sbx_list_add_tail(&host->runs, &run->node);
    sbx_task_init(&run->free, run_free);
    run->on_done = on_done;
    run->ctx = ctx;
    run->leader = run->child.pid = l.pid;
    run->child.on_exit = run_on_child_exit;
    sbx_reap_add(&host->reap, &run->child);
    sbx_timer_init(&run->timeout, run_on_timeout);
    sbx_loop_set_timer(&host->loop, &run->timeout, run_deadline(run->started_us, timeout_ms));
    /* A pipe that could not be watched for lack of memory is still read when the run ends. */
    (void)sbx_capture_open(&run->out[0], &host->loop, l.out[0], max_output, base64, run_on_stdout);
    (void)sbx_capture_open(&run->out[1], &host->loop, l.out[1], max_output, base64, run_on_stderr);
    return run;
}

void sbx_run_cancel(struct sbx_run *run)
{
    size_t i;
    if (run->child.pid != 0)
        sbx_ptree_signal(run->leader, SIGKILL, 0);
    for (i = 0; i < 2; i++)
        sbx_capture_end(&run->out[i]);
    sbx_run_free(run);
}

void sbx_run_free(struct sbx_run *run)
{
    size_t i;
    sbx_list_remove(&run->node);
    sbx_loop_cancel_timer(&run->host->loop, &run->timeout);
    sbx_reap_remove(&run->host->reap, &run->child);
    run_free_slot(run);
    for (i = 0; i < 2; i++) {
        sbx_io_stop(&run->out[i].io);
        if (run->out[i].io.fd >= 0)
            sink_open(run->host, &run->out[i].io.fd);
        sbx_capture_deinit(&run->out[i]);
    }
    sbx_loop_defer(&run->host->loop, SBX_PHASE_FREE, &run->free);
}

void sbx_runs_signal(struct sbx_host *host, int sig)
{
    struct sbx_list *n;
    for (n = host->runs.next; n != &host->runs; n = n->next) {
        const struct sbx_run *run = SBX_LIST_OF(n, struct sbx_run, node);
        if (run->child.pid != 0)
            sbx_ptree_signal(run->leader, sig, 0);
    }
}
