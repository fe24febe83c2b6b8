/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts.  A workload runs on a stack of nodes over files in memory while every write,
 * truncation and flush of these files is recorded.  Then, for moments of that record (all those
 * around flushes), files are built that a cut could leave: all that was flushed, and of the rest
 *
 *  - everything, nothing, or any of its 512-byte sectors (torn and left-out writes);
 *  - everything but one operation; one operation alone (what a reordering leaves).
 *
 * In each such state the image opens; its check finds leaks at most; every sector of the disk holds
 * what it held when the last flush that had returned began, or something written later; and of
 * every n-th state, writing goes on and a check with repair leaves nothing to repair.
 *
 * A workload is one CrashCase; see tests/crash/README.md for how to add one.  All runs in one
 * thread, so a seed (TEST_SEED) repeats a run.  LAB_STATES=n: new seeds until n states that differ
 * were tried.  The last lines say how many states had each kind of operation under way, or done
 * and not yet flushed.
 */
#ifndef TESTS_UNIT_LAB_CRASH_LAB_H
#define TESTS_UNIT_LAB_CRASH_LAB_H

#include "crash-guest.h"

/* ---- what may be there afterwards ------------------------------------------------------------ */

/* The last flush that had returned when the log was @t long; NULL: none. */
static inline const CrashAck *crash_last_ack(const CrashRun *r, guint t)
{
    const CrashAck *last = NULL;

    for (guint i = 0; i < r->acks->len; i++) {
        const CrashAck *ack = &g_array_index(r->acks, CrashAck, i);

        if (ack->log_len <= t && (!last || ack->begun > last->begun)) {
            last = ack;
        }
    }
    return last;
}

static inline bool crash_is_allowed(const CrashRun *r, int64_t sector, const CrashAck *ack,
                                    guint t, uint32_t value)
{
    const GArray *stamps = r->stamps[sector];

    for (guint i = stamps->len; i-- > 0;) {
        const CrashStamp *stamp = &g_array_index(stamps, CrashStamp, i);

        if (stamp->start <= t && stamp->value == value) {
            return true;
        }
        if (ack && stamp->done && stamp->done <= ack->begun) {
            return false; /* older ones were overwritten for good */
        }
    }
    return value == (r->k->has_base ? crash_base_word(sector) : 0);
}

/* The disk reads as may be after a cut at @t. */
static inline void coroutine_fn crash_co_compare(CrashRun *r, MemUser *user, guint t)
{
    const CrashAck *ack = crash_last_ack(r, t);
    g_autofree uint32_t *buf = g_malloc(r->k->disk_bytes);

    g_assert_cmpint(bdrv_co_pread(user->root, 0, r->k->disk_bytes, buf, 0), ==, 0);
    for (int64_t i = 0; i < crash_sectors(r); i++) {
        for (int word = 0; word < 128; word += 127) {
            if (!crash_is_allowed(r, i, ack, t, buf[i * 128 + word])) {
                g_error("cut at %u of %u: sector %" PRIi64 " holds %" PRIx32, t, r->log->len, i,
                        buf[i * 128 + word]);
            }
        }
    }
}

/* What the user opens after a cut at @t. */
static inline const char *crash_stack(const CrashRun *r, guint t)
{
    return t >= r->switched ? r->k->open_switched : r->k->open;
}

/* Written again, it holds that; repaired, there is nothing left to repair. */
static inline void coroutine_fn crash_co_go_on(CrashRun *r, guint t)
{
    MemUser *user = lab_co_use(crash_stack(r, t), BDRV_O_RDWR | BDRV_O_UNMAP);
    g_autofree uint8_t *wanted = g_malloc(r->k->disk_bytes), *buf = g_malloc(r->k->disk_bytes);
    BdrvCheckResult res = { .report = lab_report };
    int ret = r->k->no_check ? -ENOTSUP
                             : bdrv_co_check(user->bs, &res, BDRV_FIX_LEAKS | BDRV_FIX_ERRORS);

    if (ret != -ENOTSUP) {
        g_assert_cmpint(ret, ==, 0);
        g_assert_cmpint(lab_co_check(user), ==, 0);
        crash_co_compare(r, user, t);
    }
    memset(wanted, 0x5a + t % 64, r->k->disk_bytes);
    g_assert_cmpint(bdrv_co_pwrite(user->root, 0, r->k->disk_bytes, wanted, 0), ==, 0);
    g_assert_cmpint(bdrv_co_flush(user->bs), ==, 0);
    mem_co_unuse(user);

    user = lab_co_use(crash_stack(r, t), r->k->open_writes ? BDRV_O_RDWR : 0);
    if (!r->k->no_check) {
        lab_co_check(user);
    }
    g_assert_cmpint(bdrv_co_pread(user->root, 0, r->k->disk_bytes, buf, 0), ==, 0);
    g_assert_true(memcmp(buf, wanted, r->k->disk_bytes) == 0);
    mem_co_unuse(user);
}

