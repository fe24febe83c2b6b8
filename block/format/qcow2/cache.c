/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables in memory, and the only place where changed ones go to the file.
 *
 * Nothing is written when it changes.  Write-back takes a copy of everything that has changed
 * at one instant, under the lock, and then writes the copies in stages with a flush between:
 *
 *   1. refcount blocks            counts may be too high, never too low (R1)
 *   2. refcount table             names blocks that are there (R3)
 *   3. L2 tables                  name clusters that are counted and whose data is there, or that
 *                                 read as zeroes until it is: see "linked ahead" (R1, R2)
 *   4. L1 table                   names L2 tables that are there (R3)
 *   then a flush; only after it may clusters that lost their reference be reused (R4).
 *
 * Since a reference is made in memory after its count, and counts drop only after the last
 * stage, a copy of one instant never refers to something that is not counted in it.  The lock
 * is free while the copies are written.
 *
 * A cache may hold more than its size: an entry is only dropped when it is clean.  The request
 * that made it too large, or too much of it changed, writes back before it ends
 * (qcow2_co_relieve()).
 */
#include "qemu/osdep.h"

#include "qcow2.h"

struct Qcow2Cache {
    GHashTable *entries; /* &offset -> Qcow2CacheEntry, each on one of the two lists */
    Qcow2CacheList clean, dirty;
    uint32_t entry_bytes;
    uint64_t nb_dirty, max_dirty, max_entries;
    unsigned period;     /* see qcow2_cache_age() */
    Qcow2CacheEntry *last; /* that was asked for, or NULL */
};

/* Dirty ranges grow to multiples of this: one page, one sector of most disks. */
#define WRITE_UNIT 4096

/* What a flush has to write, and copies first, is bounded by this, whatever the cache's size. */
#define MAX_DIRTY_BYTES (32 * MiB)

/* Freed clusters that may wait for a flush of the guest's, in records. */
#define MAX_PENDING_FREES 4096

/* ---- entries ------------------------------------------------------------------------------- */

Qcow2Cache *qcow2_cache_new(uint32_t entry_bytes, uint64_t max_bytes)
{
    Qcow2Cache *cache = g_new0(Qcow2Cache, 1);

    cache->entries = g_hash_table_new(g_int64_hash, g_int64_equal);
    QTAILQ_INIT(&cache->clean);
    QTAILQ_INIT(&cache->dirty);
    cache->entry_bytes = entry_bytes;
    cache->max_entries = MAX(max_bytes / entry_bytes, 2);
    cache->max_dirty = MAX(MAX_DIRTY_BYTES / entry_bytes, 2);
    return cache;
}

static bool entry_is_dirty(const Qcow2CacheEntry *entry)
{
    return entry->dirty_start < entry->dirty_end;
}

static Qcow2CacheList *list_of(Qcow2Cache *cache, const Qcow2CacheEntry *entry)
{
    return entry_is_dirty(entry) ? &cache->dirty : &cache->clean;
}

static void entry_clean(Qcow2Cache *cache, Qcow2CacheEntry *entry)
{
    if (entry_is_dirty(entry)) {
        QTAILQ_REMOVE(&cache->dirty, entry, lru);
        cache->nb_dirty--;
        entry->dirty_start = entry->dirty_end = 0;
        QTAILQ_INSERT_TAIL(&cache->clean, entry, lru);
    }
}

static void entry_free(Qcow2Cache *cache, Qcow2CacheEntry *entry)
{
    assert(entry->pins == 0);
    if (cache->last == entry) {
        cache->last = NULL;
    }
    entry_clean(cache, entry);
    g_hash_table_remove(cache->entries, &entry->offset);
    QTAILQ_REMOVE(&cache->clean, entry, lru);
    qemu_vfree(entry->data);
    g_free(entry);
}

void qcow2_cache_free(Qcow2Cache *cache)
{
    Qcow2CacheEntry *entry, *next;

    if (!cache) {
        return;
    }
    QTAILQ_FOREACH_SAFE(entry, &cache->dirty, lru, next) {
        entry_free(cache, entry);
    }
    QTAILQ_FOREACH_SAFE(entry, &cache->clean, lru, next) {
        entry_free(cache, entry);
    }
    g_hash_table_destroy(cache->entries);
    g_free(cache);
}

