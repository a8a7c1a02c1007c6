/* keep.c - see keep.h.
 *
 * The keeper does nothing but read, so a full socket is rare and short. What carries no
 * descriptors is put aside then, and sent from the loop once there is room: who lets go of
 * something has done with it, and would not ask twice. What carries some is waited for, but not for
 * long, and when that was in vain (a stopped keeper) not again until a message has got through; the
 * caller hears of it. The keeper gets all in the order in which it was said. What is put aside at
 * the end of this server is lost with it: the next one finds items that it knows to be over, and
 * drops them.
 * That the keeper is gone is learned from the descriptor in the loop; a send that fails before the
 * loop has come there only fails. The hook of the tests is file-level state, like that of
 * base/mem. */
#include "proc/keep.h"
#include "os/clock.h"
#include "os/fd.h"
#include "proc/keeper_msg.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define KEEP_PATIENCE_US 100000u
#define KEEP_PER_TURN 64u
#define KEEP_UNSENT_MAX 1048576u /* 32768 messages: more than four for each item there can be */

static int (*keep_gate)(void *ctx, const char *call);
static void *keep_gate_ctx;

void sbx_keep_set_gate(int (*gate)(void *ctx, const char *call), void *ctx)
{
    keep_gate = gate;
    keep_gate_ctx = ctx;
}

static void keep_lose(struct sbx_keep *k)
{
    sbx_diag(k->diag, SBX_DIAG_WARN,
             "the keeper (pid %ld) is gone; processes will not outlive this server",
             (long)k->keeper);
    sbx_keep_deinit(k);
    if (k->on_lost != NULL)
        k->on_lost(k->ctx);
}

static void keep_take(struct sbx_keep *k, const uint8_t *p, size_t n)
{
    struct sbx_keeper_msg m;
    if (sbx_keeper_msg_decode(p, n, &m) < 0 || m.type != SBX_KEEPER_MSG_EXIT) {
        sbx_diag(k->diag, SBX_DIAG_WARN, "a message of the keeper makes no sense; ignored");
        return;
    }
    if (k->on_exit != NULL)
        k->on_exit(k->ctx, m.number, &m.exit);
}

static int keep_flush(struct sbx_keep *k, uint64_t end);

static void keep_on_ready(struct sbx_io *io, short revents)
{
    struct sbx_keep *k = SBX_LIST_OF(io, struct sbx_keep, io);
    uint8_t bytes[SBX_KEEPER_MSG_BYTES + 1]; /* one more shows that a message is too long */
    unsigned i;
    if ((revents & POLLOUT) != 0 && keep_flush(k, 0) == 0) {
        sbx_buf_deinit(&k->unsent);
        (void)sbx_io_watch(io, POLLIN);
    }
    /* A callback may close the link. */
    for (i = 0; i < KEEP_PER_TURN && k->keeper != 0; i++) {
        ssize_t got = recv(io->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got > 0) {
            keep_take(k, bytes, (size_t)got);
        } else if (got == 0 || (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)) {
            keep_lose(k);
        } else if (errno != EINTR) {
            return;
        }
    }
}

int sbx_keep_init(struct sbx_keep *k, struct sbx_loop *loop, const struct sbx_diag *diag,
                  struct sbx_estate *estate)
{
    int rc;
    k->loop = loop;
    k->diag = diag;
    k->keeper = 0;
    k->stuck = false;
    sbx_buf_init(&k->unsent);
    sbx_io_init(&k->io, loop, estate->link, keep_on_ready);
    if (estate->link < 0)
        return 0;
    rc = sbx_io_watch(&k->io, POLLIN);
    if (rc < 0) {
        k->io.fd = -1;
        return rc;
    }
    k->keeper = estate->keeper;
    estate->link = -1;
    return 0;
}

void sbx_keep_deinit(struct sbx_keep *k)
{
    if (k->keeper == 0)
        return;
    sbx_io_stop(&k->io);
    sbx_fd_close(&k->io.fd);
    sbx_buf_deinit(&k->unsent);
    k->keeper = 0;
}

/* Waits until the socket takes a message again, no longer than until `end`. */
static int keep_await(struct sbx_keep *k, uint64_t end)
{
    struct pollfd p = {.fd = k->io.fd, .events = POLLOUT};
    uint64_t now = sbx_clock_mono_us();
    if (k->stuck || now >= end || poll(&p, 1, (int)((end - now + 999) / 1000)) == 0) {
        k->stuck = true;
        return -EAGAIN;
    }
    return 0;
}

