/* conn.c - see conn.h.
 *
 *  READ_HEAD --head--> HANDLE --body to come--> READ_BODY --complete--> HANDLE
 *      ^                 |                                                |
 *      |   respond       +------------------------------------------------+
 *      +---------------- |--> SKIP_BODY --rest dropped--> READ_HEAD   answered before the body
 *      |                 |--> STREAM --source ends--> READ_HEAD or FINISH
 *      |                 |--> WEBSOCKET --source ends--> FINISH
 *      +-- keep-alive    +--> FINISH --all written--> LINGER --peer closes--> CLOSED
 *
 * Every state goes to CLOSED when the peer is gone. Transitions are made by conn_set_state alone,
 * which checks them against conn_may_follow. What holds:
 *   - source != NULL exactly in STREAM and WEBSOCKET;
 *   - on_gone != NULL only in HANDLE;
 *   - a request is handled only when the answers before it are queued, so answers are in order;
 *   - a stream that is not ready (TLS) is in READ_HEAD, and nothing of HTTP has happened on it;
 *   - output is written in phase FLUSH, once a turn; POLLOUT is watched while some remains;
 *   - memory of a closed connection lives until phase FREE: callbacks may close anything.
 *
 * Closing. A socket closed while the peer still sends makes its system drop our last answer
 * (RST). So after an answer to a request that was not read whole, the write side is shut first and
 * input is dropped until the peer closes or CONN_LINGER_US passed (RFC 9112, 9.6).
 *
 * Half-closed peers. A peer that shut its write side may still wait for the answer; one that is
 * gone looks the same until something is sent to it. In HANDLE a 102 (Processing) is sent to find
 * out, in STREAM the source sends something of its own. */
#include "net/conn.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"
#include "proto/http_write.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define CONN_PIPELINE_BYTES (64u * 1024u) /* unsent answers above which no request is begun */
#define CONN_WRITE_BUDGET (1024u * 1024u) /* bytes for one connection in one turn */
#define CONN_READ_OWN (64u * 1024u)
#define CONN_HEAVY_PER_TURN 4u
#define CONN_SKIP_BYTES (64u * 1024u) /* an unread body that is cheaper than a new connection */
#define CONN_FINISH_US 30000000u
#define CONN_STALL_US 60000000u  /* an answer that is written as it is taken, and is not taken */
#define CONN_LINGER_US 2000000u
#define CONN_HANDSHAKES_US 4000u /* for all of them in one turn: each costs a millisecond or more */
#define CONN_NEVER UINT64_MAX

/* Input being worked on: the shared scratch buffer, or the connection's own. */
struct conn_input {
    const uint8_t *p;
    size_t n;
    bool own;
};

static void conn_process(struct sbx_conn *c, struct conn_input *in);

static const char *const conn_state_names[] = {"READ_HEAD", "READ_BODY", "HANDLE",
                                               "STREAM",    "WEBSOCKET", "SKIP_BODY",
                                               "FINISH",    "LINGER",    "CLOSED"};

static bool conn_may_follow(enum sbx_conn_state from, enum sbx_conn_state to)
{
#define CONN_BIT(s) (1u << SBX_CONN_##s)
    static const unsigned next[] = {
        [SBX_CONN_READ_HEAD] = CONN_BIT(HANDLE) | CONN_BIT(FINISH),
        [SBX_CONN_READ_BODY] = CONN_BIT(HANDLE),
        [SBX_CONN_HANDLE] = CONN_BIT(READ_HEAD) | CONN_BIT(READ_BODY) | CONN_BIT(STREAM) |
                            CONN_BIT(WEBSOCKET) | CONN_BIT(SKIP_BODY) | CONN_BIT(FINISH),
        [SBX_CONN_STREAM] = CONN_BIT(READ_HEAD) | CONN_BIT(FINISH),
        [SBX_CONN_WEBSOCKET] = CONN_BIT(FINISH),
        [SBX_CONN_SKIP_BODY] = CONN_BIT(READ_HEAD) | CONN_BIT(FINISH),
        [SBX_CONN_FINISH] = CONN_BIT(LINGER),
        [SBX_CONN_LINGER] = 0,
        [SBX_CONN_CLOSED] = 0,
    };
#undef CONN_BIT
    return to == SBX_CONN_CLOSED ? from != SBX_CONN_CLOSED : (next[from] & 1u << to) != 0;
}

