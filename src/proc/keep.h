/* keep.h - the server's end of the line to its keeper (proc/keeper). */
#ifndef SBX_PROC_KEEP_H
#define SBX_PROC_KEEP_H

#include "base/buf.h"
#include "os/diag.h"
#include "os/loop.h"
#include "proc/estate.h"

struct sbx_keep {
    struct sbx_io io; /* fd -1: no keeper (any more) */
    struct sbx_loop *loop;
    const struct sbx_diag *diag;
    pid_t keeper;     /* 0: none */
    bool stuck;       /* it did not read in time; it is not waited for until it has read again */
    struct sbx_buf unsent; /* messages that the full socket did not take yet, in their order */
    void (*on_exit)(void *ctx, uint64_t number, const struct sbx_exit *exit);
    void (*on_lost)(void *ctx); /* the keeper is gone; may be NULL, like on_exit */
    void *ctx;
};

/* Takes over estate->link (sets it to -1) and leaves the callbacks, which come from the loop, as
 * they are. Without a keeper every function below does nothing and succeeds. 0 or -ENOMEM. */
int sbx_keep_init(struct sbx_keep *k, struct sbx_loop *loop, const struct sbx_diag *diag,
                  struct sbx_estate *estate);
void sbx_keep_deinit(struct sbx_keep *k);
static inline bool sbx_keep_is_there(const struct sbx_keep *k)
{
    return k->keeper != 0;
}

/* These return 0 or a negative errno: the keeper does not learn of it then. Where its socket is
 * full sbx_keep_put waits for a moment, and the others are sent from the loop, later: one that the
 * keeper is slow to read is no error. What is said first comes first, in any case. */

/* Descriptors are duplicated, -1 is fine. What was kept under that kind and number is replaced. */
int sbx_keep_put(struct sbx_keep *k, enum sbx_keep_kind kind, uint64_t number, pid_t pid,
                 const int fds[SBX_KEEP_FDS]);
/* One descriptor of a process was closed here: close the duplicate too. */
int sbx_keep_close_fd(struct sbx_keep *k, uint64_t number, unsigned which);
/* Forget it; a process that has ended is reaped. */
int sbx_keep_drop(struct sbx_keep *k, enum sbx_keep_kind kind, uint64_t number);
/* This server listens: from now on its death is a crash, not a failed start. */
int sbx_keep_ready(struct sbx_keep *k);

/* Test hook. While set, gate(ctx, call) is asked before every message, call being "put", "close",
 * "drop" or "ready", and a 0 makes it fail with -EIO. NULL switches back. */
void sbx_keep_set_gate(int (*gate)(void *ctx, const char *call), void *ctx);

#endif
