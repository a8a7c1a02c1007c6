/* The table of endpoints, and how a path finds its row. */
#include "api/routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct sbx_route *find(const char *path, const char *method, struct sbx_str *id)
{
    const struct sbx_route *r = sbx_route_find(sbx_str_z(path), id);
    return r == NULL ? NULL : sbx_route_method(r, sbx_str_z(method));
}

static void expect(const char *method, const char *path, const char *operation, const char *id)
{
    struct sbx_str got;
    const struct sbx_route *r = find(path, method, &got);
    if (r == NULL)
        fail_msg("%s %s is not served", method, path);
    assert_string_equal(r->operation, operation);
    assert_true(sbx_str_eq_z(got, id));
}

static void test_endpoints(void **state)
{
    (void)state;
    expect("GET", "/", "get_root", "");
    expect("GET", "/healthz", "get_healthz", "");
    expect("GET", "/v1/health", "get_health", "");
    expect("GET", "/v1/openapi.json", "get_openapi", "");
    expect("POST", "/v1/tickets", "create_ticket", "");
    expect("GET", "/v1/processes", "list_processes", "");
    expect("POST", "/v1/processes", "create_process", "");
    expect("GET", "/v1/processes/config", "get_process_config", "");
    expect("POST", "/v1/processes/config", "set_process_config", "");
    expect("POST", "/v1/processes/run", "run_process", "");
    expect("GET", "/v1/processes/proc_1", "get_process", "proc_1");
    expect("DELETE", "/v1/processes/proc_1", "delete_process", "proc_1");
    expect("POST", "/v1/processes/proc_1/stop", "stop_process", "proc_1");
    expect("POST", "/v1/processes/proc_1/kill", "kill_process", "proc_1");
    expect("GET", "/v1/processes/proc_1/logs", "get_process_logs", "proc_1");
    expect("POST", "/v1/processes/proc_1/input", "send_process_input", "proc_1");
    expect("POST", "/v1/processes/proc_1/terminal/resize", "resize_process_terminal", "proc_1");
    expect("GET", "/v1/processes/proc_1/terminal/ws", "connect_process_terminal", "proc_1");
}

static void test_aliases(void **state)
{
    (void)state;
    expect("GET", "/v1/process", "list_processes_alias", "");
    expect("POST", "/v1/process", "create_process_alias", "");
    expect("GET", "/v1/process/proc_1", "get_process_alias", "proc_1");
    expect("DELETE", "/v1/process/proc_1", "delete_process_alias", "proc_1");
    expect("POST", "/v1/process/proc_1/stop", "stop_process_alias", "proc_1");
    expect("POST", "/v1/process/proc_1/kill", "kill_process_alias", "proc_1");
    expect("GET", "/v1/process/proc_1/logs", "get_process_logs_alias", "proc_1");
    expect("GET", "/v1/process/run", "get_process_alias", "run");
    expect("DELETE", "/v1/process/config", "delete_process_alias", "config");
}

static void test_ids(void **state)
{
    (void)state;
    expect("GET", "/v1/processes/a%2Fb", "get_process", "a%2Fb"); /* undecoded */
    expect("POST", "/v1/processes/run/stop", "stop_process", "run");
    expect("GET", "/v1/processes/config/logs", "get_process_logs", "config");
    expect("GET", "/v1/processes/.", "get_process", ".");
}

/* "{path}" is a rest of any depth, which is the handler's to read. */
static void test_rest(void **state)
{
    (void)state;
    expect("GET", "/ui", "get_ui_redirect", "");
    expect("GET", "/ui/", "get_ui", "");
    expect("HEAD", "/ui/x", "get_ui_file", "");
    expect("GET", "/ui/assets/0123/app.js", "get_ui_file", "");
    expect("GET", "/ui//", "get_ui_file", "");
    expect("GET", "/ui/../v1/processes", "get_ui_file", "");
}

static void test_no_endpoint(void **state)
{
    static const char *const paths[] = {"",
                                        "*",
                                        "/v1",
                                        "/v1/",
                                        "/v1/health/",
                                        "/V1/health",
                                        "/v1/healthy",
                                        "/v1/processes/",
                                        "/v1/processes//logs",
                                        "/v1/processes/x/",
                                        "/v1/processes/x/logs/",
                                        "/v1/processes/x/y",
                                        "/v1/processes/x/y/logs",
                                        "/v1/processes/x/terminal",
                                        "/v1/processesx",
                                        "/uix",
                                        "/UI/",
                                        "//ui/",
                                        "//"};
    struct sbx_str id;
    size_t i;
    (void)state;
    for (i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (sbx_route_find(sbx_str_z(paths[i]), &id) != NULL)
            fail_msg("%s is served", paths[i]);
}

static void test_methods(void **state)
{
    struct sbx_str id;
    (void)state;
    assert_non_null(find("/v1/health", "HEAD", &id));
    assert_non_null(find("/v1/processes/x/logs", "HEAD", &id));
    assert_null(find("/v1/processes/x/terminal/ws", "HEAD", &id));
    assert_null(find("/v1/processes/run", "HEAD", &id));
    assert_null(find("/v1/processes/run", "GET", &id));
    assert_null(find("/v1/health", "get", &id));
    assert_null(find("/v1/health", "PUT", &id));
    assert_null(find("/v1/processes/x", "POST", &id));
}

static void expect_allow(const char *path, const char *allow)
{
    struct sbx_buf out;
    struct sbx_str id;
    sbx_buf_init(&out);
    sbx_route_put_allow(sbx_route_find(sbx_str_z(path), &id), &out);
    assert_true(sbx_str_eq_z(sbx_buf_view(&out), allow));
    sbx_buf_deinit(&out);
}

static void test_allow(void **state)
{
    (void)state;
    expect_allow("/v1/health", "GET,HEAD");
    expect_allow("/v1/processes", "GET,HEAD,POST");
    expect_allow("/v1/processes/x", "GET,HEAD,DELETE");
    expect_allow("/v1/processes/run", "POST");
    expect_allow("/v1/processes/x/terminal/ws", "GET,HEAD");
}

/* Rows of a path are adjacent, or methods of it would not be found; and each row finds itself. */
static void test_table(void **state)
{
    const struct sbx_route *table = sbx_routes(), *r, *s;
    (void)state;
    for (r = table; r->path != NULL; r++) {
        struct sbx_str id;
        const struct sbx_route *first = sbx_route_find(sbx_str_z(r->path), &id);
        assert_non_null(r->handle);
        assert_ptr_equal(sbx_route_method(first, sbx_str_z(r->method)), r);
        for (s = table; s < r; s++)
            assert_string_not_equal(s->operation, r->operation);
        assert_int_equal((r->flags & SBX_ROUTE_OPEN) != 0,
                         strcmp(r->path, "/") == 0 || strcmp(r->path, "/healthz") == 0 ||
                             strncmp(r->path, "/ui", 3) == 0);
        assert_int_equal((r->flags & SBX_ROUTE_READS) != 0, strcmp(r->path, "/v1/tickets") == 0);
        assert_int_equal((r->flags & SBX_ROUTE_TICKET) != 0,
                         strstr(r->path, "/logs") != NULL || strstr(r->path, "/ws") != NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_no_endpoint),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_allow),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
