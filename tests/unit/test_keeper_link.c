/* The line between keeper and server: what each of them makes of one that is deaf, dead or mad. */
#include "keeper_rig.h"

#include "base/mem.h"
#include "proc/keeper_msg.h"

#include <sys/socket.h>

static const int no_fds[SBX_KEEP_FDS] = {-1, -1, -1};

/* --- a server whose keeper is the test --- */

struct end {
    struct sbx_keep keep;
    struct sbx_loop loop;
    struct sbx_diag diag;
    int other;
    unsigned exits, lost;
    uint64_t number;
    struct sbx_exit exit;
    bool deinit_on_exit;
};

static void end_on_exit(void *ctx, uint64_t number, const struct sbx_exit *exit)
{
    struct end *e = ctx;
    e->exits++;
    e->number = number;
    e->exit = *exit;
    if (e->deinit_on_exit)
        sbx_keep_deinit(&e->keep);
}

static void end_on_lost(void *ctx)
{
    struct end *e = ctx;
    assert_false(sbx_keep_is_there(&e->keep));
    e->lost++;
}

static void end_open(struct end *e)
{
    struct sbx_estate estate = {.keeper = 77, .generation = 1};
    memset(e, 0, sizeof *e);
    assert_int_equal(sbx_loop_init(&e->loop), 0);
    assert_int_equal(sbx_fd_packet_pair(&estate.link, &e->other), 0);
    e->keep.on_exit = end_on_exit;
    e->keep.on_lost = end_on_lost;
    e->keep.ctx = e;
    e->diag.level = SBX_DIAG_ERROR;
    assert_int_equal(sbx_keep_init(&e->keep, &e->loop, &e->diag, &estate), 0);
    assert_int_equal(estate.link, -1);
    assert_true(sbx_keep_is_there(&e->keep));
}

static void end_close(struct end *e)
{
    sbx_keep_deinit(&e->keep);
    sbx_keep_deinit(&e->keep);
    assert_int_equal(e->keep.io.fd, -1);
    sbx_fd_close(&e->other);
    sbx_loop_deinit(&e->loop);
}

static struct sbx_keeper_msg end_receive(struct end *e)
{
    uint8_t bytes[100];
    struct sbx_keeper_msg m;
    ssize_t n = recv(e->other, bytes, sizeof bytes, MSG_DONTWAIT);
    assert_true(n > 0);
    assert_int_equal(sbx_keeper_msg_decode(bytes, (size_t)n, &m), 0);
    return m;
}

static void end_send(struct end *e, const struct sbx_keeper_msg *m)
{
    uint8_t bytes[SBX_KEEPER_MSG_BYTES];
    sbx_keeper_msg_encode(m, bytes);
    assert_int_equal(send(e->other, bytes, sizeof bytes, 0), sizeof bytes);
}

static void test_what_is_said(void **state)
{
    static const int fds[SBX_KEEP_FDS] = {0, -1, 2};
    struct end e;
    struct sbx_keeper_msg m;
    (void)state;
    end_open(&e);
    assert_int_equal(sbx_keep_put(&e.keep, SBX_KEEP_PROCESS, 1234567890123u, 55, fds), 0);
    m = end_receive(&e);
    assert_int_equal(m.type, SBX_KEEPER_MSG_PUT);
    assert_int_equal(m.kind, SBX_KEEP_PROCESS);
    assert_int_equal(m.number, 1234567890123u);
    assert_int_equal(m.pid, 55);
    assert_int_equal(m.fds, 5);
    assert_int_equal(sbx_keep_close_fd(&e.keep, 7, 2), 0);
    m = end_receive(&e);
    assert_int_equal(m.type, SBX_KEEPER_MSG_CLOSE_FD);
    assert_int_equal(m.number, 7);
    assert_int_equal(m.fds, 4);
    assert_int_equal(sbx_keep_drop(&e.keep, SBX_KEEP_MEMORY, 8), 0);
    m = end_receive(&e);
    assert_int_equal(m.type, SBX_KEEPER_MSG_DROP);
    assert_int_equal(m.kind, SBX_KEEP_MEMORY);
    assert_int_equal(m.number, 8);
    assert_int_equal(sbx_keep_ready(&e.keep), 0);
    assert_int_equal(end_receive(&e).type, SBX_KEEPER_MSG_READY);
    end_close(&e);
}

