/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What virtio.c needs of vring.c.
 */
#ifndef HW_VIRTIO_VRING_H
#define HW_VIRTIO_VRING_H

#include "hw/virtio/virtio.h"

/** AioDeferred function of a VirtQueue: interrupt the driver if it wants that. */
void virtqueue_notify_now(void *opaque);

/** Whether requests may be taken from queues. */
bool virtio_may_take(const VirtioDevice *vdev);

#endif
