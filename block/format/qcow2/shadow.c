/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The shadow switch; see shadow.h. */
#include "qemu/osdep.h"

#include "qemu/atomic.h"
#include "qemu/bitmap.h"
#include "shadow.h"

static bool damaged(Error **errp, const char *what, uint64_t offset)
{
    error_setg(errp, "%s at %#" PRIx64 " is damaged; check the image first", what, offset);
    return false;
}

bool qcow2_shadow_unreadable(Error **errp, const Qcow2Place *table)
{
    if (table->ret < 0 && table->ret != -EINVAL) {
        error_setg_errno(errp, -table->ret, "Could not read the L2 table at %#" PRIx64,
                         table->offset);
        return false;
    }
    return damaged(errp, "The L2 table", table->offset);
}

/* ---- begin and end ------------------------------------------------------------------------- */

static bool note_used(Qcow2Shadow *sh)
{
    sh->nb_bits = sh->counts->end;
    sh->used = bitmap_try_new(MAX(sh->nb_bits, 1));
    sh->dropped = bitmap_try_new(MAX(sh->nb_bits, 1));
    if (!sh->used || !sh->dropped) {
        return false;
    }
    for (uint64_t i = 0; i < sh->nb_bits; i++) {
        if (qcow2_refarray_get(sh->counts, i)) {
            set_bit(i, sh->used);
        }
    }
    return true;
}

Qcow2Shadow *coroutine_fn qcow2_shadow_co_begin(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    uint64_t nb_blocks = qcow2_refarray_used_blocks(s);
    g_autoptr(Qcow2Shadow) sh = g_new0(Qcow2Shadow, 1);

    sh->bs = bs;
    sh->header = s->header;
    if (nb_blocks > qcow2_refarray_max_blocks(s)) {
        error_setg(errp, "The refcounts of the image take more than %" PRIu64 " MiB, too much for "
                   "this operation", (uint64_t)(QCOW2_REFARRAY_MAX_BYTES / MiB));
        return NULL;
    }
    sh->l1_size = s->l1.size;
    sh->l1 = g_try_new(uint64_t, MAX(s->l1.size, 1));
    sh->counts = qcow2_refarray_co_load(bs, 0, nb_blocks);
    if (!sh->l1 || !sh->counts || !note_used(sh)) {
        error_setg(errp, "Not enough memory for the refcounts of the image");
        return NULL;
    }
    if (sh->counts->read_error < 0) {
        error_setg_errno(errp, -sh->counts->read_error, "Could not read the refcounts");
        return NULL;
    }
    if (sh->counts->nb_bad > 0) {
        uint64_t i = find_next_bit(sh->counts->bad, nb_blocks, 0);

        damaged(errp, "The refcount block", s->reftable.entries[i] & QCOW2_REFTABLE_MASK);
        return NULL;
    }
    memcpy(sh->l1, s->l1.entries, (size_t)s->l1.size * 8);
    return g_steal_pointer(&sh);
}

void qcow2_shadow_free(Qcow2Shadow *sh)
{
    if (sh) {
        qcow2_refarray_free(sh->counts);
        g_free(sh->used);
        g_free(sh->dropped);
        g_free(sh->l1);
        g_clear_pointer(&sh->snapshots, g_array_unref);
        g_free(sh);
    }
}

/* ---- clusters ------------------------------------------------------------------------------ */

static bool longer_bits(unsigned long **bits, uint64_t old_bits, uint64_t new_bits)
{
    unsigned long *new = bitmap_try_new(new_bits);

    if (!new) {
        return false;
    }
    if (old_bits) {
        bitmap_copy(new, *bits, old_bits);
    }
    g_free(*bits);
    *bits = new;
    return true;
}

/* Cover more clusters; what is new is free. */
static bool extend(Qcow2Shadow *sh, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    uint64_t nb_blocks = sh->counts->nb_blocks + sh->counts->nb_blocks / 16 + 1;
    uint64_t end = nb_blocks << s->refblock_bits;

    if (end > (uint64_t)QCOW2_MAX_HOST_OFFSET >> s->cluster_bits ||
        nb_blocks * 8 > QCOW2_MAX_REFTABLE_BYTES) {
        error_setg(errp, "No free clusters are left in the image");
        return false;
    }
    if (!qcow2_refarray_extend(sh->counts, nb_blocks) ||
        !longer_bits(&sh->used, sh->nb_bits, end) ||
        !longer_bits(&sh->dropped, sh->nb_bits, end)) {
        error_setg(errp, "Not enough memory for the refcounts of the image");
        return false;
    }
    sh->nb_bits = end;
    return true;
}

