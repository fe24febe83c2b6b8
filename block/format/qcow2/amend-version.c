/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Version 2 to 3 and back.  The header is written anew in one go; before a step down, whatever
 * version 2 cannot express is replaced in an image that is still one of version 3.
 */
#include "qemu/osdep.h"

#include "amend.h"
#include "bitmap.h"
#include "block/dirty-bitmap.h"

/* ---- the header ---------------------------------------------------------------------------- */

static bool coroutine_fn co_set_version(BlockDriverState *bs, uint32_t version, Error **errp)
{
    Qcow2State *s = bs->opaque;
    Qcow2Header header;
    Qcow2Extensions ext;
    int ret = qcow2_co_write_back(bs);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the metadata");
        return false;
    }
    CO_LOCK_GUARD(&s->lock);
    header = s->header;
    ext = s->ext;
    header.version = version;
    header.refcount_order = 4;
    header.incompatible = header.compatible = header.autoclear = 0;
    ext.has_bitmaps = false;
    if (qcow2_header_co_rewrite(bs, &header, &ext, bs->backing_file, errp) < 0) {
        return false;
    }
    bs->supported_zero_flags = BDRV_REQ_NO_FALLBACK | (version >= 3 ? BDRV_REQ_MAY_UNMAP : 0);
    return true;
}

bool coroutine_fn qcow2_amend_co_upgrade(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;

    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, i);

        /* Version 3 wants the 64-bit size of the VM state and the size of the disk. */
        if (sn->extra_len < 16) {
            error_setg(errp, "Snapshot '%s' was made by a program so old that its entry is too "
                       "short for version 3; delete it first", sn->name);
            return false;
        }
    }
    return co_set_version(bs, 3, errp);
}

/* ---- what prevents a step down ------------------------------------------------------------- */

static bool check_snapshots(const Qcow2State *s, uint64_t size, Error **errp)
{
    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, i);

        if (sn->disk_size != size || sn->vm_state_size > UINT32_MAX) {
            error_setg(errp, "Internal snapshots prevent downgrade of image");
            return false;
        }
    }
    return true;
}

bool qcow2_amend_check_downgrade(BlockDriverState *bs, uint64_t size, bool force, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    uint64_t features = s->header.incompatible & ~QCOW2_INCOMPAT_DIRTY;

    if (features & QCOW2_INCOMPAT_DATA_FILE) {
        error_setg(errp, "Cannot downgrade an image with a data file");
        return false;
    }
    if (features) {
        error_setg(errp, "Cannot downgrade an image with incompatible features %#" PRIx64 " set",
                   features);
        return false;
    }
    if (s->bitmaps->len && !force) {
        error_setg(errp, "Cannot downgrade an image that keeps bitmaps");
        error_append_hint(errp, "Remove them with 'qemu-img bitmap --remove-all', or lose them "
                          "with --force.\n");
        return false;
    }
    return check_snapshots(s, size, errp);
}

/* ---- down ---------------------------------------------------------------------------------- */

static bool coroutine_fn co_remove_bitmaps(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;

    while (s->bitmaps->len) {
        g_autofree char *name = g_strdup(g_array_index(s->bitmaps, Qcow2Bitmap, 0).name);
        BdrvDirtyBitmap *bitmap = bdrv_find_dirty_bitmap(bs, name);

        if (qcow2_co_remove_persistent_dirty_bitmap(bs, name, errp) < 0) {
            return false;
        }
        if (bitmap) {
            bdrv_dirty_bitmap_set_persistence(bitmap, false);
        }
    }
    return true;
}

bool coroutine_fn qcow2_amend_co_downgrade(BlockDriverState *bs, const BdrvAmendProgress *progress,
                                           Error **errp)
{
    Qcow2State *s = bs->opaque;
    int ret;

    if (!qcow2_amend_co_expand_zeroes(bs, progress, errp) || !co_remove_bitmaps(bs, errp)) {
        return false;
    }
    /* Counts are exact once everything is written. */
    ret = qcow2_co_write_back(bs);
    if (ret >= 0) {
        CO_LOCK_GUARD(&s->lock);
        ret = qcow2_header_co_set_incompatible(bs, 0, QCOW2_INCOMPAT_DIRTY);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to make the image clean");
        return false;
    }
    return co_set_version(bs, 2, errp);
}
