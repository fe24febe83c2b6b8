/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking: tables that lie where something else does, too.
 *
 * Refcounts may be right and the image wrong all the same: a cluster counted twice may be an L2
 * table and the data of a guest.  So each table is asked whether those that may name it are all
 * that do: an L2 table the L1 entries that were found, everything else one.  That costs a look at
 * each cluster of metadata, once.
 *
 * Repair moves the table, not the other: both keep what they have, whichever of them was right.  It
 * is one shadow switch.  New refcount structures are made by repair.c; headers and bitmaps stay.
 */
#include "qemu/osdep.h"

#include "check.h"
#include "shadow.h"

/* A table that may lie somewhere else after repair, or not. */
typedef struct Kind {
    const char *name;
    bool can_move;
} Kind;

/* ---- finding ------------------------------------------------------------------------------- */

static void note_shared(Qcow2Check *c, const Kind *kind, uint64_t cluster)
{
    c->any_shared = true;
    if (c->doubtful->len < QCOW2_CHECK_MAX_DOUBTFUL) {
        g_array_append_val(c->doubtful, cluster);
    }
    if (qcow2_refarray_get(c->disk, cluster) < qcow2_check_refs(c, cluster)) {
        return; /* the comparison of the counts tells it */
    }
    qcow2_check_report(c, "ERROR %s at offset 0x%" PRIx64 ": something else lies there, too",
                       kind->name, cluster << c->s->cluster_bits);
    if (kind->can_move) {
        c->told_movable++;
    } else {
        c->told_fixed++;
    }
}

/* Is any cluster of a table used by more than the @times that may name it? */
static bool is_shared(Qcow2Check *c, const Kind *kind, uint64_t offset, uint64_t bytes,
                      uint64_t times)
{
    uint64_t first = offset >> c->s->cluster_bits;
    uint64_t end = bytes ? ((offset + bytes - 1) >> c->s->cluster_bits) + 1 : first;
    bool any = false;

    for (uint64_t i = MAX(first, c->first); i < MIN(end, c->end); i++) {
        if (unlikely(qcow2_check_refs(c, i) > times)) {
            note_shared(c, kind, i);
            any = true;
        }
    }
    return any;
}

static void find_shared_l2(Qcow2Check *c)
{
    static const Kind kind = { "L2 table", true };
    const uint64_t *offsets = (const uint64_t *)(void *)c->l2_offsets->data;
    const Qcow2CheckTable *tables = (const Qcow2CheckTable *)(void *)c->l2_tables->data;

    for (guint i = 0; i < c->l2_offsets->len; i++) {
        if (!qcow2_offset_in_cluster(c->s, offsets[i]) &&
            is_shared(c, &kind, offsets[i], c->s->cluster_size, tables[i].times)) {
            Qcow2SharedTable shared = { offsets[i], tables[i].times };

            g_array_append_val(c->shared_l2, shared);
        }
    }
}

static void find_shared_l1(Qcow2Check *c)
{
    static const Kind active = { "L1 table", true };
    static const Kind inactive = { "L1 table of a snapshot", true };
    const Qcow2State *s = c->s;

    c->moves_tables |= is_shared(c, &active, s->header.l1_offset,
                                 (uint64_t)s->header.l1_size * 8, 1);
    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, i);

        if (qcow2_snapshot_l1_is_sane(s, sn) &&
            is_shared(c, &inactive, sn->l1_offset, (uint64_t)sn->l1_size * 8, 1)) {
            g_array_append_val(c->shared_snapshots, i);
        }
    }
}

