/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * External snapshots: a new overlay takes the place of a node, which stays below it as it is.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/graph.h"
#include "qapi/gen/block-core-commands.h"
#include "qmp-block.h"

struct SnapshotAction {
    BlockDriverState *old_bs, *overlay; /* referenced */
};

static void action_free(SnapshotAction *action)
{
    bdrv_unref(action->overlay);
    bdrv_unref(action->old_bs);
    g_free(action);
}

static BlockDriverState *find_old(const char *device, const char *node_name, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(device, node_name, errp);
    if (!bs || bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_EXTERNAL_SNAPSHOT, errp)) {
        return NULL;
    }
    if (!bdrv_is_inserted(bs)) {
        error_setg(errp, "Device '%s' has no medium", device ? device : node_name);
        return NULL;
    }
    return bs;
}

static bool check_overlay(BlockDriverState *overlay, Error **errp)
{
    if (bdrv_parent_count(overlay) > 0) {
        error_setg(errp, "The overlay is already in use");
        return false;
    }
    if (bdrv_op_is_blocked(overlay, BLOCK_OP_TYPE_EXTERNAL_SNAPSHOT, errp)) {
        return false;
    }
    if (bdrv_cow_bs(overlay)) {
        error_setg(errp, "The overlay already has a backing image");
        return false;
    }
    if (!bdrv_supports_backing(overlay)) {
        error_setg(errp, "The overlay does not support backing images");
        return false;
    }
    return true;
}

/* Takes the reference to @overlay. */
static SnapshotAction *coroutine_fn co_put_over(BlockDriverState *overlay, BlockDriverState *old_bs,
                                                Error **errp)
{
    g_autoptr(BlockDriverState) ref = overlay;
    if (!check_overlay(overlay, errp) || !bdrv_co_append(overlay, old_bs, errp)) {
        return NULL;
    }
    SnapshotAction *action = g_new0(SnapshotAction, 1);
    action->old_bs = bdrv_ref(old_bs);
    action->overlay = g_steal_pointer(&ref);
    return action;
}

SnapshotAction *coroutine_fn snapshot_co_prepare(const BlockdevSnapshot *args, Error **errp)
{
    CONTROL_PATH();
    BlockDriverState *old_bs = find_old(args->node, args->node, errp);
    BlockDriverState *overlay = old_bs ? bdrv_lookup_bs(args->overlay, args->overlay, errp) : NULL;
    if (!overlay) {
        return NULL;
    }
    return co_put_over(bdrv_ref(overlay), old_bs, errp);
}

/* ---- blockdev-snapshot-sync: the overlay is made, too ---------------------------------------- */

static bool check_overlay_name(const BlockdevSnapshotSync *args, Error **errp)
{
    const char *name = args->snapshot_node_name;
    if (args->node_name && !name) {
        error_setg(errp, "New overlay node-name missing");
        return false;
    }
    if (name && (bdrv_find_node(name) || blk_by_name(name))) {
        error_setg(errp, "New overlay node-name already in use");
        return false;
    }
    return true;
}

static bool coroutine_fn co_create_overlay(const BlockdevSnapshotSync *args, const char *format,
                                           BlockDriverState *old_bs, Error **errp)
{
    int64_t bytes = bdrv_getlength(old_bs);
    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "bdrv_getlength failed");
        return false;
    }
    /* What is in an image outlives the filters of this process. */
    BlockDriverState *image = bdrv_skip_filters(old_bs);
    g_autofree char *backing = g_strdup(bdrv_get_filename(image));
    BdrvImgCreate create = {
        .filename = args->snapshot_file,
        .format = format,
        .backing_filename = backing,
        .backing_format = bdrv_get_format_name(image),
        .size = bytes,
        .flags = bdrv_get_open_flags(old_bs) | BDRV_O_NO_BACKING,
    };
    return bdrv_co_img_create(&create, errp);
}

SnapshotAction *coroutine_fn snapshot_sync_co_prepare(const BlockdevSnapshotSync *args,
                                                      Error **errp)
{
    CONTROL_PATH();
    const char *format = args->format ? args->format : "qcow2";
    bool existing = args->has_mode && args->mode == NEW_IMAGE_MODE_EXISTING;
    BlockDriverState *old_bs = find_old(args->device, args->node_name, errp);
    if (!old_bs || !check_overlay_name(args, errp) ||
        (!existing && !co_create_overlay(args, format, old_bs, errp))) {
        return NULL;
    }
    QDict *options = qdict_new();
    qdict_put_str(options, "driver", format);
    if (args->snapshot_node_name) {
        qdict_put_str(options, "node-name", args->snapshot_node_name);
    }
    int flags = (bdrv_get_open_flags(old_bs) & ~BDRV_O_SNAPSHOT) | BDRV_O_NO_BACKING;
    BlockDriverState *overlay = bdrv_co_open(args->snapshot_file, NULL, options, flags, errp);
    return overlay ? co_put_over(overlay, old_bs, errp) : NULL;
}

/* ---- the end --------------------------------------------------------------------------------- */

void coroutine_fn snapshot_co_commit(SnapshotAction *action)
{
    CONTROL_PATH();
    /* Somebody who asked for write access keeps it: then the node stays writable, no harm done. */
    if (!bdrv_is_read_only(action->old_bs)) {
        bdrv_co_reopen_set_read_only(action->old_bs, true, NULL);
    }
    /* With no one above it the overlay would be gone at once, and what was written last with it. */
    if (bdrv_parent_count(action->overlay) == 0) {
        bdrv_set_monitor_owned(action->overlay, true);
    }
    action_free(action);
}

void coroutine_fn snapshot_co_abort(SnapshotAction *action)
{
    CONTROL_PATH();
    Error *err = NULL;
    if (!bdrv_co_replace_node(action->overlay, action->old_bs, &err)) {
        /* Another process has taken the image meanwhile: guests go on writing to the overlay. */
        error_reportf_err(err, "Could not take overlay '%s' away again: ",
                          bdrv_get_node_name(action->overlay));
        snapshot_co_commit(action);
        return;
    }
    if (!bdrv_co_set_backing(action->overlay, NULL, &err)) {
        error_reportf_err(err, "Could not detach overlay '%s': ",
                          bdrv_get_node_name(action->overlay));
    }
    action_free(action);
}

void coroutine_fn qmp_blockdev_snapshot(BlockdevSnapshot *arg, Error **errp)
{
    SnapshotAction *action = snapshot_co_prepare(arg, errp);
    if (action) {
        snapshot_co_commit(action);
    }
}

void coroutine_fn qmp_blockdev_snapshot_sync(BlockdevSnapshotSync *arg, Error **errp)
{
    SnapshotAction *action = snapshot_sync_co_prepare(arg, errp);
    if (action) {
        snapshot_co_commit(action);
    }
}
