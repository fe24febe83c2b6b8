/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio device types, for the list of all devices.
 */
#ifndef HW_VIRTIO_VIRTIO_TYPES_H
#define HW_VIRTIO_VIRTIO_TYPES_H

#include "system/device.h"

extern const DeviceType virtio_blk_pci_type;

#endif
