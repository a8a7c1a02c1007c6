/* The intrusive ring: order, removal anywhere, harmless second removal. */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int id;
    struct sbx_list node;
};

/* The ids in order as one decimal number, read forwards; backwards must agree. */
static int read_ring(const struct sbx_list *head)
{
    const struct sbx_list *n;
    int forwards = 0, backwards = 0, scale = 1;
    for (n = head->next; n != head; n = n->next)
        forwards = forwards * 10 + SBX_LIST_OF(n, struct item, node)->id;
    for (n = head->prev; n != head; n = n->prev, scale *= 10)
        backwards += scale * SBX_LIST_OF(n, struct item, node)->id;
    assert_int_equal(forwards, backwards);
    return forwards;
}

static void test_order_and_removal(void **state)
{
    struct sbx_list head;
    struct item a = {.id = 1}, b = {.id = 2}, c = {.id = 3};
    (void)state;
    sbx_list_init(&head);
    assert_true(sbx_list_empty(&head));
    sbx_list_add_tail(&head, &a.node);
    sbx_list_add_tail(&head, &b.node);
    sbx_list_add_tail(&head, &c.node);
    assert_false(sbx_list_empty(&head));
    assert_int_equal(read_ring(&head), 123);
    sbx_list_remove(&b.node);
    assert_int_equal(read_ring(&head), 13);
    sbx_list_add_tail(&head, &b.node);
    sbx_list_remove(&a.node);
    assert_int_equal(read_ring(&head), 32);
    sbx_list_remove(&b.node);
    sbx_list_remove(&c.node);
    assert_true(sbx_list_empty(&head));
}

static void test_second_removal_is_harmless(void **state)
{
    struct sbx_list head;
    struct item a = {.id = 1}, b = {.id = 2};
    (void)state;
    sbx_list_init(&head);
    sbx_list_init(&b.node);
    sbx_list_remove(&b.node);
    sbx_list_add_tail(&head, &a.node);
    sbx_list_add_tail(&head, &b.node);
    sbx_list_remove(&a.node);
    assert_true(sbx_list_empty(&a.node));
    sbx_list_remove(&a.node);
    assert_int_equal(read_ring(&head), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_removal),
        cmocka_unit_test(test_second_removal_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
