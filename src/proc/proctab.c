/* proctab.c - see proctab.h. Numbers only rise, so entering is appending. */
#include "proc/proctab.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

void sbx_proctab_init(struct sbx_proctab *t, struct sbx_host *host)
{
    *t = (struct sbx_proctab){.host = host};
}

void sbx_proctab_deinit(struct sbx_proctab *t)
{
    size_t i;
    for (i = 0; i < t->count; i++) {
        sbx_proc_detach(t->procs[i]);
        sbx_proc_unref(t->procs[i]);
    }
    sbx_mem_free(t->procs);
    *t = (struct sbx_proctab){.host = t->host};
}

/* Index of the first process whose number is not below. */
static size_t proctab_lower_bound(const struct sbx_proctab *t, uint64_t number)
{
    size_t lo = 0, hi = t->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->procs[mid]->number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct sbx_proc *sbx_proctab_find(const struct sbx_proctab *t, struct sbx_str id)
{
    uint64_t number;
    size_t i;
    if (!sbx_str_starts_with(id, "proc_") ||
        sbx_str_to_u64((struct sbx_str){id.p + 5, id.n - 5}, &number) < 0)
        return NULL;
    i = proctab_lower_bound(t, number);
    /* "proc_01" is not an id of ours although it is the same number. */
    if (i == t->count || !sbx_str_eq_z(id, t->procs[i]->id))
        return NULL;
    return t->procs[i];
}

struct sbx_proc *sbx_proctab_number(const struct sbx_proctab *t, uint64_t number)
{
    size_t i = proctab_lower_bound(t, number);
    return i < t->count && t->procs[i]->number == number ? t->procs[i] : NULL;
}

static int proctab_reserve(struct sbx_proctab *t)
{
    size_t cap = t->cap == 0 ? 16 : t->cap * 2;
    struct sbx_proc **procs;
    if (t->count < t->cap)
        return 0;
    procs = sbx_mem_realloc(t->procs, cap * sizeof *procs);
    if (procs == NULL)
        return -ENOMEM;
    t->procs = procs;
    t->cap = cap;
    return 0;
}

int sbx_proctab_create(struct sbx_proctab *t, const struct sbx_spec *spec, struct sbx_proc **out,
                       struct sbx_err *err)
{
    uint64_t limit = t->host->limits.max_concurrent_processes;
    struct sbx_proc *p;
    if (sbx_proctab_running(t) >= limit)
        return sbx_err_set(err, EBUSY, "max concurrent process limit reached (%llu)",
                           (unsigned long long)limit);
    if (proctab_reserve(t) < 0)
        return sbx_err_set(err, ENOMEM, "%s (os error %d)", strerror(ENOMEM), ENOMEM);
    p = sbx_proc_start(t->host, sbx_store_next_number(t->host->store), spec, err);
    if (p == NULL)
        return err->code;
    assert(t->count == 0 || t->procs[t->count - 1]->number < p->number);
    t->procs[t->count++] = p;
    *out = p;
    return 0;
}

int sbx_proctab_restore(struct sbx_proctab *t, const struct sbx_db_process *record,
                        struct sbx_keep_item *item)
{
    struct sbx_proc *p = proctab_reserve(t) < 0 ? NULL
                                                : sbx_proc_restore(t->host, record, item);
    if (p == NULL)
        return -ENOMEM;
    assert(t->count == 0 || t->procs[t->count - 1]->number < p->number);
    t->procs[t->count++] = p;
    return 0;
}

static void proctab_remove(struct sbx_proctab *t, struct sbx_proc *p)
{
    size_t i = proctab_lower_bound(t, p->number);
    assert(i < t->count && t->procs[i] == p && sbx_proc_exited(p));
    memmove(&t->procs[i], &t->procs[i + 1], (t->count - i - 1) * sizeof *t->procs);
    t->count--;
    p->deleted = true;
    sbx_proc_forget(p);
    sbx_proc_detach(p);
    sbx_proc_unref(p);
}

void sbx_proctab_delete(struct sbx_proctab *t, struct sbx_proc *p)
{
    sbx_proc_kill(p); /* what it left behind could not be reached any more */
    proctab_remove(t, p);
}

/* The one that exited longest ago, of those whose logs are not empty if that is wanted. */
static struct sbx_proc *proctab_oldest_exited(const struct sbx_proctab *t, bool with_log)
{
    struct sbx_proc *oldest = NULL;
    size_t i;
    for (i = 0; i < t->count; i++) {
        struct sbx_proc *p = t->procs[i];
        if (sbx_proc_exited(p) && (oldest == NULL || p->exited_ms < oldest->exited_ms) &&
            (!with_log || sbx_store_log_kept(p->log.store) > 0))
            oldest = p;
    }
    return oldest;
}

void sbx_proctab_retire(struct sbx_proctab *t)
{
    size_t exited = t->count - sbx_proctab_running(t);
    for (; exited > t->host->limits.max_exited_processes; exited--)
        proctab_remove(t, proctab_oldest_exited(t, false));
}

struct sbx_store_log *sbx_proctab_pick_victim(const struct sbx_proctab *t)
{
    struct sbx_proc *p = proctab_oldest_exited(t, true);
    size_t i;
    for (i = 0; p == NULL && i < t->count; i++)
        p = t->procs[i];
    for (i = 0; p != NULL && !sbx_proc_exited(p) && i < t->count; i++)
        if (sbx_store_log_kept(t->procs[i]->log.store) > sbx_store_log_kept(p->log.store))
            p = t->procs[i];
    return p == NULL ? NULL : p->log.store;
}

size_t sbx_proctab_running(const struct sbx_proctab *t)
{
    size_t i, n = 0;
    for (i = 0; i < t->count; i++)
        n += !sbx_proc_exited(t->procs[i]);
    return n;
}
