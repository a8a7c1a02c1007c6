/* api_term.c - a process's terminal over a WebSocket.
 *
 * Server to client: `ready` first; one binary frame for each log entry, so that a client can count
 * sequences; `error` for what a client did wrong and for output that is gone; `exit` when all
 * output is sent, then the close handshake. Client to server: text frames with one JSON object
 * (input, resize, close); binary frames are bytes of input.
 *
 * The terminal is a cursor over the log like every reader. Entries that were there when the client
 * connected are replayed through a filter that removes what a terminal would answer
 * (proto/vt_filter.h); from `replay_until` on nothing is altered.
 *
 *   OPEN --exit, close message, close frame, violation--> ENDED
 *
 * ENDED: the close frame is queued, further input is dropped, the next pull ends the source. */
#include "api/handlers.h"
#include "api/input_request.h"
#include "api/problem.h"
#include "api/process_json.h"
#include "api/query.h"
#include "base/mem.h"
#include "proto/http_write.h"
#include "proto/vt_filter.h"
#include "proto/ws.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define TERM_REPLAY_BYTES (256u * 1024u)
#define TERM_PING_US 30000000u
#define TERM_DEAD_US 90000000u /* without a sign of life from the peer */
#define TERM_PING_BYTES 2u     /* what a ping alone adds */
#define TERM_SAFE_INTEGER 9007199254740991u /* the largest that JavaScript clients read exactly */
#define TERM_MESSAGE_MIN (1024u * 1024u)

struct term {
    struct sbx_source source;
    struct sbx_cursor cursor;
    struct sbx_api *api;
    struct sbx_proc *proc; /* a reference */
    struct sbx_conn *conn;
    struct sbx_ws_reader reader;
    struct sbx_vt_filter *filter; /* while replaying; NULL afterwards */
    uint64_t replay_until;        /* last sequence of the replay */
    uint64_t heard_us;            /* when the peer was last heard, or seen to take output */
    uint64_t acked;               /* bytes it had taken at the last tick */
    bool greeted;                 /* `ready` is sent */
    bool read_only;               /* input is refused, output is shown */
    bool ended;
};

/* --- frames out --- */

static void term_put_frame(struct term *t, enum sbx_ws_opcode op, const void *p, size_t n)
{
    uint8_t head[SBX_WS_MAX_HEADER];
    sbx_conn_put(t->conn, head, sbx_ws_put_header(head, op, n));
    sbx_conn_put(t->conn, p, n);
}

static void term_put_json(struct term *t, struct sbx_buf *json)
{
    if (json->oom) {
        t->conn->out.oom = true;
        sbx_conn_wake(t->conn); /* it is closed with the next flush, and there may be none */
    } else {
        term_put_frame(t, SBX_WS_TEXT, sbx_buf_data(json), sbx_buf_len(json));
    }
    sbx_buf_deinit(json);
}

static void term_put_ready(struct term *t)
{
    struct sbx_json_writer w;
    struct sbx_buf out;
    sbx_buf_init(&out);
    sbx_json_begin(&w, &out);
    sbx_json_object(&w);
    sbx_json_put_z(&w, "processId", t->proc->id);
    sbx_json_put_z(&w, "type", "ready");
    sbx_json_put_u64(&w, "sequence", t->replay_until);
    sbx_json_put_u64(&w, "firstSequence",
                     t->cursor.next < TERM_SAFE_INTEGER ? t->cursor.next : TERM_SAFE_INTEGER);
    sbx_json_put_u64(&w, "cols", t->proc->cols);
    sbx_json_put_u64(&w, "rows", t->proc->rows);
    sbx_json_put_z(&w, "status", sbx_proc_exited(t->proc) ? "exited" : "running");
    sbx_json_object_end(&w);
    term_put_json(t, &out);
    t->greeted = true;
}

static void term_put_error(struct term *t, const char *message, const struct sbx_gap *gap)
{
    struct sbx_json_writer w;
    struct sbx_buf out;
    sbx_buf_init(&out);
    sbx_json_begin(&w, &out);
    sbx_json_object(&w);
    sbx_json_put_z(&w, "message", message);
    sbx_json_put_z(&w, "type", "error");
    if (gap != NULL)
        sbx_gap_json(&w, gap);
    sbx_json_object_end(&w);
    term_put_json(t, &out);
}

