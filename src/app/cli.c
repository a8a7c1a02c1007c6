/* cli.c - see cli.h. One table row a flag; `set` takes the value. */
#include "app/cli.h"
#include "api/routes.h"
#include "app/certificates.h"
#include "app/config.h"
#include "app/datadir.h"
#include "app/sandbox_agent.h"
#include "app/secrets.h"
#include "app/server.h"
#include "base/mem.h"
#include "net/listener.h"
#include "net/tls.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/user.h"
#include "proc/db.h"
#include "proc/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Longer than the keeper gives an old server to end and a new one to begin. */
#define CLI_UPGRADE_US 30000000u
#define CLI_UPGRADE_TICK_MS 20

enum cli_flag {
    CLI_HOST, CLI_PORT, CLI_LISTEN, CLI_TOKEN, CLI_TOKEN_FILE, CLI_NO_TOKEN, CLI_ALLOW_HOST,
    CLI_TLS_CERT, CLI_TLS_KEY, CLI_TLS_CLIENT_CA, CLI_TLS_SELF_SIGNED, CLI_ORIGIN, CLI_METHOD,
    CLI_HEADER, CLI_CREDENTIALS, CLI_LOG_LEVEL, CLI_MAX_CONNECTIONS, CLI_REQUEST_TIMEOUT,
    CLI_IDLE_TIMEOUT, CLI_GRACE, CLI_DATA_DIR, CLI_USER, CLI_NO_NEW_PRIVS, CLI_NO_KEEPER,
    CLI_NO_UI, CLI_UI_DIR, CLI_NO_TELEMETRY, CLI_HELP, CLI_VERSION
};

struct cli_option {
    enum cli_flag flag;
    char letter; /* 0: none */
    const char *name;
    const char *value; /* what to call it in the help; NULL: takes none */
    const char *help;
};

static const struct cli_option cli_options[] = {
    {CLI_HOST, 'H', "host", "ADDRESS", "IP address to listen on (127.0.0.1)"},
    {CLI_PORT, 'p', "port", "PORT", "port to listen on; 0 picks a free one (2468)"},
    {CLI_LISTEN, 0, "listen", "ADDRESS", "HOST:PORT, [IPv6]:PORT or unix:PATH to listen on"},
    {CLI_TOKEN, 't', "token", "TOKEN", "bearer token that clients must send"},
    {CLI_TOKEN_FILE, 0, "token-file", "FILE", "tokens, a line each: TOKEN, or TOKEN read"},
    {CLI_NO_TOKEN, 'n', "no-token", NULL, "serve everybody"},
    {CLI_ALLOW_HOST, 0, "allow-host", "NAME", "host name that clients may use: agent.example, "
                                              "*.example, *"},
    {CLI_TLS_CERT, 0, "tls-cert", "FILE", "speak HTTPS with this PEM certificate chain"},
    {CLI_TLS_KEY, 0, "tls-key", "FILE", "its private key, PEM"},
    {CLI_TLS_CLIENT_CA, 0, "tls-client-ca", "FILE",
     "let in only clients that one of these certified"},
    {CLI_TLS_SELF_SIGNED, 0, "tls-self-signed", NULL, "speak HTTPS with a certificate of our own"},
    {CLI_ORIGIN, 'O', "cors-allow-origin", "ORIGIN", "web origin that may use the API"},
    {CLI_METHOD, 'M', "cors-allow-method", "METHOD", "method for preflight answers (all)"},
    {CLI_HEADER, 'A', "cors-allow-header", "HEADER", "header for preflight answers (all)"},
    {CLI_CREDENTIALS, 'C', "cors-allow-credentials", NULL, "let pages send credentials"},
    {CLI_LOG_LEVEL, 0, "log-level", "LEVEL", "error, warn, info or debug (info)"},
    {CLI_MAX_CONNECTIONS, 0, "max-connections", "N", "connections served at once (8192)"},
    {CLI_REQUEST_TIMEOUT, 0, "request-timeout", "MS", "time to send a request (60000)"},
    {CLI_IDLE_TIMEOUT, 0, "idle-timeout", "MS", "time a connection may stay idle (300000)"},
    {CLI_GRACE, 0, "shutdown-grace", "MS", "time between TERM and KILL when stopping (1500)"},
    {CLI_DATA_DIR, 0, "data-dir", "DIR", "where state and logs are kept; :memory: keeps nothing"},
    {CLI_USER, 0, "user", "NAME", "become this user after binding: NAME, UID or NAME:GROUP"},
    {CLI_NO_NEW_PRIVS, 0, "no-new-privs", NULL, "no process gains rights by setuid files or sudo"},
    {CLI_NO_KEEPER, 0, "no-keeper", NULL, "run the server alone: processes end with it"},
    {CLI_NO_UI, 0, "no-ui", NULL, "do not serve the inspector page at /ui/"},
    {CLI_UI_DIR, 0, "ui-dir", "DIR", "serve that page from this directory, to work on it"},
    {CLI_NO_TELEMETRY, 0, "no-telemetry", NULL, "accepted for compatibility; there is none"},
    {CLI_HELP, 'h', "help", NULL, "show this help"},
    {CLI_VERSION, 'V', "version", NULL, "show the version"},
};

