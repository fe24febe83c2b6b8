/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The chipset's own PCI functions: host bridge and ISA bridge.
 */
#ifndef HW_E2K_IOHUB_H
#define HW_E2K_IOHUB_H

#include "hw/isa/isa.h"
#include "hw/pci/pci.h"

extern const DeviceType e2k_host_bridge_type;
extern const DeviceType e2k_isa_bridge_type;

/** Put the functions on @bus.  Returns: the ISA bus behind the bridge. */
IsaBus *iohub_create(PciBus *bus, MemoryMap *ports, IrqLine *const *isa_irqs);

#endif
