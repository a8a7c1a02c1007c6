/* timer.c - see timer.h. Invariants: the root has no siblings; a node's key is never below its
 * parent's; `prev` of a first child is its parent. */
#include "os/timer.h"

#include <assert.h>

void sbx_timer_init(struct sbx_timer *t, void (*on_fire)(struct sbx_timer *t))
{
    *t = (struct sbx_timer){.on_fire = on_fire};
}

static struct sbx_timer *timer_meld(struct sbx_timer *a, struct sbx_timer *b)
{
    if (a == NULL || b == NULL)
        return a == NULL ? b : a;
    assert(a->next == NULL && b->next == NULL);
    if (b->at_us < a->at_us) {
        struct sbx_timer *t = a;
        a = b;
        b = t;
    }
    b->prev = a;
    b->next = a->child;
    if (b->next != NULL)
        b->next->prev = b;
    a->child = b;
    a->prev = NULL;
    return a;
}

/* Two-pass pairing without recursion: pairs go onto a stack threaded through `prev`. */
static struct sbx_timer *timer_merge_children(struct sbx_timer *first)
{
    struct sbx_timer *stack = NULL, *result = NULL;
    while (first != NULL) {
        struct sbx_timer *a = first, *b = a->next, *pair;
        first = b != NULL ? b->next : NULL;
        a->next = NULL;
        if (b != NULL)
            b->next = NULL;
        pair = timer_meld(a, b);
        pair->prev = stack;
        stack = pair;
    }
    while (stack != NULL) {
        struct sbx_timer *below = stack->prev;
        stack->prev = NULL;
        result = timer_meld(result, stack);
        stack = below;
    }
    return result;
}

static void timer_unlink(struct sbx_timers *h, struct sbx_timer *t)
{
    struct sbx_timer *rest = timer_merge_children(t->child);
    if (t == h->root) {
        h->root = rest;
    } else {
        if (t->prev->child == t)
            t->prev->child = t->next;
        else
            t->prev->next = t->next;
        if (t->next != NULL)
            t->next->prev = t->prev;
        t->next = NULL;
        h->root = timer_meld(h->root, rest);
    }
    t->child = t->next = t->prev = NULL;
    t->armed = false;
}

void sbx_timers_set(struct sbx_timers *h, struct sbx_timer *t, uint64_t at_us)
{
    if (t->armed)
        timer_unlink(h, t);
    t->at_us = at_us;
    t->armed = true;
    h->root = timer_meld(h->root, t);
}

void sbx_timers_cancel(struct sbx_timers *h, struct sbx_timer *t)
{
    if (t->armed)
        timer_unlink(h, t);
}

struct sbx_timer *sbx_timers_pop_due(struct sbx_timers *h, uint64_t now_us)
{
    struct sbx_timer *t = h->root;
    if (t == NULL || t->at_us > now_us)
        return NULL;
    timer_unlink(h, t);
    return t;
}
