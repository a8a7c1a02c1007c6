/* conn_read.c - from bytes to requests: heads, bodies by length or in chunks, and what WebSockets
 * get.
 *
 * Bytes are read into a scratch buffer of the whole net and worked on there; what is left over,
 * since more is needed, moves to the connection. So a connection that is idle, or whose requests
 * come whole, has no buffer of its own. */
#include "net/conn_state.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define CONN_READ_MOST SBX_NET_SCRATCH
#define CONN_HEAVY_PER_TURN 4u
#define CONN_PIPELINED_PER_TURN 256u

/* Input being worked on: the shared scratch buffer, or the connection's own. */
struct conn_input {
    const uint8_t *p;
    size_t n;
    bool own;
};

static void conn_take(struct sbx_conn *c, struct conn_input *in, size_t n)
{
    if (n == 0)
        return; /* in->p may be NULL */
    in->p += n;
    in->n -= n;
    if (in->own)
        sbx_buf_consume(&c->in, n);
}

void sbx_conn_refuse(struct sbx_conn *c, const struct sbx_http_request *req, int status,
                        const char *reason)
{
    c->keep_alive = false;
    c->linger = true;
    /* While its body is read, the request is known: HEAD is answered without a body. */
    if (req == NULL && c->state != SBX_CONN_READ_BODY) {
        c->is_head = false;
        c->minor = 1;
    }
    if (c->state != SBX_CONN_HANDLE)
        sbx_conn_set_state(c, SBX_CONN_HANDLE);
    c->net->ops->on_refused(c, req, status, reason);
}

static void conn_note_request(struct sbx_conn *c, const struct sbx_http_request *req)
{
    c->minor = (uint8_t)req->minor;
    c->keep_alive = req->keep_alive;
    c->is_head = sbx_str_eq_z(req->method, "HEAD");
    c->body_kind = (uint8_t)req->body;
    c->body_left = req->body == SBX_HTTP_BODY_LENGTH ? req->content_length : 0;
    c->expects = req->expect_continue;
    c->heavy = false;
    sbx_http_chunked_init(&c->chunked);
}

/* A head is there: either it was answered at once, or its body is read next, or it is handled. */
static void conn_on_head(struct sbx_conn *c, struct conn_input *in,
                         const struct sbx_http_request *req, size_t head_len)
{
    uint64_t max_body = 0;
    conn_note_request(c, req);
    sbx_conn_set_state(c, SBX_CONN_HANDLE);
    c->net->ops->on_head(c, req, &max_body);
    if (c->on_gone != NULL) {
        conn_take(c, in, head_len); /* an answer that comes later, before the body is read */
        return;
    }
    if (c->state == SBX_CONN_HANDLE && sbx_conn_body_pending(c)) {
        if (c->body_left > max_body) {
            c->max_body = max_body;
            sbx_conn_refuse(c, req, 413, "request body");
        } else {
            sbx_conn_set_state(c, SBX_CONN_READ_BODY);
            c->head_len = head_len;
            c->max_body = max_body;
            return;
        }
    } else if (c->state == SBX_CONN_HANDLE) {
        c->net->ops->on_request(c, req, (struct sbx_str){NULL, 0});
    }
    conn_take(c, in, head_len);
}

/* The input at hand holds no whole head. When no more can come, the connection is over. */
static bool conn_no_more_heads(struct sbx_conn *c)
{
    if (c->at_end)
        sbx_conn_finish(c);
    return c->at_end;
}

static bool conn_step_head(struct sbx_conn *c, struct conn_input *in)
{
    struct sbx_http_request req;
    struct sbx_http_refusal refusal;
    long used;
    if (c->out.bytes >= SBX_CONN_PIPELINE_BYTES)
        return false;
    if (in->n == 0)
        return conn_no_more_heads(c);
    used = sbx_http_parse((const char *)in->p, in->n, &c->scanned, &req, &refusal);
    if (used == 0) {
        sbx_conn_begin_request_clock(c);
        return conn_no_more_heads(c);
    }
    c->scanned = 0;
    if (used < 0) {
        sbx_conn_refuse(c, NULL, refusal.status, refusal.reason);
        return true;
    }
    conn_on_head(c, in, &req, (size_t)used);
    return true;
}

/* The body is complete; the head before it is parsed again, which costs less than keeping a parsed
 * head for every connection that might be waiting for a body. */
