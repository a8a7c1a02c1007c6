/* problem.c - see problem.h. */
#include "api/problem.h"
#include "base/json_write.h"
#include "proto/http_write.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PROBLEM_URN "urn:sandbox-agent:error:"

static const struct sbx_problem_kind problem_kinds[SBX_PROBLEM_TYPES] = {
    [SBX_PROBLEM_INVALID_REQUEST] = {PROBLEM_URN "invalid_request", "Invalid Request", 400,
                                     "invalid request: ", ""},
    [SBX_PROBLEM_CONFLICT] = {PROBLEM_URN "conflict", "Conflict", 409, "conflict: ", "message"},
    [SBX_PROBLEM_UNSUPPORTED_AGENT] = {PROBLEM_URN "unsupported_agent", "Unsupported Agent", 400,
                                       "unsupported agent: ", "agent"},
    [SBX_PROBLEM_AGENT_NOT_INSTALLED] = {PROBLEM_URN "agent_not_installed", "Agent Not Installed",
                                         404, "agent not installed: ", "agent"},
    [SBX_PROBLEM_INSTALL_FAILED] = {PROBLEM_URN "install_failed", "Install Failed", 500,
                                    "install failed: ", "agent stderr"},
    [SBX_PROBLEM_AGENT_PROCESS_EXITED] = {PROBLEM_URN "agent_process_exited",
                                          "Agent Process Exited", 500, "agent process exited: ",
                                          "agent exitCode stderr"},
    [SBX_PROBLEM_TOKEN_INVALID] = {PROBLEM_URN "token_invalid", "Token Invalid", 401,
                                   "token invalid", "message"},
    [SBX_PROBLEM_PERMISSION_DENIED] = {PROBLEM_URN "permission_denied", "Permission Denied", 403,
                                       "permission denied: ", "message"},
    [SBX_PROBLEM_NOT_ACCEPTABLE] = {PROBLEM_URN "not_acceptable", "Not Acceptable", 406,
                                    "not acceptable: ", "message"},
    [SBX_PROBLEM_UNSUPPORTED_MEDIA_TYPE] = {PROBLEM_URN "unsupported_media_type",
                                            "Unsupported Media Type", 415,
                                            "unsupported media type: ", "message"},
    [SBX_PROBLEM_NOT_FOUND] = {PROBLEM_URN "not_found", "Not Found", 404, "not found: ",
                               "id resource"},
    [SBX_PROBLEM_SESSION_NOT_FOUND] = {PROBLEM_URN "session_not_found", "Session Not Found", 404,
                                       "session not found: ", "sessionId"},
    [SBX_PROBLEM_SESSION_ALREADY_EXISTS] = {PROBLEM_URN "session_already_exists",
                                            "Session Already Exists", 409,
                                            "session already exists: ", "sessionId"},
    [SBX_PROBLEM_MODE_NOT_SUPPORTED] = {PROBLEM_URN "mode_not_supported", "Mode Not Supported",
                                        400, "mode not supported: ", "agent mode"},
    [SBX_PROBLEM_STREAM_ERROR] = {PROBLEM_URN "stream_error", "Stream Error", 502,
                                  "stream error: ", "message"},
    [SBX_PROBLEM_TIMEOUT] = {PROBLEM_URN "timeout", "Timeout", 504, "timeout: ", "message"},
};

const struct sbx_problem_kind *sbx_problem_kind(enum sbx_problem_type type)
{
    return &problem_kinds[type];
}

/* A type that is used with another status than its own is called what the status is called. */
static const char *problem_title(enum sbx_problem_type type, int status)
{
    if (status == 0 || status == problem_kinds[type].status)
        return problem_kinds[type].title;
    /* Its name before RFC 9110, which the reference server and its clients show. */
    if (status == 413)
        return "Payload Too Large";
    return sbx_http_reason(status);
}

static bool problem_shows(const struct sbx_problem_kind *kind, const char *name)
{
    size_t n = strlen(name);
    const char *at = kind->extensions;
    while (*at != '\0') {
        size_t len = strcspn(at, " ");
        if (len == n && memcmp(at, name, n) == 0)
            return true;
        at += len + (at[len] == ' ');
    }
    return false;
}

static void problem_put(struct sbx_json_writer *w, const struct sbx_problem_kind *kind,
                        const char *name, const char *value)
{
    if (value != NULL && problem_shows(kind, name))
        sbx_json_put_z(w, name, value);
}

static bool problem_has_details(const struct sbx_problem_kind *kind,
                                const struct sbx_problem_values *v)
{
    return (v->message != NULL && problem_shows(kind, "message")) ||
           (v->stderr_text != NULL && problem_shows(kind, "stderr")) ||
           (v->mode != NULL && problem_shows(kind, "mode")) ||
           (v->resource != NULL && problem_shows(kind, "resource")) ||
           (v->has_exit_code && problem_shows(kind, "exitCode"));
}

static void problem_put_details(struct sbx_json_writer *w, const struct sbx_problem_kind *kind,
                                const struct sbx_problem_values *v)
{
    if (!problem_has_details(kind, v))
        return;
    sbx_json_key(w, "details");
    sbx_json_object(w);
    if (v->resource != NULL && problem_shows(kind, "id"))
        sbx_json_put_string(w, "id", v->id);
    problem_put(w, kind, "resource", v->resource);
    problem_put(w, kind, "message", v->message);
    problem_put(w, kind, "mode", v->mode);
    if (v->has_exit_code && problem_shows(kind, "exitCode")) {
        sbx_json_key(w, "exitCode");
        sbx_json_i64(w, v->exit_code);
    }
    problem_put(w, kind, "stderr", v->stderr_text);
    sbx_json_object_end(w);
}

