/* config.c - see config.h. */
#include "app/config.h"
#include "api/origin.h"
#include "api/ui_dir.h"
#include "base/mem.h"
#include "os/fd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CONFIG_HOST "127.0.0.1"
#define CONFIG_PORT 2468

void sbx_config_init(struct sbx_config *c)
{
    *c = (struct sbx_config){
        .port = -1,
        .ui_fd = -1,
        .log_level = SBX_DIAG_INFO,
        .max_connections = 8192,
        .request_timeout_ms = 60000,
        .idle_timeout_ms = 300000,
        .shutdown_grace_ms = 1500,
        .secrets_wait_us = 2000000,
    };
    sbx_tokens_init(&c->tokens);
    sbx_secrets_init(&c->secrets);
    sbx_buf_init(&c->cors_methods);
    sbx_buf_init(&c->cors_headers);
}

void sbx_config_deinit(struct sbx_config *c)
{
    sbx_tokens_deinit(&c->tokens);
    sbx_secrets_deinit(&c->secrets);
    sbx_buf_deinit(&c->cors_methods);
    sbx_buf_deinit(&c->cors_headers);
    sbx_fd_close(&c->ui_fd);
    sbx_mem_free(c->origins);
    sbx_mem_free(c->allow_hosts);
}

int sbx_config_set_number(uint64_t *number, const char *flag, const char *value, uint64_t least,
                          struct sbx_err *err)
{
    if (sbx_str_to_u64(sbx_str_z(value), number) < 0 || *number > INT64_MAX / 1000)
        return sbx_err_set(err, EINVAL, "%s \"%s\" is not a number", flag, value);
    if (*number < least)
        return sbx_err_set(err, EINVAL, "%s %s is below %llu", flag, value,
                           (unsigned long long)least);
    return 0;
}

int sbx_config_set_port(struct sbx_config *c, const char *value, struct sbx_err *err)
{
    uint64_t n;
    if (sbx_str_to_u64(sbx_str_z(value), &n) < 0 || n > 65535)
        return sbx_err_set(err, EINVAL, "--port \"%s\" is not a number from 0 to 65535", value);
    c->port = (int32_t)n;
    return 0;
}

int sbx_config_set_token(struct sbx_config *c, const char *value, struct sbx_err *err)
{
    return sbx_tokens_add(&c->tokens, sbx_str_z(value), SBX_SCOPE_FULL, "--token", err);
}

int sbx_config_read_tokens(struct sbx_config *c, struct sbx_err *err)
{
    if (c->token_file == NULL)
        return 0;
    return sbx_secrets_read_tokens(&c->tokens, c->token_file, c->secrets_wait_us, err);
}

/* Both ways: the port that the system will choose is none of those named. */
static bool config_is_listed(const struct sbx_config *c, const struct sbx_address *a)
{
    size_t i;
    for (i = 0; i < c->nlisten; i++)
        if (sbx_address_is(a, &c->listen[i]) && sbx_address_is(&c->listen[i], a))
            return true;
    return false;
}

int sbx_config_add_listen(struct sbx_config *c, const char *value, struct sbx_err *err)
{
    struct sbx_address a;
    if (sbx_address_parse(&a, value, err) < 0)
        return err->code;
    if (config_is_listed(c, &a))
        return sbx_err_set(err, EINVAL, "--listen \"%s\" is given twice", value);
    /* One place is left for --host and --port. */
    if (c->nlisten == SBX_LISTEN_MAX - 1)
        return sbx_err_set(err, EINVAL, "--listen \"%s\": more than %u addresses", value,
                           SBX_LISTEN_MAX - 1);
    c->listen[c->nlisten++] = a;
    return 0;
}

int sbx_config_open_ui(struct sbx_config *c, struct sbx_err *err)
{
    if (c->ui_dir == NULL)
        return 0;
    c->ui_fd = sbx_ui_dir_open(c->ui_dir, err);
    return c->ui_fd < 0 ? c->ui_fd : 0;
}

static int config_add_word(const char ***list, size_t *n, const char *value, struct sbx_err *err)
{
    const char **more = sbx_mem_realloc(*list, (*n + 1) * sizeof *more);
    if (more == NULL)
        return sbx_err_set(err, ENOMEM, "out of memory");
    more[(*n)++] = value;
    *list = more;
    return 0;
}

int sbx_config_add_allow_host(struct sbx_config *c, const char *value, struct sbx_err *err)
{
    if (sbx_host_pattern_check(value) < 0)
        return sbx_err_set(err, EINVAL, "--allow-host \"%s\" is not a host name like "
                                        "agent.example, agent.example:8443, *.example or *", value);
    return config_add_word(&c->allow_hosts, &c->nallow_hosts, value, err);
}

