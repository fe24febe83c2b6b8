/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backup job: the target holds the point in time, whatever guests and users do. */
#include "qemu/osdep.h"

#include "../../lib/memdisk.h"
#include "../../lib/testlib.h"
#include "events.h"

#include "block/block-backend.h"
#include "block/blockjob.h"
#include "block/dirty-bitmap.h"
#include "qemu/iothread.h"

#define DISK_BYTES (4 * MiB + 512)
#define CLUSTER (64 * KiB)

typedef struct Setup {
    BlockDriverState *source, *target;
    BlockBackend *guest;
    uint8_t *moment;
    Job *job; /* a reference */
} Setup;

static void coroutine_fn co_set_up(Setup *s)
{
    g_autoptr(GRand) rand = test_rand_new();

    memset(s, 0, sizeof(*s));
    s->source = memdisk_co_new("source", DISK_BYTES);
    s->target = memdisk_co_new("target", DISK_BYTES);
    test_rand_fill(rand, memdisk(s->source)->data, DISK_BYTES);
    memset(memdisk(s->source)->data + MiB, 0, MiB);
    memset(memdisk(s->target)->data, 0xa5, DISK_BYTES);
    s->guest = blk_co_new_with_bs(s->source, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                                  BLK_PERM_ALL & ~BLK_PERM_RESIZE, &error_abort);
    events_start();
}

static void coroutine_fn co_tear_down(Setup *s)
{
    if (s->job) {
        bdrv_co_control_unlock();
        job_co_cancel_sync(s->job);
        bdrv_co_control_lock();
        job_unref(s->job);
    }
    g_assert_true(blk_bs(s->guest) == s->source);
    g_assert_true(bdrv_op_blocker_is_empty(s->source));
    g_assert_true(bdrv_op_blocker_is_empty(s->target));
    g_assert_cmpint(bdrv_parent_count(s->target), ==, 0);
    blk_co_unref(s->guest);
    bdrv_unref(s->source);
    bdrv_unref(s->target);
    g_free(s->moment);
    qapi_event_set_emitter(NULL);
    g_string_free(events_text, TRUE);
}

/* As the command does: the moment, the job and its start in one freeze. */
static void coroutine_fn co_start(Setup *s, BackupCommon args)
{
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(s->source);

    s->moment = g_memdup2(memdisk(s->source)->data, DISK_BYTES);
    args.job_id = (char *)"j";
    args.device = (char *)"source";
    s->job = job_ref(&backup_job_co_create(s->source, s->target, &args, NULL, &error_abort)->job);
    job_start(s->job);
}

static int coroutine_fn co_wait(Setup *s)
{
    int ret;

    bdrv_co_control_unlock();
    ret = job_co_wait(s->job);
    bdrv_co_control_lock();
    return ret;
}

