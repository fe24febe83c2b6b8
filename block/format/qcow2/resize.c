/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing the size of the disk.
 *
 * Growing: a longer L1 table if need be (R3, R5), what must read as zeroes, preallocation; the
 * size in the header comes last, so that a crash leaves the old size.  Shrinking: the clusters
 * go first; the file gets shorter with the first write-back after their counts are 0 on disk.
 */
#include "qemu/osdep.h"

#include "bitmap.h"
#include "qemu/atomic.h"

/* Bytes of L2 tables; several clusters at least. */
#define MAX_UNWRITTEN (4 * MiB)

/* ---- the header's size --------------------------------------------------------------------- */

static int coroutine_fn co_set_size(BlockDriverState *bs, uint64_t size)
{
    Qcow2State *s = bs->opaque;
    Qcow2Header header;
    int ret;

    CO_LOCK_GUARD(&s->lock);
    header = s->header;
    header.size = size;
    ret = qcow2_header_co_switch(bs, &header, QCOW2_HDR_SIZE, QCOW2_HDR_SIZE + 8);
    if (ret >= 0) {
        qatomic_set(&s->header.size, size); /* status looks without the lock */
    }
    return ret;
}

/* All that the new size needs is in memory: on disk first, then the size. */
static int coroutine_fn co_commit_size(BlockDriverState *bs, uint64_t size, Error **errp)
{
    int ret = qcow2_co_write_back(bs);

    if (ret >= 0) {
        ret = co_set_size(bs, size);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to update the image size");
    }
    return ret;
}

/* ---- a longer L1 table --------------------------------------------------------------------- */

static uint32_t l1_size_for(const Qcow2State *s, uint64_t size)
{
    uint64_t reach = UINT64_C(1) << (s->cluster_bits + s->l2_bits);

    return DIV_ROUND_UP(size, reach);
}

/* Both locks held, nothing of the old table unwritten. */
static int coroutine_fn co_switch_l1(BlockDriverState *bs, uint64_t offset, uint32_t new_size)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint64_t *entries = g_try_new0(uint64_t, new_size);
    g_autofree uint64_t *be = g_try_new0(uint64_t, new_size);
    Qcow2Header header = s->header;
    int ret;

    if (!entries || !be) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < s->l1.size; i++) {
        entries[i] = s->l1.entries[i];
        be[i] = cpu_to_be64(entries[i]);
    }
    BLKDBG_CO_EVENT(bs->file, L1_GROW_WRITE_TABLE);
    ret = bdrv_co_pwrite_sync(bs->file, offset, (int64_t)new_size * 8, be, 0);
    if (ret < 0) {
        return ret;
    }
    header.l1_size = new_size;
    header.l1_offset = offset;
    BLKDBG_CO_EVENT(bs->file, L1_GROW_ACTIVATE_TABLE);
    ret = qcow2_header_co_switch(bs, &header, QCOW2_HDR_L1, QCOW2_HDR_L1 + 12);
    if (ret < 0) {
        return ret;
    }
    if (s->l1.size) {
        qcow2_free_clusters(bs, s->l1.offset, (uint64_t)s->l1.size * 8, QCOW2_DISCARD_OTHER);
    }
    g_free(s->l1.entries);
    s->l1 = (Qcow2Table){ g_steal_pointer(&entries), new_size, offset, 0, 0 };
    s->header.l1_size = new_size;
    s->header.l1_offset = offset;
    return 0;
}

int coroutine_fn qcow2_co_grow_l1(BlockDriverState *bs, uint64_t end)
{
    Qcow2State *s = bs->opaque;
    uint32_t new_size = l1_size_for(s, end);
    uint64_t n = qcow2_nb_clusters(s, (uint64_t)new_size * 8);
    int64_t offset;
    int ret;

    if (new_size <= s->l1.size) {
        return 0;
    }
    BLKDBG_CO_EVENT(bs->file, L1_GROW_ALLOC_TABLE);
    offset = qcow2_co_alloc_unlocked(bs, n);
    if (offset < 0) {
        return offset;
    }
    CO_LOCK_GUARD(&s->wb_lock);
    /* The counts of the new table, and what the old one names, must be on disk first (R1, R3). */
    for (;;) {
        ret = qcow2_co_write_back_locked(bs);
        qemu_co_mutex_lock(&s->lock);
        if (ret < 0 || s->l1.dirty_start >= s->l1.dirty_end) {
            break;
        }
        qemu_co_mutex_unlock(&s->lock);
    }
    if (ret >= 0) {
        ret = co_switch_l1(bs, offset, new_size);
    }
    /* After an error the header may name the new table all the same: rather leak. */
    qemu_co_mutex_unlock(&s->lock);
    return ret;
}

