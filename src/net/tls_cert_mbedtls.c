/* tls_cert_mbedtls.c - keys and self-signed certificates with mbedTLS; see tls_cert.h.
 *
 * The same text compiles with 2.28 and with 3.x. Where they differ, a function at the top has a
 * body for each, and what is below knows no version. 2.28 has no setter for subjectAltName and
 * extKeyUsage, so both are given to the library as finished DER, whatever its version.
 *
 * - Nothing outlives a call: no context, no generator. Random bytes are the system's; a generator
 *   in this process would have to be seeded and wiped for two signatures in two years.
 * - A text goes into `out` whole or not at all.
 * - Copies of private keys are wiped before their memory is given back.
 * - The library has an allocator of its own, so sbx_mem_may_alloc is asked before it is used.
 *
 * A certificate is a list of names and a time, and no more: it is trusted by its fingerprint or by
 * being given to a client as its own authority (RFC 5280, 4.2.1.9: that takes the CA bit; pathLen 0
 * and the only key being the server's keep it from vouching for much). The key identifiers are
 * there because strict verifiers want them of every CA (RFC 5280, 4.2.1.2). */
#include "net/tls_cert.h"

#include "base/mem.h"
#include "os/rand.h"

#include <arpa/inet.h>
#include <errno.h>
#include <mbedtls/asn1write.h>
#include <mbedtls/bignum.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <netinet/in.h>
#include <psa/crypto.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#if MBEDTLS_VERSION_NUMBER < 0x021c0000 || MBEDTLS_VERSION_NUMBER >= 0x04000000
#error "this file knows mbedTLS 2.28 and 3.x"
#endif

#define CERT_SUBJECT "CN=sandbox-agent"
#define CERT_DAY_S 86400u
#define CERT_END_OF_TIME_S 253402300799u /* 9999-12-31 23:59:59, the last that X.509 can say */
#define CERT_SERIAL_BYTES 16u
#define CERT_KEY_PEM_MAX 1024u   /* one of P-256 takes 230 */
#define CERT_FIXED_PEM_MAX 8192u /* all but the names; RSA of 8192 bits takes half of it */
#define CERT_NAME_MAX 253u       /* RFC 1035, 2.3.4, as text */
#define CERT_NAME_OVERHEAD 4u    /* tag and length of one */
#define CERT_TAG_DNS (MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_X509_SAN_DNS_NAME)
#define CERT_TAG_IP (MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_X509_SAN_IP_ADDRESS)

/* SEQUENCE { OBJECT IDENTIFIER id-kp-serverAuth } */
static const unsigned char cert_usage_der[] = {0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06,
                                               0x01, 0x05, 0x05, 0x07, 0x03, 0x01};

static int cert_random(void *ctx, unsigned char *out, size_t n)
{
    (void)ctx;
    return sbx_rand_bytes(out, n) == 0 ? 0 : MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
}

/* --- where the versions differ --- */

/* A library that was told to leave its arithmetic to PSA does none before this. */
static int cert_library_ready(void)
{
    if (!sbx_mem_may_alloc())
        return MBEDTLS_ERR_PK_ALLOC_FAILED;
#if defined(MBEDTLS_USE_PSA_CRYPTO)
    if (psa_crypto_init() != PSA_SUCCESS)
        return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
#endif
    return 0;
}

/* z has n bytes and a NUL, which the parser wants counted where the text is PEM. */
static int cert_read_key(mbedtls_pk_context *key, const char *z, size_t n)
{
    const unsigned char *text = (const unsigned char *)z;
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_pk_parse_key(key, text, n + 1, NULL, 0, cert_random, NULL);
#else
    return mbedtls_pk_parse_key(key, text, n + 1, NULL, 0);
#endif
}

static bool cert_is_of_key(const mbedtls_pk_context *public, const mbedtls_pk_context *key)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_pk_check_pair(public, key, cert_random, NULL) == 0;
#else
    return mbedtls_pk_check_pair(public, key) == 0;
#endif
}

static int cert_set_serial(mbedtls_x509write_cert *crt)
{
    unsigned char serial[CERT_SERIAL_BYTES];
    int rc = cert_random(NULL, serial, sizeof serial);
    /* Positive, and as long as it looks (RFC 5280, 4.1.2.2). */
    serial[0] = (unsigned char)((serial[0] & 0x3fu) | 0x40u);
#if MBEDTLS_VERSION_NUMBER >= 0x03040000
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_serial_raw(crt, serial, sizeof serial);
#else
    {
        mbedtls_mpi number;
        mbedtls_mpi_init(&number);
        if (rc == 0)
            rc = mbedtls_mpi_read_binary(&number, serial, sizeof serial);
        if (rc == 0)
            rc = mbedtls_x509write_crt_set_serial(crt, &number);
        mbedtls_mpi_free(&number);
    }
#endif
    return rc;
}

