/* Request heads and chunked bodies. Each case runs at once and byte by byte, in copies that end at
 * an unmapped page and move with every call, and both ways must come to the same result. */
#include "proto/http_parse.h"

#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define GET "GET / HTTP/1.1\r\n"
#define HOST "Host: localhost\r\n"
#define POST "POST /p HTTP/1.1\r\nHost: h\r\n"

struct outcome {
    long used;
    struct sbx_http_refusal refusal;
    struct sbx_http_request req;
    size_t at; /* bytes there were when it was known */
};

static void assert_str(struct sbx_str s, const char *want)
{
    assert_int_equal(s.n, strlen(want));
    assert_memory_equal(s.p, want, s.n);
}

static void parse_at_once(const uint8_t *p, size_t n, struct outcome *o)
{
    size_t scanned = 0;
    memset(o, 0xA5, sizeof *o);
    o->used = sbx_http_parse((const char *)p, n, &scanned, &o->req, &o->refusal);
    o->at = n;
    if (o->used != 0)
        assert_int_equal(scanned, 0);
}

/* Feeds prefixes that grow by `step` until something is decided; *copy holds the slices. */
static void parse_in_steps(const uint8_t *p, size_t n, size_t step, struct outcome *o,
                           uint8_t **copy)
{
    size_t scanned = 0, have = 0;
    memset(o, 0x5A, sizeof *o);
    o->used = 0;
    *copy = guard_copy(p, 0);
    while (o->used == 0 && have < n) {
        have = n - have < step ? n : have + step;
        guard_free(*copy);
        *copy = guard_copy(p, have);
        o->used = sbx_http_parse((const char *)*copy, have, &scanned, &o->req, &o->refusal);
        assert_true(scanned <= have);
    }
    o->at = have;
}

static void assert_same_slice(struct sbx_str a, const uint8_t *base_a, struct sbx_str b,
                              const uint8_t *base_b)
{
    assert_int_equal(a.p - (const char *)base_a, b.p - (const char *)base_b);
    assert_int_equal(a.n, b.n);
}

static void assert_same_request(const struct sbx_http_request *a, const uint8_t *base_a,
                                const struct sbx_http_request *b, const uint8_t *base_b)
{
    size_t i;
    assert_same_slice(a->method, base_a, b->method, base_b);
    assert_same_slice(a->target, base_a, b->target, base_b);
    assert_int_equal(a->minor, b->minor);
    assert_int_equal(a->nheaders, b->nheaders);
    assert_int_equal(a->body, b->body);
    assert_int_equal(a->content_length, b->content_length);
    assert_int_equal(a->keep_alive, b->keep_alive);
    assert_int_equal(a->expect_continue, b->expect_continue);
    for (i = 0; i < a->nheaders; i++) {
        assert_same_slice(a->headers[i].name, base_a, b->headers[i].name, base_b);
        assert_same_slice(a->headers[i].value, base_a, b->headers[i].value, base_b);
    }
}

/* Parses both ways; leaves the outcome of the whole input in *o and its copy for the slices. */
static uint8_t *parse_steps(const void *p, size_t n, size_t step, struct outcome *o)
{
    static struct outcome pieces;
    uint8_t *whole = guard_copy(p, n);
    uint8_t *piece;
    parse_at_once(whole, n, o);
    parse_in_steps(p, n, step, &pieces, &piece);
    assert_int_equal(pieces.used, o->used);
    if (o->used > 0) {
        assert_true((long)pieces.at >= o->used && (long)pieces.at < o->used + (long)step);
        assert_same_request(&o->req, whole, &pieces.req, piece);
    }
    if (o->used < 0) {
        assert_int_equal(pieces.refusal.status, o->refusal.status);
        assert_string_equal(pieces.refusal.reason, o->refusal.reason);
        o->at = pieces.at;
    }
    guard_free(piece);
    return whole;
}

static uint8_t *parse(const void *p, size_t n, struct outcome *o)
{
    return parse_steps(p, n, 1, o);
}

static struct outcome seen;

/* A head that is taken, whole and with the next request behind it. */
static const struct sbx_http_request *taken(const char *head)
{
    static uint8_t *copy;
    static char longer[2048];
    size_t n = strlen(head);
    int len = snprintf(longer, sizeof longer, "%sGET ", head);
    assert_true(len > 0 && (size_t)len < sizeof longer);
    guard_free(parse(longer, (size_t)len, &seen));
    assert_int_equal(seen.used, (long)n);
    if (copy != NULL)
        guard_free(copy);
    copy = parse(head, n, &seen);
    assert_int_equal(seen.used, (long)n);
    return &seen.req;
}

