/* api_logs.c - the log of a process: fetched or followed, as JSON, as lines of text, or as bytes.
 *
 * A fetch covers what is there when it is asked for. A short one is one answer with a length; a
 * long one is written as it is read, by a cursor like every other reader, so that ten megabytes
 * of log do not become fourteen of JSON in memory. Should the log move past such a reader (it
 * stopped, and the process went on), its connection is cut in the middle of the answer: an
 * incomplete body is an error to every client, a complete one with a hole would be a lie.
 *
 * Text and bytes are followed by the same reader, which then has no end before the log has one.
 * Text tells of a hole in a line of its own; bytes have no room for that, so where some are known
 * to be missing beforehand the request is refused, and otherwise the connection is cut. Following
 * as JSON is the event stream of follow.c.
 *
 * Of two streams in one text a line waits for its end, so that the lines do not mix. A prompt has
 * no end: a follower gets what was held for LOGS_HOLD_US. The timer runs only while it is held. */
#include "api/follow.h"
#include "api/handlers.h"
#include "api/log_tail.h"
#include "api/log_text.h"
#include "api/problem.h"
#include "api/process_json.h"
#include "api/query.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>

#define LOGS_ANSWER_BYTES (192u * 1024u) /* longer answers are streamed */
#define LOGS_TICK_US 15000000u
#define LOGS_HOLD_US 200000u

enum logs_format { LOGS_JSON, LOGS_TEXT, LOGS_RAW };

/* What was asked for. */
struct logs_query {
    enum logs_format format;
    const char *stream; /* its name */
    unsigned streams;
    bool follow;
    bool timestamps;
    bool has_position;  /* the reader knows where it was: it is told what is missing since */
    uint64_t next;
    struct sbx_log_tail tail;
};

struct logs_reader {
    struct sbx_source source;
    struct sbx_cursor cursor;
    struct sbx_proc *proc;
    struct sbx_conn *conn;
    enum logs_format format;
    bool live;                /* a follower */
    struct sbx_json_writer w; /* JSON: keeps track of commas between pieces */
    struct sbx_log_text text;
    uint64_t begin;           /* sequence with which it began */
    uint64_t last;            /* sequence up to which is fetched */
    bool lost;                /* bytes: some are missing */
    struct sbx_gap gap;       /* which */
    struct sbx_timer hold;    /* text, live: runs while a line is held, */
    uint64_t holding;         /* which is this one */
    bool held_long;           /* long enough */
};

static const char *logs_type(enum logs_format format)
{
    static const char *const types[] = {"application/json", "text/plain; charset=utf-8",
                                        "application/octet-stream"};
    return types[format];
}

static bool logs_done(const struct logs_reader *f)
{
    return f->cursor.next > f->last;
}

static void logs_put_entry(struct logs_reader *f, const struct sbx_entry *e, struct sbx_buf *out)
{
    switch (f->format) {
    case LOGS_JSON:
        sbx_entry_json(&f->w, e);
        break;
    case LOGS_TEXT:
        sbx_log_text_put(&f->text, e, out);
        break;
    case LOGS_RAW:
        sbx_buf_add(out, e->data, e->len);
        break;
    }
}

/* Has the log moved past this reader while it was reading? Otherwise the gap was there before: what
 * the reader missed before it came, or a hole that the store knows of. */
static bool logs_was_outrun(const struct logs_reader *f, const struct sbx_gap *gap)
{
    return gap->from < sbx_log_first(&f->proc->log) && gap->from != f->begin;
}

/* false: the answer cannot go on. */
static bool logs_put_gap(struct logs_reader *f, const struct sbx_gap *gap, struct sbx_buf *out)
{
    if (f->format == LOGS_RAW || (logs_was_outrun(f, gap) && !f->live)) {
        f->lost = true;
        f->gap = *gap;
        return false;
    }
    if (f->format == LOGS_TEXT)
        sbx_log_text_gap(&f->text, gap, out);
    return true; /* in JSON the sequences show it */
}

