/* router.c - from a request head to its handler.
 *
 * The order of checks is part of the contract: host, path, token, method, scope, origin, then what
 * the body is and how long it may be; the rest is the handler's. A path that does not exist is 404
 * with and without a token. A host that is not ours comes first, since whoever sends it believes to
 * talk to somebody else.
 *
 * A wrong token is answered late (api/throttle.h): the request stays with its connection, so that
 * answers are in order, and a timer gives the answer. */
#include "api/api.h"
#include "api/auth.h"
#include "api/problem.h"
#include "api/routes.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "net/address.h"
#include "proto/http_write.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROUTER_BODY_MAX (2u * 1024u * 1024u)

/* JSON may need six bytes for one of input ("\u0001"), and a little for the rest. */
static uint64_t router_max_body(const struct sbx_api *api, const struct sbx_route *route)
{
    uint64_t input = api->host->limits.max_input_bytes_per_request, need;
    if ((route->flags & SBX_ROUTE_INPUT) == 0)
        return ROUTER_BODY_MAX;
    need = input > (UINT64_MAX - 65536) / 6 ? UINT64_MAX : input * 6 + 65536;
    return need < ROUTER_BODY_MAX ? ROUTER_BODY_MAX : need;
}

static struct sbx_str router_header(const struct sbx_http_request *req, const char *name)
{
    const struct sbx_http_header *h = sbx_http_header(req, name, NULL);
    return h == NULL ? (struct sbx_str){NULL, 0} : h->value;
}

static void router_preflight(struct sbx_conn *c, const struct sbx_http_request *req,
                             const struct sbx_route *route)
{
    struct sbx_response r = {.status = 200};
    struct sbx_buf lines;
    sbx_buf_init(&lines);
    sbx_cors_put_preflight(&sbx_api_of(c)->cors,
                           router_header(req, "access-control-request-headers"), &lines);
    if (route != NULL) {
        sbx_buf_add_z(&lines, "allow: ");
        sbx_route_put_allow(route, &lines);
        sbx_buf_add_z(&lines, "\r\n");
    }
    if (lines.oom) {
        sbx_reply_out_of_memory(c);
    } else {
        r.headers = sbx_buf_view(&lines);
        sbx_conn_respond(c, &r);
    }
    sbx_buf_deinit(&lines);
}

static void router_add_allow(struct sbx_conn *c, const struct sbx_route *route)
{
    sbx_buf_add_z(&c->headers, "allow: ");
    sbx_route_put_allow(route, &c->headers);
    sbx_buf_add_z(&c->headers, "\r\n");
}

static void router_refuse_method(struct sbx_conn *c, const struct sbx_route *route,
                                 struct sbx_str method)
{
    struct sbx_buf detail;
    sbx_buf_init(&detail);
    sbx_buf_add_z(&detail, "method not allowed: ");
    sbx_buf_add_str(&detail, method);
    sbx_buf_add_z(&detail, "; allowed: ");
    sbx_route_put_allow(route, &detail);
    router_add_allow(c, route);
    sbx_reply_plain_error(c, 405, &detail);
}

/* --- the name that was asked for --- */

/* The connection's own address as text; empty for a unix socket. */
static struct sbx_str router_local(const struct sbx_conn *c, char text[SBX_ADDRESS_TEXT])
{
    struct sbx_address a;
    memset(&a, 0, sizeof a);
    a.len = sizeof a.sock;
    if (getsockname(c->stream.fd, &a.sock.sa, &a.len) < 0)
        return SBX_STR("127.0.0.1:0"); /* where least is allowed */
    if (sbx_address_is_unix(&a))
        return (struct sbx_str){NULL, 0};
    sbx_address_format(&a, text, SBX_ADDRESS_TEXT);
    return sbx_str_z(text);
}

/* The authority of a target in absolute form takes the place of Host (RFC 9112, 3.2.2). */
static struct sbx_str router_asked(const struct sbx_http_request *req, const struct sbx_url *url)
{
    return url->authority.n > 0 ? url->authority : router_header(req, "host");
}

