/* openapi_json.h - the bytes of openapi.json, as GET /v1/openapi.json serves them.
 *
 * The definition is generated from the file by ./amalgamate, so that what the server says of
 * itself and what the repository documents cannot drift apart. */
#ifndef SBX_API_OPENAPI_JSON_H
#define SBX_API_OPENAPI_JSON_H

#include <stddef.h>

extern const unsigned char sbx_openapi_json[]; /* a NUL follows the last byte */
extern const size_t sbx_openapi_json_len;      /* without that NUL */

#endif