void qcow2_check_find_shared(Qcow2Check *c)
{
    static const Kind list = { "snapshot table", true }, reftable = { "refcount table", true };
    static const Kind header = { "header", false }, directory = { "bitmap directory", false };
    static const Kind crypto = { "encryption header", false };
    const Qcow2State *s = c->s;

    find_shared_l2(c);
    find_shared_l1(c);
    c->moves_list |= is_shared(c, &list, s->header.snapshots_offset, s->snapshots_bytes, 1);
    c->needs_rebuild |= is_shared(c, &reftable, s->header.reftable_offset,
                                  (uint64_t)s->header.reftable_clusters << s->cluster_bits, 1);
    is_shared(c, &header, 0, s->cluster_size, 1);
    if (s->ext.has_crypto) {
        is_shared(c, &crypto, s->ext.crypto_offset, s->ext.crypto_len, 1);
    }
    if (s->ext.has_bitmaps && (s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        is_shared(c, &directory, s->ext.bitmap_dir_offset, s->ext.bitmap_dir_size, 1);
    }
    c->moves_tables |= c->shared_l2->len || c->shared_snapshots->len || c->moves_list;
}

/* ---- moving -------------------------------------------------------------------------------- */

/* The L2 table gets a place of its own; returns that, or 0 with @errp set. */
static uint64_t coroutine_fn co_move_l2(Qcow2Shadow *sh, const Qcow2SharedTable *table,
                                        uint8_t *buf, Error **errp)
{
    const Qcow2State *s = sh->bs->opaque;
    uint64_t old = table->offset >> s->cluster_bits;
    int64_t offset = qcow2_shadow_co_alloc(sh, 1, errp);
    int ret;

    if (offset < 0) {
        return 0;
    }
    ret = bdrv_co_pread(sh->bs->file, table->offset, s->cluster_size, buf, 0);
    if (ret >= 0) {
        ret = bdrv_co_pwrite(sh->bs->file, offset, s->cluster_size, buf, 0);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not move the L2 table at %#" PRIx64, table->offset);
        return 0;
    }
    qcow2_counts_co_set(sh->counts, offset >> s->cluster_bits, table->times);
    qcow2_counts_co_set(sh->counts, old, qcow2_counts_co_get(sh->counts, old) - table->times);
    return offset | (table->times == 1 ? QCOW2_COPIED : 0);
}

/* All L1 entries that name a table of @moved name its new place. */
static void relink(GArray *trees, GHashTable *moved)
{
    for (guint t = 0; t < trees->len; t++) {
        Qcow2Tree *tree = &g_array_index(trees, Qcow2Tree, t);

        for (uint32_t i = 0; i < tree->size; i++) {
            uint64_t offset = tree->l1[i] & QCOW2_OFFSET_MASK;
            uint64_t new = GPOINTER_TO_SIZE(g_hash_table_lookup(moved, GSIZE_TO_POINTER(offset)));

            if (new) {
                tree->l1[i] = new;
                tree->is_changed = true;
            }
        }
    }
}

static bool coroutine_fn co_move_tables(Qcow2Check *c, Qcow2Shadow *sh, Error **errp)
{
    g_autoptr(GArray) trees = qcow2_shadow_co_trees(sh, errp);
    g_autoptr(GHashTable) moved = g_hash_table_new(g_direct_hash, g_direct_equal);
    g_autofree uint8_t *buf = g_malloc(c->s->cluster_size);

    if (!trees) {
        return false;
    }
    for (guint i = 0; i < c->shared_l2->len; i++) {
        const Qcow2SharedTable *table = &g_array_index(c->shared_l2, Qcow2SharedTable, i);
        uint64_t new = co_move_l2(sh, table, buf, errp);

        if (!new) {
            return false;
        }
        g_hash_table_insert(moved, GSIZE_TO_POINTER(table->offset), GSIZE_TO_POINTER(new));
    }
    relink(trees, moved);
    for (guint i = 0; i < c->shared_snapshots->len; i++) {
        guint index = g_array_index(c->shared_snapshots, guint, i);

        g_array_index(trees, Qcow2Tree, index + 1).is_changed = true;
    }
    /* The active L1 table gets a new place by any switch. */
    return qcow2_shadow_co_put_trees(sh, trees, c->moves_list ? c->s->header.snapshots_offset
                                                              : UINT64_MAX, errp) &&
           qcow2_shadow_co_commit(sh, errp);
}

/* New places are taken by the counts, so these must be right; and each reference known. */
static bool can_move_tables(const Qcow2Check *c)
{
    return c->moves_tables && (c->fix & BDRV_FIX_ERRORS) && !c->needs_rebuild &&
           !c->is_incomplete && !c->any_lost && !c->list_faults && !c->final->corruptions &&
           !c->final->check_errors;
}

static bool coroutine_fn co_try_move(Qcow2Check *c)
{
    Error *local_err = NULL;
    g_autoptr(Qcow2Shadow) sh = qcow2_shadow_co_begin(c->bs, &local_err);

    if (sh && co_move_tables(c, sh, &local_err)) {
        return true;
    }
    qcow2_check_report(c, "ERROR tables could not be moved: %s", error_get_pretty(local_err));
    error_free(local_err);
    return false;
}

void coroutine_fn qcow2_repair_co_shared(Qcow2Check *c)
{
    bool has_moved = c->was_rebuilt || (can_move_tables(c) && co_try_move(c));

    c->final->corruptions += c->told_fixed;
    if (has_moved) {
        c->final->corruptions_fixed += c->told_movable;
    } else {
        c->final->corruptions += c->told_movable;
    }
    /* What was not told now, because a count was wrong, is told once that is right. */
    c->wants_repeat |= c->fix && c->any_shared &&
                      (has_moved || c->told_movable + c->told_fixed == 0);
}
