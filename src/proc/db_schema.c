/* db_schema.c - see db_schema.h.
 *
 * Names: what people read is called by plain words (processes, logs, gaps, config), and these are
 * views, so that the tables behind them can change without breaking a query. The text of a table in
 * a new file is what migrating an old one leaves there, byte for byte: columns that came later
 * stand at the end, and they and new names have the form that ALTER TABLE gives them. Views are
 * dropped and made anew by every migration.
 *
 * Numbers have 64 bits without a sign, those of SQLite 63 and a sign. The bits are stored as they
 * are; a view shows the greatest number that SQLite has for what is above it.
 *
 * The views go from a record to its chunks by key range. A chunk whose record is gone is therefore
 * invisible, and a query for one process does not read the logs of the others. */
#include "proc/db_schema.h"
#include "proc/db.h"
#include "proc/db_sql.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define SCHEMA_TEXT_(x) #x
#define SCHEMA_TEXT(x) SCHEMA_TEXT_(x)

/* Of a number of milliseconds. By parts: as a fraction of seconds it would be rounded. */
#define SCHEMA_ISO(ms)                                                                             \
    "strftime('%Y-%m-%dT%H:%M:%S', " ms " / 1000, 'unixepoch')"                                    \
    " || printf('.%03dZ', " ms " % 1000)"

#define SCHEMA_RANGE(key, number)                                                                  \
    key " >= " number " << " SCHEMA_TEXT(SBX_SCHEMA_SEQUENCE_BITS) " AND "                         \
    key " < (" number " + 1) << " SCHEMA_TEXT(SBX_SCHEMA_SEQUENCE_BITS)

#define SCHEMA_NUMBER(column)                                                                      \
    "CASE WHEN " column " < 0 THEN 9223372036854775807 ELSE " column " END"

/* Of the first or the last chunk of process p; NULL without any. */
#define SCHEMA_OF_CHUNK(what, order)                                                               \
    "(SELECT " what " FROM chunks c\n"                                                             \
    "    WHERE " SCHEMA_RANGE("c.key", "p.number") " ORDER BY c.key" order " LIMIT 1)"
#define SCHEMA_SEQUENCE "c.key & ((1 << " SCHEMA_TEXT(SBX_SCHEMA_SEQUENCE_BITS) ") - 1)"

#define SCHEMA_GAPS                                                                                \
    "CREATE TABLE gap_records(\n"                                                                  \
    "  process INTEGER NOT NULL,\n"                                                                \
    "  first_sequence INTEGER NOT NULL,\n"                                                         \
    "  last_sequence INTEGER NOT NULL,\n"                                                          \
    "  bytes INTEGER NOT NULL,\n"                                                                  \
    "  time_ms INTEGER NOT NULL,\n"                                                                \
    "  PRIMARY KEY(process, first_sequence)\n"                                                     \
    ") WITHOUT ROWID"

/* Of version 2; also what ALTER TABLE adds to a file of version 1. */
#define SCHEMA_EXIT_NOTE "exit_note TEXT NOT NULL DEFAULT ''"
#define SCHEMA_INPUT_DROPPED "input_dropped INTEGER NOT NULL DEFAULT 0"