/* First of @n free clusters in a row, as far as the array reaches and one past it at most. */
static uint64_t find_run(const Qcow2Shadow *sh, uint64_t n)
{
    uint64_t first = n == 1 ? sh->cursor : 0;

    for (;;) {
        uint64_t i;

        first = MIN((uint64_t)find_next_zero_bit(sh->used, sh->nb_bits, first), sh->nb_bits);
        for (i = first; i < MIN(first + n, sh->nb_bits); i++) {
            if (test_bit(i, sh->used) || qcow2_refarray_get(sh->counts, i)) {
                break;
            }
        }
        if (i == first + n || i == sh->nb_bits) {
            return first;
        }
        first = i + 1;
    }
}

/* [@first, @first + @n), which are free, are counted once. */
static int coroutine_fn co_count_new(Qcow2Shadow *sh, uint64_t first, uint64_t n, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    uint64_t offset = first << s->cluster_bits;
    int ret;

    if (first > s->fresh_from + ((uint64_t)QCOW2_MAX_GAP >> s->cluster_bits)) {
        damaged(errp, "The refcount table", s->reftable.offset);
        return -EIO;
    }
    ret = qcow2_overlap_co_check(sh->bs, offset, n << s->cluster_bits);
    if (ret < 0) {
        error_setg(errp, "The refcounts call metadata at %#" PRIx64 " free", offset);
        return ret;
    }
    qcow2_refarray_add(sh->counts, first, n, 1);
    /* Whether or not the switch is made: they will have been written to. */
    s->fresh_from = MAX(s->fresh_from, first + n);
    return 0;
}

int64_t coroutine_fn qcow2_shadow_co_alloc(Qcow2Shadow *sh, uint64_t n, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    uint64_t first = find_run(sh, n);
    int ret;

    if (sh->limit && first + n > sh->limit && (n == 1 || n > sh->max_behind)) {
        error_setg(errp, "There is no room left before the end of the image");
        sh->is_out_of_room = true;
        return -ENOSPC;
    }
    while (first + n > sh->nb_bits) {
        if (!extend(sh, errp)) {
            return -EFBIG;
        }
    }
    ret = co_count_new(sh, first, n, errp);
    if (ret < 0) {
        return ret;
    }
    if (n == 1) {
        sh->cursor = first + 1;
    }
    return first << s->cluster_bits;
}

bool coroutine_fn qcow2_shadow_co_take(Qcow2Shadow *sh, uint64_t cluster)
{
    bool is_free = cluster < sh->nb_bits && (!sh->limit || cluster < sh->limit) &&
                   !test_bit(cluster, sh->used) && !qcow2_refarray_get(sh->counts, cluster);

    return is_free && co_count_new(sh, cluster, 1, NULL) >= 0;
}

bool qcow2_shadow_retire(Qcow2Shadow *sh, uint64_t offset, uint64_t bytes, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    uint64_t first = offset >> s->cluster_bits;
    uint64_t n = bytes ? qcow2_nb_clusters(s, offset + bytes) - first : 0;

    if (first + n > sh->nb_bits || qcow2_refarray_add(sh->counts, first, n, -1) < 0) {
        return damaged(errp, "The refcount of metadata", offset);
    }
    return true;
}

/* ---- trees --------------------------------------------------------------------------------- */

typedef struct TreeCount {
    Qcow2Shadow *sh;
    unsigned long *seen; /* L2 tables of this tree: no tree has one twice */
    int change;
    Error **errp;
} TreeCount;