static uint64_t cache_excess(const Qcow2Cache *cache)
{
    uint64_t n = g_hash_table_size(cache->entries);

    return n > cache->max_entries ? n - cache->max_entries : 0;
}

void qcow2_cache_age(Qcow2Cache *cache)
{
    Qcow2CacheEntry *entry, *next;

    QTAILQ_FOREACH_SAFE(entry, &cache->clean, lru, next) {
        if (entry->pins == 0 && entry->used_in != cache->period) {
            entry_free(cache, entry);
        }
    }
    cache->period++;
}

/* Drop clean entries, least recently used first, down to the cache's size. */
static void cache_trim(Qcow2Cache *cache)
{
    Qcow2CacheEntry *entry, *next;
    uint64_t excess = cache_excess(cache);

    QTAILQ_FOREACH_SAFE(entry, &cache->clean, lru, next) {
        if (excess == 0) {
            break;
        }
        if (entry->pins == 0) {
            entry_free(cache, entry);
            excess--;
        }
    }
}

/* Make room for one entry. */
static bool drop_one(Qcow2Cache *cache)
{
    Qcow2CacheEntry *entry;

    QTAILQ_FOREACH(entry, &cache->clean, lru) {
        if (entry->pins == 0) {
            entry_free(cache, entry);
            return true;
        }
    }
    return false;
}

/* A new entry, pinned, its data not set; NULL if memory is short. */
static Qcow2CacheEntry *entry_new(BlockDriverState *bs, Qcow2Cache *cache, uint64_t offset)
{
    Qcow2State *s = bs->opaque;
    Qcow2CacheEntry *entry;
    uint8_t *data;

    if (g_hash_table_size(cache->entries) >= cache->max_entries && !drop_one(cache)) {
        s->wants_write_back = true;
    }
    data = bdrv_try_blockalign(bs->file->bs, cache->entry_bytes);
    if (!data) {
        return NULL;
    }
    entry = g_new0(Qcow2CacheEntry, 1);
    entry->cache = cache;
    entry->offset = offset;
    entry->data = data;
    entry->pins = 1;
    entry->used_in = cache->period;
    g_hash_table_insert(cache->entries, &entry->offset, entry);
    QTAILQ_INSERT_TAIL(&cache->clean, entry, lru);
    return entry;
}

Qcow2CacheEntry *qcow2_cache_peek(Qcow2Cache *cache, uint64_t offset)
{
    Qcow2CacheEntry *entry = cache->last;

    if (!entry || entry->offset != offset) {
        entry = g_hash_table_lookup(cache->entries, &offset);
    }
    if (entry) {
        cache->last = entry;
        entry->pins++;
        entry->used_in = cache->period;
        if (QTAILQ_NEXT(entry, lru)) {
            Qcow2CacheList *list = list_of(cache, entry);

            QTAILQ_REMOVE(list, entry, lru);
            QTAILQ_INSERT_TAIL(list, entry, lru);
        }
    }
    return entry;
}

int coroutine_fn qcow2_cache_co_get(BlockDriverState *bs, Qcow2Cache *cache, uint64_t offset,
                                    Qcow2CacheEntry **entry)
{
    Qcow2State *s = bs->opaque;
    int ret;

    *entry = qcow2_cache_peek(cache, offset);
    if (*entry) {
        return 0;
    }
    *entry = entry_new(bs, cache, offset);
    if (!*entry) {
        return -ENOMEM;
    }
    if (cache == s->l2_cache) {
        BLKDBG_CO_EVENT(bs->file, L2_LOAD);
    } else {
        BLKDBG_CO_EVENT(bs->file, REFBLOCK_LOAD);
    }
    ret = bdrv_co_pread(bs->file, offset, cache->entry_bytes, (*entry)->data, 0);
    if (ret < 0) {
        (*entry)->pins = 0;
        entry_free(cache, *entry);
        *entry = NULL;
    }
    return ret;
}

