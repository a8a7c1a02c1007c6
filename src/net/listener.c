/* listener.c - see listener.h.
 *
 * Out of descriptors (EMFILE): a client in the backlog would wait for ever and poll() would report
 * the listener for ever. So one descriptor is held in reserve: it is given up, the client is
 * accepted, told 503 and closed, the reserve is taken back, and accepting pauses for a moment.
 *
 * Addresses are parsed without the resolver: a static binary has no NSS to ask, and the only name
 * that means something in a sandbox is localhost. */
#include "net/listener.h"
#include "os/fd.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER_BACKLOG 4096
#define LISTENER_BATCH 64           /* connections accepted in one turn */
#define LISTENER_PAUSE_US 100000u
#define LISTENER_OVERFLOW 64u       /* refusals under way at once; further ones are just closed */

union listener_addr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static const char *listener_numeric(const char *host)
{
    return strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
}

static int listener_parse(const char *host, uint16_t port, union listener_addr *a, socklen_t *len)
{
    const char *numeric = listener_numeric(host);
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, numeric, &a->in.sin_addr) == 1) {
        a->in.sin_family = AF_INET;
        a->in.sin_port = htons(port);
        *len = sizeof a->in;
        return 0;
    }
    if (inet_pton(AF_INET6, numeric, &a->in6.sin6_addr) == 1) {
        a->in6.sin6_family = AF_INET6;
        a->in6.sin6_port = htons(port);
        *len = sizeof a->in6;
        return 0;
    }
    return -EINVAL;
}

bool sbx_host_is_address(const char *host)
{
    union listener_addr a;
    socklen_t len;
    return listener_parse(host, 0, &a, &len) == 0;
}

bool sbx_host_is_loopback(const char *host)
{
    union listener_addr a;
    socklen_t len;
    if (listener_parse(host, 0, &a, &len) < 0)
        return false;
    if (a.sa.sa_family == AF_INET)
        return (ntohl(a.in.sin_addr.s_addr) >> 24) == 127;
    return IN6_IS_ADDR_LOOPBACK(&a.in6.sin6_addr);
}

/* Options that accepted sockets inherit from the listening one on Linux and the BSDs, so that they
 * cost no system call a connection. Keep-alive probes find peers that vanished without a word. */
static void listener_set_options(int fd)
{
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#ifdef TCP_KEEPIDLE
    {
        int idle = 60, interval = 15, count = 4;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    }
#endif
}

static void listener_name(struct sbx_listener *l, int fd)
{
    union listener_addr a;
    socklen_t len = sizeof a;
    char text[INET6_ADDRSTRLEN] = "";
    if (getsockname(fd, &a.sa, &len) < 0)
        return;
    if (a.sa.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &a.in.sin_addr, text, sizeof text);
        (void)snprintf(l->address, sizeof l->address, "http://%s:%u", text, ntohs(a.in.sin_port));
    } else {
        (void)inet_ntop(AF_INET6, &a.in6.sin6_addr, text, sizeof text);
        (void)snprintf(l->address, sizeof l->address, "http://[%s]:%u", text,
                       ntohs(a.in6.sin6_port));
    }
}

static int listener_accept(int fd)
{
    int got;
    do {
#if defined(__linux__) || defined(__FreeBSD__)
        got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
        got = accept(fd, NULL, NULL);
        if (got >= 0) {
            (void)sbx_fd_set_cloexec(got);
            (void)sbx_fd_set_nonblock(got);
        }
#endif
    } while (got < 0 && (errno == EINTR || errno == ECONNABORTED));
    return got < 0 ? -errno : got;
}

static void listener_take(struct sbx_listener *l, int fd)
{
    struct sbx_net *net = l->net;
    if (net->count >= net->max_conns + LISTENER_OVERFLOW)
        sbx_fd_close(&fd);
    else if (net->count >= net->max_conns)
        sbx_conn_turn_away(net, fd, "connections");
    else if (sbx_conn_open(net, fd) == NULL)
        sbx_fd_close(&fd);
}

