/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Claims of edges: what a node claims below follows from what is claimed on it.  A change is
 * recomputed from the highest rank down, over all nodes it reaches, and holds for all or for none.
 */
#include "qemu/osdep.h"

#include "core-int.h"

void claims_sum_edges(const BlockDriverState *bs, BlockRights *uses, BlockRights *shared)
{
    BdrvChild *edge;
    *uses = 0;
    *shared = BLK_PERM_ALL;
    QTAILQ_FOREACH(edge, &bs->parents, next_parent) {
        *uses |= edge->claim.uses & BLK_PERM_ALL;
        *shared &= ~edge->claim.forbids;
    }
}

static BdrvChildClaims filter_claims(BlockRights uses, BlockRights shared)
{
    return (BdrvChildClaims) { .uses = uses & BLK_PERM_ALL, .shared = shared & BLK_PERM_ALL };
}

/*
 * An overlay only reads its backing node, and needs what it reads to stay the same exactly if its
 * own users do.
 */
static BdrvChildClaims cow_claims(const BlockDriverState *bs, BlockRights uses, BlockRights shared)
{
    BdrvChildClaims claims = {
        .uses = uses & BLK_PERM_CONSISTENT_READ,
        .shared = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED,
    };
    if ((shared & BLK_PERM_WRITE) || bs->inactive) {
        claims.shared |= BLK_PERM_WRITE | BLK_PERM_RESIZE;
    }
    return claims;
}

/* A format's file: metadata may be written at any time, and nobody else may touch it. */
static BdrvChildClaims storage_claims(const BlockDriverState *bs, BdrvChildRole role,
                                      BlockRights uses, BlockRights shared)
{
    BdrvChildClaims claims = filter_claims(uses, shared);
    if (role & BDRV_CHILD_METADATA) {
        if (bdrv_is_writable(bs)) {
            claims.uses |= BLK_PERM_WRITE | BLK_PERM_RESIZE;
        }
        if (!(bs->open_flags & BDRV_O_NO_IO)) {
            claims.uses |= BLK_PERM_CONSISTENT_READ;
        }
        claims.shared &= ~(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    }
    if (role & BDRV_CHILD_DATA) {
        /* A write to new space may have to grow the file. */
        if (claims.uses & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED)) {
            claims.uses |= BLK_PERM_RESIZE;
        }
        claims.shared &= ~BLK_PERM_RESIZE;
    }
    /* What a write-unchanged user does is a plain write to the file. */
    if (claims.uses & BLK_PERM_WRITE_UNCHANGED) {
        claims.uses |= BLK_PERM_WRITE;
    }
    if (bs->inactive) {
        claims.shared |= BLK_PERM_WRITE | BLK_PERM_RESIZE;
    }
    return claims;
}

BdrvChildClaims bdrv_default_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                          BdrvChildRole role, BlockRights parent_uses,
                                          BlockRights parent_shared)
{
    if (role & BDRV_CHILD_FILTERED) {
        return filter_claims(parent_uses, parent_shared);
    }
    if (role & BDRV_CHILD_COW) {
        return cow_claims(bs, parent_uses, parent_shared);
    }
    if (role & BDRV_CHILD_IMAGE) {
        return storage_claims(bs, role, parent_uses, parent_shared);
    }
    return (BdrvChildClaims) { .uses = 0, .shared = BLK_PERM_ALL };
}

/* Can the node itself do what its users want? */
static bool node_can_bear(BlockDriverState *bs, BlockRights uses, Error **errp)
{
    BlockRights writes = uses & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED);
    BlockRights changes = writes | (uses & BLK_PERM_RESIZE);
    if (bs->inactive && changes) {
        g_autofree char *names = bdrv_rights_text(changes);
        error_setg(errp, "Permission '%s' unavailable on inactive node", names);
        return false;
    }
    if (writes && bs->becomes_read_only) {
        error_setg(errp, "Read-only block node '%s' cannot support read-write users",
                   bs->node_name);
        return false;
    }
    if (writes && bs->read_only) {
        error_setg(errp, "Block node is read-only");
        return false;
    }
    if (writes && !(uses & BLK_PERM_RESIZE) && bs->bl.request_alignment &&
        bdrv_getlength(bs) > 0 && bdrv_getlength(bs) % bs->bl.request_alignment) {
        error_setg(errp, "Cannot get 'write' permission without 'resize': Image size is not a "
                   "multiple of request alignment");
        return false;
    }
    return true;
}

typedef struct ClaimUndo {
    BdrvClaim *claim;
    BlockRights uses, forbids;
} ClaimUndo;

static void claim_undo(void *opaque)
{
    ClaimUndo *undo = opaque;
    claim_assign(undo->claim, undo->uses, undo->forbids);
}

static const TransactionActionDrv claim_change = { .abort = claim_undo, .clean = g_free };

void claim_assign_tran(Transaction *tran, BdrvClaim *claim, BlockRights uses, BlockRights forbids)
{
    ClaimUndo *undo = g_new(ClaimUndo, 1);
    *undo = (ClaimUndo) { .claim = claim, .uses = claim->uses, .forbids = claim->forbids };
    tran_add(tran, &claim_change, undo);
    claim_assign(claim, uses, forbids);
}

/* The sum of a protocol node's claims, between check_perm and set_perm or abort. */
typedef struct PermUpdate {
    BlockDriverState *bs;
    BlockRights uses, shared;
} PermUpdate;

static void perm_update_commit(void *opaque)
{
    PermUpdate *update = opaque;
    if (update->bs->drv->bdrv_set_perm) {
        update->bs->drv->bdrv_set_perm(update->bs, update->uses, update->shared);
    }
}

