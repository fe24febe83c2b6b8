/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Byte order.  Four families, all for any alignment where they take a pointer to bytes:
 *
 *   cpu_to_beN(x), beN_to_cpu(x)    value to value; also le
 *   cpu_to_beNs(&x), beN_to_cpus(&x)  in place; pointer to a field, which may be packed
 *   ldX_be_p(p), stX_be_p(p, v)     bytes in memory; X: uw sw (16), l (32, signed), q (64)
 *   ldn_be_p(p, n), stn_be_p(...)   n = 1, 2, 4 or 8 bytes
 *
 * "he" is the order of the host.
 */
#ifndef QEMU_BSWAP_H
#define QEMU_BSWAP_H

#include <assert.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define HOST_BIG_ENDIAN 1
#else
#define HOST_BIG_ENDIAN 0
#endif

static inline uint16_t bswap16(uint16_t x)
{
    return __builtin_bswap16(x);
}

static inline uint32_t bswap32(uint32_t x)
{
    return __builtin_bswap32(x);
}

static inline uint64_t bswap64(uint64_t x)
{
    return __builtin_bswap64(x);
}

static inline void bswap16s(void *p)
{
    uint16_t x;

    memcpy(&x, p, sizeof(x));
    x = bswap16(x);
    memcpy(p, &x, sizeof(x));
}

static inline void bswap32s(void *p)
{
    uint32_t x;

    memcpy(&x, p, sizeof(x));
    x = bswap32(x);
    memcpy(p, &x, sizeof(x));
}

static inline void bswap64s(void *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof(x));
    x = bswap64(x);
    memcpy(p, &x, sizeof(x));
}

/* ---- value to value ------------------------------------------------------------------------- */

static inline uint16_t cpu_to_be16(uint16_t x)
{
    return HOST_BIG_ENDIAN ? x : bswap16(x);
}

static inline uint16_t be16_to_cpu(uint16_t x)
{
    return cpu_to_be16(x);
}

static inline uint32_t cpu_to_be32(uint32_t x)
{
    return HOST_BIG_ENDIAN ? x : bswap32(x);
}

static inline uint32_t be32_to_cpu(uint32_t x)
{
    return cpu_to_be32(x);
}

static inline uint64_t cpu_to_be64(uint64_t x)
{
    return HOST_BIG_ENDIAN ? x : bswap64(x);
}

static inline uint64_t be64_to_cpu(uint64_t x)
{
    return cpu_to_be64(x);
}

static inline uint16_t cpu_to_le16(uint16_t x)
{
    return HOST_BIG_ENDIAN ? bswap16(x) : x;
}

static inline uint16_t le16_to_cpu(uint16_t x)
{
    return cpu_to_le16(x);
}

static inline uint32_t cpu_to_le32(uint32_t x)
{
    return HOST_BIG_ENDIAN ? bswap32(x) : x;
}

static inline uint32_t le32_to_cpu(uint32_t x)
{
    return cpu_to_le32(x);
}

static inline uint64_t cpu_to_le64(uint64_t x)
{
    return HOST_BIG_ENDIAN ? bswap64(x) : x;
}

static inline uint64_t le64_to_cpu(uint64_t x)
{
    return cpu_to_le64(x);
}

/* ---- in place ------------------------------------------------------------------------------- */

static inline void cpu_to_be16s(void *p)
{
    if (!HOST_BIG_ENDIAN) {
        bswap16s(p);
    }
}

static inline void be16_to_cpus(void *p)
{
    cpu_to_be16s(p);
}

static inline void cpu_to_be32s(void *p)
{
    if (!HOST_BIG_ENDIAN) {
        bswap32s(p);
    }
}

static inline void be32_to_cpus(void *p)
{
    cpu_to_be32s(p);
}

static inline void cpu_to_be64s(void *p)
{
    if (!HOST_BIG_ENDIAN) {
        bswap64s(p);
    }
}

static inline void be64_to_cpus(void *p)
{
    cpu_to_be64s(p);
}

static inline void cpu_to_le16s(void *p)
{
    if (HOST_BIG_ENDIAN) {
        bswap16s(p);
    }
}

static inline void le16_to_cpus(void *p)
{
    cpu_to_le16s(p);
}

static inline void cpu_to_le32s(void *p)
{
    if (HOST_BIG_ENDIAN) {
        bswap32s(p);
    }
}

static inline void le32_to_cpus(void *p)
{
    cpu_to_le32s(p);
}

static inline void cpu_to_le64s(void *p)
{
    if (HOST_BIG_ENDIAN) {
        bswap64s(p);
    }
}

