/* shm.h - memory that can outlive this process: whoever holds its descriptor can map it again.
 *
 * A sparse file without a name (memfd). Pages cost memory once they are touched. Where the system
 * has no such thing there is no descriptor, mappings are private, and nothing outlives anything. */
#ifndef SBX_OS_SHM_H
#define SBX_OS_SHM_H

#include <stddef.h>
#include <stdint.h>

/* A close-on-exec descriptor of an empty file, or a negative errno: there is none to be had. */
int sbx_shm_open(void);
/* Bytes; 0 or a negative errno. Growing adds zeros. */
int sbx_shm_size(int fd, uint64_t *bytes);
int sbx_shm_grow(int fd, uint64_t bytes);
/* n bytes at offset, both multiples of the page size, mapped for reading and writing; fd -1: memory
 * of this process alone. NULL when that fails. */
void *sbx_shm_map(int fd, uint64_t offset, size_t n);
void sbx_shm_unmap(void *p, size_t n);
/* Gives the pages back to the system; they read as zeros then, or as before where that fails. */
void sbx_shm_release(int fd, void *p, size_t n);

#endif
