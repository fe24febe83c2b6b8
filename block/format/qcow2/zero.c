/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing what clusters mean without writing data: zeroes, discard, unmapping; and zeroes as data
 * where nothing else serves.
 *
 * The core cuts requests so that each is within one cluster or made of whole ones.  Version 2
 * has no way to say "zeroes" over a backing file; there such requests are not supported.
 */
#include "qemu/osdep.h"

#include "qcow2.h"
#include "qemu/atomic.h"

#define ZERO_BUFFER_BYTES (1 * MiB)
#define MAX_UNNEEDED_CLUSTERS 1024 /* looked at and discarded at once: writers to them wait */
#define MAX_LATER 1024             /* items that wait for another time */

typedef enum ZeroMode {
    ZERO_KEEP,    /* reads as zeroes; the host cluster is kept */
    ZERO_FREE,    /* reads as zeroes; the host cluster is not needed */
    ZERO_DISCARD, /* the guest does not care for it; must not show the backing file */
    ZERO_UNMAP,   /* unallocated: the backing file shows */
} ZeroMode;

/* A cluster that reads as zeroes, with the host cluster of @old or none. */
static Qcow2L2Entry zero_entry(const Qcow2State *s, Qcow2L2Entry old, bool keeps_host)
{
    uint64_t entry = keeps_host ? old.entry : 0;

    if (s->header.version < 3) {
        return (Qcow2L2Entry){ 0, 0 };
    }
    return s->is_extended_l2 ? (Qcow2L2Entry){ entry, QCOW2_SUB_ZEROES }
                             : (Qcow2L2Entry){ entry | QCOW2_ZERO, 0 };
}

/* What the entry of a cluster becomes; equal to @old: nothing to do. */
static Qcow2L2Entry new_entry(BlockDriverState *bs, Qcow2L2Entry old, ZeroMode mode)
{
    Qcow2State *s = bs->opaque;
    bool has_host = !(old.entry & QCOW2_COMPRESSED) && qcow2_entry_has_host(s, old.entry);

    switch (mode) {
    case ZERO_UNMAP:
        return (Qcow2L2Entry){ 0, 0 };
    case ZERO_DISCARD:
        if (old.entry == 0 && old.bitmap == 0 && !bs->backing) {
            return old;
        }
        return zero_entry(s, old, has_host && s->opt.discard_no_unref);
    case ZERO_KEEP:
        return zero_entry(s, old, has_host);
    default:
        return zero_entry(s, old, has_host && s->opt.discard_no_unref);
    }
}

/* @index is that of the cluster that has @offset. */
static void change_entries(BlockDriverState *bs, int64_t offset, Qcow2CacheEntry *slice,
                           uint32_t index, uint32_t n, ZeroMode mode)
{
    Qcow2State *s = bs->opaque;
    int64_t guest = qcow2_cluster_start(s, offset);

    for (uint32_t i = 0; i < n; i++) {
        Qcow2L2Entry old = qcow2_slice_get_entry(s, slice, index + i);
        Qcow2L2Entry new = new_entry(bs, old, mode);

        if (new.entry == old.entry && new.bitmap == old.bitmap) {
            continue;
        }
        qcow2_slice_set(s, slice, index + i, new.entry);
        if (s->is_extended_l2) {
            qcow2_slice_set_bitmap(s, slice, index + i, new.bitmap);
        }
        if (!qcow2_entry_has_host(s, new.entry)) {
            qcow2_free_l2_entry(bs, old.entry, QCOW2_DISCARD_REQUEST);
        } else if (mode == ZERO_DISCARD || mode == ZERO_FREE) {
            qcow2_free_clusters(bs, guest + ((int64_t)i << s->cluster_bits), s->cluster_size,
                                QCOW2_DISCARD_KEPT);
        }
    }
}

