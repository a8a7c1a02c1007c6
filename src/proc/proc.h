/* proc.h - a managed process: its record, its descriptors, its log.
 *
 *   RUNNING --child ended (SIGCHLD)--> DRAINING --output drained and committed--> EXITED
 *
 * A process is done when it is reaped, its output is drained, and both are stored. DRAINING is
 * shown as running: an exit that is visible before the last output would make readers miss it. The
 * drain is bounded, see output.h.
 *
 * A process outlives the server. What the next one needs is with the keeper (descriptors), in the
 * database (the record) and in the shared memory (exit, counters, output); see sbx_proc_restore. */
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

/* Why a process is not running any more. Lost: nobody knows, since whoever could have seen it
 * (server and keeper, or the machine) went away. */
enum sbx_exit_reason {
    SBX_REASON_EXITED,
    SBX_REASON_SIGNALED,
    SBX_REASON_STOPPED, /* it was asked to, whichever way it then ended */
    SBX_REASON_LOST
};

#define SBX_PROC_ID_MAX 26 /* "proc_" and 20 digits and a NUL */

struct sbx_proc {
    unsigned refs;
    struct sbx_host *host;
    enum sbx_proc_state state;
    struct sbx_child child;
    pid_t leader;              /* pid, group and session id at start; only compared after exit */
    bool foreign;              /* no child of ours or the keeper: its pid may be anybody's now */
    bool adopted;              /* of an earlier server: the keeper waits for it, not we */
    bool kept;                 /* the keeper has its descriptors */
    bool stop_asked;
    bool ending;               /* DRAINING: everything is read, the exit is being stored */
    bool salvaged;             /* known from the system; its record may be in a file out of reach */
    uint64_t started_us;       /* os/ident.h */
    struct sbx_slot *slot;     /* while it runs; may be NULL */
    struct sbx_record record;
    struct sbx_exit exit;      /* meaningful from DRAINING on, like the next three */
    enum sbx_exit_reason reason;
    char note[120];            /* what there is to say beside it; usually empty */
    uint64_t input_dropped;    /* bytes of input that were accepted and never delivered */
    struct sbx_list exited, victim; /* in proctab.c */
    uint64_t number;
    char id[SBX_PROC_ID_MAX];
    struct sbx_str command;    /* its text, and that of args and cwd, is behind the array of args */
    struct sbx_str *args;
    size_t nargs;
    struct sbx_str cwd;
    bool has_cwd;
    char *env_names;           /* JSON array; NULL: none */
    size_t text_bytes;         /* of all these */
    bool tty, interactive;
    bool in_memory;            /* its output is not stored */
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
/* One of an earlier server, as its record tells it. `item`: what the keeper has of it, of which
 * the descriptors are taken; NULL: nothing. One that ran and is not with the keeper is lost; if
 * it still lives it is ended. NULL when out of memory. */
struct sbx_proc *sbx_proc_restore(struct sbx_host *host, const struct sbx_db_process *record,
                                  struct sbx_keep_item *item);
/* The record of a salvaged one is there again: what it was started with is taken from that. false
 * when out of memory. */
bool sbx_proc_recall(struct sbx_proc *p, const struct sbx_db_process *record);
/* The keeper saw an adopted process end. */
void sbx_proc_on_kept_exit(struct sbx_proc *p, const struct sbx_exit *exit);

struct sbx_proc *sbx_proc_ref(struct sbx_proc *p);
void sbx_proc_unref(struct sbx_proc *p);
/* Closes what is still open here of a deleted or abandoned process. The keeper's duplicates
 * stay. */
void sbx_proc_detach(struct sbx_proc *p);
/* The record goes: the keeper and the database forget it, too. */
void sbx_proc_forget(struct sbx_proc *p);

const char *sbx_exit_reason_name(enum sbx_exit_reason reason);

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
