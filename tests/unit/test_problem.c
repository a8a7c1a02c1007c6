/* Problems: the sixteen types of the error model, and the answers that carry them. */
#include "api/problem.h"

#include "base/json_read.h"
#include "conn_rig.h"

static struct rig rig;
static struct sbx_buf out;
static struct sbx_json_doc doc;

static const struct row {
    enum sbx_problem_type type;
    const char *urn, *title;
    int status;
    const char *detail; /* for the message "why" */
    const char *extensions;
} rows[] = {
    {SBX_PROBLEM_INVALID_REQUEST, "invalid_request", "Invalid Request", 400,
     "invalid request: why", ""},
    {SBX_PROBLEM_CONFLICT, "conflict", "Conflict", 409, "conflict: why", "details.message"},
    {SBX_PROBLEM_UNSUPPORTED_AGENT, "unsupported_agent", "Unsupported Agent", 400,
     "unsupported agent: an agent", "agent"},
    {SBX_PROBLEM_AGENT_NOT_INSTALLED, "agent_not_installed", "Agent Not Installed", 404,
     "agent not installed: an agent", "agent"},
    {SBX_PROBLEM_INSTALL_FAILED, "install_failed", "Install Failed", 500,
     "install failed: an agent",
     "agent details.stderr"},
    {SBX_PROBLEM_AGENT_PROCESS_EXITED, "agent_process_exited", "Agent Process Exited", 500,
     "agent process exited: an agent",
     "agent details.exitCode details.stderr"},
    {SBX_PROBLEM_TOKEN_INVALID, "token_invalid", "Token Invalid", 401, "token invalid",
     "details.message"},
    {SBX_PROBLEM_PERMISSION_DENIED, "permission_denied", "Permission Denied", 403,
     "permission denied: why",
     "details.message"},
    {SBX_PROBLEM_NOT_ACCEPTABLE, "not_acceptable", "Not Acceptable", 406, "not acceptable: why",
     "details.message"},
    {SBX_PROBLEM_UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Unsupported Media Type", 415,
     "unsupported media type: why", "details.message"},
    {SBX_PROBLEM_NOT_FOUND, "not_found", "Not Found", 404, NULL, "details.id details.resource"},
    {SBX_PROBLEM_SESSION_NOT_FOUND, "session_not_found", "Session Not Found", 404,
     "session not found: a session",
     "sessionId"},
    {SBX_PROBLEM_SESSION_ALREADY_EXISTS, "session_already_exists", "Session Already Exists", 409,
     "session already exists: a session", "sessionId"},
    {SBX_PROBLEM_MODE_NOT_SUPPORTED, "mode_not_supported", "Mode Not Supported", 400,
     "mode not supported: an agent a mode",
     "agent details.mode"},
    {SBX_PROBLEM_STREAM_ERROR, "stream_error", "Stream Error", 502, "stream error: why",
     "details.message"},
    {SBX_PROBLEM_TIMEOUT, "timeout", "Timeout", 504, "timeout: why", "details.message"},
};

static const struct sbx_problem_values all_values = {
    .message = "why", .agent = "an agent", .session_id = "a session", .stderr_text = "some text",
    .mode = "a mode", .resource = "process", .id = {"proc_7", 6}, .has_exit_code = true,
    .exit_code = -3};

