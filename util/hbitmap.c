/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hierarchical bitmap.
 *
 * Level 0 holds the bits.  Bit i of level n + 1 is set exactly when word i of level n is not 0
 * (H1).  The top level is one word.  Bits beyond nbits are 0 on every level (H2).
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/hbitmap.h"

#define WORD_SHIFT 6
#define WORD_BITS 64
#define MAX_LEVELS (HBITMAP_LOG_MAX_SIZE / WORD_SHIFT + 1)

struct HBitmap {
    uint64_t size;              /* items */
    uint64_t nbits;
    uint64_t count;             /* bits set */
    int granularity;
    int nlevels;
    uint64_t *levels[MAX_LEVELS];
    uint64_t words[MAX_LEVELS];
};

/* ---- life ----------------------------------------------------------------------------------- */

static void free_levels(HBitmap *hb)
{
    for (int i = 0; i < hb->nlevels; i++) {
        free(hb->levels[i]);
    }
    hb->nlevels = 0;
}

/* Give @hb clear levels for @size items.  Fresh pages come zeroed from the system: no memset. */
static bool make_levels(HBitmap *hb, uint64_t size, Error **errp)
{
    uint64_t n;

    hb->size = size;
    hb->nbits = size ? ((size - 1) >> hb->granularity) + 1 : 0;
    hb->count = 0;
    hb->nlevels = 0;
    if (size > INT64_MAX || hb->nbits > UINT64_C(1) << HBITMAP_LOG_MAX_SIZE) {
        error_setg(errp, "A bitmap with %" PRIu64 " bits is too large", hb->nbits);
        return false;
    }
    n = hb->nbits;
    do {
        n = MAX(DIV_ROUND_UP(n, WORD_BITS), 1);
        hb->words[hb->nlevels] = n;
        hb->levels[hb->nlevels] = calloc(n, sizeof(uint64_t));
        if (!hb->levels[hb->nlevels]) {
            free_levels(hb);
            error_setg(errp, "Not enough memory for a bitmap with %" PRIu64 " bits", hb->nbits);
            return false;
        }
        hb->nlevels++;
    } while (n > 1);
    return true;
}

HBitmap *hbitmap_try_alloc(uint64_t size, int granularity, Error **errp)
{
    HBitmap *hb;

    assert(granularity >= 0 && granularity < 64);
    hb = g_new0(HBitmap, 1);
    hb->granularity = granularity;
    if (!make_levels(hb, size, errp)) {
        g_free(hb);
        return NULL;
    }
    return hb;
}

HBitmap *hbitmap_alloc(uint64_t size, int granularity)
{
    return hbitmap_try_alloc(size, granularity, &error_abort);
}

void hbitmap_free(HBitmap *hb)
{
    if (hb) {
        free_levels(hb);
        g_free(hb);
    }
}

/* ---- state ---------------------------------------------------------------------------------- */

uint64_t hbitmap_size(const HBitmap *hb)
{
    return hb->size;
}

int hbitmap_granularity(const HBitmap *hb)
{
    return hb->granularity;
}

bool hbitmap_empty(const HBitmap *hb)
{
    return hb->count == 0;
}

uint64_t hbitmap_count(const HBitmap *hb)
{
    return hb->count << hb->granularity;
}

bool hbitmap_get(const HBitmap *hb, uint64_t item)
{
    uint64_t bit = item >> hb->granularity;

    assert(item < hb->size);
    return (hb->levels[0][bit >> WORD_SHIFT] >> (bit & (WORD_BITS - 1))) & 1;
}

/* ---- ranges of bits ------------------------------------------------------------------------- */

/* The bits of word @word that lie in [@first, @last]. */
static uint64_t range_mask(uint64_t word, uint64_t first, uint64_t last)
{
    uint64_t mask = ~UINT64_C(0);

    if (word == first >> WORD_SHIFT) {
        mask <<= first & (WORD_BITS - 1);
    }
    if (word == last >> WORD_SHIFT) {
        mask &= ~UINT64_C(0) >> (WORD_BITS - 1 - (last & (WORD_BITS - 1)));
    }
    return mask;
}

/* Set bits of one level; returns how many were clear. */
static uint64_t set_level(uint64_t *words, uint64_t first, uint64_t last)
{
    uint64_t changed = 0;

    for (uint64_t i = first >> WORD_SHIFT; i <= last >> WORD_SHIFT; i++) {
        uint64_t mask = range_mask(i, first, last);
        changed += ctpop64(mask & ~words[i]);
        words[i] |= mask;
    }
    return changed;
}

