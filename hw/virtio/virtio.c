/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/coroutine.h"
#include "hw/virtio/virtio.h"
#include "qemu/bits.h"
#include "qemu/error.h"
#include "qemu/log.h"
#include "system/bql.h"
#include "system/vmstate.h"
#include "vring.h"

/* ---- life ------------------------------------------------------------------------------------ */

static void queue_clear(VirtQueue *vq)
{
    vq->is_enabled = false;
    vq->num = vq->num_max;
    vq->vector = VIRTIO_NO_VECTOR;
    vq->desc = vq->avail = vq->used = 0;
    vq->last_avail = vq->used_idx = vq->signalled_used = 0;
    vq->signalled_valid = false;
    vq->in_use = 0;
}

static void queue_bh(void *opaque)
{
    VirtQueue *vq = opaque;

    if (virtio_may_take(vq->vdev) && vq->is_enabled) {
        vq->vdev->ops->handle_queue(vq->vdev, vq);
    }
}

static VirtioLoop *loop_of_ctx(VirtioDevice *vdev, AioContext *ctx)
{
    VirtioLoop *loop = vdev->loops;

    while (loop < vdev->loops + vdev->n_loops && loop->ctx != ctx) {
        loop++;
    }
    if (loop == vdev->loops + vdev->n_loops) {
        *loop = (VirtioLoop) {.vdev = vdev, .ctx = ctx, .index = vdev->n_loops++};
    }
    return loop;
}

static void queue_init(VirtQueue *vq, VirtioLoop *loop, const VirtioInit *init)
{
    vq->vdev = loop->vdev;
    vq->loop = loop;
    vq->num_max = init->queue_size;
    vq->bh = aio_bh_new(loop->ctx, queue_bh, vq);
    vq->notify.fn = virtqueue_notify_now;
    vq->notify.opaque = vq;
    queue_clear(vq);
}

void virtio_init(VirtioDevice *vdev, const VirtioInit *init)
{
    assert(init->n_queues <= VIRTIO_MAX_QUEUES && init->queue_size <= VIRTQUEUE_MAX_SIZE);
    *vdev = (VirtioDevice) {
        .ops = init->ops,
        .transport = init->transport,
        .transport_opaque = init->transport_opaque,
        .dma = init->dma,
        .loops = g_new0(VirtioLoop, init->n_queues),
        .n_queues = init->n_queues,
        .queues = g_new0(VirtQueue, init->n_queues),
        .config = g_malloc0(MAX(init->ops->config_size, 1)),
        .config_vector = VIRTIO_NO_VECTOR,
    };
    for (unsigned i = 0; i < init->n_queues; i++) {
        AioContext *ctx = init->queue_ctx ? init->queue_ctx[i] : init->ctx;

        vdev->queues[i].index = i;
        queue_init(&vdev->queues[i], loop_of_ctx(vdev, ctx), init);
    }
    vdev->host_features = vdev->ops->get_features(vdev) | VIRTIO_FEATURE(VIRTIO_F_VERSION_1) |
                          (init->event_idx ? VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX) : 0) |
                          (init->indirect_desc ? VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) : 0);
}

/* In @loop. */
static void cancel_deferred(VirtioLoop *loop)
{
    VirtioDevice *vdev = loop->vdev;

    for (unsigned i = 0; i < vdev->n_queues; i++) {
        if (vdev->queues[i].loop == loop) {
            aio_defer_cancel(loop->ctx, &vdev->queues[i].notify);
        }
    }
}

void virtio_done(VirtioDevice *vdev)
{
    for (unsigned i = 0; i < vdev->n_queues; i++) {
        qemu_bh_delete(vdev->queues[i].bh);
    }
    /* The main loop may have been reset by another thread; others did it themselves. */
    if (vdev->loops[0].ctx == qemu_get_aio_context()) {
        cancel_deferred(&vdev->loops[0]);
    }
    g_clear_pointer(&vdev->queues, g_free);
    g_clear_pointer(&vdev->loops, g_free);
    g_clear_pointer(&vdev->config, g_free);
    vdev->n_queues = vdev->n_loops = 0;
}

/* ---- interrupts ------------------------------------------------------------------------------ */

bool virtio_is_started(const VirtioDevice *vdev)
{
    return __atomic_load_n(&vdev->is_started, __ATOMIC_ACQUIRE) &&
           !__atomic_load_n(&vdev->is_broken, __ATOMIC_RELAXED);
}

