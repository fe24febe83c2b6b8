/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI, virtio 1.x ("modern") only.
 *
 * A device's structure begins with a VirtioPci; its PciClass's realize calls
 * virtio_pci_realize() after virtio_init(), and its hooks are the two below.
 */
#ifndef HW_VIRTIO_VIRTIO_PCI_H
#define HW_VIRTIO_VIRTIO_PCI_H

#include "hw/pci/pci.h"
#include "hw/virtio/virtio.h"

#define VIRTIO_PCI_VENDOR_ID 0x1af4
#define VIRTIO_PCI_SUBSYSTEM_ID 0x1100
/* Device ids are this plus the virtio device type. */
#define VIRTIO_PCI_DEVICE_ID_BASE 0x1040
#define VIRTIO_PCI_MAX_VECTORS 128

typedef struct VirtioPci {
    PciDevice pci;
    VirtioDevice *vdev;
    unsigned config_cap; /* capability through which BAR contents can be reached */
    /* machine lock */
    uint8_t isr;
    uint32_t device_feature_select, driver_feature_select;
    uint64_t driver_features;
    uint16_t queue_select;
} VirtioPci;

extern const VirtioTransport virtio_pci_transport; /* opaque: the VirtioPci */

/** Make BARs and capabilities for @vdev, with @n_vectors of MSI-X (0: none). */
void virtio_pci_realize(VirtioPci *proxy, VirtioDevice *vdev, unsigned n_vectors);

/** List what must be saved of transport, PCI device and queues. */
void virtio_pci_add_state(VirtioPci *proxy, VmStateParts *parts);

/** PciClass hooks. */
void virtio_pci_config_reading(PciDevice *dev, unsigned offset, unsigned size);
void virtio_pci_config_written(PciDevice *dev, unsigned offset, unsigned size);

#endif
