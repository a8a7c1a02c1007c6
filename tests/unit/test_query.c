/* Query parameters, through a connection: what is right is read, what is wrong is answered. */
#include "api/query.h"

#include "conn_rig.h"

static struct rig rig;

static const char *const streams[] = {"stdout", "stderr", "combined", NULL};

static struct sbx_param params[3];
static unsigned reads;

static void answer(struct sbx_conn *c, const struct sbx_http_request *req)
{
    struct sbx_request rq = {.conn = c, .http = req};
    params[0] = (struct sbx_param){.name = "tail", .kind = SBX_PARAM_U64};
    params[1] = (struct sbx_param){.name = "follow", .kind = SBX_PARAM_BOOL};
    params[2] = (struct sbx_param){.name = "stream", .kind = SBX_PARAM_WORD, .words = streams};
    assert_int_equal(sbx_url_split(req->target, &rq.url), 0);
    if (!sbx_query_read(&rq, params, 3))
        return; /* it has answered */
    reads++;
    rig_reply_text(c, 200, "fine");
}

static int setup(void **state)
{
    (void)state;
    rig_open(&rig);
    rig.answer = answer;
    reads = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static void ask(const char *query)
{
    rig_forget(&rig);
    rig_say(&rig, "GET /test?");
    rig_say(&rig, query);
    rig_say(&rig, " HTTP/1.1\r\nHost: a\r\n\r\n");
    RIG_UNTIL(&rig, rig_has(&rig, "\r\n\r\n") && (rig_has(&rig, "fine") || rig_has(&rig, "}")));
}

static void expect_read(const char *query)
{
    unsigned before = reads;
    ask(query);
    if (reads != before + 1)
        fail_msg("%s was refused", query);
}

static void expect_refused(const char *query, const char *detail)
{
    unsigned before = reads;
    ask(query);
    if (reads != before)
        fail_msg("%s was read", query);
    assert_true(rig_has(&rig, "HTTP/1.1 400 "));
    if (!rig_has(&rig, detail))
        fail_msg("%s: %.*s", query, (int)sbx_buf_len(&rig.got), (char *)sbx_buf_data(&rig.got));
}

static void test_none(void **state)
{
    (void)state;
    expect_read("");
    assert_false(params[0].given || params[1].given || params[2].given);
    expect_read("unknown=1&unknown=2&&=&x");
    assert_false(params[0].given || params[1].given || params[2].given);
}

static void test_values(void **state)
{
    (void)state;
    expect_read("tail=0&follow=true&stream=combined");
    assert_true(params[0].given && params[1].given && params[2].given);
    assert_int_equal(params[0].number, 0);
    assert_int_equal(params[1].number, 1);
    assert_int_equal(params[2].number, 2);
    expect_read("follow=false&tail=18446744073709551615&stream=stdout");
    assert_int_equal(params[0].number, UINT64_MAX);
    assert_true(params[1].given);
    assert_int_equal(params[1].number, 0);
    assert_int_equal(params[2].number, 0);
}

static void test_encoding(void **state)
{
    (void)state;
    expect_read("t%61il=%31%32&str%65am=std%65rr");
    assert_int_equal(params[0].number, 12);
    assert_int_equal(params[2].number, 1);
    expect_refused("tail=1+2", "query parameter tail: \\\"1 2\\\" is not an unsigned integer");
}

static void test_refusals(void **state)
{
    (void)state;
    expect_refused("tail=", "query parameter tail: \\\"\\\" is not an unsigned integer");
    expect_refused("tail", "is not an unsigned integer");
    expect_refused("tail=-1", "\\\"-1\\\" is not an unsigned integer");
    expect_refused("tail=%2B1", "is not an unsigned integer");
    expect_refused("tail=1.0", "is not an unsigned integer");
    expect_refused("tail=0x1", "is not an unsigned integer");
    expect_refused("tail=18446744073709551616", "is above 18446744073709551615");
    expect_refused("follow=1", "query parameter follow: \\\"1\\\" is neither true nor false");
    expect_refused("follow=True", "is neither true nor false");
    expect_refused("follow", "is neither true nor false");
    expect_refused("stream=x", "query parameter stream: \\\"x\\\" is not a known value; one of: "
                               "stdout, stderr, combined");
    expect_refused("stream=STDOUT", "is not a known value");
    expect_refused("tail=1&tail=1", "query parameter tail is given twice");
    expect_refused("tail=1&t%61il=2", "query parameter tail is given twice");
}

static void test_very_long(void **state)
{
    static char query[4000];
    (void)state;
    memset(query, '1', sizeof query - 1);
    memcpy(query, "tail=", 5);
    expect_refused(query, "query parameter tail");
    memset(query, 'n', sizeof query - 1); /* an unknown name */
    expect_read(query);
    /* Cut at the end of what is looked at, "trueee..." must not become "true". */
    memset(query, 'e', sizeof query - 1);
    memcpy(query, "follow=tru", 10);
    expect_refused(query, "is neither true nor false");
}

static void test_bytes_that_are_no_text(void **state)
{
    (void)state;
    expect_refused("stream=%ff%00%22", "query parameter stream");
    assert_true(rig_has(&rig, "\xef\xbf\xbd")); /* the answer is UTF-8 all the same */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_none),
        TEST(test_values),
        TEST(test_encoding),
        TEST(test_refusals),
        TEST(test_very_long),
        TEST(test_bytes_that_are_no_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
