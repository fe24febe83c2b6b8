/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is told about nodes: as QAPI values for QMP, and as text for people.
 *
 * The _co_ functions ask storage for sizes; for queries that must not wait (no query-* command
 * may) use those without.  Results belong to the caller.  Main thread.
 */
#ifndef BLOCK_QAPI_H
#define BLOCK_QAPI_H

#include "block/accounting.h"
#include "block/block.h"
#include "qapi/gen/block-info-types.h"

/* The members of a base come first, in the base's own order. */
static inline BlockNodeInfo *bdrv_image_info_node(ImageInfo *info)
{
    _Static_assert(offsetof(ImageInfo, limits) == offsetof(BlockNodeInfo, limits), "base first");
    return (BlockNodeInfo *)info;
}

static inline BlockNodeInfo *bdrv_graph_info_node(BlockGraphInfo *info)
{
    _Static_assert(offsetof(BlockGraphInfo, limits) == offsetof(BlockNodeInfo, limits),
                   "base first");
    return (BlockNodeInfo *)info;
}

/* ---- as values ------------------------------------------------------------------------------- */

/** @bs and all nodes below it (qemu-img info). */
BlockGraphInfo *coroutine_fn bdrv_co_graph_info(BlockDriverState *bs, Error **errp);

/**
 * For query-block and query-named-block-nodes: without I/O, so sizes are those last known; for that
 * of host storage call bdrv_co_refresh_allocated_sizes() before.  Throttling limits are 0: whoever
 * knows the filter fills them in.  @max_images: of how many of the chain to tell, one within the
 * other; 1: flat, which also leaves out how many there are.
 */
BlockDeviceInfo *bdrv_device_info(BlockDriverState *bs, unsigned max_images, Error **errp);

/**
 * Ask all files how much host storage they take.  Waits a moment for the answers, not for hung
 * storage. The graph may have changed when it returns.  No lock needed.
 */
void coroutine_fn bdrv_co_refresh_allocated_sizes(void);

/** What is known of @bs since then; a negative errno if nothing. */
int64_t bdrv_known_allocated_size(const BlockDriverState *bs);

/** Limits of @bs (qemu-img info --limits). */
BlockLimitsInfo *bdrv_limits_info(const BlockDriverState *bs);

/**
 * Counters of @bs and of the nodes its content is stored in, with @with_backing also of the backing
 * chain; a node counts wr_highest_offset only.
 */
BlockStats *bdrv_node_stats(BlockDriverState *bs, bool with_backing);

/** Copy the counters of @stats to @dst (zeroed before). */
void bdrv_stats_from_accounting(BlockAcctStats *stats, BlockDeviceStats *dst);

/* ---- as text, appended to @out --------------------------------------------------------------- */

/** "image: a.qcow2\nfile format: ..."; @indentation: levels of four spaces. */
void bdrv_graph_info_dump(const BlockGraphInfo *info, int indentation, GString *out);

/** The same of one node; @is_protocol chooses "filename:", "protocol type:", "file length:". */
void bdrv_node_info_dump(const BlockNodeInfo *info, int indentation, bool is_protocol,
                         GString *out);

/** What the format says of itself: cluster size, VM state offset, its own part (qemu-io info). */
bool bdrv_format_info_dump(BlockDriverState *bs, GString *out, Error **errp);

/** A line of the snapshot table, with newline; @sn NULL: the header line. */
void bdrv_snapshot_dump(const SnapshotInfo *sn, GString *out);

#endif