/* Writes entries into out until it is long enough (MORE), until a follower has all for now (IDLE),
 * or until all are there (END). f->lost: it cannot go on. */
static enum sbx_pull logs_fill(struct logs_reader *f, struct sbx_buf *out, size_t enough)
{
    struct sbx_entry e;
    struct sbx_gap gap;
    f->w.out = out;
    while (!logs_done(f) && sbx_buf_len(out) < enough) {
        enum sbx_step step = sbx_cursor_next(&f->cursor, &e, &gap);
        if (step == SBX_STEP_GAP && !logs_put_gap(f, &gap, out))
            return SBX_PULL_IDLE;
        if (step == SBX_STEP_DRY && f->live)
            return SBX_PULL_IDLE;
        if (step == SBX_STEP_DRY || step == SBX_STEP_END)
            return SBX_PULL_END; /* only entries of other streams were left */
        if (step == SBX_STEP_ENTRY && e.sequence <= f->last)
            logs_put_entry(f, &e, out);
    }
    return logs_done(f) ? SBX_PULL_END : SBX_PULL_MORE;
}

static void logs_begin(struct logs_reader *f, struct sbx_buf *out, const char *stream)
{
    if (f->format != LOGS_JSON)
        return;
    sbx_json_begin(&f->w, out);
    sbx_json_object(&f->w);
    sbx_json_put_z(&f->w, "processId", f->proc->id);
    sbx_json_put_z(&f->w, "stream", stream);
    sbx_json_key(&f->w, "entries");
    sbx_json_array(&f->w);
}

static void logs_end(struct logs_reader *f, struct sbx_buf *out)
{
    if (f->format == LOGS_JSON) {
        sbx_json_array_end(&f->w);
        sbx_json_object_end(&f->w);
    }
    if (f->format == LOGS_TEXT)
        sbx_log_text_end(&f->text, out);
}

static void logs_free(struct logs_reader *f)
{
    sbx_loop_cancel_timer(f->conn->net->loop, &f->hold);
    sbx_log_text_deinit(&f->text);
    sbx_cursor_close(&f->cursor);
    sbx_proc_unref(f->proc);
    sbx_mem_free(f);
}

static void logs_gone(struct sbx_source *s, struct sbx_conn *c)
{
    (void)c;
    logs_free(SBX_LIST_OF(s, struct logs_reader, source));
}

static void logs_on_hold(struct sbx_timer *t)
{
    struct logs_reader *f = SBX_LIST_OF(t, struct logs_reader, hold);
    f->held_long = true;
    sbx_conn_wake(f->conn);
}

/* A follower has all for now: what it was not given yet is given when it was held long enough. */
static void logs_rest(struct logs_reader *f, struct sbx_buf *out)
{
    struct sbx_loop *loop = f->conn->net->loop;
    if (f->held_long && f->holding == sbx_log_text_held(&f->text))
        sbx_log_text_flush(&f->text, out);
    f->held_long = false;
    if (f->holding == sbx_log_text_held(&f->text))
        return;
    f->holding = sbx_log_text_held(&f->text);
    if (f->holding == 0)
        sbx_loop_cancel_timer(loop, &f->hold);
    else
        sbx_loop_set_timer(loop, &f->hold, loop->now_us + LOGS_HOLD_US);
}

/* The flush closes the connection. */
static enum sbx_pull logs_cut(struct sbx_conn *c)
{
    c->out.oom = true;
    return SBX_PULL_IDLE;
}

static enum sbx_pull logs_pull(struct sbx_source *s, struct sbx_conn *c)
{
    struct logs_reader *f = SBX_LIST_OF(s, struct logs_reader, source);
    enum sbx_pull pull = SBX_PULL_MORE;
    while (pull == SBX_PULL_MORE && !sbx_conn_is_full(c)) {
        struct sbx_buf piece;
        sbx_buf_init(&piece);
        if (!f->live)
            (void)sbx_buf_reserve(&piece, LOGS_ANSWER_BYTES + 100000);
        pull = logs_fill(f, &piece, LOGS_ANSWER_BYTES);
        if (pull == SBX_PULL_END)
            logs_end(f, &piece);
        else if (pull == SBX_PULL_IDLE)
            logs_rest(f, &piece);
        if (f->lost || piece.oom) {
            sbx_buf_deinit(&piece);
            return logs_cut(c);
        }
        sbx_conn_put_chunk_buf(c, &piece);
    }
    /* A peer that shut its side may be gone, and a text has no comment to find out with. Once it
     * has all there is, the connection is not kept for what may still come. */
    if (f->live && pull == SBX_PULL_IDLE && c->peer_shut && c->out.count == 0)
        return logs_cut(c);
    return pull;
}

