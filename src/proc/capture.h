/* capture.h - one output of a one-shot command, kept up to a limit as the text of a JSON string.
 *
 * The answer to a run is JSON, and a megabyte of output takes as long to escape as to send. So it
 * is encoded as it is read, while the command still works on the rest. */
#ifndef SBX_PROC_CAPTURE_H
#define SBX_PROC_CAPTURE_H

#include "base/buf.h"
#include "os/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SBX_CAPTURE_CARRY 4u

struct sbx_capture {
    struct sbx_io io;     /* fd -1 at end of file */
    struct sbx_buf text;  /* between the quotes: escaped UTF-8, or base64 */
    bool base64;
    uint64_t cap, kept;   /* bytes of output */
    bool truncated;       /* there was more than cap */
    uint8_t carry[SBX_CAPTURE_CARRY]; /* kept, but not encoded: a character or group of three whose
                                         end is not there yet */
    uint8_t ncarry;
};

/* Takes over fd. 0 or -errno; even then what is in the pipe can be drained later. */
int sbx_capture_open(struct sbx_capture *c, struct sbx_loop *loop, int fd, uint64_t cap,
                     bool base64, void (*on_ready)(struct sbx_io *io, short revents));
/* One read of at most `most` bytes. scratch has SBX_CAPTURE_SCRATCH bytes. Bytes read, 0 when
 * nothing is there, -1 at the end (the descriptor is closed then). */
ssize_t sbx_capture_read(struct sbx_capture *c, uint8_t *scratch, size_t most);
/* Reads what is in the pipe at this moment, and not what a background child adds later. */
void sbx_capture_drain(struct sbx_capture *c, uint8_t *scratch);
/* Nothing more is kept: encodes what was carried. Of a text that was cut, an incomplete last
 * character is left out rather than shown as damaged. */
void sbx_capture_finish(struct sbx_capture *c);
void sbx_capture_end(struct sbx_capture *c); /* closes the descriptor; idempotent */
void sbx_capture_deinit(struct sbx_capture *c);

#define SBX_CAPTURE_READ (64u * 1024u)
#define SBX_CAPTURE_SCRATCH (SBX_CAPTURE_READ + SBX_CAPTURE_CARRY)

#endif
