/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reference counts of host clusters: reading, changing, finding free clusters, freeing.
 *
 * Counts rise at once, in the cache.  They fall late (R4): who drops a reference puts the
 * clusters on pending_frees; write-back moves them to gone_frees when the reference is gone on
 * disk; they are reaped, their counts lowered, when every request has ended that may have
 * looked at the old mapping. A crash before that leaks the clusters.
 *
 * A missing refcount block is made at the first of the clusters that it counts, which is free,
 * since the whole range is; so a block counts itself, and making one needs no other.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

/* ---- one count ----------------------------------------------------------------------------- */

uint64_t qcow2_refcount_read(const uint8_t *block, uint32_t bits, uint64_t index)
{
    if (bits >= 8) {
        return ldn_be_p(block + index * (bits / 8), bits / 8);
    }
    return (block[index * bits / 8] >> (index * bits % 8)) & ((1U << bits) - 1);
}

void qcow2_refcount_write(uint8_t *block, uint32_t bits, uint64_t index, uint64_t value)
{
    if (bits >= 8) {
        stn_be_p(block + index * (bits / 8), bits / 8, value);
    } else {
        uint8_t *byte = &block[index * bits / 8];
        unsigned shift = index * bits % 8;
        uint8_t mask = (1U << bits) - 1;

        *byte = (*byte & ~(mask << shift)) | (value << shift);
    }
}

/* ---- blocks -------------------------------------------------------------------------------- */

/* The block that counts @cluster, pinned; *@block NULL: there is none, all its counts are 0. */
static int coroutine_fn co_get_block(BlockDriverState *bs, uint64_t cluster,
                                     Qcow2CacheEntry **block)
{
    Qcow2State *s = bs->opaque;
    uint64_t index = cluster >> s->refblock_bits;
    uint64_t offset = index < s->reftable.size ? s->reftable.entries[index] & QCOW2_REFTABLE_MASK
                                               : 0;

    *block = NULL;
    if (!offset) {
        return 0;
    }
    if (qcow2_offset_in_cluster(s, offset) || offset >= QCOW2_MAX_HOST_OFFSET) {
        qcow2_co_mark_corrupt(bs, offset, s->cluster_size, "Refblock offset %#" PRIx64
                              " unaligned (reftable index: %#" PRIx64 ")", offset, index);
        return -EIO;
    }
    return qcow2_cache_co_get(bs, s->refcount_cache, offset, block);
}

static void set_count(Qcow2State *s, Qcow2CacheEntry *block, uint64_t cluster, uint64_t value)
{
    uint64_t index = cluster & (s->refblock_size - 1);
    uint32_t first_byte = index * s->refcount_bits / 8;

    qcow2_refcount_write(block->data, s->refcount_bits, index, value);
    qcow2_cache_dirty(block, first_byte, MAX(s->refcount_bits / 8, 1));
}

static uint64_t get_count(const Qcow2State *s, const Qcow2CacheEntry *block, uint64_t cluster)
{
    return block ? qcow2_refcount_read(block->data, s->refcount_bits,
                                       cluster & (s->refblock_size - 1)) : 0;
}

int coroutine_fn qcow2_refcount_co_get(BlockDriverState *bs, uint64_t cluster, uint64_t *refcount)
{
    Qcow2CacheEntry *block;
    int ret = co_get_block(bs, cluster, &block);

    if (ret >= 0) {
        *refcount = get_count(bs->opaque, block, cluster);
        qcow2_cache_put(block);
    }
    return ret;
}

static void raise_fresh(Qcow2State *s, uint64_t end)
{
    s->fresh_from = MAX(s->fresh_from, end);
}

/* Make the empty block number @index at @cluster. */
static int coroutine_fn co_add_block(BlockDriverState *bs, uint64_t index, uint64_t cluster)
{
    Qcow2State *s = bs->opaque;
    uint64_t offset = cluster << s->cluster_bits;
    Qcow2CacheEntry *block;
    int ret = qcow2_overlap_co_check(bs, offset, s->cluster_size);

    if (ret < 0) {
        return ret;
    }
    BLKDBG_CO_EVENT(bs->file, REFBLOCK_ALLOC);
    ret = qcow2_cache_get_zeroed(bs, s->refcount_cache, offset, &block);
    if (ret < 0) {
        return ret;
    }
    qcow2_cache_put(block);
    s->reftable.entries[index] = offset;
    qcow2_table_dirty(&s->reftable, index);
    qcow2_overlap_add(s, offset);
    raise_fresh(s, cluster + 1);
    return 0;
}

