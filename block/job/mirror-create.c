/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making mirror jobs: what can be asked for, and what follows from it.
 */
#include "qemu/osdep.h"

#include "job-chain.h"
#include "mirror.h"

#define DEFAULT_BUF (16 * MiB)
#define MIN_DEFAULT_GRANULARITY 4096
#define MAX_DEFAULT_GRANULARITY (64 * KiB)
#define MAX_GRANULARITY (64 * MiB)

bool mirror_can_replace(BlockDriverState *bs, BlockDriverState *to_replace)
{
    BlockDriverState *below;
    BdrvChild *child;

    if (bs == to_replace) {
        return true;
    }
    below = bdrv_filter_bs(bs);
    if (below) {
        return mirror_can_replace(below, to_replace);
    }
    if (!bs->drv || strcmp(bs->drv->format_name, "quorum") != 0) {
        return false;
    }
    /* A quorum's children hold what it shows. */
    QLIST_FOREACH(child, &bs->children, next) {
        if (mirror_can_replace(child->bs, to_replace)) {
            return true;
        }
    }
    return false;
}

static bool check_granularity(uint32_t granularity, Error **errp)
{
    if (granularity && (granularity < 512 || granularity > MAX_GRANULARITY)) {
        error_setg(errp, "Parameter 'granularity' expects a value in range [512B, 64MB]");
        return false;
    }
    if (granularity & (granularity - 1)) {
        error_setg(errp, "Parameter 'granularity' expects a power of 2");
        return false;
    }
    return true;
}

static bool check_replaces(const MirrorJobArgs *args, Error **errp)
{
    BlockDriverState *node = bdrv_find_node(args->replaces);

    if (!node) {
        error_setg(errp, "Failed to find node with node-name='%s'", args->replaces);
        return false;
    }
    if (bdrv_op_is_blocked(node, BLOCK_OP_TYPE_REPLACE, errp)) {
        return false;
    }
    if (!mirror_can_replace(args->bs, node)) {
        error_setg(errp, "Cannot replace '%s' by a node mirrored from '%s', because it cannot be "
                   "guaranteed that doing so would not lead to an abrupt change of visible data",
                   args->replaces, bdrv_get_node_name(args->bs));
        return false;
    }
    if (bdrv_getlength(node) != bdrv_getlength(args->target)) {
        error_setg(errp, "cannot replace image with a mirror image of different size");
        return false;
    }
    return true;
}

static bool check_args(const MirrorJobArgs *args, Error **errp)
{
    if (!check_granularity(args->granularity, errp) ||
        bdrv_op_is_blocked(args->bs, BLOCK_OP_TYPE_MIRROR_SOURCE, errp) ||
        bdrv_op_is_blocked(args->target, BLOCK_OP_TYPE_MIRROR_TARGET, errp) ||
        (args->replaces && !check_replaces(args, errp))) {
        return false;
    }
    if (args->sync == MIRROR_SYNC_MODE_INCREMENTAL || args->sync == MIRROR_SYNC_MODE_BITMAP) {
        error_setg(errp, "Sync mode '%s' not supported", MirrorSyncMode_str(args->sync));
        return false;
    }
    if (args->buf_size < 0) {
        error_setg(errp, "Invalid parameter 'buf-size'");
        return false;
    }
    return true;
}

/* Where the target is not open in full, parts of its clusters cannot be written. */
static uint32_t choose_granularity(const MirrorJobArgs *args)
{
    int64_t cluster = bdrv_get_cluster_size(args->target);
    int64_t granularity = args->granularity;

    if (!granularity) {
        granularity = cluster ? CLAMP(cluster, MIN_DEFAULT_GRANULARITY, MAX_DEFAULT_GRANULARITY)
                              : MAX_DEFAULT_GRANULARITY;
    }
    if (args->backing_mode != MIRROR_LEAVE_BACKING) {
        granularity = MAX(granularity, cluster);
    }
    return pow2ceil(granularity);
}

static MirrorFirst choose_first(const MirrorJobArgs *args, MirrorSyncMode sync)
{
    switch (sync) {
    case MIRROR_SYNC_MODE_NONE:
        return MIRROR_FIRST_NOTHING;
    case MIRROR_SYNC_MODE_TOP:
        return MIRROR_FIRST_ALLOCATED;
    default:
        return args->target_is_zero ? MIRROR_FIRST_NONZERO : MIRROR_FIRST_ALL;
    }
}

BlockJob *coroutine_fn mirror_job_co_create(const MirrorJobArgs *args, Error **errp)
{
    BlockDriverState *backing;
    MirrorSyncMode sync;
    MirrorSetup setup;

    CONTROL_PATH();
    if (!check_args(args, errp)) {
        return NULL;
    }
    backing = bdrv_backing_chain_next(args->bs);
    sync = args->sync == MIRROR_SYNC_MODE_TOP && !backing ? MIRROR_SYNC_MODE_FULL : args->sync;
    setup = (MirrorSetup) {
        .job = {
            .id = args->job_id,
            .device = args->bs,
            .speed = args->speed,
            .flags = args->flags,
        },
        .source = args->bs,
        .target = args->target,
        .filter_node_name = args->filter_node_name,
        .replaces = args->replaces,
        .first = choose_first(args, sync),
        .bottom = sync == MIRROR_SYNC_MODE_TOP ? bdrv_skip_filters(args->bs) : NULL,
        .backing_mode = args->backing_mode,
        .copy_mode = args->copy_mode,
        .granularity = choose_granularity(args),
        .buf_size = args->buf_size ? args->buf_size : DEFAULT_BUF,
        .keep_allocated = args->keep_allocated,
        .on_source_error = args->on_source_error,
        .on_target_error = args->on_target_error,
    };
    if (sync == MIRROR_SYNC_MODE_NONE) {
        setup.backing = args->bs;
    } else if (sync == MIRROR_SYNC_MODE_TOP) {
        setup.backing = backing;
    }
    if (setup.job.speed >= 0 && bdrv_getlength(args->target) < bdrv_getlength(args->bs) &&
        block_job_choose_id(&setup.job, NULL)) {
        error_setg(errp, "Source and target image have different sizes");
        return NULL;
    }
    return mirror_job_co_begin(&setup, errp);
}

BlockJob *coroutine_fn commit_active_job_co_create(const CommitJobArgs *args, Error **errp)
{
    const MirrorSetup setup = {
        .job = {
            .id = args->job_id ? args->job_id : bdrv_get_device_name(args->bs),
            .device = args->bs,
            .speed = args->speed,
            .flags = args->flags,
        },
        .source = args->top,
        .target = args->base,
        .filter_node_name = args->filter_node_name,
        .first = MIRROR_FIRST_ALLOCATED,
        .bottom = job_chain_last_above(args->top, args->base),
        .backing_mode = MIRROR_LEAVE_BACKING,
        .is_commit = true,
        .empties_source = args->empties_top,
        .in_order = args->in_order,
        .share = args->share,
        .copy_mode = args->write_blocking ? MIRROR_COPY_MODE_WRITE_BLOCKING
                                          : MIRROR_COPY_MODE_BACKGROUND,
        .granularity = MAX_DEFAULT_GRANULARITY,
        .buf_size = DEFAULT_BUF,
        .on_source_error = args->on_error,
        .on_target_error = args->on_error,
    };

    CONTROL_PATH();
    return mirror_job_co_begin(&setup, errp);
}
