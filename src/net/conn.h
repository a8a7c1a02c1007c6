/* conn.h - one HTTP/1.1 connection: framing, keep-alive, limits, deadlines, and who writes.
 *
 * The connection knows HTTP and nothing of the API. It calls up through sbx_conn_ops; whoever is
 * called answers with exactly one of
 *   sbx_conn_respond       a whole answer, now or later (HANDLE lasts until then)
 *   sbx_conn_start_stream  headers now, body from a source
 *   sbx_conn_upgrade       101, then frames from and to a source */
#ifndef SBX_NET_CONN_H
#define SBX_NET_CONN_H

#include "base/buf.h"
#include "base/list.h"
#include "net/outq.h"
#include "net/stream.h"
#include "net/tls.h"
#include "os/diag.h"
#include "os/loop.h"
#include "proto/http_parse.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sbx_conn_state {
    SBX_CONN_READ_HEAD,
    SBX_CONN_READ_BODY,
    SBX_CONN_HANDLE,
    SBX_CONN_STREAM,
    SBX_CONN_WEBSOCKET,
    SBX_CONN_SKIP_BODY,
    SBX_CONN_FINISH,
    SBX_CONN_LINGER,
    SBX_CONN_CLOSED
};

struct sbx_conn;
struct sbx_source;

/* Who answers. */
struct sbx_conn_ops {
    /* A request head has come. Answers it at once (an error) or defers that, or says with a number
     * > 0 how long its body may be, and gets on_request when the body is there. `req` lives during
     * the call. */
    void (*on_head)(struct sbx_conn *c, const struct sbx_http_request *req, uint64_t *max_body);
    /* The whole request. `req` and `body` live during the call. */
    void (*on_request)(struct sbx_conn *c, const struct sbx_http_request *req, struct sbx_str body);
    /* The connection refuses a request by itself and will close. `req` is NULL when there is none
     * to speak of. Answers with sbx_conn_respond. */
    void (*on_refused)(struct sbx_conn *c, const struct sbx_http_request *req, int status,
                       const char *reason);
};

/* Where the bytes of a stream or WebSocket come from. Embedded in its owner. */
enum sbx_pull { SBX_PULL_IDLE, SBX_PULL_MORE, SBX_PULL_END };

struct sbx_source_ops {
    /* Queue output, about SBX_CONN_HIGH bytes at most. IDLE: sbx_conn_wake when there is more. */
    enum sbx_pull (*pull)(struct sbx_source *s, struct sbx_conn *c);
    /* The connection ends or has ended the stream; it does not know the source any more. */
    void (*gone)(struct sbx_source *s, struct sbx_conn *c);
    void (*sent)(struct sbx_source *s, struct sbx_conn *c);  /* the peer took bytes; may be NULL */
    void (*tick)(struct sbx_source *s, struct sbx_conn *c);  /* every tick_us, unless that is 0 */
    void (*peer_shut)(struct sbx_source *s, struct sbx_conn *c); /* may be NULL: ends it */
    /* WebSocket only: bytes from the peer. */
    void (*input)(struct sbx_source *s, struct sbx_conn *c, const uint8_t *p, size_t n);
};

struct sbx_source {
    const struct sbx_source_ops *ops;
    uint64_t tick_us; /* 0: no ticks */
};

/* All connections of a server. */
struct sbx_net {
    struct sbx_loop *loop;
    const struct sbx_diag *diag;
    const struct sbx_conn_ops *ops;
    void *ctx;             /* of the ops: the API */
    uint8_t *scratch;      /* SBX_NET_SCRATCH bytes for one read */
    struct sbx_buf head;   /* scratch for response heads */
    struct sbx_str common; /* header lines of every answer */
    struct sbx_list conns;
    size_t count;
    size_t max_conns;
    size_t max_refusals;   /* connections beyond these that are told so at once; others just end */
    struct sbx_tls *tls;   /* of TCP connections to come; NULL: plain HTTP */
    uint64_t handshake_timeout_us, request_timeout_us, idle_timeout_us;
    uint64_t last_serial;
    uint64_t date_s;       /* second of the text below */
    char date[32];
    bool stopping;         /* no keep-alive any more */
    uint64_t heavy_us;     /* turn in which `heavy_done` requests marked as heavy were handled */
    unsigned heavy_done;
    uint64_t pipelined_us;      /* turn in which `pipelined` requests were begun behind others */
    unsigned pipelined;
    struct sbx_list shaking;    /* connections whose handshake can go on, first come first */
    struct sbx_task shake;      /* PULL */
    uint64_t pulled_pass;       /* of the loop, in which sources produced `pulled` bytes */
    size_t pulled;
    uint64_t written_pass;      /* in which `writers` connections had much to write */
    size_t writers, writers_before; /* and in the one before */
};

/* What lies between connections; the members above are set by the caller before. */
void sbx_net_init(struct sbx_net *net);
void sbx_net_deinit(struct sbx_net *net); /* when all connections are closed */

#define SBX_NET_SCRATCH (64u * 1024u)
#define SBX_CONN_HIGH (256u * 1024u) /* queued output above which nothing more is produced */