static bool count_run(const TreeCount *t, uint64_t offset, uint64_t bytes)
{
    Qcow2Shadow *sh = t->sh;
    Qcow2State *s = sh->bs->opaque;
    uint64_t first = offset >> s->cluster_bits;
    uint64_t end = (offset + bytes + s->cluster_size - 1) >> s->cluster_bits;
    int ret = 0;

    if (end > sh->nb_bits) {
        return damaged(t->errp, "The reference to a cluster", offset);
    }
    ret = qcow2_refarray_add(sh->counts, first, end - first, t->change);
    if (ret == -ERANGE) {
        error_setg(t->errp, "Refcounts of %u bit%s cannot count one more reference to the cluster "
                   "at %#" PRIx64, s->refcount_bits, s->refcount_bits > 1 ? "s" : "", offset);
        return false;
    }
    if (ret < 0) {
        return damaged(t->errp, "The refcount of the cluster", offset);
    }
    for (uint64_t i = first; t->change < 0 && i < end; i++) {
        if (!qcow2_refarray_get(sh->counts, i)) {
            set_bit(i, sh->dropped);
        }
    }
    return true;
}

static bool count_entry(const TreeCount *t, uint64_t entry)
{
    Qcow2State *s = t->sh->bs->opaque;
    uint64_t host = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_COMPRESSED) {
        uint32_t len;

        qcow2_parse_compressed(s, entry, &host, &len);
        return count_run(t, host, len);
    }
    if (qcow2_offset_in_cluster(s, host)) {
        return damaged(t->errp, "The reference to a cluster", host);
    }
    return !host || count_run(t, host, s->cluster_size);
}

static bool count_table(const TreeCount *t, const Qcow2Place *table)
{
    Qcow2State *s = t->sh->bs->opaque;

    if (table->ret < 0 || table->offset >> s->cluster_bits >= t->sh->nb_bits ||
        test_and_set_bit(table->offset >> s->cluster_bits, t->seen)) {
        return qcow2_shadow_unreadable(t->errp, table);
    }
    for (uint32_t i = 0; i < s->l2_size; i++) {
        uint64_t entry = ldq_be_p(table->buf + (size_t)i * s->l2_entry_size);

        if (entry && !count_entry(t, entry)) {
            return false;
        }
    }
    return count_run(t, table->offset, s->cluster_size);
}

bool coroutine_fn qcow2_shadow_co_count_tree(Qcow2Shadow *sh, const uint64_t *l1, uint32_t size,
                                             int change, Error **errp)
{
    g_autoptr(Qcow2Walk) walk = qcow2_walk_new(sh->bs, l1, size);
    g_autofree unsigned long *seen = bitmap_try_new(MAX(sh->nb_bits, 1));
    TreeCount t = { sh, seen, change, errp };

    if (!walk || !seen) {
        error_setg(errp, "Not enough memory to read L2 tables");
        return false;
    }
    while (qcow2_walk_co_next(walk)) {
        for (uint32_t i = 0; i < walk->n; i++) {
            if (!count_table(&t, &walk->places[i])) {
                return false;
            }
        }
    }
    return true;
}

/* ---- COPIED flags -------------------------------------------------------------------------- */

/* What is past all counts is in use nowhere. */
static bool is_single(const Qcow2Shadow *sh, uint64_t cluster)
{
    return cluster < sh->nb_bits && qcow2_refarray_get(sh->counts, cluster) == 1;
}

/* Right flags in @table; true if any was wrong. */
static bool fix_table(const Qcow2Shadow *sh, uint8_t *table)
{
    Qcow2State *s = sh->bs->opaque;
    bool changed = false;

    for (uint32_t i = 0; i < s->l2_size; i++) {
        uint8_t *at = table + (size_t)i * s->l2_entry_size;
        uint64_t entry = ldq_be_p(at), new = entry & ~QCOW2_COPIED;
        uint64_t host = entry & QCOW2_OFFSET_MASK;

        if (entry == 0) {
            continue;
        }
        if (host && !(entry & QCOW2_COMPRESSED) &&
            is_single(sh, host >> s->cluster_bits)) {
            new |= QCOW2_COPIED;
        }
        if (new != entry) {
            stq_be_p(at, new);
            changed = true;
        }
    }
    return changed;
}

