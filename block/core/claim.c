/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Claims: who does what to a node and keeps others from doing what.
 *
 * A node's claims are a list, oldest first.  Beside it, for each operation type, stand those that
 * forbid it, latest first, since the latest blocker is the one reported.
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "qemu/cutils.h"

/* ---- names of rights ------------------------------------------------------------------------- */

static const char *const op_names[BLOCK_OP_TYPE_MAX] = {
    [BLOCK_OP_TYPE_BACKUP_SOURCE] = "backup-source",
    [BLOCK_OP_TYPE_BACKUP_TARGET] = "backup-target",
    [BLOCK_OP_TYPE_CHANGE] = "change",
    [BLOCK_OP_TYPE_COMMIT_SOURCE] = "commit-source",
    [BLOCK_OP_TYPE_COMMIT_TARGET] = "commit-target",
    [BLOCK_OP_TYPE_DRIVE_DEL] = "drive-del",
    [BLOCK_OP_TYPE_EJECT] = "eject",
    [BLOCK_OP_TYPE_EXTERNAL_SNAPSHOT] = "external-snapshot",
    [BLOCK_OP_TYPE_INTERNAL_SNAPSHOT] = "internal-snapshot",
    [BLOCK_OP_TYPE_INTERNAL_SNAPSHOT_DELETE] = "internal-snapshot-delete",
    [BLOCK_OP_TYPE_MIRROR_SOURCE] = "mirror-source",
    [BLOCK_OP_TYPE_MIRROR_TARGET] = "mirror-target",
    [BLOCK_OP_TYPE_RESIZE] = "resize",
    [BLOCK_OP_TYPE_STREAM] = "stream",
    [BLOCK_OP_TYPE_REPLACE] = "replace",
};

/* Schema word and the words of error texts. */
static const struct {
    const char *word, *text;
} data_right_names[] = {
    { "consistent-read", "consistent read" },
    { "write", "write" },
    { "write-unchanged", "write unchanged" },
    { "resize", "resize" },
    { "change-children", "change children" },
};

const char *bdrv_op_name(BlockOpType op)
{
    assert(op >= 0 && op < BLOCK_OP_TYPE_MAX);
    return op_names[op];
}

const char *bdrv_right_name(BlockRights right)
{
    for (size_t i = 0; i < ARRAY_SIZE(data_right_names); i++) {
        if (right == UINT64_C(1) << i) {
            return data_right_names[i].word;
        }
    }
    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        if (right == BLK_RIGHT_OP(op)) {
            return op_names[op];
        }
    }
    return NULL;
}

char *bdrv_rights_text(BlockRights rights)
{
    GString *text = g_string_new("");
    for (size_t i = 0; i < ARRAY_SIZE(data_right_names); i++) {
        if (rights & UINT64_C(1) << i) {
            g_string_append_printf(text, "%s%s", text->len ? ", " : "", data_right_names[i].text);
        }
    }
    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        if (rights & BLK_RIGHT_OP(op)) {
            g_string_append_printf(text, "%s%s", text->len ? ", " : "", op_names[op]);
        }
    }
    return g_string_free(text, FALSE);
}

/* ---- the list of one node -------------------------------------------------------------------- */

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec;
}

static void op_list_insert(BdrvClaim *claim, BlockOpType op)
{
    struct BdrvOpBlockerList *entry = g_new(struct BdrvOpBlockerList, 1);
    entry->claim = claim;
    entry->next = claim->node->op_blockers[op];
    claim->node->op_blockers[op] = entry;
}

static void op_list_remove(BdrvClaim *claim, BlockOpType op)
{
    struct BdrvOpBlockerList **link = &claim->node->op_blockers[op];
    while ((*link)->claim != claim) {
        link = &(*link)->next;
    }
    struct BdrvOpBlockerList *gone = *link;
    *link = gone->next;
    g_free(gone);
}

void claim_link(BdrvClaim *claim, BlockDriverState *bs)
{
    claim->node = bs;
    QTAILQ_INSERT_TAIL(&bs->claims, claim, next);
    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        if (claim->forbids & BLK_RIGHT_OP(op)) {
            op_list_insert(claim, op);
        }
    }
}

void claim_unlink(BdrvClaim *claim)
{
    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        if (claim->forbids & BLK_RIGHT_OP(op)) {
            op_list_remove(claim, op);
        }
    }
    QTAILQ_REMOVE(&claim->node->claims, claim, next);
    claim->node = NULL;
}

void claim_assign(BdrvClaim *claim, BlockRights uses, BlockRights forbids)
{
    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        BlockRights bit = BLK_RIGHT_OP(op);
        if ((forbids & bit) && !(claim->forbids & bit)) {
            op_list_insert(claim, op);
        } else if (!(forbids & bit) && (claim->forbids & bit)) {
            op_list_remove(claim, op);
        }
    }
    claim->uses = uses;
    claim->forbids = forbids;
}

