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

/* What a file below said last of a range; good for answers about it that are no younger. */
typedef struct Below {
    BlockDriverState *file;
    int64_t start, end;
    int flags;
} Below;

static void coroutine_fn co_ask_below(const Answer *answer, Below *known)
{
    BlockDriverState *file = answer->file;
    /* Protocols answer at once for as far as it is alike; formats may have to look far. */
    bool is_fast = file->drv && file->drv->is_protocol;
    int64_t far = is_fast ? qatomic_read(&file->total_bytes) - answer->map : 0;
    Answer below = { 0 };
    int ret = co_node_status(file, true, answer->map, MAX(answer->pnum, far), &below);

    *known = (Below){ file, answer->map, answer->map + below.pnum, below.flags };
    if (ret < 0) {
        /* It was only a question; data is a right answer, too. */
        known->end = answer->map + answer->pnum;
        known->flags = 0;
    } else if (below.pnum == 0) {
        known->end = answer->map + answer->pnum;
        known->flags = BDRV_BLOCK_ZERO;
    }
}

/* Data in this layer, with a place in a file that may have more to say. */
#define RECURSES (BDRV_BLOCK_RECURSE | BDRV_BLOCK_DATA | BDRV_BLOCK_OFFSET_VALID)

/* Data in this layer that may be zeroes (a hole) in the file below. */
static void coroutine_fn co_refine_zero(BlockDriverState *bs, Answer *answer, Below *known)
{
    if ((answer->flags & RECURSES) != RECURSES || !answer->file || answer->file == bs) {
        return;
    }
    if (known->file != answer->file || answer->map < known->start || answer->map >= known->end) {
        co_ask_below(answer, known);
    }
    answer->pnum = MIN(answer->pnum, known->end - answer->map);
    answer->flags |= known->flags & BDRV_BLOCK_ZERO;
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

/* Complete what the driver of @bs said of [offset, ...), which ends at or before @total. */
static int coroutine_fn co_judge(BlockDriverState *bs, bool want_zero, int64_t offset,
                                 int64_t total, Answer *answer, Below *known)
{
    BlockDriverState *cow;
    int ret = 0;

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
        co_refine_zero(bs, answer, known);
    }
    if (ret >= 0 && offset + answer->pnum == total) {
        answer->flags |= BDRV_BLOCK_EOF;
    }
    return ret;
}

/* @bs alone (and what it forwards to).  pnum 0: offset is at or past the end. */
static int coroutine_fn co_node_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                                       int64_t bytes, Answer *answer)
{
    Below known = { 0 };
    int64_t total;
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
    return ret < 0 ? ret : co_judge(bs, want_zero, offset, total, answer, &known);
}

/* A question about a chain: from a node down to @base (left out unless @include_base). */
typedef struct Chain {
    BlockDriverState *base;
    bool include_base, want_zero;
} Chain;

/*
 * Down the chain below @bs, which answered @answer but does not decide, until a layer decides the
 * content.  answer->pnum becomes the prefix that one layer decides, or none does.
 */
static int coroutine_fn co_status_below(BlockDriverState *bs, const Chain *chain, int64_t offset,
                                        Answer *answer, int *depth)
{
    int at_end = answer->flags & BDRV_BLOCK_EOF;
    int64_t end_of_top = offset + answer->pnum;
    BlockDriverState *p = bs;

    while ((p = bdrv_filter_or_cow_bs(p)) && (chain->include_base || p != chain->base)) {
        Answer below;
        int64_t bytes_left = answer->pnum;
        int ret = co_node_status(p, chain->want_zero, offset, bytes_left, &below);

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
        if ((answer->flags & BDRV_BLOCK_ALLOCATED) || p == chain->base) {
            break;
        }
    }
    answer->flags &= ~BDRV_BLOCK_EOF;
    if (at_end && offset + answer->pnum == end_of_top) {
        answer->flags |= BDRV_BLOCK_EOF;
    }
    return 0;
}

