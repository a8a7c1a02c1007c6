/* store.c - see store.h.
 *
 * One transaction a turn, of what is due: records that changed, logs, settings, records to forget;
 * then chunks that the caps have evicted are dropped. Of logs it takes what was read in the turn
 * and STORE_BUDGET more: what could not be stored for long follows turn by turn. What a transaction
 * would change here (log->next, the list of records) takes effect when it was committed and not
 * before, so a failed one can simply be tried again.
 *
 *   WRITING --begin says -EAGAIN--> PAUSED   a checkpoint is to end: nothing is shown meanwhile
 *   WRITING, PAUSED --any other failure--> DEGRADED   everything is shown, a timer tries again
 *   PAUSED, DEGRADED --a transaction was committed--> WRITING
 *
 * While PAUSED the loop holds back phase FLUSH: answers wait for what they tell to be stored.
 *
 * A log has a part in the file (`stored`) and a part in memory (`mem`), which overlap as long as
 * the hot end is kept. Between them is a hole when memory ran short while nothing could be stored;
 * the file gets a note of it (sbx_db_put_gap), readers a gap. Entries above `committed` may still
 * grow.
 *
 * Pending are logs with something unseen (committed < last) or unsaved (saved < last). */
#include "proc/store_state.h"
#include "base/mem.h"
#include "os/rand.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#define STORE_SOON_US 5000u           /* PAUSED: ask again, should nobody tell */
#define STORE_RETRY_US 250000u        /* DEGRADED */
#define STORE_REOPEN_US 1000000u      /* likewise, without a file */
#define STORE_MOST_BYTES (64u * 1024u * 1024u) /* above which unsaved output is given up */
#define STORE_WAITS 4u                /* jobs that end a pause: a copy, emptying the log */
#define STORE_TIDY_US 20000u
#define STORE_QUIET_US 2000000u

static void store_commit(struct sbx_task *t);
static void store_on_timer(struct sbx_timer *t);
static void store_on_tidy(struct sbx_timer *t);
static void store_on_quiet(struct sbx_timer *t);
static void store_reopen(struct sbx_store *s);

void sbx_store_soon(struct sbx_store *s)
{
    sbx_loop_defer(s->o.loop, SBX_PHASE_COMMIT, &s->commit);
}

/* --- states --- */

static const char *store_state_name(enum sbx_store_state state)
{
    static const char *const names[] = {"WRITING", "PAUSED", "DEGRADED"};
    return names[state];
}

static void store_set_state(struct sbx_store *s, enum sbx_store_state state)
{
    if (s->state == state)
        return;
    sbx_diag(s->o.diag, SBX_DIAG_DEBUG, "store: %s -> %s", store_state_name(s->state),
             store_state_name(state));
    if (state == SBX_STORE_DEGRADED)
        sbx_diag(s->o.diag, SBX_DIAG_WARN, "storing is not possible, going on in memory: %s",
                 s->reason);
    else if (s->state == SBX_STORE_DEGRADED)
        sbx_diag(s->o.diag, SBX_DIAG_INFO, "storing again");
    s->state = state;
    sbx_loop_hold(s->o.loop, state == SBX_STORE_PAUSED);
}

const char *sbx_store_trouble(const struct sbx_store *s)
{
    return s->state == SBX_STORE_DEGRADED ? s->reason : NULL;
}

/* --- showing: what was committed, or cannot be --- */

static void log_show(struct sbx_store_log *log)
{
    if (log->committed == log->mem.last)
        return;
    log->committed = log->mem.last;
    log->on_commit(log->ctx);
}

void sbx_store_show_records(struct sbx_store *s, bool stored)
{
    struct sbx_list *n, *next;
    for (n = s->records.next; n != &s->records; n = next) {
        struct sbx_record *r = SBX_LIST_OF(n, struct sbx_record, dirty);
        bool awaited = r->awaited;
        next = n->next;
        if (stored && r->waits)
            continue;
        r->awaited = false;
        if (stored)
            sbx_list_remove(n);
        if (awaited)
            r->on_stored(r);
        if (stored && r->on_saved != NULL)
            r->on_saved(r);
    }
}

