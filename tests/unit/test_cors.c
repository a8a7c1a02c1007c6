/* Which pages may use the agent, and what their browsers are told. */
#include "api/cors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const one[] = {"https://app.example"};
static const char *const star[] = {"*"};

static const struct sbx_cors none = {.norigins = 0};
static const struct sbx_cors listed = {.origins = one, .norigins = 1};
static const struct sbx_cors any = {.origins = star, .norigins = 1};
static const struct sbx_cors any_with_credentials = {.origins = star, .norigins = 1,
                                                     .credentials = true};

static void expect_lines(struct sbx_buf *out, const char *lines)
{
    assert_true(sbx_str_eq_z(sbx_buf_view(out), lines));
    sbx_buf_deinit(out);
}

static void expect_origin(const struct sbx_cors *cors, const char *origin, const char *lines)
{
    struct sbx_buf out;
    sbx_buf_init(&out);
    sbx_cors_put_origin(cors, sbx_str_z(origin), &out);
    expect_lines(&out, lines);
}

static void test_origin_is_echoed(void **state)
{
    (void)state;
    expect_origin(&listed, "https://app.example",
                  "access-control-allow-origin: https://app.example\r\n");
    expect_origin(&listed, "https://app.example/", "");
    expect_origin(&listed, "https://APP.example", "");
    expect_origin(&listed, "https://app.example:443", "");
    expect_origin(&listed, "http://app.example", "");
    expect_origin(&listed, "null", "");
    expect_origin(&listed, "", "");
    expect_origin(&none, "https://app.example", "");
    expect_origin(&none, "http://localhost:3000", "");
}

/* A wildcard and credentials exclude each other in browsers; the origin itself does not. */
static void test_wildcard(void **state)
{
    (void)state;
    expect_origin(&any, "https://x.example", "access-control-allow-origin: *\r\n");
    expect_origin(&any_with_credentials, "https://x.example",
                  "access-control-allow-origin: https://x.example\r\n");
    expect_origin(&any, "", "");
}

static void test_common(void **state)
{
    struct sbx_buf out;
    (void)state;
    sbx_buf_init(&out);
    sbx_cors_put_common(&none, &out);
    expect_lines(&out, "vary: origin, access-control-request-method, "
                       "access-control-request-headers\r\n"
                       "x-content-type-options: nosniff\r\n"
                       "cross-origin-resource-policy: same-origin\r\n");
    sbx_buf_init(&out);
    sbx_cors_put_common(&any_with_credentials, &out);
    expect_lines(&out, "vary: origin, access-control-request-method, "
                       "access-control-request-headers\r\n"
                       "x-content-type-options: nosniff\r\n"
                       "cross-origin-resource-policy: same-origin\r\n"
                       "access-control-allow-credentials: true\r\n");
}

static void expect_preflight(const struct sbx_cors *cors, const char *requested, const char *lines)
{
    struct sbx_buf out;
    sbx_buf_init(&out);
    sbx_cors_put_preflight(cors, sbx_str_z(requested), &out);
    expect_lines(&out, lines);
}

static void test_preflight(void **state)
{
    struct sbx_cors some = {.methods = SBX_STR("GET,POST"), .headers = SBX_STR("x-one,x-two")};
    (void)state;
    expect_preflight(&none, "x-asked", "access-control-allow-methods: *\r\n"
                                       "access-control-allow-headers: *\r\n");
    expect_preflight(&some, "x-asked", "access-control-allow-methods: GET,POST\r\n"
                                       "access-control-allow-headers: x-one,x-two\r\n");
    expect_preflight(&any_with_credentials, "x-asked",
                     "access-control-allow-methods: GET,HEAD,POST,DELETE,OPTIONS\r\n"
                     "access-control-allow-headers: x-asked\r\n");
    expect_preflight(&any_with_credentials, "",
                     "access-control-allow-methods: GET,HEAD,POST,DELETE,OPTIONS\r\n"
                     "access-control-allow-headers: authorization,content-type\r\n");
}

