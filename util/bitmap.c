/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps over arrays of words.
 */
#include "qemu/osdep.h"
#include "qemu/bitmap.h"

/* A walk over the words of a range, with the bits of each that belong to it. */
typedef struct WordWalk {
    long word;
    long last_word;
    unsigned long first_mask;
    unsigned long last_mask;
} WordWalk;

static WordWalk walk_range(long start, long nr)
{
    assert(start >= 0 && nr >= 0);
    if (!nr) {
        return (WordWalk){ .word = 0, .last_word = -1 };
    }
    return (WordWalk){
        .word = BIT_WORD(start),
        .last_word = BIT_WORD(start + nr - 1),
        .first_mask = BITMAP_FIRST_WORD_MASK(start),
        .last_mask = BITMAP_LAST_WORD_MASK(start + nr),
    };
}

/* False at the end. */
static inline bool walk_word(WordWalk *walk, long *word, unsigned long *mask)
{
    if (walk->word > walk->last_word) {
        return false;
    }
    *word = walk->word;
    *mask = walk->first_mask & (walk->word == walk->last_word ? walk->last_mask : ~0UL);
    walk->first_mask = ~0UL;
    walk->word++;
    return true;
}

/* ---- search --------------------------------------------------------------------------------- */

/* @flip is 0 to find ones, ~0 to find zeroes. */
static inline long find_next(const unsigned long *map, long size, long start, unsigned long flip)
{
    long word = BIT_WORD(start);
    unsigned long bits;

    if (start >= size) {
        return size;
    }
    bits = (map[word] ^ flip) & BITMAP_FIRST_WORD_MASK(start);
    while (!bits) {
        if (++word >= BITS_TO_LONGS(size)) {
            return size;
        }
        bits = map[word] ^ flip;
    }
    return MIN(word * BITS_PER_LONG + __builtin_ctzl(bits), size);
}

long find_next_bit(const unsigned long *map, long size, long start)
{
    return find_next(map, size, start, 0);
}

long find_next_zero_bit(const unsigned long *map, long size, long start)
{
    return find_next(map, size, start, ~0UL);
}

long find_last_bit(const unsigned long *map, long size)
{
    unsigned long mask = BITMAP_LAST_WORD_MASK(size);

    for (long word = BITS_TO_LONGS(size) - 1; word >= 0; word--) {
        unsigned long bits = map[word] & mask;
        if (bits) {
            return word * BITS_PER_LONG + BITS_PER_LONG - 1 - __builtin_clzl(bits);
        }
        mask = ~0UL;
    }
    return size;
}

long bitmap_find_next_zero_area(const unsigned long *map, long size, long start, long nr,
                                long align)
{
    assert(is_power_of_2(align));
    while (true) {
        long first = QEMU_ALIGN_UP(find_next_zero_bit(map, size, start), align);
        if (first > size || nr > size - first) {
            return size;
        }
        long set = find_next_bit(map, first + nr, first);
        if (set == first + nr) {
            return first;
        }
        start = set + 1;
    }
}

/* ---- whole bitmaps -------------------------------------------------------------------------- */

unsigned long *bitmap_try_new(long nbits)
{
    return g_try_new0(unsigned long, MAX(BITS_TO_LONGS(nbits), 1));
}

unsigned long *bitmap_new(long nbits)
{
    return g_new0(unsigned long, MAX(BITS_TO_LONGS(nbits), 1));
}

unsigned long *bitmap_zero_extend(unsigned long *old, long old_nbits, long new_nbits)
{
    unsigned long *map = g_renew(unsigned long, old, MAX(BITS_TO_LONGS(new_nbits), 1));

    if (new_nbits > old_nbits) {
        long stale = MIN(new_nbits, ROUND_UP(old_nbits, BITS_PER_LONG)) - old_nbits;
        long old_words = BITS_TO_LONGS(old_nbits);

        bitmap_clear(map, old_nbits, stale);
        memset(map + old_words, 0, (BITS_TO_LONGS(new_nbits) - old_words) * sizeof(*map));
    }
    return map;
}

void bitmap_zero(unsigned long *map, long nbits)
{
    memset(map, 0, BITS_TO_LONGS(nbits) * sizeof(*map));
}

void bitmap_fill(unsigned long *map, long nbits)
{
    bitmap_set(map, 0, nbits);
}

bool bitmap_empty(const unsigned long *map, long nbits)
{
    return find_next_bit(map, nbits, 0) == nbits;
}

