/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Active and inactive nodes: handing images over to another process and taking them back.
 *
 * An inactive node writes nothing, lets others write, and believes nothing of what it read: made
 * active it reads its metadata again.  All nodes of one call change in one freeze, or none.
 */
#include "qemu/osdep.h"

#include "core-int.h"

static int compare_rank(gconstpointer a, gconstpointer b)
{
    const BlockDriverState *x = *(BlockDriverState *const *)a;
    const BlockDriverState *y = *(BlockDriverState *const *)b;
    return x->rank - y->rank;
}

/* ---- the step, with undo --------------------------------------------------------------------- */

static void set_inactive(BlockDriverState *bs, bool inactive)
{
    bs->inactive = inactive;
    bs->open_flags = (bs->open_flags & ~BDRV_O_INACTIVE) | (inactive ? BDRV_O_INACTIVE : 0);
    if (bs->options) {
        bs->options->active = !inactive;
    }
}

static void undo_activate(void *opaque)
{
    set_inactive(opaque, true);
}

static void undo_inactivate(void *opaque)
{
    set_inactive(opaque, false);
}

static const TransactionActionDrv activate_step = { .abort = undo_activate };
static const TransactionActionDrv inactivate_step = { .abort = undo_inactivate };

static BlockDriverState **nodes_of(GPtrArray *nodes)
{
    return (BlockDriverState **)nodes->pdata;
}

static bool coroutine_fn co_switch(Transaction *tran, GPtrArray *nodes, bool inactive,
                                   Error **errp)
{
    for (unsigned i = 0; i < nodes->len; i++) {
        BlockDriverState *bs = g_ptr_array_index(nodes, i);
        set_inactive(bs, inactive);
        tran_add(tran, inactive ? &inactivate_step : &activate_step, bs);
    }
    return claims_co_refresh(tran, nodes_of(nodes), nodes->len, errp);
}

/* ---- activation ------------------------------------------------------------------------------ */

/* The inactive nodes at and below @bs. */
static GPtrArray *inactive_below(BlockDriverState *bs)
{
    GPtrArray *nodes = g_ptr_array_new();
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    g_autoptr(GPtrArray) stack = g_ptr_array_new();
    g_ptr_array_add(stack, bs);
    while (stack->len) {
        BlockDriverState *node = g_ptr_array_steal_index_fast(stack, stack->len - 1);
        if (!g_hash_table_add(seen, node)) {
            continue;
        }
        if (node->inactive && node->drv) {
            g_ptr_array_add(nodes, node);
        }
        BdrvChild *child;
        QLIST_FOREACH(child, &node->children, next) {
            g_ptr_array_add(stack, child->bs);
        }
    }
    return nodes;
}

/* From the bottom up, since metadata of a node lies in those below. */
static bool coroutine_fn co_read_again(GPtrArray *nodes, Error **errp)
{
    g_ptr_array_sort(nodes, compare_rank);
    for (unsigned i = 0; i < nodes->len; i++) {
        BlockDriverState *bs = g_ptr_array_index(nodes, i);
        if (bs->drv->bdrv_co_activate && !bs->drv->bdrv_co_activate(bs, errp)) {
            error_prepend(errp, "Could not activate node '%s': ", bs->node_name);
            return false;
        }
        int64_t len = bdrv_co_refresh_length(bs);
        if (len < 0 && len != -ENOMEDIUM) {
            error_setg_errno(errp, -len, "Could not get the length of node '%s'", bs->node_name);
            return false;
        }
    }
    return true;
}

