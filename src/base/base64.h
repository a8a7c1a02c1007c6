/* base64.h - RFC 4648, section 4: standard alphabet, always padded, nothing tolerated. */
#ifndef SBX_BASE_BASE64_H
#define SBX_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Encoded length of n bytes, padding included. n <= SIZE_MAX / 2. */
static inline size_t sbx_base64_encoded_len(size_t n)
{
    return (n + 2) / 3 * 4;
}

/* Encodes n bytes into out (exactly sbx_base64_encoded_len(n) bytes, no NUL). This is the hottest
 * function of a followed log: more than 1 GB/s of input is expected of it. */
void sbx_base64_encode(const uint8_t *in, size_t n, char *out);

enum sbx_base64_error {
    SBX_BASE64_OK = 0,
    SBX_BASE64_BAD_SYMBOL,  /* *at: offset of the byte that is not of the alphabet */
    SBX_BASE64_BAD_LENGTH,  /* the input ends inside a quantum: one symbol left over */
    SBX_BASE64_BAD_PADDING, /* padding missing, misplaced or too much */
    SBX_BASE64_BAD_LAST     /* *at: last symbol has bits set that carry no data */
};

/* Decodes n characters into out (room for n / 4 * 3 bytes) and stores the length. `at` is set
 * for the errors that have a place. White space is an error like every other foreign byte. */
enum sbx_base64_error sbx_base64_decode(const char *in, size_t n, uint8_t *out, size_t *out_len,
                                        size_t *at);

#endif
