/* listener.h - accepts connections on one address. */
#ifndef SBX_NET_LISTENER_H
#define SBX_NET_LISTENER_H

#include "base/err.h"
#include "net/conn.h"

#include <stdbool.h>
#include <stdint.h>

struct sbx_listener {
    struct sbx_io io; /* fd -1 when closed */
    struct sbx_net *net;
    struct sbx_timer pause; /* after running out of descriptors */
    int reserve;            /* a descriptor kept for saying no when there are none left */
    char address[80];       /* "http://127.0.0.1:2468", as it listens */
};

/* host: an IP address or "localhost"; port 0: the system chooses. kept: a listening socket of an
 * earlier server, which is used if it is of that address, and closed otherwise; -1: none. 0 or a
 * negative errno with the address named in err. */
int sbx_listener_open(struct sbx_listener *l, struct sbx_net *net, const char *host, uint16_t port,
                      int kept, struct sbx_err *err);
void sbx_listener_close(struct sbx_listener *l); /* idempotent */

/* Is it an IP address, or localhost? */
bool sbx_host_is_address(const char *host);
/* Is this host one that only this machine reaches? Names other than localhost are not. */
bool sbx_host_is_loopback(const char *host);

#endif