static bool router_host_ok(struct sbx_conn *c, struct sbx_str host)
{
    const struct sbx_hosts *hosts = &sbx_api_of(c)->hosts;
    struct sbx_str name;
    char local[SBX_ADDRESS_TEXT];
    int n;
    if (sbx_host_is_known(hosts, host) || sbx_host_is_ours(hosts, host, router_local(c, local)))
        return true;
    name = sbx_host_name(host);
    n = (int)(name.n > 200 ? 200 : name.n);
    sbx_reply_error(c, SBX_PROBLEM_PERMISSION_DENIED, 0,
                    "host %.*s is not served here; the flag --allow-host %.*s would allow it", n,
                    name.p, n, name.p);
    return false;
}

/* --- tokens and tickets --- */

/* A refusal that waits. Ends with its answer or with its connection. */
struct router_refusal {
    struct sbx_conn *conn;
    struct sbx_peer peer;
    struct sbx_timer timer;
};

static void router_say_refused(struct sbx_conn *c)
{
    sbx_buf_add_z(&c->headers, "www-authenticate: Bearer\r\n");
    sbx_reply_error(c, SBX_PROBLEM_TOKEN_INVALID, 0, "missing or invalid bearer token");
}

static void router_end_refusal(struct router_refusal *r)
{
    struct sbx_api *api = sbx_api_of(r->conn);
    sbx_loop_cancel_timer(api->net->loop, &r->timer);
    sbx_throttle_done(&api->throttle, &r->peer);
    sbx_mem_free(r);
}

static void router_on_refusal_due(struct sbx_timer *t)
{
    struct router_refusal *r = SBX_LIST_OF(t, struct router_refusal, timer);
    struct sbx_conn *c = r->conn;
    router_end_refusal(r);
    router_say_refused(c);
}

static void router_on_refused_gone(struct sbx_conn *c, void *ctx)
{
    (void)c;
    router_end_refusal(ctx);
}

static void router_refuse_later(struct sbx_conn *c, const struct sbx_peer *peer, uint64_t delay_us)
{
    struct sbx_api *api = sbx_api_of(c);
    struct router_refusal *r = sbx_mem_calloc(sizeof *r);
    if (r == NULL) {
        sbx_throttle_done(&api->throttle, peer);
        sbx_reply_out_of_memory(c);
        return;
    }
    r->conn = c;
    r->peer = *peer;
    sbx_timer_init(&r->timer, router_on_refusal_due);
    sbx_loop_set_timer(api->net->loop, &r->timer, api->net->loop->now_us + delay_us);
    sbx_conn_defer(c, router_on_refused_gone, r);
}

static void router_refuse_many(struct sbx_conn *c)
{
    c->keep_alive = false;
    sbx_buf_add_z(&c->headers, "retry-after: 2\r\n");
    sbx_reply_error(c, SBX_PROBLEM_TOKEN_INVALID, 429, "too many wrong tokens from this address");
}

static void router_refuse_guess(struct sbx_conn *c)
{
    struct sbx_api *api = sbx_api_of(c);
    struct sbx_peer peer;
    uint64_t delay_us;
    sbx_peer_of_fd(&peer, c->stream.fd);
    switch (sbx_throttle_fail(&api->throttle, &peer, &delay_us)) {
    case SBX_THROTTLE_NOW:
        router_say_refused(c);
        break;
    case SBX_THROTTLE_LATER:
        router_refuse_later(c, &peer, delay_us);
        break;
    case SBX_THROTTLE_TOO_MANY:
        router_refuse_many(c);
        break;
    }
}

/* Is it a request that a ticket opens: a WebSocket, or a log that is followed? HEAD would use up a
 * ticket for nothing. */
static bool router_takes_ticket(const struct sbx_http_request *req, struct sbx_str query,
                                const struct sbx_route *route)
{
    struct sbx_str name, value;
    if (route == NULL || (route->flags & SBX_ROUTE_TICKET) == 0 ||
        !sbx_str_eq_z(req->method, "GET"))
        return false;
    if ((route->flags & SBX_ROUTE_TERMINAL) != 0)
        return true;
    while (sbx_url_next_param(&query, &name, &value))
        if (sbx_str_eq_z(name, "follow"))
            return sbx_str_eq_z(value, "true");
    return false;
}

/* Lets the request in with a scope, or refuses it. `route` is NULL where the path has no such
 * method. */
