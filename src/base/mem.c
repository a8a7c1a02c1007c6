/* mem.c - see mem.h. The gate is the only mutable file-level state of the agent; it is NULL
 * outside of tests and exists so that tests reach the out-of-memory paths. */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static int (*mem_gate)(void *ctx);
static void *mem_gate_ctx;

void sbx_mem_set_gate(int (*gate)(void *ctx), void *ctx)
{
    mem_gate = gate;
    mem_gate_ctx = ctx;
}

bool sbx_mem_may_alloc(void)
{
    return mem_gate == NULL || mem_gate(mem_gate_ctx);
}

void *sbx_mem_alloc(size_t n)
{
    return sbx_mem_may_alloc() ? malloc(n) : NULL;
}

void *sbx_mem_calloc(size_t n)
{
    return sbx_mem_may_alloc() ? calloc(1, n) : NULL;
}

void *sbx_mem_realloc(void *p, size_t n)
{
    return sbx_mem_may_alloc() ? realloc(p, n) : NULL;
}

void sbx_mem_free(void *p)
{
    free(p);
}

char *sbx_mem_strndup(const char *p, size_t n)
{
    char *copy = sbx_mem_alloc(n + 1);
    if (copy == NULL)
        return NULL;
    if (n > 0)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

void sbx_mem_wipe(void *p, size_t n)
{
    volatile unsigned char *at = p;
    while (n-- > 0)
        *at++ = 0;
}
