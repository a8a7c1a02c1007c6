/* api_rig.h - the whole server in one process and in memory: loop, store, router, handlers, and
 * peers over socket pairs, with a clock of its own and without a single program being started.
 *
 * Four modules of src/os are replaced by what is defined here, so a program that includes this
 * never links the real ones:
 *   clock   stands still but for api_rig_pass(); timers are due when the test says so
 *   spawn   enters a child in a table instead; api_rig_turn() lets it do what its command says:
 *             cat           writes back what it reads, ends with its input
 *             say ARG...    writes its arguments to stdout, ends with 0
 *             fail ARG...   the same to stderr, ends with 3
 *             flood         writes 256 KiB, ends with 0
 *             sleep         ends when it is signalled
 *             busy, denied  cannot be started (EAGAIN, EACCES); anything else: ENOENT
 *   ptree   signals children of that table alone
 *   rand    counts, so that tickets are known, the n-th is 32 times the byte n
 * Pids are far above what a kernel gives out, so that a kill() of one reaches nobody.
 *
 * What a peer was answered is checked by wire.h against what it asked for: api_rig_open puts itself
 * between the connections and the router to see that. */
#ifndef SBX_TESTS_API_RIG_H
#define SBX_TESTS_API_RIG_H

#undef NDEBUG

#include "api/api.h"
#include "base/mem.h"
#include "net/conn.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/ptree.h"
#include "os/rand.h"
#include "os/spawn.h"
#include "proc/run.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define API_RIG_PEERS 6u
#define API_RIG_CHILDREN 12u
#define API_RIG_FIRST_PID 0x20000000
#define API_RIG_READER "reader" /* the token that may only read */
#define API_RIG_TURN_US 1000u
#define API_RIG_FLOOD (256u * 1024u)
#define API_RIG_FDS 128 /* the descriptors that are looked at for leaks */
/* What a connection may hold for a peer that does not read: the mark above which nothing is
 * produced, and the largest thing that is produced in one go. */
#define API_RIG_QUEUED (SBX_CONN_HIGH + 4u * 1024u * 1024u)

struct api_rig_ask {
    bool head; /* answered without a body */
};

struct api_rig_peer {
    int fd;                   /* the client's end; -1: there is none, or it is closed */
    int waiting;              /* the server's end, until it is accepted; else -1 */
    struct sbx_conn *conn;    /* only to tell connections apart */
    uint8_t *got;             /* everything received */
    size_t ngot, cap;
    struct api_rig_ask *asks; /* requests that are to be answered, in order */
    size_t nasks, asks_cap;
    bool body_to_come;        /* the last of them is not complete yet */
    bool shut;                /* the client's write side is shut */
    bool mute;                /* the client does not read */
    bool was_mute;
    bool eof, reset;          /* seen from the server */
};

struct api_rig_child {
    pid_t pid; /* 0: unused */
    const char *does;
    int fds[3];
    uint8_t *own;        /* the memory of: */
    const uint8_t *text; /* what it writes, */
    size_t ntext, at;    /* and how far it is */
    bool ended;
    struct sbx_exit exit;
};

struct api_rig {
    struct sbx_host host;
    struct sbx_net net;
    struct sbx_api api;
    struct sbx_buf common;
    struct sbx_timer tick; /* so that a turn never sleeps */
    struct sbx_conn_ops ops;
    const struct sbx_conn_ops *inner;
    struct api_rig_peer peers[API_RIG_PEERS], *opening;
    struct api_rig_child children[API_RIG_CHILDREN];
    pid_t next_pid;
    unsigned refused; /* requests that the connections refused by themselves */
    uint8_t *net_scratch, *host_scratch;
    bool fds[API_RIG_FDS]; /* which were open before */
    struct sbx_tokens tokens;
};

static uint64_t api_rig_clock_us = 1000000000;
static uint8_t api_rig_random;
static struct api_rig *api_rig_it; /* for the replaced functions, which are told of no context */

/* --- clock --- */

uint64_t sbx_clock_mono_us(void)
{
    return api_rig_clock_us;
}

uint64_t sbx_clock_wall_ms(void)
{
    return 1700000000000u + api_rig_clock_us / 1000;
}

void sbx_clock_http_date(uint64_t unix_s, char out[SBX_HTTP_DATE_LEN])
{
    (void)unix_s;
    memcpy(out, "Tue, 14 Nov 2023 22:13:20 GMT", SBX_HTTP_DATE_LEN);
}

