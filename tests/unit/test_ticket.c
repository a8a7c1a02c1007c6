/* Tickets open one path, once, in time. */
#include "api/ticket.h"
#include "gate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TTL_US 1000u
#define PATH SBX_STR("/v1/processes/proc_1/terminal/ws")

static struct sbx_tickets tickets;

static int setup(void **state)
{
    (void)state;
    sbx_tickets_init(&tickets);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sbx_tickets_deinit(&tickets);
    return 0;
}

static struct sbx_str issue(char text[SBX_TICKET_TEXT], enum sbx_scope scope, uint64_t now)
{
    assert_int_equal(sbx_tickets_issue(&tickets, PATH, scope, now, TTL_US, text), 0);
    return (struct sbx_str){text, SBX_TICKET_TEXT};
}

static enum sbx_scope redeem(struct sbx_str text, uint64_t now)
{
    return sbx_tickets_redeem(&tickets, text, PATH, now);
}

static void test_once(void **state)
{
    char a[SBX_TICKET_TEXT], b[SBX_TICKET_TEXT];
    struct sbx_str read, full;
    (void)state;
    read = issue(a, SBX_SCOPE_READ, 0);
    full = issue(b, SBX_SCOPE_FULL, 0);
    assert_int_equal(redeem(read, 1), SBX_SCOPE_READ);
    assert_int_equal(redeem(read, 1), SBX_SCOPE_NONE);
    assert_int_equal(redeem(full, 1), SBX_SCOPE_FULL);
    assert_int_equal(redeem(full, 1), SBX_SCOPE_NONE);
    assert_int_equal(tickets.count, 0);
}

static void test_text(void **state)
{
    char texts[64][SBX_TICKET_TEXT];
    size_t i, j;
    (void)state;
    for (i = 0; i < 64; i++) {
        issue(texts[i], SBX_SCOPE_FULL, 0);
        for (j = 0; j < SBX_TICKET_TEXT; j++)
            assert_non_null(memchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz0123456789-_", texts[i][j], 64));
        for (j = 0; j < i; j++)
            assert_memory_not_equal(texts[i], texts[j], SBX_TICKET_TEXT);
    }
}

static void test_in_time(void **state)
{
    char a[SBX_TICKET_TEXT], b[SBX_TICKET_TEXT];
    struct sbx_str early, late;
    (void)state;
    early = issue(a, SBX_SCOPE_FULL, 500);
    late = issue(b, SBX_SCOPE_FULL, 501);
    assert_int_equal(redeem(early, 500 + TTL_US), SBX_SCOPE_NONE);
    assert_int_equal(tickets.count, 1);
    assert_int_equal(redeem(late, 500 + TTL_US), SBX_SCOPE_FULL);
}

static void test_another_path_leaves_it(void **state)
{
    static const char *const others[] = {"", "/", "/v1/processes/proc_1/terminal/w",
                                         "/v1/processes/proc_1/terminal/ws/",
                                         "/v1/processes/proc_2/terminal/ws",
                                         "/v1/processes/proc%5F1/terminal/ws"};
    char a[SBX_TICKET_TEXT];
    struct sbx_str text;
    size_t i;
    (void)state;
    text = issue(a, SBX_SCOPE_FULL, 0);
    for (i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(sbx_tickets_redeem(&tickets, text, sbx_str_z(others[i]), 1),
                         SBX_SCOPE_NONE);
    assert_int_equal(redeem(text, 1), SBX_SCOPE_FULL);
}

static void test_wrong_text(void **state)
{
    char a[SBX_TICKET_TEXT + 1], wrong[SBX_TICKET_TEXT];
    size_t i;
    (void)state;
    issue(a, SBX_SCOPE_FULL, 0);
    a[SBX_TICKET_TEXT] = 'A';
    for (i = 0; i < SBX_TICKET_TEXT; i++) {
        memcpy(wrong, a, sizeof wrong);
        wrong[i] = wrong[i] == 'A' ? 'B' : 'A';
        assert_int_equal(redeem((struct sbx_str){wrong, sizeof wrong}, 1), SBX_SCOPE_NONE);
    }
    assert_int_equal(redeem((struct sbx_str){a, SBX_TICKET_TEXT - 1}, 1), SBX_SCOPE_NONE);
    assert_int_equal(redeem((struct sbx_str){a, SBX_TICKET_TEXT + 1}, 1), SBX_SCOPE_NONE);
    assert_int_equal(redeem((struct sbx_str){NULL, 0}, 1), SBX_SCOPE_NONE);
    assert_int_equal(redeem((struct sbx_str){a, SBX_TICKET_TEXT}, 1), SBX_SCOPE_FULL);
}

static void test_order_does_not_matter(void **state)
{
    static char texts[100][SBX_TICKET_TEXT];
    size_t i;
    (void)state;
    for (i = 0; i < 100; i++)
        issue(texts[i], i % 2 == 0 ? SBX_SCOPE_READ : SBX_SCOPE_FULL, 0);
    for (i = 0; i < 100; i++) {
        size_t at = i * 37 % 100;
        assert_int_equal(redeem((struct sbx_str){texts[at], SBX_TICKET_TEXT}, 1),
                         at % 2 == 0 ? SBX_SCOPE_READ : SBX_SCOPE_FULL);
    }
    assert_int_equal(tickets.count, 0);
}

static void test_limit(void **state)
{
    char text[SBX_TICKET_TEXT];
    size_t i;
    (void)state;
    for (i = 0; i < SBX_TICKETS_MAX; i++)
        issue(text, SBX_SCOPE_FULL, i == 0 ? 0 : 1);
    assert_int_equal(sbx_tickets_issue(&tickets, PATH, SBX_SCOPE_FULL, 1, TTL_US, text), -EAGAIN);
    issue(text, SBX_SCOPE_FULL, TTL_US); /* the first has expired */
    assert_int_equal(tickets.count, SBX_TICKETS_MAX);
    assert_int_equal(redeem((struct sbx_str){text, SBX_TICKET_TEXT}, TTL_US), SBX_SCOPE_FULL);
    issue(text, SBX_SCOPE_FULL, TTL_US + 1); /* and now all but this one */
    assert_int_equal(tickets.count, 1);
}

static void attempt(void *ctx, const struct gate *g)
{
    char text[20][SBX_TICKET_TEXT];
    struct sbx_tickets t;
    size_t i, got = 0;
    (void)ctx;
    sbx_tickets_init(&t);
    for (i = 0; i < 20; i++) {
        int rc = sbx_tickets_issue(&t, PATH, SBX_SCOPE_FULL, 0, TTL_US, text[got]);
        assert_true(rc == 0 || (rc == -ENOMEM && gate_hit(g)));
        got += rc == 0;
    }
    assert_int_equal(t.count, got);
    for (i = 0; i < got; i++)
        assert_int_equal(sbx_tickets_redeem(&t, (struct sbx_str){text[i], SBX_TICKET_TEXT}, PATH,
                                            1), SBX_SCOPE_FULL);
    sbx_tickets_deinit(&t);
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(gate_each(attempt, NULL) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_path_leaves_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_does_not_matter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
