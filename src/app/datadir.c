/* datadir.c - see datadir.h.
 *
 * The lock is flock(2) on a file of its own, which holds the owner's pid as text for people and for
 * `sandbox-agent upgrade`. It belongs to the open file, so keeper and servers share it by
 * inheritance, and it ends with the last of them however that ends. */
#include "app/datadir.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATADIR_ALONE " no-keeper"
#define DATADIR_LOCK "/sandbox-agent.lock"

static void datadir_set(struct sbx_buf *path, const char *a, const char *b)
{
    sbx_buf_clear(path);
    sbx_buf_add_z(path, a);
    sbx_buf_add_z(path, b);
    sbx_buf_add_byte(path, '\0');
}

static bool datadir_is_set(const char *value)
{
    return value != NULL && value[0] != '\0';
}

/* XDG Base Directory Specification: a relative XDG_DATA_HOME is to be ignored. */
static bool datadir_default(struct sbx_buf *path)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (datadir_is_set(data) && data[0] == '/')
        datadir_set(path, data, "/sandbox-agent");
    else if (datadir_is_set(home))
        datadir_set(path, home, "/.local/share/sandbox-agent");
    else
        return false;
    return true;
}

static int datadir_make_one(const char *path)
{
    struct stat st;
    if (mkdir(path, 0700) == 0)
        return 0;
    if (errno != EEXIST && (errno != EROFS || stat(path, &st) < 0))
        return -errno;
    if (stat(path, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int datadir_make(char *path)
{
    char *slash = path + (path[0] != '\0');
    int rc;
    for (slash = strchr(slash, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = datadir_make_one(path);
        *slash = '/';
        if (rc < 0)
            return rc;
    }
    return datadir_make_one(path);
}

static int datadir_open_lock(const char *dir, bool create)
{
    struct sbx_buf path;
    int fd;
    sbx_buf_init(&path);
    datadir_set(&path, dir, DATADIR_LOCK);
    if (path.oom)
        return -ENOMEM;
    fd = open((const char *)sbx_buf_data(&path), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    if (fd < 0)
        fd = -errno;
    sbx_buf_deinit(&path);
    return fd;
}

static pid_t datadir_read_owner(int lock, bool *alone)
{
    char text[32];
    ssize_t got = pread(lock, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    *alone = strstr(text, DATADIR_ALONE) != NULL;
    return (pid_t)strtol(text, NULL, 10);
}

void sbx_datadir_sign(int lock, bool alone)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%ld%s\n", (long)getpid(), alone ? DATADIR_ALONE : "");
    /* Never empty in between, nor after a failure. */
    if (lock >= 0 && pwrite(lock, text, (size_t)n, 0) == n)
        (void)!ftruncate(lock, n);
}

static int datadir_take_lock(struct sbx_datadir *d, struct sbx_err *err)
{
    const char *dir = sbx_datadir_path(d);
    int fd = datadir_open_lock(dir, true), rc;
    bool alone;
    if (fd < 0)
        return sbx_err_set(err, fd, "data directory \"%.200s\": %s", dir, strerror(-fd));
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        d->lock = fd;
        sbx_datadir_sign(fd, true);
        return 0;
    }
    rc = errno == EWOULDBLOCK
             ? sbx_err_set(err, EEXIST,
                           "data directory \"%.200s\" is in use by another server, pid %ld", dir,
                           (long)datadir_read_owner(fd, &alone))
             : sbx_err_set(err, errno, "data directory \"%.200s\": %s", dir, strerror(errno));
    sbx_fd_close(&fd);
    return rc;
}

static int datadir_take(struct sbx_datadir *d, struct sbx_err *err)
{
    int rc;
    if (d->path.oom)
        return sbx_err_set(err, ENOMEM, "out of memory");
    rc = datadir_make((char *)sbx_buf_data(&d->path));
    if (rc < 0)
        return sbx_err_set(err, rc, "data directory \"%.200s\": %s", sbx_datadir_path(d),
                           strerror(-rc));
    return datadir_take_lock(d, err);
}

int sbx_datadir_open(struct sbx_datadir *d, const char *flag, const struct sbx_diag *diag,
                     struct sbx_err *err)
{
    int rc;
    *d = (struct sbx_datadir){.lock = -1};
    sbx_buf_init(&d->path);
    if (flag != NULL && strcmp(flag, ":memory:") == 0)
        return 0;
    if (flag != NULL) {
        datadir_set(&d->path, flag, "");
        return datadir_take(d, err);
    }
    if (!datadir_default(&d->path)) {
        sbx_diag(diag, SBX_DIAG_WARN, "neither XDG_DATA_HOME nor HOME is set: nothing is kept in a "
                                      "file (--data-dir says where)");
        return 0;
    }
    rc = datadir_take(d, err);
    if (rc == 0 || rc == -EEXIST || rc == -ENOMEM)
        return rc;
    sbx_diag(diag, SBX_DIAG_WARN, "%s: nothing is kept in a file (--data-dir says where)",
             err->text);
    sbx_buf_clear(&d->path);
    return 0;
}

void sbx_datadir_provide(const char *flag, uid_t uid, gid_t gid)
{
    if (flag != NULL && strcmp(flag, ":memory:") != 0 && mkdir(flag, 0700) == 0)
        (void)!lchown(flag, uid, gid);
}

int sbx_datadir_find(struct sbx_datadir *d, const char *flag, struct sbx_err *err)
{
    *d = (struct sbx_datadir){.lock = -1};
    sbx_buf_init(&d->path);
    if (flag != NULL && strcmp(flag, ":memory:") == 0)
        return 0;
    if (flag != NULL)
        datadir_set(&d->path, flag, "");
    else
        (void)datadir_default(&d->path);
    return d->path.oom ? sbx_err_set(err, ENOMEM, "out of memory") : 0;
}

void sbx_datadir_deinit(struct sbx_datadir *d)
{
    sbx_buf_deinit(&d->path);
    sbx_fd_close(&d->lock);
}

const char *sbx_datadir_path(const struct sbx_datadir *d)
{
    return sbx_buf_len(&d->path) == 0 ? NULL : (const char *)sbx_buf_data(&d->path);
}

/* The lock file of that directory names its owner, as long as it is locked. */
static int datadir_find_owner(const char *dir, pid_t *owner, struct sbx_err *err)
{
    bool alone = false;
    int rc = 0, fd = datadir_open_lock(dir, false);
    if (fd < 0)
        return sbx_err_set(err, fd, "data directory \"%.200s\": %s", dir, strerror(-fd));
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        rc = sbx_err_set(err, ESRCH, "no server uses the data directory \"%.200s\"", dir);
    else
        *owner = datadir_read_owner(fd, &alone);
    if (rc == 0 && *owner <= 0)
        rc = sbx_err_set(err, EINVAL, "the lock file of \"%.200s\" does not say whose it is", dir);
    else if (rc == 0 && alone)
        rc = sbx_err_set(err, ENOTSUP, "the server (pid %ld) has no keeper to start another one",
                         (long)*owner);
    sbx_fd_close(&fd);
    return rc;
}

int sbx_datadir_owner(const char *flag, pid_t *owner, struct sbx_err *err)
{
    struct sbx_buf path;
    int rc;
    *owner = 0;
    sbx_buf_init(&path);
    if (flag != NULL && strcmp(flag, ":memory:") == 0)
        return sbx_err_set(err, EINVAL, "a server that keeps nothing cannot be found by its data "
                                        "directory; send SIGUSR2 to its keeper");
    if (flag != NULL)
        datadir_set(&path, flag, "");
    else if (!datadir_default(&path))
        return sbx_err_set(err, ENOENT, "neither --data-dir nor XDG_DATA_HOME nor HOME is given");
    if (path.oom)
        rc = sbx_err_set(err, ENOMEM, "out of memory");
    else
        rc = datadir_find_owner((const char *)sbx_buf_data(&path), owner, err);
    sbx_buf_deinit(&path);
    return rc;
}