/* --- random bytes --- */

int sbx_rand_bytes(void *p, size_t n)
{
    memset(p, ++api_rig_random, n);
    return 0;
}

/* --- children --- */

static inline void api_rig_close_child(struct api_rig_child *c)
{
    size_t i;
    for (i = 0; i < 3; i++)
        sbx_fd_close(&c->fds[i]);
    free(c->own);
    c->own = NULL;
}

static inline int api_rig_start_error(const char *command, enum sbx_spawn_step *step)
{
    static const char *const known[] = {"cat", "say", "fail", "flood", "sleep"};
    size_t i;
    *step = SBX_SPAWN_EXEC;
    for (i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(command, known[i]) == 0)
            return 0;
    if (strcmp(command, "denied") == 0)
        return -EACCES;
    if (strcmp(command, "busy") != 0)
        return -ENOENT;
    *step = SBX_SPAWN_FORK;
    return -EAGAIN;
}

/* The same every time, and made once: a fuzzer asks for it often. */
static inline const uint8_t *api_rig_flood(void)
{
    static uint8_t text[API_RIG_FLOOD];
    size_t i;
    for (i = 0; text[API_RIG_FLOOD - 1] == 0; i++)
        text[i] = i % 61 == 60 ? '\n' : (uint8_t)('a' + i % 26);
    return text;
}

static inline void api_rig_child_text(struct api_rig_child *c, char *const *argv)
{
    size_t n = 2, i;
    char *at;
    if (strcmp(c->does, "flood") == 0) {
        c->text = api_rig_flood();
        c->ntext = API_RIG_FLOOD;
        return;
    }
    for (i = 1; argv[i] != NULL; i++)
        n += strlen(argv[i]) + 1;
    at = malloc(n);
    assert(at != NULL);
    c->text = c->own = (uint8_t *)at;
    for (i = 1; argv[i] != NULL; i++)
        at += sprintf(at, "%s%s", i > 1 ? " " : "", argv[i]);
    *at++ = '\n';
    c->ntext = (size_t)(at - (char *)c->own);
}

static inline const char *api_rig_does(const char *command)
{
    static const char *const known[] = {"cat", "say", "fail", "flood", "sleep"};
    size_t i;
    for (i = 0; strcmp(command, known[i]) != 0; i++)
        continue;
    return known[i];
}

int sbx_spawn(const struct sbx_spawn_env *env, const struct sbx_spawn *s, pid_t *pid,
              enum sbx_spawn_step *step)
{
    struct api_rig *rig = api_rig_it;
    struct api_rig_child *c = rig->children, *end = c + API_RIG_CHILDREN;
    size_t i;
    int rc = api_rig_start_error(s->command, step);
    (void)env;
    while (c < end && c->pid != 0)
        c++;
    if (rc == 0 && c == end) {
        *step = SBX_SPAWN_FORK;
        rc = -EAGAIN;
    }
    if (rc < 0)
        return rc;
    *c = (struct api_rig_child){.pid = rig->next_pid++, .does = api_rig_does(s->command)};
    for (i = 0; i < 3; i++) {
        c->fds[i] = fcntl(s->fds[i], F_DUPFD_CLOEXEC, 3);
        assert(c->fds[i] >= 0);
        (void)sbx_fd_set_nonblock(c->fds[i]);
    }
    api_rig_child_text(c, s->argv);
    if (s->note != NULL)
        *s->note = c->pid;
    *pid = c->pid;
    return 0;
}

static inline struct api_rig_child *api_rig_child_of(struct api_rig *rig, pid_t pid)
{
    size_t i;
    for (i = 0; i < API_RIG_CHILDREN; i++)
        if (pid != 0 && rig->children[i].pid == pid)
            return &rig->children[i];
    return NULL;
}

static inline void api_rig_end_child(struct api_rig_child *c, enum sbx_exit_kind kind, int value)
{
    if (!c->ended)
        c->exit = (struct sbx_exit){.kind = kind, .value = value};
    c->ended = true;
}

/* Writes on; the end when all is out or nobody reads it. */
static inline bool api_rig_child_writes(struct api_rig_child *c, int fd, int code)
{
    ssize_t put = c->at < c->ntext ? sbx_fd_write(fd, c->text + c->at, c->ntext - c->at) : 0;
    if (put > 0)
        c->at += (size_t)put;
    if (put < 0 && put != -EAGAIN)
        api_rig_end_child(c, SBX_EXIT_SIGNAL, SIGPIPE);
    else if (c->at >= c->ntext)
        api_rig_end_child(c, SBX_EXIT_CODE, code);
    return put > 0 || c->ended;
}