static void term_put_error_with(struct term *t, const char *prefix, const char *message)
{
    struct sbx_err err;
    sbx_err_set(&err, 1, "%s%s", prefix, message);
    term_put_error(t, err.text, NULL);
}

static void term_put_exit(struct term *t)
{
    struct sbx_json_writer w;
    struct sbx_buf out;
    sbx_buf_init(&out);
    sbx_json_begin(&w, &out);
    sbx_json_object(&w);
    sbx_json_key(&w, "exitCode");
    if (t->proc->exit.kind == SBX_EXIT_CODE)
        sbx_json_u64(&w, (uint64_t)t->proc->exit.value);
    else
        sbx_json_null(&w);
    sbx_json_put_z(&w, "type", "exit");
    sbx_json_object_end(&w);
    term_put_json(t, &out);
}

static void term_put_close(struct term *t, const void *payload, size_t n)
{
    if (t->ended)
        return;
    term_put_frame(t, SBX_WS_CLOSE, payload, n);
    t->ended = true;
    sbx_conn_wake(t->conn);
}

static void term_end(struct term *t, uint16_t code, const char *reason)
{
    uint8_t payload[2 + 123];
    size_t n = strlen(reason);
    if (n > 123)
        n = 123;
    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    memcpy(payload + 2, reason, n);
    term_put_close(t, payload, 2 + n);
}

/* --- output --- */

static void term_put_live(struct term *t, const struct sbx_entry *e)
{
    uint8_t head[SBX_WS_MAX_HEADER];
    sbx_conn_put(t->conn, head, sbx_ws_put_header(head, SBX_WS_BINARY, e->len));
    sbx_conn_put_blob(t->conn, e->blob, e->data, e->len);
}

static void term_stop_filter(struct term *t)
{
    sbx_mem_free(t->filter);
    t->filter = NULL;
}

/* The last replayed frame takes what the filter holds back: an unfinished sequence, whose rest is
 * live output. */
static void term_put_replayed(struct term *t, const struct sbx_entry *e)
{
    uint8_t *out = sbx_mem_alloc(e->len + 2 * SBX_VT_FILTER_HOLD);
    size_t n;
    if (out == NULL) {
        t->conn->out.oom = true;
        return;
    }
    n = sbx_vt_filter_feed(t->filter, e->data, e->len, out);
    if (e->sequence >= t->replay_until) {
        n += sbx_vt_filter_finish(t->filter, out + n);
        term_stop_filter(t);
    }
    term_put_frame(t, SBX_WS_BINARY, out, n);
    sbx_mem_free(out);
}

static void term_put_gap(struct term *t, const struct sbx_gap *gap)
{
    struct sbx_err err;
    if (t->filter != NULL) {
        if (t->cursor.next > t->replay_until)
            term_stop_filter(t);
        else
            sbx_vt_filter_init(t->filter);
    }
    sbx_err_set(&err, 1, "output gap: sequences %llu to %llu are no longer kept",
                (unsigned long long)gap->from, (unsigned long long)gap->to);
    term_put_error(t, err.text, gap);
}

static enum sbx_pull term_pull(struct sbx_source *s, struct sbx_conn *c)
{
    struct term *t = SBX_LIST_OF(s, struct term, source);
    struct sbx_entry e;
    struct sbx_gap gap;
    if (t->ended)
        return SBX_PULL_END;
    if (!t->greeted)
        term_put_ready(t);
    while (!sbx_conn_is_full(c) && !c->out.oom) {
        switch (sbx_cursor_next(&t->cursor, &e, &gap)) {
        case SBX_STEP_ENTRY:
            if (t->filter != NULL)
                term_put_replayed(t, &e);
            else
                term_put_live(t, &e);
            break;
        case SBX_STEP_GAP:
            term_put_gap(t, &gap);
            break;
        case SBX_STEP_DRY:
            return SBX_PULL_IDLE;
        case SBX_STEP_END:
            term_put_exit(t);
            term_end(t, 1000, "");
            return SBX_PULL_END;
        }
    }
    return SBX_PULL_MORE;
}

/* --- messages in --- */

static void term_refuse_change(struct term *t)
{
    term_put_error(t, "permission denied: " SBX_READS_ONLY, NULL);
}

