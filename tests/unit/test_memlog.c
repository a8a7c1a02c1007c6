/* The part of a log that is in memory, against a model: an array of entries. What is kept follows
 * from the cap alone, entry by entry, wherever segments begin. */
#include "proc/memlog.h"

#include "gate.h"
#include "tail_rig.h"

#include <stdlib.h>

#define MODEL_MAX 200000u

static struct {
    struct sbx_tail *tail;
    struct sbx_memlog m;
    struct model_entry {
        uint64_t offset;
        uint32_t len;
        uint8_t stream;
        uint64_t time_ms;
    } *entries; /* [sequence] */
    uint64_t first, last, offset;
} t;

static void open_with_cap(uint64_t cap)
{
    memset(&t, 0, sizeof t);
    t.tail = tail_open_shared();
    t.entries = calloc(MODEL_MAX, sizeof *t.entries);
    assert_non_null(t.entries);
    t.first = 1;
    sbx_memlog_init(&t.m, t.tail, 1, cap);
}

static void close_all(void)
{
    sbx_memlog_deinit(&t.m);
    assert_int_equal(sbx_tail_bytes(t.tail), 0);
    sbx_tail_close(t.tail);
    free(t.entries);
}

/* The model's rule of eviction. */
static void model_evict(void)
{
    while (t.offset - t.entries[t.first].offset > t.m.cap || t.last - t.first + 1 > t.m.max_entries)
        t.first++;
}

static void model_append(size_t n, unsigned stream, uint64_t time_ms, bool extend)
{
    struct model_entry *e = &t.entries[t.last];
    while (n > 0) {
        size_t take = n;
        if (extend && t.last > 0 && e->stream == stream && e->len < t.m.entry_max) {
            take = take < t.m.entry_max - e->len ? take : t.m.entry_max - e->len;
            e->len += (uint32_t)take;
        } else {
            take = take < t.m.entry_max ? take : t.m.entry_max;
            e = &t.entries[++t.last];
            assert_true(t.last < MODEL_MAX - 1);
            *e = (struct model_entry){t.offset, (uint32_t)take, (uint8_t)stream, time_ms};
        }
        extend = false;
        t.offset += take;
        n -= take;
    }
    model_evict();
}

/* As one read brings it: returns how much there was room for. A log does not extend an entry into
 * another segment, so the model is told whether it can. */
static size_t append_some(size_t n, unsigned stream, uint64_t time_ms, bool extend)
{
    size_t room = 0, i;
    uint8_t *to = sbx_memlog_reserve(&t.m, &room);
    assert_non_null(to);
    assert_true(room > 0);
    n = n < room ? n : room;
    for (i = 0; i < n; i++)
        to[i] = tail_byte(1, t.offset + i);
    extend = extend && sbx_segment_count(t.m.segments[t.m.oldest + t.m.nsegments - 1]) > 0;
    sbx_memlog_append(&t.m, n, stream, time_ms, extend);
    model_append(n, stream, time_ms, extend);
    return n;
}

static void append(size_t n, unsigned stream)
{
    while (n > 0)
        n -= append_some(n, stream, 1, false);
}

static void check_entry(uint64_t sequence)
{
    const struct model_entry *e = &t.entries[sequence];
    size_t at, i;
    const struct sbx_segment *seg = sbx_memlog_find(&t.m, sequence, &at);
    const struct sbx_head *h;
    assert_non_null(seg);
    h = sbx_segment_head(seg, at);
    assert_int_equal(sbx_memlog_offset_of(seg, at), e->offset);
    assert_int_equal(sbx_head_len(h), e->len);
    assert_int_equal(h->len_stream & 3u, e->stream);
    assert_int_equal(h->time_ms, e->time_ms);
    for (i = 0; i < e->len; i++)
        if (seg->image->data[h->start + i] != tail_byte(1, e->offset + i))
            fail_msg("byte %zu of entry %llu differs", i, (unsigned long long)sequence);
}

