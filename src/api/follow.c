/* follow.c - see follow.h.
 *
 *   event: log  / id: SEQ / data: entry      for each entry
 *   event: gap  / data: {fromSequence, toSequence, bytes?}   what is gone, in its place
 *   event: exit / data: process              last of all; then the stream ends
 *   :                                        after FOLLOW_TICK_US of silence
 *
 * Encode once. Encoding a chunk of log costs more than sending it, so followers of one process
 * share what the first of them encoded: a small ring of the latest events, each complete with the
 * framing of a chunked body. A follower that is further behind encodes for itself. */
#include "api/follow.h"
#include "api/problem.h"
#include "api/process_json.h"
#include "base/mem.h"
#include "proto/http_write.h"

#include <assert.h>
#include <string.h>

#define FOLLOW_TICK_US 15000000u
#define FOLLOW_RING 16u
#define FOLLOW_BLOB (128u * 1024u)

struct follow_event {
    uint64_t sequence;
    struct sbx_blob *blob;
    const uint8_t *p;
    size_t n;
};

struct follow_cache {
    struct sbx_list node;      /* in the API's list */
    struct sbx_proc *proc;     /* a reference */
    unsigned followers;
    struct sbx_blob *blob;     /* where the next event goes */
    struct follow_event ring[FOLLOW_RING];
};

struct follower {
    struct sbx_source source;
    struct sbx_cursor cursor;
    struct follow_cache *cache;
    struct sbx_conn *conn;
    bool quiet;    /* nothing was sent since the last tick */
};

static struct follow_cache *follow_cache_open(struct sbx_api *api, struct sbx_proc *p)
{
    struct follow_cache *cache;
    struct sbx_list *n;
    for (n = api->follow_caches.next; n != &api->follow_caches; n = n->next) {
        cache = SBX_LIST_OF(n, struct follow_cache, node);
        if (cache->proc == p) {
            cache->followers++;
            return cache;
        }
    }
    cache = sbx_mem_calloc(sizeof *cache);
    if (cache == NULL)
        return NULL;
    cache->proc = sbx_proc_ref(p);
    cache->followers = 1;
    sbx_list_init(&cache->node);
    sbx_list_add_tail(&api->follow_caches, &cache->node);
    return cache;
}

static void follow_cache_close(struct follow_cache *cache)
{
    size_t i;
    if (--cache->followers > 0)
        return;
    for (i = 0; i < FOLLOW_RING; i++)
        sbx_blob_unref(cache->ring[i].blob);
    sbx_blob_unref(cache->blob);
    sbx_list_remove(&cache->node);
    sbx_proc_unref(cache->proc);
    sbx_mem_free(cache);
}

static void follow_write_event(struct sbx_buf *out, const struct sbx_entry *e)
{
    struct sbx_json_writer w;
    sbx_buf_add_z(out, "event: log\nid: ");
    sbx_buf_add_u64(out, e->sequence);
    sbx_buf_add_z(out, "\ndata: ");
    sbx_json_begin(&w, out);
    sbx_entry_json(&w, e);
    sbx_buf_add_z(out, "\n\n");
}

/* Room for an event in the shared blob; a new blob when this one is full. */
static bool follow_reserve(struct follow_cache *cache, size_t need)
{
    struct sbx_blob *b = cache->blob;
    if (b != NULL && b->cap - b->len >= need)
        return true;
    b = sbx_blob_new(need > FOLLOW_BLOB ? need : FOLLOW_BLOB);
    if (b == NULL)
        return false;
    sbx_blob_unref(cache->blob);
    cache->blob = b;
    return true;
}

/* Encodes into the blob as one chunk. The buffer is a view of the blob's free part, which is large
 * enough, so that it never grows. */
static bool follow_encode(struct follow_cache *cache, const struct sbx_entry *e,
                          struct follow_event *ev)
{
    size_t need = sbx_entry_json_max(e) + 256 + SBX_HTTP_CHUNK_HEAD + SBX_HTTP_CHUNK_TAIL;
    struct sbx_buf out = {0};
    uint8_t *start;
    size_t n;
    if (!follow_reserve(cache, need))
        return false;
    start = cache->blob->data + cache->blob->len;
    out.mem = start;
    out.cap = cache->blob->cap - cache->blob->len;
    sbx_buf_commit(&out, SBX_HTTP_CHUNK_HEAD);
    follow_write_event(&out, e);
    n = sbx_buf_len(&out) - SBX_HTTP_CHUNK_HEAD;
    sbx_http_chunk_head(start, n);
    sbx_buf_add_z(&out, "\r\n");
    assert(out.mem == start && !out.oom && sbx_buf_len(&out) <= need);
    cache->blob->len += sbx_buf_len(&out);
    *ev = (struct follow_event){.sequence = e->sequence, .blob = cache->blob, .p = start,
                                .n = sbx_buf_len(&out)};
    return true;
}

static bool follow_put_entry(struct follower *f, const struct sbx_entry *e)
{
    struct follow_event *slot = &f->cache->ring[e->sequence % FOLLOW_RING], ev;
    if (slot->sequence == e->sequence) {
        sbx_conn_put_framed(f->conn, slot->blob, slot->p, slot->n);
        return true;
    }
    if (!follow_encode(f->cache, e, &ev))
        return false;
    sbx_conn_put_framed(f->conn, ev.blob, ev.p, ev.n);
    /* Newer events stay: a follower that catches up must not push out what the others need. */
    if (f->cache->followers > 1 && slot->sequence < ev.sequence) {
        sbx_blob_unref(slot->blob);
        *slot = ev;
        (void)sbx_blob_ref(ev.blob);
    }
    return true;
}

