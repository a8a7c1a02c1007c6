/* The last lines of a log, against a model that has all lines and takes the last of them. */
#include "api/log_tail.h"
#include "api/log_text.h"

#include "log_rig.h"

#include <stdio.h>

#define OUT SBX_STREAM_STDOUT
#define ERR SBX_STREAM_STDERR
#define STDOUT_ALONE SBX_STREAMS_OF(SBX_STREAM_STDOUT)
#define MOST_LINES 4000u
#define MOST_TEXT 100000u

/* One entry: the commit keeps it apart from the next one. */
static void say_bytes(enum sbx_log_stream stream, const char *p, size_t n)
{
    size_t room;
    uint8_t *to = sbx_log_reserve(&t.log, &room);
    assert_non_null(to);
    assert_true(n > 0 && n <= room);
    memcpy(to, p, n);
    sbx_log_append(&t.log, n, stream);
    commit();
}

static void say(enum sbx_log_stream stream, const char *text)
{
    say_bytes(stream, text, strlen(text));
}

/* The text that a reader gets who asks for the last lines. */
static void read_tail(unsigned streams, uint64_t lines, uint64_t not_before, struct sbx_buf *out)
{
    struct sbx_log_tail tail;
    struct sbx_log_text text;
    struct reader r;
    size_t i;
    sbx_log_tail_find(&t.log, streams, lines, not_before, &tail);
    assert_true(tail.next >= not_before);
    sbx_log_text_init(&text, false, streams == SBX_STREAMS_COMBINED);
    for (i = 0; i < SBX_LOG_TEXT_STREAMS; i++)
        sbx_log_text_skip(&text, (enum sbx_log_stream)i, tail.skip[i], sbx_log_last(&t.log));
    open_reader(&r, tail.next, streams);
    while (sbx_cursor_next(&r.cursor, &r.e, &r.gap) == SBX_STEP_ENTRY)
        sbx_log_text_put(&text, &r.e, out);
    sbx_cursor_close(&r.cursor);
    sbx_log_text_end(&text, out);
    sbx_log_text_deinit(&text);
}

static void expect_from(unsigned streams, uint64_t lines, uint64_t not_before, const char *want)
{
    struct sbx_buf out;
    sbx_buf_init(&out);
    read_tail(streams, lines, not_before, &out);
    if (!sbx_str_eq_z(sbx_buf_view(&out), want))
        fail_msg("\"%.*s\" is not \"%s\"", (int)sbx_buf_len(&out),
                 (const char *)sbx_buf_data(&out), want);
    sbx_buf_deinit(&out);
}

static void expect(unsigned streams, uint64_t lines, const char *want)
{
    expect_from(streams, lines, 1, want);
}

static void test_one_stream(void **state)
{
    (void)state;
    open_log(100000);
    expect(STDOUT_ALONE, 5, "");
    say(OUT, "a\nb\nc");
    expect(STDOUT_ALONE, 0, "");
    expect(STDOUT_ALONE, 1, "c");
    expect(STDOUT_ALONE, 2, "b\nc");
    expect(STDOUT_ALONE, 3, "a\nb\nc");
    expect(STDOUT_ALONE, UINT64_MAX, "a\nb\nc");
    say(ERR, "x\n");
    say(OUT, "c\n");
    say(OUT, "\n");
    expect(STDOUT_ALONE, 1, "\n");
    expect(STDOUT_ALONE, 2, "cc\n\n");
    expect(SBX_STREAMS_OF(SBX_STREAM_STDERR), 9, "x\n");
    expect(SBX_STREAMS_PTY, 9, "");
    close_log();
}

static void test_two_streams(void **state)
{
    (void)state;
    open_log(100000);
    say(ERR, "begun ");
    say(OUT, "a\nb\n");
    say(ERR, "early\n");
    say(OUT, "c\nd");
    expect(SBX_STREAMS_COMBINED, 1, "[stdout] d");
    expect(SBX_STREAMS_COMBINED, 3, "[stderr] begun early\n[stdout] c\n[stdout] d");
    expect(SBX_STREAMS_COMBINED, 4, "[stdout] b\n[stderr] begun early\n[stdout] c\n[stdout] d");
    close_log();
}

/* An unfinished line that nobody has gone on with for long is not among the last. */
static void test_forgotten_line(void **state)
{
    (void)state;
    open_log(100000);
    say(ERR, "name? ");
    say(OUT, "a\nb\n");
    expect(SBX_STREAMS_COMBINED, 2, "[stdout] a\n[stdout] b\n");
    expect(SBX_STREAMS_COMBINED, 3, "[stdout] a\n[stdout] b\n[stderr] name? ");
    close_log();
}

static void test_not_before_a_sequence(void **state)
{
    (void)state;
    open_log(100000);
    say(OUT, "a\nb");
    say(OUT, "b\nc\n");
    expect_from(STDOUT_ALONE, 9, 2, "b\nc\n");
    expect_from(STDOUT_ALONE, 1, 2, "c\n");
    expect_from(STDOUT_ALONE, 9, 3, "");
    expect_from(STDOUT_ALONE, 9, 77, "");
    close_log();
}

/* A line that many entries hold, behind thousands of entries of the other stream. */
static void test_line_that_began_long_ago(void **state)
{
    unsigned i;
    (void)state;
    open_log(1000000);
    say(ERR, "first\nlong ");
    for (i = 0; i < 3000; i++)
        say(OUT, ".\n");
    say(ERR, "story");
    expect(SBX_STREAMS_COMBINED, 2, "[stdout] .\n[stderr] long story");
    close_log();
}

