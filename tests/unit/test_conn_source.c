/* Streams, upgrades and deferred answers: what a connection promises to its source, and what it
 * does when the peer goes away. */
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

static void give(size_t n, bool ends)
{
    rig.source.ready += n;
    rig.source.ends = ends;
    sbx_conn_wake(rig.conn);
}

/* Skips the head; returns false while it is not there. */
static bool drop_head(void)
{
    const uint8_t *p = sbx_buf_data(&rig.got);
    const uint8_t *end = p == NULL ? NULL : memmem(p, sbx_buf_len(&rig.got), "\r\n\r\n", 4);
    if (end == NULL)
        return false;
    sbx_buf_consume(&rig.got, (size_t)(end - p) + 4);
    return true;
}

static void expect_pattern(const struct sbx_buf *b, size_t n)
{
    size_t i;
    assert_int_equal(sbx_buf_len(b), n);
    for (i = 0; i < n; i++)
        if (sbx_buf_data(b)[i] != pattern_at(i))
            fail_msg("differs at %zu", i);
}

/* Decodes what was received; true when the last chunk has come. */
static bool decode(struct sbx_buf *out)
{
    struct sbx_http_chunked ch;
    const char *at = (const char *)sbx_buf_data(&rig.got), *data;
    size_t left = sbx_buf_len(&rig.got), n;
    sbx_http_chunked_init(&ch);
    sbx_buf_init(out);
    while (left > 0 && ch.state != SBX_HTTP_CHUNK_DONE) {
        long used = sbx_http_chunked_feed(&ch, at, left, &data, &n);
        assert_true(used > 0);
        sbx_buf_add(out, data, n);
        at += used;
        left -= (size_t)used;
    }
    return ch.state == SBX_HTTP_CHUNK_DONE && left == 0;
}

static void start(const char *request)
{
    rig_say(&rig, request);
    RIG_UNTIL(&rig, drop_head());
}

/* --- streams --- */

static void test_stream(void **state)
{
    struct sbx_buf body;
    (void)state;
    rig_say(&rig, GET("/stream") GET("/after"));
    RIG_UNTIL(&rig, rig_has(&rig, "\r\n\r\n"));
    assert_true(rig_has(&rig, "transfer-encoding: chunked\r\n"));
    assert_false(rig_has(&rig, "content-length"));
    assert_true(drop_head());
    give(5, false);
    RIG_UNTIL(&rig, sbx_buf_len(&rig.got) > 0);
    give(700000, false);
    RIG_UNTIL(&rig, rig.source.given == 700005);
    rig_settle(&rig);
    assert_int_equal(rig.requests, 1); /* the next request waits */
    assert_false(decode(&body));
    expect_pattern(&body, 700005);
    sbx_buf_deinit(&body);
    rig_forget(&rig);
    give(0, true);
    RIG_UNTIL(&rig, rig_has(&rig, "GET /after "));
    assert_memory_equal(sbx_buf_data(&rig.got), "0\r\n\r\nHTTP/1.1 200 OK", 20);
    assert_int_equal(rig.source.gone, 1);
    assert_true(rig.source.sent > 0);
}