struct sbx_conn {
    struct sbx_list node;
    struct sbx_net *net;
    uint64_t serial;           /* for diagnostics: "conn 12" */
    enum sbx_conn_state state;
    struct sbx_stream stream;
    struct sbx_io io;
    struct sbx_timer timer;
    struct sbx_list shake;     /* in net->shaking, or empty */
    struct sbx_task step;      /* PULL: go on with buffered input, or ask the source */
    struct sbx_task flush;     /* FLUSH */
    struct sbx_task free;      /* FREE */
    struct sbx_buf in;         /* unconsumed input; a head stays while its body is read */
    struct sbx_buf body;       /* decoded chunked body */
    struct sbx_outq out;
    size_t scanned;            /* of sbx_http_parse */
    size_t head_len;           /* READ_BODY: bytes of the head at the start of `in` */
    struct sbx_http_chunked chunked;
    uint64_t body_left;        /* READ_BODY, SKIP_BODY with a length */
    uint64_t max_body;
    uint64_t due_us;           /* deadline or next tick; UINT64_MAX: none */
    uint64_t request_due_us;   /* when the request being read must be complete; 0: none begun */
    uint64_t progress_us;      /* when the peer last took something */
    uint64_t acked;            /* of the bytes on the wire, when last asked */
    struct sbx_source *source; /* STREAM, WEBSOCKET */
    void (*on_gone)(struct sbx_conn *c, void *ctx); /* HANDLE: the peer went away */
    void *gone_ctx;
    const char *too_many;      /* refused with 503 as soon as TLS lets us say so; NULL: not */
    const void *route;         /* the API's, from on_head to on_request */
    uint8_t scope;             /* likewise */
    struct sbx_buf headers;    /* the API's: header lines for the answer to this request */
    uint8_t body_kind;         /* enum sbx_http_body */
    uint8_t minor;
    bool keep_alive;
    bool served;               /* a request was answered */
    bool is_head;              /* HEAD: no body goes out */
    bool heavy;                /* set in on_head: handling takes long, so only a few in one turn */
    bool expects;              /* the client waits for 100 before it sends its body */
    bool linger;               /* the peer may still be sending when we close */
    bool chunked_out;          /* STREAM: chunks, else until close */
    bool peer_shut;            /* the peer shut its side; bytes of before may still be unread */
    bool at_end;               /* and all of them have been read */
    bool processing;           /* inside conn_process: an answer does not start another round */
    bool more;                 /* the source has more to give */
};

struct sbx_response {
    int status;
    const char *content_type; /* NULL: none */
    struct sbx_str headers;   /* further header lines, each with CRLF */
    struct sbx_buf *body;     /* body[0..nbody), one after the other, taken over; NULL: see text */
    size_t nbody;             /* 0 counts as 1 */
    struct sbx_str text;      /* body that is copied */
    struct sbx_str lasting;   /* or a body that lives as long as the program, never copied */
    bool no_length;           /* 204, 304: neither body nor Content-Length */
};

/* tls: what to answer a handshake with; NULL: plain HTTP. NULL when out of memory; fd is the
 * caller's then. */
struct sbx_conn *sbx_conn_open(struct sbx_net *net, int fd, struct sbx_tls *tls);
/* One that is too many: says 503 and closes. Closes fd whatever happens. `reason` is static. */
void sbx_conn_turn_away(struct sbx_net *net, int fd, struct sbx_tls *tls, const char *reason);
void sbx_conn_close(struct sbx_conn *c);

void sbx_conn_respond(struct sbx_conn *c, const struct sbx_response *r);
/* HANDLE lasts until the answer; on_gone is called instead when the peer goes away. */
void sbx_conn_defer(struct sbx_conn *c, void (*on_gone)(struct sbx_conn *c, void *ctx), void *ctx);
void sbx_conn_start_stream(struct sbx_conn *c, const struct sbx_response *head,
                           struct sbx_source *source);
void sbx_conn_upgrade(struct sbx_conn *c, struct sbx_str accept, struct sbx_str headers,
                      struct sbx_source *source);

/* For sources: there is more to pull. */
void sbx_conn_wake(struct sbx_conn *c);
static inline bool sbx_conn_is_full(const struct sbx_conn *c)
{
    return c->out.bytes >= SBX_CONN_HIGH;
}
/* Has the peer's system taken all there was? Then it waits for us, not we for it. */
static inline bool sbx_conn_is_drained(const struct sbx_conn *c)
{
    return c->out.bytes == 0;
}
/* One chunk of a stream; the connection adds the framing that the stream has. */
void sbx_conn_put_chunk(struct sbx_conn *c, const void *p, size_t n);
/* The same, taking over the buffer's memory; it is empty afterwards. */
void sbx_conn_put_chunk_buf(struct sbx_conn *c, struct sbx_buf *b);
/* Bytes that are a chunk already: head, data, tail. */
void sbx_conn_put_framed(struct sbx_conn *c, struct sbx_blob *blob, const uint8_t *p, size_t n);
/* Bytes as they are. */
void sbx_conn_put(struct sbx_conn *c, const void *p, size_t n);
void sbx_conn_put_blob(struct sbx_conn *c, struct sbx_blob *blob, const uint8_t *p, size_t n);
/* For ticks of sources that read what nobody else keeps any more (`last`): closes the connection,
 * and returns true, when its peer has stopped taking it. */
bool sbx_conn_abandons(struct sbx_conn *c, bool last);
/* Bytes of ours that the peer's system has acknowledged so far. */
uint64_t sbx_conn_acked(const struct sbx_conn *c);
/* Has the peer's system taken bytes since this was last asked? */
bool sbx_conn_took_some(struct sbx_conn *c);

#endif
