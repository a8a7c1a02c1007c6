/* api_config.c - the runtime limits, read and replaced as a whole.
 *
 * Six of them are the contract's. Clients compare the members of the answer, so the further two are
 * optional in a request (absent: as it is) and shown once they differ from their defaults. */
#include "api/fields.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "base/json_write.h"

static void config_put_further(struct sbx_json_writer *w, const struct sbx_limits *l)
{
    struct sbx_limits usual;
    sbx_limits_default(&usual);
    if (l->max_log_bytes_total != usual.max_log_bytes_total)
        sbx_json_put_u64(w, "maxLogBytesTotal", l->max_log_bytes_total);
    if (l->max_exited_processes != usual.max_exited_processes)
        sbx_json_put_u64(w, "maxExitedProcesses", l->max_exited_processes);
}

static void config_reply(struct sbx_request *rq)
{
    const struct sbx_limits *l = &rq->api->host->limits;
    struct sbx_json_writer w;
    struct sbx_buf body;
    sbx_buf_init(&body);
    sbx_json_begin(&w, &body);
    sbx_json_object(&w);
    sbx_json_put_u64(&w, "maxConcurrentProcesses", l->max_concurrent_processes);
    sbx_json_put_u64(&w, "defaultRunTimeoutMs", l->default_run_timeout_ms);
    sbx_json_put_u64(&w, "maxRunTimeoutMs", l->max_run_timeout_ms);
    sbx_json_put_u64(&w, "maxOutputBytes", l->max_output_bytes);
    sbx_json_put_u64(&w, "maxLogBytesPerProcess", l->max_log_bytes_per_process);
    sbx_json_put_u64(&w, "maxInputBytesPerRequest", l->max_input_bytes_per_request);
    config_put_further(&w, l);
    sbx_json_object_end(&w);
    sbx_reply_json(rq->conn, &body);
}

void sbx_api_get_config(struct sbx_request *rq)
{
    config_reply(rq);
}

void sbx_api_set_config(struct sbx_request *rq)
{
    struct sbx_limits l = rq->api->host->limits;
    struct sbx_json_doc doc;
    struct sbx_fields f;
    struct sbx_err err;
    bool ok;
    if (!sbx_fields_begin(rq, &doc, &f))
        return;
    (void)sbx_field_u64(&f, "maxConcurrentProcesses", SBX_REQUIRED, &l.max_concurrent_processes);
    (void)sbx_field_u64(&f, "defaultRunTimeoutMs", SBX_REQUIRED, &l.default_run_timeout_ms);
    (void)sbx_field_u64(&f, "maxRunTimeoutMs", SBX_REQUIRED, &l.max_run_timeout_ms);
    (void)sbx_field_u64(&f, "maxOutputBytes", SBX_REQUIRED, &l.max_output_bytes);
    (void)sbx_field_u64(&f, "maxLogBytesPerProcess", SBX_REQUIRED, &l.max_log_bytes_per_process);
    (void)sbx_field_u64(&f, "maxInputBytesPerRequest", SBX_REQUIRED,
                        &l.max_input_bytes_per_request);
    (void)sbx_field_u64(&f, "maxLogBytesTotal", SBX_NULLABLE, &l.max_log_bytes_total);
    (void)sbx_field_u64(&f, "maxExitedProcesses", SBX_NULLABLE, &l.max_exited_processes);
    ok = sbx_fields_end(rq, &f);
    sbx_json_doc_deinit(&doc);
    if (!ok)
        return;
    if (sbx_limits_check(&l, &err) < 0) {
        sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, 400, "%s", err.text);
        return;
    }
    rq->api->host->limits = l;
    sbx_store_limits(rq->api->host->store);
    sbx_proctab_retire(&rq->api->procs);
    config_reply(rq);
}