static const char *const schema_tables[] = {
    "CREATE TABLE process_records(\n"
    "  number INTEGER PRIMARY KEY,\n"
    "  command TEXT NOT NULL,\n"
    "  args TEXT NOT NULL,\n"
    "  env_names TEXT NOT NULL,\n"
    "  cwd TEXT,\n"
    "  tty INTEGER NOT NULL,\n"
    "  interactive INTEGER NOT NULL,\n"
    "  persist INTEGER NOT NULL,\n"
    "  cols INTEGER NOT NULL,\n"
    "  rows INTEGER NOT NULL,\n"
    "  pid INTEGER NOT NULL,\n"
    "  started_us INTEGER NOT NULL,\n"
    "  boot_id TEXT NOT NULL,\n"
    "  created_ms INTEGER NOT NULL,\n"
    "  exited INTEGER NOT NULL,\n"
    "  exited_ms INTEGER NOT NULL,\n"
    "  exit_kind INTEGER NOT NULL,\n"
    "  exit_value INTEGER NOT NULL,\n"
    "  core_dumped INTEGER NOT NULL,\n"
    "  exit_reason TEXT NOT NULL,\n"
    "  log_cap INTEGER NOT NULL,\n"
    "  log_first INTEGER NOT NULL,\n"
    "  log_first_offset INTEGER NOT NULL,\n"
    "  log_last INTEGER NOT NULL,\n"
    "  log_end_offset INTEGER NOT NULL, " SCHEMA_EXIT_NOTE ", " SCHEMA_INPUT_DROPPED ")",

    /* The payload comes last: what stands before it is read without the pages that it fills. */
    "CREATE TABLE chunks(\n"
    "  key INTEGER PRIMARY KEY,\n"
    "  count INTEGER NOT NULL,\n"
    "  \"offset\" INTEGER NOT NULL,\n"
    "  entries TEXT NOT NULL,\n"
    "  data BLOB NOT NULL\n"
    ")",

    "CREATE TABLE \"settings\"(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE forgotten(process INTEGER PRIMARY KEY)",
    SCHEMA_GAPS,
    NULL,
};

static const char *const schema_views[] = {
    "CREATE VIEW logs AS SELECT\n"
    "  'proc_' || p.number AS process_id,\n"
    "  (" SCHEMA_SEQUENCE ") + e.key AS sequence,\n"
    "  CASE json_extract(e.value, '$[0]')\n"
    "    WHEN 0 THEN 'stdout' WHEN 1 THEN 'stderr' ELSE 'pty' END AS stream,\n"
    "  " SCHEMA_ISO("json_extract(e.value, '$[1]')") " AS time,\n"
    "  json_extract(e.value, '$[3]') AS bytes,\n"
    "  CAST(substr(c.data, json_extract(e.value, '$[2]') + 1,\n"
    "    json_extract(e.value, '$[3]')) AS TEXT) AS text,\n"
    "  substr(c.data, json_extract(e.value, '$[2]') + 1,\n"
    "    json_extract(e.value, '$[3]')) AS data\n"
    "FROM process_records p\n"
    "CROSS JOIN chunks c ON " SCHEMA_RANGE("c.key", "p.number") "\n"
    "CROSS JOIN json_each(c.entries) e",

    "CREATE VIEW processes AS SELECT\n"
    "  'proc_' || p.number AS id,\n"
    "  p.command, p.args, p.cwd, p.env_names,\n"
    "  CASE WHEN p.exited THEN 'exited' ELSE 'running' END AS status,\n"
    "  CASE WHEN p.exited AND p.exit_kind = 1 THEN p.exit_value END AS exit_code,\n"
    "  CASE WHEN p.exited AND p.exit_kind = 2 THEN 'SIG' ||\n"
    "    CASE WHEN p.exit_value BETWEEN 1 AND 31 THEN rtrim(substr(\n"
    "      'HUP   INT   QUIT  ILL   TRAP  ABRT  BUS   FPE   KILL  USR1  SEGV  '\n"
    "      || 'USR2  PIPE  ALRM  TERM  STKFLTCHLD  CONT  STOP  TSTP  TTIN  TTOU  '\n"
    "      || 'URG   XCPU  XFSZ  VTALRMPROF  WINCH IO    PWR   SYS   ',\n"
    "      p.exit_value * 6 - 5, 6)) ELSE p.exit_value END END AS exit_signal,\n"
    "  CASE WHEN p.exited THEN p.core_dumped END AS core_dumped,\n"
    "  CASE WHEN p.exited THEN p.exit_reason END AS exit_reason,\n"
    "  p.exit_note,\n"
    "  " SCHEMA_ISO("p.created_ms") " AS created_at,\n"
    "  CASE WHEN p.exited THEN " SCHEMA_ISO("p.exited_ms") " END AS exited_at,\n"
    "  p.tty, p.interactive, p.persist, p.cols, p.rows, p.pid, p.input_dropped,\n"
    "  " SCHEMA_NUMBER("p.log_cap") " AS log_cap,\n"
    /* Offsets count what is missing between two chunks, too. */
    "  coalesce(" SCHEMA_OF_CHUNK("c.\"offset\" + length(c.data)", " DESC") "\n"
    "  - " SCHEMA_OF_CHUNK("c.\"offset\"", "") "\n"
    "  - (SELECT coalesce(sum(g.bytes), 0) FROM gap_records g WHERE g.process = p.number\n"
    "    AND g.first_sequence > " SCHEMA_OF_CHUNK(SCHEMA_SEQUENCE, "") "\n"
    "    AND g.first_sequence < " SCHEMA_OF_CHUNK(SCHEMA_SEQUENCE, " DESC") "), 0) AS log_bytes\n"
    "FROM process_records p",

    "CREATE VIEW gaps AS SELECT\n"
    "  'proc_' || g.process AS process_id,\n"
    "  g.first_sequence, g.last_sequence, g.bytes,\n"
    "  " SCHEMA_ISO("g.time_ms") " AS time\n"
    "FROM gap_records g",

    "CREATE VIEW config AS SELECT name, " SCHEMA_NUMBER("value") " AS value FROM settings",
    NULL,
};

