/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup job: copies a node as it is at one instant while its users go on.
 *
 * A copy-before-write filter over the source saves what guests are about to overwrite; the job
 * copies the rest.  Both share one BlockCopyState, so each cluster is copied once.  The job's edges
 * are "main node" (the filter) and "target"; data goes by the filter's own edges.
 */
#include "qemu/osdep.h"

#include "block/blockjob.h"
#include "block/copy-before-write.h"
#include "block/freeze.h"
#include "copying.h"

#define DEFAULT_WORKERS 64
#define POLL_NS NANOSECONDS_PER_SECOND

typedef struct BackupJob {
    BlockJob common;
    BlockDriverState *cbw; /* owns bcs */
    BlockDriverState *target;
    BlockCopyState *bcs;
    BdrvDirtyBitmap *bitmap; /* has a successor while the job runs; or NULL */
    BitmapSyncMode bitmap_mode;
    MirrorSyncMode sync;
    OnCbwError on_cbw_error;
    JobCopying copying;
} BackupJob;

/* ---- the work -------------------------------------------------------------------------------- */

static int backup_broken(BlockJob *job)
{
    return cbw_snapshot_error(((BackupJob *)job)->cbw);
}

/* sync=none: the filter alone works. */
static int coroutine_fn co_wait_for_cancel(BackupJob *s)
{
    Job *job = &s->common.job;

    while (!job_is_cancelled(job)) {
        if (s->on_cbw_error == ON_CBW_ERROR_BREAK_GUEST_WRITE) {
            job_co_yield(job, "job-cancel");
            continue;
        }
        job_co_poll_ns(job, POLL_NS, "job-cancel");
        if (cbw_snapshot_error(s->cbw) < 0) {
            return cbw_snapshot_error(s->cbw);
        }
    }
    return -ECANCELED;
}

static int coroutine_fn backup_co_run(Job *job, Error **errp)
{
    BackupJob *s = (BackupJob *)job;
    int ret = s->sync == MIRROR_SYNC_MODE_NONE ? co_wait_for_cancel(s)
                                                : job_copying_co_all(&s->copying);

    if (ret >= 0) {
        /* A guest write that could not be saved meanwhile broke the copy. */
        ret = cbw_snapshot_error(s->cbw);
    }
    return ret;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void settle_bitmap(BackupJob *s, bool success)
{
    BdrvDirtyBitmap *bitmap = s->bitmap;

    if (!bitmap) {
        return;
    }
    if (s->bitmap_mode == BITMAP_SYNC_MODE_ALWAYS ||
        (success && s->bitmap_mode == BITMAP_SYNC_MODE_ON_SUCCESS)) {
        bitmap = bdrv_dirty_bitmap_abdicate(bitmap, &error_abort);
        if (!success) {
            /* The bitmap says what the target lacks: new writes, and what was not copied. */
            bdrv_merge_dirty_bitmap(bitmap, block_copy_dirty_bitmap(s->bcs), NULL, &error_abort);
        }
    } else {
        bdrv_reclaim_dirty_bitmap(bitmap, &error_abort);
    }
}

static void backup_commit(Job *job)
{
    settle_bitmap((BackupJob *)job, true);
}

static void backup_abort(Job *job)
{
    settle_bitmap((BackupJob *)job, false);
}

static void coroutine_fn backup_co_clean(Job *job)
{
    BackupJob *s = (BackupJob *)job;
    /* Nobody else may hold it, and it may be above the source: it goes when the filter is out. */
    g_autoptr(BlockDriverState) target = bdrv_ref(s->target);
    Error *local_err = NULL;

    block_job_co_remove_all_bdrv(&s->common);
    s->bcs = NULL;
    s->cbw->owner_key = NULL;
    if (!cbw_co_drop(g_steal_pointer(&s->cbw), &local_err)) {
        /* It does nothing any more. */
        warn_report_err(local_err);
    }
}

static const JobDriver backup_job_driver = {
    .instance_size = sizeof(BackupJob),
    .job_type = JOB_TYPE_BACKUP,
    .co_run = backup_co_run,
    .user_resume = block_job_user_resume,
    .commit = backup_commit,
    .abort = backup_abort,
    .co_clean = backup_co_clean,
    .event = block_job_event,
    .free = block_job_free,
};

/* ---- creation -------------------------------------------------------------------------------- */

static bool check_nodes(BlockDriverState *bs, BlockDriverState *target, const BackupCommon *args,
                        Error **errp)
{
    if (bs == target) {
        error_setg(errp, "Source and target cannot be the same");
        return false;
    }
    if (!bdrv_is_inserted(bs)) {
        error_setg(errp, "Device is not inserted: %s", bdrv_get_device_name(bs));
        return false;
    }
    if (!bdrv_is_inserted(target)) {
        error_setg(errp, "Device is not inserted: %s", bdrv_get_device_name(target));
        return false;
    }
    if (args->compress && !bdrv_supports_compressed_writes(target)) {
        error_setg(errp, "Compression is not supported for this drive %s",
                   bdrv_get_device_name(target));
        return false;
    }
    return !bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_BACKUP_SOURCE, errp) &&
           !bdrv_op_is_blocked(target, BLOCK_OP_TYPE_BACKUP_TARGET, errp);
}

