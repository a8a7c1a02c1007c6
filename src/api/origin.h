/* origin.h - which names the agent answers to, and which web pages may use it.
 *
 * A browser can be made to send anything to any address it can reach. Two headers that a page
 * cannot forge tell who asks: Host is the name that the browser believes to talk to, so a page that
 * had its own name resolve to our address (DNS rebinding) shows here; Origin is where the page came
 * from. */
#ifndef SBX_API_ORIGIN_H
#define SBX_API_ORIGIN_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

/* Names that --allow-host gave: "agent.example", "agent.example:8443" for that port alone,
 * "*.example" for every name below it, "*" for all. */
struct sbx_hosts {
    const char *const *allowed;
    size_t nallowed;
};

/* 0 or -EINVAL: not one of the forms above. */
int sbx_host_pattern_check(const char *pattern);

/* May a request with that Host header be answered, on a connection whose own address is `local`
 * ("127.0.0.1:2468", "[::1]:2468"; empty for a unix socket, where every name is right: no
 * browser gets there)? An absent Host (empty) is fine: browsers always send one. Yes for
 * localhost, loopback and unspecified addresses with any port (a forwarded port has another
 * number), for the connection's own address with any port, for the names allowed; and on a
 * connection that did not come over loopback for every literal IP address: behind address
 * translation nobody here knows the outer one, and a literal cannot be rebound. Names compare
 * without case and without a final dot. */
bool sbx_host_is_ours(const struct sbx_hosts *hosts, struct sbx_str host, struct sbx_str local);
/* The part of that for which nobody has to ask the system about the connection: absent, localhost,
 * loopback, or allowed. */
bool sbx_host_is_known(const struct sbx_hosts *hosts, struct sbx_str host);
/* The name in a Host header, as --allow-host would be given it: without port and final dot. */
struct sbx_str sbx_host_name(struct sbx_str host);

#endif
