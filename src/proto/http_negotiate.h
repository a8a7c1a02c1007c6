/* http_negotiate.h - which form of a body a client takes, and whether it has it already (RFC 9110,
 * 12.5.3 and 13.1.2); pure. */
#ifndef SBX_PROTO_HTTP_NEGOTIATE_H
#define SBX_PROTO_HTTP_NEGOTIATE_H

#include "proto/http_parse.h"

enum sbx_coding {
    SBX_CODING_NONE,     /* the client takes neither */
    SBX_CODING_IDENTITY, /* the bytes as they are */
    SBX_CODING_GZIP
};

/* For a body that exists as gzip, and as it is where `has_identity`. Without Accept-Encoding all is
 * acceptable, and what needs no decoding is the better guess about a client that names none. */
enum sbx_coding sbx_http_coding(const struct sbx_http_request *req, bool has_identity);

/* Does If-None-Match name the tag, or "*"? `etag` as in the header: "x", or W/"x"; both sides may
 * be weak, the comparison is (RFC 9110, 8.8.3.2). A malformed list ends where it is malformed. */
bool sbx_http_has_etag(const struct sbx_http_request *req, struct sbx_str etag);

#endif
