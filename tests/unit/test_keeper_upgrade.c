/* Upgrades: a copy of this program is the agent. It is the keeper and, by fork, its servers; put
 * in its own place once more, it is executed as the new server. */
#include "keeper_rig.h"

#include "proc/keeper_msg.h"

/* Two files, since the copies must differ from each other and from what is run here. */
static void copy_program(const struct keeper_rig *rig, const char *name)
{
    char path[100], block[65536];
    ssize_t n;
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to;
    (void)snprintf(path, sizeof path, "%s/%s", rig->dir, name);
    to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    assert_true(from >= 0 && to >= 0);
    while ((n = read(from, block, sizeof block)) > 0)
        assert_int_equal(write(to, block, (size_t)n), n);
    (void)close(from);
    (void)close(to);
}

static void put_text(const struct keeper_rig *rig, const char *text, mode_t mode)
{
    char path[100], temporary[100];
    int fd;
    (void)snprintf(path, sizeof path, "%s/agent", rig->dir);
    (void)snprintf(temporary, sizeof temporary, "%s/new", rig->dir);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
    assert_int_equal(rename(temporary, path), 0);
}

static void put_program(const struct keeper_rig *rig)
{
    char path[100], temporary[100];
    (void)snprintf(path, sizeof path, "%s/agent", rig->dir);
    (void)snprintf(temporary, sizeof temporary, "%s/new", rig->dir);
    copy_program(rig, "new");
    assert_int_equal(rename(temporary, path), 0);
}

/* Every server: the first fills the keeper, the others look whether it is all there. value: what
 * it is to be like. */
enum { GOOD, DEAF, FAILS_WHEN_EXECUTED };

static void fill(struct serving *s)
{
    int r = -1, w = -1, memory = sbx_fd_open_unnamed();
    pid_t pid;
    CHECK(s->board, write(memory, "kept", 4) == 4 && sbx_fd_pipe(&r, &w) == 0);
    pid = fork();
    if (pid == 0) {
        (void)setsid();
        while (s->board->step == 0)
            nap();
        _exit(write(w, "end", 3) == 3 ? 21 : 97);
    }
    s->board->pids[0] = pid;
    serving_put(s, SBX_KEEP_PROCESS, 5, pid, -1, r);
    serving_put(s, SBX_KEEP_MEMORY, 1, 0, memory, -1);
    (void)close(w);
    (void)close(r);
    (void)close(memory);
}

static void look(struct serving *s)
{
    struct board *b = s->board;
    struct sbx_keep_item *p = sbx_estate_find(s->estate, SBX_KEEP_PROCESS, 5);
    struct sbx_keep_item *m = sbx_estate_find(s->estate, SBX_KEEP_MEMORY, 1);
    char text[5] = "";
    int i;
    CHECK(b, s->estate->nitems == 2 && p != NULL && m != NULL);
    CHECK(b, p->pid == b->pids[0] && p->fds[0] == -1 && p->fds[2] == -1);
    CHECK(b, pread(m->fds[0], text, 4, 0) == 4 && strcmp(text, "kept") == 0);
    CHECK(b, s->estate->nofile > 0);
    /* Nothing is open that a child of ours would inherit. */
    for (i = 3; i < 200; i++)
        CHECK(b, fcntl(i, F_GETFD) < 0 || (fcntl(i, F_GETFD) & FD_CLOEXEC) != 0);
    if (b->step == 1) {
        SERVE_UNTIL(s, p->exited || b->ntold == 1);
        CHECK(b, read(p->fds[1], text, 4) == 3 && memcmp(text, "end", 3) == 0);
    }
}

static int serve(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    b->server = getpid();
    b->nitems = e->nitems;
    b->generation = e->generation;
    serving_open(&s, b, e);
    s.ignore_usr2 = b->value == DEAF;
    if (e->generation == 1)
        fill(&s);
    else
        look(&s);
    serving_ready(&s);
    serving_forever(&s);
}

static char **own_argv;

