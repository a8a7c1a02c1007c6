/* ticket.c - see ticket.h.
 *
 * An array in no order: a ticket is taken out by moving the last one into its place. Expired ones
 * are dropped whenever anything is asked, so `count` is the number of valid ones then. */
#include "api/ticket.h"
#include "base/base64.h"
#include "base/mem.h"
#include "os/rand.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define TICKET_BYTES 32u
#define TICKET_ENCODED 44u /* with padding */
#define TICKET_FIRST 8u    /* room that is made at first */

struct sbx_ticket {
    char text[SBX_TICKET_TEXT];
    enum sbx_scope scope;
    uint64_t until_us;
    struct sbx_str path; /* owned */
};

void sbx_tickets_init(struct sbx_tickets *t)
{
    *t = (struct sbx_tickets){NULL, 0, 0};
}

static void ticket_remove(struct sbx_tickets *t, size_t at)
{
    sbx_mem_free((void *)(uintptr_t)t->list[at].path.p);
    t->list[at] = t->list[--t->count];
    memset(&t->list[t->count], 0, sizeof t->list[t->count]);
}

void sbx_tickets_deinit(struct sbx_tickets *t)
{
    while (t->count > 0)
        ticket_remove(t, t->count - 1);
    sbx_mem_free(t->list);
    sbx_tickets_init(t);
}

static void ticket_drop_expired(struct sbx_tickets *t, uint64_t now_us)
{
    size_t i = 0;
    while (i < t->count)
        if (now_us >= t->list[i].until_us)
            ticket_remove(t, i);
        else
            i++;
}

static int ticket_make_room(struct sbx_tickets *t)
{
    size_t cap = t->cap == 0 ? TICKET_FIRST : t->cap * 2;
    struct sbx_ticket *more;
    if (t->count < t->cap)
        return 0;
    more = sbx_mem_realloc(t->list, cap * sizeof *more);
    if (more == NULL)
        return -ENOMEM;
    t->list = more;
    t->cap = cap;
    return 0;
}

/* base64url (RFC 4648, 5): a ticket goes into a URL as it is. */
static int ticket_draw(char text[SBX_TICKET_TEXT])
{
    uint8_t bytes[TICKET_BYTES];
    char encoded[TICKET_ENCODED];
    size_t i;
    int rc = sbx_rand_bytes(bytes, sizeof bytes);
    if (rc < 0)
        return rc;
    sbx_base64_encode(bytes, sizeof bytes, encoded);
    for (i = 0; i < SBX_TICKET_TEXT; i++)
        text[i] = encoded[i] == '+' ? '-' : encoded[i] == '/' ? '_' : encoded[i];
    return 0;
}

static size_t ticket_count(const struct sbx_tickets *t, enum sbx_scope scope)
{
    size_t i, n = 0;
    for (i = 0; i < t->count; i++)
        n += t->list[i].scope == scope;
    return n;
}

int sbx_tickets_issue(struct sbx_tickets *t, struct sbx_str path, enum sbx_scope scope,
                      uint64_t now_us, uint64_t ttl_us, char text[SBX_TICKET_TEXT])
{
    struct sbx_ticket *ticket;
    char *copy;
    int rc;
    assert(path.n <= SBX_TICKET_PATH_MAX && scope != SBX_SCOPE_NONE);
    ticket_drop_expired(t, now_us);
    if (t->count == SBX_TICKETS_MAX ||
        (scope == SBX_SCOPE_READ && ticket_count(t, scope) >= SBX_TICKETS_MAX / 2))
        return -EAGAIN;
    rc = ticket_make_room(t);
    if (rc == 0)
        rc = ticket_draw(text);
    if (rc < 0)
        return rc;
    copy = sbx_mem_strndup(path.p, path.n);
    if (copy == NULL)
        return -ENOMEM;
    ticket = &t->list[t->count++];
    *ticket = (struct sbx_ticket){.scope = scope, .until_us = now_us + ttl_us,
                                  .path = {copy, path.n}};
    memcpy(ticket->text, text, SBX_TICKET_TEXT);
    return 0;
}

/* All of it, whatever the first characters say. */
static unsigned ticket_differs(const struct sbx_ticket *ticket, const char *text)
{
    unsigned differs = 0;
    size_t i;
    for (i = 0; i < SBX_TICKET_TEXT; i++)
        differs |= (unsigned)((unsigned char)ticket->text[i] ^ (unsigned char)text[i]);
    return differs;
}

/* Index of the ticket, count when there is none. */
static size_t ticket_find(const struct sbx_tickets *t, const char *text)
{
    size_t i, at = t->count;
    for (i = 0; i < t->count; i++)
        at = ticket_differs(&t->list[i], text) == 0 ? i : at;
    return at;
}

enum sbx_scope sbx_tickets_redeem(struct sbx_tickets *t, struct sbx_str text, struct sbx_str path,
                                  uint64_t now_us)
{
    enum sbx_scope scope;
    size_t at;
    ticket_drop_expired(t, now_us);
    if (text.n != SBX_TICKET_TEXT)
        return SBX_SCOPE_NONE;
    at = ticket_find(t, text.p);
    if (at == t->count || !sbx_str_eq(t->list[at].path, path))
        return SBX_SCOPE_NONE;
    scope = t->list[at].scope;
    ticket_remove(t, at);
    return scope;
}
