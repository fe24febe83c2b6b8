/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flattened backing chains: for pieces of the disk, which layer below a node decides.
 *
 * What is remembered is only that no layer in between has anything of a piece; the layer itself is
 * then asked where the bytes are.  An answer is good as long as the generation it was made in: the
 * sum of a number that is raised whenever the graph or the size of a layer changes, and of those of
 * its places of the disk, raised when a layer that is somebody's backing file gets content there on
 * the full path (the only one that allocates).  Chains share these numbers, since all layers of a
 * chain count from the same beginning; so do places of the disk that lie far from each other.
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

/* Places of the disk that have their own number, and of how many an answer may be the sum. */
#define PLACES 4096
#define MAX_PLACES 16

static uint64_t generation = 1;
static uint64_t place_generation[PLACES]; /* atomic each; of the piece with this number, modulo */

void bdrv_chains_changed(void)
{
    qatomic_inc(&generation);
}

void bdrv_chains_changed_at(int64_t offset, int64_t bytes)
{
    int64_t piece = offset >> PIECE_BITS, last = (offset + bytes - 1) >> PIECE_BITS;

    if (last - piece >= PLACES) {
        bdrv_chains_changed();
        return;
    }
    for (; piece <= last; piece++) {
        qatomic_inc(&place_generation[piece % PLACES]);
    }
}

/*
 * The generation of what is at [@start, @end), 0: that is too long.  Each of the numbers only
 * grows, so the sum is the same only while all of them are.
 */
static uint64_t generation_at(int64_t start, int64_t end)
{
    int64_t piece = start >> PIECE_BITS, last = (end - 1) >> PIECE_BITS;
    uint64_t sum = qatomic_load_acquire(&generation);

    if (last - piece >= MAX_PLACES) {
        return 0;
    }
    for (; piece <= last; piece++) {
        sum += qatomic_load_acquire(&place_generation[piece % PLACES]);
    }
    return sum;
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

static bool entry_read(ChainEntry *entry, int64_t offset, int64_t bytes, BdrvChild **child)
{
    unsigned version = qatomic_load_acquire(&entry->version);
    int64_t start = qatomic_read(&entry->start), end = qatomic_read(&entry->end);
    bool is_hit = !(version & 1) && start <= offset && end >= offset + bytes &&
                  qatomic_read(&entry->generation) == generation_at(start, end);

    *child = qatomic_read(&entry->child);
    smp_rmb();
    return is_hit && qatomic_read(&entry->version) == version;
}

static void entry_write(ChainEntry *entry, uint64_t now, int64_t start, int64_t end,
                        BdrvChild *child)
{
    unsigned version = qatomic_read(&entry->version);

    if (!now || (version & 1) ||
        qatomic_cmpxchg(&entry->version, version, version + 1) != version) {
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
    int64_t start = QEMU_ALIGN_DOWN(offset, INT64_C(1) << PIECE_BITS);
    int64_t end = QEMU_ALIGN_UP(offset + bytes, INT64_C(1) << PIECE_BITS);
    BdrvChild *child = top->backing;
    BdrvChainMap *map;
    uint64_t now;

    if (!child || is_short(child)) {
        walk(&child, offset, bytes);
        return child;
    }
    map = chain_map(top);
    if (entry_read(slot(map, offset, PIECE_BITS), offset, bytes, &child) ||
        entry_read(slot(map, offset, SMALL_PIECE_BITS), offset, bytes, &child)) {
        return child;
    }
    child = top->backing;
    now = generation_at(start, end); /* before the layers are asked */
    if (end - start == INT64_C(1) << PIECE_BITS && walk(&child, start, end - start)) {
        entry_write(slot(map, offset, PIECE_BITS), now, start, end, child);
        return child;
    }
    child = top->backing;
    now = generation_at(offset, offset + bytes);
    if (walk(&child, offset, bytes)) {
        entry_write(slot(map, offset, SMALL_PIECE_BITS), now, offset, offset + bytes, child);
    }
    return child;
}
