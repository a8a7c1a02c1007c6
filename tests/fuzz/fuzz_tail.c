/* fuzz_tail.c - any bytes as the memory that an earlier server left.
 *
 * The input is a list of writes into memory with a good header: two bytes name a place, eight go
 * there. Then the memory is opened, adopted and read as a new server does. Whatever is found has
 * its bytes within its segment, sequences without a hole, and can be continued. */
#undef NDEBUG
#include "os/shm.h"
#include "proc/memlog.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#define FUZZ_HEADER (1024u * 1024u)
#define FUZZ_EXTENT (16u * SBX_SEGMENT_BYTES)
#define FUZZ_BYTES (FUZZ_HEADER + FUZZ_EXTENT)
#define FUZZ_SEGMENTS 4u
#define FUZZ_LOGS 4u
#define FUZZ_WRITE 10u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two bytes name a word: of the header, of a segment's start, of its heads, of its payload. */
static size_t fuzz_place(uint8_t what, uint8_t word)
{
    size_t segment = FUZZ_HEADER + (size_t)(what % FUZZ_SEGMENTS) * SBX_SEGMENT_BYTES;
    switch (what >> 6) {
    case 0:
        return (size_t)word * 8; /* intent, first slots */
    case 1:
        return segment + (size_t)(word % 4) * 8;
    case 2:
        return segment + SBX_SEGMENT_BYTES - 8 - (size_t)word * 8;
    default:
        return segment + 32 + (size_t)word * 512;
    }
}

/* What every memory begins with: written by the code itself, so that its version is right. */
static int fuzz_begin(void)
{
    bool refused;
    struct sbx_tail *t = sbx_tail_open(-1, true, &refused);
    int fd;
    assert(t != NULL && sbx_tail_fd(t) >= 0);
    fd = dup(sbx_tail_fd(t));
    sbx_tail_close(t);
    assert(fd >= 0 && sbx_shm_grow(fd, FUZZ_BYTES) == 0);
    return fd;
}

static void fuzz_write(int fd, const uint8_t *data, size_t size)
{
    uint8_t *memory = sbx_shm_map(fd, 0, FUZZ_BYTES);
    assert(memory != NULL);
    for (; size >= FUZZ_WRITE; data += FUZZ_WRITE, size -= FUZZ_WRITE)
        memcpy(memory + fuzz_place(data[0], data[1]), data + 2, 8);
    sbx_shm_unmap(memory, FUZZ_BYTES);
}

static void fuzz_slots(struct sbx_tail *t)
{
    struct sbx_slot *slot = NULL, *next;
    while ((next = sbx_tail_slot_next(t, slot)) != NULL) {
        assert(next > slot && next->kind != SBX_SLOT_FREE);
        slot = next;
    }
    slot = sbx_tail_slot_find(t, 1);
    if (slot != NULL)
        sbx_tail_slot_free(t, slot);
}

/* All bytes of an entry can be read. */
static void fuzz_entry(const struct sbx_segment *seg, const struct sbx_head *h)
{
    const volatile uint8_t *p = seg->image->data + h->start;
    size_t i;
    assert(sbx_head_len(h) > 0);
    assert(h->start + sbx_head_len(h) <= SBX_SEGMENT_BYTES - sizeof *seg->image);
    for (i = 0; i < sbx_head_len(h); i += 64)
        (void)p[i];
    (void)p[sbx_head_len(h) - 1];
}

static void fuzz_log(struct sbx_tail *t, uint64_t number, uint64_t cap)
{
    struct sbx_memlog m;
    uint64_t s, at;
    size_t head, room, i;
    sbx_memlog_init(&m, t, number, cap);
    sbx_memlog_adopt(&m, 2, 100);
    assert(m.last >= 2 && m.first <= m.last + 1 && sbx_memlog_bytes(&m) <= cap);
    for (s = m.first, at = m.first_offset; s <= m.last; s++) {
        const struct sbx_segment *seg = sbx_memlog_find(&m, s, &head);
        assert(seg != NULL && sbx_memlog_offset_of(seg, head) == at);
        at += sbx_head_len(sbx_segment_head(seg, head));
        fuzz_entry(seg, sbx_segment_head(seg, head));
    }
    assert(at == m.offset);
    for (i = 0; i < 4; i++) {
        assert(sbx_memlog_reserve(&m, &room) != NULL);
        sbx_memlog_append(&m, room, 0, 1, i % 2 == 0);
        assert(sbx_memlog_find(&m, m.last, &head) != NULL);
    }
    sbx_memlog_deinit(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t caps[FUZZ_LOGS] = {100000000, 3, 5000, 200000};
    struct sbx_tail *t;
    bool refused;
    uint64_t i;
    int fd = fuzz_begin();
    fuzz_write(fd, data, size);
    t = sbx_tail_open(fd, true, &refused);
    assert(t != NULL);
    fuzz_slots(t);
    for (i = 0; i < FUZZ_LOGS; i++)
        fuzz_log(t, i + 1, caps[i]);
    sbx_tail_drop_orphans(t);
    assert(sbx_tail_bytes(t) == 0);
    sbx_tail_close(t);
    return 0;
}
