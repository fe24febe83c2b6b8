/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffers that are used again.
 */
#include "qemu/osdep.h"

#include "qemu/buffer-pool.h"

#include "qemu/lockable.h"
#include "qemu/memalign.h"

void buffer_pool_init(BufferPool *pool, size_t alignment, size_t size)
{
    *pool = (BufferPool) { .size = size, .alignment = alignment };
    qemu_mutex_init(&pool->lock);
}

void buffer_pool_done(BufferPool *pool)
{
    while (pool->n_spare) {
        qemu_vfree(pool->spare[--pool->n_spare]);
    }
    qemu_mutex_destroy(&pool->lock);
}

void *buffer_pool_get(BufferPool *pool)
{
    WITH_QEMU_LOCK_GUARD(&pool->lock) {
        if (pool->n_spare) {
            return pool->spare[--pool->n_spare];
        }
    }
    return qemu_try_memalign(pool->alignment, pool->size);
}

void buffer_pool_put(BufferPool *pool, void *buffer)
{
    if (!buffer) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&pool->lock) {
        if (pool->n_spare < BUFFER_POOL_SPARE) {
            pool->spare[pool->n_spare++] = buffer;
            return;
        }
    }
    qemu_vfree(buffer);
}
