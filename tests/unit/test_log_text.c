/* Lines of text out of entries: whole lines, prefixes, characters, long and unfinished lines. */
#include "api/log_text.h"
#include "base/mem.h"

#include "gate.h"
#include "random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define OUT SBX_STREAM_STDOUT
#define ERR SBX_STREAM_STDERR
#define PTY SBX_STREAM_PTY
#define NOON UINT64_C(1769776365123) /* 2026-01-30T12:32:45.123Z */
#define BAD "\xEF\xBF\xBD"

static struct {
    struct sbx_log_text text;
    struct sbx_buf out;
    uint64_t sequence;
} t;

static void begin(bool timestamps, bool labels)
{
    memset(&t, 0, sizeof t);
    sbx_log_text_init(&t.text, timestamps, labels);
    sbx_buf_init(&t.out);
}

/* One entry. The bytes are in a block of their own, where a sanitizer sees a read past the end. */
static void put_bytes(enum sbx_log_stream stream, uint64_t time_ms, const void *p, size_t n)
{
    uint8_t *copy = malloc(n);
    struct sbx_entry e = {.sequence = ++t.sequence, .time_ms = time_ms, .stream = stream,
                          .data = copy, .len = n};
    assert_non_null(copy);
    memcpy(copy, p, n);
    sbx_log_text_put(&t.text, &e, &t.out);
    free(copy);
}

static void put_at(enum sbx_log_stream stream, uint64_t time_ms, const char *text)
{
    put_bytes(stream, time_ms, text, strlen(text));
}

static void put(enum sbx_log_stream stream, const char *text)
{
    put_at(stream, NOON, text);
}

/* What has come out since this was last asked. */
static void expect(const char *text)
{
    if (!sbx_str_eq_z(sbx_buf_view(&t.out), text))
        fail_msg("\"%.*s\" is not \"%s\"", (int)sbx_buf_len(&t.out),
                 (const char *)sbx_buf_data(&t.out), text);
    sbx_buf_clear(&t.out);
}

static void end(const char *text)
{
    sbx_log_text_end(&t.text, &t.out);
    expect(text);
    assert_int_equal(sbx_log_text_held(&t.text), 0);
    sbx_log_text_deinit(&t.text);
    sbx_buf_deinit(&t.out);
}

/* --- one stream --- */

static void test_plain_is_what_was_written(void **state)
{
    (void)state;
    begin(false, false);
    put(OUT, "a\nb");
    expect("a\nb");
    put(OUT, "c\r\n\n\r\nprompt> ");
    expect("c\r\n\n\r\nprompt> ");
    assert_int_equal(sbx_log_text_held(&t.text), 0);
    put_bytes(OUT, NOON, "\0\x1b[1m\r\t", 7);
    assert_int_equal(sbx_buf_len(&t.out), 7);
    assert_memory_equal(sbx_buf_data(&t.out), "\0\x1b[1m\r\t", 7);
    sbx_buf_clear(&t.out);
    end("");
}

static void test_times(void **state)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } times[] = {
        {0, "[1970-01-01T00:00:00.000Z] x"},
        {NOON, "[2026-01-30T12:32:45.123Z] x"},
        {UINT64_C(951782400007), "[2000-02-29T00:00:00.007Z] x"},
        {UINT64_C(1798761599999), "[2026-12-31T23:59:59.999Z] x"},
        {UINT64_C(4294967296000), "[2106-02-07T06:28:16.000Z] x"},
        {UINT64_MAX, "[9999-12-31T23:59:59.999Z] x"},
    };
    size_t i;
    (void)state;
    for (i = 0; i < sizeof times / sizeof *times; i++) {
        begin(true, false);
        put_at(PTY, times[i].ms, "x");
        expect(times[i].text);
        end("");
    }
}

