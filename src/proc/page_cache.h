/* page_cache.h - the chunks that were read from the database last. Readers of stored output go
 * forward entry by entry, several of them at different places; each chunk is read once for all. */
#ifndef SBX_PROC_PAGE_CACHE_H
#define SBX_PROC_PAGE_CACHE_H

#include "proc/db.h"

#include <stddef.h>
#include <stdint.h>

#define SBX_PAGE_CACHE_SLOTS 8u /* x SBX_DB_CHUNK_MAX is the bound on its memory */

struct sbx_page_cache {
    struct sbx_db_page *pages[SBX_PAGE_CACHE_SLOTS]; /* latest use first */
};

void sbx_page_cache_drop_all(struct sbx_page_cache *c);
/* The log was shortened or forgotten. */
void sbx_page_cache_drop(struct sbx_page_cache *c, uint64_t process);
/* As sbx_db_read; the page belongs to the cache and is valid until its next use. */
int sbx_page_cache_read(struct sbx_page_cache *c, struct sbx_db *db, uint64_t process,
                        uint64_t sequence, const struct sbx_db_page **page);
/* As sbx_db_read_last, likewise. */
int sbx_page_cache_read_last(struct sbx_page_cache *c, struct sbx_db *db, uint64_t process,
                             uint64_t sequence, const struct sbx_db_page **page, uint64_t *first);

#endif
