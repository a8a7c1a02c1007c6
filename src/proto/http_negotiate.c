/* http_negotiate.c - see http_negotiate.h.
 *
 * Weights are thousandths; a coding that is not named has NEGOTIATE_UNNAMED and gets what "*" says,
 * or its default. A member whose weight is malformed counts as not there. */
#include "proto/http_negotiate.h"

#include <string.h>

#define NEGOTIATE_UNNAMED (-1)

struct negotiate_weights {
    bool given;
    int gzip, identity, any;
};

/* qvalue: 0 or 1 with up to three digits behind the point. -1 when it is none. */
static int negotiate_weight(struct sbx_str s)
{
    int value, unit = 100;
    size_t i;
    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.'))
        return -1;
    value = (s.p[0] - '0') * 1000;
    for (i = 2; i < s.n; i++, unit /= 10) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        value += (s.p[i] - '0') * unit;
    }
    return value <= 1000 ? value : -1;
}

/* Cuts "name;q=0.5" into its name and weight. false: malformed. */
static bool negotiate_cut(struct sbx_str *name, int *weight)
{
    const char *semicolon = memchr(name->p, ';', name->n);
    struct sbx_str rest;
    *weight = 1000;
    if (semicolon == NULL)
        return true;
    rest = (struct sbx_str){semicolon + 1, name->n - (size_t)(semicolon + 1 - name->p)};
    rest = sbx_str_trim(rest);
    *name = sbx_str_trim((struct sbx_str){name->p, (size_t)(semicolon - name->p)});
    if (rest.n < 2 || (rest.p[0] != 'q' && rest.p[0] != 'Q') || rest.p[1] != '=')
        return false;
    *weight = negotiate_weight((struct sbx_str){rest.p + 2, rest.n - 2});
    return *weight >= 0;
}

static void negotiate_take(struct negotiate_weights *w, struct sbx_str member)
{
    int weight;
    if (!negotiate_cut(&member, &weight))
        return;
    if (sbx_str_ieq_z(member, "gzip") || sbx_str_ieq_z(member, "x-gzip")) {
        /* Two names of one coding (RFC 9110, 8.4.1.3): what one of them refuses is refused. */
        w->gzip = w->gzip < 0 || weight < w->gzip ? weight : w->gzip;
    } else if (sbx_str_ieq_z(member, "identity")) {
        w->identity = weight;
    } else if (sbx_str_eq_z(member, "*")) {
        w->any = weight;
    }
}

static void negotiate_read(struct negotiate_weights *w, const struct sbx_http_request *req)
{
    size_t i;
    *w = (struct negotiate_weights){false, NEGOTIATE_UNNAMED, NEGOTIATE_UNNAMED,
                                    NEGOTIATE_UNNAMED};
    for (i = 0; i < req->nheaders; i++) {
        struct sbx_str list = req->headers[i].value, member;
        if (!sbx_str_ieq_z(req->headers[i].name, "accept-encoding"))
            continue;
        w->given = true;
        while (sbx_str_next_in_list(&list, &member))
            negotiate_take(w, member);
    }
}

enum sbx_coding sbx_http_coding(const struct sbx_http_request *req, bool has_identity)
{
    struct negotiate_weights w;
    bool gzip, identity;
    negotiate_read(&w, req);
    if (!w.given)
        return has_identity ? SBX_CODING_IDENTITY : SBX_CODING_GZIP;
    if (w.gzip == NEGOTIATE_UNNAMED)
        w.gzip = w.any;
    gzip = w.gzip > 0;
    /* The bytes as they are cannot be refused by saying nothing of them, and are liked least. */
    identity = has_identity && w.identity != 0 && !(w.identity < 0 && w.any == 0);
    if (gzip && (!identity || w.gzip >= w.identity))
        return SBX_CODING_GZIP;
    return identity ? SBX_CODING_IDENTITY : SBX_CODING_NONE;
}

/* The quoted part alone, which is what weak comparison looks at. */
static struct sbx_str negotiate_opaque(struct sbx_str etag)
{
    return sbx_str_starts_with(etag, "W/") ? (struct sbx_str){etag.p + 2, etag.n - 2} : etag;
}

/* Takes the next tag out of the list. A tag may have commas inside its quotes. */
static bool negotiate_next_tag(struct sbx_str *rest, struct sbx_str *tag)
{
    const char *end;
    while (rest->n > 0 && (rest->p[0] == ',' || rest->p[0] == ' ' || rest->p[0] == '\t')) {
        rest->p++;
        rest->n--;
    }
    *tag = negotiate_opaque(*rest);
    if (tag->n < 2 || tag->p[0] != '"')
        return false;
    end = memchr(tag->p + 1, '"', tag->n - 1);
    if (end == NULL)
        return false;
    tag->n = (size_t)(end + 1 - tag->p);
    *rest = (struct sbx_str){end + 1, rest->n - (size_t)(end + 1 - rest->p)};
    return true;
}

bool sbx_http_has_etag(const struct sbx_http_request *req, struct sbx_str etag)
{
    struct sbx_str wanted = negotiate_opaque(etag), tag;
    size_t i;
    for (i = 0; i < req->nheaders; i++) {
        struct sbx_str list = req->headers[i].value;
        if (!sbx_str_ieq_z(req->headers[i].name, "if-none-match"))
            continue;
        if (sbx_str_eq_z(list, "*"))
            return true;
        while (negotiate_next_tag(&list, &tag))
            if (sbx_str_eq(tag, wanted))
                return true;
    }
    return false;
}
