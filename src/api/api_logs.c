/* api_logs.c - the log of a process, fetched or followed.
 *
 * A fetch covers what is there when it is asked for. A short one is one answer with a length; a
 * long one is written as it is read, by a cursor like every other reader, so that ten megabytes
 * of log do not become fourteen of JSON in memory. Should the log move past such a reader (it
 * stopped, and the process went on), its connection is cut in the middle of the answer: an
 * incomplete body is an error to every client, a complete one with a hole would be a lie. */
#include "api/follow.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "api/process_json.h"
#include "api/query.h"
#include "base/mem.h"

#include <assert.h>

#define LOGS_ANSWER_BYTES (192u * 1024u) /* longer answers are streamed */

struct logs_fetch {
    struct sbx_source source;
    struct sbx_cursor cursor;
    struct sbx_proc *proc;
    struct sbx_conn *conn;
    struct sbx_json_writer w; /* keeps track of commas between pieces */
    uint64_t last;            /* sequence up to which is fetched */
};

static bool logs_done(const struct logs_fetch *f)
{
    return f->cursor.next > f->last;
}

/* Writes entries into out until it is long enough or all are there. false: the log has moved on. */
static bool logs_fill(struct logs_fetch *f, struct sbx_buf *out, size_t enough)
{
    struct sbx_entry e;
    struct sbx_gap gap;
    f->w.out = out;
    while (!logs_done(f) && sbx_buf_len(out) < enough) {
        enum sbx_step step = sbx_cursor_next(&f->cursor, &e, &gap);
        if (step == SBX_STEP_GAP)
            return false;
        if (step != SBX_STEP_ENTRY || e.sequence > f->last)
            break; /* only entries of other streams were left */
        sbx_entry_json(&f->w, &e);
    }
    if (sbx_buf_len(out) < enough)
        f->cursor.next = f->last + 1;
    return true;
}

static void logs_begin(struct logs_fetch *f, struct sbx_buf *out, const char *stream)
{
    sbx_json_begin(&f->w, out);
    sbx_json_object(&f->w);
    sbx_json_put_z(&f->w, "processId", f->proc->id);
    sbx_json_put_z(&f->w, "stream", stream);
    sbx_json_key(&f->w, "entries");
    sbx_json_array(&f->w);
}

static void logs_free(struct logs_fetch *f)
{
    sbx_cursor_close(&f->cursor);
    sbx_proc_unref(f->proc);
    sbx_mem_free(f);
}

static void logs_gone(struct sbx_source *s, struct sbx_conn *c)
{
    (void)c;
    logs_free(SBX_LIST_OF(s, struct logs_fetch, source));
}

static enum sbx_pull logs_pull(struct sbx_source *s, struct sbx_conn *c)
{
    struct logs_fetch *f = SBX_LIST_OF(s, struct logs_fetch, source);
    while (!sbx_conn_is_full(c)) {
        struct sbx_buf piece;
        sbx_buf_init(&piece);
        (void)sbx_buf_reserve(&piece, LOGS_ANSWER_BYTES + 100000);
        if (!logs_fill(f, &piece, LOGS_ANSWER_BYTES) || piece.oom) {
            sbx_buf_deinit(&piece);
            c->out.oom = true;
            return SBX_PULL_IDLE;
        }
        if (logs_done(f)) {
            sbx_json_array_end(&f->w);
            sbx_json_object_end(&f->w);
        }
        sbx_conn_put_chunk_buf(c, &piece);
        if (logs_done(f))
            return SBX_PULL_END;
    }
    return SBX_PULL_MORE;
}

static void logs_sent(struct sbx_source *s, struct sbx_conn *c)
{
    (void)c;
    sbx_cursor_progress(&SBX_LIST_OF(s, struct logs_fetch, source)->cursor);
}

static void logs_on_data(struct sbx_cursor *cursor)
{
    (void)cursor; /* a fetch is over what was there at its beginning */
}

static bool logs_took_some(struct sbx_cursor *cursor)
{
    return sbx_conn_took_some(SBX_LIST_OF(cursor, struct logs_fetch, cursor)->conn);
}

static void logs_peer_shut(struct sbx_source *s, struct sbx_conn *c)
{
    (void)s;
    (void)c; /* what is being written finds out whether the peer still reads */
}

/* The first piece is in `out`; the rest follows by pulling. */
static void logs_start_stream(struct logs_fetch *f, struct sbx_buf *out)
{
    static const struct sbx_source_ops ops = {
        .pull = logs_pull,
        .gone = logs_gone,
        .sent = logs_sent,
        .peer_shut = logs_peer_shut,
    };
    struct sbx_response head = {.status = 200, .content_type = "application/json"};
    f->source = (struct sbx_source){.ops = &ops};
    sbx_conn_start_stream(f->conn, &head, &f->source);
    sbx_conn_put_chunk_buf(f->conn, out);
}

