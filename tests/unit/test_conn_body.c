/* Bodies of requests: read, refused, skipped; and that it never matters how the bytes were cut. */
#include "conn_rig.h"

static struct rig rig;

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(target, lines) "POST " target " HTTP/1.1\r\nHost: a\r\n" lines "\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define EXPECT "Expect: 100-continue\r\n"

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

static void test_sized(void **state)
{
    (void)state;
    rig_say(&rig, POST("/x", "Content-Length: 5\r\n") "12345" POST("/y", "Content-Length: 3\r\n"));
    RIG_UNTIL(&rig, rig_has(&rig, "POST /x 12345"));
    rig_settle(&rig);
    assert_int_equal(rig.requests, 1);
    rig_say(&rig, "abc" GET("/z"));
    RIG_UNTIL(&rig, rig_has(&rig, "GET /z "));
    assert_true(rig_has(&rig, "POST /y abc"));
}

static void test_chunked(void **state)
{
    (void)state;
    rig_say(&rig, POST("/x", CHUNKED) "3\r\nabc\r\n10;ext=1\r\n0123456789abcdef\r\n");
    rig_settle(&rig);
    assert_int_equal(rig.requests, 0);
    rig_say(&rig, "0\r\nTrailer: 1\r\n\r\n" POST("/y", CHUNKED) "0\r\n\r\n" GET("/z"));
    RIG_UNTIL(&rig, rig_has(&rig, "GET /z "));
    assert_true(rig_has(&rig, "POST /x abc0123456789abcdef"));
    assert_true(rig_has(&rig, "\r\n\r\nPOST /y HTTP/1.1 200 OK"));
}

static void test_longest(void **state)
{
    struct sbx_buf body;
    size_t i;
    (void)state;
    sbx_buf_init(&body);
    for (i = 0; i < RIG_BODY; i++)
        sbx_buf_add_byte(&body, (uint8_t)('a' + i % 26));
    rig_say(&rig, POST("/x", "Content-Length: 200000\r\n"));
    rig_send(&rig, sbx_buf_data(&body), RIG_BODY);
    RIG_UNTIL(&rig, sbx_buf_len(&rig.got) > RIG_BODY);
    RIG_UNTIL(&rig, rig.conn->out.bytes == 0);
    rig_settle(&rig);
    assert_memory_equal(sbx_buf_data(&rig.got) + sbx_buf_len(&rig.got) - RIG_BODY,
                        sbx_buf_data(&body), RIG_BODY);
    rig_forget(&rig);
    rig_say(&rig, POST("/y", CHUNKED) "30d40\r\n");
    rig_send(&rig, sbx_buf_data(&body), RIG_BODY);
    rig_say(&rig, "\r\n0\r\n\r\n");
    RIG_UNTIL(&rig, sbx_buf_len(&rig.got) > RIG_BODY);
    RIG_UNTIL(&rig, rig.conn->out.bytes == 0);
    rig_settle(&rig);
    assert_memory_equal(sbx_buf_data(&rig.got) + sbx_buf_len(&rig.got) - RIG_BODY,
                        sbx_buf_data(&body), RIG_BODY);
    sbx_buf_deinit(&body);
}

/* Tiny chunks are mostly framing, and cost no more memory than their data. */
static void test_tiny_chunks(void **state)
{
    unsigned i;
    (void)state;
    rig_say(&rig, POST("/x", CHUNKED));
    for (i = 0; i < 50000; i++)
        rig_say(&rig, "1\r\nx\r\n");
    RIG_UNTIL(&rig, sbx_buf_len(&rig.conn->body) == 50000);
    assert_true(rig.conn->in.cap <= 262144);
    rig_say(&rig, "0\r\n\r\n");
    RIG_UNTIL(&rig, rig_has(&rig, "POST /x xxx"));
}

