/* conn_answer.c - answers, streams and upgrades, as bytes in the queue of a connection; see conn.h.
 *
 * Heads are built in one scratch buffer of the whole net: an answer is queued before anybody
 * else builds one. An answer decides about the connection, too: whether it is kept, and what
 * becomes of a body that was not read. */
#include "net/conn_state.h"
#include "os/clock.h"
#include "proto/http_write.h"

#include <assert.h>

#define CONN_SKIP_BYTES (64u * 1024u) /* an unread body that is cheaper than a new connection */

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
    size_t i, n = r->body == NULL ? r->text.n + r->lasting.n : 0;
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
    if (r->body == NULL && !c->is_head && r->lasting.n > 0)
        sbx_outq_add_lasting(&c->out, r->lasting.p, r->lasting.n);
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
        c->linger = c->linger || sbx_conn_body_pending(c);
        sbx_conn_finish(c);
    } else if (sbx_conn_body_pending(c)) {
        sbx_conn_set_state(c, SBX_CONN_SKIP_BODY);
        sbx_conn_begin_request_clock(c);
    } else {
        sbx_conn_set_state(c, SBX_CONN_READ_HEAD);
        sbx_conn_set_idle(c);
    }
    if (!c->processing && (sbx_buf_len(&c->in) > 0 || c->at_end || c->stream.more))
        sbx_conn_wake(c);
    sbx_conn_want_flush(c);
}

void sbx_conn_respond(struct sbx_conn *c, const struct sbx_response *r)
{
    bool keep = c->keep_alive && !c->net->stopping &&
                (!sbx_conn_body_pending(c) || conn_can_skip_body(c));
    assert(c->state == SBX_CONN_HANDLE);
    c->on_gone = NULL;
    c->chunked_out = false;
    conn_put_head(c, r, keep);
    conn_put_body(c, r);
    conn_after_answer(c, keep);
    sbx_conn_assert(c);
}

void sbx_conn_defer(struct sbx_conn *c, void (*on_gone)(struct sbx_conn *c, void *ctx), void *ctx)
{
    assert(c->state == SBX_CONN_HANDLE);
    c->on_gone = on_gone;
    c->gone_ctx = ctx;
    sbx_conn_set_due(c, SBX_CONN_NEVER);
    sbx_conn_want_flush(c); /* answers before this one; and the watch changes */
}

static void conn_take_source(struct sbx_conn *c, enum sbx_conn_state state,
                             struct sbx_source *source)
{
    c->source = source;
    sbx_conn_set_state(c, state);
    c->more = true;
    sbx_buf_deinit(&c->body);
    sbx_conn_set_due(c, c->net->loop->now_us +
                        (source->tick_us > 0 ? source->tick_us : SBX_CONN_STALL_US));
    sbx_conn_wake(c);
    sbx_conn_want_flush(c);
    sbx_conn_assert(c);
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
    sbx_conn_want_flush(c);
}

void sbx_conn_put_blob(struct sbx_conn *c, struct sbx_blob *blob, const uint8_t *p, size_t n)
{
    sbx_outq_add_blob(&c->out, blob, p, n);
    sbx_conn_want_flush(c);
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
