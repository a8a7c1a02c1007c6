/* Who is let in, and when the others are told: the router on a connection over a socket pair. */
#include "api/api.h"
#include "conn_rig.h"
#include "gate.h"
#include "proc/limits.h"

#define REFUSED "HTTP/1.1 401 "
#define TOKEN(token) "Authorization: Bearer " token "\r\n"
#define GET(path, more) "GET " path " HTTP/1.1\r\nHost: x\r\n" more "\r\n"
#define WRONG GET("/v1/openapi.json", TOKEN("wrong"))
#define RIGHT GET("/v1/processes/config", TOKEN("right"))
#define CONFIG "maxConcurrentProcesses"

static struct rig rig;
static struct sbx_host host;
static struct sbx_api api;
static struct sbx_tokens tokens;

static int setup(void **state)
{
    struct sbx_err err;
    (void)state;
    rig_init(&rig);
    memset(&host, 0, sizeof host);
    memset(&api, 0, sizeof api);
    sbx_limits_default(&host.limits);
    sbx_tokens_init(&tokens);
    assert_int_equal(sbx_tokens_add(&tokens, SBX_STR("right"), SBX_SCOPE_FULL, "", &err), 0);
    assert_int_equal(sbx_tokens_add(&tokens, SBX_STR("look"), SBX_SCOPE_READ, "", &err), 0);
    api.tokens = &tokens;
    sbx_api_init(&api, &host, &rig.net);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (rig.net.count > 0)
        sbx_conn_close(rig.conn);
    sbx_api_deinit(&api);
    rig_close(&rig);
    sbx_tokens_deinit(&tokens);
    return 0;
}

static uint32_t waiting(void)
{
    uint32_t n = 0;
    size_t i;
    for (i = 0; api.throttle.peers != NULL && i < SBX_THROTTLE_PEERS; i++)
        n += api.throttle.peers[i].waiting;
    return n;
}

/* As many failures as cost nothing, of the peer that all unix sockets are. */
static void use_up(void)
{
    struct sbx_peer peer = {.family = AF_UNIX};
    uint64_t delay;
    unsigned i;
    for (i = 0; i < SBX_THROTTLE_FREE; i++)
        (void)sbx_throttle_fail(&api.throttle, &peer, &delay);
}

static void test_wrong_tokens_wait_in_order(void **state)
{
    (void)state;
    rig_connect(&rig);
    rig_say(&rig, WRONG WRONG WRONG WRONG WRONG WRONG RIGHT WRONG);
    RIG_UNTIL(&rig, waiting() == 1);
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, REFUSED), SBX_THROTTLE_FREE);
    assert_false(rig_has(&rig, CONFIG));
    RIG_UNTIL(&rig, rig_has(&rig, CONFIG));
    assert_int_equal(rig_count(&rig, REFUSED), SBX_THROTTLE_FREE + 1);
    RIG_UNTIL(&rig, rig_count(&rig, REFUSED) == SBX_THROTTLE_FREE + 2);
    assert_int_equal(rig_count(&rig, "www-authenticate: Bearer\r\n"), SBX_THROTTLE_FREE + 2);
    assert_int_equal(waiting(), 0);
}

static void test_none_is_no_guess(void **state)
{
    unsigned i;
    (void)state;
    rig_connect(&rig);
    for (i = 0; i < 3 * SBX_THROTTLE_FREE; i++)
        rig_say(&rig, GET("/v1/health", ""));
    RIG_UNTIL(&rig, rig_count(&rig, REFUSED) == 3 * SBX_THROTTLE_FREE);
    assert_null(api.throttle.peers);
}

static void test_nor_is_an_open_path(void **state)
{
    (void)state;
    rig_connect(&rig);
    rig_say(&rig, GET("/healthz", TOKEN("wrong")) GET("/nope", TOKEN("wrong")));
    RIG_UNTIL(&rig, rig_has(&rig, "endpoint not found"));
    assert_true(rig_has(&rig, "{\"status\":\"ok\"}"));
    assert_null(api.throttle.peers);
}

static void test_peer_leaves_while_it_waits(void **state)
{
    (void)state;
    use_up();
    rig_connect(&rig);
    rig_say(&rig, WRONG);
    RIG_UNTIL(&rig, waiting() == 1);
    sbx_fd_close(&rig.peer);
    RIG_UNTIL(&rig, rig.net.count == 0);
    assert_int_equal(waiting(), 0);
}

static void test_closed_while_it_waits(void **state)
{
    (void)state;
    use_up();
    rig_connect(&rig);
    rig_say(&rig, WRONG);
    RIG_UNTIL(&rig, waiting() == 1);
    sbx_conn_close(rig.conn);
    assert_int_equal(waiting(), 0);
}

static void test_half_closed_peer_is_told(void **state)
{
    (void)state;
    use_up();
    rig_connect(&rig);
    rig_say(&rig, WRONG);
    RIG_UNTIL(&rig, waiting() == 1);
    assert_int_equal(shutdown(rig.peer, SHUT_WR), 0);
    RIG_UNTIL(&rig, rig_has(&rig, REFUSED));
    RIG_UNTIL(&rig, rig.eof);
}

