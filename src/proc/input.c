/* input.c - see input.h.
 *
 * End of input of a pipe is closing it. A terminal has no such thing: the line discipline turns
 * its VEOF character into an end of file where a line begins, and into "deliver what is typed so
 * far" elsewhere, so an unfinished line takes two. In raw mode the character is a plain byte, and
 * nothing can be sent that means the end; it is sent all the same, as a person would type it. */
#include "proc/input.h"
#include "os/fd.h"
#include "os/pty.h"

#include <assert.h>
#include <errno.h>

#define INPUT_KEEP_BYTES 16384u /* a larger queue buffer is given back when it is empty */

static void input_flush(struct sbx_input *in);

static void input_note(struct sbx_input *in)
{
    if (in->note != NULL)
        *in->note = sbx_input_queued(in);
}

static void input_shut(struct sbx_input *in, enum sbx_input_state state)
{
    sbx_io_stop(&in->io);
    sbx_fd_close(&in->io.fd);
    sbx_buf_deinit(&in->queue);
    input_note(in);
    in->state = state;
    if (in->on_closed != NULL)
        in->on_closed(in);
}

static void input_on_ready(struct sbx_io *io, short revents)
{
    (void)revents;
    input_flush(SBX_LIST_OF(io, struct sbx_input, io));
}

int sbx_input_open(struct sbx_input *in, struct sbx_loop *loop, int fd, bool terminal)
{
    int rc = sbx_fd_set_nonblock(fd);
    *in = (struct sbx_input){.state = SBX_INPUT_OPEN, .terminal = terminal};
    sbx_io_init(&in->io, loop, fd, input_on_ready);
    sbx_buf_init(&in->queue);
    return rc;
}

void sbx_input_close(struct sbx_input *in)
{
    if (in->state == SBX_INPUT_OPEN || in->state == SBX_INPUT_ENDING)
        input_shut(in, SBX_INPUT_CLOSED);
    in->state = SBX_INPUT_CLOSED;
}

size_t sbx_input_queued(const struct sbx_input *in)
{
    return sbx_buf_len(&in->queue);
}

/* Writes what the descriptor takes. Bytes written, or a negative errno other than EAGAIN. */
static ssize_t input_write(struct sbx_input *in, const uint8_t *p, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t put = sbx_fd_write(in->io.fd, p + done, n - done);
        if (put == -EAGAIN)
            break;
        if (put < 0)
            return put;
        done += (size_t)put;
    }
    return (ssize_t)done;
}

/* After the queue was written or filled: what to wait for. */
static void input_settle(struct sbx_input *in)
{
    input_note(in);
    if (sbx_input_queued(in) > 0) {
        /* Without memory for the poll set the next request tries again. */
        (void)sbx_io_watch(&in->io, POLLOUT);
        return;
    }
    sbx_io_stop(&in->io);
    if (in->queue.cap > INPUT_KEEP_BYTES)
        sbx_buf_deinit(&in->queue);
    if (in->state == SBX_INPUT_ENDING && !in->terminal)
        input_shut(in, SBX_INPUT_CLOSED);
}

static void input_flush(struct sbx_input *in)
{
    ssize_t put = input_write(in, sbx_buf_data(&in->queue), sbx_input_queued(in));
    if (put < 0) {
        input_shut(in, SBX_INPUT_BROKEN);
        return;
    }
    sbx_buf_consume(&in->queue, (size_t)put);
    input_settle(in);
}

/* The bytes that mean end of input on a terminal; returns how many. */
static size_t input_terminal_eof(const struct sbx_input *in, bool line_open, uint8_t out[2])
{
    uint8_t eof = 4;
    bool canonical = true;
    (void)sbx_pty_eof_char(in->io.fd, &eof, &canonical);
    out[0] = out[1] = eof;
    return canonical && line_open ? 2 : 1;
}

static int input_queue_rest(struct sbx_input *in, const uint8_t *p, size_t n, const uint8_t *tail,
                            size_t tail_n)
{
    sbx_buf_add(&in->queue, p, n);
    sbx_buf_add(&in->queue, tail, tail_n);
    if (in->queue.oom) {
        in->queue.oom = false;
        return -ENOMEM;
    }
    return 0;
}

int sbx_input_send(struct sbx_input *in, const void *p, size_t n, bool eof, uint64_t limit)
{
    const uint8_t *bytes = p;
    uint8_t tail[2];
    size_t tail_n = 0, waiting = sbx_input_queued(in);
    ssize_t put = 0;
    if (in->state == SBX_INPUT_BROKEN)
        return -EPIPE;
    if (in->state != SBX_INPUT_OPEN)
        return -EBADF;
    if (waiting > 0 && (waiting >= limit || n > limit - waiting))
        return -EAGAIN;
    /* Memory first: after it nothing can fail half way. */
    if (sbx_buf_reserve(&in->queue, n + sizeof tail) == NULL) {
        in->queue.oom = false;
        return -ENOMEM;
    }
    if (waiting == 0 && n > 0)
        put = input_write(in, bytes, n);
    if (put < 0) {
        input_shut(in, SBX_INPUT_BROKEN);
        return -EPIPE;
    }
    if (n > 0)
        in->line_open = bytes[n - 1] != '\n' && bytes[n - 1] != '\r';
    if (eof && in->terminal) {
        tail_n = input_terminal_eof(in, in->line_open, tail);
        in->line_open = false;
    } else if (eof) {
        in->state = SBX_INPUT_ENDING;
        if (in->note_end != NULL)
            *in->note_end = 1;
    }
    if (input_queue_rest(in, bytes + put, n - (size_t)put, tail, tail_n) < 0)
        return -ENOMEM;
    if (waiting == 0)
        input_flush(in);
    else
        input_settle(in);
    return 0;
}
