/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A backend's requests: through the gate, checked, accounted, to the root edge.
 */
#include "qemu/osdep.h"

#include "backend-int.h"

#include "block/freeze.h"
#include "qemu/atomic.h"
#include "qemu/main-loop.h"

/* ---- entrance -------------------------------------------------------------------------------- */

/* 0, or why the request cannot be: no medium, out of range. */
static int check_range(BlockBackend *blk, int64_t offset, int64_t bytes)
{
    int64_t len;

    if (!blk_is_available(blk)) {
        return -ENOMEDIUM;
    }
    if (bdrv_check_request(offset, bytes, NULL) < 0) {
        return -EIO;
    }
    if (!blk_get_allow_write_beyond_eof(blk)) {
        len = bdrv_getlength(blk->root->bs);
        if (len < 0) {
            return len;
        }
        if (offset > len || bytes > len - offset) {
            return -EIO;
        }
    }
    return 0;
}

/* Write-through: each write is on stable storage when it returns. */
static unsigned write_flags(BlockBackend *blk, unsigned flags)
{
    return blk_enable_write_cache(blk) ? flags : flags | BDRV_REQ_FUA;
}

typedef struct BlkRequest {
    BlockBackend *blk;
    BlockAcctCookie acct;
    int ret; /* < 0: refused at the entrance */
} BlkRequest;

static bool coroutine_fn co_begin(BlkRequest *req, BlockBackend *blk, BlockAcctType type,
                                  int64_t offset, int64_t bytes)
{
    req->blk = blk;
    bdrv_gate_co_enter(&blk->gate);
    req->ret = type == BLOCK_ACCT_FLUSH ? (blk_is_available(blk) ? 0 : -ENOMEDIUM)
                                        : check_range(blk, offset, bytes);
    if (req->ret < 0) {
        block_acct_invalid(&blk->stats, type);
        bdrv_gate_leave(&blk->gate);
        return false;
    }
    block_acct_start(&blk->stats, &req->acct, bytes, type);
    return true;
}

static int co_end(BlkRequest *req, int ret)
{
    if (ret < 0) {
        block_acct_failed(&req->blk->stats, &req->acct);
    } else {
        block_acct_done(&req->blk->stats, &req->acct);
    }
    bdrv_gate_leave(&req->blk->gate);
    return ret;
}

/* ---- coroutine I/O --------------------------------------------------------------------------- */

int coroutine_fn blk_co_preadv(BlockBackend *blk, int64_t offset, int64_t bytes, QEMUIOVector *qiov,
                               unsigned flags)
{
    BlkRequest req;

    if (!co_begin(&req, blk, BLOCK_ACCT_READ, offset, bytes)) {
        return req.ret;
    }
    return co_end(&req, bdrv_co_preadv(blk->root, offset, bytes, qiov, flags));
}

int coroutine_fn blk_co_pwritev(BlockBackend *blk, int64_t offset, int64_t bytes,
                                QEMUIOVector *qiov, unsigned flags)
{
    BlkRequest req;

    if (!co_begin(&req, blk, BLOCK_ACCT_WRITE, offset, bytes)) {
        return req.ret;
    }
    return co_end(&req, bdrv_co_pwritev(blk->root, offset, bytes, qiov, write_flags(blk, flags)));
}

int coroutine_fn blk_co_pread(BlockBackend *blk, int64_t offset, int64_t bytes, void *buf,
                              unsigned flags)
{
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, bytes);

    return blk_co_preadv(blk, offset, bytes, &qiov, flags);
}

int coroutine_fn blk_co_pwrite(BlockBackend *blk, int64_t offset, int64_t bytes, const void *buf,
                               unsigned flags)
{
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, (void *)buf, bytes);

    return blk_co_pwritev(blk, offset, bytes, &qiov, flags);
}

int coroutine_fn blk_co_pwrite_zeroes(BlockBackend *blk, int64_t offset, int64_t bytes,
                                      unsigned flags)
{
    return blk_co_pwritev(blk, offset, bytes, NULL, flags | BDRV_REQ_ZERO_WRITE);
}

