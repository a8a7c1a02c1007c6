/* address.h - where to listen, and who has connected. */
#ifndef SBX_NET_ADDRESS_H
#define SBX_NET_ADDRESS_H

#include "base/err.h"
#include "base/str.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

union sbx_sockaddr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

struct sbx_address {
    union sbx_sockaddr sock;
    socklen_t len;
};

/* An IP address or "localhost", and a port. Addresses are parsed without the resolver: a static
 * binary has no NSS to ask, and the only name that means something in a sandbox is localhost.
 * -EINVAL when it is neither. */
int sbx_address_of_host(struct sbx_address *a, struct sbx_str host, uint16_t port);
/* The value of --listen: "HOST:PORT", "[V6]:PORT", "PORT" alone (on 127.0.0.1), or "unix:PATH". 0
 * or -EINVAL and err, which names flag and value. */
int sbx_address_parse(struct sbx_address *a, const char *text, struct sbx_err *err);

static inline bool sbx_address_is_unix(const struct sbx_address *a)
{
    return a->sock.sa.sa_family == AF_UNIX;
}
/* The address that a socket is bound to; AF_UNSPEC when that cannot be told. */
void sbx_address_of_fd(struct sbx_address *a, int fd);
/* Can only this machine reach it? Unix sockets and loopback addresses. */
bool sbx_address_is_local(const struct sbx_address *a);
/* "127.0.0.1:2468", "[::]:2468", "unix:/run/agent.sock" into text; at least SBX_ADDRESS_TEXT. */
#define SBX_ADDRESS_TEXT 128u
void sbx_address_format(const struct sbx_address *a, char *text, size_t size);
/* The same, where port 0 in `want` is any port. */
bool sbx_address_is(const struct sbx_address *a, const struct sbx_address *want);

/* Who is at the other end: the address without the port, an IPv4 one inside IPv6 as IPv4. All
 * peers of a unix socket are one. */
struct sbx_peer {
    uint8_t bytes[16];
    uint8_t family; /* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC: could not be told */
};
void sbx_peer_of_fd(struct sbx_peer *peer, int fd);

#endif
