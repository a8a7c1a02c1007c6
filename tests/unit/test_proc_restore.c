/* Processes that outlive their server, taken over by the next one. The test is the keeper: it has
 * the descriptors and the shared memory, and waits for the children. */
#include "proc_rig.h"

#include "gate.h"
#include "proc/keeper_msg.h"
#include "proc/proctab.h"

#include <sqlite3.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static bool nothing_is_killed;

int kill(pid_t pid, int sig)
{
    return nothing_is_killed && sig == SIGKILL ? 0 : (int)syscall(SYS_kill, pid, sig);
}

static struct {
    char dir[40];
    int memory;                /* of the server that died; -1: none */
    struct sbx_keep_item item; /* what is kept of the process */
    int link;                  /* the keeper's end, in tests that look at it; -1 */
    void (*alter)(struct sbx_db_process *record); /* before it is restored */
} w;

/* --- servers --- */

static void server_open(bool file)
{
    struct sbx_host *h = &rig.host;
    const struct sbx_store_options o = {.loop = &h->loop, .diag = &h->diag,
                                        .dir = file ? w.dir : NULL, .limits = &h->limits,
                                        .memory = w.memory, .shared = true};
    struct sbx_err err;
    h->store = sbx_store_open(&o, &err);
    w.memory = -1;
    if (h->store == NULL)
        fail_msg("%s", err.text);
}

