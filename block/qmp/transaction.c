/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transaction: several operations at one point in time, all or none.
 *
 * Every node that an action names is frozen from before the first action until after the last: no
 * request comes in between.  Each action is prepared in order; if one fails, the earlier ones are
 * undone, latest first.  Otherwise all are committed, which cannot fail, also latest first, which
 * is the order in which clients of stock see jobs start.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/freeze.h"
#include "block/graph.h"
#include "backup.h"
#include "qapi/gen/transaction-commands.h"
#include "qmp-block.h"

/* One action under way. */
typedef struct Step Step;

/* A kind of action.  All under the control lock; commit and abort do not fail. */
typedef struct ActionKind {
    /* The node or device that it works on; NULL: none (or NULL's meaning is told by prepare). */
    const char *(*node)(const TransactionAction *action);
    bool coroutine_fn (*co_prepare)(Step *step, const TransactionAction *action, Error **errp);
    void coroutine_fn (*co_commit)(Step *step);
    void coroutine_fn (*co_abort)(Step *step);
    /* After commit or abort of all. */
    void (*clean)(Step *step);
    bool can_group; /* makes jobs that can depend on one another */
} ActionKind;

struct Step {
    const ActionKind *kind;
    JobTxn *txn; /* for jobs, or NULL; borrowed */
    /* What prepare left for the others, by kind. */
    BackupAction *backup;
    SnapshotAction *snapshot;
    InternalSnapshotAction *internal_snapshot;
    BdrvDirtyBitmap *bitmap;
    HBitmap *old_bits;
    bool was_enabled;
};

/* ---- abort ----------------------------------------------------------------------------------- */

static bool coroutine_fn abort_co_prepare(Step *step, const TransactionAction *action, Error **errp)
{
    error_setg(errp, "Transaction aborted using Abort action");
    return false;
}

/* ---- bitmaps --------------------------------------------------------------------------------- */

static const char *bitmap_add_node(const TransactionAction *action)
{
    return action->u.block_dirty_bitmap_add.data->node;
}

static bool coroutine_fn bitmap_add_co_prepare(Step *step, const TransactionAction *action,
                                               Error **errp)
{
    step->bitmap = block_dirty_bitmap_co_add(action->u.block_dirty_bitmap_add.data, errp);
    return step->bitmap;
}

static void coroutine_fn bitmap_add_co_abort(Step *step)
{
    bdrv_release_dirty_bitmap(step->bitmap);
}

/* The four kinds whose arguments are just a bitmap share one type of wrapper. */
static const BlockDirtyBitmap *bitmap_args(const TransactionAction *action)
{
    switch (action->type) {
    case TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE:
        return action->u.block_dirty_bitmap_remove.data;
    case TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_CLEAR:
        return action->u.block_dirty_bitmap_clear.data;
    case TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE:
        return action->u.block_dirty_bitmap_enable.data;
    default:
        return action->u.block_dirty_bitmap_disable.data;
    }
}

static const char *bitmap_node(const TransactionAction *action)
{
    return bitmap_args(action)->node;
}

static bool find_bitmap(Step *step, const TransactionAction *action, unsigned checks, Error **errp)
{
    const BlockDirtyBitmap *args = bitmap_args(action);

    step->bitmap = block_dirty_bitmap_lookup(args->node, args->name, NULL, errp);
    return step->bitmap && bdrv_dirty_bitmap_check(step->bitmap, checks, errp);
}

/* Until the end it is only put aside: a crash in between must not lose what is stored of it. */
static bool coroutine_fn bitmap_remove_co_prepare(Step *step, const TransactionAction *action,
                                                  Error **errp)
{
    if (!find_bitmap(step, action, BDRV_BITMAP_BUSY | BDRV_BITMAP_RO, errp) ||
        !bdrv_co_dirty_bitmap_before_change(step->bitmap, errp)) {
        return false;
    }
    bdrv_dirty_bitmap_skip_store(step->bitmap, true);
    bdrv_dirty_bitmap_set_busy(step->bitmap, true);
    return true;
}

