/* Which names the agent answers to. */
#include "api/origin.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LOOPBACK "127.0.0.1:2468"
#define OUTSIDE "192.0.2.7:2468"

static bool ours_with(const char *pattern, const char *host, const char *local)
{
    const char *const allowed[] = {pattern};
    struct sbx_hosts hosts = {.allowed = allowed, .nallowed = pattern != NULL};
    return sbx_host_is_ours(&hosts, sbx_str_z(host), sbx_str_z(local));
}

static bool ours(const char *host, const char *local)
{
    return ours_with(NULL, host, local);
}

static bool known(const char *pattern, const char *host)
{
    const char *const allowed[] = {pattern};
    struct sbx_hosts hosts = {.allowed = allowed, .nallowed = pattern != NULL};
    return sbx_host_is_known(&hosts, sbx_str_z(host));
}

static void test_loopback_names(void **state)
{
    static const char *const hosts[] = {
        "",           "localhost",      "LocalHost:1",  "localhost.",      "localhost.:2468",
        "127.0.0.1",  "127.0.0.1:9999", "127.3.2.1:80", "[::1]",           "[::1]:2468",
        "[0:0::1]:7", "127.0.0.1:",     "localhost:",   "[::ffff:127.0.0.1]:1",
        "0.0.0.0:2468", "[::]:2468",     "[::ffff:0.0.0.0]"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        if (!ours(hosts[i], LOOPBACK) || !ours(hosts[i], "[::1]:2468") || !ours(hosts[i], OUTSIDE))
            fail_msg("%s is ours", hosts[i]);
        if (!known(NULL, hosts[i]))
            fail_msg("%s is known", hosts[i]);
    }
}

static void test_other_names(void **state)
{
    static const char *const hosts[] = {
        "evil.example",          "evil.example:2468", "localhost.evil.example", "xlocalhost",
        "127.0.0.1.evil.example", "127.0.0.1.nip.io",  "127.1",                  "2130706433",
        "0x7f.0.0.1",            "::1",               "[::1].evil.example",     "[localhost]",
        "[127.0.0.1]",           ":2468",             "[]",                     "[::1",
        "..",                    ".",                 "sub.localhost",          "*",
        "0",                     "0.0.0"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof hosts / sizeof *hosts; i++)
        if (ours(hosts[i], LOOPBACK) || ours(hosts[i], OUTSIDE) || known(NULL, hosts[i]))
            fail_msg("%s is not ours", hosts[i]);
}

static void test_literals(void **state)
{
    (void)state;
    assert_true(ours("192.0.2.7:2468", OUTSIDE));
    assert_true(ours("192.0.2.7", OUTSIDE));
    assert_true(ours("203.0.113.1:8080", OUTSIDE)); /* of somebody who translates addresses */
    assert_true(ours("[2001:db8::1]:2468", "[2001:db8::7]:2468"));
    assert_true(ours("203.0.113.1", "[::ffff:192.0.2.7]:2468"));
    assert_false(ours("192.0.2.7:2468", LOOPBACK));
    assert_false(ours("192.0.2.7:2468", "[::1]:2468"));
    assert_false(ours("[2001:db8::1]", LOOPBACK));
    assert_false(ours("0.0.0.1", LOOPBACK));
    assert_false(ours("[::2]", LOOPBACK));
    assert_false(ours("192.0.2.7:2468", "[::ffff:127.0.0.1]:2468"));
    assert_false(known(NULL, "192.0.2.7:2468")); /* depends on the connection */
}

static void test_unix_socket(void **state)
{
    (void)state;
    assert_true(ours("anything.example", ""));
    assert_true(ours("", ""));
}

static void test_allowed(void **state)
{
    (void)state;
    assert_true(ours_with("agent.example", "agent.example", LOOPBACK));
    assert_true(ours_with("agent.example", "AGENT.Example.:8443", LOOPBACK));
    assert_true(ours_with("Agent.Example.", "agent.example:1", LOOPBACK));
    assert_true(known("agent.example", "agent.example:1"));
    assert_false(ours_with("agent.example", "x.agent.example", LOOPBACK));
    assert_false(ours_with("agent.example", "agent.example.evil", LOOPBACK));
    assert_false(ours_with("agent.example", "agent.exampl", LOOPBACK));
    assert_true(ours_with("192.0.2.7", "192.0.2.7:1", LOOPBACK));
    assert_true(ours_with("[2001:db8::1]", "[2001:DB8::1]:1", LOOPBACK));
}

