/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps: block-dirty-bitmap-*.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "qapi/gen/block-core-commands.h"
#include "qmp-block.h"

BdrvDirtyBitmap *block_dirty_bitmap_lookup(const char *node, const char *name,
                                           BlockDriverState **bs, Error **errp)
{
    BlockDriverState *found = bdrv_lookup_bs(node, node, NULL);
    if (!found) {
        error_setg(errp, "Node '%s' not found", node);
        return NULL;
    }
    BdrvDirtyBitmap *bitmap = bdrv_find_dirty_bitmap(found, name);
    if (!bitmap) {
        error_setg(errp, "Dirty bitmap '%s' not found", name);
        return NULL;
    }
    if (bs) {
        *bs = found;
    }
    return bitmap;
}

BdrvDirtyBitmap *coroutine_fn block_dirty_bitmap_co_add(const BlockDirtyBitmapAdd *args,
                                                        Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(args->node, args->node, errp);
    if (!bs) {
        return NULL;
    }
    if (!*args->name) {
        error_setg(errp, "Bitmap name cannot be empty");
        return NULL;
    }
    uint32_t granularity = args->has_granularity ? args->granularity
                                                 : bdrv_get_default_bitmap_granularity(bs);
    if (granularity < 512 || !is_power_of_2(granularity)) {
        error_setg(errp, "Granularity must be power of 2 and at least 512");
        return NULL;
    }
    if (args->persistent && !bdrv_find_dirty_bitmap(bs, args->name) &&
        !bdrv_co_can_store_new_dirty_bitmap(bs, args->name, granularity, errp)) {
        return NULL;
    }
    BdrvDirtyBitmap *bitmap = bdrv_create_dirty_bitmap(bs, granularity, args->name, errp);
    if (!bitmap) {
        return NULL;
    }
    if (args->disabled) {
        bdrv_disable_dirty_bitmap(bitmap);
    }
    bdrv_dirty_bitmap_set_persistence(bitmap, args->persistent);
    return bitmap;
}

bool coroutine_fn block_dirty_bitmap_co_remove(const char *node, const char *name, Error **errp)
{
    BlockDriverState *bs;
    BdrvDirtyBitmap *bitmap = block_dirty_bitmap_lookup(node, name, &bs, errp);
    if (!bitmap ||
        !bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_BUSY | BDRV_BITMAP_RO, errp)) {
        return false;
    }
    if (bdrv_dirty_bitmap_persistent(bitmap) &&
        bdrv_co_remove_persistent_dirty_bitmap(bs, name, errp) < 0) {
        return false;
    }
    bdrv_release_dirty_bitmap(bitmap);
    return true;
}

static BdrvDirtyBitmap *lookup_source(const char *node, const BlockDirtyBitmapOrStr *source,
                                      Error **errp)
{
    if (source->type == QTYPE_QSTRING) {
        return block_dirty_bitmap_lookup(node, source->u.local, NULL, errp);
    }
    return block_dirty_bitmap_lookup(source->u.external.node, source->u.external.name, NULL, errp);
}

/* Everything that could be refused is looked at before anything is merged. */
static bool check_sources(const char *node, const BdrvDirtyBitmap *target,
                          const BlockDirtyBitmapOrStrList *sources, Error **errp)
{
    for (; sources; sources = sources->next) {
        BdrvDirtyBitmap *source = lookup_source(node, sources->value, errp);
        if (!source || !bdrv_dirty_bitmap_check(source, BDRV_BITMAP_ALLOW_RO, errp)) {
            return false;
        }
        if (bdrv_dirty_bitmap_size(source) != bdrv_dirty_bitmap_size(target)) {
            error_setg(errp, "Bitmaps are of different sizes (destination size is %" PRId64
                       ", source size is %" PRId64 ") and can't be merged",
                       bdrv_dirty_bitmap_size(target), bdrv_dirty_bitmap_size(source));
            return false;
        }
    }
    return true;
}

