/* store_mem.c - the store in memory; see store.h.
 *
 * A log is an array of segments; a segment is a blob of payload and an array of 16-byte heads.
 * Sequence and offset of an entry follow from its place, so they are not stored. Eviction moves
 * `first` forward and drops segments that lie wholly before it; memory is thus the cap plus less
 * than one segment, and a blob lives on while a socket still refers to it.
 *
 * Bounds: payload <= cap, and entries * 16 <= max(cap, 4096): a process that writes byte by byte
 * cannot make heads outweigh what they describe without limit.
 *
 * Invariants: sequences of a segment are seg->first .. seg->first + seg->count - 1; segments are
 * adjacent; evicted <= first - 1 <= committed <= last; entries above `committed` may still grow. */
#include "base/list.h"
#include "base/mem.h"
#include "os/pages.h"
#include "proc/store.h"

#include <assert.h>
#include <string.h>

#define STORE_SEGMENT_BYTES (128u * 1024u)
#define STORE_ENTRY_MAX 8192u /* what the reference server reads at once: `tail` counts entries */
#define STORE_ROOM_MAX (64u * 1024u)
#define STORE_ROOM_MIN 4096u  /* a segment with less left is closed: short reads cost more */
#define STORE_HEAD_BYTES 16u
#define STORE_SPARE_SEGMENTS 2u

struct store_head {
    uint32_t start;         /* in the blob */
    uint32_t len_stream;    /* length << 2 | stream */
    uint64_t time_ms;
};

struct store_segment {
    uint64_t first;         /* sequence of heads[0] */
    uint64_t offset;        /* payload bytes of the log before heads[0] */
    struct sbx_blob *blob;
    struct store_head *heads;
    uint32_t count, cap;
};

struct sbx_store {
    struct sbx_loop *loop;
    struct sbx_task commit;
    struct sbx_list dirty;  /* logs with uncommitted entries */
    uint64_t last_number;
    struct sbx_blob *spare[STORE_SPARE_SEGMENTS]; /* warm memory for logs that run at their cap */
};

struct sbx_store_log {
    struct sbx_store *store;
    struct sbx_list dirty;
    struct store_segment **segments; /* [oldest .. oldest + nsegments): by sequence */
    size_t oldest, nsegments, capsegments;
    uint64_t cap, max_entries;
    uint32_t entry_max;
    uint64_t first, committed, last; /* sequences; first is the oldest that is kept */
    uint64_t first_offset, offset;   /* payload bytes before `first`, and ever appended */
    void (*on_commit)(void *ctx);
    void *ctx;
};

const char *sbx_store_backend(void)
{
    return "memory";
}

static void store_commit(struct sbx_task *t)
{
    struct sbx_store *s = SBX_LIST_OF(t, struct sbx_store, commit);
    while (!sbx_list_empty(&s->dirty)) {
        struct sbx_store_log *log = SBX_LIST_OF(s->dirty.next, struct sbx_store_log, dirty);
        sbx_list_remove(&log->dirty);
        log->committed = log->last;
        log->on_commit(log->ctx);
    }
}

struct sbx_store *sbx_store_open(struct sbx_loop *loop)
{
    struct sbx_store *s = sbx_mem_calloc(sizeof *s);
    if (s == NULL)
        return NULL;
    s->loop = loop;
    sbx_list_init(&s->dirty);
    sbx_task_init(&s->commit, store_commit);
    return s;
}

void sbx_store_close(struct sbx_store *s)
{
    size_t i;
    assert(sbx_list_empty(&s->dirty));
    sbx_task_cancel(&s->commit);
    for (i = 0; i < STORE_SPARE_SEGMENTS; i++)
        sbx_blob_unref(s->spare[i]);
    sbx_mem_free(s);
}

uint64_t sbx_store_next_number(struct sbx_store *s)
{
    return ++s->last_number;
}

/* Small caps get small entries, so that evicting one does not throw away most of the log. */
static uint32_t store_entry_max(uint64_t cap)
{
    uint64_t n = cap / 8, least = cap < 512 ? cap : 512;
    if (n < least)
        n = least;
    return n > STORE_ENTRY_MAX ? STORE_ENTRY_MAX : (uint32_t)n;
}

struct sbx_store_log *sbx_store_log_open(struct sbx_store *s, uint64_t cap,
                                         void (*on_commit)(void *ctx), void *ctx)
{
    struct sbx_store_log *log = sbx_mem_calloc(sizeof *log);
    if (log == NULL)
        return NULL;
    log->store = s;
    sbx_list_init(&log->dirty);
    log->cap = cap;
    log->max_entries = (cap < 4096 ? 4096 : cap) / STORE_HEAD_BYTES;
    log->entry_max = store_entry_max(cap);
    log->first = 1;
    log->on_commit = on_commit;
    log->ctx = ctx;
    return log;
}

