/* certificates.c - see certificates.h.
 *
 * Two lists of names. What the operator named (addresses listened on, --allow-host) and loopback
 * must be in the certificate, or it is made anew. What was found (the host's name, and the
 * addresses of its interfaces when all are listened on) is put in when one is made: in a container
 * both change with every start, and a fingerprint that changes with them could not be pinned. */
#include "app/certificates.h"
#include "base/mem.h"
#include "net/tls_cert.h"
#include "os/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CERTIFICATES_NAMES_MAX 64u
#define CERTIFICATES_NAME_MAX 256u
#define CERTIFICATES_DAYS_LEFT 30u
#define CERTIFICATES_PEM_MAX 65536u

struct certificates_names {
    char text[CERTIFICATES_NAMES_MAX][CERTIFICATES_NAME_MAX];
    const char *list[CERTIFICATES_NAMES_MAX];
    size_t count;
};

static void certificates_add(struct certificates_names *n, const char *name, size_t len)
{
    size_t i;
    if (len == 0 || len >= CERTIFICATES_NAME_MAX || n->count == CERTIFICATES_NAMES_MAX)
        return;
    for (i = 0; i < n->count; i++)
        if (strlen(n->text[i]) == len && memcmp(n->text[i], name, len) == 0)
            return;
    memcpy(n->text[n->count], name, len);
    n->text[n->count][len] = '\0';
    n->list[n->count] = n->text[n->count];
    n->count++;
}

static void certificates_add_address(struct certificates_names *n, const struct sockaddr *sa)
{
    char text[INET6_ADDRSTRLEN];
    const void *bytes = NULL;
    if (sa->sa_family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)sa)->sin_addr;
    else if (sa->sa_family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    if (bytes != NULL && inet_ntop(sa->sa_family, bytes, text, sizeof text) != NULL)
        certificates_add(n, text, strlen(text));
}