static void term_input(struct term *t, struct sbx_str bytes, bool eof)
{
    struct sbx_err err;
    int status = sbx_input_send_to(t->proc, bytes, eof, &err);
    if (status != 0)
        term_put_error_with(t, status == 502 ? "stream error: " : "conflict: ", err.text);
}

static void term_on_input(struct term *t, struct sbx_fields *f)
{
    uint64_t limit = t->api->host->limits.max_input_bytes_per_request;
    struct sbx_input_request in;
    switch (sbx_input_request_read(f, true, limit, &in)) {
    case 0:
        term_input(t, in.bytes, in.eof);
        break;
    case 422:
        term_put_error_with(t, "invalid terminal frame: ", f->err.text);
        break;
    case 413:
        term_put_error(t, f->err.text, NULL);
        break;
    default:
        term_put_error_with(t, "invalid request: ", f->err.text);
        break;
    }
    sbx_input_request_free(&in);
}

static void term_on_resize(struct term *t, struct sbx_fields *f)
{
    uint16_t cols = 0, rows = 0;
    (void)sbx_field_size(f, "cols", SBX_REQUIRED, &cols);
    (void)sbx_field_size(f, "rows", SBX_REQUIRED, &rows);
    if (f->failed)
        term_put_error_with(t, "invalid terminal frame: ", f->err.text);
    else if (sbx_proc_resize(t->proc, cols, rows) < 0)
        term_put_error(t, "conflict: PTY resize handle unavailable", NULL);
}

static void term_on_object(struct term *t, struct sbx_fields *f)
{
    struct sbx_str type = {NULL, 0};
    (void)sbx_field_string(f, "type", SBX_REQUIRED, &type);
    if (t->read_only && (sbx_str_eq_z(type, "input") || sbx_str_eq_z(type, "resize")))
        term_refuse_change(t);
    else if (sbx_str_eq_z(type, "input"))
        term_on_input(t, f);
    else if (sbx_str_eq_z(type, "resize"))
        term_on_resize(t, f);
    else if (sbx_str_eq_z(type, "close"))
        term_end(t, 1000, "");
    else
        term_put_error_with(t, "invalid terminal frame: ",
                            f->failed ? f->err.text
                                      : "type: expected \"input\", \"resize\" or \"close\"");
}

static void term_on_text(struct term *t, struct sbx_str text)
{
    struct sbx_json_doc doc;
    struct sbx_fields f;
    if (sbx_fields_parse(text, &doc, &f) != 0) {
        term_put_error_with(t, "invalid terminal frame: ", f.err.text);
        return;
    }
    term_on_object(t, &f);
    sbx_json_doc_deinit(&doc);
}

static void term_on_binary(struct term *t, struct sbx_str bytes)
{
    uint64_t limit = t->api->host->limits.max_input_bytes_per_request;
    struct sbx_err err;
    if (t->read_only) {
        term_refuse_change(t);
        return;
    }
    if (bytes.n <= limit) {
        term_input(t, bytes, false);
        return;
    }
    sbx_err_set(&err, 1, "input payload exceeds maxInputBytesPerRequest (%llu)",
                (unsigned long long)limit);
    term_put_error(t, err.text, NULL);
}

static void term_on_message(struct term *t)
{
    const struct sbx_ws_reader *r = &t->reader;
    struct sbx_str payload = {(const char *)r->payload, r->payload_len};
    switch (r->op) {
    case SBX_WS_TEXT:
        term_on_text(t, payload);
        break;
    case SBX_WS_BINARY:
        term_on_binary(t, payload);
        break;
    case SBX_WS_PING:
        term_put_frame(t, SBX_WS_PONG, payload.p, payload.n);
        break;
    case SBX_WS_CLOSE:
        /* The peer's own code comes back, or none when it sent none (RFC 6455, 5.5.1). */
        term_put_close(t, payload.p, payload.n < 2 ? 0 : 2);
        break;
    default:
        break; /* a pong: it was heard, that is all it says */
    }
}

