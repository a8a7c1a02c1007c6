/* buf.h - a growable byte buffer that is filled at its end and consumed at its front.
 *
 * Out of memory is a sticky flag (`oom`): appends become no-ops and the caller looks once, at the
 * end, so that building a message needs no check a line. */
#ifndef SBX_BASE_BUF_H
#define SBX_BASE_BUF_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sbx_buf {
    uint8_t *mem; /* NULL while nothing was ever reserved */
    size_t head;  /* first unconsumed byte */
    size_t tail;  /* one past the last byte */
    size_t cap;
    bool oom;
};

void sbx_buf_init(struct sbx_buf *b);
void sbx_buf_deinit(struct sbx_buf *b); /* frees; the buffer is as after init */

static inline size_t sbx_buf_len(const struct sbx_buf *b)
{
    return b->tail - b->head;
}
static inline uint8_t *sbx_buf_data(const struct sbx_buf *b)
{
    return b->mem != NULL ? b->mem + b->head : NULL; /* NULL + 0 is undefined in C */
}
static inline struct sbx_str sbx_buf_view(const struct sbx_buf *b)
{
    return (struct sbx_str){(const char *)sbx_buf_data(b), sbx_buf_len(b)};
}

/* Room for n more bytes at the end; returns where they go, NULL (and sets oom) when there is no
 * memory. sbx_buf_commit then says how many were written. */
uint8_t *sbx_buf_reserve(struct sbx_buf *b, size_t n);
void sbx_buf_commit(struct sbx_buf *b, size_t n);

void sbx_buf_add(struct sbx_buf *b, const void *p, size_t n);
void sbx_buf_add_str(struct sbx_buf *b, struct sbx_str s);
void sbx_buf_add_z(struct sbx_buf *b, const char *z);
void sbx_buf_add_u64(struct sbx_buf *b, uint64_t v);
void sbx_buf_add_byte(struct sbx_buf *b, uint8_t c);
void sbx_buf_consume(struct sbx_buf *b, size_t n); /* n <= length */
void sbx_buf_clear(struct sbx_buf *b);             /* keeps the memory, clears oom */

/* Decimal text of v into out (at most 20 bytes, no NUL); returns the number of digits. */
size_t sbx_u64_to_text(uint64_t v, char out[20]);

#endif