static void conn_assert(const struct sbx_conn *c)
{
    assert((c->source != NULL) ==
           (c->state == SBX_CONN_STREAM || c->state == SBX_CONN_WEBSOCKET));
    assert(c->on_gone == NULL || c->state == SBX_CONN_HANDLE);
    assert(c->stream.fd >= 0 || c->state == SBX_CONN_CLOSED);
}

static void conn_set_state(struct sbx_conn *c, enum sbx_conn_state state)
{
    assert(conn_may_follow(c->state, state));
    sbx_diag(c->net->diag, SBX_DIAG_DEBUG, "conn %llu: %s -> %s", (unsigned long long)c->serial,
             conn_state_names[c->state], conn_state_names[state]);
    c->state = state;
}

/* --- deadlines --- */

/* The timer is armed no later than due; when it fires early it is armed again. A connection that
 * serves thousands of requests a second thus touches the timer heap once in an idle timeout. */
static void conn_set_due(struct sbx_conn *c, uint64_t due_us)
{
    c->due_us = due_us;
    if (due_us != CONN_NEVER && (!c->timer.armed || c->timer.at_us > due_us))
        sbx_loop_set_timer(c->net->loop, &c->timer, due_us);
}

static void conn_set_idle(struct sbx_conn *c)
{
    c->request_due_us = 0;
    conn_set_due(c, c->net->loop->now_us + c->net->idle_timeout_us);
}

static void conn_begin_request_clock(struct sbx_conn *c)
{
    if (c->request_due_us == 0)
        c->request_due_us = c->net->loop->now_us + c->net->request_timeout_us;
    conn_set_due(c, c->request_due_us);
}

/* --- what to wait for --- */

static bool conn_wants_input(const struct sbx_conn *c)
{
    switch (c->state) {
    case SBX_CONN_READ_HEAD:
        /* More than one head's worth in memory is requests that wait for their turn. */
        return !c->at_end && c->out.bytes < CONN_PIPELINE_BYTES &&
               sbx_buf_len(&c->in) <= SBX_HTTP_MAX_HEAD;
    case SBX_CONN_WEBSOCKET:
        return c->out.bytes < 2 * SBX_CONN_HIGH;
    case SBX_CONN_READ_BODY:
    case SBX_CONN_SKIP_BODY:
    case SBX_CONN_LINGER:
        return true;
    case SBX_CONN_HANDLE:
    case SBX_CONN_STREAM:
    case SBX_CONN_FINISH:
    case SBX_CONN_CLOSED:
        break;
    }
    return false;
}

static int conn_events(const struct sbx_conn *c)
{
    int events = c->out.count > 0 || c->stream.wants_write ? POLLOUT : 0;
    if (!c->stream.ready)
        return c->stream.wants_write ? POLLOUT : POLLIN;
    if (conn_wants_input(c))
        return events | POLLIN;
    if (!c->peer_shut && (c->state == SBX_CONN_HANDLE || c->state == SBX_CONN_STREAM))
        return events | POLLRDHUP;
    return events;
}

static void conn_update_watch(struct sbx_conn *c)
{
    int events;
    if (c->state == SBX_CONN_CLOSED)
        return;
    events = conn_events(c);
    if (sbx_io_watch(&c->io, (short)events) < 0)
        sbx_conn_close(c);
}

static void conn_want_flush(struct sbx_conn *c)
{
    sbx_loop_defer(c->net->loop, SBX_PHASE_FLUSH, &c->flush);
}

void sbx_conn_wake(struct sbx_conn *c)
{
    sbx_loop_defer(c->net->loop, SBX_PHASE_PULL, &c->step);
}

/* --- life and death --- */

static void conn_free(struct sbx_task *t)
{
    struct sbx_conn *c = SBX_LIST_OF(t, struct sbx_conn, free);
    sbx_buf_deinit(&c->in);
    sbx_buf_deinit(&c->body);
    sbx_buf_deinit(&c->headers);
    sbx_outq_deinit(&c->out);
    sbx_mem_free(c);
}

static void conn_drop_source(struct sbx_conn *c)
{
    struct sbx_source *s = c->source;
    c->source = NULL;
    if (s != NULL)
        s->ops->gone(s, c);
}

