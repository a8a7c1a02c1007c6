/* Memory by descriptor: seen through every mapping of it, zero where nothing was written, and gone
 * with its last holder. Without a descriptor it is private. */
#include "os/shm.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE ((size_t)sysconf(_SC_PAGESIZE))

static int open_some(uint64_t bytes)
{
    int fd = sbx_shm_open();
    assert_true(fd >= 0);
    assert_int_equal(sbx_shm_grow(fd, bytes), 0);
    return fd;
}

static void test_size(void **state)
{
    uint64_t bytes = 1;
    int fd = sbx_shm_open();
    (void)state;
    assert_true(fd >= 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(sbx_shm_size(fd, &bytes), 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(sbx_shm_grow(fd, 5 * PAGE), 0);
    assert_int_equal(sbx_shm_size(fd, &bytes), 0);
    assert_int_equal(bytes, 5 * PAGE);
    assert_int_equal(close(fd), 0);
    assert_int_equal(sbx_shm_size(fd, &bytes), -EBADF);
    assert_int_equal(sbx_shm_grow(fd, PAGE), -EBADF);
    assert_null(sbx_shm_map(fd, 0, PAGE));
}

static void test_mapped_twice(void **state)
{
    int fd = open_some(4 * PAGE);
    uint8_t *all = sbx_shm_map(fd, 0, 4 * PAGE), *third = sbx_shm_map(fd, 2 * PAGE, PAGE);
    (void)state;
    assert_non_null(all);
    assert_non_null(third);
    assert_int_equal(all[0], 0);
    memset(third, 7, PAGE);
    assert_int_equal(all[2 * PAGE - 1], 0);
    assert_int_equal(all[2 * PAGE], 7);
    assert_int_equal(all[3 * PAGE - 1], 7);
    assert_int_equal(all[3 * PAGE], 0);
    sbx_shm_unmap(third, PAGE);
    sbx_shm_unmap(all, 4 * PAGE);
    all = sbx_shm_map(fd, 0, 4 * PAGE); /* it was not the mapping that held it */
    assert_int_equal(all[2 * PAGE], 7);
    sbx_shm_unmap(all, 4 * PAGE);
    (void)close(fd);
}

static void test_outlives_its_writer(void **state)
{
    int fd = open_some(PAGE), status;
    uint8_t *p;
    pid_t child = fork();
    (void)state;
    if (child == 0) {
        p = sbx_shm_map(fd, 0, PAGE);
        p[100] = 42;
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    p = sbx_shm_map(fd, 0, PAGE);
    assert_int_equal(p[100], 42);
    sbx_shm_unmap(p, PAGE);
    (void)close(fd);
}

static void test_release(void **state)
{
    int fd = open_some(64 * PAGE);
    uint8_t *p = sbx_shm_map(fd, 0, 64 * PAGE);
    struct stat st;
    size_t i;
    (void)state;
    memset(p, 1, 64 * PAGE);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 >= 64 * PAGE);
    sbx_shm_release(fd, p + PAGE, 62 * PAGE);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 <= 4 * PAGE);
    assert_int_equal(st.st_size, 64 * PAGE);
    assert_int_equal(p[PAGE - 1], 1);
    assert_int_equal(p[63 * PAGE], 1);
    for (i = PAGE; i < 63 * PAGE; i++)
        assert_int_equal(p[i], 0);
    p[2 * PAGE] = 9; /* and it can be used again */
    assert_int_equal(p[2 * PAGE], 9);
    sbx_shm_unmap(p, 64 * PAGE);
    (void)close(fd);
}

static void test_private(void **state)
{
    uint8_t *a = sbx_shm_map(-1, 0, 2 * PAGE), *b = sbx_shm_map(-1, 4 * PAGE, PAGE);
    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    memset(a, 1, 2 * PAGE);
    assert_int_equal(b[0], 0);
    sbx_shm_release(-1, a + PAGE, PAGE);
    assert_int_equal(a[0], 1);
    assert_int_equal(a[PAGE], 0);
    sbx_shm_unmap(a, 2 * PAGE);
    sbx_shm_unmap(b, PAGE);
}

static int refuse(void *ctx)
{
    (void)ctx;
    return 0;
}

static void test_out_of_memory(void **state)
{
    int fd = open_some(PAGE);
    (void)state;
    sbx_mem_set_gate(refuse, NULL);
    assert_int_equal(sbx_shm_open(), -ENOMEM);
    assert_null(sbx_shm_map(fd, 0, PAGE));
    assert_null(sbx_shm_map(-1, 0, PAGE));
    sbx_mem_set_gate(NULL, NULL);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size),    cmocka_unit_test(test_mapped_twice),
        cmocka_unit_test(test_outlives_its_writer),
        cmocka_unit_test(test_release), cmocka_unit_test(test_private),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