static const char *const schema_view_names[] = {"logs", "processes", "gaps", "config", NULL};

int sbx_schema_look(struct sqlite3 *conn, enum sbx_schema_state *state, uint64_t *version)
{
    uint64_t application = 0, objects = 0;
    int rc = sbx_sql_get_u64(conn, "SELECT count(*) FROM sqlite_schema", &objects);
    if (rc == SQLITE_OK)
        rc = sbx_sql_get_u64(conn, "PRAGMA application_id", &application);
    if (rc == SQLITE_OK)
        rc = sbx_sql_get_u64(conn, "PRAGMA user_version", version);
    if (application == 0 && objects == 0)
        *state = SBX_SCHEMA_EMPTY;
    else if (application != SBX_SCHEMA_APPLICATION || *version == 0)
        *state = SBX_SCHEMA_FOREIGN;
    else if (*version == SBX_SCHEMA_VERSION)
        *state = SBX_SCHEMA_CURRENT;
    else
        *state = *version > SBX_SCHEMA_VERSION ? SBX_SCHEMA_NEWER : SBX_SCHEMA_OLDER;
    return rc;
}

static int schema_exec_all(struct sqlite3 *conn, const char *const *sql)
{
    int rc = SQLITE_OK;
    for (; rc == SQLITE_OK && *sql != NULL; sql++)
        rc = sbx_sql_exec(conn, *sql);
    return rc;
}

static int schema_set_version(struct sqlite3 *conn)
{
    return sbx_sql_exec(conn, "PRAGMA user_version=" SCHEMA_TEXT(SBX_SCHEMA_VERSION));
}

/* Ends the transaction as its outcome wants it; the outcome is what counts. */
static int schema_end(struct sqlite3 *conn, int rc)
{
    if (rc == SQLITE_OK)
        rc = sbx_sql_exec(conn, "COMMIT");
    if (rc != SQLITE_OK)
        sbx_sql_rollback(conn);
    return rc;
}

static int schema_set_identity(struct sqlite3 *conn, uint64_t identity)
{
    char sql[100];
    (void)snprintf(sql, sizeof sql, "INSERT INTO counters(name, value) VALUES('%s', %llu)",
                   SBX_DB_IDENTITY, (unsigned long long)identity);
    return sbx_sql_exec(conn, sql);
}

int sbx_schema_identity(struct sqlite3 *conn, uint64_t *identity)
{
    return sbx_sql_get_u64(conn, "SELECT value FROM counters WHERE name = '" SBX_DB_IDENTITY "'",
                           identity);
}