/* Shows everything, stored or not. */
static void store_show_all(struct sbx_store *s)
{
    struct sbx_list *n, *next;
    for (n = s->pending.next; n != &s->pending; n = next) {
        struct sbx_store_log *log = SBX_LIST_OF(n, struct sbx_store_log, pending);
        next = n->next;
        if (sbx_store_log_is_saved(log))
            sbx_list_remove(n);
        log_show(log);
    }
    sbx_store_show_records(s, !sbx_store_has_file(s));
}

/* --- the end of a turn, and timers --- */

static void store_set_timer(struct sbx_store *s, uint64_t us)
{
    sbx_loop_set_timer(s->o.loop, &s->timer, s->o.loop->now_us + us);
}

static void store_arm(struct sbx_store *s, struct sbx_timer *t, uint64_t us)
{
    if (!t->armed)
        sbx_loop_set_timer(s->o.loop, t, s->o.loop->now_us + us);
}

void sbx_store_tidy_soon(struct sbx_store *s)
{
    store_arm(s, &s->tidy, STORE_TIDY_US);
}

/* One attempt to store what is due. */
static void store_write(struct sbx_store *s)
{
    int rc = sbx_store_transaction(s);
    if (rc == 0) {
        store_set_state(s, SBX_STORE_WRITING);
        s->written_us = s->o.loop->now_us;
        sbx_store_tidy_soon(s);
        store_arm(s, &s->quiet, STORE_QUIET_US);
        /* The rest of long logs, in the next turn. */
        if (sbx_store_has_due(s))
            sbx_store_soon(s);
    } else if (rc == -EAGAIN) {
        /* Whoever is told of trouble is not to wait on top of it. */
        if (s->state != SBX_STORE_DEGRADED)
            store_set_state(s, SBX_STORE_PAUSED);
        store_set_timer(s, STORE_SOON_US);
    } else {
        (void)snprintf(s->reason, sizeof s->reason, "%s", sbx_db_error(s->db));
        store_set_state(s, SBX_STORE_DEGRADED);
        store_set_timer(s, STORE_RETRY_US);
        (void)sbx_db_settle(s->db); /* the log may be what fills the disk */
    }
}

/* Those that need no file are shown at the end of each turn. */
static void store_show_volatile(struct sbx_store *s)
{
    struct sbx_list *n, *next;
    for (n = s->pending.next; n != &s->pending; n = next) {
        struct sbx_store_log *log = SBX_LIST_OF(n, struct sbx_store_log, pending);
        next = n->next;
        if (log->in_file)
            continue;
        sbx_list_remove(n);
        log_show(log);
    }
}

static void store_step(struct sbx_store *s)
{
    sbx_store_shorten_memory(s);
    if (s->db == NULL) {
        store_show_all(s);
        return;
    }
    store_show_volatile(s);
    /* PAUSED ends with a transaction, even if nothing of what it was for is left. */
    if (s->state == SBX_STORE_PAUSED || (s->state == SBX_STORE_WRITING && sbx_store_has_due(s)))
        store_write(s);
    if (s->state == SBX_STORE_DEGRADED)
        store_show_all(s);
    else if (s->state == SBX_STORE_WRITING && !sbx_list_empty(&s->pending) && !s->timer.armed)
        store_set_timer(s, SBX_STORE_AGE_US);
}

void sbx_store_step(struct sbx_store *s)
{
    store_step(s);
    s->came = 0;
}

static void store_commit(struct sbx_task *t)
{
    sbx_store_step(SBX_LIST_OF(t, struct sbx_store, commit));
}

/* Is it to be opened, or joined? One that was only away for a while, and is in its place again with
 * its log, is neither. */
static bool store_lacks_its_file(struct sbx_store *s)
{
    return s->o.on_opened != NULL && (s->db == NULL || s->joining || sbx_db_is_gone(s->db));
}

