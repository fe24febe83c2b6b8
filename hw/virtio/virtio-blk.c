/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio 1.x, section 5.2.  Absent: SCSI passthrough, zoned devices, secure erase, lifetime.
 *
 * Requests are taken from the rings, submitted and completed in their queue's loop.
 */
#include "qemu/osdep.h"

#include "hw/virtio/virtio-blk.h"
#include "qemu/bits.h"
#include "qemu/bswap.h"
#include "qemu/error.h"
#include "qemu/main-loop.h"
#include "system/dma.h"
#include "system/runstate.h"
#include "system/vmstate.h"

#define SECTOR_BITS 9
#define SECTOR_SIZE 512
#define ID_BYTES 20
#define MIN_QUEUE_SIZE 4
#define MAX_DISCARD_SECTORS ((uint32_t)(BDRV_REQUEST_MAX_BYTES >> SECTOR_BITS))

enum { /* feature bits */
    F_SEG_MAX = 2, F_GEOMETRY = 4, F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9, F_TOPOLOGY = 10,
    F_CONFIG_WCE = 11, F_MQ = 12, F_DISCARD = 13, F_WRITE_ZEROES = 14,
};
enum { /* request types */
    TYPE_READ = 0, TYPE_WRITE = 1, TYPE_FLUSH = 4, TYPE_GET_ID = 8, TYPE_DISCARD = 11,
    TYPE_WRITE_ZEROES = 13,
};
enum { STATUS_OK = 0, STATUS_IO_ERROR = 1, STATUS_UNSUPPORTED = 2 };
#define SEGMENT_UNMAP 1

typedef struct QEMU_PACKED RequestHeader {
    uint32_t type;
    uint32_t priority;
    uint64_t sector;
} RequestHeader;

typedef struct QEMU_PACKED DiscardSegment {
    uint64_t sector;
    uint32_t n_sectors;
    uint32_t flags;
} DiscardSegment;

typedef struct QEMU_PACKED BlkConfig {
    uint64_t capacity; /* sectors */
    uint32_t size_max, seg_max;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp, alignment_offset;
    uint16_t min_io_size; /* logical blocks */
    uint32_t opt_io_size;
    uint8_t writeback;
    uint8_t unused;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap;
    uint8_t unused1[3];
} BlkConfig;
static_assert(sizeof(BlkConfig) == 60, "virtio 1.2, 5.2.4 up to write_zeroes_may_unmap");

struct VirtioBlkRequest {
    VirtQueueElement elem; /* must be first */
    VirtioBlk *s;
    VirtQueue *vq;
    uint32_t type;
    uint8_t *status;       /* guest memory */
    QEMUIOVector qiov;     /* data in guest memory */
    int64_t offset, bytes;
    unsigned flags;
    bool is_restored;      /* nothing of it but elem is known yet */
    QSIMPLEQ_ENTRY(VirtioBlkRequest) next;
};

/* ---- completing ------------------------------------------------------------------------------ */

static void request_done(VirtioBlkRequest *req, uint8_t status)
{
    VirtioBlk *s = req->s;
    uint32_t written = req->type == TYPE_READ || req->type == TYPE_GET_ID ? req->qiov.size : 0;

    if (virtio_is_started(&s->vdev)) {
        __atomic_store_n(req->status, status, __ATOMIC_RELAXED);
        virtqueue_push(req->vq, &req->elem, written + 1);
        virtqueue_notify(req->vq);
    }
    g_free(req);
}

static VirtioBlkLoop *request_loop(const VirtioBlkRequest *req)
{
    return req->s->loops[req->vq->loop->index];
}

static void drop_parked(VirtioBlkLoop *l)
{
    while (!QSIMPLEQ_EMPTY(&l->parked)) {
        VirtioBlkRequest *req = QSIMPLEQ_FIRST(&l->parked);

        QSIMPLEQ_REMOVE_HEAD(&l->parked, next);
        g_free(req);
    }
}

