/* blob.h - a block of bytes shared by counting references.
 *
 * The log keeps output in blobs and a connection queues views of them for writing, so the same
 * bytes go to fifty followers without fifty copies, and memory that the log has evicted lives
 * exactly until the last socket is done with it. Bytes below `len` never change; the owner may
 * append while there is room, since a view names its own length. */
#ifndef SBX_BASE_BLOB_H
#define SBX_BASE_BLOB_H

#include <stddef.h>
#include <stdint.h>

struct sbx_blob {
    unsigned refs;
    size_t len;
    size_t cap;
    void (*release)(struct sbx_blob *b); /* at the last reference; NULL: to the heap */
    uint8_t data[];
};

struct sbx_blob *sbx_blob_new(size_t cap); /* one reference; NULL when out of memory */
/* Makes a blob of n bytes of memory that came from elsewhere (n > its header). */
struct sbx_blob *sbx_blob_place(void *memory, size_t n, void (*release)(struct sbx_blob *b));
struct sbx_blob *sbx_blob_ref(struct sbx_blob *b);
void sbx_blob_unref(struct sbx_blob *b); /* NULL is fine */

#endif
