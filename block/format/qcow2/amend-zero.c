/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zero clusters, which version 2 does not know.  Where nothing is behind the image, an entry that
 * is empty says the same; elsewhere they become clusters full of zeroes.
 *
 * The disk is changed like by a guest.  Tables of snapshots, which may be shared, are changed in
 * place: each entry means the same before and after to everybody who reads it, so neither the
 * order in which entries reach the file matters, nor a crash between them.
 */
#include "qemu/osdep.h"

#include "amend.h"
#include "refarray.h"

/* ---- the disk ------------------------------------------------------------------------------ */

static int coroutine_fn co_expand_run(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    const Qcow2State *s = bs->opaque;

    if (*bs->backing_file) {
        return qcow2_co_write_zero_data(bs, offset, bytes);
    }
    return qcow2_co_unmap(bs, offset, qcow2_cluster_end(s, offset + bytes) - offset);
}

static bool coroutine_fn co_expand_disk(BlockDriverState *bs, const BdrvAmendProgress *progress,
                                        Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t size = s->header.size, offset = 0;

    while (offset < size) {
        Qcow2Mapping map;
        int ret;

        qemu_co_mutex_lock(&s->lock);
        ret = qcow2_co_map(bs, offset, size - offset, &map);
        qemu_co_mutex_unlock(&s->lock);
        if (ret >= 0 && (map.kind == QCOW2_ZERO_PLAIN || map.kind == QCOW2_ZERO_ALLOC)) {
            ret = co_expand_run(bs, offset, map.bytes);
        }
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Failed to turn zero into data clusters");
            return false;
        }
        offset += map.bytes;
        bdrv_amend_progress(progress, offset, size);
    }
    return true;
}

/* ---- snapshots ----------------------------------------------------------------------------- */

typedef struct Expand {
    BlockDriverState *bs;
    GHashTable *hosts; /* &offset of each cluster that a zero entry reserves */
    bool changes;      /* any table has zero entries */
} Expand;

/* What is done with each table of a tree; false with @errp set. */
typedef bool coroutine_fn TableFunc(Expand *e, Qcow2Place *table, Error **errp);

static bool coroutine_fn co_for_each_table(Expand *e, const uint64_t *l1, uint32_t size,
                                           TableFunc *co_fn, Error **errp)
{
    g_autoptr(Qcow2Walk) walk = qcow2_walk_new(e->bs, l1, size);
    int ret = walk ? 0 : -ENOMEM;

    while (ret >= 0 && (ret = qcow2_walk_co_next(walk)) > 0) {
        for (uint32_t i = 0; i < walk->n && ret >= 0; i++) {
            ret = walk->places[i].ret;
            if (ret >= 0 && !co_fn(e, &walk->places[i], errp)) {
                return false;
            }
        }
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read an L2 table");
    }
    return ret >= 0;
}

static bool coroutine_fn co_for_each_snapshot(Expand *e, TableFunc *co_fn, Error **errp)
{
    const Qcow2State *s = e->bs->opaque;

    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, i);
        int ret = 0;
        g_autofree uint64_t *l1 = qcow2_co_read_l1(e->bs, sn->l1_offset, sn->l1_size, &ret);

        if (!l1) {
            error_setg_errno(errp, -ret, "Could not read the L1 table of snapshot '%s'", sn->name);
            return false;
        }
        if (!co_for_each_table(e, l1, sn->l1_size, co_fn, errp)) {
            return false;
        }
    }
    return true;
}

static uint64_t table_entry(const Qcow2Place *table, uint32_t i)
{
    return ldq_be_p(table->buf + (size_t)i * 8);
}

/* Remember what zero entries reserve. */
static bool coroutine_fn collect(Expand *e, Qcow2Place *table, Error **errp)
{
    const Qcow2State *s = e->bs->opaque;

    for (uint32_t i = 0; i < s->l2_size; i++) {
        uint64_t entry = table_entry(table, i), offset = entry & QCOW2_OFFSET_MASK;
        Qcow2Kind kind = qcow2_entry_kind(s, entry);

        e->changes |= kind == QCOW2_ZERO_PLAIN || kind == QCOW2_ZERO_ALLOC;
        if (kind != QCOW2_ZERO_ALLOC) {
            continue;
        }
        if (qcow2_offset_in_cluster(s, offset)) {
            error_setg(errp, "The L2 table at %#" PRIx64 " is damaged; check the image first",
                       table->offset);
            return false;
        }
        if (!g_hash_table_contains(e->hosts, &offset)) {
            g_hash_table_add(e->hosts, g_memdup2(&offset, sizeof(offset)));
        }
    }
    return true;
}

/* Nobody has data where zeroes will be written. */
static bool coroutine_fn check_data(Expand *e, Qcow2Place *table, Error **errp)
{
    const Qcow2State *s = e->bs->opaque;

    for (uint32_t i = 0; i < s->l2_size; i++) {
        uint64_t entry = table_entry(table, i), offset = entry & QCOW2_OFFSET_MASK;

        if (qcow2_entry_kind(s, entry) == QCOW2_DATA && g_hash_table_contains(e->hosts, &offset)) {
            error_setg(errp, "The cluster at %#" PRIx64 " is data in one place and zeroes in "
                       "another; check the image first", offset);
            return false;
        }
    }
    return true;
}

