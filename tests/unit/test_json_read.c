/* Reading JSON: what must be taken and how it reads back, what must be refused and where, the
 * two limits, every shorter piece of each text, and memory running out. Texts lie before a guard
 * page. */
#include "base/json_read.h"
#include "base/json_write.h"

#include "gate.h"
#include "guard.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* --- help --- */

static void dump(struct sbx_json_writer *w, const struct sbx_json *v)
{
    const struct sbx_json *child;
    size_t count = 0;
    switch (v->type) {
    case SBX_JSON_NULL:
        sbx_json_null(w);
        return;
    case SBX_JSON_BOOL:
        sbx_json_bool(w, v->truth);
        return;
    case SBX_JSON_NUMBER:
        sbx_json_raw(w, v->text);
        return;
    case SBX_JSON_STRING:
        sbx_json_string(w, v->text);
        return;
    case SBX_JSON_ARRAY:
    case SBX_JSON_OBJECT:
        break;
    }
    if (v->type == SBX_JSON_ARRAY)
        sbx_json_array(w);
    else
        sbx_json_object(w);
    for (child = v->child; child != NULL; child = child->next, count++) {
        if (v->type == SBX_JSON_OBJECT) {
            sbx_json_string(w, child->key);
            sbx_buf_add_byte(w->out, ':');
            w->comma = false;
        }
        dump(w, child);
    }
    assert_int_equal(count, v->count);
    if (v->type == SBX_JSON_ARRAY)
        sbx_json_array_end(w);
    else
        sbx_json_object_end(w);
}

/* Parses a copy before a guard page, which is gone again before the values are looked at. */
static int parse(struct sbx_json_doc *doc, struct sbx_str text, struct sbx_err *err)
{
    uint8_t *copy = guard_copy(text.p, text.n);
    int rc;
    memset(doc, 0xAA, sizeof *doc);
    err->code = 1;
    err->text[0] = '\0';
    rc = sbx_json_parse(doc, (struct sbx_str){(char *)copy, text.n}, err);
    guard_free(copy);
    if (rc != 0) {
        assert_int_equal(err->code, rc);
        assert_null(doc->root);
        assert_null(doc->values);
        assert_null(doc->strings);
        assert_int_equal(doc->nvalues, 0);
    }
    return rc;
}

static void check_taken(struct sbx_str text, const char *want)
{
    struct sbx_json_writer w;
    struct sbx_json_doc doc;
    struct sbx_buf b;
    struct sbx_err err;
    if (parse(&doc, text, &err) != 0)
        fail_msg("%.*s: %s", (int)text.n, text.p, err.text);
    sbx_buf_init(&b);
    sbx_json_begin(&w, &b);
    dump(&w, doc.root);
    if (!sbx_str_eq_z(sbx_buf_view(&b), want))
        fail_msg("%.*s: read as %.*s", (int)text.n, text.p, (int)sbx_buf_len(&b),
                 (const char *)sbx_buf_data(&b));
    sbx_buf_deinit(&b);
    sbx_json_doc_deinit(&doc);
}

static void check_refused(struct sbx_str text, int code, const char *sentence)
{
    struct sbx_json_doc doc;
    struct sbx_err err;
    int rc = parse(&doc, text, &err);
    if (rc == 0) {
        sbx_json_doc_deinit(&doc);
        fail_msg("%.*s: taken", (int)text.n, text.p);
    }
    assert_int_equal(rc, code);
    if (strcmp(err.text, sentence) != 0)
        fail_msg("%.*s: \"%s\", not \"%s\"", (int)text.n, text.p, err.text, sentence);
}

/* `open` n times, then `close` n times. */
static struct sbx_str nested(const char *open, const char *close, size_t n)
{
    char *text = test_malloc(n * (strlen(open) + strlen(close)) + 1), *p = text;
    size_t i;
    for (i = 0; i < n; i++)
        p += sprintf(p, "%s", open);
    for (i = 0; i < n; i++)
        p += sprintf(p, "%s", close);
    return (struct sbx_str){text, (size_t)(p - text)};
}

static void release(struct sbx_str text)
{
    test_free((void *)(uintptr_t)text.p);
}

/* --- cases --- */

#define JSON(lit) {lit, sizeof(lit) - 1}

