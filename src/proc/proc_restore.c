/* proc_restore.c - a process of an earlier server, as its record, the slot in the shared memory and
 * the keeper tell of it: it runs on, has exited meanwhile, or is lost. */
#include "proc/proc_state.h"
#include "base/json_read.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/ptree.h"
#include "os/pty.h"
#include "proc/salvage.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RESTORE_TRIES 50u /* for the system to end what was killed */
#define RESTORE_STEP_US 1000u

/* The arguments of a record as views of doc, or of nothing when it cannot be read. */
static bool restore_args(const struct sbx_json_doc *doc, struct sbx_spec *spec)
{
    const struct sbx_json *item;
    if (doc->root == NULL || doc->root->type != SBX_JSON_ARRAY || doc->root->count == 0)
        return true;
    spec->args = sbx_mem_alloc(doc->root->count * sizeof *spec->args);
    if (spec->args == NULL)
        return false;
    for (item = doc->root->child; item != NULL; item = item->next)
        spec->args[spec->nargs++] = item->text;
    return true;
}

static struct sbx_proc *restore_new(struct sbx_host *host, const struct sbx_db_process *r)
{
    struct sbx_spec spec = {.command = r->command, .has_cwd = r->has_cwd, .cwd = r->cwd,
                            .tty = r->tty, .interactive = r->interactive,
                            .in_memory = !r->persist, .cols = r->cols, .rows = r->rows};
    struct sbx_json_doc doc = {0};
    struct sbx_proc *p = NULL;
    struct sbx_err err;
    if (sbx_json_parse(&doc, r->args, &err) < 0)
        sbx_diag(&host->diag, SBX_DIAG_WARN, "proc_%llu: its arguments are damaged: %s",
                 (unsigned long long)r->number, err.text);
    if (restore_args(&doc, &spec))
        p = sbx_proc_new(host, r->number, &spec);
    if (p != NULL && !sbx_str_eq_z(r->env_names, "[]"))
        p->env_names = sbx_mem_strndup(r->env_names.p, r->env_names.n);
    if (p != NULL)
        sbx_proc_count_text(p);
    sbx_mem_free(spec.args);
    sbx_json_doc_deinit(&doc);
    return p;
}

static enum sbx_exit_reason restore_reason(struct sbx_str name)
{
    static const enum sbx_exit_reason all[] = {SBX_REASON_EXITED, SBX_REASON_SIGNALED,
                                               SBX_REASON_STOPPED};
    size_t i;
    for (i = 0; i < sizeof all / sizeof all[0]; i++)
        if (sbx_str_eq_z(name, sbx_exit_reason_name(all[i])))
            return all[i];
    return SBX_REASON_LOST;
}

static void restore_note(struct sbx_proc *p, struct sbx_str note)
{
    (void)snprintf(p->note, sizeof p->note, "%.*s", (int)note.n, note.p);
}

/* It is EXITED from the beginning, without the steps to it. */
static void restore_as_exited(struct sbx_proc *p)
{
    p->state = SBX_PROC_EXITED;
    if (!sbx_log_is_committed(&p->log))
        sbx_log_refresh(&p->log);
    p->log.ended = true;
    sbx_store_log_end(p->log.store);
}

static void restore_exit(struct sbx_proc *p, const struct sbx_db_process *r)
{
    p->exit = (struct sbx_exit){.kind = (enum sbx_exit_kind)r->exit_kind, .value = r->exit_value,
                                .core = r->core_dumped};
    p->exited_ms = r->exited_ms;
    p->reason = restore_reason(r->exit_reason);
    restore_as_exited(p);
}

/* And of this pid namespace: in that of another container the pids mean something else. */
static bool restore_of_this_boot(const struct sbx_host *host, const struct sbx_db_process *r)
{
    return r->boot_id.n > 0 && sbx_str_eq_z(r->boot_id, host->boot);
}

/* Or older than whoever orphans are handed to now: what it left behind is not among them. */
static bool restore_is_foreign(const struct sbx_host *host, const struct sbx_db_process *r)
{
    return !restore_of_this_boot(host, r) || r->started_us < host->family_us;
}

/* Ends a process that the record of a lost one names, if it is still that one. */
static void restore_end_survivor(struct sbx_proc *p)
{
    unsigned tries;
    if (!sbx_ident_runs(p->leader, p->started_us))
        return;
    sbx_ptree_signal(p->leader, SIGKILL, 0);
    for (tries = 0; tries < RESTORE_TRIES; tries++) {
        if (!sbx_ident_runs(p->leader, p->started_us))
            return;
        (void)usleep(RESTORE_STEP_US);
    }
    (void)snprintf(p->note, sizeof p->note, "process %ld still runs and could not be ended",
                   (long)p->leader);
    sbx_diag(&p->host->diag, SBX_DIAG_WARN, "%s: %s", p->id, p->note);
}

static struct sbx_exit restore_exit_of_slot(const struct sbx_slot *slot)
{
    return (struct sbx_exit){.kind = (enum sbx_exit_kind)slot->exit_kind,
                             .value = slot->exit_value, .core = slot->exit_core != 0};
}