BdrvDirtyBitmap *coroutine_fn block_dirty_bitmap_co_merge(const char *node, const char *target,
                                                          const BlockDirtyBitmapOrStrList *sources,
                                                          HBitmap **backup, Error **errp)
{
    BdrvDirtyBitmap *dest = block_dirty_bitmap_lookup(node, target, NULL, errp);
    HBitmap *first = NULL;
    /* Looked at once more after what may yield: a resize may have ended meanwhile. */
    if (!dest || !bdrv_dirty_bitmap_check(dest, BDRV_BITMAP_DEFAULT, errp) ||
        !check_sources(node, dest, sources, errp) ||
        !bdrv_co_dirty_bitmap_before_change(dest, errp) ||
        !check_sources(node, dest, sources, errp)) {
        return NULL;
    }
    for (; sources; sources = sources->next) {
        BdrvDirtyBitmap *source = lookup_source(node, sources->value, errp);
        HBitmap *old = NULL;
        if (!source || !bdrv_merge_dirty_bitmap(dest, source, &old, errp)) {
            /*
             * A node has just grown.  What was merged stays: bits too many do no harm, and to take
             * them back could take those of a guest's writes.
             */
            if (first) {
                hbitmap_free(first);
            }
            return NULL;
        }
        if (first) {
            hbitmap_free(old);
        } else {
            first = old;
        }
    }
    if (backup) {
        *backup = first;
    } else if (first) {
        hbitmap_free(first);
    }
    return dest;
}

/* ---- commands -------------------------------------------------------------------------------- */

void coroutine_fn qmp_block_dirty_bitmap_add(BlockDirtyBitmapAdd *arg, Error **errp)
{
    block_dirty_bitmap_co_add(arg, errp);
}

void coroutine_fn qmp_block_dirty_bitmap_remove(BlockDirtyBitmap *arg, Error **errp)
{
    block_dirty_bitmap_co_remove(arg->node, arg->name, errp);
}

void coroutine_fn qmp_block_dirty_bitmap_clear(BlockDirtyBitmap *arg, Error **errp)
{
    BdrvDirtyBitmap *bitmap = block_dirty_bitmap_lookup(arg->node, arg->name, NULL, errp);
    if (bitmap && bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_DEFAULT, errp) &&
        bdrv_co_dirty_bitmap_before_change(bitmap, errp)) {
        bdrv_clear_dirty_bitmap(bitmap, NULL);
    }
}

void coroutine_fn qmp_block_dirty_bitmap_enable(BlockDirtyBitmap *arg, Error **errp)
{
    BdrvDirtyBitmap *bitmap = block_dirty_bitmap_lookup(arg->node, arg->name, NULL, errp);
    if (bitmap && bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_ALLOW_RO, errp) &&
        bdrv_co_dirty_bitmap_before_change(bitmap, errp)) {
        bdrv_enable_dirty_bitmap(bitmap);
    }
}

void coroutine_fn qmp_block_dirty_bitmap_disable(BlockDirtyBitmap *arg, Error **errp)
{
    BdrvDirtyBitmap *bitmap = block_dirty_bitmap_lookup(arg->node, arg->name, NULL, errp);
    if (bitmap && bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_ALLOW_RO, errp) &&
        bdrv_co_dirty_bitmap_before_change(bitmap, errp)) {
        bdrv_disable_dirty_bitmap(bitmap);
    }
}

void coroutine_fn qmp_block_dirty_bitmap_merge(BlockDirtyBitmapMerge *arg, Error **errp)
{
    block_dirty_bitmap_co_merge(arg->node, arg->target, arg->bitmaps, NULL, errp);
}

BlockDirtyBitmapSha256 *coroutine_fn
qmp_x_debug_block_dirty_bitmap_sha256(BlockDirtyBitmap *arg, Error **errp)
{
    BdrvDirtyBitmap *bitmap = block_dirty_bitmap_lookup(arg->node, arg->name, NULL, errp);
    char *sha256 = bitmap ? bdrv_dirty_bitmap_sha256(bitmap, errp) : NULL;
    if (!sha256) {
        return NULL;
    }
    BlockDirtyBitmapSha256 *result = g_new0(BlockDirtyBitmapSha256, 1);
    result->sha256 = sha256;
    return result;
}