static int restore_setup(void **state)
{
    (void)state;
    rig_open(&rig);
    sbx_store_close(rig.host.store);
    memset(&w, 0, sizeof w);
    w.memory = w.link = -1;
    w.item = (struct sbx_keep_item){.fds = {-1, -1, -1}};
    (void)snprintf(w.dir, sizeof w.dir, "/tmp/sbx-restore-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    server_open(true);
    return 0;
}

static void close_item(void)
{
    size_t i;
    for (i = 0; i < SBX_KEEP_FDS; i++)
        sbx_fd_close(&w.item.fds[i]);
}

static int restore_teardown(void **state)
{
    char command[80];
    (void)state;
    sbx_fd_close(&w.memory);
    sbx_keep_deinit(&rig.host.keep);
    sbx_fd_close(&w.link);
    rig_close(&rig);
    close_item();
    (void)snprintf(command, sizeof command, "rm -rf %s", w.dir);
    assert_int_equal(system(command), 0);
    return 0;
}

static int kept_dup(int fd)
{
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* What the keeper has of it. */
static void keep(const struct sbx_proc *p)
{
    w.item = (struct sbx_keep_item){.kind = SBX_KEEP_PROCESS, .number = p->number,
                                    .pid = (int32_t)p->leader};
    w.item.fds[0] = p->tty || p->in.state != SBX_INPUT_OPEN ? -1 : kept_dup(p->in.io.fd);
    w.item.fds[1] = p->out[0].state == SBX_OUTPUT_CLOSED ? -1 : kept_dup(p->out[0].io.fd);
    w.item.fds[2] = p->nout < 2 || p->out[1].state == SBX_OUTPUT_CLOSED
                        ? -1 : kept_dup(p->out[1].io.fd);
}

/* The server dies between two instructions; from here on children are the keeper's. */
static void die(struct sbx_proc *p, bool memory)
{
    struct sbx_store *store = rig.host.store;
    if (p->state == SBX_PROC_RUNNING || w.item.number == 0)
        keep(p);
    if (memory)
        w.memory = kept_dup(sbx_tail_fd(sbx_store_tail(store)));
    sbx_io_stop(&rig.signals);
    sbx_tail_leave(sbx_store_tail(store));
    sbx_proc_unref(p);
    sbx_store_close(store);
    sbx_loop_finish(&rig.host.loop);
}

struct restoring {
    struct sbx_keep_item *item;
    struct sbx_proc *p;
};

static int restore_one(void *ctx, const struct sbx_db_process *record)
{
    struct restoring *one = ctx;
    struct sbx_db_process altered = *record;
    assert_null(one->p);
    if (w.alter != NULL)
        w.alter(&altered);
    sbx_store_number_taken(rig.host.store, record->number);
    one->p = sbx_proc_restore(&rig.host, &altered, one->item);
    assert_non_null(one->p);
    return 0;
}

/* The next server, and its one process. */
static struct sbx_proc *restored(struct sbx_keep_item *item)
{
    struct restoring one = {.item = item};
    server_open(true);
    assert_int_equal(sbx_db_load(sbx_store_db(rig.host.store), restore_one, &one), 0);
    assert_non_null(one.p);
    sbx_tail_drop_orphans(sbx_store_tail(rig.host.store));
    return one.p;
}

static void finish(struct sbx_proc *p)
{
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    sbx_proc_unref(p);
    sbx_loop_finish(&rig.host.loop);
}

/* --- children --- */

static struct sbx_exit exit_of(int status)
{
    if (WIFEXITED(status))
        return (struct sbx_exit){.kind = SBX_EXIT_CODE, .value = WEXITSTATUS(status)};
    return (struct sbx_exit){.kind = SBX_EXIT_SIGNAL, .value = WTERMSIG(status)};
}

/* As the keeper waits. */
static struct sbx_exit await(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return exit_of(status);
}

/* While a server waits, too. */
static bool has_ended(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

static void await_in_pipe(int fd, int bytes)
{
    uint64_t end = sbx_clock_mono_us() + RIG_PATIENCE_US;
    int there = 0;
    while (ioctl(fd, FIONREAD, &there) == 0 && there < bytes) {
        assert_true(sbx_clock_mono_us() < end);
        (void)usleep(500);
    }
}

static uint64_t written(const struct sbx_proc *p)
{
    return sbx_store_log_offset(p->log.store);
}

/* So much is written, and the record is in the file: a server that dies before that has answered
 * nobody, and the next one does not know the process. The commit may come later than the output,
 * while the checkpoint thread has the file. */
static void await_written(const struct sbx_proc *p, uint64_t bytes)
{
    RIG_UNTIL(&rig, written(p) == bytes && !p->record.awaited);
}

static void expect_read(const struct reader *rd, const char *text)
{
    struct sbx_str got = sbx_buf_view(&rd->bytes);
    if (got.n != strlen(text) || memcmp(got.p, text, got.n) != 0)
        fail_msg("read \"%.*s\" instead of \"%s\"", (int)got.n, got.p, text);
}

static long long file_number(const char *sql)
{
    char path[80];
    struct sqlite3 *conn;
    struct sqlite3_stmt *st;
    long long v = -1;
    (void)snprintf(path, sizeof path, "%s/sandbox-agent.db", w.dir);
    assert_int_equal(sqlite3_open_v2(path, &conn, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(conn, sql, -1, &st, NULL), SQLITE_OK);
    if (sqlite3_step(st) == SQLITE_ROW)
        v = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(conn);
    return v;
}

/* --- running ones --- */

static void test_pipes_are_taken_over(void **state)
{
    struct sbx_proc *p = start_sh("echo before; read a; echo between; read b; echo got $b; cat; "
                                  "exit 7");
    struct reader rd;
    struct sbx_exit e;
    pid_t pid = p->leader;
    (void)state;
    await_written(p, 7);
    assert_int_equal(sbx_proc_input(p, "go\n", 3, false), 0);
    die(p, true);
    await_in_pipe(w.item.fds[1], 8);
    p = restored(&w.item);
    assert_int_equal(p->state, SBX_PROC_RUNNING);
    assert_int_equal(p->leader, pid);
    assert_string_equal(p->id, "proc_1");
    assert_true(sbx_str_eq_z(p->command, "/bin/sh") && p->nargs == 2);
    assert_true(w.item.fds[0] == -1 && w.item.fds[1] == -1 && w.item.fds[2] == -1);
    open_reader(&rd, p);
    RIG_UNTIL(&rig, shows(&rd, "between\n"));
    assert_int_equal(sbx_proc_input(p, "you\n", 4, false), 0);
    RIG_UNTIL(&rig, shows(&rd, "got you\n"));
    assert_int_equal(sbx_proc_input(p, "tail\n", 5, true), 0);
    e = await(pid);
    assert_int_equal(p->state, SBX_PROC_RUNNING);
    sbx_proc_on_kept_exit(p, &e);
    RIG_UNTIL(&rig, rd.ended);
    expect_read(&rd, "before\nbetween\ngot you\ntail\n");
    assert_int_equal(p->exit.kind, SBX_EXIT_CODE);
    assert_int_equal(p->exit.value, 7);
    assert_int_equal(p->reason, SBX_REASON_EXITED);
    assert_int_equal(file_number("SELECT exit_value FROM process_records WHERE exited"), 7);
    sbx_proc_on_kept_exit(p, &e); /* told twice */
    close_reader(&rd);
    finish(p);
}

static void test_terminal_is_taken_over(void **state)
{
    struct sbx_proc *p = start_tty("stty -echo; echo before; read a; echo got $a; stty size; "
                                   "read b; echo after >/dev/tty; exit 3");
    struct reader rd;
    struct sbx_exit e;
    pid_t pid = p->leader;
    (void)state;
    await_written(p, 8);
    die(p, true);
    p = restored(&w.item);
    assert_true(p->tty && p->nout == 1 && p->slave >= 0);
    open_reader(&rd, p);
    assert_int_equal(sbx_proc_resize(p, 132, 50), 0);
    assert_int_equal(sbx_proc_input(p, "it\n", 3, false), 0);
    RIG_UNTIL(&rig, shows(&rd, "50 132\r\n"));
    assert_int_equal(sbx_proc_input(p, "\n", 1, false), 0);
    e = await(pid);
    sbx_proc_on_kept_exit(p, &e);
    RIG_UNTIL(&rig, rd.ended);
    expect_read(&rd, "before\r\ngot it\r\n50 132\r\nafter\r\n");
    assert_int_equal(p->exit.value, 3);
    assert_int_equal(p->slave, -1);
    assert_int_equal(file_number("SELECT cols FROM process_records"), 132);
    close_reader(&rd);
    finish(p);
}

/* Server after server, while it writes all the time: each line once, in order. */
static void test_many_servers(void **state)
{
    struct sbx_proc *p = start_sh("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done");
    struct sbx_exit e;
    struct reader rd;
    struct sbx_str got;
    pid_t pid = p->leader;
    unsigned lives, line;
    uint64_t at;
    char text[40];
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    for (lives = 0; lives < 12; lives++) {
        at = written(p);
        RIG_UNTIL(&rig, written(p) > at || has_ended(pid));
        die(p, true);
        p = restored(&w.item);
    }
    RIG_UNTIL(&rig, has_ended(pid));
    e = await(pid);
    sbx_proc_on_kept_exit(p, &e);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    sbx_log_refresh(&p->log);
    open_reader(&rd, p);
    reader_read(&rd.cursor);
    assert_true(rd.ended);
    got = sbx_buf_view(&rd.bytes);
    for (line = 1; line <= 20000; line++) {
        size_t n = (size_t)snprintf(text, sizeof text, "line %u\n", line);
        if (got.n < n || memcmp(got.p, text, n) != 0)
            fail_msg("line %u is missing or comes twice", line);
        got.p += n;
        got.n -= n;
    }
    assert_int_equal(got.n, 0);
    close_reader(&rd);
    finish(p);
}

static void test_end_of_input_reaches_it(void **state)
{
    struct sbx_proc *p = start_sh("cat; echo end >&2; exit 0");
    struct sbx_exit e;
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    die(p, true);
    p = restored(&w.item);
    assert_int_equal(sbx_proc_input(p, NULL, 0, true), 0);
    e = await(p->leader);
    sbx_proc_on_kept_exit(p, &e);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(written(p), 4);
    assert_int_equal(p->input_dropped, 0);
    finish(p);
}

/* --- ends --- */

/* Ended while no server was there; what it wrote last is still in the pipe. */
static void test_ended_meanwhile(void **state)
{
    struct sbx_proc *p = start_sh("read a; echo last words; exit 5");
    struct reader rd;
    struct waiter told;
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    assert_int_equal(sbx_proc_input(p, "go\n", 3, false), 0);
    die(p, true);
    w.item.exit = await(w.item.pid);
    w.item.exited = true;
    p = restored(&w.item);
    assert_int_equal(p->state, SBX_PROC_DRAINING);
    open_reader(&rd, p);
    wait_for(&told, p, &rd);
    RIG_UNTIL(&rig, rd.ended);
    expect_read(&rd, "last words\n");
    assert_int_equal(told.told, 1);
    assert_int_equal(told.bytes_before, 11);
    assert_int_equal(p->exit.value, 5);
    assert_int_equal(p->reason, SBX_REASON_EXITED);
    assert_true(p->exited_ms >= p->created_ms);
    close_reader(&rd);
    finish(p);
}

static void test_killed_meanwhile(void **state)
{
    struct sbx_proc *p = start_sh("read a; kill -USR1 $$");
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    assert_int_equal(sbx_proc_input(p, "go\n", 3, false), 0);
    die(p, true);
    w.item.exit = await(w.item.pid);
    w.item.exited = true;
    p = restored(&w.item);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->exit.kind, SBX_EXIT_SIGNAL);
    assert_int_equal(p->exit.value, SIGUSR1);
    assert_int_equal(p->reason, SBX_REASON_SIGNALED);
    finish(p);
}

/* The server that died had reaped it, and the keeper knows no more than that it is gone. */
static void test_exit_is_in_the_slot(void **state)
{
    struct sbx_proc *p = start_sh("read a; echo last words; exit 5");
    uint64_t when;
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    assert_int_equal(sbx_proc_input(p, "go\n", 3, false), 0);
    when = p->created_ms + 1234;
    p->slot->exit_kind = SBX_EXIT_SIGNAL;
    p->slot->exit_value = SIGSEGV;
    p->slot->exit_core = 1;
    sbx_tail_publish(&p->slot->exited_ms, when);
    die(p, true);
    (void)await(w.item.pid);
    w.item.exited = true;
    w.item.exit = (struct sbx_exit){.kind = SBX_EXIT_UNKNOWN};
    p = restored(&w.item);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->exit.kind, SBX_EXIT_SIGNAL);
    assert_int_equal(p->exit.value, SIGSEGV);
    assert_true(p->exit.core);
    assert_int_equal(p->reason, SBX_REASON_SIGNALED);
    assert_int_equal(p->exited_ms, when);
    assert_int_equal(written(p), 11);
    assert_null(sbx_tail_slot_find(sbx_store_tail(rig.host.store), 1));
    finish(p);
}

/* Nobody knows: reaped, and the memory is gone. */
static void test_exit_that_nobody_knows(void **state)
{
    struct sbx_proc *p = start_sh("read a; exit 5");
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    assert_int_equal(sbx_proc_input(p, "go\n", 3, false), 0);
    die(p, false);
    (void)await(w.item.pid);
    w.item.exited = true;
    w.item.exit = (struct sbx_exit){.kind = SBX_EXIT_UNKNOWN};
    p = restored(&w.item);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->reason, SBX_REASON_LOST);
    assert_int_equal(p->exit.kind, SBX_EXIT_UNKNOWN);
    finish(p);
}

static void stop_and_expect(struct sbx_proc *p)
{
    struct sbx_exit e = await(p->leader);
    sbx_proc_on_kept_exit(p, &e);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->exit.kind, SBX_EXIT_SIGNAL);
    assert_int_equal(p->exit.value, SIGTERM);
    assert_int_equal(p->reason, SBX_REASON_STOPPED);
    assert_int_equal(file_number("SELECT exit_reason = 'stopped' FROM process_records"), 1);
    finish(p);
}

