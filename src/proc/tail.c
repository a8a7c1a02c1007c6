/* tail.c - see tail.h.
 *
 * The file: a header with the intent and the slots (TAIL_HEADER_BYTES, mapped once), then extents
 * of TAIL_EXTENT segments, mapped as they are needed and never unmapped while in use. All of it is
 * sparse; a segment of one line costs two pages.
 *
 * The moment inside read(2). Bytes that have left the pipe and are in no head yet would be lost
 * with the server. So their number is known before (FIONREAD), it is written down with the place,
 * and random bytes (the canary) are put where the last of them will be. A successor that finds the
 * intent standing compares: other bytes there mean that the read happened, and it completes the
 * entry. Each page of the place is touched first, so that a kill cannot stop the copy at a page
 * fault half way.
 *
 * Order. A kill stops a program between two instructions, and all stores before it are in memory
 * then; only the compiler could change their order, and signal fences forbid it. So does a
 * successor on another processor see them: the kernel has come between.
 *
 * Free segments: a few stay warm for logs that run at their cap, the others are given back. */
#include "proc/tail.h"
#include "base/list.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/shm.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define TAIL_MAGIC 0x7362782d7461696cull
#define TAIL_VERSION 3u
#define TAIL_HEADER_BYTES (1024u * 1024u)
#define TAIL_SLOTS 8192u
#define TAIL_EXTENT 16u /* segments */
#define TAIL_EXTENT_BYTES ((size_t)TAIL_EXTENT * SBX_SEGMENT_BYTES)
#define TAIL_WARM 4u
#define TAIL_CANARY 16u
#define TAIL_CANARY_LONG 8u
#define TAIL_PAGE 4096u
#define TAIL_EXTENTS_MAX 65536u /* 128 GiB: more is not believed */
#define TAIL_COUNTER_MAX (UINT64_MAX / 2) /* nor are sequences and offsets that could wrap */

struct tail_intent {
    uint64_t bytes; /* 0: none stands */
    uint64_t number;
    uint64_t time_ms;
    uint32_t segment;
    uint32_t at;
    uint32_t stream;
    uint32_t canary_len;
    uint8_t canary[TAIL_CANARY];
};

struct tail_header {
    uint64_t magic;
    uint32_t version, segment_bytes;
    uint64_t number;
    uint64_t slots_seen; /* those above were never in use: looking at them would cost their pages */
    struct tail_intent intent;
    struct sbx_slot slots[TAIL_SLOTS];
    /* Behind all that earlier programs had, and 0 in their memory. */
    uint64_t file, next_file;
};

struct tail_blob {
    struct sbx_segment segment;
    struct sbx_blob blob; /* last, for its flexible member */
};

struct sbx_tail {
    int fd;
    struct tail_header *header;
    uint8_t **extents;
    size_t nextents, capextents;
    size_t shared;  /* of the extents, the first so many are in the file */
    uint32_t *free; /* indexes of free segments; room for all */
    size_t nfree;
    size_t nwarm;   /* the last of them still have their pages */
    size_t used;
    bool left;
    struct sbx_segment **orphans; /* of an earlier server, by log and sequence */
    size_t norphans;
    uint32_t slots_taken; /* below it no slot is free */
    uint64_t random;
};

static void tail_fence(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

static uint64_t tail_random(struct sbx_tail *t)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return t->random;
}

/* Eight bytes that never occur in UTF-8. So few of them mark a short read that chance could make
 * random ones the bytes that come; these are not those of any text. */
static uint64_t tail_no_text(uint64_t random)
{
    uint64_t eight = 0;
    size_t i;
    for (i = 0; i < 8; i++)
        eight = eight << 8 | (0xf5u + (random >> 8 * i & 7u));
    return eight;
}

static struct sbx_segment_image *tail_image(const struct sbx_tail *t, uint32_t index)
{
    return (struct sbx_segment_image *)(t->extents[index / TAIL_EXTENT] +
                                        (size_t)(index % TAIL_EXTENT) * SBX_SEGMENT_BYTES);
}

static bool tail_reserve_extent(struct sbx_tail *t)
{
    size_t cap = t->capextents == 0 ? 4 : t->capextents * 2;
    uint8_t **extents;
    uint32_t *list;
    if (t->nextents < t->capextents)
        return true;
    extents = sbx_mem_realloc(t->extents, cap * sizeof *extents);
    if (extents == NULL)
        return false;
    t->extents = extents;
    list = sbx_mem_realloc(t->free, cap * TAIL_EXTENT * sizeof *list);
    if (list == NULL)
        return false;
    t->free = list;
    t->capextents = cap;
    return true;
}

