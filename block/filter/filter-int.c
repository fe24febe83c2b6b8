/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "filter-int.h"

void filter_take_flags_of_file(BlockDriverState *bs)
{
    const BlockDriverState *file = bs->file ? bs->file->bs : NULL;

    if (!file) {
        return;
    }
    bs->supported_read_flags = file->supported_read_flags;
    bs->supported_write_flags = BDRV_REQ_WRITE_UNCHANGED |
                                (BDRV_REQ_FUA & file->supported_write_flags);
    bs->supported_zero_flags = BDRV_REQ_WRITE_UNCHANGED |
        ((BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK) & file->supported_zero_flags);
    bs->supported_truncate_flags = file->supported_truncate_flags;
}
