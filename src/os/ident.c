/* ident.c - see ident.h. Linux tells the start time in clock ticks since boot, in field 22 of
 * /proc/PID/stat (proc(5)); the name in field 2 may contain anything, so fields are counted from
 * its last parenthesis. Other systems have no common way: there a pid is never known again. */
#include "os/ident.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define IDENT_EARLY_US 50000u   /* stamps are rounded down to a tick */
#define IDENT_READ 4096u
#define IDENT_LATE_US 2000000u  /* between our reading of the clock and the fork */

#ifdef __linux__
static ssize_t ident_read(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;
    if (fd < 0)
        return -1;
    got = sbx_fd_read(fd, text, size - 1);
    (void)close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got;
}
#endif

uint64_t sbx_ident_now_us(void)
{
    struct timespec ts;
#ifdef CLOCK_BOOTTIME
    clock_gettime(CLOCK_BOOTTIME, &ts);
#else
    clock_gettime(CLOCK_MONOTONIC, &ts);
#endif
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/* A zombie, too: its number is still its own. False when there is none, or it cannot be told. */
static bool ident_stat(pid_t pid, char *state, uint64_t *started_us)
{
#ifdef __linux__
    char path[48], text[1024];
    const char *at;
    int field;
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    if (pid <= 0 || ident_read(path, text, sizeof text) <= 0)
        return false;
    at = strrchr(text, ')');
    if (at == NULL || strlen(at) < 3)
        return false;
    *state = at[2];
    for (field = 2; field < 22 && at != NULL; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return false;
    *started_us = strtoull(at + 1, NULL, 10) * 1000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    return true;
#else
    (void)pid;
    (void)state;
    (void)started_us;
    return false;
#endif
}

uint64_t sbx_ident_started_us(pid_t pid)
{
    uint64_t at;
    char state;
    return ident_stat(pid, &state, &at) ? at : 0;
}

#ifdef __linux__
/* /proc may be that of another pid namespace: what it tells of a pid is of somebody else then. */
static bool ident_sees_itself(void)
{
    char text[24];
    ssize_t n = readlink("/proc/self", text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return strtol(text, NULL, 10) == (long)getpid();
}

/* The number of a namespace may be given again when it is gone; hardly to one whose first process
 * started in the same tick. */
static void ident_add_namespace(char *text, size_t size)
{
    struct stat st;
    unsigned long long number = stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
    (void)snprintf(text, size, " %llu %llu", number, (unsigned long long)sbx_ident_started_us(1));
}
#endif

void sbx_ident_boot(char text[SBX_BOOT_ID_MAX])
{
    text[0] = '\0';
#ifdef __linux__
    size_t n;
    if (!ident_sees_itself())
        return;
    (void)ident_read("/proc/sys/kernel/random/boot_id", text, SBX_BOOT_ID_MAX);
    n = strcspn(text, "\n");
    text[n] = '\0';
    if (n > 0)
        ident_add_namespace(text + n, SBX_BOOT_ID_MAX - n);
#endif
}

bool sbx_ident_runs(pid_t pid, uint64_t started_us)
{
    uint64_t at;
    char state;
    return ident_stat(pid, &state, &at) && state != 'Z' && state != 'X' &&
           at + IDENT_EARLY_US >= started_us && at <= started_us + IDENT_LATE_US;
}

bool sbx_ident_has_ended(pid_t pid, uint64_t started_us)
{
#ifdef __linux__
    return !sbx_ident_runs(pid, started_us);
#else
    (void)started_us;
    return kill(pid, 0) < 0 && errno == ESRCH;
#endif
}

bool sbx_ident_arguments(pid_t pid, struct sbx_buf *out)
{
#ifdef __linux__
    size_t before = sbx_buf_len(out);
    char path[48];
    uint8_t *to;
    ssize_t got = 0;
    int fd;
    (void)snprintf(path, sizeof path, "/proc/%ld/cmdline", (long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while ((to = sbx_buf_reserve(out, IDENT_READ)) != NULL &&
           (got = sbx_fd_read(fd, to, IDENT_READ)) > 0)
        sbx_buf_commit(out, (size_t)got);
    (void)close(fd);
    return sbx_buf_len(out) > before;
#else
    (void)pid;
    (void)out;
    return false;
#endif
}
