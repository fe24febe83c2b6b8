/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps: arrays of unsigned long, bit 0 the lowest of the first word.
 *
 * Rules of use:
 *   - The length in bits is the caller's to remember.  Bits of the last word beyond it are
 *     neither looked at by the functions that take a length nor relied upon.
 *   - The plain functions need a lock or a single thread; those named _atomic do not.
 *   - Memory from bitmap_new() is freed with g_free().
 */
#ifndef QEMU_BITMAP_H
#define QEMU_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITS_PER_BYTE 8
#define BITS_PER_LONG ((long)(sizeof(unsigned long) * BITS_PER_BYTE))

#define BIT(nr) (1UL << (nr))
#define BIT_ULL(nr) (1ULL << (nr))
#define BIT_MASK(nr) (1UL << ((nr) % BITS_PER_LONG))
#define BIT_WORD(nr) ((nr) / BITS_PER_LONG)
#define BITS_TO_LONGS(nr) (((nr) + BITS_PER_LONG - 1) / BITS_PER_LONG)
/* The bits of the word that holds bit @start, from @start on. */
#define BITMAP_FIRST_WORD_MASK(start) (~0UL << ((start) & (BITS_PER_LONG - 1)))
/* The bits of the last word of a bitmap of @nbits bits. */
#define BITMAP_LAST_WORD_MASK(nbits) (~0UL >> (-(nbits) & (BITS_PER_LONG - 1)))

#define DECLARE_BITMAP(name, bits) unsigned long name[BITS_TO_LONGS(bits)]

/* ---- one bit -------------------------------------------------------------------------------- */

static inline void set_bit(long nr, unsigned long *map)
{
    map[BIT_WORD(nr)] |= BIT_MASK(nr);
}

static inline void clear_bit(long nr, unsigned long *map)
{
    map[BIT_WORD(nr)] &= ~BIT_MASK(nr);
}

static inline void change_bit(long nr, unsigned long *map)
{
    map[BIT_WORD(nr)] ^= BIT_MASK(nr);
}

static inline bool test_bit(long nr, const unsigned long *map)
{
    return (map[BIT_WORD(nr)] & BIT_MASK(nr)) != 0;
}

/* Return the old value. */
static inline bool test_and_set_bit(long nr, unsigned long *map)
{
    bool old = test_bit(nr, map);

    set_bit(nr, map);
    return old;
}

static inline bool test_and_clear_bit(long nr, unsigned long *map)
{
    bool old = test_bit(nr, map);

    clear_bit(nr, map);
    return old;
}

static inline void set_bit_atomic(long nr, unsigned long *map)
{
    __atomic_fetch_or(&map[BIT_WORD(nr)], BIT_MASK(nr), __ATOMIC_SEQ_CST);
}

static inline void clear_bit_atomic(long nr, unsigned long *map)
{
    __atomic_fetch_and(&map[BIT_WORD(nr)], ~BIT_MASK(nr), __ATOMIC_SEQ_CST);
}

/* ---- search: the bit number, or @size when there is none ------------------------------------ */

long find_next_bit(const unsigned long *map, long size, long start);
long find_next_zero_bit(const unsigned long *map, long size, long start);
long find_last_bit(const unsigned long *map, long size);

static inline long find_first_bit(const unsigned long *map, long size)
{
    return find_next_bit(map, size, 0);
}

static inline long find_first_zero_bit(const unsigned long *map, long size)
{
    return find_next_zero_bit(map, size, 0);
}

/* The first run of @nr clear bits at or after @start that begins at a multiple of @align (a power
 * of two; 1 for anywhere); @size when there is none. */
long bitmap_find_next_zero_area(const unsigned long *map, long size, long start, long nr,
                                long align);

/* ---- whole bitmaps -------------------------------------------------------------------------- */

/* All clear.  The _try_ one returns NULL when memory is short. */
unsigned long *bitmap_new(long nbits);
unsigned long *bitmap_try_new(long nbits);
/* Make @old larger or smaller; new bits are clear.  Returns the new memory. */
unsigned long *bitmap_zero_extend(unsigned long *old, long old_nbits, long new_nbits);

void bitmap_zero(unsigned long *map, long nbits);
void bitmap_fill(unsigned long *map, long nbits);
bool bitmap_empty(const unsigned long *map, long nbits);
bool bitmap_full(const unsigned long *map, long nbits);
bool bitmap_equal(const unsigned long *a, const unsigned long *b, long nbits);
bool bitmap_intersects(const unsigned long *a, const unsigned long *b, long nbits);
/* Number of set bits. */
long bitmap_count_one(const unsigned long *map, long nbits);
long bitmap_count_one_with_offset(const unsigned long *map, long start, long nr);

void bitmap_or(unsigned long *dst, const unsigned long *a, const unsigned long *b, long nbits);
void bitmap_xor(unsigned long *dst, const unsigned long *a, const unsigned long *b, long nbits);
void bitmap_complement(unsigned long *dst, const unsigned long *src, long nbits);
/* Return whether anything is set in the result. */
bool bitmap_and(unsigned long *dst, const unsigned long *a, const unsigned long *b, long nbits);
bool bitmap_andnot(unsigned long *dst, const unsigned long *a, const unsigned long *b,
                   long nbits);

/* ---- ranges --------------------------------------------------------------------------------- */

void bitmap_set(unsigned long *map, long start, long nr);
void bitmap_clear(unsigned long *map, long start, long nr);
/* Each word changes atomically, the range as a whole does not. */
void bitmap_set_atomic(unsigned long *map, long start, long nr);
/* Clear, and return whether anything was set. */
bool bitmap_test_and_clear(unsigned long *map, long start, long nr);
bool bitmap_test_and_clear_atomic(unsigned long *map, long start, long nr);

#endif
