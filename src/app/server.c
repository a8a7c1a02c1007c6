/* server.c - see server.h.
 *
 *   SERVING --TERM, INT--> STOPPING --all ended, or time is up--> loop stops
 *           --USR2-------> LEAVING --answers are given, or time is up--> loop stops
 *
 * HUP reads the token file and the certificate again; connections go on with what they began with.
 *
 * Stopping: the listener closes, idle connections close, every process gets SIGTERM and after the
 * grace SIGKILL. A run is an answer under way, so it may finish within the grace. Followers and
 * terminals see the exits and end by themselves. What is still open SERVER_LAST_US after the last
 * process is cut. A second signal skips the grace.
 *
 * Leaving makes room for the next server: no connection is accepted here any more, those that come
 * wait in the listening socket, which the keeper has too. Requests under way are answered, streams
 * and terminals are cut (their clients come back), processes are left as they are. */
#include "app/server.h"
#include "api/api.h"
#include "app/certificates.h"
#include "app/datadir.h"
#include "base/mem.h"
#include "net/listener.h"
#include "os/fd.h"
#include "os/ptree.h"
#include "os/sig.h"
#include "proc/inherit.h"
#include "proc/keeper.h"
#include "proc/run.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SERVER_STOP_CHECK_US 10000u
#define SERVER_KILLED_US 500000u /* for the system to end what was killed */
#define SERVER_LAST_US 300000u   /* for the last answers to be written */
#define SERVER_AGAIN_US 300000u  /* a second signal within it is the same one */
#define SERVER_HANDSHAKE_US 10000000u
#define SERVER_FRESH_US 200000u  /* for the first request of a connection that was accepted */
#define SERVER_ADOPTED_US 100000u
#define SERVER_FDS_KEPT 256u     /* for processes, beside connections */
#define SERVER_FDS_OWN 32u       /* what is open without either, and a little more */
#define SERVER_REFUSALS 64u      /* connections that are told that they are too many, at once */

enum server_state { SERVER_SERVING, SERVER_STOPPING, SERVER_LEAVING };

struct sbx_server {
    struct sbx_config *config;
    struct sbx_datadir *data;
    enum server_state state;
    struct sbx_host host;
    struct sbx_net net;
    struct sbx_api api;
    struct sbx_listener listeners[SBX_LISTEN_MAX];
    size_t nlisteners;
    char fingerprint[SBX_TLS_FINGERPRINT];
    struct sbx_io signals;
    struct sbx_timer adopted; /* the keeper is gone: which adopted processes have ended? */
    struct sbx_timer check;   /* STOPPING, LEAVING: are we done? */
    uint64_t kill_us;         /* STOPPING: when SIGKILL goes out */
    uint64_t stop_us;         /* STOPPING: since when */
    uint64_t fresh_us;        /* LEAVING: until when a first request is waited for */
    uint64_t quiet_us;        /* STOPPING: since when nothing runs; 0: something does */
    bool killed;
    struct sbx_buf common;    /* header lines of every answer */
};

/* --- stopping --- */

static void server_signal_all(struct sbx_server *s, int sig)
{
    size_t i;
    for (i = 0; i < s->api.procs.count; i++)
        sbx_proc_signal(s->api.procs.procs[i], sig);
}

enum server_close { SERVER_CLOSE_ALL, SERVER_CLOSE_IDLE, SERVER_CLOSE_SERVED };

/* Idle: between two requests. Served: and not still before the first one, which was accepted,
 * and is to be answered. */
static bool server_may_close(const struct sbx_conn *c, enum server_close which)
{
    if (which == SERVER_CLOSE_ALL)
        return true;
    return c->state == SBX_CONN_READ_HEAD && c->out.count == 0 &&
           (which == SERVER_CLOSE_IDLE || c->served);
}

static void server_close_conns(struct sbx_server *s, enum server_close which)
{
    struct sbx_list *n, *next;
    for (n = s->net.conns.next; n != &s->net.conns; n = next) {
        struct sbx_conn *c = SBX_LIST_OF(n, struct sbx_conn, node);
        next = n->next;
        if (server_may_close(c, which))
            sbx_conn_close(c);
    }
}

