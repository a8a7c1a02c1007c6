/* config.h - what the server was told at start: flags, environment, files. */
#ifndef SBX_APP_CONFIG_H
#define SBX_APP_CONFIG_H

#include "base/buf.h"
#include "base/err.h"
#include "os/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sbx_config {
    const char *host;
    uint16_t port;
    struct sbx_buf token;        /* empty: none */
    bool no_token;
    const char *token_file;      /* read again on SIGHUP; NULL: none was given */
    const char *data_dir;        /* NULL: the default; see datadir.h */
    bool no_keeper;
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
int sbx_config_set_token_file(struct sbx_config *c, const char *path, struct sbx_err *err);
/* Reads the token file again. On failure the old token stays. 0 or -errno. */
int sbx_config_reload_token(struct sbx_config *c, struct sbx_err *err);
int sbx_config_add_origin(struct sbx_config *c, const char *value, struct sbx_err *err);
int sbx_config_add_method(struct sbx_config *c, const char *value, struct sbx_err *err);
int sbx_config_add_header(struct sbx_config *c, const char *value, struct sbx_err *err);
int sbx_config_set_log_level(struct sbx_config *c, const char *value, struct sbx_err *err);
/* A number of at least `least` for the named flag. */
int sbx_config_set_number(uint64_t *number, const char *flag, const char *value, uint64_t least,
                          struct sbx_err *err);

/* Does all fit together? A server that others can reach needs a token, or the explicit wish to
 * have none. 0 or -EINVAL. */
int sbx_config_check(const struct sbx_config *c, struct sbx_err *err);

#endif
