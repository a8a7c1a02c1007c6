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
 * Every state goes to CLOSED when the peer is gone. Transitions are made by sbx_conn_set_state
 * alone, which checks them against conn_may_follow. What holds:
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
#include "net/conn_state.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"
#include "proto/http_write.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define CONN_WRITE_BUDGET (1024u * 1024u) /* bytes for one connection in one turn */
#define CONN_LINGER_US 2000000u
#define CONN_HANDSHAKES_US 4000u /* for all of them in one turn: each costs a millisecond or more */
#define CONN_REFUSAL_US 1000000u /* for the handshake of a client that is one too many */
#define CONN_TURN_BUDGET (4u * 1024u * 1024u) /* and for all of them, as far as each gets ... */
#define CONN_SMALL (16u * 1024u)              /* ... as much as this */

/* --- what to wait for --- */

static int conn_events(const struct sbx_conn *c)
{
    int events = c->out.count > 0 ? POLLOUT : 0;
    if (!c->stream.ready)
        return c->stream.wants_write ? POLLOUT : POLLIN;
    if (sbx_conn_wants_input(c))
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

/* Everything is written: close now, or wait for the peer to have read it. */
static void conn_finished(struct sbx_conn *c)
{
    /* Bytes that nobody read would turn the close into a reset. */
    if ((!c->linger || c->at_end) && sbx_fd_readable_bytes(c->stream.fd) == 0) {
        sbx_conn_close(c);
        return;
    }
    sbx_conn_set_state(c, SBX_CONN_LINGER);
    c->stream.ops->shut_write(&c->stream);
    sbx_conn_set_due(c, c->net->loop->now_us + CONN_LINGER_US);
}

/* Hundreds of streams that fill the buffers of their sockets copy so much that an answer to
 * somebody else would wait for it. So they share what one turn may write, by the number of those
 * that had as much to write in the turn before. */
static size_t conn_write_budget(const struct sbx_conn *c)
{
    struct sbx_net *net = c->net;
    size_t share;
    if (net->written_pass != net->loop->pass) {
        net->written_pass = net->loop->pass;
        net->writers_before = net->writers;
        net->writers = 0;
    }
    if (c->out.bytes < CONN_SMALL)
        return CONN_SMALL;
    net->writers++;
    share = CONN_TURN_BUDGET / (net->writers_before + 1);
    return share > CONN_WRITE_BUDGET ? CONN_WRITE_BUDGET : share < CONN_SMALL ? CONN_SMALL : share;
}

static void conn_flush(struct sbx_task *t)
{
    struct sbx_conn *c = SBX_LIST_OF(t, struct sbx_conn, flush);
    /* Pipelined requests may be waiting for room. */
    bool held_up = c->out.bytes >= SBX_CONN_PIPELINE_BYTES;
    ssize_t put = sbx_outq_write(&c->out, &c->stream, conn_write_budget(c));
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
        (held_up && c->state == SBX_CONN_READ_HEAD && c->out.bytes < SBX_CONN_PIPELINE_BYTES))
        sbx_conn_wake(c);
    conn_update_watch(c);
}

/* --- what the peer has taken --- */

bool sbx_conn_abandons(struct sbx_conn *c, bool last)
{
    if (!last || c->out.count == 0 || c->net->loop->now_us - c->progress_us < SBX_CONN_FINISH_US)
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

/* --- ready --- */

static void conn_read_all(struct sbx_conn *c)
{
    do
        sbx_conn_on_readable(c);
    while (c->state != SBX_CONN_CLOSED && c->stream.more && sbx_conn_wants_input(c));
}

static void conn_shake_hands(struct sbx_conn *c)
{
    struct sbx_err err;
    int rc = c->stream.ops->handshake(&c->stream, &err);
    if (rc == -EPROTOTYPE) {
        sbx_conn_refuse(c, NULL, 400, "this port speaks HTTPS: use https:// or wss://");
    } else if (rc < 0 && rc != -EAGAIN) {
        sbx_diag(c->net->diag, SBX_DIAG_DEBUG, "conn %llu: %s", (unsigned long long)c->serial,
                 err.text);
        c->linger = true; /* or a reset would overtake the alert */
        if (rc == -EPROTO)
            sbx_conn_finish(c);
        else
            sbx_conn_close(c);
    } else if (rc == 0 && c->too_many != NULL) {
        sbx_conn_refuse(c, NULL, 503, c->too_many);
    } else if (rc == 0) {
        sbx_conn_set_idle(c);
    }
    conn_update_watch(c);
}

/* Half a hundred clients that connect together must not keep a health check waiting for as many
 * signatures, nor the last of them for those that come after it. */
static void conn_shake_all(struct sbx_task *t)
{
    struct sbx_net *net = SBX_LIST_OF(t, struct sbx_net, shake);
    uint64_t end = sbx_clock_mono_us() + CONN_HANDSHAKES_US;
    while (!sbx_list_empty(&net->shaking)) {
        struct sbx_conn *c = SBX_LIST_OF(net->shaking.next, struct sbx_conn, shake);
        if (sbx_clock_mono_us() >= end)
            return; /* poll() tells of the others again, in their old order */
        sbx_list_remove(&c->shake);
        conn_shake_hands(c);
    }
}

static void conn_on_handshake(struct sbx_conn *c)
{
    if (sbx_list_empty(&c->shake))
        sbx_list_add_tail(&c->net->shaking, &c->shake);
    sbx_loop_defer(c->net->loop, SBX_PHASE_PULL, &c->net->shake);
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
    bool readable = (revents & POLLIN) != 0 && sbx_conn_wants_input(c);
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
        sbx_conn_want_flush(c);
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
        sbx_conn_set_state(c, SBX_CONN_READ_HEAD);
        sbx_conn_set_idle(c);
        if (sbx_buf_len(&c->in) > 0 || c->at_end)
            sbx_conn_wake(c);
    } else {
        sbx_conn_finish(c);
    }
    s->ops->gone(s, c);
}

