/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The deflate writer: whatever the content, what it writes is read back with a window of 4 KiB, it
 * uses exactly the room that it needs, and never more than it has.  The same bytes as a stream of
 * others are read or refused.
 *
 * The input is a recipe for content, since long content is where blocks, windows and positions
 * wrap.
 */
#include "qemu/osdep.h"

#include <zlib.h>

#include "codec/codec.h"

#define MAX_LEN (160 * KiB)
/* What blocks that are stored may add, and more. */
#define MARGIN 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t content[MAX_LEN], packed[MAX_LEN + MARGIN], back[MAX_LEN];

/* Steps of four bytes: what, a length (shifted), a value. */
static size_t cook(const uint8_t *data, size_t size)
{
    size_t len = 0;
    uint32_t noise = size;

    for (size_t i = 0; i + 4 <= size; i += 4) {
        unsigned what = data[i] & 3, value = data[i + 3];
        size_t span = (size_t)(1 + data[i + 1] + ((data[i + 2] & 3) << 8)) << (data[i] >> 2 & 7);
        size_t distance = 1 + value * (1 + (data[i + 2] >> 2));

        for (span = MIN(span, MAX_LEN - len); span; span--, len++) {
            noise = noise * 1664525 + 1013904223;
            content[len] = what == 0 && distance <= len ? content[len - distance]
                           : what == 1                  ? value
                           : what == 2                  ? noise >> 24
                                                        : noise >> 24 & value;
        }
    }
    return len;
}

static void check_small_window(size_t packed_len, size_t len)
{
    z_stream strm = { .next_in = packed, .avail_in = packed_len };
    uint8_t piece[300];
    size_t at = 0;
    int ret = inflateInit2(&strm, -12);

    while (ret == Z_OK) {
        size_t n;

        strm.next_out = piece;
        strm.avail_out = sizeof(piece);
        ret = inflate(&strm, Z_NO_FLUSH);
        n = sizeof(piece) - strm.avail_out;
        if (at + n > len || memcmp(piece, content + at, n) != 0) {
            abort();
        }
        at += n;
    }
    inflateEnd(&strm);
    if (ret != Z_STREAM_END || at != len || strm.avail_in) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t len = cook(data, size);
    ssize_t n = codec_compress(CODEC_DEFLATE, packed, len + MARGIN, content, len);

    if (n <= 0) {
        abort();
    }
    check_small_window(n, len);
    if (codec_decompress(CODEC_DEFLATE, back, len, packed, n) != 0 ||
        memcmp(back, content, len) != 0) {
        abort();
    }
    packed[n] = packed[n - 1] = 0xa5;
    if (codec_compress(CODEC_DEFLATE, packed, n - 1, content, len) != -ENOSPC ||
        packed[n - 1] != 0xa5 ||
        codec_compress(CODEC_DEFLATE, packed, n, content, len) != n || packed[n] != 0xa5) {
        abort();
    }
    codec_decompress(CODEC_DEFLATE, back, sizeof(back), data, size);
    if (codec_available(CODEC_ZSTD)) {
        codec_decompress(CODEC_ZSTD, back, sizeof(back), data, size);
    }
    return 0;
}
