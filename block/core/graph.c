/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Edges: linking, moving and unlinking them, with their undo; and walking them.
 *
 * Invariants: an edge's claim is in the list of the node the edge points to; an edge holds one
 * reference to that node; rank(node) = 1 + highest rank of its children (0 without any), hence
 * there is no cycle.
 */
#include "qemu/osdep.h"

#include "core-int.h"

#include "block/freeze.h"
#include "qemu/atomic.h"

/* ---- rank ------------------------------------------------------------------------------------ */

static int rank_from_children(const BlockDriverState *bs)
{
    BdrvChild *child;
    int rank = 0;
    QLIST_FOREACH(child, &bs->children, next) {
        rank = MAX(rank, child->bs->rank + 1);
    }
    return rank;
}

/* Children of @bs changed: correct its rank and those above. */
static void rank_update(BlockDriverState *bs)
{
    g_autoptr(GPtrArray) stack = g_ptr_array_new();
    g_ptr_array_add(stack, bs);
    while (stack->len) {
        BlockDriverState *node = g_ptr_array_steal_index_fast(stack, stack->len - 1);
        int rank = rank_from_children(node);
        if (rank == node->rank) {
            continue;
        }
        node->rank = rank;
        BdrvChild *edge;
        QTAILQ_FOREACH(edge, &node->parents, next_parent) {
            if (edge->parent) {
                g_ptr_array_add(stack, edge->parent);
            }
        }
    }
}

/*
 * Is @upper @lower itself or somewhere above it?  Only nodes of a rank up to @upper's can be
 * between.
 */
static bool is_at_or_above(const BlockDriverState *upper, BlockDriverState *lower)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    g_autoptr(GPtrArray) stack = g_ptr_array_new();
    g_ptr_array_add(stack, lower);
    while (stack->len) {
        BlockDriverState *node = g_ptr_array_steal_index_fast(stack, stack->len - 1);
        if (node == upper) {
            return true;
        }
        if (node->rank >= upper->rank || !g_hash_table_add(seen, node)) {
            continue;
        }
        BdrvChild *edge;
        QTAILQ_FOREACH(edge, &node->parents, next_parent) {
            if (edge->parent) {
                g_ptr_array_add(stack, edge->parent);
            }
        }
    }
    return false;
}

/* ---- links without undo ---------------------------------------------------------------------- */

/* bs->file and bs->backing are names for two children; debug filters name the file otherwise. */
static BdrvChild **shorthand_of(BlockDriverState *parent, const char *name)
{
    if (strcmp(name, "file") == 0 || strcmp(name, "image") == 0 || strcmp(name, "raw") == 0) {
        return &parent->file;
    }
    return strcmp(name, "backing") == 0 ? &parent->backing : NULL;
}

/* Does what the parent shows of @child reach others in turn? */
static bool is_overlay(const BdrvChild *child)
{
    return (child->role & BDRV_CHILD_COW) ||
           ((child->role & BDRV_CHILD_FILTERED) && child->parent && child->parent->drv &&
            child->parent->drv->is_filter);
}

static void link_below(BdrvChild *child, BlockDriverState *bs)
{
    child->bs = bdrv_ref(bs);
    child->counts_as_overlay = is_overlay(child);
    qatomic_add(&bs->n_overlays, child->counts_as_overlay);
    bdrv_chains_changed();
    QTAILQ_INSERT_TAIL(&bs->parents, child, next_parent);
    claim_link(&child->claim, bs);
}

/* Leaves the reference to the caller. */
static BlockDriverState *unlink_below(BdrvChild *child)
{
    BlockDriverState *bs = child->bs;
    claim_unlink(&child->claim);
    QTAILQ_REMOVE(&bs->parents, child, next_parent);
    qatomic_sub(&bs->n_overlays, child->counts_as_overlay);
    bdrv_chains_changed();
    child->bs = NULL;
    return bs;
}

static void link_above(BdrvChild *child)
{
    if (child->parent) {
        BdrvChild **shorthand = shorthand_of(child->parent, child->name);
        QLIST_INSERT_HEAD(&child->parent->children, child, next);
        if (shorthand) {
            *shorthand = child;
        }
        rank_update(child->parent);
        bdrv_refresh_filename(child->parent);
    }
}

static void unlink_above(BdrvChild *child)
{
    if (child->parent) {
        BdrvChild **shorthand = shorthand_of(child->parent, child->name);
        QLIST_REMOVE(child, next);
        if (shorthand && *shorthand == child) {
            *shorthand = NULL;
        }
        rank_update(child->parent);
        bdrv_refresh_filename(child->parent);
    }
}

static void child_free(BdrvChild *child)
{
    g_free(child->claim.reason);
    g_free(child->name);
    g_free(child);
}

