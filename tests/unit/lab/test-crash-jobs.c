/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts during jobs: a guest writes, and a job moves data along its chain or to another image.
 * In each state the guest finds what it flushed, in the image that is its disk then, and each image
 * of the chain checks.
 */
#include "qemu/osdep.h"

#include "crash-lab.h"
#include "job-lab.h"

#include "block/freeze.h"

static guint finished;   /* jobs that ran to their end while the guest wrote */
static bool could_share; /* in one of the cases files could share blocks */

/* ---- the chain ------------------------------------------------------------------------------- */

static void prefill_stamp(CrashRun *r, int64_t sector, int64_t n, uint32_t value)
{
    CrashStamp stamp = { value, 0, ++r->now };

    for (int64_t i = sector; i < sector + n; i++) {
        g_array_append_val(r->stamps[i], stamp);
    }
}

static void coroutine_fn co_put(CrashRun *r, int layer, int64_t n)
{
    int64_t sector = g_rand_int_range(r->rand, 0, crash_sectors(r) - n);
    uint32_t value = ++r->next_value;

    job_lab_co_put(layer, sector, n, value);
    prefill_stamp(r, sector, n, value);
}

/* Each layer holds pieces of its own; what is there was flushed before all.  The top has a run of
 * @run sectors. */
static void coroutine_fn co_fill_chain(CrashRun *r, int64_t run)
{
    CrashAck ack;

    mem_co_unuse(r->user);
    for (int layer = 0; layer < JOB_LAB_LAYERS; layer++) {
        if (run && layer == JOB_LAB_LAYERS - 1) {
            co_put(r, layer, run);
        }
        for (int piece = 0; piece < 6; piece++) {
            co_put(r, layer, g_rand_int_range(r->rand, 1, 40));
        }
    }
    ack = (CrashAck) { ++r->now, 0 };
    g_array_append_val(r->acks, ack);
    r->user = lab_co_use(r->k->open, BDRV_O_RDWR | BDRV_O_UNMAP);
    lab_co_keep_length(r->user);
}

static void coroutine_fn co_make_chain(CrashRun *r)
{
    mem_may_share = false;
    co_fill_chain(r, 0);
}

/* Files share runs of 64 KiB and more; a guest's discards make shorter ones of them. */
static void coroutine_fn co_make_chain_that_shares(CrashRun *r)
{
    mem_may_share = could_share = true;
    co_fill_chain(r, 160 * KiB / 512);
}

