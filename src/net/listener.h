/* listener.h - accepts connections on one address. */
#ifndef SBX_NET_LISTENER_H
#define SBX_NET_LISTENER_H

#include "base/err.h"
#include "net/address.h"
#include "net/conn.h"

#include <stdbool.h>
#include <stdint.h>

struct sbx_listener {
    struct sbx_io io; /* fd -1 when closed */
    struct sbx_net *net;
    struct sbx_timer pause; /* after running out of descriptors */
    int reserve;            /* a descriptor kept for closing clients when there are none left */
    bool exhausted;         /* there were none left, and nobody was accepted since */
    struct sbx_address address;     /* as it listens: with the port that the system chose */
    uint64_t device, inode;         /* of the file of a unix socket */
    char url[SBX_ADDRESS_TEXT + 8]; /* "https://127.0.0.1:2468", "unix:/run/agent.sock" */
};

/* A listening socket, or -errno with the address named in err. The file of a unix socket is 0600;
 * one that nobody listens on any more is replaced, one that somebody does is left alone
 * (-EADDRINUSE), and so is a file that is no socket. */
int sbx_listener_bind(const struct sbx_address *want, struct sbx_err *err);

/* kept: a listening socket of an earlier server, or one bound before, which is used if it is of
 * that address, and closed otherwise; -1: none. TCP connections are TLS when net->tls is set. 0 or
 * -errno with the address named in err. */
int sbx_listener_open(struct sbx_listener *l, struct sbx_net *net, const struct sbx_address *want,
                      int kept, struct sbx_err *err);
void sbx_listener_close(struct sbx_listener *l); /* idempotent */
/* Nobody will listen there again: removes the file of a unix socket, if it is still ours. */
void sbx_listener_retire(const struct sbx_listener *l);

#endif
