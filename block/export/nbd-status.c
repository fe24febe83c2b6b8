/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD server's answers about blocks: runs of bytes that have the same number in a context.
 */
#include "qemu/osdep.h"

#include "nbd-int.h"
#include "qemu/bswap.h"

/* A reply may end early; the client asks on. */
#define MAX_RUNS (128 * 1024)
#define BATCH 64

/* The runs found so far; equal neighbours become one. */
typedef struct Runs {
    GByteArray *data;
    unsigned max, n;
    uint64_t bytes; /* of the last one, not in @data yet; 0: there is none */
    uint32_t flags;
} Runs;

static void runs_flush(Runs *runs)
{
    uint8_t entry[8];

    stl_be_p(entry, runs->bytes);
    stl_be_p(entry + 4, runs->flags);
    g_byte_array_append(runs->data, entry, sizeof(entry));
    runs->bytes = 0;
    runs->n++;
}

/* False: no more of them. */
static bool runs_add(Runs *runs, uint64_t bytes, uint32_t flags)
{
    if (runs->bytes && runs->flags != flags) {
        runs_flush(runs);
    }
    if (runs->n == runs->max) {
        return false;
    }
    runs->bytes += bytes;
    runs->flags = flags;
    return true;
}

/* ---- what images say ------------------------------------------------------------------------- */

static uint32_t extent_number(const BdrvExtent *extent, uint32_t id)
{
    bool is_allocated = extent->flags & BDRV_BLOCK_ALLOCATED;

    if (id == NBD_CONTEXT_DEPTH) {
        return is_allocated ? extent->depth + 1 : 0;
    }
    return (is_allocated ? 0 : NBD_STATE_HOLE) |
           (extent->flags & BDRV_BLOCK_ZERO ? NBD_STATE_ZERO : 0);
}

static int coroutine_fn co_image_runs(BlockBackend *blk, uint64_t offset, uint64_t bytes,
                                      uint32_t id, Runs *runs)
{
    BdrvExtent extents[BATCH];

    while (bytes) {
        int n = blk_co_block_extents_above(blk, NULL, offset, bytes, extents, BATCH);

        if (n <= 0) {
            return n < 0 ? n : -EIO;
        }
        for (int i = 0; i < n; i++) {
            if (!runs_add(runs, extents[i].bytes, extent_number(&extents[i], id))) {
                return 0;
            }
            offset += extents[i].bytes;
            bytes -= extents[i].bytes;
        }
    }
    return 0;
}

/* ---- what bitmaps say ------------------------------------------------------------------------ */

static void bitmap_runs(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes, Runs *runs)
{
    int64_t end = offset + bytes, start, length;
    bool more = true;

    while (more && offset < end) {
        if (!bdrv_dirty_bitmap_next_dirty_area(bitmap, offset, end, INT64_MAX, &start, &length)) {
            runs_add(runs, end - offset, 0);
            return;
        }
        more = (start == offset || runs_add(runs, start - offset, 0)) &&
               runs_add(runs, length, NBD_STATE_DIRTY);
        offset = start + length;
    }
}

int coroutine_fn nbd_export_co_status(NbdExport *exp, const NbdRequest *req, uint32_t id,
                                      GByteArray *data)
{
    Runs runs = { .data = data, .max = req->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : MAX_RUNS };
    uint8_t number[4];
    int ret = 0;

    stl_be_p(number, id);
    g_byte_array_append(data, number, sizeof(number));
    if (id >= NBD_CONTEXT_BITMAPS) {
        bitmap_runs(g_ptr_array_index(exp->bitmaps, id - NBD_CONTEXT_BITMAPS), req->from, req->len,
                    &runs);
    } else {
        ret = co_image_runs(exp->common.blk, req->from, req->len, id, &runs);
    }
    if (runs.bytes) {
        runs_flush(&runs);
    }
    return ret;
}
