/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Split virtqueues.  Everything read from guest memory is read once and checked. */
#include "qemu/osdep.h"

#include "hw/virtio/virtio.h"
#include "qemu/atomic.h"
#include "system/bql.h"
#include "system/dma.h"
#include "vring.h"

enum { /* descriptor flags */
    DESC_NEXT = 1,
    DESC_WRITE = 2,
    DESC_INDIRECT = 4,
};
#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY 1

typedef struct QEMU_PACKED VringDesc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
} VringDesc;
static_assert(sizeof(VringDesc) == 16, "virtio 1.x, 2.7.5");

typedef struct QEMU_PACKED VringUsedElem {
    uint32_t id;
    uint32_t len;
} VringUsedElem;

/* Offsets in the rings. */
#define RING_FLAGS 0
#define RING_IDX 2
#define RING_ENTRIES 4

/* ---- words of the rings ---------------------------------------------------------------------- */

static bool load16(VirtQueue *vq, hwaddr addr, uint16_t *value)
{
    if (dma_load_le16(vq->vdev->dma, addr, value) != MEM_OK) {
        virtio_error(vq->vdev, "queue %u: ring at 0x%" PRIx64 " is not in memory", vq->index, addr);
        return false;
    }
    return true;
}

static bool store16(VirtQueue *vq, hwaddr addr, uint16_t value)
{
    if (dma_store_le16(vq->vdev->dma, addr, value) != MEM_OK) {
        virtio_error(vq->vdev, "queue %u: ring at 0x%" PRIx64 " is not in memory", vq->index, addr);
        return false;
    }
    return true;
}

/* The driver's word that says when it wants an interrupt lies behind the avail ring. */
static hwaddr used_event_addr(const VirtQueue *vq)
{
    return vq->avail + RING_ENTRIES + 2 * vq->num;
}

/* Ours that says when we want a kick lies behind the used ring. */
static hwaddr avail_event_addr(const VirtQueue *vq)
{
    return vq->used + RING_ENTRIES + sizeof(VringUsedElem) * vq->num;
}

/* How many requests wait; false if the ring makes no sense. */
static bool avail_count(VirtQueue *vq, uint16_t *count)
{
    uint16_t idx;

    if (!load16(vq, vq->avail + RING_IDX, &idx)) {
        return false;
    }
    *count = idx - vq->last_avail;
    if (*count > vq->num) {
        virtio_error(vq->vdev, "queue %u: driver moved avail index from %u to %u", vq->index,
                     vq->last_avail, idx);
        return false;
    }
    /* What the driver wrote before the index is seen from here on. */
    smp_rmb();
    return true;
}

bool virtqueue_is_empty(VirtQueue *vq)
{
    uint16_t count;

    return !virtio_may_take(vq->vdev) || !avail_count(vq, &count) || !count;
}

