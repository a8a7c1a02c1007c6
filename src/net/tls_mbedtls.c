/* tls_mbedtls.c - TLS by mbedTLS, 2.28 or 3.6, as a transport; see tls.h.
 *
 *  SNIFF --0x16--> HANDSHAKE --done--> OPEN --failed--> BROKEN
 *    |                 +--failed--> the stream becomes a plain one, to be ended
 *    +--a letter--> not TLS at all: the stream becomes a plain one
 *
 * What holds:
 *   - the first byte is peeked at, not read: a handshake record begins with 22 (RFC 8446, 5.1), and
 *     a person who typed http:// is to be told so in their own protocol. Before it has come, the
 *     library has no buffers for the connection: somebody who only connects costs little;
 *   - a write that the socket did not take whole stays inside the library, which wants to be called
 *     with the same length until it is out: `retry` is that length, and 0 otherwise. To the queue
 *     above these bytes are still unwritten;
 *   - a read takes whole records, so no byte is left in the library that poll() cannot tell of; how
 *     the connection ended may be known before all bytes are delivered: `fate`, told by `more`;
 *   - close_notify is sent once, and never after a failure;
 *   - one call takes so many bytes and no more (`allowance`). The library goes on by itself after
 *     an alert or a refused renegotiation, so a peer that sends nothing else would keep it, and all
 *     of us, in one call for ever. What brings no data is bounded in all, too (`idle`);
 *   - the library has nothing to say while it reads. Where it has and cannot (an alert on a full
 *     socket), it would take the next write for the end of that one: such a connection is given
 *     up.
 *
 * Offered are TLS 1.2 with forward secrecy and AEAD, and 1.3 where the library has it; the
 * defaults of the library refuse renegotiation. Sessions are resumed by tickets, which need no
 * memory here. A reload makes another struct sbx_tls with other ticket keys, so nothing of an
 * old client CA lives on in a resumed session. */
#include "net/tls.h"
#include "base/mem.h"
#include "os/fd.h"
#include "os/rand.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <mbedtls/error.h>
#include <mbedtls/md.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#define TLS_RECORD 16384u
#define TLS_TICKET_SECONDS 86400u
#define TLS_HANDSHAKE_RECORD 22
#define TLS_CALL_BYTES (32u * 1024u)       /* taken by one step of a handshake */
#define TLS_HANDSHAKE_BYTES (256u * 1024u) /* of a whole one; a chain of certificates is in it */
#define TLS_IDLE_BYTES (64u * 1024u)       /* of records without data, one after the other */

struct sbx_tls {
    unsigned refs;
    mbedtls_x509_crt cert;
    mbedtls_x509_crt client_ca;
    mbedtls_pk_context key;
    mbedtls_ssl_config conf;
    mbedtls_ssl_ticket_context tickets;
    const char *alpn[2];        /* the library keeps a pointer to it */
    uint8_t gather[TLS_RECORD]; /* small pieces become one record here */
};

enum tls_state { TLS_SNIFF, TLS_HANDSHAKE, TLS_OPEN, TLS_BROKEN };

struct tls_session {
    struct sbx_tls *tls;
    struct sbx_stream *stream;
    enum tls_state state;
    mbedtls_ssl_context ssl;
    size_t retry;
    size_t allowance; /* bytes that this call may still take from the socket */
    size_t idle;      /* bytes taken since the last data */
    int fate;   /* what the library said when reading came to its end; 0: it did not yet */
    bool ended; /* we have sent close_notify */
};

const char *sbx_tls_backend(void)
{
    return "mbedtls " MBEDTLS_VERSION_STRING;
}

static int tls_random(void *ctx, unsigned char *p, size_t n)
{
    (void)ctx;
    return sbx_rand_bytes(p, n) < 0 ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : 0;
}

static int tls_refuse(struct sbx_err *err, const char *name, const char *what, int rc)
{
    char reason[160];
    mbedtls_strerror(rc, reason, sizeof reason);
    return sbx_err_set(err, EINVAL, "%s: %s (%s)", name, what, reason);
}

/* --- configuration --- */

/* The parsers of PEM want the NUL that a view does not have. */
static char *tls_text(struct sbx_str pem, struct sbx_err *err)
{
    char *text = sbx_mem_strndup(pem.p, pem.n);
    if (text == NULL)
        sbx_err_set(err, ENOMEM, "out of memory");
    return text;
}

