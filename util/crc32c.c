/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CRC-32C: by the processor's instruction where there is one, else eight bytes at a time by
 * tables that are computed at start.
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

/* The polynomial, bits reversed. */
#define CRC32C_POLYNOMIAL UINT32_C(0x82f63b78)

/* tables[n][b]: what byte b contributes when n more bytes follow it. */
static uint32_t tables[8][256];

static void make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? CRC32C_POLYNOMIAL : 0);
        }
        tables[0][byte] = crc;
    }
    for (int n = 1; n < 8; n++) {
        for (int byte = 0; byte < 256; byte++) {
            uint32_t crc = tables[n - 1][byte];
            tables[n][byte] = (crc >> 8) ^ tables[0][crc & 0xff];
        }
    }
}

static uint32_t crc_by_table(uint32_t crc, const uint8_t *data, size_t len)
{
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t x = ldq_le_p(data) ^ crc;
        crc = 0;
        for (int i = 0; i < 8; i++) {
            crc ^= tables[7 - i][(x >> (8 * i)) & 0xff];
        }
    }
    for (; len; data++, len--) {
        crc = (crc >> 8) ^ tables[0][(crc ^ *data) & 0xff];
    }
    return crc;
}

typedef uint32_t CrcFunc(uint32_t crc, const uint8_t *data, size_t len);
static CrcFunc *crc_func = crc_by_table;

#if defined(__x86_64__)
__attribute__((target("sse4.2")))
static uint32_t crc_by_instruction(uint32_t crc, const uint8_t *data, size_t len)
{
    uint64_t wide = crc;

    for (; len >= 8; data += 8, len -= 8) {
        wide = _mm_crc32_u64(wide, ldq_le_p(data));
    }
    crc = wide;
    for (; len; data++, len--) {
        crc = _mm_crc32_u8(crc, *data);
    }
    return crc;
}
#endif

__attribute__((constructor))
static void choose_crc(void)
{
    make_tables();
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2")) {
        crc_func = crc_by_instruction;
    }
#endif
}

uint32_t crc32c_portable(uint32_t crc, const uint8_t *data, size_t len)
{
    return ~crc_by_table(crc, data, len);
}

uint32_t crc32c(uint32_t crc, const uint8_t *data, size_t len)
{
    return ~crc_func(crc, data, len);
}
