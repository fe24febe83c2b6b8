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
 * thread, so a seed (TEST_SEED) repeats a run.  LAB_STATES=n: new seeds until n states were tried.
 */
#ifndef TESTS_UNIT_LAB_CRASH_LAB_H
#define TESTS_UNIT_LAB_CRASH_LAB_H

#include "lab.h"

#define CRASH_MAX_SECTORS 16384
#define CRASH_WORKERS 4
#define CRASH_BLOCK 16         /* sectors that one worker has to itself, if a case does not say */
#define CRASH_FILES 4
#define CRASH_GO_ON_EVERY 16   /* states */
/* Operations left out, and kept alone, at each cut; in long runs all. */
#define CRASH_SINGLES 3

/* How often each kind of request is made, in shares of their sum. */
typedef struct CrashMix {
    int write, zero, discard, flush;
    int max_sectors; /* of a request, 1 to a block */
    int compress;    /* whole clusters, so of at most a block */
} CrashMix;

typedef struct CrashRun CrashRun;

typedef struct CrashCase {
    const char *path;
    const char *create[4];  /* JSON for blockdev-create; file 'f' in memory is node 'file-f' */
    const char *open;       /* JSON of the stack that the workload runs on and that is judged */
    int64_t disk_bytes;
    uint32_t cluster_size;  /* discard of whole clusters zeroes them for good; 0: never certain */
    CrashMix mix;
    int block;              /* sectors that one worker has to itself; 0: CRASH_BLOCK */
    int rounds;             /* requests of each of CRASH_WORKERS workers */
    guint step;             /* cut at every n-th operation, besides those around flushes */
    const char *files[CRASH_FILES]; /* that are recorded; none: "disk" */
    bool has_base;          /* file "base" is there, raw, with words crash_base_word() */
    bool no_check;          /* the format has no check */
    bool open_writes;       /* judged with write access: opening or reading writes */
    bool unlocked;          /* co_beside takes the control lock itself, when it needs it */
    /* Other images take the place of those of @open: has it happened?  Asked before requests. */
    bool (*has_switched)(const CrashRun *r);
    const char *open_switched; /* JSON of the stack that is judged from then on */
    /* All may be NULL.  Before recording, the stack being open; */
    void coroutine_fn (*co_prepare)(CrashRun *r);
    /* beside the workers, once; */
    void coroutine_fn (*co_beside)(CrashRun *r);
    /* on each state, opened as @user; @cut: operations recorded before it. */
    void coroutine_fn (*co_judge)(CrashRun *r, MemUser *user, guint cut);
    /* Is there anything new at this cut?  Not asked in long runs. */
    bool (*wants_cut)(const CrashRun *r, guint cut);
} CrashCase;

/* One write to one sector: all its 4-byte words are @value. */
typedef struct CrashStamp {
    uint32_t value;
    guint start;   /* length of the log when it began */
    uint64_t done; /* time at which it had ended; 0: it had not */
} CrashStamp;

typedef struct CrashAck {
    uint64_t begun; /* time */
    guint log_len;  /* when it returned */
} CrashAck;

typedef struct CrashFile {
    MemFile *file;
    GByteArray *durable; /* content at its last flush */
    guint flushed;       /* operations before this one are in it */
} CrashFile;

struct CrashRun {
    const CrashCase *k;
    MemUser *user;
    GRand *rand;
    CrashFile files[CRASH_FILES];
    int n_files;
    GArray *log;                         /* of MemOp, of all files */
    GArray *stamps[CRASH_MAX_SECTORS];   /* of CrashStamp, oldest first */
    GArray *acks;                        /* of CrashAck */
    uint64_t now;
    uint32_t next_value;
    MemCrew crew;
    guint states;
    guint switched;                      /* length of the log when it was seen, or G_MAXUINT */
    void *opaque;                        /* of the case's functions */
};

typedef struct CrashWorker {
    CrashRun *r;
    int index;
} CrashWorker;

