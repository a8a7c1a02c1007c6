/* fields.c - see fields.h. */
#include "api/fields.h"
#include "api/problem.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void sbx_fields_fail(struct sbx_fields *f, const char *fmt, ...)
{
    va_list ap;
    if (f->failed)
        return;
    f->failed = true;
    f->err.code = -EINVAL;
    va_start(ap, fmt);
    (void)vsnprintf(f->err.text, sizeof f->err.text, fmt, ap);
    va_end(ap);
}

int sbx_fields_parse(struct sbx_str text, struct sbx_json_doc *doc, struct sbx_fields *f)
{
    int rc;
    *f = (struct sbx_fields){.failed = false};
    rc = sbx_json_parse(doc, text, &f->err);
    if (rc == -ENOMEM)
        return 503;
    if (rc < 0)
        return 400;
    if (doc->root->type != SBX_JSON_OBJECT) {
        sbx_fields_fail(f, "expected a JSON object, got %s", sbx_json_type_name(doc->root->type));
        sbx_json_doc_deinit(doc);
        return 422;
    }
    f->object = doc->root;
    return 0;
}

bool sbx_fields_begin(struct sbx_request *rq, struct sbx_json_doc *doc, struct sbx_fields *f)
{
    int status = sbx_fields_parse(rq->body, doc, f);
    if (status == 0)
        return true;
    if (status == 503)
        sbx_reply_out_of_memory(rq->conn);
    else
        sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, status,
                        status == 400 ? "request body is not JSON: %s" : "request body: %s",
                        f->err.text);
    return false;
}

bool sbx_fields_end(struct sbx_request *rq, struct sbx_fields *f)
{
    if (f->failed && f->err.code == -ENOMEM)
        sbx_reply_out_of_memory(rq->conn);
    else if (f->failed)
        sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, 422, "%s", f->err.text);
    return !f->failed;
}

static const struct sbx_json *field_get(struct sbx_fields *f, const char *name, enum sbx_need need)
{
    const struct sbx_json *v;
    bool dup = false;
    if (f->failed)
        return NULL;
    v = sbx_json_get(f->object, name, &dup);
    if (dup)
        sbx_fields_fail(f, "%s: given twice", name);
    else if (v == NULL && need == SBX_REQUIRED)
        sbx_fields_fail(f, "%s: required member is missing", name);
    else if (v != NULL && v->type == SBX_JSON_NULL && need == SBX_NULLABLE)
        return NULL;
    return f->failed ? NULL : v;
}

static void field_wrong_type(struct sbx_fields *f, const char *name, const char *expected,
                             const struct sbx_json *v)
{
    sbx_fields_fail(f, "%s: expected %s, got %s", name, expected, sbx_json_type_name(v->type));
}

bool sbx_field_string(struct sbx_fields *f, const char *name, enum sbx_need need,
                      struct sbx_str *value)
{
    const struct sbx_json *v = field_get(f, name, need);
    if (v == NULL)
        return false;
    if (v->type != SBX_JSON_STRING) {
        field_wrong_type(f, name, "a string", v);
        return false;
    }
    *value = v->text;
    return true;
}

bool sbx_field_bool(struct sbx_fields *f, const char *name, bool *value)
{
    const struct sbx_json *v = field_get(f, name, SBX_OPTIONAL);
    if (v == NULL)
        return false;
    if (v->type != SBX_JSON_BOOL) {
        field_wrong_type(f, name, "a boolean", v);
        return false;
    }
    *value = v->truth;
    return true;
}

bool sbx_field_u64(struct sbx_fields *f, const char *name, enum sbx_need need, uint64_t *value)
{
    const struct sbx_json *v = field_get(f, name, need);
    int rc;
    if (v == NULL)
        return false;
    if (v->type != SBX_JSON_NUMBER) {
        field_wrong_type(f, name, "an unsigned integer", v);
        return false;
    }
    rc = sbx_json_to_u64(v, value);
    if (rc == -ERANGE)
        sbx_fields_fail(f, "%s: %.*s is above 18446744073709551615", name,
                        (int)(v->text.n > 60 ? 60 : v->text.n), v->text.p);
    else if (rc < 0)
        sbx_fields_fail(f, "%s: expected an unsigned integer, got %.*s", name,
                        (int)(v->text.n > 60 ? 60 : v->text.n), v->text.p);
    return rc == 0;
}

