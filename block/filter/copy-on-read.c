/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy-on-read: what was read from a backing node is written to the top one, too.
 *
 * Between reading a cluster and writing its copy nobody else may write there: so reads of this node
 * are serialising over whole clusters (bdrv_serialise_reads), and the core has begun such a request
 * when it calls the driver.  A copy that cannot be written fails the read, as in stock.
 */
#include "qemu/osdep.h"

#include "block/copy-on-read.h"
#include "filter-int.h"

#include "qemu/buffer-pool.h"
#include "qemu/iszero.h"

/* Stays in the processor's cache; larger clusters have buffers of their own. */
#define POOLED_COPY (256 * KiB)
#define BUFFER_ALIGNMENT 4096

extern BlockDriver bdrv_copy_on_read;

typedef struct CorState {
    BlockDriverState *bottom; /* referenced; NULL: copy from the whole chain */
    BufferPool buffers;       /* of POOLED_COPY bytes */
} CorState;

/* The unit of copying. */
static int64_t cluster_size(BlockDriverState *bs)
{
    int64_t align = bs->bl.request_alignment;

    return MAX(bdrv_get_cluster_size(bs->file->bs), align);
}

/*
 * Is the start of the range to be copied up?  *@n: for how much of it that holds.  1, 0, or a
 * negative errno.  What no image holds reads as zeroes anyway and stays as it is.
 */
static int coroutine_fn cor_co_wants_copy(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                          int64_t *n)
{
    const CorState *s = bs->opaque;
    /* Filters hold nothing: asking each of a stack of them would take quadratic time. */
    BlockDriverState *image = bdrv_skip_filters(bs->file->bs);
    int64_t below;
    int ret;

    if (bs->inactive || bs->file->bs->inactive || !image || !bdrv_filter_or_cow_bs(image)) {
        *n = bytes;
        return 0;
    }
    ret = bdrv_co_is_allocated(image, offset, bytes, n);
    if (ret != 0) {
        return MIN(ret, 0);
    }
    ret = bdrv_co_is_allocated_above(image, s->bottom, s->bottom != NULL, offset, *n, &below);
    *n = MIN(*n, below);
    return ret;
}

/* Copy up whole clusters, [start, start + bytes). */
static int coroutine_fn cor_co_copy(BlockDriverState *bs, int64_t start, int64_t bytes,
                                    uint8_t *buf)
{
    int ret = bdrv_co_pread(bs->file, start, bytes, buf, 0);

    if (ret < 0) {
        return ret;
    }
    BLKDBG_CO_EVENT(bs->file, COR_WRITE);
    if (buffer_is_zero(buf, bytes)) {
        return bdrv_co_pwrite_zeroes(bs->file, start, bytes, BDRV_REQ_WRITE_UNCHANGED);
    }
    return bdrv_co_pwrite(bs->file, start, bytes, buf, BDRV_REQ_WRITE_UNCHANGED);
}

/*
 * As much of @bytes from @start, a cluster's begin, as one buffer takes; @qiov NULL: nobody reads.
 * The reader's part begins at @offset.  Returns the reader's bytes, or a negative errno.
 */
static int64_t coroutine_fn cor_co_copy_piece(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                              QEMUIOVector *qiov, size_t qiov_offset)
{
    CorState *s = bs->opaque;
    int64_t cluster = cluster_size(bs);
    int64_t start = QEMU_ALIGN_DOWN(offset, cluster);
    int64_t n = MIN(QEMU_ALIGN_UP(offset + bytes, cluster) - start, MAX(POOLED_COPY, cluster));
    int64_t copied = MIN(n, bdrv_getlength(bs->file->bs) - start);
    int64_t wanted = MIN(offset + bytes, start + n) - offset;
    bool pooled = n <= POOLED_COPY;
    uint8_t *buf = pooled ? buffer_pool_get(&s->buffers) : bdrv_try_blockalign(bs->file->bs, n);
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    /* Past the end of the node there are zeroes, and nothing to copy. */
    if (copied < n) {
        memset(buf, 0, n);
    }
    ret = copied > 0 ? cor_co_copy(bs, start, copied, buf) : 0;
    if (ret >= 0 && qiov) {
        qemu_iovec_from_buf(qiov, qiov_offset, buf + (offset - start), wanted);
    }
    if (pooled) {
        buffer_pool_put(&s->buffers, buf);
    } else {
        qemu_vfree(buf);
    }
    return ret < 0 ? ret : wanted;
}

/*
 * A part of the request that is to be copied up, widened to clusters, and handed to the reader;
 * @qiov NULL: nobody reads.
 */
static int coroutine_fn cor_co_read_and_copy(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov, size_t qiov_offset)
{
    while (bytes > 0) {
        int64_t n = cor_co_copy_piece(bs, offset, bytes, qiov, qiov_offset);

        if (n < 0) {
            return n;
        }
        offset += n;
        bytes -= n;
        qiov_offset += n;
    }
    return 0;
}

