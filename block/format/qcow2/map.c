/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where is a guest offset?  The answer is a value (Qcow2Mapping); whoever asked does the I/O
 * without the lock.  It stays true for requests that had begun when the mapping changed (R4).
 */
#include "qemu/osdep.h"

#include "qcow2.h"
#include "qemu/atomic.h"
#include "qemu/iszero.h"

/* ---- entries, pure ------------------------------------------------------------------------- */

Qcow2Kind qcow2_entry_kind(const Qcow2State *s, uint64_t entry)
{
    if (entry & QCOW2_COMPRESSED) {
        return s->has_data_file ? QCOW2_INVALID : QCOW2_DEFLATED;
    }
    if ((entry & QCOW2_ZERO) && !s->is_extended_l2) {
        if (s->header.version < 3) {
            return QCOW2_INVALID;
        }
        return entry & QCOW2_OFFSET_MASK ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN;
    }
    return qcow2_entry_has_host(s, entry) ? QCOW2_DATA : QCOW2_UNALLOCATED;
}

Qcow2Kind qcow2_subcluster_kind(const Qcow2State *s, uint64_t entry, uint64_t bitmap,
                                unsigned index)
{
    bool is_allocated = bitmap & (UINT64_C(1) << index);
    bool is_zero = bitmap & (UINT64_C(1) << (index + QCOW2_SUBCLUSTERS));
    bool has_host = qcow2_entry_has_host(s, entry);

    if (entry & QCOW2_COMPRESSED) {
        return s->has_data_file ? QCOW2_INVALID : QCOW2_DEFLATED;
    }
    if (is_allocated && (is_zero || !has_host)) {
        return QCOW2_INVALID;
    }
    if (is_allocated) {
        return QCOW2_DATA;
    }
    if (is_zero) {
        return has_host ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN;
    }
    return has_host ? QCOW2_UNALLOCATED_RESERVED : QCOW2_UNALLOCATED;
}

/* Streams begin below this: the entry has no room for more bits. */
static unsigned packed_offset_bits(const Qcow2State *s)
{
    return 62 - (s->cluster_bits - 8);
}

uint64_t qcow2_packed_limit(const Qcow2State *s)
{
    return (UINT64_C(1) << packed_offset_bits(s)) - s->cluster_size;
}

uint64_t qcow2_packed_entry(const Qcow2State *s, uint64_t host_offset, uint32_t len)
{
    uint64_t more = (host_offset + len - 1) / BDRV_SECTOR_SIZE - host_offset / BDRV_SECTOR_SIZE;

    return QCOW2_COMPRESSED | more << packed_offset_bits(s) | host_offset;
}

void qcow2_parse_compressed(const Qcow2State *s, uint64_t entry, uint64_t *host_offset,
                            uint32_t *len)
{
    unsigned offset_bits = packed_offset_bits(s);
    uint64_t sectors = ((entry >> offset_bits) & ((UINT64_C(1) << (s->cluster_bits - 8)) - 1)) + 1;

    *host_offset = entry & ((UINT64_C(1) << offset_bits) - 1);
    *len = sectors * BDRV_SECTOR_SIZE - (*host_offset & (BDRV_SECTOR_SIZE - 1));
}

/* ---- slices -------------------------------------------------------------------------------- */

uint64_t qcow2_slice_get(const Qcow2State *s, const Qcow2CacheEntry *slice, uint32_t index)
{
    return ldq_be_p(slice->data + (size_t)index * s->l2_entry_size);
}

uint64_t qcow2_slice_get_bitmap(const Qcow2State *s, const Qcow2CacheEntry *slice, uint32_t index)
{
    return s->is_extended_l2 ? ldq_be_p(slice->data + (size_t)index * s->l2_entry_size + 8) : 0;
}

void qcow2_slice_set_bitmap(const Qcow2State *s, Qcow2CacheEntry *slice, uint32_t index,
                            uint64_t bitmap)
{
    assert(s->is_extended_l2);
    stq_be_p(slice->data + (size_t)index * s->l2_entry_size + 8, bitmap);
    qcow2_cache_dirty(slice, index * s->l2_entry_size, s->l2_entry_size);
}

