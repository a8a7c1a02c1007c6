/* input_request.c - see input_request.h. */
#include "api/input_request.h"
#include "base/base64.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>

static int input_refuse(struct sbx_fields *f, int status, enum sbx_base64_error why, size_t at,
                        const struct sbx_str *data)
{
    unsigned symbol = at < data->n ? (unsigned char)data->p[at] : 0;
    switch (why) {
    case SBX_BASE64_BAD_SYMBOL:
        sbx_fields_fail(f, "invalid base64 input: Invalid symbol %u, offset %zu.", symbol, at);
        break;
    case SBX_BASE64_BAD_LENGTH:
        sbx_fields_fail(f, "invalid base64 input: Invalid input length: %zu", data->n);
        break;
    case SBX_BASE64_BAD_LAST:
        sbx_fields_fail(f, "invalid base64 input: Invalid last symbol %u, offset %zu.", symbol, at);
        break;
    case SBX_BASE64_BAD_PADDING:
    case SBX_BASE64_OK:
        sbx_fields_fail(f, "invalid base64 input: Invalid padding");
        break;
    }
    return status;
}

static int input_decode(struct sbx_fields *f, struct sbx_str data, struct sbx_input_request *in)
{
    enum sbx_base64_error why;
    size_t len = 0, at = 0;
    in->owned = sbx_mem_alloc(data.n / 4 * 3 + 3);
    if (in->owned == NULL) {
        sbx_fields_fail(f, "out of memory");
        return 503;
    }
    why = sbx_base64_decode(data.p, data.n, in->owned, &len, &at);
    if (why != SBX_BASE64_OK)
        return input_refuse(f, 400, why, at, &data);
    in->bytes = (struct sbx_str){(const char *)in->owned, len};
    return 0;
}

int sbx_input_request_read(struct sbx_fields *f, bool utf8_by_default, uint64_t limit,
                           struct sbx_input_request *in)
{
    struct sbx_str data = {NULL, 0}, encoding = {NULL, 0};
    bool text = utf8_by_default, base64 = !utf8_by_default;
    int status;
    *in = (struct sbx_input_request){.eof = false};
    (void)sbx_field_bool(f, "eof", &in->eof);
    (void)sbx_field_string(f, "data", in->eof ? SBX_OPTIONAL : SBX_REQUIRED, &data);
    if (sbx_field_string(f, "encoding", SBX_NULLABLE, &encoding)) {
        text = sbx_str_eq_z(encoding, "utf8") || sbx_str_eq_z(encoding, "text");
        base64 = sbx_str_eq_z(encoding, "base64");
    }
    if (f->failed)
        return 422;
    if (!text && !base64) {
        sbx_fields_fail(f, "encoding must be one of: base64, utf8, text");
        return 400;
    }
    in->bytes = data;
    status = base64 ? input_decode(f, data, in) : 0;
    if (status != 0)
        return status;
    if (in->bytes.n > limit) {
        sbx_fields_fail(f, "input payload exceeds maxInputBytesPerRequest (%" PRIu64 ")", limit);
        return 413;
    }
    return 0;
}

void sbx_input_request_free(struct sbx_input_request *in)
{
    sbx_mem_free(in->owned);
    in->owned = NULL;
}

int sbx_input_send_to(struct sbx_proc *p, struct sbx_str bytes, bool eof, struct sbx_err *err)
{
    int rc = sbx_proc_input(p, bytes.p, bytes.n, eof);
    switch (-rc) {
    case 0:
        return 0;
    case ESRCH:
        sbx_err_set(err, rc, "process is not running");
        return 409;
    case EBADF:
        sbx_err_set(err, rc, "process stdin is closed");
        return 409;
    case EAGAIN:
        sbx_err_set(err, rc, "input queue is full (%zu bytes waiting, limit %" PRIu64 ")",
                    sbx_input_queued(&p->in), sbx_limits_input_queue(&p->host->limits));
        return 429;
    case ENOMEM:
        sbx_err_set(err, rc, "out of memory");
        return 503;
    default:
        sbx_err_set(err, rc, "failed to write stdin: Broken pipe (os error %d)", EPIPE);
        return 502;
    }
}
