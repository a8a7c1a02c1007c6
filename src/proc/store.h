/* store.h - where records' numbers and log bytes are kept, behind one interface.
 *
 * A log is written in two steps: append() during a turn, commit at its end. What is not committed
 * is invisible, so a reader is never shown what the store could still lose. This build keeps
 * everything in memory (store_mem.c); a store on disk implements the same functions, and then
 * commit is its transaction and read() may fetch an old entry from the file.
 *
 * Entries are numbered from 1 without holes. The cap evicts whole entries, oldest first. */
#ifndef SBX_PROC_STORE_H
#define SBX_PROC_STORE_H

#include "base/blob.h"
#include "os/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sbx_log_stream { SBX_STREAM_STDOUT, SBX_STREAM_STDERR, SBX_STREAM_PTY };

/* One run of output, as it was read. Borrowed: valid until the next append to the same log,
 * longer by taking a reference on the blob. */
struct sbx_entry {
    uint64_t sequence;
    uint64_t time_ms; /* Unix milliseconds at which it was read */
    uint64_t offset;  /* payload bytes of the log before it, over all streams */
    enum sbx_log_stream stream;
    struct sbx_blob *blob;
    const uint8_t *data;
    size_t len;
};

struct sbx_store;
struct sbx_store_log;

/* "memory", for --version. */
const char *sbx_store_backend(void);

struct sbx_store *sbx_store_open(struct sbx_loop *loop); /* NULL when out of memory */
void sbx_store_close(struct sbx_store *s);
uint64_t sbx_store_next_number(struct sbx_store *s); /* of a process; never the same twice */

/* on_commit tells that entries have become readable. cap: payload bytes kept. NULL: no memory. */
struct sbx_store_log *sbx_store_log_open(struct sbx_store *s, uint64_t cap,
                                         void (*on_commit)(void *ctx), void *ctx);
void sbx_store_log_close(struct sbx_store_log *log);

/* Room for output at the end of the log, *room > 0 bytes; read(2) goes straight into it. NULL when
 * out of memory. */
uint8_t *sbx_store_log_reserve(struct sbx_store_log *log, size_t *room);
/* The first n reserved bytes are output of `stream`, read now. Adjacent output of one turn and one
 * stream is one entry, up to the entry limit. */
void sbx_store_log_append(struct sbx_store_log *log, size_t n, enum sbx_log_stream stream,
                          uint64_t time_ms);

bool sbx_store_log_is_committed(const struct sbx_store_log *log);

/* Committed state. first > last when the log is empty. */
uint64_t sbx_store_log_first(const struct sbx_store_log *log);
uint64_t sbx_store_log_last(const struct sbx_store_log *log);
uint64_t sbx_store_log_cap(const struct sbx_store_log *log);
/* Payload bytes ever appended, uncommitted ones included. */
uint64_t sbx_store_log_offset(const struct sbx_store_log *log);
/* Entries that the cap can hold, whatever their length. */
uint64_t sbx_store_log_max_entries(const struct sbx_store_log *log);

/* The committed entry with that sequence; false when it is evicted or not there yet. */
bool sbx_store_log_read(struct sbx_store_log *log, uint64_t sequence, struct sbx_entry *e);

#endif
