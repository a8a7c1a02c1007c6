/* mem.h - the one door to the heap.
 *
 * Every allocation of the agent goes through these, so that a test can make the n-th one fail
 * and count what is left at the end. NULL means out of memory and the caller must cope: a
 * server that lives for weeks in a small sandbox answers 503, it does not abort. */
#ifndef SBX_BASE_MEM_H
#define SBX_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

void *sbx_mem_alloc(size_t n);            /* uninitialised; n > 0 */
void *sbx_mem_calloc(size_t n);           /* zeroed; n > 0 */
void *sbx_mem_realloc(void *p, size_t n); /* n > 0; p stays valid when NULL is returned */
void sbx_mem_free(void *p);               /* NULL is fine */
char *sbx_mem_strndup(const char *p, size_t n); /* n bytes and a NUL */
/* Zeroes what had a secret, also where nobody reads it again and a compiler would leave that
 * out. */
void sbx_mem_wipe(void *p, size_t n);

/* For memory that comes from elsewhere: may it be had now? False only by the hook below. */
bool sbx_mem_may_alloc(void);

/* Test hook. While set, `gate(ctx)` is asked before every allocation and a 0 makes it fail.
 * NULL switches back. */
void sbx_mem_set_gate(int (*gate)(void *ctx), void *ctx);

#endif
