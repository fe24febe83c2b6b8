/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes: blockdev-add, blockdev-del, blockdev-set-active, blockdev-reopen, change-backing-file,
 * block-set-write-threshold, block_resize, x-blockdev-set-iothread.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/blockdev.h"
#include "block/graph.h"
#include "qapi/gen/block-core-commands.h"
#include "qmp-block.h"
#include "qapi/gen/block-core-visit.h"
#include "qapi/object-output.h"
#include "qemu/iothread.h"

void coroutine_fn qmp_blockdev_add(BlockdevOptions *arg, Error **errp)
{
    blockdev_co_add(arg, errp);
}

/* ---- blockdev-del ---------------------------------------------------------------------------- */

typedef struct ParentSearch {
    BdrvChild *first;      /* any edge from above */
    BdrvChild *first_user; /* one of a user that is no job */
} ParentSearch;

static bool note_parent(BdrvChild *edge, void *opaque)
{
    ParentSearch *search = opaque;
    if (!search->first) {
        search->first = edge;
    }
    if (!search->first_user && edge->gate && !edge->gate->is_job) {
        search->first_user = edge;
    }
    return true;
}

static bool may_delete(BlockDriverState *bs, Error **errp)
{
    ParentSearch search = { NULL, NULL };
    bdrv_foreach_parent(bs, note_parent, &search);
    if (search.first_user) {
        error_setg(errp, "Node %s is in use", bdrv_get_node_name(bs));
        bdrv_claim_append_hint(&search.first_user->claim, errp);
        return false;
    }
    if (bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_DRIVE_DEL, errp)) {
        return false;
    }
    if (!bdrv_is_monitor_owned(bs)) {
        error_setg(errp, "Node %s is not owned by the monitor", bdrv_get_node_name(bs));
        return false;
    }
    if (search.first) {
        error_setg(errp, "Block device %s is in use", bdrv_get_device_or_node_name(bs));
        bdrv_claim_append_hint(&search.first->claim, errp);
        return false;
    }
    return true;
}

void coroutine_fn qmp_blockdev_del(const char *node_name, Error **errp)
{
    CONTROL_PATH();
    BlockDriverState *bs = bdrv_find_node(node_name);
    if (!bs) {
        error_setg(errp, "Failed to find node with node-name='%s'", node_name);
        return;
    }
    if (may_delete(bs, errp)) {
        bdrv_set_monitor_owned(bs, false);
    }
}

/* ---- x-blockdev-change ----------------------------------------------------------------------- */

void coroutine_fn qmp_x_blockdev_change(const char *parent, const char *child, const char *node,
                                        Error **errp)
{
    CONTROL_PATH();
    BlockDriverState *bs = bdrv_lookup_bs(parent, parent, errp);
    if (!bs) {
        return;
    }
    if (!child == !node) {
        error_setg(errp, child ? "The parameters child and node are in conflict"
                               : "Either child or node must be specified");
        return;
    }
    if (child) {
        bdrv_co_del_child(bs, child, errp);
        return;
    }
    BlockDriverState *new_bs = bdrv_find_node(node);
    if (!new_bs) {
        error_setg(errp, "Node '%s' not found", node);
        return;
    }
    bdrv_co_add_child(bs, new_bs, errp);
}

/* ---- blockdev-set-active --------------------------------------------------------------------- */

void coroutine_fn qmp_blockdev_set_active(const char *node_name, bool active, Error **errp)
{
    CONTROL_PATH();
    if (!node_name && active) {
        bdrv_co_activate_all(errp);
        return;
    }
    if (!node_name) {
        bdrv_co_inactivate_all(errp);
        return;
    }
    BlockDriverState *bs = bdrv_find_node(node_name);
    if (!bs) {
        error_setg(errp, "Failed to find node with node-name='%s'", node_name);
    } else if (active) {
        bdrv_co_activate(bs, errp);
    } else {
        bdrv_co_inactivate(bs, errp);
    }
}

/* ---- blockdev-reopen ------------------------------------------------------------------------- */

/* One node's new options; all that are not given become their defaults, but for a backing node. */
static BdrvReopenQueue *queue_one(BdrvReopenQueue *queue, BlockdevOptions *options, Error **errp)
{
    if (!options->node_name) {
        error_setg(errp, "node-name not specified");
        return NULL;
    }
    BlockDriverState *bs = bdrv_find_node(options->node_name);
    if (!bs) {
        error_setg(errp, "Failed to find node with node-name='%s'", options->node_name);
        return NULL;
    }
    QDict *dict = qobject_to(QDict, qapi_to_qobject(&options, &qapi_type_BlockdevOptions));
    if (bdrv_cow_bs(bs) && !qdict_haskey(dict, "backing")) {
        error_setg(errp, "backing is missing for '%s'", options->node_name);
        qobject_unref(dict);
        return NULL;
    }
    return bdrv_reopen_queue(queue, bs, dict, false);
}

void coroutine_fn qmp_blockdev_reopen(BlockdevOptionsList *options, Error **errp)
{
    CONTROL_PATH();
    BdrvReopenQueue *queue = NULL;
    for (; options; options = options->next) {
        BdrvReopenQueue *longer = queue_one(queue, options->value, errp);
        if (!longer) {
            bdrv_reopen_queue_free(queue);
            return;
        }
        queue = longer;
    }
    if (queue) {
        bdrv_co_reopen_multiple(queue, errp);
    }
}