/* ---- what comes must read as zeroes -------------------------------------------------------- */

/* The rest of the old last cluster, which may hold what was there before a shrink. */
static int coroutine_fn co_zero_last_cluster(BlockDriverState *bs, int64_t old_size,
                                             int64_t new_size)
{
    Qcow2State *s = bs->opaque;
    int64_t end = MIN(qcow2_cluster_end(s, old_size), new_size);
    bool is_written = false;
    Qcow2Mapping map;
    int ret = 0;

    for (int64_t at = old_size; at < end && ret >= 0; at += map.bytes) {
        qemu_co_mutex_lock(&s->lock);
        ret = qcow2_co_map(bs, at, end - at, &map);
        qemu_co_mutex_unlock(&s->lock);
        if (ret >= 0 && map.kind != QCOW2_ZERO_PLAIN && map.kind != QCOW2_ZERO_ALLOC &&
            ((map.kind != QCOW2_UNALLOCATED && map.kind != QCOW2_UNALLOCATED_RESERVED) ||
             !qcow2_backing_is_zero(bs, at))) {
            ret = qcow2_co_write_zero_data(bs, at, map.bytes);
            is_written = true;
        }
    }
    /* Written in place it is nobody's to flush, and the size that shows it comes next (R5). */
    return ret < 0 || !is_written ? ret : bdrv_co_flush(qcow2_data(bs)->bs);
}

static int coroutine_fn co_hide_backing(BlockDriverState *bs, int64_t old_size, int64_t new_size)
{
    Qcow2State *s = bs->opaque;
    int64_t start = MIN(qcow2_cluster_end(s, old_size), new_size);
    int64_t end = new_size;

    if (start == end) {
        return 0;
    }
    if (s->header.version >= 3) {
        return qcow2_co_pwrite_zeroes(bs, start, qcow2_cluster_end(s, end) - start, 0);
    }
    if (!bs->backing) {
        return 0;
    }
    end = MIN(end, MAX(qatomic_read(&bs->backing->bs->total_bytes), start));
    return qcow2_co_write_zero_data(bs, start, end - start);
}

/* ---- preallocation ------------------------------------------------------------------------- */

/* Does the cluster at @offset need no more room?  The old last cluster may even be compressed. */
static int coroutine_fn co_has_room(BlockDriverState *bs, int64_t offset)
{
    Qcow2State *s = bs->opaque;
    Qcow2Mapping map;
    int ret = qcow2_co_map(bs, offset, s->cluster_size, &map);

    if (ret < 0) {
        return ret;
    }
    return map.kind == QCOW2_DATA || map.kind == QCOW2_DEFLATED ||
           map.kind == QCOW2_UNALLOCATED_RESERVED ||
           (map.kind == QCOW2_ZERO_ALLOC && (s->is_extended_l2 || s->header.crypt_method));
}

/* A raw data file holds what the disk is to show; otherwise what is there is nobody's. */
static int coroutine_fn co_clear_data_file(BlockDriverState *bs, const Qcow2Alloc *alloc,
                                           int64_t end)
{
    Qcow2State *s = bs->opaque;
    int64_t len = bdrv_getlength(s->data_file->bs);

    if (qcow2_data_is_raw(s) || alloc->is_fresh || alloc->guest_offset >= len) {
        return 0;
    }
    return bdrv_co_pwrite_zeroes(s->data_file, alloc->guest_offset,
                                 MIN(end, len) - alloc->guest_offset, 0);
}

/*
 * The file reaches @end.  It never gets shorter: nobody takes clusters meanwhile, and whatever is
 * being written to those that others have taken is before fresh_from.
 */
