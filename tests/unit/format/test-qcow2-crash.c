/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts.  A workload runs while every write and flush of the image file is recorded.
 * Then, for every moment, files are built that a power cut at that moment could leave: all that
 * was flushed, and of the rest any sectors.  In each of them the check may find leaks at most,
 * and every sector of the disk must hold what it held at the last flush that had returned, or
 * something written later.
 *
 * Cases bear the numbers of the rules in block/format/qcow2/README.md that they are meant to
 * break.
 */
#include "qemu/osdep.h"

#include "qcow2-test.h"

#define MAX_SECTORS 16384
#define WORKERS 4

/* ---- what the guest did -------------------------------------------------------------------- */

/* One write to one sector: all its 4-byte words are @value. */
typedef struct Stamp {
    uint32_t value;
    guint start;         /* length of the log when it began */
    uint64_t done;       /* time at which it had ended; 0: it had not */
} Stamp;

typedef struct Ack {
    uint64_t begun;      /* time */
    guint log_len;       /* when it returned */
} Ack;

typedef struct Mix {
    int write, zero, discard, flush; /* weights */
    int max_sectors;                 /* of a request */
} Mix;

typedef struct Crash {
    MemUser *user;
    GRand *rand;
    MemFile *file;
    Mix mix;
    int rounds;
    int64_t sectors, usable; /* of the disk; those used by requests */
    uint32_t cluster_size;
    GArray *stamps[MAX_SECTORS]; /* of Stamp, oldest first */
    GArray *acks;                /* of Ack */
    uint64_t now;
    uint32_t next_value;
    MemCrew crew;
} Crash;

typedef struct Worker {
    Crash *c;
    int index;
} Worker;

static void stamp_begin(Crash *c, int64_t sector, int64_t n, uint32_t value)
{
    Stamp stamp = { value, c->file->log->len, 0 };

    for (int64_t i = sector; i < sector + n; i++) {
        g_array_append_val(c->stamps[i], stamp);
    }
}

static void stamp_end(Crash *c, int64_t sector, int64_t n)
{
    c->now++;
    for (int64_t i = sector; i < sector + n; i++) {
        g_array_index(c->stamps[i], Stamp, c->stamps[i]->len - 1).done = c->now;
    }
}

/* Blocks of 16 sectors are dealt out in turn, so that clusters have several writers. */
static int64_t pick_sector(Worker *w, int64_t *n)
{
    Crash *c = w->c;
    int64_t block = g_rand_int_range(c->rand, 0, c->usable / 16 / WORKERS) * WORKERS + w->index;
    int64_t first = g_rand_int_range(c->rand, 0, 16);

    *n = g_rand_int_range(c->rand, 1, MIN(c->mix.max_sectors, 16 - first) + 1);
    return block * 16 + first;
}

static void coroutine_fn co_one_write(Worker *w)
{
    Crash *c = w->c;
    int64_t n, sector = pick_sector(w, &n);
    g_autofree uint32_t *buf = g_new(uint32_t, n * 128);
    uint32_t value = ++c->next_value;

    for (int64_t i = 0; i < n * 128; i++) {
        buf[i] = value;
    }
    stamp_begin(c, sector, n, value);
    g_assert_cmpint(bdrv_co_pwrite(c->user->root, sector * 512, n * 512, buf, 0), ==, 0);
    stamp_end(c, sector, n);
}

static void coroutine_fn co_one_zero(Worker *w, bool is_discard)
{
    Crash *c = w->c;
    int64_t n, sector = pick_sector(w, &n);
    int ret;

    stamp_begin(c, sector, n, 0);
    if (is_discard) {
        ret = bdrv_co_pdiscard(c->user->root, sector * 512, n * 512);
        if (n * 512 % c->cluster_size || sector * 512 % c->cluster_size) {
            /* Parts of clusters stay: both are allowed for good. */
            g_assert_cmpint(ret, ==, 0);
            return;
        }
    } else {
        ret = bdrv_co_pwrite_zeroes(c->user->root, sector * 512, n * 512, BDRV_REQ_MAY_UNMAP);
    }
    g_assert_cmpint(ret, ==, 0);
    stamp_end(c, sector, n);
}

static void coroutine_fn co_one_flush(Worker *w)
{
    Ack ack = { ++w->c->now, 0 };

    g_assert_cmpint(bdrv_co_flush(w->c->user->bs), ==, 0);
    ack.log_len = w->c->file->log->len;
    g_array_append_val(w->c->acks, ack);
}

