/* embed.c - the public functions of sandbox_agent.h, for programs that embed the agent. */
#include "app/sandbox_agent.h"
#include "app/cli.h"
#include "app/config.h"
#include "app/datadir.h"
#include "app/server.h"
#include "base/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

struct sandbox_agent {
    struct sbx_config config;
    struct sbx_datadir data;
    struct sbx_server *server;
};

int sandbox_agent_main(int argc, char **argv)
{
    return sbx_cli_main(argc, argv);
}

static int main_configure(struct sbx_config *c, const struct sandbox_agent_options *o,
                          struct sbx_err *err)
{
    size_t i;
    int rc = 0;
    if (o->host != NULL)
        c->host = o->host;
    if (o->port > 65535)
        return sbx_err_set(err, EINVAL, "port %u is above 65535", o->port);
    c->port = (int32_t)o->port;
    if (o->token != NULL && o->token[0] != '\0')
        rc = sbx_config_set_token(c, o->token, err);
    for (i = 0; rc == 0 && i < o->ncors_origins; i++)
        rc = sbx_config_add_origin(c, o->cors_origins[i], err);
    if (rc == 0 && o->log_level != NULL)
        rc = sbx_config_set_log_level(c, o->log_level, err);
    c->data_dir = o->data_dir != NULL ? o->data_dir : ":memory:";
    return rc < 0 ? rc : sbx_config_check(c, err);
}

static int main_open(struct sandbox_agent *a, const struct sandbox_agent_options *o,
                     struct sbx_err *err)
{
    struct sbx_diag diag;
    int rc = main_configure(&a->config, o, err);
    diag.level = a->config.log_level;
    if (rc == 0)
        rc = sbx_datadir_open(&a->data, a->config.data_dir, &diag, err);
    if (rc < 0)
        return rc;
    a->server = sbx_server_open(&a->config, &a->data, NULL, err);
    return a->server == NULL ? err->code : 0;
}

struct sandbox_agent *sandbox_agent_open(const struct sandbox_agent_options *options, char *error,
                                         size_t error_size)
{
    struct sandbox_agent *a = sbx_mem_calloc(sizeof *a);
    struct sbx_err err = {.code = -ENOMEM, .text = "out of memory"};
    if (a != NULL) {
        sbx_config_init(&a->config);
        a->data.lock = -1;
        if (main_open(a, options, &err) == 0)
            return a;
        sbx_datadir_deinit(&a->data);
        sbx_config_deinit(&a->config);
        sbx_mem_free(a);
    }
    if (error_size > 0)
        (void)snprintf(error, error_size, "%s", err.text);
    return NULL;
}

const char *sandbox_agent_address(const struct sandbox_agent *agent)
{
    return sbx_server_address(agent->server, 0);
}

int sandbox_agent_run(struct sandbox_agent *agent)
{
    return sbx_server_run(agent->server);
}

void sandbox_agent_stop(struct sandbox_agent *agent)
{
    (void)agent;
    (void)kill(getpid(), SIGTERM);
}

void sandbox_agent_close(struct sandbox_agent *agent)
{
    sbx_server_close(agent->server);
    sbx_datadir_deinit(&agent->data);
    sbx_config_deinit(&agent->config);
    sbx_mem_free(agent);
}