/* What nobody else may do to a backing node; the rest is harmless below an overlay. */
static const BlockRights backing_forbids = BLK_RIGHTS_ALL_OPS &
    ~(BLK_RIGHT_OP(BLOCK_OP_TYPE_COMMIT_TARGET) | BLK_RIGHT_OP(BLOCK_OP_TYPE_STREAM) |
      BLK_RIGHT_OP(BLOCK_OP_TYPE_BACKUP_SOURCE) | BLK_RIGHT_OP(BLOCK_OP_TYPE_BACKUP_TARGET));

static BdrvChild *child_new(const BdrvChildSpec *spec)
{
    BdrvChild *child = g_new0(BdrvChild, 1);
    child->name = g_strdup(spec->name);
    child->role = spec->role;
    child->parent = spec->parent;
    child->gate = spec->gate;
    child->stays = spec->stays;
    child->claim.edge = child;
    child->claim.since_ns = g_get_monotonic_time() * 1000;
    if (spec->gate) {
        BdrvOwner owner = spec->gate->ops->owner(spec->gate);
        child->claim.kind = owner.kind;
        child->claim.key = owner.key;
        child->claim.uses = spec->perm;
        child->claim.forbids = ~spec->shared & BLK_PERM_ALL;
    } else {
        child->claim.kind = BDRV_OWNER_EDGE;
        child->claim.key = spec->parent->owner_key;
    }
    if (spec->role & BDRV_CHILD_COW) {
        child->claim.forbids |= backing_forbids;
        child->claim.reason = g_strdup_printf("node is used as backing hd of '%s'",
                                              bdrv_get_device_or_node_name(spec->parent));
    }
    return child;
}

/* ---- steps with undo ------------------------------------------------------------------------- */

static void link_abort(void *opaque)
{
    BdrvChild *child = opaque;
    unlink_above(child);
    bdrv_unref(unlink_below(child));
    child_free(child);
}

static const TransactionActionDrv link_step = { .abort = link_abort };

/* What another process may change cannot be built upon. */
static bool check_active(const BlockDriverState *parent, const char *name,
                         const BlockDriverState *bs, Error **errp)
{
    if (bs->inactive && parent && !parent->inactive) {
        error_setg(errp, "Inactive '%s' can't be a %s child of active '%s'", bs->node_name, name,
                   parent->node_name);
        return false;
    }
    return true;
}

/* A zone that takes writes in order only is no place for what writes in another order. */
static bool check_zones(const BlockDriverState *parent, const BlockDriverState *bs, Error **errp)
{
    if (parent && bs->bl.zones.model == BLK_Z_HM && !parent->drv->supports_zoned_children) {
        error_setg(errp, "Driver '%s' cannot use '%s', a host-managed zoned device",
                   parent->drv->format_name, bs->node_name);
        return false;
    }
    return true;
}

BdrvChild *graph_link(Transaction *tran, const BdrvChildSpec *spec, BlockDriverState *bs,
                      Error **errp)
{
    assert(!spec->parent != !spec->gate);
    if (!check_active(spec->parent, spec->name, bs, errp) ||
        !check_zones(spec->parent, bs, errp)) {
        return NULL;
    }
    if (spec->parent && is_at_or_above(bs, spec->parent)) {
        error_setg(errp, "Making '%s' a %s child of '%s' would create a cycle", bs->node_name,
                   spec->name, spec->parent->node_name);
        return NULL;
    }
    if (spec->parent && bs->heir_of == 0) {
        bs->heir_of = spec->parent->number; /* who opens a node is the first to use it */
    }
    BdrvChild *child = child_new(spec);
    link_below(child, bs);
    link_above(child);
    freeze_extend(child);
    tran_add(tran, &link_step, child);
    return child;
}

typedef struct Repoint {
    BdrvChild *child;
    BlockDriverState *old;
} Repoint;

static void repoint_commit(void *opaque)
{
    Repoint *step = opaque;
    bdrv_unref(step->old);
}

static void repoint_abort(void *opaque)
{
    Repoint *step = opaque;
    bdrv_unref(unlink_below(step->child));
    link_below(step->child, step->old);
    bdrv_unref(step->old);
    if (step->child->parent) {
        rank_update(step->child->parent);
        bdrv_refresh_filename(step->child->parent);
    }
}

static const TransactionActionDrv repoint_step = {
    .commit = repoint_commit,
    .abort = repoint_abort,
    .clean = g_free,
};

