/* origin.c - see origin.h.
 *
 * Names are compared as texts and addresses as addresses: "[0:0::1]" is the loopback as well. A
 * literal is what the system's own parser takes for one, in its usual form; whatever else looks
 * like a number ("127.1", "2130706433") is a name here, and no name of ours: browsers write
 * addresses out before they send them. */
#include "api/origin.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define ORIGIN_LITERAL_MAX 64u

/* host[:port], taken apart; the name without brackets and final dot. */
struct origin_authority {
    struct sbx_str name;
    struct sbx_str port;
    bool bracketed;
};

enum origin_literal { ORIGIN_NAME, ORIGIN_ADDRESS, ORIGIN_HERE };

static struct sbx_str origin_from(struct sbx_str s, size_t at)
{
    return (struct sbx_str){s.p + at, s.n - at};
}

static bool origin_split_v6(struct sbx_str host, struct origin_authority *a)
{
    const char *end = memchr(host.p, ']', host.n);
    size_t n;
    if (end == NULL)
        return false;
    n = (size_t)(end - host.p);
    a->bracketed = true;
    a->name = (struct sbx_str){host.p + 1, n - 1};
    a->port = origin_from(host, n + 1);
    if (a->port.n == 0)
        return true;
    if (a->port.p[0] != ':')
        return false;
    a->port = origin_from(a->port, 1);
    return true;
}

/* false when it has no name. */
static bool origin_split(struct sbx_str host, struct origin_authority *a)
{
    const char *colon;
    *a = (struct origin_authority){.name = host};
    if (host.n > 0 && host.p[0] == '[')
        return origin_split_v6(host, a);
    colon = host.n > 0 ? memchr(host.p, ':', host.n) : NULL;
    if (colon != NULL) {
        a->name.n = (size_t)(colon - host.p);
        a->port = origin_from(host, a->name.n + 1);
    }
    if (a->name.n > 1 && a->name.p[a->name.n - 1] == '.')
        a->name.n--;
    return a->name.n > 0;
}

/* Of 127/8, or 0.0.0.0: the system connects to itself where nobody in particular is asked for, and
 * that is how a server names itself that listens everywhere. */
static bool origin_is_here_v4(const uint8_t bytes[4])
{
    return bytes[0] == 127 || (bytes[0] | bytes[1] | bytes[2] | bytes[3]) == 0;
}

static enum origin_literal origin_literal(const struct origin_authority *a)
{
    char text[ORIGIN_LITERAL_MAX];
    struct in_addr v4;
    struct in6_addr v6;
    bool here;
    if (a->name.n >= sizeof text || memchr(a->name.p, '\0', a->name.n) != NULL)
        return ORIGIN_NAME;
    memcpy(text, a->name.p, a->name.n);
    text[a->name.n] = '\0';
    if (!a->bracketed && inet_pton(AF_INET, text, &v4) == 1)
        here = origin_is_here_v4((const uint8_t *)&v4);
    else if (a->bracketed && inet_pton(AF_INET6, text, &v6) == 1)
        here = IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_UNSPECIFIED(&v6) ||
               (IN6_IS_ADDR_V4MAPPED(&v6) && origin_is_here_v4(&v6.s6_addr[12]));
    else
        return ORIGIN_NAME;
    return here ? ORIGIN_HERE : ORIGIN_ADDRESS;
}

/* --- patterns --- */

static bool origin_is_name_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           c == '-' || c == '_' || c == '.';
}

static bool origin_is_name(struct sbx_str name)
{
    size_t i;
    for (i = 0; i < name.n; i++)
        if (!origin_is_name_char(name.p[i]))
            return false;
    return name.n > 0 && name.p[0] != '.';
}

/* A pattern's port; one that is not there is fine where there is no colon either. */
static bool origin_port_ok(struct sbx_str pattern, struct sbx_str port)
{
    uint64_t number;
    if (port.n == 0)
        return pattern.p[pattern.n - 1] != ':';
    return sbx_str_to_u64(port, &number) == 0 && number > 0 && number <= 65535;
}

int sbx_host_pattern_check(const char *pattern)
{
    struct sbx_str rest = sbx_str_z(pattern);
    struct origin_authority a;
    bool wild = sbx_str_starts_with(rest, "*.");
    if (sbx_str_eq_z(rest, "*"))
        return 0;
    if (wild)
        rest = origin_from(rest, 2);
    if (!origin_split(rest, &a) || !origin_port_ok(rest, a.port))
        return -EINVAL;
    if (a.bracketed)
        return wild || origin_literal(&a) == ORIGIN_NAME ? -EINVAL : 0;
    return origin_is_name(a.name) ? 0 : -EINVAL;
}

static bool origin_is_below(struct sbx_str name, struct sbx_str parent)
{
    size_t before = name.n - parent.n;
    return name.n > parent.n + 1 && name.p[before - 1] == '.' &&
           sbx_str_ieq(origin_from(name, before), parent);
}

/* A Host without a port is one with the default port, and whether that is 80 or 443 is known
 * only to the browser when another program in front of us does its TLS. */
static bool origin_same_port(struct sbx_str wanted, struct sbx_str port)
{
    if (wanted.n == 0 || sbx_str_eq(wanted, port))
        return true;
    return port.n == 0 && (sbx_str_eq_z(wanted, "80") || sbx_str_eq_z(wanted, "443"));
}

static bool origin_matches(const char *pattern, const struct origin_authority *a)
{
    struct sbx_str rest = sbx_str_z(pattern);
    struct origin_authority p;
    bool wild = sbx_str_starts_with(rest, "*.");
    if (sbx_str_eq_z(rest, "*"))
        return true;
    if (!origin_split(wild ? origin_from(rest, 2) : rest, &p) || p.bracketed != a->bracketed)
        return false;
    if (!origin_same_port(p.port, a->port))
        return false;
    return wild ? origin_is_below(a->name, p.name) : sbx_str_ieq(a->name, p.name);
}

static bool origin_is_allowed(const struct sbx_hosts *hosts, const struct origin_authority *a)
{
    size_t i;
    for (i = 0; i < hosts->nallowed; i++)
        if (origin_matches(hosts->allowed[i], a))
            return true;
    return false;
}

/* --- requests --- */

static bool origin_is_known(const struct sbx_hosts *hosts, const struct origin_authority *a)
{
    return (!a->bracketed && sbx_str_ieq_z(a->name, "localhost")) ||
           origin_literal(a) == ORIGIN_HERE || origin_is_allowed(hosts, a);
}

bool sbx_host_is_known(const struct sbx_hosts *hosts, struct sbx_str host)
{
    struct origin_authority a;
    return host.n == 0 || (origin_split(host, &a) && origin_is_known(hosts, &a));
}

/* The connection's own address is one of the two cases that are fine already: a literal of the
 * loopback, or a literal on a connection from elsewhere. */
bool sbx_host_is_ours(const struct sbx_hosts *hosts, struct sbx_str host, struct sbx_str local)
{
    struct origin_authority a, own;
    if (host.n == 0 || local.n == 0)
        return true;
    if (!origin_split(host, &a))
        return false;
    if (origin_is_known(hosts, &a))
        return true;
    return origin_literal(&a) == ORIGIN_ADDRESS && origin_split(local, &own) &&
           origin_literal(&own) == ORIGIN_ADDRESS;
}

struct sbx_str sbx_host_name(struct sbx_str host)
{
    struct origin_authority a;
    if (!origin_split(host, &a))
        return host;
    return a.bracketed ? (struct sbx_str){a.name.p - 1, a.name.n + 2} : a.name;
}
