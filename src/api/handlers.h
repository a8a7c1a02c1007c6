/* handlers.h - the handlers that the route table names, one for each operation. Each answers the
 * request with exactly one of reply, defer, stream or upgrade (net/conn.h). */
#ifndef SBX_API_HANDLERS_H
#define SBX_API_HANDLERS_H

#include "api/api.h"

void sbx_api_get_root(struct sbx_request *rq);
void sbx_api_get_healthz(struct sbx_request *rq);
void sbx_api_get_health(struct sbx_request *rq);
void sbx_api_get_openapi(struct sbx_request *rq);
void sbx_api_list_processes(struct sbx_request *rq);
void sbx_api_create_process(struct sbx_request *rq);
void sbx_api_get_process(struct sbx_request *rq);
void sbx_api_delete_process(struct sbx_request *rq);
void sbx_api_get_config(struct sbx_request *rq);
void sbx_api_set_config(struct sbx_request *rq);
void sbx_api_run_process(struct sbx_request *rq);
void sbx_api_stop_process(struct sbx_request *rq);
void sbx_api_kill_process(struct sbx_request *rq);
void sbx_api_get_logs(struct sbx_request *rq);
void sbx_api_send_input(struct sbx_request *rq);
void sbx_api_resize_terminal(struct sbx_request *rq);
void sbx_api_connect_terminal(struct sbx_request *rq);
void sbx_api_create_ticket(struct sbx_request *rq);
void sbx_api_get_ui_redirect(struct sbx_request *rq);
void sbx_api_get_ui(struct sbx_request *rq);

#endif