static void logs_sent(struct sbx_source *s, struct sbx_conn *c)
{
    struct logs_reader *f = SBX_LIST_OF(s, struct logs_reader, source);
    sbx_cursor_progress(&f->cursor);
    if (f->live && c->peer_shut)
        sbx_conn_wake(c);
}

static void logs_on_data(struct sbx_cursor *cursor)
{
    struct logs_reader *f = SBX_LIST_OF(cursor, struct logs_reader, cursor);
    if (f->live) /* a fetch is over what was there at its beginning */
        sbx_conn_wake(f->conn);
}

static bool logs_took_some(struct sbx_cursor *cursor)
{
    return sbx_conn_took_some(SBX_LIST_OF(cursor, struct logs_reader, cursor)->conn);
}

static bool logs_hungry(struct sbx_cursor *cursor)
{
    return sbx_conn_is_drained(SBX_LIST_OF(cursor, struct logs_reader, cursor)->conn);
}

static void logs_tick(struct sbx_source *s, struct sbx_conn *c)
{
    (void)sbx_conn_abandons(c, SBX_LIST_OF(s, struct logs_reader, source)->proc->deleted);
}

/* What is being written finds out whether the peer still reads. */
static void logs_peer_shut(struct sbx_source *s, struct sbx_conn *c)
{
    if (SBX_LIST_OF(s, struct logs_reader, source)->live)
        sbx_conn_wake(c);
}

static void logs_start_stream(struct logs_reader *f)
{
    static const struct sbx_source_ops ops = {
        .pull = logs_pull,
        .gone = logs_gone,
        .sent = logs_sent,
        .tick = logs_tick,
        .peer_shut = logs_peer_shut,
    };
    struct sbx_response head = {.status = 200, .content_type = logs_type(f->format)};
    if (f->live)
        head.headers = sbx_follow_headers();
    f->source = (struct sbx_source){.ops = &ops, .tick_us = f->live ? LOGS_TICK_US : 0};
    sbx_conn_start_stream(f->conn, &head, &f->source);
}

static void logs_answer_head(struct sbx_conn *c, enum logs_format format, bool live)
{
    struct sbx_response head = {.status = 200, .content_type = logs_type(format),
                                .no_length = true};
    if (live)
        head.headers = sbx_follow_headers();
    sbx_conn_respond(c, &head);
}

static void logs_refuse_gap(struct sbx_conn *c, uint64_t from, uint64_t to)
{
    sbx_reply_error(c, SBX_PROBLEM_CONFLICT, 0,
                    "entries %" PRIu64 " to %" PRIu64 " are not kept any more, so the bytes from "
                    "there on are not complete", from, to);
}

static struct logs_reader *logs_open(struct sbx_request *rq, struct sbx_proc *p,
                                     const struct logs_query *q)
{
    struct logs_reader *f = sbx_mem_calloc(sizeof *f);
    size_t i;
    if (f == NULL)
        return NULL;
    f->proc = sbx_proc_ref(p);
    f->conn = rq->conn;
    f->format = q->format;
    f->live = q->follow;
    f->begin = q->next;
    f->last = q->follow ? UINT64_MAX : sbx_log_last(&p->log);
    sbx_timer_init(&f->hold, logs_on_hold);
    sbx_log_text_init(&f->text, q->timestamps, q->streams == SBX_STREAMS_COMBINED);
    for (i = 0; i < SBX_LOG_TEXT_STREAMS; i++)
        sbx_log_text_skip(&f->text, (enum sbx_log_stream)i, q->tail.skip[i],
                          sbx_log_last(&p->log));
    sbx_cursor_open(&f->cursor, &p->log, f->begin, q->streams, logs_on_data, logs_took_some);
    f->cursor.hungry = logs_hungry;
    return f;
}

