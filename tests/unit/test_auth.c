/* Who carries a token, and what it allows. */
#include "api/auth.h"
#include "gate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct sbx_tokens tokens;
static struct sbx_err err;
static struct sbx_http_request req;

static int setup(void **state)
{
    (void)state;
    sbx_tokens_init(&tokens);
    memset(&req, 0, sizeof req);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sbx_tokens_deinit(&tokens);
    return 0;
}

static void add(const char *secret, enum sbx_scope scope)
{
    assert_int_equal(sbx_tokens_add(&tokens, sbx_str_z(secret), scope, "--token", &err), 0);
}

static void header(const char *name, const char *value)
{
    req.headers[req.nheaders].name = sbx_str_z(name);
    req.headers[req.nheaders++].value = sbx_str_z(value);
}

/* With "secret" and, for reading, "look". */
static enum sbx_scope check(const char *authorization, const char *query, bool websocket)
{
    if (tokens.count == 0) {
        add("secret", SBX_SCOPE_FULL);
        add("look", SBX_SCOPE_READ);
    }
    req.nheaders = 0;
    if (authorization != NULL)
        header("AUTHORIZATION", authorization);
    return sbx_auth_check(&tokens, &req, sbx_str_z(query), websocket);
}

static enum sbx_scope offer(const char *protocols)
{
    (void)check(NULL, "", true);
    header("Sec-WebSocket-Protocol", protocols);
    return sbx_auth_check(&tokens, &req, SBX_STR(""), true);
}

#define FULL(...) assert_int_equal(__VA_ARGS__, SBX_SCOPE_FULL)
#define READ(...) assert_int_equal(__VA_ARGS__, SBX_SCOPE_READ)
#define NONE(...) assert_int_equal(__VA_ARGS__, SBX_SCOPE_NONE)

static void test_no_token_serves_everybody(void **state)
{
    (void)state;
    header("authorization", "Bearer whatever");
    FULL(sbx_auth_check(&tokens, &req, SBX_STR("access_token=x"), true));
    req.nheaders = 0;
    FULL(sbx_auth_check(&tokens, &req, SBX_STR(""), false));
    NONE(sbx_tokens_scope(&tokens, SBX_STR("")));
}

static void test_header(void **state)
{
    (void)state;
    FULL(check("Bearer secret", "", false));
    FULL(check("bearer secret", "", false));
    FULL(check("BEARER  secret", "", false));
    READ(check("Bearer look", "", false));
    NONE(check(NULL, "", false));
    NONE(check("", "", false));
    NONE(check("secret", "", false));
    NONE(check("Bearer", "", false));
    NONE(check("Bearer ", "", false));
    NONE(check("Bearersecret", "", false));
    NONE(check("Bearer secre", "", false));
    NONE(check("Bearer secrets", "", false));
    NONE(check("Bearer Secret", "", false));
    NONE(check("Basic secret", "", false));
    NONE(check("Bearer secret secret", "", false));
    NONE(check("Bearer secretlook", "", false));
}

static void test_token_with_blanks(void **state)
{
    (void)state;
    add("two words", SBX_SCOPE_READ);
    READ(check("Bearer two words", "", false));
    NONE(check("Bearer two", "", false));
}

static void test_query(void **state)
{
    (void)state;
    add("a b/+", SBX_SCOPE_FULL);
    add("secret", SBX_SCOPE_FULL);
    add("look", SBX_SCOPE_READ);
    FULL(check(NULL, "access_token=secret", true));
    FULL(check(NULL, "a=b&access_token=s%65cret&c", true));
    FULL(check(NULL, "access_token=a+b%2F%2B", true));
    READ(check(NULL, "access_token=look", true));
    NONE(check(NULL, "access_token=secret", false)); /* terminals only */
    NONE(check(NULL, "access_token=wrong&access_token=secret", true));
    NONE(check(NULL, "access_token=", true));
    NONE(check(NULL, "ACCESS_TOKEN=secret", true));
    NONE(check(NULL, "xaccess_token=secret", true));
    NONE(check(NULL, "", true));
}

static void test_any_is_enough(void **state)
{
    (void)state;
    FULL(check("Bearer wrong", "access_token=secret", true));
    FULL(check("Bearer secret", "access_token=wrong", true));
    FULL(check("Bearer look", "access_token=secret", true));
    FULL(check("Bearer secret", "access_token=look", true));
    READ(check("Bearer wrong", "access_token=look", true));
    NONE(check("Bearer wrong", "access_token=wrong", true));
}

