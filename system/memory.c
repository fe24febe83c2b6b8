/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <sys/mman.h>

#include "qemu/atomic.h"
#include "qemu/error.h"
#include "qemu/main-loop.h"
#include "system/memory.h"
#include "memory-int.h"

/* Windows may look into maps that have windows; more than this is a mistake of the board. */
#define MAX_WINDOW_DEPTH 4

struct MemoryRegion {
    MemoryMap *map;
    char *name;
    hwaddr base;
    uint64_t size;
    bool is_enabled;
    const MemoryOps *ops; /* NULL: a window */
    void *opaque;
    MemoryMap *target;
    hwaddr target_base;
};

typedef struct CodeListener {
    MemCodeListener *fn;
    void *opaque;
} CodeListener;

struct MemoryMapPrivate {
    char *name;
    bool unassigned_ok;
    GPtrArray *regions;  /* enabled ones; the last one wins */
    GPtrArray *disabled;
    GArray *listeners;   /* of CodeListener; fixed once threads run */
};

/* One access to registers on its way through maps and windows. */
typedef struct IoAccess {
    bool is_write;
    uint64_t value; /* of the whole access; filled from the low byte up */
    unsigned done;  /* bytes already handled */
} IoAccess;

static MemResult io_access(MemoryMap *map, hwaddr addr, unsigned size, IoAccess *access, int depth);

/* ---- building -------------------------------------------------------------------------------- */

MemoryMap *memory_map_new(const char *name, bool unassigned_ok)
{
    MemoryMap *map = g_new0(MemoryMap, 1);

    map->priv = g_new0(MemoryMapPrivate, 1);
    map->priv->name = g_strdup(name);
    map->priv->unassigned_ok = unassigned_ok;
    map->priv->regions = g_ptr_array_new();
    map->priv->disabled = g_ptr_array_new();
    map->priv->listeners = g_array_new(false, false, sizeof(CodeListener));
    return map;
}

static void region_free(gpointer data, gpointer unused)
{
    MemoryRegion *region = data;

    g_free(region->name);
    g_free(region);
}

void memory_map_free(MemoryMap *map)
{
    if (!map) {
        return;
    }
    for (unsigned i = 0; i < map->n_ram; i++) {
        munmap(map->ram[i].host, map->ram[i].size);
        g_free(map->ram[i].code_pages);
        g_free(map->ram[i].name);
    }
    g_ptr_array_foreach(map->priv->regions, region_free, NULL);
    g_ptr_array_foreach(map->priv->disabled, region_free, NULL);
    g_ptr_array_unref(map->priv->regions);
    g_ptr_array_unref(map->priv->disabled);
    g_array_unref(map->priv->listeners);
    g_free(map->priv->name);
    g_free(map->priv);
    g_free(map);
}

RamBlock *memory_add_ram(MemoryMap *map, const char *name, hwaddr base, uint64_t size, bool is_rom,
                         Error **errp)
{
    RamBlock *block = &map->ram[map->n_ram];
    void *host;

    assert(map->n_ram < MEM_MAX_RAM_BLOCKS && size > 0);
    assert(QEMU_IS_ALIGNED(base | size, MEM_PAGE_SIZE));
    host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
    if (host == MAP_FAILED) {
        error_setg_errno(errp, errno, "cannot set up guest memory '%s'", name);
        return NULL;
    }
    *block = (RamBlock) {
        .base = base,
        .size = size,
        .host = host,
        .code_pages = g_malloc0(size >> MEM_PAGE_BITS),
        .is_rom = is_rom,
        .name = g_strdup(name),
    };
    map->n_ram++;
    return block;
}

static MemoryRegion *region_new(MemoryMap *map, const char *name, hwaddr base, uint64_t size)
{
    MemoryRegion *region = g_new0(MemoryRegion, 1);

    region->map = map;
    region->name = g_strdup(name);
    region->base = base;
    region->size = size;
    region->is_enabled = true;
    g_ptr_array_add(map->priv->regions, region);
    return region;
}