/* Zeroes over whole subclusters of one cluster.  A compressed one has no subclusters. */
static int zero_subclusters(BlockDriverState *bs, Qcow2CacheEntry *slice, uint32_t index,
                            uint64_t mask)
{
    Qcow2State *s = bs->opaque;
    uint64_t bitmap = qcow2_slice_get_bitmap(s, slice, index);

    if (qcow2_slice_get(s, slice, index) & QCOW2_COMPRESSED) {
        return -ENOTSUP;
    }
    qcow2_slice_set_bitmap(s, slice, index, (bitmap | mask << QCOW2_SUBCLUSTERS) & ~mask);
    return 0;
}

/* Nothing is there and nothing needs to be said about it. */
static bool is_nothing_to_do(BlockDriverState *bs, ZeroMode mode)
{
    return mode == ZERO_UNMAP || (mode == ZERO_DISCARD && !bs->backing);
}

/* The subclusters of a prefix that ends with its cluster; 0 if that is to change as a whole. */
static uint64_t part_mask(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    Qcow2State *s = bs->opaque;
    int64_t cluster = qcow2_cluster_start(s, offset), end = offset + bytes;

    if (!s->is_extended_l2 ||
        (offset == cluster &&
         (bytes >= s->cluster_size || end >= qatomic_read(&bs->total_bytes)))) {
        return 0;
    }
    return qcow2_sub_mask(s, cluster, offset, end);
}

/* A prefix of whole clusters, or within one.  Lock held; *@done 0: try again. */
static int coroutine_fn co_change_step(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       ZeroMode mode, int64_t *done)
{
    Qcow2State *s = bs->opaque;
    int64_t in_cluster = qcow2_offset_in_cluster(s, offset);
    Qcow2CacheEntry *slice;
    uint32_t index, n;
    uint64_t mask;
    int ret;

    *done = 0;
    if (qcow2_alloc_co_wait(bs, offset, bytes)) {
        return 0;
    }
    ret = qcow2_co_get_slice(bs, offset, &slice, &index);
    if (ret < 0) {
        return ret;
    }
    mask = part_mask(bs, offset, bytes);
    n = mask ? 1 : MAX(bytes >> s->cluster_bits, 1);
    n = MIN(n, s->slice_entries - index);
    if (!slice && is_nothing_to_do(bs, mode)) {
        *done = MIN(((int64_t)n << s->cluster_bits) - in_cluster, bytes);
        return 0;
    }
    qcow2_cache_put(slice);
    ret = qcow2_co_get_slice_for_write(bs, offset, &slice, &index);
    if (ret < 0) {
        return ret;
    }
    if (mask) {
        ret = zero_subclusters(bs, slice, index, mask);
    } else {
        change_entries(bs, offset, slice, index, n, mode);
    }
    qcow2_cache_put(slice);
    *done = ret < 0 ? 0 : MIN(((int64_t)n << s->cluster_bits) - in_cluster, bytes);
    return ret;
}

/* Whole clusters (to be zero: subclusters), or up to the end of the disk. */
static int coroutine_fn co_change_range(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        ZeroMode mode)
{
    Qcow2State *s = bs->opaque;
    int ret = qcow2_co_before_change(bs);

    while (bytes > 0 && ret >= 0) {
        int64_t done;

        qemu_co_mutex_lock(&s->lock);
        ret = co_change_step(bs, offset, bytes, mode, &done);
        qemu_co_mutex_unlock(&s->lock);
        ret = qcow2_co_after_step(bs, ret);
        offset += done;
        bytes -= done;
    }
    return ret;
}

static bool is_whole(BlockDriverState *bs, int64_t offset, int64_t bytes, int64_t unit)
{
    int64_t end = offset + bytes;

    return QEMU_IS_ALIGNED(offset, unit) &&
           (QEMU_IS_ALIGNED(end, unit) || end >= qatomic_read(&bs->total_bytes));
}

