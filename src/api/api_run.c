/* api_run.c - one-shot commands. The connection waits for the run; who hangs up ends theirs. */
#include "api/fields.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "api/process_json.h"
#include "proc/run.h"

#include <errno.h>
#include <string.h>

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

/* The outputs are not copied: the answer is made of pieces, in the order of its members. */
enum run_piece { RUN_HEAD, RUN_STDOUT, RUN_MIDDLE, RUN_STDERR, RUN_TAIL, RUN_PIECES };

static void run_put_tail(struct sbx_json_writer *w, const struct sbx_run *run)
{
    w->comma = true;
    sbx_json_put_bool(w, "stdoutTruncated", run->out[0].truncated);
    sbx_json_put_bool(w, "stderrTruncated", run->out[1].truncated);
    sbx_json_put_u64(w, "durationMs", run->duration_ms);
    sbx_json_object_end(w);
}

static void run_on_done(struct sbx_run *run, void *ctx)
{
    struct sbx_conn *c = ctx;
    struct sbx_response r = {.status = 200, .content_type = "application/json"};
    struct sbx_json_writer w;
    struct sbx_buf body[RUN_PIECES];
    size_t i;
    for (i = 0; i < RUN_PIECES; i++)
        sbx_buf_init(&body[i]);
    sbx_json_begin(&w, &body[RUN_HEAD]);
    sbx_json_object(&w);
    run_put_exit(&w, run);
    sbx_json_key(&w, "stdout");
    sbx_buf_add_byte(&body[RUN_HEAD], '"');
    sbx_buf_add_z(&body[RUN_MIDDLE], "\",\"stderr\":\"");
    sbx_buf_add_byte(&body[RUN_TAIL], '"');
    w.out = &body[RUN_TAIL];
    run_put_tail(&w, run);
    body[RUN_STDOUT] = run->out[0].text;
    body[RUN_STDERR] = run->out[1].text;
    sbx_buf_init(&run->out[0].text);
    sbx_buf_init(&run->out[1].text);
    sbx_run_free(run);
    /* An output without memory is cut, and says so; without the rest there is no answer. */
    if (body[RUN_HEAD].oom || body[RUN_MIDDLE].oom || body[RUN_TAIL].oom) {
        for (i = 0; i < RUN_PIECES; i++)
            sbx_buf_deinit(&body[i]);
        sbx_reply_out_of_memory(c);
        return;
    }
    r.body = body;
    r.nbody = RUN_PIECES;
    sbx_conn_respond(c, &r);
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
                                        o->base64, run_on_done, rq->conn, &err);
    if (run == NULL && err.code == -ENOMEM) {
        sbx_reply_out_of_memory(rq->conn);
        return;
    }
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
