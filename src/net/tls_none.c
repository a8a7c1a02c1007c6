/* tls_none.c - the build without TLS; see tls.h. */
#include "net/tls.h"

#include <errno.h>

const char *sbx_tls_backend(void)
{
    return "none";
}

struct sbx_tls *sbx_tls_open(const struct sbx_tls_material *m, struct sbx_err *err)
{
    sbx_err_set(err, ENOTSUP, "%s: this program was built without TLS", m->cert_name);
    return NULL;
}

struct sbx_tls *sbx_tls_ref(struct sbx_tls *tls)
{
    return tls;
}

void sbx_tls_unref(struct sbx_tls *tls)
{
    (void)tls;
}

void sbx_tls_fingerprint(const struct sbx_tls *tls, char text[SBX_TLS_FINGERPRINT])
{
    (void)tls;
    text[0] = '\0';
}

int sbx_stream_init_tls(struct sbx_stream *s, int fd, struct sbx_tls *tls)
{
    (void)s;
    (void)fd;
    (void)tls;
    return -ENOTSUP;
}