static void test_subprotocol(void **state)
{
    (void)state;
    FULL(offer("bearer.secret"));
    READ(offer("bearer.look"));
    FULL(offer("chat, bearer.s%65cret , other"));
    NONE(offer("bearer.secre"));
    NONE(offer("bearer.wrong, bearer.secret")); /* the first one counts, as everywhere */
    NONE(offer("bearer."));
    NONE(offer("secret"));
    NONE(offer("Bearer.secret"));
    NONE(offer("xbearer.secret"));
    (void)check(NULL, "", true);
    header("Sec-WebSocket-Protocol", "chat");
    header("sec-websocket-protocol", "bearer.secret");
    FULL(sbx_auth_check(&tokens, &req, SBX_STR(""), true));
    NONE(sbx_auth_check(&tokens, &req, SBX_STR(""), false));
}

static void test_subprotocol_literal(void **state)
{
    (void)state;
    add("100%41+x", SBX_SCOPE_FULL);
    FULL(offer("bearer.100%41+x")); /* as it is, although it could be decoded */
    FULL(offer("bearer.100%2541+x"));
    NONE(offer("bearer.100A+x"));
}

static void test_subprotocol_answer(void **state)
{
    (void)state;
    assert_int_equal(sbx_auth_subprotocol(&req).n, 0);
    header("Sec-WebSocket-Protocol", "bearer.secret");
    assert_true(sbx_str_eq_z(sbx_auth_subprotocol(&req), "bearer.secret"));
    header("Sec-WebSocket-Protocol", " , terminal , chat");
    assert_true(sbx_str_eq_z(sbx_auth_subprotocol(&req), "terminal"));
}

static void test_tried(void **state)
{
    (void)state;
    assert_false(sbx_auth_is_tried(&req, SBX_STR("a=b"), true));
    assert_true(sbx_auth_is_tried(&req, SBX_STR("access_token="), true));
    assert_false(sbx_auth_is_tried(&req, SBX_STR("access_token=x"), false));
    header("Sec-WebSocket-Protocol", "chat, bearer.");
    assert_true(sbx_auth_is_tried(&req, SBX_STR(""), true));
    assert_false(sbx_auth_is_tried(&req, SBX_STR(""), false));
    req.nheaders = 0;
    header("authorization", "");
    assert_true(sbx_auth_is_tried(&req, SBX_STR(""), false));
}

static void test_ticket_parameter(void **state)
{
    char text[4];
    (void)state;
    assert_false(sbx_auth_ticket(SBX_STR("tickets=abcd"), text, 4));
    assert_true(sbx_auth_ticket(SBX_STR("x=1&ticket=ab%63d&ticket=efgh"), text, 4));
    assert_memory_equal(text, "abcd", 4);
    assert_true(sbx_auth_ticket(SBX_STR("ticket=abcde"), text, 4));
    assert_memory_equal(text, "\0\0\0\0", 4);
    assert_true(sbx_auth_ticket(SBX_STR("ticket"), text, 4));
    assert_memory_equal(text, "\0\0\0\0", 4);
}

static void test_endless_values(void **state)
{
    static char long_text[20000];
    (void)state;
    memset(long_text, 'a', sizeof long_text - 1);
    memcpy(long_text, "access_token=", 13);
    NONE(check(NULL, long_text, true));
    memcpy(long_text, "Bearer       ", 13);
    NONE(check(long_text, "", false));
    memcpy(long_text, "bearer.aaaaaa", 13);
    NONE(offer(long_text));
}

/* --- which are taken --- */

static int refused(const char *secret)
{
    return sbx_tokens_add(&tokens, sbx_str_z(secret), SBX_SCOPE_FULL, "--token", &err);
}

static void test_what_is_a_token(void **state)
{
    char longest[SBX_TOKEN_MAX + 2];
    (void)state;
    add("s3cret", SBX_SCOPE_FULL);
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(refused(longest), -EINVAL);
    assert_string_equal(err.text, "the token in --token is longer than 1024 bytes");
    longest[SBX_TOKEN_MAX] = '\0';
    add(longest, SBX_SCOPE_FULL);
    assert_int_equal(refused(""), -EINVAL);
    assert_int_equal(refused("a\nb"), -EINVAL);
    assert_int_equal(refused("a\x7f"), -EINVAL);
    assert_int_equal(refused(" a"), -EINVAL);
    assert_int_equal(refused("a "), -EINVAL);
    assert_int_equal(refused("s3cret"), -EINVAL);
    assert_string_equal(err.text, "the token in --token was given before");
    assert_int_equal(tokens.count, 2);
}

