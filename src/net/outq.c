/* outq.c - see outq.h. Invariant: bytes is the sum of all n; every n is above 0. */
#include "net/outq.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define OUTQ_SMALL_BLOB 1000u  /* a whole ordinary answer */
#define OUTQ_BLOB 16000u
#define OUTQ_TAKE_ABOVE 4096u  /* buffers smaller than this are copied */
#define OUTQ_SHARE_ABOVE 2048u /* and so are shared bytes: one more view costs more than that */
#define OUTQ_IOV 64

void sbx_outq_init(struct sbx_outq *q)
{
    memset(q, 0, sizeof *q);
    q->items = q->few;
    q->cap = SBX_OUTQ_INLINE;
}

static struct sbx_out_item *outq_at(const struct sbx_outq *q, size_t i)
{
    return &q->items[(q->head + i) % q->cap];
}

static void outq_pop(struct sbx_outq *q)
{
    struct sbx_out_item *it = outq_at(q, 0);
    sbx_blob_unref(it->blob);
    sbx_mem_free(it->heap);
    q->head = (q->head + 1) % q->cap;
    q->count--;
}

void sbx_outq_deinit(struct sbx_outq *q)
{
    while (q->count > 0)
        outq_pop(q);
    if (q->items != q->few)
        sbx_mem_free(q->items);
    sbx_outq_init(q);
}

static bool outq_grow(struct sbx_outq *q)
{
    size_t i, cap = q->cap * 2;
    struct sbx_out_item *items = sbx_mem_alloc(cap * sizeof *items);
    if (items == NULL)
        return false;
    for (i = 0; i < q->count; i++)
        items[i] = *outq_at(q, i);
    if (q->items != q->few)
        sbx_mem_free(q->items);
    q->items = items;
    q->head = 0;
    q->cap = cap;
    return true;
}

static bool outq_push(struct sbx_outq *q, const struct sbx_out_item *it)
{
    assert(it->n > 0);
    if (q->count == q->cap && !outq_grow(q)) {
        q->oom = true;
        return false;
    }
    q->count++;
    *outq_at(q, q->count - 1) = *it;
    q->bytes += it->n;
    return true;
}

/* The last blob, when it is ours alone and the last item ends where its bytes end. */
static struct sbx_out_item *outq_open_tail(const struct sbx_outq *q)
{
    struct sbx_out_item *it;
    if (q->count == 0)
        return NULL;
    it = outq_at(q, q->count - 1);
    if (it->blob == NULL || it->blob->refs != 1 || it->p + it->n != it->blob->data + it->blob->len)
        return NULL;
    return it;
}

/* A first piece is mostly a whole answer or a frame header; more of them may be many. */
static size_t outq_blob_size(const struct sbx_outq *q, size_t n)
{
    bool many = q->count > 0 && outq_open_tail(q) != NULL;
    size_t size = many || n > OUTQ_SMALL_BLOB ? OUTQ_BLOB : OUTQ_SMALL_BLOB;
    return n > size ? n : size;
}

static size_t outq_fill_tail(struct sbx_outq *q, const uint8_t *p, size_t n)
{
    struct sbx_out_item *it = outq_open_tail(q);
    size_t room = it == NULL ? 0 : it->blob->cap - it->blob->len;
    if (n > room)
        n = room;
    if (n == 0)
        return 0;
    memcpy(it->blob->data + it->blob->len, p, n);
    it->blob->len += n;
    it->n += n;
    q->bytes += n;
    return n;
}

void sbx_outq_add_copy(struct sbx_outq *q, const void *p, size_t n)
{
    const uint8_t *from = p;
    size_t done;
    struct sbx_blob *b;
    if (n == 0 || q->oom)
        return;
    done = outq_fill_tail(q, from, n);
    from += done;
    n -= done;
    if (n == 0)
        return;
    b = sbx_blob_new(outq_blob_size(q, n));
    if (b == NULL) {
        q->oom = true;
        return;
    }
    memcpy(b->data, from, n);
    b->len = n;
    if (!outq_push(q, &(struct sbx_out_item){.p = b->data, .n = n, .blob = b}))
        sbx_blob_unref(b);
}

void sbx_outq_add_blob(struct sbx_outq *q, struct sbx_blob *blob, const uint8_t *p, size_t n)
{
    struct sbx_out_item *last = q->count > 0 ? outq_at(q, q->count - 1) : NULL;
    if (n == 0 || q->oom)
        return;
    if (n < OUTQ_SHARE_ABOVE) {
        sbx_outq_add_copy(q, p, n);
        return;
    }
    if (last != NULL && last->blob == blob && last->p + last->n == p) {
        last->n += n;
        q->bytes += n;
        return;
    }
    if (outq_push(q, &(struct sbx_out_item){.p = p, .n = n, .blob = blob}))
        (void)sbx_blob_ref(blob);
}

void sbx_outq_add_lasting(struct sbx_outq *q, const void *p, size_t n)
{
    if (n < OUTQ_SHARE_ABOVE)
        sbx_outq_add_copy(q, p, n);
    else if (!q->oom)
        (void)outq_push(q, &(struct sbx_out_item){.p = p, .n = n});
}

void sbx_outq_add_buf(struct sbx_outq *q, struct sbx_buf *b)
{
    size_t n = sbx_buf_len(b);
    struct sbx_out_item it = {.p = n > 0 ? sbx_buf_data(b) : NULL, .n = n, .heap = b->mem};
    if (b->oom)
        q->oom = true;
    if (n >= OUTQ_TAKE_ABOVE && !q->oom && outq_push(q, &it)) {
        sbx_buf_init(b);
        return;
    }
    if (n > 0 && n < OUTQ_TAKE_ABOVE)
        sbx_outq_add_copy(q, sbx_buf_data(b), n);
    sbx_buf_clear(b);
}

static void outq_consume(struct sbx_outq *q, size_t n)
{
    assert(n <= q->bytes);
    q->bytes -= n;
    while (n > 0) {
        struct sbx_out_item *it = outq_at(q, 0);
        if (n < it->n) {
            it->p += n;
            it->n -= n;
            return;
        }
        n -= it->n;
        outq_pop(q);
    }
}

static int outq_gather(const struct sbx_outq *q, struct iovec *iov)
{
    size_t i;
    for (i = 0; i < q->count && i < OUTQ_IOV; i++) {
        const struct sbx_out_item *it = outq_at(q, i);
        iov[i].iov_base = (void *)(uintptr_t)it->p;
        iov[i].iov_len = it->n;
    }
    return (int)i;
}

ssize_t sbx_outq_write(struct sbx_outq *q, struct sbx_stream *s, size_t budget)
{
    size_t done = 0;
    while (q->count > 0 && done < budget) {
        struct iovec iov[OUTQ_IOV];
        ssize_t put = s->ops->writev(s, iov, outq_gather(q, iov));
        if (put == -EAGAIN)
            break;
        if (put < 0)
            return put;
        outq_consume(q, (size_t)put);
        done += (size_t)put;
    }
    if (q->count == 0 && q->items != q->few) {
        sbx_mem_free(q->items);
        q->items = q->few;
        q->cap = SBX_OUTQ_INLINE;
        q->head = 0;
    }
    return (ssize_t)done;
}
