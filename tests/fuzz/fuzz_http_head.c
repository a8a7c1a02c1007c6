/* fuzz_http_head.c - any bytes as a request head.
 *
 * The first two bytes of the input choose where it is cut. Whole, cut and byte by byte it must
 * give the same request or the same refusal; views stay inside; what was taken is as strict as the
 * parser promises; and written out again it parses to the same request. */
#undef NDEBUG
#include "proto/http_negotiate.h"
#include "proto/http_parse.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct head {
    char *copy; /* exactly as long as the input, so that a sanitizer sees one byte too many */
    size_t n;
    long used;
    struct sbx_http_request req;
    struct sbx_http_refusal refusal;
};

static void head_step(struct head *h, const char *p, size_t n, size_t *scanned)
{
    free(h->copy);
    h->copy = malloc(n);
    h->n = n;
    assert(h->copy != NULL || n == 0);
    if (n > 0)
        memcpy(h->copy, p, n);
    h->used = sbx_http_parse(h->copy, n, scanned, &h->req, &h->refusal);
    assert(h->used >= -1 && h->used <= (long)n);
    assert(*scanned <= n);
}

static void check_inside(const struct head *h, struct sbx_str s)
{
    assert(s.p >= h->copy && s.p + s.n <= h->copy + h->used);
}

static void check_value(struct sbx_str s)
{
    size_t i;
    for (i = 0; i < s.n; i++)
        assert(((uint8_t)s.p[i] >= 0x20 && s.p[i] != 0x7f) || s.p[i] == '\t');
    assert(s.n == 0 || (strchr(" \t", s.p[0]) == NULL && strchr(" \t", s.p[s.n - 1]) == NULL));
}

static void check_visible(struct sbx_str s)
{
    size_t i;
    assert(s.n > 0);
    for (i = 0; i < s.n; i++)
        assert(s.p[i] > 0x20 && s.p[i] < 0x7f);
}

static void check_line_ends(const char *p, size_t n)
{
    size_t i;
    assert(n >= 4 && memcmp(p + n - 4, "\r\n\r\n", 4) == 0);
    for (i = 0; i < n; i++) {
        assert(p[i] != '\0');
        assert(p[i] != '\n' || (i > 0 && p[i - 1] == '\r'));
        assert(p[i] != '\r' || p[i + 1] == '\n');
    }
}

static void check_framing(const struct sbx_http_request *r)
{
    size_t lengths, codings, hosts;
    const struct sbx_http_header *coding = sbx_http_header(r, "Transfer-Encoding", &codings);
    (void)sbx_http_header(r, "Content-Length", &lengths);
    (void)sbx_http_header(r, "Host", &hosts);
    assert(lengths + codings <= 1 && hosts <= 1 && hosts >= (size_t)r->minor);
    assert((r->body == SBX_HTTP_BODY_CHUNKED) == (codings == 1));
    assert(codings == 0 || sbx_str_ieq_z(coding->value, "chunked"));
    assert((r->body == SBX_HTTP_BODY_LENGTH) == (r->content_length > 0));
    assert(r->content_length == 0 || lengths == 1);
}

static void check_taken(const struct head *h)
{
    size_t i;
    check_line_ends(h->copy, (size_t)h->used);
    check_inside(h, h->req.method);
    check_inside(h, h->req.target);
    check_visible(h->req.method);
    check_visible(h->req.target);
    assert(h->req.target.n <= SBX_HTTP_MAX_TARGET && h->req.nheaders <= SBX_HTTP_MAX_HEADERS);
    assert(h->req.minor == 0 || h->req.minor == 1);
    for (i = 0; i < h->req.nheaders; i++) {
        check_inside(h, h->req.headers[i].name);
        check_inside(h, h->req.headers[i].value);
        check_visible(h->req.headers[i].name);
        assert(memchr(h->req.headers[i].name.p, ':', h->req.headers[i].name.n) == NULL);
        check_value(h->req.headers[i].value);
    }
    check_framing(&h->req);
}

static void same_text(struct sbx_str a, struct sbx_str b)
{
    assert(sbx_str_eq(a, b));
}

