/* The store in memory: long random histories, and too little memory. */
#include "store_rig.h"

#include "base/mem.h"
#include "gate.h"

static void random_turn(struct random *r, size_t longest)
{
    size_t appends = 1 + random_below(r, 4);
    while (appends-- > 0)
        append((enum sbx_log_stream)random_below(r, 3), 1 + random_below(r, longest));
    commit();
}

static void read_at_random(struct random *r)
{
    uint64_t first = sbx_store_log_first(t.log), last = sbx_store_log_last(t.log);
    unsigned i;
    for (i = 0; i < 20; i++) {
        struct sbx_entry e = entry(first + random_below(r, (size_t)(last - first + 1)));
        check_entry(&e);
    }
}

static void test_random_against_the_model(void **state)
{
    static const struct {
        uint64_t cap;
        size_t longest;
        unsigned turns;
    } shapes[] = {{1u << 20, 90000, 150}, {300000, 3000, 600}, {5000, 40, 1500}, {700, 3000, 400},
                  {100, 9, 1500}, {20000, 1, 2500}};
    struct random r = {88172645463325252ull};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        unsigned turn;
        open_store(shapes[i].cap);
        for (turn = 0; turn < shapes[i].turns; turn++) {
            random_turn(&r, shapes[i].longest);
            read_at_random(&r);
            if (turn % 64 == 0)
                check_all();
        }
        check_all();
        close_store();
    }
}

/* --- out of memory --- */

static void fill_with_little_memory(void *ctx, const struct gate *g)
{
    const struct sbx_store_options o = store_options();
    const struct sbx_store_log_options lo = log_options(300000);
    struct sbx_err err;
    struct sbx_store *store = sbx_store_open(&o, &err);
    struct sbx_store_log *log = NULL;
    uint64_t appended = 0;
    size_t room, i;
    if (store != NULL)
        log = sbx_store_log_open(store, &lo);
    for (i = 0; log != NULL && i < 6; i++) {
        uint8_t *to = sbx_store_log_reserve(log, &room);
        if (to == NULL)
            continue;
        memset(to, 'a', room);
        sbx_store_log_append(log, room, SBX_STREAM_STDOUT, 1);
        appended += room;
    }
    (void)ctx;
    sbx_loop_finish(&t.loop);
    assert_true(log == NULL || sbx_store_log_offset(log) == appended);
    assert_true(gate_hit(g) || appended > 300000);
    if (log != NULL)
        sbx_store_log_close(log);
    if (store != NULL)
        sbx_store_close(store);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    open_rig();
    assert_true(gate_each(fill_with_little_memory, NULL) >= 8);
    sbx_loop_deinit(&t.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_against_the_model),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
