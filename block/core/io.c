/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The read and write pipeline of a node: check, pad, track, split, call the driver, account.
 * The steps are those of docs/architecture.md, "Requests".
 */
#include "qemu/osdep.h"

#include "io.h"

#include "block/dirty-bitmap.h"
#include "qemu/atomic.h"

/* ---- checks ---------------------------------------------------------------------------------- */

int bdrv_check_request(int64_t offset, int64_t bytes, Error **errp)
{
    const int64_t limit = BDRV_MAX_LENGTH;
    if (offset < 0) {
        error_setg(errp, "offset is negative: %" PRIi64, offset);
    } else if (bytes < 0) {
        error_setg(errp, "bytes is negative: %" PRIi64, bytes);
    } else if (offset > limit) {
        error_setg(errp, "offset(%" PRIi64 ") exceeds maximum(%" PRIi64 ")", offset, limit);
    } else if (bytes > limit - offset) {
        error_setg(errp, "sum of offset(%" PRIi64 ") and bytes(%" PRIi64 ") exceeds maximum(%"
                   PRIi64 ")", offset, bytes, limit);
    } else {
        return 0;
    }
    return -EIO;
}

/* Only files grow by being written to, and what passes requests on to them: not formats. */
static bool grows_by_writes(BlockDriverState *bs)
{
    return bs->drv->is_protocol || bs->drv->has_variable_length || bdrv_forwarding_child(bs);
}

int bdrv_check_io(BdrvChild *child, int64_t offset, int64_t bytes, bool is_write)
{
    BlockDriverState *bs = child->bs;

    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    if (is_write && (bs->read_only || bs->inactive)) {
        return -EPERM;
    }
    if (is_write && !(child->claim.uses & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED))) {
        return -EPERM;
    }
    if (bdrv_check_request(offset, bytes, NULL) < 0) {
        return -EIO;
    }
    /* To whom it is a file, it is full, and more room may come. */
    if (is_write && offset + bytes > qatomic_read(&bs->total_bytes) && !grows_by_writes(bs)) {
        return -ENOSPC;
    }
    return 0;
}

BdrvChild *bdrv_forwarding_child(BlockDriverState *bs)
{
    if (!bs->drv->is_filter) {
        return NULL;
    }
    return bs->drv->filtered_is_backing ? bs->backing : bs->file;
}

/* A write ends where a zone does: pieces below reach their zones one after the other. */
static int64_t within_zone(const BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    const BlockZoneLimits *zones = &bs->bl.zones;

    return zones->model ? MIN(bytes, zones->zone_size - offset % zones->zone_size) : bytes;
}

/* ---- pieces a driver can take ---------------------------------------------------------------- */

int64_t bdrv_max_piece(const BlockDriverState *bs)
{
    int64_t align = bs->bl.request_alignment;
    int64_t max = BDRV_REQUEST_MAX_BYTES;

    if (bs->bl.max_transfer) {
        max = MIN(max, bs->bl.max_transfer);
    }
    return MAX(QEMU_ALIGN_DOWN(max, align), align);
}

int bdrv_max_iov(const BlockDriverState *bs)
{
    return bs->bl.max_iov ? MIN(bs->bl.max_iov, IOV_MAX) : IOV_MAX;
}

static int coroutine_fn co_read_piece(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    BdrvChild *below;

    if (bs->drv->bdrv_co_preadv) {
        return bs->drv->bdrv_co_preadv(bs, offset, bytes, qiov, qiov_offset,
                                       flags & bs->supported_read_flags);
    }
    below = bdrv_forwarding_child(bs);
    return below ? bdrv_co_preadv_part(below, offset, bytes, qiov, qiov_offset, flags) : -ENOTSUP;
}

static int coroutine_fn co_write_piece(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    BdrvChild *below;

    if (bs->drv->bdrv_co_pwritev) {
        return bs->drv->bdrv_co_pwritev(bs, offset, bytes, qiov, qiov_offset,
                                        flags & bs->supported_write_flags);
    }
    below = bdrv_forwarding_child(bs);
    return below ? bdrv_co_pwritev_part(below, offset, bytes, qiov, qiov_offset, flags) : -ENOTSUP;
}

