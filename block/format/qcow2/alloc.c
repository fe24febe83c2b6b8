/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes that need host clusters.
 *
 * begin  decides for a run of clusters: overwrite in place (the image alone refers to them), or
 *        take new ones.  In the second case the Qcow2Alloc is on a list until it ends, and
 *        whoever wants to change an overlapping cluster waits for it.
 * link   makes the L2 entries refer to the new clusters, after the data was written (R2), and
 *        frees what they referred to (R4).
 * abort  gives the clusters back.
 *
 * A request holds at most one Qcow2Alloc and does not wait while it holds one, so there is no
 * cycle.
 *
 * Linking ahead: most new clusters read as zeroes, before they are taken and after, since the file
 * had never reached them.  Nothing is to be copied around what is written, so they are linked as
 * soon as they are taken: the write, and all others that meet in them, is one in place.  On disk,
 * too, they may be linked before their data is there, but not before the file reaches them
 * (R2, cache.c).  If a write fails, they stay: as zeroes, like before.
 */
#include "qemu/osdep.h"

#include "qcow2.h"
#include "qemu/atomic.h"

/* ---- overlapping writers ------------------------------------------------------------------- */

static int64_t alloc_end(const Qcow2State *s, const Qcow2Alloc *alloc)
{
    return alloc->guest_offset + ((int64_t)alloc->nb_clusters << s->cluster_bits);
}

/* The first, in guest order, that overlaps the clusters of the range; or NULL. */
static Qcow2Alloc *find_overlapping(const Qcow2State *s, int64_t offset, int64_t bytes)
{
    int64_t start = qcow2_cluster_start(s, offset), end = qcow2_cluster_end(s, offset + bytes);
    Qcow2Alloc *alloc, *first = NULL;

    if (end <= s->allocs_start || start >= s->allocs_end) {
        return NULL; /* as of one who writes all of the disk in order */
    }
    QLIST_FOREACH(alloc, &s->allocs, next) {
        if (alloc->guest_offset < end && start < alloc_end(s, alloc) &&
            (!first || alloc->guest_offset < first->guest_offset)) {
            first = alloc;
        }
    }
    return first;
}

bool qcow2_alloc_overlaps(const Qcow2State *s, int64_t offset, int64_t bytes)
{
    return find_overlapping(s, offset, bytes);
}

/* Most end before anybody waits for them: the first who does makes the queue. */
static void coroutine_fn co_wait_for(Qcow2State *s, Qcow2Alloc *alloc)
{
    if (!alloc->waiters) {
        alloc->waiters = g_new(CoQueue, 1);
        qemu_co_queue_init(alloc->waiters);
    }
    qemu_co_queue_wait(alloc->waiters, &s->lock);
}

bool coroutine_fn qcow2_alloc_co_wait(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    Qcow2State *s = bs->opaque;
    Qcow2Alloc *alloc = find_overlapping(s, offset, bytes);

    if (alloc) {
        co_wait_for(s, alloc);
    }
    return alloc;
}

/* Wait for whoever has the first cluster; leave out what others have further on. */
static int64_t coroutine_fn co_avoid_others(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    Qcow2State *s = bs->opaque;
    Qcow2Alloc *alloc;

    while ((alloc = find_overlapping(s, offset, bytes))) {
        if (alloc->guest_offset > offset) {
            return alloc->guest_offset - offset;
        }
        co_wait_for(s, alloc);
    }
    return bytes;
}

static void alloc_enlist(Qcow2State *s, Qcow2Alloc *alloc)
{
    bool is_alone = QLIST_EMPTY(&s->allocs);
    int64_t start = alloc->guest_offset, end = alloc_end(s, alloc);

    s->allocs_start = is_alone ? start : MIN(s->allocs_start, start);
    s->allocs_end = is_alone ? end : MAX(s->allocs_end, end);
    QLIST_INSERT_HEAD(&s->allocs, alloc, next);
}

static void alloc_delist(Qcow2Alloc *alloc)
{
    QLIST_REMOVE(alloc, next);
    if (alloc->waiters) {
        qemu_co_queue_restart_all(alloc->waiters);
        g_clear_pointer(&alloc->waiters, g_free);
    }
}

