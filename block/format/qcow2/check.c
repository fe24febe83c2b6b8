/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking an image: count the references that its structures make, compare with the refcounts,
 * look at the COPIED flags.  Nothing is changed.
 *
 * Everything comes from the file and may be wrong; a place outside the file is reported and not
 * followed.  The node has no other user meanwhile.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

typedef struct Check {
    BlockDriverState *bs;
    Qcow2State *s;
    BdrvCheckResult *res;
    uint32_t *refs;        /* references found to each host cluster */
    uint64_t nb_clusters;  /* of the file */
    int64_t file_len;
} Check;

static void QEMU_PRINTF(2, 3) report(Check *c, const char *fmt, ...)
{
    g_autofree char *line = NULL;
    va_list ap;

    if (!c->res->report) {
        return;
    }
    va_start(ap, fmt);
    line = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    c->res->report(c->res->opaque, line);
}

/* ---- counting references ------------------------------------------------------------------- */

/* Every cluster that [@offset, @offset + @bytes) touches is referred to once more. */
static void add_refs(Check *c, uint64_t offset, uint64_t bytes)
{
    uint64_t first = offset >> c->s->cluster_bits, last;

    if (bytes == 0) {
        return;
    }
    if (offset > INT64_MAX - bytes) {
        report(c, "ERROR: reference to %" PRIu64 " bytes at %#" PRIx64 " is out of range", bytes,
               offset);
        c->res->corruptions++;
        return;
    }
    last = (offset + bytes - 1) >> c->s->cluster_bits;
    for (uint64_t i = first; i <= last; i++) {
        if (i >= c->nb_clusters) {
            report(c, "Warning: cluster offset=0x%" PRIx64 " is after the end of the image file, "
                   "can't properly check refcounts.", i << c->s->cluster_bits);
            c->res->check_errors++;
            return;
        }
        if (c->refs[i] == UINT32_MAX) {
            report(c, "ERROR: too many references to cluster %" PRIu64, i);
            c->res->corruptions++;
            return;
        }
        c->refs[i]++;
    }
}

/* For the fragmentation figures, which look at each L2 table alone. */
typedef struct FragInfo {
    bool wanted;
    uint64_t next_offset; /* where the next cluster would have to be; 0: anywhere */
} FragInfo;

static void count_fragmentation(Check *c, FragInfo *frag, uint64_t host, bool is_compressed)
{
    if (!frag->wanted) {
        return;
    }
    c->res->bfi.allocated_clusters++;
    if (is_compressed) {
        c->res->bfi.compressed_clusters++;
        c->res->bfi.fragmented_clusters++;
        return;
    }
    if (frag->next_offset && frag->next_offset != host) {
        c->res->bfi.fragmented_clusters++;
    }
    frag->next_offset = host + c->s->cluster_size;
}

static void check_compressed_entry(Check *c, uint64_t entry, FragInfo *frag)
{
    uint64_t offset;
    uint32_t len;

    if (entry & QCOW2_COPIED) {
        report(c, "ERROR: coffset=0x%" PRIx64 ": copied flag must never be set for compressed "
               "clusters", entry & c->s->cluster_size);
        entry &= ~QCOW2_COPIED;
        c->res->corruptions++;
    }
    qcow2_parse_compressed(c->s, entry, &offset, &len);
    add_refs(c, offset, len);
    count_fragmentation(c, frag, 0, true);
}

static void check_entry(Check *c, uint64_t entry, uint64_t bitmap, FragInfo *frag)
{
    uint64_t host = entry & QCOW2_OFFSET_MASK;
    bool is_zero_alloc;

    if (entry & QCOW2_COMPRESSED) {
        check_compressed_entry(c, entry, frag);
        return;
    }
    if (c->s->is_extended_l2) {
        uint32_t allocated = bitmap, zero = bitmap >> QCOW2_SUBCLUSTERS;

        if ((allocated & zero) || (allocated && !host)) {
            report(c, "ERROR offset=%" PRIx64 ": Allocated cluster is corrupted (subcluster bitmap "
                   "%016" PRIx64 ")", host, bitmap);
            c->res->corruptions++;
        }
    }
    if (!host) {
        return;
    }
    is_zero_alloc = !c->s->is_extended_l2 && (entry & QCOW2_ZERO);
    if (qcow2_offset_in_cluster(c->s, host)) {
        report(c, is_zero_alloc
                      ? "ERROR offset=%" PRIx64 ": Preallocated cluster is not properly aligned; "
                        "L2 entry corrupted."
                      : "ERROR offset=%" PRIx64 ": Data cluster is not properly aligned; L2 entry "
                        "corrupted.", host);
        c->res->corruptions++;
        if (is_zero_alloc) {
            return;
        }
    }
    count_fragmentation(c, frag, host, false);
    add_refs(c, host, c->s->cluster_size);
}

