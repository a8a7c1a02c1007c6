/* json_read.c - see json_read.h.
 *
 * One loop over five states, each named after what may come next; the stack of open arrays and
 * objects is an array as long as the depth limit, so hostile nesting costs no C stack.
 *
 *   VALUE       a value                   -> AFTER; FIRST_ITEM or FIRST_KEY into a container
 *   FIRST_ITEM  a value or ']'            -> as VALUE; AFTER
 *   FIRST_KEY   a member name or '}'      -> VALUE; AFTER
 *   KEY         a member name             -> VALUE
 *   AFTER       ',' or a closing bracket  -> KEY or VALUE; AFTER; DONE at the end of the text
 *
 * Values live in chunks that double in size, so that memory follows the number of values and no
 * value ever moves: siblings and parents are plain pointers. The first slot of a chunk holds only
 * the link to the chunk before it. Decoded text is never longer than its source, so one block of
 * the length of the input holds all of it, and it does not move either.
 *
 * UTF-8 is checked once, up front, over the whole text: the parser then sees only the valid part,
 * and "the text ends too early" is told as "invalid UTF-8" where that is what cut it short. Errors
 * before that place are found first, as a reader of the text would expect. */
#include "base/json_read.h"
#include "base/json_scan.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define JSON_FIRST_CHUNK 8u
#define JSON_LAST_CHUNK 1024u

enum json_state {
    JSON_STATE_VALUE,
    JSON_STATE_FIRST_ITEM,
    JSON_STATE_FIRST_KEY,
    JSON_STATE_KEY,
    JSON_STATE_AFTER,
    JSON_STATE_DONE
};

struct json_level {
    struct sbx_json *container;
    struct sbx_json *last; /* its last child so far, NULL while it is empty */
};

struct json_parser {
    struct sbx_json_doc *doc;
    struct sbx_err *err;
    const char *start, *p, *end; /* end of the valid UTF-8 */
    bool cut;                    /* invalid UTF-8 follows at end */
    char *out;                   /* where the next decoded text goes */
    struct sbx_str key;          /* of the member whose value comes next */
    size_t chunk_used, chunk_size;
    unsigned depth;
    struct json_level levels[SBX_JSON_MAX_DEPTH];
};

/* Line and column of `at`, both from 1; a column is a byte. */
static void json_locate(const struct json_parser *ps, const char *at, size_t *line, size_t *column)
{
    const char *p, *line_start = ps->start;
    assert(at >= ps->start && at <= ps->end);
    *line = 1;
    for (p = ps->start; p < at; p++) {
        if (*p == '\n') {
            ++*line;
            line_start = p + 1;
        }
    }
    *column = (size_t)(at - line_start) + 1;
}

static int json_fail(struct json_parser *ps, const char *at, const char *what)
{
    size_t line, column;
    json_locate(ps, at, &line, &column);
    return sbx_err_set(ps->err, EINVAL, "%s at line %zu column %zu", what, line, column);
}

static int json_over_limit(struct json_parser *ps, const char *what, unsigned limit)
{
    size_t line, column;
    json_locate(ps, ps->p, &line, &column);
    return sbx_err_set(ps->err, E2BIG, "%s than the limit of %u at line %zu column %zu", what,
                       limit, line, column);
}

/* `wanted` is missing at ps->p: another byte is there, or none. */
static int json_expected(struct json_parser *ps, const char *wanted)
{
    size_t line, column;
    if (ps->p == ps->end && ps->cut)
        return json_fail(ps, ps->p, "invalid UTF-8");
    json_locate(ps, ps->p, &line, &column);
    return sbx_err_set(ps->err, EINVAL, "%sexpected %s at line %zu column %zu",
                       ps->p < ps->end ? "" : "the text ends early: ", wanted, line, column);
}

