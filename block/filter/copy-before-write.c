/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy-before-write: before a part of "file" changes, its old content goes to "target".
 *
 * The bookkeeping is a BlockCopyState, so other copiers (the backup job) can share it.  What cannot
 * be saved makes either the guest's write fail (break-guest-write) or the snapshot invalid for good
 * (break-snapshot).  With a timeout the guest is let go after that time; the copying it waited for
 * is left to end by itself, as an activity of the node.
 *
 * What the source held at the start can be read (by the driver snapshot-access): from the target
 * where it was saved, else from the source, and then writers there wait for the reader.
 */
#include "qemu/osdep.h"

#include "block/copy-before-write.h"

#include "block/freeze.h"
#include "filter-int.h"
#include "qemu/atomic.h"
#include "qemu/co-lock.h"
#include "qemu/hbitmap.h"
#include "qemu/lockable.h"

/* The snapshot is read from the source here, so that may not change; on the reader's stack. */
typedef struct SourceRead {
    int64_t offset, bytes;
    CoQueue writers;
    QLIST_ENTRY(SourceRead) next;
} SourceRead;

typedef struct CbwState {
    /* Changed only while frozen. */
    BlockCopyState *bcs; /* NULL: nothing is saved (any more) */
    BdrvChild *target;
    OnCbwError on_cbw_error;
    int64_t timeout_ns; /* 0: none */
    bool discard_source;

    int snapshot_error; /* atomic: negative errno that broke the snapshot */

    /* The snapshot.  Bits are clusters of bcs. */
    QemuMutex lock;
    HBitmap *saved;     /* to be read from the target: the source has changed, or is about to */
    HBitmap *available; /* part of the snapshot, and not discarded */
    QLIST_HEAD(, SourceRead) source_reads;
} CbwState;

extern BlockDriver bdrv_copy_before_write;

/* ---- saving ---------------------------------------------------------------------------------- */

/* A copy that somebody waits for, for a while.  Both sides run in one loop. */
typedef struct TimedCopy {
    BlockDriverState *bs;
    int64_t offset, bytes;
    bool is_done, is_abandoned;
    int ret;
    QemuCoSleep sleep;
} TimedCopy;

static int coroutine_fn cbw_co_copy(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    CbwState *s = bs->opaque;
    bool error_is_read;

    return block_copy_co_range(s->bcs, offset, bytes, &error_is_read);
}

static void coroutine_fn co_timed_copy(void *opaque)
{
    TimedCopy *copy = opaque;
    BlockDriverState *bs = copy->bs;

    copy->ret = cbw_co_copy(bs, copy->offset, copy->bytes);
    copy->is_done = true;
    if (copy->is_abandoned) {
        g_free(copy);
    } else {
        qemu_co_sleep_wake(&copy->sleep);
    }
    bdrv_activity_end(bs);
}

static int coroutine_fn cbw_co_copy_with_timeout(BlockDriverState *bs, int64_t offset,
                                                 int64_t bytes)
{
    CbwState *s = bs->opaque;
    TimedCopy *copy = g_new0(TimedCopy, 1);
    int ret;

    copy->bs = bs;
    copy->offset = offset;
    copy->bytes = bytes;
    bdrv_activity_begin(bs);
    qemu_coroutine_enter(qemu_coroutine_create(co_timed_copy, copy));
    if (!copy->is_done) {
        qemu_co_sleep_ns_wakeable(&copy->sleep, QEMU_CLOCK_REALTIME, s->timeout_ns);
    }
    if (!copy->is_done) {
        copy->is_abandoned = true;
        return -ETIMEDOUT;
    }
    ret = copy->ret;
    g_free(copy);
    return ret;
}

