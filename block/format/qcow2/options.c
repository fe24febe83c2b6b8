/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runtime options: sizes of caches, what freed clusters do to the host file, overlap checks.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

/*
 * Enough for 1 TiB of clusters of 64 KiB.  Memory is taken as tables are used, and given back when
 * they are not, so a large limit costs a small or idle image nothing, and any will do.
 */
#define L2_CACHE_BUDGET (128 * MiB)
#define REFCOUNT_CACHE_BUDGET (32 * MiB)
#define MIN_REFCOUNT_CACHE_CLUSTERS 4
#define MIN_L2_CACHE_SLICES 2
#define MAX_SLICE (64 * KiB)
#define DEFAULT_CLEAN_INTERVAL_MS (600 * 1000)

/* ---- caches -------------------------------------------------------------------------------- */

/* What an L2 cache for the whole disk takes. */
static uint64_t whole_l2_bytes(const Qcow2State *s)
{
    return ROUND_UP(qcow2_nb_clusters(s, s->header.size) * s->l2_entry_size, s->cluster_size);
}

/* Of a total for both caches: first the L2 cache, up to what the disk needs. */
static bool divide_total(const Qcow2State *s, const BlockdevOptionsQcow2 *o, Qcow2Options *opt,
                         Error **errp)
{
    uint64_t total = o->cache_size;
    uint64_t min_refcount = MIN_REFCOUNT_CACHE_CLUSTERS * (uint64_t)s->cluster_size;

    if (o->has_l2_cache_size && o->has_refcount_cache_size) {
        error_setg(errp, "cache-size, l2-cache-size and refcount-cache-size may not be set at the "
                   "same time");
        return false;
    }
    if (o->has_l2_cache_size && opt->l2_cache_bytes > total) {
        error_setg(errp, "l2-cache-size may not exceed cache-size");
        return false;
    }
    if (o->has_refcount_cache_size && opt->refcount_cache_bytes > total) {
        error_setg(errp, "refcount-cache-size may not exceed cache-size");
        return false;
    }
    if (o->has_l2_cache_size) {
        opt->refcount_cache_bytes = total - opt->l2_cache_bytes;
    } else if (o->has_refcount_cache_size) {
        opt->l2_cache_bytes = total - opt->refcount_cache_bytes;
    } else {
        uint64_t l2 = MIN(whole_l2_bytes(s), total > min_refcount ? total - min_refcount : 0);

        opt->l2_cache_bytes = l2;
        opt->refcount_cache_bytes = total - l2;
    }
    return true;
}

static bool read_slice_size(const Qcow2State *s, const BlockdevOptionsQcow2 *o, Qcow2Options *opt,
                            Error **errp)
{
    opt->l2_slice_bytes = MIN(s->cluster_size, MAX_SLICE);
    if (!o || !o->has_l2_cache_entry_size) {
        return true;
    }
    if (o->l2_cache_entry_size < (1 << QCOW2_MIN_CLUSTER_BITS) ||
        o->l2_cache_entry_size > s->cluster_size || !is_power_of_2(o->l2_cache_entry_size)) {
        error_setg(errp, "L2 cache entry size must be a power of two between %d and the cluster "
                   "size (%" PRIu32 ")", 1 << QCOW2_MIN_CLUSTER_BITS, s->cluster_size);
        return false;
    }
    opt->l2_slice_bytes = o->l2_cache_entry_size;
    return true;
}

static bool read_caches(const Qcow2State *s, const BlockdevOptionsQcow2 *o, Qcow2Options *opt,
                        Error **errp)
{
    if (!read_slice_size(s, o, opt, errp)) {
        return false;
    }
    opt->clean_interval_ms = DEFAULT_CLEAN_INTERVAL_MS;
    opt->l2_cache_bytes = L2_CACHE_BUDGET;
    opt->refcount_cache_bytes = REFCOUNT_CACHE_BUDGET;
    if (!o) {
        return true;
    }
    if ((o->has_cache_size && o->cache_size < 0) ||
        (o->has_l2_cache_size && o->l2_cache_size < 0) ||
        (o->has_refcount_cache_size && o->refcount_cache_size < 0)) {
        error_setg(errp, "Cache sizes cannot be negative");
        return false;
    }
    if (o->has_l2_cache_size) {
        opt->l2_cache_bytes = o->l2_cache_size;
    }
    if (o->has_refcount_cache_size) {
        opt->refcount_cache_bytes = o->refcount_cache_size;
    }
    if (o->has_cache_size && !divide_total(s, o, opt, errp)) {
        return false;
    }
    if (o->has_cache_clean_interval &&
        (o->cache_clean_interval < 0 || o->cache_clean_interval > UINT_MAX)) {
        error_setg(errp, "Cache clean interval too big");
        return false;
    }
    if (o->has_cache_clean_interval) {
        opt->clean_interval_ms = o->cache_clean_interval * 1000;
    }
    return true;
}

