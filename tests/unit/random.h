/* random.h - numbers that look random and are the same in every run (xorshift64*). */
#ifndef SBX_TESTS_RANDOM_H
#define SBX_TESTS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state; /* not 0 */
};

static inline uint64_t random_next(struct random *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * 0x2545f4914f6cdd1dull;
}

/* 0 .. n - 1 */
static inline size_t random_below(struct random *r, size_t n)
{
    return (size_t)((random_next(r) >> 16) % n);
}

/* The byte at a place of an endless text that never repeats itself at the wrong distance. */
static inline uint8_t pattern_at(uint64_t place)
{
    return (uint8_t)(place * 167 + (place >> 8) * 31 + (place >> 16) * 7 + (place >> 24));
}

#endif
