/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "hw/pci/pci.h"
#include "pci-int.h"
#include "qemu/bits.h"
#include "qemu/bswap.h"
#include "qemu/error.h"
#include "system/vmstate.h"

#define CAP_START 0x40
#define CONFIG_ADDRESS_MASK UINT32_C(0x80fffffc)
#define BAR_FLAG_IO 0x1
#define BAR_FLAG_MEM64 0xc /* 64-bit, prefetchable */

/* ---- configuration space --------------------------------------------------------------------- */

static const PciClass *pci_class(const PciDevice *dev)
{
    return dev->dev.type->bus_class;
}

PciBus *pci_get_bus(const PciDevice *dev)
{
    return container_of(dev->dev.bus, PciBus, bus);
}

MemoryMap *pci_dma_map(const PciDevice *dev)
{
    return pci_get_bus(dev)->dma;
}

static uint16_t pci_command(const PciDevice *dev)
{
    return lduw_le_p(dev->config + PCI_COMMAND);
}

bool pci_is_bus_master(const PciDevice *dev)
{
    return pci_command(dev) & PCI_COMMAND_MASTER;
}

unsigned pci_add_capability(PciDevice *dev, uint8_t id, unsigned size)
{
    unsigned offset = dev->cap_next;

    assert(offset + size <= PCI_CONFIG_SIZE);
    dev->cap_next = QEMU_ALIGN_UP(offset + size, 4u);
    dev->config[offset] = id;
    dev->config[offset + 1] = dev->config[PCI_CAPABILITY_LIST];
    dev->config[PCI_CAPABILITY_LIST] = offset;
    dev->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    return offset;
}

uint32_t pci_config_read(PciDevice *dev, unsigned offset, unsigned size)
{
    const PciClass *class = pci_class(dev);
    uint32_t value = 0;

    if (offset + size > PCI_CONFIG_SIZE) {
        return 0; /* no extended capabilities */
    }
    if (class->config_reading) {
        class->config_reading(dev, offset, size);
    }
    memcpy(&value, dev->config + offset, size);
    return le32_to_cpu(value);
}

void pci_config_write(PciDevice *dev, unsigned offset, unsigned size, uint32_t value)
{
    const PciClass *class = pci_class(dev);

    if (offset + size > PCI_CONFIG_SIZE) {
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = value >> (i * 8);
        uint8_t *at = &dev->config[offset + i];

        *at = (*at & ~dev->wmask[offset + i]) | (byte & dev->wmask[offset + i]);
        *at &= ~(byte & dev->w1c[offset + i]);
    }
    pci_update_bars(dev);
    pci_update_intx(dev);
    pci_msix_config_written(dev);
    if (class->config_written) {
        class->config_written(dev, offset, size);
    }
}

static PciDevice *find_function(PciBus *bus, uint32_t address)
{
    unsigned bus_number = (address >> 16) & 0xff;

    return bus_number ? NULL : bus->devices[(address >> 8) & 0xff];
}

/* @address: bus << 16 | devfn << 8 | register, as in mechanism #1. */
static uint64_t bus_config_read(PciBus *bus, uint32_t address, unsigned offset, unsigned size)
{
    PciDevice *dev = find_function(bus, address);

    return dev ? pci_config_read(dev, offset, size) : UINT64_MAX;
}

static void bus_config_write(PciBus *bus, uint32_t address, unsigned offset, unsigned size,
                             uint32_t value)
{
    PciDevice *dev = find_function(bus, address);

    if (dev) {
        pci_config_write(dev, offset, size, value);
    }
}

static uint64_t ecam_read(void *opaque, hwaddr offset, unsigned size)
{
    return bus_config_read(opaque, (offset >> 12) << 8, offset & 0xfff, size);
}

static void ecam_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    bus_config_write(opaque, (offset >> 12) << 8, offset & 0xfff, size, value);
}

static const MemoryOps ecam_ops = {.read = ecam_read, .write = ecam_write, .max_size = 4};

static uint64_t address_port_read(void *opaque, hwaddr offset, unsigned size)
{
    return ((PciBus *)opaque)->config_address;
}

static void address_port_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    ((PciBus *)opaque)->config_address = value & CONFIG_ADDRESS_MASK;
}

static const MemoryOps address_port_ops = {
    .read = address_port_read, .write = address_port_write, .min_size = 4, .max_size = 4,
};

