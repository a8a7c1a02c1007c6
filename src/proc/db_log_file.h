/* db_log_file.h - the file of the write-ahead log as the writer of the database sees it: the many
 * small writes of a transaction reach the system as few large ones.
 *
 * A connection that is opened with this VFS must have synchronous=FULL from its first commit to the
 * log on. That costs no sync here; without it, a commit could be seen before it is in the file. */
#ifndef SBX_PROC_DB_LOG_FILE_H
#define SBX_PROC_DB_LOG_FILE_H

struct sbx_db_log_vfs;

/* NULL when out of memory. Outlives the connections that are opened with its name. */
struct sbx_db_log_vfs *sbx_db_log_vfs_open(void);
const char *sbx_db_log_vfs_name(const struct sbx_db_log_vfs *v);
/* The transaction was rolled back: what of it was gathered is never written. */
void sbx_db_log_vfs_drop(struct sbx_db_log_vfs *v);
void sbx_db_log_vfs_close(struct sbx_db_log_vfs *v); /* NULL is fine */

#endif
