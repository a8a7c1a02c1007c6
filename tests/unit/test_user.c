/* Accounts are found in files of our own making; becoming one is tried in a child, and asked of the
 * kernel from inside. */
#include "os/user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SECURE_NO_SETUID_FIXUP 4ul /* SECBIT_NO_SETUID_FIXUP of <linux/securebits.h> */
#define LINE_MAX_BYTES 16384       /* longer lines are passed over */

static const char passwd_text[] =
    "root:x:0:0:root:/root:/bin/bash\n"
    "toor:x:0:0:another root:/root:/bin/sh\n"
    "agent:x:1000:1000:Agent,,,:/home/agent:/bin/bash\n"
    "second:x:1000:1001:the same number:/home/second:/bin/sh\n"
    "alone:x:1002:1002::/home/alone:\n"
    "homeless:x:1003:1003:::\n"
    "4711:x:1004:1004::/home/digits:/bin/sh\n"
    "wheelie:x:1005:0::/home/wheelie:/bin/sh\n"
    "last:x:4294967294:4294967294::/home/last:/bin/sh"; /* without a newline */

static const char group_text[] =
    "root:x:0:\n"
    "audio:x:29:agent,alone\n"
    "video:x:44:alone, agent ,\n"
    "agent:x:1000:\n"
    "sudo:x:27:agents,xagent,Agent\n"
    "docker:x:998:agent\n"
    "again:x:998:agent\n"
    "digits:x:77:4711,1234\n"
    "lasts:x:4294967294:agent";

static char dir[64];
static struct sbx_user u;
static struct sbx_err err;

static void path_of(char path[128], const char *name)
{
    (void)snprintf(path, 128, "%s/%s", dir, name);
}

