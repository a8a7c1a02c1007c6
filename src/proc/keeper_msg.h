/* keeper_msg.h - what keeper and server say to each other, as bytes: pure, no descriptors here.
 *
 * Three forms: a message of the socket between them; an item of the table that a new program reads
 * at an upgrade; the environment variable that leads it there. All have one spelling for each
 * value: what decodes encodes to the same bytes. */
#ifndef SBX_PROC_KEEPER_MSG_H
#define SBX_PROC_KEEPER_MSG_H

#include "base/str.h"
#include "proc/estate.h"

enum sbx_keeper_msg_type {
    SBX_KEEPER_MSG_PUT = 1,  /* kind, number, pid, fds; as many descriptors as fds has bits */
    SBX_KEEPER_MSG_CLOSE_FD, /* number, fds: the one bit of the descriptor */
    SBX_KEEPER_MSG_DROP,     /* kind, number */
    SBX_KEEPER_MSG_READY,
    SBX_KEEPER_MSG_EXIT      /* number, exit */
};

/* Members that the type does not use are 0. */
struct sbx_keeper_msg {
    enum sbx_keeper_msg_type type;
    uint32_t kind;
    uint64_t number;
    int32_t pid;
    unsigned fds; /* bit i: of slot i */
    struct sbx_exit exit;
};

#define SBX_KEEPER_MSG_BYTES 32u
void sbx_keeper_msg_encode(const struct sbx_keeper_msg *m, uint8_t out[SBX_KEEPER_MSG_BYTES]);
/* 0 or -EINVAL. */
int sbx_keeper_msg_decode(const uint8_t *p, size_t n, struct sbx_keeper_msg *m);

#define SBX_KEEPER_ITEM_BYTES 40u
void sbx_keeper_item_encode(const struct sbx_keep_item *item, uint8_t out[SBX_KEEPER_ITEM_BYTES]);
int sbx_keeper_item_decode(const uint8_t *p, size_t n, struct sbx_keep_item *item);

#define SBX_KEEPER_VARIABLE "SANDBOX_AGENT_KEEPER"

struct sbx_keeper_handover {
    int link, table; /* descriptors */
    pid_t keeper;
    unsigned generation;
    size_t nofile; /* see struct sbx_estate */
};

#define SBX_KEEPER_HANDOVER_MAX 80u /* characters, with the NUL */
void sbx_keeper_handover_format(const struct sbx_keeper_handover *h,
                                char out[SBX_KEEPER_HANDOVER_MAX]);
int sbx_keeper_handover_parse(struct sbx_str text, struct sbx_keeper_handover *h);

#endif