static void test_stopped_by_the_next_server(void **state)
{
    struct sbx_proc *p = start_sh("exec sleep 1000");
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    die(p, true);
    p = restored(&w.item);
    sbx_proc_stop(p);
    stop_and_expect(p);
}

/* Asked by one server, seen by the next. */
static void test_stopped_by_the_dead_server(void **state)
{
    struct sbx_proc *p = start_sh("exec sleep 1000");
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    sbx_proc_stop(p);
    die(p, true);
    p = restored(&w.item);
    stop_and_expect(p);
}

/* --- lost ones --- */

static void test_lost_and_its_survivor_is_ended(void **state)
{
    struct sbx_proc *p = start_sh("echo x; exec sleep 1000");
    pid_t pid = p->leader;
    struct sbx_exit e;
    (void)state;
    await_written(p, 2);
    sbx_store_save(rig.host.store);
    die(p, false);
    close_item();
    p = restored(NULL);
    assert_int_equal(p->state, SBX_PROC_EXITED);
    assert_int_equal(p->reason, SBX_REASON_LOST);
    assert_int_equal(p->exit.kind, SBX_EXIT_UNKNOWN);
    assert_string_equal(p->note, "");
    e = await(pid);
    assert_int_equal(e.kind, SBX_EXIT_SIGNAL);
    assert_int_equal(e.value, SIGKILL);
    assert_int_equal(written(p), 2);
    sbx_loop_finish(&rig.host.loop);
    assert_int_equal(file_number("SELECT exit_reason = 'lost' AND exit_kind = 0 "
                                 "FROM process_records WHERE exited"), 1);
    assert_int_equal(sbx_proc_input(p, "x", 1, false), -ESRCH);
    finish(p);
}