static int coroutine_fn co_status_above(BlockDriverState *bs, const Chain *chain, int64_t offset,
                                        int64_t bytes, Answer *answer, int *depth)
{
    int ret = co_node_status(bs, chain->want_zero, offset, bytes, answer);

    *depth = 0;
    if (ret < 0 || answer->pnum == 0 || (answer->flags & BDRV_BLOCK_ALLOCATED) ||
        bs == chain->base) {
        return ret;
    }
    return co_status_below(bs, chain, offset, answer, depth);
}

/* ---- many at once ---------------------------------------------------------------------------- */

/* What drivers are asked for at a time: beyond that, what files below said is asked again. */
#define EXTENTS_BATCH 8192

/* The first extent by the way that works for any node. */
static int coroutine_fn co_one_extent(BlockDriverState *bs, const Chain *chain, int64_t offset,
                                      int64_t bytes, BdrvExtent *extent)
{
    Answer answer = { 0 };
    int ret = co_status_above(bs, chain, offset, bytes, &answer, &extent->depth);

    extent->bytes = answer.pnum;
    extent->map = answer.map;
    extent->file = answer.file;
    extent->flags = answer.flags;
    return ret < 0 ? ret : answer.pnum > 0;
}

/* A list that is being filled. */
typedef struct Extents {
    BdrvExtent *list;
    int n, max;
    int64_t end; /* of the last one */
} Extents;

/* All that the driver's answer @raw, at @out->end, stands for. */
static int coroutine_fn co_judge_extent(BlockDriverState *bs, const Chain *chain, int64_t total,
                                        const BdrvExtent *raw, Extents *out, Below *known)
{
    int64_t start = out->end, end = start + raw->bytes;

    while (out->end < end && out->n < out->max) {
        Answer answer = { raw->flags, end - out->end, raw->map + (out->end - start), raw->file };
        BdrvExtent *extent = &out->list[out->n];
        int ret = co_judge(bs, chain->want_zero, out->end, total, &answer, known);

        extent->depth = 0;
        if (ret >= 0 && !(answer.flags & BDRV_BLOCK_ALLOCATED) && bs != chain->base) {
            ret = co_status_below(bs, chain, out->end, &answer, &extent->depth);
        }
        if (ret < 0) {
            return ret;
        }
        extent->bytes = answer.pnum;
        extent->map = answer.map;
        extent->file = answer.file;
        extent->flags = answer.flags;
        out->end += answer.pnum;
        out->n++;
    }
    return 0;
}

static bool recurses(const BlockDriverState *bs, const BdrvExtent *raw)
{
    return (raw->flags & RECURSES) == RECURSES && raw->file && raw->file != bs;
}

/*
 * Ask the file below once, from the first place on that any of @raw has: often that is an answer
 * for all of them, in whatever order they lie there.
 */
static void coroutine_fn co_ask_once(BlockDriverState *bs, const BdrvExtent *raw, int n,
                                     Below *known)
{
    const BdrvExtent *lowest = NULL;
    int64_t place = INT64_MAX;

    for (int i = 0; i < n; i++) {
        if (raw[i].map < place && recurses(bs, &raw[i]) &&
            (!lowest || raw[i].file == lowest->file)) {
            lowest = &raw[i];
            place = lowest->map;
        }
    }
    if (lowest) {
        Answer answer = { lowest->flags, lowest->bytes, lowest->map, lowest->file };

        co_ask_below(&answer, known);
    }
}

/*
 * Complete the first of @n ranges that the driver told of, as far as nobody needs to be asked.
 * Returns how many; adds their length to *@end.  @open_is_zero: nothing is below @bs.
 */
static int judge_in_place(BlockDriverState *bs, const Below *known, bool open_is_zero,
                          BdrvExtent *list, int n, int64_t *end)
{
    const int below = BDRV_BLOCK_ALLOCATED | (known->flags & BDRV_BLOCK_ZERO);
    int64_t sum = 0;
    int done;

    for (done = 0; done < n; done++) {
        BdrvExtent *extent = &list[done];
        int more = BDRV_BLOCK_ALLOCATED;

        if (!(extent->flags & (BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO | BDRV_BLOCK_RAW))) {
            if (!open_is_zero) {
                break;
            }
            more = BDRV_BLOCK_ZERO;
        } else if (extent->flags & BDRV_BLOCK_RAW) {
            break;
        } else if (recurses(bs, extent)) {
            if (extent->file != known->file || extent->map < known->start ||
                extent->map + extent->bytes > known->end) {
                break;
            }
            more = below;
        }
        extent->flags |= more;
        extent->depth = 0;
        sum += extent->bytes;
    }
    *end += sum;
    return done;
}

