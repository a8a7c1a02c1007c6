/* url.c - see url.h.
 *
 * A target is only cut, never normalised: "/a/../b" and "/a//b" are paths of their own and the
 * router compares what was sent. Decoding is left to whoever needs the text of a segment or a
 * parameter, since decoding a whole path first would let "%2F" turn into a separator.
 * Every view that comes out lies inside the view that went in; the one exception is the "/" that
 * stands for the empty path of an absolute-form target. */
#include "proto/url.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* The characters of a registered name (RFC 3986, 3.2.2), '%' of an escape included, one bit for
 * each of 0..63 and 64..127: ! $ % & ' ( ) * + , - . 0-9 ; = and A-Z _ a-z ~ */
static const uint64_t url_name_chars[2] = {UINT64_C(0x2BFF7FF200000000),
                                           UINT64_C(0x47FFFFFE87FFFFFE)};

int sbx_url_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool url_is_name_char(char c)
{
    uint8_t b = (uint8_t)c;
    return b < 128 && (url_name_chars[b >> 6] >> (b & 63) & 1) != 0;
}

static struct sbx_str url_skip(struct sbx_str s, size_t n)
{
    assert(n <= s.n);
    return (struct sbx_str){s.p + n, s.n - n};
}

/* Length of the host in front of the port, 0 when it is none. */
static size_t url_host_len(struct sbx_str s)
{
    size_t i = 0;
    if (s.n > 0 && s.p[0] == '[') {
        for (i = 1; i < s.n && s.p[i] != ']'; i++)
            if (sbx_url_hex_value(s.p[i]) < 0 && s.p[i] != ':' && s.p[i] != '.')
                return 0;
        return i > 1 && i < s.n ? i + 1 : 0;
    }
    /* A comma may be in a name (RFC 3986, 3.2.2), but it is also what an intermediary puts between
     * the values of several Host lines that it joins. */
    while (i < s.n && url_is_name_char(s.p[i]) && s.p[i] != ',')
        i++;
    return i;
}

bool sbx_url_host_ok(struct sbx_str host)
{
    size_t i = url_host_len(host);
    if (i == host.n)
        return true;
    if (i == 0 || host.p[i] != ':')
        return false;
    for (i++; i < host.n; i++)
        if (host.p[i] < '0' || host.p[i] > '9')
            return false;
    return true;
}

/* Length of "http://" or "https://" at the start of s, 0 when there is neither. */
static size_t url_scheme_len(struct sbx_str s)
{
    if (s.n >= 7 && sbx_str_ieq_z((struct sbx_str){s.p, 7}, "http://"))
        return 7;
    if (s.n >= 8 && sbx_str_ieq_z((struct sbx_str){s.p, 8}, "https://"))
        return 8;
    return 0;
}

/* Takes "http://authority" off the front of *s. */
static bool url_take_authority(struct sbx_str *s, struct sbx_str *authority)
{
    size_t n = 0;
    size_t scheme = url_scheme_len(*s);
    if (scheme == 0)
        return false;
    *s = url_skip(*s, scheme);
    while (n < s->n && s->p[n] != '/' && s->p[n] != '?')
        n++;
    *authority = (struct sbx_str){s->p, n};
    *s = url_skip(*s, n);
    return n > 0 && sbx_url_host_ok(*authority);
}

static void url_cut_query(struct sbx_str s, struct sbx_url *url)
{
    const char *mark = s.n > 0 ? memchr(s.p, '?', s.n) : NULL;
    url->path = s;
    if (mark == NULL)
        return;
    url->path.n = (size_t)(mark - s.p);
    url->query = url_skip(s, url->path.n + 1);
}

int sbx_url_split(struct sbx_str target, struct sbx_url *url)
{
    *url = (struct sbx_url){.query = {target.p, 0}, .authority = {target.p, 0}};
    if (target.n == 0 || memchr(target.p, '#', target.n) != NULL)
        return -EINVAL;
    if (sbx_str_eq_z(target, "*")) {
        url->path = target;
        return 0;
    }
    if (target.p[0] != '/' && !url_take_authority(&target, &url->authority))
        return -EINVAL;
    url_cut_query(target, url);
    if (url->path.n == 0)
        url->path = SBX_STR("/");
    return 0;
}

/* Byte that the escape at s.p[i] stands for, -1 when it is none. */
static int url_escape_at(struct sbx_str s, size_t i)
{
    int high, low;
    if (s.n - i < 3)
        return -1;
    high = sbx_url_hex_value(s.p[i + 1]);
    low = sbx_url_hex_value(s.p[i + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

size_t sbx_url_decode(struct sbx_str s, bool plus_is_blank, char *out)
{
    size_t i = 0, n = 0;
    while (i < s.n) {
        int byte = s.p[i] == '%' ? url_escape_at(s, i) : -1;
        if (byte >= 0) {
            out[n++] = (char)byte;
            i += 3;
            continue;
        }
        out[n++] = plus_is_blank && s.p[i] == '+' ? ' ' : s.p[i];
        i++;
    }
    assert(n <= s.n);
    return n;
}

bool sbx_url_next_param(struct sbx_str *rest, struct sbx_str *name, struct sbx_str *value)
{
    const char *mark;
    size_t n;
    while (rest->n > 0 && rest->p[0] == '&')
        *rest = url_skip(*rest, 1);
    if (rest->n == 0)
        return false;
    mark = memchr(rest->p, '&', rest->n);
    n = mark != NULL ? (size_t)(mark - rest->p) : rest->n;
    *name = (struct sbx_str){rest->p, n};
    *value = (struct sbx_str){rest->p + n, 0};
    *rest = url_skip(*rest, n);
    mark = memchr(name->p, '=', n);
    if (mark == NULL)
        return true;
    name->n = (size_t)(mark - name->p);
    *value = (struct sbx_str){mark + 1, n - name->n - 1};
    return true;
}
