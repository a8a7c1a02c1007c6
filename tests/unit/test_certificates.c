/* The certificate of --tls-self-signed: made, kept in the data directory, the same after the next
 * start, made anew for the same key when it lacks a name; and files given by flags, of which bad
 * ones change nothing. */
#include "app/certificates.h"

#include "net/tls_cert.h"
#include "os/clock.h"
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

static char dir[64], cert_path[100], key_path[100];
static struct sbx_config c;
static struct sbx_secrets s;
static struct sbx_err err;
static struct sbx_diag diag;
static size_t fds_before;

static int setup(void **state)
{
    (void)state;
    memset(&err, 0, sizeof err);
    diag.level = SBX_DIAG_ERROR;
    strcpy(dir, "/tmp/certificates.XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(cert_path, sizeof cert_path, "%s/tls-cert.pem", dir);
    (void)snprintf(key_path, sizeof key_path, "%s/tls-key.pem", dir);
    sbx_config_init(&c);
    c.tls_self_signed = true;
    assert_int_equal(sbx_config_check(&c, &err), 0);
    sbx_secrets_init(&s);
    fds_before = rig_count_fds();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sbx_secrets_deinit(&s);
    sbx_config_deinit(&c);
    assert_int_equal(rig_count_fds(), fds_before);
    (void)unlink(cert_path);
    (void)unlink(key_path);
    return rmdir(dir);
}

static void need_tls(void)
{
    if (strcmp(sbx_tls_backend(), "none") == 0)
        skip();
}

/* --- what was made --- */

struct texts {
    char cert[8192], key[4096];
};

static void note(struct texts *t)
{
    struct sbx_str cert = sbx_buf_view(&s.cert), key = sbx_buf_view(&s.key);
    assert_true(cert.n > 0 && cert.n < sizeof t->cert && key.n > 0 && key.n < sizeof t->key);
    memcpy(t->cert, cert.p, cert.n);
    t->cert[cert.n] = '\0';
    memcpy(t->key, key.p, key.n);
    t->key[key.n] = '\0';
}

static void expect(const struct texts *t, bool same_cert, bool same_key)
{
    assert_int_equal(sbx_str_eq_z(sbx_buf_view(&s.cert), t->cert), same_cert);
    assert_int_equal(sbx_str_eq_z(sbx_buf_view(&s.key), t->key), same_key);
}

static bool has_name(const char *name)
{
    return sbx_tls_cert_serves(sbx_buf_view(&s.cert), sbx_buf_view(&s.key), &name, 1,
                               sbx_clock_wall_ms() / 1000, 300);
}

static void own(const char *where)
{
    if (sbx_certificates_own(&s, &c, where, &diag, &err) != 0)
        fail_msg("%s", err.text);
}

/* As after a start. */
static void own_again(const char *where)
{
    sbx_secrets_deinit(&s);
    own(where);
}

static void expect_kept(void)
{
    struct sbx_buf cert, key;
    struct stat st;
    sbx_buf_init(&cert);
    sbx_buf_init(&key);
    assert_int_equal(sbx_secret_read(&cert, "", cert_path, 100000, 0, &err), 0);
    assert_int_equal(sbx_secret_read(&key, "", key_path, 100000, 0, &err), 0);
    assert_true(sbx_str_eq(sbx_buf_view(&cert), sbx_buf_view(&s.cert)));
    assert_true(sbx_str_eq(sbx_buf_view(&key), sbx_buf_view(&s.key)));
    sbx_buf_deinit(&cert);
    sbx_buf_deinit(&key);
    assert_int_equal(stat(cert_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(key_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* --- our own --- */

static void test_made_and_kept(void **state)
{
    struct texts first;
    struct sbx_tls *tls;
    (void)state;
    need_tls();
    own(dir);
    expect_kept();
    assert_true(has_name("localhost") && has_name("127.0.0.1") && has_name("::1"));
    assert_false(has_name("agent.example"));
    tls = sbx_certificates_open(&s, &c, &err);
    assert_non_null(tls);
    sbx_tls_unref(tls);
    note(&first);
    own_again(dir);
    expect(&first, true, true);
}

static void test_names_of_flags(void **state)
{
    static const char *const hosts[] = {"agent.example", "port.example:8443", "*.wild.example", "*",
                                        "[2001:db8::5]:80"};
    size_t i;
    (void)state;
    need_tls();
    for (i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        assert_int_equal(sbx_config_add_allow_host(&c, hosts[i], &err), 0);
    assert_int_equal(sbx_config_add_listen(&c, "192.0.2.7:443", &err), 0);
    assert_int_equal(sbx_config_add_listen(&c, "[2001:db8::7]:443", &err), 0);
    assert_int_equal(sbx_config_add_listen(&c, "unix:/tmp/a.sock", &err), 0);
    own(dir);
    assert_true(has_name("agent.example") && has_name("port.example"));
    assert_true(has_name("*.wild.example") && has_name("2001:db8::5"));
    assert_true(has_name("192.0.2.7") && has_name("2001:db8::7"));
    assert_false(has_name("*") || has_name("port.example:8443"));
}

/* Where every address is listened on, those of the machine are in it, and their change is no reason
 * for another one. */
static void test_any_address(void **state)
{
    struct texts first;
    char host[256] = "";
    (void)state;
    need_tls();
    c.no_token = true;
    assert_int_equal(sbx_config_add_listen(&c, "0.0.0.0:443", &err), 0);
    own(dir);
    assert_false(has_name("0.0.0.0"));
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    assert_true(has_name(host));
    note(&first);
    own_again(dir);
    expect(&first, true, true);
}

static void test_made_anew_for_a_name(void **state)
{
    struct texts first;
    (void)state;
    need_tls();
    own(dir);
    note(&first);
    assert_int_equal(sbx_config_add_allow_host(&c, "new.example", &err), 0);
    own_again(dir);
    expect(&first, false, true);
    assert_true(has_name("new.example") && has_name("localhost"));
    expect_kept();
    note(&first);
    own_again(dir);
    expect(&first, true, true);
}

/* One that has ended, or will soon. */
static void test_made_anew_when_it_ends(void **state)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "::1"};
    const uint64_t now = sbx_clock_wall_ms() / 1000, day = 86400;
    struct texts first;
    (void)state;
    need_tls();
    own(dir);
    sbx_buf_clear(&s.cert);
    assert_int_equal(sbx_tls_make_cert(&s.cert, sbx_buf_view(&s.key), names, 3,
                                       now - (SBX_TLS_CERT_DAYS - 20) * day, &err), 0);
    assert_int_equal(sbx_secret_write(cert_path, sbx_buf_view(&s.cert)), 0);
    note(&first);
    own_again(dir);
    expect(&first, false, true);
    assert_true(has_name("localhost"));
    /* And one that has more than a month is left. */
    sbx_buf_clear(&s.cert);
    assert_int_equal(sbx_tls_make_cert(&s.cert, sbx_buf_view(&s.key), names, 3,
                                       now - (SBX_TLS_CERT_DAYS - 40) * day, &err), 0);
    assert_int_equal(sbx_secret_write(cert_path, sbx_buf_view(&s.cert)), 0);
    note(&first);
    own_again(dir);
    expect(&first, true, true);
}

static void test_broken_files(void **state)
{
    struct texts first;
    (void)state;
    need_tls();
    own(dir);
    note(&first);
    put(cert_path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    own_again(dir);
    expect(&first, false, true);
    expect_kept();
    note(&first);
    put(key_path, "garbage");
    own_again(dir);
    expect(&first, false, false);
    expect_kept();
    note(&first);
    put(cert_path, "");
    put(key_path, "");
    own_again(dir);
    expect(&first, false, false);
    expect_kept();
    note(&first);
    assert_int_equal(unlink(cert_path), 0);
    own_again(dir);
    expect(&first, false, true);
    note(&first);
    assert_int_equal(unlink(key_path), 0);
    own_again(dir);
    expect(&first, false, false);
    expect_kept();
}

/* --- nowhere to keep it --- */

static void expect_stays_in_memory(const char *where)
{
    struct texts first;
    own(where);
    assert_true(has_name("localhost"));
    note(&first);
    own(where); /* as on SIGHUP */
    expect(&first, true, true);
    assert_int_equal(sbx_config_add_allow_host(&c, "new.example", &err), 0);
    own(where);
    assert_true(has_name("new.example"));
    own_again(where);
    expect(&first, false, false);
}

static void test_no_directory(void **state)
{
    (void)state;
    need_tls();
    expect_stays_in_memory(NULL);
}

static void test_directory_that_is_not_there(void **state)
{
    (void)state;
    need_tls();
    expect_stays_in_memory("/no/such/directory");
}

/* In a process of its own, which is not root for the while. */
static void test_directory_that_cannot_be_written(void **state)
{
    int status;
    pid_t pid;
    (void)state;
    need_tls();
    assert_int_equal(chmod(dir, 0555), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (getuid() == 0 && setuid(65534) != 0)
            _exit(2);
        if (sbx_certificates_own(&s, &c, dir, &diag, &err) != 0 || !has_name("localhost"))
            _exit(3);
        _exit(access(cert_path, F_OK) == 0 ? 4 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(chmod(dir, 0700), 0);
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* For want of a descriptor the files look as if they were missing: they are not. */
static void test_no_descriptor_left(void **state)
{
    struct rlimit was, low;
    struct texts first;
    int next, rc;
    (void)state;
    need_tls();
    own(dir);
    note(&first);
    next = sbx_fd_open_null(false);
    (void)close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    low = was;
    low.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    rc = sbx_certificates_own(&s, &c, dir, &diag, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_int_equal(rc, -EMFILE);
    assert_non_null(strstr(err.text, "--tls-self-signed"));
    expect(&first, true, true);
    own_again(dir);
    expect(&first, true, true);
}

static int refuse(void *ctx)
{
    (void)ctx;
    return 0;
}

static void test_no_memory_left(void **state)
{
    struct texts first;
    (void)state;
    need_tls();
    own(dir);
    note(&first);
    sbx_mem_set_gate(refuse, NULL);
    assert_int_equal(sbx_certificates_own(&s, &c, dir, &diag, &err), -ENOMEM);
    assert_int_equal(sbx_certificates_read(&s, &c, dir, &diag, &err), -ENOMEM);
    sbx_mem_set_gate(NULL, NULL);
    expect(&first, true, true);
}

/* --- reading again --- */

static int read_again(void)
{
    return sbx_certificates_read(&s, &c, dir, &diag, &err);
}

static void test_read_without_tls(void **state)
{
    (void)state;
    c.tls_self_signed = false;
    assert_int_equal(read_again(), 0);
    assert_int_equal(sbx_buf_len(&s.cert), 0);
}

static void test_read_own_again(void **state)
{
    struct texts first;
    (void)state;
    need_tls();
    assert_int_equal(read_again(), 0);
    note(&first);
    assert_int_equal(read_again(), 0);
    expect(&first, true, true);
    expect_kept();
    /* Whoever takes the files away wants others. */
    assert_int_equal(unlink(cert_path), 0);
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(read_again(), 0);
    expect(&first, false, false);
    expect_kept();
}

static void test_read_own_again_from_memory(void **state)
{
    struct texts first;
    (void)state;
    need_tls();
    assert_int_equal(sbx_certificates_read(&s, &c, NULL, &diag, &err), 0);
    note(&first);
    assert_int_equal(sbx_certificates_read(&s, &c, NULL, &diag, &err), 0);
    expect(&first, true, true);
}

/* The files of the flags are those that were made for another server. */
static void use_files(struct texts *t)
{
    own(dir);
    note(t);
    c.tls_self_signed = false;
    c.tls_cert = cert_path;
    c.tls_key = key_path;
    sbx_secrets_deinit(&s);
    assert_int_equal(read_again(), 0);
    expect(t, true, true);
}

static void expect_old(const struct texts *t, const char *says)
{
    assert_true(read_again() < 0);
    if (strstr(err.text, says) == NULL)
        fail_msg("\"%s\" does not say %s", err.text, says);
    expect(t, true, true);
}

static void test_bad_files_leave_the_old(void **state)
{
    struct texts first, other;
    (void)state;
    need_tls();
    use_files(&first);
    put(cert_path, "garbage");
    expect_old(&first, "--tls-cert");
    put(cert_path, "");
    expect_old(&first, "is empty");
    assert_int_equal(unlink(cert_path), 0);
    expect_old(&first, cert_path);
    put(cert_path, first.cert);
    put(key_path, "garbage");
    expect_old(&first, "--tls-key");
    c.tls_client_ca = key_path;
    put(key_path, first.key);
    expect_old(&first, "--tls-client-ca");
    c.tls_client_ca = NULL;
    assert_int_equal(read_again(), 0);
    /* A key of another certificate. */
    sbx_secrets_deinit(&s);
    own(NULL);
    note(&other);
    sbx_secrets_deinit(&s);
    assert_int_equal(read_again(), 0);
    put(key_path, other.key);
    expect_old(&first, "--tls-key");
    put(cert_path, other.cert);
    assert_int_equal(read_again(), 0);
    expect(&other, true, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_made_and_kept),
        TEST(test_names_of_flags),
        TEST(test_any_address),
        TEST(test_made_anew_for_a_name),
        TEST(test_made_anew_when_it_ends),
        TEST(test_broken_files),
        TEST(test_no_directory),
        TEST(test_directory_that_is_not_there),
        TEST(test_directory_that_cannot_be_written),
        TEST(test_no_descriptor_left),
        TEST(test_no_memory_left),
        TEST(test_read_without_tls),
        TEST(test_read_own_again),
        TEST(test_read_own_again_from_memory),
        TEST(test_bad_files_leave_the_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
