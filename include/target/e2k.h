/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Elbrus 2000 CPU, for the machine that contains it.
 */
#ifndef TARGET_E2K_H
#define TARGET_E2K_H

#include "system/vcpu.h"

/* Models "e8c" (default), "e2c+", "e2s", "e8c2", "e16c". */
extern const CpuType e2k_cpu_type;

/* Physical addresses that instructions can form. */
#define E2K_PHYS_BITS 40
/* Where a CPU starts after reset. */
#define E2K_RESET_PC UINT64_C(0x100000000)

#endif
