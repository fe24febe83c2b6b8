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

int blk_check_range(BlockBackend *blk, int64_t offset, int64_t bytes)
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

unsigned blk_write_flags(BlockBackend *blk, unsigned flags)
{
    return blk_enable_write_cache(blk) ? flags : flags | BDRV_REQ_FUA;
}

typedef struct BlkRequest {
    BlockBackend *blk;
    BlockAcctCookie acct;
    int ret; /* < 0: refused at the entrance */
} BlkRequest;

void blk_account_start(BlockBackend *blk, BlockAcctCookie *acct, int64_t bytes,
                       BlockAcctType type)
{
    if (qatomic_read(&blk->accounts)) {
        block_acct_start(&blk->stats, acct, bytes, type);
    } else {
        acct->type = BLOCK_ACCT_NONE;
    }
}

void blk_account_end(BlockBackend *blk, BlockAcctCookie *acct, int ret)
{
    if (acct->type == BLOCK_ACCT_NONE) {
        return;
    }
    if (ret < 0) {
        block_acct_failed(&blk->stats, acct);
    } else {
        block_acct_done(&blk->stats, acct);
    }
}

static int check_request(BlockBackend *blk, BlockAcctType type, int64_t offset, int64_t bytes)
{
    if (type == BLOCK_ACCT_FLUSH) {
        return blk_is_available(blk) ? 0 : -ENOMEDIUM;
    }
    return blk_check_range(blk, offset, bytes);
}

static bool coroutine_fn co_begin(BlkRequest *req, BlockBackend *blk, BlockAcctType type,
                                  int64_t offset, int64_t bytes)
{
    req->blk = blk;
    bdrv_gate_co_enter(&blk->gate);
    req->ret = check_request(blk, type, offset, bytes);
    if (unlikely(req->ret == -ENOMEDIUM) && blk->root &&
        bdrv_co_refresh_medium(blk->root->bs)) {
        /* It has come meanwhile. */
        req->ret = check_request(blk, type, offset, bytes);
    }
    if (req->ret < 0) {
        block_acct_invalid(&blk->stats, type);
        bdrv_gate_leave(&blk->gate);
        return false;
    }
    blk_account_start(blk, &req->acct, bytes, type);
    return true;
}

static int co_end(BlkRequest *req, int ret)
{
    blk_account_end(req->blk, &req->acct, ret);
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
    return co_end(&req, bdrv_co_pwritev(blk->root, offset, bytes, qiov,
                                        blk_write_flags(blk, flags)));
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
    ret = blk_check_range(src, src_offset, bytes);
    if (ret >= 0) {
        ret = blk_check_range(dst, dst_offset, bytes);
    }
    if (ret >= 0) {
        ret = bdrv_co_copy_range(src->root, src_offset, dst->root, dst_offset, bytes,
                                 blk_write_flags(dst, flags));
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
    ret = blk_check_range(blk, offset, bytes);
    if (ret >= 0) {
        ret = bdrv_co_block_status_above(blk->root->bs, base, offset, bytes, pnum, map, file,
                                         depth);
    }
    bdrv_gate_leave(&blk->gate);
    return ret;
}

int coroutine_fn blk_co_block_extents_above(BlockBackend *blk, BlockDriverState *base,
                                            int64_t offset, int64_t bytes, BdrvExtent *extents,
                                            int max)
{
    int ret;

    bdrv_gate_co_enter(&blk->gate);
    ret = blk_check_range(blk, offset, bytes);
    if (ret >= 0) {
        ret = bdrv_co_block_extents_above(blk->root->bs, base, offset, bytes, extents, max);
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
    ret = blk_check_range(blk, offset, bytes);
    if (ret >= 0) {
        ret = bdrv_co_is_allocated_above(blk->root->bs, base, include_base, offset, bytes, pnum);
    }
    bdrv_gate_leave(&blk->gate);
    return ret;
}

/* ---- drives and devices of the host ---------------------------------------------------------- */

int coroutine_fn blk_co_ioctl(BlockBackend *blk, unsigned long request, void *arg)
{
    int ret;

    /* An empty drive answers, too. */
    bdrv_gate_co_enter(&blk->gate);
    ret = blk->root ? bdrv_co_ioctl(blk->root, request, arg) : -ENOMEDIUM;
    bdrv_gate_leave(&blk->gate);
    return ret;
}

typedef struct DriveCommand {
    BlockBackend *blk; /* referenced */
    bool is_lock;      /* else about the tray */
    bool on;           /* lock, or open it */
} DriveCommand;

static void coroutine_fn co_drive_command(void *opaque)
{
    g_autofree DriveCommand *command = opaque;
    BlockBackend *blk = command->blk;
    int ret = -ENOTSUP;

    qemu_co_mutex_lock(&blk->drive_lock);
    bdrv_gate_co_enter(&blk->gate);
    if (blk->root && command->is_lock) {
        ret = bdrv_co_lock_medium(blk->root->bs, command->on);
    } else if (blk->root) {
        ret = bdrv_co_eject(blk->root->bs, command->on);
    }
    bdrv_gate_leave(&blk->gate);
    qemu_co_mutex_unlock(&blk->drive_lock);
    if (ret < 0 && ret != -ENOTSUP) {
        warn_report("The host's drive did not %s: %s",
                    command->is_lock ? command->on ? "lock its door" : "unlock its door"
                                     : command->on ? "open its tray" : "close its tray",
                    strerror(-ret));
    }
    blk_unref(blk);
}

static void start_drive_command(BlockBackend *blk, bool is_lock, bool on)
{
    DriveCommand *command = g_new(DriveCommand, 1);

    *command = (DriveCommand){ blk_ref(blk), is_lock, on };
    aio_co_enter(qemu_get_aio_context(), qemu_coroutine_create(co_drive_command, command));
}

void blk_eject(BlockBackend *blk, bool eject)
{
    blk_dev_tray_moved(blk, eject);
    start_drive_command(blk, false, eject);
}

void blk_lock_medium(BlockBackend *blk, bool locked)
{
    start_drive_command(blk, true, locked);
}

/* ---- zones ----------------------------------------------------------------------------------- */

int coroutine_fn blk_co_zone_report(BlockBackend *blk, int64_t offset, unsigned *nr_zones,
                                    BlockZoneDescriptor *zones)
{
    int ret;

    bdrv_gate_co_enter(&blk->gate);
    ret = blk_is_available(blk) ? bdrv_co_zone_report(blk->root, offset, nr_zones, zones)
                                : -ENOMEDIUM;
    bdrv_gate_leave(&blk->gate);
    return ret;
}

int coroutine_fn blk_co_zone_mgmt(BlockBackend *blk, BlockZoneOp op, int64_t offset, int64_t bytes)
{
    int ret;

    bdrv_gate_co_enter(&blk->gate);
    ret = blk_is_available(blk) ? bdrv_co_zone_mgmt(blk->root, op, offset, bytes) : -ENOMEDIUM;
    bdrv_gate_leave(&blk->gate);
    return ret;
}

int coroutine_fn blk_co_zone_append(BlockBackend *blk, int64_t *offset, QEMUIOVector *qiov,
                                    unsigned flags)
{
    BlkRequest req;

    if (!co_begin(&req, blk, BLOCK_ACCT_ZONE_APPEND, *offset, qiov->size)) {
        return req.ret;
    }
    return co_end(&req, bdrv_co_zone_append(blk->root, offset, qiov, blk_write_flags(blk, flags)));
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
