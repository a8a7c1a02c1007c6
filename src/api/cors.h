/* cors.h - which web pages may use the agent. */
#ifndef SBX_API_CORS_H
#define SBX_API_CORS_H

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct sbx_cors {
    const char *const *origins; /* allowed ones, compared exactly; "*" allows all */
    size_t norigins;
    struct sbx_str methods;     /* comma-separated; empty: all */
    struct sbx_str headers;     /* likewise, lower case */
    bool credentials;
};

/* Header lines of every answer, whatever the request: Vary, and the credentials flag. */
void sbx_cors_put_common(const struct sbx_cors *cors, struct sbx_buf *out);
/* Access-Control-Allow-Origin where the origin is allowed; nothing else. */
void sbx_cors_put_origin(const struct sbx_cors *cors, struct sbx_str origin, struct sbx_buf *out);
/* The allow lists of a preflight answer; `requested` is Access-Control-Request-Headers. */
void sbx_cors_put_preflight(const struct sbx_cors *cors, struct sbx_str requested,
                            struct sbx_buf *out);

/* May a page of that origin use the API and open terminals? Yes for one that was loaded from
 * this machine (loopback), from the agent itself (the host that was asked; `tls`: and over TLS,
 * as we were), or that is allowed by flag. */
bool sbx_cors_may_ask(const struct sbx_cors *cors, struct sbx_str origin, struct sbx_str host,
                      bool tls);

#endif
