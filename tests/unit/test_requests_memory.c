/* Whole requests to the whole server while it runs out of memory: each allocation of each request
 * refused once, alone and with all after it. The client gets its answer, a 503, or the end of the
 * connection, and nothing that is half of one of them; afterwards the next client is served, the
 * processes are what they were, and nothing is left behind. */
#include "api_rig.h"
#include "gate.h"
#include "wire.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define GET(target) "GET " target " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define TOKEN "s3cret"
#define WITH(token) "Host: localhost\r\nAuthorization: Bearer " token "\r\n\r\n"
#define UPGRADE                                                                                    \
    "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"                             \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

struct attempt {
    const char *request;
    const char *body;    /* NULL: the request has none */
    const char *answer;  /* what the client was sent when nothing is refused */
    const char *then;    /* more from the client, when that much is answered; NULL: nothing */
    size_t then_n;
    const char *at_last; /* the answer to that */
    bool guarded;        /* the server has a token */
    bool terminal;       /* proc_1 is a terminal, not a cat */
    bool ended;          /* proc_1 has ended */
};

static void put_gate(const struct gate *g)
{
    sbx_mem_set_gate(gate_ask, (void *)(uintptr_t)g);
}

static void take_gate(void)
{
    sbx_mem_set_gate(NULL, NULL);
}

static void send_request(struct api_rig *rig, struct api_rig_peer *peer, const struct attempt *a)
{
    char head[600];
    if (a->body == NULL) {
        api_rig_say(rig, peer, a->request);
        return;
    }
    (void)snprintf(head, sizeof head,
                   "%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n"
                   "Content-Type: application/json\r\n\r\n%s",
                   a->request, strlen(a->body), a->body);
    api_rig_say(rig, peer, head);
}

static void check_wire(const struct api_rig_peer *peer, struct wire *w)
{
    bool heads[8] = {false};
    assert(peer->nasks <= sizeof heads / sizeof heads[0]);
    *w = (struct wire){.eof = peer->eof, .may_be_cut = peer->eof};
    wire_check(w, (const char *)peer->got, peer->ngot, heads, peer->nasks);
}

/* Everything, 503, or cut off; on a terminal, which stays, a message that says it. */
static void check_outcome(const struct attempt *a, const struct api_rig_peer *peer, bool hit)
{
    const char *want = a->at_last != NULL ? a->at_last : a->answer;
    struct wire w;
    check_wire(peer, &w);
    if (api_rig_has(peer, want))
        return;
    if (!hit)
        fail_msg("without a refusal: %.*s", (int)peer->ngot, (const char *)peer->got);
    /* A run whose output could not be kept says that it is not whole. */
    if (api_rig_has(peer, "\"stdoutTruncated\":true"))
        return;
    if (w.last_status == 101 && api_rig_has(peer, "out of memory"))
        return;
    if (!peer->eof && w.last_status != 503)
        fail_msg("neither an answer nor 503 nor the end: %.*s", (int)peer->ngot,
                 peer->ngot > 0 ? (const char *)peer->got : "");
}

static void check_next(struct api_rig *rig)
{
    struct api_rig_peer *peer = api_rig_connect(rig);
    struct wire w;
    api_rig_say(rig, peer, "GET /v1/processes HTTP/1.1\r\n" WITH(TOKEN)
                           "GET /v1/health HTTP/1.1\r\n" WITH(TOKEN));
    check_wire(peer, &w);
    assert(w.whole == 2 && w.last_status == 200);
    assert(api_rig_has(peer, "{\"status\":\"ok\"}") && api_rig_has(peer, "\"id\":\"proc_1\""));
}

static void converse(void *ctx, const struct gate *g)
{
    static struct api_rig rig;
    const struct attempt *a = ctx;
    struct api_rig_peer *peer;
    bool hit;
    take_gate();
    api_rig_open(&rig, a->guarded ? TOKEN : NULL);
    assert(api_rig_start(&rig, a->ended ? "say" : "cat", a->ended ? "hello" : NULL, a->terminal) !=
           NULL);
    api_rig_settle(&rig);
    peer = api_rig_connect(&rig);
    put_gate(g);
    send_request(&rig, peer, a);
    if (a->then != NULL && api_rig_has(peer, a->answer)) {
        api_rig_send(&rig, peer, a->then, a->then_n);
        api_rig_settle(&rig);
    }
    hit = gate_hit(g);
    take_gate();
    /* What waits for memory asks again in a while. */
    api_rig_pass(&rig, 500000, 2);
    check_outcome(a, peer, hit);
    check_next(&rig);
    api_rig_close(&rig);
}

