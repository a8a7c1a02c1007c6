/* fuzz_keeper_msg.c - any bytes as what keeper and server say to each other.
 *
 * The first byte of the input chooses the form: a message, an item of the table, the variable. What
 * decodes is within its ranges and encodes to the very bytes that came. */
#undef NDEBUG
#include "proc/keeper_msg.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_exit(const struct sbx_exit *e)
{
    assert(e->kind == SBX_EXIT_UNKNOWN || e->kind == SBX_EXIT_CODE || e->kind == SBX_EXIT_SIGNAL);
    assert(e->value >= 0 && e->value <= 255);
    assert(!e->core || e->kind == SBX_EXIT_SIGNAL);
}

static void check_message(const uint8_t *p, size_t n)
{
    uint8_t again[SBX_KEEPER_MSG_BYTES];
    struct sbx_keeper_msg m;
    if (sbx_keeper_msg_decode(p, n, &m) < 0)
        return;
    assert(n == sizeof again && m.kind <= SBX_KEEP_SECRETS && m.fds < 1u << SBX_KEEP_FDS);
    assert(m.pid >= 0 && m.pid != 1);
    check_exit(&m.exit);
    sbx_keeper_msg_encode(&m, again);
    assert(memcmp(p, again, n) == 0);
}

static void check_item(const uint8_t *p, size_t n)
{
    uint8_t again[SBX_KEEPER_ITEM_BYTES];
    struct sbx_keep_item item;
    size_t i;
    if (sbx_keeper_item_decode(p, n, &item) < 0)
        return;
    assert(n == sizeof again && item.kind <= SBX_KEEP_SECRETS);
    assert(item.pid == 0 || (item.kind == SBX_KEEP_PROCESS && item.pid > 1));
    for (i = 0; i < SBX_KEEP_FDS; i++)
        assert(item.fds[i] == -1 || item.fds[i] > 2);
    check_exit(&item.exit);
    sbx_keeper_item_encode(&item, again);
    assert(memcmp(p, again, n) == 0);
}

static void check_variable(const uint8_t *p, size_t n)
{
    char again[SBX_KEEPER_HANDOVER_MAX];
    struct sbx_keeper_handover h;
    if (sbx_keeper_handover_parse((struct sbx_str){(const char *)p, n}, &h) < 0)
        return;
    assert(h.link > 2 && h.table > 2 && h.link != h.table && h.keeper > 0 && h.generation > 0);
    sbx_keeper_handover_format(&h, again);
    assert(strlen(again) == n && memcmp(p, again, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == 'm')
        check_message(data + 1, size - 1);
    else if (data[0] == 'i')
        check_item(data + 1, size - 1);
    else
        check_variable(data + 1, size - 1);
    return 0;
}
