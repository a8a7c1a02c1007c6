/* address.c - see address.h.
 *
 * --listen is read from the left: "unix:" and "[" say what follows; anything else is split at its
 * only colon. A second colon is refused, since "::1:2468" is an address as well as an address and a
 * port (RFC 3986, 3.2.2, has the brackets for that reason). A missing host is refused as well: to
 * some programs ":2468" is every address of the machine, and that is worth its being spelt out. */
#include "net/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define ADDRESS_LOOPBACK_NET 127u /* 127.0.0.0/8 */
#define ADDRESS_V6_CHARS "0123456789abcdefABCDEF:."

static bool address_is_loopback_v4(const uint8_t bytes[4])
{
    return bytes[0] == ADDRESS_LOOPBACK_NET;
}

int sbx_address_of_host(struct sbx_address *a, struct sbx_str host, uint16_t port)
{
    char text[INET6_ADDRSTRLEN];
    memset(a, 0, sizeof *a);
    if (sbx_str_ieq_z(host, "localhost"))
        host = SBX_STR("127.0.0.1");
    if (host.n == 0 || host.n >= sizeof text || memchr(host.p, '\0', host.n) != NULL)
        return -EINVAL;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(AF_INET, text, &a->sock.in.sin_addr) == 1) {
        a->sock.in.sin_family = AF_INET;
        a->sock.in.sin_port = htons(port);
        a->len = sizeof a->sock.in;
        return 0;
    }
    if (inet_pton(AF_INET6, text, &a->sock.in6.sin6_addr) == 1) {
        a->sock.in6.sin6_family = AF_INET6;
        a->sock.in6.sin6_port = htons(port);
        a->len = sizeof a->sock.in6;
        return 0;
    }
    return -EINVAL;
}

static int address_refuse(const char *text, const char *why, struct sbx_err *err)
{
    return sbx_err_set(err, EINVAL, "--listen \"%.128s\": %s", text, why);
}

static int address_parse_unix(struct sbx_address *a, const char *text, const char *path,
                              struct sbx_err *err)
{
    size_t n = strlen(path), most = sizeof a->sock.un.sun_path - 1;
    if (n == 0)
        return address_refuse(text, "the path of the socket is missing", err);
    if (n > most)
        return sbx_err_set(err, EINVAL,
                           "--listen \"%.128s\": the path of a socket has at most %zu bytes", text,
                           most);
    a->sock.un.sun_family = AF_UNIX;
    memcpy(a->sock.un.sun_path, path, n);
    a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    return 0;
}

static int address_parse_tcp(struct sbx_address *a, const char *text, struct sbx_str host,
                             const char *port, struct sbx_err *err)
{
    uint64_t number;
    int rc = sbx_str_to_u64(sbx_str_z(port), &number);
    if (rc == -EINVAL)
        return address_refuse(text, "the port is not a number", err);
    if (rc < 0 || number > UINT16_MAX)
        return address_refuse(text, "a port is at most 65535", err);
    if (sbx_address_of_host(a, host, (uint16_t)number) < 0)
        return address_refuse(text, "the host is neither an IP address nor localhost", err);
    return 0;
}

/* at: behind the opening bracket. */
static int address_parse_bracketed(struct sbx_address *a, const char *text, const char *at,
                                   struct sbx_err *err)
{
    const char *close = strchr(at, ']');
    int rc;
    if (close == NULL || close[1] != ':')
        return address_refuse(text, "\"]:PORT\" is missing, as in [::1]:2468", err);
    rc = address_parse_tcp(a, text, (struct sbx_str){at, (size_t)(close - at)}, close + 2, err);
    if (rc == 0 && a->sock.sa.sa_family != AF_INET6)
        return address_refuse(text, "brackets are for an IPv6 address", err);
    return rc;
}

static int address_parse_plain(struct sbx_address *a, const char *text, struct sbx_err *err)
{
    const char *colon = strchr(text, ':');
    if (colon == NULL && text[strspn(text, "0123456789")] == '\0')
        return address_parse_tcp(a, text, SBX_STR("127.0.0.1"), text, err);
    if (colon == NULL)
        return address_refuse(text, "the port is missing, as in 127.0.0.1:2468", err);
    if (strchr(colon + 1, ':') == NULL)
        return address_parse_tcp(a, text, (struct sbx_str){text, (size_t)(colon - text)}, colon + 1,
                                 err);
    if (text[strspn(text, ADDRESS_V6_CHARS)] == '\0')
        return address_refuse(text, "an IPv6 address stands in brackets, as in [::1]:2468", err);
    return address_refuse(text, "it is not HOST:PORT, [IPV6]:PORT, PORT or unix:PATH", err);
}

