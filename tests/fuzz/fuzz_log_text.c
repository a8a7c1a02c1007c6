/* Text of a log. The first byte says which prefixes; then come steps of a byte and, for an entry,
 * as many bytes as that says. Always: valid UTF-8, in which each line has its prefix; and entries
 * that are cut into single bytes give the same text. */
#include "api/log_text.h"
#include "base/utf8.h"

#undef NDEBUG
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_text {
    struct sbx_log_text whole, pieces;
    struct sbx_buf out, cut;
    uint64_t sequence;
};

static void fuzz_entry(struct fuzz_text *f, enum sbx_log_stream stream, const uint8_t *p, size_t n)
{
    struct sbx_entry e = {.sequence = ++f->sequence, .time_ms = f->sequence * 86399999,
                          .stream = stream, .data = p, .len = n};
    if (n == 0)
        return;
    sbx_log_text_put(&f->whole, &e, &f->out);
    for (e.len = 1; n > 0; n--, e.data++)
        sbx_log_text_put(&f->pieces, &e, &f->cut);
}

static void fuzz_flush(struct fuzz_text *f)
{
    assert(sbx_log_text_held(&f->whole) == sbx_log_text_held(&f->pieces));
    sbx_log_text_flush(&f->whole, &f->out);
    sbx_log_text_flush(&f->pieces, &f->cut);
}

static void fuzz_gap(struct fuzz_text *f, uint8_t n)
{
    struct sbx_gap gap = {.from = n, .to = UINT64_MAX, .bytes = n, .bytes_known = n % 2 == 0};
    sbx_log_text_gap(&f->whole, &gap, &f->out);
    sbx_log_text_gap(&f->pieces, &gap, &f->cut);
}

static bool fuzz_begins(const uint8_t *p, size_t n, const char *with)
{
    return n >= strlen(with) && memcmp(p, with, strlen(with)) == 0;
}

static void fuzz_check_lines(const struct sbx_log_text *t, const uint8_t *p, size_t n)
{
    while (n > 0) {
        const uint8_t *end = memchr(p, '\n', n);
        size_t len = end == NULL ? n : (size_t)(end - p) + 1, at = 0;
        if (!fuzz_begins(p, len, "[gap: ")) {
            if (t->timestamps) {
                assert(len >= 27 && p[0] == '[' && p[11] == 'T' && memcmp(p + 24, "Z] ", 3) == 0);
                at = 27;
            }
            assert(!t->labels || fuzz_begins(p + at, len - at, "[stdout] ") ||
                   fuzz_begins(p + at, len - at, "[stderr] ") ||
                   fuzz_begins(p + at, len - at, "[stdout+] ") ||
                   fuzz_begins(p + at, len - at, "[stderr+] "));
        }
        p += len;
        n -= len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_text f = {.sequence = 0};
    bool stamps = size > 0 && (data[0] & 1) != 0, labels = size > 0 && (data[0] & 2) != 0;
    size_t i = 1;
    sbx_buf_init(&f.out);
    sbx_buf_init(&f.cut);
    sbx_log_text_init(&f.whole, stamps, labels);
    sbx_log_text_init(&f.pieces, stamps, labels);
    while (i < size) {
        uint8_t step = data[i++];
        size_t n = step >> 2 < size - i ? step >> 2 : size - i;
        if (step % 4 < 2) {
            fuzz_entry(&f, labels && step % 4 == 1 ? SBX_STREAM_STDERR : SBX_STREAM_STDOUT,
                       data + i, n);
            i += n;
        } else if (step % 4 == 2) {
            fuzz_flush(&f);
        } else {
            fuzz_gap(&f, step);
        }
    }
    sbx_log_text_end(&f.whole, &f.out);
    sbx_log_text_end(&f.pieces, &f.cut);
    assert(sbx_str_eq(sbx_buf_view(&f.out), sbx_buf_view(&f.cut)));
    assert(sbx_utf8_valid_prefix(sbx_buf_data(&f.out), sbx_buf_len(&f.out)) == sbx_buf_len(&f.out));
    fuzz_check_lines(&f.whole, sbx_buf_data(&f.out), sbx_buf_len(&f.out));
    sbx_log_text_deinit(&f.whole);
    sbx_log_text_deinit(&f.pieces);
    sbx_buf_deinit(&f.out);
    sbx_buf_deinit(&f.cut);
    return 0;
}
