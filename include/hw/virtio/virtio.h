/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio 1.x devices, whatever bus they sit on: features, status, split virtqueues.
 *
 * Who may touch what:
 *  - The guest's side (status, features, queue addresses) runs with the machine lock held.
 *  - A queue is processed in its loop only (the main loop or an iothread), several queues in
 *    several loops at once.  A kick by the guest schedules a bottom half there.
 *  - A queue's addresses and size do not change while it is enabled, and enabled queues stay so
 *    until a reset has finished.
 *  - A reset finishes when no loop of the device has a request in flight; until then the guest
 *    reads its old status, as the specification allows, and no CPU waits.
 *  - While the machine is saved or loaded the device is held: it takes nothing from its queues
 *    until the machine runs again, and what was in flight has ended or waits for being tried again.
 *  - Everything in the rings is hostile.  What breaks the rules breaks the device: it asks for a
 *    reset and touches guest memory no more.
 */
#ifndef HW_VIRTIO_VIRTIO_H
#define HW_VIRTIO_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "block/aio.h"
#include "qemu/iov.h"
#include "system/device.h"
#include "system/memory.h"

#define VIRTIO_MAX_QUEUES 64
#define VIRTQUEUE_MAX_SIZE 1024 /* also the most buffers of one request */
#define VIRTIO_NO_VECTOR 0xffff

enum { /* status */
    VIRTIO_STATUS_ACKNOWLEDGE = 1,
    VIRTIO_STATUS_DRIVER = 2,
    VIRTIO_STATUS_DRIVER_OK = 4,
    VIRTIO_STATUS_FEATURES_OK = 8,
    VIRTIO_STATUS_NEEDS_RESET = 64,
    VIRTIO_STATUS_FAILED = 128,
};
enum { /* feature bits of every device */
    VIRTIO_F_INDIRECT_DESC = 28,
    VIRTIO_F_EVENT_IDX = 29,
    VIRTIO_F_VERSION_1 = 32,
};
enum { /* interrupt reasons */
    VIRTIO_ISR_QUEUE = 1,
    VIRTIO_ISR_CONFIG = 2,
};
#define VIRTIO_FEATURE(bit) (UINT64_C(1) << (bit))

typedef struct VirtioDevice VirtioDevice;
typedef struct VirtQueue VirtQueue;

/* A loop that processes some of a device's queues. */
typedef struct VirtioLoop {
    VirtioDevice *vdev;
    AioContext *ctx;
    unsigned index; /* in vdev->loops */
} VirtioLoop;

/* A request: what the driver wrote for the device (out), and room for the answer (in). */
typedef struct VirtQueueElement {
    unsigned index;  /* of the head descriptor */
    unsigned n_out, n_in;
    struct iovec *out, *in; /* host addresses; arrays follow the structure */
} VirtQueueElement;

typedef struct VirtioDeviceOps {
    const char *name; /* in messages */
    /** Features offered beside those of every device. */
    uint64_t (*get_features)(VirtioDevice *vdev);
    size_t config_size;
    /** Copy the configuration; machine lock. */
    void (*get_config)(VirtioDevice *vdev, uint8_t *config);
    /** The guest wrote @len bytes at @offset; @config has the result.  May be NULL. */
    void (*set_config)(VirtioDevice *vdev, const uint8_t *config, unsigned offset, unsigned len);
    /** Process @vq.  Its loop, started. */
    void (*handle_queue)(VirtioDevice *vdev, VirtQueue *vq);
    /** DRIVER_OK was set.  Machine lock, any thread; may be NULL. */
    void (*start)(VirtioDevice *vdev);
    /**
     * A reset was asked for, or the device is held; nothing new is taken from queues.
     * Returns: true if no request of @loop's queues is in flight; otherwise the device calls
     * virtio_loop_left() when the last one has ended, and is asked again.
     * In @loop; if that is the main loop, any thread with the machine lock.  May be NULL.
     */
    bool (*quiesce)(VirtioLoop *loop);
    /** A reset: forget requests that are to be tried again.  Same context; may be NULL. */
    void (*drop)(VirtioLoop *loop);
} VirtioDeviceOps;

typedef struct VirtioTransport {
    /** Interrupt the guest for @isr; @vector may be VIRTIO_NO_VECTOR.  Machine lock. */
    void (*notify)(void *opaque, uint8_t isr, uint16_t vector);
    /** The device was reset.  Machine lock. */
    void (*reset)(void *opaque);
} VirtioTransport;

struct VirtQueue {
    VirtioDevice *vdev;
    VirtioLoop *loop;
    unsigned index;
    QEMUBH *bh;
    /* machine lock; fixed while enabled */
    uint16_t num, num_max, vector;
    bool is_enabled;
    hwaddr desc, avail, used;
    /* its loop */
    uint16_t last_avail, used_idx;
    uint16_t signalled_used;
    bool signalled_valid; /* signalled_used says when the driver was last interrupted */
    unsigned in_use;      /* popped and not pushed */
    AioDeferred notify;   /* one interrupt for all that finished in an iteration */
};

