/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Storing dirty bitmaps (R10).  Nothing that is stored is written over: bits, tables and directory
 * go to new clusters and are flushed with their counts; then one change of the header makes the new
 * directory count; only then are the old clusters free (R4).  A crash before the change leaves the
 * old directory, which says "in use".
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "bitmap.h"
#include "qemu/atomic.h"

/* Bits are written in pieces of this many bytes, or of a cluster. */
#define PIECE_BYTES (1 * MiB)
/* Entries of an old table that are read at once. */
#define TABLE_STEP 65536

typedef struct Range {
    uint64_t offset, bytes;
} Range;

/* A new directory in the making. */
typedef struct Store {
    BlockDriverState *bs;
    GArray *bitmaps; /* of Qcow2Bitmap */
    GArray *taken;   /* of Range: clusters that nothing names yet */
    bool moves;      /* what did not change, too */
} Store;

/* ---- clusters ------------------------------------------------------------------------------ */

static int64_t coroutine_fn co_take(Store *store, uint64_t bytes)
{
    Qcow2State *s = store->bs->opaque;
    uint64_t n = qcow2_nb_clusters(s, bytes);
    int64_t offset = qcow2_co_alloc_unlocked(store->bs, n);

    if (offset >= 0) {
        Range range = { offset, n << s->cluster_bits };

        g_array_append_val(store->taken, range);
    }
    return offset;
}

/* Nothing came of it. */
static void coroutine_fn co_give_back(Store *store)
{
    Qcow2State *s = store->bs->opaque;

    CO_LOCK_GUARD(&s->lock);
    for (guint i = 0; i < store->taken->len; i++) {
        const Range *range = &g_array_index(store->taken, Range, i);

        qcow2_co_free_unused(store->bs, range->offset, range->bytes >> s->cluster_bits);
    }
    g_array_set_size(store->taken, 0);
}

/* Collect what @bm takes in the file.  What cannot be read is leaked. */
static void coroutine_fn co_collect_clusters(BlockDriverState *bs, const Qcow2Bitmap *bm,
                                             GArray *ranges)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint64_t *table = g_new(uint64_t, TABLE_STEP);
    Range range = { bm->table_offset, (uint64_t)bm->table_size * 8 };

    for (uint32_t at = 0; at < bm->table_size; at += TABLE_STEP) {
        uint32_t n = MIN(bm->table_size - at, TABLE_STEP);

        if (bdrv_co_pread(bs->file, bm->table_offset + (uint64_t)at * 8, (int64_t)n * 8, table,
                          0) < 0) {
            break;
        }
        for (uint32_t i = 0; i < n; i++) {
            uint64_t entry = be64_to_cpu(table[i]);
            Range data = { entry & QCOW2_OFFSET_MASK, s->cluster_size };

            if (data.offset && qcow2_bitmap_entry_is_sane(s, entry)) {
                g_array_append_val(ranges, data);
            }
        }
    }
    g_array_append_val(ranges, range);
}

/* ---- bits and tables ----------------------------------------------------------------------- */

/* Is the part all one value, so that its entry says it all? */
static bool part_is_uniform(BdrvDirtyBitmap *bitmap, int64_t start, int64_t bytes, uint64_t *entry)
{
    *entry = 0;
    if (bdrv_dirty_bitmap_next_dirty(bitmap, start, bytes) < 0) {
        return true;
    }
    *entry = 1;
    return bdrv_dirty_bitmap_next_zero(bitmap, start, bytes) < 0;
}

/* Write the parts [@first, @first + @n) of @bitmap and enter them in @table. */
static int coroutine_fn co_write_parts(Store *store, BdrvDirtyBitmap *bitmap, uint64_t first,
                                       uint64_t n, uint64_t *table)
{
    Qcow2State *s = store->bs->opaque;
    int64_t reach = (int64_t)s->cluster_size * 8 * bdrv_dirty_bitmap_granularity(bitmap);
    int64_t len = bdrv_dirty_bitmap_size(bitmap), start = first * reach;
    g_autofree uint8_t *buf = g_try_malloc0(n << s->cluster_bits);
    int64_t offset;

    if (!buf) {
        return -ENOMEM;
    }
    offset = co_take(store, n << s->cluster_bits);
    if (offset < 0) {
        return offset;
    }
    bdrv_dirty_bitmap_serialize_part(bitmap, buf, start, MIN((int64_t)n * reach, len - start));
    for (uint64_t i = 0; i < n; i++) {
        table[first + i] = offset + (i << s->cluster_bits);
    }
    return bdrv_co_pwrite(store->bs->file, offset, n << s->cluster_bits, buf, 0);
}