static void test_exits_are_told(void **state)
{
    struct sbx_keeper_msg m = {.type = SBX_KEEPER_MSG_EXIT, .number = 9,
                               .exit = {SBX_EXIT_SIGNAL, 6, true}};
    struct sbx_keeper_msg foreign = {.type = SBX_KEEPER_MSG_READY};
    struct end e;
    unsigned i;
    (void)state;
    end_open(&e);
    /* Nonsense in between is passed over. */
    assert_int_equal(send(e.other, "nonsense", 8, 0), 8);
    end_send(&e, &foreign);
    end_send(&e, &m);
    sbx_loop_turn(&e.loop);
    assert_int_equal(e.exits, 1);
    assert_int_equal(e.number, 9);
    assert_int_equal(e.exit.kind, SBX_EXIT_SIGNAL);
    assert_int_equal(e.exit.value, 6);
    assert_true(e.exit.core);
    for (i = 0; i < 200; i++)
        end_send(&e, &m);
    for (i = 0; i < 10; i++)
        if (e.exits < 201)
            sbx_loop_turn(&e.loop);
    assert_int_equal(e.exits, 201);
    /* A callback may close the line in the middle. */
    e.deinit_on_exit = true;
    end_send(&e, &m);
    end_send(&e, &m);
    sbx_loop_turn(&e.loop);
    assert_int_equal(e.exits, 202);
    end_close(&e);
    assert_int_equal(e.lost, 0);
}

static void expect_nothing_happens(struct end *e)
{
    assert_false(sbx_keep_is_there(&e->keep));
    assert_int_equal(sbx_keep_put(&e->keep, SBX_KEEP_PROCESS, 1, 2, no_fds), 0);
    assert_int_equal(sbx_keep_close_fd(&e->keep, 1, 0), 0);
    assert_int_equal(sbx_keep_drop(&e->keep, SBX_KEEP_PROCESS, 1), 0);
    assert_int_equal(sbx_keep_ready(&e->keep), 0);
}

static void test_the_keeper_is_gone(void **state)
{
    struct sbx_keeper_msg m = {.type = SBX_KEEPER_MSG_EXIT, .number = 9,
                               .exit = {SBX_EXIT_CODE, 6, false}};
    struct end e;
    unsigned i;
    (void)state;
    for (i = 0; i < 2; i++) {
        end_open(&e);
        if (i == 1) /* unread: the end is a reset then */
            assert_int_equal(sbx_keep_ready(&e.keep), 0);
        else
            end_send(&e, &m); /* its last words */
        sbx_fd_close(&e.other);
        assert_true(sbx_keep_ready(&e.keep) < 0); /* no signal, and not told from here */
        assert_int_equal(e.lost, 0);
        sbx_loop_turn(&e.loop);
        assert_int_equal(e.lost, 1);
        assert_int_equal(e.exits, i == 0);
        expect_nothing_happens(&e);
        end_close(&e);
        assert_int_equal(e.lost, 1);
    }
}

static void test_no_keeper(void **state)
{
    struct sbx_estate estate = {.link = -1};
    struct end e;
    (void)state;
    memset(&e, 0, sizeof e);
    assert_int_equal(sbx_loop_init(&e.loop), 0);
    assert_int_equal(sbx_keep_init(&e.keep, &e.loop, &e.diag, &estate), 0);
    expect_nothing_happens(&e);
    sbx_keep_deinit(&e.keep);
    sbx_loop_deinit(&e.loop);
}

/* All that the server says, with turns of its loop in between. */
static void end_hear_drops(struct end *e, unsigned n)
{
    uint64_t end = sbx_clock_mono_us() + BOARD_PATIENCE_US;
    struct pollfd p = {.fd = e->other, .events = POLLIN};
    unsigned i;
    for (i = 0; i < n; i++) {
        while (poll(&p, 1, 0) == 0) {
            assert_true(sbx_clock_mono_us() < end);
            sbx_loop_turn(&e->loop);
        }
        assert_int_equal(end_receive(e).number, i);
    }
    assert_int_equal(poll(&p, 1, 0), 0);
}

/* One that does not read is waited for once, and not for long; it is not for ever given up, and
 * hears of all that has no descriptors. */
