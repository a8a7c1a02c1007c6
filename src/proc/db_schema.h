/* db_schema.h - the tables and views of the store's file: made, recognised, brought up to date.
 * docs/log-store.md describes those that are meant for people. */
#ifndef SBX_PROC_DB_SCHEMA_H
#define SBX_PROC_DB_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

struct sqlite3;

#define SBX_SCHEMA_VERSION 3
#define SBX_SCHEMA_APPLICATION 0x53627841u /* "SbxA", what file(1) shows */

/* A chunk's key is the number of its process and its first sequence, so that one log is one range
 * of keys and growing logs do not write to each other's pages. */
#define SBX_SCHEMA_SEQUENCE_BITS 36

enum sbx_schema_state {
    SBX_SCHEMA_EMPTY,   /* nothing in it yet */
    SBX_SCHEMA_CURRENT,
    SBX_SCHEMA_OLDER,   /* *version tells which */
    SBX_SCHEMA_NEWER,
    SBX_SCHEMA_FOREIGN  /* a database, but none of ours */
};

/* All return a result code of SQLite. */
int sbx_schema_look(struct sqlite3 *conn, enum sbx_schema_state *state, uint64_t *version);
/* In a file of SBX_SCHEMA_EMPTY, which `identity` is to tell from others. */
int sbx_schema_create(struct sqlite3 *conn, uint64_t identity);
/* 0: it was given none, by a program that knew of no such thing. */
int sbx_schema_identity(struct sqlite3 *conn, uint64_t *identity);
int sbx_schema_migrate(struct sqlite3 *conn, uint64_t from);
/* Damage that can be seen without reading the logs, in a file of that version. */
int sbx_schema_check(struct sqlite3 *conn, uint64_t version);

#endif