void coroutine_fn qcow2_alloc_co_reserve(BlockDriverState *bs, int64_t offset,
                                         uint32_t nb_clusters, Qcow2Alloc *alloc)
{
    Qcow2State *s = bs->opaque;

    while (qcow2_alloc_co_wait(bs, offset, (int64_t)nb_clusters << s->cluster_bits)) {
        /* Look again. */
    }
    *alloc = (Qcow2Alloc){ .guest_offset = offset, .nb_clusters = nb_clusters };
    alloc_enlist(s, alloc);
}

void qcow2_alloc_release(Qcow2Alloc *alloc)
{
    alloc_delist(alloc);
}

/* ---- begin --------------------------------------------------------------------------------- */

/* How a cluster can be written to. */
typedef enum WriteWay {
    WRITE_IN_PLACE,     /* data that is ours alone */
    WRITE_RESERVED,     /* zeroes with a host cluster of ours */
    WRITE_NEW,
} WriteWay;

/* @touched: the subclusters to be written, of those of an extended entry. */
static WriteWay write_way(const Qcow2State *s, Qcow2L2Entry old, uint64_t touched)
{
    Qcow2Kind kind = qcow2_entry_kind(s, old.entry);

    if (!(old.entry & QCOW2_COPIED) || (kind != QCOW2_DATA && kind != QCOW2_ZERO_ALLOC)) {
        return WRITE_NEW;
    }
    if (s->is_extended_l2) {
        return (old.bitmap & touched) == touched ? WRITE_IN_PLACE : WRITE_RESERVED;
    }
    return kind == QCOW2_DATA ? WRITE_IN_PLACE : WRITE_RESERVED;
}

/* Number of clusters, from @index on, of [@offset, @end) to be written in the same way *@way. */
static uint32_t count_alike(const Qcow2State *s, const Qcow2CacheEntry *slice, uint32_t index,
                            int64_t offset, int64_t end, WriteWay *way)
{
    int64_t cluster = qcow2_cluster_start(s, offset);
    uint64_t first = qcow2_slice_get(s, slice, index);
    uint32_t max = MIN(qcow2_nb_clusters(s, end - cluster), s->slice_entries - index), n;

    *way = write_way(s, qcow2_slice_get_entry(s, slice, index),
                     qcow2_sub_mask(s, cluster, offset, end));
    for (n = 1; n < max; n++) {
        Qcow2L2Entry old = qcow2_slice_get_entry(s, slice, index + n);
        int64_t at = cluster + ((int64_t)n << s->cluster_bits);
        WriteWay here = write_way(s, old, qcow2_sub_mask(s, at, offset, end));
        uint64_t expected = (first & QCOW2_OFFSET_MASK) + ((uint64_t)n << s->cluster_bits);

        if (here != *way ||
            (here != WRITE_NEW && (old.entry & QCOW2_OFFSET_MASK) != expected)) {
            break;
        }
    }
    return n;
}

/* ---- begin: what has to be copied ---------------------------------------------------------- */

static bool kind_is_zero(BlockDriverState *bs, Qcow2Kind kind, int64_t offset)
{
    switch (kind) {
    case QCOW2_ZERO_PLAIN:
    case QCOW2_ZERO_ALLOC:
        return true;
    case QCOW2_UNALLOCATED:
    case QCOW2_UNALLOCATED_RESERVED:
        return qcow2_backing_is_zero(bs, offset);
    default:
        return false;
    }
}

/* Does [@start, @end), within the cluster that @old describes, read as zeroes? */
static bool range_is_zero(BlockDriverState *bs, Qcow2L2Entry old, int64_t start, int64_t end)
{
    Qcow2State *s = bs->opaque;
    uint64_t touched;

    if (start == end) {
        return true;
    }
    if (!s->is_extended_l2) {
        return kind_is_zero(bs, qcow2_entry_kind(s, old.entry), start);
    }
    touched = qcow2_sub_mask(s, qcow2_cluster_start(s, start), start, end);
    for (unsigned i = 0; i < QCOW2_SUBCLUSTERS; i++) {
        if ((touched & (UINT64_C(1) << i)) &&
            !kind_is_zero(bs, qcow2_subcluster_kind(s, old.entry, old.bitmap, i), start)) {
            return false;
        }
    }
    return true;
}