#define CLI_OPTIONS (sizeof cli_options / sizeof cli_options[0])

static void cli_usage(FILE *to)
{
    size_t i;
    fprintf(to, "usage: sandbox-agent server [OPTIONS]\n"
                "       sandbox-agent upgrade [--data-dir DIR]\n"
                "       sandbox-agent routes\n"
                "       sandbox-agent --help | --version\n\noptions of server:\n");
    for (i = 0; i < CLI_OPTIONS; i++) {
        const struct cli_option *o = &cli_options[i];
        char left[48];
        (void)snprintf(left, sizeof left, "--%s%s%s", o->name, o->value != NULL ? " " : "",
                       o->value != NULL ? o->value : "");
        if (o->letter != 0)
            fprintf(to, "  -%c, %-32s %s\n", o->letter, left, o->help);
        else
            fprintf(to, "      %-32s %s\n", left, o->help);
    }
    fprintf(to, "\n--listen, --allow-host and the --cors-allow-* flags with a value can be "
                "repeated.\n"
                "SIGHUP reads the files of --token-file and --tls-* again.\n"
                "The token can also be given in the environment as SANDBOX_AGENT_TOKEN.\n"
                "Without --data-dir it is $XDG_DATA_HOME/sandbox-agent or "
                "~/.local/share/sandbox-agent.\n"
                "upgrade makes the server of that directory start anew from the file of its "
                "program,\nand waits until it has.\n");
}

static bool cli_keeps_nothing(void)
{
    return strcmp(sbx_db_backend(), "memory") == 0;
}

static int cli_apply(struct sbx_config *c, enum cli_flag flag, const char *v, struct sbx_err *err)
{
    switch (flag) {
    case CLI_HOST:
        c->host = v;
        return 0;
    case CLI_PORT:
        return sbx_config_set_port(c, v, err);
    case CLI_LISTEN:
        return sbx_config_add_listen(c, v, err);
    case CLI_ALLOW_HOST:
        return sbx_config_add_allow_host(c, v, err);
    case CLI_TLS_CERT:
        c->tls_cert = v;
        return 0;
    case CLI_TLS_KEY:
        c->tls_key = v;
        return 0;
    case CLI_TLS_CLIENT_CA:
        c->tls_client_ca = v;
        return 0;
    case CLI_TLS_SELF_SIGNED:
        c->tls_self_signed = true;
        return 0;
    case CLI_USER:
        c->user = v;
        return 0;
    case CLI_NO_NEW_PRIVS:
        c->no_new_privs = true;
        return 0;
    case CLI_TOKEN:
        return sbx_config_set_token(c, v, err);
    case CLI_TOKEN_FILE:
        c->token_file = v;
        return 0;
    case CLI_NO_TOKEN:
        c->no_token = true;
        return 0;
    case CLI_ORIGIN:
        return sbx_config_add_origin(c, v, err);
    case CLI_METHOD:
        return sbx_config_add_method(c, v, err);
    case CLI_HEADER:
        return sbx_config_add_header(c, v, err);
    case CLI_CREDENTIALS:
        c->cors_credentials = true;
        return 0;
    case CLI_LOG_LEVEL:
        return sbx_config_set_log_level(c, v, err);
    case CLI_MAX_CONNECTIONS:
        return sbx_config_set_number(&c->max_connections, "--max-connections", v, 1, err);
    case CLI_REQUEST_TIMEOUT:
        return sbx_config_set_number(&c->request_timeout_ms, "--request-timeout", v, 1, err);
    case CLI_IDLE_TIMEOUT:
        return sbx_config_set_number(&c->idle_timeout_ms, "--idle-timeout", v, 1, err);
    case CLI_GRACE:
        return sbx_config_set_number(&c->shutdown_grace_ms, "--shutdown-grace", v, 0, err);
    case CLI_DATA_DIR:
        if (v[0] == '\0')
            return sbx_err_set(err, EINVAL, "--data-dir is empty");
        if (cli_keeps_nothing() && strcmp(v, ":memory:") != 0)
            return sbx_err_set(err, EINVAL, "--data-dir: this program was built without SQLite and "
                                            "keeps nothing");
        c->data_dir = v;
        return 0;
    case CLI_NO_KEEPER:
        c->no_keeper = true;
        return 0;
    case CLI_NO_UI:
        c->no_ui = true;
        return 0;
    case CLI_UI_DIR:
        c->ui_dir = v;
        return 0;
    case CLI_NO_TELEMETRY:
    case CLI_HELP:
    case CLI_VERSION:
        break;
    }
    return 0;
}

