/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metadata in bulk: the refcounts of many clusters as one array, and walks over L2 tables with
 * large reads, several at a time.  For what touches much of an image (check, repair, snapshots),
 * while nothing else uses the image: these functions read the file, so write back first.
 *
 * The array is the refcount blocks as the file has them, one after the other; a block that does
 * not exist is all zeroes.  So a block is written as it stands.  It costs refcount_bits per
 * cluster: 2 bytes for 64 KiB as a rule.
 */
#ifndef BLOCK_FORMAT_QCOW2_REFARRAY_H
#define BLOCK_FORMAT_QCOW2_REFARRAY_H

#include "qcow2.h"
#include "qemu/iszero.h"

typedef struct Qcow2RefArray {
    uint8_t *counts;              /* big endian, as on disk */
    uint64_t first_block;         /* index in the refcount table of the first block */
    uint64_t nb_blocks;
    uint64_t first, end;          /* host clusters covered: [first, end) */
    uint32_t bits;                /* of a count */
    uint64_t max;                 /* the highest count */
    uint32_t block_bits;          /* log2 of the counts in a block */
    uint32_t block_bytes;
    unsigned long *dirty;         /* one bit per block: changed since it was loaded */
    unsigned long *bad;           /* one bit per block: misplaced or unreadable; counts are 0 */
    uint64_t nb_bad;
    int read_error;               /* the first error of reading, or 0 */
} Qcow2RefArray;

/** Number of entries of the refcount table up to the last one in use. */
uint64_t qcow2_refarray_used_blocks(const Qcow2State *s);
/**
 * Load the counts of @nb_blocks entries of the refcount table from @first_block on, which may lie
 * past its end.  Blocks outside the file, misplaced or unreadable are marked in ->bad.  NULL: no
 * memory.
 */
Qcow2RefArray *coroutine_fn qcow2_refarray_co_load(BlockDriverState *bs, uint64_t first_block,
                                                   uint64_t nb_blocks);
void qcow2_refarray_free(Qcow2RefArray *array);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Qcow2RefArray, qcow2_refarray_free)

/** Count number @i of @counts, as on disk; the usual width without a call. */
static inline uint64_t qcow2_count_at(const uint8_t *counts, uint32_t bits, uint64_t i)
{
    return bits == 16 ? (uint64_t)lduw_be_p(counts + i * 2) : qcow2_refcount_read(counts, bits, i);
}

/** The count of @cluster, which the array covers. */
static inline uint64_t qcow2_refarray_get(const Qcow2RefArray *array, uint64_t cluster)
{
    return qcow2_count_at(array->counts, array->bits, cluster - array->first);
}

void qcow2_refarray_set(Qcow2RefArray *array, uint64_t cluster, uint64_t count);

/* ---- tables -------------------------------------------------------------------------------- */

/* One cluster to be read or written. */
typedef struct Qcow2Place {
    uint64_t offset;
    uint8_t *buf;    /* aligned for the file */
    int ret;         /* after reading: 0 or a negative errno */
} Qcow2Place;

/**
 * Read (write) @n whole clusters; adjacent ones with adjacent buffers together, and several
 * requests at a time.  Every place is tried; reading sets ->ret of each.  Returns the first error.
 */
int coroutine_fn qcow2_co_read_places(BlockDriverState *bs, Qcow2Place *places, size_t n);
int coroutine_fn qcow2_co_write_places(BlockDriverState *bs, Qcow2Place *places, size_t n);

/* An L2 table is a multiple of so many words of 8 bytes. */
#define QCOW2_WORDS_AT_ONCE 64

/** Which of so many words at @words, in an L2 table, are entries in use: a bit for each. */
static inline uint64_t qcow2_used_entries(const Qcow2State *s, const uint8_t *words)
{
    uint64_t used = buffer_used_words(words);

    return s->l2_entry_size == 8 ? used : used & (UINT64_MAX / 3); /* every other word */
}

/*
 * A walk over L2 tables:
 *
 *     g_autoptr(Qcow2Walk) walk = qcow2_walk_new(bs, l1, size);
 *     while ((ret = qcow2_walk_co_next(walk)) > 0) {
 *         for (uint32_t i = 0; i < walk->n; i++) { ... walk->index[i], walk->places[i] ... }
 *     }
 */
typedef struct Qcow2Walk {
    BlockDriverState *bs;
    const uint64_t *l1;   /* host byte order; the owner may change what the walk has passed */
    uint32_t size, next;  /* entries; the first that is not in the window yet */
    uint64_t file_len;
    /* The window: tables in the order of their L1 entries. */
    uint32_t n, max;
    uint32_t *index;      /* of the L1 entry */
    Qcow2Place *places;   /* table, big endian; ->ret of those that could not be read */
    uint8_t *data;
    /* Of a walk that writes: */
    uint8_t *spare;       /* memory of the window before, which is being written */
    struct Qcow2Pool *writes;
} Qcow2Walk;

/* Bytes of the tables in a window; tests lower it. */
extern uint64_t qcow2_walk_window_bytes;

/** Walk over the tables that the @size entries at @l1 name; NULL: no memory. */
Qcow2Walk *qcow2_walk_new(BlockDriverState *bs, const uint64_t *l1, uint32_t size);
/** A walk that changes tables: each window ends with a co_write, the walk with a co_finish. */
Qcow2Walk *qcow2_walk_new_writer(BlockDriverState *bs, const uint64_t *l1, uint32_t size);
void qcow2_walk_free(Qcow2Walk *walk);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Qcow2Walk, qcow2_walk_free)
/**
 * The next window.  1: there is one; 0: the end.  Entries that are misaligned or outside the file
 * are in the window, with ->ret -EINVAL; those that cannot be read have their error.
 */
int coroutine_fn qcow2_walk_co_next(Qcow2Walk *walk);
/**
 * Write @n tables of the window to the offsets in @places.  They go on being written while the next
 * window is read and looked at.  Returns 0, or the error of the window before.
 */
int coroutine_fn qcow2_walk_co_write(Qcow2Walk *walk, const Qcow2Place *places, size_t n);
/** Wait for all that is being written; returns its error, or 0. */
int coroutine_fn qcow2_walk_co_finish(Qcow2Walk *walk);

/** An L1 table of the file in host byte order; NULL with a negative errno in *@ret. */
uint64_t *coroutine_fn qcow2_co_read_l1(BlockDriverState *bs, uint64_t offset, uint32_t size,
                                        int *ret);

#endif