static void coroutine_fn co_worker(void *opaque)
{
    Worker *w = opaque;
    Crash *c = w->c;
    const Mix *m = &c->mix;

    for (int i = 0; i < c->rounds; i++) {
        int dice = g_rand_int_range(c->rand, 0, m->write + m->zero + m->discard + m->flush);

        if (dice < m->write) {
            co_one_write(w);
        } else if (dice < m->write + m->zero) {
            co_one_zero(w, false);
        } else if (dice < m->write + m->zero + m->discard) {
            co_one_zero(w, true);
        } else {
            co_one_flush(w);
        }
    }
    g_free(w);
    mem_crew_leave(&c->crew);
}

/* ---- what may be there afterwards ---------------------------------------------------------- */

/* The last flush that had returned when the log was @t long; NULL: none. */
static const Ack *last_ack(const Crash *c, guint t)
{
    const Ack *last = NULL;

    for (guint i = 0; i < c->acks->len; i++) {
        const Ack *ack = &g_array_index(c->acks, Ack, i);

        if (ack->log_len <= t && (!last || ack->begun > last->begun)) {
            last = ack;
        }
    }
    return last;
}

static bool is_allowed(const GArray *stamps, const Ack *ack, guint t, uint32_t value)
{
    for (guint i = stamps->len; i-- > 0;) {
        const Stamp *stamp = &g_array_index(stamps, Stamp, i);

        if (stamp->start <= t && stamp->value == value) {
            return true;
        }
        if (ack && stamp->done && stamp->done <= ack->begun) {
            return false; /* older ones were overwritten for good */
        }
    }
    return value == 0; /* as it was at first */
}

static void coroutine_fn co_check_state(Crash *c, guint t)
{
    MemUser *user = qcow2_test_open("crash", 0);
    const Ack *ack = last_ack(c, t);
    g_autofree uint32_t *buf = g_malloc(c->usable * 512);

    qcow2_test_check(user);
    g_assert_cmpint(bdrv_co_pread(user->root, 0, c->usable * 512, buf, 0), ==, 0);
    for (int64_t i = 0; i < c->usable; i++) {
        for (int word = 0; word < 128; word += 127) {
            if (!is_allowed(c->stamps[i], ack, t, buf[i * 128 + word])) {
                g_error("cut at %u of %u: sector %" PRIi64 " holds %" PRIu32, t, c->file->log->len,
                        i, buf[i * 128 + word]);
            }
        }
    }
    mem_co_unuse(user);
}

/* ---- power cuts ---------------------------------------------------------------------------- */

typedef struct Dice {
    GRand *rand;
    int of_four; /* chance */
} Dice;

static bool pick_sector_of_write(void *opaque)
{
    Dice *dice = opaque;

    return g_rand_int_range(dice->rand, 0, 4) < dice->of_four;
}

/* The file after a cut when the log was @t long; @durable: its content at the last flush. */
static void build_state(const Crash *c, const GByteArray *durable, guint flushed, guint t,
                        int of_four)
{
    MemFile *file = mem_file("crash");
    Dice dice = { c->rand, of_four };

    mem_set_content("crash", durable->data, durable->len);
    for (guint i = flushed; i < t; i++) {
        const MemOp *op = &g_array_index(c->file->log, MemOp, i);

        if (op->kind == MEM_WRITE || pick_sector_of_write(&dice)) {
            mem_apply(file->data, op, pick_sector_of_write, &dice);
        }
    }
}

static void coroutine_fn co_all_cuts(Crash *c, GByteArray *durable, guint step)
{
    guint flushed = 0;

    mem_rand = NULL;
    for (guint t = 0; t <= c->file->log->len; t++) {
        if (t > 0 && g_array_index(c->file->log, MemOp, t - 1).kind == MEM_FLUSH) {
            for (; flushed < t; flushed++) {
                mem_apply(durable, &g_array_index(c->file->log, MemOp, flushed), NULL, NULL);
            }
        }
        /* Just before a flush the most is undecided; just after it, nothing is. */
        bool is_edge = t == c->file->log->len || t == flushed ||
                       g_array_index(c->file->log, MemOp, t).kind == MEM_FLUSH;

        if (!is_edge && t % step) {
            continue;
        }
        for (int of_four = 0; of_four <= 4; of_four += 2) {
            build_state(c, durable, flushed, t, of_four);
            co_check_state(c, t);
        }
    }
}

/* ---- cases --------------------------------------------------------------------------------- */

typedef struct Case {
    const char *path;
    uint32_t cluster_size;
    int refcount_bits;
    bool is_v2;
    const char *l2_cache;
    int64_t disk_bytes;
    Mix mix;
    int rounds;
    bool resize;
    guint step; /* cut at every n-th operation, besides those around flushes */
} Case;

