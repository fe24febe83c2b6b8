/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arithmetic on single words: powers of two, counting zeroes, checked sums.
 */
#ifndef QEMU_BITS_H
#define QEMU_BITS_H

#include <stdbool.h>
#include <stdint.h>

/* The smaller of two where 0 means "no limit". */
#define MIN_NON_ZERO(a, b) \
    ({ \
        __typeof__(1 ? (a) : (b)) a_ = (a), b_ = (b); \
        a_ == 0 ? b_ : (b_ == 0 || a_ < b_) ? a_ : b_; \
    })

/* False for 0. */
static inline bool is_power_of_2(uint64_t value)
{
    return value && !(value & (value - 1));
}

/* Trailing / leading zero bits; the width of the type for 0. */
static inline int ctz32(uint32_t value)
{
    return value ? __builtin_ctz(value) : 32;
}

static inline int ctz64(uint64_t value)
{
    return value ? __builtin_ctzll(value) : 64;
}

static inline int clz32(uint32_t value)
{
    return value ? __builtin_clz(value) : 32;
}

static inline int clz64(uint64_t value)
{
    return value ? __builtin_clzll(value) : 64;
}

/* Number of one bits. */
static inline int ctpop32(uint32_t value)
{
    return __builtin_popcount(value);
}

static inline int ctpop64(uint64_t value)
{
    return __builtin_popcountll(value);
}

/* The largest power of two <= @value; 0 for 0. */
static inline uint64_t pow2floor(uint64_t value)
{
    return value ? UINT64_C(1) << (63 - clz64(value)) : 0;
}

/* The smallest power of two >= @value; 1 for 0, and 0 when it does not fit. */
static inline uint64_t pow2ceil(uint64_t value)
{
    if (value <= 1) {
        return 1;
    }
    int zeroes = clz64(value - 1);
    return zeroes ? UINT64_C(1) << (64 - zeroes) : 0;
}

#endif
