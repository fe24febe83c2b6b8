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

bool claims_agree(BlockDriverState *bs, Error **errp)
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

BdrvOwner bdrv_owner_driver(BlockDriverState *bs)
{
    return (BdrvOwner) {
        .kind = BDRV_OWNER_DRIVER,
        .id = bs->node_name,
        .description = "the node's own driver",
    };
}
