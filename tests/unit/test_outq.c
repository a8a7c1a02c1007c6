/* The output queue: whatever is queued comes out once, in order, byte for byte. */
#include "net/outq.h"

#include "base/list.h"
#include "base/mem.h"
#include "gate.h"
#include "os/fd.h"
#include "random.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A stream whose peer takes what `takes` allows, in pieces. */
struct fake {
    struct sbx_stream stream;
    size_t takes;      /* in all, until the next -EAGAIN */
    size_t piece;      /* at most, in one writev */
    ssize_t fails;     /* a negative errno instead */
    uint64_t received; /* checked against pattern_at */
    unsigned calls;
};

static ssize_t fake_writev(struct sbx_stream *s, const struct iovec *iov, int n)
{
    struct fake *f = SBX_LIST_OF(s, struct fake, stream);
    size_t took = 0;
    int i;
    f->calls++;
    assert_true(n > 0);
    if (f->fails < 0)
        return f->fails;
    if (f->takes == 0)
        return -EAGAIN;
    for (i = 0; i < n; i++) {
        const uint8_t *p = iov[i].iov_base;
        size_t k;
        assert_true(iov[i].iov_len > 0);
        for (k = 0; k < iov[i].iov_len && took < f->piece && f->takes > 0; k++) {
            assert_int_equal(p[k], pattern_at(f->received));
            f->received++;
            f->takes--;
            took++;
        }
    }
    return (ssize_t)took;
}

static void fake_init(struct fake *f)
{
    static const struct sbx_stream_ops ops = {.writev = fake_writev};
    *f = (struct fake){.stream = {.ops = &ops}, .takes = SIZE_MAX, .piece = SIZE_MAX};
}

static void fill(uint8_t *p, size_t n, uint64_t at)
{
    size_t i;
    for (i = 0; i < n; i++)
        p[i] = pattern_at(at + i);
}

static void add_copy(struct sbx_outq *q, size_t n, uint64_t at)
{
    uint8_t *p = malloc(n + 1);
    fill(p, n, at);
    sbx_outq_add_copy(q, p, n);
    free(p);
}

static void add_blob(struct sbx_outq *q, size_t n, uint64_t at)
{
    struct sbx_blob *b = sbx_blob_new(n + 1);
    fill(b->data, n, at);
    b->len = n;
    sbx_outq_add_blob(q, b, b->data, n / 2);
    sbx_outq_add_blob(q, b, b->data + n / 2, n - n / 2);
    sbx_blob_unref(b);
}

static void add_buf(struct sbx_outq *q, size_t n, uint64_t at)
{
    struct sbx_buf b;
    uint8_t *p;
    sbx_buf_init(&b);
    p = sbx_buf_reserve(&b, n + 7);
    fill(p + 7, n, at);
    sbx_buf_commit(&b, n + 7);
    sbx_buf_consume(&b, 7);
    sbx_outq_add_buf(q, &b);
    assert_int_equal(sbx_buf_len(&b), 0);
    sbx_buf_deinit(&b);
}

static void test_random_mix(void **state)
{
    struct random r = {4711};
    struct sbx_outq q;
    struct fake f;
    uint64_t queued = 0;
    unsigned i;
    (void)state;
    sbx_outq_init(&q);
    fake_init(&f);
    for (i = 0; i < 1500; i++) {
        static void (*const add[])(struct sbx_outq *, size_t, uint64_t) = {add_copy, add_blob,
                                                                           add_buf};
        size_t n = random_below(&r, random_below(&r, 4) == 0 ? 30000 : 300);
        add[random_below(&r, 3)](&q, n, queued);
        queued += n;
        assert_int_equal(q.bytes, queued - f.received);
        if (random_below(&r, 3) == 0) {
            uint64_t before = f.received;
            ssize_t put;
            f.takes = random_below(&r, 40000);
            f.piece = 1 + random_below(&r, 20000);
            put = sbx_outq_write(&q, &f.stream, SIZE_MAX);
            assert_int_equal(put, f.received - before);
        }
    }
    f.takes = f.piece = SIZE_MAX;
    assert_true(sbx_outq_write(&q, &f.stream, SIZE_MAX) >= 0);
    assert_int_equal(f.received, queued);
    assert_int_equal(q.bytes, 0);
    assert_int_equal(q.count, 0);
    assert_false(q.oom);
    sbx_outq_deinit(&q);
}