static struct sbx_blob *store_take_blob(struct sbx_store *s)
{
    size_t i;
    for (i = 0; i < STORE_SPARE_SEGMENTS; i++) {
        struct sbx_blob *b = s->spare[i];
        if (b != NULL) {
            s->spare[i] = NULL;
            b->len = 0;
            return b;
        }
    }
    return sbx_pages_blob(STORE_SEGMENT_BYTES);
}

static void store_drop_blob(struct sbx_store *s, struct sbx_blob *b)
{
    size_t i;
    for (i = 0; b->refs == 1 && i < STORE_SPARE_SEGMENTS; i++) {
        if (s->spare[i] == NULL) {
            s->spare[i] = b;
            return;
        }
    }
    sbx_blob_unref(b);
}

static struct store_segment *store_oldest(const struct sbx_store_log *log)
{
    return log->segments[log->oldest];
}

static struct store_segment *store_newest(const struct sbx_store_log *log)
{
    return log->segments[log->oldest + log->nsegments - 1];
}

static void store_drop_oldest(struct sbx_store_log *log)
{
    struct store_segment *seg = store_oldest(log);
    log->oldest++;
    log->nsegments--;
    store_drop_blob(log->store, seg->blob);
    sbx_mem_free(seg->heads);
    sbx_mem_free(seg);
}

void sbx_store_log_close(struct sbx_store_log *log)
{
    while (log->nsegments > 0)
        store_drop_oldest(log);
    sbx_list_remove(&log->dirty);
    sbx_mem_free(log->segments);
    sbx_mem_free(log);
}

/* Room for one more segment at the end. The dropped front is used again when it is the larger part,
 * so that a segment is moved less than once on average. */
static bool store_reserve_segment(struct sbx_store_log *log)
{
    size_t cap = log->capsegments == 0 ? 4 : log->capsegments * 2;
    struct store_segment **segments;
    if (log->oldest + log->nsegments < log->capsegments)
        return true;
    if (log->oldest > log->nsegments) {
        memmove(log->segments, log->segments + log->oldest,
                log->nsegments * sizeof *log->segments);
        log->oldest = 0;
        return true;
    }
    segments = sbx_mem_realloc(log->segments, cap * sizeof *segments);
    if (segments == NULL)
        return false;
    log->segments = segments;
    log->capsegments = cap;
    return true;
}

static struct store_segment *store_add_segment(struct sbx_store_log *log)
{
    struct store_segment *seg;
    if (!store_reserve_segment(log))
        return NULL;
    seg = sbx_mem_calloc(sizeof *seg);
    if (seg == NULL)
        return NULL;
    seg->blob = store_take_blob(log->store);
    if (seg->blob == NULL) {
        sbx_mem_free(seg);
        return NULL;
    }
    seg->first = log->last + 1;
    seg->offset = log->offset;
    log->segments[log->oldest + log->nsegments++] = seg;
    return seg;
}

/* Heads for the worst case of one read: every entry_max bytes start an entry. */
static bool store_reserve_heads(const struct sbx_store_log *log, struct store_segment *seg,
                                size_t room)
{
    size_t need = seg->count + room / log->entry_max + 2;
    size_t cap = seg->cap == 0 ? 4 : seg->cap;
    struct store_head *heads;
    if (need <= seg->cap)
        return true;
    while (cap < need)
        cap *= 2;
    heads = sbx_mem_realloc(seg->heads, cap * sizeof *heads);
    if (heads == NULL)
        return false;
    seg->heads = heads;
    seg->cap = (uint32_t)cap;
    return true;
}

uint8_t *sbx_store_log_reserve(struct sbx_store_log *log, size_t *room)
{
    struct store_segment *seg = log->nsegments == 0 ? NULL : store_newest(log);
    if (seg == NULL || seg->blob->cap - seg->blob->len < STORE_ROOM_MIN)
        seg = store_add_segment(log);
    if (seg == NULL)
        return NULL;
    *room = seg->blob->cap - seg->blob->len;
    if (*room > STORE_ROOM_MAX)
        *room = STORE_ROOM_MAX;
    /* One read must not evict what a reader that keeps up has not seen yet. */
    if (*room > log->cap / 2)
        *room = log->cap > 1 ? (size_t)(log->cap / 2) : 1;
    if (!store_reserve_heads(log, seg, *room))
        return NULL;
    return seg->blob->data + seg->blob->len;
}