static VirtioBlkLoop *blk_loop(const VirtioLoop *loop)
{
    return container_of(loop->vdev, VirtioBlk, vdev)->loops[loop->index];
}

static bool blk_quiesce(VirtioLoop *loop)
{
    VirtioBlkLoop *l = blk_loop(loop);

    l->must_quiesce = l->n_in_flight;
    return !l->must_quiesce;
}

static void blk_drop(VirtioLoop *loop)
{
    drop_parked(blk_loop(loop));
}

static void request_left(VirtioBlkLoop *l)
{
    l->n_in_flight--;
    if (l->must_quiesce && !l->n_in_flight) {
        virtio_loop_left(l->loop);
    }
}

static void io_done(void *opaque, int ret)
{
    VirtioBlkRequest *req = opaque;
    VirtioBlk *s = req->s;
    VirtioBlkLoop *l = request_loop(req);
    bool is_read = req->type == TYPE_READ;

    if (is_read) {
        dma_written(s->vdev.dma, &req->qiov, req->qiov.size);
    }
    if (ret < 0 && virtio_is_started(&s->vdev)) {
        BlockErrorAction action = blk_get_error_action(s->blk, is_read, -ret);

        if (action == BLOCK_ERROR_ACTION_STOP) {
            QSIMPLEQ_INSERT_TAIL(&l->parked, req, next);
            blk_error_action(s->blk, action, is_read, -ret);
            request_left(l);
            return;
        }
        blk_error_action(s->blk, action, is_read, -ret);
        ret = action == BLOCK_ERROR_ACTION_IGNORE ? 0 : ret;
    }
    request_done(req, ret < 0 ? STATUS_IO_ERROR : STATUS_OK);
    request_left(l);
}

/* ---- submitting ------------------------------------------------------------------------------ */

static void request_submit(VirtioBlkRequest *req)
{
    VirtioBlk *s = req->s;

    request_loop(req)->n_in_flight++;
    switch (req->type) {
    case TYPE_READ:
        blk_aio_preadv(s->blk, req->offset, &req->qiov, 0, io_done, req);
        break;
    case TYPE_WRITE:
        blk_aio_pwritev(s->blk, req->offset, &req->qiov, 0, io_done, req);
        break;
    case TYPE_FLUSH:
        blk_aio_flush(s->blk, io_done, req);
        break;
    case TYPE_DISCARD:
        blk_aio_pdiscard(s->blk, req->offset, req->bytes, io_done, req);
        break;
    case TYPE_WRITE_ZEROES:
        blk_aio_pwrite_zeroes(s->blk, req->offset, req->bytes, req->flags, io_done, req);
        break;
    default:
        g_assert_not_reached();
    }
}

/* Whether the driver may ask for these bytes; sets offset and bytes. */
static bool request_set_range(VirtioBlkRequest *req, uint64_t sector, uint64_t bytes)
{
    VirtioBlk *s = req->s;
    int64_t length = blk_getlength(s->blk);
    uint32_t block = s->conf->block.logical_block_size;

    if (length < 0 || bytes > BDRV_REQUEST_MAX_BYTES ||
        sector > (uint64_t)length >> SECTOR_BITS ||
        bytes > (uint64_t)length - (sector << SECTOR_BITS) ||
        (sector << SECTOR_BITS) % block || bytes % block) {
        return false;
    }
    req->offset = sector << SECTOR_BITS;
    req->bytes = bytes;
    return true;
}

static void start_transfer(VirtioBlkRequest *req, uint64_t sector)
{
    VirtioBlk *s = req->s;
    bool is_write = req->type == TYPE_WRITE;

    if (!request_set_range(req, sector, req->qiov.size)) {
        block_acct_invalid(blk_get_stats(s->blk), is_write ? BLOCK_ACCT_WRITE : BLOCK_ACCT_READ);
        request_done(req, STATUS_IO_ERROR);
    } else if (is_write && s->is_read_only) {
        request_done(req, STATUS_IO_ERROR);
    } else if (!req->bytes) {
        request_done(req, STATUS_OK);
    } else {
        request_submit(req);
    }
}