/* Of another user by now, or stuck in the system. */
static void test_lost_and_its_survivor_stays(void **state)
{
    struct sbx_proc *p = start_sh("exec sleep 1000");
    pid_t pid = p->leader;
    char note[80], sql[160];
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    die(p, false);
    close_item();
    nothing_is_killed = true;
    p = restored(NULL);
    nothing_is_killed = false;
    assert_int_equal(p->state, SBX_PROC_EXITED);
    assert_int_equal(p->reason, SBX_REASON_LOST);
    (void)snprintf(note, sizeof note, "process %ld still runs and could not be ended", (long)pid);
    assert_string_equal(p->note, note);
    sbx_loop_finish(&rig.host.loop);
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM processes WHERE exit_reason = 'lost' AND "
                   "exit_note = '%s'", note);
    assert_int_equal(file_number(sql), 1);
    finish(p);
    assert_int_equal(kill(pid, SIGKILL), 0);
    (void)await(pid);
}

static void started_earlier(struct sbx_db_process *record)
{
    record->started_us -= 10000000;
}

static void started_in_another_boot(struct sbx_db_process *record)
{
    record->boot_id = SBX_STR("00000000-0000-0000-0000-000000000000");
}

static void started_in_no_boot(struct sbx_db_process *record)
{
    record->boot_id = SBX_STR("");
}

/* Another container on the same machine: the boot is the same, and there is no more than that. */
static void started_in_this_boot(struct sbx_db_process *record)
{
    const char *end = memchr(record->boot_id.p, ' ', record->boot_id.n);
    if (end != NULL)
        record->boot_id.n = (size_t)(end - record->boot_id.p);
}

/* The pid is somebody else's by now. */
static void test_lost_and_a_stranger_is_left_alone(void **state)
{
    static void (*const alter[])(struct sbx_db_process *) = {
        started_earlier, started_in_another_boot, started_in_no_boot, started_in_this_boot};
    struct sbx_proc *p = start_sh("exec sleep 1000");
    pid_t pid = p->leader;
    size_t i;
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    die(p, false);
    close_item();
    for (i = 0; i < sizeof alter / sizeof alter[0]; i++) {
        w.alter = alter[i];
        p = restored(NULL);
        assert_int_equal(p->reason, SBX_REASON_LOST);
        assert_string_equal(p->note, "");
        assert_false(has_ended(pid));
        sbx_proc_unref(p);
        sbx_store_close(rig.host.store);
        sbx_loop_finish(&rig.host.loop);
    }
    server_open(true);
    assert_int_equal(kill(pid, SIGKILL), 0);
    (void)await(pid);
}

/* The dead server saw it, and the keeper never had it: the slot tells of it until it is stored. */
static void test_lost_and_its_exit_is_in_the_slot(void **state)
{
    struct sbx_proc *p = start_sh("read a; exit 5");
    struct sbx_tail *tail;
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    assert_int_equal(sbx_proc_input(p, "go\n", 3, false), 0);
    p->slot->exit_kind = SBX_EXIT_CODE;
    p->slot->exit_value = 5;
    sbx_tail_publish(&p->slot->exited_ms, p->created_ms + 1);
    die(p, true);
    (void)await(w.item.pid);
    close_item();
    p = restored(NULL);
    tail = sbx_store_tail(rig.host.store);
    assert_int_equal(p->state, SBX_PROC_EXITED);
    assert_int_equal(p->exit.value, 5);
    assert_non_null(sbx_tail_slot_find(tail, 1));
    sbx_loop_finish(&rig.host.loop);
    assert_int_equal(file_number("SELECT exit_value FROM process_records WHERE exited"), 5);
    assert_null(sbx_tail_slot_find(tail, 1));
    finish(p);
}