static void coroutine_fn co_settle(void)
{
    bdrv_co_control_unlock();
    for (int i = 0; i < 200; i++) {
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    bdrv_co_control_lock();
}

static bool is_saved(const Setup *s, int64_t offset, int64_t bytes)
{
    return memcmp(s->moment + offset, memdisk(s->target)->data + offset, bytes) == 0;
}

static uint64_t progress_of(const Job *job)
{
    JobInfo *info = job_query(job);
    uint64_t current = info->current_progress;

    qapi_free_JobInfo(info);
    return current;
}

/* ---- guests who write all the time ----------------------------------------------------------- */

typedef struct Guests {
    BlockBackend *blk;
    int running, stop; /* atomic */
} Guests;

static void coroutine_fn co_guest(void *opaque)
{
    Guests *guests = opaque;
    g_autofree uint8_t *buf = g_malloc(256 * KiB);

    while (!qatomic_read(&guests->stop)) {
        int64_t sector = g_random_int_range(0, DISK_BYTES / 512);
        int64_t bytes = g_random_int_range(1, 256) * 512;

        bytes = MIN(bytes, DISK_BYTES - sector * 512);
        memset(buf, g_random_int(), bytes);
        switch (g_random_int_range(0, 4)) {
        case 0:
            g_assert_cmpint(blk_co_pwrite_zeroes(guests->blk, sector * 512, bytes, 0), ==, 0);
            break;
        case 1:
            g_assert_cmpint(blk_co_pdiscard(guests->blk, sector * 512, bytes), ==, 0);
            break;
        default:
            g_assert_cmpint(blk_co_pwrite(guests->blk, sector * 512, bytes, buf, 0), ==, 0);
        }
        aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    qatomic_dec(&guests->running);
}

static void guests_start(Guests *guests, BlockBackend *blk, AioContext *ctx, int n)
{
    guests->blk = blk;
    for (int i = 0; i < n; i++) {
        qatomic_inc(&guests->running);
        aio_co_enter(ctx, qemu_coroutine_create(co_guest, guests));
    }
}

static void coroutine_fn co_guests_stop(Guests *guests)
{
    qatomic_set(&guests->stop, 1);
    while (qatomic_load_acquire(&guests->running)) {
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
}

/* ---- success --------------------------------------------------------------------------------- */

static void coroutine_fn co_full(void)
{
    Setup s;

    co_set_up(&s);
    co_start(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL });
    events_expect("j:created j:running j:paused j:running");
    g_assert_cmpint(co_wait(&s), ==, 0);
    events_expect("j:waiting j:pending BLOCK_JOB_COMPLETED:j j:concluded j:null");
    g_assert_true(is_saved(&s, 0, DISK_BYTES));
    g_assert_cmpint(progress_of(s.job), ==, DISK_BYTES);
    g_assert_cmpint(memdisk(s.target)->flushes, ==, 1);
    co_tear_down(&s);
}

static void coroutine_fn co_moment_in(AioContext *ctx)
{
    for (int round = 0; round < 8; round++) {
        BackupPerf perf = {
            .has_max_workers = true, .max_workers = 1 + round * 3,
            .has_max_chunk = true, .max_chunk = round % 2 ? CLUSTER : 0,
        };
        Guests guests = { 0 };
        Setup s;

        co_set_up(&s);
        memdisk(s.source)->max_yields = memdisk(s.target)->max_yields = 3;
        guests_start(&guests, s.guest, ctx, 4);
        co_settle();
        co_start(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL, .x_perf = &perf });
        /* Pauses, freezes and other speeds on the way. */
        for (int i = 0; i < 4 && !job_has_ended(s.job); i++) {
            bdrv_co_drain(i % 2 ? s.source : s.target);
            if (job_user_pause(s.job, NULL)) {
                co_settle();
                job_user_resume(s.job, &error_abort);
            }
        }
        g_assert_cmpint(co_wait(&s), ==, 0);
        g_assert_true(is_saved(&s, 0, DISK_BYTES));
        g_assert_cmpint(progress_of(s.job), ==, DISK_BYTES);
        bdrv_co_control_unlock();
        co_guests_stop(&guests);
        bdrv_co_control_lock();
        co_tear_down(&s);
    }
}

static void coroutine_fn co_moment(void)
{
    co_moment_in(qemu_get_aio_context());
}

static void coroutine_fn co_moment_two_threads(void)
{
    g_autoptr(IOThread) thread = iothread_create("guest", &error_abort);

    co_moment_in(iothread_get_aio_context(thread));
}

/* Two disks in one transaction are of one moment; one that fails undoes the other. */
static void coroutine_fn co_group(void)
{
    Setup a, b;
    BackupCommon args = { .sync = MIRROR_SYNC_MODE_FULL, .job_id = (char *)"k" };
    g_autoptr(JobTxn) txn = job_txn_new();

    co_set_up(&a);
    b = a;
    b.source = memdisk_co_new("source2", DISK_BYTES);
    b.target = memdisk_co_new("target2", DISK_BYTES);
    memdisk(b.target)->fail_writes = 1000;
    b.job = &backup_job_co_create(b.source, b.target, &args, txn, &error_abort)->job;
    args.job_id = (char *)"j";
    a.job = job_ref(&backup_job_co_create(a.source, a.target, &args, txn, &error_abort)->job);
    job_start(a.job);
    job_start(b.job);
    g_assert_cmpint(co_wait(&a), ==, -ECANCELED);
    g_assert_null(job_get("k"));
    bdrv_unref(b.source);
    bdrv_unref(b.target);
    co_tear_down(&a);
}

/* ---- sync modes ------------------------------------------------------------------------------ */

static void coroutine_fn co_none(void)
{
    Setup s;

    co_set_up(&s);
    co_start(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_NONE });
    co_settle();
    g_assert_false(job_has_ended(s.job));
    g_assert_false(job_is_busy(s.job));
    g_assert_cmpint(memdisk(s.target)->writes, ==, 0);
    g_assert_cmpint(blk_co_pwrite_zeroes(s.guest, 2 * CLUSTER, 512, 0), ==, 0);
    g_assert_true(is_saved(&s, 2 * CLUSTER, CLUSTER));
    g_assert_cmpint(memdisk(s.target)->data[3 * CLUSTER], ==, 0xa5);
    events_forget();
    g_assert_true(job_user_cancel(s.job, false, &error_abort));
    g_assert_cmpint(co_wait(&s), ==, -ECANCELED);
    events_expect("j:aborting BLOCK_JOB_CANCELLED:j j:concluded j:null");
    co_tear_down(&s);
}