static int coroutine_fn co_write_bits(Store *store, BdrvDirtyBitmap *bitmap, uint64_t *table,
                                      uint64_t size)
{
    Qcow2State *s = store->bs->opaque;
    int64_t reach = (int64_t)s->cluster_size * 8 * bdrv_dirty_bitmap_granularity(bitmap);
    int64_t len = bdrv_dirty_bitmap_size(bitmap);
    /* What is moved goes into the gaps, which may be of single clusters. */
    uint64_t max = store->moves ? 1 : MAX(PIECE_BYTES >> s->cluster_bits, 1), run = 0;
    int ret = 0;

    for (uint64_t i = 0; i <= size && ret >= 0; i++) {
        bool uniform = i == size || part_is_uniform(bitmap, i * reach,
                                                    MIN(reach, len - (int64_t)i * reach),
                                                    &table[i]);

        if (run && (uniform || run == max)) {
            ret = co_write_parts(store, bitmap, i - run, run, table);
            run = 0;
        }
        run += !uniform;
    }
    return ret;
}

/* Store the bits of @bitmap anew; @bm gets the place. */
static int coroutine_fn co_store_bits(Store *store, BdrvDirtyBitmap *bitmap, Qcow2Bitmap *bm)
{
    const Qcow2State *s = store->bs->opaque;
    uint64_t size = qcow2_bitmap_table_size(s, bdrv_dirty_bitmap_size(bitmap),
                                            bm->granularity_bits);
    g_autofree uint64_t *table = g_try_new0(uint64_t, MAX(size, 1));
    int64_t offset;
    int ret;

    if (!table) {
        return -ENOMEM;
    }
    /* An empty disk has a table, too. */
    ret = co_write_bits(store, bitmap, table, size);
    if (ret < 0) {
        return ret;
    }
    size = MAX(size, 1);
    offset = co_take(store, size * 8);
    if (offset < 0) {
        return offset;
    }
    for (uint64_t i = 0; i < size; i++) {
        cpu_to_be64s(&table[i]);
    }
    bm->table_offset = offset;
    bm->table_size = size;
    return bdrv_co_pwrite(store->bs->file, offset, size * 8, table, 0);
}

/* ---- the directory ------------------------------------------------------------------------- */

/* Lock held. */
static int coroutine_fn co_switch_directory(Store *store, uint64_t offset, uint64_t bytes,
                                            Error **errp)
{
    Qcow2State *s = store->bs->opaque;
    Qcow2Header header = s->header;
    Qcow2Extensions ext = s->ext;

    ext.has_bitmaps = store->bitmaps->len > 0;
    ext.nb_bitmaps = store->bitmaps->len;
    ext.bitmap_dir_offset = offset;
    ext.bitmap_dir_size = bytes;
    header.autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
    if (ext.has_bitmaps) {
        header.autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
    }
    return qcow2_header_co_rewrite(store->bs, &header, &ext, store->bs->backing_file, errp);
}

/* All that is new is in the file, but for its directory: make it count. */
static int coroutine_fn co_commit(Store *store, Error **errp)
{
    BlockDriverState *bs = store->bs;
    Qcow2State *s = bs->opaque;
    g_autoptr(GBytes) dir = qcow2_bitmaps_build(store->bitmaps);
    uint64_t bytes = g_bytes_get_size(dir);
    int64_t offset = bytes ? co_take(store, bytes) : 0;
    int ret = MIN(offset, 0);

    if (ret >= 0 && bytes) {
        ret = bdrv_co_pwrite(bs->file, offset, bytes, g_bytes_get_data(dir, NULL), 0);
    }
    /* The counts of everything new; then all of it is there for good. */
    if (ret >= 0) {
        ret = qcow2_co_write_back(bs);
    }
    if (ret >= 0) {
        ret = bdrv_co_flush(bs->file->bs);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the bitmaps");
        co_give_back(store);
        return ret;
    }
    CO_LOCK_GUARD(&s->lock);
    /* After an error the header may name the new directory all the same: rather leak. */
    ret = co_switch_directory(store, offset, bytes, errp);
    if (ret >= 0) {
        g_array_unref(s->bitmaps);
        s->bitmaps = g_array_ref(store->bitmaps);
        /* They are true until the next change, whatever becomes of the old ones. */
        qatomic_set(&s->needs_autoclear, true);
    }
    return ret;
}

