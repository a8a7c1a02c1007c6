/* One-shot commands, through real children of /bin/sh. */
#include "proc/run.h"

#include "rig.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct rig rig;
static size_t fds_before;

/* What a run was when it was done; the outputs as they stand in JSON. It is freed at once, as the
 * API does. */
struct result {
    unsigned done;
    struct sbx_buf out, err;
    bool out_cut, err_cut;
    bool timed_out;
    struct sbx_exit exit;
    uint64_t duration_ms;
    bool keep;
    struct sbx_run *run;
    pid_t leader;
};

static int setup(void **state)
{
    (void)state;
    rig_open(&rig);
    fds_before = rig_count_fds();
    return 0;
}

/* Pipes of children that outlive their run are read to their end before. */
static int teardown(void **state)
{
    (void)state;
    assert_true(sbx_list_empty(&rig.host.runs));
    RIG_UNTIL(&rig, rig_count_fds() == fds_before);
    rig_close(&rig);
    return 0;
}

static void on_done(struct sbx_run *run, void *ctx)
{
    struct result *r = ctx;
    r->done++;
    r->out = run->out[0].text;
    r->err = run->out[1].text;
    sbx_buf_init(&run->out[0].text);
    sbx_buf_init(&run->out[1].text);
    r->out_cut = run->out[0].truncated;
    r->err_cut = run->out[1].truncated;
    r->timed_out = run->timed_out;
    r->exit = run->exit;
    r->duration_ms = run->duration_ms;
    if (!r->keep)
        sbx_run_free(run);
}

static void start(struct result *r, const char *script, uint64_t timeout_ms, uint64_t most)
{
    struct rig_shell keep;
    struct sbx_spec spec = rig_sh(&keep, script);
    struct sbx_err err;
    memset(r, 0, sizeof *r);
    r->run = sbx_run_start(&rig.host, &spec, timeout_ms, most, false, on_done, r, &err);
    if (r->run == NULL)
        fail_msg("%s", err.text);
    r->leader = r->run->leader;
    assert_int_equal(r->done, 0);
}

static void run(struct result *r, const char *script, uint64_t timeout_ms, uint64_t most)
{
    start(r, script, timeout_ms, most);
    RIG_UNTIL(&rig, r->done > 0);
    rig_run_for(&rig, 3000);
    assert_int_equal(r->done, 1);
}

static void clean(struct result *r)
{
    sbx_buf_deinit(&r->out);
    sbx_buf_deinit(&r->err);
}

static void expect_text(const struct sbx_buf *b, const char *text)
{
    assert_int_equal(sbx_buf_len(b), strlen(text));
    assert_memory_equal(sbx_buf_data(b), text, strlen(text));
}

static void test_output_and_code(void **state)
{
    struct result r;
    (void)state;
    run(&r, "echo out; echo err >&2; exit 7", 10000, 1000);
    expect_text(&r.out, "out\\n");
    expect_text(&r.err, "err\\n");
    assert_false(r.timed_out || r.out_cut || r.err_cut);
    assert_int_equal(r.exit.kind, SBX_EXIT_CODE);
    assert_int_equal(r.exit.value, 7);
    clean(&r);
}

static void test_no_input_and_no_signal_state(void **state)
{
    struct result r;
    (void)state;
    run(&r, "cat; kill -PIPE $$", 10000, 1000);
    assert_int_equal(sbx_buf_len(&r.out), 0);
    assert_int_equal(r.exit.kind, SBX_EXIT_SIGNAL);
    assert_int_equal(r.exit.value, SIGPIPE);
    clean(&r);
}

static void test_cap_is_exact(void **state)
{
    struct result r;
    (void)state;
    run(&r, "printf 12345; printf 123456 >&2", 10000, 5);
    expect_text(&r.out, "12345");
    assert_false(r.out_cut);
    expect_text(&r.err, "12345");
    assert_true(r.err_cut);
    clean(&r);
}

static void test_much_output(void **state)
{
    struct result r;
    size_t i;
    (void)state;
    run(&r, "head -c 3000000 /dev/zero | tr '\\0' a; head -c 300000 /dev/zero | tr '\\0' b >&2",
        10000, 2500000);
    assert_int_equal(sbx_buf_len(&r.out), 2500000);
    assert_true(r.out_cut);
    for (i = 0; i < 2500000; i++)
        if (sbx_buf_data(&r.out)[i] != 'a')
            fail_msg("differs at %zu", i);
    assert_int_equal(sbx_buf_len(&r.err), 300000);
    assert_false(r.err_cut);
    clean(&r);
}

/* The exit is seen before the pipes are read: what is in them belongs to the answer. */
static void test_output_that_is_in_the_pipes_at_the_exit(void **state)
{
    struct result r;
    siginfo_t info;
    (void)state;
    start(&r, "head -c 50000 /dev/zero | tr '\\0' a; echo b >&2", 10000, 100000);
    assert_int_equal(waitid(P_PID, (id_t)r.leader, &info, WEXITED | WNOWAIT), 0);
    RIG_UNTIL(&rig, r.done == 1);
    assert_int_equal(sbx_buf_len(&r.out), 50000);
    expect_text(&r.err, "b\\n");
    clean(&r);
}

/* The answer does not wait for whoever else has the pipe, and does not end them either: the
 * descriptor is read and forgotten. */