static void check_numbers(void)
{
    size_t at;
    uint64_t bytes = t.first > t.last ? 0 : t.offset - t.entries[t.first].offset;
    assert_int_equal(t.m.first, t.first);
    assert_int_equal(t.m.last, t.last);
    assert_int_equal(t.m.offset, t.offset);
    assert_int_equal(sbx_memlog_bytes(&t.m), bytes);
    assert_true(bytes <= t.m.cap && t.last + 1 - t.first <= t.m.max_entries);
    assert_null(sbx_memlog_find(&t.m, t.first - 1, &at));
    assert_null(sbx_memlog_find(&t.m, t.last + 1, &at));
}

static void check_all(void)
{
    uint64_t s;
    check_numbers();
    for (s = t.first; s <= t.last; s++)
        check_entry(s);
}

/* --- caps --- */

static void test_empty(void **state)
{
    (void)state;
    open_with_cap(1000);
    assert_int_equal(t.m.first, 1);
    assert_int_equal(t.m.last, 0);
    check_all();
    assert_false(sbx_memlog_drop_oldest(&t.m, true));
    sbx_memlog_trim(&t.m, 100, 0, true);
    check_all();
    close_all();
}

static void test_cap_to_the_entry(void **state)
{
    unsigned i;
    (void)state;
    open_with_cap(100);
    assert_true(t.m.entry_max >= 10);
    for (i = 0; i < 10; i++)
        append(10, 0);
    assert_int_equal(t.m.first, 1); /* exactly full */
    append(1, 0);
    assert_int_equal(t.m.first, 2); /* one went, no more */
    append(9, 0);
    assert_int_equal(t.m.first, 2);
    append(1, 1);
    assert_int_equal(t.m.first, 3);
    check_all();
    close_all();
}

static void test_entries_are_bounded(void **state)
{
    uint64_t most;
    unsigned i;
    (void)state;
    open_with_cap(100000);
    most = t.m.max_entries;
    assert_int_equal(most, 100000 / 16);
    for (i = 0; i < most; i++)
        append(1, 0);
    assert_int_equal(t.m.first, 1);
    append(1, 0);
    assert_int_equal(t.m.first, 2);
    check_all();
    close_all();
}

/* Whatever the cap, each single read leaves all it brought. */
static void test_small_caps(void **state)
{
    uint64_t cap;
    (void)state;
    for (cap = 1; cap < 40; cap++) {
        unsigned i;
        open_with_cap(cap);
        for (i = 1; i < 200; i++) {
            size_t n = append_some(i, i % 3, i, i % 2 == 0);
            assert_true(sbx_memlog_bytes(&t.m) >= n);
            check_all();
        }
        assert_true(sbx_memlog_bytes(&t.m) * 2 >= cap);
        close_all();
    }
}

static void test_memory_follows_the_cap(void **state)
{
    unsigned i;
    (void)state;
    open_with_cap(1000000);
    for (i = 0; i < 1000; i++) {
        append(10000, 0);
        assert_true(sbx_tail_bytes(t.tail) <= 1000000 + 3 * SBX_SEGMENT_BYTES);
    }
    assert_true(t.m.capsegments <= 32); /* nor does what is dropped leave a trace */
    assert_true(sbx_memlog_bytes(&t.m) > 1000000 - 8192);
    check_all();
    close_all();
}

/* --- giving memory back --- */

static void model_first(uint64_t first)
{
    t.first = first;
    t.entries[t.last + 1].offset = t.offset;
}

static void test_trim(void **state)
{
    uint64_t before;
    (void)state;
    open_with_cap(10000000);
    append(1000000, 0);
    sbx_memlog_trim(&t.m, 1, 0, false); /* entry 1 is wanted */
    check_all();
    sbx_memlog_trim(&t.m, 50, 0, false);
    assert_true(t.m.first > 1 && t.m.first <= 50);
    model_first(t.m.first);
    check_all();
    before = t.m.first;
    sbx_memlog_trim(&t.m, t.m.last + 1, 500000, false); /* no more than asked for */
    assert_true(t.m.first > before);
    assert_true(sbx_memlog_bytes(&t.m) <= 500000 &&
                sbx_memlog_bytes(&t.m) > 500000 - SBX_SEGMENT_BYTES);
    model_first(t.m.first);
    check_all();
    sbx_memlog_trim(&t.m, t.m.last + 1, 0, false);
    assert_int_equal(t.m.nsegments, 1); /* the newest is still being filled */
    model_first(t.m.first);
    check_all();
    sbx_memlog_trim(&t.m, t.m.last, 0, true); /* its last entry is wanted */
    check_all();
    sbx_memlog_trim(&t.m, t.m.last + 1, 0, true);
    model_first(t.last + 1);
    check_all();
    assert_int_equal(sbx_tail_bytes(t.tail), 0);
    append(1000, 0); /* and it goes on where it was */
    check_all();
    close_all();
}