uint64_t qcow2_sub_mask(const Qcow2State *s, int64_t cluster, int64_t start, int64_t end)
{
    int64_t from = MAX(start - cluster, 0), to = MIN(end - cluster, s->cluster_size);

    if (from >= to) {
        return 0;
    }
    return (UINT64_C(2) << ((to - 1) >> s->subcluster_bits)) -
           (UINT64_C(1) << (from >> s->subcluster_bits));
}

void qcow2_slice_set(const Qcow2State *s, Qcow2CacheEntry *slice, uint32_t index, uint64_t entry)
{
    stq_be_p(slice->data + (size_t)index * s->l2_entry_size, entry);
    qcow2_cache_dirty(slice, index * s->l2_entry_size, s->l2_entry_size);
}

uint64_t qcow2_slice_offset(const Qcow2State *s, uint64_t l2_offset, int64_t offset)
{
    return l2_offset + (uint64_t)(qcow2_l2_index(s, offset) / s->slice_entries) * s->slice_bytes;
}

static int coroutine_fn co_check_l2_offset(BlockDriverState *bs, uint64_t l2_offset,
                                           uint64_t l1_index)
{
    Qcow2State *s = bs->opaque;

    if (qcow2_offset_in_cluster(s, l2_offset)) {
        qcow2_co_mark_corrupt(bs, l2_offset, s->cluster_size, "L2 table offset %#" PRIx64
                              " unaligned (L1 index: %#" PRIx64 ")", l2_offset, l1_index);
        return -EIO;
    }
    return 0;
}

/* Where in the file the slice of @offset's entry is; 0: there is no L2 table. */
static int coroutine_fn co_find_slice(BlockDriverState *bs, int64_t offset, uint64_t *host_offset,
                                      uint32_t *index)
{
    Qcow2State *s = bs->opaque;
    uint64_t l1_index = qcow2_l1_index(s, offset);
    uint64_t l2_offset = l1_index < s->l1.size ? s->l1.entries[l1_index] & QCOW2_OFFSET_MASK : 0;

    *host_offset = l2_offset ? qcow2_slice_offset(s, l2_offset, offset) : 0;
    *index = qcow2_l2_index(s, offset) % s->slice_entries;
    return co_check_l2_offset(bs, l2_offset, l1_index);
}

int coroutine_fn qcow2_co_get_slice(BlockDriverState *bs, int64_t offset, Qcow2CacheEntry **slice,
                                    uint32_t *index)
{
    Qcow2State *s = bs->opaque;
    uint64_t host_offset;
    int ret = co_find_slice(bs, offset, &host_offset, index);

    *slice = NULL;
    return ret < 0 || !host_offset ? ret
                                   : qcow2_cache_co_get(bs, s->l2_cache, host_offset, slice);
}

/* A new L2 table with the content of the one at @old (0: empty). */
static int coroutine_fn co_fill_l2(BlockDriverState *bs, uint64_t old, uint64_t new, bool is_fresh)
{
    Qcow2State *s = bs->opaque;
    Qcow2CacheEntry *entry;
    int ret;

    qcow2_cache_drop(s->l2_cache, new, s->cluster_size);
    if (s->slice_bytes == s->cluster_size) {
        ret = qcow2_cache_get_zeroed(bs, s->l2_cache, new, &entry);
        if (ret < 0) {
            return ret;
        }
        if (old) {
            ret = bdrv_co_pread(bs->file, old, s->cluster_size, entry->data, 0);
        }
        qcow2_cache_put(entry);
        return ret; /* after an error the caller drops the entry */
    }
    /* Several slices: the file gets the whole table at once; nothing refers to it yet. */
    BLKDBG_CO_EVENT(bs->file, L2_ALLOC_WRITE);
    if (old) {
        QEMU_AUTO_VFREE uint8_t *buf = bdrv_try_blockalign(bs->file->bs, s->cluster_size);

        ret = buf ? bdrv_co_pread(bs->file, old, s->cluster_size, buf, 0) : -ENOMEM;
        return ret < 0 ? ret : bdrv_co_pwrite(bs->file, new, s->cluster_size, buf, 0);
    }
    return is_fresh ? 0 : bdrv_co_pwrite_zeroes(bs->file, new, s->cluster_size, 0);
}

