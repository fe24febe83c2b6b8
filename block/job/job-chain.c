/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Walking a backing chain, and naming its parts in images.
 */
#include "qemu/osdep.h"

#include "job-chain.h"

BlockDriverState *job_chain_right_above(BlockDriverState *top, BlockDriverState *base)
{
    BlockDriverState *below;

    while ((below = bdrv_filter_or_cow_bs(top)) && below != base) {
        top = below;
    }
    return top;
}

BlockDriverState *job_chain_last_above(BlockDriverState *top, BlockDriverState *base)
{
    BlockDriverState *last = top;

    for (BlockDriverState *bs = top; bs && bs != base; bs = bdrv_filter_or_cow_bs(bs)) {
        if (!bdrv_is_filter(bs)) {
            last = bs;
        }
    }
    return last;
}

static const char *format_name(const BlockDriverState *bs, bool mask_protocol)
{
    return mask_protocol && bs->drv->is_protocol ? "raw" : bs->drv->format_name;
}

bool coroutine_fn job_chain_co_write_backing(BlockDriverState *bs, BlockDriverState *base,
                                             const char *backing_file, bool mask_protocol,
                                             Error **errp)
{
    BlockDriverState *named = base ? bdrv_skip_filters(base) : NULL;
    bool was_read_only = bdrv_is_read_only(bs);
    g_autofree char *name = NULL;
    int ret;

    if (was_read_only && !bdrv_co_reopen_set_read_only(bs, false, errp)) {
        return false;
    }
    if (named) {
        name = g_strdup(backing_file ? backing_file : bdrv_get_filename(named));
    }
    ret = bdrv_co_change_backing_file(bs, name, named ? format_name(named, mask_protocol) : NULL,
                                      false);
    if (was_read_only) {
        /* It stays writable if that fails, which harms nobody. */
        bdrv_co_reopen_set_read_only(bs, true, NULL);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not update backing file link");
    }
    return ret >= 0;
}
