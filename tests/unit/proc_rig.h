/* proc_rig.h - managed processes of /bin/sh, a follower of their output, somebody who waits. */
#ifndef SBX_TESTS_PROC_RIG_H
#define SBX_TESTS_PROC_RIG_H

#include "proc/proc.h"

#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct rig rig;

/* A follower that keeps what it reads. */
struct reader {
    struct sbx_cursor cursor;
    bool slow; /* takes something now and then, but does not read: holds the process up */
    bool ended, ended_before_exit;
    const struct sbx_proc *proc;
    struct sbx_buf bytes;
    uint64_t next;
};

struct waiter {
    struct sbx_waiter w;
    const struct sbx_proc *proc;
    struct reader *reader;
    unsigned told;
    bool log_ended;
    size_t bytes_before;
};

static inline int setup(void **state)
{
    (void)state;
    rig_open(&rig);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static inline struct sbx_proc *start(const struct sbx_spec *spec)
{
    struct sbx_err err;
    struct sbx_proc *p =
        sbx_proc_start(&rig.host, sbx_store_next_number(rig.host.store), spec, &err);
    if (p == NULL)
        fail_msg("%s", err.text);
    return p;
}

static inline struct sbx_proc *start_sh(const char *script)
{
    struct rig_shell keep;
    struct sbx_spec spec = rig_sh(&keep, script);
    return start(&spec);
}

static inline struct sbx_proc *start_tty(const char *script)
{
    struct rig_shell keep;
    struct sbx_spec spec = rig_sh(&keep, script);
    spec.tty = true;
    return start(&spec);
}

static inline void end(struct sbx_proc *p)
{
    sbx_proc_kill(p);
    RIG_UNTIL(&rig, sbx_proc_exited(p));
    sbx_proc_unref(p);
    sbx_loop_finish(&rig.host.loop);
}

static inline void reader_read(struct sbx_cursor *c)
{
    struct reader *r = SBX_LIST_OF(c, struct reader, cursor);
    struct sbx_entry e;
    struct sbx_gap gap;
    while (!r->slow && !r->ended) {
        switch (sbx_cursor_next(c, &e, &gap)) {
        case SBX_STEP_ENTRY:
            assert_int_equal(e.sequence, r->next);
            r->next++;
            sbx_buf_add(&r->bytes, e.data, e.len);
            break;
        case SBX_STEP_GAP:
            fail_msg("gap of %llu bytes", (unsigned long long)gap.bytes);
            break;
        case SBX_STEP_DRY:
            return;
        case SBX_STEP_END:
            r->ended = true;
            r->ended_before_exit = !sbx_proc_exited(r->proc);
            return;
        }
    }
}

static inline bool reader_took_some(struct sbx_cursor *c)
{
    return SBX_LIST_OF(c, struct reader, cursor)->slow;
}

static inline void open_reader(struct reader *r, struct sbx_proc *p)
{
    memset(r, 0, sizeof *r);
    r->proc = p;
    r->next = 1;
    sbx_cursor_open(&r->cursor, &p->log, 1, SBX_STREAMS_COMBINED | SBX_STREAMS_PTY, reader_read,
                    reader_took_some);
}

static inline void close_reader(struct reader *r)
{
    sbx_cursor_close(&r->cursor);
    sbx_buf_deinit(&r->bytes);
}

static inline bool shows(const struct reader *r, const char *text)
{
    struct sbx_str got = sbx_buf_view(&r->bytes);
    return got.p != NULL && memmem(got.p, got.n, text, strlen(text)) != NULL;
}

static inline void waiter_told(struct sbx_waiter *w)
{
    struct waiter *me = SBX_LIST_OF(w, struct waiter, w);
    me->told++;
    assert_true(sbx_proc_exited(me->proc));
    me->log_ended = me->proc->log.ended;
    if (me->reader != NULL)
        me->bytes_before = sbx_buf_len(&me->reader->bytes);
}

static inline void wait_for(struct waiter *w, struct sbx_proc *p, struct reader *r)
{
    *w = (struct waiter){.w = {.on_exit = waiter_told}, .proc = p, .reader = r};
    sbx_proc_wait(p, &w->w);
}

#endif