/* --- errors --- */

/* The library adds a low-level code (up to 127) to a high-level one (a multiple of 128). */
static bool cert_is_oom(int rc)
{
    int low = -(-rc & 0x7f), high = rc - low;
    return low == MBEDTLS_ERR_MPI_ALLOC_FAILED || low == MBEDTLS_ERR_ASN1_ALLOC_FAILED ||
           high == MBEDTLS_ERR_X509_ALLOC_FAILED || high == MBEDTLS_ERR_PK_ALLOC_FAILED ||
           high == MBEDTLS_ERR_ECP_ALLOC_FAILED || high == MBEDTLS_ERR_PEM_ALLOC_FAILED;
}

static int cert_fail(struct sbx_err *err, int code, const char *what, int rc)
{
    char why[128];
    if (cert_is_oom(rc))
        return sbx_err_set(err, ENOMEM, "%s: out of memory", what);
    mbedtls_strerror(rc, why, sizeof why);
    return sbx_err_set(err, code, "%s: %s", what, why);
}

/* --- reading --- */

static int cert_parse_key(mbedtls_pk_context *key, struct sbx_str pem)
{
    char *z = pem.n > 0 ? sbx_mem_strndup(pem.p, pem.n) : NULL;
    int rc;
    if (z == NULL)
        return pem.n > 0 ? MBEDTLS_ERR_PK_ALLOC_FAILED : MBEDTLS_ERR_PK_KEY_INVALID_FORMAT;
    rc = cert_library_ready();
    if (rc == 0)
        rc = cert_read_key(key, z, pem.n);
    mbedtls_platform_zeroize(z, pem.n);
    sbx_mem_free(z);
    return rc;
}

/* A count of certificates that cannot be read is no success either. */
static bool cert_parse_chain(mbedtls_x509_crt *chain, struct sbx_str pem)
{
    char *z = pem.n > 0 ? sbx_mem_strndup(pem.p, pem.n) : NULL;
    bool good = z != NULL && cert_library_ready() == 0 &&
                mbedtls_x509_crt_parse(chain, (const unsigned char *)z, pem.n + 1) == 0;
    sbx_mem_free(z);
    return good;
}

/* --- names --- */

/* A name as subjectAltName holds it. */
struct cert_name {
    unsigned char ip[sizeof(struct in6_addr)];
    const unsigned char *p; /* into ip, or the text itself, which ends in a NUL */
    size_t n;
    unsigned char tag;
};

static void cert_name_of(struct cert_name *name, const char *text)
{
    name->tag = CERT_TAG_IP;
    name->p = name->ip;
    if (inet_pton(AF_INET, text, name->ip) == 1) {
        name->n = sizeof(struct in_addr);
    } else if (inet_pton(AF_INET6, text, name->ip) == 1) {
        name->n = sizeof(struct in6_addr);
    } else {
        name->tag = CERT_TAG_DNS;
        name->p = (const unsigned char *)text;
        name->n = strlen(text);
    }
}

/* What may stand in a dNSName, and the two characters beside it that hosts are called by. */
static bool cert_is_host_name(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-._*";
    size_t n = strlen(text);
    return n > 0 && n <= CERT_NAME_MAX && strspn(text, allowed) == n;
}

static int cert_check_names(const char *const *names, size_t nnames, struct sbx_err *err)
{
    size_t i;
    struct cert_name name;
    if (nnames == 0)
        return sbx_err_set(err, EINVAL, "a certificate needs a host name or address");
    for (i = 0; i < nnames; i++) {
        cert_name_of(&name, names[i]);
        if (name.tag == CERT_TAG_DNS && !cert_is_host_name(names[i]))
            return sbx_err_set(err, EINVAL, "neither a host name nor an IP address: \"%s\"",
                               names[i]);
    }
    return 0;
}

/* IP addresses are equal by their bytes; host names without regard to case (RFC 4343). */
static bool cert_same_name(const struct cert_name *name, const mbedtls_x509_buf *in_cert)
{
    if (in_cert->tag != name->tag || in_cert->len != name->n)
        return false;
    if (name->tag == CERT_TAG_IP)
        return memcmp(in_cert->p, name->p, name->n) == 0;
    return sbx_str_ieq_z((struct sbx_str){(const char *)in_cert->p, in_cert->len},
                         (const char *)name->p);
}

static bool cert_has_name(const mbedtls_x509_crt *crt, const char *text)
{
    const mbedtls_x509_sequence *item = &crt->subject_alt_names;
    struct cert_name name;
    cert_name_of(&name, text);
    for (; item != NULL; item = item->next)
        if (item->buf.p != NULL && cert_same_name(&name, &item->buf))
            return true;
    return false;
}

