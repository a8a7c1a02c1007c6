/* Listening: the address is checked and told, and a socket of an earlier server is used when it is
 * of that address and closed otherwise. */
#include "net/listener.h"

#include "os/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct sbx_loop loop;
static struct sbx_diag diag;
static struct sbx_net net;
static struct sbx_listener l;
static struct sbx_err err;

static int setup(void **state)
{
    (void)state;
    memset(&err, 0, sizeof err);
    assert_int_equal(sbx_loop_init(&loop), 0);
    diag.level = SBX_DIAG_ERROR;
    net = (struct sbx_net){.loop = &loop, .diag = &diag};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sbx_listener_close(&l);
    sbx_listener_close(&l);
    sbx_loop_deinit(&loop);
    return 0;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    assert_int_equal(a.sin_family, AF_INET);
    return ntohs(a.sin_port);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void expect_address(const char *host, uint16_t port)
{
    char text[80];
    (void)snprintf(text, sizeof text, "http://%s:%u", host, port);
    assert_string_equal(l.address, text);
}

/* A socket as an earlier server leaves it. */
static int earlier(const char *host)
{
    struct sbx_listener first;
    int fd;
    assert_int_equal(sbx_listener_open(&first, &net, host, 0, -1, &err), 0);
    fd = fcntl(first.io.fd, F_DUPFD_CLOEXEC, 0);
    assert_true(fd >= 0);
    sbx_listener_close(&first);
    return fd;
}

/* A client that connects and hangs up: somebody listens on that port. */
static bool somebody_listens(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), rc;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    rc = connect(fd, (struct sockaddr *)&a, sizeof a);
    (void)close(fd);
    return rc == 0;
}

static void test_open_and_close(void **state)
{
    uint16_t port;
    (void)state;
    assert_int_equal(sbx_listener_open(&l, &net, "localhost", 0, -1, &err), 0);
    port = port_of(l.io.fd);
    expect_address("127.0.0.1", port);
    assert_true((fcntl(l.io.fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(l.io.fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true(somebody_listens(port));
    sbx_listener_close(&l);
    assert_int_equal(l.io.fd, -1);
    assert_false(somebody_listens(port));
}

static void test_refused(void **state)
{
    struct sbx_listener other;
    uint16_t port;
    char name[40];
    (void)state;
    assert_int_equal(sbx_listener_open(&l, &net, "nowhere.example", 1, -1, &err), -EINVAL);
    assert_non_null(strstr(err.text, "nowhere.example"));
    assert_int_equal(sbx_listener_open(&l, &net, "127.0.0.1", 0, -1, &err), 0);
    port = port_of(l.io.fd);
    assert_int_equal(sbx_listener_open(&other, &net, "127.0.0.1", port, -1, &err), -EADDRINUSE);
    (void)snprintf(name, sizeof name, "127.0.0.1 port %u", port);
    assert_non_null(strstr(err.text, name));
    sbx_listener_close(&other); /* fine after a failure */
}

static void test_kept_socket_is_used(void **state)
{
    int kept = earlier("127.0.0.1");
    uint16_t port = port_of(kept);
    (void)state;
    /* Clients wait in its queue meanwhile. */
    assert_true(somebody_listens(port));
    assert_int_equal(sbx_listener_open(&l, &net, "127.0.0.1", port, kept, &err), 0);
    assert_int_equal(l.io.fd, kept);
    expect_address("127.0.0.1", port);
    assert_true((fcntl(kept, F_GETFL) & O_NONBLOCK) != 0);
    sbx_listener_close(&l);
    assert_false(is_open(kept));
    assert_false(somebody_listens(port));
}

/* The system chose the port: it stays the same. */
static void test_kept_socket_of_any_port(void **state)
{
    int kept = earlier("127.0.0.1");
    uint16_t port = port_of(kept);
    (void)state;
    assert_int_equal(sbx_listener_open(&l, &net, "localhost", 0, kept, &err), 0);
    assert_int_equal(l.io.fd, kept);
    expect_address("127.0.0.1", port);
}

static void expect_closed(int kept, uint16_t old, const char *host, uint16_t port)
{
    int rc = sbx_listener_open(&l, &net, host, port, kept, &err);
    if (rc != 0)
        fail_msg("%s", err.text);
    assert_true(!is_open(kept) || l.io.fd == kept); /* the number may have been given out again */
    assert_false(somebody_listens(old));
    sbx_listener_close(&l);
}

static void test_kept_socket_of_another_address(void **state)
{
    int kept = earlier("127.0.0.1"), other = earlier("127.0.0.1");
    uint16_t free_port = port_of(other);
    (void)state;
    (void)close(other);
    expect_closed(kept, port_of(kept), "127.0.0.1", free_port); /* another port */
    kept = earlier("127.0.0.1");
    expect_closed(kept, port_of(kept), "127.0.0.2", 0); /* another host */
    kept = earlier("127.0.0.1");
    expect_closed(kept, port_of(kept), "0.0.0.0", 0);
}

static void test_kept_socket_of_another_family(void **state)
{
    int kept;
    (void)state;
    if (sbx_listener_open(&l, &net, "::1", 0, -1, &err) < 0)
        skip(); /* no IPv6 here */
    sbx_listener_close(&l);
    kept = earlier("127.0.0.1");
    expect_closed(kept, port_of(kept), "::1", 0);
    kept = earlier("::1");
    assert_int_equal(sbx_listener_open(&l, &net, "::1", 0, kept, &err), 0);
    assert_int_equal(l.io.fd, kept);
    assert_memory_equal(l.address, "http://[::1]:", 13);
    sbx_listener_close(&l);
    kept = earlier("::1");
    assert_int_equal(sbx_listener_open(&l, &net, "127.0.0.1", 0, kept, &err), 0);
    expect_address("127.0.0.1", port_of(l.io.fd));
}

/* Something else than a socket. */
static void test_kept_nonsense(void **state)
{
    int kept = sbx_fd_open_null(false);
    (void)state;
    assert_true(kept >= 0);
    assert_int_equal(sbx_listener_open(&l, &net, "127.0.0.1", 0, kept, &err), 0);
    expect_address("127.0.0.1", port_of(l.io.fd));
}

/* It is the listener's also when it cannot be used for another reason. */
static void test_kept_socket_and_a_bad_host(void **state)
{
    int kept = earlier("127.0.0.1");
    (void)state;
    assert_int_equal(sbx_listener_open(&l, &net, "nowhere.example", 0, kept, &err), -EINVAL);
    assert_false(is_open(kept));
}

static void test_names(void **state)
{
    (void)state;
    assert_true(sbx_host_is_address("::"));
    assert_true(sbx_host_is_address("localhost"));
    assert_false(sbx_host_is_address("127.1"));
    assert_false(sbx_host_is_address(""));
    assert_true(sbx_host_is_loopback("127.3.2.1"));
    assert_false(sbx_host_is_loopback("0.0.0.0"));
    assert_false(sbx_host_is_loopback("localhost.example"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_open_and_close),
        TEST(test_refused),
        TEST(test_kept_socket_is_used),
        TEST(test_kept_socket_of_any_port),
        TEST(test_kept_socket_of_another_address),
        TEST(test_kept_socket_of_another_family),
        TEST(test_kept_nonsense),
        TEST(test_kept_socket_and_a_bad_host),
        TEST(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
