/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mirror_top: follows what is written to the source of a mirror job.
 *
 * Background: a range is marked when its write has ended, so whoever copies it afterwards reads the
 * new data.  Write-blocking: the range is locked, so that nobody copies it and no other write
 * changes the order, and the same bytes go to both sides; they are copied first, since a guest may
 * change its memory meanwhile.  The guest is told how its own write went; what did not reach the
 * target is marked.
 */
#include "qemu/osdep.h"

#include "block/mirror-top.h"

#include "block/freeze.h"
#include "filter-int.h"
#include "qemu/atomic.h"

typedef struct MirrorTop {
    /* Changed only while frozen. */
    BlockCopyState *state; /* NULL: nobody follows (any more) */
    BdrvChild *target;

    bool is_commit, grows_target, whole_clusters;
    unsigned zero_flags; /* of zeroes written to the target */
    MirrorCopyMode mode; /* atomic */
} MirrorTop;

extern BlockDriver bdrv_mirror_top;

/* ---- requests -------------------------------------------------------------------------------- */

/* A change in both places. */
typedef struct Change {
    BlockDriverState *bs;
    int64_t offset, bytes;
    QEMUIOVector *qiov; /* NULL: zeroes */
    size_t qiov_offset;
    unsigned flags;
} Change;

static int coroutine_fn co_change_source(const Change *change)
{
    BdrvChild *source = change->bs->backing;

    return change->qiov ? bdrv_co_pwritev_part(source, change->offset, change->bytes, change->qiov,
                                               change->qiov_offset, change->flags)
                        : bdrv_co_pwrite_zeroes(source, change->offset, change->bytes,
                                                change->flags);
}

static int coroutine_fn co_change_target(const Change *change, BlockCopyLock *lock)
{
    MirrorTop *s = change->bs->opaque;
    int64_t cluster = block_copy_cluster_size(s->state);
    bool whole = QEMU_IS_ALIGNED(change->offset | change->bytes, cluster);

    if (s->whole_clusters && !whole) {
        return block_copy_co_locked(s->state, lock);
    }
    return change->qiov ? bdrv_co_pwritev_part(s->target, change->offset, change->bytes,
                                               change->qiov, change->qiov_offset, 0)
                        : bdrv_co_pwrite_zeroes(s->target, change->offset, change->bytes,
                                                change->flags & s->zero_flags);
}

static int coroutine_fn co_change_both(const Change *change)
{
    MirrorTop *s = change->bs->opaque;
    BlockCopyLock *lock = block_copy_co_lock(s->state, change->offset, change->bytes);
    int ret = co_change_source(change);
    bool same = ret >= 0 && co_change_target(change, lock) >= 0;

    block_copy_unlock(s->state, lock, same);
    return ret;
}

static bool is_write_blocking(const MirrorTop *s)
{
    return s->state && qatomic_read(&s->mode) == MIRROR_COPY_MODE_WRITE_BLOCKING;
}

/* The guest's request is over, however it ended. */
static void after_change(const MirrorTop *s, int64_t offset, int64_t bytes)
{
    if (s->state) {
        block_copy_mark_dirty(s->state, offset, bytes);
    }
}

static int coroutine_fn mirror_top_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    return bdrv_co_preadv_part(bs->backing, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn mirror_top_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                              QEMUIOVector *qiov, size_t qiov_offset,
                                              unsigned flags)
{
    MirrorTop *s = bs->opaque;
    int ret;

    if (is_write_blocking(s)) {
        QEMU_AUTO_VFREE uint8_t *buf = bdrv_try_blockalign(bs, bytes);
        QEMUIOVector own = QEMU_IOVEC_INIT_BUF(own, buf, bytes);
        const Change change = {
            .bs = bs, .offset = offset, .bytes = bytes, .qiov = &own, .flags = flags,
        };

        if (!buf) {
            return -ENOMEM;
        }
        qemu_iovec_to_buf(qiov, qiov_offset, buf, bytes);
        return co_change_both(&change);
    }
    ret = bdrv_co_pwritev_part(bs->backing, offset, bytes, qiov, qiov_offset, flags);
    after_change(s, offset, bytes);
    return ret;
}

static int coroutine_fn mirror_top_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                                    int64_t bytes, unsigned flags)
{
    MirrorTop *s = bs->opaque;
    int ret;

    if (is_write_blocking(s)) {
        const Change change = { .bs = bs, .offset = offset, .bytes = bytes, .flags = flags };

        return co_change_both(&change);
    }
    ret = bdrv_co_pwrite_zeroes(bs->backing, offset, bytes, flags);
    after_change(s, offset, bytes);
    return ret;
}

/* What it will read as then, the source decides; so it is looked at and copied. */
static int coroutine_fn mirror_top_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int ret = bdrv_co_pdiscard(bs->backing, offset, bytes);

    after_change(bs->opaque, offset, bytes);
    return ret;
}

static int coroutine_fn mirror_top_co_pwritev_compressed(BlockDriverState *bs, int64_t offset,
                                                         int64_t bytes, QEMUIOVector *qiov,
                                                         size_t qiov_offset)
{
    int ret = bdrv_co_pwritev_part(bs->backing, offset, bytes, qiov, qiov_offset,
                                   BDRV_REQ_WRITE_COMPRESSED);

    after_change(bs->opaque, offset, bytes);
    return ret;
}

/* ---- graph ----------------------------------------------------------------------------------- */

static BdrvChildClaims target_claims(const MirrorTop *s)
{
    BdrvChildClaims claims = { .uses = BLK_PERM_WRITE, .shared = BLK_PERM_WRITE_UNCHANGED };

    /* A base goes on being read through the nodes above it. */
    if (s->is_commit) {
        claims.shared |= BLK_PERM_CONSISTENT_READ;
    }
    if (s->grows_target) {
        claims.uses |= BLK_PERM_RESIZE;
    }
    return claims;
}

