/* fuzz_conn.c - any bytes as what clients of the whole server do: bytes in, server, bytes out.
 *
 * The first byte of the input chooses the server: a token, which processes there are, and limits.
 * The second makes that many-th allocation fail; 0: none. The rest is what the current
 * client sends, but for two-byte orders:
 *   fe '|'  what was sent so far arrives, and everything there is to do is done
 *   fe 'n'  a new client        fe '0'..'4'  client number so
 *   fe 's'  the client shuts its sending side      fe 'c'  closes
 *   fe 'm'  stops reading, or reads again
 *   fe 't', 'T'  0.3 s, 40 s pass
 *   fe 'k'  the oldest child is killed             fe fe  the byte fe
 *
 * What must hold: each client has been sent a correct sequence of answers to what was taken as its
 * requests (wire.h); nobody is owed an answer that nothing is in the way of; memory for a client
 * that does not read is bounded; a new client is served at the end; and when all have gone, no
 * connection, descriptor, timer or memory is left. */
#include "../unit/api_rig.h"
#include "../unit/wire.h"

#define CONN_CLIENTS 5u
#define CONN_TOKEN "s3cret"

enum conn_setup {
    CONN_WITH_TOKEN = 1,
    CONN_WITH_PIPES = 2,    /* proc_1 is a cat */
    CONN_WITH_TERMINAL = 4, /* proc_2, or proc_1 */
    CONN_WITH_ENDED = 8,
    CONN_WITH_MUCH = 16,    /* an ended process with a long log */
    CONN_WITH_SMALL = 32    /* small limits */
};

struct conn_run {
    struct api_rig rig;
    struct api_rig_peer *clients[CONN_CLIENTS];
    size_t nclients, current;
    uint8_t *piece; /* what the current client has not sent yet */
    size_t npiece;
    bool starved;   /* allocations may have failed */
};

struct conn_gate {
    unsigned long asked, fail_at;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int conn_ask(void *ctx)
{
    struct conn_gate *g = ctx;
    return ++g->asked != g->fail_at;
}

static void conn_set_up(struct conn_run *run, unsigned setup)
{
    struct api_rig *rig = &run->rig;
    api_rig_open(rig, (setup & CONN_WITH_TOKEN) != 0 ? CONN_TOKEN : NULL);
    if ((setup & CONN_WITH_SMALL) != 0) {
        rig->host.limits.max_input_bytes_per_request = 64;
        rig->host.limits.max_concurrent_processes = 3;
        rig->host.limits.max_output_bytes = 16;
        rig->host.limits.max_log_bytes_per_process = 4096;
    }
    if ((setup & CONN_WITH_PIPES) != 0)
        assert(api_rig_start(rig, "cat", NULL, false) != NULL);
    if ((setup & CONN_WITH_TERMINAL) != 0)
        (void)api_rig_start(rig, "cat", NULL, true);
    if ((setup & CONN_WITH_ENDED) != 0)
        assert(api_rig_start(rig, "say", "caf\xc3\xa9\n\xff\x1b[31mred", false) != NULL);
    if ((setup & CONN_WITH_MUCH) != 0)
        (void)api_rig_start(rig, "flood", NULL, false);
    api_rig_settle(rig);
}

static void conn_flush(struct conn_run *run)
{
    struct api_rig_peer *peer = run->clients[run->current];
    if (peer != NULL && run->npiece > 0)
        api_rig_send(&run->rig, peer, run->piece, run->npiece);
    run->npiece = 0;
    api_rig_settle(&run->rig);
}

static void conn_add_client(struct conn_run *run)
{
    if (run->nclients == CONN_CLIENTS)
        return;
    run->current = run->nclients++;
    run->clients[run->current] = api_rig_connect(&run->rig);
}

static void conn_order(struct conn_run *run, uint8_t order)
{
    struct api_rig_peer *peer;
    size_t i;
    conn_flush(run);
    peer = run->clients[run->current];
    if (order == 'n') {
        conn_add_client(run);
    } else if (order >= '0' && order <= '4' && (size_t)(order - '0') < run->nclients) {
        run->current = (size_t)(order - '0');
    } else if (order == 's' && peer->fd >= 0) {
        (void)shutdown(peer->fd, SHUT_WR);
        peer->shut = true;
    } else if (order == 'c') {
        api_rig_close_peer(peer);
    } else if (order == 'm') {
        peer->mute = !peer->mute;
        peer->was_mute = true;
    } else if (order == 't' || order == 'T') {
        api_rig_pass(&run->rig, order == 't' ? 300000 : 40000000, 1);
    } else if (order == 'k') {
        for (i = 0; i < API_RIG_CHILDREN && run->rig.children[i].pid == 0; i++)
            continue;
        if (i < API_RIG_CHILDREN)
            api_rig_end_child(&run->rig.children[i], SBX_EXIT_SIGNAL, SIGKILL);
    }
    api_rig_settle(&run->rig);
}

static void conn_play(struct conn_run *run, const uint8_t *p, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        if (p[i] == 0xfe && i + 1 < n && p[i + 1] != 0xfe)
            conn_order(run, p[++i]);
        else if (p[i] != 0xfe || i + 1 < n)
            run->piece[run->npiece++] = p[p[i] == 0xfe ? ++i : i];
    }
    conn_flush(run);
}

