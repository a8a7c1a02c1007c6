/* db_chunks.c - the logs in the file: chunks by key, and the gaps between them; see db_sqlite.c.
 *
 * A key is the process and the sequence of the chunk's first entry in one number, so the chunks of
 * a log are a range of keys in the order of the log. What is read is checked whole before anybody
 * gets it: a file can be damaged in ways that SQLite does not see. */
#include "proc/db_state.h"
#include "base/mem.h"
#include "proc/db_schema.h"
#include "proc/db_sql.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define DB_EVICT_ROWS 2048u
#define DB_EVICT_BYTES (8u << 20)
#define DB_SEQUENCE_MAX ((uint64_t)1 << SBX_SCHEMA_SEQUENCE_BITS)
#define DB_PROCESS_MAX ((uint64_t)1 << (62 - SBX_SCHEMA_SEQUENCE_BITS))

/* --- keys --- */

static uint64_t db_key(uint64_t process, uint64_t sequence)
{
    if (sequence > DB_SEQUENCE_MAX)
        sequence = DB_SEQUENCE_MAX;
    return (process << SBX_SCHEMA_SEQUENCE_BITS) + sequence;
}

static uint64_t db_key_sequence(uint64_t key)
{
    return key & (DB_SEQUENCE_MAX - 1);
}

/* Binds the keys [from, to). */
static void db_bind_range(struct sbx_sql_row *r, struct sqlite3_stmt *st, uint64_t from,
                          uint64_t to)
{
    sbx_sql_begin_row(r, st);
    sbx_sql_put_u64(r, from);
    sbx_sql_put_u64(r, to);
}

/* --- failures --- */

/* For what SQLite takes for good and we do not. */
static int db_fail_damaged(struct sbx_db *db, uint64_t process)
{
    (void)snprintf(db->error, sizeof db->error,
                   "cannot read: the file is damaged: a chunk of proc_%llu makes no sense",
                   (unsigned long long)process);
    return -EILSEQ;
}

static int db_fail_memory(struct sbx_db *db)
{
    (void)snprintf(db->error, sizeof db->error, "out of memory");
    return -ENOMEM;
}

/* --- writing --- */

static void db_write_entries(struct sbx_buf *out, const struct sbx_db_chunk *c)
{
    uint32_t i;
    sbx_buf_clear(out);
    for (i = 0; i < c->count; i++) {
        const struct sbx_db_head *h = &c->heads[i];
        sbx_buf_add_z(out, i == 0 ? "[[" : ",[");
        sbx_buf_add_u64(out, h->stream);
        sbx_buf_add_byte(out, ',');
        sbx_buf_add_u64(out, h->time_ms);
        sbx_buf_add_byte(out, ',');
        sbx_buf_add_u64(out, h->start);
        sbx_buf_add_byte(out, ',');
        sbx_buf_add_u64(out, h->len);
        sbx_buf_add_byte(out, ']');
    }
    sbx_buf_add_byte(out, ']');
}

int sbx_db_put_chunk(struct sbx_db *db, const struct sbx_db_chunk *c)
{
    struct sbx_sql_row r;
    assert(c->count > 0 && c->len > 0 && c->len <= SBX_DB_CHUNK_MAX);
    if (c->process >= DB_PROCESS_MAX || c->first + c->count > DB_SEQUENCE_MAX) {
        (void)snprintf(db->error, sizeof db->error, "cannot write: there are no more keys");
        return -EOVERFLOW;
    }
    db_write_entries(&db->entries, c);
    if (db->entries.oom)
        return db_fail_memory(db);
    sbx_sql_begin_row(&r, db->st[SBX_DB_PUT_CHUNK]);
    sbx_sql_put_u64(&r, db_key(c->process, c->first));
    sbx_sql_put_u64(&r, c->count);
    sbx_sql_put_u64(&r, c->offset);
    sbx_sql_put_text(&r, sbx_buf_view(&db->entries));
    sbx_sql_put_blob(&r, c->data, c->len);
    return sbx_db_fail_write(db, sbx_sql_run(&r));
}

int sbx_db_put_gap(struct sbx_db *db, uint64_t process, uint64_t from, uint64_t to, uint64_t bytes,
                   uint64_t time_ms)
{
    struct sbx_sql_row r;
    sbx_sql_begin_row(&r, db->st[SBX_DB_PUT_GAP]);
    sbx_sql_put_u64(&r, process);
    sbx_sql_put_u64(&r, from);
    sbx_sql_put_u64(&r, to);
    sbx_sql_put_u64(&r, bytes);
    sbx_sql_put_u64(&r, time_ms);
    return sbx_db_fail_write(db, sbx_sql_run(&r));
}

/* --- reading --- */

