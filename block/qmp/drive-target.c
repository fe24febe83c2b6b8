/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image that drive-backup and drive-mirror make or find, and fill.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "qmp-block.h"

void drive_target_resolve(DriveTarget *target)
{
    BlockDriverState *bs = target->source;

    target->flags = (bdrv_get_open_flags(bs) & ~(BDRV_O_SNAPSHOT | BDRV_O_AUTO_RDONLY |
                                                 BDRV_O_COPY_ON_READ)) | BDRV_O_RDWR;
    if (!target->format && !target->existing) {
        target->format = bdrv_get_format_name(bdrv_skip_filters(bs));
    }
    target->backing = NULL;
    if (target->sync == MIRROR_SYNC_MODE_TOP) {
        target->backing = bdrv_backing_chain_next(bs);
        if (!target->backing) {
            target->sync = MIRROR_SYNC_MODE_FULL;
        }
    } else if (target->sync == MIRROR_SYNC_MODE_NONE) {
        target->backing = bs;
    }
}

bool coroutine_fn drive_target_co_create(const DriveTarget *target, Error **errp)
{
    BlockDriverState *backing = target->backing ? bdrv_skip_filters(target->backing) : NULL;
    int64_t bytes = target->existing ? 0 : bdrv_co_getlength(target->source);
    BdrvImgCreate create = {
        .filename = target->filename,
        .format = target->format,
        .backing_filename = backing ? bdrv_get_filename(backing) : NULL,
        .backing_format = backing ? bdrv_get_format_name(backing) : NULL,
        .size = bytes,
        .flags = target->flags,
    };

    if (target->existing) {
        return true;
    }
    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "bdrv_getlength failed");
        return false;
    }
    return bdrv_co_img_create(&create, errp);
}