static bool check_perf(const BackupPerf *perf, Error **errp)
{
    if (perf && perf->has_max_workers &&
        (perf->max_workers < 1 || perf->max_workers > INT_MAX)) {
        error_setg(errp, "max-workers must be between 1 and %d", INT_MAX);
        return false;
    }
    if (perf && perf->has_max_chunk && perf->max_chunk < 0) {
        error_setg(errp, "max-chunk must be zero (which means no limit) or positive");
        return false;
    }
    return true;
}

/* @sync, and the bitmap's modes as far as they can be judged without the bitmap. */
static bool check_bitmap_modes(const BackupCommon *args, BitmapSyncMode *mode, Error **errp)
{
    *mode = args->bitmap_mode;
    if ((args->sync == MIRROR_SYNC_MODE_BITMAP || args->sync == MIRROR_SYNC_MODE_INCREMENTAL) &&
        !args->bitmap) {
        error_setg(errp, "must provide a valid bitmap name for '%s' sync mode",
                   MirrorSyncMode_str(args->sync));
        return false;
    }
    if (args->sync == MIRROR_SYNC_MODE_INCREMENTAL) {
        if (args->has_bitmap_mode && args->bitmap_mode != BITMAP_SYNC_MODE_ON_SUCCESS) {
            error_setg(errp, "Bitmap sync mode must be '%s' when using sync mode '%s'",
                       BitmapSyncMode_str(BITMAP_SYNC_MODE_ON_SUCCESS),
                       MirrorSyncMode_str(args->sync));
            return false;
        }
        *mode = BITMAP_SYNC_MODE_ON_SUCCESS;
    }
    return true;
}

static bool find_bitmap(BlockDriverState *bs, const BackupCommon *args, BitmapSyncMode mode,
                        BdrvDirtyBitmap **bitmap, Error **errp)
{
    const char *sync = MirrorSyncMode_str(args->sync);

    *bitmap = NULL;
    if (!args->bitmap) {
        if (args->has_bitmap_mode) {
            error_setg(errp, "Cannot specify bitmap sync mode without a bitmap");
            return false;
        }
        return true;
    }
    *bitmap = bdrv_find_dirty_bitmap(bs, args->bitmap);
    if (!*bitmap) {
        error_setg(errp, "Bitmap '%s' could not be found", args->bitmap);
        return false;
    }
    if (!args->has_bitmap_mode && args->sync != MIRROR_SYNC_MODE_INCREMENTAL) {
        error_setg(errp, "Bitmap sync mode must be given when providing a bitmap");
        return false;
    }
    if (!bdrv_dirty_bitmap_check(*bitmap, BDRV_BITMAP_ALLOW_RO, errp)) {
        return false;
    }
    /* A read-only bitmap can be used, but not changed. */
    if (mode != BITMAP_SYNC_MODE_NEVER &&
        !bdrv_dirty_bitmap_check(*bitmap, BDRV_BITMAP_DEFAULT, errp)) {
        return false;
    }
    if (args->sync == MIRROR_SYNC_MODE_NONE) {
        error_setg(errp, "sync mode '%s' does not produce meaningful bitmap outputs", sync);
        return false;
    }
    if (mode == BITMAP_SYNC_MODE_NEVER && args->sync != MIRROR_SYNC_MODE_BITMAP) {
        error_setg(errp, "Bitmap sync mode '%s' has no meaningful effect when combined with sync "
                   "mode '%s'", BitmapSyncMode_str(mode), sync);
        return false;
    }
    return true;
}

static bool check_lengths(BlockDriverState *bs, BlockDriverState *target, Error **errp)
{
    int64_t len = bdrv_getlength(bs), target_len = bdrv_getlength(target);

    if (len < 0) {
        error_setg_errno(errp, -len, "Unable to get length for '%s'",
                         bdrv_get_device_or_node_name(bs));
        return false;
    }
    if (target_len < 0) {
        error_setg_errno(errp, -target_len, "Unable to get length for '%s'",
                         bdrv_get_device_or_node_name(target));
        return false;
    }
    if (len != target_len) {
        error_setg(errp, "Source and target image have different sizes");
        return false;
    }
    return true;
}

/* Bytes to copy: the last cluster may be shorter than the bit that stands for it. */
static int64_t bytes_left(BlockCopyState *bcs, int64_t len)
{
    BdrvDirtyBitmap *left = block_copy_dirty_bitmap(bcs);
    int64_t tail = len % block_copy_cluster_size(bcs);
    int64_t bytes = bdrv_get_dirty_count(left);

    if (tail && bdrv_dirty_bitmap_get(left, len - 1)) {
        bytes -= block_copy_cluster_size(bcs) - tail;
    }
    return bytes;
}

