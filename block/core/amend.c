/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing properties of an image that is there. */
#include "qemu/osdep.h"

#include "block/freeze.h"
#include "core-int.h"

QemuOptsList *bdrv_amend_opts(const BlockDriver *drv)
{
    return drv->amend_opts;
}

void bdrv_amend_progress(const BdrvAmendProgress *progress, uint64_t done, uint64_t total)
{
    if (progress) {
        progress->update(progress->opaque, MIN(done, total), MAX(total, 1));
    }
}

bool coroutine_fn bdrv_co_amend_options(BlockDriverState *bs, QemuOpts *opts, bool force,
                                        const BdrvAmendProgress *progress, Error **errp)
{
    CONTROL_PATH();
    if (!bs->drv) {
        error_setg(errp, "Node is ejected");
        return false;
    }
    if (!bs->drv->bdrv_co_amend_options) {
        error_setg(errp, "Block driver '%s' does not support option amendment",
                   bs->drv->format_name);
        return false;
    }
    if (bs->read_only || bs->inactive) {
        error_setg(errp, "Node '%s' cannot be written", bs->node_name);
        return false;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(bs);
    bool ok = bs->drv->bdrv_co_amend_options(bs, opts, force, progress, errp);
    bdrv_refresh_limits(bs);
    return ok;
}
