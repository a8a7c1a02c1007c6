/* fuzz_ws.c - any bytes as what a client sends on a WebSocket.
 *
 * The first byte of the input chooses the pieces. Whole and in pieces: same events. And the way
 * round: the bytes as one message in masked frames with our own header writer, fragmented and with
 * pings in between, come back as they were. */
#undef NDEBUG
#include "proto/ws.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MESSAGE 5000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Events as text, so that two runs can be compared. */
struct record {
    uint8_t *p;
    size_t n, cap;
    uint16_t error;
};

static void record_put(struct record *r, const void *p, size_t n)
{
    if (r->cap - r->n < n) {
        r->cap = (r->cap + n) * 2;
        r->p = realloc(r->p, r->cap);
        assert(r->p != NULL);
    }
    if (n > 0)
        memcpy(r->p + r->n, p, n);
    r->n += n;
}

static void check_event(const struct sbx_ws_reader *r, enum sbx_ws_event event)
{
    struct sbx_utf8_state none = {.have = 0};
    if (event == SBX_WS_ERROR) {
        assert(r->close_code == 1002 || r->close_code == 1007 || r->close_code == 1009);
        assert(strlen(r->reason) > 0 && strlen(r->reason) <= 123);
        return;
    }
    assert(r->payload != NULL && r->close_code == 0);
    assert(r->op < SBX_WS_CLOSE || r->payload_len <= 125);
    assert(r->payload_len <= MAX_MESSAGE);
    if (r->op == SBX_WS_TEXT)
        assert(sbx_utf8_feed(&none, r->payload, r->payload_len) && sbx_utf8_at_boundary(&none));
    if (r->op == SBX_WS_CLOSE)
        assert(r->payload_len != 1);
}

static void record_event(struct record *to, const struct sbx_ws_reader *r, enum sbx_ws_event event)
{
    check_event(r, event);
    if (event == SBX_WS_ERROR) {
        to->error = r->close_code;
        return;
    }
    record_put(to, &r->op, 1);
    record_put(to, &r->payload_len, sizeof r->payload_len);
    record_put(to, r->payload, r->payload_len);
}

static void feed_copy(struct sbx_ws_reader *r, const uint8_t *p, size_t n, struct record *to)
{
    uint8_t *copy = malloc(n);
    size_t done = 0, used;
    assert(copy != NULL);
    memcpy(copy, p, n);
    while (done < n && to->error == 0) {
        enum sbx_ws_event event = sbx_ws_feed(r, copy + done, n - done, &used);
        assert(used <= n - done);
        done += used;
        if (event != SBX_WS_NEED_MORE)
            record_event(to, r, event);
        else
            assert(done == n);
        assert(r->message_len <= MAX_MESSAGE && r->message_cap <= MAX_MESSAGE * 2);
    }
    free(copy);
}

static struct record read_all(const uint8_t *p, size_t n, size_t step)
{
    struct sbx_ws_reader r;
    struct record out = {.p = NULL};
    size_t i;
    sbx_ws_reader_init(&r, MAX_MESSAGE);
    for (i = 0; i < n && out.error == 0; i += step)
        feed_copy(&r, p + i, n - i < step ? n - i : step, &out);
    sbx_ws_reader_deinit(&r);
    return out;
}

static void same_record(struct record a, struct record b)
{
    assert(a.error == b.error);
    assert(a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0));
    free(b.p);
}

static void put_frame(struct record *wire, unsigned first, const uint8_t *p, size_t n)
{
    uint8_t head[SBX_WS_MAX_HEADER], mask[4] = {(uint8_t)n, 0x5c, (uint8_t)first, 0xff};
    size_t i, len = sbx_ws_put_header(head, SBX_WS_BINARY, n);
    head[0] = (uint8_t)first;
    head[1] |= 0x80;
    record_put(wire, head, len);
    record_put(wire, mask, 4);
    for (i = 0; i < n; i++) {
        uint8_t byte = p[i] ^ mask[i % 4];
        record_put(wire, &byte, 1);
    }
}

static void want_event(struct record *want, uint8_t op, const uint8_t *p, size_t n)
{
    record_put(want, &op, 1);
    record_put(want, &n, sizeof n);
    record_put(want, p, n);
}

/* One message of all the bytes in fragments of `part`, with a ping before each. */
static void check_way_round(const uint8_t *p, size_t n, size_t part)
{
    struct record wire = {.p = NULL}, want = {.p = NULL};
    bool text = sbx_utf8_valid_prefix(p, n) == n;
    unsigned op = text ? SBX_WS_TEXT : SBX_WS_BINARY;
    size_t i = 0, len;
    do {
        len = n - i < part ? n - i : part;
        put_frame(&wire, 0x80 | SBX_WS_PING, p + i, len < 125 ? len : 125);
        want_event(&want, SBX_WS_PING, p + i, len < 125 ? len : 125);
        put_frame(&wire, (i == 0 ? op : SBX_WS_CONT) | (i + len == n ? 0x80 : 0), p + i, len);
        i += len;
    } while (i < n);
    want_event(&want, (uint8_t)op, p, n);
    same_record(want, read_all(wire.p, wire.n, wire.n));
    same_record(want, read_all(wire.p, wire.n, 1 + part % 13));
    free(want.p);
    free(wire.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record whole;
    size_t n;
    if (size < 2)
        return 0;
    n = size - 1;
    whole = read_all(data + 1, n, n);
    same_record(whole, read_all(data + 1, n, 1));
    same_record(whole, read_all(data + 1, n, 1 + data[0] % n));
    free(whole.p);
    if (n <= MAX_MESSAGE)
        check_way_round(data + 1, n, 1 + data[0] * 3u);
    return 0;
}