/* Every image below, too. */
static void coroutine_fn co_check_chain(CrashRun *r, MemUser *user, guint cut)
{
    for (BlockDriverState *bs = bdrv_cow_bs(user->bs); bs; bs = bdrv_cow_bs(bs)) {
        MemUser below = { .bs = bs };

        lab_co_check(&below);
    }
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void coroutine_fn co_run_job(CrashRun *r, BlockJob *job)
{
    finished += job_lab_co_run(job, &error_abort);
    g_test_message("the job ended after %u operations", r->log->len);
}

static void coroutine_fn co_stream(CrashRun *r)
{
    StreamJobArgs args = { .job_id = "j", .bs = r->user->bs };

    BDRV_CONTROL_GUARD();
    co_run_job(r, stream_job_co_create(&args, &error_abort));
}

static void coroutine_fn co_stream_part(CrashRun *r)
{
    StreamJobArgs args = {
        .job_id = "j", .bs = r->user->bs, .base = job_lab_layer(r->user->bs, 0),
    };

    BDRV_CONTROL_GUARD();
    co_run_job(r, stream_job_co_create(&args, &error_abort));
}

static void coroutine_fn co_stream_into_middle(CrashRun *r)
{
    StreamJobArgs args = { .job_id = "j", .bs = job_lab_layer(r->user->bs, 1) };

    BDRV_CONTROL_GUARD();
    co_run_job(r, stream_job_co_create(&args, &error_abort));
}

static void coroutine_fn co_commit_middle(CrashRun *r)
{
    CommitJobArgs args = {
        .job_id = "j", .bs = r->user->bs, .top = job_lab_layer(r->user->bs, 1),
        .base = job_lab_layer(r->user->bs, 0),
    };

    BDRV_CONTROL_GUARD();
    co_run_job(r, commit_job_co_create(&args, &error_abort));
}

static void coroutine_fn co_commit_top(CrashRun *r, BlockDriverState *base, bool write_blocking)
{
    CommitJobArgs args = {
        .job_id = "j", .bs = r->user->bs, .top = r->user->bs, .base = base,
        .write_blocking = write_blocking, .share = mem_may_share,
    };

    BDRV_CONTROL_GUARD();
    co_run_job(r, commit_active_job_co_create(&args, &error_abort));
}

static void coroutine_fn co_commit_active(CrashRun *r)
{
    co_commit_top(r, job_lab_layer(r->user->bs, 0), false);
}

static void coroutine_fn co_commit_active_blocking(CrashRun *r)
{
    co_commit_top(r, job_lab_layer(r->user->bs, 1), true);
}

static void coroutine_fn co_mirror(CrashRun *r, MirrorJobArgs args)
{
    g_autoptr(BlockDriverState) target = NULL;

    BDRV_CONTROL_GUARD();
    target = job_lab_co_open_target(&error_abort);
    args.job_id = "j";
    args.bs = r->user->bs;
    args.target = target;
    args.granularity = 4096;
    args.sync = MIRROR_SYNC_MODE_FULL;
    co_run_job(r, mirror_job_co_create(&args, &error_abort));
}

static void coroutine_fn co_mirror_background(CrashRun *r)
{
    co_mirror(r, (MirrorJobArgs) { .buf_size = 64 * KiB });
}

static void coroutine_fn co_mirror_blocking(CrashRun *r)
{
    co_mirror(r, (MirrorJobArgs) { .copy_mode = MIRROR_COPY_MODE_WRITE_BLOCKING });
}

/* ---- backup: once told to be complete, the copy is what the disk held when it began ---------- */

static uint8_t at_first[JOB_LAB_BYTES];
static guint backed_up; /* operations when it was told */

static void coroutine_fn co_backup(CrashRun *r)
{
    BackupCommon args = { .job_id = (char *)"j", .sync = MIRROR_SYNC_MODE_FULL };
    g_autoptr(BlockDriverState) target = NULL;
    BdrvFreeze *freeze;
    BlockJob *job;

    BDRV_CONTROL_GUARD();
    backed_up = G_MAXUINT;
    target = job_lab_co_open_target(&error_abort);
    freeze = bdrv_co_freeze_node(r->user->bs);
    job = backup_job_co_create(r->user->bs, target, &args, NULL, &error_abort);
    g_assert_cmpint(bdrv_co_pread(r->user->root, 0, JOB_LAB_BYTES, at_first, 0), ==, 0);
    bdrv_thaw(freeze);
    co_run_job(r, job);
    backed_up = r->log->len;
}

static void coroutine_fn co_judge_backup(CrashRun *r, MemUser *user, guint cut)
{
    MemUser *copy = lab_co_use(JOB_LAB_OPEN("target"), 0);
    g_autofree uint8_t *buf = g_malloc(JOB_LAB_BYTES);

    co_check_chain(r, user, cut);
    lab_co_check(copy);
    g_assert_cmpint(bdrv_co_pread(copy->root, 0, JOB_LAB_BYTES, buf, 0), ==, 0);
    g_assert_true(cut < backed_up || memcmp(buf, at_first, JOB_LAB_BYTES) == 0);
    mem_co_unuse(copy);
}

/* The guest has left the image that it began with. */
static bool has_left_top(const CrashRun *r)
{
    return bdrv_skip_filters(r->user->root->bs) != r->user->bs;
}

#define CHAIN \
    .create = JOB_LAB_CREATE, .open = JOB_LAB_OPEN("n2"), \
    .disk_bytes = JOB_LAB_BYTES, .cluster_size = 4096, .mix = { 10, 2, 1, 4, 16 }, \
    .rounds = 60, .step = 9, .files = { "n0", "n1", "n2", "target" }, .unlocked = true
#define CASE(name, beside, ...) \
    { .path = "/job/crash/" name, CHAIN, .co_prepare = co_make_chain, .co_beside = beside, \
      .co_judge = co_check_chain, __VA_ARGS__ }
#define SHARING(name, beside, ...) \
    { .path = "/job/crash/" name, CHAIN, .co_prepare = co_make_chain_that_shares, \
      .co_beside = beside, .co_judge = co_check_chain, __VA_ARGS__ }
#define TO(image) .has_switched = has_left_top, .open_switched = JOB_LAB_OPEN(image)

static const CrashCase cases[] = {
    { .path = "/job/crash/backup", CHAIN, .co_prepare = co_make_chain, .co_beside = co_backup,
      .co_judge = co_judge_backup },
    CASE("stream/all", co_stream),
    CASE("stream/part", co_stream_part),
    CASE("stream/into-middle", co_stream_into_middle),
    CASE("commit/middle", co_commit_middle),
    CASE("commit/active", co_commit_active, TO("n0")),
    CASE("commit/active-write-blocking", co_commit_active_blocking, TO("n1")),
    SHARING("commit/active-sharing", co_commit_active, TO("n0")),
    SHARING("commit/active-write-blocking-sharing", co_commit_active_blocking, TO("n1")),
    CASE("mirror/background", co_mirror_background, TO("target")),
    CASE("mirror/write-blocking", co_mirror_blocking, TO("target")),
};

int main(int argc, char **argv)
{
    int ret = crash_lab_main(argc, argv, cases, ARRAY_SIZE(cases));

    printf("# %u jobs finished, %u ranges shared\n", finished, mem_nb_shared);
    return ret ? ret : finished == 0 || (could_share && mem_nb_shared == 0);
}
