/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw deflate (RFC 1951): by the faster libraries where there are any, else by zlib.
 *
 * Written with a window of 4 KiB, since readers in the field have no larger one.  Read with the
 * largest, which reads everything.  What zlib says about a damaged stream is final.
 */
#include "qemu/osdep.h"

#include <zlib.h>

#include "codec-int.h"

#define READ_WINDOW_BITS 15
#define WRITE_MEM_LEVEL 9

int deflate_read(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    z_stream strm = {
        .next_in = (Bytef *)src,
        .avail_in = MIN(src_len, UINT_MAX),
        .next_out = dst,
        .avail_out = MIN(dst_len, UINT_MAX),
    };
    int ret;

    if (dst_len > UINT_MAX) {
        return -EIO;
    }
#ifdef CONFIG_LIBDEFLATE
    if (deflate_read_fast(dst, dst_len, src, src_len)) {
        return 0;
    }
#endif
    if (inflateInit2(&strm, -READ_WINDOW_BITS) != Z_OK) {
        return -ENOMEM;
    }
    /* Z_BUF_ERROR is fine too if all bytes are there: the stream may lack its end. */
    ret = inflate(&strm, Z_FINISH);
    inflateEnd(&strm);
    if (strm.avail_out != 0 || (ret != Z_STREAM_END && ret != Z_BUF_ERROR && ret != Z_OK)) {
        return -EIO;
    }
    return 0;
}

static ssize_t zlib_write(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    z_stream strm = {
        .next_in = (Bytef *)src,
        .avail_in = MIN(src_len, UINT_MAX),
        .next_out = dst,
        .avail_out = MIN(dst_len, UINT_MAX),
    };
    int ret;

    if (src_len > UINT_MAX) {
        return -EIO;
    }
    if (deflateInit2(&strm, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -DEFLATE_WRITE_WINDOW_BITS,
                     WRITE_MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
        return -ENOMEM;
    }
    ret = deflate(&strm, Z_FINISH);
    deflateEnd(&strm);
    if (ret == Z_STREAM_END) {
        return MIN(dst_len, UINT_MAX) - strm.avail_out;
    }
    return ret == Z_OK || ret == Z_BUF_ERROR ? -ENOSPC : -EIO;
}

ssize_t deflate_write(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    ssize_t ret = -ENOTSUP;

#ifdef CONFIG_ISAL
    ret = isal_write(dst, dst_len, src, src_len);
#endif
    return ret == -ENOTSUP ? zlib_write(dst, dst_len, src, src_len) : ret;
}