int sbx_schema_create(struct sqlite3 *conn, uint64_t identity)
{
    char mark[64];
    int rc = sbx_sql_exec(conn, "BEGIN IMMEDIATE");
    (void)snprintf(mark, sizeof mark, "PRAGMA application_id=%u", SBX_SCHEMA_APPLICATION);
    if (rc == SQLITE_OK)
        rc = sbx_sql_exec(conn, mark);
    if (rc == SQLITE_OK)
        rc = schema_exec_all(conn, schema_tables);
    if (rc == SQLITE_OK)
        rc = schema_exec_all(conn, schema_views);
    if (rc == SQLITE_OK)
        rc = schema_set_identity(conn, identity);
    if (rc == SQLITE_OK)
        rc = schema_set_version(conn);
    return schema_end(conn, rc);
}

/* config was a table before it was a view, of version 3. */
static int schema_drop_views(struct sqlite3 *conn, uint64_t version)
{
    char sql[64];
    size_t i;
    int rc = SQLITE_OK;
    for (i = 0; rc == SQLITE_OK && schema_view_names[i] != NULL; i++) {
        if (version < 3 && strcmp(schema_view_names[i], "config") == 0)
            continue;
        (void)snprintf(sql, sizeof sql, "DROP VIEW IF EXISTS %s", schema_view_names[i]);
        rc = sbx_sql_exec(conn, sql);
    }
    return rc;
}

static int schema_from_1_to_2(struct sqlite3 *conn)
{
    static const char *const steps[] = {
        "ALTER TABLE process_records ADD COLUMN " SCHEMA_EXIT_NOTE,
        "ALTER TABLE process_records ADD COLUMN " SCHEMA_INPUT_DROPPED,
        SCHEMA_GAPS,
        NULL,
    };
    return schema_exec_all(conn, steps);
}

/* Views go first: ALTER TABLE reads them, and refuses where one does not fit. */
int sbx_schema_migrate(struct sqlite3 *conn, uint64_t from)
{
    int rc = sbx_sql_exec(conn, "BEGIN IMMEDIATE");
    if (rc == SQLITE_OK)
        rc = schema_drop_views(conn, from);
    if (rc == SQLITE_OK && from < 2)
        rc = schema_from_1_to_2(conn);
    if (rc == SQLITE_OK && from < 3)
        rc = sbx_sql_exec(conn, "ALTER TABLE config RENAME TO settings");
    if (rc == SQLITE_OK)
        rc = schema_exec_all(conn, schema_views);
    if (rc == SQLITE_OK)
        rc = schema_set_version(conn);
    return schema_end(conn, rc);
}

/* One row of what a query gives, or all of them; a check says "ok" or what is wrong. */
static int schema_probe(struct sqlite3 *conn, const char *sql, bool is_check)
{
    struct sqlite3_stmt *st;
    int rc = sbx_sql_prepare(conn, sql, &st);
    if (rc != SQLITE_OK)
        return rc;
    rc = sbx_sql_step(st);
    if (is_check && rc == SQLITE_ROW && !sbx_str_eq_z(sbx_sql_text(st, 0), "ok"))
        rc = SQLITE_CORRUPT;
    sbx_sql_finalize(&st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The small tables are checked whole. Of the chunks only both ends are read: to check them all
 * would take as long as to read the file. */
int sbx_schema_check(struct sqlite3 *conn, uint64_t version)
{
    static const char *const ends[] = {
        "SELECT count + length(entries) + length(data) FROM chunks ORDER BY key LIMIT 1",
        "SELECT count + length(entries) + length(data) FROM chunks ORDER BY key DESC LIMIT 1",
        NULL,
    };
    const char *const tables[] = {"process_records", version < 3 ? "config" : "settings",
                                  "counters", "forgotten", NULL};
    char sql[64];
    size_t i;
    int rc = SQLITE_OK;
    for (i = 0; rc == SQLITE_OK && tables[i] != NULL; i++) {
        (void)snprintf(sql, sizeof sql, "PRAGMA quick_check(%s)", tables[i]);
        rc = schema_probe(conn, sql, true);
    }
    for (i = 0; rc == SQLITE_OK && ends[i] != NULL; i++)
        rc = schema_probe(conn, ends[i], false);
    return rc;
}
