/* auth.h - who may use the agent: the bearer token. */
#ifndef SBX_API_AUTH_H
#define SBX_API_AUTH_H

#include "base/str.h"
#include "proto/http_parse.h"

#include <stdbool.h>

/* Does the request carry the token? Authorization: Bearer (RFC 6750, 2.1; the scheme in any case),
 * or, with in_query, the query parameter access_token, because browsers cannot send headers with a
 * WebSocket handshake. Either is enough. Compared in constant time. */
bool sbx_auth_check(struct sbx_str token, const struct sbx_http_request *req, struct sbx_str query,
                    bool in_query);

#endif
