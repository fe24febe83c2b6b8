/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How large an image would become.  Arithmetic, and the block status of the source; data is not
 * read, nothing is written.
 */
#include "qemu/osdep.h"

#include "../luks-volume.h"
#include "block/dirty-bitmap.h"
#include "qapi/gen/block-info-types.h"
#include "qcow2.h"
#include "qobject/opts.h"

#define BITMAP_DIR_ENTRY_BYTES 24
#define EXTENTS_AT_ONCE 8192
#define TABLES_AT_ONCE 128
#define MIN_MAX_EXTENTS 1000000

typedef struct Measure {
    uint64_t size;          /* of the disk, whole clusters */
    uint64_t cluster_size;
    uint32_t l2_entry_size;
    uint32_t refcount_bits;
    bool is_v3;
    bool is_full;           /* preallocation writes every cluster */
    bool has_backing;       /* what of the source it would provide is not known */
    uint64_t crypto_bytes;  /* of LUKS header and key slots */
} Measure;

/* ---- options ------------------------------------------------------------------------------- */

static bool read_refcounts(const QemuOpts *opts, Measure *m, Error **errp)
{
    const char *compat = qemu_opt_get(opts, "compat");
    uint64_t bits = qemu_opt_get_number(opts, "refcount_bits", 16);

    m->is_v3 = !compat || !strcmp(compat, "1.1") || !strcmp(compat, "v3");
    if (!m->is_v3 && strcmp(compat, "0.10") && strcmp(compat, "v2")) {
        error_setg(errp, "Invalid compatibility level: '%s'", compat);
        return false;
    }
    if (bits < 1 || bits > 64 || !is_power_of_2(bits)) {
        error_setg(errp, "Refcount width must be a power of two and may not exceed 64 bits");
        return false;
    }
    if (!m->is_v3 && bits != 16) {
        error_setg(errp, "Different refcount widths than 16 bits require compatibility level 1.1 "
                   "or above (use compat=1.1 or greater)");
        return false;
    }
    m->refcount_bits = bits;
    return true;
}

static bool read_clusters(const QemuOpts *opts, Measure *m, Error **errp)
{
    bool is_extended = qemu_opt_get_bool(opts, "extended_l2", false);

    m->cluster_size = qemu_opt_get_size(opts, "cluster_size", 65536);
    m->l2_entry_size = is_extended ? 16 : 8;
    if (!is_power_of_2(m->cluster_size) || m->cluster_size < (1U << QCOW2_MIN_CLUSTER_BITS) ||
        m->cluster_size > (1U << QCOW2_MAX_CLUSTER_BITS)) {
        error_setg(errp, "Cluster size must be a power of two between %d and %dk",
                   1 << QCOW2_MIN_CLUSTER_BITS, 1 << (QCOW2_MAX_CLUSTER_BITS - 10));
        return false;
    }
    if (is_extended && !m->is_v3) {
        error_setg(errp, "Extended L2 entries are only supported with compatibility level 1.1 and "
                   "above (use version=v3 or greater)");
        return false;
    }
    if (is_extended && m->cluster_size < QCOW2_SUBCLUSTERS * BDRV_SECTOR_SIZE) {
        error_setg(errp, "Extended L2 entries are only supported with cluster sizes of at least %d "
                   "bytes", QCOW2_SUBCLUSTERS * (int)BDRV_SECTOR_SIZE);
        return false;
    }
    return true;
}

static bool read_encryption(const QemuOpts *opts, Measure *m, Error **errp)
{
    const char *format = qemu_opt_get(opts, "encrypt.format");
    QCryptoBlockCreateOptions o = { .format = QCRYPTO_BLOCK_FORMAT_LUKS };
    CryptoLuks luks;

    if (!format || strcmp(format, "luks") != 0) {
        return true;
    }
    if (!luks_create_options_read(opts, "encrypt.", &o.u.luks, errp) ||
        !qcow2_crypt_check_create(&o, errp) ||
        !crypto_luks_plan(&o.u.luks, false, &luks, errp)) {
        return false;
    }
    m->crypto_bytes = QEMU_ALIGN_UP(crypto_luks_new_len(&luks), m->cluster_size);
    return true;
}