/* "--name", "--name=value" or "-x", "-xvalue". *attached: the value in the same word, or NULL. */
static const struct cli_option *cli_find(char *word, char **attached)
{
    size_t i, n;
    *attached = NULL;
    for (i = 0; i < CLI_OPTIONS; i++) {
        const struct cli_option *o = &cli_options[i];
        n = strlen(o->name);
        if (strncmp(word, "--", 2) == 0 && strncmp(word + 2, o->name, n) == 0 &&
            (word[2 + n] == '\0' || word[2 + n] == '=')) {
            *attached = word[2 + n] == '=' ? word + 3 + n : NULL;
            return o;
        }
        if (o->letter != 0 && word[0] == '-' && word[1] == o->letter &&
            (word[2] == '\0' || o->value != NULL)) {
            *attached = word[2] != '\0' ? word + 2 : NULL;
            return o;
        }
    }
    return NULL;
}

/* A secret on the command line is visible to all users in the list of processes. */
static void cli_wipe(char *secret)
{
    memset(secret, 'x', strlen(secret));
}

static int cli_wrong(const char *text)
{
    fprintf(stderr, "sandbox-agent: %s (see sandbox-agent --help)\n", text);
    return 2;
}

static int cli_tell(enum cli_flag flag)
{
    if (flag == CLI_VERSION)
        printf("sandbox-agent %s (store: %s, tls: %s)\n", SANDBOX_AGENT_VERSION,
               sbx_db_backend(), sbx_tls_backend());
    else
        cli_usage(stdout);
    return 0;
}

/* What the command line comes to. */
struct cli_run {
    struct sbx_config config;
    struct sbx_datadir data;
    struct sbx_estate estate;
    char **argv; /* for a program that follows us: all words but the token's */
    size_t argc;
};

static void cli_keep_word(struct cli_run *run, char *word)
{
    run->argv[run->argc++] = word;
    run->argv[run->argc] = NULL;
}

/* -1: go on. Otherwise the exit status. */
static int cli_parse(struct cli_run *run, int argc, char **argv)
{
    bool token_given = false;
    struct sbx_err err;
    int i;
    for (i = 0; i < argc; i++) {
        char *value, *word = argv[i];
        const struct cli_option *o = cli_find(word, &value);
        if (o == NULL)
            sbx_err_set(&err, EINVAL, "unknown option \"%s\"", word);
        else if (o->value == NULL && value != NULL)
            sbx_err_set(&err, EINVAL, "--%s takes no value", o->name);
        else if (o->value != NULL && value == NULL && i + 1 == argc)
            sbx_err_set(&err, EINVAL, "--%s needs a value", o->name);
        else
            err.code = 0;
        if (err.code != 0)
            return cli_wrong(err.text);
        if (o->flag == CLI_HELP || o->flag == CLI_VERSION)
            return cli_tell(o->flag);
        if (o->flag != CLI_TOKEN)
            cli_keep_word(run, word);
        if (o->value != NULL && value == NULL) {
            value = argv[++i];
            if (o->flag != CLI_TOKEN)
                cli_keep_word(run, value);
        }
        if (o->flag == CLI_TOKEN || o->flag == CLI_TOKEN_FILE) {
            if (token_given)
                return cli_wrong("give the token once, by --token or by --token-file");
            token_given = true;
        }
        if (cli_apply(&run->config, o->flag, value, &err) < 0)
            return cli_wrong(err.text);
        if (o->flag == CLI_TOKEN)
            cli_wipe(value);
    }
    return -1;
}