static void test_a_deaf_keeper(void **state)
{
    struct end e;
    uint64_t start;
    unsigned i, n;
    (void)state;
    end_open(&e);
    for (n = 0; n < 2000; n++)
        assert_int_equal(sbx_keep_drop(&e.keep, SBX_KEEP_PROCESS, n), 0);
    assert_true(sbx_buf_len(&e.keep.unsent) > 0);
    assert_false(e.keep.stuck);
    start = sbx_clock_mono_us();
    assert_int_equal(sbx_keep_put(&e.keep, SBX_KEEP_PROCESS, 1, 2, no_fds), -EAGAIN);
    assert_true(sbx_clock_mono_us() - start >= 100000);
    assert_true(e.keep.stuck);
    start = sbx_clock_mono_us();
    for (i = 0; i < 1000; i++)
        assert_int_equal(sbx_keep_put(&e.keep, SBX_KEEP_PROCESS, i, 2, no_fds), -EAGAIN);
    assert_true(sbx_clock_mono_us() - start < 1000 * 100000u / 2);
    end_hear_drops(&e, n);
    while (e.keep.io.events != POLLIN) /* and room is waited for no more */
        sbx_loop_turn(&e.loop);
    assert_null(e.keep.unsent.mem);
    assert_int_equal(sbx_keep_put(&e.keep, SBX_KEEP_PROCESS, 5, 2, no_fds), 0);
    assert_int_equal(end_receive(&e).number, 5);
    assert_false(e.keep.stuck);
    end_close(&e);
}

/* What was said before comes before, also when it had to wait. */
static void test_a_deposit_comes_after_what_was_put_aside(void **state)
{
    struct end e;
    unsigned i, n = 0;
    (void)state;
    end_open(&e);
    while (sbx_buf_len(&e.keep.unsent) == 0)
        assert_int_equal(sbx_keep_drop(&e.keep, SBX_KEEP_LISTENER, n++), 0);
    for (i = 0; i < n - 1; i++)
        assert_int_equal(end_receive(&e).number, i);
    assert_int_equal(sbx_keep_put(&e.keep, SBX_KEEP_LISTENER, n - 1, 0, no_fds), 0);
    assert_int_equal(end_receive(&e).type, SBX_KEEPER_MSG_DROP);
    assert_int_equal(end_receive(&e).type, SBX_KEEPER_MSG_PUT);
    end_close(&e);
}

static int refuse_memory(void *ctx)
{
    (void)ctx;
    return 0;
}

/* There is an end to what is put aside; and to memory. */
static void test_a_keeper_that_stays_deaf(void **state)
{
    struct end e;
    unsigned aside, n = 0;
    (void)state;
    end_open(&e);
    while (sbx_buf_len(&e.keep.unsent) == 0)
        assert_int_equal(sbx_keep_drop(&e.keep, SBX_KEEP_PROCESS, n++), 0);
    sbx_mem_set_gate(refuse_memory, NULL);
    while (sbx_buf_len(&e.keep.unsent) < e.keep.unsent.cap)
        assert_int_equal(sbx_keep_drop(&e.keep, SBX_KEEP_PROCESS, n++), 0);
    assert_int_equal(sbx_keep_drop(&e.keep, SBX_KEEP_PROCESS, n), -ENOMEM);
    sbx_mem_set_gate(NULL, NULL);
    while (sbx_keep_drop(&e.keep, SBX_KEEP_PROCESS, n) == 0)
        n++;
    assert_int_equal(sbx_keep_drop(&e.keep, SBX_KEEP_PROCESS, n), -EAGAIN);
    aside = (unsigned)(sbx_buf_len(&e.keep.unsent) / SBX_KEEPER_MSG_BYTES);
    assert_int_equal(aside, 32768);
    end_hear_drops(&e, n);
    end_close(&e);
    end_open(&e);
    while (sbx_buf_len(&e.keep.unsent) == 0)
        assert_int_equal(sbx_keep_drop(&e.keep, SBX_KEEP_PROCESS, 1), 0);
    sbx_fd_close(&e.other); /* it dies, with what was put aside for it */
    sbx_loop_turn(&e.loop);
    assert_int_equal(e.lost, 1);
    end_close(&e);
}

struct refusing {
    const char *call;
    unsigned asked;
};

static int refuse(void *ctx, const char *call)
{
    struct refusing *r = ctx;
    r->asked++;
    return strcmp(call, r->call) != 0;
}

