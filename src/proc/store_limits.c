/* store_limits.c - the limits in the file: each by the name that clients know it by. A name that is
 * stored and unknown here is skipped; limits that contradict each other are not taken at all. */
#include "proc/store_state.h"

#include <string.h>

static const struct {
    const char *name;
    size_t at;
} store_settings[] = {
    {"maxConcurrentProcesses", offsetof(struct sbx_limits, max_concurrent_processes)},
    {"defaultRunTimeoutMs", offsetof(struct sbx_limits, default_run_timeout_ms)},
    {"maxRunTimeoutMs", offsetof(struct sbx_limits, max_run_timeout_ms)},
    {"maxOutputBytes", offsetof(struct sbx_limits, max_output_bytes)},
    {"maxLogBytesPerProcess", offsetof(struct sbx_limits, max_log_bytes_per_process)},
    {"maxInputBytesPerRequest", offsetof(struct sbx_limits, max_input_bytes_per_request)},
    {"maxLogBytesTotal", offsetof(struct sbx_limits, max_log_bytes_total)},
    {"maxExitedProcesses", offsetof(struct sbx_limits, max_exited_processes)},
};

int sbx_store_put_limits(struct sbx_store *s)
{
    size_t i;
    int rc = 0;
    for (i = 0; rc == 0 && i < sizeof store_settings / sizeof store_settings[0]; i++) {
        uint64_t value;
        memcpy(&value, (const char *)s->o.limits + store_settings[i].at, sizeof value);
        rc = sbx_db_put_config(s->db, store_settings[i].name, value);
    }
    return rc;
}

static void store_take_limit(void *ctx, const char *name, uint64_t value)
{
    struct sbx_limits *l = ctx;
    size_t i;
    for (i = 0; i < sizeof store_settings / sizeof store_settings[0]; i++)
        if (strcmp(name, store_settings[i].name) == 0)
            memcpy((char *)l + store_settings[i].at, &value, sizeof value);
}

int sbx_store_load_limits(struct sbx_store *s, struct sbx_limits *l)
{
    struct sbx_limits read = *l;
    struct sbx_err err;
    int rc;
    if (s->db == NULL || s->limits_dirty)
        return 0;
    rc = sbx_db_load_config(s->db, store_take_limit, &read);
    if (rc == 0 && sbx_limits_check(&read, &err) == 0)
        *l = read;
    return rc;
}

void sbx_store_limits(struct sbx_store *s)
{
    if (!sbx_store_has_file(s))
        return;
    s->limits_dirty = true;
    sbx_store_soon(s);
}
