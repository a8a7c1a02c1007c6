/* shm.c - see shm.h. Asks base/mem's gate as well, so that tests can make it fail. */
#include "os/shm.h"
#include "base/mem.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

int sbx_shm_open(void)
{
#if defined(MFD_CLOEXEC)
    int fd;
    if (!sbx_mem_may_alloc())
        return -ENOMEM;
    fd = memfd_create("sandbox-agent", MFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
#else
    return -ENOTSUP;
#endif
}

int sbx_shm_size(int fd, uint64_t *bytes)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *bytes = (uint64_t)st.st_size;
    return 0;
}

int sbx_shm_grow(int fd, uint64_t bytes)
{
    return ftruncate(fd, (off_t)bytes) < 0 ? -errno : 0;
}

void *sbx_shm_map(int fd, uint64_t offset, size_t n)
{
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *p;
    if (!sbx_mem_may_alloc())
        return NULL;
    p = mmap(NULL, n, PROT_READ | PROT_WRITE, flags, fd, fd < 0 ? 0 : (off_t)offset);
    return p == MAP_FAILED ? NULL : p;
}

void sbx_shm_unmap(void *p, size_t n)
{
    (void)munmap(p, n);
}

void sbx_shm_release(int fd, void *p, size_t n)
{
#ifdef MADV_REMOVE
    (void)madvise(p, n, fd < 0 ? MADV_DONTNEED : MADV_REMOVE);
#else
    (void)fd;
    (void)p;
    (void)n;
#endif
}
