/* Flags: each value is checked, and the sentence names the flag and the value. */
#include "app/config.h"

#include "base/mem.h"
#include "gate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct sbx_config c;
static struct sbx_err err;

static int setup(void **state)
{
    (void)state;
    sbx_config_init(&c);
    memset(&err, 0, sizeof err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sbx_config_deinit(&c);
    return 0;
}

static void expect_refused(int rc, const char *part)
{
    assert_int_equal(rc, -EINVAL);
    if (strstr(err.text, part) == NULL)
        fail_msg("\"%s\" does not name %s", err.text, part);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_string_equal(c.host, "127.0.0.1");
    assert_int_equal(c.port, 2468);
    assert_int_equal(sbx_buf_len(&c.token), 0);
    assert_int_equal(sbx_config_check(&c, &err), 0);
}

static void test_port(void **state)
{
    static const char *const bad[] = {"", "-1", "65536", "80x", " 80", "1e3",
                                      "99999999999999999999"};
    size_t i;
    (void)state;
    assert_int_equal(sbx_config_set_port(&c, "0", &err), 0);
    assert_int_equal(c.port, 0);
    assert_int_equal(sbx_config_set_port(&c, "65535", &err), 0);
    assert_int_equal(c.port, 65535);
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_refused(sbx_config_set_port(&c, bad[i], &err), bad[i]);
    assert_int_equal(c.port, 65535);
}

static void test_token(void **state)
{
    char text[1100];
    (void)state;
    assert_int_equal(sbx_config_set_token(&c, "first", &err), 0);
    assert_int_equal(sbx_config_set_token(&c, "s3cret with blank", &err), 0);
    assert_true(sbx_str_eq_z(sbx_buf_view(&c.token), "s3cret with blank"));
    expect_refused(sbx_config_set_token(&c, "", &err), "--token");
    expect_refused(sbx_config_set_token(&c, "a\tb", &err), "--token");
    expect_refused(sbx_config_set_token(&c, "a\x7f", &err), "--token");
    expect_refused(sbx_config_set_token(&c, " a", &err), "--token");
    expect_refused(sbx_config_set_token(&c, "a ", &err), "--token");
    memset(text, 'x', sizeof text);
    text[1024] = '\0';
    assert_int_equal(sbx_config_set_token(&c, text, &err), 0);
    memset(text, 'x', sizeof text);
    text[1025] = '\0';
    expect_refused(sbx_config_set_token(&c, text, &err), "--token");
    assert_null(strstr(err.text, "xxx")); /* never in a message */
}

static int token_file(const char *text, size_t n)
{
    const char *tmp = getenv("TMPDIR");
    char path[300];
    int fd, rc;
    (void)snprintf(path, sizeof path, "%s/configXXXXXX", tmp != NULL ? tmp : "/tmp");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), (ssize_t)n);
    (void)close(fd);
    rc = sbx_config_set_token_file(&c, path, &err);
    assert_int_equal(unlink(path), 0);
    return rc;
}