struct VirtioDevice {
    /* fixed after virtio_init */
    const VirtioDeviceOps *ops;
    const VirtioTransport *transport;
    void *transport_opaque;
    MemoryMap *dma;
    unsigned n_loops, n_queues;
    VirtioLoop *loops;
    VirtQueue *queues;
    uint64_t host_features;
    /* machine lock */
    uint8_t status;
    uint8_t config_generation;
    uint16_t config_vector;
    bool reset_pending;
    bool hold_pending;  /* virtio_co_settle() waits for loops */
    Coroutine *waiter;  /* sleeps until reset_pending, or hold_pending, is false */
    uint64_t guest_features;
    uint8_t *config;
    /* atomic */
    bool is_started; /* DRIVER_OK and no reset asked for */
    bool is_broken;
    bool is_held;    /* the machine rests: nothing is taken from queues */
    unsigned n_busy_loops; /* that a reset or virtio_co_settle() waits for */
};

/* ---- for devices ----------------------------------------------------------------------------- */

typedef struct VirtioInit {
    const VirtioDeviceOps *ops;
    const VirtioTransport *transport;
    void *transport_opaque;
    MemoryMap *dma;
    AioContext *ctx;              /* the loop of all queues, unless there are */
    AioContext *const *queue_ctx; /* iothreads' loops, one for each queue; or NULL */
    unsigned n_queues;
    uint16_t queue_size;
    bool event_idx, indirect_desc;
} VirtioInit;

/** Set up @vdev, embedded in the device's structure.  Main thread, machine lock. */
void virtio_init(VirtioDevice *vdev, const VirtioInit *init);

/** Undo virtio_init(); reset.  Main thread. */
void virtio_done(VirtioDevice *vdev);

static inline bool virtio_has_feature(const VirtioDevice *vdev, unsigned bit)
{
    return vdev->guest_features & VIRTIO_FEATURE(bit);
}

/** Whether requests may be taken, and ended. */
bool virtio_is_started(const VirtioDevice *vdev);

/** Take nothing more from queues.  Main thread, machine lock. */
void virtio_hold(VirtioDevice *vdev);

/** Then wait until nothing is in flight.  Main thread, machine lock. */
void coroutine_fn virtio_co_settle(VirtioDevice *vdev);

/** The machine runs: go on.  Main thread, machine lock; nothing if it was not held. */
void virtio_release(VirtioDevice *vdev);

/** List what must be saved of it, and of its queues. */
void virtio_add_state(VirtioDevice *vdev, VmStateParts *parts);

/** The driver broke the rules: log, ask it for a reset.  Any thread. */
void virtio_error(VirtioDevice *vdev, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/** The configuration changed: tell the driver.  Any thread. */
void virtio_config_changed(VirtioDevice *vdev);

/**
 * The last request in flight has ended after quiesce() said false: it is asked again soon, but not
 * before the caller has returned to @loop.  In @loop.
 */
void virtio_loop_left(VirtioLoop *loop);

/* ---- queues, each in its loop ---------------------------------------------------------------- */

/**
 * Take the next request.
 *
 * @size: of the structure that begins with a VirtQueueElement; allocated with g_malloc, and
 *        zeroed behind it.
 * Returns: NULL if there is none, or the driver broke the rules (the device is broken then).
 */
void *virtqueue_pop(VirtQueue *vq, size_t size);

/**
 * Take the request with head @index once more, which was taken before the machine was saved.
 * Otherwise as virtqueue_pop(); held, or in its loop.
 */
void *virtqueue_restore(VirtQueue *vq, unsigned index, size_t size);

/** Give a request back; @len: bytes written to its `in`.  Does not free it. */
void virtqueue_push(VirtQueue *vq, const VirtQueueElement *elem, uint32_t len);

/** Whether there is nothing to pop. */
bool virtqueue_is_empty(VirtQueue *vq);

/** Ask the driver for kicks, or say that none are needed. */
void virtqueue_set_notification(VirtQueue *vq, bool is_wanted);

/** Interrupt the driver for what was pushed, if it wants that, at the end of this iteration. */
void virtqueue_notify(VirtQueue *vq);

/* ---- for transports, machine lock ------------------------------------------------------------ */

/** The driver kicked queue @n. */
void virtio_kick(VirtioDevice *vdev, unsigned n);

/** The driver wrote the status. */
void virtio_set_status(VirtioDevice *vdev, uint8_t status);

/** Driver's features; refused once FEATURES_OK is set. */
void virtio_set_features(VirtioDevice *vdev, uint64_t features);

/** Enable a queue whose addresses and size are set. */
void virtio_queue_enable(VirtQueue *vq);

/** Read or write the configuration; bytes outside read as zero and ignore writes. */
uint32_t virtio_config_read(VirtioDevice *vdev, unsigned offset, unsigned size);
void virtio_config_write(VirtioDevice *vdev, unsigned offset, unsigned size, uint32_t value);

/** Reset by the driver or the machine; may finish later. */
void virtio_reset(VirtioDevice *vdev);

/** Reset and wait until it has finished.  Main thread; plain code, and a coroutine. */
void virtio_reset_sync(VirtioDevice *vdev);
void coroutine_fn virtio_co_reset(VirtioDevice *vdev);

#endif
