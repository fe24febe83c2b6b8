/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulator's console: a port that prints what is written to it.  The next port tells in bit 0
 * whether a key can be read from the first.
 */
#include "qemu/osdep.h"

#include "hw/char/chardev-prop.h"
#include "hw/isa/isa.h"
#include "io/chardev.h"
#include "qemu/error.h"
#include "system/bql.h"
#include "system/vmstate.h"

#define STATUS_HAS_INPUT 0x01

typedef struct DebugCon {
    Device dev;
    uint32_t iobase;
    CharFrontend chr;
    MemoryRegion *region;
    /* machine lock */
    bool has_key;
    uint8_t key;
} DebugCon;

static uint64_t debugcon_read(void *opaque, hwaddr offset, unsigned size)
{
    DebugCon *s = opaque;

    if (offset) {
        return s->has_key ? STATUS_HAS_INPUT : 0;
    }
    if (s->has_key) {
        s->has_key = false;
        chr_fe_accept_input(&s->chr);
        return s->key;
    }
    return 0;
}

static void debugcon_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    DebugCon *s = opaque;
    uint8_t byte = value;

    if (!offset && s->chr.chr) {
        chr_fe_write(&s->chr, &byte, 1);
    }
}

static const MemoryOps debugcon_ops = {
    .read = debugcon_read, .write = debugcon_write, .max_size = 1,
};

static size_t debugcon_can_receive(void *opaque)
{
    DebugCon *s = opaque;

    BQL_GUARD();
    return !s->has_key;
}

static void debugcon_receive(void *opaque, const uint8_t *buf, size_t size)
{
    DebugCon *s = opaque;

    BQL_GUARD();
    s->key = buf[0];
    s->has_key = true;
}

static const ChrHandlers debugcon_handlers = {
    .can_receive = debugcon_can_receive, .receive = debugcon_receive,
};

static bool debugcon_realize(Device *dev, Error **errp)
{
    DebugCon *s = (DebugCon *)dev;

    if (!s->chr.chr) {
        error_setg(errp, "Can't create debugcon device, empty char device");
        return false;
    }
    s->region = isa_register_ports(dev, s->iobase, 2, &debugcon_ops, errp);
    if (s->region) {
        chr_fe_set_handlers(&s->chr, &debugcon_handlers, s);
    }
    return s->region;
}

static void debugcon_unrealize(Device *dev)
{
    memory_region_del(((DebugCon *)dev)->region);
}

static void debugcon_post_load(void *opaque)
{
    DebugCon *s = opaque;

    chr_fe_accept_input(&s->chr);
}

static const VmStateDescription debugcon_state = {
    .name = "debugcon",
    .version = 1,
    .size = sizeof(DebugCon),
    .fields = (const VmField[]) {
        VM_BOOL(DebugCon, has_key),
        VM_FIELD(DebugCon, key),
        {0},
    },
    .post_load = debugcon_post_load,
};

static const DeviceProperty debugcon_props[] = {
    DEVICE_PROP("iobase", prop_kind_uint32, DebugCon, iobase, "0x300", NULL),
    DEVICE_PROP("chardev", prop_kind_chardev, DebugCon, chr, NULL, NULL),
    {0},
};

const DeviceType isa_debugcon_type = {
    .name = "isa-debugcon",
    .bus = ISA_BUS_TYPE_NAME,
    .category = DEVICE_CATEGORY_MISC,
    .user_creatable = true,
    .instance_size = sizeof(DebugCon),
    .properties = (const DevicePropertyTable[]) {{NULL, debugcon_props}, {0}},
    .realize = debugcon_realize,
    .unrealize = debugcon_unrealize,
    .state = &debugcon_state,
};
