/* estate.h - what a server leaves behind when it ends, in the keeping of its parent, and what the
 * next one takes over: listening sockets, memory, pipe ends and terminals, exits, secrets. */
#ifndef SBX_PROC_ESTATE_H
#define SBX_PROC_ESTATE_H

#include "proc/reap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SBX_KEEP_FDS 3u

enum sbx_keep_kind {
    SBX_KEEP_PROCESS,  /* fds: stdin or -1; stdout or the terminal; stderr or -1 */
    SBX_KEEP_LISTENER, /* fds[0] */
    SBX_KEEP_MEMORY,   /* fds[0]: of os/shm */
    SBX_KEEP_LOCK,     /* fds[0]: the locked file of the data directory */
    SBX_KEEP_SECRETS   /* fds[0]: an unnamed file in memory with tokens and keys */
};

struct sbx_keep_item {
    uint32_t kind;   /* enum sbx_keep_kind */
    uint64_t number; /* of the process; of a listener and the like, whatever tells them apart */
    int32_t pid;     /* of a process, else 0 */
    int32_t fds[SBX_KEEP_FDS];
    bool exited;
    struct sbx_exit exit; /* when exited; unknown: the dead server had reaped it already */
};

struct sbx_estate {
    int link;                    /* to the keeper; -1: there is none */
    pid_t keeper;                /* its pid; 0: there is none */
    unsigned generation;         /* 1 for the first server, then one more each */
    struct sbx_keep_item *items; /* owned; so are their descriptors until they are set to -1 */
    size_t nitems;
    size_t nofile;               /* soft limit of open files to give to children, which is what the
                                    keeper was given; it and its servers have raised theirs since.
                                    0: without a keeper */
};

/* In a program that was started by a keeper for an upgrade: true, and the estate; false, and an
 * empty one, otherwise. Removes its own variable (SANDBOX_AGENT_KEEPER) from the environment. */
bool sbx_estate_from_environ(struct sbx_estate *estate);
void sbx_estate_deinit(struct sbx_estate *estate); /* closes what was not taken */
/* The item of that kind and number, or NULL. */
struct sbx_keep_item *sbx_estate_find(struct sbx_estate *estate, enum sbx_keep_kind kind,
                                      uint64_t number);

#endif
