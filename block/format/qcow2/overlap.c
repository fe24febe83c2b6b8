/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * R12: nothing is written over metadata.  Every host range that data goes to, and every cluster
 * that is allocated, is looked up here first.  A hit means that the image contradicts itself:
 * it is marked corrupt, and takes no more writes.
 *
 * L2 tables and refcount blocks are in a hash set that is filled at open and kept up to date,
 * so a look-up costs the same whatever the size of the image.
 */
#include "qemu/osdep.h"

#include "qapi/gen/block-core-events.h"
#include "qcow2.h"
#include "qemu/atomic.h"
#include "qemu/ranges.h"

/* ---- the set of tables --------------------------------------------------------------------- */

static gpointer set_key(const Qcow2State *s, uint64_t host_offset)
{
    return GSIZE_TO_POINTER(host_offset >> s->cluster_bits);
}

/* Few other places share the bit of a table, so that most look-ups end with it. */
static unsigned filter_bit(const Qcow2State *s, uint64_t host_offset)
{
    return (host_offset >> s->cluster_bits) * UINT64_C(0x9e3779b97f4a7c15) >>
           (64 - QCOW2_OVERLAP_FILTER_BITS);
}

/* Whether it was not there. */
static bool add_table(Qcow2State *s, uint64_t host_offset)
{
    set_bit(filter_bit(s, host_offset), s->metadata_filter);
    return g_hash_table_add(s->metadata, set_key(s, host_offset));
}

void qcow2_overlap_add(Qcow2State *s, uint64_t host_offset)
{
    add_table(s, host_offset);
}

void qcow2_overlap_remove(Qcow2State *s, uint64_t host_offset)
{
    g_hash_table_remove(s->metadata, set_key(s, host_offset));
}

/* L2 tables of one snapshot. */
static int coroutine_fn co_load_inactive(BlockDriverState *bs, const Qcow2Snapshot *sn)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint64_t *l1 = g_try_new(uint64_t, sn->l1_size);
    int ret;

    if (!l1) {
        return sn->l1_size ? -ENOMEM : 0;
    }
    ret = bdrv_co_pread(bs->file, sn->l1_offset, (int64_t)sn->l1_size * 8, l1, 0);
    for (uint32_t i = 0; i < sn->l1_size && ret >= 0; i++) {
        uint64_t offset = be64_to_cpu(l1[i]) & QCOW2_OFFSET_MASK;

        if (offset) {
            g_hash_table_add(s->inactive_l2, set_key(s, offset));
        }
    }
    return ret;
}

/*
 * Two L1 entries that name one table, one of them as its own: a change for one would change what
 * the other shows.  (Two that both know that they share it copy it first.)
 */
static bool load_l2_places(Qcow2State *s)
{
    g_autoptr(GHashTable) twice = g_hash_table_new(g_direct_hash, g_direct_equal);
    bool is_bad = false;

    for (uint32_t i = 0; i < s->l1.size; i++) {
        uint64_t offset = s->l1.entries[i] & QCOW2_OFFSET_MASK;

        if (offset && !add_table(s, offset)) {
            g_hash_table_add(twice, set_key(s, offset));
        }
    }
    for (uint32_t i = 0; i < s->l1.size && g_hash_table_size(twice) > 0; i++) {
        uint64_t offset = s->l1.entries[i] & QCOW2_OFFSET_MASK;

        is_bad |= (s->l1.entries[i] & QCOW2_COPIED) &&
                  g_hash_table_contains(twice, set_key(s, offset));
    }
    return !is_bad;
}

int coroutine_fn qcow2_overlap_co_load(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;

    s->metadata = g_hash_table_new(g_direct_hash, g_direct_equal);
    bitmap_zero(s->metadata_filter, 1 << QCOW2_OVERLAP_FILTER_BITS);
    s->has_shared_tables |= !load_l2_places(s);
    for (uint32_t i = qcow2_table_next(&s->reftable, 0); i < s->reftable.size;
         i = qcow2_table_next(&s->reftable, i + 1)) {
        uint64_t offset = s->reftable.entries[i] & QCOW2_REFTABLE_MASK;

        if (offset && !add_table(s, offset)) {
            s->has_shared_tables = true;
        }
    }
    if (!(s->opt.overlap_checks & QCOW2_OL_INACTIVE_L2)) {
        return 0;
    }
    s->inactive_l2 = g_hash_table_new(g_direct_hash, g_direct_equal);
    for (guint i = 0; i < s->snapshots->len; i++) {
        int ret = co_load_inactive(bs, &g_array_index(s->snapshots, Qcow2Snapshot, i));

        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not read the L1 table of snapshot %u", i);
            return ret;
        }
    }
    return 0;
}

void coroutine_fn qcow2_overlap_co_reload(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    g_clear_pointer(&s->metadata, g_hash_table_destroy);
    g_clear_pointer(&s->inactive_l2, g_hash_table_destroy);
    qcow2_overlap_co_load(bs, NULL);
}

/* ---- the check ----------------------------------------------------------------------------- */