static uint64_t data_port_read(void *opaque, hwaddr offset, unsigned size)
{
    PciBus *bus = opaque;

    if (!(bus->config_address >> 31)) {
        return UINT64_MAX;
    }
    return bus_config_read(bus, bus->config_address, (bus->config_address & 0xfc) + offset, size);
}

static void data_port_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    PciBus *bus = opaque;

    if (bus->config_address >> 31) {
        bus_config_write(bus, bus->config_address, (bus->config_address & 0xfc) + offset, size,
                         value);
    }
}

static const MemoryOps data_port_ops = {
    .read = data_port_read, .write = data_port_write, .max_size = 4,
};

/* ---- BARs ------------------------------------------------------------------------------------ */

static unsigned bar_offset(int n)
{
    return PCI_BASE_ADDRESS_0 + 4 * n;
}

void pci_register_bar(PciDevice *dev, int n, PciBarKind kind, uint64_t size, const MemoryOps *ops,
                      void *opaque)
{
    PciBus *bus = pci_get_bus(dev);
    MemoryMap *map = kind == PCI_BAR_IO ? bus->ports : bus->mem;
    unsigned offset = bar_offset(n);

    assert(is_power_of_2(size) && size >= (kind == PCI_BAR_IO ? 4 : 16));
    dev->bars[n].kind = kind;
    dev->bars[n].size = size;
    dev->bars[n].region = memory_add_io(map, dev->dev.type->name, 0, size, ops, opaque);
    memory_region_set_enabled(dev->bars[n].region, false);
    stl_le_p(dev->wmask + offset, ~(uint32_t)(size - 1));
    if (kind == PCI_BAR_IO) {
        dev->config[offset] = BAR_FLAG_IO;
    } else if (kind == PCI_BAR_MEM64) {
        dev->config[offset] = BAR_FLAG_MEM64;
        stl_le_p(dev->wmask + offset + 4, ~((size - 1) >> 32));
    }
}

/* Where BAR @n is mapped; false if nowhere. */
static bool bar_address(const PciDevice *dev, int n, hwaddr *address)
{
    const PciBar *bar = &dev->bars[n];
    uint16_t command = pci_command(dev);
    uint64_t base = (uint32_t)ldl_le_p(dev->config + bar_offset(n));
    uint64_t last_allowed = bar->kind == PCI_BAR_IO ? 0xffff : UINT32_MAX;

    if (!(command & (bar->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY))) {
        return false;
    }
    if (bar->kind == PCI_BAR_MEM64) {
        base |= (uint64_t)(uint32_t)ldl_le_p(dev->config + bar_offset(n) + 4) << 32;
        last_allowed = UINT64_MAX - 1;
    }
    base &= ~(bar->size - 1);
    *address = base;
    /* Address 0, and the top of the range while a guest sizes the BAR, mean "not mapped". */
    return base && base + bar->size - 1 >= base && base + bar->size - 1 <= last_allowed;
}

void pci_update_bars(PciDevice *dev)
{
    for (int n = 0; n < PCI_N_BARS; n++) {
        PciBar *bar = &dev->bars[n];
        hwaddr address;

        if (bar->kind == PCI_BAR_NONE) {
            continue;
        }
        if (bar_address(dev, n, &address)) {
            memory_region_move(bar->region, address);
            memory_region_set_enabled(bar->region, true);
        } else {
            memory_region_set_enabled(bar->region, false);
        }
    }
}

/* ---- INTx ------------------------------------------------------------------------------------ */

void pci_update_intx(PciDevice *dev)
{
    PciBus *bus = pci_get_bus(dev);
    bool level = dev->intx_level && !(pci_command(dev) & PCI_COMMAND_INTX_DISABLE) &&
                 !pci_msix_enabled(dev);
    unsigned pin = dev->config[PCI_INTERRUPT_PIN];
    unsigned line = (pin - 1 + PCI_SLOT(dev->devfn)) % 4;

    if (!pin) {
        return;
    }
    dev->config[PCI_STATUS] &= ~PCI_STATUS_INTERRUPT;
    dev->config[PCI_STATUS] |= dev->intx_level ? PCI_STATUS_INTERRUPT : 0;
    if (level != dev->intx_driven) {
        dev->intx_driven = level;
        bus->intx_count[line] += level ? 1 : -1;
        irq_set(bus->intx[line], bus->intx_count[line] > 0);
    }
}

