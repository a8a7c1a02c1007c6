/* cli.c - see cli.h. One table row a flag; `set` takes the value. */
#include "app/cli.h"
#include "api/routes.h"
#include "app/config.h"
#include "app/datadir.h"
#include "app/sandbox_agent.h"
#include "app/server.h"
#include "base/mem.h"
#include "net/tls.h"
#include "proc/db.h"
#include "proc/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum cli_flag {
    CLI_HOST, CLI_PORT, CLI_TOKEN, CLI_TOKEN_FILE, CLI_NO_TOKEN, CLI_ORIGIN, CLI_METHOD,
    CLI_HEADER, CLI_CREDENTIALS, CLI_LOG_LEVEL, CLI_MAX_CONNECTIONS, CLI_REQUEST_TIMEOUT,
    CLI_IDLE_TIMEOUT, CLI_GRACE, CLI_DATA_DIR, CLI_NO_KEEPER, CLI_NO_TELEMETRY, CLI_HELP,
    CLI_VERSION
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
    {CLI_TOKEN, 't', "token", "TOKEN", "bearer token that clients must send"},
    {CLI_TOKEN_FILE, 0, "token-file", "FILE", "the same, read from a file"},
    {CLI_NO_TOKEN, 'n', "no-token", NULL, "serve everybody"},
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
    {CLI_NO_KEEPER, 0, "no-keeper", NULL, "run the server alone: processes end with it"},
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
    fprintf(to, "\nThe --cors-allow-* flags with a value can be repeated.\n"
                "The token can also be given in the environment as SANDBOX_AGENT_TOKEN.\n"
                "Without --data-dir it is $XDG_DATA_HOME/sandbox-agent or "
                "~/.local/share/sandbox-agent.\n"
                "upgrade makes the server of that directory start anew from the file of its "
                "program.\n");
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
    case CLI_TOKEN:
        return sbx_config_set_token(c, v, err);
    case CLI_TOKEN_FILE:
        return sbx_config_set_token_file(c, v, err);
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
        if (cli_apply(&run->config, o->flag, value, &err) < 0) {
            if (o->flag != CLI_TOKEN_FILE)
                return cli_wrong(err.text);
            fprintf(stderr, "sandbox-agent: %s\n", err.text);
            return 1;
        }
        if (o->flag == CLI_TOKEN)
            cli_wipe(value);
    }
    return -1;
}

/* The variable is wiped: /proc/PID/environ can be read by every process of the same user. */
static int cli_token_from_env(struct sbx_config *c)
{
    char *value = getenv("SANDBOX_AGENT_TOKEN");
    struct sbx_err err;
    int rc = 0;
    if (value == NULL || value[0] == '\0')
        return 0;
    if (sbx_buf_len(&c->token) == 0)
        rc = sbx_config_set_token(c, value, &err);
    if (rc < 0)
        fprintf(stderr, "sandbox-agent: SANDBOX_AGENT_TOKEN: not a valid token\n");
    else
        memset(value, 0, strlen(value));
    return rc;
}

static int cli_fail(const struct sbx_err *err)
{
    fprintf(stderr, "sandbox-agent: %s\n", err->text);
    return 1;
}

static int cli_serve(struct cli_run *run)
{
    struct sbx_server *server;
    struct sbx_err err;
    int status;
    /* The keeper has the token of its own start; a file may have been read again since. */
    if (run->estate.generation > 1 && sbx_config_reload_token(&run->config, &err) < 0)
        fprintf(stderr, "sandbox-agent: %s; the old token stays\n", err.text);
    server = sbx_server_open(&run->config, sbx_datadir_path(&run->data), &run->estate, &err);
    if (server == NULL)
        return cli_fail(&err);
    if (run->estate.generation <= 1) {
        printf("listening on %s\n", sbx_server_address(server));
        (void)fflush(stdout);
    }
    status = sbx_server_run(server);
    sbx_server_close(server);
    return status;
}

/* The line that a next program gets its secret by has a NUL at its end. */
static const char *cli_secret(struct sbx_config *c)
{
    if (sbx_buf_len(&c->token) == 0 || sbx_buf_reserve(&c->token, 1) == NULL)
        return NULL;
    sbx_buf_data(&c->token)[sbx_buf_len(&c->token)] = '\0';
    return (const char *)sbx_buf_data(&c->token);
}

/* Becomes the keeper of a server, or the server alone. */
static int cli_start(struct cli_run *run)
{
    struct sbx_diag diag = {.level = run->config.log_level};
    struct sbx_keeper_options o = {.diag = &diag, .argv = run->argv, .lock = -1};
    struct sbx_err err;
    int status;
    if (sbx_datadir_open(&run->data, run->config.data_dir, &diag, &err) < 0)
        return cli_fail(&err);
    if (run->config.no_keeper)
        return cli_serve(run);
    o.token = cli_secret(&run->config);
    o.lock = run->data.lock;
    run->data.lock = -1;
    sbx_datadir_sign(o.lock, false);
    status = sbx_keeper_run(&o, &run->estate, &err);
    if (status == -ENOTSUP) {
        sbx_diag(&diag, SBX_DIAG_WARN, "no keeper, processes end with the server: %s", err.text);
        run->data.lock = o.lock;
        sbx_datadir_sign(o.lock, true);
    }
    return status == SBX_KEEPER_SERVER || status == -ENOTSUP ? cli_serve(run) : status;
}

/* A program that was started by a keeper in the place of an older one finds all in order. */
static int cli_continue(struct cli_run *run)
{
    struct sbx_err err;
    if (sbx_datadir_find(&run->data, run->config.data_dir, &err) < 0)
        return cli_fail(&err);
    /* What the first program could not lock is not used by this one either. */
    if (sbx_estate_find(&run->estate, SBX_KEEP_LOCK, 0) == NULL)
        sbx_buf_clear(&run->data.path);
    return cli_serve(run);
}

static int cli_server(int argc, char **argv)
{
    struct cli_run run = {.data = {.lock = -1}, .estate = {.link = -1}};
    struct sbx_err err;
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
    if (status < 0 && sbx_config_check(&run.config, &err) < 0)
        status = cli_fail(&err);
    if (status < 0)
        status = sbx_estate_from_environ(&run.estate) ? cli_continue(&run) : cli_start(&run);
    sbx_estate_deinit(&run.estate);
    sbx_datadir_deinit(&run.data);
    sbx_mem_free(run.argv);
    sbx_config_deinit(&run.config);
    return status;
}

static int cli_upgrade(int argc, char **argv)
{
    const char *dir = NULL;
    struct sbx_err err;
    pid_t owner;
    if (argc == 2 && strcmp(argv[0], "--data-dir") == 0)
        dir = argv[1];
    else if (argc == 1 && strncmp(argv[0], "--data-dir=", 11) == 0)
        dir = argv[0] + 11;
    else if (argc != 0)
        return cli_wrong("usage: sandbox-agent upgrade [--data-dir DIR]");
    if (sbx_datadir_owner(dir, &owner, &err) < 0)
        return cli_fail(&err);
    if (kill(owner, SIGUSR2) < 0) {
        sbx_err_set(&err, errno, "process %ld", (long)owner);
        (void)sbx_err_add_reason(&err);
        return cli_fail(&err);
    }
    printf("process %ld starts its server anew\n", (long)owner);
    return 0;
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
