/* log_tail.c - see log_tail.h.
 *
 * Ends of lines are counted from the end of the log backwards, in ranges of entries that grow,
 * until there are enough of them and each line that is wanted begins in the range. For two streams
 * that is more than counting: the last line of one may have begun long before the other's last
 * hundred, so each stream gets its own number of lines to leave out.
 *
 * All is done in one go, so it is bounded: by SBX_LOG_TAIL_BYTES, and by LOG_TAIL_LOOK entries in
 * the search for what a stream wrote before the range. */
#include "api/log_tail.h"

#include <assert.h>
#include <string.h>

#define LOG_TAIL_STREAMS 3u
#define LOG_TAIL_FIRST 32u   /* entries of the first range */
#define LOG_TAIL_GROWTH 4u
#define LOG_TAIL_LOOK 4096u

/* What a range holds of one stream. */
struct log_tail_part {
    uint64_t entries;
    uint64_t newlines;
    uint64_t last;   /* sequence of the last entry, 0 when there is none */
    bool unfinished; /* that does not end with a newline */
};

struct log_tail_search {
    struct sbx_log *log;
    unsigned streams;
    uint64_t lines;
    uint64_t bound;  /* nothing before that sequence is looked at */
    uint64_t from, to; /* the range, without `to` */
    uint64_t bytes;
    struct log_tail_part parts[LOG_TAIL_STREAMS];
};

static void log_tail_on_data(struct sbx_cursor *c)
{
    (void)c;
}

static bool log_tail_took_some(struct sbx_cursor *c)
{
    (void)c;
    return false;
}

static void log_tail_open(const struct log_tail_search *s, struct sbx_cursor *c, uint64_t from,
                          unsigned streams)
{
    sbx_cursor_open(c, s->log, from, streams, log_tail_on_data, log_tail_took_some);
}

/* The next entry before `to`. What lies around a gap is counted as if it were joined. */
static bool log_tail_next(struct sbx_cursor *c, uint64_t to, struct sbx_entry *e)
{
    struct sbx_gap gap;
    enum sbx_step step;
    do
        step = sbx_cursor_next(c, e, &gap);
    while (step == SBX_STEP_GAP);
    return step == SBX_STEP_ENTRY && e->sequence < to;
}

static uint64_t log_tail_newlines(const struct sbx_entry *e)
{
    const uint8_t *p = e->data, *end = e->data + e->len;
    uint64_t n = 0;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        n++;
        p++;
    }
    return n;
}

static bool log_tail_is_unfinished(const struct sbx_entry *e)
{
    return e->data[e->len - 1] != '\n';
}

/* Moves the beginning of the range back to `from`. */
static void log_tail_extend(struct log_tail_search *s, uint64_t from)
{
    struct log_tail_part older[LOG_TAIL_STREAMS] = {{0}};
    struct sbx_cursor c;
    struct sbx_entry e;
    size_t i;
    log_tail_open(s, &c, from, s->streams);
    while (log_tail_next(&c, s->from, &e)) {
        struct log_tail_part *part = &older[e.stream];
        part->entries++;
        part->newlines += log_tail_newlines(&e);
        part->last = e.sequence;
        part->unfinished = log_tail_is_unfinished(&e);
        s->bytes += e.len;
    }
    sbx_cursor_close(&c);
    for (i = 0; i < LOG_TAIL_STREAMS; i++) {
        s->parts[i].entries += older[i].entries;
        s->parts[i].newlines += older[i].newlines;
        if (s->parts[i].last == 0) {
            s->parts[i].last = older[i].last;
            s->parts[i].unfinished = older[i].unfinished;
        }
    }
    s->from = from;
}

static uint64_t log_tail_ends(const struct log_tail_search *s)
{
    uint64_t n = 0;
    size_t i;
    for (i = 0; i < LOG_TAIL_STREAMS; i++)
        n += s->parts[i].newlines + s->parts[i].unfinished;
    return n;
}

/* Spreads the ends that are too many over the streams, in the order in which they come. */
static void log_tail_share(const struct log_tail_search *s, uint64_t skip[LOG_TAIL_STREAMS])
{
    uint64_t ends = log_tail_ends(s), surplus = ends > s->lines ? ends - s->lines : 0, n;
    struct sbx_cursor c;
    struct sbx_entry e;
    memset(skip, 0, LOG_TAIL_STREAMS * sizeof *skip);
    log_tail_open(s, &c, s->from, s->streams);
    while (surplus > 0 && log_tail_next(&c, s->to, &e)) {
        const struct log_tail_part *part = &s->parts[e.stream];
        n = log_tail_newlines(&e) + (part->unfinished && e.sequence == part->last);
        if (n > surplus)
            n = surplus;
        skip[e.stream] += n;
        surplus -= n;
    }
    sbx_cursor_close(&c);
}

/* Does what the range has of that stream begin with the beginning of a line? */
static bool log_tail_begins(const struct log_tail_search *s, size_t stream)
{
    uint64_t bound = s->from > LOG_TAIL_LOOK ? s->from - LOG_TAIL_LOOK : 1, at;
    struct sbx_cursor c;
    struct sbx_entry e;
    bool unfinished;
    if (bound < s->bound)
        bound = s->bound;
    at = sbx_log_seek_tail(s->log, SBX_STREAMS_OF(stream), s->parts[stream].entries + 1, bound);
    log_tail_open(s, &c, at, SBX_STREAMS_OF(stream));
    unfinished = log_tail_next(&c, s->from, &e) && log_tail_is_unfinished(&e);
    sbx_cursor_close(&c);
    return !unfinished;
}

/* Are all lines that are wanted in the range, from their beginnings? */
static bool log_tail_is_complete(const struct log_tail_search *s,
                                 const uint64_t skip[LOG_TAIL_STREAMS])
{
    size_t i;
    for (i = 0; i < LOG_TAIL_STREAMS; i++) {
        const struct log_tail_part *part = &s->parts[i];
        if (part->newlines + part->unfinished > skip[i] && skip[i] == 0 && !log_tail_begins(s, i))
            return false;
    }
    return true;
}

void sbx_log_tail_find(struct sbx_log *log, unsigned streams, uint64_t lines, uint64_t not_before,
                       struct sbx_log_tail *tail)
{
    struct log_tail_search s = {.log = log, .streams = streams, .lines = lines};
    uint64_t entries = LOG_TAIL_FIRST;
    s.to = sbx_log_last(log) + 1;
    s.bound = not_before > sbx_log_first(log) ? not_before : sbx_log_first(log);
    if (s.to < s.bound)
        s.to = s.bound;
    s.from = s.to;
    memset(tail->skip, 0, sizeof tail->skip);
    while (lines > 0 && s.from > s.bound && s.bytes < SBX_LOG_TAIL_BYTES) {
        uint64_t from = sbx_log_seek_tail(log, streams, entries, s.bound);
        assert(from <= s.from);
        if (from == s.from)
            break; /* what is before cannot be read */
        log_tail_extend(&s, from);
        if (log_tail_ends(&s) >= lines) {
            log_tail_share(&s, tail->skip);
            if (log_tail_is_complete(&s, tail->skip))
                break;
        }
        entries *= LOG_TAIL_GROWTH;
    }
    tail->next = s.from;
}
