/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "qemu/iov.h"
#include "system/dma.h"
#include "memory-int.h"

/* Whether all of the range is memory the device may use this way. */
static bool dma_range_ok(MemoryMap *map, hwaddr addr, uint64_t len, bool is_write)
{
    while (len) {
        uint64_t n = len;

        if (!mem_ram_ptr(map, addr, &n, is_write)) {
            return false;
        }
        addr += n;
        len -= n;
    }
    return true;
}

MemResult dma_read(MemoryMap *map, hwaddr addr, void *buf, uint64_t len)
{
    uint8_t *p = buf;

    while (len) {
        uint64_t n = len;
        const void *host = mem_ram_ptr(map, addr, &n, false);

        if (!host) {
            return MEM_NO_DEVICE;
        }
        memcpy(p, host, n);
        addr += n;
        p += n;
        len -= n;
    }
    return MEM_OK;
}

MemResult dma_write(MemoryMap *map, hwaddr addr, const void *buf, uint64_t len)
{
    return dma_range_ok(map, addr, len, true) ? mem_write(map, addr, buf, len) : MEM_NO_DEVICE;
}

MemResult dma_set(MemoryMap *map, hwaddr addr, uint8_t byte, uint64_t len)
{
    if (!dma_range_ok(map, addr, len, true)) {
        return MEM_NO_DEVICE;
    }
    while (len) {
        RamBlock *block = mem_ram_find(map, addr, 1);
        hwaddr offset = addr - block->base;
        uint64_t n = MIN(len, block->size - offset);

        memset(block->host + offset, byte, n);
        mem_written(map, block, addr, n);
        addr += n;
        len -= n;
    }
    return MEM_OK;
}

/* The host address of an aligned word, or NULL. */
static void *dma_word(MemoryMap *map, hwaddr addr, uint64_t size, bool is_write)
{
    uint64_t len = size;
    void *host = mem_ram_ptr(map, addr, &len, is_write);

    return host && len == size && QEMU_IS_ALIGNED(addr, size) ? host : NULL;
}

MemResult dma_load_le16(MemoryMap *map, hwaddr addr, uint16_t *value)
{
    const uint16_t *host = dma_word(map, addr, sizeof(*host), false);

    if (!host) {
        return MEM_NO_DEVICE;
    }
    *value = GUINT16_FROM_LE(__atomic_load_n(host, __ATOMIC_RELAXED));
    return MEM_OK;
}

MemResult dma_load_le32(MemoryMap *map, hwaddr addr, uint32_t *value)
{
    const uint32_t *host = dma_word(map, addr, sizeof(*host), false);

    if (!host) {
        return MEM_NO_DEVICE;
    }
    *value = GUINT32_FROM_LE(__atomic_load_n(host, __ATOMIC_RELAXED));
    return MEM_OK;
}

MemResult dma_load_le64(MemoryMap *map, hwaddr addr, uint64_t *value)
{
    const uint64_t *host = dma_word(map, addr, sizeof(*host), false);

    if (!host) {
        return MEM_NO_DEVICE;
    }
    *value = GUINT64_FROM_LE(__atomic_load_n(host, __ATOMIC_RELAXED));
    return MEM_OK;
}

static void dma_word_written(MemoryMap *map, hwaddr addr, uint64_t size)
{
    mem_written(map, mem_ram_find(map, addr, size), addr, size);
}

MemResult dma_store_le16(MemoryMap *map, hwaddr addr, uint16_t value)
{
    uint16_t *host = dma_word(map, addr, sizeof(*host), true);

    if (!host) {
        return MEM_NO_DEVICE;
    }
    __atomic_store_n(host, GUINT16_TO_LE(value), __ATOMIC_RELAXED);
    dma_word_written(map, addr, sizeof(*host));
    return MEM_OK;
}

MemResult dma_store_le32(MemoryMap *map, hwaddr addr, uint32_t value)
{
    uint32_t *host = dma_word(map, addr, sizeof(*host), true);

    if (!host) {
        return MEM_NO_DEVICE;
    }
    __atomic_store_n(host, GUINT32_TO_LE(value), __ATOMIC_RELAXED);
    dma_word_written(map, addr, sizeof(*host));
    return MEM_OK;
}

MemResult dma_map_iov(MemoryMap *map, hwaddr addr, uint64_t len, DmaDirection dir,
                      QEMUIOVector *qiov)
{
    bool is_write = dir == DMA_FROM_DEVICE;

    if (!dma_range_ok(map, addr, len, is_write)) {
        return MEM_NO_DEVICE;
    }
    while (len) {
        uint64_t n = len;
        void *host = mem_ram_ptr(map, addr, &n, is_write);

        qemu_iovec_add(qiov, host, n);
        addr += n;
        len -= n;
    }
    return MEM_OK;
}

static RamBlock *block_of_host(MemoryMap *map, const uint8_t *host)
{
    for (unsigned i = 0; i < map->n_ram; i++) {
        if (host >= map->ram[i].host && host < map->ram[i].host + map->ram[i].size) {
            return &map->ram[i];
        }
    }
    return NULL;
}

void dma_written(MemoryMap *map, const QEMUIOVector *qiov, uint64_t bytes)
{
    for (int i = 0; i < qiov->niov && bytes; i++) {
        uint8_t *host = qiov->iov[i].iov_base;
        uint64_t n = MIN(bytes, qiov->iov[i].iov_len);
        RamBlock *block = block_of_host(map, host);

        if (block) {
            mem_written(map, block, block->base + (host - block->host), n);
        }
        bytes -= n;
    }
}
