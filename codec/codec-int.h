/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds behind codec.h, one file each. */
#ifndef CODEC_CODEC_INT_H
#define CODEC_CODEC_INT_H

#include "codec/codec.h"

/* Readers in the field have no larger window than 4 KiB. */
#define DEFLATE_WRITE_WINDOW_BITS 12

int deflate_read(void *dst, size_t dst_len, const void *src, size_t src_len);
/* Never -ENOTSUP; what it needs does not depend on the room there is. */
ssize_t deflate_write(void *dst, size_t dst_len, const void *src, size_t src_len);

/* Only with CONFIG_LIBDEFLATE.  False: perhaps zlib can. */
bool deflate_read_fast(void *dst, size_t dst_len, const void *src, size_t src_len);

/* Only with CONFIG_ZSTD.  -ENOTSUP: the library is not there. */
int zstd_read(void *dst, size_t dst_len, const void *src, size_t src_len);
ssize_t zstd_write(void *dst, size_t dst_len, const void *src, size_t src_len);

#endif
