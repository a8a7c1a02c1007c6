/* tail_rig.h - memory of logs and its successors.
 *
 * A successor opens the same memory by a duplicate of its descriptor, as the next server does.
 * Byte k of log n is tail_byte(n, k), so that what is found can be checked by its offset alone. */
#ifndef SBX_TESTS_TAIL_RIG_H
#define SBX_TESTS_TAIL_RIG_H

#include "os/fd.h"
#include "os/shm.h"
#include "proc/tail.h"

#include "random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The layout of the memory, to damage it at the right places. */
#define TAIL_RIG_HEADER (1024u * 1024u)
#define TAIL_RIG_EXTENT (16u * SBX_SEGMENT_BYTES)

static inline uint8_t tail_byte(uint64_t number, uint64_t offset)
{
    return pattern_at(number * 1000003 + offset);
}

static inline struct sbx_tail *tail_open_shared(void)
{
    bool refused;
    struct sbx_tail *t = sbx_tail_open(-1, true, &refused);
    assert_non_null(t);
    assert_false(refused);
    assert_true(sbx_tail_fd(t) >= 0);
    return t;
}

static inline int tail_dup(const struct sbx_tail *t)
{
    int fd = dup(sbx_tail_fd(t));
    assert_true(fd >= 0);
    return fd;
}

/* Takes over fd. */
static inline struct sbx_tail *tail_succeed(int fd)
{
    bool refused;
    struct sbx_tail *t = sbx_tail_open(fd, true, &refused);
    assert_non_null(t);
    assert_false(refused);
    return t;
}

static inline struct sbx_segment *tail_segment(struct sbx_tail *t, uint64_t number, uint64_t first,
                                               uint64_t offset)
{
    struct sbx_segment *seg = sbx_segment_new(t, number, first, offset);
    assert_non_null(seg);
    assert_int_equal(sbx_segment_count(seg), 0);
    assert_int_equal(sbx_segment_used(seg), 0);
    return seg;
}

static inline void tail_fill_at(struct sbx_segment *seg, size_t at, size_t n)
{
    size_t i;
    for (i = at; i < at + n; i++)
        seg->image->data[i] = tail_byte(seg->image->number, seg->image->offset + i);
}

static inline uint32_t tail_append(struct sbx_segment *seg, size_t n, unsigned stream, bool extend)
{
    tail_fill_at(seg, sbx_segment_used(seg), n);
    return sbx_segment_append(seg, n, stream, 1000, 8192, extend);
}

static inline void tail_check(const struct sbx_segment *seg, uint64_t number, size_t used)
{
    size_t i;
    assert_int_equal(seg->image->number, number);
    assert_int_equal(sbx_segment_used(seg), used);
    for (i = 0; i < used; i++)
        if (seg->image->data[i] != tail_byte(number, seg->image->offset + i))
            fail_msg("byte %zu of log %llu differs", i, (unsigned long long)number);
}

#endif
