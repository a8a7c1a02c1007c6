/* The growable buffer: contents after any mix of appends and consumption, and the sticky flag. */
#include "base/buf.h"

#include "gate.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_empty(void **state)
{
    struct sbx_buf b;
    (void)state;
    sbx_buf_init(&b);
    assert_int_equal(sbx_buf_len(&b), 0);
    assert_int_equal(sbx_buf_view(&b).n, 0);
    assert_null(sbx_buf_data(&b));
    sbx_buf_add(&b, NULL, 0);
    sbx_buf_consume(&b, 0);
    assert_int_equal(sbx_buf_len(&b), 0);
    assert_false(b.oom);
    sbx_buf_deinit(&b);
    assert_null(b.mem);
    sbx_buf_deinit(&b);
}

static void test_appends(void **state)
{
    struct sbx_buf b;
    (void)state;
    sbx_buf_init(&b);
    sbx_buf_add(&b, "ab\0", 3);
    sbx_buf_add_z(&b, "cd");
    sbx_buf_add_str(&b, SBX_STR("ef"));
    sbx_buf_add_byte(&b, 0xFF);
    sbx_buf_add_u64(&b, 1234567890);
    assert_true(sbx_str_eq(sbx_buf_view(&b), SBX_STR("ab\0cdef\xFF" "1234567890")));
    sbx_buf_clear(&b);
    assert_int_equal(sbx_buf_len(&b), 0);
    assert_non_null(b.mem);
    sbx_buf_deinit(&b);
}

static void test_reserve_and_commit(void **state)
{
    struct sbx_buf b;
    uint8_t *to;
    (void)state;
    sbx_buf_init(&b);
    to = sbx_buf_reserve(&b, 1000);
    memset(to, 'x', 1000);
    sbx_buf_commit(&b, 3);
    assert_true(sbx_str_eq(sbx_buf_view(&b), SBX_STR("xxx")));
    sbx_buf_commit(&b, 0);
    assert_int_equal(sbx_buf_len(&b), 3);
    sbx_buf_deinit(&b);
}

/* A queue that is filled and drained for long needs no more memory than it holds at a time. */
static void test_front_is_reclaimed(void **state)
{
    struct sbx_buf b;
    size_t i, cap;
    (void)state;
    sbx_buf_init(&b);
    sbx_buf_add_z(&b, "0123456789");
    cap = b.cap;
    for (i = 0; i < 10000; i++) {
        sbx_buf_add_z(&b, "0123456789");
        sbx_buf_consume(&b, 10);
        assert_true(sbx_str_eq(sbx_buf_view(&b), SBX_STR("0123456789")));
    }
    assert_int_equal(b.cap, cap);
    sbx_buf_deinit(&b);
}

/* Against a plain array: 'produced' and 'consumed' count bytes of one endless known sequence. */
static void test_random_mix(void **state)
{
    struct sbx_buf b;
    uint32_t rnd = 12345;
    size_t produced = 0, consumed = 0, i, k;
    (void)state;
    sbx_buf_init(&b);
    for (i = 0; i < 5000; i++) {
        uint8_t piece[700];
        size_t n;
        rnd = rnd * 1664525u + 1013904223u;
        n = (rnd >> 16) % sizeof piece;
        for (k = 0; k < n; k++)
            piece[k] = (uint8_t)((produced + k) * 7);
        sbx_buf_add(&b, piece, n);
        produced += n;
        rnd = rnd * 1664525u + 1013904223u;
        n = (rnd >> 12) % (sbx_buf_len(&b) + 1);
        sbx_buf_consume(&b, n);
        consumed += n;
        assert_int_equal(sbx_buf_len(&b), produced - consumed);
        for (k = 0; k < sbx_buf_len(&b); k++)
            assert_true(sbx_buf_data(&b)[k] == (uint8_t)((consumed + k) * 7));
    }
    sbx_buf_deinit(&b);
}

static void check_u64_text(uint64_t v, const char *want)
{
    char out[20];
    size_t n = sbx_u64_to_text(v, out);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(out, want, n);
}

static void test_u64_text(void **state)
{
    (void)state;
    check_u64_text(0, "0");
    check_u64_text(9, "9");
    check_u64_text(10, "10");
    check_u64_text(1000000, "1000000");
    check_u64_text(UINT64_MAX, "18446744073709551615");
}

static void grow_twice(void *ctx, const struct gate *g)
{
    struct sbx_buf b;
    char big[2000];
    (void)ctx;
    memset(big, 'b', sizeof big);
    sbx_buf_init(&b);
    sbx_buf_add_z(&b, "head");
    sbx_buf_add(&b, big, sizeof big);
    sbx_buf_add_z(&b, "tail");
    assert_true(b.oom == gate_hit(g));
    if (b.oom) {
        assert_null(sbx_buf_reserve(&b, 1));
        assert_true(sbx_buf_len(&b) == 0 || sbx_str_eq(sbx_buf_view(&b), SBX_STR("head")));
    } else {
        assert_int_equal(sbx_buf_len(&b), sizeof big + 8);
    }
    sbx_buf_deinit(&b);
}

static void test_no_memory_sticks(void **state)
{
    (void)state;
    assert_true(gate_each(grow_twice, NULL) >= 2);
}

static void test_clear_ends_no_memory(void **state)
{
    struct sbx_buf b;
    (void)state;
    sbx_buf_init(&b);
    sbx_buf_add_z(&b, "x");
    assert_null(sbx_buf_reserve(&b, SIZE_MAX));
    assert_true(b.oom);
    sbx_buf_add_z(&b, "y");
    assert_int_equal(sbx_buf_len(&b), 1);
    sbx_buf_clear(&b);
    assert_false(b.oom);
    assert_null(sbx_buf_reserve(&b, SIZE_MAX / 2 + 2));
    sbx_buf_clear(&b);
    sbx_buf_add_z(&b, "z");
    assert_true(sbx_str_eq(sbx_buf_view(&b), SBX_STR("z")));
    sbx_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_reserve_and_commit),
        cmocka_unit_test(test_front_is_reclaimed),
        cmocka_unit_test(test_random_mix),
        cmocka_unit_test(test_u64_text),
        cmocka_unit_test(test_no_memory_sticks),
        cmocka_unit_test(test_clear_ends_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
