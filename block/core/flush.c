/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flush: everything written before is on stable storage when it returns.
 *
 * A flush writes back the driver's own caches, then asks the medium (protocols) or the children
 * that this node writes to.  Generations elide work: write_gen counts what was written, flushed_gen
 * is the value that the last complete flush covered.  One flush runs at a time; those that waited
 * for it find their work done if it began after their data was written.
 */
#include "qemu/osdep.h"

#include "io.h"

#include "block/block_int.h"
#include "qemu/atomic.h"

#define CHILD_IS_WRITTEN (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED)

static int coroutine_fn co_flush_children(BlockDriverState *bs)
{
    BdrvChild *child;
    int result = 0;

    QLIST_FOREACH(child, &bs->children, next) {
        /* A child without a role holds none of this node's content (old data, a copy, a log). */
        if (child->role && (child->claim.uses & CHILD_IS_WRITTEN)) {
            int ret = bdrv_co_flush(child->bs);

            /* Flush the others all the same: what can be saved is saved. */
            if (ret < 0 && result == 0) {
                result = ret;
            }
        }
    }
    return result;
}

static int coroutine_fn co_flush_medium(BlockDriverState *bs, uint64_t gen)
{
    if ((bs->open_flags & BDRV_O_NO_FLUSH) || qatomic_read(&bs->flushed_gen) == gen) {
        return 0;
    }
    /* Also where the medium is the child's: blkdebug below waits for this. */
    BLKDBG_CO_EVENT(bs->file, FLUSH_TO_DISK);
    return bs->drv->bdrv_co_flush_to_disk ? bs->drv->bdrv_co_flush_to_disk(bs) : 0;
}

static int coroutine_fn co_flush_locked(BlockDriverState *bs)
{
    uint64_t gen = qatomic_read(&bs->write_gen);
    int ret = 0;

    if (bs->drv->bdrv_co_flush) {
        return MIN(bs->drv->bdrv_co_flush(bs), 0);
    }
    if (bs->drv->bdrv_co_flush_to_os) {
        BLKDBG_CO_EVENT(bs->file, FLUSH_TO_OS);
        ret = bs->drv->bdrv_co_flush_to_os(bs);
    }
    if (ret >= 0) {
        ret = co_flush_medium(bs, gen);
    }
    if (ret >= 0) {
        ret = co_flush_children(bs);
    }
    if (ret >= 0) {
        qatomic_set(&bs->flushed_gen, gen);
    }
    return MIN(ret, 0);
}

static int64_t coroutine_fn co_deeper_flush(const BdrvDeepCall *call)
{
    return bdrv_co_flush(call->bs);
}

int coroutine_fn bdrv_co_flush(BlockDriverState *bs)
{
    int ret;

    if (unlikely(qemu_co_stack_is_low())) {
        BdrvDeepCall call = { .fn = co_deeper_flush, .bs = bs };

        return bdrv_co_deeper(&call);
    }
    if (!bs || !bs->drv || bs->read_only || bs->sg || bs->inactive) {
        return 0;
    }
    qemu_co_mutex_lock(&bs->flush_lock);
    ret = co_flush_locked(bs);
    qemu_co_mutex_unlock(&bs->flush_lock);
    return ret;
}
