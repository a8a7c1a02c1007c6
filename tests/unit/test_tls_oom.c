/* TLS with no memory left: the library's allocations on the server's side fail in turn, one of them
 * or all from there on. Whatever is missing, the client gets its answer or the end of the
 * connection, and the server goes on.
 *
 * The library allocates with calloc(), and so it gets the one below. The gate of the other tests
 * (gate.h) is at our own heap's door, which the library does not use. */
#include "conn_rig.h"
#include "tls_rig.h"

#include "net/tls_cert.h"
#include "os/rand.h"

#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

#define FIRST 30u    /* allocations that fail each: they make what all others belong to */
#define SPREAD 80u   /* and so many of all of them, which would take a minute */
#define ATTEMPTS (FIRST + SPREAD)

static struct {
    bool on;
    bool rest;   /* not one alone: all from there on */
    size_t left; /* allocations before it */
    size_t seen, failed;
} oom;

static struct rig rig;
static struct sbx_buf cert, key;
static struct sbx_err err;

static struct {
    mbedtls_ssl_context ssl;
    mbedtls_ssl_config conf;
    int shaken; /* what the handshake came to */
    int end;    /* what reading came to; 0: not yet */
    struct sbx_buf got;
} client;

/* Read at run time, or the compiler would see a calloc() in what is one, and call it. */
static void *(*volatile const oom_malloc)(size_t n) = malloc;

void *calloc(size_t n, size_t size)
{
    void *p;
    if (oom.on && (oom.seen++ == oom.left || (oom.rest && oom.seen > oom.left))) {
        oom.failed++;
        return NULL;
    }
    if (size > 0 && n > SIZE_MAX / size)
        return NULL;
    p = oom_malloc(n * size);
    if (p != NULL)
        memset(p, 0, n * size);
    return p;
}

/* The allocation of an attempt, of `all`. */
static size_t oom_place(size_t attempt, size_t all)
{
    return attempt < FIRST ? attempt : (attempt - FIRST) * all / SPREAD;
}

static struct sbx_tls_material material(void)
{
    return (struct sbx_tls_material){.cert = sbx_buf_view(&cert), .key = sbx_buf_view(&key),
                                     .cert_name = "CERT", .key_name = "KEY",
                                     .client_ca_name = "CA"};
}

static int setup(void **state)
{
    static const char *const names[] = {"localhost"};
    struct sbx_tls_material m;
    (void)state;
    assert_int_equal(sbx_tls_make_key(&key, &err), 0);
    assert_int_equal(sbx_tls_make_cert(&cert, sbx_buf_view(&key), names, 1,
                                       sbx_clock_wall_ms() / 1000, &err), 0);
    rig_init(&rig);
    rig.mute = true; /* the bytes of the socket are the client's */
    rig.net.handshake_timeout_us = 60000000;
    m = material();
    rig.net.tls = sbx_tls_open(&m, &err);
    assert_non_null(rig.net.tls);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    sbx_tls_unref(rig.net.tls);
    sbx_buf_deinit(&cert);
    sbx_buf_deinit(&key);
    return 0;
}

/* --- the client, which has memory --- */

static bool wants(int rc)
{
    return rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_WANT_WRITE;
}

static void client_open(void)
{
    memset(&client, 0, sizeof client);
    mbedtls_ssl_init(&client.ssl);
    mbedtls_ssl_config_init(&client.conf);
    assert_int_equal(mbedtls_ssl_config_defaults(&client.conf, MBEDTLS_SSL_IS_CLIENT,
                                                 MBEDTLS_SSL_TRANSPORT_STREAM,
                                                 MBEDTLS_SSL_PRESET_DEFAULT), 0);
    mbedtls_ssl_conf_rng(&client.conf, client_random, NULL);
    mbedtls_ssl_conf_authmode(&client.conf, MBEDTLS_SSL_VERIFY_NONE);
    assert_int_equal(mbedtls_ssl_setup(&client.ssl, &client.conf), 0);
    mbedtls_ssl_set_bio(&client.ssl, &rig.peer, client_send, client_recv, NULL);
}

static void client_close(void)
{
    mbedtls_ssl_free(&client.ssl);
    mbedtls_ssl_config_free(&client.conf);
    sbx_buf_deinit(&client.got);
    sbx_fd_close(&rig.peer);
}

static bool client_has_shaken_hands(void)
{
    client.shaken = mbedtls_ssl_handshake(&client.ssl);
    return !wants(client.shaken);
}