static inline int64_t crash_sectors(const CrashRun *r)
{
    return r->k->disk_bytes / 512;
}

/* The words of a sector of file "base". */
static inline uint32_t crash_base_word(int64_t sector)
{
    return 0x80000000u | sector;
}

/* ---- what the guest does --------------------------------------------------------------------- */

/* A request that makes [sector, sector + n) hold @value starts ... */
static inline void crash_stamp_begin(CrashRun *r, int64_t sector, int64_t n, uint32_t value)
{
    CrashStamp stamp = { value, r->log->len, 0 };

    for (int64_t i = sector; i < sector + n; i++) {
        g_array_append_val(r->stamps[i], stamp);
    }
}

/* ... and has succeeded. */
static inline void crash_stamp_end(CrashRun *r, int64_t sector, int64_t n)
{
    r->now++;
    for (int64_t i = sector; i < sector + n; i++) {
        g_array_index(r->stamps[i], CrashStamp, r->stamps[i]->len - 1).done = r->now;
    }
}

static inline int crash_block(const CrashRun *r)
{
    return r->k->block ? r->k->block : CRASH_BLOCK;
}

/* Blocks are dealt out in turn, so that clusters have several writers. */
static inline int64_t crash_pick(CrashWorker *w, int64_t *n)
{
    CrashRun *r = w->r;
    int blocks = crash_sectors(r) / crash_block(r) / CRASH_WORKERS;
    int64_t block = g_rand_int_range(r->rand, 0, blocks) * CRASH_WORKERS + w->index;
    int64_t first = g_rand_int_range(r->rand, 0, crash_block(r));

    *n = g_rand_int_range(r->rand, 1, MIN(r->k->mix.max_sectors, crash_block(r) - first) + 1);
    return block * crash_block(r) + first;
}

static inline void coroutine_fn crash_co_write(CrashWorker *w, unsigned flags)
{
    CrashRun *r = w->r;
    int64_t n, sector = crash_pick(w, &n);
    uint32_t value = ++r->next_value;
    g_autofree uint32_t *buf = NULL;

    if (flags & BDRV_REQ_WRITE_COMPRESSED) {
        n = r->k->cluster_size / 512;
        g_assert_cmpint(n, <=, crash_block(r));
        sector -= sector % n;
    }
    buf = g_new(uint32_t, n * 128);
    for (int64_t i = 0; i < n * 128; i++) {
        buf[i] = value;
    }
    crash_stamp_begin(r, sector, n, value);
    g_assert_cmpint(bdrv_co_pwrite(r->user->root, sector * 512, n * 512, buf, flags), ==, 0);
    crash_stamp_end(r, sector, n);
}

static inline void coroutine_fn crash_co_zero(CrashWorker *w)
{
    CrashRun *r = w->r;
    int64_t n, sector = crash_pick(w, &n);

    crash_stamp_begin(r, sector, n, 0);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(r->user->root, sector * 512, n * 512,
                                          BDRV_REQ_MAY_UNMAP), ==, 0);
    crash_stamp_end(r, sector, n);
}

static inline void coroutine_fn crash_co_discard(CrashWorker *w)
{
    CrashRun *r = w->r;
    int64_t n, sector = crash_pick(w, &n), bytes;

    if (r->k->cluster_size && r->k->cluster_size <= (uint32_t)crash_block(r) * 512) {
        bytes = r->k->cluster_size;
        n = QEMU_ALIGN_UP(n * 512, bytes) / 512;
        sector = QEMU_ALIGN_DOWN(sector * 512, bytes) / 512;
        n = MIN(n, crash_block(r) - sector % crash_block(r));
    }
    crash_stamp_begin(r, sector, n, 0);
    g_assert_cmpint(bdrv_co_pdiscard(r->user->root, sector * 512, n * 512), ==, 0);
    /* Parts of clusters stay: then both are allowed for good. */
    if (r->k->cluster_size && r->k->cluster_size <= (uint32_t)crash_block(r) * 512) {
        crash_stamp_end(r, sector, n);
    }
}

