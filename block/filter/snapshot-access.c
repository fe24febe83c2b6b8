/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot-access: the point in time that the filter below keeps (copy-before-write), as a disk.
 *
 * Its users neither disturb nor are disturbed by those who write through the filter, so nothing is
 * claimed there.  A discard says that a part will not be read again and need not be kept.
 */
#include "qemu/osdep.h"

#include "filter-int.h"

static int coroutine_fn snapshot_access_co_preadv(BlockDriverState *bs, int64_t offset,
                                                  int64_t bytes, QEMUIOVector *qiov,
                                                  size_t qiov_offset, unsigned flags)
{
    BlockDriverState *below = bs->file->bs;

    return below->drv->bdrv_co_preadv_snapshot(below, offset, bytes, qiov, qiov_offset);
}

static int coroutine_fn snapshot_access_co_block_status(BlockDriverState *bs, bool want_zero,
                                                        int64_t offset, int64_t bytes,
                                                        int64_t *pnum, int64_t *map,
                                                        BlockDriverState **file)
{
    BlockDriverState *below = bs->file->bs;

    return below->drv->bdrv_co_snapshot_block_status(below, want_zero, offset, bytes, pnum);
}

static int coroutine_fn snapshot_access_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                                    int64_t bytes)
{
    BlockDriverState *below = bs->file->bs;

    return below->drv->bdrv_co_pdiscard_snapshot(below, offset, bytes);
}

static int coroutine_fn snapshot_access_co_pwritev(BlockDriverState *bs, int64_t offset,
                                                   int64_t bytes, QEMUIOVector *qiov,
                                                   size_t qiov_offset, unsigned flags)
{
    return -ENOTSUP;
}

/* There is nothing to be flushed, and what is written below is no business of ours. */
static int coroutine_fn snapshot_access_co_flush(BlockDriverState *bs)
{
    return 0;
}

static bool coroutine_fn snapshot_access_co_open(BlockDriverState *bs,
                                                 const BlockdevOptions *options, int flags,
                                                 Error **errp)
{
    if (!bdrv_co_open_child(bs, "file", BDRV_CHILD_DATA | BDRV_CHILD_PRIMARY,
                            options->u.snapshot_access.file, false, errp)) {
        return false;
    }
    if (!bs->file->bs->drv->bdrv_co_preadv_snapshot) {
        error_setg(errp, "Node '%s' keeps no snapshot: its driver is %s, not copy-before-write",
                   bdrv_get_node_name(bs->file->bs), bdrv_get_format_name(bs->file->bs));
        return false;
    }
    /* The snapshot stays as long as it is, whatever becomes of the source. */
    bs->total_bytes = bdrv_getlength(bs->file->bs);
    return true;
}

static BdrvChildClaims snapshot_access_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                                    BdrvChildRole role, BlockRights parent_uses,
                                                    BlockRights parent_shared)
{
    return (BdrvChildClaims) { .uses = 0, .shared = BLK_PERM_ALL };
}

BlockDriver bdrv_snapshot_access = {
    .format_name = "snapshot-access",
    .options_type = BLOCKDEV_DRIVER_SNAPSHOT_ACCESS,
    .bdrv_co_open = snapshot_access_co_open,
    .bdrv_child_claims = snapshot_access_child_claims,
    .bdrv_refresh_filename = filter_take_name_of_file,
    .bdrv_co_preadv = snapshot_access_co_preadv,
    .bdrv_co_pwritev = snapshot_access_co_pwritev,
    .bdrv_co_pdiscard = snapshot_access_co_pdiscard,
    .bdrv_co_flush = snapshot_access_co_flush,
    .bdrv_co_block_status = snapshot_access_co_block_status,
};
