/* routes.c - see routes.h. "run" and "config" come before "{id}", so they are not process ids
 * directly below /v1/processes; deeper down they are. */
#include "api/routes.h"
#include "api/handlers.h"

#include <string.h>

static const struct sbx_route routes_table[] = {
    {"GET", "/", "get_root", sbx_api_get_root, SBX_ROUTE_OPEN | SBX_ROUTE_PUBLIC},
    {"GET", "/healthz", "get_healthz", sbx_api_get_healthz,
     SBX_ROUTE_OPEN | SBX_ROUTE_PUBLIC},
    {"GET", "/v1/health", "get_health", sbx_api_get_health, SBX_ROUTE_PUBLIC},
    {"GET", "/v1/openapi.json", "get_openapi", sbx_api_get_openapi, 0},
    {"POST", "/v1/tickets", "create_ticket", sbx_api_create_ticket,
     SBX_ROUTE_JSON | SBX_ROUTE_READS},
    {"GET", "/v1/processes", "list_processes", sbx_api_list_processes, 0},
    {"POST", "/v1/processes", "create_process", sbx_api_create_process,
     SBX_ROUTE_JSON | SBX_ROUTE_STARTS},
    {"GET", "/v1/processes/config", "get_process_config", sbx_api_get_config, 0},
    {"POST", "/v1/processes/config", "set_process_config", sbx_api_set_config, SBX_ROUTE_JSON},
    {"POST", "/v1/processes/run", "run_process", sbx_api_run_process,
     SBX_ROUTE_JSON | SBX_ROUTE_STARTS},
    {"GET", "/v1/processes/{id}", "get_process", sbx_api_get_process, 0},
    {"DELETE", "/v1/processes/{id}", "delete_process", sbx_api_delete_process, 0},
    {"POST", "/v1/processes/{id}/stop", "stop_process", sbx_api_stop_process, 0},
    {"POST", "/v1/processes/{id}/kill", "kill_process", sbx_api_kill_process, 0},
    {"GET", "/v1/processes/{id}/logs", "get_process_logs", sbx_api_get_logs,
     SBX_ROUTE_TICKET},
    {"POST", "/v1/processes/{id}/input", "send_process_input", sbx_api_send_input,
     SBX_ROUTE_JSON | SBX_ROUTE_INPUT},
    {"POST", "/v1/processes/{id}/terminal/resize", "resize_process_terminal",
     sbx_api_resize_terminal, SBX_ROUTE_JSON},
    {"GET", "/v1/processes/{id}/terminal/ws", "connect_process_terminal",
     sbx_api_connect_terminal, SBX_ROUTE_TERMINAL | SBX_ROUTE_TICKET},
    {"GET", "/ui", "get_ui_redirect", sbx_api_get_ui_redirect, SBX_ROUTE_OPEN},
    {"GET", "/ui/", "get_ui", sbx_api_get_ui, SBX_ROUTE_OPEN},
    {"GET", "/ui/{path}", "get_ui_file", sbx_api_get_ui, SBX_ROUTE_OPEN},
    /* Other names of the same, from an earlier proposal. Here "run" and "config" are ids. */
    {"GET", "/v1/process", "list_processes_alias", sbx_api_list_processes, 0},
    {"POST", "/v1/process", "create_process_alias", sbx_api_create_process,
     SBX_ROUTE_JSON | SBX_ROUTE_STARTS},
    {"GET", "/v1/process/{id}", "get_process_alias", sbx_api_get_process, 0},
    {"DELETE", "/v1/process/{id}", "delete_process_alias", sbx_api_delete_process, 0},
    {"POST", "/v1/process/{id}/stop", "stop_process_alias", sbx_api_stop_process, 0},
    {"POST", "/v1/process/{id}/kill", "kill_process_alias", sbx_api_kill_process, 0},
    {"GET", "/v1/process/{id}/logs", "get_process_logs_alias", sbx_api_get_logs,
     SBX_ROUTE_TICKET},
    {NULL, NULL, NULL, NULL, 0},
};

const struct sbx_route *sbx_routes(void)
{
    return routes_table;
}

/* "{id}" stands for one segment that is not empty, "{path}" at the end for all that is left, also
 * not empty. */
static bool route_matches(const char *pattern, struct sbx_str path, struct sbx_str *id)
{
    const char *hole = strchr(pattern, '{');
    size_t before, n;
    const char *slash;
    if (hole == NULL)
        return sbx_str_eq_z(path, pattern);
    before = (size_t)(hole - pattern);
    if (path.n <= before || memcmp(path.p, pattern, before) != 0)
        return false;
    if (strcmp(hole, "{path}") == 0)
        return true;
    slash = memchr(path.p + before, '/', path.n - before);
    n = slash == NULL ? path.n - before : (size_t)(slash - path.p) - before;
    if (n == 0)
        return false;
    *id = (struct sbx_str){path.p + before, n};
    return sbx_str_eq_z((struct sbx_str){path.p + before + n, path.n - before - n}, hole + 4);
}

const struct sbx_route *sbx_route_find(struct sbx_str path, struct sbx_str *id)
{
    const struct sbx_route *r;
    *id = (struct sbx_str){NULL, 0};
    for (r = routes_table; r->path != NULL; r++)
        if (route_matches(r->path, path, id))
            return r;
    return NULL;
}

static bool route_same_path(const struct sbx_route *a, const struct sbx_route *b)
{
    return b->path != NULL && strcmp(a->path, b->path) == 0;
}

static bool route_serves_head(const struct sbx_route *r)
{
    return strcmp(r->method, "GET") == 0 && (r->flags & SBX_ROUTE_TERMINAL) == 0;
}

const struct sbx_route *sbx_route_method(const struct sbx_route *first, struct sbx_str method)
{
    const struct sbx_route *r;
    for (r = first; route_same_path(first, r); r++)
        if (sbx_str_eq_z(method, r->method) ||
            (sbx_str_eq_z(method, "HEAD") && route_serves_head(r)))
            return r;
    return NULL;
}

void sbx_route_put_allow(const struct sbx_route *first, struct sbx_buf *out)
{
    const struct sbx_route *r;
    for (r = first; route_same_path(first, r); r++) {
        if (r != first)
            sbx_buf_add_byte(out, ',');
        sbx_buf_add_z(out, r->method);
        /* The terminal lists HEAD and refuses it, as the reference server does. */
        if (strcmp(r->method, "GET") == 0)
            sbx_buf_add_z(out, ",HEAD");
    }
}
