/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The length of a node: asking, changing, telling those above.
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "io.h"

#include "block/dirty-bitmap.h"
#include "block/freeze.h"
#include "qemu/atomic.h"
#include "qemu/main-loop.h"

/* ---- what is known --------------------------------------------------------------------------- */

static void tell_parents_bh(void *opaque);

static void length_changed(BlockDriverState *bs)
{
    /* The file of an image grows with nearly every allocation, and is nobody's layer. */
    if (qatomic_read(&bs->n_overlays)) {
        bdrv_chains_changed();
    }
    bdrv_dirty_bitmap_truncate(bs);
    if (!qatomic_xchg(&bs->tells_parents, true)) {
        /* The activity keeps the node open until the main loop came round. */
        bdrv_activity_begin(bs);
        aio_bh_schedule_oneshot(qemu_get_aio_context(), tell_parents_bh, bs);
    }
}

/*
 * The length of @bs was @known and is @bytes; false: it has not been @known any more.  Several
 * threads learn of lengths, each by its own way: what one knows must not undo what another does.
 */
static bool change_length(BlockDriverState *bs, int64_t known, int64_t bytes)
{
    if (qatomic_cmpxchg(&bs->total_bytes, known, bytes) != known) {
        return false;
    }
    length_changed(bs);
    return true;
}

void bdrv_size_changed(BlockDriverState *bs, int64_t new_bytes)
{
    new_bytes = QEMU_ALIGN_UP(new_bytes, BDRV_SECTOR_SIZE);
    while (!change_length(bs, qatomic_read(&bs->total_bytes), new_bytes)) {
        /* Somebody else was faster. */
    }
}

void bdrv_grew(BlockDriverState *bs, int64_t end)
{
    int64_t known;

    end = QEMU_ALIGN_UP(end, BDRV_SECTOR_SIZE);
    do {
        known = qatomic_read(&bs->total_bytes);
    } while (end > known && !change_length(bs, known, end));
}

