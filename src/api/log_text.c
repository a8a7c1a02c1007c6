/* log_text.c - see log_text.h.
 *
 * The text so far ends either with a whole line or inside the line of one stream, the open one.
 * Output of that stream goes straight on. Output of another is held until it is a whole line, which
 * is what keeps lines from mixing; only then, or when it has been held too long, is the open line
 * broken off by a newline that its program did not write. What comes later of a broken line gets a
 * label with a plus, "[stdout+] ", so that a reader can put the pieces together.
 *
 * Without labels there is one stream, always open while it is inside a line: nothing waits. The
 * newline that is missing at the very end is not made up; one between two lines is.
 *
 * What holds:
 *   - held is valid UTF-8 without a newline, and empty for the open stream;
 *   - broken or open implies begun. */
#include "api/log_text.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOG_TEXT_YEAR_9999_MS UINT64_C(253402300799999)

void sbx_log_text_init(struct sbx_log_text *t, bool timestamps, bool labels)
{
    size_t i;
    *t = (struct sbx_log_text){.timestamps = timestamps, .labels = labels};
    for (i = 0; i < SBX_LOG_TEXT_STREAMS; i++)
        sbx_buf_init(&t->streams[i].held);
}

void sbx_log_text_deinit(struct sbx_log_text *t)
{
    size_t i;
    for (i = 0; i < SBX_LOG_TEXT_STREAMS; i++)
        sbx_buf_deinit(&t->streams[i].held);
}

void sbx_log_text_skip(struct sbx_log_text *t, enum sbx_log_stream stream, uint64_t lines,
                       uint64_t last)
{
    t->streams[stream].skip = lines;
    t->skip_to = last;
}

/* --- characters --- */

static void log_text_put_replacement(struct sbx_buf *out)
{
    sbx_buf_add(out, "\xEF\xBF\xBD", 3);
}

/* Completes the character that an earlier piece began. Returns how many bytes that took. */
static size_t log_text_finish_character(struct sbx_log_text_stream *s, const uint8_t *p, size_t n,
                                        struct sbx_buf *out)
{
    size_t used = 0;
    while (s->ncut > 0 && used < n) {
        assert(s->ncut < sizeof s->cut);
        s->cut[s->ncut++] = p[used++];
        if (sbx_utf8_valid_prefix(s->cut, s->ncut) == s->ncut) {
            sbx_buf_add(out, s->cut, s->ncut);
            s->ncut = 0;
        } else if (sbx_utf8_incomplete_tail(s->cut, s->ncut) != s->ncut) {
            log_text_put_replacement(out);
            s->ncut = 0;
            used--; /* the last byte begins something else */
        }
    }
    return used;
}

static void log_text_put_clean(struct sbx_log_text_stream *s, const uint8_t *p, size_t n,
                               struct sbx_buf *out)
{
    size_t at = log_text_finish_character(s, p, n, out);
    while (at < n) {
        size_t valid = sbx_utf8_valid_prefix(p + at, n - at);
        sbx_buf_add(out, p + at, valid);
        at += valid;
        if (at == n)
            break;
        if (sbx_utf8_incomplete_tail(p + at, n - at) == n - at) {
            memcpy(s->cut, p + at, n - at);
            s->ncut = n - at;
            break;
        }
        log_text_put_replacement(out);
        at += sbx_utf8_bad_len(p + at, n - at);
    }
}

/* --- lines --- */

/* Lines of one entry have the same time, so its text is made once for them. */
static void log_text_put_stamp(struct sbx_log_text *t, uint64_t ms, struct sbx_buf *out)
{
    if (t->stamp_len == 0 || ms != t->stamp_ms) {
        uint64_t shown = ms < LOG_TEXT_YEAR_9999_MS ? ms : LOG_TEXT_YEAR_9999_MS;
        time_t seconds = (time_t)(shown / 1000);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        t->stamp_ms = ms;
        t->stamp_len = strftime(t->stamp, sizeof t->stamp, "[%Y-%m-%dT%H:%M:%S", &tm);
        t->stamp_len += (size_t)snprintf(t->stamp + t->stamp_len, sizeof t->stamp - t->stamp_len,
                                         ".%03uZ] ", (unsigned)(shown % 1000));
    }
    sbx_buf_add(out, t->stamp, t->stamp_len);
}

static void log_text_put_prefix(struct sbx_log_text *t, const struct sbx_log_text_stream *s,
                                struct sbx_buf *out)
{
    if (t->timestamps)
        log_text_put_stamp(t, s->time_ms, out);
    if (!t->labels)
        return;
    sbx_buf_add_z(out, s == &t->streams[SBX_STREAM_STDERR] ? "[stderr" : "[stdout");
    sbx_buf_add_z(out, s->broken ? "+] " : "] ");
}

/* Makes the line of that stream the one that ends the text. */
static void log_text_open(struct sbx_log_text *t, struct sbx_log_text_stream *s,
                          struct sbx_buf *out)
{
    assert(s->begun);
    if (t->open == s)
        return;
    if (t->open != NULL) {
        sbx_buf_add_byte(out, '\n');
        t->open->broken = true;
    }
    log_text_put_prefix(t, s, out);
    sbx_buf_add_str(out, sbx_buf_view(&s->held));
    sbx_buf_deinit(&s->held);
    t->open = s;
}