static void refused_bytes(const void *p, size_t n, int status)
{
    uint8_t *copy = parse(p, n, &seen);
    if (seen.used != -1)
        fail_msg("%ld instead of a refusal: %.*s", seen.used, (int)n, (const char *)p);
    if (seen.refusal.status != status)
        fail_msg("%d (%s) instead of %d: %.*s", seen.refusal.status, seen.refusal.reason, status,
                 (int)n, (const char *)p);
    assert_true(strlen(seen.refusal.reason) > 0);
    guard_free(copy);
}

#define refused(text, status) refused_bytes((text), sizeof(text) - 1, (status))

static void test_simple(void **state)
{
    const struct sbx_http_request *r = taken("GET /v1/health?x=1 HTTP/1.1\r\n"
                                             "Host: localhost:2468\r\n"
                                             "X-Empty:\r\n"
                                             "x-blank: \t \r\n"
                                             "Accept:*/*\r\n"
                                             "Odd: \t a\tb  c \t\r\n"
                                             "Latin: caf\xe9 \xff\r\n\r\n");
    (void)state;
    assert_str(r->method, "GET");
    assert_str(r->target, "/v1/health?x=1");
    assert_int_equal(r->minor, 1);
    assert_int_equal(r->nheaders, 6);
    assert_str(r->headers[0].name, "Host");
    assert_str(r->headers[0].value, "localhost:2468");
    assert_str(r->headers[1].name, "X-Empty");
    assert_str(r->headers[1].value, "");
    assert_str(r->headers[2].value, "");
    assert_str(r->headers[3].value, "*/*");
    assert_str(r->headers[4].value, "a\tb  c");
    assert_str(r->headers[5].value, "caf\xe9 \xff");
    assert_int_equal(r->body, SBX_HTTP_BODY_NONE);
    assert_int_equal(r->content_length, 0);
    assert_true(r->keep_alive);
    assert_false(r->expect_continue);
}

static void test_versions(void **state)
{
    (void)state;
    assert_int_equal(taken("GET / HTTP/1.0\r\n\r\n")->minor, 0);
    assert_int_equal(taken("GET / HTTP/1.2\r\n" HOST "\r\n")->minor, 1);
    assert_int_equal(taken("GET / HTTP/1.9\r\n" HOST "\r\n")->minor, 1);
    refused("GET / HTTP/2.0\r\n" HOST "\r\n", 505);
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    refused("GET / HTTP/0.9\r\n\r\n", 505);
    refused("GET / HTTP/3.1\r\n\r\n", 505);
    refused("GET / HTTP/9.9\r\n\r\n", 505);
    refused("GET / http/1.1\r\n" HOST "\r\n", 400);
    refused("GET / HTTP/1\r\n" HOST "\r\n", 400);
    refused("GET / HTTP/11\r\n" HOST "\r\n", 400);
    refused("GET / HTTP/1.10\r\n" HOST "\r\n", 400);
    refused("GET / HTTP/1.1 \r\n" HOST "\r\n", 400);
    refused("GET / HTTP/1,1\r\n" HOST "\r\n", 400);
    refused("GET / HTTP/a.1\r\n" HOST "\r\n", 400);
    refused("GET / HTTP/1.x\r\n" HOST "\r\n", 400);
    refused("GET / HTTPS/1.1\r\n" HOST "\r\n", 400);
    refused("GET / \r\n" HOST "\r\n", 400);
}