/* A new place for the L2 table of entry @index; to @place. */
static bool coroutine_fn co_move_table(Qcow2Shadow *sh, uint32_t index, uint64_t *twin,
                                       Qcow2Place *place, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    int64_t new = qcow2_shadow_co_alloc(sh, 1, errp);

    if (new < 0 || !qcow2_shadow_retire(sh, place->offset, s->cluster_size, errp)) {
        return false;
    }
    if (twin) {
        if (!qcow2_shadow_retire(sh, place->offset, s->cluster_size, errp)) {
            return false;
        }
        /* It was counted twice at the old place. */
        qcow2_refarray_add(sh->counts, new >> s->cluster_bits, 1, 1);
        twin[index] = new;
    }
    place->offset = new;
    return true;
}

static bool coroutine_fn co_fix_window(Qcow2Shadow *sh, const Qcow2Walk *walk, uint64_t *twin,
                                       Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    g_autofree Qcow2Place *moved = g_new(Qcow2Place, walk->n);
    size_t nb_moved = 0;
    int ret;

    for (uint32_t i = 0; i < walk->n; i++) {
        uint32_t index = walk->index[i];
        Qcow2Place place = walk->places[i];

        if (place.ret < 0) {
            return qcow2_shadow_unreadable(errp, &place);
        }
        if (fix_table(sh, place.buf)) {
            if (!co_move_table(sh, index, twin, &place, errp)) {
                return false;
            }
            moved[nb_moved++] = place;
        }
        sh->l1[index] = place.offset;
        if (is_single(sh, place.offset >> s->cluster_bits)) {
            sh->l1[index] |= QCOW2_COPIED;
        }
    }
    ret = qcow2_co_write_places(sh->bs, moved, nb_moved);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write L2 tables");
        return false;
    }
    return true;
}

bool coroutine_fn qcow2_shadow_co_fix_flags(Qcow2Shadow *sh, uint64_t *twin, Error **errp)
{
    g_autoptr(Qcow2Walk) walk = qcow2_walk_new(sh->bs, sh->l1, sh->l1_size);

    if (!walk) {
        error_setg(errp, "Not enough memory to read L2 tables");
        return false;
    }
    while (qcow2_walk_co_next(walk)) {
        if (!co_fix_window(sh, walk, twin, errp)) {
            return false;
        }
    }
    return true;
}

/* ---- tables -------------------------------------------------------------------------------- */

int64_t coroutine_fn qcow2_shadow_co_write_new(Qcow2Shadow *sh, const void *buf, size_t len,
                                               Error **errp)
{
    int64_t offset = qcow2_shadow_co_alloc(sh, qcow2_nb_clusters(sh->bs->opaque, MAX(len, 1)),
                                           errp);
    int ret = offset < 0 ? 0 : bdrv_co_pwrite(sh->bs->file, offset, len, buf, 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write a new table");
        return ret;
    }
    return offset;
}

int64_t coroutine_fn qcow2_shadow_co_write_l1(Qcow2Shadow *sh, const uint64_t *l1, uint32_t size,
                                              Error **errp)
{
    /* Whole sectors, so that nothing needs to be read. */
    uint32_t padded = QEMU_ALIGN_UP(MAX(size, 1), BDRV_SECTOR_SIZE / 8);
    g_autofree uint64_t *be = g_try_new0(uint64_t, padded);

    if (!be) {
        error_setg(errp, "Not enough memory for an L1 table");
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < size; i++) {
        be[i] = cpu_to_be64(l1[i]);
    }
    return qcow2_shadow_co_write_new(sh, be, (size_t)padded * 8, errp);
}

/* ---- commit: the refcounts ----------------------------------------------------------------- */

/* The new refcount table while it is being laid out. */
typedef struct Layout {
    uint64_t *table;         /* entries, host byte order */
    uint64_t size;           /* entries allocated in memory */
    unsigned long *placed;   /* blocks with a new place */
    uint64_t offset;         /* of the table in the file; 0: no place yet */
    uint32_t clusters;
} Layout;

static void layout_clear(Layout *lay)
{
    g_free(lay->table);
    g_free(lay->placed);
}

static bool layout_reserve(Layout *lay, uint64_t size, Error **errp)
{
    uint64_t *table;

    if (size <= lay->size) {
        return true;
    }
    table = g_try_new0(uint64_t, size);
    if (!table || !longer_bits(&lay->placed, lay->size, size)) {
        g_free(table);
        error_setg(errp, "Not enough memory for the refcount table");
        return false;
    }
    if (lay->size) {
        memcpy(table, lay->table, (size_t)lay->size * 8);
    }
    g_free(lay->table);
    lay->table = table;
    lay->size = size;
    return true;
}

