/* json_read.h - strict JSON (RFC 8259) into a tree of values.
 *
 * The whole text must be one value with nothing but white space around it: a BOM, a trailing
 * byte, a lone surrogate, invalid UTF-8, a raw control character, a leading zero are all errors
 * that say where. The parser does not recurse; depth and number of values are limited.
 * Numbers keep their text: whether 1e3 is an integer is the caller's question. */
#ifndef SBX_BASE_JSON_READ_H
#define SBX_BASE_JSON_READ_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SBX_JSON_MAX_DEPTH 64u
#define SBX_JSON_MAX_VALUES 200000u

enum sbx_json_type {
    SBX_JSON_NULL,
    SBX_JSON_BOOL,
    SBX_JSON_NUMBER,
    SBX_JSON_STRING,
    SBX_JSON_ARRAY,
    SBX_JSON_OBJECT
};

/* A value inside a document. Children of arrays and objects are chained in document order. */
struct sbx_json {
    enum sbx_json_type type;
    bool truth;              /* SBX_JSON_BOOL */
    struct sbx_str text;     /* STRING: decoded; NUMBER: as written; borrowed from the document */
    struct sbx_str key;      /* decoded member name when the parent is an object */
    struct sbx_json *next;   /* next sibling or NULL */
    struct sbx_json *child;  /* first child or NULL */
    size_t count;            /* number of children */
};

struct sbx_json_doc {
    struct sbx_json *root;
    struct sbx_json *values; /* the chunked or flat store of all values, owned */
    char *strings;           /* decoded strings, owned */
    size_t nvalues;
};

/* Parses text. 0 and doc->root; -EINVAL with a sentence that has line and column ("expected ','
 * or '}' at line 1 column 9"), -E2BIG for the depth or count limit (the sentence names it),
 * -ENOMEM. After any failure the document is empty and needs no free. */
int sbx_json_parse(struct sbx_json_doc *doc, struct sbx_str text, struct sbx_err *err);
void sbx_json_doc_deinit(struct sbx_json_doc *doc);

/* The member called name, NULL when absent. *dup (may be NULL) tells that there are several; the
 * first is returned then. object must be of type OBJECT. */
const struct sbx_json *sbx_json_get(const struct sbx_json *object, const char *name, bool *dup);

/* Value of an integer written without sign, fraction or exponent. 0; -EINVAL when it is written
 * otherwise (or is no number), -ERANGE when it does not fit 64 bits. */
int sbx_json_to_u64(const struct sbx_json *v, uint64_t *value);

/* "null", "a boolean", "a number", "a string", "an array", "an object". */
const char *sbx_json_type_name(enum sbx_json_type type);

#endif
