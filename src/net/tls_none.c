/* tls_none.c - the build without TLS; see tls.h. */
#include "net/tls.h"

const char *sbx_tls_backend(void)
{
    return "none";
}
