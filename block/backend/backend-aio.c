/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests with a callback: by the fast path without a coroutine where that is possible, else by a
 * coroutine that runs the functions of backend-io.c.
 *
 * A callback never runs before the function that started its request has returned.
 */
#include "qemu/osdep.h"

#include "backend-int.h"

#include "block/fast-path.h"
#include "qemu/main-loop.h"

typedef enum BlkAioKind {
    AIO_READ, AIO_WRITE, AIO_DISCARD, AIO_FLUSH, AIO_IOCTL,
} BlkAioKind;

typedef struct BlkAio {
    BlockBackend *blk;
    BlkAioKind kind;
    int64_t offset, bytes;
    QEMUIOVector *qiov;
    unsigned flags;
    BlockCompletionFunc *cb;
    void *opaque;
    unsigned long request; /* of AIO_IOCTL, as the next */
    void *arg;
} BlkAio;

struct BlockAIOCB {
    BlkAio aio;
    int ret;
    bool submitted; /* the function that started it has returned */
    bool done;
    BlockAcctCookie acct; /* of a request of the fast path */
    QSIMPLEQ_ENTRY(BlockAIOCB) next;
    BdrvFastRequest fast;
};

static void finish_aio(BlockAIOCB *acb)
{
    acb->aio.cb(acb->aio.opaque, acb->ret);
    g_free(acb);
}

/* ---- ended at once: called back at the end of the iteration, all together -------------------- */

typedef struct EarlyEnds {
    AioDeferred call;
    QSIMPLEQ_HEAD(EarlyEndList, BlockAIOCB) list;
} EarlyEnds;

static __thread EarlyEnds early_ends;

static void call_early_ends(void *opaque)
{
    EarlyEnds *ends = opaque;
    struct EarlyEndList batch = QSIMPLEQ_HEAD_INITIALIZER(batch);
    BlockAIOCB *acb;

    /* What the callbacks start may end at once, too: later. */
    QSIMPLEQ_CONCAT(&batch, &ends->list);
    while ((acb = QSIMPLEQ_FIRST(&batch))) {
        QSIMPLEQ_REMOVE_HEAD(&batch, next);
        finish_aio(acb);
    }
}

static void finish_soon(AioContext *ctx, BlockAIOCB *acb)
{
    EarlyEnds *ends = &early_ends;

    if (unlikely(!ends->call.fn)) {
        ends->call.fn = call_early_ends;
        ends->call.opaque = ends;
        QSIMPLEQ_INIT(&ends->list);
    }
    QSIMPLEQ_INSERT_TAIL(&ends->list, acb, next);
    aio_defer_call(ctx, &ends->call);
}

/* ---- by the fast path ------------------------------------------------------------------------ */

static void end_fast(BlockAIOCB *acb, int ret)
{
    BlockBackend *blk = acb->aio.blk;

    acb->ret = ret;
    blk_account_end(blk, &acb->acct, ret);
    bdrv_gate_leave(&blk->gate);
}

static void fast_done(BdrvFastRequest *req, int ret)
{
    BlockAIOCB *acb = req->opaque;

    end_fast(acb, ret);
    finish_aio(acb);
}

/* The gate was entered.  False: nothing was done. */
static bool start_fast(AioContext *ctx, BlockAIOCB *acb)
{
    BlkAio *aio = &acb->aio;
    BdrvFastRequest *req = &acb->fast;
    int ret;

    if (blk_check_range(aio->blk, aio->offset, aio->bytes) < 0) {
        return false;
    }
    req->child = aio->blk->root;
    req->offset = aio->offset;
    req->bytes = aio->bytes;
    req->qiov = aio->qiov;
    req->qiov_offset = 0;
    req->is_write = aio->kind == AIO_WRITE;
    req->done = fast_done;
    req->opaque = acb;
    blk_account_start(aio->blk, &acb->acct, aio->bytes,
                      req->is_write ? BLOCK_ACCT_WRITE : BLOCK_ACCT_READ);
    ret = bdrv_fast_start(req);
    if (ret == BDRV_FAST_REST) {
        bdrv_fast_abandon(req);
        return false;
    }
    if (ret <= 0) {
        end_fast(acb, ret);
        finish_soon(ctx, acb);
    }
    return ret != BDRV_FAST_NO;
}