/* ---- change-backing-file --------------------------------------------------------------------- */

BlockDriverState *qmp_lookup_root(const char *name, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(name, name, errp);
    if (bs && !bdrv_is_root_node(bs)) {
        error_setg(errp, "Need a root block node");
        bdrv_append_users_hint(bs, errp);
        return NULL;
    }
    return bs;
}

/* The image in the chain of @device whose header is to be changed. */
static BlockDriverState *find_overlay_to_change(const char *device, const char *image_node_name,
                                                Error **errp)
{
    BlockDriverState *bs = qmp_lookup_root(device, errp);
    BlockDriverState *image = bs ? bdrv_lookup_bs(NULL, image_node_name, errp) : NULL;
    if (!image) {
        return NULL;
    }
    if (!bdrv_backing_chain_next(image)) {
        error_setg(errp, "not allowing backing file change on an image without a backing file");
        return NULL;
    }
    /* What keeps the device from being changed keeps its chain as it is. */
    if (bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_CHANGE, errp)) {
        return NULL;
    }
    if (!bdrv_chain_contains(bs, image)) {
        error_setg(errp, "'%s' and image file are not in the same chain", device);
        return NULL;
    }
    return image;
}

static void coroutine_fn co_write_backing_name(BlockDriverState *image, const char *name,
                                               Error **errp)
{
    /* The format that is found there now, which need not be the one recorded so far. */
    const char *format = bdrv_get_format_name(bdrv_backing_chain_next(image));
    int ret = bdrv_co_change_backing_file(image, name, format, false);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not change backing file to '%s'", name);
    }
}

void coroutine_fn qmp_change_backing_file(const char *device, const char *image_node_name,
                                          const char *backing_file, Error **errp)
{
    CONTROL_PATH();
    BlockDriverState *image = find_overlay_to_change(device, image_node_name, errp);
    bool was_read_only = image && bdrv_is_read_only(image);
    if (!image ||
        (was_read_only && !bdrv_co_reopen_set_read_only(image, false, errp))) {
        return;
    }
    Error *local_err = NULL;
    co_write_backing_name(image, backing_file, &local_err);
    if (was_read_only) {
        Error *reopen_err = NULL;
        if (!bdrv_co_reopen_set_read_only(image, true, &reopen_err)) {
            warn_reportf_err(reopen_err, "Could not make node '%s' read-only again: ",
                             bdrv_get_node_name(image));
        }
    }
    error_propagate(errp, local_err);
}

/* ---- block-set-write-threshold --------------------------------------------------------------- */

void coroutine_fn qmp_block_set_write_threshold(const char *node_name, uint64_t write_threshold,
                                                Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(node_name);
    if (!bs) {
        error_setg(errp, "Device '%s' not found", node_name);
        return;
    }
    bdrv_write_threshold_set(bs, write_threshold);
}

/* ---- block_resize ---------------------------------------------------------------------------- */

void coroutine_fn qmp_block_resize(const char *device, const char *node_name, int64_t size,
                                   Error **errp)
{
    CONTROL_PATH();
    BdrvOwner owner = {
        .kind = BDRV_OWNER_OPERATION,
        .description = "command block_resize",
    };
    BlockDriverState *bs = bdrv_lookup_bs(device, node_name, errp);
    if (!bs) {
        return;
    }
    if (size < 0) {
        error_setg(errp, "Parameter 'size' expects a >0 size");
        return;
    }
    g_autoptr(BdrvClaim) claim = bdrv_claim(bs, owner, BLK_RIGHT_OP(BLOCK_OP_TYPE_RESIZE),
                                            BLK_RIGHT_OP(BLOCK_OP_TYPE_RESIZE),
                                            "block device is being resized", errp);
    BlockBackend *blk = claim ? blk_co_new_with_bs(bs, BLK_PERM_RESIZE, BLK_PERM_ALL, errp) : NULL;
    if (!blk) {
        return;
    }
    /* The backend keeps the node; other commands need not wait for the storage. */
    command_co_unlock();
    blk_co_truncate(blk, size, false, PREALLOC_MODE_OFF, 0, errp);
    command_co_lock();
    blk_co_unref(blk);
}

/* ---- x-blockdev-set-iothread ----------------------------------------------------------------- */

void coroutine_fn qmp_x_blockdev_set_iothread(const char *node_name, StrOrNull *iothread,
                                              bool has_force, bool force, Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(node_name);
    ParentSearch search = { NULL, NULL };
    if (!bs) {
        error_setg(errp, "Failed to find node with node-name='%s'", node_name);
        return;
    }
    bdrv_foreach_parent(bs, note_parent, &search);
    if (search.first_user && !(has_force && force)) {
        error_setg(errp, "Node %s is associated with a BlockBackend and could be in use (use "
                   "force=true to override this check)", node_name);
        bdrv_claim_append_hint(&search.first_user->claim, errp);
        return;
    }
    /* Requests run in the thread that makes them: a node belongs to none, so nothing moves. */
    if (iothread->type == QTYPE_QSTRING && !iothread_by_id(iothread->u.s)) {
        error_setg(errp, "Cannot find iothread %s", iothread->u.s);
    }
}