/* The chain below may be asked with the lock held: nobody there asks for ours. */
static bool coroutine_fn co_backing_is_zero(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return qcow2_backing_is_zero(bs, offset) ||
           bdrv_co_is_zero(bs->backing->bs, offset, bytes) == 1;
}

/*
 * Zeroes over part of the subcluster at @offset: 1 if it reads as zeroes now, 0 if it does not,
 * -EAGAIN as usual.  Lock held, so nobody can write to the rest meanwhile.
 */
static int coroutine_fn co_zero_part(BlockDriverState *bs, int64_t offset)
{
    Qcow2State *s = bs->opaque;
    int64_t unit = INT64_C(1) << s->subcluster_bits, done;
    Qcow2Mapping map;
    int ret;

    while (qcow2_alloc_co_wait(bs, offset, unit)) {
        /* Look again. */
    }
    ret = qcow2_co_map(bs, offset, unit, &map);
    if (ret < 0) {
        return ret;
    }
    if (map.kind == QCOW2_ZERO_PLAIN || map.kind == QCOW2_ZERO_ALLOC) {
        return 1;
    }
    if ((map.kind != QCOW2_UNALLOCATED && map.kind != QCOW2_UNALLOCATED_RESERVED) ||
        !co_backing_is_zero(bs, offset, unit)) {
        return 0;
    }
    /* Say so, lest a backing file that grows shows up here. */
    ret = co_change_step(bs, offset, unit, ZERO_KEEP, &done);
    return ret < 0 ? ret : 1;
}

static int coroutine_fn co_zero_within_subcluster(BlockDriverState *bs, int64_t offset)
{
    Qcow2State *s = bs->opaque;
    int ret = qcow2_co_before_change(bs);

    while (ret >= 0) {
        qemu_co_mutex_lock(&s->lock);
        ret = co_zero_part(bs, offset);
        qemu_co_mutex_unlock(&s->lock);
        if (ret != -EAGAIN) {
            return ret < 0 ? ret : ret == 1 ? qcow2_co_after_step(bs, 0) : -ENOTSUP;
        }
        ret = qcow2_co_after_step(bs, ret);
    }
    return ret;
}

static int coroutine_fn co_zero_range(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      unsigned flags)
{
    Qcow2State *s = bs->opaque;
    bool keeps_host = !(flags & BDRV_REQ_MAY_UNMAP) || qcow2_data_is_raw(s);
    int ret = 0;

    if (s->has_data_file) {
        ret = qcow2_co_before_change(bs);
        if (ret >= 0) {
            ret = qcow2_data_file_co_zero(bs, offset, bytes, flags);
        }
    }
    return ret < 0 ? ret : co_change_range(bs, offset, bytes, keeps_host ? ZERO_KEEP : ZERO_FREE);
}

int coroutine_fn qcow2_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        unsigned flags)
{
    Qcow2State *s = bs->opaque;
    int64_t unit = INT64_C(1) << s->subcluster_bits;

    if (s->header.version < 3 && bs->backing) {
        return -ENOTSUP;
    }
    if (!is_whole(bs, offset, bytes, unit)) {
        int64_t start = QEMU_ALIGN_DOWN(offset, unit);

        return offset + bytes > start + unit ? -ENOTSUP : co_zero_within_subcluster(bs, start);
    }
    return co_zero_range(bs, offset, bytes, flags);
}

int coroutine_fn qcow2_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    Qcow2State *s = bs->opaque;

    if (!is_whole(bs, offset, bytes, s->cluster_size) || (s->header.version < 3 && bs->backing)) {
        return -ENOTSUP;
    }
    if (qcow2_data_is_raw(s)) {
        return co_zero_range(bs, offset, bytes, BDRV_REQ_MAY_UNMAP);
    }
    return co_change_range(bs, offset, bytes, ZERO_DISCARD);
}

int coroutine_fn qcow2_co_unmap(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return co_change_range(bs, offset, bytes, ZERO_UNMAP);
}

/* ---- giving places back on the host --------------------------------------------------------- */

