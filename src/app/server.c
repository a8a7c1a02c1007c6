/* server.c - see server.h.
 *
 *   SERVING --TERM, INT, HUP--> STOPPING --all ended, or time is up--> loop stops
 *
 * Stopping: the listener closes, idle connections close, every process gets SIGTERM and after the
 * grace SIGKILL. A run is an answer under way, so it may finish within the grace. Followers and
 * terminals see the exits and end by themselves. What is still open SERVER_LAST_US after the last
 * process is cut. A second signal skips the grace. */
#include "app/server.h"
#include "api/api.h"
#include "base/mem.h"
#include "net/listener.h"
#include "os/fd.h"
#include "os/ptree.h"
#include "os/sig.h"
#include "proc/run.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SERVER_STOP_CHECK_US 10000u
#define SERVER_KILLED_US 500000u /* for the system to end what was killed */
#define SERVER_LAST_US 300000u   /* for the last answers to be written */
#define SERVER_FDS_KEPT 256u     /* for processes, beside connections */

enum server_state { SERVER_SERVING, SERVER_STOPPING };

struct sbx_server {
    const struct sbx_config *config;
    enum server_state state;
    struct sbx_host host;
    struct sbx_net net;
    struct sbx_api api;
    struct sbx_listener listener;
    struct sbx_io signals;
    struct sbx_timer check;   /* STOPPING: are we done? */
    uint64_t kill_us;         /* STOPPING: when SIGKILL goes out */
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

static void server_close_conns(struct sbx_server *s, bool idle_only)
{
    struct sbx_list *n, *next;
    for (n = s->net.conns.next; n != &s->net.conns; n = next) {
        struct sbx_conn *c = SBX_LIST_OF(n, struct sbx_conn, node);
        next = n->next;
        if (!idle_only || (c->state == SBX_CONN_READ_HEAD && c->out.count == 0))
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
    server_close_conns(s, true);
    if ((s->quiet_us != 0 && (s->net.count == 0 || now - s->quiet_us > SERVER_LAST_US)) ||
        now > s->kill_us + SERVER_KILLED_US)
        server_end_loop(s);
    else
        sbx_loop_set_timer(&s->host.loop, t, now + SERVER_STOP_CHECK_US);
}

static void server_begin_stop(struct sbx_server *s, int sig)
{
    char name[16];
    uint64_t now = s->host.loop.now_us;
    if (s->state == SERVER_STOPPING) {
        s->kill_us = now;
        return;
    }
    sbx_diag(&s->host.diag, SBX_DIAG_INFO, "%s: stopping, %zu processes running",
             sbx_sig_name(sig, name), sbx_proctab_running(&s->api.procs));
    s->state = SERVER_STOPPING;
    s->net.stopping = true;
    s->kill_us = now + s->config->shutdown_grace_ms * 1000;
    sbx_listener_close(&s->listener);
    server_signal_all(s, SIGTERM);
    server_close_conns(s, true);
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
        else
            server_begin_stop(s, sig);
    }
    if (children)
        sbx_reap_collect(&s->host.reap);
}

/* --- opening --- */

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

static int server_open_host(struct sbx_server *s)
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
    rc = server_take_environ(s);
    if (rc < 0)
        return rc;
    h->scratch = sbx_mem_alloc(SBX_SCRATCH_BYTES);
    h->store = sbx_store_open(&h->loop);
    if (h->scratch == NULL || h->store == NULL)
        return -ENOMEM;
    fd = sbx_sig_open(&h->spawn.reset);
    if (fd < 0)
        return fd;
    sbx_io_init(&s->signals, &h->loop, fd, server_on_signal);
    return sbx_io_watch(&s->signals, POLLIN);
}

static size_t server_max_conns(const struct sbx_config *c, size_t nofile)
{
    size_t kept = nofile / 4 < SERVER_FDS_KEPT ? nofile / 4 : SERVER_FDS_KEPT;
    size_t most = nofile - kept;
    return c->max_connections < most ? (size_t)c->max_connections : most;
}