static void test_one_byte_at_a_time(void **state)
{
    struct sbx_outq q;
    struct fake f;
    unsigned i;
    (void)state;
    sbx_outq_init(&q);
    fake_init(&f);
    f.piece = 1;
    for (i = 0; i < 10; i++) {
        add_copy(&q, 100, i * 6100);
        add_blob(&q, 5000, i * 6100 + 100);
        add_buf(&q, 1000, i * 6100 + 5100);
    }
    assert_int_equal(sbx_outq_write(&q, &f.stream, SIZE_MAX), 61000);
    sbx_outq_deinit(&q);
}

static void test_budget(void **state)
{
    struct sbx_outq q;
    struct fake f;
    (void)state;
    sbx_outq_init(&q);
    fake_init(&f);
    f.piece = 1000;
    add_copy(&q, 100000, 0);
    assert_in_range(sbx_outq_write(&q, &f.stream, 5000), 5000, 6000);
    assert_in_range(sbx_outq_write(&q, &f.stream, 1), 1, 1000);
    sbx_outq_deinit(&q);
}

static void test_errors(void **state)
{
    struct sbx_outq q;
    struct fake f;
    (void)state;
    sbx_outq_init(&q);
    fake_init(&f);
    assert_int_equal(sbx_outq_write(&q, &f.stream, SIZE_MAX), 0);
    assert_int_equal(f.calls, 0);
    add_copy(&q, 10, 0);
    f.takes = 0;
    assert_int_equal(sbx_outq_write(&q, &f.stream, SIZE_MAX), 0);
    f.fails = -EPIPE;
    assert_int_equal(sbx_outq_write(&q, &f.stream, SIZE_MAX), -EPIPE);
    assert_int_equal(q.bytes, 10);
    sbx_outq_deinit(&q);
}

/* Many small pieces are few items; a large buffer and a large blob are not copied. */
static void test_what_is_copied(void **state)
{
    struct sbx_blob *blob = sbx_blob_new(10000);
    struct sbx_outq q;
    struct sbx_buf b;
    const uint8_t *mem;
    unsigned i;
    (void)state;
    sbx_outq_init(&q);
    for (i = 0; i < 1000; i++)
        add_copy(&q, 10, i * 10);
    assert_true(q.count < 6);
    sbx_buf_init(&b);
    memset(sbx_buf_reserve(&b, 10000), 0, 10000);
    sbx_buf_commit(&b, 10000);
    mem = b.mem;
    sbx_outq_add_buf(&q, &b);
    assert_null(b.mem);
    assert_ptr_equal(q.items[(q.head + q.count - 1) % q.cap].p, mem);
    memset(blob->data, 0, 10000);
    blob->len = 10000;
    sbx_outq_add_blob(&q, blob, blob->data, 10000);
    assert_int_equal(blob->refs, 2);
    assert_int_equal(q.bytes, 30000);
    sbx_outq_deinit(&q);
    assert_int_equal(blob->refs, 1);
    sbx_blob_unref(blob);
}

/* The log goes on appending to a blob whose beginning is queued, so a copy that follows must not go
 * into the room that is left there. */
static void test_a_shared_blob_is_not_written_to(void **state)
{
    struct sbx_blob *blob = sbx_blob_new(20000);
    struct sbx_outq q;
    struct fake f;
    (void)state;
    sbx_outq_init(&q);
    fake_init(&f);
    fill(blob->data, 5000, 0);
    blob->len = 5000;
    sbx_outq_add_blob(&q, blob, blob->data, 5000);
    add_copy(&q, 100, 5000);
    assert_int_equal(blob->len, 5000);
    memset(blob->data + 5000, 'n', 100);
    blob->len = 5100;
    assert_int_equal(sbx_outq_write(&q, &f.stream, SIZE_MAX), 5100);
    sbx_outq_deinit(&q);
    sbx_blob_unref(blob);
}

