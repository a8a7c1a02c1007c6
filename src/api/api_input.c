/* api_input.c - input and terminal size over HTTP.
 *
 * The content of an input is checked before the process is looked up: that order is part of the
 * contract (bad base64 for an unknown id is 400). */
#include "api/handlers.h"
#include "api/input_request.h"
#include "api/problem.h"
#include "base/json_write.h"

#include <errno.h>

/* `queued`: of all that was accepted, what the process has not taken yet. */
static void input_reply_count(struct sbx_request *rq, size_t n, size_t queued)
{
    struct sbx_json_writer w;
    struct sbx_buf body;
    sbx_buf_init(&body);
    sbx_json_begin(&w, &body);
    sbx_json_object(&w);
    sbx_json_put_u64(&w, "bytesWritten", n);
    if (queued > 0)
        sbx_json_put_u64(&w, "bytesQueued", queued);
    sbx_json_object_end(&w);
    sbx_reply_json(rq->conn, &body);
}

static void input_send(struct sbx_request *rq, const struct sbx_input_request *in)
{
    struct sbx_proc *p = sbx_proctab_find(&rq->api->procs, rq->id);
    struct sbx_err err;
    int status;
    if (p == NULL) {
        sbx_reply_process_not_found(rq->conn, rq->id);
        return;
    }
    status = sbx_input_send_to(p, in->bytes, in->eof, &err);
    if (status == 0)
        input_reply_count(rq, in->bytes.n, sbx_input_queued(&p->in));
    else
        sbx_reply_error(rq->conn, status == 502 ? SBX_PROBLEM_STREAM_ERROR : SBX_PROBLEM_CONFLICT,
                        status, "%s", err.text);
}

void sbx_api_send_input(struct sbx_request *rq)
{
    struct sbx_json_doc doc;
    struct sbx_fields f;
    struct sbx_input_request in;
    int status;
    if (!sbx_fields_begin(rq, &doc, &f))
        return;
    status = sbx_input_request_read(&f, false, rq->api->host->limits.max_input_bytes_per_request,
                                    &in);
    if (status == 0)
        input_send(rq, &in);
    else if (status == 503)
        sbx_reply_out_of_memory(rq->conn);
    else
        sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, status, "%s", f.err.text);
    sbx_input_request_free(&in);
    sbx_json_doc_deinit(&doc);
}

static void resize_reply(struct sbx_request *rq, uint16_t cols, uint16_t rows)
{
    struct sbx_json_writer w;
    struct sbx_buf body;
    sbx_buf_init(&body);
    sbx_json_begin(&w, &body);
    sbx_json_object(&w);
    sbx_json_put_u64(&w, "cols", cols);
    sbx_json_put_u64(&w, "rows", rows);
    sbx_json_object_end(&w);
    sbx_reply_json(rq->conn, &body);
}

static void resize(struct sbx_request *rq, uint16_t cols, uint16_t rows)
{
    struct sbx_proc *p = sbx_proctab_find(&rq->api->procs, rq->id);
    int rc;
    if (p == NULL) {
        sbx_reply_process_not_found(rq->conn, rq->id);
        return;
    }
    rc = sbx_proc_resize(p, cols, rows);
    if (rc == 0)
        resize_reply(rq, cols, rows);
    else
        sbx_reply_error(rq->conn, SBX_PROBLEM_CONFLICT, 0, "%s",
                        rc == -ENOTTY ? "process is not running in tty mode"
                                      : "PTY resize handle unavailable");
}

void sbx_api_resize_terminal(struct sbx_request *rq)
{
    struct sbx_json_doc doc;
    struct sbx_fields f;
    uint16_t cols = 0, rows = 0;
    if (!sbx_fields_begin(rq, &doc, &f))
        return;
    (void)sbx_field_size(&f, "cols", SBX_REQUIRED, &cols);
    (void)sbx_field_size(&f, "rows", SBX_REQUIRED, &rows);
    if (sbx_fields_end(rq, &f))
        resize(rq, cols, rows);
    sbx_json_doc_deinit(&doc);
}