static inline void coroutine_fn crash_co_flush(CrashRun *r)
{
    CrashAck ack = { ++r->now, 0 };

    g_assert_cmpint(bdrv_co_flush(r->user->root->bs), ==, 0);
    ack.log_len = r->log->len;
    g_array_append_val(r->acks, ack);
}

static inline void coroutine_fn crash_co_worker(void *opaque)
{
    CrashWorker *w = opaque;
    CrashRun *r = w->r;
    const CrashMix *m = &r->k->mix;

    for (int i = 0; i < r->k->rounds; i++) {
        int dice = g_rand_int_range(r->rand, 0, m->write + m->zero + m->discard + m->flush +
                                    m->compress);

        /* As every user's requests; so what freezes the stack has it for itself. */
        bdrv_gate_co_enter(&r->user->gate);
        if (r->switched == G_MAXUINT && r->k->has_switched && r->k->has_switched(r)) {
            r->switched = r->log->len;
        }
        if (dice < m->write) {
            crash_co_write(w, 0);
        } else if ((dice -= m->write) < m->zero) {
            crash_co_zero(w);
        } else if ((dice -= m->zero) < m->discard) {
            crash_co_discard(w);
        } else if ((dice -= m->discard) < m->flush) {
            crash_co_flush(r);
        } else {
            crash_co_write(w, BDRV_REQ_WRITE_COMPRESSED);
        }
        bdrv_gate_leave(&r->user->gate);
    }
    g_free(w);
    mem_crew_leave(&r->crew);
}

static inline void coroutine_fn crash_co_beside(void *opaque)
{
    CrashRun *r = opaque;

    r->k->co_beside(r);
    mem_crew_leave(&r->crew);
}

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
    guint singles = lab_states_wanted() ? ops->len : MIN(ops->len, CRASH_SINGLES);

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
        /* Just before a flush the most is undecided; just after it, the least. */
        bool is_edge = t == r->log->len || after_flush || crash_is_flush(r, t);

        if (r->k->wants_cut && !lab_states_wanted() && !r->k->wants_cut(r, t)) {
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
    g_array_unref(r->log);
}

/* Record one workload and try its cuts; returns the number of states. */
static inline guint coroutine_fn crash_co_run(const CrashCase *k, GRand *rand)
{
    CrashRun r = {
        .k = k,
        .rand = rand,
        .acks = g_array_new(FALSE, FALSE, sizeof(CrashAck)),
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
    crash_co_workload(&r);
    mem_co_unuse(r.user);
    for (int f = 0; f < r.n_files; f++) {
        g_clear_pointer(&r.files[f].file->log, g_array_unref);
    }
    crash_co_all_cuts(&r);
    g_test_message("%u operations, %u flushes returned, %u states", r.log->len, r.acks->len,
                   r.states);
    g_assert_cmpuint(r.states, >, 0);
    crash_free(&r);
    return r.states;
}

/* ---- main ------------------------------------------------------------------------------------ */

static guint crash_states;       /* of all cases */
static const CrashCase *crash_case;
static guint crash_cases;

static inline void coroutine_fn crash_co_case(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    guint wanted = lab_states_wanted() / crash_cases, states = 0;

    do {
        states += crash_co_run(crash_case, rand);
        g_hash_table_remove_all(mem_files);
    } while (states < wanted);
    crash_states += states;
}

static inline void crash_test_case(gconstpointer data)
{
    crash_case = data;
    mem_run_case(lab_drivers(), crash_co_case);
}

/* The main() of a program with these cases. */
static inline int crash_lab_main(int argc, char **argv, const CrashCase *cases, guint n)
{
    int ret;

    lab_init(&argc, &argv);
    crash_cases = n;
    for (guint i = 0; i < n; i++) {
        g_test_add_data_func(cases[i].path, &cases[i], crash_test_case);
    }
    ret = g_test_run();
    printf("# %u states tried\n", crash_states);
    return ret;
}

#endif
