/* Shared blocks: counting of references, and what happens without memory. */
#include "base/blob.h"

#include "gate.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_new_is_empty(void **state)
{
    struct sbx_blob *b = sbx_blob_new(100);
    (void)state;
    assert_non_null(b);
    assert_int_equal(b->refs, 1);
    assert_int_equal(b->len, 0);
    assert_int_equal(b->cap, 100);
    memset(b->data, 'x', 100);
    sbx_blob_unref(b);
}

static void test_lives_until_last_reference(void **state)
{
    struct sbx_blob *b = sbx_blob_new(5);
    (void)state;
    memcpy(b->data, "hello", 5);
    b->len = 5;
    assert_ptr_equal(sbx_blob_ref(b), b);
    assert_ptr_equal(sbx_blob_ref(b), b);
    assert_int_equal(b->refs, 3);
    sbx_blob_unref(b);
    sbx_blob_unref(b);
    assert_int_equal(b->refs, 1);
    assert_memory_equal(b->data, "hello", 5);
    sbx_blob_unref(b);
}

static void test_unref_null_and_empty(void **state)
{
    struct sbx_blob *b = sbx_blob_new(0);
    (void)state;
    assert_non_null(b);
    sbx_blob_unref(b);
    sbx_blob_unref(NULL);
}

static void make_one(void *ctx, const struct gate *g)
{
    struct sbx_blob *b = sbx_blob_new(10);
    (void)ctx;
    assert_true((b == NULL) == gate_hit(g));
    sbx_blob_unref(b);
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_int_equal(gate_each(make_one, NULL), 1);
    assert_null(sbx_blob_new(SIZE_MAX));
    assert_null(sbx_blob_new(SIZE_MAX - sizeof(struct sbx_blob) + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_is_empty),
        cmocka_unit_test(test_lives_until_last_reference),
        cmocka_unit_test(test_unref_null_and_empty),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