/* What cannot be removed from the file any more is marked there as in use: nobody relies on it. */
static void coroutine_fn bitmap_remove_co_commit(Step *step)
{
    BlockDriverState *bs = bdrv_dirty_bitmap_bs(step->bitmap);
    const char *name = bdrv_dirty_bitmap_name(step->bitmap);
    Error *local_err = NULL;

    bdrv_dirty_bitmap_set_busy(step->bitmap, false);
    if (bdrv_dirty_bitmap_persistent(step->bitmap) &&
        bdrv_co_remove_persistent_dirty_bitmap(bs, name, &local_err) < 0) {
        error_reportf_err(local_err, "Bitmap '%s' stays in the image of node '%s': ", name,
                          bdrv_get_device_or_node_name(bs));
    }
    bdrv_release_dirty_bitmap(step->bitmap);
}

static void coroutine_fn bitmap_remove_co_abort(Step *step)
{
    bdrv_dirty_bitmap_set_busy(step->bitmap, false);
    bdrv_dirty_bitmap_skip_store(step->bitmap, false);
}

static bool coroutine_fn bitmap_clear_co_prepare(Step *step, const TransactionAction *action,
                                                 Error **errp)
{
    if (!find_bitmap(step, action, BDRV_BITMAP_DEFAULT, errp) ||
        !bdrv_co_dirty_bitmap_before_change(step->bitmap, errp)) {
        return false;
    }
    bdrv_clear_dirty_bitmap(step->bitmap, &step->old_bits);
    return true;
}

static const char *bitmap_merge_node(const TransactionAction *action)
{
    return action->u.block_dirty_bitmap_merge.data->node;
}

static bool coroutine_fn bitmap_merge_co_prepare(Step *step, const TransactionAction *action,
                                                 Error **errp)
{
    const BlockDirtyBitmapMerge *args = action->u.block_dirty_bitmap_merge.data;

    step->bitmap = block_dirty_bitmap_co_merge(args->node, args->target, args->bitmaps,
                                               &step->old_bits, errp);
    return step->bitmap;
}

static void coroutine_fn old_bits_co_commit(Step *step)
{
    if (step->old_bits) {
        hbitmap_free(step->old_bits);
    }
}

static void coroutine_fn old_bits_co_abort(Step *step)
{
    if (step->old_bits) {
        bdrv_restore_dirty_bitmap(step->bitmap, step->old_bits);
    }
}

static bool coroutine_fn bitmap_switch_co_prepare(Step *step, const TransactionAction *action,
                                                  Error **errp)
{
    if (!find_bitmap(step, action, BDRV_BITMAP_ALLOW_RO, errp) ||
        !bdrv_co_dirty_bitmap_before_change(step->bitmap, errp)) {
        return false;
    }
    step->was_enabled = bdrv_dirty_bitmap_enabled(step->bitmap);
    if (action->type == TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE) {
        bdrv_enable_dirty_bitmap(step->bitmap);
    } else {
        bdrv_disable_dirty_bitmap(step->bitmap);
    }
    return true;
}

static void coroutine_fn bitmap_switch_co_abort(Step *step)
{
    if (step->was_enabled) {
        bdrv_enable_dirty_bitmap(step->bitmap);
    } else {
        bdrv_disable_dirty_bitmap(step->bitmap);
    }
}

/* ---- backups --------------------------------------------------------------------------------- */

static const char *blockdev_backup_node(const TransactionAction *action)
{
    return action->u.blockdev_backup.data->device;
}

static bool coroutine_fn blockdev_backup_prepare(Step *step, const TransactionAction *action,
                                                 Error **errp)
{
    step->backup = blockdev_backup_co_prepare(action->u.blockdev_backup.data, step->txn, errp);
    return step->backup;
}

static const char *drive_backup_node(const TransactionAction *action)
{
    return action->u.drive_backup.data->device;
}

static bool coroutine_fn drive_backup_prepare(Step *step, const TransactionAction *action,
                                              Error **errp)
{
    step->backup = drive_backup_co_prepare(action->u.drive_backup.data, step->txn, errp);
    return step->backup;
}

