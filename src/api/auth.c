/* auth.c - see auth.h.
 *
 * What a request shows is looked at in one place, and compared with every token there is: the
 * answer, and the time to it, depend on what was sent and on how many tokens there are, never on
 * how much of one was right. */
#include "api/auth.h"
#include "base/mem.h"
#include "proto/url.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define AUTH_ENCODED_MAX (3u * SBX_TOKEN_MAX) /* a longer one is never right */
#define AUTH_SUBPROTOCOL "bearer."

void sbx_tokens_init(struct sbx_tokens *t)
{
    *t = (struct sbx_tokens){NULL, 0};
}

static void auth_shrink(struct sbx_tokens *t, size_t count)
{
    while (t->count > count) {
        struct sbx_str *secret = &t->list[--t->count].secret;
        void *text = (void *)(uintptr_t)secret->p;
        sbx_mem_wipe(text, secret->n);
        sbx_mem_free(text);
    }
}

void sbx_tokens_deinit(struct sbx_tokens *t)
{
    auth_shrink(t, 0);
    sbx_mem_free(t->list);
    sbx_tokens_init(t);
}

static bool auth_is_known(const struct sbx_tokens *t, struct sbx_str secret)
{
    size_t i;
    for (i = 0; i < t->count; i++)
        if (sbx_str_eq(t->list[i].secret, secret))
            return true;
    return false;
}

/* What can stand in a header field: a token with other bytes could never be sent to us. */
static int auth_check_secret(const struct sbx_tokens *t, struct sbx_str secret, const char *where,
                             struct sbx_err *err)
{
    size_t i;
    if (secret.n == 0)
        return sbx_err_set(err, EINVAL, "the token in %s is empty", where);
    if (secret.n > SBX_TOKEN_MAX)
        return sbx_err_set(err, EINVAL, "the token in %s is longer than %u bytes", where,
                           SBX_TOKEN_MAX);
    for (i = 0; i < secret.n; i++)
        if ((unsigned char)secret.p[i] < 0x20 || (unsigned char)secret.p[i] == 0x7f)
            return sbx_err_set(err, EINVAL, "the token in %s has control characters", where);
    if (sbx_str_trim(secret).n != secret.n)
        return sbx_err_set(err, EINVAL, "the token in %s begins or ends with a blank", where);
    if (auth_is_known(t, secret))
        return sbx_err_set(err, EINVAL, "the token in %s was given before", where);
    if (t->count == SBX_TOKENS_MAX)
        return sbx_err_set(err, EINVAL, "the token in %s is one too many (limit %u)", where,
                           SBX_TOKENS_MAX);
    return 0;
}

int sbx_tokens_add(struct sbx_tokens *t, struct sbx_str secret, enum sbx_scope scope,
                   const char *where, struct sbx_err *err)
{
    struct sbx_token *more;
    char *copy;
    int rc = auth_check_secret(t, secret, where, err);
    assert(scope != SBX_SCOPE_NONE);
    if (rc < 0)
        return rc;
    more = sbx_mem_realloc(t->list, (t->count + 1) * sizeof *more);
    if (more == NULL)
        return sbx_err_set(err, ENOMEM, "out of memory");
    t->list = more;
    copy = sbx_mem_strndup(secret.p, secret.n);
    if (copy == NULL)
        return sbx_err_set(err, ENOMEM, "out of memory");
    more[t->count++] = (struct sbx_token){.secret = {copy, secret.n}, .scope = scope};
    return 0;
}

/* --- token files --- */

/* Takes the next line, without its end and the blanks around it, out of *rest. */
static bool auth_next_line(struct sbx_str *rest, struct sbx_str *line)
{
    const char *end;
    if (rest->n == 0)
        return false;
    end = memchr(rest->p, '\n', rest->n);
    *line = (struct sbx_str){rest->p, end == NULL ? rest->n : (size_t)(end - rest->p)};
    rest->p += end == NULL ? line->n : line->n + 1;
    rest->n -= end == NULL ? line->n : line->n + 1;
    if (line->n > 0 && line->p[line->n - 1] == '\r')
        line->n--;
    *line = sbx_str_trim(*line);
    return true;
}

