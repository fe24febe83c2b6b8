/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio 1.x, section 4.1.  Legacy (transitional) registers are absent. */
#include "qemu/osdep.h"

#include "hw/virtio/virtio-pci.h"
#include "qemu/bswap.h"
#include "system/vmstate.h"

/* One BAR holds four areas. */
#define MODERN_BAR 4
#define MSIX_BAR 1
#define AREA_SIZE 0x1000
#define AREA_COMMON 0x0000
#define AREA_ISR 0x1000
#define AREA_DEVICE 0x2000
#define AREA_NOTIFY 0x3000
#define BAR_SIZE 0x4000
#define NOTIFY_MULTIPLIER 4

enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4, CAP_PCI_CONFIG = 5 };

/* Capability fields. */
#define CAP_LEN 2
#define CAP_TYPE 3
#define CAP_BAR 4
#define CAP_OFFSET 8
#define CAP_LENGTH 12
#define CAP_SIZE 16
#define CAP_NOTIFY_MULTIPLIER 16
#define CAP_NOTIFY_SIZE 20
#define CAP_CONFIG_DATA 16
#define CAP_CONFIG_SIZE 20

enum { /* common configuration */
    COMMON_DEVICE_FEATURE_SELECT = 0x00,
    COMMON_DEVICE_FEATURE = 0x04,
    COMMON_DRIVER_FEATURE_SELECT = 0x08,
    COMMON_DRIVER_FEATURE = 0x0c,
    COMMON_CONFIG_VECTOR = 0x10,
    COMMON_NUM_QUEUES = 0x12,
    COMMON_STATUS = 0x14,
    COMMON_GENERATION = 0x15,
    COMMON_QUEUE_SELECT = 0x16,
    COMMON_QUEUE_SIZE = 0x18,
    COMMON_QUEUE_VECTOR = 0x1a,
    COMMON_QUEUE_ENABLE = 0x1c,
    COMMON_QUEUE_NOTIFY_OFF = 0x1e,
    COMMON_QUEUE_DESC = 0x20,
    COMMON_QUEUE_AVAIL = 0x28,
    COMMON_QUEUE_USED = 0x30,
};

/* ---- interrupts ------------------------------------------------------------------------------ */

static void pci_notify(void *opaque, uint8_t isr, uint16_t vector)
{
    VirtioPci *proxy = opaque;

    if (pci_msix_enabled(&proxy->pci)) {
        pci_msix_notify(&proxy->pci, vector);
    } else {
        proxy->isr |= isr;
        pci_set_irq(&proxy->pci, true);
    }
}

static void pci_transport_reset(void *opaque)
{
    VirtioPci *proxy = opaque;

    proxy->isr = 0;
    proxy->device_feature_select = proxy->driver_feature_select = 0;
    proxy->driver_features = 0;
    proxy->queue_select = 0;
    pci_set_irq(&proxy->pci, false);
}

const VirtioTransport virtio_pci_transport = {
    .notify = pci_notify, .reset = pci_transport_reset,
};

/* ---- common configuration -------------------------------------------------------------------- */

static VirtQueue *selected_queue(const VirtioPci *proxy)
{
    return proxy->queue_select < proxy->vdev->n_queues ? &proxy->vdev->queues[proxy->queue_select]
                                                       : NULL;
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
    return select < 2 ? features >> (32 * select) : 0;
}

static uint32_t read_queue(const VirtQueue *vq, unsigned reg)
{
    switch (reg) {
    case COMMON_QUEUE_SIZE:
        return vq->num;
    case COMMON_QUEUE_VECTOR:
        return vq->vector;
    case COMMON_QUEUE_ENABLE:
        return vq->is_enabled;
    case COMMON_QUEUE_NOTIFY_OFF:
        return vq->index;
    case COMMON_QUEUE_DESC:
        return vq->desc;
    case COMMON_QUEUE_DESC + 4:
        return vq->desc >> 32;
    case COMMON_QUEUE_AVAIL:
        return vq->avail;
    case COMMON_QUEUE_AVAIL + 4:
        return vq->avail >> 32;
    case COMMON_QUEUE_USED:
        return vq->used;
    case COMMON_QUEUE_USED + 4:
        return vq->used >> 32;
    default:
        return 0;
    }
}

static uint32_t read_common(VirtioPci *proxy, unsigned reg)
{
    VirtioDevice *vdev = proxy->vdev;

    switch (reg) {
    case COMMON_DEVICE_FEATURE_SELECT:
        return proxy->device_feature_select;
    case COMMON_DEVICE_FEATURE:
        return feature_word(vdev->host_features, proxy->device_feature_select);
    case COMMON_DRIVER_FEATURE_SELECT:
        return proxy->driver_feature_select;
    case COMMON_DRIVER_FEATURE:
        return feature_word(proxy->driver_features, proxy->driver_feature_select);
    case COMMON_CONFIG_VECTOR:
        return vdev->config_vector;
    case COMMON_NUM_QUEUES:
        return vdev->n_queues;
    case COMMON_STATUS:
        return vdev->status;
    case COMMON_GENERATION:
        return vdev->config_generation;
    case COMMON_QUEUE_SELECT:
        return proxy->queue_select;
    default:
        return selected_queue(proxy) ? read_queue(selected_queue(proxy), reg) : 0;
    }
}

