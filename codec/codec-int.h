/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds behind codec.h, one file each. */
#ifndef CODEC_CODEC_INT_H
#define CODEC_CODEC_INT_H

#include "codec/codec.h"

int deflate_read(void *dst, size_t dst_len, const void *src, size_t src_len);
ssize_t deflate_write(void *dst, size_t dst_len, const void *src, size_t src_len);

/* Only with CONFIG_ZSTD. */
int zstd_read(void *dst, size_t dst_len, const void *src, size_t src_len);
ssize_t zstd_write(void *dst, size_t dst_len, const void *src, size_t src_len);

#endif
