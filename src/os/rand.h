/* rand.h - random bytes for secrets: tickets, keys. */
#ifndef SBX_OS_RAND_H
#define SBX_OS_RAND_H

#include <stddef.h>

/* From the system's generator. 0 or a negative errno; never fewer bytes than asked for. */
int sbx_rand_bytes(void *p, size_t n);

#endif
