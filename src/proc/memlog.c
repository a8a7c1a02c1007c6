/* memlog.c - see memlog.h.
 *
 * Sequence and offset of an entry follow from its place in its segment. Eviction by the cap moves
 * `first` forward, entry by entry, and drops segments that lie wholly before it; memory is thus the
 * cap plus less than one segment, and a segment lives on while a socket still refers to it.
 *
 * Bounds: payload <= cap, and entries * 16 <= max(cap, 4096): a process that writes byte by byte
 * cannot make heads outweigh what they describe without limit.
 *
 * Invariants: sequences of a segment are image->first .. image->first + count - 1; segments are
 * adjacent, and the newest ends with `last`; first <= last + 1. */
#include "proc/memlog.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

#define MEMLOG_ROOM_MAX (64u * 1024u)
#define MEMLOG_ENDS 8192u      /* pages of a segment that are touched, though hardly used */
#define MEMLOG_ROOM_MIN 4096u  /* a segment with less left is closed: short reads cost more */

/* Small caps get small entries, so that evicting one does not throw away most of the log. */
static uint32_t memlog_entry_max(uint64_t cap)
{
    uint64_t n = cap / 8, least = cap < 512 ? cap : 512;
    if (n < least)
        n = least;
    return n > SBX_ENTRY_MAX ? SBX_ENTRY_MAX : (uint32_t)n;
}

void sbx_memlog_init(struct sbx_memlog *m, struct sbx_tail *tail, uint64_t number, uint64_t cap)
{
    *m = (struct sbx_memlog){.tail = tail, .number = number, .cap = cap, .first = 1};
    m->max_entries = (cap < 4096 ? 4096 : cap) / sizeof(struct sbx_head);
    m->entry_max = memlog_entry_max(cap);
}

static struct sbx_segment *memlog_oldest(const struct sbx_memlog *m)
{
    return m->segments[m->oldest];
}

static struct sbx_segment *memlog_newest(const struct sbx_memlog *m)
{
    return m->segments[m->oldest + m->nsegments - 1];
}

static uint64_t memlog_end_of(const struct sbx_segment *seg)
{
    return seg->image->first + seg->image->count;
}

uint64_t sbx_memlog_memory(const struct sbx_memlog *m)
{
    uint64_t n = m->nsegments * MEMLOG_ENDS, most = m->nsegments * SBX_SEGMENT_BYTES;
    if (m->nsegments == 0)
        return 0;
    n += m->offset - memlog_oldest(m)->image->offset;
    n += (m->last + 1 - memlog_oldest(m)->image->first) * sizeof(struct sbx_head);
    return n < most ? n : most;
}

/* After the oldest segment went: what is the oldest entry now? */
static void memlog_settle_first(struct sbx_memlog *m)
{
    if (m->nsegments == 0) {
        m->first = m->last + 1;
        m->first_offset = m->offset;
    } else if (m->first < memlog_oldest(m)->image->first) {
        m->first = memlog_oldest(m)->image->first;
        m->first_offset = memlog_oldest(m)->image->offset;
    }
}

static void memlog_pop(struct sbx_memlog *m)
{
    struct sbx_segment *seg = memlog_oldest(m);
    m->oldest++;
    m->nsegments--;
    sbx_segment_unref(seg);
}

void sbx_memlog_deinit(struct sbx_memlog *m)
{
    while (m->nsegments > 0)
        memlog_pop(m);
    sbx_mem_free(m->segments);
    m->segments = NULL;
}

/* Room for one more segment at the end. The dropped front is used again when it is the larger part,
 * so that a segment is moved less than once on average. */
static bool memlog_reserve_segment(struct sbx_memlog *m)
{
    size_t cap = m->capsegments == 0 ? 4 : m->capsegments * 2;
    struct sbx_segment **segments;
    if (m->oldest + m->nsegments < m->capsegments)
        return true;
    if (m->oldest > m->nsegments) {
        memmove(m->segments, m->segments + m->oldest, m->nsegments * sizeof *m->segments);
        m->oldest = 0;
        return true;
    }
    segments = sbx_mem_realloc(m->segments, cap * sizeof *segments);
    if (segments == NULL)
        return false;
    m->segments = segments;
    m->capsegments = cap;
    return true;
}

static struct sbx_segment *memlog_add_segment(struct sbx_memlog *m)
{
    struct sbx_segment *seg;
    if (!memlog_reserve_segment(m))
        return NULL;
    seg = sbx_segment_new(m->tail, m->number, m->last + 1, m->offset);
    if (seg == NULL)
        return NULL;
    m->segments[m->oldest + m->nsegments++] = seg;
    return seg;
}

static void memlog_evict(struct sbx_memlog *m)
{
    while (m->offset - m->first_offset > m->cap || m->last - m->first + 1 > m->max_entries) {
        struct sbx_segment *seg = memlog_oldest(m);
        assert(m->first >= seg->image->first && m->first < memlog_end_of(seg));
        m->first_offset += sbx_head_len(sbx_segment_head(seg, m->first - seg->image->first));
        m->first++;
        if (m->first == memlog_end_of(seg) && seg != memlog_newest(m))
            memlog_pop(m);
    }
}

