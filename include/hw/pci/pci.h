/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI: one bus, its devices' configuration space, BARs, INTx lines and MSI-X.
 *
 * Rules of use:
 *  - A device's type points to a PciClass in bus_class; its structure begins with a PciDevice; its
 *    realize/unrealize/reset are pci_device_realize/_unrealize/_reset, which call the class's.
 *  - The configuration space is bytes, little-endian: config (value), wmask (bits the guest may
 *    write), w1c (bits cleared by writing 1).  Set wmask before the guest runs.
 *  - Everything here: machine lock held.
 */
#ifndef HW_PCI_PCI_H
#define HW_PCI_PCI_H

#include "system/device.h"
#include "system/irq.h"
#include "system/memory.h"

#define PCI_BUS_TYPE_NAME "PCI"
#define PCI_CONFIG_SIZE 256
#define PCI_N_BARS 6
#define PCI_N_DEVFN 256
#define PCI_DEVFN(slot, fn) (((slot) & 0x1f) << 3 | ((fn) & 7))
#define PCI_SLOT(devfn) (((devfn) >> 3) & 0x1f)
#define PCI_FUNC(devfn) ((devfn) & 7)

enum { /* offsets in configuration space */
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION_ID = 0x08,
    PCI_CLASS_PROG = 0x09,
    PCI_CLASS_DEVICE = 0x0a,
    PCI_CACHE_LINE_SIZE = 0x0c,
    PCI_LATENCY_TIMER = 0x0d,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BASE_ADDRESS_0 = 0x10,
    PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
    PCI_SUBSYSTEM_ID = 0x2e,
    PCI_CAPABILITY_LIST = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
};
enum {
    PCI_COMMAND_IO = 0x1,
    PCI_COMMAND_MEMORY = 0x2,
    PCI_COMMAND_MASTER = 0x4,
    PCI_COMMAND_SERR = 0x100,
    PCI_COMMAND_INTX_DISABLE = 0x400,
};
enum {
    PCI_STATUS_INTERRUPT = 0x08,
    PCI_STATUS_CAP_LIST = 0x10,
};
#define PCI_HEADER_MULTIFUNCTION 0x80
#define PCI_CAP_ID_VENDOR 0x09
#define PCI_CAP_ID_MSIX 0x11

typedef struct PciBus PciBus;
typedef struct PciDevice PciDevice;
typedef struct PciMsix PciMsix;

typedef struct PciClass {
    uint16_t vendor_id, device_id;
    uint16_t subsystem_vendor_id, subsystem_id;
    uint8_t revision;
    uint32_t class_code; /* base class, subclass, programming interface */
    uint8_t interrupt_pin; /* 1..4: INTA..D; 0: none */
    bool is_multifunction;
    bool (*realize)(PciDevice *dev, Error **errp);
    void (*unrealize)(PciDevice *dev);
    void (*reset)(PciDevice *dev);
    /* After a guest's write changed the configuration space; may be NULL. */
    void (*config_written)(PciDevice *dev, unsigned offset, unsigned size);
    /* Before the guest reads there; may be NULL. */
    void (*config_reading)(PciDevice *dev, unsigned offset, unsigned size);
} PciClass;

typedef enum PciBarKind {
    PCI_BAR_NONE,
    PCI_BAR_IO,
    PCI_BAR_MEM32,
    PCI_BAR_MEM64, /* takes the next BAR too; prefetchable */
} PciBarKind;

typedef struct PciBar {
    PciBarKind kind;
    uint64_t size;        /* a power of two */
    MemoryRegion *region; /* enabled while the guest lets it answer */
} PciBar;

struct PciDevice {
    Device dev;
    /* properties */
    int32_t devfn;        /* -1: next free slot */
    bool multifunction;
    /* state */
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t wmask[PCI_CONFIG_SIZE];
    uint8_t w1c[PCI_CONFIG_SIZE];
    PciBar bars[PCI_N_BARS];
    unsigned cap_next;    /* where the next capability goes */
    bool intx_level;      /* what the device asks for */
    bool intx_driven;     /* what the line has */
    PciMsix *msix;
};

