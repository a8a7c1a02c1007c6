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

/* --- a file that comes back --- */

static struct {
    struct sbx_proctab *tab;
    char dir[40];
    int memory; /* of the server before; -1: none */
} back;

static int join(void *ctx, struct sbx_err *err)
{
    (void)ctx;
    return sbx_inherit_join(back.tab, err);
}

static void open_server(void)
{
    struct sbx_host *h = &rig.host;
    const struct sbx_store_options o = {.loop = &h->loop, .diag = &h->diag, .dir = back.dir,
                                        .limits = &h->limits, .memory = back.memory,
                                        .shared = true, .go_on = true, .on_opened = join};
    struct sbx_err err;
    h->store = sbx_store_open(&o, &err);
    back.memory = -1;
    if (h->store == NULL)
        fail_msg("%s", err.text);
}

/* Its memory stays, as with the keeper. */
static void close_server(void)
{
    struct sbx_tail *tail = sbx_store_tail(rig.host.store);
    back.memory = fcntl(sbx_tail_fd(tail), F_DUPFD_CLOEXEC, 3);
    assert_true(back.memory >= 0);
    sbx_tail_leave(tail);
    sbx_store_close(rig.host.store);
}

static void command(const char *format, const char *dir)
{
    char text[200];
    (void)snprintf(text, sizeof text, format, dir);
    assert_int_equal(system(text), 0);
}

static void put_record(const struct sbx_slot *slot, uint64_t started_us)
{
    const struct sbx_db_process r = {
        .number = slot->number, .command = SBX_STR("sh"), .args = SBX_STR("[\"-c\",\"good\"]"),
        .env_names = SBX_STR("[\"NAME\"]"), .has_cwd = true, .cwd = SBX_STR("/tmp"),
        .persist = true, .pid = slot->pid, .started_us = started_us,
        .boot_id = sbx_str_z(rig.host.boot), .created_ms = 12345, .exit_reason = SBX_STR(""),
        .input_dropped = 7, .log_cap = 1000, .log_first = 1};
    struct sbx_db *db = sbx_store_db(rig.host.store);
    assert_int_equal(sbx_db_begin(db), 0);
    assert_int_equal(sbx_db_put_process(db, &r), 0);
    assert_int_equal(sbx_db_commit(db), 0);
}

static void end_child(struct sbx_proctab *tab, uint64_t number, pid_t pid)
{
    static const struct sbx_exit killed = {.kind = SBX_EXIT_SIGNAL, .value = SIGKILL};
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    sbx_proc_on_kept_exit(sbx_proctab_number(tab, number), &killed);
}

static int expect_good(void *ctx, const struct sbx_db_process *r)
{
    unsigned *seen = ctx;
    bool good = r->number != 6; /* another process had that number */
    (*seen)++;
    assert_int_equal(r->has_cwd, good);
    assert_int_equal(sbx_str_eq_z(r->command, "sh"), good);
    assert_int_equal(sbx_str_eq_z(r->args, "[\"-c\",\"good\"]"), good);
    assert_int_equal(sbx_str_eq_z(r->env_names, "[\"NAME\"]"), good);
    assert_int_equal(r->created_ms == 12345, good);
    assert_int_equal(r->input_dropped, good ? 7 : 0);
    assert_int_equal(r->exit_note.n > 0, !good);
    return 0;
}

/* The file is out of reach when the server takes over: what it makes up for it gives way to what
 * the file has of the same processes, as soon as that is there, here and in the file. */
static void test_salvaged_meets_its_record(void **state)
{
    static const uint64_t numbers[] = {4, 5, 6};
    struct sbx_keep_item items[3];
    struct sbx_proctab tab;
    pid_t pids[3];
    size_t i;
    unsigned seen = 0;
    (void)state;
    back.tab = &tab;
    back.memory = -1;
    sbx_store_close(rig.host.store);
    (void)snprintf(back.dir, sizeof back.dir, "/tmp/sbx-inherit-XXXXXX");
    assert_non_null(mkdtemp(back.dir));
    open_server();
    for (i = 0; i < 3; i++) {
        struct sbx_slot *slot = leave(numbers[i], SBX_SLOT_SHOWN);
        pids[i] = slot->pid;
        items[i] = (struct sbx_keep_item){.kind = SBX_KEEP_PROCESS, .number = numbers[i],
                                          .pid = pids[i], .fds = {-1, -1, -1}};
        put_record(slot, slot->started_us - (numbers[i] == 6));
    }
    close_server();
    command("cd %s && mkdir away && mv sandbox-agent.db* away && mkdir sandbox-agent.db", back.dir);
    open_server();
    assert_null(sbx_store_db(rig.host.store));
    take_over(&tab, items, 3);
    end_child(&tab, 5, pids[1]);
    RIG_UNTIL(&rig, sbx_proc_exited(sbx_proctab_number(&tab, 5)));
    for (i = 0; i < 3; i++)
        assert_false(sbx_str_eq_z(sbx_proctab_number(&tab, numbers[i])->command, "sh"));
    command("cd %s && rmdir sandbox-agent.db && mv away/* . && rmdir away", back.dir);
    RIG_UNTIL(&rig, sbx_store_trouble(rig.host.store) == NULL);
    for (i = 0; i < 2; i++) {
        const struct sbx_proc *p = sbx_proctab_number(&tab, numbers[i]);
        assert_true(sbx_str_eq_z(p->command, "sh") && sbx_str_eq_z(p->cwd, "/tmp") && p->has_cwd);
        assert_true(p->nargs == 2 && sbx_str_eq_z(p->args[1], "good"));
        assert_string_equal(p->env_names, "[\"NAME\"]");
        assert_string_equal(p->note, "");
        assert_int_equal(p->created_ms, 12345);
        assert_int_equal(p->text_bytes, 2 + 4 + 2 + 4 + 8 + 2 * sizeof *p->args);
    }
    assert_int_equal(tab.exited_text, sbx_proctab_number(&tab, 5)->text_bytes);
    assert_int_equal(sbx_db_load(sbx_store_db(rig.host.store), expect_good, &seen), 0);
    assert_int_equal(seen, 3);
    end_child(&tab, 4, pids[0]);
    end_child(&tab, 6, pids[2]);
    RIG_UNTIL(&rig, sbx_proctab_running(&tab) == 0);
    sbx_proctab_deinit(&tab);
    command("rm -rf %s", back.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_not_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shown_without_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_salvaged_meets_its_record, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
