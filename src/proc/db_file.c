/* db_file.c - see db_file.h. */
#include "proc/db_file.h"
#include "base/mem.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_STAMP ".damaged-20000101T000000Z"

static const char *const file_endings[] = {"-wal", "-shm", ""};
#define FILE_ENDINGS (sizeof file_endings / sizeof file_endings[0])

/* Two strings as one; NULL when out of memory. */
static char *file_join(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    char *s = sbx_mem_alloc(n + m + 1);
    if (s == NULL)
        return NULL;
    memcpy(s, a, n);
    memcpy(s + n, b, m + 1);
    return s;
}

char *sbx_db_file_path(const char *dir, const char *ending)
{
    char name[64];
    (void)snprintf(name, sizeof name, "/%s%s", SBX_DB_FILE_NAME, ending);
    return file_join(dir, name);
}

static int file_fail(struct sbx_err *err, const char *what, const char *path)
{
    sbx_err_set(err, errno, "%s %s", what, path);
    return sbx_err_add_reason(err);
}

static int file_make(const char *path, struct sbx_err *err)
{
    int rc = 0, fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return 0;
    if (fd < 0 || fchmod(fd, 0600) < 0)
        rc = file_fail(err, "cannot open", path);
    sbx_fd_close(&fd);
    return rc;
}

/* A file that exists is not opened: closing it would drop all locks of this process on it
 * (fcntl(2)), and a connection that has it open would go on without. */
int sbx_db_file_prepare(const char *path, uint64_t *size, struct sbx_err *err)
{
    struct stat st;
    int rc = file_make(path, err);
    if (rc < 0)
        return rc;
    if (stat(path, &st) < 0)
        return file_fail(err, "cannot open", path);
    if (!S_ISREG(st.st_mode))
        return sbx_err_set(err, EINVAL, "cannot open %s: it is no regular file", path);
    if (faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) < 0)
        return file_fail(err, "cannot open", path);
    *size = (uint64_t)st.st_size;
    return 0;
}

uint64_t sbx_db_file_log_size(const char *log_path, uint64_t *inode)
{
    struct stat st;
    *inode = 0;
    if (stat(log_path, &st) < 0)
        return errno != ENOENT; /* who cannot tell had better expect some */
    *inode = (uint64_t)st.st_ino;
    return (uint64_t)st.st_size;
}

static bool file_exists(const char *path, const char *ending)
{
    struct stat st;
    char *name = file_join(path, ending);
    bool exists = name == NULL || lstat(name, &st) == 0 || errno != ENOENT;
    sbx_mem_free(name);
    return exists;
}

/* A name that is free with every ending: of this second, else of a later one. */
static char *file_free_name(const char *path)
{
    time_t now = time(NULL);
    char stamp[sizeof FILE_STAMP + 16];
    struct tm tm;
    unsigned i;
    for (i = 0; i < 1000; i++, now++) {
        char *name;
        gmtime_r(&now, &tm);
        (void)strftime(stamp, sizeof stamp, ".damaged-%Y%m%dT%H%M%SZ", &tm);
        name = file_join(path, stamp);
        if (name == NULL)
            return NULL;
        if (!file_exists(name, "") && !file_exists(name, "-wal") && !file_exists(name, "-shm"))
            return name;
        sbx_mem_free(name);
    }
    return NULL;
}

static int file_rename(const char *path, const char *to, const char *ending, struct sbx_err *err)
{
    char *a = file_join(path, ending), *b = file_join(to, ending);
    int rc = 0;
    if (a == NULL || b == NULL)
        rc = sbx_err_set(err, ENOMEM, "out of memory");
    else if (rename(a, b) < 0 && errno != ENOENT)
        rc = file_fail(err, "cannot move aside", a);
    sbx_mem_free(a);
    sbx_mem_free(b);
    return rc;
}

/* The file itself last: while it is there under its name, a crash half way leaves a damaged file
 * that is found again, and not an empty one beside the log of another. */
int sbx_db_file_set_aside(const char *path, char **to, struct sbx_err *err)
{
    size_t i;
    int rc = 0;
    *to = file_free_name(path);
    if (*to == NULL)
        return sbx_err_set(err, ENOMEM, "cannot move aside %s: no name is free", path);
    for (i = 0; rc == 0 && i < FILE_ENDINGS; i++)
        rc = file_rename(path, *to, file_endings[i], err);
    if (rc < 0) {
        sbx_mem_free(*to);
        *to = NULL;
    }
    return rc;
}
