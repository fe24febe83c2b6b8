/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Freeze: no request runs in a part of the graph, and none starts, until it is thawed.
 *
 * bdrv_co_freeze() walks up from the given nodes to every gate above, freezes these, calls
 * drain_begin of the drivers on the way and below, asks jobs to pause, and sleeps until all counts
 * and activities are zero.  The token lists what it touched; thaw undoes exactly that list, since
 * the graph has changed meanwhile.  Freezes nest.  Main thread, control lock held; thaw does not
 * yield.
 */
#ifndef BLOCK_FREEZE_H
#define BLOCK_FREEZE_H

#include "block/block.h"

typedef struct BdrvFreeze BdrvFreeze;

/** Freeze everything that may reach @nodes.  Returns the token for bdrv_thaw(). */
BdrvFreeze *coroutine_fn bdrv_co_freeze(BlockDriverState *const *nodes, size_t n);
/** One node. */
BdrvFreeze *coroutine_fn bdrv_co_freeze_node(BlockDriverState *bs);
/**
 * Requests run on, and neither @nodes nor any below hold one back (as limits do) until
 * bdrv_thaw(), be it here already or still to come.  For who waits for the end of what it began.
 */
BdrvFreeze *bdrv_hurry(BlockDriverState *const *nodes, size_t n);
/** Undo; NULL is fine. */
void bdrv_thaw(BdrvFreeze *freeze);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BdrvFreeze, bdrv_thaw)

/** Is @bs frozen now?  For assertions. */
bool bdrv_is_frozen(const BlockDriverState *bs);

/**
 * bdrv_co_truncate() for a driver whose node is frozen, hence without requests to keep out: what
 * the disk gains reads as zeroes, and is dirty.  A negative errno with a sentence in @errp.
 */
int coroutine_fn bdrv_co_truncate_frozen(BlockDriverState *bs, int64_t offset, Error **errp);

/* Background work of a driver (reconnect, lazy flush): a freeze waits until it has ended. */
void bdrv_activity_begin(BlockDriverState *bs);
void bdrv_activity_end(BlockDriverState *bs);

/** Something a freeze may wait for has changed (gate emptied, job paused).  Any thread. */
void bdrv_freeze_kick(void);

/**
 * Wait until every request that was in flight above @bs has ended.  New ones are held back
 * meanwhile and go on afterwards.
 */
void coroutine_fn bdrv_co_drain(BlockDriverState *bs);

#endif
