/* output.c - see output.h.
 *
 * Naps. A program that writes many small lines wakes its reader for each of them; two context
 * switches a line make both slow. So when reads come in quick succession and each finds little, the
 * descriptor leaves the poll set for OUTPUT_NAP_US and what gathered meanwhile is read at once.
 * An interactive program is not delayed: input resets the count, and so does a pause. Terminals do
 * not nap: the kernel holds a few KiB for them and their writer would wait for us.
 *
 * Drain. When the leader has exited, a pipe holds exactly what FIONREAD says of what it
 * wrote; once that many bytes are read the output is drained, whoever else still holds the pipe.
 * A terminal's end comes when its last descriptor closes (EIO on Linux, end of file elsewhere), and
 * a background job may hold it open for ever. Its kernel hands output on with a delay, so what the
 * leader wrote is there after OUTPUT_GRACE_US, and the first pause after that ends the drain.
 * OUTPUT_LIMIT_US bounds it all: a reader that the log waits for, or a background job that writes
 * without a pause, must not keep a process that has ended from being seen to. */
#include "proc/output.h"
#include "os/fd.h"

#include <assert.h>
#include <errno.h>

#define OUTPUT_BUDGET (512u * 1024u)    /* bytes read in one go before others have their turn */
#define OUTPUT_READS 128u                /* and system calls, where a read gives little */
#define OUTPUT_PTY_BUDGET (128u * 1024u) /* a terminal's writer goes on while it is read */
#define OUTPUT_PIPE_BYTES (1024u * 1024u)
#define OUTPUT_GROW_ABOVE (32u * 1024u) /* one go found so much: the pipe's 64 KiB are too few */
#define OUTPUT_NAP_US 300u
#define OUTPUT_BUSY_GAP_US 300u         /* reads closer than this are in quick succession */
#define OUTPUT_NAP_GAP_US 3000u         /* likewise, after a nap: it may have lasted longer */
#define OUTPUT_BUSY_READS 6u
#define OUTPUT_SMALL (32u * 1024u)      /* a read that found less was too early */
#define OUTPUT_LARGE (256u * 1024u)     /* a writer of so much soon waits for us: no nap */
#define OUTPUT_GRACE_US 50000u
#define OUTPUT_LIMIT_US 1000000u
#define OUTPUT_RETRY_US 100000u         /* after an allocation failed */

static void output_read(struct sbx_output *o);

static void output_set_state(struct sbx_output *o, enum sbx_output_state state)
{
    o->state = state;
    if (state == SBX_OUTPUT_READING) {
        if (sbx_io_watch(&o->io, POLLIN) < 0)
            sbx_loop_set_timer(o->io.loop, &o->timer, o->io.loop->now_us + OUTPUT_RETRY_US);
    } else {
        sbx_io_stop(&o->io);
    }
}

static void output_set_drained(struct sbx_output *o)
{
    if (o->drained || !o->draining)
        return;
    o->drained = true;
    o->forced = false;
    sbx_loop_cancel_timer(o->io.loop, &o->limit);
    o->on_drained(o);
}

void sbx_output_close(struct sbx_output *o)
{
    if (o->state == SBX_OUTPUT_CLOSED)
        return;
    sbx_loop_cancel_timer(o->io.loop, &o->timer);
    sbx_loop_cancel_timer(o->io.loop, &o->limit);
    output_set_state(o, SBX_OUTPUT_CLOSED);
    sbx_fd_close(&o->io.fd);
}

static void output_at_end(struct sbx_output *o)
{
    sbx_output_close(o);
    if (o->on_closed != NULL)
        o->on_closed(o);
    output_set_drained(o);
}

static void output_on_ready(struct sbx_io *io, short revents)
{
    (void)revents;
    output_read(SBX_LIST_OF(io, struct sbx_output, io));
}

static void output_on_timer(struct sbx_timer *t)
{
    output_read(SBX_LIST_OF(t, struct sbx_output, timer));
}

static void output_on_limit(struct sbx_timer *t)
{
    struct sbx_output *o = SBX_LIST_OF(t, struct sbx_output, limit);
    if (o->stream == SBX_STREAM_PTY && !o->lingering) {
        o->lingering = true;
        sbx_loop_set_timer(o->io.loop, t, o->io.loop->now_us + OUTPUT_LIMIT_US);
        if (o->state != SBX_OUTPUT_WAITING)
            output_read(o);
        return;
    }
    o->forced = true;
    output_read(o);
    /* What the leader left in a pipe is counted, and read in as many goes as it takes. */
    if (o->stream == SBX_STREAM_PTY)
        output_set_drained(o);
}

int sbx_output_open(struct sbx_output *o, struct sbx_loop *loop, struct sbx_log *log, int fd,
                    enum sbx_log_stream stream, void (*on_drained)(struct sbx_output *o))
{
    int rc = sbx_fd_set_nonblock(fd);
    *o = (struct sbx_output){.state = SBX_OUTPUT_CLOSED, .log = log, .stream = stream,
                             .on_drained = on_drained};
    sbx_io_init(&o->io, loop, fd, output_on_ready);
    sbx_timer_init(&o->timer, output_on_timer);
    sbx_timer_init(&o->limit, output_on_limit);
    if (rc == 0)
        output_set_state(o, SBX_OUTPUT_READING);
    return rc;
}

static void output_wait_for_memory(struct sbx_output *o)
{
    output_set_state(o, SBX_OUTPUT_WAITING);
    sbx_loop_set_timer(o->io.loop, &o->timer, o->io.loop->now_us + OUTPUT_RETRY_US);
}