void claim_forbid_op(BdrvClaim *claim, BlockOpType op)
{
    /* Blocking again makes it the latest, as if it were a second entry at the head. */
    claim_assign(claim, claim->uses, claim->forbids & ~BLK_RIGHT_OP(op));
    claim_assign(claim, claim->uses, claim->forbids | BLK_RIGHT_OP(op));
}

BdrvClaim *claim_new(BlockDriverState *bs, BdrvOwner owner, const char *reason)
{
    BdrvClaim *claim = g_new0(BdrvClaim, 1);
    claim->kind = owner.kind;
    claim->key = owner.key;
    claim->id = g_strdup(owner.id);
    claim->description = g_strdup(owner.description);
    claim->reason = g_strdup(reason);
    claim->since_ns = now_ns();
    claim_link(claim, bs);
    return claim;
}

void bdrv_claim_release(BdrvClaim *claim)
{
    if (!claim) {
        return;
    }
    assert(!claim->edge);
    claim_unlink(claim);
    g_free(claim->id);
    g_free(claim->description);
    g_free(claim->reason);
    g_free(claim);
}

void bdrv_claim_foreach(BlockDriverState *bs, bool (*fn)(const BdrvClaim *claim, void *opaque),
                        void *opaque)
{
    BdrvClaim *claim;
    QTAILQ_FOREACH(claim, &bs->claims, next) {
        if (!fn(claim, opaque)) {
            return;
        }
    }
}

void bdrv_get_cumulative_rights(BlockDriverState *bs, BlockRights *uses, BlockRights *forbids)
{
    BdrvClaim *claim;
    *uses = *forbids = 0;
    QTAILQ_FOREACH(claim, &bs->claims, next) {
        *uses |= claim->uses;
        *forbids |= claim->forbids;
    }
}

double bdrv_claim_age(const BdrvClaim *claim)
{
    return (now_ns() - claim->since_ns) / (double)NANOSECONDS_PER_SECOND;
}

/* ---- who holds a claim, for people ----------------------------------------------------------- */

/* An edge's holder is asked now, since names of backends and devices change. */
static BdrvOwner edge_owner(const BdrvChild *edge)
{
    if (edge->gate) {
        return edge->gate->ops->owner(edge->gate);
    }
    return (BdrvOwner) {
        .kind = BDRV_OWNER_EDGE,
        .key = edge->parent->owner_key,
        .id = edge->parent->node_name,
    };
}

BdrvOwner bdrv_claim_owner(const BdrvClaim *claim)
{
    if (claim->edge) {
        return edge_owner(claim->edge);
    }
    return (BdrvOwner) {
        .kind = claim->kind,
        .key = claim->key,
        .id = claim->id,
        .description = claim->description,
    };
}

char *bdrv_claim_holder(const BdrvClaim *claim)
{
    if (!claim->edge) {
        return g_strdup(claim->description ? claim->description : "somebody unknown");
    }
    if (claim->edge->parent) {
        return g_strdup_printf("node '%s'", claim->edge->parent->node_name);
    }
    BdrvOwner owner = edge_owner(claim->edge);
    return g_strdup(owner.description ? owner.description : "an unnamed block device");
}

/* Both sides of a permission conflict are told with the edge they come by. */
static char *claim_user_text(const BdrvClaim *claim)
{
    g_autofree char *holder = bdrv_claim_holder(claim);
    if (!claim->edge) {
        return g_steal_pointer(&holder);
    }
    return g_strdup_printf("%s (uses node '%s' as '%s' child)", holder, claim->node->node_name,
                           claim->edge->name);
}

/* The job that inserted the filter by which @claim comes: it is whom the user knows. */
static BdrvGate *job_of_filter(const BdrvClaim *claim)
{
    BdrvGate *gate;
    const void *key = claim->edge && claim->edge->parent ? claim->edge->parent->owner_key : NULL;
    if (!key) {
        return NULL;
    }
    QTAILQ_FOREACH(gate, &bdrv_graph()->gates, next) {
        if (gate->is_job && gate->ops->owner(gate).key == key) {
            return gate;
        }
    }
    return NULL;
}