static void logs_reply(struct logs_reader *f, struct sbx_buf *out)
{
    struct sbx_response r = {.status = 200, .content_type = logs_type(f->format), .body = out};
    logs_end(f, out);
    if (out->oom) {
        sbx_buf_deinit(out);
        sbx_reply_out_of_memory(f->conn);
    } else {
        sbx_conn_respond(f->conn, &r);
    }
}

/* The first piece decides: the whole answer, the beginning of a stream, or a refusal. */
static void logs_fetch(struct logs_reader *f, const char *stream)
{
    struct sbx_conn *c = f->conn;
    enum sbx_pull pull;
    struct sbx_buf out;
    sbx_buf_init(&out);
    logs_begin(f, &out, stream);
    pull = logs_fill(f, &out, LOGS_ANSWER_BYTES);
    if (f->lost) {
        logs_refuse_gap(c, f->gap.from, f->gap.to);
    } else if (pull == SBX_PULL_END || out.oom) {
        logs_reply(f, &out);
    } else if (c->is_head) {
        logs_answer_head(c, f->format, false);
    } else {
        logs_start_stream(f);
        sbx_conn_put_chunk_buf(c, &out);
        return;
    }
    sbx_buf_deinit(&out);
    logs_free(f);
}

static void logs_follow(struct sbx_request *rq, struct sbx_proc *p, const struct logs_query *q)
{
    struct logs_reader *f;
    if (rq->conn->is_head) {
        logs_answer_head(rq->conn, q->format, true);
        return;
    }
    f = logs_open(rq, p, q);
    if (f == NULL)
        sbx_reply_out_of_memory(rq->conn);
    else
        logs_start_stream(f);
}

enum logs_param {
    LOGS_STREAM,
    LOGS_FORMAT,
    LOGS_TIMESTAMPS,
    LOGS_STRIP,
    LOGS_TAIL,
    LOGS_SINCE,
    LOGS_FOLLOW,
    LOGS_PARAMS
};

/* The streams that can be asked for, in this order. */
static const char *const logs_streams[] = {"stdout", "stderr", "pty", "combined", NULL};
enum logs_which { LOGS_STDOUT, LOGS_STDERR, LOGS_PTY, LOGS_COMBINED };

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

/* Each parameter is fine by itself; are they together? false: answered with 400. */
static bool logs_params_agree(struct sbx_request *rq, const struct sbx_param *params)
{
    const struct sbx_param *stamps = &params[LOGS_TIMESTAMPS], *strip = &params[LOGS_STRIP];
    if (stamps->given && strip->given && stamps->number == strip->number) {
        sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, 400,
                        "query parameters timestamps and strip_timestamps: \"%s\" and \"%s\" "
                        "contradict each other", stamps->number != 0 ? "true" : "false",
                        strip->number != 0 ? "true" : "false");
        return false;
    }
    if (params[LOGS_FORMAT].number == LOGS_RAW && params[LOGS_STREAM].number == LOGS_COMBINED) {
        sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, 400,
                        "query parameter stream: \"combined\" has no raw bytes of its own; "
                        "one of: stdout, stderr, pty");
        return false;
    }
    return true;
}

static enum logs_which logs_default_stream(const struct sbx_proc *p, enum logs_format format)
{
    if (p->tty)
        return LOGS_PTY;
    return format == LOGS_RAW ? LOGS_STDOUT : LOGS_COMBINED;
}

/* Where to begin: after `after`, or at the last `tail` entries (lines, in text) of the streams. A
 * reader that names no position begins with what is kept. One that does gets told what is missing,
 * except in a fetch of JSON, where the sequences tell. */
