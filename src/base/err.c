/* err.c - see err.h. Pure formatting; strerror is the only thing asked of the system. */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

int sbx_err_set(struct sbx_err *err, int code, const char *fmt, ...)
{
    va_list ap;
    err->code = code < 0 ? code : -code;
    va_start(ap, fmt);
    (void)vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return err->code;
}

int sbx_err_add_reason(struct sbx_err *err)
{
    size_t used = strlen(err->text);
    (void)snprintf(err->text + used, sizeof err->text - used, ": %s", strerror(-err->code));
    return err->code;
}