/* Commit, then free the old directory and what else is in @old (of Range). */
static int coroutine_fn co_replace_directory(Store *store, GArray *old, Error **errp)
{
    BlockDriverState *bs = store->bs;
    Qcow2State *s = bs->opaque;
    Range dir = { s->ext.bitmap_dir_offset, s->ext.bitmap_dir_size };
    int ret;

    /* Without the autoclear bit, the extension is not to be believed. */
    if (s->ext.has_bitmaps && (s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        g_array_append_val(old, dir);
    }
    ret = co_commit(store, errp);
    if (ret < 0) {
        return ret;
    }
    qemu_co_mutex_lock(&s->lock);
    for (guint i = 0; i < old->len; i++) {
        const Range *range = &g_array_index(old, Range, i);

        qcow2_free_clusters(bs, range->offset, range->bytes, QCOW2_DISCARD_OTHER);
    }
    qemu_co_mutex_unlock(&s->lock);
    /* The references are gone: the first round makes that sure, the second lowers the counts. */
    ret = qcow2_co_write_back(bs);
    if (ret >= 0) {
        ret = qcow2_co_write_back(bs);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not free the old bitmaps");
    }
    return ret;
}

static void store_init(Store *store, BlockDriverState *bs, bool moves)
{
    *store = (Store){ bs, qcow2_bitmaps_new(), g_array_new(FALSE, FALSE, sizeof(Range)), moves };
}

static void store_clear(Store *store)
{
    g_array_unref(store->bitmaps);
    g_array_unref(store->taken);
}

/* ---- what may be stored -------------------------------------------------------------------- */

static uint64_t entry_bytes(const char *name)
{
    return QEMU_ALIGN_UP(24 + strlen(name), 8);
}

static bool check_constraints(BlockDriverState *bs, const char *name, uint32_t granularity,
                              Error **errp)
{
    int64_t len = bdrv_getlength(bs);
    unsigned bits = ctz32(granularity);

    if (len < 0) {
        error_setg_errno(errp, -len, "Failed to get size of '%s'",
                         bdrv_get_device_or_node_name(bs));
        return false;
    }
    if (!*name) {
        error_setg(errp, "Bitmap name is too short");
        return false;
    }
    if (strlen(name) > QCOW2_MAX_BITMAP_NAME) {
        error_setg(errp, "Name length exceeds maximum (%d characters)", QCOW2_MAX_BITMAP_NAME);
        return false;
    }
    if (bits < QCOW2_MIN_BITMAP_GRANULARITY_BITS) {
        error_setg(errp, "Granularity is under minimum (%" PRIu64 " bytes)",
                   UINT64_C(1) << QCOW2_MIN_BITMAP_GRANULARITY_BITS);
        return false;
    }
    if (bits > QCOW2_MAX_BITMAP_GRANULARITY_BITS) {
        error_setg(errp, "Granularity exceeds maximum (%" PRIu64 " bytes)",
                   UINT64_C(1) << QCOW2_MAX_BITMAP_GRANULARITY_BITS);
        return false;
    }
    if (DIV_ROUND_UP(DIV_ROUND_UP((uint64_t)len, granularity), 8) > QCOW2_MAX_BITMAP_BYTES) {
        error_setg(errp, "Too much space will be occupied by the bitmap. Use larger granularity");
        return false;
    }
    return true;
}

/* Is there room for one more, counting those of the node that are not stored yet? */
static bool check_room(BlockDriverState *bs, const char *name, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    uint64_t nb = s->bitmaps->len, bytes = 0;
    BdrvDirtyBitmap *bitmap = NULL;

    for (guint i = 0; i < s->bitmaps->len; i++) {
        bytes += entry_bytes(g_array_index(s->bitmaps, Qcow2Bitmap, i).name);
    }
    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        const char *other = bdrv_dirty_bitmap_name(bitmap);

        if (other && bdrv_dirty_bitmap_persistent(bitmap) &&
            !qcow2_bitmaps_find(s->bitmaps, other)) {
            nb++;
            bytes += entry_bytes(other);
        }
    }
    if (nb >= QCOW2_MAX_BITMAPS) {
        error_setg(errp, "Maximum number of persistent bitmaps is already reached");
        return false;
    }
    if (bytes + entry_bytes(name) > QCOW2_MAX_BITMAP_DIR_BYTES) {
        error_setg(errp, "Not enough space in the bitmap directory");
        return false;
    }
    return true;
}

