/* What a new server does with what it finds. The parts are tested by themselves (test_proc_restore,
 * test_salvage), the whole with real servers (tests/api/cases/keeper.mjs, lost_file.mjs). */
#include "proc/inherit.h"

#include "rig.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct rig rig;

static int setup(void **state)
{
    (void)state;
    rig_open_with(&rig, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

/* A process in a slot, as a server leaves it that died. */
static struct sbx_slot *leave(uint64_t number, uint32_t flags)
{
    struct sbx_slot *slot =
        sbx_tail_slot_new(sbx_store_tail(rig.host.store), SBX_SLOT_PROCESS, number);
    uint64_t end = sbx_clock_mono_us() + RIG_PATIENCE_US;
    pid_t pid;
    assert_non_null(slot);
    slot->started_us = sbx_ident_now_us();
    slot->flags = flags;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setsid();
        (void)alarm(60); /* should the test fail */
        for (;;)
            pause();
    }
    while (getsid(pid) != pid) { /* as any process that was started */
        assert_true(sbx_clock_mono_us() < end);
        (void)usleep(500);
    }
    slot->pid = pid; /* the memory is shared with the child, too */
    return slot;
}

static void take_over(struct sbx_proctab *tab, struct sbx_keep_item *items, size_t n)
{
    struct sbx_estate estate = {.link = -1, .items = items, .nitems = n};
    struct sbx_err err;
    sbx_proctab_init(tab, &rig.host);
    if (sbx_inherit(tab, &estate, &err) < 0)
        fail_msg("%s", err.text);
}

/* Nobody was told of it: it ends, and nothing of it stays open. */
static void test_not_shown(void **state)
{
    struct sbx_keep_item item = {.kind = SBX_KEEP_PROCESS, .number = 3};
    struct sbx_proctab tab;
    size_t i, fds = rig_count_fds();
    pid_t pid = leave(3, 0)->pid;
    int status;
    (void)state;
    for (i = 0; i < SBX_KEEP_FDS; i++)
        item.fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    take_over(&tab, &item, 1);
    assert_int_equal(tab.count, 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(rig_count_fds(), fds);
    assert_null(sbx_tail_slot_next(sbx_store_tail(rig.host.store), NULL));
    sbx_proctab_deinit(&tab);
}

/* Those that were shown are there, in order, and their numbers are taken. */
static void test_shown_without_records(void **state)
{
    static const uint64_t numbers[] = {9, 4, 6};
    struct sbx_keep_item items[3];
    struct sbx_proctab tab;
    pid_t pids[3];
    int ends[2];
    size_t i;
    (void)state;
    for (i = 0; i < 3; i++) {
        pids[i] = leave(numbers[i], SBX_SLOT_SHOWN)->pid;
        assert_int_equal(pipe(ends), 0);
        items[i] = (struct sbx_keep_item){.kind = SBX_KEEP_PROCESS, .number = numbers[i],
                                          .pid = pids[i], .fds = {-1, ends[0], -1}};
        (void)close(ends[1]);
    }
    take_over(&tab, items, 3);
    assert_int_equal(tab.count, 3);
    for (i = 0; i < 3; i++) {
        struct sbx_proc *p = sbx_proctab_number(&tab, numbers[i]);
        assert_non_null(p);
        assert_int_equal(p->leader, pids[i]);
        assert_int_equal(p->state, SBX_PROC_RUNNING);
        assert_int_equal(items[i].fds[1], -1); /* taken */
        assert_true(i == 0 || tab.procs[i]->number > tab.procs[i - 1]->number);
    }
    assert_int_equal(sbx_store_next_number(rig.host.store), 10);
    for (i = 0; i < 3; i++) {
        static const struct sbx_exit killed = {.kind = SBX_EXIT_SIGNAL, .value = SIGKILL};
        assert_int_equal(kill(pids[i], SIGKILL), 0);
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
        sbx_proc_on_kept_exit(sbx_proctab_number(&tab, numbers[i]), &killed);
    }
    RIG_UNTIL(&rig, sbx_proctab_running(&tab) == 0);
    sbx_proctab_deinit(&tab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_not_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shown_without_records, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