static void put(const char *name, const char *text, size_t n)
{
    char path[128];
    FILE *f;
    path_of(path, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void put_z(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static void drop(const char *name)
{
    char path[128];
    path_of(path, name);
    (void)unlink(path);
    (void)rmdir(path);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/test_user.XXXXXX");
    assert_non_null(mkdtemp(dir));
    put_z("passwd", passwd_text);
    put_z("group", group_text);
    memset(&u, 0xA5, sizeof u);
    memset(&err, 0, sizeof err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    drop("passwd");
    drop("group");
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

static void find(const char *text)
{
    memset(&u, 0xA5, sizeof u);
    if (sbx_user_find(&u, text, dir, &err) != 0)
        fail_msg("%s: %s", text, err.text);
}

static void check_ids(const char *text, unsigned uid, unsigned gid, const char *name,
                      const char *home)
{
    find(text);
    assert_int_equal(u.uid, uid);
    assert_int_equal(u.gid, gid);
    assert_string_equal(u.name, name);
    assert_string_equal(u.home, home);
    assert_true(u.ngroups > 0);
    assert_int_equal(u.groups[0], gid);
}

/* The groups beside the first one, in the order of the file. */
static void check_others(size_t n, const unsigned *gids)
{
    size_t i;
    assert_int_equal(u.ngroups, n + 1);
    for (i = 0; i < n; i++)
        assert_int_equal(u.groups[i + 1], gids[i]);
}

#define CHECK_OTHERS(...)                                                                          \
    check_others(sizeof((unsigned[]){__VA_ARGS__}) / sizeof(unsigned), (unsigned[]){__VA_ARGS__})

static void check_refused(const char *text, int code, const char *why)
{
    char named[128];
    memset(&err, 0, sizeof err);
    if (sbx_user_find(&u, text, dir, &err) != code)
        fail_msg("\"%s\" gave %d: %s", text, err.code, err.text);
    (void)snprintf(named, sizeof named, "--user \"%.100s\"", text);
    assert_int_equal(err.code, code);
    if (strncmp(err.text, named, strlen(named)) != 0 || strstr(err.text, why) == NULL)
        fail_msg("\"%s\" was refused with: %s", text, err.text);
}

/* --- accounts --------------------------------------------------------------------------------- */

static void test_name(void **state)
{
    (void)state;
    check_ids("agent", 1000, 1000, "agent", "/home/agent");
    CHECK_OTHERS(29, 44, 998, 4294967294u);
    check_ids("alone", 1002, 1002, "alone", "/home/alone");
    CHECK_OTHERS(29, 44);
    check_ids("second", 1000, 1001, "second", "/home/second");
    check_others(0, NULL);
    check_ids("homeless", 1003, 1003, "homeless", "/");
    check_ids("last", 4294967294u, 4294967294u, "last", "/home/last");
    check_ids("wheelie", 1005, 0, "wheelie", "/home/wheelie"); /* of group 0, and yet not root */
}

static void test_uid(void **state)
{
    (void)state;
    check_ids("1000", 1000, 1000, "agent", "/home/agent"); /* the first of that number */
    CHECK_OTHERS(29, 44, 998, 4294967294u);
    check_ids("0001002", 1002, 1002, "alone", "/home/alone");
    check_ids("1004", 1004, 1004, "4711", "/home/digits");
    CHECK_OTHERS(77);
}

static void test_with_group(void **state)
{
    (void)state;
    check_ids("agent:sudo", 1000, 27, "agent", "/home/agent");
    CHECK_OTHERS(29, 44, 998, 4294967294u);
    check_ids("agent:docker", 1000, 998, "agent", "/home/agent");
    CHECK_OTHERS(29, 44, 4294967294u);
    check_ids("agent:12345", 1000, 12345, "agent", "/home/agent");
    check_ids("1002:1000", 1002, 1000, "alone", "/home/alone");
    CHECK_OTHERS(29, 44);
    check_ids("1002:root", 1002, 0, "alone", "/home/alone");
}

/* A number that no account has is a member of nothing, even where a group lists it as a name. */
static void test_numbers_without_account(void **state)
{
    (void)state;
    check_ids("1234:5678", 1234, 5678, "1234", "/");
    check_others(0, NULL);
    check_ids("4711:77", 4711, 77, "4711", "/"); /* digits are never a name */
    check_others(0, NULL);
    check_ids("1234:audio", 1234, 29, "1234", "/");
    check_ids("4294967294:4294967294", 4294967294u, 4294967294u, "last", "/home/last");
    check_refused("1234", -ENOENT, "give its group too, as in 1234:GID");
}

static void test_root_is_refused(void **state)
{
    static const char *const roots[] = {"0", "00", "root", "toor", "0:1000", "root:agent", "000:1"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof roots / sizeof roots[0]; i++)
        check_refused(roots[i], -EINVAL, "is root: that would drop nothing");
    drop("passwd");
    check_refused("0", -EINVAL, "is root");
    check_refused("0:1000", -EINVAL, "is root");
}

static void test_unknown(void **state)
{
    (void)state;
    check_refused("nobody", -ENOENT, "no such account");
    check_refused("agen", -ENOENT, "no such account");
    check_refused("agents", -ENOENT, "no such account");
    check_refused("Agent", -ENOENT, "no such account");
    check_refused("-1", -ENOENT, "no such account");
    check_refused("agent:staff", -ENOENT, "no such group");
    check_refused("agent:-1", -ENOENT, "no such group");
    check_refused("1234:staff", -ENOENT, "no such group");
}

static void test_not_of_the_form(void **state)
{
    static const char *const texts[] = {"", ":", "agent:", ":agent", "agent:audio:video", "1:2:3"};
    static const char *const large[] = {"4294967295", "4294967296", "18446744073709551616",
                                        "1000:4294967295", "agent:99999999999999999999999"};
    size_t i;
    (void)state;
    for (i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_refused(texts[i], -EINVAL, "is not NAME, UID, NAME:GROUP or UID:GID");
    for (i = 0; i < sizeof large / sizeof large[0]; i++)
        check_refused(large[i], -EINVAL, "at most 4294967294");
}

/* --- files ------------------------------------------------------------------------------------ */

static void test_malformed_lines(void **state)
{
    static const char passwd[] = "\n"
                                 ":\n"
                                 ":::::::\n"
                                 "# agent:x:1:1::/comment:\n"
                                 "#agent:x:1:1::/comment:\n"
                                 "+agent:x:1:1::/nis:\n"
                                 "-agent:x:1:1::/nis:\n"
                                 "agent\n"
                                 "agent:x:1:1\n"
                                 "agent:x:1:1::/short\n"
                                 "agent:x::1::/no-uid:\n"
                                 "agent:x:1:::/no-gid:\n"
                                 "agent:x:-1:1::/negative:\n"
                                 "agent:x: 1:1::/blank:\n"
                                 "agent:x:0x1:1::/hex:\n"
                                 "agent:x:4294967295:1::/minus-one:\n"
                                 "agent:x:1:4294967296::/too-large:\n"
                                 "agent:x:1:1:\0:/nul:\n"
                                 " agent:x:1:1::/blank:\n"
                                 "agent :x:1:1::/blank:\n"
                                 "agent:x:1000:1000::/right::with:more:\n";
    static const char group[] = "staff\nstaff:x:1\nstaff:x::agent\nstaff:x:a:agent\n"
                                "staff:x:4294967295:agent\n#staff:x:1:agent\nstaff:x:1:\0agent\n"
                                "+staff:x:1:agent\n:x:1:agent\nstaff:x:50:agent:agent\n"
                                "staff:x:51:,,agent,,\n";
    (void)state;
    put("passwd", passwd, sizeof passwd - 1);
    put("group", group, sizeof group - 1);
    check_ids("agent:staff", 1000, 50, "agent", "/right");
    CHECK_OTHERS(51);
    check_ids("agent:51", 1000, 51, "agent", "/right");
    check_others(0, NULL);
}

static void test_missing_files(void **state)
{
    (void)state;
    drop("group");
    check_ids("agent", 1000, 1000, "agent", "/home/agent");
    check_others(0, NULL);
    check_refused("agent:agent", -ENOENT, "no such group");
    drop("passwd");
    check_ids("1000:1001", 1000, 1001, "1000", "/");
    check_others(0, NULL);
    check_refused("agent", -ENOENT, "no such account");
    check_refused("1000", -ENOENT, "give its group too");
    put_z("group", group_text);
    check_ids("1000:audio", 1000, 29, "1000", "/");
    check_others(0, NULL);
}

/* Whoever cannot read who is in which group must not guess. */
static void test_unreadable_files(void **state)
{
    char path[128];
    (void)state;
    drop("group");
    path_of(path, "group");
    assert_int_equal(mkdir(path, 0700), 0);
    check_refused("agent", -EISDIR, "/group: Is a directory");
    check_refused("1234:5678", -EISDIR, "/group");
    path_of(path, "passwd");
    assert_int_equal(sbx_user_find(&u, "1234:5678", path, &err), -ENOTDIR);
    drop("passwd");
    path_of(path, "passwd");
    assert_int_equal(mkdir(path, 0700), 0);
    check_refused("agent", -EISDIR, "/passwd: Is a directory");
    check_refused("1234:5678", -EISDIR, "/passwd");
}

static void test_empty_files(void **state)
{
    (void)state;
    put_z("passwd", "");
    put_z("group", "");
    check_refused("agent", -ENOENT, "no such account");
    check_ids("1:1", 1, 1, "1", "/");
}

/* A line of that length stands between two others: it counts up to the limit, and none of its bytes
 * is taken for another line's, though from many places on they look like one. */
static void check_line_of(size_t n, bool counts)
{
    static char text[4 * LINE_MAX_BYTES];
    static const char before[] = "agent:x:10:\n", after[] = "\nafter:x:12:agent\n";
    static const char within[] = ",y:x:13:agent";
    size_t at = sizeof before - 1, i;
    assert_true(at + n + sizeof after < sizeof text);
    for (i = 0; i < n; i++)
        text[at + i] = within[(i + n) % (sizeof within - 1)];
    memcpy(text, before, at);
    memcpy(text + at, "long:x:11:", 10);
    memcpy(text + at + n - 6, ",agent", 6);
    memcpy(text + at + n, after, sizeof after);
    put_z("group", text);
    find("agent:agent");
    assert_int_equal(u.gid, 10);
    if (counts)
        CHECK_OTHERS(11, 12);
    else
        CHECK_OTHERS(12);
}

static void test_long_lines(void **state)
{
    size_t n;
    (void)state;
    for (n = LINE_MAX_BYTES - 40; n < LINE_MAX_BYTES; n++)
        check_line_of(n, true);
    for (n = LINE_MAX_BYTES; n < LINE_MAX_BYTES + 40; n++)
        check_line_of(n, false);
    for (n = 2 * LINE_MAX_BYTES - 40; n < 2 * LINE_MAX_BYTES + 40; n++)
        check_line_of(n, false);
    check_line_of(3 * LINE_MAX_BYTES, false);
}

/* A long line that ends in what looks like an account, and with the file. */
static void test_long_last_line(void **state)
{
    static char text[3 * LINE_MAX_BYTES];
    size_t n;
    (void)state;
    for (n = LINE_MAX_BYTES; n < sizeof text; n += LINE_MAX_BYTES / 4) {
        static const char tail[] = "agent:x:7:7::/:";
        memset(text, 'x', sizeof text);
        memcpy(text + n - sizeof tail, tail, sizeof tail);
        put_z("passwd", text);
        check_refused("agent", -ENOENT, "no such account");
        if (n % LINE_MAX_BYTES != 0 || n + sizeof tail > sizeof text)
            continue;
        memset(text + n - sizeof tail, 'x', sizeof tail);
        memcpy(text + n, tail, sizeof tail); /* read by itself */
        put_z("passwd", text);
        check_refused("agent", -ENOENT, "no such account");
    }
}

/* Every position of a line's end in what is read at a time; and any number of lines. */
static void test_many_lines(void **state)
{
    size_t pad, i;
    (void)state;
    for (pad = 0; pad < 60; pad++) {
        char path[128], line[64];
        FILE *f;
        path_of(path, "passwd");
        f = fopen(path, "w");
        assert_non_null(f);
        for (i = 0; i < pad; i++)
            (void)fputc('#', f);
        (void)fputc('\n', f);
        for (i = 1; i <= 1500; i++)
            (void)fprintf(f, "user%zu:x:%zu:%zu::/home/user%zu:/bin/sh\n", i, i, i + 1, i);
        assert_int_equal(fclose(f), 0);
        for (i = 300; i <= 1500; i += 400) {
            (void)snprintf(line, sizeof line, "user%zu", i);
            find(line);
            assert_int_equal(u.uid, i);
            assert_int_equal(u.gid, i + 1);
        }
    }
}

static void test_names_that_do_not_fit(void **state)
{
    char text[700], name[80], home[300];
    (void)state;
    memset(name, 'n', sizeof name);
    memset(home, 'h', sizeof home);
    home[0] = '/';
    (void)snprintf(text, sizeof text,
                   "%.63s:x:1:1::%.255s:\n%.64s:x:2:2::/:\nlong:x:3:3::%.256s:\n", name, home, name,
                   home);
    put_z("passwd", text);
    name[63] = '\0';
    home[255] = '\0';
    check_ids("1", 1, 1, name, home);
    check_refused("2", -ENAMETOOLONG, "too long");
    check_refused("long", -ENAMETOOLONG, "too long");
}

static void test_too_many_groups(void **state)
{
    static char text[SBX_USER_GROUPS_MAX * 32];
    size_t i, used = 0;
    (void)state;
    for (i = 1; i < SBX_USER_GROUPS_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "g%zu:x:%zu:agent\n", i, i);
    put_z("group", text);
    find("agent");
    assert_int_equal(u.ngroups, SBX_USER_GROUPS_MAX);
    assert_int_equal(u.groups[SBX_USER_GROUPS_MAX - 1], SBX_USER_GROUPS_MAX - 1);
    (void)snprintf(text + used, sizeof text - used, "more:x:5000:agent\n");
    put_z("group", text);
    check_refused("agent", -E2BIG, "more than 256 groups");
}

static void test_no_descriptor_is_left(void **state)
{
    int before = dup(0), after;
    (void)state;
    (void)close(before);
    find("agent:sudo");
    check_refused("nobody", -ENOENT, "");
    check_refused("agent:staff", -ENOENT, "");
    after = dup(0);
    (void)close(after);
    assert_int_equal(after, before);
}

/* --- becoming --------------------------------------------------------------------------------- */

/* What `inside` found wrong, in a child; 0: nothing; SKIP: it cannot be tried here. */
enum { SKIP = 200 };

static int in_child(int (*inside)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(inside());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void set_user(void)
{
    static const gid_t groups[] = {4322, 29, 998};
    memset(&u, 0, sizeof u);
    u.uid = 4321;
    u.gid = groups[0];
    memcpy(u.groups, groups, sizeof groups);
    u.ngroups = 3;
    (void)snprintf(u.name, sizeof u.name, "somebody");
}

/* A root that is one inside of a namespace only may have no other user to become. */
static int become_with_bare_calls(void)
{
    set_user();
    return setgroups(u.ngroups, u.groups) == 0 && setresgid(u.gid, u.gid, u.gid) == 0 &&
                   setresuid(u.uid, u.uid, u.uid) == 0
               ? 0
               : SKIP;
}

static bool can_become(void)
{
    return geteuid() == 0 && in_child(become_with_bare_calls) == 0;
}

static bool groups_are_set(void)
{
    gid_t got[64];
    int n = getgroups(64, got), i;
    size_t k, seen = 0;
    for (i = 0; i < n; i++)
        for (k = 0; k < u.ngroups; k++)
            seen += got[i] == u.groups[k];
    return n == (int)u.ngroups && seen == u.ngroups;
}

static int become_and_look(void)
{
    uid_t r, e, s;
    gid_t gr, ge, gs;
    set_user();
    if (sbx_user_become(&u, &err) != 0)
        return 1;
    if (getresuid(&r, &e, &s) != 0 || r != u.uid || e != u.uid || s != u.uid)
        return 2;
    if (getresgid(&gr, &ge, &gs) != 0 || gr != u.gid || ge != u.gid || gs != u.gid)
        return 3;
    if (!groups_are_set())
        return 4;
    if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0 || setegid(0) == 0)
        return 5;
    if (setgroups(0, NULL) == 0)
        return 6;
    return open("/proc/1/mem", O_RDONLY) >= 0 ? 7 : 0;
}

static void test_become(void **state)
{
    (void)state;
    if (!can_become())
        skip();
    assert_int_equal(in_child(become_and_look), 0);
    assert_int_equal(geteuid(), 0);
}

/* Who is not root gets told so, and which step it was. */
static int become_twice(void)
{
    set_user();
    if (geteuid() == 0 && sbx_user_become(&u, &err) != 0)
        return 1;
    u.uid++;
    if (sbx_user_become(&u, &err) != -EPERM || err.code != -EPERM)
        return 2;
    if (strcmp(err.text, "cannot become user somebody: setgroups: Operation not permitted") != 0)
        return 3;
    return geteuid() == u.uid ? 4 : 0;
}

static void test_become_needs_root(void **state)
{
    (void)state;
    if (geteuid() == 0 && !can_become())
        skip();
    assert_int_equal(in_child(become_twice), 0);
}

/* With capabilities that stay, the ids are all changed and root is one call away. */
static int become_with_a_way_back(void)
{
    set_user();
    if (prctl(PR_SET_SECUREBITS, SECURE_NO_SETUID_FIXUP, 0ul, 0ul, 0ul) != 0)
        return SKIP;
    if (sbx_user_become(&u, &err) != -EPERM)
        return 1;
    return strstr(err.text, "there is a way back to root") == NULL ? 2 : 0;
}

static void test_way_back_is_noticed(void **state)
{
    int rc;
    (void)state;
    if (!can_become())
        skip();
    rc = in_child(become_with_a_way_back);
    if (rc == SKIP)
        skip();
    assert_int_equal(rc, 0);
}

static int no_new_privs(void)
{
    if (prctl(PR_GET_NO_NEW_PRIVS, 0ul, 0ul, 0ul, 0ul) == 1)
        return SKIP; /* inherited */
    if (sbx_user_no_new_privs() != 0)
        return 1;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0ul, 0ul, 0ul, 0ul) != 1)
        return 2;
    return sbx_user_no_new_privs() == 0 ? 0 : 3;
}

static void test_no_new_privs(void **state)
{
    int rc = in_child(no_new_privs);
    (void)state;
    if (rc == SKIP)
        skip();
    assert_int_equal(rc, 0);
}

static int bind_at(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(strlen(path) < sizeof a.sun_path);
    memcpy(a.sun_path, path, strlen(path));
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void expect_given(const char *name, int rc, uid_t uid, gid_t gid)
{
    const struct sbx_user to = {.uid = 1234, .gid = 1235};
    struct stat st;
    char path[128];
    path_of(path, name);
    assert_int_equal(sbx_user_give_socket(&to, path), rc);
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(st.st_gid, gid);
}

/* What that user could have put there meanwhile stays whose it is. */
static void test_give_socket(void **state)
{
    static const char *const names[] = {"socket", "link", "file"};
    char socket_path[128], path[128];
    size_t i;
    int fd;
    (void)state;
    if (geteuid() != 0)
        skip();
    path_of(socket_path, "socket");
    fd = bind_at(socket_path);
    path_of(path, "link");
    assert_int_equal(symlink(socket_path, path), 0);
    expect_given("link", -EPERM, 0, getegid());
    put("file", "of root", 7);
    expect_given("file", -EPERM, 0, getegid());
    path_of(path, "second");
    assert_int_equal(link(socket_path, path), 0);
    expect_given("second", -EPERM, 0, getegid());
    expect_given("socket", -EPERM, 0, getegid());
    assert_int_equal(unlink(path), 0);
    expect_given("socket", 0, 1234, 1235);
    expect_given("socket", -EPERM, 1234, 1235); /* no more ours to give */
    path_of(path, "none");
    assert_int_equal(sbx_user_give_socket(&u, path), -ENOENT);
    (void)close(fd);
    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_of(path, names[i]);
        assert_int_equal(unlink(path), 0);
    }
}

int main(void)
{
#define WITH_FILES(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FILES(test_name),
        WITH_FILES(test_uid),
        WITH_FILES(test_with_group),
        WITH_FILES(test_numbers_without_account),
        WITH_FILES(test_root_is_refused),
        WITH_FILES(test_unknown),
        WITH_FILES(test_not_of_the_form),
        WITH_FILES(test_malformed_lines),
        WITH_FILES(test_missing_files),
        WITH_FILES(test_unreadable_files),
        WITH_FILES(test_empty_files),
        WITH_FILES(test_long_lines),
        WITH_FILES(test_long_last_line),
        WITH_FILES(test_many_lines),
        WITH_FILES(test_names_that_do_not_fit),
        WITH_FILES(test_too_many_groups),
        WITH_FILES(test_no_descriptor_is_left),
        WITH_FILES(test_give_socket),
        cmocka_unit_test(test_become),
        cmocka_unit_test(test_become_needs_root),
        cmocka_unit_test(test_way_back_is_noticed),
        cmocka_unit_test(test_no_new_privs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