static void tls_forget_text(char *text, size_t n)
{
    if (text != NULL)
        sbx_mem_wipe(text, n);
    sbx_mem_free(text);
}

static int tls_load_certs(mbedtls_x509_crt *into, struct sbx_str pem, const char *name,
                          struct sbx_err *err)
{
    char *text = tls_text(pem, err);
    int rc;
    if (text == NULL)
        return err->code;
    rc = mbedtls_x509_crt_parse(into, (const unsigned char *)text, pem.n + 1);
    sbx_mem_free(text);
    if (rc > 0)
        return sbx_err_set(err, EINVAL, "%s: %d of the certificates in it cannot be read", name,
                           rc);
    return rc < 0 ? tls_refuse(err, name, "no certificate can be read from it", rc) : 0;
}

static int tls_load_key(struct sbx_tls *t, struct sbx_str pem, const char *name,
                        struct sbx_err *err)
{
    char *text = tls_text(pem, err);
    const unsigned char *p = (const unsigned char *)text;
    int rc;
    if (text == NULL)
        return err->code;
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    rc = mbedtls_pk_parse_key(&t->key, p, pem.n + 1, NULL, 0, tls_random, NULL);
#else
    rc = mbedtls_pk_parse_key(&t->key, p, pem.n + 1, NULL, 0);
#endif
    tls_forget_text(text, pem.n);
    if (rc == MBEDTLS_ERR_PK_PASSWORD_REQUIRED || rc == MBEDTLS_ERR_PK_PASSWORD_MISMATCH)
        return sbx_err_set(err, EINVAL, "%s: the key is encrypted, and nobody is there to type its "
                                        "password", name);
    return rc < 0 ? tls_refuse(err, name, "no private key can be read from it", rc) : 0;
}

static int tls_check_pair(struct sbx_tls *t, const struct sbx_tls_material *m, struct sbx_err *err)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    int rc = mbedtls_pk_check_pair(&t->cert.pk, &t->key, tls_random, NULL);
#else
    int rc = mbedtls_pk_check_pair(&t->cert.pk, &t->key);
#endif
    if (rc == 0)
        return 0;
    return sbx_err_set(err, EINVAL, "%s is not the key of the certificate in %s", m->key_name,
                       m->cert_name);
}

/* ChaCha20 first: the library does it faster than AES-GCM even where the processor has AES (by 40
 * per cent in 2.28), and in constant time where it has not. */
static const int tls_suites[] = {
#if MBEDTLS_VERSION_NUMBER >= 0x03000000 && defined(MBEDTLS_SSL_PROTO_TLS1_3)
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
#endif
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    0,
};

/* Curves and hashes: no SHA-1, which 2.28 still takes by default, and nothing that a current client
 * would not choose. */
static void tls_limit_algorithms(mbedtls_ssl_config *conf)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    static const uint16_t groups[] = {
        MBEDTLS_SSL_IANA_TLS_GROUP_X25519, MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
        MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, MBEDTLS_SSL_IANA_TLS_GROUP_NONE};
    mbedtls_ssl_conf_groups(conf, groups);
    mbedtls_ssl_conf_min_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
#else
    static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_CURVE25519,
                                                  MBEDTLS_ECP_DP_SECP256R1,
                                                  MBEDTLS_ECP_DP_SECP384R1, MBEDTLS_ECP_DP_NONE};
    static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384, MBEDTLS_MD_SHA512,
                                 MBEDTLS_MD_NONE};
    mbedtls_ssl_conf_curves(conf, curves);
    mbedtls_ssl_conf_sig_hashes(conf, hashes);
    mbedtls_ssl_conf_min_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#endif
    mbedtls_ssl_conf_ciphersuites(conf, tls_suites);
}

