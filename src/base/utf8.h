/* utf8.h - UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef SBX_BASE_UTF8_H
#define SBX_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the valid UTF-8 prefix of p[0..n). n means: all valid. Fast on ASCII runs. */
size_t sbx_utf8_valid_prefix(const uint8_t *p, size_t n);

/* Of bytes that are not a complete valid character at p[0] (n > 0): how many bytes one U+FFFD
 * replaces, which is the "maximal subpart" (Unicode 15, 3.9, table 3-8). Always >= 1. */
size_t sbx_utf8_bad_len(const uint8_t *p, size_t n);

/* How many bytes at the end of p[0..n) are the beginning of a character that further bytes could
 * still complete: 0 to 3. Bytes that nothing can complete do not count. */
size_t sbx_utf8_incomplete_tail(const uint8_t *p, size_t n);

/* Incremental validation, for text that arrives in pieces (RFC 6455, 8.1). Zero is the start. */
struct sbx_utf8_state {
    uint8_t pending[4]; /* first bytes of an unfinished character */
    uint8_t have;
};
/* false as soon as the bytes so far cannot be the beginning of valid UTF-8. */
bool sbx_utf8_feed(struct sbx_utf8_state *s, const uint8_t *p, size_t n);
/* true when no character is unfinished. */
bool sbx_utf8_at_boundary(const struct sbx_utf8_state *s);

/* Writes code point cp as UTF-8; returns 1 to 4. cp must be a scalar value. */
size_t sbx_utf8_encode(uint32_t cp, uint8_t out[4]);

#endif
