/* Real keepers: what outlives a server, whose exits are whose, when it is over. */
#include "keeper_rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static bool no_subreaper; /* what is forked from here on cannot become one */

int prctl(int option, ...)
{
    unsigned long a[4];
    va_list ap;
    int i;
    va_start(ap, option);
    for (i = 0; i < 4; i++)
        a[i] = va_arg(ap, unsigned long);
    va_end(ap);
    if (option == PR_SET_CHILD_SUBREAPER && no_subreaper) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_prctl, option, a[0], a[1], a[2], a[3]);
}

/* With a board, the signals to its server that stop it or continue it are noted there, in pids[7]
 * as digits, the last one last. */
static struct board *noted;

int kill(pid_t pid, int sig)
{
    if (noted != NULL && pid == noted->server && (sig == SIGTERM || sig == SIGCONT))
        noted->pids[7] = noted->pids[7] * 100 + sig;
    return (int)syscall(SYS_kill, pid, sig);
}

/* A process of a server: runs until it is told how to end by *how, which is 0 before. */
static pid_t start_child(struct board *b, const volatile int *how)
{
    pid_t pid = fork();
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    CHECK(b, pid >= 0);
    if (pid > 0)
        return pid;
    (void)setsid();
    (void)sigaction(SIGTERM, &dfl, NULL);
    (void)sigaction(SIGUSR2, &dfl, NULL);
    while (*how == 0)
        nap();
    if (*how > 0)
        _exit(*how);
    (void)kill(getpid(), -*how);
    _exit(98);
}

/* What was killed dies when it is scheduled; a keeper that is over then leaves it to the test. */
static bool has_ended(pid_t pid)
{
    char state = state_of(pid);
    return state == 0 || state == 'Z';
}

/* --- where nobody can become a subreaper --- */

static int serve_no_children(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    size_t i;
    serving_open(&s, b, e);
    for (i = 0; i < 2 && e->generation == 1; i++) {
        b->pids[i] = start_child(b, i == 0 ? &b->step : &b->value);
        serving_put(&s, SBX_KEEP_PROCESS, i, b->pids[i], -1, -1);
    }
    for (i = 0; i < 2 && e->generation > 1; i++) {
        const struct sbx_keep_item *item = sbx_estate_find(e, SBX_KEEP_PROCESS, i);
        CHECK(b, item != NULL && item->pid == b->pids[i]);
        CHECK(b, item->exited == (i == 0 && e->generation == 3));
        CHECK(b, item->exit.kind == SBX_EXIT_UNKNOWN);
    }
    serving_ready(&s);
    serving_forever(&s);
}

static int await_child(struct keeper_rig *rig, pid_t pid)
{
    int status = 0;
    BOARD_UNTIL(rig, waitpid(pid, &status, WNOHANG) == pid);
    return status;
}

/* Processes of a dead server are not the keeper's children (here they are the test's): they are
 * adopted all the same, one that is gone has ended nobody knows how, and none outlives it. */
static void test_adopted_ones_that_are_no_children(void **state)
{
    struct keeper_rig *rig = *state;
    int status;
    no_subreaper = true;
    keeper_rig_start(rig, serve_no_children);
    no_subreaper = false;
    keeper_rig_await(rig, 1);
    rig->board->ready = false;
    assert_int_equal(kill(rig->board->server, SIGKILL), 0);
    keeper_rig_await(rig, 2);
    rig->board->step = 5;
    status = await_child(rig, rig->board->pids[0]);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
    rig->board->ready = false;
    assert_int_equal(kill(rig->board->server, SIGKILL), 0);
    keeper_rig_await(rig, 3);
    keeper_rig_stop(rig, 0);
    status = await_child(rig, rig->board->pids[1]);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* --- everything of a process, at once --- */

static pid_t start_writer(struct board *b, int fd)
{
    pid_t pid = fork();
    char line[32];
    int i;
    CHECK(b, pid >= 0);
    if (pid > 0)
        return pid;
    (void)setsid();
    for (i = 0; b->step < 3; i++) {
        int n = snprintf(line, sizeof line, "line %d\n", i);
        if (write(fd, line, (size_t)n) != n)
            _exit(97);
        b->value = i + 1;
        nap();
    }
    _exit(7);
}

static int listen_somewhere(struct board *b)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(b, fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 10) == 0);
    CHECK(b, getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    b->port = ntohs(a.sin_port);
    return fd;
}

