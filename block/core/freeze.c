/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Freeze and thaw.
 *
 * With N the given nodes and A all nodes at or above them, a freeze
 *   - stops every gate above A: no request can then be on its way to N;
 *   - marks A as frozen (every gate above a node of A is above N as well);
 *   - drains A and, if a gate was stopped, all that is below A: these nodes stop background work
 *     and let go of requests they hold back.
 * The token remembers what was touched.  Nodes in it are referenced.
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "qemu/atomic.h"

struct BdrvFreeze {
    GHashTable *gates;   /* BdrvGate: stopped */
    GHashTable *frozen;  /* BlockDriverState: marked */
    GHashTable *drained; /* BlockDriverState: drain_begin was called; holds the references */
    QTAILQ_ENTRY(BdrvFreeze) next;
};

/* ---- what a freeze takes hold of, once per token --------------------------------------------- */

static void hold_gate(BdrvFreeze *freeze, BdrvGate *gate)
{
    if (!g_hash_table_add(freeze->gates, gate)) {
        return;
    }
    qatomic_store_release(&gate->frozen, gate->frozen + 1);
    smp_mb(); /* pairs with bdrv_gate_try_enter(): frozen before the counts are read */
    if (gate->frozen == 1 && gate->ops->quiesce) {
        gate->ops->quiesce(gate);
    }
}

static void release_gate(BdrvGate *gate)
{
    assert(gate->frozen > 0);
    qatomic_store_release(&gate->frozen, gate->frozen - 1);
    smp_mb();
    if (gate->frozen == 0) {
        if (gate->ops->resume) {
            gate->ops->resume(gate);
        }
        gate_wake(gate);
    }
}

static bool hold_drained(BdrvFreeze *freeze, BlockDriverState *bs)
{
    if (!g_hash_table_add(freeze->drained, bs)) {
        return false;
    }
    bdrv_ref(bs);
    if (bs->drained++ == 0 && bs->opened && bs->drv->bdrv_drain_begin) {
        bs->drv->bdrv_drain_begin(bs);
    }
    return true;
}

static void release_drained(BlockDriverState *bs)
{
    assert(bs->drained > 0);
    if (--bs->drained == 0 && bs->opened && bs->drv->bdrv_drain_end) {
        bs->drv->bdrv_drain_end(bs);
    }
    bdrv_unref(bs);
}

/* Upward from @bs: mark nodes, stop gates. */
static void hold_above(BdrvFreeze *freeze, BlockDriverState *bs)
{
    g_autoptr(GPtrArray) stack = g_ptr_array_new();
    g_ptr_array_add(stack, bs);
    while (stack->len) {
        BlockDriverState *node = g_ptr_array_steal_index_fast(stack, stack->len - 1);
        if (!g_hash_table_add(freeze->frozen, node)) {
            continue;
        }
        node->frozen++;
        BdrvChild *edge;
        QTAILQ_FOREACH(edge, &node->parents, next_parent) {
            if (edge->gate) {
                hold_gate(freeze, edge->gate);
            } else if (edge->parent->refcnt > 0) {
                g_ptr_array_add(stack, edge->parent);
            } /* else it waits to be closed: nobody is above it, so nothing can run in it */
        }
    }
}

/* The nodes on @stack, which is used up, and perhaps all below. */
static void drain_stack(BdrvFreeze *freeze, GPtrArray *stack, bool with_children)
{
    while (stack->len) {
        BlockDriverState *bs = g_ptr_array_steal_index_fast(stack, stack->len - 1);
        if (!hold_drained(freeze, bs) || !with_children) {
            continue;
        }
        BdrvChild *child;
        QLIST_FOREACH(child, &bs->children, next) {
            g_ptr_array_add(stack, child->bs);
        }
    }
}

/*
 * Every marked node, and, since requests that came through a stopped gate may be held back anywhere
 * below it, all nodes below.
 */
static void drain_below(BdrvFreeze *freeze)
{
    bool may_have_requests = g_hash_table_size(freeze->gates) > 0;
    g_autoptr(GPtrArray) stack = g_ptr_array_new();
    GHashTableIter iter;
    gpointer node;
    g_hash_table_iter_init(&iter, freeze->frozen);
    while (g_hash_table_iter_next(&iter, &node, NULL)) {
        g_ptr_array_add(stack, node);
    }
    drain_stack(freeze, stack, may_have_requests);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static bool gate_is_busy(BdrvGate *gate)
{
    return bdrv_gate_in_flight(gate) != 0 || (gate->ops->busy && gate->ops->busy(gate));
}

static bool freeze_is_busy(const BdrvFreeze *freeze)
{
    GHashTableIter iter;
    gpointer item;
    g_hash_table_iter_init(&iter, freeze->gates);
    while (g_hash_table_iter_next(&iter, &item, NULL)) {
        if (gate_is_busy(item)) {
            return true;
        }
    }
    g_hash_table_iter_init(&iter, freeze->drained);
    while (g_hash_table_iter_next(&iter, &item, NULL)) {
        BlockDriverState *bs = item;
        if (qatomic_load_acquire(&bs->activities) != 0) {
            return true;
        }
    }
    return false;
}

static void kick_in_main_loop(void *unused)
{
    BlockGraph *graph = bdrv_graph(); /* in tests it may be another one by now */
    qatomic_xchg(&graph->kick_pending, 0); /* before the freezers look again */
    qemu_co_queue_restart_all(&graph->freeze_waiters);
}

void bdrv_freeze_kick(void)
{
    BlockGraph *graph = bdrv_graph();
    smp_mb(); /* what changed is visible before a kick that is already on its way runs */
    if (!qatomic_xchg(&graph->kick_pending, 1)) {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), kick_in_main_loop, NULL);
    }
}