/* Was nothing cut off? An answer that breaks off must not look like a whole one. */
static bool conn_is_at_rest(const struct sbx_conn *c)
{
    return c->out.count == 0 && (c->state == SBX_CONN_READ_HEAD || c->state == SBX_CONN_FINISH ||
                                 c->state == SBX_CONN_LINGER);
}

void sbx_conn_close(struct sbx_conn *c)
{
    void (*gone)(struct sbx_conn *conn, void *ctx) = c->on_gone;
    if (c->state == SBX_CONN_CLOSED)
        return;
    if (conn_is_at_rest(c))
        c->stream.ops->end(&c->stream);
    conn_set_state(c, SBX_CONN_CLOSED);
    sbx_io_stop(&c->io);
    c->stream.ops->close(&c->stream);
    sbx_loop_cancel_timer(c->net->loop, &c->timer);
    sbx_task_cancel(&c->step);
    sbx_task_cancel(&c->flush);
    sbx_list_remove(&c->node);
    c->net->count--;
    c->on_gone = NULL;
    conn_drop_source(c);
    if (gone != NULL)
        gone(c, c->gone_ctx);
    sbx_loop_defer(c->net->loop, SBX_PHASE_FREE, &c->free);
}

/* Everything is written: close now, or wait for the peer to have read it. */
static void conn_finished(struct sbx_conn *c)
{
    /* Bytes that nobody read would turn the close into a reset. */
    if ((!c->linger || c->at_end) && sbx_fd_readable_bytes(c->stream.fd) == 0) {
        sbx_conn_close(c);
        return;
    }
    conn_set_state(c, SBX_CONN_LINGER);
    c->stream.ops->shut_write(&c->stream);
    conn_set_due(c, c->net->loop->now_us + CONN_LINGER_US);
}

static void conn_finish(struct sbx_conn *c)
{
    conn_set_state(c, SBX_CONN_FINISH);
    conn_set_due(c, c->net->loop->now_us + CONN_FINISH_US);
    conn_want_flush(c);
}

static void conn_flush(struct sbx_task *t)
{
    struct sbx_conn *c = SBX_LIST_OF(t, struct sbx_conn, flush);
    /* Pipelined requests may be waiting for room. */
    bool held_up = c->out.bytes >= CONN_PIPELINE_BYTES;
    ssize_t put = sbx_outq_write(&c->out, &c->stream, CONN_WRITE_BUDGET);
    if (put < 0 || c->out.oom) {
        sbx_conn_close(c);
        return;
    }
    if (put > 0) {
        c->progress_us = c->net->loop->now_us;
        if (c->source != NULL && c->source->ops->sent != NULL)
            c->source->ops->sent(c->source, c);
    }
    if (c->out.count == 0 && c->state == SBX_CONN_FINISH)
        conn_finished(c);
    if ((c->source != NULL && c->more && !sbx_conn_is_full(c)) ||
        (held_up && c->state == SBX_CONN_READ_HEAD && c->out.bytes < CONN_PIPELINE_BYTES))
        sbx_conn_wake(c);
    conn_update_watch(c);
}

/* --- answering --- */

static bool conn_body_pending(const struct sbx_conn *c)
{
    if (c->body_kind == SBX_HTTP_BODY_CHUNKED)
        return c->chunked.state != SBX_HTTP_CHUNK_DONE;
    return c->body_left > 0;
}

/* Is what is left of the request worth reading, to keep the connection? */
static bool conn_can_skip_body(const struct sbx_conn *c)
{
    return !c->expects && c->body_kind == SBX_HTTP_BODY_LENGTH && c->body_left <= CONN_SKIP_BYTES;
}

static void conn_put_date(struct sbx_net *net, struct sbx_buf *out)
{
    uint64_t now = sbx_clock_wall_ms() / 1000;
    if (now != net->date_s) {
        net->date_s = now;
        sbx_clock_http_date(now, net->date);
    }
    sbx_buf_add_z(out, "date: ");
    sbx_buf_add(out, net->date, SBX_HTTP_DATE_LEN);
    sbx_buf_add_z(out, "\r\n");
}

