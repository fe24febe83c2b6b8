/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty bitmaps in images: storing and copying them. */
#include "qemu/osdep.h"

#include "bitmaps.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "qapi/gen/block-core-commands.h"

bool coroutine_fn img_co_store_bitmaps(ImgBackend *image, const char *filename)
{
    BlockDriverState *bs = blk_bs(image);
    Error *local_err = NULL;
    uint64_t perm, shared;

    BDRV_CONTROL_GUARD();
    blk_get_perm(image, &perm, &shared);
    if (!blk_co_set_perm(image, perm & ~(uint64_t)(BLK_PERM_WRITE | BLK_PERM_RESIZE), shared,
                         &local_err) ||
        !bdrv_co_reopen_set_read_only(bs, true, &local_err)) {
        error_reportf_err(local_err, "Could not store the bitmaps of '%s': ", filename);
        return false;
    }
    return true;
}

/* ---- copying --------------------------------------------------------------------------------- */

static bool is_kept(const BdrvDirtyBitmap *bitmap)
{
    return bdrv_dirty_bitmap_name(bitmap) && bdrv_dirty_bitmap_persistent(bitmap);
}

bool img_check_bitmaps(ImgBackend *source, bool skip_broken)
{
    BlockDriverState *bs = blk_bs(source);
    BdrvDirtyBitmap *bitmap = NULL;

    if (!bdrv_supports_persistent_dirty_bitmap(bs)) {
        error_report("Format driver '%s' does not support bitmaps", bdrv_get_format_name(bs));
        return false;
    }
    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (is_kept(bitmap) && !skip_broken && bdrv_dirty_bitmap_inconsistent(bitmap)) {
            error_report("Cannot copy inconsistent bitmap '%s'", bdrv_dirty_bitmap_name(bitmap));
            error_printf("Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove'\n");
            return false;
        }
    }
    return true;
}

/* Is it one that img_co_copy_bitmaps() copies? */
static bool is_copied(const BdrvDirtyBitmap *bitmap, bool skip_broken)
{
    return is_kept(bitmap) && !(skip_broken && bdrv_dirty_bitmap_inconsistent(bitmap));
}

bool coroutine_fn img_co_check_target_of_bitmaps(ImgBackend *source, ImgBackend *target,
                                                 bool skip_broken)
{
    BlockDriverState *bs = blk_bs(target);
    BdrvDirtyBitmap *bitmap = NULL;
    Error *local_err = NULL;

    if (!bdrv_supports_persistent_dirty_bitmap(bs)) {
        error_report("Format driver '%s' does not support bitmaps", bdrv_get_format_name(bs));
        return false;
    }
    while ((bitmap = bdrv_dirty_bitmap_next(blk_bs(source), bitmap))) {
        const char *name = bdrv_dirty_bitmap_name(bitmap);

        if (is_copied(bitmap, skip_broken) &&
            !bdrv_co_can_store_new_dirty_bitmap(bs, name, bdrv_dirty_bitmap_granularity(bitmap),
                                                &local_err)) {
            error_reportf_err(local_err, "Failed to create bitmap %s: ", name);
            return false;
        }
    }
    return true;
}

static bool coroutine_fn co_copy_one(const BdrvDirtyBitmap *bitmap, BlockDriverState *target)
{
    BlockDriverState *source = bdrv_dirty_bitmap_bs(bitmap);
    char *name = (char *)bdrv_dirty_bitmap_name(bitmap);
    BlockDirtyBitmapAdd add = {
        .node = (char *)bdrv_get_node_name(target),
        .name = name,
        .has_granularity = true,
        .granularity = bdrv_dirty_bitmap_granularity(bitmap),
        .has_persistent = true,
        .persistent = true,
        .has_disabled = true,
        .disabled = !bdrv_dirty_bitmap_enabled(bitmap),
    };
    BlockDirtyBitmapOrStr from = {
        .type = QTYPE_QDICT,
        .u.external = { .node = (char *)bdrv_get_node_name(source), .name = name },
    };
    BlockDirtyBitmapOrStrList list = { .value = &from };
    BlockDirtyBitmapMerge merge = { .node = add.node, .target = name, .bitmaps = &list };
    Error *local_err = NULL;

    qmp_block_dirty_bitmap_add(&add, &local_err);
    if (local_err) {
        error_reportf_err(local_err, "Failed to create bitmap %s: ", name);
        return false;
    }
    qmp_block_dirty_bitmap_merge(&merge, &local_err);
    if (local_err) {
        error_reportf_err(local_err, "Failed to populate bitmap %s: ", name);
        return false;
    }
    return true;
}

bool coroutine_fn img_co_copy_bitmaps(ImgBackend *source, ImgBackend *target, bool skip_broken)
{
    BdrvDirtyBitmap *bitmap = NULL;

    BDRV_CONTROL_GUARD();
    while ((bitmap = bdrv_dirty_bitmap_next(blk_bs(source), bitmap))) {
        if (!is_kept(bitmap)) {
            continue;
        }
        if (skip_broken && bdrv_dirty_bitmap_inconsistent(bitmap)) {
            warn_report("Skipping inconsistent bitmap '%s'", bdrv_dirty_bitmap_name(bitmap));
            continue;
        }
        if (!co_copy_one(bitmap, blk_bs(target))) {
            return false;
        }
    }
    return true;
}
