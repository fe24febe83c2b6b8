/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Aligned buffers of one size, used again and again: getting new memory from the kernel costs more
 * than copying a disk's data through it, and what was used last is still in the processor's cache.
 *
 * Thread-safe.  A pool keeps the few buffers that were put back last; the rest is freed.
 */
#ifndef QEMU_BUFFER_POOL_H
#define QEMU_BUFFER_POOL_H

#include <stddef.h>

#include "qemu/compiler.h"
#include "qemu/thread.h"

#define BUFFER_POOL_SPARE 16

typedef struct BufferPool {
    size_t size, alignment; /* of each buffer, bytes; fixed */
    QemuMutex lock;
    void *spare[BUFFER_POOL_SPARE]; /* the one put back last is taken first */
    unsigned n_spare;
} BufferPool;

/** @alignment: a power of two.  Takes no memory yet. */
void buffer_pool_init(BufferPool *pool, size_t alignment, size_t size);
/** Free what is there; buffers still in use must be put back before. */
void buffer_pool_done(BufferPool *pool);
/** A buffer of the pool's size with any content, or NULL when memory is short. */
void *buffer_pool_get(BufferPool *pool) QEMU_WARN_UNUSED;
/** @buffer: from this pool, or NULL. */
void buffer_pool_put(BufferPool *pool, void *buffer);

#endif