/* The clusters of @bcs that the range touches. */
static void clusters_of(const CbwState *s, int64_t offset, int64_t bytes, uint64_t *first,
                        uint64_t *n)
{
    int64_t cluster = block_copy_cluster_size(s->bcs);
    uint64_t end = MIN((uint64_t)DIV_ROUND_UP(offset + bytes, cluster), hbitmap_size(s->saved));

    *first = offset / cluster;
    *n = end > *first ? end - *first : 0;
}

/*
 * The range of the source is about to change.  @is_saved: its clusters are in the target.  From now
 * on nobody starts to read the snapshot there from the source; wait for those who do.
 */
static void coroutine_fn cbw_co_leave_source(CbwState *s, int64_t offset, int64_t bytes,
                                             bool is_saved)
{
    int64_t cluster = block_copy_cluster_size(s->bcs);
    int64_t start = QEMU_ALIGN_DOWN(offset, cluster), end = QEMU_ALIGN_UP(offset + bytes, cluster);
    SourceRead *read;
    uint64_t first, n;

    QEMU_LOCK_GUARD(&s->lock);
    clusters_of(s, offset, bytes, &first, &n);
    if (is_saved) {
        hbitmap_set(s->saved, first, n);
    }
    do {
        QLIST_FOREACH(read, &s->source_reads, next) {
            if (read->offset < end && start < read->offset + read->bytes) {
                qemu_co_queue_wait(&read->writers, &s->lock);
                break;
            }
        }
    } while (read);
}

/*
 * Before [offset, offset + bytes) of file changes.  Returns 0 if it may, or the negative errno that
 * the guest's request gets.
 */
static int coroutine_fn cbw_co_before_change(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             unsigned flags)
{
    CbwState *s = bs->opaque;
    int ret;

    if (!s->bcs || (flags & BDRV_REQ_WRITE_UNCHANGED) || qatomic_read(&s->snapshot_error)) {
        return 0;
    }
    ret = s->timeout_ns ? cbw_co_copy_with_timeout(bs, offset, bytes)
                        : cbw_co_copy(bs, offset, bytes);
    if (ret < 0 && s->on_cbw_error == ON_CBW_ERROR_BREAK_GUEST_WRITE) {
        return ret;
    }
    if (ret < 0) {
        qatomic_cmpxchg(&s->snapshot_error, 0, ret);
    }
    cbw_co_leave_source(s, offset, bytes, ret >= 0);
    return 0;
}

/* ---- requests -------------------------------------------------------------------------------- */

static int coroutine_fn cbw_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    return bdrv_co_preadv_part(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn cbw_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                       QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    int ret = cbw_co_before_change(bs, offset, bytes, flags);

    return ret < 0 ? ret : bdrv_co_pwritev_part(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn cbw_co_pwritev_compressed(BlockDriverState *bs, int64_t offset,
                                                  int64_t bytes, QEMUIOVector *qiov,
                                                  size_t qiov_offset)
{
    return cbw_co_pwritev(bs, offset, bytes, qiov, qiov_offset, BDRV_REQ_WRITE_COMPRESSED);
}

static int coroutine_fn cbw_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             unsigned flags)
{
    int ret = cbw_co_before_change(bs, offset, bytes, flags);

    return ret < 0 ? ret : bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);
}

static int coroutine_fn cbw_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int ret = cbw_co_before_change(bs, offset, bytes, 0);

    return ret < 0 ? ret : bdrv_co_pdiscard(bs->file, offset, bytes);
}

static int coroutine_fn cbw_co_copy_range_from(BlockDriverState *bs, BdrvChild *src,
                                               int64_t src_offset, BdrvChild *dst,
                                               int64_t dst_offset, int64_t bytes, unsigned flags)
{
    return bdrv_co_copy_range_from(bs->file, src_offset, dst, dst_offset, bytes, flags);
}