static bool server_is_quiet(const struct sbx_server *s)
{
    return sbx_proctab_running(&s->api.procs) == 0 && sbx_list_empty(&s->host.runs);
}

/* Whatever daemonized itself out of its process's session ends with the server, too: it would be
 * nobody's. */
static void server_end_loop(struct sbx_server *s)
{
    sbx_ptree_kill_descendants();
    sbx_store_save(s->host.store);
    sbx_loop_stop(&s->host.loop);
}

static void server_check_stop(struct sbx_timer *t)
{
    struct sbx_server *s = SBX_LIST_OF(t, struct sbx_server, check);
    uint64_t now = s->host.loop.now_us;
    if (!server_is_quiet(s))
        s->quiet_us = 0;
    else if (s->quiet_us == 0)
        s->quiet_us = now;
    if (!s->killed && now >= s->kill_us) {
        server_signal_all(s, SIGKILL);
        sbx_runs_signal(&s->host, SIGKILL);
        s->killed = true;
    }
    server_close_conns(s, SERVER_CLOSE_IDLE);
    if ((s->quiet_us != 0 && (s->net.count == 0 || now - s->quiet_us > SERVER_LAST_US)) ||
        now > s->kill_us + SERVER_KILLED_US)
        server_end_loop(s);
    else
        sbx_loop_set_timer(&s->host.loop, t, now + SERVER_STOP_CHECK_US);
}

static void server_close_listeners(struct sbx_server *s)
{
    size_t i;
    for (i = 0; i < s->nlisteners; i++)
        sbx_listener_close(&s->listeners[i]);
}

/* Nobody is to take them over. */
static void server_retire_listeners(struct sbx_server *s)
{
    size_t i;
    for (i = 0; i < s->nlisteners; i++) {
        sbx_listener_retire(&s->listeners[i]);
        (void)sbx_keep_drop(&s->host.keep, SBX_KEEP_LISTENER, i);
    }
}

/* --- leaving --- */

static void server_close_streams(struct sbx_server *s)
{
    struct sbx_list *n, *next;
    for (n = s->net.conns.next; n != &s->net.conns; n = next) {
        struct sbx_conn *c = SBX_LIST_OF(n, struct sbx_conn, node);
        next = n->next;
        if (c->state == SBX_CONN_WEBSOCKET || c->state == SBX_CONN_STREAM)
            sbx_conn_close(c);
    }
}

static void server_check_leave(struct sbx_timer *t)
{
    struct sbx_server *s = SBX_LIST_OF(t, struct sbx_server, check);
    uint64_t now = s->host.loop.now_us;
    server_close_conns(s, now < s->fresh_us ? SERVER_CLOSE_SERVED : SERVER_CLOSE_IDLE);
    if (s->net.count > 0 && now < s->kill_us) {
        sbx_loop_set_timer(&s->host.loop, t, now + SERVER_STOP_CHECK_US);
        return;
    }
    sbx_runs_signal(&s->host, SIGKILL);
    server_close_conns(s, SERVER_CLOSE_ALL);
    sbx_store_leave(s->host.store);
    sbx_loop_stop(&s->host.loop);
}

static void server_begin_leave(struct sbx_server *s)
{
    uint64_t now = s->host.loop.now_us;
    if (s->state != SERVER_SERVING)
        return;
    if (!sbx_keep_is_there(&s->host.keep)) {
        sbx_diag(&s->host.diag, SBX_DIAG_WARN,
                 "SIGUSR2: there is no keeper to start another server");
        return;
    }
    if (sbx_store_trouble(s->host.store) != NULL) {
        sbx_diag(&s->host.diag, SBX_DIAG_ERROR,
                 "SIGUSR2: not now, the next server would not know what could not be stored: %s",
                 sbx_store_trouble(s->host.store));
        (void)sbx_keep_ready(&s->host.keep);
        return;
    }
    sbx_diag(&s->host.diag, SBX_DIAG_INFO, "SIGUSR2: leaving to the next server");
    s->state = SERVER_LEAVING;
    s->net.stopping = true;
    s->kill_us = now + s->config->shutdown_grace_ms * 1000;
    s->fresh_us = now + SERVER_FRESH_US;
    server_close_listeners(s);
    server_close_streams(s);
    sbx_timer_init(&s->check, server_check_leave);
    sbx_loop_set_timer(&s->host.loop, &s->check, now);
}