/* `agent keeper DIR` */
static int be_keeper(struct board *b)
{
    static const struct sbx_diag diag = {.level = SBX_DIAG_INFO};
    char word[] = "server";
    char *args[] = {own_argv[0], word, own_argv[2], NULL};
    struct sbx_keeper_options o = {.diag = &diag, .argv = args, .token = "secret=token",
                                   .lock = -1};
    keeper_rig_run(b, &o, serve);
}

/* `agent server DIR`, executed by a keeper */
static int be_server(struct board *b)
{
    struct sbx_estate e;
    const char *token = getenv("SANDBOX_AGENT_TOKEN");
    char path[100];
    b->ready = false;
    if (b->value == FAILS_WHEN_EXECUTED)
        return 4;
    CHECK(b, token != NULL && strcmp(token, "secret=token") == 0);
    CHECK(b, sbx_estate_from_environ(&e));
    CHECK(b, getenv(SBX_KEEPER_VARIABLE) == NULL);
    CHECK(b, e.keeper == getppid() && getpgid(0) == getpid());
    (void)snprintf(path, sizeof path, "%s/agent", own_argv[2]);
    CHECK(b, strcmp(own_argv[0], path) == 0);
    b->executed = true;
    return serve(b, &e);
}

static void start_agent(struct keeper_rig *rig)
{
    char path[100];
    copy_program(rig, "agent");
    (void)snprintf(path, sizeof path, "%s/agent", rig->dir);
    rig->keeper = fork();
    assert_true(rig->keeper >= 0);
    if (rig->keeper == 0) {
        (void)setenv("SANDBOX_AGENT_TOKEN", "of somebody else", 1);
        (void)execl(path, "agent", "keeper", rig->dir, (char *)NULL);
        _exit(97);
    }
    keeper_rig_await(rig, 1);
    assert_false(rig->board->executed);
}

static void upgrade(struct keeper_rig *rig)
{
    rig->board->ready = false;
    assert_int_equal(kill(rig->keeper, SIGUSR2), 0);
}

static void crash(struct keeper_rig *rig)
{
    rig->board->ready = false;
    assert_int_equal(kill(rig->board->server, SIGKILL), 0);
}

static void test_upgrade(void **state)
{
    struct keeper_rig *rig = *state;
    struct board *b = rig->board;
    size_t fds;
    start_agent(rig);
    BOARD_UNTIL(rig, state_of(rig->keeper) == 'S');
    fds = count_fds_of(rig->keeper);
    put_program(rig);
    upgrade(rig);
    keeper_rig_await(rig, 2);
    assert_true(b->executed);
    BOARD_UNTIL(rig, keeper_rig_has_said(rig, "upgraded"));
    BOARD_UNTIL(rig, count_fds_of(rig->keeper) == fds + 1); /* of the new program */
    put_program(rig);
    upgrade(rig);
    keeper_rig_await(rig, 3);
    b->step = 1;
    BOARD_UNTIL(rig, state_of(b->pids[0]) == 'Z' && b->ntold == 1);
    assert_int_equal(b->told[0].value, 21);
    assert_int_equal(b->told_number[0], 5);
    b->ntold = 0;
    upgrade(rig); /* to the same once more: an exit that was told is in the table, too */
    keeper_rig_await(rig, 4);
    assert_int_equal(b->ntold, 0);
    BOARD_UNTIL(rig, count_fds_of(rig->keeper) == fds + 1);
    keeper_rig_stop(rig, 0);
}

/* The time that the old server is given to end is not counted against the new one. */
static void test_an_upgraded_server_stays(void **state)
{
    struct keeper_rig *rig = *state;
    uint64_t start = sbx_clock_mono_us();
    start_agent(rig);
    upgrade(rig);
    keeper_rig_await(rig, 2);
    BOARD_UNTIL(rig, sbx_clock_mono_us() - start > 5300000 || rig->board->generation != 2);
    assert_int_equal(rig->board->generation, 2);
    keeper_rig_stop(rig, 0);
}

