/* What keeper and server say to each other, as bytes. */
#include "proc/keeper_msg.h"

#include "guard.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct sbx_keeper_msg good_messages[] = {
    {.type = SBX_KEEPER_MSG_PUT, .kind = SBX_KEEP_PROCESS, .number = UINT64_MAX, .pid = INT32_MAX,
     .fds = 7},
    {.type = SBX_KEEPER_MSG_PUT, .kind = SBX_KEEP_MEMORY, .number = 1, .fds = 1},
    {.type = SBX_KEEPER_MSG_CLOSE_FD, .number = 0x0102030405060708, .fds = 4},
    {.type = SBX_KEEPER_MSG_DROP, .kind = SBX_KEEP_LOCK, .number = 3},
    {.type = SBX_KEEPER_MSG_READY},
    {.type = SBX_KEEPER_MSG_EXIT, .number = 4, .exit = {SBX_EXIT_CODE, 255, false}},
    {.type = SBX_KEEPER_MSG_EXIT, .number = 4, .exit = {SBX_EXIT_SIGNAL, 11, true}},
    {.type = SBX_KEEPER_MSG_EXIT, .number = 4, .exit = {SBX_EXIT_UNKNOWN, 0, false}},
    {.type = SBX_KEEPER_MSG_PUT, .kind = SBX_KEEP_SECRETS, .fds = 1},
};

#define GOOD_MESSAGES (sizeof good_messages / sizeof good_messages[0])

static void same_exit(const struct sbx_exit *a, const struct sbx_exit *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->value, b->value);
    assert_int_equal(a->core, b->core);
}

static void test_messages_come_back(void **state)
{
    uint8_t bytes[SBX_KEEPER_MSG_BYTES];
    struct sbx_keeper_msg m;
    size_t i;
    (void)state;
    for (i = 0; i < GOOD_MESSAGES; i++) {
        const struct sbx_keeper_msg *want = &good_messages[i];
        sbx_keeper_msg_encode(want, bytes);
        assert_int_equal(sbx_keeper_msg_decode(bytes, sizeof bytes, &m), 0);
        assert_int_equal(m.type, want->type);
        assert_int_equal(m.kind, want->kind);
        assert_true(m.number == want->number);
        assert_int_equal(m.pid, want->pid);
        assert_int_equal(m.fds, want->fds);
        same_exit(&m.exit, &want->exit);
    }
}

/* Each byte of each message set to each value: what passes is another message of one spelling. */
static void test_no_second_spelling(void **state)
{
    uint8_t bytes[SBX_KEEPER_MSG_BYTES], again[SBX_KEEPER_MSG_BYTES];
    struct sbx_keeper_msg m;
    size_t i, at, passed = 0;
    unsigned value;
    (void)state;
    for (i = 0; i < GOOD_MESSAGES; i++) {
        for (at = 0; at < sizeof bytes; at++) {
            for (value = 0; value < 256; value++) {
                sbx_keeper_msg_encode(&good_messages[i], bytes);
                bytes[at] = (uint8_t)value;
                if (sbx_keeper_msg_decode(bytes, sizeof bytes, &m) < 0)
                    continue;
                assert_false(at < 4 && value != (uint8_t)"skm\1"[at]);
                sbx_keeper_msg_encode(&m, again);
                assert_memory_equal(bytes, again, sizeof bytes);
                passed++;
            }
        }
    }
    assert_in_range(passed, GOOD_MESSAGES * 32, GOOD_MESSAGES * 32 * 256 / 2);
}

static void test_wrong_lengths(void **state)
{
    uint8_t bytes[SBX_KEEPER_MSG_BYTES + 1] = {0}, item[SBX_KEEPER_ITEM_BYTES + 1] = {0};
    struct sbx_keeper_msg m;
    struct sbx_keep_item it, good = {.kind = SBX_KEEP_MEMORY, .fds = {3, -1, -1}};
    size_t n;
    (void)state;
    sbx_keeper_msg_encode(&good_messages[0], bytes);
    sbx_keeper_item_encode(&good, item);
    for (n = 0; n <= sizeof bytes; n++) {
        uint8_t *copy = guard_copy(bytes, n);
        assert_int_equal(sbx_keeper_msg_decode(copy, n, &m),
                         n == SBX_KEEPER_MSG_BYTES ? 0 : -EINVAL);
        guard_free(copy);
    }
    for (n = 0; n <= sizeof item; n++) {
        uint8_t *copy = guard_copy(item, n);
        assert_int_equal(sbx_keeper_item_decode(copy, n, &it),
                         n == SBX_KEEPER_ITEM_BYTES ? 0 : -EINVAL);
        guard_free(copy);
    }
}

/* Values that a member can hold and a message of that type must not. */
static void test_wrong_values(void **state)
{
    static const struct {
        size_t message, at;
        uint8_t value;
    } wrong[] = {
        {0, 4, 0}, {0, 4, 6}, {0, 5, 5}, {0, 5, 1} /* a listener with a pid */, {0, 6, 8},
        {0, 7, 1}, {0, 19, 0xff} /* negative pid */, {1, 16, 1},
        {2, 6, 0}, {2, 6, 3} /* two at once */, {2, 5, 1}, {3, 6, 1}, {3, 16, 1}, {4, 8, 1},
        {4, 5, 1}, {5, 20, 3}, {5, 25, 1} /* code above 255 */, {5, 7, 1} /* core of an exit */,
        {6, 24, 0}, {6, 7, 2}, {7, 24, 1}, {5, 28, 1}, {5, 31, 1},
        {8, 5, 5}, {8, 16, 2} /* secrets with a pid */,
    };
    uint8_t bytes[SBX_KEEPER_MSG_BYTES];
    struct sbx_keeper_msg m;
    size_t i;
    (void)state;
    for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        sbx_keeper_msg_encode(&good_messages[wrong[i].message], bytes);
        bytes[wrong[i].at] = wrong[i].value;
        if (sbx_keeper_msg_decode(bytes, sizeof bytes, &m) == 0)
            fail_msg("message %zu with byte %zu as %u", wrong[i].message, wrong[i].at,
                     wrong[i].value);
    }
    sbx_keeper_msg_encode(&good_messages[0], bytes);
    memset(bytes + 16, 0, 4);
    bytes[16] = 1; /* pid 1 */
    assert_int_equal(sbx_keeper_msg_decode(bytes, sizeof bytes, &m), -EINVAL);
}