/* The macro of the library returns where the buffer is too small, which would be a fault of
 * cert_set_names. DER is written from its end to its beginning. */
static int cert_write_name(unsigned char **p, unsigned char *start, const char *text)
{
    struct cert_name name;
    int ret, len = 0;
    cert_name_of(&name, text);
    MBEDTLS_ASN1_CHK_ADD(len, mbedtls_asn1_write_raw_buffer(p, start, name.p, name.n));
    MBEDTLS_ASN1_CHK_ADD(len, mbedtls_asn1_write_len(p, start, name.n));
    MBEDTLS_ASN1_CHK_ADD(len, mbedtls_asn1_write_tag(p, start, name.tag));
    return len;
}

static int cert_write_names(unsigned char **p, unsigned char *start, const char *const *names,
                            size_t nnames)
{
    const unsigned char sequence = MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE;
    int ret, len = 0;
    while (nnames > 0)
        MBEDTLS_ASN1_CHK_ADD(len, cert_write_name(p, start, names[--nnames]));
    MBEDTLS_ASN1_CHK_ADD(len, mbedtls_asn1_write_len(p, start, (size_t)len));
    MBEDTLS_ASN1_CHK_ADD(len, mbedtls_asn1_write_tag(p, start, sequence));
    return len;
}

/* At least what the names take as DER. */
static size_t cert_names_size(const char *const *names, size_t nnames)
{
    size_t i, size = CERT_NAME_OVERHEAD + 2;
    for (i = 0; i < nnames; i++)
        size += CERT_NAME_OVERHEAD + sizeof(struct in6_addr) + strlen(names[i]);
    return size;
}

static int cert_set_names(mbedtls_x509write_cert *crt, const char *const *names, size_t nnames)
{
    static const char oid[] = MBEDTLS_OID_SUBJECT_ALT_NAME;
    size_t size = cert_names_size(names, nnames);
    unsigned char *start = sbx_mem_alloc(size), *p;
    int rc;
    if (start == NULL)
        return MBEDTLS_ERR_X509_ALLOC_FAILED;
    p = start + size;
    rc = cert_write_names(&p, start, names, nnames);
    if (rc >= 0)
        rc = mbedtls_x509write_crt_set_extension(crt, oid, sizeof oid - 1, 0, p, (size_t)rc);
    sbx_mem_free(start);
    return rc;
}

/* --- time --- */

static uint64_t cert_plus_days(uint64_t s, unsigned days)
{
    uint64_t more = (uint64_t)days * CERT_DAY_S;
    return s < CERT_END_OF_TIME_S - more ? s + more : CERT_END_OF_TIME_S;
}

static void cert_utc(uint64_t s, struct tm *tm)
{
    time_t t = (time_t)(s < CERT_END_OF_TIME_S ? s : CERT_END_OF_TIME_S);
    /* It fails for years that do not fit an int, and there are none of these. */
    (void)gmtime_r(&t, tm);
}

/* YYYYMMDDhhmmss as a number, by which times can be compared. */
static uint64_t cert_stamp(int year, int mon, int day, int hour, int min, int sec)
{
    uint64_t date = (uint64_t)year * 10000 + (uint64_t)mon * 100 + (uint64_t)day;
    return date * 1000000 + (uint64_t)hour * 10000 + (uint64_t)min * 100 + (uint64_t)sec;
}

static uint64_t cert_stamp_of(uint64_t s)
{
    struct tm tm;
    cert_utc(s, &tm);
    return cert_stamp(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                      tm.tm_sec);
}

static uint64_t cert_stamp_in(const mbedtls_x509_time *t)
{
    return cert_stamp(t->year, t->mon, t->day, t->hour, t->min, t->sec);
}

static int cert_set_validity(mbedtls_x509write_cert *crt, uint64_t now_s)
{
    char from[16], to[16];
    struct tm tm;
    uint64_t start = now_s > CERT_DAY_S ? now_s - CERT_DAY_S : 0;
    cert_utc(start, &tm);
    strftime(from, sizeof from, "%Y%m%d%H%M%S", &tm);
    cert_utc(cert_plus_days(start, SBX_TLS_CERT_DAYS), &tm);
    strftime(to, sizeof to, "%Y%m%d%H%M%S", &tm);
    return mbedtls_x509write_crt_set_validity(crt, from, to);
}

/* --- making --- */

