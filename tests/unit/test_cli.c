/* The command line, as far as it is looked at from inside: the rest is tested with the program. */
#include "app/cli.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;
static char *own_path;

/* Ends before there is a server. */
static void expect_failure(const char *option, const char *value)
{
    char words[4][32] = {"sandbox-agent", "server"}, *argv[5];
    int i;
    (void)snprintf(words[2], sizeof words[2], "%s", option);
    (void)snprintf(words[3], sizeof words[3], "%s", value);
    for (i = 0; i < 4; i++)
        argv[i] = words[i];
    argv[4] = NULL;
    assert_int_equal(sbx_cli_main(4, argv), 1);
}

static void expect_wiped(const char *first, const char *second, const char *option,
                         const char *value)
{
    char a[64], b[64], other[] = "SANDBOX_AGENT_TOKENS=stays", bare[] = "SANDBOX_AGENT_TOKEN";
    char *entries[] = {a, other, b, bare, NULL}, **before = environ;
    (void)snprintf(a, sizeof a, "SANDBOX_AGENT_TOKEN=%s", first);
    (void)snprintf(b, sizeof b, "SANDBOX_AGENT_TOKEN=%s", second);
    environ = entries;
    expect_failure(option, value);
    environ = before;
    assert_string_equal(a, "SANDBOX_AGENT_TOKEN=");
    assert_string_equal(b, "SANDBOX_AGENT_TOKEN=");
    assert_string_equal(other, "SANDBOX_AGENT_TOKENS=stays");
    assert_string_equal(bare, "SANDBOX_AGENT_TOKEN");
}

/* execve() takes an environment that has a name twice. */
static void test_every_token_of_the_environment_is_wiped(void **state)
{
    (void)state;
    expect_wiped("first-token", "second-token", "--data-dir", "/dev/null/x");
    expect_wiped("first-token", "second-token", "--token-file", "/dev/null/x");
    expect_wiped("", "second-token", "--token-file", "/dev/null/x");
    expect_wiped("", "", "--token-file", "/dev/null/x");
    expect_wiped("not a token", "second-token", "--data-dir", "/dev/null/x");
}

/* Executed: 0, when what others can read of the environment has no token left. */
static int look_at_own_environment(void)
{
    char text[8192];
    ssize_t n;
    int fd;
    expect_failure("--token-file", "/dev/null/x");
    fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    n = read(fd, text, sizeof text);
    (void)close(fd);
    if (n <= 0 || memmem(text, (size_t)n, "OTHER=stays", 11) == NULL)
        return 2;
    return memmem(text, (size_t)n, "-token", 6) != NULL;
}

static void test_what_others_can_read_of_it(void **state)
{
    char look[] = "look", one[] = "SANDBOX_AGENT_TOKEN=one-token", other[] = "OTHER=stays";
    char two[] = "SANDBOX_AGENT_TOKEN=two-token";
    char *argv[] = {own_path, look, NULL}, *env[] = {one, other, two, NULL};
    int status;
    pid_t pid;
    (void)state;
    if (access("/proc/self/environ", R_OK) < 0)
        skip();
    pid = fork();
    if (pid == 0) {
        (void)execve(own_path, argv, env);
        _exit(97);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_token_of_the_environment_is_wiped),
        cmocka_unit_test(test_what_others_can_read_of_it),
    };
    own_path = argv[0];
    if (argc == 2 && strcmp(argv[1], "look") == 0)
        return look_at_own_environment();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
