/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is told about nodes, as QAPI values.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "block/qapi.h"
#include "block/snapshot.h"
#include "core-int.h"
#include "qapi/gen/block-info-types.h"
#include "qemu/atomic.h"

/* ---- images ---------------------------------------------------------------------------------- */

BlockLimitsInfo *bdrv_limits_info(const BlockDriverState *bs)
{
    const BlockLimits *bl = &bs->bl;
    BlockLimitsInfo *info = g_new0(BlockLimitsInfo, 1);
    info->request_alignment = bl->request_alignment;
    info->has_max_discard = bl->max_pdiscard != 0;
    info->max_discard = bl->max_pdiscard;
    info->has_discard_alignment = bl->pdiscard_alignment != 0;
    info->discard_alignment = bl->pdiscard_alignment;
    info->has_max_write_zeroes = bl->max_pwrite_zeroes != 0;
    info->max_write_zeroes = bl->max_pwrite_zeroes;
    info->has_opt_write_zeroes = bl->pwrite_zeroes_alignment != 0;
    info->opt_write_zeroes = bl->pwrite_zeroes_alignment;
    info->has_opt_transfer = bl->opt_transfer != 0;
    info->opt_transfer = MIN(bl->opt_transfer, UINT32_MAX);
    info->has_max_transfer = bl->max_transfer != 0;
    info->max_transfer = MIN(bl->max_transfer, UINT32_MAX);
    info->max_iov = bl->max_iov;
    info->min_mem_alignment = bl->min_mem_alignment;
    info->opt_mem_alignment = bl->opt_mem_alignment;
    return info;
}

static void fill_backing_names(BlockDriverState *bs, BlockNodeInfo *info)
{
    if (!bs->backing_file || !*bs->backing_file) {
        return;
    }
    info->backing_filename = g_strdup(bs->backing_file);
    info->full_backing_filename = bdrv_get_full_backing_filename(bs, NULL);
    if (bs->backing_format && *bs->backing_format) {
        info->backing_filename_format = g_strdup(bs->backing_format);
    }
}

/* Everything that needs no I/O.  @info's virtual_size is set by the caller. */
static bool fill_node_info(BlockDriverState *bs, BlockNodeInfo *info, Error **errp)
{
    BlockDriverInfo driver_info;
    info->filename = g_strdup(bdrv_get_filename(bs));
    info->format = g_strdup(bdrv_get_format_name(bs));
    info->has_encrypted = info->encrypted = bdrv_is_encrypted(bs);
    if (bdrv_get_info(bs, &driver_info) >= 0) {
        info->has_cluster_size = driver_info.cluster_size != 0;
        info->cluster_size = driver_info.cluster_size;
        info->has_dirty_flag = true;
        info->dirty_flag = driver_info.is_dirty;
    }
    if (bs->drv->bdrv_get_specific_info) {
        Error *local_err = NULL;
        info->format_specific = bs->drv->bdrv_get_specific_info(bs, &local_err);
        if (local_err) {
            error_propagate(errp, local_err);
            return false;
        }
    }
    info->snapshots = bdrv_snapshot_list(bs);
    info->has_snapshots = info->snapshots != NULL;
    fill_backing_names(bs, info);
    return true;
}

static bool coroutine_fn co_fill_node_info(BlockDriverState *bs, BlockNodeInfo *info, Error **errp)
{
    int64_t bytes = bdrv_co_getlength(bs);
    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "Can't get image size '%s'", bdrv_get_filename(bs));
        return false;
    }
    info->virtual_size = bytes;
    int64_t allocated = bdrv_co_get_allocated_file_size(bs);
    info->has_actual_size = allocated >= 0;
    info->actual_size = MAX(allocated, 0);
    return fill_node_info(bs, info, errp);
}

