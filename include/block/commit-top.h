/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * commit_top: stands over the topmost node that a commit job empties.
 *
 * Who reads through it sees what the chain holds, but claims nothing of the nodes below: what these
 * hold one by one is not consistent any more once the base is written to.
 * Context: main thread, control lock held.
 */
#ifndef BLOCK_COMMIT_TOP_H
#define BLOCK_COMMIT_TOP_H

#include "block/block.h"

/** As cor_co_insert(): over @bs. */
BlockDriverState *coroutine_fn commit_top_co_insert(BlockDriverState *bs,
                                                    const char *filter_node_name,
                                                    const void *owner_key, Error **errp);

/** Take it out; takes the caller's reference.  As cor_co_drop(). */
bool coroutine_fn commit_top_co_drop(BlockDriverState *filter, Error **errp);

#endif
