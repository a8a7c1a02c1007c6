/* ui_dir.h - the inspector page from a directory, for whoever works on it (--ui-dir). */
#ifndef SBX_API_UI_DIR_H
#define SBX_API_UI_DIR_H

#include "base/buf.h"
#include "base/err.h"

/* A descriptor of the directory, which must hold an index.html; or err->code. */
int sbx_ui_dir_open(const char *path, struct sbx_err *err);

/* Appends the file of that name below the directory. The name is one as it came: segments of
 * letters, digits, '.', '-' and '_' that do not begin with a dot, between single slashes; no other
 * is looked for. Symbolic links are not followed, and only regular files are read. 0, -ENOENT for
 * whatever is not served, -EFBIG above 4 MiB, or another -errno. */
int sbx_ui_dir_read(int dir, struct sbx_str name, struct sbx_buf *out);

/* By the name's extension. */
const char *sbx_ui_dir_type(struct sbx_str name);

#endif