/* Reads "[stream,time,start,length]" off the front. */
static bool db_read_head(struct sbx_str *s, struct sbx_db_head *h, size_t limit)
{
    uint64_t v[4] = {0, 0, 0, 0};
    size_t i = 0, at = 1;
    if (s->n == 0 || s->p[0] != '[')
        return false;
    for (; at < s->n && s->p[at] != ']'; at++) {
        if (s->p[at] == ',')
            i++;
        else if (s->p[at] < '0' || s->p[at] > '9' || i > 3 || v[i] > UINT64_MAX / 100)
            return false;
        else
            v[i] = v[i] * 10 + (uint64_t)(s->p[at] - '0');
    }
    if (at == s->n || i != 3 || v[0] > 2 || v[2] > limit || v[3] > limit - v[2])
        return false;
    *h = (struct sbx_db_head){v[1], (uint32_t)v[2], (uint32_t)v[3], (uint8_t)v[0]};
    s->p += at + 1;
    s->n -= at + 1;
    return true;
}

static bool db_read_entries(struct sbx_str s, struct sbx_db_head *heads, uint32_t count,
                            size_t limit)
{
    uint32_t i;
    for (i = 0; i < count; i++) {
        if (s.n < 2 || s.p[0] != (i == 0 ? '[' : ','))
            return false;
        s.p++;
        s.n--;
        if (!db_read_head(&s, &heads[i], limit))
            return false;
    }
    return s.n == 1 && s.p[0] == ']';
}

void sbx_db_page_free(struct sbx_db_page *page)
{
    if (page == NULL)
        return;
    sbx_mem_free(page->heads);
    sbx_blob_unref(page->blob);
    sbx_mem_free(page);
}

/* Of the row that st is at; *page also when it makes no sense, for the caller to free. */
static int db_read_row(struct sbx_db *db, struct sqlite3_stmt *st, struct sbx_db_page **page)
{
    const uint64_t key = sbx_db_column(st, 0), count = sbx_db_column(st, 1);
    struct sbx_str entries = sbx_sql_text(st, 3);
    const void *data = sqlite3_column_blob(st, 4);
    size_t n = (size_t)sqlite3_column_bytes(st, 4);
    struct sbx_db_page *p = *page = sbx_mem_calloc(sizeof *p);
    if (p == NULL)
        return db_fail_memory(db);
    p->process = key >> SBX_SCHEMA_SEQUENCE_BITS;
    p->first = db_key_sequence(key);
    p->offset = sbx_db_column(st, 2);
    p->count = (uint32_t)count;
    /* An entry is at least "[0,0,0,0]" and a comma. */
    if (count == 0 || count > entries.n / 9 || data == NULL || n == 0 || n > SBX_DB_CHUNK_MAX)
        return db_fail_damaged(db, p->process);
    p->heads = sbx_mem_alloc(p->count * sizeof *p->heads);
    p->blob = sbx_blob_new(n);
    if (p->heads == NULL || p->blob == NULL)
        return db_fail_memory(db);
    memcpy(p->blob->data, data, n);
    p->blob->len = n;
    return db_read_entries(entries, p->heads, p->count, n) ? 0 : db_fail_damaged(db, p->process);
}

/* The row of a query for one chunk, if it reaches as far as `sequence`. */
static int db_read_one(struct sbx_db *db, enum sbx_db_statement s, uint64_t from, uint64_t to,
                       uint64_t sequence, struct sbx_db_page **page)
{
    struct sbx_sql_row r;
    int rc;
    db_bind_range(&r, db->st[s], from, to);
    rc = r.rc == SQLITE_OK ? sbx_sql_step(r.st) : r.rc;
    if (rc == SQLITE_DONE)
        rc = -ENOENT;
    else if (rc != SQLITE_ROW)
        rc = sbx_db_fail_read(db, rc);
    else if (db_key_sequence(sbx_db_column(r.st, 0)) + sbx_db_column(r.st, 1) <= sequence)
        rc = -ENOENT;
    else
        rc = db_read_row(db, r.st, page);
    sbx_sql_reset(r.st);
    return rc;
}

int sbx_db_read(struct sbx_db *db, uint64_t process, uint64_t sequence, struct sbx_db_page **page)
{
    uint64_t begin = db_key(process, 0), end = db_key(process + 1, 0);
    uint64_t after = db_key(process, sequence < DB_SEQUENCE_MAX ? sequence + 1 : sequence);
    int rc;
    *page = NULL;
    if (process >= DB_PROCESS_MAX)
        return -ENOENT;
    rc = db_read_one(db, SBX_DB_READ_AT, begin, after, sequence, page);
    if (rc == -ENOENT)
        rc = db_read_one(db, SBX_DB_READ_NEXT, after, end, sequence, page);
    if (rc < 0) {
        sbx_db_page_free(*page);
        *page = NULL;
    }
    return rc;
}

int sbx_db_read_last(struct sbx_db *db, uint64_t process, uint64_t sequence,
                     struct sbx_db_page **page, uint64_t *first)
{
    uint64_t after = db_key(process, sequence < DB_SEQUENCE_MAX ? sequence + 1 : sequence);
    int rc;
    *page = NULL;
    *first = 0;
    if (process >= DB_PROCESS_MAX)
        return -ENOENT;
    rc = db_read_one(db, SBX_DB_READ_AT, db_key(process, 0), after, 0, page);
    if (*page != NULL)
        *first = (*page)->first;
    if (rc < 0) {
        sbx_db_page_free(*page);
        *page = NULL;
    }
    return rc;
}

