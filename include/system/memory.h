/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Physical address spaces: RAM, ROM and device registers, and access to them.
 *
 * Rules of use:
 *  - A MemoryMap is an address space: the machine's physical memory, its legacy I/O ports, the
 *    PCI bus.  One map shows part of another through a window.
 *  - RAM and ROM blocks are added while the board is built and stay where they are until the map
 *    is freed.  Finding them needs no lock, so any thread may use the calls below at any time.
 *  - I/O regions come, move and go under the machine lock (bql).  The memory layer takes that
 *    lock around each register access unless the caller holds it already; MemoryOps callbacks
 *    therefore always run with it held.
 *  - Everything is little-endian: the least significant byte of a value is at the lowest address.
 *  - A CPU that keeps decoded code marks the pages it decoded from (mem_code_mark).  Whoever
 *    writes into such a page, the CPU itself or a device, makes the listeners run once and clears
 *    the mark.
 */
#ifndef SYSTEM_MEMORY_H
#define SYSTEM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

typedef struct Error Error;
typedef uint64_t hwaddr;

typedef enum MemResult {
    MEM_OK,
    MEM_NO_DEVICE, /* nothing answers at (part of) the address; loads give all ones */
} MemResult;

/* Callbacks of a device's registers.  Run with the machine lock held. */
typedef struct MemoryOps {
    /* @size is 1, 2, 4 or 8, within [min_size, max_size]; @offset is relative to the region. */
    uint64_t (*read)(void *opaque, hwaddr offset, unsigned size);
    void (*write)(void *opaque, hwaddr offset, uint64_t value, unsigned size);
    /*
     * Sizes the callbacks understand; 0 means 1 and 8.  Larger accesses are split, lowest address
     * first.  Smaller reads take their bytes from an aligned read of min_size; smaller writes are
     * ignored, as most buses do with disabled byte lanes of word registers.
     */
    unsigned min_size;
    unsigned max_size;
} MemoryOps;

#define MEM_PAGE_BITS 12
#define MEM_PAGE_SIZE (UINT64_C(1) << MEM_PAGE_BITS)
#define MEM_MAX_RAM_BLOCKS 8

/* A contiguous piece of RAM or ROM.  Fields do not change after memory_add_ram(). */
typedef struct RamBlock {
    hwaddr base;
    uint64_t size;
    uint8_t *host;
    uint8_t *code_pages; /* a byte per page, not 0: decoded code was taken from it; atomic */
    bool is_rom;         /* stores by the guest are ignored */
    char *name;
} RamBlock;

typedef struct MemoryRegion MemoryRegion;
typedef struct MemoryMapPrivate MemoryMapPrivate;

typedef struct MemoryMap {
    /* fixed once the board is built */
    RamBlock ram[MEM_MAX_RAM_BLOCKS];
    unsigned n_ram;
    /* machine lock */
    MemoryMapPrivate *priv;
} MemoryMap;

/* ---- building -------------------------------------------------------------------------------- */

/**
 * Create an empty address space.
 *
 * @unassigned_ok: accesses that reach nothing succeed (loads give all ones, stores vanish), as on
 *                 ISA and PCI buses; otherwise they return MEM_NO_DEVICE.
 */
MemoryMap *memory_map_new(const char *name, bool unassigned_ok);

/** Free @map, its regions and its RAM.  No thread may be using it. */
void memory_map_free(MemoryMap *map);

/**
 * Add @size bytes of zeroed RAM or ROM at @base, both multiples of MEM_PAGE_SIZE.
 *
 * Context: main thread, before any other thread uses the map.
 * Returns: the block, owned by the map; NULL with @errp set when the host lacks memory.
 */
RamBlock *memory_add_ram(MemoryMap *map, const char *name, hwaddr base, uint64_t size, bool is_rom,
                         Error **errp);

/**
 * Add device registers at @base.  Where I/O regions overlap, the one enabled last answers; RAM
 * always wins over I/O regions.
 *
 * @ops: not copied.  Context: machine lock held, or before threads run.
 */
MemoryRegion *memory_add_io(MemoryMap *map, const char *name, hwaddr base, uint64_t size,
                            const MemoryOps *ops, void *opaque);