BlockGraphInfo *coroutine_fn bdrv_co_graph_info(BlockDriverState *bs, Error **errp)
{
    g_autoptr(BlockGraphInfo) info = g_new0(BlockGraphInfo, 1);
    BlockChildInfoList **tail = &info->children;
    BdrvChild *child;
    if (!co_fill_node_info(bs, bdrv_graph_info_node(info), errp)) {
        return NULL;
    }
    QLIST_FOREACH(child, &bs->children, next) {
        BlockGraphInfo *below = bdrv_co_graph_info(child->bs, errp);
        if (!below) {
            return NULL;
        }
        BlockChildInfo *child_info = g_new0(BlockChildInfo, 1);
        child_info->name = g_strdup(child->name);
        child_info->info = below;
        QAPI_LIST_APPEND(tail, child_info);
    }
    return g_steal_pointer(&info);
}

/* ---- devices --------------------------------------------------------------------------------- */

/* On average; json:{} names of stacked filters have 4 KiB, and each image tells its own. */
#define MAX_MEAN_NAME 400

static ImageInfo *image_info_without_io(BlockDriverState *bs, unsigned max_images,
                                        Error **errp)
{
    ImageInfo *first = NULL, **link = &first;
    size_t name_bytes = 0, max_name_bytes = max_images * (size_t)MAX_MEAN_NAME;
    for (; bs && max_images > 0; bs = bdrv_filter_or_cow_bs(bs), max_images--) {
        name_bytes += strlen(bdrv_get_filename(bs));
        if (first && name_bytes > max_name_bytes) {
            break;
        }
        ImageInfo *info = *link = g_new0(ImageInfo, 1);
        int64_t allocated = bdrv_known_allocated_size(bs);
        info->virtual_size = MAX(bdrv_getlength(bs), 0);
        info->has_actual_size = allocated >= 0;
        info->actual_size = MAX(allocated, 0);
        if (!fill_node_info(bs, bdrv_image_info_node(info), errp)) {
            qapi_free_ImageInfo(first);
            return NULL;
        }
        link = &info->backing_image;
    }
    return first;
}

static int backing_depth(const BlockDriverState *bs)
{
    int depth = 0;
    while ((bs = bdrv_backing_chain_next((BlockDriverState *)bs))) {
        depth++;
    }
    return depth;
}

static BlockdevChildList *children_of(const BlockDriverState *bs)
{
    BlockdevChildList *list = NULL, **tail = &list;
    BdrvChild *child;
    QLIST_FOREACH(child, &bs->children, next) {
        BlockdevChild *entry = g_new0(BlockdevChild, 1);
        entry->child = g_strdup(child->name);
        entry->node_name = g_strdup(child->bs->node_name);
        QAPI_LIST_APPEND(tail, entry);
    }
    return list;
}

BlockDeviceInfo *bdrv_device_info(BlockDriverState *bs, unsigned max_images, Error **errp)
{
    GLOBAL_STATE_CODE();
    if (!bs->drv) {
        error_setg(errp, "Block device %s is ejected", bs->node_name);
        return NULL;
    }
    g_autoptr(BlockDeviceInfo) info = g_new0(BlockDeviceInfo, 1);
    info->image = image_info_without_io(bs, max_images, errp);
    if (!info->image) {
        return NULL;
    }
    info->file = g_strdup(bdrv_get_filename(bs));
    info->node_name = g_strdup(bs->node_name);
    info->ro = bdrv_is_read_only(bs);
    info->drv = g_strdup(bdrv_get_format_name(bs));
    info->encrypted = bs->encrypted;
    info->active = !bs->inactive;
    info->detect_zeroes = bs->detect_zeroes;
    info->backing_file_depth = max_images == 1 ? 0 : backing_depth(bs);
    BlockDriverState *backing = bdrv_backing_chain_next(bs);
    if (backing) {
        info->backing_file = g_strdup(bdrv_get_filename(backing));
    }
    info->cache = g_new0(BlockdevCacheInfo, 1);
    info->cache->writeback = true; /* a property of the backend, which corrects it */
    info->cache->direct = (bs->open_flags & BDRV_O_NOCACHE) != 0;
    info->cache->no_flush = (bs->open_flags & BDRV_O_NO_FLUSH) != 0;
    info->write_threshold = bdrv_write_threshold_get(bs);
    if (!QLIST_EMPTY(&bs->dirty_bitmaps)) {
        info->has_dirty_bitmaps = true;
        info->dirty_bitmaps = bdrv_query_dirty_bitmaps(bs);
    }
    info->children = children_of(bs);
    return g_steal_pointer(&info);
}

