/* proc.h - a managed process: its record, its descriptors, its log.
 *
 *   RUNNING --child ended (SIGCHLD)--> DRAINING --output drained and committed--> EXITED
 *
 * A process is done when it is reaped and its output is drained. DRAINING is shown as running: an
 * exit that is visible before the last output would make readers miss it. The drain is bounded,
 * see output.h. */
#ifndef SBX_PROC_PROC_H
#define SBX_PROC_PROC_H

#include "base/err.h"
#include "proc/host.h"
#include "proc/input.h"
#include "proc/launch.h"
#include "proc/log.h"
#include "proc/output.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sbx_proc_state { SBX_PROC_RUNNING, SBX_PROC_DRAINING, SBX_PROC_EXITED };

#define SBX_PROC_ID_MAX 26 /* "proc_" and 20 digits and a NUL */

struct sbx_proc {
    unsigned refs;
    struct sbx_host *host;
    enum sbx_proc_state state;
    struct sbx_child child;
    pid_t leader;              /* pid, group and session id at start; only compared after exit */
    struct sbx_exit exit;      /* meaningful from DRAINING on */
    uint64_t number;
    char id[SBX_PROC_ID_MAX];
    struct sbx_str command;    /* strings are in `text` */
    struct sbx_str *args;
    size_t nargs;
    struct sbx_str cwd;
    bool has_cwd;
    bool tty, interactive;
    uint16_t cols, rows;
    uint64_t created_ms, exited_ms;
    struct sbx_log log;
    struct sbx_output out[2];  /* stdout, stderr; or the terminal alone */
    size_t nout;
    struct sbx_input in;
    int slave;                 /* of the terminal, while the leader lives: see proc.c; else -1 */
    bool deleted;              /* readers may still be at it */
    struct sbx_task settle;    /* DRAINING -> EXITED, after the commit */
    struct sbx_task free;
    struct sbx_timer hangup;   /* a stopped terminal that ignores SIGTERM */
    struct sbx_list waiters;   /* struct sbx_waiter: told once when EXITED */
    char text[];
};

/* Somebody who waits for the exit. Removed from the list before it is told. */
struct sbx_waiter {
    struct sbx_list node;
    void (*on_exit)(struct sbx_waiter *w);
};

/* Starts one. NULL and err when it could not be started; err->code is -ENOMEM or the errno of the
 * start. The caller owns the one reference. */
struct sbx_proc *sbx_proc_start(struct sbx_host *host, uint64_t number, const struct sbx_spec *spec,
                                struct sbx_err *err);
struct sbx_proc *sbx_proc_ref(struct sbx_proc *p);
void sbx_proc_unref(struct sbx_proc *p);
/* Closes what is still open of a deleted or abandoned process. */
void sbx_proc_detach(struct sbx_proc *p);

static inline bool sbx_proc_exited(const struct sbx_proc *p)
{
    return p->state == SBX_PROC_EXITED;
}

/* A signal to everything of it; once the leader has ended, to what it left in its session. */
void sbx_proc_signal(struct sbx_proc *p, int sig);
/* SIGTERM, and a hang-up for interactive shells, which ignore that. */
void sbx_proc_stop(struct sbx_proc *p);
void sbx_proc_kill(struct sbx_proc *p);

void sbx_proc_wait(struct sbx_proc *p, struct sbx_waiter *w);
void sbx_waiter_cancel(struct sbx_waiter *w);

/* As sbx_input_send; -ESRCH when the process has ended. */
int sbx_proc_input(struct sbx_proc *p, const void *bytes, size_t n, bool eof);

/* 0; -ENOTTY for a pipe process; -ESRCH when it has ended; another errno of the terminal. */
int sbx_proc_resize(struct sbx_proc *p, uint16_t cols, uint16_t rows);

#endif
