/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unaligned requests: extended to the node's alignment.
 *
 *        |<-- head -->|<-------- the caller's bytes -------->|<-- tail -->|
 *        ^ pad.offset                                                     ^ + pad.bytes
 *
 * A read puts head and tail into a buffer that is thrown away.  A write first reads the first and
 * the last block (the request is serialising over them, so nobody changes them meanwhile), then
 * writes head + caller's + tail.  Head and tail lie in at most two blocks; when it is one block,
 * the buffer holds it once and the caller's bytes replace its middle.
 */
#include "qemu/osdep.h"

#include "io.h"

bool bdrv_is_aligned(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return QEMU_IS_ALIGNED(offset | bytes, (int64_t)bs->bl.request_alignment);
}

static void join(BdrvPad *pad)
{
    qemu_iovec_init(&pad->joined, pad->user_qiov->niov + 2);
    if (pad->head) {
        qemu_iovec_add(&pad->joined, pad->buf, pad->head);
    }
    qemu_iovec_concat(&pad->joined, pad->user_qiov, pad->user_offset, pad->user_bytes);
    if (pad->tail) {
        qemu_iovec_add(&pad->joined, pad->buf + pad->buf_len - pad->tail, pad->tail);
    }
    qemu_iovec_init_external(&pad->qiov, pad->joined.iov, pad->joined.niov);
}

int bdrv_pad_init(BdrvPad *pad, BlockDriverState *bs, int64_t offset, int64_t bytes,
                  QEMUIOVector *qiov, size_t qiov_offset)
{
    int64_t align = bs->bl.request_alignment;
    int64_t start = QEMU_ALIGN_DOWN(offset, align);
    int64_t end = QEMU_ALIGN_UP(offset + bytes, align);

    *pad = (BdrvPad){
        .offset = start,
        .bytes = end - start,
        .head = offset - start,
        .tail = end - (offset + bytes),
        .user_qiov = qiov,
        .user_offset = qiov_offset,
        .user_bytes = bytes,
        .buf_len = end - start == align ? align : 2 * align,
    };
    pad->buf = bdrv_try_blockalign(bs, pad->buf_len);
    if (!pad->buf) {
        return -ENOMEM;
    }
    join(pad);
    if (pad->joined.niov > bdrv_max_iov(bs)) {
        pad->bounce = bdrv_try_blockalign(bs, pad->bytes);
        if (!pad->bounce) {
            bdrv_pad_done(pad, false);
            return -ENOMEM;
        }
        qemu_iovec_init_buf(&pad->qiov, pad->bounce, pad->bytes);
    }
    return 0;
}

static int coroutine_fn co_fetch_block(BdrvChild *child, int64_t offset, uint8_t *buf)
{
    int64_t align = child->bs->bl.request_alignment;
    QEMUIOVector block = QEMU_IOVEC_INIT_BUF(block, buf, align);

    return bdrv_co_aligned_preadv(child, offset, align, &block, 0, 0);
}

int coroutine_fn bdrv_pad_co_fetch(BdrvPad *pad, BdrvChild *child)
{
    int64_t align = child->bs->bl.request_alignment;
    bool one_block = pad->bytes == align;
    int ret = 0;

    if (pad->head || one_block) {
        BLKDBG_CO_EVENT(child, PWRITEV_RMW_HEAD);
        ret = co_fetch_block(child, pad->offset, pad->buf);
        BLKDBG_CO_EVENT(child, PWRITEV_RMW_AFTER_HEAD);
    }
    if (ret >= 0 && pad->tail && !one_block) {
        BLKDBG_CO_EVENT(child, PWRITEV_RMW_TAIL);
        ret = co_fetch_block(child, pad->offset + pad->bytes - align,
                             pad->buf + pad->buf_len - align);
        BLKDBG_CO_EVENT(child, PWRITEV_RMW_AFTER_TAIL);
    }
    if (ret >= 0 && pad->bounce) {
        qemu_iovec_to_buf(&pad->joined, 0, pad->bounce, pad->bytes);
    }
    return ret;
}

void bdrv_pad_done(BdrvPad *pad, bool was_read)
{
    if (was_read && pad->bounce) {
        qemu_iovec_from_buf(pad->user_qiov, pad->user_offset, pad->bounce + pad->head,
                            pad->user_bytes);
    }
    qemu_iovec_destroy(&pad->joined);
    qemu_vfree(pad->bounce);
    qemu_vfree(pad->buf);
}
