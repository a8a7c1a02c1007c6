/* db_file.h - the store's file as a file: made, found, and moved aside when it is damaged. */
#ifndef SBX_PROC_DB_FILE_H
#define SBX_PROC_DB_FILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SBX_DB_FILE_NAME "sandbox-agent.db"

/* DIR/sandbox-agent.db and an ending ("" or "-wal"); to be freed with sbx_mem_free. NULL when out
 * of memory. */
char *sbx_db_file_path(const char *dir, const char *ending);
/* Makes the file where there is none, mode 0600 whatever the umask; SQLite gives the files beside
 * it the same. 0 and its size, or err with the path in it. */
int sbx_db_file_prepare(const char *path, uint64_t *size, struct sbx_err *err);
/* Bytes in the write-ahead log; 1 where that cannot be told. *inode is 0 without one. */
uint64_t sbx_db_file_log_size(const char *log_path, uint64_t *inode);
/* Renames the file and what belongs to it to PATH.damaged-YYYYMMDDTHHMMSSZ with the endings they
 * had, over nothing that exists. *to is the new name, to be freed. */
int sbx_db_file_set_aside(const char *path, char **to, struct sbx_err *err);

#endif
