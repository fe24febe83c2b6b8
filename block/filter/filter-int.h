/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What several filters share.
 */
#ifndef BLOCK_FILTER_FILTER_INT_H
#define BLOCK_FILTER_FILTER_INT_H

#include "block/block_int.h"

/** For bdrv_refresh_limits of a filter whose requests go to "file" as they are: its flags hold. */
void filter_take_flags_of_file(BlockDriverState *bs);

/** bdrv_refresh_filename of what shows an image, but cannot be opened by a name: that of "file". */
void filter_take_name_of_file(BlockDriverState *bs);

/* A filter that a job puts over a node. */
typedef struct FilterSpec {
    BlockDriver *drv;
    const char *child_name;
    const char *node_name; /* NULL: it is no node to users */
    const void *owner_key; /* BdrvOwner.key of the job */
    int flags;             /* BDRV_O_* */
} FilterSpec;

/**
 * Make the filter and put it over @bs in one freeze.  @set_up: fills the new node's opaque before
 * anybody sees it; may be NULL.  Returns it with a reference for the caller.  Control lock.
 */
BlockDriverState *coroutine_fn filter_co_insert(const FilterSpec *spec, BlockDriverState *bs,
                                                void (*set_up)(BlockDriverState *filter,
                                                               void *opaque),
                                                void *opaque, Error **errp);
/** Take @filter out; takes the caller's reference.  False: somebody holds on to its place. */
bool coroutine_fn filter_co_drop(BlockDriverState *filter, Error **errp);

#endif