/* Clear bits of one level; returns how many were set. */
static uint64_t clear_level(uint64_t *words, uint64_t first, uint64_t last)
{
    uint64_t changed = 0;

    for (uint64_t i = first >> WORD_SHIFT; i <= last >> WORD_SHIFT; i++) {
        uint64_t mask = range_mask(i, first, last);
        changed += ctpop64(mask & words[i]);
        words[i] &= ~mask;
    }
    return changed;
}

static void set_bits(HBitmap *hb, uint64_t first, uint64_t last)
{
    uint64_t changed = set_level(hb->levels[0], first, last);

    hb->count += changed;
    /* H1: nothing new here means nothing new above. */
    for (int level = 1; level < hb->nlevels && changed; level++) {
        first >>= WORD_SHIFT;
        last >>= WORD_SHIFT;
        changed = set_level(hb->levels[level], first, last);
    }
}

static void clear_bits(HBitmap *hb, uint64_t first, uint64_t last)
{
    uint64_t changed = clear_level(hb->levels[0], first, last);

    hb->count -= changed;
    for (int level = 1; level < hb->nlevels && changed; level++) {
        const uint64_t *below = hb->levels[level - 1];

        /* H1: only the outer words can have kept bits outside of the range. */
        first >>= WORD_SHIFT;
        last >>= WORD_SHIFT;
        if (below[first]) {
            first++;
        }
        if (first > last) {
            return;
        }
        if (below[last]) {
            if (last == first) {
                return;
            }
            last--;
        }
        changed = clear_level(hb->levels[level], first, last);
    }
}

void hbitmap_set(HBitmap *hb, uint64_t start, uint64_t count)
{
    if (count) {
        assert(start < hb->size && count <= hb->size - start);
        set_bits(hb, start >> hb->granularity, (start + count - 1) >> hb->granularity);
    }
}

void hbitmap_reset(HBitmap *hb, uint64_t start, uint64_t count)
{
    const uint64_t unit = UINT64_C(1) << hb->granularity;

    if (count) {
        assert(start < hb->size && count <= hb->size - start);
        assert(QEMU_IS_ALIGNED(start, unit));
        assert(QEMU_IS_ALIGNED(count, unit) || start + count == hb->size);
        clear_bits(hb, start >> hb->granularity, (start + count - 1) >> hb->granularity);
    }
}

void hbitmap_reset_all(HBitmap *hb)
{
    if (hb->count) {
        clear_bits(hb, 0, hb->nbits - 1);
    }
}

/* Make the upper levels and the count of a bitmap follow from level 0. */
static void rebuild_levels(HBitmap *hb)
{
    hb->count = 0;
    for (uint64_t i = 0; i < hb->words[0]; i++) {
        hb->count += ctpop64(hb->levels[0][i]);
    }
    for (int level = 1; level < hb->nlevels; level++) {
        const uint64_t *below = hb->levels[level - 1];

        memset(hb->levels[level], 0, hb->words[level] * sizeof(uint64_t));
        for (uint64_t i = 0; i < hb->words[level - 1]; i++) {
            if (below[i]) {
                hb->levels[level][i >> WORD_SHIFT] |= UINT64_C(1) << (i & (WORD_BITS - 1));
            }
        }
    }
}

bool hbitmap_try_truncate(HBitmap *hb, uint64_t size, Error **errp)
{
    HBitmap resized = { .granularity = hb->granularity };

    if (!make_levels(&resized, size, errp)) {
        return false;
    }
    memcpy(resized.levels[0], hb->levels[0],
           MIN(resized.words[0], hb->words[0]) * sizeof(uint64_t));
    if (resized.nbits % WORD_BITS) {
        /* H2 */
        resized.levels[0][resized.nbits / WORD_BITS] &=
            ~UINT64_C(0) >> (WORD_BITS - resized.nbits % WORD_BITS);
    } else if (!resized.nbits) {
        resized.levels[0][0] = 0;
    }
    rebuild_levels(&resized);
    free_levels(hb);
    *hb = resized;
    return true;
}

void hbitmap_truncate(HBitmap *hb, uint64_t size)
{
    hbitmap_try_truncate(hb, size, &error_abort);
}

