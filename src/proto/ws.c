/* ws.c - see ws.h.
 *
 * Receiving is two states: collecting the 2 to 14 bytes of a header, and taking payload. A header
 * is judged byte by byte, so what a peer is told does not depend on how its bytes were cut; a
 * message over the limit is refused at its header, before a byte of it is stored. Memory follows
 * the bytes that have come, never the length that was announced.
 *
 * Payload is copied once, unmasked on the way. A control frame has a place of its own and may come
 * between the fragments of a message without touching it.
 *
 * Invariants: message_len <= max_message; `left` and `taken` belong to the frame being read and
 * count only while in_payload; utf8 covers exactly message[0..message_len) of a text message;
 * once close_code is set the reader answers with the same error for ever, since the place of the
 * next frame is unknown. */
#include "proto/ws.h"

#include "base/base64.h"
#include "base/mem.h"
#include "base/sha1.h"

#include <assert.h>
#include <string.h>

#define WS_FIN 0x80u
#define WS_RSV 0x70u
#define WS_OPCODE 0x0fu
#define WS_IS_CONTROL 0x08u
#define WS_MASKED 0x80u
#define WS_LEN7 0x7fu
#define WS_LEN_16BIT 126u
#define WS_LEN_64BIT 127u
#define WS_MAX_CONTROL 125u

#define WS_KEY_LEN 24u       /* base64 of 16 bytes */
#define WS_FIRST_BUFFER 256u /* a typed key is a message, too */
#define WS_KEPT_BUFFER (64u * 1024u)

size_t sbx_ws_put_header(uint8_t out[SBX_WS_MAX_HEADER], enum sbx_ws_opcode op,
                         uint64_t payload_len)
{
    size_t i, extra = payload_len < WS_LEN_16BIT ? 0 : payload_len <= UINT16_MAX ? 2 : 8;
    assert(payload_len <= INT64_MAX);
    assert((op & WS_IS_CONTROL) == 0 || payload_len <= WS_MAX_CONTROL);
    out[0] = (uint8_t)(WS_FIN | op);
    out[1] = (uint8_t)(extra == 0 ? payload_len : extra == 2 ? WS_LEN_16BIT : WS_LEN_64BIT);
    for (i = 0; i < extra; i++)
        out[2 + i] = (uint8_t)(payload_len >> 8 * (extra - 1 - i));
    return 2 + extra;
}

void sbx_ws_accept(struct sbx_str key, char out[28])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[WS_KEY_LEN + sizeof guid - 1];
    uint8_t digest[20];
    assert(key.n == WS_KEY_LEN);
    memcpy(text, key.p, WS_KEY_LEN);
    memcpy(text + WS_KEY_LEN, guid, sizeof guid - 1);
    sbx_sha1(text, sizeof text, digest);
    sbx_base64_encode(digest, sizeof digest, out);
}

bool sbx_ws_key_ok(struct sbx_str key)
{
    uint8_t nonce[WS_KEY_LEN / 4 * 3];
    size_t len, at;
    return key.n == WS_KEY_LEN &&
           sbx_base64_decode(key.p, key.n, nonce, &len, &at) == SBX_BASE64_OK && len == 16;
}

void sbx_ws_reader_init(struct sbx_ws_reader *r, size_t max_message)
{
    *r = (struct sbx_ws_reader){.max_message = max_message};
}

void sbx_ws_reader_deinit(struct sbx_ws_reader *r)
{
    sbx_mem_free(r->message);
    *r = (struct sbx_ws_reader){.max_message = r->max_message};
}

static bool ws_fail(struct sbx_ws_reader *r, uint16_t code, const char *reason)
{
    r->close_code = code;
    r->reason = reason;
    return false;
}

static bool ws_violation(struct sbx_ws_reader *r, const char *reason)
{
    return ws_fail(r, 1002, reason);
}

static bool ws_bad_text(struct sbx_ws_reader *r)
{
    return ws_fail(r, 1007, "text is not valid UTF-8");
}

static bool ws_is_control(const struct sbx_ws_reader *r)
{
    return (r->opcode & WS_IS_CONTROL) != 0;
}

/* --- header --- */

static bool ws_on_first_byte(struct sbx_ws_reader *r, uint8_t byte)
{
    r->fin = (byte & WS_FIN) != 0;
    r->opcode = byte & WS_OPCODE;
    if ((byte & WS_RSV) != 0)
        return ws_violation(r, "a reserved bit is set");
    switch (r->opcode) {
    case SBX_WS_CONT:
        return r->message_op != 0 || ws_violation(r, "a continuation outside of a message");
    case SBX_WS_TEXT:
    case SBX_WS_BINARY:
        return r->message_op == 0 || ws_violation(r, "a new message inside of a message");
    case SBX_WS_CLOSE:
    case SBX_WS_PING:
    case SBX_WS_PONG:
        return r->fin || ws_violation(r, "a fragmented control frame");
    default:
        return ws_violation(r, "an unknown opcode");
    }
}

