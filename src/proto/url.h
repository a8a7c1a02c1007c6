/* url.h - request targets (RFC 9112, 3.2; RFC 3986): split, percent-decode, walk the query. */
#ifndef SBX_PROTO_URL_H
#define SBX_PROTO_URL_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct sbx_url {
    struct sbx_str path;      /* as sent, still encoded; "*" for asterisk-form */
    struct sbx_str query;     /* without '?', as sent; empty when absent */
    struct sbx_str authority; /* of absolute-form, else empty */
};

/* Splits origin-form, absolute-form (http:// or https://, any case; an empty path counts as "/")
 * or "*". 0, or -EINVAL. A fragment is not allowed in a request target. */
int sbx_url_split(struct sbx_str target, struct sbx_url *url);

/* Percent-decodes s into out (room for s.n bytes); '+' becomes a blank when plus_is_blank. An
 * escape that is none ("%ZZ", "%4") stays literal. Returns the length. */
size_t sbx_url_decode(struct sbx_str s, bool plus_is_blank, char *out);

/* Takes the next `name=value` pair (both still encoded, '=' optional) out of *rest. false at the
 * end. Empty pairs ("&&") are skipped. */
bool sbx_url_next_param(struct sbx_str *rest, struct sbx_str *name, struct sbx_str *value);

/* Can this be the `host[:port]` of a Host header or an authority: a registered name or an address,
 * an IPv6 address in brackets, a port of digits? Empty is fine (RFC 9112, 3.2); user information
 * is not (RFC 9110, 4.2.4). Looks at characters only, not at what the name means. */
bool sbx_url_host_ok(struct sbx_str host);

/* Value of a hexadecimal digit, -1 when c is none. */
int sbx_url_hex_value(char c);

#endif