static void json_skip_blank(struct json_parser *ps)
{
    const char *p = ps->p;
    while (p < ps->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    ps->p = p;
}

/* --- values --- */

static bool json_add_chunk(struct json_parser *ps)
{
    size_t size = ps->chunk_size == 0 ? JSON_FIRST_CHUNK : ps->chunk_size * 2;
    struct sbx_json *chunk;
    if (size > JSON_LAST_CHUNK)
        size = JSON_LAST_CHUNK;
    chunk = sbx_mem_alloc(size * sizeof *chunk);
    if (chunk == NULL)
        return false;
    chunk[0] = (struct sbx_json){.next = ps->doc->values};
    ps->doc->values = chunk;
    ps->chunk_size = size;
    ps->chunk_used = 1;
    return true;
}

static void json_link(struct json_parser *ps, struct sbx_json *v)
{
    struct json_level *level;
    if (ps->depth == 0) {
        assert(ps->doc->root == NULL);
        ps->doc->root = v;
        return;
    }
    level = &ps->levels[ps->depth - 1];
    if (level->last == NULL)
        level->container->child = v;
    else
        level->last->next = v;
    level->last = v;
    level->container->count++;
    if (level->container->type == SBX_JSON_OBJECT)
        v->key = ps->key;
}

/* NULL after an error, whose code is then in ps->err. */
static struct sbx_json *json_new_value(struct json_parser *ps, enum sbx_json_type type)
{
    struct sbx_json *v;
    if (ps->doc->nvalues == SBX_JSON_MAX_VALUES) {
        (void)json_over_limit(ps, "more values", SBX_JSON_MAX_VALUES);
        return NULL;
    }
    if (ps->chunk_used == ps->chunk_size && !json_add_chunk(ps)) {
        (void)sbx_err_set(ps->err, ENOMEM, "out of memory");
        return NULL;
    }
    v = &ps->doc->values[ps->chunk_used++];
    *v = (struct sbx_json){.type = type};
    ps->doc->nvalues++;
    json_link(ps, v);
    return v;
}

/* --- strings --- */

static int json_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits after "\u" at ps->p. */
static int json_read_unit(struct json_parser *ps, uint32_t *unit)
{
    int i;
    *unit = 0;
    ps->p += 2;
    for (i = 0; i < 4; i++, ps->p++) {
        int digit = ps->p < ps->end ? json_hex_digit(*ps->p) : -1;
        if (digit < 0)
            return json_expected(ps, "four hexadecimal digits after \\u");
        *unit = *unit << 4 | (uint32_t)digit;
    }
    return 0;
}

/* A "\u" escape, or a pair of them that is one character (RFC 8259, section 7). */
static int json_read_unicode(struct json_parser *ps)
{
    const char *at = ps->p;
    uint32_t cp, low = 0;
    uint8_t utf8[4];
    size_t len;
    int rc = json_read_unit(ps, &cp);
    if (rc == 0 && cp >= 0xD800 && cp < 0xDC00 && ps->end - ps->p >= 2 && ps->p[0] == '\\' &&
        ps->p[1] == 'u') {
        rc = json_read_unit(ps, &low);
        if (low >= 0xDC00 && low < 0xE000)
            cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
    }
    if (rc != 0)
        return rc;
    if (cp >= 0xD800 && cp < 0xE000)
        return json_fail(ps, at, "a lone surrogate");
    len = sbx_utf8_encode(cp, utf8);
    memcpy(ps->out, utf8, len);
    ps->out += len;
    return 0;
}

static int json_read_escape(struct json_parser *ps)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *hit;
    if (ps->end - ps->p < 2) {
        ps->p = ps->end;
        return json_expected(ps, "an escape letter after '\\'");
    }
    if (ps->p[1] == 'u')
        return json_read_unicode(ps);
    hit = memchr(from, ps->p[1], sizeof from - 1);
    if (hit == NULL)
        return json_fail(ps, ps->p, "an unknown escape");
    *ps->out++ = to[hit - from];
    ps->p += 2;
    return 0;
}

/* ps->p is at the opening quote; text becomes the decoded string. */
static int json_read_string(struct json_parser *ps, struct sbx_str *text)
{
    char *first = ps->out;
    ps->p++;
    for (;;) {
        size_t run = sbx_json_clean_run((const uint8_t *)ps->p, (size_t)(ps->end - ps->p));
        int rc;
        memcpy(ps->out, ps->p, run);
        ps->out += run;
        ps->p += run;
        if (ps->p == ps->end)
            return json_expected(ps, "'\"' at the end of a string");
        if (*ps->p == '"')
            break;
        if (*ps->p != '\\')
            return json_fail(ps, ps->p, "a control character inside a string");
        rc = json_read_escape(ps);
        if (rc != 0)
            return rc;
    }
    ps->p++;
    *text = (struct sbx_str){first, (size_t)(ps->out - first)};
    return 0;
}

/* --- numbers and words --- */

static bool json_at_digit(const struct json_parser *ps)
{
    return ps->p < ps->end && *ps->p >= '0' && *ps->p <= '9';
}

static int json_read_digits(struct json_parser *ps, const char *wanted)
{
    if (!json_at_digit(ps))
        return json_expected(ps, wanted);
    while (json_at_digit(ps))
        ps->p++;
    return 0;
}