static void read_lines(struct board *b, FILE *f, int from, int to)
{
    int i, got;
    for (i = from; i < to; i++)
        CHECK(b, fscanf(f, "line %d\n", &got) == 1 && got == i);
}

static void first_of_all(struct serving *s)
{
    struct board *b = s->board;
    int r = -1, w = -1, memory = sbx_fd_open_unnamed(), i;
    char line[8];
    CHECK(b, sbx_fd_pipe(&r, &w) == 0 && memory >= 0);
    CHECK(b, write(memory, "hot tail", 8) == 8);
    b->pids[0] = start_writer(b, w);
    (void)close(w);
    serving_put(s, SBX_KEEP_LISTENER, 1, 0, listen_somewhere(b), -1);
    serving_put(s, SBX_KEEP_MEMORY, 9, 0, memory, -1);
    serving_put(s, SBX_KEEP_PROCESS, 9, b->pids[0], -1, r);
    for (i = 0; i < 10; i++)
        CHECK(b, read(r, line, 7) == 7);
    serving_ready(s);
    serving_forever(s);
}

static void second_of_all(struct serving *s)
{
    struct board *b = s->board;
    struct sbx_keep_item *p = sbx_estate_find(s->estate, SBX_KEEP_PROCESS, 9);
    struct sbx_keep_item *l = sbx_estate_find(s->estate, SBX_KEEP_LISTENER, 1);
    struct sbx_keep_item *m = sbx_estate_find(s->estate, SBX_KEEP_MEMORY, 9);
    char text[9] = "";
    FILE *f;
    int fd;
    CHECK(b, s->estate->nitems == 3 && p != NULL && l != NULL && m != NULL);
    CHECK(b, sbx_estate_find(s->estate, SBX_KEEP_LOCK, 9) == NULL);
    CHECK(b, p->pid == b->pids[0] && !p->exited && p->fds[0] == -1 && p->fds[2] == -1);
    CHECK(b, l->pid == 0 && l->fds[1] == -1);
    CHECK(b, pread(m->fds[0], text, 8, 0) == 8 && strcmp(text, "hot tail") == 0);
    CHECK(b, (fcntl(p->fds[1], F_GETFD) & FD_CLOEXEC) != 0);
    serving_ready(s);
    fd = accept(l->fds[0], NULL, NULL); /* whoever called while nobody was there */
    CHECK(b, fd >= 0);
    b->step = 2;
    f = fdopen(p->fds[1], "r");
    read_lines(b, f, 10, 60);
    SERVE_UNTIL(s, b->step == 3);
    SERVE_UNTIL(s, b->ntold == 1);
    read_lines(b, f, 60, b->value);
    CHECK(b, fgetc(f) == EOF);
    b->step = 4;
    SERVE_UNTIL(s, b->step == 5);
    CHECK(b, sbx_keep_drop(&s->keep, SBX_KEEP_PROCESS, 9) == 0);
    serving_forever(s);
}

static int serve_all(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    serving_open(&s, b, e);
    if (e->generation == 1) {
        CHECK(b, e->nitems == 0 && e->keeper == getppid() && getpgid(0) == getpid());
        first_of_all(&s);
    }
    second_of_all(&s);
    return 0;
}

static void call_port(const struct board *b)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons((uint16_t)b->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    (void)close(fd);
}

static void test_the_next_one_has_it_all(void **state)
{
    struct keeper_rig *rig = *state;
    struct board *b = rig->board;
    pid_t first;
    keeper_rig_start(rig, serve_all);
    keeper_rig_await(rig, 1);
    first = b->server;
    assert_int_equal(kill(rig->keeper, SIGSTOP), 0);
    assert_int_equal(kill(first, SIGKILL), 0);
    BOARD_UNTIL(rig, state_of(first) == 'Z');
    call_port(b);
    BOARD_UNTIL(rig, b->value >= 40);
    assert_int_equal(kill(rig->keeper, SIGCONT), 0);
    BOARD_UNTIL(rig, b->step == 2 && b->value >= 60);
    b->step = 3;
    BOARD_UNTIL(rig, b->step == 4);
    assert_int_equal(b->told_number[0], 9);
    assert_int_equal(b->told[0].kind, SBX_EXIT_CODE);
    assert_int_equal(b->told[0].value, 7);
    assert_int_equal(state_of(b->pids[0]), 'Z'); /* its pid is taken until it is dropped */
    b->step = 5;
    BOARD_UNTIL(rig, is_gone(b->pids[0]));
    assert_int_equal(b->ntold, 1);
    keeper_rig_stop(rig, 0);
}

