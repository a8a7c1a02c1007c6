/* pages.h - whole pages straight from the system, and back to it.
 *
 * Log memory comes and goes in large pieces of one size. From the heap it would be given back only
 * when everything above it is free, which may be never; pages go back when they are dropped. */
#ifndef SBX_OS_PAGES_H
#define SBX_OS_PAGES_H

#include "base/blob.h"

#include <stddef.h>

/* A blob in pages of its own, n bytes with its header; n should be whole pages. NULL: no memory. */
struct sbx_blob *sbx_pages_blob(size_t n);

#endif
