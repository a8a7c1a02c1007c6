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
#include <sys/un.h>
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

static void expect_listens(size_t i, const char *text)
{
    char have[SBX_ADDRESS_TEXT];
    assert_true(i < c.nlisten);
    sbx_address_format(&c.listen[i], have, sizeof have);
    assert_string_equal(have, text);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_null(c.host);
    assert_int_equal(c.port, -1);
    assert_int_equal(c.tokens.count, 0);
    assert_false(sbx_config_wants_tls(&c));
    assert_int_equal(sbx_config_check(&c, &err), 0);
    assert_int_equal(c.nlisten, 1);
    expect_listens(0, "127.0.0.1:2468");
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

/* --- tokens --- */

static void expect_token(size_t i, const char *secret, enum sbx_scope scope)
{
    assert_true(i < c.tokens.count);
    assert_true(sbx_str_eq_z(c.tokens.list[i].secret, secret));
    assert_int_equal(c.tokens.list[i].scope, scope);
}

static void test_token(void **state)
{
    static const char *const bad[] = {"", "a\tb", "a\x7f", " a", "a "};
    char text[1100];
    size_t i;
    (void)state;
    assert_int_equal(sbx_config_set_token(&c, "s3cret with blank", &err), 0);
    expect_token(0, "s3cret with blank", SBX_SCOPE_FULL);
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_refused(sbx_config_set_token(&c, bad[i], &err), "--token");
    memset(text, 'x', sizeof text);
    text[1025] = '\0';
    expect_refused(sbx_config_set_token(&c, text, &err), "--token");
    assert_null(strstr(err.text, "xxx")); /* never in a message */
    assert_int_equal(c.tokens.count, 1);
    text[1024] = '\0';
    assert_int_equal(sbx_config_set_token(&c, text, &err), 0);
}

static void write_file(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int read_token_file(const char *path)
{
    c.token_file = path;
    return sbx_config_read_tokens(&c, &err);
}

static int token_file(const char *text, size_t n)
{
    char path[] = "/tmp/config.XXXXXX";
    int fd = mkstemp(path), rc;
    assert_true(fd >= 0);
    (void)close(fd);
    write_file(path, text, n);
    rc = read_token_file(path);
    assert_int_equal(unlink(path), 0);
    return rc;
}

static void test_token_file(void **state)
{
    static const char several[] = "# who may\n\nfirst full\r\nsecond\tread\nthird";
    char text[2000];
    (void)state;
    assert_int_equal(token_file("secret\r\n", 8), 0);
    assert_int_equal(c.tokens.count, 1);
    expect_token(0, "secret", SBX_SCOPE_FULL);
    assert_int_equal(token_file(several, sizeof several - 1), 0);
    assert_int_equal(c.tokens.count, 3);
    expect_token(0, "first", SBX_SCOPE_FULL);
    expect_token(1, "second", SBX_SCOPE_READ);
    expect_token(2, "third", SBX_SCOPE_FULL);
    expect_refused(token_file("", 0), "--token-file");
    expect_refused(token_file("\n\n", 2), "--token-file");
    expect_refused(token_file("good\nhush write\n", 16), "line 2");
    assert_null(strstr(err.text, "hush"));
    assert_null(strstr(err.text, "write"));
    expect_refused(token_file("a\0b", 3), "line 1");
    memset(text, 'x', sizeof text);
    expect_refused(token_file(text, 1025), "line 1");
    assert_null(strstr(err.text, "xxx"));
    assert_int_equal(c.tokens.count, 3); /* the last ones that were right */
    assert_int_equal(token_file(text, 1024), 0);
    assert_int_equal(read_token_file("/no/such/file"), -ENOENT);
    assert_string_equal(err.text,
                        "cannot read --token-file /no/such/file: No such file or directory");
    assert_int_equal(read_token_file("/"), -EISDIR);
}

/* A file that has become bad or is gone leaves the tokens as they were. */
static void test_token_file_is_read_again(void **state)
{
    char path[] = "/tmp/config.XXXXXX";
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(sbx_config_set_token(&c, "from a flag", &err), 0);
    assert_int_equal(sbx_config_read_tokens(&c, &err), 0);
    expect_token(0, "from a flag", SBX_SCOPE_FULL);
    write_file(path, "first\nother\n", 12);
    assert_int_equal(read_token_file(path), 0);
    write_file(path, "second read\n", 12);
    assert_int_equal(sbx_config_read_tokens(&c, &err), 0);
    assert_int_equal(c.tokens.count, 1);
    expect_token(0, "second", SBX_SCOPE_READ);
    write_file(path, "fine\na b c\n", 11);
    expect_refused(sbx_config_read_tokens(&c, &err), path);
    assert_non_null(strstr(err.text, "line 2"));
    write_file(path, "", 0);
    expect_refused(sbx_config_read_tokens(&c, &err), path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(sbx_config_read_tokens(&c, &err), -ENOENT);
    assert_int_equal(c.tokens.count, 1);
    expect_token(0, "second", SBX_SCOPE_READ);
}

static int refuse(void *ctx)
{
    (void)ctx;
    return 0;
}

static void test_tokens_outlive_lack_of_memory(void **state)
{
    (void)state;
    assert_int_equal(sbx_config_set_token(&c, "short", &err), 0);
    sbx_mem_set_gate(refuse, NULL);
    assert_int_equal(sbx_config_set_token(&c, "another", &err), -ENOMEM);
    sbx_mem_set_gate(NULL, NULL);
    assert_int_equal(c.tokens.count, 1);
    expect_token(0, "short", SBX_SCOPE_FULL);
    assert_int_equal(sbx_config_set_token(&c, "another", &err), 0);
}

/* --- addresses --- */

static void test_listen(void **state)
{
    static const char *const good[] = {"127.0.0.1:5000", "[::1]:5000", "unix:/tmp/a.sock", "5001",
                                       "127.0.0.1:0"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(sbx_config_add_listen(&c, good[i], &err), 0);
    expect_refused(sbx_config_add_listen(&c, "nowhere.example:80", &err), "nowhere.example:80");
    expect_refused(sbx_config_add_listen(&c, "", &err), "--listen");
    for (i = 0; i < sizeof good / sizeof good[0]; i++)
        expect_refused(sbx_config_add_listen(&c, good[i], &err), "given twice");
    expect_refused(sbx_config_add_listen(&c, "localhost:5000", &err), "given twice");
    assert_int_equal(c.nlisten, 5);
    assert_int_equal(sbx_config_check(&c, &err), 0);
    assert_int_equal(c.nlisten, 5); /* no default beside them */
    expect_listens(0, "127.0.0.1:5000");
    expect_listens(1, "[::1]:5000");
    expect_listens(2, "unix:/tmp/a.sock");
    expect_listens(3, "127.0.0.1:5001");
    expect_listens(4, "127.0.0.1:0");
}

static void test_longest_socket_path(void **state)
{
    char text[200] = "unix:/";
    const size_t most = sizeof ((struct sockaddr_un *)0)->sun_path - 1;
    (void)state;
    memset(text + 6, 'x', most);
    text[5 + most] = '\0';
    assert_int_equal(sbx_config_add_listen(&c, text, &err), 0);
    text[5 + most] = 'x';
    text[6 + most] = '\0';
    expect_refused(sbx_config_add_listen(&c, text, &err), "at most");
}

static void test_most_addresses(void **state)
{
    char text[16];
    unsigned i;
    (void)state;
    for (i = 1; i < SBX_LISTEN_MAX; i++) {
        (void)snprintf(text, sizeof text, "%u", 5000 + i);
        assert_int_equal(sbx_config_add_listen(&c, text, &err), 0);
    }
    expect_refused(sbx_config_add_listen(&c, "4000", &err), "more than 15");
    /* And still one by the other flags. */
    assert_int_equal(sbx_config_set_port(&c, "4000", &err), 0);
    assert_int_equal(sbx_config_check(&c, &err), 0);
    assert_int_equal(c.nlisten, SBX_LISTEN_MAX);
    expect_listens(0, "127.0.0.1:4000");
    expect_listens(SBX_LISTEN_MAX - 1, "127.0.0.1:5015");
}

/* --host and --port make one address, and it comes first. */
static void test_host_and_port_beside_listen(void **state)
{
    (void)state;
    c.host = "::1";
    assert_int_equal(sbx_config_add_listen(&c, "127.0.0.1:5000", &err), 0);
    assert_int_equal(sbx_config_check(&c, &err), 0);
    assert_int_equal(c.nlisten, 2);
    expect_listens(0, "[::1]:2468");
    expect_listens(1, "127.0.0.1:5000");
}

static void test_host_and_port_alone(void **state)
{
    (void)state;
    c.host = "localhost";
    assert_int_equal(sbx_config_set_port(&c, "81", &err), 0);
    assert_int_equal(sbx_config_check(&c, &err), 0);
    assert_int_equal(c.nlisten, 1);
    expect_listens(0, "127.0.0.1:81");
}

static void test_host_that_is_none(void **state)
{
    static const char *const bad[] = {"", "agent.example", "localhost.example", "127.1", "[::1]",
                                      "127.0.0.1:80", "unix:/tmp/x"};
    char text[60];
    size_t i;
    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        c.host = bad[i];
        (void)snprintf(text, sizeof text, "--host \"%s\"", bad[i]);
        expect_refused(sbx_config_check(&c, &err), text);
    }
    assert_int_equal(c.nlisten, 0);
}

static void test_host_and_port_that_are_listed(void **state)
{
    (void)state;
    assert_int_equal(sbx_config_add_listen(&c, "127.0.0.1:2468", &err), 0);
    c.host = "localhost";
    expect_refused(sbx_config_check(&c, &err), "--host and --port");
}

/* Port 0 is none of those that are named. */
static void test_any_port_beside_one(void **state)
{
    (void)state;
    assert_int_equal(sbx_config_add_listen(&c, "127.0.0.1:5000", &err), 0);
    assert_int_equal(sbx_config_set_port(&c, "0", &err), 0);
    assert_int_equal(sbx_config_check(&c, &err), 0);
    assert_int_equal(c.nlisten, 2);
    expect_listens(0, "127.0.0.1:0");
}

/* --- TLS --- */

static void expect_tls(const char *cert, const char *key, const char *ca, bool own,
                       const char *refusal)
{
    int rc;
    c.tls_cert = cert;
    c.tls_key = key;
    c.tls_client_ca = ca;
    c.tls_self_signed = own;
    c.nlisten = 0;
    rc = sbx_config_check(&c, &err);
    if (refusal != NULL)
        expect_refused(rc, refusal);
    else
        assert_int_equal(rc, 0);
}

static void test_tls_flags(void **state)
{
    (void)state;
    expect_tls("c", "k", NULL, false, NULL);
    assert_true(sbx_config_wants_tls(&c));
    expect_tls("c", "k", "a", false, NULL);
    expect_tls(NULL, NULL, NULL, true, NULL);
    assert_true(sbx_config_wants_tls(&c));
    expect_tls(NULL, NULL, "a", true, NULL);
    expect_tls("c", NULL, NULL, false, "--tls-cert needs --tls-key");
    expect_tls(NULL, "k", NULL, false, "--tls-key needs --tls-cert");
    expect_tls(NULL, NULL, "a", false, "--tls-client-ca needs");
    expect_tls("c", NULL, NULL, true, "--tls-self-signed");
    expect_tls(NULL, "k", NULL, true, "--tls-self-signed");
    expect_tls("c", "k", "a", true, "--tls-self-signed");
}

/* --- lists --- */

static void test_allow_host(void **state)
{
    static const char *const good[] = {"agent.example", "agent.example:8443", "*.example", "*",
                                       "10.0.0.5", "[2001:db8::5]"};
    static const char *const bad[] = {"", "http://agent.example", "a b", "*.", "a*.example",
                                      "agent.example:x", "agent.example/"};
    char text[60];
    size_t i;
    (void)state;
    for (i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (sbx_config_add_allow_host(&c, good[i], &err) != 0)
            fail_msg("%s", err.text);
        assert_string_equal(c.allow_hosts[i], good[i]);
    }
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)snprintf(text, sizeof text, "--allow-host \"%s\"", bad[i]);
        expect_refused(sbx_config_add_allow_host(&c, bad[i], &err), text);
    }
    assert_int_equal(c.nallow_hosts, sizeof good / sizeof good[0]);
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
    static const char *const closed[] = {"127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "localhost:2",
                                         "unix:/tmp/a.sock", "[::ffff:127.0.0.1]:1"};
    static const char *const open_ones[] = {"0.0.0.0:1", "[::]:1", "10.0.0.5:1", "[fe80::1]:1",
                                            "[::ffff:10.0.0.5]:1"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof closed / sizeof closed[0]; i++)
        assert_int_equal(sbx_config_add_listen(&c, closed[i], &err), 0);
    assert_int_equal(sbx_config_check(&c, &err), 0);
    /* One among them is enough. */
    for (i = 0; i < sizeof open_ones / sizeof open_ones[0]; i++) {
        c.nlisten = sizeof closed / sizeof closed[0];
        assert_int_equal(sbx_config_add_listen(&c, open_ones[i], &err), 0);
        expect_refused(sbx_config_check(&c, &err), open_ones[i]);
        assert_non_null(strstr(err.text, "--token"));
        assert_non_null(strstr(err.text, "--no-token"));
    }
    c.no_token = true;
    assert_int_equal(sbx_config_check(&c, &err), 0);
    c.no_token = false;
    assert_int_equal(sbx_config_set_token(&c, "secret", &err), 0);
    assert_int_equal(sbx_config_check(&c, &err), 0);
}

static void test_open_host(void **state)
{
    (void)state;
    c.host = "0.0.0.0";
    expect_refused(sbx_config_check(&c, &err), "0.0.0.0:2468 can be reached by others");
}

static void test_ui(void **state)
{
    (void)state;
    assert_int_equal(sbx_config_open_ui(&c, &err), 0);
    assert_int_equal(c.ui_fd, -1);
    c.ui_dir = "/nowhere/at/all";
    assert_int_equal(sbx_config_open_ui(&c, &err), -ENOENT);
    assert_string_equal(err.text, "--ui-dir /nowhere/at/all: No such file or directory");
    assert_int_equal(sbx_config_check(&c, &err), 0);
    c.no_ui = true;
    expect_refused(sbx_config_check(&c, &err), "--no-ui and --ui-dir");
}

static void configure_with_little_memory(void *ctx, const struct gate *g)
{
    struct sbx_config one;
    int rc;
    (void)ctx;
    sbx_config_init(&one);
    rc = sbx_config_set_token(&one, "secret", &err);
    rc = rc < 0 ? rc : sbx_config_add_allow_host(&one, "agent.example", &err);
    rc = rc < 0 ? rc : sbx_config_add_origin(&one, "*", &err);
    rc = rc < 0 ? rc : sbx_config_add_method(&one, "GET", &err);
    rc = rc < 0 ? rc : sbx_config_add_header(&one, "x", &err);
    assert_int_equal(rc, gate_hit(g) ? -ENOMEM : 0);
    sbx_config_deinit(&one);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_int_equal(gate_each(configure_with_little_memory, NULL), 6);
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
        TEST(test_tokens_outlive_lack_of_memory),
        TEST(test_listen),
        TEST(test_longest_socket_path),
        TEST(test_most_addresses),
        TEST(test_host_and_port_beside_listen),
        TEST(test_host_and_port_alone),
        TEST(test_host_that_is_none),
        TEST(test_host_and_port_that_are_listed),
        TEST(test_any_port_beside_one),
        TEST(test_tls_flags),
        TEST(test_allow_host),
        TEST(test_origins),
        TEST(test_lists),
        TEST(test_numbers_and_words),
        TEST(test_open_addresses),
        TEST(test_open_host),
        TEST(test_ui),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
