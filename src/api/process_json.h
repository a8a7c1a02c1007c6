/* process_json.h - JSON of the objects that several endpoints show. */
#ifndef SBX_API_PROCESS_JSON_H
#define SBX_API_PROCESS_JSON_H

#include "base/json_write.h"
#include "proc/proc.h"

/* A process object. Members that do not apply are left out, never null. with_size: with cols and
 * rows of its terminal, which clients of the published server do not know and some would refuse. */
void sbx_process_json(struct sbx_json_writer *w, const struct sbx_proc *p, bool with_size);

/* exitSignal and coreDumped, where the exit was by a signal. */
void sbx_exit_signal_json(struct sbx_json_writer *w, const struct sbx_exit *e);

/* A log entry, with its bytes in base64. */
void sbx_entry_json(struct sbx_json_writer *w, const struct sbx_entry *e);
/* An upper bound of its length. */
size_t sbx_entry_json_max(const struct sbx_entry *e);

void sbx_gap_json(struct sbx_json_writer *w, const struct sbx_gap *gap);

const char *sbx_stream_name(enum sbx_log_stream s);

#endif
