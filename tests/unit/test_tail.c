/* Memory that outlives the server: slots, segments, and what a successor finds of them after its
 * predecessor was killed at any instruction, or after the memory was damaged. */
#include "proc/tail.h"

#include "gate.h"
#include "tail_rig.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- slots --- */

static void test_slots(void **state)
{
    struct sbx_tail *t = tail_open_shared();
    struct sbx_slot *a, *b, *c;
    (void)state;
    assert_null(sbx_tail_slot_next(t, NULL));
    a = sbx_tail_slot_new(t, SBX_SLOT_PROCESS, 1);
    b = sbx_tail_slot_new(t, SBX_SLOT_RUN, 0);
    c = sbx_tail_slot_new(t, SBX_SLOT_PROCESS, 3);
    assert_true(a < b && b < c);
    c->last = 77;
    assert_ptr_equal(sbx_tail_slot_find(t, 3), c);
    assert_null(sbx_tail_slot_find(t, 0)); /* a run has no number */
    assert_null(sbx_tail_slot_find(t, 2));
    assert_ptr_equal(sbx_tail_slot_next(t, NULL), a);
    assert_ptr_equal(sbx_tail_slot_next(t, a), b);
    assert_ptr_equal(sbx_tail_slot_next(t, b), c);
    assert_null(sbx_tail_slot_next(t, c));
    sbx_tail_slot_free(t, c);
    sbx_tail_slot_free(t, a);
    assert_ptr_equal(sbx_tail_slot_next(t, NULL), b);
    assert_ptr_equal(sbx_tail_slot_new(t, SBX_SLOT_PROCESS, 4), a); /* the lowest first */
    assert_ptr_equal(sbx_tail_slot_new(t, SBX_SLOT_PROCESS, 5), c);
    assert_int_equal(c->number, 5);
    assert_int_equal(c->last, 0); /* nothing of its former owner */
    sbx_tail_close(t);
}

static void test_slots_run_out(void **state)
{
    struct sbx_tail *t = tail_open_shared();
    struct sbx_slot *slot, *some = NULL;
    uint64_t n = 0;
    (void)state;
    while ((slot = sbx_tail_slot_new(t, SBX_SLOT_PROCESS, n + 1)) != NULL)
        if (++n == 100)
            some = slot;
    assert_true(n >= 1000);
    sbx_tail_slot_free(t, some);
    assert_ptr_equal(sbx_tail_slot_new(t, SBX_SLOT_PROCESS, 1), some);
    assert_null(sbx_tail_slot_new(t, SBX_SLOT_PROCESS, 1));
    sbx_tail_close(t);
}

/* --- segments --- */

static void check_head(const struct sbx_segment *seg, size_t i, uint32_t start, size_t len,
                       unsigned stream, uint64_t time_ms)
{
    const struct sbx_head *h = sbx_segment_head(seg, i);
    assert_int_equal(h->start, start);
    assert_int_equal(sbx_head_len(h), len);
    assert_int_equal(h->len_stream & 3u, stream);
    assert_int_equal(h->time_ms, time_ms);
}

static void test_entries(void **state)
{
    struct sbx_tail *t = tail_open_shared();
    struct sbx_segment *seg = tail_segment(t, 7, 100, 5000);
    (void)state;
    assert_int_equal(seg->image->first, 100);
    assert_int_equal(seg->image->offset, 5000);
    assert_int_equal(sbx_segment_append(seg, 10, 0, 1, 100, true), 1);
    assert_int_equal(sbx_segment_append(seg, 10, 0, 2, 100, true), 0);  /* grows */
    assert_int_equal(sbx_segment_append(seg, 10, 1, 3, 100, true), 1);  /* another stream */
    assert_int_equal(sbx_segment_append(seg, 10, 1, 4, 100, false), 1); /* may not */
    assert_int_equal(sbx_segment_append(seg, 95, 1, 5, 100, true), 1);  /* up to the limit */
    assert_int_equal(sbx_segment_append(seg, 250, 2, 6, 100, true), 3);
    assert_int_equal(sbx_segment_count(seg), 7);
    check_head(seg, 0, 0, 20, 0, 1);
    check_head(seg, 1, 20, 10, 1, 3);
    check_head(seg, 2, 30, 100, 1, 4);
    check_head(seg, 3, 130, 5, 1, 5);
    check_head(seg, 4, 135, 100, 2, 6);
    check_head(seg, 6, 335, 50, 2, 6);
    assert_int_equal(sbx_segment_used(seg), 385);
    sbx_segment_unref(seg);
    sbx_tail_close(t);
}