/* Programs before this one told boots apart and nothing else. What the keeper has is of here. */
static void test_boot_is_written_anew(void **state)
{
    struct sbx_proc *p = start_sh("exec sleep 1000");
    struct sbx_exit e;
    char sql[80 + SBX_BOOT_ID_MAX];
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    die(p, true);
    (void)file_number("UPDATE process_records SET boot_id = substr(boot_id, 1, 36)");
    p = restored(&w.item);
    sbx_loop_finish(&rig.host.loop);
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM process_records WHERE boot_id = '%s'",
                   rig.host.boot);
    assert_int_equal(file_number(sql), 1);
    sbx_proc_kill(p);
    e = await(p->leader);
    sbx_proc_on_kept_exit(p, &e);
    finish(p);
}

static void note_of_more(struct sbx_db_process *record)
{
    record->exit_note = SBX_STR("more of it");
}

/* What there is to say of one that runs is kept, and said when it has ended. */
static void test_note_of_a_running_process(void **state)
{
    struct sbx_proc *p = start_sh("read a; exit 5");
    struct sbx_exit e;
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    die(p, true);
    w.alter = note_of_more;
    p = restored(&w.item);
    assert_string_equal(p->note, "more of it");
    assert_int_equal(sbx_proc_input(p, "go\n", 3, false), 0);
    e = await(p->leader);
    sbx_proc_on_kept_exit(p, &e);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(file_number("SELECT exit_note = 'more of it' FROM process_records"), 1);
    finish(p);
}

static void knows_of_more(struct sbx_db_process *record)
{
    record->log_last += 5;
    record->log_end_offset += 50;
}

static void no_data(struct sbx_cursor *c)
{
    (void)c;
}

static bool took_nothing(struct sbx_cursor *c)
{
    (void)c;
    return false;
}

/* The record tells of output that went with the memory: readers are told, and come to the end. */
static void test_lost_with_a_part_of_its_output(void **state)
{
    struct sbx_proc *p = start_sh("echo x; exec sleep 1000");
    struct sbx_cursor c;
    struct sbx_entry e;
    struct sbx_gap gap;
    (void)state;
    await_written(p, 2);
    sbx_store_save(rig.host.store);
    die(p, false);
    close_item();
    w.alter = knows_of_more;
    p = restored(NULL);
    (void)await(p->leader);
    sbx_log_refresh(&p->log);
    sbx_cursor_open(&c, &p->log, 1, SBX_STREAMS_COMBINED, no_data, took_nothing);
    assert_int_equal(sbx_cursor_next(&c, &e, &gap), SBX_STEP_ENTRY);
    assert_int_equal(e.len, 2);
    assert_int_equal(sbx_cursor_next(&c, &e, &gap), SBX_STEP_GAP);
    assert_int_equal(gap.from, 2);
    assert_int_equal(gap.to, sbx_log_last(&p->log));
    assert_true(gap.bytes_known);
    assert_int_equal(gap.bytes, written(p) - 2);
    assert_int_equal(sbx_cursor_next(&c, &e, &gap), SBX_STEP_END);
    sbx_cursor_close(&c);
    finish(p);
}

/* --- input --- */

static void test_waiting_input_is_dropped_and_counted(void **state)
{
    struct sbx_proc *p = start_sh("exec sleep 1000");
    static char much[300000];
    struct sbx_exit e;
    size_t queued;
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    assert_int_equal(sbx_proc_input(p, much, sizeof much, false), 0);
    queued = sbx_input_queued(&p->in);
    assert_true(queued > 0);
    assert_int_equal(p->slot->input_queued, queued);
    die(p, true);
    p = restored(&w.item);
    assert_int_equal(p->input_dropped, queued);
    assert_int_equal(p->slot->input_queued, 0);
    sbx_loop_finish(&rig.host.loop);
    assert_int_equal(file_number("SELECT input_dropped FROM process_records"), queued);
    assert_int_equal(sbx_proc_input(p, "x", 1, false), 0); /* waits, too */
    assert_int_equal(p->slot->input_queued, 1);
    assert_int_equal(kill(p->leader, SIGKILL), 0);
    e = await(p->leader);
    sbx_proc_on_kept_exit(p, &e);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(p->input_dropped, queued + 1);
    finish(p);
}

/* --- exited ones --- */

/* A background child has its pipes; `late` is what lets it write. */
static struct sbx_proc *start_with_background(char *late, size_t n)
{
    char script[160];
    (void)snprintf(late, n, "%s/late", w.dir);
    assert_int_equal(mkfifo(late, 0600), 0);
    (void)snprintf(script, sizeof script, "(read x <%s; echo late) & echo now; exit 4", late);
    return start_sh(script);
}