/* So many streams that begin together must not fill their queues in one turn. */
static bool conn_may_pull(struct sbx_net *net)
{
    if (net->pulled_pass != net->loop->pass) {
        net->pulled_pass = net->loop->pass;
        net->pulled = 0;
    }
    return net->pulled < CONN_TURN_BUDGET;
}

static enum sbx_pull conn_pull(struct sbx_conn *c)
{
    struct sbx_net *net = c->net;
    size_t before = c->out.bytes;
    enum sbx_pull rc = c->source->ops->pull(c->source, c);
    if (c->out.bytes > before)
        net->pulled += c->out.bytes - before;
    return rc;
}

static void conn_run_step(struct sbx_task *t)
{
    struct sbx_conn *c = SBX_LIST_OF(t, struct sbx_conn, step);
    if (c->source == NULL) {
        sbx_conn_process_own(c);
        if (c->stream.more && sbx_conn_wants_input(c))
            conn_read_all(c);
        return;
    }
    if (c->state == SBX_CONN_WEBSOCKET)
        sbx_conn_process_own(c);
    if (c->source == NULL)
        return;
    if (sbx_conn_is_full(c)) {
        c->more = true; /* asked again when there is room */
        return;
    }
    if (!conn_may_pull(c->net)) {
        sbx_conn_wake(c); /* in the next turn, before those that ask later */
        return;
    }
    switch (conn_pull(c)) {
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
    sbx_conn_want_flush(c);
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
    sbx_conn_set_due(c, c->progress_us + patience_us);
    return true;
}

/* Sources that live as long as the process tick; one that only has an answer to give has no use
 * for a peer that does not take it. */
static void conn_on_source_due(struct sbx_conn *c)
{
    if (c->source->tick_us > 0) {
        sbx_conn_set_due(c, c->net->loop->now_us + c->source->tick_us);
        c->source->ops->tick(c->source, c);
    } else if (!conn_still_taking(c, SBX_CONN_STALL_US)) {
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
            sbx_conn_refuse(c, NULL, 408, "request");
        else if (!conn_still_taking(c, c->net->idle_timeout_us))
            sbx_conn_close(c);
        return;
    case SBX_CONN_READ_BODY:
        sbx_conn_refuse(c, NULL, 408, "request");
        return;
    case SBX_CONN_SKIP_BODY:
        c->linger = true;
        sbx_conn_finish(c);
        return;
    case SBX_CONN_STREAM:
    case SBX_CONN_WEBSOCKET:
        conn_on_source_due(c);
        return;
    case SBX_CONN_FINISH:
        if (conn_still_taking(c, SBX_CONN_FINISH_US))
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
    if (c->due_us == SBX_CONN_NEVER)
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
    sbx_list_init(&c->shake);
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
        sbx_conn_set_idle(c);
        /* A client that connects usually has its request on the way: reading at once saves a
         * turn. */
        sbx_conn_on_readable(c);
    } else {
        sbx_conn_set_due(c, net->loop->now_us + net->handshake_timeout_us);
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
        sbx_conn_refuse(c, NULL, 503, reason);
        return;
    }
    c->too_many = reason;
    sbx_conn_set_due(c, net->loop->now_us + CONN_REFUSAL_US);
    conn_update_watch(c);
}

void sbx_net_init(struct sbx_net *net)
{
    sbx_list_init(&net->conns);
    sbx_list_init(&net->shaking);
    sbx_task_init(&net->shake, conn_shake_all);
}

void sbx_net_deinit(struct sbx_net *net)
{
    assert(sbx_list_empty(&net->conns) && sbx_list_empty(&net->shaking));
    sbx_task_cancel(&net->shake);
    sbx_buf_deinit(&net->head);
}