static void log_text_begin_line(struct sbx_log_text *t, struct sbx_log_text_stream *s,
                                uint64_t time_ms)
{
    if (s->begun)
        return;
    s->begun = true;
    s->line = ++t->lines;
    s->time_ms = time_ms;
}

static void log_text_end_line(struct sbx_log_text *t, struct sbx_log_text_stream *s)
{
    assert(t->open == s && s->ncut == 0);
    s->begun = s->broken = false;
    t->open = NULL;
}

/* Up to a whole line, or more where lines make no difference. */
static void log_text_put_piece(struct sbx_log_text *t, struct sbx_log_text_stream *s,
                               const uint8_t *p, size_t n, struct sbx_buf *out)
{
    bool ends = p[n - 1] == '\n';
    if (ends || !t->labels || t->open == s) {
        log_text_open(t, s, out);
        log_text_put_clean(s, p, n, out);
    } else {
        log_text_put_clean(s, p, n, &s->held);
        if (s->held.oom)
            out->oom = true;
        if (sbx_buf_len(&s->held) >= SBX_LOG_TEXT_HELD_BYTES)
            log_text_open(t, s, out);
    }
    if (ends)
        log_text_end_line(t, s);
}

/* How many bytes of the entry are not to be shown. */
static size_t log_text_skipped(struct sbx_log_text *t, struct sbx_log_text_stream *s,
                               const struct sbx_entry *e)
{
    size_t at = 0;
    if (e->sequence > t->skip_to)
        s->skip = 0;
    while (s->skip > 0 && at < e->len) {
        const uint8_t *end = memchr(e->data + at, '\n', e->len - at);
        if (end == NULL)
            return e->len;
        at = (size_t)(end - e->data) + 1;
        s->skip--;
    }
    return at;
}

void sbx_log_text_put(struct sbx_log_text *t, const struct sbx_entry *e, struct sbx_buf *out)
{
    struct sbx_log_text_stream *s = &t->streams[e->stream];
    bool prefixes = t->timestamps || t->labels;
    size_t at = log_text_skipped(t, s, e);
    while (at < e->len) {
        const uint8_t *p = e->data + at;
        const uint8_t *end = prefixes ? memchr(p, '\n', e->len - at) : NULL;
        size_t n = end != NULL ? (size_t)(end - p) + 1 : e->len - at;
        log_text_begin_line(t, s, e->time_ms);
        log_text_put_piece(t, s, p, n, out);
        at += n;
    }
}

/* Of which stream is the oldest line that is not written as far as it is known? Of none:
 * SBX_LOG_TEXT_STREAMS. */
static size_t log_text_oldest(const struct sbx_log_text *t, bool cut_counts)
{
    size_t i, oldest = SBX_LOG_TEXT_STREAMS;
    for (i = 0; i < SBX_LOG_TEXT_STREAMS; i++) {
        const struct sbx_log_text_stream *s = &t->streams[i];
        if (sbx_buf_len(&s->held) == 0 && !(cut_counts && s->ncut > 0))
            continue;
        if (oldest == SBX_LOG_TEXT_STREAMS || s->line < t->streams[oldest].line)
            oldest = i;
    }
    return oldest;
}

uint64_t sbx_log_text_held(const struct sbx_log_text *t)
{
    size_t i = log_text_oldest(t, false);
    return i == SBX_LOG_TEXT_STREAMS ? 0 : t->streams[i].line;
}

void sbx_log_text_flush(struct sbx_log_text *t, struct sbx_buf *out)
{
    size_t i = log_text_oldest(t, false);
    if (i != SBX_LOG_TEXT_STREAMS)
        log_text_open(t, &t->streams[i], out);
}

static void log_text_end_character(struct sbx_log_text_stream *s, struct sbx_buf *out)
{
    if (s->ncut > 0)
        log_text_put_replacement(out);
    s->ncut = 0;
}

void sbx_log_text_end(struct sbx_log_text *t, struct sbx_buf *out)
{
    size_t i;
    if (t->open != NULL)
        log_text_end_character(t->open, out);
    while ((i = log_text_oldest(t, true)) != SBX_LOG_TEXT_STREAMS) {
        log_text_open(t, &t->streams[i], out);
        log_text_end_character(&t->streams[i], out);
    }
}

void sbx_log_text_gap(struct sbx_log_text *t, const struct sbx_gap *gap, struct sbx_buf *out)
{
    size_t i;
    sbx_log_text_end(t, out);
    if (t->open != NULL)
        sbx_buf_add_byte(out, '\n');
    t->open = NULL;
    for (i = 0; i < SBX_LOG_TEXT_STREAMS; i++)
        t->streams[i].begun = t->streams[i].broken = false;
    sbx_buf_add_z(out, "[gap: ");
    if (gap->bytes_known)
        sbx_buf_add_u64(out, gap->bytes);
    sbx_buf_add_z(out, gap->bytes_known ? " bytes lost, sequences " : "output lost, sequences ");
    sbx_buf_add_u64(out, gap->from);
    sbx_buf_add_z(out, " to ");
    sbx_buf_add_u64(out, gap->to);
    sbx_buf_add_z(out, "]\n");
}
