/* Status lines, header lines, chunk heads. */
#include "proto/http_write.h"

#include "base/mem.h"
#include "proto/http_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct sbx_buf out;

static int setup(void **state)
{
    (void)state;
    sbx_buf_init(&out);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sbx_buf_deinit(&out);
    return 0;
}

static void expect_text(const char *text)
{
    assert_int_equal(sbx_buf_len(&out), strlen(text));
    assert_memory_equal(sbx_buf_data(&out), text, strlen(text));
    sbx_buf_clear(&out);
}

static void test_status_lines(void **state)
{
    (void)state;
    sbx_http_put_status(&out, 200);
    expect_text("HTTP/1.1 200 OK\r\n");
    sbx_http_put_status(&out, 101);
    expect_text("HTTP/1.1 101 Switching Protocols\r\n");
    sbx_http_put_status(&out, 304);
    expect_text("HTTP/1.1 304 Not Modified\r\n");
    sbx_http_put_status(&out, 308);
    expect_text("HTTP/1.1 308 Permanent Redirect\r\n");
    sbx_http_put_status(&out, 404);
    expect_text("HTTP/1.1 404 Not Found\r\n");
    sbx_http_put_status(&out, 299);
    expect_text("HTTP/1.1 299 Unknown\r\n");
}

static void test_reasons(void **state)
{
    static const int known[] = {100, 101, 102, 200, 204, 400, 401, 403, 404, 405, 406, 408, 409,
                                413, 414, 415, 417, 422, 426, 429, 431, 500, 501, 502, 503, 504,
                                505};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_string_not_equal(sbx_http_reason(known[i]), "Unknown");
    assert_string_equal(sbx_http_reason(0), "Unknown");
    assert_string_equal(sbx_http_reason(413), "Content Too Large");
}

static void test_headers(void **state)
{
    (void)state;
    sbx_http_put_header(&out, "content-type", SBX_STR("text/plain"));
    sbx_http_put_header(&out, "empty", SBX_STR(""));
    sbx_http_put_header_u64(&out, "content-length", 0);
    sbx_http_put_header_u64(&out, "n", UINT64_MAX);
    expect_text("content-type: text/plain\r\nempty: \r\ncontent-length: 0\r\n"
                "n: 18446744073709551615\r\n");
}

/* Fixed width, and our own decoder reads it back. */
static void test_chunk_heads(void **state)
{
    static const size_t sizes[] = {1, 9, 10, 15, 16, 255, 65536, 1234567, 0xffffffff};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t head[SBX_HTTP_CHUNK_HEAD];
        struct sbx_http_chunked ch;
        const char *data;
        size_t n;
        sbx_http_chunk_head(head, sizes[i]);
        sbx_http_chunked_init(&ch);
        assert_int_equal(sbx_http_chunked_feed(&ch, (const char *)head, sizeof head, &data, &n),
                         sizeof head);
        assert_int_equal(ch.state, SBX_HTTP_CHUNK_DATA);
        assert_int_equal(ch.left, sizes[i]);
    }
    {
        uint8_t head[SBX_HTTP_CHUNK_HEAD];
        sbx_http_chunk_head(head, 0xabc);
        assert_memory_equal(head, "00000abc\r\n", sizeof head);
    }
}

static int refuse(void *ctx)
{
    (void)ctx;
    return 0;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    sbx_mem_set_gate(refuse, NULL);
    sbx_http_put_status(&out, 404);
    sbx_http_put_header_u64(&out, "n", 5);
    sbx_mem_set_gate(NULL, NULL);
    assert_true(out.oom);
    assert_int_equal(sbx_buf_len(&out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reasons, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk_heads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