static void let_go(const char *late)
{
    int fd = open(late, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    (void)close(fd);
}

static void test_late_output_of_an_exited_process(void **state)
{
    char late[80];
    struct sbx_proc *p = start_with_background(late, sizeof late);
    struct reader rd;
    (void)state;
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(written(p), 4);
    keep(p);
    w.item.exited = true;
    w.item.exit = p->exit;
    die(p, true);
    p = restored(&w.item);
    assert_true(sbx_proc_exited(p));
    assert_int_equal(p->exit.value, 4);
    assert_int_equal(p->reason, SBX_REASON_EXITED);
    assert_int_equal(p->out[0].state, SBX_OUTPUT_READING);
    let_go(late);
    RIG_UNTIL(&rig, p->out[0].state == SBX_OUTPUT_CLOSED);
    sbx_loop_finish(&rig.host.loop);
    sbx_log_refresh(&p->log);
    open_reader(&rd, p);
    reader_read(&rd.cursor);
    assert_true(rd.ended);
    expect_read(&rd, "now\nlate\n");
    assert_int_equal(file_number("SELECT sum(length(data)) FROM chunks"), 9);
    close_reader(&rd);
    finish(p);
}

/* The server died before it could tell the keeper of the end: input ends here, too. */
static void test_input_of_an_exited_process_is_closed(void **state)
{
    char late[80];
    struct sbx_proc *p = start_with_background(late, sizeof late);
    int ends[2];
    char byte;
    (void)state;
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    keep(p);
    die(p, true);
    assert_int_equal(pipe(ends), 0);
    w.item.fds[0] = ends[1];
    p = restored(&w.item);
    assert_true(sbx_proc_exited(p));
    assert_int_equal(p->in.state, SBX_INPUT_CLOSED);
    assert_int_equal(sbx_fd_set_nonblock(ends[0]), 0);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    (void)close(ends[0]);
    let_go(late);
    RIG_UNTIL(&rig, p->out[0].state == SBX_OUTPUT_CLOSED);
    finish(p);
}

static void of_another_boot(struct sbx_db_process *record)
{
    record->boot_id = SBX_STR("another");
}

static void before_the_family(struct sbx_db_process *record)
{
    rig.host.family_us = record->started_us + 1;
}

static void of_nobody(struct sbx_db_process *record)
{
    record->pid = 0;
}

/* The next server kills what is left of an exited process, of which the keeper has nothing. How did
 * that end which the leader had left in its group? */
static struct sbx_exit end_of_remains(void (*alter)(struct sbx_db_process *record))
{
    char late[80];
    struct sbx_proc *p = start_with_background(late, sizeof late);
    pid_t group = p->leader;
    int status;
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    die(p, true);
    w.alter = alter;
    p = restored(NULL);
    assert_true(sbx_proc_exited(p));
    sbx_proc_kill(p);
    if (alter != NULL)
        let_go(late);
    assert_true(waitpid(-group, &status, 0) > 0);
    finish(p);
    return exit_of(status);
}

static void test_remains_are_ended(void **state)
{
    (void)state;
    assert_int_equal(end_of_remains(NULL).kind, SBX_EXIT_SIGNAL);
}

/* What the pid in their records means now, nobody knows. */
static void test_remains_of_another_boot_are_not_ours(void **state)
{
    (void)state;
    assert_int_equal(end_of_remains(of_another_boot).kind, SBX_EXIT_CODE);
}

static void test_remains_of_another_family_are_not_ours(void **state)
{
    (void)state;
    assert_int_equal(end_of_remains(before_the_family).kind, SBX_EXIT_CODE);
}

static void test_remains_of_nobody(void **state)
{
    (void)state;
    assert_int_equal(end_of_remains(of_nobody).kind, SBX_EXIT_CODE);
}

/* All of it is in the file, and read from there. */
static void test_exited_process(void **state)
{
    struct sbx_proc *p = start_sh("head -c 400000 /dev/zero | tr '\\0' a; exit 9");
    struct reader rd;
    (void)state;
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    die(p, true);
    close_item();
    p = restored(NULL);
    assert_true(sbx_proc_exited(p));
    assert_int_equal(p->exit.value, 9);
    assert_int_equal(p->reason, SBX_REASON_EXITED);
    assert_int_equal(sbx_tail_bytes(sbx_store_tail(rig.host.store)), 0);
    sbx_log_refresh(&p->log);
    open_reader(&rd, p);
    reader_read(&rd.cursor);
    assert_true(rd.ended);
    assert_int_equal(sbx_buf_len(&rd.bytes), 400000);
    close_reader(&rd);
    finish(p);
}

/* --- what the keeper is told --- */

static void link_keeper(void)
{
    struct sbx_estate estate = {.keeper = getpid()};
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    estate.link = ends[0];
    w.link = ends[1];
    assert_int_equal(sbx_keep_init(&rig.host.keep, &rig.host.loop, &rig.host.diag, &estate), 0);
}

/* The next message, its descriptors closed; 0: none. */
static int heard(struct sbx_keeper_msg *m)
{
    uint8_t bytes[64];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(SBX_KEEP_FDS * sizeof(int))];
    } control;
    struct iovec iov = {bytes, sizeof bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(w.link, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);
    size_t i;
    if (n < 0)
        return 0;
    for (i = 0; c != NULL && i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        (void)close(fd);
    }
    assert_int_equal(sbx_keeper_msg_decode(bytes, (size_t)n, m), 0);
    return (int)m->type;
}

static int heard_last(struct sbx_keeper_msg *m)
{
    struct sbx_keeper_msg next;
    int type = 0, one;
    while ((one = heard(&next)) != 0) {
        type = one;
        *m = next;
    }
    return type;
}

static void test_keeper_forgets_after_the_end(void **state)
{
    struct sbx_proc *p = start_sh("read a; exit 5");
    struct sbx_keeper_msg m = {0};
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    assert_int_equal(sbx_proc_input(p, "go\n", 3, false), 0);
    die(p, true);
    w.item.exit = await(w.item.pid);
    w.item.exited = true;
    link_keeper();
    p = restored(&w.item);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    assert_int_equal(file_number("SELECT exited FROM process_records"), 1);
    RIG_UNTIL(&rig, p->out[0].state == SBX_OUTPUT_CLOSED && p->out[1].state == SBX_OUTPUT_CLOSED);
    assert_int_equal(heard_last(&m), SBX_KEEPER_MSG_DROP);
    assert_int_equal(m.number, 1);
    assert_false(p->kept);
    finish(p);
}

