/* auth.h - who may use the agent: bearer tokens with a scope, and what a request shows of them. */
#ifndef SBX_API_AUTH_H
#define SBX_API_AUTH_H

#include "base/err.h"
#include "base/str.h"
#include "proto/http_parse.h"

#include <stdbool.h>
#include <stddef.h>

enum sbx_scope {
    SBX_SCOPE_NONE, /* may do nothing: not let in */
    SBX_SCOPE_READ, /* list, get, follow, watch a terminal; change nothing */
    SBX_SCOPE_FULL
};

struct sbx_token {
    struct sbx_str secret; /* owned */
    enum sbx_scope scope;
};

/* All that are valid. Empty: everybody is let in, with full scope. */
struct sbx_tokens {
    struct sbx_token *list;
    size_t count;
};

#define SBX_TOKEN_MAX 1024u /* bytes of one */
#define SBX_TOKENS_MAX 64u

void sbx_tokens_init(struct sbx_tokens *t);
void sbx_tokens_deinit(struct sbx_tokens *t); /* wipes them */
/* `where` names the source in err: "--token". 0, -EINVAL (empty, too long, control characters,
 * blanks around it, there already) or -ENOMEM; *t is unchanged then. */
int sbx_tokens_add(struct sbx_tokens *t, struct sbx_str secret, enum sbx_scope scope,
                   const char *where, struct sbx_err *err);
/* The text of a token file: a line each, "TOKEN" or "TOKEN SCOPE" with scope full or read; empty
 * lines and lines that begin with '#' are skipped. A file without a token, with a line that is not
 * one, or with a NUL is refused with the number of the line, never with its text. 0 or -errno; *t
 * is unchanged then. */
int sbx_tokens_parse(struct sbx_tokens *t, struct sbx_str text, const char *where,
                     struct sbx_err *err);

/* What the secret gives, NONE when it is no token. Every token is compared with, whole, whatever
 * the others gave, so that time tells nothing. */
enum sbx_scope sbx_tokens_scope(const struct sbx_tokens *t, struct sbx_str secret);

/* What the request's own credentials give: Authorization: Bearer (RFC 6750, 2.1; the scheme in any
 * case), and with `websocket`, since browsers cannot send headers with a WebSocket handshake, the
 * query parameter access_token (RFC 6750, 2.3) and the subprotocol "bearer.TOKEN", as it is or
 * percent-encoded. Any one of them is enough. FULL when there are no tokens at all. */
enum sbx_scope sbx_auth_check(const struct sbx_tokens *t, const struct sbx_http_request *req,
                              struct sbx_str query, bool websocket);

/* Does it show credentials of these kinds at all, right or wrong? One that shows none guesses
 * nothing. */
bool sbx_auth_is_tried(const struct sbx_http_request *req, struct sbx_str query, bool websocket);

/* The query parameter `ticket`, decoded, into text, which has exactly n bytes; all of them zero
 * when it has another length. false when there is no such parameter. */
bool sbx_auth_ticket(struct sbx_str query, char *text, size_t n);

/* The subprotocol to answer a WebSocket handshake with: the first one offered that is not a
 * "bearer." one, else that one itself, since a browser that offered something fails without an
 * answer. Empty when none was offered. */
struct sbx_str sbx_auth_subprotocol(const struct sbx_http_request *req);

#endif
