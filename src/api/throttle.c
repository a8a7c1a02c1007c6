/* throttle.c - see throttle.h.
 *
 * A small table that is searched from end to end: it is looked at only when a credential was wrong,
 * and 256 comparisons cost less than what the refusal costs anyway. What holds:
 *   - last_us != 0 exactly in entries that are in use;
 *   - waiting is the number of LATER verdicts without their done, so such an entry is never given
 *     to another peer. */
#include "api/throttle.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

void sbx_throttle_init(struct sbx_throttle *t, struct sbx_loop *loop)
{
    *t = (struct sbx_throttle){.loop = loop};
}

static bool throttle_is_idle(const struct sbx_throttle *t)
{
    size_t i;
    for (i = 0; t->peers != NULL && i < SBX_THROTTLE_PEERS; i++)
        if (t->peers[i].waiting > 0)
            return false;
    return true;
}

void sbx_throttle_deinit(struct sbx_throttle *t)
{
    assert(throttle_is_idle(t));
    sbx_mem_free(t->peers);
    t->peers = NULL;
}

/* Who has one IPv6 address has all of its network's: 2^64 of them must not be 2^64 peers. */
static struct sbx_peer throttle_key(const struct sbx_peer *peer)
{
    struct sbx_peer key;
    memset(&key, 0, sizeof key);
    key.family = peer->family;
    memcpy(key.bytes, peer->bytes, peer->family == AF_INET6 ? 8 : sizeof key.bytes);
    return key;
}

static struct sbx_throttle_peer *throttle_find(const struct sbx_throttle *t,
                                               const struct sbx_peer *key)
{
    size_t i;
    for (i = 0; t->peers != NULL && i < SBX_THROTTLE_PEERS; i++) {
        struct sbx_throttle_peer *p = &t->peers[i];
        if (p->last_us != 0 && p->peer.family == key->family &&
            memcmp(p->peer.bytes, key->bytes, sizeof key->bytes) == 0)
            return p;
    }
    return NULL;
}

/* An entry for another peer: an unused one, else that of whoever failed longest ago. NULL when all
 * have refusals waiting. */
static struct sbx_throttle_peer *throttle_victim(const struct sbx_throttle *t)
{
    struct sbx_throttle_peer *victim = NULL;
    size_t i;
    for (i = 0; i < SBX_THROTTLE_PEERS; i++) {
        struct sbx_throttle_peer *p = &t->peers[i];
        if (p->waiting == 0 && (victim == NULL || p->last_us < victim->last_us))
            victim = p;
    }
    return victim;
}

static struct sbx_throttle_peer *throttle_add(struct sbx_throttle *t, const struct sbx_peer *key)
{
    struct sbx_throttle_peer *p = throttle_victim(t);
    if (p != NULL)
        *p = (struct sbx_throttle_peer){.peer = *key};
    return p;
}

static uint64_t throttle_delay(uint32_t failures)
{
    uint64_t delay = SBX_THROTTLE_FIRST_US;
    uint32_t i;
    for (i = SBX_THROTTLE_FREE + 1; i < failures && delay < SBX_THROTTLE_MOST_US; i++)
        delay *= 2;
    return delay < SBX_THROTTLE_MOST_US ? delay : SBX_THROTTLE_MOST_US;
}

static void throttle_count(struct sbx_throttle_peer *p, uint64_t now)
{
    if (now >= p->last_us + SBX_THROTTLE_FORGET_US)
        p->failures = 0;
    if (p->failures < UINT32_MAX)
        p->failures++;
    p->last_us = now > 0 ? now : 1;
}

enum sbx_throttle_verdict sbx_throttle_fail(struct sbx_throttle *t, const struct sbx_peer *peer,
                                            uint64_t *delay_us)
{
    struct sbx_peer key = throttle_key(peer);
    struct sbx_throttle_peer *p;
    *delay_us = 0;
    if (t->peers == NULL)
        t->peers = sbx_mem_calloc(SBX_THROTTLE_PEERS * sizeof *t->peers);
    if (t->peers == NULL)
        return SBX_THROTTLE_TOO_MANY; /* what cannot be counted cannot be slowed */
    p = throttle_find(t, &key);
    if (p == NULL)
        p = throttle_add(t, &key);
    if (p == NULL)
        return SBX_THROTTLE_TOO_MANY;
    throttle_count(p, t->loop->now_us);
    if (p->failures <= SBX_THROTTLE_FREE)
        return SBX_THROTTLE_NOW;
    if (p->waiting >= SBX_THROTTLE_WAITING)
        return SBX_THROTTLE_TOO_MANY;
    p->waiting++;
    *delay_us = throttle_delay(p->failures);
    return SBX_THROTTLE_LATER;
}

void sbx_throttle_done(struct sbx_throttle *t, const struct sbx_peer *peer)
{
    struct sbx_peer key = throttle_key(peer);
    struct sbx_throttle_peer *p = throttle_find(t, &key);
    assert(p != NULL && p->waiting > 0);
    if (p != NULL)
        p->waiting--;
}
