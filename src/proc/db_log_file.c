/* db_log_file.c - see db_log_file.h.
 *
 * SQLite writes a frame of its log with two calls, one for the header of 24 bytes and one for the
 * page, and no frame begins where a page of the kernel's does. A transaction of a hundred KiB would
 * be thirty system calls, each of which touches a kernel page that its neighbours touch, too. Here
 * they become writes that end at multiples of LOG_FILE_GATHER in the file, and a last one.
 *
 *   xWrite   gathers: `used` bytes of `data` belong to offset `at` on
 *   xSync    writes what was gathered, and does not sync
 *   xClose   drops it: what was not followed by xSync was not committed
 *   others   write what was gathered first
 *   drop     so does a rollback: of a transaction that was longer than SQLite's cache some frames
 *            were gathered, and the log may be emptied before anything is written to it again
 *
 * A transaction is committed when the index of the log names its frames. With synchronous=FULL
 * SQLite calls xSync before that, after the last of them: so whoever sees the index, of whatever
 * process, finds the frames in the file, and a full disk fails the transaction. Really
 * syncing is for the checkpoint's connection, which opens the file without this (db_wal.c says why
 * that is enough).
 *
 * Only the log is opened through here; the database itself is the system's file as it is. */
#include "proc/db_log_file.h"
#include "base/mem.h"

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* SQLite's own file takes no more than 128 KiB less one byte in one write. */
#define LOG_FILE_GATHER (64u * 1024u)

struct log_file;

struct sbx_db_log_vfs {
    struct sqlite3_vfs vfs;
    struct log_file *open; /* the log of the one database; NULL: not opened yet, or closed */
    char name[40];
};

struct log_file {
    struct sqlite3_file file;
    struct sbx_db_log_vfs *owner;
    uint8_t *data;
    size_t used;
    sqlite3_int64 at;
};

/* The system's own file follows ours in the memory that SQLite gave us for both. */
static sqlite3_file *log_file_system(sqlite3_file *file)
{
    return (sqlite3_file *)((char *)file + sizeof(struct log_file));
}

/* What could not be written is given up: the transaction it belongs to fails. */
static int log_file_flush(sqlite3_file *file)
{
    struct log_file *f = (struct log_file *)file;
    sqlite3_file *system = log_file_system(file);
    size_t n = f->used;
    f->used = 0;
    return n == 0 ? SQLITE_OK : system->pMethods->xWrite(system, f->data, (int)n, f->at);
}

static int log_file_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 at)
{
    struct log_file *f = (struct log_file *)file;
    const uint8_t *from = p;
    size_t left = (size_t)n;
    int rc = at == f->at + (sqlite3_int64)f->used ? SQLITE_OK : log_file_flush(file);
    while (rc == SQLITE_OK && left > 0) {
        size_t room = LOG_FILE_GATHER - (size_t)at % LOG_FILE_GATHER;
        size_t part = left < room ? left : room;
        if (f->used == 0)
            f->at = at;
        memcpy(f->data + f->used, from, part);
        f->used += part;
        from += part;
        at += (sqlite3_int64)part;
        left -= part;
        if (part == room)
            rc = log_file_flush(file);
    }
    return rc;
}

static int log_file_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    return log_file_flush(file);
}

static int log_file_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at)
{
    sqlite3_file *system = log_file_system(file);
    int rc = log_file_flush(file);
    return rc == SQLITE_OK ? system->pMethods->xRead(system, p, n, at) : rc;
}

static int log_file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    sqlite3_file *system = log_file_system(file);
    int rc = log_file_flush(file);
    return rc == SQLITE_OK ? system->pMethods->xTruncate(system, size) : rc;
}

static int log_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    sqlite3_file *system = log_file_system(file);
    int rc = log_file_flush(file);
    return rc == SQLITE_OK ? system->pMethods->xFileSize(system, size) : rc;
}