static void test_background_child_delays_nothing(void **state)
{
    char script[400], survived[120];
    struct rig_pipe background;
    struct result r;
    size_t fds = rig_count_fds();
    (void)state;
    rig_pipe_open(&background);
    (void)snprintf(survived, sizeof survived, "%s/survived", background.dir);
    (void)snprintf(script, sizeof script, "(read go <%s; echo a && echo b && : >%s) & echo now",
                   background.path, survived);
    run(&r, script, 600000, 1000);
    assert_false(r.timed_out);
    expect_text(&r.out, "now\\n");
    clean(&r);
    assert_true(access(survived, F_OK) < 0); /* it was not waited for */
    rig_pipe_go(&background);
    RIG_UNTIL(&rig, access(survived, F_OK) == 0);
    assert_int_equal(unlink(survived), 0);
    rig_pipe_close(&background);
    RIG_UNTIL(&rig, rig_count_fds() == fds);
}

static void test_timeout(void **state)
{
    struct result r;
    (void)state;
    run(&r, "exec sleep 100", 100, 1000);
    assert_true(r.timed_out);
    assert_true(r.duration_ms >= 100);
    clean(&r);
}

/* Its time is brought forward, to when it has said what it has to say. */
static void test_timeout_is_hard(void **state)
{
    struct result r;
    pid_t background;
    (void)state;
    start(&r, "trap '' TERM HUP; sleep 100 & echo $!; while :; do sleep 100; done", 600000, 1000);
    RIG_UNTIL(&rig, r.done > 0 || sbx_buf_len(&r.run->out[0].text) > 0);
    assert_int_equal(r.done, 0);
    sbx_loop_set_timer(&rig.host.loop, &r.run->timeout, 0);
    RIG_UNTIL(&rig, r.done > 0);
    assert_true(r.timed_out);
    sbx_buf_add_byte(&r.out, '\0');
    background = (pid_t)strtol((const char *)sbx_buf_data(&r.out), NULL, 10);
    assert_true(background > 0);
    RIG_UNTIL(&rig, kill(background, 0) < 0);
    clean(&r);
}

static void test_endless_timeout(void **state)
{
    struct result r;
    (void)state;
    run(&r, "exit 0", UINT64_MAX, 1000);
    assert_false(r.timed_out);
    clean(&r);
}

static void test_cannot_start(void **state)
{
    struct sbx_spec spec = {.command = SBX_STR("no-such-program-anywhere")};
    struct result r = {.done = 0};
    struct sbx_err err;
    size_t fds = rig_count_fds();
    (void)state;
    assert_null(sbx_run_start(&rig.host, &spec, 1000, 1000, false, on_done, &r, &err));
    assert_int_equal(err.code, -ENOENT);
    assert_string_equal(err.text, "command \"no-such-program-anywhere\": No such file or directory "
                                  "(os error 2)");
    assert_int_equal(rig_count_fds(), fds);
    rig_run_for(&rig, 3000);
    assert_int_equal(r.done, 0);
}

/* Nobody waits any more: the command ends with all that it started. */
static void test_cancel(void **state)
{
    struct result r;
    size_t fds = rig_count_fds();
    pid_t leader;
    (void)state;
    start(&r, "trap '' TERM; sleep 100 & while :; do sleep 100; done", 100000, 1000);
    leader = r.run->leader;
    rig_run_for(&rig, 3000);
    sbx_run_cancel(r.run);
    RIG_UNTIL(&rig, kill(-leader, 0) < 0);
    assert_int_equal(r.done, 0);
    assert_int_equal(rig_count_fds(), fds);
}

static void test_kept_after_done(void **state)
{
    struct result r;
    (void)state;
    start(&r, "sleep 100 & exit 0", 600000, 1000);
    r.keep = true;
    assert_true(r.run->timeout.armed);
    RIG_UNTIL(&rig, r.done > 0);
    assert_false(r.run->timeout.armed); /* it would pass, and mean nothing */
    rig_run_for(&rig, 3000);
    assert_int_equal(r.done, 1);
    assert_false(r.run->timed_out);
    (void)kill(-r.run->leader, SIGKILL);
    sbx_run_free(r.run);
    clean(&r);
}

static void test_signal_to_all(void **state)
{
    struct result a, b;
    (void)state;
    start(&a, "while :; do sleep 100; done", 100000, 1000);
    start(&b, "exec sleep 100", 100000, 1000);
    sbx_runs_signal(&rig.host, SIGKILL);
    RIG_UNTIL(&rig, a.done == 1 && b.done == 1);
    assert_int_equal(a.exit.value, SIGKILL);
    assert_int_equal(b.exit.value, SIGKILL);
    clean(&a);
    clean(&b);
}

static void test_sinks_are_closed_at_the_end(void **state)
{
    struct result r;
    (void)state;
    run(&r, "sleep 100 & exit 0", 10000, 1000);
    assert_int_equal(rig_count_fds(), fds_before + 2);
    (void)kill(-r.leader, SIGKILL);
    sbx_runs_close_sinks(&rig.host);
    assert_int_equal(rig_count_fds(), fds_before);
    clean(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_output_and_code, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_input_and_no_signal_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cap_is_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(test_much_output, setup, teardown),
        cmocka_unit_test_setup_teardown(test_output_that_is_in_the_pipes_at_the_exit, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_background_child_delays_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timeout_is_hard, setup, teardown),
        cmocka_unit_test_setup_teardown(test_endless_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cannot_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kept_after_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signal_to_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sinks_are_closed_at_the_end, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
