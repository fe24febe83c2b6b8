/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Zstandard frames (RFC 8878) by libzstd. */
#include "qemu/osdep.h"

#include <zstd.h>
#include <zstd_errors.h>

#include "codec-int.h"

/* A frame may ask for a window much larger than what we want of it. */
#define MAX_WINDOW_LOG 27

int zstd_read(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    ZSTD_outBuffer out = { .dst = dst, .size = dst_len };
    ZSTD_inBuffer in = { .src = src, .size = src_len };
    ZSTD_DCtx *ctx = ZSTD_createDCtx();
    size_t ret = 0;

    if (!ctx) {
        return -ENOMEM;
    }
    ZSTD_DCtx_setParameter(ctx, ZSTD_d_windowLogMax, MAX_WINDOW_LOG);
    /* ret is 0 at the end of a frame; a frame that ends too early may be followed by another. */
    while (out.pos < out.size || ret != 0) {
        size_t in_before = in.pos, out_before = out.pos;

        ret = ZSTD_decompressStream(ctx, &out, &in);
        if (ZSTD_isError(ret) || (in.pos == in_before && out.pos == out_before)) {
            ret = 1;
            break;
        }
    }
    ZSTD_freeDCtx(ctx);
    return ret == 0 && out.pos == out.size ? 0 : -EIO;
}

ssize_t zstd_write(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    ZSTD_outBuffer out = { .dst = dst, .size = dst_len };
    ZSTD_inBuffer in = { .src = src, .size = src_len };
    ZSTD_CCtx *ctx = ZSTD_createCCtx();
    size_t ret;

    if (!ctx) {
        return -ENOMEM;
    }
    do {
        ret = ZSTD_compressStream2(ctx, &out, &in, ZSTD_e_end);
    } while (!ZSTD_isError(ret) && ret != 0 && out.pos < out.size);
    ZSTD_freeCCtx(ctx);
    if (ZSTD_isError(ret)) {
        return ZSTD_getErrorCode(ret) == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
    }
    return ret == 0 ? (ssize_t)out.pos : -ENOSPC;
}
