/* Wrong tokens are answered more and more slowly, each peer's for itself. */
#include "api/throttle.h"
#include "gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define START_US 5000000u

static struct sbx_loop loop;
static struct sbx_throttle throttle;

static int setup(void **state)
{
    (void)state;
    loop.now_us = START_US;
    sbx_throttle_init(&throttle, &loop);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sbx_throttle_deinit(&throttle);
    return 0;
}

static struct sbx_peer v4(uint32_t n)
{
    struct sbx_peer p = {.family = AF_INET};
    memcpy(p.bytes, &n, sizeof n);
    return p;
}

static struct sbx_peer v6(uint8_t net, uint8_t host)
{
    struct sbx_peer p = {.family = AF_INET6};
    p.bytes[0] = 0x20;
    p.bytes[7] = net;
    p.bytes[15] = host;
    return p;
}

static enum sbx_throttle_verdict fail_from(struct sbx_peer p, uint64_t *delay)
{
    return sbx_throttle_fail(&throttle, &p, delay);
}

static void done(struct sbx_peer p)
{
    sbx_throttle_done(&throttle, &p);
}

/* A failure that was waited for: the delay, 0 when there was none. */
static uint64_t whole(struct sbx_peer p)
{
    uint64_t delay;
    enum sbx_throttle_verdict verdict = fail_from(p, &delay);
    assert_int_not_equal(verdict, SBX_THROTTLE_TOO_MANY);
    if (verdict == SBX_THROTTLE_LATER)
        done(p);
    assert_int_equal(verdict == SBX_THROTTLE_LATER, delay > 0);
    return delay;
}

static void use_up(struct sbx_peer p)
{
    unsigned i;
    for (i = 0; i < SBX_THROTTLE_FREE; i++)
        assert_int_equal(whole(p), 0);
}

static void test_slower_and_slower(void **state)
{
    static const unsigned ms[] = {100, 200, 400, 800, 1600, 2000, 2000, 2000};
    size_t i;
    (void)state;
    use_up(v4(1));
    for (i = 0; i < sizeof ms / sizeof *ms; i++)
        assert_int_equal(whole(v4(1)), ms[i] * 1000u);
}

static void test_each_peer_for_itself(void **state)
{
    (void)state;
    use_up(v4(1));
    assert_true(whole(v4(1)) > 0);
    assert_int_equal(whole(v4(2)), 0);
    assert_int_equal(whole(v6(1, 1)), 0);
    assert_int_equal(whole((struct sbx_peer){.family = AF_UNIX}), 0);
    assert_int_equal(whole((struct sbx_peer){.family = AF_UNSPEC}), 0);
    assert_true(whole(v4(1)) > 0);
}

static void test_a_network_is_one_peer(void **state)
{
    uint8_t i;
    (void)state;
    for (i = 0; i < SBX_THROTTLE_FREE; i++)
        assert_int_equal(whole(v6(1, i)), 0);
    assert_true(whole(v6(1, 200)) > 0);
    assert_int_equal(whole(v6(2, 200)), 0);
}

static void test_forgotten(void **state)
{
    (void)state;
    use_up(v4(1));
    loop.now_us += SBX_THROTTLE_FORGET_US - 1;
    assert_int_equal(whole(v4(1)), SBX_THROTTLE_FIRST_US);
    loop.now_us += SBX_THROTTLE_FORGET_US;
    use_up(v4(1));
    assert_int_equal(whole(v4(1)), SBX_THROTTLE_FIRST_US);
}

static void test_not_too_many_wait(void **state)
{
    uint64_t delay;
    unsigned i;
    (void)state;
    use_up(v4(1));
    use_up(v4(2));
    for (i = 0; i < SBX_THROTTLE_WAITING; i++)
        assert_int_equal(fail_from(v4(1), &delay), SBX_THROTTLE_LATER);
    assert_int_equal(fail_from(v4(1), &delay), SBX_THROTTLE_TOO_MANY);
    assert_int_equal(fail_from(v4(2), &delay), SBX_THROTTLE_LATER);
    done(v4(2));
    done(v4(1));
    assert_int_equal(fail_from(v4(1), &delay), SBX_THROTTLE_LATER);
    assert_int_equal(fail_from(v4(1), &delay), SBX_THROTTLE_TOO_MANY);
    for (i = 0; i < SBX_THROTTLE_WAITING; i++)
        done(v4(1));
}

static void test_the_oldest_makes_room(void **state)
{
    uint32_t i;
    (void)state;
    use_up(v4(0));
    use_up(v4(1));
    loop.now_us++;
    assert_true(whole(v4(0)) > 0); /* 1 is the oldest now */
    for (i = 2; i < SBX_THROTTLE_PEERS; i++) {
        loop.now_us++;
        assert_int_equal(whole(v4(i)), 0);
    }
    assert_int_equal(whole(v4(1000)), 0);
    assert_true(whole(v4(0)) > 0);
    assert_int_equal(whole(v4(1)), 0); /* known no more */
}

static void test_who_waits_is_kept(void **state)
{
    uint64_t delay;
    uint32_t i;
    (void)state;
    for (i = 0; i < SBX_THROTTLE_PEERS; i++) {
        use_up(v4(i));
        assert_int_equal(fail_from(v4(i), &delay), SBX_THROTTLE_LATER);
        loop.now_us++;
    }
    assert_int_equal(fail_from(v4(1000), &delay), SBX_THROTTLE_TOO_MANY);
    assert_int_equal(fail_from(v4(7), &delay), SBX_THROTTLE_LATER);
    done(v4(7));
    for (i = 0; i < SBX_THROTTLE_PEERS; i++)
        done(v4(i));
    assert_int_equal(whole(v4(1000)), 0);
}

static void test_at_time_zero(void **state)
{
    (void)state;
    loop.now_us = 0;
    use_up(v4(1));
    assert_int_equal(whole(v4(1)), SBX_THROTTLE_FIRST_US);
}

static void attempt(void *ctx, const struct gate *g)
{
    struct sbx_throttle t;
    struct sbx_peer p = v4(1);
    enum sbx_throttle_verdict verdict;
    uint64_t delay;
    (void)ctx;
    sbx_throttle_init(&t, &loop);
    verdict = sbx_throttle_fail(&t, &p, &delay);
    assert_int_equal(verdict, gate_hit(g) ? SBX_THROTTLE_TOO_MANY : SBX_THROTTLE_NOW);
    sbx_throttle_deinit(&t);
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_int_equal(gate_each(attempt, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_slower_and_slower, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_peer_for_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_network_is_one_peer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_too_many_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_oldest_makes_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_waits_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_at_time_zero, setup, teardown),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
