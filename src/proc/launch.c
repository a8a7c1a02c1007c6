/* launch.c - see launch.h.
 *
 * Everything the child needs is copied into NUL-terminated memory first (struct launch_args), then
 * the descriptors are made, then it is spawned. Each step undoes the ones before it. */
#include "proc/launch.h"
#include "base/mem.h"
#include "os/fd.h"
#include "os/pty.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LAUNCH_TERM "xterm-256color"

static int launch_compare_names(struct sbx_str a, struct sbx_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int d = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return d != 0 ? d : (a.n > b.n) - (a.n < b.n);
}

static int launch_compare_pairs(const void *a, const void *b)
{
    const struct sbx_env_pair *x = a, *y = b;
    return launch_compare_names(x->name, y->name);
}

static bool launch_has_nul(struct sbx_str s)
{
    return s.n > 0 && memchr(s.p, '\0', s.n) != NULL;
}

static int launch_check_nul(const struct sbx_spec *spec, struct sbx_err *err)
{
    size_t i;
    if (launch_has_nul(spec->command))
        return sbx_err_set(err, EINVAL, "command: contains a NUL byte");
    if (launch_has_nul(spec->cwd))
        return sbx_err_set(err, EINVAL, "cwd: contains a NUL byte");
    for (i = 0; i < spec->nargs; i++)
        if (launch_has_nul(spec->args[i]))
            return sbx_err_set(err, EINVAL, "args[%zu]: contains a NUL byte", i);
    for (i = 0; i < spec->nenv; i++)
        if (launch_has_nul(spec->env[i].name) || launch_has_nul(spec->env[i].value))
            return sbx_err_set(err, EINVAL, "env.%.*s: contains a NUL byte",
                               (int)(spec->env[i].name.n > 100 ? 100 : spec->env[i].name.n),
                               spec->env[i].name.p);
    return 0;
}

int sbx_spec_check(struct sbx_spec *spec, struct sbx_err *err)
{
    size_t i;
    int rc = launch_check_nul(spec, err);
    if (rc < 0)
        return rc;
    if (spec->nenv > 1)
        qsort(spec->env, spec->nenv, sizeof *spec->env, launch_compare_pairs);
    for (i = 1; i < spec->nenv; i++)
        if (sbx_str_eq(spec->env[i].name, spec->env[i - 1].name))
            return sbx_err_set(err, EEXIST, "env.%.*s: given twice",
                               (int)(spec->env[i].name.n > 100 ? 100 : spec->env[i].name.n),
                               spec->env[i].name.p);
    return 0;
}

struct launch_args {
    char **argv;
    char **envp;
    char *command;
    char *cwd;
    char *text; /* all strings of ours, one block */
    const char *path;
};

static const struct sbx_env_pair *launch_find_env(const struct sbx_spec *spec, struct sbx_str name)
{
    struct sbx_env_pair key = {.name = name};
    if (spec->nenv == 0)
        return NULL;
    return bsearch(&key, spec->env, spec->nenv, sizeof *spec->env, launch_compare_pairs);
}

static struct sbx_str launch_env_name(const char *entry)
{
    const char *eq = strchr(entry, '=');
    return (struct sbx_str){entry, eq == NULL ? strlen(entry) : (size_t)(eq - entry)};
}

static size_t launch_text_size(const struct sbx_spec *spec)
{
    size_t i, n = spec->command.n + 1 + spec->cwd.n + 1;
    for (i = 0; i < spec->nargs; i++)
        n += spec->args[i].n + 1;
    for (i = 0; i < spec->nenv; i++)
        n += spec->env[i].name.n + 1 + spec->env[i].value.n + 1;
    return n;
}

static char *launch_put(char **at, struct sbx_str s)
{
    char *start = *at;
    if (s.n > 0)
        memcpy(start, s.p, s.n);
    start[s.n] = '\0';
    *at += s.n + 1;
    return start;
}

static void launch_put_env(struct launch_args *a, const struct sbx_spec *spec, char **environ_in,
                           bool term_default, char **at)
{
    bool set_term = term_default && launch_find_env(spec, SBX_STR("TERM")) == NULL;
    size_t i, n = 0;
    for (i = 0; environ_in[i] != NULL; i++) {
        struct sbx_str name = launch_env_name(environ_in[i]);
        if (launch_find_env(spec, name) != NULL || (set_term && sbx_str_eq_z(name, "TERM")))
            continue;
        a->envp[n++] = environ_in[i];
        if (sbx_str_eq_z(name, "PATH"))
            a->path = environ_in[i] + sizeof "PATH=" - 1;
    }
    for (i = 0; i < spec->nenv; i++) {
        char *entry = launch_put(at, spec->env[i].name);
        (*at)[-1] = '=';
        (void)launch_put(at, spec->env[i].value);
        a->envp[n++] = entry;
        if (sbx_str_eq_z(spec->env[i].name, "PATH"))
            a->path = entry + sizeof "PATH=" - 1;
    }
    if (set_term)
        a->envp[n++] = (char *)(uintptr_t)("TERM=" LAUNCH_TERM);
    a->envp[n] = NULL;
}

static void launch_free_args(struct launch_args *a)
{
    sbx_mem_free(a->argv);
    sbx_mem_free(a->envp);
    sbx_mem_free(a->text);
}