static int coroutine_fn cbw_co_copy_range_to(BlockDriverState *bs, BdrvChild *src,
                                             int64_t src_offset, BdrvChild *dst,
                                             int64_t dst_offset, int64_t bytes, unsigned flags)
{
    int ret = cbw_co_before_change(bs, dst_offset, bytes, flags);

    return ret < 0 ? ret : bdrv_co_copy_range_to(src, src_offset, bs->file, dst_offset, bytes,
                                                 flags);
}

/* What is cut off is saved first; what is added never was part of the snapshot. */
static int coroutine_fn cbw_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                                        PreallocMode prealloc, unsigned flags, Error **errp)
{
    int64_t bytes = bdrv_getlength(bs);

    if (offset < bytes) {
        int ret = cbw_co_before_change(bs, offset, bytes - offset, 0);

        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not save the data to be cut off");
            return ret;
        }
    }
    return bdrv_co_truncate(bs->file, offset, exact, prealloc, flags, errp);
}

/* ---- the snapshot ---------------------------------------------------------------------------- */

/*
 * Where the start of a range of the snapshot is to be read, and how much of it, *@n.  From the
 * source: @read is listed until snapshot_end().  NULL: it is not available.
 */
static BdrvChild *snapshot_begin(BlockDriverState *bs, int64_t offset, int64_t bytes, int64_t *n,
                                 SourceRead *read)
{
    CbwState *s = bs->opaque;
    int64_t cluster, next;
    uint64_t first, count;
    bool is_saved;

    read->bytes = 0;
    if (!s->bcs || qatomic_read(&s->snapshot_error)) {
        return NULL;
    }
    QEMU_LOCK_GUARD(&s->lock);
    clusters_of(s, offset, bytes, &first, &count);
    if (!count || hbitmap_next_zero(s->available, first, count) >= 0) {
        return NULL;
    }
    cluster = block_copy_cluster_size(s->bcs);
    is_saved = hbitmap_get(s->saved, first);
    next = is_saved ? hbitmap_next_zero(s->saved, first, count)
                    : hbitmap_next_dirty(s->saved, first, count);
    *n = next < 0 ? bytes : MIN(bytes, next * cluster - offset);
    if (is_saved) {
        return s->target;
    }
    read->offset = offset;
    read->bytes = *n;
    qemu_co_queue_init(&read->writers);
    QLIST_INSERT_HEAD(&s->source_reads, read, next);
    return bs->file;
}

static void snapshot_end(BlockDriverState *bs, SourceRead *read)
{
    CbwState *s = bs->opaque;

    if (read->bytes) {
        QEMU_LOCK_GUARD(&s->lock);
        QLIST_REMOVE(read, next);
        qemu_co_queue_restart_all(&read->writers);
    }
}

static int coroutine_fn cbw_co_preadv_snapshot(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                               QEMUIOVector *qiov, size_t qiov_offset)
{
    while (bytes > 0) {
        SourceRead read;
        int64_t n;
        BdrvChild *child = snapshot_begin(bs, offset, bytes, &n, &read);
        int ret;

        if (!child) {
            return -EACCES;
        }
        ret = bdrv_co_preadv_part(child, offset, n, qiov, qiov_offset, 0);
        snapshot_end(bs, &read);
        if (ret < 0) {
            return ret;
        }
        offset += n;
        bytes -= n;
        qiov_offset += n;
    }
    return 0;
}

static int coroutine_fn cbw_co_snapshot_block_status(BlockDriverState *bs, bool want_zero,
                                                     int64_t offset, int64_t bytes, int64_t *pnum)
{
    SourceRead read;
    BlockDriverState *file;
    int64_t n, map;
    BdrvChild *child = snapshot_begin(bs, offset, bytes, &n, &read);
    int ret, depth;

    if (!child) {
        return -EACCES;
    }
    ret = bdrv_co_block_status_above(child->bs, NULL, offset, n, pnum, &map, &file, &depth);
    snapshot_end(bs, &read);
    return ret < 0 ? ret : ret & (BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO);
}