static int json_read_integer(struct json_parser *ps)
{
    const char *first;
    if (*ps->p == '-')
        ps->p++;
    first = ps->p;
    if (json_read_digits(ps, "a digit after '-'") != 0)
        return -EINVAL;
    if (*first == '0' && ps->p - first > 1)
        return json_fail(ps, first, "a number with a leading zero");
    return 0;
}

static int json_skip_number(struct json_parser *ps)
{
    int rc = json_read_integer(ps);
    if (rc == 0 && ps->p < ps->end && *ps->p == '.') {
        ps->p++;
        rc = json_read_digits(ps, "a digit after '.'");
    }
    if (rc == 0 && ps->p < ps->end && (*ps->p == 'e' || *ps->p == 'E')) {
        ps->p++;
        if (ps->p < ps->end && (*ps->p == '+' || *ps->p == '-'))
            ps->p++;
        rc = json_read_digits(ps, "a digit in the exponent");
    }
    return rc;
}

static int json_read_number(struct json_parser *ps, struct sbx_str *text)
{
    const char *first = ps->p;
    size_t n;
    int rc = json_skip_number(ps);
    if (rc != 0)
        return rc;
    n = (size_t)(ps->p - first);
    memcpy(ps->out, first, n);
    *text = (struct sbx_str){ps->out, n};
    ps->out += n;
    return 0;
}

static int json_read_word(struct json_parser *ps, const char *word)
{
    const char *first = ps->p, *w;
    for (w = word; *w != '\0'; w++, ps->p++) {
        if (ps->p < ps->end && *ps->p == *w)
            continue;
        if (ps->p < ps->end)
            ps->p = first;
        return json_expected(ps, "a value");
    }
    return 0;
}

/* --- the states --- */

static int json_open_container(struct json_parser *ps, enum sbx_json_type type)
{
    struct sbx_json *v;
    if (ps->depth == SBX_JSON_MAX_DEPTH)
        return json_over_limit(ps, "nesting deeper", SBX_JSON_MAX_DEPTH);
    v = json_new_value(ps, type);
    if (v == NULL)
        return ps->err->code;
    ps->levels[ps->depth++] = (struct json_level){v, NULL};
    ps->p++;
    return type == SBX_JSON_OBJECT ? JSON_STATE_FIRST_KEY : JSON_STATE_FIRST_ITEM;
}

static int json_close_container(struct json_parser *ps)
{
    assert(ps->depth > 0);
    ps->depth--;
    ps->p++;
    return JSON_STATE_AFTER;
}

static int json_read_scalar(struct json_parser *ps, enum sbx_json_type type)
{
    struct sbx_json *v = json_new_value(ps, type);
    int rc;
    if (v == NULL)
        return ps->err->code;
    if (type == SBX_JSON_STRING)
        rc = json_read_string(ps, &v->text);
    else if (type == SBX_JSON_NUMBER)
        rc = json_read_number(ps, &v->text);
    else if (type == SBX_JSON_NULL)
        rc = json_read_word(ps, "null");
    else {
        v->truth = *ps->p == 't';
        rc = json_read_word(ps, v->truth ? "true" : "false");
    }
    return rc != 0 ? rc : JSON_STATE_AFTER;
}

static int json_step_value(struct json_parser *ps)
{
    switch (ps->p < ps->end ? *ps->p : '\0') {
    case '{':
        return json_open_container(ps, SBX_JSON_OBJECT);
    case '[':
        return json_open_container(ps, SBX_JSON_ARRAY);
    case '"':
        return json_read_scalar(ps, SBX_JSON_STRING);
    case 't':
    case 'f':
        return json_read_scalar(ps, SBX_JSON_BOOL);
    case 'n':
        return json_read_scalar(ps, SBX_JSON_NULL);
    case '-':
        return json_read_scalar(ps, SBX_JSON_NUMBER);
    default:
        if (json_at_digit(ps))
            return json_read_scalar(ps, SBX_JSON_NUMBER);
        return json_expected(ps, "a value");
    }
}

static int json_step_key(struct json_parser *ps)
{
    int rc;
    if (ps->p == ps->end || *ps->p != '"')
        return json_expected(ps, "a member name in '\"'");
    rc = json_read_string(ps, &ps->key);
    if (rc != 0)
        return rc;
    json_skip_blank(ps);
    if (ps->p == ps->end || *ps->p != ':')
        return json_expected(ps, "':'");
    ps->p++;
    return JSON_STATE_VALUE;
}

