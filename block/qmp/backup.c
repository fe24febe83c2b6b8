/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev-backup and drive-backup.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/blockjob.h"
#include "block/freeze.h"
#include "block/graph.h"
#include "backup.h"
#include "qapi/gen/block-core-commands.h"

struct BackupAction {
    Job *job; /* a reference */
    BdrvFreeze *freeze;
};

/* BlockdevBackup and DriveBackup begin with the members of their base. */
#define COMMON(args) ((const BackupCommon *)(args))

static BackupAction *coroutine_fn co_prepare(BlockDriverState *bs, BlockDriverState *target,
                                             const BackupCommon *args, JobTxn *txn, Error **errp)
{
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(bs);
    BlockJob *job = backup_job_co_create(bs, target, args, txn, errp);
    BackupAction *action;

    if (!job) {
        return NULL;
    }
    action = g_new0(BackupAction, 1);
    action->job = job_ref(&job->job);
    action->freeze = g_steal_pointer(&freeze);
    return action;
}

void backup_action_commit(BackupAction *action)
{
    job_start(action->job);
}

void coroutine_fn backup_action_co_abort(BackupAction *action)
{
    job_co_abandon(action->job);
}

void backup_action_end(BackupAction *action)
{
    bdrv_thaw(action->freeze);
    job_unref(action->job);
    g_free(action);
}

static void start(BackupAction *action)
{
    if (action) {
        backup_action_commit(action);
        backup_action_end(action);
    }
}

/* ---- blockdev-backup ------------------------------------------------------------------------- */

BackupAction *coroutine_fn blockdev_backup_co_prepare(const BlockdevBackup *args, JobTxn *txn,
                                                      Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(args->device, args->device, errp);
    BlockDriverState *target = bs ? bdrv_lookup_bs(args->target, args->target, errp) : NULL;

    CONTROL_PATH();
    return target ? co_prepare(bs, target, COMMON(args), txn, errp) : NULL;
}

void coroutine_fn qmp_blockdev_backup(BlockdevBackup *arg, Error **errp)
{
    start(blockdev_backup_co_prepare(arg, NULL, errp));
}

/* ---- drive-backup ---------------------------------------------------------------------------- */

/* What drive-backup makes of its arguments. */
typedef struct DrivePlan {
    BlockDriverState *bs;
    BlockDriverState *backing; /* of the new image; or NULL */
    MirrorSyncMode sync;
    const char *format;        /* NULL: probe the existing image */
    int flags;
} DrivePlan;

static bool make_plan(const DriveBackup *args, DrivePlan *plan, Error **errp)
{
    bool existing = args->has_mode && args->mode == NEW_IMAGE_MODE_EXISTING;
    BlockDriverState *bs = bdrv_lookup_bs(args->device, args->device, errp);

    if (!bs) {
        return false;
    }
    if (!bdrv_is_inserted(bs)) {
        error_setg(errp, "Device '%s' has no medium", args->device);
        return false;
    }
    /* Asked again later; now, so that no image is made in vain. */
    if (bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_BACKUP_SOURCE, errp)) {
        return false;
    }
    *plan = (DrivePlan) {
        .bs = bs,
        .sync = args->sync,
        .format = args->format,
        .flags = (bdrv_get_open_flags(bs) & ~(BDRV_O_SNAPSHOT | BDRV_O_AUTO_RDONLY |
                                              BDRV_O_COPY_ON_READ)) | BDRV_O_RDWR,
    };
    if (!plan->format && !existing) {
        plan->format = bdrv_get_format_name(bdrv_skip_filters(bs));
    }
    if (plan->sync == MIRROR_SYNC_MODE_TOP) {
        plan->backing = bdrv_backing_chain_next(bs);
        if (!plan->backing) {
            plan->sync = MIRROR_SYNC_MODE_FULL;
        }
    } else if (plan->sync == MIRROR_SYNC_MODE_NONE) {
        /* What is not saved in the target is read from the source, by the node that is open. */
        plan->backing = bs;
        plan->flags |= BDRV_O_NO_BACKING;
    }
    return true;
}

static bool coroutine_fn co_make_image(const DriveBackup *args, const DrivePlan *plan, Error **errp)
{
    BlockDriverState *backing = plan->backing ? bdrv_skip_filters(plan->backing) : NULL;
    int64_t bytes = bdrv_co_getlength(plan->bs);
    BdrvImgCreate create = {
        .filename = args->target,
        .format = plan->format,
        .backing_filename = backing ? bdrv_get_filename(backing) : NULL,
        .backing_format = backing ? bdrv_get_format_name(backing) : NULL,
        .size = bytes,
        .flags = plan->flags,
    };

    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "bdrv_getlength failed");
        return false;
    }
    return bdrv_co_img_create(&create, errp);
}

static BlockDriverState *coroutine_fn co_open_target(const DriveBackup *args, const DrivePlan *plan,
                                                     Error **errp)
{
    QDict *options = qdict_new();
    g_autoptr(BlockDriverState) target = NULL;

    qdict_put_str(options, "discard", "unmap");
    qdict_put_str(options, "detect-zeroes", "unmap");
    if (plan->format) {
        qdict_put_str(options, "driver", plan->format);
    }
    target = bdrv_co_open(args->target, NULL, options, plan->flags, errp);
    if (target && plan->sync == MIRROR_SYNC_MODE_NONE &&
        !bdrv_co_set_backing(target, plan->bs, errp)) {
        return NULL;
    }
    return g_steal_pointer(&target);
}

BackupAction *coroutine_fn drive_backup_co_prepare(const DriveBackup *args, JobTxn *txn,
                                                   Error **errp)
{
    bool existing = args->has_mode && args->mode == NEW_IMAGE_MODE_EXISTING;
    g_autoptr(BlockDriverState) target = NULL;
    BackupCommon common = *COMMON(args);
    DrivePlan plan;

    CONTROL_PATH();
    if (!make_plan(args, &plan, errp) || (!existing && !co_make_image(args, &plan, errp))) {
        return NULL;
    }
    target = co_open_target(args, &plan, errp);
    if (!target) {
        return NULL;
    }
    common.sync = plan.sync;
    return co_prepare(plan.bs, target, &common, txn, errp);
}

void coroutine_fn qmp_drive_backup(DriveBackup *arg, Error **errp)
{
    start(drive_backup_co_prepare(arg, NULL, errp));
}