/* Whole clusters need not be kept any more. */
static int coroutine_fn cbw_co_pdiscard_snapshot(BlockDriverState *bs, int64_t offset,
                                                 int64_t bytes)
{
    CbwState *s = bs->opaque;
    int64_t cluster, start, end;
    uint64_t first, n;

    if (!s->bcs) {
        return -EACCES;
    }
    cluster = block_copy_cluster_size(s->bcs);
    start = QEMU_ALIGN_UP(offset, cluster);
    end = offset + bytes == bdrv_getlength(bs) ? offset + bytes
                                               : QEMU_ALIGN_DOWN(offset + bytes, cluster);
    if (start >= end) {
        return 0;
    }
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        clusters_of(s, start, end - start, &first, &n);
        hbitmap_reset(s->available, first, n);
    }
    block_copy_co_forget(s->bcs, start, end - start);
    return bdrv_co_pdiscard(s->target, start, end - start);
}

/* ---- graph ----------------------------------------------------------------------------------- */

static BdrvChildClaims cbw_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                        BdrvChildRole role, BlockRights parent_uses,
                                        BlockRights parent_shared)
{
    const CbwState *s = bs->opaque;
    BdrvChildClaims claims;

    if (!(role & BDRV_CHILD_FILTERED)) {
        /*
         * Others may read the target meanwhile, or back it up in turn; its size is looked at only
         * once.
         */
        return (BdrvChildClaims) {
            .uses = BLK_PERM_WRITE,
            .shared = BLK_PERM_ALL & ~BLK_PERM_RESIZE,
        };
    }
    claims = bdrv_default_child_claims(bs, child, role, parent_uses, parent_shared);
    if (!QTAILQ_EMPTY(&bs->parents)) {
        /*
         * A change that does not come through here goes unsaved.  Without users above, the filter
         * is still to be put in its place: until then the source's own users go on writing.
         */
        claims.uses |= BLK_PERM_CONSISTENT_READ | (s->discard_source ? BLK_PERM_WRITE : 0);
        claims.shared &= ~(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    }
    return claims;
}

static void cbw_refresh_limits(BlockDriverState *bs)
{
    const BlockDriverState *file = bs->file ? bs->file->bs : NULL;

    if (file) {
        bs->supported_read_flags = file->supported_read_flags;
        bs->supported_write_flags = BDRV_REQ_WRITE_UNCHANGED |
                                    (BDRV_REQ_FUA & file->supported_write_flags);
        bs->supported_zero_flags = BDRV_REQ_WRITE_UNCHANGED |
            ((BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK) &
             file->supported_zero_flags);
        bs->supported_truncate_flags = file->supported_truncate_flags;
    }
}

/* Files and targets of other sizes: the target must hold what may be saved. */
static bool check_lengths(BlockDriverState *source, BlockDriverState *target, Error **errp)
{
    if (bdrv_getlength(source) < 0 || bdrv_getlength(target) < bdrv_getlength(source)) {
        error_setg(errp, "Source and target image have different sizes");
        return false;
    }
    return true;
}

/* The snapshot has the clusters that are to be copied, none of which is saved yet. */
static void start_snapshot(CbwState *s, int64_t bytes)
{
    int64_t cluster = block_copy_cluster_size(s->bcs);
    BdrvDirtyBitmap *left = block_copy_dirty_bitmap(s->bcs);
    uint64_t clusters = DIV_ROUND_UP(bytes, cluster);

    qemu_mutex_init(&s->lock);
    QLIST_INIT(&s->source_reads);
    s->saved = hbitmap_alloc(clusters, 0);
    s->available = hbitmap_alloc(clusters, 0);
    for (int64_t pos = 0, n; pos < bytes; pos += n) {
        pos = bdrv_dirty_bitmap_next_dirty(left, pos, bytes - pos);
        if (pos < 0) {
            break;
        }
        n = bdrv_dirty_bitmap_next_zero(left, pos, bytes - pos);
        n = (n < 0 ? bytes : n) - pos;
        hbitmap_set(s->available, pos / cluster, DIV_ROUND_UP(n, cluster));
    }
}

static void stop_snapshot(CbwState *s)
{
    if (s->bcs) {
        hbitmap_free(g_steal_pointer(&s->saved));
        hbitmap_free(g_steal_pointer(&s->available));
        qemu_mutex_destroy(&s->lock);
        block_copy_state_free(g_steal_pointer(&s->bcs));
    }
}

static bool cbw_start(BlockDriverState *bs, const CbwArgs *args, BdrvChild *target, Error **errp)
{
    CbwState *s = bs->opaque;
    BlockCopyArgs copy = {
        .source = bs->file,
        .target = target,
        .min_cluster_size = args->min_cluster_size,
        .discard_source = args->discard_source,
        .bottom = args->skip_unallocated ? bdrv_skip_filters(bs->file->bs) : NULL,
        .use_copy_range = args->use_copy_range,
        .compress = args->compress,
        .bitmap = args->bitmap,
    };

    s->target = target;
    s->on_cbw_error = args->on_cbw_error;
    s->timeout_ns = args->cbw_timeout * NANOSECONDS_PER_SECOND;
    s->discard_source = args->discard_source;
    s->bcs = block_copy_state_new(&copy, errp);
    if (!s->bcs) {
        return false;
    }
    start_snapshot(s, bdrv_getlength(bs->file->bs));
    return true;
}

/* Finds the bitmap that the user named; false: there is none. */
static bool find_bitmap(const BlockDirtyBitmap *ref, BdrvDirtyBitmap **bitmap, Error **errp)
{
    BlockDriverState *bs;

    if (!ref) {
        return true;
    }
    bs = bdrv_find_node(ref->node);
    if (!bs) {
        error_setg(errp, "Node '%s' not found", ref->node);
        return false;
    }
    *bitmap = bdrv_find_dirty_bitmap(bs, ref->name);
    if (!*bitmap) {
        error_setg(errp, "Dirty bitmap '%s' not found", ref->name);
        return false;
    }
    return bdrv_dirty_bitmap_check(*bitmap, BDRV_BITMAP_ALLOW_RO, errp);
}

/* @options NULL: cbw_co_insert() does the rest. */
static bool coroutine_fn cbw_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                     int flags, Error **errp)
{
    const BlockdevOptionsCbw *opts = options ? &options->u.copy_before_write : NULL;
    CbwArgs args = { 0 };
    BdrvChild *target;

    if (!opts) {
        return true;
    }
    if (!bdrv_co_open_file_child(bs, opts->file, errp)) {
        return false;
    }
    /* No role: what is written there is no content of this node. */
    target = bdrv_co_open_child(bs, "target", 0, opts->target, false, errp);
    if (!target || !check_lengths(bs->file->bs, target->bs, errp) ||
        !find_bitmap(opts->bitmap, &args.bitmap, errp)) {
        return false;
    }
    args.on_cbw_error = opts->has_on_cbw_error ? opts->on_cbw_error
                                               : ON_CBW_ERROR_BREAK_GUEST_WRITE;
    args.cbw_timeout = opts->has_cbw_timeout ? opts->cbw_timeout : 0;
    args.min_cluster_size = opts->has_min_cluster_size ? opts->min_cluster_size : 0;
    return cbw_start(bs, &args, target, errp);
}