/* A scope that is not known must not be taken for a part of the token: the word that was meant to
 * restrict it would be lost. So a token in a file has no blanks. */
static enum sbx_scope auth_cut_scope(struct sbx_str *line)
{
    struct sbx_str word = *line;
    size_t n = 0;
    while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
        n++;
    line->n = n;
    word.p += n;
    word.n -= n;
    word = sbx_str_trim(word);
    if (word.n == 0 || sbx_str_eq_z(word, "full"))
        return SBX_SCOPE_FULL;
    return sbx_str_eq_z(word, "read") ? SBX_SCOPE_READ : SBX_SCOPE_NONE;
}

static int auth_take_line(struct sbx_tokens *t, struct sbx_str line, const char *where,
                          unsigned number, struct sbx_err *err)
{
    struct sbx_err at;
    enum sbx_scope scope;
    (void)sbx_err_set(&at, EINVAL, "%s, line %u", where, number);
    /* In a comment, too: a file with one is no text, and not what was meant to be read. */
    if (line.n > 0 && memchr(line.p, '\0', line.n) != NULL)
        return sbx_err_set(err, EINVAL, "there is a NUL byte in %s", at.text);
    if (line.n == 0 || line.p[0] == '#')
        return 0;
    scope = auth_cut_scope(&line);
    if (scope == SBX_SCOPE_NONE)
        return sbx_err_set(err, EINVAL, "the scope in %s is neither full nor read", at.text);
    return sbx_tokens_add(t, line, scope, at.text, err);
}

int sbx_tokens_parse(struct sbx_tokens *t, struct sbx_str text, const char *where,
                     struct sbx_err *err)
{
    size_t before = t->count;
    unsigned number = 0;
    struct sbx_str line;
    int rc = 0;
    while (rc == 0 && auth_next_line(&text, &line))
        rc = auth_take_line(t, line, where, ++number, err);
    if (rc == 0 && t->count == before)
        rc = sbx_err_set(err, EINVAL, "there is no token in %s", where);
    if (rc < 0)
        auth_shrink(t, before);
    return rc;
}

/* --- requests --- */

enum sbx_scope sbx_tokens_scope(const struct sbx_tokens *t, struct sbx_str secret)
{
    unsigned scope = SBX_SCOPE_NONE;
    size_t i;
    if (secret.n > SBX_TOKEN_MAX)
        return SBX_SCOPE_NONE;
    for (i = 0; i < t->count; i++) {
        unsigned same = sbx_str_eq_const_time(secret, t->list[i].secret);
        scope |= (0u - same) & (unsigned)t->list[i].scope;
    }
    return (enum sbx_scope)scope;
}

static enum sbx_scope auth_most(enum sbx_scope a, enum sbx_scope b)
{
    return a > b ? a : b;
}

static enum sbx_scope auth_by_header(const struct sbx_tokens *t,
                                     const struct sbx_http_request *req)
{
    const struct sbx_http_header *h = sbx_http_header(req, "authorization", NULL);
    const char *blank = h == NULL ? NULL : memchr(h->value.p, ' ', h->value.n);
    struct sbx_str scheme, given;
    if (blank == NULL)
        return SBX_SCOPE_NONE;
    scheme = (struct sbx_str){h->value.p, (size_t)(blank - h->value.p)};
    given = (struct sbx_str){blank, h->value.n - scheme.n};
    while (given.n > 0 && given.p[0] == ' ') {
        given.p++;
        given.n--;
    }
    return sbx_str_ieq_z(scheme, "bearer") ? sbx_tokens_scope(t, given) : SBX_SCOPE_NONE;
}

