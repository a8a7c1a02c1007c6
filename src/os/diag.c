/* diag.c - see diag.h. A line is one write(2), so lines of the agent and of others on the same
 * stderr do not mix. A full or closed stderr loses the line; it must not stop the agent. */
#include "os/diag.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const diag_words[] = {"error", "warn", "info", "debug"};

int sbx_diag_parse_level(const char *word, enum sbx_diag_level *level)
{
    size_t i;
    for (i = 0; i < sizeof diag_words / sizeof diag_words[0]; i++) {
        if (strcmp(word, diag_words[i]) == 0) {
            *level = (enum sbx_diag_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

static size_t diag_stamp(char *out, size_t cap, enum sbx_diag_level level)
{
    struct timespec ts;
    struct tm tm;
    int n;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    n = snprintf(out, cap, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s ", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                 ts.tv_nsec / 1000000L, diag_words[level]);
    return n > 0 ? (size_t)n : 0;
}

void sbx_diag(const struct sbx_diag *d, enum sbx_diag_level level, const char *fmt, ...)
{
    char line[600];
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    size_t start, n, i;
    va_list ap;
    int m;
    if (level > d->level)
        return;
    start = diag_stamp(line, sizeof line, level);
    va_start(ap, fmt);
    m = vsnprintf(line + start, sizeof line - start - 1, fmt, ap);
    va_end(ap);
    n = start + (m > 0 ? strlen(line + start) : 0);
    for (i = start; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[n++] = '\n';
    /* Nobody reads it: the line is lost, for a full pipe must not stop a server or its keeper. What
     * poll() says has room takes a line at once. */
    if (poll(&ready, 1, 0) == 0)
        return;
    while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
        continue;
}