static bool coroutine_fn co_place_block(Qcow2Shadow *sh, Layout *lay, uint64_t i, Error **errp)
{
    uint64_t old = lay->table[i] & QCOW2_REFTABLE_MASK;
    int64_t new = qcow2_shadow_co_alloc(sh, 1, errp);

    if (new < 0 || !layout_reserve(lay, sh->counts->nb_blocks, errp) ||
        (old && !qcow2_shadow_retire(sh, old, sh->counts->block_bytes, errp))) {
        return false;
    }
    lay->table[i] = new;
    set_bit(i, lay->placed);
    return true;
}

/* A new place for each changed block.  To place one may change others: until none is left. */
static bool coroutine_fn co_place_blocks(Qcow2Shadow *sh, Layout *lay, Error **errp)
{
    bool placed;

    do {
        placed = false;
        for (uint64_t i = 0; i < sh->counts->nb_blocks; i++) {
            if (!test_bit(i, sh->counts->dirty) ||
                (i < lay->size && test_bit(i, lay->placed))) {
                continue;
            }
            if (!layout_reserve(lay, sh->counts->nb_blocks, errp) ||
                !co_place_block(sh, lay, i, errp)) {
                return false;
            }
            placed = true;
        }
    } while (placed);
    return true;
}

static uint64_t entries_in_use(const Layout *lay)
{
    uint64_t n = lay->size;

    while (n > 0 && !lay->table[n - 1]) {
        n--;
    }
    return n;
}

static bool coroutine_fn co_lay_out(Qcow2Shadow *sh, Layout *lay, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;

    if (!layout_reserve(lay, MAX(s->reftable.size, sh->counts->nb_blocks), errp) ||
        !qcow2_shadow_retire(sh, s->reftable.offset,
                             (uint64_t)s->header.reftable_clusters << s->cluster_bits, errp)) {
        return false;
    }
    memcpy(lay->table, s->reftable.entries, (size_t)s->reftable.size * 8);
    lay->clusters = 0;
    for (;;) {
        uint32_t wanted;
        int64_t offset;

        if (!co_place_blocks(sh, lay, errp)) {
            return false;
        }
        wanted = MAX(qcow2_nb_clusters(s, entries_in_use(lay) * 8), s->header.reftable_clusters);
        if (wanted <= lay->clusters) {
            return true;
        }
        if (lay->clusters &&
            !qcow2_shadow_retire(sh, lay->offset, (uint64_t)lay->clusters << s->cluster_bits,
                                 errp)) {
            return false;
        }
        if ((uint64_t)wanted << s->cluster_bits > QCOW2_MAX_REFTABLE_BYTES) {
            error_setg(errp, "The refcount table would become too large");
            return false;
        }
        offset = qcow2_shadow_co_alloc(sh, wanted, errp);
        if (offset < 0) {
            return false;
        }
        lay->offset = offset;
        lay->clusters = wanted;
    }
}

static int coroutine_fn co_write_blocks(Qcow2Shadow *sh, const Layout *lay)
{
    g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(Qcow2Place));

    for (uint64_t i = 0; i < sh->counts->nb_blocks; i++) {
        if (test_bit(i, lay->placed)) {
            Qcow2Place place = {
                .offset = lay->table[i],
                .buf = sh->counts->counts + i * sh->counts->block_bytes,
            };

            g_array_append_val(places, place);
        }
    }
    return qcow2_co_write_places(sh->bs, (Qcow2Place *)places->data, places->len);
}

static bool coroutine_fn co_write_refcounts(Qcow2Shadow *sh, const Layout *lay, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    size_t size = (size_t)lay->clusters * (s->cluster_size / 8);
    g_autofree uint64_t *be = g_try_new0(uint64_t, size);
    int ret = be ? co_write_blocks(sh, lay) : -ENOMEM;

    for (size_t i = 0; ret >= 0 && i < MIN(size, lay->size); i++) {
        be[i] = cpu_to_be64(lay->table[i]);
    }
    if (ret >= 0) {
        ret = bdrv_co_pwrite(sh->bs->file, lay->offset, size * 8, be, 0);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write new refcounts");
    }
    return ret >= 0;
}

