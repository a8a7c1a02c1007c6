/* Who carries the token. */
#include "api/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool check(const char *token, const char *authorization, const char *query, bool in_query)
{
    struct sbx_http_request req;
    memset(&req, 0, sizeof req);
    if (authorization != NULL) {
        req.headers[0].name = SBX_STR("AUTHORIZATION");
        req.headers[0].value = sbx_str_z(authorization);
        req.nheaders = 1;
    }
    return sbx_auth_check(sbx_str_z(token), &req, sbx_str_z(query), in_query);
}

static void test_no_token_serves_everybody(void **state)
{
    (void)state;
    assert_true(check("", NULL, "", false));
    assert_true(check("", "Bearer whatever", "access_token=x", true));
}

static void test_header(void **state)
{
    (void)state;
    assert_true(check("secret", "Bearer secret", "", false));
    assert_true(check("secret", "bearer secret", "", false));
    assert_true(check("secret", "BEARER  secret", "", false));
    assert_true(check("two words", "Bearer two words", "", false));
    assert_false(check("secret", NULL, "", false));
    assert_false(check("secret", "", "", false));
    assert_false(check("secret", "secret", "", false));
    assert_false(check("secret", "Bearer", "", false));
    assert_false(check("secret", "Bearer ", "", false));
    assert_false(check("secret", "Bearersecret", "", false));
    assert_false(check("secret", "Bearer secre", "", false));
    assert_false(check("secret", "Bearer secrets", "", false));
    assert_false(check("secret", "Bearer Secret", "", false));
    assert_false(check("secret", "Basic secret", "", false));
    assert_false(check("secret", "Bearer secret secret", "", false));
}

static void test_query(void **state)
{
    (void)state;
    assert_true(check("secret", NULL, "access_token=secret", true));
    assert_true(check("secret", NULL, "a=b&access_token=s%65cret&c", true));
    assert_true(check("a b/+", NULL, "access_token=a+b%2F%2B", true));
    assert_true(check("secret", "Bearer wrong", "access_token=secret", true));
    assert_true(check("secret", "Bearer secret", "access_token=wrong", true));
    assert_false(check("secret", NULL, "access_token=secret", false)); /* terminals only */
    assert_false(check("secret", NULL, "access_token=wrong&access_token=secret", true));
    assert_false(check("secret", NULL, "access_token=", true));
    assert_false(check("secret", NULL, "ACCESS_TOKEN=secret", true));
    assert_false(check("secret", NULL, "xaccess_token=secret", true));
    assert_false(check("secret", NULL, "", true));
}

static void test_endless_value(void **state)
{
    static char query[20000];
    (void)state;
    memset(query, 'a', sizeof query - 1);
    memcpy(query, "access_token=", 13);
    assert_false(check("secret", NULL, query, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_token_serves_everybody),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_endless_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
