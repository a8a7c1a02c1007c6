/* Files that hold secrets: read whole or not at all, written so that there is always an old one or
 * a new one, and nothing of them in a message. */
#include "app/secrets.h"

#include "gate.h"
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_US 10000000u

static char dir[64], path[100];
static struct sbx_buf out;
static struct sbx_err err;
static size_t fds_before;

static int setup(void **state)
{
    (void)state;
    memset(&err, 0, sizeof err);
    sbx_buf_init(&out);
    strcpy(dir, "/tmp/secrets.XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/secret", dir);
    fds_before = rig_count_fds();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sbx_buf_deinit(&out);
    (void)unlink(path);
    assert_int_equal(rig_count_fds(), fds_before);
    return rmdir(dir); /* nothing is left beside it */
}

static void put(const char *text, size_t n)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void put_z(const char *text)
{
    put(text, strlen(text));
}

static void expect_says(const char *start, int code)
{
    assert_memory_equal(err.text, start, strlen(start));
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.text, strerror(-code)));
}

static void expect_out(const char *text)
{
    assert_true(sbx_str_eq_z(sbx_buf_view(&out), text));
}

/* --- reading --- */

static void test_read(void **state)
{
    (void)state;
    put("a\0b\n", 4);
    sbx_buf_add_z(&out, "before ");
    assert_int_equal(sbx_secret_read(&out, "--flag", path, 100, WAIT_US, &err), 0);
    assert_int_equal(sbx_buf_len(&out), 11);
    assert_memory_equal(sbx_buf_data(&out), "before a\0b\n", 11);
}

static void test_read_limit(void **state)
{
    char *text = calloc(1, 100001);
    char want[160];
    (void)state;
    assert_non_null(text);
    memset(text, 'x', 100001);
    (void)snprintf(want, sizeof want, "cannot read --flag %s: ", path);
    put(text, 100000);
    assert_int_equal(sbx_secret_read(&out, "--flag", path, 100000, WAIT_US, &err), 0);
    assert_int_equal(sbx_buf_len(&out), 100000);
    sbx_buf_clear(&out);
    put(text, 100001);
    assert_int_equal(sbx_secret_read(&out, "--flag", path, 100000, WAIT_US, &err), -EFBIG);
    expect_says(want, -EFBIG);
    sbx_buf_clear(&out);
    put(text, 0);
    assert_int_equal(sbx_secret_read(&out, "--flag", path, 0, WAIT_US, &err), 0);
    put(text, 1);
    assert_int_equal(sbx_secret_read(&out, "--flag", path, 0, WAIT_US, &err), -EFBIG);
    free(text);
}

static void test_read_what_is_no_file(void **state)
{
    char want[160];
    (void)state;
    (void)snprintf(want, sizeof want, "cannot read --flag %s: ", path);
    assert_int_equal(sbx_secret_read(&out, "--flag", path, 100, WAIT_US, &err), -ENOENT);
    expect_says(want, -ENOENT);
    assert_int_equal(sbx_secret_read(&out, "--flag", dir, 100, WAIT_US, &err), -EISDIR);
    assert_int_equal(sbx_secret_read(&out, "--flag", "", 100, WAIT_US, &err), -ENOENT);
    assert_int_equal(symlink(path, path), 0);
    assert_int_equal(sbx_secret_read(&out, "--flag", path, 100, WAIT_US, &err), -ELOOP);
}

/* The path may be longer than a message. */
static void test_read_long_path(void **state)
{
    char longest[5000];
    (void)state;
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(sbx_secret_read(&out, "--flag", longest, 100, WAIT_US, &err), -ENAMETOOLONG);
    assert_non_null(strstr(err.text, strerror(ENAMETOOLONG)));
}

static void test_read_endless_device(void **state)
{
    (void)state;
    assert_int_equal(sbx_secret_read(&out, "--flag", "/dev/zero", 100000, WAIT_US, &err), -EFBIG);
    assert_true(sbx_buf_len(&out) < 1000000);
}

static void test_fifo_without_a_writer(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(sbx_secret_read(&out, "--flag", path, 100, WAIT_US, &err), 0);
    assert_int_equal(sbx_buf_len(&out), 0);
}