static void set_low(hwaddr *addr, uint32_t value)
{
    *addr = (*addr & ~(hwaddr)UINT32_MAX) | value;
}

static void set_high(hwaddr *addr, uint32_t value)
{
    *addr = (*addr & UINT32_MAX) | (hwaddr)value << 32;
}

static uint16_t checked_vector(const VirtioPci *proxy, uint32_t value)
{
    /* A vector that does not exist reads back as none: the driver falls back. */
    return proxy->pci.msix && value < pci_msix_count(&proxy->pci) ? value : VIRTIO_NO_VECTOR;
}

static void write_queue(VirtioPci *proxy, VirtQueue *vq, unsigned reg, uint32_t value)
{
    if (reg == COMMON_QUEUE_VECTOR) {
        vq->vector = checked_vector(proxy, value);
        return;
    }
    if (vq->is_enabled) {
        return;
    }
    switch (reg) {
    case COMMON_QUEUE_SIZE:
        if (value && value <= vq->num_max && !(value & (value - 1))) {
            vq->num = value;
        }
        break;
    case COMMON_QUEUE_ENABLE:
        if (value == 1) {
            virtio_queue_enable(vq);
        }
        break;
    case COMMON_QUEUE_DESC:
        set_low(&vq->desc, value);
        break;
    case COMMON_QUEUE_DESC + 4:
        set_high(&vq->desc, value);
        break;
    case COMMON_QUEUE_AVAIL:
        set_low(&vq->avail, value);
        break;
    case COMMON_QUEUE_AVAIL + 4:
        set_high(&vq->avail, value);
        break;
    case COMMON_QUEUE_USED:
        set_low(&vq->used, value);
        break;
    case COMMON_QUEUE_USED + 4:
        set_high(&vq->used, value);
        break;
    }
}

static void write_driver_feature(VirtioPci *proxy, uint32_t value)
{
    unsigned shift = 32 * proxy->driver_feature_select;

    if (proxy->driver_feature_select < 2) {
        proxy->driver_features &= ~((uint64_t)UINT32_MAX << shift);
        proxy->driver_features |= (uint64_t)value << shift;
        virtio_set_features(proxy->vdev, proxy->driver_features);
    }
}

static void write_common(VirtioPci *proxy, unsigned reg, uint32_t value)
{
    VirtioDevice *vdev = proxy->vdev;
    VirtQueue *vq = selected_queue(proxy);

    if (vdev->reset_pending) {
        return;
    }
    switch (reg) {
    case COMMON_DEVICE_FEATURE_SELECT:
        proxy->device_feature_select = value;
        break;
    case COMMON_DRIVER_FEATURE_SELECT:
        proxy->driver_feature_select = value;
        break;
    case COMMON_DRIVER_FEATURE:
        write_driver_feature(proxy, value);
        break;
    case COMMON_CONFIG_VECTOR:
        vdev->config_vector = checked_vector(proxy, value);
        break;
    case COMMON_STATUS:
        virtio_set_status(vdev, value);
        break;
    case COMMON_QUEUE_SELECT:
        proxy->queue_select = value;
        break;
    default:
        if (vq) {
            write_queue(proxy, vq, reg, value);
        }
        break;
    }
}

/* ---- the BAR --------------------------------------------------------------------------------- */

static uint8_t read_isr(VirtioPci *proxy)
{
    uint8_t isr = proxy->isr;

    proxy->isr = 0;
    pci_set_irq(&proxy->pci, false);
    return isr;
}

static uint64_t modern_read(void *opaque, hwaddr offset, unsigned size)
{
    VirtioPci *proxy = opaque;
    unsigned reg = offset % AREA_SIZE;

    switch (offset - reg) {
    case AREA_COMMON:
        return read_common(proxy, reg);
    case AREA_ISR:
        return reg ? 0 : read_isr(proxy);
    case AREA_DEVICE:
        return virtio_config_read(proxy->vdev, reg, size);
    default:
        return 0;
    }
}

static void modern_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    VirtioPci *proxy = opaque;
    unsigned reg = offset % AREA_SIZE;

    switch (offset - reg) {
    case AREA_COMMON:
        write_common(proxy, reg, value);
        break;
    case AREA_DEVICE:
        virtio_config_write(proxy->vdev, reg, size, value);
        break;
    case AREA_NOTIFY:
        virtio_kick(proxy->vdev, reg / NOTIFY_MULTIPLIER);
        break;
    }
}

