/* tls_cert_none.c - the build without TLS makes no certificates; see tls_cert.h. */
#include "net/tls_cert.h"

#include <errno.h>

int sbx_tls_make_key(struct sbx_buf *out, struct sbx_err *err)
{
    (void)out;
    return sbx_err_set(err, ENOTSUP, "a key cannot be made: this program was built without TLS");
}

int sbx_tls_make_cert(struct sbx_buf *out, struct sbx_str key_pem, const char *const *names,
                      size_t nnames, uint64_t now_s, struct sbx_err *err)
{
    (void)out;
    (void)key_pem;
    (void)names;
    (void)nnames;
    (void)now_s;
    return sbx_err_set(err, ENOTSUP,
                       "a certificate cannot be made: this program was built without TLS");
}

bool sbx_tls_cert_serves(struct sbx_str cert_pem, struct sbx_str key_pem, const char *const *names,
                         size_t nnames, uint64_t now_s, unsigned days)
{
    (void)cert_pem;
    (void)key_pem;
    (void)names;
    (void)nnames;
    (void)now_s;
    (void)days;
    return false;
}