static void test_drop_oldest(void **state)
{
    (void)state;
    open_with_cap(10000000);
    append(300000, 0);
    assert_int_equal(t.m.nsegments, 3);
    assert_true(sbx_memlog_drop_oldest(&t.m, false));
    assert_true(sbx_memlog_drop_oldest(&t.m, false));
    assert_false(sbx_memlog_drop_oldest(&t.m, false));
    assert_true(t.m.first > 1 && t.m.first < t.m.last);
    model_first(t.m.first);
    check_all();
    assert_true(sbx_memlog_drop_oldest(&t.m, true));
    model_first(t.last + 1);
    check_all();
    append(1000, 0);
    check_all();
    close_all();
}

/* --- after an earlier server --- */

/* A successor of the log's memory and a log on it, with what the record says. */
static void succeed(uint64_t last, uint64_t offset)
{
    int fd = tail_dup(t.tail);
    uint64_t cap = t.m.cap;
    sbx_tail_leave(t.tail);
    sbx_memlog_deinit(&t.m);
    sbx_tail_close(t.tail);
    t.tail = tail_succeed(fd);
    sbx_memlog_init(&t.m, t.tail, 1, cap);
    sbx_memlog_adopt(&t.m, last, offset);
    sbx_tail_drop_orphans(t.tail);
}

static void test_adopt(void **state)
{
    (void)state;
    open_with_cap(500000);
    append(900000, 0);
    append(1000, 1);
    succeed(3, 1000); /* the record is older */
    check_all();
    append(300000, 2);
    check_all();
    succeed(t.last, t.offset);
    check_all();
    close_all();
}

static void test_adopt_nothing(void **state)
{
    (void)state;
    open_with_cap(500000);
    succeed(0, 0);
    check_all();
    succeed(17, 1234);
    t.last = 17;
    t.offset = 1234;
    model_first(18);
    check_all();
    append(100, 0);
    check_all();
    close_all();
}

/* What the memory has is older than what is known to have been given out. */
static void test_adopt_what_is_too_old(void **state)
{
    (void)state;
    open_with_cap(500000);
    append(300000, 0);
    t.last += 5;
    t.offset += 5000;
    succeed(t.last, t.offset);
    model_first(t.last + 1);
    check_all();
    assert_int_equal(sbx_tail_bytes(t.tail), 0);
    append(100, 0);
    check_all();
    close_all();
}

/* Entries between two segments are missing: the older segment is of no use. */
static void test_adopt_after_a_hole(void **state)
{
    struct sbx_segment *old;
    (void)state;
    open_with_cap(500000);
    append(300000, 0);
    assert_int_equal(t.m.nsegments, 3);
    old = t.m.segments[t.m.oldest + 1];
    model_first(t.m.segments[t.m.oldest + 2]->image->first);
    old->image->number = 0;
    succeed(0, 0);
    assert_int_equal(t.m.nsegments, 1);
    check_all();
    close_all();
}

/* The same with numbers that fit and bytes that do not: one of the two lies. */
static void test_adopt_with_a_hole_in_the_bytes(void **state)
{
    size_t i;
    (void)state;
    for (i = 0; i < 2; i++) {
        open_with_cap(500000);
        append(200000, 0);
        assert_int_equal(t.m.nsegments, 2);
        t.m.segments[t.m.oldest + i]->image->offset += i == 0 ? UINT64_MAX - 100 : 1ull << 40;
        model_first(t.m.segments[t.m.oldest + 1]->image->first);
        succeed(0, 0);
        assert_int_equal(t.m.nsegments, 1);
        assert_int_equal(t.m.first, t.first);
        assert_int_equal(t.m.last, t.last);
        assert_int_equal(sbx_memlog_bytes(&t.m), t.offset - t.entries[t.first].offset);
        close_all();
    }
}