bool virtio_may_take(const VirtioDevice *vdev)
{
    return virtio_is_started(vdev) && !__atomic_load_n(&vdev->is_held, __ATOMIC_ACQUIRE);
}

void virtio_config_changed(VirtioDevice *vdev)
{
    BQL_GUARD();
    if (vdev->status & VIRTIO_STATUS_DRIVER_OK) {
        vdev->config_generation++;
        vdev->transport->notify(vdev->transport_opaque, VIRTIO_ISR_CONFIG, vdev->config_vector);
    }
}

void virtio_error(VirtioDevice *vdev, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (__atomic_exchange_n(&vdev->is_broken, true, __ATOMIC_SEQ_CST)) {
        return;
    }
    qemu_log_mask(LOG_GUEST_ERROR, "%s: %s\n", vdev->ops->name, text);
    BQL_GUARD();
    vdev->status |= VIRTIO_STATUS_NEEDS_RESET;
    virtio_config_changed(vdev);
}

/* ---- status ---------------------------------------------------------------------------------- */

void virtio_kick(VirtioDevice *vdev, unsigned n)
{
    if (n < vdev->n_queues && vdev->queues[n].is_enabled && virtio_is_started(vdev)) {
        qemu_bh_schedule(vdev->queues[n].bh);
    }
}

static void device_start(VirtioDevice *vdev)
{
    if (vdev->ops->start) {
        vdev->ops->start(vdev);
    }
    __atomic_store_n(&vdev->is_started, true, __ATOMIC_RELEASE);
    /* Requests may have been queued before. */
    for (unsigned i = 0; i < vdev->n_queues; i++) {
        virtio_kick(vdev, i);
    }
}

void virtio_set_status(VirtioDevice *vdev, uint8_t status)
{
    uint8_t kept = vdev->status & VIRTIO_STATUS_NEEDS_RESET;

    if (vdev->reset_pending) {
        return;
    }
    if (!status) {
        virtio_reset(vdev);
        return;
    }
    if (!(vdev->status & VIRTIO_STATUS_FEATURES_OK) && (status & VIRTIO_STATUS_FEATURES_OK) &&
        !virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
        status &= ~VIRTIO_STATUS_FEATURES_OK; /* this device has no legacy interface */
    }
    if (!(status & VIRTIO_STATUS_FEATURES_OK)) {
        status &= ~VIRTIO_STATUS_DRIVER_OK;
    }
    if ((status & ~vdev->status) & VIRTIO_STATUS_DRIVER_OK) {
        vdev->status = status | kept;
        device_start(vdev);
    }
    vdev->status = status | kept | (vdev->status & VIRTIO_STATUS_DRIVER_OK);
}

void virtio_set_features(VirtioDevice *vdev, uint64_t features)
{
    if (!vdev->reset_pending && !(vdev->status & VIRTIO_STATUS_FEATURES_OK)) {
        vdev->guest_features = features & vdev->host_features;
    }
}

void virtio_queue_enable(VirtQueue *vq)
{
    if (!vq->vdev->reset_pending && is_power_of_2(vq->num) && vq->num <= vq->num_max) {
        vq->is_enabled = true;
        virtio_kick(vq->vdev, vq->index);
    }
}

/* ---- reset ----------------------------------------------------------------------------------- */

static void finish_reset(VirtioDevice *vdev)
{
    for (unsigned i = 0; i < vdev->n_queues; i++) {
        qemu_bh_cancel(vdev->queues[i].bh);
        queue_clear(&vdev->queues[i]);
    }
    vdev->guest_features = 0;
    vdev->config_vector = VIRTIO_NO_VECTOR;
    vdev->transport->reset(vdev->transport_opaque);
    __atomic_store_n(&vdev->is_broken, false, __ATOMIC_RELAXED);
    vdev->reset_pending = false;
    vdev->status = 0;
}

