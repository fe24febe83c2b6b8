/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flattened backing chains: for pieces of the disk, which layer below a node decides.
 *
 * What is remembered is only that no layer in between has anything of a piece; the layer itself is
 * then asked where the bytes are.  An answer is good as long as the generation it was made in: one
 * number for all chains, raised when a layer that is somebody's backing file gets content on the
 * full path (the only one that allocates), and whenever the graph or a node's size changes.
 *
 * A piece is 64 KiB where all layers agree about these, else just the range that was asked for.
 * Entries are written and read without a lock: a reader whose entry changes meanwhile has missed.
 */
#include "qemu/osdep.h"

#include "io.h"

#include "qemu/atomic.h"

#define PIECE_BITS 16
#define SMALL_PIECE_BITS 12
#define SLOTS 4096

typedef struct ChainEntry {
    unsigned version; /* odd: being written */
    uint64_t generation;
    int64_t start, end;
    BdrvChild *child; /* NULL: zeroes */
} ChainEntry;

typedef struct BdrvChainMap {
    ChainEntry entries[SLOTS];
} BdrvChainMap;

static uint64_t generation = 1;

void bdrv_chains_changed(void)
{
    qatomic_inc(&generation);
}

void bdrv_chain_free(BlockDriverState *bs)
{
    g_free(bs->chain_map);
}

/* ---- entries --------------------------------------------------------------------------------- */

static ChainEntry *slot(BdrvChainMap *map, int64_t offset, int bits)
{
    uint64_t index = (uint64_t)offset >> bits;

    /* Small pieces take the slots in another order, lest they all fall on those of the large. */
    return &map->entries[(bits == PIECE_BITS ? index : index * 2654435761U) % SLOTS];
}

static bool entry_read(ChainEntry *entry, uint64_t now, int64_t offset, int64_t bytes,
                       BdrvChild **child)
{
    unsigned version = qatomic_load_acquire(&entry->version);
    bool is_hit = !(version & 1) && qatomic_read(&entry->generation) == now &&
                  qatomic_read(&entry->start) <= offset &&
                  qatomic_read(&entry->end) >= offset + bytes;

    *child = qatomic_read(&entry->child);
    smp_rmb();
    return is_hit && qatomic_read(&entry->version) == version;
}

static void entry_write(ChainEntry *entry, uint64_t now, int64_t start, int64_t end,
                        BdrvChild *child)
{
    unsigned version = qatomic_read(&entry->version);

    if ((version & 1) || qatomic_cmpxchg(&entry->version, version, version + 1) != version) {
        return; /* somebody else is at it: theirs is as good */
    }
    smp_wmb();
    qatomic_set(&entry->generation, now);
    qatomic_set(&entry->start, start);
    qatomic_set(&entry->end, end);
    qatomic_set(&entry->child, child);
    qatomic_store_release(&entry->version, version + 2);
}

static BdrvChainMap *chain_map(BlockDriverState *bs)
{
    BdrvChainMap *map = qatomic_load_acquire(&bs->chain_map);

    if (unlikely(!map)) {
        BdrvChainMap *made = g_new0(BdrvChainMap, 1);

        map = qatomic_cmpxchg(&bs->chain_map, NULL, made);
        if (map) {
            g_free(made);
        } else {
            map = made;
        }
    }
    return map;
}

/* ---- walking --------------------------------------------------------------------------------- */

/*
 * Down from @child to the layer that decides about all of the range.  True: it is *@child (NULL:
 * zeroes).  False: *@child is a layer that may decide, and none above it does; the layers do not
 * agree about the range as a whole, or it is not known from memory.
 *
 * These layers are not visited: an answer that there is nothing refers to nothing that could be
 * freed or moved.
 */
static bool walk(BdrvChild **child, int64_t offset, int64_t bytes)
{
    while (*child) {
        BlockDriverState *bs = (*child)->bs;
        int64_t total = bs->drv ? qatomic_read(&bs->total_bytes) : 0;
        BdrvMapping unused;

        if (offset >= total && bs->drv && !bs->drv->has_variable_length) {
            *child = NULL;
            break;
        }
        if (!bs->drv || !bs->drv->bdrv_map) {
            return true;
        }
        if (bytes > total - offset || ((offset | bytes) & (bs->bl.request_alignment - 1)) ||
            (bs->file && bs->file->bs->drv->bdrv_co_debug_event)) {
            return false;
        }
        switch (bs->drv->bdrv_map(bs, false, offset, bytes, &unused)) {
        case BDRV_MAP_BACKING:
            *child = bs->backing;
            break;
        case BDRV_MAP_NONE:
            return false;
        default:
            return true;
        }
    }
    return true;
}

/* Is what is below so short a chain that walking it costs no more than remembering? */
static bool is_short(const BdrvChild *below)
{
    return !below->bs->backing;
}

BdrvChild *bdrv_chain_find(BlockDriverState *top, int64_t offset, int64_t bytes)
{
    uint64_t now = qatomic_load_acquire(&generation);
    int64_t start = QEMU_ALIGN_DOWN(offset, INT64_C(1) << PIECE_BITS);
    int64_t end = QEMU_ALIGN_UP(offset + bytes, INT64_C(1) << PIECE_BITS);
    BdrvChild *child = top->backing;
    BdrvChainMap *map;

    if (!child || is_short(child)) {
        walk(&child, offset, bytes);
        return child;
    }
    map = chain_map(top);
    if (entry_read(slot(map, offset, PIECE_BITS), now, offset, bytes, &child) ||
        entry_read(slot(map, offset, SMALL_PIECE_BITS), now, offset, bytes, &child)) {
        return child;
    }
    child = top->backing;
    if (end - start == INT64_C(1) << PIECE_BITS && walk(&child, start, end - start)) {
        entry_write(slot(map, offset, PIECE_BITS), now, start, end, child);
        return child;
    }
    child = top->backing;
    if (walk(&child, offset, bytes)) {
        entry_write(slot(map, offset, SMALL_PIECE_BITS), now, offset, offset + bytes, child);
    }
    return child;
}