/* One piece whose iovec has more elements than the driver takes: through one buffer. */
static int coroutine_fn co_bounce_piece(BlockDriverState *bs, bool is_write, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov, size_t qiov_offset,
                                        unsigned flags)
{
    QEMU_AUTO_VFREE uint8_t *buf = bdrv_try_blockalign(bs, bytes);
    QEMUIOVector one = QEMU_IOVEC_INIT_BUF(one, buf, bytes);
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    if (is_write) {
        qemu_iovec_to_buf(qiov, qiov_offset, buf, bytes);
        return co_write_piece(bs, offset, bytes, &one, 0, flags);
    }
    ret = co_read_piece(bs, offset, bytes, &one, 0, flags);
    if (ret >= 0) {
        qemu_iovec_from_buf(qiov, qiov_offset, buf, bytes);
    }
    return ret;
}

static int coroutine_fn co_in_pieces(BlockDriverState *bs, bool is_write, int64_t offset,
                                     int64_t bytes, QEMUIOVector *qiov, size_t qiov_offset,
                                     unsigned flags)
{
    int64_t max = bdrv_max_piece(bs);

    while (bytes > 0) {
        int64_t n = MIN(bytes, max);
        int ret;

        if (unlikely(qiov->niov > bdrv_max_iov(bs))) {
            n = MIN(n, MAX(1 * MiB, (int64_t)bs->bl.request_alignment));
            n = is_write ? within_zone(bs, offset, n) : n;
            ret = co_bounce_piece(bs, is_write, offset, n, qiov, qiov_offset, flags);
        } else if (is_write) {
            n = within_zone(bs, offset, n);
            ret = co_write_piece(bs, offset, n, qiov, qiov_offset, flags);
        } else {
            ret = co_read_piece(bs, offset, n, qiov, qiov_offset, flags);
        }
        if (ret < 0) {
            return ret;
        }
        offset += n;
        bytes -= n;
        qiov_offset += n;
    }
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int coroutine_fn co_pwritev_full(BdrvChild *child, int64_t offset, int64_t bytes,
                                        QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);

int coroutine_fn bdrv_co_aligned_preadv(BdrvChild *child, int64_t offset, int64_t bytes,
                                        QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    BlockDriverState *bs = child->bs;
    int64_t total = bdrv_co_length_for(bs, offset + bytes);
    int64_t readable;
    int ret = 0;

    if (total < 0) {
        return total;
    }
    /* The driver fills the rest of its last block; past that there is nothing to ask it for. */
    readable = QEMU_ALIGN_UP(total, (int64_t)bs->bl.request_alignment) - offset;
    readable = MIN(MAX(readable, 0), bytes);
    if (readable > 0) {
        ret = co_in_pieces(bs, false, offset, readable, qiov, qiov_offset, flags);
    }
    if (ret >= 0 && readable < bytes) {
        qemu_iovec_memset(qiov, qiov_offset + readable, 0, bytes - readable);
    }
    return ret;
}

static int coroutine_fn co_padded_preadv(BdrvChild *child, int64_t offset, int64_t bytes,
                                         QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    BdrvPad pad;
    int ret = bdrv_pad_init(&pad, child->bs, offset, bytes, qiov, qiov_offset);

    if (ret < 0) {
        return ret;
    }
    ret = bdrv_co_aligned_preadv(child, pad.offset, pad.bytes, &pad.qiov, 0, flags);
    bdrv_pad_done(&pad, ret >= 0);
    return ret;
}

static int coroutine_fn co_preadv_full(BdrvChild *child, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    BlockDriverState *bs = child->bs;
    bool serialising = flags & BDRV_REQ_SERIALISING;
    int64_t unit = bs->bl.request_alignment;
    BdrvRequest req;
    int ret = bdrv_check_io(child, offset, bytes, false);

    if (ret < 0 || bytes == 0) {
        return ret;
    }
    if (unlikely(bs->drv->bdrv_serialise_reads)) {
        int64_t wanted = bs->drv->bdrv_serialise_reads(bs);

        serialising |= wanted > 0;
        unit = MAX(unit, wanted);
    }
    ret = bdrv_request_co_begin(&req, bs, BDRV_REQUEST_READ, offset, bytes, unit, serialising,
                                flags & BDRV_REQ_NO_WAIT);
    if (ret < 0) {
        return ret;
    }
    if (likely(bdrv_is_aligned(bs, offset, bytes))) {
        ret = bdrv_co_aligned_preadv(child, offset, bytes, qiov, qiov_offset, flags);
    } else {
        ret = co_padded_preadv(child, offset, bytes, qiov, qiov_offset, flags);
    }
    bdrv_request_end(&req);
    return ret;
}

static void fast_done(BdrvFastRequest *req, int ret)
{
    aio_co_wake(req->opaque);
}

/* What starting @req returned, but for BDRV_FAST_NO. */
static int coroutine_fn co_finish_fast(BdrvFastRequest *req, int result)
{
    if (result <= 0) {
        return result;
    }
    if (result == BDRV_FAST_PENDING) {
        qemu_coroutine_yield();
        return req->ret;
    }
    result = req->is_write ? co_pwritev_full(req->child, req->offset, req->bytes, req->qiov,
                                             req->qiov_offset, 0)
                           : co_preadv_full(req->child, req->offset, req->bytes, req->qiov,
                                            req->qiov_offset, 0);
    bdrv_fast_end(req, result);
    return result;
}

static int coroutine_fn co_try_fast(BdrvChild *child, bool is_write, int64_t offset, int64_t bytes,
                                    QEMUIOVector *qiov, size_t qiov_offset)
{
    BdrvFastRequest req;
    int ret;

    req.child = child;
    req.offset = offset;
    req.bytes = bytes;
    req.qiov = qiov;
    req.qiov_offset = qiov_offset;
    req.is_write = is_write;
    req.done = fast_done;
    req.opaque = qemu_coroutine_self();
    ret = bdrv_fast_start(&req);
    return ret == BDRV_FAST_NO ? ret : co_finish_fast(&req, ret);
}

static void coroutine_fn deeper_entry(void *opaque)
{
    BdrvDeepCall *call = opaque;

    call->ret = call->fn(call);
}

int64_t coroutine_fn bdrv_co_deeper(BdrvDeepCall *call)
{
    qemu_co_call(deeper_entry, call);
    return call->ret;
}

static int64_t coroutine_fn co_deeper_preadv(const BdrvDeepCall *call)
{
    return co_preadv_full(call->child, call->offset, call->bytes, call->qiov, call->qiov_offset,
                          call->flags);
}

int coroutine_fn bdrv_co_preadv_part(BdrvChild *child, int64_t offset, int64_t bytes,
                                     QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    int ret = flags ? BDRV_FAST_NO
                    : co_try_fast(child, false, offset, bytes, qiov, qiov_offset);

    if (ret != BDRV_FAST_NO) {
        return ret;
    }
    if (unlikely(qemu_co_stack_is_low())) {
        BdrvDeepCall call = { .fn = co_deeper_preadv, .child = child, .offset = offset,
                              .bytes = bytes, .qiov = qiov, .qiov_offset = qiov_offset,
                              .flags = flags };

        return bdrv_co_deeper(&call);
    }
    return co_preadv_full(child, offset, bytes, qiov, qiov_offset, flags);
}

/* ---- writing --------------------------------------------------------------------------------- */

int coroutine_fn bdrv_co_driver_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    /* A forwarding filter passes the flag on; the node below sees to it. */
    bool emulate_fua = (flags & BDRV_REQ_FUA) && bs->drv->bdrv_co_pwritev &&
                       !(bs->supported_write_flags & BDRV_REQ_FUA);
    int ret = co_in_pieces(bs, true, offset, bytes, qiov, qiov_offset,
                           emulate_fua ? flags & ~BDRV_REQ_FUA : flags);

    if (ret >= 0 && emulate_fua) {
        qatomic_inc(&bs->write_gen);
        ret = bdrv_co_flush(bs);
    }
    return ret;
}