int coroutine_fn blk_co_pdiscard(BlockBackend *blk, int64_t offset, int64_t bytes)
{
    BlkRequest req;

    if (!co_begin(&req, blk, BLOCK_ACCT_UNMAP, offset, bytes)) {
        return req.ret;
    }
    return co_end(&req, bdrv_co_pdiscard(blk->root, offset, bytes));
}

int coroutine_fn blk_co_flush(BlockBackend *blk)
{
    BlkRequest req;

    if (!co_begin(&req, blk, BLOCK_ACCT_FLUSH, 0, 0)) {
        return req.ret;
    }
    return co_end(&req, bdrv_co_flush(blk->root->bs));
}

/*
 * Enter two gates without ever sleeping at one while counted in the other: a freeze of both would
 * wait for us forever.
 */
static void coroutine_fn co_enter_both(BdrvGate *a, BdrvGate *b)
{
    bdrv_gate_co_enter(a);
    while (a != b && !bdrv_gate_try_enter(b)) {
        BdrvGate *frozen = b;

        bdrv_gate_leave(a);
        bdrv_gate_co_enter(frozen);
        b = a;
        a = frozen;
    }
}

int coroutine_fn blk_co_copy_range(BlockBackend *src, int64_t src_offset, BlockBackend *dst,
                                   int64_t dst_offset, int64_t bytes, unsigned flags)
{
    int ret;

    co_enter_both(&src->gate, &dst->gate);
    ret = check_range(src, src_offset, bytes);
    if (ret >= 0) {
        ret = check_range(dst, dst_offset, bytes);
    }
    if (ret >= 0) {
        ret = bdrv_co_copy_range(src->root, src_offset, dst->root, dst_offset, bytes,
                                 write_flags(dst, flags));
    }
    if (src != dst) {
        bdrv_gate_leave(&dst->gate);
    }
    bdrv_gate_leave(&src->gate);
    return ret;
}

int coroutine_fn blk_co_truncate(BlockBackend *blk, int64_t offset, bool exact,
                                 PreallocMode prealloc, unsigned flags, Error **errp)
{
    int ret;

    bdrv_gate_co_enter(&blk->gate);
    if (!blk_is_available(blk)) {
        error_setg(errp, "No medium inserted");
        ret = -ENOMEDIUM;
    } else {
        ret = bdrv_co_truncate(blk->root, offset, exact, prealloc, flags, errp);
    }
    bdrv_gate_leave(&blk->gate);
    return ret;
}

int coroutine_fn blk_co_block_status_above(BlockBackend *blk, BlockDriverState *base,
                                           int64_t offset, int64_t bytes, int64_t *pnum,
                                           int64_t *map, BlockDriverState **file, int *depth)
{
    int ret;

    bdrv_gate_co_enter(&blk->gate);
    ret = check_range(blk, offset, bytes);
    if (ret >= 0) {
        ret = bdrv_co_block_status_above(blk->root->bs, base, offset, bytes, pnum, map, file,
                                         depth);
    }
    bdrv_gate_leave(&blk->gate);
    return ret;
}

int coroutine_fn blk_co_is_allocated_above(BlockBackend *blk, BlockDriverState *base,
                                           bool include_base, int64_t offset, int64_t bytes,
                                           int64_t *pnum)
{
    int ret;

    bdrv_gate_co_enter(&blk->gate);
    ret = check_range(blk, offset, bytes);
    if (ret >= 0) {
        ret = bdrv_co_is_allocated_above(blk->root->bs, base, include_base, offset, bytes, pnum);
    }
    bdrv_gate_leave(&blk->gate);
    return ret;
}

int blk_in_flight(BlockBackend *blk)
{
    return bdrv_gate_in_flight(&blk->gate);
}

void coroutine_fn blk_co_drain(BlockBackend *blk)
{
    if (blk->root) {
        bdrv_co_drain(blk->root->bs);
    }
}

int coroutine_fn blk_co_flush_all(void)
{
    BlockBackend *blk;
    int result = 0;

    for (blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        if (blk_is_inserted(blk)) {
            int ret = blk_co_flush(blk);

            result = result < 0 ? result : ret;
        }
    }
    return result;
}

/* ---- callback I/O ---------------------------------------------------------------------------- */

