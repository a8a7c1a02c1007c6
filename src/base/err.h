/* err.h - an error as a value: a negative errno-like code and a sentence for people.
 *
 * Functions that can fail for reasons a person must read take a `struct sbx_err *`, fill it
 * and return a negative number. The text never ends in a newline and names the thing at fault. */
#ifndef SBX_BASE_ERR_H
#define SBX_BASE_ERR_H

#include <stdarg.h>

struct sbx_err {
    int code;       /* negative errno value, 0 while nothing has failed */
    char text[320]; /* NUL-terminated; cut, never overrun, when longer */
};

/* Sets code and text; `code` is stored negative whatever its sign. Returns err->code, so that
 * `return sbx_err_set(err, EINVAL, "...")` reads naturally. */
int sbx_err_set(struct sbx_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Appends ": <strerror text>" of the stored code. Returns err->code. */
int sbx_err_add_reason(struct sbx_err *err);

#endif
