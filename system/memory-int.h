/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of system/ share about memory maps: host accesses and bulk write tracking.
 */
#ifndef SYSTEM_MEMORY_INT_H
#define SYSTEM_MEMORY_INT_H

#include <glib.h>
#include <string.h>

#include "system/memory.h"

/* Aligned accesses of 1, 2, 4 and 8 bytes are atomic, as guests expect of their memory. */
static inline uint64_t host_load_le(const void *p, unsigned size)
{
    uint64_t value = 0;

    if ((uintptr_t)p & (size - 1)) {
        memcpy(&value, p, size);
        return GUINT64_FROM_LE(value);
    }
    switch (size) {
    case 8:
        return GUINT64_FROM_LE(__atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED));
    case 4:
        return GUINT32_FROM_LE(__atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED));
    case 2:
        return GUINT16_FROM_LE(__atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED));
    default:
        return __atomic_load_n((const uint8_t *)p, __ATOMIC_RELAXED);
    }
}

static inline void host_store_le(void *p, unsigned size, uint64_t value)
{
    uint64_t bytes = GUINT64_TO_LE(value);

    if ((uintptr_t)p & (size - 1)) {
        memcpy(p, &bytes, size);
        return;
    }
    switch (size) {
    case 8:
        __atomic_store_n((uint64_t *)p, bytes, __ATOMIC_RELAXED);
        break;
    case 4:
        __atomic_store_n((uint32_t *)p, GUINT32_TO_LE((uint32_t)value), __ATOMIC_RELAXED);
        break;
    case 2:
        __atomic_store_n((uint16_t *)p, GUINT16_TO_LE((uint16_t)value), __ATOMIC_RELAXED);
        break;
    default:
        __atomic_store_n((uint8_t *)p, (uint8_t)value, __ATOMIC_RELAXED);
        break;
    }
}

/** Bytes of @block were written by someone who is not the CPU thread; @len may be large. */
void mem_written(MemoryMap *map, RamBlock *block, hwaddr addr, uint64_t len);

#endif