static const MemoryOps modern_ops = {
    .read = modern_read, .write = modern_write, .max_size = 4,
};

/* ---- access to the BAR through configuration space ------------------------------------------- */

/* What the capability's fields ask for; false if that is no access we know. */
static bool config_window(const VirtioPci *proxy, uint32_t *offset, uint32_t *size)
{
    const uint8_t *cap = proxy->pci.config + proxy->config_cap;

    *offset = ldl_le_p(cap + CAP_OFFSET);
    *size = ldl_le_p(cap + CAP_LENGTH);
    return cap[CAP_BAR] == MODERN_BAR && (*size == 1 || *size == 2 || *size == 4) &&
           *offset < BAR_SIZE && !(*offset & (*size - 1));
}

static bool touches_config_data(const VirtioPci *proxy, unsigned offset, unsigned size)
{
    unsigned data = proxy->config_cap + CAP_CONFIG_DATA;

    return proxy->config_cap && offset < data + 4 && offset + size > data;
}

void virtio_pci_config_reading(PciDevice *dev, unsigned offset, unsigned size)
{
    VirtioPci *proxy = (VirtioPci *)dev;
    uint32_t at, len;

    if (touches_config_data(proxy, offset, size) && config_window(proxy, &at, &len)) {
        stl_le_p(dev->config + proxy->config_cap + CAP_CONFIG_DATA, modern_read(proxy, at, len));
    }
}

void virtio_pci_config_written(PciDevice *dev, unsigned offset, unsigned size)
{
    VirtioPci *proxy = (VirtioPci *)dev;
    uint32_t at, len;

    if (touches_config_data(proxy, offset, size) && config_window(proxy, &at, &len)) {
        modern_write(proxy, at,
                     (uint32_t)ldl_le_p(dev->config + proxy->config_cap + CAP_CONFIG_DATA) &
                     (UINT32_MAX >> (32 - 8 * len)), len);
    }
}

/* ---- saving ---------------------------------------------------------------------------------- */

static const VmStateDescription proxy_state = {
    .name = "virtio-pci",
    .version = 1,
    .size = sizeof(VirtioPci),
    .fields = (const VmField[]) {
        VM_FIELD(VirtioPci, isr),
        VM_FIELD(VirtioPci, device_feature_select),
        VM_FIELD(VirtioPci, driver_feature_select),
        VM_FIELD(VirtioPci, driver_features),
        VM_FIELD(VirtioPci, queue_select),
        {0},
    },
};

void virtio_pci_add_state(VirtioPci *proxy, VmStateParts *parts)
{
    pci_device_add_state(&proxy->pci.dev, parts);
    vm_parts_add(parts, &proxy_state, 0, proxy);
    virtio_add_state(proxy->vdev, parts);
}

/* ---- life ------------------------------------------------------------------------------------ */

static unsigned add_cap(VirtioPci *proxy, uint8_t type, uint32_t offset, uint32_t length,
                        unsigned size)
{
    unsigned cap = pci_add_capability(&proxy->pci, PCI_CAP_ID_VENDOR, size);
    uint8_t *config = proxy->pci.config + cap;

    config[CAP_LEN] = size;
    config[CAP_TYPE] = type;
    config[CAP_BAR] = type == CAP_PCI_CONFIG ? 0 : MODERN_BAR;
    stl_le_p(config + CAP_OFFSET, offset);
    stl_le_p(config + CAP_LENGTH, length);
    return cap;
}

void virtio_pci_realize(VirtioPci *proxy, VirtioDevice *vdev, unsigned n_vectors)
{
    PciDevice *dev = &proxy->pci;
    unsigned cap;

    proxy->vdev = vdev;
    add_cap(proxy, CAP_COMMON, AREA_COMMON, AREA_SIZE, CAP_SIZE);
    add_cap(proxy, CAP_ISR, AREA_ISR, AREA_SIZE, CAP_SIZE);
    add_cap(proxy, CAP_DEVICE, AREA_DEVICE, AREA_SIZE, CAP_SIZE);
    cap = add_cap(proxy, CAP_NOTIFY, AREA_NOTIFY, AREA_SIZE, CAP_NOTIFY_SIZE);
    stl_le_p(dev->config + cap + CAP_NOTIFY_MULTIPLIER, NOTIFY_MULTIPLIER);
    cap = add_cap(proxy, CAP_PCI_CONFIG, 0, 0, CAP_CONFIG_SIZE);
    dev->wmask[cap + CAP_BAR] = 0xff;
    memset(dev->wmask + cap + CAP_OFFSET, 0xff, CAP_CONFIG_SIZE - CAP_OFFSET);
    proxy->config_cap = cap;
    pci_register_bar(dev, MODERN_BAR, PCI_BAR_MEM64, BAR_SIZE, &modern_ops, proxy);
    if (n_vectors) {
        pci_msix_init(dev, n_vectors, MSIX_BAR);
    }
}