static void test_time_is_that_of_the_first_byte(void **state)
{
    (void)state;
    begin(true, false);
    put_at(OUT, NOON, "a");
    expect("[2026-01-30T12:32:45.123Z] a");
    put_at(OUT, NOON + 1000, "b\nc\n");
    expect("b\n[2026-01-30T12:32:46.123Z] c\n");
    put_at(OUT, NOON + 2000, "\n\r\n");
    expect("[2026-01-30T12:32:47.123Z] \n[2026-01-30T12:32:47.123Z] \r\n");
    put_at(OUT, NOON + 3000, "\xE2");
    put_at(OUT, NOON + 4000, "\x82\xAC\n");
    expect("[2026-01-30T12:32:48.123Z] \xE2\x82\xAC\n");
    end("");
}

/* --- characters --- */

static void test_what_is_not_utf8_is_replaced(void **state)
{
    (void)state;
    begin(false, false);
    put(OUT, "a\xFFz \xC3\x28 \xF0\x9F\x92z \xED\xA0\x80\n");
    expect("a" BAD "z " BAD "( " BAD "z " BAD BAD BAD "\n");
    put(OUT, "\xC3");
    expect("");
    put(OUT, "\n");
    expect(BAD "\n");
    put(OUT, "\xF0\x9F");
    end(BAD);
}

static void test_characters_across_entries(void **state)
{
    static const char smile[] = "\xF0\x9F\x98\x80";
    size_t i;
    (void)state;
    begin(false, false);
    for (i = 0; i < 3; i++) {
        put_bytes(OUT, NOON, smile + i, 1);
        expect("");
    }
    put_bytes(OUT, NOON, smile + 3, 1);
    expect(smile);
    put(OUT, "\xF0\x9F");
    put(OUT, "\xF0\x9F\x98\x80");
    expect(BAD "\xF0\x9F\x98\x80");
    put(OUT, "\xE2\x82");
    put(OUT, "x");
    expect(BAD "x");
    end("");
}

static void test_characters_of_two_streams(void **state)
{
    (void)state;
    begin(false, true);
    put(OUT, "\xE2");
    put(ERR, "\xC3");
    put(OUT, "\x82");
    put(ERR, "\xA9\n");
    expect("[stderr] \xC3\xA9\n");
    put(OUT, "\xAC\n");
    expect("[stdout] \xE2\x82\xAC\n");
    put(OUT, "\xE2");
    put(ERR, "\xC3");
    end("[stdout] " BAD "\n[stderr] " BAD);
}

/* --- two streams --- */

static void test_lines_do_not_mix(void **state)
{
    (void)state;
    begin(false, true);
    put(OUT, "one\ntw");
    expect("[stdout] one\n");
    put(ERR, "err");
    put(OUT, "o");
    put(ERR, "or\n");
    expect("[stderr] error\n");
    assert_int_equal(sbx_log_text_held(&t.text), 2);
    put(OUT, "\n\nx");
    expect("[stdout] two\n[stdout] \n");
    put(ERR, "y");
    end("[stdout] x\n[stderr] y");
}

static void test_labels_come_after_times(void **state)
{
    (void)state;
    begin(true, true);
    put_at(ERR, NOON, "a");
    put_at(OUT, NOON + 1, "b\n");
    put_at(ERR, NOON + 2, "\n");
    expect("[2026-01-30T12:32:45.124Z] [stdout] b\n[2026-01-30T12:32:45.123Z] [stderr] a\n");
    end("");
}

static void test_flushed_line_goes_on(void **state)
{
    (void)state;
    begin(false, true);
    put(OUT, "name? ");
    assert_int_equal(sbx_log_text_held(&t.text), 1);
    sbx_log_text_flush(&t.text, &t.out);
    expect("[stdout] name? ");
    assert_int_equal(sbx_log_text_held(&t.text), 0);
    put(OUT, "joe");
    expect("joe");
    put(OUT, "\n");
    expect("\n");
    sbx_log_text_flush(&t.text, &t.out);
    end("");
}

