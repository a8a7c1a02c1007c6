/* Accept-Encoding and If-None-Match: what the client takes, and what it has. */
#include "proto/http_negotiate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A request with up to two lines of one header, among others. */
static struct sbx_http_request request(const char *name, const char *one, const char *two)
{
    static struct sbx_http_request req;
    req.nheaders = 0;
    req.headers[req.nheaders++] = (struct sbx_http_header){SBX_STR("Host"), SBX_STR("gzip")};
    if (one != NULL)
        req.headers[req.nheaders++] = (struct sbx_http_header){sbx_str_z(name), sbx_str_z(one)};
    req.headers[req.nheaders++] = (struct sbx_http_header){SBX_STR("X-Tag"), SBX_STR("\"t\"")};
    if (two != NULL)
        req.headers[req.nheaders++] = (struct sbx_http_header){sbx_str_z(name), sbx_str_z(two)};
    return req;
}

static enum sbx_coding choose(const char *one, const char *two, bool has_identity)
{
    struct sbx_http_request req = request("Accept-Encoding", one, two);
    return sbx_http_coding(&req, has_identity);
}

#define NONE SBX_CODING_NONE
#define PLAIN SBX_CODING_IDENTITY
#define GZIP SBX_CODING_GZIP

/* Of each: with both forms there, and with gzip alone. */
static const struct {
    const char *value;
    enum sbx_coding both, alone;
} codings[] = {
    {NULL, PLAIN, GZIP},
    {"", PLAIN, NONE},
    {"gzip", GZIP, GZIP},
    {"GZip", GZIP, GZIP},
    {"x-gzip", GZIP, GZIP},
    {"gzip;q=0, x-gzip", PLAIN, NONE},
    {"x-gzip, gzip;q=0", PLAIN, NONE},
    {"gzip;q=0.5, x-gzip;q=0.7, identity;q=0.6", PLAIN, GZIP},
    {"gzip, deflate, br", GZIP, GZIP},
    {"br", PLAIN, NONE},
    {"gzipped", PLAIN, NONE},
    {"identity", PLAIN, NONE},
    {"*", GZIP, GZIP},
    {"*;q=0", NONE, NONE},
    {"*;q=0, gzip", GZIP, GZIP},
    {"*;q=0, identity", PLAIN, NONE},
    {"gzip;q=0", PLAIN, NONE},
    {"gzip;q=0, *", PLAIN, NONE},
    {"gzip;q=0, identity;q=0", NONE, NONE},
    {"identity;q=0", NONE, NONE},
    {"identity;q=0, gzip;q=0.001", GZIP, GZIP},
    {"gzip;q=0.5, identity;q=0.5", GZIP, GZIP},
    {"gzip;q=0.5, identity;q=0.501", PLAIN, GZIP},
    {"gzip;q=0.5, identity", PLAIN, GZIP},
    {"gzip;q=0.001", GZIP, GZIP},
    {"gzip ; q=1.000 , br", GZIP, GZIP},
    {"gzip;Q=0", PLAIN, NONE},
    {",, gzip,", GZIP, GZIP},
    /* Malformed weights: as if the member were not there. */
    {"gzip;q=", PLAIN, NONE},
    {"gzip;q=2", PLAIN, NONE},
    {"gzip;q=1.001", PLAIN, NONE},
    {"gzip;q=0.0001", PLAIN, NONE},
    {"gzip;q=.5", PLAIN, NONE},
    {"gzip;q=-1", PLAIN, NONE},
    {"gzip;q=0,5", PLAIN, NONE},
    {"gzip;level=9", PLAIN, NONE},
    {"gzip;", PLAIN, NONE},
    {";q=1", PLAIN, NONE},
    {"gzip;q=0.x", PLAIN, NONE},
};

static void test_codings(void **state)
{
    size_t i;
    (void)state;
    for (i = 0; i < sizeof codings / sizeof codings[0]; i++) {
        const char *value = codings[i].value;
        if (choose(value, NULL, true) != codings[i].both)
            fail_msg("%s: %d", value == NULL ? "absent" : value, choose(value, NULL, true));
        if (choose(value, NULL, false) != codings[i].alone)
            fail_msg("%s, gzip alone: %d", value == NULL ? "absent" : value,
                     choose(value, NULL, false));
    }
}

static void test_several_lines(void **state)
{
    (void)state;
    assert_int_equal(choose("br", "gzip", true), GZIP);
    assert_int_equal(choose("gzip;q=0.1", "identity;q=0.2", true), PLAIN);
    assert_int_equal(choose("*;q=0", "identity", false), NONE);
}

static bool has(const char *one, const char *two, const char *etag)
{
    struct sbx_http_request req = request("if-none-match", one, two);
    return sbx_http_has_etag(&req, sbx_str_z(etag));
}

static void test_tags(void **state)
{
    static const char *const same[] = {"\"a\"", "W/\"a\"", "\"x\", \"a\"", "\"x\",\"a\",\"y\"",
                                       " ,\t\"a\"", "*", "\"x,y\" , W/\"a\"", "\"\", \"a\""};
    static const char *const other[] = {"", "\"b\"", "a", "\"a", "a\"", "\"A\"", "\"aa\"", "\"\"",
                                        "\"x\" a", "W/a", "w/\"a\"", "W\"a\"", "\"x, \"a\", y\"",
                                        "**", "\"*\"", "x \"a\"", ","};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof same / sizeof same[0]; i++)
        if (!has(same[i], NULL, "\"a\"") || !has(same[i], NULL, "W/\"a\"") ||
            !has("\"z\"", same[i], "\"a\""))
            fail_msg("%s does not have it", same[i]);
    for (i = 0; i < sizeof other / sizeof other[0]; i++)
        if (has(other[i], NULL, "\"a\"") || has(other[i], NULL, "W/\"a\""))
            fail_msg("%s has it", other[i]);
    assert_false(has(NULL, NULL, "\"t\"")); /* of another header */
    assert_true(has("\"x,y\"", NULL, "\"x,y\""));
}

/* Exact-sized copies, so that a sanitizer sees a read beyond the end. */
static void test_every_cut(void **state)
{
    static const char tags[] = "W/\"a,b\", \"c\"", accepts[] = "br;q=0.25, gzip;q=0.125";
    size_t n;
    (void)state;
    for (n = 0; n < sizeof tags; n++) {
        struct sbx_http_request req = request("if-none-match", "", NULL);
        char *copy = malloc(n + 1);
        memcpy(copy, tags, n);
        req.headers[1].value = (struct sbx_str){copy, n};
        assert_int_equal(sbx_http_has_etag(&req, SBX_STR("\"c\"")), n == sizeof tags - 1);
        free(copy);
    }
    for (n = 1; n < sizeof accepts; n++) {
        struct sbx_http_request req = request("accept-encoding", "", NULL);
        char *copy = malloc(n);
        memcpy(copy, accepts, n);
        req.headers[1].value = (struct sbx_str){copy, n};
        (void)sbx_http_coding(&req, true);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codings),
        cmocka_unit_test(test_several_lines),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
