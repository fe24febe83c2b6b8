/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What there is: query-block, query-named-block-nodes, query-blockstats, x-debug-query-block-graph,
 * query-block-blockers.
 *
 * None of them waits for storage.  They are composed without yielding, so they need no lock.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/qapi.h"
#include "qapi/gen/block-info-commands.h"
#include "qmp-block.h"

/* ---- nodes ----------------------------------------------------------------------------------- */

/*
 * How many images of its chain each of @n answers tells of, one in the other.  Chains may have
 * thousands of nodes, and telling all below each of them would take gigabytes; clients' parsers do
 * not nest that deep, either.
 */
static unsigned images_to_tell(bool flat, unsigned n)
{
    const unsigned max_depth = 200, max_images = 20000;
    return flat ? 1 : MIN(max_depth, MAX(max_images / MAX(n, 1), 2));
}

static unsigned number_of_nodes(void)
{
    unsigned n = 0;
    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        n++;
    }
    return n;
}

BlockDeviceInfoList *coroutine_fn qmp_query_named_block_nodes(bool has_flat, bool flat,
                                                              Error **errp)
{
    BlockDeviceInfoList *list = NULL;
    bdrv_co_refresh_allocated_sizes();
    unsigned max_images = images_to_tell(flat, number_of_nodes());
    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        BlockDeviceInfo *info = bdrv_device_info(bs, max_images, errp);
        if (!info) {
            qapi_free_BlockDeviceInfoList(list);
            return NULL;
        }
        QAPI_LIST_PREPEND(list, info);
    }
    return list;
}

/* ---- drives and devices ---------------------------------------------------------------------- */

/* A backend that users know: it has a name, or a guest's device. */
static bool is_shown(const BlockBackend *blk)
{
    return *blk_name(blk) || blk_get_attached_dev(blk);
}

static char *device_id(const BlockBackend *blk)
{
    const char *id = blk_get_attached_dev_id(blk);
    return *id ? g_strdup(id) : NULL;
}

static BlockInfo *backend_info(BlockBackend *blk, bool flat, Error **errp)
{
    g_autoptr(BlockInfo) info = g_new0(BlockInfo, 1);
    BlockDriverState *bs = blk_bs(blk);
    info->device = g_strdup(blk_name(blk));
    info->qdev = device_id(blk);
    info->type = g_strdup("unknown");
    info->locked = blk_dev_is_medium_locked(blk);
    info->removable = blk_dev_has_removable_media(blk);
    info->has_tray_open = blk_dev_has_tray(blk);
    info->tray_open = blk_dev_is_tray_open(blk);
    info->has_io_status = blk_iostatus_is_enabled(blk);
    info->io_status = blk_iostatus(blk);
    if (bs && bdrv_is_inserted(bs)) {
        info->inserted = bdrv_device_info(bdrv_skip_implicit_filters(bs),
                                          images_to_tell(flat, 1), errp);
        if (!info->inserted) {
            return NULL;
        }
        info->inserted->cache->writeback = blk_enable_write_cache(blk);
        throttle_fill_info(blk, info->inserted);
    }
    return g_steal_pointer(&info);
}

