/* Keys and self-signed certificates. What they say is also asked of the openssl command, where it
 * is there: a mistake that writer and reader of this program share would not show otherwise. */
#include "gate.h"

#include "net/tls.h"
#include "net/tls_cert.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DAY 86400u
#define NOW 1800000000u /* 2027-01-15 08:00:00 UTC */
#define COUNT(list) (sizeof(list) / sizeof *(list))

static const char *const names[] = {"localhost", "127.0.0.1", "::1", "Box.Example.org"};

/* A key, and a certificate for it with these names, as texts. */
struct pair {
    struct sbx_buf key, cert;
};

static struct sbx_str view(const struct sbx_buf *b)
{
    return sbx_buf_view(b);
}

static void need_tls(void)
{
    if (strcmp(sbx_tls_backend(), "none") != 0)
        return;
    print_message("skipped: this build has no TLS\n");
    skip();
}

static void make(struct pair *p, const char *const *list, size_t n, uint64_t now)
{
    struct sbx_err err = {0, ""};
    sbx_buf_init(&p->key);
    sbx_buf_init(&p->cert);
    assert_int_equal(sbx_tls_make_key(&p->key, &err), 0);
    if (sbx_tls_make_cert(&p->cert, view(&p->key), list, n, now, &err) != 0)
        fail_msg("%s", err.text);
}

static void drop(struct pair *p)
{
    sbx_buf_deinit(&p->key);
    sbx_buf_deinit(&p->cert);
}

static bool serves(const struct pair *p, const char *const *list, size_t n, uint64_t now,
                   unsigned days)
{
    return sbx_tls_cert_serves(view(&p->cert), view(&p->key), list, n, now, days);
}

static bool serves_name(const struct pair *p, const char *name)
{
    return serves(p, &name, 1, NOW, 0);
}

/* --- as this program sees them --- */

static void test_texts_are_pem_behind_what_is_there(void **state)
{
    struct pair p;
    struct sbx_err err;
    struct sbx_str key, cert;
    (void)state;
    need_tls();
    sbx_buf_init(&p.key);
    sbx_buf_init(&p.cert);
    sbx_buf_add_z(&p.key, "one\n");
    sbx_buf_add_z(&p.cert, "two\n");
    assert_int_equal(sbx_tls_make_key(&p.key, &err), 0);
    key = view(&p.key);
    assert_true(sbx_str_starts_with(key, "one\n-----BEGIN EC PRIVATE KEY-----\n"));
    assert_int_equal(key.p[key.n - 1], '\n');
    key.p += 4;
    key.n -= 4;
    assert_int_equal(sbx_tls_make_cert(&p.cert, key, names, COUNT(names), NOW, &err), 0);
    cert = view(&p.cert);
    assert_true(sbx_str_starts_with(cert, "two\n-----BEGIN CERTIFICATE-----\n"));
    assert_int_equal(cert.p[cert.n - 1], '\n');
    assert_null(memchr(cert.p, '\0', cert.n));
    drop(&p);
}

static void test_serves_its_names(void **state)
{
    struct pair p;
    (void)state;
    need_tls();
    make(&p, names, COUNT(names), NOW);
    assert_true(serves(&p, names, COUNT(names), NOW, 30));
    assert_true(serves(&p, NULL, 0, NOW, 30));
    assert_true(serves_name(&p, "box.example.ORG"));
    assert_true(serves_name(&p, "0:0:0:0:0:0:0:1"));
    drop(&p);
}

static void test_does_not_serve_other_names(void **state)
{
    static const char *const others[] = {
        "localhos", "localhost.", "localhost2", "example.org", "127.0.0.2", "127.0.0.10", "::2",
        "::ffff:127.0.0.1", "", "*", "127.0.0.1 ", "7f000001"};
    static const char *const one_more[] = {"localhost", "127.0.0.1", "new.example.org"};
    struct pair p;
    size_t i;
    (void)state;
    need_tls();
    make(&p, names, COUNT(names), NOW);
    for (i = 0; i < COUNT(others); i++)
        if (serves_name(&p, others[i]))
            fail_msg("it serves \"%s\"", others[i]);
    assert_false(serves(&p, one_more, COUNT(one_more), NOW, 0));
    drop(&p);
}

