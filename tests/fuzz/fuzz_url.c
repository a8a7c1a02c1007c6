/* fuzz_url.c - any bytes as a request target, a query and a host.
 *
 * Views stay inside and put together again are what went in; decoding never grows and undoes an
 * encoding of everything. */
#undef NDEBUG
#include "proto/url.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(struct sbx_str part, struct sbx_str whole)
{
    return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

static void check_split(struct sbx_str in)
{
    struct sbx_url url;
    if (sbx_url_split(in, &url) != 0)
        return;
    assert(in.n > 0 && memchr(in.p, '#', in.n) == NULL);
    assert(url.path.n > 0);
    assert(url.path.p[0] == '/' || sbx_str_eq_z(in, "*"));
    assert(memchr(url.path.p, '?', url.path.n) == NULL);
    assert(inside(url.path, in) || (sbx_str_eq_z(url.path, "/") && url.authority.n > 0));
    assert(inside(url.query, in) && inside(url.authority, in));
    assert(url.authority.n > 0 || in.p == url.path.p);
    assert(sbx_url_host_ok(url.authority));
    /* Nothing lies between path and query but '?', and nothing behind. */
    if (url.query.n > 0)
        assert(url.query.p + url.query.n == in.p + in.n && url.query.p[-1] == '?');
    else if (inside(url.path, in))
        assert(in.n - (size_t)(url.path.p + url.path.n - in.p) <= 1);
}

static void check_params(struct sbx_str in)
{
    struct sbx_str rest = in, name, value;
    size_t bytes = 0, marks = 0, i;
    while (sbx_url_next_param(&rest, &name, &value)) {
        assert(inside(name, in) && inside(value, in) && inside(rest, in));
        assert(name.n == 0 || memchr(name.p, '=', name.n) == NULL);
        assert(name.n == 0 || memchr(name.p, '&', name.n) == NULL);
        assert(value.n == 0 || memchr(value.p, '&', value.n) == NULL);
        assert(value.p == name.p + name.n || value.p[-1] == '=');
        bytes += name.n + value.n + (value.p != name.p + name.n);
    }
    assert(rest.n == 0);
    for (i = 0; i < in.n; i++)
        marks += in.p[i] == '&';
    assert(bytes + marks == in.n);
}

static void check_decode(struct sbx_str in)
{
    char *out = malloc(in.n), *wide = malloc(in.n * 3);
    size_t n = sbx_url_decode(in, true, out), i;
    assert(n <= in.n && (in.n - n) % 2 == 0);
    assert(sbx_url_decode(in, false, out) == n);
    for (i = 0; i < in.n; i++) {
        wide[i * 3] = '%';
        wide[i * 3 + 1] = "0123456789abcdef"[(uint8_t)in.p[i] >> 4];
        wide[i * 3 + 2] = "0123456789ABCDEF"[(uint8_t)in.p[i] & 15];
    }
    n = sbx_url_decode((struct sbx_str){wide, in.n * 3}, true, out);
    assert(n == in.n && memcmp(out, in.p, n) == 0);
    free(wide);
    free(out);
}

static void check_host(struct sbx_str in)
{
    size_t i;
    if (!sbx_url_host_ok(in))
        return;
    for (i = 0; i < in.n; i++)
        assert(in.p[i] > 0x20 && in.p[i] < 0x7f && strchr("/@?#\\\"<>", in.p[i]) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + (size == 0));
    struct sbx_str in = {copy, size};
    if (size > 0)
        memcpy(copy, data, size);
    check_split(in);
    check_params(in);
    check_host(in);
    if (size > 0)
        check_decode(in);
    free(copy);
    return 0;
}
