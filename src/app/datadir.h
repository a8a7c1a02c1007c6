/* datadir.h - the directory that the server keeps its state in: which one, made, and locked. */
#ifndef SBX_APP_DATADIR_H
#define SBX_APP_DATADIR_H

#include "base/buf.h"
#include "base/err.h"
#include "os/diag.h"
#include "proc/keeper.h"

#include <stdbool.h>
#include <sys/types.h>

struct sbx_datadir {
    struct sbx_buf path; /* with a NUL at the end; empty: nothing is kept */
    int lock;            /* -1: none */
};

/* flag: --data-dir, NULL when it was not given: $XDG_DATA_HOME/sandbox-agent, else
 * ~/.local/share/sandbox-agent. ":memory:" keeps nothing. Makes the directory (0700) with those
 * above it, and locks it. A default that cannot be made keeps nothing, with a warning; a
 * directory that was asked for and cannot be had, or one that another server has, is an error. 0
 * or -errno. */
int sbx_datadir_open(struct sbx_datadir *d, const char *flag, const struct sbx_diag *diag,
                     struct sbx_err *err);
/* Makes the directory of that flag for another user, where it is missing and the one above it is
 * there: that user may not be allowed to. What fails shows when it is opened. */
void sbx_datadir_provide(const char *flag, uid_t uid, gid_t gid);
/* The same directory in a program that follows one which opened and locked it. */
int sbx_datadir_find(struct sbx_datadir *d, const char *flag, struct sbx_err *err);
void sbx_datadir_deinit(struct sbx_datadir *d);
/* NULL: nothing is kept. */
const char *sbx_datadir_path(const struct sbx_datadir *d);

/* Before what is in the directory is opened again: somebody may have deleted or replaced it, with
 * the lock file. Then the lock that is held keeps nobody out, and another server may have taken the
 * directory. 0: the lock holds. 1: it is a new one, signed for `owner`, and the old one is closed.
 * -errno and err: it cannot be had. */
int sbx_datadir_keep(struct sbx_datadir *d, pid_t owner, bool alone, struct sbx_err *err);

/* This process is the one to send signals to; alone: it is a server without a keeper. lock -1: does
 * nothing. */
void sbx_datadir_sign(int lock, bool alone);

/* Has the form of on_upgrade of the keeper, whose lock it is: leaves word of an upgrade there. */
void sbx_datadir_note_upgrade(int lock, unsigned number, enum sbx_keeper_upgrade state,
                              const char *text);

/* The keeper that has a directory, as its lock file tells. Processes that the server starts may
 * write that file: what it says is no more to be trusted than they are. */
struct sbx_datadir_owner {
    int lock;  /* -1: not found */
    pid_t pid;
    uid_t uid; /* whose the file is */
    gid_t gid;
    unsigned upgrade; /* number of the last upgrade; 0: there was none */
    enum sbx_keeper_upgrade state;
    char text[512]; /* printable */
};

/* Finds the one of the directory of that flag, for an upgrade. 0, or -errno and err: nobody has it,
 * or a server alone. */
int sbx_datadir_find_owner(struct sbx_datadir_owner *o, const char *flag, struct sbx_err *err);
/* Looks again. -ESRCH: that keeper is gone. */
int sbx_datadir_look_at_owner(struct sbx_datadir_owner *o, struct sbx_err *err);
void sbx_datadir_leave_owner(struct sbx_datadir_owner *o);

#endif
