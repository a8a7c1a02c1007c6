/* UTF-8: the whole-text, the replacing and the incremental functions tell one story. */
#include "base/utf8.h"

#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Feeds pieces of `step` bytes; with 0, of lengths that come from the text itself. Returns whether
 * all were taken; once refused, nothing is taken any more. */
static bool fuzz_feed(const uint8_t *data, size_t size, size_t step, struct sbx_utf8_state *s)
{
    bool ok = true;
    size_t i, n;
    memset(s, 0, sizeof *s);
    for (i = 0; i < size; i += n) {
        bool taken;
        n = step > 0 ? step : 1 + data[i] % 7u;
        if (n > size - i)
            n = size - i;
        taken = sbx_utf8_feed(s, data + i, n);
        assert(ok || !taken);
        ok = taken;
    }
    return ok;
}

/* Writes the text with U+FFFD for each bad part; the result must be valid and as long. */
static void fuzz_replace(const uint8_t *data, size_t size)
{
    uint8_t *out = malloc(3 * size + 4);
    size_t i = 0, o = 0;
    assert(out != NULL);
    while (i < size) {
        size_t n = sbx_utf8_valid_prefix(data + i, size - i);
        assert(n <= size - i);
        memcpy(out + o, data + i, n);
        o += n;
        i += n;
        if (i == size)
            break;
        n = sbx_utf8_bad_len(data + i, size - i);
        assert(n >= 1 && n <= 3 && n <= size - i);
        o += sbx_utf8_encode(0xFFFD, out + o);
        i += n;
    }
    assert(sbx_utf8_valid_prefix(out, o) == o);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t valid = sbx_utf8_valid_prefix(data, size), rest = size - valid, step;
    size_t tail = sbx_utf8_incomplete_tail(data, size);
    assert(valid <= size && tail <= 3 && tail <= size);
    assert(sbx_utf8_valid_prefix(data, valid) == valid);
    assert(sbx_utf8_incomplete_tail(data, valid) == 0);
    for (step = 0; step < 6; step++) {
        struct sbx_utf8_state s;
        bool ok = fuzz_feed(data, size, step, &s);
        assert(ok == (rest == 0 || rest == tail));
        assert(sbx_utf8_at_boundary(&s) == (rest == 0));
    }
    fuzz_replace(data, size);
    return 0;
}
