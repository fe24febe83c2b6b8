/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bus of legacy port devices: 64 KiB of ports and 16 interrupt lines.
 *
 * A device on it has `iobase` (and `irq`) properties and calls isa_register_ports() and
 * isa_get_irq() when it is realized.
 */
#ifndef HW_ISA_ISA_H
#define HW_ISA_ISA_H

#include "system/device.h"
#include "system/irq.h"
#include "system/memory.h"

#define ISA_BUS_TYPE_NAME "ISA"
#define ISA_N_IRQS 16

typedef struct IsaBus {
    Bus bus;
    MemoryMap *ports;
    IrqLine *irqs[ISA_N_IRQS]; /* borrowed */
} IsaBus;

/** Set up a bus named "isa.0". @irqs: ISA_N_IRQS lines, or NULL entries. */
void isa_bus_init(IsaBus *bus, Device *parent, MemoryMap *ports, IrqLine *const *irqs);

/** Answer at @size ports from @iobase on; the region is the device's. */
MemoryRegion *isa_register_ports(Device *dev, uint32_t iobase, uint32_t size,
                                 const MemoryOps *ops, Error **errp);

/** Line @n of the bus @dev is on. */
IrqLine *isa_get_irq(Device *dev, uint32_t n, Error **errp);

extern const DeviceType isa_cdrom_type;
extern const DeviceType isa_debug_exit_type;
extern const DeviceType isa_serial_type;
extern const DeviceType isa_debugcon_type;
extern const DeviceType isa_poweroff_type;

#endif