static bool read_options(const QemuOpts *opts, Measure *m, Error **errp)
{
    const char *prealloc = qemu_opt_get(opts, "preallocation");
    const char *backing = qemu_opt_get(opts, "backing_file");

    m->has_backing = backing && *backing;
    if (prealloc) {
        int mode = 0;

        while (mode < PreallocMode_lookup.size &&
               strcmp(PreallocMode_lookup.names[mode], prealloc)) {
            mode++;
        }
        if (mode == PreallocMode_lookup.size) {
            error_setg(errp, "invalid parameter value: %s", prealloc);
            return false;
        }
        m->is_full = mode == PREALLOC_MODE_FALLOC || mode == PREALLOC_MODE_FULL;
    }
    return read_refcounts(opts, m, errp) && read_clusters(opts, m, errp) &&
           read_encryption(opts, m, errp);
}

/* ---- arithmetic ---------------------------------------------------------------------------- */

/*
 * Bytes of refcount table and blocks that count @clusters others and themselves.  New images have a
 * table of one cluster.  Where that is too short, one half as long again is made, perhaps more than
 * once, and the one before may stay a hole.
 */
static uint64_t refcount_bytes(const Measure *m, uint64_t clusters)
{
    uint64_t per_block = m->cluster_size * 8 / m->refcount_bits;
    uint64_t blocks_per_cluster = m->cluster_size / 8;
    uint64_t blocks = 0, table = 0, last;

    do {
        last = blocks + table;
        blocks = DIV_ROUND_UP(clusters + last, per_block);
        table = DIV_ROUND_UP(blocks, blocks_per_cluster);
    } while (blocks + table != last);
    return (last + (table > 1 ? table + DIV_ROUND_UP(table, 2) : 0)) * m->cluster_size;
}

/*
 * The LUKS header is in one piece.  If that is longer than what a refcount block counts, it goes
 * behind such a range, and smaller pieces remain between it and what comes later.  If it is longer
 * than what all blocks of a new image's table count, the new table lies behind the place that was
 * meant for it, and the header behind that.
 */
static uint64_t gap_bytes(const Measure *m)
{
    uint64_t range = m->cluster_size * 8 / m->refcount_bits * m->cluster_size;
    uint64_t gap = QEMU_ALIGN_UP(range + m->crypto_bytes / 16, m->cluster_size);

    if (m->crypto_bytes < range) {
        return 0;
    }
    return m->crypto_bytes + gap < range * (m->cluster_size / 8) ? gap : gap + 2 * m->crypto_bytes;
}

static uint64_t full_bytes(const Measure *m)
{
    uint64_t per_table = m->cluster_size / m->l2_entry_size;
    uint64_t l2_tables = DIV_ROUND_UP(m->size / m->cluster_size, per_table);
    uint64_t l1_clusters = DIV_ROUND_UP(l2_tables * 8, m->cluster_size);
    uint64_t used = m->size + m->crypto_bytes + (1 + l1_clusters + l2_tables) * m->cluster_size;

    used += gap_bytes(m);
    return used + refcount_bytes(m, used / m->cluster_size);
}

/* ---- the source ---------------------------------------------------------------------------- */

static bool is_data(const BdrvExtent *extent)
{
    const int data = BDRV_BLOCK_DATA | BDRV_BLOCK_ALLOCATED;

    return (extent->flags & (data | BDRV_BLOCK_ZERO)) == data;
}

/*
 * What a chain can have at most whose tables are in order, since nothing else uses an entry:
 * extents, and bytes of the disk that are allocated.
 */
typedef struct Reach {
    int64_t extents, bytes;
} Reach;

