/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding the debugging filter that a breakpoint is for.
 */
#include "qemu/osdep.h"

#include "block/debug.h"

#include "block/block_int.h"

/* The topmost node at or below @bs, down the primary children, that knows breakpoints. */
static BlockDriverState *find_debugger(BlockDriverState *bs)
{
    while (bs && bs->drv && !bs->drv->bdrv_debug_breakpoint) {
        bs = bdrv_primary_bs(bs);
    }
    return bs && bs->drv ? bs : NULL;
}

int bdrv_debug_breakpoint(BlockDriverState *bs, const char *event, const char *tag)
{
    bs = find_debugger(bs);
    return bs ? bs->drv->bdrv_debug_breakpoint(bs, event, tag) : -ENOTSUP;
}

int bdrv_debug_remove_breakpoint(BlockDriverState *bs, const char *tag)
{
    bs = find_debugger(bs);
    return bs ? bs->drv->bdrv_debug_remove_breakpoint(bs, tag) : -ENOTSUP;
}

int bdrv_debug_resume(BlockDriverState *bs, const char *tag)
{
    bs = find_debugger(bs);
    return bs ? bs->drv->bdrv_debug_resume(bs, tag) : -ENOTSUP;
}

bool bdrv_debug_is_suspended(BlockDriverState *bs, const char *tag)
{
    bs = find_debugger(bs);
    return bs && bs->drv->bdrv_debug_is_suspended(bs, tag);
}
