/* From a request to a child: what it is given, and the sentences when that fails. */
#include "proc/launch.h"

#include "gate.h"
#include "proc/proc.h"
#include "proc/run.h"
#include "rig.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

static struct rig rig;
static char text[65536];

static int setup(void **state)
{
    (void)state;
    rig_open(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static void close_all(struct sbx_launched *l)
{
    sbx_fd_close(&l->in);
    sbx_fd_close(&l->slave);
    sbx_fd_close(&l->out[0]);
    sbx_fd_close(&l->out[1]);
}

/* Runs it to its end; its output is in `text`. */
static void output_of(struct sbx_spec spec, struct sbx_env_pair *env, size_t nenv, bool term)
{
    struct sbx_launched l;
    struct sbx_err err;
    ssize_t got;
    size_t n = 0;
    spec.env = env;
    spec.nenv = nenv;
    assert_int_equal(sbx_spec_check(&spec, &err), 0);
    assert_int_equal(sbx_launch(&rig.host, &spec, SBX_LAUNCH_STDIN_NULL, term, NULL, &l, &err), 0);
    assert_int_equal(l.in, -1);
    while ((got = sbx_fd_read(l.out[0], text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    assert_int_equal(waitpid(l.pid, NULL, 0), l.pid);
    close_all(&l);
}

/* Straight from env(1): a shell would hide a name that is there twice. */
static void test_environment(void **state)
{
    static const char *const ours[] = {"PATH=/usr/bin:/bin", "KEPT=old", "CHANGED=old",
                                       "KEPT2=x", NULL};
    static const char *const expected[] = {"PATH=/usr/bin:/bin\n", "KEPT=old\n", "KEPT2=x\n",
                                           "CHANGED=new\n", "EMPTY=\n", "NEW=a=b c\n"};
    struct sbx_env_pair env[] = {{SBX_STR("NEW"), SBX_STR("a=b c")},
                                 {SBX_STR("CHANGED"), SBX_STR("new")},
                                 {SBX_STR("EMPTY"), SBX_STR("")}};
    size_t i, n = 0;
    (void)state;
    rig.host.environ = (char **)(uintptr_t)ours;
    output_of((struct sbx_spec){.command = SBX_STR("env")}, env, 3, false);
    for (i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_non_null(strstr(text, expected[i]));
        n += strlen(expected[i]);
    }
    assert_int_equal(strlen(text), n);
}

static void test_terminal_name(void **state)
{
    struct sbx_env_pair env[] = {{SBX_STR("TERM"), SBX_STR("vt100")}};
    struct rig_shell keep;
    struct sbx_spec spec = rig_sh(&keep, "echo $TERM");
    (void)state;
    output_of(spec, NULL, 0, true);
    assert_string_equal(text, "xterm-256color\n");
    output_of(spec, env, 1, true);
    assert_string_equal(text, "vt100\n");
}

static void test_search_path_is_the_childs(void **state)
{
    struct sbx_env_pair env[] = {{SBX_STR("PATH"), SBX_STR("/no/such/place")}};
    struct sbx_spec spec = {.command = SBX_STR("sh"), .env = env, .nenv = 1};
    struct sbx_launched l;
    struct sbx_err err;
    (void)state;
    assert_int_equal(sbx_launch(&rig.host, &spec, SBX_LAUNCH_STDIN_NULL, false, NULL, &l, &err),
                     -ENOENT);
    assert_string_equal(err.text, "command \"sh\": No such file or directory (os error 2)");
}

static void expect_failure(struct sbx_spec spec, int rc, const char *sentence)
{
    size_t fds = rig_count_fds();
    struct sbx_launched l;
    struct sbx_err err;
    spec.cols = 80;
    spec.rows = 24;
    assert_int_equal(sbx_launch(&rig.host, &spec, SBX_LAUNCH_STDIN_PIPE, true, NULL, &l, &err), rc);
    assert_string_equal(err.text, sentence);
    assert_int_equal(l.in, -1);
    assert_int_equal(l.out[0], -1);
    assert_int_equal(l.out[1], -1);
    assert_int_equal(rig_count_fds(), fds);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_sentences(void **state)
{
    struct sbx_spec spec = {.command = SBX_STR("/no/such")};
    (void)state;
    expect_failure(spec, -ENOENT, "command \"/no/such\": No such file or directory (os error 2)");
    spec.tty = true;
    expect_failure(spec, -ENOENT, "command \"/no/such\": No such file or directory (os error 2)");
    spec.command = SBX_STR("/");
    expect_failure(spec, -EACCES, "command \"/\": Permission denied (os error 13)");
    spec.command = SBX_STR("/bin/sh");
    spec.has_cwd = true;
    spec.cwd = SBX_STR("/no/such");
    expect_failure(spec, -ENOENT, "cwd \"/no/such\": No such file or directory (os error 2)");
    spec.cwd = SBX_STR("");
    spec.tty = false;
    expect_failure(spec, -ENOENT, "cwd \"\": No such file or directory (os error 2)");
}

static void test_arguments_that_are_too_long(void **state)
{
    static char huge[300000];
    struct sbx_str args[20];
    struct sbx_spec spec = {.command = SBX_STR("/bin/true"), .args = args, .nargs = 20};
    size_t i;
    (void)state;
    memset(huge, 'a', sizeof huge);
    for (i = 0; i < 20; i++)
        args[i] = (struct sbx_str){huge, sizeof huge};
    expect_failure(spec, -E2BIG, "command \"/bin/true\": Argument list too long (os error 7)");
}

static void test_checks(void **state)
{
    struct sbx_str args[] = {SBX_STR("fine"), SBX_STR("a\0b")};
    struct sbx_env_pair env[] = {{SBX_STR("B"), SBX_STR("1")},
                                 {SBX_STR("AB"), SBX_STR("2")},
                                 {SBX_STR("A"), SBX_STR("3")},
                                 {SBX_STR("B"), SBX_STR("4")}};
    struct sbx_spec spec = {.command = SBX_STR("x"), .args = args, .nargs = 1, .env = env,
                            .nenv = 3};
    struct sbx_err err;
    (void)state;
    assert_int_equal(sbx_spec_check(&spec, &err), 0);
    assert_true(sbx_str_eq_z(env[0].name, "A") && sbx_str_eq_z(env[1].name, "AB"));
    spec.nargs = 2;
    assert_int_equal(sbx_spec_check(&spec, &err), -EINVAL);
    assert_string_equal(err.text, "args[1]: contains a NUL byte");
    spec.nargs = 0;
    spec.nenv = 4;
    assert_int_equal(sbx_spec_check(&spec, &err), -EEXIST);
    assert_string_equal(err.text, "env.B: given twice");
    env[3].value = SBX_STR("\0");
    assert_int_equal(sbx_spec_check(&spec, &err), -EINVAL);
    spec.nenv = 0;
    spec.command = SBX_STR("\0x");
    assert_int_equal(sbx_spec_check(&spec, &err), -EINVAL);
    assert_string_equal(err.text, "command: contains a NUL byte");
    spec.command = SBX_STR("x");
    spec.cwd = SBX_STR("/\0");
    assert_int_equal(sbx_spec_check(&spec, &err), -EINVAL);
    assert_string_equal(err.text, "cwd: contains a NUL byte");
}

/* --- out of memory: nothing is left, neither a child nor a descriptor --- */

static void launch_with_little_memory(void *ctx, const struct gate *g)
{
    struct sbx_spec *spec = ctx;
    struct sbx_launched l;
    struct sbx_err err;
    size_t fds = rig_count_fds();
    int rc = sbx_launch(&rig.host, spec, SBX_LAUNCH_STDIN_PIPE, true, NULL, &l, &err);
    assert_int_equal(rc, gate_hit(g) ? -ENOMEM : 0);
    if (rc == 0) {
        close_all(&l);
        assert_int_equal(waitpid(l.pid, NULL, 0), l.pid);
    } else {
        assert_string_equal(err.text, "Cannot allocate memory (os error 12)");
    }
    assert_int_equal(rig_count_fds(), fds);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_launch_out_of_memory(void **state)
{
    struct rig_shell keep;
    struct sbx_spec spec = rig_sh(&keep, "exit 0");
    (void)state;
    assert_true(gate_each(launch_with_little_memory, &spec) >= 5);
    spec.tty = true;
    assert_true(gate_each(launch_with_little_memory, &spec) >= 5);
}

static void start_with_little_memory(void *ctx, const struct gate *g)
{
    struct sbx_spec *spec = ctx;
    struct sbx_err err;
    size_t fds = rig_count_fds();
    struct sbx_proc *p = sbx_proc_start(&rig.host, 1, spec, &err);
    assert_true(p != NULL || (gate_hit(g) && err.code == -ENOMEM));
    if (p != NULL) {
        sbx_mem_set_gate(NULL, NULL);
        RIG_UNTIL(&rig, sbx_proc_exited(p));
        assert_int_equal(p->exit.value, 4);
        sbx_proc_unref(p);
    }
    sbx_loop_finish(&rig.host.loop);
    assert_int_equal(rig_count_fds(), fds);
}

static void test_start_out_of_memory(void **state)
{
    struct rig_shell keep;
    struct sbx_spec spec = rig_sh(&keep, "echo x; exit 4");
    (void)state;
    assert_true(gate_each(start_with_little_memory, &spec) >= 8);
}

static void note_done(struct sbx_run *run, void *ctx)
{
    bool *done = ctx;
    *done = true;
    assert_int_equal(run->exit.value, 4);
    assert_true(run->out[0].truncated || run->out[0].kept == 2);
    sbx_run_free(run);
}

static void run_with_little_memory(void *ctx, const struct gate *g)
{
    struct sbx_spec *spec = ctx;
    struct sbx_err err;
    size_t fds = rig_count_fds();
    bool done = false;
    struct sbx_run *run =
        sbx_run_start(&rig.host, spec, 10000, 1000, false, note_done, &done, &err);
    assert_true(run != NULL || (gate_hit(g) && err.code == -ENOMEM));
    if (run != NULL)
        RIG_UNTIL(&rig, done); /* the output may find no memory either */
    sbx_loop_finish(&rig.host.loop);
    assert_int_equal(rig_count_fds(), fds);
}

static void test_run_out_of_memory(void **state)
{
    struct rig_shell keep;
    struct sbx_spec spec = rig_sh(&keep, "echo x; exit 4");
    (void)state;
    assert_true(gate_each(run_with_little_memory, &spec) >= 7);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_environment),
        TEST(test_terminal_name),
        TEST(test_search_path_is_the_childs),
        TEST(test_sentences),
        TEST(test_arguments_that_are_too_long),
        TEST(test_checks),
        TEST(test_launch_out_of_memory),
        TEST(test_start_out_of_memory),
        TEST(test_run_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
