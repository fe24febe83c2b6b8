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

#define DEFAULT_WORKERS 64
#define DEFAULT_CHUNK (1 * MiB)
#define RETRY_NS (100 * SCALE_MS)
#define POLL_NS NANOSECONDS_PER_SECOND

typedef struct BackupJob {
    BlockJob common;
    BlockDriverState *cbw; /* owns bcs */
    BlockDriverState *target;
    BlockCopyState *bcs;
    BdrvDirtyBitmap *bitmap; /* has a successor while the job runs; or NULL */
    BitmapSyncMode bitmap_mode;
    MirrorSyncMode sync;
    BlockdevOnError on_source_error, on_target_error;
    OnCbwError on_cbw_error;
    int max_workers;
    int64_t max_chunk;
    int workers; /* of the copying under way */
} BackupJob;

/* ---- the work -------------------------------------------------------------------------------- */

/* In the thread that copied. */
static void backup_progress(void *opaque, int64_t bytes)
{
    BackupJob *s = opaque;

    job_progress_update(&s->common.job, bytes);
    block_job_ratelimit_account(&s->common, bytes);
}

/* With a speed limit, not more pieces at once than fit into a tenth of a second, but one. */
static int wanted_workers(const BackupJob *s)
{
    int64_t chunk = s->max_chunk ? s->max_chunk : DEFAULT_CHUNK;

    if (s->common.speed == 0) {
        return s->max_workers;
    }
    return CLAMP(s->common.speed / 10 / chunk, 1, s->max_workers);
}

static bool backup_should_stop(void *opaque)
{
    BackupJob *s = opaque;

    return job_is_interrupted(&s->common.job) || s->workers != wanted_workers(s) ||
           cbw_snapshot_error(s->cbw) < 0 || block_job_ratelimit_delay(&s->common) > 0;
}

/* Returns 0 to go on (perhaps after a pause), or the negative errno to fail with. */
static int coroutine_fn co_handle_error(BackupJob *s, int ret, bool is_read)
{
    BlockdevOnError on_err = is_read ? s->on_source_error : s->on_target_error;

    switch (block_job_error_action(&s->common, on_err, is_read, -ret)) {
    case BLOCK_ERROR_ACTION_REPORT:
        return ret;
    case BLOCK_ERROR_ACTION_IGNORE:
        job_co_sleep_ns(&s->common.job, RETRY_NS, "another try after an I/O error");
        return 0;
    default:
        job_co_pause_point(&s->common.job);
        return 0;
    }
}

/* One round of copying; 0: all is copied, 1: not yet. */
static int coroutine_fn co_copy_round(BackupJob *s)
{
    BlockCopyAll how = {
        .max_chunk = s->max_chunk,
        .stop = backup_should_stop,
        .opaque = s,
    };
    bool is_read;
    int ret;

    s->workers = how.max_workers = wanted_workers(s);
    ret = block_copy_co_all(s->bcs, &how, &is_read);
    if (ret == 0) {
        /* What is told to be complete survives a crash. */
        is_read = false;
        ret = bdrv_co_flush(s->target);
    }
    if (ret < 0) {
        ret = co_handle_error(s, ret, is_read);
        return ret < 0 ? ret : 1;
    }
    return ret;
}

static int coroutine_fn co_copy_everything(BackupJob *s)
{
    Job *job = &s->common.job;
    int ret;

    while ((ret = co_copy_round(s)) == 1) {
        job_co_sleep_ns(job, block_job_ratelimit_delay(&s->common), "the speed limit");
        if (job_is_cancelled(job)) {
            return -ECANCELED;
        }
        if (cbw_snapshot_error(s->cbw) < 0) {
            return cbw_snapshot_error(s->cbw);
        }
    }
    return ret;
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
        job_co_sleep_ns(job, POLL_NS, "job-cancel");
        if (cbw_snapshot_error(s->cbw) < 0) {
            return cbw_snapshot_error(s->cbw);
        }
    }
    return -ECANCELED;
}

static int coroutine_fn backup_co_run(Job *job, Error **errp)
{
    BackupJob *s = (BackupJob *)job;
    int ret = s->sync == MIRROR_SYNC_MODE_NONE ? co_wait_for_cancel(s) : co_copy_everything(s);

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
    s->on_source_error = args->on_source_error;
    s->on_target_error = args->on_target_error;
    s->on_cbw_error = args->on_cbw_error;
    s->max_workers = perf && perf->has_max_workers ? perf->max_workers : DEFAULT_WORKERS;
    s->max_chunk = perf ? perf->max_chunk : 0;
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
    set_options(s, args);
    s->cbw = filter;
    s->target = target;
    s->bcs = bcs;
    s->bitmap = bitmap;
    s->bitmap_mode = bitmap_mode;
    block_copy_set_progress(bcs, backup_progress, s);
    job_progress_set_remaining(&s->common.job, bytes_left(bcs, bdrv_getlength(bs)));
    return &s->common;
}