/* Maps the next extent; the file is that long already, or grows. Where it may not (RLIMIT_FSIZE)
 * this and the following extents are private memory: what is in them does not outlive the
 * server, which is better than not reading the processes at all. */
static bool tail_map_extent(struct sbx_tail *t, bool grow)
{
    uint64_t offset = TAIL_HEADER_BYTES + (uint64_t)t->nextents * TAIL_EXTENT_BYTES;
    void *p;
    if (t->nextents >= TAIL_EXTENTS_MAX || !tail_reserve_extent(t))
        return false;
    if (t->shared == t->nextents && t->fd >= 0 &&
        (!grow || sbx_shm_grow(t->fd, offset + TAIL_EXTENT_BYTES) == 0))
        t->shared++;
    p = sbx_shm_map(t->nextents < t->shared ? t->fd : -1, offset, TAIL_EXTENT_BYTES);
    if (p == NULL)
        return false;
    t->extents[t->nextents++] = p;
    return true;
}

static bool tail_add_extent(struct sbx_tail *t)
{
    uint32_t i, base = (uint32_t)t->nextents * TAIL_EXTENT;
    assert(t->nfree == 0);
    if (!tail_map_extent(t, true))
        return false;
    /* Low indexes are taken first. */
    for (i = TAIL_EXTENT; i > 0; i--)
        t->free[t->nfree++] = base + i - 1;
    t->nwarm = 0;
    return true;
}

static void tail_put_free(struct sbx_tail *t, uint32_t index)
{
    struct sbx_segment_image *image = tail_image(t, index);
    image->number = 0;
    if (t->nwarm == TAIL_WARM) {
        sbx_shm_release(index / TAIL_EXTENT < t->shared ? t->fd : -1, image, SBX_SEGMENT_BYTES);
        memmove(&t->free[t->nfree - t->nwarm + 1], &t->free[t->nfree - t->nwarm],
                t->nwarm * sizeof *t->free);
        t->free[t->nfree++ - t->nwarm] = index;
        return;
    }
    t->free[t->nfree++] = index;
    t->nwarm++;
}

static void tail_release_segment(struct sbx_blob *b)
{
    struct tail_blob *tb = SBX_LIST_OF(b, struct tail_blob, blob);
    struct sbx_tail *t = tb->segment.tail;
    t->used--;
    if (!t->left)
        tail_put_free(t, tb->segment.index);
    sbx_mem_free(tb);
}

static struct sbx_segment *tail_handle(struct sbx_tail *t, uint32_t index)
{
    struct tail_blob *tb = sbx_mem_calloc(sizeof *tb);
    if (tb == NULL)
        return NULL;
    tb->segment = (struct sbx_segment){.blob = &tb->blob, .tail = t, .index = index,
                                       .image = tail_image(t, index)};
    (void)sbx_blob_place(&tb->blob, sizeof tb->blob, tail_release_segment);
    t->used++;
    return &tb->segment;
}

/* --- segments --- */

struct sbx_segment *sbx_segment_new(struct sbx_tail *t, uint64_t number, uint64_t first,
                                    uint64_t offset)
{
    struct sbx_segment *seg;
    if (t->nfree == 0 && !tail_add_extent(t))
        return NULL;
    seg = tail_handle(t, t->free[t->nfree - 1]);
    if (seg == NULL)
        return NULL;
    t->nfree--;
    if (t->nwarm > 0)
        t->nwarm--;
    seg->image->count = 0;
    seg->image->first = first;
    seg->image->offset = offset;
    tail_fence();
    seg->image->number = number;
    return seg;
}

void sbx_segment_unref(struct sbx_segment *seg)
{
    /* It is nobody's log any more, although a socket may still need its bytes. */
    if (!seg->tail->left)
        seg->image->number = 0;
    sbx_blob_unref(seg->blob);
}

size_t sbx_segment_used(const struct sbx_segment *seg)
{
    const struct sbx_head *h;
    if (seg->image->count == 0)
        return 0;
    h = sbx_segment_head(seg, (size_t)seg->image->count - 1);
    return h->start + sbx_head_len(h);
}

size_t sbx_segment_room(const struct sbx_segment *seg, size_t entries)
{
    size_t taken = sizeof *seg->image + sbx_segment_used(seg) +
                   ((size_t)seg->image->count + entries) * sizeof(struct sbx_head);
    return taken < SBX_SEGMENT_BYTES ? SBX_SEGMENT_BYTES - taken : 0;
}

static uint32_t segment_pack(size_t len, unsigned stream)
{
    return (uint32_t)len << 2 | stream;
}

