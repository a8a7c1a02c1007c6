/* auth.c - see auth.h. */
#include "api/auth.h"
#include "proto/url.h"

#include <string.h>

#define AUTH_MAX 3072u /* encoded; a longer access_token is never right, tokens end at 1024 */

static bool auth_by_header(struct sbx_str token, const struct sbx_http_request *req)
{
    const struct sbx_http_header *h = sbx_http_header(req, "authorization", NULL);
    struct sbx_str scheme, given;
    const char *blank;
    if (h == NULL)
        return false;
    blank = memchr(h->value.p, ' ', h->value.n);
    if (blank == NULL)
        return false;
    scheme = (struct sbx_str){h->value.p, (size_t)(blank - h->value.p)};
    given = (struct sbx_str){blank, h->value.n - scheme.n};
    while (given.n > 0 && given.p[0] == ' ') {
        given.p++;
        given.n--;
    }
    return sbx_str_ieq_z(scheme, "bearer") && sbx_str_eq_const_time(given, token);
}

static bool auth_by_query(struct sbx_str token, struct sbx_str query)
{
    struct sbx_str name, value;
    char decoded[AUTH_MAX];
    while (sbx_url_next_param(&query, &name, &value)) {
        size_t n;
        if (!sbx_str_eq_z(name, "access_token"))
            continue;
        if (value.n > sizeof decoded)
            return false;
        n = sbx_url_decode(value, true, decoded);
        return sbx_str_eq_const_time((struct sbx_str){decoded, n}, token);
    }
    return false;
}

bool sbx_auth_check(struct sbx_str token, const struct sbx_http_request *req, struct sbx_str query,
                    bool in_query)
{
    if (token.n == 0)
        return true;
    return auth_by_header(token, req) || (in_query && auth_by_query(token, query));
}
