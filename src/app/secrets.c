/* secrets.c - see secrets.h. Memory that had a secret is wiped before it is given back; copies that
 * the C library or the kernel made on the way are not ours to find.
 *
 *   pack  magic 4 | lengths 4 * 4 | tokens, lines of a token file | cert | key | client CA
 *
 * Lengths are little-endian. The last byte of the magic changes when the meaning of anything here
 * does: after an upgrade writer and reader are of different age. There is no checksum: it is memory
 * that nobody but us has. */
#include "app/secrets.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRETS_TOKEN_FILE_MAX (128u * 1024u) /* SBX_TOKENS_MAX of the longest, and comments */
#define SECRETS_PEM_MAX (1024u * 1024u)       /* a bundle of every public root is smaller */
#define SECRETS_PARTS 4u
#define SECRETS_HEAD (4u + 4u * SECRETS_PARTS)
#define SECRETS_READ 16384u   /* of something that does not say how much it has */

static const uint8_t secrets_magic[4] = {'s', 'k', 's', 1};
/* Of each part in a pack. */
static const uint32_t secrets_most[SECRETS_PARTS] = {SECRETS_TOKEN_FILE_MAX, SECRETS_PEM_MAX,
                                                     SECRETS_PEM_MAX, SECRETS_PEM_MAX};

void sbx_secrets_init(struct sbx_secrets *s)
{
    sbx_buf_init(&s->cert);
    sbx_buf_init(&s->key);
    sbx_buf_init(&s->client_ca);
}

static void secrets_wipe(struct sbx_buf *b)
{
    sbx_mem_wipe(b->mem, b->cap);
    sbx_buf_deinit(b);
}

void sbx_secrets_deinit(struct sbx_secrets *s)
{
    secrets_wipe(&s->cert);
    secrets_wipe(&s->key);
    secrets_wipe(&s->client_ca);
}

void sbx_secrets_swap(struct sbx_secrets *a, struct sbx_secrets *b)
{
    struct sbx_secrets was = *a;
    *a = *b;
    *b = was;
}

/* All at once where that is known: memory that grows leaves copies behind. */
static size_t secrets_room(int fd, size_t most)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0)
        return SECRETS_READ;
    return ((uint64_t)st.st_size < most ? (size_t)st.st_size : most) + 1;
}

/* As read. In a pipe that somebody holds open may be nothing yet. */
static ssize_t secrets_read_some(int fd, uint8_t *to, size_t room, uint64_t end_us)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint64_t now = sbx_clock_mono_us();
    ssize_t got = sbx_fd_read(fd, to, room);
    if (got == -EAGAIN && now < end_us && poll(&p, 1, (int)((end_us - now) / 1000)) > 0)
        got = sbx_fd_read(fd, to, room);
    return got == -EAGAIN ? -ETIMEDOUT : got;
}

static int secrets_read_fd(struct sbx_buf *out, int fd, size_t most, uint64_t wait_us)
{
    uint64_t end_us = sbx_clock_mono_us() + wait_us;
    size_t had = sbx_buf_len(out);
    bool room = sbx_buf_reserve(out, secrets_room(fd, most)) != NULL;
    for (;;) {
        uint8_t *to = room ? sbx_buf_reserve(out, 1) : NULL;
        size_t space = out->cap - out->tail;
        ssize_t got = to == NULL ? -ENOMEM : secrets_read_some(fd, to, space, end_us);
        if (got <= 0)
            return (int)got;
        sbx_buf_commit(out, (size_t)got);
        if (sbx_buf_len(out) - had > most)
            return -EFBIG;
    }
}