int qcow2_cache_get_zeroed(BlockDriverState *bs, Qcow2Cache *cache, uint64_t offset,
                           Qcow2CacheEntry **entry)
{
    *entry = qcow2_cache_peek(cache, offset);
    if (!*entry) {
        *entry = entry_new(bs, cache, offset);
        if (!*entry) {
            return -ENOMEM;
        }
    }
    memset((*entry)->data, 0, cache->entry_bytes);
    qcow2_cache_dirty(*entry, 0, cache->entry_bytes);
    return 0;
}

void qcow2_cache_put(Qcow2CacheEntry *entry)
{
    if (entry) {
        assert(entry->pins > 0);
        entry->pins--;
    }
}

static void range_add(uint32_t *start, uint32_t *end, uint32_t new_start, uint32_t new_end)
{
    if (*start >= *end) {
        *start = new_start;
        *end = new_end;
    } else {
        *start = MIN(*start, new_start);
        *end = MAX(*end, new_end);
    }
}

void qcow2_cache_dirty(Qcow2CacheEntry *entry, uint32_t start, uint32_t len)
{
    Qcow2Cache *cache = entry->cache;

    if (!entry_is_dirty(entry)) {
        QTAILQ_REMOVE(&cache->clean, entry, lru);
        QTAILQ_INSERT_TAIL(&cache->dirty, entry, lru);
        cache->nb_dirty++;
    }
    range_add(&entry->dirty_start, &entry->dirty_end, start, start + len);
}

bool qcow2_cache_is_dirty(const Qcow2Cache *cache)
{
    return !QTAILQ_EMPTY(&cache->dirty);
}

void qcow2_table_dirty(Qcow2Table *table, uint32_t index)
{
    range_add(&table->dirty_start, &table->dirty_end, index, index + 1);
}

void qcow2_cache_drop(Qcow2Cache *cache, uint64_t offset, uint64_t bytes)
{
    for (uint64_t at = offset; at < offset + bytes; at += cache->entry_bytes) {
        Qcow2CacheEntry *entry = g_hash_table_lookup(cache->entries, &at);

        if (!entry) {
            continue;
        }
        if (entry->pins == 0) {
            entry_free(cache, entry);
        } else {
            entry_clean(cache, entry);
        }
    }
}

/* ---- write-back: copies of one instant ----------------------------------------------------- */

typedef enum Stage {
    STAGE_REFBLOCKS,
    STAGE_REFTABLE,
    STAGE_L2,
    STAGE_L1,
    STAGE_MAX,
} Stage;

/* One copy to be written. */
typedef struct Piece {
    uint64_t offset;
    uint32_t len;
    uint8_t *buf;
    Qcow2CacheEntry *entry; /* pinned; or */
    Qcow2Table *table;
    uint32_t start, end;    /* what was dirty, in the units of entry or table */
} Piece;

typedef struct Batch {
    GArray *pieces[STAGE_MAX]; /* of Piece; NULL: nothing */
    GArray *frees;             /* of Qcow2Free */
    bool no_memory;
} Batch;

static Piece *batch_add(Batch *batch, Stage stage, BlockDriverState *bs, uint32_t len)
{
    uint8_t *buf = bdrv_try_blockalign(bs->file->bs, len);

    if (!buf) {
        batch->no_memory = true;
        return NULL;
    }
    if (!batch->pieces[stage]) {
        batch->pieces[stage] = g_array_new(FALSE, TRUE, sizeof(Piece));
    }
    g_array_set_size(batch->pieces[stage], batch->pieces[stage]->len + 1);
    Piece *piece = &g_array_index(batch->pieces[stage], Piece, batch->pieces[stage]->len - 1);
    piece->len = len;
    piece->buf = buf;
    return piece;
}

/* ---- write-back: clusters linked ahead of their data ---------------------------------------- */

/*
 * Their entries may go to the file before the data, since they read as zeroes there, too; but only
 * if the file reaches them: a reference past its end is damage to others.  What is being written
 * right now at the end of the file is described as before, until the next write-back.
 */
static bool is_ahead(const Qcow2State *s, uint64_t entry, uint64_t file_end)
{
    return (entry & QCOW2_COPIED) && qcow2_entry_kind(s, entry) == QCOW2_DATA &&
           (entry & QCOW2_OFFSET_MASK) >= file_end && (entry & QCOW2_OFFSET_MASK) < s->ahead_end;
}

