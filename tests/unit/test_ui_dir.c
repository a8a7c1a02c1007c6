/* Files below a directory, and nothing else. */
#include "api/ui_dir.h"

#include "base/mem.h"
#include "gate.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char top[64];
static int dir;
static struct sbx_err err;

static const char *in_top(const char *name)
{
    static char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", top, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(in_top(name), "w");
    assert_non_null(f);
    (void)fputs(text, f);
    (void)fclose(f);
}

static int setup(void **state)
{
    (void)state;
    (void)strcpy(top, "/tmp/test_ui_dir.XXXXXX");
    assert_non_null(mkdtemp(top));
    assert_int_equal(mkdir(in_top("ui"), 0755), 0);
    assert_int_equal(mkdir(in_top("ui/app"), 0755), 0);
    put("secret", "secret");
    put("ui/index.html", "<p>");
    put("ui/app/main.js", "main");
    put("ui/.hidden", "hidden");
    dir = sbx_ui_dir_open(in_top("ui"), &err);
    assert_true(dir >= 0);
    return 0;
}

static int teardown(void **state)
{
    char command[100];
    (void)state;
    sbx_fd_close(&dir);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", top);
    return system(command);
}

static int read_name(const char *name, struct sbx_buf *out)
{
    return sbx_ui_dir_read(dir, sbx_str_z(name), out);
}

static void expect_text(const char *name, const char *text)
{
    struct sbx_buf out;
    sbx_buf_init(&out);
    assert_int_equal(read_name(name, &out), 0);
    assert_true(sbx_str_eq_z(sbx_buf_view(&out), text));
    sbx_buf_deinit(&out);
}

static void expect_error(const char *name, int rc)
{
    struct sbx_buf out;
    int got;
    sbx_buf_init(&out);
    got = read_name(name, &out);
    if (got != rc || sbx_buf_len(&out) != 0)
        fail_msg("%s: %d", name, got);
    sbx_buf_deinit(&out);
}

static void test_files(void **state)
{
    (void)state;
    expect_text("index.html", "<p>");
    expect_text("app/main.js", "main");
    put("ui/app/main.js", "");
    expect_text("app/main.js", "");
    put("ui/A-b_c.9.txt", "x");
    expect_text("A-b_c.9.txt", "x");
}

static void test_names(void **state)
{
    static const char *const names[] = {
        "", "/", "..", ".", "../secret", "./index.html", "app/../index.html", "app/./main.js",
        "app//main.js", "/app/main.js", "app/main.js/", "app/", "app", "index.html/x", ".hidden",
        "app%2fmain.js", "%2e%2e/secret", "app\\main.js", "main js", "nothing", "nothing/x",
        "index.html\n", "\xc3\xa9.js", "...", "app/.."};
    char longest[400];
    size_t i;
    (void)state;
    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        expect_error(names[i], -ENOENT);
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    expect_error(longest, -ENOENT);
    expect_error(in_top("ui/index.html"), -ENOENT);
}

static void test_links_and_devices(void **state)
{
    (void)state;
    assert_int_equal(symlink("../secret", in_top("ui/link")), 0);
    assert_int_equal(symlink("..", in_top("ui/up")), 0);
    assert_int_equal(symlink("index.html", in_top("ui/inside")), 0);
    assert_int_equal(mkfifo(in_top("ui/pipe"), 0600), 0);
    expect_error("link", -ENOENT);
    expect_error("up/secret", -ENOENT);
    expect_error("inside", -ENOENT);
    expect_error("pipe", -ENOENT); /* and does not wait for a writer */
}

static void test_size(void **state)
{
    struct sbx_buf out;
    (void)state;
    put("ui/big", "");
    assert_int_equal(truncate(in_top("ui/big"), 4 * 1024 * 1024), 0);
    sbx_buf_init(&out);
    assert_int_equal(read_name("big", &out), 0);
    assert_int_equal(sbx_buf_len(&out), 4 * 1024 * 1024);
    sbx_buf_deinit(&out);
    assert_int_equal(truncate(in_top("ui/big"), 4 * 1024 * 1024 + 1), 0);
    expect_error("big", -EFBIG);
}

/* It is the directory that was opened, whatever its name is now. */
static void test_moved(void **state)
{
    char from[100], to[100];
    (void)state;
    (void)snprintf(from, sizeof from, "%s/ui", top);
    (void)snprintf(to, sizeof to, "%s/moved", top);
    assert_int_equal(rename(from, to), 0);
    expect_text("app/main.js", "main");
}

static void expect_refused(const char *name, int rc, const char *part)
{
    assert_int_equal(sbx_ui_dir_open(in_top(name), &err), rc);
    if (strstr(err.text, part) == NULL || strstr(err.text, "--ui-dir") == NULL)
        fail_msg("\"%s\" does not say: %s", err.text, part);
}

static void test_open(void **state)
{
    (void)state;
    expect_refused("none", -ENOENT, "No such file");
    expect_refused("secret", -ENOTDIR, "Not a directory");
    expect_refused("ui/app", -ENOENT, "no index.html");
    assert_int_equal(mkdir(in_top("ui/app/index.html"), 0755), 0);
    expect_refused("ui/app", -ENOENT, "no index.html");
    assert_int_equal(rmdir(in_top("ui/app/index.html")), 0);
    assert_int_equal(symlink("../index.html", in_top("ui/app/index.html")), 0);
    expect_refused("ui/app", -ENOENT, "no index.html");
}

static void test_types(void **state)
{
    (void)state;
    assert_string_equal(sbx_ui_dir_type(SBX_STR("index.html")), "text/html; charset=utf-8");
    assert_string_equal(sbx_ui_dir_type(SBX_STR("a.b/x.js")), "text/javascript; charset=utf-8");
    assert_string_equal(sbx_ui_dir_type(SBX_STR("x.mjs")), "text/javascript; charset=utf-8");
    assert_string_equal(sbx_ui_dir_type(SBX_STR("x.css")), "text/css; charset=utf-8");
    assert_string_equal(sbx_ui_dir_type(SBX_STR("x.js.map")), "application/octet-stream");
    assert_string_equal(sbx_ui_dir_type(SBX_STR(".js")), "application/octet-stream");
    assert_string_equal(sbx_ui_dir_type(SBX_STR("js")), "application/octet-stream");
}

static void read_with_little_memory(void *ctx, const struct gate *g)
{
    struct sbx_buf out;
    int rc;
    (void)ctx;
    sbx_buf_init(&out);
    rc = read_name("app/main.js", &out);
    assert_int_equal(rc, gate_hit(g) ? -ENOMEM : 0);
    sbx_buf_deinit(&out);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_int_equal(gate_each(read_with_little_memory, NULL), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_files),
        TEST(test_names),
        TEST(test_links_and_devices),
        TEST(test_size),
        TEST(test_moved),
        TEST(test_open),
        TEST(test_types),
        TEST(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
