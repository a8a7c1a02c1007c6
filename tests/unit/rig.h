/* rig.h - a loop with everything that processes need around it: store, reaper, signals, limits.
 *
 * Tests wait for conditions, never for time: RIG_UNTIL runs turns of the loop until its condition
 * holds, and fails the test when that takes longer than RIG_PATIENCE_US. */
#ifndef SBX_TESTS_RIG_H
#define SBX_TESTS_RIG_H

#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/ptree.h"
#include "os/sig.h"
#include "proc/host.h"
#include "proc/launch.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define RIG_PATIENCE_US 10000000u
#define RIG_TICK_US 2000u

struct rig {
    struct sbx_host host;
    struct sbx_io signals;
    struct sbx_timer tick; /* so that a turn never sleeps for long */
};

extern char **environ;

static inline void rig_on_tick(struct sbx_timer *t)
{
    (void)t;
}

static inline void rig_on_signal(struct sbx_io *io, short revents)
{
    struct rig *rig = SBX_LIST_OF(io, struct rig, signals);
    int sig;
    (void)revents;
    while ((sig = sbx_sig_next()) != 0)
        if (sig == SIGCHLD)
            sbx_reap_collect(&rig->host.reap);
}

/* shared: output is written to memory that outlives the server, see proc/tail. */
static inline void rig_open_with(struct rig *rig, bool shared)
{
    struct sbx_host *h = &rig->host;
    struct sbx_store_options o = {.loop = &h->loop, .diag = &h->diag, .limits = &h->limits,
                                  .memory = -1, .shared = shared};
    struct sbx_err err;
    int fd;
    memset(rig, 0, sizeof *rig);
    sbx_ptree_become_subreaper();
    assert_int_equal(sbx_loop_init(&h->loop), 0);
    sbx_timer_init(&rig->tick, rig_on_tick);
    h->diag.level = SBX_DIAG_ERROR;
    sbx_reap_init(&h->reap);
    sbx_list_init(&h->runs);
    sbx_list_init(&h->sinks);
    sbx_limits_default(&h->limits);
    h->environ = environ;
    (void)sbx_fd_raise_limit(&h->spawn.nofile_soft);
    h->scratch = sbx_mem_alloc(SBX_SCRATCH_BYTES);
    sbx_ident_boot(h->boot);
    h->keep.io.fd = -1;
    h->store = sbx_store_open(&o, &err);
    assert_non_null(h->scratch);
    assert_non_null(h->store);
    fd = sbx_sig_open(&h->spawn.reset);
    assert_true(fd >= 0);
    sbx_io_init(&rig->signals, &h->loop, fd, rig_on_signal);
    assert_int_equal(sbx_io_watch(&rig->signals, POLLIN), 0);
}

static inline void rig_open(struct rig *rig)
{
    rig_open_with(rig, false);
}

static inline void rig_close(struct rig *rig)
{
    struct sbx_host *h = &rig->host;
    sbx_loop_finish(&h->loop);
    sbx_io_stop(&rig->signals);
    sbx_sig_close();
    sbx_store_close(h->store);
    sbx_loop_cancel_timer(&h->loop, &rig->tick);
    sbx_loop_deinit(&h->loop);
    sbx_mem_free(h->scratch);
}

static inline void rig_turn(struct rig *rig)
{
    sbx_loop_set_timer(&rig->host.loop, &rig->tick, sbx_clock_mono_us() + RIG_TICK_US);
    sbx_loop_turn(&rig->host.loop);
}

#define RIG_UNTIL(rig, condition)                                                                  \
    do {                                                                                           \
        uint64_t rig_end = sbx_clock_mono_us() + RIG_PATIENCE_US;                                  \
        while (!(condition)) {                                                                     \
            if (sbx_clock_mono_us() > rig_end)                                                     \
                fail_msg("waited in vain for: %s", #condition);                                    \
            rig_turn(rig);                                                                         \
        }                                                                                          \
    } while (0)

/* For at least that long; for what must not happen. */
static inline void rig_run_for(struct rig *rig, uint64_t us)
{
    uint64_t end = sbx_clock_mono_us() + us;
    while (sbx_clock_mono_us() < end)
        rig_turn(rig);
}

/* `/bin/sh -c script` with further positional arguments $0, $1, ... The spec points into *keep. */
struct rig_shell {
    struct sbx_str args[8];
};

static inline struct sbx_spec rig_sh(struct rig_shell *keep, const char *script)
{
    keep->args[0] = SBX_STR("-c");
    keep->args[1] = sbx_str_z(script);
    return (struct sbx_spec){.command = SBX_STR("/bin/sh"), .args = keep->args, .nargs = 2,
                             .cols = 80, .rows = 24};
}

/* A named pipe, for children that wait (`read go <PATH`) until the test lets them go. */
struct rig_pipe {
    char dir[100], path[120];
    int fd; /* both ends, so that neither side waits for the other to open it */
};

static inline void rig_pipe_open(struct rig_pipe *p)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(p->dir, sizeof p->dir, "%.80s/rigXXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof p->path, "%s/go", p->dir);
    assert_int_equal(mkfifo(p->path, 0600), 0);
    p->fd = open(p->path, O_RDWR | O_CLOEXEC);
    assert_true(p->fd >= 0);
}

static inline void rig_pipe_go(const struct rig_pipe *p)
{
    assert_int_equal(write(p->fd, "\n", 1), 1);
}

static inline void rig_pipe_close(struct rig_pipe *p)
{
    (void)close(p->fd);
    assert_int_equal(unlink(p->path), 0);
    assert_int_equal(rmdir(p->dir), 0);
}

/* Open descriptors of this process, to see that none is left behind. */
static inline size_t rig_count_fds(void)
{
    size_t n = 0;
    DIR *d = opendir("/dev/fd");
    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

#endif