/*
 * A table that may be changed.  A table that is shared (its L1 entry lacks COPIED) was never
 * changed in memory, so what the file has is what it is.
 */
static int coroutine_fn co_make_l2(BlockDriverState *bs, uint64_t l1_index)
{
    Qcow2State *s = bs->opaque;
    uint64_t old = s->l1.entries[l1_index] & QCOW2_OFFSET_MASK;
    bool is_fresh;
    int64_t new;
    int ret = co_check_l2_offset(bs, old, l1_index);

    if (ret < 0) {
        return ret;
    }
    new = qcow2_co_alloc_clusters(bs, 1, &is_fresh);
    if (new < 0) {
        return new;
    }
    ret = co_fill_l2(bs, old, new, is_fresh);
    if (ret < 0) {
        qcow2_cache_drop(s->l2_cache, new, s->cluster_size);
        qcow2_co_free_unused(bs, new, 1);
        return ret;
    }
    qcow2_overlap_add(s, new);
    s->l1.entries[l1_index] = (uint64_t)new | QCOW2_COPIED;
    qcow2_table_dirty(&s->l1, l1_index);
    if (old) {
        qcow2_overlap_remove(s, old);
        qcow2_free_clusters(bs, old, s->cluster_size, QCOW2_DISCARD_OTHER);
    }
    return 0;
}

int coroutine_fn qcow2_co_get_slice_for_write(BlockDriverState *bs, int64_t offset,
                                              Qcow2CacheEntry **slice, uint32_t *index)
{
    Qcow2State *s = bs->opaque;
    uint64_t l1_index = qcow2_l1_index(s, offset);
    int ret;

    *slice = NULL;
    if (l1_index >= s->l1.size) {
        return -EFBIG;
    }
    if (!(s->l1.entries[l1_index] & QCOW2_COPIED) ||
        !(s->l1.entries[l1_index] & QCOW2_OFFSET_MASK)) {
        ret = co_make_l2(bs, l1_index);
        if (ret < 0) {
            return ret;
        }
    }
    ret = qcow2_co_get_slice(bs, offset, slice, index);
    return ret < 0 || *slice ? ret : -EIO;
}

/* ---- mapping ------------------------------------------------------------------------------- */

static bool has_host_place(Qcow2Kind kind)
{
    return kind == QCOW2_DATA || kind == QCOW2_ZERO_ALLOC || kind == QCOW2_UNALLOCATED_RESERVED;
}

/* The unit at @offset (cluster, or subcluster of an extended entry): its kind and place. */
static void map_unit(const Qcow2State *s, const Qcow2CacheEntry *slice, uint32_t index,
                     int64_t offset, Qcow2Mapping *map)
{
    uint64_t entry = qcow2_slice_get(s, slice, index);

    if (s->is_extended_l2) {
        uint32_t unit = s->cluster_size / QCOW2_SUBCLUSTERS;

        map->kind = qcow2_subcluster_kind(s, entry, qcow2_slice_get_bitmap(s, slice, index),
                                          qcow2_offset_in_cluster(s, offset) / unit);
        map->bytes = unit - (offset & (unit - 1));
    } else {
        map->kind = qcow2_entry_kind(s, entry);
        map->bytes = s->cluster_size - qcow2_offset_in_cluster(s, offset);
    }
    if (map->kind == QCOW2_DEFLATED) {
        map->bytes = s->cluster_size - qcow2_offset_in_cluster(s, offset);
        qcow2_parse_compressed(s, entry, &map->host_offset, &map->packed_len);
    } else {
        map->host_offset = (entry & QCOW2_OFFSET_MASK) + qcow2_offset_in_cluster(s, offset);
    }
}

