/* conn_rig.h - one connection over a socket pair, and a small API behind it.
 *
 *   /echo     "METHOD TARGET BODY" at once      /early   403 as soon as the head is there
 *   /defer    nothing until the test answers    /none    204
 *   /parts    a body of three pieces            /stream  a stream from rig->source
 *   /ws       an upgrade to rig->source         /close   the connection is closed at once
 *   /test...  whatever rig->answer does
 *
 * Bodies may be RIG_BODY long. Refusals are answered with their reason as text. */
#ifndef SBX_TESTS_CONN_RIG_H
#define SBX_TESTS_CONN_RIG_H

#include "base/mem.h"
#include "net/conn.h"
#include "os/clock.h"
#include "os/fd.h"
#include "random.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define RIG_PATIENCE_US 10000000u
#define RIG_BODY 200000u

/* Gives out pattern_at(0), pattern_at(1), ... as far as `ready`. */
struct rig_source {
    struct sbx_source source;
    size_t ready, given;
    bool ends; /* after what is ready */
    unsigned pulls, gone, sent, ticks, shuts;
    bool stay;  /* a half-closed peer does not end it */
    struct sbx_buf input;
};

struct rig {
    struct sbx_loop loop;
    struct sbx_diag diag;
    struct sbx_net net;
    struct sbx_timer tick;
    int peer;
    struct sbx_conn *conn;     /* while net.count says that there is one */
    struct sbx_buf got;        /* what the peer has received */
    bool eof, reset;
    bool mute;                 /* the peer does not read */
    unsigned requests, refusals, gone;
    struct sbx_conn *deferred;
    struct rig_source source;
    void (*answer)(struct sbx_conn *c, const struct sbx_http_request *req);
};

static inline struct rig *rig_of(struct sbx_conn *c)
{
    return c->net->ctx;
}

static inline void rig_reply(struct sbx_conn *c, int status, struct sbx_buf *body)
{
    struct sbx_response r = {.status = status, .content_type = "text/plain", .body = body};
    if (body->oom) {
        sbx_buf_deinit(body);
        r.status = 503;
        r.body = NULL;
    }
    sbx_conn_respond(c, &r);
}

static inline void rig_reply_text(struct sbx_conn *c, int status, const char *text)
{
    struct sbx_response r = {.status = status, .content_type = "text/plain",
                             .text = sbx_str_z(text)};
    sbx_conn_respond(c, &r);
}

static inline void rig_on_head(struct sbx_conn *c, const struct sbx_http_request *req,
                               uint64_t *max_body)
{
    *max_body = RIG_BODY;
    if (sbx_str_starts_with(req->target, "/early"))
        rig_reply_text(c, 403, "early");
}

static inline void rig_echo(struct sbx_conn *c, const struct sbx_http_request *req,
                            struct sbx_str body)
{
    struct sbx_buf out;
    sbx_buf_init(&out);
    sbx_buf_add_str(&out, req->method);
    sbx_buf_add_byte(&out, ' ');
    sbx_buf_add_str(&out, req->target);
    sbx_buf_add_byte(&out, ' ');
    sbx_buf_add_str(&out, body);
    rig_reply(c, 200, &out);
}

static inline void rig_parts(struct sbx_conn *c)
{
    struct sbx_buf body[3];
    struct sbx_response r = {.status = 200, .body = body, .nbody = 3};
    size_t i;
    for (i = 0; i < 3; i++)
        sbx_buf_init(&body[i]);
    sbx_buf_add_z(&body[0], "one,");
    sbx_buf_add_z(&body[2], "three");
    sbx_conn_respond(c, &r);
}

static inline void rig_on_gone(struct sbx_conn *c, void *ctx)
{
    struct rig *rig = ctx;
    assert_ptr_equal(rig->deferred, c);
    rig->gone++;
    rig->deferred = NULL;
}