/* @loop has nothing in flight.  Only the last loop may touch the device afterwards. */
static void loop_quiet(VirtioLoop *loop)
{
    VirtioDevice *vdev = loop->vdev;

    if (__atomic_sub_fetch(&vdev->n_busy_loops, 1, __ATOMIC_ACQ_REL)) {
        return;
    }
    BQL_GUARD();
    if (vdev->reset_pending) {
        finish_reset(vdev);
    }
    vdev->hold_pending = false;
    qemu_notify_event(); /* virtio_reset_sync() may be waiting */
    if (vdev->waiter) {
        aio_co_schedule(qemu_get_aio_context(), g_steal_pointer(&vdev->waiter));
    }
}

static bool quiesce(VirtioLoop *loop)
{
    return !loop->vdev->ops->quiesce || loop->vdev->ops->quiesce(loop);
}

static void drop(VirtioLoop *loop)
{
    if (loop->vdev->ops->drop) {
        loop->vdev->ops->drop(loop);
    }
}

/* Whether an interrupt for what was pushed is still to come, at the end of this iteration. */
static bool has_deferred(const VirtioLoop *loop)
{
    const VirtioDevice *vdev = loop->vdev;

    for (unsigned i = 0; i < vdev->n_queues; i++) {
        if (vdev->queues[i].loop == loop && vdev->queues[i].notify.is_pending) {
            return true;
        }
    }
    return false;
}

/* There is a reset or a hold to wait for, not both: a machine that is held is not reset. */
static void quiesce_bh(void *opaque)
{
    VirtioLoop *loop = opaque;

    if (!quiesce(loop)) {
        return;
    }
    if (__atomic_load_n(&loop->vdev->is_started, __ATOMIC_ACQUIRE)) {
        if (has_deferred(loop)) {
            aio_bh_schedule_oneshot(loop->ctx, quiesce_bh, loop);
            return;
        }
    } else {
        drop(loop);
        cancel_deferred(loop);
    }
    loop_quiet(loop);
}

void virtio_loop_left(VirtioLoop *loop)
{
    /* Not here: who ended the request is not done with it, and whoever waits for the reset may
     * free what it still needs. */
    aio_bh_schedule_oneshot(loop->ctx, quiesce_bh, loop);
}

/* Whether nothing is in flight; otherwise the loops will tell. */
static bool begin_quiescing(VirtioDevice *vdev)
{
    VirtioLoop *first = &vdev->loops[0];

    __atomic_store_n(&vdev->n_busy_loops, vdev->n_loops, __ATOMIC_RELEASE);
    /* The main loop does its work with the machine lock, which we hold. */
    if (first->ctx == qemu_get_aio_context()) {
        assert(vdev->n_loops == 1);
        if (quiesce(first)) {
            drop(first);
            return true;
        }
        return false;
    }
    for (unsigned i = 0; i < vdev->n_loops; i++) {
        aio_bh_schedule_oneshot(vdev->loops[i].ctx, quiesce_bh, &vdev->loops[i]);
    }
    return false;
}

void virtio_reset(VirtioDevice *vdev)
{
    if (vdev->reset_pending) {
        return;
    }
    vdev->reset_pending = true;
    /*
     * Drivers begin with a reset.  With nothing to wait for it is over at once: the status is 0
     * before and after, so a driver could not see that it had to wait.
     */
    bool was_started = __atomic_exchange_n(&vdev->is_started, false, __ATOMIC_SEQ_CST);
    if (!was_started || begin_quiescing(vdev)) {
        finish_reset(vdev);
    }
}