static int launch_make_args(struct launch_args *a, const struct sbx_spec *spec, char **environ_in,
                            bool term_default)
{
    size_t i, inherited = 0;
    char *at;
    *a = (struct launch_args){0};
    while (environ_in[inherited] != NULL)
        inherited++;
    a->argv = sbx_mem_alloc((spec->nargs + 2) * sizeof *a->argv);
    a->envp = sbx_mem_alloc((inherited + spec->nenv + 2) * sizeof *a->envp);
    a->text = sbx_mem_alloc(launch_text_size(spec));
    if (a->argv == NULL || a->envp == NULL || a->text == NULL) {
        launch_free_args(a);
        return -ENOMEM;
    }
    at = a->text;
    a->command = launch_put(&at, spec->command);
    a->cwd = spec->has_cwd ? launch_put(&at, spec->cwd) : NULL;
    a->argv[0] = a->command;
    for (i = 0; i < spec->nargs; i++)
        a->argv[i + 1] = launch_put(&at, spec->args[i]);
    a->argv[spec->nargs + 1] = NULL;
    launch_put_env(a, spec, environ_in, term_default, &at);
    return 0;
}

/* The child's ends in theirs[], ours in out. */
static int launch_open_pipes(enum sbx_launch_stdin in, struct sbx_launched *out, int theirs[3])
{
    int rc;
    if (in == SBX_LAUNCH_STDIN_PIPE)
        rc = sbx_fd_pipe(&theirs[0], &out->in);
    else
        rc = theirs[0] = sbx_fd_open_null(false);
    if (rc >= 0)
        rc = sbx_fd_pipe(&out->out[0], &theirs[1]);
    if (rc >= 0)
        rc = sbx_fd_pipe(&out->out[1], &theirs[2]);
    return rc < 0 ? rc : 0;
}

static int launch_open_terminal(const struct sbx_spec *spec, struct sbx_launched *out,
                                int theirs[3])
{
    int rc = sbx_pty_open(spec->cols, spec->rows, &out->out[0], &theirs[0]);
    if (rc < 0)
        return rc;
    /* Input and output are watched apart, and one descriptor can be in the loop once only. */
    out->in = fcntl(out->out[0], F_DUPFD_CLOEXEC, 3);
    return out->in < 0 ? -errno : 0;
}

static void launch_close_all(struct sbx_launched *out, int theirs[3])
{
    size_t i;
    for (i = 0; i < 3; i++)
        sbx_fd_close(&theirs[i]);
    sbx_fd_close(&out->in);
    sbx_fd_close(&out->out[0]);
    sbx_fd_close(&out->out[1]);
}

/* "(os error 2)" is how the reference server ends these sentences; clients look for it. */
static int launch_explain(struct sbx_err *err, int rc, enum sbx_spawn_step step,
                          const struct launch_args *a)
{
    const char *why = strerror(-rc);
    switch (step) {
    case SBX_SPAWN_CWD:
        return sbx_err_set(err, rc, "cwd \"%.180s\": %s (os error %d)", a->cwd, why, -rc);
    case SBX_SPAWN_EXEC:
        return sbx_err_set(err, rc, "command \"%.180s\": %s (os error %d)", a->command, why, -rc);
    case SBX_SPAWN_SETUP:
    case SBX_SPAWN_FORK:
        break;
    }
    return sbx_err_set(err, rc, "%s (os error %d)", why, -rc);
}

int sbx_launch(struct sbx_host *host, const struct sbx_spec *spec, enum sbx_launch_stdin in,
               bool term_default, int32_t *note, struct sbx_launched *out, struct sbx_err *err)
{
    struct launch_args args;
    enum sbx_spawn_step step = SBX_SPAWN_FORK;
    int theirs[3] = {-1, -1, -1};
    struct sbx_spawn s;
    int rc = launch_make_args(&args, spec, host->environ, term_default);
    *out = (struct sbx_launched){.pid = 0, .in = -1, .out = {-1, -1}, .slave = -1};
    if (rc < 0)
        return sbx_err_set(err, rc, "%s (os error %d)", strerror(-rc), -rc);
    rc = spec->tty ? launch_open_terminal(spec, out, theirs) : launch_open_pipes(in, out, theirs);
    if (rc < 0) {
        launch_close_all(out, theirs);
        launch_free_args(&args);
        return sbx_err_set(err, rc, "%s: %s (os error %d)", spec->tty ? "terminal" : "pipes",
                           strerror(-rc), -rc);
    }
    s = (struct sbx_spawn){.command = args.command, .path = args.path, .argv = args.argv,
                           .envp = args.envp, .cwd = args.cwd, .terminal = spec->tty, .note = note,
                           .fds = {theirs[0], spec->tty ? theirs[0] : theirs[1],
                                   spec->tty ? theirs[0] : theirs[2]}};
    rc = sbx_spawn(&host->spawn, &s, &out->pid, &step);
    if (rc < 0) {
        launch_close_all(out, theirs);
        rc = launch_explain(err, rc, step, &args);
    } else {
        if (spec->tty) {
            out->slave = theirs[0];
            theirs[0] = -1;
        }
        sbx_fd_close(&theirs[0]);
        sbx_fd_close(&theirs[1]);
        sbx_fd_close(&theirs[2]);
    }
    launch_free_args(&args);
    return rc;
}
