/* inherit.c - see inherit.h.
 *
 * What is known of a process, and what becomes of it:
 *
 *   record  slot         keeper
 *   yes     any          any     restored (sbx_proc_restore): runs on, has exited, or is lost
 *   no      shown        any     restored from what the slot and the system tell (proc/salvage)
 *   no      not shown    any     nobody was told of it: it is ended
 *   no      none         yes     the keeper is told to forget it
 *
 * A slot without a record that was shown means that the file is not the one it was: deleted,
 * damaged and begun anew, or out of reach. Records come by number, and so do salvaged ones between
 * them, since the table is in that order. */
#include "proc/inherit.h"
#include "os/fd.h"
#include "os/ptree.h"
#include "proc/salvage.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>

struct inherit {
    struct sbx_proctab *table;
    struct sbx_estate *estate;
    uint64_t candidate; /* the lowest number, not done yet, with a slot that was shown; or none */
    unsigned salvaged, ended;
};

static struct sbx_tail *inherit_tail(const struct inherit *r)
{
    return sbx_store_tail(r->table->host->store);
}

/* Numbers below `next` are done. */
static void inherit_move_on(struct inherit *r, uint64_t next)
{
    struct sbx_slot *slot = NULL;
    if (r->candidate >= next)
        return;
    r->candidate = UINT64_MAX;
    while ((slot = sbx_tail_slot_next(inherit_tail(r), slot)) != NULL)
        if (slot->kind == SBX_SLOT_PROCESS && (slot->flags & SBX_SLOT_SHOWN) != 0 &&
            slot->number >= next && slot->number < r->candidate)
            r->candidate = slot->number;
}

static int inherit_enter(struct inherit *r, const struct sbx_db_process *record)
{
    sbx_store_number_taken(r->table->host->store, record->number);
    return sbx_proctab_restore(r->table, record,
                               sbx_estate_find(r->estate, SBX_KEEP_PROCESS, record->number));
}

static int inherit_salvage(struct inherit *r, uint64_t number)
{
    const struct sbx_slot *slot = sbx_tail_slot_find(inherit_tail(r), number);
    struct sbx_host *host = r->table->host;
    struct sbx_salvage found;
    struct sbx_proc *p;
    int rc = sbx_salvage(&found, host, slot, sbx_estate_find(r->estate, SBX_KEEP_PROCESS, number));
    if (rc == 0)
        rc = inherit_enter(r, &found.record);
    sbx_salvage_release(&found);
    if (rc < 0)
        return rc;
    r->salvaged++;
    p = sbx_proctab_number(r->table, number);
    p->salvaged = sbx_store_db(host->store) == NULL; /* else the file would have it */
    sbx_store_record(host->store, &p->record);
    return 0;
}

/* Those below `number` that have no record. */
static int inherit_salvage_below(struct inherit *r, uint64_t number)
{
    int rc = 0;
    while (rc == 0 && r->candidate < number) {
        uint64_t candidate = r->candidate;
        rc = inherit_salvage(r, candidate);
        inherit_move_on(r, candidate + 1);
    }
    return rc;
}

static int inherit_one(void *ctx, const struct sbx_db_process *record)
{
    struct inherit *r = ctx;
    int rc = inherit_salvage_below(r, record->number);
    if (rc == 0)
        rc = inherit_enter(r, record);
    inherit_move_on(r, record->number + 1);
    return rc;
}

/* Runs, whose clients are gone, and processes whose start was not answered yet. */
static void inherit_end_unknown(struct inherit *r)
{
    struct sbx_tail *tail = inherit_tail(r);
    struct sbx_slot *slot = NULL;
    while ((slot = sbx_tail_slot_next(tail, slot)) != NULL) {
        const struct sbx_proc *p =
            slot->kind == SBX_SLOT_PROCESS ? sbx_proctab_number(r->table, slot->number) : NULL;
        if (p != NULL && p->slot == slot)
            continue;
        if (p == NULL && sbx_ident_runs(slot->pid, slot->started_us)) {
            sbx_ptree_signal(slot->pid, SIGKILL, 0);
            r->ended++;
        }
        sbx_tail_slot_free(tail, slot);
    }
    sbx_tail_drop_orphans(tail);
}

