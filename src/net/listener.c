/* listener.c - see listener.h.
 *
 * Out of descriptors (EMFILE): a client in the backlog would wait for ever and poll() would report
 * the listener for ever. So one descriptor is held in reserve: it is given up, the client is
 * accepted and closed, and the reserve is taken back for the next one. Nobody is told why: that
 * would hold the only descriptor for as long as the peer does not listen, and all others would wait
 * behind it. Where that does not help either, accepting pauses for a moment.
 *
 * Unix sockets. The file outlives its server, so a stale one is the normal case after a crash: when
 * nobody answers there, it is removed and bound anew. Between the question and the removal another
 * server could bind; the lock of the data directory is what keeps two servers of one person
 * apart. */
#include "net/listener.h"
#include "os/fd.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTENER_BACKLOG 4096
#define LISTENER_BATCH 64           /* connections accepted in one turn */
#define LISTENER_PAUSE_US 100000u

/* Options that accepted sockets inherit from the listening one on Linux and the BSDs, so that they
 * cost no system call a connection. Keep-alive probes find peers that vanished without a word. */
static void listener_set_options(int fd, int family)
{
    int on = 1;
    if (family == AF_UNIX)
        return;
#ifdef IPV6_V6ONLY
    if (family == AF_INET6) {
        int off = 0; /* [::] is every address, whatever the system's default */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
#endif
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
    char text[SBX_ADDRESS_TEXT];
    struct stat st;
    sbx_address_of_fd(&l->address, fd);
    sbx_address_format(&l->address, text, sizeof text);
    if (!sbx_address_is_unix(&l->address)) {
        (void)snprintf(l->url, sizeof l->url, "%s://%s", l->net->tls != NULL ? "https" : "http",
                       text);
        return;
    }
    (void)snprintf(l->url, sizeof l->url, "%s", text);
    if (stat(l->address.sock.un.sun_path, &st) == 0) {
        l->device = (uint64_t)st.st_dev;
        l->inode = (uint64_t)st.st_ino;
    }
}

/* Who may connect to a unix socket is decided by its file, on this machine: TLS adds nothing. */
static struct sbx_tls *listener_tls(const struct sbx_listener *l)
{
    return sbx_address_is_unix(&l->address) ? NULL : l->net->tls;
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
    if (net->count >= net->max_conns + net->max_refusals)
        sbx_fd_close(&fd);
    else if (net->count >= net->max_conns)
        sbx_conn_turn_away(net, fd, listener_tls(l), "connections");
    else if (sbx_conn_open(net, fd, listener_tls(l)) == NULL)
        sbx_fd_close(&fd);
}

static void listener_out_of_fds(struct sbx_listener *l)
{
    int i, fd = 0;
    if (!l->exhausted)
        sbx_diag(l->net->diag, SBX_DIAG_WARN, "out of descriptors, connections are closed");
    l->exhausted = true;
    for (i = 0; i < LISTENER_BATCH && l->reserve >= 0 && fd >= 0; i++) {
        sbx_fd_close(&l->reserve);
        fd = listener_accept(l->io.fd);
        if (fd >= 0)
            (void)close(fd);
        l->reserve = sbx_fd_open_null(false);
    }
    if (fd == -EAGAIN || i == LISTENER_BATCH)
        return; /* there are no others, or they are for the next turn */
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
        l->exhausted = false;
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

static bool listener_is_at(int fd, const struct sbx_address *want)
{
    struct sbx_address a;
    if (fd < 0)
        return false;
    sbx_address_of_fd(&a, fd);
    return sbx_address_is(&a, want);
}

/* Without its file nobody finds it any more. */
static bool listener_can_be_found(const struct sbx_address *a)
{
    struct stat st;
    return !sbx_address_is_unix(a) ||
           (stat(a->sock.un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode));
}

/* What a client at the file of a unix socket is told: 0, or -EAGAIN for a full backlog, where
 * somebody listens; -ECONNREFUSED where nobody does any more; -ENOTSOCK for another file. */
static int listener_ask(const struct sbx_address *a)
{
    struct stat st;
    int fd, rc;
    if (lstat(a->sock.un.sun_path, &st) < 0)
        return -errno;
    if (!S_ISSOCK(st.st_mode))
        return -ENOTSOCK;
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        return -errno;
    (void)sbx_fd_set_cloexec(fd);
    (void)sbx_fd_set_nonblock(fd);
    rc = connect(fd, &a->sock.sa, a->len) < 0 ? -errno : 0;
    (void)close(fd);
    return rc;
}

static int listener_bind_file(int fd, const struct sbx_address *a)
{
    mode_t before = umask(0177);
    int rc = bind(fd, &a->sock.sa, a->len) < 0 ? -errno : 0;
    if (rc == -EADDRINUSE && listener_ask(a) == -ECONNREFUSED &&
        unlink(a->sock.un.sun_path) == 0)
        rc = bind(fd, &a->sock.sa, a->len) < 0 ? -errno : 0;
    (void)umask(before);
    return rc;
}

static int listener_listen(int fd, const struct sbx_address *a)
{
    int rc;
    bool bound;
    (void)sbx_fd_set_cloexec(fd);
    listener_set_options(fd, a->sock.sa.sa_family);
    if (sbx_address_is_unix(a))
        rc = listener_bind_file(fd, a);
    else
        rc = bind(fd, &a->sock.sa, a->len) < 0 ? -errno : 0;
    bound = rc == 0;
    if (bound && listen(fd, LISTENER_BACKLOG) < 0)
        rc = -errno;
    if (bound && rc < 0 && sbx_address_is_unix(a))
        (void)unlink(a->sock.un.sun_path);
    return rc;
}

static int listener_refuse(const struct sbx_address *want, int rc, struct sbx_err *err)
{
    char text[SBX_ADDRESS_TEXT];
    int there = rc == -EADDRINUSE && sbx_address_is_unix(want) ? listener_ask(want) : -ENOENT;
    sbx_address_format(want, text, sizeof text);
    if (there == 0 || there == -EAGAIN)
        return sbx_err_set(err, rc, "cannot listen on %s: another server listens there", text);
    if (there == -ENOTSOCK)
        return sbx_err_set(err, rc, "cannot listen on %s: there is a file that is no socket", text);
    sbx_err_set(err, rc, "cannot listen on %s", text);
    return sbx_err_add_reason(err);
}

int sbx_listener_bind(const struct sbx_address *want, struct sbx_err *err)
{
    int rc, fd = socket(want->sock.sa.sa_family, SOCK_STREAM, 0);
    if (fd < 0)
        return listener_refuse(want, -errno, err);
    rc = listener_listen(fd, want);
    if (rc == 0)
        return fd;
    (void)close(fd);
    return listener_refuse(want, rc, err);
}

/* The kept socket, or a new one. One that nobody finds, and that cannot be had anew (the directory
 * may be out of our reach by now), is no reason to end what else there is. */
static int listener_choose(const struct sbx_net *net, const struct sbx_address *want, int kept,
                           struct sbx_err *err)
{
    int fd;
    if (kept >= 0 && listener_can_be_found(want))
        return kept;
    fd = sbx_listener_bind(want, err);
    if (fd < 0 && kept >= 0) {
        sbx_diag(net->diag, SBX_DIAG_ERROR, "%s; its file is gone, so nobody can connect",
                 err->text);
        return kept;
    }
    sbx_fd_close(&kept);
    return fd;
}

int sbx_listener_open(struct sbx_listener *l, struct sbx_net *net, const struct sbx_address *want,
                      int kept, struct sbx_err *err)
{
    int fd, rc;
    *l = (struct sbx_listener){.net = net, .reserve = -1, .io = {.fd = -1}};
    if (!listener_is_at(kept, want))
        sbx_fd_close(&kept);
    fd = listener_choose(net, want, kept, err);
    if (fd < 0)
        return fd;
    rc = sbx_fd_set_nonblock(fd);
    if (rc == 0) {
        listener_name(l, fd);
        l->reserve = sbx_fd_open_null(false);
        sbx_timer_init(&l->pause, listener_on_pause_over);
        sbx_io_init(&l->io, net->loop, fd, listener_on_ready);
        rc = sbx_io_watch(&l->io, POLLIN);
    }
    if (rc == 0)
        return 0;
    if (fd != kept)
        sbx_listener_retire(l);
    l->io.fd = -1;
    sbx_fd_close(&fd);
    sbx_fd_close(&l->reserve);
    return listener_refuse(want, rc, err);
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

void sbx_listener_retire(const struct sbx_listener *l)
{
    struct stat st;
    if (sbx_address_is_unix(&l->address) && stat(l->address.sock.un.sun_path, &st) == 0 &&
        (uint64_t)st.st_dev == l->device && (uint64_t)st.st_ino == l->inode)
        (void)unlink(l->address.sock.un.sun_path);
}