static void test_allowed_port(void **state)
{
    (void)state;
    assert_true(ours_with("agent.example:8443", "agent.example:8443", LOOPBACK));
    assert_false(ours_with("agent.example:8443", "agent.example:8444", LOOPBACK));
    assert_false(ours_with("agent.example:8443", "agent.example", LOOPBACK));
    assert_true(ours_with("agent.example:443", "agent.example", LOOPBACK));
    assert_true(ours_with("agent.example:80", "agent.example", LOOPBACK));
    assert_false(ours_with("agent.example:443", "agent.example:80", LOOPBACK));
    assert_true(ours_with("[2001:db8::1]:99", "[2001:db8::1]:99", LOOPBACK));
    assert_false(ours_with("[2001:db8::1]:99", "[2001:db8::1]:98", LOOPBACK));
}

static void test_allowed_below(void **state)
{
    (void)state;
    assert_true(ours_with("*.example", "a.example", LOOPBACK));
    assert_true(ours_with("*.example", "a.b.Example:1", LOOPBACK));
    assert_false(ours_with("*.example", "example", LOOPBACK));
    assert_false(ours_with("*.example", ".example", LOOPBACK));
    assert_false(ours_with("*.example", "aexample", LOOPBACK));
    assert_false(ours_with("*.example", "abcexample", LOOPBACK));
    assert_false(ours_with("*.example", "a.example.evil", LOOPBACK));
    assert_true(ours_with("*.example:8443", "a.example:8443", LOOPBACK));
    assert_false(ours_with("*.example:8443", "a.example:1", LOOPBACK));
    assert_true(ours_with("*", "whatever.example:1", LOOPBACK));
    assert_true(ours_with("*", "192.0.2.1", LOOPBACK));
}

static void test_patterns(void **state)
{
    static const char *const good[] = {"*",           "agent.example", "agent.example:8443",
                                       "*.example",   "*.example:1",   "agent.example.",
                                       "agent_1",     "10.0.0.1",      "[::1]",
                                       "[::1]:65535", "xn--bcher-kva.example"};
    static const char *const bad[] = {"",          ":80",         "agent.example:",
                                      "a:0",       "a:65536",     "a:x",
                                      "*:80",      "*.",          "*.*.example",
                                      "a.*",       "**",          ".example",
                                      "http://a",  "a/b",         "a b",
                                      "::1",       "[::1",        "[a]",
                                      "[::1]x",    "[::1]:",      "*.[::1]",
                                      "b\xc3\xbc", "user@a",      "*example"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof good / sizeof *good; i++)
        if (sbx_host_pattern_check(good[i]) != 0)
            fail_msg("\"%s\" is a pattern", good[i]);
    for (i = 0; i < sizeof bad / sizeof *bad; i++)
        if (sbx_host_pattern_check(bad[i]) != -EINVAL)
            fail_msg("\"%s\" is no pattern", bad[i]);
}

static void test_name(void **state)
{
    (void)state;
    assert_true(sbx_str_eq_z(sbx_host_name(SBX_STR("a.example:80")), "a.example"));
    assert_true(sbx_str_eq_z(sbx_host_name(SBX_STR("a.example.")), "a.example"));
    assert_true(sbx_str_eq_z(sbx_host_name(SBX_STR("[2001:db8::1]:80")), "[2001:db8::1]"));
    assert_true(sbx_str_eq_z(sbx_host_name(SBX_STR(":80")), ":80"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loopback_names), cmocka_unit_test(test_other_names),
        cmocka_unit_test(test_literals),       cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_allowed),        cmocka_unit_test(test_allowed_port),
        cmocka_unit_test(test_allowed_below),  cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