/* For the next server: by then the files may be gone, or out of its reach, and what the keeper
 * read at its own start may be valid no more. */
static void server_keep_secrets(struct sbx_server *s)
{
    const struct sbx_config *c = s->config;
    const struct sbx_tokens none = {NULL, 0};
    int fds[SBX_KEEP_FDS] = {-1, -1, -1}, rc;
    if (!sbx_keep_is_there(&s->host.keep) || (c->token_file == NULL && !sbx_config_wants_tls(c)))
        return;
    rc = fds[0] = sbx_secrets_pack(&c->secrets, c->token_file != NULL ? &c->tokens : &none);
    if (rc >= 0)
        rc = sbx_keep_put(&s->host.keep, SBX_KEEP_SECRETS, 0, 0, fds);
    sbx_fd_close(&fds[0]);
    if (rc < 0)
        sbx_diag(&s->host.diag, SBX_DIAG_WARN,
                 "the keeper did not take tokens and certificate: a next server that cannot read "
                 "them has older ones: %s", strerror(-rc));
}

/* true: there are others now. */
static bool server_reload_tokens(struct sbx_server *s)
{
    struct sbx_err err;
    int rc;
    if (s->config->token_file == NULL)
        return false;
    rc = sbx_config_read_tokens(s->config, &err);
    if (rc < 0)
        sbx_diag(&s->host.diag, SBX_DIAG_ERROR, "SIGHUP: %s; the old tokens stay", err.text);
    else
        sbx_diag(&s->host.diag, SBX_DIAG_INFO, "SIGHUP: the tokens were read again");
    /* Whoever issued one may be let in no more. */
    sbx_tickets_deinit(&s->api.tickets);
    sbx_tickets_init(&s->api.tickets);
    return rc == 0;
}

static int server_open_tls(struct sbx_server *s, struct sbx_err *err)
{
    struct sbx_tls *tls;
    if (!sbx_config_wants_tls(s->config))
        return 0;
    tls = sbx_certificates_open(&s->config->secrets, s->config, err);
    if (tls == NULL)
        return err->code;
    sbx_tls_unref(s->net.tls);
    s->net.tls = tls;
    sbx_tls_fingerprint(tls, s->fingerprint);
    return 0;
}

/* true: there is another one now. */
static bool server_reload_tls(struct sbx_server *s)
{
    struct sbx_err err;
    if (!sbx_config_wants_tls(s->config))
        return false;
    if (sbx_certificates_read(&s->config->secrets, s->config, sbx_datadir_path(s->data),
                              &s->host.diag, &err) < 0 ||
        server_open_tls(s, &err) < 0) {
        sbx_diag(&s->host.diag, SBX_DIAG_ERROR, "SIGHUP: %s; the old certificate stays", err.text);
        return false;
    }
    sbx_diag(&s->host.diag, SBX_DIAG_INFO, "SIGHUP: the certificate was read again, SHA-256 %s",
             s->fingerprint);
    return true;
}

static void server_reload(struct sbx_server *s)
{
    bool tokens, tls;
    s->config->secrets_wait_us = 0; /* there are others to serve */
    if (s->config->token_file == NULL && !sbx_config_wants_tls(s->config))
        sbx_diag(&s->host.diag, SBX_DIAG_INFO, "SIGHUP: there is nothing to read again");
    tokens = server_reload_tokens(s);
    tls = server_reload_tls(s);
    if (tokens || tls)
        server_keep_secrets(s);
}

