/* A connection that runs out of memory: each allocation refused once, alone and with all after it.
 * The peer gets a whole answer or the end of the connection, never a damaged answer. */
#include "conn_rig.h"
#include "gate.h"

struct attempt {
    const char *text;   /* what the peer sends */
    const char *answer; /* what the last answer ends in when nothing is refused */
    size_t stream;      /* bytes that the source has */
};

static uint8_t received[400000];

static bool ends_in(const char *text, size_t n)
{
    size_t len = strlen(text);
    return n >= len && memcmp(received + n - len, text, len) == 0;
}

/* Until the answer is there, the connection is gone, or nothing happens any more. */
static size_t listen_to(struct rig *rig, const char *answer)
{
    size_t n = 0, quiet = 0;
    while (!ends_in(answer, n) && rig->net.count > 0 && quiet < 4) {
        ssize_t got = sbx_fd_read(rig->peer, received + n, sizeof received - n);
        n += got > 0 ? (size_t)got : 0;
        quiet = got > 0 ? 0 : quiet + 1;
        rig_turn(rig);
    }
    return n;
}

static void converse(void *ctx, const struct gate *g)
{
    const struct attempt *a = ctx;
    static struct rig rig;
    size_t n;
    rig_init(&rig);
    rig.source.ready = a->stream;
    rig.source.ends = true;
    rig.mute = true; /* `got` is memory too: the peer reads into `received` here */
    rig_connect(&rig);
    rig_say(&rig, a->text);
    n = listen_to(&rig, a->answer);
    if (!ends_in(a->answer, n)) {
        assert_true(gate_hit(g));
        assert_true(rig.net.count == 0 || memmem(received, n, " 503 ", 5) != NULL);
    }
    assert_true(n == 0 || memcmp(received, "HTTP/1.1 ", 9) == 0);
    rig_close(&rig);
}

/* The rig itself must have its memory: rig_init asks the loop for two blocks. */
static void sweep(struct attempt a, unsigned long least)
{
    struct gate g = {0, 1, false};
    unsigned long asked;
    for (;;) {
        g.asked = 0;
        g.fail_at = g.fail_at < 3 ? 3 : g.fail_at;
        sbx_mem_set_gate(gate_ask, &g);
        converse(&a, &g);
        sbx_mem_set_gate(NULL, NULL);
        asked = g.asked;
        if (!gate_hit(&g))
            break;
        if (g.and_later)
            g.fail_at++;
        g.and_later = !g.and_later;
    }
    assert_true(asked >= least);
}

#define GET(target) "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"

static void test_simple_requests(void **state)
{
    (void)state;
    sweep((struct attempt){GET("/a") GET("/parts") GET("/b"), "GET /b ", 0}, 6);
}

static void test_chunked_body(void **state)
{
    (void)state;
    sweep((struct attempt){"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "5\r\n12345\r\n0\r\n\r\n",
                           "POST /a 12345", 0}, 6);
}

static void test_long_body(void **state)
{
    static char text[100200];
    size_t n;
    (void)state;
    n = (size_t)snprintf(text, sizeof text,
                         "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    memset(text + n, 'x', 100000);
    text[n + 99999] = 'y';
    sweep((struct attempt){text, "xxxxy", 0}, 6);
}

static void test_stream(void **state)
{
    (void)state;
    sweep((struct attempt){GET("/stream"), "\r\n0\r\n\r\n", 100000}, 6);
}

static void test_refusal(void **state)
{
    (void)state;
    sweep((struct attempt){GET("/a") "POST /b HTTP/1.1\r\nHost: a\r\n"
                                     "Content-Length: 200001\r\n\r\n",
                           "request body", 0}, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple_requests),
        cmocka_unit_test(test_chunked_body),
        cmocka_unit_test(test_long_body),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
