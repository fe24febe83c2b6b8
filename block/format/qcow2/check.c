/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking an image: count the references that its structures make, compare with the refcounts,
 * look at the COPIED flags; then repair, if that is asked for.
 *
 *   collect    all L2 tables, from the L1 tables (check-tables.c)
 *   count      references, window by window (check-refs.c), and compare
 *   repair     counts in place, or all refcounts anew; then the flags (repair.c); tables that lie
 *              where something else does move away (check-shared.c)
 *   finish     the dirty and corrupt bits go when no damage is left
 */
#include "qemu/osdep.h"

#include "bitmap.h"
#include "check.h"
#include "qemu/atomic.h"

/* A refcount block further past the end of the file is not repaired by making the file longer. */
#define MAX_FILE_GROWTH (1 * GiB)

/* Passes after the first: one for the counts, the list, places of tables, and the flags. */
#define MAX_REPEATS 4

/* Entries of a bitmap's table that are read at once, and bytes of such tables looked at in all. */
#define BITMAP_PART 8192u
#define MAX_BITMAP_TABLES (256 * MiB)

/* Lines in all; damage may be made to give millions. */
#define MAX_REPORTS 100000

void qcow2_check_report(Qcow2Check *c, const char *fmt, ...)
{
    g_autofree char *line = NULL;
    va_list ap;

    if (!c->res->report || c->nb_reports > MAX_REPORTS) {
        return;
    }
    if (++c->nb_reports > MAX_REPORTS) {
        c->res->report(c->res->opaque, "What else was found is counted, but not told one by one");
        return;
    }
    va_start(ap, fmt);
    line = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    c->res->report(c->res->opaque, line);
}

/* ---- snapshots and bitmaps ----------------------------------------------------------------- */

/* What is wrong with one entry of the table, whatever it names. */
static void check_snapshot_entry(Qcow2Check *c, const Qcow2Snapshot *sn, guint index)
{
    if (sn->extra_len > QCOW2_MAX_SNAPSHOT_EXTRA) {
        qcow2_check_report(c, "Discarding too much extra metadata in snapshot table entry %u "
                           "(%" PRIu32 " > %d)", index, sn->extra_len, QCOW2_MAX_SNAPSHOT_EXTRA);
        c->list_faults++;
    } else if (c->s->header.version >= 3 && sn->extra_len < 16) {
        qcow2_check_report(c, "%s snapshot table entry %u is incomplete",
                           c->fix & BDRV_FIX_ERRORS ? "Repairing" : "ERROR", index);
        c->list_faults++;
    }
}

/* Nothing is checked by a list of snapshots of which only a part is known. */
static int refuse_snapshot_list(const Qcow2SnapshotFaults *faults)
{
    uint32_t nb_gone = faults->nb_overhanging ? faults->nb_overhanging : faults->nb_too_big;

    if (faults->nb_overhanging) {
        error_report("ERROR snapshot table too large");
    } else if (faults->nb_extra) {
        error_report("ERROR failed to read the snapshot table: Too much extra metadata in snapshot "
                     "table entry %" PRIu32, faults->first_extra);
        error_printf("You can force-remove this extra metadata with qemu-img check -r all\n");
        return -EFBIG;
    } else {
        error_report("ERROR failed to read the snapshot table: Snapshot table is too big");
    }
    error_printf("You can force-remove all %" PRIu32 " overhanging snapshots with qemu-img check "
                 "-r all\n", nb_gone);
    return -EFBIG;
}

static int check_snapshot_list(Qcow2Check *c)
{
    const Qcow2SnapshotFaults *faults = &c->s->snapshot_faults;

    if ((faults->nb_overhanging || faults->nb_too_big || faults->nb_extra) &&
        !(c->fix & BDRV_FIX_ERRORS)) {
        return refuse_snapshot_list(faults);
    }
    if (faults->nb_overhanging) {
        qcow2_check_report(c, "Discarding %" PRIu32 " overhanging snapshots",
                           faults->nb_overhanging);
    }
    if (faults->nb_too_big) {
        qcow2_check_report(c, "Discarding %" PRIu32 " overhanging snapshots (snapshot table is too "
                           "big)", faults->nb_too_big);
    }
    c->list_faults = (uint64_t)faults->nb_overhanging + faults->nb_too_big;
    for (guint i = 0; i < c->s->snapshots->len; i++) {
        check_snapshot_entry(c, &g_array_index(c->s->snapshots, Qcow2Snapshot, i), i);
    }
    c->replaces_list = c->list_faults && (c->fix & BDRV_FIX_ERRORS);
    return 0;
}

