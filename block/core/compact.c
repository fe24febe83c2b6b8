/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compacting: making the file of an image shorter without changing what it holds. */
#include "qemu/osdep.h"

#include "block/freeze.h"
#include "core-int.h"
#include "qemu/atomic.h"

int64_t coroutine_fn bdrv_co_compact(BlockDriverState *bs, int64_t max_bytes, int64_t *left,
                                     Error **errp)
{
    static const char what[] = "an image being compacted";
    BdrvOwner owner = { BDRV_OWNER_OPERATION, NULL, NULL, what };

    CONTROL_PATH();
    *left = 0;
    if (!bs->drv) {
        error_setg(errp, "Node '%s' has no medium", bs->node_name);
        return -ENOMEDIUM;
    }
    if (!bs->drv->bdrv_co_compact) {
        error_setg(errp, "Block driver '%s' does not support compaction",
                   bdrv_get_format_name(bs));
        return -ENOTSUP;
    }
    if (bs->read_only) {
        error_setg(errp, "Node '%s' is read-only", bs->node_name);
        return -EROFS;
    }
    g_autoptr(BdrvClaim) claim = bdrv_claim(bs, owner, BLK_PERM_WRITE_UNCHANGED, 0, what, errp);
    if (!claim) {
        return -EBUSY;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(bs);
    qatomic_inc(&bs->write_gen);
    return bs->drv->bdrv_co_compact(bs, max_bytes, left, errp);
}