/* ---- changing counts ----------------------------------------------------------------------- */

/* No more streams behind those in one of the clusters: it may be discarded or given away. */
static void forget_packed_end(Qcow2State *s, uint64_t first, uint64_t n)
{
    if ((s->packed_end >> s->cluster_bits) - first < n) {
        s->packed_end = 0;
    }
}

/* Add @change (1 or -1) to the counts of @n clusters.  All or none. */
static int coroutine_fn co_change(BlockDriverState *bs, uint64_t first, uint64_t n, int change)
{
    Qcow2State *s = bs->opaque;
    Qcow2CacheEntry *block = NULL;
    int ret = 0;
    uint64_t i;

    if (qcow2_is_lost(s)) {
        return -EIO; /* what is free by these counts may be in use */
    }
    for (i = 0; i < n; i++) {
        uint64_t cluster = first + i, count;

        if (!block || !(cluster & (s->refblock_size - 1))) {
            qcow2_cache_put(block);
            ret = co_get_block(bs, cluster, &block);
            if (ret < 0) {
                break;
            }
        }
        count = get_count(s, block, cluster);
        if (!block || (change > 0 ? count == s->refcount_max : count == 0)) {
            ret = -EINVAL;
            break;
        }
        set_count(s, block, cluster, count + change);
        if (count + change == 0) {
            s->free_cluster_index = MIN(s->free_cluster_index, cluster);
            forget_packed_end(s, cluster, 1);
        }
    }
    qcow2_cache_put(block);
    if (ret < 0 && i > 0) {
        /* The same blocks were just changed: this finds them in the cache. */
        co_change(bs, first, i, -change);
    }
    return ret;
}

/* ---- finding free clusters ----------------------------------------------------------------- */

/*
 * Is there no reason for clusters up to @end to be in use?  What a crash leaks may lie past the end
 * of the file, but not that far: such counts are damage, and to believe them would make the file
 * enormous.
 */
static bool coroutine_fn co_is_too_far(BlockDriverState *bs, uint64_t end)
{
    Qcow2State *s = bs->opaque;

    if (end <= s->fresh_from + ((uint64_t)QCOW2_MAX_GAP >> s->cluster_bits)) {
        return false;
    }
    qcow2_co_mark_corrupt(bs, s->fresh_from << s->cluster_bits, QCOW2_MAX_GAP,
                          "Refcounts say that the %" PRIi64 " bytes after the end of the file are "
                          "in use", QCOW2_MAX_GAP);
    return true;
}

/*
 * First of @n adjacent free clusters at or after free_cluster_index, or a negative errno.
 * @found: not NULL: fewer will do where more would need a new refcount block; gets their number.
 */
static int64_t coroutine_fn co_find_free(BlockDriverState *bs, uint64_t n, uint64_t *found)
{
    Qcow2State *s = bs->opaque;
    uint64_t limit = QCOW2_MAX_HOST_OFFSET >> s->cluster_bits;
    uint64_t cluster = s->free_cluster_index, run = 0;

    while (run < n) {
        uint64_t block_end = ((cluster >> s->refblock_bits) + 1) << s->refblock_bits;
        Qcow2CacheEntry *block;
        int ret = co_get_block(bs, cluster, &block);

        if (ret < 0) {
            return ret;
        }
        if (!block && run > 0 && found) {
            break;
        }
        for (; cluster < block_end && run < n; cluster++) {
            run = get_count(s, block, cluster) ? 0 : run + 1;
        }
        qcow2_cache_put(block);
        if (cluster > limit) {
            return -EFBIG;
        }
        if (co_is_too_far(bs, cluster - run)) {
            return -EIO;
        }
    }
    if (found) {
        *found = run;
    }
    return cluster - run;
}

/* Make the missing blocks for [@first, @first + @n): 1 if any was made, 0 if none was missing. */
static int coroutine_fn co_add_missing_blocks(BlockDriverState *bs, uint64_t first, uint64_t n)
{
    Qcow2State *s = bs->opaque;
    uint64_t last_block = (first + n - 1) >> s->refblock_bits;
    int made = 0;

    if (last_block >= s->reftable.size) {
        s->reftable_wanted = first + n;
        return -EAGAIN;
    }
    for (uint64_t index = first >> s->refblock_bits; index <= last_block; index++) {
        if (!(s->reftable.entries[index] & QCOW2_REFTABLE_MASK)) {
            uint64_t cluster = index << s->refblock_bits;
            int ret = co_add_block(bs, index, cluster);

            if (ret >= 0) {
                ret = co_change(bs, cluster, 1, 1);
            }
            if (ret < 0) {
                return ret;
            }
            made = 1;
        }
    }
    return made;
}

