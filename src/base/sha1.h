/* sha1.h - SHA-1 (FIPS 180-4), for the WebSocket accept key alone (RFC 6455, 4.2.2). */
#ifndef SBX_BASE_SHA1_H
#define SBX_BASE_SHA1_H

#include <stddef.h>
#include <stdint.h>

void sbx_sha1(const uint8_t *p, size_t n, uint8_t digest[20]);

#endif