/* Is the connection waiting for a client that could go on? */
static bool conn_is_waiting(const struct conn_run *run, const struct api_rig_peer *peer)
{
    return !api_rig_is_open(&run->rig, peer->conn) ||
           peer->conn->state == SBX_CONN_READ_HEAD || peer->conn->state == SBX_CONN_READ_BODY;
}

static void conn_check_client(const struct conn_run *run, const struct api_rig_peer *peer)
{
    struct wire w = {.eof = peer->eof};
    bool *heads = malloc(peer->nasks + 1);
    size_t i;
    assert(heads != NULL);
    w.may_be_cut = run->starved || peer->reset || peer->was_mute || peer->fd < 0;
    for (i = 0; i < peer->nasks; i++)
        heads[i] = peer->asks[i].head;
    wire_check(&w, (const char *)peer->got, peer->ngot, heads, peer->nasks);
    if (!w.may_be_cut && !peer->eof && peer->conn != NULL && conn_is_waiting(run, peer))
        assert(w.whole + peer->body_to_come == peer->nasks && !w.open_stream);
    free(heads);
}

/* Whatever happened before: a new client is served. */
static void conn_check_service(struct conn_run *run)
{
    struct api_rig_peer *peer = api_rig_connect(&run->rig);
    assert(peer != NULL);
    api_rig_say(&run->rig, peer,
                "GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                "Authorization: Bearer " CONN_TOKEN "\r\n\r\n");
    assert(api_rig_has(peer, "HTTP/1.1 200 OK\r\n") && api_rig_has(peer, "{\"status\":\"ok\"}"));
    assert(peer->eof && !peer->reset);
    conn_check_client(run, peer);
}

static void conn_finish(struct conn_run *run)
{
    size_t i;
    for (i = 0; i < run->nclients; i++)
        run->clients[i]->mute = false;
    api_rig_settle(&run->rig);
    for (i = 0; i < run->nclients; i++)
        conn_check_client(run, run->clients[i]);
    conn_check_service(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conn_run run;
    struct conn_gate gate = {0};
    if (size < 2)
        return 0;
    memset(&run, 0, sizeof run);
    run.piece = malloc(size);
    assert(run.piece != NULL);
    conn_set_up(&run, data[0]);
    conn_add_client(&run);
    gate.fail_at = data[1];
    run.starved = data[1] != 0;
    if (run.starved)
        sbx_mem_set_gate(conn_ask, &gate);
    conn_play(&run, data + 2, size - 2);
    sbx_mem_set_gate(NULL, NULL);
    conn_finish(&run);
    api_rig_close(&run.rig);
    free(run.piece);
    return 0;
}
