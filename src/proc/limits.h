/* limits.h - the limits that clients read and set (GET and POST /v1/processes/config). */
#ifndef SBX_PROC_LIMITS_H
#define SBX_PROC_LIMITS_H

#include "base/err.h"

#include <stdint.h>

struct sbx_limits {
    uint64_t max_concurrent_processes;
    uint64_t default_run_timeout_ms;
    uint64_t max_run_timeout_ms;
    uint64_t max_output_bytes;            /* of one stream of a run */
    uint64_t max_log_bytes_per_process;   /* fixed for a process when it is created */
    uint64_t max_input_bytes_per_request; /* decoded */
    uint64_t max_log_bytes_total;         /* of all processes */
    uint64_t max_exited_processes;        /* records kept */
};

void sbx_limits_default(struct sbx_limits *l);

/* Refuses zeros with the sentence of the contract; lowers the default timeout to the maximum.
 * 0 or -EINVAL. */
int sbx_limits_check(struct sbx_limits *l, struct sbx_err *err);

/* Bytes of input that may wait for one process: several requests, never less than 1 MiB. */
uint64_t sbx_limits_input_queue(const struct sbx_limits *l);

#endif
