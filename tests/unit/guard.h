/* guard.h - copies of test inputs that end exactly where an unmapped page begins, so that a parser
 * which reads one byte too far dies on the spot, with or without a sanitizer.
 *
 * guard_copy(p, n) gives the copy, guard_free(copy) takes it back (an empty copy too: its address
 * is the first byte of the guard page). Not for more than GUARD_MAX copies alive at once. */
#ifndef SBX_TESTS_GUARD_H
#define SBX_TESTS_GUARD_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUARD_MAX 64

struct guard_map {
    uint8_t *base; /* NULL: slot is free */
    size_t size;   /* the guard page included */
    uint8_t *copy;
};

static struct guard_map guard_maps[GUARD_MAX];

static inline void guard_die(const char *what)
{
    perror(what);
    abort();
}

static inline struct guard_map *guard_find(const uint8_t *copy)
{
    size_t i;
    for (i = 0; i < GUARD_MAX; i++)
        if (guard_maps[i].copy == copy)
            return &guard_maps[i];
    guard_die("guard_find");
    return NULL;
}

static inline uint8_t *guard_copy(const void *p, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (n + page - 1) / page * page;
    struct guard_map *m = guard_find(NULL);
    void *base = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                      0);
    if (base == MAP_FAILED)
        guard_die("mmap");
    m->base = base;
    m->size = room + page;
    m->copy = m->base + room - n;
    if (mprotect(m->base + room, page, PROT_NONE) != 0)
        guard_die("mprotect");
    if (n > 0)
        memcpy(m->copy, p, n);
    return m->copy;
}

static inline void guard_free(uint8_t *copy)
{
    struct guard_map *m = guard_find(copy);
    if (munmap(m->base, m->size) != 0)
        guard_die("munmap");
    memset(m, 0, sizeof *m);
}

#endif