static inline bool api_rig_child_copies(struct api_rig_child *c)
{
    uint8_t bytes[4096];
    ssize_t got = sbx_fd_read(c->fds[0], bytes, sizeof bytes);
    if (got == -EAGAIN)
        return false;
    if (got > 0)
        (void)sbx_fd_write(c->fds[1], bytes, (size_t)got);
    else
        api_rig_end_child(c, SBX_EXIT_CODE, 0);
    return true;
}

/* What sbx_reap_collect does for a child that has ended. */
static inline void api_rig_reap(struct api_rig *rig, struct api_rig_child *child)
{
    struct sbx_reap *r = &rig->host.reap;
    struct sbx_child *c = r->buckets[(unsigned)child->pid % SBX_REAP_BUCKETS];
    while (c != NULL && c->pid != child->pid)
        c = c->next;
    api_rig_close_child(child);
    child->pid = 0;
    if (c == NULL)
        return;
    sbx_reap_remove(r, c);
    c->on_exit(c, &child->exit);
}

/* Did any child do something? */
static inline bool api_rig_children_act(struct api_rig *rig)
{
    bool some = false;
    size_t i;
    for (i = 0; i < API_RIG_CHILDREN; i++) {
        struct api_rig_child *c = &rig->children[i];
        if (c->pid == 0)
            continue;
        if (c->ended) {
            some = true;
            api_rig_reap(rig, c);
        } else if (strcmp(c->does, "cat") == 0) {
            some |= api_rig_child_copies(c);
        } else if (strcmp(c->does, "sleep") != 0) {
            bool fails = strcmp(c->does, "fail") == 0;
            some |= api_rig_child_writes(c, c->fds[fails ? 2 : 1], fails ? 3 : 0);
        }
    }
    return some;
}

bool sbx_ptree_become_subreaper(void)
{
    return false;
}

void sbx_ptree_signal(pid_t leader, int sig, int then)
{
    struct api_rig_child *c = api_rig_child_of(api_rig_it, leader);
    (void)then;
    if (c != NULL && (sig == SIGTERM || sig == SIGKILL || sig == SIGHUP))
        api_rig_end_child(c, SBX_EXIT_SIGNAL, sig);
}

void sbx_ptree_signal_orphans(pid_t session, int sig, int then)
{
    (void)session;
    (void)sig;
    (void)then;
}

void sbx_ptree_kill_descendants(void)
{
}

bool sbx_ptree_each_child(void (*each)(void *ctx, pid_t pid), void *ctx)
{
    (void)each;
    (void)ctx;
    return false;
}

bool sbx_ptree_ignores(pid_t pid, int sig)
{
    (void)pid;
    (void)sig;
    return false;
}

/* --- between connections and router --- */

static inline struct api_rig_peer *api_rig_peer_of(struct api_rig *rig, struct sbx_conn *c)
{
    size_t i;
    for (i = 0; i < API_RIG_PEERS; i++)
        if (rig->peers[i].conn == c)
            return &rig->peers[i];
    assert(rig->opening != NULL);
    rig->opening->conn = c;
    return rig->opening;
}

static inline void api_rig_note_ask(struct api_rig_peer *peer, bool head)
{
    if (peer->nasks == peer->asks_cap) {
        peer->asks_cap = peer->asks_cap * 2 + 16;
        peer->asks = realloc(peer->asks, peer->asks_cap * sizeof *peer->asks);
        assert(peer->asks != NULL);
    }
    peer->asks[peer->nasks++] = (struct api_rig_ask){.head = head};
}

static void api_rig_on_head(struct sbx_conn *c, const struct sbx_http_request *req,
                            uint64_t *max_body)
{
    struct api_rig_peer *peer = api_rig_peer_of(api_rig_it, c);
    api_rig_note_ask(peer, sbx_str_eq_z(req->method, "HEAD"));
    api_rig_it->inner->on_head(c, req, max_body);
    peer->body_to_come = c->state == SBX_CONN_HANDLE && c->on_gone == NULL;
}

static void api_rig_on_request(struct sbx_conn *c, const struct sbx_http_request *req,
                               struct sbx_str body)
{
    api_rig_peer_of(api_rig_it, c)->body_to_come = false;
    api_rig_it->inner->on_request(c, req, body);
}

