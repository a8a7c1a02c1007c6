/* WebSocket frames. A case is a stream of client frames; it runs at once and byte by byte, in
 * copies that end at an unmapped page, and both ways must report the same events. */
#include "proto/ws.h"

#include "base/mem.h"
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LIMIT 200000u
#define FIN 0x80u

/* The bytes a client sends. */
static struct {
    uint8_t p[500000];
    size_t n;
} wire;

static void put(const void *p, size_t n)
{
    assert_true(wire.n + n <= sizeof wire.p);
    memcpy(wire.p + wire.n, p, n);
    wire.n += n;
}

static void put_masked(const void *p, size_t n)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    const uint8_t *from = p;
    size_t i;
    put(mask, 4);
    assert_true(wire.n + n <= sizeof wire.p);
    for (i = 0; i < n; i++)
        wire.p[wire.n++] = from[i] ^ mask[i % 4];
}

/* A frame with the first byte as given and the shortest length. */
static void put_frame(unsigned first, const void *p, size_t n)
{
    uint8_t head[SBX_WS_MAX_HEADER];
    size_t len = sbx_ws_put_header(head, SBX_WS_BINARY, n);
    head[0] = (uint8_t)first;
    head[1] |= 0x80;
    put(head, len);
    put_masked(p, n);
}

static void put_z(unsigned first, const char *z)
{
    put_frame(first, z, strlen(z));
}

/* What the reader reported: per event its op, length and payload; an error as 0xff and its code. */
struct record {
    uint8_t p[500000];
    size_t n;
    size_t at;        /* first byte not yet checked */
    const char *reason;
};
static struct record whole, pieces;

static void record_put(struct record *r, const void *p, size_t n)
{
    assert_true(r->n + n <= sizeof r->p);
    if (n > 0)
        memcpy(r->p + r->n, p, n);
    r->n += n;
}

static void record_event(struct record *to, enum sbx_ws_event event, const struct sbx_ws_reader *r)
{
    uint8_t tag = event == SBX_WS_ERROR ? 0xff : r->op;
    record_put(to, &tag, 1);
    if (event == SBX_WS_ERROR) {
        record_put(to, &r->close_code, sizeof r->close_code);
        to->reason = r->reason;
        return;
    }
    assert_non_null(r->payload);
    record_put(to, &r->payload_len, sizeof r->payload_len);
    record_put(to, r->payload, r->payload_len);
}

/* Feeds one piece until all of it is taken; false after an error. */
static bool feed_piece(struct sbx_ws_reader *r, const uint8_t *p, size_t n, struct record *to)
{
    size_t done = 0, used;
    while (done < n) {
        enum sbx_ws_event event = sbx_ws_feed(r, p + done, n - done, &used);
        assert_true(used <= n - done);
        done += used;
        if (event == SBX_WS_NEED_MORE)
            assert_int_equal(done, n);
        else
            record_event(to, event, r);
        if (event == SBX_WS_ERROR)
            return false;
    }
    return true;
}

static void feed_steps(size_t step, size_t limit, struct record *to)
{
    struct sbx_ws_reader r;
    size_t i = 0;
    bool going = true;
    to->n = to->at = 0;
    to->reason = NULL;
    sbx_ws_reader_init(&r, limit);
    while (going && i < wire.n) {
        size_t n = wire.n - i < step ? wire.n - i : step;
        uint8_t *copy = guard_copy(wire.p + i, n);
        going = feed_piece(&r, copy, n, to);
        guard_free(copy);
        i += n;
    }
    sbx_ws_reader_deinit(&r);
}

static void run_limit(size_t limit)
{
    static const size_t steps[] = {1, 2, 3, 7, 1000};
    size_t i;
    feed_steps(wire.n, limit, &whole);
    for (i = wire.n > 4000 ? 3 : 0; i < sizeof steps / sizeof *steps; i++) {
        feed_steps(steps[i], limit, &pieces);
        assert_int_equal(pieces.n, whole.n);
        assert_memory_equal(pieces.p, whole.p, whole.n);
        assert_ptr_equal(pieces.reason, whole.reason);
    }
    wire.n = 0;
}

static void run(void)
{
    run_limit(LIMIT);
}

static void saw_bytes(unsigned op, const void *p, size_t n)
{
    size_t len;
    assert_true(whole.at + 1 + sizeof len <= whole.n);
    assert_int_equal(whole.p[whole.at], op);
    memcpy(&len, whole.p + whole.at + 1, sizeof len);
    assert_int_equal(len, n);
    assert_memory_equal(whole.p + whole.at + 1 + sizeof len, p, n);
    whole.at += 1 + sizeof len + n;
}

