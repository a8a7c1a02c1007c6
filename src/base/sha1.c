/* sha1.c - see sha1.h.
 *
 * The accept key hashes sixty bytes once a connection, so clarity beats speed: the message
 * schedule is kept whole, one loop does the eighty rounds. SHA-1 is broken for signatures; RFC
 * 6455 uses it only to show that the peer understood the handshake. */
#include "base/sha1.h"

#include <assert.h>
#include <string.h>

#define SHA1_BLOCK 64u

static uint32_t sha1_rotl(uint32_t v, unsigned by)
{
    return v << by | v >> (32 - by);
}

/* The function and the constant of round t: FIPS 180-4, sections 4.1.1 and 4.2.1. */
static uint32_t sha1_mix(unsigned t, uint32_t b, uint32_t c, uint32_t d)
{
    if (t < 20)
        return ((b & c) | (~b & d)) + 0x5A827999u;
    if (t < 40)
        return (b ^ c ^ d) + 0x6ED9EBA1u;
    if (t < 60)
        return ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDCu;
    return (b ^ c ^ d) + 0xCA62C1D6u;
}

static void sha1_schedule(const uint8_t *block, uint32_t w[80])
{
    unsigned t;
    for (t = 0; t < 16; t++, block += 4)
        w[t] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 |
               block[3];
    for (; t < 80; t++)
        w[t] = sha1_rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
}

static void sha1_block(uint32_t h[5], const uint8_t *block)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    unsigned t;
    sha1_schedule(block, w);
    for (t = 0; t < 80; t++) {
        uint32_t next = sha1_rotl(a, 5) + sha1_mix(t, b, c, d) + e + w[t];
        e = d;
        d = c;
        c = sha1_rotl(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

static void sha1_put_be(uint8_t *to, uint64_t v, unsigned bytes)
{
    while (bytes > 0) {
        to[--bytes] = (uint8_t)(v & 0xFF);
        v >>= 8;
    }
}

void sbx_sha1(const uint8_t *p, size_t n, uint8_t digest[20])
{
    uint32_t h[5] = {0x67452301u, 0xEFCDAB89u, 0x98BADCFEu, 0x10325476u, 0xC3D2E1F0u};
    uint8_t last[2 * SHA1_BLOCK] = {0};
    size_t whole = n - n % SHA1_BLOCK, rest = n - whole, i;
    /* 0x80 and the bit count need nine bytes; without that room a second block follows. */
    size_t last_len = rest + 9 <= SHA1_BLOCK ? SHA1_BLOCK : 2 * SHA1_BLOCK;

    assert(rest < SHA1_BLOCK);
    for (i = 0; i < whole; i += SHA1_BLOCK)
        sha1_block(h, p + i);
    if (rest > 0)
        memcpy(last, p + whole, rest);
    last[rest] = 0x80;
    sha1_put_be(last + last_len - 8, (uint64_t)n * 8, 8);
    for (i = 0; i < last_len; i += SHA1_BLOCK)
        sha1_block(h, last + i);
    for (i = 0; i < 5; i++)
        sha1_put_be(digest + 4 * i, h[i], 4);
}
