/* api_run.c - one-shot commands. The connection waits for the run; who hangs up ends theirs. */
#include "api/fields.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "api/process_json.h"
#include "base/utf8.h"
#include "proc/run.h"

#include <string.h>

static void run_put_output(struct sbx_json_writer *w, const char *name, struct sbx_capture *c,
                           bool base64)
{
    const uint8_t *p = sbx_buf_data(&c->bytes);
    size_t n = sbx_buf_len(&c->bytes);
    sbx_json_key(w, name);
    if (base64) {
        sbx_json_base64(w, p, n);
        return;
    }
    /* A character that the limit cut in two is left out rather than shown as damaged. */
    if (c->truncated && n > 0)
        n -= sbx_utf8_incomplete_tail(p, n);
    sbx_json_string(w, (struct sbx_str){(const char *)p, n});
}

static void run_put_exit(struct sbx_json_writer *w, const struct sbx_run *run)
{
    sbx_json_key(w, "exitCode");
    if (!run->timed_out && run->exit.kind == SBX_EXIT_CODE)
        sbx_json_u64(w, (uint64_t)run->exit.value);
    else
        sbx_json_null(w);
    if (!run->timed_out)
        sbx_exit_signal_json(w, &run->exit);
    sbx_json_put_bool(w, "timedOut", run->timed_out);
}

static void run_answer(struct sbx_run *run, struct sbx_conn *c, bool base64)
{
    struct sbx_json_writer w;
    struct sbx_buf body;
    sbx_buf_init(&body);
    (void)sbx_buf_reserve(&body, sbx_buf_len(&run->out[0].bytes) * 5 / 4 + 512);
    sbx_json_begin(&w, &body);
    sbx_json_object(&w);
    run_put_exit(&w, run);
    run_put_output(&w, "stdout", &run->out[0], base64);
    run_put_output(&w, "stderr", &run->out[1], base64);
    sbx_json_put_bool(&w, "stdoutTruncated", run->out[0].truncated);
    sbx_json_put_bool(&w, "stderrTruncated", run->out[1].truncated);
    sbx_json_put_u64(&w, "durationMs", run->duration_ms);
    sbx_json_object_end(&w);
    sbx_run_free(run);
    sbx_reply_json(c, &body);
}

static void run_on_done_text(struct sbx_run *run, void *ctx)
{
    run_answer(run, ctx, false);
}

static void run_on_done_base64(struct sbx_run *run, void *ctx)
{
    run_answer(run, ctx, true);
}

static void run_on_gone(struct sbx_conn *c, void *ctx)
{
    (void)c;
    sbx_run_cancel(ctx);
}

struct run_options {
    uint64_t timeout_ms, max_output;
    bool base64;
};

static void run_options_read(struct sbx_fields *f, const struct sbx_limits *l,
                             struct run_options *o)
{
    struct sbx_str encoding = SBX_STR("utf8");
    o->timeout_ms = 0;
    o->max_output = l->max_output_bytes;
    (void)sbx_field_u64(f, "timeoutMs", SBX_NULLABLE, &o->timeout_ms);
    (void)sbx_field_u64(f, "maxOutputBytes", SBX_NULLABLE, &o->max_output);
    (void)sbx_field_string(f, "stdoutEncoding", SBX_NULLABLE, &encoding);
    o->base64 = sbx_str_eq_z(encoding, "base64");
    if (!o->base64 && !sbx_str_eq_z(encoding, "utf8"))
        sbx_fields_fail(f, "stdoutEncoding: expected \"utf8\" or \"base64\", got \"%.*s\"",
                        (int)(encoding.n > 60 ? 60 : encoding.n), encoding.p);
    if (o->timeout_ms == 0)
        o->timeout_ms = l->default_run_timeout_ms;
    if (o->timeout_ms > l->max_run_timeout_ms)
        o->timeout_ms = l->max_run_timeout_ms;
    if (o->max_output > l->max_output_bytes)
        o->max_output = l->max_output_bytes;
}

static void run_start(struct sbx_request *rq, struct sbx_spec *spec, const struct run_options *o)
{
    struct sbx_err err;
    struct sbx_run *run = sbx_run_start(rq->api->host, spec, o->timeout_ms, o->max_output,
                                        o->base64 ? run_on_done_base64 : run_on_done_text,
                                        rq->conn, &err);
    if (run == NULL) {
        sbx_reply_error(rq->conn, SBX_PROBLEM_STREAM_ERROR, 0, "failed to spawn process: %s",
                        err.text);
        return;
    }
    sbx_conn_defer(rq->conn, run_on_gone, run);
}

void sbx_api_run_process(struct sbx_request *rq)
{
    struct sbx_json_doc doc;
    struct sbx_fields f;
    struct sbx_spec spec;
    struct run_options options;
    if (!sbx_fields_begin(rq, &doc, &f))
        return;
    sbx_field_spec(&f, &spec);
    run_options_read(&f, &rq->api->host->limits, &options);
    if (sbx_fields_end(rq, &f) && sbx_spec_ok(rq, &spec))
        run_start(rq, &spec, &options);
    sbx_spec_free(&spec);
    sbx_json_doc_deinit(&doc);
}
