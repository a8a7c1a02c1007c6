/* buf.c - see buf.h. Growth doubles, so that n appends cost O(n); the consumed front is reclaimed
 * by moving the rest down before memory is asked for. */
#include "base/buf.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

#define BUF_MIN 256u

void sbx_buf_init(struct sbx_buf *b)
{
    memset(b, 0, sizeof *b);
}

void sbx_buf_deinit(struct sbx_buf *b)
{
    sbx_mem_free(b->mem);
    sbx_buf_init(b);
}

static void buf_move_down(struct sbx_buf *b)
{
    if (b->head == 0)
        return;
    memmove(b->mem, b->mem + b->head, b->tail - b->head);
    b->tail -= b->head;
    b->head = 0;
}

static bool buf_grow(struct sbx_buf *b, size_t need)
{
    size_t cap = b->cap < BUF_MIN ? BUF_MIN : b->cap;
    uint8_t *mem;
    while (cap < need) {
        if (cap > SIZE_MAX / 2)
            return false;
        cap *= 2;
    }
    mem = sbx_mem_realloc(b->mem, cap);
    if (mem == NULL)
        return false;
    b->mem = mem;
    b->cap = cap;
    return true;
}

uint8_t *sbx_buf_reserve(struct sbx_buf *b, size_t n)
{
    assert(b->head <= b->tail && b->tail <= b->cap);
    if (b->oom)
        return NULL;
    if (b->cap - b->tail < n || b->mem == NULL) {
        buf_move_down(b);
        if (b->cap - b->tail < n || b->mem == NULL) {
            if (n > SIZE_MAX - b->tail || !buf_grow(b, b->tail + n)) {
                b->oom = true;
                return NULL;
            }
        }
    }
    return b->mem + b->tail;
}

void sbx_buf_commit(struct sbx_buf *b, size_t n)
{
    assert(n <= b->cap - b->tail);
    b->tail += n;
}

void sbx_buf_add(struct sbx_buf *b, const void *p, size_t n)
{
    uint8_t *to = sbx_buf_reserve(b, n);
    if (to == NULL || n == 0)
        return;
    memcpy(to, p, n);
    b->tail += n;
}

void sbx_buf_add_str(struct sbx_buf *b, struct sbx_str s)
{
    sbx_buf_add(b, s.p, s.n);
}

void sbx_buf_add_z(struct sbx_buf *b, const char *z)
{
    sbx_buf_add(b, z, strlen(z));
}

void sbx_buf_add_byte(struct sbx_buf *b, uint8_t c)
{
    sbx_buf_add(b, &c, 1);
}

size_t sbx_u64_to_text(uint64_t v, char out[20])
{
    char tmp[20];
    size_t n = 0, i;
    do {
        tmp[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    for (i = 0; i < n; i++)
        out[i] = tmp[n - 1 - i];
    return n;
}

void sbx_buf_add_u64(struct sbx_buf *b, uint64_t v)
{
    char text[20];
    sbx_buf_add(b, text, sbx_u64_to_text(v, text));
}

void sbx_buf_consume(struct sbx_buf *b, size_t n)
{
    assert(n <= sbx_buf_len(b));
    b->head += n;
    if (b->head == b->tail)
        b->head = b->tail = 0;
}

void sbx_buf_clear(struct sbx_buf *b)
{
    b->head = b->tail = 0;
    b->oom = false;
}