static void coroutine_fn cbw_co_close(BlockDriverState *bs)
{
    stop_snapshot(bs->opaque);
}

/* ---- from code ------------------------------------------------------------------------------- */

/* The source is frozen.  On failure nothing has changed for its users. */
static bool coroutine_fn cbw_co_put(BlockDriverState *bs, const CbwArgs *args, Error **errp)
{
    BdrvChildSpec spec = { .name = "target", .parent = bs };
    BdrvChild *target = bdrv_co_attach_child(&spec, bdrv_ref(args->target), errp);

    if (!target) {
        error_prepend(errp, "Could not create node: ");
        return false;
    }
    ((CbwState *)bs->opaque)->discard_source = args->discard_source;
    if (!bdrv_co_insert_filter(bs, args->source, "file", errp)) {
        error_prepend(errp, "Could not replace node: ");
        bdrv_co_detach_child(target);
        return false;
    }
    if (!cbw_start(bs, args, target, errp)) {
        /* The reverse of what was just allowed cannot be refused. */
        bdrv_co_remove_filter(bs, &error_abort);
        bdrv_co_detach_child(target);
        return false;
    }
    return true;
}

BlockDriverState *coroutine_fn cbw_co_insert(const CbwArgs *args, BlockCopyState **bcs,
                                             Error **errp)
{
    /* Discards pass; whether they do anything is for the source to say. */
    int flags = BDRV_O_UNMAP | (bdrv_is_read_only(args->source) ? 0 : BDRV_O_RDWR);
    g_autoptr(BlockDriverState) bs = NULL;
    g_autoptr(BdrvFreeze) freeze = NULL;

    CONTROL_PATH();
    if (!check_lengths(args->source, args->target, errp)) {
        return NULL;
    }
    bs = bdrv_co_open_driver(&bdrv_copy_before_write, args->filter_node_name, flags, errp);
    if (!bs) {
        return NULL;
    }
    bs->owner_key = args->owner_key;
    freeze = bdrv_co_freeze_node(args->source);
    if (!cbw_co_put(bs, args, errp)) {
        return NULL;
    }
    *bcs = ((CbwState *)bs->opaque)->bcs;
    return g_steal_pointer(&bs);
}

