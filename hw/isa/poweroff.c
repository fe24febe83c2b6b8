/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port 0x604: writing 0x2000 (16 bits, sleep enable) switches the machine off. */
#include "qemu/osdep.h"

#include "hw/isa/isa.h"
#include "system/runstate.h"

#define POWEROFF_PORT 0x604
#define POWEROFF_SLEEP_ENABLE 0x2000

typedef struct Poweroff {
    Device dev;
    MemoryRegion *region;
} Poweroff;

static uint64_t poweroff_read(void *opaque, hwaddr offset, unsigned size)
{
    return 0;
}

static void poweroff_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    if (value & POWEROFF_SLEEP_ENABLE) {
        system_shutdown_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
    }
}

static const MemoryOps poweroff_ops = {
    .read = poweroff_read, .write = poweroff_write, .min_size = 2, .max_size = 2,
};

static bool poweroff_realize(Device *dev, Error **errp)
{
    Poweroff *s = (Poweroff *)dev;

    s->region = isa_register_ports(dev, POWEROFF_PORT, 2, &poweroff_ops, errp);
    return s->region;
}

static void poweroff_unrealize(Device *dev)
{
    memory_region_del(((Poweroff *)dev)->region);
}

const DeviceType isa_poweroff_type = {
    .name = "e2k-poweroff",
    .bus = ISA_BUS_TYPE_NAME,
    .description = "power-off port",
    .category = DEVICE_CATEGORY_MISC,
    .instance_size = sizeof(Poweroff),
    .realize = poweroff_realize,
    .unrealize = poweroff_unrealize,
    .has_no_state = true,
};
