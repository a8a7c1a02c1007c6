/* tls_limit.c - what mbedTLS gives to a server that does nothing else: one connection at a time, in
 * blocking calls, with the suites of the agent. `GET /N` is answered with N zero bytes. For
 * comparison with tls.sh alone; it checks nothing that it is sent.
 *
 *   tls_limit PORT CERT KEY
 */
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define RECORD 16384

static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context rng;
static mbedtls_x509_crt cert;
static mbedtls_pk_context key;
static mbedtls_ssl_config conf;

static void must(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "tls_limit: %s: -0x%04x\n", what, (unsigned)-rc);
    exit(1);
}

static void configure(const char *cert_file, const char *key_file)
{
    static const int suites[] = {
#if MBEDTLS_VERSION_NUMBER >= 0x03000000 && defined(MBEDTLS_SSL_PROTO_TLS1_3)
        MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
#endif
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, 0};
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&rng);
    mbedtls_x509_crt_init(&cert);
    mbedtls_pk_init(&key);
    mbedtls_ssl_config_init(&conf);
    must(mbedtls_ctr_drbg_seed(&rng, mbedtls_entropy_func, &entropy, NULL, 0), "the generator");
    must(mbedtls_x509_crt_parse_file(&cert, cert_file), cert_file);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    must(psa_crypto_init() == PSA_SUCCESS ? 0 : -1, "PSA");
    must(mbedtls_pk_parse_keyfile(&key, key_file, NULL, mbedtls_ctr_drbg_random, &rng), key_file);
#else
    must(mbedtls_pk_parse_keyfile(&key, key_file, NULL), key_file);
#endif
    must(mbedtls_ssl_config_defaults(&conf, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
                                     MBEDTLS_SSL_PRESET_DEFAULT), "the configuration");
    mbedtls_ssl_conf_rng(&conf, mbedtls_ctr_drbg_random, &rng);
    mbedtls_ssl_conf_ciphersuites(&conf, suites);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    {
        static const uint16_t groups[] = {MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
                                          MBEDTLS_SSL_IANA_TLS_GROUP_NONE};
        mbedtls_ssl_conf_groups(&conf, groups);
    }
#else
    {
        static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_CURVE25519,
                                                      MBEDTLS_ECP_DP_NONE};
        mbedtls_ssl_conf_curves(&conf, curves);
    }
#endif
    must(mbedtls_ssl_conf_own_cert(&conf, &cert, &key), "certificate and key");
}

static void send_zeroes(mbedtls_ssl_context *ssl, unsigned long long n)
{
    static unsigned char zeroes[RECORD];
    char head[128];
    int rc = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n"
                                         "Connection: close\r\n\r\n", n);
    rc = mbedtls_ssl_write(ssl, (unsigned char *)head, (size_t)rc);
    while (rc > 0 && n > 0) {
        rc = mbedtls_ssl_write(ssl, zeroes, n < RECORD ? (size_t)n : RECORD);
        n -= rc > 0 ? (unsigned long long)rc : 0;
    }
}

static void serve(mbedtls_net_context *client)
{
    static unsigned char request[RECORD + 1];
    mbedtls_ssl_context ssl;
    int got, on = 1;
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    mbedtls_ssl_init(&ssl);
    must(mbedtls_ssl_setup(&ssl, &conf), "a connection");
    mbedtls_ssl_set_bio(&ssl, client, mbedtls_net_send, mbedtls_net_recv, NULL);
    if (mbedtls_ssl_handshake(&ssl) == 0) {
        got = mbedtls_ssl_read(&ssl, request, RECORD);
        if (got > 5) {
            request[got] = '\0';
            send_zeroes(&ssl, strtoull((char *)request + 5, NULL, 10));
            mbedtls_ssl_close_notify(&ssl);
        }
    }
    mbedtls_ssl_free(&ssl);
}

int main(int argc, char **argv)
{
    mbedtls_net_context listener, client;
    if (argc != 4) {
        fprintf(stderr, "usage: tls_limit PORT CERT KEY\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    configure(argv[2], argv[3]);
    mbedtls_net_init(&listener);
    must(mbedtls_net_bind(&listener, "127.0.0.1", argv[1], MBEDTLS_NET_PROTO_TCP), argv[1]);
    for (;;) {
        mbedtls_net_init(&client);
        if (mbedtls_net_accept(&listener, &client, NULL, 0, NULL) == 0)
            serve(&client);
        mbedtls_net_free(&client);
    }
}
