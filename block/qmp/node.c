/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes: blockdev-add, blockdev-del, blockdev-set-active, blockdev-reopen, block_resize.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/blockdev.h"
#include "block/graph.h"
#include "qapi/gen/block-core-commands.h"
#include "qapi/gen/block-core-visit.h"
#include "qapi/object-output.h"

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

/* "Node x is in use" leaves open by whom: the hint says it. */
static void add_holder_hint(const BdrvChild *edge, Error **errp)
{
    g_autofree char *remedy = bdrv_claim_remedy(&edge->claim);
    g_autofree char *holder = NULL;
    if (edge->parent) {
        holder = g_strdup_printf("node '%s'", bdrv_get_node_name(edge->parent));
    } else {
        BdrvOwner owner = edge->gate->ops->owner(edge->gate);
        holder = g_strdup(owner.description);
    }
    error_append_hint(errp, "Held by %s (as '%s') for %.1f seconds; to end that: %s\n", holder,
                      edge->name, bdrv_claim_age(&edge->claim), remedy);
}

static bool may_delete(BlockDriverState *bs, Error **errp)
{
    ParentSearch search = { NULL, NULL };
    bdrv_foreach_parent(bs, note_parent, &search);
    if (search.first_user) {
        error_setg(errp, "Node %s is in use", bdrv_get_node_name(bs));
        add_holder_hint(search.first_user, errp);
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
        add_holder_hint(search.first, errp);
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
    if (blk) {
        blk_co_truncate(blk, size, false, PREALLOC_MODE_OFF, 0, errp);
        blk_co_unref(blk);
    }
}
