/* wire.h - is what a server sent on one connection a correct sequence of answers?
 *
 * Written from RFC 9112, RFC 6455 and the event stream format, not from the sources, and stricter:
 * it knows what was asked, and what this server never does (header folding, several lengths, masked
 * or reserved frames). wire_check() asserts; nothing of it depends on how the bytes arrived. */
#ifndef SBX_TESTS_WIRE_H
#define SBX_TESTS_WIRE_H

#undef NDEBUG

#include "base/json_read.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIRE_JSON_MOST 40000u /* longer texts are not parsed: it takes too long for a fuzzer */

struct wire {
    const char *p, *end; /* what is still to be looked at */
    bool eof;            /* the server closed: nothing more comes */
    bool may_be_cut;     /* somebody gave the server a reason to stop in the middle */
    size_t finals;       /* answers other than 1xx that began */
    size_t whole;        /* and of which the end was seen */
    bool open_stream;    /* the last one is a stream or WebSocket without an end so far */
    int last_status;
};

struct wire_head {
    int status, minor;
    struct sbx_str type;
    bool close, chunked, has_length;
    uint64_t length;
};

static inline bool wire_is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static inline void wire_check_header(struct wire_head *h, struct sbx_str name, struct sbx_str value)
{
    size_t i;
    assert(name.n > 0);
    for (i = 0; i < name.n; i++)
        assert(wire_is_token_char(name.p[i]));
    for (i = 0; i < value.n; i++)
        assert(((uint8_t)value.p[i] >= 0x20 && (uint8_t)value.p[i] != 0x7f) || value.p[i] == '\t');
    if (sbx_str_ieq_z(name, "content-length")) {
        assert(!h->has_length && sbx_str_to_u64(value, &h->length) == 0);
        h->has_length = true;
    } else if (sbx_str_ieq_z(name, "transfer-encoding")) {
        assert(!h->chunked && sbx_str_eq_z(value, "chunked"));
        h->chunked = true;
    } else if (sbx_str_ieq_z(name, "connection")) {
        h->close |= sbx_str_eq_z(value, "close");
    } else if (sbx_str_ieq_z(name, "content-type")) {
        assert(h->type.n == 0);
        h->type = value;
    }
}

static inline void wire_read_status(struct wire_head *h, struct sbx_str line)
{
    size_t i;
    *h = (struct wire_head){.status = 0};
    assert(line.n >= 13 && memcmp(line.p, "HTTP/1.1 ", 9) == 0 && line.p[12] == ' ');
    for (i = 9; i < 12; i++) {
        assert(line.p[i] >= '0' && line.p[i] <= '9');
        h->status = h->status * 10 + (line.p[i] - '0');
    }
    assert(h->status >= 100 && h->status < 600);
    for (i = 13; i < line.n; i++)
        assert(line.p[i] >= 0x20 && line.p[i] < 0x7f);
}

/* The next line without its CRLF; NULL when it is not complete. */
static inline struct sbx_str wire_line(const char **p, const char *end)
{
    const char *lf = end > *p ? memchr(*p, '\n', (size_t)(end - *p)) : NULL;
    struct sbx_str line = {NULL, 0};
    if (lf == NULL)
        return line;
    assert(lf > *p && lf[-1] == '\r');
    line = (struct sbx_str){*p, (size_t)(lf - 1 - *p)};
    assert(memchr(line.p, '\r', line.n) == NULL);
    *p = lf + 1;
    return line;
}

/* false: the head is not complete. */
static inline bool wire_read_head(struct wire *w, struct wire_head *h)
{
    const char *p = w->p;
    struct sbx_str line = wire_line(&p, w->end);
    if (line.p == NULL)
        return false;
    wire_read_status(h, line);
    for (;;) {
        const char *colon;
        line = wire_line(&p, w->end);
        if (line.p == NULL)
            return false;
        if (line.n == 0)
            break;
        colon = memchr(line.p, ':', line.n);
        assert(colon != NULL);
        wire_check_header(h, (struct sbx_str){line.p, (size_t)(colon - line.p)},
                          sbx_str_trim((struct sbx_str){colon + 1,
                                                        line.n - (size_t)(colon + 1 - line.p)}));
    }
    w->p = p;
    return true;
}

/* --- bodies --- */