static void sweep(struct attempt a, unsigned long least)
{
    unsigned long asked = gate_each(converse, &a);
    if (asked < least)
        fail_msg("only %lu allocations", asked);
}

static void test_health_and_list(void **state)
{
    (void)state;
    sweep((struct attempt){.request = GET("/v1/health"), .answer = "{\"status\":\"ok\"}"}, 2);
    sweep((struct attempt){.request = GET("/v1/processes"), .answer = "\"processes\":[{"}, 3);
    sweep((struct attempt){.request = GET("/v1/processes/proc_1"),
                           .answer = "\"command\":\"cat\""}, 3);
    sweep((struct attempt){.request = GET("/v1/openapi.json"), .answer = "\"openapi\""}, 2);
}

static void test_config(void **state)
{
    (void)state;
    sweep((struct attempt){.request = GET("/v1/processes/config"), .answer = "maxOutputBytes"}, 3);
    sweep((struct attempt){.request = "POST /v1/processes/config", .answer = "\"maxOutputBytes\":9",
                           .body = "{\"maxConcurrentProcesses\":4,\"defaultRunTimeoutMs\":1000,"
                                   "\"maxRunTimeoutMs\":2000,\"maxOutputBytes\":9,"
                                   "\"maxLogBytesPerProcess\":9,\"maxInputBytesPerRequest\":9}"},
          4);
}

static void test_create(void **state)
{
    (void)state;
    sweep((struct attempt){.request = "POST /v1/processes", .answer = "\"id\":\"proc_2\"",
                           .body = "{\"command\":\"cat\",\"args\":[\"a\",\"b\"],\"cwd\":\"/\","
                                   "\"env\":{\"A\":\"1\",\"B\":\"2\"}}"}, 10);
    sweep((struct attempt){.request = "POST /v1/processes", .answer = "\"tty\":true",
                           .body = "{\"command\":\"cat\",\"tty\":true}"}, 10);
    sweep((struct attempt){.request = "POST /v1/processes", .answer = "(os error 2)",
                           .body = "{\"command\":\"none\"}"}, 8);
}

static void test_run(void **state)
{
    (void)state;
    sweep((struct attempt){.request = "POST /v1/processes/run", .answer = "\"stdout\":\"a b\\n\"",
                           .body = "{\"command\":\"say\",\"args\":[\"a\",\"b\"]}"}, 8);
    sweep((struct attempt){.request = "POST /v1/processes/run", .answer = "(os error 13)",
                           .body = "{\"command\":\"denied\"}"}, 6);
}

static void test_logs(void **state)
{
    (void)state;
    sweep((struct attempt){.request = GET("/v1/processes/proc_1/logs"), .answer = "aGVsbG8K",
                           .ended = true}, 4);
    sweep((struct attempt){.request = GET("/v1/processes/proc_1/logs?format=text"),
                           .answer = "hello\n", .ended = true}, 4);
    sweep((struct attempt){.request = GET("/v1/processes/proc_1/logs?format=raw&tail=1"),
                           .answer = "hello\n", .ended = true}, 4);
    sweep((struct attempt){.request = GET("/v1/processes/proc_1/logs?follow=true&since=0"),
                           .answer = "event: exit", .ended = true}, 5);
}

static void test_live_followers(void **state)
{
    (void)state;
    sweep((struct attempt){.request = GET("/v1/processes/proc_1/logs?follow=true"),
                           .answer = "text/event-stream"}, 4);
    sweep((struct attempt){.request = GET("/v1/processes/proc_1/logs?follow=true&format=text"),
                           .answer = "text/plain"}, 4);
}