static bool router_admit(struct sbx_conn *c, const struct sbx_http_request *req,
                         const struct sbx_url *url, const struct sbx_route *first,
                         const struct sbx_route *route)
{
    struct sbx_api *api = sbx_api_of(c);
    bool terminal = (first->flags & SBX_ROUTE_TERMINAL) != 0, tried;
    char ticket[SBX_TICKET_TEXT];
    c->scope = SBX_SCOPE_FULL;
    if ((first->flags & SBX_ROUTE_OPEN) != 0)
        return true;
    c->scope = (uint8_t)sbx_auth_check(api->tokens, req, url->query, terminal);
    if (c->scope != SBX_SCOPE_NONE)
        return true;
    tried = sbx_auth_is_tried(req, url->query, terminal);
    if (router_takes_ticket(req, url->query, route) &&
        sbx_auth_ticket(url->query, ticket, sizeof ticket)) {
        tried = true;
        c->scope = (uint8_t)sbx_tickets_redeem(&api->tickets,
                                               (struct sbx_str){ticket, sizeof ticket}, url->path,
                                               api->net->loop->now_us);
        if (c->scope != SBX_SCOPE_NONE)
            return true;
    }
    if (route == NULL)
        router_add_allow(c, first);
    if (tried)
        router_refuse_guess(c);
    else
        router_say_refused(c);
    return false;
}

static bool router_scope_ok(struct sbx_conn *c, const struct sbx_route *route)
{
    if (c->scope == SBX_SCOPE_FULL || strcmp(route->method, "GET") == 0 ||
        (route->flags & SBX_ROUTE_READS) != 0)
        return true;
    sbx_reply_error(c, SBX_PROBLEM_PERMISSION_DENIED, 0, SBX_READS_ONLY);
    return false;
}

/* --- pages --- */

/* Reading, too: a browser would keep the answer from a page from elsewhere, but a stream that it
 * follows costs us something, and may slow its process down. */
static bool router_origin_ok(struct sbx_conn *c, const struct sbx_http_request *req,
                             struct sbx_str host, const struct sbx_route *route)
{
    struct sbx_str origin = router_header(req, "origin");
    if (origin.n == 0 || (route->flags & SBX_ROUTE_PUBLIC) != 0 ||
        sbx_cors_may_ask(&sbx_api_of(c)->cors, origin, host, c->stream.tls != NULL))
        return true;
    sbx_reply_error(c, SBX_PROBLEM_PERMISSION_DENIED, 0,
                    "origin %.*s is not allowed; the flag --cors-allow-origin would allow it",
                    (int)(origin.n > 200 ? 200 : origin.n), origin.p);
    return false;
}

static bool router_is_json_type(struct sbx_str value)
{
    const char *semicolon = value.n > 0 ? memchr(value.p, ';', value.n) : NULL;
    struct sbx_str type = value;
    if (semicolon != NULL)
        type.n = (size_t)(semicolon - value.p);
    type = sbx_str_trim(type);
    if (sbx_str_ieq_z(type, "application/json"))
        return true;
    if (type.n <= 17 || !sbx_str_ieq_z((struct sbx_str){type.p, 12}, "application/"))
        return false;
    return sbx_str_ieq_z((struct sbx_str){type.p + type.n - 5, 5}, "+json");
}

static bool router_type_ok(struct sbx_conn *c, const struct sbx_http_request *req,
                           const struct sbx_route *route)
{
    struct sbx_str type = router_header(req, "content-type");
    if ((route->flags & SBX_ROUTE_JSON) == 0 || router_is_json_type(type))
        return true;
    if (type.n == 0)
        sbx_reply_error(c, SBX_PROBLEM_UNSUPPORTED_MEDIA_TYPE, 0,
                        "expected application/json, got no Content-Type");
    else
        sbx_reply_error(c, SBX_PROBLEM_UNSUPPORTED_MEDIA_TYPE, 0,
                        "expected application/json, got \"%.*s\"",
                        (int)(type.n > 200 ? 200 : type.n), type.p);
    return false;
}

/* Percent-decodes the id of the path. false: it is not UTF-8, and the request is answered. */
static bool router_decode_id(struct sbx_conn *c, struct sbx_str raw, char decoded[SBX_ID_MAX],
                             struct sbx_str *id)
{
    assert(raw.n <= SBX_ID_MAX);
    *id = (struct sbx_str){decoded, sbx_url_decode(raw, false, decoded)};
    if (sbx_utf8_valid_prefix((const uint8_t *)decoded, id->n) == id->n)
        return true;
    sbx_reply_error(c, SBX_PROBLEM_INVALID_REQUEST, 400,
                    "process id in the path is not valid UTF-8");
    return false;
}