/* Ends an event that belongs to this follower alone, and queues it. */
static void follow_put_event(struct follower *f, struct sbx_buf *event)
{
    sbx_buf_add_z(event, "\n\n");
    if (event->oom)
        f->conn->out.oom = true;
    else
        sbx_conn_put_chunk(f->conn, sbx_buf_data(event), sbx_buf_len(event));
    sbx_buf_deinit(event);
}

static void follow_put_gap(struct follower *f, const struct sbx_gap *gap)
{
    struct sbx_json_writer w;
    struct sbx_buf out;
    sbx_buf_init(&out);
    sbx_buf_add_z(&out, "event: gap\ndata: ");
    sbx_json_begin(&w, &out);
    sbx_json_object(&w);
    sbx_gap_json(&w, gap);
    sbx_json_object_end(&w);
    follow_put_event(f, &out);
}

static void follow_put_exit(struct follower *f)
{
    struct sbx_json_writer w;
    struct sbx_buf out;
    sbx_buf_init(&out);
    sbx_buf_add_z(&out, "event: exit\ndata: ");
    sbx_json_begin(&w, &out);
    sbx_process_json(&w, f->cache->proc, false);
    follow_put_event(f, &out);
}

static enum sbx_pull follow_pull(struct sbx_source *s, struct sbx_conn *c)
{
    struct follower *f = SBX_LIST_OF(s, struct follower, source);
    struct sbx_entry e;
    struct sbx_gap gap;
    while (!sbx_conn_is_full(c)) {
        switch (sbx_cursor_next(&f->cursor, &e, &gap)) {
        case SBX_STEP_ENTRY:
            if (!follow_put_entry(f, &e))
                c->out.oom = true;
            break;
        case SBX_STEP_GAP:
            follow_put_gap(f, &gap);
            break;
        case SBX_STEP_DRY:
            return SBX_PULL_IDLE;
        case SBX_STEP_END:
            follow_put_exit(f);
            return SBX_PULL_END;
        }
        if (c->out.oom)
            return SBX_PULL_IDLE; /* the flush closes the connection: silence would be a lie */
        f->quiet = false;
    }
    return SBX_PULL_MORE;
}

static void follow_gone(struct sbx_source *s, struct sbx_conn *c)
{
    struct follower *f = SBX_LIST_OF(s, struct follower, source);
    (void)c;
    sbx_cursor_close(&f->cursor);
    follow_cache_close(f->cache);
    sbx_mem_free(f);
}

static void follow_sent(struct sbx_source *s, struct sbx_conn *c)
{
    (void)c;
    sbx_cursor_progress(&SBX_LIST_OF(s, struct follower, source)->cursor);
}

static void follow_put_comment(struct sbx_conn *c)
{
    sbx_conn_put_chunk(c, ":\n\n", 3);
}

static void follow_tick(struct sbx_source *s, struct sbx_conn *c)
{
    struct follower *f = SBX_LIST_OF(s, struct follower, source);
    if (sbx_conn_abandons(c, f->cache->proc->deleted))
        return;
    if (f->quiet && c->out.count == 0)
        follow_put_comment(c);
    f->quiet = true;
}

/* Is the peer gone, or does it only not send any more? A comment finds out. */
static void follow_peer_shut(struct sbx_source *s, struct sbx_conn *c)
{
    (void)s;
    follow_put_comment(c);
}

static void follow_on_data(struct sbx_cursor *cursor)
{
    sbx_conn_wake(SBX_LIST_OF(cursor, struct follower, cursor)->conn);
}

static bool follow_took_some(struct sbx_cursor *cursor)
{
    return sbx_conn_took_some(SBX_LIST_OF(cursor, struct follower, cursor)->conn);
}

struct sbx_str sbx_follow_headers(void)
{
    /* Proxies that buffer answers would hold output back; this asks nginx not to. */
    return SBX_STR("cache-control: no-cache\r\nx-accel-buffering: no\r\n");
}

static bool follow_hungry(struct sbx_cursor *cursor)
{
    return sbx_conn_is_drained(SBX_LIST_OF(cursor, struct follower, cursor)->conn);
}

void sbx_follow_start(struct sbx_request *rq, struct sbx_proc *p, uint64_t next, unsigned streams)
{
    static const struct sbx_source_ops ops = {
        .pull = follow_pull,
        .gone = follow_gone,
        .sent = follow_sent,
        .tick = follow_tick,
        .peer_shut = follow_peer_shut,
    };
    struct sbx_response head = {
        .status = 200, .content_type = "text/event-stream", .headers = sbx_follow_headers()};
    struct follower *f;
    if (rq->conn->is_head) {
        head.no_length = true;
        sbx_conn_respond(rq->conn, &head);
        return;
    }
    f = sbx_mem_calloc(sizeof *f);
    if (f != NULL)
        f->cache = follow_cache_open(rq->api, p);
    if (f == NULL || f->cache == NULL) {
        sbx_mem_free(f);
        sbx_reply_out_of_memory(rq->conn);
        return;
    }
    f->source = (struct sbx_source){.ops = &ops, .tick_us = FOLLOW_TICK_US};
    f->conn = rq->conn;
    f->quiet = true;
    sbx_cursor_open(&f->cursor, &p->log, next, streams, follow_on_data, follow_took_some);
    f->cursor.hungry = follow_hungry;
    sbx_conn_start_stream(rq->conn, &head, &f->source);
}
