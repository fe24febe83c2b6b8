/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk: a disk.
 */
#ifndef HW_VIRTIO_VIRTIO_BLK_H
#define HW_VIRTIO_VIRTIO_BLK_H

#include "hw/block/conf.h"
#include "hw/virtio/virtio.h"
#include "hw/virtio/vq-mapping.h"
#include "qemu/queue.h"

typedef struct VirtioBlk VirtioBlk;
typedef struct VirtioBlkRequest VirtioBlkRequest;

/* What users set. */
typedef struct VirtioBlkConf {
    BlockConf block;
    IOThread *iothread;
    VqMapping *vq_mapping; /* or NULL: all queues in the iothread or the main loop */
    char *serial;
    uint16_t num_queues; /* VIRTIO_BLK_AUTO_QUEUES: one, or as the mapping has it */
    uint16_t queue_size;
    bool config_wce;
    bool discard, write_zeroes;
    uint32_t max_discard_sectors, max_write_zeroes_sectors;
    bool event_idx, indirect_desc;
} VirtioBlkConf;

#define VIRTIO_BLK_AUTO_QUEUES UINT16_MAX

/* What belongs to one loop, in which alone it is touched. */
typedef struct VirtioBlkLoop {
    VirtioBlk *s;
    VirtioLoop *loop;
    QEMUBH *retry;     /* submits what was parked */
    unsigned n_in_flight;
    bool must_quiesce; /* a reset waits until n_in_flight is 0 */
    QSIMPLEQ_HEAD(, VirtioBlkRequest) parked; /* failed; tried again when the machine goes on */
} VirtioBlkLoop;

/* Heads of requests that wait for being tried again: a bit each, while saved or loaded. */
typedef struct VirtioBlkParked {
    VirtioBlk *s;
    uint64_t heads[VIRTIO_MAX_QUEUES][VIRTQUEUE_MAX_SIZE / 64];
} VirtioBlkParked;

struct VirtioBlk {
    VirtioDevice vdev;
    VirtioBlkConf *conf;
    BlockBackend *blk;
    Device *dev;
    bool is_read_only;
    bool wce_default; /* write cache as the drive and the property say */
    bool wce;         /* as it is, while saved or loaded */
    VirtioBlkParked *parked;
    VirtioBlkLoop **loops; /* as vdev.loops */
};

/** Check @conf, attach the drive and set up s->vdev.  Coroutine, control lock, machine lock. */
bool coroutine_fn virtio_blk_realize(VirtioBlk *s, Device *dev, VirtioBlkConf *conf,
                                     const VirtioTransport *transport, void *transport_opaque,
                                     MemoryMap *dma, Error **errp);

/** List what must be saved beside its VirtioDevice. */
void virtio_blk_add_state(VirtioBlk *s, VmStateParts *parts);

/** Undo virtio_blk_realize(), ending requests first.  Same context. */
void coroutine_fn virtio_blk_unrealize(VirtioBlk *s);

#endif