/* --- exits --- */

/* Children 0 to 3 end as `value` and by signal, some while there is no server. */
static int serve_exits(struct board *b, struct sbx_estate *e)
{
    static const int none[SBX_KEEP_FDS] = {-1, -1, -1};
    struct serving s;
    unsigned i;
    serving_open(&s, b, e);
    if (e->generation == 1) {
        for (i = 0; i < 4; i++) {
            b->pids[i] = start_child(b, (volatile int *)&b->pids[4 + i]);
            CHECK(b, sbx_keep_put(&s.keep, SBX_KEEP_PROCESS, 100 + i, b->pids[i], none) == 0);
        }
        b->pids[6] = 3; /* ends, is waited for, and nobody says so any more */
        CHECK(b, waitpid(b->pids[2], NULL, 0) == b->pids[2]);
    }
    for (i = 0; e->generation == 2 && i < e->nitems; i++) {
        b->told_number[i] = e->items[i].number;
        b->told[i] = e->items[i].exit;
        if (!e->items[i].exited)
            b->told[i].value = -1;
    }
    serving_ready(&s);
    SERVE_UNTIL(&s, b->step == 3);
    for (i = 0; i < 4; i++)
        CHECK(b, sbx_keep_drop(&s.keep, SBX_KEEP_PROCESS, 100 + i) == 0);
    serving_forever(&s);
}

static void expect_exit(const struct board *b, unsigned i, enum sbx_exit_kind kind, int value)
{
    assert_int_equal(b->told_number[i], 100 + i);
    assert_int_equal(b->told[i].kind, kind);
    assert_int_equal(b->told[i].value, value);
}

static void test_exits_while_nobody_is_there(void **state)
{
    struct keeper_rig *rig = *state;
    struct board *b = rig->board;
    unsigned i;
    keeper_rig_start(rig, serve_exits);
    keeper_rig_await(rig, 1);
    b->ready = false;
    assert_int_equal(kill(rig->keeper, SIGSTOP), 0);
    assert_int_equal(kill(b->server, SIGKILL), 0);
    BOARD_UNTIL(rig, state_of(b->server) == 'Z');
    b->pids[4] = 42;
    b->pids[5] = -SIGUSR1;
    BOARD_UNTIL(rig, state_of(b->pids[0]) == 'Z' && state_of(b->pids[1]) == 'Z');
    assert_int_equal(kill(rig->keeper, SIGCONT), 0);
    keeper_rig_await(rig, 2);
    assert_int_equal(b->nitems, 4);
    expect_exit(b, 0, SBX_EXIT_CODE, 42);
    expect_exit(b, 1, SBX_EXIT_SIGNAL, SIGUSR1);
    expect_exit(b, 2, SBX_EXIT_UNKNOWN, 0);
    expect_exit(b, 3, SBX_EXIT_UNKNOWN, -1); /* runs */
    assert_int_equal(b->ntold, 0);
    b->pids[7] = -SIGKILL;
    BOARD_UNTIL(rig, b->ntold == 1);
    assert_int_equal(b->told_number[0], 103);
    assert_int_equal(b->told[0].kind, SBX_EXIT_SIGNAL);
    assert_int_equal(b->told[0].value, SIGKILL);
    /* Once more: what was told and not dropped is in the next estate. */
    assert_int_equal(kill(b->server, SIGKILL), 0);
    BOARD_UNTIL(rig, b->generation == 3 && b->ready);
    assert_int_equal(b->nitems, 4);
    assert_int_equal(state_of(b->pids[0]), 'Z');
    b->step = 3;
    for (i = 0; i < 4; i++)
        BOARD_UNTIL(rig, is_gone(b->pids[i]));
    keeper_rig_stop(rig, 0);
}

/* Orphans are collected, also behind an exit that nobody has dropped yet. */
static pid_t make_orphan(struct board *b, volatile pid_t *where, int how)
{
    pid_t pid = fork();
    CHECK(b, pid >= 0);
    if (pid == 0) {
        *where = start_child(b, &b->value);
        _exit(how);
    }
    CHECK(b, waitpid(pid, NULL, 0) == pid);
    return pid;
}