bool graph_repoint(Transaction *tran, BdrvChild *child, BlockDriverState *new_bs, Error **errp)
{
    if (!check_active(child->parent, child->name, new_bs, errp) ||
        !check_zones(child->parent, new_bs, errp)) {
        return false;
    }
    if (child->parent && is_at_or_above(new_bs, child->parent)) {
        error_setg(errp, "Making '%s' a %s child of '%s' would create a cycle", new_bs->node_name,
                   child->name, child->parent->node_name);
        return false;
    }
    Repoint *step = g_new(Repoint, 1);
    *step = (Repoint) { .child = child, .old = unlink_below(child) };
    link_below(child, new_bs);
    if (child->parent) {
        rank_update(child->parent);
        bdrv_refresh_filename(child->parent);
    }
    freeze_extend(child);
    tran_add(tran, &repoint_step, step);
    return true;
}

typedef struct Unlink {
    BdrvChild *child;
    BlockDriverState *bs; /* keeps the edge's reference */
} Unlink;

static void unlink_commit(void *opaque)
{
    Unlink *step = opaque;
    bdrv_unref(step->bs);
    child_free(step->child);
}

static void unlink_abort(void *opaque)
{
    Unlink *step = opaque;
    link_below(step->child, step->bs);
    bdrv_unref(step->bs);
    link_above(step->child);
}

static const TransactionActionDrv unlink_step = {
    .commit = unlink_commit,
    .abort = unlink_abort,
    .clean = g_free,
};

void graph_unlink(Transaction *tran, BdrvChild *child)
{
    Unlink *step = g_new(Unlink, 1);
    step->child = child;
    step->bs = child->bs;
    unlink_above(child);
    unlink_below(child);
    tran_add(tran, &unlink_step, step);
}

bool graph_move_parents(Transaction *tran, BlockDriverState *from, BlockDriverState *to,
                        Error **errp)
{
    BdrvChild *edge, *after;
    QTAILQ_FOREACH_SAFE(edge, &from->parents, next_parent, after) {
        /* Moving an edge at or below the replacement (its own backing) would close a loop. */
        if (edge->stays || (edge->parent && is_at_or_above(to, edge->parent))) {
            continue;
        }
        if (!graph_may_change(edge, errp) || !graph_repoint(tran, edge, to, errp)) {
            return false;
        }
    }
    return true;
}

bool graph_finish(Transaction *tran, bool ok)
{
    if (ok) {
        tran_commit(tran);
    } else {
        tran_abort(tran);
    }
    return ok;
}

bool graph_may_change(const BdrvChild *child, Error **errp)
{
    if (!child->parent) {
        return true;
    }
    BdrvClaim *claim;
    QTAILQ_FOREACH(claim, &child->parent->claims, next) {
        if (claim->forbids & BLK_RIGHT_CHANGE_CHILDREN) {
            error_setg(errp, "Cannot change frozen '%s' link from '%s' to '%s'", child->name,
                       child->parent->node_name, child->bs->node_name);
            bdrv_claim_append_hint(claim, errp);
            return false;
        }
    }
    return true;
}

/* ---- whole changes of one edge --------------------------------------------------------------- */

BdrvChild *coroutine_fn bdrv_co_attach_child(const BdrvChildSpec *spec, BlockDriverState *bs,
                                             Error **errp)
{
    CONTROL_PATH();
    g_autoptr(BlockDriverState) callers_reference = bs;
    g_autoptr(BdrvFreeze) freeze = spec->parent ? bdrv_co_freeze_node(spec->parent)
                                                : bdrv_co_freeze_gate(spec->gate);
    Transaction *tran = tran_new();
    BdrvChild *child = graph_link(tran, spec, bs, errp);
    BlockDriverState *touched[] = { bs, spec->parent };
    bool ok = child && claims_co_refresh(tran, touched, spec->parent ? 2 : 1, errp);
    if (!graph_finish(tran, ok)) {
        return NULL;
    }
    if (spec->parent) {
        bdrv_refresh_limits(spec->parent);
    }
    return child;
}

void coroutine_fn bdrv_co_detach_child(BdrvChild *child)
{
    if (!child) {
        return;
    }
    CONTROL_PATH();
    g_autoptr(BlockDriverState) bs = bdrv_ref(child->bs);
    g_autoptr(BlockDriverState) parent = child->parent ? bdrv_ref(child->parent) : NULL;
    g_autoptr(BdrvFreeze) freeze = parent ? bdrv_co_freeze_node(parent)
                                          : bdrv_co_freeze_gate(child->gate);
    Transaction *tran = tran_new();
    graph_unlink(tran, child);
    tran_commit(tran);
    /*
     * Claiming less below can fail only in a driver that cannot give up its host locks; it then
     * keeps them, which is safe.
     */
    bdrv_co_refresh_claims(bs, NULL);
}

