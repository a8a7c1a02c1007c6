/* input_request.h - an input as clients send it, over HTTP and over a terminal's WebSocket. */
#ifndef SBX_API_INPUT_REQUEST_H
#define SBX_API_INPUT_REQUEST_H

#include "api/fields.h"
#include "proc/proc.h"

#include <stdbool.h>

struct sbx_input_request {
    struct sbx_str bytes; /* in `owned`, or in the JSON document */
    uint8_t *owned;       /* freed by sbx_input_request_free */
    bool eof;
};

/* Reads data, encoding and eof. 0, or the status to refuse with; the sentence is in f->err. */
int sbx_input_request_read(struct sbx_fields *f, bool utf8_by_default, uint64_t limit,
                           struct sbx_input_request *in);
void sbx_input_request_free(struct sbx_input_request *in);

/* Gives bytes to the process. 0, or 409, 429, 502 or 503 with the message in err. */
int sbx_input_send_to(struct sbx_proc *p, struct sbx_str bytes, bool eof, struct sbx_err *err);

#endif
