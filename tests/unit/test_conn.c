/* Requests on a connection: framing, order, keep-alive, refusals, deadlines. */
#include "conn_rig.h"

static struct rig rig;

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"

static int setup(void **state)
{
    (void)state;
    rig_open(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static void test_answer(void **state)
{
    (void)state;
    rig_say(&rig, GET("/echo"));
    RIG_UNTIL(&rig, rig_has(&rig, "GET /echo "));
    assert_true(rig_has(&rig, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
                              "content-length: 10\r\nvary: origin\r\ndate: "));
    assert_true(rig_has(&rig, " GMT\r\n\r\nGET /echo "));
    assert_false(rig_has(&rig, "connection:"));
    rig_forget(&rig);
    rig_say(&rig, GET("/two"));
    RIG_UNTIL(&rig, rig_has(&rig, "GET /two "));
    assert_false(rig.eof);
}

static void test_kinds_of_answers(void **state)
{
    (void)state;
    rig_say(&rig, GET("/none"));
    RIG_UNTIL(&rig, rig_has(&rig, "\r\n\r\n"));
    assert_true(rig_has(&rig, "HTTP/1.1 204 No Content\r\n"));
    assert_false(rig_has(&rig, "content-length"));
    rig_forget(&rig);
    rig_say(&rig, GET("/parts"));
    RIG_UNTIL(&rig, rig_has(&rig, "\r\n\r\none,three"));
    assert_true(rig_has(&rig, "content-length: 9\r\n"));
    rig_forget(&rig);
    rig_say(&rig, "HEAD /echo HTTP/1.1\r\nHost: a\r\n\r\n" GET("/after"));
    RIG_UNTIL(&rig, rig_has(&rig, "GET /after "));
    assert_true(rig_has(&rig, "content-length: 11\r\n"));
    assert_false(rig_has(&rig, "HEAD /echo"));
}

static void test_pipelined(void **state)
{
    char text[64];
    unsigned i;
    (void)state;
    for (i = 0; i < 500; i++) {
        (void)snprintf(text, sizeof text, GET("/n%u"), i);
        rig_say(&rig, text);
    }
    RIG_UNTIL(&rig, rig_has(&rig, "GET /n499 "));
    assert_int_equal(rig_count(&rig, "HTTP/1.1 200 OK"), 500);
    for (i = 0; i < 500; i++) {
        const char *at;
        (void)snprintf(text, sizeof text, "GET /n%u ", i);
        at = memmem(sbx_buf_data(&rig.got), sbx_buf_len(&rig.got), text, strlen(text));
        assert_non_null(at);
        sbx_buf_consume(&rig.got, (size_t)(at - (const char *)sbx_buf_data(&rig.got)));
    }
}

/* Who asks faster than they read, or than we answer, costs a bounded amount of memory. */
static void ask_many(bool mute)
{
    enum { MANY = 10000 };
    struct sbx_buf text;
    unsigned i;
    sbx_buf_init(&text);
    for (i = 0; i < MANY; i++)
        sbx_buf_add_z(&text, GET("/x"));
    rig.mute = mute;
    for (i = 0; i < 20; i++) {
        ssize_t put = sbx_fd_write(rig.peer, sbx_buf_data(&text), sbx_buf_len(&text));
        if (put > 0)
            sbx_buf_consume(&text, (size_t)put);
        rig_turn(&rig);
        assert_true(rig.conn->out.bytes < 20 * 1024);
        if (rig.conn->in.cap > 64 * 1024)
            fail_msg("%zu bytes of memory for requests that wait", rig.conn->in.cap);
    }
    assert_true(!mute || rig.requests < MANY);
    rig.mute = false;
    rig_send(&rig, sbx_buf_data(&text), sbx_buf_len(&text));
    sbx_buf_deinit(&text);
    RIG_UNTIL(&rig, rig.requests == MANY);
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "HTTP/1.1 200 OK"), MANY);
}

static void test_pipelined_without_reading(void **state)
{
    (void)state;
    ask_many(true);
}

static void test_pipelined_faster_than_answered(void **state)
{
    (void)state;
    ask_many(false);
}

