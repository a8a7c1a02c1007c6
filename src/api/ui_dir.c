/* ui_dir.c - see ui_dir.h.
 *
 * One openat for each segment of the name, none of which may be a link or "..", so the walk cannot
 * leave the directory, whatever is renamed meanwhile. A file is read anew for each request, on the
 * loop: they are small and local, and this is for development. */
#include "api/ui_dir.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define UI_DIR_FILE_MAX (4u * 1024u * 1024u)
#define UI_DIR_NAME_MAX 128u

static bool ui_dir_is_plain(struct sbx_str segment)
{
    size_t i;
    if (segment.n == 0 || segment.n >= UI_DIR_NAME_MAX || segment.p[0] == '.')
        return false;
    for (i = 0; i < segment.n; i++) {
        char c = segment.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              c == '.' || c == '-' || c == '_'))
            return false;
    }
    return true;
}

/* Takes the first segment out of *name, and the slash behind it; *last: there was none. */
static struct sbx_str ui_dir_segment(struct sbx_str *name, bool *last)
{
    const char *slash = name->n > 0 ? memchr(name->p, '/', name->n) : NULL;
    struct sbx_str segment = *name;
    *last = slash == NULL;
    if (slash == NULL)
        return segment;
    segment.n = (size_t)(slash - name->p);
    *name = (struct sbx_str){slash + 1, name->n - segment.n - 1};
    return segment;
}

static int ui_dir_step(int dir, struct sbx_str segment, int flags)
{
    char name[UI_DIR_NAME_MAX];
    int fd;
    if (!ui_dir_is_plain(segment))
        return -ENOENT;
    memcpy(name, segment.p, segment.n);
    name[segment.n] = '\0';
    fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | flags);
    if (fd >= 0)
        return fd;
    return errno == ENOTDIR || errno == ELOOP || errno == ENXIO || errno == ENODEV ? -ENOENT
                                                                                   : -errno;
}

/* A descriptor of the file, or -errno. */
static int ui_dir_walk(int dir, struct sbx_str name)
{
    int at = -1, fd;
    bool last;
    do {
        struct sbx_str segment = ui_dir_segment(&name, &last);
        /* Whatever it is, opening it must not wait. */
        fd = ui_dir_step(at >= 0 ? at : dir, segment, last ? O_NONBLOCK | O_NOCTTY : O_DIRECTORY);
        sbx_fd_close(&at);
        at = fd;
    } while (fd >= 0 && !last);
    return fd;
}

static int ui_dir_read_all(int fd, struct sbx_buf *out)
{
    struct stat st;
    ssize_t n;
    size_t room;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -ENOENT;
    if (st.st_size > (off_t)UI_DIR_FILE_MAX)
        return -EFBIG;
    /* One byte more, so that the end is seen; a file that grows meanwhile is cut. */
    room = (size_t)st.st_size + 1;
    do {
        uint8_t *p = sbx_buf_reserve(out, room);
        if (p == NULL)
            return -ENOMEM;
        n = sbx_fd_read(fd, p, room);
        if (n > 0) {
            sbx_buf_commit(out, (size_t)n);
            room -= (size_t)n;
        }
    } while (n > 0 && room > 0);
    return n < 0 ? (int)n : 0;
}

int sbx_ui_dir_read(int dir, struct sbx_str name, struct sbx_buf *out)
{
    int rc, fd = ui_dir_walk(dir, name);
    if (fd < 0)
        return fd;
    rc = ui_dir_read_all(fd, out);
    sbx_fd_close(&fd);
    return rc;
}

int sbx_ui_dir_open(const char *path, struct sbx_err *err)
{
    int index, fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (fd < 0) {
        sbx_err_set(err, errno, "--ui-dir %s", path);
        return sbx_err_add_reason(err);
    }
    index = ui_dir_walk(fd, SBX_STR("index.html"));
    if (index >= 0 && fstat(index, &st) == 0 && S_ISREG(st.st_mode)) {
        sbx_fd_close(&index);
        return fd;
    }
    sbx_fd_close(&index);
    sbx_fd_close(&fd);
    return sbx_err_set(err, ENOENT, "--ui-dir %s: there is no index.html in it", path);
}

const char *sbx_ui_dir_type(struct sbx_str name)
{
    static const char *const types[][2] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".txt", "text/plain; charset=utf-8"},
        {".json", "application/json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
    };
    size_t i;
    for (i = 0; i < sizeof types / sizeof types[0]; i++) {
        size_t n = strlen(types[i][0]);
        if (name.n > n && memcmp(name.p + name.n - n, types[i][0], n) == 0)
            return types[i][1];
    }
    return "application/octet-stream";
}
