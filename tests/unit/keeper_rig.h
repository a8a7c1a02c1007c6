/* keeper_rig.h - real keepers with real servers, and a blackboard for all of them and the test.
 *
 * The keeper is a forked child of the test, or, for upgrades, a copy of the test program. Its
 * servers run `serve` of the test. What they find out they write on the board, which is a mapped
 * file, so that an executed program has it too; a failed CHECK in them fails the test. */
#ifndef SBX_TESTS_KEEPER_RIG_H
#define SBX_TESTS_KEEPER_RIG_H

#include "os/clock.h"
#include "os/fd.h"
#include "os/ptree.h"
#include "os/sig.h"
#include "proc/keep.h"
#include "proc/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BOARD_PATIENCE_US 20000000u
#define BOARD_TOLD 16

struct board {
    volatile int step;          /* the test and its servers take turns with it */
    volatile pid_t server;      /* the present one */
    volatile unsigned generation;
    volatile bool ready;        /* the server of `generation` is */
    volatile bool executed;     /* it was executed, not forked */
    volatile size_t nitems;     /* of its estate */
    volatile pid_t pids[8];
    volatile int port;
    volatile unsigned ntold;
    uint64_t told_number[BOARD_TOLD]; /* the last ones */
    struct sbx_exit told[BOARD_TOLD];
    volatile unsigned hups, terms, lost;
    volatile int value;
    char failure[300];
    char log[80];               /* path: what keepers say */
};

struct serving {
    struct board *board;
    struct sbx_loop loop;
    struct sbx_diag diag;
    struct sbx_keep keep;
    struct sbx_estate *estate;
    struct sbx_io signals;
    struct sbx_timer tick;
    int term_code;      /* exit code after TERM */
    bool ignore_usr2;
};

struct keeper_rig {
    char dir[64];
    struct board *board;
    pid_t keeper;
};

/* --- in servers --- */

