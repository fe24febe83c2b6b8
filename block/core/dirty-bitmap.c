/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps of a node.
 *
 * Locks: the list and the fields that say what state a bitmap is in belong to the main thread,
 * which changes the list under the node's lock, so that the request path may walk it under the
 * same lock. Bits are read and written under the lock only.
 *
 * A bitmap with a successor records nothing itself; its successor does, in its place.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "core-int.h"
#include "qemu/lockable.h"

struct BdrvDirtyBitmap {
    BlockDriverState *bs;
    HBitmap *bits;
    BdrvDirtyBitmap *successor;
    char *name;          /* NULL: internal */
    int64_t bytes;       /* length of the node, under the lock */
    bool enabled;        /* atomic for readers, changed under the lock */
    bool changed;        /* bits differ from the stored ones, under the lock */
    bool busy, readonly, persistent, inconsistent, skip_store;
    QLIST_ENTRY(BdrvDirtyBitmap) next;
};

static QemuMutex *lock_of(const BdrvDirtyBitmap *bitmap)
{
    return &bitmap->bs->dirty_bitmap_lock;
}

/* ---- create, find, release ------------------------------------------------------------------- */

BdrvDirtyBitmap *bdrv_find_dirty_bitmap(BlockDriverState *bs, const char *name)
{
    BdrvDirtyBitmap *bitmap;
    QLIST_FOREACH(bitmap, &bs->dirty_bitmaps, next) {
        if (bitmap->name && strcmp(bitmap->name, name) == 0) {
            return bitmap;
        }
    }
    return NULL;
}

static bool name_is_usable(BlockDriverState *bs, const char *name, Error **errp)
{
    if (bdrv_find_dirty_bitmap(bs, name)) {
        error_setg(errp, "Bitmap already exists: %s", name);
        return false;
    }
    if (strlen(name) > BDRV_BITMAP_NAME_MAX) {
        error_setg(errp, "Bitmap name too long: %s", name);
        return false;
    }
    return true;
}

static BdrvDirtyBitmap *add_bitmap(BlockDriverState *bs, HBitmap *bits, const char *name)
{
    BdrvDirtyBitmap *bitmap = g_new0(BdrvDirtyBitmap, 1);
    *bitmap = (BdrvDirtyBitmap) {
        .bs = bs,
        .bits = bits,
        .bytes = hbitmap_size(bits),
        .name = g_strdup(name),
        .enabled = true,
        .changed = true,
    };
    QEMU_LOCK_GUARD(&bs->dirty_bitmap_lock);
    QLIST_INSERT_HEAD(&bs->dirty_bitmaps, bitmap, next);
    qatomic_inc(&bs->n_dirty_bitmaps);
    return bitmap;
}

BdrvDirtyBitmap *bdrv_create_dirty_bitmap(BlockDriverState *bs, uint32_t granularity,
                                          const char *name, Error **errp)
{
    GLOBAL_STATE_CODE();
    assert(is_power_of_2(granularity) && granularity >= BDRV_SECTOR_SIZE);
    if (name && !name_is_usable(bs, name, errp)) {
        return NULL;
    }
    int64_t bytes = bdrv_getlength(bs);
    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "could not get length of device");
        return NULL;
    }
    HBitmap *bits = hbitmap_try_alloc(bytes, ctz32(granularity), errp);
    if (!bits) {
        return NULL;
    }
    BdrvDirtyBitmap *bitmap = add_bitmap(bs, bits, name);
    bdrv_dirty_bitmap_truncate(bs); /* another thread may have made a file longer */
    return bitmap;
}

BdrvDirtyBitmap *bdrv_add_inconsistent_dirty_bitmap(BlockDriverState *bs, uint32_t granularity,
                                                    const char *name, Error **errp)
{
    GLOBAL_STATE_CODE();
    if (!name_is_usable(bs, name, errp)) {
        return NULL;
    }
    BdrvDirtyBitmap *bitmap = add_bitmap(bs, hbitmap_alloc(0, ctz32(granularity)), name);
    bdrv_dirty_bitmap_set_persistence(bitmap, true);
    bdrv_dirty_bitmap_set_inconsistent(bitmap);
    return bitmap;
}