/** Show @size bytes of @target, from @target_base on, at @base of @map.  Same context. */
MemoryRegion *memory_add_window(MemoryMap *map, const char *name, hwaddr base, uint64_t size,
                                MemoryMap *target, hwaddr target_base);

/** Move @region to @base.  Context: machine lock held. */
void memory_region_move(MemoryRegion *region, hwaddr base);

/** Let @region answer, or hide it.  Context: machine lock held. */
void memory_region_set_enabled(MemoryRegion *region, bool is_enabled);

/** Remove and free @region; accepts NULL.  Context: machine lock held. */
void memory_region_del(MemoryRegion *region);

/** Append a line for each block and region, as `info mtree` shows them.  Machine lock held. */
void memory_describe(MemoryMap *map, GString *out);

/* ---- access, any thread ---------------------------------------------------------------------- */

/**
 * Load @size (1, 2, 4, 8) bytes at @addr, zero-extended; need not be aligned.
 * Returns: MEM_NO_DEVICE, with all ones in *@value, when nothing answers.
 */
MemResult mem_load(MemoryMap *map, hwaddr addr, unsigned size, uint64_t *value);

/** Store the low @size (1, 2, 4, 8) bytes of @value at @addr; need not be aligned. */
MemResult mem_store(MemoryMap *map, hwaddr addr, unsigned size, uint64_t value);

/** Copy @len bytes out of the address space, RAM or registers. */
MemResult mem_read(MemoryMap *map, hwaddr addr, void *buf, uint64_t len);

/** Copy @len bytes into the address space, RAM or registers. */
MemResult mem_write(MemoryMap *map, hwaddr addr, const void *buf, uint64_t len);

/** Like mem_write, but also into ROM: for firmware and loaders. */
MemResult mem_write_rom(MemoryMap *map, hwaddr addr, const void *buf, uint64_t len);

/**
 * The RAM or ROM block that holds all of [@addr, @addr + @len), or NULL.
 * This is the CPU's fast path; after storing through it, call mem_code_written().
 */
static inline RamBlock *mem_ram_find(MemoryMap *map, hwaddr addr, uint64_t len)
{
    for (unsigned i = 0; i < map->n_ram; i++) {
        RamBlock *block = &map->ram[i];
        hwaddr offset = addr - block->base;

        if (offset < block->size && len <= block->size - offset) {
            return block;
        }
    }
    return NULL;
}

/**
 * Host address of guest RAM or ROM at @addr.
 *
 * @len: in: bytes wanted; out: how many of them are contiguous from there (0 with NULL).
 * @is_write: do not return ROM.
 */
void *mem_ram_ptr(MemoryMap *map, hwaddr addr, uint64_t *len, bool is_write);

/* ---- code pages ------------------------------------------------------------------------------ */

/**
 * Called when code may have changed in the pages of [@addr, @addr + @len).
 * Context: any thread, any lock; must only set flags or queue something.
 */
typedef void MemCodeListener(void *opaque, hwaddr addr, uint64_t len);

/** Have @fn called for writes to marked pages.  Context: before threads run. */
void mem_add_code_listener(MemoryMap *map, MemCodeListener *fn, void *opaque);

/**
 * Mark the page of @addr as decoded from.  Must be called before its bytes are read for decoding;
 * then no write can be missed.  Addresses outside RAM are ignored.
 */
void mem_code_mark(MemoryMap *map, hwaddr addr);

/** The slow half of mem_code_written(). */
void mem_code_notify(MemoryMap *map, RamBlock *block, hwaddr addr, uint64_t len);

/** Tell that a CPU stored @len bytes (at most a page) at @addr, which lie within @block. */
static inline void mem_code_written(MemoryMap *map, RamBlock *block, hwaddr addr, uint64_t len)
{
    uint64_t first = (addr - block->base) >> MEM_PAGE_BITS;
    uint64_t last = (addr - block->base + len - 1) >> MEM_PAGE_BITS;

    if (__builtin_expect(__atomic_load_n(&block->code_pages[first], __ATOMIC_RELAXED) |
                         __atomic_load_n(&block->code_pages[last], __ATOMIC_RELAXED), 0)) {
        mem_code_notify(map, block, addr, len);
    }
}

#endif
