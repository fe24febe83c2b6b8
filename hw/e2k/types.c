/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one list of everything a machine can be made of. */
#include "qemu/osdep.h"

#include "hw/e2k/board.h"
#include "hw/intc/apic.h"
#include "hw/isa/isa.h"
#include "hw/misc/loader.h"
#include "hw/timer/e2k-timer.h"
#include "hw/virtio/virtio-types.h"
#include "iohub.h"

const DeviceType *const all_device_types[] = {
    &e2k_host_bridge_type,
    &e2k_isa_bridge_type,
    &e2k_timer_type,
    &generic_loader_type,
    &io_apic_type,
    &isa_cdrom_type,
    &isa_debug_exit_type,
    &isa_debugcon_type,
    &isa_poweroff_type,
    &isa_serial_type,
    &local_apic_type,
    &virtio_blk_pci_type,
    NULL,
};

const MachineType *const all_machine_types[] = {
    &e2k_machine_type,
    &none_machine_type,
    NULL,
};