/* What described such a cluster before. */
static uint64_t empty_entry(BlockDriverState *bs)
{
    return bs->backing ? QCOW2_ZERO : 0;
}

/* In the copies of L2 tables; their entries stay changed. */
static void hold_back(BlockDriverState *bs, const GArray *pieces, uint64_t file_end)
{
    const Qcow2State *s = bs->opaque;

    for (guint i = 0; i < pieces->len; i++) {
        const Piece *piece = &g_array_index(pieces, Piece, i);
        uint32_t in_slice = piece->offset - piece->entry->offset;

        for (uint32_t at = 0; at < piece->len; at += s->l2_entry_size) {
            if (is_ahead(s, ldq_be_p(piece->buf + at), file_end)) {
                stq_be_p(piece->buf + at, empty_entry(bs));
                qcow2_cache_dirty(piece->entry, in_slice + at, s->l2_entry_size);
            }
        }
    }
}

/* Nobody writes, so nothing will come any more to those that the file does not reach. */
static void coroutine_fn co_unlink_ahead(BlockDriverState *bs, uint64_t file_end)
{
    Qcow2State *s = bs->opaque;
    Qcow2CacheEntry *slice, *next;

    QTAILQ_FOREACH_SAFE(slice, &s->l2_cache->dirty, lru, next) {
        for (uint32_t at = slice->dirty_start; at < slice->dirty_end; at += s->l2_entry_size) {
            uint64_t entry = ldq_be_p(slice->data + at);

            if (is_ahead(s, entry, file_end)) {
                stq_be_p(slice->data + at, empty_entry(bs));
                /* At worst a leak. */
                qcow2_co_free_unused(bs, entry & QCOW2_OFFSET_MASK, 1);
            }
        }
    }
}

/*
 * Where the clusters begin that are linked and not in the file; UINT64_MAX: there are none.
 * Writes that failed are settled if no request is under way.  Lock held.
 */
static int coroutine_fn co_find_file_end(BlockDriverState *bs, uint64_t *file_end)
{
    Qcow2State *s = bs->opaque;
    uint64_t oldest;
    int64_t len;

    *file_end = UINT64_MAX;
    len = qatomic_read(&bs->file->bs->total_bytes);
    if (s->ahead_end <= (uint64_t)qcow2_cluster_end(s, len)) {
        return 0;
    }
    len = bdrv_co_getlength(bs->file->bs);
    if (len < 0) {
        return len;
    }
    len = qcow2_cluster_end(s, len);
    if ((uint64_t)len >= s->ahead_end) {
        return 0;
    }
    /* First the oldest: whoever begins after that does not know the mapping. */
    oldest = bdrv_oldest_serial(bs);
    if (oldest == bdrv_current_serial(bs)) {
        co_unlink_ahead(bs, len);
        s->ahead_end = len;
    } else {
        *file_end = len;
    }
    return 0;
}

/* ---- write-back: copying ------------------------------------------------------------------- */

static void copy_entry(Batch *batch, Stage stage, BlockDriverState *bs, Qcow2Cache *cache,
                       Qcow2CacheEntry *entry)
{
    uint32_t from = QEMU_ALIGN_DOWN(entry->dirty_start, WRITE_UNIT);
    uint32_t to = MIN(QEMU_ALIGN_UP(entry->dirty_end, WRITE_UNIT), cache->entry_bytes);
    Piece *piece = batch_add(batch, stage, bs, to - from);

    if (!piece) {
        return;
    }
    piece->offset = entry->offset + from;
    piece->entry = entry;
    piece->start = entry->dirty_start;
    piece->end = entry->dirty_end;
    memcpy(piece->buf, entry->data + from, piece->len);
    entry_clean(cache, entry);
    entry->pins++;
}

static void copy_cache(Batch *batch, Stage stage, BlockDriverState *bs, Qcow2Cache *cache)
{
    Qcow2CacheEntry *entry, *next;

    QTAILQ_FOREACH_SAFE(entry, &cache->dirty, lru, next) {
        copy_entry(batch, stage, bs, cache, entry);
    }
}