static void start_get_id(VirtioBlkRequest *req)
{
    char id[ID_BYTES] = {0};
    const char *serial = req->s->conf->serial ? req->s->conf->serial : "";
    size_t bytes = MIN(req->qiov.size, sizeof(id));

    /* A serial of full length has no terminator, as the specification says. */
    memcpy(id, serial, MIN(strlen(serial), sizeof(id)));
    qemu_iovec_from_buf(&req->qiov, 0, id, bytes);
    dma_written(req->s->vdev.dma, &req->qiov, bytes);
    req->qiov.size = bytes;
    request_done(req, STATUS_OK);
}

/* Discard and write-zeroes carry a segment as data. */
static void start_segment(VirtioBlkRequest *req)
{
    VirtioBlk *s = req->s;
    bool is_discard = req->type == TYPE_DISCARD;
    uint32_t max = is_discard ? s->conf->max_discard_sectors : s->conf->max_write_zeroes_sectors;
    BlockAcctType acct = is_discard ? BLOCK_ACCT_UNMAP : BLOCK_ACCT_WRITE;
    DiscardSegment segment;

    if (!virtio_has_feature(&s->vdev, is_discard ? F_DISCARD : F_WRITE_ZEROES) ||
        req->qiov.size != sizeof(segment)) {
        request_done(req, STATUS_UNSUPPORTED);
        return;
    }
    qemu_iovec_to_buf(&req->qiov, 0, &segment, sizeof(segment));
    segment.flags = le32_to_cpu(segment.flags);
    segment.n_sectors = le32_to_cpu(segment.n_sectors);
    if ((segment.flags & ~SEGMENT_UNMAP) || (is_discard && segment.flags)) {
        request_done(req, STATUS_UNSUPPORTED);
        return;
    }
    if (segment.n_sectors > max || s->is_read_only ||
        !request_set_range(req, le64_to_cpu(segment.sector),
                           (uint64_t)segment.n_sectors << SECTOR_BITS)) {
        block_acct_invalid(blk_get_stats(s->blk), acct);
        request_done(req, STATUS_IO_ERROR);
        return;
    }
    if (!req->bytes) {
        request_done(req, STATUS_OK);
        return;
    }
    req->flags = segment.flags & SEGMENT_UNMAP ? BDRV_REQ_MAY_UNMAP : 0;
    request_submit(req);
}

/*
 * Split the buffers into header, data and status.  Everything before the status that the driver
 * gave in the request's direction is data.
 */
static bool request_parse(VirtioBlkRequest *req, RequestHeader *header)
{
    VirtQueueElement *elem = &req->elem;
    struct iovec *out = elem->out, *in = elem->in, *last;
    unsigned n_out = elem->n_out, n_in = elem->n_in;

    if (!n_in || iov_to_buf(out, n_out, 0, header, sizeof(*header)) != sizeof(*header)) {
        virtio_error(&req->s->vdev, "request without %s", n_in ? "header" : "status byte");
        return false;
    }
    iov_discard_front(&out, &n_out, sizeof(*header));
    last = &in[n_in - 1];
    req->status = (uint8_t *)last->iov_base + last->iov_len - 1;
    iov_discard_back(in, &n_in, 1);
    req->type = le32_to_cpu(header->type);
    if (req->type == TYPE_READ || req->type == TYPE_GET_ID) {
        qemu_iovec_init_external(&req->qiov, in, n_in);
    } else {
        qemu_iovec_init_external(&req->qiov, out, n_out);
    }
    return true;
}

