/* gate.h - makes allocations fail one after the other: attempt(ctx, gate) is run with the first one
 * refused, then with the second, and so on until it asks for no more; each time once with only that
 * one refused and once with all from there on. The attempt must cope and free what it holds; the
 * leak check of the sanitizer build looks after it. */
#ifndef SBX_TESTS_GATE_H
#define SBX_TESTS_GATE_H

#include "base/mem.h"

#include <stdbool.h>

struct gate {
    unsigned long asked;
    unsigned long fail_at; /* counts from 1 */
    bool and_later;
};

/* Was an allocation refused so far in this attempt? */
static inline bool gate_hit(const struct gate *g)
{
    return g->asked >= g->fail_at;
}

static inline int gate_ask(void *ctx)
{
    struct gate *g = ctx;
    g->asked++;
    return g->and_later ? g->asked < g->fail_at : g->asked != g->fail_at;
}

/* Returns how many allocations attempt() asks for when none is refused. */
static inline unsigned long gate_each(void (*attempt)(void *ctx, const struct gate *g), void *ctx)
{
    struct gate g = {0, 1, false};
    for (;;) {
        g.asked = 0;
        sbx_mem_set_gate(gate_ask, &g);
        attempt(ctx, &g);
        sbx_mem_set_gate(NULL, NULL);
        if (!gate_hit(&g))
            return g.asked;
        if (g.and_later)
            g.fail_at++;
        g.and_later = !g.and_later;
    }
}

#endif