static void restore_lost(struct sbx_proc *p, const struct sbx_db_process *r)
{
    p->exit = (struct sbx_exit){.kind = SBX_EXIT_UNKNOWN};
    p->exited_ms = sbx_clock_wall_ms();
    if (p->slot != NULL && p->slot->exited_ms != 0) {
        /* The keeper never had it, but the dead server saw how it ended. */
        p->exit = restore_exit_of_slot(p->slot);
        p->exited_ms = p->slot->exited_ms;
        p->stop_asked = p->slot->stop_asked != 0;
    }
    p->reason = sbx_proc_reason(p);
    if (restore_of_this_boot(p->host, r))
        restore_end_survivor(p);
    restore_as_exited(p); /* the slot stays until that is in the file */
    sbx_store_record(p->host->store, &p->record);
}

/* Takes the descriptors of the item: those of a terminal are one there and two here. */
static void restore_descriptors(struct sbx_proc *p, struct sbx_keep_item *item, bool runs)
{
    int in = item->fds[0], out[2] = {item->fds[1], item->fds[2]};
    item->fds[0] = item->fds[1] = item->fds[2] = -1;
    if (p->tty && out[0] >= 0 && runs) {
        in = fcntl(out[0], F_DUPFD_CLOEXEC, 3);
        p->slave = sbx_pty_reopen_slave(out[0]);
    }
    p->kept = true;
    (void)sbx_proc_take_over(p, in, out);
}

/* It runs, or ended meanwhile: the dead server saw that (it is in the slot), or the keeper did. */
static void restore_running(struct sbx_proc *p, struct sbx_keep_item *item)
{
    uint64_t exited_ms = p->slot == NULL ? 0 : p->slot->exited_ms;
    struct sbx_exit exit = item->exit;
    bool exited = item->exited || exited_ms != 0;
    if (exited_ms != 0)
        exit = restore_exit_of_slot(p->slot);
    p->adopted = true;
    if (p->slot != NULL) {
        p->stop_asked = p->slot->stop_asked != 0;
        p->input_dropped += p->slot->input_queued;
        p->slot->input_queued = 0;
    }
    restore_descriptors(p, item, !exited);
    /* What was queued before the end is gone, the end is not. */
    if (!exited && p->slot != NULL && p->slot->input_ended != 0)
        sbx_input_close(&p->in);
    if (exited)
        sbx_proc_end(p, &exit, exited_ms != 0 ? exited_ms : sbx_clock_wall_ms());
    else if (p->input_dropped > 0)
        sbx_store_record(p->host->store, &p->record);
}

struct sbx_proc *sbx_proc_restore(struct sbx_host *host, const struct sbx_db_process *record,
                                  struct sbx_keep_item *item)
{
    struct sbx_proc *p = restore_new(host, record);
    if (p == NULL)
        return NULL;
    p->created_ms = record->created_ms;
    p->leader = (pid_t)record->pid;
    p->started_us = record->started_us;
    p->foreign = item == NULL && restore_is_foreign(host, record);
    p->input_dropped = record->input_dropped;
    restore_note(p, record->exit_note);
    p->slot = record->exited ? NULL
                             : sbx_tail_slot_find(sbx_store_tail(host->store), record->number);
    if (!sbx_proc_open_log(p, record->log_cap > 0 ? record->log_cap : 1, item != NULL, record)) {
        p->slot = NULL; /* and stays what it is, for another attempt */
        sbx_proc_abandon(p);
        return NULL;
    }
    if (record->exited)
        restore_exit(p, record);
    else if (item != NULL)
        restore_running(p, item);
    else
        restore_lost(p, record);
    /* An older program may have written another text; it is ours, since the keeper has it. */
    if (item != NULL && !restore_of_this_boot(host, record))
        sbx_store_record(host->store, &p->record);
    if (record->exited && item != NULL) {
        restore_descriptors(p, item, false);
        sbx_input_close(&p->in); /* the dead server had no time to tell the keeper of the end */
        sbx_proc_release_exited(p);
    }
    return p;
}

static void restore_swap_texts(struct sbx_proc *p, struct sbx_proc *q)
{
    struct sbx_str *args = p->args;
    char *env_names = p->env_names;
    p->command = q->command;
    p->args = q->args;
    p->nargs = q->nargs;
    p->cwd = q->cwd;
    p->has_cwd = q->has_cwd;
    p->env_names = q->env_names;
    q->args = args;
    q->env_names = env_names;
    sbx_proc_count_text(p);
}

bool sbx_proc_recall(struct sbx_proc *p, const struct sbx_db_process *record)
{
    struct sbx_proc *known = restore_new(p->host, record);
    if (known == NULL)
        return false;
    restore_swap_texts(p, known);
    sbx_proc_abandon(known);
    /* The clock may have been set back since; an end before its beginning helps nobody. */
    if (p->state == SBX_PROC_RUNNING || record->created_ms <= p->exited_ms)
        p->created_ms = record->created_ms;
    p->input_dropped += record->input_dropped;
    if (strcmp(p->note, SBX_SALVAGE_NOTE) == 0)
        restore_note(p, record->exit_note);
    p->salvaged = false;
    return true;
}
