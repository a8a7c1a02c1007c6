/* follow.h - a log as an event stream (WHATWG HTML, 9.2 "Server-sent events"). */
#ifndef SBX_API_FOLLOW_H
#define SBX_API_FOLLOW_H

#include "api/api.h"
#include "proc/proc.h"

/* Answers the request with the stream: entries from `next` on, of those streams, then the exit. */
void sbx_follow_start(struct sbx_request *rq, struct sbx_proc *p, uint64_t next, unsigned streams);

/* Header lines of every answer that goes on while the process runs. */
struct sbx_str sbx_follow_headers(void);

#endif
