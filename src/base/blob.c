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
    if (b == NULL)
        return NULL;
    b->refs = 1;
    b->len = 0;
    b->cap = cap;
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
    if (--b->refs == 0)
        sbx_mem_free(b);
}