static int coroutine_fn co_extend_file(BlockDriverState *bs, uint64_t end, PreallocMode mode,
                                       Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t len;

    CO_LOCK_GUARD(&s->lock);
    len = bdrv_co_getlength(bs->file->bs);
    if (len < 0 || end <= (uint64_t)len) {
        return MIN(len, 0);
    }
    end = MAX(end, s->fresh_from << s->cluster_bits);
    return bdrv_co_truncate(bs->file, end, false,
                            mode == PREALLOC_MODE_METADATA ? PREALLOC_MODE_OFF : mode, 0, errp);
}

/* Host space for one run of clusters, linked; its length to *@done. */
static int coroutine_fn co_preallocate_step(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                            PreallocMode mode, int64_t *done, Error **errp)
{
    Qcow2State *s = bs->opaque;
    Qcow2Alloc *alloc;
    uint64_t host, end;
    int64_t n = bytes;
    int ret;

    *done = 0;
    qemu_co_mutex_lock(&s->lock);
    ret = co_has_room(bs, offset);
    n = ret == 1 ? s->cluster_size : bytes;
    if (ret == 0) {
        ret = qcow2_alloc_co_begin(bs, offset, &n, &host, &alloc);
    }
    qemu_co_mutex_unlock(&s->lock);
    if (ret != 0) {
        *done = ret == 1 ? n : 0;
        return ret == 1 ? 0 : qcow2_co_after_step(bs, ret);
    }
    if (s->is_extended_l2 && !qcow2_data_is_raw(s)) {
        /* Subclusters get host space, and show what they showed. */
        alloc->cow_start = alloc->cow_end = alloc->guest_offset;
    }
    alloc->is_reserve = s->header.crypt_method && !s->is_extended_l2;
    end = alloc->host_offset + ((uint64_t)alloc->nb_clusters << s->cluster_bits);
    ret = 0;
    if (s->has_data_file) {
        ret = co_clear_data_file(bs, alloc, end);
    } else {
        ret = co_extend_file(bs, end, mode, errp);
    }
    if (ret >= 0 && !alloc->is_fresh && !s->has_data_file && !s->header.crypt_method) {
        ret = bdrv_co_pwrite_zeroes(bs->file, alloc->host_offset, end - alloc->host_offset, 0);
    }
    ret = qcow2_alloc_co_finish(bs, alloc, ret);
    *done = ret >= 0 ? n : 0;
    return qcow2_co_after_step(bs, ret);
}

/* The backing file may show in the cluster where the disk ended: what came after needs data. */
static int coroutine_fn co_preallocate_first(BlockDriverState *bs, int64_t *offset, int64_t end)
{
    Qcow2State *s = bs->opaque;
    int64_t start = *offset, stop = MIN(qcow2_cluster_end(s, start), end);

    if (!bs->backing || s->is_extended_l2) {
        *offset = qcow2_cluster_start(s, start);
        return 0;
    }
    *offset = qcow2_cluster_end(s, start);
    return qcow2_co_write_zero_data(bs, start, *offset > start ? stop - start : 0);
}

/*
 * A guest goes on meanwhile: steps that wait for no storage must not keep the loop to themselves,
 * and a flush must not find tables for terabytes to write.  *@unwritten: bytes of the disk, since
 * that was done last.
 */
static int coroutine_fn co_give_way(BlockDriverState *bs, int64_t *unwritten)
{
    const Qcow2State *s = bs->opaque;
    int64_t limit = MAX_UNWRITTEN >> s->cluster_bits << (s->cluster_bits + s->l2_bits);

    aio_co_schedule(qemu_get_current_aio_context(), qemu_coroutine_self());
    qemu_coroutine_yield();
    if (*unwritten < limit) {
        return 0;
    }
    *unwritten = 0;
    return qcow2_co_write_back(bs);
}