/* Each of that name: an environment may have it twice, and getenv() finds the first. */
static void cli_wipe_environ(const char *name)
{
    extern char **environ;
    size_t i, n = strlen(name);
    for (i = 0; environ != NULL && environ[i] != NULL; i++)
        if (strncmp(environ[i], name, n) == 0 && environ[i][n] == '=')
            sbx_mem_wipe(environ[i] + n + 1, strlen(environ[i] + n + 1));
}

/* The variable is wiped: /proc/PID/environ can be read by every process of the same user. */
static int cli_token_from_env(struct sbx_config *c)
{
    static const char name[] = "SANDBOX_AGENT_TOKEN";
    const char *value = getenv(name);
    struct sbx_err err;
    int rc = 0;
    if (value != NULL && value[0] != '\0' && c->tokens.count == 0 && c->token_file == NULL)
        rc = sbx_config_set_token(c, value, &err);
    if (rc < 0)
        fprintf(stderr, "sandbox-agent: SANDBOX_AGENT_TOKEN: not a valid token\n");
    cli_wipe_environ(name);
    return rc;
}

static int cli_read_tls(struct cli_run *run, struct sbx_err *err)
{
    struct sbx_diag diag = {.level = run->config.log_level};
    return sbx_certificates_read(&run->config.secrets, &run->config, sbx_datadir_path(&run->data),
                                 &diag, err);
}

static int cli_fail(const struct sbx_err *err)
{
    fprintf(stderr, "sandbox-agent: %s\n", err->text);
    return 1;
}

/* --- following another server --- */

/* In the place of what the config has. Only what the command line asks for: a token that was given
 * otherwise is in the config already. */
static void cli_use_secrets(struct sbx_config *c, struct sbx_secrets *s, struct sbx_tokens *t)
{
    struct sbx_tokens was = c->tokens;
    if (sbx_config_wants_tls(c))
        sbx_secrets_swap(&c->secrets, s);
    if (c->token_file == NULL)
        return;
    c->tokens = *t;
    *t = was;
}

/* What the server before had in use. When it was kept and cannot be had, the config is left with
 * nothing: what the keeper read at its own start may be valid no more. */
static void cli_take_secrets(struct cli_run *run)
{
    struct sbx_keep_item *item = sbx_estate_find(&run->estate, SBX_KEEP_SECRETS, 0);
    struct sbx_secrets s;
    struct sbx_tokens t;
    int rc;
    if (item == NULL)
        return;
    sbx_secrets_init(&s);
    sbx_tokens_init(&t);
    rc = sbx_secrets_unpack(item->fds[0], &s, &t);
    sbx_fd_close(&item->fds[0]);
    if (rc < 0)
        fprintf(stderr, "sandbox-agent: the tokens and the certificate of before are lost: %s\n",
                strerror(-rc));
    cli_use_secrets(&run->config, &s, &t);
    sbx_tokens_deinit(&t);
    sbx_secrets_deinit(&s);
}

/* A file could not be read: is there something of before to go on with? */
static int cli_go_on(bool there_is, const char *stays, const struct sbx_err *err)
{
    if (!there_is)
        return cli_fail(err);
    fprintf(stderr, "sandbox-agent: %s; %s\n", err->text, stays);
    return -1;
}

/* These two: -1: go on. Otherwise the exit status. */

static int cli_follow_tokens(struct cli_run *run)
{
    struct sbx_err err;
    run->config.secrets_wait_us = 0; /* clients wait for us */
    cli_take_secrets(run);
    if (sbx_config_read_tokens(&run->config, &err) == 0)
        return -1;
    return cli_go_on(run->config.tokens.count > 0, "the tokens of before stay", &err);
}

static int cli_follow_tls(struct cli_run *run)
{
    struct sbx_err err;
    if (cli_read_tls(run, &err) == 0)
        return -1;
    return cli_go_on(sbx_buf_len(&run->config.secrets.cert) > 0, "the certificate of before stays",
                     &err);
}

/* --- serving --- */

static void cli_tell_start(const struct sbx_server *server, const struct sbx_config *c)
{
    size_t i;
    for (i = 0; i < c->nlisten; i++)
        printf("listening on %s\n", sbx_server_address(server, i));
    if (sbx_config_wants_tls(c))
        printf("certificate SHA-256 %s\n", sbx_server_fingerprint(server));
    (void)fflush(stdout);
}

