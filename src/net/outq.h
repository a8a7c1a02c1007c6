/* outq.h - what waits to be written to one connection.
 *
 * A queue of views. Small pieces are copied and gathered; large ones are taken over or shared, so
 * a chunk of log goes from the pipe to fifty sockets without being copied once. */
#ifndef SBX_NET_OUTQ_H
#define SBX_NET_OUTQ_H

#include "base/blob.h"
#include "base/buf.h"
#include "net/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sbx_out_item {
    const uint8_t *p;
    size_t n;
    struct sbx_blob *blob; /* keeps p alive, or; neither for what lives for ever */
    uint8_t *heap;         /* p lies in this block, freed when written */
};

#define SBX_OUTQ_INLINE 4u

struct sbx_outq {
    struct sbx_out_item few[SBX_OUTQ_INLINE];
    struct sbx_out_item *items; /* few, or a larger block */
    size_t head, count, cap;    /* a ring */
    size_t bytes;
    bool oom; /* something could not be queued: the connection cannot go on */
};

void sbx_outq_init(struct sbx_outq *q);
void sbx_outq_deinit(struct sbx_outq *q);

void sbx_outq_add_copy(struct sbx_outq *q, const void *p, size_t n);
void sbx_outq_add_blob(struct sbx_outq *q, struct sbx_blob *blob, const uint8_t *p, size_t n);
/* Bytes that live as long as the program. */
void sbx_outq_add_lasting(struct sbx_outq *q, const void *p, size_t n);
/* Takes the buffer's memory when that is worth it, else copies; b is empty afterwards. */
void sbx_outq_add_buf(struct sbx_outq *q, struct sbx_buf *b);

/* Writes what the stream takes, at most about `budget` bytes. Bytes written, or a negative errno
 * other than -EAGAIN. */
ssize_t sbx_outq_write(struct sbx_outq *q, struct sbx_stream *s, size_t budget);

#endif