/* Entries that the cap cannot hold, in a segment without room for another one. */
static void test_adopt_above_the_cap(void **state)
{
    struct sbx_segment *seg;
    (void)state;
    open_with_cap(1000);
    seg = tail_segment(t.tail, 1, 1, 0);
    tail_fill_at(seg, 0, sbx_segment_room(seg, 1));
    t.offset = sbx_segment_room(seg, 1);
    t.last = sbx_segment_append(seg, (size_t)t.offset, 0, 1, SIZE_MAX, false);
    sbx_tail_leave(t.tail);
    sbx_segment_unref(seg);
    succeed(0, 0);
    assert_int_equal(t.m.last, 1);
    model_first(t.m.first);
    assert_true(sbx_memlog_bytes(&t.m) <= 1000);
    append(5000, 1);
    check_all();
    close_all();
}

/* --- random --- */

static void do_something(struct random *r)
{
    uint64_t keep;
    switch (random_below(r, 40)) {
    case 0:
        keep = t.m.first + random_below(r, (size_t)(t.m.last - t.m.first + 2));
        sbx_memlog_trim(&t.m, keep, random_below(r, 300000), random_below(r, 2) == 0);
        assert_true(t.m.first <= keep || t.m.first == t.first);
        break;
    case 1:
        (void)sbx_memlog_drop_oldest(&t.m, random_below(r, 4) == 0);
        break;
    case 2:
        succeed(random_below(r, 2) == 0 ? t.last : 0, random_below(r, 2) == 0 ? t.offset : 0);
        if (t.m.last == 0) { /* all had been dropped, and nobody knew the number */
            t.m.last = t.last;
            t.m.first = t.last + 1;
        }
        t.m.offset = t.offset;
        if (t.m.nsegments == 0)
            t.m.first_offset = t.offset;
        break;
    default:
        (void)append_some(1 + random_below(r, random_below(r, 3) == 0 ? 60000 : 300),
                          (unsigned)random_below(r, 3), random_below(r, 1000),
                          random_below(r, 2) == 0);
    }
    assert_true(t.m.first >= t.first);
    model_first(t.m.first > t.first ? t.m.first : t.first);
}

static void test_random(void **state)
{
    static const uint64_t caps[] = {1, 100, 5000, 70000, 200000, 1000000};
    struct random r = {99};
    size_t i, k;
    (void)state;
    for (i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        open_with_cap(caps[i]);
        for (k = 0; k < 3000; k++) {
            do_something(&r);
            check_numbers();
            if (t.first <= t.last)
                check_entry(t.first + random_below(&r, (size_t)(t.last - t.first + 1)));
            if (k % 500 == 0)
                check_all();
        }
        check_all();
        close_all();
    }
}

/* Memory that was damaged: whatever is found can be read and continued. */
static void read_damaged(int fd)
{
    static const uint64_t caps[] = {100, 20000, 10000000};
    struct sbx_memlog m;
    struct sbx_tail *tail = tail_succeed(fd);
    uint64_t s, sum = 0;
    size_t i, room, k, at;
    for (i = 0; i < 3; i++) {
        sbx_memlog_init(&m, tail, i + 1, caps[i]);
        sbx_memlog_adopt(&m, 0, 0);
        assert_true(m.last + 1 - m.first <= m.max_entries);
        for (s = m.first; s <= m.last; s++) {
            const struct sbx_segment *seg = sbx_memlog_find(&m, s, &at);
            const struct sbx_head *h = seg == NULL ? NULL : sbx_segment_head(seg, at);
            assert_non_null(seg);
            for (k = 0; k < sbx_head_len(h); k++)
                sum += seg->image->data[h->start + k];
        }
        for (k = 0; k < 20; k++) {
            assert_non_null(sbx_memlog_reserve(&m, &room));
            sbx_memlog_append(&m, room, 0, 1, false);
        }
        assert_true(sum < UINT64_MAX && sbx_memlog_bytes(&m) <= caps[i]);
        sbx_memlog_deinit(&m);
    }
    sbx_tail_drop_orphans(tail);
    assert_int_equal(sbx_tail_bytes(tail), 0);
    sbx_tail_close(tail);
}

