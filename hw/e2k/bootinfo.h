/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What firmware tells a kernel: the boot-info block and the MP table.
 */
#ifndef HW_E2K_BOOTINFO_H
#define HW_E2K_BOOTINFO_H

#include <stdint.h>

#include "system/memory.h"

#define BOOT_INFO_ADDR UINT64_C(0x00ff0100)
#define BOOT_INFO_SIZE 0x1000
#define MP_TABLE_ADDR UINT64_C(0x00ff1100)
#define BOOT_INFO_MAX_BANKS 4
#define BOOT_INFO_CMDLINE_MAX 511

typedef struct BootInfo {
    hwaddr kernel_base;
    uint64_t kernel_size;
    hwaddr initrd_base;
    uint64_t initrd_size;
    const char *cmdline;   /* at most BOOT_INFO_CMDLINE_MAX bytes */
    const char *cpu_model;
    hwaddr serial_base;
    unsigned n_banks;
    struct {
        hwaddr base;
        uint64_t size;
    } banks[BOOT_INFO_MAX_BANKS];
} BootInfo;

/** Lay out the block; @block has BOOT_INFO_SIZE bytes. */
void boot_info_fill(const BootInfo *info, uint8_t *block);

/** Make the floating structure and the table for MP_TABLE_ADDR; to be freed. */
GByteArray *boot_info_mp_table(void);

#endif
