/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hierarchical bitmap: says which parts of a disk have a property, and finds the next one fast.
 *
 * An item is the caller's unit (bytes, for dirty bitmaps).  One bit stands for 2^granularity
 * items; setting any item of a bit sets the bit, so that "set" means "maybe" for each item.
 * Above the bits are levels in which one bit says that a word below is not all zero; a search
 * costs a few words however sparse the bitmap is.
 *
 * Rules of use:
 *   - No locking inside.
 *   - Ranges must lie inside the bitmap: start + count <= size.
 *   - hbitmap_reset() needs whole bits: start and count are multiples of the granularity, except
 *     that the range may end at the end of the bitmap.
 *   - Functions that search return -1 when nothing is found.
 */
#ifndef QEMU_HBITMAP_H
#define QEMU_HBITMAP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "qemu/error.h"

typedef struct HBitmap HBitmap;

typedef struct HBitmapIter {
    const HBitmap *hb;
    uint64_t next_bit;
} HBitmapIter;

/* No more bits than this. */
#define HBITMAP_LOG_MAX_SIZE 41

/* ---- life ----------------------------------------------------------------------------------- */

/* Make a clear bitmap for @size items, 0 <= @granularity < 64; aborts when memory is short. */
HBitmap *hbitmap_alloc(uint64_t size, int granularity);
/* The same for sizes chosen by users: NULL with @errp set when it is too large. */
HBitmap *hbitmap_try_alloc(uint64_t size, int granularity, Error **errp);
/* Free @hb; NULL is fine. */
void hbitmap_free(HBitmap *hb);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HBitmap, hbitmap_free)

/* Change the size; new items are clear.  Aborts when memory is short. */
void hbitmap_truncate(HBitmap *hb, uint64_t size);
/* The same for sizes chosen by users; the bitmap is unchanged after failure. */
bool hbitmap_try_truncate(HBitmap *hb, uint64_t size, Error **errp);

/* ---- state ---------------------------------------------------------------------------------- */

uint64_t hbitmap_size(const HBitmap *hb);
int hbitmap_granularity(const HBitmap *hb);
bool hbitmap_empty(const HBitmap *hb);
/* Set bits, counted in items: a multiple of 2^granularity, it may exceed the size. */
uint64_t hbitmap_count(const HBitmap *hb);
bool hbitmap_get(const HBitmap *hb, uint64_t item);

/* ---- change --------------------------------------------------------------------------------- */

void hbitmap_set(HBitmap *hb, uint64_t start, uint64_t count);
void hbitmap_reset(HBitmap *hb, uint64_t start, uint64_t count);
void hbitmap_reset_all(HBitmap *hb);

/**
 * Make @result the union of @a and @b, all of one size.
 * Granularities may differ; a bit of @result is set when any item of it is set in @a or @b.
 * @result may be @a or @b; otherwise its old contents are dropped.
 */
void hbitmap_merge(const HBitmap *a, const HBitmap *b, HBitmap *result);

/* ---- search --------------------------------------------------------------------------------- */

/* Iterate over set bits from @first on.  Bits may change meanwhile; changes ahead are seen. */
void hbitmap_iter_init(HBitmapIter *iter, const HBitmap *hb, uint64_t first);
/* The first item of the next set bit (may be below @first for the first one), or -1. */
int64_t hbitmap_iter_next(HBitmapIter *iter);

/* The first set (clear) item in the range, or -1.  The range is cut at the end of the bitmap. */
int64_t hbitmap_next_dirty(const HBitmap *hb, int64_t start, int64_t count);
int64_t hbitmap_next_zero(const HBitmap *hb, int64_t start, int64_t count);

/**
 * Find the first run of set items in [@start, @end), at most @max_dirty_count items long.
 * Returns: true with the outputs set, or false when there is none.
 */
bool hbitmap_next_dirty_area(const HBitmap *hb, int64_t start, int64_t end,
                             int64_t max_dirty_count, int64_t *dirty_start,
                             int64_t *dirty_count);

/* ---- as bytes: little-endian words, the lowest bit first ------------------------------------ */

/* Parts begin and end at multiples of this many items, or end at the end of the bitmap. */
uint64_t hbitmap_serialization_align(const HBitmap *hb);
/* Whether the alignment above can be expressed. */
bool hbitmap_is_serializable(const HBitmap *hb);
/* Bytes that the part takes. */
uint64_t hbitmap_serialization_size(const HBitmap *hb, uint64_t start, uint64_t count);
void hbitmap_serialize_part(const HBitmap *hb, uint8_t *buf, uint64_t start, uint64_t count);
/* Bits beyond the end of the bitmap are dropped.  Searches work again only after the last part,
 * given with @finish true or followed by hbitmap_deserialize_finish(). */
void hbitmap_deserialize_part(HBitmap *hb, const uint8_t *buf, uint64_t start, uint64_t count,
                              bool finish);
void hbitmap_deserialize_zeroes(HBitmap *hb, uint64_t start, uint64_t count, bool finish);
void hbitmap_deserialize_ones(HBitmap *hb, uint64_t start, uint64_t count, bool finish);
void hbitmap_deserialize_finish(HBitmap *hb);

/* SHA-256 of the whole bitmap as bytes, in hex.  Caller frees. */
char *hbitmap_sha256(const HBitmap *hb, Error **errp);

#endif