/* As `--token-file <(command)` makes it: the command may be slower than we are. */
static void test_fifo_with_a_slow_writer(void **state)
{
    int status, fd;
    pid_t pid;
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int to = open(path, O_WRONLY | O_CLOEXEC);
        (void)close(fd);
        (void)poll(NULL, 0, 100);
        _exit(to >= 0 && write(to, "late", 4) == 4 ? 0 : 1);
    }
    (void)close(fd); /* the child has it, too, until it has an end of its own */
    assert_int_equal(sbx_secret_read(&out, "--flag", path, 100, WAIT_US, &err), 0);
    expect_out("late");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_fifo_that_says_nothing(void **state)
{
    int fd;
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(sbx_secret_read(&out, "--flag", path, 100, 1000, &err), -ETIMEDOUT);
    assert_int_equal(sbx_secret_read(&out, "--flag", path, 100, 0, &err), -ETIMEDOUT);
    (void)close(fd);
}

static void test_read_without_descriptors(void **state)
{
    struct rlimit was, low;
    int next = sbx_fd_open_null(false), rc;
    (void)state;
    put_z("text");
    (void)close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    low = was;
    low.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    rc = sbx_secret_read(&out, "--flag", path, 100, WAIT_US, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_int_equal(rc, -EMFILE);
}

/* --- writing --- */

static mode_t mode_of(const char *of)
{
    struct stat st;
    assert_int_equal(stat(of, &st), 0);
    return st.st_mode & 07777;
}

static void expect_file(const char *text)
{
    sbx_buf_clear(&out);
    assert_int_equal(sbx_secret_read(&out, "", path, 100000, WAIT_US, &err), 0);
    expect_out(text);
}

static void test_write(void **state)
{
    mode_t before = umask(0);
    (void)state;
    assert_int_equal(sbx_secret_write(path, SBX_STR("first")), 0);
    assert_int_equal(umask(before), 0);
    assert_int_equal(mode_of(path), 0600);
    expect_file("first");
    assert_int_equal(sbx_secret_write(path, SBX_STR("")), 0);
    expect_file("");
}

/* Who has the old file open goes on with it, and who could read it cannot read the new one. */
static void test_write_replaces(void **state)
{
    char old[8] = "";
    int fd;
    (void)state;
    put_z("old");
    assert_int_equal(chmod(path, 0644), 0);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(sbx_secret_write(path, SBX_STR("new")), 0);
    assert_int_equal(mode_of(path), 0600);
    expect_file("new");
    assert_int_equal(read(fd, old, sizeof old), 3);
    assert_string_equal(old, "old");
    (void)close(fd);
}

/* What a crash left behind is in nobody's way, and nobody can have us write elsewhere by it. */
static void test_write_beside_a_leftover(void **state)
{
    char beside[110], other[110];
    (void)state;
    (void)snprintf(beside, sizeof beside, "%s.new", path);
    (void)snprintf(other, sizeof other, "%s/other", dir);
    assert_int_equal(symlink(other, beside), 0);
    assert_int_equal(sbx_secret_write(path, SBX_STR("text")), 0);
    expect_file("text");
    assert_int_equal(access(other, F_OK), -1);
    assert_int_equal(access(beside, F_OK), -1);
}

static void test_write_that_fails(void **state)
{
    char longest[5000], inside[140];
    (void)state;
    assert_int_equal(sbx_secret_write("/no/such/directory/file", SBX_STR("text")), -ENOENT);
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(sbx_secret_write(longest, SBX_STR("text")), -ENAMETOOLONG);
    (void)snprintf(inside, sizeof inside, "%s/file", path);
    put_z("no directory");
    assert_int_equal(sbx_secret_write(inside, SBX_STR("text")), -ENOTDIR);
    assert_int_equal(sbx_secret_write(dir, SBX_STR("text")), -EISDIR); /* its ".new" goes away */
    (void)snprintf(inside, sizeof inside, "%s.new", dir);
    assert_int_equal(access(inside, F_OK), -1);
}

/* The old one stays when there is no room for the new one. */
static void test_write_without_room(void **state)
{
    int status;
    pid_t pid;
    (void)state;
    put_z("old");
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit none = {2, 2};
        (void)signal(SIGXFSZ, SIG_IGN);
        _exit(setrlimit(RLIMIT_FSIZE, &none) == 0 &&
              sbx_secret_write(path, SBX_STR("longer")) == -EFBIG ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    expect_file("old");
}

/* --- tokens --- */

static struct sbx_tokens tokens;

static void expect_tokens(size_t n, const char *last, enum sbx_scope scope)
{
    assert_int_equal(tokens.count, n);
    assert_true(sbx_str_eq_z(tokens.list[n - 1].secret, last));
    assert_int_equal(tokens.list[n - 1].scope, scope);
}

static void expect_left(int code, const char *says)
{
    assert_int_equal(sbx_secrets_read_tokens(&tokens, path, WAIT_US, &err), code);
    assert_non_null(strstr(err.text, says));
    assert_non_null(strstr(err.text, "--token-file"));
    assert_null(strstr(err.text, "hush"));
    expect_tokens(2, "two", SBX_SCOPE_READ);
}

static void test_tokens(void **state)
{
    (void)state;
    sbx_tokens_init(&tokens);
    put_z("before\n");
    assert_int_equal(sbx_secrets_read_tokens(&tokens, path, WAIT_US, &err), 0);
    expect_tokens(1, "before", SBX_SCOPE_FULL);
    put_z("# comment\none full\n\ntwo read");
    assert_int_equal(sbx_secrets_read_tokens(&tokens, path, WAIT_US, &err), 0);
    expect_tokens(2, "two", SBX_SCOPE_READ);
    put_z("hush-1\n\nhush-2 hush-3\n");
    expect_left(-EINVAL, "line 3");
    put_z("hush-1\nhush-1\n");
    expect_left(-EINVAL, "line 2");
    put_z("# hush\n");
    expect_left(-EINVAL, "no token");
    put_z("");
    expect_left(-EINVAL, "no token");
    assert_int_equal(unlink(path), 0);
    expect_left(-ENOENT, path);
    sbx_tokens_deinit(&tokens);
}

static void test_token_file_that_is_too_long(void **state)
{
    size_t n = 128u * 1024u + 1;
    char *text = malloc(n);
    (void)state;
    assert_non_null(text);
    sbx_tokens_init(&tokens);
    memset(text, '#', n);
    memcpy(text, "token\n", 6);
    put(text, n - 1);
    assert_int_equal(sbx_secrets_read_tokens(&tokens, path, WAIT_US, &err), 0);
    expect_tokens(1, "token", SBX_SCOPE_FULL);
    put(text, n);
    assert_int_equal(sbx_secrets_read_tokens(&tokens, path, WAIT_US, &err), -EFBIG);
    expect_tokens(1, "token", SBX_SCOPE_FULL);
    sbx_tokens_deinit(&tokens);
    free(text);
}

static void read_tokens_with_little_memory(void *ctx, const struct gate *g)
{
    struct sbx_tokens t;
    int rc;
    (void)ctx;
    sbx_tokens_init(&t);
    rc = sbx_secrets_read_tokens(&t, path, WAIT_US, &err);
    assert_int_equal(rc, gate_hit(g) ? -ENOMEM : 0);
    assert_int_equal(t.count, rc == 0 ? 2 : 0);
    sbx_tokens_deinit(&t);
}

static void test_tokens_with_little_memory(void **state)
{
    (void)state;
    put_z("one\ntwo\n");
    assert_int_equal(gate_each(read_tokens_with_little_memory, NULL), 5);
}

/* --- certificates and keys --- */

static struct sbx_secrets s;

static void expect_secrets(const char *cert, const char *key, const char *ca)
{
    assert_true(sbx_str_eq_z(sbx_buf_view(&s.cert), cert));
    assert_true(sbx_str_eq_z(sbx_buf_view(&s.key), key));
    assert_true(sbx_str_eq_z(sbx_buf_view(&s.client_ca), ca));
}

static void test_tls_files(void **state)
{
    (void)state;
    sbx_secrets_init(&s);
    put_z("one");
    assert_int_equal(sbx_secrets_read_tls(&s, path, path, NULL, WAIT_US, &err), 0);
    expect_secrets("one", "one", "");
    put_z("two");
    assert_int_equal(sbx_secrets_read_tls(&s, path, path, path, WAIT_US, &err), 0);
    expect_secrets("two", "two", "two");
    /* Any that is bad leaves all as they were. */
    put_z("three");
    assert_int_equal(sbx_secrets_read_tls(&s, path, path, "/no/ca", WAIT_US, &err), -ENOENT);
    assert_non_null(strstr(err.text, "--tls-client-ca /no/ca"));
    assert_int_equal(sbx_secrets_read_tls(&s, path, "/no/key", NULL, WAIT_US, &err), -ENOENT);
    assert_non_null(strstr(err.text, "--tls-key /no/key"));
    assert_int_equal(sbx_secrets_read_tls(&s, "/no/cert", path, NULL, WAIT_US, &err), -ENOENT);
    assert_non_null(strstr(err.text, "--tls-cert /no/cert"));
    put_z("");
    assert_int_equal(sbx_secrets_read_tls(&s, path, NULL, NULL, WAIT_US, &err), -EINVAL);
    assert_non_null(strstr(err.text, "--tls-cert"));
    assert_non_null(strstr(err.text, "is empty"));
    expect_secrets("two", "two", "two");
    sbx_secrets_deinit(&s);
    expect_secrets("", "", "");
    sbx_secrets_deinit(&s);
}

static void test_swap(void **state)
{
    struct sbx_secrets other;
    (void)state;
    sbx_secrets_init(&s);
    sbx_secrets_init(&other);
    sbx_buf_add_z(&s.cert, "cert");
    sbx_buf_add_z(&other.key, "key");
    sbx_secrets_swap(&s, &other);
    expect_secrets("", "key", "");
    assert_true(sbx_str_eq_z(sbx_buf_view(&other.cert), "cert"));
    sbx_secrets_deinit(&s);
    sbx_secrets_deinit(&other);
}

static void read_tls_with_little_memory(void *ctx, const struct gate *g)
{
    struct sbx_secrets some;
    int rc;
    (void)ctx;
    sbx_secrets_init(&some);
    rc = sbx_secrets_read_tls(&some, path, path, path, WAIT_US, &err);
    assert_int_equal(rc, gate_hit(g) ? -ENOMEM : 0);
    assert_int_equal(sbx_buf_len(&some.cert), rc == 0 ? 4 : 0);
    sbx_secrets_deinit(&some);
}

static void test_tls_files_with_little_memory(void **state)
{
    (void)state;
    put_z("text");
    assert_int_equal(gate_each(read_tls_with_little_memory, NULL), 3);
}

/* --- for the next server --- */

static void secrets_of(const char *cert, const char *key, const char *ca)
{
    sbx_secrets_init(&s);
    sbx_buf_add_z(&s.cert, cert);
    sbx_buf_add_z(&s.key, key);
    sbx_buf_add_z(&s.client_ca, ca);
}

static void tokens_of(const char *text)
{
    sbx_tokens_init(&tokens);
    if (text[0] != '\0')
        assert_int_equal(sbx_tokens_parse(&tokens, sbx_str_z(text), "test", &err), 0);
}

static void forget(void)
{
    sbx_secrets_deinit(&s);
    sbx_tokens_deinit(&tokens);
}

static int packed(const char *lines, const char *cert, const char *key, const char *ca)
{
    int fd;
    secrets_of(cert, key, ca);
    tokens_of(lines);
    fd = sbx_secrets_pack(&s, &tokens);
    assert_true(fd > 2);
    forget();
    return fd;
}

static void test_pack(void **state)
{
    struct stat st;
    int fd = packed("one\ntwo read\nth#ree\xc3\xa4\n", "cert", "a key", "client ca"), i;
    (void)state;
    assert_int_not_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0);
    assert_int_equal(st.st_nlink, 0);
    /* Twice, whatever the offset is, and over what was there. */
    secrets_of("old", "", "old");
    tokens_of("old\n");
    for (i = 0; i < 2; i++) {
        assert_int_equal(lseek(fd, i * 7, SEEK_SET), i * 7);
        assert_int_equal(sbx_secrets_unpack(fd, &s, &tokens), 0);
        expect_secrets("cert", "a key", "client ca");
        expect_tokens(3, "th#ree\xc3\xa4", SBX_SCOPE_FULL);
        assert_true(sbx_str_eq_z(tokens.list[0].secret, "one"));
        assert_int_equal(tokens.list[0].scope, SBX_SCOPE_FULL);
        assert_true(sbx_str_eq_z(tokens.list[1].secret, "two"));
        assert_int_equal(tokens.list[1].scope, SBX_SCOPE_READ);
        assert_int_equal(lseek(fd, 0, SEEK_CUR), i * 7);
    }
    forget();
    sbx_fd_close(&fd);
}

static void test_pack_of_empty_parts(void **state)
{
    static const char *const parts[][4] = {
        {"", "", "", ""}, {"one\n", "", "", ""}, {"", "cert", "key", ""}, {"", "", "", "ca"},
    };
    size_t i;
    (void)state;
    for (i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *const *p = parts[i];
        int fd = packed(p[0], p[1], p[2], p[3]);
        secrets_of("old", "old", "old");
        tokens_of("old\n");
        assert_int_equal(sbx_secrets_unpack(fd, &s, &tokens), 0);
        expect_secrets(p[1], p[2], p[3]);
        if (p[0][0] == '\0')
            assert_int_equal(tokens.count, 0);
        else
            expect_tokens(1, "one", SBX_SCOPE_FULL);
        forget();
        sbx_fd_close(&fd);
    }
}

/* The most there can be: every token of the longest, PEM files of the largest. */
static void test_pack_of_the_largest(void **state)
{
    char secret[SBX_TOKEN_MAX], *pem = malloc(1024u * 1024u + 1);
    size_t i;
    int fd;
    (void)state;
    assert_non_null(pem);
    memset(secret, 'x', sizeof secret);
    memset(pem, 'p', 1024u * 1024u + 1);
    secrets_of("", "", "");
    sbx_tokens_init(&tokens);
    sbx_buf_add(&s.cert, pem, 1024u * 1024u);
    sbx_buf_add(&s.key, pem, 1024u * 1024u);
    sbx_buf_add(&s.client_ca, pem, 1024u * 1024u);
    for (i = 0; i < SBX_TOKENS_MAX; i++) {
        secret[0] = (char)('0' + i);
        assert_int_equal(sbx_tokens_add(&tokens, (struct sbx_str){secret, sizeof secret},
                                        SBX_SCOPE_READ, "test", &err), 0);
    }
    fd = sbx_secrets_pack(&s, &tokens);
    assert_true(fd > 2);
    sbx_buf_add_z(&s.client_ca, "p");
    assert_int_equal(sbx_secrets_pack(&s, &tokens), -EFBIG);
    forget();
    assert_int_equal(sbx_secrets_unpack(fd, &s, &tokens), 0);
    assert_int_equal(tokens.count, SBX_TOKENS_MAX);
    assert_int_equal(sbx_buf_len(&s.client_ca), 1024u * 1024u);
    forget();
    sbx_fd_close(&fd);
    free(pem);
}

/* They would come back as others, or not at all. */
static void test_pack_of_tokens_that_are_no_words(void **state)
{
    static const char *const bad[] = {"two words", "#comment"};
    size_t i;
    (void)state;
    for (i = 0; i < 2; i++) {
        secrets_of("", "", "");
        sbx_tokens_init(&tokens);
        assert_int_equal(sbx_tokens_add(&tokens, sbx_str_z(bad[i]), SBX_SCOPE_FULL, "test", &err),
                         0);
        assert_int_equal(sbx_secrets_pack(&s, &tokens), -EINVAL);
        forget();
    }
}

static void expect_unpack_fails(int fd, int code)
{
    secrets_of("cert", "key", "ca");
    tokens_of("old\n");
    assert_int_equal(sbx_secrets_unpack(fd, &s, &tokens), code);
    expect_secrets("cert", "key", "ca");
    expect_tokens(1, "old", SBX_SCOPE_FULL);
    forget();
}

/* Each byte of the head as each other value. */
static void test_pack_with_a_damaged_head(void **state)
{
    int fd = packed("one\ntwo read\n", "cert", "key!", "ca"), value;
    off_t at;
    (void)state;
    for (at = 0; at < 20; at++) {
        uint8_t was, b;
        assert_int_equal(pread(fd, &was, 1, at), 1);
        for (value = 0; value < 256; value++) {
            b = (uint8_t)value;
            assert_int_equal(pwrite(fd, &b, 1, at), 1);
            if (b != was)
                expect_unpack_fails(fd, -EINVAL);
        }
        assert_int_equal(pwrite(fd, &was, 1, at), 1);
    }
    assert_int_equal(sbx_secrets_unpack(fd, &s, &tokens), 0);
    forget();
    sbx_fd_close(&fd);
}

/* Lengths of which the sum is right, and a line that is no token. */
static void test_pack_with_damaged_tokens(void **state)
{
    int fd = packed("one\ntwo read\n", "cert", "key!", "ca");
    (void)state;
    assert_int_equal(pwrite(fd, "\x02", 1, 8), 1);  /* cert 4 -> 2 */
    assert_int_equal(pwrite(fd, "\x13", 1, 4), 1);  /* tokens 18 -> 20: one with "ce" behind */
    expect_unpack_fails(fd, -EINVAL);
    assert_int_equal(pwrite(fd, "\x04", 1, 8), 1);
    assert_int_equal(pwrite(fd, "\x12", 1, 4), 1);
    assert_int_equal(pwrite(fd, "\n", 1, 20), 1); /* "\nne full": a shorter token */
    assert_int_equal(pwrite(fd, "\0", 1, 21), 1);
    expect_unpack_fails(fd, -EINVAL);
    sbx_fd_close(&fd);
}

static void test_pack_that_is_cut(void **state)
{
    int fd = packed("one\ntwo read\n", "cert", "key!", "ca"), null = sbx_fd_open_null(false);
    struct stat st;
    off_t n;
    (void)state;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(ftruncate(fd, st.st_size + 1), 0);
    expect_unpack_fails(fd, -EINVAL);
    for (n = st.st_size - 1; n >= 0; n--) {
        assert_int_equal(ftruncate(fd, n), 0);
        expect_unpack_fails(fd, -EINVAL);
    }
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0); /* is not tried to be read */
    expect_unpack_fails(fd, -EINVAL);
    sbx_fd_close(&fd);
    expect_unpack_fails(-1, -EBADF);
    expect_unpack_fails(null, -EINVAL);
    sbx_fd_close(&null);
}

