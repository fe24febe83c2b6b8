/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Letting two files have the same blocks of the host's file system instead of copying data: whether
 * that is still worth asking for.
 *
 * Whoever copies keeps one BlockSharing for a pair of files, asks block_sharing_suits() before each
 * piece, then an offloaded copy with BDRV_REQ_NO_FALLBACK, and passes its result to
 * block_sharing_done().  Where that says no, the data is to be copied.  Any thread.
 */
#ifndef BLOCK_BLOCK_SHARING_H
#define BLOCK_BLOCK_SHARING_H

#include "qemu/atomic.h"

/* Bytes; what is shorter is copied faster than two files come to share its blocks. */
#define BLOCK_SHARING_MIN (64 * KiB)

typedef struct BlockSharing {
    bool is_off; /* atomic: it is not wanted, or these files can never share blocks */
} BlockSharing;

/** Is it worth asking for @bytes? */
static inline bool block_sharing_suits(const BlockSharing *sharing, int64_t bytes)
{
    return bytes >= BLOCK_SHARING_MIN && !qatomic_read(&sharing->is_off);
}

/** Does @ret of an offloaded copy without a fallback say that the blocks are shared now? */
static inline bool block_sharing_done(BlockSharing *sharing, int ret)
{
    if (ret == -EXDEV) {
        qatomic_set(&sharing->is_off, true);
    }
    return ret >= 0;
}

#endif