static void copy_table(Batch *batch, Stage stage, BlockDriverState *bs, Qcow2Table *table)
{
    /* Whole sectors of the file, as far as the table reaches. */
    uint32_t per_sector = BDRV_SECTOR_SIZE / 8;
    uint32_t from = QEMU_ALIGN_DOWN(table->dirty_start, per_sector);
    uint32_t to = MIN(QEMU_ALIGN_UP(table->dirty_end, per_sector), table->size);
    Piece *piece;

    if (table->dirty_start >= table->dirty_end) {
        return;
    }
    piece = batch_add(batch, stage, bs, (to - from) * 8);
    if (!piece) {
        return;
    }
    piece->offset = table->offset + (uint64_t)from * 8;
    piece->table = table;
    piece->start = table->dirty_start;
    piece->end = table->dirty_end;
    for (uint32_t i = from; i < to; i++) {
        stq_be_p(piece->buf + (i - from) * 8, table->entries[i]);
    }
    table->dirty_start = table->dirty_end = 0;
}

static int compare_pieces(gconstpointer a, gconstpointer b)
{
    uint64_t x = ((const Piece *)a)->offset, y = ((const Piece *)b)->offset;

    return x < y ? -1 : x > y;
}

/* Lock held. */
static void batch_collect(Batch *batch, BlockDriverState *bs, uint64_t file_end)
{
    Qcow2State *s = bs->opaque;

    copy_cache(batch, STAGE_REFBLOCKS, bs, s->refcount_cache);
    copy_table(batch, STAGE_REFTABLE, bs, &s->reftable);
    copy_cache(batch, STAGE_L2, bs, s->l2_cache);
    copy_table(batch, STAGE_L1, bs, &s->l1);
    if (unlikely(file_end != UINT64_MAX) && batch->pieces[STAGE_L2]) {
        hold_back(bs, batch->pieces[STAGE_L2], file_end);
    }
    for (int stage = 0; stage < STAGE_MAX; stage++) {
        if (batch->pieces[stage]) {
            g_array_sort(batch->pieces[stage], compare_pieces);
        }
    }
    batch->frees = s->pending_frees;
    s->pending_frees = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    s->wants_write_back = false;
}

/* ---- write-back: writing the copies -------------------------------------------------------- */

/* Pieces @first.. that are adjacent in the file, as one vector; returns their number. */
static guint join_pieces(const GArray *pieces, guint first, QEMUIOVector *qiov)
{
    guint n = 0;
    uint64_t end = g_array_index(pieces, Piece, first).offset;

    while (first + n < pieces->len && n < 64) {
        const Piece *piece = &g_array_index(pieces, Piece, first + n);

        if (piece->offset != end) {
            break;
        }
        qemu_iovec_add(qiov, piece->buf, piece->len);
        end += piece->len;
        n++;
    }
    return n;
}

static int coroutine_fn co_write_stage(BlockDriverState *bs, Stage stage, const GArray *pieces)
{
    QEMUIOVector qiov;
    int ret = 0;

    switch (stage) {
    case STAGE_REFBLOCKS:
        BLKDBG_CO_EVENT(bs->file, REFBLOCK_UPDATE_PART);
        break;
    case STAGE_REFTABLE:
        BLKDBG_CO_EVENT(bs->file, REFBLOCK_ALLOC_HOOKUP);
        break;
    case STAGE_L2:
        BLKDBG_CO_EVENT(bs->file, L2_UPDATE);
        break;
    default:
        BLKDBG_CO_EVENT(bs->file, L1_UPDATE);
        break;
    }
    qemu_iovec_init(&qiov, 4);
    for (guint i = 0, n; i < pieces->len && ret >= 0; i += n) {
        qemu_iovec_reset(&qiov);
        n = join_pieces(pieces, i, &qiov);
        ret = bdrv_co_pwritev(bs->file, g_array_index(pieces, Piece, i).offset, qiov.size, &qiov,
                              0);
    }
    qemu_iovec_destroy(&qiov);
    return ret;
}