static void check_snapshots(Qcow2Check *c)
{
    const Qcow2State *s = c->s;

    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, i);

        if (qcow2_offset_in_cluster(s, sn->l1_offset)) {
            qcow2_check_report(c, "ERROR snapshot %s (%s) l1_offset=%#" PRIx64 ": L1 table is not "
                               "cluster aligned; snapshot table entry corrupted", sn->id, sn->name,
                               sn->l1_offset);
            c->res->corruptions++;
        } else if (sn->l1_offset >= QCOW2_MAX_HOST_OFFSET) {
            qcow2_check_report(c, "ERROR snapshot %s (%s) l1_offset=%#" PRIx64 ": L1 table is "
                               "too far; snapshot table entry corrupted", sn->id, sn->name,
                               sn->l1_offset);
            c->res->corruptions++;
        } else if (!qcow2_snapshot_l1_is_sane(s, sn)) {
            qcow2_check_report(c, "ERROR snapshot %s (%s) l1_size=%#" PRIx32 ": L1 table is too "
                               "large; snapshot table entry corrupted", sn->id, sn->name,
                               sn->l1_size);
            c->res->corruptions++;
        }
    }
}

static void count_snapshot_list(Qcow2Check *c)
{
    uint64_t bytes = c->s->snapshots_bytes;

    /* One that is replaced: nothing else may take the place of what is there until then. */
    if (c->replaces_list) {
        bytes = qcow2_check_snapshots_in_file(c);
    }
    qcow2_check_add(c, c->s->header.snapshots_offset, bytes, 1);
}

static void check_bitmap_entry(Qcow2Check *c, const Qcow2Bitmap *bm, uint32_t index, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;

    if ((entry & ~(QCOW2_OFFSET_MASK | 1)) || (offset && (entry & 1)) ||
        qcow2_offset_in_cluster(c->s, offset)) {
        qcow2_check_report(c, "ERROR bitmap '%s': table entry %" PRIu32 " is invalid: %#" PRIx64,
                           bm->name, index, entry);
        c->res->corruptions++;
    } else if (offset) {
        qcow2_check_add(c, offset, c->s->cluster_size, 1);
    }
}

static int coroutine_fn co_check_bitmap(Qcow2Check *c, const Qcow2Bitmap *bm)
{
    uint64_t bytes = (uint64_t)bm->table_size * 8;
    g_autofree uint64_t *part = NULL;

    qcow2_check_add(c, bm->table_offset, bytes, 1);
    if (bm->table_offset + bytes > c->nb_clusters << c->s->cluster_bits) {
        return 0; /* reported */
    }
    part = g_try_new(uint64_t, BITMAP_PART);
    for (uint32_t i = 0, n; i < bm->table_size; i += n) {
        int ret;

        n = MIN(BITMAP_PART, bm->table_size - i);
        ret = part ? bdrv_co_pread(c->bs->file, bm->table_offset + i * UINT64_C(8), n * 8, part, 0)
                   : -ENOMEM;
        if (ret < 0) {
            c->res->check_errors++;
            return ret;
        }
        for (uint32_t k = 0; k < n; k++) {
            check_bitmap_entry(c, bm, i + k, be64_to_cpu(part[k]));
        }
    }
    return 0;
}

