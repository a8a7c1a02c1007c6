/* JSON: what parses is written and parsed again to the same text; an error names a place inside the
 * text; and any bytes at all, written as a string, parse - to themselves when they are UTF-8. */
#include "base/json_read.h"
#include "base/json_write.h"
#include "base/utf8.h"

#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_write(struct sbx_json_writer *w, const struct sbx_json *v);

static void fuzz_write_children(struct sbx_json_writer *w, const struct sbx_json *v)
{
    const struct sbx_json *child;
    size_t count = 0;
    for (child = v->child; child != NULL; child = child->next, count++) {
        if (v->type == SBX_JSON_OBJECT) {
            sbx_json_string(w, child->key);
            sbx_buf_add_byte(w->out, ':');
            w->comma = false;
        }
        fuzz_write(w, child);
    }
    assert(count == v->count);
}

static void fuzz_write(struct sbx_json_writer *w, const struct sbx_json *v)
{
    switch (v->type) {
    case SBX_JSON_NULL:
        sbx_json_null(w);
        break;
    case SBX_JSON_BOOL:
        sbx_json_bool(w, v->truth);
        break;
    case SBX_JSON_NUMBER:
        sbx_json_raw(w, v->text);
        break;
    case SBX_JSON_STRING:
        sbx_json_string(w, v->text);
        break;
    case SBX_JSON_ARRAY:
        sbx_json_array(w);
        fuzz_write_children(w, v);
        sbx_json_array_end(w);
        break;
    case SBX_JSON_OBJECT:
        sbx_json_object(w);
        fuzz_write_children(w, v);
        sbx_json_object_end(w);
        break;
    }
}

/* Writes the document of text into out; -1 when it does not parse. */
static int fuzz_rewrite(struct sbx_str text, struct sbx_buf *out, struct sbx_err *err, size_t *n)
{
    struct sbx_json_writer w;
    struct sbx_json_doc doc;
    int rc = sbx_json_parse(&doc, text, err);
    if (rc != 0) {
        assert(rc == -EINVAL || rc == -E2BIG);
        assert(rc == err->code && doc.root == NULL && doc.values == NULL && doc.strings == NULL);
        return -1;
    }
    *n = doc.nvalues;
    sbx_json_begin(&w, out);
    fuzz_write(&w, doc.root);
    assert(!out->oom);
    sbx_json_doc_deinit(&doc);
    return 0;
}

/* The place that the error names must exist: some line, and a column on it or just after it. */
static void fuzz_check_place(const uint8_t *data, size_t size, const struct sbx_err *err)
{
    const char *at = strstr(err->text, " at line ");
    size_t line, column, i, here = 1, length = 0;
    assert(at != NULL && sscanf(at, " at line %zu column %zu", &line, &column) == 2);
    for (i = 0; i < size && here < line; i++)
        here += data[i] == '\n';
    assert(here == line && line >= 1 && column >= 1);
    while (i + length < size && data[i + length] != '\n')
        length++;
    assert(column <= length + 1);
}

static void fuzz_read(const uint8_t *data, size_t size)
{
    struct sbx_buf first, second;
    struct sbx_err err = {0, ""};
    size_t values, again;
    sbx_buf_init(&first);
    sbx_buf_init(&second);
    if (fuzz_rewrite((struct sbx_str){(const char *)data, size}, &first, &err, &values) == 0) {
        assert(fuzz_rewrite(sbx_buf_view(&first), &second, &err, &again) == 0);
        assert(values == again);
        assert(sbx_str_eq(sbx_buf_view(&first), sbx_buf_view(&second)));
    } else {
        fuzz_check_place(data, size, &err);
    }
    sbx_buf_deinit(&first);
    sbx_buf_deinit(&second);
}

static void fuzz_string(const uint8_t *data, size_t size)
{
    struct sbx_str text = {(const char *)data, size};
    bool valid = sbx_utf8_valid_prefix(data, size) == size;
    struct sbx_json_writer w;
    struct sbx_json_doc doc;
    struct sbx_buf out;
    struct sbx_err err;
    sbx_buf_init(&out);
    sbx_json_begin(&w, &out);
    sbx_json_string(&w, text);
    assert(sbx_utf8_valid_prefix(sbx_buf_data(&out), sbx_buf_len(&out)) == sbx_buf_len(&out));
    assert(sbx_json_parse(&doc, sbx_buf_view(&out), &err) == 0);
    assert(doc.root->type == SBX_JSON_STRING && doc.nvalues == 1);
    assert(sbx_str_eq(doc.root->text, text) == valid);
    sbx_json_doc_deinit(&doc);
    sbx_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_read(data, size);
    fuzz_string(data, size);
    return 0;
}