bool coroutine_fn cbw_co_drop(BlockDriverState *cbw, Error **errp)
{
    g_autoptr(BlockDriverState) bs = cbw;
    g_autoptr(BdrvFreeze) freeze = NULL;
    CbwState *s = bs->opaque;

    CONTROL_PATH();
    freeze = bdrv_co_freeze_node(bs);
    stop_snapshot(s);
    bdrv_co_detach_child(g_steal_pointer(&s->target));
    return bdrv_co_remove_filter(bs, errp);
}

int cbw_snapshot_error(BlockDriverState *cbw)
{
    CbwState *s = cbw->opaque;

    return qatomic_read(&s->snapshot_error);
}

/* ---- the driver ------------------------------------------------------------------------------ */

BlockDriver bdrv_copy_before_write = {
    .format_name = "copy-before-write",
    .instance_size = sizeof(CbwState),
    .options_type = BLOCKDEV_DRIVER_COPY_BEFORE_WRITE,
    .is_filter = true,
    .bdrv_refresh_filename = filter_take_name_of_file,
    .bdrv_co_open = cbw_co_open,
    .bdrv_co_close = cbw_co_close,
    .bdrv_child_claims = cbw_child_claims,
    .bdrv_refresh_limits = cbw_refresh_limits,
    .bdrv_co_preadv = cbw_co_preadv,
    .bdrv_co_pwritev = cbw_co_pwritev,
    .bdrv_co_pwritev_compressed = cbw_co_pwritev_compressed,
    .bdrv_co_pwrite_zeroes = cbw_co_pwrite_zeroes,
    .bdrv_co_pdiscard = cbw_co_pdiscard,
    .bdrv_co_copy_range_from = cbw_co_copy_range_from,
    .bdrv_co_copy_range_to = cbw_co_copy_range_to,
    .bdrv_co_preadv_snapshot = cbw_co_preadv_snapshot,
    .bdrv_co_snapshot_block_status = cbw_co_snapshot_block_status,
    .bdrv_co_pdiscard_snapshot = cbw_co_pdiscard_snapshot,
    .bdrv_co_truncate = cbw_co_truncate,
};
