/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which iothread processes which queue of a virtio device: the property `iothread-vq-mapping`.
 *
 * The iothreads are in use, and so cannot be deleted, from the moment the property is set until the
 * device is freed.  Main thread.
 */
#ifndef HW_VIRTIO_VQ_MAPPING_H
#define HW_VIRTIO_VQ_MAPPING_H

#include "block/aio.h"
#include "system/device.h"

typedef struct VqMapping VqMapping;

extern const PropertyKind prop_kind_vq_mapping; /* VqMapping *; NULL: not set */

/** How many queues give each iothread its share if the user says nothing of their number. */
unsigned vq_mapping_natural_queues(const VqMapping *mapping);

/**
 * Assign @n_queues queues: as the lists say, or round robin if there are none.
 *
 * @queue_ctx: receives the loop of each queue.
 * Returns: false with @errp set if a queue has no iothread, or more than one.
 */
bool vq_mapping_apply(const VqMapping *mapping, unsigned n_queues, AioContext **queue_ctx,
                      Error **errp);

#endif
