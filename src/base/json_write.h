/* json_write.h - JSON text into a buffer, compact, with commas and escapes taken care of.
 *
 * Output is always valid JSON and valid UTF-8 whatever bytes a string holds: invalid sequences
 * become U+FFFD (one per maximal subpart), control characters are escaped (\b \f \n \r \t short,
 * others \u00xx), '"' and '\' are escaped, everything else goes through unescaped.
 * Memory running out is the buffer's sticky flag. */
#ifndef SBX_BASE_JSON_WRITE_H
#define SBX_BASE_JSON_WRITE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct sbx_json_writer {
    struct sbx_buf *out;
    bool comma; /* a value was written at this level, so the next one needs a comma */
};

void sbx_json_begin(struct sbx_json_writer *w, struct sbx_buf *out);
void sbx_json_object(struct sbx_json_writer *w);     /* { */
void sbx_json_object_end(struct sbx_json_writer *w); /* } */
void sbx_json_array(struct sbx_json_writer *w);      /* [ */
void sbx_json_array_end(struct sbx_json_writer *w);  /* ] */
/* name is a literal of ours that needs no escape. */
void sbx_json_key(struct sbx_json_writer *w, const char *name);
void sbx_json_string(struct sbx_json_writer *w, struct sbx_str s);
void sbx_json_string_z(struct sbx_json_writer *w, const char *z);
void sbx_json_u64(struct sbx_json_writer *w, uint64_t v);
void sbx_json_i64(struct sbx_json_writer *w, int64_t v);
void sbx_json_bool(struct sbx_json_writer *w, bool v);
void sbx_json_null(struct sbx_json_writer *w);
/* What is between the quotes of a string, for strings that are made in pieces. A piece must not end
 * inside a character. */
void sbx_json_put_text(struct sbx_buf *out, struct sbx_str s);
/* Bytes that are already one JSON value. */
void sbx_json_raw(struct sbx_json_writer *w, struct sbx_str json);
/* A string of the base64 text of n bytes, encoded in place without a copy. */
void sbx_json_base64(struct sbx_json_writer *w, const uint8_t *p, size_t n);

/* Key and value in one line. */
void sbx_json_put_string(struct sbx_json_writer *w, const char *name, struct sbx_str s);
void sbx_json_put_z(struct sbx_json_writer *w, const char *name, const char *z);
void sbx_json_put_u64(struct sbx_json_writer *w, const char *name, uint64_t v);
void sbx_json_put_bool(struct sbx_json_writer *w, const char *name, bool v);

#endif