static void store_on_timer(struct sbx_timer *t)
{
    struct sbx_store *s = SBX_LIST_OF(t, struct sbx_store, timer);
    if (s->state == SBX_STORE_DEGRADED && store_lacks_its_file(s)) {
        store_reopen(s);
    } else if (s->state == SBX_STORE_DEGRADED && s->db != NULL) {
        s->urgent = true;
        store_write(s);
        s->urgent = false;
    } else {
        sbx_store_soon(s);
    }
}

static void store_on_ready(void *ctx)
{
    struct sbx_store *s = ctx;
    if (s->state == SBX_STORE_PAUSED)
        sbx_store_soon(s);
}

/* What can wait is done in short steps, as long as there is something to do. Then all is quiet. */
static void store_tidy(struct sbx_store *s)
{
    int rc = s->state == SBX_STORE_WRITING ? sbx_db_tidy(s->db) : -EAGAIN;
    if (rc == 0)
        return;
    store_arm(s, &s->tidy, rc > 0 ? STORE_TIDY_US : STORE_RETRY_US);
    store_arm(s, &s->quiet, STORE_QUIET_US);
}

static void store_on_tidy(struct sbx_timer *t)
{
    store_tidy(SBX_LIST_OF(t, struct sbx_store, tidy));
}

static void store_on_quiet(struct sbx_timer *t)
{
    struct sbx_store *s = SBX_LIST_OF(t, struct sbx_store, quiet);
    uint64_t quiet = s->o.loop->now_us - s->written_us;
    if (quiet < STORE_QUIET_US) {
        store_arm(s, t, STORE_QUIET_US - quiet);
    } else if (s->tidy.armed || (s->db != NULL && sbx_db_settle(s->db))) {
        store_arm(s, t, STORE_QUIET_US);
    }
}

/* --- opening and closing --- */

/* What a file that is begun now is to be told by. It is in the shared memory before that file is;
 * one that was used is not given to another. 0 or a negative errno. */
static int store_draw_identity(struct sbx_store *s)
{
    uint64_t next = sbx_tail_next_file(s->tail);
    int rc = 0;
    if (next != 0 && next != sbx_tail_file(s->tail))
        return 0;
    rc = sbx_rand_bytes(&next, sizeof next);
    if (rc == 0)
        sbx_tail_set_next_file(s->tail, next >> 1 | 1);
    return rc;
}

/* NULL and err. */
static struct sbx_db *store_open_db(struct sbx_store *s, struct sbx_err *err)
{
    uint64_t counter = 0;
    struct sbx_db_identity id;
    struct sbx_db *db;
    if (s->o.may_open != NULL && s->o.may_open(s->o.ctx, err) < 0)
        return NULL;
    if (store_draw_identity(s) < 0) {
        sbx_err_set(err, EIO, "%s: the system gives no random number", s->o.dir);
        return NULL;
    }
    id = (struct sbx_db_identity){sbx_tail_file(s->tail), sbx_tail_next_file(s->tail)};
    db = sbx_db_open(s->o.loop, s->o.diag, s->o.dir, &id, store_on_ready, s, err);
    if (db == NULL)
        return NULL;
    sbx_tail_set_file(s->tail, id.known);
    if (sbx_db_load_counter(db, "process", &counter) < 0) {
        sbx_err_set(err, EIO, "%s: %s", s->o.dir, sbx_db_error(db));
        sbx_db_close(db);
        return NULL;
    }
    /* It was begun anew and does not know what was given out before; or an earlier program made it
     * that had no identities, and it gets one. */
    s->counters_dirty = s->last_number > counter || id.known == 0;
    sbx_store_number_taken(s, counter);
    return db;
}

static void store_lack_file(struct sbx_store *s, const struct sbx_err *err)
{
    (void)snprintf(s->reason, sizeof s->reason, "%s", err->text);
    store_set_state(s, SBX_STORE_DEGRADED);
    store_set_timer(s, STORE_REOPEN_US);
}

/* What was deleted meanwhile is forgotten first, or on_opened would find it again. A checkpoint may
 * have to end before: another program reads what was left in the log. */
