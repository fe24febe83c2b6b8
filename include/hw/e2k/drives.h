/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From -drive to devices.
 */
#ifndef HW_E2K_DRIVES_H
#define HW_E2K_DRIVES_H

#include "block/blockdev.h"
#include "system/machine.h"

/** What -drive without if= means on @machine. */
BlockInterfaceType drives_default_type(const MachineType *type);

/** Make the devices that drives of @machine's own interfaces (if=virtio) ask for. */
bool coroutine_fn drives_co_create_devices(Machine *machine, Error **errp);

#endif