static void pack_with_little_memory(void *ctx, const struct gate *g)
{
    int fd = sbx_secrets_pack(&s, &tokens);
    (void)ctx;
    if (gate_hit(g)) {
        assert_int_equal(fd, -ENOMEM);
        return;
    }
    assert_true(fd > 2);
    sbx_fd_close(&fd);
}

static void unpack_with_little_memory(void *ctx, const struct gate *g)
{
    struct sbx_secrets some;
    struct sbx_tokens t;
    int rc;
    sbx_secrets_init(&some);
    sbx_tokens_init(&t);
    rc = sbx_secrets_unpack(*(int *)ctx, &some, &t);
    assert_int_equal(rc, gate_hit(g) ? -ENOMEM : 0);
    assert_int_equal(t.count, rc == 0 ? 2 : 0);
    assert_int_equal(sbx_buf_len(&some.key), rc == 0 ? 4 : 0);
    sbx_secrets_deinit(&some);
    sbx_tokens_deinit(&t);
}

static void test_pack_with_little_memory(void **state)
{
    int fd = packed("one\ntwo read\n", "cert", "key!", "ca");
    (void)state;
    secrets_of("cert", "key!", "ca");
    tokens_of("one\ntwo read\n");
    assert_int_equal(gate_each(pack_with_little_memory, NULL), 1);
    assert_int_equal(gate_each(unpack_with_little_memory, &fd), 8);
    forget();
    sbx_fd_close(&fd);
}