static void release_locked(BdrvDirtyBitmap *bitmap)
{
    assert(!bitmap->busy && !bitmap->successor);
    QLIST_REMOVE(bitmap, next);
    qatomic_dec(&bitmap->bs->n_dirty_bitmaps);
    hbitmap_free(bitmap->bits);
    g_free(bitmap->name);
    g_free(bitmap);
}

void bdrv_release_dirty_bitmap(BdrvDirtyBitmap *bitmap)
{
    GLOBAL_STATE_CODE();
    QEMU_LOCK_GUARD(lock_of(bitmap));
    release_locked(bitmap);
}

void bdrv_release_named_dirty_bitmaps(BlockDriverState *bs)
{
    GLOBAL_STATE_CODE();
    BdrvDirtyBitmap *bitmap, *after;
    QEMU_LOCK_GUARD(&bs->dirty_bitmap_lock);
    QLIST_FOREACH_SAFE(bitmap, &bs->dirty_bitmaps, next, after) {
        if (bitmap->name) {
            release_locked(bitmap);
        }
    }
}

/* ---- state ----------------------------------------------------------------------------------- */

bool bdrv_dirty_bitmap_check(const BdrvDirtyBitmap *bitmap, unsigned flags, Error **errp)
{
    if ((flags & BDRV_BITMAP_BUSY) && bdrv_dirty_bitmap_busy(bitmap)) {
        error_setg(errp, "Bitmap '%s' is currently in use by another operation and cannot be used",
                   bitmap->name);
        return false;
    }
    if ((flags & BDRV_BITMAP_RO) && bitmap->readonly) {
        error_setg(errp, "Bitmap '%s' is readonly and cannot be modified", bitmap->name);
        return false;
    }
    if ((flags & BDRV_BITMAP_INCONSISTENT) && bitmap->inconsistent) {
        error_setg(errp, "Bitmap '%s' is inconsistent and cannot be used", bitmap->name);
        error_append_hint(errp, "Try block-dirty-bitmap-remove to delete this bitmap from disk\n");
        return false;
    }
    return true;
}

bool bdrv_supports_persistent_dirty_bitmap(BlockDriverState *bs)
{
    return bs->drv && bs->drv->bdrv_co_can_store_new_dirty_bitmap;
}

bool coroutine_fn bdrv_co_can_store_new_dirty_bitmap(BlockDriverState *bs, const char *name,
                                                     uint32_t granularity, Error **errp)
{
    int error = bs->drv ? ENOTSUP : ENOMEDIUM;
    if (!bs->drv || !bs->drv->bdrv_co_can_store_new_dirty_bitmap) {
        error_setg_errno(errp, error, "Can't store persistent bitmaps to %s",
                         bdrv_get_device_or_node_name(bs));
        return false;
    }
    return bs->drv->bdrv_co_can_store_new_dirty_bitmap(bs, name, granularity, errp);
}

int coroutine_fn bdrv_co_remove_persistent_dirty_bitmap(BlockDriverState *bs, const char *name,
                                                        Error **errp)
{
    if (!bs->drv || !bs->drv->bdrv_co_remove_persistent_dirty_bitmap) {
        return 0;
    }
    return bs->drv->bdrv_co_remove_persistent_dirty_bitmap(bs, name, errp);
}

bool coroutine_fn bdrv_co_dirty_bitmap_before_change(BdrvDirtyBitmap *bitmap, Error **errp)
{
    BlockDriverState *bs = bitmap->bs;
    /* A read-only node stores nothing, so nothing that is stored gets out of date. */
    if (!bdrv_dirty_bitmap_persistent(bitmap) || bs->read_only ||
        !bs->drv->bdrv_co_before_bitmap_change) {
        return true;
    }
    if (bs->inactive) {
        error_setg(errp, "Node '%s' is inactive, so its bitmap '%s' belongs to another process",
                   bs->node_name, bitmap->name);
        return false;
    }
    int ret = bs->drv->bdrv_co_before_bitmap_change(bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not mark the bitmaps of '%s' as in use",
                         bdrv_get_device_or_node_name(bs));
    }
    return ret >= 0;
}

static void set_enabled(BdrvDirtyBitmap *bitmap, bool enabled)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    bitmap->enabled = enabled;
}

void bdrv_enable_dirty_bitmap(BdrvDirtyBitmap *bitmap)
{
    assert(!bitmap->successor);
    set_enabled(bitmap, true);
}