static int coroutine_fn co_pwritev_compressed(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                              QEMUIOVector *qiov, size_t qiov_offset)
{
    BdrvChild *below;

    if (bs->drv->bdrv_co_pwritev_compressed) {
        return bs->drv->bdrv_co_pwritev_compressed(bs, offset, bytes, qiov, qiov_offset);
    }
    below = bdrv_forwarding_child(bs);
    return below ? bdrv_co_pwritev_part(below, offset, bytes, qiov, qiov_offset,
                                        BDRV_REQ_WRITE_COMPRESSED)
                 : -ENOTSUP;
}

static void raise_highest_offset(BlockDriverState *bs, uint64_t end)
{
    uint64_t highest = qatomic_read(&bs->wr_highest_offset);

    while (end > highest) {
        uint64_t seen = qatomic_cmpxchg(&bs->wr_highest_offset, highest, end);

        if (seen == highest) {
            return;
        }
        highest = seen;
    }
}

/* Kept apart, so that a write that nobody watches, nearly each, needs no stack for it. */
static void __attribute__((noinline)) tell_watchers(BlockDriverState *bs, int64_t offset,
                                                    int64_t bytes, int64_t end)
{
    bdrv_write_threshold_check(bs, end);
    bdrv_set_dirty(bs, offset, bytes);
}

