/* ws_cases.c - reads cases from standard input, "NAME LENGTH PIECE\n" and that many bytes each, and
 * says in a line what proto/ws reads in them when they come in pieces of that size: messages by
 * their kind and bytes, pings, pongs, close codes, and the code with which it fails. */
#include "proto/ws.h"

#include <stdio.h>
#include <stdlib.h>

#define WS_MOST 70000u /* bytes of a message; the script says the same to its judge */

static void ws_print(const struct sbx_ws_reader *r)
{
    static const char kinds[] = "?TB?????CPO";
    size_t i;
    if (r->op == SBX_WS_CLOSE) {
        printf(" C%u", r->payload_len < 2 ? 1005u
                                          : (unsigned)r->payload[0] << 8 | r->payload[1]);
        return;
    }
    printf(" %c", kinds[r->op]);
    for (i = 0; i < r->payload_len; i++)
        printf("%02x", r->payload[i]);
}

/* false: nothing more is read after it. */
static bool ws_feed_piece(struct sbx_ws_reader *r, const uint8_t *p, size_t n)
{
    while (n > 0) {
        size_t used;
        enum sbx_ws_event event = sbx_ws_feed(r, p, n, &used);
        if (event == SBX_WS_ERROR) {
            printf(" E%u", r->close_code);
            return false;
        }
        if (event == SBX_WS_MESSAGE) {
            ws_print(r);
            if (r->op == SBX_WS_CLOSE)
                return false;
        }
        p += used;
        n -= used;
    }
    return true;
}

static int ws_case(const char *name, size_t n, size_t piece)
{
    uint8_t *bytes = malloc(n > 0 ? n : 1);
    struct sbx_ws_reader r;
    size_t i;
    if (bytes == NULL || piece == 0 || fread(bytes, 1, n, stdin) != n) {
        free(bytes);
        return -1;
    }
    printf("%s", name);
    sbx_ws_reader_init(&r, WS_MOST);
    for (i = 0; i < n; i += piece)
        if (!ws_feed_piece(&r, bytes + i, n - i < piece ? n - i : piece))
            break;
    sbx_ws_reader_deinit(&r);
    printf("\n");
    free(bytes);
    return 0;
}

int main(void)
{
    char name[200];
    size_t n, piece;
    while (scanf("%199s %zu %zu", name, &n, &piece) == 3)
        if (getchar() != '\n' || ws_case(name, n, piece) < 0)
            return 1;
    return 0;
}
