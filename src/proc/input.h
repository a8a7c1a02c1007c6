/* input.h - input of a process: a bounded queue in front of its stdin pipe or terminal.
 *
 * Nothing here ever blocks. What the pipe does not take waits in the queue, and what does not fit
 * into the queue is refused whole. */
#ifndef SBX_PROC_INPUT_H
#define SBX_PROC_INPUT_H

#include "base/buf.h"
#include "os/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*   OPEN --eof--> ENDING --queue empty--> CLOSED
 *    |               |                      ^
 *    +---------------+-- process gone ------+
 *    +-- EPIPE --> BROKEN   the process closed its stdin; told once a write finds out */
enum sbx_input_state { SBX_INPUT_CLOSED, SBX_INPUT_OPEN, SBX_INPUT_ENDING, SBX_INPUT_BROKEN };

struct sbx_input {
    enum sbx_input_state state;
    struct sbx_io io;
    struct sbx_buf queue;
    bool terminal;
    bool line_open; /* terminal: the last byte accepted was not a newline */
    uint64_t *note; /* where the length of the queue is kept up to date; may be NULL */
    uint32_t *note_end; /* where it is noted that the end was accepted; may be NULL */
    void (*on_closed)(struct sbx_input *in); /* the descriptor was closed; may be NULL */
};

/* Takes over fd. 0 or -errno. */
int sbx_input_open(struct sbx_input *in, struct sbx_loop *loop, int fd, bool terminal);
void sbx_input_close(struct sbx_input *in); /* idempotent; drops the queue */

/* Accepts n bytes, and the end of input after them when eof. All or nothing:
 *   0        accepted: written or queued
 *   -EAGAIN  the queue would exceed `limit` bytes (see sbx_input_queued)
 *   -EPIPE   the process has closed its stdin
 *   -EBADF   end of input was already sent
 *   -ENOMEM  */
int sbx_input_send(struct sbx_input *in, const void *p, size_t n, bool eof, uint64_t limit);
size_t sbx_input_queued(const struct sbx_input *in);

#endif