static const struct {
    struct sbx_str text;
    const char *want; /* NULL: reads back as it is */
} taken[] = {
    {JSON("null"), NULL},
    {JSON("true"), NULL},
    {JSON("false"), NULL},
    {JSON("0"), NULL},
    {JSON("-0"), NULL},
    {JSON("7"), NULL},
    {JSON("-12"), NULL},
    {JSON("1.5"), NULL},
    {JSON("0.0"), NULL},
    {JSON("1e3"), NULL},
    {JSON("1E+3"), NULL},
    {JSON("0e-00"), NULL},
    {JSON("-1.25E-7"), NULL},
    {JSON("123456789012345678901234567890"), NULL},
    {JSON("1e99999"), NULL},
    {JSON("\"\""), NULL},
    {JSON("\"a\""), NULL},
    {JSON("[]"), NULL},
    {JSON("{}"), NULL},
    {JSON("[[],{},[[]]]"), NULL},
    {JSON("{\"\":0}"), NULL},
    {JSON("{\"a\":{\"b\":[1,{\"c\":null}]},\"d\":true}"), NULL},
    {JSON("{\"a\":1,\"a\":2}"), NULL},
    {JSON(" \t\r\n1 \t\r\n"), "1"},
    {JSON("\n{ \"a\" :\t[ 1 , 2 ]\r, \"b\": { } }\n"), "{\"a\":[1,2],\"b\":{}}"},
    {JSON("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
    {JSON("\"\\u0041\\u00e4\\u20AC\""), "\"A\xC3\xA4\xE2\x82\xAC\""},
    {JSON("\"\\uD83D\\uDE00\\udbff\\udfff\""), "\"\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF\""},
    {JSON("\"\\u0000\""), "\"\\u0000\""},
    {JSON("\"\\uFFFF\\uFFFE\\uE000\\uD7FF\""),
     "\"\xEF\xBF\xBF\xEF\xBF\xBE\xEE\x80\x80\xED\x9F\xBF\""},
    {JSON("{\"\\u0061\\n\":0}"), "{\"a\\n\":0}"},
    {JSON("\"\x7F\xC2\x80\xE2\x80\xA8\xEF\xBF\xBF\xF0\x90\x80\x80\""), NULL},
    {JSON("\"\xEF\xBB\xBF\""), NULL},
    {JSON("\"/* no comment */ // \""), NULL},
};
#define TAKEN (sizeof taken / sizeof taken[0])

#define EARLY "the text ends early: expected "
#define VALUE "expected a value at line 1 column "
#define NAME "expected a member name in '\"'"
#define END "expected the end of the text at line 1 column "
#define UTF8 "invalid UTF-8 at line 1 column "
#define LONE "a lone surrogate at line 1 column "
#define HEX "expected four hexadecimal digits after \\u at line 1 column "
#define CONTROL "a control character inside a string at line 1 column "
#define ESCAPE "an unknown escape at line 1 column "
#define ZERO "a number with a leading zero at line 1 column "
#define BOM "a byte order mark is not allowed at line 1 column 1"

static const struct {
    struct sbx_str text;
    const char *sentence;
} refused[] = {
    {JSON(""), EARLY "a value at line 1 column 1"},
    {JSON(" \n "), EARLY "a value at line 2 column 2"},
    {JSON("\0"), VALUE "1"},
    {JSON("1\0"), END "2"},
    {JSON("\xEF\xBB\xBF{}"), BOM},
    {JSON("\xEF\xBB\xBF"), BOM},
    {JSON("\xFE\xFF\0" "1"), UTF8 "1"},
    {JSON("1\0" "2\0"), END "2"},
    /* numbers */
    {JSON("01"), ZERO "1"},
    {JSON("-01"), ZERO "2"},
    {JSON("00"), ZERO "1"},
    {JSON("[1,\n 012]"), "a number with a leading zero at line 2 column 2"},
    {JSON("+1"), VALUE "1"},
    {JSON(".5"), VALUE "1"},
    {JSON("1."), EARLY "a digit after '.' at line 1 column 3"},
    {JSON("[1.]"), "expected a digit after '.' at line 1 column 4"},
    {JSON("1.e5"), "expected a digit after '.' at line 1 column 3"},
    {JSON("-"), EARLY "a digit after '-' at line 1 column 2"},
    {JSON("-.5"), "expected a digit after '-' at line 1 column 2"},
    {JSON("--1"), "expected a digit after '-' at line 1 column 2"},
    {JSON("- 1"), "expected a digit after '-' at line 1 column 2"},
    {JSON("1e"), EARLY "a digit in the exponent at line 1 column 3"},
    {JSON("[1e+]"), "expected a digit in the exponent at line 1 column 5"},
    {JSON("1e1.5"), END "4"},
    {JSON("0x10"), END "2"},
    {JSON("1_000"), END "2"},
    {JSON("1 2"), END "3"},
    {JSON("\xEF\xBC\x91"), VALUE "1"},
    {JSON("NaN"), VALUE "1"},
    {JSON("Infinity"), VALUE "1"},
    {JSON("-Infinity"), "expected a digit after '-' at line 1 column 2"},
    /* words */
    {JSON("nul"), EARLY "a value at line 1 column 4"},
    {JSON("nulL"), VALUE "1"},
    {JSON("True"), VALUE "1"},
    {JSON("truee"), END "5"},
    {JSON("[fals]"), VALUE "2"},
    {JSON("undefined"), VALUE "1"},
    /* structure */
    {JSON("["), EARLY "a value at line 1 column 2"},
    {JSON("[1"), EARLY "',' or ']' at line 1 column 3"},
    {JSON("[1,"), EARLY "a value at line 1 column 4"},
    {JSON("[1,]"), VALUE "4"},
    {JSON("[,1]"), VALUE "2"},
    {JSON("[1,,2]"), VALUE "4"},
    {JSON("[1 2]"), "expected ',' or ']' at line 1 column 4"},
    {JSON("[1:2]"), "expected ',' or ']' at line 1 column 3"},
    {JSON("[1}"), "expected ',' or ']' at line 1 column 3"},
    {JSON("]"), VALUE "1"},
    {JSON("[]]"), END "3"},
    {JSON("[1],"), END "4"},
    {JSON("{"), EARLY "a member name in '\"' or '}' at line 1 column 2"},
    {JSON("{]"), NAME " or '}' at line 1 column 2"},
    {JSON("{,}"), NAME " or '}' at line 1 column 2"},
    {JSON("{a:1}"), NAME " or '}' at line 1 column 2"},
    {JSON("{'a':1}"), NAME " or '}' at line 1 column 2"},
    {JSON("{1:1}"), NAME " or '}' at line 1 column 2"},
    {JSON("{\"a\""), EARLY "':' at line 1 column 5"},
    {JSON("{\"a\"}"), "expected ':' at line 1 column 5"},
    {JSON("{\"a\",1}"), "expected ':' at line 1 column 5"},
    {JSON("{\"a\":}"), VALUE "6"},
    {JSON("{\"a\"::1}"), VALUE "6"},
    {JSON("{\"a\":1"), EARLY "',' or '}' at line 1 column 7"},
    {JSON("{\"a\":1 ]"), "expected ',' or '}' at line 1 column 8"},
    {JSON("{\"a\":1 \"b\":2}"), "expected ',' or '}' at line 1 column 8"},
    {JSON("{\"a\":1,}"), NAME " at line 1 column 8"},
    {JSON("{\"a\":1,,\"b\":2}"), NAME " at line 1 column 8"},
    {JSON("{\r\n  \"a\": [\n    1,\n    x\n  ]\n}"), "expected a value at line 4 column 5"},
    {JSON("{} x"), END "4"},
    {JSON("[] // c"), END "4"},
    {JSON("/* c */ 1"), VALUE "1"},
    {JSON("[1 /**/]"), "expected ',' or ']' at line 1 column 4"},
    {JSON("# c\n1"), VALUE "1"},
    {JSON("[\f]"), VALUE "2"},
    {JSON("[\v1]"), VALUE "2"},
    {JSON("\xC2\xA0" "1"), VALUE "1"},
    {JSON("1\xE2\x80\xA8"), END "2"},
    /* strings */
    {JSON("\""), EARLY "'\"' at the end of a string at line 1 column 2"},
    {JSON("\"abc"), EARLY "'\"' at the end of a string at line 1 column 5"},
    {JSON("'a'"), VALUE "1"},
    {JSON("\"a\"b\""), END "4"},
    {JSON("\"a\nb\""), CONTROL "3"},
    {JSON("\"\t\""), CONTROL "2"},
    {JSON("\"\0\""), CONTROL "2"},
    {JSON("\"0123456789abcdefghijklmnopqrstuvwxyz\x1F\""), CONTROL "38"},
    {JSON("{\"a\x01\":1}"), CONTROL "4"},
    {JSON("\"\\"), EARLY "an escape letter after '\\' at line 1 column 3"},
    {JSON("\"\\\""), EARLY "'\"' at the end of a string at line 1 column 4"},
    {JSON("\"\\x41\""), ESCAPE "2"},
    {JSON("\"\\a\""), ESCAPE "2"},
    {JSON("\"\\'\""), ESCAPE "2"},
    {JSON("\"\\N\""), ESCAPE "2"},
    {JSON("\"\\0\""), ESCAPE "2"},
    {JSON("\"\\\0\""), ESCAPE "2"},
    {JSON("\"\\\n\""), ESCAPE "2"},
    {JSON("\"\\U0041\""), ESCAPE "2"},
    {JSON("\"\\u12\""), HEX "6"},
    {JSON("\"\\u12G4\""), HEX "6"},
    {JSON("\"\\u+123\""), HEX "4"},
    {JSON("\"\\u{41}\""), HEX "4"},
    {JSON("\"\\u004"), EARLY "four hexadecimal digits after \\u at line 1 column 7"},
    /* surrogates */
    {JSON("\"\\uD800\""), LONE "2"},
    {JSON("\"ab\\uDC00\""), LONE "4"},
    {JSON("\"\\uDFFF\\uD800\""), LONE "2"},
    {JSON("\"\\uD800\\uD800\""), LONE "2"},
    {JSON("\"\\uD800\\u0041\""), LONE "2"},
    {JSON("\"\\uDC00\\uDC00\""), LONE "2"},
    {JSON("\"\\uD800\\uE000\""), LONE "2"},
    {JSON("\"\\uD800\\uDBFF\""), LONE "2"},
    {JSON("\"\\uD800\\n\""), LONE "2"},
    {JSON("\"\\uD800x\""), LONE "2"},
    {JSON("\"\\uD800\\u\""), HEX "10"},
    {JSON("\"\\uD800"), LONE "2"},
    {JSON("{\"\\uDBFF\":1}"), LONE "3"},
    /* UTF-8 */
    {JSON("\"\xFF\""), UTF8 "2"},
    {JSON("\"a\x80\""), UTF8 "3"},
    {JSON("\"\xC0\xAF\""), UTF8 "2"},
    {JSON("\"\xE0\x80\xAF\""), UTF8 "2"},
    {JSON("\"\xED\xA0\x80\""), UTF8 "2"},
    {JSON("\"\xF4\x90\x80\x80\""), UTF8 "2"},
    {JSON("\"\xE2\x82"), UTF8 "2"},
    {JSON("\"\xE2\x82\""), UTF8 "2"},
    {JSON("\"\\\xFF\""), UTF8 "3"},
    {JSON("[1,\n\"\xC3\"]"), "invalid UTF-8 at line 2 column 2"},
    {JSON("1 \xFF"), UTF8 "3"},
    {JSON("[\xC3]"), UTF8 "2"},
    {JSON("[1,} \xFF"), VALUE "4"},
};
#define REFUSED (sizeof refused / sizeof refused[0])

/* --- tests --- */

static void test_taken(void **state)
{
    size_t i;
    (void)state;
    for (i = 0; i < TAKEN; i++)
        check_taken(taken[i].text, taken[i].want != NULL ? taken[i].want : taken[i].text.p);
}

static void test_refused(void **state)
{
    size_t i;
    (void)state;
    for (i = 0; i < REFUSED; i++)
        check_refused(refused[i].text, -EINVAL, refused[i].sentence);
}

static void test_no_text_at_all(void **state)
{
    struct sbx_json_doc doc;
    struct sbx_err err;
    (void)state;
    assert_int_equal(sbx_json_parse(&doc, (struct sbx_str){NULL, 0}, &err), -EINVAL);
}

/* A text that does not end in a number has no valid proper beginning, and every error there is at
 * its end: the parser must see the end and not a byte beyond. */
static void test_every_beginning(void **state)
{
    size_t i, n;
    (void)state;
    for (i = 0; i < TAKEN; i++) {
        struct sbx_str text = sbx_str_trim(taken[i].text);
        char last = text.p[text.n - 1];
        for (n = 0; n < text.n; n++) {
            struct sbx_json_doc doc;
            struct sbx_err err;
            int rc = parse(&doc, (struct sbx_str){text.p, n}, &err);
            if (last == '"' || last == '}' || last == ']')
                assert_int_equal(rc, -EINVAL);
            if (rc == 0)
                sbx_json_doc_deinit(&doc);
        }
    }
    for (i = 0; i < REFUSED; i++) {
        for (n = 0; n < refused[i].text.n; n++) {
            struct sbx_json_doc doc;
            struct sbx_err err;
            if (parse(&doc, (struct sbx_str){refused[i].text.p, n}, &err) == 0)
                sbx_json_doc_deinit(&doc);
        }
    }
}

static void test_depth_limit(void **state)
{
    struct sbx_str fits[] = {nested("[", "]", 64), nested(" [\n", " ] ", 64)};
    struct sbx_str over[] = {nested("[", "]", 65), nested("[", "]", 100000)};
    struct sbx_str object = nested("{\"a\":", "}", 65);
    size_t i;
    (void)state;
    for (i = 0; i < 2; i++) {
        check_taken(fits[i], fits[0].p);
        check_refused(over[i], -E2BIG,
                      "nesting deeper than the limit of 64 at line 1 column 65");
        release(over[i]);
    }
    release(fits[0]);
    release(fits[1]);
    check_refused(object, -E2BIG, "nesting deeper than the limit of 64 at line 1 column 321");
    release(object);
}

/* Depth is about what is open, not about how many containers there are. */
static void test_wide_is_not_deep(void **state)
{
    struct sbx_str text = nested("[[[]],", "", 1000);
    char *wide = test_malloc(8 + 1000 * 5), *p = wide;
    size_t i;
    (void)state;
    *p++ = '[';
    for (i = 0; i < 1000; i++)
        p += sprintf(p, "%s[[]]", i > 0 ? "," : "");
    p += sprintf(p, "]");
    check_taken((struct sbx_str){wide, (size_t)(p - wide)}, wide);
    check_refused(text, -E2BIG, "nesting deeper than the limit of 64 at line 1 column 375");
    test_free(wide);
    release(text);
}

/* An array of n zeros. */
static struct sbx_str zeros(size_t n)
{
    char *text = test_malloc(2 * n + 2);
    size_t i;
    for (i = 0; i < n; i++)
        memcpy(text + 2 * i, ",0", 2);
    text[0] = '[';
    text[2 * n] = ']';
    return (struct sbx_str){text, 2 * n + 1};
}

static void test_value_limit(void **state)
{
    struct sbx_str fits = zeros(SBX_JSON_MAX_VALUES - 1), over = zeros(SBX_JSON_MAX_VALUES);
    struct sbx_json_doc doc;
    struct sbx_err err;
    const struct sbx_json *v;
    size_t n = 0;
    (void)state;
    assert_int_equal(parse(&doc, fits, &err), 0);
    assert_int_equal(doc.nvalues, SBX_JSON_MAX_VALUES);
    assert_int_equal(doc.root->count, SBX_JSON_MAX_VALUES - 1);
    for (v = doc.root->child; v != NULL; v = v->next, n++)
        assert_true(v->text.n == 1 && v->text.p[0] == '0');
    assert_int_equal(n, SBX_JSON_MAX_VALUES - 1);
    sbx_json_doc_deinit(&doc);
    check_refused(over, -E2BIG,
                  "more values than the limit of 200000 at line 1 column 400000");
    release(fits);
    release(over);
}

static void test_members(void **state)
{
    struct sbx_str text = SBX_STR("{\"a\":1,\"b\":2,\"a\":3,\"c\\u0000\":4,\"\":5}");
    struct sbx_json_doc doc;
    struct sbx_err err;
    const struct sbx_json *v;
    bool dup = true;
    (void)state;
    assert_int_equal(parse(&doc, text, &err), 0);
    v = sbx_json_get(doc.root, "b", &dup);
    assert_true(sbx_str_eq_z(v->text, "2"));
    assert_false(dup);
    v = sbx_json_get(doc.root, "a", &dup);
    assert_true(sbx_str_eq_z(v->text, "1"));
    assert_true(dup);
    assert_ptr_equal(sbx_json_get(doc.root, "a", NULL), v);
    assert_null(sbx_json_get(doc.root, "c", &dup));
    assert_false(dup);
    assert_null(sbx_json_get(doc.root, "A", NULL));
    assert_true(sbx_str_eq_z(sbx_json_get(doc.root, "", NULL)->text, "5"));
    sbx_json_doc_deinit(&doc);
    assert_null(doc.root);
    sbx_json_doc_deinit(&doc);
}

static void check_u64(const char *text, int rc, uint64_t want)
{
    struct sbx_json_doc doc;
    struct sbx_err err;
    uint64_t v = 77;
    assert_int_equal(parse(&doc, sbx_str_z(text), &err), 0);
    assert_int_equal(sbx_json_to_u64(doc.root, &v), rc);
    assert_true(v == (rc == 0 ? want : 77));
    sbx_json_doc_deinit(&doc);
}

static void test_to_u64(void **state)
{
    (void)state;
    check_u64("0", 0, 0);
    check_u64("18446744073709551615", 0, UINT64_MAX);
    check_u64("18446744073709551616", -ERANGE, 0);
    check_u64("-0", -EINVAL, 0);
    check_u64("-1", -EINVAL, 0);
    check_u64("1.0", -EINVAL, 0);
    check_u64("1e3", -EINVAL, 0);
    check_u64("\"1\"", -EINVAL, 0);
    check_u64("null", -EINVAL, 0);
    check_u64("true", -EINVAL, 0);
    check_u64("[1]", -EINVAL, 0);
}

static void test_type_names(void **state)
{
    static const char *const want[] = {"null",     "a boolean", "a number",
                                       "a string", "an array",  "an object"};
    static const char *const texts[] = {"null", "true", "1", "\"\"", "[]", "{}"};
    size_t i;
    (void)state;
    for (i = 0; i < 6; i++) {
        struct sbx_json_doc doc;
        struct sbx_err err;
        assert_int_equal(parse(&doc, sbx_str_z(texts[i]), &err), 0);
        assert_string_equal(sbx_json_type_name(doc.root->type), want[i]);
        sbx_json_doc_deinit(&doc);
    }
}

static void parse_once(void *ctx, const struct gate *g)
{
    const struct sbx_str *text = ctx;
    struct sbx_json_doc doc;
    struct sbx_err err;
    int rc = parse(&doc, *text, &err);
    assert_int_equal(rc, gate_hit(g) ? -ENOMEM : 0);
    if (rc == 0)
        sbx_json_doc_deinit(&doc);
    else
        assert_string_equal(err.text, "out of memory");
}

/* A small document is two small blocks, a large one some more: memory follows the values. */
static void test_small_is_small(void **state)
{
    struct sbx_json_doc doc;
    struct sbx_err err;
    (void)state;
    assert_int_equal(parse(&doc, SBX_STR("[1,2,3]"), &err), 0);
    assert_true(malloc_usable_size(doc.values) <= 16 * sizeof(struct sbx_json));
    assert_true(malloc_usable_size(doc.strings) <= 64);
    sbx_json_doc_deinit(&doc);
}

static void test_no_memory(void **state)
{
    struct sbx_str small = SBX_STR("{\"a\":[1,\"b\"]}"), large = zeros(5000);
    unsigned long asked;
    (void)state;
    assert_int_equal(gate_each(parse_once, &small), 2);
    asked = gate_each(parse_once, &large);
    assert_in_range(asked, 5, 20);
    release(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_text_at_all),
        cmocka_unit_test(test_every_beginning),
        cmocka_unit_test(test_depth_limit),
        cmocka_unit_test(test_wide_is_not_deep),
        cmocka_unit_test(test_value_limit),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_to_u64),
        cmocka_unit_test(test_type_names),
        cmocka_unit_test(test_small_is_small),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