static void perm_update_abort(void *opaque)
{
    PermUpdate *update = opaque;
    if (update->bs->drv->bdrv_abort_perm_update) {
        update->bs->drv->bdrv_abort_perm_update(update->bs);
    }
}

static const TransactionActionDrv perm_update = {
    .commit = perm_update_commit,
    .abort = perm_update_abort,
    .clean = g_free,
};

static bool coroutine_fn tell_driver(Transaction *tran, BlockDriverState *bs, Error **errp)
{
    BlockRights uses, shared;
    claims_sum_edges(bs, &uses, &shared);
    if (bs->drv->bdrv_co_check_perm && !bs->drv->bdrv_co_check_perm(bs, uses, shared, errp)) {
        return false;
    }
    PermUpdate *update = g_new(PermUpdate, 1);
    *update = (PermUpdate) { .bs = bs, .uses = uses, .shared = shared };
    tran_add(tran, &perm_update, update);
    return true;
}

/* Nodes still to be looked at, highest rank first, so that each is done once, after its parents. */
typedef struct RankQueue {
    GSequence *by_rank;
    GHashTable *members;
} RankQueue;

static int compare_rank(gconstpointer a, gconstpointer b, gpointer unused)
{
    const BlockDriverState *x = a, *y = b;
    return x->rank == y->rank ? (x > y) - (x < y) : y->rank - x->rank;
}

static void rank_queue_add(RankQueue *queue, BlockDriverState *bs)
{
    if (g_hash_table_add(queue->members, bs)) {
        g_sequence_insert_sorted(queue->by_rank, bs, compare_rank, NULL);
    }
}

static BlockDriverState *rank_queue_pop(RankQueue *queue)
{
    GSequenceIter *first = g_sequence_get_begin_iter(queue->by_rank);
    if (g_sequence_iter_is_end(first)) {
        return NULL;
    }
    BlockDriverState *bs = g_sequence_get(first);
    g_sequence_remove(first);
    g_hash_table_remove(queue->members, bs);
    return bs;
}

/* What @bs claims of its children, given what is claimed of it; queues those that changed. */
static void claim_children(Transaction *tran, BlockDriverState *bs, RankQueue *queue)
{
    BlockRights uses, shared;
    BdrvChild *child;
    claims_sum_edges(bs, &uses, &shared);
    QLIST_FOREACH(child, &bs->children, next) {
        BdrvChildClaims new = bs->drv && bs->drv->bdrv_child_claims
            ? bs->drv->bdrv_child_claims(bs, child, child->role, uses, shared)
            : bdrv_default_child_claims(bs, child, child->role, uses, shared);
        if (child->bs->force_share) {
            new.shared = BLK_PERM_ALL;
        }
        BlockRights forbids = (~new.shared & BLK_PERM_ALL) |
                              (child->claim.forbids & ~(BlockRights)BLK_PERM_ALL);
        if (child->claim.uses != new.uses || child->claim.forbids != forbids) {
            claim_assign_tran(tran, &child->claim, new.uses, forbids);
            rank_queue_add(queue, child->bs);
        }
    }
}

static bool coroutine_fn refresh_queue(Transaction *tran, RankQueue *queue, GPtrArray *to_tell,
                                       Error **errp)
{
    BlockDriverState *bs;
    while ((bs = rank_queue_pop(queue))) {
        BlockRights uses, shared;
        claims_sum_edges(bs, &uses, &shared);
        if (!claims_agree(bs, errp) || !node_can_bear(bs, uses, errp)) {
            return false;
        }
        if (bs->drv && bs->drv->bdrv_co_before_claims) {
            bs->drv->bdrv_co_before_claims(bs, uses);
        }
        claim_children(tran, bs, queue);
        if (bs->drv && (bs->drv->bdrv_co_check_perm || bs->drv->bdrv_set_perm)) {
            g_ptr_array_add(to_tell, bs);
        }
    }
    /* Host locks come last: by now nothing in this process stands in the way. */
    for (unsigned i = 0; i < to_tell->len; i++) {
        if (!tell_driver(tran, g_ptr_array_index(to_tell, i), errp)) {
            return false;
        }
    }
    return true;
}

bool coroutine_fn claims_co_refresh(Transaction *tran, BlockDriverState *const *nodes, size_t n,
                                    Error **errp)
{
    RankQueue queue = {
        .by_rank = g_sequence_new(NULL),
        .members = g_hash_table_new(NULL, NULL),
    };
    GPtrArray *to_tell = g_ptr_array_new();
    for (size_t i = 0; i < n; i++) {
        rank_queue_add(&queue, nodes[i]);
    }
    bool ok = refresh_queue(tran, &queue, to_tell, errp);
    g_ptr_array_free(to_tell, TRUE);
    g_hash_table_destroy(queue.members);
    g_sequence_free(queue.by_rank);
    return ok;
}

bool coroutine_fn bdrv_co_refresh_claims(BlockDriverState *bs, Error **errp)
{
    CONTROL_PATH();
    Transaction *tran = tran_new();
    return graph_finish(tran, claims_co_refresh(tran, &bs, 1, errp));
}

bool coroutine_fn bdrv_co_child_set_perm(BdrvChild *child, uint64_t perm, uint64_t shared,
                                         Error **errp)
{
    CONTROL_PATH();
    assert(child->gate);
    Transaction *tran = tran_new();
    BlockRights forbids = (~shared & BLK_PERM_ALL) |
                          (child->claim.forbids & ~(BlockRights)BLK_PERM_ALL);
    claim_assign_tran(tran, &child->claim, perm, forbids);
    return graph_finish(tran, claims_co_refresh(tran, &child->bs, 1, errp));
}
