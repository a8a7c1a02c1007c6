/* fuzz_logs.c - any bytes as the query and the Last-Event-ID of a request for the log of a process.
 *
 * Input: one byte that chooses the process and the method, the query up to a line feed, the rest
 * is the header's value. What cannot stand in a request line is percent-encoded before it is sent.
 * The query is read here once more, in another way: entries that are sent come after the position
 * that was asked for, are in order, and are no more than was asked for; a number that is none is
 * refused. One server serves all inputs, since none of them changes anything. */
#include "../unit/api_rig.h"
#include "../unit/wire.h"

#define LOGS_PROCESSES 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the parameters that are written without percent-encoding say. */
struct logs_want {
    uint64_t since;
    bool has_tail;
    uint64_t tail;
    bool bad; /* one of them cannot be right */
};

/* --- the server: four ended processes --- */

static struct sbx_proc *logs_talk(struct api_rig *rig, bool tty, unsigned lines)
{
    struct sbx_proc *p = api_rig_start(rig, "cat", NULL, tty);
    char text[40];
    unsigned i;
    assert(p != NULL);
    for (i = 0; i < lines; i++) {
        int n = snprintf(text, sizeof text, "line %u of text \xc3\xa9 \xff%s", i,
                         i % 3 == 2 ? "" : "\n");
        assert(sbx_proc_input(p, text, (size_t)n, false) == 0);
        api_rig_settle(rig);
    }
    sbx_proc_kill(p);
    api_rig_pass(rig, 3000000, 3);
    return p;
}

static struct api_rig *logs_server(void)
{
    static struct api_rig rig;
    if (rig.host.store != NULL)
        return &rig;
    api_rig_open(&rig, NULL);
    (void)logs_talk(&rig, false, 9);
    (void)logs_talk(&rig, true, 4);
    rig.host.limits.max_log_bytes_per_process = 100;
    (void)logs_talk(&rig, false, 12); /* the first entries are gone */
    (void)api_rig_start(&rig, "fail", "no\noutput", false);
    api_rig_settle(&rig);
    return &rig;
}

/* --- the request --- */

static size_t logs_put_query(char *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    size_t i, len = 0;
    for (i = 0; i < n; i++) {
        if (p[i] > 0x20 && p[i] < 0x7f) {
            out[len++] = (char)p[i];
        } else {
            out[len++] = '%';
            out[len++] = digits[p[i] >> 4];
            out[len++] = digits[p[i] & 15];
        }
    }
    return len;
}

static size_t logs_put_value(char *out, const uint8_t *p, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++)
        out[i] = p[i] < 0x20 || p[i] == 0x7f ? '.' : (char)p[i];
    return n;
}

static size_t logs_request(char *out, uint8_t choice, const uint8_t *query, size_t nquery,
                           const uint8_t *value, size_t nvalue)
{
    size_t n = (size_t)sprintf(out, "%s /v1/processes/proc_%u/logs?",
                               (choice & 0x80) != 0 ? "HEAD" : "GET",
                               1 + choice % LOGS_PROCESSES);
    n += logs_put_query(out + n, query, nquery);
    n += (size_t)sprintf(out + n, " HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: ");
    n += logs_put_value(out + n, value, nvalue);
    n += (size_t)sprintf(out + n, "\r\n\r\n");
    return n;
}

/* --- what is to be expected --- */

static bool logs_number(struct sbx_str text, uint64_t *value, bool *bad)
{
    uint64_t n = 0;
    size_t i;
    *bad = true;
    for (i = 0; i < text.n; i++) {
        unsigned digit = (unsigned)(uint8_t)text.p[i] - '0';
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *bad = text.n == 0;
    *value = n;
    return text.n > 0;
}

static void logs_expect_param(struct logs_want *want, struct sbx_str param)
{
    bool tail = sbx_str_starts_with(param, "tail="), bad = false;
    uint64_t n;
    if (!tail && !sbx_str_starts_with(param, "since="))
        return;
    param.p += tail ? 5 : 6;
    param.n -= tail ? 5 : 6;
    if (memchr(param.p, '%', param.n) != NULL)
        return;
    if (!logs_number(param, &n, &bad)) {
        want->bad |= bad;
    } else if (tail) {
        want->has_tail = true;
        want->tail = n;
    } else if (n > want->since) {
        want->since = n;
    }
}

static struct logs_want logs_expect(const char *query, struct sbx_str id)
{
    struct logs_want want = {.bad = false};
    size_t n = strcspn(query, " "), i = 0;
    bool bad = false;
    uint64_t after;
    while (i <= n) {
        size_t end = i;
        while (end < n && query[end] != '&' && query[end] != '#')
            end++;
        logs_expect_param(&want, (struct sbx_str){query + i, end - i});
        i = end + 1;
        if (end < n && query[end] == '#')
            break; /* a fragment has no place here: refused, or what comes after it is not read */
    }
    id = sbx_str_trim(id);
    if (id.n > 0 && logs_number(id, &after, &bad) && after > want.since)
        want.since = after;
    want.bad |= bad;
    return want;
}

/* Numbers behind each occurrence of a text; they have to rise, from above `after`. */
static size_t logs_check_rising(const struct api_rig_peer *peer, const char *before, uint64_t after)
{
    const char *at = (const char *)peer->got, *end = at + peer->ngot;
    size_t count = 0;
    while ((at = memmem(at, (size_t)(end - at), before, strlen(before))) != NULL) {
        uint64_t n = strtoull(at + strlen(before), NULL, 10);
        assert(n > after);
        after = n;
        count++;
        at++;
    }
    return count;
}

static void logs_check(struct api_rig_peer *peer, const struct logs_want *want)
{
    struct wire w = {.eof = peer->eof};
    bool heads[1] = {peer->nasks > 0 && peer->asks[0].head};
    size_t count;
    assert(peer->nasks == 1 && peer->ngot > 0);
    wire_check(&w, (const char *)peer->got, peer->ngot, heads, 1);
    assert(w.whole == 1 && (w.last_status == 200 || w.last_status == 400 || w.last_status == 409 ||
                            w.last_status == 414));
    assert(!want->bad || w.last_status != 200);
    if (api_rig_has(peer, "content-type: text/event-stream"))
        count = logs_check_rising(peer, "\nid: ", want->since);
    else if (api_rig_has(peer, "content-type: application/json"))
        count = logs_check_rising(peer, "{\"sequence\":", want->since);
    else
        return;
    assert(!want->has_tail || count <= want->tail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct api_rig *rig = logs_server();
    struct api_rig_peer *peer;
    const uint8_t *query = data + 1, *value;
    struct logs_want want;
    size_t nquery, nvalue;
    char *text;
    if (size < 1 || size > 3000)
        return 0;
    value = memchr(query, '\n', size - 1);
    nquery = value == NULL ? size - 1 : (size_t)(value - query);
    nvalue = value == NULL ? 0 : size - 2 - nquery;
    text = malloc(3 * size + 200);
    assert(text != NULL);
    peer = api_rig_connect(rig);
    api_rig_send(rig, peer, text,
                 logs_request(text, data[0], query, nquery, value == NULL ? query : value + 1,
                              nvalue));
    api_rig_settle(rig);
    want = logs_expect(strchr(text, '?') + 1,
                       (struct sbx_str){strstr(text, "\r\nLast") + 17, nvalue});
    logs_check(peer, &want);
    api_rig_forget(rig, peer);
    free(text);
    return 0;
}
