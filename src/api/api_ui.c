/* api_ui.c - the inspector: a page, its scripts and its styles.
 *
 * It needs no token: there is nothing in it that is not in the program, and the page asks for one
 * by itself. Paths below /ui/assets/ carry a hash of what is there, so they are kept for ever; the
 * page is asked for again each time, and mostly answered with 304. */
#include "api/handlers.h"
#include "api/problem.h"
#include "api/ui_assets.h"
#include "api/ui_dir.h"
#include "proto/http_negotiate.h"
#include "proto/http_write.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define UI_ROOT "/ui/"
#define UI_ETAG 80u

/* Styles may stand in elements, since the terminal makes some of its own; scripts may not. */
#define UI_POLICY \
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; " \
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; " \
    "frame-ancestors 'none'"

static void ui_reply_no_file(struct sbx_request *rq)
{
    struct sbx_str path = rq->url.path;
    sbx_reply_error(rq->conn, SBX_PROBLEM_NOT_FOUND, 0, "the inspector has no file %.*s",
                    (int)(path.n > 200 ? 200 : path.n), path.p);
}

/* Is there a page? If not, the request is answered. */
static bool ui_begin(struct sbx_request *rq)
{
    sbx_buf_add_z(&rq->conn->headers, "content-security-policy: " UI_POLICY "\r\n"
                                      "referrer-policy: no-referrer\r\n");
    if (rq->api->ui == SBX_UI_OFF)
        sbx_reply_error(rq->conn, SBX_PROBLEM_NOT_FOUND, 0,
                        "the inspector is switched off (--no-ui)");
    else if (rq->api->ui == SBX_UI_BUILT_IN && !sbx_ui_is_built_in())
        sbx_reply_error(rq->conn, SBX_PROBLEM_NOT_FOUND, 0,
                        "this program was built without the inspector; ./build.sh builds it in, "
                        "and so does -DSBX_UI_ASSETS (see docs/inspector.md)");
    else
        return true;
    return false;
}

/* Relative, since whoever stands between may have put something in front of the path. */
void sbx_api_get_ui_redirect(struct sbx_request *rq)
{
    struct sbx_response r = {.status = 308};
    struct sbx_buf *headers = &rq->conn->headers;
    if (!ui_begin(rq))
        return;
    sbx_buf_add_z(headers, "location: ui/");
    if (rq->url.query.n > 0) {
        sbx_buf_add_byte(headers, '?');
        sbx_buf_add_str(headers, rq->url.query);
    }
    sbx_buf_add_z(headers, "\r\n");
    sbx_conn_respond(rq->conn, &r);
}

/* --- of the program --- */

static void ui_put_caching(struct sbx_buf *headers, const struct sbx_ui_asset *a, const char *etag)
{
    sbx_http_put_header(headers, "etag", sbx_str_z(etag));
    sbx_http_put_header(headers, "cache-control",
                        a->immutable ? SBX_STR("public, max-age=31536000, immutable")
                                     : SBX_STR("no-cache"));
    sbx_buf_add_z(headers, "vary: accept-encoding\r\n");
}

static void ui_serve_asset(struct sbx_request *rq, const struct sbx_ui_asset *a)
{
    enum sbx_coding coding = sbx_http_coding(rq->http, a->plain != NULL);
    struct sbx_response r = {.status = 200, .content_type = a->content_type};
    bool gzip = coding == SBX_CODING_GZIP;
    char etag[UI_ETAG];
    if (coding == SBX_CODING_NONE) {
        sbx_buf_add_z(&rq->conn->headers, "vary: accept-encoding\r\n");
        sbx_reply_error(rq->conn, SBX_PROBLEM_NOT_ACCEPTABLE, 0,
                        "this file is here as %s only, which Accept-Encoding excludes",
                        a->plain != NULL ? "gzip and as it is" : "gzip");
        return;
    }
    /* Two representations, so two tags (RFC 9110, 8.8.3.3). */
    (void)snprintf(etag, sizeof etag, "\"%s%s\"", a->tag, gzip ? "" : "-plain");
    ui_put_caching(&rq->conn->headers, a, etag);
    if (sbx_http_has_etag(rq->http, sbx_str_z(etag))) {
        sbx_conn_respond(rq->conn, &(struct sbx_response){.status = 304, .no_length = true});
        return;
    }
    if (gzip)
        sbx_buf_add_z(&rq->conn->headers, "content-encoding: gzip\r\n");
    r.lasting = gzip ? (struct sbx_str){(const char *)a->gzip, a->gzip_len}
                     : (struct sbx_str){(const char *)a->plain, a->plain_len};
    sbx_conn_respond(rq->conn, &r);
}

/* --- of a directory --- */

static void ui_serve_file(struct sbx_request *rq, struct sbx_str name)
{
    struct sbx_buf body;
    struct sbx_response r = {.status = 200, .content_type = sbx_ui_dir_type(name), .body = &body};
    int rc;
    sbx_buf_init(&body);
    rc = sbx_ui_dir_read(rq->api->ui_dir, name, &body);
    if (rc == 0) {
        sbx_buf_add_z(&rq->conn->headers, "cache-control: no-cache\r\n");
        sbx_conn_respond(rq->conn, &r);
        return;
    }
    sbx_buf_deinit(&body);
    if (rc == -ENOMEM)
        sbx_reply_out_of_memory(rq->conn);
    else if (rc == -ENOENT)
        ui_reply_no_file(rq);
    else if (rq->api->ui_dir < 0)
        sbx_reply_error(rq->conn, SBX_PROBLEM_NOT_FOUND, 0,
                        "the directory of --ui-dir could not be opened again");
    else
        sbx_reply_error(rq->conn, SBX_PROBLEM_NOT_FOUND, 0, "it cannot be read: %s",
                        strerror(-rc));
}

void sbx_api_get_ui(struct sbx_request *rq)
{
    struct sbx_str name = {rq->url.path.p + sizeof UI_ROOT - 1,
                           rq->url.path.n - (sizeof UI_ROOT - 1)};
    const struct sbx_ui_asset *a;
    if (!ui_begin(rq))
        return;
    if (rq->api->ui == SBX_UI_DIR) {
        ui_serve_file(rq, name.n == 0 ? SBX_STR("index.html") : name);
        return;
    }
    a = sbx_ui_asset_find(name);
    if (a == NULL)
        ui_reply_no_file(rq);
    else
        ui_serve_asset(rq, a);
}