int sbx_tls_make_key(struct sbx_buf *out, struct sbx_err *err)
{
    mbedtls_pk_context key;
    uint8_t *text = sbx_buf_reserve(out, CERT_KEY_PEM_MAX);
    int rc = text != NULL ? cert_library_ready() : MBEDTLS_ERR_PK_ALLOC_FAILED;
    mbedtls_pk_init(&key);
    if (rc == 0)
        rc = mbedtls_pk_setup(&key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (rc == 0)
        rc = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(key), cert_random, NULL);
    if (rc == 0)
        rc = mbedtls_pk_write_key_pem(&key, text, CERT_KEY_PEM_MAX);
    mbedtls_pk_free(&key);
    if (rc != 0)
        return cert_fail(err, EIO, "a key cannot be made", rc);
    sbx_buf_commit(out, strlen((const char *)text));
    return 0;
}

static int cert_set_extensions(mbedtls_x509write_cert *crt, const char *const *names,
                               size_t nnames)
{
    static const char usage[] = MBEDTLS_OID_EXTENDED_KEY_USAGE;
    int rc = mbedtls_x509write_crt_set_basic_constraints(crt, 1, 0);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_key_usage(
            crt, MBEDTLS_X509_KU_DIGITAL_SIGNATURE | MBEDTLS_X509_KU_KEY_CERT_SIGN);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_extension(crt, usage, sizeof usage - 1, 0, cert_usage_der,
                                                 sizeof cert_usage_der);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_subject_key_identifier(crt);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_authority_key_identifier(crt);
    if (rc == 0)
        rc = cert_set_names(crt, names, nnames);
    return rc;
}

/* The certificate as PEM with a NUL at text. */
static int cert_sign(mbedtls_pk_context *key, const char *const *names, size_t nnames,
                     uint64_t now_s, uint8_t *text, size_t size)
{
    mbedtls_x509write_cert crt;
    int rc;
    mbedtls_x509write_crt_init(&crt);
    mbedtls_x509write_crt_set_version(&crt, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&crt, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&crt, key);
    mbedtls_x509write_crt_set_issuer_key(&crt, key);
    rc = cert_set_serial(&crt);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_subject_name(&crt, CERT_SUBJECT);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_issuer_name(&crt, CERT_SUBJECT);
    if (rc == 0)
        rc = cert_set_validity(&crt, now_s);
    if (rc == 0)
        rc = cert_set_extensions(&crt, names, nnames);
    if (rc == 0)
        rc = mbedtls_x509write_crt_pem(&crt, text, size, cert_random, NULL);
    mbedtls_x509write_crt_free(&crt);
    return rc;
}

int sbx_tls_make_cert(struct sbx_buf *out, struct sbx_str key_pem, const char *const *names,
                      size_t nnames, uint64_t now_s, struct sbx_err *err)
{
    /* PEM takes four bytes for three, and a byte a line; twice is more than both. */
    size_t size = CERT_FIXED_PEM_MAX + 2 * cert_names_size(names, nnames);
    mbedtls_pk_context key;
    uint8_t *text;
    int rc = cert_check_names(names, nnames, err);
    if (rc != 0)
        return rc;
    mbedtls_pk_init(&key);
    rc = cert_parse_key(&key, key_pem);
    if (rc != 0) {
        rc = cert_fail(err, EINVAL, "the key for a certificate cannot be read", rc);
        goto out;
    }
    text = sbx_buf_reserve(out, size);
    rc = text != NULL ? cert_sign(&key, names, nnames, now_s, text, size)
                      : MBEDTLS_ERR_X509_ALLOC_FAILED;
    if (rc != 0)
        rc = cert_fail(err, EIO, "a certificate cannot be made", rc);
    else
        sbx_buf_commit(out, strlen((const char *)text));
out:
    mbedtls_pk_free(&key);
    return rc;
}

/* --- checking --- */

static bool cert_is_good(const mbedtls_x509_crt *crt, const char *const *names, size_t nnames,
                         uint64_t now_s, unsigned days)
{
    size_t i;
    if (cert_stamp_in(&crt->valid_from) > cert_stamp_of(now_s) ||
        cert_stamp_in(&crt->valid_to) < cert_stamp_of(cert_plus_days(now_s, days)))
        return false;
    for (i = 0; i < nnames; i++)
        if (!cert_has_name(crt, names[i]))
            return false;
    return true;
}

bool sbx_tls_cert_serves(struct sbx_str cert_pem, struct sbx_str key_pem, const char *const *names,
                         size_t nnames, uint64_t now_s, unsigned days)
{
    mbedtls_x509_crt crt;
    mbedtls_pk_context key;
    bool serves;
    mbedtls_x509_crt_init(&crt);
    mbedtls_pk_init(&key);
    serves = cert_parse_chain(&crt, cert_pem) && cert_parse_key(&key, key_pem) == 0 &&
             cert_is_of_key(&crt.pk, &key) && cert_is_good(&crt, names, nnames, now_s, days);
    mbedtls_pk_free(&key);
    mbedtls_x509_crt_free(&crt);
    return serves;
}
