/* SHA-1 against FIPS 180-4's examples, RFC 6455's example, and every length around a block end. */
#include "base/sha1.h"

#include "guard.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void check_hex(const void *p, size_t n, const char *want)
{
    uint8_t *in = guard_copy(p, n), digest[20];
    char hex[41];
    size_t i;
    sbx_sha1(in, n, digest);
    for (i = 0; i < sizeof digest; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(hex, want);
    guard_free(in);
}

static void check_text(const char *text, const char *want)
{
    check_hex(text, strlen(text), want);
}

static void test_published_examples(void **state)
{
    (void)state;
    check_text("abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
    check_text("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
               "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    check_text("dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
               "b37a4f2cc0624f1690f64606cf385945b2bec4ea");
}

static void test_a_million(void **state)
{
    char *text = test_malloc(1000000);
    (void)state;
    memset(text, 'a', 1000000);
    check_hex(text, 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    test_free(text);
}

/* n bytes, the i-th of them 7 i + n. */
static const struct {
    size_t n;
    const char *hex;
} sha1_lengths[] = {
    {0, "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
    {1, "bf8b4530d8d246dd74ac53a13471bba17941dff7"},
    {54, "7fe50979b12cf9232dda5ca196ac5d968090bc2c"},
    {55, "63ac9708fb581dd150d3647549f9e0cb51dcf1df"},
    {56, "5a0c4d0eb2f15e05bbbff6b8dada9ae767fc03f0"},
    {57, "4e77d3077d2ab5167db3434c31cac3d15a3afc12"},
    {63, "d94ff3ad53f9b9327704b812ee9c1f3abbba3d48"},
    {64, "5f55a35e13f1865e7ffc22dca1275b1a49b0ff56"},
    {65, "d7f8931010f8342a97383e1410a58c47d057708b"},
    {118, "b348b9a103899a241372402cdc7b44c9bf3a8fcd"},
    {119, "774001b5ad1f46b40c48e1b94cb092c593ead25b"},
    {120, "6ebf3111dc761f11b13f29df0484848785385973"},
    {127, "82d007f6e7e5672722c0717b6bea2ba6f17cd35c"},
    {128, "0a44ac02432f6ead67d86fcb70a4d8ce589e50ec"},
    {129, "461b146c523c63566b8bf8852dc8462116cf2e3f"},
    {1000, "7461968a9edb9b418224f1acb305d2feeaa10ba5"},
};

static void test_lengths(void **state)
{
    uint8_t text[1000];
    size_t i, k;
    (void)state;
    for (i = 0; i < sizeof sha1_lengths / sizeof sha1_lengths[0]; i++) {
        for (k = 0; k < sha1_lengths[i].n; k++)
            text[k] = (uint8_t)(7 * k + sha1_lengths[i].n);
        check_hex(text, sha1_lengths[i].n, sha1_lengths[i].hex);
    }
}

static void test_null_and_empty(void **state)
{
    uint8_t with_null[20], with_text[20];
    (void)state;
    sbx_sha1(NULL, 0, with_null);
    sbx_sha1((const uint8_t *)"", 0, with_text);
    assert_memory_equal(with_null, with_text, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_examples),
        cmocka_unit_test(test_a_million),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_null_and_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
