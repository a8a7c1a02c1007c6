/* tail.h - memory of the logs that outlives the server.
 *
 * One shared memory for all processes, which the keeper holds too. It has
 *   slots     one for each process that runs: pid, exit, counters
 *   segments  SBX_SEGMENT_BYTES each, of one log: payload from the front, heads from the back
 *   an intent what is about to be read from a pipe, and to where
 * When the server dies, its successor maps the same memory and finds every byte that was read and
 * is not in the database yet. Only the server that owns it writes; it is killed at any instruction,
 * so each step leaves a state that can be read: what is published last is one aligned word.
 *
 * Where memory cannot be shared the same code runs on private memory, and nothing outlives. */
#ifndef SBX_PROC_TAIL_H
#define SBX_PROC_TAIL_H

#include "base/blob.h"
#include "proc/reap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SBX_SEGMENT_BYTES (128u * 1024u)

enum sbx_slot_kind { SBX_SLOT_FREE, SBX_SLOT_PROCESS, SBX_SLOT_RUN };

enum sbx_slot_flag {
    SBX_SLOT_SHOWN = 1, /* clients were told of it */
    SBX_SLOT_TTY = 2,
    SBX_SLOT_INTERACTIVE = 4,
    SBX_SLOT_IN_MEMORY = 8 /* its output is not for the file */
};

/* In the shared memory. The owner writes its members; `kind` last, and first when it is freed. */
struct sbx_slot {
    uint32_t kind;        /* enum sbx_slot_kind */
    int32_t pid;
    uint64_t number;      /* of a process */
    uint64_t started_us;  /* see os/ident.h */
    uint64_t last;        /* highest sequence given out */
    uint64_t end_offset;  /* payload bytes ever read */
    uint64_t input_queued;
    uint64_t exited_ms;   /* 0: it has not exited; set after the three below */
    int32_t exit_kind, exit_value;
    uint32_t exit_core;
    uint32_t stop_asked;
    uint32_t input_ended; /* its end was accepted */
    uint32_t flags;       /* of enum sbx_slot_flag */
};

struct sbx_head {
    uint32_t start;       /* in the segment's payload */
    uint32_t len_stream;  /* length << 2 | stream */
    uint64_t time_ms;
};

/* The start of a segment, in the shared memory. */
struct sbx_segment_image {
    uint64_t number;      /* whose it is; 0: free */
    uint64_t first;       /* sequence of the first head */
    uint64_t offset;      /* payload bytes of the log before it */
    uint64_t count;       /* heads; published last */
    uint8_t data[];
};

struct sbx_tail;

/* A segment in use. The log has one reference, whoever writes its bytes to a socket has more; with
 * the last one it is free again. */
struct sbx_segment {
    struct sbx_blob *blob; /* counts the references; its bytes are not the payload */
    struct sbx_tail *tail;
    uint32_t index;
    struct sbx_segment_image *image;
};

/* fd: of an earlier server's memory, -1: begin a new one. shared: is anybody there who would
 * hold it? NULL when out of memory. Memory that does not look right is not used, and *refused
 * says so. */
struct sbx_tail *sbx_tail_open(int fd, bool shared, bool *refused);
void sbx_tail_close(struct sbx_tail *t);
/* A successor takes over: from now on nothing in the memory is freed or changed. */
void sbx_tail_leave(struct sbx_tail *t);
/* The descriptor to deposit; -1: the memory is private. */
int sbx_tail_fd(const struct sbx_tail *t);
size_t sbx_tail_bytes(const struct sbx_tail *t); /* of segments in use */

/* NULL when all slots are taken. */
struct sbx_slot *sbx_tail_slot_new(struct sbx_tail *t, enum sbx_slot_kind kind, uint64_t number);
void sbx_tail_slot_free(struct sbx_tail *t, struct sbx_slot *slot);
/* The next slot in use after `slot` (NULL: the first), or NULL. */
struct sbx_slot *sbx_tail_slot_next(struct sbx_tail *t, struct sbx_slot *slot);
struct sbx_slot *sbx_tail_slot_find(struct sbx_tail *t, uint64_t number);

/* Sets a member of a slot after all that was written before. */
void sbx_tail_publish(uint64_t *member, uint64_t value);

/* The highest process number that was ever given out. */
uint64_t sbx_tail_number(const struct sbx_tail *t);
void sbx_tail_set_number(struct sbx_tail *t, uint64_t number);

/* Identity of the file that all of this belongs to, see proc/db.h; 0: of none that is known. And of
 * the one that is begun next: it is here before that file is, so that a server which dies in
 * between leaves none that its successor would not know. */
uint64_t sbx_tail_file(const struct sbx_tail *t);
void sbx_tail_set_file(struct sbx_tail *t, uint64_t identity);
uint64_t sbx_tail_next_file(const struct sbx_tail *t);
void sbx_tail_set_next_file(struct sbx_tail *t, uint64_t identity);

/* An empty segment for entries from `first` on. NULL when out of memory. */
struct sbx_segment *sbx_segment_new(struct sbx_tail *t, uint64_t number, uint64_t first,
                                    uint64_t offset);
void sbx_segment_unref(struct sbx_segment *seg);
/* Of an earlier server: takes the oldest segment of that log over; NULL when there is none left. */
struct sbx_segment *sbx_tail_adopt(struct sbx_tail *t, uint64_t number);
/* Is there such a segment? */
bool sbx_tail_has(const struct sbx_tail *t, uint64_t number);
/* Frees what nobody has adopted. */
void sbx_tail_drop_orphans(struct sbx_tail *t);

static inline uint32_t sbx_segment_count(const struct sbx_segment *seg)
{
    return (uint32_t)seg->image->count;
}

/* The i-th head; they grow from the back of the segment. */
static inline struct sbx_head *sbx_segment_head(const struct sbx_segment *seg, size_t i)
{
    return (struct sbx_head *)((uint8_t *)seg->image + SBX_SEGMENT_BYTES) - 1 - i;
}

static inline size_t sbx_head_len(const struct sbx_head *h)
{
    return h->len_stream >> 2;
}

size_t sbx_segment_used(const struct sbx_segment *seg); /* payload bytes */
/* Bytes of one entry at the most: what the reference server reads at once, and `tail` counts. */
#define SBX_ENTRY_MAX 8192u
/* Payload bytes that fit if they come in that many entries at most. */
size_t sbx_segment_room(const struct sbx_segment *seg, size_t entries);
/* Appends n bytes, already in their place behind the others, as entries of at most entry_max; with
 * `extend` the last entry grows first if it is of that stream. Returns the entries added. */
uint32_t sbx_segment_append(struct sbx_segment *seg, size_t n, unsigned stream, uint64_t time_ms,
                            size_t entry_max, bool extend);

/* Announces that n > 0 bytes are about to be read to the end of that segment, and marks the place,
 * so that it can be told later whether they came. Undone by sbx_tail_read_done. */
void sbx_tail_about_to_read(struct sbx_tail *t, struct sbx_segment *seg, size_t n, unsigned stream,
                            uint64_t time_ms);
void sbx_tail_read_done(struct sbx_tail *t);

#endif