static void logs_answer_head(struct sbx_conn *c)
{
    struct sbx_response head = {.status = 200, .content_type = "application/json",
                                .no_length = true};
    sbx_conn_respond(c, &head);
}

static void logs_fetch(struct sbx_request *rq, struct sbx_proc *p, uint64_t next, unsigned streams,
                       const char *stream)
{
    struct logs_fetch *f;
    struct sbx_buf out;
    f = sbx_mem_calloc(sizeof *f);
    if (f == NULL) {
        sbx_reply_out_of_memory(rq->conn);
        return;
    }
    f->proc = sbx_proc_ref(p);
    f->conn = rq->conn;
    f->last = sbx_log_last(&p->log);
    if (next < sbx_log_first(&p->log))
        next = sbx_log_first(&p->log); /* what is evicted is not part of a fetch */
    sbx_cursor_open(&f->cursor, &p->log, next, streams, logs_on_data, logs_took_some);
    sbx_buf_init(&out);
    logs_begin(f, &out, stream);
    (void)logs_fill(f, &out, LOGS_ANSWER_BYTES);
    if (!logs_done(f) && !out.oom && rq->conn->is_head) {
        sbx_buf_deinit(&out);
        logs_free(f);
        logs_answer_head(rq->conn);
        return;
    }
    if (!logs_done(f) && !out.oom) {
        logs_start_stream(f, &out);
        return;
    }
    sbx_json_array_end(&f->w);
    sbx_json_object_end(&f->w);
    sbx_reply_json(rq->conn, &out);
    logs_free(f);
}

enum logs_param { LOGS_STREAM, LOGS_TAIL, LOGS_SINCE, LOGS_FOLLOW, LOGS_PARAMS };

/* Sequence after which to start, of `since` and Last-Event-ID. false: answered with 400. */
static bool logs_since(struct sbx_request *rq, const struct sbx_param *since, uint64_t *after)
{
    const struct sbx_http_header *h = sbx_http_header(rq->http, "last-event-id", NULL);
    uint64_t id = 0;
    *after = since->given ? since->number : 0;
    if (h == NULL || h->value.n == 0)
        return true;
    if (sbx_str_to_u64(h->value, &id) < 0) {
        sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, 400,
                        "Last-Event-ID must be a positive integer");
        return false;
    }
    if (id > *after)
        *after = id;
    return true;
}

static bool logs_has_position(const struct sbx_request *rq, const struct sbx_param *since)
{
    const struct sbx_http_header *h = sbx_http_header(rq->http, "last-event-id", NULL);
    return since->given || (h != NULL && h->value.n > 0);
}

/* Where to begin: after `after`, or at the last `tail` entries of the streams. A follower that
 * names no position begins with what is kept; one that does gets told what is missing. */
static uint64_t logs_start(const struct sbx_request *rq, const struct sbx_proc *p,
                           const struct sbx_param *params, uint64_t after, unsigned streams)
{
    uint64_t next = after == UINT64_MAX ? after : after + 1;
    if (params[LOGS_TAIL].given)
        return sbx_log_seek_tail(&p->log, streams, params[LOGS_TAIL].number, next);
    if (!logs_has_position(rq, &params[LOGS_SINCE]) && next < sbx_log_first(&p->log))
        return sbx_log_first(&p->log);
    return next;
}

void sbx_api_get_logs(struct sbx_request *rq)
{
    static const char *const names[] = {"stdout", "stderr", "pty", "combined", NULL};
    static const unsigned sets[] = {SBX_STREAMS_OF(SBX_STREAM_STDOUT),
                                    SBX_STREAMS_OF(SBX_STREAM_STDERR), SBX_STREAMS_PTY,
                                    SBX_STREAMS_COMBINED};
    struct sbx_param params[LOGS_PARAMS] = {
        [LOGS_STREAM] = {.name = "stream", .kind = SBX_PARAM_WORD, .words = names},
        [LOGS_TAIL] = {.name = "tail", .kind = SBX_PARAM_U64},
        [LOGS_SINCE] = {.name = "since", .kind = SBX_PARAM_U64},
        [LOGS_FOLLOW] = {.name = "follow", .kind = SBX_PARAM_BOOL},
    };
    struct sbx_proc *p;
    uint64_t after, which;
    if (!sbx_query_read(rq, params, LOGS_PARAMS) || !logs_since(rq, &params[LOGS_SINCE], &after))
        return;
    p = sbx_proctab_find(&rq->api->procs, rq->id);
    if (p == NULL) {
        sbx_reply_process_not_found(rq->conn, rq->id);
        return;
    }
    which = params[LOGS_STREAM].given ? params[LOGS_STREAM].number : p->tty ? 2 : 3;
    after = logs_start(rq, p, params, after, sets[which]);
    if (params[LOGS_FOLLOW].number != 0)
        sbx_follow_start(rq, p, after, sets[which]);
    else
        logs_fetch(rq, p, after, sets[which], names[which]);
}