BlockInfoList *coroutine_fn qmp_query_block(bool has_flat, bool flat, Error **errp)
{
    BlockInfoList *list = NULL, **tail = &list;
    bdrv_co_refresh_allocated_sizes();
    for (BlockBackend *blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        if (!is_shown(blk)) {
            continue;
        }
        BlockInfo *info = backend_info(blk, flat, errp);
        if (!info) {
            qapi_free_BlockInfoList(list);
            return NULL;
        }
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

/* ---- counters -------------------------------------------------------------------------------- */

static BlockStats *backend_stats(BlockBackend *blk)
{
    BlockDriverState *bs = blk_bs(blk);
    BlockStats *stats;
    if (bs) {
        stats = bdrv_node_stats(bdrv_skip_implicit_filters(bs), true);
    } else {
        stats = g_new0(BlockStats, 1);
        stats->stats = g_new0(BlockDeviceStats, 1);
    }
    stats->device = g_strdup(blk_name(blk));
    stats->qdev = device_id(blk);
    bdrv_stats_from_accounting(blk_get_stats(blk), stats->stats);
    return stats;
}

BlockStatsList *coroutine_fn qmp_query_blockstats(bool has_query_nodes, bool query_nodes,
                                                  Error **errp)
{
    BlockStatsList *list = NULL, **tail = &list;
    if (query_nodes) {
        for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
            QAPI_LIST_APPEND(tail, bdrv_node_stats(bs, false));
        }
        return list;
    }
    for (BlockBackend *blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        if (is_shown(blk)) {
            QAPI_LIST_APPEND(tail, backend_stats(blk));
        }
    }
    return list;
}

/* ---- the graph ------------------------------------------------------------------------------- */

typedef struct GraphBuilder {
    XDbgBlockGraph *graph;
    XDbgBlockGraphNodeList **nodes_tail;
    XDbgBlockGraphEdgeList **edges_tail;
    GHashTable *numbers; /* node or gate -> its number */
} GraphBuilder;

static uint64_t number_of(GraphBuilder *builder, const void *thing, XDbgBlockGraphNodeType type,
                          const char *name)
{
    gpointer known = g_hash_table_lookup(builder->numbers, thing);
    if (known) {
        return GPOINTER_TO_SIZE(known);
    }
    uint64_t number = g_hash_table_size(builder->numbers) + 1;
    g_hash_table_insert(builder->numbers, (gpointer)thing, GSIZE_TO_POINTER(number));
    XDbgBlockGraphNode *node = g_new0(XDbgBlockGraphNode, 1);
    node->id = number;
    node->type = type;
    node->name = g_strdup(name ? name : "");
    QAPI_LIST_APPEND(builder->nodes_tail, node);
    return number;
}

static uint64_t number_of_node(GraphBuilder *builder, const BlockDriverState *bs)
{
    return number_of(builder, bs, X_DBG_BLOCK_GRAPH_NODE_TYPE_BLOCK_DRIVER,
                     bdrv_get_node_name(bs));
}

static uint64_t number_of_gate(GraphBuilder *builder, BdrvGate *gate)
{
    BdrvOwner owner = gate->ops->owner(gate);
    return number_of(builder, gate,
                     gate->is_job ? X_DBG_BLOCK_GRAPH_NODE_TYPE_BLOCK_JOB
                                  : X_DBG_BLOCK_GRAPH_NODE_TYPE_BLOCK_BACKEND,
                     owner.id ? owner.id : owner.description);
}

static BlockPermissionList *permission_list(BlockRights rights)
{
    BlockPermissionList *list = NULL, **tail = &list;
    for (int i = 0; i < BLOCK_PERMISSION__MAX; i++) {
        if (rights & UINT64_C(1) << i) {
            QAPI_LIST_APPEND(tail, i);
        }
    }
    return list;
}

static bool add_edge(BdrvChild *edge, void *opaque)
{
    GraphBuilder *builder = opaque;
    XDbgBlockGraphEdge *info = g_new0(XDbgBlockGraphEdge, 1);
    info->parent = edge->parent ? number_of_node(builder, edge->parent)
                                : number_of_gate(builder, edge->gate);
    info->child = number_of_node(builder, edge->bs);
    info->name = g_strdup(edge->name);
    info->perm = permission_list(edge->claim.uses & BLK_PERM_ALL);
    info->shared_perm = permission_list(~edge->claim.forbids & BLK_PERM_ALL);
    QAPI_LIST_APPEND(builder->edges_tail, info);
    return true;
}

XDbgBlockGraph *coroutine_fn qmp_x_debug_query_block_graph(Error **errp)
{
    g_autoptr(GHashTable) numbers = g_hash_table_new(NULL, NULL);
    XDbgBlockGraph *graph = g_new0(XDbgBlockGraph, 1);
    GraphBuilder builder = {
        .graph = graph,
        .nodes_tail = &graph->nodes,
        .edges_tail = &graph->edges,
        .numbers = numbers,
    };
    for (BlockBackend *blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        if (!blk_root(blk)) {
            number_of(&builder, blk, X_DBG_BLOCK_GRAPH_NODE_TYPE_BLOCK_BACKEND, blk_name(blk));
        }
    }
    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        number_of_node(&builder, bs);
        bdrv_foreach_parent(bs, add_edge, &builder);
    }
    return graph;
}

/* ---- claims ---------------------------------------------------------------------------------- */

BlockBlockerInfoList *coroutine_fn qmp_query_block_blockers(const char *node_name, bool has_op,
                                                            BlockOperation op, Error **errp)
{
    BlockDriverState *bs = NULL;

    if (node_name && !(bs = bdrv_lookup_bs(node_name, node_name, errp))) {
        return NULL;
    }
    return bdrv_blockers_info(bs, has_op ? &op : NULL);
}