static void test_room(void **state)
{
    struct sbx_tail *t = tail_open_shared();
    struct sbx_segment *seg = tail_segment(t, 1, 1, 0);
    size_t room = sbx_segment_room(seg, 1), entries = 0;
    (void)state;
    assert_int_equal(room, SBX_SEGMENT_BYTES - sizeof *seg->image - sizeof(struct sbx_head));
    assert_int_equal(sbx_segment_room(seg, 3), room - 2 * sizeof(struct sbx_head));
    /* Bytes and heads meet in the middle and never overlap. */
    while (sbx_segment_room(seg, 1) > 0)
        entries += tail_append(seg, 1, (unsigned)(entries % 3), false);
    assert_int_equal(entries, sbx_segment_count(seg));
    tail_check(seg, 1, entries);
    for (room = 0; room < entries; room++)
        check_head(seg, room, (uint32_t)room, 1, (unsigned)(room % 3), 1000);
    assert_int_equal(sbx_segment_room(seg, 1000), 0);
    sbx_segment_unref(seg);
    seg = tail_segment(t, 2, 1, 0);
    assert_int_equal(sbx_segment_append(seg, sbx_segment_room(seg, 1), 0, 1, SIZE_MAX, false), 1);
    assert_int_equal(sbx_segment_room(seg, 1), 0);
    sbx_segment_unref(seg);
    sbx_tail_close(t);
}

static uint64_t file_bytes(const struct sbx_tail *t)
{
    uint64_t bytes = 0;
    assert_int_equal(sbx_shm_size(sbx_tail_fd(t), &bytes), 0);
    return bytes;
}

