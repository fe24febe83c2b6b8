/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compacting: clusters at the end of the file move to free ones before them, and the file is cut.
 *
 * A step is one shadow switch (R14, R15): data is copied to clusters that the image does not use,
 * the tables that name it are written anew, and one write of the header makes all of that the
 * image. Nothing runs meanwhile, so no request has the old mapping.
 *
 * What moves: data and L2 tables, of the active image and of snapshots, L1 tables, the snapshot
 * table, refcounts.  Compressed clusters share host clusters: those that hang together move
 * together, byte by byte as they are, if there is a gap for all of them.  Bitmaps that stand in the
 * way are stored anew.  What stays where it is, with the file up to there: inconsistent bitmaps,
 * clusters that are counted but not used, more compressed clusters in a row than MAX_GROUP.
 */
#include "qemu/osdep.h"

#include "qemu/bitmap.h"
#include "shadow.h"

#define COPY_BYTES (2 * MiB)
#define MAX_GROUP 256

typedef struct Compact {
    BlockDriverState *bs;
    Qcow2State *s;
    Qcow2Shadow *sh;
    Error **errp;
    GArray *trees;             /* of Qcow2Tree; the active one first, then snapshots in order */
    unsigned long *movable;    /* clusters in use that can be moved */
    unsigned long *packed;     /* clusters that hold compressed ones */
    unsigned long *joined;     /* clusters that share a compressed one with the cluster before */
    bool keeps_packed;         /* those do not move: there was no gap for some */
    bool has_blocker;          /* what keeps the file from being shorter has not moved */
    uint64_t end;              /* after the last cluster in use */
    uint64_t nb_tables;        /* different L2 tables */
    uint64_t cutoff;           /* clusters from here on are moved */
    GHashTable *data;          /* old cluster -> new cluster */
    GHashTable *tables;        /* old cluster -> the one it is in now */
    Qcow2Place *from, *to;     /* copies that wait */
    size_t nb_copies, max_copies;
    uint8_t *buf;
} Compact;

/* ---- the trees ----------------------------------------------------------------------------- */

typedef bool coroutine_fn TableVisit(Compact *c, Qcow2Tree *tree, uint32_t index,
                                     Qcow2Place *place);

/* Call @visit for each entry of each L1 table that names an L2 table. */
static bool coroutine_fn co_visit_tables(Compact *c, TableVisit *visit)
{
    for (guint t = 0; t < c->trees->len; t++) {
        Qcow2Tree *tree = &g_array_index(c->trees, Qcow2Tree, t);
        g_autoptr(Qcow2Walk) walk = qcow2_walk_new(c->bs, tree->l1, tree->size);

        if (!walk) {
            error_setg(c->errp, "Not enough memory to read L2 tables");
            return false;
        }
        while (qcow2_walk_co_next(walk)) {
            for (uint32_t i = 0; i < walk->n; i++) {
                Qcow2Place *place = &walk->places[i];

                if (place->ret < 0 || place->offset >> c->s->cluster_bits >= c->end) {
                    return qcow2_shadow_unreadable(c->errp, place);
                }
                if (!visit(c, tree, walk->index[i], place)) {
                    return false;
                }
            }
        }
    }
    return true;
}

static uint64_t *entry_at(const Compact *c, const Qcow2Place *table, uint32_t i)
{
    return (uint64_t *)(table->buf + (size_t)i * c->s->l2_entry_size);
}

/* The cluster of plain data that @entry names; 0: none that could move. */
static uint64_t data_cluster(const Compact *c, uint64_t entry)
{
    uint64_t host = entry & QCOW2_OFFSET_MASK;

    return entry & QCOW2_COMPRESSED || qcow2_offset_in_cluster(c->s, host)
               ? 0 : host >> c->s->cluster_bits;
}

/* Is all counted that @entry names?  What is not might be given away. */
static bool is_counted(const Compact *c, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;
    uint32_t len = offset ? c->s->cluster_size : 0;

    if (entry & QCOW2_COMPRESSED) {
        qcow2_parse_compressed(c->s, entry, &offset, &len);
    }
    for (uint64_t at = offset >> c->s->cluster_bits;
         len && at <= (offset + len - 1) >> c->s->cluster_bits; at++) {
        if (at >= c->end || !qcow2_refarray_get(c->sh->counts, at)) {
            return false;
        }
    }
    return true;
}