static size_t conn_parts(const struct sbx_response *r)
{
    return r->body == NULL ? 0 : r->nbody == 0 ? 1 : r->nbody;
}

static size_t conn_body_len(const struct sbx_response *r)
{
    size_t i, n = r->body == NULL ? r->text.n : 0;
    for (i = 0; i < conn_parts(r); i++)
        n += sbx_buf_len(&r->body[i]);
    return n;
}

static void conn_put_head(struct sbx_conn *c, const struct sbx_response *r, bool keep)
{
    struct sbx_buf *out = &c->net->head;
    sbx_buf_clear(out);
    sbx_http_put_status(out, r->status);
    if (r->content_type != NULL)
        sbx_http_put_header(out, "content-type", sbx_str_z(r->content_type));
    if (c->chunked_out)
        sbx_buf_add_z(out, "transfer-encoding: chunked\r\n");
    else if (!r->no_length)
        sbx_http_put_header_u64(out, "content-length", conn_body_len(r));
    sbx_buf_add_str(out, c->net->common);
    sbx_buf_add_str(out, sbx_buf_view(&c->headers));
    sbx_buf_add_str(out, r->headers);
    if (r->status != 101 && !keep)
        sbx_buf_add_z(out, "connection: close\r\n");
    else if (r->status != 101 && c->minor == 0)
        sbx_buf_add_z(out, "connection: keep-alive\r\n");
    conn_put_date(c->net, out);
    sbx_buf_add_z(out, "\r\n");
    sbx_outq_add_copy(&c->out, sbx_buf_data(out), sbx_buf_len(out));
    if (out->oom || c->headers.oom)
        c->out.oom = true;
    sbx_buf_deinit(&c->headers);
}

static void conn_put_body(struct sbx_conn *c, const struct sbx_response *r)
{
    size_t i;
    if (r->body == NULL && !c->is_head && r->text.n > 0)
        sbx_outq_add_copy(&c->out, r->text.p, r->text.n);
    for (i = 0; i < conn_parts(r); i++) {
        if (!c->is_head)
            sbx_outq_add_buf(&c->out, &r->body[i]);
        sbx_buf_deinit(&r->body[i]);
    }
}

/* The next request may come, or the connection ends. */
static void conn_after_answer(struct sbx_conn *c, bool keep)
{
    sbx_buf_deinit(&c->body);
    c->served = true;
    if (!keep) {
        c->linger = c->linger || conn_body_pending(c);
        conn_finish(c);
    } else if (conn_body_pending(c)) {
        conn_set_state(c, SBX_CONN_SKIP_BODY);
        conn_begin_request_clock(c);
    } else {
        conn_set_state(c, SBX_CONN_READ_HEAD);
        conn_set_idle(c);
    }
    if (!c->processing && (sbx_buf_len(&c->in) > 0 || c->at_end))
        sbx_conn_wake(c);
    conn_want_flush(c);
}

void sbx_conn_respond(struct sbx_conn *c, const struct sbx_response *r)
{
    bool keep = c->keep_alive && !c->net->stopping &&
                (!conn_body_pending(c) || conn_can_skip_body(c));
    assert(c->state == SBX_CONN_HANDLE);
    c->on_gone = NULL;
    c->chunked_out = false;
    conn_put_head(c, r, keep);
    conn_put_body(c, r);
    conn_after_answer(c, keep);
    conn_assert(c);
}

void sbx_conn_defer(struct sbx_conn *c, void (*on_gone)(struct sbx_conn *c, void *ctx), void *ctx)
{
    assert(c->state == SBX_CONN_HANDLE);
    c->on_gone = on_gone;
    c->gone_ctx = ctx;
    conn_set_due(c, CONN_NEVER);
    conn_want_flush(c); /* answers before this one; and the watch changes */
}

static void conn_take_source(struct sbx_conn *c, enum sbx_conn_state state,
                             struct sbx_source *source)
{
    c->source = source;
    conn_set_state(c, state);
    c->more = true;
    sbx_buf_deinit(&c->body);
    conn_set_due(c, c->net->loop->now_us +
                        (source->tick_us > 0 ? source->tick_us : CONN_STALL_US));
    sbx_conn_wake(c);
    conn_want_flush(c);
    conn_assert(c);
}