static void coroutine_fn co_wait_for_reset(VirtioDevice *vdev)
{
    while (vdev->reset_pending) {
        vdev->waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
}

void virtio_reset_sync(VirtioDevice *vdev)
{
    virtio_reset(vdev);
    while (vdev->reset_pending) {
        aio_poll(qemu_get_aio_context(), true);
    }
}

void coroutine_fn virtio_co_reset(VirtioDevice *vdev)
{
    virtio_reset(vdev);
    co_wait_for_reset(vdev);
}

/* ---- at rest --------------------------------------------------------------------------------- */

void virtio_hold(VirtioDevice *vdev)
{
    __atomic_store_n(&vdev->is_held, true, __ATOMIC_SEQ_CST);
}

void coroutine_fn virtio_co_settle(VirtioDevice *vdev)
{
    co_wait_for_reset(vdev);
    if (!__atomic_load_n(&vdev->is_started, __ATOMIC_ACQUIRE)) {
        return;
    }
    vdev->hold_pending = true;
    __atomic_store_n(&vdev->n_busy_loops, vdev->n_loops, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < vdev->n_loops; i++) {
        aio_bh_schedule_oneshot(vdev->loops[i].ctx, quiesce_bh, &vdev->loops[i]);
    }
    while (vdev->hold_pending) {
        vdev->waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
}

void virtio_release(VirtioDevice *vdev)
{
    if (__atomic_exchange_n(&vdev->is_held, false, __ATOMIC_SEQ_CST)) {
        for (unsigned i = 0; i < vdev->n_queues; i++) {
            virtio_kick(vdev, i);
        }
    }
}

static bool virtio_check(const void *staged, const void *current, Error **errp)
{
    const VirtioDevice *new = staged, *old = current;

    if (new->guest_features & ~old->host_features) {
        error_setg(errp, "Features 0x%" PRIx64 " unsupported. Allowed features: 0x%" PRIx64,
                   new->guest_features, old->host_features);
        return false;
    }
    if (new->is_started != !!(new->status & VIRTIO_STATUS_DRIVER_OK)) {
        error_setg(errp, "status 0x%x does not agree with whether it was started", new->status);
        return false;
    }
    return true;
}

static const VmStateDescription virtio_state = {
    .name = "virtio",
    .version = 1,
    .size = sizeof(VirtioDevice),
    .fields = (const VmField[]) {
        VM_FIELD(VirtioDevice, status),
        VM_FIELD(VirtioDevice, config_generation),
        VM_FIELD(VirtioDevice, config_vector),
        VM_FIELD(VirtioDevice, guest_features),
        VM_BOOL(VirtioDevice, is_started),
        VM_BOOL(VirtioDevice, is_broken),
        {0},
    },
    .check = virtio_check,
};

static bool queue_check(const void *staged, const void *current, Error **errp)
{
    const VirtQueue *new = staged, *old = current;

    if (!is_power_of_2(new->num) || new->num > old->num_max) {
        error_setg(errp, "VQ %u size 0x%x exceeds 0x%x or is no power of 2", old->index, new->num,
                   old->num_max);
        return false;
    }
    return true;
}

static void queue_post_load(void *opaque)
{
    VirtQueue *vq = opaque;

    qemu_bh_cancel(vq->bh);
    vq->in_use = 0; /* the device takes those again that wait for being tried again */
}

static const VmStateDescription queue_state = {
    .name = "queue",
    .version = 1,
    .size = sizeof(VirtQueue),
    .fields = (const VmField[]) {
        VM_FIELD(VirtQueue, num),
        VM_FIELD(VirtQueue, vector),
        VM_BOOL(VirtQueue, is_enabled),
        VM_FIELD(VirtQueue, desc),
        VM_FIELD(VirtQueue, avail),
        VM_FIELD(VirtQueue, used),
        VM_FIELD(VirtQueue, last_avail),
        VM_FIELD(VirtQueue, used_idx),
        VM_FIELD(VirtQueue, signalled_used),
        VM_BOOL(VirtQueue, signalled_valid),
        {0},
    },
    .check = queue_check,
    .post_load = queue_post_load,
};

void virtio_add_state(VirtioDevice *vdev, VmStateParts *parts)
{
    vm_parts_add(parts, &virtio_state, 0, vdev);
    for (unsigned i = 0; i < vdev->n_queues; i++) {
        vm_parts_add(parts, &queue_state, i, &vdev->queues[i]);
    }
}

/* ---- configuration --------------------------------------------------------------------------- */

uint32_t virtio_config_read(VirtioDevice *vdev, unsigned offset, unsigned size)
{
    uint32_t value = 0;

    if (offset < vdev->ops->config_size && size <= vdev->ops->config_size - offset) {
        vdev->ops->get_config(vdev, vdev->config);
        memcpy(&value, vdev->config + offset, size);
    }
    return GUINT32_FROM_LE(value);
}

void virtio_config_write(VirtioDevice *vdev, unsigned offset, unsigned size, uint32_t value)
{
    uint32_t bytes = GUINT32_TO_LE(value);

    if (vdev->ops->set_config && !vdev->reset_pending && offset < vdev->ops->config_size &&
        size <= vdev->ops->config_size - offset) {
        vdev->ops->get_config(vdev, vdev->config);
        memcpy(vdev->config + offset, &bytes, size);
        vdev->ops->set_config(vdev, vdev->config, offset, size);
    }
}