typedef struct BitmapCase {
    MirrorSyncMode sync;
    BitmapSyncMode mode;
    bool fail;
    const char *dirty; /* clusters of the bitmap at the end */
} BitmapCase;

/*
 * Clusters 1 and 3 are marked; 5 is written while the job runs; with "fail" the copy of 3 fails.
 */
static void coroutine_fn co_one_bitmap_case(const BitmapCase *c)
{
    BackupCommon args = {
        .sync = c->sync, .bitmap = (char *)"b", .has_bitmap_mode = true, .bitmap_mode = c->mode,
    };
    BackupPerf perf = { .has_max_workers = true, .max_workers = 1,
                        .has_max_chunk = true, .max_chunk = CLUSTER };
    BdrvDirtyBitmap *bitmap;
    Setup s;

    co_set_up(&s);
    args.x_perf = &perf;
    bitmap = bdrv_create_dirty_bitmap(s.source, CLUSTER, "b", &error_abort);
    bdrv_set_dirty_bitmap(bitmap, 1 * CLUSTER, CLUSTER);
    bdrv_set_dirty_bitmap(bitmap, 3 * CLUSTER, CLUSTER);
    co_start(&s, args);
    g_assert_false(bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_BUSY, NULL));
    /* The job has not run yet. */
    g_assert_cmpint(blk_co_pwrite_zeroes(s.guest, 5 * CLUSTER, 512, 0), ==, 0);
    if (c->fail) {
        memdisk(s.target)->fail_writes = 1000;
    }
    g_assert_cmpint(co_wait(&s), ==, c->fail ? -ENOSPC : 0);
    bitmap = bdrv_find_dirty_bitmap(s.source, "b");
    g_assert_true(bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_DEFAULT, &error_abort));
    for (int i = 0; i < 8; i++) {
        g_assert_cmpint(bdrv_dirty_bitmap_get(bitmap, i * CLUSTER), ==, c->dirty[i] == 'x');
    }
    if (!c->fail && c->sync != MIRROR_SYNC_MODE_FULL) {
        g_assert_true(is_saved(&s, 1 * CLUSTER, CLUSTER));
        g_assert_true(is_saved(&s, 3 * CLUSTER, CLUSTER));
        g_assert_cmpint(memdisk(s.target)->data[2 * CLUSTER], ==, 0xa5);
        g_assert_cmpint(progress_of(s.job), ==, 2 * CLUSTER);
    }
    bdrv_release_named_dirty_bitmaps(s.source);
    co_tear_down(&s);
}