/* Until the keeper's end of the line takes no more: it reads nothing. */
static void fill_link(void)
{
    while (sbx_buf_len(&rig.host.keep.unsent) == 0)
        assert_int_equal(sbx_keep_drop(&rig.host.keep, SBX_KEEP_MEMORY, 77), 0);
}

static bool hears_that_it_is_dropped(void)
{
    struct sbx_keeper_msg m = {0};
    return heard_last(&m) == SBX_KEEPER_MSG_DROP && m.kind == SBX_KEEP_PROCESS && m.number == 1;
}

static void test_keeper_forgets_when_it_reads_again(void **state)
{
    struct sbx_proc *p = start_sh("read a; exit 5");
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    assert_int_equal(sbx_proc_input(p, "go\n", 3, false), 0);
    die(p, true);
    w.item.exit = await(w.item.pid);
    w.item.exited = true;
    link_keeper();
    p = restored(&w.item);
    fill_link();
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    RIG_UNTIL(&rig, !p->kept);
    RIG_UNTIL(&rig, hears_that_it_is_dropped());
    finish(p);
}

/* Of an exited process with a background child the keeper is to have the pipes alone. When it does
 * not take that in time, it has more than it needs; but not for ever. */
static void test_keeper_that_did_not_take_it_forgets_all_the_same(void **state)
{
    struct sbx_proc *p = start_sh("sleep 100 & read a; exit 5");
    pid_t group;
    (void)state;
    RIG_UNTIL(&rig, !p->record.awaited);
    assert_int_equal(sbx_proc_input(p, "go\n", 3, false), 0);
    die(p, true);
    group = w.item.pid;
    w.item.exit = await(group);
    w.item.exited = true;
    link_keeper();
    p = restored(&w.item);
    fill_link();
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    RIG_UNTIL(&rig, rig.host.keep.stuck);
    assert_true(p->kept);
    assert_int_equal(kill(-group, SIGKILL), 0);
    RIG_UNTIL(&rig, !p->kept);
    RIG_UNTIL(&rig, hears_that_it_is_dropped());
    finish(p);
}

static int restore_into(void *ctx, const struct sbx_db_process *record)
{
    return sbx_proctab_restore(ctx, record, w.item.number == record->number ? &w.item : NULL);
}

static void test_deleted_is_forgotten_by_all(void **state)
{
    char late[80];
    struct sbx_proc *p = start_with_background(late, sizeof late);
    struct sbx_keeper_msg m = {0};
    struct sbx_proctab tab;
    (void)state;
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    keep(p);
    die(p, true);
    link_keeper();
    server_open(true);
    sbx_proctab_init(&tab, &rig.host);
    assert_int_equal(sbx_db_load(sbx_store_db(rig.host.store), restore_into, &tab), 0);
    p = sbx_proctab_number(&tab, 1);
    assert_non_null(p);
    assert_int_equal(heard_last(&m), SBX_KEEPER_MSG_PUT); /* what is still open, without the pid */
    assert_int_equal(m.pid, 0);
    sbx_proctab_delete(&tab, p);
    assert_int_equal(heard_last(&m), SBX_KEEPER_MSG_DROP);
    assert_int_equal(m.number, 1);
    sbx_loop_finish(&rig.host.loop);
    assert_int_equal(file_number("SELECT count(*) FROM process_records"), 0);
    assert_int_equal(tab.count, 0);
    sbx_proctab_deinit(&tab);
}

/* --- the table --- */

/* Records of an earlier server: number i + 1 exited at ends[i], with as many bytes of output. */
static void put_records(const uint64_t *ends, const uint64_t *bytes, size_t n)
{
    struct sbx_db *db = sbx_store_db(rig.host.store);
    size_t i;
    assert_int_equal(sbx_db_begin(db), 0);
    for (i = 0; i < n; i++) {
        const struct sbx_db_process r = {
            .number = i + 1, .command = SBX_STR("x"), .args = SBX_STR("[]"),
            .env_names = SBX_STR("[]"), .persist = true, .exited = true, .exited_ms = ends[i],
            .exit_kind = SBX_EXIT_CODE, .exit_reason = SBX_STR("exited"), .log_cap = 1000,
            .log_first = 1, .log_last = bytes[i] > 0, .log_end_offset = bytes[i]};
        assert_int_equal(sbx_db_put_process(db, &r), 0);
    }
    assert_int_equal(sbx_db_commit(db), 0);
}