static void coroutine_fn freeze_wait(BdrvFreeze *freeze)
{
    while (freeze_is_busy(freeze)) {
        qemu_co_queue_wait(&bdrv_graph()->freeze_waiters, NULL);
    }
    smp_mb(); /* what the last requests did is visible from here on */
}

/* ---- freeze and thaw ------------------------------------------------------------------------- */

static BdrvFreeze *freeze_new(void)
{
    GLOBAL_STATE_CODE();
    BdrvFreeze *freeze = g_new0(BdrvFreeze, 1);
    freeze->gates = g_hash_table_new(NULL, NULL);
    freeze->frozen = g_hash_table_new(NULL, NULL);
    freeze->drained = g_hash_table_new(NULL, NULL);
    QTAILQ_INSERT_TAIL(&bdrv_graph()->freezes, freeze, next);
    return freeze;
}

BdrvFreeze *coroutine_fn bdrv_co_freeze(BlockDriverState *const *nodes, size_t n)
{
    CONTROL_PATH();
    BdrvFreeze *freeze = freeze_new();
    for (size_t i = 0; i < n; i++) {
        hold_above(freeze, nodes[i]);
    }
    drain_below(freeze);
    freeze_wait(freeze);
    return freeze;
}

BdrvFreeze *coroutine_fn bdrv_co_freeze_node(BlockDriverState *bs)
{
    return bdrv_co_freeze(&bs, 1);
}

BdrvFreeze *coroutine_fn bdrv_co_freeze_gate(BdrvGate *gate)
{
    CONTROL_PATH();
    BdrvFreeze *freeze = freeze_new();
    hold_gate(freeze, gate);
    freeze_wait(freeze);
    return freeze;
}

BdrvFreeze *bdrv_hurry(BlockDriverState *const *nodes, size_t n)
{
    BdrvFreeze *hurry = freeze_new();
    g_autoptr(GPtrArray) stack = g_ptr_array_new();
    for (size_t i = 0; i < n; i++) {
        g_ptr_array_add(stack, nodes[i]);
    }
    drain_stack(hurry, stack, true);
    return hurry;
}

void bdrv_thaw(BdrvFreeze *freeze)
{
    if (!freeze) {
        return;
    }
    GLOBAL_STATE_CODE();
    GHashTableIter iter;
    gpointer item;
    QTAILQ_REMOVE(&bdrv_graph()->freezes, freeze, next);
    g_hash_table_iter_init(&iter, freeze->frozen);
    while (g_hash_table_iter_next(&iter, &item, NULL)) {
        ((BlockDriverState *)item)->frozen--;
    }
    g_hash_table_iter_init(&iter, freeze->drained);
    while (g_hash_table_iter_next(&iter, &item, NULL)) {
        release_drained(item);
    }
    /* Requests start last. */
    g_hash_table_iter_init(&iter, freeze->gates);
    while (g_hash_table_iter_next(&iter, &item, NULL)) {
        release_gate(item);
    }
    g_hash_table_destroy(freeze->gates);
    g_hash_table_destroy(freeze->frozen);
    g_hash_table_destroy(freeze->drained);
    g_free(freeze);
}

void freeze_extend(const BdrvChild *child)
{
    BdrvFreeze *freeze;
    QTAILQ_FOREACH(freeze, &bdrv_graph()->freezes, next) {
        if (!g_hash_table_contains(freeze->frozen, child->bs)) {
            continue;
        }
        /* What is above the edge was frozen by whoever attaches it, hence is quiet already. */
        if (child->gate) {
            hold_gate(freeze, child->gate);
        } else {
            hold_above(freeze, child->parent);
            hold_drained(freeze, child->parent);
        }
    }
}

void freeze_forget_gate(BdrvGate *gate)
{
    BdrvFreeze *freeze;
    QTAILQ_FOREACH(freeze, &bdrv_graph()->freezes, next) {
        if (g_hash_table_remove(freeze->gates, gate)) {
            qatomic_set(&gate->frozen, gate->frozen - 1);
        }
    }
}

bool bdrv_is_frozen(const BlockDriverState *bs)
{
    return bs->frozen > 0;
}

void bdrv_activity_begin(BlockDriverState *bs)
{
    qatomic_inc(&bs->activities);
}

void bdrv_activity_end(BlockDriverState *bs)
{
    if (qatomic_fetch_dec(&bs->activities) == 1) {
        bdrv_freeze_kick();
    }
}

void coroutine_fn bdrv_co_drain(BlockDriverState *bs)
{
    bdrv_thaw(bdrv_co_freeze_node(bs));
}