/* An address is no host name that looks like one: clients compare addresses with iPAddress only. */
static void test_kinds_of_names_are_kept_apart(void **state)
{
    /* As bytes "abcd". */
    static const char *const address[] = {"97.98.99.100"};
    static const char *const host[] = {"abcd"};
    struct pair p;
    (void)state;
    need_tls();
    make(&p, address, 1, NOW);
    assert_true(serves(&p, address, 1, NOW, 0));
    assert_false(serves(&p, host, 1, NOW, 0));
    drop(&p);
    make(&p, host, 1, NOW);
    assert_true(serves(&p, host, 1, NOW, 0));
    assert_false(serves(&p, address, 1, NOW, 0));
    drop(&p);
}

static void test_validity(void **state)
{
    const uint64_t first = NOW - DAY, last = first + (uint64_t)SBX_TLS_CERT_DAYS * DAY;
    struct pair p;
    (void)state;
    need_tls();
    make(&p, names, COUNT(names), NOW);
    assert_false(serves(&p, names, 1, first - 1, 0));
    assert_true(serves(&p, names, 1, first, 0));
    assert_true(serves(&p, names, 1, last, 0));
    assert_false(serves(&p, names, 1, last + 1, 0));
    assert_true(serves(&p, names, 1, last - 30 * (uint64_t)DAY, 30));
    assert_false(serves(&p, names, 1, last - 30 * (uint64_t)DAY + 1, 30));
    assert_false(serves(&p, names, 1, UINT64_MAX, UINT32_MAX));
    drop(&p);
}

/* The clock of a new machine may stand anywhere; the last year that X.509 can write is 9999. */
static void test_odd_clocks(void **state)
{
    static const uint64_t times[] = {
        0,          1,          DAY,         951782400 /* 29 February 2000 */,
        2524607999, 2524608000, 2524694400 /* 2050: from UTCTime to GeneralizedTime */,
        253402300799};
    struct pair p;
    size_t i;
    (void)state;
    need_tls();
    for (i = 0; i < COUNT(times); i++) {
        make(&p, names, COUNT(names), times[i]);
        if (!serves(&p, names, COUNT(names), times[i], 0))
            fail_msg("not at %llu", (unsigned long long)times[i]);
        drop(&p);
    }
    make(&p, names, COUNT(names), UINT64_MAX);
    drop(&p);
}

static void test_keys_and_certificates_belong_together(void **state)
{
    struct pair a, b;
    (void)state;
    need_tls();
    make(&a, names, COUNT(names), NOW);
    make(&b, names, COUNT(names), NOW);
    assert_false(sbx_str_eq(view(&a.key), view(&b.key)));
    assert_false(sbx_tls_cert_serves(view(&a.cert), view(&b.key), names, 1, NOW, 0));
    assert_false(sbx_tls_cert_serves(view(&b.cert), view(&a.key), names, 1, NOW, 0));
    drop(&a);
    drop(&b);
}

/* A client that has seen one certificate refuses another with the same issuer and number. */
static void test_each_certificate_is_another(void **state)
{
    struct pair p;
    struct sbx_buf again;
    struct sbx_err err;
    (void)state;
    need_tls();
    make(&p, names, COUNT(names), NOW);
    sbx_buf_init(&again);
    assert_int_equal(sbx_tls_make_cert(&again, view(&p.key), names, COUNT(names), NOW, &err), 0);
    assert_false(sbx_str_eq(view(&p.cert), view(&again)));
    assert_true(
        sbx_tls_cert_serves(view(&again), view(&p.key), names, COUNT(names), NOW, 0));
    sbx_buf_deinit(&again);
    drop(&p);
}