static void test_how_many(void **state)
{
    char secret[3] = "a!";
    (void)state;
    for (; tokens.count < SBX_TOKENS_MAX; secret[1]++)
        add(secret, SBX_SCOPE_READ);
    assert_int_equal(refused("one more"), -EINVAL);
    READ(sbx_tokens_scope(&tokens, SBX_STR("a!")));
    secret[1]--;
    READ(sbx_tokens_scope(&tokens, sbx_str_z(secret)));
}

static int parse(const char *text)
{
    return sbx_tokens_parse(&tokens, sbx_str_z(text), "--token-file F", &err);
}

static void test_file(void **state)
{
    (void)state;
    assert_int_equal(parse("# tokens\n\nalpha\n  beta read\r\ngamma\t full \n\t\n  # x\n"
                           "delta read"), 0);
    assert_int_equal(tokens.count, 4);
    FULL(sbx_tokens_scope(&tokens, SBX_STR("alpha")));
    READ(sbx_tokens_scope(&tokens, SBX_STR("beta")));
    FULL(sbx_tokens_scope(&tokens, SBX_STR("gamma")));
    READ(sbx_tokens_scope(&tokens, SBX_STR("delta")));
    NONE(sbx_tokens_scope(&tokens, SBX_STR("beta read")));
    NONE(sbx_tokens_scope(&tokens, SBX_STR("# tokens")));
}

static void refuse_file(struct sbx_str text, const char *why)
{
    assert_int_equal(sbx_tokens_parse(&tokens, text, "--token-file F", &err), -EINVAL);
    assert_string_equal(err.text, why);
    assert_int_equal(tokens.count, 1);
    FULL(sbx_tokens_scope(&tokens, SBX_STR("before")));
}

static void test_bad_files(void **state)
{
    (void)state;
    add("before", SBX_SCOPE_FULL);
    refuse_file(SBX_STR(""), "there is no token in --token-file F");
    refuse_file(SBX_STR("\n# alpha\n"), "there is no token in --token-file F");
    refuse_file(SBX_STR("alpha\nbeta raed\n"),
                "the scope in --token-file F, line 2 is neither full nor read");
    refuse_file(SBX_STR("alpha\n\nbeta read full\n"),
                "the scope in --token-file F, line 3 is neither full nor read");
    refuse_file(SBX_STR("alpha\nal\0pha\n"), "there is a NUL byte in --token-file F, line 2");
    refuse_file(SBX_STR("alpha\n# \0\n"), "there is a NUL byte in --token-file F, line 2");
    refuse_file(SBX_STR("alpha\nal\tpha\n"),
                "the scope in --token-file F, line 2 is neither full nor read");
    refuse_file(SBX_STR("alpha\nal\apha\n"),
                "the token in --token-file F, line 2 has control characters");
    refuse_file(SBX_STR("alpha read\nalpha\n"),
                "the token in --token-file F, line 2 was given before");
    refuse_file(SBX_STR("before\n"), "the token in --token-file F, line 1 was given before");
}

static void attempt(void *ctx, const struct gate *g)
{
    struct sbx_tokens t;
    int rc;
    (void)ctx;
    sbx_tokens_init(&t);
    rc = sbx_tokens_add(&t, SBX_STR("before"), SBX_SCOPE_FULL, "--token", &err);
    if (rc == 0) {
        rc = sbx_tokens_parse(&t, SBX_STR("alpha\nbeta read\n"), "--token-file F", &err);
        assert_int_equal(t.count, rc == 0 ? 3 : 1);
        FULL(sbx_tokens_scope(&t, SBX_STR("before")));
    }
    assert_int_equal(rc, gate_hit(g) ? -ENOMEM : 0);
    sbx_tokens_deinit(&t);
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_int_equal(gate_each(attempt, NULL), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_token_serves_everybody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_header, setup, teardown),
        cmocka_unit_test_setup_teardown(test_token_with_blanks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_query, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_is_enough, setup, teardown),
        cmocka_unit_test_setup_teardown(test_subprotocol, setup, teardown),
        cmocka_unit_test_setup_teardown(test_subprotocol_literal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_subprotocol_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tried, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ticket_parameter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_endless_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_a_token, setup, teardown),
        cmocka_unit_test_setup_teardown(test_how_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