static void test_evicted_beginning(void **state)
{
    (void)state;
    open_log(20);
    say(OUT, "123456789\n");
    say(OUT, "abc\ndef");
    say(OUT, "ghi\njkl\n"); /* evicts the first */
    assert_int_equal(sbx_log_first(&t.log), 2);
    expect(STDOUT_ALONE, 99, "abc\ndefghi\njkl\n");
    expect(STDOUT_ALONE, 2, "defghi\njkl\n");
    close_log();
}

/* --- the model --- */

struct line {
    enum sbx_log_stream stream;
    size_t text, len; /* in the texts, without the newline */
    unsigned begun;   /* when it began and last grew */
    unsigned grown;
    bool whole;
};

static struct {
    struct line lines[MOST_LINES];
    size_t count;
    char texts[2][MOST_TEXT];
    size_t used[2];
    struct line *current[2];
    unsigned clock;
} m;

static void model_byte(enum sbx_log_stream stream, char c)
{
    struct line *l = m.current[stream];
    m.clock++;
    if (l == NULL) {
        assert_true(m.count < MOST_LINES && m.used[stream] < MOST_TEXT);
        l = m.current[stream] = &m.lines[m.count++];
        *l = (struct line){.stream = stream, .text = m.used[stream], .begun = m.clock};
    }
    l->grown = m.clock;
    l->whole = c == '\n';
    if (l->whole)
        m.current[stream] = NULL;
    else
        m.texts[stream][m.used[stream]++] = c;
    l->len = m.used[stream] - l->text;
}

/* How many of the lines come after it, when lines are counted by where they end. */
static size_t model_after(const struct line *l, unsigned streams)
{
    size_t i, n = 0;
    for (i = 0; i < m.count; i++)
        n += (streams & SBX_STREAMS_OF(m.lines[i].stream)) != 0 && m.lines[i].grown > l->grown;
    return n;
}

/* Whole lines in the order of their ends, then the unfinished in the order of their beginnings. */
static const struct line *model_next(const struct line *after, unsigned streams, uint64_t lines)
{
    const struct line *best = NULL;
    size_t i;
    for (i = 0; i < m.count; i++) {
        const struct line *l = &m.lines[i];
        uint64_t place = l->whole ? l->grown : (uint64_t)m.clock + l->begun;
        uint64_t least = best == NULL ? UINT64_MAX
                         : best->whole ? best->grown : (uint64_t)m.clock + best->begun;
        uint64_t from = after == NULL ? 0
                        : after->whole ? after->grown : (uint64_t)m.clock + after->begun;
        if ((streams & SBX_STREAMS_OF(l->stream)) != 0 && place > from && place < least &&
            model_after(l, streams) < lines)
            best = l;
    }
    return best;
}

static void model_tail(unsigned streams, uint64_t lines, struct sbx_buf *out)
{
    const struct line *l = NULL, *before;
    while (before = l, (l = model_next(before, streams, lines)) != NULL) {
        if (before != NULL && !before->whole)
            sbx_buf_add_byte(out, '\n');
        if (streams == SBX_STREAMS_COMBINED)
            sbx_buf_add_z(out, l->stream == OUT ? "[stdout] " : "[stderr] ");
        sbx_buf_add(out, m.texts[l->stream] + l->text, l->len);
        if (l->whole)
            sbx_buf_add_byte(out, '\n');
    }
}

static void fill_model(struct random *r, unsigned entries)
{
    size_t rare = 1 + random_below(r, 30), newlines = 1 + random_below(r, 20);
    memset(&m, 0, sizeof m);
    while (entries-- > 0) {
        enum sbx_log_stream stream = random_below(r, rare + 1) == 0 ? ERR : OUT;
        char text[20];
        size_t i, n = 1 + random_below(r, sizeof text - 1);
        for (i = 0; i < n; i++) {
            text[i] = random_below(r, newlines) == 0 ? '\n' : (char)('a' + random_below(r, 26));
            model_byte(stream, text[i]);
        }
        say_bytes(stream, text, n);
    }
}

static void test_against_the_model(void **state)
{
    static const unsigned sets[] = {SBX_STREAMS_COMBINED, SBX_STREAMS_COMBINED, STDOUT_ALONE,
                                    SBX_STREAMS_OF(SBX_STREAM_STDERR)};
    struct random r = {11};
    unsigned round, k;
    (void)state;
    for (round = 0; round < 60; round++) {
        open_log(1000000);
        fill_model(&r, (unsigned)random_below(&r, 250));
        for (k = 0; k < 12; k++) {
            unsigned streams = sets[random_below(&r, 4)];
            uint64_t lines = random_below(&r, k < 8 ? 12 : 300);
            struct sbx_buf want, got;
            sbx_buf_init(&want);
            sbx_buf_init(&got);
            model_tail(streams, lines, &want);
            read_tail(streams, lines, 1, &got);
            if (!sbx_str_eq(sbx_buf_view(&want), sbx_buf_view(&got)))
                fail_msg("round %u, %u lines of %u: \"%.*s\" is not \"%.*s\"", round,
                         (unsigned)lines, streams, (int)sbx_buf_len(&got),
                         (const char *)sbx_buf_data(&got), (int)sbx_buf_len(&want),
                         (const char *)sbx_buf_data(&want));
            sbx_buf_deinit(&want);
            sbx_buf_deinit(&got);
        }
        close_log();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_stream),
        cmocka_unit_test(test_two_streams),
        cmocka_unit_test(test_forgotten_line),
        cmocka_unit_test(test_not_before_a_sequence),
        cmocka_unit_test(test_line_that_began_long_ago),
        cmocka_unit_test(test_evicted_beginning),
        cmocka_unit_test(test_against_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