static bool memlog_follows(const struct sbx_segment *seg, const struct sbx_segment *before)
{
    return seg->image->first == memlog_end_of(before) &&
           seg->image->offset == before->image->offset + sbx_segment_used(before);
}

/* Segments come by sequence; those before a hole are of no use. */
static bool memlog_adopt_one(struct sbx_memlog *m)
{
    struct sbx_segment *seg = sbx_tail_adopt(m->tail, m->number);
    if (seg == NULL)
        return false;
    if (m->nsegments > 0 && !memlog_follows(seg, memlog_newest(m)))
        while (m->nsegments > 0)
            memlog_pop(m);
    if (!memlog_reserve_segment(m))
        sbx_segment_unref(seg);
    else
        m->segments[m->oldest + m->nsegments++] = seg;
    return true;
}

void sbx_memlog_adopt(struct sbx_memlog *m, uint64_t last, uint64_t offset)
{
    while (memlog_adopt_one(m))
        continue;
    m->last = last;
    m->offset = offset;
    if (m->nsegments > 0) {
        struct sbx_segment *newest = memlog_newest(m);
        uint64_t end = memlog_end_of(newest) - 1;
        /* Older than what is known: the rest was dropped, or written by somebody else. */
        if (end < last) {
            while (m->nsegments > 0)
                memlog_pop(m);
        } else {
            m->last = end;
            m->offset = newest->image->offset + sbx_segment_used(newest);
        }
    }
    m->first = 0;
    memlog_settle_first(m);
    memlog_evict(m);
    /* An entry above the cap, which we never write. */
    while (m->first > m->last && m->nsegments > 0)
        memlog_pop(m);
}

uint8_t *sbx_memlog_reserve(struct sbx_memlog *m, size_t *room)
{
    struct sbx_segment *seg = m->nsegments == 0 ? NULL : memlog_newest(m);
    size_t entries, most = MEMLOG_ROOM_MAX, least;
    /* One read must not evict what a reader that keeps up has not seen yet. */
    if (most > m->cap / 2)
        most = m->cap > 1 ? (size_t)(m->cap / 2) : 1;
    entries = most / m->entry_max + 2;
    least = most < MEMLOG_ROOM_MIN ? most : MEMLOG_ROOM_MIN;
    if (seg == NULL || sbx_segment_room(seg, entries) < least)
        seg = memlog_add_segment(m);
    *room = seg == NULL ? 0 : sbx_segment_room(seg, entries);
    if (*room > most)
        *room = most;
    if (seg == NULL)
        return NULL;
    return seg->image->data + sbx_segment_used(seg);
}

void sbx_memlog_expect(struct sbx_memlog *m, size_t n, unsigned stream, uint64_t time_ms)
{
    sbx_tail_about_to_read(m->tail, memlog_newest(m), n, stream, time_ms);
}

void sbx_memlog_append(struct sbx_memlog *m, size_t n, unsigned stream, uint64_t time_ms,
                       bool extend)
{
    m->last += sbx_segment_append(memlog_newest(m), n, stream, time_ms, m->entry_max, extend);
    m->offset += n;
    memlog_evict(m);
}

/* The segment of a kept sequence: the last one that does not begin after it. */
static struct sbx_segment *memlog_segment_of(const struct sbx_memlog *m, uint64_t sequence)
{
    size_t lo = m->oldest, hi = m->oldest + m->nsegments;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (m->segments[mid]->image->first <= sequence)
            lo = mid;
        else
            hi = mid;
    }
    return m->segments[lo];
}

struct sbx_segment *sbx_memlog_find(const struct sbx_memlog *m, uint64_t sequence, size_t *head)
{
    struct sbx_segment *seg;
    if (sequence < m->first || sequence > m->last)
        return NULL;
    seg = memlog_segment_of(m, sequence);
    *head = (size_t)(sequence - seg->image->first);
    return seg;
}

uint64_t sbx_memlog_offset_of(const struct sbx_segment *seg, size_t head)
{
    return seg->image->offset + sbx_segment_head(seg, head)->start;
}

bool sbx_memlog_drop_oldest(struct sbx_memlog *m, bool all)
{
    if (m->nsegments < (all ? 1u : 2u))
        return false;
    memlog_pop(m);
    memlog_settle_first(m);
    return true;
}

void sbx_memlog_trim(struct sbx_memlog *m, uint64_t keep, uint64_t bytes, bool all)
{
    while (m->nsegments > (all ? 0u : 1u) && memlog_end_of(memlog_oldest(m)) <= keep &&
           (sbx_memlog_bytes(m) > bytes || all)) {
        memlog_pop(m);
        memlog_settle_first(m);
    }
}