/* 1 with a row, 0 without, or a failure. The statement is to be reset. */
static int db_step_range(struct sbx_db *db, enum sbx_db_statement s, uint64_t process)
{
    struct sbx_sql_row r;
    int rc;
    db_bind_range(&r, db->st[s], db_key(process, 0), db_key(process + 1, 0));
    rc = r.rc == SQLITE_OK ? sbx_sql_step(r.st) : r.rc;
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        return rc == SQLITE_ROW;
    return sbx_db_fail_read(db, rc);
}

int sbx_db_bounds(struct sbx_db *db, uint64_t process, struct sbx_db_bounds *b)
{
    struct sqlite3_stmt *first = db->st[SBX_DB_FIRST], *last = db->st[SBX_DB_LAST];
    int rc;
    *b = (struct sbx_db_bounds){1, 0, 0, 0};
    if (process >= DB_PROCESS_MAX)
        return 0;
    rc = db_step_range(db, SBX_DB_FIRST, process);
    if (rc > 0) {
        b->first = db_key_sequence(sbx_db_column(first, 0));
        b->first_offset = sbx_db_column(first, 1);
        rc = db_step_range(db, SBX_DB_LAST, process);
    }
    if (rc > 0) {
        b->last = db_key_sequence(sbx_db_column(last, 0)) + sbx_db_column(last, 2) - 1;
        b->end_offset = sbx_db_column(last, 1) + sbx_db_column(last, 3);
    }
    sbx_sql_reset(first);
    sbx_sql_reset(last);
    return rc < 0 ? rc : 0;
}

int sbx_db_has_chunks(struct sbx_db *db, uint64_t process)
{
    int rc = process < DB_PROCESS_MAX ? db_step_range(db, SBX_DB_FIRST, process) : 0;
    sbx_sql_reset(db->st[SBX_DB_FIRST]);
    return rc;
}

/* --- dropping --- */

/* Where the first chunk begins that is to be kept; *more: only because of the limit. */
static int db_find_cut(struct sbx_db *db, uint64_t process, struct sbx_db_limit *l, uint64_t *cut,
                       bool *more)
{
    struct sqlite3_stmt *st = db->st[SBX_DB_FIRST];
    int rc = db_step_range(db, SBX_DB_FIRST, process);
    *cut = db_key(process + 1, 0);
    *more = false;
    while (rc > 0) {
        uint64_t key = sbx_db_column(st, 0), len = sbx_db_column(st, 2);
        bool below = db_key_sequence(key) < l->sequence || sbx_db_column(st, 1) < l->offset;
        if (!below || l->rows == 0 || l->bytes == 0) {
            *cut = key;
            *more = below;
            break;
        }
        l->rows--;
        l->bytes -= len < l->bytes ? len : l->bytes;
        rc = sbx_sql_step(st);
        rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? rc == SQLITE_ROW : sbx_db_fail_read(db, rc);
    }
    sbx_sql_reset(st);
    return rc < 0 ? rc : 0;
}

int sbx_db_drop_chunks(struct sbx_db *db, uint64_t process, struct sbx_db_limit *l, bool *more)
{
    struct sbx_sql_row r;
    uint64_t cut;
    int rc = db_find_cut(db, process, l, &cut, more);
    if (rc < 0)
        return rc;
    db_bind_range(&r, db->st[SBX_DB_DROP_CHUNKS], db_key(process, 0), cut);
    return sbx_db_fail_write(db, sbx_sql_run(&r));
}

int sbx_db_drop_gaps(struct sbx_db *db, uint64_t process, uint64_t below)
{
    struct sbx_sql_row r;
    sbx_sql_begin_row(&r, db->st[SBX_DB_DROP_GAPS]);
    sbx_sql_put_u64(&r, process);
    sbx_sql_put_u64(&r, below);
    return sbx_db_fail_write(db, sbx_sql_run(&r));
}

/* A gap goes with the chunks around it: what it is between is no longer there. */
int sbx_db_evict(struct sbx_db *db, uint64_t process, uint64_t floor_sequence,
                 uint64_t floor_offset, struct sbx_db_bounds *b)
{
    struct sbx_db_limit l = {floor_sequence, floor_offset, DB_EVICT_ROWS, DB_EVICT_BYTES};
    bool more;
    int rc = 0;
    if (process < DB_PROCESS_MAX)
        rc = sbx_db_drop_chunks(db, process, &l, &more);
    if (rc == 0)
        rc = sbx_db_bounds(db, process, b);
    if (rc == 0 && b->first > b->last)
        floor_sequence = DB_SEQUENCE_MAX;
    else if (rc == 0 && b->first > floor_sequence)
        floor_sequence = b->first;
    return rc == 0 ? sbx_db_drop_gaps(db, process, floor_sequence) : rc;
}
