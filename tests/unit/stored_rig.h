/* stored_rig.h - stores with a database and several logs, one after the other in one directory, as
 * servers follow each other. Byte i of what the process p writes is db_byte(p, i). */
#ifndef SBX_TESTS_STORED_RIG_H
#define SBX_TESTS_STORED_RIG_H

#include "random.h" /* before the next, which has an object of the name r */
#include "db_rig.h"

#include "proc/db_schema.h"
#include "proc/store.h"

#define LOGS 64u

/* A log with its record. */
struct one {
    struct sbx_store_log *log; /* NULL: closed */
    struct sbx_record record;
    struct sbx_slot *slot;
    uint64_t number, cap;
    uint64_t at;         /* bytes it has written */
    unsigned commits;    /* calls of on_commit */
    unsigned stored;     /* calls of on_stored */
    bool volatile_log, exited;
    uint64_t seen_last;  /* by the last check_seen */
    void (*then)(struct one *o); /* within on_commit */
};

static struct {
    struct sbx_store *store;
    struct sbx_diag diag;
    struct sbx_limits limits;
    struct sbx_store_options o;
    struct one *victims[LOGS]; /* the first with something kept comes first */
    size_t nvictims;
    size_t nopen; /* logs; after a failed test there may be some */
} u;

static inline struct sbx_store_log *stored_pick(void *ctx)
{
    size_t i;
    (void)ctx;
    for (i = 0; i < u.nvictims; i++)
        if (u.victims[i]->log != NULL && sbx_store_log_kept(u.victims[i]->log) > 0)
            return u.victims[i]->log;
    return NULL;
}

/* The options of the next store; memory of an earlier one and the like may be set before it. */
static inline void stored_init(void)
{
    db_rig_init();
    memset(&u, 0, sizeof u);
    u.diag.level = SBX_DIAG_ERROR;
    sbx_limits_default(&u.limits);
    u.o = (struct sbx_store_options){.loop = &r.loop, .diag = &u.diag, .dir = r.dir,
                                     .limits = &u.limits, .memory = -1, .shared = true,
                                     .pick_victim = stored_pick};
}

static inline bool stored_try_open(void)
{
    memset(&r.err, 0, sizeof r.err);
    u.store = sbx_store_open(&u.o, &r.err);
    u.o.memory = -1;
    return u.store != NULL;
}

static inline void stored_open(void)
{
    if (!stored_try_open())
        fail_msg("open: %s", r.err.text);
}

static inline int stored_setup(void **state)
{
    (void)state;
    stored_init();
    stored_open();
    return 0;
}

static inline void stored_close(void)
{
    sbx_store_close(u.store);
    u.store = NULL;
}

static inline int stored_teardown(void **state)
{
    (void)state;
    sbx_db_set_gate(NULL, NULL);
    if (u.nopen > 0)
        return 0;
    if (u.store != NULL)
        stored_close();
    if (u.o.memory >= 0)
        (void)close(u.o.memory);
    sbx_loop_finish(&r.loop);
    db_rig_deinit();
    return 0;
}

/* --- logs --- */

static inline void one_on_commit(void *ctx)
{
    struct one *o = ctx;
    o->commits++;
    if (o->then != NULL)
        o->then(o);
}

static inline void one_describe(struct sbx_record *rec, struct sbx_db_process *out,
                                struct sbx_buf *scratch)
{
    const struct one *o = SBX_LIST_OF(rec, struct one, record);
    (void)scratch;
    *out = db_process(o->number);
    out->exited = o->exited;
    out->persist = !o->volatile_log;
    sbx_store_log_describe(o->log, out);
}

static inline void one_on_stored(struct sbx_record *rec)
{
    SBX_LIST_OF(rec, struct one, record)->stored++;
}

static inline struct sbx_store_log_options one_options(struct one *o)
{
    return (struct sbx_store_log_options){.number = o->number, .cap = o->cap,
                                          .in_file = !o->volatile_log, .slot = o->slot,
                                          .on_commit = one_on_commit, .ctx = o};
}

