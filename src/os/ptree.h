/* ptree.h - signals a process, its group, and what else belongs to it.
 *
 * The group alone is not enough: a shell with job control puts every job into a group of its own,
 * and a program may start a session of its own. Where the system can tell (Linux with /proc and
 * /proc/PID/task/TID/children), descendants of the leader are signalled too, and orphans that were
 * handed to us as subreaper while still in the leader's session. Elsewhere it is the group. */
#ifndef SBX_OS_PTREE_H
#define SBX_OS_PTREE_H

#include <stdbool.h>
#include <sys/types.h>

/* Makes orphaned descendants children of this process where that exists. Are they? */
bool sbx_ptree_become_subreaper(void);

/* Sends sig, and after it `then` unless that is 0, to everything of `leader`, which must not have
 * been reaped yet: its pid, and the ids of its group and session, cannot have been given to
 * somebody else then. Both signals go out on one look at the tree: the first may change it. Does
 * nothing when `leader` is 1 or less, which names everybody, or us. */
void sbx_ptree_signal(pid_t leader, int sig, int then);

/* The same for what a reaped leader left behind in its session. */
void sbx_ptree_signal_orphans(pid_t session, int sig, int then);

/* SIGKILL to everything below this process, whatever session it is in. */
void sbx_ptree_kill_descendants(void);

/* Calls each() for the children of this process, those that have ended and were not waited for
 * included. False where they cannot be told. */
bool sbx_ptree_each_child(void (*each)(void *ctx, pid_t pid), void *ctx);

/* Does the process ignore the signal? Yes where that cannot be told. */
bool sbx_ptree_ignores(pid_t pid, int sig);

#endif
