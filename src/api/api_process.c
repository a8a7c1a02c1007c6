/* api_process.c - managed processes: list, create, get, stop, kill, delete. */
#include "api/fields.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "api/process_json.h"
#include "api/query.h"
#include "base/mem.h"
#include "proto/http_negotiate.h"
#include "proto/http_write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void process_reply(struct sbx_conn *c, const struct sbx_proc *p, bool with_size)
{
    struct sbx_json_writer w;
    struct sbx_buf body;
    sbx_buf_init(&body);
    sbx_json_begin(&w, &body);
    sbx_process_json(&w, p, with_size);
    sbx_reply_json(c, &body);
}

static struct sbx_proc *process_find(struct sbx_request *rq)
{
    struct sbx_proc *p = sbx_proctab_find(&rq->api->procs, rq->id);
    if (p == NULL)
        sbx_reply_process_not_found(rq->conn, rq->id);
    return p;
}

/* 64 bits that mix well suffice: two lists of one server that follow each other should differ, and
 * whoever could make them meet can start processes here. The order of bytes is the machine's. */
static uint64_t process_hash(struct sbx_str s)
{
    uint64_t hash = s.n, word;
    while (s.n > 0) {
        size_t n = s.n < sizeof word ? s.n : sizeof word;
        word = 0;
        memcpy(&word, s.p, n);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
        s = (struct sbx_str){s.p + n, s.n - n};
    }
    return hash;
}

/* The list, or that it is the one that the client has: whoever looks at it again and again mostly
 * gets no more than that. The tag is weak, for it tells what is in the list and not by which bytes
 * somebody between may send it. */
static void process_reply_list(struct sbx_request *rq, struct sbx_buf *body)
{
    struct sbx_buf *headers = &rq->conn->headers;
    char etag[24];
    if (body->oom) {
        sbx_reply_json(rq->conn, body);
        return;
    }
    (void)snprintf(etag, sizeof etag, "W/\"%016" PRIx64 "\"", process_hash(sbx_buf_view(body)));
    sbx_http_put_header(headers, "etag", sbx_str_z(etag));
    sbx_buf_add_z(headers, "cache-control: private, no-cache\r\n");
    if (!sbx_http_has_etag(rq->http, sbx_str_z(etag))) {
        sbx_reply_json(rq->conn, body);
        return;
    }
    sbx_buf_deinit(body);
    sbx_conn_respond(rq->conn, &(struct sbx_response){.status = 304, .no_length = true});
}

void sbx_api_list_processes(struct sbx_request *rq)
{
    static const char *const owners[] = {"user", "desktop", "system", NULL};
    struct sbx_param params[] = {
        {.name = "owner", .kind = SBX_PARAM_WORD, .words = owners},
        {.name = "terminalSize", .kind = SBX_PARAM_BOOL},
    };
    const struct sbx_proctab *t = &rq->api->procs;
    struct sbx_json_writer w;
    struct sbx_buf body;
    size_t i;
    if (!sbx_query_read(rq, params, 2))
        return;
    sbx_buf_init(&body);
    sbx_json_begin(&w, &body);
    sbx_json_object(&w);
    sbx_json_key(&w, "processes");
    sbx_json_array(&w);
    /* All are the user's: desktop and system processes exist in the reference server only. */
    for (i = 0; params[0].number == 0 && i < t->count; i++)
        sbx_process_json(&w, t->procs[i], params[1].number == 1);
    sbx_json_array_end(&w);
    sbx_json_object_end(&w);
    process_reply_list(rq, &body);
}

static void process_create(struct sbx_request *rq, struct sbx_spec *spec)
{
    struct sbx_proc *p = NULL;
    struct sbx_err err;
    int rc = sbx_proctab_create(&rq->api->procs, spec, &p, &err);
    if (rc == 0)
        process_reply(rq->conn, p, false);
    else if (rc == -ENOMEM)
        sbx_reply_out_of_memory(rq->conn);
    else if (rc == -EBUSY && strncmp(err.text, "max ", 4) == 0)
        sbx_reply_error(rq->conn, SBX_PROBLEM_CONFLICT, 0, "%s", err.text);
    else
        sbx_reply_error(rq->conn, SBX_PROBLEM_STREAM_ERROR, 0, "failed to spawn %sprocess: %s",
                        spec->tty ? "tty " : "", err.text);
}

