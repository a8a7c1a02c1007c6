/* db_state.h - the store's file from inside: what the files that make up db.h in SQLite share.
 * Nobody else includes it.
 *
 *   db_sqlite.c    the model; opening, closing, transactions, and the text of all statements
 *   db_records.c   processes, settings, counters
 *   db_chunks.c    chunks and gaps: writing, reading, eviction
 *   db_tidy.c      forgetting, and what follows from it */
#ifndef SBX_PROC_DB_STATE_H
#define SBX_PROC_DB_STATE_H

#include "base/buf.h"
#include "proc/db.h"
#include "proc/db_wal.h"

struct sqlite3;
struct sqlite3_stmt;
struct sbx_db_log_vfs;

enum sbx_db_statement {
    SBX_DB_BEGIN, SBX_DB_COMMIT,
    SBX_DB_PUT_PROCESS, SBX_DB_PUT_CHUNK, SBX_DB_PUT_GAP, SBX_DB_PUT_CONFIG, SBX_DB_PUT_COUNTER,
    SBX_DB_DROP_PROCESS, SBX_DB_DROP_GAPS, SBX_DB_DROP_CHUNKS, SBX_DB_PUT_FORGOTTEN,
    SBX_DB_DROP_FORGOTTEN, SBX_DB_GET_FORGOTTEN, SBX_DB_FREELIST, SBX_DB_PAGES, SBX_DB_VACUUM,
    SBX_DB_READ_AT, SBX_DB_READ_NEXT, SBX_DB_FIRST, SBX_DB_LAST,
    SBX_DB_LOAD, SBX_DB_LOAD_CONFIG, SBX_DB_LOAD_COUNTER,
    SBX_DB_STATEMENTS
};

struct sbx_db {
    struct sbx_db_log_vfs *log_vfs;
    struct sqlite3 *conn;
    struct sqlite3_stmt *st[SBX_DB_STATEMENTS];
    struct sbx_wal wal;
    char *path;
    char *log_path;          /* of its write-ahead log */
    struct sbx_buf entries;  /* JSON of the chunk that is put, reused */
    bool purging;            /* chunks of forgotten processes may be there to be dropped */
    bool counted;            /* while purging: `used` tells of this transaction's beginning */
    uint64_t used;           /* pages with something in them */
    uint64_t *held;          /* forgotten ones of which the chunks stay for now */
    size_t nheld, capheld;
    struct sbx_db_identity id;
    uint64_t looked_us;      /* for the file, last */
    uint64_t log_inode;
    bool moved;              /* the file is not in its place */
    bool is_gone;            /* nor, or only, its log */
    char error[320];
};

/* --- db_sqlite.c --- */

/* Of a result code of SQLite: 0 for SQLITE_OK; else a negative errno, and db->error says why. */
int sbx_db_fail_write(struct sbx_db *db, int rc);
int sbx_db_fail_read(struct sbx_db *db, int rc);
uint64_t sbx_db_column(struct sqlite3_stmt *st, int column); /* of the row that st is at */
/* A statement without parameters and rows. A result code of SQLite. */
int sbx_db_run(struct sbx_db *db, enum sbx_db_statement s);
/* As it is within the transaction. */
int sbx_db_count_pages(struct sbx_db *db, uint64_t *used, uint64_t *spare);

/* --- db_chunks.c --- */

struct sbx_db_limit {
    uint64_t sequence, offset; /* chunks that begin below either */
    uint64_t rows, bytes;      /* and not more than that; what is left of it is told */
};

/* *more: there are others that only the limit has kept. */
int sbx_db_drop_chunks(struct sbx_db *db, uint64_t process, struct sbx_db_limit *l, bool *more);
int sbx_db_drop_gaps(struct sbx_db *db, uint64_t process, uint64_t below);
int sbx_db_has_chunks(struct sbx_db *db, uint64_t process); /* 1, 0, or a failure */

#endif