static void server_begin_stop(struct sbx_server *s, int sig)
{
    char name[16];
    uint64_t now = s->host.loop.now_us;
    if (s->state == SERVER_STOPPING) {
        /* One TERM to everybody, from a service manager, comes twice: directly and passed on. */
        if (now - s->stop_us > SERVER_AGAIN_US)
            s->kill_us = now;
        return;
    }
    s->stop_us = now;
    sbx_loop_cancel_timer(&s->host.loop, &s->check);
    sbx_diag(&s->host.diag, SBX_DIAG_INFO, "%s: stopping, %zu processes running",
             sbx_sig_name(sig, name), sbx_proctab_running(&s->api.procs));
    s->state = SERVER_STOPPING;
    sbx_timer_init(&s->check, server_check_stop);
    s->net.stopping = true;
    s->kill_us = now + s->config->shutdown_grace_ms * 1000;
    server_retire_listeners(s);
    server_close_listeners(s);
    server_signal_all(s, SIGTERM);
    server_close_conns(s, SERVER_CLOSE_IDLE);
    sbx_loop_set_timer(&s->host.loop, &s->check, now);
}

static void server_on_signal(struct sbx_io *io, short revents)
{
    struct sbx_server *s = SBX_LIST_OF(io, struct sbx_server, signals);
    bool children = false;
    int sig;
    (void)revents;
    while ((sig = sbx_sig_next()) != 0) {
        if (sig == SIGCHLD)
            children = true;
        else if (sig == SIGHUP)
            server_reload(s);
        else if (sig == SIGUSR2)
            server_begin_leave(s);
        else
            server_begin_stop(s, sig);
    }
    if (children)
        sbx_reap_collect(&s->host.reap);
}

/* Children inherit our environment, but never the token. The memory of the variable itself is
 * wiped too: /proc/PID/environ of the server can be read by every process of the same user. */
static int server_take_environ(struct sbx_server *s)
{
    extern char **environ;
    static const char name[] = "SANDBOX_AGENT_TOKEN=";
    size_t i, n = 0, count = 0;
    while (environ[count] != NULL)
        count++;
    s->host.environ = sbx_mem_alloc((count + 1) * sizeof *s->host.environ);
    if (s->host.environ == NULL)
        return -ENOMEM;
    for (i = 0; i < count; i++) {
        if (strncmp(environ[i], name, sizeof name - 1) == 0)
            memset(environ[i] + sizeof name - 1, 0, strlen(environ[i]) - (sizeof name - 1));
        else
            s->host.environ[n++] = environ[i];
    }
    s->host.environ[n] = NULL;
    return 0;
}

/* --- the estate of an earlier server --- */

static void server_on_kept_exit(void *ctx, uint64_t number, const struct sbx_exit *exit)
{
    struct sbx_server *s = ctx;
    struct sbx_proc *p = sbx_proctab_number(&s->api.procs, number);
    if (p != NULL)
        sbx_proc_on_kept_exit(p, exit);
    else
        (void)sbx_keep_drop(&s->host.keep, SBX_KEEP_PROCESS, number);
}

/* They are nobody's children that we could wait for: that they ended can be seen, how cannot. */
static void server_check_adopted(struct sbx_timer *t)
{
    struct sbx_server *s = SBX_LIST_OF(t, struct sbx_server, adopted);
    static const struct sbx_exit unknown = {.kind = SBX_EXIT_UNKNOWN};
    bool some = false;
    size_t i;
    for (i = 0; i < s->api.procs.count; i++) {
        struct sbx_proc *p = s->api.procs.procs[i];
        if (!p->adopted || p->state != SBX_PROC_RUNNING)
            continue;
        if (sbx_ident_has_ended(p->leader, p->started_us))
            sbx_proc_on_kept_exit(p, &unknown);
        else
            some = true;
    }
    if (some)
        sbx_loop_set_timer(&s->host.loop, t, s->host.loop.now_us + SERVER_ADOPTED_US);
}

static void server_on_keeper_lost(void *ctx)
{
    struct sbx_server *s = ctx;
    sbx_datadir_sign(s->data->lock, true);
    server_check_adopted(&s->adopted);
}

