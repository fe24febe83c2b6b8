/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block status: which bytes a layer decides, which read as zeroes, where they lie on the host.
 */
#include "qemu/osdep.h"

#include "io.h"

#include "qemu/atomic.h"

/* What one node answers for a prefix of a range. */
typedef struct Answer {
    int flags; /* BdrvBlockStatus */
    int64_t pnum, map;
    BlockDriverState *file;
} Answer;

static int coroutine_fn co_node_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                                       int64_t bytes, Answer *answer);

/* Status of @bs at @answer->map instead, keeping the length within @answer->pnum. */
static int coroutine_fn co_follow(BlockDriverState *bs, bool want_zero, Answer *answer)
{
    Answer below = { 0 };
    int ret = co_node_status(bs, want_zero, answer->map, answer->pnum, &below);

    if (ret < 0) {
        return ret;
    }
    if (below.pnum == 0) {
        /* The child ends here: what is missing reads as zeroes. */
        answer->flags = BDRV_BLOCK_ZERO | BDRV_BLOCK_ALLOCATED;
        answer->file = NULL;
        return 0;
    }
    below.flags &= ~BDRV_BLOCK_EOF;
    *answer = below;
    return 0;
}

/* Data in this layer that may be zeroes (a hole) in the file below. */
static int coroutine_fn co_refine_zero(BlockDriverState *bs, Answer *answer)
{
    Answer below = { 0 };
    int ret;

    if (!(answer->flags & BDRV_BLOCK_RECURSE) || !(answer->flags & BDRV_BLOCK_DATA) ||
        !(answer->flags & BDRV_BLOCK_OFFSET_VALID) || !answer->file || answer->file == bs) {
        return 0;
    }
    ret = co_node_status(answer->file, true, answer->map, answer->pnum, &below);
    if (ret < 0) {
        /* It was only a question; data is a right answer, too. */
        return 0;
    }
    if (below.pnum == 0) {
        answer->flags |= BDRV_BLOCK_ZERO;
    } else {
        answer->pnum = below.pnum;
        answer->flags |= below.flags & BDRV_BLOCK_ZERO;
    }
    return 0;
}

static int coroutine_fn co_ask_driver(BlockDriverState *bs, bool want_zero, int64_t offset,
                                      int64_t bytes, Answer *answer)
{
    int64_t align = bs->bl.request_alignment;
    int64_t start = QEMU_ALIGN_DOWN(offset, align);
    int64_t span = QEMU_ALIGN_UP(offset + bytes, align) - start;
    BdrvChild *below = bs->drv->is_filter ? (bs->drv->filtered_is_backing ? bs->backing : bs->file)
                                          : NULL;

    if (!bs->drv->bdrv_co_block_status) {
        *answer = (Answer){ .pnum = bytes, .map = offset, .file = bs };
        if (below) {
            answer->flags = BDRV_BLOCK_RAW | BDRV_BLOCK_OFFSET_VALID;
            answer->file = below->bs;
        } else {
            answer->flags = BDRV_BLOCK_DATA | BDRV_BLOCK_ALLOCATED;
            answer->flags |= bs->drv->is_protocol ? BDRV_BLOCK_OFFSET_VALID : 0;
        }
        return 0;
    }
    answer->flags = bs->drv->bdrv_co_block_status(bs, want_zero, start, span, &answer->pnum,
                                                  &answer->map, &answer->file);
    if (answer->flags < 0) {
        return answer->flags;
    }
    if (answer->pnum <= offset - start) {
        /* A driver must answer for something; take it as an error of the image, not a crash. */
        return -EIO;
    }
    answer->pnum = MIN(answer->pnum - (offset - start), bytes);
    answer->map += offset - start;
    return 0;
}

static int coroutine_fn co_node_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                                       int64_t bytes, Answer *answer);

static int64_t coroutine_fn co_deeper_status(const BdrvDeepCall *call)
{
    return co_node_status(call->bs, call->flags, call->offset, call->bytes, call->opaque);
}

/* @bs alone (and what it forwards to).  pnum 0: offset is at or past the end. */
static int coroutine_fn co_node_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                                       int64_t bytes, Answer *answer)
{
    int64_t total;
    BlockDriverState *cow;
    int ret;

    if (unlikely(qemu_co_stack_is_low())) {
        BdrvDeepCall call = { .fn = co_deeper_status, .bs = bs, .flags = want_zero,
                              .offset = offset, .bytes = bytes, .opaque = answer };

        return bdrv_co_deeper(&call);
    }
    total = bs->drv ? bdrv_co_length_for(bs, offset + bytes) : -ENOMEDIUM;
    *answer = (Answer){ 0 };
    if (total < 0) {
        return total;
    }
    if (offset >= total) {
        answer->flags = BDRV_BLOCK_EOF;
        return 0;
    }
    bytes = MIN(bytes, total - offset);
    if (bytes == 0) {
        return 0;
    }
    ret = co_ask_driver(bs, want_zero, offset, bytes, answer);
    if (ret < 0) {
        return ret;
    }
    if (answer->flags & BDRV_BLOCK_RAW) {
        ret = co_follow(answer->file, want_zero, answer);
    } else if (answer->flags & (BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO)) {
        answer->flags |= BDRV_BLOCK_ALLOCATED;
    } else if (bs->drv->supports_backing) {
        cow = bdrv_cow_bs(bs);
        if (!cow || offset >= qatomic_read(&cow->total_bytes)) {
            answer->flags |= BDRV_BLOCK_ZERO;
        }
    }
    if (ret >= 0 && want_zero) {
        ret = co_refine_zero(bs, answer);
    }
    if (ret >= 0 && offset + answer->pnum == total) {
        answer->flags |= BDRV_BLOCK_EOF;
    }
    return ret;
}

