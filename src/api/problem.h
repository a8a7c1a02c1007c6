/* problem.h - every error the API gives: problem+json (RFC 9457) with the agent's error types. */
#ifndef SBX_API_PROBLEM_H
#define SBX_API_PROBLEM_H

#include "net/conn.h"

#include <stdbool.h>

enum sbx_problem_type {
    SBX_PROBLEM_INVALID_REQUEST,
    SBX_PROBLEM_CONFLICT,
    SBX_PROBLEM_UNSUPPORTED_AGENT,
    SBX_PROBLEM_AGENT_NOT_INSTALLED,
    SBX_PROBLEM_INSTALL_FAILED,
    SBX_PROBLEM_AGENT_PROCESS_EXITED,
    SBX_PROBLEM_TOKEN_INVALID,
    SBX_PROBLEM_PERMISSION_DENIED,
    SBX_PROBLEM_NOT_ACCEPTABLE,
    SBX_PROBLEM_UNSUPPORTED_MEDIA_TYPE,
    SBX_PROBLEM_NOT_FOUND,
    SBX_PROBLEM_SESSION_NOT_FOUND,
    SBX_PROBLEM_SESSION_ALREADY_EXISTS,
    SBX_PROBLEM_MODE_NOT_SUPPORTED,
    SBX_PROBLEM_STREAM_ERROR,
    SBX_PROBLEM_TIMEOUT,
    SBX_PROBLEM_TYPES
};

/* What a type has besides its sentence. The extensions are those of the error model: `agent` and
 * `sessionId` at the top, everything else inside `details`. */
struct sbx_problem_kind {
    const char *urn;
    const char *title;
    int status;
    const char *prefix;      /* of the detail, which continues with the message */
    const char *extensions;  /* names, blank-separated */
};

const struct sbx_problem_kind *sbx_problem_kind(enum sbx_problem_type type);

/* Values of the extensions; NULL ones are left out. Which of them a type shows is in its row. */
struct sbx_problem_values {
    const char *message;     /* details.message */
    const char *agent;
    const char *session_id;
    const char *stderr_text; /* details.stderr */
    const char *mode;        /* details.mode */
    const char *resource;    /* details.resource */
    struct sbx_str id;       /* details.id */
    bool has_exit_code;
    int exit_code;           /* details.exitCode */
};

/* The JSON text of a problem into out. status 0: the type's own. An empty detail: the
 * prefix and the message, as the type has it. */
void sbx_problem_write(struct sbx_buf *out, enum sbx_problem_type type, int status,
                       struct sbx_str detail, const struct sbx_problem_values *values);

/* Answers with the given status. The message is printf-made; detail is prefix and message. For
 * statuses whose title differs from the type's (413 is an invalid_request called "Payload Too
 * Large") the title follows the status. */
void sbx_reply_error(struct sbx_conn *c, enum sbx_problem_type type, int status, const char *fmt,
                     ...) __attribute__((format(printf, 4, 5)));
/* An invalid_request whose detail is the given text alone; the buffer is emptied. */
void sbx_reply_plain_error(struct sbx_conn *c, int status, struct sbx_buf *detail);
void sbx_reply_process_not_found(struct sbx_conn *c, struct sbx_str id);
void sbx_reply_no_endpoint(struct sbx_conn *c);
/* The answer could not be built for lack of memory. */
void sbx_reply_out_of_memory(struct sbx_conn *c);

/* 200 with a JSON body that is taken over. */
void sbx_reply_json(struct sbx_conn *c, struct sbx_buf *body);

#endif