/* ---- statistics ------------------------------------------------------------------------------ */

static BlockLatencyHistogramInfo *histogram_info(const BlockLatencyHistogram *hist)
{
    if (!hist->bins) {
        return NULL;
    }
    BlockLatencyHistogramInfo *info = g_new0(BlockLatencyHistogramInfo, 1);
    uint64List **boundaries = &info->boundaries, **bins = &info->bins;
    for (int i = 0; i < hist->nbins; i++) {
        QAPI_LIST_APPEND(bins, hist->bins[i]);
        if (i < hist->nbins - 1) {
            QAPI_LIST_APPEND(boundaries, hist->boundaries[i]);
        }
    }
    return info;
}

static BlockDeviceTimedStats *timed_info(BlockAcctStats *stats, BlockAcctTimedStats *timed)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    TimedAverage *rd = &timed->latency[BLOCK_ACCT_READ];
    TimedAverage *wr = &timed->latency[BLOCK_ACCT_WRITE];
    TimedAverage *zap = &timed->latency[BLOCK_ACCT_ZONE_APPEND];
    TimedAverage *flush = &timed->latency[BLOCK_ACCT_FLUSH];
    BlockDeviceTimedStats *info = g_new0(BlockDeviceTimedStats, 1);
    info->interval_length = timed->interval_s;
    info->min_rd_latency_ns = timed_average_min(rd, now);
    info->max_rd_latency_ns = timed_average_max(rd, now);
    info->avg_rd_latency_ns = timed_average_avg(rd, now);
    info->min_wr_latency_ns = timed_average_min(wr, now);
    info->max_wr_latency_ns = timed_average_max(wr, now);
    info->avg_wr_latency_ns = timed_average_avg(wr, now);
    info->min_zone_append_latency_ns = timed_average_min(zap, now);
    info->max_zone_append_latency_ns = timed_average_max(zap, now);
    info->avg_zone_append_latency_ns = timed_average_avg(zap, now);
    info->min_flush_latency_ns = timed_average_min(flush, now);
    info->max_flush_latency_ns = timed_average_max(flush, now);
    info->avg_flush_latency_ns = timed_average_avg(flush, now);
    return info;
}

