/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices' access to guest memory (bus mastering).
 *
 * Rules of use:
 *  - DMA reaches RAM (and reads ROM).  An address of device registers is refused, so a guest
 *    cannot make a device call itself or another one from inside a request.
 *  - Guest memory is hostile: the guest may change it at any time.  Read a structure once, into
 *    your own memory, and check that copy.
 *  - RAM never moves while the machine lives, so mapped iovecs hold no resource; but after bytes
 *    were written through one, dma_written() must be called.
 *  - Any thread, no lock needed.
 */
#ifndef SYSTEM_DMA_H
#define SYSTEM_DMA_H

#include "system/memory.h"

typedef struct QEMUIOVector QEMUIOVector;

typedef enum DmaDirection {
    DMA_TO_DEVICE,   /* the device reads guest memory */
    DMA_FROM_DEVICE, /* the device writes guest memory */
} DmaDirection;

/** Read @len bytes of guest memory.  On failure @buf is unspecified. */
MemResult dma_read(MemoryMap *map, hwaddr addr, void *buf, uint64_t len);

/** Write @len bytes of guest memory; all or none. */
MemResult dma_write(MemoryMap *map, hwaddr addr, const void *buf, uint64_t len);

/** Fill @len bytes of guest memory with @byte; all or none. */
MemResult dma_set(MemoryMap *map, hwaddr addr, uint8_t byte, uint64_t len);

/** Read naturally aligned little-endian integers of guest memory, each in one access. */
MemResult dma_load_le16(MemoryMap *map, hwaddr addr, uint16_t *value);
MemResult dma_load_le32(MemoryMap *map, hwaddr addr, uint32_t *value);
MemResult dma_load_le64(MemoryMap *map, hwaddr addr, uint64_t *value);

/** Write naturally aligned little-endian integers of guest memory, each in one access. */
MemResult dma_store_le16(MemoryMap *map, hwaddr addr, uint16_t value);
MemResult dma_store_le32(MemoryMap *map, hwaddr addr, uint32_t value);

/**
 * Append guest memory [@addr, @addr + @len) to @qiov as host addresses.
 *
 * Returns: MEM_NO_DEVICE, with @qiov as it was, when some of it is no RAM (or is ROM and the
 *          device would write).
 */
MemResult dma_map_iov(MemoryMap *map, hwaddr addr, uint64_t len, DmaDirection dir,
                      QEMUIOVector *qiov);

/** Tell that up to @bytes bytes were written to guest memory through a mapped @qiov. */
void dma_written(MemoryMap *map, const QEMUIOVector *qiov, uint64_t bytes);

#endif
