/* process_json.c - see process_json.h. */
#include "api/process_json.h"
#include "base/base64.h"
#include "os/sig.h"

const char *sbx_stream_name(enum sbx_log_stream s)
{
    static const char *const names[] = {"stdout", "stderr", "pty"};
    return names[s];
}

void sbx_exit_signal_json(struct sbx_json_writer *w, const struct sbx_exit *e)
{
    char buf[16];
    if (e->kind != SBX_EXIT_SIGNAL)
        return;
    sbx_json_put_z(w, "exitSignal", sbx_sig_name(e->value, buf));
    if (e->core)
        sbx_json_put_bool(w, "coreDumped", true);
}

static void process_json_end(struct sbx_json_writer *w, const struct sbx_proc *p)
{
    if (p->exit.kind == SBX_EXIT_CODE)
        sbx_json_put_u64(w, "exitCode", (uint64_t)p->exit.value);
    sbx_exit_signal_json(w, &p->exit);
    /* An exit by itself, with a code, looks as it always did. */
    if (p->reason != SBX_REASON_EXITED)
        sbx_json_put_z(w, "exitReason", sbx_exit_reason_name(p->reason));
    if (p->note[0] != '\0')
        sbx_json_put_z(w, "exitNote", p->note);
    sbx_json_put_u64(w, "createdAtMs", p->created_ms);
    sbx_json_put_u64(w, "exitedAtMs", p->exited_ms);
}

void sbx_process_json(struct sbx_json_writer *w, const struct sbx_proc *p, bool with_size)
{
    size_t i;
    sbx_json_object(w);
    sbx_json_put_z(w, "id", p->id);
    sbx_json_put_string(w, "command", p->command);
    sbx_json_key(w, "args");
    sbx_json_array(w);
    for (i = 0; i < p->nargs; i++)
        sbx_json_string(w, p->args[i]);
    sbx_json_array_end(w);
    if (p->has_cwd)
        sbx_json_put_string(w, "cwd", p->cwd);
    sbx_json_put_bool(w, "tty", p->tty);
    sbx_json_put_bool(w, "interactive", p->interactive);
    if (with_size && p->tty) {
        sbx_json_put_u64(w, "cols", p->cols);
        sbx_json_put_u64(w, "rows", p->rows);
    }
    sbx_json_put_z(w, "owner", "user");
    sbx_json_put_z(w, "status", sbx_proc_exited(p) ? "exited" : "running");
    if (sbx_proc_exited(p)) {
        process_json_end(w, p);
    } else {
        sbx_json_put_u64(w, "pid", (uint64_t)p->leader);
        sbx_json_put_u64(w, "createdAtMs", p->created_ms);
    }
    if (p->input_dropped > 0)
        sbx_json_put_u64(w, "inputBytesDropped", p->input_dropped);
    sbx_json_object_end(w);
}

void sbx_entry_json(struct sbx_json_writer *w, const struct sbx_entry *e)
{
    sbx_json_object(w);
    sbx_json_put_u64(w, "sequence", e->sequence);
    sbx_json_put_z(w, "stream", sbx_stream_name(e->stream));
    sbx_json_put_u64(w, "timestampMs", e->time_ms);
    sbx_json_key(w, "data");
    sbx_json_base64(w, e->data, e->len);
    sbx_json_put_z(w, "encoding", "base64");
    sbx_json_object_end(w);
}

size_t sbx_entry_json_max(const struct sbx_entry *e)
{
    return sbx_base64_encoded_len(e->len) + 140;
}

void sbx_gap_json(struct sbx_json_writer *w, const struct sbx_gap *gap)
{
    sbx_json_put_u64(w, "fromSequence", gap->from);
    sbx_json_put_u64(w, "toSequence", gap->to);
    if (gap->bytes_known)
        sbx_json_put_u64(w, "bytes", gap->bytes);
}