static void test_input(void **state)
{
    (void)state;
    sweep((struct attempt){.request = "POST /v1/processes/proc_1/input", .answer = "bytesWritten",
                           .body = "{\"data\":\"aGVsbG8=\",\"encoding\":\"base64\"}"}, 5);
}

static void test_ends(void **state)
{
    (void)state;
    sweep((struct attempt){.request = "POST /v1/processes/proc_1/stop HTTP/1.1\r\n"
                                      "Host: localhost\r\n\r\n",
                           .answer = "\"status\":\"exited\""}, 3);
    sweep((struct attempt){.request = "POST /v1/processes/proc_1/kill?waitMs=0 HTTP/1.1\r\n"
                                      "Host: localhost\r\n\r\n",
                           .answer = "\"id\":\"proc_1\""}, 3);
}

static void test_refusals(void **state)
{
    (void)state;
    sweep((struct attempt){.request = GET("/nowhere"), .answer = "endpoint not found"}, 2);
    sweep((struct attempt){.request = GET("/v1/processes/proc_9"), .answer = "not found: process"},
          2);
    sweep((struct attempt){.request = "nonsense\r\n\r\n", .answer = " 400 "}, 2);
    sweep((struct attempt){.request = "POST /v1/processes", .answer = " 400 ", .body = "{"}, 2);
}

/* Also in a program that has no page. */
static void test_inspector(void **state)
{
    (void)state;
    sweep((struct attempt){.request = GET("/ui/x"), .answer = "inspector"}, 2);
    sweep((struct attempt){.request = "GET /v1/processes HTTP/1.1\r\nHost: localhost\r\n"
                                      "If-None-Match: *\r\n\r\n",
                           .answer = "HTTP/1.1 304 Not Modified\r\n"}, 2);
}

static void test_tickets(void **state)
{
    (void)state;
    sweep((struct attempt){.request = "POST /v1/tickets", .answer = "\"ticket\":\"AQEB",
                           .body = "{\"path\":\"/v1/processes/proc_1/logs\",\"ttlMs\":1000}"}, 5);
}

/* From the sixth wrong token on the refusals wait; the right one does not. */
static void test_wrong_tokens(void **state)
{
    static const char six[] = "GET /v1/health HTTP/1.1\r\n" WITH("a")
                              "GET /v1/health HTTP/1.1\r\n" WITH("b")
                              "GET /v1/health HTTP/1.1\r\n" WITH("c")
                              "GET /v1/health HTTP/1.1\r\n" WITH("d")
                              "GET /v1/health HTTP/1.1\r\n" WITH("e")
                              "GET /v1/health HTTP/1.1\r\n" WITH("f")
                              "GET /v1/health HTTP/1.1\r\n" WITH(TOKEN);
    (void)state;
    sweep((struct attempt){.request = six, .answer = "{\"status\":\"ok\"}", .guarded = true}, 5);
}

static void test_terminal(void **state)
{
    static const char input[] = "\x81\xa1\0\0\0\0{\"type\":\"input\",\"data\":\"typed\\n\"}";
    static const char goodbye[] = "\x88\x82\0\0\0\0\x03\xe8";
    (void)state;
    assert((uint8_t)input[1] == (0x80 | (sizeof input - 1 - 6)));
    sweep((struct attempt){.request = "GET /v1/processes/proc_1/terminal/ws HTTP/1.1\r\n" UPGRADE,
                           .answer = "\"type\":\"ready\"", .then = input,
                           .then_n = sizeof input - 1, .at_last = "typed", .terminal = true}, 8);
    sweep((struct attempt){.request = "GET /v1/processes/proc_1/terminal/ws HTTP/1.1\r\n" UPGRADE,
                           .answer = "\"type\":\"ready\"", .then = goodbye,
                           .then_n = sizeof goodbye - 1, .at_last = "\x88\x02\x03\xe8",
                           .terminal = true}, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health_and_list),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_logs),
        cmocka_unit_test(test_live_followers),
        cmocka_unit_test(test_input),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_inspector),
        cmocka_unit_test(test_tickets),
        cmocka_unit_test(test_wrong_tokens),
        cmocka_unit_test(test_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
