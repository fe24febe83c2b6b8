/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSI-X: a table of messages in a BAR, and bits for those that wait for being unmasked. */
#include "qemu/osdep.h"

#include "hw/pci/pci.h"
#include "pci-int.h"
#include "qemu/bswap.h"
#include "system/vmstate.h"

#define ENTRY_SIZE 16
#define ENTRY_ADDR 0
#define ENTRY_DATA 8
#define ENTRY_CONTROL 12
#define ENTRY_MASKED 1
#define TABLE_OFFSET 0
#define PBA_OFFSET 0x800
#define BAR_SIZE 0x1000
#define MAX_VECTORS (PBA_OFFSET / ENTRY_SIZE)

#define CAP_SIZE 12
#define CAP_CONTROL 2
#define CAP_TABLE 4
#define CAP_PBA 8
#define CONTROL_ENABLE 0x8000
#define CONTROL_MASK_ALL 0x4000

struct PciMsix {
    PciDevice *dev;
    unsigned cap; /* offset of the capability */
    unsigned n_vectors;
    uint8_t table[MAX_VECTORS * ENTRY_SIZE];
    uint8_t pending[MAX_VECTORS / 8];
};

static uint16_t msix_control(const PciMsix *msix)
{
    return lduw_le_p(msix->dev->config + msix->cap + CAP_CONTROL);
}

bool pci_msix_enabled(const PciDevice *dev)
{
    return dev->msix && (msix_control(dev->msix) & CONTROL_ENABLE);
}

unsigned pci_msix_count(const PciDevice *dev)
{
    return dev->msix ? dev->msix->n_vectors : 0;
}

static bool vector_is_masked(const PciMsix *msix, unsigned n)
{
    return (msix_control(msix) & CONTROL_MASK_ALL) ||
           (msix->table[n * ENTRY_SIZE + ENTRY_CONTROL] & ENTRY_MASKED);
}

static void vector_send(PciMsix *msix, unsigned n)
{
    const uint8_t *entry = msix->table + n * ENTRY_SIZE;
    PciBus *bus = pci_get_bus(msix->dev);

    if (pci_is_bus_master(msix->dev)) {
        bus->msi(bus->msi_opaque, ldq_le_p(entry + ENTRY_ADDR), ldl_le_p(entry + ENTRY_DATA));
    }
}

void pci_msix_notify(PciDevice *dev, unsigned n)
{
    PciMsix *msix = dev->msix;

    if (!pci_msix_enabled(dev) || n >= msix->n_vectors) {
        return;
    }
    if (vector_is_masked(msix, n)) {
        msix->pending[n / 8] |= 1 << (n % 8);
    } else {
        vector_send(msix, n);
    }
}

static void send_unmasked(PciMsix *msix)
{
    if (!pci_msix_enabled(msix->dev)) {
        return;
    }
    for (unsigned n = 0; n < msix->n_vectors; n++) {
        uint8_t bit = 1 << (n % 8);

        if ((msix->pending[n / 8] & bit) && !vector_is_masked(msix, n)) {
            msix->pending[n / 8] &= ~bit;
            vector_send(msix, n);
        }
    }
}

void pci_msix_config_written(PciDevice *dev)
{
    if (dev->msix) {
        send_unmasked(dev->msix);
    }
}

static uint64_t msix_read(void *opaque, hwaddr offset, unsigned size)
{
    PciMsix *msix = opaque;
    uint64_t value = 0;

    if (offset + size <= msix->n_vectors * ENTRY_SIZE) {
        memcpy(&value, msix->table + offset, size);
    } else if (offset >= PBA_OFFSET && offset + size <= PBA_OFFSET + sizeof(msix->pending)) {
        memcpy(&value, msix->pending + (offset - PBA_OFFSET), size);
    }
    return le64_to_cpu(value);
}

static void msix_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    PciMsix *msix = opaque;
    uint64_t bytes = cpu_to_le64(value);

    if (offset + size <= msix->n_vectors * ENTRY_SIZE) {
        memcpy(msix->table + offset, &bytes, size);
        send_unmasked(msix);
    }
}

static const MemoryOps msix_ops = {
    .read = msix_read, .write = msix_write, .min_size = 4, .max_size = 8,
};

void pci_msix_reset(PciDevice *dev)
{
    PciMsix *msix = dev->msix;

    if (!msix) {
        return;
    }
    memset(msix->table, 0, sizeof(msix->table));
    memset(msix->pending, 0, sizeof(msix->pending));
    for (unsigned n = 0; n < msix->n_vectors; n++) {
        msix->table[n * ENTRY_SIZE + ENTRY_CONTROL] = ENTRY_MASKED;
    }
}

static const VmStateDescription msix_state = {
    .name = "msix",
    .version = 1,
    .size = sizeof(PciMsix),
    .fields = (const VmField[]) {
        VM_ARRAY(PciMsix, table),
        VM_ARRAY(PciMsix, pending),
        {0},
    },
};

void pci_msix_add_state(PciDevice *dev, VmStateParts *parts)
{
    if (dev->msix) {
        vm_parts_add(parts, &msix_state, 0, dev->msix);
    }
}

void pci_msix_init(PciDevice *dev, unsigned n_vectors, int bar)
{
    PciMsix *msix = g_new0(PciMsix, 1);

    assert(n_vectors > 0 && n_vectors <= MAX_VECTORS);
    msix->dev = dev;
    msix->n_vectors = n_vectors;
    msix->cap = pci_add_capability(dev, PCI_CAP_ID_MSIX, CAP_SIZE);
    stw_le_p(dev->config + msix->cap + CAP_CONTROL, n_vectors - 1);
    stw_le_p(dev->wmask + msix->cap + CAP_CONTROL, CONTROL_ENABLE | CONTROL_MASK_ALL);
    stl_le_p(dev->config + msix->cap + CAP_TABLE, TABLE_OFFSET | bar);
    stl_le_p(dev->config + msix->cap + CAP_PBA, PBA_OFFSET | bar);
    pci_register_bar(dev, bar, PCI_BAR_MEM32, BAR_SIZE, &msix_ops, msix);
    dev->msix = msix;
    pci_msix_reset(dev);
}

void pci_msix_done(PciDevice *dev)
{
    g_clear_pointer(&dev->msix, g_free);
}