static inline void coroutine_fn crash_co_judge(CrashRun *r, guint t)
{
    MemUser *user = lab_co_use(crash_stack(r, t), r->k->open_writes ? BDRV_O_RDWR : 0);

    if (!r->k->no_check) {
        lab_co_check(user);
    }
    crash_co_compare(r, user, t);
    if (r->k->co_judge) {
        r->k->co_judge(r, user, t);
    }
    mem_co_unuse(user);
    if (r->states++ % CRASH_GO_ON_EVERY == 0) {
        crash_co_go_on(r, t);
    }
}

/* ---- power cuts ------------------------------------------------------------------------------ */

/* Which of the operations since the last flush are in a state. */
typedef struct CrashChoice {
    GRand *rand;
    int of_four;   /* chance of a sector */
    int without;   /* this operation is left out, the others are in; < 0: none */
    int alone;     /* only this one is in; < 0: none */
} CrashChoice;

static inline bool crash_pick_sector(void *opaque)
{
    CrashChoice *c = opaque;

    return g_rand_int_range(c->rand, 0, 4) < c->of_four;
}

static inline bool crash_is_chosen(CrashChoice *c, guint op, MemOpKind kind)
{
    if (c->without >= 0) {
        return op != (guint)c->without;
    }
    if (c->alone >= 0) {
        return op == (guint)c->alone;
    }
    return kind == MEM_WRITE || crash_pick_sector(c);
}

static GHashTable *crash_seen;    /* hashes of states */
static GHashTable *crash_kinds;   /* of operations -> states that had one */

static inline uint64_t crash_hash(const CrashRun *r)
{
    uint64_t hash = 0;

    for (int f = 0; f < r->n_files; f++) {
        const GByteArray *data = r->files[f].file->data;

        for (guint at = 0; at < data->len; at += 8) {
            uint64_t word = 0;

            memcpy(&word, data->data + at, MIN(8, data->len - at));
            hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
            hash ^= hash >> 29;
        }
        hash = (hash ^ data->len) * UINT64_C(0x9e3779b97f4a7c15);
    }
    return hash;
}

static inline guint crash_states_with(const char *kind)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(crash_kinds, kind));
}

/* Count the state that the files hold, which a cut at @t left, if there was none like it. */
static inline void crash_count(CrashRun *r, guint t)
{
    g_autoptr(GHashTable) kinds = g_hash_table_new(g_str_hash, g_str_equal);

    if (!g_hash_table_add(crash_seen, GSIZE_TO_POINTER(crash_hash(r)))) {
        return;
    }
    r->distinct++;
    for (guint i = 0; i < r->ops->len; i++) {
        const CrashOp *op = &g_array_index(r->ops, CrashOp, i);

        if (op->from <= t && t <= op->until && g_hash_table_add(kinds, (char *)op->kind)) {
            g_hash_table_insert(crash_kinds, (char *)op->kind,
                                GUINT_TO_POINTER(crash_states_with(op->kind) + 1));
        }
    }
}

/* Files as a cut after @t operations leaves them. */
static inline void coroutine_fn crash_co_try(CrashRun *r, guint t, CrashChoice choice)
{
    choice.rand = r->rand;
    for (int f = 0; f < r->n_files; f++) {
        const CrashFile *cf = &r->files[f];

        g_byte_array_set_size(cf->file->data, 0);
        g_byte_array_append(cf->file->data, cf->durable->data, cf->durable->len);
        for (guint i = cf->flushed; i < t; i++) {
            const MemOp *op = &g_array_index(r->log, MemOp, i);

            if (op->file == cf->file && crash_is_chosen(&choice, i, op->kind)) {
                bool whole = choice.without >= 0 || choice.alone >= 0;

                mem_apply(cf->file->data, op, whole ? NULL : crash_pick_sector, &choice);
            }
        }
    }
    crash_count(r, t);
    crash_co_judge(r, t);
}

/* Operations that a cut after @t may have lost. */
static inline GArray *crash_undecided(const CrashRun *r, guint t)
{
    GArray *ops = g_array_new(FALSE, FALSE, sizeof(guint));

    for (int f = 0; f < r->n_files; f++) {
        for (guint i = r->files[f].flushed; i < t; i++) {
            const MemOp *op = &g_array_index(r->log, MemOp, i);

            if (op->file == r->files[f].file && op->kind != MEM_FLUSH) {
                g_array_append_val(ops, i);
            }
        }
    }
    return ops;
}

