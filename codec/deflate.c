/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw deflate (RFC 1951).
 *
 * Read by libdeflate, or zlib, with the largest window, which reads everything.  What zlib says
 * about a damaged stream is final.  Written with a window of 4 KiB, since readers in the field have
 * no larger one: by ISA-L, or by zlib what a sample shows to become much longer by ISA-L.
 */
#include "qemu/osdep.h"

#include <zlib.h>

#include "codec-int.h"

#define READ_WINDOW_BITS 15

/*
 * For so small a window small tables are enough, and they are cleared with each of it: this takes
 * half of the time that zlib's defaults take and gives three to five percent more bytes.
 */
#define WRITE_LEVEL 4
#define WRITE_MEM_LEVEL 6

/* Where a text is tried out: 4 KiB of each 64 KiB. */
#define SAMPLE_BYTES 4096
#define SAMPLE_STEP 65536
#define SAMPLE_AT 24576
/* What ISA-L may need of it, if 100 is what zlib needs. */
#define MAX_PERCENT 105

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

/* ---- writing ------------------------------------------------------------------------------- */

static void writer_free(gpointer strm)
{
    deflateEnd(strm);
    g_free(strm);
}

/* One for each worker: making one takes as long as a small cluster. */
static GPrivate writer = G_PRIVATE_INIT(writer_free);

static z_stream *get_writer(void)
{
    z_stream *strm = g_private_get(&writer);

    if (strm) {
        return deflateReset(strm) == Z_OK ? strm : NULL;
    }
    strm = g_new0(z_stream, 1);
    if (deflateInit2(strm, WRITE_LEVEL, Z_DEFLATED, -DEFLATE_WRITE_WINDOW_BITS, WRITE_MEM_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        g_free(strm);
        return NULL;
    }
    g_private_set(&writer, strm);
    return strm;
}

static ssize_t zlib_write(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    z_stream *strm;
    int ret;

    if (src_len > UINT_MAX) {
        return -EIO;
    }
    strm = get_writer();
    if (!strm) {
        return -ENOMEM;
    }
    strm->next_in = (Bytef *)src;
    strm->avail_in = src_len;
    strm->next_out = dst;
    strm->avail_out = MIN(dst_len, UINT_MAX);
    ret = deflate(strm, Z_FINISH);
    if (ret == Z_STREAM_END) {
        return MIN(dst_len, UINT_MAX) - strm->avail_out;
    }
    return ret == Z_OK || ret == Z_BUF_ERROR ? -ENOSPC : -EIO;
}

#ifdef CONFIG_ISAL
/*
 * Would ISA-L write @src much longer than zlib?  Text perhaps, as samples tell, or nearly always if
 * it is short; other content six percent as a rule and nine at most (object files), and to try that
 * out would cost as much as it saves.
 */
static bool suits_zlib(const uint8_t *src, size_t len)
{
    bool is_text = !memchr(src, 0, len);
    size_t fast = 0, small = 0;

    if (!is_text || len < SAMPLE_AT + SAMPLE_BYTES) {
        return is_text;
    }
    for (size_t at = SAMPLE_AT; at + SAMPLE_BYTES <= len; at += SAMPLE_STEP) {
        uint8_t out[SAMPLE_BYTES];
        ssize_t n = isal_write(out, sizeof(out), src + at, SAMPLE_BYTES);

        if (n > 0) {
            fast += n;
            n = zlib_write(out, sizeof(out), src + at, SAMPLE_BYTES);
            small += n < 0 ? SAMPLE_BYTES : n;
        }
    }
    return fast * 100 > small * MAX_PERCENT;
}
#endif

ssize_t deflate_write(void *dst, size_t dst_len, const void *src, size_t src_len)
{
    ssize_t ret = -ENOTSUP;

#ifdef CONFIG_ISAL
    if (!suits_zlib(src, src_len)) {
        ret = isal_write(dst, dst_len, src, src_len);
    }
#endif
    return ret == -ENOTSUP ? zlib_write(dst, dst_len, src, src_len) : ret;
}