MemoryRegion *memory_add_io(MemoryMap *map, const char *name, hwaddr base, uint64_t size,
                            const MemoryOps *ops, void *opaque)
{
    MemoryRegion *region = region_new(map, name, base, size);

    region->ops = ops;
    region->opaque = opaque;
    return region;
}

MemoryRegion *memory_add_window(MemoryMap *map, const char *name, hwaddr base, uint64_t size,
                                MemoryMap *target, hwaddr target_base)
{
    MemoryRegion *region = region_new(map, name, base, size);

    region->target = target;
    region->target_base = target_base;
    return region;
}

void memory_region_move(MemoryRegion *region, hwaddr base)
{
    region->base = base;
}

void memory_region_set_enabled(MemoryRegion *region, bool is_enabled)
{
    MemoryMapPrivate *priv = region->map->priv;

    if (region->is_enabled != is_enabled) {
        region->is_enabled = is_enabled;
        g_ptr_array_remove(is_enabled ? priv->disabled : priv->regions, region);
        g_ptr_array_add(is_enabled ? priv->regions : priv->disabled, region);
    }
}

void memory_region_del(MemoryRegion *region)
{
    if (region) {
        MemoryMapPrivate *priv = region->map->priv;

        g_ptr_array_remove(region->is_enabled ? priv->regions : priv->disabled, region);
        region_free(region, NULL);
    }
}

void memory_describe(MemoryMap *map, GString *out)
{
    for (unsigned i = 0; i < map->n_ram; i++) {
        const RamBlock *block = &map->ram[i];

        g_string_append_printf(out, "  %016" PRIx64 "-%016" PRIx64 " %s: %s\n", block->base,
                               block->base + block->size - 1, block->is_rom ? "rom" : "ram",
                               block->name);
    }
    for (guint i = map->priv->regions->len; i-- > 0;) {
        const MemoryRegion *region = map->priv->regions->pdata[i];

        g_string_append_printf(out, "  %016" PRIx64 "-%016" PRIx64 " %s: %s\n", region->base,
                               region->base + region->size - 1, region->target ? "window" : "i/o",
                               region->name);
    }
}

/* ---- registers ------------------------------------------------------------------------------- */

static MemoryRegion *region_find(MemoryMap *map, hwaddr addr)
{
    for (guint i = map->priv->regions->len; i-- > 0;) {
        MemoryRegion *region = map->priv->regions->pdata[i];

        if (addr - region->base < region->size) {
            return region;
        }
    }
    return NULL;
}

static void access_put(IoAccess *access, uint64_t value, unsigned size)
{
    uint64_t mask = size == 8 ? UINT64_MAX : (UINT64_C(1) << (size * 8)) - 1;

    access->value |= (value & mask) << (access->done * 8);
    access->done += size;
}

static uint64_t access_take(IoAccess *access, unsigned size)
{
    uint64_t value = access->value >> (access->done * 8);

    access->done += size;
    return size == 8 ? value : value & ((UINT64_C(1) << (size * 8)) - 1);
}

/* A naturally aligned piece that is not larger than the device allows. */
static void device_access(MemoryRegion *region, hwaddr offset, unsigned size, IoAccess *access)
{
    unsigned min = region->ops->min_size ? region->ops->min_size : 1;
    hwaddr word = offset & ~(hwaddr)(min - 1);

    if (access->is_write) {
        uint64_t value = access_take(access, size);

        if (size >= min) {
            region->ops->write(region->opaque, offset, value, size);
        }
    } else if (size >= min) {
        access_put(access, region->ops->read(region->opaque, offset, size), size);
    } else {
        uint64_t value = region->ops->read(region->opaque, word, min);

        access_put(access, value >> ((offset - word) * 8), size);
    }
}

