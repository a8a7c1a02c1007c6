/* str.c - see str.h. */
#include "base/str.h"

#include <errno.h>
#include <string.h>

struct sbx_str sbx_str_z(const char *z)
{
    return (struct sbx_str){z, z == NULL ? 0 : strlen(z)};
}

bool sbx_str_eq(struct sbx_str a, struct sbx_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool sbx_str_eq_z(struct sbx_str a, const char *z)
{
    return sbx_str_eq(a, sbx_str_z(z));
}

static char str_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool sbx_str_ieq(struct sbx_str a, struct sbx_str b)
{
    size_t i;
    if (a.n != b.n)
        return false;
    for (i = 0; i < a.n; i++)
        if (str_lower(a.p[i]) != str_lower(b.p[i]))
            return false;
    return true;
}

bool sbx_str_ieq_z(struct sbx_str a, const char *z)
{
    return sbx_str_ieq(a, sbx_str_z(z));
}

bool sbx_str_starts_with(struct sbx_str s, const char *z)
{
    size_t n = strlen(z);
    return s.n >= n && (n == 0 || memcmp(s.p, z, n) == 0);
}

static bool str_is_ows(char c)
{
    return c == ' ' || c == '\t';
}

struct sbx_str sbx_str_trim(struct sbx_str s)
{
    while (s.n > 0 && str_is_ows(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && str_is_ows(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool sbx_str_next_in_list(struct sbx_str *rest, struct sbx_str *item)
{
    while (rest->n > 0) {
        const char *comma = memchr(rest->p, ',', rest->n);
        size_t len = comma != NULL ? (size_t)(comma - rest->p) : rest->n;
        size_t skip = comma != NULL ? len + 1 : len;
        *item = sbx_str_trim((struct sbx_str){rest->p, len});
        rest->p += skip;
        rest->n -= skip;
        if (item->n > 0)
            return true;
    }
    return false;
}

bool sbx_str_list_has(struct sbx_str list, const char *token)
{
    struct sbx_str item;
    while (sbx_str_next_in_list(&list, &item))
        if (sbx_str_ieq_z(item, token))
            return true;
    return false;
}

int sbx_str_to_u64(struct sbx_str s, uint64_t *value)
{
    uint64_t v = 0;
    size_t i;
    if (s.n == 0)
        return -EINVAL;
    for (i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return -EINVAL;
    for (i = 0; i < s.n; i++) {
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return -ERANGE;
        v = v * 10 + digit;
    }
    *value = v;
    return 0;
}

bool sbx_str_eq_const_time(struct sbx_str given, struct sbx_str secret)
{
    unsigned diff = given.n != secret.n;
    size_t i;
    for (i = 0; i < given.n; i++) {
        unsigned char a = (unsigned char)given.p[i];
        unsigned char b = secret.n > 0 ? (unsigned char)secret.p[i % secret.n] : 0;
        diff |= (unsigned)(a ^ b);
    }
    return diff == 0;
}
