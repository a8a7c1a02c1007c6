/* api_meta.c - what the server says about itself. */
#include "api/handlers.h"
#include "api/openapi_json.h"
#include "api/problem.h"
#include "base/json_write.h"
#include "net/conn.h"

static void meta_reply(struct sbx_request *rq, struct sbx_str json)
{
    struct sbx_response r = {.status = 200, .content_type = "application/json", .text = json};
    sbx_conn_respond(rq->conn, &r);
}

void sbx_api_get_root(struct sbx_request *rq)
{
    meta_reply(rq, SBX_STR("{\"docs\":\"https://sandboxagent.dev\",\"name\":\"Sandbox Agent\"}"));
}

/* For whoever watches from outside, without a token: that there is an answer is all it tells. */
void sbx_api_get_healthz(struct sbx_request *rq)
{
    meta_reply(rq, SBX_STR("{\"status\":\"ok\"}"));
}

/* The server is well as long as it answers; that it cannot store for now is told beside that. */
void sbx_api_get_health(struct sbx_request *rq)
{
    const char *trouble = sbx_store_trouble(rq->api->host->store);
    struct sbx_json_writer w;
    struct sbx_buf body;
    if (trouble == NULL) {
        meta_reply(rq, SBX_STR("{\"status\":\"ok\"}"));
        return;
    }
    sbx_buf_init(&body);
    sbx_json_begin(&w, &body);
    sbx_json_object(&w);
    sbx_json_put_z(&w, "status", "ok");
    sbx_json_put_z(&w, "storage", "degraded");
    sbx_json_put_z(&w, "storageReason", trouble);
    sbx_json_object_end(&w);
    sbx_reply_json(rq->conn, &body);
}

void sbx_api_get_openapi(struct sbx_request *rq)
{
    struct sbx_response r = {.status = 200, .content_type = "application/json",
                             .lasting = {(const char *)sbx_openapi_json, sbx_openapi_json_len}};
    sbx_conn_respond(rq->conn, &r);
}
