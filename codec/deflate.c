/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw deflate (RFC 1951).
 *
 * Read by libdeflate, or zlib, with the largest window, which reads everything.  What zlib says
 * about a damaged stream is final.  deflate-write.c writes.
 */
#include "qemu/osdep.h"

#include <zlib.h>

#include "codec-int.h"

#define READ_WINDOW_BITS 15

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
