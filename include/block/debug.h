/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Breakpoints in the life of requests, where a debugging filter (blkdebug) is in the chain.  Main
 * thread.  All return 0 or a negative errno, -ENOTSUP without such a filter.
 */
#ifndef BLOCK_DEBUG_H
#define BLOCK_DEBUG_H

#include "block/block.h"

/** Suspend the next request that passes @event; it can be addressed by @tag then. */
int bdrv_debug_breakpoint(BlockDriverState *bs, const char *event, const char *tag);
/** Let what is suspended as @tag, if anything, run on, and forget the breakpoint. */
int bdrv_debug_remove_breakpoint(BlockDriverState *bs, const char *tag);
/** Let the request suspended as @tag run on. */
int bdrv_debug_resume(BlockDriverState *bs, const char *tag);
/** Is a request suspended as @tag? */
bool bdrv_debug_is_suspended(BlockDriverState *bs, const char *tag);

#endif