static void request_start(VirtioBlkRequest *req)
{
    RequestHeader header;

    if (!request_parse(req, &header)) {
        g_free(req);
        return;
    }
    switch (req->type) {
    case TYPE_READ:
    case TYPE_WRITE:
        start_transfer(req, le64_to_cpu(header.sector));
        break;
    case TYPE_FLUSH:
        request_submit(req);
        break;
    case TYPE_GET_ID:
        start_get_id(req);
        break;
    case TYPE_DISCARD:
    case TYPE_WRITE_ZEROES:
        start_segment(req);
        break;
    default:
        request_done(req, STATUS_UNSUPPORTED);
        break;
    }
}

static void blk_handle_queue(VirtioDevice *vdev, VirtQueue *vq)
{
    VirtioBlk *s = container_of(vdev, VirtioBlk, vdev);

    do {
        VirtioBlkRequest *req;

        virtqueue_set_notification(vq, false);
        while ((req = virtqueue_pop(vq, sizeof(*req)))) {
            req->s = s;
            req->vq = vq;
            request_start(req);
        }
        virtqueue_set_notification(vq, true);
    } while (!virtqueue_is_empty(vq));
}

/* ---- configuration --------------------------------------------------------------------------- */

static uint64_t blk_features(VirtioDevice *vdev)
{
    VirtioBlk *s = container_of(vdev, VirtioBlk, vdev);
    const VirtioBlkConf *conf = s->conf;

    return VIRTIO_FEATURE(F_SEG_MAX) | VIRTIO_FEATURE(F_GEOMETRY) | VIRTIO_FEATURE(F_BLK_SIZE) |
           VIRTIO_FEATURE(F_FLUSH) | VIRTIO_FEATURE(F_TOPOLOGY) |
           (s->is_read_only ? VIRTIO_FEATURE(F_RO) : 0) |
           (conf->config_wce ? VIRTIO_FEATURE(F_CONFIG_WCE) : 0) |
           (conf->num_queues > 1 ? VIRTIO_FEATURE(F_MQ) : 0) |
           (conf->discard && !s->is_read_only ? VIRTIO_FEATURE(F_DISCARD) : 0) |
           (conf->write_zeroes && !s->is_read_only ? VIRTIO_FEATURE(F_WRITE_ZEROES) : 0);
}

static void fill_geometry(const VirtioBlk *s, BlkConfig *config, int64_t length)
{
    const BlockConf *conf = &s->conf->block;
    uint32_t heads = conf->heads ? conf->heads : 16;
    uint32_t secs = conf->secs ? conf->secs : 63;
    int64_t cyls = conf->cyls ? conf->cyls : (length >> SECTOR_BITS) / (heads * secs);

    config->cylinders = cpu_to_le16(MIN(cyls, UINT16_MAX));
    config->heads = heads;
    config->sectors = secs;
}

static void blk_get_config(VirtioDevice *vdev, uint8_t *bytes)
{
    VirtioBlk *s = container_of(vdev, VirtioBlk, vdev);
    const VirtioBlkConf *conf = s->conf;
    const BlockConf *block = &conf->block;
    int64_t length = MAX(blk_getlength(s->blk), 0);
    uint32_t granularity = block->discard_granularity == UINT32_MAX || !block->discard_granularity
                           ? block->logical_block_size : block->discard_granularity;
    BlkConfig config = {
        .capacity = cpu_to_le64(length >> SECTOR_BITS),
        .seg_max = cpu_to_le32(conf->queue_size - 2),
        .blk_size = cpu_to_le32(block->logical_block_size),
        .physical_block_exp = ctz32(block->physical_block_size / block->logical_block_size),
        .min_io_size = cpu_to_le16(MIN(block->min_io_size / block->logical_block_size,
                                       UINT16_MAX)),
        .opt_io_size = cpu_to_le32(block->opt_io_size / block->logical_block_size),
        .writeback = blk_enable_write_cache(s->blk),
        .num_queues = cpu_to_le16(conf->num_queues),
        .max_discard_sectors = cpu_to_le32(conf->max_discard_sectors),
        .max_discard_seg = cpu_to_le32(1),
        .discard_sector_alignment = cpu_to_le32(granularity >> SECTOR_BITS),
        .max_write_zeroes_sectors = cpu_to_le32(conf->max_write_zeroes_sectors),
        .max_write_zeroes_seg = cpu_to_le32(1),
        .write_zeroes_may_unmap = 1,
    };

    fill_geometry(s, &config, length);
    memcpy(bytes, &config, sizeof(config));
}