static void api_rig_on_refused(struct sbx_conn *c, const struct sbx_http_request *req, int status,
                               const char *reason)
{
    struct api_rig_peer *peer = api_rig_peer_of(api_rig_it, c);
    if (!peer->body_to_come)
        api_rig_note_ask(peer, false);
    peer->body_to_come = false;
    api_rig_it->refused++;
    api_rig_it->inner->on_refused(c, req, status, reason);
}

/* --- peers --- */

/* A new client. The server accepts it with its first turn or its first bytes. NULL: all places are
 * taken. */
static inline struct api_rig_peer *api_rig_connect(struct api_rig *rig)
{
    struct api_rig_peer *peer = rig->peers, *end = peer + API_RIG_PEERS;
    int fds[2];
    while (peer < end && (peer->fd >= 0 || peer->ngot > 0 || peer->eof))
        peer++;
    if (peer == end)
        return NULL;
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    free(peer->asks);
    free(peer->got);
    *peer = (struct api_rig_peer){.fd = fds[0], .waiting = fds[1]};
    return peer;
}

static inline bool api_rig_is_open(const struct api_rig *rig, const struct sbx_conn *c)
{
    const struct sbx_list *n;
    for (n = rig->net.conns.next; n != &rig->net.conns; n = n->next)
        if (SBX_LIST_OF(n, struct sbx_conn, node) == c)
            return true;
    return false;
}

static inline void api_rig_accept(struct api_rig *rig, struct api_rig_peer *peer)
{
    struct sbx_conn *c;
    size_t i;
    int fd = peer->waiting;
    if (fd < 0)
        return;
    peer->waiting = -1;
    rig->opening = peer;
    /* The memory of a connection that is gone may be given to this one. */
    for (i = 0; i < API_RIG_PEERS; i++)
        if (!api_rig_is_open(rig, rig->peers[i].conn))
            rig->peers[i].conn = NULL;
    c = sbx_conn_open(&rig->net, fd, NULL);
    if (c == NULL)
        sbx_fd_close(&fd);
    else
        peer->conn = c;
    rig->opening = NULL;
}

static inline void api_rig_receive(struct api_rig_peer *peer)
{
    ssize_t got = 1;
    while (peer->fd >= 0 && !peer->mute && !peer->eof && got > 0) {
        if (peer->cap - peer->ngot < 1024) {
            peer->cap = peer->cap * 2 + 4096;
            peer->got = realloc(peer->got, peer->cap);
            assert(peer->got != NULL);
        }
        got = sbx_fd_read(peer->fd, peer->got + peer->ngot, peer->cap - peer->ngot);
        if (got > 0)
            peer->ngot += (size_t)got;
        peer->eof = got <= 0 && got != -EAGAIN;
        peer->reset = got < 0 && got != -EAGAIN;
    }
}

static inline void api_rig_close_peer(struct api_rig_peer *peer)
{
    sbx_fd_close(&peer->fd);
    sbx_fd_close(&peer->waiting);
}

/* --- turns --- */

static inline void api_rig_on_tick(struct sbx_timer *t)
{
    (void)t;
}

static inline void api_rig_check_bounds(const struct api_rig *rig)
{
    const struct sbx_list *n;
    size_t count = 0;
    for (n = rig->net.conns.next; n != &rig->net.conns; n = n->next) {
        const struct sbx_conn *c = SBX_LIST_OF(n, struct sbx_conn, node);
        assert(c->out.bytes <= API_RIG_QUEUED);
        assert(sbx_buf_len(&c->in) <= API_RIG_QUEUED && sbx_buf_len(&c->body) <= API_RIG_QUEUED);
        count++;
    }
    assert(count == rig->net.count);
}

static inline size_t api_rig_received(const struct api_rig *rig)
{
    size_t i, n = 0;
    for (i = 0; i < API_RIG_PEERS; i++)
        n += rig->peers[i].ngot + rig->peers[i].eof;
    return n;
}

/* One turn of the loop. Did anything happen that can be seen from outside? */
static inline bool api_rig_turn(struct api_rig *rig)
{
    size_t i, before = api_rig_received(rig), conns = rig->net.count;
    bool some = api_rig_children_act(rig);
    for (i = 0; i < API_RIG_PEERS; i++)
        api_rig_accept(rig, &rig->peers[i]);
    sbx_loop_set_timer(&rig->host.loop, &rig->tick, api_rig_clock_us);
    sbx_loop_turn(&rig->host.loop);
    sbx_loop_cancel_timer(&rig->host.loop, &rig->tick);
    for (i = 0; i < API_RIG_PEERS; i++)
        api_rig_receive(&rig->peers[i]);
    api_rig_check_bounds(rig);
    api_rig_clock_us += API_RIG_TURN_US;
    return some || before != api_rig_received(rig) || conns != rig->net.count;
}

