/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compress: what is written is written compressed.
 *
 * Requests are whole clusters of the format below (the core reads what is missing), so that every
 * write can be compressed.  Where the length is no multiple of the cluster size that would reach
 * beyond the end; there, parts of clusters are written as they are.
 */
#include "qemu/osdep.h"

#include "filter-int.h"

static bool coroutine_fn compress_co_open(BlockDriverState *bs, const BlockdevOptions *options,
                                          int flags, Error **errp)
{
    if (!bdrv_co_open_file_child(bs, options->u.compress.file, errp)) {
        return false;
    }
    if (!bdrv_supports_compressed_writes(bs->file->bs)) {
        error_setg(errp, "Compression is not supported for underlying format: %s",
                   bdrv_get_format_name(bs->file->bs));
        return false;
    }
    return true;
}

static void compress_refresh_limits(BlockDriverState *bs)
{
    int64_t cluster, bytes;

    if (!bs->file) {
        return;
    }
    filter_take_flags_of_file(bs);
    /* A compressed write is not known to be stable. */
    bs->supported_write_flags &= ~BDRV_REQ_FUA;
    cluster = bdrv_get_cluster_size(bs->file->bs);
    bytes = bdrv_getlength(bs->file->bs);
    if (cluster > 0 && bytes >= 0 && bytes % cluster == 0) {
        bs->bl.request_alignment = MAX(bs->bl.request_alignment, cluster);
    }
}

static int coroutine_fn compress_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                            QEMUIOVector *qiov, size_t qiov_offset, unsigned flags)
{
    int64_t cluster = MAX(bdrv_get_cluster_size(bs->file->bs), 1);
    /* What the core added to reach a whole cluster does not make the disk grow. */
    int64_t end = MIN(offset + bytes, MAX(bdrv_getlength(bs->file->bs), offset));
    int ret = 0;

    for (int64_t pos = offset, n; pos < end && ret >= 0; pos += n) {
        bool whole = pos % cluster == 0 && end - pos >= cluster;

        n = whole ? QEMU_ALIGN_DOWN(end - pos, cluster)
                  : MIN(QEMU_ALIGN_UP(pos + 1, cluster), end) - pos;
        ret = bdrv_co_pwritev_part(bs->file, pos, n, qiov, qiov_offset + (pos - offset),
                                   flags | (whole ? BDRV_REQ_WRITE_COMPRESSED : 0));
    }
    return ret;
}

static int coroutine_fn compress_co_pwritev_compressed(BlockDriverState *bs, int64_t offset,
                                                       int64_t bytes, QEMUIOVector *qiov,
                                                       size_t qiov_offset)
{
    return bdrv_co_pwritev_part(bs->file, offset, bytes, qiov, qiov_offset,
                                BDRV_REQ_WRITE_COMPRESSED);
}

BlockDriver bdrv_compress = {
    .format_name = "compress",
    .options_type = BLOCKDEV_DRIVER_COMPRESS,
    .is_filter = true,
    .bdrv_co_open = compress_co_open,
    .bdrv_refresh_limits = compress_refresh_limits,
    .bdrv_co_pwritev = compress_co_pwritev,
    .bdrv_co_pwritev_compressed = compress_co_pwritev_compressed,
};
