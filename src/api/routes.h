/* routes.h - every endpoint: one row each, in one table. */
#ifndef SBX_API_ROUTES_H
#define SBX_API_ROUTES_H

#include "api/api.h"

enum sbx_route_flags {
    SBX_ROUTE_JSON = 1,       /* takes a JSON body */
    SBX_ROUTE_TERMINAL = 2,   /* WebSocket: token in the query too, no HEAD */
    SBX_ROUTE_INPUT = 4,      /* its body may be as long as the input limit needs */
    SBX_ROUTE_OPEN = 8,       /* no token needed */
    SBX_ROUTE_STARTS = 16,    /* starts a process: refused while the server stops */
    SBX_ROUTE_READS = 32,     /* changes nothing although it is a POST */
    SBX_ROUTE_TICKET = 64,    /* a ticket opens it, a stream of it where it has others */
    SBX_ROUTE_PUBLIC = 128    /* the same answer for everybody: pages of any origin may ask */
};

struct sbx_route {
    const char *method;
    const char *path;         /* with "{id}" where the process id is, "{path}" for a rest */
    const char *operation;    /* operationId in openapi.json */
    void (*handle)(struct sbx_request *rq);
    unsigned flags;
};

/* The table; ends with a row without path. Rows of one path are adjacent. */
const struct sbx_route *sbx_routes(void);

/* First row whose path matches, NULL when none; *id is the undecoded segment of "{id}", else
 * empty. */
const struct sbx_route *sbx_route_find(struct sbx_str path, struct sbx_str *id);
/* The row of the same path for that method (HEAD is GET), NULL when there is none. */
const struct sbx_route *sbx_route_method(const struct sbx_route *first, struct sbx_str method);
/* "GET,HEAD,POST" for the path of that row. */
void sbx_route_put_allow(const struct sbx_route *first, struct sbx_buf *out);

#endif