static int store_first_transaction(struct sbx_store *s, struct sbx_db *db)
{
    int rc = sbx_db_begin(db);
    if (rc == -EAGAIN) {
        sbx_db_await(db);
        rc = sbx_db_begin(db);
    }
    if (rc == 0)
        rc = sbx_store_put_forgotten(s, db);
    if (rc == 0)
        rc = sbx_store_put_counters(s, db);
    if (rc == 0)
        rc = sbx_db_commit(db);
    if (rc < 0)
        sbx_db_rollback(db);
    return rc;
}

/* The old one goes only when there is another: readers have no other place to look. Unless it is
 * the same file, and its log is gone: two connections that share the file and its index, and have
 * not the same log, would each take what the other has written for its own. With the end of the old
 * one, what it has in its log goes to the file. */
static int store_take_file(struct sbx_store *s, struct sbx_err *err)
{
    struct sbx_db *old = s->db, *db;
    int rc;
    if (old != NULL && sbx_db_lacks_log(old)) {
        if (s->o.may_open != NULL && s->o.may_open(s->o.ctx, err) < 0)
            return err->code;
        sbx_db_close(old);
        s->db = old = NULL;
    }
    db = store_open_db(s, err);
    if (db == NULL)
        return err->code;
    rc = store_first_transaction(s, db);
    if (rc < 0) {
        rc = sbx_err_set(err, rc, "%s", sbx_db_error(db));
        sbx_db_close(db);
        return rc;
    }
    if (old != NULL)
        sbx_db_close(old);
    s->db = db;
    s->nforgotten = 0;
    sbx_store_counters_put(s);
    sbx_page_cache_drop_all(&s->pages);
    s->joining = true;
    return 0;
}

/* Until it is joined nothing is written to it. A join that failed half way begins again: what was
 * done of it is done once more, to no harm. */
static void store_reopen(struct sbx_store *s)
{
    bool urgent = s->urgent;
    struct sbx_err err;
    if ((!s->joining || sbx_db_is_gone(s->db)) && store_take_file(s, &err) < 0) {
        store_lack_file(s, &err);
        return;
    }
    if (s->o.on_opened(s->o.ctx, &err) < 0) {
        store_lack_file(s, &err);
        return;
    }
    s->joining = false;
    s->urgent = true;
    store_write(s);
    s->urgent = urgent;
}

static bool store_open_file(struct sbx_store *s, struct sbx_err *err)
{
    if (!sbx_store_has_file(s))
        return true;
    s->db = store_open_db(s, err);
    if (s->db != NULL)
        return true;
    if (!s->o.go_on)
        return false;
    store_lack_file(s, err);
    return true;
}

struct sbx_store *sbx_store_open(const struct sbx_store_options *o, struct sbx_err *err)
{
    struct sbx_store *s = sbx_mem_calloc(sizeof *s);
    bool refused = false;
    if (s == NULL) {
        sbx_err_set(err, ENOMEM, "out of memory");
        return NULL;
    }
    s->o = *o;
    if (o->most_memory == 0)
        s->o.most_memory = STORE_MOST_BYTES;
    sbx_list_init(&s->pending);
    sbx_list_init(&s->written);
    sbx_list_init(&s->records);
    sbx_task_init(&s->commit, store_commit);
    sbx_timer_init(&s->timer, store_on_timer);
    sbx_timer_init(&s->tidy, store_on_tidy);
    sbx_timer_init(&s->quiet, store_on_quiet);
    sbx_buf_init(&s->scratch);
    s->tail = sbx_tail_open(o->memory, o->shared, &refused);
    if (s->tail == NULL) {
        sbx_err_set(err, ENOMEM, "out of memory");
        sbx_mem_free(s);
        return NULL;
    }
    if (refused)
        sbx_diag(o->diag, SBX_DIAG_ERROR, "the memory of the earlier server cannot be used");
    if (sbx_tail_fd(s->tail) < 0)
        s->o.shared = false;
    sbx_store_number_taken(s, sbx_tail_number(s->tail));
    if (!store_open_file(s, err)) {
        sbx_store_close(s);
        return NULL;
    }
    if (s->db != NULL)
        store_tidy(s); /* an earlier server may have had no time for it */
    if (s->counters_dirty)
        sbx_store_soon(s);
    return s;
}

