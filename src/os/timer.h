/* timer.h - deadlines in an intrusive pairing heap: no allocation, so setting one cannot fail. */
#ifndef SBX_OS_TIMER_H
#define SBX_OS_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sbx_timer {
    uint64_t at_us; /* monotonic; meaningful while armed */
    void (*on_fire)(struct sbx_timer *t);
    bool armed;
    struct sbx_timer *child, *next, *prev; /* prev: left sibling, or parent of a first child */
};

struct sbx_timers {
    struct sbx_timer *root;
};

void sbx_timer_init(struct sbx_timer *t, void (*on_fire)(struct sbx_timer *t));
void sbx_timers_set(struct sbx_timers *h, struct sbx_timer *t, uint64_t at_us); /* re-arms */
void sbx_timers_cancel(struct sbx_timers *h, struct sbx_timer *t); /* fine when not armed */
/* Takes the earliest timer that is due out of the heap; NULL when none is. */
struct sbx_timer *sbx_timers_pop_due(struct sbx_timers *h, uint64_t now_us);

#endif
