/* keeper_msg.c - see keeper_msg.h.
 *
 *   message  magic 4 | type 1 | kind 1 | fds 1 | core 1 | number 8 | pid 4 | exit kind 4 |
 *            exit value 4 | 0 4
 *   item     magic 4 | kind 1 | exited 1 | core 1 | 0 1 | number 8 | pid 4 | fds 3 * 4 |
 *            exit kind 4 | exit value 4
 *   variable VERSION:LINK:TABLE:KEEPER:GENERATION:NOFILE, decimal
 *
 * Numbers are little-endian whatever the machine, so that stored fuzzing inputs mean the same
 * everywhere. The last byte of a magic and VERSION change when the meaning of anything here does:
 * after an upgrade keeper and server are of different age. */
#include "proc/keeper_msg.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static const uint8_t keeper_msg_magic[4] = {'s', 'k', 'm', 1};
static const uint8_t keeper_msg_item_magic[4] = {'s', 'k', 'i', 1};

#define KEEPER_MSG_VERSION 1u
#define KEEPER_MSG_ALL_FDS ((1u << SBX_KEEP_FDS) - 1)

static void keeper_msg_store(uint8_t *out, uint64_t value, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t keeper_msg_load(const uint8_t *p, size_t n)
{
    uint64_t value = 0;
    while (n-- > 0)
        value = value << 8 | p[n];
    return value;
}

static int32_t keeper_msg_load_int(const uint8_t *p)
{
    uint32_t bits = (uint32_t)keeper_msg_load(p, 4);
    int32_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void keeper_msg_store_int(uint8_t *out, int32_t value)
{
    keeper_msg_store(out, (uint32_t)value, 4);
}

/* Kind and value of an exit lie side by side in both forms. */
static void keeper_msg_store_exit(uint8_t *out, const struct sbx_exit *e)
{
    keeper_msg_store_int(out, (int32_t)e->kind);
    keeper_msg_store_int(out + 4, e->value);
}

static bool keeper_msg_load_exit(const uint8_t *p, uint8_t core, struct sbx_exit *e)
{
    int32_t kind = keeper_msg_load_int(p);
    e->value = keeper_msg_load_int(p + 4);
    e->core = core != 0;
    if (core > 1 || kind < (int32_t)SBX_EXIT_UNKNOWN || kind > (int32_t)SBX_EXIT_SIGNAL)
        return false;
    e->kind = (enum sbx_exit_kind)kind;
    if (e->core && e->kind != SBX_EXIT_SIGNAL)
        return false;
    switch (e->kind) {
    case SBX_EXIT_UNKNOWN: return e->value == 0;
    case SBX_EXIT_CODE:    return e->value >= 0 && e->value <= 255;
    case SBX_EXIT_SIGNAL:  return e->value > 0 && e->value <= 255;
    }
    return false;
}

static bool keeper_msg_good_pid(uint32_t kind, int32_t pid)
{
    /* Pid 1 is nobody's child, and its group would be everybody. 0: the process has ended, and only
     * its descriptors are still of use. */
    return pid == 0 || (kind == SBX_KEEP_PROCESS && pid > 1);
}

static bool keeper_msg_is_clear(const struct sbx_exit *e)
{
    return e->kind == SBX_EXIT_UNKNOWN && e->value == 0 && !e->core;
}

/* Is each member of the range its type allows, and those that it does not use 0? */
static bool keeper_msg_is_valid(const struct sbx_keeper_msg *m)
{
    bool clear = keeper_msg_is_clear(&m->exit);
    if (m->kind > SBX_KEEP_SECRETS || m->fds > KEEPER_MSG_ALL_FDS)
        return false;
    switch (m->type) {
    case SBX_KEEPER_MSG_PUT:
        return keeper_msg_good_pid(m->kind, m->pid) && clear;
    case SBX_KEEPER_MSG_CLOSE_FD:
        return m->kind == 0 && m->pid == 0 && clear && m->fds != 0 && (m->fds & (m->fds - 1)) == 0;
    case SBX_KEEPER_MSG_DROP:
        return m->pid == 0 && m->fds == 0 && clear;
    case SBX_KEEPER_MSG_READY:
        return m->kind == 0 && m->number == 0 && m->pid == 0 && m->fds == 0 && clear;
    case SBX_KEEPER_MSG_EXIT:
        return m->kind == 0 && m->pid == 0 && m->fds == 0;
    }
    return false;
}

void sbx_keeper_msg_encode(const struct sbx_keeper_msg *m, uint8_t out[SBX_KEEPER_MSG_BYTES])
{
    assert(keeper_msg_is_valid(m));
    memcpy(out, keeper_msg_magic, 4);
    out[4] = (uint8_t)m->type;
    out[5] = (uint8_t)m->kind;
    out[6] = (uint8_t)m->fds;
    out[7] = m->exit.core;
    keeper_msg_store(out + 8, m->number, 8);
    keeper_msg_store_int(out + 16, m->pid);
    keeper_msg_store_exit(out + 20, &m->exit);
    keeper_msg_store(out + 28, 0, 4);
}

int sbx_keeper_msg_decode(const uint8_t *p, size_t n, struct sbx_keeper_msg *m)
{
    if (n != SBX_KEEPER_MSG_BYTES || memcmp(p, keeper_msg_magic, 4) != 0)
        return -EINVAL;
    if (p[4] < SBX_KEEPER_MSG_PUT || p[4] > SBX_KEEPER_MSG_EXIT || keeper_msg_load(p + 28, 4) != 0)
        return -EINVAL;
    m->type = (enum sbx_keeper_msg_type)p[4];
    m->kind = p[5];
    m->fds = p[6];
    m->number = keeper_msg_load(p + 8, 8);
    m->pid = keeper_msg_load_int(p + 16);
    if (!keeper_msg_load_exit(p + 20, p[7], &m->exit) || !keeper_msg_is_valid(m))
        return -EINVAL;
    return 0;
}

void sbx_keeper_item_encode(const struct sbx_keep_item *item, uint8_t out[SBX_KEEPER_ITEM_BYTES])
{
    size_t i;
    memcpy(out, keeper_msg_item_magic, 4);
    out[4] = (uint8_t)item->kind;
    out[5] = item->exited;
    out[6] = item->exit.core;
    out[7] = 0;
    keeper_msg_store(out + 8, item->number, 8);
    keeper_msg_store_int(out + 16, item->pid);
    for (i = 0; i < SBX_KEEP_FDS; i++)
        keeper_msg_store_int(out + 20 + 4 * i, item->fds[i]);
    keeper_msg_store_exit(out + 32, &item->exit);
}

int sbx_keeper_item_decode(const uint8_t *p, size_t n, struct sbx_keep_item *item)
{
    size_t i;
    if (n != SBX_KEEPER_ITEM_BYTES || memcmp(p, keeper_msg_item_magic, 4) != 0)
        return -EINVAL;
    if (p[4] > SBX_KEEP_SECRETS || p[5] > 1 || p[7] != 0)
        return -EINVAL;
    item->kind = p[4];
    item->exited = p[5] != 0;
    item->number = keeper_msg_load(p + 8, 8);
    item->pid = keeper_msg_load_int(p + 16);
    for (i = 0; i < SBX_KEEP_FDS; i++) {
        item->fds[i] = keeper_msg_load_int(p + 20 + 4 * i);
        /* 0, 1 and 2 are never kept. */
        if (item->fds[i] < -1 || (item->fds[i] >= 0 && item->fds[i] <= 2))
            return -EINVAL;
    }
    if (!keeper_msg_load_exit(p + 32, p[6], &item->exit) ||
        !keeper_msg_good_pid(item->kind, item->pid))
        return -EINVAL;
    return item->exited || keeper_msg_is_clear(&item->exit) ? 0 : -EINVAL;
}

void sbx_keeper_handover_format(const struct sbx_keeper_handover *h,
                                char out[SBX_KEEPER_HANDOVER_MAX])
{
    (void)snprintf(out, SBX_KEEPER_HANDOVER_MAX, "%u:%d:%d:%ld:%u:%zu", KEEPER_MSG_VERSION,
                   h->link, h->table, (long)h->keeper, h->generation, h->nofile);
}

/* Cuts the next number, and the colon behind it, out of *rest. One spelling: no leading zeros. */
static bool keeper_msg_next_number(struct sbx_str *rest, uint64_t max, uint64_t *value)
{
    const char *colon = rest->n > 0 ? memchr(rest->p, ':', rest->n) : NULL;
    struct sbx_str digits = *rest;
    if (colon != NULL)
        digits.n = (size_t)(colon - rest->p);
    rest->p += digits.n + (colon != NULL);
    rest->n -= digits.n + (colon != NULL);
    if (digits.n > 1 && digits.p[0] == '0')
        return false;
    return sbx_str_to_u64(digits, value) == 0 && *value <= max;
}

int sbx_keeper_handover_parse(struct sbx_str text, struct sbx_keeper_handover *h)
{
    uint64_t v[6];
    size_t i, colons = 0;
    for (i = 0; i < text.n; i++)
        colons += text.p[i] == ':';
    if (colons != 5)
        return -EINVAL;
    for (i = 0; i < 6; i++)
        if (!keeper_msg_next_number(&text, INT_MAX, &v[i]))
            return -EINVAL;
    if (v[0] != KEEPER_MSG_VERSION || v[1] <= 2 || v[2] <= 2 || v[1] == v[2] || v[3] == 0 ||
        v[4] == 0 || v[5] == 0)
        return -EINVAL;
    h->link = (int)v[1];
    h->table = (int)v[2];
    h->keeper = (pid_t)v[3];
    h->generation = (unsigned)v[4];
    h->nofile = (size_t)v[5];
    return 0;
}