struct PciBus {
    Bus bus;
    MemoryMap *mem;    /* bus addresses of memory BARs */
    MemoryMap *ports;  /* of I/O BARs */
    MemoryMap *dma;    /* what bus masters reach */
    PciDevice *devices[PCI_N_DEVFN];
    IrqLine *intx[4];  /* borrowed */
    unsigned intx_count[4];
    void (*msi)(void *opaque, hwaddr addr, uint32_t data);
    void *msi_opaque;
    /* configuration mechanism #1 */
    uint32_t config_address;
    MemoryRegion *regions[3];
};

/* ---- the board ------------------------------------------------------------------------------- */

typedef struct PciBusConfig {
    MemoryMap *memory;  /* physical memory: ECAM and windows go there; bus masters reach it */
    MemoryMap *ports;   /* 0xcf8 and 0xcfc go there */
    hwaddr ecam_base;   /* bus << 20 | device << 15 | function << 12 | register */
    uint64_t ecam_size;
    IrqLine *intx[4];   /* lines 0..3 */
    void (*msi)(void *opaque, hwaddr addr, uint32_t data);
    void *msi_opaque;
} PciBusConfig;

/** Set up a bus named @name. */
void pci_bus_init(PciBus *bus, const char *name, const PciBusConfig *config);

/** Undo pci_bus_init(); no device may be left. */
void pci_bus_done(PciBus *bus);

/** As after power-on. */
void pci_bus_reset(PciBus *bus);

/** List what must be saved of the bus; its devices see to themselves. */
void pci_bus_add_state(PciBus *bus, VmStateParts *parts);

/** Append what `info pci` shows. */
void pci_describe(PciBus *bus, GString *out);

/* ---- devices --------------------------------------------------------------------------------- */

extern const DeviceProperty pci_props[]; /* addr, multifunction */

/** For DeviceType. */
bool pci_device_realize(Device *dev, Error **errp);
void pci_device_unrealize(Device *dev);
void pci_device_reset(Device *dev);
/** Lists configuration space and MSI-X; devices with more to save call it in their own. */
void pci_device_add_state(Device *dev, VmStateParts *parts);

PciBus *pci_get_bus(const PciDevice *dev);

/** What the device reaches as bus master. */
MemoryMap *pci_dma_map(const PciDevice *dev);

/** Whether the guest allows the device to be a bus master. */
bool pci_is_bus_master(const PciDevice *dev);

/** Make BAR @n: registers of @size bytes, a power of two. */
void pci_register_bar(PciDevice *dev, int n, PciBarKind kind, uint64_t size, const MemoryOps *ops,
                      void *opaque);

/**
 * Add a capability of @size bytes.  Its id and link are set; the rest is zero and read-only.
 * Returns: its offset.
 */
unsigned pci_add_capability(PciDevice *dev, uint8_t id, unsigned size);

/** Set the level of the device's INTx pin. */
void pci_set_irq(PciDevice *dev, bool level);

/* ---- MSI-X ----------------------------------------------------------------------------------- */

/**
 * Offer @n_vectors vectors with table and pending bits in a 4 KiB-aligned memory BAR @bar.
 * Before the guest runs.
 */
void pci_msix_init(PciDevice *dev, unsigned n_vectors, int bar);

/** Whether the guest uses MSI-X now, instead of INTx. */
bool pci_msix_enabled(const PciDevice *dev);

/** How many vectors there are; 0 without MSI-X. */
unsigned pci_msix_count(const PciDevice *dev);

/** Send vector @n, or remember it while masked.  Ignored if there is no such vector. */
void pci_msix_notify(PciDevice *dev, unsigned n);

/* For pci.c. */
void pci_msix_config_written(PciDevice *dev);
void pci_msix_reset(PciDevice *dev);
void pci_msix_add_state(PciDevice *dev, VmStateParts *parts);
void pci_msix_done(PciDevice *dev);

#endif