/* ---- overlap checks ------------------------------------------------------------------------ */

static unsigned overlap_template(Qcow2OverlapCheckMode mode)
{
    switch (mode) {
    case QCOW2_OVERLAP_CHECK_MODE_NONE:
        return QCOW2_OL_NONE;
    case QCOW2_OVERLAP_CHECK_MODE_CONSTANT:
        return QCOW2_OL_CONSTANT;
    case QCOW2_OVERLAP_CHECK_MODE_ALL:
        return QCOW2_OL_ALL;
    default:
        return QCOW2_OL_CACHED;
    }
}

static unsigned override(unsigned checks, bool has, bool value, unsigned bit)
{
    return !has ? checks : value ? checks | bit : checks & ~bit;
}

static unsigned read_overlap_checks(const Qcow2OverlapChecks *o)
{
    const Qcow2OverlapCheckFlags *f;
    unsigned c;

    if (!o) {
        return QCOW2_OL_CACHED;
    }
    if (o->type == QTYPE_QSTRING) {
        return overlap_template(o->u.mode);
    }
    f = &o->u.flags;
    c = f->has_template ? overlap_template(f->template) : QCOW2_OL_CACHED;
    c = override(c, f->has_main_header, f->main_header,
                 QCOW2_OL_HEADER | QCOW2_OL_CRYPTO);
    c = override(c, f->has_active_l1, f->active_l1, QCOW2_OL_ACTIVE_L1);
    c = override(c, f->has_active_l2, f->active_l2, QCOW2_OL_ACTIVE_L2);
    c = override(c, f->has_refcount_table, f->refcount_table, QCOW2_OL_REFTABLE);
    c = override(c, f->has_refcount_block, f->refcount_block, QCOW2_OL_REFBLOCK);
    c = override(c, f->has_snapshot_table, f->snapshot_table, QCOW2_OL_SNAPSHOT_TABLE);
    c = override(c, f->has_inactive_l1, f->inactive_l1, QCOW2_OL_INACTIVE_L1);
    c = override(c, f->has_inactive_l2, f->inactive_l2, QCOW2_OL_INACTIVE_L2);
    c = override(c, f->has_bitmap_directory, f->bitmap_directory, QCOW2_OL_BITMAP_DIR);
    return c;
}

/* ---- all ----------------------------------------------------------------------------------- */

static bool check_features(const Qcow2State *s, const BlockdevOptionsQcow2 *o, Error **errp)
{
    if (o->data_file && !(s->header.incompatible & QCOW2_INCOMPAT_DATA_FILE)) {
        error_setg(errp, "'data-file' can only be set for images with an external data file");
        return false;
    }
    /* A permission to be lazy, which is not made use of: counts are always exact (README.md). */
    if (o->has_lazy_refcounts && o->lazy_refcounts && s->header.version < 3) {
        error_setg(errp, "Lazy refcounts require a qcow2 image with at least qemu 1.1 "
                   "compatibility level");
        return false;
    }
    if (o->has_discard_no_unref && o->discard_no_unref && s->header.version < 3) {
        error_setg(errp, "discard-no-unref is only supported since qcow2 version 3");
        return false;
    }
    return true;
}

bool qcow2_options_read(BlockDriverState *bs, const BlockdevOptionsQcow2 *o, int flags,
                        Qcow2Options *opt, Error **errp)
{
    Qcow2State *s = bs->opaque;

    *opt = (Qcow2Options){
        .overlap_checks = read_overlap_checks(o ? o->overlap_check : NULL),
        .discard_no_unref = o && o->has_discard_no_unref && o->discard_no_unref,
    };
    opt->discard_passthrough[QCOW2_DISCARD_REQUEST] =
        o && o->has_pass_discard_request ? o->pass_discard_request
                                         : !!(flags & BDRV_O_UNMAP);
    opt->discard_passthrough[QCOW2_DISCARD_DATA_FILE] =
        opt->discard_passthrough[QCOW2_DISCARD_KEPT] =
            opt->discard_passthrough[QCOW2_DISCARD_REQUEST];
    opt->discard_passthrough[QCOW2_DISCARD_SNAPSHOT] =
        o && o->has_pass_discard_snapshot ? o->pass_discard_snapshot : true;
    opt->discard_passthrough[QCOW2_DISCARD_OTHER] =
        o && o->has_pass_discard_other ? o->pass_discard_other : false;
    if (o && !check_features(s, o, errp)) {
        return false;
    }
    return read_caches(s, o, opt, errp);
}
