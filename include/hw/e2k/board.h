/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The boards, the list of all device types, and what main() does with them.
 */
#ifndef HW_E2K_BOARD_H
#define HW_E2K_BOARD_H

#include "system/device.h"
#include "system/machine.h"

extern const MachineType e2k_machine_type;
extern const MachineType none_machine_type;

/** Every device type there is; ends with NULL. */
extern const DeviceType *const all_device_types[];

/** Every machine type there is; ends with NULL. */
extern const MachineType *const all_machine_types[];

/** Let the monitor's snapshots include the machine.  Once, at start-up. */
void board_offer_snapshots(void);

/** Text of `info pci`, or NULL if the machine has no PCI bus. */
char *board_describe_pci(const Machine *machine);

#endif
