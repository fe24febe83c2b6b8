/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the interface to the kind. */
#include "qemu/osdep.h"

#include "codec-int.h"

typedef struct Codec {
    const char *name;
    int (*read)(void *dst, size_t dst_len, const void *src, size_t src_len);
    ssize_t (*write)(void *dst, size_t dst_len, const void *src, size_t src_len);
} Codec;

static const Codec codecs[] = {
    [CODEC_DEFLATE] = { "zlib", deflate_read, deflate_write },
#ifdef CONFIG_ZSTD
    [CODEC_ZSTD] = { "zstd", zstd_read, zstd_write },
#else
    [CODEC_ZSTD] = { "zstd", NULL, NULL },
#endif
};

bool codec_available(CodecKind kind)
{
    return (size_t)kind < ARRAY_SIZE(codecs) && codecs[kind].read;
}

const char *codec_name(CodecKind kind)
{
    return codecs[kind].name;
}

int codec_decompress(CodecKind kind, void *dst, size_t dst_len, const void *src, size_t src_len)
{
    if (!codec_available(kind)) {
        return -ENOTSUP;
    }
    return dst_len ? codecs[kind].read(dst, dst_len, src, src_len) : 0;
}

ssize_t codec_compress(CodecKind kind, void *dst, size_t dst_len, const void *src, size_t src_len)
{
    if (!codec_available(kind)) {
        return -ENOTSUP;
    }
    return codecs[kind].write(dst, dst_len, src, src_len);
}