static void test_body_of_a_wrong_one_is_skipped(void **state)
{
    char head[200];
    (void)state;
    use_up();
    rig_connect(&rig);
    (void)snprintf(head, sizeof head,
                   "POST /v1/tickets HTTP/1.1\r\nHost: x\r\n" TOKEN("wrong")
                   "Content-Length: %zu\r\n\r\n", sizeof RIGHT - 1);
    rig_say(&rig, head);
    rig_send(&rig, RIGHT, 20);
    RIG_UNTIL(&rig, waiting() == 1);
    rig_say(&rig, &RIGHT[20]);
    rig_say(&rig, GET("/healthz", ""));
    RIG_UNTIL(&rig, rig_has(&rig, "{\"status\":\"ok\"}"));
    assert_int_equal(rig_count(&rig, REFUSED), 1);
    assert_false(rig_has(&rig, CONFIG));
}

static void test_too_many(void **state)
{
    struct sbx_peer peer = {.family = AF_UNIX};
    uint64_t delay;
    unsigned i;
    (void)state;
    use_up();
    for (i = 0; i < SBX_THROTTLE_WAITING; i++)
        assert_int_equal(sbx_throttle_fail(&api.throttle, &peer, &delay), SBX_THROTTLE_LATER);
    rig_connect(&rig);
    rig_say(&rig, RIGHT WRONG);
    RIG_UNTIL(&rig, rig.eof);
    assert_true(rig_has(&rig, CONFIG));
    assert_true(rig_has(&rig, "HTTP/1.1 429 "));
    assert_true(rig_has(&rig, "retry-after: 2\r\n"));
    for (i = 0; i < SBX_THROTTLE_WAITING; i++)
        sbx_throttle_done(&api.throttle, &peer);
}

static void test_scope(void **state)
{
    (void)state;
    rig_connect(&rig);
    rig_say(&rig, GET("/v1/processes/config", TOKEN("look")));
    RIG_UNTIL(&rig, rig_has(&rig, CONFIG));
    rig_say(&rig, "POST /v1/processes/x/stop HTTP/1.1\r\nHost: x\r\n" TOKEN("look") "\r\n");
    RIG_UNTIL(&rig, rig_has(&rig, "HTTP/1.1 403 "));
    assert_true(rig_has(&rig, "this token may only read"));
    rig_say(&rig, "POST /v1/processes/x/stop HTTP/1.1\r\nHost: x\r\n" TOKEN("right") "\r\n");
    RIG_UNTIL(&rig, rig_has(&rig, "not found: process x"));
}

#define STOP(target, host, origin)                                                                 \
    "POST " target "/v1/processes/x/stop HTTP/1.1\r\n"                                             \
    "Host: " host "\r\nOrigin: " origin "\r\n" TOKEN("right") "\r\n"

/* Which page is our own is a question of what was asked for, and the target is that before Host. */
static void test_origin_is_compared_with_the_target(void **state)
{
    (void)state;
    rig_connect(&rig);
    rig_say(&rig, STOP("http://agent.example", "page.example", "http://agent.example"));
    RIG_UNTIL(&rig, rig_has(&rig, "not found: process x"));
    rig_say(&rig, STOP("http://agent.example", "page.example", "http://page.example"));
    RIG_UNTIL(&rig, rig_has(&rig, "origin http://page.example is not allowed"));
    assert_int_equal(rig_count(&rig, "not found: process x"), 1);
}

/* Whatever memory is missing, the peer gets a refusal or the end of the connection, and never what
 * it asked for. */
static void attempt(void *ctx, const struct gate *g)
{
    (void)ctx;
    (void)g;
    sbx_throttle_deinit(&api.throttle);
    use_up();
    rig_connect(&rig);
    rig_say(&rig, WRONG);
    if (rig.conn != NULL) {
        /* What the peer receives needs memory as well. */
        RIG_UNTIL(&rig, rig.eof || rig.got.oom || (rig_has(&rig, "}") && waiting() == 0));
        if (!rig.eof && !rig.got.oom)
            assert_true(rig_has(&rig, REFUSED) || rig_has(&rig, "HTTP/1.1 503 ") ||
                        rig_has(&rig, "HTTP/1.1 429 "));
        if (rig.net.count > 0)
            sbx_conn_close(rig.conn);
    }
    rig_turn(&rig);
    assert_int_equal(waiting(), 0);
    assert_false(rig_has(&rig, "HTTP/1.1 200 "));
    sbx_fd_close(&rig.peer);
    sbx_buf_deinit(&rig.got);
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(gate_each(attempt, NULL) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_wrong_tokens_wait_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_none_is_no_guess, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nor_is_an_open_path, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_leaves_while_it_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_while_it_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_closed_peer_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_body_of_a_wrong_one_is_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scope, setup, teardown),
        cmocka_unit_test_setup_teardown(test_origin_is_compared_with_the_target, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