static struct sbx_store_log *server_pick_victim(void *ctx)
{
    return sbx_proctab_pick_victim(&((struct sbx_server *)ctx)->api.procs);
}

static int server_take(struct sbx_estate *estate, enum sbx_keep_kind kind, uint64_t number)
{
    struct sbx_keep_item *item = sbx_estate_find(estate, kind, number);
    int fd = item == NULL ? -1 : item->fds[0];
    if (item != NULL)
        item->fds[0] = -1;
    return fd;
}

static int server_on_store_opened(void *ctx, struct sbx_err *err)
{
    return sbx_inherit_join(&((struct sbx_server *)ctx)->api.procs, err);
}

/* A new lock is the keeper's, too, or it would end with this server. */
static int server_may_open(void *ctx, struct sbx_err *err)
{
    struct sbx_server *s = ctx;
    struct sbx_keep *k = &s->host.keep;
    int fds[SBX_KEEP_FDS] = {-1, -1, -1};
    bool kept = sbx_keep_is_there(k);
    int rc = sbx_datadir_keep(s->data, kept ? k->keeper : getpid(), !kept, err);
    if (rc <= 0)
        return rc;
    fds[0] = s->data->lock;
    if (sbx_keep_put(k, SBX_KEEP_LOCK, 0, 0, fds) < 0)
        sbx_diag(&s->host.diag, SBX_DIAG_WARN, "the keeper did not take the lock of the directory");
    return 0;
}

/* --- opening --- */

static int server_open_store(struct sbx_server *s, struct sbx_estate *estate, struct sbx_err *err)
{
    struct sbx_host *h = &s->host;
    struct sbx_store_options o = {.loop = &h->loop, .diag = &h->diag,
                                  .dir = sbx_datadir_path(s->data), .limits = &h->limits,
                                  .shared = estate->link >= 0, .go_on = estate->generation > 1,
                                  .on_opened = server_on_store_opened,
                                  .may_open = server_may_open,
                                  .pick_victim = server_pick_victim, .ctx = s};
    int fds[SBX_KEEP_FDS] = {-1, -1, -1};
    o.memory = server_take(estate, SBX_KEEP_MEMORY, 0);
    h->keep.on_exit = server_on_kept_exit;
    h->keep.on_lost = server_on_keeper_lost;
    h->keep.ctx = s;
    if (sbx_keep_init(&h->keep, &h->loop, &h->diag, estate) < 0)
        return sbx_err_set(err, ENOMEM, "out of memory");
    h->store = sbx_store_open(&o, err);
    if (h->store == NULL)
        return err->code;
    fds[0] = sbx_tail_fd(sbx_store_tail(h->store));
    if (fds[0] >= 0 && sbx_keep_put(&h->keep, SBX_KEEP_MEMORY, 0, 0, fds) < 0)
        sbx_diag(&h->diag, SBX_DIAG_WARN, "the keeper did not take the memory of the logs");
    return 0;
}

static int server_open_host(struct sbx_server *s, const struct sbx_estate *estate)
{
    struct sbx_host *h = &s->host;
    int fd, rc = sbx_loop_init(&h->loop);
    if (rc < 0)
        return rc;
    h->diag.level = s->config->log_level;
    sbx_reap_init(&h->reap);
    sbx_list_init(&h->runs);
    sbx_list_init(&h->sinks);
    sbx_limits_default(&h->limits);
    sbx_ident_boot(h->boot);
    h->family_us = sbx_ident_started_us(estate->link < 0 ? getpid() : getppid());
    rc = server_take_environ(s);
    if (rc < 0)
        return rc;
    h->scratch = sbx_mem_alloc(SBX_SCRATCH_BYTES);
    if (h->scratch == NULL)
        return -ENOMEM;
    fd = sbx_sig_open(&h->spawn.reset);
    if (fd < 0)
        return fd;
    sbx_io_init(&s->signals, &h->loop, fd, server_on_signal);
    return sbx_io_watch(&s->signals, POLLIN);
}

