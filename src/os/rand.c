/* rand.c - see rand.h.
 *
 * The system call comes first: it needs no descriptor and no /dev, and before the generator is
 * seeded it waits where /dev/urandom would answer. The device is for systems without such a call,
 * and for kernels and seccomp profiles that refuse it. Either the whole of what was asked for is
 * there or an error is returned: a secret that is half zeroes looks like one that is not. */
#include "os/rand.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__linux__) || defined(__APPLE__)
#include <sys/random.h>
#endif

#define RAND_ENTROPY_MAX 256u /* getentropy refuses more at a time */

/* Bytes written, or less than 1 when there is no such call or it failed. */
static ssize_t rand_ask(uint8_t *p, size_t n)
{
#if defined(__linux__)
    ssize_t got;
    do
        got = getrandom(p, n, 0);
    while (got < 0 && errno == EINTR);
    return got;
#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__)
    size_t some = n < RAND_ENTROPY_MAX ? n : RAND_ENTROPY_MAX;
    return getentropy(p, some) == 0 ? (ssize_t)some : -1;
#else
    (void)p;
    (void)n;
    return -1;
#endif
}

/* An ordinary file of that name, as an image might hold, would be the same secret everywhere. */
static int rand_check_device(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISCHR(st.st_mode) ? 0 : -ENODEV;
}

static int rand_read_device(uint8_t *p, size_t n)
{
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : rand_check_device(fd);
    while (rc == 0 && n > 0) {
        ssize_t got = sbx_fd_read(fd, p, n);
        if (got <= 0) {
            rc = got < 0 ? (int)got : -EIO;
        } else {
            p += got;
            n -= (size_t)got;
        }
    }
    sbx_fd_close(&fd);
    return rc;
}

int sbx_rand_bytes(void *p, size_t n)
{
    uint8_t *at = p;
    while (n > 0) {
        ssize_t got = rand_ask(at, n);
        if (got <= 0)
            return rand_read_device(at, n);
        at += got;
        n -= (size_t)got;
    }
    return 0;
}