/* Where copying begins: with the first byte that is to be in a subcluster marked as data. */
static int64_t cow_start(const Qcow2State *s, const Qcow2Alloc *alloc, Qcow2L2Entry old)
{
    int64_t cluster = alloc->guest_offset;
    unsigned sub = (alloc->data_start - cluster) >> s->subcluster_bits;
    uint64_t before = old.bitmap & QCOW2_SUB_DATA & ((UINT64_C(1) << sub) - 1);

    if (!s->is_extended_l2 || (!alloc->in_place && (old.entry & QCOW2_COMPRESSED))) {
        return cluster;
    }
    if (alloc->in_place && (old.bitmap & (UINT64_C(1) << sub))) {
        return alloc->data_start;
    }
    if (!alloc->in_place && before) {
        sub = ctz64(before); /* the old cluster's data moves, too */
    }
    return cluster + ((int64_t)sub << s->subcluster_bits);
}

static int64_t cow_end(const Qcow2State *s, const Qcow2Alloc *alloc, Qcow2L2Entry old)
{
    int64_t cluster = qcow2_cluster_start(s, alloc->data_end - 1);
    unsigned sub = (alloc->data_end - 1 - cluster) >> s->subcluster_bits;
    uint64_t behind = (old.bitmap & QCOW2_SUB_DATA) >> sub >> 1;

    if (!s->is_extended_l2 || (!alloc->in_place && (old.entry & QCOW2_COMPRESSED))) {
        return cluster + s->cluster_size;
    }
    if (alloc->in_place && (old.bitmap & (UINT64_C(1) << sub))) {
        return alloc->data_end;
    }
    if (!alloc->in_place && behind) {
        sub += 64 - clz64(behind);
    }
    return cluster + ((int64_t)(sub + 1) << s->subcluster_bits);
}

static void plan_cow(BlockDriverState *bs, Qcow2Alloc *alloc, Qcow2L2Entry first, Qcow2L2Entry last)
{
    Qcow2State *s = bs->opaque;

    alloc->cow_start = cow_start(s, alloc, first);
    alloc->cow_end = cow_end(s, alloc, last);
    if (s->has_data_file) {
        /* The data file does not become longer than the disk. */
        alloc->cow_end = MAX(MIN(alloc->cow_end, qatomic_read(&bs->total_bytes)), alloc->data_end);
    }
    alloc->head_is_zero = range_is_zero(bs, first, alloc->cow_start, alloc->data_start);
    alloc->tail_is_zero = range_is_zero(bs, last, alloc->data_end, alloc->cow_end);
}

/*
 * Clusters are mapped as a whole, and one could be described as empty once more, if it came to that
 * (cache.c).
 */
static bool can_link_ahead(BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;

    return !s->is_extended_l2 && (s->header.version >= 3 || !bs->backing);
}

/* Do @n clusters from @offset on, which have no places, read as zeroes? */
static bool are_empty(BlockDriverState *bs, const Qcow2CacheEntry *slice, uint32_t index,
                      uint32_t n, int64_t offset)
{
    Qcow2State *s = bs->opaque;
    bool is_all_zero = qcow2_backing_is_zero(bs, offset); /* and what follows */

    for (uint32_t i = 0; i < n; i++) {
        uint64_t entry = qcow2_slice_get(s, slice, index + i);

        if (entry ? entry != QCOW2_ZERO || s->header.version < 3 : !is_all_zero) {
            return false;
        }
    }
    return true;
}

/* ---- begin: all ---------------------------------------------------------------------------- */

/* What the entries refer to must be well formed before anything is built on it. */
static int coroutine_fn co_check_entries(BlockDriverState *bs, const Qcow2CacheEntry *slice,
                                         uint32_t index, uint32_t n, int64_t offset)
{
    Qcow2State *s = bs->opaque;

    for (uint32_t i = 0; i < n; i++) {
        uint64_t entry = qcow2_slice_get(s, slice, index + i);
        Qcow2Kind kind = qcow2_entry_kind(s, entry);
        uint64_t host = entry & QCOW2_OFFSET_MASK;
        bool has_host = kind == QCOW2_DATA || kind == QCOW2_ZERO_ALLOC;
        uint64_t bitmap = qcow2_slice_get_bitmap(s, slice, index + i);

        /* Data in no cluster, or data and zeroes at once. */
        if (!(entry & QCOW2_COMPRESSED) && (bitmap & (has_host ? bitmap >> 32 : QCOW2_SUB_DATA))) {
            kind = QCOW2_INVALID;
        }
        if (kind == QCOW2_INVALID || (has_host && qcow2_offset_in_cluster(s, host))) {
            qcow2_co_mark_corrupt(bs, host, s->cluster_size, "Cluster allocation offset %#" PRIx64
                                  " unaligned (guest offset: %#" PRIx64 ")", host,
                                  (uint64_t)offset + ((uint64_t)i << s->cluster_bits));
            return -EIO;
        }
        if (has_host && !qcow2_is_in_place(s, offset + ((int64_t)i << s->cluster_bits), host)) {
            qcow2_co_mark_corrupt(bs, host, s->cluster_size, "External data file host cluster "
                                  "offset %#" PRIx64 " does not match guest cluster offset: %#"
                                  PRIx64, host,
                                  (uint64_t)offset + ((uint64_t)i << s->cluster_bits));
            return -EIO;
        }
    }
    return 0;
}