static void router_on_head(struct sbx_conn *c, const struct sbx_http_request *req,
                           uint64_t *max_body)
{
    struct sbx_api *api = sbx_api_of(c);
    const struct sbx_route *first, *route;
    struct sbx_url url;
    struct sbx_str raw_id, id, host;
    char decoded[SBX_ID_MAX];
    sbx_cors_put_origin(&api->cors, router_header(req, "origin"), &c->headers);
    if (sbx_url_split(req->target, &url) < 0) {
        c->keep_alive = false;
        sbx_reply_error(c, SBX_PROBLEM_INVALID_REQUEST, 400, "malformed request target");
        return;
    }
    host = router_asked(req, &url);
    if (!router_host_ok(c, host))
        return;
    first = sbx_route_find(url.path, &raw_id);
    if (sbx_str_eq_z(req->method, "OPTIONS")) {
        router_preflight(c, req, first);
        return;
    }
    if (first == NULL) {
        sbx_reply_no_endpoint(c);
        return;
    }
    route = sbx_route_method(first, req->method);
    if (!router_admit(c, req, &url, first, route))
        return;
    if (route == NULL) {
        router_refuse_method(c, first, req->method);
        return;
    }
    if (!router_scope_ok(c, route) || !router_origin_ok(c, req, host, route) ||
        !router_decode_id(c, raw_id, decoded, &id) || !router_type_ok(c, req, route))
        return;
    c->route = route;
    c->heavy = (route->flags & SBX_ROUTE_STARTS) != 0;
    *max_body = router_max_body(api, route);
}

static void router_on_request(struct sbx_conn *c, const struct sbx_http_request *req,
                              struct sbx_str body)
{
    struct sbx_request rq = {.api = sbx_api_of(c), .conn = c, .http = req, .route = c->route,
                             .scope = (enum sbx_scope)c->scope, .body = body};
    char decoded[SBX_ID_MAX];
    struct sbx_str raw_id;
    (void)sbx_url_split(req->target, &rq.url);
    (void)sbx_route_find(rq.url.path, &raw_id);
    if (!router_decode_id(c, raw_id, decoded, &rq.id))
        return;
    /* The body may have come after the signal to stop. */
    if ((rq.route->flags & SBX_ROUTE_STARTS) != 0 && c->net->stopping)
        sbx_reply_error(c, SBX_PROBLEM_CONFLICT, 503, "the server is stopping");
    else
        rq.route->handle(&rq);
}

static void router_refuse_size(struct sbx_conn *c)
{
    sbx_reply_error(c, SBX_PROBLEM_INVALID_REQUEST, 413,
                    "request body exceeds %" PRIu64 " bytes", c->max_body);
}

static void router_on_refused(struct sbx_conn *c, const struct sbx_http_request *req, int status,
                              const char *reason)
{
    (void)req;
    switch (status) {
    case 408:
        sbx_reply_error(c, SBX_PROBLEM_TIMEOUT, 408,
                        "request was not complete after %" PRIu64 " ms (--request-timeout)",
                        c->net->request_timeout_us / 1000);
        return;
    case 413:
        router_refuse_size(c);
        return;
    case 503:
        sbx_reply_error(c, SBX_PROBLEM_CONFLICT, 503,
                        "connection limit reached (--max-connections %zu)", c->net->max_conns);
        return;
    default:
        sbx_reply_error(c, SBX_PROBLEM_INVALID_REQUEST, status, "%s", reason);
    }
}

void sbx_api_init(struct sbx_api *api, struct sbx_host *host, struct sbx_net *net)
{
    static const struct sbx_conn_ops ops = {
        .on_head = router_on_head,
        .on_request = router_on_request,
        .on_refused = router_on_refused,
    };
    api->host = host;
    api->net = net;
    net->ops = &ops;
    net->ctx = api;
    sbx_list_init(&api->follow_caches);
    sbx_proctab_init(&api->procs, host);
    sbx_tickets_init(&api->tickets);
    sbx_throttle_init(&api->throttle, net->loop);
}

void sbx_api_deinit(struct sbx_api *api)
{
    assert(sbx_list_empty(&api->follow_caches));
    sbx_throttle_deinit(&api->throttle);
    sbx_tickets_deinit(&api->tickets);
    sbx_proctab_deinit(&api->procs);
}
