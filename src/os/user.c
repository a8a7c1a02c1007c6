/* user.c - see user.h.
 *
 * Lines are read as passwd(5) and group(5) have them, the first match counts, and what is not of
 * that form is passed over: comments, the "+" and "-" entries of NIS, numbers that are none, NUL
 * bytes, lines of USER_LINE_MAX bytes and more. A file that is missing is empty, so that UID:GID
 * works in an image that has no accounts at all; one that cannot be read is an error, since the
 * groups that it would have named would be missing without a word.
 *
 * Groups are those of initgroups(3): the primary one, or the one named instead, and every one that
 * lists the account as a member. A number without an account is a member of nothing, and needs its
 * group given: any guess (0, the same number) could be a group that means something.
 *
 * Digits are always a number. The number 4294967295 is none: to setresuid(2) it means "leave as it
 * is", and so it would drop nothing. */
#include "os/user.h"
#include "base/str.h"
#include "os/fd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

#define USER_LINE_MAX 16384u
#define USER_PATH_MAX 4096u
#define USER_PASSWD_FIELDS 7u
#define USER_GROUP_FIELDS 4u

/* What was asked for, and how far the search for it has come. */
struct user_search {
    struct sbx_user *found;
    const char *text;
    const char *dir;
    struct sbx_str user, group;   /* group: empty when none is given */
    bool by_uid, by_gid;          /* uid, gid: valid */
    bool has_account, has_group;
    uint32_t uid, gid;
};

/* Bytes at..end of the text are read and not yet given out. */
struct user_lines {
    int fd; /* -1: there is no file */
    bool skipping; /* what is in the text goes on a line that is too long */
    size_t at, end;
    char text[USER_LINE_MAX];
};

/* --- lines and fields ------------------------------------------------------------------------- */

