/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of zoned nodes beside reading and writing: checked, tracked, passed to the driver.
 *
 * A change of state is a serialising request over its zones, so no write to them runs meanwhile.
 * An append covers its whole zone, since where it will go is not known before.
 */
#include "qemu/osdep.h"

#include "io.h"

#include "qemu/atomic.h"

/* One of the three, on its way to a new stack. */
typedef struct ZoneCall {
    enum { ZONE_REPORT, ZONE_MGMT, ZONE_APPEND } kind;
    BlockZoneOp op;
    unsigned *nr_zones;
    BlockZoneDescriptor *zones;
    int64_t *appended;
} ZoneCall;

static int64_t coroutine_fn co_deeper_zone(const BdrvDeepCall *call)
{
    const ZoneCall *zone = call->opaque;

    switch (zone->kind) {
    case ZONE_REPORT:
        return bdrv_co_zone_report(call->child, call->offset, zone->nr_zones, zone->zones);
    case ZONE_MGMT:
        return bdrv_co_zone_mgmt(call->child, zone->op, call->offset, call->bytes);
    default:
        return bdrv_co_zone_append(call->child, zone->appended, call->qiov, call->flags);
    }
}

static int coroutine_fn co_deeper(BdrvChild *child, int64_t offset, int64_t bytes,
                                  QEMUIOVector *qiov, unsigned flags, ZoneCall *zone)
{
    BdrvDeepCall call = { .fn = co_deeper_zone, .child = child, .offset = offset, .bytes = bytes,
                          .qiov = qiov, .flags = flags, .opaque = zone };

    return bdrv_co_deeper(&call);
}

/* Zones at all?  And the range within the node? */
static int check_zones(const BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int64_t total = qatomic_read(&bs->total_bytes);

    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    if (!bs->bl.zones.model || !bs->drv->bdrv_co_zone_report) {
        return -ENOTSUP;
    }
    return offset < 0 || bytes <= 0 || offset >= total || bytes > total - offset ? -EINVAL : 0;
}

int coroutine_fn bdrv_co_zone_report(BdrvChild *child, int64_t offset, unsigned *nr_zones,
                                     BlockZoneDescriptor *zones)
{
    BlockDriverState *bs = child->bs;
    int ret = check_zones(bs, offset, 1);

    if (unlikely(qemu_co_stack_is_low())) {
        return co_deeper(child, offset, 0, NULL, 0,
                         &(ZoneCall){ .kind = ZONE_REPORT, .nr_zones = nr_zones,
                                      .zones = zones });
    }
    if (ret < 0 || *nr_zones == 0) {
        return ret < 0 ? ret : -EINVAL;
    }
    return bs->drv->bdrv_co_zone_report(bs, offset, nr_zones, zones);
}

static bool is_whole_zones(const BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int64_t size = bs->bl.zones.zone_size;

    return offset % size == 0 &&
           (bytes % size == 0 || offset + bytes == qatomic_read(&bs->total_bytes));
}

int coroutine_fn bdrv_co_zone_mgmt(BdrvChild *child, BlockZoneOp op, int64_t offset, int64_t bytes)
{
    BlockDriverState *bs = child->bs;
    int ret = check_zones(bs, offset, bytes);
    BdrvRequest req;

    if (unlikely(qemu_co_stack_is_low())) {
        return co_deeper(child, offset, bytes, NULL, 0,
                         &(ZoneCall){ .kind = ZONE_MGMT, .op = op });
    }
    if (ret >= 0) {
        ret = bdrv_check_io(child, offset, bytes, true);
    }
    if (ret >= 0 && !is_whole_zones(bs, offset, bytes)) {
        ret = -EINVAL;
    }
    if (ret < 0) {
        return ret;
    }
    ret = bdrv_request_co_begin(&req, bs, BDRV_REQUEST_ZONE, offset, bytes, 1, true, false);
    if (ret < 0) {
        return ret;
    }
    ret = bs->drv->bdrv_co_zone_mgmt(bs, op, offset, bytes);
    if (op == BLK_ZO_RESET) {
        bdrv_write_done(bs, offset, bytes, ret);
    }
    bdrv_request_end(&req);
    return ret;
}

static int coroutine_fn co_append(BlockDriverState *bs, int64_t *offset, QEMUIOVector *qiov,
                                  unsigned flags)
{
    int64_t zone = *offset, bytes = qiov->size;
    int ret = bs->drv->bdrv_co_zone_append(bs, offset, qiov);

    /* After a failure it is unknown what was written, and where in the zone. */
    if (ret < 0) {
        bytes = MIN(bs->bl.zones.zone_size, qatomic_read(&bs->total_bytes) - zone);
        *offset = zone;
    }
    bdrv_write_done(bs, *offset, bytes, ret);
    if (ret >= 0 && (flags & BDRV_REQ_FUA)) {
        ret = bdrv_co_flush(bs);
    }
    return ret;
}

int coroutine_fn bdrv_co_zone_append(BdrvChild *child, int64_t *offset, QEMUIOVector *qiov,
                                     unsigned flags)
{
    BlockDriverState *bs = child->bs;
    const BlockZoneLimits *zones = &bs->bl.zones;
    int64_t bytes = qiov->size;
    int ret = check_zones(bs, *offset, bytes);
    BdrvRequest req;

    if (unlikely(qemu_co_stack_is_low())) {
        return co_deeper(child, *offset, bytes, qiov, flags,
                         &(ZoneCall){ .kind = ZONE_APPEND, .appended = offset });
    }
    if (ret >= 0) {
        ret = bdrv_check_io(child, *offset, bytes, true);
    }
    if (ret >= 0 && (*offset % zones->zone_size || bytes % zones->write_granularity ||
                     bytes > zones->max_append)) {
        ret = -EINVAL;
    }
    if (ret < 0) {
        return ret;
    }
    ret = bdrv_request_co_begin(&req, bs, BDRV_REQUEST_WRITE, *offset,
                                MIN(zones->zone_size, qatomic_read(&bs->total_bytes) - *offset),
                                1, false, false);
    if (ret < 0) {
        return ret;
    }
    ret = co_append(bs, offset, qiov, flags);
    bdrv_request_end(&req);
    return ret;
}