void bdrv_note_write(BlockDriverState *bs, int64_t offset, int64_t bytes, int64_t end, int ret)
{
    qatomic_inc(&bs->write_gen);
    if (ret >= 0) {
        raise_highest_offset(bs, end);
    }
    /* Also after an error: what the range holds now is unknown. */
    if (qatomic_read(&bs->write_threshold) || qatomic_read(&bs->n_dirty_bitmaps)) {
        tell_watchers(bs, offset, bytes, end);
    }
}

/* A layer got content.  What it allocates at once may be more than what was written. */
static void layer_has_changed(const BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int64_t unit = bs->bl.pwrite_zeroes_alignment;

    if (!unit) {
        bdrv_chains_changed();
        return;
    }
    bytes += offset % unit;
    offset = QEMU_ALIGN_DOWN(offset, unit);
    bdrv_chains_changed_at(offset, QEMU_ALIGN_UP(bytes, unit));
}

void coroutine_fn bdrv_write_done(BlockDriverState *bs, int64_t offset, int64_t bytes, int ret)
{
    const BdrvChild *below = bdrv_forwarding_child(bs);
    int64_t end = offset + bytes;

    /* A filter is as long as what it filters; it may have dropped padding past that. */
    if (below) {
        end = MIN(end, MAX(bdrv_getlength(below->bs), offset));
    }
    if (bs->drv->supports_backing && qatomic_read(&bs->n_overlays)) {
        layer_has_changed(bs, offset, bytes);
    }
    /* First the length: dirty bitmaps do not know what is past it. */
    if (ret >= 0 && bs->drv->is_protocol) {
        bdrv_grew(bs, end);
    } else if (ret >= 0 && end > qatomic_read(&bs->total_bytes)) {
        bdrv_co_refresh_length(bs);
    }
    bdrv_note_write(bs, offset, bytes, end, ret);
}

/* detect-zeroes: turn a write of zeroes into one without data. */
static unsigned detect_zeroes(BlockDriverState *bs, QEMUIOVector *qiov, size_t qiov_offset,
                              int64_t bytes, unsigned flags)
{
    if (bs->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF ||
        (flags & (BDRV_REQ_ZERO_WRITE | BDRV_REQ_WRITE_COMPRESSED)) ||
        !qemu_iovec_is_zero(qiov, qiov_offset, bytes)) {
        return flags;
    }
    if (bs->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP) {
        flags |= BDRV_REQ_MAY_UNMAP;
    }
    return flags | BDRV_REQ_ZERO_WRITE;
}