static int coroutine_fn co_read_l2(Check *c, uint64_t offset, uint64_t *table)
{
    int ret = bdrv_co_pread(c->bs->file, offset, c->s->cluster_size, table, 0);

    if (ret < 0) {
        report(c, "ERROR: I/O error in check_refcounts_l2");
        c->res->check_errors++;
    }
    return ret;
}

static int coroutine_fn co_check_l2(Check *c, uint64_t offset, uint64_t *table, bool is_active)
{
    const Qcow2State *s = c->s;
    unsigned words = s->l2_entry_size / 8;
    FragInfo frag = { .wanted = is_active };
    int ret = co_read_l2(c, offset, table);

    for (uint32_t i = 0; i < s->l2_size && ret >= 0; i++) {
        uint64_t entry = be64_to_cpu(table[i * words]);

        if (entry || words > 1) {
            check_entry(c, entry, words > 1 ? be64_to_cpu(table[i * words + 1]) : 0, &frag);
        }
    }
    return ret;
}

/* An L1 table, read from the file, and all below it. */
static int coroutine_fn co_check_l1(Check *c, uint64_t offset, uint32_t size, bool is_active)
{
    g_autofree uint64_t *l1 = g_try_new(uint64_t, MAX(size, 1));
    QEMU_AUTO_VFREE uint64_t *l2 = bdrv_try_blockalign(c->bs->file->bs, c->s->cluster_size);
    int ret;

    if (!l1 || !l2) {
        return -ENOMEM;
    }
    add_refs(c, offset, (uint64_t)size * 8);
    ret = bdrv_co_pread(c->bs->file, offset, (int64_t)size * 8, l1, 0);
    if (ret < 0) {
        report(c, "ERROR: I/O error in check_refcounts_l1");
        c->res->check_errors++;
        return ret;
    }
    for (uint32_t i = 0; i < size; i++) {
        uint64_t l2_offset = be64_to_cpu(l1[i]) & QCOW2_OFFSET_MASK;

        if (!l2_offset) {
            continue;
        }
        add_refs(c, l2_offset, c->s->cluster_size);
        if (qcow2_offset_in_cluster(c->s, l2_offset)) {
            report(c, "ERROR l2_offset=%" PRIx64 ": Table is not cluster aligned; L1 entry "
                   "corrupted", l2_offset);
            c->res->corruptions++;
        }
        if (l2_offset >= (uint64_t)c->file_len) {
            continue; /* reported; there is nothing to read */
        }
        ret = co_check_l2(c, l2_offset, l2, is_active);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static int coroutine_fn co_check_snapshots(Check *c)
{
    for (guint i = 0; i < c->s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(c->s->snapshots, Qcow2Snapshot, i);
        int ret;

        if (!qcow2_snapshot_l1_is_sane(c->s, sn)) {
            report(c, "ERROR snapshot %s (%s) l1_offset=%#" PRIx64 ", l1_size=%#" PRIx32 ": L1 "
                   "table is not cluster aligned or too large; snapshot table entry corrupted",
                   sn->id, sn->name, sn->l1_offset, sn->l1_size);
            c->res->corruptions++;
            continue;
        }
        if (c->s->header.version >= 3 && sn->extra_len < 16) {
            report(c, "ERROR snapshot %s (%s) is incomplete", sn->id, sn->name);
            c->res->corruptions++;
        }
        ret = co_check_l1(c, sn->l1_offset, sn->l1_size, false);
        if (ret < 0) {
            return ret;
        }
    }
    add_refs(c, c->s->header.snapshots_offset, c->s->snapshots_bytes);
    return 0;
}

static int coroutine_fn co_check_bitmap(Check *c, const Qcow2Bitmap *bm)
{
    uint64_t bytes = (uint64_t)bm->table_size * 8;
    g_autofree uint64_t *table = g_try_new(uint64_t, bm->table_size);
    int ret;

    add_refs(c, bm->table_offset, bytes);
    if (bm->table_offset + bytes > (uint64_t)c->nb_clusters << c->s->cluster_bits) {
        return 0; /* reported */
    }
    if (!table) {
        return -ENOMEM;
    }
    ret = bdrv_co_pread(c->bs->file, bm->table_offset, bytes, table, 0);
    if (ret < 0) {
        c->res->check_errors++;
        return ret;
    }
    for (uint32_t i = 0; i < bm->table_size; i++) {
        uint64_t entry = be64_to_cpu(table[i]);
        uint64_t offset = entry & QCOW2_OFFSET_MASK;

        if ((entry & ~(QCOW2_OFFSET_MASK | 1)) || (offset && (entry & 1)) ||
            qcow2_offset_in_cluster(c->s, offset)) {
            report(c, "ERROR bitmap '%s': table entry %" PRIu32 " is invalid: %#" PRIx64, bm->name,
                   i, entry);
            c->res->corruptions++;
        } else if (offset) {
            add_refs(c, offset, c->s->cluster_size);
        }
    }
    return 0;
}

static int coroutine_fn co_check_bitmaps(Check *c)
{
    Qcow2State *s = c->s;

    if (!s->ext.has_bitmaps || !(s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        return 0; /* without the bit the directory is lost as well */
    }
    add_refs(c, s->ext.bitmap_dir_offset, s->ext.bitmap_dir_size);
    for (guint i = 0; i < s->bitmaps->len; i++) {
        int ret = co_check_bitmap(c, &g_array_index(s->bitmaps, Qcow2Bitmap, i));

        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static void check_refblocks(Check *c)
{
    const Qcow2State *s = c->s;

    add_refs(c, s->reftable.offset, (uint64_t)s->reftable.size * 8);
    for (uint32_t i = 0; i < s->reftable.size; i++) {
        uint64_t offset = s->reftable.entries[i] & QCOW2_REFTABLE_MASK;

        if (!offset) {
            continue;
        }
        if (qcow2_offset_in_cluster(s, offset)) {
            report(c, "ERROR refcount block %" PRIu32 " is not cluster aligned; refcount table "
                   "entry corrupted", i);
            c->res->corruptions++;
            continue;
        }
        if (offset >> s->cluster_bits >= c->nb_clusters) {
            report(c, "ERROR refcount block %" PRIu32 " is outside image", i);
            c->res->corruptions++;
            continue;
        }
        add_refs(c, offset, s->cluster_size);
        if (c->refs[offset >> s->cluster_bits] != 1) {
            report(c, "ERROR refcount block %" PRIu32 " refcount=%" PRIu32, i,
                   c->refs[offset >> s->cluster_bits]);
            c->res->corruptions++;
        }
    }
}

static int coroutine_fn co_count_all(Check *c)
{
    Qcow2State *s = c->s;
    int ret;

    add_refs(c, 0, s->cluster_size);
    ret = co_check_l1(c, s->header.l1_offset, s->header.l1_size, true);
    if (ret >= 0) {
        ret = co_check_snapshots(c);
    }
    if (ret >= 0 && s->ext.has_crypto) {
        add_refs(c, s->ext.crypto_offset, s->ext.crypto_len);
    }
    if (ret >= 0) {
        ret = co_check_bitmaps(c);
    }
    if (ret >= 0) {
        check_refblocks(c);
    }
    return ret;
}

/* ---- comparing ----------------------------------------------------------------------------- */

static int coroutine_fn co_compare(Check *c)
{
    const Qcow2State *s = c->s;
    uint64_t highest = 0;

    for (uint64_t i = 0; i < c->nb_clusters; i++) {
        uint64_t count;
        int ret = qcow2_refcount_co_get(c->bs, i, &count);

        if (ret < 0) {
            report(c, "Can't get refcount for cluster %" PRIu64 ": %s", i, strerror(-ret));
            c->res->check_errors++;
            i |= s->refblock_size - 1; /* the whole block cannot be had */
            continue;
        }
        if (count || c->refs[i]) {
            highest = i;
        }
        if (count == c->refs[i]) {
            continue;
        }
        report(c, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu32,
               count > c->refs[i] ? "Leaked" : "ERROR", i, count, c->refs[i]);
        if (count > c->refs[i]) {
            c->res->leaks++;
        } else {
            c->res->corruptions++;
        }
    }
    c->res->image_end_offset = (highest + 1) << s->cluster_bits;
    return 0;
}

/* ---- COPIED flags -------------------------------------------------------------------------- */

/* Is refcount 1 of @host told truly by the flag in @entry?  Unknown counts pass. */
static bool coroutine_fn co_copied_is_right(Check *c, uint64_t host, uint64_t entry,
                                            uint64_t *count)
{
    if (host >> c->s->cluster_bits >= c->nb_clusters ||
        qcow2_refcount_co_get(c->bs, host >> c->s->cluster_bits, count) < 0) {
        return true;
    }
    return (*count == 1) == !!(entry & QCOW2_COPIED);
}

static int coroutine_fn co_check_copied_l2(Check *c, uint64_t offset, uint64_t *table)
{
    const Qcow2State *s = c->s;
    unsigned words = s->l2_entry_size / 8;
    int ret = co_read_l2(c, offset, table);

    for (uint32_t i = 0; i < s->l2_size && ret >= 0; i++) {
        uint64_t entry = be64_to_cpu(table[i * words]), count;
        uint64_t host = entry & QCOW2_OFFSET_MASK;

        if (!host || (entry & QCOW2_COMPRESSED) || co_copied_is_right(c, host, entry, &count)) {
            continue;
        }
        report(c, "ERROR OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%" PRIu64, entry,
               count);
        c->res->corruptions++;
    }
    return ret;
}

static int coroutine_fn co_check_copied(Check *c)
{
    const Qcow2State *s = c->s;
    QEMU_AUTO_VFREE uint64_t *l2 = bdrv_try_blockalign(c->bs->file->bs, s->cluster_size);

    if (!l2) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < s->l1.size; i++) {
        uint64_t entry = s->l1.entries[i], count;
        uint64_t offset = entry & QCOW2_OFFSET_MASK;
        int ret;

        if (!offset || offset >= (uint64_t)c->file_len) {
            continue;
        }
        if (!co_copied_is_right(c, offset, entry, &count)) {
            report(c, "ERROR OFLAG_COPIED L2 cluster: l1_index=%" PRIu32 " l1_entry=%" PRIx64
                   " refcount=%" PRIu64, i, entry, count);
            c->res->corruptions++;
        }
        ret = co_check_copied_l2(c, offset, l2);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

/* ---- all ----------------------------------------------------------------------------------- */

static int coroutine_fn co_check_locked(Check *c)
{
    int ret;

    c->nb_clusters = qcow2_nb_clusters(c->s, c->file_len);
    c->refs = g_try_new0(uint32_t, MAX(c->nb_clusters, 1));
    if (!c->refs) {
        c->res->check_errors++;
        return -ENOMEM;
    }
    c->res->bfi.total_clusters = qcow2_nb_clusters(c->s, c->s->header.size);
    ret = co_count_all(c);
    if (ret >= 0) {
        ret = co_compare(c);
    }
    if (ret >= 0) {
        ret = co_check_copied(c);
    }
    g_free(c->refs);
    return ret;
}

int coroutine_fn qcow2_co_check(BlockDriverState *bs, BdrvCheckResult *res, int fix)
{
    Qcow2State *s = bs->opaque;
    Check c = { .bs = bs, .s = s, .res = res };
    int ret;

    if (fix) {
        return -ENOTSUP;
    }
    /* What is changed in memory only would look like damage. */
    ret = bs->read_only ? 0 : qcow2_co_write_back(bs);
    if (ret >= 0 && !bs->read_only) {
        ret = qcow2_co_write_back(bs);
    }
    if (ret < 0) {
        return ret;
    }
    c.file_len = bdrv_co_getlength(bs->file->bs);
    if (c.file_len < 0) {
        return c.file_len;
    }
    CO_LOCK_GUARD(&s->lock);
    return co_check_locked(&c);
}
