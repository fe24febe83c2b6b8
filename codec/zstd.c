/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Zstandard frames (RFC 8878) by libzstd. */
#include "qemu/osdep.h"

#include <pthread.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "codec-int.h"
#include "qemu/library.h"

/* A frame may ask for a window much larger than what we want of it. */
#define MAX_WINDOW_LOG 27

static struct {
    bool is_there;
    typeof(ZSTD_createDCtx) *createDCtx;
    typeof(ZSTD_DCtx_setParameter) *DCtx_setParameter;
    typeof(ZSTD_DCtx_reset) *DCtx_reset;
    typeof(ZSTD_decompressStream) *decompressStream;
    typeof(ZSTD_isError) *isError;
    typeof(ZSTD_freeDCtx) *freeDCtx;
    typeof(ZSTD_createCCtx) *createCCtx;
    typeof(ZSTD_compress2) *compress2;
    typeof(ZSTD_freeCCtx) *freeCCtx;
    typeof(ZSTD_getErrorCode) *getErrorCode;
} lib;
static pthread_once_t lib_once = PTHREAD_ONCE_INIT;

static void load(void)
{
    const LibrarySymbol symbols[] = {
        { "ZSTD_createDCtx", (void **)&lib.createDCtx },
        { "ZSTD_DCtx_setParameter", (void **)&lib.DCtx_setParameter },
        { "ZSTD_DCtx_reset", (void **)&lib.DCtx_reset },
        { "ZSTD_decompressStream", (void **)&lib.decompressStream },
        { "ZSTD_isError", (void **)&lib.isError },
        { "ZSTD_freeDCtx", (void **)&lib.freeDCtx },
        { "ZSTD_createCCtx", (void **)&lib.createCCtx },
        { "ZSTD_compress2", (void **)&lib.compress2 },
        { "ZSTD_freeCCtx", (void **)&lib.freeCCtx },
        { "ZSTD_getErrorCode", (void **)&lib.getErrorCode },
        { NULL, NULL },
    };

    lib.is_there = library_load("libzstd.so.1", symbols);
}

static bool is_there(void)
{
    pthread_once(&lib_once, load);
    return lib.is_there;
}

static void reader_free(gpointer ctx)
{
    lib.freeDCtx(ctx);
}

static void writer_free(gpointer ctx)
{
    lib.freeCCtx(ctx);
}

/* One of each for each worker: to make one takes longer than a small cluster. */
static GPrivate reader = G_PRIVATE_INIT(reader_free);
static GPrivate writer = G_PRIVATE_INIT(writer_free);

static ZSTD_DCtx *get_reader(void)
{
    ZSTD_DCtx *ctx = g_private_get(&reader);

    if (ctx) {
        lib.DCtx_reset(ctx, ZSTD_reset_session_only);
        return ctx;
    }
    ctx = lib.createDCtx();
    if (ctx) {
        lib.DCtx_setParameter(ctx, ZSTD_d_windowLogMax, MAX_WINDOW_LOG);
        g_private_set(&reader, ctx);
    }
    return ctx;
}

static ZSTD_CCtx *get_writer(void)
{
    ZSTD_CCtx *ctx = g_private_get(&writer);

    if (!ctx) {
        ctx = lib.createCCtx();
        g_private_set(&writer, ctx);
    }
    return ctx;
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
    ctx = get_reader();
    if (!ctx) {
        return -ENOMEM;
    }
    /* ret is 0 at the end of a frame; a frame that ends too early may be followed by another. */
    while (out.pos < out.size || ret != 0) {
        size_t in_before = in.pos, out_before = out.pos;

        ret = lib.decompressStream(ctx, &out, &in);
        if (lib.isError(ret) || (in.pos == in_before && out.pos == out_before)) {
            ret = 1;
            break;
        }
    }
    return ret == 0 && out.pos == out.size ? 0 : -EIO;
}

ssize_t zstd_write(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    ZSTD_CCtx *ctx;
    size_t ret;

    if (!is_there()) {
        return -ENOTSUP;
    }
    ctx = get_writer();
    if (!ctx) {
        return -ENOMEM;
    }
    ret = lib.compress2(ctx, dst, dst_len, src, src_len);
    if (!lib.isError(ret)) {
        return ret;
    }
    switch (lib.getErrorCode(ret)) {
    case ZSTD_error_dstSize_tooSmall:
        return -ENOSPC;
    case ZSTD_error_memory_allocation:
        return -ENOMEM;
    default:
        return -EIO;
    }
}
