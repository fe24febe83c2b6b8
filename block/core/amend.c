/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing an image that is there: its properties, and emptying it. */
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

static bool check_writable(const BlockDriverState *bs, Error **errp)
{
    if (bs->read_only || bs->inactive) {
        error_setg(errp, "Node '%s' cannot be written", bs->node_name);
        return false;
    }
    return true;
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
    if (!check_writable(bs, errp)) {
        return false;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(bs);
    bool ok = bs->drv->bdrv_co_amend_options(bs, opts, force, progress, errp);
    bdrv_refresh_limits(bs);
    return ok;
}

int coroutine_fn bdrv_co_make_empty(BlockDriverState *bs, Error **errp)
{
    int ret;

    CONTROL_PATH();
    if (!bs->drv) {
        error_setg(errp, "Node is ejected");
        return -ENOMEDIUM;
    }
    if (!bs->drv->bdrv_co_make_empty) {
        error_setg(errp, "Block driver '%s' cannot be emptied", bs->drv->format_name);
        return -ENOTSUP;
    }
    if (bs->read_only || bs->inactive) {
        error_setg(errp, "Node '%s' cannot be written", bs->node_name);
        return -EPERM;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(bs);
    ret = bs->drv->bdrv_co_make_empty(bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to empty %s", bdrv_get_filename(bs));
    }
    return ret;
}

bool bdrv_check_amend(const BlockDriverState *bs, const BlockdevAmendOptions *options,
                      Error **errp)
{
    if (!bs->drv) {
        error_setg(errp, "Node is ejected");
        return false;
    }
    if (bs->drv->options_type != options->driver) {
        error_setg(errp, "x-blockdev-amend doesn't support changing the block driver");
        return false;
    }
    if (!bs->drv->bdrv_co_amend) {
        error_setg(errp, "Driver does not support x-blockdev-amend");
        return false;
    }
    return true;
}

bool coroutine_fn bdrv_co_amend(BlockDriverState *bs, const BlockdevAmendOptions *options,
                                bool force, Error **errp)
{
    CONTROL_PATH();
    if (!bdrv_check_amend(bs, options, errp) || !check_writable(bs, errp)) {
        return false;
    }
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(bs);
    return bs->drv->bdrv_co_amend(bs, options, force, errp);
}