/* Four segments of two logs, and one of a third; each page that is used is put back each time. */
static void test_damage(void **state)
{
    static const uint64_t values[] = {0, 1, 2, 9, 17, 25, 8192, 100000, UINT32_MAX,
                                      UINT64_MAX, UINT64_MAX - 5, UINT64_MAX / 2};
    static uint8_t whole[5][8192];
    struct random r = {31337};
    struct sbx_tail *tail = tail_open_shared();
    struct sbx_segment *segs[5];
    int fd = tail_dup(tail);
    uint8_t *memory;
    size_t i, k, n, bytes = TAIL_RIG_HEADER + TAIL_RIG_EXTENT;
    (void)state;
    for (i = 0; i < 5; i++) {
        segs[i] = tail_segment(tail, 1 + i / 2, 1 + i % 2 * 8, i % 2 * 3600);
        for (k = 0; k < 8; k++)
            (void)tail_append(segs[i], 450, (unsigned)(k % 3), false);
    }
    memory = sbx_shm_map(fd, 0, bytes);
    assert_non_null(memory);
    for (i = 0; i < 5; i++) {
        uint8_t *p = memory + TAIL_RIG_HEADER + i * SBX_SEGMENT_BYTES;
        memcpy(whole[i], p, 4096);
        memcpy(whole[i] + 4096, p + SBX_SEGMENT_BYTES - 4096, 4096);
    }
    for (k = 0; k < 10000; k++) {
        for (i = 0; i < 5; i++) {
            uint8_t *p = memory + TAIL_RIG_HEADER + i * SBX_SEGMENT_BYTES;
            memcpy(p, whole[i], 4096);
            memcpy(p + SBX_SEGMENT_BYTES - 4096, whole[i] + 4096, 4096);
        }
        for (n = 1 + random_below(&r, 3); n > 0; n--) {
            uint8_t *p = memory + TAIL_RIG_HEADER + random_below(&r, 5) * SBX_SEGMENT_BYTES;
            p += random_below(&r, 3) > 0 ? random_below(&r, 4) * 8
                                         : SBX_SEGMENT_BYTES - 8 - random_below(&r, 18) * 8;
            if (random_below(&r, 2) == 0)
                p[random_below(&r, 8)] ^= (uint8_t)(1u << random_below(&r, 8));
            else
                memcpy(p, &values[random_below(&r, sizeof values / sizeof values[0])], 8);
        }
        read_damaged(dup(fd));
    }
    sbx_shm_unmap(memory, bytes);
    sbx_fd_close(&fd);
    sbx_tail_leave(tail);
    for (i = 0; i < 5; i++)
        sbx_segment_unref(segs[i]);
    sbx_tail_close(tail);
}

/* --- memory failures --- */

static void grow_with_little_memory(void *ctx, const struct gate *g)
{
    bool refused;
    struct sbx_tail *tail = sbx_tail_open(-1, true, &refused);
    struct sbx_memlog m;
    size_t room;
    unsigned i;
    (void)ctx;
    if (tail == NULL) {
        assert_true(gate_hit(g));
        return;
    }
    sbx_memlog_init(&m, tail, 1, 400000);
    for (i = 0; i < 30; i++) {
        if (sbx_memlog_reserve(&m, &room) != NULL)
            sbx_memlog_append(&m, room, 0, 1, false);
        else
            assert_true(gate_hit(g)); /* and what there was is still there */
        assert_true(m.last == 0 || sbx_memlog_find(&m, m.last, &room) != NULL);
    }
    sbx_memlog_deinit(&m);
    assert_int_equal(sbx_tail_bytes(tail), 0);
    sbx_tail_close(tail);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(gate_each(grow_with_little_memory, NULL) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_cap_to_the_entry),
        cmocka_unit_test(test_entries_are_bounded),
        cmocka_unit_test(test_small_caps),
        cmocka_unit_test(test_memory_follows_the_cap),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_drop_oldest),
        cmocka_unit_test(test_adopt),
        cmocka_unit_test(test_adopt_nothing),
        cmocka_unit_test(test_adopt_what_is_too_old),
        cmocka_unit_test(test_adopt_after_a_hole),
        cmocka_unit_test(test_adopt_with_a_hole_in_the_bytes),
        cmocka_unit_test(test_adopt_above_the_cap),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
