/* loop.c - see loop.h.
 *
 * Invariants
 *   - an io is in the poll set (LOOP_HOT, ios[slot] == io), parked (LOOP_PARKED) or nowhere;
 *   - slots are stable while callbacks run: a stopped io leaves a hole (fd -1) that is purged
 *     afterwards, a new io is appended behind the part that is being dispatched;
 *   - an io that was silent for LOOP_QUIET_TURNS turns is parked, but only when the set is large
 *     enough for that to pay; its first event brings it back;
 *   - a task queued for a phase that has passed runs in the next turn, and poll() does not sleep
 *     while one is pending. So a fast reader cannot keep one turn going for ever. */
#include "os/loop.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/park.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define LOOP_QUIET_TURNS 50
#define LOOP_PARK_ABOVE 24u     /* smaller poll sets are not worth a system call */
#define LOOP_PARK_PER_TURN 256u
#define LOOP_PARK_BATCH 64u

enum loop_place { LOOP_NOWHERE, LOOP_HOT, LOOP_PARKED };

int sbx_loop_init(struct sbx_loop *loop)
{
    size_t i;
    memset(loop, 0, sizeof *loop);
    for (i = 0; i < SBX_PHASES; i++)
        sbx_list_init(&loop->tasks[i]);
    loop->cap = 64;
    loop->pfds = sbx_mem_alloc(loop->cap * sizeof *loop->pfds);
    loop->ios = sbx_mem_alloc(loop->cap * sizeof *loop->ios);
    if (loop->pfds == NULL || loop->ios == NULL) {
        sbx_mem_free(loop->pfds);
        sbx_mem_free(loop->ios);
        return -ENOMEM;
    }
    loop->park = sbx_park_open();
    loop->pfds[0] = (struct pollfd){.fd = loop->park, .events = POLLIN};
    loop->ios[0] = NULL;
    loop->n = 1;
    loop->now_us = sbx_clock_mono_us();
    return 0;
}

void sbx_loop_deinit(struct sbx_loop *loop)
{
    if (loop->park >= 0)
        (void)close(loop->park);
    sbx_mem_free(loop->pfds);
    sbx_mem_free(loop->ios);
    loop->pfds = NULL;
    loop->ios = NULL;
}

static int loop_reserve_slot(struct sbx_loop *loop)
{
    struct pollfd *pfds;
    struct sbx_io **ios;
    size_t cap = loop->cap * 2;
    if (loop->n < loop->cap)
        return 0;
    pfds = sbx_mem_realloc(loop->pfds, cap * sizeof *pfds);
    if (pfds == NULL)
        return -ENOMEM;
    loop->pfds = pfds;
    ios = sbx_mem_realloc(loop->ios, cap * sizeof *ios);
    if (ios == NULL)
        return -ENOMEM;
    loop->ios = ios;
    loop->cap = cap;
    return 0;
}

static int loop_add_hot(struct sbx_io *io)
{
    struct sbx_loop *loop = io->loop;
    int rc = loop_reserve_slot(loop);
    if (rc < 0)
        return rc;
    io->slot = loop->n++;
    io->place = LOOP_HOT;
    io->quiet = 0;
    loop->ios[io->slot] = io;
    loop->pfds[io->slot] = (struct pollfd){.fd = io->fd, .events = io->events};
    return 0;
}

static void loop_move_last_to(struct sbx_loop *loop, size_t slot)
{
    size_t last = --loop->n;
    if (slot == last)
        return;
    loop->pfds[slot] = loop->pfds[last];
    loop->ios[slot] = loop->ios[last];
    if (loop->ios[slot] != NULL)
        loop->ios[slot]->slot = slot;
}

static void loop_remove_hot(struct sbx_io *io)
{
    struct sbx_loop *loop = io->loop;
    assert(loop->ios[io->slot] == io);
    if (loop->dispatching) {
        loop->pfds[io->slot].fd = -1;
        loop->pfds[io->slot].revents = 0;
        loop->ios[io->slot] = NULL;
        loop->holes++;
    } else {
        loop_move_last_to(loop, io->slot);
    }
    io->place = LOOP_NOWHERE;
}