static uint64_t memory_bytes(const struct sbx_tail *t)
{
    struct stat st;
    assert_int_equal(fstat(sbx_tail_fd(t), &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

#define MANY 40u

static void test_extents(void **state)
{
    struct sbx_tail *t = tail_open_shared();
    struct sbx_segment *segs[MANY];
    size_t i;
    (void)state;
    assert_int_equal(file_bytes(t), TAIL_RIG_HEADER);
    assert_int_equal(sbx_tail_bytes(t), 0);
    for (i = 0; i < MANY; i++) {
        segs[i] = tail_segment(t, i + 1, 1, 0);
        assert_int_equal(segs[i]->index, i); /* low ones first */
        memset(segs[i]->image->data, 0xaa, sbx_segment_room(segs[i], 1));
        assert_int_equal(tail_append(segs[i], 100, 0, false), 1);
    }
    assert_int_equal(file_bytes(t), TAIL_RIG_HEADER + 3 * TAIL_RIG_EXTENT);
    assert_int_equal(sbx_tail_bytes(t), MANY * SBX_SEGMENT_BYTES);
    for (i = 0; i < MANY; i++)
        tail_check(segs[i], i + 1, 100);
    assert_true(memory_bytes(t) >= MANY * SBX_SEGMENT_BYTES);
    for (i = 0; i < MANY; i++)
        sbx_segment_unref(segs[i]);
    /* Most of the memory goes back to the system. */
    assert_int_equal(sbx_tail_bytes(t), 0);
    assert_true(memory_bytes(t) <= 5 * SBX_SEGMENT_BYTES);
    for (i = 0; i < MANY; i++) {
        segs[i] = tail_segment(t, i + 1, 1, 0);
        assert_int_equal(tail_append(segs[i], 100, 0, false), 1);
        tail_check(segs[i], i + 1, 100);
    }
    assert_int_equal(file_bytes(t), TAIL_RIG_HEADER + 3 * TAIL_RIG_EXTENT);
    for (i = 0; i < MANY; i++)
        sbx_segment_unref(segs[i]);
    sbx_tail_close(t);
}

/* A log at its cap drops and takes segments all the time: always the same few. */
static void test_free_segments_are_used_again(void **state)
{
    struct sbx_tail *t = tail_open_shared();
    unsigned i;
    (void)state;
    for (i = 0; i < 1000; i++) {
        struct sbx_segment *a = tail_segment(t, 1, i + 1, i), *b = tail_segment(t, 2, i + 1, i);
        assert_true(a->index < 4 && b->index < 4 && a->index != b->index);
        assert_int_equal(tail_append(a, 10, 0, false), 1);
        sbx_segment_unref(a);
        sbx_segment_unref(b);
    }
    assert_int_equal(file_bytes(t), TAIL_RIG_HEADER + TAIL_RIG_EXTENT);
    sbx_tail_close(t);
}

/* Whoever still writes its bytes to a socket keeps the memory, although the log has dropped it. */
static void test_references_keep_the_memory(void **state)
{
    struct sbx_tail *t = tail_open_shared();
    struct sbx_segment *seg = tail_segment(t, 1, 1, 0), *other;
    struct sbx_blob *blob = sbx_blob_ref(seg->blob);
    struct sbx_segment_image *image = seg->image;
    uint32_t index = seg->index;
    unsigned i;
    (void)state;
    (void)tail_append(seg, 1000, 0, false);
    sbx_segment_unref(seg);
    assert_int_equal(image->number, 0); /* but a successor does not find it */
    for (i = 0; i < MANY; i++) {
        other = tail_segment(t, 2, 1, 0);
        assert_int_not_equal(other->index, index);
        (void)tail_append(other, 2000, 0, false);
        if (i % 2 == 0)
            sbx_segment_unref(other);
        else
            sbx_blob_unref(other->blob);
    }
    for (i = 0; i < 1000; i++)
        assert_int_equal(image->data[i], tail_byte(1, i));
    assert_int_equal(sbx_tail_bytes(t), SBX_SEGMENT_BYTES);
    sbx_blob_unref(blob);
    assert_int_equal(sbx_tail_bytes(t), 0);
    other = tail_segment(t, 3, 1, 0);
    assert_int_equal(other->index, index);
    sbx_segment_unref(other);
    sbx_tail_close(t);
}

static void test_private_memory(void **state)
{
    bool refused;
    struct sbx_tail *t = sbx_tail_open(-1, false, &refused);
    struct sbx_segment *segs[MANY];
    size_t i;
    (void)state;
    assert_non_null(t);
    assert_false(refused);
    assert_int_equal(sbx_tail_fd(t), -1);
    for (i = 0; i < MANY; i++) {
        segs[i] = tail_segment(t, i + 1, 1, 0);
        sbx_tail_about_to_read(t, segs[i], 5000, 0, 1);
        (void)tail_append(segs[i], 5000, 0, false);
        sbx_tail_read_done(t);
    }
    for (i = 0; i < MANY; i++) {
        tail_check(segs[i], i + 1, 5000);
        sbx_segment_unref(segs[i]);
    }
    sbx_tail_close(t);
}

/* A file that may not grow (ulimit -f): what does not fit is private memory, and works. */
static void use_limited_memory(void)
{
    struct rlimit limit = {TAIL_RIG_HEADER + TAIL_RIG_EXTENT + 4096,
                           TAIL_RIG_HEADER + TAIL_RIG_EXTENT + 4096};
    struct sbx_tail *t, *next;
    struct sbx_segment *segs[MANY];
    size_t i;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    t = tail_open_shared();
    for (i = 0; i < MANY; i++) {
        segs[i] = tail_segment(t, i + 1, 1, 0);
        sbx_tail_about_to_read(t, segs[i], 1000, 0, 1);
        (void)tail_append(segs[i], 1000, 0, false);
        sbx_tail_read_done(t);
    }
    for (i = 0; i < MANY; i++)
        tail_check(segs[i], i + 1, 1000);
    /* A read into a place that the successor does not have. */
    sbx_tail_about_to_read(t, segs[MANY - 1], 1000, 0, 1);
    tail_fill_at(segs[MANY - 1], 1000, 1000);
    next = tail_succeed(tail_dup(t));
    sbx_tail_leave(next);
    for (i = 0; i < MANY; i++) {
        struct sbx_segment *seg = sbx_tail_adopt(next, i + 1);
        assert_true((seg != NULL) == (i < 16));
        if (seg == NULL)
            continue;
        tail_check(seg, i + 1, 1000);
        sbx_segment_unref(seg);
    }
    sbx_tail_close(next);
    for (i = 0; i < MANY; i++)
        sbx_segment_unref(segs[i]);
    assert_int_equal(sbx_tail_bytes(t), 0);
    for (i = 0; i < MANY; i++)
        (void)tail_append(segs[i] = tail_segment(t, i + 1, 1, 0), 1000, 0, false);
    for (i = 0; i < MANY; i++)
        tail_check(segs[i], i + 1, 1000);
}

static void test_memory_that_may_not_grow(void **state)
{
    int status;
    pid_t child = fork();
    (void)state;
    if (child == 0) {
        use_limited_memory(); /* a failed assertion ends the child otherwise */
        _exit(42);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

/* --- successors --- */

static void die(void)
{
    (void)raise(SIGKILL);
    _exit(1);
}

static void await_kill(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void live_and_die(struct sbx_tail *t)
{
    struct sbx_slot *slot = sbx_tail_slot_new(t, SBX_SLOT_PROCESS, 12);
    unsigned i;
    slot->pid = 4711;
    slot->exit_value = 3;
    sbx_tail_publish(&slot->exited_ms, 99);
    sbx_tail_set_number(t, 12);
    (void)sbx_tail_slot_new(t, SBX_SLOT_RUN, 0);
    /* The second half of log 12 comes first in memory; 13 lies between; 14 is empty. */
    for (i = 0; i < 20; i++) {
        struct sbx_segment *seg =
            tail_segment(t, i % 2 == 0 ? 12 : 13, 1000 - i * 10, 200000 - i * 30);
        (void)tail_append(seg, 30, 1, false);
    }
    (void)tail_segment(t, 14, 1, 0);
    die();
}

static void test_killed(void **state)
{
    struct sbx_tail *t = tail_open_shared(), *next;
    struct sbx_segment *seg, *others[31];
    struct sbx_slot *slot;
    int fd = tail_dup(t);
    pid_t child = fork();
    unsigned i;
    (void)state;
    if (child == 0)
        live_and_die(t);
    sbx_tail_leave(t);
    sbx_tail_close(t);
    await_kill(child);
    next = tail_succeed(fd);
    assert_int_equal(sbx_tail_number(next), 12);
    slot = sbx_tail_slot_find(next, 12);
    assert_non_null(slot);
    assert_int_equal(slot->pid, 4711);
    assert_int_equal(slot->exit_value, 3);
    assert_int_equal(slot->exited_ms, 99);
    slot = sbx_tail_slot_next(next, slot);
    assert_int_equal(slot->kind, SBX_SLOT_RUN);
    assert_null(sbx_tail_slot_next(next, slot));
    assert_null(sbx_tail_adopt(next, 14)); /* nothing was in it */
    for (i = 0; i < 10; i++) {             /* the oldest first */
        seg = sbx_tail_adopt(next, 12);
        assert_non_null(seg);
        assert_int_equal(seg->image->first, 1000 - (9 - i) * 20);
        tail_check(seg, 12, 30);
        sbx_segment_unref(seg);
    }
    assert_null(sbx_tail_adopt(next, 12));
    seg = sbx_tail_adopt(next, 13);
    assert_int_equal(sbx_tail_bytes(next), 10 * SBX_SEGMENT_BYTES);
    sbx_tail_drop_orphans(next);
    assert_null(sbx_tail_adopt(next, 13));
    assert_int_equal(sbx_tail_bytes(next), SBX_SEGMENT_BYTES);
    tail_check(seg, 13, 30);
    /* What was dropped is free, and goes to others. */
    for (i = 0; i < 31; i++) {
        others[i] = tail_segment(next, 50 + i, 1, 0);
        assert_int_not_equal(others[i]->index, seg->index);
    }
    assert_int_equal(file_bytes(next), TAIL_RIG_HEADER + 2 * TAIL_RIG_EXTENT);
    for (i = 0; i < 31; i++)
        sbx_segment_unref(others[i]);
    sbx_segment_unref(seg);
    sbx_tail_close(next);
}

/* After sbx_tail_leave nothing that is closed takes anything from the successor. */
static void test_leave(void **state)
{
    struct sbx_tail *t = tail_open_shared(), *next;
    struct sbx_segment *segs[10];
    struct sbx_slot *slot = sbx_tail_slot_new(t, SBX_SLOT_PROCESS, 5);
    int fd = tail_dup(t);
    size_t i;
    (void)state;
    for (i = 0; i < 10; i++) {
        segs[i] = tail_segment(t, 5, 1 + i, i * 100);
        (void)tail_append(segs[i], 100, 0, false);
    }
    sbx_tail_leave(t);
    for (i = 0; i < 10; i++)
        sbx_segment_unref(segs[i]);
    sbx_tail_slot_free(t, slot);
    sbx_tail_close(t);
    next = tail_succeed(fd);
    assert_non_null(sbx_tail_slot_find(next, 5));
    for (i = 0; i < 10; i++) {
        struct sbx_segment *seg = sbx_tail_adopt(next, 5);
        assert_non_null(seg);
        assert_int_equal(seg->image->first, 1 + i);
        tail_check(seg, 5, 100);
        sbx_segment_unref(seg);
    }
    sbx_tail_close(next);
}

/* --- the moment inside read(2) --- */

static const size_t read_sizes[] = {1, 2, 15, 16, 17, 4095, 4096, 4097, 60000};

/* A segment with 30 bytes, and n more about to come; `came`: they are there. */
static struct sbx_segment *successor_of_a_read(size_t n, bool came, bool done,
                                               struct sbx_tail **next)
{
    struct sbx_tail *t = tail_open_shared();
    struct sbx_segment *seg = tail_segment(t, 1, 10, 1000);
    int fd = tail_dup(t);
    (void)tail_append(seg, 30, 0, false);
    /* What lay there before must not matter. */
    tail_fill_at(seg, 30, n);
    sbx_tail_about_to_read(t, seg, n, 2, 555);
    if (came)
        tail_fill_at(seg, 30, n);
    if (done) {
        assert_true(sbx_segment_append(seg, n, 2, 555, 8192, false) > 0);
        sbx_tail_read_done(t);
    }
    sbx_tail_leave(t);
    sbx_segment_unref(seg);
    sbx_tail_close(t);
    *next = tail_succeed(fd);
    seg = sbx_tail_adopt(*next, 1);
    assert_non_null(seg);
    return seg;
}

static void test_read_that_did_not_happen(void **state)
{
    size_t i;
    (void)state;
    for (i = 0; i < sizeof read_sizes / sizeof read_sizes[0]; i++) {
        struct sbx_tail *next;
        struct sbx_segment *seg = successor_of_a_read(read_sizes[i], false, false, &next);
        assert_int_equal(sbx_segment_count(seg), 1);
        tail_check(seg, 1, 30);
        sbx_segment_unref(seg);
        sbx_tail_close(next);
    }
}

static void test_read_that_happened(void **state)
{
    size_t i;
    (void)state;
    /* From two bytes on: a single one is like the mark once in 256 times. */
    for (i = 2; i < sizeof read_sizes / sizeof read_sizes[0]; i++) {
        struct sbx_tail *next;
        struct sbx_segment *seg = successor_of_a_read(read_sizes[i], true, false, &next);
        size_t at, k = 1, n = read_sizes[i];
        /* In entries as the reader would have made them: clients know none that is longer. */
        for (at = 0; at < n; at += SBX_ENTRY_MAX, k++)
            check_head(seg, k, (uint32_t)(30 + at), n - at < SBX_ENTRY_MAX ? n - at : SBX_ENTRY_MAX,
                       2, 555);
        assert_int_equal(sbx_segment_count(seg), k);
        tail_check(seg, 1, 30 + n);
        sbx_segment_unref(seg);
        sbx_tail_close(next);
    }
}

static void test_read_that_was_completed(void **state)
{
    size_t i;
    (void)state;
    for (i = 0; i < sizeof read_sizes / sizeof read_sizes[0]; i++) {
        struct sbx_tail *next;
        struct sbx_segment *seg = successor_of_a_read(read_sizes[i], true, true, &next);
        tail_check(seg, 1, 30 + read_sizes[i]);
        sbx_segment_unref(seg);
        sbx_tail_close(next);
    }
}

/* The first bytes of a segment, of which nothing else tells. */
static void test_first_read_of_a_segment(void **state)
{
    struct sbx_tail *t = tail_open_shared(), *next;
    struct sbx_segment *seg = tail_segment(t, 9, 1, 0);
    int fd = tail_dup(t);
    (void)state;
    sbx_tail_about_to_read(t, seg, 100, 1, 555);
    tail_fill_at(seg, 0, 100);
    sbx_tail_leave(t);
    sbx_segment_unref(seg);
    sbx_tail_close(t);
    next = tail_succeed(fd);
    seg = sbx_tail_adopt(next, 9);
    assert_non_null(seg);
    tail_check(seg, 9, 100);
    sbx_segment_unref(seg);
    sbx_tail_close(next);
}

/* Killed after the bytes were appended, before the intent was taken back; or in the middle: the
 * last entry has grown and the next one is missing. */
static void test_half_appended(void **state)
{
    unsigned i;
    (void)state;
    for (i = 0; i < 2; i++) {
        struct sbx_tail *t = tail_open_shared(), *next;
        struct sbx_segment *seg = tail_segment(t, 1, 1, 0);
        int fd = tail_dup(t);
        (void)tail_append(seg, 30, 0, false);
        sbx_tail_about_to_read(t, seg, 300, 0, 555);
        tail_fill_at(seg, 30, 300);
        if (i == 0)
            (void)sbx_segment_append(seg, 300, 0, 555, 100, true);
        else
            sbx_segment_head(seg, 0)->len_stream = 100u << 2;
        sbx_tail_leave(t);
        sbx_segment_unref(seg);
        sbx_tail_close(t);
        next = tail_succeed(fd);
        seg = sbx_tail_adopt(next, 1);
        tail_check(seg, 1, 330);
        sbx_segment_unref(seg);
        sbx_tail_close(next);
    }
}

/* A server that reads a pipe until it is killed, at any moment. */
static void read_until_killed(struct sbx_tail *t, int from)
{
    struct sbx_segment *seg = tail_segment(t, 1, 1, 0);
    for (;;) {
        size_t n = sbx_fd_readable_bytes(from), room = sbx_segment_room(seg, 16);
        ssize_t got;
        if (n == 0)
            continue;
        if (n > room)
            n = room;
        if (n < 16)
            die();
        sbx_tail_about_to_read(t, seg, n, 0, 1);
        got = read(from, seg->image->data + sbx_segment_used(seg), n);
        if (got > 0)
            (void)sbx_segment_append(seg, (size_t)got, 0, 1, 8192, true);
        sbx_tail_read_done(t);
    }
}

/* Every byte is in the memory or still in the pipe, once. */
static void check_all_is_there(struct sbx_tail *t, int from, size_t written)
{
    struct sbx_segment *seg = sbx_tail_adopt(t, 1);
    uint8_t buf[4096];
    size_t at = seg == NULL ? 0 : sbx_segment_used(seg), left;
    if (seg != NULL) {
        tail_check(seg, 1, at);
        sbx_segment_unref(seg);
    }
    for (left = sbx_fd_readable_bytes(from); left > 0;) {
        ssize_t got = read(from, buf, left < sizeof buf ? left : sizeof buf), i;
        assert_true(got > 0);
        for (i = 0; i < got; i++)
            assert_int_equal(buf[i], tail_byte(1, at + (size_t)i));
        at += (size_t)got;
        left -= (size_t)got;
    }
    assert_int_equal(at, written);
}

static void kill_one_reader(struct random *r)
{
    struct sbx_tail *t = tail_open_shared(), *next;
    int from, to, fd = tail_dup(t);
    uint8_t buf[2000];
    size_t at = 0, i, n, most = 1 + random_below(r, 40);
    pid_t child;
    assert_int_equal(sbx_fd_pipe(&from, &to), 0);
    child = fork();
    if (child == 0)
        read_until_killed(t, from);
    while (most-- > 0) {
        n = 100 + random_below(r, sizeof buf - 100);
        for (i = 0; i < n; i++)
            buf[i] = tail_byte(1, at + i);
        assert_int_equal(write(to, buf, n), (ssize_t)n);
        at += n;
    }
    (void)kill(child, SIGKILL);
    await_kill(child);
    sbx_tail_leave(t);
    sbx_tail_close(t);
    next = tail_succeed(fd);
    check_all_is_there(next, from, at);
    sbx_tail_close(next);
    sbx_fd_close(&from);
    sbx_fd_close(&to);
}

static void test_killed_at_any_moment(void **state)
{
    struct random r = {4242};
    unsigned i;
    (void)state;
    for (i = 0; i < 100; i++)
        kill_one_reader(&r);
}

/* --- what is not believed --- */

static void expect_refused(int fd)
{
    bool refused = false;
    struct sbx_tail *t = sbx_tail_open(fd, true, &refused);
    struct sbx_segment *seg;
    assert_non_null(t); /* it goes on with memory of its own */
    assert_true(refused);
    assert_int_equal(sbx_tail_number(t), 0);
    assert_null(sbx_tail_slot_next(t, NULL));
    assert_null(sbx_tail_adopt(t, 1));
    seg = tail_segment(t, 1, 1, 0);
    (void)tail_append(seg, 10, 0, false);
    sbx_segment_unref(seg);
    sbx_tail_close(t);
}

/* Memory with some of everything, and a read under way. The descriptor is the caller's. */
static int make_memory(void)
{
    struct sbx_tail *t = tail_open_shared();
    struct sbx_segment *a = tail_segment(t, 1, 1, 0), *b = tail_segment(t, 2, 7, 70);
    struct sbx_segment *c;
    int fd = tail_dup(t);
    (void)sbx_tail_slot_new(t, SBX_SLOT_PROCESS, 1);
    (void)sbx_tail_slot_new(t, SBX_SLOT_RUN, 0);
    sbx_tail_set_number(t, 2);
    (void)tail_append(a, 600, 0, false);
    (void)tail_append(a, 400, 1, false);
    (void)tail_append(b, 20000, 2, false);
    c = tail_segment(t, 1, 3, 1000);
    (void)tail_append(c, 50, 0, false);
    sbx_tail_about_to_read(t, c, 100, 0, 1);
    tail_fill_at(c, 50, 100);
    sbx_tail_leave(t);
    sbx_segment_unref(a);
    sbx_segment_unref(b);
    sbx_segment_unref(c);
    sbx_tail_close(t);
    return fd;
}

static void test_foreign_memory_is_refused(void **state)
{
    size_t at;
    int fd;
    (void)state;
    for (at = 0; at < 16; at++) { /* magic, version, size of segments */
        uint8_t byte;
        fd = make_memory();
        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
        expect_refused(fd);
    }
    fd = make_memory();
    assert_int_equal(sbx_shm_grow(fd, TAIL_RIG_HEADER - 4096), 0);
    expect_refused(fd);
    fd = make_memory();
    assert_int_equal(sbx_shm_grow(fd, 0), 0);
    expect_refused(fd);
    assert_int_equal(sbx_fd_pipe(&fd, &(int){-1}), 0);
    expect_refused(fd);
}

/* A file that was cut within its last extent: what is whole is used. */
static void test_cut_memory(void **state)
{
    struct sbx_tail *next;
    int fd = make_memory();
    (void)state;
    assert_int_equal(sbx_shm_grow(fd, TAIL_RIG_HEADER + TAIL_RIG_EXTENT - 1), 0);
    next = tail_succeed(fd);
    assert_int_equal(sbx_tail_number(next), 2);
    assert_null(sbx_tail_adopt(next, 1));
    sbx_segment_unref(tail_segment(next, 1, 1, 0));
    sbx_tail_close(next);
}

static void read_all_of(struct sbx_segment *seg)
{
    uint64_t sum = 0;
    size_t i, k;
    for (i = 0; i < sbx_segment_count(seg); i++) {
        const struct sbx_head *h = sbx_segment_head(seg, i);
        assert_true(sbx_head_len(h) > 0);
        assert_true(h->start + sbx_head_len(h) <= SBX_SEGMENT_BYTES);
        for (k = 0; k < sbx_head_len(h); k++)
            sum += seg->image->data[h->start + k];
    }
    assert_true(sbx_segment_used(seg) + sbx_segment_count(seg) * sizeof(struct sbx_head) <=
                SBX_SEGMENT_BYTES);
    assert_true(sum < UINT64_MAX);
}

static void use_damaged(int fd)
{
    bool refused;
    struct sbx_tail *t = sbx_tail_open(fd, true, &refused);
    struct sbx_slot *slot = NULL;
    struct sbx_segment *seg;
    uint64_t number;
    assert_non_null(t);
    while ((slot = sbx_tail_slot_next(t, slot)) != NULL)
        assert_int_not_equal(slot->kind, SBX_SLOT_FREE);
    for (number = 1; number <= 3; number++)
        while ((seg = sbx_tail_adopt(t, number)) != NULL) {
            read_all_of(seg);
            sbx_segment_unref(seg);
        }
    sbx_tail_drop_orphans(t);
    assert_int_equal(sbx_tail_bytes(t), 0);
    seg = tail_segment(t, 1, 1, 0);
    sbx_segment_unref(seg);
    sbx_tail_close(t);
}

/* The pages of the sample that hold anything. */
static const size_t damage_pages[] = {
    0,
    TAIL_RIG_HEADER, TAIL_RIG_HEADER + SBX_SEGMENT_BYTES - 4096,
    TAIL_RIG_HEADER + SBX_SEGMENT_BYTES, TAIL_RIG_HEADER + 2 * SBX_SEGMENT_BYTES - 4096,
    TAIL_RIG_HEADER + 2 * SBX_SEGMENT_BYTES, TAIL_RIG_HEADER + 3 * SBX_SEGMENT_BYTES - 4096,
};
#define DAMAGE_PAGES (sizeof damage_pages / sizeof damage_pages[0])

/* A place that means something: intent and first slots, start of a segment, heads. */
static size_t damage_place(struct random *r)
{
    size_t page = random_below(r, DAMAGE_PAGES);
    if (page == 0)
        return 16 + random_below(r, 200);
    return damage_pages[page] +
           (page % 2 == 1 ? random_below(r, 32) : 4096 - 64 + random_below(r, 64));
}

static void damage(struct random *r, uint8_t *memory)
{
    static const uint64_t values[] = {0, 1, 2, 3, 31, 8191, 8192, 131040, 131072, UINT32_MAX,
                                      UINT64_MAX, UINT64_MAX / 2};
    size_t n = 1 + random_below(r, 4);
    while (n-- > 0) {
        size_t at = damage_place(r), word = random_below(r, 2) == 0 ? 8 : 4;
        const uint64_t *value = &values[random_below(r, sizeof values / sizeof values[0])];
        if (random_below(r, 2) == 0)
            memory[at] ^= (uint8_t)(1u << random_below(r, 8));
        else
            memcpy(memory + at / word * word, value, word);
    }
}

static void test_damage(void **state)
{
    static uint8_t whole[DAMAGE_PAGES][4096];
    size_t bytes = TAIL_RIG_HEADER + TAIL_RIG_EXTENT, i, k;
    struct random r = {20240229};
    int fd = make_memory();
    uint8_t *memory = sbx_shm_map(fd, 0, bytes);
    (void)state;
    assert_non_null(memory);
    for (k = 0; k < DAMAGE_PAGES; k++)
        memcpy(whole[k], memory + damage_pages[k], 4096);
    for (i = 0; i < 20000; i++) {
        for (k = 0; k < DAMAGE_PAGES; k++)
            memcpy(memory + damage_pages[k], whole[k], 4096);
        damage(&r, memory);
        use_damaged(dup(fd));
    }
    sbx_shm_unmap(memory, bytes);
    sbx_fd_close(&fd);
}

/* --- memory failures --- */

static void live_with_little_memory(void *ctx, const struct gate *g)
{
    bool refused;
    struct sbx_tail *t = sbx_tail_open(-1, true, &refused), *next;
    struct sbx_segment *segs[20];
    size_t i, n = 0;
    int fd;
    (void)ctx;
    if (t == NULL) {
        assert_true(gate_hit(g));
        return;
    }
    for (i = 0; i < 20; i++) {
        segs[n] = sbx_segment_new(t, 1, i + 1, i * 10);
        assert_true(segs[n] != NULL || gate_hit(g));
        if (segs[n] != NULL)
            (void)tail_append(segs[n++], 10, 0, false);
    }
    fd = sbx_tail_fd(t) < 0 ? -1 : dup(sbx_tail_fd(t));
    assert_true(fd >= 0 || gate_hit(g));
    sbx_tail_leave(t);
    for (i = 0; i < n; i++)
        sbx_segment_unref(segs[i]);
    sbx_tail_close(t);
    if (fd < 0)
        return;
    next = sbx_tail_open(fd, true, &refused);
    assert_true((next != NULL && !refused) || gate_hit(g));
    for (i = 0; next != NULL && (segs[0] = sbx_tail_adopt(next, 1)) != NULL; i++) {
        tail_check(segs[0], 1, 10);
        sbx_segment_unref(segs[0]);
    }
    assert_true(i == 20 || gate_hit(g));
    if (next != NULL)
        sbx_tail_close(next);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(gate_each(live_with_little_memory, NULL) > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_slots_run_out),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_extents),
        cmocka_unit_test(test_free_segments_are_used_again),
        cmocka_unit_test(test_references_keep_the_memory),
        cmocka_unit_test(test_private_memory),
        cmocka_unit_test(test_memory_that_may_not_grow),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_leave),
        cmocka_unit_test(test_read_that_did_not_happen),
        cmocka_unit_test(test_read_that_happened),
        cmocka_unit_test(test_read_that_was_completed),
        cmocka_unit_test(test_first_read_of_a_segment),
        cmocka_unit_test(test_half_appended),
        cmocka_unit_test(test_killed_at_any_moment),
        cmocka_unit_test(test_foreign_memory_is_refused),
        cmocka_unit_test(test_cut_memory),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