static bool coroutine_fn co_activate_nodes(GPtrArray *nodes, Error **errp)
{
    if (nodes->len == 0) {
        return true;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze(nodes_of(nodes), nodes->len);
    Transaction *tran = tran_new();
    bool ok = co_switch(tran, nodes, false, errp) && co_read_again(nodes, errp);
    if (!graph_finish(tran, ok)) {
        return false;
    }
    /* Other layers may have content now. */
    bdrv_chains_changed();
    for (unsigned i = 0; i < nodes->len; i++) {
        bdrv_refresh_limits(g_ptr_array_index(nodes, i));
        bdrv_refresh_filename(g_ptr_array_index(nodes, i));
    }
    return true;
}

bool coroutine_fn bdrv_co_activate(BlockDriverState *bs, Error **errp)
{
    CONTROL_PATH();
    g_autoptr(GPtrArray) nodes = inactive_below(bs);
    return co_activate_nodes(nodes, errp);
}

bool coroutine_fn bdrv_co_activate_all(Error **errp)
{
    CONTROL_PATH();
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    BlockDriverState *bs;
    for (bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        if (bs->inactive && bs->drv) {
            g_ptr_array_add(nodes, bs);
        }
    }
    return co_activate_nodes(nodes, errp);
}

/* ---- inactivation ---------------------------------------------------------------------------- */

static bool has_active_parent(const BlockDriverState *bs, GHashTable *leaving)
{
    BdrvChild *edge;
    QTAILQ_FOREACH(edge, &bs->parents, next_parent) {
        if (edge->parent && !edge->parent->inactive &&
            !(leaving && g_hash_table_contains(leaving, edge->parent))) {
            return true;
        }
    }
    return false;
}

/*
 * @bs and what only it and other nodes of the list use.  A node is looked at when one of its
 * parents joins the list, at the latest the last of them.
 */
static GPtrArray *active_below(BlockDriverState *bs)
{
    GPtrArray *nodes = g_ptr_array_new();
    g_autoptr(GHashTable) leaving = g_hash_table_new(NULL, NULL);
    g_hash_table_add(leaving, bs);
    g_ptr_array_add(nodes, bs);
    for (unsigned i = 0; i < nodes->len; i++) {
        BlockDriverState *node = g_ptr_array_index(nodes, i);
        BdrvChild *child;
        QLIST_FOREACH(child, &node->children, next) {
            if (!child->bs->inactive && !has_active_parent(child->bs, leaving) &&
                g_hash_table_add(leaving, child->bs)) {
                g_ptr_array_add(nodes, child->bs);
            }
        }
    }
    return nodes;
}

/* Nobody may go on writing to what another process is going to own. */
static bool check_no_writer(BlockDriverState *bs, Error **errp)
{
    const BlockRights writing = BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED | BLK_PERM_RESIZE;
    BdrvChild *edge;
    QTAILQ_FOREACH(edge, &bs->parents, next_parent) {
        if (edge->gate && (edge->claim.uses & writing)) {
            error_setg_errno(errp, EPERM, "Failed to inactivate node");
            error_append_hint(errp, "Node '%s' is being written.\n", bs->node_name);
            bdrv_claim_append_hint(&edge->claim, errp);
            return false;
        }
    }
    return true;
}

/* From the top down: what an upper node writes back goes to those below. */
static bool coroutine_fn co_write_back(GPtrArray *nodes, Error **errp)
{
    g_ptr_array_sort(nodes, compare_rank);
    for (unsigned i = nodes->len; i > 0; i--) {
        BlockDriverState *bs = g_ptr_array_index(nodes, i - 1);
        int ret = bs->drv->bdrv_co_inactivate ? bs->drv->bdrv_co_inactivate(bs) : 0;
        if (ret >= 0) {
            ret = bdrv_co_flush(bs);
        }
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Failed to inactivate node");
            error_append_hint(errp, "Node '%s' could not be written back.\n", bs->node_name);
            return false;
        }
    }
    return true;
}

static bool coroutine_fn co_inactivate_nodes(GPtrArray *nodes, Error **errp)
{
    for (unsigned i = 0; i < nodes->len; i++) {
        if (!check_no_writer(g_ptr_array_index(nodes, i), errp)) {
            return false;
        }
    }
    if (nodes->len == 0) {
        return true;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze(nodes_of(nodes), nodes->len);
    if (!co_write_back(nodes, errp)) {
        return false;
    }
    Transaction *tran = tran_new();
    return graph_finish(tran, co_switch(tran, nodes, true, errp));
}

bool coroutine_fn bdrv_co_inactivate(BlockDriverState *bs, Error **errp)
{
    CONTROL_PATH();
    if (bs->inactive) {
        return true;
    }
    if (has_active_parent(bs, NULL)) {
        error_setg(errp, "Node has active parent node");
        return false;
    }
    g_autoptr(GPtrArray) nodes = active_below(bs);
    return co_inactivate_nodes(nodes, errp);
}

bool coroutine_fn bdrv_co_inactivate_all(Error **errp)
{
    CONTROL_PATH();
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    BlockDriverState *bs;
    for (bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        if (!bs->inactive && bs->drv) {
            g_ptr_array_add(nodes, bs);
        }
    }
    return co_inactivate_nodes(nodes, errp);
}
