/* Writing JSON: commas, every byte and pair of bytes against a plain escaper, replacement of what
 * is no UTF-8, block borders, and memory running out. */
#include "base/json_read.h"
#include "base/json_write.h"

#include "gate.h"
#include "guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The escape of valid UTF-8, a byte at a time, without quotes. */
static size_t oracle_escape(const char *p, size_t n, char *out)
{
    size_t i, o = 0;
    for (i = 0; i < n; i++) {
        const char *hit = p[i] == '\0' ? NULL : strchr("\b\f\n\r\t\"\\", p[i]);
        if (hit != NULL)
            o += (size_t)sprintf(out + o, "\\%c", "bfnrt\"\\"[hit - "\b\f\n\r\t\"\\"]);
        else if ((unsigned char)p[i] < 0x20)
            o += (size_t)sprintf(out + o, "\\u%04x", (unsigned)p[i]);
        else
            out[o++] = p[i];
    }
    return o;
}

static void begin(struct sbx_json_writer *w, struct sbx_buf *b)
{
    sbx_buf_init(b);
    sbx_json_begin(w, b);
}

static void expect(struct sbx_buf *b, struct sbx_str want)
{
    struct sbx_str got = sbx_buf_view(b);
    assert_false(b->oom);
    if (!sbx_str_eq(got, want))
        fail_msg("got %.*s, not %.*s", (int)got.n, got.p, (int)want.n, want.p);
    sbx_buf_deinit(b);
}

/* Text in, what must stand between the quotes out. */
static void check_string(struct sbx_str text, struct sbx_str want)
{
    uint8_t *in = guard_copy(text.p, text.n);
    char *quoted = test_malloc(want.n + 2);
    struct sbx_json_writer w;
    struct sbx_buf b;
    quoted[0] = quoted[want.n + 1] = '"';
    if (want.n > 0)
        memcpy(quoted + 1, want.p, want.n);
    begin(&w, &b);
    sbx_json_string(&w, (struct sbx_str){(char *)in, text.n});
    expect(&b, (struct sbx_str){quoted, want.n + 2});
    test_free(quoted);
    guard_free(in);
}

static void check_against_oracle(const char *text, size_t n)
{
    char *want = test_malloc(6 * n + 8);
    size_t len = oracle_escape(text, n, want);
    check_string((struct sbx_str){text, n}, (struct sbx_str){want, len});
    test_free(want);
}

static void test_structure(void **state)
{
    struct sbx_json_writer w;
    struct sbx_buf b;
    (void)state;
    begin(&w, &b);
    sbx_json_object(&w);
    sbx_json_put_string(&w, "a", SBX_STR("x\0y"));
    sbx_json_key(&w, "b");
    sbx_json_array(&w);
    sbx_json_array(&w);
    sbx_json_array_end(&w);
    sbx_json_object(&w);
    sbx_json_object_end(&w);
    sbx_json_u64(&w, 1);
    sbx_json_null(&w);
    sbx_json_raw(&w, SBX_STR("[0]"));
    sbx_json_base64(&w, (const uint8_t *)"fo", 2);
    sbx_json_base64(&w, NULL, 0);
    sbx_json_array_end(&w);
    sbx_json_put_z(&w, "c", "z");
    sbx_json_put_u64(&w, "d", UINT64_MAX);
    sbx_json_put_bool(&w, "e", true);
    sbx_json_put_bool(&w, "f", false);
    sbx_json_object_end(&w);
    expect(&b, SBX_STR("{\"a\":\"x\\u0000y\",\"b\":[[],{},1,null,[0],\"Zm8=\",\"\"],\"c\":\"z\","
                       "\"d\":18446744073709551615,\"e\":true,\"f\":false}"));
}

static void test_integers(void **state)
{
    struct sbx_json_writer w;
    struct sbx_buf b;
    (void)state;
    begin(&w, &b);
    sbx_json_array(&w);
    sbx_json_i64(&w, 0);
    sbx_json_i64(&w, -1);
    sbx_json_i64(&w, INT64_MAX);
    sbx_json_i64(&w, INT64_MIN);
    sbx_json_array_end(&w);
    expect(&b, SBX_STR("[0,-1,9223372036854775807,-9223372036854775808]"));
}

static void test_named_escapes(void **state)
{
    (void)state;
    check_string(SBX_STR(""), SBX_STR(""));
    check_string((struct sbx_str){NULL, 0}, SBX_STR(""));
    check_string(SBX_STR("\b\f\n\r\t\"\\/"), SBX_STR("\\b\\f\\n\\r\\t\\\"\\\\/"));
    check_string(SBX_STR("\0\x01\x1B\x1F\x7F"), SBX_STR("\\u0000\\u0001\\u001b\\u001f\x7F"));
    check_string(SBX_STR("\xC3\xA4\xE2\x80\xA8\xF0\x9F\x98\x80"),
                 SBX_STR("\xC3\xA4\xE2\x80\xA8\xF0\x9F\x98\x80"));
}

