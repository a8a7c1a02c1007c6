/* proc_state.h - a process from inside: what the files that make up proc/proc share. Nobody else
 * includes it.
 *
 *   proc.c          starting, output and input, the end, signals
 *   proc_restore.c  a process of an earlier server */
#ifndef SBX_PROC_PROC_STATE_H
#define SBX_PROC_PROC_STATE_H

#include "proc/proc.h"

/* RUNNING without a child, descriptors or log. NULL when out of memory. */
struct sbx_proc *sbx_proc_new(struct sbx_host *host, uint64_t number, const struct sbx_spec *spec);
/* grows, known: see sbx_store_log_restore; NULL for a new one. false when out of memory. */
bool sbx_proc_open_log(struct sbx_proc *p, uint64_t cap, bool grows,
                       const struct sbx_db_process *known);
/* After its texts have changed. */
void sbx_proc_count_text(struct sbx_proc *p);
/* The descriptors become outputs and input of p; -1 where there is none (any more). 0, or a
 * negative errno where one cannot be watched, which is said, and is no reason not to go on. */
int sbx_proc_take_over(struct sbx_proc *p, int in, const int out[2]);
/* Of a process that was not started, or could not be restored. */
void sbx_proc_abandon(struct sbx_proc *p);
void sbx_proc_free_slot(struct sbx_proc *p);
/* What p->exit amounts to. */
enum sbx_exit_reason sbx_proc_reason(const struct sbx_proc *p);
/* RUNNING -> DRAINING. */
void sbx_proc_end(struct sbx_proc *p, const struct sbx_exit *exit, uint64_t exited_ms);
/* After the exit the keeper may reap it. It goes on to hold what a background child writes to. */
void sbx_proc_release_exited(struct sbx_proc *p);

#endif