/* What the sentence is about: the session or agent, where the type has one, else the message. */
static const char *problem_subject(const struct sbx_problem_kind *kind,
                                   const struct sbx_problem_values *v)
{
    const char *subject = v->message;
    if (v->session_id != NULL && problem_shows(kind, "sessionId"))
        subject = v->session_id;
    else if (v->agent != NULL && problem_shows(kind, "agent"))
        subject = v->agent;
    return subject != NULL ? subject : "";
}

static void problem_put_detail(struct sbx_json_writer *w, const struct sbx_problem_kind *kind,
                               struct sbx_str detail, const struct sbx_problem_values *v)
{
    char text[900];
    if (detail.n == 0) {
        /* A type whose prefix does not end in a colon is complete without more. */
        bool joins = kind->prefix[strlen(kind->prefix) - 1] == ' ';
        bool has_mode = v->mode != NULL && problem_shows(kind, "mode");
        (void)snprintf(text, sizeof text, "%s%s%s%s", kind->prefix,
                       joins ? problem_subject(kind, v) : "", has_mode ? " " : "",
                       has_mode ? v->mode : "");
        detail = sbx_str_z(text);
    }
    sbx_json_put_string(w, "detail", detail);
}

void sbx_problem_write(struct sbx_buf *out, enum sbx_problem_type type, int status,
                       struct sbx_str detail, const struct sbx_problem_values *values)
{
    const struct sbx_problem_kind *kind = &problem_kinds[type];
    struct sbx_json_writer w;
    sbx_json_begin(&w, out);
    sbx_json_object(&w);
    sbx_json_put_z(&w, "type", kind->urn);
    sbx_json_put_z(&w, "title", problem_title(type, status));
    sbx_json_put_u64(&w, "status", (uint64_t)(status != 0 ? status : kind->status));
    problem_put_detail(&w, kind, detail, values);
    problem_put(&w, kind, "agent", values->agent);
    problem_put(&w, kind, "sessionId", values->session_id);
    problem_put_details(&w, kind, values);
    sbx_json_object_end(&w);
}

void sbx_reply_out_of_memory(struct sbx_conn *c)
{
    static const char text[] =
        "{\"type\":\"" PROBLEM_URN "conflict\",\"title\":\"Service Unavailable\",\"status\":503,"
        "\"detail\":\"conflict: out of memory\",\"details\":{\"message\":\"out of memory\"}}";
    struct sbx_response r = {.status = 503, .content_type = "application/problem+json",
                             .text = {text, sizeof text - 1}};
    sbx_conn_respond(c, &r);
}

static void problem_reply(struct sbx_conn *c, enum sbx_problem_type type, int status,
                          struct sbx_str detail, const struct sbx_problem_values *values)
{
    struct sbx_buf body;
    struct sbx_response r = {.status = status != 0 ? status : problem_kinds[type].status,
                             .content_type = "application/problem+json", .body = &body};
    sbx_buf_init(&body);
    sbx_problem_write(&body, type, status, detail, values);
    if (body.oom) {
        sbx_buf_deinit(&body);
        sbx_reply_out_of_memory(c);
        return;
    }
    sbx_conn_respond(c, &r);
}

void sbx_reply_error(struct sbx_conn *c, enum sbx_problem_type type, int status, const char *fmt,
                     ...)
{
    char message[800];
    struct sbx_problem_values values = {.message = message};
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    problem_reply(c, type, status, (struct sbx_str){NULL, 0}, &values);
}

static void problem_reply_buf(struct sbx_conn *c, enum sbx_problem_type type, int status,
                              struct sbx_buf *detail, const struct sbx_problem_values *values)
{
    if (detail->oom)
        sbx_reply_out_of_memory(c);
    else
        problem_reply(c, type, status, sbx_buf_view(detail), values);
    sbx_buf_deinit(detail);
}

void sbx_reply_plain_error(struct sbx_conn *c, int status, struct sbx_buf *detail)
{
    struct sbx_problem_values none = {0};
    problem_reply_buf(c, SBX_PROBLEM_INVALID_REQUEST, status, detail, &none);
}

void sbx_reply_process_not_found(struct sbx_conn *c, struct sbx_str id)
{
    struct sbx_problem_values values = {.resource = "process", .id = id};
    struct sbx_buf detail;
    sbx_buf_init(&detail);
    sbx_buf_add_z(&detail, "not found: process ");
    sbx_buf_add_str(&detail, id);
    problem_reply_buf(c, SBX_PROBLEM_NOT_FOUND, 0, &detail, &values);
}

void sbx_reply_no_endpoint(struct sbx_conn *c)
{
    struct sbx_problem_values none = {0};
    problem_reply(c, SBX_PROBLEM_INVALID_REQUEST, 404, SBX_STR("endpoint not found"), &none);
}

void sbx_reply_json(struct sbx_conn *c, struct sbx_buf *body)
{
    struct sbx_response r = {.status = 200, .content_type = "application/json", .body = body};
    if (body->oom) {
        sbx_buf_deinit(body);
        sbx_reply_out_of_memory(c);
        return;
    }
    sbx_conn_respond(c, &r);
}