static inline void wire_check_json(struct sbx_str text)
{
    struct sbx_json_doc doc;
    struct sbx_err err;
    if (text.n > WIRE_JSON_MOST)
        return;
    assert(sbx_json_parse(&doc, text, &err) == 0);
    sbx_json_doc_deinit(&doc);
}

/* Lines of one event: a comment alone, or event, id where there is one, data. */
static inline void wire_check_event(struct sbx_str text, bool *ended)
{
    static const char *const names[] = {"event: log\nid: ", "event: gap\ndata: ",
                                        "event: exit\ndata: "};
    struct sbx_str data;
    const char *at;
    uint64_t id;
    assert(!*ended);
    if (sbx_str_eq_z(text, ":"))
        return;
    *ended = sbx_str_starts_with(text, names[2]);
    assert(*ended || sbx_str_starts_with(text, names[0]) || sbx_str_starts_with(text, names[1]));
    at = memmem(text.p, text.n, "\ndata: ", 7);
    assert(at != NULL);
    if (sbx_str_starts_with(text, names[0])) {
        size_t skip = strlen(names[0]);
        assert(sbx_str_to_u64((struct sbx_str){text.p + skip, (size_t)(at - text.p) - skip}, &id) ==
               0);
    }
    data = (struct sbx_str){at + 7, text.n - (size_t)(at + 7 - text.p)};
    assert(memchr(data.p, '\n', data.n) == NULL);
    wire_check_json(data);
}

static inline void wire_check_events(struct sbx_str text)
{
    bool ended = false;
    while (text.n > 0) {
        const char *end = memmem(text.p, text.n, "\n\n", 2);
        size_t n;
        if (end == NULL)
            return;
        n = (size_t)(end - text.p);
        wire_check_event((struct sbx_str){text.p, n}, &ended);
        text.p += n + 2;
        text.n -= n + 2;
    }
}

static inline bool wire_type_is(const struct wire_head *h, const char *type)
{
    return sbx_str_starts_with(h->type, type);
}

static inline void wire_check_content(const struct wire_head *h, struct sbx_str body, bool whole)
{
    size_t valid = sbx_utf8_valid_prefix((const uint8_t *)body.p, body.n);
    if (wire_type_is(h, "text/event-stream"))
        wire_check_events(body);
    if (!wire_type_is(h, "application/octet-stream"))
        assert(valid == body.n ||
               (!whole && sbx_utf8_incomplete_tail((const uint8_t *)body.p, body.n) ==
                              body.n - valid));
    if (whole && (wire_type_is(h, "application/json") || wire_type_is(h, "application/problem")))
        wire_check_json(body);
    if (h->status >= 400 && whole)
        assert(wire_type_is(h, "application/problem+json") && body.n > 0);
}

static inline size_t wire_chunk_size(struct sbx_str line)
{
    size_t n = 0, i;
    assert(line.n > 0 && line.n <= 8);
    for (i = 0; i < line.n; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *at = strchr(digits, line.p[i] | 0x20);
        assert(line.p[i] != '\0' && at != NULL);
        n = n * 16 + (size_t)(at - digits);
    }
    return n;
}

/* Decodes chunks in a copy. Is the last one there? */
static inline bool wire_chunks(struct wire *w, char *out, size_t *n)
{
    for (;;) {
        const char *p = w->p;
        struct sbx_str line = wire_line(&p, w->end);
        size_t size;
        if (line.p == NULL)
            return false;
        size = wire_chunk_size(line);
        if ((size_t)(w->end - p) < size + 2) {
            size_t part = (size_t)(w->end - p) < size ? (size_t)(w->end - p) : size;
            memcpy(out + *n, p, part);
            *n += part;
            return false;
        }
        memcpy(out + *n, p, size);
        assert(memcmp(p + size, "\r\n", 2) == 0);
        *n += size;
        w->p = p + size + 2;
        if (size == 0)
            return true;
    }
}

static inline void wire_chunked_body(struct wire *w, const struct wire_head *h)
{
    char *body = malloc((size_t)(w->end - w->p) + 1);
    size_t n = 0;
    bool whole;
    assert(body != NULL);
    whole = wire_chunks(w, body, &n);
    wire_check_content(h, (struct sbx_str){body, n}, whole);
    free(body);
    if (whole)
        w->whole++;
    else
        w->p = w->end;
    w->open_stream = !whole;
}

