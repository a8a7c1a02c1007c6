/* tls_rig.h - the client's end of a connection in tests of TLS: mbedTLS over a non-blocking socket,
 * whose descriptor is given by address. */
#ifndef SBX_TESTS_TLS_RIG_H
#define SBX_TESTS_TLS_RIG_H

#include "os/fd.h"
#include "os/rand.h"

#include <errno.h>
#include <mbedtls/ssl.h>
#include <stddef.h>
#include <sys/types.h>

static inline int client_random(void *ctx, unsigned char *p, size_t n)
{
    (void)ctx;
    return sbx_rand_bytes(p, n) < 0 ? -1 : 0;
}

static inline int client_send(void *fd, const unsigned char *p, size_t n)
{
    ssize_t put = sbx_fd_write(*(const int *)fd, p, n);
    return put == -EAGAIN ? MBEDTLS_ERR_SSL_WANT_WRITE : put < 0 ? -1 : (int)put;
}

static inline int client_recv(void *fd, unsigned char *p, size_t n)
{
    ssize_t got = sbx_fd_read(*(const int *)fd, p, n);
    return got == -EAGAIN ? MBEDTLS_ERR_SSL_WANT_READ : got < 0 ? -1 : (int)got;
}

#endif
