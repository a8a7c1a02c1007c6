/* http_cases.c - the requests of http-parser's own tests, given to proto/http_parse.
 *
 * Their file is compiled in, not copied: CASES_FILE is its path. It has a table of requests with
 * what they mean, and calls test_simple_type() with texts and what is wrong with them. That
 * function is ours here, and those that run their parser for long do nothing (the script that
 * builds this renames theirs). Says in a line for each what they expect and what our parser makes
 * of it.
 *
 * Most of their HTTP/1.1 requests have no Host, which is 400 here (RFC 9112, 3.2). Such a request
 * is looked at once more with one, or it would say nothing about anything else. */
#include "http_parser.h"

struct message;
static void test_simple_type(const char *text, enum http_errno expected,
                             enum http_parser_type type);
static void test_message(const struct message *m);
static void test_message_pause(const struct message *m);
static void test_message_connect(const struct message *m);
static void test_message_count_body(const struct message *m);
static void test_multiple3(const struct message *a, const struct message *b,
                           const struct message *c);
static void test_scan(const struct message *a, const struct message *b, const struct message *c);
static void test_no_overflow_long_body(int req, size_t length);

#define main cases_main
#include CASES_FILE
#undef main

#include "base/buf.h"
#include "proto/http_parse.h"

#define HOST "Host: a\r\n"

struct http_case {
    struct sbx_http_request req;
    struct sbx_http_refusal refusal;
    long used;
    struct sbx_buf body;
    bool complete;
    bool added; /* a Host line, which is the first header then */
    char *text;
};

static void case_read_chunks(struct http_case *c, const char *p, size_t n)
{
    struct sbx_http_chunked chunked;
    sbx_http_chunked_init(&chunked);
    while (n > 0 && chunked.state != SBX_HTTP_CHUNK_DONE) {
        const char *data;
        size_t len;
        long used = sbx_http_chunked_feed(&chunked, p, n, &data, &len);
        if (used < 0) {
            c->used = -1;
            c->refusal = (struct sbx_http_refusal){400, "malformed chunked body"};
            return;
        }
        sbx_buf_add(&c->body, data, len);
        p += used;
        n -= (size_t)used;
    }
    c->complete = chunked.state == SBX_HTTP_CHUNK_DONE;
}

static void case_parse(struct http_case *c, const char *p, size_t n)
{
    size_t scanned = 0;
    sbx_buf_deinit(&c->body);
    c->complete = false;
    c->used = sbx_http_parse(p, n, &scanned, &c->req, &c->refusal);
    if (c->used <= 0)
        return;
    p += c->used;
    n -= (size_t)c->used;
    if (c->req.body == SBX_HTTP_BODY_CHUNKED) {
        case_read_chunks(c, p, n);
        return;
    }
    if (n > c->req.content_length)
        n = (size_t)c->req.content_length;
    sbx_buf_add(&c->body, p, n);
    c->complete = n == c->req.content_length;
}

static void case_add_host(struct http_case *c, const char *p)
{
    const char *line = strstr(p + strspn(p, "\r\n"), "\r\n");
    size_t before = (size_t)(line + 2 - p);
    c->text = malloc(strlen(p) + sizeof HOST);
    if (c->text == NULL)
        abort();
    memcpy(c->text, p, before);
    memcpy(c->text + before, HOST, sizeof HOST - 1);
    strcpy(c->text + before + sizeof HOST - 1, p + before);
    c->added = true;
}

static void case_read(struct http_case *c, const char *p)
{
    memset(c, 0, sizeof *c);
    case_parse(c, p, strlen(p));
    if (c->used >= 0 || strstr(c->refusal.reason, "without a Host") == NULL)
        return;
    case_add_host(c, p);
    case_parse(c, c->text, strlen(c->text));
}

static void case_free(struct http_case *c)
{
    sbx_buf_deinit(&c->body);
    free(c->text);
}

static bool case_header_is(const struct http_case *c, size_t i, const char *name, const char *value)
{
    return i < c->req.nheaders && sbx_str_eq_z(c->req.headers[i].name, name) &&
           sbx_str_eq(c->req.headers[i].value, sbx_str_trim(sbx_str_z(value)));
}

/* NULL, or in which part it was read otherwise than they say. */
static const char *case_difference(const struct http_case *c, const struct message *m)
{
    size_t i, own = c->added;
    if (!sbx_str_eq_z(c->req.method, http_method_str(m->method)))
        return "method";
    if (!sbx_str_eq_z(c->req.target, m->request_url))
        return "target";
    if (c->req.minor != m->http_minor)
        return "version";
    for (i = 0; i + own < c->req.nheaders && i < (size_t)m->num_headers; i++)
        if (!case_header_is(c, i + own, m->headers[i][0], m->headers[i][1]))
            return "header";
    /* They count trailers as headers. */
    if (c->req.nheaders != (size_t)m->num_headers + own && c->req.body != SBX_HTTP_BODY_CHUNKED)
        return "number of headers";
    if (m->upgrade == NULL && m->body_size == 0 && !sbx_str_eq_z(sbx_buf_view(&c->body), m->body))
        return "body";
    if (m->upgrade == NULL && c->req.keep_alive != (m->should_keep_alive != 0))
        return "keep-alive";
    return NULL;
}

static void case_print(const char *name, bool expected, const struct http_case *c,
                       const char *difference)
{
    printf("CASE\t");
    for (; *name != '\0'; name++)
        putchar(*name >= 0x20 && *name < 0x7f ? *name : '~');
    printf("\t%s\t%s\t", expected ? "ok" : "refused", c->added ? "host added" : "as it is");
    if (c->used < 0)
        printf("refused\t%d %s\n", c->refusal.status, c->refusal.reason);
    else if (difference != NULL)
        printf("differs\t%s\n", difference);
    else
        printf("ok\t%s\n", c->complete ? "whole" : "more to come");
}

static void test_simple_type(const char *text, enum http_errno expected, enum http_parser_type type)
{
    struct http_case c;
    char name[60];
    if (type != HTTP_REQUEST)
        return;
    case_read(&c, text);
    (void)snprintf(name, sizeof name, "%s", text);
    case_print(name, expected == HPE_OK, &c, NULL);
    case_free(&c);
}

static void case_message(const struct message *m)
{
    struct http_case c;
    case_read(&c, m->raw);
    case_print(m->name, true, &c, c.used > 0 ? case_difference(&c, m) : NULL);
    case_free(&c);
}

static void test_message(const struct message *m)
{
    (void)m;
}

static void test_message_pause(const struct message *m)
{
    (void)m;
}

static void test_message_connect(const struct message *m)
{
    (void)m;
}

static void test_message_count_body(const struct message *m)
{
    (void)m;
}

static void test_multiple3(const struct message *a, const struct message *b,
                           const struct message *c)
{
    (void)a;
    (void)b;
    (void)c;
}

static void test_scan(const struct message *a, const struct message *b, const struct message *c)
{
    (void)a;
    (void)b;
    (void)c;
}

static void test_no_overflow_long_body(int req, size_t length)
{
    (void)req;
    (void)length;
}

int main(void)
{
    size_t i;
    for (i = 0; i < ARRAY_SIZE(requests); i++)
        case_message(&requests[i]);
    return cases_main();
}
