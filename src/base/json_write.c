/* json_write.c - see json_write.h.
 *
 * A string goes out in three steps, each of which is fast when there is nothing to do: the valid
 * UTF-8 prefix is found; it is escaped in blocks, each into room for its worst case, so that the
 * inner loop asks for no memory; one U+FFFD stands in for what ended the prefix, and so on. */
#include "base/json_write.h"
#include "base/base64.h"
#include "base/json_scan.h"
#include "base/utf8.h"

#include <assert.h>
#include <string.h>

#define JSON_BLOCK 1024u
#define JSON_ESCAPE_MAX 6u /* \u00xx */
#define JSON_SHORT_COPY 16u

/* A value begins: the comma before it. */
static void json_separate(struct sbx_json_writer *w)
{
    if (w->comma)
        sbx_buf_add_byte(w->out, ',');
    w->comma = true;
}

static void json_open(struct sbx_json_writer *w, uint8_t bracket)
{
    json_separate(w);
    sbx_buf_add_byte(w->out, bracket);
    w->comma = false;
}

static void json_close(struct sbx_json_writer *w, uint8_t bracket)
{
    sbx_buf_add_byte(w->out, bracket);
    w->comma = true;
}

void sbx_json_begin(struct sbx_json_writer *w, struct sbx_buf *out)
{
    w->out = out;
    w->comma = false;
}

void sbx_json_object(struct sbx_json_writer *w)
{
    json_open(w, '{');
}

void sbx_json_object_end(struct sbx_json_writer *w)
{
    json_close(w, '}');
}

void sbx_json_array(struct sbx_json_writer *w)
{
    json_open(w, '[');
}

void sbx_json_array_end(struct sbx_json_writer *w)
{
    json_close(w, ']');
}

void sbx_json_key(struct sbx_json_writer *w, const char *name)
{
    size_t n = strlen(name);
    assert(sbx_json_clean_run((const uint8_t *)name, n) == n);
    json_separate(w);
    sbx_buf_add_byte(w->out, '"');
    sbx_buf_add(w->out, name, n);
    sbx_buf_add(w->out, "\":", 2);
    w->comma = false;
}

/* Returns the length of the escape of c, which is not clean. */
static size_t json_escape_byte(uint8_t c, uint8_t *out)
{
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    out[0] = '\\';
    if (c >= 0x20) {
        out[1] = c;
        return 2;
    }
    if (letters[c] != '\0') {
        out[1] = (uint8_t)letters[c];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = (uint8_t)('0' + (c >> 4));
    out[5] = (uint8_t)"0123456789abcdef"[c & 0xF];
    return JSON_ESCAPE_MAX;
}

/* Escapes n bytes into out, room for JSON_ESCAPE_MAX times as many. Returns the length. Runs are
 * mostly short, and a copy of constant size is two instructions: what it copies beyond the run is
 * written over, and the room for it is there as long as 16 bytes of input are. */
static size_t json_escape_block(const uint8_t *in, size_t n, uint8_t *out)
{
    size_t i = 0, o = 0;
    while (i < n) {
        size_t run = sbx_json_clean_run(in + i, n - i);
        if (run < JSON_SHORT_COPY && n - i >= JSON_SHORT_COPY)
            memcpy(out + o, in + i, JSON_SHORT_COPY);
        else
            memcpy(out + o, in + i, run);
        i += run;
        o += run;
        if (i < n)
            o += json_escape_byte(in[i++], out + o);
    }
    assert(o <= JSON_ESCAPE_MAX * n);
    return o;
}

static void json_escape(struct sbx_buf *out, const uint8_t *p, size_t n)
{
    while (n > 0) {
        size_t part = n < JSON_BLOCK ? n : JSON_BLOCK;
        uint8_t *to = sbx_buf_reserve(out, part * JSON_ESCAPE_MAX);
        if (to == NULL)
            return;
        sbx_buf_commit(out, json_escape_block(p, part, to));
        p += part;
        n -= part;
    }
}

void sbx_json_put_text(struct sbx_buf *out, struct sbx_str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    size_t n = s.n;
    while (n > 0) {
        size_t len = sbx_utf8_valid_prefix(p, n);
        json_escape(out, p, len);
        if (len < n) {
            sbx_buf_add(out, "\xEF\xBF\xBD", 3);
            len += sbx_utf8_bad_len(p + len, n - len);
        }
        p += len;
        n -= len;
    }
}

void sbx_json_string(struct sbx_json_writer *w, struct sbx_str s)
{
    json_separate(w);
    sbx_buf_add_byte(w->out, '"');
    sbx_json_put_text(w->out, s);
    sbx_buf_add_byte(w->out, '"');
}

void sbx_json_string_z(struct sbx_json_writer *w, const char *z)
{
    sbx_json_string(w, sbx_str_z(z));
}

void sbx_json_u64(struct sbx_json_writer *w, uint64_t v)
{
    json_separate(w);
    sbx_buf_add_u64(w->out, v);
}

void sbx_json_i64(struct sbx_json_writer *w, int64_t v)
{
    json_separate(w);
    if (v < 0)
        sbx_buf_add_byte(w->out, '-');
    sbx_buf_add_u64(w->out, v < 0 ? UINT64_C(0) - (uint64_t)v : (uint64_t)v);
}

void sbx_json_bool(struct sbx_json_writer *w, bool v)
{
    json_separate(w);
    sbx_buf_add_z(w->out, v ? "true" : "false");
}

void sbx_json_null(struct sbx_json_writer *w)
{
    json_separate(w);
    sbx_buf_add_z(w->out, "null");
}

void sbx_json_raw(struct sbx_json_writer *w, struct sbx_str json)
{
    json_separate(w);
    sbx_buf_add_str(w->out, json);
}

void sbx_json_base64(struct sbx_json_writer *w, const uint8_t *p, size_t n)
{
    size_t len = sbx_base64_encoded_len(n);
    uint8_t *to;
    json_separate(w);
    to = sbx_buf_reserve(w->out, len + 2);
    if (to == NULL)
        return;
    to[0] = '"';
    sbx_base64_encode(p, n, (char *)to + 1);
    to[len + 1] = '"';
    sbx_buf_commit(w->out, len + 2);
}

void sbx_json_put_string(struct sbx_json_writer *w, const char *name, struct sbx_str s)
{
    sbx_json_key(w, name);
    sbx_json_string(w, s);
}

void sbx_json_put_z(struct sbx_json_writer *w, const char *name, const char *z)
{
    sbx_json_key(w, name);
    sbx_json_string_z(w, z);
}

void sbx_json_put_u64(struct sbx_json_writer *w, const char *name, uint64_t v)
{
    sbx_json_key(w, name);
    sbx_json_u64(w, v);
}

void sbx_json_put_bool(struct sbx_json_writer *w, const char *name, bool v)
{
    sbx_json_key(w, name);
    sbx_json_bool(w, v);
}