static BlockDriverState *coroutine_fn co_insert_filter(BlockDriverState *bs,
                                                       BlockDriverState *target,
                                                       const BackupCommon *args,
                                                       BdrvDirtyBitmap *bitmap,
                                                       BlockCopyState **bcs, Error **errp)
{
    const BackupPerf *perf = args->x_perf;
    bool by_bitmap = args->sync == MIRROR_SYNC_MODE_BITMAP ||
                     args->sync == MIRROR_SYNC_MODE_INCREMENTAL;
    CbwArgs cbw = {
        .source = bs,
        .target = target,
        .filter_node_name = args->filter_node_name,
        .on_cbw_error = args->on_cbw_error,
        .min_cluster_size = perf ? perf->min_cluster_size : 0,
        .discard_source = args->discard_source,
        .skip_unallocated = args->sync == MIRROR_SYNC_MODE_TOP,
        .use_copy_range = perf && perf->use_copy_range,
        .compress = args->compress,
        .bitmap = by_bitmap ? bitmap : NULL,
    };
    int64_t max_chunk = perf ? perf->max_chunk : 0;
    BlockDriverState *filter = cbw_co_insert(&cbw, bcs, errp);

    if (filter && max_chunk && max_chunk < block_copy_cluster_size(*bcs)) {
        error_setg(errp, "Required max-chunk (%" PRIi64 ") is less than backup cluster size (%"
                   PRIi64 ")", max_chunk, block_copy_cluster_size(*bcs));
        cbw_co_drop(filter, NULL);
        return NULL;
    }
    return filter;
}

static BackupJob *coroutine_fn co_create_over_filter(BlockDriverState *bs, BlockDriverState *filter,
                                                     BlockDriverState *target,
                                                     const BlockJobArgs *args, Error **errp)
{
    BackupJob *s = block_job_create(args, errp);

    if (!s) {
        return NULL;
    }
    filter->owner_key = s;
    if (!block_job_co_add_bdrv(&s->common, "main node", filter, 0, BLK_PERM_ALL, 0, errp) ||
        !block_job_co_add_bdrv(&s->common, "target", target, 0, BLK_PERM_ALL, 0, errp)) {
        block_job_co_remove_all_bdrv(&s->common);
        filter->owner_key = NULL;
        job_early_fail(&s->common.job);
        return NULL;
    }
    return s;
}

static void set_options(BackupJob *s, const BackupCommon *args)
{
    const BackupPerf *perf = args->x_perf;

    s->sync = args->sync;
    s->on_cbw_error = args->on_cbw_error;
    s->copying = (JobCopying) {
        .written = s->target,
        .on_source_error = args->on_source_error,
        .on_target_error = args->on_target_error,
        .max_workers = perf && perf->has_max_workers ? perf->max_workers : DEFAULT_WORKERS,
        .max_chunk = perf ? perf->max_chunk : 0,
        .broken = backup_broken,
    };
}

BlockJob *coroutine_fn backup_job_co_create(BlockDriverState *bs, BlockDriverState *target,
                                            const BackupCommon *args, JobTxn *txn, Error **errp)
{
    BlockJobArgs job_args = {
        .id = args->job_id,
        .driver = &backup_job_driver,
        .txn = txn,
        .device = bs,
        .speed = args->speed,
        .flags = (args->has_auto_finalize && !args->auto_finalize ? JOB_MANUAL_FINALIZE : 0) |
                 (args->has_auto_dismiss && !args->auto_dismiss ? JOB_MANUAL_DISMISS : 0),
    };
    g_autoptr(BdrvFreeze) freeze = NULL;
    BdrvDirtyBitmap *bitmap;
    BitmapSyncMode bitmap_mode;
    BlockDriverState *filter;
    BlockCopyState *bcs;
    BackupJob *s;

    CONTROL_PATH();
    if (!check_bitmap_modes(args, &bitmap_mode, errp) ||
        !find_bitmap(bs, args, bitmap_mode, &bitmap, errp) ||
        !check_nodes(bs, target, args, errp) || !check_perf(args->x_perf, errp) ||
        !check_lengths(bs, target, errp)) {
        return NULL;
    }
    /* Now: the backend whose name it may be will be above the filter. */
    job_args.id = block_job_choose_id(&job_args, errp);
    if (!job_args.id) {
        return NULL;
    }
    if (bitmap && !bdrv_co_dirty_bitmap_before_change(bitmap, errp)) {
        return NULL;
    }
    /* Filter and bitmap are of one instant. */
    freeze = bdrv_co_freeze_node(bs);
    filter = co_insert_filter(bs, target, args, bitmap, &bcs, errp);
    if (!filter) {
        return NULL;
    }
    s = co_create_over_filter(bs, filter, target, &job_args, errp);
    if (!s || (bitmap && !bdrv_dirty_bitmap_create_successor(bitmap, errp))) {
        if (s) {
            block_job_co_remove_all_bdrv(&s->common);
            job_early_fail(&s->common.job);
        }
        cbw_co_drop(filter, NULL);
        return NULL;
    }
    s->cbw = filter;
    s->target = target;
    set_options(s, args);
    s->bcs = bcs;
    s->bitmap = bitmap;
    s->bitmap_mode = bitmap_mode;
    job_copying_init(&s->copying, &s->common, bcs);
    job_progress_set_remaining(&s->common.job, bytes_left(bcs, bdrv_getlength(bs)));
    return &s->common;
}