/*
 * More clusters than fit between two blocks that stand in their own ranges: after all blocks that
 * there are, the new blocks in a row, then the clusters.  Returns the first of the clusters.
 */
static int64_t coroutine_fn co_alloc_behind(BlockDriverState *bs, uint64_t n)
{
    Qcow2State *s = bs->opaque;
    uint64_t first_block = s->reftable.size, first, nb_blocks = 1;

    while (first_block > 0 && !(s->reftable.entries[first_block - 1] & QCOW2_REFTABLE_MASK)) {
        first_block--;
    }
    first = first_block << s->refblock_bits;
    while (nb_blocks << s->refblock_bits < nb_blocks + n) {
        nb_blocks++;
    }
    if (first + nb_blocks + n > (uint64_t)QCOW2_MAX_HOST_OFFSET >> s->cluster_bits) {
        return -EFBIG;
    }
    if (co_is_too_far(bs, first)) {
        return -EIO;
    }
    if (first_block + nb_blocks > s->reftable.size) {
        s->reftable_wanted = first + nb_blocks + n;
        return -EAGAIN;
    }
    for (uint64_t i = 0; i < nb_blocks; i++) {
        int ret = co_add_block(bs, first_block + i, first + i);

        if (ret < 0) {
            return ret;
        }
    }
    for (uint64_t i = 0; i < nb_blocks; i++) {
        int ret = co_change(bs, first + i, 1, 1);

        if (ret < 0) {
            return ret;
        }
    }
    return first + nb_blocks;
}

/* Free clusters whose blocks exist; @found as in co_find_free(). */
static int64_t coroutine_fn co_find_room(BlockDriverState *bs, uint64_t n, uint64_t *found)
{
    Qcow2State *s = bs->opaque;
    int64_t first;
    int ret;

    if (!found && n >= s->refblock_size) {
        return co_alloc_behind(bs, n);
    }
    do {
        first = co_find_free(bs, n, found);
        if (first < 0) {
            return first;
        }
        /* A new block takes the first cluster of its range: then look again. */
        ret = co_add_missing_blocks(bs, first, found ? *found : n);
    } while (ret == 1);
    return ret < 0 ? ret : first;
}

bool qcow2_grows_by_zeroes(const BlockDriverState *file)
{
    while (file && file->drv && !file->drv->new_is_undefined) {
        if (file->drv->is_protocol) {
            return true;
        }
        file = bdrv_primary_bs(file);
    }
    return false;
}

/* Take the clusters. */
static int64_t coroutine_fn co_take(BlockDriverState *bs, uint64_t first, uint64_t n,
                                    bool *is_fresh)
{
    Qcow2State *s = bs->opaque;
    int ret;

    BLKDBG_CO_EVENT(bs->file, CLUSTER_ALLOC);
    /* Refcounts may be wrong: what is known to be metadata is never given away (R12). */
    ret = qcow2_overlap_co_check(bs, first << s->cluster_bits, n << s->cluster_bits);
    if (ret >= 0) {
        ret = co_change(bs, first, n, 1);
    }
    if (ret < 0) {
        return ret;
    }
    s->free_cluster_index = first + n;
    if (is_fresh) {
        *is_fresh = first >= s->fresh_from && qcow2_grows_by_zeroes(bs->file->bs);
    }
    raise_fresh(s, first + n);
    return first << s->cluster_bits;
}

int64_t coroutine_fn qcow2_co_alloc_clusters(BlockDriverState *bs, uint64_t n, bool *is_fresh)
{
    Qcow2State *s = bs->opaque;
    uint64_t next = s->free_cluster_index;
    int64_t first = co_find_room(bs, n, NULL), offset;

    if (first < 0) {
        return first;
    }
    offset = co_take(bs, first, n, is_fresh);
    if (n >= s->refblock_size) {
        /* co_alloc_behind() went past free clusters, which others can use. */
        s->free_cluster_index = MIN(next, s->free_cluster_index);
    }
    return offset;
}