static void test_continue(void **state)
{
    (void)state;
    rig_say(&rig, POST("/x", EXPECT "Content-Length: 5\r\n"));
    RIG_UNTIL(&rig, rig_has(&rig, "HTTP/1.1 100 Continue\r\n\r\n"));
    rig_say(&rig, "12");
    rig_settle(&rig);
    rig_say(&rig, "345");
    RIG_UNTIL(&rig, rig_has(&rig, "POST /x 12345"));
    assert_int_equal(rig_count(&rig, "100 Continue"), 1);
    rig_forget(&rig);
    rig_say(&rig, POST("/y", EXPECT CHUNKED));
    RIG_UNTIL(&rig, rig_has(&rig, "HTTP/1.1 100 Continue\r\n\r\n"));
    rig_say(&rig, "1\r\na\r\n0\r\n\r\n");
    RIG_UNTIL(&rig, rig_has(&rig, "POST /y a"));
    rig_forget(&rig);
    rig_say(&rig, POST("/z", EXPECT "Content-Length: 2\r\n") "ab");
    RIG_UNTIL(&rig, rig_has(&rig, "POST /z ab"));
    assert_false(rig_has(&rig, "100 Continue"));
}

/* Refused before the body: no 100, the answer can be read, and what still comes is dropped. */
static void test_too_long(void **state)
{
    static char junk[300000];
    (void)state;
    memset(junk, 'j', sizeof junk);
    rig_say(&rig, POST("/x", EXPECT "Content-Length: 300000\r\n"));
    RIG_UNTIL(&rig, rig_has(&rig, "HTTP/1.1 413 "));
    assert_false(rig_has(&rig, "100 Continue"));
    assert_true(rig_has(&rig, "connection: close\r\n"));
    rig_send(&rig, junk, sizeof junk);
    RIG_UNTIL(&rig, rig.eof);
    assert_false(rig.reset);
    assert_int_equal(rig.net.count, 1); /* lingers until the peer has read and closed */
    sbx_fd_close(&rig.peer);
    RIG_UNTIL(&rig, rig.net.count == 0);
    assert_int_equal(rig.requests, 0);
}

static void test_linger_is_bounded(void **state)
{
    uint64_t started = sbx_clock_mono_us();
    (void)state;
    rig_say(&rig, "bad\r\n\r\n");
    RIG_UNTIL(&rig, rig.eof);
    RIG_UNTIL(&rig, rig.net.count == 0); /* the peer neither closes nor says anything */
    assert_in_range(sbx_clock_mono_us() - started, 500000, 5000000);
}

/* A short body that nobody wanted is read over, and the connection goes on. */
static void test_short_body_is_skipped(void **state)
{
    (void)state;
    rig_say(&rig, POST("/early", "Content-Length: 7\r\n"));
    RIG_UNTIL(&rig, rig_has(&rig, "HTTP/1.1 403 "));
    assert_false(rig_has(&rig, "connection: close"));
    rig_say(&rig, "123");
    rig_settle(&rig);
    rig_say(&rig, "4567" GET("/x"));
    RIG_UNTIL(&rig, rig_has(&rig, "GET /x "));
    rig_say(&rig, POST("/early", "Content-Length: 4\r\n") "GET " GET("/y"));
    RIG_UNTIL(&rig, rig_has(&rig, "GET /y "));
    assert_int_equal(rig.requests, 2);
}

static void expect_closed_early(const char *text)
{
    rig_say(&rig, text);
    RIG_UNTIL(&rig, rig.eof);
    assert_true(rig_has(&rig, "HTTP/1.1 403 "));
    assert_true(rig_has(&rig, "connection: close\r\n"));
    assert_false(rig_has(&rig, "100 Continue"));
    sbx_fd_close(&rig.peer);
    RIG_UNTIL(&rig, rig.net.count == 0);
    rig_forget(&rig);
    rig_connect(&rig);
}

static void test_other_unread_bodies_end_the_connection(void **state)
{
    (void)state;
    expect_closed_early(POST("/early", "Content-Length: 70000\r\n"));
    expect_closed_early(POST("/early", CHUNKED));
    expect_closed_early(POST("/early", EXPECT "Content-Length: 3\r\n"));
}

