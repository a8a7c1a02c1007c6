/* Base64 against a bit-by-bit oracle, at all lengths around the steps of the fast paths, with input
 * and output each ending at a guard page. */
#include "base/base64.h"

#include "guard.h"

#include <stdbool.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void oracle_encode(const uint8_t *in, size_t n, char *out)
{
    size_t bit, len = sbx_base64_encoded_len(n);
    memset(out, '=', len);
    for (bit = 0; bit < n * 8; bit += 6) {
        unsigned v = 0;
        size_t k;
        for (k = bit; k < bit + 6; k++)
            v = v << 1 | (k < n * 8 ? (unsigned)in[k / 8] >> (7 - k % 8) & 1u : 0u);
        *out++ = alphabet[v];
    }
}

/* Decodes text that lies before a guard page, into exactly the room that the header asks for. */
static enum sbx_base64_error decode(const char *text, size_t n, uint8_t *out, size_t *len,
                                    size_t *at)
{
    uint8_t filler[4096] = {0};
    uint8_t *in = guard_copy(text, n), *room = guard_copy(filler, n / 4 * 3);
    enum sbx_base64_error e = sbx_base64_decode((const char *)in, n, room, len, at);
    assert_true(*len <= n / 4 * 3);
    if (*len > 0)
        memcpy(out, room, *len);
    guard_free(in);
    guard_free(room);
    return e;
}

static void check_round_trip(const uint8_t *p, size_t n)
{
    char want[2048], filler[2048] = {0};
    uint8_t back[2048];
    size_t text_len = sbx_base64_encoded_len(n), len = 99, at;
    uint8_t *in = guard_copy(p, n);
    char *out = (char *)guard_copy(filler, text_len);
    sbx_base64_encode(in, n, out);
    oracle_encode(p, n, want);
    assert_memory_equal(out, want, text_len);
    assert_int_equal(decode(out, text_len, back, &len, &at), SBX_BASE64_OK);
    assert_int_equal(len, n);
    assert_memory_equal(back, p, n);
    guard_free(in);
    guard_free((uint8_t *)out);
}

static void test_rfc_examples(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},           {"f", "Zg=="},         {"fo", "Zm8="},        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
    };
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[16];
        size_t n = strlen(cases[i][0]);
        assert_int_equal(sbx_base64_encoded_len(n), strlen(cases[i][1]));
        sbx_base64_encode((const uint8_t *)cases[i][0], n, out);
        assert_memory_equal(out, cases[i][1], strlen(cases[i][1]));
        check_round_trip((const uint8_t *)cases[i][0], n);
    }
}

static void test_every_length(void **state)
{
    uint8_t in[600];
    uint32_t rnd = 1;
    size_t i;
    (void)state;
    for (i = 0; i < sizeof in; i++) {
        rnd = rnd * 1664525u + 1013904223u;
        in[i] = (uint8_t)(rnd >> 24);
    }
    for (i = 0; i <= sizeof in; i++)
        check_round_trip(in, i);
}

/* Each of the 64 values at each place of the longest step of any fast path. */
static void test_every_symbol_everywhere(void **state)
{
    size_t value, place, k;
    (void)state;
    for (value = 0; value < 64; value++) {
        for (place = 0; place < 64; place++) {
            char text[96];
            uint8_t bytes[72];
            size_t len, at;
            for (k = 0; k < sizeof text; k++)
                text[k] = alphabet[(k * 11 + place) % 64];
            text[place] = alphabet[value];
            assert_int_equal(decode(text, sizeof text, bytes, &len, &at), SBX_BASE64_OK);
            check_round_trip(bytes, len);
        }
    }
}

