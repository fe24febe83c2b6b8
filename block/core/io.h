/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request path below the entrance: what io.c, pad.c and zero.c share.  Every range here is
 * checked, tracked and aligned to bs->bl.request_alignment.
 */
#ifndef BLOCK_CORE_IO_H
#define BLOCK_CORE_IO_H

#include "block/block_int.h"

/* Read, zero-filling what lies past the end of the node. */
int coroutine_fn bdrv_co_aligned_preadv(BdrvChild *child, int64_t offset, int64_t bytes,
                                        QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);

/* Write data, or zeroes if @flags has ZERO_WRITE (then @qiov is NULL); does step 7 of a request. */
int coroutine_fn bdrv_co_aligned_pwritev(BdrvChild *child, int64_t offset, int64_t bytes,
                                         QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);

/* The driver's own write, in pieces it can take; FUA emulated. */
int coroutine_fn bdrv_co_driver_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        QEMUIOVector *qiov, size_t qiov_offset, unsigned flags);

/* The driver's write of zeroes, with fallback to buffers (zero.c). */
int coroutine_fn bdrv_co_driver_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                              unsigned flags);

/* Step 7 after anything that changed content: generation, bitmaps (also on error), size,
 * threshold. */
void coroutine_fn bdrv_write_done(BlockDriverState *bs, int64_t offset, int64_t bytes, int ret);

/*
 * The part of that which does not yield: a write of @bytes at @offset has reached @end and ended
 * with @ret.
 */
void bdrv_note_write(BlockDriverState *bs, int64_t offset, int64_t bytes, int64_t end, int ret);

/* Length of the node; asked again if it may have grown behind our back and @end lies past it. */
int64_t coroutine_fn bdrv_co_length_for(BlockDriverState *bs, int64_t end);

/*
 * Graphs may be deeper than a coroutine's stack: what goes down node by node looks at
 * qemu_co_stack_is_low(), and then calls itself with these arguments by bdrv_co_deeper().
 */
typedef struct BdrvDeepCall BdrvDeepCall;
struct BdrvDeepCall {
    int64_t coroutine_fn (*fn)(const BdrvDeepCall *call);
    BdrvChild *child;
    BlockDriverState *bs;
    int64_t offset, bytes;
    QEMUIOVector *qiov;
    size_t qiov_offset;
    unsigned flags;
    void *opaque;
    int64_t ret;
};
/* call->fn(call), on a new stack. */
int64_t coroutine_fn bdrv_co_deeper(BdrvDeepCall *call);

/* Checks common to all I/O on an edge; 0 or negative errno. */
int bdrv_check_io(BdrvChild *child, int64_t offset, int64_t bytes, bool is_write);

/* The single child of a filter that has no callback of its own for a request; else NULL. */
BdrvChild *bdrv_forwarding_child(BlockDriverState *bs);

/* Longest driver call, a multiple of the alignment. */
int64_t bdrv_max_piece(const BlockDriverState *bs);

/* Most elements of an iovec a driver takes. */
int bdrv_max_iov(const BlockDriverState *bs);

/* ---- padding of unaligned requests (pad.c) ---- */

typedef struct BdrvPad {
    int64_t offset, bytes; /* the aligned range */
    size_t head, tail;     /* bytes added before and after */
    uint8_t *buf;          /* first block, then last block (one block if they are the same) */
    size_t buf_len;
    uint8_t *bounce;       /* the whole range, when the iovec would be too long; else NULL */
    QEMUIOVector *user_qiov;
    size_t user_offset, user_bytes;
    QEMUIOVector joined;   /* head + the caller's + tail */
    QEMUIOVector qiov;     /* what to do I/O with: as joined, or the bounce buffer */
} BdrvPad;

bool bdrv_is_aligned(BlockDriverState *bs, int64_t offset, int64_t bytes);
/* 0 or -ENOMEM; then nothing is to be undone. */
int bdrv_pad_init(BdrvPad *pad, BlockDriverState *bs, int64_t offset, int64_t bytes,
                  QEMUIOVector *qiov, size_t qiov_offset);
/* Before a write: read the blocks that it changes only in part. */
int coroutine_fn bdrv_pad_co_fetch(BdrvPad *pad, BdrvChild *child);
/* Free; @was_read: hand what a bounce buffer received to the caller first. */
void bdrv_pad_done(BdrvPad *pad, bool was_read);

#endif