/* A crowd that pipelines does not make one long turn, and each of them gets all its answers. */
static void test_pipelined_by_many(void **state)
{
    enum { CONNS = 8, EACH = 400, TURN = 256 + 2 * CONNS };
    int ends[CONNS][2];
    struct sbx_buf text;
    unsigned i, most = 0;
    uint64_t end = sbx_clock_mono_us() + RIG_PATIENCE_US;
    (void)state;
    sbx_buf_init(&text);
    for (i = 0; i < EACH; i++)
        sbx_buf_add_z(&text, GET("/x"));
    for (i = 0; i < CONNS; i++) {
        ssize_t put;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends[i]), 0);
        assert_int_equal(sbx_fd_set_nonblock(ends[i][1]), 0);
        assert_non_null(sbx_conn_open(&rig.net, ends[i][1], NULL));
        put = sbx_fd_write(ends[i][0], sbx_buf_data(&text), sbx_buf_len(&text));
        assert_int_equal(put, (ssize_t)sbx_buf_len(&text));
    }
    sbx_buf_deinit(&text);
    while (rig.requests < CONNS * EACH && sbx_clock_mono_us() < end) {
        unsigned before = rig.requests;
        rig_turn(&rig);
        if (rig.requests - before > most)
            most = rig.requests - before;
    }
    assert_int_equal(rig.requests, CONNS * EACH);
    assert_true(most <= TURN);
    for (i = 0; i < CONNS; i++)
        sbx_fd_close(&ends[i][0]);
    RIG_UNTIL(&rig, rig.net.count == 1);
}

static void test_answers_in_order_of_requests(void **state)
{
    (void)state;
    rig_say(&rig, GET("/first") GET("/defer") GET("/second") GET("/defer") GET("/third"));
    RIG_UNTIL(&rig, rig.deferred != NULL);
    rig_settle(&rig);
    assert_true(rig_has(&rig, "/first ") && !rig_has(&rig, "/second "));
    assert_int_equal(rig.requests, 2);
    rig_reply_text(rig.deferred, 200, "deferred one");
    rig.deferred = NULL;
    RIG_UNTIL(&rig, rig.deferred != NULL);
    RIG_UNTIL(&rig, rig_has(&rig, "/second "));
    assert_false(rig_has(&rig, "/third "));
    rig_reply_text(rig.deferred, 200, "deferred two");
    RIG_UNTIL(&rig, rig_has(&rig, "/third "));
    assert_int_equal(rig.gone, 0);
}

static void expect_closed_after(const char *text, const char *answer)
{
    rig_say(&rig, text);
    RIG_UNTIL(&rig, rig.eof);
    assert_true(rig_has(&rig, answer));
    assert_true(rig_has(&rig, "connection: close\r\n"));
    assert_false(rig.reset);
    sbx_fd_close(&rig.peer);
    RIG_UNTIL(&rig, rig.net.count == 0);
}

static void test_connection_close(void **state)
{
    (void)state;
    expect_closed_after("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /x ");
}

static void test_http_1_0(void **state)
{
    (void)state;
    expect_closed_after("GET /x HTTP/1.0\r\n\r\n", "GET /x ");
}

static void test_http_1_0_keep_alive(void **state)
{
    (void)state;
    rig_say(&rig, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    RIG_UNTIL(&rig, rig_has(&rig, "GET /x "));
    assert_true(rig_has(&rig, "connection: keep-alive\r\n"));
    rig_say(&rig, GET("/y"));
    RIG_UNTIL(&rig, rig_has(&rig, "GET /y "));
}

static void test_no_keep_alive_while_stopping(void **state)
{
    (void)state;
    rig.net.stopping = true;
    expect_closed_after(GET("/x"), "GET /x ");
}

static void test_refusals(void **state)
{
    static const struct {
        const char *text, *answer;
    } cases[] = {
        {"nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET /x HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET /x HTTP/1.1\r\nHost: a\r\nA: b\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET /x HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP/1.1 505 "},
        {"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
         "HTTP/1.1 501 "},
        {"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
         "HTTP/1.1 400 "},
        {"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 200001\r\n\r\n", "HTTP/1.1 413 "},
        {"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n30d41\r\n",
         "HTTP/1.1 413 "},
    };
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_closed_after(cases[i].text, cases[i].answer);
        assert_int_equal(rig.refusals, i + 1);
        assert_int_equal(rig.requests, 0);
        rig_forget(&rig);
        rig_connect(&rig);
    }
}

/* What was asked before is answered before. */
static void test_refusal_after_requests(void **state)
{
    (void)state;
    expect_closed_after(GET("/a") GET("/b") "bad\r\n\r\n" GET("/c"), "HTTP/1.1 400 ");
    assert_true(rig_has(&rig, "GET /a ") && rig_has(&rig, "GET /b "));
    assert_int_equal(rig_count(&rig, "HTTP/1.1 "), 3);
}

