/* cli.c - see cli.h. One table row a flag; `set` takes the value. */
#include "app/cli.h"
#include "api/routes.h"
#include "app/config.h"
#include "app/sandbox_agent.h"
#include "app/server.h"
#include "net/tls.h"
#include "proc/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum cli_flag {
    CLI_HOST, CLI_PORT, CLI_TOKEN, CLI_TOKEN_FILE, CLI_NO_TOKEN, CLI_ORIGIN, CLI_METHOD,
    CLI_HEADER, CLI_CREDENTIALS, CLI_LOG_LEVEL, CLI_MAX_CONNECTIONS, CLI_REQUEST_TIMEOUT,
    CLI_IDLE_TIMEOUT, CLI_GRACE, CLI_NO_TELEMETRY, CLI_HELP, CLI_VERSION
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
    {CLI_NO_TELEMETRY, 0, "no-telemetry", NULL, "accepted for compatibility; there is none"},
    {CLI_HELP, 'h', "help", NULL, "show this help"},
    {CLI_VERSION, 'V', "version", NULL, "show the version"},
};

#define CLI_OPTIONS (sizeof cli_options / sizeof cli_options[0])

static void cli_usage(FILE *to)
{
    size_t i;
    fprintf(to, "usage: sandbox-agent server [OPTIONS]\n"
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
                "The token can also be given in the environment as SANDBOX_AGENT_TOKEN.\n");
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
               sbx_store_backend(), sbx_tls_backend());
    else
        cli_usage(stdout);
    return 0;
}

/* -1: go on. Otherwise the exit status. */
static int cli_parse(struct sbx_config *c, int argc, char **argv)
{
    bool token_given = false;
    struct sbx_err err;
    int i;
    for (i = 0; i < argc; i++) {
        char *value;
        const struct cli_option *o = cli_find(argv[i], &value);
        if (o == NULL)
            sbx_err_set(&err, EINVAL, "unknown option \"%s\"", argv[i]);
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
        if (o->value != NULL && value == NULL)
            value = argv[++i];
        if (o->flag == CLI_TOKEN || o->flag == CLI_TOKEN_FILE) {
            if (token_given)
                return cli_wrong("give the token once, by --token or by --token-file");
            token_given = true;
        }
        if (cli_apply(c, o->flag, value, &err) < 0) {
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

static int cli_token_from_env(struct sbx_config *c)
{
    const char *value = getenv("SANDBOX_AGENT_TOKEN");
    struct sbx_err err;
    if (value == NULL || value[0] == '\0' || sbx_buf_len(&c->token) > 0)
        return 0;
    if (sbx_config_set_token(c, value, &err) == 0)
        return 0;
    fprintf(stderr, "sandbox-agent: SANDBOX_AGENT_TOKEN: not a valid token\n");
    return -EINVAL;
}

static int cli_serve(struct sbx_config *c)
{
    struct sbx_server *server;
    struct sbx_err err;
    int status;
    if (cli_token_from_env(c) < 0)
        return 1;
    server = sbx_config_check(c, &err) < 0 ? NULL : sbx_server_open(c, &err);
    if (server == NULL) {
        fprintf(stderr, "sandbox-agent: %s\n", err.text);
        return 1;
    }
    printf("listening on %s\n", sbx_server_address(server));
    (void)fflush(stdout);
    status = sbx_server_run(server);
    sbx_server_close(server);
    return status;
}

static int cli_server(int argc, char **argv)
{
    struct sbx_config config;
    int status;
    sbx_config_init(&config);
    status = cli_parse(&config, argc, argv);
    if (status < 0)
        status = cli_serve(&config);
    sbx_config_deinit(&config);
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