static int cli_serve(struct cli_run *run)
{
    struct sbx_server *server;
    struct sbx_err err;
    int status;
    server = sbx_server_open(&run->config, &run->data, &run->estate, &err);
    if (server == NULL)
        return cli_fail(&err);
    if (run->estate.generation <= 1)
        cli_tell_start(server, &run->config);
    status = sbx_server_run(server);
    sbx_server_close(server);
    return status;
}

/* For the environment of a next program, which reads a token file by itself. NULL: nothing. */
static char *cli_secret(const struct sbx_config *c)
{
    if (c->token_file != NULL || c->tokens.count == 0)
        return NULL;
    return sbx_mem_strndup(c->tokens.list[0].secret.p, c->tokens.list[0].secret.n);
}

/* --- becoming another user --- */

static int cli_bind(struct cli_run *run, const struct sbx_user *user, struct sbx_err *err)
{
    const struct sbx_config *c = &run->config;
    size_t i;
    run->estate.items = sbx_mem_calloc(c->nlisten * sizeof *run->estate.items);
    if (run->estate.items == NULL)
        return sbx_err_set(err, ENOMEM, "out of memory");
    for (i = 0; i < c->nlisten; i++) {
        int fd = sbx_listener_bind(&c->listen[i], err);
        if (fd < 0)
            return err->code;
        run->estate.items[i] = (struct sbx_keep_item){.kind = SBX_KEEP_LISTENER, .number = i,
                                                      .fds = {fd, -1, -1}};
        run->estate.nitems = i + 1;
        if (sbx_address_is_unix(&c->listen[i]))
            (void)sbx_user_give_socket(user, c->listen[i].sock.un.sun_path);
    }
    return 0;
}

/* What was bound and is served by nobody, since something else went wrong. */
static void cli_unbind(const struct cli_run *run)
{
    size_t i;
    for (i = 0; i < run->estate.nitems && run->estate.generation <= 1; i++) {
        const struct sbx_keep_item *item = &run->estate.items[i];
        if (item->kind == SBX_KEEP_LISTENER && item->fds[0] >= 0 &&
            sbx_address_is_unix(&run->config.listen[item->number]))
            (void)unlink(run->config.listen[item->number].sock.un.sun_path);
    }
}

/* What su(1) would set: whoever starts programs as that user expects them. */
static void cli_set_environ(const struct sbx_user *user)
{
    (void)setenv("HOME", user->home, 1);
    (void)setenv("USER", user->name, 1);
    (void)setenv("LOGNAME", user->name, 1);
}

static void cli_warn_of_files(const struct sbx_config *c, const struct sbx_user *user,
                              const struct sbx_diag *diag)
{
    const char *const files[] = {c->token_file, c->tls_cert, c->tls_key, c->tls_client_ca};
    size_t i;
    for (i = 0; i < sizeof files / sizeof files[0]; i++)
        if (files[i] != NULL && access(files[i], R_OK) < 0)
            sbx_diag(diag, SBX_DIAG_WARN,
                     "--user: %s cannot be read as %s: what was in it stays, also after SIGHUP and "
                     "an upgrade", files[i], user->name);
}

/* Ports below 1024 and files that only root may read are had before; nothing can be had after. */
static int cli_become(struct cli_run *run, const struct sbx_diag *diag, struct sbx_err *err)
{
    struct sbx_user user;
    if (sbx_user_find(&user, run->config.user, "/etc", err) < 0 ||
        cli_bind(run, &user, err) < 0)
        return err->code;
    sbx_datadir_provide(run->config.data_dir, user.uid, user.gid);
    if (sbx_user_become(&user, err) < 0)
        return err->code;
    cli_set_environ(&user);
    sbx_diag(diag, SBX_DIAG_INFO,
             "--user: running as %s, and so does every process; none can run as somebody else%s",
             user.name,
             run->config.no_new_privs ? "" : ", unless by sudo or setuid files");
    cli_warn_of_files(&run->config, &user, diag);
    return 0;
}

/* A server in the place of one that died. */
static int cli_follow(struct cli_run *run)
{
    int status = cli_follow_tokens(run);
    if (status < 0)
        status = cli_follow_tls(run);
    return status < 0 ? cli_serve(run) : status;
}