static void blk_set_config(VirtioDevice *vdev, const uint8_t *bytes, unsigned offset, unsigned len)
{
    VirtioBlk *s = container_of(vdev, VirtioBlk, vdev);
    unsigned writeback = offsetof(BlkConfig, writeback);

    if (s->conf->config_wce && offset <= writeback && writeback < offset + len) {
        blk_set_enable_write_cache(s->blk, bytes[writeback] != 0);
    }
}

/* ---- start, stop, and errors that stop the machine ------------------------------------------- */

static void blk_start(VirtioDevice *vdev)
{
    VirtioBlk *s = container_of(vdev, VirtioBlk, vdev);

    /* A driver that cannot flush must get every write to the disk at once. */
    if (!virtio_has_feature(vdev, F_CONFIG_WCE)) {
        blk_set_enable_write_cache(s->blk, s->wce_default && virtio_has_feature(vdev, F_FLUSH));
    }
}

static void retry_bh(void *opaque)
{
    VirtioBlkLoop *l = opaque;
    QSIMPLEQ_HEAD(, VirtioBlkRequest) again = QSIMPLEQ_HEAD_INITIALIZER(again);

    while (!QSIMPLEQ_EMPTY(&l->parked)) {
        VirtioBlkRequest *req = QSIMPLEQ_FIRST(&l->parked);

        QSIMPLEQ_REMOVE_HEAD(&l->parked, next);
        QSIMPLEQ_INSERT_TAIL(&again, req, next);
    }
    while (!QSIMPLEQ_EMPTY(&again)) {
        VirtioBlkRequest *req = QSIMPLEQ_FIRST(&again);

        QSIMPLEQ_REMOVE_HEAD(&again, next);
        if (req->is_restored) {
            req->is_restored = false;
            request_start(req);
        } else {
            request_submit(req);
        }
    }
}

static void blk_run_state(void *opaque, bool is_running)
{
    VirtioBlk *s = opaque;

    if (is_running) {
        virtio_release(&s->vdev);
    }
    /* A device that is reset has nothing parked, and its loops may be past their last look. */
    if (!is_running || !virtio_is_started(&s->vdev)) {
        return;
    }
    for (unsigned i = 0; i < s->vdev.n_loops; i++) {
        qemu_bh_schedule(s->loops[i]->retry);
    }
}

static void blk_resized(void *opaque)
{
    VirtioBlk *s = opaque;

    virtio_config_changed(&s->vdev);
}

static char *blk_get_path(void *opaque)
{
    VirtioBlk *s = opaque;

    return device_backend_path(s->dev);
}

static const BlockDevOps blk_dev_ops = {.resize_cb = blk_resized, .get_path = blk_get_path};

static const VirtioDeviceOps virtio_blk_ops = {
    .name = "virtio-blk",
    .get_features = blk_features,
    .config_size = sizeof(BlkConfig),
    .get_config = blk_get_config,
    .set_config = blk_set_config,
    .handle_queue = blk_handle_queue,
    .start = blk_start,
    .quiesce = blk_quiesce,
    .drop = blk_drop,
};

/* ---- saving ---------------------------------------------------------------------------------- */

static void blk_pre_save(void *opaque)
{
    VirtioBlk *s = opaque;

    s->wce = blk_enable_write_cache(s->blk);
}

static void blk_post_load(void *opaque)
{
    VirtioBlk *s = opaque;

    blk_set_enable_write_cache(s->blk, s->wce);
    /* Unless the part about them brings others; loops are at rest. */
    for (unsigned i = 0; i < s->vdev.n_loops; i++) {
        drop_parked(s->loops[i]);
    }
}