void sbx_conn_start_stream(struct sbx_conn *c, const struct sbx_response *head,
                           struct sbx_source *source)
{
    struct sbx_response r = *head;
    r.no_length = true;
    c->chunked_out = c->minor > 0;
    if (c->net->stopping || c->minor == 0)
        c->keep_alive = false;
    conn_put_head(c, &r, c->keep_alive);
    c->on_gone = NULL;
    conn_take_source(c, SBX_CONN_STREAM, source);
}

void sbx_conn_upgrade(struct sbx_conn *c, struct sbx_str accept, struct sbx_str headers,
                      struct sbx_source *source)
{
    struct sbx_response r = {.status = 101, .no_length = true, .headers = headers};
    c->chunked_out = false;
    sbx_buf_add_z(&c->headers, "connection: upgrade\r\nupgrade: websocket\r\n");
    sbx_http_put_header(&c->headers, "sec-websocket-accept", accept);
    c->keep_alive = false;
    conn_put_head(c, &r, false);
    c->on_gone = NULL;
    conn_take_source(c, SBX_CONN_WEBSOCKET, source);
}

void sbx_conn_put(struct sbx_conn *c, const void *p, size_t n)
{
    sbx_outq_add_copy(&c->out, p, n);
    conn_want_flush(c);
}

void sbx_conn_put_blob(struct sbx_conn *c, struct sbx_blob *blob, const uint8_t *p, size_t n)
{
    sbx_outq_add_blob(&c->out, blob, p, n);
    conn_want_flush(c);
}

void sbx_conn_put_chunk(struct sbx_conn *c, const void *p, size_t n)
{
    uint8_t head[SBX_HTTP_CHUNK_HEAD];
    if (n == 0)
        return;
    if (!c->chunked_out) {
        sbx_conn_put(c, p, n);
        return;
    }
    sbx_http_chunk_head(head, n);
    sbx_conn_put(c, head, sizeof head);
    sbx_conn_put(c, p, n);
    sbx_conn_put(c, "\r\n", SBX_HTTP_CHUNK_TAIL);
}

void sbx_conn_put_chunk_buf(struct sbx_conn *c, struct sbx_buf *b)
{
    uint8_t head[SBX_HTTP_CHUNK_HEAD];
    if (sbx_buf_len(b) > 0 && c->chunked_out) {
        sbx_http_chunk_head(head, sbx_buf_len(b));
        sbx_conn_put(c, head, sizeof head);
    }
    if (sbx_buf_len(b) > 0) {
        sbx_outq_add_buf(&c->out, b);
        if (c->chunked_out)
            sbx_conn_put(c, "\r\n", SBX_HTTP_CHUNK_TAIL);
    }
    sbx_buf_deinit(b);
}

void sbx_conn_put_framed(struct sbx_conn *c, struct sbx_blob *blob, const uint8_t *p, size_t n)
{
    if (c->chunked_out)
        sbx_conn_put_blob(c, blob, p, n);
    else
        sbx_conn_put_blob(c, blob, p + SBX_HTTP_CHUNK_HEAD,
                          n - SBX_HTTP_CHUNK_HEAD - SBX_HTTP_CHUNK_TAIL);
}

bool sbx_conn_abandons(struct sbx_conn *c, bool last)
{
    if (!last || c->out.count == 0 || c->net->loop->now_us - c->progress_us < CONN_FINISH_US)
        return false;
    sbx_conn_close(c);
    return true;
}

uint64_t sbx_conn_acked(const struct sbx_conn *c)
{
    return c->stream.wire - sbx_stream_unacked(&c->stream);
}

bool sbx_conn_took_some(struct sbx_conn *c)
{
    uint64_t acked = sbx_conn_acked(c);
    bool took = acked > c->acked;
    c->acked = acked;
    return took;
}

/* --- reading --- */

static void conn_take(struct sbx_conn *c, struct conn_input *in, size_t n)
{
    in->p += n;
    in->n -= n;
    if (in->own)
        sbx_buf_consume(&c->in, n);
}