/* The end of @n clusters from @offset on. */
static int64_t run_end(const Qcow2State *s, int64_t offset, uint64_t n)
{
    return offset + ((int64_t)n << s->cluster_bits);
}

static int coroutine_fn co_begin_in_slice(BlockDriverState *bs, int64_t offset, int64_t *bytes,
                                          uint64_t *host_offset, Qcow2Alloc *alloc,
                                          const Qcow2CacheEntry *slice, uint32_t index)
{
    Qcow2State *s = bs->opaque;
    uint32_t in_cluster = qcow2_offset_in_cluster(s, offset);
    Qcow2L2Entry first = qcow2_slice_get_entry(s, slice, index);
    WriteWay way;
    uint64_t n = count_alike(s, slice, index, offset, offset + *bytes, &way);
    int ret = co_check_entries(bs, slice, index, n, qcow2_cluster_start(s, offset));
    int64_t new;

    if (ret < 0) {
        return ret;
    }
    *alloc = (Qcow2Alloc){
        .guest_offset = qcow2_cluster_start(s, offset),
        .host_offset = first.entry & QCOW2_OFFSET_MASK,
        .in_place = way != WRITE_NEW,
    };
    if (way == WRITE_NEW && s->has_data_file) {
        if (run_end(s, alloc->guest_offset, n) > QCOW2_MAX_HOST_OFFSET) {
            return -EFBIG;
        }
        alloc->host_offset = alloc->guest_offset;
        alloc->is_fresh = alloc->guest_offset >= s->data_fresh_from &&
                          qcow2_grows_by_zeroes(s->data_file->bs);
        s->data_fresh_from = MAX(s->data_fresh_from, run_end(s, alloc->guest_offset, n));
    } else if (way == WRITE_NEW) {
        new = qcow2_co_alloc_run(bs, &n, &alloc->is_fresh);
        if (new < 0) {
            return new;
        }
        alloc->host_offset = new;
        qcow2_co_make_room(bs, run_end(s, new, n));
        alloc->is_checked = true;
    }
    alloc->is_fresh &= !s->header.crypt_method; /* zeroes on the host are not zeroes */
    *bytes = MIN(*bytes, ((int64_t)n << s->cluster_bits) - in_cluster);
    alloc->nb_clusters = n;
    alloc->data_start = offset;
    alloc->data_end = offset + *bytes;
    *host_offset = alloc->host_offset + in_cluster;
    if (way == WRITE_IN_PLACE) {
        return 1;
    }
    plan_cow(bs, alloc, first, qcow2_slice_get_entry(s, slice, index + n - 1));
    alloc->can_be_ahead = alloc->is_fresh && can_link_ahead(bs) &&
                          are_empty(bs, slice, index, n, alloc->guest_offset);
    return 0;
}

int coroutine_fn qcow2_alloc_co_begin(BlockDriverState *bs, int64_t offset, int64_t *bytes,
                                      uint64_t *host_offset, Qcow2Alloc **alloc)
{
    Qcow2CacheEntry *slice;
    Qcow2Alloc plan;
    uint32_t index;
    int ret;

    *bytes = co_avoid_others(bs, offset, *bytes);
    ret = qcow2_co_get_slice_for_write(bs, offset, &slice, &index);
    if (ret < 0) {
        return ret;
    }
    ret = co_begin_in_slice(bs, offset, bytes, host_offset, &plan, slice, index);
    qcow2_cache_put(slice);
    if (ret == 0) {
        *alloc = g_new(Qcow2Alloc, 1);
        **alloc = plan;
        alloc_enlist(bs->opaque, *alloc);
    }
    return ret;
}

/* ---- end ----------------------------------------------------------------------------------- */

