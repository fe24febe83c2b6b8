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
#include "qmp-block.h"

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

static bool make_plan(const DriveBackup *args, DriveTarget *plan, Error **errp)
{
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
    *plan = (DriveTarget) {
        .source = bs,
        .filename = args->target,
        .format = args->format,
        .sync = args->sync,
        .existing = args->has_mode && args->mode == NEW_IMAGE_MODE_EXISTING,
    };
    drive_target_resolve(plan);
    if (plan->sync == MIRROR_SYNC_MODE_NONE) {
        /* What is not saved in the target is read from the source, by the node that is open. */
        plan->flags |= BDRV_O_NO_BACKING;
    }
    return true;
}

static BlockDriverState *coroutine_fn co_open_target(const DriveTarget *plan, Error **errp)
{
    QDict *options = qdict_new();
    g_autoptr(BlockDriverState) target = NULL;

    qdict_put_str(options, "discard", "unmap");
    qdict_put_str(options, "detect-zeroes", "unmap");
    if (plan->format) {
        qdict_put_str(options, "driver", plan->format);
    }
    target = bdrv_co_open(plan->filename, NULL, options, plan->flags, errp);
    if (target && plan->sync == MIRROR_SYNC_MODE_NONE &&
        !bdrv_co_set_backing(target, plan->source, errp)) {
        return NULL;
    }
    return g_steal_pointer(&target);
}

BackupAction *coroutine_fn drive_backup_co_prepare(const DriveBackup *args, JobTxn *txn,
                                                   Error **errp)
{
    g_autoptr(BlockDriverState) target = NULL;
    BackupCommon common = *COMMON(args);
    DriveTarget plan;

    CONTROL_PATH();
    if (!make_plan(args, &plan, errp) || !drive_target_co_create(&plan, errp)) {
        return NULL;
    }
    target = co_open_target(&plan, errp);
    if (!target) {
        return NULL;
    }
    common.sync = plan.sync;
    return co_prepare(plan.source, target, &common, txn, errp);
}

void coroutine_fn qmp_drive_backup(DriveBackup *arg, Error **errp)
{
    start(drive_backup_co_prepare(arg, NULL, errp));
}