static int coroutine_fn co_preallocate(BlockDriverState *bs, int64_t offset, int64_t end,
                                       PreallocMode mode, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t unwritten = 0;
    int ret;

    if (s->header.crypt_method && s->header.version < 3) {
        /* There is no way but data to say what encrypted space reads as. */
        ret = qcow2_co_write_zero_data(bs, offset, end - offset);
        end = offset;
    } else {
        ret = co_preallocate_first(bs, &offset, end);
        end = qcow2_cluster_end(s, end);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Preallocation failed");
        return ret;
    }
    while (offset < end) {
        Error *local_err = NULL;
        int64_t done;

        ret = co_preallocate_step(bs, offset, end - offset, mode, &done, &local_err);
        if (ret < 0) {
            if (local_err) {
                error_propagate_prepend(errp, local_err, "Could not preallocate: ");
            } else {
                error_setg_errno(errp, -ret, "Preallocation failed");
            }
            return ret;
        }
        offset += done;
        unwritten += done;
        ret = co_give_way(bs, &unwritten);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Preallocation failed");
            return ret;
        }
    }
    return 0;
}

/* ---- grow and shrink ----------------------------------------------------------------------- */

/* L2 tables past the end: they refer to nothing any more. */
static void free_l2_tables(BlockDriverState *bs, uint32_t from)
{
    Qcow2State *s = bs->opaque;

    for (uint32_t i = from; i < s->l1.size; i++) {
        uint64_t offset = s->l1.entries[i] & QCOW2_OFFSET_MASK;

        if (offset && !qcow2_offset_in_cluster(s, offset)) {
            s->l1.entries[i] = 0;
            qcow2_table_dirty(&s->l1, i);
            qcow2_overlap_remove(s, offset);
            qcow2_free_clusters(bs, offset, s->cluster_size, QCOW2_DISCARD_OTHER);
        }
    }
}

/* What the L2 tables of L1 entries from @first on name. */
static int coroutine_fn co_unmap_tables(BlockDriverState *bs, uint32_t first)
{
    Qcow2State *s = bs->opaque;
    int64_t reach = INT64_C(1) << (s->cluster_bits + s->l2_bits);
    int ret = 0;

    for (uint32_t i = first; i < s->l1.size && ret >= 0; i++) {
        if (s->l1.entries[i] & QCOW2_OFFSET_MASK) {
            ret = qcow2_co_unmap(bs, i * reach, reach);
        }
    }
    return ret;
}

int coroutine_fn qcow2_co_drop_vmstate(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    uint32_t first = qcow2_l1_index(s, qcow2_vm_state_offset(s)), i;
    int ret;

    for (i = first; i < s->l1.size && !(s->l1.entries[i] & QCOW2_OFFSET_MASK); i++) {
        /* None here. */
    }
    if (i >= s->l1.size) {
        return 0;
    }
    ret = qcow2_co_before_change(bs);
    ret = ret < 0 ? ret : co_unmap_tables(bs, i);
    if (ret >= 0) {
        CO_LOCK_GUARD(&s->lock);
        free_l2_tables(bs, first);
    }
    return ret;
}

/*
 * The state of a machine lies where the disk is about to reach, perhaps since before a shrink: the
 * guest must not see it, and it would not be found again.  Snapshots keep theirs.
 */
static int coroutine_fn co_make_way(BlockDriverState *bs, int64_t size)
{
    const Qcow2State *s = bs->opaque;
    bool is_in_the_way = l1_size_for(s, size) > qcow2_l1_index(s, qcow2_vm_state_offset(s));

    return is_in_the_way ? qcow2_co_drop_vmstate(bs) : 0;
}

static int coroutine_fn co_grow(BlockDriverState *bs, int64_t size, PreallocMode prealloc,
                                unsigned flags, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t old_size = s->header.size;
    int ret = co_make_way(bs, size);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to drop the saved state of the machine");
        return ret;
    }
    ret = qcow2_co_grow_l1(bs, size);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to grow the L1 table");
        return ret;
    }
    if (qcow2_data_is_raw(s) && prealloc == PREALLOC_MODE_OFF) {
        prealloc = PREALLOC_MODE_METADATA; /* each byte of the file is a byte of the disk */
    }
    ret = co_zero_last_cluster(bs, old_size, size);
    if (ret >= 0 && (flags & BDRV_REQ_ZERO_WRITE)) {
        ret = co_hide_backing(bs, old_size, size);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to zero out the new area");
        return ret;
    }
    if (prealloc != PREALLOC_MODE_OFF) {
        ret = co_preallocate(bs, old_size, size, prealloc, errp);
        if (ret < 0) {
            return ret;
        }
    }
    return co_commit_size(bs, size, errp);
}

