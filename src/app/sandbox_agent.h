/* sandbox_agent.h - the two-file drop-in: sandbox_agent.c and this header.
 *
 *   cc -O2 sandbox_agent.c -lsqlite3 -lmbedtls -lmbedx509 -lmbedcrypto      the program
 *   cc -O2 -DSBX_NO_TLS -DSBX_NO_SQLITE sandbox_agent.c                     without libraries
 *   cc -O2 -DSBX_NO_MAIN -c sandbox_agent.c                       to be linked elsewhere
 *
 * A program that embeds the agent uses open, run, stop and close. There can be one agent in a
 * process: it owns the process's signal handlers (CHLD, TERM, INT, HUP, USR2) and reaps its
 * children. It runs without a keeper: processes end with it. */
#ifndef SANDBOX_AGENT_H
#define SANDBOX_AGENT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SANDBOX_AGENT_VERSION "0.1.0"

/* The command line program: `sandbox-agent server ...`. Returns the exit status. */
int sandbox_agent_main(int argc, char **argv);

struct sandbox_agent;

struct sandbox_agent_options {
    const char *host;  /* IP address; NULL: 127.0.0.1 */
    unsigned port;     /* 0..65535; 0: the system chooses */
    const char *token; /* NULL or "": everybody is served, on loopback addresses only */
    const char *const *cors_origins; /* allowed web origins */
    size_t ncors_origins;
    const char *log_level;            /* "error", "warn", "info", "debug"; NULL: "info" */
    const char *data_dir; /* where records and logs are kept; NULL: nowhere, they end with close */
};

/* Listens. NULL, and a sentence in error (at most error_size bytes with its NUL), on failure. */
struct sandbox_agent *sandbox_agent_open(const struct sandbox_agent_options *options, char *error,
                                         size_t error_size);
/* "http://127.0.0.1:2468"; borrowed, until close. */
const char *sandbox_agent_address(const struct sandbox_agent *agent);
/* Serves until sandbox_agent_stop, SIGTERM or SIGINT; then ends all processes and returns 0. */
int sandbox_agent_run(struct sandbox_agent *agent);
/* Makes run return soon. May be called from another thread or a signal handler. */
void sandbox_agent_stop(struct sandbox_agent *agent);
void sandbox_agent_close(struct sandbox_agent *agent);

#ifdef __cplusplus
}
#endif

#endif