/* Their descriptors are closed now: the rest of the estate lives as long as we do. */
static void inherit_drop_unknown(struct inherit *r)
{
    size_t i, j;
    for (i = 0; i < r->estate->nitems; i++) {
        struct sbx_keep_item *item = &r->estate->items[i];
        if (item->kind != SBX_KEEP_PROCESS || sbx_proctab_number(r->table, item->number) != NULL)
            continue;
        for (j = 0; j < SBX_KEEP_FDS; j++)
            sbx_fd_close(&item->fds[j]);
        (void)sbx_keep_drop(&r->table->host->keep, SBX_KEEP_PROCESS, item->number);
    }
}

static void inherit_tell(const struct inherit *r)
{
    const struct sbx_diag *diag = &r->table->host->diag;
    if (r->salvaged > 0)
        sbx_diag(diag, SBX_DIAG_WARN,
                 "%u processes are in no record that can be read; they are kept, with what the "
                 "system tells of them", r->salvaged);
    if (r->ended > 0)
        sbx_diag(diag, SBX_DIAG_INFO, "%u commands were ended: nobody waits for them any more",
                 r->ended);
}

int sbx_inherit(struct sbx_proctab *t, struct sbx_estate *estate, struct sbx_err *err)
{
    struct inherit r = {.table = t, .estate = estate};
    struct sbx_host *host = t->host;
    struct sbx_db *db = sbx_store_db(host->store);
    int rc;
    assert(t->count == 0);
    inherit_move_on(&r, 1);
    rc = sbx_store_load_limits(host->store, &host->limits);
    if (rc == 0 && db != NULL)
        rc = sbx_db_load(db, inherit_one, &r);
    if (rc == 0)
        rc = inherit_salvage_below(&r, UINT64_MAX);
    if (rc < 0)
        return sbx_err_set(err, rc, "the stored state cannot be read: %s",
                           rc == -ENOMEM ? "out of memory" : sbx_db_error(db));
    inherit_end_unknown(&r);
    inherit_drop_unknown(&r);
    inherit_tell(&r);
    sbx_proctab_retire(t);
    return 0;
}

/* --- a file that is there later --- */

static bool inherit_is_record_of(const struct sbx_proc *p, const struct sbx_db_process *record)
{
    return p->salvaged && p->leader == record->pid && p->started_us == record->started_us;
}

/* It is our file (sbx_db_identity), so a record that we do not know is of a process that was ours,
 * and was deleted, or dropped, by a server that could not take it out of the file and has died
 * since. That process has ended, whatever the record says, and it comes back as it was stored last.
 * Nobody is to be ended for it: whoever has the pid now is not known to be ours. So the record is
 * taken for one of another boot, of which nobody can live. */
static int inherit_missing(void *ctx, const struct sbx_db_process *record)
{
    struct sbx_proctab *t = ctx;
    struct sbx_db_process past = *record;
    struct sbx_proc *p = sbx_proctab_number(t, record->number);
    if (p != NULL)
        return inherit_is_record_of(p, record) ? sbx_proctab_recall(t, p, record) : 0;
    if (!past.exited)
        past.boot_id = SBX_STR("");
    sbx_store_number_taken(t->host->store, past.number);
    return sbx_proctab_restore(t, &past, NULL);
}

/* From then on the file has them as they are here. */
static int inherit_load_missing(struct sbx_proctab *t)
{
    size_t i;
    int rc = sbx_db_load(sbx_store_db(t->host->store), inherit_missing, t);
    for (i = 0; rc == 0 && i < t->count; i++)
        t->procs[i]->salvaged = false;
    return rc;
}

int sbx_inherit_join(struct sbx_proctab *t, struct sbx_err *err)
{
    struct sbx_store *store = t->host->store;
    size_t i;
    int rc = 0;
    for (i = 0; rc == 0 && i < t->count; i++) {
        rc = sbx_store_log_join(t->procs[i]->log.store);
        sbx_store_record(store, &t->procs[i]->record);
    }
    if (rc == 0)
        rc = inherit_load_missing(t);
    if (rc == 0)
        rc = sbx_store_load_limits(store, &t->host->limits);
    if (rc < 0)
        return sbx_err_set(err, rc, "not all that is stored could be read: %s",
                           rc == -ENOMEM ? "out of memory" : sbx_db_error(sbx_store_db(store)));
    sbx_store_limits(store); /* a new file has none */
    sbx_proctab_retire(t);
    return 0;
}
