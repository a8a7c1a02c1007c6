/* throttle.h - answers to wrong tokens come slower and slower, for each peer. Only the refusal
 * waits: who has a token is never delayed, whatever others at the same address do. */
#ifndef SBX_API_THROTTLE_H
#define SBX_API_THROTTLE_H

#include "net/address.h"
#include "net/conn.h"
#include "os/loop.h"

#include <stdint.h>

#define SBX_THROTTLE_PEERS 256u      /* remembered; the one that failed longest ago goes first */
#define SBX_THROTTLE_FREE 5u         /* failures in a row that cost nothing */
#define SBX_THROTTLE_FIRST_US 100000u /* then 100 ms, and twice as much each time */
#define SBX_THROTTLE_MOST_US 2000000u
#define SBX_THROTTLE_FORGET_US 60000000u /* after this long without a failure all is forgotten */
#define SBX_THROTTLE_WAITING 32u     /* refusals of one peer that wait at once; further ones are
                                        answered at once, with 429 and a closed connection */

struct sbx_throttle_peer {
    struct sbx_peer peer;   /* IPv6: the /64 */
    uint64_t last_us;       /* 0: unused */
    uint32_t failures;
    uint32_t waiting;
};

struct sbx_throttle {
    struct sbx_loop *loop;
    struct sbx_throttle_peer *peers; /* owned; made when first needed */
};

enum sbx_throttle_verdict { SBX_THROTTLE_NOW, SBX_THROTTLE_LATER, SBX_THROTTLE_TOO_MANY };

void sbx_throttle_init(struct sbx_throttle *t, struct sbx_loop *loop);
void sbx_throttle_deinit(struct sbx_throttle *t); /* when nothing waits any more */

/* Notes a failure. LATER: the answer is to be given after *delay_us, and sbx_throttle_done called
 * with the same peer when it was or when its connection has gone. */
enum sbx_throttle_verdict sbx_throttle_fail(struct sbx_throttle *t, const struct sbx_peer *peer,
                                            uint64_t *delay_us);
void sbx_throttle_done(struct sbx_throttle *t, const struct sbx_peer *peer);

#endif