bool coroutine_fn bdrv_co_replace_child(BdrvChild *child, BlockDriverState *new_bs, Error **errp)
{
    CONTROL_PATH();
    if (!graph_may_change(child, errp)) {
        return false;
    }
    g_autoptr(BlockDriverState) old_bs = bdrv_ref(child->bs);
    g_autoptr(BdrvFreeze) freeze = child->parent ? bdrv_co_freeze_node(child->parent)
                                                 : bdrv_co_freeze_gate(child->gate);
    BlockDriverState *touched[] = { old_bs, new_bs, child->parent };
    Transaction *tran = tran_new();
    bool ok = graph_repoint(tran, child, new_bs, errp) &&
              claims_co_refresh(tran, touched, child->parent ? 3 : 2, errp);
    if (!graph_finish(tran, ok)) {
        return false;
    }
    if (child->parent) {
        bdrv_refresh_limits(child->parent);
    }
    return true;
}

bool coroutine_fn bdrv_co_replace_node(BlockDriverState *from, BlockDriverState *to, Error **errp)
{
    CONTROL_PATH();
    BlockDriverState *touched[] = { from, to };
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze(touched, 2);
    Transaction *tran = tran_new();
    bool ok = graph_move_parents(tran, from, to, errp) &&
              claims_co_refresh(tran, touched, 2, errp);
    if (!graph_finish(tran, ok)) {
        return false;
    }
    bdrv_refresh_limits(to);
    return true;
}

/* ---- walking --------------------------------------------------------------------------------- */

BdrvChild *graph_find_child(const BlockDriverState *bs, const char *name)
{
    BdrvChild *child;
    QLIST_FOREACH(child, &bs->children, next) {
        if (strcmp(child->name, name) == 0) {
            return child;
        }
    }
    return NULL;
}

void bdrv_foreach_parent(BlockDriverState *bs, bool (*fn)(BdrvChild *edge, void *opaque),
                         void *opaque)
{
    BdrvChild *edge, *after;
    QTAILQ_FOREACH_SAFE(edge, &bs->parents, next_parent, after) {
        if (!fn(edge, opaque)) {
            return;
        }
    }
}

unsigned bdrv_parent_count(const BlockDriverState *bs)
{
    unsigned count = 0;
    BdrvChild *edge;
    QTAILQ_FOREACH(edge, &bs->parents, next_parent) {
        count++;
    }
    return count;
}

bool bdrv_has_node_parent(const BlockDriverState *bs)
{
    BdrvChild *edge;
    QTAILQ_FOREACH(edge, &bs->parents, next_parent) {
        if (edge->parent) {
            return true;
        }
    }
    return false;
}

bool bdrv_is_root_node(const BlockDriverState *bs)
{
    BdrvChild *edge;
    QTAILQ_FOREACH(edge, &bs->parents, next_parent) {
        if (edge->gate && edge->gate->is_job) {
            return false;
        }
        /* A filter that -drive inserted is no node to users. */
        if (edge->parent && !(edge->parent->implicit && bdrv_is_root_node(edge->parent))) {
            return false;
        }
    }
    return true;
}

/* ---- children that come and go --------------------------------------------------------------- */

/* A running job may rely on the children of @parent as they are. */
static bool children_may_change(BlockDriverState *parent, Error **errp)
{
    BdrvClaim *claim;
    QTAILQ_FOREACH(claim, &parent->claims, next) {
        if (claim->forbids & BLK_RIGHT_CHANGE_CHILDREN) {
            error_setg(errp, "Cannot change the children of '%s'", parent->node_name);
            bdrv_claim_append_hint(claim, errp);
            return false;
        }
    }
    return true;
}

bool coroutine_fn bdrv_co_add_child(BlockDriverState *parent, BlockDriverState *child_bs,
                                    Error **errp)
{
    CONTROL_PATH();
    if (!parent->drv || !parent->drv->bdrv_co_add_child) {
        error_setg(errp, "The node %s does not support adding a child",
                   bdrv_get_device_or_node_name(parent));
        return false;
    }
    if (!QTAILQ_EMPTY(&child_bs->parents)) {
        error_setg(errp, "The node %s already has a parent", child_bs->node_name);
        return false;
    }
    if (!children_may_change(parent, errp)) {
        return false;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(parent);
    return parent->drv->bdrv_co_add_child(parent, child_bs, errp);
}

bool coroutine_fn bdrv_co_del_child(BlockDriverState *parent, const char *name, Error **errp)
{
    CONTROL_PATH();
    BdrvChild *child;
    QLIST_FOREACH(child, &parent->children, next) {
        if (strcmp(child->name, name) == 0) {
            break;
        }
    }
    if (!child) {
        error_setg(errp, "Node '%s' does not have child '%s'",
                   bdrv_get_device_or_node_name(parent), name);
        return false;
    }
    if (!parent->drv || !parent->drv->bdrv_co_del_child) {
        error_setg(errp, "The node %s does not support removing a child",
                   bdrv_get_device_or_node_name(parent));
        return false;
    }
    if (!children_may_change(parent, errp)) {
        return false;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(parent);
    return parent->drv->bdrv_co_del_child(parent, child, errp);
}