static inline void coroutine_fn crash_co_cut(CrashRun *r, guint t, bool is_edge)
{
    g_autoptr(GArray) ops = crash_undecided(r, t);
    guint singles = test_states_wanted() ? ops->len : MIN(ops->len, CRASH_SINGLES);

    crash_co_try(r, t, (CrashChoice) { .of_four = 4, .without = -1, .alone = -1 });
    if (!ops->len) {
        return;
    }
    for (int of_four = 0; of_four <= 3; of_four++) {
        crash_co_try(r, t, (CrashChoice) { .of_four = of_four, .without = -1, .alone = -1 });
    }
    for (guint i = 0; is_edge && i < singles; i++) {
        guint nr = singles == ops->len ? i : test_rand_below(r->rand, ops->len);
        int op = g_array_index(ops, guint, nr);

        crash_co_try(r, t, (CrashChoice) { .without = op, .alone = -1 });
        crash_co_try(r, t, (CrashChoice) { .without = -1, .alone = op });
    }
}

/* A flush of its file is operation @at: what came before is durable. */
static inline void crash_make_durable(CrashRun *r, guint at)
{
    const MemFile *file = g_array_index(r->log, MemOp, at).file;

    for (int f = 0; f < r->n_files; f++) {
        CrashFile *cf = &r->files[f];

        for (; cf->file == file && cf->flushed <= at; cf->flushed++) {
            const MemOp *op = &g_array_index(r->log, MemOp, cf->flushed);

            if (op->file == file) {
                mem_apply(cf->durable, op, NULL, NULL);
            }
        }
    }
}

static inline bool crash_is_flush(const CrashRun *r, guint t)
{
    return t < r->log->len && g_array_index(r->log, MemOp, t).kind == MEM_FLUSH;
}

static inline void coroutine_fn crash_co_all_cuts(CrashRun *r)
{
    mem_rand = NULL;
    for (guint t = 0; t <= r->log->len; t++) {
        bool after_flush = t > 0 && crash_is_flush(r, t - 1);

        if (after_flush) {
            crash_make_durable(r, t - 1);
        }
        /*
         * Just before a flush the most is undecided; just after it, the least.  From a switch on,
         * the image that takes over must have all.
         */
        bool is_edge = t == r->log->len || t == r->switched || after_flush || crash_is_flush(r, t);

        if (r->k->wants_cut && !test_states_wanted() && !r->k->wants_cut(r, t)) {
            continue;
        }
        if (is_edge || t % r->k->step == 0) {
            crash_co_cut(r, t, is_edge);
        }
    }
}

/* ---- a run ----------------------------------------------------------------------------------- */

static inline void coroutine_fn crash_co_workload(CrashRun *r)
{
    for (int i = 0; i < CRASH_WORKERS; i++) {
        CrashWorker *w = g_new0(CrashWorker, 1);

        *w = (CrashWorker) { r, i };
        mem_crew_start(&r->crew, crash_co_worker, w);
    }
    if (r->k->co_beside) {
        mem_crew_start(&r->crew, crash_co_beside, r);
    }
    if (r->k->unlocked) {
        bdrv_co_control_unlock();
        mem_crew_wait(&r->crew);
        bdrv_co_control_lock();
    } else {
        mem_crew_wait(&r->crew);
    }
}

/* All is on disk when an image is closed. */
static inline void coroutine_fn crash_co_close(CrashRun *r)
{
    bool stores = bdrv_dirty_bitmap_next(r->user->root->bs, NULL);
    guint op = crash_op_begin(r, stores ? "bitmaps stored" : "close");
    uint64_t begun = ++r->now;

    mem_co_unuse(r->user);
    r->user = NULL;
    crash_op_end(r, op, true);
    crash_acknowledge(r, begun);
}

static inline void coroutine_fn crash_co_phases(CrashRun *r)
{
    for (;;) {
        crash_co_workload(r);
        crash_look_for_switch(r);
        crash_co_close(r);
        if (++r->phase >= r->k->phases) {
            return;
        }
        r->user = lab_co_use(crash_stack(r, r->log->len), BDRV_O_RDWR | BDRV_O_UNMAP);
    }
}

static inline void crash_fill_base(const CrashRun *r)
{
    GByteArray *data = mem_file("base")->data;

    g_byte_array_set_size(data, r->k->disk_bytes);
    for (int64_t i = 0; i < r->k->disk_bytes / 4; i++) {
        ((uint32_t *)data->data)[i] = crash_base_word(i / 128);
    }
}

