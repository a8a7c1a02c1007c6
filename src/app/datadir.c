/* datadir.c - see datadir.h.
 *
 * The lock is flock(2) on a file of its own, which holds text for people and for `sandbox-agent
 * upgrade`: the owner's pid, and in a second line what became of the last upgrade,
 *
 *     4711
 *     upgrade 2 done: upgraded: the server (pid 4790) runs /usr/bin/sandbox-agent
 *
 * It belongs to the open file, so keeper and servers share it by inheritance, and it ends with the
 * last of them however that ends. */
#include "app/datadir.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATADIR_ALONE " no-keeper"
#define DATADIR_LOCK "/sandbox-agent.lock"
#define DATADIR_TEXT_MAX 640

static const char *const datadir_states[] = {
    [SBX_KEEPER_UPGRADE_BEGUN] = "begun",
    [SBX_KEEPER_UPGRADE_DONE] = "done",
    [SBX_KEEPER_UPGRADE_FAILED] = "failed",
};

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

/* Is that lock on the file that is there under its name? 0, -ENOENT, -ENOMEM. */
static int datadir_is_there(const char *dir, int lock)
{
    struct sbx_buf path;
    struct stat held, there;
    bool same;
    sbx_buf_init(&path);
    datadir_set(&path, dir, DATADIR_LOCK);
    if (path.oom)
        return -ENOMEM;
    same = fstat(lock, &held) == 0 && stat((const char *)sbx_buf_data(&path), &there) == 0 &&
           held.st_dev == there.st_dev && held.st_ino == there.st_ino;
    sbx_buf_deinit(&path);
    return same ? 0 : -ENOENT;
}

static int datadir_open_lock(const char *dir, int flags)
{
    struct sbx_buf path;
    int fd;
    sbx_buf_init(&path);
    datadir_set(&path, dir, DATADIR_LOCK);
    if (path.oom)
        return -ENOMEM;
    fd = open((const char *)sbx_buf_data(&path), flags | O_CLOEXEC, 0600);
    if (fd < 0)
        fd = -errno;
    sbx_buf_deinit(&path);
    return fd;
}

/* Two reads that agree: one alone may see half of what is being written. */
static void datadir_read_lock(int lock, char text[DATADIR_TEXT_MAX])
{
    char again[DATADIR_TEXT_MAX];
    int i;
    for (i = 0; i < 100; i++) {
        ssize_t got = pread(lock, text, DATADIR_TEXT_MAX - 1, 0);
        text[got > 0 ? got : 0] = '\0';
        got = pread(lock, again, DATADIR_TEXT_MAX - 1, 0);
        again[got > 0 ? got : 0] = '\0';
        if (strcmp(text, again) == 0)
            return;
    }
}

static pid_t datadir_read_owner(const char *text, bool *alone)
{
    size_t line = strcspn(text, "\n");
    const char *word = strstr(text, DATADIR_ALONE);
    long pid;
    *alone = word != NULL && word < text + line;
    pid = strtol(text, NULL, 10);
    return line == 0 || pid > INT_MAX ? 0 : (pid_t)pid;
}

/* Never empty in between, nor after a failure. */
static void datadir_write_lock(int lock, const char *text)
{
    size_t n = strlen(text);
    if (lock >= 0 && pwrite(lock, text, n, 0) == (ssize_t)n)
        (void)!ftruncate(lock, (off_t)n);
}

static void datadir_sign(int lock, pid_t owner, bool alone)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%ld%s\n", (long)owner, alone ? DATADIR_ALONE : "");
    datadir_write_lock(lock, text);
}

void sbx_datadir_sign(int lock, bool alone)
{
    datadir_sign(lock, getpid(), alone);
}

void sbx_datadir_note_upgrade(int lock, unsigned number, enum sbx_keeper_upgrade state,
                              const char *words)
{
    char text[DATADIR_TEXT_MAX];
    (void)snprintf(text, sizeof text, "%ld\nupgrade %u %s: %.500s\n", (long)getpid(), number,
                   datadir_states[state], words);
    datadir_write_lock(lock, text);
}

/* A descriptor, or -errno. Whoever else wants the directory locks the same file, so it has to be
 * there still when it is locked: else somebody has deleted it in between, and perhaps another
 * server has made one. */
static int datadir_lock(const char *dir, struct sbx_err *err)
{
    char text[DATADIR_TEXT_MAX];
    int fd = datadir_open_lock(dir, O_RDWR | O_CREAT), rc;
    bool alone;
    if (fd < 0)
        return sbx_err_set(err, fd, "data directory \"%.200s\": %s", dir, strerror(-fd));
    rc = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : datadir_is_there(dir, fd);
    if (rc == 0)
        return fd;
    datadir_read_lock(fd, text);
    if (rc == -EWOULDBLOCK)
        sbx_err_set(err, EEXIST, "data directory \"%.200s\" is in use by another server, pid %ld",
                    dir, (long)datadir_read_owner(text, &alone));
    else
        sbx_err_set(err, rc, "data directory \"%.200s\": %s", dir, strerror(-rc));
    sbx_fd_close(&fd);
    return err->code;
}

