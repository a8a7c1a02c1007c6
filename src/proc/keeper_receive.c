/* keeper_receive.c - what the server says: from packets with descriptors to changes of the table;
 * see keeper.c. Each descriptor that comes goes into the table or is closed. What makes no sense is
 * ignored, and no reason to end a server. */
#include "proc/keeper_state.h"
#include "os/fd.h"
#include "proc/keeper_msg.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEEPER_PER_TURN 64u

/* What one packet brought. fds: in the order in which they came. */
struct keeper_packet {
    uint8_t bytes[SBX_KEEPER_MSG_BYTES + 1]; /* one more shows that it is too long */
    size_t n;
    int fds[SBX_KEEP_FDS];
    size_t nfds;
    bool cut; /* more descriptors came than there is room for, or we have no more to give */
};

static void keeper_take_rights(struct keeper_packet *p, const struct cmsghdr *c)
{
    size_t i, n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (i = 0; i < n; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        (void)sbx_fd_set_cloexec(fd);
        if (p->nfds < SBX_KEEP_FDS) {
            p->fds[p->nfds++] = fd;
        } else {
            p->cut = true;
            (void)close(fd);
        }
    }
}

/* As recvmsg. */
static ssize_t keeper_receive(int link, struct keeper_packet *p)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(SBX_KEEP_FDS * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = p->bytes, .iov_len = sizeof p->bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c;
    ssize_t got = recvmsg(link, &msg, MSG_DONTWAIT);
    p->n = got > 0 ? (size_t)got : 0;
    p->nfds = 0;
    p->cut = got >= 0 && (msg.msg_flags & MSG_CTRUNC) != 0;
    for (c = got >= 0 ? CMSG_FIRSTHDR(&msg) : NULL; c != NULL; c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            keeper_take_rights(p, c);
    return got;
}

static bool keeper_has_its_fds(const struct keeper_packet *p, const struct sbx_keeper_msg *m)
{
    size_t i, want = 0;
    for (i = 0; i < SBX_KEEP_FDS; i++)
        want += m->fds >> i & 1;
    return !p->cut && p->nfds == want;
}

static void keeper_set_fds(struct sbx_keeper_entry *e, struct keeper_packet *p, unsigned slots)
{
    size_t i, from = 0;
    sbx_keeper_close_fds(e->item.fds);
    for (i = 0; i < SBX_KEEP_FDS; i++) {
        if ((slots >> i & 1) == 0)
            continue;
        e->item.fds[i] = p->fds[from];
        p->fds[from++] = -1;
    }
}

static void keeper_put(struct sbx_keeper *k, struct keeper_packet *p,
                       const struct sbx_keeper_msg *m)
{
    struct sbx_keeper_entry *e = sbx_keeper_find(k, m->kind, m->number);
    bool complete = keeper_has_its_fds(p, m);
    if (!complete)
        sbx_diag(k->o->diag, SBX_DIAG_ERROR,
                 "keeper: the descriptors of %u/%llu did not arrive; they are not kept",
                 (unsigned)m->kind, (unsigned long long)m->number);
    /* A process is kept all the same: its exit at least is exact. */
    if (!complete && m->kind != SBX_KEEP_PROCESS)
        return;
    if (e == NULL)
        e = sbx_keeper_add(k, m->kind, m->number);
    if (e == NULL) {
        sbx_diag(k->o->diag, SBX_DIAG_ERROR, "keeper: out of memory; an item is not kept");
        return;
    }
    if (e->item.pid != m->pid)
        sbx_keeper_set_pid(k, e, m->pid);
    if (complete)
        keeper_set_fds(e, p, m->fds);
}

static void keeper_drop(struct sbx_keeper *k, const struct sbx_keeper_msg *m)
{
    struct sbx_keeper_entry *e = sbx_keeper_find(k, m->kind, m->number);
    if (e != NULL)
        sbx_keeper_remove(k, e);
}

static void keeper_close_one(struct sbx_keeper *k, const struct sbx_keeper_msg *m)
{
    struct sbx_keeper_entry *e = sbx_keeper_find(k, SBX_KEEP_PROCESS, m->number);
    size_t i;
    for (i = 0; e != NULL && i < SBX_KEEP_FDS; i++)
        if ((m->fds >> i & 1) != 0)
            sbx_fd_close(&e->item.fds[i]);
}

/* Is it something that a server may say? To be told that keeper or server are kept processes would
 * make us wait for the wrong one. */
static bool keeper_is_sane(const struct sbx_keeper *k, const struct keeper_packet *p,
                           const struct sbx_keeper_msg *m)
{
    if (m->type == SBX_KEEPER_MSG_PUT)
        return m->pid != k->self && (m->pid == 0 || m->pid != k->server);
    return m->type != SBX_KEEPER_MSG_EXIT && p->nfds == 0;
}

static void keeper_take_packet(struct sbx_keeper *k, struct keeper_packet *p)
{
    struct sbx_keeper_msg m;
    size_t i;
    if (sbx_keeper_msg_decode(p->bytes, p->n, &m) < 0 || !keeper_is_sane(k, p, &m))
        sbx_diag(k->o->diag, SBX_DIAG_WARN,
                 "keeper: a message of the server makes no sense; ignored");
    else if (m.type == SBX_KEEPER_MSG_PUT)
        keeper_put(k, p, &m);
    else if (m.type == SBX_KEEPER_MSG_DROP)
        keeper_drop(k, &m);
    else if (m.type == SBX_KEEPER_MSG_CLOSE_FD)
        keeper_close_one(k, &m);
    else
        sbx_keeper_note_ready(k);
    for (i = 0; i < p->nfds; i++)
        sbx_fd_close(&p->fds[i]);
}

/* A packet without bytes reads like the end; only at the end has the other side hung up. */
static bool keeper_has_hung_up(int link)
{
    struct pollfd p = {.fd = link, .events = 0};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

bool sbx_keeper_read_one(struct sbx_keeper *k)
{
    struct keeper_packet p;
    ssize_t got = keeper_receive(k->link, &p);
    if (got < 0 && errno == EINTR)
        return true;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (got < 0 || (got == 0 && keeper_has_hung_up(k->link))) {
        sbx_fd_close(&k->link);
        return false;
    }
    keeper_take_packet(k, &p);
    return true;
}

void sbx_keeper_read_link(struct sbx_keeper *k)
{
    unsigned i;
    for (i = 0; i < KEEPER_PER_TURN && k->link >= 0 && sbx_keeper_read_one(k); i++)
        continue;
}