static int serve_orphans(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    serving_open(&s, b, e);
    if (e->generation == 1) {
        b->pids[0] = start_child(b, (volatile int *)&b->pids[4]);
        serving_put(&s, SBX_KEEP_PROCESS, 1, b->pids[0], -1, -1);
        serving_ready(&s);
        serving_forever(&s);
    }
    serving_ready(&s);
    make_orphan(b, &b->pids[1], 0);
    b->step = 1;
    SERVE_UNTIL(&s, b->step == 2);
    b->value = 0;
    make_orphan(b, &b->pids[2], 0);
    b->step = 3;
    serving_forever(&s);
}

static void test_orphans_are_collected(void **state)
{
    struct keeper_rig *rig = *state;
    struct board *b = rig->board;
    keeper_rig_start(rig, serve_orphans);
    keeper_rig_await(rig, 1);
    assert_int_equal(kill(b->server, SIGKILL), 0);
    BOARD_UNTIL(rig, b->step == 1);
    b->value = 5;
    BOARD_UNTIL(rig, is_gone(b->pids[1]));
    b->pids[4] = 6;
    BOARD_UNTIL(rig, b->ntold == 1 && state_of(b->pids[0]) == 'Z');
    b->step = 2;
    BOARD_UNTIL(rig, b->step == 3);
    b->value = 5;
    BOARD_UNTIL(rig, is_gone(b->pids[2]));
    assert_int_equal(state_of(b->pids[0]), 'Z');
    keeper_rig_stop(rig, 0);
    assert_true(is_gone(b->pids[0]));
}

/* Put again without its pid, a process that has ended is reaped, and what it wrote stays. */
static int serve_ended(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    int r = -1, w = -1;
    char text[5] = "";
    serving_open(&s, b, e);
    if (e->generation == 1) {
        CHECK(b, sbx_fd_pipe(&r, &w) == 0 && write(w, "last", 4) == 4);
        b->pids[0] = start_child(b, &b->value);
        serving_put(&s, SBX_KEEP_PROCESS, 1, b->pids[0], -1, r);
    }
    if (e->generation == 2) {
        SERVE_UNTIL(&s, b->ntold == 1);
        CHECK(b, state_of(b->pids[0]) == 'Z');
        serving_put(&s, SBX_KEEP_PROCESS, 1, 0, -1, e->items[0].fds[1]);
    }
    if (e->generation == 3) {
        CHECK(b, e->nitems == 1 && e->items[0].pid == 0 && !e->items[0].exited);
        CHECK(b, read(e->items[0].fds[1], text, 4) == 4 && strcmp(text, "last") == 0);
    }
    serving_ready(&s);
    serving_forever(&s);
}

static void test_an_ended_process_without_its_pid(void **state)
{
    struct keeper_rig *rig = *state;
    struct board *b = rig->board;
    keeper_rig_start(rig, serve_ended);
    keeper_rig_await(rig, 1);
    assert_int_equal(kill(b->server, SIGKILL), 0);
    BOARD_UNTIL(rig, b->generation == 2);
    b->value = 5;
    BOARD_UNTIL(rig, b->ready && is_gone(b->pids[0]));
    assert_int_equal(kill(b->server, SIGKILL), 0);
    BOARD_UNTIL(rig, b->generation == 3 && b->ready);
    assert_int_equal(b->ntold, 1);
    keeper_rig_stop(rig, 0);
}

/* More exits at once than the socket holds, while the server does not look. */
#define CROWD 400

static int crowd_waits[2]; /* its members wait for a byte each */

static pid_t start_member(struct board *b)
{
    pid_t pid = fork();
    char c;
    CHECK(b, pid >= 0);
    if (pid == 0)
        _exit(read(crowd_waits[0], &c, 1) == 1 ? 3 : 97);
    return pid;
}