/* ---- what to move -------------------------------------------------------------------------- */

static void mark_range(Compact *c, uint64_t offset, uint64_t bytes)
{
    uint64_t last = bytes ? (offset + bytes - 1) >> c->s->cluster_bits : 0;

    for (uint64_t i = offset >> c->s->cluster_bits; bytes && i <= last && i < c->end; i++) {
        set_bit(i, c->movable);
    }
}

static void mark_packed(Compact *c, uint64_t entry)
{
    uint64_t offset, first, last;
    uint32_t len;

    qcow2_parse_compressed(c->s, entry, &offset, &len);
    first = offset >> c->s->cluster_bits;
    last = (offset + len - 1) >> c->s->cluster_bits;
    bitmap_set(c->packed, first, last - first + 1);
    bitmap_set(c->joined, first + 1, last - first);
}

static bool coroutine_fn co_mark_table(Compact *c, Qcow2Tree *tree, uint32_t index,
                                       Qcow2Place *place)
{
    if (test_and_set_bit(place->offset >> c->s->cluster_bits, c->movable)) {
        return true;
    }
    c->nb_tables++;
    for (uint32_t i = 0; i < c->s->l2_size; i++) {
        uint64_t entry = be64_to_cpu(*entry_at(c, place, i));
        uint64_t cluster = data_cluster(c, entry);

        if (entry && !is_counted(c, entry)) {
            error_setg(c->errp, "The refcounts of the image are damaged; check it first");
            return false;
        }
        if (cluster) {
            set_bit(cluster, c->movable);
        } else if (entry & QCOW2_COMPRESSED) {
            mark_packed(c, entry);
        }
    }
    return true;
}

/* Groups of compressed clusters move, unless they are long or share a place with other things. */
static void allow_groups(Compact *c)
{
    uint64_t first = find_next_bit(c->packed, c->end, 0), end;

    for (; first < c->end; first = find_next_bit(c->packed, c->end, end)) {
        bool is_pure = !c->keeps_packed;

        for (end = first; end < c->end && (end == first || test_bit(end, c->joined)); end++) {
            is_pure &= !test_bit(end, c->movable);
        }
        if (is_pure && end - first <= MAX_GROUP) {
            bitmap_set(c->movable, first, end - first);
        } else {
            bitmap_clear(c->movable, first, end - first);
        }
    }
}

static bool coroutine_fn co_mark_movable(Compact *c)
{
    const Qcow2State *s = c->s;

    c->movable = bitmap_try_new(c->end + 1);
    c->packed = bitmap_try_new(c->end + 1);
    c->joined = bitmap_try_new(c->end + 1);
    if (!c->movable || !c->packed || !c->joined) {
        error_setg(c->errp, "Not enough memory to compact the image");
        return false;
    }
    mark_range(c, s->l1.offset, (uint64_t)s->l1.size * 8);
    mark_range(c, s->reftable.offset, (uint64_t)s->header.reftable_clusters << s->cluster_bits);
    mark_range(c, s->header.snapshots_offset, s->snapshots_bytes);
    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, i);

        mark_range(c, sn->l1_offset, (uint64_t)sn->l1_size * 8);
    }
    for (uint32_t i = 0; i < s->reftable.size; i++) {
        mark_range(c, s->reftable.entries[i] & QCOW2_REFTABLE_MASK,
                   s->reftable.entries[i] ? s->cluster_size : 0);
    }
    if (!co_visit_tables(c, co_mark_table)) {
        return false;
    }
    allow_groups(c);
    return true;
}

/* Clusters that new tables take, beside what they replace. */
static uint64_t overhead(const Compact *c)
{
    const Qcow2State *s = c->s;
    uint64_t n = c->nb_tables + s->header.reftable_clusters + 4 +
                 qcow2_nb_clusters(s, s->snapshots_bytes);

    for (guint i = 0; i < c->trees->len; i++) {
        n += 1 + qcow2_nb_clusters(s, (uint64_t)g_array_index(c->trees, Qcow2Tree, i).size * 8);
    }
    return n + c->sh->counts->nb_blocks;
}