/* Does @next, right behind @map in the guest's view, continue it? */
static bool continues(const Qcow2Mapping *map, const Qcow2Mapping *next)
{
    return map->kind == next->kind && map->kind != QCOW2_DEFLATED &&
           (!has_host_place(map->kind) || map->host_offset + map->bytes == next->host_offset);
}

static bool is_misplaced(const Qcow2State *s, int64_t offset, const Qcow2Mapping *map)
{
    return has_host_place(map->kind) && !qcow2_is_in_place(s, offset, map->host_offset);
}

/* Compressed clusters have no place in a data file. */
static bool is_packed_apart(const Qcow2State *s, const Qcow2Mapping *map)
{
    return map->kind == QCOW2_DEFLATED && s->has_data_file;
}

static bool is_damaged(const Qcow2State *s, int64_t offset, const Qcow2Mapping *map)
{
    return map->kind == QCOW2_INVALID || is_packed_apart(s, map) || is_misplaced(s, offset, map);
}

static int coroutine_fn co_check_mapping(BlockDriverState *bs, int64_t offset,
                                         const Qcow2Mapping *map)
{
    Qcow2State *s = bs->opaque;

    if (map->kind == QCOW2_INVALID) {
        qcow2_co_mark_corrupt(bs, offset, s->cluster_size, "%s entry found for guest offset %#"
                              PRIx64, s->is_extended_l2 ? "Invalid cluster"
                                                        : "Zero cluster in a version 2 image: zero",
                              (uint64_t)offset);
        return -EIO;
    }
    if (is_packed_apart(s, map)) {
        qcow2_co_mark_corrupt(bs, offset, s->cluster_size, "Compressed cluster entry found in "
                              "image with external data file (guest offset: %#" PRIx64 ")",
                              (uint64_t)offset);
        return -EIO;
    }
    if (is_misplaced(s, offset, map) && s->has_data_file) {
        qcow2_co_mark_corrupt(bs, map->host_offset, s->cluster_size, "External data file host "
                              "cluster offset %#" PRIx64 " does not match guest cluster offset: %#"
                              PRIx64, map->host_offset - qcow2_offset_in_cluster(s, offset),
                              qcow2_cluster_start(s, offset));
        return -EIO;
    }
    if (is_misplaced(s, offset, map)) {
        qcow2_co_mark_corrupt(bs, map->host_offset, s->cluster_size, "Cluster allocation offset %#"
                              PRIx64 " unaligned (guest offset: %#" PRIx64 ")",
                              map->host_offset - qcow2_offset_in_cluster(s, offset),
                              (uint64_t)offset);
        return -EIO;
    }
    return 0;
}

/* Entries from @index on, for @bytes, that were never used. */
static uint32_t count_empty(const Qcow2State *s, const Qcow2CacheEntry *slice, uint32_t index,
                            int64_t bytes)
{
    return buffer_count_zero_words(slice->data + (size_t)index * 8,
                                   MIN(s->slice_entries - index,
                                       DIV_ROUND_UP(MAX(bytes, 0), s->cluster_size)));
}

void qcow2_map_run(const Qcow2State *s, const Qcow2CacheEntry *slice, uint32_t index,
                   int64_t offset, int64_t bytes, Qcow2Mapping *map)
{
    map_unit(s, slice, index, offset, map);
    if (map->kind == QCOW2_UNALLOCATED && !s->is_extended_l2) {
        uint32_t n = count_empty(s, slice, index + 1, bytes - map->bytes);

        index += n;
        map->bytes += (int64_t)n << s->cluster_bits;
    }
    while (map->bytes < bytes) {
        Qcow2Mapping next;
        int64_t at = offset + map->bytes;

        index += !qcow2_offset_in_cluster(s, at);
        if (index == s->slice_entries) {
            break;
        }
        map_unit(s, slice, index, at, &next);
        if (!continues(map, &next)) {
            break;
        }
        map->bytes += next.bytes;
    }
    map->bytes = MIN(map->bytes, bytes);
}

