/* proctab.h - all managed processes, in the order of their creation. */
#ifndef SBX_PROC_PROCTAB_H
#define SBX_PROC_PROCTAB_H

#include "proc/proc.h"

/* Bytes of commands, arguments and names of variables of all exited ones, above which records go
 * although there may be more of them. The newest stays. */
#define SBX_PROCTAB_TEXT_MAX (64u << 20)

struct sbx_proctab {
    struct sbx_host *host;
    struct sbx_proc **procs; /* by number, ascending: look-up is a binary search */
    size_t count, cap;
    struct sbx_list exited;  /* in the order in which they did */
    struct sbx_list victims; /* those of them whose logs may not be empty, in the same order */
    size_t nexited;
    uint64_t exited_text;    /* bytes */
    bool unsorted;           /* some were restored since these were in order */
    struct sbx_task retire;
};

/* Is told of exits by the host from now on. */
void sbx_proctab_init(struct sbx_proctab *t, struct sbx_host *host);
void sbx_proctab_deinit(struct sbx_proctab *t); /* forgets all; ends none */

/* NULL when there is none of that id; ids are "proc_N" with N as we write it. */
struct sbx_proc *sbx_proctab_find(const struct sbx_proctab *t, struct sbx_str id);

struct sbx_proc *sbx_proctab_number(const struct sbx_proctab *t, uint64_t number); /* or NULL */

/* Starts and enters a process. 0 and *out (borrowed); -EBUSY at the limit of running processes, or
 * the negative errno of the start with err->text. Nothing is entered on failure. */
int sbx_proctab_create(struct sbx_proctab *t, const struct sbx_spec *spec, struct sbx_proc **out,
                       struct sbx_err *err);
/* Enters one of an earlier server; see sbx_proc_restore. 0 or -ENOMEM. */
int sbx_proctab_restore(struct sbx_proctab *t, const struct sbx_db_process *record,
                        struct sbx_keep_item *item);
/* The record of one that was salvaged has turned up: sbx_proc_recall. 0 or -ENOMEM. */
int sbx_proctab_recall(struct sbx_proctab *t, struct sbx_proc *p,
                       const struct sbx_db_process *record);
/* Forgets the oldest exited ones above the limits; of many, the rest in the next turns. */
void sbx_proctab_retire(struct sbx_proctab *t);
/* The log to shorten first: of the process that exited longest ago, else of the longest. NULL:
 * there is none. */
struct sbx_store_log *sbx_proctab_pick_victim(struct sbx_proctab *t);
/* Forgets an exited process. Readers that are still at it keep it until they are done. */
void sbx_proctab_delete(struct sbx_proctab *t, struct sbx_proc *p);

/* Processes that have not exited; those that are draining count. */
size_t sbx_proctab_running(const struct sbx_proctab *t);

#endif
