/* user.h - becoming another user for good. Accounts are read from /etc/passwd and /etc/group
 * without the system's resolver: a static binary has no NSS to ask. */
#ifndef SBX_OS_USER_H
#define SBX_OS_USER_H

#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>

#define SBX_USER_NAME_MAX 64u
#define SBX_USER_GROUPS_MAX 256u

struct sbx_user {
    uid_t uid;
    gid_t gid;
    char name[SBX_USER_NAME_MAX]; /* as in the account file; the number where there is no account */
    char home[256];               /* "/" where there is no account */
    gid_t groups[SBX_USER_GROUPS_MAX]; /* gid is the first */
    size_t ngroups;
};

/* text: a name, "UID", "NAME:GROUP" or "UID:GID" as in --user; digits are a number, never a name. A
 * UID that has no account needs its group named. UID 0 and every account that has it are refused:
 * that would drop nothing. dir: where passwd and group are, "/etc". 0, or -errno and err, which
 * names the flag --user. */
int sbx_user_find(struct sbx_user *u, const char *text, const char *dir, struct sbx_err *err);

/* Groups, then gid, then uid, of this process and for good: checks that there is no way back. Needs
 * root. 0 or -errno and err; after an error the process may be neither one nor the other and has
 * to end. The environment is the caller's. */
int sbx_user_become(const struct sbx_user *u, struct sbx_err *err);

/* Gives that user a socket that this process has bound at that path. Whatever else is there by now,
 * a link for instance, stays whose it is. 0 or -errno; needs root. */
int sbx_user_give_socket(const struct sbx_user *u, const char *path);

/* From here on no program started by this process gains rights by exec (setuid files, sudo). 0, or
 * -ENOTSUP where the kernel has no such thing. */
int sbx_user_no_new_privs(void);

#endif