static void coroutine_fn co_bitmaps(void)
{
    static const BitmapCase cases[] = {
        { MIRROR_SYNC_MODE_INCREMENTAL, BITMAP_SYNC_MODE_ON_SUCCESS, false, ".....x.." },
        { MIRROR_SYNC_MODE_INCREMENTAL, BITMAP_SYNC_MODE_ON_SUCCESS, true, ".x.x.x.." },
        { MIRROR_SYNC_MODE_BITMAP, BITMAP_SYNC_MODE_ON_SUCCESS, false, ".....x.." },
        { MIRROR_SYNC_MODE_BITMAP, BITMAP_SYNC_MODE_NEVER, false, ".x.x.x.." },
        { MIRROR_SYNC_MODE_BITMAP, BITMAP_SYNC_MODE_NEVER, true, ".x.x.x.." },
        { MIRROR_SYNC_MODE_BITMAP, BITMAP_SYNC_MODE_ALWAYS, false, ".....x.." },
        { MIRROR_SYNC_MODE_BITMAP, BITMAP_SYNC_MODE_ALWAYS, true, ".x.x.x.." },
        { MIRROR_SYNC_MODE_FULL, BITMAP_SYNC_MODE_ON_SUCCESS, false, ".....x.." },
        { MIRROR_SYNC_MODE_FULL, BITMAP_SYNC_MODE_ON_SUCCESS, true, ".x.x.x.." },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_test_message("case %zu", i);
        co_one_bitmap_case(&cases[i]);
    }
}

/* What was copied before the failure is not in the bitmap any more. */
static void coroutine_fn co_bitmap_always_keeps_progress(void)
{
    BackupCommon args = {
        .sync = MIRROR_SYNC_MODE_BITMAP, .bitmap = (char *)"b", .has_bitmap_mode = true,
        .bitmap_mode = BITMAP_SYNC_MODE_ALWAYS,
    };
    BdrvDirtyBitmap *bitmap;
    Setup s;

    co_set_up(&s);
    bitmap = bdrv_create_dirty_bitmap(s.source, CLUSTER, "b", &error_abort);
    bdrv_set_dirty_bitmap(bitmap, 1 * CLUSTER, CLUSTER);
    bdrv_set_dirty_bitmap(bitmap, 3 * CLUSTER, CLUSTER);
    co_start(&s, args);
    /* The guest has one of them saved; then nothing works. */
    g_assert_cmpint(blk_co_pwrite_zeroes(s.guest, 1 * CLUSTER, 512, 0), ==, 0);
    memdisk(s.target)->fail_writes = 1000;
    g_assert_cmpint(co_wait(&s), ==, -ENOSPC);
    bitmap = bdrv_find_dirty_bitmap(s.source, "b");
    g_assert_true(bdrv_dirty_bitmap_get(bitmap, 1 * CLUSTER)); /* the guest's own write */
    g_assert_true(bdrv_dirty_bitmap_get(bitmap, 3 * CLUSTER));
    g_assert_cmpint(bdrv_get_dirty_count(bitmap), ==, 2 * CLUSTER);
    bdrv_release_named_dirty_bitmaps(s.source);
    co_tear_down(&s);
}

/* ---- speed, errors --------------------------------------------------------------------------- */

static void coroutine_fn co_speed(void)
{
    Setup s;

    co_set_up(&s);
    co_start(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL, .has_speed = true, .speed = 1 });
    co_settle();
    g_assert_cmpint(progress_of(s.job), ==, 64 * KiB);
    g_assert_false(job_is_busy(s.job));
    g_assert_cmpstr(s.job->waits_for, ==, "the speed limit");
    /* Asleep, it is in nobody's way and says nothing. */
    events_forget();
    bdrv_co_drain(s.source);
    events_expect("");
    g_assert_true(block_job_set_speed((BlockJob *)s.job, 0, &error_abort));
    g_assert_cmpint(co_wait(&s), ==, 0);
    g_assert_true(is_saved(&s, 0, DISK_BYTES));
    co_tear_down(&s);
}