void pci_set_irq(PciDevice *dev, bool level)
{
    dev->intx_level = level;
    pci_update_intx(dev);
}

/* ---- devices --------------------------------------------------------------------------------- */

static void init_config(PciDevice *dev)
{
    const PciClass *class = pci_class(dev);

    dev->cap_next = CAP_START;
    stw_le_p(dev->config + PCI_VENDOR_ID, class->vendor_id);
    stw_le_p(dev->config + PCI_DEVICE_ID, class->device_id);
    stw_le_p(dev->config + PCI_SUBSYSTEM_VENDOR_ID, class->subsystem_vendor_id);
    stw_le_p(dev->config + PCI_SUBSYSTEM_ID, class->subsystem_id);
    stl_le_p(dev->config + PCI_REVISION_ID, class->class_code << 8 | class->revision);
    if (class->is_multifunction || dev->multifunction) {
        dev->config[PCI_HEADER_TYPE] = PCI_HEADER_MULTIFUNCTION;
    }
    dev->config[PCI_INTERRUPT_PIN] = class->interrupt_pin;
    stw_le_p(dev->wmask + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                                       PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
    dev->wmask[PCI_CACHE_LINE_SIZE] = 0xff;
    dev->wmask[PCI_INTERRUPT_LINE] = 0xff;
}

static void remove_bars(PciDevice *dev)
{
    for (int n = 0; n < PCI_N_BARS; n++) {
        memory_region_del(dev->bars[n].region);
        dev->bars[n] = (PciBar) {0};
    }
}

bool pci_device_realize(Device *device, Error **errp)
{
    PciDevice *dev = (PciDevice *)device;

    memset(dev->config, 0, sizeof(dev->config));
    init_config(dev);
    if (!pci_class(dev)->realize || pci_class(dev)->realize(dev, errp)) {
        return true;
    }
    pci_msix_done(dev);
    remove_bars(dev);
    return false;
}

void pci_device_unrealize(Device *device)
{
    PciDevice *dev = (PciDevice *)device;

    pci_set_irq(dev, false);
    /* Registers go first: nothing new can be asked of the device. */
    remove_bars(dev);
    if (pci_class(dev)->unrealize) {
        pci_class(dev)->unrealize(dev);
    }
    pci_msix_done(dev);
}

void pci_device_reset(Device *device)
{
    PciDevice *dev = (PciDevice *)device;

    pci_set_irq(dev, false);
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        dev->config[i] &= ~(dev->wmask[i] | dev->w1c[i]);
    }
    for (int n = 0; n < PCI_N_BARS; n++) {
        if (dev->bars[n].kind == PCI_BAR_IO) {
            dev->config[bar_offset(n)] |= BAR_FLAG_IO;
        } else if (dev->bars[n].kind == PCI_BAR_MEM64) {
            dev->config[bar_offset(n)] |= BAR_FLAG_MEM64;
        }
    }
    pci_update_bars(dev);
    pci_msix_reset(dev);
    if (pci_class(dev)->reset) {
        pci_class(dev)->reset(dev);
    }
}

/* ---- saving ---------------------------------------------------------------------------------- */

/* What the guest cannot change says what device it is, and how it was set up. */
static bool pci_check(const void *staged, const void *current, Error **errp)
{
    const PciDevice *new = staged, *old = current;

    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        uint8_t may_differ = old->wmask[i] | old->w1c[i] |
                             (i == PCI_STATUS ? PCI_STATUS_INTERRUPT : 0);

        if ((new->config[i] ^ old->config[i]) & ~may_differ) {
            error_setg(errp, "Bad config data: i=0x%x read: %x device: %x wmask: %x w1cmask:%x", i,
                       new->config[i], old->config[i], old->wmask[i], old->w1c[i]);
            return false;
        }
    }
    return true;
}

static void pci_post_load(void *opaque)
{
    pci_update_bars(opaque);
    pci_update_intx(opaque);
}

static const VmStateDescription pci_state = {
    .name = "pci",
    .version = 1,
    .size = sizeof(PciDevice),
    .fields = (const VmField[]) {
        VM_ARRAY(PciDevice, config),
        VM_BOOL(PciDevice, intx_level),
        {0},
    },
    .check = pci_check,
    .post_load = pci_post_load,
};

