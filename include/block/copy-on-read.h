/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy-on-read from code: the filter over the node that a stream job fills.
 *
 * Context: main thread, control lock held.
 */
#ifndef BLOCK_COPY_ON_READ_H
#define BLOCK_COPY_ON_READ_H

#include "block/block.h"

/**
 * Insert a filter over @bs: users of @bs become the filter's.  What is read and held by the nodes
 * below @bs down to and including @bottom is copied up into @bs.
 *
 * @filter_node_name: NULL: the filter is no node to users.  @owner_key: BdrvOwner.key of the job.
 * Returns: the filter with a reference for the caller (cor_co_drop); NULL on error.
 */
BlockDriverState *coroutine_fn cor_co_insert(BlockDriverState *bs, BlockDriverState *bottom,
                                             const char *filter_node_name, const void *owner_key,
                                             Error **errp);

/**
 * Take the filter out; takes the caller's reference.  Returns false with @errp set if somebody
 * holds on to its place in the graph; it stays then, and goes on copying.
 */
bool coroutine_fn cor_co_drop(BlockDriverState *cor, Error **errp);

#endif
