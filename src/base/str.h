/* str.h - borrowed views of bytes. A view never owns and is never NUL-terminated by promise;
 * it is valid as long as the memory that it was cut from. */
#ifndef SBX_BASE_STR_H
#define SBX_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sbx_str {
    const char *p;
    size_t n;
};

/* A view of a string literal. */
#define SBX_STR(lit) ((struct sbx_str){(lit), sizeof(lit) - 1})

struct sbx_str sbx_str_z(const char *z); /* view of a NUL-terminated string; NULL gives empty */
bool sbx_str_eq(struct sbx_str a, struct sbx_str b);
bool sbx_str_eq_z(struct sbx_str a, const char *z);
bool sbx_str_ieq(struct sbx_str a, struct sbx_str b);
bool sbx_str_ieq_z(struct sbx_str a, const char *z); /* ASCII case folded (RFC 9110, 5.1) */
bool sbx_str_starts_with(struct sbx_str s, const char *z);
struct sbx_str sbx_str_trim(struct sbx_str s); /* without SP and HTAB at both ends (OWS) */

/* Takes the next member of a comma-separated header list (RFC 9110, 5.6.1), trimmed, out of
 * *rest; false when there is none left. Empty members are skipped. */
bool sbx_str_next_in_list(struct sbx_str *rest, struct sbx_str *item);

/* Does the comma-separated list contain the token, ASCII case folded? */
bool sbx_str_list_has(struct sbx_str list, const char *token);

/* Decimal digits only, no sign, no blanks, at least one digit. 0, or -EINVAL when the text is
 * not a number, -ERANGE when it does not fit 64 bits. */
int sbx_str_to_u64(struct sbx_str s, uint64_t *value);

/* Equal in a time that depends on the length of `given` only, not on where they differ. */
bool sbx_str_eq_const_time(struct sbx_str given, struct sbx_str secret);

#endif