static int user_open(struct user_lines *f, const char *dir, const char *file)
{
    char path[USER_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", dir, file);
    f->fd = -1;
    f->at = f->end = 0;
    f->skipping = false;
    if (n < 0 || (size_t)n >= sizeof path)
        return -ENAMETOOLONG;
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
    return f->fd < 0 && errno != ENOENT ? -errno : 0;
}

static ssize_t user_fill(struct user_lines *f)
{
    ssize_t got;
    if (f->fd < 0)
        return 0;
    f->end -= f->at;
    memmove(f->text, f->text + f->at, f->end);
    f->at = 0;
    if (f->end == sizeof f->text) {
        f->skipping = true;
        f->end = 0;
    }
    got = sbx_fd_read(f->fd, f->text + f->end, sizeof f->text - f->end);
    if (got > 0)
        f->end += (size_t)got;
    return got;
}

/* 1 and a line without its newline, which the last one need not have; 0 at the end; -errno. */
static int user_next_line(struct user_lines *f, struct sbx_str *line)
{
    for (;;) {
        const char *newline = memchr(f->text + f->at, '\n', f->end - f->at);
        bool whole = !f->skipping;
        if (newline == NULL) {
            ssize_t got = user_fill(f);
            if (got > 0)
                continue;
            if (got < 0 || f->end == 0)
                return (int)got;
            newline = f->text + f->end;
        }
        *line = (struct sbx_str){f->text + f->at, (size_t)(newline - (f->text + f->at))};
        f->at += line->n + (f->at + line->n < f->end);
        f->skipping = false;
        if (whole)
            return 1;
    }
}

/* The last field takes what is left. False when there are fewer, or when it is no entry. */
static bool user_split(struct sbx_str line, struct sbx_str *fields, size_t n)
{
    size_t i;
    if (line.n == 0 || memchr("#+-:", line.p[0], 4) != NULL || memchr(line.p, '\0', line.n) != NULL)
        return false;
    for (i = 0; i + 1 < n; i++) {
        const char *colon = memchr(line.p, ':', line.n);
        if (colon == NULL)
            return false;
        fields[i] = (struct sbx_str){line.p, (size_t)(colon - line.p)};
        line.p += fields[i].n + 1;
        line.n -= fields[i].n + 1;
    }
    fields[i] = line;
    return true;
}

static bool user_to_id(struct sbx_str s, uint32_t *id)
{
    uint64_t v;
    if (sbx_str_to_u64(s, &v) < 0 || v >= UINT32_MAX)
        return false;
    *id = (uint32_t)v;
    return true;
}

static bool user_is_number(struct sbx_str s)
{
    size_t i;
    for (i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

static bool user_copy(char *to, size_t size, struct sbx_str s)
{
    if (s.n >= size)
        return false;
    if (s.n > 0)
        memcpy(to, s.p, s.n);
    to[s.n] = '\0';
    return true;
}

/* --- the account ------------------------------------------------------------------------------ */

static int user_parse(struct user_search *s, struct sbx_err *err)
{
    const char *colon = strchr(s->text, ':');
    s->user = sbx_str_z(s->text);
    if (colon != NULL) {
        s->user.n = (size_t)(colon - s->text);
        s->group = sbx_str_z(colon + 1);
    }
    s->by_uid = user_is_number(s->user);
    s->by_gid = user_is_number(s->group);
    if (s->user.n == 0 || (colon != NULL && s->group.n == 0) || strchr(s->group.p, ':') != NULL)
        return sbx_err_set(err, EINVAL,
                           "--user \"%.100s\" is not NAME, UID, NAME:GROUP or UID:GID", s->text);
    if ((s->by_uid && !user_to_id(s->user, &s->uid)) ||
        (s->by_gid && !user_to_id(s->group, &s->gid)))
        return sbx_err_set(err, EINVAL, "--user \"%.100s\": a number is at most %lu", s->text,
                           (unsigned long)UINT32_MAX - 1);
    return 0;
}

static int user_refuse_root(const struct user_search *s, struct sbx_err *err)
{
    return sbx_err_set(err, EINVAL, "--user \"%.100s\" is root: that would drop nothing", s->text);
}

/* 1: that is the one; 0: it is not; -ENAMETOOLONG. */
static int user_take_account(struct user_search *s, struct sbx_str line)
{
    struct sbx_str field[USER_PASSWD_FIELDS];
    struct sbx_user *u = s->found;
    uint32_t uid, gid;
    if (!user_split(line, field, USER_PASSWD_FIELDS) || !user_to_id(field[2], &uid) ||
        !user_to_id(field[3], &gid))
        return 0;
    if (s->by_uid ? uid != s->uid : !sbx_str_eq(field[0], s->user))
        return 0;
    if (!user_copy(u->name, sizeof u->name, field[0]) ||
        !user_copy(u->home, sizeof u->home, field[5].n > 0 ? field[5] : SBX_STR("/")))
        return -ENAMETOOLONG;
    u->uid = uid;
    u->gid = gid;
    s->has_account = true;
    return 1;
}

static int user_find_account(struct user_search *s, struct sbx_err *err)
{
    struct user_lines f;
    struct sbx_str line;
    int rc = user_open(&f, s->dir, "passwd");
    if (rc == 0)
        while ((rc = user_next_line(&f, &line)) > 0 && (rc = user_take_account(s, line)) == 0)
            ;
    sbx_fd_close(&f.fd);
    if (rc == -ENAMETOOLONG)
        return sbx_err_set(err, rc, "--user \"%.100s\": name or home directory is too long",
                           s->text);
    if (rc >= 0)
        return 0;
    sbx_err_set(err, rc, "--user \"%.100s\": %.100s/passwd", s->text, s->dir);
    return sbx_err_add_reason(err);
}

/* No account: numbers stand for themselves where both are given. */
static int user_stand_in(struct user_search *s, struct sbx_err *err)
{
    struct sbx_user *u = s->found;
    if (!s->by_uid)
        return sbx_err_set(err, ENOENT,
                           "--user \"%.100s\": there is no such account in %.100s/passwd", s->text,
                           s->dir);
    if (s->group.n == 0)
        return sbx_err_set(err, ENOENT,
                           "--user \"%.100s\": no account in %.100s/passwd has that number; "
                           "give its group too, as in %lu:GID",
                           s->text, s->dir, (unsigned long)s->uid);
    u->uid = s->uid;
    (void)snprintf(u->name, sizeof u->name, "%lu", (unsigned long)s->uid);
    (void)snprintf(u->home, sizeof u->home, "/");
    return 0;
}

/* --- its groups ------------------------------------------------------------------------------- */

static bool user_is_listed(struct sbx_str members, const char *name)
{
    struct sbx_str member;
    while (sbx_str_next_in_list(&members, &member))
        if (sbx_str_eq_z(member, name))
            return true;
    return false;
}

static int user_add_group(struct sbx_user *u, gid_t gid)
{
    size_t i;
    for (i = 0; i < u->ngroups; i++)
        if (u->groups[i] == gid)
            return 0;
    if (u->ngroups == SBX_USER_GROUPS_MAX)
        return -E2BIG;
    u->groups[u->ngroups++] = gid;
    return 0;
}

static void user_set_group(struct user_search *s, gid_t gid)
{
    s->found->gid = gid;
    s->found->groups[0] = gid;
    s->has_group = true;
}

static int user_take_group(struct user_search *s, struct sbx_str line)
{
    struct sbx_str field[USER_GROUP_FIELDS];
    uint32_t gid;
    if (!user_split(line, field, USER_GROUP_FIELDS) || !user_to_id(field[2], &gid))
        return 0;
    if (!s->has_group && sbx_str_eq(field[0], s->group))
        user_set_group(s, gid);
    if (s->has_account && user_is_listed(field[3], s->found->name))
        return user_add_group(s->found, gid);
    return 0;
}

/* The gid comes first in the list: the BSDs keep the effective one in that place. */
static int user_find_groups(struct user_search *s, struct sbx_err *err)
{
    struct user_lines f;
    struct sbx_str line;
    int rc = user_open(&f, s->dir, "group");
    s->found->ngroups = 1;
    if (s->by_gid || s->group.n == 0)
        user_set_group(s, s->by_gid ? (gid_t)s->gid : s->found->gid);
    if (rc == 0)
        while ((rc = user_next_line(&f, &line)) > 0 && (rc = user_take_group(s, line)) == 0)
            ;
    sbx_fd_close(&f.fd);
    if (rc == -E2BIG)
        return sbx_err_set(err, rc, "--user \"%.100s\" is in more than %u groups", s->text,
                           SBX_USER_GROUPS_MAX);
    if (rc < 0) {
        sbx_err_set(err, rc, "--user \"%.100s\": %.100s/group", s->text, s->dir);
        return sbx_err_add_reason(err);
    }
    if (!s->has_group)
        return sbx_err_set(err, ENOENT, "--user \"%.100s\": there is no such group in %.100s/group",
                           s->text, s->dir);
    return 0;
}

int sbx_user_find(struct sbx_user *u, const char *text, const char *dir, struct sbx_err *err)
{
    struct user_search s = {.found = u, .text = text, .dir = dir, .group = SBX_STR("")};
    int rc = user_parse(&s, err);
    memset(u, 0, sizeof *u);
    if (rc < 0)
        return rc;
    if (s.by_uid && s.uid == 0)
        return user_refuse_root(&s, err);
    rc = user_find_account(&s, err);
    if (rc == 0 && !s.has_account)
        rc = user_stand_in(&s, err);
    if (rc < 0)
        return rc;
    return u->uid == 0 ? user_refuse_root(&s, err) : user_find_groups(&s, err);
}

/* --- becoming it ------------------------------------------------------------------------------ */

static int user_set_gids(gid_t gid)
{
#if defined(__linux__) || defined(__FreeBSD__) || defined(__OpenBSD__)
    return setresgid(gid, gid, gid);
#else
    return setgid(gid); /* for root it is all three */
#endif
}

static int user_set_uids(uid_t uid)
{
#if defined(__linux__) || defined(__FreeBSD__) || defined(__OpenBSD__)
    return setresuid(uid, uid, uid);
#else
    return setuid(uid);
#endif
}

/* Capabilities outlive a change of user where the process was told to keep them (securebits(7)). So
 * the way back is tried and not concluded to be closed. */
static bool user_can_return(void)
{
    return setuid(0) == 0 || seteuid(0) == 0 || getuid() == 0 || geteuid() == 0;
}

static int user_fail(const struct sbx_user *u, const char *call, struct sbx_err *err)
{
    sbx_err_set(err, errno, "cannot become user %s: %s", u->name, call);
    return sbx_err_add_reason(err);
}

int sbx_user_become(const struct sbx_user *u, struct sbx_err *err)
{
    uint16_t ngroups = (uint16_t)u->ngroups; /* the parameter is a size_t here and an int there */
    assert(u->uid != 0 && u->uid != (uid_t)-1 && u->gid != (gid_t)-1);
    assert(u->ngroups > 0 && u->ngroups <= SBX_USER_GROUPS_MAX);
    if (setgroups(ngroups, u->groups) < 0)
        return user_fail(u, "setgroups", err);
    if (user_set_gids(u->gid) < 0)
        return user_fail(u, "setgid", err);
    if (user_set_uids(u->uid) < 0)
        return user_fail(u, "setuid", err);
    if (user_can_return() || getuid() != u->uid || geteuid() != u->uid || getgid() != u->gid ||
        getegid() != u->gid)
        return sbx_err_set(err, EPERM,
                           "cannot become user %s for good: there is a way back to root", u->name);
    return 0;
}

/* Ours alone, and named in one place alone: no file of somebody else that was put there. */
static int user_is_own_socket(const struct stat *st)
{
    return S_ISSOCK(st->st_mode) && st->st_uid == geteuid() && st->st_nlink == 1;
}

/* By descriptor where there are some that only name a file: then what was looked at is what is
 * given. Elsewhere the directory of the socket should not be that user's. */
int sbx_user_give_socket(const struct sbx_user *u, const char *path)
{
    struct stat st;
    int rc = 0;
#if defined(O_PATH) && defined(AT_EMPTY_PATH)
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        rc = -errno;
    else if (!user_is_own_socket(&st))
        rc = -EPERM;
    else if (fchownat(fd, "", u->uid, u->gid, AT_EMPTY_PATH) < 0)
        rc = -errno;
    (void)close(fd);
#else
    if (lstat(path, &st) < 0)
        rc = -errno;
    else if (!user_is_own_socket(&st))
        rc = -EPERM;
    else if (lchown(path, u->uid, u->gid) < 0)
        rc = -errno;
#endif
    return rc;
}

int sbx_user_no_new_privs(void)
{
#ifdef PR_SET_NO_NEW_PRIVS
    return prctl(PR_SET_NO_NEW_PRIVS, 1ul, 0ul, 0ul, 0ul) == 0 ? 0 : -ENOTSUP;
#else
    return -ENOTSUP;
#endif
}