void bdrv_disable_dirty_bitmap(BdrvDirtyBitmap *bitmap)
{
    assert(!bitmap->successor);
    set_enabled(bitmap, false);
}

void bdrv_dirty_bitmap_set_busy(BdrvDirtyBitmap *bitmap, bool busy)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    bitmap->busy = busy;
}

void bdrv_dirty_bitmap_set_readonly(BdrvDirtyBitmap *bitmap, bool value)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    bitmap->readonly = value;
}

void bdrv_dirty_bitmap_set_persistence(BdrvDirtyBitmap *bitmap, bool persistent)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    bitmap->persistent = persistent;
}

void bdrv_dirty_bitmap_set_inconsistent(BdrvDirtyBitmap *bitmap)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    assert(bitmap->persistent);
    bitmap->inconsistent = true;
    bitmap->enabled = false;
}

void bdrv_dirty_bitmap_skip_store(BdrvDirtyBitmap *bitmap, bool skip)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    bitmap->skip_store = skip;
}

const char *bdrv_dirty_bitmap_name(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->name;
}

BlockDriverState *bdrv_dirty_bitmap_bs(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->bs;
}

uint32_t bdrv_dirty_bitmap_granularity(const BdrvDirtyBitmap *bitmap)
{
    return 1U << hbitmap_granularity(bitmap->bits);
}

int64_t bdrv_dirty_bitmap_size(const BdrvDirtyBitmap *bitmap)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    return bitmap->bytes;
}

bool bdrv_dirty_bitmap_enabled(const BdrvDirtyBitmap *bitmap)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    return bitmap->enabled;
}

bool bdrv_dirty_bitmap_busy(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->busy || bitmap->successor;
}

bool bdrv_dirty_bitmap_has_successor(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->successor != NULL;
}

bool bdrv_dirty_bitmap_readonly(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->readonly;
}

bool bdrv_dirty_bitmap_persistent(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->persistent && !bitmap->skip_store;
}

bool bdrv_dirty_bitmap_inconsistent(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->inconsistent;
}

/* A cluster, within reason: finer does not help, coarser makes copies larger than needed. */
uint32_t bdrv_get_default_bitmap_granularity(BlockDriverState *bs)
{
    int64_t cluster = bdrv_get_cluster_size(bs);
    return cluster > 0 ? CLAMP(cluster, 4096, 65536) : 65536;
}

BdrvDirtyBitmap *bdrv_dirty_bitmap_next(BlockDriverState *bs, BdrvDirtyBitmap *bitmap)
{
    return bitmap ? QLIST_NEXT(bitmap, next) : QLIST_FIRST(&bs->dirty_bitmaps);
}

BlockDirtyInfoList *bdrv_query_dirty_bitmaps(BlockDriverState *bs)
{
    BlockDirtyInfoList *list = NULL, **tail = &list;
    BdrvDirtyBitmap *bitmap;
    QEMU_LOCK_GUARD(&bs->dirty_bitmap_lock);
    QLIST_FOREACH(bitmap, &bs->dirty_bitmaps, next) {
        BlockDirtyInfo *info = g_new0(BlockDirtyInfo, 1);
        info->count = hbitmap_count(bitmap->bits);
        info->granularity = bdrv_dirty_bitmap_granularity(bitmap);
        info->name = g_strdup(bitmap->name);
        info->recording = bitmap->enabled ||
                          (bitmap->successor && bitmap->successor->enabled);
        info->busy = bdrv_dirty_bitmap_busy(bitmap);
        info->persistent = bitmap->persistent;
        info->has_inconsistent = bitmap->inconsistent;
        info->inconsistent = bitmap->inconsistent;
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

char *bdrv_dirty_bitmap_sha256(const BdrvDirtyBitmap *bitmap, Error **errp)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    return hbitmap_sha256(bitmap->bits, errp);
}

/* ---- successors ------------------------------------------------------------------------------ */

bool bdrv_dirty_bitmap_create_successor(BdrvDirtyBitmap *bitmap, Error **errp)
{
    if (!bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_BUSY, errp)) {
        return false;
    }
    BdrvDirtyBitmap *successor =
        bdrv_create_dirty_bitmap(bitmap->bs, bdrv_dirty_bitmap_granularity(bitmap), NULL, errp);
    if (!successor) {
        return false;
    }
    QEMU_LOCK_GUARD(lock_of(bitmap));
    successor->enabled = bitmap->enabled;
    bitmap->enabled = false;
    bitmap->successor = successor;
    bitmap->busy = true;
    return true;
}