static void test_through_a_socket(void **state)
{
    static uint8_t in[65536];
    struct sbx_stream s;
    struct sbx_outq q;
    uint64_t queued = 0, got = 0;
    int fds[2];
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(sbx_fd_set_nonblock(fds[0]), 0);
    assert_int_equal(sbx_fd_set_nonblock(fds[1]), 0);
    sbx_stream_init_plain(&s, fds[0]);
    sbx_outq_init(&q);
    for (; queued < 3000000; queued += 30000)
        (queued % 60000 == 0 ? add_blob : add_buf)(&q, 30000, queued);
    while (got < queued) {
        ssize_t n, i;
        assert_true(sbx_outq_write(&q, &s, 1u << 20) >= 0);
        n = sbx_fd_read(fds[1], in, sizeof in);
        assert_true(n > 0 || n == -EAGAIN);
        for (i = 0; i < n; i++, got++)
            if (in[i] != pattern_at(got))
                fail_msg("differs at %llu", (unsigned long long)got);
    }
    (void)close(fds[1]);
    add_copy(&q, 10, 0);
    assert_int_equal(sbx_outq_write(&q, &s, 100), -EPIPE);
    sbx_outq_deinit(&q);
    s.ops->close(&s);
    assert_int_equal(s.fd, -1);
}

/* --- out of memory --- */

/* What lives for ever is neither copied nor freed; a little of it is not worth a view. */
static void test_what_lasts(void **state)
{
    static uint8_t bytes[12000];
    struct sbx_outq q;
    struct fake f;
    (void)state;
    fill(bytes, sizeof bytes, 10);
    sbx_outq_init(&q);
    fake_init(&f);
    add_copy(&q, 10, 0);
    sbx_outq_add_lasting(&q, bytes, 10000);
    assert_int_equal(q.count, 2);
    assert_ptr_equal(q.items[1].p, bytes);
    sbx_outq_add_lasting(&q, bytes + 10000, 2000);
    sbx_outq_add_lasting(&q, bytes, 0);
    assert_int_equal(q.bytes, 12010);
    add_copy(&q, 5, 12010);
    f.piece = 7000;
    assert_int_equal(sbx_outq_write(&q, &f.stream, SIZE_MAX), 12015);
    assert_int_equal(f.received, 12015);
    sbx_outq_add_lasting(&q, bytes, 5000);
    sbx_outq_deinit(&q);
}

static void queue_with_little_memory(void *ctx, const struct gate *g)
{
    struct sbx_blob *blob = ctx;
    struct sbx_outq q;
    struct sbx_buf b;
    unsigned i;
    sbx_outq_init(&q);
    sbx_buf_init(&b);
    for (i = 0; i < 8; i++) {
        sbx_outq_add_copy(&q, "small", 5);
        sbx_outq_add_blob(&q, blob, blob->data, blob->len);
        (void)sbx_buf_reserve(&b, 5000);
        if (!b.oom)
            sbx_buf_commit(&b, 5000);
        sbx_outq_add_buf(&q, &b);
    }
    assert_int_equal(q.oom, gate_hit(g));
    if (!q.oom)
        assert_int_equal(q.bytes, 8 * (5 + blob->len + 5000));
    sbx_buf_deinit(&b);
    sbx_outq_deinit(&q);
    assert_int_equal(blob->refs, 1);
}

static void test_out_of_memory(void **state)
{
    struct sbx_blob *blob = sbx_blob_new(4000);
    (void)state;
    memset(blob->data, 1, 4000);
    blob->len = 4000;
    assert_true(gate_each(queue_with_little_memory, blob) > 10);
    sbx_blob_unref(blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_mix),
        cmocka_unit_test(test_one_byte_at_a_time),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_what_is_copied),
        cmocka_unit_test(test_a_shared_blob_is_not_written_to),
        cmocka_unit_test(test_what_lasts),
        cmocka_unit_test(test_through_a_socket),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
