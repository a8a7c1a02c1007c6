/* store_read.c - entries of a log: those that are still in memory from there, older ones from the
 * file, through the cache of pages. What was not committed is not there. */
#include "proc/store_state.h"

#include <errno.h>

#define STORE_DAMAGED 16u /* chunks in a row that are passed over on the way back */

static void entry_from_memory(const struct sbx_segment *seg, size_t i, uint64_t sequence,
                              struct sbx_entry *e)
{
    const struct sbx_head *h = sbx_segment_head(seg, i);
    *e = (struct sbx_entry){.sequence = sequence,
                            .time_ms = h->time_ms,
                            .offset = sbx_memlog_offset_of(seg, i),
                            .stream = (enum sbx_log_stream)(h->len_stream & 3u),
                            .blob = seg->blob,
                            .data = seg->image->data + h->start,
                            .len = sbx_head_len(h)};
}

static void entry_from_page(const struct sbx_db_page *page, uint64_t sequence, struct sbx_entry *e)
{
    const struct sbx_db_head *h = &page->heads[sequence - page->first];
    *e = (struct sbx_entry){.sequence = sequence,
                            .time_ms = h->time_ms,
                            .offset = page->offset + h->start,
                            .stream = (enum sbx_log_stream)h->stream,
                            .blob = page->blob,
                            .data = page->blob->data + h->start,
                            .len = h->len};
}

static bool log_read_stored(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e)
{
    const struct sbx_db_page *page;
    struct sbx_store *s = log->store;
    if (!log->in_file || s->db == NULL || sequence > log->stored.last ||
        sbx_store_bounds_empty(&log->stored))
        return false;
    if (sbx_page_cache_read(&s->pages, s->db, log->mem.number, sequence, &page) < 0)
        return false;
    entry_from_page(page, sequence < page->first ? page->first : sequence, e);
    return e->sequence <= log->committed;
}

bool sbx_store_log_read_from(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e)
{
    uint64_t first = sbx_store_log_first(log);
    const struct sbx_segment *seg;
    size_t i;
    if (sequence < first)
        sequence = first;
    if (sequence > log->committed)
        return false;
    if (sequence < log->mem.first && log_read_stored(log, sequence, e))
        return true;
    if (sequence < log->mem.first)
        sequence = log->mem.first;
    seg = sequence > log->committed ? NULL : sbx_memlog_find(&log->mem, sequence, &i);
    if (seg == NULL)
        return false;
    entry_from_memory(seg, i, sequence, e);
    return true;
}

bool sbx_store_log_read(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e)
{
    return sequence >= sbx_store_log_first(log) && sbx_store_log_read_from(log, sequence, e) &&
           e->sequence == sequence;
}

/* What is missing in the file, for whatever reason, costs one query: the chunk before it is asked
 * for, not the sequence. A chunk that makes no sense is passed over, too. */
static bool log_read_stored_before(struct sbx_store_log *log, uint64_t sequence,
                                   struct sbx_entry *e)
{
    const struct sbx_db_page *page;
    struct sbx_store *s = log->store;
    unsigned damaged;
    for (damaged = 0; damaged < STORE_DAMAGED && sequence > log->stored.first; damaged++) {
        uint64_t begins, last;
        int rc = sbx_page_cache_read_last(&s->pages, s->db, log->mem.number, sequence - 1, &page,
                                          &begins);
        if (rc == 0) {
            last = page->first + page->count - 1;
            entry_from_page(page, sequence - 1 < last ? sequence - 1 : last, e);
            return e->sequence >= log->stored.first;
        }
        if (rc != -EILSEQ)
            return false;
        sequence = begins;
    }
    return false;
}

bool sbx_store_log_read_before(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e)
{
    const struct sbx_segment *seg;
    size_t i;
    if (sequence > log->committed + 1)
        sequence = log->committed + 1;
    seg = sequence > log->mem.first ? sbx_memlog_find(&log->mem, sequence - 1, &i) : NULL;
    if (seg != NULL) {
        entry_from_memory(seg, i, sequence - 1, e);
        return true;
    }
    if (!log->in_file || log->store->db == NULL || sbx_store_bounds_empty(&log->stored))
        return false;
    if (sequence > log->stored.last + 1)
        sequence = log->stored.last + 1;
    return log_read_stored_before(log, sequence, e);
}
