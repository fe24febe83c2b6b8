/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits of a node: those of the children it does I/O on, merged, then what its driver says.
 */
#include "qemu/osdep.h"

#include "core-int.h"

static int64_t min_non_zero(int64_t a, int64_t b)
{
    return a == 0 ? b : b == 0 ? a : MIN(a, b);
}

static void merge_limits(BlockLimits *dst, const BlockLimits *src)
{
    dst->max_transfer = min_non_zero(dst->max_transfer, src->max_transfer);
    dst->opt_transfer = MAX(dst->opt_transfer, src->opt_transfer);
    dst->opt_mem_alignment = MAX(dst->opt_mem_alignment, src->opt_mem_alignment);
    dst->min_mem_alignment = MAX(dst->min_mem_alignment, src->min_mem_alignment);
    dst->max_iov = min_non_zero(dst->max_iov, src->max_iov);
}

static void compute_limits(BlockDriverState *bs)
{
    bool have_limits = false;
    BdrvChild *child;
    bs->bl = (BlockLimits) { .request_alignment = 1 };
    QLIST_FOREACH(child, &bs->children, next) {
        if (child->role & (BDRV_CHILD_DATA | BDRV_CHILD_FILTERED | BDRV_CHILD_COW)) {
            merge_limits(&bs->bl, &child->bs->bl);
            have_limits = true;
        }
        if (child->role & BDRV_CHILD_FILTERED) {
            bs->bl.request_alignment = MAX(bs->bl.request_alignment,
                                           child->bs->bl.request_alignment);
            if (bs->drv && bs->drv->supports_zoned_children) {
                bs->bl.zones = child->bs->bl.zones;
            }
        }
    }
    if (!have_limits) {
        bs->bl.min_mem_alignment = 512;
        bs->bl.opt_mem_alignment = sysconf(_SC_PAGESIZE);
        bs->bl.max_iov = IOV_MAX;
    }
    if (bs->drv && bs->drv->bdrv_refresh_limits) {
        bs->drv->bdrv_refresh_limits(bs);
    }
    assert(is_power_of_2(bs->bl.request_alignment));
    assert(bs->bl.request_alignment <= BDRV_MAX_ALIGNMENT);
}

void bdrv_refresh_limits(BlockDriverState *bs)
{
    g_autoptr(GPtrArray) stack = g_ptr_array_new();
    g_ptr_array_add(stack, bs);
    while (stack->len) {
        BlockDriverState *node = g_ptr_array_steal_index_fast(stack, stack->len - 1);
        BlockLimits old = node->bl;
        compute_limits(node);
        if (node != bs && memcmp(&old, &node->bl, sizeof(old)) == 0) {
            continue;
        }
        BdrvChild *edge;
        QTAILQ_FOREACH(edge, &node->parents, next_parent) {
            if (edge->parent && edge->parent->opened) {
                g_ptr_array_add(stack, edge->parent);
            }
        }
    }
}