static int serve_crowd(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    unsigned i;
    serving_open(&s, b, e);
    for (i = 0; e->generation == 1 && i < CROWD; i++)
        serving_put(&s, SBX_KEEP_PROCESS, i, start_member(b), -1, -1);
    serving_ready(&s);
    if (e->generation == 1)
        serving_forever(&s);
    CHECK_UNTIL(b, b->step == 1);
    SERVE_UNTIL(&s, b->ntold == CROWD);
    b->step = 2;
    SERVE_UNTIL(&s, b->step == 3);
    for (i = 0; i < CROWD; i++)
        CHECK(b, sbx_keep_drop(&s.keep, SBX_KEEP_PROCESS, i) == 0);
    serving_forever(&s);
}

static unsigned count_zombies(pid_t parent)
{
    char path[80];
    unsigned n = 0;
    long pid;
    FILE *f;
    (void)snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)parent, (long)parent);
    f = fopen(path, "r");
    while (f != NULL && fscanf(f, "%ld", &pid) == 1)
        n += state_of((pid_t)pid) == 'Z';
    if (f != NULL)
        (void)fclose(f);
    return n;
}

static void test_a_crowd_ends_at_once(void **state)
{
    struct keeper_rig *rig = *state;
    struct board *b = rig->board;
    char bytes[CROWD] = {0};
    assert_int_equal(sbx_fd_pipe(&crowd_waits[0], &crowd_waits[1]), 0);
    keeper_rig_start(rig, serve_crowd);
    keeper_rig_await(rig, 1);
    b->ready = false;
    assert_int_equal(kill(b->server, SIGKILL), 0);
    keeper_rig_await(rig, 2);
    assert_int_equal(b->nitems, CROWD);
    assert_int_equal(write(crowd_waits[1], bytes, sizeof bytes), sizeof bytes);
    BOARD_UNTIL(rig, count_zombies(rig->keeper) == CROWD && state_of(rig->keeper) == 'S');
    b->step = 1;
    BOARD_UNTIL(rig, b->step == 2);
    assert_int_equal(count_zombies(rig->keeper), CROWD);
    b->step = 3;
    BOARD_UNTIL(rig, count_zombies(rig->keeper) == 0);
    assert_int_equal(b->ntold, CROWD);
    keeper_rig_stop(rig, 0);
    sbx_fd_close(&crowd_waits[0]);
    sbx_fd_close(&crowd_waits[1]);
}

/* --- descriptors --- */

static int serve_close(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    int r = -1, w = -1;
    pid_t pid;
    char c;
    serving_open(&s, b, e);
    CHECK(b, sbx_fd_pipe(&r, &w) == 0);
    pid = fork();
    if (pid == 0) {
        (void)close(w);
        _exit(read(r, &c, 1) == 0 ? 5 : 6);
    }
    b->pids[0] = pid;
    serving_put(&s, SBX_KEEP_PROCESS, 1, b->pids[0], w, r);
    (void)close(w);
    serving_ready(&s);
    SERVE_UNTIL(&s, b->step == 1);
    CHECK(b, state_of(b->pids[0]) == 'S'); /* the duplicate holds it open */
    CHECK(b, sbx_keep_close_fd(&s.keep, 1, 0) == 0);
    b->step = 2;
    serving_forever(&s);
}

static void test_closing_one(void **state)
{
    struct keeper_rig *rig = *state;
    size_t before;
    keeper_rig_start(rig, serve_close);
    keeper_rig_await(rig, 1);
    BOARD_UNTIL(rig, state_of(rig->board->pids[0]) == 'S');
    BOARD_UNTIL(rig, state_of(rig->keeper) == 'S');
    before = count_fds_of(rig->keeper);
    rig->board->step = 1;
    BOARD_UNTIL(rig, state_of(rig->board->pids[0]) == 'Z'); /* end of file has come */
    assert_int_equal(count_fds_of(rig->keeper), before - 1);
    keeper_rig_stop(rig, 0);
}

static size_t how_many_items(void)
{
    struct rlimit rl;
    return getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_max < 2100 ? (size_t)rl.rlim_max - 100
                                                                   : 2000;
}

static int serve_many(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    struct rlimit now;
    size_t i, n = how_many_items();
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(b, getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur > n); /* raised, but not for all */
    CHECK(b, e->nofile == 1000);
    serving_open(&s, b, e);
    for (i = 0; e->generation == 1 && i < n; i++)
        serving_put(&s, SBX_KEEP_MEMORY, i, 0, null, -1);
    for (i = 0; e->generation == 2 && i < n; i++) {
        struct sbx_keep_item *item = sbx_estate_find(e, SBX_KEEP_MEMORY, i);
        CHECK(b, item != NULL && fcntl(item->fds[0], F_GETFD) == FD_CLOEXEC);
    }
    serving_ready(&s);
    SERVE_UNTIL(&s, b->step == 1);
    for (i = 0; i < n; i++)
        CHECK(b, sbx_keep_drop(&s.keep, SBX_KEEP_MEMORY, i * 7 % n) == 0);
    serving_forever(&s);
}

