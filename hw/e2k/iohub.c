/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "iohub.h"
#include "qemu/error.h"

#define HOST_BRIDGE_DEVFN PCI_DEVFN(1, 0)
#define ISA_BRIDGE_DEVFN PCI_DEVFN(31, 0)

static const PciClass host_bridge_class = {
    .vendor_id = 0x1fff,
    .device_id = 0x8017,
    .revision = 2,
    .class_code = 0x060000,
};

const DeviceType e2k_host_bridge_type = {
    .name = "e2k-host-bridge",
    .bus = PCI_BUS_TYPE_NAME,
    .category = DEVICE_CATEGORY_BRIDGE,
    .instance_size = sizeof(PciDevice),
    .properties = (const DevicePropertyTable[]) {{NULL, pci_props}, {0}},
    .bus_class = &host_bridge_class,
    .realize = pci_device_realize,
    .unrealize = pci_device_unrealize,
    .reset = pci_device_reset,
    .add_state = pci_device_add_state,
};

typedef struct IsaBridge {
    PciDevice pci;
    IsaBus isa;
} IsaBridge;

/* The id is that of the PIIX3, whose disk controller function belongs to it. */
static const PciClass isa_bridge_class = {
    .vendor_id = 0x8086,
    .device_id = 0x7000,
    .class_code = 0x060100,
    .is_multifunction = true,
};

const DeviceType e2k_isa_bridge_type = {
    .name = "e2k-isa-bridge",
    .bus = PCI_BUS_TYPE_NAME,
    .category = DEVICE_CATEGORY_BRIDGE,
    .instance_size = sizeof(IsaBridge),
    .properties = (const DevicePropertyTable[]) {{NULL, pci_props}, {0}},
    .bus_class = &isa_bridge_class,
    .realize = pci_device_realize,
    .unrealize = pci_device_unrealize,
    .reset = pci_device_reset,
    .add_state = pci_device_add_state,
};

static PciDevice *create_function(PciBus *bus, const DeviceType *type, int devfn)
{
    PciDevice *dev = (PciDevice *)device_new(type);

    dev->devfn = devfn;
    device_realize(&dev->dev, &bus->bus, &error_abort);
    return dev;
}

IsaBus *iohub_create(PciBus *bus, MemoryMap *ports, IrqLine *const *isa_irqs)
{
    IsaBridge *bridge;

    create_function(bus, &e2k_host_bridge_type, HOST_BRIDGE_DEVFN);
    bridge = (IsaBridge *)create_function(bus, &e2k_isa_bridge_type, ISA_BRIDGE_DEVFN);
    isa_bus_init(&bridge->isa, &bridge->pci.dev, ports, isa_irqs);
    device_realize(device_new(&isa_poweroff_type), &bridge->isa.bus, &error_abort);
    return &bridge->isa;
}
