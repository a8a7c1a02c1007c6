/* api_meta.c - what the server says about itself. */
#include "api/handlers.h"
#include "api/openapi_json.h"
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

void sbx_api_get_health(struct sbx_request *rq)
{
    meta_reply(rq, SBX_STR("{\"status\":\"ok\"}"));
}

void sbx_api_get_openapi(struct sbx_request *rq)
{
    meta_reply(rq, (struct sbx_str){(const char *)sbx_openapi_json, sbx_openapi_json_len});
}