static void test_flushed_line_is_broken_off(void **state)
{
    (void)state;
    begin(true, true);
    put_at(OUT, NOON, "name? ");
    sbx_log_text_flush(&t.text, &t.out);
    expect("[2026-01-30T12:32:45.123Z] [stdout] name? ");
    put_at(ERR, NOON + 1, "warn");
    expect("");
    put_at(ERR, NOON + 2, "ing\n");
    expect("\n[2026-01-30T12:32:45.124Z] [stderr] warning\n");
    put_at(OUT, NOON + 3, "jo");
    expect("");
    assert_int_equal(sbx_log_text_held(&t.text), 1);
    put_at(OUT, NOON + 4, "e\nnext\n");
    expect("[2026-01-30T12:32:45.123Z] [stdout+] joe\n[2026-01-30T12:32:45.127Z] [stdout] next\n");
    end("");
}

static void test_oldest_line_is_flushed(void **state)
{
    (void)state;
    begin(false, true);
    put(ERR, "older");
    put(OUT, "newer");
    sbx_log_text_flush(&t.text, &t.out);
    expect("[stderr] older");
    assert_int_equal(sbx_log_text_held(&t.text), 2);
    sbx_log_text_flush(&t.text, &t.out);
    expect("\n[stdout] newer");
    put(ERR, "!");
    end("\n[stderr+] !");
}

static void put_many(enum sbx_log_stream stream, char c, size_t n)
{
    char block[1000];
    memset(block, c, sizeof block);
    for (; n > 0; n -= n < sizeof block ? n : sizeof block)
        put_bytes(stream, NOON, block, n < sizeof block ? n : sizeof block);
}

static void test_long_lines_are_not_held(void **state)
{
    size_t n;
    (void)state;
    begin(false, true);
    put_many(OUT, 'x', SBX_LOG_TEXT_HELD_BYTES - 1);
    put(ERR, "e\n");
    expect("[stderr] e\n");
    put_many(OUT, 'x', 1000);
    n = sbx_buf_len(&t.out);
    assert_true(n >= SBX_LOG_TEXT_HELD_BYTES && n < SBX_LOG_TEXT_HELD_BYTES + 2000);
    assert_memory_equal(sbx_buf_data(&t.out), "[stdout] xxx", 12);
    assert_int_equal(sbx_log_text_held(&t.text), 0);
    sbx_buf_clear(&t.out);
    put(OUT, "yy");
    expect("yy");
    put(ERR, "f\n");
    expect("\n[stderr] f\n");
    put(OUT, "z\n");
    expect("[stdout+] z\n");
    end("");
}

/* --- gaps and lines left out --- */

static void test_gap_is_a_line(void **state)
{
    struct sbx_gap known = {.from = 10, .to = 20, .bytes = 123456, .bytes_known = true};
    struct sbx_gap unknown = {.from = 1, .to = 1};
    (void)state;
    begin(false, false);
    sbx_log_text_gap(&t.text, &unknown, &t.out);
    expect("[gap: output lost, sequences 1 to 1]\n");
    put(OUT, "cut \xC3");
    sbx_log_text_gap(&t.text, &known, &t.out);
    expect("cut " BAD "\n[gap: 123456 bytes lost, sequences 10 to 20]\n");
    put(OUT, "\xA9\n");
    expect(BAD "\n");
    end("");
}

static void test_gap_ends_the_lines_of_both(void **state)
{
    struct sbx_gap gap = {.from = 3, .to = 4, .bytes = 5, .bytes_known = true};
    (void)state;
    begin(true, true);
    put_at(OUT, NOON, "a");
    put_at(ERR, NOON + 1, "b");
    sbx_log_text_gap(&t.text, &gap, &t.out);
    expect("[2026-01-30T12:32:45.123Z] [stdout] a\n[2026-01-30T12:32:45.124Z] [stderr] b\n"
           "[gap: 5 bytes lost, sequences 3 to 4]\n");
    put_at(OUT, NOON + 5, "c\n");
    expect("[2026-01-30T12:32:45.128Z] [stdout] c\n");
    end("");
}