static bool ws_on_second_byte(struct sbx_ws_reader *r, uint8_t byte)
{
    if ((byte & WS_MASKED) == 0)
        return ws_violation(r, "a frame without mask");
    if (ws_is_control(r) && (byte & WS_LEN7) > WS_MAX_CONTROL)
        return ws_violation(r, "a control frame longer than 125 bytes");
    return true;
}

/* Bytes of the extended length, as the second byte announces them. */
static size_t ws_extra_len(const struct sbx_ws_reader *r)
{
    unsigned len7 = r->head[1] & WS_LEN7;
    return len7 == WS_LEN_64BIT ? 8 : len7 == WS_LEN_16BIT ? 2 : 0;
}

static uint64_t ws_frame_len(const struct sbx_ws_reader *r)
{
    size_t i, extra = ws_extra_len(r);
    uint64_t len = 0;
    if (extra == 0)
        return r->head[1] & WS_LEN7;
    for (i = 0; i < extra; i++)
        len = len << 8 | r->head[2 + i];
    return len;
}

/* The length is complete. */
static bool ws_on_length(struct sbx_ws_reader *r)
{
    size_t extra = ws_extra_len(r);
    uint64_t len = ws_frame_len(r);
    if (len > INT64_MAX)
        return ws_violation(r, "a length of more than 63 bits");
    if ((extra == 2 && len < WS_LEN_16BIT) || (extra == 8 && len <= UINT16_MAX))
        return ws_violation(r, "a length that is not written in the shortest form");
    if (!ws_is_control(r) && len > r->max_message - (r->message_op != 0 ? r->message_len : 0))
        return ws_fail(r, 1009, "the message is longer than the limit");
    r->left = len;
    return true;
}

/* The mask is complete: payload follows. */
static void ws_begin_payload(struct sbx_ws_reader *r)
{
    memcpy(r->mask, r->head + r->head_have - 4, 4);
    r->head_have = 0;
    r->taken = 0;
    r->in_payload = true;
    if (ws_is_control(r)) {
        r->control_len = 0;
    } else if (r->message_op == 0) {
        r->message_op = r->opcode;
        r->message_len = 0;
        /* A text message ends at a boundary or in an error, and the next one starts there. */
        assert(sbx_utf8_at_boundary(&r->utf8));
    }
}

static bool ws_on_head_byte(struct sbx_ws_reader *r, uint8_t byte)
{
    size_t have = r->head_have;
    assert(have < sizeof r->head);
    r->head[have++] = byte;
    r->head_have = (uint8_t)have;
    if (have == 1)
        return ws_on_first_byte(r, byte);
    if (have == 2 && !ws_on_second_byte(r, byte))
        return false;
    if (have == 2 + ws_extra_len(r))
        return ws_on_length(r);
    if (have == 6 + ws_extra_len(r))
        ws_begin_payload(r);
    return true;
}

/* --- payload --- */

static void ws_unmask(uint8_t *out, const uint8_t *in, size_t n, const uint8_t mask[4],
                      size_t phase)
{
    uint8_t turned[8];
    uint64_t key, word;
    size_t i;
    for (i = 0; i < sizeof turned; i++)
        turned[i] = mask[(phase + i) & 3];
    memcpy(&key, turned, sizeof key);
    for (i = 0; n - i >= sizeof word; i += sizeof word) {
        memcpy(&word, in + i, sizeof word);
        word ^= key;
        memcpy(out + i, &word, sizeof word);
    }
    for (; i < n; i++)
        out[i] = in[i] ^ turned[i & 7];
}

/* Makes room for n more bytes of the message. */
static bool ws_grow(struct sbx_ws_reader *r, size_t n)
{
    size_t need = r->message_len + n;
    size_t cap = r->message_cap > r->max_message / 2 ? r->max_message : r->message_cap * 2;
    uint8_t *grown;
    assert(need >= n && need <= r->max_message);
    if (need <= r->message_cap)
        return true;
    cap = cap < WS_FIRST_BUFFER ? WS_FIRST_BUFFER : cap;
    cap = cap < need ? need : cap;
    grown = sbx_mem_realloc(r->message, cap);
    if (grown == NULL)
        return ws_fail(r, 1011, "out of memory");
    r->message = grown;
    r->message_cap = cap;
    return true;
}

