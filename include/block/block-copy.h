/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copying ranges from one edge to another, with a bitmap of what is left (backup,
 * copy-before-write).
 *
 * One BlockCopyState serves several callers at once: two callers for one range copy it once, the
 * second waits for the first.  Ranges are rounded to clusters.  Thread-safe; coroutine.
 */
#ifndef BLOCK_BLOCK_COPY_H
#define BLOCK_BLOCK_COPY_H

#include "block/block_int.h"
#include "block/dirty-bitmap.h"

typedef struct BlockCopyState BlockCopyState;

/*
 * Reported after each piece: for progress, and if data was @moved for it, for a rate limit.  A
 * piece that others made dirty again (block_copy_mark_dirty) counts each time.
 */
typedef void BlockCopyProgress(void *opaque, int64_t bytes, bool moved);

/* What block_copy_co_state_new() makes. */
typedef struct BlockCopyArgs {
    /*
     * Edges, borrowed; must outlive the state.  Without a target the source, a copy-on-read node,
     * is made to hold what it reads.
     */
    BdrvChild *source, *target;
    uint64_t min_cluster_size;  /* bytes, power of two; 0: by the target alone */
    uint32_t cluster_size;      /* bytes, power of two: exactly this; 0: as above */
    bool discard_source;        /* discard what was copied (fleecing); the source edge writes */
    /* What no layer of the source from the top down to this one holds is not copied; or NULL. */
    BlockDriverState *bottom;
    bool keep_allocated;        /* what is zero is written as zeroes and stays allocated */
    bool start_clean;           /* nothing is to be copied, until it is marked */
    bool use_copy_range;        /* try to copy without the data passing through us */
    bool share;                 /* the files may come to have the same blocks, where they can */
    bool compress;              /* write compressed; the target must be able to */
    BdrvDirtyBitmap *bitmap;    /* only what is marked here is to be copied; NULL: all */
} BlockCopyArgs;

/**
 * A state in which @args->bitmap, or all, is still to be copied.  Keeps the source's node alive.
 * Context: main thread.
 */
BlockCopyState *block_copy_state_new(const BlockCopyArgs *args, Error **errp);
/** No copying may be under way. */
void block_copy_state_free(BlockCopyState *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockCopyState, block_copy_state_free)

/* Told after each piece that was copied or turned out not to need it; in the copying thread. */
void block_copy_set_progress(BlockCopyState *state, BlockCopyProgress *cb, void *opaque);
int64_t block_copy_cluster_size(const BlockCopyState *state);
/** What is left, in clusters; owned by the state. */
BdrvDirtyBitmap *block_copy_dirty_bitmap(BlockCopyState *state);

/**
 * Make sure that the range has been copied: copy what is left, wait for what others are copying.
 * Returns 0 or a negative errno; then *@error_is_read says on which side.
 */
int coroutine_fn block_copy_co_range(BlockCopyState *state, int64_t offset, int64_t bytes,
                                     bool *error_is_read);

/* How block_copy_co_all() works. */
typedef struct BlockCopyAll {
    int max_workers;   /* pieces in flight, at least 1 */
    int64_t max_chunk; /* bytes of a piece, 0: default */
    bool in_order;     /* pieces are read side by side, but written one after the other */
    /* Asked before each piece: stop here?  For cancelling, pausing, speed limits.  May be NULL. */
    bool (*stop)(void *opaque);
    void *opaque;
} BlockCopyAll;

/**
 * Copy all that is left.  Returns 0 when nothing is left and nothing is being copied; 1 when
 * @how->stop said so; or the first error, when all pieces have ended.
 */
int coroutine_fn block_copy_co_all(BlockCopyState *state, const BlockCopyAll *how,
                                   bool *error_is_read);

/** The piece at which block_copy_co_all() failed last is not to be copied after all. */
void block_copy_drop_failed_piece(BlockCopyState *state);

/* What block_copy_co_scan() does with what it sees. */
typedef enum BlockCopyScan {
    BLOCK_COPY_MARK_ALLOCATED,
    BLOCK_COPY_MARK_NONZERO, /* all that does not read as zeroes for sure */
    /* What is not allocated; without a target what the source's top node has. */
    BLOCK_COPY_FORGET_REST,
} BlockCopyScan;

/**
 * Look at the whole source from the top down to and including @bottom: mark what is to be copied,
 * or forget what need not be.  @how->stop is asked between requests.  Calls the progress function
 * for what it forgets.  *@offset: where to begin, moved on.  Returns as block_copy_co_all().
 */
int coroutine_fn block_copy_co_scan(BlockCopyState *state, BlockDriverState *bottom,
                                    BlockCopyScan what, const BlockCopyAll *how, int64_t *offset);

/* ---- for a filter that keeps the target in step with writes ---------------------------------- */

/** The source changed in this range: copy it (again). */
void block_copy_mark_dirty(BlockCopyState *state, int64_t offset, int64_t bytes);

/* A range nobody else copies or locks; on its owner's stack. */
typedef struct BlockCopyLock BlockCopyLock;
/** Wait for those who have clusters of the range; released by block_copy_unlock(). */
BlockCopyLock *coroutine_fn block_copy_co_lock(BlockCopyState *state, int64_t offset,
                                               int64_t bytes);
/** Copy the clusters of the range, whole; 0 or a negative errno. */
int coroutine_fn block_copy_co_locked(BlockCopyState *state, BlockCopyLock *lock);
/**
 * The owner brought the same data to both sides (@same): clusters that lie wholly in the range need
 * not be copied any more; otherwise all of it must be.
 */
void block_copy_unlock(BlockCopyState *state, BlockCopyLock *lock, bool same);

/** The range need not be copied any more: wait for copies under way, forget the rest. */
void coroutine_fn block_copy_co_forget(BlockCopyState *state, int64_t offset, int64_t bytes);

#endif