static int setup(void **state)
{
    (void)state;
    sbx_buf_init(&out);
    rig_open(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sbx_buf_deinit(&out);
    rig_close(&rig);
    return 0;
}

static void write_problem(enum sbx_problem_type type, int status, const char *detail,
                          const struct sbx_problem_values *v)
{
    struct sbx_err err;
    sbx_buf_clear(&out);
    sbx_problem_write(&out, type, status, sbx_str_z(detail), v);
    assert_int_equal(sbx_json_parse(&doc, sbx_buf_view(&out), &err), 0);
}

static const struct sbx_json *get(const struct sbx_json *o, const char *name)
{
    bool twice = false;
    const struct sbx_json *v = o == NULL ? NULL : sbx_json_get(o, name, &twice);
    assert_false(twice);
    return v;
}

static void expect_member(const struct sbx_json *o, const char *name, const char *value)
{
    const struct sbx_json *v = get(o, name);
    assert_non_null(v);
    assert_true(sbx_str_eq_z(v->text, value));
}

/* Exactly the members of the list, with the values of all_values. */
static void expect_extensions(const char *list)
{
    static const struct {
        const char *path, *parent, *name, *value;
    } known[] = {
        {"agent", NULL, "agent", "an agent"},
        {"sessionId", NULL, "sessionId", "a session"},
        {"details.message", "details", "message", "why"},
        {"details.stderr", "details", "stderr", "some text"},
        {"details.mode", "details", "mode", "a mode"},
        {"details.resource", "details", "resource", "process"},
        {"details.id", "details", "id", "proc_7"},
        {"details.exitCode", "details", "exitCode", "-3"},
    };
    const struct sbx_json *details = get(doc.root, "details");
    size_t i;
    assert_int_equal(details != NULL, strstr(list, "details.") != NULL);
    for (i = 0; i < sizeof known / sizeof known[0]; i++) {
        const struct sbx_json *o = known[i].parent == NULL ? doc.root : details;
        const char *at = strstr(list, known[i].path);
        if (at != NULL)
            expect_member(o, known[i].name, known[i].value);
        else
            assert_null(get(o, known[i].name));
    }
}

static void test_types(void **state)
{
    size_t i;
    (void)state;
    assert_int_equal(sizeof rows / sizeof rows[0], SBX_PROBLEM_TYPES);
    for (i = 0; i < SBX_PROBLEM_TYPES; i++) {
        char urn[80];
        const struct sbx_json *v;
        uint64_t status;
        write_problem(rows[i].type, 0, NULL, &all_values);
        (void)snprintf(urn, sizeof urn, "urn:sandbox-agent:error:%s", rows[i].urn);
        expect_member(doc.root, "type", urn);
        expect_member(doc.root, "title", rows[i].title);
        assert_int_equal(sbx_json_to_u64(get(doc.root, "status"), &status), 0);
        assert_int_equal(status, rows[i].status);
        assert_int_equal(sbx_problem_kind(rows[i].type)->status, rows[i].status);
        v = get(doc.root, "detail");
        assert_non_null(v);
        assert_true(v->text.n > 0);
        if (rows[i].detail != NULL)
            assert_true(sbx_str_eq_z(v->text, rows[i].detail));
        expect_extensions(rows[i].extensions);
        sbx_json_doc_deinit(&doc);
    }
}

static void test_exact_text(void **state)
{
    struct sbx_problem_values v = {.message = "missing or invalid bearer token"};
    static const char text[] =
        "{\"type\":\"urn:sandbox-agent:error:token_invalid\",\"title\":\"Token Invalid\","
        "\"status\":401,\"detail\":\"token invalid\","
        "\"details\":{\"message\":\"missing or invalid bearer token\"}}";
    (void)state;
    write_problem(SBX_PROBLEM_TOKEN_INVALID, 0, NULL, &v);
    sbx_json_doc_deinit(&doc);
    assert_true(sbx_str_eq_z(sbx_buf_view(&out), text));
}

static void test_values_that_are_not_there(void **state)
{
    struct sbx_problem_values none = {0};
    size_t i;
    (void)state;
    for (i = 0; i < SBX_PROBLEM_TYPES; i++) {
        write_problem(rows[i].type, 0, "in short", &none);
        expect_member(doc.root, "detail", "in short");
        expect_extensions("");
        sbx_json_doc_deinit(&doc);
    }
}

static void test_title_follows_the_status(void **state)
{
    static const struct {
        int status;
        const char *title;
    } cases[] = {{400, "Invalid Request"}, {404, "Not Found"}, {405, "Method Not Allowed"},
                 {408, "Request Timeout"}, {413, "Payload Too Large"}, {414, "URI Too Long"},
                 {422, "Unprocessable Content"}, {426, "Upgrade Required"},
                 {431, "Request Header Fields Too Large"}, {503, "Service Unavailable"}};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_problem(SBX_PROBLEM_INVALID_REQUEST, cases[i].status, NULL, &all_values);
        expect_member(doc.root, "title", cases[i].title);
        expect_member(doc.root, "type", "urn:sandbox-agent:error:invalid_request");
        sbx_json_doc_deinit(&doc);
    }
}