static int coroutine_fn co_check_bitmaps(Qcow2Check *c)
{
    Qcow2State *s = c->s;
    uint64_t bytes = 0;
    int ret = 0;

    if (!s->ext.has_bitmaps || !(s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        return 0; /* without the bit the directory is lost as well */
    }
    qcow2_check_add(c, s->ext.bitmap_dir_offset, s->ext.bitmap_dir_size, 1);
    for (guint i = 0; i < s->bitmaps->len && ret >= 0; i++) {
        const Qcow2Bitmap *bm = &g_array_index(s->bitmaps, Qcow2Bitmap, i);

        bytes += (uint64_t)bm->table_size * 8;
        if (bytes > MAX_BITMAP_TABLES) {
            qcow2_check_report(c, "ERROR: the tables of the bitmaps take more than %" PRIu64
                               " MiB; those left are not checked",
                               (uint64_t)(MAX_BITMAP_TABLES / MiB));
            c->res->check_errors++;
            c->is_incomplete = true;
            break;
        }
        ret = co_check_bitmap(c, bm);
    }
    return ret;
}

/* ---- refcount structures ------------------------------------------------------------------- */

/* The block at @offset is past the end; true if the file is long enough now. */
static bool coroutine_fn co_grow_file(Qcow2Check *c, uint64_t offset)
{
    Error *local_err = NULL;
    int64_t len;

    if (offset > (uint64_t)c->file_len + MAX_FILE_GROWTH) {
        qcow2_check_report(c, "ERROR could not resize image: the refcount block is too far past "
                           "its end");
        return false;
    }
    if (bdrv_co_truncate(c->bs->file, offset + c->s->cluster_size, false, PREALLOC_MODE_OFF, 0,
                         &local_err) < 0) {
        qcow2_check_report(c, "ERROR could not resize image: %s", error_get_pretty(local_err));
        error_free(local_err);
        return false;
    }
    len = bdrv_co_getlength(c->bs->file->bs);
    if (len < 0) {
        return false;
    }
    c->file_len = len;
    c->nb_clusters = qcow2_nb_clusters(c->s, len);
    return true;
}

static void coroutine_fn co_check_outside(Qcow2Check *c, uint32_t index, uint64_t offset)
{
    bool repairs = c->fix & BDRV_FIX_ERRORS;

    qcow2_check_report(c, "%s refcount block %" PRIu32 " is outside image",
                       repairs ? "Repairing" : "ERROR", index);
    if (!repairs) {
        c->res->corruptions++;
    } else if (co_grow_file(c, offset)) {
        c->res->corruptions_fixed++;
        qcow2_check_add(c, offset, c->s->cluster_size, 1);
    } else {
        c->res->corruptions++;
        c->needs_rebuild = true;
    }
}

/* The block of entry @index, whose place is good. */
static void check_refblock(Qcow2Check *c, uint32_t index, uint64_t offset)
{
    uint64_t cluster = offset >> c->s->cluster_bits;

    qcow2_check_add(c, offset, c->s->cluster_size, 1);
    if (!qcow2_check_in_window(c, cluster) || qcow2_check_refs(c, cluster) == 1) {
        return;
    }
    /* In a later window this is news. */
    BdrvCheckResult *pass = c->res;

    c->res = c->final;
    qcow2_check_report(c, "ERROR refcount block %" PRIu32 " refcount=%" PRIu64, index,
                       qcow2_check_refs(c, cluster));
    c->res->corruptions++;
    c->res = pass;
    c->needs_rebuild = true;
}

static void coroutine_fn co_check_refblocks(Qcow2Check *c)
{
    const Qcow2State *s = c->s;

    for (uint32_t i = 0; i < s->reftable.size; i++) {
        uint64_t entry = s->reftable.entries[i], offset = entry & QCOW2_REFTABLE_MASK;

        if (entry & ~QCOW2_REFTABLE_MASK) {
            qcow2_check_report(c, "ERROR refcount table entry %" PRIu32 " has reserved bits set",
                               i);
            c->res->corruptions++;
            c->needs_rebuild = true;
            continue;
        }
        if (!offset) {
            continue;
        }
        if (qcow2_offset_in_cluster(s, offset)) {
            qcow2_check_report(c, "ERROR refcount block %" PRIu32 " is not cluster aligned; "
                               "refcount table entry corrupted", i);
            c->res->corruptions++;
            c->needs_rebuild = true;
        } else if (offset >> s->cluster_bits >= c->nb_clusters) {
            co_check_outside(c, i, offset);
        } else {
            check_refblock(c, i, offset);
        }
    }
}

/* ---- counting, comparing ------------------------------------------------------------------- */

static int coroutine_fn co_count_all(Qcow2Check *c)
{
    Qcow2State *s = c->s;
    int ret;

    qcow2_check_add(c, 0, s->cluster_size, 1);
    ret = qcow2_check_co_tables(c);
    if (ret < 0) {
        return ret;
    }
    check_snapshots(c);
    count_snapshot_list(c);
    qcow2_check_add(c, s->header.reftable_offset,
                    (uint64_t)s->header.reftable_clusters << s->cluster_bits, 1);
    if (s->ext.has_crypto) {
        qcow2_check_add(c, s->ext.crypto_offset, s->ext.crypto_len, 1);
    }
    ret = co_check_bitmaps(c);
    if (ret >= 0) {
        co_check_refblocks(c);
        c->is_counted = true;
    }
    return ret;
}

int coroutine_fn qcow2_check_co_windows(Qcow2Check *c, bool tell, Qcow2CheckVisit *visit,
                                        void *opaque)
{
    uint64_t cluster = 0;
    int ret = 0;

    c->nb_windows = 0;
    do {
        BdrvCheckResult silent = { 0 };

        c->res = tell && cluster == 0 ? c->final : &silent;
        if (!c->is_counted || c->first != cluster) {
            ret = qcow2_check_co_window(c, cluster);
            ret = ret < 0 ? ret : co_count_all(c);
        }
        c->res = c->final;
        ret = ret < 0 ? ret : visit(c, opaque);
    } while (ret >= 0 && qcow2_check_next_window(c, &cluster));
    return ret;
}

/* A block that could not be read: what it counts is not known. */
static void report_unreadable(Qcow2Check *c, uint64_t cluster, uint64_t end)
{
    qcow2_check_report(c, "Can't get refcount for cluster %" PRIu64 ": %s", cluster,
                       strerror(EIO));
    c->counts.check_errors += end - cluster;
}

static void compare_one(Qcow2Check *c, uint64_t cluster, uint64_t count, uint64_t refs)
{
    qcow2_check_report(c, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
                       count > refs ? "Leaked" : "ERROR", cluster, count, refs);
    if (count > refs) {
        c->counts.leaks++;
    } else {
        c->counts.corruptions++;
    }
    if (count == 0) {
        c->needs_rebuild = true;
    } else if (count < refs && c->doubtful->len < QCOW2_CHECK_MAX_DOUBTFUL) {
        g_array_append_val(c->doubtful, cluster);
    }
}

/* Are the counts of 16 clusters right?  Large ones, which may be kept elsewhere, are not seen. */
static bool are_right(const uint16_t *refs, const uint8_t *counts)
{
    uint64_t differ = 0;

    for (int i = 0; i < 4; i++) {
        uint64_t found = ldq_he_p(refs + i * 4);

        /* In each 16 bits of a small one, the byte that is not zero is the other one on disk. */
        differ |= (found & UINT64_C(0xff00ff00ff00ff00)) | (found << 8 ^ ldq_he_p(counts + i * 8));
    }
    return differ == 0;
}

/* Skip clusters from @first on whose counts are right; returns the first left. */
static uint64_t skip_right(Qcow2Check *c, uint64_t first, uint64_t to)
{
    bool can_skip = c->disk->bits == 16 && !HOST_BIG_ENDIAN;
    uint64_t end = first, used;

    while (can_skip && end + 16 <= to &&
           are_right(&c->refs[end - c->first], c->disk->counts + (end - c->first) * 2)) {
        end += 16;
    }
    used = end;
    while (used > first && !c->refs[used - 1 - c->first]) {
        used--;
    }
    if (used > first) {
        c->highest = used - 1;
    }
    return end;
}

static int coroutine_fn co_compare(Qcow2Check *c, void *opaque)
{
    qcow2_check_find_shared(c);
    for (uint64_t block = 0; block < c->disk->nb_blocks; block++) {
        uint64_t from = c->first + (block << c->s->refblock_bits);
        uint64_t to = MIN(from + c->s->refblock_size, c->nb_clusters + 1);

        if (from < to && qcow2_check_block_is_lost(c, block)) {
            report_unreadable(c, from, to);
            continue;
        }
        for (uint64_t i = from; (i = skip_right(c, i, to)) < to; i++) {
            uint64_t refs = qcow2_check_refs(c, i), count = qcow2_refarray_get(c->disk, i);

            if (!(refs | count) || (i == c->nb_clusters && !refs)) {
                continue; /* leaks past the end of the file cost nothing */
            }
            c->highest = i;
            if (unlikely(refs != count)) {
                compare_one(c, i, count, refs);
            }
        }
    }
    return 0;
}

/* ---- repairing ----------------------------------------------------------------------------- */

static void add_counts(Qcow2Check *c)
{
    c->final->leaks += c->counts.leaks;
    c->final->corruptions += c->counts.corruptions;
    c->final->check_errors += c->counts.check_errors;
}

/* New refcounts; all is found again, and counted again. */
static int coroutine_fn co_rebuild_once(Qcow2Check *c)
{
    int64_t total_clusters = c->final->bfi.total_clusters;
    int ret = qcow2_repair_co_rebuild(c);

    if (ret < 0) {
        return ret;
    }
    c->counts = (BdrvCheckResult){ 0 };
    c->final->leaks = c->final->corruptions = 0;
    c->needs_rebuild = false;
    c->was_rebuilt = true;
    c->highest = 0;
    memset(&c->final->bfi, 0, sizeof(c->final->bfi));
    c->final->bfi.total_clusters = total_clusters;
    qcow2_check_drop_window(c);
    /* The old structures are leaks now, made by us: they do not count as repaired damage. */
    qcow2_check_free_tables(c);
    ret = qcow2_check_co_collect(c);
    return ret < 0 ? ret : qcow2_check_co_windows(c, true, qcow2_repair_co_counts, NULL);
}

static int coroutine_fn co_rebuild_and_recount(Qcow2Check *c)
{
    BdrvCheckResult old = *c->final;
    int fix = c->fix, ret;

    qcow2_check_report(c, "Rebuilding refcount structure");
    old.leaks += c->counts.leaks;
    old.corruptions += c->counts.corruptions;
    c->fix = fix & BDRV_FIX_LEAKS;
    ret = co_rebuild_once(c);
    if (ret >= 0 && c->needs_rebuild) {
        /* What was past the end of the file is within it now, where nothing counts it. */
        ret = co_rebuild_once(c);
    }
    c->fix = fix;
    if (ret < 0) {
        return ret;
    }
    if (c->needs_rebuild) {
        qcow2_check_report(c, "ERROR rebuilt refcount structure is still broken");
    }
    c->final->leaks_fixed = old.leaks_fixed + MAX(old.leaks - c->final->leaks, 0);
    c->final->corruptions_fixed = old.corruptions_fixed +
                                  MAX(old.corruptions - c->final->corruptions, 0);
    return 0;
}

static int coroutine_fn co_repair_refcounts(Qcow2Check *c)
{
    if (c->is_incomplete && c->fix) {
        qcow2_check_report(c, "ERROR not all references are known, so nothing is repaired");
        add_counts(c);
        return -EFBIG;
    }
    if (c->needs_rebuild && (c->fix & BDRV_FIX_ERRORS)) {
        return co_rebuild_and_recount(c);
    }
    if (c->fix && c->needs_rebuild) {
        qcow2_check_report(c, "ERROR need to rebuild refcount structures");
        return -EIO;
    }
    if (!c->fix || !(c->counts.leaks || c->counts.corruptions)) {
        add_counts(c);
        return 0;
    }
    c->final->check_errors += c->counts.check_errors;
    return qcow2_check_co_windows(c, false, qcow2_repair_co_counts, NULL);
}

/* ---- all ----------------------------------------------------------------------------------- */

static int coroutine_fn co_clear_bits(Qcow2Check *c)
{
    Qcow2State *s = c->s;
    uint64_t bits = s->header.incompatible & (QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT);
    int ret;

    if (qcow2_is_lost(s)) {
        return -EIO;
    }
    if (!c->fix || c->final->check_errors || c->final->corruptions || c->wants_repeat) {
        return 0;
    }
    ret = bdrv_co_flush(c->bs->file->bs);
    if (ret >= 0 && bits) {
        ret = qcow2_header_co_set_incompatible(c->bs, 0, bits);
    }
    if (ret >= 0) {
        qatomic_set(&s->is_corrupt, false);
    }
    return ret;
}

static int coroutine_fn co_check_locked(Qcow2Check *c)
{
    int ret;

    c->nb_clusters = qcow2_nb_clusters(c->s, c->file_len);
    c->res->bfi.total_clusters = qcow2_nb_clusters(c->s, c->s->header.size);
    ret = check_snapshot_list(c);
    if (ret >= 0) {
        ret = qcow2_check_co_collect(c);
    }
    if (ret >= 0) {
        ret = qcow2_check_co_windows(c, true, co_compare, NULL);
    }
    if (ret >= 0) {
        ret = co_repair_refcounts(c);
    }
    if (ret >= 0 && (c->fix || c->bad_flags)) {
        ret = qcow2_repair_co_flags(c);
    }
    if (ret >= 0 && (c->fix & BDRV_FIX_ERRORS)) {
        ret = qcow2_repair_co_tell_affected(c);
    }
    if (c->fix) {
        qcow2_repair_co_reset(c);
    }
    if (ret >= 0 && c->any_shared) {
        qcow2_repair_co_shared(c);
    }
    if (ret >= 0 && c->list_faults) {
        ret = qcow2_repair_co_snapshot_list(c);
    }
    /* What lay past the end of the file may lie within it now. */
    c->wants_repeat |= c->fix && (c->was_rebuilt || c->file_len != c->first_len);
    c->final->image_end_offset = (c->highest + 1) << c->s->cluster_bits;
    return ret < 0 ? ret : co_clear_bits(c);
}

static int coroutine_fn co_check_once(BlockDriverState *bs, BdrvCheckResult *res, int fix,
                                      bool *wants_repeat)
{
    Qcow2Check c = { .bs = bs, .s = bs->opaque, .res = res, .final = res, .fix = fix };
    int ret;

    c.file_len = bdrv_co_getlength(bs->file->bs);
    if (c.file_len < 0) {
        return c.file_len;
    }
    c.first_len = c.file_len;
    c.doubtful = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    c.shared_l2 = g_array_new(FALSE, FALSE, sizeof(Qcow2SharedTable));
    c.shared_snapshots = g_array_new(FALSE, FALSE, sizeof(guint));
    ret = co_check_locked(&c);
    *wants_repeat = c.list_faults || c.wants_repeat;
    qcow2_check_drop_window(&c);
    qcow2_check_free_tables(&c);
    g_array_unref(c.doubtful);
    g_array_unref(c.shared_l2);
    g_array_unref(c.shared_snapshots);
    return ret;
}

int coroutine_fn qcow2_co_check_repair(BlockDriverState *bs, BdrvCheckResult *res, int fix)
{
    bool wants_repeat;
    int ret = co_check_once(bs, res, fix, &wants_repeat);

    /*
     * A list too long may have named what is used otherwise, as the flags of that still say; and a
     * list is repaired, and tables move, only once the counts are right.
     */
    for (int i = 0; i < MAX_REPEATS && ret >= 0 && wants_repeat && (fix & BDRV_FIX_ERRORS); i++) {
        BdrvCheckResult again = { 0 };

        ret = co_check_once(bs, &again, fix, &wants_repeat);
        res->corruptions = again.corruptions;
        res->leaks = again.leaks;
        res->check_errors = again.check_errors;
        res->corruptions_fixed += again.corruptions_fixed;
        res->leaks_fixed += again.leaks_fixed;
        res->image_end_offset = again.image_end_offset;
        res->bfi = again.bfi;
    }
    return ret;
}

int coroutine_fn qcow2_co_check(BlockDriverState *bs, BdrvCheckResult *res, int fix)
{
    Qcow2State *s = bs->opaque;
    int ret;

    if (fix && bs->read_only) {
        return -EROFS;
    }
    /* What is changed in memory only would look like damage. */
    ret = bs->read_only ? 0 : qcow2_co_write_back(bs);
    if (ret >= 0 && !bs->read_only) {
        ret = qcow2_co_write_back(bs);
    }
    if (ret < 0) {
        return ret;
    }
    CO_LOCK_GUARD(&s->wb_lock);
    CO_LOCK_GUARD(&s->lock);
    return qcow2_co_check_repair(bs, res, fix);
}
