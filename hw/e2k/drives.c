/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "hw/e2k/board.h"
#include "hw/e2k/drives.h"
#include "qemu/error.h"
#include "qobject/qdict.h"
#include "system/device.h"

BlockInterfaceType drives_default_type(const MachineType *type)
{
    return IF_IDE;
}

static bool coroutine_fn create_virtio(DriveInfo *drive, Error **errp)
{
    g_autoptr(QDict) opts = qdict_new();
    const char *addr = drive->opts ? qemu_opt_get(drive->opts, "addr") : NULL;
    Device *dev;

    qdict_put_str(opts, "driver", "virtio-blk-pci");
    qdict_put_str(opts, "drive", drive->id);
    if (addr) {
        qdict_put_str(opts, "addr", addr);
    }
    dev = device_add(opts, false, errp);
    drive->claimed = dev;
    return dev;
}

bool coroutine_fn drives_co_create_devices(Machine *machine, Error **errp)
{
    if (machine->type != &e2k_machine_type) {
        return true;
    }
    for (DriveInfo *drive = drive_next(NULL); drive; drive = drive_next(drive)) {
        if (drive->type == IF_VIRTIO && !create_virtio(drive, errp)) {
            return false;
        }
    }
    return true;
}
