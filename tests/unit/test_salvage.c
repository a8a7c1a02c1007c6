/* Records of processes of which no record is left: what the slot has, and what the system shows. */
#include "proc/salvage.h"

#include "gate.h"
#include "os/pty.h"
#include "rig.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    struct sbx_slot slot;
    struct sbx_host host;
    int hold; /* closed: the process ends */
} t;

/* A process with these arguments, that does nothing until it is let go. */
static void start(char *const argv[])
{
    int hold[2], began[2];
    char byte;
    assert_int_equal(pipe(hold), 0);
    assert_int_equal(pipe(began), 0);
    memset(&t, 0, sizeof t);
    sbx_ident_boot(t.host.boot);
    t.host.limits.max_log_bytes_per_process = 12345;
    t.slot = (struct sbx_slot){.kind = SBX_SLOT_PROCESS, .number = 7,
                               .started_us = sbx_ident_now_us()};
    t.slot.pid = fork();
    assert_true(t.slot.pid >= 0);
    if (t.slot.pid == 0) {
        (void)dup2(hold[0], 0);
        (void)dup2(began[1], 1);
        (void)close(hold[1]);
        (void)execv("/bin/sh", argv);
        _exit(99);
    }
    (void)close(hold[0]);
    (void)close(began[1]);
    assert_int_equal(read(began[0], &byte, 1), 1);
    (void)close(began[0]);
    t.hold = hold[1];
}

static void end(void)
{
    (void)close(t.hold);
    assert_int_equal(waitpid(t.slot.pid, NULL, 0), t.slot.pid);
}

#define SCRIPT "echo; read x"

static void expect_command(const char *command, const char *args)
{
    struct sbx_salvage s;
    assert_int_equal(sbx_salvage(&s, &t.host, &t.slot, NULL), 0);
    if (!sbx_str_eq_z(s.record.command, command) || !sbx_str_eq_z(s.record.args, args))
        fail_msg("%.*s %.*s", (int)s.record.command.n, s.record.command.p, (int)s.record.args.n,
                 s.record.args.p);
    sbx_salvage_release(&s);
}

static void test_command_and_arguments(void **state)
{
    (void)state;
    start((char *const[]){"my shell", "-c", SCRIPT, "", "a \"b\"", "\xff", "", NULL});
    expect_command("my shell",
                   "[\"-c\",\"" SCRIPT "\",\"\",\"a \\\"b\\\"\",\"\xef\xbf\xbd\",\"\"]");
    end();
}

static void test_no_arguments(void **state)
{
    (void)state;
    start((char *const[]){"sh", "-c", SCRIPT, NULL});
    end();
    expect_command("(unknown)", "[]"); /* it has ended: nobody knows */
}

static void test_long_arguments(void **state)
{
    char *longer = malloc(100001), *want = malloc(100100);
    (void)state;
    memset(longer, 'x', 100000);
    longer[100000] = '\0';
    (void)snprintf(want, 100100, "[\"-c\",\"" SCRIPT "\",\"%s\"]", longer);
    start((char *const[]){"sh", "-c", SCRIPT, longer, NULL});
    expect_command("sh", want);
    end();
    free(longer);
    free(want);
}

/* Its number belongs to somebody else now. */
static void test_another_process(void **state)
{
    (void)state;
    start((char *const[]){"sh", "-c", SCRIPT, NULL});
    t.slot.started_us -= 60000000u;
    expect_command("(unknown)", "[]");
    end();
}

static void test_what_the_slot_has(void **state)
{
    struct sbx_salvage s;
    uint64_t now = sbx_clock_wall_ms();
    (void)state;
    start((char *const[]){"sh", "-c", SCRIPT, NULL});
    t.slot.flags = SBX_SLOT_SHOWN | SBX_SLOT_INTERACTIVE;
    assert_int_equal(sbx_salvage(&s, &t.host, &t.slot, NULL), 0);
    assert_int_equal(s.record.number, 7);
    assert_int_equal(s.record.pid, t.slot.pid);
    assert_int_equal(s.record.started_us, t.slot.started_us);
    assert_true(sbx_str_eq_z(s.record.boot_id, t.host.boot));
    assert_in_range(s.record.created_ms, now - 10, sbx_clock_wall_ms() + 10);
    assert_true(s.record.interactive && s.record.persist && !s.record.tty && !s.record.exited);
    assert_int_equal(s.record.log_cap, 12345);
    assert_true(s.record.log_first > s.record.log_last);
    assert_true(s.record.exit_note.n > 0);
    sbx_salvage_release(&s);
    t.slot.flags = SBX_SLOT_SHOWN | SBX_SLOT_IN_MEMORY;
    assert_int_equal(sbx_salvage(&s, &t.host, &t.slot, NULL), 0);
    assert_true(!s.record.interactive && !s.record.persist);
    sbx_salvage_release(&s);
    end();
}

static void test_size_of_a_terminal(void **state)
{
    struct sbx_keep_item item = {.fds = {-1, -1, -1}};
    struct sbx_salvage s;
    int slave;
    (void)state;
    start((char *const[]){"sh", "-c", SCRIPT, NULL});
    t.slot.flags = SBX_SLOT_TTY;
    assert_int_equal(sbx_pty_open(91, 17, &item.fds[1], &slave), 0);
    assert_int_equal(sbx_salvage(&s, &t.host, &t.slot, &item), 0);
    assert_true(s.record.tty);
    assert_int_equal(s.record.cols, 91);
    assert_int_equal(s.record.rows, 17);
    sbx_salvage_release(&s);
    (void)close(item.fds[1]);
    (void)close(slave);
    assert_int_equal(sbx_salvage(&s, &t.host, &t.slot, NULL), 0);
    assert_int_equal(s.record.cols, 0);
    sbx_salvage_release(&s);
    end();
}

static void salvage_scarcely(void *ctx, const struct gate *g)
{
    struct sbx_salvage s;
    int rc = sbx_salvage(&s, &t.host, &t.slot, NULL);
    (void)ctx;
    assert_int_equal(rc, gate_hit(g) ? -ENOMEM : 0);
    sbx_salvage_release(&s);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    start((char *const[]){"sh", "-c", SCRIPT, NULL});
    assert_true(gate_each(salvage_scarcely, NULL) >= 2);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_and_arguments),
        cmocka_unit_test(test_no_arguments),
        cmocka_unit_test(test_long_arguments),
        cmocka_unit_test(test_another_process),
        cmocka_unit_test(test_what_the_slot_has),
        cmocka_unit_test(test_size_of_a_terminal),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