bool sbx_field_size(struct sbx_fields *f, const char *name, enum sbx_need need, uint16_t *value)
{
    uint64_t n;
    if (!sbx_field_u64(f, name, need, &n))
        return false;
    if (n < 1 || n > 65535) {
        sbx_fields_fail(f, "%s: must be between 1 and 65535, got %" PRIu64, name, n);
        return false;
    }
    *value = (uint16_t)n;
    return true;
}

static void field_args(struct sbx_fields *f, struct sbx_spec *spec)
{
    const struct sbx_json *v = field_get(f, "args", SBX_OPTIONAL), *item;
    if (v == NULL)
        return;
    if (v->type != SBX_JSON_ARRAY) {
        field_wrong_type(f, "args", "an array", v);
        return;
    }
    spec->args = v->count > 0 ? sbx_mem_alloc(v->count * sizeof *spec->args) : NULL;
    if (v->count > 0 && spec->args == NULL) {
        sbx_fields_fail(f, "args: out of memory");
        f->err.code = -ENOMEM;
        return;
    }
    for (item = v->child; item != NULL; item = item->next) {
        if (item->type != SBX_JSON_STRING) {
            sbx_fields_fail(f, "args[%zu]: expected a string, got %s", spec->nargs,
                            sbx_json_type_name(item->type));
            return;
        }
        spec->args[spec->nargs++] = item->text;
    }
}

static void field_env(struct sbx_fields *f, struct sbx_spec *spec)
{
    const struct sbx_json *v = field_get(f, "env", SBX_OPTIONAL), *item;
    if (v == NULL)
        return;
    if (v->type != SBX_JSON_OBJECT) {
        field_wrong_type(f, "env", "an object", v);
        return;
    }
    spec->env = v->count > 0 ? sbx_mem_alloc(v->count * sizeof *spec->env) : NULL;
    if (v->count > 0 && spec->env == NULL) {
        sbx_fields_fail(f, "env: out of memory");
        f->err.code = -ENOMEM;
        return;
    }
    for (item = v->child; item != NULL; item = item->next) {
        if (item->type != SBX_JSON_STRING) {
            sbx_fields_fail(f, "env.%.*s: expected a string, got %s",
                            (int)(item->key.n > 100 ? 100 : item->key.n), item->key.p,
                            sbx_json_type_name(item->type));
            return;
        }
        spec->env[spec->nenv++] = (struct sbx_env_pair){.name = item->key, .value = item->text};
    }
}

void sbx_field_spec(struct sbx_fields *f, struct sbx_spec *spec)
{
    *spec = (struct sbx_spec){.cols = 80, .rows = 24};
    (void)sbx_field_string(f, "command", SBX_REQUIRED, &spec->command);
    field_args(f, spec);
    spec->has_cwd = sbx_field_string(f, "cwd", SBX_NULLABLE, &spec->cwd);
    field_env(f, spec);
}

void sbx_spec_free(struct sbx_spec *spec)
{
    sbx_mem_free(spec->args);
    sbx_mem_free(spec->env);
}

static bool field_command_blank(struct sbx_str command)
{
    size_t i;
    for (i = 0; i < command.n; i++)
        if (strchr(" \t\n\r\f\v", command.p[i]) == NULL || command.p[i] == '\0')
            return false;
    return true;
}

bool sbx_spec_ok(struct sbx_request *rq, struct sbx_spec *spec)
{
    struct sbx_err err;
    int rc;
    if (field_command_blank(spec->command)) {
        sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, 400, "command must not be empty");
        return false;
    }
    rc = sbx_spec_check(spec, &err);
    if (rc < 0)
        sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, rc == -EEXIST ? 422 : 400, "%s",
                        err.text);
    return rc == 0;
}
