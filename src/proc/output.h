/* output.h - one output of a process (a pipe or a terminal), read into its log. */
#ifndef SBX_PROC_OUTPUT_H
#define SBX_PROC_OUTPUT_H

#include "os/loop.h"
#include "proc/log.h"

#include <stdbool.h>
#include <stddef.h>

/*
 *            readable, nothing to hold back
 *   READING <--------------------------------> NAPPING   busy: let output gather for a moment
 *      |  ^------- on_room / memory -------->  WAITING   the log may not grow now
 *      v
 *   CLOSED    end of file
 *
 * `drained` is set once what the leader wrote before its exit has been read; see output_drain. */
enum sbx_output_state {
    SBX_OUTPUT_CLOSED,
    SBX_OUTPUT_READING,
    SBX_OUTPUT_NAPPING,
    SBX_OUTPUT_WAITING
};

struct sbx_output {
    enum sbx_output_state state;
    struct sbx_io io;
    struct sbx_timer timer;  /* end of a nap, retry after lack of memory */
    struct sbx_timer limit;  /* of a drain */
    struct sbx_log *log;
    enum sbx_log_stream stream;
    bool draining;           /* the leader has exited */
    bool lingering;          /* terminal: grace is over, the next pause is the end of the drain */
    bool forced;             /* the drain took too long: readers are not waited for */
    bool drained;
    bool grown;              /* the pipe's buffer was enlarged */
    unsigned busy;           /* reads in quick succession */
    uint64_t last_read_us;
    size_t drain_left;       /* bytes that were in the pipe at exit and are not read yet */
    void (*on_drained)(struct sbx_output *o);
    void (*on_closed)(struct sbx_output *o); /* at its end, before on_drained; may be NULL */
};

/* Takes over fd (non-blocking from here on). A terminal is told by its stream. 0 or -errno. */
int sbx_output_open(struct sbx_output *o, struct sbx_loop *loop, struct sbx_log *log, int fd,
                    enum sbx_log_stream stream, void (*on_drained)(struct sbx_output *o));
void sbx_output_close(struct sbx_output *o); /* idempotent; what is unread is lost */

/* The leader has exited: on_drained is called once all it wrote is in the log. That is bounded: a
 * descendant that holds the pipe open delays nothing. Reading goes on afterwards. */
void sbx_output_drain(struct sbx_output *o);
/* The log has room again. */
void sbx_output_resume(struct sbx_output *o);
/* Somebody typed: the answer should not wait for a nap. */
void sbx_output_wake(struct sbx_output *o);

#endif