char *bdrv_claim_remedy(const BdrvClaim *claim)
{
    BdrvGate *job = job_of_filter(claim);
    BdrvOwner owner = job ? job->ops->owner(job) : bdrv_claim_owner(claim);
    const char *id = owner.id ? owner.id : "";
    switch (owner.kind) {
    case BDRV_OWNER_JOB:
        return g_strdup_printf("wait for job '%s', or job-cancel id=%s", id, id);
    case BDRV_OWNER_EXPORT:
        return g_strdup_printf("block-export-del id=%s", id);
    case BDRV_OWNER_DEVICE:
        return g_strdup_printf("unplug the device or eject its medium (block device '%s')", id);
    case BDRV_OWNER_EDGE:
        return g_strdup_printf("remove node '%s' (blockdev-del node-name=%s)", id, id);
    case BDRV_OWNER_OPERATION:
        return g_strdup("wait until the running operation has ended");
    case BDRV_OWNER_OP_BLOCKER:
        return g_strdup("wait until the user of the node has finished");
    case BDRV_OWNER_DRIVER:
        return g_strdup("nothing: this image cannot bear it");
    case BDRV_OWNER_MIGRATION:
        return g_strdup("wait for the migration, or migrate_cancel");
    default:
        return g_strdup("end the command or program that uses the node");
    }
}

/* With the id that the next command needs, where the sentences that clients know have none. */
char *bdrv_claim_holder_with_id(const BdrvClaim *claim)
{
    BdrvGate *job = job_of_filter(claim);
    BdrvOwner owner = bdrv_claim_owner(claim);
    if (job) {
        return g_strdup_printf("%s (its node '%s')", job->ops->owner(job).description,
                               claim->edge->parent->node_name);
    }
    if (owner.kind == BDRV_OWNER_EXPORT) {
        return g_strdup_printf("export '%s'", owner.id);
    }
    return bdrv_claim_holder(claim);
}

void bdrv_claim_append_hint(const BdrvClaim *claim, Error **errp)
{
    g_autofree char *holder = bdrv_claim_holder_with_id(claim);
    g_autofree char *remedy = bdrv_claim_remedy(claim);
    error_append_hint(errp, "Held by %s for %.1f seconds; to end that: %s\n", holder,
                      bdrv_claim_age(claim), remedy);
}

void bdrv_append_users_hint(BlockDriverState *bs, Error **errp)
{
    BdrvChild *edge;
    QTAILQ_FOREACH(edge, &bs->parents, next_parent) {
        if (edge->parent || edge->gate->is_job) {
            bdrv_claim_append_hint(&edge->claim, errp);
        }
    }
}

/* All that are in the way of @op, not only the one that is reported: one line for each holder. */
static void append_op_holders(const BdrvClaim *reported, BlockOpType op, Error **errp)
{
    struct BdrvOpBlockerList *entry;
    for (entry = reported->node->op_blockers[op]; entry; entry = entry->next) {
        const BdrvClaim *claim = entry->claim;
        if (claim == reported || !reported->key || claim->key != reported->key) {
            bdrv_claim_append_hint(claim, errp);
        }
    }
}

void claim_report_busy(const BdrvClaim *holder, BlockOpType op, Error **errp)
{
    const char *node = bdrv_get_device_or_node_name(holder->node);
    if (holder->seed_reason) {
        error_propagate_prepend(errp, error_copy(holder->seed_reason), "Node '%s' is busy: ", node);
    } else {
        error_setg(errp, "Node '%s' is busy: %s", node,
                   holder->reason ? holder->reason : "node is in use");
    }
    append_op_holders(holder, op, errp);
}

static void report_permission(const BdrvClaim *user, const BdrvClaim *forbidder,
                              BlockRights rights, Error **errp)
{
    g_autofree char *names = bdrv_rights_text(rights);
    g_autofree char *user_text = claim_user_text(user);
    g_autofree char *forbidder_text = claim_user_text(forbidder);
    error_setg(errp, "Permission conflict on node '%s': permissions '%s' are both required by %s "
               "and unshared by %s.", user->node->node_name, names, user_text, forbidder_text);
    bdrv_claim_append_hint(forbidder, errp);
}

/* ---- the rule -------------------------------------------------------------------------------- */

static bool same_owner(const BdrvClaim *a, const BdrvClaim *b)
{
    return a == b || (a->key && a->key == b->key);
}

bool claim_conflict(const BdrvClaim *a, const BdrvClaim *b)
{
    return !same_owner(a, b) && ((a->uses & b->forbids) || (b->uses & a->forbids));
}

BdrvClaim *claim_find_op_blocker(BlockDriverState *bs, BlockOpType op, const BdrvClaim *asker)
{
    struct BdrvOpBlockerList *entry;
    for (entry = bs->op_blockers[op]; entry; entry = entry->next) {
        if (!asker || !same_owner(asker, entry->claim)) {
            return entry->claim;
        }
    }
    return NULL;
}