static enum sbx_scope auth_decoded(const struct sbx_tokens *t, struct sbx_str encoded,
                                   bool plus_is_blank)
{
    char decoded[AUTH_ENCODED_MAX];
    enum sbx_scope scope;
    size_t n;
    if (encoded.n > sizeof decoded)
        return SBX_SCOPE_NONE;
    n = sbx_url_decode(encoded, plus_is_blank, decoded);
    scope = sbx_tokens_scope(t, (struct sbx_str){decoded, n});
    sbx_mem_wipe(decoded, n);
    return scope;
}

/* The value of the first parameter of that name, still encoded; false when there is none. */
static bool auth_param(struct sbx_str query, const char *wanted, struct sbx_str *value)
{
    struct sbx_str name;
    while (sbx_url_next_param(&query, &name, value))
        if (sbx_str_eq_z(name, wanted))
            return true;
    return false;
}

/* Takes the next subprotocol that the handshake offers; several header lines are one list (RFC
 * 9110, 5.3). Begins with *line 0 and an empty *rest. */
static bool auth_next_offer(const struct sbx_http_request *req, size_t *line, struct sbx_str *rest,
                            struct sbx_str *offer)
{
    while (!sbx_str_next_in_list(rest, offer)) {
        while (*line < req->nheaders &&
               !sbx_str_ieq_z(req->headers[*line].name, "sec-websocket-protocol"))
            ++*line;
        if (*line == req->nheaders)
            return false;
        *rest = req->headers[(*line)++].value;
    }
    return true;
}

/* The first offer that carries a token, or the first that does not. */
static bool auth_offer(const struct sbx_http_request *req, bool bearer, struct sbx_str *offer)
{
    struct sbx_str rest = {NULL, 0};
    size_t line = 0;
    while (auth_next_offer(req, &line, &rest, offer))
        if (sbx_str_starts_with(*offer, AUTH_SUBPROTOCOL) == bearer)
            return true;
    return false;
}

static enum sbx_scope auth_by_subprotocol(const struct sbx_tokens *t,
                                          const struct sbx_http_request *req)
{
    struct sbx_str offer;
    if (!auth_offer(req, true, &offer))
        return SBX_SCOPE_NONE;
    offer.p += sizeof AUTH_SUBPROTOCOL - 1;
    offer.n -= sizeof AUTH_SUBPROTOCOL - 1;
    return auth_most(sbx_tokens_scope(t, offer), auth_decoded(t, offer, false));
}

enum sbx_scope sbx_auth_check(const struct sbx_tokens *t, const struct sbx_http_request *req,
                              struct sbx_str query, bool websocket)
{
    enum sbx_scope scope;
    struct sbx_str value;
    if (t->count == 0)
        return SBX_SCOPE_FULL;
    scope = auth_by_header(t, req);
    if (!websocket || scope == SBX_SCOPE_FULL)
        return scope;
    if (auth_param(query, "access_token", &value))
        scope = auth_most(scope, auth_decoded(t, value, true));
    return auth_most(scope, auth_by_subprotocol(t, req));
}

bool sbx_auth_is_tried(const struct sbx_http_request *req, struct sbx_str query, bool websocket)
{
    struct sbx_str ignored;
    if (sbx_http_header(req, "authorization", NULL) != NULL)
        return true;
    return websocket &&
           (auth_param(query, "access_token", &ignored) || auth_offer(req, true, &ignored));
}

bool sbx_auth_ticket(struct sbx_str query, char *text, size_t n)
{
    char decoded[AUTH_ENCODED_MAX];
    struct sbx_str value;
    if (!auth_param(query, "ticket", &value))
        return false;
    memset(text, 0, n);
    if (value.n <= sizeof decoded && sbx_url_decode(value, true, decoded) == n)
        memcpy(text, decoded, n);
    return true;
}

struct sbx_str sbx_auth_subprotocol(const struct sbx_http_request *req)
{
    struct sbx_str offer;
    if (auth_offer(req, false, &offer) || auth_offer(req, true, &offer))
        return offer;
    return (struct sbx_str){NULL, 0};
}