static int tls_configure(struct sbx_tls *t, bool client_ca)
{
    int rc = mbedtls_ssl_config_defaults(&t->conf, MBEDTLS_SSL_IS_SERVER,
                                         MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    if (rc != 0)
        return rc;
    mbedtls_ssl_conf_rng(&t->conf, tls_random, NULL);
    t->alpn[0] = "http/1.1";
    tls_limit_algorithms(&t->conf);
    rc = mbedtls_ssl_conf_alpn_protocols(&t->conf, t->alpn);
    if (rc == 0)
        rc = mbedtls_ssl_conf_own_cert(&t->conf, &t->cert, &t->key);
    if (rc == 0)
        rc = mbedtls_ssl_ticket_setup(&t->tickets, tls_random, NULL, MBEDTLS_CIPHER_AES_256_GCM,
                                      TLS_TICKET_SECONDS);
    if (rc != 0)
        return rc;
    mbedtls_ssl_conf_session_tickets_cb(&t->conf, mbedtls_ssl_ticket_write,
                                        mbedtls_ssl_ticket_parse, &t->tickets);
    if (client_ca) {
        mbedtls_ssl_conf_ca_chain(&t->conf, &t->client_ca, NULL);
        mbedtls_ssl_conf_authmode(&t->conf, MBEDTLS_SSL_VERIFY_REQUIRED);
    }
    return 0;
}

static int tls_load(struct sbx_tls *t, const struct sbx_tls_material *m, struct sbx_err *err)
{
    bool client_ca = m->client_ca.n > 0;
    int rc = tls_load_certs(&t->cert, m->cert, m->cert_name, err);
    if (rc == 0)
        rc = tls_load_key(t, m->key, m->key_name, err);
    if (rc == 0)
        rc = tls_check_pair(t, m, err);
    if (rc == 0 && client_ca)
        rc = tls_load_certs(&t->client_ca, m->client_ca, m->client_ca_name, err);
    if (rc < 0)
        return rc;
    rc = tls_configure(t, client_ca);
    return rc == 0 ? 0 : tls_refuse(err, m->cert_name, "TLS cannot be set up", rc);
}

struct sbx_tls *sbx_tls_open(const struct sbx_tls_material *m, struct sbx_err *err)
{
    struct sbx_tls *t = sbx_mem_calloc(sizeof *t);
    if (t == NULL) {
        sbx_err_set(err, ENOMEM, "out of memory");
        return NULL;
    }
    t->refs = 1;
    mbedtls_x509_crt_init(&t->cert);
    mbedtls_x509_crt_init(&t->client_ca);
    mbedtls_pk_init(&t->key);
    mbedtls_ssl_config_init(&t->conf);
    mbedtls_ssl_ticket_init(&t->tickets);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    if (psa_crypto_init() != PSA_SUCCESS) {
        sbx_err_set(err, ENOMEM, "%s: the TLS library cannot be started", m->cert_name);
        sbx_tls_unref(t);
        return NULL;
    }
#endif
    if (tls_load(t, m, err) < 0) {
        sbx_tls_unref(t);
        return NULL;
    }
    return t;
}

struct sbx_tls *sbx_tls_ref(struct sbx_tls *tls)
{
    tls->refs++;
    return tls;
}

void sbx_tls_unref(struct sbx_tls *tls)
{
    if (tls == NULL || --tls->refs > 0)
        return;
    mbedtls_ssl_ticket_free(&tls->tickets);
    mbedtls_ssl_config_free(&tls->conf);
    mbedtls_pk_free(&tls->key);
    mbedtls_x509_crt_free(&tls->client_ca);
    mbedtls_x509_crt_free(&tls->cert);
    sbx_mem_free(tls);
}

void sbx_tls_fingerprint(const struct sbx_tls *tls, char text[SBX_TLS_FINGERPRINT])
{
    uint8_t hash[32];
    size_t i;
    text[0] = '\0';
    if (mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), tls->cert.raw.p, tls->cert.raw.len,
                   hash) != 0)
        return;
    for (i = 0; i < sizeof hash; i++)
        (void)snprintf(text + 3 * i, 4, "%02X%s", hash[i], i + 1 < sizeof hash ? ":" : "");
}

/* --- the socket below --- */