static void coroutine_fn co_target_error_reported(void)
{
    Setup s;

    co_set_up(&s);
    memdisk(s.target)->fail_writes = 1;
    co_start(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL });
    g_assert_cmpint(co_wait(&s), ==, -ENOSPC);
    events_expect("j:created j:running j:paused j:running BLOCK_JOB_ERROR:j:write:report "
                  "j:aborting BLOCK_JOB_COMPLETED:j:No space left on device j:concluded j:null");
    co_tear_down(&s);
}

static void coroutine_fn co_source_error_stops(void)
{
    Setup s;
    BlockJobInfo *info;

    co_set_up(&s);
    memdisk(s.source)->fail_reads = 1;
    co_start(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL,
                                  .on_source_error = BLOCKDEV_ON_ERROR_STOP });
    events_forget();
    co_settle();
    events_expect("BLOCK_JOB_ERROR:j:read:stop j:paused");
    info = block_job_query((BlockJob *)s.job);
    g_assert_cmpint(info->io_status, ==, BLOCK_DEVICE_IO_STATUS_FAILED);
    g_assert_true(info->paused);
    qapi_free_BlockJobInfo(info);
    g_assert_true(job_user_resume(s.job, &error_abort));
    g_assert_cmpint(co_wait(&s), ==, 0);
    g_assert_true(is_saved(&s, 0, DISK_BYTES));
    co_tear_down(&s);
}

static void coroutine_fn co_target_full_stops(void)
{
    Setup s;

    co_set_up(&s);
    memdisk(s.target)->fail_writes = 1;
    co_start(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL,
                                  .on_target_error = BLOCKDEV_ON_ERROR_ENOSPC });
    co_settle();
    g_assert_cmpint(s.job->status, ==, JOB_STATUS_PAUSED);
    g_assert_cmpint(((BlockJob *)s.job)->iostatus, ==, BLOCK_DEVICE_IO_STATUS_NOSPACE);
    /* Cancelling needs no resume. */
    g_assert_true(job_user_cancel(s.job, true, &error_abort));
    g_assert_cmpint(co_wait(&s), ==, -ECANCELED);
    co_tear_down(&s);
}

static void coroutine_fn co_error_ignored(void)
{
    Setup s;

    co_set_up(&s);
    memdisk(s.source)->fail_reads = 1;
    co_start(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL,
                                  .on_source_error = BLOCKDEV_ON_ERROR_IGNORE });
    events_forget();
    g_assert_cmpint(co_wait(&s), ==, 0);
    events_expect("BLOCK_JOB_ERROR:j:read:ignore j:waiting j:pending BLOCK_JOB_COMPLETED:j "
                  "j:concluded j:null");
    g_assert_true(is_saved(&s, 0, DISK_BYTES));
    co_tear_down(&s);
}

static void coroutine_fn co_flush_error_counts(void)
{
    Setup s;

    co_set_up(&s);
    memdisk(s.target)->fail_flushes = 1;
    co_start(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL,
                                  .on_target_error = BLOCKDEV_ON_ERROR_STOP });
    co_settle();
    g_assert_cmpint(s.job->status, ==, JOB_STATUS_PAUSED);
    g_assert_true(job_user_resume(s.job, &error_abort));
    g_assert_cmpint(co_wait(&s), ==, 0);
    g_assert_true(is_saved(&s, 0, DISK_BYTES));
    co_tear_down(&s);
}