/* After an upgrade a crash starts what the upgrade brought, not what has been put there since. */
static void test_a_crash_is_no_upgrade(void **state)
{
    struct keeper_rig *rig = *state;
    start_agent(rig);
    put_text(rig, "#!/bin/sh\nexit 1\n", 0700);
    crash(rig);
    keeper_rig_await(rig, 2);
    assert_false(rig->board->executed);
    put_program(rig);
    upgrade(rig);
    keeper_rig_await(rig, 3);
    assert_true(rig->board->executed);
    put_text(rig, "#!/bin/sh\nexit 1\n", 0700);
    crash(rig);
    keeper_rig_await(rig, 4);
    assert_true(rig->board->executed);
    upgrade(rig); /* back to what the upgrade brought */
    keeper_rig_await(rig, 6);
    assert_true(rig->board->executed);
    keeper_rig_stop(rig, 0);
}

static void test_bad_programs(void **state)
{
    struct keeper_rig *rig = *state;
    struct board *b = rig->board;
    start_agent(rig);
    put_text(rig, "#!/bin/sh\nexit 3\n", 0700);
    upgrade(rig);
    keeper_rig_await(rig, 3);
    assert_true(keeper_rig_has_said(rig, "ended with exit code 3 before it was ready; going back"));
    put_text(rig, "\177no program", 0700);
    upgrade(rig);
    keeper_rig_await(rig, 5);
    assert_true(keeper_rig_has_said(rig, "cannot execute"));
    put_program(rig);
    b->value = FAILS_WHEN_EXECUTED;
    upgrade(rig);
    keeper_rig_await(rig, 7);
    assert_true(keeper_rig_has_said(rig, "exit code 4"));
    assert_false(b->executed);
    b->value = GOOD;
    upgrade(rig);
    keeper_rig_await(rig, 8);
    assert_true(b->executed);
    keeper_rig_stop(rig, 0);
}

/* What cannot be started at all does not end the server that runs. */
static void test_nothing_to_upgrade_to(void **state)
{
    struct keeper_rig *rig = *state;
    char path[100];
    start_agent(rig);
    put_text(rig, "#!/bin/sh\nexit 3\n", 0600);
    upgrade(rig);
    BOARD_UNTIL(rig, keeper_rig_has_said(rig, "Permission denied"));
    (void)snprintf(path, sizeof path, "%s/agent", rig->dir);
    assert_int_equal(unlink(path), 0);
    upgrade(rig);
    BOARD_UNTIL(rig, keeper_rig_has_said(rig, "No such file"));
    assert_false(keeper_rig_has_said(rig, "replacing the server"));
    assert_int_equal(rig->board->generation, 1);
    keeper_rig_stop(rig, 0);
}

/* A server that does not go is killed after five seconds; upgrades asked for meanwhile are not
 * remembered. */
static void test_a_deaf_server(void **state)
{
    struct keeper_rig *rig = *state;
    uint64_t start = sbx_clock_mono_us();
    rig->board->value = DEAF;
    start_agent(rig);
    upgrade(rig);
    BOARD_UNTIL(rig, keeper_rig_has_said(rig, "replacing the server"));
    upgrade(rig);
    BOARD_UNTIL(rig, keeper_rig_has_said(rig, "under way already"));
    rig->board->value = GOOD;
    keeper_rig_await(rig, 2);
    assert_true(rig->board->executed);
    assert_true(sbx_clock_mono_us() - start >= 5000000);
    keeper_rig_stop(rig, 0);
}

static void test_stop_while_upgrading(void **state)
{
    struct keeper_rig *rig = *state;
    rig->board->value = DEAF;
    start_agent(rig);
    upgrade(rig);
    BOARD_UNTIL(rig, keeper_rig_has_said(rig, "replacing the server"));
    assert_int_equal(kill(rig->keeper, SIGTERM), 0);
    assert_int_equal(keeper_rig_wait(rig), 0);
    assert_int_equal(rig->board->generation, 1);
}

/* It was started with all signals blocked, and leaves them so: a server of the old program ends the
 * processes. */
static void test_stop_while_trying(void **state)
{
    struct keeper_rig *rig = *state;
    start_agent(rig);
    put_text(rig, "#!/bin/sh\necho it tries >&2\nexec sleep 1000\n", 0700);
    upgrade(rig);
    BOARD_UNTIL(rig, keeper_rig_has_said(rig, "it tries"));
    assert_int_equal(kill(rig->keeper, SIGTERM), 0);
    assert_int_equal(keeper_rig_wait(rig), 0);
    assert_true(keeper_rig_has_said(rig, "going back"));
    assert_int_equal(rig->board->generation, 3);
    assert_int_equal(rig->board->terms, 1);
}