static void test_token_file(void **state)
{
    char text[2000];
    (void)state;
    assert_int_equal(token_file("secret\r\n", 8), 0);
    assert_true(sbx_str_eq_z(sbx_buf_view(&c.token), "secret"));
    assert_int_equal(token_file("other", 5), 0);
    assert_true(sbx_str_eq_z(sbx_buf_view(&c.token), "other"));
    expect_refused(token_file("", 0), "--token-file");
    expect_refused(token_file("\n\n", 2), "--token-file");
    expect_refused(token_file("a\nb\n", 4), "--token-file");
    expect_refused(token_file("a\0b", 3), "--token-file");
    memset(text, 'x', sizeof text);
    assert_int_equal(token_file(text, 1024), 0);
    expect_refused(token_file(text, 1025), "--token-file");
    expect_refused(token_file(text, sizeof text), "--token-file");
    assert_int_equal(sbx_config_set_token_file(&c, "/no/such/file", &err), -ENOENT);
    assert_string_equal(err.text,
                        "cannot read --token-file /no/such/file: No such file or directory");
    assert_int_equal(sbx_config_set_token_file(&c, "/", &err), -EISDIR);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* A file that has become bad or is gone leaves the token as it was. */
static void test_token_file_is_read_again(void **state)
{
    const char *tmp = getenv("TMPDIR");
    char path[300];
    int fd;
    (void)state;
    assert_int_equal(sbx_config_set_token(&c, "from a flag", &err), 0);
    assert_int_equal(sbx_config_reload_token(&c, &err), 0);
    assert_true(sbx_str_eq_z(sbx_buf_view(&c.token), "from a flag"));
    (void)snprintf(path, sizeof path, "%s/configXXXXXX", tmp != NULL ? tmp : "/tmp");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    write_file(path, "first\n");
    assert_int_equal(sbx_config_set_token_file(&c, path, &err), 0);
    write_file(path, "a longer second one\n");
    assert_int_equal(sbx_config_reload_token(&c, &err), 0);
    assert_true(sbx_str_eq_z(sbx_buf_view(&c.token), "a longer second one"));
    write_file(path, "a\nb\n");
    expect_refused(sbx_config_reload_token(&c, &err), path);
    write_file(path, "");
    expect_refused(sbx_config_reload_token(&c, &err), path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(sbx_config_reload_token(&c, &err), -ENOENT);
    assert_true(sbx_str_eq_z(sbx_buf_view(&c.token), "a longer second one"));
}

static int refuse(void *ctx)
{
    (void)ctx;
    return 0;
}

static void test_token_outlives_lack_of_memory(void **state)
{
    char longer[1001];
    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(sbx_config_set_token(&c, "short", &err), 0);
    sbx_mem_set_gate(refuse, NULL);
    assert_int_equal(sbx_config_set_token(&c, longer, &err), -ENOMEM);
    sbx_mem_set_gate(NULL, NULL);
    assert_true(sbx_str_eq_z(sbx_buf_view(&c.token), "short"));
    assert_int_equal(sbx_config_set_token(&c, longer, &err), 0);
}

static void test_origins(void **state)
{
    (void)state;
    assert_int_equal(sbx_config_add_origin(&c, "https://app.example", &err), 0);
    assert_int_equal(sbx_config_add_origin(&c, "http://localhost:3000", &err), 0);
    assert_int_equal(sbx_config_add_origin(&c, "*", &err), 0);
    assert_int_equal(c.norigins, 3);
    assert_string_equal(c.origins[1], "http://localhost:3000");
    expect_refused(sbx_config_add_origin(&c, "app.example", &err), "\"app.example\"");
    expect_refused(sbx_config_add_origin(&c, "://x", &err), "--cors-allow-origin");
    expect_refused(sbx_config_add_origin(&c, "http://", &err), "--cors-allow-origin");
    expect_refused(sbx_config_add_origin(&c, "https://app.example/", &err), "no path");
    expect_refused(sbx_config_add_origin(&c, "", &err), "--cors-allow-origin");
    assert_int_equal(c.norigins, 3);
}

static void test_lists(void **state)
{
    (void)state;
    assert_int_equal(sbx_config_add_method(&c, "GET", &err), 0);
    assert_int_equal(sbx_config_add_method(&c, "POST", &err), 0);
    assert_true(sbx_str_eq_z(sbx_buf_view(&c.cors_methods), "GET,POST"));
    expect_refused(sbx_config_add_method(&c, "GE T", &err), "--cors-allow-method");
    expect_refused(sbx_config_add_method(&c, "", &err), "--cors-allow-method");
    assert_int_equal(sbx_config_add_header(&c, "X-Custom", &err), 0);
    assert_int_equal(sbx_config_add_header(&c, "Authorization", &err), 0);
    assert_true(sbx_str_eq_z(sbx_buf_view(&c.cors_headers), "x-custom,authorization"));
    expect_refused(sbx_config_add_header(&c, "a\r\nb", &err), "--cors-allow-header");
    expect_refused(sbx_config_add_header(&c, "a:b", &err), "--cors-allow-header");
    assert_true(sbx_str_eq_z(sbx_buf_view(&c.cors_headers), "x-custom,authorization"));
}

static void test_numbers_and_words(void **state)
{
    uint64_t n = 0;
    (void)state;
    assert_int_equal(sbx_config_set_number(&n, "--max", "5", 5, &err), 0);
    assert_int_equal(n, 5);
    expect_refused(sbx_config_set_number(&n, "--max", "4", 5, &err), "--max 4 is below 5");
    expect_refused(sbx_config_set_number(&n, "--max", "x", 0, &err), "--max \"x\"");
    expect_refused(sbx_config_set_number(&n, "--max", "18446744073709551615", 0, &err), "--max");
    assert_int_equal(sbx_config_set_log_level(&c, "debug", &err), 0);
    assert_int_equal(c.log_level, SBX_DIAG_DEBUG);
    expect_refused(sbx_config_set_log_level(&c, "loud", &err), "--log-level \"loud\"");
}

/* Reachable by others: a token, or the explicit wish to have none. */
static void test_open_addresses(void **state)
{
    static const char *const closed[] = {"127.0.0.1", "127.8.9.1", "::1", "localhost"};
    static const char *const open_ones[] = {"0.0.0.0", "::", "10.0.0.5", "agent.example",
                                            "localhost.example", "127.0.0.1.example", "fe80::1"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof closed / sizeof closed[0]; i++) {
        c.host = closed[i];
        assert_int_equal(sbx_config_check(&c, &err), 0);
    }
    for (i = 0; i < sizeof open_ones / sizeof open_ones[0]; i++) {
        c.host = open_ones[i];
        expect_refused(sbx_config_check(&c, &err), open_ones[i]);
    }
    c.no_token = true;
    assert_int_equal(sbx_config_check(&c, &err), 0);
    c.no_token = false;
    assert_int_equal(sbx_config_set_token(&c, "secret", &err), 0);
    assert_int_equal(sbx_config_check(&c, &err), 0);
}

static void configure_with_little_memory(void *ctx, const struct gate *g)
{
    struct sbx_config one;
    int rc;
    (void)ctx;
    sbx_config_init(&one);
    rc = sbx_config_set_token(&one, "secret", &err);
    rc = rc < 0 ? rc : sbx_config_add_origin(&one, "*", &err);
    rc = rc < 0 ? rc : sbx_config_add_method(&one, "GET", &err);
    rc = rc < 0 ? rc : sbx_config_add_header(&one, "x", &err);
    assert_int_equal(rc, gate_hit(g) ? -ENOMEM : 0);
    sbx_config_deinit(&one);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_int_equal(gate_each(configure_with_little_memory, NULL), 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_port),
        TEST(test_token),
        TEST(test_token_file),
        TEST(test_token_file_is_read_again),
        TEST(test_token_outlives_lack_of_memory),
        TEST(test_origins),
        TEST(test_lists),
        TEST(test_numbers_and_words),
        TEST(test_open_addresses),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
