/* stream.h - the bytes of a connection: a plain socket, or TLS over one.
 *
 * A transport is a table of functions, so nothing above knows which it is. All calls are
 * non-blocking and return a negative errno; -EAGAIN means wait for sbx_stream_wants. */
#ifndef SBX_NET_STREAM_H
#define SBX_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct sbx_stream;

struct sbx_stream_ops {
    ssize_t (*read)(struct sbx_stream *s, void *p, size_t n); /* 0 at the peer's end */
    ssize_t (*writev)(struct sbx_stream *s, const struct iovec *iov, int n);
    void (*shut_write)(struct sbx_stream *s); /* tells the peer that nothing more comes */
    void (*close)(struct sbx_stream *s);
};

struct sbx_stream {
    const struct sbx_stream_ops *ops;
    int fd;
    void *tls; /* the transport's own */
};

void sbx_stream_init_plain(struct sbx_stream *s, int fd);

/* Bytes that were written but that the peer's system has not acknowledged; 0 where the system
 * does not tell. */
size_t sbx_stream_unacked(const struct sbx_stream *s);

#endif
