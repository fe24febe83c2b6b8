/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A refcount table that has become too small: a larger one is written behind all that the old one
 * counts, with the blocks that count it, and one write of the header makes it the table (R3, R5).
 */
#include "qemu/osdep.h"

#include "qcow2.h"

/* The new structure: a table, and blocks that count it and themselves, one after the other. */
typedef struct Growth {
    uint64_t first;               /* cluster of the first new block */
    uint32_t nb_blocks, table_clusters, table_size;
    uint64_t *table;
} Growth;

static bool plan_growth(const Qcow2State *s, Growth *g)
{
    uint64_t wanted = s->reftable_wanted;

    /* Past everything that the old table can count, so nothing there is in use. */
    g->first = (uint64_t)s->reftable.size << s->refblock_bits;
    g->nb_blocks = g->table_clusters = 1;
    for (;;) {
        uint64_t end = MAX(g->first + g->nb_blocks + g->table_clusters, wanted);
        uint64_t size = DIV_ROUND_UP(end, s->refblock_size) * 3 / 2 + 1;
        uint64_t table_clusters = qcow2_nb_clusters(s, size * 8);
        uint64_t used_end = g->first + g->nb_blocks + table_clusters;
        uint64_t nb_blocks = DIV_ROUND_UP(used_end - g->first, s->refblock_size);

        if (table_clusters * s->cluster_size > QCOW2_MAX_REFTABLE_BYTES) {
            return false;
        }
        if (table_clusters <= g->table_clusters && nb_blocks <= g->nb_blocks) {
            g->table_size = g->table_clusters * (s->cluster_size / 8);
            return true;
        }
        g->table_clusters = MAX(table_clusters, g->table_clusters);
        g->nb_blocks = MAX(nb_blocks, g->nb_blocks);
    }
}

static int coroutine_fn co_write_growth(BlockDriverState *bs, const Growth *g)
{
    Qcow2State *s = bs->opaque;
    uint64_t used = g->nb_blocks + g->table_clusters;
    g_autofree uint8_t *buf = g_try_malloc0((gsize)used << s->cluster_bits);
    uint8_t *table = buf + ((gsize)g->nb_blocks << s->cluster_bits);

    if (!buf) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < used; i++) {
        qcow2_refcount_write(buf + ((i >> s->refblock_bits) << s->cluster_bits), s->refcount_bits,
                             i & (s->refblock_size - 1), 1);
    }
    for (uint32_t i = 0; i < g->table_size; i++) {
        stq_be_p(table + (gsize)i * 8, g->table[i]);
    }
    BLKDBG_CO_EVENT(bs->file, REFBLOCK_ALLOC_WRITE_TABLE);
    return bdrv_co_pwrite_sync(bs->file, g->first << s->cluster_bits,
                               (int64_t)used << s->cluster_bits, buf, 0);
}

/* R5: offset and length of the table change together. */
static int coroutine_fn co_switch_table(BlockDriverState *bs, const Growth *g)
{
    Qcow2State *s = bs->opaque;
    uint64_t offset = (g->first + g->nb_blocks) << s->cluster_bits;
    Qcow2Header header = s->header;
    int ret;

    header.reftable_offset = offset;
    header.reftable_clusters = g->table_clusters;
    BLKDBG_CO_EVENT(bs->file, REFBLOCK_ALLOC_SWITCH_TABLE);
    ret = qcow2_header_co_switch(bs, &header, QCOW2_HDR_REFTABLE, QCOW2_HDR_REFTABLE + 12);
    if (ret < 0) {
        return ret;
    }
    qcow2_free_clusters(bs, s->reftable.offset,
                        (uint64_t)s->header.reftable_clusters << s->cluster_bits,
                        QCOW2_DISCARD_OTHER);
    s->header.reftable_offset = offset;
    s->header.reftable_clusters = g->table_clusters;
    g_free(s->reftable.entries);
    s->reftable = (Qcow2Table){ g->table, g->table_size, offset, 0, 0 };
    for (uint32_t i = 0; i < g->nb_blocks; i++) {
        qcow2_overlap_add(s, (g->first + i) << s->cluster_bits);
    }
    return 0;
}

static int coroutine_fn co_grow_locked(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    Growth g;
    int ret;

    if (s->reftable_wanted <= (uint64_t)s->reftable.size << s->refblock_bits) {
        return 0; /* somebody else did it */
    }
    if (!plan_growth(s, &g)) {
        return -EFBIG;
    }
    g.table = g_try_new0(uint64_t, g.table_size);
    if (!g.table) {
        return -ENOMEM;
    }
    memcpy(g.table, s->reftable.entries, (gsize)s->reftable.size * 8);
    for (uint32_t i = 0; i < g.nb_blocks; i++) {
        g.table[s->reftable.size + i] = (g.first + i) << s->cluster_bits;
    }
    ret = qcow2_overlap_co_check(bs, g.first << s->cluster_bits,
                                 (uint64_t)(g.nb_blocks + g.table_clusters) << s->cluster_bits);
    if (ret >= 0) {
        /* If only some of it is written the clusters stay free, but not full of zeroes. */
        s->fresh_from = MAX(s->fresh_from, g.first + g.nb_blocks + g.table_clusters);
        ret = co_write_growth(bs, &g);
    }
    if (ret >= 0) {
        ret = co_switch_table(bs, &g);
    }
    if (ret < 0) {
        g_free(g.table);
    }
    return ret;
}

int coroutine_fn qcow2_refcount_co_grow(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    int ret;

    CO_LOCK_GUARD(&s->wb_lock);
    BLKDBG_CO_EVENT(bs->file, REFTABLE_GROW);
    /*
     * The new table will name every block there is; those of the last moment must be written, too
     * (R3).  New ones may come while the lock is free, hence the loop.
     */
    for (;;) {
        ret = qcow2_co_write_back_locked(bs);
        if (ret < 0) {
            return ret;
        }
        qemu_co_mutex_lock(&s->lock);
        if (s->reftable.dirty_start >= s->reftable.dirty_end) {
            break;
        }
        qemu_co_mutex_unlock(&s->lock);
    }
    ret = co_grow_locked(bs);
    qemu_co_mutex_unlock(&s->lock);
    return ret;
}
