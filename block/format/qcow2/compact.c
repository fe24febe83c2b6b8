/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compacting: clusters at the end of the file move to free ones before them, and the file is cut.
 *
 * A step is one shadow switch (R14, R15): data is copied to clusters that the image does not use,
 * the tables that name it are written anew, and one write of the header makes all of that the
 * image. Nothing runs meanwhile, so no request has the old mapping.
 *
 * What moves: data and L2 tables, of the active image and of snapshots, L1 tables, the snapshot
 * table, refcounts; compressed clusters one by one, for they share host clusters (repack.h).
 * Encryption may bind data to its place: then it is encrypted anew on its way (crypt.c).
 * Bitmaps that stand in the way are stored anew.  What stays where it is, with the file up to
 * there: clusters that are counted but not used, and those that are compressed ones and something
 * else at once.
 *
 * All that is new has to fit in before what it replaces is free.  So a few clusters stay free: as
 * many as moving the last cluster would write (the tables that name it, and refcounts).
 */
#include "qemu/osdep.h"

#include "qemu/bitmap.h"
#include "bitmap.h"
#include "repack.h"

#define COPY_BYTES (2 * MiB)
#define HUMBLE_MOVES 8

/* What a step may count on; the next one is tried where one finds no room. */
typedef enum Mood {
    BOLD,      /* as few clusters as can be are needed */
    HUMBLE,    /* the same, for a few that move: they change few refcount blocks */
    CAUTIOUS,  /* all refcount blocks change, compressed clusters take twice the space */
    TIMID,     /* the same, and compressed clusters stay */
    NB_MOODS,
} Mood;

/* Tables that are written anew if anything at or behind a place moves. */
typedef struct Weight {
    uint64_t top;         /* that place: the last cluster that they name */
    uint64_t clusters;    /* that they take */
} Weight;