static int tls_send(void *ctx, const unsigned char *p, size_t n)
{
    struct tls_session *s = ctx;
    ssize_t put;
    do
        put = send(s->stream->fd, p, n, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? MBEDTLS_ERR_SSL_WANT_WRITE : -1;
    s->stream->wire += (uint64_t)put;
    return (int)put;
}

static int tls_recv(void *ctx, unsigned char *p, size_t n)
{
    struct tls_session *s = ctx;
    ssize_t got;
    if (s->allowance == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    got = sbx_fd_read(s->stream->fd, p, n < s->allowance ? n : s->allowance);
    if (got == -EAGAIN)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (got < 0)
        return -1;
    s->allowance -= (size_t)got;
    s->idle += (size_t)got;
    return (int)got;
}

/* --- the transport --- */

static bool tls_wants(int rc)
{
    return rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_WANT_WRITE;
}

static void tls_free_session(struct tls_session *s)
{
    mbedtls_ssl_free(&s->ssl);
    sbx_tls_unref(s->tls);
    sbx_mem_free(s);
}

static void tls_become_plain(struct sbx_stream *stream)
{
    uint64_t wire = stream->wire;
    int fd = stream->fd;
    tls_free_session(stream->tls);
    sbx_stream_init_plain(stream, fd);
    stream->wire = wire;
}

/* What the peer begins with. 0: a handshake; -EPROTOTYPE: HTTP in the clear; or another errno. */
static int tls_sniff(const struct sbx_stream *stream)
{
    uint8_t first;
    ssize_t got;
    do
        got = recv(stream->fd, &first, 1, MSG_PEEK);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    if (got == 0)
        return -ECONNABORTED;
    if (first == TLS_HANDSHAKE_RECORD)
        return 0;
    /* Methods are in capitals; empty lines before a request are allowed (RFC 9112, 2.2). */
    return (first >= 'A' && first <= 'Z') || first == '\r' || first == '\n' ? -EPROTOTYPE : -EPROTO;
}

static bool tls_is_1_2(const mbedtls_ssl_context *ssl)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_ssl_get_version_number(ssl) == MBEDTLS_SSL_VERSION_TLS1_2;
#else
    (void)ssl; /* nothing older is taken, and nothing newer known */
    return true;
#endif
}

/* The alert is out; that the peer may read it, the rest is to be ended like any connection. */
static int tls_fail(struct sbx_stream *stream, const char *reason, struct sbx_err *err)
{
    tls_become_plain(stream);
    return sbx_err_set(err, EPROTO, "TLS handshake: %s", reason);
}

static int tls_handshake(struct sbx_stream *stream, struct sbx_err *err)
{
    struct tls_session *s = stream->tls;
    char reason[160];
    int rc;
    if (s->state == TLS_SNIFF) {
        rc = tls_sniff(stream);
        if (rc == -EPROTOTYPE)
            tls_become_plain(stream);
        if (rc == -EPROTO)
            return tls_fail(stream, "none was begun", err);
        if (rc < 0)
            return rc == -EAGAIN ? rc : sbx_err_set(err, rc, "TLS handshake: none was begun");
        if (!sbx_mem_may_alloc() || mbedtls_ssl_setup(&s->ssl, &s->tls->conf) != 0)
            return sbx_err_set(err, ENOMEM, "TLS handshake: out of memory");
        mbedtls_ssl_set_bio(&s->ssl, s, tls_send, tls_recv, NULL);
        s->state = TLS_HANDSHAKE;
    }
    s->allowance = TLS_CALL_BYTES;
    rc = mbedtls_ssl_handshake(&s->ssl);
    stream->wants_write = rc == MBEDTLS_ERR_SSL_WANT_WRITE;
    if (tls_wants(rc) && s->idle > TLS_HANDSHAKE_BYTES)
        return tls_fail(stream, "it does not come to an end", err);
    if (tls_wants(rc))
        return -EAGAIN;
    if (rc != 0) {
        /* The one failure of TLS 1.2 that the library does not tell of (RFC 5246, 7.4.6). */
        if (rc == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE && tls_is_1_2(&s->ssl))
            (void)mbedtls_ssl_send_alert_message(&s->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                                 MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
        mbedtls_strerror(rc, reason, sizeof reason);
        return tls_fail(stream, reason, err);
    }
    s->state = TLS_OPEN;
    s->idle = 0;
    stream->ready = true;
    return 0;
}

/* A connection that ends without close_notify was cut off, by whomever (RFC 8446, 6.1). */
static ssize_t tls_tell_fate(struct tls_session *s)
{
    if (s->fate == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
        return 0;
    if (s->fate == MBEDTLS_ERR_SSL_CONN_EOF)
        return -ECONNABORTED;
    s->state = TLS_BROKEN;
    return -EPROTO;
}

static ssize_t tls_read(struct sbx_stream *stream, void *p, size_t n)
{
    struct tls_session *s = stream->tls;
    size_t done = 0;
    int got = 1;
    assert(n >= SBX_STREAM_READ_MIN);
    if (s->state != TLS_OPEN)
        return -EPROTO;
    s->allowance = n + 2 * TLS_RECORD;
    while (got > 0 && s->fate == 0 && n - done >= SBX_STREAM_READ_MIN) {
        got = mbedtls_ssl_read(&s->ssl, (unsigned char *)p + done, n - done);
        if (got > 0) {
            done += (size_t)got;
            s->idle = 0;
        } else if (got == MBEDTLS_ERR_SSL_WANT_WRITE || s->idle > TLS_IDLE_BYTES) {
            s->fate = MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE;
        } else if (got != MBEDTLS_ERR_SSL_WANT_READ) {
            s->fate = got == 0 ? MBEDTLS_ERR_SSL_CONN_EOF : got;
        }
    }
    stream->more = done > 0 && s->fate != 0;
    if (done > 0)
        return (ssize_t)done;
    return s->fate != 0 ? tls_tell_fate(s) : -EAGAIN;
}

/* `len` bytes of the pieces from `skip` on, in one place; where one piece has them, just there. */
static const unsigned char *tls_gather(struct sbx_tls *t, const struct iovec *iov, int n,
                                       size_t skip, size_t len)
{
    size_t done = 0;
    int i;
    for (i = 0; i < n && done < len; i++) {
        size_t have = iov[i].iov_len, part;
        if (skip >= have) {
            skip -= have;
            continue;
        }
        have -= skip;
        if (done == 0 && have >= len)
            return (const unsigned char *)iov[i].iov_base + skip;
        part = have < len - done ? have : len - done;
        memcpy(t->gather + done, (const char *)iov[i].iov_base + skip, part);
        done += part;
        skip = 0;
    }
    assert(done == len);
    return t->gather;
}

static ssize_t tls_writev(struct sbx_stream *stream, const struct iovec *iov, int n)
{
    struct tls_session *s = stream->tls;
    size_t done = 0, total = 0, most;
    int i, put;
    if (s->state != TLS_OPEN || s->ended)
        return -EPIPE;
    put = mbedtls_ssl_get_max_out_record_payload(&s->ssl);
    most = put <= 0 || (size_t)put > TLS_RECORD ? TLS_RECORD : (size_t)put;
    for (i = 0; i < n; i++)
        total += iov[i].iov_len;
    while (done < total) {
        size_t len = total - done < most ? total - done : most;
        if (s->retry > 0)
            len = s->retry;
        put = mbedtls_ssl_write(&s->ssl, tls_gather(s->tls, iov, n, done, len), len);
        s->retry = tls_wants(put) ? len : 0;
        if (put > 0)
            done += (size_t)put;
        else if (s->retry > 0)
            return done > 0 ? (ssize_t)done : -EAGAIN;
        else
            break;
    }
    if (done == total)
        return (ssize_t)done;
    s->state = TLS_BROKEN;
    return -EPIPE;
}

/* A last word that the socket does not take at once is not waited for. */
static void tls_end(struct sbx_stream *stream)
{
    struct tls_session *s = stream->tls;
    if (s->state != TLS_OPEN || s->ended || s->retry > 0)
        return;
    s->ended = true;
    (void)mbedtls_ssl_close_notify(&s->ssl);
}

static void tls_shut_write(struct sbx_stream *stream)
{
    tls_end(stream);
    (void)shutdown(stream->fd, SHUT_WR);
}

static void tls_close(struct sbx_stream *stream)
{
    tls_free_session(stream->tls);
    stream->tls = NULL;
    sbx_fd_close(&stream->fd);
}

int sbx_stream_init_tls(struct sbx_stream *stream, int fd, struct sbx_tls *tls)
{
    static const struct sbx_stream_ops ops = {
        .handshake = tls_handshake,
        .read = tls_read,
        .writev = tls_writev,
        .end = tls_end,
        .shut_write = tls_shut_write,
        .close = tls_close,
    };
    struct tls_session *s = sbx_mem_calloc(sizeof *s);
    if (s == NULL)
        return -ENOMEM;
    mbedtls_ssl_init(&s->ssl);
    s->tls = sbx_tls_ref(tls);
    s->stream = stream;
    *stream = (struct sbx_stream){.ops = &ops, .fd = fd, .tls = s};
    return 0;
}
