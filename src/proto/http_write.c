/* http_write.c - see http_write.h. */
#include "proto/http_write.h"

#include <assert.h>

const char *sbx_http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } table[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {102, "Processing"},
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {304, "Not Modified"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    size_t i;
    for (i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].status == status)
            return table[i].reason;
    return "Unknown";
}

void sbx_http_put_status(struct sbx_buf *out, int status)
{
    if (status == 200) {
        sbx_buf_add_str(out, SBX_STR("HTTP/1.1 200 OK\r\n"));
        return;
    }
    sbx_buf_add_z(out, "HTTP/1.1 ");
    sbx_buf_add_u64(out, (uint64_t)status);
    sbx_buf_add_byte(out, ' ');
    sbx_buf_add_z(out, sbx_http_reason(status));
    sbx_buf_add_z(out, "\r\n");
}

void sbx_http_put_header(struct sbx_buf *out, const char *name, struct sbx_str value)
{
    sbx_buf_add_z(out, name);
    sbx_buf_add_str(out, SBX_STR(": "));
    sbx_buf_add_str(out, value);
    sbx_buf_add_str(out, SBX_STR("\r\n"));
}

void sbx_http_put_header_u64(struct sbx_buf *out, const char *name, uint64_t value)
{
    char text[20];
    sbx_http_put_header(out, name, (struct sbx_str){text, sbx_u64_to_text(value, text)});
}

void sbx_http_chunk_head(uint8_t out[SBX_HTTP_CHUNK_HEAD], size_t data_len)
{
    static const char digits[] = "0123456789abcdef";
    int i;
    assert(data_len > 0 && data_len <= UINT32_MAX);
    for (i = 7; i >= 0; i--, data_len >>= 4)
        out[i] = (uint8_t)digits[data_len & 15u];
    out[8] = '\r';
    out[9] = '\n';
}