static void test_every_pair_of_ascii(void **state)
{
    int a, c;
    (void)state;
    for (a = 0; a < 0x80; a++) {
        for (c = 0; c < 0x80; c++) {
            char text[2] = {(char)a, (char)c};
            check_against_oracle(text, 2);
        }
    }
}

/* A byte that needs an escape at every offset of a text longer than any fast path's step. */
static void test_special_at_every_offset(void **state)
{
    static const char specials[] = {'\n', '"', '\\', '\0', '\x1F'};
    size_t at, i, n;
    (void)state;
    for (i = 0; i < sizeof specials; i++) {
        for (at = 0; at < 70; at++) {
            for (n = at + 1; n < at + 40; n += 13) {
                char text[128];
                memset(text, '~', sizeof text);
                text[at] = specials[i];
                check_against_oracle(text, n);
            }
        }
    }
}

static void test_runs_of_every_length(void **state)
{
    size_t step, i;
    (void)state;
    for (step = 1; step < 40; step++) {
        char text[3000];
        memset(text, ' ', sizeof text);
        for (i = step - 1; i < sizeof text; i += step)
            text[i] = '\x02';
        check_against_oracle(text, sizeof text - step % 7);
    }
}

static void test_invalid_utf8_is_replaced(void **state)
{
    (void)state;
    check_string(SBX_STR("\xFF"), SBX_STR("\xEF\xBF\xBD"));
    check_string(SBX_STR("a\xC3"), SBX_STR("a\xEF\xBF\xBD"));
    check_string(SBX_STR("\xF0\x9F\x98" "\n"), SBX_STR("\xEF\xBF\xBD\\n"));
    check_string(SBX_STR("\xED\xA0\x80"), SBX_STR("\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"));
    check_string(SBX_STR("\xC0\xAF"), SBX_STR("\xEF\xBF\xBD\xEF\xBF\xBD"));
    check_string(SBX_STR("a\xF1\x80\x80\xE1\x80\xC2" "b\x80" "c\x80\xBF" "d"),
                 SBX_STR("a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" "b\xEF\xBF\xBD" "c\xEF\xBF\xBD"
                         "\xEF\xBF\xBD" "d"));
}

/* Characters of two to four bytes across every border that the writer may cut at. */
static void test_long_text_keeps_characters(void **state)
{
    static const char *const chars[] = {"\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    size_t i, shift, n;
    (void)state;
    for (i = 0; i < 3; i++) {
        for (shift = 0; shift < 5; shift++) {
            char text[5000];
            memset(text, 'x', shift);
            for (n = shift; n + 4 <= sizeof text; n += strlen(chars[i]))
                memcpy(text + n, chars[i], strlen(chars[i]));
            check_string((struct sbx_str){text, n}, (struct sbx_str){text, n});
        }
    }
}

static void write_much(void *ctx, const struct gate *g)
{
    struct sbx_json_writer w;
    struct sbx_buf b;
    char *text = ctx;
    begin(&w, &b);
    sbx_json_object(&w);
    sbx_json_put_string(&w, "text", (struct sbx_str){text, 5000});
    sbx_json_key(&w, "bytes");
    sbx_json_base64(&w, (const uint8_t *)text, 20000);
    sbx_json_put_u64(&w, "n", 5);
    sbx_json_object_end(&w);
    assert_true(b.oom == gate_hit(g));
    sbx_buf_deinit(&b);
}

static void test_no_memory(void **state)
{
    char *text = test_calloc(1, 20000);
    (void)state;
    assert_true(gate_each(write_much, text) >= 3);
    test_free(text);
}

/* What is written is read back the same. */
static void test_reads_back(void **state)
{
    struct sbx_json_writer w;
    struct sbx_json_doc doc;
    struct sbx_buf b;
    struct sbx_err err;
    char text[256];
    size_t i;
    (void)state;
    for (i = 0; i < 128; i++)
        text[i] = (char)i;
    for (i = 0; i < 128; i += 2)
        memcpy(text + 128 + i, "\xC3\xBF", 2);
    begin(&w, &b);
    sbx_json_string(&w, (struct sbx_str){text, sizeof text});
    assert_int_equal(sbx_json_parse(&doc, sbx_buf_view(&b), &err), 0);
    assert_true(sbx_str_eq(doc.root->text, (struct sbx_str){text, sizeof text}));
    sbx_json_doc_deinit(&doc);
    sbx_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_named_escapes),
        cmocka_unit_test(test_every_pair_of_ascii),
        cmocka_unit_test(test_special_at_every_offset),
        cmocka_unit_test(test_runs_of_every_length),
        cmocka_unit_test(test_invalid_utf8_is_replaced),
        cmocka_unit_test(test_long_text_keeps_characters),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