/* ---- search --------------------------------------------------------------------------------- */

/* The first set bit at or after @bit, or -1. */
static int64_t next_set_bit(const HBitmap *hb, uint64_t bit)
{
    int level = 0;

    /* Up, until a level has something to the right ... */
    while (true) {
        uint64_t word = bit >> WORD_SHIFT;
        if (level == hb->nlevels || word >= hb->words[level]) {
            return -1;
        }
        uint64_t bits = hb->levels[level][word] & (~UINT64_C(0) << (bit & (WORD_BITS - 1)));
        if (bits) {
            bit = (word << WORD_SHIFT) + ctz64(bits);
            break;
        }
        bit = word + 1;
        level++;
    }
    /* ... then down along the lowest bits. */
    while (level-- > 0) {
        bit = (bit << WORD_SHIFT) + ctz64(hb->levels[level][bit]);
    }
    return bit;
}

/* The first clear bit at or after @bit, at most @end. */
static uint64_t next_clear_bit(const HBitmap *hb, uint64_t bit, uint64_t end)
{
    uint64_t word = bit >> WORD_SHIFT;
    uint64_t bits;

    if (bit >= end) {
        return end;
    }
    bits = ~hb->levels[0][word] & (~UINT64_C(0) << (bit & (WORD_BITS - 1)));
    while (!bits) {
        if (++word << WORD_SHIFT >= end) {
            return end;
        }
        bits = ~hb->levels[0][word];
    }
    return MIN((word << WORD_SHIFT) + ctz64(bits), end);
}

void hbitmap_iter_init(HBitmapIter *iter, const HBitmap *hb, uint64_t first)
{
    iter->hb = hb;
    iter->next_bit = first >> hb->granularity;
}

int64_t hbitmap_iter_next(HBitmapIter *iter)
{
    int64_t bit = next_set_bit(iter->hb, iter->next_bit);

    if (bit < 0) {
        iter->next_bit = iter->hb->nbits;
        return -1;
    }
    iter->next_bit = bit + 1;
    return bit << iter->hb->granularity;
}

/* The end of a range cut at the end of the bitmap. */
static int64_t cut_end(const HBitmap *hb, int64_t start, int64_t count)
{
    assert(start >= 0 && count >= 0);
    return start >= (int64_t)hb->size ? start : start + MIN(count, (int64_t)hb->size - start);
}

int64_t hbitmap_next_dirty(const HBitmap *hb, int64_t start, int64_t count)
{
    int64_t end = cut_end(hb, start, count);
    int64_t bit;

    if (start >= end) {
        return -1;
    }
    bit = next_set_bit(hb, start >> hb->granularity);
    if (bit < 0 || bit << hb->granularity >= end) {
        return -1;
    }
    return MAX(bit << hb->granularity, start);
}

int64_t hbitmap_next_zero(const HBitmap *hb, int64_t start, int64_t count)
{
    int64_t end = cut_end(hb, start, count);
    uint64_t end_bit, bit;

    if (start >= end) {
        return -1;
    }
    end_bit = ((end - 1) >> hb->granularity) + 1;
    bit = next_clear_bit(hb, start >> hb->granularity, end_bit);
    return bit == end_bit ? -1 : MAX((int64_t)(bit << hb->granularity), start);
}

bool hbitmap_next_dirty_area(const HBitmap *hb, int64_t start, int64_t end,
                             int64_t max_dirty_count, int64_t *dirty_start,
                             int64_t *dirty_count)
{
    int64_t first, next_zero;

    assert(start >= 0 && end >= 0 && max_dirty_count > 0);
    end = MIN(end, (int64_t)hb->size);
    if (start >= end) {
        return false;
    }
    first = hbitmap_next_dirty(hb, start, end - start);
    if (first < 0) {
        return false;
    }
    end = first + MIN(end - first, max_dirty_count);
    next_zero = hbitmap_next_zero(hb, first, end - first);
    *dirty_start = first;
    *dirty_count = (next_zero < 0 ? end : next_zero) - first;
    return true;
}

/* ---- union ---------------------------------------------------------------------------------- */

static void add_bitmap(HBitmap *hb, const HBitmap *other)
{
    int64_t offset = 0, bytes;

    if (hb->granularity == other->granularity) {
        for (uint64_t i = 0; i < hb->words[0]; i++) {
            hb->levels[0][i] |= other->levels[0][i];
        }
        rebuild_levels(hb);
        return;
    }
    while (hbitmap_next_dirty_area(other, offset, other->size, INT64_MAX, &offset, &bytes)) {
        hbitmap_set(hb, offset, bytes);
        offset += bytes;
    }
}

