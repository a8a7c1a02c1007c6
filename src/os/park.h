/* park.h - a second, quiet set of descriptors behind one pollable descriptor.
 *
 * poll() looks at every descriptor on every turn. Those that have been silent for a while (idle
 * connections, sleeping processes) are parked here, so a turn costs what is busy and not what is
 * connected. On Linux the set is an epoll descriptor, which is pollable itself; elsewhere
 * there is no parking, everything stays in the poll set and all else is the same. */
#ifndef SBX_OS_PARK_H
#define SBX_OS_PARK_H

#include <stdbool.h>
#include <stddef.h>

/* Descriptor to poll for POLLIN, or -1 where there is no parking. */
int sbx_park_open(void);
/* Puts fd into the set with the given poll events; `tag` comes back from sbx_park_ready. */
bool sbx_park_add(int park, int fd, short events, void *tag);
void sbx_park_remove(int park, int fd);
/* Tags and poll events of up to cap ready members; returns how many. */
size_t sbx_park_ready(int park, void **tags, short *revents, size_t cap);

#endif
