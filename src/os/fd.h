/* fd.h - the one place where descriptors are made: always close-on-exec, non-blocking where they
 * are polled. A child of the agent therefore sees 0, 1 and 2 and nothing else. */
#ifndef SBX_OS_FD_H
#define SBX_OS_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* All return 0 (or a descriptor) or a negative errno. */
int sbx_fd_pipe(int *read_end, int *write_end); /* both close-on-exec, both blocking */
int sbx_fd_set_nonblock(int fd);
int sbx_fd_set_cloexec(int fd);
int sbx_fd_clear_cloexec(int fd);
int sbx_fd_open_null(bool for_writing); /* /dev/null; a pipe end with no peer where there is none */
/* Two connected sockets that keep messages apart and carry descriptors; close-on-exec, blocking. */
int sbx_fd_packet_pair(int *a, int *b);
/* A file of no name, readable and writable; in memory where the system has that. */
int sbx_fd_open_unnamed(void);
void sbx_fd_close(int *fd); /* closes unless -1, and sets it to -1 */

/* Bytes that wait to be read, 0 when that cannot be told. */
size_t sbx_fd_readable_bytes(int fd);

/* Asks for a larger pipe buffer where the system has such a call; failing is fine. */
void sbx_fd_grow_pipe(int fd, size_t bytes);

/* read and write that repeat after EINTR and return a negative errno. */
ssize_t sbx_fd_read(int fd, void *p, size_t n);
ssize_t sbx_fd_write(int fd, const void *p, size_t n);

/* Once, at start: opens /dev/null on missing 0, 1, 2 and marks every inherited descriptor above 2
 * close-on-exec, whoever started us and whatever they left open. */
int sbx_fd_adopt_inherited(void);

/* Raises the soft limit of open files to the hard one and returns it; *original gets the soft
 * limit that children are given back. */
size_t sbx_fd_raise_limit(size_t *original);
/* Puts the soft limit back. Descriptors above it stay open. */
void sbx_fd_restore_limit(size_t original);

#endif