int64_t coroutine_fn qcow2_co_alloc_run(BlockDriverState *bs, uint64_t *n, bool *is_fresh)
{
    uint64_t found;
    int64_t first = co_find_room(bs, *n, &found);

    if (first < 0) {
        return first;
    }
    *n = found;
    return co_take(bs, first, found, is_fresh);
}

/*
 * Direct writes that make a file longer come one after the other in the kernel, and each waits for
 * its storage: they are several times slower.  So the file is made longer, by a hole, before it is
 * written to, the more the longer it is; it is cut when the image is closed.
 */
#define MIN_ROOM (1 * MiB)
#define MAX_ROOM (256 * MiB)

static bool wants_room(BlockDriverState *bs, uint64_t end)
{
    const Qcow2State *s = bs->opaque;

    return end > s->room_end && (bs->file->bs->open_flags & BDRV_O_NOCACHE) && !s->has_no_room;
}

void coroutine_fn qcow2_co_make_room(BlockDriverState *bs, uint64_t end)
{
    Qcow2State *s = bs->opaque;
    uint64_t room_end = end + CLAMP(end, MIN_ROOM, MAX_ROOM);
    int64_t len;

    if (!wants_room(bs, end)) {
        return;
    }
    len = bdrv_co_getlength(bs->file->bs);
    if (len >= 0 && end <= (uint64_t)len) {
        return; /* nothing new */
    }
    s->has_no_room = len < 0 || bdrv_co_truncate(bs->file, room_end, false, PREALLOC_MODE_OFF, 0,
                                                 NULL) < 0;
    s->room_end = s->has_no_room ? 0 : room_end;
}

bool qcow2_take_fresh(BlockDriverState *bs, uint64_t n, uint64_t *host_offset)
{
    Qcow2State *s = bs->opaque;
    uint64_t first = s->free_cluster_index, index = first >> s->refblock_bits;
    uint64_t offset = index < s->reftable.size ? s->reftable.entries[index] & QCOW2_REFTABLE_MASK
                                               : 0;
    Qcow2CacheEntry *block;
    bool is_free;

    if (first != s->fresh_from || (first & (s->refblock_size - 1)) + n > s->refblock_size ||
        !offset || qcow2_offset_in_cluster(s, offset) || qcow2_is_lost(s) ||
        wants_room(bs, (first + n) << s->cluster_bits) ||
        !qcow2_overlap_is_clear(s, first << s->cluster_bits, n << s->cluster_bits) ||
        !qcow2_grows_by_zeroes(bs->file->bs)) {
        return false;
    }
    block = qcow2_cache_peek(s->refcount_cache, offset);
    is_free = block;
    for (uint64_t i = 0; i < n && is_free; i++) {
        is_free = get_count(s, block, first + i) == 0;
    }
    for (uint64_t i = 0; i < n && is_free; i++) {
        set_count(s, block, first + i, 1);
    }
    qcow2_cache_put(block);
    if (is_free) {
        s->free_cluster_index = s->fresh_from = first + n;
        *host_offset = first << s->cluster_bits;
    }
    return is_free;
}

/* Bytes left in the cluster that holds the last stream. */
static int coroutine_fn co_packed_room(BlockDriverState *bs, uint32_t *room)
{
    Qcow2State *s = bs->opaque;
    uint64_t count;
    int ret;

    *room = 0;
    if (!s->packed_end) {
        return 0;
    }
    ret = qcow2_refcount_co_get(bs, s->packed_end >> s->cluster_bits, &count);
    if (ret >= 0 && count > 0 && count < s->refcount_max) {
        *room = s->cluster_size - qcow2_offset_in_cluster(s, s->packed_end);
    }
    return ret;
}

/* Streams follow each other without a gap; each is counted in every cluster that it touches. */
int64_t coroutine_fn qcow2_co_alloc_bytes(BlockDriverState *bs, uint32_t size)
{
    Qcow2State *s = bs->opaque;
    int64_t start = s->packed_end, new = 0;
    uint32_t room;
    int ret = co_packed_room(bs, &room);

    if (ret >= 0 && size > room) {
        new = qcow2_co_alloc_clusters(bs, 1, NULL);
        ret = new < 0 ? new : (uint64_t)new >= qcow2_packed_limit(s) ? -EFBIG : 0;
        start = room && new == start + room ? start : new;
    }
    if (ret >= 0 && start != new) {
        ret = co_change(bs, start >> s->cluster_bits, 1, 1);
    }
    if (ret < 0 && new > 0) {
        qcow2_co_free_unused(bs, new, 1);
    }
    if (ret < 0) {
        return ret;
    }
    s->packed_end = qcow2_offset_in_cluster(s, start + size) ? start + size : 0;
    qcow2_unpacked_drop(s->unpacked, start, size);
    return start;
}