static void test_retire_and_victims(void **state)
{
    const uint64_t ends[] = {3000, 1000, 5000, 2000, 4000, 6000};
    const uint64_t bytes[] = {100, 0, 100, 100, 100, 100};
    struct sbx_proctab tab;
    struct sbx_proc *p, *q;
    struct rig_shell text;
    struct sbx_spec spec = rig_sh(&text, "printf 12345; exec sleep 1000");
    struct sbx_err err;
    (void)state;
    put_records(ends, bytes, 6);
    sbx_proctab_init(&tab, &rig.host);
    assert_int_equal(sbx_db_load(sbx_store_db(rig.host.store), restore_into, &tab), 0);
    sbx_store_number_taken(rig.host.store, 6);
    assert_int_equal(tab.count, 6);
    assert_int_equal(sbx_proctab_create(&tab, &spec, &p, &err), 0);
    spec.args[1] = SBX_STR("printf 123; exec sleep 1000");
    assert_int_equal(sbx_proctab_create(&tab, &spec, &q, &err), 0);
    RIG_UNTIL(&rig, written(p) == 5 && written(q) == 3);
    assert_int_equal(sbx_proctab_running(&tab), 2);
    /* Number 2 ended first, but has nothing to give. */
    assert_ptr_equal(sbx_proctab_pick_victim(&tab), sbx_proctab_number(&tab, 4)->log.store);
    rig.host.limits.max_exited_processes = 3;
    sbx_proctab_retire(&tab);
    assert_null(sbx_proctab_number(&tab, 2));
    assert_null(sbx_proctab_number(&tab, 4));
    assert_null(sbx_proctab_number(&tab, 1));
    assert_int_equal(tab.count, 5);
    assert_ptr_equal(sbx_proctab_pick_victim(&tab), sbx_proctab_number(&tab, 5)->log.store);
    sbx_loop_finish(&rig.host.loop);
    assert_int_equal(file_number("SELECT count(*) FROM process_records WHERE exited"), 3);
    rig.host.limits.max_exited_processes = 1;
    sbx_proctab_retire(&tab);
    assert_non_null(sbx_proctab_number(&tab, 6));
    sbx_proctab_delete(&tab, sbx_proctab_number(&tab, 6));
    assert_ptr_equal(sbx_proctab_pick_victim(&tab), p->log.store); /* the longest */
    sbx_proc_kill(p);
    sbx_proc_kill(q);
    RIG_UNTIL(&rig, sbx_proctab_running(&tab) == 0);
    sbx_proctab_deinit(&tab);
}

/* --- memory --- */

struct scarce {
    struct gate gate;
    bool whole;
    unsigned records;
};

static int restore_scarcely(void *ctx, const struct sbx_db_process *record)
{
    struct scarce *s = ctx;
    struct sbx_keep_item item = w.item;
    struct sbx_proc *p;
    size_t i, fds = rig_count_fds();
    s->records++;
    for (i = 0; i < SBX_KEEP_FDS; i++)
        item.fds[i] = kept_dup(w.item.fds[i]);
    sbx_mem_set_gate(gate_ask, &s->gate);
    p = sbx_proc_restore(&rig.host, record, &item);
    sbx_mem_set_gate(NULL, NULL);
    s->whole = !gate_hit(&s->gate);
    assert_true(p != NULL || !s->whole);
    assert_non_null(sbx_tail_slot_find(sbx_store_tail(rig.host.store), record->number));
    if (p != NULL) {
        assert_int_equal(item.fds[1], -1);
        sbx_proc_unref(p);
        sbx_loop_finish(&rig.host.loop);
    }
    for (i = 0; i < SBX_KEEP_FDS; i++)
        sbx_fd_close(&item.fds[i]);
    assert_int_equal(rig_count_fds(), fds);
    return 0;
}

static void test_out_of_memory(void **state)
{
    struct sbx_proc *p = start_tty("echo x; exec sleep 1000");
    struct scarce s = {.gate = {0, 1, false}};
    (void)state;
    await_written(p, 3);
    die(p, true);
    server_open(true);
    while (!s.whole) {
        s.gate.asked = 0;
        s.records = 0;
        assert_int_equal(sbx_db_load(sbx_store_db(rig.host.store), restore_scarcely, &s), 0);
        assert_int_equal(s.records, 1);
        if (s.gate.and_later)
            s.gate.fail_at++;
        s.gate.and_later = !s.gate.and_later;
    }
    assert_true(s.gate.fail_at > 4);
    assert_int_equal(kill(w.item.pid, SIGKILL), 0);
    (void)await(w.item.pid);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, restore_setup, restore_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pipes_are_taken_over),
        TEST(test_terminal_is_taken_over),
        TEST(test_many_servers),
        TEST(test_end_of_input_reaches_it),
        TEST(test_ended_meanwhile),
        TEST(test_killed_meanwhile),
        TEST(test_exit_is_in_the_slot),
        TEST(test_exit_that_nobody_knows),
        TEST(test_stopped_by_the_next_server),
        TEST(test_stopped_by_the_dead_server),
        TEST(test_lost_and_its_survivor_is_ended),
        TEST(test_lost_and_its_survivor_stays),
        TEST(test_lost_and_a_stranger_is_left_alone),
        TEST(test_lost_and_its_exit_is_in_the_slot),
        TEST(test_boot_is_written_anew),
        TEST(test_note_of_a_running_process),
        TEST(test_lost_with_a_part_of_its_output),
        TEST(test_waiting_input_is_dropped_and_counted),
        TEST(test_late_output_of_an_exited_process),
        TEST(test_input_of_an_exited_process_is_closed),
        TEST(test_remains_are_ended),
        TEST(test_remains_of_another_boot_are_not_ours),
        TEST(test_remains_of_another_family_are_not_ours),
        TEST(test_remains_of_nobody),
        TEST(test_exited_process),
        TEST(test_keeper_forgets_after_the_end),
        TEST(test_keeper_forgets_when_it_reads_again),
        TEST(test_keeper_that_did_not_take_it_forgets_all_the_same),
        TEST(test_deleted_is_forgotten_by_all),
        TEST(test_retire_and_victims),
        TEST(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