static void test_wipe(void **state)
{
    char text[6] = "secret";
    (void)state;
    sbx_mem_wipe(text, 5);
    assert_memory_equal(text, "\0\0\0\0\0t", 6);
    sbx_mem_wipe(NULL, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read),
        TEST(test_read_limit),
        TEST(test_read_what_is_no_file),
        TEST(test_read_long_path),
        TEST(test_read_endless_device),
        TEST(test_fifo_without_a_writer),
        TEST(test_fifo_with_a_slow_writer),
        TEST(test_fifo_that_says_nothing),
        TEST(test_read_without_descriptors),
        TEST(test_write),
        TEST(test_write_replaces),
        TEST(test_write_beside_a_leftover),
        TEST(test_write_that_fails),
        TEST(test_write_without_room),
        TEST(test_tokens),
        TEST(test_token_file_that_is_too_long),
        TEST(test_tokens_with_little_memory),
        TEST(test_tls_files),
        TEST(test_swap),
        TEST(test_tls_files_with_little_memory),
        TEST(test_pack),
        TEST(test_pack_of_empty_parts),
        TEST(test_pack_of_the_largest),
        TEST(test_pack_of_tokens_that_are_no_words),
        TEST(test_pack_with_a_damaged_head),
        TEST(test_pack_with_damaged_tokens),
        TEST(test_pack_that_is_cut),
        TEST(test_pack_with_little_memory),
        TEST(test_wipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
