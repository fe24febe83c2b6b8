/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Refcounts of another width, by a switch (R15): new blocks and a new table are written behind
 * everything that is in use and flushed; one write of the first sector makes them and their width
 * count.  A crash before leaves the old image with a longer file, a crash after the new one.
 *
 * The counts are worked through window by window, so memory does not grow with the image.
 */
#include "qemu/osdep.h"

#include "amend.h"
#include "qemu/bitmap.h"
#include "refarray.h"

#define WINDOW_BYTES (4 * MiB) /* of the larger of old and new counts */

typedef struct Rewidth {
    BlockDriverState *bs;
    const BdrvAmendProgress *progress;
    unsigned order;
    uint32_t bits, block_bits;   /* of the new counts */
    uint64_t max;
    uint32_t window_bits;        /* log2 of the clusters of a window; whole blocks, old and new */
    uint64_t used_end;           /* clusters from here on are free */
    uint64_t first;              /* cluster of the first new block; the table is after the last */
    uint64_t nb_blocks;
    uint64_t table_size, table_clusters;
    uint64_t *table;             /* new; in pass 1, 1: a block is needed */
    GArray *old;                 /* of uint64_t: clusters of the old structure, rising */
} Rewidth;

static bool damaged(Error **errp)
{
    error_setg(errp, "The refcounts of the image are damaged; check it first");
    return false;
}

/* ---- the old structure --------------------------------------------------------------------- */

static int compare_u64(gconstpointer a, gconstpointer b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static GArray *old_structure(const Qcow2State *s)
{
    GArray *old = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    for (uint32_t i = 0; i < s->reftable.size; i++) {
        uint64_t offset = s->reftable.entries[i] & QCOW2_REFTABLE_MASK;
        uint64_t cluster = offset >> s->cluster_bits;

        if (offset) {
            g_array_append_val(old, cluster);
        }
    }
    for (uint32_t i = 0; i < s->header.reftable_clusters; i++) {
        uint64_t cluster = (s->reftable.offset >> s->cluster_bits) + i;

        g_array_append_val(old, cluster);
    }
    g_array_sort(old, compare_u64);
    return old;
}

/* Blocks that could not be read with the others: once more, which also tells why. */
static bool coroutine_fn co_read_bad(const Rewidth *r, Qcow2RefArray *array, Error **errp)
{
    const Qcow2State *s = r->bs->opaque;

    for (uint64_t i = 0; i < array->nb_blocks; i++) {
        uint64_t offset = test_bit(i, array->bad)
                              ? s->reftable.entries[array->first_block + i] & QCOW2_REFTABLE_MASK
                              : 0;
        int ret;

        if (!offset) {
            continue;
        }
        if (qcow2_offset_in_cluster(s, offset) || offset >= s->fresh_from << s->cluster_bits) {
            return damaged(errp);
        }
        ret = bdrv_co_pread(r->bs->file, offset, s->cluster_size,
                            array->counts + i * array->block_bytes, 0);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not read the refcount block at %#" PRIx64, offset);
            return false;
        }
    }
    return true;
}

/* The old counts of window number @index. */
static Qcow2RefArray *coroutine_fn co_load_window(const Rewidth *r, uint64_t index, Error **errp)
{
    const Qcow2State *s = r->bs->opaque;
    uint64_t n = UINT64_C(1) << (r->window_bits - s->refblock_bits);
    Qcow2RefArray *array = qcow2_refarray_co_load(r->bs, index * n, n);

    if (!array) {
        error_setg(errp, "Not enough memory for the refcounts of the image");
    } else if (array->nb_bad && !co_read_bad(r, array, errp)) {
        g_clear_pointer(&array, qcow2_refarray_free);
    }
    return array;
}

/* ---- pass 1: what is needed ---------------------------------------------------------------- */

static bool need_block(Rewidth *r, uint64_t index, Error **errp)
{
    const Qcow2State *s = r->bs->opaque;

    if (index >= r->table_size) {
        uint64_t size = ROUND_UP(index + 1 + index / 2, (uint64_t)s->cluster_size / 8);

        if (size > QCOW2_MAX_REFTABLE_BYTES / 8) {
            size = QCOW2_MAX_REFTABLE_BYTES / 8;
        }
        if (index >= size) {
            error_setg(errp, "The refcount table would become too large");
            return false;
        }
        r->table = g_renew(uint64_t, r->table, size);
        memset(r->table + r->table_size, 0, (size - r->table_size) * 8);
        r->table_size = size;
    }
    r->nb_blocks += !r->table[index];
    r->table[index] = 1;
    return true;
}

