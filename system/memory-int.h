/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of system/ share about memory maps: host accesses and bulk write tracking.
 */
#ifndef SYSTEM_MEMORY_INT_H
#define SYSTEM_MEMORY_INT_H

#include <glib.h>

#include "system/memory.h"

/* Single accesses for 1, 2, 4 and 8 bytes when @p is aligned. */
static inline uint64_t host_load_le(const void *p, unsigned size)
{
    uint64_t v64;
    uint32_t v32;
    uint16_t v16;

    switch (size) {
    case 8:
        __builtin_memcpy(&v64, p, 8);
        return GUINT64_FROM_LE(v64);
    case 4:
        __builtin_memcpy(&v32, p, 4);
        return GUINT32_FROM_LE(v32);
    case 2:
        __builtin_memcpy(&v16, p, 2);
        return GUINT16_FROM_LE(v16);
    default:
        return *(const uint8_t *)p;
    }
}

static inline void host_store_le(void *p, unsigned size, uint64_t value)
{
    uint64_t v64 = GUINT64_TO_LE(value);
    uint32_t v32 = GUINT32_TO_LE((uint32_t)value);
    uint16_t v16 = GUINT16_TO_LE((uint16_t)value);

    switch (size) {
    case 8:
        __builtin_memcpy(p, &v64, 8);
        break;
    case 4:
        __builtin_memcpy(p, &v32, 4);
        break;
    case 2:
        __builtin_memcpy(p, &v16, 2);
        break;
    default:
        *(uint8_t *)p = value;
        break;
    }
}

/** Bytes of @block were written by someone who is not the CPU thread; @len may be large. */
void mem_written(MemoryMap *map, RamBlock *block, hwaddr addr, uint64_t len);

#endif