static void coroutine_fn co_snapshot_breaks(void)
{
    Setup s;

    co_set_up(&s);
    co_start(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL, .has_speed = true, .speed = 1,
                                  .has_on_cbw_error = true,
                                  .on_cbw_error = ON_CBW_ERROR_BREAK_SNAPSHOT });
    co_settle();
    memdisk(s.target)->fail_writes = 1;
    g_assert_cmpint(blk_co_pwrite_zeroes(s.guest, 3 * MiB, 512, 0), ==, 0);
    g_assert_true(block_job_set_speed((BlockJob *)s.job, 0, &error_abort));
    g_assert_cmpint(co_wait(&s), ==, -ENOSPC);
    co_tear_down(&s);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void coroutine_fn expect_refusal(Setup *s, BackupCommon args, const char *text)
{
    Error *err = NULL;

    if (!args.job_id) {
        args.job_id = (char *)"j";
    }
    g_assert_null(backup_job_co_create(s->source, s->target, &args, NULL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
    g_assert_true(blk_bs(s->guest) == s->source);
    g_assert_cmpint(bdrv_parent_count(s->target), ==, 0);
}

static void coroutine_fn co_refusals(void)
{
    BackupPerf perf = { .has_max_chunk = true, .max_chunk = 4096 };
    BackupPerf workers = { .has_max_workers = true, .max_workers = 0 };
    Setup s;

    co_set_up(&s);
    bdrv_create_dirty_bitmap(s.source, CLUSTER, "b", &error_abort);
    expect_refusal(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_INCREMENTAL },
                   "must provide a valid bitmap name for 'incremental' sync mode");
    expect_refusal(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_INCREMENTAL,
                                        .bitmap = (char *)"nope" },
                   "Bitmap 'nope' could not be found");
    expect_refusal(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_BITMAP, .bitmap = (char *)"b" },
                   "Bitmap sync mode must be given when providing a bitmap");
    expect_refusal(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL, .bitmap = (char *)"b" },
                   "Bitmap sync mode must be given when providing a bitmap");
    expect_refusal(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL, .has_bitmap_mode = true,
                                        .bitmap_mode = BITMAP_SYNC_MODE_ALWAYS },
                   "Cannot specify bitmap sync mode without a bitmap");
    expect_refusal(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_NONE, .bitmap = (char *)"b",
                                        .has_bitmap_mode = true,
                                        .bitmap_mode = BITMAP_SYNC_MODE_ALWAYS },
                   "sync mode 'none' does not produce meaningful bitmap outputs");
    expect_refusal(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_INCREMENTAL,
                                        .bitmap = (char *)"b", .has_bitmap_mode = true,
                                        .bitmap_mode = BITMAP_SYNC_MODE_ALWAYS },
                   "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'");
    expect_refusal(&s, (BackupCommon) { .compress = true },
                   "Compression is not supported for this drive ");
    expect_refusal(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL, .x_perf = &workers },
                   "max-workers must be between 1 and 2147483647");
    expect_refusal(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL, .x_perf = &perf },
                   "Required max-chunk (4096) is less than backup cluster size (65536)");
    expect_refusal(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL, .job_id = (char *)"" },
                   "Invalid job ID ''");
    events_expect("");
    expect_refusal(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_FULL, .speed = -1 },
                   "Parameter 'speed' expects a non-negative value");
    events_expect("j:created j:null");
    bdrv_release_named_dirty_bitmaps(s.source);
    co_tear_down(&s);
}

static void coroutine_fn co_default_id(void)
{
    Setup s;
    BackupCommon args = { .sync = MIRROR_SYNC_MODE_FULL };
    BlockJob *job;

    co_set_up(&s);
    g_assert_true(blk_set_name(s.guest, "d0", &error_abort));
    job = backup_job_co_create(s.source, s.target, &args, NULL, &error_abort);
    g_assert_cmpstr(job->job.id, ==, "d0");
    job_co_abandon(&job->job);
    blk_set_name(s.guest, NULL, &error_abort);
    co_tear_down(&s);
}