/* Becomes the keeper of a server, or the server alone. */
static int cli_keep(struct cli_run *run, const struct sbx_diag *diag)
{
    char *token = cli_secret(&run->config);
    struct sbx_keeper_options o = {.diag = diag, .argv = run->argv, .token = token,
                                   .lock = run->data.lock,
                                   .on_upgrade = sbx_datadir_note_upgrade};
    struct sbx_err err;
    int status;
    run->data.lock = -1;
    sbx_datadir_sign(o.lock, false);
    status = sbx_keeper_run(&o, &run->estate, &err);
    if (status == -ENOTSUP) {
        sbx_diag(diag, SBX_DIAG_WARN, "no keeper, processes end with the server: %s", err.text);
        run->data.lock = o.lock;
        sbx_datadir_sign(o.lock, true);
    }
    if (token != NULL)
        sbx_mem_wipe(token, strlen(token));
    sbx_mem_free(token);
    if (status != SBX_KEEPER_SERVER && status != -ENOTSUP)
        return status;
    return run->estate.generation > 1 ? cli_follow(run) : cli_serve(run);
}

static int cli_start(struct cli_run *run)
{
    struct sbx_config *c = &run->config;
    struct sbx_diag diag = {.level = c->log_level};
    struct sbx_err err;
    if (c->no_new_privs && sbx_user_no_new_privs() < 0) {
        sbx_err_set(&err, ENOTSUP, "--no-new-privs: this system has no such thing");
        return cli_fail(&err);
    }
    /* Before the files may be out of reach; and the ones in the data directory after. */
    if (sbx_secrets_read_tls(&c->secrets, c->tls_cert, c->tls_key, c->tls_client_ca,
                             c->secrets_wait_us, &err) < 0)
        return cli_fail(&err);
    if (c->user != NULL && cli_become(run, &diag, &err) < 0)
        return cli_fail(&err);
    if (sbx_datadir_open(&run->data, c->data_dir, &diag, &err) < 0)
        return cli_fail(&err);
    if (c->tls_self_signed &&
        sbx_certificates_own(&c->secrets, c, sbx_datadir_path(&run->data), &diag, &err) < 0)
        return cli_fail(&err);
    return c->no_keeper ? cli_serve(run) : cli_keep(run, &diag);
}

/* A program that was started by a keeper in the place of an older one finds all in order. */
static int cli_continue(struct cli_run *run)
{
    struct sbx_err err;
    int status;
    if (sbx_datadir_find(&run->data, run->config.data_dir, &err) < 0)
        return cli_fail(&err);
    /* What the first program could not lock is not used by this one either. */
    if (sbx_estate_find(&run->estate, SBX_KEEP_LOCK, 0) == NULL)
        sbx_buf_clear(&run->data.path);
    status = cli_follow_tls(run);
    return status < 0 ? cli_serve(run) : status;
}

static int cli_begin(struct cli_run *run)
{
    bool follows = sbx_estate_from_environ(&run->estate);
    struct sbx_err err;
    int status = -1;
    if (follows)
        status = cli_follow_tokens(run);
    else if (sbx_config_read_tokens(&run->config, &err) < 0)
        status = cli_fail(&err);
    if (status >= 0)
        return status;
    if (sbx_config_check(&run->config, &err) < 0)
        return cli_fail(&err);
    /* Before it may be out of reach. A server that follows goes on without. */
    if (sbx_config_open_ui(&run->config, &err) < 0) {
        status = cli_go_on(follows, "the inspector is not served", &err);
        if (status >= 0)
            return status;
    }
    return follows ? cli_continue(run) : cli_start(run);
}

static int cli_server(int argc, char **argv)
{
    struct cli_run run = {.data = {.lock = -1}, .estate = {.link = -1}};
    int status;
    sbx_config_init(&run.config);
    if (cli_keeps_nothing())
        run.config.data_dir = ":memory:";
    run.argv = sbx_mem_calloc(((size_t)argc + 3) * sizeof *run.argv);
    if (run.argv == NULL)
        return cli_wrong("out of memory");
    cli_keep_word(&run, argv[-2]);
    cli_keep_word(&run, argv[-1]);
    status = cli_parse(&run, argc, argv);
    if (status < 0 && cli_token_from_env(&run.config) < 0)
        status = 1;
    if (status < 0)
        status = cli_begin(&run);
    cli_unbind(&run);
    sbx_estate_deinit(&run.estate);
    sbx_datadir_deinit(&run.data);
    sbx_mem_free(run.argv);
    sbx_config_deinit(&run.config);
    return status;
}

