/* pages.c - see pages.h. Asks base/mem's gate as well, so that tests can make it fail. */
#include "os/pages.h"
#include "base/mem.h"

#include <sys/mman.h>

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

static void pages_release(struct sbx_blob *b)
{
    (void)munmap(b, sizeof *b + b->cap);
}

struct sbx_blob *sbx_pages_blob(size_t n)
{
    void *p;
    if (!sbx_mem_may_alloc())
        return NULL;
    p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : sbx_blob_place(p, n, pages_release);
}