/* Lengthens the last entry where that is allowed; returns how many bytes it took. */
static size_t segment_extend(struct sbx_segment *seg, size_t n, unsigned stream, size_t entry_max)
{
    struct sbx_head *h;
    size_t len, take;
    if (seg->image->count == 0)
        return 0;
    h = sbx_segment_head(seg, (size_t)seg->image->count - 1);
    len = sbx_head_len(h);
    if ((h->len_stream & 3u) != stream || len >= entry_max)
        return 0;
    take = entry_max - len < n ? entry_max - len : n;
    h->len_stream = segment_pack(len + take, stream);
    return take;
}

uint32_t sbx_segment_append(struct sbx_segment *seg, size_t n, unsigned stream, uint64_t time_ms,
                            size_t entry_max, bool extend)
{
    size_t used = sbx_segment_used(seg), take = 0;
    uint64_t count = seg->image->count;
    uint32_t added = 0;
    if (extend)
        take = segment_extend(seg, n, stream, entry_max);
    for (n -= take, used += take; n > 0; n -= take, used += take) {
        take = n < entry_max ? n : entry_max;
        *sbx_segment_head(seg, (size_t)count + added++) =
            (struct sbx_head){.start = (uint32_t)used, .len_stream = segment_pack(take, stream),
                              .time_ms = time_ms};
    }
    assert(sizeof *seg->image + used + (count + added) * sizeof(struct sbx_head) <=
           SBX_SEGMENT_BYTES);
    tail_fence();
    seg->image->count = count + added;
    return added;
}

/* Are the heads what this code writes? A segment that fails is treated as free. */
static bool tail_is_sound(const struct sbx_segment *seg)
{
    size_t i, end = 0;
    uint64_t count = seg->image->count;
    if (count == 0 || count > SBX_SEGMENT_BYTES / sizeof(struct sbx_head) ||
        seg->image->first == 0 || seg->image->first > TAIL_COUNTER_MAX ||
        seg->image->offset > TAIL_COUNTER_MAX)
        return false;
    for (i = 0; i < count; i++) {
        const struct sbx_head *h = sbx_segment_head(seg, i);
        if (h->start != end || sbx_head_len(h) == 0 || (h->len_stream & 3u) > 2)
            return false;
        end += sbx_head_len(h);
    }
    return sizeof *seg->image + end + count * sizeof(struct sbx_head) <= SBX_SEGMENT_BYTES;
}

/* --- the intent --- */

void sbx_tail_about_to_read(struct sbx_tail *t, struct sbx_segment *seg, size_t n, unsigned stream,
                            uint64_t time_ms)
{
    struct tail_intent *in = &t->header->intent;
    size_t at = sbx_segment_used(seg), i;
    uint64_t random[TAIL_CANARY / sizeof(uint64_t)];
    volatile uint8_t *touch = seg->image->data + at;
    if (t->fd < 0)
        return;
    for (i = 0; i < TAIL_CANARY / sizeof(uint64_t); i++)
        random[i] = n < TAIL_CANARY_LONG ? tail_no_text(tail_random(t)) : tail_random(t);
    for (i = 0; i < n; i += TAIL_PAGE)
        touch[i] = 0;
    in->canary_len = n < TAIL_CANARY ? (uint32_t)n : TAIL_CANARY;
    memcpy(in->canary, random, sizeof random);
    memcpy(seg->image->data + at + n - in->canary_len, random, in->canary_len);
    in->number = seg->image->number;
    in->time_ms = time_ms;
    in->segment = seg->index;
    in->at = (uint32_t)at;
    in->stream = stream;
    tail_fence();
    in->bytes = n;
    tail_fence();
}

void sbx_tail_read_done(struct sbx_tail *t)
{
    tail_fence();
    t->header->intent.bytes = 0;
}

static bool intent_fits(const struct sbx_tail *t, const struct tail_intent *in)
{
    return in->segment < t->nextents * TAIL_EXTENT && in->stream < 3 &&
           in->bytes < SBX_SEGMENT_BYTES && in->at < SBX_SEGMENT_BYTES &&
           in->canary_len <= in->bytes && in->canary_len <= TAIL_CANARY;
}