static void region_access(MemoryRegion *region, hwaddr offset, unsigned size, IoAccess *access)
{
    unsigned max = region->ops->max_size ? region->ops->max_size : 8;

    while (size) {
        unsigned piece = max;

        while (piece > size || (offset & (piece - 1))) {
            piece >>= 1;
        }
        device_access(region, offset, piece, access);
        offset += piece;
        size -= piece;
    }
}

static MemResult ram_access(RamBlock *block, MemoryMap *map, hwaddr addr, IoAccess *access)
{
    uint8_t *host = block->host + (addr - block->base);

    if (!access->is_write) {
        access_put(access, *host, 1);
    } else {
        uint8_t byte = access_take(access, 1);

        if (!block->is_rom) {
            *host = byte;
            mem_code_written(map, block, addr, 1);
        }
    }
    return MEM_OK;
}

/* The part of an access that one region answers; returns how many bytes that was. */
static unsigned io_access_part(MemoryMap *map, hwaddr addr, unsigned size, IoAccess *access,
                               int depth, MemResult *result)
{
    MemoryRegion *region = region_find(map, addr);
    RamBlock *block = mem_ram_find(map, addr, 1);
    hwaddr offset;

    if (block) {
        *result = ram_access(block, map, addr, access);
        return 1;
    }
    if (!region) {
        *result = map->priv->unassigned_ok ? MEM_OK : MEM_NO_DEVICE;
        access_put(access, access->is_write ? 0 : UINT64_MAX, 1);
        return 1;
    }
    offset = addr - region->base;
    size = MIN(size, region->size - offset);
    *result = MEM_OK;
    if (!region->target) {
        region_access(region, offset, size, access);
    } else if (depth < MAX_WINDOW_DEPTH) {
        *result = io_access(region->target, region->target_base + offset, size, access, depth + 1);
    }
    return size;
}

/* Byte by byte only where nobody answers or regions meet; whole otherwise. */
static MemResult io_access(MemoryMap *map, hwaddr addr, unsigned size, IoAccess *access, int depth)
{
    MemResult result = MEM_OK;

    while (size) {
        MemResult part;
        unsigned n = io_access_part(map, addr, size, access, depth, &part);

        result = part != MEM_OK ? part : result;
        addr += n;
        size -= n;
    }
    return result;
}

static MemResult io_access_locked(MemoryMap *map, hwaddr addr, unsigned size, IoAccess *access)
{
    bool had_lock = bql_locked();
    MemResult result;

    if (!had_lock) {
        bql_lock();
    }
    result = io_access(map, addr, size, access, 0);
    if (!had_lock) {
        bql_unlock();
    }
    return result;
}

/* ---- access ---------------------------------------------------------------------------------- */

MemResult mem_load(MemoryMap *map, hwaddr addr, unsigned size, uint64_t *value)
{
    RamBlock *block = mem_ram_find(map, addr, size);
    IoAccess access = {0};
    MemResult result;

    if (block) {
        *value = host_load_le(block->host + (addr - block->base), size);
        return MEM_OK;
    }
    result = io_access_locked(map, addr, size, &access);
    *value = access.value;
    return result;
}

MemResult mem_store(MemoryMap *map, hwaddr addr, unsigned size, uint64_t value)
{
    RamBlock *block = mem_ram_find(map, addr, size);
    IoAccess access = {.is_write = true, .value = value};

    if (block) {
        if (!block->is_rom) {
            host_store_le(block->host + (addr - block->base), size, value);
            mem_code_written(map, block, addr, size);
        }
        return MEM_OK;
    }
    return io_access_locked(map, addr, size, &access);
}

void *mem_ram_ptr(MemoryMap *map, hwaddr addr, uint64_t *len, bool is_write)
{
    RamBlock *block = mem_ram_find(map, addr, 1);
    hwaddr offset;

    if (!block || (is_write && block->is_rom)) {
        *len = 0;
        return NULL;
    }
    offset = addr - block->base;
    *len = MIN(*len, block->size - offset);
    return block->host + offset;
}