static void coroutine_fn backup_co_commit(Step *step)
{
    backup_action_commit(step->backup);
}

static void coroutine_fn backup_co_abort(Step *step)
{
    backup_action_co_abort(step->backup);
}

static void backup_clean(Step *step)
{
    backup_action_end(step->backup);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static const char *snapshot_node(const TransactionAction *action)
{
    return action->u.blockdev_snapshot.data->node;
}

static bool coroutine_fn snapshot_prepare(Step *step, const TransactionAction *action, Error **errp)
{
    step->snapshot = snapshot_co_prepare(action->u.blockdev_snapshot.data, errp);
    return step->snapshot;
}

static const char *snapshot_sync_node(const TransactionAction *action)
{
    const BlockdevSnapshotSync *args = action->u.blockdev_snapshot_sync.data;

    return args->node_name ? args->node_name : args->device;
}

static bool coroutine_fn snapshot_sync_prepare(Step *step, const TransactionAction *action,
                                               Error **errp)
{
    step->snapshot = snapshot_sync_co_prepare(action->u.blockdev_snapshot_sync.data, errp);
    return step->snapshot;
}

static void coroutine_fn snapshot_commit(Step *step)
{
    snapshot_co_commit(step->snapshot);
}

static void coroutine_fn snapshot_abort(Step *step)
{
    snapshot_co_abort(step->snapshot);
}

static const char *internal_snapshot_node(const TransactionAction *action)
{
    return action->u.blockdev_snapshot_internal_sync.data->device;
}

static bool coroutine_fn internal_snapshot_prepare(Step *step, const TransactionAction *action,
                                                   Error **errp)
{
    step->internal_snapshot =
        internal_snapshot_co_prepare(action->u.blockdev_snapshot_internal_sync.data, errp);
    return step->internal_snapshot;
}

static void coroutine_fn internal_snapshot_step_commit(Step *step)
{
    internal_snapshot_commit(step->internal_snapshot);
}

static void coroutine_fn internal_snapshot_abort(Step *step)
{
    internal_snapshot_co_abort(step->internal_snapshot);
}

/* ---- the kinds ------------------------------------------------------------------------------- */

static const ActionKind kinds[TRANSACTION_ACTION_KIND__MAX] = {
    [TRANSACTION_ACTION_KIND_ABORT] = { .co_prepare = abort_co_prepare },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ADD] = {
        .node = bitmap_add_node,
        .co_prepare = bitmap_add_co_prepare,
        .co_abort = bitmap_add_co_abort,
    },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE] = {
        .node = bitmap_node,
        .co_prepare = bitmap_remove_co_prepare,
        .co_commit = bitmap_remove_co_commit,
        .co_abort = bitmap_remove_co_abort,
    },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_CLEAR] = {
        .node = bitmap_node,
        .co_prepare = bitmap_clear_co_prepare,
        .co_commit = old_bits_co_commit,
        .co_abort = old_bits_co_abort,
    },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE] = {
        .node = bitmap_node,
        .co_prepare = bitmap_switch_co_prepare,
        .co_abort = bitmap_switch_co_abort,
    },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_DISABLE] = {
        .node = bitmap_node,
        .co_prepare = bitmap_switch_co_prepare,
        .co_abort = bitmap_switch_co_abort,
    },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_MERGE] = {
        .node = bitmap_merge_node,
        .co_prepare = bitmap_merge_co_prepare,
        .co_commit = old_bits_co_commit,
        .co_abort = old_bits_co_abort,
    },
    [TRANSACTION_ACTION_KIND_BLOCKDEV_BACKUP] = {
        .node = blockdev_backup_node,
        .co_prepare = blockdev_backup_prepare,
        .co_commit = backup_co_commit,
        .co_abort = backup_co_abort,
        .clean = backup_clean,
        .can_group = true,
    },
    [TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT] = {
        .node = snapshot_node,
        .co_prepare = snapshot_prepare,
        .co_commit = snapshot_commit,
        .co_abort = snapshot_abort,
    },
    [TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_INTERNAL_SYNC] = {
        .node = internal_snapshot_node,
        .co_prepare = internal_snapshot_prepare,
        .co_commit = internal_snapshot_step_commit,
        .co_abort = internal_snapshot_abort,
    },
    [TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC] = {
        .node = snapshot_sync_node,
        .co_prepare = snapshot_sync_prepare,
        .co_commit = snapshot_commit,
        .co_abort = snapshot_abort,
    },
    [TRANSACTION_ACTION_KIND_DRIVE_BACKUP] = {
        .node = drive_backup_node,
        .co_prepare = drive_backup_prepare,
        .co_commit = backup_co_commit,
        .co_abort = backup_co_abort,
        .clean = backup_clean,
        .can_group = true,
    },
};

