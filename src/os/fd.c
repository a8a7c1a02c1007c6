/* fd.c - see fd.h. */
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#endif

int sbx_fd_set_cloexec(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
        return -errno;
    return 0;
}

int sbx_fd_clear_cloexec(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0 || fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC) < 0)
        return -errno;
    return 0;
}

int sbx_fd_set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

int sbx_fd_pipe(int *read_end, int *write_end)
{
    int p[2];
#if defined(__linux__) || defined(__FreeBSD__)
    if (pipe2(p, O_CLOEXEC) < 0)
        return -errno;
#else
    /* No other thread forks, so nothing can inherit the ends before they are marked. */
    if (pipe(p) < 0)
        return -errno;
    (void)sbx_fd_set_cloexec(p[0]);
    (void)sbx_fd_set_cloexec(p[1]);
#endif
    *read_end = p[0];
    *write_end = p[1];
    return 0;
}

int sbx_fd_open_null(bool for_writing)
{
    int fd = open("/dev/null", (for_writing ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
    int r = -1, w = -1, rc;
    if (fd >= 0)
        return fd;
    if (errno == EMFILE || errno == ENFILE)
        return -errno;
    /* An empty root directory has no /dev/null. A pipe whose other end is closed reads as end of
     * file just the same; for writing there is no such substitute. */
    if (for_writing)
        return -errno;
    rc = sbx_fd_pipe(&r, &w);
    if (rc < 0)
        return rc;
    (void)close(w);
    return r;
}

int sbx_fd_packet_pair(int *a, int *b)
{
    int s[2];
#ifdef SOCK_CLOEXEC
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s) < 0)
        return -errno;
#else
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) < 0)
        return -errno;
    (void)sbx_fd_set_cloexec(s[0]);
    (void)sbx_fd_set_cloexec(s[1]);
#endif
    *a = s[0];
    *b = s[1];
    return 0;
}

int sbx_fd_open_unnamed(void)
{
    char path[] = "/tmp/sandbox-agent.XXXXXX";
    int fd;
#ifdef MFD_CLOEXEC
    fd = memfd_create("sandbox-agent", MFD_CLOEXEC);
    if (fd >= 0)
        return fd;
#endif
    fd = mkstemp(path);
    if (fd < 0)
        return -errno;
    (void)sbx_fd_set_cloexec(fd);
    (void)unlink(path);
    return fd;
}

void sbx_fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

size_t sbx_fd_readable_bytes(int fd)
{
    int n = 0;
    if (ioctl(fd, FIONREAD, &n) < 0 || n < 0)
        return 0;
    return (size_t)n;
}

void sbx_fd_grow_pipe(int fd, size_t bytes)
{
#ifdef F_SETPIPE_SZ
    (void)fcntl(fd, F_SETPIPE_SZ, (int)bytes);
#else
    (void)fd;
    (void)bytes;
#endif
}

ssize_t sbx_fd_read(int fd, void *p, size_t n)
{
    ssize_t got;
    do
        got = read(fd, p, n);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

ssize_t sbx_fd_write(int fd, const void *p, size_t n)
{
    ssize_t put;
    do
        put = write(fd, p, n);
    while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

static size_t fd_soft_limit(void)
{
    struct rlimit rl;
    if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur == RLIM_INFINITY || rl.rlim_cur > 1048576)
        return 1048576;
    return (size_t)rl.rlim_cur;
}

static void fd_mark_above_two(void)
{
    int fd, top = (int)fd_soft_limit();
#if defined(__linux__) && defined(SYS_close_range)
    if (syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */) == 0)
        return;
#endif
    for (fd = 3; fd < top; fd++)
        (void)sbx_fd_set_cloexec(fd);
}

int sbx_fd_adopt_inherited(void)
{
    int fd;
    for (fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        if (open("/dev/null", O_RDWR) < 0 && sbx_fd_open_null(false) < 0)
            return -errno;
    }
    fd_mark_above_two();
    return 0;
}

size_t sbx_fd_raise_limit(size_t *original)
{
    struct rlimit rl;
    *original = fd_soft_limit();
    if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
        rl.rlim_cur = rl.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &rl);
    }
    return fd_soft_limit();
}

void sbx_fd_restore_limit(size_t original)
{
    struct rlimit rl;
    if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || fd_soft_limit() == original)
        return;
    rl.rlim_cur = original;
    (void)setrlimit(RLIMIT_NOFILE, &rl);
}