void bdrv_stats_from_accounting(BlockAcctStats *stats, BlockDeviceStats *dst)
{
    BlockDeviceTimedStatsList **tail = &dst->timed_stats;
    BlockAcctTimedStats *timed = NULL;
    int64_t idle_ns = block_acct_idle_time_ns(stats);

    qemu_mutex_lock(&stats->lock);
    dst->rd_bytes = stats->bytes[BLOCK_ACCT_READ];
    dst->wr_bytes = stats->bytes[BLOCK_ACCT_WRITE];
    dst->zone_append_bytes = stats->bytes[BLOCK_ACCT_ZONE_APPEND];
    dst->unmap_bytes = stats->bytes[BLOCK_ACCT_UNMAP];
    dst->rd_operations = stats->ops[BLOCK_ACCT_READ];
    dst->wr_operations = stats->ops[BLOCK_ACCT_WRITE];
    dst->zone_append_operations = stats->ops[BLOCK_ACCT_ZONE_APPEND];
    dst->flush_operations = stats->ops[BLOCK_ACCT_FLUSH];
    dst->unmap_operations = stats->ops[BLOCK_ACCT_UNMAP];
    dst->rd_total_time_ns = stats->total_time_ns[BLOCK_ACCT_READ];
    dst->wr_total_time_ns = stats->total_time_ns[BLOCK_ACCT_WRITE];
    dst->zone_append_total_time_ns = stats->total_time_ns[BLOCK_ACCT_ZONE_APPEND];
    dst->flush_total_time_ns = stats->total_time_ns[BLOCK_ACCT_FLUSH];
    dst->unmap_total_time_ns = stats->total_time_ns[BLOCK_ACCT_UNMAP];
    dst->rd_merged = stats->merged[BLOCK_ACCT_READ];
    dst->wr_merged = stats->merged[BLOCK_ACCT_WRITE];
    dst->zone_append_merged = stats->merged[BLOCK_ACCT_ZONE_APPEND];
    dst->unmap_merged = stats->merged[BLOCK_ACCT_UNMAP];
    dst->failed_rd_operations = stats->failed_ops[BLOCK_ACCT_READ];
    dst->failed_wr_operations = stats->failed_ops[BLOCK_ACCT_WRITE];
    dst->failed_zone_append_operations = stats->failed_ops[BLOCK_ACCT_ZONE_APPEND];
    dst->failed_flush_operations = stats->failed_ops[BLOCK_ACCT_FLUSH];
    dst->failed_unmap_operations = stats->failed_ops[BLOCK_ACCT_UNMAP];
    dst->invalid_rd_operations = stats->invalid_ops[BLOCK_ACCT_READ];
    dst->invalid_wr_operations = stats->invalid_ops[BLOCK_ACCT_WRITE];
    dst->invalid_zone_append_operations = stats->invalid_ops[BLOCK_ACCT_ZONE_APPEND];
    dst->invalid_flush_operations = stats->invalid_ops[BLOCK_ACCT_FLUSH];
    dst->invalid_unmap_operations = stats->invalid_ops[BLOCK_ACCT_UNMAP];
    dst->account_invalid = stats->account_invalid;
    dst->account_failed = stats->account_failed;
    dst->has_idle_time_ns = stats->last_access_ns > 0;
    dst->idle_time_ns = dst->has_idle_time_ns ? idle_ns : 0;
    dst->rd_latency_histogram = histogram_info(&stats->histogram[BLOCK_ACCT_READ]);
    dst->wr_latency_histogram = histogram_info(&stats->histogram[BLOCK_ACCT_WRITE]);
    dst->zone_append_latency_histogram = histogram_info(&stats->histogram[BLOCK_ACCT_ZONE_APPEND]);
    dst->flush_latency_histogram = histogram_info(&stats->histogram[BLOCK_ACCT_FLUSH]);
    while ((timed = block_acct_interval_next(stats, timed))) {
        QAPI_LIST_APPEND(tail, timed_info(stats, timed));
    }
    qemu_mutex_unlock(&stats->lock);

    BlockDeviceTimedStatsList *entry = dst->timed_stats;
    while ((timed = block_acct_interval_next(stats, timed))) {
        entry->value->avg_rd_queue_depth = block_acct_queue_depth(stats, timed, BLOCK_ACCT_READ);
        entry->value->avg_wr_queue_depth = block_acct_queue_depth(stats, timed, BLOCK_ACCT_WRITE);
        entry->value->avg_zone_append_queue_depth =
            block_acct_queue_depth(stats, timed, BLOCK_ACCT_ZONE_APPEND);
        entry = entry->next;
    }
}

/* What is below is told as nested values, which clients' parsers bear only so deep. */
#define MAX_STATS_LEVELS 100

static BlockStats *node_stats(BlockDriverState *bs, bool with_backing, unsigned levels)
{
    BlockStats *stats = g_new0(BlockStats, 1);
    stats->stats = g_new0(BlockDeviceStats, 1);
    stats->node_name = g_strdup(bs->node_name);
    stats->stats->wr_highest_offset = qatomic_read(&bs->wr_highest_offset);
    if (bs->drv && bs->drv->bdrv_get_specific_stats) {
        stats->driver_specific = bs->drv->bdrv_get_specific_stats(bs);
    }
    BlockDriverState *primary = bdrv_primary_bs(bs);
    BlockDriverState *cow = with_backing ? bdrv_cow_bs(bs) : NULL;
    if (levels > 1) {
        stats->parent = primary ? node_stats(primary, with_backing, levels - 1) : NULL;
        stats->backing = cow ? node_stats(cow, with_backing, levels - 1) : NULL;
    }
    return stats;
}

BlockStats *bdrv_node_stats(BlockDriverState *bs, bool with_backing)
{
    GLOBAL_STATE_CODE();
    /* Each node is told of by itself: no need to repeat a deep stack of filters for each. */
    return node_stats(bs, with_backing, with_backing ? MAX_STATS_LEVELS : 10);
}
