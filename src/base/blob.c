/* blob.c - see blob.h. */
#include "base/blob.h"
#include "base/mem.h"

#include <assert.h>

struct sbx_blob *sbx_blob_new(size_t cap)
{
    struct sbx_blob *b;
    if (cap > SIZE_MAX - sizeof *b)
        return NULL;
    b = sbx_mem_alloc(sizeof *b + cap);
    return b == NULL ? NULL : sbx_blob_place(b, sizeof *b + cap, NULL);
}

struct sbx_blob *sbx_blob_place(void *memory, size_t n, void (*release)(struct sbx_blob *b))
{
    struct sbx_blob *b = memory;
    assert(n >= sizeof *b);
    *b = (struct sbx_blob){.refs = 1, .cap = n - sizeof *b, .release = release};
    return b;
}

struct sbx_blob *sbx_blob_ref(struct sbx_blob *b)
{
    assert(b->refs > 0);
    b->refs++;
    return b;
}

void sbx_blob_unref(struct sbx_blob *b)
{
    if (b == NULL)
        return;
    assert(b->refs > 0);
    if (--b->refs > 0)
        return;
    if (b->release != NULL)
        b->release(b);
    else
        sbx_mem_free(b);
}