/* @slice: NULL if there is no table; taken. */
static int coroutine_fn co_map_in_slice(BlockDriverState *bs, Qcow2CacheEntry *slice,
                                        uint32_t index, int64_t offset, int64_t bytes,
                                        Qcow2Mapping *map)
{
    Qcow2State *s = bs->opaque;
    uint64_t reach;

    *map = (Qcow2Mapping){ .kind = QCOW2_UNALLOCATED };
    if (!slice) {
        /* Nothing up to the end of what the L2 table would describe. */
        reach = (uint64_t)s->l2_size << s->cluster_bits;
        map->bytes = MIN((uint64_t)bytes, reach - ((uint64_t)offset & (reach - 1)));
        return 0;
    }
    qcow2_map_run(s, slice, index, offset, bytes, map);
    qcow2_cache_put(slice);
    return co_check_mapping(bs, offset, map);
}

int coroutine_fn qcow2_co_map(BlockDriverState *bs, int64_t offset, int64_t bytes,
                              Qcow2Mapping *map)
{
    Qcow2CacheEntry *slice;
    uint32_t index;
    int ret = qcow2_co_get_slice(bs, offset, &slice, &index);

    return ret < 0 ? ret : co_map_in_slice(bs, slice, index, offset, bytes, map);
}

int coroutine_fn qcow2_co_map_by_table(BlockDriverState *bs, uint64_t l2_offset, int64_t offset,
                                       int64_t bytes, Qcow2Mapping *map)
{
    Qcow2State *s = bs->opaque;
    Qcow2CacheEntry *slice = NULL;
    uint32_t index = qcow2_l2_index(s, offset) % s->slice_entries;
    int ret = co_check_l2_offset(bs, l2_offset, qcow2_l1_index(s, offset));

    if (ret >= 0 && l2_offset) {
        ret = qcow2_cache_co_get(bs, s->l2_cache, qcow2_slice_offset(s, l2_offset, offset), &slice);
    }
    return ret < 0 ? ret : co_map_in_slice(bs, slice, index, offset, bytes, map);
}

/* ---- status -------------------------------------------------------------------------------- */

bool qcow2_backing_is_zero(BlockDriverState *bs, int64_t offset)
{
    /* A longer backing file does not show in the state of a machine either. */
    return !bs->backing || offset >= qatomic_read(&bs->backing->bs->total_bytes) ||
           (uint64_t)offset >= qcow2_vm_state_offset(bs->opaque);
}

static int mapping_status(const Qcow2State *s, const Qcow2Mapping *map)
{
    /* What is in the file is not what the guest sees if that is encrypted. */
    int place = s->header.crypt_method ? 0 : BDRV_BLOCK_OFFSET_VALID;

    switch (map->kind) {
    case QCOW2_DATA:
        /* What a data file of others' making says of its holes is nobody's concern. */
        return BDRV_BLOCK_DATA | place | (s->has_data_file || !place ? 0 : BDRV_BLOCK_RECURSE);
    case QCOW2_ZERO_ALLOC:
        return BDRV_BLOCK_ZERO | place;
    case QCOW2_ZERO_PLAIN:
        return BDRV_BLOCK_ZERO;
    case QCOW2_UNALLOCATED_RESERVED:
        return place;
    case QCOW2_DEFLATED:
        return BDRV_BLOCK_DATA | BDRV_BLOCK_COMPRESSED;
    default:
        return 0;
    }
}

/*
 * Who wants so many extents at a time goes through all tables once, and does not come back for what
 * they describe: they are not kept.
 */
#define MIN_SCAN_EXTENTS 4096

/* A list of extents that is being filled. */
typedef struct ExtentList {
    BdrvExtent *next, *limit;
    bool has_any;
    int data_flags;         /* of plain clusters of data */
    BlockDriverState *data; /* where they are */
    int64_t end;            /* of the last one */
} ExtentList;

typedef struct Extents {
    ExtentList to;
    Qcow2CacheEntry scanned; /* a table that is not kept; data NULL: all are */
} Extents;

