/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Offloaded copy: the data does not pass through us (reflink, copy_file_range).
 *
 * bdrv_co_copy_range() enters the source; its drivers map the range down to a protocol node, which
 * then enters the target; the target's drivers map down again, and the protocol at the bottom
 * copies. Requests are tracked on every node passed, so overlapping ones wait as usual.  -ENOTSUP
 * means "read and write instead"; nothing was changed then but perhaps a part of the target range.
 * From deep down in a chain of images reading, which goes on with a new stack, is the way, too.
 *
 * With BDRV_REQ_NO_FALLBACK the two files get to share the blocks, or nothing changes.  -EXDEV says
 * that they never will, whatever the range; -ENOTSUP, that they do not for this one.  A range of
 * no bytes going down to the target asks for the first, so that no room is made in vain.
 */
#include "qemu/osdep.h"

#include "io.h"

/* Zero-detection, encryption and the like must see the data. */
static bool node_allows_offload(const BlockDriverState *bs)
{
    return bs->drv && !bs->encrypted && bs->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF;
}

int coroutine_fn bdrv_co_copy_range_from(BdrvChild *src, int64_t src_offset, BdrvChild *dst,
                                         int64_t dst_offset, int64_t bytes, unsigned flags)
{
    BlockDriverState *bs = src->bs;
    BdrvRequest req;
    int ret = bdrv_check_io(src, src_offset, bytes, false);

    if (ret < 0) {
        return ret;
    }
    if (!node_allows_offload(bs) || !bs->drv->bdrv_co_copy_range_from ||
        !bdrv_is_aligned(bs, src_offset, bytes) || qemu_co_stack_is_low()) {
        return -ENOTSUP;
    }
    ret = bdrv_request_co_begin(&req, bs, BDRV_REQUEST_READ, src_offset, bytes, 1, false, false);
    if (ret >= 0) {
        ret = bs->drv->bdrv_co_copy_range_from(bs, src, src_offset, dst, dst_offset, bytes, flags);
        bdrv_request_end(&req);
    }
    return ret;
}

int coroutine_fn bdrv_co_copy_range_to(BdrvChild *src, int64_t src_offset, BdrvChild *dst,
                                       int64_t dst_offset, int64_t bytes, unsigned flags)
{
    BlockDriverState *bs = dst->bs;
    BdrvRequest req;
    int ret = bdrv_check_io(dst, dst_offset, bytes, true);

    if (ret < 0) {
        return ret;
    }
    if (!node_allows_offload(bs) || !bs->drv->bdrv_co_copy_range_to ||
        !bdrv_is_aligned(bs, dst_offset, bytes)) {
        return -ENOTSUP;
    }
    if (bytes == 0) {
        return bs->drv->bdrv_co_copy_range_to(bs, src, src_offset, dst, dst_offset, 0, flags);
    }
    ret = bdrv_request_co_begin(&req, bs, BDRV_REQUEST_WRITE, dst_offset, bytes, 1,
                                flags & BDRV_REQ_SERIALISING, false);
    if (ret >= 0) {
        ret = bs->drv->bdrv_co_copy_range_to(bs, src, src_offset, dst, dst_offset, bytes, flags);
        bdrv_write_done(bs, dst_offset, bytes, ret);
        bdrv_request_end(&req);
    }
    return ret;
}

int coroutine_fn bdrv_co_copy_range(BdrvChild *src, int64_t src_offset, BdrvChild *dst,
                                    int64_t dst_offset, int64_t bytes, unsigned flags)
{
    int ret;

    if (bytes == 0) {
        return 0;
    }
    ret = bdrv_co_copy_range_from(src, src_offset, dst, dst_offset, bytes, flags & ~BDRV_REQ_FUA);
    return ret >= 0 && (flags & BDRV_REQ_FUA) ? bdrv_co_flush(dst->bs) : ret;
}