static inline void rig_on_request(struct sbx_conn *c, const struct sbx_http_request *req,
                                  struct sbx_str body)
{
    struct rig *rig = rig_of(c);
    struct sbx_response plain = {.status = 200, .content_type = "text/event-stream"};
    struct sbx_response none = {.status = 204, .no_length = true};
    rig->requests++;
    if (sbx_str_starts_with(req->target, "/defer")) {
        rig->deferred = c;
        sbx_conn_defer(c, rig_on_gone, rig);
    } else if (sbx_str_starts_with(req->target, "/test")) {
        rig->answer(c, req);
    } else if (sbx_str_eq_z(req->target, "/none")) {
        sbx_conn_respond(c, &none);
    } else if (sbx_str_eq_z(req->target, "/parts")) {
        rig_parts(c);
    } else if (sbx_str_eq_z(req->target, "/stream")) {
        sbx_conn_start_stream(c, &plain, &rig->source.source);
    } else if (sbx_str_eq_z(req->target, "/ws")) {
        sbx_conn_upgrade(c, SBX_STR("accepted"), SBX_STR("x-more: 1\r\n"), &rig->source.source);
    } else if (sbx_str_eq_z(req->target, "/close")) {
        sbx_conn_close(c);
    } else {
        rig_echo(c, req, body);
    }
}

static inline void rig_on_refused(struct sbx_conn *c, const struct sbx_http_request *req,
                                  int status, const char *reason)
{
    (void)req;
    rig_of(c)->refusals++;
    rig_reply_text(c, status, reason);
}

static inline struct rig_source *rig_source_of(struct sbx_source *s)
{
    return SBX_LIST_OF(s, struct rig_source, source);
}

static inline enum sbx_pull rig_pull(struct sbx_source *s, struct sbx_conn *c)
{
    struct rig_source *me = rig_source_of(s);
    me->pulls++;
    while (me->given < me->ready) {
        uint8_t piece[1000];
        size_t i, n = me->ready - me->given < sizeof piece ? me->ready - me->given : sizeof piece;
        if (sbx_conn_is_full(c))
            return SBX_PULL_MORE;
        for (i = 0; i < n; i++)
            piece[i] = pattern_at(me->given + i);
        sbx_conn_put_chunk(c, piece, n);
        me->given += n;
    }
    return me->ends ? SBX_PULL_END : SBX_PULL_IDLE;
}

static inline void rig_source_gone(struct sbx_source *s, struct sbx_conn *c)
{
    (void)c;
    rig_source_of(s)->gone++;
}

static inline void rig_source_sent(struct sbx_source *s, struct sbx_conn *c)
{
    (void)c;
    rig_source_of(s)->sent++;
}

static inline void rig_source_tick(struct sbx_source *s, struct sbx_conn *c)
{
    (void)c;
    rig_source_of(s)->ticks++;
}

static inline void rig_source_shut(struct sbx_source *s, struct sbx_conn *c)
{
    rig_source_of(s)->shuts++;
    if (!rig_source_of(s)->stay)
        sbx_conn_close(c);
}

static inline void rig_source_input(struct sbx_source *s, struct sbx_conn *c, const uint8_t *p,
                                    size_t n)
{
    (void)c;
    sbx_buf_add(&rig_source_of(s)->input, p, n);
}

static inline void rig_init(struct rig *rig)
{
    static const struct sbx_conn_ops ops = {rig_on_head, rig_on_request, rig_on_refused};
    static const struct sbx_source_ops source_ops = {
        .pull = rig_pull, .gone = rig_source_gone, .sent = rig_source_sent,
        .tick = rig_source_tick, .peer_shut = rig_source_shut, .input = rig_source_input};
    memset(rig, 0, sizeof *rig);
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(sbx_loop_init(&rig->loop), 0);
    rig->diag.level = SBX_DIAG_ERROR;
    rig->net = (struct sbx_net){.loop = &rig->loop, .diag = &rig->diag, .ops = &ops, .ctx = rig,
                                .common = SBX_STR("vary: origin\r\n"), .max_conns = 10,
                                .request_timeout_us = 60000000, .idle_timeout_us = 60000000};
    sbx_net_init(&rig->net);
    rig->net.scratch = malloc(SBX_NET_SCRATCH);
    assert_non_null(rig->net.scratch);
    rig->source.source.ops = &source_ops;
    rig->peer = -1;
}

