/* salvage.c - see salvage.h.
 *
 * The slot knows what matters for going on: number, pid, counters, how it ended, whether its output
 * may be stored. Command and arguments are those that the process runs with, which are the ones it
 * was started with unless a script or exec came between; when it has ended nobody knows them. The
 * working directory is not told: where it is now says nothing about where it began.
 *
 * It is a stopgap, and says so in its note: where the record itself turns up, in a file that comes
 * back, that one counts (sbx_proc_recall).
 *
 * Alternative: keeping each record in the shared memory beside the slot. It would be exact, and
 * cost every process some pages for what happens when a file vanishes and a server dies. */
#include "proc/salvage.h"
#include "base/json_write.h"
#include "os/clock.h"
#include "os/pty.h"

#include <errno.h>
#include <string.h>

#define SALVAGE_UNKNOWN "(unknown)"

static void salvage_put_args(struct sbx_buf *out, struct sbx_str rest)
{
    struct sbx_json_writer w;
    sbx_json_begin(&w, out);
    sbx_json_array(&w);
    while (rest.n > 0) {
        const char *end = memchr(rest.p, '\0', rest.n);
        size_t n = end == NULL ? rest.n : (size_t)(end - rest.p);
        sbx_json_string(&w, (struct sbx_str){rest.p, n});
        n += end != NULL;
        rest.p += n;
        rest.n -= n;
    }
    sbx_json_array_end(&w);
}

static void salvage_command(struct sbx_salvage *s, const struct sbx_slot *slot)
{
    struct sbx_str line;
    size_t n;
    if (!sbx_ident_runs(slot->pid, slot->started_us) ||
        !sbx_ident_arguments(slot->pid, &s->line))
        sbx_buf_add_z(&s->line, SALVAGE_UNKNOWN);
    sbx_buf_add_byte(&s->line, 0);
    line = sbx_buf_view(&s->line);
    if (s->line.oom)
        return;
    n = strlen(line.p);
    s->record.command = (struct sbx_str){line.p, n};
    /* Ours is one NUL more than the system's, which ends each of them. */
    salvage_put_args(&s->args, (struct sbx_str){line.p + n + 1, line.n - n - 1 - (line.n > n + 1)});
    s->record.args = sbx_buf_view(&s->args);
}

static void salvage_size(struct sbx_db_process *r, const struct sbx_keep_item *item)
{
    if (r->tty && item != NULL)
        (void)sbx_pty_size(item->fds[1], &r->cols, &r->rows);
}

int sbx_salvage(struct sbx_salvage *s, const struct sbx_host *host, const struct sbx_slot *slot,
                const struct sbx_keep_item *item)
{
    uint64_t now = sbx_ident_now_us();
    uint64_t age_us = now > slot->started_us ? now - slot->started_us : 0;
    *s = (struct sbx_salvage){
        .record = {.number = slot->number, .env_names = SBX_STR("[]"),
                   .tty = (slot->flags & SBX_SLOT_TTY) != 0,
                   .interactive = (slot->flags & SBX_SLOT_INTERACTIVE) != 0,
                   .persist = (slot->flags & SBX_SLOT_IN_MEMORY) == 0,
                   .pid = slot->pid, .started_us = slot->started_us,
                   .boot_id = sbx_str_z(host->boot),
                   .created_ms = sbx_clock_wall_ms() - age_us / 1000, .exit_reason = SBX_STR(""),
                   .exit_note = SBX_STR(SBX_SALVAGE_NOTE),
                   .log_cap = host->limits.max_log_bytes_per_process, .log_first = 1}};
    sbx_buf_init(&s->line);
    sbx_buf_init(&s->args);
    salvage_size(&s->record, item);
    salvage_command(s, slot);
    return s->line.oom || s->args.oom ? -ENOMEM : 0;
}

void sbx_salvage_release(struct sbx_salvage *s)
{
    sbx_buf_deinit(&s->line);
    sbx_buf_deinit(&s->args);
}