static inline void crash_record(CrashRun *r)
{
    const char *const alone[CRASH_FILES] = { "disk" };
    const char *const *names = r->k->files[0] ? r->k->files : alone;

    r->log = mem_journal_new();
    for (; r->n_files < CRASH_FILES && names[r->n_files]; r->n_files++) {
        CrashFile *cf = &r->files[r->n_files];

        cf->file = mem_file(names[r->n_files]);
        cf->file->may_discard = true;
        cf->durable = g_byte_array_new();
        g_byte_array_append(cf->durable, cf->file->data->data, cf->file->data->len);
        cf->file->log = g_array_ref(r->log);
    }
}

static inline void crash_free(CrashRun *r)
{
    for (int f = 0; f < r->n_files; f++) {
        g_byte_array_unref(r->files[f].durable);
    }
    for (int64_t i = 0; i < crash_sectors(r); i++) {
        g_array_unref(r->stamps[i]);
    }
    g_array_unref(r->acks);
    g_array_unref(r->ops);
    g_array_unref(r->log);
}

/* Record one workload and try its cuts; adds the numbers of states and of those that differ. */
static inline void coroutine_fn crash_co_run(const CrashCase *k, GRand *rand, guint *states,
                                             guint *distinct)
{
    CrashRun r = {
        .k = k,
        .rand = rand,
        .acks = g_array_new(FALSE, FALSE, sizeof(CrashAck)),
        .ops = g_array_new(FALSE, FALSE, sizeof(CrashOp)),
        .switched = G_MAXUINT,
    };

    g_assert_cmpint(crash_sectors(&r), <=, CRASH_MAX_SECTORS);
    for (int64_t i = 0; i < crash_sectors(&r); i++) {
        r.stamps[i] = g_array_new(FALSE, FALSE, sizeof(CrashStamp));
    }
    if (k->has_base) {
        crash_fill_base(&r);
    }
    for (size_t i = 0; i < ARRAY_SIZE(k->create) && k->create[i]; i++) {
        lab_co_create(k->create[i]);
    }
    if (!k->create[0]) {
        mem_resize(mem_file("disk")->data, k->disk_bytes);
    }
    r.user = lab_co_use(k->open, BDRV_O_RDWR | BDRV_O_UNMAP);
    if (k->co_prepare) {
        k->co_prepare(&r);
    }
    mem_rand = rand;
    crash_record(&r);
    crash_co_phases(&r);
    for (int f = 0; f < r.n_files; f++) {
        g_clear_pointer(&r.files[f].file->log, g_array_unref);
    }
    crash_co_all_cuts(&r);
    g_test_message("%u operations, %u flushes returned, %u states", r.log->len, r.acks->len,
                   r.states);
    g_assert_cmpuint(r.states, >, 0);
    *states += r.states;
    *distinct += r.distinct;
    crash_free(&r);
}

/* ---- main ------------------------------------------------------------------------------------ */

static guint crash_states, crash_distinct; /* of all cases */
static const CrashCase *crash_case;
static guint crash_cases;

/* Were there states enough with each kind of operation that the case asks for? */
static inline bool crash_has_kinds(const CrashCase *k)
{
    for (size_t i = 0; k->kinds && k->kinds[i]; i++) {
        if (crash_states_with(k->kinds[i]) < MAX(test_states_wanted() / CRASH_KIND_SHARE, 1)) {
            return false;
        }
    }
    return true;
}

static inline void coroutine_fn crash_co_case(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    guint wanted = test_states_wanted() / crash_cases, states = 0, distinct = 0;

    do {
        crash_co_run(crash_case, rand, &states, &distinct);
        g_hash_table_remove_all(mem_files);
    } while ((distinct < wanted && states < CRASH_PATIENCE * wanted) ||
             !crash_has_kinds(crash_case));
    crash_states += states;
    crash_distinct += distinct;
}

static inline void crash_test_case(gconstpointer data)
{
    crash_case = data;
    mem_run_case(lab_drivers(), crash_co_case);
}

/* The main() of a program with these cases. */
static inline int crash_lab_main(int argc, char **argv, const CrashCase *cases, guint n)
{
    GHashTableIter iter;
    gpointer kind, count;
    int ret;

    lab_init(&argc, &argv);
    crash_cases = n;
    crash_seen = g_hash_table_new(NULL, NULL);
    crash_kinds = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < n; i++) {
        g_test_add_data_func(cases[i].path, &cases[i], crash_test_case);
    }
    ret = g_test_run();
    printf("# %u states tried, %u of them distinct\n", crash_states, crash_distinct);
    g_hash_table_iter_init(&iter, crash_kinds);
    while (g_hash_table_iter_next(&iter, &kind, &count)) {
        printf("# %u with: %s\n", GPOINTER_TO_UINT(count), (char *)kind);
    }
    g_hash_table_unref(crash_seen);
    g_hash_table_unref(crash_kinds);
    return ret;
}

#endif