static void test_lines_are_left_out(void **state)
{
    (void)state;
    begin(false, true);
    sbx_log_text_skip(&t.text, OUT, 2, 3);
    sbx_log_text_skip(&t.text, ERR, 2, 3);
    put(OUT, "a\nb");
    put(ERR, "c\nd");
    put(OUT, "b\ne\n");
    expect("[stdout] e\n");
    put(ERR, "live\n"); /* sequence 4: not spoken of any more */
    expect("[stderr] live\n");
    end("");
}

/* --- at large --- */

/* The same entries cut into single bytes give the same text. */
static void test_pieces_make_no_difference(void **state)
{
    static const uint8_t bytes[] = "ab\n\r\xC3\xA9\xE2\x82\xAC\xF0\x9F\xFF\x80";
    struct random r = {7};
    unsigned round;
    (void)state;
    for (round = 0; round < 400; round++) {
        bool labels = round % 2 == 0, stamps = round % 3 == 0;
        struct sbx_log_text pieces;
        struct sbx_buf cut;
        size_t entries = 1 + random_below(&r, 12), k, i;
        begin(stamps, labels);
        sbx_log_text_init(&pieces, stamps, labels);
        sbx_buf_init(&cut);
        for (k = 0; k < entries; k++) {
            uint8_t data[40];
            size_t n = 1 + random_below(&r, sizeof data - 1);
            enum sbx_log_stream stream = labels && random_below(&r, 2) == 0 ? ERR : OUT;
            for (i = 0; i < n; i++)
                data[i] = bytes[random_below(&r, sizeof bytes - 1)];
            put_bytes(stream, NOON + k, data, n);
            for (i = 0; i < n; i++) {
                struct sbx_entry e = {.sequence = k, .time_ms = NOON + k, .stream = stream,
                                      .data = data + i, .len = 1};
                sbx_log_text_put(&pieces, &e, &cut);
            }
        }
        sbx_log_text_end(&t.text, &t.out);
        sbx_log_text_end(&pieces, &cut);
        assert_true(sbx_str_eq(sbx_buf_view(&t.out), sbx_buf_view(&cut)));
        sbx_log_text_deinit(&pieces);
        sbx_buf_deinit(&cut);
        sbx_buf_clear(&t.out);
        end("");
    }
}

static void attempt(void *ctx, const struct gate *g)
{
    struct sbx_gap gap = {.from = 1, .to = 2};
    (void)ctx;
    begin(true, true);
    put(OUT, "held");
    put(ERR, "too");
    put(OUT, " on\n");
    sbx_log_text_gap(&t.text, &gap, &t.out);
    put_many(OUT, 'x', 3000);
    sbx_log_text_end(&t.text, &t.out);
    assert_int_equal(t.out.oom, gate_hit(g));
    sbx_log_text_deinit(&t.text);
    sbx_buf_deinit(&t.out);
}

static void test_out_of_memory_shows(void **state)
{
    (void)state;
    assert_true(gate_each(attempt, NULL) >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_is_what_was_written),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_time_is_that_of_the_first_byte),
        cmocka_unit_test(test_what_is_not_utf8_is_replaced),
        cmocka_unit_test(test_characters_across_entries),
        cmocka_unit_test(test_characters_of_two_streams),
        cmocka_unit_test(test_lines_do_not_mix),
        cmocka_unit_test(test_labels_come_after_times),
        cmocka_unit_test(test_flushed_line_goes_on),
        cmocka_unit_test(test_flushed_line_is_broken_off),
        cmocka_unit_test(test_oldest_line_is_flushed),
        cmocka_unit_test(test_long_lines_are_not_held),
        cmocka_unit_test(test_gap_is_a_line),
        cmocka_unit_test(test_gap_ends_the_lines_of_both),
        cmocka_unit_test(test_lines_are_left_out),
        cmocka_unit_test(test_pieces_make_no_difference),
        cmocka_unit_test(test_out_of_memory_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