/* Completes what was read and has no heads yet, in entries as the reader would have made. */
static void tail_honour_intent(struct sbx_tail *t)
{
    const struct tail_intent *in = &t->header->intent;
    struct sbx_segment seg = {.tail = t, .index = in->segment};
    size_t used, end = (size_t)in->at + (size_t)in->bytes;
    if (in->bytes == 0 || !intent_fits(t, in))
        return;
    seg.image = tail_image(t, in->segment);
    if (seg.image->number != in->number || in->number == 0 ||
        (seg.image->count > 0 && !tail_is_sound(&seg)))
        return;
    used = sbx_segment_used(&seg);
    if (used < in->at || used >= end ||
        sbx_segment_room(&seg, (end - used - 1) / SBX_ENTRY_MAX + 1) < end - used)
        return;
    if (memcmp(seg.image->data + end - in->canary_len, in->canary, in->canary_len) != 0)
        (void)sbx_segment_append(&seg, end - used, in->stream, in->time_ms, SBX_ENTRY_MAX, false);
}

/* --- slots --- */

struct sbx_slot *sbx_tail_slot_new(struct sbx_tail *t, enum sbx_slot_kind kind, uint64_t number)
{
    for (; t->slots_taken < TAIL_SLOTS; t->slots_taken++) {
        struct sbx_slot *slot = &t->header->slots[t->slots_taken];
        if (slot->kind != SBX_SLOT_FREE)
            continue;
        *slot = (struct sbx_slot){.number = number};
        if (t->header->slots_seen <= t->slots_taken)
            t->header->slots_seen = (uint64_t)t->slots_taken + 1;
        tail_fence();
        slot->kind = (uint32_t)kind;
        return slot;
    }
    return NULL;
}

void sbx_tail_slot_free(struct sbx_tail *t, struct sbx_slot *slot)
{
    uint32_t index = (uint32_t)(slot - t->header->slots);
    if (t->left)
        return;
    slot->kind = SBX_SLOT_FREE;
    /* The lowest free one is taken next, so that few pages are ever touched. */
    if (index < t->slots_taken)
        t->slots_taken = index;
}

struct sbx_slot *sbx_tail_slot_next(struct sbx_tail *t, struct sbx_slot *slot)
{
    uint64_t seen = t->header->slots_seen < TAIL_SLOTS ? t->header->slots_seen : TAIL_SLOTS;
    const struct sbx_slot *end = t->header->slots + seen;
    for (slot = slot == NULL ? t->header->slots : slot + 1; slot < end; slot++)
        if (slot->kind != SBX_SLOT_FREE)
            return slot;
    return NULL;
}

struct sbx_slot *sbx_tail_slot_find(struct sbx_tail *t, uint64_t number)
{
    struct sbx_slot *slot = NULL;
    while ((slot = sbx_tail_slot_next(t, slot)) != NULL)
        if (slot->kind == SBX_SLOT_PROCESS && slot->number == number)
            return slot;
    return NULL;
}

void sbx_tail_publish(uint64_t *member, uint64_t value)
{
    tail_fence();
    *member = value;
}

uint64_t sbx_tail_number(const struct sbx_tail *t)
{
    return t->header->number;
}

void sbx_tail_set_number(struct sbx_tail *t, uint64_t number)
{
    t->header->number = number;
}

uint64_t sbx_tail_file(const struct sbx_tail *t)
{
    return t->header->file;
}

void sbx_tail_set_file(struct sbx_tail *t, uint64_t identity)
{
    t->header->file = identity;
}

uint64_t sbx_tail_next_file(const struct sbx_tail *t)
{
    return t->header->next_file;
}

void sbx_tail_set_next_file(struct sbx_tail *t, uint64_t identity)
{
    t->header->next_file = identity;
}

/* --- an earlier server's memory --- */

static bool tail_before(const struct sbx_segment *a, const struct sbx_segment *b)
{
    if (a->image->number != b->image->number)
        return a->image->number < b->image->number;
    return a->image->first < b->image->first;
}

static void tail_sort(struct sbx_segment **a, size_t n)
{
    size_t gap, i, j;
    for (gap = n / 2; gap > 0; gap /= 2) {
        for (i = gap; i < n; i++) {
            struct sbx_segment *one = a[i];
            for (j = i; j >= gap && tail_before(one, a[j - gap]); j -= gap)
                a[j] = a[j - gap];
            a[j] = one;
        }
    }
}

static bool tail_collect(struct sbx_tail *t)
{
    uint32_t i, n = (uint32_t)t->nextents * TAIL_EXTENT;
    t->orphans = n == 0 ? NULL : sbx_mem_calloc(n * sizeof *t->orphans);
    if (n > 0 && t->orphans == NULL)
        return false;
    for (i = n; i > 0; i--) {
        struct sbx_segment seg = {.tail = t, .index = i - 1, .image = tail_image(t, i - 1)};
        struct sbx_segment *kept = NULL;
        if (seg.image->number != 0 && tail_is_sound(&seg))
            kept = tail_handle(t, i - 1);
        if (kept != NULL)
            t->orphans[t->norphans++] = kept;
        else
            t->free[t->nfree++] = i - 1;
    }
    tail_sort(t->orphans, t->norphans);
    return true;
}