/* ---- commit: the switch -------------------------------------------------------------------- */

/* The fields that a switch changes, of both versions of the format. */
static int coroutine_fn co_put_fields(BlockDriverState *bs, const Qcow2Header *h)
{
    uint8_t fields[QCOW2_HEADER_LEN] = { 0 };

    qcow2_header_put_fields(h, fields);
    return qcow2_header_co_patch(bs, QCOW2_HDR_SIZE, fields + QCOW2_HDR_SIZE,
                                 QCOW2_V2_HEADER_LEN - QCOW2_HDR_SIZE);
}

static bool coroutine_fn co_switch_header(Qcow2Shadow *sh, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    int ret = bdrv_co_flush(sh->bs->file->bs);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not flush new metadata");
        return false;
    }
    ret = co_put_fields(sh->bs, &sh->header);
    if (ret >= 0) {
        return true;
    }
    error_setg_errno(errp, -ret, "Could not update the image header");
    if (co_put_fields(sh->bs, &s->header) < 0) {
        /* Either image may be the one in the file: what is free in one is used in the other. */
        qatomic_set(&s->is_corrupt, true);
    }
    return false;
}

/* The state in memory becomes that of the new image; takes over the tables. */
static void coroutine_fn co_adopt(Qcow2Shadow *sh, Layout *lay)
{
    Qcow2State *s = sh->bs->opaque;

    s->header = sh->header;
    g_free(s->l1.entries);
    s->l1 = (Qcow2Table){ g_steal_pointer(&sh->l1), sh->l1_size, sh->header.l1_offset, 0, 0 };
    g_free(s->reftable.entries);
    s->reftable = (Qcow2Table){ g_steal_pointer(&lay->table),
                                lay->clusters * (s->cluster_size / 8), lay->offset, 0, 0 };
    if (sh->snapshots) {
        qcow2_snapshots_clear(s);
        s->snapshots = g_steal_pointer(&sh->snapshots);
        s->snapshots_bytes = sh->snapshots_bytes;
    }
    qcow2_caches_renew(s);
    s->free_cluster_index = 0;
    qcow2_overlap_co_reload(sh->bs);
}

/* Only advice to the host: errors do not matter. */
static void coroutine_fn co_discard_dropped(Qcow2Shadow *sh)
{
    Qcow2State *s = sh->bs->opaque;
    uint64_t i = 0;

    if (!s->opt.discard_passthrough[QCOW2_DISCARD_SNAPSHOT]) {
        return;
    }
    while ((i = find_next_bit(sh->dropped, sh->nb_bits, i)) < sh->nb_bits) {
        uint64_t end = i;

        while (end < sh->nb_bits && test_bit(end, sh->dropped) &&
               !qcow2_refarray_get(sh->counts, end)) {
            end++;
        }
        if (end > i) {
            bdrv_co_pdiscard(sh->bs->file, (int64_t)i << s->cluster_bits,
                             (int64_t)(end - i) << s->cluster_bits);
        }
        i = end + 1;
    }
}

bool coroutine_fn qcow2_shadow_co_commit(Qcow2Shadow *sh, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    __attribute__((cleanup(layout_clear))) Layout lay = { 0 };
    int64_t l1_offset = qcow2_shadow_co_write_l1(sh, sh->l1, sh->l1_size, errp);

    if (l1_offset < 0 ||
        !qcow2_shadow_retire(sh, s->l1.offset, (uint64_t)s->l1.size * 8, errp) ||
        !co_lay_out(sh, &lay, errp) || !layout_reserve(&lay, (uint64_t)lay.clusters *
                                                       (s->cluster_size / 8), errp) ||
        !co_write_refcounts(sh, &lay, errp)) {
        return false;
    }
    sh->header.l1_offset = l1_offset;
    sh->header.l1_size = sh->l1_size;
    sh->header.reftable_offset = lay.offset;
    sh->header.reftable_clusters = lay.clusters;
    if (!co_switch_header(sh, errp)) {
        return false;
    }
    co_adopt(sh, &lay);
    co_discard_dropped(sh);
    return true;
}
