/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of a node: it gets a name, is found by it, is asked about, is referred to, and when
 * nobody refers to it any more it is closed.  Beside that: the op-blocker API of 2014, and the one
 * global, BlockGraph, with its control lock.
 */
#include "qemu/osdep.h"

#include "block/core/core-int.h"
#include "block/dirty-bitmap.h"
#include "qapi/gen/block-core-types.h"
#include "qemu/atomic.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"

/* ---- the graph ------------------------------------------------------------------------------- */

static BlockGraph *the_graph;

static BlockGraph *graph_new(void)
{
    BlockGraph *graph = g_new0(BlockGraph, 1);
    graph->nodes_by_name = g_hash_table_new(g_str_hash, g_str_equal);
    QTAILQ_INIT(&graph->nodes);
    QTAILQ_INIT(&graph->monitor_nodes);
    QTAILQ_INIT(&graph->dead);
    QTAILQ_INIT(&graph->gates);
    QTAILQ_INIT(&graph->freezes);
    qemu_co_mutex_init(&graph->control);
    qemu_co_queue_init(&graph->freeze_waiters);
    return graph;
}

/*
 * Made by the first who asks, in the main thread, before there is anything to do for other threads.
 */
BlockGraph *bdrv_graph(void)
{
    if (unlikely(!the_graph)) {
        the_graph = graph_new();
    }
    return the_graph;
}

void bdrv_graph_reset(void)
{
    BlockGraph *graph = the_graph;
    if (!graph) {
        return;
    }
    assert(QTAILQ_EMPTY(&graph->nodes) && QTAILQ_EMPTY(&graph->gates));
    assert(QTAILQ_EMPTY(&graph->dead));
    assert(QTAILQ_EMPTY(&graph->freezes) && !graph->control_locked);
    g_hash_table_destroy(graph->nodes_by_name);
    g_free(graph);
    the_graph = NULL;
}

void coroutine_fn bdrv_co_control_lock(void)
{
    GLOBAL_STATE_CODE();
    BlockGraph *graph = bdrv_graph();
    qemu_co_mutex_lock(&graph->control);
    graph->control_locked = true;
}

void coroutine_fn bdrv_co_control_unlock(void)
{
    BlockGraph *graph = bdrv_graph();
    bdrv_co_reap();
    /* Whatever was done, be it inside a driver. */
    bdrv_chains_changed();
    graph->control_locked = false;
    qemu_co_mutex_unlock(&graph->control);
}

bool bdrv_control_locked(void)
{
    return bdrv_graph()->control_locked;
}

void bdrv_assert_control_path(const char *func)
{
    if (!qemu_in_main_thread() || !bdrv_control_locked()) {
        g_error("%s: control path entered outside the main thread or without the control lock",
                func);
    }
}

/* ---- drivers --------------------------------------------------------------------------------- */

void bdrv_register_drivers(BlockDriver *const *drivers)
{
    bdrv_graph()->drivers = drivers;
}

BlockDriver *const *bdrv_driver_table(void)
{
    static BlockDriver *const no_drivers[] = { NULL };
    BlockDriver *const *drivers = bdrv_graph()->drivers;
    return drivers ? drivers : no_drivers;
}

BlockDriver *bdrv_find_format(const char *format_name)
{
    for (BlockDriver *const *drv = bdrv_driver_table(); *drv; drv++) {
        if (strcmp((*drv)->format_name, format_name) == 0) {
            return *drv;
        }
    }
    return NULL;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What can be opened read-only can be opened: no driver is left out on that account. */
void bdrv_iterate_format(void (*it)(void *opaque, const char *name), void *opaque, bool read_only)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (BlockDriver *const *drv = bdrv_driver_table(); *drv; drv++) {
        g_ptr_array_add(names, (gpointer)(*drv)->format_name);
    }
    g_ptr_array_sort(names, compare_names);
    for (unsigned i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        if (i == 0 || strcmp(name, g_ptr_array_index(names, i - 1)) != 0) {
            it(opaque, name);
        }
    }
}