static int coroutine_fn co_shrink(BlockDriverState *bs, int64_t size, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t start = qcow2_cluster_end(s, size);
    int64_t end = qcow2_cluster_end(s, s->header.size);
    int ret = start < end ? qcow2_co_unmap(bs, start, end - start) : 0;

    if (ret >= 0) {
        /* The state of a machine, which would not be found again. */
        ret = co_unmap_tables(bs, qcow2_l1_index(s, qcow2_vm_state_offset(s)));
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to discard cropped clusters");
        return ret;
    }
    qemu_co_mutex_lock(&s->lock);
    free_l2_tables(bs, l1_size_for(s, size));
    qemu_co_mutex_unlock(&s->lock);
    ret = co_commit_size(bs, size, errp);
    if (ret < 0) {
        return ret;
    }
    qemu_co_mutex_lock(&s->lock);
    s->wants_cut = true;
    qemu_co_mutex_unlock(&s->lock);
    return ret;
}

/* What lay beyond the disk's new end is of no use to anybody. */
static int coroutine_fn co_cut_data_file(BlockDriverState *bs, int64_t size, bool exact,
                                         Error **errp)
{
    Qcow2State *s = bs->opaque;
    bool is_raw = qcow2_data_is_raw(s);

    if (!s->has_data_file || (!is_raw && size >= bdrv_getlength(s->data_file->bs))) {
        return 0;
    }
    return bdrv_co_truncate(s->data_file, size, exact && is_raw, PREALLOC_MODE_OFF, 0, errp);
}

static int check_request(BlockDriverState *bs, int64_t size, PreallocMode prealloc, Error **errp)
{
    Qcow2State *s = bs->opaque;

    if (!QEMU_IS_ALIGNED(size, BDRV_SECTOR_SIZE)) {
        error_setg(errp, "The new size must be a multiple of %d", (int)BDRV_SECTOR_SIZE);
        return -EINVAL;
    }
    if (l1_size_for(s, size) > QCOW2_MAX_L1_BYTES / 8) {
        error_setg(errp, "The image size is too large (try using a larger cluster size)");
        return -EFBIG;
    }
    if (s->header.nb_snapshots && s->header.version < 3) {
        error_setg(errp, "Can't resize a v2 image which has snapshots");
        return -ENOTSUP;
    }
    if ((uint64_t)size < s->header.size && prealloc != PREALLOC_MODE_OFF) {
        error_setg(errp, "Preallocation can't be used for shrinking an image");
        return -EINVAL;
    }
    return 0;
}

int coroutine_fn qcow2_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                   PreallocMode prealloc, unsigned flags, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int ret = check_request(bs, offset, prealloc, errp);

    if (ret < 0) {
        return ret;
    }
    if (!qcow2_bitmaps_check_resize(bs, offset, errp)) {
        return -ENOTSUP;
    }
    ret = qcow2_co_before_change(bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Image cannot be changed");
        return ret;
    }
    if ((uint64_t)offset == s->header.size) {
        return 0;
    }
    if ((uint64_t)offset > s->header.size) {
        ret = qcow2_data_file_co_resize(bs, offset, exact, prealloc, errp);
        return ret < 0 ? ret : co_grow(bs, offset, prealloc, flags, errp);
    }
    ret = co_shrink(bs, offset, errp);
    return ret < 0 ? ret : co_cut_data_file(bs, offset, exact, errp);
}

int coroutine_fn qcow2_co_make_empty(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    int ret = qcow2_co_unmap(bs, 0, qcow2_cluster_end(s, s->header.size));

    if (ret < 0) {
        return ret;
    }
    if (s->header.nb_snapshots == 0) {
        qemu_co_mutex_lock(&s->lock);
        free_l2_tables(bs, 0);
        qemu_co_mutex_unlock(&s->lock);
    }
    ret = qcow2_co_write_back(bs);
    if (ret >= 0 && s->has_data_file) {
        qcow2_data_file_co_discard(bs, 0, s->header.size);
    }
    return ret;
}