static inline void rig_connect(struct rig *rig)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(sbx_fd_set_nonblock(fds[0]), 0);
    assert_int_equal(sbx_fd_set_nonblock(fds[1]), 0);
    rig->peer = fds[0];
    rig->eof = rig->reset = false;
    rig->conn = sbx_conn_open(&rig->net, fds[1], NULL);
    if (rig->conn == NULL)
        (void)close(fds[1]);
}

static inline void rig_open(struct rig *rig)
{
    rig_init(rig);
    rig_connect(rig);
    assert_non_null(rig->conn);
}

static inline void rig_close(struct rig *rig)
{
    if (rig->net.count > 0)
        sbx_conn_close(rig->conn);
    assert_int_equal(rig->net.count, 0);
    assert_true(sbx_list_empty(&rig->net.conns));
    sbx_loop_finish(&rig->loop);
    sbx_fd_close(&rig->peer);
    sbx_buf_deinit(&rig->got);
    sbx_buf_deinit(&rig->source.input);
    sbx_net_deinit(&rig->net);
    sbx_loop_deinit(&rig->loop);
    free(rig->net.scratch);
}

static inline void rig_on_tick(struct sbx_timer *t)
{
    (void)t;
}

static inline void rig_receive(struct rig *rig)
{
    static uint8_t buf[65536];
    ssize_t n;
    while (!rig->mute && !rig->eof && rig->peer >= 0) {
        n = sbx_fd_read(rig->peer, buf, sizeof buf);
        if (n == -EAGAIN)
            return;
        rig->eof = n <= 0;
        rig->reset = n < 0;
        if (n > 0)
            sbx_buf_add(&rig->got, buf, (size_t)n);
    }
}

/* One turn of the loop that waits for at most two milliseconds. */
static inline void rig_turn(struct rig *rig)
{
    rig->tick.on_fire = rig_on_tick;
    sbx_loop_set_timer(&rig->loop, &rig->tick, sbx_clock_mono_us() + 2000);
    sbx_loop_turn(&rig->loop);
    sbx_loop_cancel_timer(&rig->loop, &rig->tick);
    rig_receive(rig);
}

#define RIG_UNTIL(rig, condition)                                                                  \
    do {                                                                                           \
        uint64_t rig_end = sbx_clock_mono_us() + RIG_PATIENCE_US;                                  \
        while (!(condition)) {                                                                     \
            if (sbx_clock_mono_us() > rig_end)                                                     \
                fail_msg("waited in vain for: %s", #condition);                                    \
            rig_turn(rig);                                                                         \
        }                                                                                          \
    } while (0)

/* Turns until nothing has come for a few of them; for what must not come. */
static inline void rig_settle(struct rig *rig)
{
    size_t before, same = 0;
    while (same < 3) {
        before = sbx_buf_len(&rig->got);
        rig_turn(rig);
        same = before == sbx_buf_len(&rig->got) ? same + 1 : 0;
    }
}

static inline void rig_send(struct rig *rig, const void *p, size_t n)
{
    const uint8_t *from = p;
    uint64_t end = sbx_clock_mono_us() + RIG_PATIENCE_US;
    while (n > 0) {
        ssize_t put = sbx_fd_write(rig->peer, from, n);
        if (put < 0 && put != -EAGAIN)
            return; /* refused and closed: the test looks at the answer */
        assert_true(sbx_clock_mono_us() < end);
        if (put > 0) {
            from += put;
            n -= (size_t)put;
        } else {
            rig_turn(rig);
        }
    }
}

static inline void rig_say(struct rig *rig, const char *text)
{
    rig_send(rig, text, strlen(text));
}

/* Does the received text contain it? */
static inline bool rig_has(const struct rig *rig, const char *text)
{
    struct sbx_str got = sbx_buf_view(&rig->got);
    return got.p != NULL && memmem(got.p, got.n, text, strlen(text)) != NULL;
}

static inline size_t rig_count(const struct rig *rig, const char *text)
{
    const char *at = (const char *)sbx_buf_data(&rig->got), *end = at + sbx_buf_len(&rig->got);
    size_t n = 0, len = strlen(text);
    while (at != NULL && (at = memmem(at, (size_t)(end - at), text, len)) != NULL) {
        n++;
        at += len;
    }
    return n;
}

static inline void rig_forget(struct rig *rig)
{
    sbx_buf_clear(&rig->got);
}

#endif