/* ---- all of them ----------------------------------------------------------------------------- */

static bool check_grouping(const TransactionActionList *actions, Error **errp)
{
    for (; actions; actions = actions->next) {
        if (!kinds[actions->value->type].can_group) {
            error_setg(errp, "Action '%s' does not support transaction property completion-mode = "
                       "%s", TransactionActionKind_str(actions->value->type),
                       ActionCompletionMode_str(ACTION_COMPLETION_MODE_GROUPED));
            return false;
        }
    }
    return true;
}

/* The nodes named that exist; the names of others are told by the action's own prepare. */
static BdrvFreeze *coroutine_fn co_freeze_all(const TransactionActionList *actions)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();

    for (; actions; actions = actions->next) {
        const ActionKind *kind = &kinds[actions->value->type];
        const char *name = kind->node ? kind->node(actions->value) : NULL;
        BlockDriverState *bs = name ? bdrv_lookup_bs(name, name, NULL) : NULL;

        if (bs) {
            g_ptr_array_add(nodes, bs);
        }
    }
    return bdrv_co_freeze((BlockDriverState **)nodes->pdata, nodes->len);
}

/* Prepare in order, appending to @steps what was done. */
static bool coroutine_fn co_prepare_all(const TransactionActionList *actions, JobTxn *txn,
                                        GArray *steps, Error **errp)
{
    for (; actions; actions = actions->next) {
        Step step = { .kind = &kinds[actions->value->type], .txn = txn };

        if (!step.kind->co_prepare(&step, actions->value, errp)) {
            return false;
        }
        g_array_append_val(steps, step);
    }
    return true;
}

static void coroutine_fn co_finish(GArray *steps, bool ok)
{
    for (int i = steps->len - 1; i >= 0; i--) {
        Step *step = &g_array_index(steps, Step, i);
        void (*co_end)(Step *) = ok ? step->kind->co_commit : step->kind->co_abort;

        if (co_end) {
            co_end(step);
        }
    }
    for (int i = steps->len - 1; i >= 0; i--) {
        Step *step = &g_array_index(steps, Step, i);

        if (step->kind->clean) {
            step->kind->clean(step);
        }
    }
}

void coroutine_fn qmp_transaction(TransactionActionList *actions, TransactionProperties *properties,
                                  Error **errp)
{
    bool grouped = properties && properties->has_completion_mode &&
                   properties->completion_mode == ACTION_COMPLETION_MODE_GROUPED;
    g_autoptr(GArray) steps = g_array_new(FALSE, TRUE, sizeof(Step));
    g_autoptr(JobTxn) txn = grouped ? job_txn_new() : NULL;
    BdrvFreeze *freeze;
    bool ok;

    CONTROL_PATH();
    if (grouped && !check_grouping(actions, errp)) {
        return;
    }
    freeze = co_freeze_all(actions);
    ok = co_prepare_all(actions, txn, steps, errp);
    /* The actions have freezes of their own; jobs resume as these go. */
    if (!ok) {
        co_finish(steps, false);
        bdrv_thaw(freeze);
        return;
    }
    bdrv_thaw(freeze);
    co_finish(steps, true);
}