static void test_stream_to_http_1_0(void **state)
{
    (void)state;
    rig.source.ready = 100000;
    rig.source.ends = true;
    rig_say(&rig, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    RIG_UNTIL(&rig, rig.eof);
    assert_true(rig_has(&rig, "connection: close\r\n"));
    assert_false(rig_has(&rig, "chunked"));
    assert_true(drop_head());
    expect_pattern(&rig.got, 100000);
    assert_int_equal(rig.source.gone, 1);
}

static void test_source_is_not_asked_for_more_than_goes_out(void **state)
{
    struct sbx_buf body;
    size_t given;
    (void)state;
    start(GET("/stream"));
    rig.mute = true;
    give(5000000, true);
    rig_settle(&rig);
    assert_true(rig.conn->out.bytes <= SBX_CONN_HIGH + 2000);
    given = rig.source.given;
    assert_true(given < 1000000);
    rig_settle(&rig);
    assert_int_equal(rig.source.given, given);
    rig.mute = false;
    RIG_UNTIL(&rig, rig.source.gone == 1);
    rig_settle(&rig);
    assert_true(decode(&body));
    expect_pattern(&body, 5000000);
    sbx_buf_deinit(&body);
}

static void test_no_pull_without_a_wake(void **state)
{
    unsigned pulls;
    (void)state;
    start(GET("/stream"));
    rig_settle(&rig);
    pulls = rig.source.pulls;
    rig_settle(&rig);
    assert_int_equal(rig.source.pulls, pulls);
}

/* The source was idle; something else fills the queue; then the source has more. Once the queue has
 * drained it must be asked, although nobody wakes it again. */
static void test_a_wake_while_full_is_not_lost(void **state)
{
    static uint8_t ping[SBX_CONN_HIGH];
    unsigned i;
    (void)state;
    start(GET("/stream"));
    rig_settle(&rig);
    rig.mute = true;
    for (i = 0; i < 4; i++) {
        sbx_conn_put_chunk(rig.conn, ping, sizeof ping);
        rig_turn(&rig);
    }
    assert_true(sbx_conn_is_full(rig.conn));
    give(100, true);
    rig_turn(&rig);
    assert_int_equal(rig.source.given, 0);
    rig.mute = false;
    RIG_UNTIL(&rig, rig.conn->out.bytes == 0);
    rig_settle(&rig);
    assert_int_equal(rig.source.given, 100);
    assert_int_equal(rig.source.gone, 1);
}

static void test_ticks(void **state)
{
    (void)state;
    rig.source.source.tick_us = 5000;
    start(GET("/stream"));
    RIG_UNTIL(&rig, rig.source.ticks >= 3);
    assert_false(rig.eof);
}

static void test_peer_vanishes_from_a_stream(void **state)
{
    (void)state;
    start(GET("/stream"));
    sbx_fd_close(&rig.peer);
    RIG_UNTIL(&rig, rig.net.count == 0);
    assert_int_equal(rig.source.gone, 1);
}

static void test_peer_shuts_its_side_of_a_stream(void **state)
{
    struct sbx_buf body;
    (void)state;
    rig.source.stay = true;
    start(GET("/stream"));
    assert_int_equal(shutdown(rig.peer, SHUT_WR), 0);
    RIG_UNTIL(&rig, rig.source.shuts == 1);
    rig_settle(&rig);
    assert_int_equal(rig.source.shuts, 1);
    give(10, true);
    RIG_UNTIL(&rig, rig.eof);
    assert_true(decode(&body));
    expect_pattern(&body, 10);
    sbx_buf_deinit(&body);
    assert_int_equal(rig.net.count, 0);
    assert_int_equal(rig.source.gone, 1);
}

/* --- upgrades --- */

static void test_upgrade(void **state)
{
    (void)state;
    rig_say(&rig, GET("/ws") "first frame");
    RIG_UNTIL(&rig, rig_has(&rig, "\r\n\r\n"));
    assert_true(rig_has(&rig, "HTTP/1.1 101 Switching Protocols\r\n"));
    assert_true(rig_has(&rig, "upgrade: websocket\r\n"));
    assert_true(rig_has(&rig, "connection: upgrade\r\n"));
    assert_true(rig_has(&rig, "sec-websocket-accept: accepted\r\n"));
    assert_true(rig_has(&rig, "x-more: 1\r\n"));
    assert_true(drop_head());
    rig_say(&rig, " and more");
    RIG_UNTIL(&rig, sbx_buf_len(&rig.source.input) == 20);
    assert_memory_equal(sbx_buf_data(&rig.source.input), "first frame and more", 20);
    give(300000, false);
    RIG_UNTIL(&rig, sbx_buf_len(&rig.got) == 300000);
    expect_pattern(&rig.got, 300000);
    give(0, true);
    RIG_UNTIL(&rig, rig.eof);
    assert_int_equal(rig.net.count, 1); /* for the peer's close frame */
    sbx_fd_close(&rig.peer);
    RIG_UNTIL(&rig, rig.net.count == 0);
    assert_int_equal(rig.source.gone, 1);
}

static void test_peer_vanishes_from_a_websocket(void **state)
{
    (void)state;
    start(GET("/ws"));
    assert_int_equal(shutdown(rig.peer, SHUT_WR), 0);
    RIG_UNTIL(&rig, rig.eof);
    assert_int_equal(rig.source.gone, 1);
    assert_int_equal(rig.net.count, 0);
}

static void test_closed_by_its_owner(void **state)
{
    (void)state;
    start(GET("/ws"));
    sbx_conn_close(rig.conn);
    assert_int_equal(rig.source.gone, 1);
    sbx_conn_close(rig.conn);
    assert_int_equal(rig.source.gone, 1);
    RIG_UNTIL(&rig, rig.eof);
}

/* --- deferred answers --- */

static void test_peer_vanishes_before_the_answer(void **state)
{
    (void)state;
    rig_say(&rig, GET("/defer"));
    RIG_UNTIL(&rig, rig.deferred != NULL);
    sbx_fd_close(&rig.peer);
    RIG_UNTIL(&rig, rig.gone == 1);
    assert_int_equal(rig.net.count, 0);
}

/* Half-closed may mean either; who still reads gets the answer. */
static void test_peer_shuts_its_side_before_the_answer(void **state)
{
    (void)state;
    rig_say(&rig, GET("/defer"));
    RIG_UNTIL(&rig, rig.deferred != NULL);
    assert_int_equal(shutdown(rig.peer, SHUT_WR), 0);
    RIG_UNTIL(&rig, rig_has(&rig, "HTTP/1.1 102 Processing\r\n\r\n"));
    rig_settle(&rig);
    assert_int_equal(rig_count(&rig, "102"), 1);
    assert_int_equal(rig.gone, 0);
    rig_reply_text(rig.deferred, 200, "still there");
    RIG_UNTIL(&rig, rig.eof);
    assert_true(rig_has(&rig, "still there"));
    assert_int_equal(rig.gone, 0);
}

static void test_answers_under_way_when_the_peer_shuts_its_side(void **state)
{
    (void)state;
    rig_say(&rig, GET("/a") GET("/b"));
    assert_int_equal(shutdown(rig.peer, SHUT_WR), 0);
    RIG_UNTIL(&rig, rig.eof);
    assert_true(rig_has(&rig, "GET /a ") && rig_has(&rig, "GET /b "));
    assert_false(rig.reset);
}

static void test_requests_behind_a_deferred_one_when_the_peer_shuts_its_side(void **state)
{
    (void)state;
    rig_say(&rig, GET("/a") GET("/defer") GET("/b") "GET /part");
    RIG_UNTIL(&rig, rig.deferred != NULL);
    assert_int_equal(shutdown(rig.peer, SHUT_WR), 0);
    rig_settle(&rig);
    rig_reply_text(rig.deferred, 200, "still there");
    RIG_UNTIL(&rig, rig.eof);
    assert_true(rig_has(&rig, "still there") && rig_has(&rig, "GET /b "));
    assert_int_equal(rig.requests, 3);
    assert_false(rig.reset);
    assert_int_equal(rig.net.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* What one pass of the loop may produce is used up, by others: this stream's turn comes with the
 * next one. */
static void test_stream_waits_for_its_share(void **state)
{
    (void)state;
    rig.source.ready = 1000;
    rig_say(&rig, "GET /stream HTTP/1.1\r\nhost: x\r\n\r\n");
    rig.net.pulled_pass = rig.loop.pass + 1;
    rig.net.pulled = SIZE_MAX / 2;
    rig_turn(&rig);
    assert_int_equal(rig.requests, 1);
    assert_int_equal(rig.source.pulls, 0);
    rig_turn(&rig);
    assert_int_equal(rig.source.given, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stream_waits_for_its_share),
        TEST(test_stream),
        TEST(test_stream_to_http_1_0),
        TEST(test_source_is_not_asked_for_more_than_goes_out),
        TEST(test_no_pull_without_a_wake),
        TEST(test_a_wake_while_full_is_not_lost),
        TEST(test_ticks),
        TEST(test_peer_vanishes_from_a_stream),
        TEST(test_peer_shuts_its_side_of_a_stream),
        TEST(test_upgrade),
        TEST(test_peer_vanishes_from_a_websocket),
        TEST(test_closed_by_its_owner),
        TEST(test_peer_vanishes_before_the_answer),
        TEST(test_peer_shuts_its_side_before_the_answer),
        TEST(test_requests_behind_a_deferred_one_when_the_peer_shuts_its_side),
        TEST(test_answers_under_way_when_the_peer_shuts_its_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