static void test_skipped_body_that_never_comes(void **state)
{
    (void)state;
    rig.net.request_timeout_us = 20000;
    rig_say(&rig, POST("/early", "Content-Length: 7\r\n") "12");
    RIG_UNTIL(&rig, rig.eof);
    assert_int_equal(rig_count(&rig, "HTTP/1.1"), 1);
}

static void test_peer_ends_in_a_body(void **state)
{
    (void)state;
    rig_say(&rig, POST("/x", "Content-Length: 7\r\n") "12");
    RIG_UNTIL(&rig, rig.conn->state == SBX_CONN_READ_BODY);
    assert_int_equal(shutdown(rig.peer, SHUT_WR), 0);
    RIG_UNTIL(&rig, rig.net.count == 0);
    assert_int_equal(rig.requests, 0);
}

/* --- cuts --- */

static void drop_dates(struct sbx_buf *out, struct sbx_str in)
{
    while (in.n > 0) {
        const char *end = memchr(in.p, '\n', in.n);
        size_t n = end == NULL ? in.n : (size_t)(end - in.p) + 1;
        if (!sbx_str_starts_with(in, "date: "))
            sbx_buf_add(out, in.p, n);
        in.p += n;
        in.n -= n;
    }
}

static void answers_to(const char *text, size_t piece, struct sbx_buf *out)
{
    size_t n = strlen(text), at;
    struct rig one;
    rig_open(&one);
    for (at = 0; at < n; at += piece) {
        rig_send(&one, text + at, n - at < piece ? n - at : piece);
        if (piece < n && !one.eof)
            rig_turn(&one);
    }
    rig_settle(&one);
    rig_receive(&one);
    sbx_buf_init(out);
    drop_dates(out, sbx_buf_view(&one.got));
    sbx_buf_add_byte(out, one.eof ? 'E' : '-');
    rig_close(&one);
}

static void test_cuts_do_not_matter(void **state)
{
    static const char *const texts[] = {
        GET("/a") POST("/b", "Content-Length: 5\r\n") "12345" GET("/c"),
        POST("/a", CHUNKED) "3\r\nabc\r\n5;x\r\n12345\r\n0\r\nT: 1\r\n\r\n" GET("/c"),
        POST("/early", "Content-Length: 9\r\n") "123456789" GET("/c"),
        POST("/early", CHUNKED) "3\r\nabc\r\n0\r\n\r\n" GET("/c"),
        "\r\n\r\n" GET("/a") "\r\n" GET("/none") "HEAD /b HTTP/1.1\r\nHost: a\r\n\r\n" GET("/c"),
        GET("/a") "GET /b HTTP/1.1\r\nHost: a\r\nBad : x\r\n\r\n" GET("/c"),
        POST("/a", CHUNKED) "3\r\nabcd\r\n" GET("/c"),
        POST("/a", "Content-Length: 5\r\nContent-Length: 6\r\n") "12345",
        GET("/a") "GET /b HTTP/1.0\r\n\r\n" GET("/c"),
    };
    static const size_t pieces[] = {1, 2, 3, 7, 40};
    size_t i, k;
    (void)state;
    for (i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct sbx_buf whole, cut;
        answers_to(texts[i], strlen(texts[i]), &whole);
        assert_true(sbx_buf_len(&whole) > 20);
        for (k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
            answers_to(texts[i], pieces[k], &cut);
            assert_int_equal(sbx_buf_len(&cut), sbx_buf_len(&whole));
            assert_memory_equal(sbx_buf_data(&cut), sbx_buf_data(&whole), sbx_buf_len(&whole));
            sbx_buf_deinit(&cut);
        }
        sbx_buf_deinit(&whole);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sized),
        TEST(test_chunked),
        TEST(test_longest),
        TEST(test_tiny_chunks),
        TEST(test_continue),
        TEST(test_too_long),
        TEST(test_linger_is_bounded),
        TEST(test_short_body_is_skipped),
        TEST(test_other_unread_bodies_end_the_connection),
        TEST(test_skipped_body_that_never_comes),
        TEST(test_peer_ends_in_a_body),
        cmocka_unit_test(test_cuts_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