static inline void one_init(struct one *o, uint64_t number, uint64_t cap)
{
    memset(o, 0, sizeof *o);
    o->number = number;
    o->cap = cap;
    sbx_record_init(&o->record);
    o->record.describe = one_describe;
    o->record.on_stored = one_on_stored;
}

static inline void one_open_as(struct one *o)
{
    const struct sbx_store_log_options lo = one_options(o);
    o->record.log = o->log = sbx_store_log_open(u.store, &lo);
    assert_non_null(o->log);
    u.nopen++;
}

static inline void one_open(struct one *o, uint64_t number, uint64_t cap)
{
    one_init(o, number, cap);
    one_open_as(o);
}

/* With a slot, as a running process has it. */
static inline void one_open_slot(struct one *o, uint64_t number, uint64_t cap)
{
    one_init(o, number, cap);
    o->slot = sbx_tail_slot_new(sbx_store_tail(u.store), SBX_SLOT_PROCESS, number);
    assert_non_null(o->slot);
    one_open_as(o);
}

static inline void one_close(struct one *o)
{
    sbx_record_drop(&o->record);
    sbx_store_log_close(o->log);
    o->log = NULL;
    u.nopen--;
}

static inline void put_once(struct one *o, enum sbx_log_stream stream, size_t *n)
{
    size_t room, i;
    uint8_t *to = sbx_store_log_reserve(o->log, &room);
    assert_non_null(to);
    if (room > *n)
        room = *n;
    for (i = 0; i < room; i++)
        to[i] = db_byte(o->number, o->at + i);
    sbx_store_log_append(o->log, room, stream, sbx_clock_wall_ms());
    o->at += room;
    *n -= room;
}

static inline void put(struct one *o, enum sbx_log_stream stream, size_t n)
{
    while (n > 0)
        put_once(o, stream, &n);
}

/* The end of a turn. */
static inline void turn(void)
{
    sbx_loop_finish(&r.loop);
}

/* Reads all that can be read. Entries are numbered without a hole but for `holes` of them; bytes
 * are right and adjacent but there. Returns how many bytes that was. */
static inline uint64_t check_seen(struct one *o, unsigned holes)
{
    uint64_t next = sbx_store_log_first(o->log), at = 0, bytes = 0, i;
    bool begun = false;
    struct sbx_entry e;
    for (; sbx_store_log_read_from(o->log, next, &e); next = e.sequence + 1) {
        if (begun && (e.sequence != next || e.offset != at)) {
            assert_true(e.sequence > next && e.offset > at && holes > 0);
            holes--;
        }
        for (i = 0; i < e.len; i++)
            if (e.data[i] != db_byte(o->number, e.offset + i))
                fail_msg("byte %llu of entry %llu differs", (unsigned long long)i,
                         (unsigned long long)e.sequence);
        begun = true;
        at = e.offset + e.len;
        bytes += e.len;
    }
    assert_int_equal(holes, 0);
    o->seen_last = next - 1;
    if (begun)
        assert_int_equal(o->seen_last, sbx_store_log_last(o->log));
    return bytes;
}

/* --- the file, with a connection of its own --- */

static inline char *file_sql(const char *sql, uint64_t number)
{
    static char text[400];
    (void)snprintf(text, sizeof text, sql, (unsigned long long)number, (unsigned long long)number);
    return text;
}

static inline uint64_t file_bytes(uint64_t number)
{
    return (uint64_t)db_number(file_sql("SELECT coalesce(sum(length(data)), 0) FROM chunks "
                                        "WHERE key >> 36 = %llu", number));
}

static inline uint64_t file_rows(uint64_t number)
{
    return (uint64_t)db_number(file_sql("SELECT count(*) FROM chunks WHERE key >> 36 = %llu",
                                        number));
}

/* The highest sequence stored. */
static inline uint64_t file_last(uint64_t number)
{
    return (uint64_t)db_number(file_sql("SELECT coalesce(max((key & ((1 << 36) - 1)) + count - 1), "
                                        "0) FROM chunks WHERE key >> 36 = %llu", number));
}

