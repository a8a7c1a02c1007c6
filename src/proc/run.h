/* run.h - a one-shot command: started, its output captured, answered when the leader exits. */
#ifndef SBX_PROC_RUN_H
#define SBX_PROC_RUN_H

#include "proc/capture.h"
#include "proc/host.h"
#include "proc/launch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sbx_run {
    struct sbx_list node;      /* in host->runs */
    struct sbx_host *host;
    struct sbx_child child;
    pid_t leader;
    struct sbx_slot *slot;     /* tells a successor what to end; may be NULL */
    struct sbx_capture out[2]; /* stdout, stderr */
    bool grown;                /* a pipe's buffer was enlarged */
    struct sbx_timer timeout;
    uint64_t started_us;
    uint64_t duration_ms;
    bool timed_out;
    struct sbx_exit exit;      /* meaningful unless timed_out */
    struct sbx_task free;
    void (*on_done)(struct sbx_run *run, void *ctx);
    void *ctx;
};

/* Starts it; base64: how the output is encoded. NULL and err on failure. on_done is called once,
 * never from within this call; the run is freed by sbx_run_free, which may be called in on_done. */
struct sbx_run *sbx_run_start(struct sbx_host *host, const struct sbx_spec *spec,
                              uint64_t timeout_ms, uint64_t max_output, bool base64,
                              void (*on_done)(struct sbx_run *run, void *ctx), void *ctx,
                              struct sbx_err *err);

/* Ends a run that nobody waits for any more, with everything it started, and frees it. */
void sbx_run_cancel(struct sbx_run *run);
void sbx_run_free(struct sbx_run *run);

/* For shutdown: a signal to every run under way. They answer as they end. */
void sbx_runs_signal(struct sbx_host *host, int sig);
/* And at its end: closes the pipes of what outlived its run. */
void sbx_runs_close_sinks(struct sbx_host *host);

#endif