static const Case cases[] = {
    { "/qcow2/crash/R1-R2-allocate/leaks-at-most", 4096, 16, false, NULL, 1 * MiB,
      { 10, 0, 0, 1, 16 }, 60, false, 5 },
    { "/qcow2/crash/R2-copy-on-write/keeps-neighbours", 65536, 16, false, NULL, 1 * MiB,
      { 12, 0, 0, 2, 4 }, 60, false, 5 },
    { "/qcow2/crash/R3-new-tables/leaks-at-most", 512, 64, false, NULL, 6 * MiB,
      { 10, 0, 0, 1, 16 }, 150, false, 23 },
    { "/qcow2/crash/R3-small-cache/leaks-at-most", 512, 16, false, "1k", 1 * MiB,
      { 10, 1, 1, 1, 16 }, 60, false, 7 },
    { "/qcow2/crash/R4-free-and-reuse/never-used-twice", 4096, 16, false, NULL, 256 * KiB,
      { 10, 6, 6, 3, 16 }, 120, false, 5 },
    { "/qcow2/crash/R4-version-2/never-used-twice", 4096, 16, true, NULL, 256 * KiB,
      { 10, 4, 6, 3, 16 }, 100, false, 5 },
    { "/qcow2/crash/R5-resize/old-or-new-size", 512, 16, false, NULL, 512 * KiB,
      { 10, 1, 1, 1, 16 }, 50, true, 3 },
};

static const Case *current_case;

/* Larger by a lot, which moves the L1 table, while the others go on. */
static void coroutine_fn co_resizer(void *opaque)
{
    Crash *c = opaque;

    for (int i = 2; i <= 4; i++) {
        g_assert_cmpint(bdrv_co_truncate(c->user->root, i * c->sectors * 512, true,
                                         PREALLOC_MODE_OFF, 0, &error_abort), ==, 0);
    }
    mem_crew_leave(&c->crew);
}

static void coroutine_fn co_workload(Crash *c, bool resize)
{
    for (int i = 0; i < WORKERS; i++) {
        Worker *w = g_new0(Worker, 1);

        *w = (Worker){ c, i };
        mem_crew_start(&c->crew, co_worker, w);
    }
    if (resize) {
        mem_crew_start(&c->crew, co_resizer, c);
    }
    mem_crew_wait(&c->crew);
}

static void coroutine_fn co_run_case(void)
{
    const Case *k = current_case;
    BlockdevCreateOptionsQcow2 o = {
        .size = k->disk_bytes,
        .has_version = true,
        .version = k->is_v2 ? BLOCKDEV_QCOW2_VERSION_V2 : BLOCKDEV_QCOW2_VERSION_V3,
        .has_cluster_size = true,
        .cluster_size = k->cluster_size,
        .has_refcount_bits = true,
        .refcount_bits = k->refcount_bits,
    };
    g_autoptr(GRand) rand = test_rand_new();
    g_autoptr(GByteArray) durable = g_byte_array_new();
    QDict *options = qcow2_test_options("disk");
    Crash c = {
        .rand = rand, .mix = k->mix, .rounds = k->rounds, .sectors = k->disk_bytes / 512,
        .usable = k->disk_bytes / 512, .cluster_size = k->cluster_size,
        .acks = g_array_new(FALSE, FALSE, sizeof(Ack)),
    };

    g_assert_cmpint(c.sectors, <=, MAX_SECTORS);
    for (int64_t i = 0; i < c.sectors; i++) {
        c.stamps[i] = g_array_new(FALSE, FALSE, sizeof(Stamp));
    }
    g_assert_true(qcow2_test_create("disk", &o, &error_abort));
    c.file = mem_file("disk");
    c.file->may_discard = true;
    g_byte_array_append(durable, c.file->data->data, c.file->data->len);
    mem_record(c.file);
    mem_rand = rand;
    if (k->l2_cache) {
        qdict_put_str(options, "l2-cache-size", k->l2_cache);
    }
    c.user = mem_co_use(options, BDRV_O_RDWR | BDRV_O_UNMAP, &error_abort);
    co_workload(&c, k->resize);
    mem_co_unuse(c.user);
    g_test_message("%u operations, %u flushes returned", c.file->log->len, c.acks->len);
    co_all_cuts(&c, durable, k->step);
    for (int64_t i = 0; i < c.sectors; i++) {
        g_array_unref(c.stamps[i]);
    }
    g_array_unref(c.acks);
}

static void test_case(gconstpointer data)
{
    current_case = data;
    mem_run_case(qcow2_drivers, co_run_case);
}

int main(int argc, char **argv)
{
    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_test_add_data_func(cases[i].path, &cases[i], test_case);
    }
    return g_test_run();
}
