/* capture.c - see capture.h.
 *
 * Bytes are read behind a place for the carry, so that what was held back and what is new lie
 * together and are encoded in one go. */
#include "proc/capture.h"
#include "base/base64.h"
#include "base/json_write.h"
#include "base/utf8.h"
#include "os/fd.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int sbx_capture_open(struct sbx_capture *c, struct sbx_loop *loop, int fd, uint64_t cap,
                     bool base64, void (*on_ready)(struct sbx_io *io, short revents))
{
    int rc = sbx_fd_set_nonblock(fd);
    *c = (struct sbx_capture){.cap = cap, .base64 = base64};
    sbx_io_init(&c->io, loop, fd, on_ready);
    sbx_buf_init(&c->text);
    return rc < 0 ? rc : sbx_io_watch(&c->io, POLLIN);
}

void sbx_capture_end(struct sbx_capture *c)
{
    if (c->io.fd < 0)
        return;
    sbx_io_stop(&c->io);
    sbx_fd_close(&c->io.fd);
}

void sbx_capture_deinit(struct sbx_capture *c)
{
    sbx_capture_end(c);
    sbx_buf_deinit(&c->text);
}

static void capture_encode_base64(struct sbx_capture *c, const uint8_t *p, size_t n)
{
    size_t len = sbx_base64_encoded_len(n);
    uint8_t *to = sbx_buf_reserve(&c->text, len);
    if (to == NULL)
        return;
    sbx_base64_encode(p, n, (char *)to);
    sbx_buf_commit(&c->text, len);
}

static void capture_encode(struct sbx_capture *c, const uint8_t *p, size_t n)
{
    if (n == 0)
        return;
    if (c->base64)
        capture_encode_base64(c, p, n);
    else
        sbx_json_put_text(&c->text, (struct sbx_str){(const char *)p, n});
}

/* Encodes what is complete of p[0..n) and carries the rest. */
static void capture_feed(struct sbx_capture *c, const uint8_t *p, size_t n)
{
    size_t rest = c->base64 ? n % 3 : n > 0 ? sbx_utf8_incomplete_tail(p, n) : 0;
    assert(rest < SBX_CAPTURE_CARRY);
    capture_encode(c, p, n - rest);
    memcpy(c->carry, p + n - rest, rest);
    c->ncarry = (uint8_t)rest;
    /* Out of memory: what is kept ends here, and the answer says so. */
    if (c->text.oom) {
        c->text.oom = false;
        c->truncated = true;
        c->cap = c->kept;
    }
}

ssize_t sbx_capture_read(struct sbx_capture *c, uint8_t *scratch, size_t most)
{
    uint8_t *to = scratch + SBX_CAPTURE_CARRY;
    uint64_t room = c->cap - c->kept;
    ssize_t got = sbx_fd_read(c->io.fd, to, most < SBX_CAPTURE_READ ? most : SBX_CAPTURE_READ);
    size_t keep;
    if (got == -EAGAIN)
        return 0;
    if (got <= 0) {
        sbx_capture_end(c);
        return -1;
    }
    keep = (uint64_t)got < room ? (size_t)got : (size_t)room;
    c->truncated = c->truncated || keep < (size_t)got;
    c->kept += keep;
    memcpy(to - c->ncarry, c->carry, c->ncarry);
    capture_feed(c, to - c->ncarry, keep + c->ncarry);
    return got;
}

void sbx_capture_drain(struct sbx_capture *c, uint8_t *scratch)
{
    size_t left;
    if (c->io.fd < 0)
        return;
    left = sbx_fd_readable_bytes(c->io.fd);
    while (left > 0) {
        ssize_t got = sbx_capture_read(c, scratch, left);
        if (got <= 0)
            return;
        left -= (size_t)got;
    }
    /* The usual case: nobody else has the pipe, and its end is there to be seen. What a background
     * child has put into it since is its own affair. */
    if (sbx_fd_read(c->io.fd, scratch, SBX_CAPTURE_READ) == 0)
        sbx_capture_end(c);
}

void sbx_capture_finish(struct sbx_capture *c)
{
    if (c->base64 || !c->truncated)
        capture_encode(c, c->carry, c->ncarry);
    c->ncarry = 0;
    c->truncated = c->truncated || c->text.oom;
    c->text.oom = false;
}