void virtqueue_set_notification(VirtQueue *vq, bool is_wanted)
{
    if (!virtio_is_started(vq->vdev)) {
        return;
    }
    if (!virtio_has_feature(vq->vdev, VIRTIO_F_EVENT_IDX)) {
        store16(vq, vq->used + RING_FLAGS, is_wanted ? 0 : USED_NO_NOTIFY);
    } else if (is_wanted) {
        store16(vq, avail_event_addr(vq), vq->last_avail);
    }
    if (is_wanted) {
        /* Tell first, look again after: the driver does the opposite. */
        smp_mb();
    }
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* A chain of descriptors while it is followed. */
typedef struct Chain {
    VirtQueue *vq;
    hwaddr table;
    unsigned table_len; /* descriptors in the table */
    unsigned n_seen;
    unsigned n_out, n_in;
    QEMUIOVector iov;   /* out, then in */
} Chain;

static bool read_desc(Chain *chain, unsigned n, VringDesc *desc)
{
    VirtioDevice *vdev = chain->vq->vdev;

    if (n >= chain->table_len) {
        virtio_error(vdev, "queue %u: descriptor %u is beyond the table", chain->vq->index, n);
        return false;
    }
    if (chain->n_seen++ >= chain->table_len) {
        virtio_error(vdev, "queue %u: descriptors form a loop", chain->vq->index);
        return false;
    }
    if (dma_read(vdev->dma, chain->table + n * sizeof(*desc), desc, sizeof(*desc)) != MEM_OK) {
        virtio_error(vdev, "queue %u: descriptors are not in memory", chain->vq->index);
        return false;
    }
    desc->addr = GUINT64_FROM_LE(desc->addr);
    desc->len = GUINT32_FROM_LE(desc->len);
    desc->flags = GUINT16_FROM_LE(desc->flags);
    desc->next = GUINT16_FROM_LE(desc->next);
    return true;
}

/* Go on in the table that @desc points to. */
static bool enter_indirect(Chain *chain, const VringDesc *desc)
{
    VirtioDevice *vdev = chain->vq->vdev;

    if (!virtio_has_feature(vdev, VIRTIO_F_INDIRECT_DESC) || (desc->flags & DESC_NEXT) ||
        !desc->len || desc->len % sizeof(*desc) ||
        desc->len / sizeof(*desc) > VIRTQUEUE_MAX_SIZE) {
        virtio_error(vdev, "queue %u: invalid indirect table of %u bytes", chain->vq->index,
                     desc->len);
        return false;
    }
    chain->table = desc->addr;
    chain->table_len = desc->len / sizeof(*desc);
    chain->n_seen = 0;
    return true;
}

static bool add_buffer(Chain *chain, const VringDesc *desc)
{
    VirtioDevice *vdev = chain->vq->vdev;
    bool is_in = desc->flags & DESC_WRITE;
    int before = chain->iov.niov;

    if (!desc->len) {
        virtio_error(vdev, "queue %u: empty buffer", chain->vq->index);
        return false;
    }
    if (chain->n_in && !is_in) {
        virtio_error(vdev, "queue %u: device-readable buffer after a writable one",
                     chain->vq->index);
        return false;
    }
    if (dma_map_iov(vdev->dma, desc->addr, desc->len, is_in ? DMA_FROM_DEVICE : DMA_TO_DEVICE,
                    &chain->iov) != MEM_OK) {
        virtio_error(vdev, "queue %u: buffer of %u bytes at 0x%" PRIx64 " is not in memory",
                     chain->vq->index, desc->len, desc->addr);
        return false;
    }
    if (chain->iov.niov > VIRTQUEUE_MAX_SIZE) {
        virtio_error(vdev, "queue %u: request has too many buffers", chain->vq->index);
        return false;
    }
    *(is_in ? &chain->n_in : &chain->n_out) += chain->iov.niov - before;
    return true;
}

static bool follow_chain(Chain *chain, unsigned head)
{
    bool is_indirect = false;
    VringDesc desc;

    if (!read_desc(chain, head, &desc)) {
        return false;
    }
    if (desc.flags & DESC_INDIRECT) {
        is_indirect = true;
        if (!enter_indirect(chain, &desc) || !read_desc(chain, 0, &desc)) {
            return false;
        }
    }
    for (;;) {
        if ((desc.flags & DESC_INDIRECT)) {
            virtio_error(chain->vq->vdev, "queue %u: indirect descriptor %s", chain->vq->index,
                         is_indirect ? "in an indirect table" : "inside of a chain");
            return false;
        }
        if (!add_buffer(chain, &desc)) {
            return false;
        }
        if (!(desc.flags & DESC_NEXT)) {
            return true;
        }
        if (!read_desc(chain, desc.next, &desc)) {
            return false;
        }
    }
}

static void *make_element(const Chain *chain, unsigned head, size_t size)
{
    size_t iov_at = QEMU_ALIGN_UP(size, _Alignof(struct iovec));
    size_t iov_bytes = sizeof(struct iovec) * (chain->n_out + chain->n_in);
    VirtQueueElement *elem = g_malloc(iov_at + iov_bytes);

    memset(elem, 0, size);
    elem->index = head;
    elem->n_out = chain->n_out;
    elem->n_in = chain->n_in;
    elem->out = (struct iovec *)((char *)elem + iov_at);
    elem->in = elem->out + chain->n_out;
    memcpy(elem->out, chain->iov.iov, iov_bytes);
    return elem;
}

/* The head of the next request; false if there is none. */
static bool take_head(VirtQueue *vq, uint16_t *head)
{
    uint16_t count;

    if (!virtio_may_take(vq->vdev) || !avail_count(vq, &count) || !count) {
        return false;
    }
    if (vq->in_use >= vq->num) {
        virtio_error(vq->vdev, "queue %u: more requests than the queue holds", vq->index);
        return false;
    }
    if (!load16(vq, vq->avail + RING_ENTRIES + 2 * (vq->last_avail % vq->num), head)) {
        return false;
    }
    if (*head >= vq->num) {
        virtio_error(vq->vdev, "queue %u: driver made descriptor %u available", vq->index, *head);
        return false;
    }
    return true;
}

/* The request with that head, or NULL. */
static void *take_chain(VirtQueue *vq, unsigned head, size_t size)
{
    Chain chain = {.vq = vq, .table = vq->desc, .table_len = vq->num};
    void *elem = NULL;

    assert(size >= sizeof(VirtQueueElement));
    qemu_iovec_init(&chain.iov, 8);
    if (follow_chain(&chain, head)) {
        elem = make_element(&chain, head, size);
        vq->in_use++;
    }
    qemu_iovec_destroy(&chain.iov);
    return elem;
}

void *virtqueue_pop(VirtQueue *vq, size_t size)
{
    void *elem = NULL;
    uint16_t head;

    if (take_head(vq, &head)) {
        elem = take_chain(vq, head, size);
        vq->last_avail += elem ? 1 : 0;
    }
    return elem;
}

void *virtqueue_restore(VirtQueue *vq, unsigned index, size_t size)
{
    return virtio_is_started(vq->vdev) && vq->is_enabled ? take_chain(vq, index, size) : NULL;
}

/* ---- giving back ----------------------------------------------------------------------------- */

void virtqueue_push(VirtQueue *vq, const VirtQueueElement *elem, uint32_t len)
{
    VringUsedElem used = {GUINT32_TO_LE(elem->index), GUINT32_TO_LE(len)};
    hwaddr entry = vq->used + RING_ENTRIES + sizeof(used) * (vq->used_idx % vq->num);

    vq->in_use--;
    if (!virtio_is_started(vq->vdev)) {
        return;
    }
    if (dma_write(vq->vdev->dma, entry, &used, sizeof(used)) != MEM_OK) {
        virtio_error(vq->vdev, "queue %u: used ring is not in memory", vq->index);
        return;
    }
    /* The entry is seen before the index that covers it. */
    smp_wmb();
    vq->used_idx++;
    store16(vq, vq->used + RING_IDX, vq->used_idx);
    /* An index that has gone round cannot be compared with any more. */
    if ((uint16_t)(vq->used_idx - vq->signalled_used) == 0) {
        vq->signalled_valid = false;
    }
}

/* Whether the driver wants to hear of the entries since the last interrupt. */
static bool interrupt_is_wanted(VirtQueue *vq)
{
    uint16_t old = vq->signalled_used;
    bool was_valid = vq->signalled_valid;
    uint16_t word;

    /* The index is seen before we look whether anybody wants to know. */
    smp_mb();
    if (!virtio_has_feature(vq->vdev, VIRTIO_F_EVENT_IDX)) {
        return load16(vq, vq->avail + RING_FLAGS, &word) && !(word & AVAIL_NO_INTERRUPT);
    }
    vq->signalled_used = vq->used_idx;
    vq->signalled_valid = true;
    if (!load16(vq, used_event_addr(vq), &word)) {
        return false;
    }
    return !was_valid ||
           (uint16_t)(vq->used_idx - word - 1) < (uint16_t)(vq->used_idx - old);
}

void virtqueue_notify_now(void *opaque)
{
    VirtQueue *vq = opaque;
    VirtioDevice *vdev = vq->vdev;

    if (virtio_is_started(vdev) && interrupt_is_wanted(vq)) {
        BQL_GUARD();
        if (virtio_is_started(vdev)) {
            vdev->transport->notify(vdev->transport_opaque, VIRTIO_ISR_QUEUE, vq->vector);
        }
    }
}

void virtqueue_notify(VirtQueue *vq)
{
    aio_defer_call(vq->loop->ctx, &vq->notify);
}