static bool client_is_told(void)
{
    uint8_t buf[1000];
    int n;
    while (client.end == 0 && !wants(n = mbedtls_ssl_read(&client.ssl, buf, sizeof buf))) {
#if defined(MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
        if (n == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
            continue;
#endif
        if (n > 0)
            sbx_buf_add(&client.got, buf, (size_t)n);
        else
            client.end = n == 0 ? MBEDTLS_ERR_SSL_CONN_EOF : n;
    }
    return client.end != 0;
}

/* Memory is missing on the other side alone. */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_end = sbx_clock_mono_us() + RIG_PATIENCE_US;                                \
        while (!(condition)) {                                                                     \
            if (sbx_clock_mono_us() > until_end)                                                   \
                fail_msg("waited in vain for: %s (allocation %zu)", #condition, oom.left);         \
            oom.on = true;                                                                         \
            rig_turn(&rig);                                                                        \
            oom.on = false;                                                                        \
        }                                                                                          \
    } while (0)

static void connect_client(void)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(sbx_fd_set_nonblock(fds[0]), 0);
    assert_int_equal(sbx_fd_set_nonblock(fds[1]), 0);
    rig.peer = fds[0];
    oom.on = true;
    rig.conn = sbx_conn_open(&rig.net, fds[1], rig.net.tls);
    oom.on = false;
    if (rig.conn == NULL)
        (void)close(fds[1]);
}

/* --- tests --- */

static void attempt(size_t left, bool rest)
{
    static const char ask[] = "GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    bool answered;
    client_open();
    oom.left = left;
    oom.rest = rest;
    oom.seen = oom.failed = 0;
    connect_client();
    UNTIL(client_has_shaken_hands());
    if (client.shaken == 0) {
        (void)mbedtls_ssl_write(&client.ssl, (const unsigned char *)ask, sizeof ask - 1);
        UNTIL(client_is_told());
    }
    answered = sbx_buf_len(&client.got) > 0;
    if (answered &&
        memmem(sbx_buf_data(&client.got), sbx_buf_len(&client.got), "GET /a ", 7) == NULL)
        fail_msg("half an answer, with allocation %zu", left);
    if (!answered && oom.failed == 0)
        fail_msg("no answer, and no memory was missing");
    client_close();
    UNTIL(rig.net.count == 0);
}

static void each(bool rest)
{
    size_t i, all;
    attempt(SIZE_MAX, false);
    all = oom.seen;
    assert_true(all > ATTEMPTS);
    for (i = 0; i < ATTEMPTS; i++) {
        attempt(oom_place(i, all), rest);
        assert_true(oom.failed > 0 && (rest || oom.failed == 1));
    }
    attempt(SIZE_MAX, false); /* and now that there is memory again */
}

static void test_one_allocation_fails(void **state)
{
    (void)state;
    each(false);
}

static void test_all_from_there_on_fail(void **state)
{
    (void)state;
    each(true);
}

static struct sbx_tls *read_certificate(size_t left)
{
    struct sbx_tls_material m = material();
    struct sbx_tls *t;
    oom.left = left;
    oom.rest = false;
    oom.seen = oom.failed = 0;
    memset(&err, 0, sizeof err);
    oom.on = true;
    t = sbx_tls_open(&m, &err);
    oom.on = false;
    return t;
}

/* How many allocations there are depends on random numbers, too: there may be none so late. */
static void expect_unread(size_t left)
{
    struct sbx_tls *t = read_certificate(left);
    if (oom.failed > 0 && t != NULL)
        fail_msg("it was taken in spite of allocation %zu", left);
    if (oom.failed > 0)
        assert_true(err.code < 0 && err.text[0] != '\0');
    sbx_tls_unref(t);
}

/* A certificate is read before it is used; where that fails, what was in use stays. */
static void test_reading_a_certificate(void **state)
{
    size_t i, all;
    (void)state;
    sbx_tls_unref(read_certificate(SIZE_MAX));
    all = oom.seen;
    assert_true(all > ATTEMPTS);
    for (i = 0; i < ATTEMPTS; i++)
        expect_unread(oom_place(i, all));
    for (i = 1; i <= FIRST; i++)
        expect_unread(all - i); /* what is made of it comes last */
    attempt(SIZE_MAX, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_allocation_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_from_there_on_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reading_a_certificate, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
