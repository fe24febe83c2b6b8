/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system timer: a 10 MHz counter that interrupts at a limit, and power-on and reset counters.
 */
#ifndef HW_TIMER_E2K_TIMER_H
#define HW_TIMER_E2K_TIMER_H

#include "system/device.h"
#include "system/irq.h"
#include "system/memory.h"

#define E2K_TIMER_BASE UINT64_C(0xfed00000)
#define E2K_TIMER_SIZE 0x1000

extern const DeviceType e2k_timer_type;

/** Create and realize it in @map; @irq gets a pulse each time the limit is reached. */
Device *e2k_timer_create(MemoryMap *map, IrqLine *irq);

#endif