static int server_open_net(struct sbx_server *s, size_t nofile)
{
    const struct sbx_config *c = s->config;
    struct sbx_net *net = &s->net;
    sbx_list_init(&net->conns);
    net->loop = &s->host.loop;
    net->diag = &s->host.diag;
    /* Used within one callback each, by different layers, so one block would do; two keep the
     * rule simple: whoever fills a scratch has emptied it before anybody else is called. */
    net->scratch = sbx_mem_alloc(SBX_NET_SCRATCH);
    if (net->scratch == NULL)
        return -ENOMEM;
    net->max_conns = server_max_conns(c, nofile);
    net->request_timeout_us = c->request_timeout_ms * 1000;
    net->idle_timeout_us = c->idle_timeout_ms * 1000;
    s->api.cors = (struct sbx_cors){.origins = c->origins, .norigins = c->norigins,
                                    .methods = sbx_buf_view(&c->cors_methods),
                                    .headers = sbx_buf_view(&c->cors_headers),
                                    .credentials = c->cors_credentials};
    s->api.token = sbx_buf_view(&c->token);
    sbx_cors_put_common(&s->api.cors, &s->common);
    net->common = sbx_buf_view(&s->common);
    sbx_api_init(&s->api, &s->host, net);
    return s->common.oom ? -ENOMEM : 0;
}

struct sbx_server *sbx_server_open(const struct sbx_config *config, struct sbx_err *err)
{
    struct sbx_server *s = sbx_mem_calloc(sizeof *s);
    size_t nofile;
    int rc;
    if (s == NULL) {
        sbx_err_set(err, ENOMEM, "out of memory");
        return NULL;
    }
    s->config = config;
    s->signals.fd = -1;
    s->listener.io.fd = -1;
    sbx_list_init(&s->net.conns);
    sbx_list_init(&s->api.follow_caches);
    sbx_timer_init(&s->check, server_check_stop);
    nofile = sbx_fd_raise_limit(&s->host.spawn.nofile_soft);
    rc = sbx_fd_adopt_inherited();
    if (rc == 0)
        rc = server_open_host(s);
    if (rc == 0)
        rc = server_open_net(s, nofile);
    if (rc < 0) {
        sbx_err_set(err, rc, "cannot start");
        (void)sbx_err_add_reason(err);
    } else {
        rc = sbx_listener_open(&s->listener, &s->net, config->host, config->port, err);
    }
    if (rc < 0) {
        sbx_server_close(s);
        return NULL;
    }
    sbx_ptree_become_subreaper();
    if (s->api.token.n == 0)
        sbx_diag(&s->host.diag, SBX_DIAG_WARN,
                 "no token: everybody who reaches %s is served", s->listener.address);
    return s;
}

const char *sbx_server_address(const struct sbx_server *s)
{
    return s->listener.address;
}

int sbx_server_run(struct sbx_server *s)
{
    sbx_loop_run(&s->host.loop);
    sbx_diag(&s->host.diag, SBX_DIAG_INFO, "stopped");
    return 0;
}

void sbx_server_close(struct sbx_server *s)
{
    sbx_listener_close(&s->listener);
    if (s->host.loop.pfds != NULL) {
        server_close_conns(s, false);
        sbx_api_deinit(&s->api);
        sbx_runs_close_sinks(&s->host);
        sbx_loop_cancel_timer(&s->host.loop, &s->check);
        sbx_loop_finish(&s->host.loop);
        if (s->signals.fd >= 0)
            sbx_io_stop(&s->signals);
    }
    sbx_sig_close();
    if (s->host.store != NULL)
        sbx_store_close(s->host.store);
    sbx_loop_deinit(&s->host.loop);
    sbx_buf_deinit(&s->common);
    sbx_buf_deinit(&s->net.head);
    sbx_mem_free(s->net.scratch);
    sbx_mem_free(s->host.scratch);
    sbx_mem_free(s->host.environ);
    sbx_mem_free(s);
}