static void test_turned_away(void **state)
{
    int fds[2];
    (void)state;
    sbx_conn_close(rig.conn);
    sbx_fd_close(&rig.peer);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(sbx_fd_set_nonblock(fds[0]), 0);
    assert_int_equal(sbx_fd_set_nonblock(fds[1]), 0);
    rig.peer = fds[0];
    rig_say(&rig, GET("/x"));
    sbx_conn_turn_away(&rig.net, fds[1], NULL, "connections");
    RIG_UNTIL(&rig, rig.eof);
    assert_true(rig_has(&rig, "HTTP/1.1 503 ") && rig_has(&rig, "\r\n\r\nconnections"));
    assert_int_equal(rig.requests, 0);
    sbx_fd_close(&rig.peer);
    RIG_UNTIL(&rig, rig.net.count == 0);
}

static void test_closed_in_a_callback(void **state)
{
    (void)state;
    rig_say(&rig, GET("/close") GET("/x"));
    RIG_UNTIL(&rig, rig.eof);
    assert_int_equal(rig.net.count, 0);
    assert_int_equal(rig.requests, 1);
    assert_int_equal(sbx_buf_len(&rig.got), 0);
}

/* --- deadlines --- */

static void test_idle_connection_is_closed(void **state)
{
    (void)state;
    rig.net.idle_timeout_us = 20000;
    rig_say(&rig, GET("/x"));
    RIG_UNTIL(&rig, rig.eof);
    assert_true(rig_has(&rig, "GET /x "));
    assert_int_equal(rig_count(&rig, "HTTP/1.1"), 1);
    assert_int_equal(rig.net.count, 0);
}

static void expect_request_timeout(const char *text)
{
    rig.net.request_timeout_us = 20000;
    rig_say(&rig, text);
    RIG_UNTIL(&rig, rig.eof);
    assert_true(rig_has(&rig, "HTTP/1.1 408 Request Timeout\r\n"));
}

static void test_slow_head(void **state)
{
    (void)state;
    expect_request_timeout("GET /x HTTP/1.1\r\nHo");
}

static void test_slow_body(void **state)
{
    (void)state;
    expect_request_timeout("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n123");
}

static void test_slow_chunks(void **state)
{
    (void)state;
    expect_request_timeout("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "3\r\n");
}

/* A trickle does not extend the time for a request; and time spent answering does not count. */
static void test_trickle(void **state)
{
    uint64_t end = sbx_clock_mono_us() + RIG_PATIENCE_US;
    (void)state;
    rig.net.request_timeout_us = 30000;
    rig_say(&rig, "GET /x HTTP/1.1\r\nHost: a\r\nA: ");
    while (!rig_has(&rig, "HTTP/1.1") && sbx_clock_mono_us() < end) {
        rig_turn(&rig);
        rig_say(&rig, "b");
    }
    assert_true(rig_has(&rig, "HTTP/1.1 408 "));
}

static void test_slow_answers_are_no_timeout(void **state)
{
    uint64_t end;
    (void)state;
    rig.net.request_timeout_us = rig.net.idle_timeout_us = 20000;
    rig_say(&rig, GET("/defer"));
    RIG_UNTIL(&rig, rig.deferred != NULL);
    end = sbx_clock_mono_us() + 60000;
    while (sbx_clock_mono_us() < end)
        rig_turn(&rig);
    assert_false(rig.eof);
    rig_reply_text(rig.deferred, 200, "at last");
    RIG_UNTIL(&rig, rig_has(&rig, "at last"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answer),
        TEST(test_kinds_of_answers),
        TEST(test_pipelined),
        TEST(test_pipelined_without_reading),
        TEST(test_pipelined_faster_than_answered),
        TEST(test_pipelined_by_many),
        TEST(test_answers_in_order_of_requests),
        TEST(test_connection_close),
        TEST(test_http_1_0),
        TEST(test_http_1_0_keep_alive),
        TEST(test_no_keep_alive_while_stopping),
        TEST(test_refusals),
        TEST(test_refusal_after_requests),
        TEST(test_turned_away),
        TEST(test_closed_in_a_callback),
        TEST(test_idle_connection_is_closed),
        TEST(test_slow_head),
        TEST(test_slow_body),
        TEST(test_slow_chunks),
        TEST(test_trickle),
        TEST(test_slow_answers_are_no_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
