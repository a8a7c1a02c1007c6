/* fields.h - members of a JSON request body, read with one error for the first that is wrong.
 *
 * Readers do nothing once something failed, so a handler reads all it wants and asks once. Errors
 * are 422 and name the member by its path. Unknown members are ignored; a known one that is
 * given twice is an error, since readers disagree about which of the two counts. */
#ifndef SBX_API_FIELDS_H
#define SBX_API_FIELDS_H

#include "api/api.h"
#include "base/err.h"
#include "base/json_read.h"
#include "proc/launch.h"

#include <stdbool.h>
#include <stdint.h>

struct sbx_fields {
    const struct sbx_json *object;
    bool failed;
    struct sbx_err err; /* "timeoutMs: expected an unsigned integer, got a string" */
};

enum sbx_need {
    SBX_REQUIRED,
    SBX_OPTIONAL,  /* absent is fine, null is not */
    SBX_NULLABLE   /* null is the same as absent */
};

/* Parses the body, which must be one object. 0, or the status to answer with (400 for what is no
 * JSON, 422 for another type, 503) and the sentence in f->err. Free doc after 0. */
int sbx_fields_parse(struct sbx_str text, struct sbx_json_doc *doc, struct sbx_fields *f);
/* The same for a request; answers it and returns false when the body is no good. */
bool sbx_fields_begin(struct sbx_request *rq, struct sbx_json_doc *doc, struct sbx_fields *f);
/* Answers with 422 when a reader failed; true when all is well. */
bool sbx_fields_end(struct sbx_request *rq, struct sbx_fields *f);

void sbx_fields_fail(struct sbx_fields *f, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Each returns whether the member is there (and right). */
bool sbx_field_string(struct sbx_fields *f, const char *name, enum sbx_need need,
                      struct sbx_str *value);
bool sbx_field_bool(struct sbx_fields *f, const char *name, bool *value);
bool sbx_field_u64(struct sbx_fields *f, const char *name, enum sbx_need need, uint64_t *value);
/* 1..65535 */
bool sbx_field_size(struct sbx_fields *f, const char *name, enum sbx_need need, uint16_t *value);

/* command, args, cwd and env. The arrays in *spec are the caller's to free (sbx_spec_free). */
void sbx_field_spec(struct sbx_fields *f, struct sbx_spec *spec);
void sbx_spec_free(struct sbx_spec *spec);
/* Is it something that can be started: a command, no NUL bytes? Answers (400, 422) when not. */
bool sbx_spec_ok(struct sbx_request *rq, struct sbx_spec *spec);

#endif