/* As qcow2_co_get_slice(), but into @scanned if that has memory; put back by put_slice(). */
static int coroutine_fn co_get_slice_to_look(BlockDriverState *bs, int64_t offset,
                                             Qcow2CacheEntry *scanned, Qcow2CacheEntry **slice,
                                             uint32_t *index)
{
    Qcow2State *s = bs->opaque;
    uint64_t host_offset;
    int ret;

    if (!scanned->data) {
        return qcow2_co_get_slice(bs, offset, slice, index);
    }
    ret = co_find_slice(bs, offset, &host_offset, index);
    *slice = ret >= 0 && host_offset ? qcow2_cache_peek(s->l2_cache, host_offset) : NULL;
    if (ret < 0 || !host_offset || *slice) {
        return ret;
    }
    *slice = scanned;
    if (scanned->offset == host_offset) {
        return 0;
    }
    BLKDBG_CO_EVENT(bs->file, L2_LOAD);
    ret = bdrv_co_pread(bs->file, host_offset, s->slice_bytes, scanned->data, 0);
    scanned->offset = ret < 0 ? 0 : host_offset;
    return ret;
}

static void put_slice(const Qcow2CacheEntry *scanned, Qcow2CacheEntry *slice)
{
    if (slice != scanned) {
        qcow2_cache_put(slice);
    }
}

/* Behind the last one, or as more of it.  False: there is no room. */
static inline bool put_extent(ExtentList *to, int flags, int64_t bytes, uint64_t host_offset)
{
    bool has_place = flags & BDRV_BLOCK_OFFSET_VALID;
    BdrvExtent *last = to->next - 1;

    if (to->has_any && last->flags == flags &&
        (!has_place || (uint64_t)last->map + last->bytes == host_offset)) {
        last->bytes += bytes;
    } else if (to->next < to->limit) {
        *to->next++ = (BdrvExtent){ bytes, has_place ? host_offset : 0,
                                    has_place ? to->data : NULL, flags, 0 };
        to->has_any = true;
    } else {
        return false;
    }
    to->end += bytes;
    return true;
}

/* Which of the first entries (at most 64) were ever used: a bit for each. */
static uint64_t used_entries(const uint8_t *entries, uint32_t n)
{
    uint64_t used = 0;

    if (n >= 64) {
        return buffer_used_words(entries);
    }
    for (uint32_t i = 0; i < n; i++) {
        used |= (uint64_t)(ldq_be_p(entries + i * 8) != 0) << i;
    }
    return used;
}

static inline bool put_clusters(const Qcow2State *s, ExtentList *to, int flags, uint32_t n,
                                uint64_t host)
{
    return put_extent(to, flags, (int64_t)n << s->cluster_bits, host);
}

/*
 * What most tables are full of: entries of whole clusters that hold plain data, or were never used.
 * Stops at any other, and where there is no room.  Returns how many.
 */
static uint32_t add_plain(const Qcow2State *s, ExtentList *to, const uint8_t *entries, uint32_t n)
{
    const uint64_t place = QCOW2_OFFSET_MASK & ~(uint64_t)(s->cluster_size - 1);
    ExtentList list = *to; /* which the compiler keeps in registers */
    uint32_t done = 0;
    bool goes_on = true;

    for (uint32_t at = 0; at < n && goes_on; at += 64) {
        uint64_t used = used_entries(entries + (size_t)at * 8, n - at);

        for (; used; used &= used - 1) {
            uint32_t next = at + ctz64(used);
            uint64_t entry = ldq_be_p(entries + (size_t)next * 8), host = entry & place;

            /* Those before it were never used. */
            goes_on = done == next || put_clusters(s, &list, 0, next - done, 0);
            done = goes_on ? next : done;
            if (!goes_on || !host || (entry & ~(place | QCOW2_COPIED)) ||
                !put_clusters(s, &list, list.data_flags, 1, host)) {
                goes_on = false;
                break;
            }
            done++;
        }
    }
    if (goes_on && done < n && put_clusters(s, &list, 0, n - done, 0)) {
        done = n;
    }
    *to = list;
    return done;
}

