/* memlog.h - the part of a log that is in memory: its newest entries, in segments of the tail. */
#ifndef SBX_PROC_MEMLOG_H
#define SBX_PROC_MEMLOG_H

#include "proc/tail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sbx_memlog {
    struct sbx_tail *tail;
    uint64_t number;
    struct sbx_segment **segments; /* [oldest .. oldest + nsegments): by sequence, adjacent */
    size_t oldest, nsegments, capsegments;
    uint64_t cap, max_entries;
    uint32_t entry_max;
    uint64_t first, first_offset;  /* the oldest entry that is kept here; last + 1 when none is */
    uint64_t last, offset;         /* highest sequence, payload bytes, ever appended to the log */
};

/* cap: payload bytes kept. */
void sbx_memlog_init(struct sbx_memlog *m, struct sbx_tail *tail, uint64_t number, uint64_t cap);
/* Takes over what an earlier server left of it; `last` and `offset` are at least those given. */
void sbx_memlog_adopt(struct sbx_memlog *m, uint64_t last, uint64_t offset);
void sbx_memlog_deinit(struct sbx_memlog *m);

/* Room for output at the end, *room > 0 bytes. NULL when out of memory. */
uint8_t *sbx_memlog_reserve(struct sbx_memlog *m, size_t *room);
/* See sbx_tail_about_to_read; n bytes at most of what was reserved. */
void sbx_memlog_expect(struct sbx_memlog *m, size_t n, unsigned stream, uint64_t time_ms);
/* The first n > 0 reserved bytes are output; `extend`: the last entry may grow. Evicts what is
 * above the cap. */
void sbx_memlog_append(struct sbx_memlog *m, size_t n, unsigned stream, uint64_t time_ms,
                       bool extend);

/* Payload bytes in memory. */
static inline uint64_t sbx_memlog_bytes(const struct sbx_memlog *m)
{
    return m->offset - m->first_offset;
}

/* What its segments take, about: they are sparse. */
uint64_t sbx_memlog_memory(const struct sbx_memlog *m);

/* Where an entry is: its segment and head; NULL when it is not here. */
struct sbx_segment *sbx_memlog_find(const struct sbx_memlog *m, uint64_t sequence, size_t *head);
/* Payload bytes of the log before that head. */
uint64_t sbx_memlog_offset_of(const struct sbx_segment *seg, size_t head);

/* Drops whole segments of which no entry is `keep` or newer, while more than `bytes` are here; with
 * `all` also the newest one. */
void sbx_memlog_trim(struct sbx_memlog *m, uint64_t keep, uint64_t bytes, bool all);
/* Drops the oldest segment, the newest one only with `all`; false when there was none to drop. */
bool sbx_memlog_drop_oldest(struct sbx_memlog *m, bool all);

#endif
