/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mapping fast path: reads, writes in place and to clusters that can be linked ahead of their
 * data, where all tables are in memory.  Whatever needs more (a table to be loaded, something to be
 * copied, damage to be told of) is left to the full path.
 */
#include "qemu/osdep.h"

#include "qcow2.h"
#include "qemu/atomic.h"

/* The slice of @offset's entry, pinned; NULL and false: not in memory, or damaged. */
static bool peek_slice(const Qcow2State *s, int64_t offset, Qcow2CacheEntry **slice)
{
    uint64_t l1_index = qcow2_l1_index(s, offset);
    uint64_t l2_offset = l1_index < s->l1.size ? s->l1.entries[l1_index] & QCOW2_OFFSET_MASK : 0;

    *slice = NULL;
    if (!l2_offset) {
        return true;
    }
    if (!qcow2_offset_in_cluster(s, l2_offset)) {
        *slice = qcow2_cache_peek(s->l2_cache, qcow2_slice_offset(s, l2_offset, offset));
    }
    return *slice;
}

static BdrvMapKind map_data(BlockDriverState *bs, int64_t offset, uint64_t host_offset,
                            BdrvMapping *map)
{
    Qcow2State *s = bs->opaque;

    if (!qcow2_is_in_place(s, offset, host_offset)) {
        return BDRV_MAP_NONE;
    }
    map->child = qcow2_data(bs);
    map->offset = host_offset;
    return BDRV_MAP_CHILD;
}

static BdrvMapKind map_read(BlockDriverState *bs, int64_t offset, int64_t bytes, BdrvMapping *map)
{
    Qcow2State *s = bs->opaque;
    Qcow2CacheEntry *slice;
    Qcow2Mapping run;

    if (!peek_slice(s, offset, &slice)) {
        return BDRV_MAP_NONE;
    }
    if (!slice) {
        /* No L2 table; what other tables say is not looked at. */
        return qcow2_l1_index(s, offset) == qcow2_l1_index(s, offset + bytes - 1)
                   ? BDRV_MAP_BACKING : BDRV_MAP_NONE;
    }
    qcow2_map_run(s, slice, qcow2_l2_index(s, offset) & (s->slice_entries - 1), offset, bytes,
                  &run);
    qcow2_cache_put(slice);
    if (run.bytes < bytes) {
        return BDRV_MAP_NONE;
    }
    switch (run.kind) {
    case QCOW2_DATA:
        return s->header.crypt_method ? BDRV_MAP_NONE
                                      : map_data(bs, offset, run.host_offset, map);
    case QCOW2_ZERO_PLAIN:
    case QCOW2_ZERO_ALLOC:
        return BDRV_MAP_ZERO;
    case QCOW2_UNALLOCATED:
    case QCOW2_UNALLOCATED_RESERVED:
        return BDRV_MAP_BACKING;
    default:
        return BDRV_MAP_NONE;
    }
}

/* Of an extended entry: do all subclusters of [@offset, @end) in the cluster have data? */
static bool has_data(const Qcow2State *s, const Qcow2CacheEntry *slice, uint32_t index,
                     int64_t offset, int64_t end)
{
    uint64_t touched = qcow2_sub_mask(s, qcow2_cluster_start(s, offset), offset, end);
    uint64_t bitmap = qcow2_slice_get_bitmap(s, slice, index);

    /* None of them is of zeroes, too, which would be damage. */
    return (bitmap & (touched | touched << QCOW2_SUBCLUSTERS)) == touched;
}

/* Are the clusters of the range ours alone, and adjacent?  Then the host offset of the range. */
static bool find_in_place(const Qcow2State *s, const Qcow2CacheEntry *slice, int64_t offset,
                          int64_t bytes, uint64_t *host_offset)
{
    uint32_t in_cluster = qcow2_offset_in_cluster(s, offset);
    uint32_t index = qcow2_l2_index(s, offset) & (s->slice_entries - 1);
    uint32_t n = (in_cluster + bytes + s->cluster_size - 1) >> s->cluster_bits;
    uint64_t first = qcow2_slice_get(s, slice, index);

    if (n > s->slice_entries - index || qcow2_entry_kind(s, first) != QCOW2_DATA) {
        return false;
    }
    for (uint32_t i = 1; i < n; i++) {
        /* The same flags, the next place. */
        if (qcow2_slice_get(s, slice, index + i) != first + ((uint64_t)i << s->cluster_bits)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < n && s->is_extended_l2; i++) {
        int64_t cluster = qcow2_cluster_start(s, offset) + ((int64_t)i << s->cluster_bits);

        if (!has_data(s, slice, index + i, MAX(offset, cluster), offset + bytes)) {
            return false;
        }
    }
    *host_offset = (first & QCOW2_OFFSET_MASK) + in_cluster;
    return first & QCOW2_COPIED;
}

static BdrvMapKind map_write(BlockDriverState *bs, int64_t offset, int64_t bytes, BdrvMapping *map)
{
    Qcow2State *s = bs->opaque;
    uint64_t l1_index = qcow2_l1_index(s, offset);
    Qcow2CacheEntry *slice;
    uint64_t host_offset;
    bool has_place;

    if (qatomic_read(&s->is_corrupt) || s->has_shared_tables ||
        qatomic_read(&s->needs_autoclear) || s->header.crypt_method ||
        (!QLIST_EMPTY(&s->allocs) && qcow2_alloc_overlaps(s, offset, bytes)) ||
        l1_index >= s->l1.size || !(s->l1.entries[l1_index] & QCOW2_COPIED) ||
        !peek_slice(s, offset, &slice) || !slice) {
        return BDRV_MAP_NONE;
    }
    has_place = find_in_place(s, slice, offset, bytes, &host_offset)
                    ? s->has_data_file || qcow2_overlap_is_clear(s, host_offset, bytes)
                    : qcow2_alloc_ahead(bs, slice, offset, bytes, &host_offset);
    qcow2_cache_put(slice);
    return has_place ? map_data(bs, offset, host_offset, map) : BDRV_MAP_NONE;
}

BdrvMapKind qcow2_map(BlockDriverState *bs, bool is_write, int64_t offset, int64_t bytes,
                      BdrvMapping *map)
{
    Qcow2State *s = bs->opaque;
    BdrvMapKind kind;

    if (!qemu_co_mutex_trylock(&s->lock)) {
        return BDRV_MAP_NONE;
    }
    kind = is_write ? map_write(bs, offset, bytes, map) : map_read(bs, offset, bytes, map);
    qemu_co_mutex_unlock(&s->lock);
    return kind;
}