/* The unit at @offset, or all that were never used from there on, up to @end. */
static void map_some(const Qcow2State *s, const Qcow2CacheEntry *slice, uint32_t index,
                     int64_t offset, int64_t end, Qcow2Mapping *map)
{
    map_unit(s, slice, index, offset, map);
    if (map->kind == QCOW2_UNALLOCATED && !s->is_extended_l2) {
        uint32_t n = count_empty(s, slice, index + 1, end - offset - map->bytes);

        map->bytes += (int64_t)n << s->cluster_bits;
    }
    map->bytes = MIN(map->bytes, end - offset);
}

/* What the slice of out->to.end says, up to @end.  0: the list is full, 1: go on. */
static int coroutine_fn co_add_slice(BlockDriverState *bs, Extents *out, int64_t end)
{
    Qcow2State *s = bs->opaque;
    ExtentList *to = &out->to;
    Qcow2Mapping map = { .kind = QCOW2_UNALLOCATED };
    Qcow2CacheEntry *slice;
    uint32_t index;
    int64_t reach = (int64_t)s->l2_size << s->cluster_bits;
    int64_t first = qcow2_cluster_start(s, to->end);
    int ret = co_get_slice_to_look(bs, to->end, &out->scanned, &slice, &index);

    if (ret < 0) {
        return ret;
    }
    if (!slice) {
        /* Nothing up to the end of what the L2 table would describe. */
        map.bytes = MIN(end - to->end, reach - (to->end & (reach - 1)));
        return put_extent(to, 0, map.bytes, 0);
    }
    end = MIN(end, first + ((int64_t)(s->slice_entries - index) << s->cluster_bits));
    ret = 1;
    while (ret > 0 && to->end < end) {
        uint32_t at = index + ((to->end - first) >> s->cluster_bits);

        if (!s->is_extended_l2 && !s->has_data_file && !qcow2_offset_in_cluster(s, to->end) &&
            end - to->end >= s->cluster_size) {
            at += add_plain(s, to, slice->data + (size_t)at * 8,
                            (end - to->end) >> s->cluster_bits);
        }
        if (to->end == end) {
            break;
        }
        map_some(s, slice, at, to->end, end, &map);
        if (is_damaged(s, to->end, &map)) {
            break;
        }
        ret = put_extent(to, mapping_status(s, &map), map.bytes, map.host_offset);
    }
    put_slice(&out->scanned, slice);
    return ret > 0 && to->end < end ? co_check_mapping(bs, to->end, &map) : ret;
}

int coroutine_fn qcow2_co_block_extents(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        BdrvExtent *extents, int max)
{
    Qcow2State *s = bs->opaque;
    Qcow2Mapping data = { .kind = QCOW2_DATA };
    Extents out = { .to = { .next = extents, .limit = extents + max, .end = offset,
                            .data = qcow2_data(bs)->bs,
                            .data_flags = mapping_status(s, &data) } };
    QEMU_AUTO_VFREE uint8_t *table = NULL;
    int ret = 1;

    if (max >= MIN_SCAN_EXTENTS) {
        /* Without memory for it they are kept. */
        out.scanned.data = table = bdrv_try_blockalign(bs->file->bs, s->slice_bytes);
    }
    CO_LOCK_GUARD(&s->lock);
    while (ret > 0 && out.to.end < offset + bytes) {
        const BdrvExtent *before = out.to.next;

        ret = co_add_slice(bs, &out, offset + bytes);
        if (table && out.to.limit - out.to.next < out.to.next - before) {
            break; /* the next table is likely to be too much, and would be read again */
        }
    }
    return out.to.has_any ? out.to.next - extents : ret;
}

/* ---- counting ------------------------------------------------------------------------------- */