/* By the driver's list, which is completed where it is as far as that goes. */
static int coroutine_fn co_many_extents(BlockDriverState *bs, const Chain *chain, int64_t bytes,
                                        Extents *out)
{
    BdrvExtent *list = out->list + out->n;
    bool open_is_zero = bs->drv->supports_backing && !bdrv_filter_or_cow_bs(bs);
    int64_t total = bdrv_co_length_for(bs, out->end + bytes);
    Below known = { 0 };
    int n, done, ret = 0;

    if (total < 0 || out->end >= total) {
        return MIN(total, 0);
    }
    n = bs->drv->bdrv_co_block_extents(bs, out->end, MIN(bytes, total - out->end), list,
                                       MIN(out->max - out->n, EXTENTS_BATCH));
    if (n > 1) {
        co_ask_once(bs, list, n, &known);
    }
    done = judge_in_place(bs, &known, open_is_zero, list, n, &out->end);
    out->n += done;
    if (done > 0 && out->end == total) {
        list[done - 1].flags |= BDRV_BLOCK_EOF;
    }
    if (done < n) {
        /* The others may become several each. */
        g_autofree BdrvExtent *raw = g_memdup2(list + done, (n - done) * sizeof(*raw));

        for (int i = 0; i < n - done && ret >= 0 && out->n < out->max; i++) {
            ret = co_judge_extent(bs, chain, total, &raw[i], out, &known);
        }
    }
    return n < 0 ? n : ret < 0 ? ret : 1;
}

/* ---- the interface --------------------------------------------------------------------------- */

int coroutine_fn bdrv_co_block_status_above(BlockDriverState *bs, BlockDriverState *base,
                                            int64_t offset, int64_t bytes, int64_t *pnum,
                                            int64_t *map, BlockDriverState **file, int *depth)
{
    Chain chain = { .base = base, .want_zero = true };
    Answer answer = { 0 };
    int layers;
    int ret = bdrv_check_request(offset, bytes, NULL);

    if (ret >= 0) {
        ret = co_status_above(bs, &chain, offset, bytes, &answer, &layers);
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

int coroutine_fn bdrv_co_block_extents_above(BlockDriverState *bs, BlockDriverState *base,
                                             int64_t offset, int64_t bytes, BdrvExtent *extents,
                                             int max)
{
    Chain chain = { .base = base, .want_zero = true };
    Extents out = { .list = extents, .max = max, .end = offset };
    int64_t end = offset + bytes;
    int ret = bdrv_check_request(offset, bytes, NULL);

    while (ret >= 0 && out.n < max && out.end < end) {
        /* Lists are made of whole units. */
        bool has_list = bs->drv && bs->drv->bdrv_co_block_extents &&
                        QEMU_IS_ALIGNED(out.end | end, bs->bl.request_alignment) &&
                        !qemu_co_stack_is_low();

        if (has_list) {
            ret = co_many_extents(bs, &chain, end - out.end, &out);
        } else {
            ret = co_one_extent(bs, &chain, out.end, end - out.end, &out.list[out.n]);
            out.end += ret > 0 ? out.list[out.n++].bytes : 0;
        }
        if (ret == 0 || (has_list && out.n > max / 2)) {
            break; /* for the few that have room, drivers may have to look as far as for many */
        }
    }
    return out.n ? out.n : ret;
}

int coroutine_fn bdrv_co_is_allocated_above(BlockDriverState *top, BlockDriverState *base,
                                            bool include_base, int64_t offset, int64_t bytes,
                                            int64_t *pnum)
{
    Chain chain = { .base = base, .include_base = include_base };
    Answer answer = { 0 };
    int depth;
    int ret = bdrv_check_request(offset, bytes, NULL);

    if (ret >= 0) {
        ret = co_status_above(top, &chain, offset, bytes, &answer, &depth);
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
