/* tls_cert.h - makes keys and self-signed certificates, for --tls-self-signed. */
#ifndef SBX_NET_TLS_CERT_H
#define SBX_NET_TLS_CERT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SBX_TLS_CERT_DAYS 825u /* the longest that all browsers take */

/* A new P-256 key as PEM (SEC 1 or PKCS #8) behind what is in out. 0 or -errno and err. */
int sbx_tls_make_key(struct sbx_buf *out, struct sbx_err *err);

/* A certificate for a key, signed with it, as PEM behind what is in out: subjectAltName has
 * every name, as iPAddress where it is an IP address and as dNSName otherwise; the common name
 * is "sandbox-agent"; valid from a day before now_s (seconds since 1970) for SBX_TLS_CERT_DAYS;
 * usable as its own trust anchor in browsers, curl and Node (basicConstraints CA, pathLen 0,
 * with keyUsage digitalSignature and keyCertSign, extKeyUsage serverAuth); random serial. 0 or
 * -errno. */
int sbx_tls_make_cert(struct sbx_buf *out, struct sbx_str key_pem, const char *const *names,
                      size_t nnames, uint64_t now_s, struct sbx_err *err);

/* Is the certificate of that key, does it have all the names, and is it valid at now_s and for
 * `days` more? */
bool sbx_tls_cert_serves(struct sbx_str cert_pem, struct sbx_str key_pem, const char *const *names,
                         size_t nnames, uint64_t now_s, unsigned days);

#endif