/* Operations are asked: against what is forbidden now, and in this direction only. */
static bool ops_allowed(BlockDriverState *bs, BlockRights ops, const BdrvClaim *asker, Error **errp)
{
    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        if (ops & BLK_RIGHT_OP(op)) {
            BdrvClaim *holder = claim_find_op_blocker(bs, op, asker);
            if (holder) {
                claim_report_busy(holder, op, errp);
                return false;
            }
        }
    }
    return true;
}

/* Data rights are held: @claim against every other one, in both directions, newest first. */
static bool data_rights_allowed(const BdrvClaim *claim, Error **errp)
{
    BdrvClaim *other;
    QTAILQ_FOREACH_REVERSE(other, &claim->node->claims, next) {
        if (same_owner(claim, other)) {
            continue;
        }
        BlockRights wanted = claim->uses & other->forbids & BLK_DATA_RIGHTS;
        BlockRights refused = other->uses & claim->forbids & BLK_DATA_RIGHTS;
        if (wanted) {
            report_permission(claim, other, wanted, errp);
            return false;
        }
        if (refused) {
            report_permission(other, claim, refused, errp);
            return false;
        }
    }
    return true;
}

BdrvClaim *bdrv_claim(BlockDriverState *bs, BdrvOwner owner, BlockRights uses, BlockRights forbids,
                      const char *reason, Error **errp)
{
    GLOBAL_STATE_CODE();
    g_autoptr(BdrvClaim) claim = claim_new(bs, owner, reason);
    if (!ops_allowed(bs, uses, claim, errp)) {
        return NULL;
    }
    claim_assign(claim, uses, forbids);
    if (!data_rights_allowed(claim, errp)) {
        return NULL;
    }
    return g_steal_pointer(&claim);
}

bool bdrv_claim_set(BdrvClaim *claim, BlockRights uses, BlockRights forbids, Error **errp)
{
    GLOBAL_STATE_CODE();
    BlockRights old_uses = claim->uses, old_forbids = claim->forbids;
    if (!ops_allowed(claim->node, uses & ~old_uses, claim, errp)) {
        return false;
    }
    claim_assign(claim, uses, forbids);
    if (!data_rights_allowed(claim, errp)) {
        claim_assign(claim, old_uses, old_forbids);
        return false;
    }
    return true;
}

bool bdrv_rights_available(BlockDriverState *bs, BlockRights rights, const void *owner_key,
                           Error **errp)
{
    GLOBAL_STATE_CODE();
    const BdrvClaim asker = { .key = owner_key };
    if (!ops_allowed(bs, rights, &asker, errp)) {
        return false;
    }
    BdrvClaim *claim;
    QTAILQ_FOREACH_REVERSE(claim, &bs->claims, next) {
        BlockRights wanted = rights & claim->forbids & BLK_DATA_RIGHTS;
        if (wanted && !same_owner(&asker, claim)) {
            g_autofree char *names = bdrv_rights_text(wanted);
            g_autofree char *holder = claim_user_text(claim);
            error_setg(errp, "Permission conflict on node '%s': permissions '%s' are unshared by "
                       "%s", bs->node_name, names, holder);
            bdrv_claim_append_hint(claim, errp);
            return false;
        }
    }
    return true;
}

/* ---- recomputing claims of edges ------------------------------------------------------------- */

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

bool bdrv_is_child_writable(const BdrvChild *child)
{
    return child->claim.uses & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED);
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

/* Among all claims on @bs, is there a pair of owners in conflict over data? */
static bool node_claims_agree(BlockDriverState *bs, Error **errp)
{
    BdrvClaim *user, *forbidder;
    BlockRights uses, forbids;
    bdrv_get_cumulative_rights(bs, &uses, &forbids);
    BlockRights contested = uses & forbids & BLK_DATA_RIGHTS;
    if (!contested) {
        return true;
    }
    /* Stock's order: of two that both use and forbid, the newer one forbids. */
    QTAILQ_FOREACH_REVERSE(forbidder, &bs->claims, next) {
        if (!(forbidder->forbids & contested)) {
            continue;
        }
        QTAILQ_FOREACH_REVERSE(user, &bs->claims, next) {
            BlockRights wanted = user->uses & forbidder->forbids & BLK_DATA_RIGHTS;
            if (wanted && !same_owner(user, forbidder)) {
                report_permission(user, forbidder, wanted, errp);
                return false;
            }
        }
    }
    return true;
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
        if (!node_claims_agree(bs, errp) || !node_can_bear(bs, uses, errp)) {
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

BdrvOwner bdrv_owner_driver(BlockDriverState *bs)
{
    return (BdrvOwner) {
        .kind = BDRV_OWNER_DRIVER,
        .id = bs->node_name,
        .description = "the node's own driver",
    };
}
