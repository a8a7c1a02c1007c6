/* fuzz_tokens.c - any bytes as a token file.
 *
 * Refused: nothing has changed, and the sentence tells the line and none of its text. Taken: the
 * tokens are what the file format says when it is read here once more, in another way, and each
 * opens what its scope says. Taken or not, lines that say nothing and other line ends change
 * nothing. */
#undef NDEBUG
#include "api/auth.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MARK "not-in-any-message"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int parse_copy(struct sbx_tokens *t, const uint8_t *p, size_t n, struct sbx_err *err)
{
    char *copy = malloc(n);
    int rc;
    assert(copy != NULL || n == 0);
    if (n > 0)
        memcpy(copy, p, n);
    sbx_tokens_init(t);
    *err = (struct sbx_err){0};
    rc = sbx_tokens_parse(t, (struct sbx_str){copy, n}, "the file", err);
    if (n > 0)
        memset(copy, 'x', n); /* tokens are owned, not views */
    free(copy);
    return rc;
}

static void check_token(const struct sbx_tokens *t, const struct sbx_token *one)
{
    size_t i;
    assert(one->scope == SBX_SCOPE_READ || one->scope == SBX_SCOPE_FULL);
    assert(one->secret.n > 0 && one->secret.n <= SBX_TOKEN_MAX);
    for (i = 0; i < one->secret.n; i++)
        assert((uint8_t)one->secret.p[i] > 0x20 && (uint8_t)one->secret.p[i] != 0x7f);
    assert(sbx_tokens_scope(t, one->secret) == one->scope);
    for (i = 0; i < t->count; i++)
        assert(&t->list[i] == one || !sbx_str_eq(t->list[i].secret, one->secret));
    if (one->secret.n > 1)
        assert(sbx_tokens_scope(t, (struct sbx_str){one->secret.p, 0}) == SBX_SCOPE_NONE);
}

/* Lines with a token in them, by the definition of the format. */
static size_t count_lines(const uint8_t *p, size_t n)
{
    size_t count = 0, i = 0;
    while (i < n) {
        size_t end = i;
        while (end < n && p[end] != '\n')
            end++;
        while (i < end && (p[i] == ' ' || p[i] == '\t' || p[i] == '\r'))
            i++;
        count += i < end && p[i] != '#';
        i = end + 1;
    }
    return count;
}

static void check_same(const struct sbx_tokens *a, const struct sbx_tokens *b)
{
    size_t i;
    assert(a->count == b->count);
    for (i = 0; i < a->count; i++) {
        assert(sbx_str_eq(a->list[i].secret, b->list[i].secret));
        assert(a->list[i].scope == b->list[i].scope);
    }
}

/* The same file with CRLF for LF and a comment before each line. */
static void check_dressed_up(const struct sbx_tokens *t, int rc, const uint8_t *p, size_t n)
{
    static const char more[] = "\r\n# " MARK "\r\n\r\n";
    uint8_t *out = malloc(n * sizeof more + sizeof more);
    struct sbx_tokens again;
    struct sbx_err err;
    size_t i, len = 0;
    assert(out != NULL);
    for (i = 0; i < n; i++) {
        if (p[i] == '\n') {
            memcpy(out + len, more, sizeof more - 1);
            len += sizeof more - 1;
        } else {
            out[len++] = p[i];
        }
    }
    assert(parse_copy(&again, out, len, &err) == rc);
    assert(strstr(err.text, MARK) == NULL);
    check_same(t, &again);
    sbx_tokens_deinit(&again);
    free(out);
}

static void check_refusal(const struct sbx_tokens *t, int rc, const struct sbx_err *err)
{
    assert(rc < 0 && err->code == rc && err->text[0] != '\0');
    assert(t->count == 0);
    assert(strstr(err->text, MARK) == NULL && strstr(err->text, "the file") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sbx_tokens t;
    struct sbx_err err;
    size_t i;
    int rc = parse_copy(&t, data, size, &err);
    if (rc < 0) {
        check_refusal(&t, rc, &err);
    } else {
        assert(t.count > 0 && t.count <= SBX_TOKENS_MAX);
        assert(t.count == count_lines(data, size) && memchr(data, '\0', size) == NULL);
        for (i = 0; i < t.count; i++)
            check_token(&t, &t.list[i]);
    }
    if (size < 4096 && (size == 0 || memchr(data, '\r', size) == NULL))
        check_dressed_up(&t, rc, data, size);
    sbx_tokens_deinit(&t);
    return 0;
}