const char *bdrv_driver_name(const BlockDriver *drv)
{
    return drv->format_name;
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool is_published(const BlockDriverState *bs)
{
    return QTAILQ_IN_USE(bs, next_node);
}

BlockDriverState *bdrv_find_node(const char *node_name)
{
    BlockDriverState *bs = g_hash_table_lookup(bdrv_graph()->nodes_by_name, node_name);
    return bs && is_published(bs) ? bs : NULL;
}

static bool is_backend_name(const char *name)
{
    BdrvGate *gate;
    QTAILQ_FOREACH(gate, &bdrv_graph()->gates, next) {
        const char *gate_name = gate->ops->name ? gate->ops->name(gate) : NULL;
        if (gate_name && strcmp(gate_name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool node_name_is_free(const char *name, Error **errp)
{
    if (!id_wellformed(name)) {
        error_setg(errp, "Invalid node-name: '%s'", name);
    } else if (is_backend_name(name)) {
        error_setg(errp, "node-name=%s is conflicting with a device id", name);
    } else if (g_hash_table_contains(bdrv_graph()->nodes_by_name, name)) {
        error_setg(errp, "Duplicate nodes with node-name='%s'", name);
    } else if (strlen(name) > BDRV_NODE_NAME_MAX) {
        error_setg(errp, "Node name too long");
    } else {
        return true;
    }
    return false;
}

const char *bdrv_get_node_name(const BlockDriverState *bs)
{
    return bs->node_name;
}

const char *bdrv_get_device_name(const BlockDriverState *bs)
{
    BdrvChild *edge;
    QTAILQ_FOREACH(edge, &bs->parents, next_parent) {
        const char *name = NULL;
        if (edge->gate && edge->gate->ops->name) {
            name = edge->gate->ops->name(edge->gate);
        } else if (edge->parent && edge->parent->implicit) {
            name = bdrv_get_device_name(edge->parent);
        }
        if (name && *name) {
            return name;
        }
    }
    return "";
}

const char *bdrv_get_device_or_node_name(const BlockDriverState *bs)
{
    const char *name = bdrv_get_device_name(bs);
    return *name ? name : bs->node_name;
}

/* ---- birth ----------------------------------------------------------------------------------- */

BlockDriverState *bdrv_new_node(const char *node_name, Error **errp)
{
    GLOBAL_STATE_CODE();
    g_autofree char *generated = node_name ? NULL : id_generate(ID_BLOCK);
    if (node_name && !node_name_is_free(node_name, errp)) {
        return NULL;
    }
    BlockDriverState *bs = g_new0(BlockDriverState, 1);
    BlockGraph *graph = bdrv_graph();
    pstrcpy(bs->node_name, sizeof(bs->node_name), node_name ? node_name : generated);
    bs->refcnt = 1;
    bs->number = ++graph->last_number;
    bs->next_serial = 1;
    bs->bl.request_alignment = 1;
    bs->allocated_bytes = -ENOTSUP;
    QTAILQ_INIT(&bs->parents);
    QTAILQ_INIT(&bs->claims);
    for (int i = 0; i < BDRV_REQUEST_SHARDS; i++) {
        qemu_mutex_init(&bs->shard[i].lock);
        QTAILQ_INIT(&bs->shard[i].requests);
    }
    QSIMPLEQ_INIT(&bs->visit_waiters);
    qemu_co_mutex_init(&bs->flush_lock);
    qemu_mutex_init(&bs->dirty_bitmap_lock);
    g_hash_table_insert(graph->nodes_by_name, bs->node_name, bs);
    return bs;
}

/* While it is being opened a node has its name, but nobody finds it: queries take no lock. */
void bdrv_publish_node(BlockDriverState *bs)
{
    QTAILQ_INSERT_TAIL(&bdrv_graph()->nodes, bs, next_node);
}

/* ---- reference, death ------------------------------------------------------------------------ */

BlockDriverState *bdrv_ref(BlockDriverState *bs)
{
    GLOBAL_STATE_CODE();
    assert(bs->refcnt > 0);
    bs->refcnt++;
    return bs;
}

void bdrv_unref(BlockDriverState *bs)
{
    if (!bs) {
        return;
    }
    GLOBAL_STATE_CODE();
    assert(bs->refcnt > 0);
    if (--bs->refcnt == 0) {
        /* Nobody finds it any more, and its name is free. */
        BlockGraph *graph = bdrv_graph();
        g_hash_table_remove(graph->nodes_by_name, bs->node_name);
        if (is_published(bs)) {
            QTAILQ_REMOVE(&graph->nodes, bs, next_node);
        }
        QTAILQ_INSERT_TAIL(&graph->dead, bs, next_dead);
    }
}

static void node_free(BlockDriverState *bs)
{
    assert(bdrv_op_blocker_is_empty(bs));
    assert(QTAILQ_EMPTY(&bs->parents) && QTAILQ_EMPTY(&bs->claims) && QLIST_EMPTY(&bs->children));
    assert(QLIST_EMPTY(&bs->dirty_bitmaps));
    for (int i = 0; i < BDRV_REQUEST_SHARDS; i++) {
        qemu_mutex_destroy(&bs->shard[i].lock);
    }
    qemu_mutex_destroy(&bs->dirty_bitmap_lock);
    qobject_unref(bs->explicit_options);
    qobject_unref(bs->pending_backing_options);
    qapi_free_BlockdevOptions(bs->options);
    qapi_free_BlockdevRefOrNull(bs->backing_ref);
    g_free(bs->backing_file);
    g_free(bs->backing_format);
    g_free(bs->auto_backing_file);
    g_free(bs->filename);
    g_free(bs->exact_filename);
    bdrv_chain_free(bs);
    g_free(bs->opaque);
    g_free(bs);
}

void bdrv_note_failed_close(void)
{
    bdrv_graph()->failed_closes++;
}

unsigned bdrv_failed_closes(void)
{
    return bdrv_graph()->failed_closes;
}

/*
 * Background work ends, caches are written back, the driver lets go, then the children are let go,
 * which may put them on the dead list in turn: a long chain is closed by a loop, not by recursion.
 */
static void coroutine_fn node_co_close(BlockDriverState *bs)
{
    if (bs->opened) {
        g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(bs);
        unsigned failed = bdrv_failed_closes();
        int ret = bdrv_co_flush(bs);
        if (bs->drv->bdrv_co_close) {
            bs->drv->bdrv_co_close(bs);
        }
        if (ret < 0 && failed == bdrv_failed_closes()) {
            /* The driver has not said anything. */
            error_report("Could not flush '%s' to close it: %s", bdrv_get_filename(bs),
                         strerror(-ret));
            bdrv_note_failed_close();
        }
        bs->opened = false;
        bs->drv = NULL;
    }
    bdrv_release_named_dirty_bitmaps(bs);
    while (!QLIST_EMPTY(&bs->children)) {
        bdrv_co_detach_child(QLIST_FIRST(&bs->children));
    }
}

void coroutine_fn bdrv_co_reap(void)
{
    CONTROL_PATH();
    BlockGraph *graph = bdrv_graph();
    BlockDriverState *bs;
    while ((bs = QTAILQ_FIRST(&graph->dead))) {
        QTAILQ_REMOVE(&graph->dead, bs, next_dead);
        bs->refcnt = 1; /* for the freezes within */
        node_co_close(bs);
        assert(bs->refcnt == 1);
        node_free(bs);
    }
}

void coroutine_fn bdrv_co_close_all(void)
{
    BDRV_CONTROL_GUARD();
    BlockDriverState *bs;
    while ((bs = bdrv_next_monitor_node(NULL))) {
        bdrv_set_monitor_owned(bs, false);
    }
}

/* ---- walking all nodes ----------------------------------------------------------------------- */

BlockDriverState *bdrv_next_node(BlockDriverState *bs)
{
    return bs ? QTAILQ_NEXT(bs, next_node) : QTAILQ_FIRST(&bdrv_graph()->nodes);
}

BlockDriverState *bdrv_next_monitor_node(BlockDriverState *bs)
{
    return bs ? QTAILQ_NEXT(bs, next_monitor) : QTAILQ_FIRST(&bdrv_graph()->monitor_nodes);
}

void bdrv_set_monitor_owned(BlockDriverState *bs, bool owned)
{
    GLOBAL_STATE_CODE();
    if (owned == bs->monitor_owned) {
        return;
    }
    bs->monitor_owned = owned;
    if (owned) {
        bdrv_ref(bs);
        QTAILQ_INSERT_TAIL(&bdrv_graph()->monitor_nodes, bs, next_monitor);
    } else {
        QTAILQ_REMOVE(&bdrv_graph()->monitor_nodes, bs, next_monitor);
        bdrv_unref(bs);
    }
}

bool bdrv_is_monitor_owned(const BlockDriverState *bs)
{
    return bs->monitor_owned;
}

/* ---- asking a node --------------------------------------------------------------------------- */

const char *bdrv_get_format_name(const BlockDriverState *bs)
{
    return bs->drv ? bs->drv->format_name : NULL;
}

int bdrv_get_open_flags(const BlockDriverState *bs)
{
    return bs->open_flags;
}

bool bdrv_is_read_only(const BlockDriverState *bs)
{
    return bs->read_only;
}

bool bdrv_is_writable(const BlockDriverState *bs)
{
    return !bs->read_only && !bs->inactive;
}

bool bdrv_is_encrypted(const BlockDriverState *bs)
{
    return bs->encrypted;
}

bool bdrv_is_filter(const BlockDriverState *bs)
{
    return bs->drv && bs->drv->is_filter;
}

bool bdrv_supports_backing(const BlockDriverState *bs)
{
    return bs->drv && bs->drv->supports_backing;
}

int64_t bdrv_getlength(const BlockDriverState *bs)
{
    return bs->drv ? qatomic_read(&bs->total_bytes) : -ENOMEDIUM;
}

int64_t coroutine_fn bdrv_co_getlength(BlockDriverState *bs)
{
    return bdrv_co_refresh_length(bs);
}

/* A format's image is its files; a filter or a driver without an answer asks below. */
int64_t coroutine_fn bdrv_co_get_allocated_file_size(BlockDriverState *bs)
{
    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    if (bs->drv->bdrv_co_get_allocated_file_size) {
        return bs->drv->bdrv_co_get_allocated_file_size(bs);
    }
    if (bs->drv->is_protocol) {
        return -ENOTSUP;
    }
    BlockDriverState *filtered = bdrv_filter_bs(bs);
    if (filtered) {
        return bdrv_co_get_allocated_file_size(filtered);
    }
    int64_t sum = 0;
    BdrvChild *child;
    QLIST_FOREACH(child, &bs->children, next) {
        if (child->role & (BDRV_CHILD_IMAGE | BDRV_CHILD_FILTERED)) {
            int64_t bytes = bdrv_co_get_allocated_file_size(child->bs);
            if (bytes < 0) {
                return bytes;
            }
            sum += bytes;
        }
    }
    return sum;
}

int bdrv_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    *info = (BlockDriverInfo) { 0 };
    BlockDriverState *filtered = bdrv_filter_bs(bs);
    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    if (!bs->drv->bdrv_get_info) {
        return filtered ? bdrv_get_info(filtered, info) : -ENOTSUP;
    }
    return bs->drv->bdrv_get_info(bs, info);
}

int64_t bdrv_get_cluster_size(const BlockDriverState *bs)
{
    BlockDriverInfo info;
    return bdrv_get_info((BlockDriverState *)bs, &info) < 0 ? 0 : info.cluster_size;
}

bool bdrv_driver_new_is_undefined(const BlockDriver *drv)
{
    return drv->new_is_undefined;
}

bool bdrv_driver_can_compress(const BlockDriver *drv)
{
    return drv->bdrv_co_pwritev_compressed != NULL;
}

bool bdrv_supports_compressed_writes(const BlockDriverState *bs)
{
    const BlockDriverState *filtered = bdrv_filter_bs(bs);
    if (!bs->drv) {
        return false;
    }
    return bs->drv->bdrv_co_pwritev_compressed ||
           (filtered && bdrv_supports_compressed_writes(filtered));
}

/* ---- the chain ------------------------------------------------------------------------------- */

BlockDriverState *bdrv_filter_bs(const BlockDriverState *bs)
{
    if (!bs || !bs->drv || !bs->drv->is_filter) {
        return NULL;
    }
    BdrvChild *child = bs->drv->filtered_is_backing ? bs->backing : bs->file;
    if (!child) {
        QLIST_FOREACH(child, &bs->children, next) {
            if (child->role & BDRV_CHILD_FILTERED) {
                break;
            }
        }
    }
    return child ? child->bs : NULL;
}

BlockDriverState *bdrv_cow_bs(const BlockDriverState *bs)
{
    if (!bs || !bs->drv || bs->drv->is_filter) {
        return NULL;
    }
    return bs->backing ? bs->backing->bs : NULL;
}

BlockDriverState *bdrv_filter_or_cow_bs(const BlockDriverState *bs)
{
    BlockDriverState *filtered = bdrv_filter_bs(bs);
    return filtered ? filtered : bdrv_cow_bs(bs);
}

BlockDriverState *bdrv_primary_bs(const BlockDriverState *bs)
{
    BdrvChild *child;
    QLIST_FOREACH(child, &bs->children, next) {
        if (child->role & BDRV_CHILD_PRIMARY) {
            return child->bs;
        }
    }
    return NULL;
}

BlockDriverState *bdrv_skip_filters(BlockDriverState *bs)
{
    BlockDriverState *below;
    while ((below = bdrv_filter_bs(bs))) {
        bs = below;
    }
    return bs;
}

BlockDriverState *bdrv_skip_implicit_filters(BlockDriverState *bs)
{
    BlockDriverState *below;
    while (bs && bs->implicit && (below = bdrv_filter_bs(bs))) {
        bs = below;
    }
    return bs;
}

BlockDriverState *bdrv_backing_chain_next(BlockDriverState *bs)
{
    return bdrv_skip_filters(bdrv_cow_bs(bdrv_skip_filters(bs)));
}

bool bdrv_chain_contains(BlockDriverState *top, BlockDriverState *base)
{
    while (top && top != base) {
        top = bdrv_filter_or_cow_bs(top);
    }
    return top != NULL;
}

BlockDriverState *bdrv_find_overlay(BlockDriverState *active, BlockDriverState *bs)
{
    bs = bdrv_skip_filters(bs);
    active = bdrv_skip_filters(active);
    while (active) {
        BlockDriverState *next = bdrv_backing_chain_next(active);
        if (next == bs) {
            break;
        }
        active = next;
    }
    return active;
}

/* ---- op blockers ----------------------------------------------------------------------------- */

/* The claim that stands for all that @reason blocks on @bs, or NULL. */
static BdrvClaim *claim_of_reason(BlockDriverState *bs, const Error *reason)
{
    BdrvClaim *claim;
    QTAILQ_FOREACH(claim, &bs->claims, next) {
        if (claim->seed_reason == reason) {
            return claim;
        }
    }
    return NULL;
}

bool bdrv_op_is_blocked(BlockDriverState *bs, BlockOpType op, Error **errp)
{
    GLOBAL_STATE_CODE();
    assert(op >= 0 && op < BLOCK_OP_TYPE_MAX);
    BdrvClaim *holder = claim_find_op_blocker(bs, op, NULL);
    if (holder) {
        claim_report_busy(holder, op, errp);
    }
    return holder != NULL;
}

void bdrv_op_block(BlockDriverState *bs, BlockOpType op, Error *reason)
{
    GLOBAL_STATE_CODE();
    assert(op >= 0 && op < BLOCK_OP_TYPE_MAX && reason);
    BdrvClaim *claim = claim_of_reason(bs, reason);
    if (!claim) {
        BdrvOwner owner = {
            .kind = BDRV_OWNER_OP_BLOCKER,
            .description = error_get_pretty(reason),
        };
        claim = claim_new(bs, owner, error_get_pretty(reason));
        claim->seed_reason = reason;
    }
    claim_forbid_op(claim, op);
}

void bdrv_op_unblock(BlockDriverState *bs, BlockOpType op, Error *reason)
{
    GLOBAL_STATE_CODE();
    assert(op >= 0 && op < BLOCK_OP_TYPE_MAX);
    BdrvClaim *claim = reason ? claim_of_reason(bs, reason) : NULL;
    if (!claim) {
        return;
    }
    claim_assign(claim, claim->uses, claim->forbids & ~BLK_RIGHT_OP(op));
    if (!claim->forbids) {
        bdrv_claim_release(claim);
    }
}

void bdrv_op_block_all(BlockDriverState *bs, Error *reason)
{
    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        bdrv_op_block(bs, op, reason);
    }
}

void bdrv_op_unblock_all(BlockDriverState *bs, Error *reason)
{
    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        bdrv_op_unblock(bs, op, reason);
    }
}

bool bdrv_op_blocker_is_empty(BlockDriverState *bs)
{
    for (int op = 0; op < BLOCK_OP_TYPE_MAX; op++) {
        if (bs->op_blockers[op]) {
            return false;
        }
    }
    return true;
}