BdrvDirtyBitmap *bdrv_dirty_bitmap_abdicate(BdrvDirtyBitmap *bitmap, Error **errp)
{
    BdrvDirtyBitmap *successor = bitmap->successor;
    if (!successor) {
        error_setg(errp, "Cannot relinquish control if there's no successor present");
        return NULL;
    }
    QEMU_LOCK_GUARD(&successor->bs->dirty_bitmap_lock);
    successor->name = g_steal_pointer(&bitmap->name);
    successor->persistent = bitmap->persistent;
    successor->skip_store = bitmap->skip_store;
    successor->changed = true;
    successor->busy = false;
    bitmap->persistent = false;
    bitmap->busy = false;
    bitmap->successor = NULL;
    release_locked(bitmap);
    return successor;
}

BdrvDirtyBitmap *bdrv_reclaim_dirty_bitmap(BdrvDirtyBitmap *bitmap, Error **errp)
{
    BdrvDirtyBitmap *successor = bitmap->successor;
    if (!successor) {
        error_setg(errp, "Cannot reclaim a successor when none is present");
        return NULL;
    }
    QEMU_LOCK_GUARD(lock_of(bitmap));
    hbitmap_merge(bitmap->bits, successor->bits, bitmap->bits);
    bitmap->changed |= !hbitmap_empty(successor->bits);
    bitmap->enabled = successor->enabled;
    bitmap->busy = false;
    bitmap->successor = NULL;
    release_locked(successor);
    return bitmap;
}

/* ---- bits ------------------------------------------------------------------------------------ */

/* The part of a range that lies within the bitmap; false: none. */
static bool clip(const BdrvDirtyBitmap *bitmap, int64_t offset, int64_t *bytes)
{
    if (offset >= bitmap->bytes || *bytes <= 0) {
        return false;
    }
    *bytes = MIN(*bytes, bitmap->bytes - offset);
    return true;
}

bool bdrv_dirty_bitmap_get(BdrvDirtyBitmap *bitmap, int64_t offset)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    return offset < bitmap->bytes && hbitmap_get(bitmap->bits, offset);
}

int64_t bdrv_get_dirty_count(BdrvDirtyBitmap *bitmap)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    return hbitmap_count(bitmap->bits);
}

void bdrv_set_dirty_bitmap(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    if (clip(bitmap, offset, &bytes)) {
        hbitmap_set(bitmap->bits, offset, bytes);
        bitmap->changed = true;
    }
}

/* Only whole granules are cleared by whoever copied them; so callers align. */
void bdrv_reset_dirty_bitmap(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    if (clip(bitmap, offset, &bytes)) {
        hbitmap_reset(bitmap->bits, offset, bytes);
        bitmap->changed = true;
    }
}

void bdrv_clear_dirty_bitmap(BdrvDirtyBitmap *bitmap, HBitmap **backup)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    bitmap->changed = true;
    if (!backup) {
        hbitmap_reset_all(bitmap->bits);
        return;
    }
    *backup = bitmap->bits;
    bitmap->bits = hbitmap_alloc(bitmap->bytes, hbitmap_granularity(*backup));
}

void bdrv_restore_dirty_bitmap(BdrvDirtyBitmap *bitmap, HBitmap *backup)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    hbitmap_free(bitmap->bits);
    bitmap->bits = backup;
    bitmap->changed = true;
}

/* Two nodes' locks, always in the same order. */
static void lock_both(const BdrvDirtyBitmap *a, const BdrvDirtyBitmap *b)
{
    QemuMutex *x = lock_of(a), *y = lock_of(b);
    qemu_mutex_lock(MIN(x, y));
    if (x != y) {
        qemu_mutex_lock(MAX(x, y));
    }
}

static void unlock_both(const BdrvDirtyBitmap *a, const BdrvDirtyBitmap *b)
{
    QemuMutex *x = lock_of(a), *y = lock_of(b);
    qemu_mutex_unlock(x);
    if (x != y) {
        qemu_mutex_unlock(y);
    }
}

