/* Base64: encoding agrees with a plain encoder and decodes to what it came from; text that decodes
 * is the one text that encodes to the result, since nothing is tolerated. */
#include "base/base64.h"

#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exact sizes, so that the sanitizer sees a byte too many. */
static void *fuzz_room(size_t n)
{
    void *p = malloc(n > 0 ? n : 1);
    assert(p != NULL);
    return p;
}

static char fuzz_symbol(const uint8_t *p, size_t n, size_t index)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t bit = index * 6, byte = bit / 8;
    unsigned two = (unsigned)p[byte] << 8 | (byte + 1 < n ? p[byte + 1] : 0u);
    return alphabet[two >> (10 - bit % 8) & 63];
}

static void fuzz_encode(const uint8_t *data, size_t size)
{
    size_t text_len = sbx_base64_encoded_len(size), len, at, i;
    char *text = fuzz_room(text_len);
    uint8_t *back = fuzz_room(text_len / 4 * 3);
    sbx_base64_encode(data, size, text);
    for (i = 0; i < text_len; i++)
        assert(text[i] == (i * 6 < size * 8 ? fuzz_symbol(data, size, i) : '='));
    assert(sbx_base64_decode(text, text_len, back, &len, &at) == SBX_BASE64_OK);
    assert(len == size && (size == 0 || memcmp(back, data, size) == 0));
    free(text);
    free(back);
}

static void fuzz_decode(const uint8_t *data, size_t size)
{
    size_t len, at = SIZE_MAX;
    uint8_t *bytes = fuzz_room(size / 4 * 3);
    enum sbx_base64_error e = sbx_base64_decode((const char *)data, size, bytes, &len, &at);
    if (e == SBX_BASE64_OK) {
        char *text = fuzz_room(size);
        assert(sbx_base64_encoded_len(len) == size);
        sbx_base64_encode(bytes, len, text);
        assert(size == 0 || memcmp(text, data, size) == 0);
        free(text);
    } else {
        assert(len == 0);
        assert(at < size || (e != SBX_BASE64_BAD_SYMBOL && e != SBX_BASE64_BAD_LAST));
        assert(e != SBX_BASE64_BAD_LENGTH || size % 4 == 1);
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_encode(data, size);
    fuzz_decode(data, size);
    return 0;
}