static Reach coroutine_fn co_reach(BlockDriverState *bs)
{
    Reach r = { MIN_MAX_EXTENTS, 0 };

    for (; bs; bs = bdrv_cow_bs(bs)) {
        const Qcow2State *s = bs->drv == &bdrv_qcow2 ? bs->opaque : NULL;
        int64_t len = bdrv_co_getlength(s ? bs->file->bs : bs);
        int64_t entries = MAX(len, 0) / (s ? s->l2_entry_size : BDRV_SECTOR_SIZE);
        int64_t unit = s ? s->cluster_size : BDRV_SECTOR_SIZE;

        r.extents += MIN(entries, INT64_MAX / 128 / QCOW2_SUBCLUSTERS) *
                     (s && s->is_extended_l2 ? QCOW2_SUBCLUSTERS : 1);
        r.bytes += MIN(entries + 1, INT64_MAX / 128 / unit) * unit;
        if (r.extents > INT64_MAX / 4 || r.bytes > INT64_MAX / 4) {
            break;
        }
    }
    return r;
}

static void add_extents(Qcow2DataCount *count, const BdrvExtent *extents, int n)
{
    for (int i = 0; i < n; i++) {
        int64_t end = count->end + extents[i].bytes;

        count->allocated += extents[i].flags & BDRV_BLOCK_ALLOCATED ? extents[i].bytes : 0;
        if (is_data(&extents[i])) {
            qcow2_count_range(count, count->end, end);
        }
        count->end = end;
    }
}

/* All clusters of data are whole, in one file, and nothing is below. */
static bool is_plain(BlockDriverState *bs)
{
    const Qcow2State *s = bs->drv == &bdrv_qcow2 ? bs->opaque : NULL;

    return s && !bs->backing && !s->has_data_file && !s->is_extended_l2 && !s->header.crypt_method;
}

/*
 * Count tables from ->end on to @end without a list of extents.  False: not all could be.  None are
 * if some of their clusters are holes in the file and others not: each needs a look.
 */
static bool coroutine_fn co_count_tables(BlockDriverState *bs, int64_t end, Qcow2DataCount *count)
{
    const Qcow2State *s = bs->opaque;
    Qcow2DataCount c = *count;
    int64_t span, alike;
    int ret;

    c.lowest = UINT64_MAX;
    c.highest = 0;
    if (qcow2_co_count_data(bs, end, &c) < 0) {
        return false; /* who asks for extents is told why */
    }
    if (c.highest) {
        span = c.highest + s->cluster_size - c.lowest;
        ret = bdrv_co_block_status(bs->file->bs, c.lowest, span, &alike, NULL, NULL);
        if (ret < 0 || alike < span) {
            return false;
        }
        if (ret & BDRV_BLOCK_ZERO) {
            c.required = count->required;
            c.counted = count->counted;
        }
    }
    *count = c;
    return c.end == end;
}

static void coroutine_fn co_count_plain(BlockDriverState *bs, int64_t bytes, Qcow2DataCount *count)
{
    const Qcow2State *s = bs->opaque;
    int64_t piece = (int64_t)TABLES_AT_ONCE * s->l2_size << s->cluster_bits;
    int64_t end = qcow2_cluster_start(s, bytes);

    while (count->end < end &&
           co_count_tables(bs, MIN(end - count->end, piece) + count->end, count)) {
        continue;
    }
}

/* Bytes of the clusters that would hold data. */
static int64_t coroutine_fn co_data_bytes(const Measure *m, BlockDriverState *in_bs, int64_t bytes)
{
    g_autofree BdrvExtent *extents = g_new(BdrvExtent, EXTENTS_AT_ONCE);
    Reach left = co_reach(in_bs);
    Qcow2DataCount count = { .unit = m->cluster_size, .most = left.bytes };
    int n = 1;

    if (is_plain(in_bs)) {
        co_count_plain(in_bs, bytes, &count);
    }
    while (n > 0 && left.extents >= 0 && count.allocated <= count.most) {
        n = bdrv_co_block_extents_above(in_bs, NULL, count.end, bytes - count.end, extents,
                                        EXTENTS_AT_ONCE);
        add_extents(&count, extents, n);
        left.extents -= n;
    }
    /* More than there can be: tables are named again and again. */
    return n < 0 ? n : n > 0 ? -EUCLEAN : count.required;
}

