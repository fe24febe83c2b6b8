/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CRC-32C (Castagnoli), as VHDX uses it.
 */
#ifndef QEMU_CRC32C_H
#define QEMU_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of @len bytes that follow those already in @crc.  Start with 0xffffffff; the result
 * is inverted, so to go on pass ~result. */
uint32_t crc32c(uint32_t crc, const uint8_t *data, size_t len);
/* The same without special instructions; for tests. */
uint32_t crc32c_portable(uint32_t crc, const uint8_t *data, size_t len);

#endif
