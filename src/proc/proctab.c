/* proctab.c - see proctab.h. Numbers only rise, so entering is appending, but for what is restored
 * later.
 *
 * Nothing here looks at all processes but what has to: an exit is noted when it happens, and the
 * first of that list are the ones to go. So many at a time that a turn stays short; the array
 * closes the holes of all of them in one pass. */
#include "proc/proctab.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROCTAB_AT_ONCE 64u /* forgotten in one turn */

static void proctab_on_exited(void *ctx, struct sbx_proc *p);
static void proctab_go_on(struct sbx_task *task);

void sbx_proctab_init(struct sbx_proctab *t, struct sbx_host *host)
{
    *t = (struct sbx_proctab){.host = host};
    sbx_list_init(&t->exited);
    sbx_list_init(&t->victims);
    sbx_task_init(&t->retire, proctab_go_on);
    host->on_exited = proctab_on_exited;
    host->ctx = t;
}

void sbx_proctab_deinit(struct sbx_proctab *t)
{
    size_t i;
    sbx_task_cancel(&t->retire);
    t->host->on_exited = NULL;
    for (i = 0; i < t->count; i++) {
        sbx_list_remove(&t->procs[i]->exited);
        sbx_list_remove(&t->procs[i]->victim);
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

/* --- the exited ones --- */

static void proctab_add_exited(struct sbx_proctab *t, struct sbx_proc *p)
{
    assert(sbx_proc_exited(p) && sbx_list_empty(&p->exited));
    sbx_list_add_tail(&t->exited, &p->exited);
    sbx_list_add_tail(&t->victims, &p->victim);
    t->nexited++;
    t->exited_text += p->text_bytes;
}

static void proctab_on_exited(void *ctx, struct sbx_proc *p)
{
    struct sbx_proctab *t = ctx;
    if (sbx_proctab_number(t, p->number) != p)
        return;
    proctab_add_exited(t, p);
    sbx_proctab_retire(t);
}

static int proctab_compare(const void *a, const void *b)
{
    const struct sbx_proc *p = *(struct sbx_proc *const *)a, *q = *(struct sbx_proc *const *)b;
    if (p->exited_ms != q->exited_ms)
        return p->exited_ms < q->exited_ms ? -1 : 1;
    return p->number < q->number ? -1 : p->number > q->number;
}

/* Of the restored ones nothing but the clock tells the order. */
static void proctab_sort(struct sbx_proctab *t)
{
    struct sbx_proc **all = t->unsorted ? sbx_mem_alloc(t->nexited * sizeof *all) : NULL;
    size_t i, n = 0;
    if (all == NULL)
        return;
    for (i = 0; i < t->count; i++)
        if (!sbx_list_empty(&t->procs[i]->exited))
            all[n++] = t->procs[i];
    assert(n == t->nexited);
    qsort(all, n, sizeof(struct sbx_proc *), proctab_compare);
    for (i = 0; i < n; i++) {
        sbx_list_remove(&all[i]->exited);
        sbx_list_add_tail(&t->exited, &all[i]->exited);
        if (sbx_list_empty(&all[i]->victim))
            continue;
        sbx_list_remove(&all[i]->victim);
        sbx_list_add_tail(&t->victims, &all[i]->victim);
    }
    sbx_mem_free(all);
    t->unsorted = false;
}

/* --- coming and going --- */

int sbx_proctab_restore(struct sbx_proctab *t, const struct sbx_db_process *record,
                        struct sbx_keep_item *item)
{
    size_t i = proctab_lower_bound(t, record->number);
    struct sbx_proc *p = proctab_reserve(t) < 0 ? NULL
                                                : sbx_proc_restore(t->host, record, item);
    if (p == NULL)
        return -ENOMEM;
    assert(i == t->count || t->procs[i]->number > p->number);
    memmove(&t->procs[i + 1], &t->procs[i], (t->count - i) * sizeof *t->procs);
    t->procs[i] = p;
    t->count++;
    if (sbx_proc_exited(p)) {
        proctab_add_exited(t, p);
        t->unsorted = true;
    }
    return 0;
}

int sbx_proctab_recall(struct sbx_proctab *t, struct sbx_proc *p,
                       const struct sbx_db_process *record)
{
    size_t before = p->text_bytes;
    if (!sbx_proc_recall(p, record))
        return -ENOMEM;
    if (!sbx_list_empty(&p->exited))
        t->exited_text = t->exited_text - before + p->text_bytes;
    return 0;
}

static void proctab_take_out(struct sbx_proctab *t, struct sbx_proc *const *out, size_t n)
{
    size_t at[PROCTAB_AT_ONCE], i, to = t->count;
    assert(n <= PROCTAB_AT_ONCE);
    for (i = 0; i < n; i++)
        at[i] = proctab_lower_bound(t, out[i]->number);
    for (i = 0; i < n; i++) {
        assert(at[i] < t->count && t->procs[at[i]] == out[i]);
        t->procs[at[i]] = NULL;
        to = at[i] < to ? at[i] : to;
    }
    for (i = to; i < t->count; i++)
        if (t->procs[i] != NULL)
            t->procs[to++] = t->procs[i];
    t->count = to;
}

static void proctab_remove(struct sbx_proctab *t, struct sbx_proc *const *out, size_t n)
{
    size_t i;
    proctab_take_out(t, out, n);
    for (i = 0; i < n; i++) {
        struct sbx_proc *p = out[i];
        assert(sbx_proc_exited(p));
        sbx_list_remove(&p->exited);
        sbx_list_remove(&p->victim);
        t->nexited--;
        t->exited_text -= p->text_bytes;
        p->deleted = true;
        sbx_proc_forget(p);
        sbx_proc_detach(p);
        sbx_proc_unref(p);
    }
}

void sbx_proctab_delete(struct sbx_proctab *t, struct sbx_proc *p)
{
    sbx_proc_kill(p); /* what it left behind could not be reached any more */
    proctab_remove(t, &p, 1);
}

static bool proctab_has_too_many(const struct sbx_proctab *t, size_t n, uint64_t text)
{
    return n > t->host->limits.max_exited_processes || (n > 1 && text > SBX_PROCTAB_TEXT_MAX);
}

void sbx_proctab_retire(struct sbx_proctab *t)
{
    struct sbx_proc *out[PROCTAB_AT_ONCE];
    const struct sbx_list *node;
    uint64_t text = t->exited_text;
    size_t n = 0;
    proctab_sort(t);
    for (node = t->exited.next; n < PROCTAB_AT_ONCE; node = node->next) {
        if (!proctab_has_too_many(t, t->nexited - n, text))
            break;
        out[n] = SBX_LIST_OF(node, struct sbx_proc, exited);
        text -= out[n++]->text_bytes;
    }
    proctab_remove(t, out, n);
    if (proctab_has_too_many(t, t->nexited, t->exited_text))
        sbx_loop_defer(&t->host->loop, SBX_PHASE_PULL, &t->retire);
}

static void proctab_go_on(struct sbx_task *task)
{
    sbx_proctab_retire(SBX_LIST_OF(task, struct sbx_proctab, retire));
}

/* A log that was found empty does not fill again, but for what remains of a process may write; then
 * it is one of the others. */
struct sbx_store_log *sbx_proctab_pick_victim(struct sbx_proctab *t)
{
    struct sbx_store_log *longest = NULL;
    size_t i;
    proctab_sort(t);
    while (!sbx_list_empty(&t->victims)) {
        struct sbx_proc *p = SBX_LIST_OF(t->victims.next, struct sbx_proc, victim);
        if (sbx_store_log_kept(p->log.store) > 0)
            return p->log.store;
        sbx_list_remove(&p->victim);
    }
    for (i = 0; i < t->count; i++) {
        struct sbx_store_log *log = t->procs[i]->log.store;
        if (longest == NULL || sbx_store_log_kept(log) > sbx_store_log_kept(longest))
            longest = log;
    }
    return longest;
}

size_t sbx_proctab_running(const struct sbx_proctab *t)
{
    return t->count - t->nexited;
}
