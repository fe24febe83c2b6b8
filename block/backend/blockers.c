/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is told about claims: who does what to a node, keeps others from doing what, since when,
 * why, what would end it.  As values for query-block-blockers, as text for HMP and qemu-io.  Does
 * not yield: it answers while storage hangs.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/graph.h"

static BlockBlockerOwnerKind owner_kind(BdrvOwnerKind kind)
{
    switch (kind) {
    case BDRV_OWNER_EDGE:
        return BLOCK_BLOCKER_OWNER_KIND_NODE;
    case BDRV_OWNER_DEVICE:
        return BLOCK_BLOCKER_OWNER_KIND_DEVICE;
    case BDRV_OWNER_JOB:
        return BLOCK_BLOCKER_OWNER_KIND_JOB;
    case BDRV_OWNER_EXPORT:
        return BLOCK_BLOCKER_OWNER_KIND_EXPORT;
    case BDRV_OWNER_DRIVER:
        return BLOCK_BLOCKER_OWNER_KIND_DRIVER;
    case BDRV_OWNER_USER:
        return BLOCK_BLOCKER_OWNER_KIND_MONITOR;
    default:
        return BLOCK_BLOCKER_OWNER_KIND_OPERATION;
    }
}

/* Names of backends and nodes change, so an edge's owner is asked now. */
static BlockBlockerOwner *owner_info(const BdrvClaim *claim)
{
    BdrvOwner owner = bdrv_claim_owner(claim);
    BlockBlockerOwner *info = g_new0(BlockBlockerOwner, 1);
    info->kind = owner_kind(owner.kind);
    info->id = owner.id && *owner.id ? g_strdup(owner.id) : NULL;
    info->description = bdrv_claim_holder_with_id(claim);
    return info;
}

/* A data right and a node operation may have one name ("resize"): it is listed once. */
static bool list_has(const strList *list, const char *word)
{
    for (; list; list = list->next) {
        if (strcmp(list->value, word) == 0) {
            return true;
        }
    }
    return false;
}

static strList *rights_list(BlockRights rights)
{
    strList *list = NULL, **tail = &list;
    bool all_ops = (rights & BLK_RIGHTS_ALL_OPS) == BLK_RIGHTS_ALL_OPS;
    for (int bit = 0; bit < 64; bit++) {
        BlockRights right = UINT64_C(1) << bit;
        const char *word = rights & right ? bdrv_right_name(right) : NULL;
        if (word && !list_has(list, word)) {
            QAPI_LIST_APPEND(tail, g_strdup(word));
        }
    }
    if (all_ops) {
        QAPI_LIST_PREPEND(list, g_strdup("all"));
    }
    return list;
}

static char *reason_text(const BdrvClaim *claim)
{
    if (claim->seed_reason) {
        return g_strdup(error_get_pretty(claim->seed_reason));
    }
    if (claim->reason) {
        return g_strdup(claim->reason);
    }
    if (claim->edge && claim->edge->parent) {
        return g_strdup_printf("node is used as %s of '%s'", claim->edge->name,
                               bdrv_get_node_name(claim->edge->parent));
    }
    if (claim->edge) {
        BdrvOwner owner = claim->edge->gate->ops->owner(claim->edge->gate);
        return g_strdup_printf("node is used by %s", owner.description);
    }
    return g_strdup("node is in use");
}

typedef struct BlockerQuery {
    BlockBlockerInfoList **tail;
    bool has_op;
    BlockRights op; /* what the named operation uses */
} BlockerQuery;

static bool add_row(const BdrvClaim *claim, void *opaque)
{
    BlockerQuery *query = opaque;
    BlockBlockerInfo *info = g_new0(BlockBlockerInfo, 1);
    const char *device = bdrv_get_device_name(claim->node);
    info->node_name = g_strdup(bdrv_get_node_name(claim->node));
    info->device = *device ? g_strdup(device) : NULL;
    info->owner = owner_info(claim);
    info->uses = rights_list(claim->uses);
    info->forbids = rights_list(claim->forbids);
    info->reason = reason_text(claim);
    info->held_for = bdrv_claim_age(claim);
    info->unblock = bdrv_claim_remedy(claim);
    info->has_blocks_op = query->has_op;
    info->blocks_op = (claim->forbids & query->op) != 0;
    QAPI_LIST_APPEND(query->tail, info);
    return true;
}

/*
 * What asking for @op tests: the operation, and the data right of that name (resizing takes both).
 */
static BlockRights rights_of(BlockOperation op)
{
    BlockRights rights = 0;
    for (int type = 0; type < BLOCK_OP_TYPE_MAX; type++) {
        if (strcmp(bdrv_op_name(type), BlockOperation_str(op)) == 0) {
            rights |= BLK_RIGHT_OP(type);
        }
    }
    for (BlockRights right = 1; right & BLK_DATA_RIGHTS; right <<= 1) {
        if (strcmp(bdrv_right_name(right), BlockOperation_str(op)) == 0) {
            rights |= right;
        }
    }
    return rights;
}

BlockBlockerInfoList *bdrv_blockers_info(BlockDriverState *bs, const BlockOperation *op)
{
    BlockBlockerInfoList *list = NULL;
    BlockerQuery query = {
        .tail = &list,
        .has_op = op != NULL,
        .op = op ? rights_of(*op) : 0,
    };
    if (bs) {
        bdrv_claim_foreach(bs, add_row, &query);
        return list;
    }
    while ((bs = bdrv_next_node(bs))) {
        bdrv_claim_foreach(bs, add_row, &query);
    }
    return list;
}

/* ---- for people ------------------------------------------------------------------------------ */

static void dump_words(const char *title, const strList *list, GString *out)
{
    if (!list) {
        return;
    }
    g_string_append_printf(out, "    %s", title);
    /* "all" comes first and says what follows; the data rights are listed all the same. */
    for (const strList *e = list; e; e = e->next) {
        g_string_append_printf(out, "%s%s", e->value, e->next ? ", " : "\n");
    }
}

static void dump_row(const BlockBlockerInfo *row, GString *out)
{
    g_string_append(out, row->node_name);
    if (row->device) {
        g_string_append_printf(out, " (%s)", row->device);
    }
    g_string_append_printf(out, ": %s, for %.1f s\n", row->owner->description, row->held_for);
    dump_words("uses:    ", row->uses, out);
    dump_words("forbids: ", row->forbids, out);
    g_string_append_printf(out, "    reason:  %s\n    unblock: %s\n", row->reason, row->unblock);
}

bool bdrv_blockers_dump(const char *node, const char *op_word, GString *out, Error **errp)
{
    Error *err = NULL;
    BlockOperation op = op_word ? qapi_enum_parse(&BlockOperation_lookup, op_word, -1, &err) : 0;
    BlockDriverState *bs = !err && node ? bdrv_lookup_bs(node, node, &err) : NULL;
    if (err) {
        error_propagate(errp, err);
        return false;
    }
    g_autoptr(BlockBlockerInfoList) list = bdrv_blockers_info(bs, op_word ? &op : NULL);
    bool is_any = false;
    for (const BlockBlockerInfoList *e = list; e; e = e->next) {
        if (!op_word || e->value->blocks_op) {
            dump_row(e->value, out);
            is_any = true;
        }
    }
    if (!is_any && op_word) {
        g_string_append_printf(out, "Nobody refuses %s\n", op_word);
    } else if (!is_any) {
        g_string_append(out, "Nobody holds a claim\n");
    }
    return true;
}