static void saw(unsigned op, const char *z)
{
    saw_bytes(op, z, strlen(z));
}

static void saw_end(void)
{
    assert_int_equal(whole.at, whole.n);
}

static void saw_error(unsigned code)
{
    uint16_t got;
    assert_int_equal(whole.n - whole.at, 1 + sizeof got);
    assert_int_equal(whole.p[whole.at], 0xff);
    memcpy(&got, whole.p + whole.at + 1, sizeof got);
    assert_int_equal(got, code);
    assert_true(strlen(whole.reason) > 0);
}

/* The frames put so far are refused with the code, and nothing was reported before. */
static void refused(unsigned code)
{
    run();
    saw_error(code);
}

static void test_accept(void **state)
{
    char out[28];
    (void)state;
    /* The example of RFC 6455, 1.3. */
    sbx_ws_accept(SBX_STR("dGhlIHNhbXBsZSBub25jZQ=="), out);
    assert_memory_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28);
}

static bool key_ok(const char *key)
{
    size_t n = strlen(key);
    uint8_t *copy = guard_copy(key, n);
    bool ok = sbx_ws_key_ok((struct sbx_str){(char *)copy, n});
    guard_free(copy);
    return ok;
}

static void test_key(void **state)
{
    (void)state;
    assert_true(key_ok("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_true(key_ok("AAAAAAAAAAAAAAAAAAAAAA=="));
    assert_false(key_ok(""));
    assert_false(key_ok("dGhlIHNhbXBsZSBub25jZQ"));
    assert_false(key_ok("dGhlIHNhbXBsZSBub25jZQ= "));
    assert_false(key_ok("AAAAAAAAAAAAAAAAAAAAAAA="));
    assert_false(key_ok("AAAAAAAAAAAAAAAAAAAAAAAA"));
    assert_false(key_ok("AAAAAAAAAAAAAAAAAAAAAB=="));
    assert_false(key_ok("AAAAAAAAAAAAAAAAAAAAA-=="));
    assert_false(key_ok("AAAAAAAAAAAAAAAAAAAAAAAAAA=="));
}

static void check_header(enum sbx_ws_opcode op, uint64_t len, const void *want, size_t n)
{
    uint8_t out[SBX_WS_MAX_HEADER];
    assert_int_equal(sbx_ws_put_header(out, op, len), n);
    assert_memory_equal(out, want, n);
}

static void test_put_header(void **state)
{
    (void)state;
    check_header(SBX_WS_TEXT, 0, "\x81\x00", 2);
    check_header(SBX_WS_CLOSE, 125, "\x88\x7d", 2);
    check_header(SBX_WS_BINARY, 126, "\x82\x7e\x00\x7e", 4);
    check_header(SBX_WS_BINARY, 65535, "\x82\x7e\xff\xff", 4);
    check_header(SBX_WS_BINARY, 65536, "\x82\x7f\0\0\0\0\0\x01\0\0", 10);
    check_header(SBX_WS_BINARY, INT64_MAX, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10);
}

static void test_messages(void **state)
{
    (void)state;
    put("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11); /* "Hello" of RFC 6455, 5.7 */
    put_z(FIN | SBX_WS_TEXT, "");
    put_z(FIN | SBX_WS_BINARY, "\xff\xfe");
    put_z(FIN | SBX_WS_PING, "p");
    put_z(FIN | SBX_WS_PONG, "");
    put_z(FIN | SBX_WS_BINARY, "");
    run();
    saw(SBX_WS_TEXT, "Hello");
    saw(SBX_WS_TEXT, "");
    saw(SBX_WS_BINARY, "\xff\xfe");
    saw(SBX_WS_PING, "p");
    saw(SBX_WS_PONG, "");
    saw(SBX_WS_BINARY, "");
    saw_end();
}

static void test_lengths(void **state)
{
    static const size_t lengths[] = {1,   7,   8,   9,   125,   126,   127,
                                     255, 256, 257, 65535, 65536, 150001};
    static uint8_t data[150001];
    size_t i;
    (void)state;
    for (i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    for (i = 0; i < sizeof lengths / sizeof *lengths; i++)
        put_frame(FIN | SBX_WS_BINARY, data, lengths[i]);
    run();
    for (i = 0; i < sizeof lengths / sizeof *lengths; i++)
        saw_bytes(SBX_WS_BINARY, data, lengths[i]);
    saw_end();
}

static void test_fragments(void **state)
{
    (void)state;
    put_z(SBX_WS_TEXT, "a");
    put_z(FIN | SBX_WS_PING, "in between");
    put_z(SBX_WS_CONT, "");
    put_z(SBX_WS_CONT, "bcd");
    put_z(FIN | SBX_WS_PONG, "");
    put_z(FIN | SBX_WS_CONT, "e");
    put_z(SBX_WS_BINARY, "");
    put_z(FIN | SBX_WS_CONT, "");
    put_z(FIN | SBX_WS_TEXT, "next");
    run();
    saw(SBX_WS_PING, "in between");
    saw(SBX_WS_PONG, "");
    saw(SBX_WS_TEXT, "abcde");
    saw(SBX_WS_BINARY, "");
    saw(SBX_WS_TEXT, "next");
    saw_end();
}

static void test_fragment_order(void **state)
{
    (void)state;
    put_z(FIN | SBX_WS_CONT, "a");
    refused(1002);
    put_z(SBX_WS_CONT, "a");
    refused(1002);
    put_z(SBX_WS_TEXT, "a");
    put_z(FIN | SBX_WS_TEXT, "b");
    refused(1002);
    put_z(SBX_WS_BINARY, "a");
    put_z(SBX_WS_BINARY, "b");
    refused(1002);
    put_z(SBX_WS_TEXT, "a");
    put_z(FIN | SBX_WS_CONT, "b");
    put_z(FIN | SBX_WS_CONT, "c");
    run();
    saw(SBX_WS_TEXT, "ab");
    saw_error(1002);
}

static void test_unmasked(void **state)
{
    (void)state;
    put("\x81\x01x", 3);
    refused(1002);
    put("\x81\x00", 2);
    refused(1002);
    put("\x88\x02\x03\xe8", 4);
    refused(1002);
}

static void test_reserved(void **state)
{
    unsigned op, bit;
    (void)state;
    for (bit = 0x10; bit <= 0x40; bit <<= 1) {
        put_z(FIN | bit | SBX_WS_TEXT, "a");
        refused(1002);
        put_z(FIN | bit | SBX_WS_PING, "a");
        refused(1002);
    }
    for (op = 3; op < 16; op++) {
        if (op >= SBX_WS_CLOSE && op <= SBX_WS_PONG)
            continue;
        put_z(FIN | op, "a");
        refused(1002);
    }
}

static void test_control_frames(void **state)
{
    static const uint8_t data[126] = {'x'};
    unsigned op;
    (void)state;
    for (op = SBX_WS_CLOSE; op <= SBX_WS_PONG; op++) {
        put_z(op, "");
        refused(1002);
        put_frame(FIN | op, data, 126);
        refused(1002);
    }
    put_frame(FIN | SBX_WS_PING, data, 125);
    run();
    saw_bytes(SBX_WS_PING, data, 125);
    saw_end();
}

static void test_length_encoding(void **state)
{
    (void)state;
    put("\x82\xfe\x00\x7d", 4);
    refused(1002);
    put("\x82\xfe\x00\x00", 4);
    refused(1002);
    put("\x82\xff\0\0\0\0\0\0\xff\xff", 10);
    refused(1002);
    put("\x82\xff\0\0\0\0\0\0\0\0", 10);
    refused(1002);
    put("\x82\xff\x80\0\0\0\0\0\0\0", 10);
    refused(1002);
    put("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10);
    refused(1002);
    put("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 10);
    refused(1009);
}

static void test_text(void **state)
{
    (void)state;
    put_z(FIN | SBX_WS_TEXT, "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    put_z(SBX_WS_TEXT, "\xf0\x9f");
    put_z(SBX_WS_CONT, "");
    put_z(FIN | SBX_WS_PING, "\xff");
    put_z(SBX_WS_CONT, "\x98");
    put_z(FIN | SBX_WS_CONT, "\x80!");
    run();
    saw(SBX_WS_TEXT, "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    saw(SBX_WS_PING, "\xff");
    saw(SBX_WS_TEXT, "\xf0\x9f\x98\x80!");
    saw_end();
}

static void test_bad_text(void **state)
{
    static const char *const bad[] = {"\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "a\xff", "\xe2\x82", "abcdefghijklmnop\xc3"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_z(FIN | SBX_WS_TEXT, bad[i]);
        refused(1007);
    }
    put_z(SBX_WS_TEXT, "\xe2\x82");
    put_z(FIN | SBX_WS_CONT, "");
    refused(1007);
    put_z(SBX_WS_TEXT, "\xe2\x82");
    put_z(FIN | SBX_WS_CONT, "a");
    refused(1007);
    /* An unfinished character must not leak into the next message. */
    put_z(FIN | SBX_WS_TEXT, "\xc3\xa9");
    put_z(FIN | SBX_WS_TEXT, "\xa9");
    run();
    saw(SBX_WS_TEXT, "\xc3\xa9");
    saw_error(1007);
}

/* Bad text is told when it comes, not when its message ends. */
static void test_bad_text_fails_fast(void **state)
{
    (void)state;
    put_z(SBX_WS_TEXT, "abc\xff");
    refused(1007);
    put_frame(FIN | SBX_WS_TEXT, "a\xff" "bcdefgh", 9);
    wire.n -= 7;
    refused(1007);
    put_z(SBX_WS_TEXT, "\xed\xa0");
    refused(1007);
}

static void put_close(unsigned code, const char *reason)
{
    uint8_t payload[125] = {(uint8_t)(code >> 8), (uint8_t)code};
    size_t n = strlen(reason);
    memcpy(payload + 2, reason, n);
    put_frame(FIN | SBX_WS_CLOSE, payload, 2 + n);
}

static void test_close(void **state)
{
    (void)state;
    put_z(FIN | SBX_WS_CLOSE, "");
    run();
    saw(SBX_WS_CLOSE, "");
    saw_end();
    put_close(1000, "bye \xe2\x82\xac");
    run();
    saw(SBX_WS_CLOSE, "\x03\xe8" "bye \xe2\x82\xac");
    saw_end();
    put_z(FIN | SBX_WS_CLOSE, "x");
    refused(1002);
    /* What an earlier frame left in the place of the second byte does not make a code of it. */
    put_z(FIN | SBX_WS_PING, "x\xe8");
    put_z(FIN | SBX_WS_CLOSE, "\x03");
    run();
    saw(SBX_WS_PING, "x\xe8");
    saw_error(1002);
    put_close(1000, "\xff");
    refused(1007);
    put_close(1000, "abc\xe2\x82");
    refused(1007);
}

static bool code_may_be_sent(unsigned code)
{
    if (code < 1000 || code > 4999)
        return false;
    if (code >= 1015 && code <= 2999)
        return false;
    return code != 1004 && code != 1005 && code != 1006;
}

static void test_close_codes(void **state)
{
    static const unsigned codes[] = {0,    1,    999,  1000, 1001, 1002, 1003, 1004, 1005, 1006,
                                     1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016,
                                     1100, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65535};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof codes / sizeof *codes; i++) {
        put_close(codes[i], "");
        run();
        if (code_may_be_sent(codes[i]))
            assert_int_equal(whole.p[0], SBX_WS_CLOSE);
        else
            saw_error(1002);
    }
}

static void test_message_limit(void **state)
{
    static const uint8_t data[2000];
    (void)state;
    put_frame(FIN | SBX_WS_BINARY, data, 1000);
    put_frame(SBX_WS_BINARY, data, 600);
    put_frame(FIN | SBX_WS_PING, data, 100);
    put_frame(FIN | SBX_WS_CONT, data, 400);
    put_frame(FIN | SBX_WS_BINARY, data, 1000);
    put_frame(FIN | SBX_WS_BINARY, data, 1001);
    run_limit(1000);
    saw_bytes(SBX_WS_BINARY, data, 1000);
    saw_bytes(SBX_WS_PING, data, 100);
    saw_bytes(SBX_WS_BINARY, data, 1000);
    saw_bytes(SBX_WS_BINARY, data, 1000);
    saw_error(1009);
    put_frame(SBX_WS_BINARY, data, 600);
    put_frame(FIN | SBX_WS_CONT, data, 401);
    run_limit(1000);
    saw_error(1009);
    put_frame(FIN | SBX_WS_BINARY, data, 1);
    run_limit(0);
    saw_error(1009);
    put_z(FIN | SBX_WS_TEXT, "");
    run_limit(0);
    saw(SBX_WS_TEXT, "");
}

/* The limit is seen at the header: not a byte of the payload is waited for. */
static void test_message_limit_at_header(void **state)
{
    (void)state;
    put("\x82\xfe\x03\xe9", 4);
    run_limit(1000);
    saw_error(1009);
}

static void test_error_is_final(void **state)
{
    struct sbx_ws_reader r;
    size_t used;
    (void)state;
    sbx_ws_reader_init(&r, LIMIT);
    put("\xc1", 1);
    assert_int_equal(sbx_ws_feed(&r, wire.p, 1, &used), SBX_WS_ERROR);
    wire.n = 0;
    put_z(FIN | SBX_WS_TEXT, "a");
    assert_int_equal(sbx_ws_feed(&r, wire.p, wire.n, &used), SBX_WS_ERROR);
    assert_int_equal(used, 0);
    assert_int_equal(r.close_code, 1002);
    wire.n = 0;
    sbx_ws_reader_deinit(&r);
}

static int gate_countdown(void *ctx)
{
    int *left = ctx;
    return (*left)-- > 0;
}

/* Each allocation fails once: the answer is 1011, and what was held is given back. */
static void test_out_of_memory(void **state)
{
    static const uint8_t data[5000];
    int allowed;
    (void)state;
    for (allowed = 0; allowed < 3; allowed++) {
        struct sbx_ws_reader r;
        int left = allowed;
        put_z(FIN | SBX_WS_PING, "needs no memory");
        put_frame(SBX_WS_BINARY, data, 200);
        put_frame(SBX_WS_CONT, data, 1000);
        put_frame(FIN | SBX_WS_CONT, data, 5000);
        sbx_ws_reader_init(&r, LIMIT);
        whole.n = whole.at = 0;
        sbx_mem_set_gate(gate_countdown, &left);
        assert_false(feed_piece(&r, wire.p, wire.n, &whole));
        sbx_mem_set_gate(NULL, NULL);
        saw(SBX_WS_PING, "needs no memory");
        saw_error(1011);
        assert_int_equal(left, -1);
        sbx_ws_reader_deinit(&r);
        assert_null(r.message);
        wire.n = 0;
    }
}

/* A length that is only announced costs nothing. */
static void test_memory_follows_bytes(void **state)
{
    struct sbx_ws_reader r;
    size_t used;
    (void)state;
    sbx_ws_reader_init(&r, SIZE_MAX / 4);
    put("\x82\xff\0\0\0\x40\0\0\0\0mask", 14);
    assert_int_equal(sbx_ws_feed(&r, wire.p, wire.n, &used), SBX_WS_NEED_MORE);
    assert_int_equal(r.message_cap, 0);
    assert_int_equal(sbx_ws_feed(&r, wire.p, 10, &used), SBX_WS_NEED_MORE);
    assert_true(r.message_cap <= 4096);
    wire.n = 0;
    sbx_ws_reader_deinit(&r);
}

static void test_buffer_is_reused_and_given_back(void **state)
{
    static const uint8_t data[100000];
    struct sbx_ws_reader r;
    const uint8_t *small;
    size_t used;
    (void)state;
    sbx_ws_reader_init(&r, LIMIT);
    put_z(FIN | SBX_WS_BINARY, "ab");
    assert_int_equal(sbx_ws_feed(&r, wire.p, wire.n, &used), SBX_WS_MESSAGE);
    small = r.payload;
    assert_int_equal(sbx_ws_feed(&r, wire.p, wire.n, &used), SBX_WS_MESSAGE);
    assert_ptr_equal(r.payload, small);
    wire.n = 0;
    put_frame(SBX_WS_BINARY, data, sizeof data);
    assert_int_equal(sbx_ws_feed(&r, wire.p, wire.n, &used), SBX_WS_NEED_MORE);
    wire.n = 0;
    put_z(FIN | SBX_WS_CONT, "");
    assert_int_equal(sbx_ws_feed(&r, wire.p, wire.n, &used), SBX_WS_MESSAGE);
    assert_memory_equal(r.payload, data, sizeof data);
    assert_int_equal(sbx_ws_feed(&r, wire.p, 0, &used), SBX_WS_NEED_MORE);
    assert_int_equal(r.message_cap, 0);
    wire.n = 0;
    sbx_ws_reader_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_put_header),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_fragment_order),
        cmocka_unit_test(test_unmasked),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_control_frames),
        cmocka_unit_test(test_length_encoding),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_bad_text_fails_fast),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_close_codes),
        cmocka_unit_test(test_message_limit),
        cmocka_unit_test(test_message_limit_at_header),
        cmocka_unit_test(test_error_is_final),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_memory_follows_bytes),
        cmocka_unit_test(test_buffer_is_reused_and_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