static BdrvChildClaims mirror_top_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                               BdrvChildRole role, BlockRights parent_uses,
                                               BlockRights parent_shared)
{
    const MirrorTop *s = bs->opaque;

    if (!(role & BDRV_CHILD_FILTERED)) {
        return target_claims(s);
    }
    if (s->is_commit) {
        /* The nodes below are not consistent one by one while the base is written to. */
        return (BdrvChildClaims) {
            .uses = parent_uses & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED),
            .shared = BLK_PERM_ALL,
        };
    }
    return bdrv_default_child_claims(bs, child, role, parent_uses, parent_shared);
}

static void mirror_top_refresh_limits(BlockDriverState *bs)
{
    const BlockDriverState *source = bs->backing ? bs->backing->bs : NULL;

    if (source) {
        bs->supported_read_flags = source->supported_read_flags;
        bs->supported_write_flags = BDRV_REQ_WRITE_UNCHANGED |
                                    (BDRV_REQ_FUA & source->supported_write_flags);
        bs->supported_zero_flags = BDRV_REQ_WRITE_UNCHANGED |
            ((BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK) &
             source->supported_zero_flags);
    }
}

static void coroutine_fn mirror_top_co_close(BlockDriverState *bs)
{
    MirrorTop *s = bs->opaque;

    block_copy_state_free(g_steal_pointer(&s->state));
}

/* ---- from code ------------------------------------------------------------------------------- */

/* The source is frozen, the filter over it. */
static bool coroutine_fn co_begin(BlockDriverState *bs, const MirrorTopArgs *args, Error **errp)
{
    MirrorTop *s = bs->opaque;
    BdrvChildSpec spec = { .name = "target", .parent = bs };
    BlockCopyArgs copy = {
        .source = bs->backing,
        .cluster_size = args->granularity,
        .keep_allocated = args->keep_allocated,
        .start_clean = args->start_clean,
        .share = args->share,
    };

    s->target = copy.target = bdrv_co_attach_child(&spec, bdrv_ref(args->target), errp);
    if (!s->target) {
        return false;
    }
    s->state = block_copy_state_new(&copy, errp);
    return s->state != NULL;
}

static void set_up(BlockDriverState *bs, void *opaque)
{
    const MirrorTopArgs *args = opaque;
    MirrorTop *s = bs->opaque;

    s->is_commit = args->is_commit;
    s->grows_target = args->grows_target;
    s->whole_clusters = args->whole_clusters;
    s->zero_flags = args->keep_allocated ? 0 : BDRV_REQ_MAY_UNMAP;
    s->mode = args->copy_mode;
}

BlockDriverState *coroutine_fn mirror_top_co_insert(const MirrorTopArgs *args,
                                                    BlockCopyState **state, Error **errp)
{
    FilterSpec spec = {
        .drv = &bdrv_mirror_top,
        .child_name = "backing",
        .node_name = args->filter_node_name,
        .owner_key = args->owner_key,
        .flags = BDRV_O_UNMAP | (bdrv_is_read_only(args->source) ? 0 : BDRV_O_RDWR),
    };
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(args->source);
    BlockDriverState *bs = filter_co_insert(&spec, args->source, set_up, (void *)args, errp);

    if (!bs) {
        return NULL;
    }
    if (!co_begin(bs, args, errp)) {
        /* The reverse of what was just allowed cannot be refused. */
        mirror_top_co_drop(bs, &error_abort);
        return NULL;
    }
    *state = ((MirrorTop *)bs->opaque)->state;
    return bs;
}

void coroutine_fn mirror_top_co_stop(BlockDriverState *filter)
{
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(filter);
    MirrorTop *s = filter->opaque;

    block_copy_state_free(g_steal_pointer(&s->state));
    bdrv_co_detach_child(g_steal_pointer(&s->target));
}

bool coroutine_fn mirror_top_co_drop(BlockDriverState *filter, Error **errp)
{
    g_autoptr(BdrvFreeze) freeze = bdrv_co_freeze_node(filter);

    mirror_top_co_stop(filter);
    return filter_co_drop(filter, errp);
}

BdrvChild *mirror_top_target(BlockDriverState *filter)
{
    return ((MirrorTop *)filter->opaque)->target;
}

void mirror_top_set_mode(BlockDriverState *filter, MirrorCopyMode mode)
{
    qatomic_set(&((MirrorTop *)filter->opaque)->mode, mode);
}

MirrorCopyMode mirror_top_mode(BlockDriverState *filter)
{
    return qatomic_read(&((MirrorTop *)filter->opaque)->mode);
}

/* ---- the driver ------------------------------------------------------------------------------ */

BlockDriver bdrv_mirror_top = {
    .format_name = "mirror_top",
    .instance_size = sizeof(MirrorTop),
    .options_type = BLOCKDEV_DRIVER__MAX,
    .is_filter = true,
    .filtered_is_backing = true,
    .bdrv_co_close = mirror_top_co_close,
    .bdrv_child_claims = mirror_top_child_claims,
    .bdrv_refresh_limits = mirror_top_refresh_limits,
    .bdrv_co_preadv = mirror_top_co_preadv,
    .bdrv_co_pwritev = mirror_top_co_pwritev,
    .bdrv_co_pwritev_compressed = mirror_top_co_pwritev_compressed,
    .bdrv_co_pwrite_zeroes = mirror_top_co_pwrite_zeroes,
    .bdrv_co_pdiscard = mirror_top_co_pdiscard,
};
