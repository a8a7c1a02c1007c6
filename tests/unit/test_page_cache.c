/* Chunks read from the database: each once for all readers, a few at a time, none after its log has
 * changed. How often the database was asked is seen by making it fail. */
#include "proc/page_cache.h"

#include "db_rig.h"

static struct sbx_page_cache c;

static int setup(void **state)
{
    uint64_t p;
    (void)state;
    db_rig_start();
    db_begin();
    for (p = 1; p <= 3; p++)
        db_put_process(p);
    db_ok(sbx_db_commit(r.db));
    for (p = 1; p <= 3; p++) {
        uint64_t i;
        db_begin();
        for (i = 0; i < 20; i++)
            db_put_chunk(p, 1 + i * 10, i * 500, 10, 50);
        db_ok(sbx_db_commit(r.db));
    }
    memset(&c, 0, sizeof c);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sbx_db_set_gate(NULL, NULL);
    sbx_page_cache_drop_all(&c);
    assert_null(c.pages[0]);
    db_rig_deinit();
    return 0;
}

static int fail_all(void *ctx, const char *call)
{
    (void)ctx;
    (void)call;
    return 0;
}

static const struct sbx_db_page *read_page(uint64_t process, uint64_t sequence)
{
    const struct sbx_db_page *page = NULL;
    assert_int_equal(sbx_page_cache_read(&c, r.db, process, sequence, &page), 0);
    assert_int_equal(page->process, process);
    db_check_page(page);
    return page;
}

static bool is_cached(uint64_t process, uint64_t sequence)
{
    const struct sbx_db_page *page;
    int rc;
    sbx_db_set_gate(fail_all, NULL);
    rc = sbx_page_cache_read(&c, r.db, process, sequence, &page);
    sbx_db_set_gate(NULL, NULL);
    return rc == 0;
}

static void test_a_chunk_is_read_once(void **state)
{
    const struct sbx_db_page *page = read_page(1, 15);
    uint64_t s;
    (void)state;
    assert_int_equal(page->first, 11);
    for (s = 11; s <= 20; s++) {
        assert_true(is_cached(1, s));
        assert_ptr_equal(read_page(1, s), page);
    }
    assert_false(is_cached(1, 10));
    assert_false(is_cached(1, 21));
    assert_false(is_cached(2, 15)); /* another log's */
}

/* Several readers at different places; the one that was not used for longest goes. */
static void test_latest_use_stays(void **state)
{
    uint64_t i;
    (void)state;
    for (i = 0; i < SBX_PAGE_CACHE_SLOTS; i++)
        (void)read_page(1 + i % 3, 1 + i * 10);
    for (i = 0; i < SBX_PAGE_CACHE_SLOTS; i++)
        assert_true(is_cached(1 + i % 3, 1 + i * 10));
    (void)read_page(1, 1);
    (void)read_page(1, 191);
    assert_true(is_cached(1, 1));
    assert_true(is_cached(1, 191));
    assert_false(is_cached(2, 11));
    for (i = 2; i < SBX_PAGE_CACHE_SLOTS; i++)
        assert_true(is_cached(1 + i % 3, 1 + i * 10));
    for (i = 0; i < 20; i++)
        (void)read_page(3, 1 + i * 10);
    for (i = 0; i < 20; i++)
        assert_int_equal(is_cached(3, 1 + i * 10), i >= 20 - SBX_PAGE_CACHE_SLOTS);
}

static void test_dropped(void **state)
{
    uint64_t i;
    (void)state;
    for (i = 0; i < SBX_PAGE_CACHE_SLOTS; i++)
        (void)read_page(1 + i % 3, 1 + i * 10);
    sbx_page_cache_drop(&c, 2);
    sbx_page_cache_drop(&c, 77);
    for (i = 0; i < SBX_PAGE_CACHE_SLOTS; i++)
        assert_int_equal(is_cached(1 + i % 3, 1 + i * 10), i % 3 != 1);
    (void)read_page(2, 11);
    sbx_page_cache_drop_all(&c);
    for (i = 0; i < SBX_PAGE_CACHE_SLOTS; i++)
        assert_false(is_cached(1 + i % 3, 1 + i * 10));
    (void)read_page(2, 11);
}

/* What is not there, and what cannot be read, costs no page that is. */
static void test_failures(void **state)
{
    const struct sbx_db_page *page = NULL;
    uint64_t i;
    (void)state;
    for (i = 0; i < SBX_PAGE_CACHE_SLOTS; i++)
        (void)read_page(1, 1 + i * 10);
    assert_int_equal(sbx_page_cache_read(&c, r.db, 1, 201, &page), -ENOENT);
    assert_int_equal(sbx_page_cache_read(&c, r.db, 9, 1, &page), -ENOENT);
    assert_false(is_cached(1, 191));
    for (i = 0; i < SBX_PAGE_CACHE_SLOTS; i++)
        assert_true(is_cached(1, 1 + i * 10));
}

/* The chunk after a hole is found by the sequences before it, again and again. */
static void test_hole(void **state)
{
    (void)state;
    db_begin();
    db_put_chunk(1, 301, 20000, 10, 50);
    db_ok(sbx_db_commit(r.db));
    assert_int_equal(read_page(1, 250)->first, 301);
    assert_int_equal(read_page(1, 251)->first, 301);
    assert_int_equal(read_page(1, 305)->first, 301);
}

static void read_with_little_memory(void *ctx, const struct gate *g)
{
    const struct sbx_db_page *page;
    uint64_t i;
    (void)ctx;
    for (i = 0; i < 2 * SBX_PAGE_CACHE_SLOTS; i++) {
        int rc = sbx_page_cache_read(&c, r.db, 1, 1 + i * 10, &page);
        assert_true(rc == 0 || (rc == -ENOMEM && gate_hit(g)));
    }
    sbx_page_cache_drop_all(&c);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(gate_each(read_with_little_memory, NULL) >= 2 * SBX_PAGE_CACHE_SLOTS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_chunk_is_read_once), TEST(test_latest_use_stays), TEST(test_dropped),
        TEST(test_failures),             TEST(test_hole),             TEST(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
