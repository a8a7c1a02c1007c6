/* log_tail.h - where the last lines of a log begin. */
#ifndef SBX_API_LOG_TAIL_H
#define SBX_API_LOG_TAIL_H

#include "proc/log.h"

#include <stdint.h>

#define SBX_LOG_TAIL_BYTES (16u * 1024u * 1024u) /* how far lines are looked for, about */

struct sbx_log_tail {
    uint64_t next;    /* sequence to begin with */
    uint64_t skip[3]; /* by enum sbx_log_stream: lines of it from there that are too many */
};

/* The last `lines` lines of these streams in what is kept, in entries not before that sequence. A
 * line counts where it ends; a last one without its newline counts where it stops for now. */
void sbx_log_tail_find(struct sbx_log *log, unsigned streams, uint64_t lines, uint64_t not_before,
                       struct sbx_log_tail *tail);

#endif
