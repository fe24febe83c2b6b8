/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing zeroes without data, and discard.
 */
#include "qemu/osdep.h"

#include "io.h"

#include "qemu/atomic.h"

/* Buffers for drivers that cannot zero. */
#define ZERO_BUFFER_BYTES (1 * MiB)

/* ---- write zeroes ---------------------------------------------------------------------------- */

static int coroutine_fn co_zero_by_buffers(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                           unsigned flags)
{
    int64_t piece = MIN(bytes, MAX(ZERO_BUFFER_BYTES, (int64_t)bs->bl.request_alignment));
    QEMU_AUTO_VFREE uint8_t *zeroes = NULL;

    piece = MIN(piece, bdrv_max_piece(bs));
    zeroes = bdrv_try_blockalign(bs, piece);
    if (!zeroes) {
        return -ENOMEM;
    }
    memset(zeroes, 0, piece);
    while (bytes > 0) {
        int64_t n = MIN(bytes, piece);
        QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, zeroes, n);
        int ret = bdrv_co_driver_pwritev(bs, offset, n, &qiov, 0, flags);

        if (ret < 0) {
            return ret;
        }
        offset += n;
        bytes -= n;
    }
    return 0;
}

static int coroutine_fn co_zero_by_driver(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                          unsigned flags)
{
    bool emulate_fua = (flags & BDRV_REQ_FUA) && !(bs->supported_zero_flags & BDRV_REQ_FUA);
    int ret;

    /* A driver that cannot promise "quickly or not at all" must not be asked for it. */
    if ((flags & BDRV_REQ_NO_FALLBACK) && !(bs->supported_zero_flags & BDRV_REQ_NO_FALLBACK)) {
        return -ENOTSUP;
    }
    ret = bs->drv->bdrv_co_pwrite_zeroes(bs, offset, bytes, flags & bs->supported_zero_flags);
    if (ret >= 0 && emulate_fua) {
        qatomic_inc(&bs->write_gen);
        ret = bdrv_co_flush(bs);
    }
    return ret;
}

/* One piece that is either within one zeroing unit of the driver or made of whole ones. */
static int coroutine_fn co_zero_piece(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      unsigned flags)
{
    BdrvChild *below = bdrv_forwarding_child(bs);
    int ret = -ENOTSUP;

    if (bs->drv->bdrv_co_pwrite_zeroes) {
        ret = co_zero_by_driver(bs, offset, bytes, flags);
    } else if (below && !bs->drv->bdrv_co_pwritev) {
        return bdrv_co_pwrite_zeroes(below, offset, bytes, flags);
    }
    if (ret != -ENOTSUP || (flags & BDRV_REQ_NO_FALLBACK)) {
        return ret;
    }
    flags &= ~(BDRV_REQ_ZERO_WRITE | BDRV_REQ_MAY_UNMAP);
    return co_zero_by_buffers(bs, offset, bytes, flags);
}

/*
 * Length of the next piece: up to the next boundary of @unit if not on one, else whole units, else
 * the rest; never over @max (0: no limit).
 */
static int64_t next_piece(int64_t offset, int64_t bytes, int64_t unit, int64_t max)
{
    int64_t n = bytes;

    if (max) {
        n = MIN(n, MAX(ROUND_DOWN(max, unit), unit));
    }
    if (offset % unit) {
        return MIN(n, unit - offset % unit);
    }
    return n >= unit ? ROUND_DOWN(n, unit) : n;
}

int coroutine_fn bdrv_co_driver_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                              unsigned flags)
{
    int64_t unit = MAX(bs->bl.pwrite_zeroes_alignment, bs->bl.request_alignment);

    if (!(bs->open_flags & BDRV_O_UNMAP)) {
        flags &= ~BDRV_REQ_MAY_UNMAP;
    }
    while (bytes > 0) {
        int64_t n = next_piece(offset, bytes, unit, bs->bl.max_pwrite_zeroes);
        int ret = co_zero_piece(bs, offset, n, flags);

        if (ret < 0) {
            return ret;
        }
        offset += n;
        bytes -= n;
    }
    return 0;
}

/* ---- discard --------------------------------------------------------------------------------- */

static int coroutine_fn co_discard_piece(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    BdrvChild *below = bdrv_forwarding_child(bs);

    if (bs->drv->bdrv_co_pdiscard) {
        return bs->drv->bdrv_co_pdiscard(bs, offset, bytes);
    }
    return below ? bdrv_co_pdiscard(below, offset, bytes) : 0;
}

/* Discard is advice: pieces a driver cannot discard (-ENOTSUP) are passed over. */
static int coroutine_fn co_discard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int64_t unit = MAX(bs->bl.pdiscard_alignment, bs->bl.request_alignment);

    while (bytes > 0) {
        int64_t n = next_piece(offset, bytes, unit, bs->bl.max_pdiscard);
        int ret = QEMU_IS_ALIGNED(offset | n, (int64_t)bs->bl.request_alignment)
                      ? co_discard_piece(bs, offset, n) : 0;

        if (ret < 0 && ret != -ENOTSUP) {
            return ret;
        }
        offset += n;
        bytes -= n;
    }
    return 0;
}

static int64_t coroutine_fn co_deeper_pdiscard(const BdrvDeepCall *call)
{
    return bdrv_co_pdiscard(call->child, call->offset, call->bytes);
}

int coroutine_fn bdrv_co_pdiscard(BdrvChild *child, int64_t offset, int64_t bytes)
{
    BlockDriverState *bs = child->bs;
    int64_t total = qatomic_read(&bs->total_bytes);
    BdrvRequest req;
    int ret;

    if (unlikely(qemu_co_stack_is_low())) {
        BdrvDeepCall call = { .fn = co_deeper_pdiscard, .child = child, .offset = offset,
                              .bytes = bytes };

        return bdrv_co_deeper(&call);
    }
    /* There is nothing past the end to be discarded. */
    if (offset >= 0 && offset < total) {
        bytes = MIN(bytes, total - offset);
    }
    ret = bdrv_check_io(child, offset, bytes, true);
    if (ret < 0 || bytes == 0) {
        return ret;
    }
    if (!(bs->open_flags & BDRV_O_UNMAP) || offset >= total) {
        return 0;
    }
    ret = bdrv_request_co_begin(&req, bs, BDRV_REQUEST_DISCARD, offset, bytes, 1, false, false);
    if (ret < 0) {
        return ret;
    }
    ret = co_discard(bs, offset, bytes);
    bdrv_write_done(bs, offset, bytes, ret);
    bdrv_request_end(&req);
    return ret;
}