static bool tail_take_over(struct sbx_tail *t)
{
    uint64_t bytes = 0;
    if (sbx_shm_size(t->fd, &bytes) < 0 || bytes < TAIL_HEADER_BYTES)
        return false;
    if (t->header->magic != TAIL_MAGIC || t->header->version != TAIL_VERSION ||
        t->header->segment_bytes != SBX_SEGMENT_BYTES)
        return false;
    bytes -= TAIL_HEADER_BYTES;
    while ((uint64_t)t->nextents * TAIL_EXTENT_BYTES + TAIL_EXTENT_BYTES <= bytes)
        if (!tail_map_extent(t, false))
            return false;
    tail_honour_intent(t);
    sbx_tail_read_done(t);
    return tail_collect(t);
}

struct sbx_segment *sbx_tail_adopt(struct sbx_tail *t, uint64_t number)
{
    size_t i;
    for (i = 0; i < t->norphans; i++) {
        struct sbx_segment *seg = t->orphans[i];
        if (seg != NULL && seg->image->number == number) {
            t->orphans[i] = NULL;
            return seg;
        }
    }
    return NULL;
}

bool sbx_tail_has(const struct sbx_tail *t, uint64_t number)
{
    size_t i;
    for (i = 0; i < t->norphans; i++)
        if (t->orphans[i] != NULL && t->orphans[i]->image->number == number)
            return true;
    return false;
}

void sbx_tail_drop_orphans(struct sbx_tail *t)
{
    size_t i;
    for (i = 0; i < t->norphans; i++)
        if (t->orphans[i] != NULL)
            sbx_segment_unref(t->orphans[i]);
    sbx_mem_free(t->orphans);
    t->orphans = NULL;
    t->norphans = 0;
}

/* --- opening --- */

static void tail_unmap(struct sbx_tail *t)
{
    size_t i;
    if (t->header != NULL)
        sbx_shm_unmap(t->header, TAIL_HEADER_BYTES);
    for (i = 0; i < t->nextents; i++)
        sbx_shm_unmap(t->extents[i], TAIL_EXTENT_BYTES);
    t->header = NULL;
    t->nextents = t->shared = 0;
    t->nfree = 0;
}

static bool tail_begin(struct sbx_tail *t, bool shared)
{
    t->fd = shared ? sbx_shm_open() : -1;
    if (t->fd >= 0 && sbx_shm_grow(t->fd, TAIL_HEADER_BYTES) < 0)
        sbx_fd_close(&t->fd);
    if (t->fd < 0)
        t->fd = -1;
    t->header = sbx_shm_map(t->fd, 0, TAIL_HEADER_BYTES);
    if (t->header == NULL)
        return false;
    t->header->magic = TAIL_MAGIC;
    t->header->version = TAIL_VERSION;
    t->header->segment_bytes = SBX_SEGMENT_BYTES;
    return true;
}

struct sbx_tail *sbx_tail_open(int fd, bool shared, bool *refused)
{
    struct sbx_tail *t = sbx_mem_calloc(sizeof *t);
    assert(sizeof(struct tail_header) <= TAIL_HEADER_BYTES);
    *refused = false;
    if (t == NULL)
        return NULL;
    t->random = sbx_clock_mono_us() * 2654435761u ^ (uint64_t)(uintptr_t)t ^
                (uint64_t)getpid() << 40;
    t->random |= 1;
    t->fd = fd;
    if (fd >= 0) {
        t->header = sbx_shm_map(fd, 0, TAIL_HEADER_BYTES);
        if (t->header != NULL && tail_take_over(t))
            return t;
        *refused = true;
        sbx_tail_drop_orphans(t);
        tail_unmap(t);
        sbx_fd_close(&t->fd);
    }
    if (tail_begin(t, shared))
        return t;
    sbx_tail_close(t);
    return NULL;
}

void sbx_tail_close(struct sbx_tail *t)
{
    sbx_tail_drop_orphans(t);
    tail_unmap(t);
    sbx_fd_close(&t->fd);
    sbx_mem_free(t->extents);
    sbx_mem_free(t->free);
    sbx_mem_free(t);
}

void sbx_tail_leave(struct sbx_tail *t)
{
    t->left = true;
}

int sbx_tail_fd(const struct sbx_tail *t)
{
    return t->fd;
}

size_t sbx_tail_bytes(const struct sbx_tail *t)
{
    return t->used * SBX_SEGMENT_BYTES;
}
