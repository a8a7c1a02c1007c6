/* tls.h - HTTPS: what connections are accepted with, and TLS as a transport of net/stream. Each
 * choice of library is a file with the same functions: tls_none.c is the build without one. */
#ifndef SBX_NET_TLS_H
#define SBX_NET_TLS_H

#include "base/err.h"
#include "base/str.h"
#include "net/stream.h"

/* "none" or the library and its version, "mbedtls 2.28.3", for --version. */
const char *sbx_tls_backend(void);

/* PEM texts, and what to call each in an error: "--tls-cert /etc/agent.pem". */
struct sbx_tls_material {
    struct sbx_str cert;      /* the server's, then those between it and the root */
    struct sbx_str key;
    struct sbx_str client_ca; /* empty: clients need no certificate */
    const char *cert_name, *key_name, *client_ca_name;
};

struct sbx_tls; /* counted references: connections go on with what they were accepted with */

/* NULL and err: not PEM, no certificate in it, a key that is not the certificate's, out of memory,
 * or -ENOTSUP without a library. */
struct sbx_tls *sbx_tls_open(const struct sbx_tls_material *m, struct sbx_err *err);
struct sbx_tls *sbx_tls_ref(struct sbx_tls *tls);
void sbx_tls_unref(struct sbx_tls *tls); /* NULL is fine */

/* SHA-256 over the server's certificate, "AB:CD:...", with the NUL. */
#define SBX_TLS_FINGERPRINT 96u
void sbx_tls_fingerprint(const struct sbx_tls *tls, char text[SBX_TLS_FINGERPRINT]);

/* Makes a transport that will answer a handshake on fd. Takes a reference. 0 or -ENOMEM; fd is the
 * caller's then. */
int sbx_stream_init_tls(struct sbx_stream *s, int fd, struct sbx_tls *tls);

#endif
