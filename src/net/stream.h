/* stream.h - the bytes of a connection: a plain socket, or TLS over one.
 *
 * A transport is a table of functions, so nothing above knows which it is. All calls are
 * non-blocking and return a negative errno; -EAGAIN means that the socket is to be waited for. */
#ifndef SBX_NET_STREAM_H
#define SBX_NET_STREAM_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct sbx_stream;

struct sbx_stream_ops {
    /* While !ready: a step of the handshake. 0: done, the stream is ready; -EAGAIN; -EPROTOTYPE:
     * the peer speaks plain HTTP, and the stream is a plain one from here on, nothing read;
     * -EPROTO: it failed and err says why, and the stream is a plain one that is only to be
     * ended; any other: the connection has ended. NULL for a transport that has none. */
    int (*handshake)(struct sbx_stream *s, struct sbx_err *err);
    /* 0 at the peer's end. A transport with an end of its own (close_notify) tells a connection
     * that was cut off from one that was ended: -ECONNABORTED. */
    ssize_t (*read)(struct sbx_stream *s, void *p, size_t n);
    ssize_t (*writev)(struct sbx_stream *s, const struct iovec *iov, int n);
    /* Tells the peer that all was said, as far as the transport itself has words for it. */
    void (*end)(struct sbx_stream *s);
    void (*shut_write)(struct sbx_stream *s); /* the same, and to the peer's system */
    void (*close)(struct sbx_stream *s);
};

struct sbx_stream {
    const struct sbx_stream_ops *ops;
    int fd;
    bool ready;       /* reads and writes may begin */
    bool wants_write; /* the handshake waits for the socket to take bytes */
    bool more;        /* the next read has something to tell without waiting for the socket */
    uint64_t wire;    /* bytes ever given to the socket */
    void *tls;        /* the transport's own */
};

/* Reads by a transport with records take them whole: room for less than this may come back with
 * what poll() does not tell of. */
#define SBX_STREAM_READ_MIN (16u * 1024u)

void sbx_stream_init_plain(struct sbx_stream *s, int fd);

/* Bytes on the wire that the peer's system has not acknowledged; 0 where the system does not
 * tell. */
size_t sbx_stream_unacked(const struct sbx_stream *s);

#endif