void sbx_store_close(struct sbx_store *s)
{
    assert(sbx_list_empty(&s->pending) && sbx_list_empty(&s->records));
    sbx_task_cancel(&s->commit);
    sbx_loop_cancel_timer(s->o.loop, &s->timer);
    sbx_loop_cancel_timer(s->o.loop, &s->tidy);
    sbx_loop_cancel_timer(s->o.loop, &s->quiet);
    if (s->db != NULL) {
        if (s->nforgotten > 0 || s->limits_dirty || s->counters_dirty)
            (void)sbx_store_transaction(s);
        sbx_loop_hold(s->o.loop, false);
        sbx_page_cache_drop_all(&s->pages);
        sbx_db_close(s->db);
    }
    sbx_tail_close(s->tail);
    sbx_buf_deinit(&s->scratch);
    sbx_mem_free(s->forgotten);
    sbx_mem_free(s);
}

static void store_flush(struct sbx_store *s)
{
    unsigned i;
    if (s->db == NULL || store_lacks_its_file(s))
        return;
    s->urgent = s->whole = true;
    if (s->state == SBX_STORE_DEGRADED)
        store_write(s);
    else
        sbx_store_step(s);
    for (i = 0; i < STORE_WAITS && s->state == SBX_STORE_PAUSED; i++) {
        sbx_db_await(s->db);
        sbx_store_step(s);
    }
    s->urgent = s->whole = false;
}

/* Where nothing was to be stored, nobody has missed a file that is gone yet. */
void sbx_store_save(struct sbx_store *s)
{
    struct sbx_err err;
    if (sbx_store_has_file(s) && store_lacks_its_file(s)) {
        if (s->state != SBX_STORE_DEGRADED) {
            sbx_err_set(&err, EIO, "%s: the database was deleted or replaced", s->o.dir);
            store_lack_file(s, &err);
        }
        s->whole = true;
        store_reopen(s);
        s->whole = false;
    }
    store_flush(s);
}

void sbx_store_leave(struct sbx_store *s)
{
    store_flush(s);
    sbx_tail_leave(s->tail);
}

struct sbx_tail *sbx_store_tail(struct sbx_store *s)
{
    return s->tail;
}

struct sbx_db *sbx_store_db(struct sbx_store *s)
{
    return s->db;
}

uint64_t sbx_store_next_number(struct sbx_store *s)
{
    sbx_store_number_taken(s, s->last_number + 1);
    return s->last_number;
}

void sbx_store_number_taken(struct sbx_store *s, uint64_t number)
{
    if (number <= s->last_number)
        return;
    s->last_number = number;
    sbx_tail_set_number(s->tail, number);
}

/* --- records --- */

void sbx_record_init(struct sbx_record *r)
{
    sbx_list_init(&r->dirty);
}

void sbx_store_record(struct sbx_store *s, struct sbx_record *r)
{
    r->awaited = true;
    if (sbx_list_empty(&r->dirty))
        sbx_list_add_tail(&s->records, &r->dirty);
    sbx_store_soon(s);
}

void sbx_record_drop(struct sbx_record *r)
{
    sbx_list_remove(&r->dirty);
    r->awaited = false;
}

void sbx_store_forget(struct sbx_store *s, uint64_t number)
{
    size_t cap = s->capforgotten == 0 ? 16 : s->capforgotten * 2;
    if (!sbx_store_has_file(s))
        return;
    sbx_page_cache_drop(&s->pages, number);
    if (s->nforgotten == s->capforgotten) {
        uint64_t *more = sbx_mem_realloc(s->forgotten, cap * sizeof *more);
        if (more == NULL) {
            sbx_diag(s->o.diag, SBX_DIAG_WARN, "out of memory: a deleted record stays in the file");
            return;
        }
        s->forgotten = more;
        s->capforgotten = cap;
    }
    s->forgotten[s->nforgotten++] = number;
    sbx_store_soon(s);
}