static const VmStateDescription blk_state = {
    .name = "virtio-blk",
    .version = 1,
    .size = sizeof(VirtioBlk),
    .fields = (const VmField[]) {
        VM_BOOL(VirtioBlk, wce),
        {0},
    },
    .pre_save = blk_pre_save,
    .post_load = blk_post_load,
};

static bool parked_is_needed(void *opaque)
{
    const VirtioBlk *s = ((VirtioBlkParked *)opaque)->s;

    for (unsigned i = 0; i < s->vdev.n_loops; i++) {
        if (!QSIMPLEQ_EMPTY(&s->loops[i]->parked)) {
            return true;
        }
    }
    return false;
}

static void parked_pre_save(void *opaque)
{
    VirtioBlkParked *p = opaque;
    VirtioBlkRequest *req;

    memset(p->heads, 0, sizeof(p->heads));
    for (unsigned i = 0; i < p->s->vdev.n_loops; i++) {
        QSIMPLEQ_FOREACH(req, &p->s->loops[i]->parked, next) {
            p->heads[req->vq->index][req->elem.index / 64] |= UINT64_C(1) << (req->elem.index % 64);
        }
    }
}

static void restore_request(VirtioBlk *s, VirtQueue *vq, unsigned head)
{
    VirtioBlkRequest *req = virtqueue_restore(vq, head, sizeof(*req));

    if (req) {
        req->s = s;
        req->vq = vq;
        req->is_restored = true;
        QSIMPLEQ_INSERT_TAIL(&request_loop(req)->parked, req, next);
    }
}

static void parked_post_load(void *opaque)
{
    VirtioBlkParked *p = opaque;
    VirtioDevice *vdev = &p->s->vdev;

    for (unsigned i = 0; i < vdev->n_queues; i++) {
        for (unsigned head = 0; head < VIRTQUEUE_MAX_SIZE; head++) {
            if (p->heads[i][head / 64] >> (head % 64) & 1) {
                restore_request(p->s, &vdev->queues[i], head);
            }
        }
    }
}

static const VmStateDescription parked_state = {
    .name = "virtio-blk-parked",
    .version = 1,
    .size = sizeof(VirtioBlkParked),
    .fields = (const VmField[]) {
        { .name = "heads", .offset = offsetof(VirtioBlkParked, heads), .size = 8,
          .count = sizeof(((VirtioBlkParked *)NULL)->heads) / 8 },
        {0},
    },
    .is_needed = parked_is_needed,
    .pre_save = parked_pre_save,
    .post_load = parked_post_load,
};