static void listener_out_of_fds(struct sbx_listener *l)
{
    int fd;
    if (l->reserve >= 0)
        sbx_diag(l->net->diag, SBX_DIAG_WARN, "out of descriptors, connections are refused");
    sbx_fd_close(&l->reserve);
    fd = listener_accept(l->io.fd);
    if (fd >= 0)
        sbx_conn_turn_away(l->net, fd, "descriptors");
    sbx_io_stop(&l->io);
    sbx_loop_set_timer(l->net->loop, &l->pause, l->net->loop->now_us + LISTENER_PAUSE_US);
}

static void listener_on_ready(struct sbx_io *io, short revents)
{
    struct sbx_listener *l = SBX_LIST_OF(io, struct sbx_listener, io);
    int i;
    (void)revents;
    for (i = 0; i < LISTENER_BATCH; i++) {
        int fd = listener_accept(io->fd);
        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
            listener_out_of_fds(l);
            return;
        }
        if (fd < 0)
            return;
        listener_take(l, fd);
    }
}

static void listener_on_pause_over(struct sbx_timer *t)
{
    struct sbx_listener *l = SBX_LIST_OF(t, struct sbx_listener, pause);
    if (l->reserve < 0)
        l->reserve = sbx_fd_open_null(false);
    if (sbx_io_watch(&l->io, POLLIN) < 0)
        sbx_loop_set_timer(l->net->loop, t, l->net->loop->now_us + LISTENER_PAUSE_US);
}

/* Is the socket bound to that address? Any port is right when the system was to choose it. */
static bool listener_is_at(int fd, const union listener_addr *want)
{
    union listener_addr a;
    socklen_t len = sizeof a;
    memset(&a, 0, sizeof a);
    if (fd < 0 || getsockname(fd, &a.sa, &len) < 0 || a.sa.sa_family != want->sa.sa_family)
        return false;
    if (a.sa.sa_family == AF_INET)
        return a.in.sin_addr.s_addr == want->in.sin_addr.s_addr &&
               (want->in.sin_port == 0 || a.in.sin_port == want->in.sin_port);
    return memcmp(&a.in6.sin6_addr, &want->in6.sin6_addr, sizeof a.in6.sin6_addr) == 0 &&
           (want->in6.sin6_port == 0 || a.in6.sin6_port == want->in6.sin6_port);
}

/* A new listening socket, or -errno. */
static int listener_bind(const union listener_addr *a, socklen_t len)
{
    int rc, fd = socket(a->sa.sa_family, SOCK_STREAM, 0);
    if (fd < 0)
        return -errno;
    (void)sbx_fd_set_cloexec(fd);
    listener_set_options(fd);
    if (bind(fd, &a->sa, len) == 0 && listen(fd, LISTENER_BACKLOG) == 0)
        return fd;
    rc = -errno;
    (void)close(fd);
    return rc;
}

int sbx_listener_open(struct sbx_listener *l, struct sbx_net *net, const char *host, uint16_t port,
                      int kept, struct sbx_err *err)
{
    union listener_addr a;
    socklen_t len;
    int fd, rc;
    *l = (struct sbx_listener){.net = net, .reserve = -1, .io = {.fd = -1}};
    rc = listener_parse(host, port, &a, &len);
    if (rc < 0 || !listener_is_at(kept, &a))
        sbx_fd_close(&kept);
    if (rc < 0)
        return sbx_err_set(err, EINVAL, "--host \"%s\" is not an IP address", host);
    fd = kept >= 0 ? kept : listener_bind(&a, len);
    rc = fd < 0 ? fd : sbx_fd_set_nonblock(fd);
    if (rc < 0)
        goto fail;
    listener_name(l, fd);
    l->reserve = sbx_fd_open_null(false);
    sbx_timer_init(&l->pause, listener_on_pause_over);
    sbx_io_init(&l->io, net->loop, fd, listener_on_ready);
    rc = sbx_io_watch(&l->io, POLLIN);
    if (rc == 0)
        return 0;
fail:
    if (fd >= 0)
        sbx_fd_close(&fd);
    sbx_fd_close(&l->reserve);
    sbx_err_set(err, rc, "cannot listen on %s port %u", host, port);
    return sbx_err_add_reason(err);
}

void sbx_listener_close(struct sbx_listener *l)
{
    if (l->io.fd < 0)
        return;
    sbx_loop_cancel_timer(l->net->loop, &l->pause);
    sbx_io_stop(&l->io);
    sbx_fd_close(&l->io.fd);
    sbx_fd_close(&l->reserve);
}
