/* api_ticket.c - tickets: whoever has a token gets one, and hands it to what cannot send
 * headers. */
#include "api/fields.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "api/routes.h"
#include "base/json_write.h"
#include "base/utf8.h"
#include "os/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* The path is compared with that of a request as it was sent, so it is kept as it was given. */
static bool ticket_path_ok(struct sbx_request *rq, struct sbx_str path)
{
    struct sbx_str raw;
    const struct sbx_route *first = sbx_route_find(path, &raw);
    const struct sbx_route *route = first == NULL ? NULL : sbx_route_method(first, SBX_STR("GET"));
    char decoded[SBX_TICKET_PATH_MAX];
    struct sbx_str id;
    if (path.n > SBX_TICKET_PATH_MAX) {
        sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, 400,
                        "path is longer than %u bytes", SBX_TICKET_PATH_MAX);
        return false;
    }
    if (route == NULL || (route->flags & SBX_ROUTE_TICKET) == 0 ||
        memchr(path.p, '?', path.n) != NULL) {
        sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, 400,
                        "path must be that of a process's logs or terminal, without a query");
        return false;
    }
    id = (struct sbx_str){decoded, sbx_url_decode(raw, false, decoded)};
    if (sbx_utf8_valid_prefix((const uint8_t *)id.p, id.n) == id.n &&
        sbx_proctab_find(&rq->api->procs, id) != NULL)
        return true;
    sbx_reply_process_not_found(rq->conn, id);
    return false;
}

static void ticket_reply(struct sbx_request *rq, struct sbx_str path, uint64_t ttl_ms,
                         const char text[SBX_TICKET_TEXT])
{
    struct sbx_buf body;
    struct sbx_response r = {.status = 201, .content_type = "application/json", .body = &body,
                             .headers = SBX_STR("cache-control: no-store\r\n")};
    struct sbx_json_writer w;
    sbx_buf_init(&body);
    sbx_json_begin(&w, &body);
    sbx_json_object(&w);
    sbx_json_put_string(&w, "ticket", (struct sbx_str){text, SBX_TICKET_TEXT});
    sbx_json_put_string(&w, "path", path);
    sbx_json_put_u64(&w, "expiresAtMs", sbx_clock_wall_ms() + ttl_ms);
    sbx_json_put_u64(&w, "ttlMs", ttl_ms);
    sbx_json_object_end(&w);
    if (body.oom) {
        sbx_buf_deinit(&body);
        sbx_reply_out_of_memory(rq->conn);
        return;
    }
    sbx_conn_respond(rq->conn, &r);
}

/* Who may only read cannot use up what everybody needs, so half is the limit then. */
static void ticket_refuse(struct sbx_request *rq)
{
    if (rq->api->tickets.count < SBX_TICKETS_MAX)
        sbx_reply_error(rq->conn, SBX_PROBLEM_CONFLICT, 429,
                        "%u tickets of tokens that may only read are waiting to be used (limit)",
                        SBX_TICKETS_MAX / 2);
    else
        sbx_reply_error(rq->conn, SBX_PROBLEM_CONFLICT, 429,
                        "%u tickets are waiting to be used (limit)", SBX_TICKETS_MAX);
}

static void ticket_create(struct sbx_request *rq, struct sbx_str path, uint64_t ttl_ms)
{
    char text[SBX_TICKET_TEXT];
    int rc = sbx_tickets_issue(&rq->api->tickets, path, rq->scope, rq->api->net->loop->now_us,
                               ttl_ms * 1000, text);
    if (rc == 0)
        ticket_reply(rq, path, ttl_ms, text);
    else if (rc == -EAGAIN)
        ticket_refuse(rq);
    else if (rc == -ENOMEM)
        sbx_reply_out_of_memory(rq->conn);
    else
        sbx_reply_error(rq->conn, SBX_PROBLEM_CONFLICT, 503, "no random bytes: %s", strerror(-rc));
}

void sbx_api_create_ticket(struct sbx_request *rq)
{
    struct sbx_str path = {NULL, 0};
    uint64_t ttl_ms = SBX_TICKET_TTL_MS;
    struct sbx_json_doc doc;
    struct sbx_fields f;
    if (!sbx_fields_begin(rq, &doc, &f))
        return;
    (void)sbx_field_string(&f, "path", SBX_REQUIRED, &path);
    if (sbx_field_u64(&f, "ttlMs", SBX_NULLABLE, &ttl_ms) &&
        (ttl_ms < 1 || ttl_ms > SBX_TICKET_TTL_MAX_MS))
        sbx_fields_fail(&f, "ttlMs: must be between 1 and %u, got %" PRIu64, SBX_TICKET_TTL_MAX_MS,
                        ttl_ms);
    if (sbx_fields_end(rq, &f) && ticket_path_ok(rq, path))
        ticket_create(rq, path, ttl_ms);
    sbx_json_doc_deinit(&doc);
}