/* --- upgrading --- */

/* Until the upgrade that is under way, if any, and all up to `number` are over. -errno and err:
 * that cannot be known. */
static int cli_await_upgrade(struct sbx_datadir_owner *o, unsigned number, struct sbx_err *err)
{
    uint64_t end = sbx_clock_mono_us() + CLI_UPGRADE_US;
    int rc;
    while ((rc = sbx_datadir_look_at_owner(o, err)) == 0 &&
           (o->upgrade < number || (o->upgrade > 0 && o->state == SBX_KEEPER_UPGRADE_BEGUN))) {
        if (sbx_clock_mono_us() >= end)
            return sbx_err_set(err, ETIMEDOUT,
                               "process %ld has not said what became of it; its messages may",
                               (long)o->pid);
        (void)poll(NULL, 0, CLI_UPGRADE_TICK_MS);
    }
    return rc;
}

/* The processes of the server may write to the lock file, so it may name anybody. What is sent is
 * what its owner could send: as root we become that one, for good, and nobody else sends to what
 * is not his own. */
static int cli_signal_owner(const struct sbx_datadir_owner *o, struct sbx_err *err)
{
    struct sbx_user user = {.uid = o->uid, .gid = o->gid, .groups = {o->gid}, .ngroups = 1};
    (void)snprintf(user.name, sizeof user.name, "%lu", (unsigned long)o->uid);
    if (geteuid() == 0 && o->uid != 0 && sbx_user_become(&user, err) < 0)
        return err->code;
    if (geteuid() != o->uid)
        return sbx_err_set(err, EPERM, "the lock file belongs to user %s; only that user or root "
                                       "can ask for an upgrade", user.name);
    if (kill(o->pid, SIGUSR2) == 0)
        return 0;
    if (errno == EPERM)
        return sbx_err_set(err, EPERM,
                           "process %ld, which the lock file names, does not belong to user %s as "
                           "the lock file does; it is not sent a signal", (long)o->pid, user.name);
    sbx_err_set(err, errno, "process %ld", (long)o->pid);
    return sbx_err_add_reason(err);
}

/* With one that is under way already the program may be older than what is there now: it is waited
 * for. */
static int cli_upgrade_owner(struct sbx_datadir_owner *o)
{
    struct sbx_err err;
    if (cli_await_upgrade(o, 0, &err) < 0 || cli_signal_owner(o, &err) < 0 ||
        cli_await_upgrade(o, o->upgrade + 1, &err) < 0)
        return cli_fail(&err);
    if (o->state == SBX_KEEPER_UPGRADE_FAILED) {
        fprintf(stderr, "sandbox-agent: %s\n", o->text);
        return 1;
    }
    printf("%s\n", o->text);
    return 0;
}

static int cli_upgrade(int argc, char **argv)
{
    const char *dir = NULL;
    struct sbx_datadir_owner owner;
    struct sbx_err err;
    int status;
    if (argc == 2 && strcmp(argv[0], "--data-dir") == 0)
        dir = argv[1];
    else if (argc == 1 && strncmp(argv[0], "--data-dir=", 11) == 0)
        dir = argv[0] + 11;
    else if (argc != 0)
        return cli_wrong("usage: sandbox-agent upgrade [--data-dir DIR]");
    if (sbx_datadir_find_owner(&owner, dir, &err) < 0)
        return cli_fail(&err);
    status = cli_upgrade_owner(&owner);
    sbx_datadir_leave_owner(&owner);
    return status;
}

static int cli_routes(void)
{
    const struct sbx_route *r;
    for (r = sbx_routes(); r->path != NULL; r++)
        printf("%s %s %s\n", r->method, r->path, r->operation);
    return 0;
}

int sbx_cli_main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "server") == 0)
        return cli_server(argc - 2, argv + 2);
    if (argc >= 2 && strcmp(argv[1], "upgrade") == 0)
        return cli_upgrade(argc - 2, argv + 2);
    if (argc == 2 && strcmp(argv[1], "routes") == 0)
        return cli_routes();
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
                      strcmp(argv[1], "help") == 0))
        return cli_tell(CLI_HELP);
    if (argc == 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0))
        return cli_tell(CLI_VERSION);
    if (argc < 2)
        cli_usage(stderr);
    else
        fprintf(stderr, "sandbox-agent: unknown command \"%s\" (see sandbox-agent --help)\n",
                argv[1]);
    return 2;
}
