/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copying ranges from one edge to another, with a bitmap of what is left (backup, copy-before-write).
 *
 * One BlockCopyState serves several callers at once: two callers for one range copy it once, the
 * second waits for the first.  Ranges are rounded to clusters.  Thread-safe; coroutine.
 */
#ifndef BLOCK_BLOCK_COPY_H
#define BLOCK_BLOCK_COPY_H

#include "block/block_int.h"
#include "block/dirty-bitmap.h"

typedef struct BlockCopyState BlockCopyState;

/* Reported after each piece that was copied: bytes, for progress and rate limit. */
typedef void BlockCopyProgress(void *opaque, int64_t bytes);

/**
 * @source, @target: edges, borrowed, must outlive the state.  @cluster_size: 0 chooses by the target.
 * @min_cluster_size: from the user, 0: none.  All is to be copied at first.
 * @discard_source: discard what was copied (fleecing).
 */
BlockCopyState *coroutine_fn block_copy_co_state_new(BdrvChild *source, BdrvChild *target,
                                                     BlockDriverState *copy_bitmap_bs,
                                                     const BdrvDirtyBitmap *bitmap,
                                                     int64_t min_cluster_size, bool discard_source,
                                                     Error **errp);
void block_copy_state_free(BlockCopyState *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockCopyState, block_copy_state_free)

void block_copy_set_progress(BlockCopyState *state, BlockCopyProgress *cb, void *opaque);
void block_copy_set_skip_unallocated(BlockCopyState *state, bool skip);
int64_t block_copy_cluster_size(BlockCopyState *state);
/** The bitmap of what is left; callers may clear bits before they start. */
BdrvDirtyBitmap *block_copy_dirty_bitmap(BlockCopyState *state);

/**
 * Copy what is left in the range; on return it is copied or an error says which kind failed.
 * @wait_running: also wait for pieces others copy (copy-before-write must; backup must).
 */
int coroutine_fn block_copy_co_range(BlockCopyState *state, int64_t offset, int64_t bytes,
                                     bool *error_is_read);

/**
 * Copy all that is left in the range with up to @max_workers requests of @max_chunk bytes in flight,
 * until done, failed, or @cancelled() says stop.
 */
int coroutine_fn block_copy_co_all(BlockCopyState *state, int64_t offset, int64_t bytes,
                                   int max_workers, int64_t max_chunk,
                                   bool (*cancelled)(void *opaque), void *opaque,
                                   bool *error_is_read);

/** Make sure nothing in the range is being copied (and no longer needs to be), then keep it so. */
void coroutine_fn block_copy_co_wait_range(BlockCopyState *state, int64_t offset, int64_t bytes);
/** Forget that the range is to be copied. */
void block_copy_reset(BlockCopyState *state, int64_t offset, int64_t bytes);

#endif