/* Set ->cutoff as low as the free clusters before it and @max_moves allow. */
static void choose_cutoff(Compact *c, uint64_t max_moves)
{
    uint64_t nb_used = 0, tail = 0, extra = overhead(c), cutoff = c->end;

    for (uint64_t i = 0; i < c->end; i++) {
        nb_used += qcow2_refarray_get(c->sh->counts, i) > 0;
    }
    for (uint64_t i = c->end; i-- > 1;) {
        bool is_used = qcow2_refarray_get(c->sh->counts, i) > 0;

        if (is_used && (!test_bit(i, c->movable) || tail >= max_moves + MAX_GROUP)) {
            c->has_blocker = !test_bit(i, c->movable) && i >= nb_used;
            break;
        }
        tail += is_used;
        if (tail + extra <= i - (nb_used - tail) && !test_bit(i, c->joined)) {
            cutoff = i;
        }
        if (tail >= max_moves && cutoff < c->end) {
            break;
        }
    }
    c->cutoff = cutoff;
}

/* ---- moving -------------------------------------------------------------------------------- */

static bool coroutine_fn co_flush_copies(Compact *c)
{
    int ret = qcow2_co_read_places(c->bs, c->from, c->nb_copies);

    if (ret >= 0) {
        ret = qcow2_co_write_places(c->bs, c->to, c->nb_copies);
    }
    c->nb_copies = 0;
    if (ret < 0) {
        error_setg_errno(c->errp, -ret, "Could not move data");
    }
    return ret >= 0;
}

/* @new takes over the count of @old. */
static void hand_over(Compact *c, uint64_t old, uint64_t new)
{
    qcow2_refarray_set(c->sh->counts, new, qcow2_refarray_get(c->sh->counts, old));
    qcow2_refarray_set(c->sh->counts, old, 0);
}

/* A free cluster that takes over the count of @old; 0 with errp set if there is none. */
static uint64_t coroutine_fn co_take_place(Compact *c, uint64_t old)
{
    int64_t offset = qcow2_shadow_co_alloc(c->sh, 1, c->errp);
    uint64_t new;

    if (offset < 0) {
        return 0;
    }
    new = offset >> c->s->cluster_bits;
    hand_over(c, old, new);
    return new;
}

/* The data of @old is copied to @new, with the next batch. */
static void add_copy(Compact *c, uint64_t old, uint64_t new)
{
    uint8_t *buf = c->buf + (c->nb_copies << c->s->cluster_bits);

    c->from[c->nb_copies] = (Qcow2Place){ old << c->s->cluster_bits, buf, 0 };
    c->to[c->nb_copies++] = (Qcow2Place){ new << c->s->cluster_bits, buf, 0 };
    g_hash_table_insert(c->data, GSIZE_TO_POINTER(old), GSIZE_TO_POINTER(new));
}

/* Where the data of @old is from now on; 0 with errp set. */
static uint64_t coroutine_fn co_move_data(Compact *c, uint64_t old)
{
    uint64_t new = GPOINTER_TO_SIZE(g_hash_table_lookup(c->data, GSIZE_TO_POINTER(old)));

    if (new) {
        return new;
    }
    if (c->nb_copies == c->max_copies && !co_flush_copies(c)) {
        return 0;
    }
    new = co_take_place(c, old);
    if (new) {
        add_copy(c, old, new);
    }
    return new;
}

/* Where the group of compressed clusters around @cluster begins, and *@n: how many they are. */
static uint64_t find_group(const Compact *c, uint64_t cluster, uint64_t *n)
{
    uint64_t first = cluster, end = cluster + 1;

    while (test_bit(first, c->joined)) {
        first--;
    }
    while (end < c->end && test_bit(end, c->joined)) {
        end++;
    }
    *n = end - first;
    return first;
}

/* Move the group around @old as it is; false with errp set, or if there is no gap for it. */
static bool coroutine_fn co_move_group(Compact *c, uint64_t old)
{
    uint64_t n, first = find_group(c, old, &n), new;
    int64_t offset = qcow2_shadow_co_alloc(c->sh, n, c->errp);

    if (offset < 0) {
        return false;
    }
    new = offset >> c->s->cluster_bits;
    if (new + n > c->cutoff) {
        c->keeps_packed = true;
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        if (c->nb_copies == c->max_copies && !co_flush_copies(c)) {
            return false;
        }
        hand_over(c, first + i, new + i);
        add_copy(c, first + i, new + i);
    }
    return true;
}