static void test_garbage_serves_nothing(void **state)
{
    static const struct sbx_str garbage[] = {
        {NULL, 0},
        {"", 0},
        {"\0", 1},
        {"garbage", 7},
        {"-----BEGIN CERTIFICATE-----\n", 28},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 59},
        {"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", 66}};
    struct pair p;
    struct sbx_str cut;
    size_t i;
    (void)state;
    need_tls();
    make(&p, names, COUNT(names), NOW);
    for (i = 0; i < COUNT(garbage); i++) {
        assert_false(sbx_tls_cert_serves(garbage[i], view(&p.key), names, 1, NOW, 0));
        assert_false(sbx_tls_cert_serves(view(&p.cert), garbage[i], names, 1, NOW, 0));
    }
    assert_false(sbx_tls_cert_serves(view(&p.key), view(&p.cert), names, 1, NOW, 0));
    cut = view(&p.cert);
    cut.n -= 40;
    assert_false(sbx_tls_cert_serves(cut, view(&p.key), names, 1, NOW, 0));
    /* A good one with something behind it that is none. */
    sbx_buf_add_str(&p.cert, garbage[5]);
    assert_false(serves(&p, names, 1, NOW, 0));
    drop(&p);
}

static void refuses(const char *const *list, size_t n, struct sbx_str key, const char *says)
{
    struct sbx_buf out;
    struct sbx_err err = {0, ""};
    sbx_buf_init(&out);
    assert_int_equal(sbx_tls_make_cert(&out, key, list, n, NOW, &err), -EINVAL);
    assert_int_equal(err.code, -EINVAL);
    if (strstr(err.text, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    assert_int_equal(sbx_buf_len(&out), 0);
    sbx_buf_deinit(&out);
}

static void test_refuses(void **state)
{
    static const char *const bad[] = {"", "a b", "a/b", "[::1]", "fe80::1%eth0", "b\303\274ro",
                                      "host\n"};
    char too_long[300];
    const char *const long_name = too_long;
    struct pair p;
    size_t i;
    (void)state;
    need_tls();
    make(&p, names, COUNT(names), NOW);
    for (i = 0; i < COUNT(bad); i++) {
        const char *const two[] = {"localhost", bad[i]};
        refuses(two, 2, view(&p.key), bad[i]);
    }
    memset(too_long, 'a', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    refuses(&long_name, 1, view(&p.key), "aaa");
    refuses(names, 0, view(&p.key), "needs a host name");
    refuses(names, 1, SBX_STR(""), "key");
    refuses(names, 1, SBX_STR("garbage"), "key");
    refuses(names, 1, view(&p.cert), "key");
    drop(&p);
}

static void test_many_names(void **state)
{
    enum { MANY = 200 };
    static char text[MANY][254];
    const char *list[MANY];
    struct pair p;
    size_t i;
    (void)state;
    need_tls();
    for (i = 0; i < MANY; i++) {
        memset(text[i], 'n', 253);
        snprintf(text[i], 8, "%03u.%s", (unsigned)i, "abc");
        text[i][7] = '.';
        list[i] = text[i];
    }
    make(&p, list, MANY, NOW);
    assert_true(serves(&p, list, MANY, NOW, 0));
    drop(&p);
}

/* Every allocation fails once. A text is there whole or not at all. */
static void attempt(void *ctx, const struct gate *g)
{
    struct pair p;
    struct sbx_err err = {0, ""};
    int rc;
    (void)ctx;
    sbx_buf_init(&p.key);
    sbx_buf_init(&p.cert);
    rc = sbx_tls_make_key(&p.key, &err);
    if (rc == 0)
        rc = sbx_tls_make_cert(&p.cert, view(&p.key), names, COUNT(names), NOW, &err);
    if (rc == 0) {
        assert_true(serves(&p, names, 1, NOW, 0) != gate_hit(g));
    } else {
        assert_true(gate_hit(g));
        assert_int_equal(rc, -ENOMEM);
        assert_non_null(strstr(err.text, "memory"));
        assert_int_equal(sbx_buf_len(&p.cert), 0);
    }
    drop(&p);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    need_tls();
    assert_true(gate_each(attempt, NULL) >= 8);
}

/* --- as openssl sees them --- */

struct files {
    char dir[32];
    char out[8192]; /* what the last command said */
};

static void store(const struct files *f, const char *name, struct sbx_str text)
{
    char path[64];
    FILE *file;
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text.p, 1, text.n, file), text.n);
    assert_int_equal(fclose(file), 0);
}

/* Its exit status. */
static int ask(struct files *f, const char *command)
{
    char line[512];
    size_t n;
    FILE *pipe;
    snprintf(line, sizeof line, "cd %s && exec 2>&1 && openssl %s", f->dir, command);
    pipe = popen(line, "r");
    assert_non_null(pipe);
    n = fread(f->out, 1, sizeof f->out - 1, pipe);
    f->out[n] = '\0';
    return pclose(pipe);
}

static void says(const struct files *f, const char *text)
{
    if (strstr(f->out, text) == NULL)
        fail_msg("openssl does not say \"%s\" but: %s", text, f->out);
}

static void open_files(struct files *f)
{
    need_tls();
    strcpy(f->dir, "/tmp/sbx-cert-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    if (ask(f, "version") == 0)
        return;
    assert_int_equal(rmdir(f->dir), 0);
    print_message("skipped: there is no openssl command here\n");
    skip();
}

static void close_files(struct files *f)
{
    char path[64];
    snprintf(path, sizeof path, "%s/key", f->dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/cert", f->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(f->dir), 0);
}

static void test_openssl_reads_it(void **state)
{
    struct files f;
    struct pair p;
    (void)state;
    open_files(&f);
    make(&p, names, COUNT(names), NOW);
    store(&f, "key", view(&p.key));
    store(&f, "cert", view(&p.cert));
    assert_int_equal(ask(&f, "pkey -in key -noout -text -check"), 0);
    says(&f, "prime256v1");
    assert_int_equal(ask(&f, "x509 -in cert -noout -text -nameopt RFC2253"), 0);
    says(&f, "Version: 3 (0x2)");
    says(&f, "Issuer: CN=sandbox-agent");
    says(&f, "Subject: CN=sandbox-agent");
    says(&f, "Not Before: Jan 14 08:00:00 2027 GMT");
    says(&f, "Not After : Apr 18 08:00:00 2029 GMT");
    says(&f, "Signature Algorithm: ecdsa-with-SHA256");
    /* A number of 16 bytes that is positive: one that began with a bit would be 17, or below 0. */
    assert_int_equal(ask(&f, "x509 -in cert -noout -serial"), 0);
    assert_int_equal(strlen(f.out), strlen("serial=") + 32 + 1);
    assert_in_range(f.out[7], '4', '7');
    assert_int_equal(ask(&f, "x509 -in cert -noout -text -nameopt RFC2253"), 0);
    says(&f, "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0\n");
    says(&f, "X509v3 Key Usage: critical\n                Digital Signature, Certificate Sign\n");
    says(&f, "X509v3 Extended Key Usage: \n                TLS Web Server Authentication\n");
    says(&f, "X509v3 Subject Key Identifier");
    says(&f, "X509v3 Subject Alternative Name: \n                DNS:localhost, "
             "IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:Box.Example.org\n");
    drop(&p);
    close_files(&f);
}

static void test_openssl_trusts_it(void **state)
{
    static const struct {
        const char *check;
        bool good;
    } checks[] = {{"-verify_hostname localhost", true},
                  {"-verify_hostname box.example.org", true},
                  {"-verify_hostname example.org", false},
                  {"-verify_hostname 127.0.0.1", false},
                  {"-verify_ip 127.0.0.1", true},
                  {"-verify_ip ::1", true},
                  {"-verify_ip 127.0.0.2", false},
                  {"-attime 1799913599", false},
                  {"-attime 1799913600", true}};
    char line[256];
    struct files f;
    struct pair p;
    size_t i;
    (void)state;
    open_files(&f);
    make(&p, names, COUNT(names), NOW);
    store(&f, "key", view(&p.key));
    store(&f, "cert", view(&p.cert));
    for (i = 0; i < COUNT(checks); i++) {
        snprintf(line, sizeof line,
                 "verify -x509_strict -purpose sslserver -attime %u %s -CAfile cert cert",
                 NOW, checks[i].check);
        if ((ask(&f, line) == 0) != checks[i].good)
            fail_msg("openssl %s: %s", line, f.out);
    }
    drop(&p);
    close_files(&f);
}

/* Keys and certificates of other programs: RSA, PKCS #8, two in a file. */
static void test_openssl_makes_others(void **state)
{
    struct files f;
    struct pair p;
    struct sbx_err err;
    struct sbx_buf cert;
    uint64_t now;
    (void)state;
    open_files(&f);
    assert_int_equal(ask(&f, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key"), 0);
    assert_int_equal(ask(&f, "req -new -x509 -key key -days 10 -subj /CN=x -out cert "
                             "-addext subjectAltName=DNS:localhost,IP:127.0.0.1,email:a@b.org"),
                     0);
    sbx_buf_init(&p.key);
    sbx_buf_init(&p.cert);
    sbx_buf_init(&cert);
    assert_int_equal(ask(&f, "pkey -in key"), 0);
    sbx_buf_add_z(&p.key, f.out);
    assert_int_equal(ask(&f, "x509 -in cert"), 0);
    sbx_buf_add_z(&p.cert, f.out);
    now = (uint64_t)time(NULL); /* not before the certificate is valid */
    assert_true(serves(&p, names, 2, now, 9));
    assert_false(serves(&p, names, 2, now, 11));
    assert_false(serves(&p, names, 3, now, 9));
    assert_int_equal(sbx_tls_make_cert(&cert, view(&p.key), names, COUNT(names), now, &err), 0);
    assert_true(sbx_tls_cert_serves(view(&cert), view(&p.key), names, COUNT(names), now, 800));
    /* Only the first one of a chain is the server's. */
    sbx_buf_add_str(&cert, view(&p.cert));
    assert_true(sbx_tls_cert_serves(view(&cert), view(&p.key), names, COUNT(names), now, 800));
    sbx_buf_add_str(&p.cert, view(&cert));
    assert_false(serves(&p, names, COUNT(names), now, 800));
    assert_int_equal(ask(&f, "req -new -x509 -key key -days 10 -subj /CN=localhost -out cert"), 0);
    assert_int_equal(ask(&f, "x509 -in cert"), 0);
    sbx_buf_clear(&p.cert);
    sbx_buf_add_z(&p.cert, f.out);
    now = (uint64_t)time(NULL);
    assert_true(serves(&p, names, 0, now, 9));
    assert_false(serves(&p, names, 1, now, 9)); /* a common name is no name of a server */
    sbx_buf_deinit(&cert);
    drop(&p);
    close_files(&f);
}

/* --- the build without TLS --- */

static void test_without_tls(void **state)
{
    struct sbx_buf out;
    struct sbx_err err = {0, ""};
    (void)state;
    if (strcmp(sbx_tls_backend(), "none") != 0)
        return; /* the tests above are for this build */
    sbx_buf_init(&out);
    assert_int_equal(sbx_tls_make_key(&out, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "without TLS"));
    assert_int_equal(sbx_tls_make_cert(&out, SBX_STR("x"), names, 1, NOW, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "without TLS"));
    assert_false(sbx_tls_cert_serves(SBX_STR("x"), SBX_STR("x"), names, 1, NOW, 0));
    assert_int_equal(sbx_buf_len(&out), 0);
    sbx_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_are_pem_behind_what_is_there),
        cmocka_unit_test(test_serves_its_names),
        cmocka_unit_test(test_does_not_serve_other_names),
        cmocka_unit_test(test_kinds_of_names_are_kept_apart),
        cmocka_unit_test(test_validity),
        cmocka_unit_test(test_odd_clocks),
        cmocka_unit_test(test_keys_and_certificates_belong_together),
        cmocka_unit_test(test_each_certificate_is_another),
        cmocka_unit_test(test_garbage_serves_nothing),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_openssl_reads_it),
        cmocka_unit_test(test_openssl_trusts_it),
        cmocka_unit_test(test_openssl_makes_others),
        cmocka_unit_test(test_without_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