static bool certificates_is_any(const struct sockaddr *sa)
{
    static const struct in6_addr any = IN6ADDR_ANY_INIT;
    if (sa->sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr == INADDR_ANY;
    return sa->sa_family == AF_INET6 &&
           memcmp(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, &any,
                  sizeof any) == 0;
}

/* A pattern without brackets and port; "*" alone is no name of anything, "*.example" is one of
 * certificates too. */
static void certificates_add_pattern(struct certificates_names *n, const char *pattern)
{
    const char *colon = strrchr(pattern, ':');
    if (pattern[0] == '[')
        certificates_add(n, pattern + 1, strcspn(pattern + 1, "]"));
    else if (strcmp(pattern, "*") != 0)
        certificates_add(n, pattern, colon != NULL ? (size_t)(colon - pattern) : strlen(pattern));
}

/* true: some listener takes connections on every address. */
static bool certificates_named(struct certificates_names *n, const struct sbx_config *c)
{
    bool any = false;
    size_t i;
    n->count = 0;
    certificates_add(n, "localhost", 9);
    certificates_add(n, "127.0.0.1", 9);
    certificates_add(n, "::1", 3);
    for (i = 0; i < c->nlisten; i++) {
        const struct sockaddr *sa = &c->listen[i].sock.sa;
        if (certificates_is_any(sa))
            any = true;
        else
            certificates_add_address(n, sa);
    }
    for (i = 0; i < c->nallow_hosts; i++)
        certificates_add_pattern(n, c->allow_hosts[i]);
    return any;
}

/* The system takes anything for its name; a certificate does not. */
static bool certificates_is_name(const char *name)
{
    size_t n = strlen(name);
    return strspn(name, "-.0123456789"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == n;
}

static void certificates_found(struct certificates_names *n, bool any)
{
    char host[CERTIFICATES_NAME_MAX];
    struct ifaddrs *all, *one;
    if (gethostname(host, sizeof host - 1) == 0) {
        host[sizeof host - 1] = '\0';
        if (certificates_is_name(host))
            certificates_add(n, host, strlen(host));
    }
    if (!any || getifaddrs(&all) < 0)
        return;
    for (one = all; one != NULL; one = one->ifa_next)
        if (one->ifa_addr != NULL)
            certificates_add_address(n, one->ifa_addr);
    freeifaddrs(all);
}

static void certificates_path(char path[4096], const char *dir, const char *file)
{
    if (dir == NULL || (size_t)snprintf(path, 4096, "%s/%s", dir, file) >= 4096)
        path[0] = '\0';
}

/* A file that is not there, or is none, is as good as an empty one here. One that only now cannot
 * be read is not: a key that others rely on must not be replaced for want of a descriptor. */
static int certificates_read(struct sbx_buf *out, const char *path, struct sbx_err *err)
{
    int rc = path[0] == '\0' ? 0 : sbx_secret_read(out, "--tls-self-signed:", path,
                                                   CERTIFICATES_PEM_MAX, 0, err);
    if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -EIO)
        return rc;
    if (rc < 0)
        sbx_buf_clear(out);
    return 0;
}

/* Is it there for the next start? */
static bool certificates_keep(const struct sbx_secrets *s, const char *cert, const char *key,
                      const struct sbx_diag *diag)
{
    int rc = cert[0] == '\0' ? -ENOENT : sbx_secret_write(key, sbx_buf_view(&s->key));
    if (rc == 0)
        rc = sbx_secret_write(cert, sbx_buf_view(&s->cert));
    if (cert[0] == '\0')
        sbx_diag(diag, SBX_DIAG_WARN, "--tls-self-signed without a data directory: the certificate "
                                      "is another one after the next start");
    else if (rc < 0)
        sbx_diag(diag, SBX_DIAG_WARN, "--tls-self-signed: the certificate cannot be kept in %s: %s",
                 cert, strerror(-rc));
    return rc == 0;
}

static int certificates_make(struct sbx_secrets *s, const struct certificates_names *n,
                             uint64_t now, bool key_is_good, struct sbx_err *err)
{
    int rc = 0;
    if (!key_is_good) {
        sbx_buf_clear(&s->key);
        rc = sbx_tls_make_key(&s->key, err);
    }
    sbx_buf_clear(&s->cert);
    if (rc == 0)
        rc = sbx_tls_make_cert(&s->cert, sbx_buf_view(&s->key), n->list, n->count, now, err);
    if (rc < 0 && key_is_good)
        return certificates_make(s, n, now, false, err); /* what was in the file is no key */
    return rc;
}

static void certificates_swap(struct sbx_buf *a, struct sbx_buf *b)
{
    struct sbx_buf was = *a;
    *a = *b;
    *b = was;
}

static bool certificates_serve(const struct sbx_secrets *s, const struct certificates_names *n,
                               uint64_t now)
{
    return sbx_buf_len(&s->cert) > 0 &&
           sbx_tls_cert_serves(sbx_buf_view(&s->cert), sbx_buf_view(&s->key), n->list, n->count,
                               now, CERTIFICATES_DAYS_LEFT);
}

/* *kept: they are in files. */
static int certificates_get(struct sbx_secrets *s, struct certificates_names *n,
                            const struct sbx_config *c, const char *dir,
                            const struct sbx_diag *diag, bool *kept, struct sbx_err *err)
{
    char cert[4096], key[4096];
    uint64_t now = sbx_clock_wall_ms() / 1000;
    bool any = certificates_named(n, c);
    int rc;
    certificates_path(cert, dir, "tls-cert.pem");
    certificates_path(key, dir, "tls-key.pem");
    if (certificates_read(&s->cert, cert, err) < 0 || certificates_read(&s->key, key, err) < 0)
        return err->code;
    *kept = true;
    if (certificates_serve(s, n, now))
        return 0;
    certificates_found(n, any);
    if (sbx_buf_len(&s->cert) > 0)
        sbx_diag(diag, SBX_DIAG_INFO, "--tls-self-signed: the certificate in %s is made anew: it "
                                      "ends soon, lacks a name, or cannot be read", cert);
    rc = certificates_make(s, n, now, sbx_buf_len(&s->key) > 0, err);
    if (rc == 0)
        *kept = certificates_keep(s, cert, key, diag);
    return rc;
}

/* What is in use stays as long as no other can be kept: it would be another one every time. */
static bool certificates_stay(const struct sbx_secrets *s, struct certificates_names *n,
                              const struct sbx_config *c, bool kept)
{
    (void)certificates_named(n, c);
    return !kept && certificates_serve(s, n, sbx_clock_wall_ms() / 1000);
}

int sbx_certificates_own(struct sbx_secrets *s, const struct sbx_config *c, const char *dir,
                         const struct sbx_diag *diag, struct sbx_err *err)
{
    struct sbx_secrets fresh;
    struct certificates_names *names = sbx_mem_alloc(sizeof *names);
    bool kept = false;
    int rc;
    if (names == NULL)
        return sbx_err_set(err, ENOMEM, "out of memory");
    sbx_secrets_init(&fresh);
    rc = certificates_get(&fresh, names, c, dir, diag, &kept, err);
    if (rc == 0 && !certificates_stay(s, names, c, kept)) {
        certificates_swap(&s->cert, &fresh.cert);
        certificates_swap(&s->key, &fresh.key);
    }
    sbx_secrets_deinit(&fresh);
    sbx_mem_free(names);
    return rc;
}

static const char *certificates_name(char text[220], const char *flag, const char *path)
{
    (void)snprintf(text, 220, "%s%s%.190s", flag, path != NULL ? " " : "",
                   path != NULL ? path : "");
    return text;
}

struct sbx_tls *sbx_certificates_open(const struct sbx_secrets *s, const struct sbx_config *c,
                                      struct sbx_err *err)
{
    char cert[220], key[220], ca[220];
    bool own = c->tls_self_signed;
    const struct sbx_tls_material m = {
        .cert = sbx_buf_view(&s->cert),
        .key = sbx_buf_view(&s->key),
        .client_ca = sbx_buf_view(&s->client_ca),
        .cert_name = certificates_name(cert, own ? "--tls-self-signed" : "--tls-cert", c->tls_cert),
        .key_name = certificates_name(key, own ? "--tls-self-signed" : "--tls-key", c->tls_key),
        .client_ca_name = certificates_name(ca, "--tls-client-ca", c->tls_client_ca),
    };
    return sbx_tls_open(&m, err);
}

static int certificates_read_own(struct sbx_secrets *fresh, const struct sbx_secrets *present,
                                 const struct sbx_config *c, const char *dir,
                                 const struct sbx_diag *diag, struct sbx_err *err)
{
    sbx_buf_add_str(&fresh->cert, sbx_buf_view(&present->cert));
    sbx_buf_add_str(&fresh->key, sbx_buf_view(&present->key));
    if (fresh->cert.oom || fresh->key.oom)
        return sbx_err_set(err, ENOMEM, "out of memory");
    return sbx_certificates_own(fresh, c, dir, diag, err);
}

int sbx_certificates_read(struct sbx_secrets *s, const struct sbx_config *c, const char *dir,
                          const struct sbx_diag *diag, struct sbx_err *err)
{
    struct sbx_secrets fresh;
    struct sbx_tls *tls = NULL;
    int rc;
    if (!sbx_config_wants_tls(c))
        return 0;
    sbx_secrets_init(&fresh);
    rc = sbx_secrets_read_tls(&fresh, c->tls_cert, c->tls_key, c->tls_client_ca, c->secrets_wait_us,
                              err);
    if (rc == 0 && c->tls_self_signed)
        rc = certificates_read_own(&fresh, s, c, dir, diag, err);
    if (rc == 0) {
        tls = sbx_certificates_open(&fresh, c, err);
        rc = tls == NULL ? err->code : 0;
    }
    if (rc == 0)
        sbx_secrets_swap(s, &fresh);
    sbx_tls_unref(tls);
    sbx_secrets_deinit(&fresh);
    return rc;
}