int coroutine_fn qcow2_co_share_cluster(BlockDriverState *bs, uint64_t host_offset, uint64_t times)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    for (uint64_t i = 0; i < times && ret >= 0; i++) {
        ret = co_change(bs, host_offset >> s->cluster_bits, 1, 1);
    }
    return ret;
}

int64_t coroutine_fn qcow2_co_alloc_unlocked(BlockDriverState *bs, uint64_t n)
{
    Qcow2State *s = bs->opaque;
    int64_t ret;

    do {
        qemu_co_mutex_lock(&s->lock);
        ret = qcow2_co_alloc_clusters(bs, n, NULL);
        qemu_co_mutex_unlock(&s->lock);
        if (ret == -EAGAIN) {
            int grown = qcow2_refcount_co_grow(bs);

            ret = grown < 0 ? grown : -EAGAIN;
        }
    } while (ret == -EAGAIN);
    return ret;
}

/* ---- freeing ------------------------------------------------------------------------------- */

int coroutine_fn qcow2_co_free_unused(BlockDriverState *bs, uint64_t host_offset, uint64_t n)
{
    Qcow2State *s = bs->opaque;

    return co_change(bs, host_offset >> s->cluster_bits, n, -1);
}

void qcow2_free_clusters(BlockDriverState *bs, uint64_t host_offset, uint64_t bytes,
                         Qcow2DiscardType type)
{
    Qcow2State *s = bs->opaque;
    uint64_t first = host_offset >> s->cluster_bits;
    uint64_t n = qcow2_nb_clusters(s, host_offset + bytes) - first;
    Qcow2Free *last = s->pending_frees->len
                          ? &g_array_index(s->pending_frees, Qcow2Free, s->pending_frees->len - 1)
                          : NULL;

    if (type != QCOW2_DISCARD_KEPT) {
        forget_packed_end(s, first, n);
    }
    if (last && last->type == type && last->cluster + last->n == first) {
        last->n += n;
        last->serial = bdrv_current_serial(bs);
    } else {
        Qcow2Free item = { first, n, bdrv_current_serial(bs), type };

        g_array_append_val(s->pending_frees, item);
    }
}

void qcow2_free_l2_entry(BlockDriverState *bs, uint64_t entry, Qcow2DiscardType type)
{
    Qcow2State *s = bs->opaque;
    uint64_t host = entry & QCOW2_OFFSET_MASK;

    if (s->has_data_file) {
        /* Not counted there, but given back as late; raw ones are zeroed instead. */
        if (type == QCOW2_DISCARD_REQUEST && qcow2_entry_has_host(s, entry) &&
            !qcow2_data_is_raw(s) && !qcow2_offset_in_cluster(s, host)) {
            qcow2_free_clusters(bs, host, s->cluster_size, QCOW2_DISCARD_DATA_FILE);
        }
        return;
    }
    if (entry & QCOW2_COMPRESSED) {
        uint64_t offset;
        uint32_t len;

        qcow2_parse_compressed(s, entry, &offset, &len);
        qcow2_free_clusters(bs, offset, len, type);
    } else if (host && !qcow2_offset_in_cluster(s, host)) {
        qcow2_free_clusters(bs, host, s->cluster_size, type);
    }
}

/* Those of gone_frees that no request can still use; the others stay. */
static GArray *take_ripe_frees(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    uint64_t oldest = bdrv_oldest_serial(bs);
    GArray *ripe = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    GArray *rest = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));

    for (guint i = 0; i < s->gone_frees->len; i++) {
        Qcow2Free *item = &g_array_index(s->gone_frees, Qcow2Free, i);

        /* The serial was read after the mapping changed: a request that has it saw the change. */
        g_array_append_vals(item->serial <= oldest ? ripe : rest, item, 1);
    }
    g_array_unref(s->gone_frees);
    s->gone_frees = rest;
    return ripe;
}

