/* page_cache.c - see page_cache.h. Chunks never change once they are stored, so a page is valid as
 * long as its log is kept. */
#include "proc/page_cache.h"

#include <string.h>

static void page_cache_remove(struct sbx_page_cache *c, size_t i)
{
    sbx_db_page_free(c->pages[i]);
    memmove(&c->pages[i], &c->pages[i + 1], (SBX_PAGE_CACHE_SLOTS - i - 1) * sizeof c->pages[0]);
    c->pages[SBX_PAGE_CACHE_SLOTS - 1] = NULL;
}

void sbx_page_cache_drop_all(struct sbx_page_cache *c)
{
    while (c->pages[0] != NULL)
        page_cache_remove(c, 0);
}

void sbx_page_cache_drop(struct sbx_page_cache *c, uint64_t process)
{
    size_t i = 0;
    while (i < SBX_PAGE_CACHE_SLOTS && c->pages[i] != NULL) {
        if (c->pages[i]->process == process)
            page_cache_remove(c, i);
        else
            i++;
    }
}

static void page_cache_put_first(struct sbx_page_cache *c, size_t from, struct sbx_db_page *page)
{
    memmove(&c->pages[1], &c->pages[0], from * sizeof c->pages[0]);
    c->pages[0] = page;
}

int sbx_page_cache_read(struct sbx_page_cache *c, struct sbx_db *db, uint64_t process,
                        uint64_t sequence, const struct sbx_db_page **page)
{
    struct sbx_db_page *found = NULL;
    size_t i;
    int rc;
    for (i = 0; i < SBX_PAGE_CACHE_SLOTS && c->pages[i] != NULL; i++) {
        struct sbx_db_page *p = c->pages[i];
        if (p->process == process && sequence >= p->first && sequence - p->first < p->count) {
            page_cache_put_first(c, i, p);
            *page = p;
            return 0;
        }
    }
    rc = sbx_db_read(db, process, sequence, &found);
    if (rc < 0)
        return rc;
    if (i == SBX_PAGE_CACHE_SLOTS)
        page_cache_remove(c, --i);
    page_cache_put_first(c, i, found);
    *page = found;
    return 0;
}