bool bitmap_full(const unsigned long *map, long nbits)
{
    return find_next_zero_bit(map, nbits, 0) == nbits;
}

bool bitmap_equal(const unsigned long *a, const unsigned long *b, long nbits)
{
    WordWalk walk = walk_range(0, nbits);
    unsigned long mask;
    long word;

    while (walk_word(&walk, &word, &mask)) {
        if ((a[word] ^ b[word]) & mask) {
            return false;
        }
    }
    return true;
}

bool bitmap_intersects(const unsigned long *a, const unsigned long *b, long nbits)
{
    WordWalk walk = walk_range(0, nbits);
    unsigned long mask;
    long word;

    while (walk_word(&walk, &word, &mask)) {
        if (a[word] & b[word] & mask) {
            return true;
        }
    }
    return false;
}

long bitmap_count_one_with_offset(const unsigned long *map, long start, long nr)
{
    WordWalk walk = walk_range(start, nr);
    unsigned long mask;
    long word;
    long count = 0;

    while (walk_word(&walk, &word, &mask)) {
        count += ctpop64(map[word] & mask);
    }
    return count;
}

long bitmap_count_one(const unsigned long *map, long nbits)
{
    return bitmap_count_one_with_offset(map, 0, nbits);
}

void bitmap_or(unsigned long *dst, const unsigned long *a, const unsigned long *b, long nbits)
{
    for (long i = 0; i < BITS_TO_LONGS(nbits); i++) {
        dst[i] = a[i] | b[i];
    }
}

void bitmap_xor(unsigned long *dst, const unsigned long *a, const unsigned long *b, long nbits)
{
    for (long i = 0; i < BITS_TO_LONGS(nbits); i++) {
        dst[i] = a[i] ^ b[i];
    }
}

void bitmap_complement(unsigned long *dst, const unsigned long *src, long nbits)
{
    for (long i = 0; i < BITS_TO_LONGS(nbits); i++) {
        dst[i] = ~src[i];
    }
}

bool bitmap_and(unsigned long *dst, const unsigned long *a, const unsigned long *b, long nbits)
{
    WordWalk walk = walk_range(0, nbits);
    unsigned long mask, any = 0;
    long word;

    while (walk_word(&walk, &word, &mask)) {
        dst[word] = a[word] & b[word];
        any |= dst[word] & mask;
    }
    return any != 0;
}

bool bitmap_andnot(unsigned long *dst, const unsigned long *a, const unsigned long *b,
                   long nbits)
{
    WordWalk walk = walk_range(0, nbits);
    unsigned long mask, any = 0;
    long word;

    while (walk_word(&walk, &word, &mask)) {
        dst[word] = a[word] & ~b[word];
        any |= dst[word] & mask;
    }
    return any != 0;
}

/* ---- ranges --------------------------------------------------------------------------------- */

void bitmap_set(unsigned long *map, long start, long nr)
{
    WordWalk walk = walk_range(start, nr);
    unsigned long mask;
    long word;

    while (walk_word(&walk, &word, &mask)) {
        map[word] |= mask;
    }
}

void bitmap_clear(unsigned long *map, long start, long nr)
{
    WordWalk walk = walk_range(start, nr);
    unsigned long mask;
    long word;

    while (walk_word(&walk, &word, &mask)) {
        map[word] &= ~mask;
    }
}

void bitmap_set_atomic(unsigned long *map, long start, long nr)
{
    WordWalk walk = walk_range(start, nr);
    unsigned long mask;
    long word;

    while (walk_word(&walk, &word, &mask)) {
        __atomic_fetch_or(&map[word], mask, __ATOMIC_SEQ_CST);
    }
}

bool bitmap_test_and_clear(unsigned long *map, long start, long nr)
{
    WordWalk walk = walk_range(start, nr);
    unsigned long mask, any = 0;
    long word;

    while (walk_word(&walk, &word, &mask)) {
        any |= map[word] & mask;
        map[word] &= ~mask;
    }
    return any != 0;
}

bool bitmap_test_and_clear_atomic(unsigned long *map, long start, long nr)
{
    WordWalk walk = walk_range(start, nr);
    unsigned long mask, any = 0;
    long word;

    while (walk_word(&walk, &word, &mask)) {
        any |= __atomic_fetch_and(&map[word], ~mask, __ATOMIC_SEQ_CST) & mask;
    }
    return any != 0;
}
