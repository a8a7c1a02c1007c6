/* ws.h - WebSocket frames (RFC 6455), server side, pure. No extension is ever negotiated. */
#ifndef SBX_PROTO_WS_H
#define SBX_PROTO_WS_H

#include "base/str.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sbx_ws_opcode {
    SBX_WS_CONT = 0x0,
    SBX_WS_TEXT = 0x1,
    SBX_WS_BINARY = 0x2,
    SBX_WS_CLOSE = 0x8,
    SBX_WS_PING = 0x9,
    SBX_WS_PONG = 0xa
};

#define SBX_WS_MAX_HEADER 10u /* of a frame that we send: never masked */

/* Writes the header of an unmasked final frame; returns its length (2, 4 or 10). */
size_t sbx_ws_put_header(uint8_t out[SBX_WS_MAX_HEADER], enum sbx_ws_opcode op,
                         uint64_t payload_len);

/* Sec-WebSocket-Accept of a key that sbx_ws_key_ok takes (RFC 6455, 4.2.2): 28 characters, no
 * NUL. */
void sbx_ws_accept(struct sbx_str key, char out[28]);
/* Is this a key a client may send: base64 of exactly 16 bytes? */
bool sbx_ws_key_ok(struct sbx_str key);

/* --- receiving --- */

enum sbx_ws_event {
    SBX_WS_NEED_MORE, /* all input taken */
    SBX_WS_MESSAGE,   /* a whole text or binary message, or a control frame: op, payload */
    SBX_WS_ERROR      /* protocol violation: close with `close_code`, `reason` */
};

/* Reassembles messages. Rules enforced: masked frames only, RSV bits zero, known opcodes,
 * minimal length encoding, 63-bit lengths, control frames final and <= 125 bytes, continuation
 * only inside a message and no new data frame inside one, text and close reasons valid UTF-8
 * (checked as the bytes come, so that bad text fails fast; across fragments and frames), close
 * payload of 0 or >= 2 bytes with a code that may be sent (RFC 6455, 7.4), message limit (1009). */
struct sbx_ws_reader {
    uint8_t head[14];     /* header bytes so far */
    uint8_t head_have;
    bool in_payload;
    uint8_t opcode;       /* of the frame being read */
    bool fin;
    uint8_t mask[4];
    uint64_t left;        /* payload bytes of the frame still to come */
    uint64_t taken;       /* payload bytes of the frame seen: mask phase */
    uint8_t message_op;   /* TEXT or BINARY while a message is unfinished, else 0 */
    struct sbx_utf8_state utf8;
    uint8_t control[125]; /* payload of a control frame */
    uint8_t control_len;
    uint8_t *message;     /* payload of the message so far, owned */
    size_t message_len, message_cap;
    size_t max_message;   /* bytes; a longer message is an error with code 1009 */
    /* results */
    uint8_t op;              /* of SBX_WS_MESSAGE: TEXT, BINARY, CLOSE, PING, PONG */
    const uint8_t *payload;  /* valid until the next call */
    size_t payload_len;
    uint16_t close_code;     /* of SBX_WS_ERROR: 1002, 1007, 1009, 1011 (out of memory) */
    const char *reason;      /* static text */
};

void sbx_ws_reader_init(struct sbx_ws_reader *r, size_t max_message);
void sbx_ws_reader_deinit(struct sbx_ws_reader *r);
/* Takes bytes of in[0..n) up to and including the end of one message or control frame; *used says
 * how many. After SBX_WS_MESSAGE call again with the rest. A payload is never NULL, be it empty.
 * The message buffer of a finished message is reused by the next one and given back when it had
 * grown large. An error is final: every further call gives it again and takes nothing. */
enum sbx_ws_event sbx_ws_feed(struct sbx_ws_reader *r, const uint8_t *in, size_t n, size_t *used);

#endif