static inline void le64_to_cpus(void *p)
{
    cpu_to_le64s(p);
}

/* ---- bytes in memory ------------------------------------------------------------------------ */

static inline int ldub_p(const void *p)
{
    return *(const uint8_t *)p;
}

static inline int ldsb_p(const void *p)
{
    return *(const int8_t *)p;
}

static inline void stb_p(void *p, uint8_t v)
{
    *(uint8_t *)p = v;
}

static inline int lduw_he_p(const void *p)
{
    uint16_t x;

    memcpy(&x, p, sizeof(x));
    return x;
}

static inline int ldsw_he_p(const void *p)
{
    uint16_t x;

    memcpy(&x, p, sizeof(x));
    return (int16_t)x;
}

static inline int ldl_he_p(const void *p)
{
    uint32_t x;

    memcpy(&x, p, sizeof(x));
    return (int32_t)x;
}

static inline uint64_t ldq_he_p(const void *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof(x));
    return x;
}

static inline void stw_he_p(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof(v));
}

static inline void stl_he_p(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

static inline void stq_he_p(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof(v));
}

static inline int lduw_be_p(const void *p)
{
    uint16_t x;

    memcpy(&x, p, sizeof(x));
    return be16_to_cpu(x);
}

static inline int ldsw_be_p(const void *p)
{
    uint16_t x;

    memcpy(&x, p, sizeof(x));
    return (int16_t)be16_to_cpu(x);
}

static inline int ldl_be_p(const void *p)
{
    uint32_t x;

    memcpy(&x, p, sizeof(x));
    return (int32_t)be32_to_cpu(x);
}

static inline uint64_t ldq_be_p(const void *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof(x));
    return be64_to_cpu(x);
}

static inline void stw_be_p(void *p, uint16_t v)
{
    v = cpu_to_be16(v);
    memcpy(p, &v, sizeof(v));
}

static inline void stl_be_p(void *p, uint32_t v)
{
    v = cpu_to_be32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void stq_be_p(void *p, uint64_t v)
{
    v = cpu_to_be64(v);
    memcpy(p, &v, sizeof(v));
}

static inline int lduw_le_p(const void *p)
{
    uint16_t x;

    memcpy(&x, p, sizeof(x));
    return le16_to_cpu(x);
}

static inline int ldsw_le_p(const void *p)
{
    uint16_t x;

    memcpy(&x, p, sizeof(x));
    return (int16_t)le16_to_cpu(x);
}

static inline int ldl_le_p(const void *p)
{
    uint32_t x;

    memcpy(&x, p, sizeof(x));
    return (int32_t)le32_to_cpu(x);
}

static inline uint64_t ldq_le_p(const void *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof(x));
    return le64_to_cpu(x);
}

static inline void stw_le_p(void *p, uint16_t v)
{
    v = cpu_to_le16(v);
    memcpy(p, &v, sizeof(v));
}

static inline void stl_le_p(void *p, uint32_t v)
{
    v = cpu_to_le32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void stq_le_p(void *p, uint64_t v)
{
    v = cpu_to_le64(v);
    memcpy(p, &v, sizeof(v));
}

/* ---- sizes known at run time ---------------------------------------------------------------- */

/* @n is 1, 2, 4 or 8; the result is not sign-extended. */
static inline uint64_t ldn_be_p(const void *p, int n)
{
    switch (n) {
    case 1:
        return ldub_p(p);
    case 2:
        return lduw_be_p(p);
    case 4:
        return (uint32_t)ldl_be_p(p);
    default:
        assert(n == 8);
        return ldq_be_p(p);
    }
}

static inline void stn_be_p(void *p, int n, uint64_t v)
{
    switch (n) {
    case 1:
        stb_p(p, v);
        break;
    case 2:
        stw_be_p(p, v);
        break;
    case 4:
        stl_be_p(p, v);
        break;
    default:
        assert(n == 8);
        stq_be_p(p, v);
    }
}

/* @n is 1, 2, 4 or 8; the result is not sign-extended. */
static inline uint64_t ldn_le_p(const void *p, int n)
{
    switch (n) {
    case 1:
        return ldub_p(p);
    case 2:
        return lduw_le_p(p);
    case 4:
        return (uint32_t)ldl_le_p(p);
    default:
        assert(n == 8);
        return ldq_le_p(p);
    }
}

static inline void stn_le_p(void *p, int n, uint64_t v)
{
    switch (n) {
    case 1:
        stb_p(p, v);
        break;
    case 2:
        stw_le_p(p, v);
        break;
    case 4:
        stl_le_p(p, v);
        break;
    default:
        assert(n == 8);
        stq_le_p(p, v);
    }
}

#endif