static int log_file_close(sqlite3_file *file)
{
    struct log_file *f = (struct log_file *)file;
    sqlite3_file *system = log_file_system(file);
    int rc = system->pMethods->xClose(system);
    if (f->owner->open == f)
        f->owner->open = NULL;
    sbx_mem_free(f->data);
    return rc;
}

static int log_file_lock(sqlite3_file *file, int level)
{
    sqlite3_file *system = log_file_system(file);
    return system->pMethods->xLock(system, level);
}

static int log_file_unlock(sqlite3_file *file, int level)
{
    sqlite3_file *system = log_file_system(file);
    return system->pMethods->xUnlock(system, level);
}

static int log_file_check_lock(sqlite3_file *file, int *reserved)
{
    sqlite3_file *system = log_file_system(file);
    return system->pMethods->xCheckReservedLock(system, reserved);
}

static int log_file_control(sqlite3_file *file, int op, void *arg)
{
    sqlite3_file *system = log_file_system(file);
    return system->pMethods->xFileControl(system, op, arg);
}

static int log_file_sector(sqlite3_file *file)
{
    sqlite3_file *system = log_file_system(file);
    return system->pMethods->xSectorSize(system);
}

static int log_file_traits(sqlite3_file *file)
{
    sqlite3_file *system = log_file_system(file);
    return system->pMethods->xDeviceCharacteristics(system);
}

static const struct sqlite3_io_methods log_file_methods = {
    1, log_file_close, log_file_read, log_file_write, log_file_truncate, log_file_sync,
    log_file_size, log_file_lock, log_file_unlock, log_file_check_lock, log_file_control,
    log_file_sector, log_file_traits, NULL, NULL, NULL, NULL, NULL, NULL,
};

static int log_file_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                         int *out_flags)
{
    sqlite3_vfs *system = vfs->pAppData;
    struct log_file *f = (struct log_file *)file;
    int rc;
    if ((flags & SQLITE_OPEN_WAL) == 0)
        return system->xOpen(system, name, file, flags, out_flags);
    memset(f, 0, sizeof *f);
    f->data = sbx_mem_alloc(LOG_FILE_GATHER);
    if (f->data == NULL)
        return SQLITE_NOMEM;
    rc = system->xOpen(system, name, log_file_system(file), flags, out_flags);
    if (rc != SQLITE_OK) {
        sbx_mem_free(f->data);
        return rc;
    }
    f->file.pMethods = &log_file_methods;
    f->owner = (struct sbx_db_log_vfs *)vfs; /* of which it is the first member */
    f->owner->open = f;
    return SQLITE_OK;
}

/* The name is the object's own: every database has one, and SQLite finds it by name. */
struct sbx_db_log_vfs *sbx_db_log_vfs_open(void)
{
    struct sbx_db_log_vfs *v = sbx_mem_calloc(sizeof *v);
    struct sqlite3_vfs *system = sqlite3_vfs_find(NULL);
    if (v == NULL)
        return NULL;
    (void)snprintf(v->name, sizeof v->name, "sandbox-agent-%p", (void *)v);
    v->vfs = *system;
    v->vfs.pNext = NULL;
    v->vfs.zName = v->name;
    v->vfs.pAppData = system;
    v->vfs.szOsFile += (int)sizeof(struct log_file);
    v->vfs.xOpen = log_file_open;
    if (sqlite3_vfs_register(&v->vfs, 0) != SQLITE_OK) {
        sbx_mem_free(v);
        return NULL;
    }
    return v;
}

const char *sbx_db_log_vfs_name(const struct sbx_db_log_vfs *v)
{
    return v->name;
}

void sbx_db_log_vfs_drop(struct sbx_db_log_vfs *v)
{
    if (v->open != NULL)
        v->open->used = 0;
}

void sbx_db_log_vfs_close(struct sbx_db_log_vfs *v)
{
    if (v == NULL)
        return;
    (void)sqlite3_vfs_unregister(&v->vfs);
    sbx_mem_free(v);
}