/* Which of @checks [@offset, @offset + @bytes) fails among those at fixed places; 0: none. */
static unsigned find_fixed(const Qcow2State *s, unsigned checks, uint64_t offset, uint64_t bytes)
{
    const Qcow2Header *header = &s->header;
    const Qcow2Extensions *ext = &s->ext;
    uint64_t dir_bytes = header->autoclear & QCOW2_AUTOCLEAR_BITMAPS ? ext->bitmap_dir_size : 0;

#define LOOK_AT(check, place, len) \
    do { \
        if (unlikely(ranges_overlap(place, len, offset, bytes)) && (checks & (check))) { \
            return check; \
        } \
    } while (0)
    LOOK_AT(QCOW2_OL_HEADER, 0, s->cluster_size);
    LOOK_AT(QCOW2_OL_ACTIVE_L1, s->l1.offset, (uint64_t)s->l1.size * 8);
    LOOK_AT(QCOW2_OL_REFTABLE, s->reftable.offset, (uint64_t)s->reftable.size * 8);
    LOOK_AT(QCOW2_OL_SNAPSHOT_TABLE, header->snapshots_offset, s->snapshots_bytes);
    LOOK_AT(QCOW2_OL_BITMAP_DIR, ext->bitmap_dir_offset, dir_bytes);
    LOOK_AT(QCOW2_OL_CRYPTO, ext->crypto_offset, ext->crypto_len);
#undef LOOK_AT
    if (checks & QCOW2_OL_INACTIVE_L1) {
        for (guint i = 0; i < s->snapshots->len; i++) {
            const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot, i);

            if (ranges_overlap(sn->l1_offset, (uint64_t)sn->l1_size * 8, offset, bytes)) {
                return QCOW2_OL_INACTIVE_L1;
            }
        }
    }
    return 0;
}

static bool is_refblock(const Qcow2State *s, uint64_t offset)
{
    for (uint32_t i = 0; i < s->reftable.size; i++) {
        if ((s->reftable.entries[i] & QCOW2_REFTABLE_MASK) == offset) {
            return true;
        }
    }
    return false;
}

/* The check that the cluster at @at, which may be a table, fails; 0: none. */
static unsigned __attribute__((noinline)) find_table(const Qcow2State *s, uint64_t at)
{
    unsigned hit = 0;

    if ((s->opt.overlap_checks & (QCOW2_OL_ACTIVE_L2 | QCOW2_OL_REFBLOCK)) &&
        g_hash_table_contains(s->metadata, set_key(s, at))) {
        /* Which of the two matters only for the message and for uncommon options. */
        hit = is_refblock(s, at) ? QCOW2_OL_REFBLOCK : QCOW2_OL_ACTIVE_L2;
        hit &= s->opt.overlap_checks;
    }
    if (!hit && s->inactive_l2 && g_hash_table_contains(s->inactive_l2, set_key(s, at))) {
        hit = QCOW2_OL_INACTIVE_L2;
    }
    return hit;
}

/* The check that [@offset, @offset + @bytes) fails; 0: none. */
static unsigned find_overlap(const Qcow2State *s, uint64_t offset, uint64_t bytes)
{
    unsigned hit = find_fixed(s, s->opt.overlap_checks, offset, bytes);

    for (uint64_t at = qcow2_cluster_start(s, offset); at < offset + bytes && !hit;
         at += s->cluster_size) {
        if (unlikely(test_bit(filter_bit(s, at), s->metadata_filter) || s->inactive_l2)) {
            hit = find_table(s, at);
        }
    }
    return hit;
}

bool qcow2_overlap_is_l2_only(const Qcow2State *s, uint64_t host_offset)
{
    uint64_t start = qcow2_cluster_start(s, host_offset);

    return host_offset == start && !find_fixed(s, QCOW2_OL_ALL, start, s->cluster_size) &&
           !is_refblock(s, start);
}

static const char *overlap_name(unsigned check)
{
    switch (check) {
    case QCOW2_OL_HEADER:
        return "qcow2_header";
    case QCOW2_OL_ACTIVE_L1:
        return "active L1 table";
    case QCOW2_OL_ACTIVE_L2:
        return "active L2 table";
    case QCOW2_OL_REFTABLE:
        return "refcount table";
    case QCOW2_OL_REFBLOCK:
        return "refcount block";
    case QCOW2_OL_SNAPSHOT_TABLE:
        return "snapshot table";
    case QCOW2_OL_INACTIVE_L1:
        return "inactive L1 table";
    case QCOW2_OL_INACTIVE_L2:
        return "inactive L2 table";
    case QCOW2_OL_CRYPTO:
        return "encryption header";
    default:
        return "bitmap directory";
    }
}

bool qcow2_overlap_is_clear(const Qcow2State *s, uint64_t host_offset, uint64_t bytes)
{
    return !find_overlap(s, host_offset, bytes);
}

int coroutine_fn qcow2_overlap_co_check(BlockDriverState *bs, uint64_t host_offset, uint64_t bytes)
{
    unsigned hit = find_overlap(bs->opaque, host_offset, bytes);

    if (likely(!hit)) {
        return 0;
    }
    qcow2_co_mark_corrupt(bs, host_offset, bytes, "Preventing invalid write on metadata "
                          "(overlaps with %s)", overlap_name(hit));
    return -EIO;
}

/* ---- what follows -------------------------------------------------------------------------- */

void coroutine_fn qcow2_co_mark_corrupt(BlockDriverState *bs, uint64_t offset, uint64_t bytes,
                                        const char *fmt, ...)
{
    Qcow2State *s = bs->opaque;
    g_autofree char *msg = NULL;
    va_list ap;

    if (qatomic_xchg(&s->is_corrupt, true)) {
        return;
    }
    va_start(ap, fmt);
    msg = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (bs->read_only) {
        error_printf("qcow2: Image is corrupt: %s; further non-fatal corruption events will be "
                     "suppressed\n", msg);
    } else {
        error_printf("qcow2: Marking image as corrupt: %s; further corruption events will be "
                     "suppressed\n", msg);
    }
    qapi_event_send_block_image_corrupted(bdrv_get_device_name(bs), bs->node_name, msg,
                                          true, MIN(offset, INT64_MAX), true,
                                          MIN(bytes, INT64_MAX), !bs->read_only);
    if (!bs->read_only) {
        /* v2 has no place for the mark; writes are refused all the same (R8). */
        qcow2_header_co_set_incompatible(bs, QCOW2_INCOMPAT_CORRUPT, 0);
    }
}
