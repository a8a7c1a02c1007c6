/* launch.h - from a request to a running child: environment, descriptors, start, and the sentence
 * that says why it could not be started. */
#ifndef SBX_PROC_LAUNCH_H
#define SBX_PROC_LAUNCH_H

#include "base/err.h"
#include "base/str.h"
#include "proc/host.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sbx_env_pair {
    struct sbx_str name, value;
};

/* What to start. Borrowed views; none of them contains a NUL (sbx_spec_check). */
struct sbx_spec {
    struct sbx_str command;
    struct sbx_str *args;
    size_t nargs;
    bool has_cwd;
    struct sbx_str cwd;
    struct sbx_env_pair *env; /* sorted by name and without duplicates after sbx_spec_check */
    size_t nenv;
    bool tty;
    bool interactive;
    bool in_memory; /* its output is not to be stored */
    uint16_t cols, rows;
};

/* Refuses NUL bytes and duplicate names of environment variables; sorts env. 0; -EINVAL for a
 * NUL, -EEXIST for a duplicate. */
int sbx_spec_check(struct sbx_spec *spec, struct sbx_err *err);

/* Our ends of a started child. -1 where there is none. */
struct sbx_launched {
    pid_t pid;
    int in;     /* stdin pipe or terminal */
    int out[2]; /* stdout and stderr, or the terminal in out[0] */
    int slave;  /* the child's side of the terminal */
};

enum sbx_launch_stdin { SBX_LAUNCH_STDIN_NULL, SBX_LAUNCH_STDIN_PIPE };

/* Starts it. term_default: TERM=xterm-256color unless the request's env has TERM. note: see struct
 * sbx_spawn. 0; otherwise a negative errno and err->text as
 * "command \"x\": No such file or directory (os error 2)"; nothing is left then. */
int sbx_launch(struct sbx_host *host, const struct sbx_spec *spec, enum sbx_launch_stdin in,
               bool term_default, int32_t *note, struct sbx_launched *out, struct sbx_err *err);

#endif