static void term_bytes_in(struct sbx_source *s, struct sbx_conn *c, const uint8_t *p, size_t n)
{
    struct term *t = SBX_LIST_OF(s, struct term, source);
    t->heard_us = c->net->loop->now_us;
    /* A client may type along with its upgrade request; `ready` comes first all the same. */
    if (!t->greeted)
        term_put_ready(t);
    while (n > 0 && !t->ended) {
        size_t used = 0;
        switch (sbx_ws_feed(&t->reader, p, n, &used)) {
        case SBX_WS_MESSAGE:
            term_on_message(t);
            break;
        case SBX_WS_ERROR:
            term_end(t, t->reader.close_code, t->reader.reason);
            break;
        case SBX_WS_NEED_MORE:
            break;
        }
        p += used;
        n -= used;
    }
}

/* --- the rest of the source --- */

static void term_gone(struct sbx_source *s, struct sbx_conn *c)
{
    struct term *t = SBX_LIST_OF(s, struct term, source);
    (void)c;
    sbx_cursor_close(&t->cursor);
    sbx_ws_reader_deinit(&t->reader);
    term_stop_filter(t);
    sbx_proc_unref(t->proc);
    sbx_mem_free(t);
}

static void term_sent(struct sbx_source *s, struct sbx_conn *c)
{
    (void)c;
    sbx_cursor_progress(&SBX_LIST_OF(s, struct term, source)->cursor);
}

static void term_tick(struct sbx_source *s, struct sbx_conn *c)
{
    struct term *t = SBX_LIST_OF(s, struct term, source);
    /* A peer whose system takes output is alive, also when no ping gets through to it behind all
     * the output, or its answer to one is far behind. */
    uint64_t acked = sbx_conn_acked(c);
    if (acked > t->acked + TERM_PING_BYTES)
        t->heard_us = c->net->loop->now_us;
    t->acked = acked;
    if (sbx_conn_abandons(c, t->proc->deleted))
        return;
    if (c->net->loop->now_us - t->heard_us > TERM_DEAD_US)
        sbx_conn_close(c);
    else if (c->out.bytes < SBX_CONN_HIGH)
        term_put_frame(t, SBX_WS_PING, "", 0);
}

static void term_on_data(struct sbx_cursor *cursor)
{
    sbx_conn_wake(SBX_LIST_OF(cursor, struct term, cursor)->conn);
}

static bool term_took_some(struct sbx_cursor *cursor)
{
    return sbx_conn_took_some(SBX_LIST_OF(cursor, struct term, cursor)->conn);
}

static bool term_hungry(struct sbx_cursor *cursor)
{
    return sbx_conn_is_drained(SBX_LIST_OF(cursor, struct term, cursor)->conn);
}

/* --- the upgrade --- */

/* Several lines of one name are one list (RFC 9110, 5.3). */
static bool term_header_lists(const struct sbx_request *rq, const char *name, const char *token)
{
    size_t i;
    for (i = 0; i < rq->http->nheaders; i++)
        if (sbx_str_ieq_z(rq->http->headers[i].name, name) &&
            sbx_str_list_has(rq->http->headers[i].value, token))
            return true;
    return false;
}

static struct sbx_str term_header(const struct sbx_request *rq, const char *name)
{
    const struct sbx_http_header *h = sbx_http_header(rq->http, name, NULL);
    return h == NULL ? (struct sbx_str){NULL, 0} : h->value;
}

/* NULL when it is a WebSocket handshake, else what is wrong (RFC 6455, 4.2.1). */
static const char *term_handshake_fault(const struct sbx_request *rq, int *status)
{
    *status = 426;
    if (rq->http->minor == 0)
        return "a WebSocket upgrade needs HTTP/1.1";
    if (!term_header_lists(rq, "connection", "upgrade"))
        return "Connection header does not include \"upgrade\"";
    if (!term_header_lists(rq, "upgrade", "websocket"))
        return "Upgrade header does not include \"websocket\"";
    if (!sbx_str_eq_z(term_header(rq, "sec-websocket-version"), "13"))
        return "Sec-WebSocket-Version header is not \"13\"";
    *status = 400;
    if (!sbx_ws_key_ok(term_header(rq, "sec-websocket-key")))
        return "Sec-WebSocket-Key header is not 16 bytes in base64";
    return NULL;
}

static bool term_handshake_ok(struct sbx_request *rq)
{
    int status;
    const char *fault = term_handshake_fault(rq, &status);
    if (fault == NULL)
        return true;
    /* RFC 9110, 15.5.22: a 426 names what to upgrade to. */
    if (status == 426)
        sbx_buf_add_z(&rq->conn->headers, "connection: upgrade\r\nupgrade: websocket\r\n");
    sbx_buf_add_z(&rq->conn->headers, "sec-websocket-version: 13\r\n");
    sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, status, "%s", fault);
    return false;
}

