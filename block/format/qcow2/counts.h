/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The refcounts of an image that is being made next to the one in the file (shadow.h), block by
 * block.  Those of most images are in memory as a whole; of others a part is, and what has changed
 * waits in the file, in the new place that it gets anyway.
 *
 *   get, set, add   load what they need, whatever is in memory already;
 *   trim            writes out and forgets what is too much.  It allocates, so it is called where
 *                   nobody holds a cluster that is not counted yet: before one is looked for, and
 *                   in loops over many.
 *
 * Who looks at many counts goes window by window, so that each block is loaded a few times only.
 * What cannot be read counts as 0, and ->err says so: look at it before anything is written to a
 * cluster because of its count.
 */
#ifndef BLOCK_FORMAT_QCOW2_COUNTS_H
#define BLOCK_FORMAT_QCOW2_COUNTS_H

#include "refarray.h"

typedef struct Qcow2CountBlock {
    uint8_t *counts;       /* as on disk; NULL: not in memory */
    unsigned long *used;   /* goes with that: clusters that the old image uses; then "dropped" */
    uint64_t place;        /* in the file; 0: none, what is not in memory is 0 */
    bool is_changed;       /* it is not what the old image has: it needs a new place */
    bool is_placed;        /* and has it */
    bool is_unwritten;     /* but not what is in memory */
} Qcow2CountBlock;

/* A new place for a block that has changed; its old one goes. */
typedef bool coroutine_fn Qcow2PlaceBlock(void *opaque, uint64_t index, Error **errp);

typedef struct Qcow2Counts {
    BlockDriverState *bs;
    Qcow2CountBlock *blocks;
    uint64_t nb_blocks;
    uint64_t end;              /* host clusters covered: [0, end) */
    uint64_t max;              /* the highest count */
    uint32_t bits;             /* of a count */
    uint32_t block_bits;       /* log2 of the counts in a block */
    uint32_t block_bytes;
    uint64_t max_loaded, nb_loaded; /* blocks in memory */
    uint64_t hand;             /* the next block to go */
    bool is_trimming;
    Qcow2PlaceBlock *co_place;
    void *opaque;
    GArray *dropped;           /* of Qcow2ClusterRun: of blocks not in memory */
    GArray *spare;             /* memory of blocks, to be used again */
    uint8_t *slab, *slab_end;  /* memory of those there were, if all had room; else NULL */
    unsigned long *slab_bits;
    Error *err;                /* the first that went wrong */
} Qcow2Counts;

typedef struct Qcow2ClusterRun {
    uint64_t first, n;
} Qcow2ClusterRun;

/* Clusters [first, end). */
typedef struct Qcow2Window {
    uint64_t first, end;
} Qcow2Window;

/* Bytes in memory, about; tests lower it. */
extern uint64_t qcow2_counts_budget;

/** The counts of the image in the file; NULL with @errp set. */
Qcow2Counts *coroutine_fn qcow2_counts_co_new(BlockDriverState *bs, Qcow2PlaceBlock *co_place,
                                              void *opaque, Error **errp);
void qcow2_counts_free(Qcow2Counts *c);
/** Cover more clusters, which are free; false: no memory. */
bool qcow2_counts_extend(Qcow2Counts *c, uint64_t nb_blocks);

/* The block of @cluster in memory; NULL: there is none, or ->err is set.  For those below. */
Qcow2CountBlock *coroutine_fn qcow2_counts_co_load(Qcow2Counts *c, uint64_t index, bool create);

/** The count of @cluster, which is covered. */
static inline uint64_t coroutine_fn qcow2_counts_co_get(Qcow2Counts *c, uint64_t cluster)
{
    Qcow2CountBlock *block = &c->blocks[cluster >> c->block_bits];
    uint64_t i = cluster & ((UINT64_C(1) << c->block_bits) - 1);

    if (!block->counts) {
        block = qcow2_counts_co_load(c, cluster >> c->block_bits, false);
        if (!block) {
            return 0;
        }
    }
    return qcow2_count_at(block->counts, c->bits, i);
}

void coroutine_fn qcow2_counts_co_set(Qcow2Counts *c, uint64_t cluster, uint64_t count);
/**
 * Add @change (1 or -1) to the counts of [@first, @first + @n), which are covered.  -ERANGE: a
 * count would pass its maximum; -EINVAL: it would fall below 0.  Those before the offender have
 * been changed.
 */
int coroutine_fn qcow2_counts_co_add(Qcow2Counts *c, uint64_t first, uint64_t n, int change);
/** Neither image uses @cluster. */
bool coroutine_fn qcow2_counts_co_is_free(Qcow2Counts *c, uint64_t cluster);
/** First of @n such in a row, from @first on, as far as is covered; ->end is past that. */
uint64_t coroutine_fn qcow2_counts_co_find_free(Qcow2Counts *c, uint64_t first, uint64_t n);
/** After the last cluster in use. */
uint64_t coroutine_fn qcow2_counts_co_used_end(Qcow2Counts *c);
/** The block gets a new place, changed or not. */
void coroutine_fn qcow2_counts_co_touch(Qcow2Counts *c, uint64_t index);

/** Remember that @cluster was given up: for runs_dropped. */
void coroutine_fn qcow2_counts_co_drop(Qcow2Counts *c, uint64_t cluster);
/** What was and is not counted: of Qcow2ClusterRun.  Not all, if it is very much. */
GArray *coroutine_fn qcow2_counts_co_dropped(Qcow2Counts *c);

/** Keep to the budget. */
void coroutine_fn qcow2_counts_co_trim(Qcow2Counts *c);
/** Write what has a new place; 0 or a negative errno. */
int coroutine_fn qcow2_counts_co_write(Qcow2Counts *c);
/** The next window of clusters whose counts have room in memory; begin with an empty one. */
bool qcow2_counts_next_window(const Qcow2Counts *c, Qcow2Window *window);

#endif