int sbx_address_parse(struct sbx_address *a, const char *text, struct sbx_err *err)
{
    static const char scheme[] = "unix:";
    memset(a, 0, sizeof *a);
    if (text[0] == '\0')
        return address_refuse(text, "it is not HOST:PORT, [IPV6]:PORT, PORT or unix:PATH", err);
    if (strncmp(text, scheme, sizeof scheme - 1) == 0)
        return address_parse_unix(a, text, text + sizeof scheme - 1, err);
    if (text[0] == '[')
        return address_parse_bracketed(a, text, text + 1, err);
    return address_parse_plain(a, text, err);
}

void sbx_address_of_fd(struct sbx_address *a, int fd)
{
    memset(a, 0, sizeof *a);
    a->len = sizeof a->sock;
    if (getsockname(fd, &a->sock.sa, &a->len) < 0)
        a->sock.sa.sa_family = AF_UNSPEC;
}

bool sbx_address_is_local(const struct sbx_address *a)
{
    const struct in6_addr *v6 = &a->sock.in6.sin6_addr;
    if (a->sock.sa.sa_family == AF_INET)
        return address_is_loopback_v4((const uint8_t *)&a->sock.in.sin_addr);
    if (a->sock.sa.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(v6) ||
               (IN6_IS_ADDR_V4MAPPED(v6) && address_is_loopback_v4(v6->s6_addr + 12));
    return sbx_address_is_unix(a);
}

/* The kernel may give a path that fills its field and has no NUL, and a length without one. */
static struct sbx_str address_path(const struct sbx_address *a)
{
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t n = a->len > head ? a->len - head : 0;
    if (n > sizeof a->sock.un.sun_path)
        n = sizeof a->sock.un.sun_path;
    return (struct sbx_str){a->sock.un.sun_path, strnlen(a->sock.un.sun_path, n)};
}

void sbx_address_format(const struct sbx_address *a, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "";
    assert(size >= SBX_ADDRESS_TEXT);
    if (sbx_address_is_unix(a)) {
        struct sbx_str path = address_path(a);
        (void)snprintf(text, size, "unix:%.*s", (int)path.n, path.p);
    } else if (a->sock.sa.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &a->sock.in.sin_addr, host, sizeof host);
        (void)snprintf(text, size, "%s:%u", host, (unsigned)ntohs(a->sock.in.sin_port));
    } else if (a->sock.sa.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &a->sock.in6.sin6_addr, host, sizeof host);
        (void)snprintf(text, size, "[%s]:%u", host, (unsigned)ntohs(a->sock.in6.sin6_port));
    } else {
        text[0] = '\0';
    }
}

static bool address_is_port(in_port_t port, in_port_t want)
{
    return want == 0 || port == want;
}

bool sbx_address_is(const struct sbx_address *a, const struct sbx_address *want)
{
    const union sbx_sockaddr *have = &a->sock, *like = &want->sock;
    if (have->sa.sa_family != like->sa.sa_family)
        return false;
    if (have->sa.sa_family == AF_INET)
        return have->in.sin_addr.s_addr == like->in.sin_addr.s_addr &&
               address_is_port(have->in.sin_port, like->in.sin_port);
    if (have->sa.sa_family == AF_INET6)
        return memcmp(&have->in6.sin6_addr, &like->in6.sin6_addr, sizeof(struct in6_addr)) == 0 &&
               address_is_port(have->in6.sin6_port, like->in6.sin6_port);
    return sbx_address_is_unix(a) && sbx_str_eq(address_path(a), address_path(want));
}

static void address_set_peer(struct sbx_peer *peer, int family, const void *bytes, size_t n)
{
    peer->family = (uint8_t)family;
    memcpy(peer->bytes, bytes, n);
}

void sbx_peer_of_fd(struct sbx_peer *peer, int fd)
{
    union sbx_sockaddr s;
    socklen_t len = sizeof s;
    const struct in6_addr *v6 = &s.in6.sin6_addr;
    memset(peer, 0, sizeof *peer);
    memset(&s, 0, sizeof s);
    peer->family = AF_UNSPEC;
    if (getpeername(fd, &s.sa, &len) < 0)
        return;
    if (s.sa.sa_family == AF_INET)
        address_set_peer(peer, AF_INET, &s.in.sin_addr, sizeof s.in.sin_addr);
    else if (s.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(v6))
        address_set_peer(peer, AF_INET, v6->s6_addr + 12, sizeof s.in.sin_addr);
    else if (s.sa.sa_family == AF_INET6)
        address_set_peer(peer, AF_INET6, v6, sizeof *v6);
    else if (s.sa.sa_family == AF_UNIX)
        peer->family = AF_UNIX;
}
