/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backing chains, for jobs that shorten them.
 */
#ifndef BLOCK_JOB_JOB_CHAIN_H
#define BLOCK_JOB_JOB_CHAIN_H

#include "block/block_int.h"

/** The node of the chain of @top that is right above @base, filter or not; NULL: the last one. */
BlockDriverState *job_chain_right_above(BlockDriverState *top, BlockDriverState *base);
/** The last one above @base that is no filter. */
BlockDriverState *job_chain_last_above(BlockDriverState *top, BlockDriverState *base);

/**
 * Write into the image of @bs that @base (NULL: nothing) is behind it.  @backing_file: under this
 * name, NULL: its own.  @mask_protocol: the format of a protocol node is said to be raw.  Opens a
 * read-only @bs for writing meanwhile.  The graph stays as it is.  Context: control lock.
 */
bool coroutine_fn job_chain_co_write_backing(BlockDriverState *bs, BlockDriverState *base,
                                             const char *backing_file, bool mask_protocol,
                                             Error **errp);

#endif
