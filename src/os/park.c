/* park.c - see park.h. */
#include "os/park.h"

#include <poll.h>

#ifdef __linux__
#include <sys/epoll.h>
#include <unistd.h>

#define PARK_BATCH 64

int sbx_park_open(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

/* On Linux the poll and epoll event bits have the same values (both are the kernel's EPOLL*
 * constants), which these assertions hold us to. */
_Static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLERR == EPOLLERR &&
                   POLLHUP == EPOLLHUP && POLLRDHUP == EPOLLRDHUP,
               "poll and epoll bits differ");

bool sbx_park_add(int park, int fd, short events, void *tag)
{
    struct epoll_event ev = {.events = (uint32_t)(unsigned short)events, .data.ptr = tag};
    return epoll_ctl(park, EPOLL_CTL_ADD, fd, &ev) == 0;
}

void sbx_park_remove(int park, int fd)
{
    struct epoll_event unused = {0};
    (void)epoll_ctl(park, EPOLL_CTL_DEL, fd, &unused);
}

size_t sbx_park_ready(int park, void **tags, short *revents, size_t cap)
{
    struct epoll_event ev[PARK_BATCH];
    int want = cap < PARK_BATCH ? (int)cap : PARK_BATCH;
    int i, n = epoll_wait(park, ev, want, 0);
    for (i = 0; i < n; i++) {
        tags[i] = ev[i].data.ptr;
        revents[i] = (short)ev[i].events;
    }
    return n > 0 ? (size_t)n : 0;
}

#else

int sbx_park_open(void)
{
    return -1;
}

bool sbx_park_add(int park, int fd, short events, void *tag)
{
    (void)park;
    (void)fd;
    (void)events;
    (void)tag;
    return false;
}

void sbx_park_remove(int park, int fd)
{
    (void)park;
    (void)fd;
}

size_t sbx_park_ready(int park, void **tags, short *revents, size_t cap)
{
    (void)park;
    (void)tags;
    (void)revents;
    (void)cap;
    return 0;
}
#endif
