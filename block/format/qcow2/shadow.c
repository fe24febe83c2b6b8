/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The shadow switch; see shadow.h. */
#include "qemu/osdep.h"

#include "qemu/bitmap.h"
#include "qemu/bits.h"
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

static Qcow2PlaceBlock co_place_block;

Qcow2Shadow *coroutine_fn qcow2_shadow_co_begin(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(Qcow2Shadow) sh = g_new0(Qcow2Shadow, 1);

    if (qcow2_is_lost(s)) {
        error_setg(errp, "Nobody knows which header the image has");
        return NULL;
    }
    sh->bs = bs;
    sh->header = s->header;
    sh->l1_size = s->l1.size;
    sh->l1 = g_try_new(uint64_t, MAX(s->l1.size, 1));
    if (!sh->l1) {
        error_setg(errp, "Not enough memory for an L1 table");
        return NULL;
    }
    memcpy(sh->l1, s->l1.entries, (size_t)s->l1.size * 8);
    sh->counts = qcow2_counts_co_new(bs, co_place_block, sh, errp);
    return sh->counts ? g_steal_pointer(&sh) : NULL;
}

void qcow2_shadow_free(Qcow2Shadow *sh)
{
    if (sh) {
        qcow2_counts_free(sh->counts);
        g_free(sh->l1);
        g_clear_pointer(&sh->snapshots, g_array_unref);
        g_free(sh);
    }
}

/* ---- clusters ------------------------------------------------------------------------------ */

/* Cover more clusters; what is new is free. */
static bool extend(Qcow2Shadow *sh, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    uint64_t nb_blocks = sh->counts->nb_blocks + sh->counts->nb_blocks / 16 + 1;

    if (nb_blocks << s->refblock_bits > (uint64_t)QCOW2_MAX_HOST_OFFSET >> s->cluster_bits ||
        nb_blocks * 8 > QCOW2_MAX_REFTABLE_BYTES) {
        error_setg(errp, "No free clusters are left in the image");
        return false;
    }
    if (!qcow2_counts_extend(sh->counts, nb_blocks)) {
        error_setg(errp, "Not enough memory for the refcounts of the image");
        return false;
    }
    return true;
}

/* What could not be read counts as 0: nothing may follow from that. */
static bool counts_are_known(const Qcow2Shadow *sh, Error **errp)
{
    if (sh->counts->err) {
        error_propagate(errp, error_copy(sh->counts->err));
    }
    return !sh->counts->err;
}

/* First of @n free clusters in a row, as far as the counts reach and one past it at most. */
static uint64_t coroutine_fn co_find_run(Qcow2Shadow *sh, uint64_t n)
{
    uint64_t first = n == 1 ? sh->cursor : n >= sh->run_len ? sh->run_cursor : 0;

    first = qcow2_counts_co_find_free(sh->counts, first, n);
    if (n > 1) {
        sh->run_len = n;
        sh->run_cursor = first;
    }
    return first;
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
    /* They are free: at most they could not be loaded. */
    qcow2_counts_co_add(sh->counts, first, n, 1);
    /* Whether or not the switch is made: they will have been written to. */
    s->fresh_from = MAX(s->fresh_from, first + n);
    return counts_are_known(sh, errp) ? 0 : -EIO;
}

