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

/* The cached page that has it, as the latest used; NULL: none has. */
static const struct sbx_db_page *page_cache_find(struct sbx_page_cache *c, uint64_t process,
                                                 uint64_t sequence)
{
    size_t i;
    for (i = 0; i < SBX_PAGE_CACHE_SLOTS && c->pages[i] != NULL; i++) {
        struct sbx_db_page *p = c->pages[i];
        if (p->process != process || sequence < p->first || sequence - p->first >= p->count)
            continue;
        page_cache_put_first(c, i, p);
        return p;
    }
    return NULL;
}

/* A page that was read for a sequence that no chunk has may be there already. */
static const struct sbx_db_page *page_cache_take(struct sbx_page_cache *c,
                                                 struct sbx_db_page *found)
{
    const struct sbx_db_page *known = page_cache_find(c, found->process, found->first);
    size_t i = 0;
    if (known != NULL) {
        sbx_db_page_free(found);
        return known;
    }
    while (i < SBX_PAGE_CACHE_SLOTS && c->pages[i] != NULL)
        i++;
    if (i == SBX_PAGE_CACHE_SLOTS)
        page_cache_remove(c, --i);
    page_cache_put_first(c, i, found);
    return found;
}

int sbx_page_cache_read(struct sbx_page_cache *c, struct sbx_db *db, uint64_t process,
                        uint64_t sequence, const struct sbx_db_page **page)
{
    struct sbx_db_page *found = NULL;
    int rc;
    *page = page_cache_find(c, process, sequence);
    if (*page != NULL)
        return 0;
    rc = sbx_db_read(db, process, sequence, &found);
    if (rc == 0)
        *page = page_cache_take(c, found);
    return rc;
}

int sbx_page_cache_read_last(struct sbx_page_cache *c, struct sbx_db *db, uint64_t process,
                             uint64_t sequence, const struct sbx_db_page **page, uint64_t *first)
{
    struct sbx_db_page *found = NULL;
    int rc;
    *page = page_cache_find(c, process, sequence);
    if (*page != NULL) {
        *first = (*page)->first;
        return 0;
    }
    rc = sbx_db_read_last(db, process, sequence, &found, first);
    if (rc == 0)
        *page = page_cache_take(c, found);
    return rc;
}
