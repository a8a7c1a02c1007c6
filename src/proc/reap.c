/* reap.c - see reap.h. */
#include "proc/reap.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>

void sbx_reap_init(struct sbx_reap *r)
{
    memset(r, 0, sizeof *r);
}

static struct sbx_child **reap_bucket(struct sbx_reap *r, pid_t pid)
{
    return &r->buckets[(unsigned)pid % SBX_REAP_BUCKETS];
}

static struct sbx_child **reap_find(struct sbx_reap *r, pid_t pid)
{
    struct sbx_child **at = reap_bucket(r, pid);
    while (*at != NULL && (*at)->pid != pid)
        at = &(*at)->next;
    return at;
}

void sbx_reap_add(struct sbx_reap *r, struct sbx_child *c)
{
    struct sbx_child **bucket = reap_bucket(r, c->pid);
    assert(c->pid > 0 && *reap_find(r, c->pid) == NULL);
    c->next = *bucket;
    *bucket = c;
}

void sbx_reap_remove(struct sbx_reap *r, struct sbx_child *c)
{
    struct sbx_child **at;
    if (c->pid == 0)
        return;
    at = reap_find(r, c->pid);
    assert(*at == c);
    *at = c->next;
    c->next = NULL;
    c->pid = 0;
}

static struct sbx_exit reap_exit_of(const siginfo_t *info)
{
    struct sbx_exit e = {.kind = SBX_EXIT_UNKNOWN};
    if (info->si_code == CLD_EXITED) {
        e.kind = SBX_EXIT_CODE;
        e.value = info->si_status & 0xff;
    } else if (info->si_code == CLD_KILLED || info->si_code == CLD_DUMPED) {
        e.kind = SBX_EXIT_SIGNAL;
        e.value = info->si_status;
        e.core = info->si_code == CLD_DUMPED;
    }
    return e;
}

/* The next child that has ended, left in place. */
static bool reap_peek(siginfo_t *info)
{
    int rc;
    do {
        memset(info, 0, sizeof *info);
        rc = waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT);
    } while (rc < 0 && errno == EINTR);
    return rc == 0 && info->si_pid > 0;
}

void sbx_reap_collect(struct sbx_reap *r)
{
    siginfo_t info;
    while (reap_peek(&info)) {
        struct sbx_child *c = *reap_find(r, info.si_pid);
        struct sbx_exit exit = reap_exit_of(&info);
        if (c != NULL) {
            /* First, since the owner may free it; its pid stays taken until the wait below. */
            sbx_reap_remove(r, c);
            c->on_exit(c, &exit);
        }
        while (waitpid(info.si_pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
}
