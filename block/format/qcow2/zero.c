/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing what clusters mean without writing data: zeroes, discard, unmapping.
 *
 * The core cuts requests so that each is within one cluster or made of whole ones.  Version 2
 * has no way to say "zeroes" over a backing file; there such requests are not supported.
 */
#include "qemu/osdep.h"

#include "qcow2.h"
#include "qemu/atomic.h"

typedef enum ZeroMode {
    ZERO_KEEP,    /* reads as zeroes; the host cluster is kept */
    ZERO_FREE,    /* reads as zeroes; the host cluster is not kept */
    ZERO_DISCARD, /* the guest does not care for it; must not show the backing file */
    ZERO_UNMAP,   /* unallocated: the backing file shows */
} ZeroMode;

/* What the entry of a cluster becomes; equal to @entry: nothing to do. */
static uint64_t new_entry(BlockDriverState *bs, uint64_t entry, ZeroMode mode)
{
    Qcow2State *s = bs->opaque;
    Qcow2Kind kind = qcow2_entry_kind(s, entry);
    bool has_host = kind == QCOW2_DATA || kind == QCOW2_ZERO_ALLOC;

    switch (mode) {
    case ZERO_UNMAP:
        return 0;
    case ZERO_DISCARD:
        if (kind == QCOW2_UNALLOCATED && !bs->backing) {
            return entry;
        }
        if (s->header.version < 3) {
            return 0;
        }
        if (s->opt.discard_no_unref && has_host) {
            return entry | QCOW2_ZERO;
        }
        return QCOW2_ZERO;
    case ZERO_KEEP:
        if (s->header.version < 3) {
            return 0;
        }
        return has_host ? entry | QCOW2_ZERO : QCOW2_ZERO;
    default:
        return s->header.version < 3 ? 0 : QCOW2_ZERO;
    }
}

static void change_entries(BlockDriverState *bs, Qcow2CacheEntry *slice, uint32_t index,
                           uint32_t n, ZeroMode mode)
{
    Qcow2State *s = bs->opaque;

    for (uint32_t i = 0; i < n; i++) {
        uint64_t old = qcow2_slice_get(s, slice, index + i);
        uint64_t new = new_entry(bs, old, mode);
        bool keeps_host = (new & QCOW2_OFFSET_MASK) && !(new & QCOW2_COMPRESSED);

        if (new == old) {
            continue;
        }
        qcow2_slice_set(s, slice, index + i, new);
        if (!keeps_host) {
            qcow2_free_l2_entry(bs, old, QCOW2_DISCARD_REQUEST);
        }
    }
}

/* Nothing is there and nothing needs to be said about it. */
static bool is_nothing_to_do(BlockDriverState *bs, ZeroMode mode)
{
    return mode == ZERO_UNMAP || (mode == ZERO_DISCARD && !bs->backing);
}

/* A prefix of whole clusters.  Lock held; *@done 0: try again. */
static int coroutine_fn co_change_step(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       ZeroMode mode, int64_t *done)
{
    Qcow2State *s = bs->opaque;
    Qcow2CacheEntry *slice;
    uint32_t index, n;
    int ret;

    *done = 0;
    if (qcow2_alloc_co_wait(bs, offset, bytes)) {
        return 0;
    }
    ret = qcow2_co_get_slice(bs, offset, &slice, &index);
    if (ret < 0) {
        return ret;
    }
    n = MIN(qcow2_nb_clusters(s, bytes), s->slice_entries - index);
    if (!slice && is_nothing_to_do(bs, mode)) {
        *done = MIN((int64_t)n << s->cluster_bits, bytes);
        return 0;
    }
    qcow2_cache_put(slice);
    ret = qcow2_co_get_slice_for_write(bs, offset, &slice, &index);
    if (ret < 0) {
        return ret;
    }
    change_entries(bs, slice, index, n, mode);
    qcow2_cache_put(slice);
    *done = MIN((int64_t)n << s->cluster_bits, bytes);
    return 0;
}

/* [@offset, @offset + @bytes): whole clusters, or up to the end of the disk. */
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

static bool is_whole(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    Qcow2State *s = bs->opaque;
    int64_t end = offset + bytes;

    return !qcow2_offset_in_cluster(s, offset) &&
           (!qcow2_offset_in_cluster(s, end) || end >= qatomic_read(&bs->total_bytes));
}

/*
 * Zeroes over part of the cluster at @offset: 1 if it reads as zeroes now, 0 if it does not,
 * -EAGAIN as usual.  Lock held, so nobody can write to the rest meanwhile.
 */
static int coroutine_fn co_zero_part(BlockDriverState *bs, int64_t offset)
{
    Qcow2State *s = bs->opaque;
    Qcow2Mapping map;
    int64_t done;
    int ret;

    while (qcow2_alloc_co_wait(bs, offset, s->cluster_size)) {
        /* Look again. */
    }
    ret = qcow2_co_map(bs, offset, s->cluster_size, &map);
    if (ret < 0) {
        return ret;
    }
    if (map.kind == QCOW2_ZERO_PLAIN || map.kind == QCOW2_ZERO_ALLOC) {
        return 1;
    }
    if (map.kind != QCOW2_UNALLOCATED || !qcow2_backing_is_zero(bs, offset)) {
        return 0;
    }
    /* Say so, lest a backing file that grows shows up here. */
    ret = co_change_step(bs, offset, s->cluster_size, ZERO_KEEP, &done);
    return ret < 0 ? ret : 1;
}

static int coroutine_fn co_zero_within_cluster(BlockDriverState *bs, int64_t offset)
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

int coroutine_fn qcow2_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        unsigned flags)
{
    Qcow2State *s = bs->opaque;
    ZeroMode mode = flags & BDRV_REQ_MAY_UNMAP ? ZERO_FREE : ZERO_KEEP;

    if (s->header.version < 3 && bs->backing) {
        return -ENOTSUP;
    }
    if (!is_whole(bs, offset, bytes)) {
        int64_t start = qcow2_cluster_start(s, offset);

        if (qcow2_cluster_end(s, offset + bytes) - start > s->cluster_size) {
            return -ENOTSUP;
        }
        return co_zero_within_cluster(bs, start);
    }
    return co_change_range(bs, offset, bytes, mode);
}

int coroutine_fn qcow2_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    Qcow2State *s = bs->opaque;

    if (!is_whole(bs, offset, bytes) || (s->header.version < 3 && bs->backing)) {
        return -ENOTSUP;
    }
    return co_change_range(bs, offset, bytes, ZERO_DISCARD);
}

int coroutine_fn qcow2_co_unmap(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return co_change_range(bs, offset, bytes, ZERO_UNMAP);
}
