/* conn_state.c - a connection's state, its deadline and its end; see conn.c for the machine. */
#include "net/conn_state.h"
#include "os/diag.h"

#include <assert.h>

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

void sbx_conn_assert(const struct sbx_conn *c)
{
    assert((c->source != NULL) ==
           (c->state == SBX_CONN_STREAM || c->state == SBX_CONN_WEBSOCKET));
    assert(c->on_gone == NULL || c->state == SBX_CONN_HANDLE);
    assert(c->stream.fd >= 0 || c->state == SBX_CONN_CLOSED);
}

void sbx_conn_set_state(struct sbx_conn *c, enum sbx_conn_state state)
{
    assert(conn_may_follow(c->state, state));
    sbx_diag(c->net->diag, SBX_DIAG_DEBUG, "conn %llu: %s -> %s", (unsigned long long)c->serial,
             conn_state_names[c->state], conn_state_names[state]);
    c->state = state;
}

/* The timer is armed no later than due; when it fires early it is armed again. A connection that
 * serves thousands of requests a second thus touches the timer heap once in an idle timeout. */
void sbx_conn_set_due(struct sbx_conn *c, uint64_t due_us)
{
    c->due_us = due_us;
    if (due_us != SBX_CONN_NEVER && (!c->timer.armed || c->timer.at_us > due_us))
        sbx_loop_set_timer(c->net->loop, &c->timer, due_us);
}

void sbx_conn_set_idle(struct sbx_conn *c)
{
    c->request_due_us = 0;
    sbx_conn_set_due(c, c->net->loop->now_us + c->net->idle_timeout_us);
}

void sbx_conn_begin_request_clock(struct sbx_conn *c)
{
    if (c->request_due_us == 0)
        c->request_due_us = c->net->loop->now_us + c->net->request_timeout_us;
    sbx_conn_set_due(c, c->request_due_us);
}

bool sbx_conn_body_pending(const struct sbx_conn *c)
{
    if (c->body_kind == SBX_HTTP_BODY_CHUNKED)
        return c->chunked.state != SBX_HTTP_CHUNK_DONE;
    return c->body_left > 0;
}

bool sbx_conn_wants_input(const struct sbx_conn *c)
{
    switch (c->state) {
    case SBX_CONN_READ_HEAD:
        /* More than one head's worth in memory is requests that wait for their turn. */
        return !c->at_end && c->out.bytes < SBX_CONN_PIPELINE_BYTES &&
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

void sbx_conn_want_flush(struct sbx_conn *c)
{
    sbx_loop_defer(c->net->loop, SBX_PHASE_FLUSH, &c->flush);
}

void sbx_conn_wake(struct sbx_conn *c)
{
    sbx_loop_defer(c->net->loop, SBX_PHASE_PULL, &c->step);
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
    sbx_conn_set_state(c, SBX_CONN_CLOSED);
    sbx_io_stop(&c->io);
    c->stream.ops->close(&c->stream);
    sbx_loop_cancel_timer(c->net->loop, &c->timer);
    sbx_task_cancel(&c->step);
    sbx_task_cancel(&c->flush);
    sbx_list_remove(&c->node);
    sbx_list_remove(&c->shake);
    c->net->count--;
    c->on_gone = NULL;
    conn_drop_source(c);
    if (gone != NULL)
        gone(c, c->gone_ctx);
    sbx_loop_defer(c->net->loop, SBX_PHASE_FREE, &c->free);
}

void sbx_conn_finish(struct sbx_conn *c)
{
    sbx_conn_set_state(c, SBX_CONN_FINISH);
    sbx_conn_set_due(c, c->net->loop->now_us + SBX_CONN_FINISH_US);
    sbx_conn_want_flush(c);
}
