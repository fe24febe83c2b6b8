/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed data, whole buffers in and out.  Hides which library does it.
 *
 *  - Functions are plain: no I/O, no yielding, no state kept.  They take time; call them in a
 *  worker. - Input may be hostile: nothing is read or written outside the buffers.
 *  - Whether a kind is built in can change from build to build; ask codec_available().
 */
#ifndef CODEC_CODEC_H
#define CODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef enum CodecKind {
    CODEC_DEFLATE, /* raw deflate, no header or trailer; reads any window, writes one of 4 KiB */
    CODEC_ZSTD,    /* one or more whole zstd frames; writes one */
} CodecKind;

/** Whether this build can read and write @kind. */
bool codec_available(CodecKind kind);

/** The name users know @kind by: "zlib", "zstd". */
const char *codec_name(CodecKind kind);

/**
 * Decompress exactly @dst_len bytes.  What follows in @src is ignored.
 * Returns 0; -EIO if @src is damaged or holds less; -ENOTSUP if @kind is not built in; -ENOMEM.
 */
int codec_decompress(CodecKind kind, void *dst, size_t dst_len, const void *src, size_t src_len);

/**
 * Compress all of @src.  The same input gives the same output.
 * Returns the number of bytes in @dst; -ENOSPC if @dst_len is not enough; -ENOTSUP, -ENOMEM,
 * -EIO.
 */
ssize_t codec_compress(CodecKind kind, void *dst, size_t dst_len, const void *src, size_t src_len);

#endif