static size_t head_len(const struct store_head *h)
{
    return h->len_stream >> 2;
}

static uint32_t head_pack(size_t len, enum sbx_log_stream stream)
{
    return (uint32_t)len << 2 | (uint32_t)stream;
}

static void store_evict(struct sbx_store_log *log)
{
    while (log->offset - log->first_offset > log->cap ||
           log->last - log->first + 1 > log->max_entries) {
        struct store_segment *seg = store_oldest(log);
        assert(log->first >= seg->first && log->first < seg->first + seg->count);
        log->first_offset += head_len(&seg->heads[log->first - seg->first]);
        log->first++;
        if (log->first == seg->first + seg->count && seg != store_newest(log))
            store_drop_oldest(log);
    }
}

/* Lengthens the last entry where that is allowed; returns how many bytes it took. */
static size_t store_extend(struct sbx_store_log *log, struct store_segment *seg, size_t n,
                           enum sbx_log_stream stream)
{
    struct store_head *h;
    size_t take;
    if (seg->count == 0 || log->last == log->committed)
        return 0;
    h = &seg->heads[seg->count - 1];
    if ((h->len_stream & 3u) != (uint32_t)stream)
        return 0;
    take = log->entry_max - head_len(h);
    if (take > n)
        take = n;
    h->len_stream = head_pack(head_len(h) + take, stream);
    return take;
}

static void store_take_bytes(struct sbx_store_log *log, struct store_segment *seg, size_t n)
{
    seg->blob->len += n;
    log->offset += n;
    store_evict(log);
}

void sbx_store_log_append(struct sbx_store_log *log, size_t n, enum sbx_log_stream stream,
                          uint64_t time_ms)
{
    struct store_segment *seg = store_newest(log);
    size_t take;
    assert(n > 0 && n <= seg->blob->cap - seg->blob->len);
    take = store_extend(log, seg, n, stream);
    store_take_bytes(log, seg, take);
    for (n -= take; n > 0; n -= take) {
        take = n < log->entry_max ? n : log->entry_max;
        assert(seg->count < seg->cap);
        seg->heads[seg->count++] = (struct store_head){.start = (uint32_t)seg->blob->len,
                                                       .len_stream = head_pack(take, stream),
                                                       .time_ms = time_ms};
        log->last++;
        store_take_bytes(log, seg, take);
    }
    if (sbx_list_empty(&log->dirty))
        sbx_list_add_tail(&log->store->dirty, &log->dirty);
    sbx_loop_defer(log->store->loop, SBX_PHASE_COMMIT, &log->store->commit);
}

bool sbx_store_log_is_committed(const struct sbx_store_log *log)
{
    return log->committed == log->last;
}

uint64_t sbx_store_log_first(const struct sbx_store_log *log)
{
    return log->first;
}

uint64_t sbx_store_log_last(const struct sbx_store_log *log)
{
    return log->committed;
}

uint64_t sbx_store_log_cap(const struct sbx_store_log *log)
{
    return log->cap;
}

uint64_t sbx_store_log_offset(const struct sbx_store_log *log)
{
    return log->offset;
}

uint64_t sbx_store_log_max_entries(const struct sbx_store_log *log)
{
    return log->max_entries;
}

/* The segment of a kept sequence: the last one that does not begin after it. */
static struct store_segment *store_find(const struct sbx_store_log *log, uint64_t sequence)
{
    size_t lo = log->oldest, hi = log->oldest + log->nsegments;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (log->segments[mid]->first <= sequence)
            lo = mid;
        else
            hi = mid;
    }
    return log->segments[lo];
}

/* Payload bytes between the segment's start and its i-th entry. */
static uint64_t store_bytes_before(const struct store_segment *seg, size_t i)
{
    return seg->heads[i].start - seg->heads[0].start;
}

bool sbx_store_log_read(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e)
{
    const struct store_segment *seg;
    const struct store_head *h;
    size_t i;
    if (sequence < log->first || sequence > log->committed)
        return false;
    seg = store_find(log, sequence);
    i = (size_t)(sequence - seg->first);
    h = &seg->heads[i];
    *e = (struct sbx_entry){.sequence = sequence,
                            .time_ms = h->time_ms,
                            .offset = seg->offset + store_bytes_before(seg, i),
                            .stream = (enum sbx_log_stream)(h->len_stream & 3u),
                            .blob = seg->blob,
                            .data = seg->blob->data + h->start,
                            .len = head_len(h)};
    return true;
}