#define CHECK(b, condition)                                                                        \
    do {                                                                                           \
        if (!(condition))                                                                          \
            check_failed(b, __FILE__, __LINE__, #condition);                                       \
    } while (0)

static _Noreturn inline void check_failed(struct board *b, const char *file, int line,
                                          const char *what)
{
    (void)snprintf(b->failure, sizeof b->failure, "%s:%d: %s (generation %u, errno %d)", file, line,
                   what, b->generation, errno);
    _exit(99);
}

static inline void nap(void)
{
    (void)poll(NULL, 0, 1);
}

#define CHECK_UNTIL(b, condition)                                                                  \
    do {                                                                                           \
        uint64_t check_end = sbx_clock_mono_us() + BOARD_PATIENCE_US;                              \
        while (!(condition)) {                                                                     \
            CHECK(b, sbx_clock_mono_us() < check_end && #condition);                               \
            nap();                                                                                 \
        }                                                                                          \
    } while (0)

static inline void serving_on_tick(struct sbx_timer *t)
{
    (void)t;
}

static inline void serving_on_signal(struct sbx_io *io, short revents)
{
    struct serving *s = SBX_LIST_OF(io, struct serving, signals);
    int sig;
    (void)revents;
    while ((sig = sbx_sig_next()) != 0) {
        if (sig == SIGHUP)
            s->board->hups++;
        if (sig == SIGTERM) {
            s->board->terms++;
            _exit(s->term_code);
        }
        if (sig == SIGUSR2 && !s->ignore_usr2)
            _exit(0);
    }
}

static inline void serving_on_exit(void *ctx, uint64_t number, const struct sbx_exit *exit)
{
    struct serving *s = ctx;
    struct board *b = s->board;
    b->told_number[b->ntold % BOARD_TOLD] = number;
    b->told[b->ntold % BOARD_TOLD] = *exit;
    b->ntold++;
}

static inline void serving_on_lost(void *ctx)
{
    struct serving *s = ctx;
    s->board->lost++;
}

static inline void serving_open(struct serving *s, struct board *b, struct sbx_estate *e)
{
    sigset_t reset;
    int fd;
    memset(s, 0, sizeof *s);
    s->board = b;
    s->estate = e;
    s->diag.level = SBX_DIAG_ERROR;
    CHECK(b, sbx_loop_init(&s->loop) == 0);
    sbx_timer_init(&s->tick, serving_on_tick);
    fd = sbx_sig_open(&reset);
    CHECK(b, fd >= 0);
    sbx_io_init(&s->signals, &s->loop, fd, serving_on_signal);
    CHECK(b, sbx_io_watch(&s->signals, POLLIN) == 0);
    s->keep.on_exit = serving_on_exit;
    s->keep.on_lost = serving_on_lost;
    s->keep.ctx = s;
    CHECK(b, sbx_keep_init(&s->keep, &s->loop, &s->diag, e) == 0);
    CHECK(b, e->link == -1 && sbx_keep_is_there(&s->keep));
}

static inline void serving_turn(struct serving *s)
{
    sbx_loop_set_timer(&s->loop, &s->tick, sbx_clock_mono_us() + 1000);
    sbx_loop_turn(&s->loop);
}

#define SERVE_UNTIL(s, condition)                                                                  \
    do {                                                                                           \
        uint64_t serve_end = sbx_clock_mono_us() + BOARD_PATIENCE_US;                              \
        while (!(condition)) {                                                                     \
            CHECK((s)->board, sbx_clock_mono_us() < serve_end && #condition);                      \
            serving_turn(s);                                                                       \
        }                                                                                          \
    } while (0)

static inline void serving_ready(struct serving *s)
{
    CHECK(s->board, sbx_keep_ready(&s->keep) == 0);
    s->board->ready = true;
}

/* Until a signal ends it. */
static _Noreturn inline void serving_forever(struct serving *s)
{
    for (;;)
        serving_turn(s);
}

/* A keeper that is slow to read refuses after a moment, and takes it another time. */
static inline void serving_put(struct serving *s, enum sbx_keep_kind kind, uint64_t number,
                               pid_t pid, int fd0, int fd1)
{
    const int fds[SBX_KEEP_FDS] = {fd0, fd1, -1};
    int rc;
    CHECK_UNTIL(s->board, (rc = sbx_keep_put(&s->keep, kind, number, pid, fds)) != -EAGAIN);
    CHECK(s->board, rc == 0);
}

/* --- in the test --- */

#define BOARD_UNTIL(rig, condition)                                                                \
    do {                                                                                           \
        uint64_t board_end = sbx_clock_mono_us() + BOARD_PATIENCE_US;                              \
        while (!(condition)) {                                                                     \
            if ((rig)->board->failure[0] != '\0')                                                  \
                fail_msg("%s", (rig)->board->failure);                                             \
            if (sbx_clock_mono_us() > board_end)                                                   \
                fail_msg("waited in vain for: %s", #condition);                                    \
            nap();                                                                                 \
        }                                                                                          \
    } while (0)

static inline struct board *board_map(const char *dir)
{
    char path[100];
    struct board *b;
    int fd;
    (void)snprintf(path, sizeof path, "%s/board", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *b) < 0)
        abort();
    b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (b == MAP_FAILED)
        abort();
    (void)close(fd);
    return b;
}

static inline int keeper_rig_open(void **state)
{
    struct keeper_rig *rig = calloc(1, sizeof *rig);
    if (rig == NULL)
        return -1;
    (void)sbx_ptree_become_subreaper();
    strcpy(rig->dir, "/tmp/keeper.XXXXXX");
    if (mkdtemp(rig->dir) == NULL)
        return -1;
    rig->board = board_map(rig->dir);
    (void)snprintf(rig->board->log, sizeof rig->board->log, "%s/log", rig->dir);
    *state = rig;
    return 0;
}

static inline int keeper_rig_close(void **state)
{
    struct keeper_rig *rig = *state;
    char path[128];
    struct dirent *e;
    DIR *d = opendir(rig->dir);
    do
        sbx_ptree_kill_descendants();
    while (waitpid(-1, NULL, 0) > 0);
    while (d != NULL && (e = readdir(d)) != NULL) {
        (void)snprintf(path, sizeof path, "%s/%.40s", rig->dir, e->d_name);
        (void)unlink(path);
    }
    if (d != NULL)
        closedir(d);
    (void)rmdir(rig->dir);
    (void)munmap(rig->board, sizeof *rig->board);
    free(rig);
    return 0;
}

typedef int (*keeper_rig_serve)(struct board *b, struct sbx_estate *e);

/* The messages of keepers go to a file, for tests that want to see them. */
static inline int keeper_rig_talk_to(struct board *b)
{
    return open(b->log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static inline bool keeper_rig_has_said(const struct keeper_rig *rig, const char *what)
{
    char text[8192];
    int fd = keeper_rig_talk_to(rig->board);
    ssize_t n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    return strstr(text, what) != NULL;
}

/* What a keeper does that was forked or executed for it; never returns to the test. */
static _Noreturn inline void keeper_rig_run(struct board *b, const struct sbx_keeper_options *o,
                                            keeper_rig_serve serve)
{
    struct sbx_estate estate = {.link = -1};
    struct sbx_err err;
    int rc, log = keeper_rig_talk_to(b);
    (void)dup2(log, 2);
    (void)close(log);
    rc = sbx_keeper_run(o, &estate, &err);
    if (rc == SBX_KEEPER_SERVER) {
        b->ready = false;
        b->executed = false;
        b->nitems = estate.nitems;
        b->server = getpid();
        b->generation = estate.generation;
        _exit(serve(b, &estate));
    }
    if (rc < 0)
        fprintf(stderr, "%s\n", err.text);
    exit(rc < 0 ? 98 : rc);
}

static inline void keeper_rig_start(struct keeper_rig *rig, keeper_rig_serve serve)
{
    static const struct sbx_diag diag = {.level = SBX_DIAG_INFO};
    struct sbx_keeper_options o = {.diag = &diag, .lock = -1};
    rig->keeper = fork();
    assert_true(rig->keeper >= 0);
    if (rig->keeper == 0)
        keeper_rig_run(rig->board, &o, serve);
}

/* Exit code, or 1000 + signal. */
static inline int keeper_rig_wait(struct keeper_rig *rig)
{
    int status = 0;
    BOARD_UNTIL(rig, waitpid(rig->keeper, &status, WNOHANG) != 0);
    if (rig->board->failure[0] != '\0')
        fail_msg("%s", rig->board->failure);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static inline void keeper_rig_await(struct keeper_rig *rig, unsigned generation)
{
    BOARD_UNTIL(rig, rig->board->generation >= generation && rig->board->ready);
    assert_int_equal(rig->board->generation, generation);
}

/* TERM, and the status is what the server made of it. */
static inline void keeper_rig_stop(struct keeper_rig *rig, int status)
{
    assert_int_equal(kill(rig->keeper, SIGTERM), 0);
    assert_int_equal(keeper_rig_wait(rig), status);
}

static inline bool is_gone(pid_t pid)
{
    return kill(pid, 0) < 0 && errno == ESRCH;
}

/* State letter of a process in /proc, 0 when there is none. */
static inline char state_of(pid_t pid)
{
    char path[64], text[256];
    const char *p;
    ssize_t n;
    int fd;
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    p = strrchr(text, ')');
    return p != NULL ? p[2] : '\0';
}

static inline size_t count_fds_of(pid_t pid)
{
    char path[64];
    size_t n = 0;
    DIR *d;
    (void)snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
    d = opendir(path);
    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

#endif