/* end 0: nothing is waited for. */
static int keep_send_one(struct sbx_keep *k, const struct msghdr *msg, uint64_t end)
{
    int rc = 0;
    while (rc == 0) {
        if (sendmsg(k->io.fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
            k->stuck = false;
            return 0;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
            rc = end == 0 ? -EAGAIN : keep_await(k, end);
        else if (errno != EINTR)
            rc = -errno;
    }
    return rc;
}

static int keep_send_bytes(struct sbx_keep *k, uint8_t *bytes, uint64_t end)
{
    struct iovec iov = {.iov_base = bytes, .iov_len = SBX_KEEPER_MSG_BYTES};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return keep_send_one(k, &msg, end);
}

/* Sends what was put aside. */
static int keep_flush(struct sbx_keep *k, uint64_t end)
{
    int rc = 0;
    while (rc == 0 && sbx_buf_len(&k->unsent) > 0) {
        rc = keep_send_bytes(k, sbx_buf_data(&k->unsent), end);
        if (rc == 0)
            sbx_buf_consume(&k->unsent, SBX_KEEPER_MSG_BYTES);
    }
    return rc;
}

static int keep_put_aside(struct sbx_keep *k, const uint8_t bytes[SBX_KEEPER_MSG_BYTES])
{
    int rc;
    if (sbx_buf_len(&k->unsent) >= KEEP_UNSENT_MAX)
        return -EAGAIN;
    rc = sbx_io_watch(&k->io, POLLIN | POLLOUT);
    if (rc < 0)
        return rc;
    sbx_buf_add(&k->unsent, bytes, SBX_KEEPER_MSG_BYTES);
    rc = k->unsent.oom ? -ENOMEM : 0;
    k->unsent.oom = false;
    return rc;
}

static int keep_say(struct sbx_keep *k, const char *call, const struct sbx_keeper_msg *m)
{
    uint8_t bytes[SBX_KEEPER_MSG_BYTES];
    int rc;
    if (k->keeper == 0)
        return 0;
    if (keep_gate != NULL && !keep_gate(keep_gate_ctx, call))
        return -EIO;
    sbx_keeper_msg_encode(m, bytes);
    rc = keep_flush(k, 0);
    if (rc == 0)
        rc = keep_send_bytes(k, bytes, 0);
    return rc == -EAGAIN ? keep_put_aside(k, bytes) : rc;
}

static int keep_deposit(struct sbx_keep *k, const struct sbx_keeper_msg *m, const int *fds,
                        size_t nfds)
{
    uint64_t end = sbx_clock_mono_us() + KEEP_PATIENCE_US;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(SBX_KEEP_FDS * sizeof(int))];
    } control;
    uint8_t bytes[SBX_KEEPER_MSG_BYTES];
    struct iovec iov = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    int rc;
    if (keep_gate != NULL && !keep_gate(keep_gate_ctx, "put"))
        return -EIO;
    sbx_keeper_msg_encode(m, bytes);
    if (nfds > 0) {
        struct cmsghdr *c;
        memset(&control, 0, sizeof control);
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    rc = keep_flush(k, end);
    return rc == 0 ? keep_send_one(k, &msg, end) : rc;
}

int sbx_keep_put(struct sbx_keep *k, enum sbx_keep_kind kind, uint64_t number, pid_t pid,
                 const int fds[SBX_KEEP_FDS])
{
    struct sbx_keeper_msg m = {.type = SBX_KEEPER_MSG_PUT, .kind = (uint32_t)kind,
                               .number = number, .pid = (int32_t)pid};
    int sent[SBX_KEEP_FDS];
    size_t i, n = 0;
    if (k->keeper == 0)
        return 0;
    for (i = 0; i < SBX_KEEP_FDS; i++) {
        if (fds[i] >= 0) {
            m.fds |= 1u << i;
            sent[n++] = fds[i];
        }
    }
    return keep_deposit(k, &m, sent, n);
}

int sbx_keep_close_fd(struct sbx_keep *k, uint64_t number, unsigned which)
{
    struct sbx_keeper_msg m = {.type = SBX_KEEPER_MSG_CLOSE_FD, .number = number};
    assert(which < SBX_KEEP_FDS);
    m.fds = 1u << which;
    return keep_say(k, "close", &m);
}

int sbx_keep_drop(struct sbx_keep *k, enum sbx_keep_kind kind, uint64_t number)
{
    struct sbx_keeper_msg m = {.type = SBX_KEEPER_MSG_DROP, .kind = (uint32_t)kind,
                               .number = number};
    return keep_say(k, "drop", &m);
}

int sbx_keep_ready(struct sbx_keep *k)
{
    struct sbx_keeper_msg m = {.type = SBX_KEEPER_MSG_READY};
    return keep_say(k, "ready", &m);
}