static void coroutine_fn co_busy_while_running(void)
{
    Error *err = NULL;
    Setup s;
    BackupCommon args = { .sync = MIRROR_SYNC_MODE_FULL, .job_id = (char *)"j2" };

    co_set_up(&s);
    co_start(&s, (BackupCommon) { .sync = MIRROR_SYNC_MODE_NONE,
                                  .filter_node_name = (char *)"flt" });
    g_assert_null(backup_job_co_create(s.source, s.target, &args, NULL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Node 'target' is busy: block device is in use by block job: backup");
    g_assert_nonnull(strstr(error_get_hint(err), "backup job 'j'"));
    g_clear_pointer(&err, error_free);
    g_assert_true(bdrv_op_is_blocked(bdrv_find_node("flt"), BLOCK_OP_TYPE_EXTERNAL_SNAPSHOT, NULL));
    /* The source, below the filter, is not blocked, as in stock. */
    g_assert_false(bdrv_op_is_blocked(s.source, BLOCK_OP_TYPE_STREAM, &err));
    g_assert_false(bdrv_rights_available(s.source, BLK_PERM_RESIZE, NULL, NULL));
    co_tear_down(&s);
}

/* ---- anything at any time -------------------------------------------------------------------- */

#define N_DISKS 3

typedef struct Farm {
    BlockDriverState *source[N_DISKS], *target[N_DISKS];
    BlockBackend *guest[N_DISKS];
    GRand *rand;
} Farm;

static int farm_pick(const Farm *farm, int n)
{
    return g_rand_int_range(farm->rand, 0, n);
}

/* One or two jobs, perhaps in a group; whether they can be made depends on what runs. */
static void coroutine_fn farm_co_start(Farm *farm)
{
    g_autoptr(JobTxn) txn = farm_pick(farm, 2) ? job_txn_new() : NULL;
    int first = farm_pick(farm, N_DISKS), n = txn ? 2 : 1;
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze(farm->source, N_DISKS);
    BlockJob *made[2] = { NULL };

    for (int i = 0; i < n; i++) {
        int disk = (first + i) % N_DISKS;
        g_autofree char *id = g_strdup_printf("j%d", disk);
        BackupCommon args = {
            .job_id = id,
            .sync = farm_pick(farm, 4) ? MIRROR_SYNC_MODE_FULL : MIRROR_SYNC_MODE_NONE,
            .speed = farm_pick(farm, 2) ? 0 : 1 << farm_pick(farm, 30),
            .has_auto_finalize = true, .auto_finalize = farm_pick(farm, 2),
            .has_auto_dismiss = true, .auto_dismiss = farm_pick(farm, 2),
            .on_target_error = farm_pick(farm, BLOCKDEV_ON_ERROR__MAX),
        };

        made[i] = backup_job_co_create(farm->source[disk], farm->target[disk], &args, txn, NULL);
        if (!made[i] && i) {
            job_co_abandon(&made[0]->job);
            return;
        } else if (!made[i]) {
            return;
        }
    }
    for (int i = 0; i < n; i++) {
        job_start(&made[i]->job);
    }
}

static void coroutine_fn farm_co_verb(Farm *farm, Job *job)
{
    switch (farm_pick(farm, 8)) {
    case 0:
        job_user_cancel(job, farm_pick(farm, 2), NULL);
        break;
    case 1:
    case 2:
        job_user_pause(job, NULL);
        break;
    case 3:
    case 4:
        job_user_resume(job, NULL);
        break;
    case 5:
        block_job_set_speed((BlockJob *)job, 1 << farm_pick(farm, 30), NULL);
        break;
    case 6:
        job_co_finalize(job, NULL);
        break;
    default:
        job_dismiss(job, NULL);
    }
}

static void coroutine_fn farm_co_step(Farm *farm)
{
    int disk = farm_pick(farm, N_DISKS);
    g_autofree char *id = g_strdup_printf("j%d", disk);
    Job *job = job_get(id);

    switch (farm_pick(farm, 8)) {
    case 0:
        farm_co_start(farm);
        break;
    case 1:
        blk_co_pwrite_zeroes(farm->guest[disk], farm_pick(farm, 64) * 512, 512, 0);
        break;
    case 2:
        bdrv_co_drain(farm_pick(farm, 2) ? farm->source[disk] : farm->target[disk]);
        break;
    case 3:
        memdisk(farm->target[disk])->fail_writes = 1;
        break;
    default:
        if (job) {
            farm_co_verb(farm, job);
        }
    }
    bdrv_co_control_unlock();
    for (int i = farm_pick(farm, 6); i > 0; i--) {
        aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_self());
        qemu_coroutine_yield();
    }
    bdrv_co_control_lock();
}

/* Whatever users do: no state is entered that must not be, and all is as before in the end. */
static void coroutine_fn co_random_verbs(void)
{
    Farm farm = { .rand = test_rand_new() };

    for (int i = 0; i < N_DISKS; i++) {
        g_autofree char *source = g_strdup_printf("s%d", i);
        g_autofree char *target = g_strdup_printf("t%d", i);

        farm.source[i] = memdisk_co_new(source, MiB);
        farm.target[i] = memdisk_co_new(target, MiB);
        memset(memdisk(farm.source[i])->data, 0x5a, MiB);
        memdisk(farm.source[i])->max_yields = memdisk(farm.target[i])->max_yields = 2;
        farm.guest[i] = blk_co_new_with_bs(farm.source[i], BLK_PERM_WRITE,
                                           BLK_PERM_ALL & ~BLK_PERM_RESIZE, &error_abort);
    }
    for (int i = 0; i < 3000; i++) {
        farm_co_step(&farm);
    }
    bdrv_co_control_unlock();
    job_co_cancel_sync_all();
    bdrv_co_control_lock();
    g_assert_null(job_next(NULL));
    for (int i = 0; i < N_DISKS; i++) {
        g_assert_true(blk_bs(farm.guest[i]) == farm.source[i]);
        g_assert_cmpint(bdrv_parent_count(farm.target[i]), ==, 0);
        g_assert_true(bdrv_op_blocker_is_empty(farm.target[i]));
        blk_co_unref(farm.guest[i]);
        bdrv_unref(farm.source[i]);
        bdrv_unref(farm.target[i]);
    }
    g_rand_free(farm.rand);
}

int main(int argc, char **argv)
{
    static const MemCase cases[] = {
        { "/backup/full/copies-everything", co_full },
        { "/backup/moment/is-exact", co_moment },
        { "/backup/moment/is-exact-in-two-threads", co_moment_two_threads },
        { "/backup/txn/one-fails", co_group },
        { "/backup/none/saves-what-is-overwritten", co_none },
        { "/backup/bitmap/modes", co_bitmaps },
        { "/backup/bitmap/always-keeps-progress", co_bitmap_always_keeps_progress },
        { "/backup/speed/limits-and-changes", co_speed },
        { "/backup/errors/target-reported", co_target_error_reported },
        { "/backup/errors/source-stops", co_source_error_stops },
        { "/backup/errors/target-full-stops", co_target_full_stops },
        { "/backup/errors/ignored", co_error_ignored },
        { "/backup/errors/flush-counts", co_flush_error_counts },
        { "/backup/errors/snapshot-breaks", co_snapshot_breaks },
        { "/backup/refusals/texts", co_refusals },
        { "/backup/id/name-of-the-device", co_default_id },
        { "/backup/random/verbs", co_random_verbs },
        { "/backup/claims/while-running", co_busy_while_running },
    };

    test_init(&argc, &argv);
    qemu_init_main_loop(&error_abort);
    mem_drivers = bdrv_drivers;
    mem_add_cases(cases, ARRAY_SIZE(cases));
    return g_test_run();
}
