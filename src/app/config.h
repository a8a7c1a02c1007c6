/* config.h - what the server was told at start: flags, environment, files. */
#ifndef SBX_APP_CONFIG_H
#define SBX_APP_CONFIG_H

#include "api/auth.h"
#include "app/secrets.h"
#include "base/buf.h"
#include "base/err.h"
#include "net/address.h"
#include "os/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SBX_LISTEN_MAX 16u

struct sbx_config {
    const char *host;            /* NULL: not given */
    int32_t port;                /* -1: not given */
    struct sbx_address listen[SBX_LISTEN_MAX]; /* of --listen, and by sbx_config_check of the two */
    size_t nlisten;
    const char **allow_hosts;    /* owned array of borrowed strings */
    size_t nallow_hosts;
    struct sbx_tokens tokens;
    bool no_token;
    const char *token_file;      /* read again on SIGHUP; NULL: none was given */
    const char *tls_cert, *tls_key, *tls_client_ca; /* files, read again on SIGHUP; NULL: none */
    bool tls_self_signed;
    struct sbx_secrets secrets;  /* what was in them */
    uint64_t secrets_wait_us;    /* for a program that writes one of them into a pipe */
    const char *user;            /* to become after binding; NULL: stay */
    bool no_new_privs;
    const char *data_dir;        /* NULL: the default; see datadir.h */
    bool no_keeper;
    bool no_ui;
    const char *ui_dir;          /* NULL: the page is the one in the program */
    int ui_fd;                   /* of ui_dir; -1: not open */
    const char **origins;        /* owned array of borrowed strings */
    size_t norigins;
    struct sbx_buf cors_methods; /* "GET,POST" */
    struct sbx_buf cors_headers; /* lower case */
    bool cors_credentials;
    enum sbx_diag_level log_level;
    uint64_t max_connections;
    uint64_t request_timeout_ms;
    uint64_t idle_timeout_ms;
    uint64_t shutdown_grace_ms;
};

void sbx_config_init(struct sbx_config *c); /* the defaults */
void sbx_config_deinit(struct sbx_config *c);

/* Each takes one value of a flag. 0, or -EINVAL with the flag and the value named in err. */
int sbx_config_set_port(struct sbx_config *c, const char *value, struct sbx_err *err);
int sbx_config_set_token(struct sbx_config *c, const char *value, struct sbx_err *err);
int sbx_config_add_listen(struct sbx_config *c, const char *value, struct sbx_err *err);
int sbx_config_add_allow_host(struct sbx_config *c, const char *value, struct sbx_err *err);
int sbx_config_add_origin(struct sbx_config *c, const char *value, struct sbx_err *err);
int sbx_config_add_method(struct sbx_config *c, const char *value, struct sbx_err *err);
int sbx_config_add_header(struct sbx_config *c, const char *value, struct sbx_err *err);
int sbx_config_set_log_level(struct sbx_config *c, const char *value, struct sbx_err *err);
/* A number of at least `least` for the named flag. */
int sbx_config_set_number(uint64_t *number, const char *flag, const char *value, uint64_t least,
                          struct sbx_err *err);

/* Reads the token file, if one was given, for the first time or again. On failure the tokens of
 * before stay. 0 or -errno. */
int sbx_config_read_tokens(struct sbx_config *c, struct sbx_err *err);

/* Opens ui_dir, if there is one. 0 or -errno. */
int sbx_config_open_ui(struct sbx_config *c, struct sbx_err *err);

static inline bool sbx_config_wants_tls(const struct sbx_config *c)
{
    return c->tls_cert != NULL || c->tls_self_signed;
}

/* Does all fit together? A server that others can reach needs a token, or the explicit wish to
 * have none. Once, after the last flag: --host and --port become the first address to listen on,
 * unless --listen was given without them. 0 or -EINVAL. */
int sbx_config_check(struct sbx_config *c, struct sbx_err *err);

#endif
