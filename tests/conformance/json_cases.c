/* json_cases.c - reads cases from standard input, "NAME LENGTH\n" and that many bytes each, and
 * says of each in a line whether base/json_read takes it. */
#include "base/json_read.h"

#include <stdio.h>
#include <stdlib.h>

static int json_case(const char *name, size_t n)
{
    char *text = malloc(n > 0 ? n : 1);
    struct sbx_json_doc doc;
    struct sbx_err err;
    int rc;
    if (text == NULL || fread(text, 1, n, stdin) != n) {
        free(text);
        return -1;
    }
    rc = sbx_json_parse(&doc, (struct sbx_str){text, n}, &err);
    if (rc == 0)
        sbx_json_doc_deinit(&doc);
    printf("%s %s\n", name, rc == 0 ? "accepted" : "refused");
    free(text);
    return 0;
}

int main(void)
{
    char name[200];
    size_t n;
    while (scanf("%199s %zu", name, &n) == 2)
        if (getchar() != '\n' || json_case(name, n) < 0)
            return 1;
    return 0;
}
