/* query.h - query parameters: known ones are strict, unknown ones are ignored. */
#ifndef SBX_API_QUERY_H
#define SBX_API_QUERY_H

#include "api/api.h"

#include <stdbool.h>
#include <stdint.h>

enum sbx_param_kind { SBX_PARAM_U64, SBX_PARAM_BOOL, SBX_PARAM_WORD };

struct sbx_param {
    const char *name;
    enum sbx_param_kind kind;
    const char *const *words; /* SBX_PARAM_WORD: allowed ones, NULL at the end */
    /* results */
    bool given;
    uint64_t number;          /* U64; BOOL: 0 or 1; WORD: index into words */
};

/* Reads the parameters out of the request's query. false when one does not parse or is given
 * twice; the request is answered (400) then. */
bool sbx_query_read(struct sbx_request *rq, struct sbx_param *params, size_t n);

#endif
