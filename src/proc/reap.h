/* reap.h - the one place that waits for children.
 *
 * On SIGCHLD sbx_reap_collect() asks which child has ended without reaping it (WNOWAIT), tells its
 * owner, and only then reaps exactly that pid: while an owner is told, pid and group id cannot
 * have been given to anybody else. Children that nobody registered (orphans that came to us as
 * PID 1 or subreaper) are reaped and forgotten, so nothing piles up and no status is stolen. */
#ifndef SBX_PROC_REAP_H
#define SBX_PROC_REAP_H

#include <stdbool.h>
#include <sys/types.h>

enum sbx_exit_kind { SBX_EXIT_UNKNOWN, SBX_EXIT_CODE, SBX_EXIT_SIGNAL };

/* How a process ended. Never a bare int: death by signal is not a code, and unknown is not 0. */
struct sbx_exit {
    enum sbx_exit_kind kind;
    int value; /* exit code 0..255, or signal number */
    bool core; /* SBX_EXIT_SIGNAL: a core was dumped */
};

struct sbx_child {
    pid_t pid; /* 0 once reaped or not started */
    struct sbx_child *next;
    void (*on_exit)(struct sbx_child *c, const struct sbx_exit *exit);
};

#define SBX_REAP_BUCKETS 256u

struct sbx_reap {
    struct sbx_child *buckets[SBX_REAP_BUCKETS];
};

void sbx_reap_init(struct sbx_reap *r);
void sbx_reap_add(struct sbx_reap *r, struct sbx_child *c); /* c->pid and c->on_exit are set */
void sbx_reap_remove(struct sbx_reap *r, struct sbx_child *c); /* reaped anonymously then */
void sbx_reap_collect(struct sbx_reap *r);

#endif
