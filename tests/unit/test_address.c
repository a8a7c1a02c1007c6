/* Addresses: what --listen takes and refuses, and who has connected. */
#include "net/address.h"
#include "guard.h"

#include <arpa/inet.h>
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

#define PATH_MOST (sizeof((struct sockaddr_un *)0)->sun_path - 1)

static struct sbx_err err;

static struct sbx_address parsed(const char *text)
{
    struct sbx_address a;
    memset(&a, 0xA5, sizeof a);
    if (sbx_address_parse(&a, text, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return a;
}

static void check_parse(const char *text, const char *formatted, int family, bool local)
{
    struct sbx_address a = parsed(text);
    char out[SBX_ADDRESS_TEXT];
    sbx_address_format(&a, out, sizeof out);
    assert_string_equal(out, formatted);
    assert_int_equal(a.sock.sa.sa_family, family);
    assert_int_equal(sbx_address_is_local(&a), local);
    assert_int_equal(sbx_address_is_unix(&a), family == AF_UNIX);
}

static void test_listen_forms(void **state)
{
    (void)state;
    check_parse("127.0.0.1:2468", "127.0.0.1:2468", AF_INET, true);
    check_parse("0.0.0.0:65535", "0.0.0.0:65535", AF_INET, false);
    check_parse("127.9.8.7:1", "127.9.8.7:1", AF_INET, true);
    check_parse("128.0.0.1:1", "128.0.0.1:1", AF_INET, false);
    check_parse("10.0.0.127:80", "10.0.0.127:80", AF_INET, false);
    check_parse("localhost:0", "127.0.0.1:0", AF_INET, true);
    check_parse("LocalHost:80", "127.0.0.1:80", AF_INET, true);
    check_parse("2468", "127.0.0.1:2468", AF_INET, true);
    check_parse("0", "127.0.0.1:0", AF_INET, true);
    check_parse("[::]:2468", "[::]:2468", AF_INET6, false);
    check_parse("[::1]:2468", "[::1]:2468", AF_INET6, true);
    check_parse("[0:0::0:1]:0", "[::1]:0", AF_INET6, true);
    check_parse("[2001:DB8::1]:443", "[2001:db8::1]:443", AF_INET6, false);
    check_parse("[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.1]:80", AF_INET6, true);
    check_parse("[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.1]:80", AF_INET6, false);
    check_parse("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", AF_INET6, false);
    check_parse("unix:/run/agent.sock", "unix:/run/agent.sock", AF_UNIX, true);
    check_parse("unix:agent", "unix:agent", AF_UNIX, true);
    check_parse("unix::80", "unix::80", AF_UNIX, true);
    check_parse("unix:unix:a", "unix:unix:a", AF_UNIX, true);
}

static void test_parsed_sockaddr(void **state)
{
    struct sbx_address a = parsed("1.2.3.4:258");
    (void)state;
    assert_int_equal(a.len, sizeof(struct sockaddr_in));
    assert_memory_equal(&a.sock.in.sin_addr, "\1\2\3\4", 4);
    assert_memory_equal(&a.sock.in.sin_port, "\1\2", 2);
    a = parsed("[1:2::3]:513");
    assert_int_equal(a.len, sizeof(struct sockaddr_in6));
    assert_memory_equal(&a.sock.in6.sin6_addr, "\0\1\0\2\0\0\0\0\0\0\0\0\0\0\0\3", 16);
    assert_memory_equal(&a.sock.in6.sin6_port, "\2\1", 2);
    assert_int_equal(a.sock.in6.sin6_scope_id, 0);
    a = parsed("unix:/a");
    assert_int_equal(a.len, offsetof(struct sockaddr_un, sun_path) + 3);
    assert_string_equal(a.sock.un.sun_path, "/a");
}

/* The text of the refusal begins with flag and value; why is found in the rest. */
static void check_refused(const char *text, const char *why)
{
    struct sbx_address a;
    char named[200];
    memset(&err, 0, sizeof err);
    if (sbx_address_parse(&a, text, &err) != -EINVAL)
        fail_msg("\"%s\" was not refused", text);
    assert_int_equal(err.code, -EINVAL);
    (void)snprintf(named, sizeof named, "--listen \"%.128s\": ", text);
    if (strncmp(err.text, named, strlen(named)) != 0 || strstr(err.text, why) == NULL)
        fail_msg("\"%s\" was refused with: %s", text, err.text);
}

static void test_listen_refusals(void **state)
{
    static const char *const names[] = {
        "example.org:80", ":80",          "*:80",         "1.2.3:80",     "1.2.3.4.5:80",
        "256.0.0.1:80",   "01.2.3.4:80",  "0x7f.0.0.1:1", "localhost.:1", "localhostx:1",
        "local:1",        " 127.0.0.1:1", "127.0.0.1 :1", "[]:80",        "[localhos]:80",
        "[::1%lo]:80",    "[::g]:80",     "[1:2]:80",     "[[::1]:80"};
    static const char *const ports[] = {"127.0.0.1:", "127.0.0.1:x", "127.0.0.1:+1", "127.0.0.1:-1",
                                        "127.0.0.1: 1", "127.0.0.1:1 ", "[::1]:", "[::1]::1",
                                        "localhost:0x10"};
    static const char *const no_ports[] = {"localhost", "127.0.0.1", "-1",
                                           "24x68",     "unix",      " 2468"};
    static const char *const bare_v6[] = {"::1", "::1:2468", "::", "2001:db8::1:443", "1:2:3"};
    static const char *const closings[] = {"[::1", "[::1]", "[::1]80", "[", "[:", "[::1:80"};
    size_t i;
    (void)state;
    check_refused("", "HOST:PORT");
    check_refused("http://127.0.0.1:2468", "HOST:PORT");
    check_refused("127.0.0.1:80:tcp", "HOST:PORT");
    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        check_refused(names[i], "neither an IP address nor localhost");
    for (i = 0; i < sizeof ports / sizeof ports[0]; i++)
        check_refused(ports[i], "port is not a number");
    for (i = 0; i < sizeof no_ports / sizeof no_ports[0]; i++)
        check_refused(no_ports[i], "port is missing");
    for (i = 0; i < sizeof bare_v6 / sizeof bare_v6[0]; i++)
        check_refused(bare_v6[i], "brackets");
    for (i = 0; i < sizeof closings / sizeof closings[0]; i++)
        check_refused(closings[i], "\"]:PORT\" is missing");
    check_refused("[127.0.0.1]:80", "brackets");
    check_refused("[localhost]:80", "brackets");
}

static void test_ports_that_do_not_fit(void **state)
{
    (void)state;
    check_refused("65536", "65535");
    check_refused("127.0.0.1:65536", "65535");
    check_refused("[::1]:65536", "65535");
    check_refused("localhost:131072", "65535"); /* 0 in 16 bits */
    check_refused("localhost:4294967296", "65535");
    check_refused("localhost:18446744073709551617", "65535");
}

static void test_unix_paths(void **state)
{
    char text[PATH_MOST + 16], out[SBX_ADDRESS_TEXT];
    struct sbx_address a;
    (void)state;
    check_refused("unix:", "path of the socket is missing");
    memset(text, 'p', sizeof text);
    memcpy(text, "unix:/", 6);
    text[5 + PATH_MOST + 1] = '\0';
    check_refused(text, "has at most");
    text[5 + PATH_MOST] = '\0';
    a = parsed(text);
    assert_true(a.len <= sizeof a.sock.un);
    sbx_address_format(&a, out, sizeof out);
    assert_string_equal(out, text);
}

/* As getsockname may give them: without a NUL, without a path, and with more than there is. */
static void test_unix_names_of_the_kernel(void **state)
{
    struct sbx_address a, b;
    char out[SBX_ADDRESS_TEXT];
    (void)state;
    memset(&a, 'p', sizeof a);
    a.sock.un.sun_family = AF_UNIX;
    a.len = sizeof a.sock.un;
    sbx_address_format(&a, out, sizeof out);
    assert_int_equal(strlen(out), 5 + sizeof a.sock.un.sun_path);
    a.len = sizeof a.sock + 100;
    sbx_address_format(&a, out, sizeof out);
    assert_int_equal(strlen(out), 5 + sizeof a.sock.un.sun_path);
    a.len = offsetof(struct sockaddr_un, sun_path) + 2;
    sbx_address_format(&a, out, sizeof out);
    assert_string_equal(out, "unix:pp");
    b = parsed("unix:pp");
    assert_true(sbx_address_is(&a, &b));
    a.len = sizeof a.sock.un.sun_family;
    sbx_address_format(&a, out, sizeof out);
    assert_string_equal(out, "unix:");
    assert_false(sbx_address_is(&a, &b));
}

static void test_nothing_to_format(void **state)
{
    struct sbx_address a;
    char out[SBX_ADDRESS_TEXT] = "x";
    (void)state;
    memset(&a, 0, sizeof a);
    sbx_address_format(&a, out, sizeof out);
    assert_string_equal(out, "");
    assert_false(sbx_address_is_local(&a));
    assert_false(sbx_address_is(&a, &a));
}

/* A host is a view: what stands behind it is not looked at. */
static void check_host(const char *host, size_t n, int family)
{
    uint8_t *copy = guard_copy(host, n);
    struct sbx_address a;
    int rc = sbx_address_of_host(&a, (struct sbx_str){(const char *)copy, n}, 80);
    assert_int_equal(rc, family == AF_UNSPEC ? -EINVAL : 0);
    assert_int_equal(a.sock.sa.sa_family, family);
    guard_free(copy);
}

static void test_hosts(void **state)
{
    static const char longest[] = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255";
    char long_name[400];
    (void)state;
    check_host("127.0.0.1", 9, AF_INET);
    check_host("::1", 3, AF_INET6);
    check_host("localhost", 9, AF_INET);
    check_host(longest, sizeof longest - 1, AF_INET6);
    check_host("", 0, AF_UNSPEC);
    check_host("127.0.0.1\0x", 11, AF_UNSPEC);
    check_host("localhost\0", 10, AF_UNSPEC);
    check_host("[::1]", 5, AF_UNSPEC);
    check_host("localhos", 8, AF_UNSPEC);
    memset(long_name, '1', sizeof long_name);
    check_host(long_name, sizeof long_name, AF_UNSPEC);
    check_host(long_name, INET6_ADDRSTRLEN, AF_UNSPEC);
    check_host(long_name, INET6_ADDRSTRLEN - 1, AF_UNSPEC);
}

static bool is(const char *have, const char *want)
{
    struct sbx_address a = parsed(have), b = parsed(want);
    return sbx_address_is(&a, &b);
}

static void test_is(void **state)
{
    (void)state;
    assert_true(is("127.0.0.1:80", "127.0.0.1:80"));
    assert_true(is("127.0.0.1:80", "127.0.0.1:0"));
    assert_true(is("127.0.0.1:80", "localhost:0"));
    assert_false(is("127.0.0.1:80", "127.0.0.1:81"));
    assert_false(is("127.0.0.1:0", "127.0.0.1:80"));
    assert_false(is("127.0.0.1:80", "127.0.0.2:80"));
    assert_true(is("[::1]:80", "[::1]:80"));
    assert_true(is("[::1]:80", "[::1]:0"));
    assert_false(is("[::1]:80", "[::1]:81"));
    assert_false(is("[::1]:80", "[::2]:0"));
    assert_false(is("[::]:80", "0.0.0.0:80"));
    assert_true(is("unix:/a", "unix:/a"));
    assert_false(is("unix:/a", "unix:/ab"));
    assert_false(is("unix:/ab", "unix:/a"));
    assert_false(is("unix:/a", "127.0.0.1:0"));
}

/* --- over real sockets ------------------------------------------------------------------------ */

struct pair {
    int listening, client, server;
};

/* to: NULL when one connects to what is listened on. False: the machine has no such family. */
static bool open_pair(struct pair *p, struct sbx_address *on, const char *to)
{
    struct sbx_address a = *on, at;
    p->client = p->server = -1;
    p->listening = socket(on->sock.sa.sa_family, SOCK_STREAM, 0);
    if (p->listening < 0 || bind(p->listening, &on->sock.sa, on->len) != 0)
        return false;
    assert_int_equal(listen(p->listening, 1), 0);
    a.len = sizeof a.sock;
    memset(&a.sock, 0, sizeof a.sock);
    assert_int_equal(getsockname(p->listening, &a.sock.sa, &a.len), 0);
    assert_true(sbx_address_is(&a, on));
    at = to == NULL ? a : parsed(to);
    if (to != NULL)
        at.sock.in.sin_port = a.sock.in.sin_port; /* in6 has it in the same place */
    *on = a;
    p->client = socket(at.sock.sa.sa_family, SOCK_STREAM, 0);
    if (p->client < 0 || connect(p->client, &at.sock.sa, at.len) != 0)
        return false;
    p->server = accept(p->listening, NULL, NULL);
    assert_true(p->server >= 0);
    return true;
}

static void close_pair(const struct pair *p)
{
    if (p->listening >= 0)
        (void)close(p->listening);
    if (p->client >= 0)
        (void)close(p->client);
    if (p->server >= 0)
        (void)close(p->server);
}

static void check_peer(int fd, int family, const void *bytes, size_t n)
{
    struct sbx_peer peer, want;
    memset(&peer, 0xA5, sizeof peer);
    memset(&want, 0, sizeof want);
    want.family = (uint8_t)family;
    memcpy(want.bytes, bytes, n);
    sbx_peer_of_fd(&peer, fd);
    assert_memory_equal(&peer, &want, sizeof peer); /* so that peers can be compared whole */
}

static void check_pair(const char *on, const char *to, int family, const void *bytes, size_t n)
{
    struct sbx_address a = parsed(on);
    struct pair p;
    bool opened = open_pair(&p, &a, to);
    if (opened)
        check_peer(p.server, family, bytes, n);
    close_pair(&p);
    if (!opened && a.sock.sa.sa_family == AF_INET6)
        skip();
    assert_true(opened);
}

static void test_peer_v4(void **state)
{
    (void)state;
    check_pair("localhost:0", NULL, AF_INET, "\177\0\0\1", 4);
}

static void test_peer_v6(void **state)
{
    (void)state;
    check_pair("[::1]:0", NULL, AF_INET6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
}

static void test_peer_v4_inside_v6(void **state)
{
    (void)state;
    check_pair("[::]:0", "127.0.0.1:0", AF_INET, "\177\0\0\1", 4);
}

static void test_peer_unix(void **state)
{
    char dir[] = "/tmp/test_address.XXXXXX", text[64];
    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(text, sizeof text, "unix:%s/s", dir);
    check_pair(text, NULL, AF_UNIX, "", 0);
    assert_int_equal(unlink(text + 5), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_peer_unknown(void **state)
{
    int fds[2], alone = socket(AF_INET, SOCK_STREAM, 0);
    (void)state;
    assert_int_equal(pipe(fds), 0);
    check_peer(-1, AF_UNSPEC, "", 0);
    check_peer(fds[0], AF_UNSPEC, "", 0);
    check_peer(alone, AF_UNSPEC, "", 0);
    (void)close(fds[0]);
    (void)close(fds[1]);
    (void)close(alone);
}

/* The port that the system chose is told, and the one that was wished for is any. */
static void test_bound_address(void **state)
{
    struct sbx_address a = parsed("127.0.0.1:0"), want = a;
    char out[SBX_ADDRESS_TEXT];
    struct pair p;
    (void)state;
    assert_true(open_pair(&p, &a, NULL));
    sbx_address_format(&a, out, sizeof out);
    assert_string_not_equal(out, "127.0.0.1:0");
    assert_true(sbx_address_is(&a, &want));
    assert_false(sbx_address_is(&want, &a));
    want = parsed(out);
    assert_true(sbx_address_is(&a, &want));
    close_pair(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen_forms),
        cmocka_unit_test(test_parsed_sockaddr),
        cmocka_unit_test(test_listen_refusals),
        cmocka_unit_test(test_ports_that_do_not_fit),
        cmocka_unit_test(test_unix_paths),
        cmocka_unit_test(test_unix_names_of_the_kernel),
        cmocka_unit_test(test_nothing_to_format),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_is),
        cmocka_unit_test(test_peer_v4),
        cmocka_unit_test(test_peer_v6),
        cmocka_unit_test(test_peer_v4_inside_v6),
        cmocka_unit_test(test_peer_unix),
        cmocka_unit_test(test_peer_unknown),
        cmocka_unit_test(test_bound_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