static inline bool file_has_end(uint64_t number)
{
    return db_number(file_sql("SELECT count(*) FROM process_records WHERE number = %llu "
                              "AND exited", number)) > 0;
}

static inline uint64_t file_has_record(uint64_t number)
{
    return (uint64_t)db_number(file_sql("SELECT count(*) FROM process_records "
                                        "WHERE number = %llu", number));
}

/* The chunks of a log: sequences and bytes are adjacent except where a gap says otherwise, bytes
 * are right, entries cover them. Returns the bytes. */
static inline uint64_t check_file(uint64_t number)
{
    struct sqlite3 *conn = db_person();
    struct sqlite3_stmt *st;
    uint64_t bytes = 0, next = 0, at = 0, i;
    assert_int_equal(sqlite3_prepare_v2(conn, file_sql(
        "SELECT key & ((1 << 36) - 1), count, \"offset\", data, "
        "(SELECT sum(json_extract(value, '$[3]')) FROM json_each(entries)), "
        "(SELECT bytes FROM gap_records WHERE process = %llu AND last_sequence = "
        "(key & ((1 << 36) - 1)) - 1) FROM chunks WHERE key >> 36 = %llu ORDER BY key", number),
        -1, &st, NULL), SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW) {
        uint64_t first = (uint64_t)sqlite3_column_int64(st, 0);
        uint64_t offset = (uint64_t)sqlite3_column_int64(st, 2);
        const uint8_t *data = sqlite3_column_blob(st, 3);
        uint64_t n = (uint64_t)sqlite3_column_bytes(st, 3);
        uint64_t gap = (uint64_t)sqlite3_column_int64(st, 5);
        if (next > 0 && (first != next || offset != at || gap != 0)) {
            assert_true(first > next);
            assert_int_equal(offset - at, gap);
        }
        assert_int_equal(sqlite3_column_int64(st, 4), n);
        for (i = 0; i < n; i++)
            if (data[i] != db_byte(number, offset + i))
                fail_msg("byte %llu of the chunk %llu differs", (unsigned long long)i,
                         (unsigned long long)first);
        next = first + (uint64_t)sqlite3_column_int64(st, 1);
        at = offset + n;
        bytes += n;
    }
    sqlite3_finalize(st);
    sqlite3_close(conn);
    return bytes;
}

/* --- the next server --- */

/* The server dies: what is in memory stays as it is, if `memory` outlives it at all. */
static inline void crash(struct one *const *logs, size_t n, bool memory)
{
    size_t i;
    if (memory) {
        u.o.memory = dup(sbx_tail_fd(sbx_store_tail(u.store)));
        assert_true(u.o.memory >= 0);
    }
    sbx_tail_leave(sbx_store_tail(u.store));
    for (i = 0; i < n; i++)
        one_close(logs[i]);
    stored_close();
}

struct known {
    uint64_t number;
    struct sbx_db_process p;
    bool found;
};

static inline int take_known(void *ctx, const struct sbx_db_process *p)
{
    struct known *k = ctx;
    if (p->number == k->number) {
        k->p = *p;
        k->found = true;
    }
    return 0;
}

/* The log of an earlier server as its record tells it; `grows`: the keeper has its descriptors. */
static inline void one_restore(struct one *o, bool grows)
{
    struct known k = {.number = o->number};
    struct sbx_store_log_options lo;
    assert_int_equal(sbx_db_load(sbx_store_db(u.store), take_known, &k), 0);
    assert_true(k.found);
    sbx_store_number_taken(u.store, o->number);
    o->commits = 0;
    o->slot = k.p.exited ? NULL : sbx_tail_slot_find(sbx_store_tail(u.store), o->number);
    lo = one_options(o);
    lo.cap = k.p.log_cap;
    lo.grows = grows;
    o->record.log = o->log = sbx_store_log_restore(u.store, &lo, &k.p);
    assert_non_null(o->log);
    u.nopen++;
}

#endif