/*
 * Qcow2UnneededFunc for places that are kept (discard-no-unref): their clusters read as zeroes in
 * memory and on disk, and no snapshot has them.
 */
static int64_t coroutine_fn co_kept_bytes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                          uint64_t *host)
{
    Qcow2State *s = bs->opaque;
    Qcow2CacheEntry *slice;
    uint32_t index;
    int64_t done = 0;

    if (qcow2_co_get_slice(bs, offset, &slice, &index) < 0 || !slice) {
        return 0;
    }
    /*
     * What has not changed since write-back is on disk.  Else the table there may name data: of
     * somebody who wrote since, and wiped that, too.  A power cut would show what discards leave.
     */
    bool is_clean = slice->dirty_start >= slice->dirty_end;
    qcow2_cache_put(slice);
    if (!is_clean) {
        return -EAGAIN;
    }
    bytes = MIN(bytes, (int64_t)(s->slice_entries - index) << s->cluster_bits);
    while (done < bytes) {
        uint64_t count = 1;
        Qcow2Mapping map;

        if (qcow2_co_map(bs, offset + done, s->cluster_size, &map) < 0 ||
            map.kind != QCOW2_ZERO_ALLOC || map.bytes < s->cluster_size ||
            (done && map.host_offset != *host + done) ||
            (!s->has_data_file && (qcow2_refcount_co_get(bs, map.host_offset >> s->cluster_bits,
                                                         &count) < 0 || count != 1))) {
            break;
        }
        *host = done ? *host : map.host_offset;
        done += s->cluster_size;
    }
    return done;
}

/* A step from @offset on; returns the bytes that are done with. */
static int64_t coroutine_fn co_discard_step(BlockDriverState *bs, const Qcow2Free *item,
                                            int64_t offset, int64_t bytes,
                                            Qcow2UnneededFunc *co_unneeded)
{
    Qcow2State *s = bs->opaque;
    Qcow2Alloc alloc;
    uint64_t host;
    int64_t done;

    qemu_co_mutex_lock(&s->lock);
    /* Who writes there waits. */
    qcow2_alloc_co_reserve(bs, offset, bytes >> s->cluster_bits, &alloc);
    done = co_unneeded(bs, offset, bytes, &host);
    qemu_co_mutex_unlock(&s->lock);
    if (done > 0) {
        /* Only advice: the result does not matter. */
        bdrv_co_pdiscard(qcow2_data(bs), host, done);
    }
    qemu_co_mutex_lock(&s->lock);
    qcow2_alloc_release(&alloc);
    if (done == -EAGAIN && s->gone_frees->len < MAX_LATER) {
        Qcow2Free rest = { offset >> s->cluster_bits, bytes >> s->cluster_bits, item->serial,
                           item->type };

        g_array_append_val(s->gone_frees, rest);
    }
    qemu_co_mutex_unlock(&s->lock);
    return done == -EAGAIN ? bytes : MAX(done, s->cluster_size);
}

void coroutine_fn qcow2_co_discard_unneeded(BlockDriverState *bs, const Qcow2Free *item,
                                            Qcow2UnneededFunc *co_unneeded)
{
    Qcow2State *s = bs->opaque;
    int64_t offset = item->cluster << s->cluster_bits;
    int64_t end = offset + (item->n << s->cluster_bits);

    while (offset < end) {
        int64_t n = MIN(end - offset, (int64_t)MAX_UNNEEDED_CLUSTERS << s->cluster_bits);

        offset += co_discard_step(bs, item, offset, n, co_unneeded);
    }
}

void coroutine_fn qcow2_co_discard_kept(BlockDriverState *bs, const Qcow2Free *item)
{
    qcow2_co_discard_unneeded(bs, item, co_kept_bytes);
}

int coroutine_fn qcow2_co_write_zero_data(BlockDriverState *bs, int64_t offset, int64_t bytes)
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