void sbx_io_init(struct sbx_io *io, struct sbx_loop *loop, int fd,
                 void (*on_ready)(struct sbx_io *io, short revents))
{
    *io = (struct sbx_io){.loop = loop, .fd = fd, .on_ready = on_ready, .place = LOOP_NOWHERE};
}

static void loop_unpark(struct sbx_io *io)
{
    sbx_park_remove(io->loop->park, io->fd);
    io->place = LOOP_NOWHERE;
}

int sbx_io_watch(struct sbx_io *io, short events)
{
    assert(io->fd >= 0);
    if (io->place == LOOP_HOT) {
        io->events = events;
        io->loop->pfds[io->slot].events = events;
        return 0;
    }
    if (io->place == LOOP_PARKED) {
        if (io->events == events)
            return 0;
        loop_unpark(io);
    }
    io->events = events;
    return loop_add_hot(io);
}

void sbx_io_stop(struct sbx_io *io)
{
    if (io->place == LOOP_HOT)
        loop_remove_hot(io);
    else if (io->place == LOOP_PARKED)
        loop_unpark(io);
}

void sbx_loop_set_timer(struct sbx_loop *loop, struct sbx_timer *t, uint64_t at_us)
{
    sbx_timers_set(&loop->timers, t, at_us);
}

void sbx_loop_cancel_timer(struct sbx_loop *loop, struct sbx_timer *t)
{
    sbx_timers_cancel(&loop->timers, t);
}

void sbx_task_init(struct sbx_task *t, void (*run)(struct sbx_task *t))
{
    sbx_list_init(&t->node);
    t->run = run;
}

void sbx_loop_defer(struct sbx_loop *loop, enum sbx_phase phase, struct sbx_task *t)
{
    if (sbx_list_empty(&t->node))
        sbx_list_add_tail(&loop->tasks[phase], &t->node);
}

void sbx_task_cancel(struct sbx_task *t)
{
    sbx_list_remove(&t->node);
}

void sbx_loop_hold(struct sbx_loop *loop, bool held)
{
    loop->held = held;
}

static bool loop_is_held(const struct sbx_loop *loop, size_t phase)
{
    return loop->held && phase == SBX_PHASE_FLUSH;
}

void sbx_loop_stop(struct sbx_loop *loop)
{
    loop->stopping = true;
}

static bool loop_has_tasks(const struct sbx_loop *loop)
{
    size_t i;
    for (i = 0; i < SBX_PHASES; i++)
        if (!loop_is_held(loop, i) && !sbx_list_empty(&loop->tasks[i]))
            return true;
    return false;
}

/* -1: sleep until something happens. Microseconds otherwise. */
static int64_t loop_sleep_us(const struct sbx_loop *loop)
{
    uint64_t now;
    if (loop_has_tasks(loop))
        return 0;
    if (loop->timers.root == NULL)
        return -1;
    now = sbx_clock_mono_us();
    return loop->timers.root->at_us <= now ? 0 : (int64_t)(loop->timers.root->at_us - now);
}

static int loop_poll(struct sbx_loop *loop, int64_t us)
{
#if defined(__linux__) || defined(__FreeBSD__)
    /* ppoll only for its resolution: naps of a fraction of a millisecond batch small writes. */
    struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    return ppoll(loop->pfds, loop->n, us < 0 ? NULL : &ts, NULL);
#else
    int ms = us < 0 ? -1 : us > 3600000000ll ? 3600000 : (int)((us + 999) / 1000);
    return poll(loop->pfds, (nfds_t)loop->n, ms);
#endif
}