static inline void wire_plain_body(struct wire *w, const struct wire_head *h)
{
    size_t there = (size_t)(w->end - w->p);
    bool whole = h->has_length ? h->length <= there : w->eof;
    size_t n = h->has_length && whole ? (size_t)h->length : there;
    assert(h->has_length || h->close);
    wire_check_content(h, (struct sbx_str){w->p, n}, h->has_length && whole);
    w->p += n;
    if (whole)
        w->whole++;
    else
        assert(w->may_be_cut || !h->has_length);
    w->open_stream = !whole;
}

/* --- frames --- */

struct wire_frame {
    unsigned op;
    struct sbx_str payload;
};

/* false: it is not complete. */
static inline bool wire_read_frame(struct wire *w, struct wire_frame *f)
{
    const uint8_t *p = (const uint8_t *)w->p;
    size_t have = (size_t)(w->end - w->p), head = 2, i;
    uint64_t n;
    if (have < 2)
        return false;
    assert((p[0] & 0xf0) == 0x80 && (p[1] & 0x80) == 0); /* final, no reserved bit, not masked */
    n = p[1];
    if (n >= 126) {
        head = n == 126 ? 4 : 10;
        if (have < head)
            return false;
        n = 0;
        for (i = 2; i < head; i++)
            n = n << 8 | p[i];
        assert(n > (head == 4 ? 125 : 65535)); /* the shortest form */
    }
    if (have - head < n)
        return false;
    *f = (struct wire_frame){.op = p[0] & 15, .payload = {w->p + head, (size_t)n}};
    w->p += head + n;
    return true;
}

static inline void wire_check_close(struct sbx_str payload)
{
    unsigned code;
    if (payload.n == 0)
        return;
    assert(payload.n >= 2 && payload.n <= 125);
    code = (unsigned)(uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1];
    assert((code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999));
    assert(sbx_utf8_valid_prefix((const uint8_t *)payload.p + 2, payload.n - 2) == payload.n - 2);
}

static inline void wire_frames(struct wire *w)
{
    struct wire_frame f;
    bool closed = false, first = true;
    while (wire_read_frame(w, &f)) {
        assert(!closed);
        assert(f.op == 1 || f.op == 2 || f.op == 8 || f.op == 9 || f.op == 10);
        assert(f.op < 8 || f.payload.n <= 125);
        if (first)
            assert(f.op == 1 &&
                   memmem(f.payload.p, f.payload.n, "\"type\":\"ready\"", 14) != NULL);
        if (f.op == 1)
            wire_check_json(f.payload);
        if (f.op == 8)
            wire_check_close(f.payload);
        closed = f.op == 8;
        first = false;
    }
    if (closed)
        assert(w->p == w->end);
    w->p = w->end;
    w->open_stream = !closed;
}

/* --- all of it --- */

/* One answer. false: nothing more is to be expected after it. */
static inline bool wire_answer(struct wire *w, const bool *heads, size_t nheads)
{
    struct wire_head h;
    if (!wire_read_head(w, &h)) {
        assert(w->may_be_cut);
        w->p = w->end;
        return false;
    }
    if (h.status < 200 && h.status != 101) {
        assert(!h.chunked && !h.has_length && (h.status == 100 || h.status == 102));
        return true;
    }
    assert(w->finals < nheads); /* as many answers as requests, at most */
    w->last_status = h.status;
    w->finals++;
    assert(!(h.chunked && h.has_length));
    if (h.status == 101) {
        w->whole++;
        wire_frames(w);
        return false;
    }
    if (heads[w->finals - 1] || h.status == 204 || h.status == 304)
        w->whole++;
    else if (h.chunked)
        wire_chunked_body(w, &h);
    else
        wire_plain_body(w, &h);
    if (h.close)
        assert(w->p == w->end || w->open_stream);
    return !h.close;
}

/* Everything a server sent, and which of the requests it took were HEAD. */
static inline void wire_check(struct wire *w, const char *p, size_t n, const bool *heads,
                              size_t nheads)
{
    bool more = true;
    w->p = p;
    w->end = n == 0 ? p : p + n;
    while (w->p < w->end) {
        assert(more);
        more = wire_answer(w, heads, nheads);
    }
}

#endif
