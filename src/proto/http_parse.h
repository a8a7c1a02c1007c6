/* http_parse.h - HTTP/1.x request heads and chunked bodies (RFC 9112), pure: bytes in, slices out.
 *
 * Strict where laxness lets two parties read different requests out of the same bytes: lines end
 * in CRLF (a bare LF or CR is refused), no obs-fold, no blank before the colon, no NUL or other
 * control character, one Host, one length. */
#ifndef SBX_PROTO_HTTP_PARSE_H
#define SBX_PROTO_HTTP_PARSE_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SBX_HTTP_MAX_HEADERS 100u
#define SBX_HTTP_MAX_TARGET 8192u     /* longer request targets are 414 */
#define SBX_HTTP_MAX_HEAD (32u * 1024u) /* a longer head is 431 */

struct sbx_http_header {
    struct sbx_str name;  /* as spelled */
    struct sbx_str value; /* without surrounding blanks */
};

enum sbx_http_body {
    SBX_HTTP_BODY_NONE, /* no length, or Content-Length: 0 */
    SBX_HTTP_BODY_LENGTH,
    SBX_HTTP_BODY_CHUNKED
};

struct sbx_http_request {
    struct sbx_str method;
    struct sbx_str target;
    int minor;                 /* 0 or 1 of HTTP/1.x */
    struct sbx_http_header headers[SBX_HTTP_MAX_HEADERS];
    size_t nheaders;
    enum sbx_http_body body;   /* framing, decided here once */
    uint64_t content_length;   /* SBX_HTTP_BODY_LENGTH */
    bool keep_alive;           /* of version and Connection header together */
    bool expect_continue;      /* HTTP/1.1 with Expect: 100-continue and a body to come */
};

/* A refusal: status to answer with and a sentence for the problem's detail. The connection must be
 * closed after it, since where the next request begins is not known. */
struct sbx_http_refusal {
    int status;         /* 400, 414, 417, 431, 501, 505 */
    const char *reason; /* static text, names the header or limit */
};

/* Parses a request head at the start of p[0..n). Up to 16 leading CRLFs are skipped (RFC 9112,
 * 2.2). Returns the bytes used (> 0, leading CRLFs included), 0 when more are needed, -1 with
 * *refusal. `scanned` is the caller's memory between calls for the same head: 0 at first and
 * again after its end, else how far the header lines were searched, so that a head that trickles
 * in costs O(n). Slices in *req point into p, which may be another address with each call.
 * A refusal is found as early as it can be - limits do not wait for the end of the head - and is
 * the same however the bytes were cut.
 *
 * Refused with 400: no HTTP/1.x request line of exactly three parts, method not a token of up to
 * 32 characters, target with bytes outside visible ASCII, header line without colon, name not a
 * token, value with control characters other than HTAB, obs-fold, bare CR or LF, HTTP/1.1 without
 * Host, several Host, Host with characters that cannot be in one, several or non-numeric or
 * overflowing Content-Length (the list form "5, 5" too), Content-Length together with
 * Transfer-Encoding, Transfer-Encoding in HTTP/1.0, or not exactly "chunked" as the last coding
 * ("gzip, chunked" is 501). A Transfer-Encoding that is a known-bad spelling such as "xchunked" is
 * 400 or 501, never "no body". 417: an Expect other than 100-continue. 505: HTTP/2.0 and others in
 * a well-formed line. */
long sbx_http_parse(const char *p, size_t n, size_t *scanned, struct sbx_http_request *req,
                    struct sbx_http_refusal *refusal);

/* First header of that name, ASCII case folded; NULL when absent. *count (may be NULL) gets how
 * many there are. */
const struct sbx_http_header *sbx_http_header(const struct sbx_http_request *req, const char *name,
                                              size_t *count);

/* --- chunked bodies (RFC 9112, 7.1) --- */

enum sbx_http_chunk_state {
    SBX_HTTP_CHUNK_SIZE = 0,
    SBX_HTTP_CHUNK_EXT,
    SBX_HTTP_CHUNK_SIZE_LF,
    SBX_HTTP_CHUNK_DATA,
    SBX_HTTP_CHUNK_DATA_CR,
    SBX_HTTP_CHUNK_DATA_LF,
    SBX_HTTP_CHUNK_TRAILER,
    SBX_HTTP_CHUNK_TRAILER_LINE,
    SBX_HTTP_CHUNK_TRAILER_LF,
    SBX_HTTP_CHUNK_END_LF,
    SBX_HTTP_CHUNK_DONE
};

struct sbx_http_chunked {
    enum sbx_http_chunk_state state;
    uint64_t left;      /* data bytes of the current chunk still to come */
    unsigned digits;    /* size digits seen in this chunk */
    size_t overhead;    /* extension and trailer bytes seen; limited, or they could be endless */
};

void sbx_http_chunked_init(struct sbx_http_chunked *c);

/* Decodes in[0..n): takes bytes and reports at most one run of data per call.
 * Returns bytes taken, or -1 for a malformed body (bad size, size over 16 digits or 64 bits,
 * missing CRLF, bare LF, more than 16 KiB of extensions and trailers). data/data_len is the
 * payload inside the taken bytes (data_len may be 0). Call until c->state is DONE or all input
 * is taken; bytes after DONE belong to the next request and are not taken. */
long sbx_http_chunked_feed(struct sbx_http_chunked *c, const char *in, size_t n, const char **data,
                           size_t *data_len);

#endif
