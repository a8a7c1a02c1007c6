/* certificates.h - certificate and key of --tls-*: from files, or made by ourselves. */
#ifndef SBX_APP_CERTIFICATES_H
#define SBX_APP_CERTIFICATES_H

#include "app/config.h"
#include "net/tls.h"
#include "os/diag.h"

/* Certificate and key of --tls-self-signed into s, from DIR/tls-cert.pem and DIR/tls-key.pem
 * (0600); made where they are missing or broken. They are for the names and addresses in use, and
 * kept so that they stay the same for those who pinned them: a certificate is made anew, for the
 * same key, when it ends within a month, or lacks an address listened on or a name of --allow-host.
 * dir NULL, or a directory that cannot be written: they are kept in memory only, with a warning,
 * and what is in s already stays as long as it serves. 0 or -errno; s is unchanged then. */
int sbx_certificates_own(struct sbx_secrets *s, const struct sbx_config *c, const char *dir,
                         const struct sbx_diag *diag, struct sbx_err *err);

/* All that --tls-* asks for, read again and looked at, in the place of what is in s, which stays
 * when something is wrong. Without these flags nothing. 0 or -errno. */
int sbx_certificates_read(struct sbx_secrets *s, const struct sbx_config *c, const char *dir,
                          const struct sbx_diag *diag, struct sbx_err *err);

/* What s has, for connections. NULL and err. */
struct sbx_tls *sbx_certificates_open(const struct sbx_secrets *s, const struct sbx_config *c,
                                      struct sbx_err *err);

#endif