void pci_device_add_state(Device *device, VmStateParts *parts)
{
    PciDevice *dev = (PciDevice *)device;

    vm_parts_add(parts, &pci_state, 0, dev);
    pci_msix_add_state(dev, parts);
}

static bool bus_check(const void *staged, const void *current, Error **errp)
{
    if (((const PciBus *)staged)->config_address & ~CONFIG_ADDRESS_MASK) {
        error_setg(errp, "the address port has undefined bits");
        return false;
    }
    return true;
}

static const VmStateDescription bus_state = {
    .name = "pci-bus",
    .version = 1,
    .size = sizeof(PciBus),
    .fields = (const VmField[]) {
        VM_FIELD(PciBus, config_address),
        {0},
    },
    .check = bus_check,
};

void pci_bus_add_state(PciBus *bus, VmStateParts *parts)
{
    vm_parts_add(parts, &bus_state, 0, bus);
}

/* ---- the bus --------------------------------------------------------------------------------- */

static int free_slot(const PciBus *bus)
{
    /* Slots 0 and 1 belong to the chipset. */
    for (int devfn = PCI_DEVFN(2, 0); devfn < PCI_N_DEVFN; devfn += 8) {
        if (!bus->devices[devfn]) {
            return devfn;
        }
    }
    return -1;
}

static bool function_fits(const PciBus *bus, const PciDevice *dev, int devfn, Error **errp)
{
    const PciDevice *first = bus->devices[devfn & ~7];
    int slot = PCI_SLOT(devfn);

    if (PCI_FUNC(devfn)) {
        if (first && !(first->config[PCI_HEADER_TYPE] & PCI_HEADER_MULTIFUNCTION)) {
            error_setg(errp, "PCI: %x.0 indicates single function, but %x.%x is already "
                       "populated.", slot, slot, PCI_FUNC(devfn));
            return false;
        }
        return true;
    }
    for (int fn = 1; fn < 8 && !dev->multifunction; fn++) {
        if (bus->devices[devfn + fn]) {
            error_setg(errp, "PCI: %x.0 indicates single function, but %x.%x is already "
                       "populated.", slot, slot, fn);
            return false;
        }
    }
    return true;
}

static bool pci_attach(Bus *b, Device *device, Error **errp)
{
    PciBus *bus = container_of(b, PciBus, bus);
    PciDevice *dev = (PciDevice *)device;
    int devfn = dev->devfn < 0 ? free_slot(bus) : dev->devfn;

    if (devfn < 0) {
        error_setg(errp, "PCI: no slot/function available for %s, all in use or reserved",
                   device->type->name);
        return false;
    }
    if (bus->devices[devfn]) {
        const Device *other = &bus->devices[devfn]->dev;

        error_setg(errp, "PCI: slot %d function %d not available for %s, in use by %s,id=%s",
                   PCI_SLOT(devfn), PCI_FUNC(devfn), device->type->name, other->type->name,
                   other->id ? other->id : "(null)");
        return false;
    }
    if (!function_fits(bus, dev, devfn, errp)) {
        return false;
    }
    dev->devfn = devfn;
    bus->devices[devfn] = dev;
    return true;
}

static void pci_detach(Bus *b, Device *device)
{
    PciBus *bus = container_of(b, PciBus, bus);

    bus->devices[((PciDevice *)device)->devfn] = NULL;
}

static const BusType pci_bus_type = {
    .name = PCI_BUS_TYPE_NAME,
    .hotpluggable = true,
    .attach = pci_attach,
    .detach = pci_detach,
};

void pci_bus_init(PciBus *bus, const char *name, const PciBusConfig *config)
{
    memset(bus, 0, sizeof(*bus));
    bus_init(&bus->bus, &pci_bus_type, NULL, name);
    bus->mem = memory_map_new("pci", true);
    bus->ports = config->ports;
    bus->dma = config->memory;
    bus->msi = config->msi;
    bus->msi_opaque = config->msi_opaque;
    memcpy(bus->intx, config->intx, sizeof(bus->intx));
    bus->regions[0] = memory_add_io(config->memory, "pci-ecam", config->ecam_base,
                                    config->ecam_size, &ecam_ops, bus);
    bus->regions[1] = memory_add_io(config->ports, "pci-conf-idx", 0xcf8, 4, &address_port_ops,
                                    bus);
    bus->regions[2] = memory_add_io(config->ports, "pci-conf-data", 0xcfc, 4, &data_port_ops, bus);
}