/* The entry of a compressed cluster whose group lies behind the cut, at its new place; 0: error. */
static uint64_t coroutine_fn co_move_packed(Compact *c, uint64_t entry)
{
    uint64_t offset, old, first;
    uint32_t len;

    qcow2_parse_compressed(c->s, entry, &offset, &len);
    old = offset >> c->s->cluster_bits;
    if (!g_hash_table_contains(c->data, GSIZE_TO_POINTER(old)) && !co_move_group(c, old)) {
        return 0;
    }
    first = GPOINTER_TO_SIZE(g_hash_table_lookup(c->data, GSIZE_TO_POINTER(old)));
    return qcow2_packed_entry(c->s, (first << c->s->cluster_bits) +
                                    qcow2_offset_in_cluster(c->s, offset), len);
}

/* Does @entry name a compressed cluster that has to move? */
static bool moves_packed(const Compact *c, uint64_t entry)
{
    uint64_t offset;
    uint32_t len;

    if (!(entry & QCOW2_COMPRESSED)) {
        return false;
    }
    qcow2_parse_compressed(c->s, entry, &offset, &len);
    return offset >> c->s->cluster_bits >= c->cutoff;
}

/* New places for the data of @table; *@changed: there were any. */
static bool coroutine_fn co_move_entries(Compact *c, Qcow2Place *table, bool *changed)
{
    for (uint32_t i = 0; i < c->s->l2_size; i++) {
        uint64_t *at = entry_at(c, table, i), entry = be64_to_cpu(*at);
        uint64_t old = data_cluster(c, entry), new;

        if (moves_packed(c, entry)) {
            entry = co_move_packed(c, entry);
            if (!entry) {
                return false;
            }
            *at = cpu_to_be64(entry);
            *changed = true;
            continue;
        }
        if (old < c->cutoff || old >= c->end) {
            continue;
        }
        new = co_move_data(c, old);
        if (!new) {
            return false;
        }
        *at = cpu_to_be64((entry & ~QCOW2_OFFSET_MASK) | new << c->s->cluster_bits);
        *changed = true;
    }
    return true;
}

static bool coroutine_fn co_move_table(Compact *c, Qcow2Tree *tree, uint32_t index,
                                       Qcow2Place *place)
{
    uint64_t old = place->offset >> c->s->cluster_bits;
    uint64_t new = GPOINTER_TO_SIZE(g_hash_table_lookup(c->tables, GSIZE_TO_POINTER(old)));
    bool changed = old >= c->cutoff;

    if (!new) {
        if (!co_move_entries(c, place, &changed)) {
            return false;
        }
        new = changed ? co_take_place(c, old) : old;
        if (!new) {
            return false;
        }
        g_hash_table_insert(c->tables, GSIZE_TO_POINTER(old), GSIZE_TO_POINTER(new));
        if (changed) {
            Qcow2Place moved = { new << c->s->cluster_bits, place->buf, 0 };
            int ret = qcow2_co_write_places(c->bs, &moved, 1);

            if (ret < 0) {
                error_setg_errno(c->errp, -ret, "Could not write an L2 table");
                return false;
            }
        }
    }
    if (new != old) {
        tree->l1[index] = (tree->l1[index] & ~QCOW2_OFFSET_MASK) | new << c->s->cluster_bits;
        tree->is_changed = true;
    }
    return true;
}

static void move_refblocks(Compact *c)
{
    Qcow2RefArray *counts = c->sh->counts;

    for (uint64_t i = 0; i < MIN(counts->nb_blocks, c->s->reftable.size); i++) {
        if ((c->s->reftable.entries[i] & QCOW2_REFTABLE_MASK) >> c->s->cluster_bits >= c->cutoff) {
            set_bit(i, counts->dirty);
        }
    }
}

