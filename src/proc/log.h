/* log.h - one log, many cursors.
 *
 * Whatever shows output - event stream, terminal, text of a fetch - is a cursor over the same
 * numbered log. Replay and live are the same path, so there is neither gap nor duplicate between.
 *
 * A reader that goes on reading is not outrun: when it is far behind, the process is read no
 * faster than it (sbx_log_may_grow). A reader that stopped, which is no progress for
 * SBX_LOG_STALL_US, holds nobody up; when the log has moved past it, its next step is a gap. */
#ifndef SBX_PROC_LOG_H
#define SBX_PROC_LOG_H

#include "base/list.h"
#include "os/loop.h"
#include "proc/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SBX_LOG_STALL_US 120000u

/* Sets of streams, for filters. */
#define SBX_STREAMS_OF(stream) (1u << (stream))
#define SBX_STREAMS_COMBINED (1u << SBX_STREAM_STDOUT | 1u << SBX_STREAM_STDERR)
#define SBX_STREAMS_PTY (1u << SBX_STREAM_PTY)

struct sbx_log {
    struct sbx_loop *loop;
    struct sbx_store_log *store;
    struct sbx_list cursors;
    bool ended;                /* the process is done: cursors at the end are finished */
    bool expecting;            /* sbx_log_expect was called and the read is under way */
    bool waiting;              /* somebody asked may_grow and was told to wait */
    struct sbx_timer recheck;
    struct sbx_task again;
    uint64_t read_ms;          /* when the bytes at hand were read */
    void (*on_room)(void *ctx); /* ask may_grow again */
    void *ctx;
};

struct sbx_cursor {
    struct sbx_list node;
    struct sbx_log *log;
    uint64_t next;         /* sequence of the next entry */
    uint64_t offset;       /* payload bytes before it, when known */
    bool offset_known;
    unsigned streams;
    uint64_t progress_us;  /* when the reader last took something */
    uint64_t pace_us;      /* how long that took lately, at the most */
    void (*on_data)(struct sbx_cursor *c);     /* there is more to read, or the log has ended */
    bool (*took_some)(struct sbx_cursor *c);   /* did the peer take bytes since last asked? */
    bool (*hungry)(struct sbx_cursor *c);      /* has it taken all it was given? may be NULL */
};

struct sbx_gap {
    uint64_t from, to; /* sequences that are gone */
    uint64_t bytes;    /* over all streams, when known */
    bool bytes_known;
};

enum sbx_step { SBX_STEP_ENTRY, SBX_STEP_GAP, SBX_STEP_DRY, SBX_STEP_END };

/* 0 or -ENOMEM. on_commit and ctx of `o` are set here. `known`: a log of an earlier server as its
 * record tells it, or NULL for a new one. on_room: the process may be read again. */
int sbx_log_init(struct sbx_log *log, struct sbx_loop *loop, struct sbx_store *store,
                 const struct sbx_store_log_options *o, const struct sbx_db_process *known,
                 void (*on_room)(void *ctx), void *ctx);
void sbx_log_deinit(struct sbx_log *log);

/* Before a place in the log is looked for: what was read by now becomes readable. */
void sbx_log_refresh(struct sbx_log *log);
uint64_t sbx_log_first(const struct sbx_log *log); /* oldest kept sequence */
uint64_t sbx_log_cap(const struct sbx_log *log);   /* payload bytes kept */
uint64_t sbx_log_last(const struct sbx_log *log);  /* newest sequence, 0 when nothing was written */

/* May the process's output be read now? false: on_room says when to ask again. */
bool sbx_log_may_grow(struct sbx_log *log);
uint8_t *sbx_log_reserve(struct sbx_log *log, size_t *room);
/* Should the number of bytes be known before they are read (sbx_log_expect)? */
bool sbx_log_survives(const struct sbx_log *log);
/* Exactly n of the reserved bytes are read now, unless nothing comes. sbx_log_append follows. */
void sbx_log_expect(struct sbx_log *log, size_t n, enum sbx_log_stream stream);
/* n reserved bytes were read; 0 after sbx_log_expect: nothing came. */
void sbx_log_append(struct sbx_log *log, size_t n, enum sbx_log_stream stream);
/* Is all that was appended readable? */
bool sbx_log_is_committed(const struct sbx_log *log);
/* All output before the exit is committed: cursors end when they have read it. */
void sbx_log_end(struct sbx_log *log);

/* Where to start reading. All give a sequence for sbx_cursor_open's `next`. */
uint64_t sbx_log_seek_tail(const struct sbx_log *log, unsigned streams, uint64_t entries,
                           uint64_t not_before);
uint64_t sbx_log_seek_bytes(const struct sbx_log *log, uint64_t bytes);

void sbx_cursor_open(struct sbx_cursor *c, struct sbx_log *log, uint64_t next, unsigned streams,
                     void (*on_data)(struct sbx_cursor *c),
                     bool (*took_some)(struct sbx_cursor *c));
void sbx_cursor_close(struct sbx_cursor *c); /* idempotent */
/* Moves on: an entry (of the cursor's streams), a gap, nothing yet, or the end of all. */
enum sbx_step sbx_cursor_next(struct sbx_cursor *c, struct sbx_entry *e, struct sbx_gap *gap);
/* The reader's socket has taken bytes. */
void sbx_cursor_progress(struct sbx_cursor *c);

#endif