/* @above is as long as @below. */
static void follow_length(BlockDriverState *above, const BlockDriverState *below)
{
    int64_t known;

    do {
        known = qatomic_load_acquire(&above->total_bytes);
    } while (!change_length(above, known, qatomic_read(&below->total_bytes)));
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int64_t coroutine_fn co_deeper_length(const BdrvDeepCall *call)
{
    return bdrv_co_refresh_length(call->bs);
}

/* As the driver says now; or a negative errno. */
static int64_t coroutine_fn co_ask_length(BlockDriverState *bs)
{
    BdrvChild *below = bdrv_forwarding_child(bs);
    int64_t len;

    if (bs->drv->bdrv_co_getlength) {
        len = bs->drv->bdrv_co_getlength(bs);
    } else {
        len = below ? bdrv_co_refresh_length(below->bs) : qatomic_read(&bs->total_bytes);
    }
    return len > BDRV_MAX_LENGTH ? -EFBIG : len < 0 ? len : QEMU_ALIGN_UP(len, BDRV_SECTOR_SIZE);
}

int64_t coroutine_fn bdrv_co_refresh_length(BlockDriverState *bs)
{
    int64_t known, len;

    if (unlikely(qemu_co_stack_is_low())) {
        BdrvDeepCall call = { .fn = co_deeper_length, .bs = bs };

        return bdrv_co_deeper(&call);
    }
    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    do {
        known = qatomic_read(&bs->total_bytes);
        len = co_ask_length(bs);
        /* A write may have made the file longer after the driver looked: then it looks again. */
    } while (len >= 0 && len != qatomic_read(&bs->total_bytes) && !change_length(bs, known, len));
    return len;
}

int64_t coroutine_fn bdrv_co_length_for(BlockDriverState *bs, int64_t end)
{
    int64_t len = qatomic_read(&bs->total_bytes);

    return bs->drv->has_variable_length && end > len ? bdrv_co_refresh_length(bs) : len;
}

/* ---- telling --------------------------------------------------------------------------------- */

/* Does the node at the upper end have the length of that at the lower without asking? */
static bool has_same_length(const BdrvChild *edge)
{
    const BlockDriver *drv = edge->parent->drv;

    if (!drv) {
        return false;
    }
    /* raw, without a window, over a drive whose medium was changed. */
    if (drv->has_variable_length && edge->role & BDRV_CHILD_FILTERED && bdrv_has_drive(edge->bs)) {
        return true;
    }
    return drv->is_filter && !drv->bdrv_co_getlength && bdrv_forwarding_child(edge->parent) == edge;
}

/* Main thread: those above learn of the new size; forwarding filters have it, too. */
static void tell_parents(BlockDriverState *bs)
{
    BdrvChild *edge;

    QTAILQ_FOREACH(edge, &bs->parents, next_parent) {
        if (edge->gate) {
            if (edge->gate->ops->resized) {
                edge->gate->ops->resized(edge->gate);
            }
        } else if (has_same_length(edge)) {
            follow_length(edge->parent, bs);
        }
    }
}

void bdrv_tell_length(BlockDriverState *bs)
{
    g_autoptr(GPtrArray) stack = g_ptr_array_new();
    BdrvChild *edge;

    g_ptr_array_add(stack, bs);
    while (stack->len) {
        BlockDriverState *node = g_ptr_array_steal_index_fast(stack, stack->len - 1);
        int64_t bytes = qatomic_read(&node->total_bytes);

        QTAILQ_FOREACH(edge, &node->parents, next_parent) {
            if (edge->parent && has_same_length(edge) &&
                qatomic_read(&edge->parent->total_bytes) != bytes) {
                bdrv_size_changed(edge->parent, bytes);
                g_ptr_array_add(stack, edge->parent);
            }
        }
    }
}

static void tell_parents_bh(void *opaque)
{
    BlockDriverState *bs = opaque;

    (void)qatomic_xchg(&bs->tells_parents, false); /* before it looks at the length */
    tell_parents(bs);
    bdrv_activity_end(bs);
}

/* ---- changing -------------------------------------------------------------------------------- */

/* Must a grown area be zeroed explicitly, lest an old longer backing file shine through? */
static bool backing_would_show(BlockDriverState *bs, int64_t old_bytes, int64_t new_bytes)
{
    BlockDriverState *cow = bdrv_cow_bs(bs);

    return new_bytes > old_bytes && cow && qatomic_read(&cow->total_bytes) > old_bytes;
}

static int coroutine_fn co_truncate_driver(BlockDriverState *bs, int64_t offset, bool exact,
                                           PreallocMode prealloc, unsigned flags, Error **errp)
{
    BdrvChild *below = bdrv_forwarding_child(bs);

    if (bs->drv->bdrv_co_truncate) {
        if (flags & ~bs->supported_truncate_flags) {
            error_setg(errp, "Block driver does not support requested flags");
            return -ENOTSUP;
        }
        return bs->drv->bdrv_co_truncate(bs, offset, exact, prealloc, flags, errp);
    }
    if (below) {
        return bdrv_co_truncate(below, offset, exact, prealloc, flags, errp);
    }
    error_setg(errp, "Image format driver does not support resize");
    return -ENOTSUP;
}

static int coroutine_fn co_truncate_tracked(BlockDriverState *bs, int64_t offset, bool exact,
                                            PreallocMode prealloc, unsigned flags, Error **errp)
{
    int64_t old_bytes = qatomic_read(&bs->total_bytes);
    int64_t len;
    int ret;

    if (backing_would_show(bs, old_bytes, offset)) {
        flags |= BDRV_REQ_ZERO_WRITE;
    }
    ret = co_truncate_driver(bs, offset, exact, prealloc, flags, errp);
    qatomic_inc(&bs->write_gen);
    /* Also after an error: some of it may have been done. */
    len = bdrv_co_refresh_length(bs);
    if (ret >= 0 && len < 0) {
        error_setg_errno(errp, -len, "Could not refresh total sector count");
        return len;
    }
    if (ret >= 0 && offset > old_bytes) {
        bdrv_set_dirty(bs, old_bytes, offset - old_bytes);
    }
    return ret;
}

int coroutine_fn bdrv_co_truncate_frozen(BlockDriverState *bs, int64_t offset, Error **errp)
{
    assert(bdrv_is_frozen(bs));
    return co_truncate_tracked(bs, offset, true, PREALLOC_MODE_OFF, 0, errp);
}

typedef struct TruncateHow {
    bool exact;
    PreallocMode prealloc;
    Error **errp;
} TruncateHow;

static int64_t coroutine_fn co_deeper_truncate(const BdrvDeepCall *call)
{
    const TruncateHow *how = call->opaque;

    return bdrv_co_truncate(call->child, call->offset, how->exact, how->prealloc, call->flags,
                            how->errp);
}

int coroutine_fn bdrv_co_truncate(BdrvChild *child, int64_t offset, bool exact,
                                  PreallocMode prealloc, unsigned flags, Error **errp)
{
    BlockDriverState *bs = child->bs;
    int64_t old_bytes, from;
    BdrvRequest req;
    int ret;

    if (unlikely(qemu_co_stack_is_low())) {
        TruncateHow how = { exact, prealloc, errp };
        BdrvDeepCall call = { .fn = co_deeper_truncate, .child = child, .offset = offset,
                              .flags = flags, .opaque = &how };

        return bdrv_co_deeper(&call);
    }
    if (!bs->drv) {
        error_setg(errp, "No medium inserted");
        return -ENOMEDIUM;
    }
    if (offset < 0) {
        error_setg(errp, "Image size cannot be negative");
        return -EINVAL;
    }
    if (bdrv_check_request(offset, 0, errp) < 0) {
        return -EFBIG;
    }
    if (bs->read_only) {
        error_setg(errp, "Image is read-only");
        return -EACCES;
    }
    if (!(child->claim.uses & BLK_PERM_RESIZE)) {
        error_setg(errp, "Resizing node '%s' was not asked for by its user", bs->node_name);
        return -EPERM;
    }
    /* Nobody works in the area that comes or goes meanwhile. */
    old_bytes = qatomic_read(&bs->total_bytes);
    from = MIN(old_bytes, offset);
    ret = bdrv_request_co_begin(&req, bs, BDRV_REQUEST_TRUNCATE, from, BDRV_MAX_LENGTH - from, 1,
                                true, false);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not resize node '%s'", bs->node_name);
        return ret;
    }
    ret = co_truncate_tracked(bs, offset, exact, prealloc, flags, errp);
    bdrv_request_end(&req);
    return ret;
}
