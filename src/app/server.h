/* server.h - everything wired together: processes, connections, signals, and the end. */
#ifndef SBX_APP_SERVER_H
#define SBX_APP_SERVER_H

#include "app/config.h"

struct sbx_server;

/* Listens. NULL and err on failure. `config` must outlive the server. */
struct sbx_server *sbx_server_open(const struct sbx_config *config, struct sbx_err *err);
const char *sbx_server_address(const struct sbx_server *s);
/* Serves until SIGTERM, SIGINT or SIGHUP; then ends gracefully and returns 0. */
int sbx_server_run(struct sbx_server *s);
void sbx_server_close(struct sbx_server *s);

#endif
