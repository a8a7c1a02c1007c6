/* diag.h - diagnostics for the operator: one line each on stderr, with time and level. Never a
 * token, never a process's output: callers pass ids, names and error texts only. */
#ifndef SBX_OS_DIAG_H
#define SBX_OS_DIAG_H

enum sbx_diag_level { SBX_DIAG_ERROR, SBX_DIAG_WARN, SBX_DIAG_INFO, SBX_DIAG_DEBUG };

struct sbx_diag {
    enum sbx_diag_level level; /* lines above it are dropped */
};

/* 0 and *level, or -EINVAL for a word that is no level. */
int sbx_diag_parse_level(const char *word, enum sbx_diag_level *level);

/* Control characters in the text are shown as '?', so that a request cannot forge a line. */
void sbx_diag(const struct sbx_diag *d, enum sbx_diag_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