static bool try_fast(AioContext *ctx, BlockAIOCB *acb)
{
    BlkAio *aio = &acb->aio;

    if ((aio->kind != AIO_READ && aio->kind != AIO_WRITE) || aio->flags ||
        (aio->kind == AIO_WRITE && blk_write_flags(aio->blk, 0)) ||
        !bdrv_gate_try_enter(&aio->blk->gate)) {
        return false;
    }
    if (!start_fast(ctx, acb)) {
        bdrv_gate_leave(&aio->blk->gate);
        return false;
    }
    return true;
}

/* ---- by a coroutine -------------------------------------------------------------------------- */

static int coroutine_fn co_do_aio(const BlkAio *aio)
{
    switch (aio->kind) {
    case AIO_READ:
        return blk_co_preadv(aio->blk, aio->offset, aio->bytes, aio->qiov, aio->flags);
    case AIO_WRITE:
        return blk_co_pwritev(aio->blk, aio->offset, aio->bytes, aio->qiov, aio->flags);
    case AIO_DISCARD:
        return blk_co_pdiscard(aio->blk, aio->offset, aio->bytes);
    case AIO_IOCTL:
        return blk_co_ioctl(aio->blk, aio->request, aio->arg);
    default:
        return blk_co_flush(aio->blk);
    }
}

static void coroutine_fn co_run_aio(void *opaque)
{
    BlockAIOCB *acb = opaque;

    acb->ret = co_do_aio(&acb->aio);
    acb->done = true;
    if (acb->submitted) {
        finish_aio(acb);
    }
}

static BlockAIOCB *start_aio(BlkAio aio)
{
    BlockAIOCB *acb = g_new(BlockAIOCB, 1);
    AioContext *ctx = qemu_get_current_aio_context();
    Coroutine *co;

    acb->aio = aio;
    acb->submitted = acb->done = false;
    if (ctx && try_fast(ctx, acb)) {
        return acb;
    }
    co = qemu_coroutine_create(co_run_aio, acb);
    if (!ctx) {
        /* A vCPU: block code runs in loops. */
        acb->submitted = true;
        aio_co_schedule(acb->aio.blk->ctx, co);
        return acb;
    }
    aio_co_enter(ctx, co);
    if (acb->done) {
        finish_soon(ctx, acb);
    } else {
        acb->submitted = true;
    }
    return acb;
}

/* ---- the functions --------------------------------------------------------------------------- */

BlockAIOCB *blk_aio_preadv(BlockBackend *blk, int64_t offset, QEMUIOVector *qiov, unsigned flags,
                           BlockCompletionFunc *cb, void *opaque)
{
    return start_aio((BlkAio){ .blk = blk, .kind = AIO_READ, .offset = offset,
                               .bytes = qiov->size, .qiov = qiov, .flags = flags,
                               .cb = cb, .opaque = opaque });
}

BlockAIOCB *blk_aio_pwritev(BlockBackend *blk, int64_t offset, QEMUIOVector *qiov, unsigned flags,
                            BlockCompletionFunc *cb, void *opaque)
{
    return start_aio((BlkAio){ .blk = blk, .kind = AIO_WRITE, .offset = offset,
                               .bytes = qiov->size, .qiov = qiov, .flags = flags,
                               .cb = cb, .opaque = opaque });
}

BlockAIOCB *blk_aio_pwrite_zeroes(BlockBackend *blk, int64_t offset, int64_t bytes, unsigned flags,
                                  BlockCompletionFunc *cb, void *opaque)
{
    return start_aio((BlkAio){ .blk = blk, .kind = AIO_WRITE, .offset = offset, .bytes = bytes,
                               .flags = flags | BDRV_REQ_ZERO_WRITE,
                               .cb = cb, .opaque = opaque });
}

BlockAIOCB *blk_aio_pdiscard(BlockBackend *blk, int64_t offset, int64_t bytes,
                             BlockCompletionFunc *cb, void *opaque)
{
    return start_aio((BlkAio){ .blk = blk, .kind = AIO_DISCARD, .offset = offset, .bytes = bytes,
                               .cb = cb, .opaque = opaque });
}

BlockAIOCB *blk_aio_flush(BlockBackend *blk, BlockCompletionFunc *cb, void *opaque)
{
    return start_aio((BlkAio){ .blk = blk, .kind = AIO_FLUSH, .cb = cb, .opaque = opaque });
}

BlockAIOCB *blk_aio_ioctl(BlockBackend *blk, unsigned long request, void *arg,
                          BlockCompletionFunc *cb, void *opaque)
{
    return start_aio((BlkAio){ .blk = blk, .kind = AIO_IOCTL, .request = request, .arg = arg,
                               .cb = cb, .opaque = opaque });
}