static void test_many_items(void **state)
{
    struct keeper_rig *rig = *state;
    struct rlimit before, low;
    size_t fds;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = 1000;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    keeper_rig_start(rig, serve_many);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    keeper_rig_await(rig, 1);
    BOARD_UNTIL(rig, count_fds_of(rig->keeper) > how_many_items());
    assert_int_equal(kill(rig->board->server, SIGKILL), 0);
    BOARD_UNTIL(rig, rig->board->generation == 2 && rig->board->ready);
    assert_int_equal(rig->board->nitems, how_many_items());
    BOARD_UNTIL(rig, state_of(rig->keeper) == 'S');
    fds = count_fds_of(rig->keeper); /* all have arrived: they were in the estate */
    rig->board->step = 1;
    BOARD_UNTIL(rig, count_fds_of(rig->keeper) == fds - how_many_items());
    keeper_rig_stop(rig, 0);
}

/* A put in the last moment is as good as any, and one under the same number replaces. More than
 * the keeper reads at once otherwise. */
#define LAST_WORDS 150

static int serve_last_words(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    int i, fd;
    serving_open(&s, b, e);
    if (e->generation > 1) {
        char text[16] = "";
        CHECK(b, e->nitems == LAST_WORDS);
        for (i = 0; i < LAST_WORDS; i++) {
            CHECK(b, e->items[i].kind == SBX_KEEP_LISTENER);
            CHECK(b, pread(e->items[i].fds[0], text, sizeof text, 0) > 0);
            CHECK(b, strcmp(text, e->items[i].number == 3 ? "new" : "old") == 0);
        }
        serving_ready(&s);
        serving_forever(&s);
    }
    serving_ready(&s);
    SERVE_UNTIL(&s, b->step == 1); /* the keeper is stopped: it reads nothing before our death */
    for (i = 0; i <= LAST_WORDS; i++) {
        fd = sbx_fd_open_unnamed();
        CHECK(b, write(fd, i == LAST_WORDS ? "new" : "old", 4) == 4);
        serving_put(&s, SBX_KEEP_LISTENER, i == LAST_WORDS ? 3 : (unsigned)i, 0, fd, -1);
        (void)close(fd);
    }
    (void)kill(getpid(), SIGKILL);
    return 0;
}

static void test_last_words_are_heard(void **state)
{
    struct keeper_rig *rig = *state;
    pid_t first;
    keeper_rig_start(rig, serve_last_words);
    keeper_rig_await(rig, 1);
    first = rig->board->server;
    assert_int_equal(kill(rig->keeper, SIGSTOP), 0);
    BOARD_UNTIL(rig, state_of(rig->keeper) == 'T');
    rig->board->step = 1;
    BOARD_UNTIL(rig, state_of(first) == 'Z');
    assert_int_equal(kill(rig->keeper, SIGCONT), 0);
    BOARD_UNTIL(rig, rig->board->generation == 2 && rig->board->ready);
    keeper_rig_stop(rig, 0);
}

/* --- the end, and the beginning --- */

