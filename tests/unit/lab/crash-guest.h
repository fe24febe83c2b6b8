/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For crash-lab.h: what a workload is, and the guest that carries it out and remembers what it
 * wrote, and when.
 */
#ifndef TESTS_UNIT_LAB_CRASH_GUEST_H
#define TESTS_UNIT_LAB_CRASH_GUEST_H

#include "lab.h"

#include "block/dirty-bitmap.h"

#define CRASH_MAX_SECTORS 16384
#define CRASH_WORKERS 4
#define CRASH_BLOCK 16         /* sectors that one worker has to itself, if a case does not say */
#define CRASH_FILES 4
#define CRASH_GO_ON_EVERY 16   /* states */
/* Operations left out, and kept alone, at each cut; in long runs all. */
#define CRASH_SINGLES 3
/* So many of the states wanted must have each kind of operation that a case asks for: one in ... */
#define CRASH_KIND_SHARE 10
/* Where so few states differ, that many times as many as are wanted will do. */
#define CRASH_PATIENCE 4

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
    bool shows_base;        /* where something was discarded: version 2 knows no zero clusters */
    bool no_check;          /* the format has no check */
    bool open_writes;       /* judged with write access: opening or reading writes */
    bool unlocked;          /* co_beside takes the control lock itself, when it needs it */
    int phases;             /* so often the image is opened, used and closed; 0: once */
    /* Kinds of operations, all of which a run must see; in long runs in many states each. */
    const char *const *kinds;
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

/* Something done to the image. */
typedef struct CrashOp {
    const char *kind;
    guint from;    /* length of the log when it began */
    guint until;   /* ... when a flush that began after its end returned */
    uint64_t done; /* time at which it had ended; 0: it had not */
} CrashOp;

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
    GArray *ops;                         /* of CrashOp */
    uint64_t now;
    uint32_t next_value;
    MemCrew crew;
    guint states, distinct;
    int phase;
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

/* Something of this kind begins ... */
static inline guint crash_op_begin(CrashRun *r, const char *kind)
{
    CrashOp op = { kind, r->log->len, G_MAXUINT, 0 };

    g_array_append_val(r->ops, op);
    return r->ops->len - 1;
}

/* ... and has ended, or was refused. */
static inline void crash_op_end(CrashRun *r, guint nr, bool succeeded)
{
    CrashOp *op = &g_array_index(r->ops, CrashOp, nr);

    op->done = ++r->now;
    if (!succeeded) {
        op->until = 0;
    }
}

/* What had ended at @begun is on disk. */
static inline void crash_acknowledge(CrashRun *r, uint64_t begun)
{
    CrashAck ack = { begun, r->log->len };

    g_array_append_val(r->acks, ack);
    for (guint i = 0; i < r->ops->len; i++) {
        CrashOp *op = &g_array_index(r->ops, CrashOp, i);

        if (op->done && op->done <= begun) {
            op->until = MIN(op->until, ack.log_len);
        }
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
    guint op, whole = r->k->cluster_size ? r->k->cluster_size / 512 : CRASH_MAX_SECTORS;
    uint32_t value = ++r->next_value;
    g_autofree uint32_t *buf = NULL;

    if (flags & BDRV_REQ_WRITE_COMPRESSED) {
        n = whole;
        g_assert_cmpint(n, <=, crash_block(r));
        sector -= sector % n;
    }
    op = crash_op_begin(r, flags & BDRV_REQ_WRITE_COMPRESSED ? "compressed write"
                           : (sector | n) % whole ? "write of part of a cluster" : "write");
    buf = g_new(uint32_t, n * 128);
    for (int64_t i = 0; i < n * 128; i++) {
        buf[i] = value;
    }
    crash_stamp_begin(r, sector, n, value);
    g_assert_cmpint(bdrv_co_pwrite(r->user->root, sector * 512, n * 512, buf, flags), ==, 0);
    crash_stamp_end(r, sector, n);
    crash_op_end(r, op, true);
}

static inline void coroutine_fn crash_co_zero(CrashWorker *w)
{
    CrashRun *r = w->r;
    int64_t n, sector = crash_pick(w, &n);
    guint op = crash_op_begin(r, "zero");

    crash_stamp_begin(r, sector, n, 0);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(r->user->root, sector * 512, n * 512,
                                          BDRV_REQ_MAY_UNMAP), ==, 0);
    crash_stamp_end(r, sector, n);
    crash_op_end(r, op, true);
}

static inline void coroutine_fn crash_co_discard(CrashWorker *w)
{
    CrashRun *r = w->r;
    int64_t n, sector = crash_pick(w, &n), bytes = r->k->cluster_size;
    guint op = crash_op_begin(r, "discard");
    /* Parts of clusters stay: then both are allowed for good. */
    bool is_certain = bytes && bytes <= crash_block(r) * 512;

    if (is_certain) {
        n = QEMU_ALIGN_UP(n * 512, bytes) / 512;
        sector = QEMU_ALIGN_DOWN(sector * 512, bytes) / 512;
        n = MIN(n, crash_block(r) - sector % crash_block(r));
    }
    for (int64_t i = sector; r->k->shows_base && i < sector + n; i++) {
        crash_stamp_begin(r, i, 1, crash_base_word(i));
    }
    crash_stamp_begin(r, sector, n, 0);
    g_assert_cmpint(bdrv_co_pdiscard(r->user->root, sector * 512, n * 512), ==, 0);
    if (is_certain && !r->k->shows_base) {
        crash_stamp_end(r, sector, n);
    }
    crash_op_end(r, op, true);
}

static inline void coroutine_fn crash_co_flush(CrashRun *r)
{
    uint64_t begun = ++r->now;

    g_assert_cmpint(bdrv_co_flush(r->user->root->bs), ==, 0);
    crash_acknowledge(r, begun);
}

/* For co_prepare: the disk is full of words that are known, flushed before anything is recorded. */
static inline void coroutine_fn crash_co_fill(CrashRun *r)
{
    CrashAck ack = { ++r->now + 1, 0 };

    for (int64_t i = 0; i < crash_sectors(r); i++) {
        CrashStamp stamp = { ++r->next_value, 0, r->now };
        uint32_t buf[128];

        for (int k = 0; k < 128; k++) {
            buf[k] = stamp.value;
        }
        g_assert_cmpint(bdrv_co_pwrite(r->user->root, i * 512, 512, buf, 0), ==, 0);
        g_array_append_val(r->stamps[i], stamp);
    }
    g_assert_cmpint(bdrv_co_flush(r->user->bs), ==, 0);
    r->now = ack.begun;
    g_array_append_val(r->acks, ack);
}

/* Has the guest gone over to other images? */
static inline void crash_look_for_switch(CrashRun *r)
{
    if (r->switched == G_MAXUINT && r->k->has_switched && r->k->has_switched(r)) {
        r->switched = r->log->len;
    }
}

/* Let others have some turns. */
static inline void coroutine_fn crash_co_dawdle(CrashRun *r)
{
    for (int i = g_rand_int_range(r->rand, 0, 200); i > 0; i--) {
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
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
        crash_look_for_switch(r);
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

#endif