int coroutine_fn bdrv_co_aligned_pwritev(BdrvChild *child, int64_t offset, int64_t bytes,
                                         QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    BlockDriverState *bs = child->bs;
    int ret;

    flags = detect_zeroes(bs, qiov, qiov_offset, bytes, flags);
    if (flags & BDRV_REQ_ZERO_WRITE) {
        BLKDBG_CO_EVENT(child, PWRITEV_ZERO);
        ret = bdrv_co_driver_pwrite_zeroes(bs, offset, bytes, flags);
    } else if (flags & BDRV_REQ_WRITE_COMPRESSED) {
        ret = co_pwritev_compressed(bs, offset, bytes, qiov, qiov_offset);
    } else {
        BLKDBG_CO_EVENT(child, PWRITEV);
        ret = bdrv_co_driver_pwritev(bs, offset, bytes, qiov, qiov_offset, flags);
    }
    BLKDBG_CO_EVENT(child, PWRITEV_DONE);
    bdrv_write_done(bs, offset, bytes, ret);
    return ret;
}

/* Read-modify-write; the request is serialising over the whole blocks. */
static int coroutine_fn co_padded_pwritev(BdrvChild *child, int64_t offset, int64_t bytes,
                                          QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    BdrvPad pad;
    int ret = bdrv_pad_init(&pad, child->bs, offset, bytes, qiov, qiov_offset);

    if (ret < 0) {
        return ret;
    }
    ret = bdrv_pad_co_fetch(&pad, child);
    if (ret >= 0) {
        ret = bdrv_co_aligned_pwritev(child, pad.offset, pad.bytes, &pad.qiov, 0, flags);
    }
    bdrv_pad_done(&pad, false);
    return ret;
}

/* Zeroes over part of one block: they are data. */
static int coroutine_fn co_zero_part_of_block(BdrvChild *child, int64_t offset, int64_t bytes,
                                              unsigned flags)
{
    g_autofree uint8_t *zeroes = g_try_malloc0(bytes);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, zeroes, bytes);

    if (!zeroes) {
        return -ENOMEM;
    }
    flags &= ~(BDRV_REQ_ZERO_WRITE | BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK);
    return co_padded_pwritev(child, offset, bytes, &qiov, 0, flags);
}

/* Zeroes over an unaligned range: partial blocks by read-modify-write, the middle as zeroes. */
static int coroutine_fn co_padded_zeroes(BdrvChild *child, int64_t offset, int64_t bytes,
                                         unsigned flags)
{
    int64_t align = child->bs->bl.request_alignment;
    int64_t end = offset + bytes;

    while (offset < end) {
        int64_t whole = QEMU_IS_ALIGNED(offset, align) ? QEMU_ALIGN_DOWN(end - offset, align) : 0;
        int64_t n = whole ? whole : MIN(QEMU_ALIGN_UP(offset + 1, align), end) - offset;
        int ret = whole ? bdrv_co_aligned_pwritev(child, offset, n, NULL, 0, flags)
                        : co_zero_part_of_block(child, offset, n, flags);

        if (ret < 0) {
            return ret;
        }
        offset += n;
    }
    return 0;
}

/*
 * A zero write past the end may extend a file in several host calls: nobody else may extend it
 * meanwhile.  So it reserves all that follows it.
 */
static bool extends_by_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes, unsigned flags)
{
    return (flags & BDRV_REQ_ZERO_WRITE) && bs->drv->is_protocol &&
           offset + bytes > qatomic_read(&bs->total_bytes);
}

