/* keeper_state.h - the keeper from inside: what the files that make up proc/keeper share. Nobody
 * else includes it.
 *
 *   keeper.c          its life: starting servers, what their ends lead to, signals, time, the end
 *   keeper_table.c    the table of what is kept, and the children
 *   keeper_receive.c  what the server says
 *   keeper_exec.c     the step to a new server: fork, estate, another program */
#ifndef SBX_PROC_KEEPER_STATE_H
#define SBX_PROC_KEEPER_STATE_H

#include "proc/keeper.h"

#include <signal.h>
#include <sys/wait.h>

struct sbx_keeper_entry {
    struct sbx_keep_item item;
    bool adopted;
    bool told; /* the present server knows that it has exited */
};

struct sbx_keeper {
    const struct sbx_keeper_options *o;
    pid_t self;
    bool subreaper;
    size_t nofile; /* soft limit as it was given to us */
    int signals;   /* to poll */
    int link;      /* to the server; -1: it has closed its end, or there is none */
    pid_t server;  /* 0: WAITING */
    bool ready;    /* the server is */
    uint64_t ready_us;
    uint64_t start_us; /* WAITING: until then */
    unsigned generation;
    unsigned failures;   /* servers in a row that ended before they were ready */
    unsigned backoff_ms; /* the last one; 0: none */
    bool stopping;       /* TERM or INT has come */
    bool asked;          /* the server is to end for an upgrade, latest at kill_us */
    uint64_t kill_us;    /* 0: it has been killed, or nothing was asked */
    bool trying;         /* the present server runs `next` */
    char *path;          /* of the program; NULL: not known, no upgrades */
    int program;         /* what servers execute; -1: they are forks of ours */
    int next;            /* what an upgrade puts in its place; -1: none under way */
    unsigned upgrades;   /* that were asked for */
    struct sbx_keeper_entry *entries;
    size_t n, cap;
    size_t untold; /* entries that have exited without being told */
    bool over;
    int status;
};

/* --- keeper.c --- */

/* A server that is ready already and says so again when it was asked to go stays. */
void sbx_keeper_note_ready(struct sbx_keeper *k);

/* --- keeper_table.c --- */

/* An entry is where it is until the next one is added or removed. NULL: there is none. */
struct sbx_keeper_entry *sbx_keeper_find(struct sbx_keeper *k, uint32_t kind, uint64_t number);
/* Without descriptors and pid. NULL when out of memory. */
struct sbx_keeper_entry *sbx_keeper_add(struct sbx_keeper *k, uint32_t kind, uint64_t number);
/* Closes its descriptors, and reaps it when it has ended. */
void sbx_keeper_remove(struct sbx_keeper *k, struct sbx_keeper_entry *e);
void sbx_keeper_set_pid(struct sbx_keeper *k, struct sbx_keeper_entry *e, pid_t pid);
void sbx_keeper_close_fds(int *fds);
/* As waitid; info->si_pid is 0 when nothing has ended. */
int sbx_keeper_wait(idtype_t type, pid_t pid, siginfo_t *info, int flags);
struct sbx_exit sbx_keeper_exit_of(const siginfo_t *info);
/* Which of the adopted have ended? */
void sbx_keeper_peek_all(struct sbx_keeper *k);
/* Tells the server of them; what the link does not take waits for the next time. */
void sbx_keeper_tell(struct sbx_keeper *k);
/* Those that have ended and are not in the table. */
void sbx_keeper_reap_orphans(struct sbx_keeper *k);
/* Nothing of what the servers started is left running, whatever session it is in. */
void sbx_keeper_end_all(struct sbx_keeper *k);

/* --- keeper_receive.c --- */

/* One packet. False: there is none now, or there will be none any more (link is -1 then). */
bool sbx_keeper_read_one(struct sbx_keeper *k);
/* As many as one turn may take. */
void sbx_keeper_read_link(struct sbx_keeper *k);

/* --- keeper_exec.c --- */

/* Of our program, for upgrades. */
void sbx_keeper_find_path(struct sbx_keeper *k);
/* As fork. */
pid_t sbx_keeper_fork(void);
/* In the new server: the table as its estate, whose descriptors came along with the fork. 0 or
 * -ENOMEM. */
int sbx_keeper_hand_over(struct sbx_keeper *k, struct sbx_estate *estate);
/* In the child of a fork: executes the program, or ends. */
_Noreturn void sbx_keeper_exec(const struct sbx_keeper *k, int program);

#endif