/* Discard on the host what will be free, while it still counts as used and nobody can take it. */
static void coroutine_fn co_discard_free(BlockDriverState *bs, const Qcow2Free *item)
{
    Qcow2State *s = bs->opaque;
    uint64_t start = item->cluster, end = item->cluster + item->n;

    while (start < end) {
        uint64_t run = start;

        qemu_co_mutex_lock(&s->lock);
        for (; run < end; run++) {
            uint64_t count;

            if (qcow2_refcount_co_get(bs, run, &count) < 0 || count != 1) {
                break;
            }
        }
        qemu_co_mutex_unlock(&s->lock);
        if (run > start) {
            /* Only advice: the result does not matter. */
            bdrv_co_pdiscard(bs->file, (int64_t)start << s->cluster_bits,
                             (int64_t)(run - start) << s->cluster_bits);
        }
        start = run + 1;
    }
}

/* Lower the counts.  A count that is 0 already is damage, but not worth failing a flush. */
static void coroutine_fn co_lower(BlockDriverState *bs, const Qcow2Free *item)
{
    Qcow2State *s = bs->opaque;

    if (co_change(bs, item->cluster, item->n, -1) != -EINVAL || item->n == 1) {
        return;
    }
    for (uint64_t i = 0; i < item->n; i++) {
        co_change(bs, item->cluster + i, 1, -1);
    }
    s->free_cluster_index = MIN(s->free_cluster_index, item->cluster);
}

/* The end of the last cluster below @end that is counted, or a negative errno. */
static int64_t coroutine_fn co_used_end(BlockDriverState *bs, uint64_t end)
{
    Qcow2State *s = bs->opaque;

    while (end > 0) {
        uint64_t block_start = ((end - 1) >> s->refblock_bits) << s->refblock_bits;
        Qcow2CacheEntry *block;
        int ret = co_get_block(bs, end - 1, &block);

        if (ret < 0) {
            return ret;
        }
        while (block && end > block_start && !get_count(s, block, end - 1)) {
            end--;
        }
        end = block ? end : block_start;
        qcow2_cache_put(block);
        if (end > block_start) {
            break;
        }
    }
    return end;
}

bool coroutine_fn qcow2_co_cut_at(BlockDriverState *bs, uint64_t end)
{
    Qcow2State *s = bs->opaque;
    int64_t len = end << s->cluster_bits;

    if (bdrv_co_truncate(bs->file, len, false, PREALLOC_MODE_OFF, 0, NULL) < 0) {
        return false;
    }
    /* A device keeps its length, and what was there. */
    if (bdrv_co_getlength(bs->file->bs) != len) {
        return false;
    }
    s->fresh_from = end;
    s->room_end = 0;
    return true;
}

void coroutine_fn qcow2_refcount_co_cut_file(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    int64_t len, end;

    CO_LOCK_GUARD(&s->lock);
    len = bdrv_co_getlength(bs->file->bs);
    if (!s->wants_cut || len < 0) {
        return;
    }
    /* Writes under way may lengthen the file, but only for clusters below fresh_from. */
    end = co_used_end(bs, MAX(qcow2_nb_clusters(s, len), s->fresh_from));
    if (end > 0 && end << s->cluster_bits < len) {
        qcow2_co_cut_at(bs, end);
    }
    s->wants_cut = s->pending_frees->len || s->gone_frees->len;
}

int coroutine_fn qcow2_co_reap_frees(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GArray) ripe = NULL;

    qemu_co_mutex_lock(&s->lock);
    if (s->gone_frees->len == 0) {
        qemu_co_mutex_unlock(&s->lock);
        return 0;
    }
    ripe = take_ripe_frees(bs);
    qemu_co_mutex_unlock(&s->lock);
    for (guint i = 0; i < ripe->len; i++) {
        const Qcow2Free *item = &g_array_index(ripe, Qcow2Free, i);

        if (!s->opt.discard_passthrough[item->type]) {
            continue;
        }
        if (item->type == QCOW2_DISCARD_DATA_FILE) {
            qcow2_data_file_co_discard(bs, item->cluster << s->cluster_bits,
                                       item->n << s->cluster_bits);
        } else if (item->type == QCOW2_DISCARD_KEPT) {
            qcow2_co_discard_kept(bs, item);
        } else {
            co_discard_free(bs, item);
        }
    }
    qemu_co_mutex_lock(&s->lock);
    BLKDBG_CO_EVENT(bs->file, CLUSTER_FREE);
    for (guint i = 0; i < ripe->len; i++) {
        const Qcow2Free *item = &g_array_index(ripe, Qcow2Free, i);

        if (item->type != QCOW2_DISCARD_DATA_FILE && item->type != QCOW2_DISCARD_KEPT) {
            co_lower(bs, item);
        }
    }
    qemu_co_mutex_unlock(&s->lock);
    return 0;
}