/* --- the environment of somebody else --- */

static void expect_no_estate(const char *text)
{
    struct sbx_estate e;
    assert_int_equal(setenv(SBX_KEEPER_VARIABLE, text, 1), 0);
    assert_false(sbx_estate_from_environ(&e));
    assert_null(getenv(SBX_KEEPER_VARIABLE));
    assert_int_equal(e.link, -1);
    assert_int_equal(e.nitems, 0);
    assert_int_equal(e.keeper, 0);
    sbx_estate_deinit(&e);
}

static void write_item(int fd, int item_fd)
{
    struct sbx_keep_item item = {.kind = SBX_KEEP_MEMORY, .number = 1, .fds = {item_fd, -1, -1}};
    uint8_t record[SBX_KEEPER_ITEM_BYTES];
    sbx_keeper_item_encode(&item, record);
    assert_int_equal(write(fd, record, sizeof record), sizeof record);
}

static void test_wrong_variables(void **state)
{
    struct sbx_keeper_handover h = {.keeper = getppid(), .generation = 2, .nofile = 100};
    struct sbx_estate e;
    char text[SBX_KEEPER_HANDOVER_MAX];
    int other = -1, item = sbx_fd_open_unnamed();
    (void)state;
    assert_int_equal(sbx_fd_packet_pair(&h.link, &other), 0);
    h.table = sbx_fd_open_unnamed();
    write_item(h.table, item);
    (void)unsetenv(SBX_KEEPER_VARIABLE);
    assert_false(sbx_estate_from_environ(&e));
    expect_no_estate("");
    expect_no_estate("1:2:3");
    h.keeper = getpid();
    sbx_keeper_handover_format(&h, text);
    expect_no_estate(text); /* not our parent */
    h.keeper = getppid();
    sbx_fd_close(&h.link);
    h.link = sbx_fd_open_unnamed();
    sbx_keeper_handover_format(&h, text);
    expect_no_estate(text); /* no socket */
    sbx_fd_close(&h.link);
    h.link = other;
    assert_int_equal(write(h.table, "x", 1), 1);
    sbx_keeper_handover_format(&h, text);
    expect_no_estate(text); /* half an item */
    assert_int_equal(ftruncate(h.table, SBX_KEEPER_ITEM_BYTES), 0);
    assert_int_equal(lseek(h.table, 0, SEEK_END), SBX_KEEPER_ITEM_BYTES);
    write_item(h.table, 999);
    expect_no_estate(text); /* not open */
    assert_int_equal(ftruncate(h.table, SBX_KEEPER_ITEM_BYTES), 0);
    assert_int_equal(setenv(SBX_KEEPER_VARIABLE, text, 1), 0);
    assert_true(sbx_estate_from_environ(&e));
    assert_int_equal(e.nitems, 1);
    assert_int_equal(e.items[0].fds[0], item);
    assert_int_equal(e.nofile, 100);
    assert_int_equal(fcntl(h.table, F_GETFD), -1); /* done with */
    sbx_estate_deinit(&e);
    assert_int_equal(fcntl(item, F_GETFD), -1);
}

#define keeper_test(f) cmocka_unit_test_setup_teardown(f, keeper_rig_open, keeper_rig_close)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        keeper_test(test_upgrade),
        keeper_test(test_an_upgraded_server_stays),
        keeper_test(test_a_crash_is_no_upgrade),
        keeper_test(test_bad_programs),
        keeper_test(test_nothing_to_upgrade_to),
        keeper_test(test_a_deaf_server),
        keeper_test(test_stop_while_upgrading),
        keeper_test(test_stop_while_trying),
        keeper_test(test_wrong_variables),
    };
    own_argv = argv;
    if (argc == 3 && strcmp(argv[1], "keeper") == 0)
        return be_keeper(board_map(argv[2]));
    if (argc == 3 && strcmp(argv[1], "server") == 0)
        return be_server(board_map(argv[2]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