/* 64 entries, of the disk from @offset on, if all are whole clusters of plain data; else false. */
static bool count_full(const Qcow2State *s, const uint8_t *entries, int64_t offset,
                       Qcow2DataCount *count)
{
    const uint64_t place = QCOW2_OFFSET_MASK & ~(uint64_t)(s->cluster_size - 1);
    uint64_t any = 0, lowest = UINT64_MAX, highest = 0;

    for (int i = 0; i < 64; i++) {
        uint64_t entry = ldq_be_p(entries + i * 8), host = entry & place;

        any |= entry;
        lowest = MIN(lowest, host);
        highest = MAX(highest, host);
    }
    if ((any & ~(place | QCOW2_COPIED)) || !lowest) {
        return false;
    }
    count->allocated += INT64_C(64) << s->cluster_bits;
    count->lowest = MIN(count->lowest, lowest);
    count->highest = MAX(count->highest, highest);
    qcow2_count_range(count, offset, offset + (INT64_C(64) << s->cluster_bits));
    return true;
}

/*
 * @n entries, of the disk from @offset on.  False, and nothing is counted: some are neither whole
 * clusters of plain data or zeroes, nor unused.
 */
static bool count_entries(const Qcow2State *s, const uint8_t *entries, uint32_t n, int64_t offset,
                          Qcow2DataCount *count)
{
    const uint64_t place = QCOW2_OFFSET_MASK & ~(uint64_t)(s->cluster_size - 1);
    const uint64_t zero = s->header.version >= 3 ? QCOW2_ZERO : 0;
    Qcow2DataCount c = *count; /* which the compiler keeps in registers */

    for (uint32_t at = 0; at < n; at += 64) {
        uint64_t used = used_entries(entries + (size_t)at * 8, n - at);

        if (used == UINT64_MAX && count_full(s, entries + (size_t)at * 8,
                                             offset + ((int64_t)at << s->cluster_bits), &c)) {
            continue;
        }
        for (; used; used &= used - 1) {
            uint32_t i = at + ctz64(used);
            uint64_t entry = ldq_be_p(entries + (size_t)i * 8), host = entry & place;
            int64_t start = offset + ((int64_t)i << s->cluster_bits);

            if ((entry & ~(place | QCOW2_COPIED | zero)) || !(host | (entry & zero))) {
                return false;
            }
            c.allocated += s->cluster_size;
            if (entry & zero) {
                continue;
            }
            c.lowest = MIN(c.lowest, host);
            c.highest = MAX(c.highest, host);
            qcow2_count_range(&c, start, start + s->cluster_size);
        }
    }
    *count = c;
    return true;
}

int coroutine_fn qcow2_co_count_data(BlockDriverState *bs, int64_t end, Qcow2DataCount *count)
{
    Qcow2State *s = bs->opaque;
    QEMU_AUTO_VFREE uint8_t *table = bdrv_try_blockalign(bs->file->bs, s->slice_bytes);
    Qcow2CacheEntry scanned = { .data = table };
    int64_t reach = (int64_t)s->l2_size << s->cluster_bits;
    int ret = 0;

    CO_LOCK_GUARD(&s->lock);
    while (count->end < end && count->allocated <= count->most) {
        Qcow2CacheEntry *slice;
        int64_t rest = end - count->end;
        uint32_t index;
        bool is_plain = true;

        ret = co_get_slice_to_look(bs, count->end, &scanned, &slice, &index);
        if (ret < 0) {
            break;
        }
        if (slice) {
            rest = MIN(rest, (int64_t)(s->slice_entries - index) << s->cluster_bits);
            is_plain = count_entries(s, slice->data + (size_t)index * 8, rest >> s->cluster_bits,
                                     count->end, count);
            put_slice(&scanned, slice);
        } else {
            rest = MIN(rest, reach - (count->end & (reach - 1)));
        }
        if (!is_plain) {
            break;
        }
        count->end += rest;
    }
    return ret;
}

int coroutine_fn qcow2_co_block_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                                       int64_t bytes, int64_t *pnum, int64_t *map_offset,
                                       BlockDriverState **file)
{
    BdrvExtent extent;
    int ret = qcow2_co_block_extents(bs, offset, bytes, &extent, 1);

    if (ret < 0) {
        return ret;
    }
    *pnum = extent.bytes;
    *map_offset = extent.map;
    *file = extent.file;
    return extent.flags;
}
