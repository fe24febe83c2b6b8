/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev-mirror and drive-mirror.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/blockjob.h"
#include "block/graph.h"
#include "qapi/gen/block-core-commands.h"
#include "qmp-block.h"

static BlockDriverState *find_root(const char *device, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(device, device, errp);

    if (!bs) {
        return NULL;
    }
    if (!bdrv_is_root_node(bs)) {
        error_setg(errp, "Need a root block node");
        return NULL;
    }
    if (!bdrv_is_inserted(bs)) {
        error_setg(errp, "Device '%s' has no medium", device);
        return NULL;
    }
    return bs;
}

static void coroutine_fn co_start(const MirrorJobArgs *args, Error **errp)
{
    BlockJob *job = mirror_job_co_create(args, errp);

    if (job) {
        job_start(&job->job);
    }
}

void coroutine_fn qmp_blockdev_mirror(BlockdevMirror *arg, Error **errp)
{
    MirrorJobArgs args = {
        .job_id = arg->job_id,
        .filter_node_name = arg->filter_node_name,
        .replaces = arg->replaces,
        .sync = arg->sync,
        .copy_mode = arg->copy_mode,
        .backing_mode = MIRROR_LEAVE_BACKING,
        .target_is_zero = arg->target_is_zero,
        .granularity = arg->granularity,
        .buf_size = arg->buf_size,
        .speed = arg->speed,
        .on_source_error = arg->on_source_error,
        .on_target_error = arg->on_target_error,
        .flags = job_flags(arg->has_auto_finalize, arg->auto_finalize, arg->has_auto_dismiss,
                           arg->auto_dismiss),
    };

    args.bs = find_root(arg->device, errp);
    args.target = args.bs ? bdrv_lookup_bs(arg->target, arg->target, errp) : NULL;
    if (args.target) {
        co_start(&args, errp);
    }
}

/* ---- drive-mirror ---------------------------------------------------------------------------- */

static bool make_plan(const DriveMirror *arg, DriveTarget *plan, Error **errp)
{
    BlockDriverState *bs = find_root(arg->device, errp);

    /* Asked again later; now, so that no image is made in vain. */
    if (!bs || bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_MIRROR_SOURCE, errp)) {
        return false;
    }
    if (arg->replaces && !arg->node_name) {
        error_setg(errp, "a node-name must be provided when replacing a named node of the graph");
        return false;
    }
    *plan = (DriveTarget) {
        .source = bs,
        .filename = arg->target,
        .format = arg->format,
        .sync = arg->sync,
        .existing = arg->has_mode && arg->mode == NEW_IMAGE_MODE_EXISTING,
    };
    drive_target_resolve(plan);
    plan->flags |= BDRV_O_NO_BACKING;
    return true;
}

static BlockDriverState *coroutine_fn co_open_target(const DriveMirror *arg,
                                                     const DriveTarget *plan, Error **errp)
{
    QDict *options = qdict_new();

    if (arg->node_name) {
        qdict_put_str(options, "node-name", arg->node_name);
    }
    if (plan->format) {
        qdict_put_str(options, "driver", plan->format);
    }
    if (!arg->has_unmap || arg->unmap) {
        qdict_put_str(options, "discard", "unmap");
    }
    return bdrv_co_open(plan->filename, NULL, options, plan->flags, errp);
}

/* A new image reads as zeroes, unless it lies on a device that keeps what it held. */
static bool has_zero_init(BlockDriverState *target)
{
    for (BlockDriverState *bs = target; bs; bs = bdrv_primary_bs(bs)) {
        if (bdrv_supports_backing(bs)) {
            return true;
        }
        if (strcmp(bdrv_get_format_name(bs), "file") == 0) {
            return true;
        }
    }
    return false;
}

void coroutine_fn qmp_drive_mirror(DriveMirror *arg, Error **errp)
{
    g_autoptr(BlockDriverState) target = NULL;
    MirrorJobArgs args;
    DriveTarget plan;

    if (!make_plan(arg, &plan, errp) || !drive_target_co_create(&plan, errp)) {
        return;
    }
    target = co_open_target(arg, &plan, errp);
    if (!target) {
        return;
    }
    args = (MirrorJobArgs) {
        .job_id = arg->job_id,
        .replaces = arg->replaces,
        .bs = plan.source,
        .target = target,
        .sync = plan.sync,
        .copy_mode = arg->copy_mode,
        .backing_mode = plan.existing ? MIRROR_OPEN_BACKING : MIRROR_SOURCE_BACKING,
        .target_is_zero = !plan.existing && has_zero_init(target),
        .keep_allocated = arg->has_unmap && !arg->unmap,
        .granularity = arg->granularity,
        .buf_size = arg->buf_size,
        .speed = arg->speed,
        .on_source_error = arg->on_source_error,
        .on_target_error = arg->on_target_error,
        .flags = job_flags(arg->has_auto_finalize, arg->auto_finalize, arg->has_auto_dismiss,
                           arg->auto_dismiss),
    };
    co_start(&args, errp);
}
