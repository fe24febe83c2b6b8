/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mirror_top: the filter over the source of a mirror job.  It tells the job what guests write, or,
 * in mode write-blocking, writes the same to the target before the guest is answered.
 *
 * What is to be copied is in a BlockCopyState of the filter, with which the job copies.
 * Context: main thread, control lock held, unless said otherwise.
 */
#ifndef BLOCK_MIRROR_TOP_H
#define BLOCK_MIRROR_TOP_H

#include "block/block-copy.h"

typedef struct MirrorTopArgs {
    BlockDriverState *source, *target; /* borrowed; the filter takes references */
    const char *filter_node_name;      /* NULL: it is no node to users */
    const void *owner_key;             /* BdrvOwner.key of the job */
    MirrorCopyMode copy_mode;
    bool is_commit;     /* the target is below the source */
    bool grows_target;  /* the job will resize the target */
    bool whole_clusters; /* the target lacks its backing node: write no part of a cluster */
    uint32_t granularity; /* bytes, power of two */
    bool keep_allocated, start_clean, share; /* as in BlockCopyArgs */
} MirrorTopArgs;

/**
 * Insert the filter over args->source.  Returns it with a reference for the caller
 * (mirror_top_co_drop), *@state set; NULL on error.
 */
BlockDriverState *coroutine_fn mirror_top_co_insert(const MirrorTopArgs *args,
                                                    BlockCopyState **state, Error **errp);

/** No more copying: the state is gone, the target let go. */
void coroutine_fn mirror_top_co_stop(BlockDriverState *filter);

/** Stop it and take it out; takes the caller's reference.  As cbw_co_drop(). */
bool coroutine_fn mirror_top_co_drop(BlockDriverState *filter, Error **errp);

/** The edge to the target, until the filter is stopped. */
BdrvChild *mirror_top_target(BlockDriverState *filter);

/** Any thread; holds for requests that begin later. */
void mirror_top_set_mode(BlockDriverState *filter, MirrorCopyMode mode);
MirrorCopyMode mirror_top_mode(BlockDriverState *filter);

#endif