/* Until nothing more happens by itself. */
static inline void api_rig_settle(struct api_rig *rig)
{
    unsigned idle = 0, turns = 0;
    while (idle < 2 && turns++ < 500)
        idle = api_rig_turn(rig) ? 0 : idle + 1;
}

/* Time passes in so many steps, each with turns until nothing more happens. */
static inline void api_rig_pass(struct api_rig *rig, uint64_t us, unsigned steps)
{
    unsigned i;
    for (i = 0; i < steps; i++) {
        api_rig_clock_us += us / steps;
        api_rig_settle(rig);
    }
}

/* As much as fits. A peer that cannot write on is read first. */
static inline void api_rig_send(struct api_rig *rig, struct api_rig_peer *peer, const void *p,
                                size_t n)
{
    const uint8_t *from = p;
    unsigned stuck = 0;
    while (n > 0 && peer->fd >= 0 && !peer->shut && stuck < 3) {
        ssize_t put = sbx_fd_write(peer->fd, from, n);
        if (put < 0 && put != -EAGAIN)
            return;
        if (put > 0) {
            from += put;
            n -= (size_t)put;
            stuck = 0;
        } else {
            api_rig_settle(rig);
            stuck++;
        }
    }
}

static inline void api_rig_say(struct api_rig *rig, struct api_rig_peer *peer, const char *text)
{
    api_rig_send(rig, peer, text, strlen(text));
    api_rig_settle(rig);
}

/* Hangs up, and leaves its place to another one. */
static inline void api_rig_forget(struct api_rig *rig, struct api_rig_peer *peer)
{
    api_rig_close_peer(peer);
    api_rig_settle(rig);
    free(peer->asks);
    free(peer->got);
    *peer = (struct api_rig_peer){.fd = -1, .waiting = -1};
}

static inline bool api_rig_has(const struct api_rig_peer *peer, const char *text)
{
    return peer->ngot > 0 && memmem(peer->got, peer->ngot, text, strlen(text)) != NULL;
}

/* --- processes --- */

/* Starts one as the API does; NULL when that fails. */
static inline struct sbx_proc *api_rig_start(struct api_rig *rig, const char *command,
                                             const char *arg, bool tty)
{
    struct sbx_str args[1] = {arg == NULL ? (struct sbx_str){NULL, 0} : sbx_str_z(arg)};
    struct sbx_spec spec = {.command = sbx_str_z(command), .args = args, .nargs = arg != NULL,
                            .tty = tty, .interactive = tty, .cols = 80, .rows = 24};
    struct sbx_proc *p = NULL;
    struct sbx_err err;
    return sbx_proctab_create(&rig->api.procs, &spec, &p, &err) < 0 ? NULL : p;
}

/* --- opening and closing --- */

static inline void api_rig_look_at_fds(bool open_now[API_RIG_FDS])
{
    int fd;
    for (fd = 0; fd < API_RIG_FDS; fd++)
        open_now[fd] = fcntl(fd, F_GETFD) >= 0;
}

static inline struct sbx_store_log *api_rig_pick_victim(void *ctx)
{
    return sbx_proctab_pick_victim(&((struct api_rig *)ctx)->api.procs);
}

static inline void api_rig_open_host(struct api_rig *rig)
{
    static char *no_environ[] = {NULL};
    struct sbx_host *h = &rig->host;
    struct sbx_store_options o = {.loop = &h->loop, .diag = &h->diag, .limits = &h->limits,
                                  .memory = -1, .pick_victim = api_rig_pick_victim, .ctx = rig};
    struct sbx_err err;
    assert(sbx_loop_init(&h->loop) == 0);
    sbx_reap_init(&h->reap);
    sbx_list_init(&h->runs);
    sbx_list_init(&h->sinks);
    sbx_limits_default(&h->limits);
    h->diag.level = SBX_DIAG_ERROR;
    h->environ = no_environ;
    h->scratch = rig->host_scratch;
    h->keep.io.fd = -1;
    h->store = sbx_store_open(&o, &err);
    assert(h->store != NULL);
}