/* --- answers --- */

static void answer_error(struct sbx_conn *c, const struct sbx_http_request *req)
{
    (void)req;
    sbx_reply_error(c, SBX_PROBLEM_CONFLICT, 429, "queue of %d is \"full\"", 7);
}

static void answer_not_found(struct sbx_conn *c, const struct sbx_http_request *req)
{
    (void)req;
    sbx_reply_process_not_found(c, SBX_STR("a\"b\nc"));
}

static void answer_no_endpoint(struct sbx_conn *c, const struct sbx_http_request *req)
{
    (void)req;
    sbx_reply_no_endpoint(c);
}

static void answer_plain(struct sbx_conn *c, const struct sbx_http_request *req)
{
    struct sbx_buf detail;
    (void)req;
    sbx_buf_init(&detail);
    sbx_buf_add_z(&detail, "method not allowed: PUT");
    sbx_reply_plain_error(c, 405, &detail);
    assert_null(detail.mem);
}

static void answer_json(struct sbx_conn *c, const struct sbx_http_request *req)
{
    struct sbx_buf body;
    (void)req;
    sbx_buf_init(&body);
    sbx_buf_add_z(&body, "[1]");
    sbx_reply_json(c, &body);
}

static void answer_broken(struct sbx_conn *c, const struct sbx_http_request *req)
{
    struct sbx_buf body;
    (void)req;
    sbx_buf_init(&body);
    sbx_buf_add_z(&body, "[1");
    body.oom = true;
    sbx_reply_json(c, &body);
}

static void expect_answer(void (*answer)(struct sbx_conn *, const struct sbx_http_request *),
                          const char *status, const char *type, const char *body)
{
    rig.answer = answer;
    rig_forget(&rig);
    rig_say(&rig, "GET /test HTTP/1.1\r\nHost: a\r\n\r\n");
    RIG_UNTIL(&rig, rig_has(&rig, body));
    assert_true(rig_has(&rig, status));
    assert_true(rig_has(&rig, type));
}

#define PROBLEM "content-type: application/problem+json\r\n"

static void test_answers(void **state)
{
    (void)state;
    expect_answer(answer_error, "HTTP/1.1 429 ", PROBLEM,
                  "\"title\":\"Too Many Requests\",\"status\":429,\"detail\":\"conflict: queue of "
                  "7 is \\\"full\\\"\",\"details\":{\"message\":\"queue of 7 is \\\"full\\\"\"}}");
    expect_answer(answer_not_found, "HTTP/1.1 404 ", PROBLEM,
                  "\"detail\":\"not found: process a\\\"b\\nc\","
                  "\"details\":{\"id\":\"a\\\"b\\nc\",\"resource\":\"process\"}}");
    expect_answer(answer_no_endpoint, "HTTP/1.1 404 ", PROBLEM,
                  "{\"type\":\"urn:sandbox-agent:error:invalid_request\",\"title\":\"Not Found\","
                  "\"status\":404,\"detail\":\"endpoint not found\"}");
    expect_answer(answer_plain, "HTTP/1.1 405 ", PROBLEM,
                  "\"title\":\"Method Not Allowed\",\"status\":405,"
                  "\"detail\":\"method not allowed: PUT\"}");
    expect_answer(answer_json, "HTTP/1.1 200 ", "content-type: application/json\r\n",
                  "\r\n\r\n[1]");
    expect_answer(answer_broken, "HTTP/1.1 503 ", PROBLEM, "\"status\":503");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_types),
        TEST(test_exact_text),
        TEST(test_values_that_are_not_there),
        TEST(test_title_follows_the_status),
        TEST(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
