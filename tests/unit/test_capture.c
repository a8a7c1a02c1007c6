/* Captured output as JSON text: wherever it is cut, it reads as if it had come at once. */
#include "proc/capture.h"

#include "base/base64.h"
#include "base/json_write.h"
#include "base/mem.h"
#include "os/fd.h"
#include "random.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    struct sbx_loop loop;
    struct sbx_capture c;
    int far;
    uint8_t scratch[SBX_CAPTURE_SCRATCH];
} t;

static void ignore_ready(struct sbx_io *io, short revents)
{
    (void)io;
    (void)revents;
}

static int setup(void **state)
{
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    return sbx_loop_init(&t.loop);
}

static int teardown(void **state)
{
    (void)state;
    sbx_loop_deinit(&t.loop);
    return 0;
}

static void open_capture(uint64_t cap, bool base64)
{
    int r;
    assert_int_equal(sbx_fd_pipe(&r, &t.far), 0);
    assert_int_equal(sbx_capture_open(&t.c, &t.loop, r, cap, base64, ignore_ready), 0);
}

static void close_capture(void)
{
    sbx_capture_deinit(&t.c);
    sbx_capture_deinit(&t.c);
    sbx_fd_close(&t.far);
    assert_int_equal(t.loop.n, 1);
}

/* Writes the bytes in pieces, each of which is one read. */
static void feed(const void *p, size_t n, size_t piece)
{
    const uint8_t *from = p;
    while (n > 0) {
        size_t k = n < piece ? n : piece;
        assert_int_equal(write(t.far, from, k), (ssize_t)k);
        assert_int_equal(sbx_capture_read(&t.c, t.scratch, SBX_CAPTURE_READ), (ssize_t)k);
        from += k;
        n -= k;
    }
}

static void expect_text(const char *text)
{
    sbx_capture_finish(&t.c);
    assert_int_equal(sbx_buf_len(&t.c.text), strlen(text));
    assert_memory_equal(sbx_buf_data(&t.c.text), text, strlen(text));
}

static void test_cuts_do_not_matter(void **state)
{
    static const char bytes[] = "a\"\\\n\x01 \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 "
                                "\xff \xe2\x82 \xc3 \xf0\x9f z\xf0\x9f\x98";
    size_t piece;
    (void)state;
    for (piece = 1; piece <= sizeof bytes; piece++) {
        struct sbx_buf whole;
        sbx_buf_init(&whole);
        sbx_json_put_text(&whole, (struct sbx_str){bytes, sizeof bytes - 1});
        sbx_buf_add_byte(&whole, '\0');
        open_capture(1000, false);
        feed(bytes, sizeof bytes - 1, piece);
        expect_text((const char *)sbx_buf_data(&whole));
        assert_int_equal(t.c.kept, sizeof bytes - 1);
        close_capture();
        sbx_buf_deinit(&whole);
    }
}

static void test_base64(void **state)
{
    uint8_t bytes[100];
    char whole[200];
    size_t i, piece, n;
    (void)state;
    for (i = 0; i < sizeof bytes; i++)
        bytes[i] = pattern_at(i * 77);
    for (n = 97; n <= 99; n++) {
        sbx_base64_encode(bytes, n, whole);
        whole[sbx_base64_encoded_len(n)] = '\0';
        for (piece = 1; piece < 20; piece++) {
            open_capture(1000, true);
            feed(bytes, n, piece);
            expect_text(whole);
            close_capture();
        }
        open_capture(n, true); /* cut */
        feed(bytes, sizeof bytes, 7);
        assert_int_equal(t.c.truncated, true);
        expect_text(whole);
        close_capture();
    }
}

/* A text that is cut within a character ends before it; one that ends so by itself shows it. */
static void test_cut_characters(void **state)
{
    uint64_t cap;
    (void)state;
    for (cap = 1; cap <= 3; cap++) {
        open_capture(cap, false);
        feed("a\xe2\x82\xac", 4, 4);
        assert_true(t.c.truncated);
        expect_text("a");
        close_capture();
    }
    open_capture(4, false);
    feed("a\xe2\x82\xac", 4, 1);
    assert_false(t.c.truncated);
    feed("b", 1, 1);
    assert_true(t.c.truncated);
    expect_text("a\xe2\x82\xac");
    close_capture();
    open_capture(100, false);
    feed("a\xe2\x82", 3, 1);
    expect_text("a\xef\xbf\xbd");
    close_capture();
}

static void test_end_of_file(void **state)
{
    (void)state;
    open_capture(100, false);
    assert_int_equal(sbx_fd_set_nonblock(t.far), 0);
    assert_int_equal(sbx_capture_read(&t.c, t.scratch, 100), 0);
    feed("abc", 3, 3);
    sbx_fd_close(&t.far);
    assert_int_equal(sbx_capture_read(&t.c, t.scratch, 100), -1);
    assert_int_equal(t.c.io.fd, -1);
    sbx_capture_drain(&t.c, t.scratch);
    expect_text("abc");
    close_capture();
}

static void test_drain(void **state)
{
    (void)state;
    open_capture(100000, false);
    memset(t.scratch, 'x', 50000);
    assert_int_equal(write(t.far, t.scratch, 50000), 50000);
    sbx_capture_drain(&t.c, t.scratch); /* the other end stays open */
    assert_int_equal(t.c.kept, 50000);
    sbx_capture_finish(&t.c);
    assert_int_equal(sbx_buf_len(&t.c.text), 50000);
    close_capture();
}

static int refuse(void *ctx)
{
    (void)ctx;
    return 0;
}

/* What finds no memory is missing, and that is said. */
static void test_out_of_memory(void **state)
{
    int base64;
    (void)state;
    for (base64 = 0; base64 < 2; base64++) {
        open_capture(10000, base64 != 0);
        feed("abcdef", 6, 6);
        memset(t.scratch, 'x', 5000);
        assert_int_equal(write(t.far, t.scratch, 5000), 5000);
        sbx_mem_set_gate(refuse, NULL);
        assert_int_equal(sbx_capture_read(&t.c, t.scratch, 5000), 5000);
        sbx_mem_set_gate(NULL, NULL);
        assert_true(t.c.truncated);
        feed("more", 4, 4);
        sbx_capture_finish(&t.c);
        assert_memory_equal(sbx_buf_data(&t.c.text), base64 ? "YWJj" : "abc", base64 ? 4 : 3);
        assert_null(memmem(sbx_buf_data(&t.c.text), sbx_buf_len(&t.c.text), "more", 4));
        assert_false(t.c.text.oom);
        close_capture();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cuts_do_not_matter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_base64, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_characters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_of_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