/* What a command line decides. */
static inline void api_rig_configure(struct api_rig *rig, const char *token)
{
    struct sbx_err err;
    rig->api.cors = (struct sbx_cors){.methods = SBX_STR("GET, POST"), .headers = SBX_STR("*")};
    sbx_tokens_init(&rig->tokens);
    if (token != NULL) {
        assert(sbx_tokens_add(&rig->tokens, sbx_str_z(token), SBX_SCOPE_FULL, "test", &err) == 0);
        assert(sbx_tokens_add(&rig->tokens, SBX_STR(API_RIG_READER), SBX_SCOPE_READ, "test",
                              &err) == 0);
    }
    rig->api.tokens = &rig->tokens;
}

static inline void api_rig_open_net(struct api_rig *rig, const char *token)
{
    struct sbx_net *net = &rig->net;
    sbx_net_init(net);
    net->loop = &rig->host.loop;
    net->diag = &rig->host.diag;
    net->scratch = rig->net_scratch;
    net->max_conns = API_RIG_PEERS;
    net->request_timeout_us = 30000000;
    net->handshake_timeout_us = 10000000;
    net->idle_timeout_us = 75000000;
    api_rig_configure(rig, token);
    sbx_cors_put_common(&rig->api.cors, &rig->common);
    net->common = sbx_buf_view(&rig->common);
    sbx_api_init(&rig->api, &rig->host, net);
    rig->inner = net->ops;
    rig->ops = (struct sbx_conn_ops){.on_head = api_rig_on_head, .on_request = api_rig_on_request,
                                     .on_refused = api_rig_on_refused};
    net->ops = &rig->ops;
}

/* token: NULL, or what requests have to show; API_RIG_READER is enough for some then. */
static inline void api_rig_open(struct api_rig *rig, const char *token)
{
    static uint8_t net_scratch[SBX_NET_SCRATCH], host_scratch[SBX_SCRATCH_BYTES];
    size_t i;
    (void)signal(SIGPIPE, SIG_IGN);
    memset(rig, 0, sizeof *rig);
    api_rig_it = rig;
    api_rig_look_at_fds(rig->fds);
    rig->net_scratch = net_scratch;
    rig->host_scratch = host_scratch;
    api_rig_random = 0;
    rig->next_pid = API_RIG_FIRST_PID;
    for (i = 0; i < API_RIG_PEERS; i++)
        rig->peers[i].fd = rig->peers[i].waiting = -1;
    sbx_timer_init(&rig->tick, api_rig_on_tick);
    api_rig_open_host(rig);
    api_rig_open_net(rig, token);
}

static inline void api_rig_drop_peers(struct api_rig *rig)
{
    size_t i;
    for (i = 0; i < API_RIG_PEERS; i++)
        api_rig_close_peer(&rig->peers[i]);
    /* Lines held, lingering, pings: whatever a connection waits for is over in that time. */
    for (i = 0; i < 10 && rig->net.count > 0; i++)
        api_rig_pass(rig, 20000000, 1);
    assert(rig->net.count == 0);
}

static inline void api_rig_end_children(struct api_rig *rig)
{
    size_t i;
    for (i = 0; i < API_RIG_CHILDREN; i++)
        if (rig->children[i].pid != 0)
            api_rig_end_child(&rig->children[i], SBX_EXIT_SIGNAL, SIGKILL);
    api_rig_settle(rig);
}

/* Everybody hangs up, every child ends, the server closes: nothing must be left. */
static inline void api_rig_close(struct api_rig *rig)
{
    struct sbx_host *h = &rig->host;
    bool now[API_RIG_FDS];
    size_t i;
    api_rig_drop_peers(rig);
    assert(sbx_list_empty(&h->runs));
    api_rig_end_children(rig);
    sbx_api_deinit(&rig->api);
    sbx_runs_close_sinks(h);
    sbx_loop_finish(&h->loop);
    sbx_store_close(h->store);
    assert(h->loop.timers.root == NULL && h->loop.n == 1);
    sbx_loop_deinit(&h->loop);
    sbx_tokens_deinit(&rig->tokens);
    sbx_buf_deinit(&rig->common);
    sbx_net_deinit(&rig->net);
    for (i = 0; i < API_RIG_PEERS; i++) {
        free(rig->peers[i].got);
        free(rig->peers[i].asks);
    }
    api_rig_look_at_fds(now);
    for (i = 0; i < API_RIG_FDS; i++)
        assert(now[i] == rig->fds[i]);
}

#endif