void sbx_api_create_process(struct sbx_request *rq)
{
    struct sbx_json_doc doc;
    struct sbx_fields f;
    struct sbx_spec spec;
    bool persist = true;
    if (!sbx_fields_begin(rq, &doc, &f))
        return;
    sbx_field_spec(&f, &spec);
    (void)sbx_field_bool(&f, "persist", &persist);
    spec.in_memory = !persist;
    (void)sbx_field_bool(&f, "tty", &spec.tty);
    (void)sbx_field_bool(&f, "interactive", &spec.interactive);
    (void)sbx_field_size(&f, "cols", SBX_NULLABLE, &spec.cols);
    (void)sbx_field_size(&f, "rows", SBX_NULLABLE, &spec.rows);
    if (sbx_fields_end(rq, &f) && sbx_spec_ok(rq, &spec))
        process_create(rq, &spec);
    sbx_spec_free(&spec);
    sbx_json_doc_deinit(&doc);
}

void sbx_api_get_process(struct sbx_request *rq)
{
    struct sbx_param size = {.name = "terminalSize", .kind = SBX_PARAM_BOOL};
    struct sbx_proc *p;
    if (!sbx_query_read(rq, &size, 1))
        return;
    p = process_find(rq);
    if (p != NULL)
        process_reply(rq->conn, p, size.number == 1);
}

void sbx_api_delete_process(struct sbx_request *rq)
{
    struct sbx_response r = {.status = 204, .no_length = true};
    struct sbx_proc *p = process_find(rq);
    if (p == NULL)
        return;
    if (!sbx_proc_exited(p)) {
        sbx_reply_error(rq->conn, SBX_PROBLEM_CONFLICT, 0,
                        "process is still running; stop or kill it before delete");
        return;
    }
    sbx_proctab_delete(&rq->api->procs, p);
    sbx_conn_respond(rq->conn, &r);
}

/* --- stop and kill: signal, then wait for the exit for a while --- */

struct process_wait {
    struct sbx_conn *conn;
    struct sbx_proc *proc;
    struct sbx_waiter waiter;
    struct sbx_timer timer;
};

static void wait_free(struct process_wait *wait)
{
    sbx_waiter_cancel(&wait->waiter);
    sbx_loop_cancel_timer(wait->conn->net->loop, &wait->timer);
    sbx_proc_unref(wait->proc);
    sbx_mem_free(wait);
}

static void wait_answer(struct process_wait *wait)
{
    process_reply(wait->conn, wait->proc, false);
    wait_free(wait);
}

static void wait_on_exit(struct sbx_waiter *w)
{
    wait_answer(SBX_LIST_OF(w, struct process_wait, waiter));
}

static void wait_on_timer(struct sbx_timer *t)
{
    wait_answer(SBX_LIST_OF(t, struct process_wait, timer));
}

static void wait_on_gone(struct sbx_conn *c, void *ctx)
{
    (void)c;
    wait_free(ctx);
}

static void process_wait(struct sbx_request *rq, struct sbx_proc *p, uint64_t ms)
{
    struct sbx_loop *loop = rq->conn->net->loop;
    struct process_wait *wait;
    if (sbx_proc_exited(p) || ms == 0) {
        process_reply(rq->conn, p, false);
        return;
    }
    wait = sbx_mem_calloc(sizeof *wait);
    if (wait == NULL) {
        sbx_reply_out_of_memory(rq->conn);
        return;
    }
    wait->conn = rq->conn;
    wait->proc = sbx_proc_ref(p);
    wait->waiter.on_exit = wait_on_exit;
    sbx_proc_wait(p, &wait->waiter);
    sbx_timer_init(&wait->timer, wait_on_timer);
    if (ms < UINT64_MAX / 2000)
        sbx_loop_set_timer(loop, &wait->timer, loop->now_us + ms * 1000);
    sbx_conn_defer(rq->conn, wait_on_gone, wait);
}

static void process_signal(struct sbx_request *rq, void (*signal)(struct sbx_proc *p),
                           uint64_t default_ms)
{
    struct sbx_param wait_ms = {.name = "waitMs", .kind = SBX_PARAM_U64};
    struct sbx_proc *p;
    if (!sbx_query_read(rq, &wait_ms, 1))
        return;
    p = process_find(rq);
    if (p == NULL)
        return;
    signal(p);
    process_wait(rq, p, wait_ms.given ? wait_ms.number : default_ms);
}

void sbx_api_stop_process(struct sbx_request *rq)
{
    process_signal(rq, sbx_proc_stop, 2000);
}

void sbx_api_kill_process(struct sbx_request *rq)
{
    process_signal(rq, sbx_proc_kill, 1000);
}