static void test_items(void **state)
{
    static const struct sbx_keep_item items[] = {
        {.kind = SBX_KEEP_PROCESS, .number = UINT64_MAX, .pid = 2, .fds = {-1, 3, INT32_MAX}},
        {.kind = SBX_KEEP_PROCESS, .pid = 70, .fds = {-1, -1, -1}, .exited = true,
         .exit = {SBX_EXIT_SIGNAL, 9, false}},
        {.kind = SBX_KEEP_LOCK, .fds = {9, -1, -1}},
        {.kind = SBX_KEEP_SECRETS, .fds = {3, -1, -1}},
    };
    uint8_t bytes[SBX_KEEPER_ITEM_BYTES];
    struct sbx_keep_item it;
    size_t i;
    (void)state;
    for (i = 0; i < sizeof items / sizeof items[0]; i++) {
        sbx_keeper_item_encode(&items[i], bytes);
        assert_int_equal(sbx_keeper_item_decode(bytes, sizeof bytes, &it), 0);
        assert_int_equal(it.kind, items[i].kind);
        assert_true(it.number == items[i].number);
        assert_int_equal(it.pid, items[i].pid);
        assert_memory_equal(it.fds, items[i].fds, sizeof it.fds);
        assert_int_equal(it.exited, items[i].exited);
        same_exit(&it.exit, &items[i].exit);
    }
}

static void test_wrong_items(void **state)
{
    static const struct sbx_keep_item wrong[] = {
        {.kind = SBX_KEEP_PROCESS, .pid = 1, .fds = {-1, -1, -1}},
        {.kind = SBX_KEEP_PROCESS, .pid = -5, .fds = {-1, -1, -1}},
        {.kind = SBX_KEEP_MEMORY, .pid = 5, .fds = {-1, -1, -1}},
        {.kind = SBX_KEEP_SECRETS + 1, .fds = {-1, -1, -1}},
        {.kind = SBX_KEEP_SECRETS, .pid = 5, .fds = {3, -1, -1}},
        {.kind = SBX_KEEP_MEMORY, .fds = {2, -1, -1}},
        {.kind = SBX_KEEP_MEMORY, .fds = {-1, 0, -1}},
        {.kind = SBX_KEEP_MEMORY, .fds = {-1, -1, -2}},
        {.kind = SBX_KEEP_PROCESS, .pid = 5, .fds = {-1, -1, -1},
         .exit = {SBX_EXIT_CODE, 0, false}},
        {.kind = SBX_KEEP_PROCESS, .pid = 5, .fds = {-1, -1, -1}, .exited = true,
         .exit = {SBX_EXIT_CODE, 256, false}},
    };
    uint8_t bytes[SBX_KEEPER_ITEM_BYTES];
    struct sbx_keep_item it;
    size_t i;
    (void)state;
    for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        sbx_keeper_item_encode(&wrong[i], bytes);
        if (sbx_keeper_item_decode(bytes, sizeof bytes, &it) == 0)
            fail_msg("item %zu passed", i);
    }
}

static void test_variable(void **state)
{
    static const char *const wrong[] = {
        "", ":", ":::::", "1:3:4:5:6", "1:3:4:5:6:", "1:3:4:5:6:7:", "1:3:4:5:6:7:8", "2:3:4:5:6:7",
        "1:2:4:5:6:7", "1:3:2:5:6:7", "1:3:3:5:6:7", "1:3:4:0:6:7", "1:3:4:5:0:7", "1:3:4:5:6:0",
        "01:3:4:5:6:7", "1:03:4:5:6:7", "1:3:4:5:6:07", " 1:3:4:5:6:7", "1:3:4:5:6:7 ",
        "1:+3:4:5:6:7", "1:-3:4:5:6:7", "1:3:4:5:6:2147483648", "1:2147483648:4:5:6:7",
        "1:3:18446744073709551619:5:6:7", "1:3:4:5:6:7\n",
    };
    struct sbx_keeper_handover h = {.link = INT_MAX, .table = INT_MAX - 1, .keeper = INT_MAX,
                                    .generation = INT_MAX, .nofile = INT_MAX}, got;
    char text[SBX_KEEPER_HANDOVER_MAX];
    size_t i;
    (void)state;
    sbx_keeper_handover_format(&h, text);
    assert_string_equal(text, "1:2147483647:2147483646:2147483647:2147483647:2147483647");
    assert_int_equal(sbx_keeper_handover_parse(sbx_str_z(text), &got), 0);
    assert_int_equal(got.link, h.link);
    assert_int_equal(got.table, h.table);
    assert_int_equal(got.keeper, h.keeper);
    assert_int_equal(got.generation, h.generation);
    assert_int_equal(got.nofile, h.nofile);
    for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (sbx_keeper_handover_parse(sbx_str_z(wrong[i]), &got) == 0)
            fail_msg("\"%s\" passed", wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_come_back), cmocka_unit_test(test_no_second_spelling),
        cmocka_unit_test(test_wrong_lengths),      cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_items),              cmocka_unit_test(test_wrong_items),
        cmocka_unit_test(test_variable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