bool coroutine_fn qcow2_co_can_store_new_dirty_bitmap(BlockDriverState *bs, const char *name,
                                                      uint32_t granularity, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    Error *local_err = NULL;

    if (s->header.version < 3) {
        error_setg(&local_err, "Cannot store dirty bitmaps in qcow2 v2 files");
    } else if (s->header.size == 0) {
        error_setg(&local_err, "A disk of 0 bytes cannot have persistent bitmaps");
    } else if (check_constraints(bs, name, granularity, &local_err)) {
        check_room(bs, name, &local_err);
    }
    if (local_err) {
        error_propagate_prepend(errp, local_err, "Can't make bitmap '%s' persistent in '%s': ",
                                name, bdrv_get_device_or_node_name(bs));
        return false;
    }
    return true;
}

/* ---- storing ------------------------------------------------------------------------------- */

/* Ours to store?  One that a job works on is left as it is, in use. */
static bool is_storable(const BdrvDirtyBitmap *bitmap)
{
    return bdrv_dirty_bitmap_name(bitmap) && bdrv_dirty_bitmap_persistent(bitmap) &&
           !bdrv_dirty_bitmap_inconsistent(bitmap) && !bdrv_dirty_bitmap_readonly(bitmap) &&
           !bdrv_dirty_bitmap_has_successor(bitmap);
}

/* The entry that @bitmap shall have, but for the place of its bits. */
static Qcow2Bitmap describe(const BdrvDirtyBitmap *bitmap)
{
    return (Qcow2Bitmap){
        .name = (char *)bdrv_dirty_bitmap_name(bitmap),
        .flags = bdrv_dirty_bitmap_enabled(bitmap) ? QCOW2_BITMAP_AUTO : 0,
        .granularity_bits = ctz32(bdrv_dirty_bitmap_granularity(bitmap)),
    };
}

static bool is_as_stored(const Qcow2State *s, const BdrvDirtyBitmap *bitmap)
{
    Qcow2Bitmap *bm = qcow2_bitmaps_find(s->bitmaps, bdrv_dirty_bitmap_name(bitmap));

    return bm && !bdrv_dirty_bitmap_changed(bitmap) && bm->flags == describe(bitmap).flags;
}

/* Is there anything to be stored? */
static bool needs_store(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (is_storable(bitmap) && !is_as_stored(bs->opaque, bitmap)) {
            return true;
        }
    }
    return false;
}

/* Bits that have not changed since they were stored stay where they are, unless all move. */
static int coroutine_fn co_store_one(Store *store, BdrvDirtyBitmap *bitmap, GArray *old)
{
    BlockDriverState *bs = store->bs;
    Qcow2State *s = bs->opaque;
    Qcow2Bitmap bm = describe(bitmap);
    const Qcow2Bitmap *stored = qcow2_bitmaps_find(s->bitmaps, bm.name);
    Qcow2Bitmap *entry = qcow2_bitmaps_find(store->bitmaps, bm.name);
    int ret = 0;

    if (stored && !store->moves && !bdrv_dirty_bitmap_changed(bitmap)) {
        bm.table_offset = stored->table_offset;
        bm.table_size = stored->table_size;
    } else {
        if (stored) {
            co_collect_clusters(bs, stored, old);
        }
        ret = co_store_bits(store, bitmap, &bm);
    }
    if (entry) {
        bm.name = entry->name;
        *entry = bm;
    } else {
        qcow2_bitmaps_append(store->bitmaps, &bm);
    }
    return ret;
}

/* Copy a cluster of bits that are not in memory; returns its new place. */
static int64_t coroutine_fn co_copy_cluster(Store *store, uint64_t from, uint8_t *buf)
{
    const Qcow2State *s = store->bs->opaque;
    int64_t to = co_take(store, s->cluster_size);
    int ret = to < 0 ? 0 : bdrv_co_pread(store->bs->file, from, s->cluster_size, buf, 0);

    if (to >= 0 && ret >= 0) {
        ret = bdrv_co_pwrite(store->bs->file, to, s->cluster_size, buf, 0);
    }
    return ret < 0 ? ret : to;
}

/* The bits and the table of @bm, which is not ours to store, move as they are. */
static int coroutine_fn co_move_as_it_is(Store *store, Qcow2Bitmap *bm, GArray *old)
{
    BlockDriverState *bs = store->bs;
    const Qcow2State *s = bs->opaque;
    uint64_t bytes = (uint64_t)bm->table_size * 8;
    g_autofree uint64_t *table = g_try_malloc(bytes);
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);
    int64_t offset;
    int ret = table && buf ? bdrv_co_pread(bs->file, bm->table_offset, bytes, table, 0) : -ENOMEM;

    co_collect_clusters(bs, bm, old);
    for (uint32_t i = 0; i < bm->table_size && ret >= 0; i++) {
        uint64_t entry = be64_to_cpu(table[i]);

        if (!qcow2_bitmap_entry_is_sane(s, entry)) {
            return -EINVAL;
        }
        if (entry & QCOW2_OFFSET_MASK) {
            offset = co_copy_cluster(store, entry & QCOW2_OFFSET_MASK, buf);
            ret = MIN(offset, 0);
            table[i] = cpu_to_be64(offset);
        }
    }
    if (ret < 0) {
        return ret;
    }
    offset = co_take(store, bytes);
    if (offset < 0) {
        return offset;
    }
    bm->table_offset = offset;
    return bdrv_co_pwrite(bs->file, offset, bytes, table, 0);
}

