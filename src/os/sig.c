/* sig.c - see sig.h.
 *
 * A handler can reach nothing but file-level state, so the pipe's two descriptors live here. The
 * handler writes the signal's number and keeps errno; a full pipe drops the byte, which loses
 * nothing: the same signal is already waiting in it, and the loop collects all children on one. */
#include "os/sig.h"
#include "os/fd.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static int sig_pipe_read = -1;
static volatile sig_atomic_t sig_pipe_write = -1;

static void sig_on_signal(int sig)
{
    int keep = errno;
    unsigned char byte = (unsigned char)sig;
    ssize_t ignored = write(sig_pipe_write, &byte, 1);
    (void)ignored;
    errno = keep;
}

static int sig_catch(int sig)
{
    struct sigaction sa = {.sa_handler = sig_on_signal, .sa_flags = SA_RESTART};
    sigfillset(&sa.sa_mask);
    return sigaction(sig, &sa, NULL) < 0 ? -errno : 0;
}

static void sig_note_ignored(sigset_t *set)
{
    int sig;
    for (sig = 1; sig < NSIG; sig++) {
        struct sigaction sa;
        if (sigaction(sig, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN)
            sigaddset(set, sig);
    }
}

static const int sig_caught[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR2};

/* Their errors are wanted: EPIPE, and EFBIG where a limit of file size stops the store. */
static const int sig_ignored[] = {SIGPIPE, SIGXFSZ};

#define SIG_IGNORED (sizeof sig_ignored / sizeof sig_ignored[0])
#define SIG_CAUGHT (sizeof sig_caught / sizeof sig_caught[0])

int sbx_sig_open(sigset_t *child_reset)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t none;
    size_t i;
    int r = -1, w = -1, rc;
    sigemptyset(child_reset);
    sig_note_ignored(child_reset);
    rc = sbx_fd_pipe(&r, &w);
    if (rc < 0)
        return rc;
    (void)sbx_fd_set_nonblock(r);
    (void)sbx_fd_set_nonblock(w);
    sig_pipe_read = r;
    sig_pipe_write = w;
    for (i = 0; i < SIG_CAUGHT; i++) {
        if (sig_caught[i] == SIGHUP && sigismember(child_reset, SIGHUP))
            continue;
        rc = sig_catch(sig_caught[i]);
        if (rc < 0)
            return rc;
        sigaddset(child_reset, sig_caught[i]);
    }
    for (i = 0; i < SIG_IGNORED; i++) {
        (void)sigaction(sig_ignored[i], &ignore, NULL);
        sigaddset(child_reset, sig_ignored[i]);
    }
    /* Whoever started us may have blocked what we wait for. */
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    return r;
}

void sbx_sig_close(void)
{
    int w = sig_pipe_write;
    sig_pipe_write = -1;
    sbx_fd_close(&w);
    sbx_fd_close(&sig_pipe_read);
}

/* What is ignored stays so: every open ignores it and has children reset it, whatever it was. */
void sbx_sig_reset(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL}, now;
    size_t i;
    for (i = 0; i < SIG_CAUGHT; i++)
        if (sigaction(sig_caught[i], NULL, &now) == 0 && now.sa_handler == sig_on_signal)
            (void)sigaction(sig_caught[i], &dfl, NULL);
    sbx_sig_close();
}

int sbx_sig_next(void)
{
    unsigned char byte;
    return sbx_fd_read(sig_pipe_read, &byte, 1) == 1 ? byte : 0;
}

const char *sbx_sig_name(int sig, char buf[16])
{
    static const struct {
        int sig;
        const char *name;
    } names[] = {
        {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},       {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},
        {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"},     {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
        {SIGKILL, "SIGKILL"}, {SIGUSR1, "SIGUSR1"},     {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"},
        {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"},     {SIGTERM, "SIGTERM"}, {SIGXCPU, "SIGXCPU"},
        {SIGXFSZ, "SIGXFSZ"}, {SIGVTALRM, "SIGVTALRM"}, {SIGPROF, "SIGPROF"}, {SIGSYS, "SIGSYS"},
        {SIGIO, "SIGIO"},
#ifdef SIGPWR
        {SIGPWR, "SIGPWR"},
#endif
#ifdef SIGSTKFLT
        {SIGSTKFLT, "SIGSTKFLT"},
#endif
    };
    size_t i;
    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].sig == sig)
            return names[i].name;
    (void)snprintf(buf, 16, "SIG%d", sig);
    return buf;
}
