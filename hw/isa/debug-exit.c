/* SPDX-License-Identifier: GPL-2.0-or-later */
/* isa-debug-exit: a write of v to its ports ends the program with status (v << 1) | 1. */
#include "qemu/osdep.h"

#include "hw/isa/isa.h"
#include "qemu/error.h"
#include "system/runstate.h"

typedef struct DebugExit {
    Device dev;
    uint32_t iobase;
    uint32_t iosize;
    MemoryRegion *region;
} DebugExit;

static uint64_t debug_exit_read(void *opaque, hwaddr offset, unsigned size)
{
    return 0;
}

static void debug_exit_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    system_exit_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN, (int)((value << 1) | 1) & 0xff);
}

static const MemoryOps debug_exit_ops = {
    .read = debug_exit_read, .write = debug_exit_write, .max_size = 4,
};

static bool debug_exit_realize(Device *dev, Error **errp)
{
    DebugExit *s = (DebugExit *)dev;

    s->region = isa_register_ports(dev, s->iobase, s->iosize, &debug_exit_ops, errp);
    return s->region;
}

static void debug_exit_unrealize(Device *dev)
{
    memory_region_del(((DebugExit *)dev)->region);
}

static const DeviceProperty debug_exit_props[] = {
    DEVICE_PROP("iobase", prop_kind_uint32, DebugExit, iobase, "0x501", NULL),
    DEVICE_PROP("iosize", prop_kind_uint32, DebugExit, iosize, "2", NULL),
    {0},
};

const DeviceType isa_debug_exit_type = {
    .name = "isa-debug-exit",
    .bus = ISA_BUS_TYPE_NAME,
    .category = DEVICE_CATEGORY_MISC,
    .user_creatable = true,
    .instance_size = sizeof(DebugExit),
    .properties = (const DevicePropertyTable[]) {{NULL, debug_exit_props}, {0}},
    .realize = debug_exit_realize,
    .unrealize = debug_exit_unrealize,
    .has_no_state = true,
};