/* The order (R1-R3).  A flush without anything written before costs nothing. */
static int coroutine_fn co_write_batch(BlockDriverState *bs, const Batch *batch)
{
    bool any = false;

    for (int stage = 0; stage < STAGE_MAX; stage++) {
        int ret = 0;

        if (!batch->pieces[stage]) {
            continue;
        }
        if (stage == STAGE_L2 && qcow2_data(bs) != bs->file) {
            ret = bdrv_co_flush(qcow2_data(bs)->bs);
        }
        if (ret >= 0 && stage > STAGE_REFBLOCKS) {
            ret = bdrv_co_flush(bs->file->bs);
        }
        if (ret >= 0) {
            ret = co_write_stage(bs, stage, batch->pieces[stage]);
        }
        if (ret < 0) {
            return ret;
        }
        any = true;
    }
    return any || batch->frees->len ? bdrv_co_flush(bs->file->bs) : 0;
}

/*
 * Lock held.  After an error everything counts as unwritten again, also what was written: a
 * failed flush may have lost it.
 */
static void batch_finish(Batch *batch, BlockDriverState *bs, bool ok)
{
    Qcow2State *s = bs->opaque;

    for (int stage = 0; stage < STAGE_MAX; stage++) {
        GArray *pieces = batch->pieces[stage];

        for (guint i = 0; pieces && i < pieces->len; i++) {
            Piece *piece = &g_array_index(pieces, Piece, i);

            if (!ok && piece->entry) {
                qcow2_cache_dirty(piece->entry, piece->start, piece->end - piece->start);
            } else if (!ok) {
                range_add(&piece->table->dirty_start, &piece->table->dirty_end, piece->start,
                          piece->end);
            }
            qcow2_cache_put(piece->entry);
            qemu_vfree(piece->buf);
        }
        g_clear_pointer(&batch->pieces[stage], g_array_unref);
    }
    if (ok) {
        g_array_append_vals(s->gone_frees, batch->frees->data, batch->frees->len);
    } else {
        g_array_prepend_vals(s->pending_frees, batch->frees->data, batch->frees->len);
    }
    g_array_unref(batch->frees);
    cache_trim(s->l2_cache);
    cache_trim(s->refcount_cache);
}

int coroutine_fn qcow2_co_write_back_locked(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    Batch batch = { 0 };
    uint64_t file_end;
    bool wants_cut;
    int ret = qcow2_is_lost(s) ? -EIO : qcow2_co_reap_frees(bs);

    if (ret < 0) {
        return ret;
    }
    qemu_co_mutex_lock(&s->lock);
    ret = co_find_file_end(bs, &file_end);
    if (ret < 0) {
        qemu_co_mutex_unlock(&s->lock);
        return ret;
    }
    batch_collect(&batch, bs, file_end);
    qemu_co_mutex_unlock(&s->lock);

    ret = batch.no_memory ? -ENOMEM : co_write_batch(bs, &batch);

    qemu_co_mutex_lock(&s->lock);
    batch_finish(&batch, bs, ret >= 0);
    wants_cut = s->wants_cut;
    qemu_co_mutex_unlock(&s->lock);
    if (ret >= 0 && wants_cut) {
        qcow2_refcount_co_cut_file(bs);
    }
    /* At once: a guest that is idle after its discards and a flush gets its space back. */
    return ret < 0 ? ret : qcow2_co_reap_frees(bs);
}

int coroutine_fn qcow2_co_write_back(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    CO_LOCK_GUARD(&s->wb_lock);
    return qcow2_co_write_back_locked(bs);
}

bool qcow2_wants_relief(const Qcow2State *s)
{
    return s->wants_write_back || s->pending_frees->len > MAX_PENDING_FREES ||
           s->l2_cache->nb_dirty > s->l2_cache->max_dirty ||
           s->refcount_cache->nb_dirty > s->refcount_cache->max_dirty;
}

int coroutine_fn qcow2_co_relieve(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    bool wanted;

    qemu_co_mutex_lock(&s->lock);
    wanted = qcow2_wants_relief(s);
    qemu_co_mutex_unlock(&s->lock);
    return wanted ? qcow2_co_write_back(bs) : 0;
}