static void output_count_drain(struct sbx_output *o, size_t got)
{
    if (!o->draining || o->stream == SBX_STREAM_PTY)
        return;
    o->drain_left = got >= o->drain_left ? 0 : o->drain_left - got;
    if (o->drain_left == 0)
        output_set_drained(o);
}

/* After everything that was there has been read: poll again, or nap first? */
static void output_settle(struct sbx_output *o, size_t total)
{
    uint64_t now = o->io.loop->now_us;
    bool napped = o->state == SBX_OUTPUT_NAPPING;
    bool quick = now - o->last_read_us < (napped ? OUTPUT_NAP_GAP_US : OUTPUT_BUSY_GAP_US);
    o->last_read_us = now;
    if (o->lingering)
        output_set_drained(o);
    if (total == 0 || total >= OUTPUT_LARGE || !quick || o->draining ||
        o->stream == SBX_STREAM_PTY) {
        o->busy = 0;
        output_set_state(o, SBX_OUTPUT_READING);
        return;
    }
    if (total < OUTPUT_SMALL || napped)
        o->busy++;
    if (o->busy < OUTPUT_BUSY_READS) {
        output_set_state(o, SBX_OUTPUT_READING);
        return;
    }
    output_set_state(o, SBX_OUTPUT_NAPPING);
    sbx_loop_set_timer(o->io.loop, &o->timer, now + OUTPUT_NAP_US);
}

static void output_grow_pipe(struct sbx_output *o)
{
    if (o->grown || o->stream == SBX_STREAM_PTY)
        return;
    o->grown = true;
    sbx_fd_grow_pipe(o->io.fd, OUTPUT_PIPE_BYTES);
}

enum output_step { OUTPUT_MORE, OUTPUT_EMPTY, OUTPUT_CHANGED };

/* A log that outlives the server wants to know beforehand how much is read, see tail.c. Where the
 * system says that nothing is there, one byte finds out: the end, or what came since. */
static size_t output_expect(struct sbx_output *o, size_t room)
{
    size_t there;
    if (!sbx_log_survives(o->log))
        return room;
    there = sbx_fd_readable_bytes(o->io.fd);
    if (there == 0)
        there = 1;
    if (there < room)
        room = there;
    sbx_log_expect(o->log, room, o->stream);
    return room;
}

/* One read into the log: is there more, was that all, or has the state changed (waiting, closed)?
 * A pipe that gave less than it could is empty; asking again would only find the next line of a
 * writer that is as fast as we are, one system call a line. */
static enum output_step output_step(struct sbx_output *o, size_t *total)
{
    size_t room, most;
    uint8_t *to;
    ssize_t got;
    if (!o->forced && !sbx_log_may_grow(o->log)) {
        output_set_state(o, SBX_OUTPUT_WAITING);
        return OUTPUT_CHANGED;
    }
    to = sbx_log_reserve(o->log, &room);
    if (to == NULL) {
        output_wait_for_memory(o);
        return OUTPUT_CHANGED;
    }
    most = output_expect(o, room);
    got = sbx_fd_read(o->io.fd, to, most);
    sbx_log_append(o->log, got > 0 ? (size_t)got : 0, o->stream);
    if (got == -EAGAIN)
        return OUTPUT_EMPTY;
    if (got <= 0) {
        output_at_end(o);
        return OUTPUT_CHANGED;
    }
    *total += (size_t)got;
    output_count_drain(o, (size_t)got);
    return (size_t)got == room || o->stream == SBX_STREAM_PTY ? OUTPUT_MORE : OUTPUT_EMPTY;
}

/* Half of the log's cap is the most for one go: what is not committed yet must not evict all that
 * readers can be given. */
static size_t output_budget(const struct sbx_output *o)
{
    size_t budget = o->stream == SBX_STREAM_PTY ? OUTPUT_PTY_BUDGET : OUTPUT_BUDGET;
    uint64_t half = sbx_log_cap(o->log) / 2;
    if (half == 0)
        return 1;
    return half < budget ? (size_t)half : budget;
}

static void output_read(struct sbx_output *o)
{
    size_t budget = output_budget(o), total = 0;
    unsigned reads = 0;
    enum output_step step = OUTPUT_MORE;
    sbx_loop_cancel_timer(o->io.loop, &o->timer);
    while (total < budget && reads++ < OUTPUT_READS && step == OUTPUT_MORE)
        step = output_step(o, &total);
    if (total >= OUTPUT_GROW_ABOVE)
        output_grow_pipe(o);
    if (step == OUTPUT_CHANGED)
        return;
    if (step == OUTPUT_MORE)
        output_set_state(o, SBX_OUTPUT_READING);
    else
        output_settle(o, total);
}

void sbx_output_drain(struct sbx_output *o)
{
    struct sbx_loop *loop = o->io.loop;
    o->draining = true;
    if (o->state == SBX_OUTPUT_CLOSED) {
        output_set_drained(o);
        return;
    }
    sbx_loop_set_timer(loop, &o->limit, loop->now_us + (o->stream == SBX_STREAM_PTY
                                                            ? OUTPUT_GRACE_US
                                                            : OUTPUT_LIMIT_US));
    if (o->stream != SBX_STREAM_PTY) {
        o->drain_left = sbx_fd_readable_bytes(o->io.fd);
        if (o->drain_left == 0)
            output_set_drained(o);
    }
    if (o->state != SBX_OUTPUT_WAITING)
        output_read(o);
}

void sbx_output_resume(struct sbx_output *o)
{
    if (o->state == SBX_OUTPUT_WAITING)
        output_read(o);
}

void sbx_output_wake(struct sbx_output *o)
{
    o->busy = 0;
    if (o->state != SBX_OUTPUT_NAPPING)
        return;
    sbx_loop_cancel_timer(o->io.loop, &o->timer);
    output_set_state(o, SBX_OUTPUT_READING);
}
