/* http_parse.c - see http_parse.h.
 *
 * A head is read from its first byte on every call that could get further, and nothing is kept
 * between calls but `scanned`. What a head is refused for must not depend on how the network cut
 * it, so each rule is applied at a fixed place in the bytes:
 *   - in the request line as soon as a byte is there (a TLS hello is refused at its first byte,
 *     an endless target at byte 8193),
 *   - in a header line when its LF is there, whatever is wrong with it,
 *   - the size of the head when that many bytes have come without an end,
 *   - what a head lacks (Host) at its end.
 * The first violation in that order wins.
 *
 * The cost of a head that trickles in stays linear: the request line is short and the only part
 * that is read again for single bytes; after it `scanned` is set, and a call that brings no LF does
 * nothing but look for one. There are at most 101 lines, so at most 101 calls start over.
 *
 * In the common case no byte is looked at twice: names go through a table to their colon, values
 * through eight bytes at a time to the first control character, which is the CR.
 *
 * Invariants: every view in the request lies in p[0..used); `headers` beyond nheaders is never
 * written (3 KiB of memory would cost more than the parsing); a request never has both a length and
 * a coding. */
#include "proto/http_parse.h"

#include "proto/url.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#define HTTP_MAX_METHOD 32u
#define HTTP_MAX_BLANK_LINES 16u
#define HTTP_MAX_CHUNK_DIGITS 16u
#define HTTP_MAX_CHUNK_OVERHEAD (16u * 1024u)

/* tchar (RFC 9110, 5.6.2): ! # $ % & ' * + - . ^ _ ` | ~ digits and letters. */
static const uint8_t http_token_chars[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 00 */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 10 */
    0, 1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0, /* 20 */
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, /* 30 */
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, /* 40 */
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, /* 50 */
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, /* 60 */
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0, /* 70; above it nothing */
};

enum http_step {
    HTTP_STEP_OK,   /* a line was taken */
    HTTP_STEP_END,  /* the empty line was taken */
    HTTP_STEP_MORE, /* the bytes end inside the line */
    HTTP_STEP_BAD   /* refused; *refusal says why */
};

/* One call of sbx_http_parse. */
struct http_reader {
    const char *at;  /* next byte */
    const char *end; /* of the input, or of the longest head allowed */
    struct sbx_http_request *req;
    struct sbx_http_refusal *refusal;
    bool has_host, has_length, has_coding, has_expect;
    bool asks_close, asks_keep_alive;
};

static enum http_step http_refuse(struct http_reader *r, int status, const char *reason)
{
    r->refusal->status = status;
    r->refusal->reason = reason;
    return HTTP_STEP_BAD;
}

static enum http_step http_bad(struct http_reader *r, const char *reason)
{
    return http_refuse(r, 400, reason);
}

static bool http_is_token_char(char c)
{
    return http_token_chars[(uint8_t)c] != 0;
}

static bool http_is_control(char c)
{
    return ((uint8_t)c < 0x20 && c != '\t') || c == 0x7f;
}

/* Does one of the eight bytes lie below `least` (at most 0x80) or equal 0x7f? A carry can only
 * add an answer above a byte that has one, so the answer for the word is exact. */
static bool http_word_has(uint64_t w, uint8_t least)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t del = w ^ ones * 0x7f;
    uint64_t below = (w - ones * least) & ~w;
    uint64_t equal = (del - ones) & ~del;
    return ((below | equal) & ones * 0x80) != 0;
}