static int coroutine_fn co_pwritev_full(BdrvChild *child, int64_t offset, int64_t bytes,
                                        QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    BlockDriverState *bs = child->bs;
    int ret = bdrv_check_io(child, offset, bytes, true);
    bool aligned, extends;
    BdrvRequest req;

    if (ret < 0 || bytes == 0) {
        return ret;
    }
    if ((flags & BDRV_REQ_WRITE_COMPRESSED) && !bdrv_supports_compressed_writes(bs)) {
        return -ENOTSUP;
    }
    /* A compressed write covers whole clusters; the driver sees it as it is. */
    aligned = (flags & BDRV_REQ_WRITE_COMPRESSED) || bdrv_is_aligned(bs, offset, bytes);
    extends = extends_by_zeroes(bs, offset, bytes, flags);
    ret = bdrv_request_co_begin(&req, bs, BDRV_REQUEST_WRITE, offset,
                                extends ? BDRV_MAX_LENGTH - offset : bytes,
                                bs->bl.request_alignment,
                                !aligned || extends || (flags & BDRV_REQ_SERIALISING),
                                flags & BDRV_REQ_NO_WAIT);
    if (ret < 0) {
        return ret;
    }
    if (likely(aligned)) {
        ret = bdrv_co_aligned_pwritev(child, offset, bytes, qiov, qiov_offset, flags);
    } else if (flags & BDRV_REQ_ZERO_WRITE) {
        ret = co_padded_zeroes(child, offset, bytes, flags);
    } else {
        ret = co_padded_pwritev(child, offset, bytes, qiov, qiov_offset, flags);
    }
    bdrv_request_end(&req);
    return ret;
}

static int64_t coroutine_fn co_deeper_pwritev(const BdrvDeepCall *call)
{
    return co_pwritev_full(call->child, call->offset, call->bytes, call->qiov, call->qiov_offset,
                           call->flags);
}

int coroutine_fn bdrv_co_pwritev_part(BdrvChild *child, int64_t offset, int64_t bytes,
                                      QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    int ret = flags ? BDRV_FAST_NO
                    : co_try_fast(child, true, offset, bytes, qiov, qiov_offset);

    if (ret != BDRV_FAST_NO) {
        return ret;
    }
    if (unlikely(qemu_co_stack_is_low())) {
        BdrvDeepCall call = { .fn = co_deeper_pwritev, .child = child, .offset = offset,
                              .bytes = bytes, .qiov = qiov, .qiov_offset = qiov_offset,
                              .flags = flags };

        return bdrv_co_deeper(&call);
    }
    return co_pwritev_full(child, offset, bytes, qiov, qiov_offset, flags);
}

/* ---- one buffer ------------------------------------------------------------------------------ */

int coroutine_fn bdrv_co_pread(BdrvChild *child, int64_t offset, int64_t bytes, void *buf,
                               unsigned flags)
{
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, bytes);

    return bdrv_co_preadv_part(child, offset, bytes, &qiov, 0, flags);
}

int coroutine_fn bdrv_co_pwrite(BdrvChild *child, int64_t offset, int64_t bytes, const void *buf,
                                unsigned flags)
{
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, (void *)buf, bytes);

    return bdrv_co_pwritev_part(child, offset, bytes, &qiov, 0, flags);
}

int coroutine_fn bdrv_co_pwrite_sync(BdrvChild *child, int64_t offset, int64_t bytes,
                                     const void *buf, unsigned flags)
{
    int ret = bdrv_co_pwrite(child, offset, bytes, buf, flags);

    return ret < 0 ? ret : bdrv_co_flush(child->bs);
}

int coroutine_fn bdrv_co_pwrite_zeroes(BdrvChild *child, int64_t offset, int64_t bytes,
                                       unsigned flags)
{
    return bdrv_co_pwritev_part(child, offset, bytes, NULL, 0, flags | BDRV_REQ_ZERO_WRITE);
}

/* ---- memory ---------------------------------------------------------------------------------- */

size_t bdrv_opt_mem_align(BlockDriverState *bs)
{
    return MAX(bs->bl.opt_mem_alignment, (size_t)4096);
}

void *bdrv_try_blockalign(BlockDriverState *bs, size_t size)
{
    return qemu_try_memalign(bdrv_opt_mem_align(bs), size ? size : 1);
}

/* ---- debug ----------------------------------------------------------------------------------- */

void coroutine_fn bdrv_co_debug_event(BlockDriverState *bs, BlkdebugEvent event)
{
    if (bs && bs->drv && bs->drv->bdrv_co_debug_event) {
        bs->drv->bdrv_co_debug_event(bs, event);
    }
}