typedef struct Compact {
    BlockDriverState *bs;
    Qcow2State *s;
    Qcow2Shadow *sh;
    Error **errp;
    GArray *trees;             /* of Qcow2Tree; the active one first, then snapshots in order */
    unsigned long *movable;    /* clusters in use that can be moved */
    unsigned long *packed;     /* clusters that hold compressed ones */
    Qcow2Repack *repack;
    Mood mood;
    bool has_blocker;          /* what keeps the file from being shorter has not moved */
    uint64_t end;              /* after the last cluster in use */
    uint64_t nb_used;          /* clusters in use */
    uint64_t floor;            /* nothing before this moves in this step */
    GHashTable *times;         /* L2 table (cluster) -> L1 entries that name it */
    GHashTable *tops;          /* L2 table (cluster) -> last cluster that it names, or 1 */
    bool has_moved;            /* the step moved something, whether or not that was gain */
    int64_t left;              /* bytes that are not in use when the step is done */
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
static bool coroutine_fn co_is_counted(Compact *c, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;
    uint32_t len = offset ? c->s->cluster_size : 0;

    if (entry & QCOW2_COMPRESSED) {
        qcow2_parse_compressed(c->s, entry, &offset, &len);
    }
    for (uint64_t at = offset >> c->s->cluster_bits;
         len && at <= (offset + len - 1) >> c->s->cluster_bits; at++) {
        qcow2_counts_co_trim(c->sh->counts);
        if (at >= c->end || !qcow2_counts_co_get(c->sh->counts, at)) {
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

/* Returns the last cluster that the entry's stream touches. */
static uint64_t mark_packed(Compact *c, uint64_t entry, uint64_t times)
{
    uint64_t offset, first, last;
    uint32_t len;

    qcow2_parse_compressed(c->s, entry, &offset, &len);
    first = offset >> c->s->cluster_bits;
    last = (offset + len - 1) >> c->s->cluster_bits;
    bitmap_set(c->packed, first, last - first + 1);
    qcow2_repack_add(c->repack, entry, times);
    return last;
}

static uint64_t lookup(GHashTable *map, uint64_t cluster)
{
    return GPOINTER_TO_SIZE(g_hash_table_lookup(map, GSIZE_TO_POINTER(cluster)));
}

static void put(GHashTable *map, uint64_t cluster, uint64_t value)
{
    g_hash_table_insert(map, GSIZE_TO_POINTER(cluster), GSIZE_TO_POINTER(value));
}

static bool coroutine_fn co_mark_table(Compact *c, Qcow2Tree *tree, uint32_t index,
                                       Qcow2Place *place)
{
    uint64_t own = place->offset >> c->s->cluster_bits, top = 1;

    if (lookup(c->tops, own)) {
        return true;
    }
    set_bit(own, c->movable);
    for (uint32_t i = 0; i < c->s->l2_size; i++) {
        uint64_t entry = be64_to_cpu(*entry_at(c, place, i));
        uint64_t cluster = data_cluster(c, entry);

        if (entry && !co_is_counted(c, entry)) {
            error_setg(c->errp, "The refcounts of the image are damaged; check it first");
            return false;
        }
        if (cluster) {
            set_bit(cluster, c->movable);
            top = MAX(top, cluster);
        } else if (entry & QCOW2_COMPRESSED) {
            cluster = mark_packed(c, entry, lookup(c->times, own));
            top = MAX(top, cluster);
        }
    }
    put(c->tops, own, top);
    return true;
}

/* Clusters of streams move, but for those that something else shares. */
static void allow_packed(Compact *c)
{
    for (uint64_t i = find_next_bit(c->packed, c->end, 0); i < c->end;
         i = find_next_bit(c->packed, c->end, i + 1)) {
        if (c->mood == TIMID || test_bit(i, c->movable)) {
            clear_bit(i, c->movable);
        } else {
            set_bit(i, c->movable);
        }
    }
}

static void count_times(Compact *c)
{
    for (guint t = 0; t < c->trees->len; t++) {
        const Qcow2Tree *tree = &g_array_index(c->trees, Qcow2Tree, t);

        for (uint32_t i = 0; i < tree->size; i++) {
            uint64_t cluster = (tree->l1[i] & QCOW2_OFFSET_MASK) >> c->s->cluster_bits;

            if (cluster) {
                put(c->times, cluster, lookup(c->times, cluster) + 1);
            }
        }
    }
}

static bool coroutine_fn co_mark_movable(Compact *c)
{
    const Qcow2State *s = c->s;

    c->movable = bitmap_try_new(c->end + 1);
    c->packed = bitmap_try_new(c->end + 1);
    if (!c->movable || !c->packed) {
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
    c->times = g_hash_table_new(g_direct_hash, g_direct_equal);
    c->tops = g_hash_table_new(g_direct_hash, g_direct_equal);
    c->repack = qcow2_repack_new(c->sh, c->floor);
    count_times(c);
    if (!co_visit_tables(c, co_mark_table)) {
        return false;
    }
    qcow2_repack_finish(c->repack);
    allow_packed(c);
    return true;
}

/* ---- how far ------------------------------------------------------------------------------- */

/* Count the clusters in use; the last @max_moves of them may move, into space for them. */
static void coroutine_fn co_choose_floor(Compact *c, uint64_t max_moves)
{
    uint64_t moves = 0;

    c->nb_used = 0;
    for (uint64_t i = 0; i < c->end; i++) {
        qcow2_counts_co_trim(c->sh->counts);
        c->nb_used += qcow2_counts_co_get(c->sh->counts, i) > 0;
    }
    for (c->floor = c->end; c->floor > c->nb_used && moves < max_moves; c->floor--) {
        qcow2_counts_co_trim(c->sh->counts);
        moves += qcow2_counts_co_get(c->sh->counts, c->floor - 1) > 0;
    }
}

static gint compare_weights(gconstpointer a, gconstpointer b)
{
    const Weight *x = a, *y = b;

    return x->top < y->top ? 1 : x->top > y->top ? -1 : 0;
}

/* Tables by the last cluster that they name, that first: L2 tables, L1 tables of snapshots. */
static GArray *weigh_tables(const Compact *c)
{
    GArray *weights = g_array_new(FALSE, FALSE, sizeof(Weight));
    GHashTableIter iter;
    gpointer own, top;

    g_hash_table_iter_init(&iter, c->tops);
    while (g_hash_table_iter_next(&iter, &own, &top)) {
        Weight w = { GPOINTER_TO_SIZE(top), 1 };

        g_array_append_val(weights, w);
    }
    for (guint t = 1; t < c->trees->len; t++) {
        const Qcow2Tree *tree = &g_array_index(c->trees, Qcow2Tree, t);
        Weight w = { 0, qcow2_nb_clusters(c->s, (uint64_t)tree->size * 8) };

        for (uint32_t i = 0; i < tree->size; i++) {
            uint64_t l2 = (tree->l1[i] & QCOW2_OFFSET_MASK) >> c->s->cluster_bits;

            uint64_t top = lookup(c->tops, l2);

            w.top = MAX(w.top, MAX(l2, top));
        }
        g_array_append_val(weights, w);
    }
    g_array_sort(weights, compare_weights);
    return weights;
}

/* Clusters that any step writes: L1, refcount table and blocks, the list of snapshots. */
static uint64_t base_weight(const Compact *c)
{
    const Qcow2State *s = c->s;
    uint64_t blocks = c->mood <= HUMBLE ? 2 : c->sh->counts->nb_blocks;

    return qcow2_nb_clusters(s, MAX(s->l1.size, 1) * UINT64_C(8)) + s->header.reftable_clusters +
           qcow2_nb_clusters(s, s->snapshots_bytes) + blocks;
}

/* Set ->cutoff as low as the free clusters before it allow. */
static void coroutine_fn co_choose_cutoff(Compact *c)
{
    g_autoptr(GArray) weights = weigh_tables(c);
    uint64_t tail = 0, need = 0, extra = base_weight(c);
    guint next = 0;

    c->cutoff = c->end;
    for (uint64_t i = c->end; i-- > MAX(c->floor, 1);) {
        bool is_used = qcow2_counts_co_get(c->sh->counts, i) > 0;

        qcow2_counts_co_trim(c->sh->counts);
        if (is_used && !test_bit(i, c->movable)) {
            c->has_blocker = i >= c->nb_used;
            break;
        }
        tail += is_used;
        need += is_used + (is_used && c->mood > HUMBLE && test_bit(i, c->packed));
        for (; next < weights->len && g_array_index(weights, Weight, next).top >= i; next++) {
            extra += g_array_index(weights, Weight, next).clusters;
        }
        /* A table that moves itself has been counted twice. */
        extra -= lookup(c->tops, i) > i;
        extra += (i + 1) % c->s->refblock_size == 0;
        if (need + extra <= i - (c->nb_used - tail)) {
            c->cutoff = i;
        }
    }
}

/* ---- moving -------------------------------------------------------------------------------- */

static bool coroutine_fn co_flush_copies(Compact *c)
{
    int ret = qcow2_co_read_places(c->bs, c->from, c->nb_copies);

    if (ret >= 0) {
        ret = qcow2_crypt_co_move(c->bs, c->from, c->to, c->nb_copies);
    }
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
static void coroutine_fn co_hand_over(Compact *c, uint64_t old, uint64_t new)
{
    qcow2_counts_co_set(c->sh->counts, new, qcow2_counts_co_get(c->sh->counts, old));
    qcow2_counts_co_set(c->sh->counts, old, 0);
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
    co_hand_over(c, old, new);
    return new;
}

/* The data of @old is copied to @new, with the next batch. */
static void add_copy(Compact *c, uint64_t old, uint64_t new)
{
    uint8_t *buf = c->buf + (c->nb_copies << c->s->cluster_bits);

    c->from[c->nb_copies] = (Qcow2Place){ old << c->s->cluster_bits, buf, 0 };
    c->to[c->nb_copies++] = (Qcow2Place){ new << c->s->cluster_bits, buf, 0 };
    put(c->data, old, new);
}

/* Where the data of @old is from now on; 0 with errp set. */
static uint64_t coroutine_fn co_move_data(Compact *c, uint64_t old)
{
    uint64_t new = lookup(c->data, old);

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

/* New places for the data of @table; *@changed: there were any. */
static bool coroutine_fn co_move_entries(Compact *c, Qcow2Place *table, bool *changed)
{
    for (uint32_t i = 0; i < c->s->l2_size; i++) {
        uint64_t *at = entry_at(c, table, i), entry = be64_to_cpu(*at);
        uint64_t old = data_cluster(c, entry), new;

        if (entry & QCOW2_COMPRESSED) {
            new = qcow2_repack_entry(c->repack, entry);
            *changed |= new != entry;
            *at = cpu_to_be64(new);
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
    uint64_t new = lookup(c->tables, old);
    bool changed = old >= c->cutoff;

    if (!new) {
        if (!co_move_entries(c, place, &changed)) {
            return false;
        }
        new = changed ? co_take_place(c, old) : old;
        if (!new) {
            return false;
        }
        put(c->tables, old, new);
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

static void coroutine_fn co_move_refblocks(Compact *c)
{
    Qcow2Counts *counts = c->sh->counts;

    for (uint64_t i = 0; i < MIN(counts->nb_blocks, c->s->reftable.size); i++) {
        if ((c->s->reftable.entries[i] & QCOW2_REFTABLE_MASK) >> c->s->cluster_bits >= c->cutoff) {
            qcow2_counts_co_touch(counts, i);
            qcow2_counts_co_trim(counts);
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
    /* A large table may need a step of its own to come back into what becomes free now. */
    c->sh->limit = c->cutoff;
    c->sh->max_behind = c->mood == BOLD ? (c->end - c->cutoff) / 16 : 0;
    if (!qcow2_repack_co_run(c->repack, c->cutoff, c->errp) ||
        !co_visit_tables(c, co_move_table) || !co_flush_copies(c) ||
        !qcow2_shadow_co_put_trees(c->sh, c->trees, c->cutoff << c->s->cluster_bits, c->errp)) {
        return false;
    }
    co_move_refblocks(c);
    return qcow2_shadow_co_commit(c->sh, c->errp);
}

/* ---- a step -------------------------------------------------------------------------------- */

/* The file ends where the image does.  It is only space, so errors do not matter. */
static int64_t coroutine_fn co_cut_file(Compact *c, int64_t old_len)
{
    uint64_t end = qcow2_counts_co_used_end(c->sh->counts);
    int64_t new_len = end << c->s->cluster_bits;

    /* What could not be read may be in use. */
    if (c->sh->counts->err || new_len >= old_len || !qcow2_co_cut_at(c->bs, end)) {
        return 0;
    }
    return old_len - new_len;
}

/* No room was found, so nothing names what has been written behind the old end of the file. */
static int64_t coroutine_fn co_give_up_step(Compact *c, int64_t old_len)
{
    if (!c->sh->is_out_of_room) {
        return -EIO;
    }
    if (bdrv_co_getlength(c->bs->file->bs) > old_len) {
        bdrv_co_truncate(c->bs->file, old_len, false, PREALLOC_MODE_OFF, 0, NULL);
    }
    return -ENOSPC;
}

static int64_t coroutine_fn co_step(Compact *c, int64_t max_bytes)
{
    int64_t old_len = bdrv_co_getlength(c->bs->file->bs), max_moves, gain;

    if (old_len < 0) {
        error_setg_errno(c->errp, -old_len, "Could not get the length of the image file");
        return old_len;
    }
    c->end = qcow2_counts_co_used_end(c->sh->counts);
    max_moves = c->mood == HUMBLE ? HUMBLE_MOVES : max_bytes >> c->s->cluster_bits;
    co_choose_floor(c, MAX(max_moves, 1));
    c->trees = qcow2_shadow_co_trees(c->sh, c->errp);
    if (!c->trees || !co_mark_movable(c)) {
        return -EIO;
    }
    co_choose_cutoff(c);
    if (c->sh->counts->err) {
        error_propagate(c->errp, error_copy(c->sh->counts->err));
        return -EIO;
    }
    c->has_moved = false;
    if (c->cutoff < c->end) {
        if (!co_move_all(c)) {
            return co_give_up_step(c, old_len);
        }
        c->has_moved = true;
    }
    gain = co_cut_file(c, old_len);
    c->left = MAX(old_len - gain - (int64_t)(c->nb_used << c->s->cluster_bits), 0);
    return gain;
}

static void clear_step(Compact *c)
{
    g_clear_pointer(&c->trees, g_array_unref);
    g_clear_pointer(&c->data, g_hash_table_destroy);
    g_clear_pointer(&c->tables, g_hash_table_destroy);
    g_clear_pointer(&c->times, g_hash_table_destroy);
    g_clear_pointer(&c->tops, g_hash_table_destroy);
    g_clear_pointer(&c->repack, qcow2_repack_free);
    g_clear_pointer(&c->movable, g_free);
    g_clear_pointer(&c->packed, g_free);
    g_clear_pointer(&c->from, g_free);
    g_clear_pointer(&c->to, g_free);
    g_clear_pointer(&c->buf, qemu_vfree);
    c->nb_copies = 0;
}

/* A step in the boldest mood in which what it writes has room. */
static int64_t coroutine_fn co_try_step(Compact *c, int64_t max_bytes)
{
    int64_t gain = 0;

    for (c->mood = BOLD; c->mood < NB_MOODS; c->mood++) {
        g_autoptr(Qcow2Shadow) sh = c->sh = qcow2_shadow_co_lock(c->bs, c->errp);

        c->has_blocker = false;
        gain = sh ? co_step(c, max_bytes) : -EIO;
        qcow2_shadow_co_unlock(c->bs);
        clear_step(c);
        if (gain != -ENOSPC) {
            return gain;
        }
        g_clear_pointer(c->errp, error_free);
    }
    return 0;
}

int64_t coroutine_fn qcow2_co_compact(BlockDriverState *bs, int64_t max_bytes, int64_t *left,
                                      Error **errp)
{
    Error *local_err = NULL;
    Compact c = { .bs = bs, .s = bs->opaque, .errp = &local_err };
    int64_t gain, old_len = bdrv_co_getlength(bs->file->bs), new_len;

    if (c.s->has_data_file) {
        error_setg(errp, "Images with an external data file have nothing to compact");
        return -ENOTSUP;
    }
    gain = co_try_step(&c, max_bytes);
    if (gain == 0 && c.has_moved) {
        gain = co_try_step(&c, max_bytes);
    }
    if (gain == 0 && c.has_blocker && c.s->bitmaps->len > 0) {
        /* Perhaps it is a bitmap, which finds a place before the end when it is stored. */
        gain = qcow2_bitmaps_co_move(bs, &local_err) < 0 ? -EIO : co_try_step(&c, max_bytes);
    }
    new_len = bdrv_co_getlength(bs->file->bs);
    if (gain >= 0 && old_len >= 0 && new_len >= 0) {
        gain = MAX(old_len - new_len, 0);
    }
    *left = gain > 0 ? c.left : 0;
    error_propagate(errp, local_err);
    return gain;
}