static int serve_stop(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    struct sigaction now;
    sigset_t blocked;
    pid_t pid;
    CHECK(b, sigprocmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, SIGTERM));
    CHECK(b, sigaction(SIGTERM, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
    if (b->step == 1) { /* a signal that comes before it is opened for is not lost */
        b->ready = true;
        CHECK_UNTIL(b, sigpending(&blocked) == 0 && sigismember(&blocked, SIGTERM));
    }
    serving_open(&s, b, e);
    s.term_code = 7;
    pid = fork();
    if (pid == 0) { /* left behind, and deaf */
        (void)setsid();
        (void)signal(SIGTERM, SIG_IGN);
        for (;;)
            nap();
    }
    b->pids[0] = pid;
    serving_ready(&s);
    serving_forever(&s);
}

static void test_stop(void **state)
{
    struct keeper_rig *rig = *state;
    static const int sigs[] = {SIGTERM, SIGINT};
    size_t i;
    for (i = 0; i < 2; i++) {
        rig->board->ready = false;
        keeper_rig_start(rig, serve_stop);
        keeper_rig_await(rig, 1);
        assert_int_equal(kill(rig->keeper, SIGHUP), 0);
        BOARD_UNTIL(rig, rig->board->hups == i + 1);
        assert_int_equal(kill(rig->keeper, sigs[i]), 0);
        assert_int_equal(keeper_rig_wait(rig), 7);
        assert_int_equal(rig->board->terms, i + 1);
        BOARD_UNTIL(rig, has_ended(rig->board->pids[0]));
    }
    assert_int_equal(rig->board->generation, 1);
}

static void test_stop_during_the_start(void **state)
{
    struct keeper_rig *rig = *state;
    rig->board->step = 1;
    keeper_rig_start(rig, serve_stop);
    keeper_rig_await(rig, 1);
    assert_int_equal(kill(rig->keeper, SIGTERM), 0);
    assert_int_equal(keeper_rig_wait(rig), 7);
}

/* It is continued first: after SIGTERM it may be at its end, which is to be left in peace. */
static void test_stop_of_a_suspended_server(void **state)
{
    struct keeper_rig *rig = *state;
    noted = rig->board;
    keeper_rig_start(rig, serve_stop);
    noted = NULL;
    keeper_rig_await(rig, 1);
    assert_int_equal(kill(rig->board->server, SIGSTOP), 0);
    BOARD_UNTIL(rig, state_of(rig->board->server) == 'T');
    assert_int_equal(kill(rig->keeper, SIGTERM), 0);
    assert_int_equal(keeper_rig_wait(rig), 7);
    assert_int_equal(rig->board->generation, 1);
    assert_int_equal(rig->board->pids[7], SIGCONT * 100 + SIGTERM);
}

static int serve_fail(struct board *b, struct sbx_estate *e)
{
    (void)e;
    if (b->value < 0)
        (void)kill(getpid(), -b->value);
    return b->value;
}

static void test_a_failed_first_start(void **state)
{
    struct keeper_rig *rig = *state;
    static const struct {
        int how, status;
    } ends[] = {{3, 3}, {0, 0}, {-SIGKILL, 128 + SIGKILL}};
    size_t i;
    for (i = 0; i < 3; i++) {
        rig->board->value = ends[i].how;
        keeper_rig_start(rig, serve_fail);
        assert_int_equal(keeper_rig_wait(rig), ends[i].status);
        assert_int_equal(rig->board->generation, 1);
    }
}

static int serve_and_leave(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    serving_open(&s, b, e);
    b->pids[0] = start_child(b, &b->step);
    serving_ready(&s);
    return 0;
}

static void test_a_server_that_leaves(void **state)
{
    struct keeper_rig *rig = *state;
    keeper_rig_start(rig, serve_and_leave);
    assert_int_equal(keeper_rig_wait(rig), 0);
    assert_int_equal(rig->board->generation, 1);
    BOARD_UNTIL(rig, has_ended(rig->board->pids[0]));
}

/* Ready and killed, then never ready again: ten tries with growing pauses. */
static int serve_once(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    if (e->generation > 1)
        return 9;
    serving_open(&s, b, e);
    b->pids[0] = start_child(b, &b->step);
    serving_put(&s, SBX_KEEP_PROCESS, 1, b->pids[0], -1, -1);
    serving_ready(&s);
    SERVE_UNTIL(&s, b->value == 1);
    _exit(8);
}

static void test_giving_up(void **state)
{
    struct keeper_rig *rig = *state;
    uint64_t start;
    keeper_rig_start(rig, serve_once);
    keeper_rig_await(rig, 1);
    start = sbx_clock_mono_us();
    while (sbx_clock_mono_us() - start < 110000) /* long enough to be a good life */
        nap();
    start = sbx_clock_mono_us();
    rig->board->value = 1;
    assert_int_equal(keeper_rig_wait(rig), 1);
    assert_true(keeper_rig_has_said(rig, "ended with exit code 8; starting another one\n"));
    assert_true(keeper_rig_has_said(rig, "; starting another one in 2560 ms\n"));
    assert_true(keeper_rig_has_said(rig, "giving up"));
    assert_int_equal(rig->board->generation, 11);
    assert_true(sbx_clock_mono_us() - start >= 5110000); /* 10 + 20 + ... + 2560 ms */
    BOARD_UNTIL(rig, has_ended(rig->board->pids[0]));
}

/* Asked to stop in one of the pauses. */
static void test_stop_in_a_pause(void **state)
{
    struct keeper_rig *rig = *state;
    rig->board->value = 1;
    keeper_rig_start(rig, serve_once);
    BOARD_UNTIL(rig, rig->board->generation >= 6 && is_gone(rig->board->server));
    keeper_rig_stop(rig, 9); /* one more is started to end the processes; it has no time to */
    assert_in_range(rig->board->generation, 6, 10); /* and has not given up */
}

/* A server that had barely been ready is not started again at once, and starts are not counted. */
static int serve_shortly(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    serving_open(&s, b, e);
    serving_ready(&s);
    if (e->generation == 5)
        serving_forever(&s);
    return 4;
}

static void test_short_lives_pause(void **state)
{
    struct keeper_rig *rig = *state;
    uint64_t start = sbx_clock_mono_us();
    keeper_rig_start(rig, serve_shortly);
    BOARD_UNTIL(rig, rig->board->generation == 5 && rig->board->ready);
    assert_true(sbx_clock_mono_us() - start >= 150000); /* 10 + 20 + 40 + 80 ms */
    keeper_rig_stop(rig, 0);
}

/* Under nohup neither keeper nor server notices a hang-up. */
static void test_ignored_hangup(void **state)
{
    struct keeper_rig *rig = *state;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    (void)sigaction(SIGHUP, &ignore, &before);
    keeper_rig_start(rig, serve_stop);
    (void)sigaction(SIGHUP, &before, NULL);
    keeper_rig_await(rig, 1);
    assert_int_equal(kill(rig->keeper, SIGHUP), 0);
    assert_int_equal(kill(rig->board->server, SIGHUP), 0);
    keeper_rig_stop(rig, 7);
    assert_int_equal(rig->board->hups, 0);
}

/* --- the lock --- */

static int serve_lock(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    struct sbx_keep_item *lock = sbx_estate_find(e, SBX_KEEP_LOCK, 0);
    char text[5] = "";
    serving_open(&s, b, e);
    CHECK(b, lock != NULL && pread(lock->fds[0], text, 4, 0) == 4 && strcmp(text, "lock") == 0);
    serving_ready(&s);
    serving_forever(&s);
}

static void test_the_lock_is_in_every_estate(void **state)
{
    static const struct sbx_diag diag = {.level = SBX_DIAG_ERROR};
    struct keeper_rig *rig = *state;
    rig->keeper = fork();
    if (rig->keeper == 0) {
        struct sbx_keeper_options o = {.diag = &diag, .lock = sbx_fd_open_unnamed()};
        CHECK(rig->board, write(o.lock, "lock", 4) == 4);
        keeper_rig_run(rig->board, &o, serve_lock);
    }
    keeper_rig_await(rig, 1);
    assert_int_equal(kill(rig->board->server, SIGKILL), 0);
    BOARD_UNTIL(rig, rig->board->generation == 2 && rig->board->ready);
    keeper_rig_stop(rig, 0);
}

#define keeper_test(f) cmocka_unit_test_setup_teardown(f, keeper_rig_open, keeper_rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        keeper_test(test_adopted_ones_that_are_no_children),
        keeper_test(test_the_next_one_has_it_all),
        keeper_test(test_exits_while_nobody_is_there),
        keeper_test(test_orphans_are_collected),
        keeper_test(test_an_ended_process_without_its_pid),
        keeper_test(test_a_crowd_ends_at_once),
        keeper_test(test_closing_one),
        keeper_test(test_many_items),
        keeper_test(test_last_words_are_heard),
        keeper_test(test_stop),
        keeper_test(test_stop_during_the_start),
        keeper_test(test_stop_of_a_suspended_server),
        keeper_test(test_a_failed_first_start),
        keeper_test(test_a_server_that_leaves),
        keeper_test(test_giving_up),
        keeper_test(test_stop_in_a_pause),
        keeper_test(test_short_lives_pause),
        keeper_test(test_ignored_hangup),
        keeper_test(test_the_lock_is_in_every_estate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