/* Subclusters: what was written is data; zeroes stay, data moved only if it was copied. */
static uint64_t linked_bitmap(const Qcow2State *s, const Qcow2Alloc *alloc, int64_t cluster,
                              Qcow2L2Entry old)
{
    uint64_t written = qcow2_sub_mask(s, cluster, alloc->cow_start, alloc->cow_end);
    uint64_t kept = alloc->in_place ? old.bitmap : old.bitmap & QCOW2_SUB_ZEROES;

    if (old.entry & QCOW2_COMPRESSED) {
        kept = 0;
    }
    return (kept | written) & ~(written << QCOW2_SUBCLUSTERS);
}

/* Cluster @i of the run, whose entry is number @first + @i of @slice. */
static void link_cluster(BlockDriverState *bs, Qcow2Alloc *alloc, Qcow2CacheEntry *slice,
                         uint32_t first, uint32_t i)
{
    Qcow2State *s = bs->opaque;
    Qcow2L2Entry old = qcow2_slice_get_entry(s, slice, first + i);
    uint64_t in_run = (uint64_t)i << s->cluster_bits;

    qcow2_slice_set(s, slice, first + i, (alloc->host_offset + in_run) | QCOW2_COPIED |
                    (alloc->is_reserve ? QCOW2_ZERO : 0));
    if (s->is_extended_l2) {
        qcow2_slice_set_bitmap(s, slice, first + i,
                               linked_bitmap(s, alloc, alloc->guest_offset + in_run, old));
    }
    if (!alloc->in_place) {
        qcow2_free_l2_entry(bs, old.entry, QCOW2_DISCARD_NEVER);
    }
}

static int coroutine_fn co_link(BlockDriverState *bs, Qcow2Alloc *alloc)
{
    Qcow2CacheEntry *slice;
    uint32_t first;
    int ret = qcow2_co_get_slice_for_write(bs, alloc->guest_offset, &slice, &first);

    if (ret < 0) {
        return ret;
    }
    for (uint32_t i = 0; i < alloc->nb_clusters; i++) {
        link_cluster(bs, alloc, slice, first, i);
    }
    qcow2_cache_put(slice);
    return 0;
}

int coroutine_fn qcow2_alloc_co_end(BlockDriverState *bs, Qcow2Alloc *alloc, int ret)
{
    Qcow2State *s = bs->opaque;

    if (ret >= 0) {
        ret = co_link(bs, alloc);
    }
    if (ret < 0 && !alloc->in_place && !s->has_data_file) {
        /* At worst a leak. */
        qcow2_co_free_unused(bs, alloc->host_offset, alloc->nb_clusters);
    }
    alloc_delist(alloc);
    g_free(alloc);
    return ret;
}

int coroutine_fn qcow2_alloc_co_finish(BlockDriverState *bs, Qcow2Alloc *alloc, int ret)
{
    Qcow2State *s = bs->opaque;

    CO_LOCK_GUARD(&s->lock);
    ret = qcow2_alloc_co_end(bs, alloc, ret);
    return ret < 0 ? ret : qcow2_wants_relief(s);
}

/* ---- linking ahead -------------------------------------------------------------------------- */

int coroutine_fn qcow2_alloc_co_link_ahead(BlockDriverState *bs, Qcow2Alloc *alloc)
{
    Qcow2State *s = bs->opaque;

    if (!s->has_data_file) {
        /* A data file may be shorter than what is said of it. */
        s->ahead_end = MAX(s->ahead_end,
                           (uint64_t)run_end(s, alloc->host_offset, alloc->nb_clusters));
    }
    return qcow2_alloc_co_end(bs, alloc, 0);
}

bool qcow2_alloc_ahead(BlockDriverState *bs, Qcow2CacheEntry *slice, int64_t offset, int64_t bytes,
                       uint64_t *host_offset)
{
    Qcow2State *s = bs->opaque;
    uint32_t in_cluster = qcow2_offset_in_cluster(s, offset);
    int64_t start = offset - in_cluster;
    uint32_t index = qcow2_l2_index(s, offset) & (s->slice_entries - 1);
    uint32_t n = qcow2_nb_clusters(s, in_cluster + bytes);
    uint64_t host;

    if (s->has_data_file || !can_link_ahead(bs) || qcow2_wants_relief(s) ||
        n > s->slice_entries - index || !are_empty(bs, slice, index, n, start) ||
        !qcow2_take_fresh(bs, n, &host)) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        qcow2_slice_set(s, slice, index + i, run_end(s, host, i) | QCOW2_COPIED);
    }
    s->ahead_end = MAX(s->ahead_end, (uint64_t)run_end(s, host, n));
    *host_offset = host + in_cluster;
    return true;
}
