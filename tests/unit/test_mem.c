/* The door to the heap: contents, and the gate in front of every way in. */
#include "base/mem.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int ask_refuse(void *ctx)
{
    ++*(int *)ctx;
    return 0;
}

static void test_calloc_is_zero(void **state)
{
    unsigned char *p = sbx_mem_alloc(64), zero[64] = {0};
    (void)state;
    memset(p, 0xAA, 64);
    sbx_mem_free(p);
    p = sbx_mem_calloc(64);
    assert_memory_equal(p, zero, 64);
    sbx_mem_free(p);
}

static void test_realloc_keeps_contents(void **state)
{
    char *p = sbx_mem_realloc(NULL, 4);
    (void)state;
    memcpy(p, "abcd", 4);
    p = sbx_mem_realloc(p, 4096);
    assert_memory_equal(p, "abcd", 4);
    sbx_mem_free(p);
}

static void test_strndup(void **state)
{
    char *p = sbx_mem_strndup("abc\0def", 7);
    (void)state;
    assert_memory_equal(p, "abc\0def\0", 8);
    sbx_mem_free(p);
    p = sbx_mem_strndup(NULL, 0);
    assert_string_equal(p, "");
    sbx_mem_free(p);
}

static void test_free_null(void **state)
{
    (void)state;
    sbx_mem_free(NULL);
}

static void test_gate_refuses_each_way(void **state)
{
    int asked = 0;
    char *p = sbx_mem_strndup("keep", 4);
    (void)state;
    sbx_mem_set_gate(ask_refuse, &asked);
    assert_null(sbx_mem_alloc(1));
    assert_null(sbx_mem_calloc(1));
    assert_null(sbx_mem_realloc(p, 100));
    assert_null(sbx_mem_strndup("x", 1));
    assert_int_equal(asked, 4);
    sbx_mem_set_gate(NULL, NULL);
    assert_string_equal(p, "keep");
    p = sbx_mem_realloc(p, 100);
    assert_non_null(p);
    assert_string_equal(p, "keep");
    sbx_mem_free(p);
    assert_int_equal(asked, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calloc_is_zero),
        cmocka_unit_test(test_realloc_keeps_contents),
        cmocka_unit_test(test_strndup),
        cmocka_unit_test(test_free_null),
        cmocka_unit_test(test_gate_refuses_each_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
