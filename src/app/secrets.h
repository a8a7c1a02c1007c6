/* secrets.h - what is read from files and must not be told: tokens, the certificate and its key. */
#ifndef SBX_APP_SECRETS_H
#define SBX_APP_SECRETS_H

#include "api/auth.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* PEM texts; all empty without TLS. */
struct sbx_secrets {
    struct sbx_buf cert, key, client_ca;
};

void sbx_secrets_init(struct sbx_secrets *s);
void sbx_secrets_deinit(struct sbx_secrets *s); /* wipes them */
/* a has what b had, and the other way round. */
void sbx_secrets_swap(struct sbx_secrets *a, struct sbx_secrets *b);

/* Reads a whole file behind what is in out. 0, or -errno and err, which names flag and path: it
 * cannot be read, or has more than `most` bytes, or is a pipe whose writer has not ended within
 * wait_us (-ETIMEDOUT; the same below). */
int sbx_secret_read(struct sbx_buf *out, const char *flag, const char *path, size_t most,
                    uint64_t wait_us, struct sbx_err *err);
/* Makes, or replaces at once, a file of mode 0600 that has those bytes. 0 or -errno. */
int sbx_secret_write(const char *path, struct sbx_str bytes);

/* The token file's tokens in the place of those in t, which stay when something is wrong with it. 0
 * or -errno. */
int sbx_secrets_read_tokens(struct sbx_tokens *t, const char *path, uint64_t wait_us,
                            struct sbx_err *err);
/* The files of --tls-cert, --tls-key and --tls-client-ca; NULL: not given, and left alone. 0 or
 * -errno. What is in them is looked at by sbx_tls_open. */
int sbx_secrets_read_tls(struct sbx_secrets *s, const char *cert, const char *key,
                         const char *client_ca, uint64_t wait_us, struct sbx_err *err);

/* For the server that follows this one: both in an unnamed file, which only descriptors lead to.
 * The tokens are those of a token file: a blank in one, or a '#' at its start, is -EINVAL. The
 * descriptor or -errno. */
int sbx_secrets_pack(const struct sbx_secrets *s, const struct sbx_tokens *t);
/* What such a file has in the place of what is in both, which stays when anything is wrong with it.
 * Not at the descriptor's offset, which others share. 0 or -errno. */
int sbx_secrets_unpack(int fd, struct sbx_secrets *s, struct sbx_tokens *t);

#endif