static bool coroutine_fn co_look_at_window(Rewidth *r, uint64_t index, Error **errp)
{
    const Qcow2State *s = r->bs->opaque;
    g_autoptr(Qcow2RefArray) array = co_load_window(r, index, errp);

    if (!array) {
        return false;
    }
    for (uint64_t i = array->first; i < array->end; i++) {
        uint64_t count = qcow2_refarray_get(array, i);

        if (count > r->max) {
            error_setg(errp, "Cannot decrease refcount entry width to %u bits: Cluster at offset "
                       "%#" PRIx64 " has a refcount of %" PRIu64, r->bits, i << s->cluster_bits,
                       count);
            return false;
        }
        if (count) {
            r->used_end = i + 1;
            if (!need_block(r, i >> r->block_bits, errp)) {
                return false;
            }
        }
    }
    return true;
}

static uint64_t nb_windows(const Rewidth *r)
{
    const Qcow2State *s = r->bs->opaque;
    uint64_t clusters = qcow2_refarray_used_blocks(s) << s->refblock_bits;

    return DIV_ROUND_UP(clusters, UINT64_C(1) << r->window_bits);
}

/* Blocks that count the new structure itself, until it does not grow any more. */
static bool plan(Rewidth *r, Error **errp)
{
    const Qcow2State *s = r->bs->opaque;
    uint64_t before;

    r->first = MAX(r->used_end, s->fresh_from);
    if (r->used_end > s->fresh_from + ((uint64_t)QCOW2_MAX_GAP >> s->cluster_bits)) {
        return damaged(errp);
    }
    do {
        before = r->nb_blocks + r->table_clusters;
        for (uint64_t i = r->first >> r->block_bits;
             i <= (r->first + before) >> r->block_bits; i++) {
            if (!need_block(r, i, errp)) {
                return false;
            }
        }
        r->table_clusters = r->table_size * 8 >> s->cluster_bits;
    } while (r->nb_blocks + r->table_clusters != before);
    if (r->first + before > (uint64_t)QCOW2_MAX_HOST_OFFSET >> s->cluster_bits) {
        error_setg(errp, "No free clusters are left in the image");
        return false;
    }
    before = r->first;
    for (uint64_t i = 0; i < r->table_size; i++) {
        r->table[i] = r->table[i] ? before++ << s->cluster_bits : 0;
    }
    return true;
}

/* ---- pass 2: writing ----------------------------------------------------------------------- */

/* The new counts of the window that begins at cluster @start. */
static bool fill_window(const Rewidth *r, uint8_t *buf, uint64_t start, const Qcow2RefArray *array,
                        guint *old_at, Error **errp)
{
    uint64_t n = UINT64_C(1) << r->window_bits;
    uint64_t new_end = r->first + r->nb_blocks + r->table_clusters;

    for (uint64_t i = 0; array && i < n; i++) {
        qcow2_refcount_write(buf, r->bits, i, qcow2_refarray_get(array, start + i));
    }
    /* What the new structure replaces is free, and it counts itself. */
    for (; *old_at < r->old->len; (*old_at)++) {
        uint64_t cluster = g_array_index(r->old, uint64_t, *old_at), count;

        if (cluster >= start + n) {
            break;
        }
        count = qcow2_refcount_read(buf, r->bits, cluster - start);
        if (count == 0) {
            return damaged(errp);
        }
        qcow2_refcount_write(buf, r->bits, cluster - start, count - 1);
    }
    for (uint64_t i = MAX(start, r->first); i < MIN(start + n, new_end); i++) {
        qcow2_refcount_write(buf, r->bits, i - start, 1);
    }
    return true;
}

/* Blocks of a window are adjacent in the file, but for those that are not needed. */
static int coroutine_fn co_write_window(const Rewidth *r, uint8_t *buf, uint64_t start)
{
    const Qcow2State *s = r->bs->opaque;
    uint64_t first = start >> r->block_bits, n = UINT64_C(1) << (r->window_bits - r->block_bits);
    g_autofree Qcow2Place *places = g_new(Qcow2Place, n);
    size_t nb_places = 0;

    for (uint64_t i = 0; i < n; i++) {
        if (first + i < r->table_size && r->table[first + i]) {
            places[nb_places++] = (Qcow2Place){ .offset = r->table[first + i],
                                                .buf = buf + (i << s->cluster_bits) };
        }
    }
    return qcow2_co_write_places(r->bs, places, nb_places);
}

static bool coroutine_fn co_write_blocks(const Rewidth *r, Error **errp)
{
    const Qcow2State *s = r->bs->opaque;
    size_t bytes = (size_t)s->cluster_size << (r->window_bits - r->block_bits);
    uint8_t *buf = bdrv_try_blockalign(r->bs->file->bs, bytes);
    uint64_t end = r->first + r->nb_blocks + r->table_clusters, old_windows = nb_windows(r);
    guint old_at = 0;
    bool ok = buf;

    if (!buf) {
        error_setg(errp, "Not enough memory for the refcounts of the image");
    }
    for (uint64_t i = 0; ok && i << r->window_bits < end; i++) {
        g_autoptr(Qcow2RefArray) array = i < old_windows ? co_load_window(r, i, errp) : NULL;
        int ret;

        memset(buf, 0, bytes);
        ok = (array || i >= old_windows) &&
             fill_window(r, buf, i << r->window_bits, array, &old_at, errp);
        ret = ok ? co_write_window(r, buf, i << r->window_bits) : 0;
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not write the new refcounts");
            ok = false;
        }
        bdrv_amend_progress(r->progress, end + (i << r->window_bits), 2 * end);
    }
    qemu_vfree(buf);
    return ok;
}

