/* keeper.h - the tiny parent of the server.
 *
 * It holds a duplicate of what must not close when the server dies: listening sockets, the memory
 * of the hot logs, pipe ends and terminals of running processes. It is a subreaper, so the
 * processes of a dead server become its children; it starts the next server, which takes all of
 * that over (proc/estate). It knows nothing of HTTP and of the database. The server's end of the
 * line to it is proc/keep.
 *
 *   server -> keeper   put (with descriptors), drop, close one, ready
 *   keeper -> server   exit: a process of an earlier server has ended, not reaped yet
 *
 * An exit is peeked (WNOWAIT), told, and reaped when the server has dropped the process.
 *
 * Signals to the keeper: TERM and INT are passed on as TERM, and it ends after the server with the
 * server's status; HUP is passed on; USR2 replaces the server by the program that is now at the
 * path ours was started from. */
#ifndef SBX_PROC_KEEPER_H
#define SBX_PROC_KEEPER_H

#include "base/err.h"
#include "os/diag.h"
#include "proc/estate.h"

enum sbx_keeper_upgrade {
    SBX_KEEPER_UPGRADE_BEGUN, SBX_KEEPER_UPGRADE_DONE, SBX_KEEPER_UPGRADE_FAILED
};

struct sbx_keeper_options {
    const struct sbx_diag *diag;
    char **argv;       /* for an upgrade: arguments of the new program, NULL at the end, without a
                          secret; argv[0] is replaced by the path of the program */
    const char *token; /* goes to the new program in SANDBOX_AGENT_TOKEN; NULL: none does */
    int lock;          /* a descriptor to hand to every server as SBX_KEEP_LOCK, number 0; it is the
                          keeper's then; -1: none */
    /* For who asked for an upgrade: what became of it, in words. Of each that is begun one of the
     * others follows, unless all ends before; what is asked for meanwhile is not counted. lock: the
     * one above. number: 1 is the first. NULL: nobody is told. */
    void (*on_upgrade)(int lock, unsigned number, enum sbx_keeper_upgrade state, const char *text);
};

/* What `estate` has is the keeper's, and the first server's, unless this fails.
 * Becomes the keeper and starts the server; calls sbx_fd_adopt_inherited and raises the limit of
 * open files first. Returns SBX_KEEPER_SERVER in each server, with its estate, and with all signals
 * blocked until it calls sbx_sig_open; returns in the keeper when all is over, with the exit
 * status. -ENOTSUP: this system cannot do it, or it failed in a way that leaves the caller free to
 * run the server alone (err says why). */
#define SBX_KEEPER_SERVER (-1)
/* The status with which a server ends that leaves to the next one. */
#define SBX_KEEPER_AGAIN 75
int sbx_keeper_run(const struct sbx_keeper_options *o, struct sbx_estate *estate,
                   struct sbx_err *err);

#endif
