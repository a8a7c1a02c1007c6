/* salvage.h - the record of a process that clients know and no database does: its file was deleted,
 * damaged or out of reach when the server died that had it in memory. */
#ifndef SBX_PROC_SALVAGE_H
#define SBX_PROC_SALVAGE_H

#include "base/buf.h"
#include "proc/host.h"

#define SBX_SALVAGE_NOTE "its record was lost; the command is what the system showed of it"

struct sbx_salvage {
    struct sbx_db_process record; /* views of the texts below */
    struct sbx_buf line;
    struct sbx_buf args;
};

/* What the slot and the system tell. item: what the keeper has of it, may be NULL. 0 or -ENOMEM; to
 * be released in either case. */
int sbx_salvage(struct sbx_salvage *s, const struct sbx_host *host, const struct sbx_slot *slot,
                const struct sbx_keep_item *item);
void sbx_salvage_release(struct sbx_salvage *s);

#endif