static size_t server_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* However many connect, there are descriptors for processes. With a few dozen in all, somebody has
 * to do without. */
static void server_share_fds(struct sbx_server *s, size_t nofile)
{
    size_t refusals = server_least(nofile / 8, SERVER_REFUSALS);
    size_t kept = server_least(nofile / 4, SERVER_FDS_KEPT) + refusals + SERVER_FDS_OWN;
    size_t most = nofile > kept + nofile / 4 ? nofile - kept : nofile / 4;
    s->net.max_refusals = refusals;
    s->net.max_conns = server_least((size_t)s->config->max_connections, most);
}

static int server_open_net(struct sbx_server *s, size_t nofile)
{
    const struct sbx_config *c = s->config;
    struct sbx_net *net = &s->net;
    net->loop = &s->host.loop;
    net->diag = &s->host.diag;
    /* Used within one callback each, by different layers, so one block would do; two keep the
     * rule simple: whoever fills a scratch has emptied it before anybody else is called. */
    net->scratch = sbx_mem_alloc(SBX_NET_SCRATCH);
    if (net->scratch == NULL)
        return -ENOMEM;
    server_share_fds(s, nofile);
    net->request_timeout_us = c->request_timeout_ms * 1000;
    net->handshake_timeout_us = net->request_timeout_us < SERVER_HANDSHAKE_US
                                    ? net->request_timeout_us : SERVER_HANDSHAKE_US;
    net->idle_timeout_us = c->idle_timeout_ms * 1000;
    s->api.cors = (struct sbx_cors){.origins = c->origins, .norigins = c->norigins,
                                    .methods = sbx_buf_view(&c->cors_methods),
                                    .headers = sbx_buf_view(&c->cors_headers),
                                    .credentials = c->cors_credentials};
    s->api.tokens = &s->config->tokens;
    s->api.hosts = (struct sbx_hosts){.allowed = c->allow_hosts, .nallowed = c->nallow_hosts};
    s->api.ui = c->no_ui ? SBX_UI_OFF : c->ui_dir != NULL ? SBX_UI_DIR : SBX_UI_BUILT_IN;
    s->api.ui_dir = c->ui_fd;
    sbx_cors_put_common(&s->api.cors, &s->common);
    net->common = sbx_buf_view(&s->common);
    sbx_api_init(&s->api, &s->host, net);
    return s->common.oom ? -ENOMEM : 0;
}

/* What must work before anything is taken over. */
static int server_open_base(struct sbx_server *s, const struct sbx_estate *estate,
                            struct sbx_err *err)
{
    size_t nofile = sbx_fd_raise_limit(&s->host.spawn.nofile_soft);
    int rc = sbx_fd_adopt_inherited();
    if (estate->nofile != 0)
        s->host.spawn.nofile_soft = estate->nofile;
    if (rc == 0)
        rc = server_open_host(s, estate);
    if (rc == 0)
        rc = server_open_net(s, nofile);
    if (rc == 0)
        return 0;
    sbx_err_set(err, rc, "cannot start");
    return sbx_err_add_reason(err);
}

static int server_open_listeners(struct sbx_server *s, struct sbx_estate *estate,
                                 struct sbx_err *err)
{
    const struct sbx_config *c = s->config;
    int fds[SBX_KEEP_FDS] = {-1, -1, -1};
    bool kept = true;
    for (s->nlisteners = 0; s->nlisteners < c->nlisten; s->nlisteners++) {
        size_t i = s->nlisteners;
        int rc = sbx_listener_open(&s->listeners[i], &s->net, &c->listen[i],
                                   server_take(estate, SBX_KEEP_LISTENER, i), err);
        if (rc < 0)
            return rc;
        fds[0] = s->listeners[i].io.fd;
        kept = sbx_keep_put(&s->host.keep, SBX_KEEP_LISTENER, i, 0, fds) == 0 && kept;
    }
    if (sbx_keep_ready(&s->host.keep) < 0 || !kept)
        sbx_diag(&s->host.diag, SBX_DIAG_WARN, "the keeper did not take the listening sockets");
    return 0;
}

