/* stream.c - see stream.h: the plain transport. */
#include "net/stream.h"
#include "os/fd.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/sockios.h>
#endif

static ssize_t stream_plain_read(struct sbx_stream *s, void *p, size_t n)
{
    return sbx_fd_read(s->fd, p, n);
}

static ssize_t stream_plain_writev(struct sbx_stream *s, const struct iovec *iov, int n)
{
    ssize_t put;
    do
        put = writev(s->fd, iov, n);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return -errno;
    s->wire += (uint64_t)put;
    return put;
}

/* A plain connection has no other word for it than the end of its bytes. */
static void stream_plain_end(struct sbx_stream *s)
{
    (void)s;
}

static void stream_plain_shut_write(struct sbx_stream *s)
{
    (void)shutdown(s->fd, SHUT_WR);
}

static void stream_plain_close(struct sbx_stream *s)
{
    sbx_fd_close(&s->fd);
}

void sbx_stream_init_plain(struct sbx_stream *s, int fd)
{
    static const struct sbx_stream_ops plain = {
        .read = stream_plain_read,
        .writev = stream_plain_writev,
        .end = stream_plain_end,
        .shut_write = stream_plain_shut_write,
        .close = stream_plain_close,
    };
    *s = (struct sbx_stream){.ops = &plain, .fd = fd, .ready = true};
}

size_t sbx_stream_unacked(const struct sbx_stream *s)
{
#ifdef SIOCOUTQ
    int n = 0;
    if (ioctl(s->fd, SIOCOUTQ, &n) == 0 && n > 0)
        return (size_t)n;
#else
    (void)s;
#endif
    return 0;
}
