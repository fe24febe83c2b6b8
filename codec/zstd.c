/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Zstandard frames (RFC 8878) by libzstd. */
#include "qemu/osdep.h"

#include <pthread.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "codec-int.h"

/* A frame may ask for a window much larger than what we want of it. */
#define MAX_WINDOW_LOG 27

static struct {
    bool is_there;
    typeof(ZSTD_createDCtx) *createDCtx;
    typeof(ZSTD_DCtx_setParameter) *DCtx_setParameter;
    typeof(ZSTD_decompressStream) *decompressStream;
    typeof(ZSTD_isError) *isError;
    typeof(ZSTD_freeDCtx) *freeDCtx;
    typeof(ZSTD_createCCtx) *createCCtx;
    typeof(ZSTD_compressStream2) *compressStream2;
    typeof(ZSTD_freeCCtx) *freeCCtx;
    typeof(ZSTD_getErrorCode) *getErrorCode;
} lib;
static pthread_once_t lib_once = PTHREAD_ONCE_INIT;

static void load(void)
{
    const CodecSymbol symbols[] = {
        { "ZSTD_createDCtx", (void **)&lib.createDCtx },
        { "ZSTD_DCtx_setParameter", (void **)&lib.DCtx_setParameter },
        { "ZSTD_decompressStream", (void **)&lib.decompressStream },
        { "ZSTD_isError", (void **)&lib.isError },
        { "ZSTD_freeDCtx", (void **)&lib.freeDCtx },
        { "ZSTD_createCCtx", (void **)&lib.createCCtx },
        { "ZSTD_compressStream2", (void **)&lib.compressStream2 },
        { "ZSTD_freeCCtx", (void **)&lib.freeCCtx },
        { "ZSTD_getErrorCode", (void **)&lib.getErrorCode },
        { NULL, NULL },
    };

    lib.is_there = codec_library_load("libzstd.so.1", symbols);
}

static bool is_there(void)
{
    pthread_once(&lib_once, load);
    return lib.is_there;
}

int zstd_read(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    ZSTD_outBuffer out = { .dst = dst, .size = dst_len };
    ZSTD_inBuffer in = { .src = src, .size = src_len };
    ZSTD_DCtx *ctx;
    size_t ret = 0;

    if (!is_there()) {
        return -ENOTSUP;
    }
    ctx = lib.createDCtx();
    if (!ctx) {
        return -ENOMEM;
    }
    lib.DCtx_setParameter(ctx, ZSTD_d_windowLogMax, MAX_WINDOW_LOG);
    /* ret is 0 at the end of a frame; a frame that ends too early may be followed by another. */
    while (out.pos < out.size || ret != 0) {
        size_t in_before = in.pos, out_before = out.pos;

        ret = lib.decompressStream(ctx, &out, &in);
        if (lib.isError(ret) || (in.pos == in_before && out.pos == out_before)) {
            ret = 1;
            break;
        }
    }
    lib.freeDCtx(ctx);
    return ret == 0 && out.pos == out.size ? 0 : -EIO;
}

ssize_t zstd_write(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    ZSTD_outBuffer out = { .dst = dst, .size = dst_len };
    ZSTD_inBuffer in = { .src = src, .size = src_len };
    ZSTD_CCtx *ctx;
    size_t ret;

    if (!is_there()) {
        return -ENOTSUP;
    }
    ctx = lib.createCCtx();
    if (!ctx) {
        return -ENOMEM;
    }
    do {
        ret = lib.compressStream2(ctx, &out, &in, ZSTD_e_end);
    } while (!lib.isError(ret) && ret != 0 && out.pos < out.size);
    lib.freeCCtx(ctx);
    if (lib.isError(ret)) {
        return lib.getErrorCode(ret) == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
    }
    return ret == 0 ? (ssize_t)out.pos : -ENOSPC;
}