static int coroutine_fn co_write_table(const Rewidth *r)
{
    const Qcow2State *s = r->bs->opaque;
    g_autofree uint64_t *be = g_try_new(uint64_t, r->table_size);

    if (!be) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < r->table_size; i++) {
        be[i] = cpu_to_be64(r->table[i]);
    }
    return bdrv_co_pwrite_sync(r->bs->file, (r->first + r->nb_blocks) << s->cluster_bits,
                               r->table_size * 8, be, 0);
}

/* ---- the switch ---------------------------------------------------------------------------- */

/* The state in memory follows. */
static void adopt(Rewidth *r, const Qcow2Header *header)
{
    Qcow2State *s = r->bs->opaque;

    for (uint32_t i = 0; i < s->reftable.size; i++) {
        if (s->reftable.entries[i] & QCOW2_REFTABLE_MASK) {
            qcow2_overlap_remove(s, s->reftable.entries[i] & QCOW2_REFTABLE_MASK);
        }
    }
    for (uint64_t i = 0; i < r->nb_blocks; i++) {
        qcow2_overlap_add(s, (r->first + i) << s->cluster_bits);
    }
    g_free(s->reftable.entries);
    s->reftable = (Qcow2Table){ g_steal_pointer(&r->table), r->table_size,
                                header->reftable_offset, 0, 0 };
    s->header = *header;
    s->refcount_bits = r->bits;
    s->refcount_max = r->max;
    s->refblock_bits = r->block_bits;
    s->refblock_size = UINT32_C(1) << r->block_bits;
    qcow2_cache_free(s->refcount_cache);
    s->refcount_cache = qcow2_cache_new(s->cluster_size, s->opt.refcount_cache_bytes);
    s->fresh_from = MAX(s->fresh_from, r->first + r->nb_blocks + r->table_clusters);
    s->free_cluster_index = 0;
    s->reftable_wanted = 0;
}

static bool coroutine_fn co_switch(Rewidth *r, Error **errp)
{
    const Qcow2State *s = r->bs->opaque;
    Qcow2Header header = s->header;
    int ret = co_write_table(r);

    header.reftable_offset = (r->first + r->nb_blocks) << s->cluster_bits;
    header.reftable_clusters = r->table_clusters;
    header.refcount_order = r->order;
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the new refcount table");
        return false;
    }
    /* Table and width are in one sector, so they change together. */
    ret = qcow2_header_co_switch(r->bs, &header, QCOW2_HDR_REFTABLE, QCOW2_HDR_REFCOUNT_ORDER + 4);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not update the image header");
        return false;
    }
    adopt(r, &header);
    return true;
}

/* Both locks held, everything written. */
static bool coroutine_fn co_rewidth(Rewidth *r, Error **errp)
{
    uint64_t windows = nb_windows(r);

    for (uint64_t i = 0; i < windows; i++) {
        if (!co_look_at_window(r, i, errp)) {
            return false;
        }
        bdrv_amend_progress(r->progress, i + 1, 2 * windows);
    }
    return plan(r, errp) && co_write_blocks(r, errp) && co_switch(r, errp);
}

bool coroutine_fn qcow2_amend_co_refcount_width(BlockDriverState *bs, unsigned order,
                                                const BdrvAmendProgress *progress, Error **errp)
{
    Qcow2State *s = bs->opaque;
    Rewidth r = {
        .bs = bs,
        .progress = progress,
        .order = order,
        .bits = 1U << order,
        .block_bits = s->cluster_bits + 3 - order,
        .max = UINT64_MAX >> (64 - (1U << order)),
    };
    bool ok;
    int ret;

    CO_LOCK_GUARD(&s->wb_lock);
    /* The old counts are read from the file, so all of them must be there. */
    for (;;) {
        ret = qcow2_co_write_back_locked(bs);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not write the metadata");
            return false;
        }
        qemu_co_mutex_lock(&s->lock);
        if (!qcow2_cache_is_dirty(s->refcount_cache)) {
            break;
        }
        qemu_co_mutex_unlock(&s->lock);
    }
    r.window_bits = MAX(MAX(s->refblock_bits, r.block_bits),
                        ctz64(WINDOW_BYTES) + 3 - MAX(order, s->header.refcount_order));
    r.old = old_structure(s);
    ok = co_rewidth(&r, errp);
    qemu_co_mutex_unlock(&s->lock);
    g_array_unref(r.old);
    g_free(r.table);
    return ok;
}