static int coroutine_fn cor_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    bool prefetch = flags & BDRV_REQ_PREFETCH;

    while (bytes > 0) {
        int64_t n;
        int ret = cor_co_wants_copy(bs, offset, bytes, &n);

        if (ret < 0) {
            return ret;
        }
        if (ret) {
            ret = cor_co_read_and_copy(bs, offset, n, prefetch ? NULL : qiov, qiov_offset);
        } else if (!prefetch) {
            ret = bdrv_co_preadv_part(bs->file, offset, n, qiov, qiov_offset, flags);
        }
        if (ret < 0) {
            return ret;
        }
        offset += n;
        bytes -= n;
        qiov_offset += n;
    }
    return 0;
}

static int coroutine_fn cor_co_pwritev_compressed(BlockDriverState *bs, int64_t offset,
                                                  int64_t bytes, QEMUIOVector *qiov,
                                                  size_t qiov_offset)
{
    return bdrv_co_pwritev_part(bs->file, offset, bytes, qiov, qiov_offset,
                                BDRV_REQ_WRITE_COMPRESSED);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Whoever reads through this node writes, if only what is there. */
static BdrvChildClaims cor_child_claims(BlockDriverState *bs, const BdrvChild *child,
                                        BdrvChildRole role, BlockRights parent_uses,
                                        BlockRights parent_shared)
{
    BdrvChildClaims claims = bdrv_default_child_claims(bs, child, role, parent_uses,
                                                       parent_shared);

    if (parent_uses & BLK_PERM_CONSISTENT_READ) {
        claims.uses |= BLK_PERM_WRITE_UNCHANGED;
    }
    return claims;
}

static bool coroutine_fn cor_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                     int flags, Error **errp)
{
    const BlockdevOptionsCor *opts = options ? &options->u.copy_on_read : NULL;
    CorState *s = bs->opaque;
    BlockDriverState *bottom;

    buffer_pool_init(&s->buffers, BUFFER_ALIGNMENT, POOLED_COPY);
    if (!opts) {
        return true;
    }
    if (!bdrv_co_open_file_child(bs, opts->file, errp)) {
        return false;
    }
    if (!opts->bottom) {
        return true;
    }
    bottom = bdrv_find_node(opts->bottom);
    if (!bottom) {
        error_setg(errp, "Bottom node '%s' not found", opts->bottom);
        return false;
    }
    if (bdrv_is_filter(bottom)) {
        error_setg(errp, "Bottom node '%s' is a filter", opts->bottom);
        return false;
    }
    s->bottom = bdrv_ref(bottom);
    return true;
}

static void cor_refresh_limits(BlockDriverState *bs)
{
    filter_take_flags_of_file(bs);
    bs->supported_read_flags |= BDRV_REQ_PREFETCH;
}

static void coroutine_fn cor_co_close(BlockDriverState *bs)
{
    CorState *s = bs->opaque;

    bdrv_unref(g_steal_pointer(&s->bottom));
    buffer_pool_done(&s->buffers);
}


/* ---- from code ------------------------------------------------------------------------------- */

static void set_bottom(BlockDriverState *bs, void *bottom)
{
    CorState *s = bs->opaque;

    s->bottom = bdrv_ref(bottom);
}

BlockDriverState *coroutine_fn cor_co_insert(BlockDriverState *bs, BlockDriverState *bottom,
                                             const char *filter_node_name, const void *owner_key,
                                             Error **errp)
{
    FilterSpec spec = {
        .drv = &bdrv_copy_on_read,
        .child_name = "file",
        .node_name = filter_node_name,
        .owner_key = owner_key,
        .flags = BDRV_O_RDWR | BDRV_O_UNMAP,
    };

    return filter_co_insert(&spec, bs, set_bottom, bottom, errp);
}

bool coroutine_fn cor_co_drop(BlockDriverState *cor, Error **errp)
{
    return filter_co_drop(cor, errp);
}

/* ---- the driver ------------------------------------------------------------------------------ */

BlockDriver bdrv_copy_on_read = {
    .format_name = "copy-on-read",
    .instance_size = sizeof(CorState),
    .options_type = BLOCKDEV_DRIVER_COPY_ON_READ,
    .is_filter = true,
    .bdrv_co_open = cor_co_open,
    .bdrv_co_close = cor_co_close,
    .bdrv_child_claims = cor_child_claims,
    .bdrv_refresh_limits = cor_refresh_limits,
    .bdrv_serialise_reads = cluster_size,
    .bdrv_co_preadv = cor_co_preadv,
    .bdrv_co_pwritev_compressed = cor_co_pwritev_compressed,
};
