/* cors.c - see cors.h.
 *
 * Browsers send Origin with every request that a page makes to another place and with every
 * WebSocket handshake. A simple POST and a WebSocket need no preflight, so without this check
 * any page that somebody visits could type into a terminal of an agent on their machine.
 *
 * What a page only embeds (a script, a style, an image) is asked for without Origin, and answers
 * are text that somebody else wrote: a line of output may well be a script. So each answer says
 * that it is what its type says, and nothing for pages of another origin to embed (Fetch, 3.6 and
 * 3.7). That leaves alone what is asked for with CORS. */
#include "api/cors.h"
#include "proto/http_write.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

static bool cors_has_wildcard(const struct sbx_cors *cors)
{
    size_t i;
    for (i = 0; i < cors->norigins; i++)
        if (strcmp(cors->origins[i], "*") == 0)
            return true;
    return false;
}

static bool cors_is_listed(const struct sbx_cors *cors, struct sbx_str origin)
{
    size_t i;
    for (i = 0; i < cors->norigins; i++)
        if (sbx_str_eq_z(origin, cors->origins[i]))
            return true;
    return false;
}

void sbx_cors_put_common(const struct sbx_cors *cors, struct sbx_buf *out)
{
    sbx_buf_add_z(out, "vary: origin, access-control-request-method, "
                       "access-control-request-headers\r\n"
                       "x-content-type-options: nosniff\r\n"
                       "cross-origin-resource-policy: same-origin\r\n");
    if (cors->credentials)
        sbx_buf_add_z(out, "access-control-allow-credentials: true\r\n");
}

void sbx_cors_put_origin(const struct sbx_cors *cors, struct sbx_str origin, struct sbx_buf *out)
{
    if (origin.n == 0)
        return;
    if (cors_is_listed(cors, origin))
        sbx_http_put_header(out, "access-control-allow-origin", origin);
    else if (cors_has_wildcard(cors))
        /* "*" and credentials exclude each other (Fetch, 3.2.5), the origin itself does not. */
        sbx_http_put_header(out, "access-control-allow-origin",
                            cors->credentials ? origin : SBX_STR("*"));
}

void sbx_cors_put_preflight(const struct sbx_cors *cors, struct sbx_str requested,
                            struct sbx_buf *out)
{
    struct sbx_str methods = cors->methods, headers = cors->headers;
    /* With credentials "*" is taken literally, so all is spelled out. */
    if (methods.n == 0)
        methods = cors->credentials ? SBX_STR("GET,HEAD,POST,DELETE,OPTIONS") : SBX_STR("*");
    if (headers.n == 0 && !cors->credentials)
        headers = SBX_STR("*");
    else if (headers.n == 0)
        headers = requested.n > 0 ? requested : SBX_STR("authorization,content-type");
    sbx_http_put_header(out, "access-control-allow-methods", methods);
    sbx_http_put_header(out, "access-control-allow-headers", headers);
}

/* Host and port of "scheme://host:port", the scheme's default port removed. */
static struct sbx_str cors_authority(struct sbx_str origin)
{
    static const struct {
        const char *scheme, *port;
    } defaults[] = {{"http://", ":80"}, {"https://", ":443"}};
    size_t i;
    for (i = 0; i < 2; i++) {
        struct sbx_str a = origin;
        size_t skip = strlen(defaults[i].scheme), tail = strlen(defaults[i].port);
        if (!sbx_str_starts_with(origin, defaults[i].scheme))
            continue;
        a.p += skip;
        a.n -= skip;
        if (a.n > tail && memcmp(a.p + a.n - tail, defaults[i].port, tail) == 0)
            a.n -= tail;
        return a;
    }
    return (struct sbx_str){NULL, 0};
}

static struct sbx_str cors_without_port(struct sbx_str authority)
{
    size_t i = authority.n;
    while (i > 0 && authority.p[i - 1] >= '0' && authority.p[i - 1] <= '9')
        i--;
    if (i > 0 && i < authority.n && authority.p[i - 1] == ':')
        authority.n = i - 1;
    return authority;
}

/* "127.0.0.1.example.org" is a name like any other. */
static bool cors_is_ipv4_loopback(struct sbx_str host)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr address;
    if (host.n >= sizeof text || memchr(host.p, '\0', host.n) != NULL)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(AF_INET, text, &address) == 1 && ((const uint8_t *)&address)[0] == 127;
}

static bool cors_is_loopback(struct sbx_str authority)
{
    struct sbx_str host = cors_without_port(authority);
    return sbx_str_ieq_z(host, "localhost") || sbx_str_eq_z(host, "[::1]") ||
           cors_is_ipv4_loopback(host);
}

/* The same host and port, where one of the two may spell out the default port. */
static bool cors_is_host(struct sbx_str authority, struct sbx_str origin, struct sbx_str host)
{
    struct sbx_str same = host;
    const char *port = sbx_str_starts_with(origin, "https://") ? ":443" : ":80";
    size_t tail = strlen(port);
    if (same.n > tail && memcmp(same.p + same.n - tail, port, tail) == 0)
        same.n -= tail;
    return same.n > 0 && sbx_str_ieq(same, authority);
}

bool sbx_cors_may_ask(const struct sbx_cors *cors, struct sbx_str origin, struct sbx_str host,
                      bool tls)
{
    struct sbx_str authority = cors_authority(origin);
    if (cors_is_listed(cors, origin) || cors_has_wildcard(cors))
        return true;
    if (authority.n == 0)
        return false; /* "null", file:, extensions */
    if (cors_is_loopback(authority))
        return true;
    /* A page of http:// may be from whoever is on the way to us, or from another program at port
     * 80. The other way round is a proxy in front, which does the TLS. */
    return (!tls || sbx_str_starts_with(origin, "https://")) &&
           cors_is_host(authority, origin, host);
}