void virtio_blk_add_state(VirtioBlk *s, VmStateParts *parts)
{
    vm_parts_add(parts, &blk_state, 0, s);
    vm_parts_add(parts, &parked_state, 0, s->parked);
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool check_limit(const char *name, uint32_t value, uint32_t max, Error **errp)
{
    if (!value || value > max) {
        error_setg(errp, "invalid %s property (%u), must be between 1 and %u", name, value, max);
        return false;
    }
    return true;
}

static bool check_conf(VirtioBlkConf *conf, Error **errp)
{
    if (!conf->block.blk) {
        error_setg(errp, "drive property not set");
        return false;
    }
    if (!blk_is_inserted(conf->block.blk)) {
        error_setg(errp, "Device needs media, but drive is empty");
        return false;
    }
    if (conf->iothread && conf->vq_mapping) {
        error_setg(errp, "iothread and iothread-vq-mapping properties cannot be set at the same "
                   "time");
        return false;
    }
    if (conf->num_queues == VIRTIO_BLK_AUTO_QUEUES) {
        conf->num_queues = conf->vq_mapping ? vq_mapping_natural_queues(conf->vq_mapping) : 1;
    }
    if (!conf->num_queues) {
        error_setg(errp, "num-queues property must be larger than 0");
        return false;
    }
    if (conf->num_queues > VIRTIO_MAX_QUEUES) {
        error_setg(errp, "num-queues property must be at most %d", VIRTIO_MAX_QUEUES);
        return false;
    }
    if (conf->queue_size < MIN_QUEUE_SIZE || conf->queue_size > VIRTQUEUE_MAX_SIZE ||
        !is_power_of_2(conf->queue_size)) {
        error_setg(errp, "invalid queue-size property (%u), must be a power of 2 between %d and "
                   "%d", conf->queue_size, MIN_QUEUE_SIZE, VIRTQUEUE_MAX_SIZE);
        return false;
    }
    return (!conf->discard || check_limit("max-discard-sectors", conf->max_discard_sectors,
                                          MAX_DISCARD_SECTORS, errp)) &&
           (!conf->write_zeroes || check_limit("max-write-zeroes-sectors",
                                               conf->max_write_zeroes_sectors,
                                               MAX_DISCARD_SECTORS, errp));
}

static void make_loops(VirtioBlk *s)
{
    s->loops = g_new(VirtioBlkLoop *, s->vdev.n_loops);
    for (unsigned i = 0; i < s->vdev.n_loops; i++) {
        VirtioBlkLoop *l = g_new0(VirtioBlkLoop, 1);

        l->s = s;
        l->loop = &s->vdev.loops[i];
        l->retry = aio_bh_new(l->loop->ctx, retry_bh, l);
        QSIMPLEQ_INIT(&l->parked);
        s->loops[i] = l;
    }
}

static void free_loops(VirtioBlk *s)
{
    for (unsigned i = 0; i < s->vdev.n_loops; i++) {
        qemu_bh_delete(s->loops[i]->retry);
        g_free(s->loops[i]);
    }
    g_clear_pointer(&s->loops, g_free);
}

bool coroutine_fn virtio_blk_realize(VirtioBlk *s, Device *dev, VirtioBlkConf *conf,
                                     const VirtioTransport *transport, void *transport_opaque,
                                     MemoryMap *dma, Error **errp)
{
    AioContext *queue_ctx[VIRTIO_MAX_QUEUES];
    VirtioInit init = {
        .ops = &virtio_blk_ops,
        .transport = transport,
        .transport_opaque = transport_opaque,
        .dma = dma,
        .ctx = conf->iothread ? iothread_get_aio_context(conf->iothread)
                              : qemu_get_aio_context(),
        .queue_ctx = conf->vq_mapping ? queue_ctx : NULL,
        .event_idx = conf->event_idx,
        .indirect_desc = conf->indirect_desc,
    };

    if (!check_conf(conf, errp) ||
        (conf->vq_mapping &&
         !vq_mapping_apply(conf->vq_mapping, conf->num_queues, queue_ctx, errp))) {
        return false;
    }
    s->conf = conf;
    s->dev = dev;
    s->blk = conf->block.blk;
    s->is_read_only = !blk_supports_write_perm(s->blk);
    if (!block_conf_co_attach(&conf->block, dev, s->is_read_only, true, errp)) {
        return false;
    }
    s->wce_default = blk_enable_write_cache(s->blk);
    init.n_queues = conf->num_queues;
    init.queue_size = conf->queue_size;
    virtio_init(&s->vdev, &init);
    make_loops(s);
    s->parked = g_new0(VirtioBlkParked, 1);
    s->parked->s = s;
    /* Only for requests of threads that have no loop; ours run where they are submitted. */
    blk_set_aio_context(s->blk, s->vdev.loops[0].ctx);
    blk_set_dev_ops(s->blk, &blk_dev_ops, s);
    runstate_add_listener(blk_run_state, s);
    return true;
}

void coroutine_fn virtio_blk_unrealize(VirtioBlk *s)
{
    runstate_del_listener(blk_run_state, s);
    virtio_co_reset(&s->vdev);
    free_loops(s);
    g_clear_pointer(&s->parked, g_free);
    virtio_done(&s->vdev);
    block_conf_detach(&s->conf->block, s->dev);
}
