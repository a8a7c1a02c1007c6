/* limits.c - see limits.h. */
#include "proc/limits.h"

#include <errno.h>

void sbx_limits_default(struct sbx_limits *l)
{
    *l = (struct sbx_limits){
        .max_concurrent_processes = 64,
        .default_run_timeout_ms = 30000,
        .max_run_timeout_ms = 300000,
        .max_output_bytes = 1048576,
        .max_log_bytes_per_process = 10485760,
        .max_input_bytes_per_request = 65536,
        .max_log_bytes_total = 1073741824,
        .max_exited_processes = 1000,
    };
}

int sbx_limits_check(struct sbx_limits *l, struct sbx_err *err)
{
    if (l->max_concurrent_processes == 0)
        return sbx_err_set(err, EINVAL, "maxConcurrentProcesses must be greater than 0");
    if (l->max_exited_processes == 0)
        return sbx_err_set(err, EINVAL, "maxExitedProcesses must be greater than 0");
    if (l->default_run_timeout_ms == 0 || l->max_run_timeout_ms == 0)
        return sbx_err_set(err, EINVAL, "timeouts must be greater than 0");
    if (l->max_output_bytes == 0 || l->max_log_bytes_per_process == 0 ||
        l->max_input_bytes_per_request == 0 || l->max_log_bytes_total == 0)
        return sbx_err_set(err, EINVAL, "byte limits must be greater than 0");
    if (l->default_run_timeout_ms > l->max_run_timeout_ms)
        l->default_run_timeout_ms = l->max_run_timeout_ms;
    return 0;
}

uint64_t sbx_limits_input_queue(const struct sbx_limits *l)
{
    uint64_t one = l->max_input_bytes_per_request;
    uint64_t four = one > UINT64_MAX / 4 ? UINT64_MAX : one * 4;
    return four < 1048576 ? 1048576 : four;
}