void hbitmap_merge(const HBitmap *a, const HBitmap *b, HBitmap *result)
{
    assert(a->size == result->size && b->size == result->size);
    if (a != result && b != result) {
        hbitmap_reset_all(result);
    }
    if (a != result && a->count) {
        add_bitmap(result, a);
    }
    if (b != result && b->count) {
        add_bitmap(result, b);
    }
}

/* ---- as bytes ------------------------------------------------------------------------------- */

uint64_t hbitmap_serialization_align(const HBitmap *hb)
{
    assert(hbitmap_is_serializable(hb));
    return UINT64_C(64) << hb->granularity;
}

bool hbitmap_is_serializable(const HBitmap *hb)
{
    return hb->granularity < 64 - WORD_SHIFT;
}

/* The words that hold a part; asserts that it is one. */
static uint64_t part_words(const HBitmap *hb, uint64_t start, uint64_t count, uint64_t *first)
{
    const uint64_t align = hbitmap_serialization_align(hb);

    assert(start <= hb->size && count <= hb->size - start);
    assert(QEMU_IS_ALIGNED(start, align));
    assert(QEMU_IS_ALIGNED(count, align) || start + count == hb->size);
    *first = start / align;
    return count ? (count - 1) / align + 1 : 0;
}

uint64_t hbitmap_serialization_size(const HBitmap *hb, uint64_t start, uint64_t count)
{
    uint64_t first;

    return part_words(hb, start, count, &first) * sizeof(uint64_t);
}

void hbitmap_serialize_part(const HBitmap *hb, uint8_t *buf, uint64_t start, uint64_t count)
{
    uint64_t first;
    uint64_t n = part_words(hb, start, count, &first);

    for (uint64_t i = 0; i < n; i++) {
        stq_le_p(buf + i * sizeof(uint64_t), hb->levels[0][first + i]);
    }
}

/* H2 for a last word that came from outside. */
static void clear_beyond_end(HBitmap *hb)
{
    if (hb->nbits % WORD_BITS) {
        hb->levels[0][hb->nbits / WORD_BITS] &=
            ~UINT64_C(0) >> (WORD_BITS - hb->nbits % WORD_BITS);
    }
}

void hbitmap_deserialize_part(HBitmap *hb, const uint8_t *buf, uint64_t start, uint64_t count,
                              bool finish)
{
    uint64_t first;
    uint64_t n = part_words(hb, start, count, &first);

    for (uint64_t i = 0; i < n; i++) {
        hb->levels[0][first + i] = ldq_le_p(buf + i * sizeof(uint64_t));
    }
    clear_beyond_end(hb);
    if (finish) {
        hbitmap_deserialize_finish(hb);
    }
}

void hbitmap_deserialize_zeroes(HBitmap *hb, uint64_t start, uint64_t count, bool finish)
{
    uint64_t first;
    uint64_t n = part_words(hb, start, count, &first);

    memset(hb->levels[0] + first, 0, n * sizeof(uint64_t));
    if (finish) {
        hbitmap_deserialize_finish(hb);
    }
}

void hbitmap_deserialize_ones(HBitmap *hb, uint64_t start, uint64_t count, bool finish)
{
    uint64_t first;
    uint64_t n = part_words(hb, start, count, &first);

    memset(hb->levels[0] + first, 0xff, n * sizeof(uint64_t));
    clear_beyond_end(hb);
    if (finish) {
        hbitmap_deserialize_finish(hb);
    }
}

void hbitmap_deserialize_finish(HBitmap *hb)
{
    rebuild_levels(hb);
}

char *hbitmap_sha256(const HBitmap *hb, Error **errp)
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    char *hex;

    if (!sum) {
        error_setg(errp, "SHA-256 is not available");
        return NULL;
    }
    for (uint64_t i = 0; i < hb->words[0]; i++) {
        uint8_t bytes[sizeof(uint64_t)];
        stq_le_p(bytes, hb->levels[0][i]);
        g_checksum_update(sum, bytes, sizeof(bytes));
    }
    hex = g_strdup(g_checksum_get_string(sum));
    g_checksum_free(sum);
    return hex;
}