static void conn_refuse(struct sbx_conn *c, const struct sbx_http_request *req, int status,
                        const char *reason)
{
    c->keep_alive = false;
    c->linger = true;
    if (req == NULL) {
        c->is_head = false;
        c->minor = 1;
    }
    if (c->state != SBX_CONN_HANDLE)
        conn_set_state(c, SBX_CONN_HANDLE);
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
    conn_set_state(c, SBX_CONN_HANDLE);
    c->net->ops->on_head(c, req, &max_body);
    if (c->on_gone != NULL) {
        conn_take(c, in, head_len); /* an answer that comes later, before the body is read */
        return;
    }
    if (c->state == SBX_CONN_HANDLE && conn_body_pending(c)) {
        if (c->body_left > max_body) {
            c->max_body = max_body;
            conn_refuse(c, req, 413, "request body");
        } else {
            conn_set_state(c, SBX_CONN_READ_BODY);
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
        conn_finish(c);
    return c->at_end;
}

static bool conn_step_head(struct sbx_conn *c, struct conn_input *in)
{
    struct sbx_http_request req;
    struct sbx_http_refusal refusal;
    long used;
    if (c->out.bytes >= CONN_PIPELINE_BYTES)
        return false;
    if (in->n == 0)
        return conn_no_more_heads(c);
    used = sbx_http_parse((const char *)in->p, in->n, &c->scanned, &req, &refusal);
    if (used == 0) {
        conn_begin_request_clock(c);
        return conn_no_more_heads(c);
    }
    c->scanned = 0;
    if (used < 0) {
        conn_refuse(c, NULL, refusal.status, refusal.reason);
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
    conn_set_state(c, SBX_CONN_HANDLE);
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
        conn_begin_request_clock(c);
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
            conn_refuse(c, NULL, 400, "malformed chunked body");
            return true;
        }
        sbx_buf_add(&c->body, data, len);
        /* The size line tells early: an endless chunk is not waited for. */
        if (sbx_buf_len(&c->body) > c->max_body ||
            c->chunked.left > c->max_body - sbx_buf_len(&c->body)) {
            conn_refuse(c, NULL, 413, "request body");
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
        conn_begin_request_clock(c);
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
    conn_set_state(c, SBX_CONN_READ_HEAD);
    conn_set_idle(c);
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

static void conn_process(struct sbx_conn *c, struct conn_input *in)
{
    c->processing = true;
    while (conn_step(c, in))
        continue;
    c->processing = false;
}

static void conn_process_own(struct sbx_conn *c)
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
        conn_process_own(c);
}

/* Requests that were read before the end are still answered: the peer may wait for that. */
static void conn_on_peer_end(struct sbx_conn *c)
{
    c->peer_shut = c->at_end = true;
    if (c->state == SBX_CONN_SKIP_BODY)
        conn_finish(c);
    else if (c->state == SBX_CONN_READ_HEAD)
        conn_process_own(c);
    else
        sbx_conn_close(c);
}

static void conn_on_readable(struct sbx_conn *c)
{
    bool own = sbx_buf_len(&c->in) > 0;
    uint8_t *to = own ? sbx_buf_reserve(&c->in, CONN_READ_OWN) : c->net->scratch;
    ssize_t got = to == NULL ? -ENOMEM
                             : c->stream.ops->read(&c->stream, to,
                                                   own ? CONN_READ_OWN : SBX_NET_SCRATCH);
    if (got == -EAGAIN)
        return;
    if (got < 0) {
        sbx_conn_close(c);
    } else if (got == 0) {
        conn_on_peer_end(c);
    } else if (own) {
        sbx_buf_commit(&c->in, (size_t)got);
        conn_process_own(c);
    } else {
        conn_process_scratch(c, (size_t)got);
    }
}

static void conn_read_all(struct sbx_conn *c)
{
    do
        conn_on_readable(c);
    while (c->state != SBX_CONN_CLOSED && c->stream.more && conn_wants_input(c));
}

/* Half a hundred clients that connect together must not keep a health check waiting for as many
 * signatures. poll() tells again of those that are left. */
static bool conn_may_shake_hands(struct sbx_net *net)
{
    if (net->handshake_turn_us != net->loop->now_us) {
        net->handshake_turn_us = net->loop->now_us;
        net->handshakes_us = 0;
    }
    return net->handshakes_us < CONN_HANDSHAKES_US;
}

static void conn_on_handshake(struct sbx_conn *c)
{
    struct sbx_net *net = c->net;
    struct sbx_err err;
    uint64_t begun;
    int rc;
    if (!conn_may_shake_hands(net))
        return;
    begun = sbx_clock_mono_us();
    rc = c->stream.ops->handshake(&c->stream, &err);
    net->handshakes_us += sbx_clock_mono_us() - begun;
    if (rc == -EAGAIN)
        return;
    if (rc == -EPROTOTYPE) {
        conn_refuse(c, NULL, 400, "this port speaks HTTPS: use https:// or wss://");
    } else if (rc < 0) {
        sbx_diag(net->diag, SBX_DIAG_DEBUG, "conn %llu: %s", (unsigned long long)c->serial,
                 err.text);
        sbx_conn_close(c);
    } else if (c->too_many != NULL) {
        conn_refuse(c, NULL, 503, c->too_many);
    } else {
        conn_set_idle(c);
    }
}

static void conn_on_half_close(struct sbx_conn *c)
{
    c->peer_shut = true;
    if (c->state == SBX_CONN_STREAM && c->source->ops->peer_shut != NULL)
        c->source->ops->peer_shut(c->source, c);
    else if (c->state == SBX_CONN_HANDLE && c->minor > 0)
        sbx_conn_put(c, "HTTP/1.1 102 Processing\r\n\r\n", 27);
    else
        sbx_conn_close(c);
}

static void conn_on_ready(struct sbx_io *io, short revents)
{
    struct sbx_conn *c = SBX_LIST_OF(io, struct sbx_conn, io);
    bool readable = ((revents & POLLIN) != 0 || c->stream.wants_write) && conn_wants_input(c);
    if ((revents & (POLLERR | POLLNVAL)) != 0 || ((revents & POLLHUP) != 0 && !readable)) {
        sbx_conn_close(c);
        return;
    }
    if (!c->stream.ready)
        conn_on_handshake(c);
    else if (readable)
        conn_read_all(c);
    else if ((revents & POLLRDHUP) != 0)
        conn_on_half_close(c);
    if (c->state == SBX_CONN_CLOSED)
        return;
    if ((revents & POLLOUT) != 0)
        conn_want_flush(c);
    conn_update_watch(c);
}

/* --- the source's turn --- */

static void conn_end_source(struct sbx_conn *c)
{
    bool stream = c->state == SBX_CONN_STREAM;
    struct sbx_source *s = c->source;
    c->source = NULL;
    if (stream && c->chunked_out)
        sbx_conn_put(c, SBX_HTTP_LAST_CHUNK, sizeof SBX_HTTP_LAST_CHUNK - 1);
    if (!stream)
        c->linger = true; /* for the peer's close frame */
    if (stream && c->keep_alive && !c->net->stopping) {
        conn_set_state(c, SBX_CONN_READ_HEAD);
        conn_set_idle(c);
        if (sbx_buf_len(&c->in) > 0 || c->at_end)
            sbx_conn_wake(c);
    } else {
        conn_finish(c);
    }
    s->ops->gone(s, c);
}

static void conn_run_step(struct sbx_task *t)
{
    struct sbx_conn *c = SBX_LIST_OF(t, struct sbx_conn, step);
    if (c->source == NULL) {
        conn_process_own(c);
        return;
    }
    if (c->state == SBX_CONN_WEBSOCKET)
        conn_process_own(c);
    if (c->source == NULL)
        return;
    if (sbx_conn_is_full(c)) {
        c->more = true; /* asked again when there is room */
        return;
    }
    switch (c->source->ops->pull(c->source, c)) {
    case SBX_PULL_IDLE:
        c->more = false;
        break;
    case SBX_PULL_MORE:
        c->more = true;
        break;
    case SBX_PULL_END:
        conn_end_source(c);
        break;
    }
    conn_want_flush(c);
}

/* --- timer --- */

/* Is an answer still being taken? Then there is a new deadline, counted from the last progress. */
static bool conn_still_taking(struct sbx_conn *c, uint64_t patience_us)
{
    /* A write gets through only when a good part of the system's buffer is free, so a slow peer is
     * known by what it acknowledged. */
    if (sbx_conn_took_some(c))
        c->progress_us = c->net->loop->now_us;
    if (c->out.count == 0 || c->net->loop->now_us - c->progress_us >= patience_us)
        return false;
    conn_set_due(c, c->progress_us + patience_us);
    return true;
}

/* Sources that live as long as the process tick; one that only has an answer to give has no use
 * for a peer that does not take it. */
static void conn_on_source_due(struct sbx_conn *c)
{
    if (c->source->tick_us > 0) {
        conn_set_due(c, c->net->loop->now_us + c->source->tick_us);
        c->source->ops->tick(c->source, c);
    } else if (!conn_still_taking(c, CONN_STALL_US)) {
        sbx_conn_close(c);
    }
}

static void conn_on_due(struct sbx_conn *c)
{
    switch (c->state) {
    case SBX_CONN_READ_HEAD:
        if (!c->stream.ready)
            sbx_conn_close(c);
        else if (c->request_due_us != 0)
            conn_refuse(c, NULL, 408, "request");
        else if (!conn_still_taking(c, c->net->idle_timeout_us))
            sbx_conn_close(c);
        return;
    case SBX_CONN_READ_BODY:
        conn_refuse(c, NULL, 408, "request");
        return;
    case SBX_CONN_SKIP_BODY:
        c->linger = true;
        conn_finish(c);
        return;
    case SBX_CONN_STREAM:
    case SBX_CONN_WEBSOCKET:
        conn_on_source_due(c);
        return;
    case SBX_CONN_FINISH:
        if (conn_still_taking(c, CONN_FINISH_US))
            return;
        break;
    case SBX_CONN_HANDLE:
        return;
    case SBX_CONN_LINGER:
    case SBX_CONN_CLOSED:
        break;
    }
    sbx_conn_close(c);
}

static void conn_on_timer(struct sbx_timer *t)
{
    struct sbx_conn *c = SBX_LIST_OF(t, struct sbx_conn, timer);
    if (c->due_us == CONN_NEVER)
        return;
    if (c->net->loop->now_us < c->due_us)
        sbx_loop_set_timer(c->net->loop, &c->timer, c->due_us);
    else
        conn_on_due(c);
}

static struct sbx_conn *conn_new(struct sbx_net *net, int fd, struct sbx_tls *tls)
{
    struct sbx_conn *c = sbx_mem_calloc(sizeof *c);
    if (c == NULL)
        return NULL;
    if (tls == NULL) {
        sbx_stream_init_plain(&c->stream, fd);
    } else if (sbx_stream_init_tls(&c->stream, fd, tls) < 0) {
        sbx_mem_free(c);
        return NULL;
    }
    c->net = net;
    c->serial = ++net->last_serial;
    c->state = SBX_CONN_READ_HEAD;
    c->progress_us = net->loop->now_us;
    c->minor = 1;
    sbx_io_init(&c->io, net->loop, fd, conn_on_ready);
    sbx_timer_init(&c->timer, conn_on_timer);
    sbx_task_init(&c->step, conn_run_step);
    sbx_task_init(&c->flush, conn_flush);
    sbx_task_init(&c->free, conn_free);
    sbx_buf_init(&c->in);
    sbx_buf_init(&c->body);
    sbx_buf_init(&c->headers);
    sbx_outq_init(&c->out);
    sbx_list_init(&c->node);
    sbx_list_add_tail(&net->conns, &c->node);
    net->count++;
    return c;
}

struct sbx_conn *sbx_conn_open(struct sbx_net *net, int fd, struct sbx_tls *tls)
{
    struct sbx_conn *c = conn_new(net, fd, tls);
    if (c == NULL)
        return NULL;
    if (c->stream.ready) {
        conn_set_idle(c);
        /* A client that connects usually has its request on the way: reading at once saves a
         * turn. */
        conn_on_readable(c);
    } else {
        conn_set_due(c, net->loop->now_us + net->handshake_timeout_us);
    }
    conn_update_watch(c);
    return c;
}

void sbx_conn_turn_away(struct sbx_net *net, int fd, struct sbx_tls *tls, const char *reason)
{
    struct sbx_conn *c = conn_new(net, fd, tls);
    if (c == NULL) {
        sbx_fd_close(&fd);
        return;
    }
    if (c->stream.ready) {
        conn_refuse(c, NULL, 503, reason);
        return;
    }
    c->too_many = reason;
    conn_set_due(c, net->loop->now_us + net->handshake_timeout_us);
    conn_update_watch(c);
}
