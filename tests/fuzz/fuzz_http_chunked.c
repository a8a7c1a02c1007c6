/* fuzz_http_chunked.c - any bytes as a chunked body.
 *
 * The first byte of the input chooses the pieces. Whole and in pieces: same data, same end, same
 * verdict. And the way round: the bytes as data, cut into chunks with extensions and trailers, come
 * back as they were. */
#undef NDEBUG
#include "proto/http_parse.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct body {
    char *data;
    size_t n;
    size_t used;
    bool bad;
    bool done;
};

static void feed_copy(struct sbx_http_chunked *c, const char *in, size_t n, struct body *b)
{
    const char *data;
    size_t len;
    char *copy = malloc(n);
    long took;
    assert(copy != NULL);
    memcpy(copy, in, n);
    took = sbx_http_chunked_feed(c, copy, n, &data, &len);
    assert(took >= -1 && took <= (long)n);
    b->bad = took < 0;
    if (took >= 0) {
        assert(took > 0);
        assert(data >= copy && data + len <= copy + took);
        memcpy(b->data + b->n, data, len);
        b->n += len;
        b->used += (size_t)took;
    }
    free(copy);
}

static struct body decode(const char *in, size_t n, size_t step)
{
    struct sbx_http_chunked c;
    struct body b = {.data = malloc(n + 1)};
    assert(b.data != NULL);
    sbx_http_chunked_init(&c);
    while (b.used < n && !b.bad && c.state != SBX_HTTP_CHUNK_DONE)
        feed_copy(&c, in + b.used, n - b.used < step ? n - b.used : step, &b);
    b.done = c.state == SBX_HTTP_CHUNK_DONE;
    assert(b.n <= b.used);
    assert(!b.done || (b.used >= 5 && memcmp(in + b.used - 2, "\r\n", 2) == 0));
    return b;
}

static void check_step(const struct body *whole, const char *in, size_t n, size_t step)
{
    struct body b = decode(in, n, step);
    assert(b.bad == whole->bad);
    assert(b.done == whole->done);
    assert(b.bad || b.used == whole->used);
    assert(b.bad || (b.n == whole->n && memcmp(b.data, whole->data, b.n) == 0));
    free(b.data);
}

static void check_way_round(const char *in, size_t n, size_t step)
{
    char *out = malloc(n * 16 + 128);
    size_t at = 0, i, part;
    struct body b;
    assert(out != NULL);
    for (i = 0; i < n; i += part) {
        const char *ext = i == 0 && step % 2 ? ";a=\"b\"" : "";
        part = n - i < step ? n - i : step;
        at += (size_t)sprintf(out + at, step % 3 ? "%zx%s\r\n" : "%zX%s\r\n", part, ext);
        memcpy(out + at, in + i, part);
        at += part;
        at += (size_t)sprintf(out + at, "\r\n");
    }
    at += (size_t)sprintf(out + at, "0\r\n%s\r\n", step % 2 ? "X-Sum: 1\r\n" : "");
    memcpy(out + at, "GET", 3);
    b = decode(out, at + 3, 1 + step % 61);
    assert(b.done && !b.bad && b.used == at);
    assert(b.n == n && memcmp(b.data, in, n) == 0);
    free(b.data);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *in;
    size_t n;
    struct body whole;
    if (size < 2)
        return 0;
    in = (const char *)data + 1;
    n = size - 1;
    whole = decode(in, n, n);
    check_step(&whole, in, n, 1);
    check_step(&whole, in, n, 1 + data[0] % n);
    free(whole.data);
    check_way_round(in, n, 1 + data[0]);
    return 0;
}