int sbx_config_add_origin(struct sbx_config *c, const char *value, struct sbx_err *err)
{
    const char *colon = strstr(value, "://");
    if (strcmp(value, "*") != 0 && (colon == NULL || colon == value || colon[3] == '\0'))
        return sbx_err_set(err, EINVAL,
                           "--cors-allow-origin \"%s\" is not an origin like https://app.example",
                           value);
    if (colon != NULL && strchr(colon + 3, '/') != NULL)
        return sbx_err_set(err, EINVAL,
                           "--cors-allow-origin \"%s\": an origin has no path and no final slash",
                           value);
    return config_add_word(&c->origins, &c->norigins, value, err);
}

static bool config_is_token(const char *s)
{
    if (*s == '\0')
        return false;
    for (; *s != '\0'; s++)
        if (strchr("!#$%&'*+-.^_`|~0123456789"
                   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", *s) == NULL)
            return false;
    return true;
}

static int config_add_to_list(struct sbx_buf *list, const char *flag, const char *value,
                              struct sbx_err *err)
{
    if (!config_is_token(value))
        return sbx_err_set(err, EINVAL, "%s \"%s\" is not a valid name", flag, value);
    if (sbx_buf_len(list) > 0)
        sbx_buf_add_byte(list, ',');
    sbx_buf_add_z(list, value);
    return list->oom ? sbx_err_set(err, ENOMEM, "out of memory") : 0;
}

int sbx_config_add_method(struct sbx_config *c, const char *value, struct sbx_err *err)
{
    return config_add_to_list(&c->cors_methods, "--cors-allow-method", value, err);
}

int sbx_config_add_header(struct sbx_config *c, const char *value, struct sbx_err *err)
{
    size_t i;
    int rc = config_add_to_list(&c->cors_headers, "--cors-allow-header", value, err);
    for (i = c->cors_headers.head; i < c->cors_headers.tail; i++) {
        uint8_t b = c->cors_headers.mem[i];
        c->cors_headers.mem[i] = (uint8_t)(b >= 'A' && b <= 'Z' ? b + 32 : b);
    }
    return rc;
}

int sbx_config_set_log_level(struct sbx_config *c, const char *value, struct sbx_err *err)
{
    if (sbx_diag_parse_level(value, &c->log_level) < 0)
        return sbx_err_set(err, EINVAL, "--log-level \"%s\" is none of error, warn, info, debug",
                           value);
    return 0;
}

static int config_check_tls(const struct sbx_config *c, struct sbx_err *err)
{
    if (c->tls_self_signed && (c->tls_cert != NULL || c->tls_key != NULL))
        return sbx_err_set(err, EINVAL,
                           "--tls-self-signed makes its own certificate: without --tls-cert and "
                           "--tls-key");
    if (c->tls_cert != NULL && c->tls_key == NULL)
        return sbx_err_set(err, EINVAL, "--tls-cert needs --tls-key");
    if (c->tls_key != NULL && c->tls_cert == NULL)
        return sbx_err_set(err, EINVAL, "--tls-key needs --tls-cert");
    if (c->tls_client_ca != NULL && !sbx_config_wants_tls(c))
        return sbx_err_set(err, EINVAL, "--tls-client-ca needs --tls-cert or --tls-self-signed");
    return 0;
}

/* The address of --host and --port comes first. */
static int config_take_host(struct sbx_config *c, struct sbx_err *err)
{
    const char *host = c->host != NULL ? c->host : CONFIG_HOST;
    struct sbx_address a;
    if (c->host == NULL && c->port < 0 && c->nlisten > 0)
        return 0;
    if (sbx_address_of_host(&a, sbx_str_z(host),
                            (uint16_t)(c->port < 0 ? CONFIG_PORT : c->port)) < 0)
        return sbx_err_set(err, EINVAL, "--host \"%s\" is not an IP address", host);
    if (config_is_listed(c, &a))
        return sbx_err_set(err, EINVAL, "--host and --port name an address that --listen names");
    memmove(c->listen + 1, c->listen, c->nlisten * sizeof c->listen[0]);
    c->listen[0] = a;
    c->nlisten++;
    return 0;
}

int sbx_config_check(struct sbx_config *c, struct sbx_err *err)
{
    char text[SBX_ADDRESS_TEXT];
    size_t i;
    if (c->no_ui && c->ui_dir != NULL)
        return sbx_err_set(err, EINVAL, "--no-ui and --ui-dir exclude each other");
    if (config_take_host(c, err) < 0 || config_check_tls(c, err) < 0)
        return err->code;
    for (i = 0; i < c->nlisten && c->tokens.count == 0 && !c->no_token; i++) {
        if (sbx_address_is_local(&c->listen[i]))
            continue;
        sbx_address_format(&c->listen[i], text, sizeof text);
        return sbx_err_set(err, EINVAL,
                           "%s can be reached by others: give --token or --token-file, or "
                           "--no-token to serve everybody", text);
    }
    return 0;
}
