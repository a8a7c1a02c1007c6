/* config.c - see config.h. */
#include "app/config.h"
#include "base/mem.h"
#include "net/listener.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define CONFIG_TOKEN_MAX 1024u

void sbx_config_init(struct sbx_config *c)
{
    *c = (struct sbx_config){
        .host = "127.0.0.1",
        .port = 2468,
        .log_level = SBX_DIAG_INFO,
        .max_connections = 8192,
        .request_timeout_ms = 60000,
        .idle_timeout_ms = 300000,
        .shutdown_grace_ms = 1500,
    };
    sbx_buf_init(&c->token);
    sbx_buf_init(&c->cors_methods);
    sbx_buf_init(&c->cors_headers);
}

void sbx_config_deinit(struct sbx_config *c)
{
    if (c->token.mem != NULL)
        memset(c->token.mem, 0, c->token.cap);
    sbx_buf_deinit(&c->token);
    sbx_buf_deinit(&c->cors_methods);
    sbx_buf_deinit(&c->cors_headers);
    sbx_mem_free(c->origins);
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
    c->port = (uint16_t)n;
    return 0;
}

/* What can stand in a header field: a token with other bytes could never be sent to us. */
static int config_take_token(struct sbx_config *c, struct sbx_str token, const char *where,
                             struct sbx_err *err)
{
    size_t i;
    if (token.n == 0)
        return sbx_err_set(err, EINVAL, "the token in %s is empty", where);
    if (token.n > CONFIG_TOKEN_MAX)
        return sbx_err_set(err, EINVAL, "the token in %s is longer than %u bytes", where,
                           CONFIG_TOKEN_MAX);
    for (i = 0; i < token.n; i++)
        if ((unsigned char)token.p[i] < 0x20 || (unsigned char)token.p[i] == 0x7f)
            return sbx_err_set(err, EINVAL, "the token in %s has control characters", where);
    if (sbx_str_trim(token).n != token.n)
        return sbx_err_set(err, EINVAL, "the token in %s begins or ends with a blank", where);
    /* Room first: a token that cannot be kept must not cost the one there is. */
    if (sbx_buf_reserve(&c->token, token.n) == NULL) {
        c->token.oom = false;
        return sbx_err_set(err, ENOMEM, "out of memory");
    }
    sbx_buf_clear(&c->token);
    sbx_buf_add_str(&c->token, token);
    return c->token.oom ? sbx_err_set(err, ENOMEM, "out of memory") : 0;
}

int sbx_config_set_token(struct sbx_config *c, const char *value, struct sbx_err *err)
{
    return config_take_token(c, sbx_str_z(value), "--token", err);
}

int sbx_config_set_token_file(struct sbx_config *c, const char *path, struct sbx_err *err)
{
    char text[CONFIG_TOKEN_MAX + 8], where[220];
    struct sbx_str token;
    ssize_t got = -1;
    int rc, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        sbx_err_set(err, errno, "cannot read --token-file %s", path);
        return sbx_err_add_reason(err);
    }
    got = sbx_fd_read(fd, text, sizeof text);
    sbx_fd_close(&fd);
    if (got < 0) {
        sbx_err_set(err, (int)got, "cannot read --token-file %s", path);
        return sbx_err_add_reason(err);
    }
    token = (struct sbx_str){text, (size_t)got};
    while (token.n > 0 && (token.p[token.n - 1] == '\n' || token.p[token.n - 1] == '\r'))
        token.n--;
    (void)snprintf(where, sizeof where, "--token-file %.200s", path);
    rc = config_take_token(c, token, where, err);
    if (rc == 0)
        c->token_file = path;
    memset(text, 0, sizeof text);
    return rc;
}

int sbx_config_reload_token(struct sbx_config *c, struct sbx_err *err)
{
    return c->token_file == NULL ? 0 : sbx_config_set_token_file(c, c->token_file, err);
}

int sbx_config_add_origin(struct sbx_config *c, const char *value, struct sbx_err *err)
{
    const char **more;
    const char *colon = strstr(value, "://");
    if (strcmp(value, "*") != 0 && (colon == NULL || colon == value || colon[3] == '\0'))
        return sbx_err_set(err, EINVAL,
                           "--cors-allow-origin \"%s\" is not an origin like https://app.example",
                           value);
    if (colon != NULL && strchr(colon + 3, '/') != NULL)
        return sbx_err_set(err, EINVAL,
                           "--cors-allow-origin \"%s\": an origin has no path and no final slash",
                           value);
    more = sbx_mem_realloc(c->origins, (c->norigins + 1) * sizeof *more);
    if (more == NULL)
        return sbx_err_set(err, ENOMEM, "out of memory");
    more[c->norigins++] = value;
    c->origins = more;
    return 0;
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

int sbx_config_check(const struct sbx_config *c, struct sbx_err *err)
{
    if (!sbx_host_is_address(c->host))
        return sbx_err_set(err, EINVAL, "--host \"%s\" is not an IP address", c->host);
    if (sbx_buf_len(&c->token) == 0 && !c->no_token && !sbx_host_is_loopback(c->host))
        return sbx_err_set(err, EINVAL,
                           "--host %s can be reached by others: give --token or --token-file, or "
                           "--no-token to serve everybody", c->host);
    return 0;
}