static void test_request_line(void **state)
{
    (void)state;
    assert_str(taken("a!#$%&'*+-.^_`|~Z9 * HTTP/1.1\r\n" HOST "\r\n")->method,
               "a!#$%&'*+-.^_`|~Z9");
    assert_str(taken("GET !~\"<>\\^`{|} HTTP/1.1\r\n" HOST "\r\n")->target, "!~\"<>\\^`{|}");
    refused("HELLO\r\n\r\n", 400);
    refused("GET /\r\n\r\n", 400);
    refused("GET / a HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GET  / HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GET /  HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GET /\tHTTP/1.1\r\n" HOST "\r\n", 400);
    refused(" GET / HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GE(T / HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("G\x80T / HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("G\0T / HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GET /\0 HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GET /\x7f HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GET /caf\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GET /aaaaaaaaaaa\x80" "aaaaaaaaaaaaaaaaaa HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GET /aaaaaaaaaaa\xff" "aaaaaaaaaaaaaaaaaa HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GET /aaaaaaaaaaa\x7f" "aaaaaaaaaaaaaaaaaa HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GET /aaaaaaaaaaaaaaaa\x1f HTTP/1.1\r\n" HOST "\r\n", 400);
    refused("GET / HTTP/1.1\n" HOST "\r\n", 400);
    refused("GET / HTTP/1.1\r" HOST "\r\n", 400);
    refused("GET / HTTP/1.1\r\r\n" HOST "\r\n", 400);
    refused("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400);
}

static void test_method_length(void **state)
{
    (void)state;
    assert_int_equal(taken("abcdefghabcdefghabcdefghabcdefgh / HTTP/1.0\r\n\r\n")->method.n, 32);
    refused("abcdefghabcdefghabcdefghabcdefghX / HTTP/1.0\r\n\r\n", 400);
    assert_int_equal(seen.at, 33);
}

/* What cannot become a request is refused at the byte that shows it. */
static void test_request_line_is_judged_at_once(void **state)
{
    (void)state;
    refused("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400);
    assert_int_equal(seen.at, 1);
    refused("HELLO\r\n\r\n", 400);
    assert_int_equal(seen.at, 6);
    refused("GET /\r\n\r\n", 400);
    assert_int_equal(seen.at, 6);
    refused("GET / HTXP/1.1\r\n\r\n", 400);
    assert_int_equal(seen.at, 9);
}

static void test_leading_crlf(void **state)
{
    char text[128] = "";
    int i;
    (void)state;
    taken("\r\n" GET HOST "\r\n");
    for (i = 0; i < 16; i++)
        strcat(text, "\r\n");
    strcat(text, GET HOST "\r\n");
    assert_str(taken(text)->method, "GET");
    memmove(text + 2, text, strlen(text) + 1);
    refused_bytes(text, strlen(text), 400);
    refused("\n" GET HOST "\r\n", 400);
    refused("\r" GET HOST "\r\n", 400);
    refused("\r\n\n" GET HOST "\r\n", 400);
    refused("\r\n\rG", 400);
}

static void test_header_syntax(void **state)
{
    (void)state;
    refused(GET HOST "bad header\r\n\r\n", 400);
    refused(GET HOST "bad\r\n\r\n", 400);
    refused(GET HOST ": value\r\n\r\n", 400);
    refused(GET HOST "a : b\r\n\r\n", 400);
    refused(GET HOST "a\t: b\r\n\r\n", 400);
    refused(GET " Host: h\r\n\r\n", 400);
    refused(GET HOST "a: b\r\n c\r\n\r\n", 400);
    refused(GET HOST "a: b\r\n\tc\r\n\r\n", 400);
    refused(GET HOST "a: b\r\n \r\n\r\n", 400);
    refused(GET HOST "a(b: c\r\n\r\n", 400);
    refused(GET HOST "\"a\": c\r\n\r\n", 400);
    refused(GET HOST "caf\xe9: c\r\n\r\n", 400);
    refused(GET HOST "a\0b: c\r\n\r\n", 400);
    refused(GET HOST "a: b\0c\r\n\r\n", 400);
    refused(GET HOST "a: b\x01\r\n\r\n", 400);
    refused(GET HOST "a: bbbbbbbbbbbbbbbb\x7f\r\n\r\n", 400);
    refused(GET HOST "a: \x1b[31m\r\n\r\n", 400);
}

static void test_line_ends(void **state)
{
    (void)state;
    refused(GET HOST "a: b\n\r\n", 400);
    refused(GET HOST "a: b\n\n", 400);
    refused(GET HOST "a: b\r\n\n", 400);
    refused(GET HOST "a: b\rc: d\r\n\r\n", 400);
    refused(GET HOST "a: b\r\r\n\r\n", 400);
    refused(GET HOST "\r\r\n", 400);
    refused(GET HOST "\rX\r\n", 400);
    refused(GET HOST "\n\r\n", 400);
    refused(GET HOST "a\r: b\r\n\r\n", 400);
    refused(GET HOST "a\n: b\r\n\r\n", 400);
}

/* Every byte at every place of a name and a value, against the grammar. */
static void test_every_byte(void **state)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    unsigned b;
    (void)state;
    for (b = 0; b < 256; b++) {
        char text[] = GET HOST "a?a: aaaaaaaa?aaaaaaaa\r\n\r\n";
        char *name = strchr(text, '?'), *value = strrchr(text, '?');
        bool alnum = (b >= '0' && b <= '9') || ((b | 32) >= 'a' && (b | 32) <= 'z');
        bool tchar = (alnum && b < 128) || (b != 0 && strchr(others, (int)b) != NULL);
        *name = (char)b;
        *value = 'a';
        guard_free(parse(text, sizeof text - 1, &seen));
        /* A colon only ends the name sooner. */
        assert_int_equal(seen.used > 0, tchar || b == ':');
        *name = 'a';
        *value = (char)b;
        guard_free(parse(text, sizeof text - 1, &seen));
        assert_int_equal(seen.used > 0, b == '\t' || (b >= 0x20 && b != 0x7f));
    }
}

static void test_host(void **state)
{
    (void)state;
    taken(GET "Host:\r\n\r\n");
    taken(GET "hOST: [::1]:2468\r\n\r\n");
    taken("GET / HTTP/1.0\r\n\r\n");
    taken("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    refused(GET "\r\n", 400);
    refused(GET "a: b\r\n\r\n", 400);
    refused(GET "Host: a\r\nHost: a\r\n\r\n", 400);
    refused(GET "Host: a\r\nhost: b\r\n\r\n", 400);
    refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    refused(GET "Host: a b\r\n\r\n", 400);
    refused(GET "Host: http://a\r\n\r\n", 400);
    refused(GET "Host: u@a\r\n\r\n", 400);
    refused(GET "Host: a:b\r\n\r\n", 400);
    refused(GET "Host: a/b\r\n\r\n", 400);
    refused(GET "Host : a\r\n\r\n", 400);
}

static void test_content_length(void **state)
{
    const struct sbx_http_request *r = taken(POST "Content-Length: 18\r\n\r\n");
    (void)state;
    assert_int_equal(r->body, SBX_HTTP_BODY_LENGTH);
    assert_int_equal(r->content_length, 18);
    r = taken(POST "content-length: 0\r\n\r\n");
    assert_int_equal(r->body, SBX_HTTP_BODY_NONE);
    assert_int_equal(r->content_length, 0);
    r = taken(POST "content-length:18446744073709551615 \r\n\r\n");
    assert_true(r->content_length == UINT64_MAX);
    assert_int_equal(taken(POST "Content-Length: 0007\r\n\r\n")->content_length, 7);
}

static void test_content_length_refused(void **state)
{
    (void)state;
    refused(POST "Content-Length: 18446744073709551616\r\n\r\n", 400);
    refused(POST "Content-Length: 99999999999999999999999\r\n\r\n", 400);
    refused(POST "Content-Length: -1\r\n\r\n", 400);
    refused(POST "Content-Length: +5\r\n\r\n", 400);
    refused(POST "Content-Length: 0x5\r\n\r\n", 400);
    refused(POST "Content-Length: 1x\r\n\r\n", 400);
    refused(POST "Content-Length: a\r\n\r\n", 400);
    refused(POST "Content-Length: 1 2\r\n\r\n", 400);
    refused(POST "Content-Length: 1.0\r\n\r\n", 400);
    refused(POST "Content-Length:\r\n\r\n", 400);
    refused(POST "Content-Length: 5, 5\r\n\r\n", 400);
    refused(POST "Content-Length: 5,\r\n\r\n", 400);
    refused(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400);
    refused(POST "Content-Length: 18\r\ncontent-length: 5\r\n\r\n", 400);
    refused(POST "Content-Length: 0\r\ncontent-length: 0\r\n\r\n", 400);
}

static void test_transfer_encoding(void **state)
{
    (void)state;
    assert_int_equal(taken(POST "Transfer-Encoding: chunked\r\n\r\n")->body,
                     SBX_HTTP_BODY_CHUNKED);
    assert_int_equal(taken(POST "transfer-encoding:\tCHUNKED \r\n\r\n")->body,
                     SBX_HTTP_BODY_CHUNKED);
    refused(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400);
    refused(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    refused(POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501);
    refused(POST "Transfer-Encoding: xchunked\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: chunkedx\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: identity\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: gzip\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: chunked, gzip, chunked\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: chunked,\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: ,chunked\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: \"chunked\"\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: chunked;a=b\r\n\r\n", 400);
    refused(POST "Transfer-Encoding:\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n", 400);
    refused(POST "Transfer-Encoding : chunked\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400);
}

static void test_keep_alive(void **state)
{
    (void)state;
    assert_true(taken(GET HOST "\r\n")->keep_alive);
    assert_true(taken(GET HOST "Connection: Upgrade\r\n\r\n")->keep_alive);
    assert_false(taken(GET HOST "Connection: close\r\n\r\n")->keep_alive);
    assert_false(taken(GET HOST "Connection: x, CLOSE\r\n\r\n")->keep_alive);
    assert_false(taken(GET HOST "connection: close\r\nConnection: y\r\n\r\n")->keep_alive);
    assert_false(taken(GET HOST "Connection: close, keep-alive\r\n\r\n")->keep_alive);
    assert_true(taken(GET HOST "Connection: closed\r\n\r\n")->keep_alive);
    assert_false(taken("GET / HTTP/1.0\r\n\r\n")->keep_alive);
    assert_true(taken("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")->keep_alive);
    assert_false(taken("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n")->keep_alive);
}

static void test_expect(void **state)
{
    (void)state;
    assert_true(taken(POST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")->expect_continue);
    assert_true(taken(POST "Content-Length: 5\r\nexpect: 100-Continue\r\n\r\n")->expect_continue);
    assert_true(
        taken(POST "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")->expect_continue);
    assert_false(taken(POST "Expect: 100-continue\r\n\r\n")->expect_continue);
    assert_false(
        taken(POST "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n")->expect_continue);
    assert_false(taken("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
                     ->expect_continue);
    assert_false(taken(POST "Content-Length: 5\r\n\r\n")->expect_continue);
    refused(POST "Expect: 200-ok\r\n\r\n", 417);
    refused(POST "Expect:\r\n\r\n", 417);
    refused(POST "Expect: 100-continue, x\r\n\r\n", 417);
}

/* The first violation in the order of the bytes is the one that is told. */
static void test_first_violation_wins(void **state)
{
    (void)state;
    refused("G@T / HTTP/2.0\r\n\r\n", 400);
    refused("GET / HTTP/2.0\r\nbad\r\n\r\n", 505);
    refused(POST "Expect: x\r\nbad\r\n\r\n", 417);
    refused(POST "bad\r\nExpect: x\r\n\r\n", 400);
    refused("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501);
}

static void test_partial(void **state)
{
    static const char head[] = "\r\n" POST "Content-Length: 3\r\n\r\n";
    size_t n;
    (void)state;
    for (n = 0; n < sizeof head - 1; n++) {
        guard_free(parse(head, n, &seen));
        assert_int_equal(seen.used, 0);
    }
}

/* A header line is judged at its LF, so that the verdict does not hang on how the line was cut. */
static void test_header_line_is_judged_whole(void **state)
{
    static const char *const open[] = {GET "\rX", GET "a\rX", GET "a: b\rX", GET " a", GET "a b",
                                       GET HOST "Host: x\r", GET "a: \x01", GET "(", GET "\r\r"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof open / sizeof *open; i++) {
        char closed[64];
        int n = snprintf(closed, sizeof closed, "%s\n", open[i]);
        guard_free(parse(open[i], strlen(open[i]), &seen));
        assert_int_equal(seen.used, 0);
        refused_bytes(closed, (size_t)n, 400);
        assert_int_equal(seen.at, n);
    }
}

static char big[80000];

static size_t big_target(size_t n)
{
    int len = snprintf(big, sizeof big, "GET /");
    memset(big + len, 'a', n - 1);
    strcpy(big + (size_t)len + n - 1, " HTTP/1.1\r\n" HOST "\r\n");
    return strlen(big);
}

static void test_target_limit(void **state)
{
    (void)state;
    guard_free(parse_steps(big, big_target(8192), 61, &seen));
    assert_true(seen.used > 8192);
    assert_int_equal(seen.req.target.n, 8192);
    guard_free(parse(big, big_target(8193), &seen));
    assert_int_equal(seen.used, -1);
    assert_int_equal(seen.refusal.status, 414);
    assert_int_equal(seen.at, strlen("GET ") + 8193);
    guard_free(parse_steps(big, big_target(70000), 1000, &seen));
    assert_int_equal(seen.refusal.status, 414);
}

/* A head of exactly n bytes. */
static void big_head(size_t n)
{
    int len = snprintf(big, sizeof big, GET HOST "X: ");
    memset(big + len, 'a', n - (size_t)len - 4);
    memcpy(big + n - 4, "\r\n\r\n", 5);
}

static void test_head_limit(void **state)
{
    static const size_t steps[] = {1, 7, 4096, 32767, 40000};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof steps / sizeof *steps; i++) {
        big_head(32768);
        guard_free(parse_steps(big, 32768, steps[i], &seen));
        assert_int_equal(seen.used, 32768);
        big_head(32769);
        guard_free(parse_steps(big, 32769, steps[i], &seen));
        assert_int_equal(seen.used, -1);
        assert_int_equal(seen.refusal.status, 431);
        if (steps[i] == 1)
            assert_int_equal(seen.at, 32768);
    }
    big_head(70000);
    guard_free(parse_steps(big, 70000, 70000, &seen));
    assert_int_equal(seen.refusal.status, 431);
    /* What stands wrong in a line that never ends is not looked for. */
    big[100] = '\x01';
    guard_free(parse_steps(big, 70000, 1000, &seen));
    assert_int_equal(seen.refusal.status, 431);
}

static void test_leading_crlf_does_not_count(void **state)
{
    (void)state;
    big_head(32768);
    memmove(big + 4, big, 32769);
    memcpy(big, "\r\n\r\n", 4);
    guard_free(parse_steps(big, 32772, 3, &seen));
    assert_int_equal(seen.used, 32772);
}

static size_t many_headers(int n)
{
    size_t len = (size_t)snprintf(big, sizeof big, GET HOST);
    int i;
    for (i = 1; i < n; i++)
        len += (size_t)snprintf(big + len, sizeof big - len, "X-%d: %d\r\n", i, i);
    return len;
}

static void test_header_count(void **state)
{
    size_t n = many_headers(100);
    (void)state;
    memcpy(big + n, "\r\n", 3);
    guard_free(parse(big, n + 2, &seen));
    assert_int_equal(seen.used, (long)n + 2);
    assert_int_equal(seen.req.nheaders, 100);
    n = many_headers(101);
    guard_free(parse(big, n, &seen));
    assert_int_equal(seen.used, -1);
    assert_int_equal(seen.refusal.status, 431);
    assert_int_equal(seen.at, n);
}

/* Headers beyond those counted are not written, and what is there is not read again for a call
 * that brings no LF: the bytes before are spoilt to see it. */
static void test_work_is_bounded(void **state)
{
    static struct sbx_http_request req, blank;
    char text[] = GET HOST "a: bcdef";
    struct sbx_http_refusal refusal;
    size_t n = sizeof text - 1, scanned = 0;
    (void)state;
    memset(&blank, 0xC3, sizeof blank);
    req = blank;
    assert_int_equal(sbx_http_parse(text, n - 5, &scanned, &req, &refusal), 0);
    assert_int_equal(scanned, n - 5);
    memset(text, '\x01', n - 5);
    assert_int_equal(sbx_http_parse(text, n, &scanned, &req, &refusal), 0);
    assert_int_equal(scanned, n);
    assert_memory_equal(&req.headers[1], &blank.headers[1], sizeof *req.headers * 99);
}

static void test_header_lookup(void **state)
{
    const struct sbx_http_request *r =
        taken(GET HOST "X-A: 1\r\nx-ab: 2\r\nX-a: 3\r\n\r\n");
    size_t count = 9;
    (void)state;
    assert_str(sbx_http_header(r, "x-a", &count)->value, "1");
    assert_int_equal(count, 2);
    assert_str(sbx_http_header(r, "X-AB", NULL)->value, "2");
    assert_null(sbx_http_header(r, "x", &count));
    assert_int_equal(count, 0);
    assert_null(sbx_http_header(r, "x-abc", NULL));
}

/* --- chunked bodies --- */

struct decoded {
    char data[200000];
    size_t n;
    size_t used;
    bool bad;
    bool done;
};

static void decode_steps(const char *in, size_t n, size_t step, struct decoded *d)
{
    struct sbx_http_chunked c;
    d->n = d->used = 0;
    d->bad = false;
    sbx_http_chunked_init(&c);
    while (d->used < n && !d->bad && c.state != SBX_HTTP_CHUNK_DONE) {
        size_t part = n - d->used < step ? n - d->used : step, len;
        const char *data;
        uint8_t *copy = guard_copy(in + d->used, part);
        long took = sbx_http_chunked_feed(&c, (const char *)copy, part, &data, &len);
        d->bad = took < 0;
        if (took >= 0) {
            assert_true(took > 0 && (size_t)took <= part);
            assert_true(data >= (const char *)copy && data + len <= (const char *)copy + took);
            memcpy(d->data + d->n, data, len);
            d->n += len;
            d->used += (size_t)took;
        }
        guard_free(copy);
    }
    d->done = c.state == SBX_HTTP_CHUNK_DONE;
}

static struct decoded body, pieces;

static void decode_bytes(const char *in, size_t n)
{
    decode_steps(in, n, n, &body);
    decode_steps(in, n, 1, &pieces);
    assert_int_equal(body.bad, pieces.bad);
    assert_int_equal(body.done, pieces.done);
    if (!body.bad) {
        assert_int_equal(body.used, pieces.used);
        assert_int_equal(body.n, pieces.n);
        assert_memory_equal(body.data, pieces.data, body.n);
    }
}

static void check_body(const char *in, const char *want, const char *rest)
{
    decode_bytes(in, strlen(in));
    if (body.bad || !body.done)
        fail_msg("not taken: %s", in);
    assert_int_equal(body.n, strlen(want));
    assert_memory_equal(body.data, want, body.n);
    assert_string_equal(in + body.used, rest);
}

static void check_bad_body_bytes(const char *in, size_t n)
{
    decode_bytes(in, n);
    if (!body.bad)
        fail_msg("taken: %.*s", (int)n, in);
}

#define check_bad_body(text) check_bad_body_bytes((text), sizeof(text) - 1)

static void test_chunked(void **state)
{
    (void)state;
    check_body("0\r\n\r\n", "", "");
    check_body("5\r\nhello\r\n0\r\n\r\nGET /", "hello", "GET /");
    check_body("5\r\n{\"com\r\ne;x=y\r\nmand\":\"true\"  \r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n",
               "{\"command\":\"true\"  }", "");
    check_body("A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n", "01234567890123456789", "");
    check_body("1;a;b=c;d=\"e;\\\"f\"\t\r\n\r\r\n2;\r\n\r\n\r\n0\r\n\r\n", "\r\r\n", "");
}

static void test_chunked_trailers(void **state)
{
    (void)state;
    check_body("0\r\na: b\r\nC:d\r\nE:\r\nF: \t\xe9\r\n\r\nX", "", "X");
    check_body("1;ext\r\nx\r\n0;last\r\n\r\n", "x", "");
}

static void test_chunked_refused(void **state)
{
    (void)state;
    check_bad_body("\r\n");
    check_bad_body("g\r\n");
    check_bad_body("0x10\r\n");
    check_bad_body("-1\r\n");
    check_bad_body("+1\r\n");
    check_bad_body(" 1\r\n");
    check_bad_body("1 \r\n");
    check_bad_body("1 ;a\r\n");
    check_bad_body("1\t\r\n");
    check_bad_body(";a\r\n");
    check_bad_body("1_0\r\n");
    check_bad_body("1\0\r\n");
    check_bad_body("1\nx");
    check_bad_body("1\rx");
    check_bad_body("1\r\r\n");
    check_bad_body("1\r\nx\n0\r\n");
    check_bad_body("1\r\nx0\r\n");
    check_bad_body("1\r\nxx\r\n");
    check_bad_body("1\r\nx\r0\r\n");
    check_bad_body("1;a\nx");
    check_bad_body("1;a\rx");
    check_bad_body("1;a\0\r\n");
    check_bad_body("1;a=\"\x01\"\r\n");
    check_bad_body("1;\x7f\r\n");
}

static void test_chunked_trailers_refused(void **state)
{
    (void)state;
    check_bad_body("0\r\n\n");
    check_bad_body("0\r\n\rX");
    check_bad_body("0\r\na\r\n");
    check_bad_body("0\r\n: b\r\n");
    check_bad_body("0\r\na : b\r\n");
    check_bad_body("0\r\n a: b\r\n");
    check_bad_body("0\r\na: b\r\n c\r\n");
    check_bad_body("0\r\na: b\n");
    check_bad_body("0\r\na: b\rc");
    check_bad_body("0\r\na: \0\r\n");
    check_bad_body("0\r\na b: c\r\n");
}

static void test_chunked_size_limits(void **state)
{
    struct sbx_http_chunked c;
    const char *data;
    size_t len;
    (void)state;
    check_bad_body("00000000000000001\r\n");
    check_bad_body("10000000000000000\r\n");
    check_bad_body("fffffffffffffffff\r\n");
    check_body("0000000000000001\r\nx\r\n0000000000000000\r\n\r\n", "x", "");
    sbx_http_chunked_init(&c);
    assert_int_equal(sbx_http_chunked_feed(&c, "ffffffffffffffff\r\nabc", 21, &data, &len), 21);
    assert_int_equal(len, 3);
    assert_true(c.left == UINT64_MAX - 3);
    assert_int_equal(c.state, SBX_HTTP_CHUNK_DATA);
}

/* What comes after the end belongs to the next request; feeding on takes nothing. */
static void test_chunked_done(void **state)
{
    struct sbx_http_chunked c;
    const char *data;
    size_t len;
    (void)state;
    sbx_http_chunked_init(&c);
    assert_int_equal(sbx_http_chunked_feed(&c, "0\r\n\r\n5\r\n", 8, &data, &len), 5);
    assert_int_equal(len, 0);
    assert_int_equal(c.state, SBX_HTTP_CHUNK_DONE);
    assert_int_equal(sbx_http_chunked_feed(&c, "5\r\n", 3, &data, &len), 0);
    assert_int_equal(len, 0);
}

static void test_chunked_overhead(void **state)
{
    size_t n = 16 * 1024;
    (void)state;
    memcpy(big, "1;", 2);
    memset(big + 2, 'e', n);
    strcpy(big + 2 + n, "\r\nx\r\n0\r\n\r\n");
    check_body(big, "x", "");
    strcpy(big + 2 + n, "e\r\nx\r\n0\r\n\r\n");
    check_bad_body_bytes(big, 2 + n + 1);
    strcpy(big + 2 + n, "\r\nx\r\n0;f\r\n\r\n");
    check_bad_body_bytes(big, strlen(big));
    strcpy(big + 2 + n - 2, "\r\nx\r\n0\r\na:b\r\n\r\n");
    check_bad_body_bytes(big, strlen(big));
}

/* Trailers may be neither many nor long nor nameless for ever. */
static void test_chunked_trailer_limit(void **state)
{
    size_t n = 3, i;
    (void)state;
    memcpy(big, "0\r\n", 3);
    for (i = 0; i < 4096; i++, n += 6)
        memcpy(big + n, "a:bc\r\n", 6);
    memcpy(big + n, "\r\n", 3);
    check_body(big, "", "");
    memcpy(big + n, "a:\r\n", 4);
    check_bad_body_bytes(big, n + 4);
    memset(big + 3, 'n', 16 * 1024 + 1);
    check_bad_body_bytes(big, 3 + 16 * 1024 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_request_line),
        cmocka_unit_test(test_method_length),
        cmocka_unit_test(test_request_line_is_judged_at_once),
        cmocka_unit_test(test_leading_crlf),
        cmocka_unit_test(test_header_syntax),
        cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_content_length),
        cmocka_unit_test(test_content_length_refused),
        cmocka_unit_test(test_transfer_encoding),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_first_violation_wins),
        cmocka_unit_test(test_partial),
        cmocka_unit_test(test_header_line_is_judged_whole),
        cmocka_unit_test(test_target_limit),
        cmocka_unit_test(test_head_limit),
        cmocka_unit_test(test_leading_crlf_does_not_count),
        cmocka_unit_test(test_header_count),
        cmocka_unit_test(test_work_is_bounded),
        cmocka_unit_test(test_header_lookup),
        cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_chunked_trailers),
        cmocka_unit_test(test_chunked_refused),
        cmocka_unit_test(test_chunked_trailers_refused),
        cmocka_unit_test(test_chunked_size_limits),
        cmocka_unit_test(test_chunked_done),
        cmocka_unit_test(test_chunked_overhead),
        cmocka_unit_test(test_chunked_trailer_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