static void server_tell_open(const struct sbx_server *s, const struct sbx_estate *estate)
{
    size_t i;
    for (i = 0; i < s->nlisteners; i++) {
        const char *url = s->listeners[i].url;
        if (estate->generation > 1)
            sbx_diag(&s->host.diag, SBX_DIAG_INFO, "listening again on %s, %zu processes running",
                     url, sbx_proctab_running(&s->api.procs));
        else if (s->config->tokens.count == 0)
            sbx_diag(&s->host.diag, SBX_DIAG_WARN, "no token: everybody who reaches %s is served",
                     url);
    }
}

struct sbx_server *sbx_server_open(struct sbx_config *config, struct sbx_datadir *data,
                                   struct sbx_estate *estate, struct sbx_err *err)
{
    struct sbx_estate none = {.link = -1};
    struct sbx_server *s = sbx_mem_calloc(sizeof *s);
    int rc;
    if (s == NULL) {
        sbx_err_set(err, ENOMEM, "out of memory");
        return NULL;
    }
    if (estate == NULL)
        estate = &none;
    s->config = config;
    s->data = data;
    if (data->lock < 0)
        data->lock = server_take(estate, SBX_KEEP_LOCK, 0);
    s->signals.fd = -1;
    s->host.keep.io.fd = -1;
    sbx_net_init(&s->net);
    sbx_list_init(&s->api.follow_caches);
    sbx_timer_init(&s->check, server_check_stop);
    sbx_timer_init(&s->adopted, server_check_adopted);
    (void)sbx_ptree_become_subreaper();
    rc = server_open_base(s, estate, err);
    if (rc == 0)
        rc = server_open_store(s, estate, err);
    if (rc == 0)
        rc = sbx_inherit(&s->api.procs, estate, err);
    if (rc == 0)
        rc = server_open_tls(s, err);
    if (rc == 0)
        rc = server_open_listeners(s, estate, err);
    if (rc < 0) {
        /* What was taken over is still the estate of the one before, for another attempt. */
        if (s->host.store != NULL)
            sbx_store_leave(s->host.store);
        if (estate->generation <= 1)
            server_retire_listeners(s);
        sbx_server_close(s);
        return NULL;
    }
    server_keep_secrets(s);
    server_tell_open(s, estate);
    return s;
}

const char *sbx_server_address(const struct sbx_server *s, size_t i)
{
    return s->listeners[i].url;
}

const char *sbx_server_fingerprint(const struct sbx_server *s)
{
    return s->fingerprint;
}

int sbx_server_run(struct sbx_server *s)
{
    sbx_loop_run(&s->host.loop);
    sbx_diag(&s->host.diag, SBX_DIAG_INFO, s->state == SERVER_LEAVING ? "left" : "stopped");
    return s->state == SERVER_LEAVING ? SBX_KEEPER_AGAIN : 0;
}

void sbx_server_close(struct sbx_server *s)
{
    server_close_listeners(s);
    if (s->host.loop.pfds != NULL) {
        server_close_conns(s, SERVER_CLOSE_ALL);
        sbx_api_deinit(&s->api);
        sbx_runs_close_sinks(&s->host);
        sbx_loop_cancel_timer(&s->host.loop, &s->check);
        sbx_loop_cancel_timer(&s->host.loop, &s->adopted);
        sbx_loop_hold(&s->host.loop, false);
        sbx_loop_finish(&s->host.loop);
        if (s->signals.fd >= 0)
            sbx_io_stop(&s->signals);
        sbx_keep_deinit(&s->host.keep);
    }
    sbx_sig_close();
    if (s->host.store != NULL)
        sbx_store_close(s->host.store);
    sbx_loop_deinit(&s->host.loop);
    sbx_buf_deinit(&s->common);
    sbx_net_deinit(&s->net);
    sbx_tls_unref(s->net.tls);
    sbx_mem_free(s->net.scratch);
    sbx_mem_free(s->host.scratch);
    sbx_mem_free(s->host.environ);
    sbx_mem_free(s);
}