typedef enum BlkAioKind { AIO_READ, AIO_WRITE, AIO_DISCARD, AIO_FLUSH } BlkAioKind;

struct BlockAIOCB {
    BlockBackend *blk;
    BlkAioKind kind;
    int64_t offset, bytes;
    QEMUIOVector *qiov;
    unsigned flags;
    BlockCompletionFunc *cb;
    void *opaque;
    int ret;
    bool submitted; /* the function that started it has returned */
    bool done;
};

static void finish_aio(BlockAIOCB *acb)
{
    acb->cb(acb->opaque, acb->ret);
    g_free(acb);
}

static void finish_aio_bh(void *opaque)
{
    finish_aio(opaque);
}

static void coroutine_fn co_run_aio(void *opaque)
{
    BlockAIOCB *acb = opaque;

    switch (acb->kind) {
    case AIO_READ:
        acb->ret = blk_co_preadv(acb->blk, acb->offset, acb->bytes, acb->qiov, acb->flags);
        break;
    case AIO_WRITE:
        acb->ret = blk_co_pwritev(acb->blk, acb->offset, acb->bytes, acb->qiov, acb->flags);
        break;
    case AIO_DISCARD:
        acb->ret = blk_co_pdiscard(acb->blk, acb->offset, acb->bytes);
        break;
    case AIO_FLUSH:
        acb->ret = blk_co_flush(acb->blk);
        break;
    }
    acb->done = true;
    if (acb->submitted) {
        finish_aio(acb);
    }
}

/* The callback never runs before this returns. */
static BlockAIOCB *start_aio(BlockAIOCB init)
{
    BlockAIOCB *acb = g_memdup2(&init, sizeof(init));
    AioContext *ctx = qemu_get_current_aio_context();
    Coroutine *co = qemu_coroutine_create(co_run_aio, acb);

    if (!ctx) {
        /* A vCPU: block code runs in loops. */
        acb->submitted = true;
        aio_co_schedule(acb->blk->ctx, co);
        return acb;
    }
    aio_co_enter(ctx, co);
    if (acb->done) {
        aio_bh_schedule_oneshot(ctx, finish_aio_bh, acb);
    } else {
        acb->submitted = true;
    }
    return acb;
}

BlockAIOCB *blk_aio_preadv(BlockBackend *blk, int64_t offset, QEMUIOVector *qiov, unsigned flags,
                           BlockCompletionFunc *cb, void *opaque)
{
    return start_aio((BlockAIOCB){ .blk = blk, .kind = AIO_READ, .offset = offset,
                                   .bytes = qiov->size, .qiov = qiov, .flags = flags,
                                   .cb = cb, .opaque = opaque });
}

BlockAIOCB *blk_aio_pwritev(BlockBackend *blk, int64_t offset, QEMUIOVector *qiov, unsigned flags,
                            BlockCompletionFunc *cb, void *opaque)
{
    return start_aio((BlockAIOCB){ .blk = blk, .kind = AIO_WRITE, .offset = offset,
                                   .bytes = qiov->size, .qiov = qiov, .flags = flags,
                                   .cb = cb, .opaque = opaque });
}

BlockAIOCB *blk_aio_pwrite_zeroes(BlockBackend *blk, int64_t offset, int64_t bytes, unsigned flags,
                                  BlockCompletionFunc *cb, void *opaque)
{
    return start_aio((BlockAIOCB){ .blk = blk, .kind = AIO_WRITE, .offset = offset, .bytes = bytes,
                                   .flags = flags | BDRV_REQ_ZERO_WRITE,
                                   .cb = cb, .opaque = opaque });
}

BlockAIOCB *blk_aio_pdiscard(BlockBackend *blk, int64_t offset, int64_t bytes,
                             BlockCompletionFunc *cb, void *opaque)
{
    return start_aio((BlockAIOCB){ .blk = blk, .kind = AIO_DISCARD, .offset = offset,
                                   .bytes = bytes, .cb = cb, .opaque = opaque });
}

BlockAIOCB *blk_aio_flush(BlockBackend *blk, BlockCompletionFunc *cb, void *opaque)
{
    return start_aio((BlockAIOCB){ .blk = blk, .kind = AIO_FLUSH, .cb = cb, .opaque = opaque });
}