static void check_same(const struct head *a, const struct head *b)
{
    size_t i;
    same_text(a->req.method, b->req.method);
    same_text(a->req.target, b->req.target);
    assert(a->req.minor == b->req.minor && a->req.nheaders == b->req.nheaders);
    assert(a->req.body == b->req.body && a->req.content_length == b->req.content_length);
    assert(a->req.keep_alive == b->req.keep_alive);
    assert(a->req.expect_continue == b->req.expect_continue);
    for (i = 0; i < a->req.nheaders; i++) {
        same_text(a->req.headers[i].name, b->req.headers[i].name);
        same_text(a->req.headers[i].value, b->req.headers[i].value);
    }
}

static void check_agrees(const struct head *whole, const struct head *part)
{
    assert(part->used == whole->used);
    if (part->used > 0)
        check_same(whole, part);
    if (part->used < 0) {
        assert(part->refusal.status == whole->refusal.status);
        assert(strcmp(part->refusal.reason, whole->refusal.reason) == 0);
    }
}

/* Feeds ever longer prefixes, `step` bytes more each time, then all. */
static void check_in_steps(const struct head *whole, const char *p, size_t n, size_t first,
                           size_t step)
{
    struct head h = {.copy = NULL};
    size_t scanned = 0, have = first;
    for (; have < n; have += step) {
        head_step(&h, p, have, &scanned);
        if (h.used != 0)
            break;
    }
    if (have >= n)
        head_step(&h, p, n, &scanned);
    check_agrees(whole, &h);
    free(h.copy);
}

static size_t put_text(char *out, size_t at, struct sbx_str s)
{
    memcpy(out + at, s.p, s.n);
    return at + s.n;
}

static void check_written_again(const struct head *h)
{
    struct head again = {.copy = NULL};
    size_t n = 0, i, scanned = 0;
    char *out = malloc((size_t)h->used + 64 + 4 * SBX_HTTP_MAX_HEADERS);
    assert(out != NULL);
    n = put_text(out, n, h->req.method);
    n = put_text(out, n, SBX_STR(" "));
    n = put_text(out, n, h->req.target);
    n = put_text(out, n, h->req.minor == 0 ? SBX_STR(" HTTP/1.0\r\n") : SBX_STR(" HTTP/1.1\r\n"));
    for (i = 0; i < h->req.nheaders; i++) {
        n = put_text(out, n, h->req.headers[i].name);
        n = put_text(out, n, SBX_STR(":"));
        n = put_text(out, n, h->req.headers[i].value);
        n = put_text(out, n, SBX_STR("\r\n"));
    }
    n = put_text(out, n, SBX_STR("\r\n"));
    head_step(&again, out, n, &scanned);
    assert(again.used == (long)n);
    check_same(h, &again);
    free(again.copy);
    free(out);
}

/* What follows from RFC 9110, 12.5.3, whatever Accept-Encoding says. */
static void check_negotiation(const struct head *h)
{
    enum sbx_coding both = sbx_http_coding(&h->req, true), alone = sbx_http_coding(&h->req, false);
    assert(alone != SBX_CODING_IDENTITY);
    assert(alone == SBX_CODING_NONE || both != SBX_CODING_NONE);
    assert(both != SBX_CODING_GZIP || alone == SBX_CODING_GZIP);
    (void)sbx_http_has_etag(&h->req, SBX_STR("W/\"0123\""));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct head whole = {.copy = NULL};
    size_t scanned = 0, cut;
    const char *p;
    size_t n;
    if (size < 2)
        return 0;
    p = (const char *)data + 2;
    n = size - 2;
    cut = n > 0 ? (size_t)(data[0] << 8 | data[1]) % n : 0;
    head_step(&whole, p, n, &scanned);
    if (whole.used > 0) {
        check_taken(&whole);
        check_written_again(&whole);
        check_negotiation(&whole);
    }
    check_in_steps(&whole, p, n, cut, n + 1);
    check_in_steps(&whole, p, n, cut % 8, 1 + cut % 97);
    if (n <= 1500)
        check_in_steps(&whole, p, n, 0, 1);
    free(whole.copy);
    return 0;
}
