/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "hw/isa/isa.h"
#include "qemu/error.h"

static const BusType isa_bus_type = {.name = ISA_BUS_TYPE_NAME};

void isa_bus_init(IsaBus *bus, Device *parent, MemoryMap *ports, IrqLine *const *irqs)
{
    bus_init(&bus->bus, &isa_bus_type, parent, "isa.0");
    bus->ports = ports;
    memcpy(bus->irqs, irqs, sizeof(bus->irqs));
}

static IsaBus *isa_bus_of(Device *dev)
{
    return container_of(dev->bus, IsaBus, bus);
}

MemoryRegion *isa_register_ports(Device *dev, uint32_t iobase, uint32_t size,
                                 const MemoryOps *ops, Error **errp)
{
    if (iobase > 0xffff || !size || size > 0x10000 - iobase) {
        error_setg(errp, "Device '%s': ports 0x%x..0x%x are outside of the port space",
                   dev->type->name, iobase, iobase + size - 1);
        return NULL;
    }
    return memory_add_io(isa_bus_of(dev)->ports, dev->type->name, iobase, size, ops, dev);
}

IrqLine *isa_get_irq(Device *dev, uint32_t n, Error **errp)
{
    if (n >= ISA_N_IRQS) {
        error_setg(errp, "Device '%s': maximum value for \"irq\" is %d", dev->type->name,
                   ISA_N_IRQS - 1);
        return NULL;
    }
    return isa_bus_of(dev)->irqs[n];
}