static uint64_t http_load_word(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* First byte at or after p that cannot be in a field value; end when there is none. */
static const char *http_skip_value(const char *p, const char *end)
{
    for (;;) {
        while (end - p >= 8 && !http_word_has(http_load_word(p), 0x20))
            p += 8;
        while (p < end && *p != '\t' && !http_is_control(*p))
            p++;
        if (p == end || *p != '\t')
            return p;
        p++;
    }
}

/* First byte at or after p that is not visible ASCII; end when there is none. */
static const char *http_skip_visible(const char *p, const char *end)
{
    const uint64_t high = UINT64_C(0x8080808080808080);
    while (end - p >= 8) {
        uint64_t w = http_load_word(p);
        if ((w & high) != 0 || http_word_has(w, 0x21))
            break;
        p += 8;
    }
    while (p < end && (uint8_t)*p > 0x20 && (uint8_t)*p < 0x7f)
        p++;
    return p;
}

static const char *http_skip_token(const char *p, const char *end)
{
    while (p < end && http_is_token_char(*p))
        p++;
    return p;
}

static const char *http_sooner(const char *end, const char *p, size_t n)
{
    return (size_t)(end - p) > n ? p + n : end;
}

/* --- request line --- */

static enum http_step http_method(struct http_reader *r)
{
    const char *stop = http_skip_token(r->at, http_sooner(r->end, r->at, HTTP_MAX_METHOD + 1));
    size_t n = (size_t)(stop - r->at);
    if (n > HTTP_MAX_METHOD)
        return http_bad(r, "the method is too long");
    if (stop == r->end)
        return HTTP_STEP_MORE;
    if (n == 0 || *stop != ' ')
        return http_bad(r, "the request line does not start with a method and a blank");
    r->req->method = (struct sbx_str){r->at, n};
    r->at = stop + 1;
    return HTTP_STEP_OK;
}

static enum http_step http_target(struct http_reader *r)
{
    const char *limit = http_sooner(r->end, r->at, SBX_HTTP_MAX_TARGET + 1);
    const char *stop = http_skip_visible(r->at, limit);
    size_t n = (size_t)(stop - r->at);
    if (n > SBX_HTTP_MAX_TARGET)
        return http_refuse(r, 414, "the request target is longer than 8192 bytes");
    if (stop == r->end)
        return HTTP_STEP_MORE;
    if (n == 0 || *stop != ' ')
        return http_bad(r, "the request line is not a method, a target and a version");
    r->req->target = (struct sbx_str){r->at, n};
    r->at = stop + 1;
    return HTTP_STEP_OK;
}

static bool http_version_byte_ok(size_t i, char c)
{
    static const char pattern[] = "HTTP/0.0\r\n";
    return pattern[i] == '0' ? c >= '0' && c <= '9' : c == pattern[i];
}

/* "HTTP/" digit "." digit CR LF: always ten bytes. */
static enum http_step http_version(struct http_reader *r)
{
    size_t i;
    for (i = 0; i < 10; i++) {
        if (r->at + i == r->end)
            return HTTP_STEP_MORE;
        if (!http_version_byte_ok(i, r->at[i]))
            return http_bad(r, "the request line does not end in HTTP/1.1 and CRLF");
    }
    if (r->at[5] != '1')
        return http_refuse(r, 505, "only HTTP/1.1 and HTTP/1.0 are spoken");
    /* A higher minor version is served as the highest one known (RFC 9110, 2.5). */
    r->req->minor = r->at[7] == '0' ? 0 : 1;
    r->at += 10;
    return HTTP_STEP_OK;
}

static enum http_step http_request_line(struct http_reader *r)
{
    enum http_step step = http_method(r);
    if (step == HTTP_STEP_OK)
        step = http_target(r);
    if (step == HTTP_STEP_OK)
        step = http_version(r);
    return step;
}

/* --- headers that decide framing --- */

static enum http_step http_on_host(struct http_reader *r, struct sbx_str value)
{
    if (r->has_host)
        return http_bad(r, "several Host headers");
    r->has_host = true;
    if (!sbx_url_host_ok(value))
        return http_bad(r, "the Host header is not a host and a port");
    return HTTP_STEP_OK;
}

static enum http_step http_on_length(struct http_reader *r, struct sbx_str value)
{
    if (r->has_length)
        return http_bad(r, "several Content-Length headers");
    if (r->has_coding)
        return http_bad(r, "Content-Length together with Transfer-Encoding");
    r->has_length = true;
    if (sbx_str_to_u64(value, &r->req->content_length) != 0)
        return http_bad(r, "Content-Length is not a number of 64 bits");
    r->req->body = r->req->content_length > 0 ? SBX_HTTP_BODY_LENGTH : SBX_HTTP_BODY_NONE;
    return HTTP_STEP_OK;
}

/* A coding that is not known in front of "chunked" leaves the framing clear, so the request was
 * understood and cannot be served; anything else leaves its length in doubt (RFC 9112, 6.1 and
 * 6.3). */
static enum http_step http_bad_coding(struct http_reader *r, struct sbx_str list)
{
    struct sbx_str item = {list.p, 0};
    size_t chunked = 0, others = 0;
    while (sbx_str_next_in_list(&list, &item)) {
        bool is_chunked = sbx_str_ieq_z(item, "chunked");
        chunked += is_chunked;
        others += !is_chunked;
    }
    if (chunked == 1 && others > 0 && sbx_str_ieq_z(item, "chunked"))
        return http_refuse(r, 501, "no transfer coding but chunked is known");
    return http_bad(r, "Transfer-Encoding is not chunked");
}

static enum http_step http_on_coding(struct http_reader *r, struct sbx_str value)
{
    if (r->req->minor == 0)
        return http_bad(r, "Transfer-Encoding in HTTP/1.0");
    if (r->has_coding)
        return http_bad(r, "several Transfer-Encoding headers");
    if (r->has_length)
        return http_bad(r, "Content-Length together with Transfer-Encoding");
    r->has_coding = true;
    if (!sbx_str_ieq_z(value, "chunked"))
        return http_bad_coding(r, value);
    r->req->body = SBX_HTTP_BODY_CHUNKED;
    return HTTP_STEP_OK;
}

static enum http_step http_on_expect(struct http_reader *r, struct sbx_str value)
{
    if (!sbx_str_ieq_z(value, "100-continue"))
        return http_refuse(r, 417, "no expectation but 100-continue is known");
    r->has_expect = true;
    return HTTP_STEP_OK;
}

static enum http_step http_on_connection(struct http_reader *r, struct sbx_str value)
{
    struct sbx_str item;
    while (sbx_str_next_in_list(&value, &item)) {
        r->asks_close |= sbx_str_ieq_z(item, "close");
        r->asks_keep_alive |= sbx_str_ieq_z(item, "keep-alive");
    }
    return HTTP_STEP_OK;
}

/* The length is looked at first: most headers of a request are none of these. */
static enum http_step http_on_header(struct http_reader *r, const struct sbx_http_header *h)
{
    switch (h->name.n) {
    case 4:
        return sbx_str_ieq_z(h->name, "host") ? http_on_host(r, h->value) : HTTP_STEP_OK;
    case 6:
        return sbx_str_ieq_z(h->name, "expect") ? http_on_expect(r, h->value) : HTTP_STEP_OK;
    case 10:
        return sbx_str_ieq_z(h->name, "connection") ? http_on_connection(r, h->value)
                                                    : HTTP_STEP_OK;
    case 14:
        return sbx_str_ieq_z(h->name, "content-length") ? http_on_length(r, h->value)
                                                        : HTTP_STEP_OK;
    case 17:
        return sbx_str_ieq_z(h->name, "transfer-encoding") ? http_on_coding(r, h->value)
                                                           : HTTP_STEP_OK;
    default:
        return HTTP_STEP_OK;
    }
}

/* --- header lines --- */

/* At p stands what ended a line's content. Takes CR LF. */
static enum http_step http_line_end(struct http_reader *r, const char *p, const char *reason)
{
    if (p == r->end || (*p == '\r' && p + 1 == r->end))
        return HTTP_STEP_MORE;
    if (*p == '\n' || (*p == '\r' && p[1] != '\n'))
        return http_bad(r, "a line ends in CR or LF alone");
    if (*p != '\r')
        return http_bad(r, reason);
    r->at = p + 2;
    return HTTP_STEP_OK;
}

static enum http_step http_bad_name(struct http_reader *r, const char *stop)
{
    if (*r->at == ' ' || *r->at == '\t')
        return http_bad(r, "a header line starts with a blank");
    if (stop > r->at && (*stop == ' ' || *stop == '\t'))
        return http_bad(r, "a blank in front of the colon of a header");
    if (stop > r->at && (*stop == '\r' || *stop == '\n'))
        return http_bad(r, "a header line without a colon");
    return http_bad(r, "the name of a header is not a token");
}

static enum http_step http_field(struct http_reader *r)
{
    struct sbx_http_request *req = r->req;
    struct sbx_http_header *h;
    enum http_step step;
    const char *name = r->at;
    const char *colon = http_skip_token(name, r->end);
    const char *stop;
    if (colon == r->end)
        return HTTP_STEP_MORE;
    if (*colon != ':' || colon == name)
        return http_bad_name(r, colon);
    stop = http_skip_value(colon + 1, r->end);
    step = http_line_end(r, stop, "a control character in the value of a header");
    if (step != HTTP_STEP_OK)
        return step;
    if (req->nheaders == SBX_HTTP_MAX_HEADERS)
        return http_refuse(r, 431, "more than 100 headers");
    h = &req->headers[req->nheaders++];
    h->name = (struct sbx_str){name, (size_t)(colon - name)};
    h->value = sbx_str_trim((struct sbx_str){colon + 1, (size_t)(stop - colon - 1)});
    return http_on_header(r, h);
}

static enum http_step http_empty_line(struct http_reader *r)
{
    enum http_step step = http_line_end(r, r->at, "");
    return step == HTTP_STEP_OK ? HTTP_STEP_END : step;
}

static enum http_step http_header_line(struct http_reader *r)
{
    const char *line = r->at;
    bool empty = line < r->end && (*line == '\r' || *line == '\n');
    enum http_step step = empty ? http_empty_line(r) : http_field(r);
    /* A header line is judged when it is whole, or the verdict would hang on how it was cut. */
    if (step == HTTP_STEP_BAD && memchr(line, '\n', (size_t)(r->end - line)) == NULL)
        return HTTP_STEP_MORE;
    return step;
}

static enum http_step http_finish(struct http_reader *r)
{
    struct sbx_http_request *req = r->req;
    if (req->minor == 1 && !r->has_host)
        return http_bad(r, "HTTP/1.1 without a Host header");
    req->keep_alive = !r->asks_close && (req->minor == 1 || r->asks_keep_alive);
    /* An HTTP/1.0 client cannot mean it (RFC 9110, 10.1.1). */
    req->expect_continue = r->has_expect && req->minor == 1 && req->body != SBX_HTTP_BODY_NONE;
    assert(!(r->has_length && r->has_coding));
    return HTTP_STEP_END;
}

/* Everything after the blank lines. *past_line tells that the request line is complete. */
static enum http_step http_head(struct http_reader *r, bool *past_line)
{
    enum http_step step = http_request_line(r);
    *past_line = step == HTTP_STEP_OK;
    while (step == HTTP_STEP_OK)
        step = http_header_line(r);
    return step == HTTP_STEP_END ? http_finish(r) : step;
}

/* Bytes of the CRLFs in front of the request line, SIZE_MAX when they are too many. */
static size_t http_blank_lines(const char *p, size_t n)
{
    size_t i = 0;
    while (n - i >= 2 && p[i] == '\r' && p[i + 1] == '\n') {
        if (i == HTTP_MAX_BLANK_LINES * 2)
            return SIZE_MAX;
        i += 2;
    }
    return i;
}

static void http_start(struct http_reader *r, const char *p, size_t n)
{
    r->at = p;
    r->end = http_sooner(p + n, p, SBX_HTTP_MAX_HEAD);
    r->req->nheaders = 0;
    r->req->body = SBX_HTTP_BODY_NONE;
    r->req->content_length = 0;
}

long sbx_http_parse(const char *p, size_t n, size_t *scanned, struct sbx_http_request *req,
                    struct sbx_http_refusal *refusal)
{
    struct http_reader r = {.req = req, .refusal = refusal};
    enum http_step step = HTTP_STEP_MORE;
    bool past_line = *scanned > 0;
    size_t blank = http_blank_lines(p, n);
    assert(*scanned <= n && n <= LONG_MAX);
    if (blank == SIZE_MAX) {
        (void)http_bad(&r, "too many empty lines in front of a request");
        return -1;
    }
    if (n - blank == 0 || (n - blank == 1 && p[blank] == '\r'))
        return 0;
    http_start(&r, p + blank, n - blank);
    if (!past_line || memchr(p + *scanned, '\n', n - *scanned) != NULL)
        step = http_head(&r, &past_line);
    if (step == HTTP_STEP_MORE && n - blank >= SBX_HTTP_MAX_HEAD)
        step = http_refuse(&r, 431, "the request head is longer than 32768 bytes");
    *scanned = step == HTTP_STEP_MORE && past_line ? n : 0;
    assert(r.at >= p && r.at <= p + n);
    if (step == HTTP_STEP_BAD)
        return -1;
    return step == HTTP_STEP_END ? (long)(r.at - p) : 0;
}

const struct sbx_http_header *sbx_http_header(const struct sbx_http_request *req, const char *name,
                                              size_t *count)
{
    const struct sbx_http_header *first = NULL;
    size_t len = strlen(name);
    size_t found = 0, i;
    for (i = 0; i < req->nheaders; i++) {
        const struct sbx_http_header *h = &req->headers[i];
        if (h->name.n != len || !sbx_str_ieq_z(h->name, name))
            continue;
        if (found++ == 0)
            first = h;
        if (count == NULL)
            break;
    }
    if (count != NULL)
        *count = found;
    return first;
}

/* --- chunked bodies ---
 *
 * SIZE -> [EXT ->] SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ... until a size of 0, whose
 * SIZE_LF leads to TRAILER. TRAILER stands at the name of a trailer line, TRAILER_LINE behind its
 * colon, TRAILER_LF at its LF; a TRAILER that starts with CR is the end: END_LF -> DONE.
 * `digits` counts the bytes of a size or of a trailer's name, so that an empty one shows. */

void sbx_http_chunked_init(struct sbx_http_chunked *c)
{
    *c = (struct sbx_http_chunked){.state = SBX_HTTP_CHUNK_SIZE};
}

static bool chunked_go(struct sbx_http_chunked *c, enum sbx_http_chunk_state state)
{
    c->state = state;
    c->digits = 0;
    return true;
}

static bool chunked_on_size(struct sbx_http_chunked *c, char byte)
{
    int digit = sbx_url_hex_value(byte);
    if (digit >= 0) {
        c->left = c->left << 4 | (unsigned)digit;
        return ++c->digits <= HTTP_MAX_CHUNK_DIGITS;
    }
    if (c->digits == 0)
        return false;
    /* The grammar has no blank here but in front of ';', which nobody sends and which others have
     * read as the end of the line; it is refused. */
    if (byte == '\r')
        return chunked_go(c, SBX_HTTP_CHUNK_SIZE_LF);
    return byte == ';' && chunked_go(c, SBX_HTTP_CHUNK_EXT);
}

/* A byte of an extension or of a trailer's value: both are skipped, neither may go on for ever. */
static bool chunked_on_skipped(struct sbx_http_chunked *c, char byte,
                               enum sbx_http_chunk_state at_cr)
{
    if (byte == '\r')
        return chunked_go(c, at_cr);
    return !http_is_control(byte) && ++c->overhead <= HTTP_MAX_CHUNK_OVERHEAD;
}

static bool chunked_on_trailer(struct sbx_http_chunked *c, char byte)
{
    if (byte == '\r')
        return c->digits == 0 && chunked_go(c, SBX_HTTP_CHUNK_END_LF);
    if (++c->overhead > HTTP_MAX_CHUNK_OVERHEAD)
        return false;
    if (byte == ':')
        return c->digits > 0 && chunked_go(c, SBX_HTTP_CHUNK_TRAILER_LINE);
    c->digits++;
    return http_is_token_char(byte);
}

static bool chunked_on_size_lf(struct sbx_http_chunked *c, char byte)
{
    return byte == '\n' &&
           chunked_go(c, c->left > 0 ? SBX_HTTP_CHUNK_DATA : SBX_HTTP_CHUNK_TRAILER);
}

/* Takes one byte that is not data; false when it cannot stand here. */
static bool chunked_on_byte(struct sbx_http_chunked *c, char byte)
{
    switch (c->state) {
    case SBX_HTTP_CHUNK_SIZE:
        return chunked_on_size(c, byte);
    case SBX_HTTP_CHUNK_EXT:
        return chunked_on_skipped(c, byte, SBX_HTTP_CHUNK_SIZE_LF);
    case SBX_HTTP_CHUNK_SIZE_LF:
        return chunked_on_size_lf(c, byte);
    case SBX_HTTP_CHUNK_DATA_CR:
        return byte == '\r' && chunked_go(c, SBX_HTTP_CHUNK_DATA_LF);
    case SBX_HTTP_CHUNK_DATA_LF:
        return byte == '\n' && chunked_go(c, SBX_HTTP_CHUNK_SIZE);
    case SBX_HTTP_CHUNK_TRAILER:
        return chunked_on_trailer(c, byte);
    case SBX_HTTP_CHUNK_TRAILER_LINE:
        return chunked_on_skipped(c, byte, SBX_HTTP_CHUNK_TRAILER_LF);
    case SBX_HTTP_CHUNK_TRAILER_LF:
        return byte == '\n' && chunked_go(c, SBX_HTTP_CHUNK_TRAILER);
    case SBX_HTTP_CHUNK_END_LF:
        return byte == '\n' && chunked_go(c, SBX_HTTP_CHUNK_DONE);
    case SBX_HTTP_CHUNK_DATA:
    case SBX_HTTP_CHUNK_DONE:
        break;
    }
    assert(0 && "data and what follows the end are not framing");
    return false;
}

long sbx_http_chunked_feed(struct sbx_http_chunked *c, const char *in, size_t n, const char **data,
                           size_t *data_len)
{
    size_t i = 0;
    assert(n <= LONG_MAX);
    *data = in;
    *data_len = 0;
    while (i < n && c->state != SBX_HTTP_CHUNK_DATA && c->state != SBX_HTTP_CHUNK_DONE)
        if (!chunked_on_byte(c, in[i++]))
            return -1;
    if (i == n || c->state == SBX_HTTP_CHUNK_DONE)
        return (long)i;
    *data = in + i;
    *data_len = c->left < n - i ? (size_t)c->left : n - i;
    c->left -= *data_len;
    if (c->left == 0)
        (void)chunked_go(c, SBX_HTTP_CHUNK_DATA_CR);
    return (long)(i + *data_len);
}
