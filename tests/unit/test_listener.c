/* Listening: what is told of the address, sockets of an earlier server, which are used when they
 * are of that address and closed otherwise, and the files of unix sockets, of which only our own
 * and those that nobody listens on any more may be removed. */
#include "net/listener.h"

#include "os/fd.h"
#include "rig.h"

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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct sbx_loop loop;
static struct sbx_diag diag;
static struct sbx_net net;
static struct sbx_listener l;
static struct sbx_err err;
static char dir[64], path[100];

static int setup(void **state)
{
    (void)state;
    memset(&err, 0, sizeof err);
    assert_int_equal(sbx_loop_init(&loop), 0);
    diag.level = SBX_DIAG_ERROR;
    net = (struct sbx_net){.loop = &loop, .diag = &diag};
    sbx_net_init(&net);
    l = (struct sbx_listener){.io = {.fd = -1}};
    strcpy(dir, "/tmp/listener.XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/agent.sock", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sbx_listener_close(&l);
    sbx_listener_close(&l);
    sbx_loop_deinit(&loop);
    (void)unlink(path);
    return rmdir(dir);
}

/* --- addresses and clients --- */

static struct sbx_address ip(const char *host, uint16_t port)
{
    struct sbx_address a;
    assert_int_equal(sbx_address_of_host(&a, sbx_str_z(host), port), 0);
    return a;
}

static struct sbx_address file(const char *of)
{
    struct sbx_address a;
    char text[120];
    (void)snprintf(text, sizeof text, "unix:%s", of);
    assert_int_equal(sbx_address_parse(&a, text, &err), 0);
    return a;
}

static int open_at(struct sbx_address want, int kept)
{
    return sbx_listener_open(&l, &net, &want, kept, &err);
}

static void must_open(struct sbx_address want, int kept)
{
    if (open_at(want, kept) != 0)
        fail_msg("%s", err.text);
}

static uint16_t port_of(int fd)
{
    struct sbx_address a;
    sbx_address_of_fd(&a, fd);
    assert_int_equal(a.sock.sa.sa_family, AF_INET);
    return ntohs(a.sock.in.sin_port);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void expect_url(const char *scheme, const char *host, uint16_t port)
{
    char text[80];
    (void)snprintf(text, sizeof text, "%s://%s:%u", scheme, host, port);
    assert_string_equal(l.url, text);
}

/* A socket as an earlier server leaves it. */
static int earlier(struct sbx_address want)
{
    int fd = sbx_listener_bind(&want, &err);
    if (fd < 0)
        fail_msg("%s", err.text);
    return fd;
}

/* A client that connects and hangs up: somebody listens there. */
static bool answers(struct sbx_address a)
{
    int fd = socket(a.sock.sa.sa_family, SOCK_STREAM, 0), rc;
    assert_true(fd >= 0);
    rc = connect(fd, &a.sock.sa, a.len);
    (void)close(fd);
    return rc == 0;
}

static bool port_answers(uint16_t port)
{
    return answers(ip("127.0.0.1", port));
}

static bool has_ipv6(void)
{
    struct sbx_address any = ip("::1", 0);
    int fd = sbx_listener_bind(&any, &err);
    if (fd < 0)
        return false;
    (void)close(fd);
    return true;
}

/* --- TCP --- */

static void test_open_and_close(void **state)
{
    uint16_t port;
    (void)state;
    must_open(ip("localhost", 0), -1);
    port = port_of(l.io.fd);
    expect_url("http", "127.0.0.1", port);
    assert_true((fcntl(l.io.fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(l.io.fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true(port_answers(port));
    sbx_listener_retire(&l); /* there is no file */
    sbx_listener_close(&l);
    assert_int_equal(l.io.fd, -1);
    assert_false(port_answers(port));
}

static void test_nothing_stays_open(void **state)
{
    size_t before;
    uint16_t port;
    (void)state;
    must_open(ip("127.0.0.1", 0), -1);
    port = port_of(l.io.fd);
    sbx_listener_close(&l);
    before = rig_count_fds();
    must_open(ip("127.0.0.1", port), -1);
    sbx_listener_close(&l);
    must_open(file(path), -1);
    sbx_listener_close(&l); /* leaves the file, which is stale now */
    must_open(file(path), -1);
    sbx_listener_retire(&l);
    sbx_listener_close(&l);
    assert_int_equal(open_at(file("/no/such/directory/socket"), -1), -ENOENT);
    assert_int_equal(open_at(ip("192.0.2.1", 0), -1), -EADDRNOTAVAIL);
    assert_int_equal(rig_count_fds(), before);
}

static void test_refused(void **state)
{
    struct sbx_listener other;
    struct sbx_address taken;
    char name[40];
    (void)state;
    must_open(ip("127.0.0.1", 0), -1);
    taken = ip("127.0.0.1", port_of(l.io.fd));
    assert_int_equal(sbx_listener_open(&other, &net, &taken, -1, &err), -EADDRINUSE);
    (void)snprintf(name, sizeof name, "cannot listen on 127.0.0.1:%u: ", port_of(l.io.fd));
    assert_memory_equal(err.text, name, strlen(name));
    assert_non_null(strstr(err.text, strerror(EADDRINUSE)));
    sbx_listener_close(&other); /* fine after a failure */
    assert_true(port_answers(port_of(l.io.fd)));
}

/* Its transport has no part in listening: any address does for one. */
static void test_url_with_tls(void **state)
{
    net.tls = (struct sbx_tls *)(void *)&diag;
    (void)state;
    must_open(ip("127.0.0.1", 0), -1);
    expect_url("https", "127.0.0.1", port_of(l.io.fd));
    sbx_listener_close(&l);
    must_open(file(path), -1);
    assert_memory_equal(l.url, "unix:", 5);
    sbx_listener_retire(&l);
}

static void test_ipv6(void **state)
{
    char text[80];
    uint16_t port;
    (void)state;
    if (!has_ipv6())
        skip();
    must_open(ip("::1", 0), -1);
    port = ntohs(l.address.sock.in6.sin6_port);
    (void)snprintf(text, sizeof text, "http://[::1]:%u", port);
    assert_string_equal(l.url, text);
    assert_true(answers(ip("::1", port)));
    assert_false(port_answers(port));
}

static void test_every_address_is_both_families(void **state)
{
    uint16_t port;
    (void)state;
    if (!has_ipv6())
        skip();
    must_open(ip("::", 0), -1);
    port = ntohs(l.address.sock.in6.sin6_port);
    assert_true(answers(ip("::1", port)));
    assert_true(port_answers(port));
}

/* --- sockets of an earlier server --- */

static void test_kept_socket_is_used(void **state)
{
    int kept = earlier(ip("127.0.0.1", 0));
    uint16_t port = port_of(kept);
    (void)state;
    /* Clients wait in its queue meanwhile. */
    assert_true(port_answers(port));
    must_open(ip("127.0.0.1", port), kept);
    assert_int_equal(l.io.fd, kept);
    expect_url("http", "127.0.0.1", port);
    assert_true((fcntl(kept, F_GETFL) & O_NONBLOCK) != 0);
    sbx_listener_close(&l);
    assert_false(is_open(kept));
    assert_false(port_answers(port));
}

/* The system chose the port: it stays the same. */
static void test_kept_socket_of_any_port(void **state)
{
    int kept = earlier(ip("127.0.0.1", 0));
    uint16_t port = port_of(kept);
    (void)state;
    must_open(ip("localhost", 0), kept);
    assert_int_equal(l.io.fd, kept);
    expect_url("http", "127.0.0.1", port);
}

static void expect_closed(int kept, struct sbx_address want)
{
    uint16_t old = port_of(kept);
    must_open(want, kept);
    assert_true(!is_open(kept) || l.io.fd == kept); /* the number may have been given out again */
    assert_false(port_answers(old));
    sbx_listener_close(&l);
}

static void test_kept_socket_of_another_address(void **state)
{
    int other = earlier(ip("127.0.0.1", 0));
    uint16_t free_port = port_of(other);
    (void)state;
    (void)close(other);
    expect_closed(earlier(ip("127.0.0.1", 0)), ip("127.0.0.1", free_port)); /* another port */
    expect_closed(earlier(ip("127.0.0.1", 0)), ip("127.0.0.2", 0));         /* another host */
    expect_closed(earlier(ip("127.0.0.1", 0)), ip("0.0.0.0", 0));
    expect_closed(earlier(ip("127.0.0.1", 0)), file(path));
    assert_int_equal(unlink(path), 0);
}

static void test_kept_socket_of_another_family(void **state)
{
    int kept;
    (void)state;
    if (!has_ipv6())
        skip();
    expect_closed(earlier(ip("127.0.0.1", 0)), ip("::1", 0));
    kept = earlier(ip("::1", 0));
    must_open(ip("::1", 0), kept);
    assert_int_equal(l.io.fd, kept);
    sbx_listener_close(&l);
    kept = earlier(ip("::1", 0));
    must_open(ip("127.0.0.1", 0), kept);
    expect_url("http", "127.0.0.1", port_of(l.io.fd));
}

/* Something else than a socket. */
static void test_kept_nonsense(void **state)
{
    int kept = sbx_fd_open_null(false);
    (void)state;
    assert_true(kept >= 0);
    must_open(ip("127.0.0.1", 0), kept);
    expect_url("http", "127.0.0.1", port_of(l.io.fd));
}

/* It is the listener's also when it cannot be used and nothing else can be had. */
static void test_kept_socket_and_a_bad_address(void **state)
{
    int kept = earlier(ip("127.0.0.1", 0));
    (void)state;
    assert_int_equal(open_at(ip("192.0.2.1", 0), kept), -EADDRNOTAVAIL);
    assert_false(is_open(kept));
}

/* --- unix sockets --- */

static unsigned mode_of(const char *of)
{
    struct stat st;
    assert_int_equal(lstat(of, &st), 0);
    return (unsigned)st.st_mode;
}

static uint64_t inode_of(const char *of)
{
    struct stat st;
    assert_int_equal(lstat(of, &st), 0);
    return (uint64_t)st.st_ino;
}

static bool exists(const char *of)
{
    struct stat st;
    return lstat(of, &st) == 0;
}

/* A file of a socket that nobody listens on. */
static void leave_stale(void)
{
    (void)close(earlier(file(path)));
    assert_true(exists(path));
    assert_false(answers(file(path)));
}

static void test_unix_socket(void **state)
{
    mode_t before = umask(0);
    char text[120];
    (void)state;
    must_open(file(path), -1);
    assert_int_equal(umask(before), 0); /* it was put back */
    (void)snprintf(text, sizeof text, "unix:%s", path);
    assert_string_equal(l.url, text);
    assert_int_equal(mode_of(path), S_IFSOCK | 0600);
    assert_true((fcntl(l.io.fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true(answers(file(path)));
    sbx_listener_retire(&l);
    assert_false(exists(path));
    sbx_listener_retire(&l);
}

/* A server that only ends leaves the file to the next one. */
static void test_close_leaves_the_file(void **state)
{
    (void)state;
    must_open(file(path), -1);
    sbx_listener_close(&l);
    assert_true(exists(path));
}

static void test_stale_socket_is_replaced(void **state)
{
    (void)state;
    leave_stale();
    assert_int_equal(chmod(path, 0777), 0);
    must_open(file(path), -1);
    assert_int_equal(mode_of(path), S_IFSOCK | 0600);
    assert_true(answers(file(path)));
}

#define BY_ANOTHER "another server listens there"
#define NO_SOCKET "there is a file that is no socket"

static void expect_untouched(uint64_t inode, const char *why)
{
    char text[240];
    assert_int_equal(open_at(file(path), -1), -EADDRINUSE);
    (void)snprintf(text, sizeof text, "cannot listen on unix:%s: %s", path, why);
    assert_string_equal(err.text, text);
    assert_true(inode_of(path) == inode);
}

static void test_live_socket_is_refused(void **state)
{
    int live = earlier(file(path));
    (void)state;
    expect_untouched(inode_of(path), BY_ANOTHER);
    assert_true(answers(file(path)));
    (void)close(live);
}

/* One that is too busy to take a connection now is not dead. */
static void test_busy_socket_is_refused(void **state)
{
    struct sbx_address a = file(path);
    int fds[8], live = socket(AF_UNIX, SOCK_STREAM, 0);
    size_t n = 0;
    (void)state;
    assert_int_equal(bind(live, &a.sock.sa, a.len), 0);
    assert_int_equal(listen(live, 0), 0);
    do {
        fds[n] = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(sbx_fd_set_nonblock(fds[n]), 0);
    } while (connect(fds[n++], &a.sock.sa, a.len) == 0 && n < 8);
    assert_true(n < 8); /* the queue is full */
    expect_untouched(inode_of(path), BY_ANOTHER);
    while (n > 0)
        (void)close(fds[--n]);
    (void)close(live);
}

static void test_other_files_are_refused(void **state)
{
    struct sbx_address a = file(path);
    char text[8] = "";
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    (void)state;
    assert_int_equal(write(fd, "words", 5), 5);
    expect_untouched(inode_of(path), NO_SOCKET);
    assert_int_equal(pread(fd, text, sizeof text, 0), 5);
    assert_string_equal(text, "words");
    assert_int_equal(mode_of(path), S_IFREG | 0644);
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/nonexistent/target", path), 0);
    expect_untouched(inode_of(path), NO_SOCKET);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_untouched(inode_of(path), NO_SOCKET);
    assert_int_equal(rmdir(path), 0);
    fd = socket(AF_UNIX, SOCK_DGRAM, 0); /* somebody, though not one of our kind */
    assert_int_equal(bind(fd, &a.sock.sa, a.len), 0);
    expect_untouched(inode_of(path), strerror(EADDRINUSE));
    (void)close(fd);
}

static void test_longest_path(void **state)
{
    char longest[200];
    size_t n = sizeof ((struct sockaddr_un *)0)->sun_path - 1;
    (void)state;
    (void)snprintf(longest, sizeof longest, "%s/", dir);
    memset(longest + strlen(longest), 'x', n - strlen(longest));
    longest[n] = '\0';
    must_open(file(longest), -1);
    assert_string_equal(l.url + 5, longest);
    assert_true(answers(file(longest)));
    sbx_listener_retire(&l);
    assert_false(exists(longest));
    sbx_listener_close(&l);
}

static void test_kept_unix_socket_is_used(void **state)
{
    int kept = earlier(file(path));
    uint64_t inode = inode_of(path);
    (void)state;
    must_open(file(path), kept);
    assert_int_equal(l.io.fd, kept);
    assert_true(inode_of(path) == inode);
    assert_true(answers(file(path)));
    sbx_listener_retire(&l);
    assert_false(exists(path));
}

static void test_kept_unix_socket_without_its_file(void **state)
{
    int kept = earlier(file(path));
    size_t before = rig_count_fds();
    (void)state;
    assert_int_equal(unlink(path), 0);
    must_open(file(path), kept);
    assert_true(exists(path));
    assert_true(answers(file(path)));
    assert_int_equal(rig_count_fds(), before + 1); /* the reserve */
    assert_int_equal(mode_of(path), S_IFSOCK | 0600);
}

/* A directory that is gone is no reason to end everything else: the socket stays as it is. */
static void test_kept_unix_socket_that_cannot_be_had_anew(void **state)
{
    int kept = earlier(file(path));
    (void)state;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    diag.level = SBX_DIAG_ERROR;
    must_open(file(path), kept);
    assert_int_equal(l.io.fd, kept);
    sbx_listener_retire(&l);
    assert_int_equal(mkdir(dir, 0700), 0);
}

static void test_kept_socket_of_another_path(void **state)
{
    char other[110];
    int kept;
    (void)state;
    (void)snprintf(other, sizeof other, "%s/other", dir);
    kept = earlier(file(other));
    must_open(file(path), kept);
    assert_false(answers(file(other)));
    assert_true(answers(file(path)));
    assert_int_equal(unlink(other), 0);
}

/* Somebody removed our file and listens there now. */
static void test_retire_leaves_what_is_not_ours(void **state)
{
    int other;
    (void)state;
    must_open(file(path), -1);
    assert_int_equal(unlink(path), 0);
    other = earlier(file(path));
    sbx_listener_retire(&l);
    assert_true(exists(path));
    (void)close(other);
}

/* --- out of descriptors --- */

static void expect_emfile(struct sbx_address want)
{
    struct rlimit was, low;
    int highest = sbx_fd_open_null(false), rc;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    low = was;
    low.rlim_cur = (rlim_t)highest; /* the next number is one too many */
    (void)close(highest);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    rc = open_at(want, -1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_int_equal(rc, -EMFILE);
    assert_non_null(strstr(err.text, strerror(EMFILE)));
}

static void test_no_descriptor_left(void **state)
{
    (void)state;
    expect_emfile(ip("127.0.0.1", 0));
    expect_emfile(file(path));
    assert_false(exists(path));
}

/* A stale socket that cannot be asked, for want of a descriptor, may be a live one. */
static void test_no_descriptor_to_ask_with(void **state)
{
    struct rlimit was, low;
    int next, rc;
    (void)state;
    leave_stale();
    next = sbx_fd_open_null(false);
    (void)close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    low = was;
    low.rlim_cur = (rlim_t)next + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    rc = open_at(file(path), -1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_int_equal(rc, -EADDRINUSE);
    assert_true(exists(path));
}

static void on_tick(struct sbx_timer *t)
{
    (void)t;
}

static void turn(void)
{
    struct sbx_timer tick;
    sbx_timer_init(&tick, on_tick);
    sbx_loop_set_timer(&loop, &tick, loop.now_us + 2000);
    sbx_loop_turn(&loop);
    sbx_loop_cancel_timer(&loop, &tick);
}

static bool was_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
}

static int connect_to(const struct sbx_address *a)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &a->sock.sa, a->len), 0);
    return fd;
}

/* Clients that come when there is no descriptor left are not waited for one after the other: the
 * last of them is closed after as many turns as there are batches. */
static void test_clients_without_descriptors(void **state)
{
    enum { CLIENTS = 150, TURNS = 4 };
    static uint8_t scratch[SBX_NET_SCRATCH];
    struct sbx_address a;
    struct rlimit was, low;
    int clients[CLIENTS], next;
    size_t i, closed = 0;
    (void)state;
    diag.level = SBX_DIAG_ERROR;
    net.scratch = scratch;
    net.max_conns = 1;
    net.idle_timeout_us = 3600u * 1000000u;
    must_open(ip("127.0.0.1", 0), -1);
    sbx_address_of_fd(&a, l.io.fd);
    for (i = 0; i < CLIENTS; i++)
        clients[i] = connect_to(&a);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    low = was;
    next = sbx_fd_open_null(false);
    (void)close(next);
    low.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (i = 0; i < TURNS; i++)
        turn();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    for (i = 0; i < CLIENTS; i++) {
        closed += was_closed(clients[i]) ? 1u : 0u;
        (void)close(clients[i]);
    }
    assert_int_equal(closed, CLIENTS);
    assert_int_equal(net.count, 0);
    assert_true(l.reserve >= 0);
    /* And nothing has to pass before the next one is served. */
    clients[0] = connect_to(&a);
    turn();
    assert_int_equal(net.count, 1);
    sbx_conn_close(SBX_LIST_OF(net.conns.next, struct sbx_conn, node));
    turn();
    (void)close(clients[0]);
    sbx_net_deinit(&net);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_open_and_close),
        TEST(test_nothing_stays_open),
        TEST(test_refused),
        TEST(test_url_with_tls),
        TEST(test_ipv6),
        TEST(test_every_address_is_both_families),
        TEST(test_kept_socket_is_used),
        TEST(test_kept_socket_of_any_port),
        TEST(test_kept_socket_of_another_address),
        TEST(test_kept_socket_of_another_family),
        TEST(test_kept_nonsense),
        TEST(test_kept_socket_and_a_bad_address),
        TEST(test_unix_socket),
        TEST(test_close_leaves_the_file),
        TEST(test_stale_socket_is_replaced),
        TEST(test_live_socket_is_refused),
        TEST(test_busy_socket_is_refused),
        TEST(test_other_files_are_refused),
        TEST(test_longest_path),
        TEST(test_kept_unix_socket_is_used),
        TEST(test_kept_unix_socket_without_its_file),
        TEST(test_kept_unix_socket_that_cannot_be_had_anew),
        TEST(test_kept_socket_of_another_path),
        TEST(test_retire_leaves_what_is_not_ours),
        TEST(test_no_descriptor_left),
        TEST(test_no_descriptor_to_ask_with),
        TEST(test_clients_without_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
