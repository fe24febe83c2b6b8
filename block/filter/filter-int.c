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

void filter_take_name_of_file(BlockDriverState *bs)
{
    g_free(bs->exact_filename);
    bs->exact_filename = g_strdup(bs->file->bs->filename);
}

BlockDriverState *coroutine_fn filter_co_insert(const FilterSpec *spec, BlockDriverState *bs,
                                                void (*set_up)(BlockDriverState *filter,
                                                               void *opaque),
                                                void *opaque, Error **errp)
{
    g_autoptr(BlockDriverState) filter = bdrv_co_open_driver(spec->drv, spec->node_name,
                                                             spec->flags, errp);

    CONTROL_PATH();
    if (!filter) {
        return NULL;
    }
    filter->implicit = !spec->node_name;
    filter->owner_key = spec->owner_key;
    if (set_up) {
        set_up(filter, opaque);
    }
    return bdrv_co_insert_filter(filter, bs, spec->child_name, errp) ? g_steal_pointer(&filter)
                                                                     : NULL;
}

bool coroutine_fn filter_co_drop(BlockDriverState *filter, Error **errp)
{
    g_autoptr(BlockDriverState) bs = filter;

    return bdrv_co_remove_filter(bs, errp);
}