static void conn_handle_body(struct sbx_conn *c, const uint8_t *head, struct sbx_str body)
{
    struct sbx_http_request req;
    struct sbx_http_refusal refusal;
    size_t scanned = 0;
    long used = sbx_http_parse((const char *)head, c->head_len, &scanned, &req, &refusal);
    assert(used == (long)c->head_len);
    (void)used;
    c->body_left = 0;
    c->chunked.state = SBX_HTTP_CHUNK_DONE;
    sbx_conn_set_state(c, SBX_CONN_HANDLE);
    c->request_due_us = 0;
    c->net->ops->on_request(c, &req, body);
}

static void conn_say_continue(struct sbx_conn *c)
{
    if (!c->expects)
        return;
    c->expects = false;
    sbx_conn_put(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

/* A hundred requests to start something that arrive together must not keep a health check waiting
 * until the last of them has started. */
static bool conn_must_wait_turn(struct sbx_conn *c)
{
    struct sbx_net *net = c->net;
    if (!c->heavy)
        return false;
    if (net->heavy_us != net->loop->now_us) {
        net->heavy_us = net->loop->now_us;
        net->heavy_done = 0;
    }
    if (net->heavy_done < CONN_HEAVY_PER_TURN) {
        net->heavy_done++;
        return false;
    }
    sbx_conn_wake(c);
    return true;
}

static bool conn_step_sized_body(struct sbx_conn *c, struct conn_input *in)
{
    size_t head = c->head_len, body = (size_t)c->body_left;
    if (in->n - head < body) {
        conn_say_continue(c);
        sbx_conn_begin_request_clock(c);
        return false;
    }
    if (conn_must_wait_turn(c))
        return false;
    conn_handle_body(c, in->p, (struct sbx_str){(const char *)in->p + head, body});
    conn_take(c, in, head + body);
    return true;
}

/* Raw bytes behind the head in `in` are decoded into `body` and cut out, so that a body of tiny
 * chunks costs memory for its data and not for its framing. */
static bool conn_step_chunked_body(struct sbx_conn *c, struct conn_input *in)
{
    size_t at = c->head_len;
    if (!in->own)
        return false; /* the caller moves it to c->in and comes back */
    while (at < in->n && c->chunked.state != SBX_HTTP_CHUNK_DONE) {
        const char *data;
        size_t len;
        long used = sbx_http_chunked_feed(&c->chunked, (const char *)in->p + at, in->n - at, &data,
                                          &len);
        if (used < 0) {
            sbx_conn_refuse(c, NULL, 400, "malformed chunked body");
            return true;
        }
        sbx_buf_add(&c->body, data, len);
        /* The size line tells early: an endless chunk is not waited for. */
        if (sbx_buf_len(&c->body) > c->max_body ||
            c->chunked.left > c->max_body - sbx_buf_len(&c->body)) {
            sbx_conn_refuse(c, NULL, 413, "request body");
            return true;
        }
        at += (size_t)used;
    }
    memmove(sbx_buf_data(&c->in) + c->head_len, sbx_buf_data(&c->in) + at, in->n - at);
    c->in.tail -= at - c->head_len;
    in->n -= at - c->head_len;
    if (c->body.oom) {
        sbx_conn_close(c);
        return false;
    }
    if (c->chunked.state != SBX_HTTP_CHUNK_DONE) {
        conn_say_continue(c);
        sbx_conn_begin_request_clock(c);
        return false;
    }
    if (conn_must_wait_turn(c))
        return false;
    conn_handle_body(c, in->p, sbx_buf_view(&c->body));
    conn_take(c, in, c->head_len);
    return true;
}

static bool conn_step_skip(struct sbx_conn *c, struct conn_input *in)
{
    size_t n = in->n < c->body_left ? in->n : (size_t)c->body_left;
    conn_take(c, in, n);
    c->body_left -= n;
    if (c->body_left > 0)
        return false;
    sbx_conn_set_state(c, SBX_CONN_READ_HEAD);
    sbx_conn_set_idle(c);
    return true;
}

static bool conn_step_websocket(struct sbx_conn *c, struct conn_input *in)
{
    size_t n = in->n;
    if (n == 0)
        return false;
    c->source->ops->input(c->source, c, in->p, n);
    conn_take(c, in, n);
    return true;
}

/* One step with the input at hand; false when more input or an answer is needed first. */
static bool conn_step(struct sbx_conn *c, struct conn_input *in)
{
    switch (c->state) {
    case SBX_CONN_READ_HEAD:
        return conn_step_head(c, in);
    case SBX_CONN_READ_BODY:
        return c->body_kind == SBX_HTTP_BODY_CHUNKED ? conn_step_chunked_body(c, in)
                                                     : conn_step_sized_body(c, in);
    case SBX_CONN_SKIP_BODY:
        return conn_step_skip(c, in);
    case SBX_CONN_WEBSOCKET:
        return conn_step_websocket(c, in);
    case SBX_CONN_FINISH:
    case SBX_CONN_LINGER:
    case SBX_CONN_CLOSED:
        conn_take(c, in, in->n);
        return false;
    case SBX_CONN_HANDLE:
    case SBX_CONN_STREAM:
        break;
    }
    return false;
}

/* Each connection has an answer in its turn; what was sent behind that request shares what one turn
 * does, or a few thousand connections with hundreds of requests each would be one long turn. */
static bool conn_must_share(struct sbx_conn *c, const struct conn_input *in)
{
    struct sbx_net *net = c->net;
    if (c->state != SBX_CONN_READ_HEAD || in->n == 0)
        return false;
    if (net->pipelined_us != net->loop->now_us) {
        net->pipelined_us = net->loop->now_us;
        net->pipelined = 0;
    }
    if (net->pipelined < CONN_PIPELINED_PER_TURN) {
        net->pipelined++;
        return false;
    }
    sbx_conn_wake(c);
    return true;
}

static void conn_process(struct sbx_conn *c, struct conn_input *in)
{
    c->processing = true;
    while (conn_step(c, in) && !conn_must_share(c, in))
        continue;
    c->processing = false;
}

void sbx_conn_process_own(struct sbx_conn *c)
{
    struct conn_input in = {sbx_buf_data(&c->in), sbx_buf_len(&c->in), true};
    if (in.n == 0 && !c->at_end)
        return;
    conn_process(c, &in);
    if (sbx_buf_len(&c->in) == 0)
        sbx_buf_deinit(&c->in);
}

static void conn_process_scratch(struct sbx_conn *c, size_t n)
{
    struct conn_input in = {c->net->scratch, n, false};
    conn_process(c, &in);
    if (in.n == 0 || c->state == SBX_CONN_CLOSED)
        return;
    sbx_buf_add(&c->in, in.p, in.n);
    if (c->in.oom)
        sbx_conn_close(c);
    else if (c->state == SBX_CONN_READ_BODY)
        sbx_conn_process_own(c);
}

/* Requests that were read before the end are still answered: the peer may wait for that. */
static void conn_on_peer_end(struct sbx_conn *c)
{
    c->peer_shut = c->at_end = true;
    if (c->state == SBX_CONN_SKIP_BODY)
        sbx_conn_finish(c);
    else if (c->state == SBX_CONN_READ_HEAD)
        sbx_conn_process_own(c);
    else
        sbx_conn_close(c);
}

/* Where a head is awaited, no more than that: what is behind it may be requests that wait until the
 * peer takes our answers, and that is memory for somebody who has not shown a token. */
static size_t conn_read_size(const struct sbx_conn *c)
{
    return c->state == SBX_CONN_READ_HEAD ? SBX_HTTP_MAX_HEAD : CONN_READ_MOST;
}

void sbx_conn_on_readable(struct sbx_conn *c)
{
    bool own = sbx_buf_len(&c->in) > 0;
    size_t n = conn_read_size(c);
    uint8_t *to = own ? sbx_buf_reserve(&c->in, n) : c->net->scratch;
    ssize_t got = to == NULL ? -ENOMEM : c->stream.ops->read(&c->stream, to, n);
    if (got == -EAGAIN)
        return;
    /* Cut off or ended: what was whole before is answered, and what was not is not. */
    if (got == 0 || got == -ECONNABORTED) {
        conn_on_peer_end(c);
    } else if (got < 0) {
        sbx_conn_close(c);
    } else if (own) {
        sbx_buf_commit(&c->in, (size_t)got);
        sbx_conn_process_own(c);
    } else {
        conn_process_scratch(c, (size_t)got);
    }
}
