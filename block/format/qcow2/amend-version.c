/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Version 2 to 3 and back.  The header is written anew in one go; before a step down, whatever
 * version 2 cannot express is replaced in an image that is still one of version 3.
 */
#include "qemu/osdep.h"

#include "amend.h"
#include "block/dirty-bitmap.h"
#include "qemu/atomic.h"
#include "refarray.h"

#define ZERO_BUFFER_BYTES (1 * MiB)

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

static bool check_snapshots(const Qcow2State *s, Error **errp)
{
    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, i);

        if (sn->disk_size != s->header.size || sn->vm_state_size > UINT32_MAX) {
            error_setg(errp, "Internal snapshots prevent downgrade of image");
            return false;
        }
    }
    return true;
}

static bool check_downgrade(BlockDriverState *bs, bool force, Error **errp)
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
    return check_snapshots(s, errp);
}

/* ---- zero clusters ------------------------------------------------------------------------- */

static int coroutine_fn co_write_zero_data(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int64_t len = MIN(bytes, ZERO_BUFFER_BYTES);
    g_autofree uint8_t *buf = g_try_malloc0(MAX(len, 1));

    if (!buf) {
        return -ENOMEM;
    }
    while (bytes > 0) {
        int64_t n = MIN(bytes, len);
        QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, n);
        int ret = qcow2_co_pwritev(bs, offset, n, &qiov, 0, 0);

        if (ret < 0) {
            return ret;
        }
        offset += n;
        bytes -= n;
    }
    return 0;
}

/* Without a backing file nothing is as good as zeroes; else they must be data. */
static int coroutine_fn co_expand_run(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    const Qcow2State *s = bs->opaque;

    if (*bs->backing_file) {
        return co_write_zero_data(bs, offset, bytes);
    }
    return qcow2_co_unmap(bs, offset, qcow2_cluster_end(s, offset + bytes) - offset);
}

static bool coroutine_fn co_expand_disk(BlockDriverState *bs, const BdrvAmendProgress *progress,
                                        Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t size = s->header.size, offset = 0;

    while (offset < size) {
        Qcow2Mapping map;
        int ret;

        qemu_co_mutex_lock(&s->lock);
        ret = qcow2_co_map(bs, offset, size - offset, &map);
        qemu_co_mutex_unlock(&s->lock);
        if (ret >= 0 && (map.kind == QCOW2_ZERO_PLAIN || map.kind == QCOW2_ZERO_ALLOC)) {
            ret = co_expand_run(bs, offset, map.bytes);
        }
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Failed to turn zero into data clusters");
            return false;
        }
        offset += map.bytes;
        bdrv_amend_progress(progress, offset, size);
    }
    return true;
}

/*
 * An L2 table of a snapshot.  Without a backing file the entry of a zero cluster may become 0 in
 * place: that means the same to everybody who shares the table.
 */
static bool coroutine_fn co_expand_snapshot_table(BlockDriverState *bs, Qcow2Place *place,
                                                  const Qcow2Snapshot *sn, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    bool is_changed = false;
    int ret;

    for (uint32_t i = 0; i < s->l2_size; i++) {
        uint64_t entry = ldq_be_p(place->buf + (size_t)i * 8);
        Qcow2Kind kind = qcow2_entry_kind(s, entry);

        if (kind == QCOW2_ZERO_ALLOC || (kind == QCOW2_ZERO_PLAIN && *bs->backing_file)) {
            error_setg(errp, "Snapshot '%s' has zero clusters that version 2 cannot express",
                       sn->name);
            return false;
        }
        if (kind == QCOW2_ZERO_PLAIN) {
            stq_be_p(place->buf + (size_t)i * 8, 0);
            is_changed = true;
        }
    }
    if (!is_changed) {
        return true;
    }
    qcow2_cache_drop(s->l2_cache, place->offset, s->cluster_size);
    ret = qcow2_co_write_places(bs, place, 1);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to turn zero into data clusters");
    }
    return ret >= 0;
}

static bool coroutine_fn co_expand_snapshot(BlockDriverState *bs, const Qcow2Snapshot *sn,
                                            Error **errp)
{
    int ret = 0;
    g_autofree uint64_t *l1 = qcow2_co_read_l1(bs, sn->l1_offset, sn->l1_size, &ret);
    g_autoptr(Qcow2Walk) walk = l1 ? qcow2_walk_new(bs, l1, sn->l1_size) : NULL;

    if (!walk) {
        error_setg_errno(errp, ret < 0 ? -ret : ENOMEM, "Could not read the L1 table of snapshot "
                         "'%s'", sn->name);
        return false;
    }
    while ((ret = qcow2_walk_co_next(walk)) > 0) {
        for (uint32_t i = 0; i < walk->n; i++) {
            if (walk->places[i].ret < 0) {
                error_setg_errno(errp, -walk->places[i].ret, "Could not read an L2 table of "
                                 "snapshot '%s'", sn->name);
                return false;
            }
            if (!co_expand_snapshot_table(bs, &walk->places[i], sn, errp)) {
                return false;
            }
        }
    }
    return true;
}

static bool coroutine_fn co_expand_snapshots(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    /* The walk reads the file, and tables that are changed must not be in the cache. */
    int ret = s->snapshots->len ? qcow2_co_write_back(bs) : 0;

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the metadata");
        return false;
    }
    for (guint i = 0; i < s->snapshots->len; i++) {
        if (!co_expand_snapshot(bs, &g_array_index(s->snapshots, Qcow2Snapshot, i), errp)) {
            return false;
        }
    }
    return true;
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

bool coroutine_fn qcow2_amend_co_downgrade(BlockDriverState *bs, bool force,
                                           const BdrvAmendProgress *progress, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int ret;

    if (!check_downgrade(bs, force, errp) || !co_expand_snapshots(bs, errp) ||
        !co_expand_disk(bs, progress, errp) || !co_remove_bitmaps(bs, errp)) {
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