int sbx_datadir_keep(struct sbx_datadir *d, pid_t owner, bool alone, struct sbx_err *err)
{
    const char *dir = sbx_datadir_path(d);
    int fd;
    if (d->lock < 0 || datadir_is_there(dir, d->lock) == 0)
        return 0;
    fd = datadir_lock(dir, err);
    if (fd < 0)
        return fd;
    sbx_fd_close(&d->lock);
    d->lock = fd;
    datadir_sign(fd, owner, alone);
    return 1;
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
    d->lock = datadir_lock(sbx_datadir_path(d), err);
    if (d->lock < 0) {
        d->lock = -1;
        return err->code;
    }
    sbx_datadir_sign(d->lock, true);
    return 0;
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
    struct stat st;
    int fd;
    if (flag == NULL || strcmp(flag, ":memory:") == 0 || mkdir(flag, 0700) < 0)
        return;
    /* By descriptor: whoever may write to the directory above can put another name there. */
    fd = open(flag, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 07777) == 0700)
        (void)!fchown(fd, uid, gid);
    sbx_fd_close(&fd);
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

/* "upgrade NUMBER STATE: WORDS"; anything else is as if nothing had been written. */
static void datadir_read_upgrade(struct sbx_datadir_owner *o, const char *line)
{
    static const char head[] = "upgrade ";
    char *at;
    size_t i, n;
    o->upgrade = 0;
    if (strncmp(line, head, sizeof head - 1) != 0)
        return;
    o->upgrade = (unsigned)strtoul(line + sizeof head - 1, &at, 10);
    for (i = 0; i < sizeof datadir_states / sizeof datadir_states[0]; i++) {
        n = strlen(datadir_states[i]);
        if (*at == ' ' && strncmp(at + 1, datadir_states[i], n) == 0 &&
            strncmp(at + 1 + n, ": ", 2) == 0)
            break;
    }
    if (i == sizeof datadir_states / sizeof datadir_states[0]) {
        o->upgrade = 0;
        return;
    }
    o->state = (enum sbx_keeper_upgrade)i;
    at += 1 + n + 2;
    for (i = 0; i + 1 < sizeof o->text && at[i] != '\n' && at[i] != '\0'; i++)
        o->text[i] = at[i] < 0x20 || at[i] > 0x7e ? '?' : at[i];
    o->text[i] = '\0';
}

int sbx_datadir_look_at_owner(struct sbx_datadir_owner *o, struct sbx_err *err)
{
    char text[DATADIR_TEXT_MAX];
    pid_t before = o->pid;
    bool alone;
    datadir_read_lock(o->lock, text);
    o->pid = datadir_read_owner(text, &alone);
    datadir_read_upgrade(o, text + strcspn(text, "\n") + (strchr(text, '\n') != NULL));
    if (flock(o->lock, LOCK_SH | LOCK_NB) == 0)
        return sbx_err_set(err, ESRCH, "no server uses the directory");
    if (o->pid <= 0)
        return sbx_err_set(err, EINVAL, "the lock file does not say whose it is");
    if (before > 0 && (o->pid != before || alone))
        return sbx_err_set(err, ESRCH, "the keeper (pid %ld) is gone", (long)before);
    return alone ? sbx_err_set(err, ENOTSUP,
                               "the server (pid %ld) has no keeper to start another one",
                               (long)o->pid)
                 : 0;
}

/* Whoever may write to the directory may have put something else there. A file of its own, which no
 * link leads to from elsewhere, belongs to who made it. */
static int datadir_open_owner(struct sbx_datadir_owner *o, const char *dir, struct sbx_err *err)
{
    struct stat st;
    o->lock = datadir_open_lock(dir, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (o->lock < 0)
        return sbx_err_set(err, o->lock, "%s", strerror(-o->lock));
    if (fstat(o->lock, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1)
        return sbx_err_set(err, EINVAL, "the lock file is not a file of its own");
    o->uid = st.st_uid;
    o->gid = st.st_gid;
    return sbx_datadir_look_at_owner(o, err);
}

static int datadir_find_owner(struct sbx_datadir_owner *o, const char *dir, struct sbx_err *err)
{
    struct sbx_err why;
    if (datadir_open_owner(o, dir, &why) == 0)
        return 0;
    sbx_datadir_leave_owner(o);
    return sbx_err_set(err, why.code, "data directory \"%.200s\": %s", dir, why.text);
}

int sbx_datadir_find_owner(struct sbx_datadir_owner *o, const char *flag, struct sbx_err *err)
{
    struct sbx_buf path;
    int rc;
    *o = (struct sbx_datadir_owner){.lock = -1};
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
        rc = datadir_find_owner(o, (const char *)sbx_buf_data(&path), err);
    sbx_buf_deinit(&path);
    return rc;
}

void sbx_datadir_leave_owner(struct sbx_datadir_owner *o)
{
    sbx_fd_close(&o->lock);
}