int64_t coroutine_fn qcow2_shadow_co_alloc(Qcow2Shadow *sh, uint64_t n, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    uint64_t first = co_find_run(sh, n);
    int ret;

    if (!counts_are_known(sh, errp)) {
        return -EIO;
    }
    if (sh->limit && first + n > sh->limit && (n == 1 || n > sh->max_behind)) {
        error_setg(errp, "There is no room left before the end of the image");
        sh->is_out_of_room = true;
        return -ENOSPC;
    }
    while (first + n > sh->counts->end) {
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
    bool is_free = cluster < sh->counts->end && (!sh->limit || cluster < sh->limit) &&
                   qcow2_counts_co_is_free(sh->counts, cluster);

    return is_free && co_count_new(sh, cluster, 1, NULL) >= 0;
}

bool coroutine_fn qcow2_shadow_co_retire(Qcow2Shadow *sh, uint64_t offset, uint64_t bytes,
                                         Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    uint64_t first = offset >> s->cluster_bits;
    uint64_t n = bytes ? qcow2_nb_clusters(s, offset + bytes) - first : 0;

    if (first + n > sh->counts->end || qcow2_counts_co_add(sh->counts, first, n, -1) < 0) {
        return counts_are_known(sh, errp) && damaged(errp, "The refcount of metadata", offset);
    }
    return true;
}

/* ---- trees --------------------------------------------------------------------------------- */

/* The counts of so many bytes of an L2 table are asked for before the first of them is used. */
#define BYTES_AHEAD (16 * KiB)

/* To GCC a function that only prefetches has no effect, unless it is part of another. */
#define PREFETCHER __attribute__((always_inline)) static inline

PREFETCHER void prefetch_count(const Qcow2Counts *c, uint64_t cluster)
{
    const uint8_t *counts = cluster < c->end ? c->blocks[cluster >> c->block_bits].counts : NULL;

    if (counts) {
        __builtin_prefetch(counts + (cluster & ((UINT64_C(1) << c->block_bits) - 1)) * c->bits / 8);
    }
}

/* Where clusters are anywhere, each count is far from the one before. */
PREFETCHER void prefetch_counts(const Qcow2Shadow *sh, const uint8_t *at, const uint8_t *end)
{
    const Qcow2State *s = sh->bs->opaque;
    const int all = QCOW2_WORDS_AT_ONCE * 8 / s->l2_entry_size;

    for (; at < end; at += QCOW2_WORDS_AT_ONCE * 8) {
        uint64_t used = qcow2_used_entries(s, at);

        if (ctpop64(used) == all) {
            continue; /* very likely written one after the other */
        }
        for (; used; used &= used - 1) {
            uint64_t entry = ldq_be_p(at + ctz64(used) * 8);

            prefetch_count(sh->counts, (entry & QCOW2_OFFSET_MASK) >> s->cluster_bits);
        }
    }
}

typedef struct TreeCount {
    Qcow2Shadow *sh;
    Qcow2Window window;  /* what is outside is counted another time */
    int change;
    Error **errp;
} TreeCount;

static bool coroutine_fn co_count_run(const TreeCount *t, uint64_t offset, uint64_t bytes)
{
    Qcow2Shadow *sh = t->sh;
    Qcow2State *s = sh->bs->opaque;
    uint64_t first = MAX(offset >> s->cluster_bits, t->window.first);
    uint64_t end = (offset + bytes + s->cluster_size - 1) >> s->cluster_bits;
    int ret = 0;

    if (end > sh->counts->end) {
        return damaged(t->errp, "The reference to a cluster", offset);
    }
    end = MIN(end, t->window.end);
    if (first >= end) {
        return true;
    }
    ret = qcow2_counts_co_add(sh->counts, first, end - first, t->change);
    if (ret == -ERANGE) {
        error_setg(t->errp, "Refcounts of %u bit%s cannot count one more reference to the cluster "
                   "at %#" PRIx64, s->refcount_bits, s->refcount_bits > 1 ? "s" : "", offset);
        return false;
    }
    if (ret < 0) {
        return counts_are_known(sh, t->errp) &&
               damaged(t->errp, "The refcount of the cluster", offset);
    }
    for (uint64_t i = first; t->change < 0 && i < end; i++) {
        if (!qcow2_counts_co_get(sh->counts, i)) {
            qcow2_counts_co_drop(sh->counts, i);
        }
    }
    return true;
}

static bool coroutine_fn co_count_entry(const TreeCount *t, uint64_t entry)
{
    Qcow2State *s = t->sh->bs->opaque;
    uint64_t host = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_COMPRESSED) {
        uint32_t len;

        qcow2_parse_compressed(s, entry, &host, &len);
        return co_count_run(t, host, len);
    }
    if (qcow2_offset_in_cluster(s, host)) {
        return damaged(t->errp, "The reference to a cluster", host);
    }
    return !host || co_count_run(t, host, s->cluster_size);
}

