/* store_read.c - entries of a log: those that are still in memory from there, older ones from the
 * file, through the cache of pages. What was not committed is not there. */
#include "proc/store_state.h"

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
    if (!log->in_file || sequence > log->stored.last || sbx_store_bounds_empty(&log->stored))
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

bool sbx_store_log_read_before(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e)
{
    uint64_t first = sbx_store_log_first(log);
    while (sequence > first) {
        sequence--;
        if (sbx_store_log_read(log, sequence, e))
            return true;
        /* A hole: between memory and file, or noted in the file. */
        if (sequence > log->stored.last && sequence < log->mem.first)
            sequence = log->stored.last + 1;
    }
    return false;
}