static void logs_seek(struct sbx_proc *p, const struct sbx_param *tail, uint64_t after,
                      struct logs_query *q)
{
    uint64_t first;
    bool told = q->has_position && (q->follow || q->format != LOGS_JSON);
    sbx_log_refresh(&p->log);
    first = sbx_log_first(&p->log);
    q->next = after == UINT64_MAX ? after : after + 1;
    if (tail->given && q->format == LOGS_TEXT) {
        sbx_log_tail_find(&p->log, q->streams, tail->number, q->next, &q->tail);
        q->next = q->tail.next;
    } else if (tail->given) {
        q->next = sbx_log_seek_tail(&p->log, q->streams, tail->number, q->next);
    } else if (!told && q->next < first) {
        q->next = first;
    }
}

static void logs_read_query(const struct sbx_request *rq, struct sbx_proc *p,
                            const struct sbx_param *params, uint64_t after, struct logs_query *q)
{
    static const unsigned sets[] = {SBX_STREAMS_OF(SBX_STREAM_STDOUT),
                                    SBX_STREAMS_OF(SBX_STREAM_STDERR), SBX_STREAMS_PTY,
                                    SBX_STREAMS_COMBINED};
    size_t which;
    *q = (struct logs_query){.format = (enum logs_format)params[LOGS_FORMAT].number,
                             .follow = params[LOGS_FOLLOW].number != 0,
                             .has_position = logs_has_position(rq, &params[LOGS_SINCE])};
    which = params[LOGS_STREAM].given ? (size_t)params[LOGS_STREAM].number
                                      : logs_default_stream(p, q->format);
    q->stream = logs_streams[which];
    q->streams = sets[which];
    q->timestamps = params[LOGS_TIMESTAMPS].number != 0 ||
                    (params[LOGS_STRIP].given && params[LOGS_STRIP].number == 0);
    logs_seek(p, &params[LOGS_TAIL], after, q);
}

static void logs_answer(struct sbx_request *rq, struct sbx_proc *p, const struct logs_query *q)
{
    uint64_t first = sbx_log_first(&p->log);
    struct logs_reader *f;
    if (q->format == LOGS_RAW && q->next < first) {
        logs_refuse_gap(rq->conn, q->next, first - 1);
        return;
    }
    if (q->follow) {
        if (q->format == LOGS_JSON)
            sbx_follow_start(rq, p, q->next, q->streams);
        else
            logs_follow(rq, p, q);
        return;
    }
    f = logs_open(rq, p, q);
    if (f == NULL)
        sbx_reply_out_of_memory(rq->conn);
    else
        logs_fetch(f, q->stream);
}

void sbx_api_get_logs(struct sbx_request *rq)
{
    static const char *const formats[] = {"json", "text", "raw", NULL};
    struct sbx_param params[LOGS_PARAMS] = {
        [LOGS_STREAM] = {.name = "stream", .kind = SBX_PARAM_WORD, .words = logs_streams},
        [LOGS_FORMAT] = {.name = "format", .kind = SBX_PARAM_WORD, .words = formats},
        [LOGS_TIMESTAMPS] = {.name = "timestamps", .kind = SBX_PARAM_BOOL},
        [LOGS_STRIP] = {.name = "strip_timestamps", .kind = SBX_PARAM_BOOL},
        [LOGS_TAIL] = {.name = "tail", .kind = SBX_PARAM_U64},
        [LOGS_SINCE] = {.name = "since", .kind = SBX_PARAM_U64},
        [LOGS_FOLLOW] = {.name = "follow", .kind = SBX_PARAM_BOOL},
    };
    struct logs_query q;
    struct sbx_proc *p;
    uint64_t after;
    if (!sbx_query_read(rq, params, LOGS_PARAMS) || !logs_since(rq, &params[LOGS_SINCE], &after) ||
        !logs_params_agree(rq, params))
        return;
    p = sbx_proctab_find(&rq->api->procs, rq->id);
    if (p == NULL) {
        sbx_reply_process_not_found(rq->conn, rq->id);
        return;
    }
    logs_read_query(rq, p, params, after, &q);
    logs_answer(rq, p, &q);
}