static bool coroutine_fn co_move_all(Compact *c)
{
    c->max_copies = MAX(COPY_BYTES / c->s->cluster_size, 1);
    c->from = g_new(Qcow2Place, c->max_copies);
    c->to = g_new(Qcow2Place, c->max_copies);
    c->buf = bdrv_try_blockalign(c->bs->file->bs, c->max_copies << c->s->cluster_bits);
    c->data = g_hash_table_new(g_direct_hash, g_direct_equal);
    c->tables = g_hash_table_new(g_direct_hash, g_direct_equal);
    if (!c->buf) {
        error_setg(c->errp, "Not enough memory to compact the image");
        return false;
    }
    if (!co_visit_tables(c, co_move_table) || !co_flush_copies(c) ||
        !qcow2_shadow_co_put_trees(c->sh, c->trees, c->cutoff << c->s->cluster_bits, c->errp)) {
        return false;
    }
    move_refblocks(c);
    return qcow2_shadow_co_commit(c->sh, c->errp);
}

/* ---- a step -------------------------------------------------------------------------------- */

static uint64_t used_end(const Qcow2RefArray *counts)
{
    uint64_t end = counts->end;

    while (end > 0 && !qcow2_refarray_get(counts, end - 1)) {
        end--;
    }
    return end;
}

/* The file ends where the image does.  It is only space, so errors do not matter. */
static int64_t coroutine_fn co_cut_file(Compact *c, int64_t old_len)
{
    uint64_t end = used_end(c->sh->counts);
    int64_t new_len = end << c->s->cluster_bits;

    if (new_len >= old_len ||
        bdrv_co_truncate(c->bs->file, new_len, false, PREALLOC_MODE_OFF, 0, NULL) < 0) {
        return 0;
    }
    c->s->fresh_from = end;
    return old_len - new_len;
}

static int64_t coroutine_fn co_step(Compact *c, int64_t max_bytes)
{
    int64_t old_len = bdrv_co_getlength(c->bs->file->bs);

    if (old_len < 0) {
        error_setg_errno(c->errp, -old_len, "Could not get the length of the image file");
        return old_len;
    }
    c->end = used_end(c->sh->counts);
    c->trees = qcow2_shadow_co_trees(c->sh, c->errp);
    if (!c->trees || !co_mark_movable(c)) {
        return -EIO;
    }
    choose_cutoff(c, MAX(max_bytes >> c->s->cluster_bits, 1));
    if (c->cutoff < c->end && !co_move_all(c)) {
        return -EIO;
    }
    return co_cut_file(c, old_len);
}

/* One step; what @c has of it goes. */
static int64_t coroutine_fn co_try_step(Compact *c, int64_t max_bytes)
{
    g_autoptr(Qcow2Shadow) sh = c->sh = qcow2_shadow_co_lock(c->bs, c->errp);
    int64_t gain;

    c->has_blocker = false;
    gain = sh ? co_step(c, max_bytes) : -EIO;
    qcow2_shadow_co_unlock(c->bs);
    g_clear_pointer(&c->trees, g_array_unref);
    g_clear_pointer(&c->data, g_hash_table_destroy);
    g_clear_pointer(&c->tables, g_hash_table_destroy);
    g_clear_pointer(&c->movable, g_free);
    g_clear_pointer(&c->packed, g_free);
    g_clear_pointer(&c->joined, g_free);
    g_clear_pointer(&c->from, g_free);
    g_clear_pointer(&c->to, g_free);
    g_clear_pointer(&c->buf, qemu_vfree);
    c->nb_copies = c->nb_tables = 0;
    return gain;
}

int64_t coroutine_fn qcow2_co_compact(BlockDriverState *bs, int64_t max_bytes, Error **errp)
{
    Error *local_err = NULL;
    Compact c = { .bs = bs, .s = bs->opaque, .errp = &local_err };
    int64_t gain;

    if (c.s->has_data_file) {
        error_setg(errp, "Images with an external data file have nothing to compact");
        return -ENOTSUP;
    }
    if (c.s->header.crypt_method == QCOW2_CRYPT_LUKS) {
        error_setg(errp, "Encrypted images cannot be compacted, since their data is bound to its "
                   "place");
        return -ENOTSUP;
    }
    gain = co_try_step(&c, max_bytes);
    if (gain < 0 && c.keeps_packed && !local_err) {
        gain = co_try_step(&c, max_bytes);
    }
    if (gain == 0 && c.has_blocker && c.s->bitmaps->len > 0) {
        /* Perhaps it is a bitmap, which finds a place before the end when it is stored. */
        gain = qcow2_bitmaps_co_move(bs, &local_err) < 0 ? -EIO : co_try_step(&c, max_bytes);
    }
    error_propagate(errp, local_err);
    return gain;
}