void pci_bus_done(PciBus *bus)
{
    for (size_t i = 0; i < ARRAY_SIZE(bus->regions); i++) {
        memory_region_del(bus->regions[i]);
    }
    bus_done(&bus->bus);
    memory_map_free(bus->mem);
}

void pci_bus_reset(PciBus *bus)
{
    bus->config_address = 0;
}

/* ---- the addr property ----------------------------------------------------------------------- */

static bool set_addr(Device *device, const DeviceProperty *prop, const char *value, Error **errp)
{
    int32_t *devfn = device_field(device, prop);
    unsigned slot, fn = 0;
    int used = 0;

    if (!strcmp(value, "-1")) {
        *devfn = -1;
        return true;
    }
    if (sscanf(value, "%x.%x%n", &slot, &fn, &used) != 2) {
        fn = 0;
        if (sscanf(value, "%x%n", &slot, &used) != 1) {
            used = -1;
        }
    }
    if (used <= 0 || value[used] || slot > 31 || fn > 7) {
        error_setg(errp, "Property '%s.%s' doesn't take value '%s'", device->type->name,
                   prop->name, value);
        return false;
    }
    *devfn = PCI_DEVFN(slot, fn);
    return true;
}

static char *get_addr(const Device *device, const DeviceProperty *prop)
{
    int32_t devfn = *(const int32_t *)device_field(device, prop);

    return devfn < 0 ? g_strdup("-1")
                     : g_strdup_printf("%02x.%x", PCI_SLOT(devfn), PCI_FUNC(devfn));
}

static const PropertyKind prop_kind_pci_addr = {
    .name = "str",
    .description = "Slot and optional function number, example: 06.0 or 06",
    .set = set_addr,
    .get = get_addr,
};

const DeviceProperty pci_props[] = {
    DEVICE_PROP("addr", prop_kind_pci_addr, PciDevice, devfn, "-1", NULL),
    DEVICE_PROP("multifunction", prop_kind_bool, PciDevice, multifunction, "off", NULL),
    {0},
};

/* ---- info pci -------------------------------------------------------------------------------- */

static void describe_bar(const PciDevice *dev, int n, GString *out)
{
    const PciBar *bar = &dev->bars[n];
    hwaddr address;

    g_string_append_printf(out, "      BAR%d: %s at ", n,
                           bar->kind == PCI_BAR_IO ? "I/O"
                           : bar->kind == PCI_BAR_MEM64 ? "64 bit prefetchable memory"
                           : "32 bit memory");
    if (bar_address(dev, n, &address)) {
        g_string_append_printf(out, "0x%08" PRIx64 " [0x%08" PRIx64 "].\n", address,
                               address + bar->size - 1);
    } else {
        g_string_append_printf(out, "0xffffffffffffffff [0x%08" PRIx64 "].\n", bar->size - 2);
    }
}

void pci_describe(PciBus *bus, GString *out)
{
    for (int devfn = 0; devfn < PCI_N_DEVFN; devfn++) {
        const PciDevice *dev = bus->devices[devfn];

        if (!dev) {
            continue;
        }
        g_string_append_printf(out, "  Bus  0, device %3d, function %d:\n", PCI_SLOT(devfn),
                               PCI_FUNC(devfn));
        g_string_append_printf(out, "    Class %04x: PCI device %04x:%04x\n",
                               lduw_le_p(dev->config + PCI_CLASS_DEVICE),
                               lduw_le_p(dev->config + PCI_VENDOR_ID),
                               lduw_le_p(dev->config + PCI_DEVICE_ID));
        if (dev->config[PCI_INTERRUPT_PIN]) {
            g_string_append_printf(out, "      IRQ %d, pin %c\n", dev->config[PCI_INTERRUPT_LINE],
                                   'A' + dev->config[PCI_INTERRUPT_PIN] - 1);
        }
        for (int n = 0; n < PCI_N_BARS; n++) {
            if (dev->bars[n].kind != PCI_BAR_NONE) {
                describe_bar(dev, n, out);
            }
        }
        g_string_append_printf(out, "      id \"%s\"\n", dev->dev.id ? dev->dev.id : "");
    }
}