static int json_step_after(struct json_parser *ps)
{
    bool object;
    if (ps->depth == 0) {
        if (ps->p == ps->end && !ps->cut)
            return JSON_STATE_DONE;
        return json_expected(ps, "the end of the text");
    }
    object = ps->levels[ps->depth - 1].container->type == SBX_JSON_OBJECT;
    if (ps->p < ps->end && *ps->p == (object ? '}' : ']'))
        return json_close_container(ps);
    if (ps->p == ps->end || *ps->p != ',')
        return json_expected(ps, object ? "',' or '}'" : "',' or ']'");
    ps->p++;
    return object ? JSON_STATE_KEY : JSON_STATE_VALUE;
}

/* Returns the next state, negative after an error. */
static int json_step(struct json_parser *ps, enum json_state state)
{
    bool more = ps->p < ps->end;
    switch (state) {
    case JSON_STATE_FIRST_ITEM:
        return more && *ps->p == ']' ? json_close_container(ps) : json_step_value(ps);
    case JSON_STATE_FIRST_KEY:
        if (more && *ps->p == '}')
            return json_close_container(ps);
        return more && *ps->p == '"' ? json_step_key(ps)
                                     : json_expected(ps, "a member name in '\"' or '}'");
    case JSON_STATE_KEY:
        return json_step_key(ps);
    case JSON_STATE_AFTER:
        return json_step_after(ps);
    case JSON_STATE_VALUE:
    case JSON_STATE_DONE:
        break;
    }
    return json_step_value(ps);
}

static int json_run(struct json_parser *ps)
{
    int state = JSON_STATE_VALUE;
    while (state >= 0 && state != JSON_STATE_DONE) {
        json_skip_blank(ps);
        state = json_step(ps, (enum json_state)state);
    }
    assert(state < 0 || ps->depth == 0);
    return state < 0 ? state : 0;
}

int sbx_json_parse(struct sbx_json_doc *doc, struct sbx_str text, struct sbx_err *err)
{
    struct json_parser ps;
    size_t valid = sbx_utf8_valid_prefix((const uint8_t *)text.p, text.n);
    int rc;
    memset(doc, 0, sizeof *doc);
    memset(&ps, 0, offsetof(struct json_parser, levels));
    if (text.n == 0)
        text.p = "";
    ps.doc = doc;
    ps.err = err;
    ps.start = ps.p = text.p;
    ps.end = text.p + valid;
    ps.cut = valid < text.n;
    if (sbx_str_starts_with(text, "\xEF\xBB\xBF"))
        return json_fail(&ps, ps.p, "a byte order mark is not allowed");
    doc->strings = sbx_mem_alloc(text.n + 1);
    if (doc->strings == NULL)
        return sbx_err_set(err, ENOMEM, "out of memory");
    ps.out = doc->strings;
    rc = json_run(&ps);
    assert(ps.out <= doc->strings + text.n);
    if (rc != 0)
        sbx_json_doc_deinit(doc);
    return rc;
}

void sbx_json_doc_deinit(struct sbx_json_doc *doc)
{
    while (doc->values != NULL) {
        struct sbx_json *chunk = doc->values;
        doc->values = chunk->next;
        sbx_mem_free(chunk);
    }
    sbx_mem_free(doc->strings);
    memset(doc, 0, sizeof *doc);
}

/* --- looking at values --- */

const struct sbx_json *sbx_json_get(const struct sbx_json *object, const char *name, bool *dup)
{
    const struct sbx_json *v, *found = NULL;
    assert(object->type == SBX_JSON_OBJECT);
    if (dup != NULL)
        *dup = false;
    for (v = object->child; v != NULL; v = v->next) {
        if (!sbx_str_eq_z(v->key, name))
            continue;
        if (found == NULL)
            found = v;
        else if (dup != NULL)
            *dup = true;
    }
    return found;
}

int sbx_json_to_u64(const struct sbx_json *v, uint64_t *value)
{
    return v->type == SBX_JSON_NUMBER ? sbx_str_to_u64(v->text, value) : -EINVAL;
}

const char *sbx_json_type_name(enum sbx_json_type type)
{
    static const char *const names[] = {
        [SBX_JSON_NULL] = "null",       [SBX_JSON_BOOL] = "a boolean",
        [SBX_JSON_NUMBER] = "a number", [SBX_JSON_STRING] = "a string",
        [SBX_JSON_ARRAY] = "an array",  [SBX_JSON_OBJECT] = "an object",
    };
    assert((size_t)type < sizeof names / sizeof names[0]);
    return names[type];
}
