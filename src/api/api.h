/* api.h - the HTTP face of the agent: what all handlers share. */
#ifndef SBX_API_API_H
#define SBX_API_API_H

#include "api/auth.h"
#include "api/cors.h"
#include "api/origin.h"
#include "api/throttle.h"
#include "api/ticket.h"
#include "net/conn.h"
#include "proc/host.h"
#include "proc/proctab.h"
#include "proto/url.h"

#include <stdbool.h>

/* Where the inspector page comes from. */
enum sbx_ui_from { SBX_UI_BUILT_IN, SBX_UI_DIR, SBX_UI_OFF };

struct sbx_api {
    struct sbx_host *host;
    struct sbx_net *net;
    struct sbx_proctab procs;
    struct sbx_cors cors;
    struct sbx_tokens *tokens;    /* of the configuration */
    struct sbx_hosts hosts;
    struct sbx_tickets tickets;
    struct sbx_throttle throttle;
    enum sbx_ui_from ui;
    int ui_dir;                    /* SBX_UI_DIR: its descriptor, of the configuration */
    struct sbx_list follow_caches; /* api_follow.c: one for each followed process */
};

#define SBX_ID_MAX SBX_HTTP_MAX_TARGET /* an id cannot be longer than the target it is in */

#define SBX_READS_ONLY "this token may only read" /* what is told to who may not do more */

struct sbx_route;

/* A request on its way to a handler. Lives during the call; so do all its views. */
struct sbx_request {
    struct sbx_api *api;
    struct sbx_conn *conn;
    const struct sbx_http_request *http;
    const struct sbx_route *route;
    enum sbx_scope scope; /* what it may do */
    struct sbx_url url;
    struct sbx_str id;   /* of the path, decoded, valid UTF-8 */
    struct sbx_str body;
};

/* Sets up an api on a net: its connections call the handlers from now on. */
void sbx_api_init(struct sbx_api *api, struct sbx_host *host, struct sbx_net *net);
void sbx_api_deinit(struct sbx_api *api);

static inline struct sbx_api *sbx_api_of(const struct sbx_conn *c)
{
    return c->net->ctx;
}

#endif