static bool may(const struct sbx_cors *cors, const char *origin, const char *host)
{
    return sbx_cors_may_ask(cors, sbx_str_z(origin), sbx_str_z(host), false);
}

static bool may_over_tls(const struct sbx_cors *cors, const char *origin, const char *host)
{
    return sbx_cors_may_ask(cors, sbx_str_z(origin), sbx_str_z(host), true);
}

static void test_pages_of_this_machine(void **state)
{
    static const char *const yes[] = {
        "http://localhost", "http://localhost:3000", "https://localhost:1", "http://LOCALHOST:80",
        "http://127.0.0.1:3000", "http://127.0.0.1", "http://127.9.8.7", "http://[::1]:3000",
        "https://[::1]"};
    static const char *const no[] = {
        "http://localhost.example", "http://127.0.0.1.example", "http://127.0.0.1.2.3:80",
        "http://127.0.0", "http://127.a.0.1", "http://127.999.1.1", "http://[::2]",
        "http://128.0.0.1", "http://xlocalhost", "null", "", "file://", "ftp://localhost",
        "chrome-extension://abc", "localhost", "http://", "http://localhost:x"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (!may(&none, yes[i], "agent.example"))
            fail_msg("%s was refused", yes[i]);
    for (i = 0; i < sizeof no / sizeof no[0]; i++)
        if (may(&none, no[i], "agent.example"))
            fail_msg("%s was allowed", no[i]);
}

static void test_pages_of_the_agent_itself(void **state)
{
    (void)state;
    assert_true(may(&none, "http://10.0.0.5:2468", "10.0.0.5:2468"));
    assert_true(may(&none, "http://agent.example:2468", "AGENT.example:2468"));
    assert_true(may(&none, "https://agent.example", "agent.example"));
    assert_true(may(&none, "https://agent.example", "agent.example:443"));
    assert_true(may(&none, "http://agent.example", "agent.example:80"));
    assert_false(may(&none, "http://agent.example", "agent.example:443"));
    assert_false(may(&none, "http://agent.example:2469", "agent.example:2468"));
    assert_false(may(&none, "http://other.example:2468", "agent.example:2468"));
    assert_false(may(&none, "http://agent.example", ""));
    assert_false(may(&none, "null", "null"));
}

/* Where our own connection is TLS, a page in clear text is somebody else's. */
static void test_pages_of_the_agent_itself_over_tls(void **state)
{
    (void)state;
    assert_true(may_over_tls(&none, "https://agent.example:2468", "agent.example:2468"));
    assert_true(may_over_tls(&none, "https://agent.example", "AGENT.example:443"));
    assert_false(may_over_tls(&none, "http://agent.example:2468", "agent.example:2468"));
    assert_false(may_over_tls(&none, "http://agent.example", "agent.example"));
    assert_false(may_over_tls(&none, "http://agent.example", "agent.example:80"));
    assert_true(may_over_tls(&none, "http://localhost:3000", "agent.example"));
    assert_true(may_over_tls(&listed, "https://app.example", "agent.example"));
    assert_true(may_over_tls(&any, "http://whatever.example", "agent.example"));
}

static void test_pages_that_are_allowed_by_flag(void **state)
{
    (void)state;
    assert_true(may(&listed, "https://app.example", "10.0.0.5:2468"));
    assert_false(may(&listed, "https://app.example.evil", "10.0.0.5:2468"));
    assert_true(may(&any, "https://whatever.example", "10.0.0.5:2468"));
    assert_true(may(&any, "null", "10.0.0.5:2468"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_origin_is_echoed),
        cmocka_unit_test(test_wildcard),
        cmocka_unit_test(test_common),
        cmocka_unit_test(test_preflight),
        cmocka_unit_test(test_pages_of_this_machine),
        cmocka_unit_test(test_pages_of_the_agent_itself),
        cmocka_unit_test(test_pages_of_the_agent_itself_over_tls),
        cmocka_unit_test(test_pages_that_are_allowed_by_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
