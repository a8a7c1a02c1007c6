/* http_write.h - status lines, header lines and chunks of responses (RFC 9112), pure. */
#ifndef SBX_PROTO_HTTP_WRITE_H
#define SBX_PROTO_HTTP_WRITE_H

#include "base/buf.h"

#include <stddef.h>

/* "Not Found" for 404; "Unknown" for a status that the agent never sends. */
const char *sbx_http_reason(int status);

void sbx_http_put_status(struct sbx_buf *out, int status); /* the whole status line */
void sbx_http_put_header(struct sbx_buf *out, const char *name, struct sbx_str value);
void sbx_http_put_header_u64(struct sbx_buf *out, const char *name, uint64_t value);

/* A chunk header of fixed width, so that it can be written before the data is, over a place held
 * free for it. Leading zeros are allowed (RFC 9112, 7.1: 1*HEXDIG). */
#define SBX_HTTP_CHUNK_HEAD 10u /* eight digits, CR, LF */
#define SBX_HTTP_CHUNK_TAIL 2u  /* CR, LF */
void sbx_http_chunk_head(uint8_t out[SBX_HTTP_CHUNK_HEAD], size_t data_len);
#define SBX_HTTP_LAST_CHUNK "0\r\n\r\n"

#endif
