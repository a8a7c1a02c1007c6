/* log_text.h - a log as lines of text: entries in, text out.
 *
 *     [2026-01-30T12:32:45.123Z] [stdout] listening on 8080
 *     ^ timestamps               ^ labels: two streams in one text
 *
 * Bytes are kept as they were written, line ends too, but for those that are not UTF-8: each
 * maximal subpart becomes U+FFFD. It neither finds entries, nor counts time, nor sends anything. */
#ifndef SBX_API_LOG_TEXT_H
#define SBX_API_LOG_TEXT_H

#include "base/buf.h"
#include "proc/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SBX_LOG_TEXT_STREAMS 3u
#define SBX_LOG_TEXT_HELD_BYTES (64u * 1024u)

struct sbx_log_text_stream {
    struct sbx_buf held; /* the unfinished line, as far as it is neither written nor cut */
    uint8_t cut[4];      /* first bytes of a character whose rest is still to come */
    size_t ncut;
    bool begun;          /* a line is under way */
    bool broken;         /* and its beginning was written, as a line of its own */
    uint64_t line;       /* its number, in the order in which lines begin, from 1 */
    uint64_t time_ms;    /* when its first byte was read */
    uint64_t skip;       /* newlines before which nothing is shown */
};

struct sbx_log_text {
    bool timestamps;
    bool labels;          /* the streams are two, and their lines do not mix */
    uint64_t skip_to;     /* last sequence that skip speaks of */
    struct sbx_log_text_stream streams[SBX_LOG_TEXT_STREAMS]; /* by enum sbx_log_stream */
    struct sbx_log_text_stream *open; /* whose unfinished line ends the text so far; may be NULL */
    uint64_t lines;       /* begun so far */
    uint64_t stamp_ms;    /* what the text below shows; empty at first */
    char stamp[48];
    size_t stamp_len;
};

void sbx_log_text_init(struct sbx_log_text *t, bool timestamps, bool labels);
void sbx_log_text_deinit(struct sbx_log_text *t);

/* Leaves out the first `lines` lines of a stream, in entries up to sequence `last`. */
void sbx_log_text_skip(struct sbx_log_text *t, enum sbx_log_stream stream, uint64_t lines,
                       uint64_t last);

/* The next entry. With labels, an unfinished line is held until its end, until it is
 * SBX_LOG_TEXT_HELD_BYTES long, or until it is flushed; otherwise nothing is held but the first
 * bytes of a character. Out of memory shows in out->oom. */
void sbx_log_text_put(struct sbx_log_text *t, const struct sbx_entry *e, struct sbx_buf *out);

/* Number of the oldest line of which something is held, 0 when there is none. */
uint64_t sbx_log_text_held(const struct sbx_log_text *t);
/* Writes what is held of that line. */
void sbx_log_text_flush(struct sbx_log_text *t, struct sbx_buf *out);

/* Something is missing here: a line of its own that says so. */
void sbx_log_text_gap(struct sbx_log_text *t, const struct sbx_gap *gap, struct sbx_buf *out);

/* There is no more: unfinished lines and characters are written as they are. */
void sbx_log_text_end(struct sbx_log_text *t, struct sbx_buf *out);

#endif