/*
 * Down the chain from @bs to @base (left out unless @include_base), until a layer decides the
 * content.  answer->pnum is the prefix that one layer decides, or none does.
 */
static int coroutine_fn co_status_above(BlockDriverState *bs, BlockDriverState *base,
                                        bool include_base, bool want_zero, int64_t offset,
                                        int64_t bytes, Answer *answer, int *depth)
{
    int ret = co_node_status(bs, want_zero, offset, bytes, answer);
    int at_end = ret >= 0 ? answer->flags & BDRV_BLOCK_EOF : 0;
    int64_t end_of_top = offset + answer->pnum;
    BlockDriverState *p = bs;

    *depth = 0;
    if (ret < 0 || answer->pnum == 0 || (answer->flags & BDRV_BLOCK_ALLOCATED) || bs == base) {
        return ret;
    }
    while ((p = bdrv_filter_or_cow_bs(p)) && (include_base || p != base)) {
        Answer below;
        int64_t bytes_left = answer->pnum;

        ret = co_node_status(p, want_zero, offset, bytes_left, &below);
        if (ret < 0) {
            return ret;
        }
        ++*depth;
        if (below.pnum == 0) {
            /* @p is too short: this layer decides that the rest reads as zeroes. */
            *answer = (Answer){ BDRV_BLOCK_ZERO | BDRV_BLOCK_ALLOCATED, bytes_left, 0, p };
            break;
        }
        *answer = below;
        if (answer->flags & BDRV_BLOCK_ALLOCATED) {
            break;
        }
        if (p == base) {
            break;
        }
    }
    answer->flags &= ~BDRV_BLOCK_EOF;
    if (at_end && offset + answer->pnum == end_of_top) {
        answer->flags |= BDRV_BLOCK_EOF;
    }
    return 0;
}

/* ---- the interface --------------------------------------------------------------------------- */

int coroutine_fn bdrv_co_block_status_above(BlockDriverState *bs, BlockDriverState *base,
                                            int64_t offset, int64_t bytes, int64_t *pnum,
                                            int64_t *map, BlockDriverState **file, int *depth)
{
    Answer answer = { 0 };
    int layers;
    int ret = bdrv_check_request(offset, bytes, NULL);

    if (ret >= 0) {
        ret = co_status_above(bs, base, false, true, offset, bytes, &answer, &layers);
    }
    if (ret < 0) {
        return ret;
    }
    *pnum = answer.pnum;
    if (map) {
        *map = answer.map;
    }
    if (file) {
        *file = answer.file;
    }
    if (depth) {
        *depth = layers;
    }
    return answer.flags;
}

int coroutine_fn bdrv_co_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      int64_t *pnum, int64_t *map, BlockDriverState **file)
{
    return bdrv_co_block_status_above(bs, bdrv_filter_or_cow_bs(bs), offset, bytes, pnum, map, file,
                                      NULL);
}

int coroutine_fn bdrv_co_is_allocated_above(BlockDriverState *top, BlockDriverState *base,
                                            bool include_base, int64_t offset, int64_t bytes,
                                            int64_t *pnum)
{
    Answer answer = { 0 };
    int depth;
    int ret = bdrv_check_request(offset, bytes, NULL);

    if (ret >= 0) {
        ret = co_status_above(top, base, include_base, false, offset, bytes, &answer, &depth);
    }
    if (ret < 0) {
        return ret;
    }
    /* Past the end nothing is allocated, and callers must get on. */
    *pnum = answer.pnum ? answer.pnum : bytes;
    return !!(answer.flags & BDRV_BLOCK_ALLOCATED);
}

int coroutine_fn bdrv_co_is_allocated(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      int64_t *pnum)
{
    return bdrv_co_is_allocated_above(bs, bs, true, offset, bytes, pnum);
}

int coroutine_fn bdrv_co_is_zero(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    while (bytes > 0) {
        int64_t pnum;
        int ret = bdrv_co_block_status_above(bs, NULL, offset, bytes, &pnum, NULL, NULL, NULL);

        if (ret < 0) {
            return ret;
        }
        if (pnum == 0) {
            return 1;
        }
        if (!(ret & BDRV_BLOCK_ZERO)) {
            return 0;
        }
        offset += pnum;
        bytes -= pnum;
    }
    return 1;
}
