/* ticket.h - one-time tickets: each opens one WebSocket or one stream on one path, once, within its
 * time. They stand in a URL where a token must not: what leaks with the URL is used up. Kept in
 * memory only; a restart of the server makes all of them void. */
#ifndef SBX_API_TICKET_H
#define SBX_API_TICKET_H

#include "api/auth.h"

#include <stdint.h>

#define SBX_TICKET_TEXT 43u         /* characters: base64url of 32 random bytes, without padding */
#define SBX_TICKETS_MAX 1024u       /* valid ones at a time, half of them at most of scope read */
#define SBX_TICKET_TTL_MS 30000u    /* when none is asked for */
#define SBX_TICKET_TTL_MAX_MS 3600000u
#define SBX_TICKET_PATH_MAX 512u

struct sbx_ticket;

struct sbx_tickets {
    struct sbx_ticket *list; /* owned array, in no order */
    size_t count, cap;
};

void sbx_tickets_init(struct sbx_tickets *t);
void sbx_tickets_deinit(struct sbx_tickets *t);

/* 0 and the text; -EAGAIN: there are SBX_TICKETS_MAX already, none of them expired at now_us;
 * -ENOMEM, or what the system's generator said. */
int sbx_tickets_issue(struct sbx_tickets *t, struct sbx_str path, enum sbx_scope scope,
                      uint64_t now_us, uint64_t ttl_us, char text[SBX_TICKET_TEXT]);
/* The scope of whoever asked for it, and the ticket is used up; NONE when it is none, or not for
 * that path (then it stays), or its time is over. Compared in constant time. */
enum sbx_scope sbx_tickets_redeem(struct sbx_tickets *t, struct sbx_str text, struct sbx_str path,
                                  uint64_t now_us);

#endif