/* Those that are inconsistent, or belong to a job. */
static int coroutine_fn co_move_others(Store *store, GArray *old, Error **errp)
{
    for (guint i = 0; i < store->bitmaps->len; i++) {
        Qcow2Bitmap *bm = &g_array_index(store->bitmaps, Qcow2Bitmap, i);
        BdrvDirtyBitmap *bitmap = bdrv_find_dirty_bitmap(store->bs, bm->name);
        int ret = bitmap && is_storable(bitmap) ? 0 : co_move_as_it_is(store, bm, old);

        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not move bitmap '%s'", bm->name);
            return ret;
        }
    }
    return 0;
}

static int coroutine_fn co_store_all(Store *store, GArray *old, Error **errp)
{
    BlockDriverState *bs = store->bs;
    Qcow2State *s = bs->opaque;
    BdrvDirtyBitmap *bitmap = NULL;
    int ret = 0;

    for (guint i = 0; i < s->bitmaps->len; i++) {
        qcow2_bitmaps_append(store->bitmaps, &g_array_index(s->bitmaps, Qcow2Bitmap, i));
    }
    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap)) && ret >= 0) {
        if (!is_storable(bitmap)) {
            continue;
        }
        if (!check_constraints(bs, bdrv_dirty_bitmap_name(bitmap),
                               bdrv_dirty_bitmap_granularity(bitmap), errp)) {
            co_give_back(store);
            return -EINVAL;
        }
        ret = co_store_one(store, bitmap, old);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not store bitmap '%s'",
                             bdrv_dirty_bitmap_name(bitmap));
        }
    }
    if (ret >= 0 && store->moves) {
        ret = co_move_others(store, old, errp);
    }
    if (ret < 0) {
        co_give_back(store);
        return ret;
    }
    return co_replace_directory(store, old, errp);
}

static void set_all_stored(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (is_storable(bitmap)) {
            bdrv_dirty_bitmap_set_stored(bitmap);
        }
    }
}

static int coroutine_fn co_store(BlockDriverState *bs, bool moves, Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GArray) old = NULL;
    Store store;
    int ret;

    if (bs->read_only) {
        error_setg(errp, "No write access");
        return -EINVAL;
    }
    if (s->header.version < 3) {
        error_setg(errp, "Cannot store dirty bitmaps in qcow2 v2 files");
        return -ENOTSUP;
    }
    ret = qcow2_co_before_change(bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Image cannot be changed");
        return ret;
    }
    store_init(&store, bs, moves);
    old = g_array_new(FALSE, FALSE, sizeof(Range));
    ret = co_store_all(&store, old, errp);
    store_clear(&store);
    if (ret >= 0) {
        set_all_stored(bs);
    }
    return ret;
}

int coroutine_fn qcow2_bitmaps_co_store(BlockDriverState *bs, Error **errp)
{
    return needs_store(bs) ? co_store(bs, false, errp) : 0;
}

int coroutine_fn qcow2_bitmaps_co_move(BlockDriverState *bs, Error **errp)
{
    return co_store(bs, true, errp);
}

/* ---- removing ------------------------------------------------------------------------------ */

int coroutine_fn qcow2_co_remove_persistent_dirty_bitmap(BlockDriverState *bs, const char *name,
                                                         Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GArray) old = g_array_new(FALSE, FALSE, sizeof(Range));
    Store store;
    int ret;

    if (!qcow2_bitmaps_find(s->bitmaps, name)) {
        return 0; /* made since the image was opened */
    }
    ret = qcow2_co_before_change(bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Image cannot be changed");
        return ret;
    }
    store_init(&store, bs, false);
    for (guint i = 0; i < s->bitmaps->len; i++) {
        const Qcow2Bitmap *bm = &g_array_index(s->bitmaps, Qcow2Bitmap, i);

        if (strcmp(bm->name, name) == 0) {
            co_collect_clusters(bs, bm, old);
        } else {
            qcow2_bitmaps_append(store.bitmaps, bm);
        }
    }
    ret = co_replace_directory(&store, old, errp);
    store_clear(&store);
    return ret;
}