/* Size of the next access to registers when @len bytes at @addr are left. */
static unsigned next_io_size(hwaddr addr, uint64_t len)
{
    unsigned size = 8;

    while (size > len || (addr & (size - 1))) {
        size >>= 1;
    }
    return size;
}

MemResult mem_read(MemoryMap *map, hwaddr addr, void *buf, uint64_t len)
{
    MemResult result = MEM_OK;
    uint8_t *p = buf;

    while (len) {
        uint64_t n = len;
        const void *host = mem_ram_ptr(map, addr, &n, false);

        if (host) {
            memcpy(p, host, n);
        } else {
            uint64_t value;

            n = next_io_size(addr, len);
            result |= mem_load(map, addr, n, &value);
            host_store_le(p, n, value);
        }
        addr += n;
        p += n;
        len -= n;
    }
    return result;
}

static MemResult write_bytes(MemoryMap *map, hwaddr addr, const uint8_t *p, uint64_t len,
                             bool also_rom)
{
    MemResult result = MEM_OK;

    while (len) {
        RamBlock *block = mem_ram_find(map, addr, 1);
        uint64_t n;

        if (block) {
            n = MIN(len, block->size - (addr - block->base));
            if (!block->is_rom || also_rom) {
                memcpy(block->host + (addr - block->base), p, n);
                mem_written(map, block, addr, n);
            }
        } else {
            n = next_io_size(addr, len);
            result |= mem_store(map, addr, n, host_load_le(p, n));
        }
        addr += n;
        p += n;
        len -= n;
    }
    return result;
}

MemResult mem_write(MemoryMap *map, hwaddr addr, const void *buf, uint64_t len)
{
    return write_bytes(map, addr, buf, len, false);
}

MemResult mem_write_rom(MemoryMap *map, hwaddr addr, const void *buf, uint64_t len)
{
    return write_bytes(map, addr, buf, len, true);
}

/* ---- code pages ------------------------------------------------------------------------------ */

void mem_add_code_listener(MemoryMap *map, MemCodeListener *fn, void *opaque)
{
    CodeListener listener = {.fn = fn, .opaque = opaque};

    g_array_append_val(map->priv->listeners, listener);
}

void mem_code_mark(MemoryMap *map, hwaddr addr)
{
    RamBlock *block = mem_ram_find(map, addr, 1);

    if (block) {
        uint8_t *mark = &block->code_pages[(addr - block->base) >> MEM_PAGE_BITS];

        if (!__atomic_load_n(mark, __ATOMIC_RELAXED)) {
            /* Pairs with mem_written(): either it sees the mark or we see its bytes. */
            __atomic_store_n(mark, 1, __ATOMIC_SEQ_CST);
            smp_mb();
        }
    }
}

void mem_code_notify(MemoryMap *map, RamBlock *block, hwaddr addr, uint64_t len)
{
    uint64_t first = (addr - block->base) >> MEM_PAGE_BITS;
    uint64_t last = (addr - block->base + len - 1) >> MEM_PAGE_BITS;
    bool was_marked = false;

    for (uint64_t page = first; page <= last; page++) {
        if (__atomic_load_n(&block->code_pages[page], __ATOMIC_RELAXED)) {
            __atomic_store_n(&block->code_pages[page], 0, __ATOMIC_SEQ_CST);
            was_marked = true;
        }
    }
    for (guint i = 0; was_marked && i < map->priv->listeners->len; i++) {
        CodeListener *listener = &g_array_index(map->priv->listeners, CodeListener, i);

        listener->fn(listener->opaque, addr, len);
    }
}

void mem_written(MemoryMap *map, RamBlock *block, hwaddr addr, uint64_t len)
{
    smp_mb();
    if (len) {
        mem_code_notify(map, block, addr, len);
    }
}