static void test_each_message_can_fail(void **state)
{
    static const char *const calls[] = {"put", "close", "drop", "ready"};
    struct refusing r = {NULL, 0};
    struct end e;
    unsigned i, sent;
    (void)state;
    end_open(&e);
    sbx_keep_set_gate(refuse, &r);
    for (i = 0; i < 4; i++) {
        r.call = calls[i];
        assert_int_equal(sbx_keep_put(&e.keep, SBX_KEEP_PROCESS, 1, 2, no_fds), i == 0 ? -EIO : 0);
        assert_int_equal(sbx_keep_close_fd(&e.keep, 1, 0), i == 1 ? -EIO : 0);
        assert_int_equal(sbx_keep_drop(&e.keep, SBX_KEEP_PROCESS, 1), i == 2 ? -EIO : 0);
        assert_int_equal(sbx_keep_ready(&e.keep), i == 3 ? -EIO : 0);
        for (sent = 0; sent < 3; sent++)
            (void)end_receive(&e);
    }
    assert_int_equal(r.asked, 16);
    sbx_keep_set_gate(NULL, NULL);
    assert_int_equal(sbx_keep_ready(&e.keep), 0);
    end_close(&e);
}

/* --- a keeper whose server is mad --- */

static void send_raw(struct board *b, int link, const void *p, size_t n, const int *fds,
                     size_t nfds)
{
    char control[CMSG_SPACE(8 * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds > 0) {
        struct cmsghdr *c;
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    CHECK(b, sendmsg(link, &msg, 0) == (ssize_t)n);
}

static void send_msg(struct board *b, int link, const struct sbx_keeper_msg *m, const int *fds,
                     size_t nfds)
{
    uint8_t bytes[SBX_KEEPER_MSG_BYTES];
    sbx_keeper_msg_encode(m, bytes);
    send_raw(b, link, bytes, sizeof bytes, fds, nfds);
}

/* Returns when the keeper has read everything. */
static void send_nonsense(struct serving *s)
{
    const int fds[8] = {0, 1, 2, 0, 1, 2, 0, 1};
    struct board *b = s->board;
    int link = s->keep.io.fd;
    struct sbx_keeper_msg put = {.type = SBX_KEEPER_MSG_PUT, .kind = SBX_KEEP_MEMORY,
                                 .number = 70, .fds = 1};
    struct sbx_keeper_msg own = {.type = SBX_KEEPER_MSG_PUT, .number = 71, .pid = getpid()};
    struct sbx_keeper_msg keeper = {.type = SBX_KEEPER_MSG_PUT, .number = 72, .pid = getppid()};
    struct sbx_keeper_msg ready = {.type = SBX_KEEPER_MSG_READY};
    struct sbx_keeper_msg gone = {.type = SBX_KEEPER_MSG_EXIT, .number = 1};
    struct sbx_keeper_msg close1 = {.type = SBX_KEEPER_MSG_CLOSE_FD, .number = 999, .fds = 2};
    struct sbx_keeper_msg drop = {.type = SBX_KEEPER_MSG_DROP, .number = 998};
    uint8_t bytes[100];
    size_t i;
    send_raw(b, link, "", 0, NULL, 0);
    for (i = 0; i < 8; i++) {
        memset(bytes, (int)i, sizeof bytes);
        send_raw(b, link, bytes, 1 + i * 12, fds, i);
    }
    send_msg(b, link, &put, NULL, 0); /* none of the one */
    send_msg(b, link, &put, fds, 2);  /* one too many */
    send_msg(b, link, &put, fds, 8);
    send_msg(b, link, &ready, fds, 1);
    send_msg(b, link, &drop, fds, 3);
    send_msg(b, link, &own, NULL, 0);
    send_msg(b, link, &keeper, NULL, 0);
    send_msg(b, link, &gone, NULL, 0);
    send_msg(b, link, &close1, NULL, 0);
    send_msg(b, link, &drop, NULL, 0);
    put.number = 73;
    send_msg(b, link, &put, fds, 1); /* this one is fine */
    put.number = 74;
    send_msg(b, link, &put, fds, 1);
    send_msg(b, link, &(struct sbx_keeper_msg){.type = SBX_KEEPER_MSG_DROP,
                                               .kind = SBX_KEEP_MEMORY, .number = 74}, NULL, 0);
}

static int serve_nonsense(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    serving_open(&s, b, e);
    if (e->generation > 1)
        CHECK(b, e->nitems == 1 && sbx_estate_find(e, SBX_KEEP_MEMORY, 73) != NULL);
    serving_ready(&s);
    if (e->generation == 1) {
        SERVE_UNTIL(&s, b->step == 1);
        send_nonsense(&s);
        b->step = 2;
    }
    serving_forever(&s);
}

static void test_a_mad_server(void **state)
{
    struct keeper_rig *rig = *state;
    size_t before;
    keeper_rig_start(rig, serve_nonsense);
    keeper_rig_await(rig, 1);
    BOARD_UNTIL(rig, state_of(rig->keeper) == 'S');
    before = count_fds_of(rig->keeper);
    rig->board->step = 1;
    BOARD_UNTIL(rig, rig->board->step == 2);
    BOARD_UNTIL(rig, keeper_rig_has_said(rig, "makes no sense"));
    assert_int_equal(rig->board->lost, 0);
    assert_int_equal(kill(rig->board->server, SIGKILL), 0);
    BOARD_UNTIL(rig, rig->board->generation == 2 && rig->board->ready);
    BOARD_UNTIL(rig, count_fds_of(rig->keeper) == before + 1); /* the line's other end is closed */
    keeper_rig_stop(rig, 0);
}

/* --- a server whose keeper is killed --- */

static int serve_alone(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    serving_open(&s, b, e);
    serving_ready(&s);
    SERVE_UNTIL(&s, b->lost == 1);
    CHECK(b, !sbx_keep_is_there(&s.keep));
    CHECK(b, sbx_keep_put(&s.keep, SBX_KEEP_PROCESS, 1, getpid(), no_fds) == 0);
    b->step = 1;
    serving_forever(&s);
}

static void test_the_keeper_is_killed(void **state)
{
    struct keeper_rig *rig = *state;
    keeper_rig_start(rig, serve_alone);
    keeper_rig_await(rig, 1);
    assert_int_equal(kill(rig->keeper, SIGKILL), 0);
    assert_int_equal(keeper_rig_wait(rig), 1000 + SIGKILL);
    BOARD_UNTIL(rig, rig->board->step == 1);
    assert_true(state_of(rig->board->server) != 0); /* goes on */
    assert_int_equal(kill(rig->board->server, SIGTERM), 0);
}

/* A server that hangs up and lives on is waited for all the same. */
static int serve_hung_up(struct board *b, struct sbx_estate *e)
{
    struct serving s;
    serving_open(&s, b, e);
    s.term_code = 6;
    serving_ready(&s);
    SERVE_UNTIL(&s, b->value == 1);
    sbx_keep_deinit(&s.keep);
    b->step++;
    serving_forever(&s);
}

static void test_a_server_that_hangs_up(void **state)
{
    struct keeper_rig *rig = *state;
    size_t before;
    keeper_rig_start(rig, serve_hung_up);
    keeper_rig_await(rig, 1);
    BOARD_UNTIL(rig, state_of(rig->keeper) == 'S');
    before = count_fds_of(rig->keeper);
    rig->board->value = 1;
    BOARD_UNTIL(rig, rig->board->step == 1);
    BOARD_UNTIL(rig, count_fds_of(rig->keeper) == before - 1);
    assert_int_equal(kill(rig->board->server, SIGKILL), 0);
    BOARD_UNTIL(rig, rig->board->step == 2);
    assert_int_equal(rig->board->generation, 2);
    keeper_rig_stop(rig, 6);
}

#define keeper_test(f) cmocka_unit_test_setup_teardown(f, keeper_rig_open, keeper_rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_said),
        cmocka_unit_test(test_exits_are_told),
        cmocka_unit_test(test_the_keeper_is_gone),
        cmocka_unit_test(test_no_keeper),
        cmocka_unit_test(test_a_deaf_keeper),
        cmocka_unit_test(test_a_deposit_comes_after_what_was_put_aside),
        cmocka_unit_test(test_a_keeper_that_stays_deaf),
        cmocka_unit_test(test_each_message_can_fail),
        keeper_test(test_a_mad_server),
        keeper_test(test_the_keeper_is_killed),
        keeper_test(test_a_server_that_hangs_up),
    };
    /* What the loop would be told of a closed line, not what a signal does. */
    (void)signal(SIGPIPE, SIG_DFL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
