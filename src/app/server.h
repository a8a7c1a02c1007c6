/* server.h - everything wired together: processes, connections, signals, and the end. */
#ifndef SBX_APP_SERVER_H
#define SBX_APP_SERVER_H

#include "app/config.h"
#include "app/datadir.h"
#include "proc/estate.h"

struct sbx_server;

/* Listens. data: where to keep things, if anywhere; its lock is taken from the estate, if there is
 * one. estate: of an earlier server, and the line to the keeper; NULL: it runs alone. NULL and err
 * on failure. `config` and `data` must outlive the server. */
struct sbx_server *sbx_server_open(struct sbx_config *config, struct sbx_datadir *data,
                                   struct sbx_estate *estate, struct sbx_err *err);
/* Of the i-th address of the configuration. */
const char *sbx_server_address(const struct sbx_server *s, size_t i);
/* Of the certificate; empty without TLS. */
const char *sbx_server_fingerprint(const struct sbx_server *s);
/* Serves until SIGTERM or SIGINT, and then ends processes and itself; or, under a keeper, until
 * SIGUSR2, and then leaves the processes to the next server. Returns 0. */
int sbx_server_run(struct sbx_server *s);
void sbx_server_close(struct sbx_server *s);

#endif