int sbx_secret_read(struct sbx_buf *out, const char *flag, const char *path, size_t most,
                    uint64_t wait_us, struct sbx_err *err)
{
    /* A FIFO without a writer must not keep the server from answering a SIGHUP. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;
    if (fd < 0) {
        rc = -errno;
    } else {
        rc = secrets_read_fd(out, fd, most, wait_us);
        sbx_fd_close(&fd);
    }
    if (rc == 0)
        return 0;
    sbx_err_set(err, rc, "cannot read %s %.200s", flag, path);
    return sbx_err_add_reason(err);
}

static int secrets_write_all(int fd, struct sbx_str bytes)
{
    while (bytes.n > 0) {
        ssize_t put = sbx_fd_write(fd, bytes.p, bytes.n);
        if (put < 0)
            return (int)put;
        bytes.p += put;
        bytes.n -= (size_t)put;
    }
    return 0;
}

/* Beside it first: a crash leaves the old one or the new one. */
int sbx_secret_write(const char *path, struct sbx_str bytes)
{
    char beside[4096 + 8];
    int fd, rc;
    if ((size_t)snprintf(beside, sizeof beside, "%s.new", path) >= sizeof beside)
        return -ENAMETOOLONG;
    (void)unlink(beside);
    fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    rc = secrets_write_all(fd, bytes);
    if (rc == 0 && fsync(fd) < 0)
        rc = -errno;
    sbx_fd_close(&fd);
    if (rc == 0 && rename(beside, path) < 0)
        rc = -errno;
    if (rc < 0)
        (void)unlink(beside);
    return rc;
}

int sbx_secrets_read_tokens(struct sbx_tokens *t, const char *path, uint64_t wait_us,
                            struct sbx_err *err)
{
    struct sbx_tokens fresh, old = *t;
    struct sbx_buf text;
    char where[220];
    int rc;
    sbx_tokens_init(&fresh);
    sbx_buf_init(&text);
    (void)snprintf(where, sizeof where, "--token-file %.200s", path);
    rc = sbx_secret_read(&text, "--token-file", path, SECRETS_TOKEN_FILE_MAX, wait_us, err);
    if (rc == 0)
        rc = sbx_tokens_parse(&fresh, sbx_buf_view(&text), where, err);
    secrets_wipe(&text);
    if (rc < 0) {
        sbx_tokens_deinit(&fresh);
        return rc;
    }
    *t = fresh;
    sbx_tokens_deinit(&old);
    return 0;
}

static int secrets_read_pem(struct sbx_buf *out, const char *flag, const char *path,
                            uint64_t wait_us, struct sbx_err *err)
{
    if (path == NULL)
        return 0;
    if (sbx_secret_read(out, flag, path, SECRETS_PEM_MAX, wait_us, err) < 0)
        return err->code;
    return sbx_buf_len(out) > 0 ? 0 : sbx_err_set(err, EINVAL, "%s %.200s is empty", flag, path);
}

int sbx_secrets_read_tls(struct sbx_secrets *s, const char *cert, const char *key,
                         const char *client_ca, uint64_t wait_us, struct sbx_err *err)
{
    struct sbx_secrets fresh;
    int rc;
    sbx_secrets_init(&fresh);
    rc = secrets_read_pem(&fresh.cert, "--tls-cert", cert, wait_us, err);
    if (rc == 0)
        rc = secrets_read_pem(&fresh.key, "--tls-key", key, wait_us, err);
    if (rc == 0)
        rc = secrets_read_pem(&fresh.client_ca, "--tls-client-ca", client_ca, wait_us, err);
    if (rc == 0)
        sbx_secrets_swap(s, &fresh);
    sbx_secrets_deinit(&fresh);
    return rc;
}

/* --- for the next server --- */

static bool secrets_is_word(struct sbx_str secret)
{
    return secret.n > 0 && secret.p[0] != '#' && memchr(secret.p, ' ', secret.n) == NULL;
}

static int secrets_put_tokens(struct sbx_buf *out, const struct sbx_tokens *t)
{
    size_t i, room = 0;
    for (i = 0; i < t->count; i++) {
        if (!secrets_is_word(t->list[i].secret))
            return -EINVAL;
        room += t->list[i].secret.n + sizeof " full\n";
    }
    if (room > 0)
        (void)sbx_buf_reserve(out, room);
    for (i = 0; i < t->count; i++) {
        sbx_buf_add_str(out, t->list[i].secret);
        sbx_buf_add_z(out, t->list[i].scope == SBX_SCOPE_READ ? " read\n" : " full\n");
    }
    return out->oom ? -ENOMEM : 0;
}

static int secrets_write_pack(int fd, const struct sbx_str parts[SECRETS_PARTS])
{
    uint8_t head[SECRETS_HEAD];
    size_t i, j;
    int rc;
    /* Whoever else finds it among our descriptors in /proc is not to open it just so. */
    (void)fchmod(fd, 0);
    memcpy(head, secrets_magic, 4);
    for (i = 0; i < SECRETS_PARTS; i++) {
        if (parts[i].n > secrets_most[i])
            return -EFBIG;
        for (j = 0; j < 4; j++)
            head[4 + 4 * i + j] = (uint8_t)(parts[i].n >> (8 * j));
    }
    rc = secrets_write_all(fd, (struct sbx_str){(const char *)head, sizeof head});
    for (i = 0; i < SECRETS_PARTS && rc == 0; i++)
        rc = secrets_write_all(fd, parts[i]);
    return rc;
}

int sbx_secrets_pack(const struct sbx_secrets *s, const struct sbx_tokens *t)
{
    struct sbx_buf tokens;
    int fd = -1, rc;
    sbx_buf_init(&tokens);
    rc = secrets_put_tokens(&tokens, t);
    if (rc == 0)
        rc = fd = sbx_fd_open_unnamed();
    if (rc >= 0) {
        const struct sbx_str parts[SECRETS_PARTS] = {
            sbx_buf_view(&tokens), sbx_buf_view(&s->cert), sbx_buf_view(&s->key),
            sbx_buf_view(&s->client_ca)};
        rc = secrets_write_pack(fd, parts);
    }
    secrets_wipe(&tokens);
    if (rc == 0)
        return fd;
    sbx_fd_close(&fd);
    return rc;
}

/* Where each part lies in n bytes of a pack, all of which belong to one. */
static int secrets_find_parts(const uint8_t *p, size_t n, struct sbx_str parts[SECRETS_PARTS])
{
    size_t i, j, at = SECRETS_HEAD;
    if (memcmp(p, secrets_magic, 4) != 0)
        return -EINVAL;
    for (i = 0; i < SECRETS_PARTS; i++) {
        uint32_t len = 0;
        for (j = 4; j-- > 0;)
            len = len << 8 | p[4 + 4 * i + j];
        if (len > secrets_most[i] || len > n - at)
            return -EINVAL;
        parts[i] = (struct sbx_str){(const char *)p + at, len};
        at += len;
    }
    return at == n ? 0 : -EINVAL;
}

static int secrets_pread_all(int fd, uint8_t *to, size_t n)
{
    size_t at = 0;
    while (at < n) {
        ssize_t got = pread(fd, to + at, n - at, (off_t)at);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            return -EINVAL;
        at += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static int secrets_take_parts(const struct sbx_str parts[SECRETS_PARTS], struct sbx_secrets *s,
                              struct sbx_tokens *t)
{
    struct sbx_err err;
    sbx_buf_add_str(&s->cert, parts[1]);
    sbx_buf_add_str(&s->key, parts[2]);
    sbx_buf_add_str(&s->client_ca, parts[3]);
    if (s->cert.oom || s->key.oom || s->client_ca.oom)
        return -ENOMEM;
    return parts[0].n == 0 ? 0 : sbx_tokens_parse(t, parts[0], "a pack", &err);
}

static int secrets_take_pack(const uint8_t *p, size_t n, struct sbx_secrets *s,
                             struct sbx_tokens *t)
{
    struct sbx_str parts[SECRETS_PARTS];
    struct sbx_secrets fresh;
    struct sbx_tokens tokens, old = *t;
    int rc = secrets_find_parts(p, n, parts);
    if (rc < 0)
        return rc;
    sbx_secrets_init(&fresh);
    sbx_tokens_init(&tokens);
    rc = secrets_take_parts(parts, &fresh, &tokens);
    if (rc == 0) {
        sbx_secrets_swap(s, &fresh);
        *t = tokens;
        tokens = old;
    }
    sbx_tokens_deinit(&tokens);
    sbx_secrets_deinit(&fresh);
    return rc;
}

int sbx_secrets_unpack(int fd, struct sbx_secrets *s, struct sbx_tokens *t)
{
    const size_t most = SECRETS_HEAD + SECRETS_TOKEN_FILE_MAX + 3 * SECRETS_PEM_MAX;
    struct stat st;
    uint8_t *p;
    size_t n;
    int rc;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)SECRETS_HEAD || st.st_size > (off_t)most)
        return -EINVAL;
    n = (size_t)st.st_size;
    p = sbx_mem_alloc(n);
    if (p == NULL)
        return -ENOMEM;
    rc = secrets_pread_all(fd, p, n);
    if (rc == 0)
        rc = secrets_take_pack(p, n, s, t);
    sbx_mem_wipe(p, n);
    sbx_mem_free(p);
    return rc;
}