enum term_param { TERM_SINCE, TERM_REPLAY, TERM_PARAMS };

/* Without a wish the last 256 KiB; `since` alone everything after it; both: the later start. */
static uint64_t term_start(struct sbx_proc *p, const struct sbx_param *params)
{
    uint64_t since = params[TERM_SINCE].number, next = 1, by_bytes;
    sbx_log_refresh(&p->log);
    if (params[TERM_SINCE].given)
        next = since == UINT64_MAX ? since : since + 1;
    if (params[TERM_SINCE].given && !params[TERM_REPLAY].given)
        return next;
    by_bytes = sbx_log_seek_bytes(&p->log, params[TERM_REPLAY].given ? params[TERM_REPLAY].number
                                                                     : TERM_REPLAY_BYTES);
    return by_bytes > next ? by_bytes : next;
}

static struct term *term_new(struct sbx_request *rq, struct sbx_proc *p)
{
    uint64_t limit = rq->api->host->limits.max_input_bytes_per_request;
    uint64_t message = limit > (SIZE_MAX - 65536) / 6 ? SIZE_MAX : limit * 6 + 65536;
    struct term *t = sbx_mem_calloc(sizeof *t);
    if (t == NULL)
        return NULL;
    t->filter = sbx_mem_alloc(sizeof *t->filter);
    if (t->filter == NULL) {
        sbx_mem_free(t);
        return NULL;
    }
    sbx_vt_filter_init(t->filter);
    sbx_ws_reader_init(&t->reader, message < TERM_MESSAGE_MIN ? TERM_MESSAGE_MIN : (size_t)message);
    t->api = rq->api;
    t->conn = rq->conn;
    t->proc = sbx_proc_ref(p);
    t->heard_us = rq->conn->net->loop->now_us;
    t->read_only = rq->scope != SBX_SCOPE_FULL;
    return t;
}

static void term_open(struct sbx_request *rq, struct sbx_proc *p, uint64_t next)
{
    static const struct sbx_source_ops ops = {
        .pull = term_pull,
        .gone = term_gone,
        .sent = term_sent,
        .tick = term_tick,
        .input = term_bytes_in,
    };
    struct sbx_str protocol = sbx_auth_subprotocol(rq->http);
    struct term *t = term_new(rq, p);
    char accept[28];
    if (t == NULL) {
        sbx_reply_out_of_memory(rq->conn);
        return;
    }
    t->source = (struct sbx_source){.ops = &ops, .tick_us = TERM_PING_US};
    t->replay_until = sbx_log_last(&p->log);
    sbx_cursor_open(&t->cursor, &p->log, next, SBX_STREAMS_PTY, term_on_data, term_took_some);
    t->cursor.hungry = term_hungry;
    if (t->cursor.next > t->replay_until)
        term_stop_filter(t);
    sbx_ws_accept(term_header(rq, "sec-websocket-key"), accept);
    if (protocol.n > 0)
        sbx_http_put_header(&rq->conn->headers, "sec-websocket-protocol", protocol);
    sbx_conn_upgrade(rq->conn, (struct sbx_str){accept, sizeof accept}, (struct sbx_str){NULL, 0},
                     &t->source);
}

void sbx_api_connect_terminal(struct sbx_request *rq)
{
    struct sbx_param params[TERM_PARAMS] = {
        [TERM_SINCE] = {.name = "since", .kind = SBX_PARAM_U64},
        [TERM_REPLAY] = {.name = "replay", .kind = SBX_PARAM_U64},
    };
    struct sbx_proc *p;
    if (!sbx_query_read(rq, params, TERM_PARAMS) || !term_handshake_ok(rq))
        return;
    p = sbx_proctab_find(&rq->api->procs, rq->id);
    if (p == NULL)
        sbx_reply_process_not_found(rq->conn, rq->id);
    else if (!p->tty)
        sbx_reply_error(rq->conn, SBX_PROBLEM_CONFLICT, 0, "process is not running in tty mode");
    else
        term_open(rq, p, term_start(p, params));
}
