/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy-before-write from code: the filter that saves old data before a guest overwrites it.
 *
 *  - cbw_co_insert() puts it over a node in use; what its target will hold in the end is the
 *    content of that node at this instant.  To do more at that instant (look at a bitmap, insert
 *    several filters), hold a freeze of the node around it; freezes nest.
 *  - The BlockCopyState is the filter's.  Others may copy with it, too (backup does): each cluster
 *    is copied once, whoever comes first.  They must have ended before cbw_co_drop().
 *  - Context: main thread, control lock held, unless said otherwise.
 */
#ifndef BLOCK_COPY_BEFORE_WRITE_H
#define BLOCK_COPY_BEFORE_WRITE_H

#include "block/block-copy.h"

typedef struct CbwArgs {
    BlockDriverState *source, *target; /* borrowed; the filter takes references */
    const char *filter_node_name;      /* NULL: generated */
    const void *owner_key;             /* BdrvOwner.key of the job, or NULL */
    OnCbwError on_cbw_error;
    uint32_t cbw_timeout;              /* seconds, 0: none */
    /* As in BlockCopyArgs. */
    uint64_t min_cluster_size;
    bool discard_source, skip_unallocated, use_copy_range, compress;
    BdrvDirtyBitmap *bitmap;
} CbwArgs;

/**
 * Insert a filter over args->source: users of the source become the filter's, in one freeze.
 * Returns: the filter with a reference for the caller (cbw_co_drop), *@bcs set; NULL on error.
 */
BlockDriverState *coroutine_fn cbw_co_insert(const CbwArgs *args, BlockCopyState **bcs,
                                             Error **errp);

/**
 * End the filter's work and take it out; takes the caller's reference.  @bcs is gone then.
 * Returns false with @errp set if somebody holds on to the filter's place in the graph; it stays
 * then, but saves nothing any more and has no target.
 */
bool coroutine_fn cbw_co_drop(BlockDriverState *cbw, Error **errp);

/** 0, or the negative errno that broke the snapshot (on-cbw-error=break-snapshot).  Any thread. */
int cbw_snapshot_error(BlockDriverState *cbw);

#endif
