/* host.h - what process objects need of their surroundings, handed down instead of globals. */
#ifndef SBX_PROC_HOST_H
#define SBX_PROC_HOST_H

#include "os/diag.h"
#include "os/ident.h"
#include "os/loop.h"
#include "os/spawn.h"
#include "proc/keep.h"
#include "proc/limits.h"
#include "proc/reap.h"
#include "proc/store.h"

#define SBX_SCRATCH_BYTES (64u * 1024u + 64u)

struct sbx_proc;

struct sbx_host {
    struct sbx_loop loop;
    struct sbx_diag diag;
    struct sbx_reap reap;
    struct sbx_spawn_env spawn;
    struct sbx_store *store;
    struct sbx_keep keep;
    char boot[SBX_BOOT_ID_MAX];
    uint64_t family_us; /* start of the process that orphans are handed to: os/ident.h */
    void (*on_exited)(void *ctx, struct sbx_proc *p); /* it is EXITED from now on; may be NULL */
    void *ctx;
    struct sbx_limits limits;
    struct sbx_list runs;  /* one-shot commands under way: run.h */
    struct sbx_list sinks; /* pipes of background children that outlived a run */
    char **environ;      /* for children: the server's, without its token */
    uint8_t *scratch;    /* SBX_SCRATCH_BYTES for use within one callback */
};

#endif