static bool ws_take_control(struct sbx_ws_reader *r, const uint8_t *in, size_t n)
{
    assert(r->control_len + n <= sizeof r->control);
    ws_unmask(r->control + r->control_len, in, n, r->mask, (size_t)(r->taken & 3));
    r->control_len = (uint8_t)(r->control_len + n);
    return true;
}

static bool ws_take_data(struct sbx_ws_reader *r, const uint8_t *in, size_t n)
{
    uint8_t *to;
    if (!ws_grow(r, n))
        return false;
    to = r->message + r->message_len;
    ws_unmask(to, in, n, r->mask, (size_t)(r->taken & 3));
    r->message_len += n;
    if (r->message_op == SBX_WS_TEXT && !sbx_utf8_feed(&r->utf8, to, n))
        return ws_bad_text(r);
    return true;
}

/* May a peer send this code? Not 1004, 1005, 1006, 1015 nor what nobody has defined; 1012 to 1014
 * were registered after RFC 6455, 7.4, was written. */
static bool ws_close_code_ok(unsigned code)
{
    if (code >= 3000 && code <= 4999)
        return true;
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

static bool ws_check_close(struct sbx_ws_reader *r)
{
    size_t n = r->control_len;
    if (n == 0)
        return true;
    if (n == 1)
        return ws_violation(r, "a close frame with half a code");
    if (!ws_close_code_ok((unsigned)r->control[0] << 8 | r->control[1]))
        return ws_violation(r, "a close code that must not be sent");
    if (sbx_utf8_valid_prefix(r->control + 2, n - 2) != n - 2)
        return ws_bad_text(r);
    return true;
}

static enum sbx_ws_event ws_end_control(struct sbx_ws_reader *r)
{
    if (r->opcode == SBX_WS_CLOSE && !ws_check_close(r))
        return SBX_WS_ERROR;
    r->op = r->opcode;
    r->payload = r->control;
    r->payload_len = r->control_len;
    return SBX_WS_MESSAGE;
}

static enum sbx_ws_event ws_end_message(struct sbx_ws_reader *r)
{
    if (r->message_op == SBX_WS_TEXT && !sbx_utf8_at_boundary(&r->utf8)) {
        (void)ws_bad_text(r);
        return SBX_WS_ERROR;
    }
    r->op = r->message_op;
    /* Never NULL, so that an empty message can be passed on like any other. */
    r->payload = r->message != NULL ? r->message : r->control;
    r->payload_len = r->message_len;
    r->message_op = 0;
    return SBX_WS_MESSAGE;
}

/* NEED_MORE stands for a frame that did not end a message. */
static enum sbx_ws_event ws_end_frame(struct sbx_ws_reader *r)
{
    r->in_payload = false;
    if (ws_is_control(r))
        return ws_end_control(r);
    return r->fin ? ws_end_message(r) : SBX_WS_NEED_MORE;
}

static bool ws_take_payload(struct sbx_ws_reader *r, const uint8_t *in, size_t n)
{
    if (n > 0 && !(ws_is_control(r) ? ws_take_control(r, in, n) : ws_take_data(r, in, n)))
        return false;
    r->left -= n;
    r->taken += n;
    return true;
}

/* Takes header bytes or payload, whichever is due; returns how many. An error shows in
 * close_code. */
static size_t ws_take(struct sbx_ws_reader *r, const uint8_t *in, size_t n)
{
    size_t i = 0;
    if (r->in_payload) {
        i = r->left < n ? (size_t)r->left : n;
        (void)ws_take_payload(r, in, i);
        return i;
    }
    while (i < n && !r->in_payload && ws_on_head_byte(r, in[i]))
        i++;
    return i;
}

/* A buffer that one large message has left behind. Not while a message is unfinished, and not
 * before the caller is done with the finished one, which it is when it calls again. */
static void ws_give_back(struct sbx_ws_reader *r)
{
    if (r->message_op != 0 || r->message_cap <= WS_KEPT_BUFFER)
        return;
    sbx_mem_free(r->message);
    r->message = NULL;
    r->message_cap = 0;
}

enum sbx_ws_event sbx_ws_feed(struct sbx_ws_reader *r, const uint8_t *in, size_t n, size_t *used)
{
    enum sbx_ws_event event = SBX_WS_NEED_MORE;
    *used = 0;
    ws_give_back(r);
    while (r->close_code == 0 && *used < n && event == SBX_WS_NEED_MORE) {
        *used += ws_take(r, in + *used, n - *used);
        if (r->close_code == 0 && r->in_payload && r->left == 0)
            event = ws_end_frame(r);
    }
    assert(*used <= n);
    return r->close_code != 0 ? SBX_WS_ERROR : event;
}
