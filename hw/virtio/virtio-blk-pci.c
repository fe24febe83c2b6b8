/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "hw/virtio/virtio-blk.h"
#include "hw/virtio/virtio-pci.h"
#include "hw/virtio/virtio-types.h"
#include "qemu/error.h"

#define VIRTIO_TYPE_BLOCK 2
#define CLASS_STORAGE_SCSI 0x010000
#define AUTO_VECTORS UINT32_MAX

typedef struct VirtioBlkPci {
    VirtioPci proxy;
    VirtioBlk blk;
    VirtioBlkConf conf;
    uint32_t vectors; /* AUTO_VECTORS: one for each queue and one for the configuration */
} VirtioBlkPci;

static bool coroutine_fn virtio_blk_pci_realize(PciDevice *pci, Error **errp)
{
    VirtioBlkPci *s = (VirtioBlkPci *)pci;
    uint32_t vectors = s->vectors;

    if (vectors != AUTO_VECTORS && vectors > VIRTIO_PCI_MAX_VECTORS) {
        error_setg(errp, "vectors property must be at most %d", VIRTIO_PCI_MAX_VECTORS);
        return false;
    }
    if (!virtio_blk_realize(&s->blk, &pci->dev, &s->conf, &virtio_pci_transport, &s->proxy,
                            pci_dma_map(pci), errp)) {
        return false;
    }
    virtio_pci_realize(&s->proxy, &s->blk.vdev,
                       vectors == AUTO_VECTORS ? s->conf.num_queues + 1u : vectors);
    return true;
}

static void coroutine_fn virtio_blk_pci_unrealize(PciDevice *pci)
{
    virtio_blk_unrealize(&((VirtioBlkPci *)pci)->blk);
}

static void virtio_blk_pci_reset(PciDevice *pci)
{
    virtio_reset_sync(&((VirtioBlkPci *)pci)->blk.vdev);
}

static void virtio_blk_pci_add_state(Device *dev, VmStateParts *parts)
{
    VirtioBlkPci *s = (VirtioBlkPci *)dev;

    virtio_pci_add_state(&s->proxy, parts);
    virtio_blk_add_state(&s->blk, parts);
}

static void virtio_blk_pci_hold(Device *dev)
{
    virtio_hold(&((VirtioBlkPci *)dev)->blk.vdev);
}

static void coroutine_fn virtio_blk_pci_settle(Device *dev)
{
    virtio_co_settle(&((VirtioBlkPci *)dev)->blk.vdev);
}

static const PciClass virtio_blk_pci_class = {
    .vendor_id = VIRTIO_PCI_VENDOR_ID,
    .device_id = VIRTIO_PCI_DEVICE_ID_BASE + VIRTIO_TYPE_BLOCK,
    .subsystem_vendor_id = VIRTIO_PCI_VENDOR_ID,
    .subsystem_id = VIRTIO_PCI_SUBSYSTEM_ID,
    .revision = 1,
    .class_code = CLASS_STORAGE_SCSI,
    .interrupt_pin = 1,
    .realize = virtio_blk_pci_realize,
    .unrealize = virtio_blk_pci_unrealize,
    .reset = virtio_blk_pci_reset,
    .config_reading = virtio_pci_config_reading,
    .config_written = virtio_pci_config_written,
};

static const DeviceProperty virtio_blk_props[] = {
    BLOCK_CONF_PROPS(VirtioBlkPci, conf.block),
    BLOCK_CHS_PROPS(VirtioBlkPci, conf.block),
    DEVICE_PROP("iothread", prop_kind_iothread, VirtioBlkPci, conf.iothread, NULL, NULL),
    DEVICE_PROP("iothread-vq-mapping", prop_kind_vq_mapping, VirtioBlkPci, conf.vq_mapping, NULL,
                NULL),
    DEVICE_PROP("serial", prop_kind_string, VirtioBlkPci, conf.serial, NULL, NULL),
    DEVICE_PROP("num-queues", prop_kind_uint16, VirtioBlkPci, conf.num_queues, "65535", NULL),
    DEVICE_PROP("queue-size", prop_kind_uint16, VirtioBlkPci, conf.queue_size, "256", NULL),
    DEVICE_PROP("config-wce", prop_kind_bool, VirtioBlkPci, conf.config_wce, "on", NULL),
    DEVICE_PROP("discard", prop_kind_bool, VirtioBlkPci, conf.discard, "on", NULL),
    DEVICE_PROP("write-zeroes", prop_kind_bool, VirtioBlkPci, conf.write_zeroes, "on", NULL),
    DEVICE_PROP("max-discard-sectors", prop_kind_uint32, VirtioBlkPci, conf.max_discard_sectors,
                "4194303", NULL),
    DEVICE_PROP("max-write-zeroes-sectors", prop_kind_uint32, VirtioBlkPci,
                conf.max_write_zeroes_sectors, "4194303", NULL),
    DEVICE_PROP("event_idx", prop_kind_bool, VirtioBlkPci, conf.event_idx, "on", NULL),
    DEVICE_PROP("indirect_desc", prop_kind_bool, VirtioBlkPci, conf.indirect_desc, "on", NULL),
    {0},
};

static const DeviceProperty virtio_blk_pci_props[] = {
    DEVICE_PROP("vectors", prop_kind_uint32, VirtioBlkPci, vectors, "4294967295", NULL),
    {0},
};

const DeviceType virtio_blk_pci_type = {
    .name = "virtio-blk-pci",
    .alias = "virtio-blk",
    .bus = PCI_BUS_TYPE_NAME,
    .category = DEVICE_CATEGORY_STORAGE,
    .user_creatable = true,
    .hotpluggable = true,
    .instance_size = sizeof(VirtioBlkPci),
    .properties = (const DevicePropertyTable[]) {
        {"virtio-blk-device", virtio_blk_props},
        {NULL, virtio_blk_pci_props},
        {NULL, pci_props},
        {0},
    },
    .bus_class = &virtio_blk_pci_class,
    .child = "virtio-backend",
    .realize = pci_device_realize,
    .unrealize = pci_device_unrealize,
    .reset = pci_device_reset,
    .add_state = virtio_blk_pci_add_state,
    .hold = virtio_blk_pci_hold,
    .co_settle = virtio_blk_pci_settle,
};
