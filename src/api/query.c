/* query.c - see query.h. */
#include "api/query.h"
#include "api/problem.h"

#include <errno.h>

#define QUERY_VALUE_MAX 256u

static struct sbx_param *query_find(struct sbx_param *params, size_t n, struct sbx_str name)
{
    size_t i;
    for (i = 0; i < n; i++)
        if (sbx_str_eq_z(name, params[i].name))
            return &params[i];
    return NULL;
}

static bool query_word(struct sbx_param *p, struct sbx_str value)
{
    size_t i;
    for (i = 0; p->words[i] != NULL; i++) {
        if (sbx_str_eq_z(value, p->words[i])) {
            p->number = i;
            return true;
        }
    }
    return false;
}

/* NULL when the value is fine, else what it is not. */
static const char *query_value(struct sbx_param *p, struct sbx_str value)
{
    switch (p->kind) {
    case SBX_PARAM_U64: {
        int rc = sbx_str_to_u64(value, &p->number);
        return rc == 0 ? NULL : rc == -ERANGE ? "is above 18446744073709551615"
                                              : "is not an unsigned integer";
    }
    case SBX_PARAM_BOOL:
        p->number = sbx_str_eq_z(value, "true");
        return p->number != 0 || sbx_str_eq_z(value, "false") ? NULL : "is neither true nor false";
    case SBX_PARAM_WORD:
        break;
    }
    return query_word(p, value) ? NULL : "is not a known value";
}

static void query_refuse(struct sbx_request *rq, const struct sbx_param *p, struct sbx_str value,
                         const char *why)
{
    char words[200];
    struct sbx_buf list;
    size_t i, n = 0;
    sbx_buf_init(&list);
    for (i = 0; p->kind == SBX_PARAM_WORD && p->words[i] != NULL; i++) {
        sbx_buf_add_z(&list, i == 0 ? "; one of: " : ", ");
        sbx_buf_add_z(&list, p->words[i]);
    }
    while (!list.oom && n < sbx_buf_len(&list) && n + 1 < sizeof words) {
        words[n] = (char)sbx_buf_data(&list)[n];
        n++;
    }
    words[n] = '\0';
    sbx_buf_deinit(&list);
    sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, 400, "query parameter %s: \"%.*s\" %s%s",
                    p->name, (int)(value.n > 100 ? 100 : value.n), value.n > 0 ? value.p : "", why,
                    words);
}

bool sbx_query_read(struct sbx_request *rq, struct sbx_param *params, size_t n)
{
    struct sbx_str rest = rq->url.query, name, value;
    while (sbx_url_next_param(&rest, &name, &value)) {
        char name_text[QUERY_VALUE_MAX], value_text[QUERY_VALUE_MAX];
        struct sbx_param *p;
        const char *why;
        if (name.n > sizeof name_text)
            continue;
        name = (struct sbx_str){name_text, sbx_url_decode(name, true, name_text)};
        p = query_find(params, n, name);
        if (p == NULL)
            continue;
        if (p->given) {
            sbx_reply_error(rq->conn, SBX_PROBLEM_INVALID_REQUEST, 400,
                            "query parameter %s is given twice", p->name);
            return false;
        }
        if (value.n > sizeof value_text)
            value.n = sizeof value_text; /* too long for every kind, and cut it is no better */
        value = (struct sbx_str){value_text, sbx_url_decode(value, true, value_text)};
        p->given = true;
        why = query_value(p, value);
        if (why != NULL) {
            query_refuse(rq, p, value, why);
            return false;
        }
    }
    return true;
}
