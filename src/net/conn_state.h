/* conn_state.h - a connection from inside: what the files that make up net/conn share. Nobody else
 * includes it.
 *
 *   conn.c         opening, waiting, handshakes, writing, time, the source's turn
 *   conn_read.c    from bytes to requests
 *   conn_answer.c  answers, streams and upgrades into the output queue
 *   conn_state.c   the state, its deadline, and the end */
#ifndef SBX_NET_CONN_STATE_H
#define SBX_NET_CONN_STATE_H

#include "net/conn.h"

#define SBX_CONN_PIPELINE_BYTES (16u * 1024u) /* unsent answers above which no request is begun */
#define SBX_CONN_FINISH_US 30000000u
#define SBX_CONN_STALL_US 60000000u /* an answer that is written as it is taken, and is not taken */
#define SBX_CONN_NEVER UINT64_MAX

/* --- conn_state.c --- */

/* The one setter; the transition has to be in the table. */
void sbx_conn_set_state(struct sbx_conn *c, enum sbx_conn_state state);
void sbx_conn_assert(const struct sbx_conn *c);
/* SBX_CONN_NEVER: no deadline. */
void sbx_conn_set_due(struct sbx_conn *c, uint64_t due_us);
void sbx_conn_set_idle(struct sbx_conn *c);
void sbx_conn_begin_request_clock(struct sbx_conn *c); /* unless it runs */
/* Are bytes of the peer of use now? */
bool sbx_conn_wants_input(const struct sbx_conn *c);
bool sbx_conn_body_pending(const struct sbx_conn *c);
void sbx_conn_want_flush(struct sbx_conn *c);
/* To FINISH: write what is queued, then close. */
void sbx_conn_finish(struct sbx_conn *c);

/* --- conn_read.c --- */

/* Reads once and goes on with what came. */
void sbx_conn_on_readable(struct sbx_conn *c);
/* Goes on with the connection's own input, after an answer. */
void sbx_conn_process_own(struct sbx_conn *c);
/* The connection answers by itself, and closes. */
void sbx_conn_refuse(struct sbx_conn *c, const struct sbx_http_request *req, int status,
                     const char *reason);

#endif
