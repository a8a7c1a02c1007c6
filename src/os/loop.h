/* loop.h - the poll() loop: descriptors, timers, and work that waits for the end of the turn.
 *
 * One turn:
 *   1. poll() until a descriptor is ready, a timer is due, or work is pending
 *   2. callbacks of ready descriptors        (read sockets, pipes; start and feed processes)
 *   3. callbacks of due timers
 *   4. tasks, phase by phase                 (commit -> pull -> commit -> flush -> free)
 * Callbacks may stop any descriptor and queue any task; memory that a callback of the same turn
 * could still look at is freed in phase FREE only. */
#ifndef SBX_OS_LOOP_H
#define SBX_OS_LOOP_H

#include "base/list.h"
#include "os/timer.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef POLLRDHUP
#define POLLRDHUP 0 /* peers that closed are noticed at the next read or write instead */
#endif

enum sbx_phase {
    SBX_PHASE_COMMIT, /* what was read this turn goes to the store */
    SBX_PHASE_PULL,   /* readers are handed what the store has */
    SBX_PHASE_FLUSH,  /* sockets and input pipes are written, once */
    SBX_PHASE_FREE,
    SBX_PHASES
};

/* A piece of work for the end of the turn. In a list while pending; queueing it twice is once. */
struct sbx_task {
    struct sbx_list node;
    void (*run)(struct sbx_task *t);
};

struct sbx_loop;

/* A watched descriptor, embedded in its owner. */
struct sbx_io {
    struct sbx_loop *loop;
    int fd;
    short events;    /* wanted: POLLIN, POLLOUT, POLLRDHUP; errors are always reported */
    uint8_t place;   /* enum loop_place, private to loop.c */
    uint16_t quiet;  /* turns without an event */
    size_t slot;     /* index in the poll set while it is there */
    void (*on_ready)(struct sbx_io *io, short revents);
};

struct sbx_loop {
    struct pollfd *pfds; /* slot 0 is the parking descriptor */
    struct sbx_io **ios; /* parallel to pfds; NULL for slots given up during dispatch */
    size_t n, cap;
    size_t holes;        /* given-up slots, purged after dispatch */
    bool dispatching;
    int park;
    struct sbx_timers timers;
    struct sbx_list tasks[SBX_PHASES];
    uint64_t now_us;     /* monotonic time of this turn */
    uint64_t pass;        /* counts how often the phases were run: what is bounded in each */
    bool stopping;
    bool held;
};

int sbx_loop_init(struct sbx_loop *loop);
void sbx_loop_deinit(struct sbx_loop *loop);
/* Runs turns until sbx_loop_stop. */
void sbx_loop_run(struct sbx_loop *loop);
void sbx_loop_turn(struct sbx_loop *loop);
void sbx_loop_stop(struct sbx_loop *loop);
/* Runs the tasks that are pending, without waiting for anything: the last step before deinit. */
void sbx_loop_finish(struct sbx_loop *loop);

/* While held, phase FLUSH is put off: nothing is written to anybody. */
void sbx_loop_hold(struct sbx_loop *loop, bool held);

void sbx_io_init(struct sbx_io *io, struct sbx_loop *loop, int fd,
                 void (*on_ready)(struct sbx_io *io, short revents));
/* Changes what is wanted; 0 still reports errors and hang-up. 0 or -ENOMEM. */
int sbx_io_watch(struct sbx_io *io, short events);
/* Takes the descriptor out of the loop; it is not closed. Idempotent. */
void sbx_io_stop(struct sbx_io *io);

void sbx_loop_set_timer(struct sbx_loop *loop, struct sbx_timer *t, uint64_t at_us);
void sbx_loop_cancel_timer(struct sbx_loop *loop, struct sbx_timer *t);

void sbx_task_init(struct sbx_task *t, void (*run)(struct sbx_task *t));
void sbx_loop_defer(struct sbx_loop *loop, enum sbx_phase phase, struct sbx_task *t);
void sbx_task_cancel(struct sbx_task *t);

#endif