static int coroutine_fn co_zero_hosts(Expand *e)
{
    Qcow2State *s = e->bs->opaque;
    GHashTableIter iter;
    gpointer key;
    int ret = 0;

    g_hash_table_iter_init(&iter, e->hosts);
    while (ret >= 0 && g_hash_table_iter_next(&iter, &key, NULL)) {
        uint64_t offset = *(uint64_t *)key;

        qemu_co_mutex_lock(&s->lock);
        ret = qcow2_overlap_co_check(e->bs, offset, s->cluster_size);
        qemu_co_mutex_unlock(&s->lock);
        if (ret >= 0) {
            ret = qcow2_co_write_zero_cluster(e->bs, offset);
        }
    }
    return ret < 0 ? ret : bdrv_co_flush(e->bs->file->bs);
}

/* A cluster of zeroes for an entry that @count trees share; the new entry or a negative errno. */
static int64_t coroutine_fn co_make_zero_cluster(BlockDriverState *bs, uint64_t count)
{
    Qcow2State *s = bs->opaque;
    int64_t offset = qcow2_co_alloc_unlocked(bs, 1);
    int ret;

    if (offset < 0) {
        return offset;
    }
    qemu_co_mutex_lock(&s->lock);
    ret = qcow2_co_share_cluster(bs, offset, count - 1);
    qemu_co_mutex_unlock(&s->lock);
    if (ret >= 0) {
        ret = qcow2_co_write_zero_cluster(bs, offset);
    }
    return ret < 0 ? ret : offset;
}

/* The new entry; 0 is one, too. */
static int coroutine_fn co_expand_entry(BlockDriverState *bs, uint64_t count, uint64_t *entry)
{
    int64_t offset;

    if (qcow2_entry_kind(bs->opaque, *entry) == QCOW2_ZERO_ALLOC) {
        *entry &= ~QCOW2_ZERO;
        return 0;
    }
    if (!*bs->backing_file) {
        *entry = 0;
        return 0;
    }
    offset = co_make_zero_cluster(bs, count);
    if (offset >= 0) {
        *entry = offset; /* without COPIED: it is a snapshot's */
    }
    return MIN(offset, 0);
}

static int coroutine_fn co_expand_entries(BlockDriverState *bs, Qcow2Place *table, bool *is_changed)
{
    Qcow2State *s = bs->opaque;
    uint64_t count;
    int ret;

    qemu_co_mutex_lock(&s->lock);
    ret = qcow2_refcount_co_get(bs, table->offset >> s->cluster_bits, &count);
    qemu_co_mutex_unlock(&s->lock);
    if (ret >= 0 && count == 0) {
        ret = -EINVAL;
    }
    for (uint32_t i = 0; i < s->l2_size && ret >= 0; i++) {
        uint64_t entry = table_entry(table, i);
        Qcow2Kind kind = qcow2_entry_kind(s, entry);

        if (kind == QCOW2_ZERO_PLAIN || kind == QCOW2_ZERO_ALLOC) {
            ret = co_expand_entry(bs, count, &entry);
            stq_be_p(table->buf + (size_t)i * 8, entry);
            *is_changed = true;
        }
    }
    return ret;
}

static bool coroutine_fn co_expand_table(Expand *e, Qcow2Place *table, Error **errp)
{
    BlockDriverState *bs = e->bs;
    Qcow2State *s = bs->opaque;
    bool is_changed = false;
    int ret = co_expand_entries(bs, table, &is_changed);

    if (ret >= 0 && is_changed) {
        /* R1: counts of new clusters first; R2: and their zeroes. */
        ret = qcow2_co_write_back(bs);
        if (ret >= 0) {
            ret = bdrv_co_flush(bs->file->bs);
        }
        if (ret >= 0) {
            qemu_co_mutex_lock(&s->lock);
            qcow2_cache_drop(s->l2_cache, table->offset, s->cluster_size);
            qemu_co_mutex_unlock(&s->lock);
            ret = qcow2_co_write_places(bs, table, 1);
        }
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to turn zero into data clusters");
    }
    return ret >= 0;
}

static bool coroutine_fn co_expand_snapshots(Expand *e, Error **errp)
{
    Qcow2State *s = e->bs->opaque;
    int ret;

    if (!co_for_each_snapshot(e, collect, errp)) {
        return false;
    }
    if (!e->changes) {
        return true;
    }
    if (!co_for_each_snapshot(e, check_data, errp) ||
        !co_for_each_table(e, s->l1.entries, s->l1.size, check_data, errp)) {
        return false;
    }
    ret = co_zero_hosts(e);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to turn zero into data clusters");
        return false;
    }
    if (!co_for_each_snapshot(e, co_expand_table, errp)) {
        return false;
    }
    /* No table with zero clusters is left when the header says version 2 (R5). */
    ret = bdrv_co_flush(e->bs->file->bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to turn zero into data clusters");
    }
    return ret >= 0;
}

bool coroutine_fn qcow2_amend_co_expand_zeroes(BlockDriverState *bs,
                                               const BdrvAmendProgress *progress, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    Expand e = { .bs = bs };
    /* The walks read the file. */
    int ret = s->snapshots->len ? qcow2_co_write_back(bs) : 0;
    bool ok = true;

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the metadata");
        return false;
    }
    if (s->snapshots->len) {
        e.hosts = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        ok = co_expand_snapshots(&e, errp);
        g_hash_table_unref(e.hosts);
    }
    return ok && co_expand_disk(bs, progress, errp);
}