bool bdrv_merge_dirty_bitmap(BdrvDirtyBitmap *dest, const BdrvDirtyBitmap *src, HBitmap **backup,
                             Error **errp)
{
    if (!bdrv_dirty_bitmap_check(dest, BDRV_BITMAP_DEFAULT, errp) ||
        !bdrv_dirty_bitmap_check(src, BDRV_BITMAP_ALLOW_RO, errp)) {
        return false;
    }
    HBitmap *old = NULL;
    lock_both(dest, src);
    int64_t dest_bytes = dest->bytes, src_bytes = src->bytes; /* a node may grow at any time */
    if (dest_bytes == src_bytes) {
        old = dest->bits;
        dest->bits = hbitmap_alloc(dest_bytes, hbitmap_granularity(old));
        hbitmap_merge(old, src == dest ? old : src->bits, dest->bits);
        dest->changed = true;
    }
    unlock_both(dest, src);
    if (!old) {
        error_setg(errp, "Bitmaps are of different sizes (destination size is %" PRId64
                   ", source size is %" PRId64 ") and can't be merged", dest_bytes, src_bytes);
        return false;
    }
    if (backup) {
        *backup = old;
    } else {
        hbitmap_free(old);
    }
    return true;
}

int64_t bdrv_dirty_bitmap_next_dirty(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    return hbitmap_next_dirty(bitmap->bits, offset, bytes);
}

int64_t bdrv_dirty_bitmap_next_zero(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    return hbitmap_next_zero(bitmap->bits, offset, bytes);
}

bool bdrv_dirty_bitmap_next_dirty_area(BdrvDirtyBitmap *bitmap, int64_t start, int64_t end,
                                       int64_t max, int64_t *dirty_start, int64_t *dirty_bytes)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    return hbitmap_next_dirty_area(bitmap->bits, start, end, max, dirty_start, dirty_bytes);
}

/* ---- storing --------------------------------------------------------------------------------- */

void bdrv_dirty_bitmap_serialize_part(BdrvDirtyBitmap *bitmap, uint8_t *buf, int64_t offset,
                                      int64_t bytes)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    hbitmap_serialize_part(bitmap->bits, buf, offset, bytes);
}

void bdrv_dirty_bitmap_deserialize_part(BdrvDirtyBitmap *bitmap, const uint8_t *buf,
                                        int64_t offset, int64_t bytes)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    hbitmap_deserialize_part(bitmap->bits, buf, offset, bytes, false);
}

void bdrv_dirty_bitmap_deserialize_ones(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    hbitmap_deserialize_ones(bitmap->bits, offset, bytes, false);
}

void bdrv_dirty_bitmap_deserialize_finish(BdrvDirtyBitmap *bitmap)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    hbitmap_deserialize_finish(bitmap->bits);
}

bool bdrv_dirty_bitmap_changed(const BdrvDirtyBitmap *bitmap)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    return bitmap->changed;
}

void bdrv_dirty_bitmap_set_stored(BdrvDirtyBitmap *bitmap)
{
    QEMU_LOCK_GUARD(lock_of(bitmap));
    bitmap->changed = false;
}

/* ---- the request path ------------------------------------------------------------------------ */

void bdrv_set_dirty(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    /* Nodes without bitmaps, nearly all, pay one load. */
    if (likely(!qatomic_read(&bs->n_dirty_bitmaps))) {
        return;
    }
    BdrvDirtyBitmap *bitmap;
    QEMU_LOCK_GUARD(&bs->dirty_bitmap_lock);
    QLIST_FOREACH(bitmap, &bs->dirty_bitmaps, next) {
        int64_t inside = bytes;
        if (bitmap->enabled && clip(bitmap, offset, &inside)) {
            assert(!bitmap->readonly);
            hbitmap_set(bitmap->bits, offset, inside);
            bitmap->changed = true;
        }
    }
}

void bdrv_dirty_bitmap_truncate(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap;
    int64_t bytes;

    if (likely(!qatomic_read(&bs->n_dirty_bitmaps))) {
        return; /* who adds one now looks at the length once more */
    }
    QEMU_LOCK_GUARD(&bs->dirty_bitmap_lock);
    bytes = qatomic_read(&bs->total_bytes); /* of several changes at once, the last */
    QLIST_FOREACH(bitmap, &bs->dirty_bitmaps, next) {
        if (bitmap->bytes == bytes || bitmap->inconsistent) {
            continue;
        }
        hbitmap_truncate(bitmap->bits, bytes);
        bitmap->bytes = bytes;
        bitmap->changed = true;
    }
}
