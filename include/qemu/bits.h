/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arithmetic on single words: powers of two, counting bits, fields, rotation.
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

/* ---- bit fields: @length bits from bit @start on; 0 < @length, start + length <= width ------ */

static inline uint32_t extract32(uint32_t value, int start, int length)
{
    return (value >> start) & (~UINT32_C(0) >> (32 - length));
}

static inline uint64_t extract64(uint64_t value, int start, int length)
{
    return (value >> start) & (~UINT64_C(0) >> (64 - length));
}

/* Sign-extended. */
static inline int32_t sextract32(uint32_t value, int start, int length)
{
    return (int32_t)(value << (32 - length - start)) >> (32 - length);
}

static inline int64_t sextract64(uint64_t value, int start, int length)
{
    return (int64_t)(value << (64 - length - start)) >> (64 - length);
}

/* @value with the field replaced by the low bits of @field. */
static inline uint32_t deposit32(uint32_t value, int start, int length, uint32_t field)
{
    uint32_t mask = (~UINT32_C(0) >> (32 - length)) << start;
    return (value & ~mask) | ((field << start) & mask);
}

static inline uint64_t deposit64(uint64_t value, int start, int length, uint64_t field)
{
    uint64_t mask = (~UINT64_C(0) >> (64 - length)) << start;
    return (value & ~mask) | ((field << start) & mask);
}

/* ---- rotation by 0 .. width - 1 ------------------------------------------------------------- */

static inline uint32_t rol32(uint32_t value, unsigned int shift)
{
    return (value << shift) | (value >> (-shift & 31));
}

static inline uint32_t ror32(uint32_t value, unsigned int shift)
{
    return (value >> shift) | (value << (-shift & 31));
}

static inline uint64_t rol64(uint64_t value, unsigned int shift)
{
    return (value << shift) | (value >> (-shift & 63));
}

static inline uint64_t ror64(uint64_t value, unsigned int shift)
{
    return (value >> shift) | (value << (-shift & 63));
}

#endif
