/* estate.c - see estate.h.
 *
 * A forked server finds its estate in its own memory (proc/keeper). A program that was executed is
 * given a descriptor of a file with the items, and its own end of the link; all descriptors come
 * along through exec and are marked close-on-exec here again. What is wrong in any part makes all
 * of it void: half an estate would be processes without their terminals. */
#include "proc/estate.h"
#include "base/mem.h"
#include "os/fd.h"
#include "proc/keeper_msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ESTATE_ITEMS_MAX 1000000u

static void estate_clear(struct sbx_estate *e)
{
    memset(e, 0, sizeof *e);
    e->link = -1;
}

static bool estate_is_open(const struct sbx_keep_item *item)
{
    size_t i;
    for (i = 0; i < SBX_KEEP_FDS; i++)
        if (item->fds[i] >= 0 && sbx_fd_set_cloexec(item->fds[i]) < 0)
            return false;
    return true;
}

static bool estate_read_items(struct sbx_estate *e, int table)
{
    uint8_t record[SBX_KEEPER_ITEM_BYTES];
    size_t i;
    for (i = 0; i < e->nitems; i++) {
        if (pread(table, record, sizeof record, (off_t)(i * sizeof record)) !=
            (ssize_t)sizeof record)
            return false;
        if (sbx_keeper_item_decode(record, sizeof record, &e->items[i]) < 0 ||
            !estate_is_open(&e->items[i]))
            return false;
    }
    return true;
}

static bool estate_read_table(struct sbx_estate *e, int table)
{
    struct stat st;
    if (fstat(table, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size % SBX_KEEPER_ITEM_BYTES != 0 ||
        st.st_size > (off_t)ESTATE_ITEMS_MAX * SBX_KEEPER_ITEM_BYTES)
        return false;
    e->nitems = (size_t)st.st_size / SBX_KEEPER_ITEM_BYTES;
    if (e->nitems == 0)
        return true;
    e->items = sbx_mem_alloc(e->nitems * sizeof *e->items);
    return e->items != NULL && estate_read_items(e, table);
}

static bool estate_take(struct sbx_estate *e, const struct sbx_keeper_handover *h)
{
    struct stat st;
    if (fstat(h->link, &st) < 0 || !S_ISSOCK(st.st_mode) || !estate_read_table(e, h->table)) {
        sbx_mem_free(e->items);
        return false;
    }
    (void)sbx_fd_set_cloexec(h->link);
    (void)close(h->table);
    e->link = h->link;
    e->keeper = h->keeper;
    e->generation = h->generation;
    e->nofile = h->nofile;
    return true;
}

bool sbx_estate_from_environ(struct sbx_estate *estate)
{
    struct sbx_keeper_handover h;
    const char *text = getenv(SBX_KEEPER_VARIABLE);
    bool given;
    estate_clear(estate);
    if (text == NULL)
        return false;
    /* Whoever inherited the variable from an agent is not that agent's child. */
    given = sbx_keeper_handover_parse(sbx_str_z(text), &h) == 0 && getppid() == h.keeper;
    (void)unsetenv(SBX_KEEPER_VARIABLE);
    if (!given)
        return false;
    if (estate_take(estate, &h))
        return true;
    estate_clear(estate);
    return false;
}

void sbx_estate_deinit(struct sbx_estate *estate)
{
    size_t i, j;
    sbx_fd_close(&estate->link);
    for (i = 0; i < estate->nitems; i++)
        for (j = 0; j < SBX_KEEP_FDS; j++)
            sbx_fd_close(&estate->items[i].fds[j]);
    sbx_mem_free(estate->items);
    estate_clear(estate);
}

struct sbx_keep_item *sbx_estate_find(struct sbx_estate *estate, enum sbx_keep_kind kind,
                                      uint64_t number)
{
    size_t i;
    for (i = 0; i < estate->nitems; i++)
        if (estate->items[i].kind == (uint32_t)kind && estate->items[i].number == number)
            return &estate->items[i];
    return NULL;
}