static bool coroutine_fn co_count_table(const TreeCount *t, const Qcow2Place *table)
{
    Qcow2State *s = t->sh->bs->opaque;
    const uint8_t *end = table->buf + s->cluster_size;

    if (table->ret < 0 || table->offset >> s->cluster_bits >= t->sh->counts->end) {
        return qcow2_shadow_unreadable(t->errp, table);
    }
    qcow2_counts_co_trim(t->sh->counts);
    for (const uint8_t *at = table->buf; at < end; at += QCOW2_WORDS_AT_ONCE * 8) {
        if ((at - table->buf) % BYTES_AHEAD == 0) {
            prefetch_counts(t->sh, at, MIN(at + BYTES_AHEAD, end));
        }
        for (uint64_t used = qcow2_used_entries(s, at); used; used &= used - 1) {
            if (!co_count_entry(t, ldq_be_p(at + ctz64(used) * 8))) {
                return false;
            }
        }
    }
    return co_count_run(t, table->offset, s->cluster_size);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* No tree has an L2 table twice. */
static bool check_l1(const uint64_t *l1, uint32_t size, Error **errp)
{
    g_autofree uint64_t *sorted = g_try_new(uint64_t, MAX(size, 1));

    if (!sorted) {
        error_setg(errp, "Not enough memory for an L1 table");
        return false;
    }
    for (uint32_t i = 0; i < size; i++) {
        sorted[i] = l1[i] & QCOW2_OFFSET_MASK;
    }
    qsort(sorted, size, 8, compare_u64);
    for (uint32_t i = 1; i < size; i++) {
        if (sorted[i] && sorted[i] == sorted[i - 1]) {
            return damaged(errp, "The L2 table", sorted[i]);
        }
    }
    return true;
}

static bool coroutine_fn co_count_window(const TreeCount *t, const uint64_t *l1, uint32_t size)
{
    g_autoptr(Qcow2Walk) walk = qcow2_walk_new(t->sh->bs, l1, size);

    if (!walk) {
        error_setg(t->errp, "Not enough memory to read L2 tables");
        return false;
    }
    while (qcow2_walk_co_next(walk)) {
        for (uint32_t i = 0; i < walk->n; i++) {
            if (!co_count_table(t, &walk->places[i])) {
                return false;
            }
        }
    }
    return true;
}

bool coroutine_fn qcow2_shadow_co_count_tree(Qcow2Shadow *sh, const uint64_t *l1, uint32_t size,
                                             int change, Error **errp)
{
    TreeCount t = { .sh = sh, .change = change, .errp = errp };

    if (!check_l1(l1, size, errp)) {
        return false;
    }
    while (qcow2_counts_next_window(sh->counts, &t.window)) {
        if (!co_count_window(&t, l1, size)) {
            return false;
        }
    }
    return true;
}

/* ---- COPIED flags -------------------------------------------------------------------------- */

typedef struct Flags {
    Qcow2Shadow *sh;
    Qcow2Window window;     /* flags of clusters that are in it */
    uint64_t *twin;         /* or NULL */
    unsigned long *moved;   /* L1 entries whose tables have got new places */
    Error **errp;
} Flags;

/* What is past all counts is in none. */
static bool is_in_window(const Qcow2Shadow *sh, const Qcow2Window *window, uint64_t cluster)
{
    return cluster >= window->first && cluster < MIN(window->end, sh->counts->end);
}

/* The right flag in the entry at @at; true if it was wrong. */
static inline bool coroutine_fn co_fix_entry(const Flags *f, uint8_t *at)
{
    const Qcow2State *s = f->sh->bs->opaque;
    uint64_t entry = ldq_be_p(at), new = entry & ~QCOW2_COPIED;
    uint64_t cluster = (entry & QCOW2_OFFSET_MASK) >> s->cluster_bits;

    if (cluster && cluster < f->sh->counts->end && !(entry & QCOW2_COMPRESSED)) {
        if (!is_in_window(f->sh, &f->window, cluster)) {
            return false;
        }
        new |= qcow2_counts_co_get(f->sh->counts, cluster) == 1 ? QCOW2_COPIED : 0;
    }
    stq_be_p(at, new);
    return new != entry;
}

/* Right flags in @table; true if any was wrong. */
static bool coroutine_fn co_fix_table(const Flags *f, uint8_t *table)
{
    const Qcow2State *s = f->sh->bs->opaque;
    const uint8_t *end = table + s->cluster_size;
    bool changed = false;

    qcow2_counts_co_trim(f->sh->counts);
    for (uint8_t *at = table; at < end; at += QCOW2_WORDS_AT_ONCE * 8) {
        if ((at - table) % BYTES_AHEAD == 0) {
            prefetch_counts(f->sh, at, MIN(at + BYTES_AHEAD, end));
        }
        for (uint64_t used = qcow2_used_entries(s, at); used; used &= used - 1) {
            changed |= co_fix_entry(f, at + ctz64(used) * 8);
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

    if (new < 0 || !qcow2_shadow_co_retire(sh, place->offset, s->cluster_size, errp)) {
        return false;
    }
    if (twin) {
        if (!qcow2_shadow_co_retire(sh, place->offset, s->cluster_size, errp)) {
            return false;
        }
        /* It was counted twice at the old place. */
        qcow2_counts_co_add(sh->counts, new >> s->cluster_bits, 1, 1);
        twin[index] = new;
    }
    place->offset = new;
    return true;
}

static bool unwritten(Error **errp, int ret)
{
    error_setg_errno(errp, -ret, "Could not write L2 tables");
    return false;
}

static bool coroutine_fn co_fix_tables(const Flags *f, Qcow2Walk *walk)
{
    g_autofree Qcow2Place *changed = g_new(Qcow2Place, walk->n);
    Qcow2Shadow *sh = f->sh;
    size_t nb_changed = 0;
    int ret;

    for (uint32_t i = 0; i < walk->n; i++) {
        uint32_t index = walk->index[i];
        Qcow2Place place = walk->places[i];

        if (place.ret < 0) {
            return qcow2_shadow_unreadable(f->errp, &place);
        }
        if (co_fix_table(f, place.buf)) {
            if (!test_and_set_bit(index, f->moved) &&
                !co_move_table(sh, index, f->twin, &place, f->errp)) {
                return false;
            }
            changed[nb_changed++] = place;
        }
        sh->l1[index] = place.offset;
    }
    if (!counts_are_known(sh, f->errp)) {
        return false;
    }
    ret = qcow2_walk_co_write(walk, changed, nb_changed);
    return ret >= 0 || unwritten(f->errp, ret);
}

static bool coroutine_fn co_fix_window(const Flags *f)
{
    Qcow2Shadow *sh = f->sh;
    g_autoptr(Qcow2Walk) walk = qcow2_walk_new_writer(sh->bs, sh->l1, sh->l1_size);
    bool ok = true;
    int ret;

    if (!walk) {
        error_setg(f->errp, "Not enough memory to read L2 tables");
        return false;
    }
    while (ok && qcow2_walk_co_next(walk)) {
        ok = co_fix_tables(f, walk);
    }
    ret = qcow2_walk_co_finish(walk);
    return ok && (ret >= 0 || unwritten(f->errp, ret));
}

/* All tables are where they will be. */
static void coroutine_fn co_fix_l1(Qcow2Shadow *sh)
{
    const Qcow2State *s = sh->bs->opaque;
    Qcow2Window window = { 0 };

    while (qcow2_counts_next_window(sh->counts, &window)) {
        for (uint32_t i = 0; i < sh->l1_size; i++) {
            uint64_t cluster = (sh->l1[i] & QCOW2_OFFSET_MASK) >> s->cluster_bits;

            if (cluster && is_in_window(sh, &window, cluster) &&
                qcow2_counts_co_get(sh->counts, cluster) == 1) {
                sh->l1[i] |= QCOW2_COPIED;
            }
        }
        qcow2_counts_co_trim(sh->counts);
    }
}

bool coroutine_fn qcow2_shadow_co_fix_flags(Qcow2Shadow *sh, uint64_t *twin, Error **errp)
{
    g_autofree unsigned long *moved = bitmap_try_new(MAX(sh->l1_size, 1));
    Flags f = { .sh = sh, .twin = twin, .moved = moved, .errp = errp };

    if (!moved) {
        error_setg(errp, "Not enough memory for an L1 table");
        return false;
    }
    while (qcow2_counts_next_window(sh->counts, &f.window)) {
        if (!co_fix_window(&f)) {
            return false;
        }
    }
    co_fix_l1(sh);
    return counts_are_known(sh, errp);
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
    uint32_t padded = QEMU_ALIGN_UP(size, BDRV_SECTOR_SIZE / 8);
    g_autofree uint64_t *be = g_try_new0(uint64_t, padded);

    if (size == 0) {
        return 0; /* a disk of 0 bytes: nothing would refer to a cluster */
    }
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

/* The place of the new refcount table. */
typedef struct Layout {
    uint64_t offset;         /* 0: none yet */
    uint32_t clusters;
} Layout;

static bool coroutine_fn co_place_block(void *opaque, uint64_t index, Error **errp)
{
    Qcow2Shadow *sh = opaque;
    uint64_t old = sh->counts->blocks[index].place;
    int64_t new = qcow2_shadow_co_alloc(sh, 1, errp);
    Qcow2CountBlock *block = &sh->counts->blocks[index];

    if (new < 0) {
        return false;
    }
    if (block->is_placed) {
        /* Memory became short while a place was looked for. */
        return qcow2_shadow_co_retire(sh, new, sh->counts->block_bytes, errp);
    }
    block->place = new;
    block->is_placed = true;
    return !old || qcow2_shadow_co_retire(sh, old, sh->counts->block_bytes, errp);
}

/* A new place for each changed block.  To place one may change others: until none is left. */
static bool coroutine_fn co_place_blocks(Qcow2Shadow *sh, Error **errp)
{
    bool placed;

    do {
        placed = false;
        for (uint64_t i = 0; i < sh->counts->nb_blocks; i++) {
            const Qcow2CountBlock *block = &sh->counts->blocks[i];

            if (!block->is_changed || block->is_placed) {
                continue;
            }
            if (!co_place_block(sh, i, errp)) {
                return false;
            }
            placed = true;
        }
    } while (placed);
    return counts_are_known(sh, errp);
}

static uint64_t entries_in_use(const Qcow2Counts *counts)
{
    uint64_t n = counts->nb_blocks;

    while (n > 0 && !counts->blocks[n - 1].place) {
        n--;
    }
    return n;
}

static bool coroutine_fn co_lay_out(Qcow2Shadow *sh, Layout *lay, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;

    if (!qcow2_shadow_co_retire(sh, s->reftable.offset,
                                (uint64_t)s->header.reftable_clusters << s->cluster_bits, errp)) {
        return false;
    }
    for (;;) {
        uint32_t wanted;
        int64_t offset;

        if (!co_place_blocks(sh, errp)) {
            return false;
        }
        wanted = MAX(qcow2_nb_clusters(s, entries_in_use(sh->counts) * 8),
                     s->header.reftable_clusters);
        if (wanted <= lay->clusters) {
            return true;
        }
        if (lay->clusters &&
            !qcow2_shadow_co_retire(sh, lay->offset, (uint64_t)lay->clusters << s->cluster_bits,
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

/* Writes blocks and table; returns the table in host byte order. */
static uint64_t *coroutine_fn co_write_refcounts(Qcow2Shadow *sh, const Layout *lay, Error **errp)
{
    const Qcow2Counts *counts = sh->counts;
    size_t size = (size_t)lay->clusters * (counts->block_bytes / 8);
    g_autofree uint64_t *table = g_try_new0(uint64_t, size), *be = g_try_new0(uint64_t, size);
    int ret = table && be ? qcow2_counts_co_write(sh->counts) : -ENOMEM;

    for (size_t i = 0; ret >= 0 && i < MIN(size, counts->nb_blocks); i++) {
        table[i] = counts->blocks[i].place;
        be[i] = cpu_to_be64(table[i]);
    }
    if (ret >= 0) {
        ret = bdrv_co_pwrite(sh->bs->file, lay->offset, size * 8, be, 0);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write new refcounts");
        return NULL;
    }
    return g_steal_pointer(&table);
}

/* ---- commit: the switch -------------------------------------------------------------------- */

static bool coroutine_fn co_switch_header(Qcow2Shadow *sh, Error **errp)
{
    int ret = bdrv_co_flush(sh->bs->file->bs);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not flush new metadata");
        return false;
    }
    /* All fields that a switch may change, of both versions of the format. */
    ret = qcow2_header_co_switch(sh->bs, &sh->header, QCOW2_HDR_SIZE, QCOW2_V2_HEADER_LEN);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not update the image header");
    }
    return ret >= 0;
}

/* The state in memory becomes that of the new image; takes over the tables. */
static void coroutine_fn co_adopt(Qcow2Shadow *sh, const Layout *lay, uint64_t *reftable)
{
    Qcow2State *s = sh->bs->opaque;

    s->header = sh->header;
    g_free(s->l1.entries);
    s->l1 = (Qcow2Table){ g_steal_pointer(&sh->l1), sh->l1_size, sh->header.l1_offset, 0, 0 };
    g_free(s->reftable.entries);
    s->reftable = (Qcow2Table){ reftable, lay->clusters * (s->cluster_size / 8), lay->offset,
                                0, 0 };
    if (sh->snapshots) {
        qcow2_snapshots_clear(s);
        s->snapshots = g_steal_pointer(&sh->snapshots);
        s->snapshots_bytes = sh->snapshots_bytes;
    }
    qcow2_caches_renew(s);
    s->free_cluster_index = 0;
    qcow2_overlap_co_reload(sh->bs);
}

/* What nothing refers to any more, if the host is to be told; or NULL. */
static GArray *coroutine_fn co_find_dropped(Qcow2Shadow *sh)
{
    const Qcow2State *s = sh->bs->opaque;

    return s->opt.discard_passthrough[QCOW2_DISCARD_SNAPSHOT] ? qcow2_counts_co_dropped(sh->counts)
                                                             : NULL;
}

/* Only advice to the host: errors do not matter. */
static void coroutine_fn co_discard(Qcow2Shadow *sh, const GArray *runs)
{
    const Qcow2State *s = sh->bs->opaque;

    for (guint i = 0; runs && i < runs->len; i++) {
        const Qcow2ClusterRun *run = &g_array_index(runs, Qcow2ClusterRun, i);

        bdrv_co_pdiscard(sh->bs->file, (int64_t)run->first << s->cluster_bits,
                         (int64_t)run->n << s->cluster_bits);
    }
}

bool coroutine_fn qcow2_shadow_co_commit(Qcow2Shadow *sh, Error **errp)
{
    Qcow2State *s = sh->bs->opaque;
    Layout lay = { 0 };
    int64_t l1_offset = qcow2_shadow_co_write_l1(sh, sh->l1, sh->l1_size, errp);
    g_autofree uint64_t *reftable = NULL;
    g_autoptr(GArray) dropped = NULL;

    if (l1_offset < 0 ||
        !qcow2_shadow_co_retire(sh, s->l1.offset, (uint64_t)s->l1.size * 8, errp) ||
        !co_lay_out(sh, &lay, errp)) {
        return false;
    }
    dropped = co_find_dropped(sh);
    reftable = co_write_refcounts(sh, &lay, errp);
    if (!reftable || !counts_are_known(sh, errp)) {
        return false;
    }
    sh->header.l1_offset = l1_offset;
    sh->header.l1_size = sh->l1_size;
    sh->header.reftable_offset = lay.offset;
    sh->header.reftable_clusters = lay.clusters;
    if (!co_switch_header(sh, errp)) {
        return false;
    }
    co_adopt(sh, &lay, g_steal_pointer(&reftable));
    co_discard(sh, dropped);
    return true;
}