static uint64_t bitmaps_bytes(const Measure *m, BlockDriverState *in_bs)
{
    uint64_t bytes = 0, directory = 0;

    for (BdrvDirtyBitmap *bm = bdrv_dirty_bitmap_next(in_bs, NULL); bm;
         bm = bdrv_dirty_bitmap_next(in_bs, bm)) {
        uint64_t bits, clusters;

        if (!bdrv_dirty_bitmap_persistent(bm)) {
            continue;
        }
        bits = DIV_ROUND_UP((uint64_t)bdrv_dirty_bitmap_size(bm),
                            bdrv_dirty_bitmap_granularity(bm));
        clusters = DIV_ROUND_UP(DIV_ROUND_UP(bits, 8), m->cluster_size);
        bytes += clusters * m->cluster_size + QEMU_ALIGN_UP(clusters * 8, m->cluster_size);
        directory += QEMU_ALIGN_UP(BITMAP_DIR_ENTRY_BYTES + strlen(bdrv_dirty_bitmap_name(bm)), 8);
    }
    return bytes + QEMU_ALIGN_UP(directory, m->cluster_size);
}

/* ---- all ----------------------------------------------------------------------------------- */

static bool set_size(Measure *m, int64_t bytes, Error **errp)
{
    uint64_t per_l2 = m->cluster_size * (m->cluster_size / m->l2_entry_size);

    m->size = QEMU_ALIGN_UP((uint64_t)bytes, m->cluster_size);
    if (bytes > BDRV_MAX_LENGTH || DIV_ROUND_UP(m->size, per_l2) > QCOW2_MAX_L1_BYTES / 8) {
        error_setg(errp, "The image size is too large (try using a larger cluster size)");
        return false;
    }
    return true;
}

static int64_t coroutine_fn co_source_length(BlockDriverState *in_bs, Error **errp)
{
    int64_t bytes = bdrv_co_getlength(in_bs);

    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "Unable to get image virtual_size");
    }
    return bytes;
}

BlockMeasureInfo *coroutine_fn qcow2_co_measure(QemuOpts *opts, BlockDriverState *in_bs,
                                                Error **errp)
{
    Measure m = { 0 };
    BlockMeasureInfo *info;
    int64_t bytes, data = 0;

    if (!read_options(opts, &m, errp)) {
        return NULL;
    }
    bytes = in_bs ? co_source_length(in_bs, errp)
                  : (int64_t)MIN(qemu_opt_get_size(opts, "size", 0), INT64_MAX);
    if (bytes < 0 || !set_size(&m, bytes, errp)) {
        return NULL;
    }
    if (m.is_full || (in_bs && m.has_backing)) {
        /* With a backing file all may differ from it. */
        data = m.size;
    } else if (in_bs) {
        data = co_data_bytes(&m, in_bs, bytes);
        if (data < 0) {
            if (data == -EUCLEAN) {
                error_setg(errp, "The tables of the image name one another again and again; check "
                           "it first");
            } else {
                error_setg_errno(errp, -data, "Unable to get block status");
            }
            return NULL;
        }
    }
    info = g_new0(BlockMeasureInfo, 1);
    info->fully_allocated = full_bytes(&m);
    /* Metadata counts as for the full image. */
    info->required = info->fully_allocated - m.size + data;
    info->has_bitmaps = m.is_v3 && in_bs && in_bs->drv == &bdrv_qcow2;
    info->bitmaps = info->has_bitmaps ? bitmaps_bytes(&m, in_bs) : 0;
    return info;
}