static void loop_dispatch_parked(struct sbx_loop *loop)
{
    void *tags[LOOP_PARK_BATCH];
    short revents[LOOP_PARK_BATCH];
    size_t i, n = sbx_park_ready(loop->park, tags, revents, LOOP_PARK_BATCH);
    for (i = 0; i < n; i++) {
        struct sbx_io *io = tags[i];
        /* A callback before this one may have stopped it; its memory lives until FREE. */
        if (io->place != LOOP_PARKED)
            continue;
        loop_unpark(io);
        if (loop_add_hot(io) < 0) {
            (void)sbx_park_add(loop->park, io->fd, io->events, io);
            io->place = LOOP_PARKED;
            continue;
        }
        io->on_ready(io, revents[i]);
    }
}

static void loop_dispatch(struct sbx_loop *loop, int ready)
{
    size_t i, n = loop->n;
    loop->dispatching = true;
    for (i = 1; i < n && ready > 0; i++) {
        short revents = loop->pfds[i].revents;
        if (revents == 0)
            continue;
        ready--;
        loop->pfds[i].revents = 0;
        if (loop->ios[i] != NULL) {
            loop->ios[i]->quiet = 0;
            loop->ios[i]->on_ready(loop->ios[i], revents);
        }
    }
    if (loop->pfds[0].revents != 0) {
        loop->pfds[0].revents = 0;
        loop_dispatch_parked(loop);
    }
    loop->dispatching = false;
}

static void loop_purge(struct sbx_loop *loop)
{
    size_t i;
    for (i = 1; loop->holes > 0 && i < loop->n;) {
        if (loop->ios[i] != NULL) {
            i++;
            continue;
        }
        loop->holes--;
        loop_move_last_to(loop, i);
    }
    assert(loop->holes == 0);
}

static void loop_park_quiet(struct sbx_loop *loop)
{
    size_t i, parked = 0;
    if (loop->park < 0 || loop->n <= LOOP_PARK_ABOVE)
        return;
    for (i = 1; i < loop->n && parked < LOOP_PARK_PER_TURN;) {
        struct sbx_io *io = loop->ios[i];
        if (++io->quiet < LOOP_QUIET_TURNS ||
            !sbx_park_add(loop->park, io->fd, io->events, io)) {
            i++;
            continue;
        }
        io->place = LOOP_PARKED;
        loop_move_last_to(loop, i);
        parked++;
    }
}

static void loop_run_timers(struct sbx_loop *loop)
{
    struct sbx_timer *t;
    while ((t = sbx_timers_pop_due(&loop->timers, loop->now_us)) != NULL)
        t->on_fire(t);
}

static void loop_run_phase(struct sbx_list *tasks)
{
    struct sbx_list batch;
    if (sbx_list_empty(tasks))
        return;
    /* Detached first: what these tasks queue for the same phase waits for the next turn. */
    batch = *tasks;
    batch.next->prev = &batch;
    batch.prev->next = &batch;
    sbx_list_init(tasks);
    while (!sbx_list_empty(&batch)) {
        struct sbx_task *t = SBX_LIST_OF(batch.next, struct sbx_task, node);
        sbx_list_remove(&t->node);
        t->run(t);
    }
}

/* Requests are handled in PULL too, and what they changed is to be committed before it is told. */
static void loop_run_phases(struct sbx_loop *loop)
{
    size_t i;
    loop->pass++;
    for (i = 0; i < SBX_PHASES; i++) {
        if (i == SBX_PHASE_FLUSH)
            loop_run_phase(&loop->tasks[SBX_PHASE_COMMIT]);
        if (!loop_is_held(loop, i))
            loop_run_phase(&loop->tasks[i]);
    }
}

void sbx_loop_turn(struct sbx_loop *loop)
{
    int ready = loop_poll(loop, loop_sleep_us(loop));
    loop->now_us = sbx_clock_mono_us();
    if (ready > 0)
        loop_dispatch(loop, ready);
    if (loop->holes > 0)
        loop_purge(loop);
    loop_run_timers(loop);
    loop_run_phases(loop);
    loop_park_quiet(loop);
}

void sbx_loop_finish(struct sbx_loop *loop)
{
    while (loop_has_tasks(loop))
        loop_run_phases(loop);
}

void sbx_loop_run(struct sbx_loop *loop)
{
    while (!loop->stopping)
        sbx_loop_turn(loop);
}