static void test_errors(void **state)
{
    static const struct {
        const char *text;
        enum sbx_base64_error want;
        size_t at;
    } cases[] = {
        {"Q", SBX_BASE64_BAD_LENGTH, 0},
        {"QUJDR", SBX_BASE64_BAD_LENGTH, 0},
        {"QQ", SBX_BASE64_BAD_PADDING, 0},
        {"QQ=", SBX_BASE64_BAD_PADDING, 0},
        {"QUI", SBX_BASE64_BAD_PADDING, 0},
        {"QUJDQQ", SBX_BASE64_BAD_PADDING, 0},
        {"QQ===", SBX_BASE64_BAD_PADDING, 0},
        {"QUI==", SBX_BASE64_BAD_PADDING, 0},
        {"QUJD=", SBX_BASE64_BAD_PADDING, 0},
        {"QUJD====", SBX_BASE64_BAD_PADDING, 0},
        {"=", SBX_BASE64_BAD_PADDING, 0},
        {"====", SBX_BASE64_BAD_PADDING, 0},
        {"Q===", SBX_BASE64_BAD_PADDING, 0},
        {"Q=", SBX_BASE64_BAD_PADDING, 0},
        {"Q=QQ", SBX_BASE64_BAD_PADDING, 0},
        {"QQ=Q", SBX_BASE64_BAD_PADDING, 0},
        {"QQ==QQ==", SBX_BASE64_BAD_PADDING, 0},
        {"QQ==QUJD", SBX_BASE64_BAD_PADDING, 0},
        {"QR==", SBX_BASE64_BAD_LAST, 1},
        {"QUJDQf==", SBX_BASE64_BAD_LAST, 5},
        {"QUJ=", SBX_BASE64_BAD_LAST, 2},
        {"QUJDQUL=", SBX_BASE64_BAD_LAST, 6},
        {"@@@@", SBX_BASE64_BAD_SYMBOL, 0},
        {"QUJ-", SBX_BASE64_BAD_SYMBOL, 3},
        {"QUJ_", SBX_BASE64_BAD_SYMBOL, 3},
        {"QUJD\n", SBX_BASE64_BAD_SYMBOL, 4},
        {"QUJD\r\nQUJD", SBX_BASE64_BAD_SYMBOL, 4},
        {" QUJD", SBX_BASE64_BAD_SYMBOL, 0},
        {"QQ==\n", SBX_BASE64_BAD_SYMBOL, 4},
        {"QQ=!", SBX_BASE64_BAD_SYMBOL, 3},
        {"Q!", SBX_BASE64_BAD_SYMBOL, 1},
        {"QUJDQQ\xFF=", SBX_BASE64_BAD_SYMBOL, 6},
    };
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t out[64];
        size_t len = 99, at = 77;
        enum sbx_base64_error e = decode(cases[i].text, strlen(cases[i].text), out, &len, &at);
        if (e != cases[i].want)
            fail_msg("\"%s\": %d, not %d", cases[i].text, (int)e, (int)cases[i].want);
        assert_int_equal(len, 0);
        if (e == SBX_BASE64_BAD_SYMBOL || e == SBX_BASE64_BAD_LAST)
            assert_int_equal(at, cases[i].at);
    }
}

/* The last symbol before padding must not carry bits that no byte takes up. */
static void test_every_last_symbol(void **state)
{
    size_t value, symbols;
    (void)state;
    for (value = 0; value < 64; value++) {
        for (symbols = 2; symbols <= 3; symbols++) {
            bool fine = value % (symbols == 2 ? 16 : 4) == 0;
            char text[] = "QUJDAA==";
            uint8_t out[8];
            size_t len, at = 99;
            text[4 + symbols - 1] = alphabet[value];
            assert_int_equal(decode(text, 8, out, &len, &at),
                             fine ? SBX_BASE64_OK : SBX_BASE64_BAD_LAST);
            assert_int_equal(fine ? len : at, fine ? 2 + symbols : 3 + symbols);
        }
    }
}

static void test_every_foreign_byte_everywhere(void **state)
{
    unsigned byte;
    size_t place;
    (void)state;
    for (byte = 0; byte < 256; byte++) {
        if (byte == '=' || (byte != 0 && strchr(alphabet, (int)byte) != NULL))
            continue;
        for (place = 0; place < 41; place++) {
            char text[41];
            uint8_t out[64];
            size_t len, at = 99;
            memset(text, 'Z', sizeof text);
            text[place] = (char)byte;
            assert_int_equal(decode(text, sizeof text, out, &len, &at), SBX_BASE64_BAD_SYMBOL);
            assert_int_equal(at, place);
        }
    }
}

static void test_null_and_empty(void **state)
{
    size_t len = 99, at;
    (void)state;
    assert_int_equal(sbx_base64_encoded_len(0), 0);
    sbx_base64_encode(NULL, 0, NULL);
    assert_int_equal(sbx_base64_decode(NULL, 0, NULL, &len, &at), SBX_BASE64_OK);
    assert_int_equal(len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_examples),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_every_symbol_everywhere),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_every_last_symbol),
        cmocka_unit_test(test_every_foreign_byte_everywhere),
        cmocka_unit_test(test_null_and_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
